"""The contact with a candidate, over a handle like Ray's: well, late, gone, of other labels."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest

from pintag.errors import NotAnImageError
from pintag.labels import Labels
from serve.contact import Contact
from tests.serve.conftest import INFO

pytestmark = pytest.mark.ray

LABELS = Labels(tuple(INFO.labels))
SECONDS = 0.05


class Clock:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


class Method:
    """Answers by what it was given: a value, an error, or None for never."""

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


class Handle:
    """Of a candidate that is well."""

    def __init__(self) -> None:
        self.info = Method(INFO)
        self.predict = Method([np.array([0.5, 0.25, 0.25], np.float32)])


class Setting:
    def __init__(self) -> None:
        self.handle, self.clock = Handle(), Clock()
        self.contact = Contact(self.handle, LABELS, self.clock)

    async def failed(self) -> Exception:
        """What comes of asking."""
        with pytest.raises(Exception) as raised:  # noqa: PT011
            await self.contact.predict([b"picture"], SECONDS)
        return raised.value


def run(scene: Callable[[Setting], Awaitable[None]]) -> None:
    async def whole() -> None:
        await scene(Setting())

    asyncio.run(whole())


def test_nobody_is_there_until_it_was_seen() -> None:
    async def scene(setting: Setting) -> None:
        assert setting.contact.model is None
        await setting.contact.look()
        assert setting.contact.model == INFO

    run(scene)


@pytest.mark.parametrize(
    "answer",
    [None, ConnectionError("no replica"), "bundle.json is missing"],
    ids=["never", "gone", "ill"],
)
def test_one_that_does_not_say_what_it_is_is_not_well(
    answer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serve.contact._LOOK_SECONDS", SECONDS)

    async def scene(setting: Setting) -> None:
        await setting.contact.look()
        setting.handle.info.answer = answer
        await setting.contact.look()
        assert setting.contact.model is None
        # And is, as soon as it says so.
        setting.handle.info.answer = INFO
        await setting.contact.look()
        assert setting.contact.model == INFO

    run(scene)


def test_one_of_other_labels_is_not_well() -> None:
    async def scene(setting: Setting) -> None:
        setting.handle.info.answer = INFO.model_copy(update={"labels": ["art", "food", "sea"]})
        await setting.contact.look()
        assert setting.contact.model is None

    run(scene)


def test_one_that_is_well_is_asked_about_all_images_at_once() -> None:
    async def scene(setting: Setting) -> None:
        said = [np.array([0.5, 0.375, 0.125], np.float32), NotAnImageError("the image is corrupt")]
        setting.handle.predict.answer = said
        await setting.contact.look()
        assert await setting.contact.predict([b"one", b"two"], SECONDS) is said
        assert setting.handle.predict.calls == [([b"one", b"two"],)]

    run(scene)


def test_one_that_is_late_is_given_up_and_asked_no_more() -> None:
    async def scene(setting: Setting) -> None:
        await setting.contact.look()
        setting.handle.predict.answer = None
        assert isinstance(await setting.failed(), TimeoutError)
        assert setting.handle.predict.cancelled == 1
        assert setting.contact.model is None

    run(scene)


def test_one_that_failed_rests_longer_each_time_until_it_has_answered() -> None:
    async def scene(setting: Setting) -> None:
        good, bad = setting.handle.predict.answer, ConnectionError("it died")

        async def rest() -> float:
            """Seconds until it is well again."""
            begun = setting.clock.seconds
            while setting.contact.model is None:
                setting.clock.seconds += 1
                await setting.contact.look()
            return setting.clock.seconds - begun

        await setting.contact.look()
        setting.handle.predict.answer = bad
        rests = []
        for _ in range(6):
            # What was under way together fails together, and that is once.
            assert [await setting.failed() for _ in range(5)] == [bad] * 5
            rests.append(await rest())
        assert rests == [4, 8, 16, 32, 60, 60]
        setting.handle.predict.answer = good
        await setting.contact.predict([b"picture"], SECONDS)
        setting.handle.predict.answer = bad
        await setting.failed()
        assert await rest() == 4

    run(scene)


def test_it_is_looked_at_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(setting: Setting) -> None:
        monkeypatch.setattr("serve.contact._LOOK_SECONDS", 0.01)
        watching = asyncio.ensure_future(setting.contact.watch())
        async with asyncio.timeout(10):
            while len(setting.handle.info.calls) < 3:
                await asyncio.sleep(0.001)
        watching.cancel()

    run(scene)
