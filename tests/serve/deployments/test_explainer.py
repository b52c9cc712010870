"""The explainer in a real server: its answers, its cache, its deadline, cancelled requests."""

from __future__ import annotations

import io
import itertools
import select
import time
from base64 import b64decode
from collections.abc import Iterator
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from lime.lime_image import LimeImageExplainer
from PIL import Image

from pintag.core.types import Engine
from pintag.data.labels import DEFAULT_NAMES, Labels
from pintag.explain import overlay, superpixels
from pintag.explain.explanation import ExplainConfig, explain
from pintag.explain.figure import Layout
from pintag.explain.superpixels import ALGORITHMS, Slic
from pintag.images import decoding
from pintag.models import bundle
from pintag.models.identity import Model
from pintag.serve.deployment_config import ExplainerConfig
from tests.conftest import Server, wait_for
from tests.serve.conftest import counts, problem

pytestmark = [pytest.mark.ray, pytest.mark.keras]

PATH = "/v1/explanations"
# A number of samples that takes seconds on any machine; seeds that no earlier request has used.
MANY = 5000
SEEDS = itertools.count(1000)


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=120) as client:
        yield client


@pytest.fixture(scope="module")
def engine(quick_dir: Path) -> Engine:
    return bundle.load(quick_dir).engine()


@pytest.fixture(scope="module")
def labels(quick_dir: Path) -> Labels:
    return bundle.load(quick_dir).labels


@pytest.fixture(scope="module")
def pictures(sample_dir: Path) -> list[bytes]:
    """One picture of each label."""
    return [
        min(folder.iterdir()).read_bytes() for folder in sorted((sample_dir / "test").iterdir())
    ]


@pytest.fixture(scope="module")
def picture(pictures: list[bytes]) -> bytes:
    return pictures[0]


@pytest.fixture(scope="module")
def wide(picture: bytes) -> bytes:
    """A picture three times as wide as it is high."""
    encoded = io.BytesIO()
    with Image.open(io.BytesIO(picture)) as image:
        image.resize((600, 200)).save(encoded, "PNG")
    return encoded.getvalue()


def request_explanation(client: httpx.Client, content: bytes, **parameters: Any) -> Any:
    response = client.post(PATH, params=parameters, content=content)
    assert response.status_code == 200, response.text
    return response.json()


def outcomes(server: Server) -> dict[str, float]:
    return counts(server, "ray_pintag_explanations_total", "outcome", "explainer")


# Answers are those of `explain` in this process


@pytest.mark.parametrize(
    ("mode", "segmentation", "label"),
    [
        ("reference", "quickshift", None),
        ("reference", "felzenszwalb", "food"),
        ("stable", "slic", None),
        ("stable", "quickshift", "art"),
    ],
)
def test_an_answer_is_the_result_of_explain_with_the_bundles_engine(
    client: httpx.Client,
    engine: Engine,
    labels: Labels,
    pictures: list[bytes],
    mode: Any,
    segmentation: str,
    label: str | None,
) -> None:
    config = ExplainConfig(
        mode=mode, segmentation=ALGORITHMS[segmentation](), num_samples=300, num_features=3, seed=7
    )
    params = {"mode": mode, "segmentation": segmentation, "num_samples": 300, "num_features": 3}
    for content in pictures[:3]:
        pixels = decoding.decode(content, engine.input_size)
        index = None if label is None else labels.names.index(label)
        local = explain(pixels, engine.predict, index, config)
        model = Model(name="unused", version="unused")
        expected = local.to_answer(labels, model).model_dump()
        choice = {"label": label} if label else {}
        answer = request_explanation(client, content, seed=7, **params, **choice)
        segments = overlay.read_segment_map(b64decode(answer["segmentation"]["map"]))
        np.testing.assert_array_equal(segments, local.segments)
        for key in ("label", "mode", "outcome", "level", "num_features", "samples", "segmentation"):
            assert answer[key] == expected[key]
        assert answer["confidence"] == pytest.approx(expected["confidence"], abs=1e-5)
        assert answer["surrogate"] == pytest.approx(expected["surrogate"], abs=1e-3)
        weights = {item["segment"]: item["weight"] for item in answer["weights"]}
        assert weights == pytest.approx(dict(enumerate(local.weights)), abs=1e-4)
        intervals = local.result.surrogate.intervals
        for item in answer["weights"]:
            interval = None if intervals is None else intervals[item["segment"]]
            if interval is None or not np.isfinite(interval).all():
                assert (item["low"], item["high"]) == (None, None)
            else:
                assert (item["low"], item["high"]) == pytest.approx(tuple(interval), abs=1e-3)


def test_the_reference_answer_has_the_first_five_of_installed_lime(
    client: httpx.Client, engine: Engine, pictures: list[bytes]
) -> None:
    # On such small pictures quickshift finds a handful of superpixels, and SLIC 20 or more. SLIC's
    # are numbered from zero here: if the first number were one, lime would never hide the last.
    cases = [
        (pictures[0], "quickshift", None),
        (pictures[1], "quickshift", None),
        (pictures[1], "slic", lambda pixels: superpixels.segment(pixels, Slic())),
        (pictures[2], "slic", lambda pixels: superpixels.segment(pixels, Slic())),
    ]
    for content, segmentation, segment in cases:
        theirs = LimeImageExplainer(random_state=3).explain_instance(
            decoding.decode(content, engine.input_size),
            engine.predict,
            top_labels=1,
            hide_color=0,
            num_samples=500,
            segmentation_fn=segment,
        )
        answer = request_explanation(
            client, content, seed=3, num_samples=500, segmentation=segmentation
        )
        (label,) = theirs.top_labels
        assert answer["label"] == DEFAULT_NAMES[label]
        weights = dict(theirs.local_exp[label])
        first = [weight for _, weight in theirs.local_exp[label][:5]]
        ours = answer["weights"][:5]
        # Segments of equal weight may be in any order.
        assert [abs(item["weight"]) for item in ours] == pytest.approx(
            np.abs(first).tolist(), abs=1e-4
        )
        for item in ours:
            assert item["weight"] == pytest.approx(weights[item["segment"]], abs=1e-4)


def test_by_default_the_first_tag_of_the_classifier_is_explained(
    client: httpx.Client, pictures: list[bytes]
) -> None:
    for content in pictures:
        tags = client.post("/v1/tags", content=content).json()
        explanation = request_explanation(client, content, num_samples=50)
        assert explanation["model"] == tags["model"]
        assert explanation["label"] == tags["tags"][0]["label"]
        assert explanation["confidence"] == pytest.approx(tags["tags"][0]["confidence"], abs=1e-5)


def test_the_picture_is_the_overlay_in_the_images_own_proportions(
    client: httpx.Client, engine: Engine, wide: bytes
) -> None:
    response = client.post(
        PATH,
        params={"num_samples": 300, "num_features": 2, "positive_only": True},
        content=wide,
        headers={"Accept": "image/png"},
    )
    assert (response.status_code, response.headers["Content-Type"]) == (200, "image/png")
    with Image.open(io.BytesIO(response.content)) as drawn:
        assert (drawn.format, drawn.mode) == ("PNG", "RGB")
        pixels = np.asarray(drawn)
    expected_picture = overlay.picture(wide)
    height, width = expected_picture.shape[:2]
    assert width == 3 * height
    left, top = Layout(height, width).origin
    config = ExplainConfig(num_samples=300, num_features=2, positive_only=True)
    local = explain(decoding.decode(wide, engine.input_size), engine.predict, config=config)
    np.testing.assert_array_equal(
        pixels[top : top + height, left : left + width], local.overlay(picture=expected_picture)
    )


# Refusals


def test_an_unknown_label_is_refused_with_the_list_of_labels(
    client: httpx.Client, picture: bytes
) -> None:
    refusal = problem(client.post(PATH, params={"label": "sea"}, content=picture), 422)
    assert refusal.kind == "bad_parameter"
    assert refusal.detail == f"label: there is no 'sea'; there are {', '.join(DEFAULT_NAMES)}"


def test_more_samples_than_are_allowed_are_refused(client: httpx.Client, picture: bytes) -> None:
    limit = ExplainerConfig().max_samples
    response = client.post(PATH, params={"num_samples": limit + 1}, content=picture)
    assert problem(response, 422).detail == f"num_samples: at most {limit} are allowed"


def encoded(image: Image.Image, kind: str) -> bytes:
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


@pytest.mark.parametrize("accept", ["application/json", "image/png"])
def test_an_upload_that_is_not_an_accepted_image_is_refused(
    client: httpx.Client, picture: bytes, accept: str
) -> None:
    expected = {
        b"": (400, "not_an_image"),
        b"no image": (400, "not_an_image"),
        picture[:-200]: (400, "not_an_image"),
        encoded(Image.new("RGB", (8, 8)), "TIFF"): (415, "unsupported_format"),
        encoded(Image.new("1", (10_000, 10_000)), "PNG"): (413, "too_large"),
    }
    for content, (status, kind) in expected.items():
        response = client.post(PATH, content=content, headers={"Accept": accept})
        assert problem(response, status).kind == kind


# The cache


def test_a_repeated_request_is_answered_from_the_cache_and_counted(
    server: Server, client: httpx.Client, picture: bytes
) -> None:
    before = outcomes(server).get("cached", 0)
    params = {"seed": next(SEEDS), "num_samples": 100}
    first, second = (client.post(PATH, params=params, content=picture) for _ in range(2))
    # Even the measured seconds are the same.
    assert second.content == first.content
    assert second.headers["ETag"] == first.headers["ETag"]
    drawn = client.post(PATH, params=params, content=picture, headers={"Accept": "image/png"})
    assert drawn.headers["Content-Type"] == "image/png"
    assert drawn.headers["ETag"] != first.headers["ETag"]
    # Another picture or another seed is a different request.
    for content, seed in ((picture + b"\0", params["seed"]), (picture, next(SEEDS))):
        other = client.post(PATH, params=params | {"seed": seed}, content=content)
        assert other.content != first.content
    wait_for(lambda: outcomes(server).get("cached", 0) == before + 2, 60, "two cached answers")


def test_the_metrics_have_phases_samples_outcomes_and_errors(
    server: Server, client: httpx.Client, picture: bytes
) -> None:
    def metric(name: str, label: str) -> dict[str, float]:
        return counts(server, f"ray_pintag_{name}", label, "explainer")

    answer = request_explanation(client, picture, seed=next(SEEDS), num_samples=65, mode="stable")
    assert answer["samples"] == 65
    problem(client.post(PATH, content=b"no image"), 400)
    wait_for(lambda: metric("errors_total", "kind").get("not_an_image"), 60, "the errors")
    wait_for(lambda: {"budget"} <= set(outcomes(server)), 60, "the outcomes")
    for name in ("segmentation", "sampling", "fit", "explanation"):
        (count,) = metric(f"{name}_seconds_count", "replica").values()
        assert count > 0
    buckets = metric("samples_bucket", "le")
    # The explanation of 65 samples is counted in the bucket up to 128, and not in that up to 64.
    assert buckets["128.0"] > buckets["64.0"] >= buckets["32.0"]


# Disconnects and overload


def upload(stack: ExitStack, server: Server, content: bytes) -> HTTPConnection:
    """Send a request that takes seconds; send its body when the replica requests it."""
    url = httpx.URL(server.url)
    connection = HTTPConnection(url.host, url.port, timeout=120)
    stack.callback(connection.close)
    connection.putrequest("POST", f"{PATH}?num_samples={MANY}&seed={next(SEEDS)}")
    connection.putheader("Content-Length", str(len(content)))
    connection.putheader("Expect", "100-continue")
    connection.endheaders()
    assert connection.sock.recv(1000).startswith(b"HTTP/1.1 100 ")
    connection.send(content)
    return connection


def finished(server: Server) -> tuple[float, float]:
    """The numbers of finished explanations: of at most 32 samples, and of more than 2,000."""
    buckets = counts(server, "ray_pintag_samples_bucket", "le", "explainer")
    return buckets.get("32.0", 0), buckets.get("+Inf", 0) - buckets.get("2000.0", 0)


def check_refusal(connection: HTTPConnection) -> None:
    response = connection.getresponse()
    assert response.status == 503
    assert response.headers["Content-Type"] == "application/problem+json"
    assert int(response.headers["Retry-After"]) >= 1
    assert b'"kind":"overloaded"' in response.read()


def test_an_overload_is_refused_tags_are_not_affected_and_disconnects_stop_the_work(
    server: Server, client: httpx.Client, picture: bytes
) -> None:
    admitted = ExplainerConfig().max_ongoing_requests
    cancelled_before = outcomes(server).get("cancelled", 0)
    few_before, many_before = finished(server)
    alone = request_explanation(client, picture, seed=next(SEEDS), num_samples=MANY)
    # The seconds that all admitted requests would take, one after the other; the deadline ends all.
    all_seconds = min(admitted * alone["seconds"]["total"], ExplainerConfig().deadline_s)
    with ExitStack() as stack:
        uploads = [upload(stack, server, picture) for _ in range(admitted + 3)]
        connections = {connection.sock: connection for connection in uploads}

        def refused() -> list[HTTPConnection]:
            ready, _, _ = select.select(list(connections), [], [], 0)
            return [connections[sock] for sock in ready]

        wait_for(lambda: len(refused()) >= 3, 30, "refusals")
        for connection in refused():
            check_refusal(connection)
        assert client.post("/v1/tags", content=picture).json()["tags"]
        disconnected = time.monotonic()
    # The next request is answered long before the others would have been.
    params = {"num_samples": 2, "seed": next(SEEDS)}
    wait_for(lambda: client.post(PATH, params=params, content=picture).status_code == 200, 60)
    assert time.monotonic() - disconnected < all_seconds / 2
    wait_for(lambda: outcomes(server).get("cancelled", 0) >= cancelled_before + admitted)
    # Explanations are computed one after the other: none of the cancelled ones was finished before.
    wait_for(lambda: finished(server)[0] > few_before)
    assert finished(server)[1] == many_before + 1
