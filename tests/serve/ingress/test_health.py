"""A node is healthy while it has a replica of the classifier: Ray's own proxy does not count."""

from __future__ import annotations

import re

import httpx
import pytest

from pintag.serve.ingress.settings import IngressSettings
from tests.conftest import wait_for
from tests.serve.ingress.conftest import Render, Start, patched

SETTINGS = IngressSettings(host="127.0.0.1", max_ongoing_requests=4)
# The head of a cluster, as soon as there are applications.
READY = {"has_received_routes": True, "is_head": True}


def test_a_node_with_a_replica_is_healthy_until_its_last_one_is_down(start: Start) -> None:
    with start(SETTINGS, **READY) as ingress:

        def status() -> int:
            return httpx.get(f"{ingress.url}/-/healthz").status_code

        for name in ("classifier-a", "classifier-b"):
            assert status() == 200
            ingress.replicas[name].hangs.set()
        wait_for(lambda: status() == 503, 30, "the checks of both")
        answer = httpx.get(f"{ingress.url}/-/healthz")
        assert (answer.status_code, answer.json()["kind"]) == (503, "starting")
        # The node could do no better elsewhere.
        assert httpx.get(f"{ingress.url}/-/healthz?node").status_code == 200


@pytest.mark.parametrize(
    "applications", [{}, {"explainer": "/v1/explanations"}], ids=["none", "only an explainer"]
)
def test_without_a_classifier_it_is_starting(render: Render, applications: dict[str, str]) -> None:
    answers = health_answers(patched(render(applications, **READY).read_text(), SETTINGS))
    assert [answer.split()[3] for answer in answers] == ["503"]


def test_rays_own_proxy_alone_is_no_replica(render: Render) -> None:
    text = render({"classifier": "/"}, **READY).read_text()
    text = re.sub(r"^ *server SERVE_REPLICA.*\n", "", text, flags=re.M)
    answers = health_answers(patched(text, SETTINGS))
    assert [answer.split()[3] for answer in answers] == ["503"]


def test_a_node_that_ray_drains_says_so(render: Render) -> None:
    text = render({"classifier": "/"}, **READY, pass_health_checks=False).read_text()
    (answer,) = health_answers(patched(text, SETTINGS))
    assert "503" in answer
    assert "being drained" in answer


def health_answers(text: str) -> list[str]:
    """The rules that answer health checks."""
    return re.findall(r"^ *(http-request return .* if healthcheck.*)$", text, re.M)
