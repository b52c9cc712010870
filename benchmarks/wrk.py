"""Run wrk: each of its connections waits for an answer before it sends the next request."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

WrkResult = dict[str, float]

# The default of wrk is two seconds.
_TIMEOUT_S = 60

# Without a script wrk sends the same request again and again.
_ROTATION = """
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


def write_script(script: Path, bodies: Sequence[Path], path: str, media: str) -> Path:
    """Write a script that posts the files in rotation; return its path."""
    script.write_text(_ROTATION % (write_list(script.with_suffix(".txt"), bodies), path, media))
    return script


def write_list(path: Path, files: Sequence[Path]) -> Path:
    """Write a list of files, one path a line, for a script to read; return its path."""
    path.write_text("".join(f"{file}\n" for file in files))
    return path


def run(url: str, connections: int, seconds: float, script: Path) -> WrkResult:
    """One run of wrk: requests a second, median and 99th percentile in milliseconds, failures."""
    command = [
        "wrk", "-t1", f"-c{connections}", f"-d{seconds:.0f}s", "--timeout", f"{_TIMEOUT_S}s",
        "--latency", "-s", str(script), url,
    ]  # fmt: skip
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", output)
    broken = re.search(r"Socket errors: (.*)", output)
    return {
        "requests_per_second": float(_matched(r"Requests/sec:\s+([\d.]+)", output)),
        "p50_ms": _milliseconds(_matched(r"^\s+50%\s+(\S+)", output)),
        "p99_ms": _milliseconds(_matched(r"^\s+99%\s+(\S+)", output)),
        "failed": (int(refused[1]) if refused else 0)
        + (sum(map(int, re.findall(r"\d+", broken[1]))) if broken else 0),
    }


def _matched(pattern: str, output: str) -> str:
    match = re.search(pattern, output, re.M)
    if match is None:
        raise SystemExit(f"the output of wrk does not match {pattern!r}:\n{output}")
    return match[1]


def _milliseconds(text: str) -> float:
    number, unit = re.findall(r"[\d.]+|[a-z]+", text)
    return float(number) * {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}[unit]
