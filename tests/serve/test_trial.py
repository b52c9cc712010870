"""A trial over a candidate that does what it is told: who answers, and what is counted."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np
import pytest

from pintag.errors import NotAnImageError
from serve.config import CandidateConfig
from serve.protocol import CandidateInfo, Model, ModelInfo, OverloadedError
from serve.trial import Row, Trial
from tests.serve.conftest import INFO, MODEL

pytestmark = pytest.mark.ray

T = TypeVar("T")
SERVED = Model(name="pins", version="served")
HOUSES, ART = (np.array(row, np.float32) for row in ([0.125, 0.125, 0.75], [0.5, 0.25, 0.25]))
PICTURES = [b"picture %d" % number for number in range(1000)]


class ScriptedCandidate:
    """Says of every image what it was told to say, and keeps what it was asked."""

    def __init__(self) -> None:
        self.model: ModelInfo | None = INFO
        self.says: Row = HOUSES
        self.asked: list[bytes] = []
        self.patience: list[float] = []
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def predict(self, images: Sequence[bytes], seconds: float) -> list[Row]:
        self.asked += images
        self.patience.append(seconds)
        await self.go_on.wait()
        if isinstance(self.says, ConnectionError):
            raise self.says
        return [self.says] * len(images)


class CountingMetrics:
    """Metrics as plain counts."""

    def __init__(self) -> None:
        self.images: Counter[tuple[str, str]] = Counter()
        self.differences: list[float] = []
        self.answers = 0

    @contextlib.contextmanager
    def timed_answer(self) -> Iterator[None]:
        try:
            yield
        finally:
            self.answers += 1

    def count_image(self, use: str, outcome: str) -> None:
        self.images[use, outcome] += 1

    def observe_difference(self, difference: float) -> None:
        self.differences.append(difference)


class Setting:
    """A trial, a candidate and a bundle that serves."""

    def __init__(self, **shares: float) -> None:
        self.candidate, self.metrics = ScriptedCandidate(), CountingMetrics()
        self.serves: Row = HOUSES
        self.served: list[bytes] = []
        config = CandidateConfig(bundle="/models/new", max_ongoing_requests=4, **shares)
        self.trial = Trial(config, SERVED, self.candidate, self.metrics)

    async def ask(self, *images: bytes) -> list[tuple[Row, str]]:
        """What is answered, and by which version."""
        found = await self.trial.rows(images, self._serve)
        return [(row, model["version"]) for row, model in found]

    async def _serve(self, images: Sequence[bytes]) -> list[Row]:
        self.served += images
        return [self.serves] * len(images)


async def settled() -> None:
    """When all has happened that can."""
    for _ in range(10):
        await asyncio.sleep(0)


def run(scene: Callable[[], Awaitable[T]]) -> T:
    async def whole() -> T:
        found = await scene()
        await settled()
        return found

    return asyncio.run(whole())


# Shares


def canaries(share: float) -> set[bytes]:
    """Those of a thousand pictures that are answered by the candidate."""

    async def scene() -> set[bytes]:
        setting = Setting(canary=share)
        return {picture for picture in PICTURES if (await setting.ask(picture))[0][1] != "served"}

    return run(scene)


def test_a_share_is_kept_and_a_larger_one_has_the_same_pictures() -> None:
    tenth, half, again = canaries(0.1), canaries(0.5), canaries(0.1)
    assert tenth == again
    assert 70 < len(tenth) < 130
    assert 430 < len(half) < 570
    assert tenth < half
    assert canaries(0) == set()
    assert canaries(1) == set(PICTURES)


def test_a_picture_is_a_canary_or_a_shadow_and_may_be_neither() -> None:
    async def scene() -> Setting:
        setting = Setting(canary=0.3, shadow=0.3)
        for picture in PICTURES:
            await setting.ask(picture)
            await settled()
        return setting

    counted = run(scene).metrics.images
    assert 230 < counted["canary", "answered"] < 370
    assert 230 < counted["shadow", "agreed"] < 370
    assert counted.total() < 750


# Canaries


def test_a_canary_is_answered_by_the_candidate_and_named_so() -> None:
    async def scene() -> None:
        setting = Setting(canary=1)
        setting.candidate.says = ART
        assert await setting.ask(b"one", b"two") == [(ART, MODEL["version"])] * 2
        assert setting.served == []
        assert setting.candidate.asked == [b"one", b"two"]
        assert setting.candidate.patience == [CandidateConfig().deadline_seconds]
        assert setting.metrics.images == {("canary", "answered"): 2}
        assert setting.metrics.answers == 1

    run(scene)


@pytest.mark.parametrize(
    ("said", "counted"),
    [
        (ConnectionError("it died"), {("canary", "failed"): 1}),
        (RuntimeError("its confidences are no numbers"), {("canary", "failed"): 1}),
        (OverloadedError("128 images are under way"), {("canary", "dropped"): 1}),
        # That is the upload's fault, whoever looks at it.
        (NotAnImageError("the image is corrupt"), {}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_where_the_candidate_does_not_answer_the_served_bundle_does(
    said: Exception, counted: dict[tuple[str, str], int]
) -> None:
    async def scene() -> None:
        setting = Setting(canary=1)
        setting.candidate.says = said
        assert await setting.ask(b"one") == [(HOUSES, "served")]
        assert setting.metrics.images == counted

    run(scene)


def test_an_ill_candidate_is_not_asked() -> None:
    async def scene() -> None:
        setting = Setting(canary=0.5, shadow=0.5)
        setting.candidate.model = None
        assert await setting.ask(*PICTURES) == [(HOUSES, "served")] * 1000
        await settled()
        assert setting.candidate.asked == []
        counted = setting.metrics.images
        assert counted["canary", "dropped"] + counted["shadow", "dropped"] == 1000
        assert setting.trial.info is None

    run(scene)


def test_a_busy_candidate_keeps_nobody_waiting() -> None:
    async def scene() -> None:
        setting = Setting(canary=1)
        setting.candidate.go_on.clear()
        # A request is not divided: the last one in may have more images than there is room for.
        waiting = [asyncio.ensure_future(setting.ask(b"one")) for _ in range(3)]
        waiting.append(asyncio.ensure_future(setting.ask(b"two", b"three")))
        await settled()
        assert await setting.ask(b"four") == [(HOUSES, "served")]
        assert setting.metrics.images["canary", "dropped"] == 1
        setting.candidate.go_on.set()
        assert {version for each in waiting for _, version in await each} == {MODEL["version"]}
        assert await setting.ask(b"four") == [(HOUSES, MODEL["version"])]

    run(scene)


def test_answers_come_in_the_order_of_the_images() -> None:
    async def scene() -> None:
        setting = Setting(canary=0.5)
        setting.candidate.says = ART
        alone = [(await setting.ask(picture))[0] for picture in PICTURES[:20]]
        together = await setting.ask(*PICTURES[:20])
        assert [version for _, version in together] == [version for _, version in alone]
        assert {version for _, version in alone} == {"served", MODEL["version"]}
        for row, version in together:
            assert row is (HOUSES if version == "served" else ART)

    run(scene)


# Shadows


def test_a_shadow_is_asked_about_after_its_answer() -> None:
    async def scene() -> None:
        setting = Setting(shadow=1)
        setting.candidate.go_on.clear()
        assert await setting.ask(b"one", b"two") == [(HOUSES, "served")] * 2
        assert setting.candidate.asked == []
        await settled()
        assert setting.candidate.asked == [b"one", b"two"]
        assert setting.candidate.patience[0] > CandidateConfig().deadline_seconds
        assert not setting.metrics.images
        setting.candidate.go_on.set()
        await settled()
        assert setting.metrics.images == {("shadow", "agreed"): 2}

    run(scene)


@pytest.mark.parametrize(
    ("said", "outcome", "difference"), [(HOUSES, "agreed", 0.0), (ART, "differed", 0.5)]
)
def test_the_first_labels_are_compared_and_the_confidences_in_the_served_one(
    said: Row, outcome: str, difference: float
) -> None:
    async def scene() -> Setting:
        setting = Setting(shadow=1)
        setting.candidate.says = said
        await setting.ask(b"one")
        return setting

    metrics = run(scene).metrics
    assert metrics.images == {("shadow", outcome): 1}
    assert metrics.differences == [difference]


def test_a_candidate_that_fails_over_a_shadow_is_counted() -> None:
    async def scene() -> Setting:
        setting = Setting(shadow=1)
        setting.candidate.says = ConnectionError("it died")
        await setting.ask(b"one", b"two")
        return setting

    metrics = run(scene).metrics
    assert metrics.images == {("shadow", "failed"): 2}
    assert metrics.differences == []


def test_what_had_no_answer_is_not_compared() -> None:
    async def scene() -> Setting:
        setting = Setting(shadow=1)
        setting.serves = NotAnImageError("the image is corrupt")
        await setting.ask(b"one")
        return setting

    assert run(scene).candidate.asked == []


def test_a_busy_candidate_is_asked_about_no_more_shadows() -> None:
    async def scene() -> None:
        setting = Setting(shadow=1)
        setting.candidate.go_on.clear()
        for picture in PICTURES[:10]:
            await setting.ask(picture)
        await settled()
        assert len(setting.candidate.asked) == 4
        assert setting.metrics.images == {("shadow", "dropped"): 6}
        setting.candidate.go_on.set()

    run(scene)


def test_what_is_on_trial_is_told() -> None:
    async def scene() -> CandidateInfo | None:
        return Setting(shadow=0.25, canary=0.5).trial.info

    assert run(scene) == CandidateInfo(**MODEL, shadow=0.25, canary=0.5)
