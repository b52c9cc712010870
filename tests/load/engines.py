"""What a core does: the engines of a bundle, decoding by the size of the picture, explanations."""

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

from pintag import bundle, images
from pintag.engine import Engine, configure_threads
from tests.load import explanations
from tests.load.setting import Setting

BATCH = 32
# Of pictures that are decoded: photographs made larger.
MEGAPIXELS = (0.05, 0.5, 2.0, 12.0)
# Photographs that are explained, and made larger; how often one is decoded.
EXPLAINED, DECODED = 8, 5


def measure(setting: Setting) -> dict[str, Any]:
    """By engine: milliseconds of one image, images a second; and explanations by the fastest."""
    return dict(json.loads(setting.apart(__spec__.name, setting.seconds / 2)))


def _main(bundle_dir: str, folder: str, seconds: str) -> None:
    configure_threads(os.cpu_count() or 1)
    loaded = bundle.load(Path(bundle_dir))
    found = {}
    for choice in loaded.engines():
        engine = loaded.engine(choice)
        found[str(choice)] = {
            "one_image_ms": 1000 * _seconds(engine, 1, float(seconds)),
            "images_per_second": BATCH / _seconds(engine, BATCH, float(seconds)),
        }
    paths = explanations.chosen(Path(folder), EXPLAINED)
    told = {
        "engines": found,
        "decoding": [_decoding(paths, most, engine.input_size) for most in MEGAPIXELS],
        "explained": len(paths),
        "explanations": explanations.timings(loaded.engine(), paths),
    }
    print(json.dumps(told))


def _decoding(paths: list[Path], megapixels: float, size: int) -> dict[str, float]:
    """Milliseconds of one core, and kilobytes, of JPEGs of so many pixels: means over pictures."""
    taken, lengths = [], []
    for path in paths:
        photograph = Image.open(path).convert("RGB")
        scale = (megapixels * 1e6 / (photograph.width * photograph.height)) ** 0.5
        content = io.BytesIO()
        sides = (round(photograph.width * scale), round(photograph.height * scale))
        photograph.resize(sides).save(content, "JPEG", quality=85)
        started = time.perf_counter()
        for _ in range(DECODED):
            images.decode(content.getvalue(), size)
        taken.append(1000 * (time.perf_counter() - started) / DECODED)
        lengths.append(len(content.getvalue()) / 1000)
    return {"megapixels": megapixels, "ms": fmean(taken), "kilobytes": fmean(lengths)}


def _seconds(engine: Engine, batch: int, seconds: float) -> float:
    """The median of those of one batch."""
    size = engine.input_size
    pixels = np.random.default_rng(0).integers(0, 256, (batch, size, size, 3), np.uint8)
    engine.predict(pixels)
    taken = []
    until = time.perf_counter() + seconds
    while (started := time.perf_counter()) < until:
        engine.predict(pixels)
        taken.append(time.perf_counter() - started)
    return float(np.median(taken))


if __name__ == "__main__":
    _main(*sys.argv[1:])
