"""Metrics cost no answer: labels of any kind are counted, and an error is counted, not raised."""

from __future__ import annotations

import logging
from typing import Any
from urllib.parse import unquote

import pytest

from pintag.serve.observability import metrics, ray_metrics
from pintag.serve.observability.metrics import ClassifierMetrics
from pintag.serve.observability.ray_metrics import Counter, Failures, Gauge, escape
from tests.serve.conftest import INFO

pytestmark = pytest.mark.ray

# The last one is the same word with a combining accent; and a name that is not UTF-8.
LABELS = [
    "Süße Hunde", "street art & more", "日本", 'a"b', "10", "50 %", "a\\b\n", "cafe\u0301",
    "\udcff",
]  # fmt: skip


class Recorder:
    """Stands for Ray's module: it keeps what is recorded, and fails for values above 100."""

    def __init__(self) -> None:
        self.recorded: list[tuple[str, float, dict[str, str]]] = []

    def create(self, name: str, description: str, tag_keys: tuple[str, ...]) -> Any:
        recorder = self

        class Metric:
            def inc(self, value: float, tags: dict[str, str]) -> None:
                if value > 100:
                    raise RuntimeError("Ray cannot record it")
                for tag in tags.values():
                    tag.encode("ascii")
                recorder.recorded.append((name, value, tags))

            set = inc

        return Metric()

    Counter = Gauge = create


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    created = Recorder()
    monkeypatch.setattr(ray_metrics, "metrics", created)
    return created


@pytest.fixture
def failures(monkeypatch: pytest.MonkeyPatch) -> Failures:
    fresh = Failures()
    for module in (metrics, ray_metrics):
        monkeypatch.setattr(module, "failures", fresh)
    return fresh


@pytest.mark.parametrize("label", LABELS)
def test_a_label_reaches_prometheus_in_ascii_and_can_be_read_again(label: str) -> None:
    escaped = escape(label)
    assert escaped.isascii()
    assert escaped.isprintable()
    assert unquote(escaped, errors="surrogateescape") == label


@pytest.mark.parametrize("label", ["street art & more", "10", 'a"b', "a/b", "a-b_c"])
def test_a_label_in_ascii_stays_as_it_is(label: str) -> None:
    assert escape(label) == label


@pytest.mark.parametrize("label", LABELS)
def test_ray_counts_a_label_of_any_kind(label: str, failures: Failures) -> None:
    Counter("pintag_test_labels", "A test", ("label",)).inc(tags={"label": label})
    assert failures.count == 0


def test_an_answer_is_counted_whatever_its_label_is(recorder: Recorder, failures: Failures) -> None:
    counted = ClassifierMetrics(INFO)
    for label in LABELS:
        counted.count_tags(label, 0.9, 1)
    tags = [tags["label"] for name, _, tags in recorder.recorded if name == "pintag_tags"]
    assert [unquote(tag, errors="surrogateescape") for tag in tags] == LABELS
    assert failures.count == 0


def test_a_metric_that_cannot_be_recorded_is_counted_and_logged_once(
    recorder: Recorder, failures: Failures, logged: list[logging.LogRecord]
) -> None:
    counter, gauge = Counter("pintag_a"), Gauge("pintag_b")
    counter.inc(1000)
    gauge.set(1000)
    counter.inc(1)
    assert failures.count == 2
    assert len(logged) == 1
    assert recorder.recorded == [("pintag_a", 1, {})]


def test_a_reader_that_raises_does_not_end_the_others(
    recorder: Recorder, failures: Failures
) -> None:
    def fail() -> float:
        raise OSError("it is gone")

    published = ClassifierMetrics(INFO)
    published.watch_queue(fail)
    published.watch_cache(lambda: 7)
    recorder.recorded.clear()
    before = failures.count
    published.publish()
    assert ("pintag_cache_bytes", 7, {}) in recorder.recorded
    assert failures.count > before


def test_a_request_counts_once_for_each_of_its_images(recorder: Recorder) -> None:
    observed = ClassifierMetrics(INFO)
    with observed.timed_request(4):
        pass
    with observed.timed_request():
        pass
    recorder.recorded.clear()
    observed.publish()
    counts = {name: value for name, value, _ in recorder.recorded}
    assert counts["pintag_total_seconds_count"] == 5
