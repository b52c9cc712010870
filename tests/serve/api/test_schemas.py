"""The schemas of the HTTP API: answers, and the problem of each error."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from pydantic import ValidationError

from pintag.core.errors import (
    BundleError,
    DecodingError,
    ExplainError,
    ImageTooLargeError,
    NotAnImageError,
    UnsupportedFormatError,
)
from pintag.core.types import Engine
from pintag.data.labels import Tag
from pintag.explain.schema import ExplanationAnswer
from pintag.models.bundle import ModelBundle
from pintag.models.identity import Model
from pintag.models.manifest import WEIGHTS, Manifest
from pintag.models.networks import NetworkSpec
from pintag.serve import model_info
from pintag.serve.api import schemas
from pintag.serve.api.schemas import Answer, TagItem
from pintag.serve.errors import OverloadedError, ParameterError
from tests import examples
from tests.serve.conftest import EXPLANATION

MODEL = Model(name="pins", version="d9ad6c45d208")


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (NotAnImageError("no bytes"), 400, "not_an_image"),
        (ImageTooLargeError("21 bytes"), 413, "too_large"),
        (UnsupportedFormatError("TIFF"), 415, "unsupported_format"),
        (ParameterError("max_tags: no"), 422, "bad_parameter"),
        # Not a 5xx: nobody shall send the image to another replica.
        (DecodingError("5 s"), 422, "cannot_decode"),
        (ExplainError("300 superpixels"), 422, "cannot_explain"),
        (OverloadedError("128 images"), 503, "overloaded"),
        (TimeoutError("10 s"), 504, "deadline"),
    ],
)
def test_an_error_of_the_request_has_its_status_kind_and_message(
    error: Exception, status: int, kind: str
) -> None:
    problem = schemas.problem(error)
    assert (problem.status, problem.kind, problem.detail) == (status, kind, str(error))
    assert problem.type == "about:blank"


@pytest.mark.parametrize("error", [RuntimeError("/etc/secret"), BundleError("/models"), KeyError()])
def test_the_details_of_an_unexpected_error_are_not_sent(error: Exception) -> None:
    problem = schemas.problem(error)
    assert (problem.status, problem.kind, problem.title) == (
        500,
        "internal",
        "Internal Server Error",
    )
    assert problem.detail == "the server failed; see its log for the reason"


@pytest.mark.parametrize("error", [TimeoutError(), asyncio.CancelledError()])
def test_an_error_without_a_message_has_the_phrase_of_its_status(error: BaseException) -> None:
    problem = schemas.problem(error)
    assert (problem.status, problem.kind, problem.detail) == (504, "deadline", "Gateway Timeout")


def test_a_problem_is_plain_json_with_the_members_of_rfc_9457() -> None:
    assert schemas.problem(NotAnImageError("no bytes")).model_dump_json() == (
        '{"type":"about:blank","title":"Bad Request","status":400,'
        '"detail":"no bytes","kind":"not_an_image"}'
    )


def test_an_error_of_the_web_framework_is_a_problem_too() -> None:
    problem = schemas.http_problem(405, "Method Not Allowed")
    assert (problem.title, problem.status, problem.kind) == (
        "Method Not Allowed",
        405,
        "method_not_allowed",
    )


def test_an_answer_has_its_model_and_the_tags_in_order() -> None:
    tags = [Tag("houses", 0.75), Tag("art", 0.25)]
    answer = schemas.answer(MODEL.model_dump(), tags)
    assert answer == {
        "model": {"name": "pins", "version": "d9ad6c45d208"},
        "tags": [
            {"label": "houses", "confidence": 0.75},
            {"label": "art", "confidence": 0.25},
        ],
    }
    # It matches the OpenAPI document.
    assert Answer.model_validate(answer).model_dump() == answer


def test_an_answer_may_have_no_tags() -> None:
    assert schemas.answer(MODEL.model_dump(), [])["tags"] == []


@pytest.mark.parametrize("confidence", [-0.01, 1.01, float("nan")])
def test_a_confidence_is_a_probability(confidence: float) -> None:
    with pytest.raises(ValidationError):
        TagItem(label="houses", confidence=confidence)


def test_an_overload_has_a_retry_after_header() -> None:
    assert OverloadedError("128 images").headers == {"Retry-After": "1"}
    assert OverloadedError("8 explanations", retry_after=12).headers == {"Retry-After": "12"}


def test_an_explanation_can_be_stored_as_json() -> None:
    stored = EXPLANATION.model_dump_json()
    assert ExplanationAnswer.model_validate_json(stored) == EXPLANATION


@pytest.mark.parametrize(("annotation", "bounds", "example"), examples.of(schemas, model_info))
def test_each_example_is_a_valid_value_of_its_field(
    annotation: type, bounds: list[object], example: object
) -> None:
    examples.check(annotation, bounds, example)


@pytest.mark.parametrize(("data", "synthetic"), [({"synthetic": True}, True), ({}, False)])
def test_the_model_info_comes_from_the_manifest(data: dict[str, bool], synthetic: bool) -> None:
    spec = NetworkSpec(backbone="mobilenet", alpha=0.25, input_size=160, widths=(64,), num_labels=2)
    manifest = Manifest(
        name="pins",
        version="d9ad6c45d208",
        created=datetime(2026, 1, 2, tzinfo=UTC),
        labels=("art", "houses"),
        network=spec,
        preprocessing="pixels / 127.5 - 1",
        temperature=1.5,
        metrics={"test": {"accuracy": 0.9}},
        training={},
        data=data,
        libraries={},
        files={WEIGHTS: "0" * 64},
    )
    engine = SimpleNamespace(name="openvino", precision="int8")
    info = model_info.model_info(ModelBundle(Path("bundle"), manifest), cast(Engine, engine))
    assert info.model_dump() == {
        "name": "pins",
        "version": "d9ad6c45d208",
        "created": "2026-01-02T00:00:00+00:00",
        "labels": ["art", "houses"],
        "backbone": "mobilenet",
        "alpha": 0.25,
        "input_size": 160,
        "preprocessing": "pixels / 127.5 - 1",
        "temperature": 1.5,
        "engine": "openvino",
        "precision": "int8",
        "synthetic": synthetic,
        "explained": True,
        "metrics": {"test": {"accuracy": 0.9}},
        "candidate": None,
    }
