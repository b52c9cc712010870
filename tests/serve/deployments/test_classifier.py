"""The classifier of a real server: it answers what the engine predicts, also under load."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import httpx
import pytest

from pintag.data.labels import DEFAULT_NAMES
from pintag.models import bundle
from pintag.serve.deployment_config import ImageConfig
from tests.conftest import Server, pintag, wait_for
from tests.serve.conftest import counts

pytestmark = pytest.mark.ray

Confidences = dict[str, float]


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(
        base_url=server.url,
        params={"max_tags": len(DEFAULT_NAMES)},
        timeout=60,
        limits=httpx.Limits(max_connections=None),
    ) as client:
        yield client


@pytest.fixture(scope="module")
def expected(
    quick_dir: Path, sample_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[Path, Confidences]:
    """The confidences of each test image, by `pintag evaluate`."""
    out = tmp_path_factory.mktemp("report")
    done = pintag("evaluate", quick_dir, "--data", sample_dir, "--out", out)
    assert done.returncode == 0, done.stderr
    with (out / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    return {
        Path(row["path"]): {label: float(row[label]) for label in DEFAULT_NAMES} for row in rows
    }


@pytest.fixture(scope="module")
def flood(
    client: httpx.Client, expected: dict[Path, Confidences]
) -> list[tuple[Path | None, httpx.Response]]:
    """64 concurrent uploads, one in four of them corrupt, and their responses."""
    valid = list(expected)[:48]
    corrupt = [path.read_bytes()[:-200] for path in valid[:16]]
    # A corrupt upload follows every third valid one.
    uploads: list[tuple[Path | None, bytes]] = []
    for number, path in enumerate(valid):
        uploads.append((path, path.read_bytes()))
        if number % 3 == 2:
            uploads.append((None, corrupt[number // 3]))
    with ThreadPoolExecutor(len(uploads)) as pool:
        answers = pool.map(lambda upload: client.post("/v1/tags", content=upload[1]), uploads)
        return [(path, answer) for (path, _), answer in zip(uploads, answers, strict=True)]


def confidences(answer: Any) -> Confidences:
    """The confidences of one answer, by label; most confident first."""
    tags = answer["tags"]
    assert tags == sorted(tags, key=lambda tag: -tag["confidence"])
    return {tag["label"]: tag["confidence"] for tag in tags}


def same(actual: Confidences, reference: Confidences) -> bool:
    """Whether confidences agree to 1e-5; the file of predictions has six decimals."""
    return actual == pytest.approx(reference, abs=1e-5)


def test_every_image_gets_the_confidences_of_the_bundle_s_engine(
    client: httpx.Client, expected: dict[Path, Confidences]
) -> None:
    for path, reference in expected.items():
        response = client.post("/v1/tags", content=path.read_bytes())
        assert response.status_code == 200, response.text
        assert same(confidences(response.json()), reference), path


def test_images_of_one_request_get_the_same_answers_and_a_corrupt_one_a_problem(
    client: httpx.Client, expected: dict[Path, Confidences]
) -> None:
    paths = list(expected)[:5]
    contents = [path.read_bytes() for path in paths]
    contents.insert(2, contents[2][:-200])
    response = client.post("/v1/tags", files=[("image", ("a.jpg", data)) for data in contents])
    assert response.status_code == 200
    answers = response.json()
    assert (answers[2]["status"], answers[2]["kind"]) == (400, "not_an_image")
    assert answers[2]["detail"].startswith("the JPEG is cut off or damaged")
    del answers[2]
    for path, answer in zip(paths, answers, strict=True):
        assert same(confidences(answer), expected[path])


def test_under_load_valid_images_get_the_same_answers_and_corrupt_ones_are_refused(
    flood: list[tuple[Path | None, httpx.Response]], expected: dict[Path, Confidences]
) -> None:
    assert len(flood) == 64
    for path, response in flood:
        if path is None:
            assert (response.status_code, response.json()["kind"]) == (400, "not_an_image")
        else:
            assert response.status_code == 200, response.text
            assert same(confidences(response.json()), expected[path]), path


def test_an_answer_names_its_model_and_follows_the_query(
    client: httpx.Client, quick_dir: Path, expected: dict[Path, Confidences]
) -> None:
    manifest = bundle.load(quick_dir).manifest
    path, reference = next(iter(expected.items()))
    response = client.post("/v1/tags", params={"max_tags": 1}, content=path.read_bytes())
    answer = response.json()
    assert answer["model"] == {"name": manifest.name, "version": manifest.version}
    assert list(confidences(answer)) == [max(reference, key=reference.__getitem__)]


def test_the_model_is_described_as_in_its_manifest(client: httpx.Client, quick_dir: Path) -> None:
    manifest = bundle.load(quick_dir).manifest
    model = client.get("/v1/model").json()
    assert model["labels"] == list(DEFAULT_NAMES)
    assert model["backbone"] == "basic_cnn"
    assert model["input_size"] == manifest.network.input_size
    assert model["metrics"] == manifest.metrics
    assert (model["name"], model["version"]) == (manifest.name, manifest.version)
    assert (model["engine"], model["precision"]) == ("openvino", "int8")
    assert model["synthetic"] is True


def test_the_engine_is_published_as_a_metric_of_both_applications(
    server: Server, client: httpx.Client, quick_dir: Path
) -> None:
    """It stays after several reports of Ray, which drops a gauge that is not set in between."""

    def requests() -> float:
        return sum(
            counts(server, "ray_pintag_total_seconds_count", "replica", "classifier").values()
        )

    for _ in range(4):
        before = requests()
        client.post("/v1/tags", content=b"no image")
        # Only a report changes the number.
        wait_for(lambda before=before: requests() > before, what="a report")  # type: ignore[misc]
    version = bundle.load(quick_dir).manifest.version
    for application in ("classifier", "explainer"):
        for label, text in (("engine", "openvino"), ("precision", "int8"), ("version", version)):

            def texts(application: str = application, label: str = label) -> set[str]:
                return set(counts(server, "ray_pintag_model_info", label, application))

            wait_for(texts, what="the metric")
            # All replicas publish the same.
            assert texts() == {text}


def test_the_page_and_the_document_are_served(client: httpx.Client) -> None:
    assert client.get("/").headers["Content-Type"].startswith("text/html")
    assert "/v1/tags" in client.get("/openapi.json").json()["paths"]


@contextmanager
def upload(server: Server, length: int) -> Iterator[HTTPConnection]:
    """A request of which only the head is sent; it announces a body of `length` bytes."""
    url = httpx.URL(server.url)
    connection = HTTPConnection(url.host, url.port, timeout=60)
    connection.putrequest("POST", "/v1/tags")
    connection.putheader("Content-Length", str(length))
    connection.endheaders()
    yield connection
    connection.close()


def test_a_body_that_is_announced_too_long_is_refused_before_it_is_sent(server: Server) -> None:
    with upload(server, ImageConfig().max_bytes + 1) as connection:
        response = connection.getresponse()
        assert response.status == 413
        assert response.headers["Content-Type"] == "application/problem+json"


def test_clients_that_disconnect_during_an_upload_do_no_harm(
    server: Server, client: httpx.Client, expected: dict[Path, Confidences]
) -> None:
    path, reference = next(iter(expected.items()))
    data = path.read_bytes()
    for sent in (0, 1, len(data) - 1, len(data)):
        with upload(server, len(data)) as connection:
            connection.send(data[:sent])
    answer = client.post("/v1/tags", content=data).json()
    assert same(confidences(answer), reference)


def test_an_image_that_is_uploaded_again_is_answered_from_the_cache(
    client: httpx.Client, server: Server, expected: dict[Path, Confidences]
) -> None:
    def hits() -> float:
        lookups = counts(server, "ray_pintag_cache_lookups_total", "outcome", "classifier")
        return lookups.get("hit", 0)

    path, reference = list(expected.items())[-1]
    before = hits()
    # Each replica has a cache of its own.
    for _ in range(6):
        answer = client.post("/v1/tags", content=path.read_bytes()).json()
        assert same(confidences(answer), reference)
    wait_for(lambda: hits() >= before + 4, 60, "hits")
    size = counts(server, "ray_pintag_cache_bytes", "replica", "classifier")
    assert 0 < sum(size.values()) <= 2 * 16 * 2**20


def test_a_batch_is_answered_in_order(
    client: httpx.Client, expected: dict[Path, Confidences]
) -> None:
    contents = [path.read_bytes() for path in expected]
    contents[5] = contents[5][:-200]
    body = b"".join(len(content).to_bytes(4) + content for content in contents)
    answers = client.post("/v1/tags:batch", content=body).json()
    assert len(answers) == len(contents)
    assert answers.pop(5)["kind"] == "not_an_image"
    references = [reference for i, reference in enumerate(expected.values()) if i != 5]
    for answer, reference in zip(answers, references, strict=True):
        assert same(confidences(answer), reference)


@pytest.mark.usefixtures("flood")
def test_metrics_count_times_batches_tags_and_errors(
    server: Server, client: httpx.Client, expected: dict[Path, Confidences]
) -> None:
    def metric(name: str, label: str) -> dict[str, float]:
        return counts(server, f"ray_pintag_{name}", label, "classifier")

    # Ray reports metrics every few seconds.
    wait_for(lambda: metric("batch_size_count", "replica"), 60, "metrics")
    wait_for(lambda: metric("errors_total", "kind").get("not_an_image", 0) >= 16)
    wait_for(lambda: sum(metric("tags_total", "label").values()) >= 48)
    for name in ("decode", "wait", "inference", "total"):
        assert sum(metric(f"{name}_seconds_count", "replica").values()) > 0
    assert set(metric("tags_total", "label")) <= set(DEFAULT_NAMES)
    # Images of one request share batches, even on a slow machine.
    bodies = [path.read_bytes() for path in list(expected)[:32]]
    turns = itertools.count()

    def batches_are_shared() -> bool:
        # Bytes after the end of an image change only its digest: so it is in no cache.
        new = [body + str(next(turns)).encode() for body in bodies]
        framed = b"".join(len(body).to_bytes(4, "big") + body for body in new)
        assert client.post("/v1/tags:batch", content=framed).status_code == 200
        sizes = metric("batch_size_bucket", "le")
        return sizes["1.0"] < sizes["+Inf"]

    wait_for(batches_are_shared, 60, "a batch of several images")
    sizes = metric("batch_size_bucket", "le")
    assert sizes["16.0"] == sizes["+Inf"]
