"""What is measured: a bundle, photographs, and the bare process that does the same work."""

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

from pintag import bundle, images
from pintag.engine import configure_threads
from tests.conftest import ROOT, Server, serving

BATCH = 32
# An answer from memory would measure the memory.
NO_CACHE = ("classifier.cache_bytes=0", "explainer.cache_bytes=0")


@dataclass(frozen=True)
class Setting:
    """Of every measurement in a run."""

    bundle: Path
    images: Path
    """A folder of JPEG photographs, which are sent in turn."""
    seconds: float
    """Of one measurement."""
    rounds: int
    """How often what is compared takes its turn."""
    place: Path
    """For files of the run."""
    rows: int
    """Of the bulk job whose memory is watched."""
    triton: Path | None = None
    """A Python that has nvidia-pytriton."""

    @cached_property
    def paths(self) -> list[Path]:
        """Of the photographs."""
        return photographs(self.images.absolute())

    @cached_property
    def bodies(self) -> list[bytes]:
        """The photographs as they are sent."""
        return [path.read_bytes() for path in self.paths]

    @contextlib.contextmanager
    def serving(self, *overrides: str, **named: Any) -> Iterator[Server]:
        """Our server as it comes, without caches; see `tests.conftest.serving`."""
        with serving(self.bundle, self.place / "log", *NO_CACHE, *overrides, **named) as server:
            yield server

    def bare(self) -> float:
        """Images a second of one process without a server: see `bare`."""
        return float(self.apart(__spec__.name, self.seconds))

    def apart(self, module: str, seconds: float) -> str:
        """The last line that a module says in a process of its own, of this bundle and images."""
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
    """In the order in which they are sent."""
    return sorted(folder.rglob("*.jpg"))


def of_bare(rates: Sequence[float], bare: Sequence[float]) -> float:
    """The median of what rates are of the bare process, the best of before and after each."""
    best = map(max, itertools.pairwise(bare))
    return median(rate / most for rate, most in zip(rates, best, strict=True))


def bare(bundle_dir: Path, bodies: Sequence[bytes], seconds: float) -> float:
    """Images a second, decoded and inferred in this process by a thread for each core.

    Each has an engine of its own for one core, and batches of 32: the fastest of what was tried.
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
        turn = itertools.cycle([*bodies[number * len(bodies) // cores :], *bodies])
        done = 0
        while time.perf_counter() < until:
            batch = np.stack([images.decode(next(turn), size) for _ in range(BATCH)])
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
