"""The classifier's routing with fake models: split by route, predict each part, merge."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import numpy as np
import pytest

from pintag.core.errors import NotAnImageError
from pintag.core.types import Confidences, Pixels
from pintag.data.labels import Labels
from pintag.images.limits import ImageLimits
from pintag.models.identity import Model
from pintag.serve.config import AccessConfig
from pintag.serve.deployment_config import CandidateConfig, ClassifierConfig, EngineConfig
from pintag.serve.deployments import canary, classifier
from pintag.serve.deployments.canary import CanaryRouter, Prediction
from pintag.serve.errors import OverloadedError
from tests.serve.conftest import INFO, MODEL
from tests.serve.deployments.test_canary import ART, HOUSES, CandidateCounts, ScriptedCandidate

pytestmark = pytest.mark.ray

SERVED = {"name": "pins", "version": "served"}
IMAGES = [b"picture %d" % number for number in range(20)]


class BlankEngine:
    name = "openvino"
    precision = "int8"
    input_size = 8

    def predict(self, pixels: Pixels) -> Confidences:
        return np.stack([HOUSES] * len(pixels))


class ServedModel:
    """A loaded model without a bundle."""

    engine = BlankEngine()
    labels = Labels(tuple(INFO.labels))
    limits = ImageLimits()
    info = INFO.model_copy(update=SERVED)
    model = Model(**SERVED)

    def __init__(self, *_: object) -> None: ...

    def blank(self, count: int) -> Pixels:
        return np.zeros((count, 8, 8, 3), np.uint8)

    def engine_for(self, size: int, threads: int) -> BlankEngine:
        return self.engine


class ServedPredictor:
    """Gives every image the same outcome, and records the images."""

    def __init__(self) -> None:
        self.outcome: Prediction = HOUSES
        self.received: list[bytes] = []
        self.late: Callable[[int, Confidences], None]
        self.called = asyncio.Event()
        self.places_left = 1000

    async def predict(
        self,
        images: Sequence[bytes],
        on_late: Callable[[int, Confidences], None] | None = None,
        client: str = "",
    ) -> list[Prediction]:
        if len(images) > self.places_left:
            raise OverloadedError("it is full")
        self.places_left -= len(images)
        self.received += images
        self.called.set()
        if on_late:
            self.late = on_late
        return [self.outcome] * len(images)


class Scene:
    """A classifier with a scripted predictor and a scripted candidate."""

    def __init__(self, patch: pytest.MonkeyPatch, cache_bytes: int = 0, **shares: float) -> None:
        self.candidate, self.counts = ScriptedCandidate(), CandidateCounts()
        self.predictor = ServedPredictor()
        config = CandidateConfig(bundle="/models/new" if shares else None, **shares)
        router = CanaryRouter(config, self.candidate, self.counts)
        patch.setattr(classifier, "LoadedModel", ServedModel)
        patch.setattr(classifier, "Predictor", lambda *_: self.predictor)
        patch.setattr(canary, "start", lambda *_: router)
        self.classifier = new_classifier(cache_bytes, config)

    async def tag(self, *images: bytes) -> list[tuple[str, str] | Exception]:
        """The first label and the version of each answer, or its error."""
        answers = await self.classifier.tag(images, 5, 0.0)
        return [
            answer if isinstance(answer, Exception) else _label_and_version(json.loads(answer))
            for answer in answers
        ]


def _label_and_version(answer: dict[str, Any]) -> tuple[str, str]:
    return answer["tags"][0]["label"], answer["model"]["version"]


def new_classifier(cache_bytes: int, candidate: CandidateConfig) -> Any:
    deployment: Any = classifier.Classifier
    # Ray's own subclass starts the ASGI application.
    base = next(class_ for class_ in deployment.func_or_class.__mro__ if "tag" in vars(class_))
    return base(
        "unused",
        ClassifierConfig(cache_bytes=cache_bytes).model_dump(mode="json"),
        EngineConfig().model_dump(),
        AccessConfig().model_dump(mode="json"),
        candidate.model_dump(mode="json"),
        False,
        {},
    )


def run(steps: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await steps()
        for _ in range(10):
            await asyncio.sleep(0)

    asyncio.run(main())


def test_canaries_are_answered_by_the_candidate_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    async def steps() -> None:
        scene = Scene(monkeypatch, canary=1)
        scene.candidate.outcome = ART
        assert await scene.tag(b"one", b"two") == [("art", MODEL["version"])] * 2
        assert scene.predictor.received == []
        assert scene.candidate.received == [b"one", b"two"]

    run(steps)


@pytest.mark.parametrize("outcome", [ConnectionError("it died"), NotAnImageError("corrupt")])
def test_canaries_without_an_answer_go_to_the_served_bundle(
    monkeypatch: pytest.MonkeyPatch, outcome: Exception
) -> None:
    async def steps() -> None:
        scene = Scene(monkeypatch, canary=1)
        scene.candidate.outcome = outcome
        assert await scene.tag(b"one") == [("houses", "served")]
        assert scene.predictor.received == [b"one"]

    run(steps)


def test_an_unhealthy_candidate_leaves_all_images_to_the_served_bundle(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def steps() -> None:
        scene = Scene(monkeypatch, canary=0.5, shadow=0.5)
        scene.candidate.model = None
        assert await scene.tag(*IMAGES) == [("houses", "served")] * 20
        assert scene.predictor.received == IMAGES
        assert scene.classifier.info.candidate is None

    run(steps)


def test_answers_are_in_the_order_of_the_images(monkeypatch: pytest.MonkeyPatch) -> None:
    async def steps() -> None:
        scene = Scene(monkeypatch, canary=0.5)
        scene.candidate.outcome = ART
        alone = [(await scene.tag(image))[0] for image in IMAGES]
        assert set(alone) == {("houses", "served"), ("art", MODEL["version"])}
        assert await scene.tag(*IMAGES) == alone

    run(steps)


def test_other_images_of_a_batch_do_not_wait_for_the_candidate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def steps() -> None:
        scene = Scene(monkeypatch, canary=0.5)
        scene.candidate.released.clear()
        tagging = asyncio.ensure_future(scene.tag(*IMAGES))
        await asyncio.wait_for(scene.predictor.called.wait(), 30)
        assert set(scene.predictor.received) | set(scene.candidate.received) == set(IMAGES)
        scene.candidate.released.set()
        assert len(await tagging) == len(IMAGES)
        assert len(scene.predictor.received) < len(IMAGES)

    run(steps)


def test_a_full_replica_refuses_only_the_canaries_that_the_candidate_did_not_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def steps() -> None:
        scene = Scene(monkeypatch, canary=0.5)
        scene.candidate.outcome = ConnectionError("it died")
        scene.predictor.places_left = sum(
            scene.classifier._router.route(hashlib.sha256(image).digest()) == "served"
            for image in IMAGES
        )
        expected = scene.predictor.places_left
        answers = await scene.tag(*IMAGES)
        assert answers.count(("houses", "served")) == expected
        assert sum(isinstance(answer, OverloadedError) for answer in answers) == 20 - expected
        canary = next(i for i, answer in enumerate(answers) if isinstance(answer, Exception))
        with pytest.raises(OverloadedError):
            await scene.tag(IMAGES[canary])

    run(steps)


def test_a_full_replica_refuses_a_batch_and_cancels_its_canaries(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def steps() -> None:
        scene = Scene(monkeypatch, canary=0.5)
        scene.candidate.released.clear()
        scene.predictor.places_left = 0
        with pytest.raises(OverloadedError):
            await scene.tag(*IMAGES)
        await asyncio.sleep(0)
        assert scene.classifier._router._in_flight == 0

    run(steps)


def test_shadows_are_answered_by_the_served_bundle_and_compared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def steps() -> None:
        scene = Scene(monkeypatch, shadow=1)
        scene.candidate.outcome = ART
        assert await scene.tag(b"one", b"two") == [("houses", "served")] * 2
        await asyncio.sleep(0)
        assert scene.candidate.received == [b"one", b"two"]
        await asyncio.sleep(0)
        assert scene.counts.images == {("shadow", "differed"): 2}

    run(steps)


def test_an_image_with_an_error_is_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    async def steps() -> None:
        scene = Scene(monkeypatch, shadow=1)
        scene.predictor.outcome = NotAnImageError("the image is corrupt")
        assert await scene.tag(b"one") == [scene.predictor.outcome]
        await asyncio.sleep(0)
        assert scene.candidate.received == []

    run(steps)


def test_a_cached_image_is_not_predicted_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def steps() -> None:
        scene = Scene(monkeypatch, cache_bytes=10_000)
        for _ in range(2):
            assert await scene.tag(b"one", b"two") == [("houses", "served")] * 2
        assert scene.predictor.received == [b"one", b"two"]
        assert await scene.tag(b"one", b"three") == [("houses", "served")] * 2
        assert scene.predictor.received == [b"one", b"two", b"three"]

    run(steps)


def test_errors_are_not_cached(monkeypatch: pytest.MonkeyPatch) -> None:
    async def steps() -> None:
        scene = Scene(monkeypatch, cache_bytes=10_000)
        scene.predictor.outcome = MemoryError()
        assert await scene.tag(b"one") == [scene.predictor.outcome]
        scene.predictor.outcome = HOUSES
        assert await scene.tag(b"one") == [("houses", "served")]

    run(steps)


def test_tags_that_come_after_the_deadline_answer_the_next_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def steps() -> None:
        scene = Scene(monkeypatch, cache_bytes=10_000)
        await scene.tag(b"one")
        scene.predictor.outcome = TimeoutError("not done within 10 s")
        assert await scene.tag(b"one", b"two", b"three") == [
            ("houses", "served"), scene.predictor.outcome, scene.predictor.outcome,
        ]  # fmt: skip
        scene.predictor.late(1, ART)
        assert await scene.tag(b"three") == [("art", "served")]
        assert scene.predictor.received == [b"one", b"two", b"three"]

    run(steps)


@pytest.mark.parametrize(
    ("cache_bytes", "shares", "hashes"),
    [
        (0, {}, 0),
        (10_000, {}, 1),
        (0, {"canary": 0.5, "shadow": 0.5}, 1),
        (10_000, {"canary": 0.5, "shadow": 0.5}, 1),
    ],
)
def test_an_upload_is_hashed_once_and_only_if_needed(
    monkeypatch: pytest.MonkeyPatch, cache_bytes: int, shares: dict[str, float], hashes: int
) -> None:
    hashed: list[bytes] = []
    sha256 = hashlib.sha256

    def counting(data: bytes) -> Any:
        hashed.append(data)
        return sha256(data)

    async def steps() -> None:
        scene = Scene(monkeypatch, cache_bytes, **shares)
        monkeypatch.setattr(hashlib, "sha256", counting)
        await scene.tag(*IMAGES)
        monkeypatch.undo()

    run(steps)
    assert hashed == IMAGES * hashes
