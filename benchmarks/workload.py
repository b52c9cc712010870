"""The inputs of the benchmarks, and the bare process: the same work without a server."""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from pintag.images import decoding
from pintag.models import bundle
from pintag.models.engines.tensorflow import configure_threads
from tests.conftest import ROOT, Server, serving

BATCH = 32
# With caches, repeated images would measure the cache.
NO_CACHE = ("classifier.cache_bytes=0", "explainer.cache_bytes=0")


@dataclass(frozen=True)
class Workload:
    """The inputs and the length of every measurement in a run."""

    bundle: Path
    images: Path
    """A folder of JPEG photographs, which are sent in rotation."""
    seconds: float
    """The length of one measurement."""
    rounds: int
    """How often each contender is measured."""
    work_dir: Path
    """A folder for the files of the run."""
    rows: int
    """Rows of the bulk job whose memory is measured."""
    triton: Path | None = None
    """A Python that has nvidia-pytriton."""

    @cached_property
    def paths(self) -> list[Path]:
        """The paths of the photographs."""
        return photographs(self.images.absolute())

    @cached_property
    def bodies(self) -> list[bytes]:
        """The photographs as they are sent."""
        return [path.read_bytes() for path in self.paths]

    @contextlib.contextmanager
    def serving(self, *overrides: str, **named: Any) -> Iterator[Server]:
        """Our server with its defaults, without caches; see `tests.conftest.serving`."""
        with serving(self.bundle, self.work_dir / "log", *NO_CACHE, *overrides, **named) as server:
            yield server

    def bare(self) -> float:
        """Images a second of one process without a server: see the function `bare`."""
        return float(self.run_module(__spec__.name, self.seconds))

    def run_module(self, module: str, seconds: float) -> str:
        """Run a module with this bundle and these images; return the last line that it prints."""
        arguments = (self.bundle.absolute(), self.images.absolute(), seconds)
        done = subprocess.run(
            [sys.executable, "-m", module, *map(str, arguments)],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            cwd=ROOT,
        )
        return done.stdout.splitlines()[-1]


def photographs(folder: Path) -> list[Path]:
    """The JPEG files of a folder and its subfolders, in the order in which they are sent."""
    return sorted(folder.rglob("*.jpg"))


def of_bare(rates: Sequence[float], bare: Sequence[float]) -> float:
    """The median ratio of the rates to the bare process, which is measured before and after each.

    Each rate is divided by the higher one of the two bare rates around it.
    """
    best = map(max, itertools.pairwise(bare))
    return median(rate / bare_rate for rate, bare_rate in zip(rates, best, strict=True))


def bare(bundle_dir: Path, bodies: Sequence[bytes], seconds: float) -> float:
    """Images a second that this process decodes and predicts, with a thread for each core.

    Each thread has its own engine for one core, and batches of 32. No other variant was faster.
    """
    cores = os.cpu_count() or 1
    loaded = bundle.load(bundle_dir)
    if loaded.choose().kind == "tensorflow":
        configure_threads(1)
    engines = [loaded.engine(threads=1, sizes=[BATCH]) for _ in range(cores)]
    size = engines[0].input_size
    for engine in engines:
        engine.predict(np.zeros((BATCH, size, size, 3), np.uint8))
    until = time.perf_counter() + seconds

    def work(number: int) -> int:
        own_bodies = itertools.cycle([*bodies[number * len(bodies) // cores :], *bodies])
        done = 0
        while time.perf_counter() < until:
            batch = np.stack([decoding.decode(next(own_bodies), size) for _ in range(BATCH)])
            engines[number].predict(batch)
            done += BATCH
        return done

    started = time.perf_counter()
    with ThreadPoolExecutor(cores) as pool:
        done = sum(pool.map(work, range(cores)))
    return done / (time.perf_counter() - started)


def _main(bundle_dir: str, folder: str, seconds: str) -> None:
    bodies = [path.read_bytes() for path in photographs(Path(folder))]
    print(bare(Path(bundle_dir), bodies, float(seconds)))


if __name__ == "__main__":
    _main(*sys.argv[1:])
