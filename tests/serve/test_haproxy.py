"""HAProxy under its watch: killed, reloaded, stopped, without its manager. None of it is Ray's."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import httpx
import psutil
import pytest

from serve import haproxy
from serve.config import HttpConfig, ServeConfig
from serve.server import environment, has_haproxy
from tests.conftest import free_port, lives, wait_for
from tests.load import openloop

pytestmark = pytest.mark.skipif(not has_haproxy(), reason="Ray ships no HAProxy here")

CONFIG = """\
global
    stats socket {admin} mode 600 level admin expose-fd listeners
defaults
    mode http
    option idle-close-on-response
    timeout connect 5s
    timeout client 5s
    timeout server 5s
frontend http_frontend
    bind 127.0.0.1:{port}
    http-request return status 200 content-type text/plain string "{word}"
"""
# Two replicas that are not there any more, as a HAProxy knows them that another one has succeeded:
# it makes no checks. Behind them, who knows better. Each may be asked once.
GONE = """\
    default_backend http-classifier
backend http-classifier
    option redispatch 1
    retries 2
    default-server check inter 1h fastinter 1h observe layer4 error-limit {limit} on-error mark-down
    server SERVE_REPLICA_a 127.0.0.1:{closed}
    server SERVE_REPLICA_b 127.0.0.1:{closed}
    server SERVE_PROXY_ACTOR-fallback 127.0.0.1:{behind} backup
frontend fallback
    bind 127.0.0.1:{behind}
    http-request return status 200 content-type text/plain string "fallback"
"""
# Starts what it is told to and lives on: a manager, or a raylet with a manager.
PARENT = (
    sys.executable,
    "-c",
    "import subprocess, sys, time; subprocess.Popen(sys.argv[1:]); time.sleep(600)",
)
IMPATIENT = "import sys; from serve import haproxy; haproxy.GRACE = 0.5; sys.exit(haproxy.main())"


class Node:
    """Files of a manager, the port of its HAProxy, and all that was started."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.config = folder / "haproxy.cfg"
        self.admin = str(folder / "admin.sock")
        self._told = environment(ServeConfig(http=HttpConfig(haproxy=True)))
        self._started: list[subprocess.Popen[bytes]] = []
        self._watches: list[psutil.Process] = []

    def command(self, word: str, *more: object) -> list[str]:
        """As Ray would start a HAProxy that says a word."""
        self.config.write_text(CONFIG.format(admin=self.admin, port=self.port, word=word))
        script = self._told["RAY_SERVE_HAPROXY_BINARY_PATH"]
        return [script, "-db", "-f", str(self.config), "-dR", *map(str, more)]

    def start(self, command: Sequence[str]) -> psutil.Process:
        """The watch that this starts, once it says that it is HAProxy."""
        process = subprocess.Popen(command, env=os.environ | self._told)
        self._started.append(process)
        top = psutil.Process(process.pid)

        def watch() -> psutil.Process | None:
            """Where another one ends, that passes on what this one's HAProxy says of itself."""
            below = [top, *top.children(recursive=True)]
            found = {each.pid: each for each in below if each.name() != "haproxy"}
            return found.get(self.pid())

        wait_for(watch, 10, "HAProxy")
        found = watch()
        assert found
        self._watches.append(found)
        return found

    def reload(self, word: str) -> psutil.Process:
        """As Ray reloads."""
        return self.start(self.command(word, "-sf", self.pid(), "-x", self.admin))

    def asked(self, question: str) -> str:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as line:
            line.connect(self.admin)
            line.sendall(question.encode() + b"\n")
            return b"".join(iter(lambda: line.recv(10_000), b"")).decode()
        return ""

    def pid(self) -> int:
        """Of the process that says it is HAProxy; zero while there is none."""
        return int(self.asked("show info").partition("\nPid: ")[2].partition("\n")[0] or 0)

    def says(self) -> str:
        return httpx.get(f"http://127.0.0.1:{self.port}/", timeout=10).text

    def end(self) -> None:
        for watch in self._watches:
            with contextlib.suppress(psutil.NoSuchProcess):
                watch.kill()
        for process in self._started:
            process.kill()
            process.wait()


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    made = Node(tmp_path)
    yield made
    made.end()


def child(watch: psutil.Process) -> psutil.Process:
    """HAProxy itself."""
    (found,) = watch.children()
    assert found.name() == "haproxy"
    return found


def killed(process: psutil.Process) -> None:
    process.kill()
    wait_for(lambda: not lives(process), 10, "its end")


def test_killed_it_is_back_and_nobody_is_refused(node: Node) -> None:
    watch = node.start(node.command("hello"))
    assert node.says() == "hello"
    first = child(watch)
    killed(first)
    assert node.says() == "hello"
    assert child(watch) != first
    assert node.pid() == watch.pid


def test_one_that_dies_again_and_again_is_started_once_a_second(node: Node) -> None:
    watch = node.start(node.command("hello"))
    begun = []
    for _ in range(3):
        assert node.says() == "hello"
        begun.append(child(watch).create_time())
        killed(child(watch))
    assert min(later - sooner for sooner, later in pairwise(begun)) > haproxy.PAUSE - 0.1


def test_a_reload_costs_no_request_and_ends_the_one_before(node: Node) -> None:
    watches = [node.start(node.command("first"))]

    def reload() -> None:
        watches.extend(node.reload(word) for word in ("second", "third"))

    reloads = threading.Thread(target=reload)
    reloads.start()
    fates = openloop.run(f"http://127.0.0.1:{node.port}/", [b"body"], openloop.steady(200, 3))
    reloads.join()
    assert fates.statuses() == {200: 600}
    assert node.says() == "third"
    assert node.pid() == watches[-1].pid
    wait_for(lambda: not any(map(lives, watches[:-1])), 10, "the end of old ones")
    killed(child(watches[-1]))
    assert node.says() == "third"


def test_who_meets_only_replicas_that_are_gone_is_passed_on(node: Node) -> None:
    command = node.command("hello")
    limit = environment(ServeConfig())["RAY_SERVE_HAPROXY_OBSERVE_ERROR_LIMIT"]
    gone = GONE.format(closed=free_port(), behind=free_port(), limit=limit)
    listening, _, _ = node.config.read_text().partition("    http-request")
    node.config.write_text(listening + gone)
    node.start(command)
    assert node.says() == "fallback"


def test_killed_as_ray_kills_it_all_of_it_is_gone(node: Node) -> None:
    watch = node.start(node.command("hello"))
    itself = child(watch)
    killed(watch)
    wait_for(lambda: not lives(itself), 10, "the end of HAProxy")
    with pytest.raises(httpx.ConnectError):
        node.says()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_reaches_haproxy_and_ends_both(node: Node, number: signal.Signals) -> None:
    watch = node.start(node.command("hello"))
    itself = child(watch)
    watch.send_signal(number)
    wait_for(lambda: not lives(watch) and not lives(itself), 10, "the end")


def test_without_its_manager_it_goes_on_until_another_ones_takes_over(node: Node) -> None:
    """That one knows no application yet, and says so by its configuration."""
    first = node.start([*PARENT, *node.command("what was served")])
    manager = first.parent()
    assert manager
    killed(manager)
    assert node.says() == "what was served"
    second = node.start(node.command("nothing"))
    assert node.says() == "what was served"
    wait_for(lambda: not lives(first), 10, "the end of the first")
    third = node.reload("what is served")
    wait_for(lambda: not lives(second), 10, "the end of the second")
    assert node.says() == "what is served"
    killed(child(third))
    assert node.says() == "what is served"


def test_without_a_manager_it_does_not_go_on_for_ever(node: Node) -> None:
    _, *arguments = node.command("hello")
    binary = environment(ServeConfig(http=HttpConfig(haproxy=True)))["PINTAG_HAPROXY"]
    watch = node.start([*PARENT, sys.executable, "-c", IMPATIENT, binary, *arguments])
    itself, manager = child(watch), watch.parent()
    assert manager
    killed(manager)
    wait_for(lambda: not lives(watch) and not lives(itself), 10, "the end")


def test_without_its_raylet_it_ends_at_once(node: Node) -> None:
    watch = node.start([*PARENT, *PARENT, *node.command("hello")])
    itself, manager = child(watch), watch.parent()
    assert manager
    raylet = manager.parent()
    assert raylet
    killed(raylet)
    assert node.says() == "hello"
    killed(manager)
    wait_for(lambda: not lives(watch) and not lives(itself), 10, "the end")


def test_one_that_does_not_start_says_why_and_leaves_the_one_before(node: Node) -> None:
    node.start(node.command("hello"))
    broken = node.command('" broken', "-sf", node.pid(), "-x", node.admin)
    done = subprocess.run(
        broken, env=os.environ | environment(ServeConfig()), capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "Fatal errors found in configuration" in done.stderr
    assert node.says() == "hello"


def test_a_taken_port_is_named(node: Node) -> None:
    with socket.create_server(("127.0.0.1", node.port)):
        done = subprocess.run(
            node.command("hello"), env=os.environ | environment(ServeConfig()),
            capture_output=True, text=True,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == (
        f"HAProxy cannot listen on 127.0.0.1:{node.port}: Address already in use\n"
    )


def test_a_configuration_that_is_not_as_rays_is_refused() -> None:
    with pytest.raises(ValueError, match="no `bind` or no `stats socket`"):
        haproxy.Config.of("global\nfrontend http_frontend\n    mode http\n")
