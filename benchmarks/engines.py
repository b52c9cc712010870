"""The speed of the engines, of decoding images of several sizes, and of explanations."""

from __future__ import annotations

import io
import json
import os
import sys
import time
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from PIL import Image

from benchmarks import explanations
from benchmarks.workload import Workload
from pintag.core.types import Engine
from pintag.images import decoding
from pintag.models import bundle
from pintag.models.engines.tensorflow import configure_threads

BATCH = 32
# Sizes of the images that are decoded: enlarged photographs.
MEGAPIXELS = (0.05, 0.5, 2.0, 12.0)
# The number of photographs that are explained and enlarged; how often each is decoded.
EXPLAINED, DECODED = 8, 5


def measure(workload: Workload) -> dict[str, Any]:
    """Milliseconds of one image and images a second by engine; explanations with the fastest."""
    return dict(json.loads(workload.run_module(__spec__.name, workload.seconds / 2)))


def _main(bundle_dir: str, folder: str, seconds: str) -> None:
    configure_threads(os.cpu_count() or 1)
    loaded = bundle.load(Path(bundle_dir))
    speeds = {}
    for choice in loaded.engines():
        engine = loaded.engine(choice)
        speeds[str(choice)] = {
            "one_image_ms": 1000 * _seconds(engine, 1, float(seconds)),
            "images_per_second": BATCH / _seconds(engine, BATCH, float(seconds)),
        }
    paths = explanations.choose_images(Path(folder), EXPLAINED)
    results = {
        "engines": speeds,
        "decoding": [_decoding(paths, size, engine.input_size) for size in MEGAPIXELS],
        "explained": len(paths),
        "explanations": explanations.timings(loaded.engine(), paths),
    }
    print(json.dumps(results))


def _decoding(paths: list[Path], megapixels: float, input_size: int) -> dict[str, float]:
    """Mean milliseconds of one core to decode JPEGs of that size, and their mean kilobytes."""
    times, lengths = [], []
    for path in paths:
        photograph = Image.open(path).convert("RGB")
        scale = (megapixels * 1e6 / (photograph.width * photograph.height)) ** 0.5
        content = io.BytesIO()
        sides = (round(photograph.width * scale), round(photograph.height * scale))
        photograph.resize(sides).save(content, "JPEG", quality=85)
        started = time.perf_counter()
        for _ in range(DECODED):
            decoding.decode(content.getvalue(), input_size)
        times.append(1000 * (time.perf_counter() - started) / DECODED)
        lengths.append(len(content.getvalue()) / 1000)
    return {"megapixels": megapixels, "ms": fmean(times), "kilobytes": fmean(lengths)}


def _seconds(engine: Engine, batch: int, seconds: float) -> float:
    """The median seconds of one batch."""
    size = engine.input_size
    pixels = np.random.default_rng(0).integers(0, 256, (batch, size, size, 3), np.uint8)
    engine.predict(pixels)
    times = []
    until = time.perf_counter() + seconds
    while (started := time.perf_counter()) < until:
        engine.predict(pixels)
        times.append(time.perf_counter() - started)
    return float(np.median(times))


if __name__ == "__main__":
    _main(*sys.argv[1:])
