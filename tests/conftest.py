"""Fixtures for all tests: sample data, bundles, a running server, an S3 server, real data.

A slow fixture is made once for the whole run, by the command that a user would type. When several
pytest workers run side by side (pytest-xdist), the first one that needs it makes it for all.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import psutil
import pytest
from filelock import FileLock

from pintag.data import sample
from pintag.models import bundle
from pintag.serve.nodes import ports
from tests import s3_servers
from tests.s3_servers import S3

ROOT = Path(__file__).parents[1]
CONFIGS, FAULTS = ROOT / "configs", ROOT / "tests" / "faults"
# The console script beside the interpreter that runs the tests.
PINTAG = Path(sys.executable).with_name("pintag")
# Words that only the command lines of HAProxy itself, and of its supervisor, contain.
HAPROXY, SUPERVISOR = "haproxy.cfg.watched", "serve/ingress/main.py"


def pintag(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a user does, and wait until it ends."""
    return subprocess.run(
        [PINTAG, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=400,
        env=os.environ | {"XDG_CACHE_HOME": os.environ["PINTAG_TEST_CACHE"]} | environment,
    )


# The pytest workers of this run, and the number of this one (pytest-xdist).
_WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
# Each worker takes ports from a block of its own, below the range from which the system takes ports
# for outgoing connections: there a port may be free at one moment and taken at the next.
_BLOCK = 12000 // _WORKERS
_PORTS = itertools.count(20000 + _WORKER * _BLOCK + os.getpid() % (_BLOCK // 2))


def free_port() -> int:
    """A port of this machine on which no process listens; every call returns another one."""
    for port in _PORTS:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("unreachable: ports are counted without end")


def wait_for(condition: Callable[[], object], seconds: float = 60.0, what: str = "it") -> None:
    """Wait until `condition()` is true; fail, naming `what`, when it stays false.

    The limit is for a machine that does nothing else. On a busy one everything takes longer.
    """
    begun = time.monotonic()
    while not condition():
        limit = seconds * _busyness()
        assert time.monotonic() < begun + limit, f"waited {limit:.0f} s for {what}"
        time.sleep(0.05)


def _busyness() -> float:
    """How many processes want each core, between 1 and 4."""
    return min(max(os.getloadavg()[0] / (os.cpu_count() or 1), 1.0), 4.0)


def descendants(process: subprocess.Popen[str], words: str = "") -> dict[psutil.Process, str]:
    """The descendants of a process whose command line contains `words`, with their names."""
    found = {}
    for child in psutil.Process(process.pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if words in " ".join(child.cmdline()):
                found[child] = child.name()
    return found


def lives(process: psutil.Process) -> bool:
    """Whether the process still runs; a zombie does not."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


@dataclass(frozen=True)
class Server:
    """A running `pintag serve`."""

    url: str
    metrics_url: str
    process: subprocess.Popen[str]
    log: Path


def haproxy_config(process: subprocess.Popen[str]) -> str:
    """The configuration of the HAProxy that descends from a process."""
    (path,) = haproxy_files(process)
    return path.read_text()


def haproxy_files(process: subprocess.Popen[str]) -> set[Path]:
    """The files with the configurations of the HAProxies that descend from a process."""
    commands = [each.cmdline() for each in descendants(process, HAPROXY)]
    return {Path(command[command.index("-f") + 1]) for command in commands}


@contextlib.contextmanager
def launched(
    command: Sequence[object], log: Path, **environment: str
) -> Iterator[subprocess.Popen[str]]:
    """Run a process that writes into a log, and stop it in the end as Ctrl-C does."""
    with log.open("w") as output:
        process = subprocess.Popen(
            list(map(str, command)),
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | environment,
            # A shell's background jobs ignore Ctrl-C, and so would their children.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            for child in descendants(process):
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()
            process.kill()
            raise


@contextlib.contextmanager
def serving(
    bundle_dir: Path | str,
    log: Path,
    *overrides: str,
    program: Sequence[object] = (PINTAG,),
    **environment: str,
) -> Iterator[Server]:
    """Run `pintag serve` on free ports until the block ends; it is ready when the block begins."""
    port, metrics = free_port(), free_port()
    # Two servers that start at the same moment might otherwise choose the same further ports.
    environment = {name: str(free_port()) for name in ports.DEFAULTS} | environment
    command = [
        *program, "serve", "--bundle", bundle_dir, "--port", port,
        f"metrics.port={metrics}", "http.drain_s=0", *overrides,
    ]  # fmt: skip
    with launched(command, log, **environment) as process:

        def is_up() -> bool:
            output = log.read_text()
            assert process.poll() is None, f"the server ended:\n{output}"
            return "Ctrl-C stops the server" in output

        # On a busy machine the imports alone take a minute.
        wait_for(is_up, 300, "the server")
        address = "http://127.0.0.1"
        yield Server(f"{address}:{port}", f"{address}:{metrics}/metrics", process, log)


@pytest.fixture(scope="session", autouse=True)
def _temporary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Point TMPDIR into the folder of the run, for files that killed processes leave behind."""
    with pytest.MonkeyPatch.context() as patch:
        # Unchanged: the paths of Ray's sockets have to be short.
        patch.setenv("RAY_TMPDIR", os.environ.get("RAY_TMPDIR", tempfile.gettempdir()))
        patch.setenv("TMPDIR", str(tmp_path_factory.mktemp("temporary")))
        yield


@pytest.fixture(scope="session")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of this run, which all pytest workers share."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session", autouse=True)
def _cache(run_dir: Path) -> Iterator[None]:
    """Keep features that tests compute for the whole run, apart from the user's own cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PINTAG_TEST_CACHE", str(run_dir / "cache"))
        yield


def once(folder: Path, make: Callable[[Path], object]) -> Path:
    """The folder, made by `make(folder)` in the first pytest worker that asks for it."""
    done = folder.with_name(f"{folder.name}.done")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not done.exists():
            make(folder)
            done.touch()
    return folder


@pytest.fixture(scope="session")
def sample_dir(run_dir: Path) -> Path:
    """A small synthetic data set: 20, 6 and 6 images of each label."""
    counts = {"train": 20, "validation": 6, "test": 6}
    return once(run_dir / "sample", lambda out: sample.write(out, counts=counts, size=64))


@pytest.fixture(scope="session")
def bundle_dir(sample_dir: Path, run_dir: Path) -> Path:
    """The basic CNN, fitted on the sample by `pintag train`."""

    def fit(out: Path) -> None:
        done = pintag(
            "train", CONFIGS / "train/sample.yaml", "--data", sample_dir, "--out", out,
            "head.epochs=16", "head.widths=[64]", "head.dropout=0",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    return once(run_dir / "bundles" / "sample", fit)


@pytest.fixture(scope="session")
def quick_dir(bundle_dir: Path, sample_dir: Path, run_dir: Path) -> Path:
    """`bundle_dir` after `pintag optimize`: OpenVINO in int8, with loose limits on accuracy."""

    def optimize(out: Path) -> None:
        shutil.copytree(bundle_dir, out)
        done = pintag("optimize", out, "--data", sample_dir, "max_drop=0.2", "min_agreement=0.8")
        assert done.returncode == 0, done.stderr
        assert bundle.load(out).choose() == ("openvino", "int8")

    return once(run_dir / "bundles" / "quick", optimize)


@pytest.fixture(scope="session")
def server(quick_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of `quick_dir` with the default settings, for all tests that only send requests."""
    with serving(quick_dir, tmp_path_factory.mktemp("server") / "log") as running:
        yield running


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """One local Ray cluster, to which this process is connected for the rest of the run."""
    from pintag.cluster import connection
    from tests import commands

    with contextlib.ExitStack() as stack:
        # Later servers of this run must not inherit the variables of this cluster.
        with mock.patch.dict(os.environ):
            stack.enter_context(connection.connected(workers=2))
            # Its token, for commands in separate processes.
            added = {key: os.environ[key] for key in os.environ if key.startswith("RAY_")}
            commands.cluster_environment.update(added)
        yield


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3]:
    """One S3 server for all tests."""
    with s3_servers.started() as server:
        yield server


@pytest.fixture
def s3(s3_server: S3, monkeypatch: pytest.MonkeyPatch) -> S3:
    """The S3 server, with its credentials in the environment of this process."""
    for name, value in s3_servers.KEYS.items():
        monkeypatch.setenv(name, value)
    return s3_server


@pytest.fixture(scope="session")
def real_data() -> Path:
    """A folder with `pins` and `weights`; without one the test is skipped."""
    folder = Path(os.environ.get("PINTAG_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "pins").is_dir() or not (folder / "weights").is_dir():
        pytest.skip(f"no pins and weights in {folder}; PINTAG_TEST_DATA names another folder")
    return folder


@pytest.fixture(scope="session")
def pins_bundle(real_data: Path, run_dir: Path) -> Path:
    """MobileNet alpha 0.25 with ImageNet weights, fitted on the pins as the study did."""

    def fit(out: Path) -> None:
        # A relative path, as a user may type it: workers run in folders of their own.
        weights = os.path.relpath(real_data / "weights" / "mobilenet_2_5_224_tf_no_top.h5")
        done = pintag(
            "train", CONFIGS / "train/mobilenet.yaml", "--data", real_data / "pins", "--out", out,
            "backbone.alpha=0.25", f"backbone.weights={weights}",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    return once(run_dir / "bundles" / "pins", fit)


# Fixtures of several files that a worker keeps to itself, by the folder that defines them: one
# worker runs all their tests, so that no other one starts a second server or waits for the study.
_SHARED = {"server": "tests", "finished": "tests/train"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests of faults, group the tests of pytest-xdist's workers, and put slow groups first.

    The last groups decide how long one worker runs alone.
    """
    shared = {item.path: name for item in items for name in _shared_fixtures(item)}
    groups = defaultdict(list)
    for item in items:
        # Other work does not disturb those that are marked as slow.
        if item.path.is_relative_to(FAULTS) and not item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.faults)
        groups[shared.get(item.path, item.path.relative_to(ROOT).as_posix())].append(item)
    for name, tests in groups.items():
        for item in tests:
            item.add_marker(pytest.mark.xdist_group(name))
    order = sorted(groups, key=lambda name: (name not in _SHARED, not _is_slow(groups[name])))
    items[:] = [item for name in order for item in groups[name]]


def _shared_fixtures(item: pytest.Item) -> list[str]:
    """The fixtures of `_SHARED` that the test asks for; a file may have its own of that name."""
    assert isinstance(item, pytest.Function)
    fixtures = item._fixtureinfo.name2fixturedefs
    return [
        name
        for name, home in _SHARED.items()
        if name in fixtures and fixtures[name][-1].baseid == home
    ]


def _is_slow(tests: list[pytest.Item]) -> bool:
    """Whether a group needs Ray, TensorFlow or a browser, or builds the image."""
    marks = ("ray", "keras", "browser", "image")
    return any(test.get_closest_marker(mark) for test in tests for mark in marks)
