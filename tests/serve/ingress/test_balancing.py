"""Which replica gets a request: an idle one, and any if all seem to be down."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from pintag.serve.ingress.settings import IngressSettings
from tests.conftest import wait_for
from tests.serve.ingress.conftest import Ingress, Start

# The head of a cluster: it has health checks.
READY = {"has_received_routes": True, "is_head": True}
SETTINGS = IngressSettings(host="127.0.0.1", max_ongoing_requests=4, answer_timeout_s=60)
REPLICAS = ["classifier-a", "classifier-b"]


def tag(ingress: Ingress) -> str:
    """The name of the replica that answers an upload."""
    return httpx.post(f"{ingress.url}/v1/tags", content=b"image", timeout=60).text


def hang(ingress: Ingress) -> None:
    """Let all replicas of the classifier hang until HAProxy knows it."""
    for name in REPLICAS:
        ingress.replicas[name].hangs.set()
    wait_for_failed_checks(ingress)


def wait_for_failed_checks(ingress: Ingress) -> None:
    wait_for(
        lambda: httpx.get(f"{ingress.url}/-/healthz").status_code == 503, 30, "the failed checks"
    )


def go_on(ingress: Ingress) -> None:
    for name in REPLICAS:
        ingress.replicas[name].hangs.clear()


def received(ingress: Ingress) -> int:
    """How many requests the replicas have read the head of."""
    return sum(len(ingress.replicas[name].headers) for name in REPLICAS)


def test_the_first_idle_replica_gets_a_request(start: Start) -> None:
    with start(SETTINGS) as ingress:
        assert {tag(ingress) for _ in range(10)} == {"classifier-a"}


def test_a_replica_that_is_down_gets_none_while_another_is_up(start: Start) -> None:
    with start(SETTINGS, running="b", **READY) as ingress:
        tag(ingress)  # HAProxy notices
        assert {tag(ingress) for _ in range(10)} == {"classifier-b"}


@pytest.mark.parametrize("count", [1, 2 * SETTINGS.max_ongoing_requests])
def test_requests_wait_for_replicas_that_all_stall(start: Start, count: int) -> None:
    """As many as the replicas admit, and each of these gets some."""
    with start(SETTINGS, **READY) as ingress, ThreadPoolExecutor(count) as pool:
        hang(ingress)
        answers = [pool.submit(tag, ingress) for _ in range(count)]
        wait_for(lambda: received(ingress) == count, 30, "the requests")
        assert count == 1 or all(ingress.replicas[name].headers for name in REPLICAS)
        go_on(ingress)
        assert {answer.result() for answer in answers} <= {*REPLICAS}


def test_more_than_stalled_replicas_admit_is_refused(start: Start) -> None:
    most = 2 * SETTINGS.max_ongoing_requests
    with start(SETTINGS, **READY) as ingress, ThreadPoolExecutor(most) as pool:
        hang(ingress)
        answers = [pool.submit(tag, ingress) for _ in range(most)]
        wait_for(lambda: received(ingress) == most, 30, "the requests")
        assert "overloaded" in tag(ingress)
        go_on(ingress)
        assert {answer.result() for answer in answers} <= {*REPLICAS}


def test_rays_proxy_gets_a_request_that_all_replicas_refuse(start: Start) -> None:
    """Their processes have ended, and it knows when others have started."""
    with start(SETTINGS, running="", fallback=True, **READY) as ingress:
        wait_for_failed_checks(ingress)
        assert {tag(ingress) for _ in range(5)} == {"proxy"}
