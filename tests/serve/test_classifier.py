"""The classifier behind the real server: the engine's answers, however many ask at once."""

from __future__ import annotations

import csv
import itertools
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from pintag import bundle
from pintag.labels import DEFAULT_NAMES
from serve.config import ImageConfig
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
    ) as made:
        yield made


@pytest.fixture(scope="module")
def expected(
    quick_dir: Path, sample_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[Path, Confidences]:
    """What `pintag evaluate` finds for each test image."""
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
    """64 uploads at once, one in four of them corrupt, and their answers."""
    good = list(expected)[:48]
    cut = [path.read_bytes()[:-200] for path in good[:16]]
    # A corrupt one after every third good one.
    uploads: list[tuple[Path | None, bytes]] = []
    for number, path in enumerate(good):
        uploads.append((path, path.read_bytes()))
        if number % 3 == 2:
            uploads.append((None, cut[number // 3]))
    with ThreadPoolExecutor(len(uploads)) as pool:
        answers = pool.map(lambda upload: client.post("/v1/tags", content=upload[1]), uploads)
        return [(path, answer) for (path, _), answer in zip(uploads, answers, strict=True)]


def confidences(answer: Any) -> Confidences:
    """The confidences of one answer, by label; most confident first."""
    tags = answer["tags"]
    assert tags == sorted(tags, key=lambda tag: -tag["confidence"])
    return {tag["label"]: tag["confidence"] for tag in tags}


def same(found: Confidences, wanted: Confidences) -> bool:
    """Whether they agree to 1e-5, and what the table's sixth decimal leaves open."""
    return found == pytest.approx(wanted, abs=1e-5)


def test_every_image_gets_the_confidences_of_the_bundles_engine(
    client: httpx.Client, expected: dict[Path, Confidences]
) -> None:
    for path, wanted in expected.items():
        response = client.post("/v1/tags", content=path.read_bytes())
        assert response.status_code == 200, response.text
        assert same(confidences(response.json()), wanted), path


def test_images_of_one_request_get_them_too_with_a_problem_where_one_is_corrupt(
    client: httpx.Client, expected: dict[Path, Confidences]
) -> None:
    paths = list(expected)[:5]
    contents = [path.read_bytes() for path in paths]
    contents.insert(2, contents[2][:-200])
    response = client.post("/v1/tags", files=[("image", ("a.jpg", data)) for data in contents])
    assert response.status_code == 200
    answers = response.json()
    assert (answers[2]["status"], answers[2]["kind"]) == (400, "not_an_image")
    del answers[2]
    for path, answer in zip(paths, answers, strict=True):
        assert same(confidences(answer), expected[path])


def test_in_a_crowd_each_good_image_is_answered_as_alone_and_each_corrupt_one_refused(
    flood: list[tuple[Path | None, httpx.Response]], expected: dict[Path, Confidences]
) -> None:
    assert len(flood) == 64
    for path, response in flood:
        if path is None:
            assert (response.status_code, response.json()["kind"]) == (400, "not_an_image")
        else:
            assert response.status_code == 200, response.text
            assert same(confidences(response.json()), expected[path]), path


def test_an_answer_names_the_model_and_obeys_the_query(
    client: httpx.Client, quick_dir: Path, expected: dict[Path, Confidences]
) -> None:
    manifest = bundle.load(quick_dir).manifest
    path, wanted = next(iter(expected.items()))
    response = client.post("/v1/tags", params={"max_tags": 1}, content=path.read_bytes())
    answer = response.json()
    assert answer["model"] == {"name": manifest.name, "version": manifest.version}
    assert list(confidences(answer)) == [max(wanted, key=wanted.__getitem__)]


def test_the_model_is_told_as_its_manifest_has_it(client: httpx.Client, quick_dir: Path) -> None:
    manifest = bundle.load(quick_dir).manifest
    told = client.get("/v1/model").json()
    assert told["labels"] == list(DEFAULT_NAMES)
    assert told["backbone"] == "basic_cnn"
    assert told["input_size"] == manifest.network.input_size
    assert told["metrics"] == manifest.metrics
    assert (told["name"], told["version"]) == (manifest.name, manifest.version)
    assert (told["engine"], told["precision"]) == ("openvino", "int8")
    assert told["synthetic"] is True


def test_the_engine_is_told_in_a_metric_of_both_applications(
    server: Server, quick_dir: Path
) -> None:
    """Also some time after it was said, when Ray has reported it more than once."""
    begun = psutil.Process(server.process.pid).create_time()
    wait_for(lambda: time.time() - begun > 40, what="later reports")
    version = bundle.load(quick_dir).manifest.version
    for application in ("classifier", "explainer"):
        for label, said in (("engine", "openvino"), ("precision", "int8"), ("version", version)):

            def told(application: str = application, label: str = label) -> dict[str, float]:
                return counts(server, "ray_pintag_model_info", label, application)

            wait_for(told, what="the metric")
            # One for each replica.
            assert set(told()) == {said}


def test_the_page_and_the_document_are_served(client: httpx.Client) -> None:
    assert client.get("/").headers["Content-Type"].startswith("text/html")
    assert "/v1/tags" in client.get("/openapi.json").json()["paths"]


@contextmanager
def upload(server: Server, length: int) -> Iterator[HTTPConnection]:
    """A request whose head is sent, and whose body is announced."""
    url = httpx.URL(server.url)
    connection = HTTPConnection(url.host, url.port, timeout=60)
    connection.putrequest("POST", "/v1/tags")
    connection.putheader("Content-Length", str(length))
    connection.endheaders()
    yield connection
    connection.close()


def test_a_body_announced_too_long_is_refused_before_a_byte_of_it(server: Server) -> None:
    with upload(server, ImageConfig().max_bytes + 1) as connection:
        response = connection.getresponse()
        assert response.status == 413
        assert response.headers["Content-Type"] == "application/problem+json"


def test_clients_that_leave_mid_upload_do_no_harm(
    server: Server, client: httpx.Client, expected: dict[Path, Confidences]
) -> None:
    path, wanted = next(iter(expected.items()))
    data = path.read_bytes()
    for sent in (0, 1, len(data) - 1, len(data)):
        with upload(server, len(data)) as connection:
            connection.send(data[:sent])
    answer = client.post("/v1/tags", content=data).json()
    assert same(confidences(answer), wanted)


def test_a_picture_that_is_pinned_again_is_known(
    client: httpx.Client, server: Server, expected: dict[Path, Confidences]
) -> None:
    def hits() -> float:
        found = counts(server, "ray_pintag_cache_lookups_total", "outcome", "classifier")
        return found.get("hit", 0)

    path, wanted = list(expected.items())[-1]
    before = hits()
    # Each replica has a cache of its own.
    for _ in range(6):
        answer = client.post("/v1/tags", content=path.read_bytes()).json()
        assert same(confidences(answer), wanted)
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
    wanted = [each for place, each in enumerate(expected.values()) if place != 5]
    for answer, confident in zip(answers, wanted, strict=True):
        assert same(confidences(answer), confident)


@pytest.mark.usefixtures("flood")
def test_the_metrics_tell_times_batches_tags_and_errors(
    server: Server, client: httpx.Client, expected: dict[Path, Confidences]
) -> None:
    def told(name: str, label: str) -> dict[str, float]:
        return counts(server, f"ray_pintag_{name}", label, "classifier")

    # Ray hands metrics on every few seconds.
    wait_for(lambda: told("batch_size_count", "replica"), 60, "metrics")
    wait_for(lambda: told("errors_total", "kind").get("not_an_image", 0) >= 16)
    wait_for(lambda: sum(told("tags_total", "label").values()) >= 48)
    for name in ("decode", "wait", "inference", "total"):
        assert sum(told(f"{name}_seconds_count", "replica").values()) > 0
    assert set(told("tags_total", "label")) <= set(DEFAULT_NAMES)
    # Of a request's images some share a batch, however slowly requests come.
    bodies = [path.read_bytes() for path in list(expected)[:32]]
    turns = itertools.count()

    def shared() -> bool:
        # What follows a picture's end changes nothing but that its answer is not known yet.
        new = [body + str(next(turns)).encode() for body in bodies]
        framed = b"".join(len(body).to_bytes(4, "big") + body for body in new)
        assert client.post("/v1/tags:batch", content=framed).status_code == 200
        found = told("batch_size_bucket", "le")
        return found["1.0"] < found["+Inf"]

    wait_for(shared, 60, "a batch of several images")
    sizes = told("batch_size_bucket", "le")
    assert sizes["16.0"] == sizes["+Inf"]
