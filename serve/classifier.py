"""The classifier deployment: answers that are known, and predictions; an ingress of its own.

Under throughput mode this code shares the event loop with Ray's own server.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray import serve

from pintag.engine import Confidences
from pintag.labels import Tag
from serve import access, http
from serve.cache import AnswerCache
from serve.config import AccessConfig, ClassifierConfig, EngineConfig
from serve.metrics import Metrics
from serve.predictor import Predictor
from serve.replica import Replica

if TYPE_CHECKING:
    from starlette.types import ASGIApp


@serve.deployment
@serve.ingress()
class Classifier:
    """Tags images with one bundle."""

    def __init__(
        self,
        path: str,
        settings: dict[str, Any],
        engine: dict[str, Any],
        door: dict[str, Any],
        explained: bool = True,
    ) -> None:
        """From a `ClassifierConfig`, an `EngineConfig` and an `AccessConfig`, as plain data.

        `explained` says whether there is an explainer beside it, to tell clients of.
        """
        self._access = AccessConfig.model_validate(door)
        self.config = ClassifierConfig.model_validate(settings)
        self._replica = Replica(Path(path), self.config, EngineConfig.model_validate(engine))
        self.info = self._replica.info.model_copy(update={"explained": explained})
        self.model = self._replica.model
        self.metrics = Metrics(self.info)
        self._cache = AnswerCache(self.config.cache_bytes)
        self._predictor = Predictor(self._replica, self.config, self.metrics)
        self.metrics.watch_cache(self._cache)

    def __serve_build_asgi_app__(self) -> ASGIApp:
        return access.guard(http.build(self), self._access, self.metrics)

    async def check_health(self) -> None:
        """See `Replica.check`."""
        await asyncio.get_running_loop().run_in_executor(None, self._replica.check)

    async def tag(
        self, images: Sequence[bytes], max_tags: int, min_confidence: float
    ) -> list[list[Tag] | Exception]:
        """The tags of each encoded image of a request, or why it has none.

        That is an `ImageError` where it is no image that is accepted, and a `TimeoutError` where
        the deadline passed. Cancelled, it begins no image any more.

        Raises:
            OverloadedError: as many images as the replica admits are under way.
        """
        keys = [self._cache.key(data) for data in images]
        rows: list[Confidences | Exception | None] = [self._cache.get(key) for key in keys]
        missing = [place for place, row in enumerate(rows) if row is None]
        self.metrics.count_lookups(len(rows) - len(missing), len(missing), self._cache)
        if missing:
            found = await self._predictor.predict([images[place] for place in missing])
            for place, row in zip(missing, found, strict=True):
                rows[place] = row
                if not isinstance(row, Exception):
                    self._cache.put(keys[place], row)
        return [self._tags(row, max_tags, min_confidence) for row in rows]

    def _tags(
        self, row: Confidences | Exception | None, max_tags: int, min_confidence: float
    ) -> list[Tag] | Exception:
        assert row is not None
        if isinstance(row, Exception):
            return row
        labels = self._replica.labels
        tags = labels.top(row, max_tags, min_confidence)
        first = int(row.argmax())
        self.metrics.count_tags(labels[first], float(row[first]), len(tags))
        return tags
