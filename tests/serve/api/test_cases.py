"""Bodies as clients write them, sent to a server: each gets a status of its manifest."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import httpx
import pytest

from pintag.explain.explanation import ExplainConfig, explain
from pintag.explain.request import ExplanationRequest
from pintag.images import decoding
from pintag.models import bundle
from tests.cases import cases_dir, manifest
from tests.conftest import Server
from tests.serve.conftest import EXPLAIN_PATH, problem

__all__ = ["cases_dir"]
pytestmark = pytest.mark.ray

CASES = ["H01", "H02", "H03", "H04", "H08", "H10", "H11", "H12"]


@pytest.fixture(scope="module")
def requests(cases_dir: Path) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = json.loads((cases_dir / "http" / "requests.json").read_text())
    assert {request["case"] for request in listed} == set(CASES)
    rows = [case for case in manifest(cases_dir, "http") if case.name in CASES]
    assert [request["file"] for request in listed] == [case.file.name for case in rows]
    return listed


def send(server: Server, cases_dir: Path, request: dict[str, Any]) -> httpx.Response:
    body = (cases_dir / "http" / request["file"]).read_bytes()
    url = f"{server.url}{request['path']}"
    return httpx.request(
        request["method"], url, content=body, headers=request["headers"], timeout=120
    )


@pytest.mark.parametrize("case", CASES)
def test_each_request_gets_a_status_of_its_manifest(
    server: Server, cases_dir: Path, requests: list[dict[str, Any]], case: str
) -> None:
    for request in requests:
        if request["case"] == case:
            answer = send(server, cases_dir, request)
            statuses = [int(status) for status in request["statuses"].split("|")]
            assert answer.status_code in statuses, f"{request}: {answer.text}"
            if answer.status_code >= 400:
                assert problem(answer, answer.status_code).detail


def test_the_fields_of_a_form_are_parameters(
    server: Server, cases_dir: Path, requests: list[dict[str, Any]]
) -> None:
    answers = {
        request["file"]: send(server, cases_dir, request)
        for request in requests
        if request["case"] == "H03"
    }
    assert len(answers["H03_max_tags_as_form_field.body"].json()["tags"]) == 1
    assert answers["H03_label_as_form_field.body"].json()["label"] == "food"
    both = answers["H03_two_form_fields.body"].json()
    assert (both["label"], both["mode"]) == ("food", "stable")


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("H10_json_base64.body", "the body is JSON; send the bytes"),
        ("H10_data_url.body", "the body is a data URL; send the bytes"),
        ("H10_curl_minus_d.body", "--data-binary"),
        ("H12_misspelt_parameter.body", "did you mean max_tags?"),
    ],
)
def test_a_refusal_says_what_to_send(
    server: Server, cases_dir: Path, requests: list[dict[str, Any]], file: str, words: str
) -> None:
    [request] = [request for request in requests if request["file"] == file]
    assert words in send(server, cases_dir, request).json()["detail"]


def test_heads_as_a_socket_sends_them_get_a_status_of_their_manifest(
    server: Server, cases_dir: Path
) -> None:
    for case in (case for case in manifest(cases_dir, "http") if case.name == "H09"):
        with socket.create_connection(("127.0.0.1", httpx.URL(server.url).port), 60) as client:
            client.sendall(case.file.read_bytes())
            version, status, *_ = client.makefile("rb").readline().split()
        assert version.startswith(b"HTTP/1."), case
        assert int(status) in case.statuses, case


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-Request-Timeout-Seconds", b"0.0001"),
        ("X-Request-Timeout-Seconds", b"\xff"),
        ("X-Session-Id", b"\xff"),
        ("X-Request-ID", b"\xff"),
        ("serve_multiplexed_model_id", b"\xff"),
    ],
)
def test_headers_of_ray_have_no_effect(
    server: Server, cases_dir: Path, name: str, value: bytes
) -> None:
    body = (cases_dir / "http" / "H08_small.body").read_bytes()
    headers: Any = [(name.encode(), value)]
    answer = httpx.post(f"{server.url}/v1/tags", content=body, headers=headers, timeout=60)
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("path", ["/v1/tags", "/v1/explanations"])
def test_slashes_and_options_reach_both_applications(
    server: Server, cases_dir: Path, path: str
) -> None:
    body = (cases_dir / "http" / "H08_small.body").read_bytes()
    with httpx.Client(base_url=server.url, timeout=120) as client:
        assert client.post(f"{path}/", content=body).status_code == 200
        options = client.options(path)
        assert (options.status_code, options.headers["Allow"]) == (204, "OPTIONS, POST")


@pytest.mark.parametrize("mode", ["reference", "stable"])
def test_each_picture_is_explained_as_its_manifest_says(
    server: Server, cases_dir: Path, mode: str
) -> None:
    for case in manifest(cases_dir, "explain"):
        answer = httpx.post(
            f"{server.url}{EXPLAIN_PATH}",
            params={"mode": mode, "num_features": 1000, "num_samples": 60},
            content=case.file.read_bytes(),
            timeout=120,
        )
        assert answer.status_code in case.statuses, f"{case}: {answer.text}"
        assert answer.json()["weights"]


@pytest.mark.keras
@pytest.mark.parametrize("batch_size", [7, 32])
def test_an_explanation_is_the_same_in_another_process_and_in_other_batches(
    server: Server, cases_dir: Path, quick_dir: Path, batch_size: int
) -> None:
    """This process stands for another replica, and for one that was started again."""
    [case] = [case for case in manifest(cases_dir, "explain") if case.name == "L02"]
    request = ExplanationRequest(seed=5, num_samples=100)
    url, content = f"{server.url}{EXPLAIN_PATH}", case.file.read_bytes()
    answer = httpx.post(url, params={"seed": 5, "num_samples": 100}, content=content, timeout=120)
    served = {item["segment"]: item["weight"] for item in answer.json()["weights"]}
    engine = bundle.load(quick_dir).engine()
    config = ExplainConfig.from_request(request).model_copy(update={"batch_size": batch_size})
    own = explain(decoding.decode(content, engine.input_size), engine.predict, config=config)
    assert served == pytest.approx(dict(enumerate(own.weights)), abs=1e-4)
