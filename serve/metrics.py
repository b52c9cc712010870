"""The server's metrics, declared once. Prometheus reads them from every node's metrics port.

Ray puts `ray_` before each name and adds the labels application, deployment and replica.

Histograms are counted in the replica and told as gauges. Of Ray's own the agent of the node records
each observation once more, one by one: six of an image kept it busy in bursts that held up requests
(docs/performance.md, "Metrics in bursts"). Their sums are of the buckets' middles, too.
"""

from __future__ import annotations

import datetime
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

from ray.serve.metrics import Counter, Gauge

from serve.cache import AnswerCache
from serve.histogram import Histogram
from serve.protocol import ModelInfo

if TYPE_CHECKING:
    # It brings lime, which the classifier does without.
    from pintag.explain import Seconds

_SECONDS = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20]
_SAMPLES = [32, 64, 128, 256, 512, 1000, 2000, 5000]
# Seconds between two tellings. Ray drops a gauge that was not set between two reports of its own.
_REPEATED = 1
_SIZES = [1, 2, 4, 8, 16, 32, 64, 128]
_DIFFERENCES = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5]
_SHARES = [0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99]


class _Told:
    """What is told again and again."""

    def __init__(self) -> None:
        self._told: list[Callable[[], None]] = []
        threading.Thread(target=self._tell, name="pintag-metrics", daemon=True).start()

    def _histogram(self, name: str, description: str, boundaries: Sequence[float]) -> Histogram:
        histogram = Histogram(boundaries)
        buckets = Gauge(f"{name}_bucket", description, ("le",))
        added, count = (Gauge(f"{name}_{part}", description) for part in ("sum", "count"))

        def tell() -> None:
            counts, total = histogram.read()
            for bound, so_far in counts.items():
                buckets.set(so_far, tags={"le": bound})
            added.set(total)
            count.set(counts["+Inf"])

        self._told.append(tell)
        return histogram

    def _stand(
        self, gauge: Gauge, read: Callable[[], float], tags: dict[str, str] | None = None
    ) -> None:
        """A gauge that is read again and again."""
        self._told.append(lambda: gauge.set(read(), tags=tags))

    def _tell(self) -> None:
        while True:
            for tell in tuple(self._told):
                tell()
            time.sleep(_REPEATED)


class _Requests(_Told):
    """What both applications count of their requests."""

    def __init__(self, info: ModelInfo, total: str) -> None:
        super().__init__()
        self._tell_model(info)
        self._total = self._histogram(total, "One request, from its head to its answer", _SECONDS)
        self._errors = Counter("pintag_errors", "Images and requests refused or failed", ("kind",))
        self._by_key = Counter("pintag_key_requests", "Requests by API key", ("key", "outcome"))

    def timed_request(self) -> AbstractContextManager[None]:
        """Observe the seconds of one request, from its head to its answer."""
        return timed(self._total)

    def count_error(self, kind: str) -> None:
        """Something went wrong; `kind` is that of its `Problem`."""
        self._errors.inc(tags={"kind": kind})

    def count_request(self, key: str, outcome: str) -> None:
        """A request with a key was admitted, or refused for its limits."""
        self._by_key.inc(tags={"key": key, "outcome": outcome})

    def watch_queue(self, read: Callable[[], float]) -> None:
        """Report, from now on, how many are admitted and not yet answered."""
        self._stand(Gauge("pintag_ongoing", "Images admitted and not yet answered"), read)

    def _tell_model(self, info: ModelInfo) -> None:
        """Prometheus's way to tell a text: a gauge of one, whose labels say it."""
        told = {
            "name": info.name,
            "version": info.version,
            "engine": info.engine,
            "precision": info.precision,
        }
        gauge = Gauge("pintag_model_info", "The model that a replica serves, by what", tuple(told))
        self._stand(gauge, lambda: 1, told)
        created = datetime.datetime.fromisoformat(info.created).timestamp()
        fitted = Gauge("pintag_model_created_seconds", "When the model was fitted, as Unix time")
        self._stand(fitted, lambda: created)


class Metrics(_Requests):
    """What one replica of the classifier counts and times."""

    def __init__(self, info: ModelInfo) -> None:
        super().__init__(info, "pintag_total_seconds")
        self.decode = self._histogram(
            "pintag_decode_seconds", "Decoding one image, from bytes to pixels", _SECONDS
        )
        self.wait = self._histogram(
            "pintag_wait_seconds", "One image's wait for its batch to form and start", _SECONDS
        )
        self.inference = self._histogram(
            "pintag_inference_seconds", "One batch through the engine", _SECONDS
        )
        self.batch_size = self._histogram("pintag_batch_size", "Images in one batch", _SIZES)
        self._lookups = Counter(
            "pintag_cache_lookups", "Images looked up in the cache of answers", ("outcome",)
        )
        self._tags = Counter("pintag_tags", "Images by their most confident label", ("label",))
        self._confidence = self._histogram(
            "pintag_confidence", "The confidence of an image's first label", _SHARES
        )
        self._abstentions = Counter(
            "pintag_abstentions", "Images without a tag as confident as was asked for"
        )

    def watch_cache(self, cache: AnswerCache) -> None:
        """Report, from now on, how large it is."""
        gauge = Gauge("pintag_cache_bytes", "What the cache of answers takes of memory")
        self._stand(gauge, lambda: cache.size)

    def count_lookups(self, hits: int, misses: int, cache: AnswerCache) -> None:
        """Images were looked up, where there is a cache."""
        if not cache.is_on:
            return
        for outcome, count in (("hit", hits), ("miss", misses)):
            # Ray refuses to count nothing.
            if count:
                self._lookups.inc(count, tags={"outcome": outcome})

    def count_tags(self, label: str, confidence: float, tags: int) -> None:
        """An image was answered: its first label, and how many were confident enough."""
        self._tags.inc(tags={"label": label})
        self._confidence.observe(confidence)
        if not tags:
            self._abstentions.inc()


class CandidateMetrics(_Told):
    """What one replica of the classifier counts and times of the candidate."""

    def __init__(self, is_well: Callable[[], bool]) -> None:
        super().__init__()
        self._seconds = self._histogram(
            "pintag_candidate_seconds", "The candidate's answer to one request's images", _SECONDS
        )
        self._difference = self._histogram(
            "pintag_candidate_difference",
            "Between the served bundle's confidence in an image's first label and the candidate's",
            _DIFFERENCES,
        )
        self._images = Counter(
            "pintag_candidate_images", "Images in the candidate's share", ("use", "outcome")
        )
        self._stand(Gauge("pintag_candidate_up", "Whether the candidate is asked"), is_well)

    def timed_answer(self) -> AbstractContextManager[None]:
        """Observe the seconds of one answer, whatever becomes of it."""
        return timed(self._seconds)

    def count_image(self, use: str, outcome: str) -> None:
        """A canary was answered, or a shadow agreed or differed; or it failed, or was dropped."""
        self._images.inc(tags={"use": use, "outcome": outcome})

    def observe_difference(self, difference: float) -> None:
        """Two confidences were compared."""
        self._difference.observe(difference)


class ExplainerMetrics(_Requests):
    """What one replica of the explainer counts and times."""

    def __init__(self, info: ModelInfo) -> None:
        super().__init__(info, "pintag_explanation_seconds")
        self._segmentation = self._histogram(
            "pintag_segmentation_seconds", "Dividing one image into superpixels", _SECONDS
        )
        self._sampling = self._histogram(
            "pintag_sampling_seconds", "Perturbing one image, and predicting that", _SECONDS
        )
        self._fit = self._histogram("pintag_fit_seconds", "Fitting one image's surrogate", _SECONDS)
        self._samples = self._histogram("pintag_samples", "Samples of one explanation", _SAMPLES)
        self._outcomes = Counter(
            "pintag_explanations", "Explanations by how they ended", ("mode", "outcome")
        )

    def observe(self, samples: int, seconds: Seconds) -> None:
        """An explanation was made."""
        self._samples.observe(samples)
        self._segmentation.observe(seconds.segmentation)
        self._sampling.observe(seconds.sampling)
        self._fit.observe(seconds.fit)

    def count_outcome(self, mode: str, outcome: str) -> None:
        """An explanation was separated, ended by budget or deadline, was cancelled, or cached.

        By its mode, too: plain LIME always ends by its budget.
        """
        self._outcomes.inc(tags={"mode": mode, "outcome": outcome})


@contextmanager
def timed(histogram: Histogram) -> Iterator[None]:
    """Observe the wall seconds of the block, however it ends."""
    started = time.perf_counter()
    try:
        yield
    finally:
        histogram.observe(time.perf_counter() - started)
