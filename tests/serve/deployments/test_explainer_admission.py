"""The explainer with a fake model: admission until a picture is drawn, clients, and slow images."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import httpx
import pytest

from pintag.core.errors import DecodingError
from pintag.data.labels import Labels
from pintag.explain.request import ExplanationRequest
from pintag.explain.sampling import Stop
from pintag.explain.schema import ExplanationAnswer
from pintag.serve.config import AccessConfig
from pintag.serve.deployment_config import EngineConfig, ExplainerConfig
from pintag.serve.deployments import explainer
from pintag.serve.errors import OverloadedError, ParameterError
from pintag.serve.inference.explanation_slots import Slot
from pintag.serve.inference.loaded_model import LoadedModel
from pintag.serve.ingress.clients import HEADER
from tests.pintag.images.hostile import limit_decoding, slow_jpeg
from tests.serve.conftest import EXPLANATION, problem
from tests.serve.deployments.test_routing import ServedModel

pytestmark = pytest.mark.ray

REQUEST = ExplanationRequest(num_samples=2)
SLOW = slow_jpeg()


def build(monkeypatch: pytest.MonkeyPatch, model: type[ServedModel], slots: int = 1) -> Any:
    """An explainer of a fake model."""
    deployment: Any = explainer.Explainer
    # Ray's own subclass starts the ASGI application.
    base = next(class_ for class_ in deployment.func_or_class.__mro__ if "draw" in vars(class_))
    monkeypatch.setattr(explainer, "LoadedModel", model)
    monkeypatch.setattr(base, "_warm_up", lambda self: None)
    config = ExplainerConfig(max_ongoing_requests=slots).model_dump(mode="json")
    engine, access = EngineConfig().model_dump(), AccessConfig().model_dump(mode="json")
    return base("unused", config, engine, access, {})


@pytest.fixture
def crowded(monkeypatch: pytest.MonkeyPatch) -> Any:
    """An explainer that computes in a few turns of the event loop."""
    built = build(monkeypatch, ServedModel)
    base = type(built)
    monkeypatch.setattr(base, "_draw", lambda self, data, answer: b"png")

    async def compute(
        self: Any, data: bytes, request: ExplanationRequest, slot: Slot
    ) -> ExplanationAnswer:
        for _ in range(5):
            await asyncio.sleep(0)
        return EXPLANATION

    monkeypatch.setattr(base, "_compute", compute)
    return built


class DecodingModel(ServedModel):
    """Decodes as a loaded model does."""

    decode = LoadedModel.decode


def test_a_picture_keeps_its_slot_until_it_is_drawn(crowded: Any) -> None:
    async def steps() -> None:
        drawing = asyncio.ensure_future(crowded.draw(b"first", b"1", REQUEST))
        await asyncio.sleep(0)
        refused = 0
        while not drawing.done():
            with pytest.raises(OverloadedError):
                await crowded.explain(b"second", b"2", REQUEST)
            refused += 1
            await asyncio.sleep(0)
        assert await drawing == (EXPLANATION, b"png")
        assert refused > 3
        assert await crowded.explain(b"second", b"2", REQUEST) == EXPLANATION

    asyncio.run(steps())


def test_a_cached_explanation_is_answered_by_a_full_explainer(crowded: Any) -> None:
    async def steps() -> None:
        await crowded.explain(b"first", b"1", REQUEST)
        drawing = asyncio.ensure_future(crowded.draw(b"second", b"2", REQUEST))
        await asyncio.sleep(0)
        assert await crowded.explain(b"first", b"1", REQUEST) == EXPLANATION
        assert (await drawing)[1] == b"png"

    asyncio.run(steps())


@pytest.mark.parametrize("form", [None, "image"], ids=["body", "form"])
def test_a_client_with_many_requests_leaves_slots_to_others(
    monkeypatch: pytest.MonkeyPatch, form: str | None
) -> None:
    """Through the whole application. The first explanation is held until the others have come."""
    built = build(monkeypatch, ServedModel, slots=4)
    held, order = threading.Event(), list[bytes]()

    def compute(data: bytes, request: ExplanationRequest, stop: Stop) -> ExplanationAnswer:
        assert held.wait(30)
        order.append(data)
        return EXPLANATION

    monkeypatch.setattr(built, "_explain", compute)
    app = built.__serve_build_asgi_app__()

    async def send(client: str, image: bytes) -> httpx.Response:
        content: Any = {"files": {form: image}} if form else {"content": image}
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://pintag") as http:
            return await http.post("/v1/explanations", headers={HEADER: client}, **content)

    async def steps() -> list[httpx.Response]:
        many = []
        for number in range(4):
            many.append(asyncio.ensure_future(send("192.0.2.1", b"many %d" % number)))
            while len(built._slots) <= number:
                await asyncio.sleep(0.01)
        other = asyncio.ensure_future(send("192.0.2.2", b"other"))
        refused = await many[3]
        held.set()
        return [refused, *await asyncio.gather(other, *many[:3])]

    refused, *answers = asyncio.run(asyncio.wait_for(steps(), 30))
    assert problem(refused, 503).kind == "overloaded"
    assert int(refused.headers["Retry-After"]) > 0
    assert [each.status_code for each in answers] == [200] * 4
    assert order == [b"many 0", b"other", b"many 1", b"many 2"]


class ModelOfManyLabels(ServedModel):
    labels = Labels(tuple(f"label {number:03}" for number in range(500)))


def test_of_many_labels_a_refusal_names_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    built = build(monkeypatch, ModelOfManyLabels)
    request = ExplanationRequest(label="sea")
    expected = r"^label: there is no 'sea'; there are label 000, .*, label 019 and 480 more$"
    with pytest.raises(ParameterError, match=expected):
        asyncio.run(built.explain(b"image", b"1", request))


@pytest.mark.parametrize("is_drawn", [False, True], ids=["explained", "drawn"])
def test_an_image_that_takes_too_long_to_decode_is_refused_and_leaves_its_slot(
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
            asyncio.run(work(SLOW, b"slow", REQUEST))
