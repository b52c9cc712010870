"""Bulk tagging: images a second beside the bare process, a second node, and memory.

The last is of small synthetic pictures, few of them distinct, from Parquet: the proportional set
size of all processes of the job, second by second.
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

from bulk.listing import PART
from tests.conftest import PINTAG, free_port
from tests.load.setting import Setting, of_bare
from tests.raylets import Node, secluded

# Images of the job that is measured, for each second of a measurement.
_PER_SECOND = 3000
_DISTINCT, _GROUP = 64, 4096

Watch = Callable[["subprocess.Popen[str]"], None]


def measure(setting: Setting) -> dict[str, Any]:
    """Images a second on all cores beside the bare process, and on nodes of one core each."""
    bare, rates = [setting.bare()], []
    for _ in range(setting.rounds):
        rates.append(_rate(setting))
        bare.append(setting.bare())
    return {
        "bare": bare,
        "images_per_second": median(rates),
        "of_bare": of_bare(rates, bare),
        "nodes": _nodes(setting),
    }


def _nodes(setting: Setting) -> dict[str, Any]:
    """One raylet of one core, and two; they take turns."""
    counts = (1, 2)
    rates: dict[int, list[float]] = {count: [] for count in counts}
    for _ in range(setting.rounds):
        for count in counts:
            with secluded() as environment, contextlib.ExitStack() as ending:
                address = f"127.0.0.1:{(port := free_port())}"
                options = ["--head", f"--port={port}", "--include-dashboard=false"]
                for core in range(count):
                    node = Node(environment, *options, core=core)
                    ending.callback(node.kill)
                    options = [f"--address={address}"]
                rates[count].append(_rate(setting, environment | {"RAY_ADDRESS": address}))
    one, two = (rates[count] for count in counts)
    return {
        "rates": {str(count): found for count, found in rates.items()},
        "two_of_one": median(second / first for first, second in zip(one, two, strict=True)),
    }


def _rate(setting: Setting, environment: Mapping[str, str] = os.environ) -> float:
    """Images a second while every actor is at work, by when parts of the result were finished."""
    count = int(_PER_SECOND * setting.seconds)
    listed = setting.place / f"{count}.txt"
    paths = setting.paths
    listed.write_text("".join(f"{paths[i % len(paths)]}\n" for i in range(count)))
    out = setting.place / f"bulk-{time.monotonic_ns()}"
    tagged(listed, setting.bundle, out, environment)
    return _pace([each.stat().st_mtime for each in out.glob("part-*")])


def _pace(finished: Sequence[float]) -> float:
    """The slope through all but the first quarter, when actors start, and the end."""
    times = sorted(finished)
    steady = times[len(times) // 4 : -2]
    return PART * float(np.polyfit(steady, range(len(steady)), 1)[0])


def tagged(
    source: Path,
    bundle_dir: Path,
    out: Path,
    environment: Mapping[str, str] = os.environ,
    watch: Watch | None = None,
) -> dict[str, Any]:
    """What one run of the command says; it is watched while it lasts."""
    command = [PINTAG, "bulk", source, "--bundle", bundle_dir, "--out", out, "--json"]
    process = subprocess.Popen(
        list(map(str, command)), stdout=subprocess.PIPE, text=True, env=dict(environment)
    )
    watching = threading.Thread(target=watch, args=(process,)) if watch else None
    if watching:
        watching.start()
    said, _ = process.communicate()
    if watching:
        watching.join()
    if process.returncode:
        raise SystemExit("the job failed")
    return dict(json.loads(said))


def memory(setting: Setting) -> dict[str, Any]:
    """The job's memory, second by second."""
    curve: list[tuple[float, float]] = []
    started = time.monotonic()

    def watch(process: subprocess.Popen[str]) -> None:
        while process.poll() is None:
            curve.append((time.monotonic() - started, _mebibytes(process.pid)))
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(1)

    source, out = setting.place / "pictures.parquet", setting.place / "memory"
    _write(source, setting.rows)
    told = tagged(source, setting.bundle, out, watch=watch)
    found = pyarrow.parquet.ParquetDataset(out).read(["uri", "error"])
    return {
        **told,
        "rows": found.num_rows,
        "distinct_uris": len(set(found.column("uri").to_pylist())),
        "rows_with_an_error": found.num_rows - found.column("error").null_count,
        "mib_by_tenth": _tenths(curve),
        "curve": [(round(second, 1), round(size)) for second, size in curve],
    }


def _tenths(curve: Sequence[tuple[float, float]]) -> list[int]:
    """The median of each tenth of the time."""
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


def draw(found: dict[str, Any], path: Path) -> None:
    """The memory over the time."""
    from matplotlib.figure import Figure

    figure = Figure((7, 3.5), layout="constrained")
    axes = figure.subplots()
    axes.plot(*zip(*found["curve"], strict=True))
    axes.set(
        xlabel="seconds",
        ylabel="MiB, all processes (PSS)",
        title=f"pintag bulk, {found['rows']:,} small synthetic pictures",
    )
    axes.set_ylim(bottom=0)
    figure.savefig(path, dpi=110)
