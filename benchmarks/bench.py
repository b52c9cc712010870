"""Run all measurements and write one record: `make bench BUNDLE=runs/pins IMAGES=pins/test`.

    python -m benchmarks.bench --bundle runs/pins --images pins/test
    python -m benchmarks.bench --bundle runs/pins --images pins/test --only overload --only bulk

Writes DATE.json, DATE.md and plots into docs/benchmarks. With --only the other parts of the day's
record are kept. All traffic goes to loopback, for a limited time. The machine is noisy: compare the
ratios, and the rates of the bare process before and after.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import bulk, engines, machine, many, overload, report, scaling, servers
from benchmarks.workload import Workload, photographs
from pintag.core import files
from tests.conftest import ROOT

Measure = Callable[[Workload], dict[str, Any]]

PARTS: dict[str, Measure] = {
    "servers": servers.measure,
    "many": many.measure,
    "overload": overload.measure,
    "engines": engines.measure,
    "bulk": bulk.measure,
    "memory": bulk.memory,
    "scaling": scaling.measure,
}
PLOTS = {"overload": overload.draw, "memory": bulk.draw, "scaling": scaling.draw}


def main() -> None:
    """Measure part by part; the record is written after each part."""
    options = _options()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    options.out.mkdir(parents=True, exist_ok=True)
    stem = datetime.datetime.now(datetime.UTC).date().isoformat()
    path = options.out / f"{stem}.json"
    record = json.loads(path.read_text()) if options.only and path.exists() else {}
    with tempfile.TemporaryDirectory() as name:
        workload = Workload(
            options.bundle, options.images, options.seconds, options.rounds, Path(name),
            options.rows, options.triton,
        )  # fmt: skip
        for part in options.only or PARTS:
            print(f"{part} …", file=sys.stderr, flush=True)
            results = PARTS[part](workload)
            record[part] = {**machine.describe(workload), "found": results}
            if part in PLOTS:
                PLOTS[part](results, options.out / f"{stem}-{part}.png")
            files.write_atomic(path, (json.dumps(record, allow_nan=False) + "\n").encode())
            files.write_atomic(path.with_suffix(".md"), report.markdown(stem, record).encode())
    print(path.with_suffix(".md").read_text())


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", type=Path, required=True, help="with int8 (`pintag optimize`)")
    parser.add_argument("--images", type=Path, required=True, help="a folder of JPEG photographs")
    parser.add_argument("--only", action="append", choices=PARTS, help="a part; may be repeated")
    parser.add_argument("--seconds", type=float, default=8, help="length of each measurement")
    parser.add_argument(
        "--rounds", type=int, default=3, help="how often each contender is measured"
    )
    parser.add_argument(
        "--rows", type=int, default=100_000, help="rows of the bulk job whose memory is measured"
    )
    parser.add_argument(
        "--triton", type=Path, help="a Python that has nvidia-pytriton: measure Triton too"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "docs/benchmarks")
    options = parser.parse_args()
    if not shutil.which("wrk"):
        parser.error("wrk is not installed: install Debian's package wrk")
    if not photographs(options.images):
        parser.error(f"{options.images}: contains no .jpg files")
    return options


if __name__ == "__main__":
    main()
