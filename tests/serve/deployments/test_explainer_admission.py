"""The explainer with a fake model: admission until a picture is drawn, and slow images."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pintag.core.errors import DecodingError
from pintag.explain.request import ExplanationRequest
from pintag.explain.schema import ExplanationAnswer
from pintag.serve.config import AccessConfig
from pintag.serve.deployment_config import EngineConfig, ExplainerConfig
from pintag.serve.deployments import explainer
from pintag.serve.errors import OverloadedError
from pintag.serve.inference.loaded_model import LoadedModel
from tests.pintag.data.hostile import limit_decoding, slow_jpeg
from tests.serve.conftest import EXPLANATION
from tests.serve.deployments.test_routing import ServedModel

pytestmark = pytest.mark.ray

REQUEST = ExplanationRequest(num_samples=2)
SLOW = slow_jpeg()


def build(monkeypatch: pytest.MonkeyPatch, model: type[ServedModel]) -> Any:
    """An explainer of a fake model, with one place."""
    deployment: Any = explainer.Explainer
    # Ray's own subclass starts the ASGI application.
    base = next(class_ for class_ in deployment.func_or_class.__mro__ if "draw" in vars(class_))
    monkeypatch.setattr(explainer, "LoadedModel", model)
    monkeypatch.setattr(base, "_warm_up", lambda self: None)
    config = ExplainerConfig(max_ongoing_requests=1).model_dump(mode="json")
    engine, access = EngineConfig().model_dump(), AccessConfig().model_dump(mode="json")
    return base("unused", config, engine, access, {})


@pytest.fixture
def crowded(monkeypatch: pytest.MonkeyPatch) -> Any:
    """An explainer that computes in a few turns of the event loop."""
    built = build(monkeypatch, ServedModel)
    base = type(built)
    monkeypatch.setattr(base, "_draw", lambda self, data, answer: b"png")

    async def compute(self: Any, data: bytes, request: ExplanationRequest) -> ExplanationAnswer:
        for _ in range(5):
            await asyncio.sleep(0)
        return EXPLANATION

    monkeypatch.setattr(base, "_compute", compute)
    return built


class DecodingModel(ServedModel):
    """Decodes as a loaded model does."""

    decode = LoadedModel.decode


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


@pytest.mark.parametrize("is_drawn", [False, True], ids=["explained", "drawn"])
def test_an_image_that_takes_too_long_to_decode_is_refused_and_leaves_its_place(
    monkeypatch: pytest.MonkeyPatch, is_drawn: bool
) -> None:
    limit_decoding(monkeypatch)
    built = build(monkeypatch, DecodingModel)
    work = built.draw if is_drawn else built.explain
    if is_drawn:
        # The picture is decoded a second time, larger, to be drawn on.
        monkeypatch.setattr(built, "_explain", lambda data, request, stop: EXPLANATION)
    for _ in range(2):
        with pytest.raises(DecodingError, match=r"takes more than 0\.1 s to decode, the limit"):
            asyncio.run(work(SLOW, REQUEST))
