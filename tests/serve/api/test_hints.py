"""The error of a client whose body is not an image."""

from __future__ import annotations

import base64
import gzip

import pytest

from pintag.core.errors import ImageTooLargeError, NotAnImageError, UnsupportedFormatError
from pintag.serve.api import hints
from tests.serve.conftest import EXPLAIN_PATH, Client, files, problem

JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF and more\r\n of it"
TEXT = base64.b64encode(JPEG)
FORM = "application/x-www-form-urlencoded"
REFUSED = NotAnImageError("not an image")


@pytest.mark.parametrize(
    ("data", "kind", "found"),
    [
        (b'{"image":"' + TEXT + b'"}', "application/json", "JSON"),
        (b' \n{"image": "x"}', "application/json; charset=utf-8", "JSON"),
        (b'{"image": "x"}', "", "JSON"),
        (b'["' + TEXT + b'"]', "text/plain", "JSON"),
        (b"{'image': '" + TEXT + b"'}", "", "JSON"),
        (b'"' + TEXT + b'"', "application/json", "JSON"),
        (b"data:image/jpeg;base64," + TEXT, "text/plain", "a data URL"),
        (b"DATA:image/png;base64,", "", "a data URL"),
        (TEXT, "image/jpeg", "Base64"),
        (base64.b64encode(b"\x89PNG\r\n\x1a\n and more"), "", "Base64"),
        (base64.b64encode(b"\0\0\0\x20ftypavif and more"), "", "Base64"),
        (b"image=%2F9j%2F" + TEXT[5:], FORM, "Base64"),
        (b'"' + TEXT + b'"', "text/plain", "Base64"),
        (b"https://example.org/a.jpg", "text/plain", "not fetched"),
        (b'--edge\r\nContent-Disposition: form-data; name="image"', "image/jpeg", "multipart"),
        (gzip.compress(JPEG, mtime=0), "image/jpeg", "gzip"),
        (b"@picture.jpg", FORM, "name of a file"),
        (b"C:\\photos\\holiday 1.JPG", "", "name of a file"),
    ],
)
def test_what_clients_send_by_mistake_is_recognised(data: bytes, kind: str, found: str) -> None:
    error = hints.explain(REFUSED, data, kind)
    assert isinstance(error, UnsupportedFormatError)
    assert found in str(error)
    assert "send the bytes of the image themselves" in str(error)


@pytest.mark.parametrize("magic", [JPEG, b"\x89PNG\r\n\x1a\n and more"])
@pytest.mark.parametrize("encoding", ["latin-1", "utf-8"])
def test_a_picture_that_was_read_as_text_is_recognised(magic: bytes, encoding: str) -> None:
    error = hints.explain(REFUSED, magic.decode(encoding, "replace").encode(), "image/jpeg")
    assert isinstance(error, NotAnImageError)
    assert "read the file as bytes" in str(error)


@pytest.mark.parametrize("dropped", [b"\r\n", b"\r\n\0"])
def test_a_picture_without_line_ends_in_a_form_was_sent_by_curl_d(dropped: bytes) -> None:
    mangled = JPEG.translate(None, dropped)
    error = hints.explain(REFUSED, mangled, FORM)
    assert isinstance(error, NotAnImageError)
    assert str(error).startswith("not an image; ")
    assert "--data-binary" in str(error)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", ""),
        (JPEG, FORM),
        (JPEG, "image/jpeg"),
        (b"picture", ""),
        (b"\0\1\2", "image/png"),
        (b"zz", FORM),
    ],
)
def test_other_bytes_keep_their_error(data: bytes, kind: str) -> None:
    assert hints.explain(REFUSED, data, kind) is REFUSED


def test_other_errors_are_kept() -> None:
    error = ImageTooLargeError("10000x10000 pixels")
    assert hints.explain(error, TEXT, "application/json") is error


def test_the_api_answers_with_the_hint(
    client: Client, explain_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.serve import conftest

    for outcomes in (conftest.OUTCOMES, conftest.REFUSALS):
        monkeypatch.setitem(outcomes, TEXT, REFUSED)
    responses = [
        client.post("/v1/tags", content=TEXT),
        client.post("/v1/tags", files=files(TEXT)),
        explain_client.post(EXPLAIN_PATH, content=TEXT),
    ]
    for response in responses:
        assert "the body is Base64 text" in problem(response, 415).detail
    _, entry = client.post("/v1/tags", files=files(b"picture", TEXT)).json()
    assert entry["kind"] == "unsupported_format"
