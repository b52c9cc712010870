"""The engines of a bundle: one image, and batches of 32, on all cores from one caller."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from pintag import bundle
from pintag.engine import Engine, configure_threads
from tests.conftest import ROOT
from tests.load import explanations
from tests.load.setting import Setting

BATCH = 32
# Photographs that are explained.
EXPLAINED = 8


def measure(setting: Setting) -> dict[str, Any]:
    """By engine: milliseconds of one image, images a second; and explanations by the fastest."""
    command = [sys.executable, "-m", __spec__.name, setting.bundle.absolute(), setting.images]
    done = subprocess.run(
        [*map(str, command), str(setting.seconds / 2)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        cwd=ROOT,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


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
    explained = explanations.timings(loaded.engine(), paths)
    print(json.dumps({"engines": found, "explained": len(paths), "explanations": explained}))


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
