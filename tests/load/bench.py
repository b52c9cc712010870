"""Requests a second beside the bare process: the same decode and infer work, in one run.

    python tests/load/bench.py --bundle runs/pins --images path/to/folder

Needs `wrk`. Everything goes to loopback, for a bounded time. These machines are noisy: read the
ratios, and the bare figure before and after.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.conftest import serving
from tests.load import baselines

CONNECTIONS = (1, 16, 64)
BATCH = 32

# wrk sends the same request again unless a script makes each one.
_SCRIPT = """
local bodies = {}
for path in io.lines("%s") do
  local file = io.open(path, "rb")
  bodies[#bodies + 1] = file:read("*all")
  file:close()
end
local at = 0
function request()
  at = at %% #bodies + 1
  return wrk.format("POST", "/v1/tags", {["Content-Type"] = "image/jpeg"}, bodies[at])
end
"""
# Triton takes the bytes after a head of JSON, and their length before them (KServe's binary data).
_TRITON_SCRIPT = """
local bodies = {}
local lengths = {}
for path in io.lines("%s") do
  local file = io.open(path, "rb")
  local data = file:read("*all")
  file:close()
  local n = #data
  local raw = string.char(n %% 256, math.floor(n / 256) %% 256, math.floor(n / 65536) %% 256, 0)
    .. data
  local head = '{"inputs":[{"name":"image","shape":[1,1],"datatype":"BYTES","parameters":'
    .. '{"binary_data_size":' .. #raw .. '}}],"outputs":[{"name":"confidences","parameters":'
    .. '{"binary_data":false}}]}'
  bodies[#bodies + 1] = head .. raw
  lengths[#lengths + 1] = tostring(#head)
end
local at = 0
function request()
  at = at %% #bodies + 1
  return wrk.format("POST", "/v2/models/tags/infer",
    {["Inference-Header-Content-Length"] = lengths[at]}, bodies[at])
end
"""


def bare(bundle_dir: Path, images_list: list[Path], seconds: float) -> float:
    """Images a second of one process without a server; see `bare_here`."""
    code = f"""
import sys; sys.argv = []
from tests.load import bench
from pathlib import Path
print(bench.bare_here(Path({str(bundle_dir)!r}), {[str(p) for p in images_list]!r}, {seconds}))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    return float(done.stdout.split()[-1])


def bare_here(bundle_dir: Path, paths: list[str], seconds: float) -> float:
    """The work of `bare`, in this process: a thread for each core, which decodes and infers.

    Each has an engine of its own for one core, and batches of 32: the fastest of what was tried.
    """
    import numpy as np

    from pintag import bundle, images
    from pintag.engine import configure_threads

    cores = os.cpu_count() or 1
    loaded = bundle.load(bundle_dir)
    if loaded.choose().kind == "tensorflow":
        configure_threads(1)
    engines = [loaded.engine(threads=1) for _ in range(cores)]
    bodies = [Path(path).read_bytes() for path in paths]
    size = engines[0].input_size
    for engine in engines:
        engine.predict(np.zeros((BATCH, size, size, 3), np.uint8))
    until = time.perf_counter() + seconds

    def work(number: int) -> int:
        turn = itertools.cycle(bodies[number * len(bodies) // cores :] + bodies)
        done = 0
        while time.perf_counter() < until:
            batch = np.stack([images.decode(next(turn), size) for _ in range(BATCH)])
            engines[number].predict(batch)
            done += BATCH
        return done

    started = time.perf_counter()
    with ThreadPoolExecutor(cores) as pool:
        done = sum(pool.map(work, range(cores)))
    return done / (time.perf_counter() - started)


def wrk(url: str, connections: int, seconds: int, script: Path) -> dict[str, float]:
    """One run of wrk: requests a second, and the median and 99th percentile in milliseconds."""
    done = subprocess.run(
        ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", script, url],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    if "Non-2xx" in done or "Socket errors" in done:
        raise SystemExit(f"requests failed:\n{done}")
    return {
        "requests_per_second": float(re.search(r"Requests/sec:\s+([\d.]+)", done)[1]),
        "p50_ms": _milliseconds(re.search(r"^\s+50%\s+(\S+)", done, re.M)[1]),
        "p99_ms": _milliseconds(re.search(r"^\s+99%\s+(\S+)", done, re.M)[1]),
    }


def _milliseconds(text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)(\D+)", text).groups()
    return float(number) * {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}[unit]


def main() -> None:
    """Measure and print a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True, help="a folder of JPEG images")
    parser.add_argument("--seconds", type=int, default=15, help="of each measurement")
    parser.add_argument("--triton", type=Path, help="a Python with nvidia-pytriton; see baselines")
    parser.add_argument("--recipe", action="store_true", help="Ray Serve's own recipe, too")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if not shutil.which("wrk"):
        parser.error("wrk is not installed (Debian's package wrk)")
    paths = sorted(options.images.rglob("*.jpg"))
    with tempfile.TemporaryDirectory() as name:
        result = _measured(options, paths, Path(name))
    print(json.dumps(result, indent=2) if options.json else _table(result))


def _measured(options: argparse.Namespace, paths: list[Path], place: Path) -> dict:
    listed, script, triton = place / "images.txt", place / "rotate.lua", place / "triton.lua"
    listed.write_text("".join(f"{path.absolute()}\n" for path in paths))
    script.write_text(_SCRIPT % listed)
    triton.write_text(_TRITON_SCRIPT % listed)
    log = place / "log"

    def rows(url: str, script: Path) -> dict[int, dict[str, float]]:
        wrk(url, 16, 5, script)
        return {count: wrk(url, count, options.seconds, script) for count in CONNECTIONS}

    before = bare(options.bundle, paths, options.seconds)
    servers = {}
    with serving(options.bundle, log, "classifier.cache_bytes=0") as server:
        servers["pintag"] = rows(server.url, script)
    with baselines.fastapi(options.bundle, log) as url:
        servers["FastAPI + uvicorn"] = rows(url, script)
    if options.triton:
        with baselines.triton(options.triton, options.bundle, log) as url:
            servers["Triton (pytriton)"] = rows(url, triton)
    if options.recipe:
        with baselines.ray_recipe(options.bundle, log) as url:
            servers["Ray Serve's recipe, TensorFlow"] = rows(url, script)
    after = bare(options.bundle, paths, options.seconds)
    return {"bare_before": before, "bare_after": after, "http": servers}


def _table(result: dict) -> str:
    best = max(result["bare_before"], result["bare_after"])
    lines = [
        f"bare process: {result['bare_before']:.0f} images/s before, "
        f"{result['bare_after']:.0f} after",
        "",
        "| server | connections | of the bare process | requests/s | p50 ms | p99 ms |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for server, rows in result["http"].items():
        for count, row in rows.items():
            rate = row["requests_per_second"]
            lines.append(
                f"| {server} | {count} | {rate / best:.0%} | {rate:.0f} | {row['p50_ms']:.1f} "
                f"| {row['p99_ms']:.1f} |"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
