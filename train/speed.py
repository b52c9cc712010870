"""How long one image takes a network."""

from __future__ import annotations

import time

import numpy as np

from pintag import networks
from pintag.engine import Engine, TensorFlowEngine
from pintag.networks import NetworkSpec

BATCHES = (1, 8, 32)
# Wall seconds for which each batch size is timed at least, and calls.
_SECONDS, _CALLS = 1.0, 3


def predictions(spec: NetworkSpec) -> dict[str, dict[int, float]]:
    """Mean wall seconds of one image, by engine and batch size; random weights take as long."""
    engine = TensorFlowEngine(networks.build(spec))
    return {engine.name: {batch: _mean(engine, batch) for batch in BATCHES}}


def _mean(engine: Engine, batch: int) -> float:
    size = engine.input_size
    pixels = np.random.default_rng(0).integers(0, 256, (batch, size, size, 3), np.uint8)
    # The first call builds what the others use.
    engine.predict(pixels)
    calls, started = 0, time.perf_counter()
    while calls < _CALLS or time.perf_counter() - started < _SECONDS:
        engine.predict(pixels)
        calls += 1
    return (time.perf_counter() - started) / (calls * batch)
