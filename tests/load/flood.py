"""What a flood of explanations does to the latency of tags.

    python -m tests.load.flood --bundle runs/pins --images path/to/folder --apart
    python -m tests.load.flood --bundle runs/pins --images path/to/folder

Tags are asked for at a fixed rate, and timed from the moment each was due: quiet, beside a flood of
explanations over HTTP, and beside a bare process that explains without a server on the cores of the
explainer, which is what the shared machine itself costs. The three take turns. With `--apart` the
explainer keeps to the last core, and everything else to the others.

Everything goes to loopback, for a bounded time.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from tests.conftest import serving
from tests.load.setting import photographs

CLIENTS = 6


def post(url: str, path: str, body: bytes) -> int:
    """The status of one request, on a connection of its own."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
    with contextlib.closing(connection):
        connection.request("POST", path, body)
        response = connection.getresponse()
        response.read()
        return response.status


def tag_latencies(url: str, bodies: list[bytes], rate: float, seconds: float) -> list[float]:
    """Seconds from when each request was due to its answer, at `rate` requests a second."""

    def ask(due: float, body: bytes) -> float:
        if (status := post(url, "/v1/tags", body)) != 200:
            raise SystemExit(f"a tag was answered with {status}")
        return time.perf_counter() - due

    started = time.perf_counter()
    with ThreadPoolExecutor(64) as pool:
        asked = []
        for number, body in zip(range(int(rate * seconds)), itertools.cycle(bodies), strict=False):
            due = started + number / rate
            time.sleep(max(0.0, due - time.perf_counter()))
            asked.append(pool.submit(ask, due, body))
        return [answer.result() for answer in asked]


def flood(url: str, bodies: list[bytes]) -> None:
    """Explanations from several clients at once, none from the cache, until the process ends."""
    numbers = itertools.count()

    def ask(_: int) -> None:
        while True:
            number = next(numbers)
            if post(url, f"/v1/explanations?seed={number}", bodies[number % len(bodies)]) == 503:
                time.sleep(0.2)

    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(ask, range(CLIENTS)))


def bare(bundle_dir: Path, bodies: list[bytes], threads: int) -> None:
    """The explainer's work without a server, until the process ends."""
    from pintag import bundle, images
    from pintag.engine import configure_threads
    from pintag.explain import explain

    configure_threads(threads)
    engine = bundle.load(bundle_dir).engine()
    for body in itertools.cycle(bodies):
        explain(images.decode(body, engine.input_size), engine.predict)


@contextlib.contextmanager
def beside(arguments: list[str], core: int | None, niceness: int) -> Iterator[None]:
    """This program once more in another process, ended with the block."""

    def share() -> None:
        if core is not None:
            os.sched_setaffinity(0, {core})
        os.nice(niceness)

    process = subprocess.Popen(
        [sys.executable, "-m", __spec__.name, *arguments],
        preexec_fn=share,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        # Until it is up, it does something else.
        time.sleep(8)
        if process.poll() is not None:
            raise SystemExit(f"{arguments} ended")
        yield
    finally:
        process.kill()
        process.wait()


def measure(options: argparse.Namespace, bodies: list[bytes]) -> dict[str, list[float]]:
    """Latencies by phase."""
    cores = sorted(os.sched_getaffinity(0))
    last = cores[-1] if options.apart else None
    settings = ["classifier.cache_bytes=0", "explainer.cache_bytes=0"]
    if options.apart:
        # Whatever is started from here keeps to these, but the explainer.
        os.sched_setaffinity(0, cores[:-1])
        settings += [f"explainer.cores=[{last}]", "explainer.engine_threads=1"]
        settings += [f"classifier.engine_threads={len(cores) - 1}"]
    shared = ["--bundle", str(options.bundle), "--images", str(options.images)]
    found: dict[str, list[float]] = {"quiet": [], "flood": [], "bare": []}
    with (
        tempfile.TemporaryDirectory() as name,
        serving(options.bundle, Path(name) / "log", *settings) as server,
    ):
        tag_latencies(server.url, bodies, options.rate, 5)
        for _ in range(options.rounds):
            take = (server.url, bodies, options.rate, options.seconds)
            found["quiet"] += tag_latencies(*take)
            with beside(["--flood", server.url, *shared], last, 0):
                found["flood"] += tag_latencies(*take)
            threads = "1" if options.apart else "2"
            with beside(["--bare", threads, *shared], last, 10):
                found["bare"] += tag_latencies(*take)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True, help="a folder of JPEG images")
    parser.add_argument("--apart", action="store_true", help="the explainer has a core of its own")
    parser.add_argument("--rate", type=float, default=30, help="tags a second")
    parser.add_argument("--seconds", type=float, default=15, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--flood", help=argparse.SUPPRESS)
    parser.add_argument("--bare", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    bodies = [path.read_bytes() for path in photographs(options.images)]
    if options.flood:
        flood(options.flood, bodies)
    elif options.bare:
        bare(options.bundle, bodies, options.bare)
    else:
        print("| | tags | p50 ms | p90 ms | p99 ms |")
        print("| --- | --- | --- | --- | --- |")
        for phase, latencies in measure(options, bodies).items():
            marks = " | ".join(f"{1000 * q:.1f}" for q in np.quantile(latencies, (0.5, 0.9, 0.99)))
            print(f"| {phase} | {len(latencies)} | {marks} |")


if __name__ == "__main__":
    main()
