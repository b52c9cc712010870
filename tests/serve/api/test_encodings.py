"""Content encodings: gzip within the limits; all others are refused."""

from __future__ import annotations

import gzip

import pytest

from pintag.serve.api import encodings
from pintag.serve.errors import EncodingError, MalformedBodyError
from tests.serve.conftest import ANSWER, Client, ScriptedTagger, multipart, problem

GZIP = {"Content-Encoding": "gzip"}


@pytest.mark.parametrize("name", ["gzip", "x-gzip", "GZip", "identity, gzip", " gzip ,"])
def test_a_body_by_gzip_is_tagged(client: Client, tagger: ScriptedTagger, name: str) -> None:
    body = gzip.compress(b"picture")
    response = client.post("/v1/tags", content=body, headers={"Content-Encoding": name})
    assert (response.status_code, response.json()) == (200, ANSWER)
    assert tagger.seen == [b"picture"]


@pytest.mark.parametrize("name", ["identity", "", "Identity, identity"])
def test_a_body_without_an_encoding_is_tagged(
    client: Client, tagger: ScriptedTagger, name: str
) -> None:
    headers = {"Content-Encoding": name}
    assert client.post("/v1/tags", content=b"picture", headers=headers).status_code == 200
    assert tagger.seen == [b"picture"]


def test_a_form_and_a_batch_may_be_compressed(client: Client, tagger: ScriptedTagger) -> None:
    kind = {"Content-Type": "multipart/form-data; boundary=edge"}
    form = gzip.compress(multipart(b"one", b"two"))
    assert client.post("/v1/tags", content=form, headers=kind | GZIP).json() == [ANSWER] * 2
    batch = gzip.compress((5).to_bytes(4) + b"three")
    assert client.post("/v1/tags:batch", content=batch, headers=GZIP).json() == [ANSWER]
    assert tagger.seen == [b"one", b"two", b"three"]


@pytest.mark.parametrize(
    "name", ["br", "zstd", "deflate", "gzip, gzip", "gzip, br", "\xff", "none"]
)
def test_another_encoding_is_refused_with_those_that_are_accepted(
    client: Client, tagger: ScriptedTagger, name: str
) -> None:
    headers = {"Content-Encoding": name.encode("latin-1")}
    response = client.post("/v1/tags", content=b"picture", headers=headers)  # type: ignore[dict-item]
    assert problem(response, 415).kind == "unsupported_encoding"
    assert response.headers["Accept-Encoding"] == "gzip, identity"
    assert tagger.seen == []


def test_a_small_body_that_becomes_large_is_refused(client: Client) -> None:
    bomb = gzip.compress(b"\0" * 50_000)
    assert len(bomb) < 100
    response = client.post("/v1/tags", content=bomb, headers=GZIP)
    assert problem(response, 413).detail == "the body exceeds the limit of 100 bytes"


@pytest.mark.parametrize("size", [100, 101])
def test_the_contents_may_be_as_long_as_the_limit_and_no_longer(size: int) -> None:
    contents = encodings.gunzip(gzip.compress(b"x" * size), 100)
    assert contents == (b"x" * size if size == 100 else None)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"picture",
        gzip.compress(b"picture")[:-1],
        gzip.compress(b"picture")[:-9] + b"xxxxxxxxx",
    ],
    ids=["empty", "not compressed", "cut off", "damaged"],
)
def test_a_damaged_file_is_refused(client: Client, body: bytes) -> None:
    response = client.post("/v1/tags", content=body, headers=GZIP)
    assert "gzip" in problem(response, 400).detail


def test_several_members_are_one_file_and_thousands_are_refused() -> None:
    members = gzip.compress(b"one") + gzip.compress(b"two") + b"\0" * 8
    assert encodings.gunzip(members, 100) == b"onetwo"
    with pytest.raises(MalformedBodyError, match="members"):
        encodings.gunzip(gzip.compress(b"") * 1000, 100)


def test_the_name_of_an_encoding_is_short_in_the_message() -> None:
    with pytest.raises(EncodingError) as refused:
        encodings.names("x" * 10_000)
    assert len(str(refused.value)) < 200
