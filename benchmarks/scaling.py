"""Autoscaling: the number of replicas under a step and a ramp of load, with slow engines.

Each engine waits 20 ms more for every image, without using a core. The local cluster is configured
with more processors than exist. So a replica tags some 45 images a second, and many replicas run on
two cores.
"""

from __future__ import annotations

import random
import re
import sys
import threading
import time
import urllib.request
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import openloop
from benchmarks.openloop import Outcomes
from benchmarks.workload import Workload
from pintag.serve.deployment_config import ClassifierConfig
from tests.conftest import ROOT, free_port

SECONDS_PER_IMAGE = 0.02
MAX_REPLICAS = 8
# The delay is shorter than in configs/serve/cluster.yaml, five minutes, to keep the run short.
DOWNSCALE_DELAY_S, DRAIN_S = 20, 10
_LOW, _HIGH, _HIGHEST = 30.0, 80.0, 250.0

Phases = Sequence[tuple[float, float, float]]
"""Phases: their length in seconds, and the requests a second at their beginning and their end."""
LOADS: dict[str, Phases] = {
    "a step within the capacity": [(20, _LOW, _LOW), (60, _HIGH, _HIGH), (90, _LOW, _LOW)],
    "a step beyond it": [(20, _LOW, _LOW), (60, _HIGHEST, _HIGHEST), (90, _LOW, _LOW)],
    "a ramp": [(20, _LOW, _LOW), (90, _LOW, _HIGHEST), (20, _HIGHEST, _HIGHEST), (90, _LOW, _LOW)],
}
ReplicaCounts = list[tuple[float, int]]
"""Seconds after the start, and the number of replicas at that time."""


def measure(workload: Workload) -> dict[str, Any]:
    """For each load: the outcomes of the requests, and when replicas started and stopped."""
    settings = {
        "min_replicas": 2,
        "max_replicas": MAX_REPLICAS,
        "downscale_delay_s": DOWNSCALE_DELAY_S,
    }
    overrides = [f"classifier.autoscaling.{key}={value}" for key, value in settings.items()]
    exporter = free_port()
    results = {}
    for name, load in LOADS.items():
        with workload.serving(
            *overrides,
            f"http.drain_s={DRAIN_S}",
            "classifier.engine_threads=1",
            "explainer.enabled=false",
            program=(sys.executable, "-m", "benchmarks.slow_server", SECONDS_PER_IMAGE),
            PYTHONPATH=str(ROOT),
            RAY_SERVE_HAPROXY_METRICS_PORT=str(exporter),
        ) as server:
            results[name] = _under(load, f"{server.url}/v1/tags", workload.bodies, exporter)
    autoscaling = ClassifierConfig().autoscaling.model_dump() | settings
    return {"settings": {**autoscaling, "drain_s": DRAIN_S}, "loads": results}


def _under(load: Phases, url: str, bodies: list[bytes], exporter: int) -> dict[str, Any]:
    times = list(_times(load))
    counts: ReplicaCounts = []
    over = threading.Event()
    started = time.monotonic()

    def watch() -> None:
        while not over.wait(0.5):
            counts.append((time.monotonic() - started, _replicas(exporter)))

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        outcomes = openloop.run(url, bodies, times)
    finally:
        over.set()
        watching.join()
    return {
        "load": load,
        **_summary(load, outcomes, counts),
        "seconds": _by_second(outcomes, counts),
    }


def _summary(load: Phases, outcomes: Outcomes, counts: ReplicaCounts) -> dict[str, Any]:
    up = load[0][0]
    down = sum(seconds for seconds, _, _ in load[:-1])
    highest = max(count for _, count in counts)
    return {
        "requests": len(outcomes),
        "refused": outcomes.refused,
        "failed": outcomes.failed,
        "statuses": {str(status): count for status, count in outcomes.statuses().items()},
        "p50_ms": outcomes.milliseconds(50),
        "p99_ms": outcomes.milliseconds(99),
        "replicas": [counts[0][1], highest, counts[-1][1]],
        "first_replica_after": _after(counts, up, lambda count: count > counts[0][1]),
        "all_replicas_after": _after(counts, up, lambda count: count == highest),
        "first_left_after": _after(counts, down, lambda count: count < highest),
    }


def _after(counts: ReplicaCounts, since: float, condition: Any) -> float | None:
    """Seconds until the number of replicas met the condition; None if it never did."""
    return next(
        (round(at - since, 1) for at, count in counts if at > since and condition(count)), None
    )


def _times(load: Phases) -> Iterable[float]:
    """The due times of requests that are independent of each other (a Poisson process)."""
    rng = random.Random(0)
    started = 0.0
    for seconds, first, last in load:
        at = 0.0
        while True:
            at += rng.expovariate(first + (last - first) * at / seconds)
            if at >= seconds:
                break
            yield started + at
        started += seconds


def _replicas(exporter: int) -> int:
    """The number of classifier replicas that HAProxy sends requests to."""
    metrics = (
        urllib.request.urlopen(f"http://127.0.0.1:{exporter}/metrics", timeout=5).read().decode()
    )
    match = re.search(
        r'^haproxy_backend_active_servers\{proxy="http-classifier"\} (\d+)', metrics, re.M
    )
    return int(match[1]) if match else 0


def _by_second(outcomes: Outcomes, counts: ReplicaCounts) -> list[dict[str, Any]]:
    """For each second of the load: requests, refusals, the worst latency, replicas."""
    rows = []
    for second in range(int(max(outcome.due for outcome in outcomes)) + 1):
        due = [outcome for outcome in outcomes if second <= outcome.due < second + 1]
        answered = [1000 * outcome.seconds for outcome in due if outcome.status == 200]
        replicas = [count for at, count in counts if second <= at < second + 1]
        rows.append(
            {
                "requests": len(due),
                "refused": sum(outcome.status == 503 for outcome in due),
                "worst_ms": round(max(answered), 1) if answered else None,
                "replicas": float(np.mean(replicas)) if replicas else None,
            }
        )
    return rows


def draw(results: dict[str, Any], path: Path) -> None:
    """Draw the load, the replicas and the worst latency of each second as a PNG file."""
    from matplotlib.figure import Figure

    loads = results["loads"]
    figure = Figure((4 * len(loads), 5), layout="constrained")
    grid = figure.subplots(3, len(loads), sharex="col", squeeze=False)
    rows = (("requests/s", "requests", "refused"), ("replicas", "replicas"), ("ms", "worst_ms"))
    for column, (name, result) in zip(grid.T, loads.items(), strict=True):
        column[0].set_title(name)
        column[-1].set_xlabel("seconds")
        for axes, (unit, *keys) in zip(column, rows, strict=True):
            for key in keys:
                values = [second[key] for second in result["seconds"]]
                axes.plot([np.nan if v is None else v for v in values], label=key.replace("_", " "))
            axes.set_ylabel(unit)
            axes.set_ylim(bottom=0)
            axes.legend(fontsize="small")
    figure.savefig(path, dpi=110)
