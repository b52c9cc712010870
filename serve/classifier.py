"""The classifier deployment: answers that are known, and predictions; an ingress of its own.

Under throughput mode this code shares the event loop with Ray's own server.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ray import serve

from pintag.engine import Confidences
from serve import access, http, protocol, trial
from serve.cache import AnswerCache
from serve.config import AccessConfig, CandidateConfig, ClassifierConfig, EngineConfig
from serve.metrics import Metrics
from serve.predictor import Predictor
from serve.protocol import ModelInfo
from serve.replica import Replica

if TYPE_CHECKING:
    from starlette.types import ASGIApp


@serve.deployment
@serve.ingress()
class Classifier:
    """Tags images with one bundle."""

    def __init__(
        self,
        place: str,
        settings: dict[str, Any],
        engine: dict[str, Any],
        door: dict[str, Any],
        candidate: dict[str, Any],
        explained: bool,
    ) -> None:
        """From configurations as plain data: its own, the engine's, the door's, the candidate's.

        `explained` says whether there is an explainer beside it, to tell clients of.
        """
        self._access = AccessConfig.model_validate(door)
        self.config = ClassifierConfig.model_validate(settings)
        self._replica = Replica(place, self.config, EngineConfig.model_validate(engine))
        self._info = self._replica.info.model_copy(update={"explained": explained})
        self._model = self._replica.model.model_dump()
        self.metrics = Metrics(self._info)
        self._cache = AnswerCache(self.config.cache_bytes)
        self._predictor = Predictor(self._replica, self.config, self.metrics)
        self.metrics.watch_cache(self._cache)
        tried = CandidateConfig.model_validate(candidate)
        labels, model = self._replica.labels, self._replica.model
        self._trial = trial.begin(tried, model, labels) if tried.bundle else None

    def __serve_build_asgi_app__(self) -> ASGIApp:
        return access.guard(http.build(self), self._access, self.metrics)

    @property
    def info(self) -> ModelInfo:
        """What it serves, and what is on trial beside that."""
        tried = self._trial and self._trial.info
        return self._info.model_copy(update={"candidate": tried})

    async def check_health(self) -> None:
        """See `Replica.check`."""
        await asyncio.get_running_loop().run_in_executor(None, self._replica.check)

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """See `Predictor.autoscaling_stats`; Ray asks for it every few seconds."""
        return self._predictor.autoscaling_stats()

    async def tag(
        self, images: Sequence[bytes], max_tags: int, min_confidence: float
    ) -> list[dict[str, Any] | Exception]:
        """The `Answer` to each encoded image of a request, as plain data, or why it has none.

        That is an `ImageError` where it is no image that is accepted, and a `TimeoutError` where
        the deadline passed. Cancelled, it begins no image any more.

        Raises:
            OverloadedError: as many images as the replica admits are under way.
        """
        if self._trial is None:
            found = [(row, self._model) for row in await self._rows(images)]
        else:
            found = [*await self._trial.rows(images, self._rows)]
        return [self._answer(row, model, max_tags, min_confidence) for row, model in found]

    async def _rows(self, images: Sequence[bytes]) -> list[Confidences | Exception]:
        """What the bundle says, and has said before."""
        keys = [self._cache.key(data) for data in images]
        known = [self._cache.get(key) for key in keys]
        missing = [place for place, row in enumerate(known) if row is None]
        self.metrics.count_lookups(len(known) - len(missing), len(missing), self._cache)
        new = [images[place] for place in missing]
        found = iter(await self._predictor.predict(new) if new else ())
        rows = [next(found) if row is None else row for row in known]
        for place in missing:
            if not isinstance(row := rows[place], Exception):
                self._cache.put(keys[place], row)
        return rows

    def _answer(
        self,
        row: Confidences | Exception,
        model: dict[str, str],
        max_tags: int,
        min_confidence: float,
    ) -> dict[str, Any] | Exception:
        if isinstance(row, Exception):
            return row
        labels = self._replica.labels
        tags = labels.top(row, max_tags, min_confidence)
        first = int(row.argmax())
        self.metrics.count_tags(labels[first], float(row[first]), len(tags))
        return protocol.answer(model, tags)
