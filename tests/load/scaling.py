"""Replicas that follow the load: a step and a ramp, with engines that are slow on purpose.

Each engine takes 20 ms more for every image, without taking a core, on a local cluster that is told
it has more processors than there are: a replica tags some 45 images a second, and many replicas fit
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

from serve.config import ClassifierConfig
from tests.conftest import ROOT, free_port
from tests.load import openloop
from tests.load.openloop import Fates
from tests.load.setting import Setting

SECONDS_PER_IMAGE = 0.02
MOST = 8
# What is unlike configs/serve/cluster.yaml: a run of minutes cannot wait five of them.
DOWNSCALE_DELAY, DRAIN_SECONDS = 20, 10
_LOW, _HIGH, _HIGHEST = 30.0, 80.0, 250.0

Load = Sequence[tuple[float, float, float]]
"""Seconds, and the rates at their beginning and at their end."""
LOADS: dict[str, Load] = {
    "a step within what there is": [(20, _LOW, _LOW), (60, _HIGH, _HIGH), (90, _LOW, _LOW)],
    "a step beyond it": [(20, _LOW, _LOW), (60, _HIGHEST, _HIGHEST), (90, _LOW, _LOW)],
    "a ramp": [(20, _LOW, _LOW), (90, _LOW, _HIGHEST), (20, _HIGHEST, _HIGHEST), (90, _LOW, _LOW)],
}
Seen = list[tuple[float, int]]


def measure(setting: Setting) -> dict[str, Any]:
    """What became of the requests, and when replicas came and went, by load."""
    settings = {
        "min_replicas": 2,
        "max_replicas": MOST,
        "downscale_delay_s": DOWNSCALE_DELAY,
    }
    told = [f"classifier.autoscaling.{key}={value}" for key, value in settings.items()]
    exporter = free_port()
    found = {}
    for name, load in LOADS.items():
        with setting.serving(
            *told,
            f"http.drain_seconds={DRAIN_SECONDS}",
            "classifier.engine_threads=1",
            "explainer.enabled=false",
            program=(sys.executable, "-m", "tests.load.slow_server", SECONDS_PER_IMAGE),
            PYTHONPATH=str(ROOT),
            RAY_SERVE_HAPROXY_METRICS_PORT=str(exporter),
        ) as server:
            found[name] = _under(load, f"{server.url}/v1/tags", setting.bodies, exporter)
    autoscaling = ClassifierConfig().autoscaling.model_dump() | settings
    return {"settings": {**autoscaling, "drain_seconds": DRAIN_SECONDS}, "loads": found}


def _under(load: Load, url: str, bodies: list[bytes], exporter: int) -> dict[str, Any]:
    times = list(_times(load))
    seen: Seen = []
    over = threading.Event()
    started = time.monotonic()

    def watch() -> None:
        while not over.wait(0.5):
            seen.append((time.monotonic() - started, _replicas(exporter)))

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        fates = openloop.run(url, bodies, times)
    finally:
        over.set()
        watching.join()
    return {"load": load, **_told(load, fates, seen), "seconds": _by_second(fates, seen)}


def _told(load: Load, fates: Fates, seen: Seen) -> dict[str, Any]:
    up = load[0][0]
    down = sum(seconds for seconds, _, _ in load[:-1])
    most = max(count for _, count in seen)
    return {
        "requests": len(fates),
        "refused": fates.refused,
        "failed": fates.failed,
        "statuses": {str(status): count for status, count in fates.statuses().items()},
        "p50_ms": fates.milliseconds(50),
        "p99_ms": fates.milliseconds(99),
        "replicas": [seen[0][1], most, seen[-1][1]],
        "first_replica_after": _after(seen, up, lambda count: count > seen[0][1]),
        "all_replicas_after": _after(seen, up, lambda count: count == most),
        "first_left_after": _after(seen, down, lambda count: count < most),
    }


def _after(seen: Seen, since: float, wanted: Any) -> float | None:
    """Seconds until the replicas were so many."""
    return next((round(at - since, 1) for at, count in seen if at > since and wanted(count)), None)


def _times(load: Load) -> Iterable[float]:
    """When requests are due: people know nothing of each other (a Poisson process)."""
    chance = random.Random(0)
    begun = 0.0
    for seconds, first, last in load:
        at = 0.0
        while True:
            at += chance.expovariate(first + (last - first) * at / seconds)
            if at >= seconds:
                break
            yield begun + at
        begun += seconds


def _replicas(exporter: int) -> int:
    """Of the classifier, that HAProxy passes requests to."""
    said = urllib.request.urlopen(f"http://127.0.0.1:{exporter}/metrics", timeout=5).read().decode()
    found = re.search(
        r'^haproxy_backend_active_servers\{proxy="http-classifier"\} (\d+)', said, re.M
    )
    return int(found[1]) if found else 0


def _by_second(fates: Fates, seen: Seen) -> list[dict[str, Any]]:
    """Of each second of the load: requests, refusals, the worst latency, replicas."""
    rows = []
    for second in range(int(max(fate.due for fate in fates)) + 1):
        due = [fate for fate in fates if second <= fate.due < second + 1]
        answered = [1000 * fate.seconds for fate in due if fate.status == 200]
        counts = [count for at, count in seen if second <= at < second + 1]
        rows.append(
            {
                "requests": len(due),
                "refused": sum(fate.status == 503 for fate in due),
                "worst_ms": round(max(answered), 1) if answered else None,
                "replicas": float(np.mean(counts)) if counts else None,
            }
        )
    return rows


def draw(found: dict[str, Any], path: Path) -> None:
    """The load, the replicas and the worst latency, second by second."""
    from matplotlib.figure import Figure

    loads = found["loads"]
    figure = Figure((4 * len(loads), 5), layout="constrained")
    grid = figure.subplots(3, len(loads), sharex="col", squeeze=False)
    rows = (("requests/s", "requests", "refused"), ("replicas", "replicas"), ("ms", "worst_ms"))
    for column, (name, told) in zip(grid.T, loads.items(), strict=True):
        column[0].set_title(name)
        column[-1].set_xlabel("seconds")
        for axes, (unit, *keys) in zip(column, rows, strict=True):
            for key in keys:
                values = [second[key] for second in told["seconds"]]
                axes.plot([np.nan if v is None else v for v in values], label=key.replace("_", " "))
            axes.set_ylabel(unit)
            axes.set_ylim(bottom=0)
            axes.legend(fontsize="small")
    figure.savefig(path, dpi=110)
