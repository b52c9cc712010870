"""The checks of `pintag doctor`: each names what it found, and the remedy if it failed."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pintag.core.errors import ServerError
from pintag.serve.config import (
    AccessConfig,
    HttpConfig,
    MetricsConfig,
    RateLimitConfig,
    ServeConfig,
)
from pintag.serve.diagnosis import preflight
from pintag.serve.diagnosis.check import Check
from pintag.serve.lifecycle import server
from pintag.serve.nodes import addresses, ports, tasks
from tests.conftest import free_port


@pytest.fixture(autouse=True)
def _local(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_ADDRESS", *ports.DEFAULTS):
        monkeypatch.delenv(name, raising=False)


def config(port: int) -> ServeConfig:
    """Settings with this port, and a free one for the metrics."""
    return ServeConfig(http=HttpConfig(port=port), metrics=MetricsConfig(port=free_port()))


def failed(checks: list[Check]) -> dict[str, str]:
    """The lines of the checks that failed, by name."""
    return {check.name: check.line() for check in checks if not check.passed}


def test_every_part_of_the_machine_is_checked() -> None:
    names = [check.name for check in preflight.diagnose(config(free_port()))]
    assert names == [
        "engines", "HAProxy", "processors", "memory", "shared memory", "open files",
        "temporary folder", "HAProxy's folder", "http.port", "metrics.port", "access",
    ]  # fmt: skip


def test_a_taken_port_is_named_with_its_key() -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        line = failed(preflight.diagnose(config(port)))["http.port"]
    assert line == (
        f"FAIL  http.port: {port} Address already in use; choose another by http.port=PORT"
    )


def test_a_taken_port_is_named_with_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "RAY_SERVE_HAPROXY_STATS_PORT"
    with socket.create_server(("", 0)) as holder:
        port = holder.getsockname()[1]
        monkeypatch.setenv(name, str(port))
        line = failed(preflight.diagnose(config(free_port())))[name]
    assert line == (
        f"FAIL  {name}: {port} Address already in use; choose another by the variable {name}"
    )
    assert name not in failed(preflight.diagnose(config(free_port())))


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ("no.such.name.invalid", ".*(not known|resolution).*"),
        ("192.0.2.1", "Cannot assign requested address"),
    ],
)
@pytest.mark.parametrize("allow_anonymous", [True, False])
def test_a_host_on_which_nothing_can_listen_is_named_with_its_remedy(
    host: str, reason: str, allow_anonymous: bool
) -> None:
    access = AccessConfig(allow_anonymous=allow_anonymous)
    settings = ServeConfig(http=HttpConfig(host=host), access=access)
    [line] = failed(preflight.diagnose(settings)).values()
    assert re.fullmatch(f"FAIL  http.host: {host}: {reason}; {addresses.HOST_REMEDY}", line)
    with pytest.raises(ServerError, match=f"^http.host={host} cannot be used: {reason}; set http."):
        server.run(settings, "no bundle", lambda *_: None, lambda _: None)


def test_a_cluster_that_does_not_answer_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    # Another test may have connected this process to a cluster.
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.setattr("pintag.cluster.ray_variables._ADDRESS_TIMEOUT_S", 0.1)
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{free_port()}")
    check, _ = preflight.diagnose(ServeConfig())
    assert not check.passed
    assert "check RAY_ADDRESS" in check.line()


def test_a_cluster_without_room_for_all_replicas_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    monkeypatch.setattr("pintag.cluster.connection.connected", contextlib.nullcontext)
    monkeypatch.setattr(tasks, "call_on_each", lambda _: {})
    monkeypatch.setattr(ports, "check_nodes", lambda _: None)
    living = [{"Alive": True, "Resources": {"CPU": 1.0}}]
    monkeypatch.setattr("ray.nodes", lambda: living)
    line = failed(preflight.diagnose(ServeConfig()))["capacity"]
    assert "processors, the nodes have 1 (1 x 1); start more nodes" in line
    living *= 4
    assert failed(preflight.diagnose(ServeConfig())) == {}


@pytest.fixture
def own_server() -> Iterator[int]:
    """The port of a fake pintag server, which answers what a real one does."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answers = {
                "/openapi.json": b'{"info": {"title": "pintag"}}',
                "/metrics": b"ray_pintag_ongoing 0.0",
            }
            body = answers[self.path]
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.mark.parametrize("key", ["http", "metrics"])
def test_the_ports_of_a_server_that_runs_are_no_failure(own_server: int, key: str) -> None:
    ports_of = {"http": free_port(), "metrics": free_port()} | {key: own_server}
    settings = ServeConfig(
        http=HttpConfig(port=ports_of["http"]), metrics=MetricsConfig(port=ports_of["metrics"])
    )
    lines = {check.name: check.line() for check in preflight.diagnose(settings)}
    name = f"{key}.port"
    assert lines[name] == (
        f"ok    {name}: {own_server} has a pintag server; a second one needs {name}=PORT"
    )


def test_keys_and_addresses_that_a_server_would_refuse_fail(tmp_path: Path) -> None:
    settings = ServeConfig(access=AccessConfig(keys=tmp_path / "none.yaml"))
    assert "none.yaml: cannot be read" in failed(preflight.diagnose(settings))["access"]
    settings = ServeConfig(http=HttpConfig(host="0.0.0.0"))
    assert "no API keys are required" in failed(preflight.diagnose(settings))["access"]


def test_a_redis_that_does_not_answer_fails(tmp_path: Path) -> None:
    (tmp_path / "keys.yaml").write_text("keys: []")
    limits = RateLimitConfig(redis=f"redis://127.0.0.1:{free_port()}/0")
    settings = ServeConfig(access=AccessConfig(keys=tmp_path / "keys.yaml", rate_limits=limits))
    line = failed(preflight.diagnose(settings))["rate limits"]
    assert "access.rate_limits.redis does not answer" in line
    assert "PINTAG_REDIS_PASSWORD" in line
