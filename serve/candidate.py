"""The candidate deployment: a second bundle, in processes of its own, asked by the classifier."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from ray import serve
from ray.serve.handle import DeploymentHandle

from pintag.engine import Confidences
from serve.config import ClassifierConfig, EngineConfig
from serve.metrics import Metrics
from serve.predictor import Predictor
from serve.problems import log
from serve.protocol import ModelInfo, OverloadedError
from serve.replica import Replica

CANDIDATE = "candidate"


@serve.deployment(max_constructor_retry_count=3)
class Candidate:
    """Predicts with a bundle that is on trial.

    Where that cannot be done a replica stays, and says why: Ray would start it again and again on
    cores that are wanted, and KubeRay wait with the whole server until it is well.
    """

    def __init__(self, place: str, settings: dict[str, Any], engine: dict[str, Any]) -> None:
        """From a `ClassifierConfig` and an `EngineConfig`, as plain data."""
        self._illness = ""
        try:
            self._begin(place, ClassifierConfig(**settings), EngineConfig(**engine))
        # Whatever it is: a bundle on trial may have anything.
        except Exception as error:
            self._illness = str(error) or repr(error)
            log.exception("the candidate cannot be asked")

    def _begin(self, place: str, config: ClassifierConfig, engine: EngineConfig) -> None:
        self._replica = Replica(place, config, engine)
        metrics = Metrics(self._replica.info)
        # It is nicer than the classifier, which may have a core that this one uses.
        self._predictor = Predictor(self._replica, config, metrics, yields=True)

    async def check_health(self) -> None:
        """See `Replica.check`."""
        if not self._illness:
            await asyncio.get_running_loop().run_in_executor(None, self._replica.check)

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """See `Predictor.autoscaling_stats`; a replica that is ill has nothing to do."""
        return {} if self._illness else self._predictor.autoscaling_stats()

    async def info(self) -> ModelInfo | str:
        """What it serves, or why it serves nothing."""
        return self._illness or self._replica.info

    async def predict(self, images: Sequence[bytes]) -> list[Confidences | Exception]:
        """See `Predictor.predict`; an `OverloadedError` is each image's."""
        try:
            return await self._predictor.predict(images)
        except OverloadedError as error:
            return [error] * len(images)


def handle() -> DeploymentHandle:
    """To ask it, whether it is there yet or not."""
    return DeploymentHandle("Candidate", CANDIDATE)


def ask() -> ModelInfo | str:
    """See `Candidate.info`; for a task of Ray's."""

    async def asked() -> ModelInfo | str:
        found: ModelInfo | str = await handle().info.remote()
        return found

    return asyncio.run(asked())
