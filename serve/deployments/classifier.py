"""The classifier deployment: cached answers, predictions, and images routed to a candidate.

In Ray's throughput mode this code runs on the event loop of Ray's own server, so it must not block.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ray import serve

from pintag.core.types import Confidences
from pintag.serve.api import clients, request_rules, tags
from pintag.serve.auth import actor_limiter, middleware
from pintag.serve.config import AccessConfig, ApiConfig
from pintag.serve.deployment_config import CandidateConfig, ClassifierConfig, EngineConfig
from pintag.serve.deployments import canary
from pintag.serve.deployments.answers import AnswerBuilder
from pintag.serve.deployments.canary import CanaryRouter, RoutedRow
from pintag.serve.errors import OverloadedError
from pintag.serve.inference import off_loop
from pintag.serve.inference.answer_cache import AnswerCache
from pintag.serve.inference.core_sharing import BusyLock
from pintag.serve.inference.loaded_model import LoadedModel
from pintag.serve.inference.predictor import Predictor
from pintag.serve.ingress.identity import identified
from pintag.serve.model_info import ModelInfo
from pintag.serve.observability.metrics import ClassifierMetrics

if TYPE_CHECKING:
    from starlette.types import ASGIApp


@serve.deployment
@serve.ingress()
class Classifier:
    """Tags images with one bundle."""

    def __init__(
        self,
        uri: str,
        settings: dict[str, Any],
        engine: dict[str, Any],
        access: dict[str, Any],
        candidate: dict[str, Any],
        explained: bool,
        http: dict[str, Any],
    ) -> None:
        """Load the bundle at `uri`.

        Args:
            uri: the bundle's folder or URI.
            settings: a `ClassifierConfig` as plain data.
            engine: an `EngineConfig` as plain data.
            access: an `AccessConfig` as plain data.
            candidate: a `CandidateConfig` as plain data.
            explained: whether the explainer application runs too; `GET /v1/model` reports it.
            http: an `ApiConfig` as plain data.
        """
        self._uri = uri
        self._access = AccessConfig.model_validate(access)
        self._http = ApiConfig.model_validate(http)
        starting = actor_limiter.start(self._access)
        self.config = ClassifierConfig.model_validate(settings)
        self._served = LoadedModel(uri, self.config, EngineConfig.model_validate(engine))
        self._info = self._served.info.model_copy(update={"explained": explained})
        self._model = self._served.model.model_dump()
        self.metrics = ClassifierMetrics(self._info)
        self._answers = AnswerBuilder(self._served.labels, self.metrics)
        self._cache = AnswerCache(self.config.cache_bytes)
        self._predictor = Predictor(self._served, self.config, self.metrics, BusyLock())
        self.metrics.watch_cache(lambda: self._cache.size)
        candidate_config = CandidateConfig.model_validate(candidate)
        self._router: CanaryRouter | None = None
        if candidate_config.bundle:
            self._router = canary.start(candidate_config, self._served.labels)
        actor_limiter.wait_for(starting)

    def __serve_build_asgi_app__(self) -> ASGIApp:
        app = tags.build(self, self._http.root_path)
        keyed = middleware.require_api_key(app, self._access, self.metrics)
        return identified(request_rules.wrap(keyed, self._http))

    @property
    def info(self) -> ModelInfo:
        """The served model, and the candidate while it is healthy."""
        return self._info.model_copy(update={"candidate": self._router and self._router.info})

    async def uri(self) -> str:
        """The folder or URI of the bundle."""
        return self._uri

    async def check_health(self) -> None:
        """See `LoadedModel.check`."""
        await asyncio.get_running_loop().run_in_executor(None, self._served.check)

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """See `Predictor.autoscaling_stats`; Ray calls it every few seconds."""
        return self._predictor.autoscaling_stats()

    async def tag(
        self, images: Sequence[bytes], max_tags: int, min_confidence: float
    ) -> list[bytes | Exception]:
        """The `Answer` to each encoded image in order, as JSON, or its error.

        The error is an `ImageError` for an image that is not accepted, and a `TimeoutError` after
        the deadline. If this call is cancelled, images that wait in the queue are skipped.

        Raises:
            ImageTooLargeError, OverloadedError: see `Predictor.predict`.
        """
        digests = await self._digests(images)
        if self._router is None:
            rows = await self._predict(images, digests)
            routed = [RoutedRow(row, self._model) for row in rows]
        else:
            routed = await self._predict_routed(self._router, images, digests)
        return await self._answers.build(routed, max_tags, min_confidence)

    async def _digests(self, images: Sequence[bytes]) -> list[bytes]:
        """The SHA-256 of each encoded image; all empty if neither cache nor router needs them."""
        if not self._cache.is_on and self._router is None:
            return [b""] * len(images)
        return await off_loop.digests(images)

    async def _predict_routed(
        self, router: CanaryRouter, images: Sequence[bytes], digests: Sequence[bytes]
    ) -> list[RoutedRow]:
        """Split the images by route, predict each part, and merge the results in order."""
        routes = [router.route(digest) for digest in digests]
        canaries = {i: images[i] for i, route in enumerate(routes) if route == "canary"}
        if router.info is None:
            # It answers none, and counts them.
            await router.predict(canaries)
            canaries = {}
        served = [i for i in range(len(images)) if i not in canaries]
        results, rows = await self._predict_both(
            router, canaries, [images[i] for i in served], [digests[i] for i in served]
        )
        results |= {i: RoutedRow(row, self._model) for i, row in zip(served, rows, strict=True)}
        if unanswered := [i for i in canaries if i not in results]:
            rest = await self._predict_unanswered(
                [images[i] for i in unanswered], [digests[i] for i in unanswered], rows
            )
            results |= {
                i: RoutedRow(row, self._model) for i, row in zip(unanswered, rest, strict=True)
            }
        router.compare(
            [
                (images[i], row)
                for i, row in zip(served, rows, strict=True)
                if routes[i] == "shadow" and not isinstance(row, Exception)
            ]
        )
        return [results[i] for i in range(len(images))]

    async def _predict_both(
        self,
        router: CanaryRouter,
        canaries: Mapping[int, bytes],
        images: Sequence[bytes],
        digests: Sequence[bytes],
    ) -> tuple[dict[int, RoutedRow], list[Confidences | Exception]]:
        """The candidate's rows of canaries, and the served bundle's of other images, at once."""
        if not canaries:
            return {}, await self._predict(images, digests)
        candidate = asyncio.ensure_future(router.predict(canaries))
        try:
            return await asyncio.gather(candidate, self._predict(images, digests))
        finally:
            # When the served bundle is overloaded, nobody waits for the candidate any more.
            candidate.cancel()

    async def _predict_unanswered(
        self,
        images: Sequence[bytes],
        digests: Sequence[bytes],
        finished: Sequence[Confidences | Exception],
    ) -> list[Confidences | Exception]:
        """The served bundle's rows of canaries that the candidate did not answer.

        If the replica is overloaded by now, they alone are refused: other images are `finished`.
        """
        try:
            return await self._predict(images, digests)
        except OverloadedError as error:
            if not finished:
                raise
            return [error] * len(images)

    async def _predict(
        self, images: Sequence[bytes], digests: Sequence[bytes]
    ) -> list[Confidences | Exception]:
        """The served bundle's confidences, from the cache where it has them."""
        client = clients.current.get()
        if not self._cache.is_on:
            return await self._predictor.predict(images, client=client) if images else []
        rows: list[Confidences | Exception | None]
        rows = [self._cache.get(digest) for digest in digests]
        missing = [i for i, row in enumerate(rows) if row is None]
        self.metrics.count_lookups(hits=len(rows) - len(missing), misses=len(missing))
        if missing:

            def cache_late(index: int, row: Confidences) -> None:
                self._cache.put(digests[missing[index]], row)

            predicted = await self._predictor.predict(
                [images[i] for i in missing], cache_late, client
            )
            for i, row in zip(missing, predicted, strict=True):
                rows[i] = row
                if not isinstance(row, Exception):
                    self._cache.put(digests[i], row)
        return [row for row in rows if row is not None]
