"""HAProxy under its supervisor: killed, reloaded, stopped, or without its manager; without Ray."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import httpx
import psutil
import pytest

from benchmarks import openloop
from pintag.serve.config import HttpConfig, ServeConfig
from pintag.serve.ingress import supervisor
from pintag.serve.ingress.installation import has_haproxy
from pintag.serve.nodes import environment
from tests.conftest import free_port, lives, wait_for
from tests.sockets import until_closed

pytestmark = pytest.mark.skipif(not has_haproxy(), reason="Ray ships no HAProxy here")

CONFIG = """\
global
    stats socket {admin} mode 600 level admin expose-fd listeners
    stats timeout 30s
defaults
    mode http
    option httplog
    option idle-close-on-response
    timeout connect 5s
    timeout client 5s
    timeout server 5s
    errorfile 502 500.http
    errorfile 503 500.http
    errorfile 504 500.http
backend default_backend
    http-request return status 404 content-type text/plain string "not found"
frontend prometheus
    bind :{metrics}
listen stats
    bind *:{stats}
frontend http_frontend
    bind 127.0.0.1:{port}
"""
# A frontend that answers with one word.
ANSWER = """\
    http-request return status 200 content-type text/plain string "{word}"
"""
# Two replicas that are gone, and a fallback. After a reload the old HAProxy process makes no health
# checks, so such replicas stay in its list.
GONE = """\
    acl healthcheck path /-/healthz
    http-request return status 200 content-type text/plain string "success" if healthcheck
    acl is_http-classifier path /
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
"""
# Starts a command and keeps running, as Ray's manager does, and the raylet that starts the manager.
PARENT = (
    sys.executable,
    "-c",
    "import subprocess, sys, time; subprocess.Popen(sys.argv[1:]); time.sleep(600)",
)
SHORT_GRACE = (
    "import sys; from pintag.serve.ingress import main, supervisor; "
    "supervisor.GRACE = 0.5; sys.exit(main.main(sys.argv[1:]))"
)


class Node:
    """The files of a manager, the ports of its HAProxy, and the processes that were started."""

    def __init__(self, folder: Path) -> None:
        self.port, self._metrics, self._stats = free_port(), free_port(), free_port()
        self.config = folder / "haproxy.cfg"
        self.admin = str(folder / "admin.sock")
        self._variables = environment.variables(ServeConfig(http=HttpConfig(haproxy=True)))
        self._started: list[subprocess.Popen[bytes]] = []
        self._supervisors: list[psutil.Process] = []

    def command(self, word: str, *more: object) -> list[str]:
        """Ray's command for a HAProxy that answers with a word."""
        return self.command_for(ANSWER.format(word=word), *more)

    def command_for(self, rules: str, *more: object) -> list[str]:
        """Ray's command for a HAProxy that has these rules in its frontend."""
        head = CONFIG.format(
            admin=self.admin, port=self.port, metrics=self._metrics, stats=self._stats
        )
        self.config.write_text(head + rules)
        script = self._variables["RAY_SERVE_HAPROXY_BINARY_PATH"]
        return [script, "-db", "-f", str(self.config), "-dR", *map(str, more)]

    def start(self, command: Sequence[str]) -> psutil.Process:
        """Run a command, and return the supervisor that it starts when it answers."""
        process = subprocess.Popen(command, env=os.environ | self._variables)
        self._started.append(process)
        first = psutil.Process(process.pid)

        def supervisor_process() -> psutil.Process | None:
            """None while nothing answers, or an old supervisor still does."""
            family = [first, *first.children(recursive=True)]
            candidates = {member.pid: member for member in family if member.name() != "haproxy"}
            return candidates.get(self.pid())

        wait_for(supervisor_process, 60, "HAProxy")
        started = supervisor_process()
        assert started
        self._supervisors.append(started)
        return started

    def reload(self, word: str) -> psutil.Process:
        """Reload as Ray does."""
        return self.start(self.command(word, "-sf", self.pid(), "-x", self.admin))

    def request(self, command: str) -> str:
        """The answer of the admin socket to a command; empty if there is none."""
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as line:
            line.connect(self.admin)
            line.sendall(command.encode() + b"\n")
            return until_closed(line).decode()
        return ""

    def pid(self) -> int:
        """The process id that the admin socket reports; zero if it does not answer."""
        return int(self.request("show info").partition("\nPid: ")[2].partition("\n")[0] or 0)

    def answer(self) -> str:
        """The text that a client receives."""
        return httpx.get(f"http://127.0.0.1:{self.port}/", timeout=10).text

    def end(self) -> None:
        for supervisor_process in self._supervisors:
            with contextlib.suppress(psutil.NoSuchProcess):
                supervisor_process.kill()
        for process in self._started:
            process.kill()
            process.wait()


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = Node(tmp_path)
    yield node
    node.end()


def haproxy_of(supervisor: psutil.Process) -> psutil.Process:
    """The HAProxy that a supervisor runs."""
    (haproxy,) = supervisor.children()
    assert haproxy.name() == "haproxy"
    return haproxy


def kill(process: psutil.Process) -> None:
    """End a process by SIGKILL, and wait for its end."""
    process.kill()
    wait_for(lambda: not lives(process), 60, "the end of the process")


def test_a_killed_haproxy_is_started_again_and_no_connection_is_refused(node: Node) -> None:
    process = node.start(node.command("hello"))
    assert node.answer() == "hello"
    first = haproxy_of(process)
    kill(first)
    assert node.answer() == "hello"
    assert haproxy_of(process) != first
    assert node.pid() == process.pid


def test_a_haproxy_that_dies_again_and_again_is_started_once_a_second(node: Node) -> None:
    process = node.start(node.command("hello"))
    starts = []
    for _ in range(3):
        assert node.answer() == "hello"
        starts.append(haproxy_of(process).create_time())
        kill(haproxy_of(process))
    assert min(second - first for first, second in pairwise(starts)) > supervisor.PAUSE - 0.1


def test_a_reload_loses_no_request_and_ends_the_old_process(node: Node) -> None:
    supervisors = [node.start(node.command("first"))]

    def reload() -> None:
        supervisors.extend(node.reload(word) for word in ("second", "third"))

    reloads = threading.Thread(target=reload)
    reloads.start()
    outcomes = openloop.run(f"http://127.0.0.1:{node.port}/", [b"body"], openloop.steady(200, 3))
    reloads.join()
    assert outcomes.statuses() == {200: 600}
    assert node.answer() == "third"
    assert node.pid() == supervisors[-1].pid
    wait_for(lambda: not any(map(lives, supervisors[:-1])), 60, "the end of the old supervisors")
    kill(haproxy_of(supervisors[-1]))
    assert node.answer() == "third"


def test_a_connection_comes_to_haproxy_with_its_first_data(node: Node) -> None:
    """At a reload HAProxy would close it, and its client would not send the request again."""
    node.start(node.command("hello"))
    while True:
        begin = time.monotonic()
        with socket.create_connection(("127.0.0.1", node.port)) as connection:
            count = int(node.request("show info").partition("\nCurrConns: ")[2].split()[0])
            # After a second HAProxy gets it anyhow.
            if time.monotonic() < begin + 0.9:
                assert count == 0
                connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                assert until_closed(connection).endswith(b"hello")
                return


def test_a_request_goes_to_the_fallback_if_all_replicas_are_gone(node: Node) -> None:
    limit = environment.variables(ServeConfig())["RAY_SERVE_HAPROXY_OBSERVE_ERROR_LIMIT"]
    gone = GONE.format(closed=free_port(), behind=free_port(), limit=limit)
    node.start(node.command_for(gone + ANSWER.format(word="fallback")))
    assert node.answer() == "fallback"


def test_haproxy_is_killed_together_with_its_supervisor(node: Node) -> None:
    process = node.start(node.command("hello"))
    haproxy = haproxy_of(process)
    kill(process)
    wait_for(lambda: not lives(haproxy), 60, "the end of HAProxy")
    with pytest.raises(httpx.ConnectError):
        node.answer()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_reaches_haproxy_and_ends_both(node: Node, number: signal.Signals) -> None:
    process = node.start(node.command("hello"))
    haproxy = haproxy_of(process)
    process.send_signal(number)
    wait_for(lambda: not lives(process) and not lives(haproxy), 60, "the end")


def test_haproxy_runs_without_its_manager_until_that_of_a_new_manager_takes_over(
    node: Node,
) -> None:
    """The first configuration of a new manager has no applications, and is not used."""
    first = node.start([*PARENT, *node.command("what was served")])
    manager = first.parent()
    assert manager
    kill(manager)
    assert node.answer() == "what was served"
    second = node.start(node.command("nothing"))
    assert node.answer() == "what was served"
    wait_for(lambda: not lives(first), 60, "the end of the first")
    third = node.reload("what is served")
    wait_for(lambda: not lives(second), 60, "the end of the second")
    assert node.answer() == "what is served"
    kill(haproxy_of(third))
    assert node.answer() == "what is served"


def test_haproxy_ends_if_there_is_no_new_manager(node: Node) -> None:
    _, *arguments = node.command("hello")
    process = node.start([*PARENT, sys.executable, "-c", SHORT_GRACE, *arguments])
    haproxy, manager = haproxy_of(process), process.parent()
    assert manager
    kill(manager)
    wait_for(lambda: not lives(process) and not lives(haproxy), 60, "the end")


def test_haproxy_ends_at_once_if_the_raylet_has_died(node: Node) -> None:
    process = node.start([*PARENT, *PARENT, *node.command("hello")])
    haproxy, manager = haproxy_of(process), process.parent()
    assert manager
    raylet = manager.parent()
    assert raylet
    kill(raylet)
    assert node.answer() == "hello"
    kill(manager)
    wait_for(lambda: not lives(process) and not lives(haproxy), 30, "the end")


def test_a_haproxy_that_does_not_start_reports_why_and_the_old_one_keeps_running(
    node: Node,
) -> None:
    node.start(node.command("hello"))
    broken = node.command('" broken', "-sf", node.pid(), "-x", node.admin)
    done = subprocess.run(
        broken,
        env=os.environ | environment.variables(ServeConfig()),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "Fatal errors found in configuration" in done.stderr
    assert node.answer() == "hello"


def test_a_taken_port_is_named(node: Node) -> None:
    with socket.create_server(("127.0.0.1", node.port)):
        done = subprocess.run(
            node.command("hello"), env=os.environ | environment.variables(ServeConfig()),
            capture_output=True, text=True,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == (
        f"HAProxy cannot listen on 127.0.0.1:{node.port}: Address already in use\n"
    )


def test_a_configuration_without_its_addresses_is_refused() -> None:
    with pytest.raises(ValueError, match="no `bind` or no `stats socket`"):
        supervisor.HaproxyConfig.of("global\nfrontend http_frontend\n    mode http\n")
