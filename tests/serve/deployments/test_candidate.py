"""A replica of the candidate: it predicts with its bundle, or reports why it cannot."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pintag.core.errors import NotAnImageError
from pintag.models import bundle
from pintag.models.manifest import MANIFEST
from pintag.serve.deployment_config import ClassifierConfig, EngineConfig
from pintag.serve.errors import OverloadedError

pytestmark = pytest.mark.ray

# Niceness belongs to the process, and the test could not lower it again.
SETTINGS = ClassifierConfig(niceness=0, max_batch_size=2, max_ongoing_requests=4)


def new_replica(path: Path, **engine: str) -> Any:
    """A replica in this process."""
    from pintag.serve.deployments.candidate import Candidate

    deployment: Any = Candidate
    settings = SETTINGS.model_dump(mode="json")
    return deployment.func_or_class(str(path), settings, EngineConfig(**engine).model_dump())


def run(steps: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await steps()

    asyncio.run(bounded())


@pytest.fixture(scope="module")
def replica(quick_dir: Path) -> Any:
    return new_replica(quick_dir)


def test_it_predicts_with_the_engine_of_its_bundle(
    replica: Any, quick_dir: Path, sample_dir: Path
) -> None:
    model = bundle.load(quick_dir)
    images = [path.read_bytes() for path in sorted((sample_dir / "test").rglob("*.jpg"))[:3]]

    async def steps() -> None:
        info = await replica.info()
        assert (info.name, info.version) == (model.manifest.name, model.manifest.version)
        first, bad, *others = await replica.predict([images[0], b"no image", *images[1:]])
        assert isinstance(bad, NotAnImageError)
        for data, row in zip(images, [first, *others], strict=True):
            expected = replica._model.engine.predict(replica._model.decode(data)[np.newaxis])[0]
            np.testing.assert_allclose(row, expected, atol=1e-5)
            assert row.sum() == pytest.approx(1, abs=1e-5)
        (alone,) = await replica.predict(images[:1])
        np.testing.assert_allclose(alone, first, atol=1e-5)
        await replica.check_health()
        assert len(await replica.record_autoscaling_stats()) == 1

    run(steps)


def test_an_overloaded_replica_refuses_each_image(replica: Any, sample_dir: Path) -> None:
    image = next((sample_dir / "test").rglob("*.jpg")).read_bytes()

    async def steps() -> None:
        # Each request gets half of what is free, at least one image.
        busy = [asyncio.ensure_future(replica.predict([image] * 4)) for _ in range(3)]
        await asyncio.sleep(0)
        refused = await replica.predict([image] * 2)
        assert [type(error) for error in refused] == [OverloadedError] * 2
        rows = [row for request in busy for row in await request]
        assert len(rows) == 12
        assert all(isinstance(row, np.ndarray) for row in rows)

    run(steps)


def test_a_replica_whose_bundle_cannot_be_loaded_reports_why(
    tmp_path: Path, logged: list[logging.LogRecord]
) -> None:
    """It stays healthy: otherwise Ray would restart it, and KubeRay would wait for it."""
    replica = new_replica(tmp_path)
    reason = f"{tmp_path}: no bundle here: {MANIFEST} is missing"

    async def steps() -> None:
        assert await replica.info() == reason
        await replica.check_health()
        assert await replica.record_autoscaling_stats() == {}

    run(steps)
    (record,) = logged
    assert (record.levelname, record.getMessage()) == ("ERROR", "the candidate cannot be loaded")
    assert record.exc_info
    assert str(record.exc_info[1]) == reason
