"""A server behind Ray's own proxy: the same answers, deadlines, and a clean end."""

from __future__ import annotations

import contextlib
import io
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.conftest import Server, descendants, serving, wait_for
from tests.serve.conftest import counts, files, problem
from tests.serve.uploads import post, stop_during_upload

pytestmark = pytest.mark.ray

# Samples of an explanation that takes longer than the deadline.
MANY = 5000


# Bytes of a body that no message of the HTTP server holds whole.
LARGE = 4 * 2**20


def outcomes(server: Server) -> dict[str, float]:
    return counts(server, "ray_pintag_explanations_total", "outcome", "explainer")


@pytest.fixture(scope="module")
def images(sample_dir: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted((sample_dir / "test").rglob("*.jpg"))]


@pytest.fixture(scope="module")
def plain_server(
    quick_dir: Path, images: list[bytes], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server without HAProxy, whose explainer has a deadline of 50 ms.

    Ctrl-C ends it during an upload: the upload is answered, and no process is left.
    """
    with serving(
        quick_dir,
        tmp_path_factory.mktemp("plain") / "log",
        "http.haproxy=false",
        "http.throughput_optimized=false",
        "explainer.deadline_s=0.05",
    ) as server:
        yield server
        names, answer = stop_during_upload(server, signal.SIGINT, images[0])
        assert "haproxy" not in names
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert server.log.read_text().endswith("stopped\n")


def test_without_haproxy_the_answers_are_the_same(
    server: Server, plain_server: Server, images: list[bytes]
) -> None:
    for content in images:
        tags, expected = (post(one, content).json()["tags"] for one in (plain_server, server))
        assert [tag["label"] for tag in tags] == [tag["label"] for tag in expected]
        assert [tag["confidence"] for tag in tags] == pytest.approx(
            [tag["confidence"] for tag in expected], abs=1e-5
        )
    assert post(plain_server, b"no image").json()["kind"] == "not_an_image"


def test_a_websocket_is_refused_by_a_problem(plain_server: Server) -> None:
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
    }
    for path in ("/", "/v1/tags", "/nothing"):
        answer = httpx.get(plain_server.url + path, headers=upgrade, timeout=60)
        assert problem(answer, 400).kind == "bad_request"


def test_at_the_deadline_the_result_so_far_is_answered_and_not_cached(
    plain_server: Server, images: list[bytes]
) -> None:
    with httpx.Client(base_url=plain_server.url, timeout=120) as client:
        # With all superpixels of SLIC, some ranks stay uncertain: sampling does not end earlier.
        for mode, segmentation in (("reference", "quickshift"), ("stable", "slic")):
            params = {"mode": mode, "segmentation": segmentation, "num_features": 100}
            for _ in range(2):
                response = client.post(
                    "/v1/explanations", params=params | {"num_samples": MANY}, content=images[0]
                )
                assert response.status_code == 200
                assert response.headers["Cache-Control"] == "no-store"
                assert "ETag" not in response.headers
                answer = response.json()
                assert answer["outcome"] == "deadline"
                assert 2 <= answer["samples"] < MANY
                assert len(answer["weights"]) == answer["segmentation"]["count"]
        drawn = client.post(
            "/v1/explanations",
            params={"num_samples": MANY},
            content=images[0],
            headers={"Accept": "image/png"},
        )
        assert drawn.headers["Cache-Control"] == "no-store"
        with Image.open(io.BytesIO(drawn.content)) as image:
            image.verify()
    wait_for(lambda: outcomes(plain_server).get("deadline") == 5, 60, "the outcomes")
    assert set(outcomes(plain_server)) == {"deadline"}


@contextlib.contextmanager
def suspended(server: Server) -> Iterator[None]:
    """Suspend all replicas while the block runs."""
    replicas = list(descendants(server.process, "ServeReplica:"))
    assert replicas
    for replica in replicas:
        replica.suspend()
    try:
        yield
    finally:
        for replica in replicas:
            replica.resume()


def test_every_request_ends_while_all_replicas_are_suspended(
    plain_server: Server, images: list[bytes]
) -> None:
    """Each of them within twice the deadline of 10 s; the client would wait for a minute."""
    picture = images[0]
    requests = [
        ("POST", "/v1/tags", {"content": picture}),
        ("POST", "/v1/tags", {"files": files(picture)}),
        ("POST", "/v1/tags", {"files": files(*images[:3])}),
        ("POST", "/v1/tags", {"content": picture + bytes(LARGE)}),
        ("POST", "/v1/explanations", {"content": picture}),
        ("GET", "/v1/model", {}),
        ("GET", "/", {}),
    ]

    def send(method: str, path: str, options: dict[str, Any]) -> httpx.Response:
        return httpx.request(method, plain_server.url + path, timeout=60, **options)

    with suspended(plain_server), ThreadPoolExecutor(len(requests)) as pool:
        answers = list(pool.map(lambda request: send(*request), requests))
    for answer in answers:
        assert problem(answer, 504).kind == "deadline"
    wait_for(lambda: post(plain_server, picture).status_code == 200, 60, "an answer")
