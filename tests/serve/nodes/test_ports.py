"""The ports of a server: free ones are chosen, and a taken one is named."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from pintag.core.errors import ConfigError, ServerError
from pintag.serve.config import HttpConfig, MetricsConfig, ServeConfig
from pintag.serve.nodes import controller, ports, tasks
from tests.conftest import free_port


@pytest.fixture(autouse=True)
def _no_port_variables(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ports.DEFAULTS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(ports, "_reserved", {})
    yield
    for descriptor in ports._reserved.values():
        os.close(descriptor)


def test_a_taken_port_is_skipped() -> None:
    first = int(ports.variables(ServeConfig())[ports.HAPROXY_METRICS])
    with socket.create_server(("", first)):
        assert int(ports.variables(ServeConfig())[ports.HAPROXY_METRICS]) > first


def test_ports_of_the_configuration_are_skipped() -> None:
    name, first = next(iter(ports.DEFAULTS.items()))
    settings = ServeConfig(http=HttpConfig(port=first), metrics=MetricsConfig(port=first + 1))
    assert int(ports.variables(settings)[name]) > first + 1


def test_a_port_that_the_user_chose_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ports.HAPROXY_METRICS, "12345")
    assert ports.variables(ServeConfig())[ports.HAPROXY_METRICS] == "12345"


@pytest.mark.parametrize("name", ports.DEFAULTS)
def test_a_taken_port_that_the_user_chose_is_named(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setenv(name, str(port))
        message = f"cannot listen on port {port}: .*; the variable {name} chooses another"
        with pytest.raises(ServerError, match=message):
            ports.variables(ServeConfig())


def test_the_port_of_haproxys_metrics_in_the_configuration_counts_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(ports.HAPROXY_METRICS, "12345")
    settings = ServeConfig(metrics=MetricsConfig(haproxy_port=9202))
    assert ports.variables(settings)[ports.HAPROXY_METRICS] == "9202"
    assert settings.chosen_ports["metrics.haproxy_port"] == 9202
    assert ports.haproxy_metrics(9202) == 9202
    assert ports.haproxy_metrics() == 12345
    assert ports.haproxy_metrics(False) is None
    monkeypatch.setenv("PINTAG_HAPROXY_METRICS", "0")
    assert ports.haproxy_metrics() is None


def test_a_port_of_metrics_that_haproxy_does_not_have_may_be_taken_on_a_node(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.create_server(("", 0)) as holder:
        port = holder.getsockname()[1]
        monkeypatch.setenv(ports.HAPROXY_METRICS, str(port))
        names = [name for name, _, _ in ports._taken_here("127.0.0.1", free_port())]
        assert ports.HAPROXY_METRICS in names
        monkeypatch.setenv("PINTAG_HAPROXY_METRICS", "0")
        names = [name for name, _, _ in ports._taken_here("127.0.0.1", free_port())]
        assert ports.HAPROXY_METRICS not in names


@pytest.mark.parametrize("name", ports.DEFAULTS)
@pytest.mark.parametrize("value", ["x", "0", "-1", "65536", "80.5"])
def test_a_variable_that_is_no_port_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=f"the variable {name} is '{value}': give a port"):
        ports.variables(ServeConfig())
    if name == ports.HAPROXY_METRICS:
        with pytest.raises(ConfigError, match=name):
            ports.haproxy_metrics()


def test_a_taken_port_is_named_with_its_key() -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        with pytest.raises(ServerError) as refused:
            ports.check_free("127.0.0.1", port, "metrics.port")
    assert str(refused.value).startswith(
        f"cannot listen on 127.0.0.1:{port}: Address already in use; "
        "metrics.port=PORT chooses another; a server that was killed keeps this port for about a"
    )
    ports.check_free("127.0.0.1", free_port(), "http.port")


def test_two_servers_that_start_at_the_same_time_choose_different_ports() -> None:
    """Neither listens yet when the other one searches."""
    mine = set(ports.variables(ServeConfig()).values())
    code = (
        "from pintag.serve.nodes import ports; from pintag.serve.config import ServeConfig; "
        "print(*ports.variables(ServeConfig()).values())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert len(set(done.stdout.split()) | mine) == 6


def test_a_port_that_another_server_has_chosen_is_refused_by_its_key() -> None:
    port = free_port()
    code = (
        f"from pintag.serve.nodes import ports; ports.check_free('127.0.0.1', {port}, 'http.port')"
    )
    ports.check_free("127.0.0.1", port, "http.port")
    ports.check_free("127.0.0.1", port, "http.port")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "another pintag serve is starting or stopping there; http.port=PORT" in done.stderr


def test_a_host_on_which_a_node_cannot_listen_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(controller, "is_running", lambda: False)
    monkeypatch.setattr(
        tasks, "call_on_each", lambda check, *settings: {"node-1": check(*settings)}
    )
    settings = ServeConfig(http=HttpConfig(host="192.0.2.1", port=free_port()))
    start = r"^http\.host=192\.0\.2\.1 cannot be used on node node-1: Cannot assign .*; set http\.h"
    with pytest.raises(ServerError, match=start):
        ports.check_nodes(settings)
