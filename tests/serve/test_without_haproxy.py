"""A server behind Ray's own proxy: the same answers, deadlines, and a clean end."""

from __future__ import annotations

import io
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from PIL import Image

from tests.conftest import Server, serving, wait_for
from tests.serve.conftest import counts
from tests.serve.uploads import post, stop_during_upload

pytestmark = pytest.mark.ray

# Samples of an explanation that takes longer than the deadline.
MANY = 5000


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
