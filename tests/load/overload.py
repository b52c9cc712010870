"""Goodput and latency as the load grows past what there is: open loop, to three times the peak.

The client takes a share of the same cores.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from tests.load import openloop
from tests.load.setting import Setting

UNLOADED, HIGH, OVERLOADED = 0.1, 0.7, 3.0
SHARES = (UNLOADED, 0.4, HIGH, 0.9, 1.0, 1.2, 1.5, 2.0, OVERLOADED)
# The search for the peak: from this rate on, in these steps.
_FIRST, _STEP = 200.0, 1.15

Row = dict[str, Any]


def measure(setting: Setting) -> dict[str, Any]:
    """The peak, and a row for each share of it."""
    with setting.serving() as server:
        url = f"{server.url}/v1/tags"
        _at(url, setting.bodies, _FIRST, 3)
        peak = _peak(url, setting.bodies, setting.seconds / 2)
        rounds = [
            [_at(url, setting.bodies, share * peak, setting.seconds) for share in SHARES]
            for _ in range(setting.rounds)
        ]
    rows = [_typical(turns) for turns in zip(*rounds, strict=True)]
    return {
        "peak": peak,
        "rows": [{"share": share, **row} for share, row in zip(SHARES, rows, strict=True)],
        "rounds": rounds,
    }


def _at(url: str, bodies: list[bytes], rate: float, seconds: float) -> Row:
    fates = openloop.run(url, bodies, openloop.steady(rate, seconds))
    return {
        "rate": rate,
        "goodput": fates.answered(seconds) / seconds,
        "p50_ms": fates.milliseconds(50),
        "p99_ms": fates.milliseconds(99),
        "refused": fates.refused,
        "refusal_p99_ms": fates.milliseconds(99, 503),
        "retry_after": sorted({fate.retry_after for fate in fates if fate.status == 503}),
        "failed": fates.failed,
    }


def _typical(turns: Sequence[Row]) -> Row:
    """The median of each figure, and everything that went wrong."""
    figures = ("rate", "goodput", "p50_ms", "p99_ms", "refusal_p99_ms")
    known = {key: [row[key] for row in turns if row[key] is not None] for key in figures}
    return {
        **{key: median(found) if found else None for key, found in known.items()},
        "refused": sum(row["refused"] for row in turns),
        "retry_after": sorted({after for row in turns for after in row["retry_after"]}),
        "failed": sum(row["failed"] for row in turns),
    }


def _peak(url: str, bodies: list[bytes], seconds: float) -> float:
    """The most that is answered, by going up until it is no more than before."""
    best, rate = 0.0, _FIRST
    while True:
        found = float(_at(url, bodies, rate, seconds)["goodput"])
        if found < 0.98 * rate and found < 1.02 * best:
            return best
        best, rate = max(best, found), rate * _STEP


def draw(found: dict[str, Any], path: Path) -> None:
    """The curve of goodput, and those of the latencies."""
    from matplotlib.figure import Figure

    rows = found["rows"]
    shares = [row["share"] for row in rows]
    figure = Figure((9, 3.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(shares, [row["goodput"] / found["peak"] for row in rows], marker="o")
    left.axhline(0.9, linestyle=":", color="grey")
    left.set(xlabel="offered, of the peak", ylabel="answered, of the peak", ylim=(0, 1.1))
    for name, label in (("p50_ms", "median"), ("p99_ms", "p99"), ("refusal_p99_ms", "refusal p99")):
        known = [(row["share"], row[name]) for row in rows if row[name] is not None]
        if known:
            right.plot(*zip(*known, strict=True), marker="o", label=label)
    right.set(xlabel="offered, of the peak", ylabel="ms", yscale="log")
    right.legend()
    figure.savefig(path, dpi=110)
