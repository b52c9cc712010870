"""Who gets a slot of the explainer, and whose explanation is next."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from pintag.serve.errors import OverloadedError
from pintag.serve.inference.explanation_slots import ExplanationSlots

pytestmark = pytest.mark.ray


class Explainer:
    """Computes one explanation after another, each when a test says so."""

    def __init__(self, slots: int) -> None:
        self.slots = ExplanationSlots(slots)
        self.order: list[str] = []
        self.steps = asyncio.Semaphore(0)

    async def explain(self, client: str, name: str = "") -> None:
        with self.slots.admit(client, 2.5) as slot:
            async with self.slots.turn(slot):
                self.order.append(name or client)
                await self.steps.acquire()

    async def start(self, *clients: str) -> list[asyncio.Task[None]]:
        tasks = [asyncio.create_task(self.explain(client)) for client in clients]
        await asyncio.sleep(0)
        return tasks

    async def end_all(self) -> None:
        for _ in range(20):
            self.steps.release()
            await asyncio.sleep(0)


def run(steps: Callable[[Explainer], Coroutine[Any, Any, None]], slots: int = 4) -> list[str]:
    """Run the steps, and return the order in which explanations began."""

    async def all_steps() -> list[str]:
        explainer = Explainer(slots)
        async with asyncio.timeout(30):
            await steps(explainer)
            await explainer.end_all()
        assert not len(explainer.slots)
        assert not explainer.slots._is_busy
        assert not explainer.slots._shares._received
        return explainer.order

    return asyncio.run(all_steps())


async def outcomes(explainer: Explainer, tasks: list[asyncio.Task[None]]) -> list[str]:
    """For each task whether it was refused, once all have ended."""
    await explainer.end_all()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    return ["refused" if isinstance(each, OverloadedError) else str(each) for each in results]


def test_one_client_alone_has_all_slots() -> None:
    async def steps(explainer: Explainer) -> None:
        tasks = await explainer.start(*["one"] * 4)
        with pytest.raises(OverloadedError, match=r"^4 explanations are in progress") as raised:
            await explainer.explain("one")
        assert raised.value.headers == {"Retry-After": "10"}
        assert await outcomes(explainer, tasks) == ["None"] * 4

    assert run(steps) == ["one"] * 4


def test_another_client_gets_the_slot_of_the_newest_that_waits() -> None:
    async def steps(explainer: Explainer) -> None:
        many = await explainer.start(*["many"] * 4)
        [other] = await explainer.start("other")
        with pytest.raises(OverloadedError, match="try again later") as raised:
            await many[3]
        assert raised.value.headers == {"Retry-After": "10"}
        assert await outcomes(explainer, [*many[:3], other]) == ["None"] * 4

    assert run(steps) == ["many", "other", "many", "many"]


def test_a_client_gets_no_more_slots_than_the_others_keep() -> None:
    async def steps(explainer: Explainer) -> None:
        many = await explainer.start(*["many"] * 4)
        others = await explainer.start(*["other"] * 3)
        again = await explainer.start("many")
        expected = ["None", "None", "refused", "refused", "None", "None", "refused", "refused"]
        assert await outcomes(explainer, [*many, *others, *again]) == expected

    run(steps)


def test_the_client_with_the_most_slots_loses_one() -> None:
    async def steps(explainer: Explainer) -> None:
        tasks = await explainer.start("some", "many", "many", "some", "many", "other")
        assert await outcomes(explainer, tasks) == [*["None"] * 4, "refused", "None"]

    run(steps, slots=5)


def test_clients_with_a_slot_each_keep_it() -> None:
    async def steps(explainer: Explainer) -> None:
        tasks = await explainer.start("a", "b", "c", "d", "e")
        assert await outcomes(explainer, tasks) == [*["None"] * 4, "refused"]

    assert run(steps) == ["a", "b", "c", "d"]


def test_an_explanation_that_has_begun_is_not_ended() -> None:
    async def steps(explainer: Explainer) -> None:
        with explainer.slots.admit("many", 1):
            tasks = await explainer.start("many", "other")
            assert await outcomes(explainer, tasks) == ["None", "refused"]

    assert run(steps, slots=2) == ["many"]


def test_clients_take_turns() -> None:
    async def steps(explainer: Explainer) -> None:
        tasks = await explainer.start("a", "a", "a", "b", "b")
        assert await outcomes(explainer, tasks) == ["None"] * 5

    assert run(steps, slots=5) == ["a", "b", "a", "b", "a"]


@pytest.mark.parametrize("turns", [0, 1])
def test_a_cancelled_request_leaves_its_slot_and_its_turn(turns: int) -> None:
    """It waits, or its turn comes at the same moment."""

    async def steps(explainer: Explainer) -> None:
        first, second, third = await explainer.start("a", "b", "c")
        if turns:
            explainer.steps.release()
            await asyncio.sleep(0)
        second.cancel()
        await asyncio.wait([second])
        assert second.cancelled()
        assert await outcomes(explainer, [first, third]) == ["None"] * 2

    assert run(steps) == ["a", "c"]


def test_an_error_of_an_explanation_ends_its_turn() -> None:
    async def steps(explainer: Explainer) -> None:
        with pytest.raises(ValueError, match="mine"), explainer.slots.admit("a", 1) as slot:
            async with explainer.slots.turn(slot):
                raise ValueError("mine")
        await outcomes(explainer, await explainer.start("b"))

    assert run(steps) == ["b"]
