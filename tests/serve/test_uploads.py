"""The bodies of requests: raw, chunked and multipart; too long, broken off, or never coming."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.types import Message

from serve import http
from tests.serve.conftest import (
    ANSWER,
    Client,
    ScriptedTagger,
    drive,
    files,
    multipart,
    problem,
)

# Bodies


async def chunks(*contents: bytes) -> AsyncIterator[bytes]:
    """A body of unknown length."""
    for content in contents:
        yield content


def test_a_body_declared_too_long_is_refused_unread(tagger: ScriptedTagger) -> None:
    for kind, length in ((b"image/jpeg", b"101"), (b"multipart/form-data; boundary=edge", b"1001")):
        sent = drive(http.build(tagger), [], (b"content-length", length), (b"content-type", kind))
        assert sent[0]["status"] == 413
    assert tagger.seen == []
    assert tagger.metrics.errors == {"too_large": 2}


def test_a_body_of_unknown_length_is_refused_as_soon_as_it_is_too_long(
    tagger: ScriptedTagger,
) -> None:
    chunks: list[Message] = [
        {"type": "http.request", "body": b"x" * 60, "more_body": True} for _ in range(9)
    ]
    assert drive(http.build(tagger), chunks)[0]["status"] == 413
    # Two chunks are over the limit of 100 bytes; the others were not asked for.
    assert len(chunks) == 7
    assert tagger.seen == []


def test_a_length_declared_too_short_does_not_help(tagger: ScriptedTagger) -> None:
    chunks: list[Message] = [{"type": "http.request", "body": b"x" * 101}]
    assert drive(http.build(tagger), chunks, (b"content-length", b"10"))[0]["status"] == 413


@pytest.mark.parametrize("size", [100, 101])
def test_the_limits_are_the_largest_bodies_that_pass(client: Client, size: int) -> None:
    assert client.post("/v1/tags", content=b"x" * size).status_code == (413 if size > 100 else 200)
    body = multipart(b"x" * (1000 - len(multipart(b"")) + size - 100))
    kind = {"Content-Type": "multipart/form-data; boundary=edge"}
    response = client.post("/v1/tags", content=body, headers=kind)
    assert response.status_code == (413 if size > 100 else 200)


def test_a_chunked_body_is_put_together(client: Client, tagger: ScriptedTagger) -> None:
    response = client.post("/v1/tags", content=chunks(b"pic", b"", b"ture"))
    assert "Content-Length" not in response.request.headers
    assert (response.status_code, response.json()) == (200, ANSWER)
    assert tagger.seen == [b"picture"]


@pytest.mark.parametrize("body", [b"", chunks()], ids=["empty", "chunked"])
def test_an_empty_body_is_for_the_tagger_to_refuse(
    client: Client, tagger: ScriptedTagger, body: Any
) -> None:
    client.post("/v1/tags", content=body)
    assert tagger.seen == [b""]


@pytest.mark.parametrize(
    "upload",
    [
        {"files": files(b"picture", name="picture")},
        {"files": [("image", (None, b"text"))]},
        {"files": [*files(b"picture"), ("image", (None, b"text"))]},
        {"files": [("title", (None, b"text"))]},
    ],
    ids=["another field", "text", "file and text", "no file at all"],
)
def test_a_form_without_the_file_names_the_field(
    client: Client, tagger: ScriptedTagger, upload: dict[str, Any]
) -> None:
    found = problem(client.post("/v1/tags", **upload), 422)
    assert found.detail == "expected one or more files in the multipart field 'image'"
    assert tagger.seen == []
    assert tagger.metrics.errors == {"bad_parameter": 1}


def test_too_many_files_are_refused_with_their_limit(
    client: Client, tagger: ScriptedTagger
) -> None:
    found = problem(client.post("/v1/tags", files=files(*[b"x"] * 4)), 400)
    assert "at most 3 images in a request" in found.detail
    assert tagger.seen == []


@pytest.mark.parametrize(
    ("kind", "body", "detail"),
    [
        ("multipart/form-data", multipart(b"one"), "boundary"),
        ("multipart/form-data; boundary=edge", b"\xff\xd8\xff picture", "Invalid multipart data"),
        ("multipart/form-data; boundary=edge", b"", "breaks off"),
        ("multipart/form-data; boundary=edge", multipart(b"one", end=b""), "breaks off"),
        ("multipart/form-data; boundary=edge", multipart(b"one", b"two")[:-12], "breaks off"),
        ("multipart/form-data; boundary=other", multipart(b"one"), "Invalid multipart data"),
        (
            "multipart/form-data; boundary=edge",
            b'--edge\r\nContent-Disposition: form-data; filename="a"\r\n\r\nx\r\n--edge--\r\n',
            '"name" must be provided',
        ),
    ],
    ids=["no boundary", "no parts", "empty", "no end", "cut", "wrong boundary", "no name"],
)
def test_a_malformed_multipart_body_is_refused_whole(
    client: Client, tagger: ScriptedTagger, kind: str, body: bytes, detail: str
) -> None:
    response = client.post("/v1/tags", content=body, headers={"Content-Type": kind})
    found = problem(response, 400)
    assert found.kind == "bad_request"
    assert detail in found.detail
    assert tagger.seen == []


def test_a_multipart_body_is_known_by_its_type_in_any_case(client: Client) -> None:
    body, boundary = multipart(b"picture"), "Multipart/Form-Data; boundary=edge"
    response = client.post("/v1/tags", content=body, headers={"Content-Type": boundary})
    assert (response.status_code, response.json()) == (200, ANSWER)


def test_other_fields_are_passed_over(client: Client, tagger: ScriptedTagger) -> None:
    response = client.post("/v1/tags", files=files(b"picture"), data={"title": "my house"})
    assert (response.status_code, response.json()) == (200, ANSWER)
    assert tagger.seen == [b"picture"]


# Batches: images one after the other, each after its length


def batch(*contents: bytes) -> bytes:
    return b"".join(len(content).to_bytes(4) + content for content in contents)


def test_a_batch_is_taken_apart(client: Client, tagger: ScriptedTagger) -> None:
    response = client.post("/v1/tags:batch", content=batch(b"one", b"", b"three"))
    assert (response.status_code, response.json()) == (200, [ANSWER] * 3)
    assert tagger.seen == [b"one", b"", b"three"]


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"", "the body is empty; send images, each after its length"),
        (b"\0\0", "the body ends within its image 0, counted from 0"),
        (batch(b"one") + b"\0", "the body ends within its image 1, counted from 0"),
        (batch(b"one", b"two")[:-1], "the body ends within its image 1, counted from 0"),
        (b"\xff\xd8\xff\xe0 a picture", "the body ends within its image 0, counted from 0"),
        (batch(*[b"x"] * 4), "at most 3 images in a request: send more requests"),
    ],
    ids=["empty", "no length", "a byte more", "a byte less", "a picture", "too many"],
)
def test_a_batch_that_is_none_says_where(
    client: Client, tagger: ScriptedTagger, body: bytes, detail: str
) -> None:
    found = problem(client.post("/v1/tags:batch", content=body), 422)
    assert (found.kind, found.detail) == ("bad_parameter", detail)
    assert tagger.seen == []


def test_a_batch_may_be_as_long_as_a_request_and_no_longer(client: Client) -> None:
    for more, status in ((0, 200), (1, 413)):
        response = client.post("/v1/tags:batch", content=batch(b"x" * (996 + more)))
        assert response.status_code == status


# Connections


@pytest.mark.parametrize("kind", [b"image/jpeg", b"multipart/form-data; boundary=edge"])
def test_a_client_that_leaves_mid_upload_is_no_error_of_the_server(
    tagger: ScriptedTagger, logged: list[logging.LogRecord], kind: bytes
) -> None:
    messages: list[Message] = [
        {"type": "http.request", "body": multipart(b"one", end=b""), "more_body": True},
        {"type": "http.disconnect"},
    ]
    drive(http.build(tagger), messages, (b"content-type", kind))
    assert tagger.seen == []
    assert tagger.metrics.errors == {}
    assert logged == []


@pytest.mark.parametrize("kind", [b"image/jpeg", b"multipart/form-data; boundary=edge"])
def test_a_body_that_does_not_come_passes_a_deadline_of_its_own(
    tagger: ScriptedTagger, kind: bytes
) -> None:
    messages: list[Message] = [{"type": "http.request", "body": b"--edge", "more_body": True}]
    start, body = drive(http.build(tagger), messages, (b"content-type", kind))
    assert start["status"] == 408
    assert b"the body did not arrive within 0.05 s" in body["body"]
    assert tagger.metrics.errors == {"late_body": 1}
