"""What crosses the wire: answers, and each error as the problem that it is."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, cast

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from pintag.bundle import WEIGHTS, Manifest, ModelBundle
from pintag.engine import Engine
from pintag.errors import (
    BundleError,
    ExplainError,
    ImageTooLargeError,
    NotAnImageError,
    UnsupportedFormatError,
)
from pintag.labels import Tag
from pintag.networks import NetworkSpec
from serve import protocol
from serve.protocol import (
    Answer,
    ExplanationAnswer,
    Model,
    OverloadedError,
    ParameterError,
    TagItem,
)
from tests.serve.conftest import EXPLANATION

MODEL = Model(name="pins", version="d9ad6c45d208")


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (NotAnImageError("no bytes"), 400, "not_an_image"),
        (ImageTooLargeError("21 bytes"), 413, "too_large"),
        (UnsupportedFormatError("TIFF"), 415, "unsupported_format"),
        (ParameterError("max_tags: no"), 422, "bad_parameter"),
        (ExplainError("300 superpixels"), 422, "cannot_explain"),
        (OverloadedError("128 images"), 503, "overloaded"),
        (TimeoutError("10 s"), 504, "deadline"),
    ],
)
def test_an_error_of_the_request_has_its_status_its_kind_and_its_own_words(
    error: Exception, status: int, kind: str
) -> None:
    found = protocol.problem(error)
    assert (found.status, found.kind, found.detail) == (status, kind, str(error))
    assert found.type == "about:blank"


@pytest.mark.parametrize("error", [RuntimeError("/etc/secret"), BundleError("/models"), KeyError()])
def test_an_error_of_the_server_is_told_without_detail(error: Exception) -> None:
    found = protocol.problem(error)
    assert (found.status, found.kind, found.title) == (500, "internal", "Internal Server Error")
    assert found.detail == "the server failed; its log says why"


@pytest.mark.parametrize("error", [TimeoutError(), asyncio.CancelledError()])
def test_an_error_without_words_has_those_of_its_status(error: BaseException) -> None:
    found = protocol.problem(error)
    assert (found.status, found.kind, found.detail) == (504, "deadline", "Gateway Timeout")


def test_a_problem_is_plain_json_with_the_members_of_rfc_9457() -> None:
    assert protocol.problem(NotAnImageError("no bytes")).model_dump_json() == (
        '{"type":"about:blank","title":"Bad Request","status":400,'
        '"detail":"no bytes","kind":"not_an_image"}'
    )


def test_an_error_that_the_framework_found_is_a_problem_too() -> None:
    found = protocol.http_problem(405, "Method Not Allowed")
    assert (found.title, found.status, found.kind) == (
        "Method Not Allowed",
        405,
        "method_not_allowed",
    )


def test_an_answer_names_its_model_and_keeps_the_order_of_the_tags() -> None:
    tags = [Tag("houses", 0.75), Tag("art", 0.25)]
    found = protocol.answer(MODEL.model_dump(), tags)
    assert found == {
        "model": {"name": "pins", "version": "d9ad6c45d208"},
        "tags": [
            {"label": "houses", "confidence": 0.75},
            {"label": "art", "confidence": 0.25},
        ],
    }
    # What the document promises.
    assert Answer.model_validate(found).model_dump() == found


def test_an_answer_without_tags_is_an_answer() -> None:
    assert protocol.answer(MODEL.model_dump(), [])["tags"] == []


@pytest.mark.parametrize("confidence", [-0.01, 1.01, float("nan")])
def test_a_confidence_is_a_probability(confidence: float) -> None:
    with pytest.raises(ValidationError):
        TagItem(label="houses", confidence=confidence)


def test_an_overload_says_when_to_try_again() -> None:
    assert OverloadedError("128 images").headers == {"Retry-After": "1"}
    assert OverloadedError("8 explanations", retry_after=12).headers == {"Retry-After": "12"}


def test_an_explanation_is_the_same_after_it_was_kept_as_json() -> None:
    kept = EXPLANATION.model_dump_json()
    assert ExplanationAnswer.model_validate_json(kept) == EXPLANATION


SHOWN = [
    pytest.param(field.annotation, field.metadata, example, id=f"{model.__name__}.{name}")
    for model in vars(protocol).values()
    if isinstance(model, type) and issubclass(model, BaseModel)
    for name, field in model.model_fields.items()
    for example in field.examples or []
]


@pytest.mark.parametrize(("annotation", "bounds", "example"), SHOWN)
def test_an_example_in_the_document_is_a_value_of_its_field(
    annotation: type, bounds: list[object], example: object
) -> None:
    kind = annotation
    for bound in bounds:
        kind = Annotated[kind, bound]  # type: ignore[assignment]
    assert TypeAdapter(kind).validate_python(example, strict=True) == example


@pytest.mark.parametrize(("data", "synthetic"), [({"synthetic": True}, True), ({}, False)])
def test_a_model_is_told_by_its_manifest(data: dict[str, bool], synthetic: bool) -> None:
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
    info = protocol.model_info(ModelBundle(Path("bundle"), manifest), cast(Engine, engine))
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
