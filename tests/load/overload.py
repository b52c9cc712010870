"""Goodput as the load grows past what there is: open loop, from a tenth of the peak to three times.

    python tests/load/overload.py --bundle runs/pins --images path/to/folder --out overload

Writes `overload.json` and `overload.png`. The client takes a share of the same cores.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.conftest import serving
from tests.load import openloop

SHARES = (0.1, 0.4, 0.7, 0.9, 1.0, 1.2, 1.5, 2.0, 3.0)


def measure(url: str, bodies: list[bytes], rate: float, seconds: float) -> dict[str, Any]:
    """One rate."""
    fates = openloop.run(url, bodies, rate, seconds)
    refused = [fate for fate in fates if fate.status == 503]
    return {
        "rate": rate,
        "goodput": fates.goodput(seconds),
        "p50_ms": 1000 * fates.percentile(50),
        "p99_ms": 1000 * fates.percentile(99),
        "refused": len(refused),
        "refusal_p99_ms": 1000 * fates.percentile(99, 503),
        "retry_after": sorted({fate.retry_after for fate in refused}),
        "statuses": dict(fates.statuses()),
    }


def peak(url: str, bodies: list[bytes], seconds: float, highest: float) -> float:
    """The most that is answered, by going up until it is no more than before."""
    best, rate = 0.0, 200.0
    while rate <= highest:
        found = openloop.run(url, bodies, rate, seconds).goodput(seconds)
        if found < 0.98 * rate and found < 1.02 * best:
            break
        best, rate = max(best, found), rate * 1.15
    return best


def main() -> None:
    """Measure and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--out", type=Path, default=Path("overload"))
    arguments = parser.parse_args()
    bodies = [path.read_bytes() for path in sorted(arguments.images.rglob("*.jpg"))]
    arguments.out.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as name,
        serving(arguments.bundle, Path(name) / "log", "classifier.cache_bytes=0") as server,
    ):
        url = f"{server.url}/v1/tags"
        openloop.run(url, bodies, 200, 3)
        most = peak(url, bodies, arguments.seconds / 2, 10_000)
        rows = [measure(url, bodies, share * most, arguments.seconds) for share in SHARES]
    found = {"peak": most, "rows": rows}
    (arguments.out / "overload.json").write_text(json.dumps(found, indent=2) + "\n")
    _draw(most, rows, arguments.out / "overload.png")
    for row in rows:
        print(json.dumps(row))


def _draw(most: float, rows: list[dict[str, Any]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure((9, 3.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    rates = [row["rate"] / most for row in rows]
    left.plot(rates, [row["goodput"] / most for row in rows], marker="o")
    left.axhline(0.9, linestyle=":", color="grey")
    left.set(xlabel="offered, of the peak", ylabel="answered, of the peak", ylim=(0, 1.1))
    for name, label in (("p50_ms", "median"), ("p99_ms", "p99"), ("refusal_p99_ms", "refusal p99")):
        right.plot(rates, [row[name] for row in rows], marker="o", label=label)
    right.set(xlabel="offered, of the peak", ylabel="ms", yscale="log")
    right.legend()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
