"""The explainer's admission with a fake model: a picture is admitted once, until it is drawn."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pintag.explain.request import ExplanationRequest
from pintag.explain.schema import ExplanationAnswer
from pintag.serve.config import AccessConfig
from pintag.serve.deployment_config import EngineConfig, ExplainerConfig
from pintag.serve.deployments import explainer
from pintag.serve.errors import OverloadedError
from tests.serve.conftest import EXPLANATION
from tests.serve.deployments.test_routing import ServedModel

pytestmark = pytest.mark.ray

REQUEST = ExplanationRequest(num_samples=2)


@pytest.fixture
def crowded(monkeypatch: pytest.MonkeyPatch) -> Any:
    """An explainer with one place, which computes in a few turns of the event loop."""
    deployment: Any = explainer.Explainer
    # Ray's own subclass starts the ASGI application.
    base = next(class_ for class_ in deployment.func_or_class.__mro__ if "draw" in vars(class_))
    monkeypatch.setattr(explainer, "LoadedModel", ServedModel)
    monkeypatch.setattr(base, "_warm_up", lambda self: None)
    monkeypatch.setattr(base, "_draw", lambda self, data, answer: b"png")

    async def compute(self: Any, data: bytes, request: ExplanationRequest) -> ExplanationAnswer:
        for _ in range(5):
            await asyncio.sleep(0)
        return EXPLANATION

    monkeypatch.setattr(base, "_compute", compute)
    config = ExplainerConfig(max_ongoing_requests=1).model_dump(mode="json")
    engine, access = EngineConfig().model_dump(), AccessConfig().model_dump(mode="json")
    return base("unused", config, engine, access, {})


def test_a_picture_keeps_its_place_until_it_is_drawn(crowded: Any) -> None:
    async def steps() -> None:
        drawing = asyncio.ensure_future(crowded.draw(b"first", REQUEST))
        await asyncio.sleep(0)
        refused = 0
        while not drawing.done():
            with pytest.raises(OverloadedError):
                await crowded.explain(b"second", REQUEST)
            refused += 1
            await asyncio.sleep(0)
        assert await drawing == (EXPLANATION, b"png")
        assert refused > 3
        assert await crowded.explain(b"second", REQUEST) == EXPLANATION

    asyncio.run(steps())


def test_a_cached_explanation_is_answered_by_a_full_explainer(crowded: Any) -> None:
    async def steps() -> None:
        await crowded.explain(b"first", REQUEST)
        drawing = asyncio.ensure_future(crowded.draw(b"second", REQUEST))
        await asyncio.sleep(0)
        assert await crowded.explain(b"first", REQUEST) == EXPLANATION
        assert (await drawing)[1] == b"png"

    asyncio.run(steps())
