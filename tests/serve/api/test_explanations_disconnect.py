"""Clients of the explanations endpoint that disconnect."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field

import pytest
from fastapi import FastAPI
from starlette.types import Message

from pintag.serve.api import explanations
from tests.serve.conftest import (
    DISCONNECT,
    EXPLAIN_PATH,
    EXPLANATION,
    ScriptedExplainer,
    body_of,
    drive,
    posted,
)


@dataclass
class Call:
    """An ASGI request that a test can end at any time. Create it within a running loop."""

    app: FastAPI
    sent: list[Message] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.inbox: asyncio.Queue[Message] = asyncio.Queue()
        self.handler = asyncio.ensure_future(
            self.app(posted(EXPLAIN_PATH), self.inbox.get, self._record)  # type: ignore[arg-type]
        )

    def send(self, *messages: Message) -> None:
        for message in messages:
            self.inbox.put_nowait(message)

    async def _record(self, message: Message) -> None:
        self.sent.append(message)


async def until_idle(explainer: ScriptedExplainer) -> None:
    """Wait until the explainer's work ends; it ends only by cancellation."""
    while explainer.running:
        await asyncio.sleep(0)


async def until_running(explainer: ScriptedExplainer) -> None:
    while not explainer.running:
        await asyncio.sleep(0)


@pytest.mark.parametrize("at_once", [False, True], ids=["during the work", "before"])
def test_a_client_that_disconnects_stops_its_explanation(
    explainer: ScriptedExplainer, logged: list[logging.LogRecord], at_once: bool
) -> None:
    """It disconnects while the explainer works, or right after the upload."""

    async def disconnect() -> list[Message]:
        call = Call(explanations.build(explainer))
        call.send(body_of(b"endless"), *([DISCONNECT] if at_once else []))
        async with asyncio.timeout(20):
            if not at_once:
                await until_running(explainer)
                call.send(DISCONNECT)
            await call.handler
            await until_idle(explainer)
        return call.sent

    # Only Ray's metrics read this status.
    assert asyncio.run(disconnect())[0]["status"] == 499
    assert explainer.metrics.requests == 1
    assert explainer.metrics.errors == {}
    assert logged == []


def test_a_client_that_disconnects_during_the_upload_starts_no_work(
    explainer: ScriptedExplainer,
) -> None:
    part: Message = {"type": "http.request", "body": b"end", "more_body": True}
    (start, _) = drive(explanations.build(explainer), [part, DISCONNECT], path=EXPLAIN_PATH)
    assert start["status"] == 499
    assert explainer.requests == []
    assert explainer.metrics.errors == {}


def test_a_handler_that_is_cancelled_stops_the_work(explainer: ScriptedExplainer) -> None:
    """Ray Serve cancels it, when it notices the disconnect first."""

    async def cancel() -> list[Message]:
        call = Call(explanations.build(explainer))
        call.send(body_of(b"endless"))
        async with asyncio.timeout(20):
            await until_running(explainer)
            call.handler.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call.handler
            await until_idle(explainer)
        return call.sent

    assert asyncio.run(cancel()) == []
    assert explainer.metrics.requests == 1


def test_a_connected_client_is_answered_once(explainer: ScriptedExplainer) -> None:
    async def stay() -> list[Message]:
        call = Call(explanations.build(explainer))
        call.send(body_of(b"picture"))
        async with asyncio.timeout(20):
            await call.handler
        call.send(DISCONNECT)
        await asyncio.sleep(0)
        return call.sent

    start, body = asyncio.run(stay())
    assert (start["status"], body["body"]) == (200, EXPLANATION.model_dump_json().encode())
