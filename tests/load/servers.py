"""One image a request, over 1, 16 and 64 connections, beside other servers doing the same work.

The servers take turns, each alone on the machine, and the bare process is measured before and after
all of them in every round.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from tests.load import baselines, wrk
from tests.load.setting import Setting
from tests.load.wrk import Row

CONNECTIONS = (1, 16, 64)
OURS, FASTAPI = "pintag", "FastAPI + uvicorn"
TRITON, RECIPE = "Triton (pytriton)", "Ray Serve's recipe, TensorFlow"

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
            wrk.run(url, 16, 3, mine)
            found[server] = {
                count: wrk.run(url, count, setting.seconds, mine) for count in CONNECTIONS
            }
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
    ours = wrk.turns(setting.place / "rotate.lua", setting.paths, "/v1/tags", "image/jpeg")
    triton = setting.place / "triton.lua"
    triton.write_text(_TRITON_SCRIPT % wrk.listed(setting.place / "triton.txt", setting.paths))
    return ours, triton


def _with_ratio(round_: dict[str, Any], row: Row) -> Row:
    best = max(round_["bare_before"], round_["bare_after"])
    return {**row, "of_bare": row["requests_per_second"] / best}


def _medians(rows: list[Row]) -> Row:
    return {name: median(row[name] for row in rows) for name in rows[0]}
