"""The server's metrics, declared once. Prometheus reads them from every node's metrics port.

Ray puts `ray_` before each name and adds the labels application, deployment and replica.

Histograms are counted in the replica and published as gauges. With Ray's own histograms, the agent
of the node records every observation again, one by one. At six observations per image it was busy
in bursts, which delayed requests (docs/performance.md, "Metrics in bursts"). Ray's sums are also
computed from the middles of the buckets, and so are not exact.
"""

from __future__ import annotations

import datetime
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

from pintag.serve.model_info import ModelInfo
from pintag.serve.observability.histogram import Histogram
from pintag.serve.observability.ray_metrics import Counter, Gauge, failures

if TYPE_CHECKING:
    # It imports lime, which the classifier does not need.
    from pintag.explain.explanation import PhaseSeconds

_SECONDS = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20]
_SAMPLES = [32, 64, 128, 256, 512, 1000, 2000, 5000]
# Ray drops a gauge that was not set between two of its own reports, which are 2 s apart.
_PUBLISH_INTERVAL_S = 1
_SIZES = [1, 2, 4, 8, 16, 32, 64, 128]
_DIFFERENCES = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5]
_SHARES = [0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99]


class _PublishedMetrics:
    """Histograms and gauges that a thread publishes to Ray at a fixed interval."""

    def __init__(self) -> None:
        self._publishers: list[Callable[[], None]] = []
        threading.Thread(target=self._publish_forever, name="pintag-metrics", daemon=True).start()

    def _histogram(self, name: str, description: str, bounds: Sequence[float]) -> Histogram:
        """Create a histogram, and publish it from now on."""
        histogram = Histogram(bounds)
        buckets = Gauge(f"{name}_bucket", description, ("le",))
        sum_gauge, count_gauge = (Gauge(f"{name}_{part}", description) for part in ("sum", "count"))

        def publish() -> None:
            counts, total = histogram.read()
            for bound, count in counts.items():
                buckets.set(count, tags={"le": bound})
            sum_gauge.set(total)
            count_gauge.set(counts["+Inf"])

        self._publishers.append(publish)
        return histogram

    def _publish(
        self, gauge: Gauge, read: Callable[[], float], tags: dict[str, str] | None = None
    ) -> None:
        """Publish what `read` returns from now on."""
        self._publishers.append(lambda: gauge.set(read(), tags))

    def _publish_forever(self) -> None:
        while True:
            self.publish()
            time.sleep(_PUBLISH_INTERVAL_S)

    def publish(self) -> None:
        """Publish all values now. A value that cannot be read does not affect the others."""
        # A copy, as another thread may add publishers.
        for publish in tuple(self._publishers):
            failures.guard(publish)


class _ApplicationMetrics(_PublishedMetrics):
    """The metrics that the classifier and the explainer both have."""

    def __init__(self, info: ModelInfo, request_histogram: str) -> None:
        super().__init__()
        self._publish_model(info)
        self._requests = self._histogram(
            request_histogram,
            "Seconds from the last byte of a request to its answer, for each of its images: a "
            "request of n images counts n times, each time with an nth of its seconds",
            _SECONDS,
        )
        self._publish(
            Gauge(
                "pintag_metric_failures_total",
                "Values of metrics that a replica could not record; its log has the first reason",
            ),
            lambda: failures.count,
        )
        self._errors = Counter("pintag_errors", "Images and requests refused or failed", ("kind",))
        self._by_key = Counter("pintag_key_requests", "Requests by API key", ("key", "outcome"))

    def timed_request(self, images: int = 1) -> AbstractContextManager[None]:
        """Observe the seconds of one request, from its last byte to its answer, for each image."""
        return timed(self._requests, images)

    def count_error(self, kind: str) -> None:
        """Count an error; `kind` is that of its `Problem`."""
        self._errors.inc(tags={"kind": kind})

    def count_request(self, key: str, outcome: str) -> None:
        """Count a request with an API key.

        The outcome is `admitted`, `refused` by a limit, or `unavailable` without the rate limiter.
        """
        self._by_key.inc(tags={"key": key, "outcome": outcome})

    def watch_queue(self, read: Callable[[], float]) -> None:
        """Publish the number of admitted images without an answer from now on."""
        self._publish(Gauge("pintag_ongoing", "Images in progress"), read)

    def _publish_model(self, info: ModelInfo) -> None:
        """Publish the model as the labels of a gauge that is always 1, as Prometheus advises."""
        labels = {
            "name": info.name,
            "version": info.version,
            "engine": info.engine,
            "precision": info.precision,
        }
        gauge = Gauge("pintag_model_info", "The model and engine of a replica", tuple(labels))
        self._publish(gauge, lambda: 1, labels)
        created = datetime.datetime.fromisoformat(info.created).timestamp()
        fitted = Gauge("pintag_model_created_seconds", "When the model was fitted, as Unix time")
        self._publish(fitted, lambda: created)


class ClassifierMetrics(_ApplicationMetrics):
    """The metrics of one replica of the classifier."""

    def __init__(self, info: ModelInfo) -> None:
        super().__init__(info, "pintag_total_seconds")
        self.decode = self._histogram(
            "pintag_decode_seconds", "Seconds of decoding one image, from bytes to pixels", _SECONDS
        )
        self.wait = self._histogram(
            "pintag_wait_seconds", "Seconds an image waited for its batch to start", _SECONDS
        )
        self.inference = self._histogram(
            "pintag_inference_seconds", "Seconds of one batch in the engine", _SECONDS
        )
        self.batch_size = self._histogram("pintag_batch_size", "Images in one batch", _SIZES)
        self._lookups = Counter(
            "pintag_cache_lookups", "Images looked up in the answer cache", ("outcome",)
        )
        self._tags = Counter("pintag_tags", "Images by their most confident label", ("label",))
        self._confidence = self._histogram(
            "pintag_confidence", "The confidence in an image's first label", _SHARES
        )
        self._abstentions = Counter(
            "pintag_abstentions", "Images without a tag that reaches the requested confidence"
        )

    def watch_cache(self, read_bytes: Callable[[], float]) -> None:
        """Publish the size of the answer cache from now on."""
        gauge = Gauge("pintag_cache_bytes", "The memory of the answer cache in bytes")
        self._publish(gauge, read_bytes)

    def count_lookups(self, hits: int, misses: int) -> None:
        """Count images looked up in the answer cache."""
        for outcome, count in (("hit", hits), ("miss", misses)):
            # Ray refuses an increment of zero.
            if count:
                self._lookups.inc(count, tags={"outcome": outcome})

    def count_tags(self, label: str, confidence: float, tags: int) -> None:
        """Count an answered image by its first label; `tags` is the number of its tags."""
        self._tags.inc(tags={"label": label})
        self._confidence.observe(confidence)
        if not tags:
            self._abstentions.inc()


class CandidateMetrics(_PublishedMetrics):
    """The metrics of the candidate in one replica of the classifier."""

    def __init__(self, is_healthy: Callable[[], bool]) -> None:
        super().__init__()
        self._seconds = self._histogram(
            "pintag_candidate_seconds",
            "Seconds of the candidate's answer to one request",
            _SECONDS,
        )
        self._difference = self._histogram(
            "pintag_candidate_difference",
            "Absolute difference of confidence in the first label, served bundle and candidate",
            _DIFFERENCES,
        )
        self._images = Counter(
            "pintag_candidate_images", "Images in the candidate's share", ("use", "outcome")
        )
        self._publish(
            Gauge("pintag_candidate_up", "Whether the candidate receives images"), is_healthy
        )

    def timed_answer(self) -> AbstractContextManager[None]:
        """Observe the seconds of one answer, whether it succeeds or fails."""
        return timed(self._seconds)

    def count_image(self, use: str, outcome: str) -> None:
        """Count an image by its use, `canary` or `shadow`, and its outcome.

        A canary is `answered`; a shadow `agreed` or `differed`; both may be `failed` or `dropped`.
        """
        self._images.inc(tags={"use": use, "outcome": outcome})

    def observe_difference(self, difference: float) -> None:
        """Observe the difference of two confidences, 0 to 1."""
        self._difference.observe(difference)


class ExplainerMetrics(_ApplicationMetrics):
    """The metrics of one replica of the explainer."""

    def __init__(self, info: ModelInfo) -> None:
        super().__init__(info, "pintag_explanation_seconds")
        self._segmentation = self._histogram(
            "pintag_segmentation_seconds",
            "Seconds of segmenting one image",
            _SECONDS,
        )
        self._sampling = self._histogram(
            "pintag_sampling_seconds",
            "Seconds of perturbing one image and predicting the results",
            _SECONDS,
        )
        self._fit = self._histogram(
            "pintag_fit_seconds", "Seconds of fitting one image's surrogate", _SECONDS
        )
        self._samples = self._histogram("pintag_samples", "Samples of one explanation", _SAMPLES)
        self._outcomes = Counter(
            "pintag_explanations", "Explanations by mode and outcome", ("mode", "outcome")
        )

    def observe(self, samples: int, seconds: PhaseSeconds) -> None:
        """Observe a finished explanation."""
        self._samples.observe(samples)
        self._segmentation.observe(seconds.segmentation)
        self._sampling.observe(seconds.sampling)
        self._fit.observe(seconds.fit)

    def count_outcome(self, mode: str, outcome: str) -> None:
        """Count an explanation by its mode and outcome.

        The outcome is `separated`, `budget`, `deadline`, `cancelled` or `cached`. Plain LIME always
        ends with `budget`.
        """
        self._outcomes.inc(tags={"mode": mode, "outcome": outcome})


@contextmanager
def timed(histogram: Histogram, count: int = 1) -> Iterator[None]:
    """Observe the wall seconds of the block, however it ends: `count` times an equal share."""
    started = time.perf_counter()
    try:
        yield
    finally:
        histogram.observe((time.perf_counter() - started) / count, count)
