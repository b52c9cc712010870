"""Request bodies: raw, chunked and multipart; too long, incomplete, or late."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.types import Message

from pintag.serve.api import tags
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


def test_a_body_with_a_too_large_content_length_is_refused_unread(tagger: ScriptedTagger) -> None:
    for kind, length in ((b"image/jpeg", b"101"), (b"multipart/form-data; boundary=edge", b"1001")):
        sent = drive(tags.build(tagger), [], (b"content-length", length), (b"content-type", kind))
        assert sent[0]["status"] == 413
    assert tagger.seen == []
    assert tagger.metrics.errors == {"too_large": 2}


def test_a_body_of_unknown_length_is_refused_as_soon_as_it_is_too_long(
    tagger: ScriptedTagger,
) -> None:
    chunks: list[Message] = [
        {"type": "http.request", "body": b"x" * 60, "more_body": True} for _ in range(9)
    ]
    assert drive(tags.build(tagger), chunks)[0]["status"] == 413
    # Two chunks exceed the limit of 100 bytes; the others were not read.
    assert len(chunks) == 7
    assert tagger.seen == []


def test_a_too_small_content_length_does_not_lift_the_limit(tagger: ScriptedTagger) -> None:
    chunks: list[Message] = [{"type": "http.request", "body": b"x" * 101}]
    assert drive(tags.build(tagger), chunks, (b"content-length", b"10"))[0]["status"] == 413


@pytest.mark.parametrize("size", [100, 101])
def test_a_body_may_be_as_long_as_the_limit_and_no_longer(client: Client, size: int) -> None:
    assert client.post("/v1/tags", content=b"x" * size).status_code == (413 if size > 100 else 200)
    body = multipart(b"x" * (1000 - len(multipart(b"")) + size - 100))
    kind = {"Content-Type": "multipart/form-data; boundary=edge"}
    response = client.post("/v1/tags", content=body, headers=kind)
    assert response.status_code == (413 if size > 100 else 200)


def test_the_chunks_of_a_body_are_joined(client: Client, tagger: ScriptedTagger) -> None:
    response = client.post("/v1/tags", content=chunks(b"pic", b"", b"ture"))
    assert "Content-Length" not in response.request.headers
    assert (response.status_code, response.json()) == (200, ANSWER)
    assert tagger.seen == [b"picture"]


@pytest.mark.parametrize("body", [b"", chunks()], ids=["empty", "chunked"])
def test_an_empty_body_is_passed_to_the_tagger(
    client: Client, tagger: ScriptedTagger, body: Any
) -> None:
    client.post("/v1/tags", content=body)
    assert tagger.seen == [b""]


@pytest.mark.parametrize(
    ("upload", "found"),
    [
        ({"files": files(b"picture", name="picture")}, ", found 'picture'"),
        ({"files": [("title", (None, b"text"))]}, ", found 'title'"),
    ],
    ids=["another field", "no file at all"],
)
def test_a_form_without_the_file_names_the_field(
    client: Client, tagger: ScriptedTagger, upload: dict[str, Any], found: str
) -> None:
    refusal = problem(client.post("/v1/tags", **upload), 422)
    assert refusal.detail == f"expected one or more files in the multipart field 'image'{found}"
    assert tagger.seen == []
    assert tagger.metrics.errors == {"bad_parameter": 1}


@pytest.mark.parametrize("form", ["multipart", "batch"])
def test_too_many_images_are_refused_with_their_limit_in_every_form(
    client: Client, tagger: ScriptedTagger, form: str
) -> None:
    images = [b"x"] * 4
    if form == "multipart":
        response = client.post("/v1/tags", files=files(*images))
    else:
        response = client.post("/v1/tags:batch", content=batch(*images))
    refusal = problem(response, 422)
    assert refusal.kind == "bad_parameter"
    assert "at most 3 images in a request" in refusal.detail
    assert tagger.seen == []


@pytest.mark.parametrize(
    ("kind", "body", "detail"),
    [
        ("multipart/form-data", multipart(b"one"), "boundary"),
        ("multipart/form-data; boundary=edge", b"\xff\xd8\xff picture", "Invalid multipart data"),
        ("multipart/form-data; boundary=edge", b"", "ends before its closing"),
        (
            "multipart/form-data; boundary=edge",
            multipart(b"one", end=b""),
            "ends before its closing",
        ),
        (
            "multipart/form-data; boundary=edge",
            multipart(b"one", b"two")[:-12],
            "ends before its closing",
        ),
        ("multipart/form-data; boundary=other", multipart(b"one"), "Invalid multipart data"),
        (
            "multipart/form-data; boundary=edge",
            b'--edge\r\nContent-Disposition: form-data; filename="a"\r\n\r\nx\r\n--edge--\r\n',
            'needs a Content-Disposition with a "name"',
        ),
    ],
    ids=["no boundary", "no parts", "empty", "no end", "cut", "wrong boundary", "no name"],
)
def test_a_malformed_multipart_body_is_refused_as_a_whole(
    client: Client, tagger: ScriptedTagger, kind: str, body: bytes, detail: str
) -> None:
    response = client.post("/v1/tags", content=body, headers={"Content-Type": kind})
    refusal = problem(response, 400)
    assert refusal.kind == "bad_request"
    assert detail in refusal.detail
    assert tagger.seen == []


def test_the_multipart_content_type_is_case_insensitive(client: Client) -> None:
    body, boundary = multipart(b"picture"), "Multipart/Form-Data; boundary=edge"
    response = client.post("/v1/tags", content=body, headers={"Content-Type": boundary})
    assert (response.status_code, response.json()) == (200, ANSWER)


# Batches: each image after its length


def batch(*contents: bytes) -> bytes:
    return b"".join(len(content).to_bytes(4) + content for content in contents)


def test_a_batch_is_split_into_its_images(client: Client, tagger: ScriptedTagger) -> None:
    response = client.post("/v1/tags:batch", content=batch(b"one", b"", b"three"))
    assert (response.status_code, response.json()) == (200, [ANSWER] * 3)
    assert tagger.seen == [b"one", b"", b"three"]


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"", "the body is empty; send each image after its length"),
        (b"\0\0", "the body ends inside image 0, counted from 0"),
        (batch(b"one") + b"\0", "the body ends inside image 1, counted from 0"),
        (batch(b"one", b"two")[:-1], "the body ends inside image 1, counted from 0"),
        (b"\xff\xd8\xff\xe0 a picture", "the body ends inside image 0, counted from 0"),
        (batch(*[b"x"] * 4), "at most 3 images in a request are accepted; send several requests"),
    ],
    ids=["empty", "no length", "a byte more", "a byte less", "a picture", "too many"],
)
def test_an_invalid_batch_is_refused_with_the_position_of_the_fault(
    client: Client, tagger: ScriptedTagger, body: bytes, detail: str
) -> None:
    refusal = problem(client.post("/v1/tags:batch", content=body), 422)
    assert (refusal.kind, refusal.detail) == ("bad_parameter", detail)
    assert tagger.seen == []


def test_a_batch_may_be_as_long_as_a_request_and_no_longer(client: Client) -> None:
    for more, status in ((0, 200), (1, 413)):
        response = client.post("/v1/tags:batch", content=batch(b"x" * (996 + more)))
        assert response.status_code == status


# Connections


def test_a_request_is_timed_from_its_last_byte_and_for_each_image(
    client: Client, tagger: ScriptedTagger
) -> None:
    waits: list[Message] = [
        {"type": "http.request", "body": b"pic", "more_body": True},
        {"type": "http.request", "body": b"x" * 200},
    ]
    # It is refused while it arrives.
    assert drive(tags.build(tagger), waits)[0]["status"] == 413
    assert (tagger.metrics.requests, tagger.metrics.images) == (0, 0)
    client.post("/v1/tags", files=files(b"one", b"two"))
    client.post("/v1/tags:batch", content=batch(b"one", b"two", b"three"))
    client.post("/v1/tags", content=b"one")
    assert (tagger.metrics.requests, tagger.metrics.images) == (3, 6)


@pytest.mark.parametrize("kind", [b"image/jpeg", b"multipart/form-data; boundary=edge"])
def test_a_client_that_disconnects_during_an_upload_is_not_an_error(
    tagger: ScriptedTagger, logged: list[logging.LogRecord], kind: bytes
) -> None:
    messages: list[Message] = [
        {"type": "http.request", "body": multipart(b"one", end=b""), "more_body": True},
        {"type": "http.disconnect"},
    ]
    drive(tags.build(tagger), messages, (b"content-type", kind))
    assert tagger.seen == []
    assert tagger.metrics.errors == {}
    assert logged == []


@pytest.mark.parametrize("kind", [b"image/jpeg", b"multipart/form-data; boundary=edge"])
def test_a_body_that_does_not_arrive_has_its_own_timeout(
    tagger: ScriptedTagger, kind: bytes
) -> None:
    messages: list[Message] = [{"type": "http.request", "body": b"--edge", "more_body": True}]
    start, body = drive(tags.build(tagger), messages, (b"content-type", kind))
    assert start["status"] == 408
    assert (b"connection", b"close") in start["headers"]
    assert b"the body did not arrive within 0.05 s" in body["body"]
    assert tagger.metrics.errors == {"late_body": 1}
