"""The HTTP API page: the server's OpenAPI document as Markdown."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any
from unittest import mock

import httpx

from pintag.core.errors import NotAnImageError
from pintag.serve.api import schemas, tags
from pintag.serve.model_info import ModelInfo

_INTRODUCTION = """# HTTP API

A running server has this document as an interactive page at `/docs`, and as JSON at
`/openapi.json`. The server's pages load nothing from other servers, so they work on a closed
network. They have a strict Content-Security-Policy. This page is generated from the server's
OpenAPI document.

| path | answer |
| --- | --- |
| `GET /` | The upload page. |
| `GET /docs`, `GET /openapi.json` | This API, as an interactive page and as JSON. |
| `OPTIONS` of any path | 204; `Allow` lists its methods. |
"""

_PROBLEM = schemas.problem(NotAnImageError("no bytes: the image is empty")).model_dump_json(
    indent=1
)
_AFTER = f"""## Errors

A path that does not exist gets 404. Another method of a path gets 405; `Allow` and the detail name
the right one. Errors are `application/problem+json` (RFC 9457). `kind` is a stable name for
programs. `503` and `429` have the header `Retry-After`. For a 503 the server computes its value
from the current rate. If an image of a request with many images cannot be tagged, the list of
answers has the error at the position of the image. In a query, a name that is not a parameter is a
422. The body of an error:

```json
{_PROBLEM}
```

## Authentication

A server with API keys expects `Authorization: Bearer KEY`. Without a valid key it answers 401;
`WWW-Authenticate` has `error="invalid_token"` if the request has a wrong one. Limits count images:
a request counts as many as it has, and as one at least. Over a limit of the key the server answers
429 with `Retry-After`. If the key has limits, every answer has `RateLimit` and `RateLimit-Policy`.
A request with more images than the limits ever admit at once gets 413 (`too_many_images`). While
nobody counts, requests with limited keys get 503 (`rate_limiter_unavailable`).
"""


def document() -> dict[str, Any]:
    """The OpenAPI document of a server whose explainer is enabled."""
    handler = mock.MagicMock()
    handler.info = ModelInfo(
        name="mobilenet",
        version="d9ad6c45d208",
        created="2026-01-01T00:00:00+00:00",
        labels=["art", "houses"],
        backbone="mobilenet",
        alpha=0.75,
        input_size=224,
        preprocessing="x / 127.5 - 1",
        temperature=1.2,
        engine="openvino",
        precision="int8",
        synthetic=False,
        metrics={"test": {"accuracy": 0.95}},
    )
    return asyncio.run(_get(tags.build(handler), "/openapi.json"))


async def _get(app: Any, path: str) -> Any:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://docs") as client:
        answer = await client.get(path)
    answer.raise_for_status()
    return answer.json()


def page() -> str:
    """The page as Markdown."""
    api = document()
    parts = [_INTRODUCTION]
    for path, operations in api["paths"].items():
        for method, operation in operations.items():
            parts += _operation(method, path, operation)
    parts += [_AFTER, "## Schemas\n"]
    for name, schema in api["components"]["schemas"].items():
        parts += _schema(name, schema)
    return "\n".join(parts)


def _operation(method: str, path: str, operation: dict[str, Any]) -> Iterator[str]:
    yield f"## `{method.upper()} {path}`\n"
    yield f"{operation.get('description') or operation.get('summary', '')}\n"
    if "requestBody" in operation:
        media_types = ", ".join(f"`{name}`" for name in operation["requestBody"]["content"])
        yield f"Body: {media_types}.\n"
    if operation.get("parameters"):
        yield "| parameter | in | type | default | description |\n| --- | --- | --- | --- | --- |"
        yield "\n".join(map(_parameter, operation["parameters"])) + "\n"
    yield "| status | answer |\n| --- | --- |"
    for status, response in sorted(operation["responses"].items()):
        yield f"| {status} | {_cell(response['description'])} |"
    yield ""
    answer = operation["responses"]["200"]["content"].get("application/json", {})
    if "example" in answer:
        yield f"An answer:\n\n{_json(answer['example'])}"


def _json(value: Any) -> str:
    return f"```json\n{json.dumps(value, indent=1)}\n```\n"


def _parameter(parameter: dict[str, Any]) -> str:
    schema = parameter.get("schema", {})
    default = f"`{json.dumps(schema['default'])}`" if "default" in schema else ""
    description = parameter.get("description") or schema.get("description", "")
    cells = [f"`{parameter['name']}`", parameter["in"], _type(schema), default, _cell(description)]
    return "| " + " | ".join(cells) + " |"


def _schema(name: str, schema: dict[str, Any]) -> Iterator[str]:
    yield f"### {name}\n"
    if schema.get("description"):
        yield f"{schema['description']}\n"
    yield "| field | type | description |\n| --- | --- | --- |"
    for field, value in schema.get("properties", {}).items():
        yield f"| `{field}` | {_type(value)} | {_cell(value.get('description', ''))} |"
    yield ""


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(map(_type, schema["anyOf"]))
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        return f"array of {_type(schema.get('items', {}))}"
    limits = [
        f"{sign} {schema[key]}"
        for key, sign in (("minimum", ">="), ("maximum", "<="))
        if key in schema
    ]
    return ", ".join([schema.get("type", "any"), *limits])


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|")
