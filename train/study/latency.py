"""Measures the prediction time of a network."""

from __future__ import annotations

import time

import numpy as np

from pintag.core.types import Engine
from pintag.models import networks
from pintag.models.engines.tensorflow import TensorFlowEngine
from pintag.models.networks import NetworkSpec

BATCHES = (1, 8, 32)
# Each batch size is timed for at least this many wall seconds and calls.
_MIN_SECONDS, _MIN_CALLS = 1.0, 3


def seconds_per_image(spec: NetworkSpec) -> dict[str, dict[int, float]]:
    """Return the mean wall seconds per image, by engine and batch size.

    The weights are random, which does not change the time.
    """
    engine = TensorFlowEngine(networks.build(spec))
    return {engine.name: {batch: _mean_seconds(engine, batch) for batch in BATCHES}}


def _mean_seconds(engine: Engine, batch: int) -> float:
    size = engine.input_size
    pixels = np.random.default_rng(0).integers(0, 256, (batch, size, size, 3), np.uint8)
    # The first call traces the function, so it is not timed.
    engine.predict(pixels)
    calls, started = 0, time.perf_counter()
    while calls < _MIN_CALLS or time.perf_counter() - started < _MIN_SECONDS:
        engine.predict(pixels)
        calls += 1
    return (time.perf_counter() - started) / (calls * batch)
