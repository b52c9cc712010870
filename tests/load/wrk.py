"""wrk, which sends requests over so many connections and waits for each answer before the next."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

Row = dict[str, float]

# wrk gives up a request after two seconds unless it is told otherwise.
_PATIENCE = 60

# It sends the same request again unless a script has others.
_TURNS = """
local requests = {}
for path in io.lines("%s") do
  local file = io.open(path, "rb")
  local body = file:read("*all")
  file:close()
  requests[#requests + 1] = wrk.format("POST", "%s", {["Content-Type"] = "%s"}, body)
end
local at = 0
function request()
  at = at %% #requests + 1
  return requests[at]
end
"""


def turns(script: Path, bodies: Sequence[Path], path: str, media: str) -> Path:
    """Write a script that posts files in turn."""
    script.write_text(_TURNS % (listed(script.with_suffix(".txt"), bodies), path, media))
    return script


def listed(place: Path, paths: Sequence[Path]) -> Path:
    """Write the names of files where a script reads them."""
    place.write_text("".join(f"{path}\n" for path in paths))
    return place


def run(url: str, connections: int, seconds: float, script: Path) -> Row:
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
