"""Bulk tagging: images a second beside the bare process, and memory over a long input.

    python tests/load/bulk.py rate --bundle runs/pins --images path/to/folder
    python tests/load/bulk.py memory --bundle runs/pins --rows 1000000 --out memory

`rate` tags the folder's images again and again from a list. `memory` tags small synthetic pictures,
few of them distinct, from Parquet, and writes `memory.csv` and `memory.png`: the proportional set
size of all processes of the job, second by second.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np
import psutil
import pyarrow
import pyarrow.parquet
from PIL import Image

from tests.conftest import PINTAG
from tests.load.bench import bare

DISTINCT, GROUP = 64, 4096


def bulk(source: Path, bundle_dir: Path, out: Path, watch: Any = None) -> dict[str, Any]:
    """One run of the command, watched while it lasts."""
    command = [PINTAG, "bulk", source, "--bundle", bundle_dir, "--out", out, "--json"]
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True)
    if watch:
        threading.Thread(target=watch, args=(process,), daemon=True).start()
    said, _ = process.communicate()
    if process.returncode:
        raise SystemExit("the job failed")
    return dict(json.loads(said))


def rate(arguments: argparse.Namespace) -> dict[str, Any]:
    """Images a second without the start: the difference of a long run and a short one."""
    images = sorted(arguments.images.rglob("*.jpg"))
    counts = (arguments.rows // 8, arguments.rows)
    before = bare(arguments.bundle, images, arguments.seconds)
    seconds = []
    with tempfile.TemporaryDirectory() as name:
        for count in counts:
            listed = Path(name) / f"{count}.txt"
            listed.write_text("".join(f"{images[i % len(images)]}\n" for i in range(count)))
            seconds.append(bulk(listed, arguments.bundle, Path(name) / f"{count}")["seconds"])
    after = bare(arguments.bundle, images, arguments.seconds)
    found = (counts[1] - counts[0]) / (seconds[1] - seconds[0])
    return {
        "images_per_second": found,
        "bare": [before, after],
        "ratio": found / max(before, after),
        "start_seconds": seconds[0] - counts[0] / found,
    }


def memory(arguments: argparse.Namespace) -> dict[str, Any]:
    """The job's memory, second by second."""
    curve: list[tuple[float, float]] = []
    started = time.monotonic()

    def watch(process: subprocess.Popen[str]) -> None:
        while process.poll() is None:
            curve.append((time.monotonic() - started, _mebibytes(process.pid)))
            time.sleep(1)

    with tempfile.TemporaryDirectory() as name:
        source = Path(name) / "pictures.parquet"
        _write(source, arguments.rows)
        told = bulk(source, arguments.bundle, Path(name) / "out", watch)
        rows = pyarrow.parquet.ParquetDataset(Path(name) / "out").read(["uri"])
        distinct = len(set(rows.column("uri").to_pylist()))
    arguments.out.mkdir(parents=True, exist_ok=True)
    with (arguments.out / "memory.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("seconds", "MiB"), *curve])
    _draw(curve, arguments.rows, arguments.out / "memory.png")
    half = curve[len(curve) // 2 :]
    return {
        **told,
        "rows": rows.num_rows,
        "distinct": distinct,
        "peak_mib": max(size for _, size in curve),
        "mib_at_half": half[0][1],
        "mib_at_end": half[-2][1],
    }


def _mebibytes(pid: int) -> float:
    total = 0
    for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
        try:
            total += process.memory_full_info().pss
        except psutil.Error:
            continue
    return total / 2**20


def _write(path: Path, rows: int) -> None:
    rng = np.random.default_rng(0)
    pictures = []
    for _ in range(DISTINCT):
        content = io.BytesIO()
        pixels = rng.integers(0, 256, (4, 4, 3), np.uint8)
        Image.fromarray(pixels).resize((96, 96), Image.Resampling.BICUBIC).save(content, "JPEG")
        pictures.append(content.getvalue())
    with pyarrow.parquet.ParquetWriter(path, pyarrow.schema({"image": pyarrow.binary()})) as file:
        for start in range(0, rows, GROUP):
            group = [pictures[i % DISTINCT] for i in range(start, min(start + GROUP, rows))]
            file.write_table(pyarrow.table({"image": group}))


def _draw(curve: list[tuple[float, float]], rows: int, path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure((7, 3.5), layout="constrained")
    axes = figure.subplots()
    axes.plot(*zip(*curve, strict=True))
    axes.set(
        xlabel="seconds",
        ylabel="MiB, all processes (PSS)",
        title=f"pintag bulk, {rows:,} small synthetic pictures",
    )
    axes.set_ylim(bottom=0)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Measure, and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["rate", "memory"])
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--images", type=Path, help="a folder of JPEG images, for rate")
    parser.add_argument("--rows", type=int, default=40_000)
    parser.add_argument("--seconds", type=int, default=15, help="of each bare measurement")
    parser.add_argument("--out", type=Path, default=Path("bulk-memory"))
    arguments = parser.parse_args()
    found = rate(arguments) if arguments.what == "rate" else memory(arguments)
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
