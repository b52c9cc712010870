"""All measurements, as one record with a table: `make bench BUNDLE=runs/pins IMAGES=pins/test`.

    python -m tests.load.bench --bundle runs/pins --images pins/test
    python -m tests.load.bench --bundle runs/pins --images pins/test --only overload --only bulk

Writes DATE.json, DATE.md and pictures into docs/benchmarks. With --only the other parts of the
day's record stay. Everything goes to loopback, for a bounded time. These machines are noisy: read
ratios, and the bare process before and after.
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

from pintag import files
from tests.conftest import ROOT
from tests.load import bulk, engines, machine, many, overload, report, scaling, servers
from tests.load.setting import Setting, photographs

Measure = Callable[[Setting], dict[str, Any]]

PARTS: dict[str, Measure] = {
    "servers": servers.measure,
    "many": many.measure,
    "overload": overload.measure,
    "engines": engines.measure,
    "bulk": bulk.measure,
    "memory": bulk.memory,
    "scaling": scaling.measure,
}
DRAWN = {"overload": overload.draw, "memory": bulk.draw, "scaling": scaling.draw}


def main() -> None:
    """Measure, part by part; what is there is written after each."""
    options = _options()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    options.out.mkdir(parents=True, exist_ok=True)
    stem = datetime.datetime.now(datetime.UTC).date().isoformat()
    path = options.out / f"{stem}.json"
    record = json.loads(path.read_text()) if options.only and path.exists() else {}
    with tempfile.TemporaryDirectory() as name:
        setting = Setting(
            options.bundle, options.images, options.seconds, options.rounds, Path(name),
            options.rows, options.triton,
        )  # fmt: skip
        for part in options.only or PARTS:
            print(f"{part} …", file=sys.stderr, flush=True)
            found = PARTS[part](setting)
            record[part] = {**machine.describe(setting), "found": found}
            if part in DRAWN:
                DRAWN[part](found, options.out / f"{stem}-{part}.png")
            files.write_atomic(path, (json.dumps(record, allow_nan=False) + "\n").encode())
            files.write_atomic(path.with_suffix(".md"), report.markdown(stem, record).encode())
    print(path.with_suffix(".md").read_text())


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", type=Path, required=True, help="after `pintag optimize`")
    parser.add_argument("--images", type=Path, required=True, help="a folder of JPEG photographs")
    parser.add_argument("--only", action="append", choices=PARTS, help="a part; may be repeated")
    parser.add_argument("--seconds", type=float, default=8, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3, help="how often contenders take turns")
    parser.add_argument("--rows", type=int, default=100_000, help="of the bulk job for its memory")
    parser.add_argument("--triton", type=Path, help="a Python that has nvidia-pytriton")
    parser.add_argument("--out", type=Path, default=ROOT / "docs/benchmarks")
    options = parser.parse_args()
    if not shutil.which("wrk"):
        parser.error("wrk is not installed (Debian's package wrk)")
    if not photographs(options.images):
        parser.error(f"{options.images}: there are no .jpg files here")
    return options


if __name__ == "__main__":
    main()
