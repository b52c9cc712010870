"""What tests of every room share: sample data, a bundle, a running server, an S3 server, real data.

Whatever is slow to make is made once for the whole run, by the command that a user would type.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from pintag import bundle, sample

ROOT = Path(__file__).parents[1]
CONFIGS = ROOT / "configs"
# The console script beside the interpreter that runs the tests.
PINTAG = Path(sys.executable).with_name("pintag")
# What only the commands of HAProxy itself, and of its watch, have in them.
HAPROXY, WATCH = "haproxy.cfg.watched", "serve/haproxy.py"
# Of whoever asks the tests' S3 server.
KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"}


def pintag(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a user does, and wait for it."""
    return subprocess.run(
        [PINTAG, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=400,
        env=os.environ | {"XDG_CACHE_HOME": os.environ["PINTAG_TEST_CACHE"]} | environment,
    )


# Below the range that the system gives to connections, where a port is free one moment and taken
# the next; each call goes on where the last one stopped.
_PORTS = itertools.count(20000 + os.getpid() % 5000)


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    for port in _PORTS:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("unreachable: ports are counted without end")


def wait_for(condition: Callable[[], object], seconds: float = 60.0, what: str = "it") -> None:
    """Wait until `condition()` is true; fail, naming `what`, when it stays false."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"waited {seconds:g} s for {what}"
        time.sleep(0.05)


def descendants(process: subprocess.Popen[str], words: str = "") -> dict[psutil.Process, str]:
    """The processes below one, with their names; those that have these words in their command."""
    found = {}
    for child in psutil.Process(process.pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if words in " ".join(child.cmdline()):
                found[child] = child.name()
    return found


def lives(process: psutil.Process) -> bool:
    """Whether it is more than an exit code that nobody has asked for."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


@dataclass(frozen=True)
class Server:
    """A server process of ours."""

    url: str
    metrics_url: str
    process: subprocess.Popen[str]
    log: Path


def haproxy_config(process: subprocess.Popen[str]) -> str:
    """What the HAProxy below a process runs by."""
    commands = [each.cmdline() for each in descendants(process, HAPROXY)]
    (path,) = {command[command.index("-f") + 1] for command in commands}
    return Path(path).read_text()


@contextlib.contextmanager
def launched(
    command: Sequence[object], log: Path, **environment: str
) -> Iterator[subprocess.Popen[str]]:
    """A process that writes into a log, stopped as Ctrl-C stops it."""
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
            for each in [*descendants(process), process]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    each.kill()
            raise


@contextlib.contextmanager
def serving(
    bundle_dir: Path | str,
    log: Path,
    *overrides: str,
    program: Sequence[object] = (PINTAG,),
    **environment: str,
) -> Iterator[Server]:
    """`pintag serve` on free ports, ready to answer; stopped as Ctrl-C stops it."""
    port, metrics = free_port(), free_port()
    command = [
        *program, "serve", "--bundle", bundle_dir, "--port", port,
        f"metrics.port={metrics}", "http.drain_seconds=0", *overrides,
    ]  # fmt: skip
    with launched(command, log, **environment) as process:

        def is_up() -> bool:
            said = log.read_text()
            assert process.poll() is None, f"the server ended:\n{said}"
            return "Ctrl-C stops the server" in said

        wait_for(is_up, 120, "the server")
        address = "http://127.0.0.1"
        yield Server(f"{address}:{port}", f"{address}:{metrics}/metrics", process, log)


@pytest.fixture(scope="session", autouse=True)
def _temporary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A folder of the run for what a process that is killed leaves behind."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(tmp_path_factory.mktemp("temporary")))
        # Ray's sockets need a shorter path.
        patch.setenv("RAY_TMPDIR", os.environ.get("RAY_TMPDIR", tempfile.gettempdir()))
        yield


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Features that tests compute are kept for the run, away from the user's own."""
    os.environ["PINTAG_TEST_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    yield
    del os.environ["PINTAG_TEST_CACHE"]


@pytest.fixture(scope="session")
def sample_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small synthetic data set: 20, 6 and 6 images of each label."""
    root = tmp_path_factory.mktemp("data") / "sample"
    sample.write(root, counts={"train": 20, "validation": 6, "test": 6}, size=64)
    return root


@pytest.fixture(scope="session")
def bundle_dir(sample_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The basic CNN, fitted on the sample by `pintag train`."""
    out = tmp_path_factory.mktemp("bundles") / "sample"
    done = pintag(
        "train", CONFIGS / "train/sample.yaml", "--data", sample_dir, "--out", out,
        "head.epochs=6", "head.widths=[64]", "head.dropout=0",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="session")
def quick_dir(bundle_dir: Path, sample_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`bundle_dir` after `pintag optimize`: OpenVINO in int8, for which little has to be proved."""
    out = tmp_path_factory.mktemp("bundles") / "quick"
    shutil.copytree(bundle_dir, out)
    done = pintag(
        "optimize", out, "--data", sample_dir, "max_drop=0.2", "min_agreement=0.8"
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert bundle.load(out).choose() == ("openvino", "int8")
    return out


@pytest.fixture(scope="session")
def server(quick_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server as it comes, over `quick_dir`."""
    with serving(quick_dir, tmp_path_factory.mktemp("server") / "log") as found:
        yield found


_BUCKETS = itertools.count()


@dataclass(frozen=True)
class S3:
    """A server of buckets."""

    port: int
    client: Any

    def uri(self, place: str) -> str:
        """How pyarrow reaches a bucket's folder."""
        return f"s3://{place}?endpoint_override=127.0.0.1:{self.port}&scheme=http"

    def bucket(self) -> str:
        """The name of a new bucket."""
        name = f"bucket-{next(_BUCKETS)}"
        self.client.create_bucket(Bucket=name)
        return name

    @contextlib.contextmanager
    def closed(self) -> Iterator[None]:
        """Nobody may do anything while the block runs."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("moto.core.authorization.settings.INITIAL_NO_AUTH_ACTION_COUNT", 0)
            yield


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3]:
    """One for the whole run."""
    # Each request would be a line on standard error.
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    _, port = server.get_host_and_port()
    key, secret, region = KEYS.values()
    client = boto3.client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{port}",
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        region_name=region,
    )
    yield S3(port, client)
    server.stop()


@pytest.fixture
def s3(s3_server: S3, monkeypatch: pytest.MonkeyPatch) -> S3:
    """A server of buckets, and its keys in this process's variables."""
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    return s3_server


@pytest.fixture(scope="session")
def real_data() -> Path:
    """A folder with `pins` and `weights`, or a skip that says where it was looked for."""
    place = Path(os.environ.get("PINTAG_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not (place / "pins").is_dir() or not (place / "weights").is_dir():
        pytest.skip(f"no pins and weights in {place}; PINTAG_TEST_DATA names another folder")
    return place


@pytest.fixture(scope="session")
def pins_bundle(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MobileNet alpha 0.25 with ImageNet weights, fitted on the pins as the study did."""
    out = tmp_path_factory.mktemp("pins") / "bundle"
    # As a user names it, from here; workers run in folders of their own.
    weights = os.path.relpath(real_data / "weights" / "mobilenet_2_5_224_tf_no_top.h5")
    done = pintag(
        "train", CONFIGS / "train/mobilenet.yaml", "--data", real_data / "pins", "--out", out,
        "backbone.alpha=0.25", f"backbone.weights={weights}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return out
