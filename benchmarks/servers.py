"""One image a request, over 1, 16 and 64 connections; compared with other servers.

All servers do the same work. They are measured in turn, each alone on the machine. In every round
the bare process is measured before and after them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import baselines, wrk
from benchmarks.workload import Workload
from benchmarks.wrk import WrkResult

CONNECTIONS = (1, 16, 64)
OURS, FASTAPI = "pintag", "FastAPI + uvicorn"
TRITON, RECIPE = "Triton (pytriton)", "Ray Serve's recipe, TensorFlow"

# Triton reads a JSON header, the length of the bytes, and the bytes (KServe's binary data).
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


def measure(workload: Workload) -> dict[str, Any]:
    """Medians of the rounds by server and connections, and their ratio to the bare process."""
    rounds = [_round(workload) for _ in range(workload.rounds)]
    return {
        "rounds": rounds,
        "servers": {
            server: {
                str(count): _medians(
                    [_with_ratio(round_, round_["servers"][server][count]) for round_ in rounds]
                )
                for count in CONNECTIONS
            }
            for server in rounds[0]["servers"]
        },
    }


def _round(workload: Workload) -> dict[str, Any]:
    script, triton = _scripts(workload)
    before = workload.bare()
    results = {}
    for server, start in _contenders(workload).items():
        with start as url:
            chosen = triton if server == TRITON else script
            wrk.run(url, 16, 3, chosen)
            results[server] = {
                count: wrk.run(url, count, workload.seconds, chosen) for count in CONNECTIONS
            }
    return {"bare_before": before, "bare_after": workload.bare(), "servers": results}


def _contenders(workload: Workload) -> dict[str, contextlib.AbstractContextManager[str]]:
    log = workload.work_dir / "baseline.log"
    contenders: dict[str, contextlib.AbstractContextManager[str]] = {
        OURS: _ours(workload),
        FASTAPI: baselines.fastapi(workload.bundle, log),
        RECIPE: baselines.ray_recipe(workload.bundle, log),
    }
    if workload.triton:
        contenders[TRITON] = baselines.triton(workload.triton, workload.bundle, log)
    return contenders


@contextlib.contextmanager
def _ours(workload: Workload) -> Iterator[str]:
    with workload.serving() as server:
        yield server.url


def _scripts(workload: Workload) -> tuple[Path, Path]:
    ours = wrk.write_script(
        workload.work_dir / "rotate.lua", workload.paths, "/v1/tags", "image/jpeg"
    )
    triton = workload.work_dir / "triton.lua"
    triton.write_text(
        _TRITON_SCRIPT % wrk.write_list(workload.work_dir / "triton.txt", workload.paths)
    )
    return ours, triton


def _with_ratio(round_: dict[str, Any], row: WrkResult) -> WrkResult:
    best = max(round_["bare_before"], round_["bare_after"])
    return {**row, "of_bare": row["requests_per_second"] / best}


def _medians(rows: list[WrkResult]) -> WrkResult:
    return {name: median(row[name] for row in rows) for name in rows[0]}
