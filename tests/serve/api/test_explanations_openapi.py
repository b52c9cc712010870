"""The explanations endpoint in the OpenAPI document, which the classifier serves."""

from __future__ import annotations

from typing import Any

import pytest

from pintag.explain.request import ExplanationRequest
from pintag.serve.api.schemas import Problem
from tests.serve.conftest import EXPLAIN_PATH, JSON, PNG, Client


@pytest.fixture
def operation(client: Client) -> Any:
    return client.get("/openapi.json").json()["paths"][EXPLAIN_PATH]["post"]


def test_the_openapi_document_shows_each_parameter_with_its_default(operation: Any) -> None:
    parameters = operation["parameters"]
    schemas = {parameter["name"]: parameter["schema"] for parameter in parameters}
    defaults = {name: schema.get("default") for name, schema in schemas.items()}
    assert defaults == ExplanationRequest().model_dump()
    assert {parameter["in"] for parameter in parameters} == {"query"}
    choices = {name: schema.get("enum") for name, schema in schemas.items()}
    assert choices["mode"] == ["reference", "stable"]
    assert choices["segmentation"] == ["quickshift", "slic", "felzenszwalb"]


def test_the_openapi_document_shows_both_answers_and_the_body(operation: Any) -> None:
    content = operation["responses"]["200"]["content"]
    assert set(content) == {JSON, PNG}
    assert content[JSON]["schema"] == {"$ref": "#/components/schemas/ExplanationAnswer"}
    assert operation["requestBody"]["required"]
    assert {"image/jpeg", "multipart/form-data"} <= set(operation["requestBody"]["content"])


def test_the_openapi_document_shows_every_problem_by_an_example(operation: Any) -> None:
    problems = {k: v["content"] for k, v in operation["responses"].items() if k != "200"}
    assert {"400", "406", "412", "413", "415", "422", "503"} <= set(problems)
    for status, content in problems.items():
        assert list(content) == ["application/problem+json"]
        example = content["application/problem+json"]["example"]
        assert Problem.model_validate(example).status == int(status)
