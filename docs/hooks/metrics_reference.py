"""The metrics page: what the server's metric classes declare when they are created."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from unittest import mock

from pintag.serve.model_info import ModelInfo
from pintag.serve.observability import metrics

_INTRODUCTION = """# Metrics

Prometheus reads the metrics of each node at `http://NODE:8080/metrics` (`metrics.port`). Ray adds
the labels `application`, `deployment` and `replica` to each metric. Ray's own metrics
(`ray_serve_…`) are at the same address. HAProxy's metrics are at `http://NODE:9101/metrics`. They
count the requests that HAProxy refuses. This page is generated from the code.

A histogram has the series `NAME_bucket`, `NAME_sum` and `NAME_count`. The sums are exact. If
`ray_pintag_confidence` and `ray_pintag_abstentions_total` change, the uploaded images may have
changed.

"""

_HISTOGRAM_PARTS = ("bucket", "sum", "count")


@dataclass(frozen=True)
class Metric:
    """One metric as Prometheus shows it."""

    name: str
    kind: str
    labels: tuple[str, ...]
    help: str


def page() -> str:
    """The page as Markdown."""
    rows = ["| metric | type | labels | description |", "| --- | --- | --- | --- |"]
    for metric in declared():
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        rows.append(f"| `{metric.name}` | {metric.kind} | {labels} | {metric.help} |")
    return _INTRODUCTION + "\n".join(rows) + "\n"


def declared() -> list[Metric]:
    """All metrics of the server, by name; the three series of a histogram are one metric."""
    series = {metric.name: metric for metric in _series()}
    for name in list(series):
        parts = [f"{name.removesuffix('_bucket')}_{part}" for part in _HISTOGRAM_PARTS]
        if name.endswith("_bucket") and all(part in series for part in parts):
            first = series[name]
            for part in parts:
                del series[part]
            whole = name.removesuffix("_bucket")
            series[whole] = Metric(whole, "histogram", (), first.help)
    return sorted(series.values(), key=lambda metric: metric.name)


def _series() -> list[Metric]:
    """Create every public metrics class with recorders instead of Ray's metrics."""
    recorded: list[Metric] = []

    def recorder(kind: str, suffix: str):
        def record(name, description="", tag_keys=(), **_):
            recorded.append(Metric(f"ray_{name}{suffix}", kind, tuple(tag_keys), description))
            return mock.MagicMock()

        return record

    with (
        mock.patch.object(metrics, "Counter", recorder("counter", "_total")),
        mock.patch.object(metrics, "Gauge", recorder("gauge", "")),
        mock.patch("threading.Thread"),
    ):
        for name, kind in inspect.getmembers(metrics, inspect.isclass):
            if name.endswith("Metrics") and not name.startswith("_"):
                _create(kind)
    return recorded


def _create(kind: type) -> None:
    """Create one class, and start the metrics that it declares when something is watched."""
    created = kind(*(_argument(each) for each in inspect.signature(kind).parameters.values()))
    for name, method in inspect.getmembers(created, inspect.ismethod):
        if name.startswith("watch_"):
            method(*(_read for _ in inspect.signature(method).parameters))


def _argument(parameter: inspect.Parameter) -> object:
    if parameter.annotation == "ModelInfo":
        return ModelInfo.model_construct(
            name="", version="", engine="", precision="", created="2026-01-01T00:00:00+00:00"
        )
    return _read


def _read() -> float:
    return 0.0
