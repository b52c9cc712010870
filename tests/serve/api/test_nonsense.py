"""No request gets a 5xx, and every error is a problem: the API under a fuzzer."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.types import Message, Scope

from pintag.serve.api import explanations, request_rules, tags
from pintag.serve.api.ray_answers import RayAnswers
from pintag.serve.api.schemas import Problem
from pintag.serve.config import ApiConfig
from tests.serve.conftest import ScriptedExplainer, ScriptedTagger, multipart

CONFIG = ApiConfig(root_path="/pintag", cors_origins=("https://shop.example",))
APPS = {
    "tags": RayAnswers(request_rules.wrap(tags.build(ScriptedTagger()), CONFIG)),
    "explanations": RayAnswers(request_rules.wrap(explanations.build(ScriptedExplainer()), CONFIG)),
}

PATHS = st.one_of(
    st.sampled_from(
        [
            "/", "//", "*", "", "/docs", "/docs/", "/page/", "/page/main.js", "/openapi.json",
            "/v1", "/v1/", "/v1/tags", "/v1/tags/", "/v1/tags//", "/v1/tags:batch", "/v1/model",
            "/v1/explanations", "/v1/explanations/", "/pintag", "/pintag/", "/pintag/v1/tags",
        ]
    ),
    st.text(max_size=20).map("/".__add__),
)  # fmt: skip
QUERIES = st.one_of(
    st.sampled_from(
        [b"", b"&&==", b"max_tags=1", b"label=%ff", b"label=%", b"%00=%00", b"max_tags=%u0031"]
    ),
    st.binary(max_size=30),
)
FORM = b"multipart/form-data"
KINDS = st.sampled_from(
    [
        FORM + b"; boundary=edge", FORM + b"; boundary=edge; charset=undefined", FORM,
        FORM + b"; boundary=\xff", b"multipart/mixed; boundary=edge", b"application/json",
        b"application/x-www-form-urlencoded", b"text/plain; charset=punycode",
        b"image/jpeg", b"", b";;;", b'"', b"\xff\xfe",
    ]
)  # fmt: skip
VALUES = st.one_of(
    st.sampled_from(
        [
            b"", b"*", b"*/*", b"\xff", b"[", b"[::1", b"a:b:c", b"gzip", b"br", b"gzip, gzip",
            b"99999999999999999999999999", b"9" * 5000, b"Bearer \xff", b'W/"', b"image/png;q=\xb2",
            b"https://shop.example", b"POST", b"?1", b"0.001", b"nan",
        ]
    ),
    st.binary(max_size=20),
)  # fmt: skip
NAMES = st.sampled_from(
    [
        b"host", b"accept", b"content-encoding", b"content-length", b"if-none-match", b"origin",
        b"access-control-request-method", b"access-control-request-headers", b"authorization",
        b"x-request-id", b"x-request-timeout-seconds", b"x-session-id", b"traceparent", b"expect",
        b"x-forwarded-prefix", b"range", b"cookie", b"transfer-encoding",
    ]
)  # fmt: skip
HEADERS = st.tuples(
    st.lists(KINDS.map(lambda kind: (b"content-type", kind)), max_size=2),
    st.lists(st.tuples(NAMES, VALUES), max_size=4),
).map(lambda parts: [*parts[0], *parts[1]])
BODIES = st.one_of(
    st.sampled_from(
        [
            b"", b"picture", b"corrupt", multipart(b"one"), multipart(b"one", b"two"),
            multipart(b"one", end=b""), b"\0\0\0\3one", b"\xff\xff\xff\xff", b"\x1f\x8b\x08\0",
            b'{"image": "x"}', b"data:,", b"--edge\r\nContent-Disposition: a; name=\xff\r\n",
        ]
    ),
    st.binary(max_size=60),
)  # fmt: skip


def call(app: Any, scope: Scope, body: bytes) -> tuple[Message, bytes]:
    """The first message of the answer, and its body."""
    sent: list[Message] = []
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if not waiting:
            await asyncio.Event().wait()
        return waiting.pop()

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    return sent[0], b"".join(message.get("body", b"") for message in sent[1:])


@settings(max_examples=400, deadline=None)
@given(
    app=st.sampled_from(sorted(APPS)),
    method=st.sampled_from(["POST", "POST", "POST", "GET", "HEAD", "OPTIONS", "PUT", "BREW"]),
    path=PATHS,
    query=QUERIES,
    headers=HEADERS,
    body=BODIES,
)
def test_nonsense_is_never_the_servers_fault(
    app: str, method: str, path: str, query: bytes, headers: list[tuple[bytes, bytes]], body: bytes
) -> None:
    scope = {
        "type": "http", "http_version": "1.1", "method": method, "path": path, "root_path": "",
        "raw_path": path.encode(), "query_string": query, "headers": headers, "scheme": "http",
        "server": ("127.0.0.1", 8000), "client": ("127.0.0.1", 1),
    }  # fmt: skip
    start, content = call(APPS[app], scope, body)
    assert start["status"] < 500
    if start["status"] >= 400:
        assert (b"content-type", b"application/problem+json") in start["headers"]
        assert Problem.model_validate_json(content).status == start["status"]


@pytest.mark.parametrize("host", [b"[", b"[::1", b"a:b", b"\xff", b"", b"a b"])
@pytest.mark.parametrize("path", ["/v1/nothing", "/v1/tags/", "/docs/", "/"])
def test_a_host_that_is_no_address_is_no_fault(host: bytes, path: str) -> None:
    scope = {
        "type": "http", "method": "GET", "path": path, "root_path": "", "query_string": b"",
        "headers": [(b"host", host)], "scheme": "http",
    }  # fmt: skip
    assert call(APPS["tags"], scope, b"")[0]["status"] < 500
