"""The candidate's client with a fake handle: healthy, late, unavailable, with other labels."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest

from pintag.core.errors import NotAnImageError
from pintag.data.labels import Labels
from pintag.serve.deployments import candidate_client
from pintag.serve.deployments.candidate_client import CandidateClient
from tests.serve.conftest import INFO

pytestmark = pytest.mark.ray

LABELS = Labels(tuple(INFO.labels))
# Timeouts in seconds: SHORT is certain to pass in a test, LONG is certain not to.
SHORT, LONG = 0.01, 60.0


class Clock:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


class FakeMethod:
    """Returns its answer, or raises it if it is an error. If it is None, it never answers."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.calls: list[tuple[Any, ...]] = []
        self.cancelled = 0

    def remote(self, *arguments: Any) -> Awaitable[Any]:
        self.calls.append(arguments)
        return self._answered()

    async def _answered(self) -> Any:
        try:
            await (asyncio.Event().wait() if self.answer is None else asyncio.sleep(0))
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class FakeHandle:
    """The handle of a healthy candidate."""

    def __init__(self) -> None:
        self.info = FakeMethod(INFO)
        self.predict = FakeMethod([np.array([0.5, 0.25, 0.25], np.float32)])


class Scene:
    """A client of a candidate, and its clock."""

    def __init__(self) -> None:
        self.handle, self.clock = FakeHandle(), Clock()
        self.client = CandidateClient(self.handle, LABELS, self.clock)

    async def predict_error(self, timeout_s: float = LONG) -> Exception:
        """The error of a prediction that fails."""
        with pytest.raises(Exception) as raised:  # noqa: PT011
            await self.client.predict([b"picture"], timeout_s)
        return raised.value


def run(steps: Callable[[Scene], Awaitable[None]]) -> None:
    async def main() -> None:
        await steps(Scene())

    asyncio.run(main())


def test_a_candidate_is_unhealthy_until_it_was_checked() -> None:
    async def steps(scene: Scene) -> None:
        assert scene.client.model is None
        await scene.client.check()
        assert scene.client.model == INFO

    run(steps)


@pytest.mark.parametrize(
    "answer",
    [None, ConnectionError("no replica"), "bundle.json is missing"],
    ids=["no answer", "no replica", "not loaded"],
)
def test_a_candidate_that_does_not_describe_itself_is_unhealthy(
    answer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def steps(scene: Scene) -> None:
        await scene.client.check()
        scene.handle.info.answer = answer
        with monkeypatch.context() as patch:
            patch.setattr(candidate_client, "_CHECK_INTERVAL_S", SHORT if answer is None else LONG)
            await scene.client.check()
        assert scene.client.model is None
        # It is healthy again as soon as it describes itself.
        scene.handle.info.answer = INFO
        await scene.client.check()
        assert scene.client.model == INFO

    run(steps)


def test_a_candidate_with_other_labels_is_unhealthy() -> None:
    async def steps(scene: Scene) -> None:
        scene.handle.info.answer = INFO.model_copy(update={"labels": ["art", "food", "sea"]})
        await scene.client.check()
        assert scene.client.model is None

    run(steps)


def test_all_images_go_to_the_candidate_in_one_call() -> None:
    async def steps(scene: Scene) -> None:
        rows: list[Any] = [
            np.array([0.5, 0.375, 0.125], np.float32),
            NotAnImageError("the image is corrupt"),
        ]
        scene.handle.predict.answer = rows
        await scene.client.check()
        assert await scene.client.predict([b"one", b"two"], LONG) is rows
        assert scene.handle.predict.calls == [([b"one", b"two"],)]

    run(steps)


def test_a_late_call_is_cancelled_and_the_candidate_is_unhealthy() -> None:
    async def steps(scene: Scene) -> None:
        await scene.client.check()
        scene.handle.predict.answer = None
        assert isinstance(await scene.predict_error(SHORT), TimeoutError)
        assert scene.handle.predict.cancelled == 1
        assert scene.client.model is None

    run(steps)


def test_the_pause_doubles_with_each_failure_until_an_answer() -> None:
    async def steps(scene: Scene) -> None:
        good, bad = scene.handle.predict.answer, ConnectionError("it died")

        async def pause() -> float:
            """Seconds until it is healthy again."""
            started = scene.clock.seconds
            while scene.client.model is None:
                scene.clock.seconds += 1
                await scene.client.check()
            return scene.clock.seconds - started

        await scene.client.check()
        scene.handle.predict.answer = bad
        pauses = []
        for _ in range(6):
            # Calls in flight fail together, and count as one failure.
            assert [await scene.predict_error() for _ in range(5)] == [bad] * 5
            pauses.append(await pause())
        assert pauses == [4, 8, 16, 32, 60, 60]
        scene.handle.predict.answer = good
        await scene.client.predict([b"picture"], LONG)
        scene.handle.predict.answer = bad
        await scene.predict_error()
        assert await pause() == 4

    run(steps)


def test_the_health_is_checked_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def steps(scene: Scene) -> None:
        monkeypatch.setattr(candidate_client, "_CHECK_INTERVAL_S", SHORT)
        watching = asyncio.ensure_future(scene.client.watch())
        async with asyncio.timeout(LONG):
            while len(scene.handle.info.calls) < 3:
                await asyncio.sleep(SHORT)
        watching.cancel()

    run(steps)
