"""Goodput and latency while the load grows beyond the capacity, up to three times the peak.

The load is an open loop. The client runs on the same cores as the server.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import openloop
from benchmarks.workload import Workload

UNLOADED, HIGH, OVERLOADED = 0.1, 0.7, 3.0
SHARES = (UNLOADED, 0.4, HIGH, 0.9, 1.0, 1.2, 1.5, 2.0, OVERLOADED)
# The search for the peak begins at this rate and multiplies it by this step.
_FIRST, _STEP = 200.0, 1.15

Measurement = dict[str, Any]


def measure(workload: Workload) -> dict[str, Any]:
    """The peak, and a row for each share of it."""
    with workload.serving() as server:
        url = f"{server.url}/v1/tags"
        _at(url, workload.bodies, _FIRST, 3)
        peak = _peak(url, workload.bodies, workload.seconds / 2)
        rounds = [
            [_at(url, workload.bodies, share * peak, workload.seconds) for share in SHARES]
            for _ in range(workload.rounds)
        ]
    rows = [_typical(repeats) for repeats in zip(*rounds, strict=True)]
    return {
        "peak": peak,
        "rows": [{"share": share, **row} for share, row in zip(SHARES, rows, strict=True)],
        "rounds": rounds,
    }


def _at(url: str, bodies: list[bytes], rate: float, seconds: float) -> Measurement:
    outcomes = openloop.run(url, bodies, openloop.steady(rate, seconds))
    return {
        "rate": rate,
        "goodput": outcomes.answered(seconds) / seconds,
        "p50_ms": outcomes.milliseconds(50),
        "p99_ms": outcomes.milliseconds(99),
        "refused": outcomes.refused,
        "refusal_p99_ms": outcomes.milliseconds(99, 503),
        "retry_after": sorted({row.retry_after for row in outcomes if row.status == 503}),
        "failed": outcomes.failed,
    }


def _typical(repeats: Sequence[Measurement]) -> Measurement:
    """The median of each figure, and the sum of refusals and failures."""
    keys = ("rate", "goodput", "p50_ms", "p99_ms", "refusal_p99_ms")
    figures = {key: [row[key] for row in repeats if row[key] is not None] for key in keys}
    return {
        **{key: median(values) if values else None for key, values in figures.items()},
        "refused": sum(row["refused"] for row in repeats),
        "retry_after": sorted({after for row in repeats for after in row["retry_after"]}),
        "failed": sum(row["failed"] for row in repeats),
    }


def _peak(url: str, bodies: list[bytes], seconds: float) -> float:
    """The highest rate of answers a second: the rate is raised until the answers stop growing."""
    best, rate = 0.0, _FIRST
    while True:
        answered = float(_at(url, bodies, rate, seconds)["goodput"])
        if answered < 0.98 * rate and answered < 1.02 * best:
            return best
        best, rate = max(best, answered), rate * _STEP


def draw(results: dict[str, Any], path: Path) -> None:
    """Draw the curves of the goodput and the latencies as a PNG file."""
    from matplotlib.figure import Figure

    rows = results["rows"]
    shares = [row["share"] for row in rows]
    figure = Figure((9, 3.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(shares, [row["goodput"] / results["peak"] for row in rows], marker="o")
    left.axhline(0.9, linestyle=":", color="grey")
    left.set(xlabel="offered, of the peak", ylabel="answered, of the peak", ylim=(0, 1.1))
    for name, label in (("p50_ms", "median"), ("p99_ms", "p99"), ("refusal_p99_ms", "refusal p99")):
        points = [(row["share"], row[name]) for row in rows if row[name] is not None]
        if points:
            right.plot(*zip(*points, strict=True), marker="o", label=label)
    right.set(xlabel="offered, of the peak", ylabel="ms", yscale="log")
    right.legend()
    figure.savefig(path, dpi=110)
