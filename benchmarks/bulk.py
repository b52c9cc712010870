"""Bulk tagging: the rate compared with the bare process, the gain by a second node, and memory.

The memory job tags small synthetic images, few of them distinct, from Parquet. Memory is the
proportional set size of all processes of the job, second by second.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import psutil
import pyarrow
import pyarrow.parquet
from PIL import Image

from benchmarks.workload import Workload, of_bare
from pintag.bulk.listing import PART
from tests.conftest import PINTAG, free_port
from tests.raylets import Node, cluster_environment

# The measured job has this many images for each second of a measurement.
_PER_SECOND = 3000
_DISTINCT, _GROUP = 64, 4096

Watch = Callable[["subprocess.Popen[str]"], None]


def measure(workload: Workload) -> dict[str, Any]:
    """Images a second on all cores, also as a ratio to the bare process, and on one-core nodes."""
    bare, rates = [workload.bare()], []
    for _ in range(workload.rounds):
        rates.append(_rate(workload))
        bare.append(workload.bare())
    return {
        "bare": bare,
        "images_per_second": median(rates),
        "of_bare": of_bare(rates, bare),
        "nodes": _nodes(workload),
    }


def _nodes(workload: Workload) -> dict[str, Any]:
    """Images a second on one raylet of one core, and on two, measured in turn."""
    counts = (1, 2)
    rates: dict[int, list[float]] = {count: [] for count in counts}
    for _ in range(workload.rounds):
        for count in counts:
            with cluster_environment() as environment, contextlib.ExitStack() as cleanup:
                address = f"127.0.0.1:{(port := free_port())}"
                options = ["--head", f"--port={port}", "--include-dashboard=false"]
                for core in range(count):
                    node = Node(environment, *options, core=core)
                    cleanup.callback(node.kill)
                    options = [f"--address={address}"]
                rates[count].append(_rate(workload, environment | {"RAY_ADDRESS": address}))
    one, two = (rates[count] for count in counts)
    return {
        "rates": {str(count): values for count, values in rates.items()},
        "two_of_one": median(second / first for first, second in zip(one, two, strict=True)),
    }


def _rate(workload: Workload, environment: Mapping[str, str] = os.environ) -> float:
    """Images a second while every actor works, by the times at which parts were written."""
    count = int(_PER_SECOND * workload.seconds)
    list_file = workload.work_dir / f"{count}.txt"
    paths = workload.paths
    list_file.write_text("".join(f"{paths[i % len(paths)]}\n" for i in range(count)))
    out = workload.work_dir / f"bulk-{time.monotonic_ns()}"
    run_bulk(list_file, workload.bundle, out, environment)
    return _steady_rate([part.stat().st_mtime for part in out.glob("part-*")])


def _steady_rate(finished: Sequence[float]) -> float:
    """Images a second, fitted without the first quarter, when actors start, and the last parts."""
    times = sorted(finished)
    steady = times[len(times) // 4 : -2]
    return PART * float(np.polyfit(steady, range(len(steady)), 1)[0])


def run_bulk(
    source: Path,
    bundle_dir: Path,
    out: Path,
    environment: Mapping[str, str] = os.environ,
    watch: Watch | None = None,
) -> dict[str, Any]:
    """Run `pintag bulk --json` and return its output; `watch` runs meanwhile, in a thread."""
    command = [PINTAG, "bulk", source, "--bundle", bundle_dir, "--out", out, "--json"]
    process = subprocess.Popen(
        list(map(str, command)), stdout=subprocess.PIPE, text=True, env=dict(environment)
    )
    watching = threading.Thread(target=watch, args=(process,)) if watch else None
    if watching:
        watching.start()
    output, _ = process.communicate()
    if watching:
        watching.join()
    if process.returncode:
        raise SystemExit("`pintag bulk` failed; its messages are above")
    return dict(json.loads(output))


def memory(workload: Workload) -> dict[str, Any]:
    """The memory of a long job, second by second."""
    curve: list[tuple[float, float]] = []
    started = time.monotonic()

    def watch(process: subprocess.Popen[str]) -> None:
        while process.poll() is None:
            curve.append((time.monotonic() - started, _mebibytes(process.pid)))
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(1)

    source, out = workload.work_dir / "pictures.parquet", workload.work_dir / "memory"
    _write(source, workload.rows)
    summary = run_bulk(source, workload.bundle, out, watch=watch)
    written = pyarrow.parquet.ParquetDataset(out).read(["uri", "error"])
    return {
        **summary,
        "rows": written.num_rows,
        "distinct_uris": len(set(written.column("uri").to_pylist())),
        "rows_with_an_error": written.num_rows - written.column("error").null_count,
        "mib_by_tenth": _tenths(curve),
        "curve": [(round(second, 1), round(size)) for second, size in curve],
    }


def _tenths(curve: Sequence[tuple[float, float]]) -> list[int]:
    """The median of each tenth of the time, in MiB."""
    parts = np.array_split([size for _, size in curve], 10)
    return [round(float(np.median(part))) for part in parts if len(part)]


def _mebibytes(pid: int) -> float:
    total = 0
    with contextlib.suppress(psutil.NoSuchProcess):
        for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
            with contextlib.suppress(psutil.Error):
                total += process.memory_full_info().pss
    return total / 2**20


def _write(path: Path, rows: int) -> None:
    rng = np.random.default_rng(0)
    pictures = []
    for _ in range(_DISTINCT):
        content = io.BytesIO()
        pixels = rng.integers(0, 256, (4, 4, 3), np.uint8)
        Image.fromarray(pixels).resize((96, 96), Image.Resampling.BICUBIC).save(content, "JPEG")
        pictures.append(content.getvalue())
    with pyarrow.parquet.ParquetWriter(path, pyarrow.schema({"image": pyarrow.binary()})) as file:
        for start in range(0, rows, _GROUP):
            group = [pictures[i % _DISTINCT] for i in range(start, min(start + _GROUP, rows))]
            file.write_table(pyarrow.table({"image": group}))


def draw(results: dict[str, Any], path: Path) -> None:
    """Draw the memory over time as PNG."""
    from matplotlib.figure import Figure

    figure = Figure((7, 3.5), layout="constrained")
    axes = figure.subplots()
    axes.plot(*zip(*results["curve"], strict=True))
    axes.set(
        xlabel="seconds",
        ylabel="MiB, all processes (PSS)",
        title=f"pintag bulk, {results['rows']:,} small synthetic images",
    )
    axes.set_ylim(bottom=0)
    figure.savefig(path, dpi=110)
