"""One image a request, over 1, 16 and 64 connections, beside other servers doing the same work.

The servers take turns, each alone on the machine, and the bare process is measured before and after
all of them in every round.
"""

from __future__ import annotations

import contextlib
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from tests.load import baselines
from tests.load.setting import Setting

CONNECTIONS = (1, 16, 64)
OURS, FASTAPI = "pintag", "FastAPI + uvicorn"
TRITON, RECIPE = "Triton (pytriton)", "Ray Serve's recipe, TensorFlow"
# wrk gives up a request after two seconds unless it is told otherwise.
_PATIENCE = 60

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

Row = dict[str, float]


def measure(setting: Setting) -> dict[str, Any]:
    """By server and connections: medians of the rounds, and what they are of the bare process."""
    rounds = [_round(setting) for _ in range(setting.rounds)]
    return {
        "rounds": rounds,
        "servers": {
            server: {
                str(count): _medians(
                    [_with_ratio(each, each["servers"][server][count]) for each in rounds]
                )
                for count in CONNECTIONS
            }
            for server in rounds[0]["servers"]
        },
    }


def _round(setting: Setting) -> dict[str, Any]:
    script, triton = _scripts(setting)
    before = setting.bare()
    found = {}
    for server, start in _contenders(setting).items():
        with start as url:
            mine = triton if server == TRITON else script
            wrk(url, 16, 3, mine)
            found[server] = {count: wrk(url, count, setting.seconds, mine) for count in CONNECTIONS}
    return {"bare_before": before, "bare_after": setting.bare(), "servers": found}


def _contenders(setting: Setting) -> dict[str, contextlib.AbstractContextManager[str]]:
    log = setting.place / "baseline.log"
    found = {
        OURS: _ours(setting),
        FASTAPI: baselines.fastapi(setting.bundle, log),
        RECIPE: baselines.ray_recipe(setting.bundle, log),
    }
    if setting.triton:
        found[TRITON] = baselines.triton(setting.triton, setting.bundle, log)
    return found


@contextlib.contextmanager
def _ours(setting: Setting) -> Iterator[str]:
    with setting.serving() as server:
        yield server.url


def _scripts(setting: Setting) -> tuple[Path, Path]:
    listed = setting.place / "images.txt"
    listed.write_text("".join(f"{path}\n" for path in setting.paths))
    made = []
    for name, text in (("rotate", _SCRIPT), ("triton", _TRITON_SCRIPT)):
        made.append(setting.place / f"{name}.lua")
        made[-1].write_text(text % listed)
    return made[0], made[1]


def wrk(url: str, connections: int, seconds: float, script: Path) -> Row:
    """One run of wrk: requests a second, median and 99th percentile in milliseconds, failures."""
    command = [
        "wrk", "-t1", f"-c{connections}", f"-d{seconds:.0f}s", "--timeout", f"{_PATIENCE}s",
        "--latency", "-s", str(script), url,
    ]  # fmt: skip
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    broken = re.search(r"Socket errors: (.*)", said)
    return {
        "requests_per_second": float(_found(r"Requests/sec:\s+([\d.]+)", said)),
        "p50_ms": _milliseconds(_found(r"^\s+50%\s+(\S+)", said)),
        "p99_ms": _milliseconds(_found(r"^\s+99%\s+(\S+)", said)),
        "failed": (int(refused[1]) if refused else 0)
        + (sum(map(int, re.findall(r"\d+", broken[1]))) if broken else 0),
    }


def _found(pattern: str, said: str) -> str:
    found = re.search(pattern, said, re.M)
    if found is None:
        raise SystemExit(f"wrk did not say {pattern!r}:\n{said}")
    return found[1]


def _milliseconds(text: str) -> float:
    number, unit = re.findall(r"[\d.]+|[a-z]+", text)
    return float(number) * {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}[unit]


def _with_ratio(round_: dict[str, Any], row: Row) -> Row:
    best = max(round_["bare_before"], round_["bare_after"])
    return {**row, "of_bare": row["requests_per_second"] / best}


def _medians(rows: list[Row]) -> Row:
    return {name: median(row[name] for row in rows) for name in rows[0]}
