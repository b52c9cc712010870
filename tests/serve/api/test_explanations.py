"""The explanations endpoint with a scripted explainer: parameters, media types, problems."""

from __future__ import annotations

import logging
from typing import Any

import httpx
import pytest

from pintag.explain.request import ExplanationRequest
from tests.serve.conftest import (
    EXPLAIN_PATH,
    EXPLANATION,
    IMAGES,
    JSON,
    PICTURE,
    PNG,
    REFUSALS,
    Client,
    ScriptedExplainer,
    files,
    problem,
)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", {}),
        ("label=food", {"label": "food"}),
        ("num_features=3", {"num_features": 3}),
        ("num_features=1000", {"num_features": 1000}),
        ("num_samples=2", {"num_samples": 2}),
        ("mode=stable", {"mode": "stable"}),
        ("mode=reference", {"mode": "reference"}),
        ("segmentation=slic", {"segmentation": "slic"}),
        ("segmentation=felzenszwalb", {"segmentation": "felzenszwalb"}),
        ("positive_only=true", {"positive_only": True}),
        ("seed=4294967295", {"seed": 4294967295}),
        ("label=house%20boats%26more", {"label": "house boats&more"}),
        ("seed=1&mode=stable&num_samples=65", {"seed": 1, "mode": "stable", "num_samples": 65}),
    ],
)
def test_the_query_becomes_the_request(
    explain_client: Client, explainer: ScriptedExplainer, query: str, expected: dict[str, Any]
) -> None:
    assert explain_client.post(f"{EXPLAIN_PATH}?{query}", content=b"picture").status_code == 200
    defaults = {
        "label": None,
        "num_features": 5,
        "num_samples": None,
        "mode": "reference",
        "segmentation": "quickshift",
        "positive_only": False,
        "seed": 0,
    }
    ((image, request),) = explainer.requests
    assert (image, request.model_dump()) == (b"picture", defaults | expected)


@pytest.mark.parametrize(
    "query",
    [
        "num_features=0",
        "num_features=1001",
        "num_features=many",
        "num_features=",
        "num_samples=1",
        "num_samples=-5",
        "num_samples=1.5",
        "num_samples=1e3",
        "num_samples=" + "9" * 5000,
        "mode=plain",
        "mode=",
        "segmentation=watershed",
        "positive_only=perhaps",
        "seed=-1",
        "seed=4294967296",
        "seed=%ff",
        "colour=red",
        "max_tags=5",
        "Label=food",
    ],
    ids=lambda query: query[:20],
)
def test_a_bad_or_unknown_parameter_is_named(
    explain_client: Client, explainer: ScriptedExplainer, query: str
) -> None:
    error = problem(explain_client.post(f"{EXPLAIN_PATH}?{query}", content=b"picture"), 422)
    assert error.kind == "bad_parameter"
    assert error.detail.startswith(f"{query.partition('=')[0]}: ")
    assert explainer.requests == []
    assert explainer.metrics.errors == {"bad_parameter": 1}


def test_an_unknown_parameter_is_refused_with_a_hint(explain_client: Client) -> None:
    error = problem(explain_client.post(f"{EXPLAIN_PATH}?num_feature=3", content=b"picture"), 422)
    assert error.detail == "num_feature: there is no such parameter; did you mean num_features?"


def test_an_answer_is_json_by_default(explain_client: Client, explainer: ScriptedExplainer) -> None:
    response = explain_client.post(EXPLAIN_PATH, content=b"picture")
    assert (response.status_code, response.headers["Content-Type"]) == (200, JSON)
    assert response.json() == EXPLANATION.model_dump(mode="json")
    assert explainer.drawn == []
    assert (explainer.metrics.requests, explainer.metrics.errors) == (1, {})


def test_a_picture_is_drawn_from_the_same_answer(
    explain_client: Client, explainer: ScriptedExplainer
) -> None:
    response = explain_client.post(
        f"{EXPLAIN_PATH}?seed=3", content=b"picture", headers={"Accept": PNG}
    )
    assert (response.status_code, response.headers["Content-Type"]) == (200, PNG)
    assert response.content == PICTURE
    assert explainer.drawn == [(b"picture", ExplanationRequest(seed=3))]
    assert explainer.metrics.requests == 1


def test_one_multipart_file_is_explained_as_a_raw_body_is(
    explain_client: Client, explainer: ScriptedExplainer
) -> None:
    raw, form = (
        explain_client.post(EXPLAIN_PATH, content=b"picture"),
        explain_client.post(EXPLAIN_PATH, files=files(b"picture")),
    )
    assert (form.status_code, form.content) == (200, raw.content)
    assert form.headers["ETag"] == raw.headers["ETag"]
    assert [image for image, _ in explainer.requests] == [b"picture"] * 2


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("*/*", JSON),
        ("", JSON),
        (JSON, JSON),
        (PNG, PNG),
        ("IMAGE/PNG", PNG),
        ("image/*", PNG),
        ("application/*", JSON),
        ("text/html, image/png;q=0.1", PNG),
        # What a browser sends for an <img> element.
        ("image/avif,image/webp,image/png,image/*;q=0.8,*/*;q=0.5", PNG),
        # The higher quality decides; if both are equal, it is JSON.
        ("image/png, application/json", JSON),
        ("image/png, application/json;q=0.9", PNG),
        ("application/json;q=0.1, image/png;q=0.2", PNG),
        ("application/json ; q=0.1 , image/png ; Q=0.2", PNG),
        ("image/png;q=0.5, */*", JSON),
        ("*/*;q=0.9, image/png", PNG),
        # The more specific range decides, even if another has a higher quality.
        ("image/*, image/png;q=0.1, application/json;q=0.2", JSON),
        ("*/*, application/json;q=0", PNG),
        ("*/*, image/*;q=0", JSON),
        ("*/*;q=0.1, image/*;q=0.2, application/json;q=0.3", JSON),
        # An invalid quality value means that the range is ignored.
        ("image/png;q=high, application/json;q=0.1", JSON),
        ("image/png;q=nan, application/json;q=0.1", JSON),
        ("image/png;q=5, application/json;q=0.1", JSON),
    ],
)
def test_the_client_chooses_the_media_type(
    explain_client: Client, accept: str, media_type: str
) -> None:
    response = explain_client.post(EXPLAIN_PATH, content=b"picture", headers={"Accept": accept})
    assert (response.status_code, response.headers["Content-Type"]) == (200, media_type)
    assert response.headers["Vary"] == "Accept"


def test_accept_may_come_in_several_lines(explain_client: Client) -> None:
    lines = [("Accept", "text/html"), ("Accept", PNG)]
    response = explain_client.post(EXPLAIN_PATH, content=b"picture", headers=httpx.Headers(lines))
    assert response.headers["Content-Type"] == PNG


@pytest.mark.parametrize(
    "accept",
    [
        "text/html",
        "image/jpeg",
        "application/problem+json",
        "image/png;q=0",
        "*/*;q=0",
        "image/png;q=0, application/json;q=0, */*",
        "image/png;q=nan",
        "nonsense",
    ],
)
def test_a_client_that_accepts_neither_gets_both_media_types_named(
    explain_client: Client, explainer: ScriptedExplainer, accept: str
) -> None:
    response = explain_client.post(EXPLAIN_PATH, content=b"picture", headers={"Accept": accept})
    error = problem(response, 406)
    assert error.kind == "not_acceptable"
    assert JSON in error.detail
    assert PNG in error.detail
    assert explainer.requests == []
    assert explainer.metrics.errors == {"not_acceptable": 1}


@pytest.mark.parametrize(
    ("image", "status", "kind", "retry_after"),
    [
        (b"corrupt", 400, "not_an_image", None),
        (b"huge", 413, "too_large", None),
        (b"tiff", 415, "unsupported_format", None),
        (b"no such label", 422, "bad_parameter", None),
        (b"too fine", 422, "cannot_explain", None),
        (b"too many", 503, "overloaded", "7"),
    ],
)
@pytest.mark.parametrize("media_type", [JSON, PNG])
def test_an_error_of_the_explainer_is_a_problem_with_its_message(
    explain_client: Client,
    explainer: ScriptedExplainer,
    image: bytes,
    status: int,
    kind: str,
    retry_after: str | None,
    media_type: str,
) -> None:
    response = explain_client.post(EXPLAIN_PATH, content=image, headers={"Accept": media_type})
    error = problem(response, status)
    assert (error.kind, error.detail) == (kind, str(REFUSALS[image]))
    assert response.headers.get("Retry-After") == retry_after
    assert "ETag" not in response.headers
    assert explainer.metrics.errors == {kind: 1}
    assert explainer.metrics.requests == 1


def test_an_internal_error_is_logged_and_not_sent(
    explain_client: Client, explainer: ScriptedExplainer, logged: list[logging.LogRecord]
) -> None:
    response = explain_client.post(EXPLAIN_PATH, content=b"bug")
    assert problem(response, 500).kind == "internal"
    assert "secret" not in response.text
    assert explainer.metrics.errors == {"internal": 1}
    (record,) = logged
    assert record.exc_info
    assert record.exc_info[1] is REFUSALS[b"bug"]


@pytest.mark.parametrize(
    ("upload", "status", "kind"),
    [
        ({"content": b"x" * (IMAGES.max_bytes + 1)}, 413, "too_large"),
        ({"files": files(b"one", b"two")}, 422, "bad_parameter"),
        ({"files": files(b"one", name="picture")}, 422, "bad_parameter"),
    ],
    ids=["too long", "several", "another field"],
)
def test_an_upload_that_is_not_one_image_is_refused(
    explain_client: Client,
    explainer: ScriptedExplainer,
    upload: dict[str, Any],
    status: int,
    kind: str,
) -> None:
    assert problem(explain_client.post(EXPLAIN_PATH, **upload), status).kind == kind
    assert explainer.requests == []
    assert explainer.metrics.errors == {kind: 1}


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_only_post_is_allowed(explain_client: Client, method: str) -> None:
    response = explain_client.request(method, EXPLAIN_PATH)
    assert problem(response, 405).kind == "method_not_allowed"
    assert response.headers["Allow"] == "POST"


@pytest.mark.parametrize("path", ["/", "/v1/tags", f"{EXPLAIN_PATH}/docs"])
def test_other_paths_are_not_found(explain_client: Client, path: str) -> None:
    assert problem(explain_client.post(path, content=b"picture"), 404).kind == "not_found"
