"""The OpenAPI document: what every operation of the API has, so that clients can rely on it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from pintag.explain.request import ExplanationRequest
from pintag.images import formats
from pintag.serve.api import tags
from pintag.serve.api.schemas import Problem, TagParameters
from tests.serve.conftest import INFO, Client, ScriptedTagger

OPERATIONS = [
    ("/v1/tags", "post"),
    ("/v1/tags:batch", "post"),
    ("/v1/explanations", "post"),
    ("/v1/model", "get"),
]


@pytest.fixture
def document(client: Client) -> Any:
    return client.get("/openapi.json").json()


def test_every_operation_is_listed_here(document: Any) -> None:
    listed = [(path, method) for path, item in document["paths"].items() for method in item]
    assert sorted(listed) == sorted(OPERATIONS)


def test_the_page_can_ask_for_a_key_and_needs_none(document: Any) -> None:
    scheme = document["components"]["securitySchemes"]["apiKey"]
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    # A server without keys needs none.
    assert document["security"] == [{"apiKey": []}, {}]


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_every_operation_has_the_errors_of_keys_limits_and_load(
    document: Any, path: str, method: str
) -> None:
    responses = document["paths"][path][method]["responses"]
    expected = {"200", "401", "429", "500", "502", "503", "504"}
    if method == "post":
        expected |= {"400", "408", "413", "415", "422", "504"}
    assert expected <= set(responses)


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_every_error_is_a_problem_with_an_example(document: Any, path: str, method: str) -> None:
    for status, response in document["paths"][path][method]["responses"].items():
        if status != "200":
            ((media_type, content),) = response["content"].items()
            assert media_type == "application/problem+json"
            assert Problem.model_validate(content["example"]).status == int(status)


@pytest.mark.parametrize(
    ("path", "model"),
    [
        ("/v1/tags", TagParameters),
        ("/v1/tags:batch", TagParameters),
        ("/v1/explanations", ExplanationRequest),
    ],
)
def test_every_parameter_is_described_as_it_is_read(document: Any, path: str, model: Any) -> None:
    parameters = document["paths"][path]["post"]["parameters"]
    assert [parameter["name"] for parameter in parameters] == list(model.model_fields)
    defaults = {parameter["name"]: parameter["schema"].get("default") for parameter in parameters}
    assert defaults == model().model_dump()
    assert not any(parameter["required"] for parameter in parameters)


def test_the_root_path_is_the_servers_address(client: Client, tagger: ScriptedTagger) -> None:
    assert "servers" not in client.get("/openapi.json").json()
    below = Client(tags.build(tagger, "/pintag")).get("/openapi.json").json()
    assert below["servers"] == [{"url": "/pintag"}]


def references(node: Any) -> Iterator[str]:
    """Every `$ref` in a document."""
    if isinstance(node, dict):
        if "$ref" in node:
            yield node["$ref"]
        node = list(node.values())
    if isinstance(node, list):
        for child in node:
            yield from references(child)


def test_the_openapi_document_has_all_paths_and_no_broken_reference(document: Any) -> None:
    assert document["openapi"].startswith("3.1")
    assert set(document["paths"]) == {
        "/v1/tags",
        "/v1/tags:batch",
        "/v1/model",
        "/v1/explanations",
    }
    targets = set(references(document))
    assert "#/components/schemas/Problem" in targets
    for reference in targets:
        node = document
        for key in reference.removeprefix("#/").split("/"):
            node = node[key]


def test_the_openapi_document_describes_both_kinds_of_body(document: Any) -> None:
    body = document["paths"]["/v1/tags"]["post"]["requestBody"]
    assert body["required"]
    form = body["content"].pop("multipart/form-data")["schema"]
    assert form["required"] == ["image"]
    assert form["properties"]["image"]["items"] == {"type": "string", "format": "binary"}
    images = {f"image/{name.lower()}" for name in formats.accepted()}
    assert {"image/jpeg", "image/png", "image/webp", "image/gif", "image/bmp"} <= images
    assert set(body["content"]) == {*images, "application/octet-stream"}
    # A form may have the parameters as fields.
    assert set(form["properties"]) == {"image", *TagParameters.model_fields}


@pytest.mark.parametrize("path", ["/v1/tags", "/v1/explanations"])
def test_formats_that_a_server_does_not_accept_are_not_described(path: str) -> None:
    tagger = ScriptedTagger()
    images = tagger.config.images.model_copy(update={"heif": False})
    tagger.config = tagger.config.model_copy(update={"images": images})
    document = Client(tags.build(tagger)).get("/openapi.json").json()
    kinds = set(document["paths"][path]["post"]["requestBody"]["content"])
    assert "image/jpeg" in kinds
    assert not kinds & {"image/heic", "image/avif"}


def test_the_openapi_document_has_examples_of_answers_and_bounds_of_parameters(
    document: Any,
) -> None:
    schemas = document["components"]["schemas"]
    for name in ("Model", "TagItem", "Problem"):
        fields = schemas[name]["properties"].values()
        assert all("examples" in field or "default" in field for field in fields), name
    model = document["paths"]["/v1/model"]["get"]["responses"]["200"]["content"]
    assert model["application/json"]["example"] == INFO.model_dump(exclude_none=True)
    max_tags, min_confidence = document["paths"]["/v1/tags"]["post"]["parameters"]
    assert (max_tags["name"], max_tags["schema"]["minimum"]) == ("max_tags", 1)
    assert (min_confidence["name"], min_confidence["schema"]["maximum"]) == ("min_confidence", 1)


def test_the_formats_of_this_installation_are_documented(document: Any) -> None:
    response = document["paths"]["/v1/tags"]["post"]["responses"]["415"]
    detail = response["content"]["application/problem+json"]["example"]["detail"]
    assert detail == f"TIFF is not accepted; send {', '.join(formats.accepted())}"
