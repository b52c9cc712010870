"""How much many explanations slow down tags.

    python -m benchmarks.flood --bundle runs/pins --images path/to/folder --apart
    python -m benchmarks.flood --bundle runs/pins --images path/to/folder

Tags are requested at a fixed rate, and each is timed from the moment it was due. Three cases are
measured in turn: no other requests (quiet); many explanations over HTTP (flood); and a process that
computes explanations on the explainer's cores without a server (bare), which shows the cost of
sharing the machine. With `--apart` the explainer uses the last core, and all else the other cores.

All traffic goes to loopback, for a limited time.
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

from benchmarks.workload import photographs
from tests.conftest import serving

CLIENTS = 6


def post(url: str, path: str, body: bytes) -> int:
    """The status of one request, on a new connection."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    with contextlib.closing(connection):
        connection.request("POST", path, body)
        response = connection.getresponse()
        response.read()
        return response.status


def tag_latencies(url: str, bodies: list[bytes], rate: float, seconds: float) -> list[float]:
    """Seconds from the time at which each request was due to its answer; `rate` is per second."""

    def send(due: float, body: bytes) -> float:
        if (status := post(url, "/v1/tags", body)) != 200:
            raise SystemExit(f"a tag was answered with {status}")
        return time.perf_counter() - due

    started = time.perf_counter()
    with ThreadPoolExecutor(64) as pool:
        answers = []
        for number, body in zip(range(int(rate * seconds)), itertools.cycle(bodies), strict=False):
            due = started + number / rate
            time.sleep(max(0.0, due - time.perf_counter()))
            answers.append(pool.submit(send, due, body))
        return [answer.result() for answer in answers]


def flood(url: str, bodies: list[bytes]) -> None:
    """Request explanations that are in no cache, from several clients, until the process ends."""
    numbers = itertools.count()

    def send(_: int) -> None:
        while True:
            number = next(numbers)
            if post(url, f"/v1/explanations?seed={number}", bodies[number % len(bodies)]) == 503:
                time.sleep(0.2)

    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(send, range(CLIENTS)))


def bare(bundle_dir: Path, bodies: list[bytes], threads: int) -> None:
    """Compute explanations without a server, until the process ends."""
    from pintag.explain.explanation import explain
    from pintag.images import decoding
    from pintag.models import bundle
    from pintag.models.engines.tensorflow import configure_threads

    configure_threads(threads)
    engine = bundle.load(bundle_dir).engine()
    for body in itertools.cycle(bodies):
        explain(decoding.decode(body, engine.input_size), engine.predict)


@contextlib.contextmanager
def beside(arguments: list[str], core: int | None, niceness: int) -> Iterator[None]:
    """Run this program in another process until the end of the block."""

    def limit_cpu() -> None:
        if core is not None:
            os.sched_setaffinity(0, {core})
        os.nice(niceness)

    process = subprocess.Popen(
        [sys.executable, "-m", __spec__.name, *arguments],
        preexec_fn=limit_cpu,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        # Its imports take some seconds.
        time.sleep(8)
        if process.poll() is not None:
            raise SystemExit(f"the process {arguments} ended early")
        yield
    finally:
        process.kill()
        process.wait()


def measure(options: argparse.Namespace, bodies: list[bytes]) -> dict[str, list[float]]:
    """The latencies of tags in seconds, by case: quiet, flood, bare."""
    cores = sorted(os.sched_getaffinity(0))
    last = cores[-1] if options.apart else None
    settings = ["classifier.cache_bytes=0", "explainer.cache_bytes=0"]
    if options.apart:
        # Every process started from here inherits these cores; the explainer has its own.
        os.sched_setaffinity(0, cores[:-1])
        settings += [f"explainer.cores=[{last}]", "explainer.engine_threads=1"]
        settings += [f"classifier.engine_threads={len(cores) - 1}"]
    shared = ["--bundle", str(options.bundle), "--images", str(options.images)]
    latencies: dict[str, list[float]] = {"quiet": [], "flood": [], "bare": []}
    with (
        tempfile.TemporaryDirectory() as name,
        serving(options.bundle, Path(name) / "log", *settings) as server,
    ):
        tag_latencies(server.url, bodies, options.rate, 5)
        for _ in range(options.rounds):
            load = (server.url, bodies, options.rate, options.seconds)
            latencies["quiet"] += tag_latencies(*load)
            with beside(["--flood", server.url, *shared], last, 0):
                latencies["flood"] += tag_latencies(*load)
            threads = "1" if options.apart else "2"
            with beside(["--bare", threads, *shared], last, 10):
                latencies["bare"] += tag_latencies(*load)
    return latencies


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True, help="a folder of JPEG images")
    parser.add_argument("--apart", action="store_true", help="the explainer has a core of its own")
    parser.add_argument("--rate", type=float, default=30, help="tags a second")
    parser.add_argument("--seconds", type=float, default=15, help="length of each measurement")
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
        for case, latencies in measure(options, bodies).items():
            cells = " | ".join(f"{1000 * q:.1f}" for q in np.quantile(latencies, (0.5, 0.9, 0.99)))
            print(f"| {case} | {len(latencies)} | {cells} |")


if __name__ == "__main__":
    main()
