"""The explainer behind the real server: `explain`'s own answers, kept, cut short and given up."""

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

from pintag import bundle, images, overlay, superpixels
from pintag.engine import Engine
from pintag.explain import ExplainConfig, explain
from pintag.labels import DEFAULT_NAMES, Labels
from pintag.superpixels import ALGORITHMS, Slic
from serve.config import ExplainerConfig
from tests.conftest import Server, serving, wait_for
from tests.serve.conftest import counts, problem

pytestmark = [pytest.mark.ray, pytest.mark.keras]

PATH = "/v1/explanations"
# Seconds of work for any machine, and what no request before has asked for.
MANY = 5000
SEEDS = itertools.count(1000)


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=120) as made:
        yield made


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


def answered(client: httpx.Client, content: bytes, **parameters: Any) -> Any:
    response = client.post(PATH, params=parameters, content=content)
    assert response.status_code == 200, response.text
    return response.json()


def outcomes(server: Server) -> dict[str, float]:
    return counts(server, "ray_pintag_explanations_total", "outcome", "explainer")


# The same as `explain` in this process


@pytest.mark.parametrize(
    ("mode", "segmentation", "label"),
    [
        ("reference", "quickshift", None),
        ("reference", "felzenszwalb", "food"),
        ("stable", "slic", None),
        ("stable", "quickshift", "art"),
    ],
)
def test_an_answer_is_what_explain_finds_by_the_bundles_engine(
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
    asked = {"mode": mode, "segmentation": segmentation, "num_samples": 300, "num_features": 3}
    for content in pictures[:3]:
        pixels = images.decode(content, engine.input_size)
        index = None if label is None else labels.names.index(label)
        wanted = explain(pixels, engine.predict, index, config)
        told = wanted.to_json(labels)
        found = answered(client, content, seed=7, **asked, **({"label": label} if label else {}))
        segments = overlay.read_segment_map(b64decode(found["segmentation"]["map"]))
        np.testing.assert_array_equal(segments, wanted.segments)
        for key in ("label", "mode", "outcome", "level", "num_features", "samples", "segmentation"):
            assert found[key] == told[key]
        assert found["confidence"] == pytest.approx(told["confidence"], abs=1e-5)
        assert found["surrogate"] == pytest.approx(told["surrogate"], abs=1e-3)
        weights = {item["segment"]: item["weight"] for item in found["weights"]}
        assert weights == pytest.approx(dict(enumerate(wanted.weights)), abs=1e-4)
        intervals = wanted.finding.surrogate.intervals
        for item in found["weights"]:
            known = None if intervals is None else intervals[item["segment"]]
            if known is None or not np.isfinite(known).all():
                assert (item["low"], item["high"]) == (None, None)
            else:
                assert (item["low"], item["high"]) == pytest.approx(tuple(known), abs=1e-3)


def test_the_reference_answer_has_the_first_five_of_installed_lime(
    client: httpx.Client, engine: Engine, pictures: list[bytes]
) -> None:
    # Pictures so small have a handful of quickshift's superpixels, and 20 or more of SLIC's (which
    # are numbered from zero here: lime would never hide the last of those numbered from one).
    cases = [
        (pictures[0], "quickshift", None),
        (pictures[1], "quickshift", None),
        (pictures[1], "slic", lambda pixels: superpixels.segment(pixels, Slic())),
        (pictures[2], "slic", lambda pixels: superpixels.segment(pixels, Slic())),
    ]
    for content, segmentation, segment in cases:
        theirs = LimeImageExplainer(random_state=3).explain_instance(
            images.decode(content, engine.input_size),
            engine.predict,
            top_labels=1,
            hide_color=0,
            num_samples=500,
            segmentation_fn=segment,
        )
        found = answered(client, content, seed=3, num_samples=500, segmentation=segmentation)
        (label,) = theirs.top_labels
        assert found["label"] == DEFAULT_NAMES[label]
        weights = dict(theirs.local_exp[label])
        first = [weight for _, weight in theirs.local_exp[label][:5]]
        ours = found["weights"][:5]
        # Of segments that weigh the same, either may come first.
        assert [abs(each["weight"]) for each in ours] == pytest.approx(
            np.abs(first).tolist(), abs=1e-4
        )
        for each in ours:
            assert each["weight"] == pytest.approx(weights[each["segment"]], abs=1e-4)


def test_it_explains_the_first_tag_of_the_model_that_tags(
    client: httpx.Client, pictures: list[bytes]
) -> None:
    for content in pictures:
        tagged = client.post("/v1/tags", content=content).json()
        found = answered(client, content, num_samples=50)
        assert found["model"] == tagged["model"]
        assert found["label"] == tagged["tags"][0]["label"]
        assert found["confidence"] == pytest.approx(tagged["tags"][0]["confidence"], abs=1e-5)


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
        assert drawn.width == 3 * drawn.height
        pixels = np.asarray(drawn)
    config = ExplainConfig(num_samples=300, num_features=2, positive_only=True)
    wanted = explain(images.decode(wide, engine.input_size), engine.predict, config=config)
    np.testing.assert_array_equal(pixels, wanted.overlay(picture=overlay.picture(wide)))


# Refusals


def test_an_unknown_label_is_refused_with_those_there_are(
    client: httpx.Client, picture: bytes
) -> None:
    found = problem(client.post(PATH, params={"label": "sea"}, content=picture), 422)
    assert found.kind == "bad_parameter"
    assert found.detail == f"label: there is no 'sea'; there are {', '.join(DEFAULT_NAMES)}"


def test_more_samples_than_are_allowed_are_refused(client: httpx.Client, picture: bytes) -> None:
    most = ExplainerConfig().max_samples
    asked = client.post(PATH, params={"num_samples": most + 1}, content=picture)
    assert problem(asked, 422).detail == f"num_samples: at most {most} are allowed"


def encoded(image: Image.Image, kind: str) -> bytes:
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


@pytest.mark.parametrize("accept", ["application/json", "image/png"])
def test_what_is_no_image_to_explain_is_refused(
    client: httpx.Client, picture: bytes, accept: str
) -> None:
    refused = {
        b"": (400, "not_an_image"),
        b"no image": (400, "not_an_image"),
        picture[:-200]: (400, "not_an_image"),
        encoded(Image.new("RGB", (8, 8)), "TIFF"): (415, "unsupported_format"),
        encoded(Image.new("1", (10_000, 10_000)), "PNG"): (413, "too_large"),
    }
    for content, (status, kind) in refused.items():
        response = client.post(PATH, content=content, headers={"Accept": accept})
        assert problem(response, status).kind == kind


# The cache


def test_what_was_asked_before_is_answered_from_memory_and_counted(
    server: Server, client: httpx.Client, picture: bytes
) -> None:
    before = outcomes(server).get("cached", 0)
    asked = {"seed": next(SEEDS), "num_samples": 100}
    first, second = (client.post(PATH, params=asked, content=picture) for _ in range(2))
    # To the seconds that it took.
    assert second.content == first.content
    assert second.headers["ETag"] == first.headers["ETag"]
    drawn = client.post(PATH, params=asked, content=picture, headers={"Accept": "image/png"})
    assert drawn.headers["Content-Type"] == "image/png"
    assert drawn.headers["ETag"] != first.headers["ETag"]
    # Another picture, and another seed, are other questions.
    for content, seed in ((picture + b"\0", asked["seed"]), (picture, next(SEEDS))):
        other = client.post(PATH, params=asked | {"seed": seed}, content=content)
        assert other.content != first.content
    wait_for(lambda: outcomes(server).get("cached", 0) == before + 2, 60, "two cached answers")


def test_the_metrics_tell_phases_samples_outcomes_and_errors(
    server: Server, client: httpx.Client, picture: bytes
) -> None:
    def told(name: str, label: str) -> dict[str, float]:
        return counts(server, f"ray_pintag_{name}", label, "explainer")

    made = answered(client, picture, seed=next(SEEDS), num_samples=65, mode="stable")
    assert made["samples"] == 65
    problem(client.post(PATH, content=b"no image"), 400)
    wait_for(lambda: told("errors_total", "kind").get("not_an_image"), 60, "the errors")
    wait_for(lambda: {"budget"} <= set(outcomes(server)), 60, "the outcomes")
    for name in ("segmentation", "sampling", "fit", "explanation"):
        (count,) = told(f"{name}_seconds_count", "replica").values()
        assert count > 0
    buckets = told("samples_bucket", "le")
    # Of 65 samples and none below 32, whatever was asked by others.
    assert buckets["128.0"] > buckets["64.0"] >= buckets["32.0"]


# Departures and crowds


def upload(stack: ExitStack, server: Server, content: bytes) -> HTTPConnection:
    """A request for seconds of work, whose body follows when the replica asks for it."""
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


def made(server: Server) -> tuple[float, float]:
    """How many explanations were made of a few samples, and of many."""
    buckets = counts(server, "ray_pintag_samples_bucket", "le", "explainer")
    return buckets.get("32.0", 0), buckets.get("+Inf", 0) - buckets.get("2000.0", 0)


def check_refusal(connection: HTTPConnection) -> None:
    response = connection.getresponse()
    assert response.status == 503
    assert response.headers["Content-Type"] == "application/problem+json"
    assert int(response.headers["Retry-After"]) >= 1
    assert b'"kind":"overloaded"' in response.read()


def test_a_crowd_is_refused_while_tags_go_on_and_nobody_works_for_those_who_leave(
    server: Server, client: httpx.Client, picture: bytes
) -> None:
    admitted = ExplainerConfig().max_ongoing_requests
    cancelled_before, (few_before, many_before) = outcomes(server).get("cancelled", 0), made(server)
    alone = answered(client, picture, seed=next(SEEDS), num_samples=MANY)
    # What those admitted would take, one after the other, until the deadline ends them all.
    crowd_seconds = min(admitted * alone["seconds"]["total"], ExplainerConfig().deadline_seconds)
    with ExitStack() as stack:
        connections = [upload(stack, server, picture) for _ in range(admitted + 3)]
        crowd = {connection.sock: connection for connection in connections}

        def refused() -> list[HTTPConnection]:
            ready, _, _ = select.select(list(crowd), [], [], 0)
            return [crowd[sock] for sock in ready]

        wait_for(lambda: len(refused()) >= 3, 30, "refusals")
        for connection in refused():
            check_refusal(connection)
        assert client.post("/v1/tags", content=picture).json()["tags"]
        left = time.monotonic()
    # The next one finds the replica free, long before the crowd would have been answered.
    asked = {"num_samples": 2, "seed": next(SEEDS)}
    wait_for(lambda: client.post(PATH, params=asked, content=picture).status_code == 200, 60)
    assert time.monotonic() - left < crowd_seconds / 2
    wait_for(lambda: outcomes(server).get("cancelled", 0) >= cancelled_before + admitted)
    # Explanations are made one after the other: by the time of this one no other was finished.
    wait_for(lambda: made(server)[0] > few_before)
    assert made(server)[1] == many_before + 1


# Cut short, and through Ray's own proxy


@pytest.fixture(scope="module")
def hasty(bundle_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(
        bundle_dir,
        tmp_path_factory.mktemp("hasty") / "log",
        "http.haproxy=false",
        "http.throughput_optimized=false",
        "explainer.deadline_seconds=0.05",
    ) as server:
        yield server


def test_at_the_deadline_what_is_known_is_answered_and_not_kept(
    hasty: Server, picture: bytes
) -> None:
    with httpx.Client(base_url=hasty.url, timeout=120) as client:
        # Of all superpixels of SLIC, some are never told apart.
        for mode, segmentation in (("reference", "quickshift"), ("stable", "slic")):
            asked = {"mode": mode, "segmentation": segmentation, "num_features": 100}
            for _ in range(2):
                response = client.post(PATH, params=asked | {"num_samples": MANY}, content=picture)
                assert response.status_code == 200
                assert response.headers["Cache-Control"] == "no-store"
                assert "ETag" not in response.headers
                found = response.json()
                assert found["outcome"] == "deadline"
                assert 2 <= found["samples"] < MANY
                assert len(found["weights"]) == found["segmentation"]["count"]
        drawn = client.post(
            PATH, params={"num_samples": MANY}, content=picture, headers={"Accept": "image/png"}
        )
        assert drawn.headers["Cache-Control"] == "no-store"
        with Image.open(io.BytesIO(drawn.content)) as image:
            image.verify()
    wait_for(lambda: outcomes(hasty).get("deadline") == 5, 60, "the outcomes")
    assert set(outcomes(hasty)) == {"deadline"}
