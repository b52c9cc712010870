"""Ray's HAProxy by `haproxy.sh`: what the script makes of Ray's configuration."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from serve.config import ClassifierConfig, HttpConfig, ServeConfig
from serve.protocol import Problem
from serve.server import environment, has_haproxy
from tests.conftest import Server, free_port, haproxy_config

pytestmark = pytest.mark.skipif(not has_haproxy(), reason="Ray ships no HAProxy here")

# A part of what Ray writes for two replicas, and what the script adds to it.
HAPROXY = """\
frontend http_frontend
    acl is_http-classifier path_beg /
    acl is_http-classifier path /
    use_backend http-classifier if is_http-classifier
backend http-classifier
    server SERVE_REPLICA_a 127.0.0.1:30000 check
    server SERVE_REPLICA_b 127.0.0.1:30001 check
    server SERVE_PROXY_ACTOR-fallback 127.0.0.1:8500 check backup
"""


def started(config: Path, most: int) -> str:
    """The configuration that the script leaves, and HAProxy itself accepts."""
    classifier = ClassifierConfig(max_ongoing_requests=most)
    told = environment(ServeConfig(http=HttpConfig(haproxy=True), classifier=classifier))
    command = [told["RAY_SERVE_HAPROXY_BINARY_PATH"], "-c", "-f", str(config)]
    done = subprocess.run(command, env=os.environ | told, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return config.read_text()


def test_idle_replicas_come_first_and_overload_is_refused_in_haproxy(tmp_path: Path) -> None:
    config = tmp_path / "haproxy.cfg"
    listening = HAPROXY.replace("http_frontend", f"http_frontend\n    bind :{free_port()}")
    times = "".join(f" timeout {each} 1s\n" for each in ("connect", "client", "server"))
    config.write_text(f"defaults\n mode http\n option httplog\n{times}{listening}")
    made = started(config, most=33)
    for replica in ("SERVE_REPLICA_a", "SERVE_REPLICA_b"):
        assert f"use-server {replica} if {{ srv_conn(http-classifier/{replica}) eq 0 }}" in made
    assert "nbsrv(http-classifier),mul(33)" in made
    assert "option httplog\n    option dontlog-normal\n" in made
    # The rule comes after what names the application, and before the request is passed on.
    order = [made.index(text) for text in ("path /\n", "http-request return status 503", "use_b")]
    assert order == sorted(order)
    problems = [
        Problem.model_validate_json(text.replace('\\"', '"'))
        for text in re.findall(r'string "(.*})"', made)
    ]
    assert {each.status: each.kind for each in problems} == {503: "overloaded", 408: "late_body"}


@pytest.mark.ray
def test_the_running_haproxy_has_what_the_script_adds_to_rays_own_words(server: Server) -> None:
    """Ray writes its configuration by a template of its own, which another release may change."""
    made = haproxy_config(server.process)
    replicas = re.findall(r"^ *server (SERVE_REPLICA_classifier\S*)", made, re.M)
    assert len(replicas) == 2
    for replica in replicas:
        assert f"use-server {replica} if {{ srv_conn(http-classifier/{replica}) eq 0 }}" in made
    assert set(re.findall(r"^ *bind (.*):\d+$", made, re.M)) == {"127.0.0.1"}
    assert "http-request return status 503" in made
    assert "http-request wait-for-body time 60000ms if METH_POST {" in made
    assert "option dontlog-normal" in made
    # A replica that is gone refuses once, and a node that is gone without a word is noticed.
    gone = " check observe layer4 error-limit 1 on-error mark-down tcp-ut 5s"
    assert all(line.endswith(gone) for line in re.findall(r"^ *server SERVE_REP.*", made, re.M))
    assert "option srvtcpka\n" in made
    # Nor is a replica that hangs waited for: ten seconds of its deadline, one of a candidate's.
    assert "backend http-classifier\n    timeout server 12000ms\n" in made
    assert "retry-on conn-failure empty-response response-timeout\n" in made


def test_haproxy_is_started_by_our_script_unless_another_was_chosen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    variable = "RAY_SERVE_HAPROXY_BINARY_PATH"
    monkeypatch.delenv(variable, raising=False)
    told = environment(ServeConfig(http=HttpConfig(haproxy=True)))
    done = subprocess.run(
        [told[variable], "-v"], env=told, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("HAProxy version")
    assert variable not in environment(ServeConfig(http=HttpConfig(haproxy=False)))
    monkeypatch.setenv(variable, "/usr/sbin/haproxy")
    assert variable not in environment(ServeConfig(http=HttpConfig(haproxy=True)))
