"""A server ends in time, with all its processes and in our words, whatever ends first."""

from __future__ import annotations

import contextlib
import signal
from pathlib import Path

import psutil
import pytest

from tests.conftest import PINTAG, Server, descendants, launched, lives, serving, wait_for
from tests.conftest import free_port as port
from tests.faults.conftest import ONE_REPLICA
from tests.serve.uploads import stop_during_upload

pytestmark = [pytest.mark.ray, pytest.mark.slow]

SMALL = (*ONE_REPLICA, "explainer.enabled=false")
STOPPED = "Ctrl-C stops the server.\nstopping: requests in flight are answered first\nstopped\n"


def last_words(server: Server) -> str:
    """What a server has printed since it was ready."""
    return server.log.read_text().partition("Ctrl-C stops the server.\n")[2]


def ended(server: Server) -> int:
    """Wait until all processes of a server have ended, and return its exit code."""
    processes = descendants(server.process)
    code = server.process.wait(60)
    wait_for(lambda: not any(map(lives, processes)), 20, f"the end of {set(processes.values())}")
    return code


def test_a_signal_to_the_whole_group_ends_ray_after_the_answers_in_flight(
    bundle_dir: Path, body: bytes, tmp_path: Path
) -> None:
    """`timeout` sends SIGTERM to its command, and then to the group of the command."""
    program = ("timeout", "600", PINTAG)
    with serving(bundle_dir, tmp_path / "log", *SMALL, program=program) as server:
        names, answer = stop_during_upload(server, signal.SIGTERM, body)
        assert {"gcs_server", "raylet"} <= names
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert server.log.read_text().endswith(STOPPED)


def test_a_signal_to_every_process_ends_the_server_without_a_traceback(
    bundle_dir: Path, tmp_path: Path
) -> None:
    """As systemd sends it by default, to all processes of a service."""
    with serving(bundle_dir, tmp_path / "log", *SMALL) as server:
        everyone = [psutil.Process(server.process.pid), *descendants(server.process)]
        for process in everyone:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.terminate()
        assert ended(server) == 0
        assert "Traceback" not in last_words(server)
        assert last_words(server).endswith("stopped\n")


@pytest.mark.parametrize("name", ["gcs_server", "raylet"])
def test_a_server_without_a_process_of_ray_ends_at_once_and_names_it(
    bundle_dir: Path, tmp_path: Path, name: str
) -> None:
    with serving(bundle_dir, tmp_path / "log", *SMALL) as server:
        processes = descendants(server.process)
        (process,) = [each for each, its_name in processes.items() if its_name == name]
        process.kill()
        assert server.process.wait(60) == 1
        wait_for(lambda: not any(map(lives, processes)), 20, "the end of Ray")
        words = f"error: Ray's process {name} was ended by SIGKILL, perhaps for lack of memory; "
        assert last_words(server).startswith(words), last_words(server)
        assert last_words(server).count("\n") == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_replicas_that_wait_for_a_node_keep_no_server_from_ending(
    bundle_dir: Path, tmp_path: Path, number: signal.Signals
) -> None:
    """They have no request to answer, however long an answer may take."""
    command = (
        PINTAG, "serve", "--bundle", bundle_dir, "--port", port(), f"metrics.port={port()}",
        *SMALL, "classifier.resources={nowhere: 1}", "classifier.graceful_shutdown_timeout_s=300",
    )  # fmt: skip
    log = tmp_path / "log"
    with launched(command, log) as process:
        wait_for(lambda: descendants(process, "ServeController"), 120, "Ray Serve")
        wait_for(lambda: "may wait for a node: " in log.read_text(), 120, "the warning")
        processes = descendants(process)
        process.send_signal(number)
        assert process.wait(60) == 1
        wait_for(lambda: not any(map(lives, processes)), 20, "the end of Ray")
    start, warning, *_, end = log.read_text().splitlines()
    assert (start, end) == ("starting …", "interrupted")
    assert log.read_text().split(warning)[1].split() == ["interrupted"]
