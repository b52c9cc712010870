"""The router with a scripted candidate: which images it gets, and what is counted."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np
import pytest

from pintag.core.errors import NotAnImageError
from pintag.serve.deployment_config import CandidateConfig
from pintag.serve.deployments.canary import CanaryRouter, Prediction, Route
from pintag.serve.errors import OverloadedError
from pintag.serve.model_info import CandidateInfo, ModelInfo
from tests.serve.conftest import INFO, MODEL

pytestmark = pytest.mark.ray

T = TypeVar("T")
HOUSES, ART = (np.array(row, np.float32) for row in ([0.125, 0.125, 0.75], [0.5, 0.25, 0.25]))
DIGESTS = [hashlib.sha256(b"picture %d" % number).digest() for number in range(1000)]


class ScriptedCandidate:
    """Gives every image the same outcome, and records the calls."""

    def __init__(self) -> None:
        self.model: ModelInfo | None = INFO
        self.outcome: Prediction = HOUSES
        self.received: list[bytes] = []
        self.timeouts: list[float] = []
        self.released = asyncio.Event()
        self.released.set()

    async def predict(self, images: Sequence[bytes], timeout_s: float) -> list[Prediction]:
        self.received += images
        self.timeouts.append(timeout_s)
        await self.released.wait()
        if isinstance(self.outcome, ConnectionError):
            raise self.outcome
        return [self.outcome] * len(images)


class CandidateCounts:
    """The router's metrics as plain counts."""

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


class Scene:
    """A router and its candidate."""

    def __init__(self, **shares: float) -> None:
        self.candidate, self.metrics = ScriptedCandidate(), CandidateCounts()
        config = CandidateConfig(bundle="/models/new", max_ongoing_requests=4, **shares)
        self.router = CanaryRouter(config, self.candidate, self.metrics)

    async def predict(self, *images: bytes) -> dict[int, tuple[Prediction, str]]:
        """The confidences and the version of each image that the candidate answers."""
        rows = await self.router.predict(dict(enumerate(images)))
        return {key: (row, model["version"]) for key, (row, model) in rows.items()}


async def settle() -> None:
    """Let all tasks run until they wait for the test."""
    for _ in range(10):
        await asyncio.sleep(0)


def run(steps: Callable[[], Awaitable[T]]) -> T:
    async def main() -> T:
        result = await steps()
        await settle()
        return result

    return asyncio.run(main())


# Routes


def routes(**shares: float) -> dict[Route, set[bytes]]:
    """A thousand digests by their route."""

    async def steps() -> dict[Route, set[bytes]]:
        router = Scene(**shares).router
        by_route: dict[Route, set[bytes]] = {"served": set(), "canary": set(), "shadow": set()}
        for digest in DIGESTS:
            by_route[router.route(digest)].add(digest)
        return by_route

    return run(steps)


@pytest.mark.parametrize("route", ["canary", "shadow"])
def test_a_share_is_stable_and_a_larger_one_contains_it(route: Route) -> None:
    tenth, half, again = (routes(**{route: share})[route] for share in (0.1, 0.5, 0.1))
    assert tenth == again
    assert 70 < len(tenth) < 130
    assert 430 < len(half) < 570
    assert tenth < half
    assert routes(**{route: 0})[route] == set()
    assert routes(**{route: 1})[route] == set(DIGESTS)


def test_an_image_has_one_route() -> None:
    by_route = routes(canary=0.3, shadow=0.3)
    assert 230 < len(by_route["canary"]) < 370
    assert 230 < len(by_route["shadow"]) < 370
    assert len(by_route["served"]) > 250


def test_a_route_depends_on_the_first_bytes_of_the_digest() -> None:
    async def steps() -> None:
        router = Scene(canary=0.25, shadow=0.25).router
        positions = {"3fffffff": "canary", "40000000": "served", "bfffffff": "served"}
        positions |= {"00000000": "canary", "c0000000": "shadow", "ffffffff": "shadow"}
        for position, route in positions.items():
            assert router.route(bytes.fromhex(position) + bytes(28)) == route

    run(steps)


# Canaries


def test_a_canary_is_answered_by_the_candidate_and_names_its_model() -> None:
    async def steps() -> None:
        scene = Scene(canary=1)
        scene.candidate.outcome = ART
        assert await scene.predict(b"one", b"two") == {
            0: (ART, MODEL["version"]),
            1: (ART, MODEL["version"]),
        }
        assert scene.candidate.received == [b"one", b"two"]
        assert scene.candidate.timeouts == [CandidateConfig().deadline_s]
        assert scene.metrics.images == {("canary", "answered"): 2}
        assert scene.metrics.answers == 1

    run(steps)


def test_without_canaries_the_candidate_is_not_called() -> None:
    async def steps() -> None:
        scene = Scene(canary=1)
        assert await scene.predict() == {}
        assert scene.metrics.answers == 0

    run(steps)


@pytest.mark.parametrize(
    ("outcome", "counted"),
    [
        (ConnectionError("it died"), {("canary", "failed"): 1}),
        (RuntimeError("its confidences are NaN"), {("canary", "failed"): 1}),
        (OverloadedError("128 images are in flight"), {("canary", "dropped"): 1}),
        # The upload is invalid, so no model can read it.
        (NotAnImageError("the image is corrupt"), {}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_image_that_the_candidate_fails_to_answer_is_left_to_the_served_bundle(
    outcome: Exception, counted: dict[tuple[str, str], int]
) -> None:
    async def steps() -> None:
        scene = Scene(canary=1)
        scene.candidate.outcome = outcome
        assert await scene.predict(b"one") == {}
        assert scene.metrics.images == counted

    run(steps)


def test_an_unhealthy_candidate_is_not_called() -> None:
    async def steps() -> None:
        scene = Scene(canary=0.5, shadow=0.5)
        scene.candidate.model = None
        assert await scene.predict(*DIGESTS[:600]) == {}
        scene.router.compare([(digest, HOUSES) for digest in DIGESTS[600:]])
        await settle()
        assert scene.candidate.received == []
        assert scene.metrics.images == {("canary", "dropped"): 600, ("shadow", "dropped"): 400}
        assert scene.router.info is None

    run(steps)


def test_a_busy_candidate_delays_no_request() -> None:
    async def steps() -> None:
        scene = Scene(canary=1)
        scene.candidate.released.clear()
        # A request is not divided: the last one admitted may exceed the limit.
        waiting = [asyncio.ensure_future(scene.predict(b"one")) for _ in range(3)]
        waiting.append(asyncio.ensure_future(scene.predict(b"two", b"three")))
        await settle()
        assert await scene.predict(b"four") == {}
        assert scene.metrics.images["canary", "dropped"] == 1
        scene.candidate.released.set()
        answers = [row for task in waiting for row in (await task).values()]
        assert answers == [(HOUSES, MODEL["version"])] * 5
        assert await scene.predict(b"four") == {0: (HOUSES, MODEL["version"])}

    run(steps)


def test_a_candidate_that_becomes_unhealthy_during_a_call_still_names_its_model() -> None:
    async def steps() -> None:
        scene = Scene(canary=1)
        scene.candidate.released.clear()
        waiting = asyncio.ensure_future(scene.predict(b"one"))
        await settle()
        scene.candidate.model = None
        scene.candidate.released.set()
        assert await waiting == {0: (HOUSES, MODEL["version"])}

    run(steps)


# Shadows


def test_a_shadow_is_predicted_after_its_answer() -> None:
    async def steps() -> None:
        scene = Scene(shadow=1)
        scene.candidate.released.clear()
        scene.router.compare([(b"one", HOUSES), (b"two", HOUSES)])
        assert scene.candidate.received == []
        await settle()
        assert scene.candidate.received == [b"one", b"two"]
        assert scene.candidate.timeouts[0] > CandidateConfig().deadline_s
        assert not scene.metrics.images
        scene.candidate.released.set()
        await settle()
        assert scene.metrics.images == {("shadow", "agreed"): 2}

    run(steps)


@pytest.mark.parametrize(
    ("outcome", "counted", "difference"), [(HOUSES, "agreed", 0.0), (ART, "differed", 0.5)]
)
def test_the_first_labels_and_the_confidences_in_the_served_label_are_compared(
    outcome: Prediction, counted: str, difference: float
) -> None:
    async def steps() -> Scene:
        scene = Scene(shadow=1)
        scene.candidate.outcome = outcome
        scene.router.compare([(b"one", HOUSES)])
        return scene

    metrics = run(steps).metrics
    assert metrics.images == {("shadow", counted): 1}
    assert metrics.differences == [difference]


def test_a_failed_comparison_is_counted() -> None:
    async def steps() -> Scene:
        scene = Scene(shadow=1)
        scene.candidate.outcome = ConnectionError("it died")
        scene.router.compare([(b"one", HOUSES), (b"two", HOUSES)])
        return scene

    metrics = run(steps).metrics
    assert metrics.images == {("shadow", "failed"): 2}
    assert metrics.differences == []


def test_a_busy_candidate_gets_no_more_shadows() -> None:
    async def steps() -> None:
        scene = Scene(shadow=1)
        scene.candidate.released.clear()
        for digest in DIGESTS[:10]:
            scene.router.compare([(digest, HOUSES)])
        await settle()
        assert len(scene.candidate.received) == 4
        assert scene.metrics.images == {("shadow", "dropped"): 6}
        scene.candidate.released.set()

    run(steps)


def test_the_candidate_and_its_shares_are_reported() -> None:
    async def steps() -> CandidateInfo | None:
        return Scene(shadow=0.25, canary=0.5).router.info

    assert run(steps) == CandidateInfo(**MODEL, shadow=0.25, canary=0.5)
