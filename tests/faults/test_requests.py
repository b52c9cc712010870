"""What becomes of requests where something breaks, on either side."""

from __future__ import annotations

import io
import socket
from collections.abc import Iterator
from http.client import HTTPResponse
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

from serve.protocol import Problem
from serve.server import has_haproxy
from tests.conftest import Server, serving, wait_for
from tests.faults.conftest import replicas, watched

pytestmark = [
    pytest.mark.ray,
    pytest.mark.skipif(not has_haproxy(), reason="Ray ships no HAProxy here"),
]

RATE, SUSPENDED = 100, 0.5
BODY_SECONDS = 1.5


@pytest.fixture(scope="module")
def server(quick_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One of its own: what is killed here is nobody else's."""
    settings = ("classifier.cache_bytes=0", f"classifier.images.body_seconds={BODY_SECONDS}")
    with serving(quick_dir, tmp_path_factory.mktemp("faults") / "log", *settings) as found:
        yield found


def upload() -> bytes:
    """A picture of more bytes than a single read of a socket brings."""
    pixels = np.random.default_rng(0).integers(0, 256, (512, 512, 3), np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "JPEG")
    return content.getvalue()


def test_a_body_that_does_not_come_is_given_up_in_the_words_of_the_api(server: Server) -> None:
    parts = urlsplit(server.url)
    with socket.create_connection((parts.hostname, parts.port), timeout=30) as connection:
        connection.sendall(
            b"POST /v1/tags HTTP/1.1\r\nHost: here\r\nContent-Length: 100\r\n"
            b"X-Request-ID: mine\r\n\r\nhalf"
        )
        answer = HTTPResponse(connection, method="POST")
        answer.begin()
        problem = Problem.model_validate_json(answer.read())
    assert (answer.status, problem.status, problem.kind) == (408, 408, "late_body")
    assert answer.getheader("X-Request-ID") == "mine"
    assert problem.detail == f"the body did not arrive within {BODY_SECONDS:g} s"
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_a_replica_killed_over_its_requests_costs_none_of_them(server: Server) -> None:
    """They are sent to the other one, and a new one comes without a person."""
    victim, other = replicas(server)
    body = upload()
    assert 64 * 1024 < len(body) < 256 * 1024
    # By pairs: with one at a time the first replica would have them all.
    with watched(f"{server.url}/v1/tags", [body], RATE, together=2) as watch:
        watch.sees(1)
        # Then it has requests when it dies.
        victim.suspend()
        watch.sees(SUSPENDED)
        victim.kill()
        wait_for(lambda: len(replicas(server)) == 2, 60, "a new replica")
        watch.sees(1)
    assert watch.fates.statuses() == {200: len(watch.fates)}, watch.told()
    assert watch.worst() > SUSPENDED / 2
    print(f"\nsuspended and killed: {watch.told()}")
    assert other in replicas(server)
    assert victim not in replicas(server)
