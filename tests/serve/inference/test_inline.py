"""The inline strategy: which engine a lone image gets, depending on whether others are busy."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from pintag.core.types import Confidences, Engine, Pixels
from pintag.serve.inference.admission import Admission, Load
from pintag.serve.inference.core_sharing import BusyLock
from pintag.serve.inference.inline import InlineStrategy, blocking_seconds

pytestmark = pytest.mark.ray


class ConstantEngine:
    """Predicts one for every image, and counts its calls."""

    name = "openvino"
    precision = "int8"
    input_size = 8

    def __init__(self) -> None:
        self.calls = 0

    def predict(self, pixels: Pixels) -> Confidences:
        self.calls += 1
        return np.ones((len(pixels), 1), np.float32)


OWN, SHARED = ConstantEngine(), ConstantEngine()


class Replica(NamedTuple):
    admission: Admission
    strategy: InlineStrategy

    async def choose(self, images: int = 1, decode_s: float = 0.0) -> Engine | None:
        """The engine for a request with this number of images."""
        with self.admission.admit(Load(images), 0):
            return await self.strategy.engine(self.admission, decode_s)


@pytest.fixture
def new_replica(tmp_path: Path) -> Callable[..., Replica]:
    def new(engine_s: float = 0.0) -> Replica:
        busy = BusyLock(tmp_path)
        return Replica(
            Admission(Load(100), busy), InlineStrategy(OWN, SHARED, busy, engine_s=engine_s)
        )

    return new


def test_a_lone_image_borrows_the_cores_of_idle_replicas(
    new_replica: Callable[..., Replica],
) -> None:
    assert asyncio.run(new_replica().choose()) is SHARED


def test_a_lone_image_uses_its_own_cores_while_another_replica_is_busy(
    new_replica: Callable[..., Replica],
) -> None:
    with new_replica().admission.admit(Load(1), 0):
        assert asyncio.run(new_replica().choose()) is OWN


def test_images_of_one_request_are_batched(new_replica: Callable[..., Replica]) -> None:
    assert asyncio.run(new_replica().choose(images=2)) is None


def test_an_image_is_batched_if_another_request_arrives_in_the_same_turn_of_the_loop(
    new_replica: Callable[..., Replica],
) -> None:
    replica = new_replica()

    async def choose_before_another_request() -> Engine | None:
        choice = asyncio.ensure_future(replica.choose())
        await asyncio.sleep(0)
        with replica.admission.admit(Load(1), 0):
            return await choice

    assert asyncio.run(choose_before_another_request()) is None


def test_every_image_is_batched_where_the_strategy_is_off(
    new_replica: Callable[..., Replica],
) -> None:
    assert asyncio.run(new_replica(engine_s=math.inf).choose()) is None


@pytest.mark.parametrize(("decode_s", "is_inline"), [(0.0005, True), (0.0015, False)])
def test_decoding_and_the_engine_together_are_bounded(
    new_replica: Callable[..., Replica], decode_s: float, is_inline: bool
) -> None:
    choice = asyncio.run(new_replica(engine_s=0.004).choose(decode_s=decode_s))
    assert (choice is not None) == is_inline


def test_the_blocking_time_is_measured_on_a_few_images() -> None:
    engine = ConstantEngine()
    assert blocking_seconds(engine, np.zeros((1, 8, 8, 3), np.uint8), 2) >= 0
    assert engine.calls == 5
