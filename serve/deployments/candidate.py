"""The candidate deployment: a second bundle in its own processes, called by the classifier."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from ray import serve
from ray.serve.handle import DeploymentHandle

from pintag.core.errors import ImageTooLargeError
from pintag.core.types import Confidences
from pintag.serve.deployment_config import ClassifierConfig, EngineConfig
from pintag.serve.errors import OverloadedError
from pintag.serve.inference.core_sharing import BusyLock
from pintag.serve.inference.loaded_model import LoadedModel
from pintag.serve.inference.predictor import Predictor
from pintag.serve.model_info import ModelInfo
from pintag.serve.observability.logs import log
from pintag.serve.observability.metrics import ClassifierMetrics

CANDIDATE = "candidate"


@serve.deployment(max_constructor_retry_count=3)
class Candidate:
    """Predicts with the candidate's bundle.

    A replica whose bundle cannot be loaded keeps running and reports the reason. Otherwise Ray
    would restart it again and again on cores that others need, and KubeRay would not consider the
    whole server ready.
    """

    def __init__(self, uri: str, settings: dict[str, Any], engine: dict[str, Any]) -> None:
        """Load the bundle at `uri`.

        Args:
            uri: the bundle's folder or URI.
            settings: a `ClassifierConfig` as plain data.
            engine: an `EngineConfig` as plain data.
        """
        self._failure = ""
        try:
            self._load(uri, ClassifierConfig(**settings), EngineConfig(**engine))
        # A candidate's bundle may fail in any way.
        except Exception as error:
            self._failure = str(error) or repr(error)
            log.exception("the candidate cannot be loaded")

    def _load(self, uri: str, config: ClassifierConfig, engine: EngineConfig) -> None:
        self._model = LoadedModel(uri, config, engine)
        metrics = ClassifierMetrics(self._model.info)
        # Not visible as busy: by default its niceness is higher than the classifier's, so the
        # classifier may borrow a core that the candidate uses.
        busy = BusyLock(observe_only=True)
        self._predictor = Predictor(self._model, config, metrics, busy)

    async def check_health(self) -> None:
        """See `LoadedModel.check`. A replica without a model is healthy, so that Ray keeps it."""
        if not self._failure:
            await asyncio.get_running_loop().run_in_executor(None, self._model.check)

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """See `Predictor.autoscaling_stats`; empty for a replica without a model."""
        return {} if self._failure else self._predictor.autoscaling_stats()

    async def info(self) -> ModelInfo | str:
        """The model that it serves, or the reason why it serves none."""
        return self._failure or self._model.info

    async def predict(self, images: Sequence[bytes]) -> list[Confidences | Exception]:
        """See `Predictor.predict`; the error of a refused request is returned for each image."""
        try:
            return await self._predictor.predict(images)
        except (ImageTooLargeError, OverloadedError) as error:
            return [error] * len(images)


def handle() -> DeploymentHandle:
    """A handle to the candidate's deployment, which need not be running yet."""
    return DeploymentHandle("Candidate", CANDIDATE)


def fetch_info() -> ModelInfo | str:
    """Call `Candidate.info` from a Ray task, which has no event loop."""

    async def fetch() -> ModelInfo | str:
        info: ModelInfo | str = await handle().info.remote()
        return info

    return asyncio.run(fetch())
