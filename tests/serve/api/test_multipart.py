"""Multipart bodies as clients write them, and as they should not."""

from __future__ import annotations

import contextlib
import tempfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pintag.serve.api import multipart, parameters
from pintag.serve.api.schemas import TagParameters
from pintag.serve.errors import MalformedBodyError, ParameterError
from tests.serve.conftest import Client, ScriptedTagger

KIND = "multipart/form-data; boundary=edge"


def part(disposition: bytes, content: bytes = b"picture", more: bytes = b"") -> bytes:
    head = b"--edge\r\nContent-Disposition: form-data; " + disposition + b"\r\n" + more
    return head + b"\r\n" + content + b"\r\n"


def parse(*parts: bytes, kind: str = KIND, max_images: int = 3) -> multipart.Form:
    return multipart.parse(kind, b"".join(parts) + b"--edge--\r\n", max_images)


@pytest.mark.parametrize(
    "disposition",
    [
        b'name="image"; filename="a.jpg"',
        b"name=image; filename=a.jpg",
        b'NAME="image"; FileName="a.jpg"',
        b"name=\"image\"; filename*=utf-8''na%C3%AFve.jpg",
        b"name=\"image\"; filename*=bogus''na%FFve.jpg",
        b'name="image"; filename="a"; filename*=UTF-8\'\'b',
        b'name="image"; filename="na\xefve.jpg"',
        b'name="image"; filename="a\x00b"',
        b'name="image"; filename=""',
        b'name="image"; filename="a;b=c.jpg"',
        b'name="image"; filename="a\\"b.jpg"',
        b'name="image"; filename="unterminated',
        b'name="image"',
        b'name="images"; filename="a"',
        b'name="file"; filename="a"',
        b'name="files[]"; filename="a"',
        b'name="image[0]"; filename="a"',
    ],
)
def test_an_image_is_found_whatever_its_file_is_called(disposition: bytes) -> None:
    assert parse(part(disposition)) == multipart.Form([b"picture"], [])


def test_what_stands_before_and_after_the_parts_is_ignored() -> None:
    image = part(b'name="image"; filename="a"')
    body = b"a preamble with --edge\r\n" + image + b"--edge--\r\nan epilogue"
    assert multipart.parse(KIND, body, 1).images == [b"picture"]


@pytest.mark.parametrize(
    "kind",
    [
        'multipart/form-data; boundary="edge"',
        "multipart/form-data;boundary=edge;charset=utf-8",
        "multipart/form-data; charset=undefined; boundary=edge",
        "multipart/form-data; boundary=edge; charset=punycode",
    ],
)
def test_the_content_type_may_have_more_than_a_boundary(kind: str) -> None:
    assert parse(part(b'name="image"; filename="a"'), kind=kind).images == [b"picture"]


@pytest.mark.parametrize(
    ("kind", "boundary"),
    [
        ("multipart/form-data; boundary=----=_Part_0_1.2", b"----=_Part_0_1.2"),
        ("Multipart/Form-Data;BOUNDARY=a:b/c?d ; charset=utf-8", b"a:b/c?d"),
        ('multipart/form-data; boundary="a b:c;d"', b"a b:c;d"),
        ("multipart/form-data; boundary=--", b"--"),
    ],
)
def test_a_boundary_may_have_any_character(kind: str, boundary: bytes) -> None:
    body = part(b'name="image"; filename="a"') + b"--edge--\r\n"
    assert multipart.parse(kind, body.replace(b"edge", boundary), 1).images == [b"picture"]


def test_images_keep_their_order_and_other_fields_their_text() -> None:
    form = parse(
        part(b'name="image"; filename="a"', b"one"),
        part(b'name="label"', "Süße Hunde".encode()),
        part(b'name="thumbnail"; filename="b"', b"a file"),
        part(b'name="file"; filename="c"', b"\r\n--edg"),
        part(b'name="broken"', b"\xff"),
        part(b'name="essay"', b"x" * 5000),
    )
    assert form.images == [b"one", b"\r\n--edg"]
    assert form.fields == [
        ("label", "Süße Hunde"),
        ("thumbnail", "a file"),
        ("broken", "\ufffd"),
        ("essay", "x" * 4096 + "…"),
    ]


def tag_parameters(field: bytes) -> TagParameters:
    form = parse(part(b'name="image"; filename="a"'), field)
    return parameters.read(TagParameters, b"", form.fields)


def test_a_parameter_that_is_sent_as_a_file_is_used() -> None:
    assert tag_parameters(part(b'name="max_tags"; filename="max_tags"', b"1")).max_tags == 1


@pytest.mark.parametrize(
    "field",
    [
        part(b'name="max_tags"; filename="max_tags"', b"one"),
        part(b'name="maxtags"; filename="maxtags"', b"1"),
        part(b'name="max_tags"', b"1" * 5000),
        part(b'name="max_tags"', b" " * 5000 + b"1"),
    ],
    ids=["no number", "misspelt", "long", "long and blank"],
)
def test_a_parameter_that_cannot_be_used_is_refused(field: bytes) -> None:
    with pytest.raises(ParameterError, match="max_tags"):
        tag_parameters(field)


@pytest.mark.parametrize("name", [b'"label"; filename="b"', b'"essay"'])
def test_other_fields_are_ignored_however_long_they_are(name: bytes) -> None:
    assert tag_parameters(part(b"name=" + name, b"x" * 5000)) == TagParameters()


def test_a_file_input_that_nobody_has_filled_in_is_no_image() -> None:
    empty = part(b'name="file"; filename=""', b"")
    assert parse(part(b'name="image"; filename="a"'), empty, max_images=1).images == [b"picture"]
    assert parse(empty, empty).images == [b""]
    assert parse(part(b'name="image"; filename="a"', b""), empty).images == [b""]


@pytest.mark.parametrize(
    ("kind", "body", "words"),
    [
        ("multipart/form-data; boundary=other", part(b'name="image"'), "leave this header"),
        ("multipart/form-data", part(b'name="image"'), "leave this header"),
        (KIND, b"\xff\xd8\xff picture", "boundary that Content-Type names is not in the body"),
        (KIND, part(b'name="image"').replace(b"\r\n", b"\n") + b"--edge--\n", "end with CR LF"),
    ],
)
def test_a_refusal_says_what_to_do(kind: str, body: bytes, words: str) -> None:
    with pytest.raises(MalformedBodyError, match=words):
        multipart.parse(kind, body, 3)


def test_a_form_without_an_image_names_the_fields_that_it_has() -> None:
    with pytest.raises(ParameterError, match="field 'image', found 'photo'"):
        parse(part(b'name="photo"; filename="a"'))


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("multipart/form-data", part(b'name="image"')),
        ("multipart/form-data; boundary=", part(b'name="image"')),
        ("multipart/form-data; boundary=\u20ac", part(b'name="image"')),
        (f"multipart/form-data; boundary={'x' * 300}", part(b'name="image"')),
        ("multipart/form-data; boundary=other", part(b'name="image"') + b"--edge--"),
        (KIND, part(b'name="image"')),
        (KIND, b"--edge\r\nBad Header\r\n\r\nx\r\n--edge--"),
        (KIND, b"--edge\r\nA:" + b"x" * 20_000 + b"\r\n\r\nx\r\n--edge--"),
        (KIND, b"--edge\r\n" + b"A: b\r\n" * 100 + b"\r\nx\r\n--edge--"),
        (KIND, b"--edge\r\n\r\nx\r\n--edge--"),
        (KIND, part(b'filename="a"') + b"--edge--"),
        (KIND, part(b'name="a"') * 100 + part(b'name="image"') + b"--edge--"),
        (KIND, b"--edge--"),
    ],
    ids=[
        "no boundary", "empty boundary", "no Latin-1", "long boundary", "other boundary", "no end",
        "bad header", "long header", "many headers", "no headers", "no name", "many fields",
        "no parts",
    ],
)  # fmt: skip
def test_a_broken_body_is_refused(kind: str, body: bytes) -> None:
    with pytest.raises((MalformedBodyError, ParameterError)):
        multipart.parse(kind, body, 3)


@given(
    kind=st.one_of(st.just(KIND), st.text(max_size=60)),
    body=st.lists(
        st.one_of(
            st.binary(max_size=40),
            st.sampled_from(
                [
                    b"--edge", b"\r\n", b"--edge\r\n", b"--edge--", b"Content-Disposition: ",
                    b'form-data; name="image"', b"; filename*=", b"utf-8''%ff", b"\x00", b"\n\n",
                ]
            ),
        ),
        max_size=12,
    ).map(b"".join),
)  # fmt: skip
def test_any_bytes_are_parsed_or_refused(kind: str, body: bytes) -> None:
    with contextlib.suppress(MalformedBodyError, ParameterError):
        assert 1 <= len(multipart.parse(kind, body, 3).images) <= 3


def test_a_large_upload_needs_no_temporary_folder(
    client: Client, tagger: ScriptedTagger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    for name in ("SpooledTemporaryFile", "TemporaryFile", "NamedTemporaryFile", "mkstemp"):
        monkeypatch.setattr(tempfile, name, full)
    images = tagger.config.images.model_copy(update={"max_request_bytes": 8 * 2**20})
    tagger.config = tagger.config.model_copy(update={"images": images})
    large = bytes(range(256)) * 12_000
    response = client.post("/v1/tags", files={"image": ("a.jpg", large)})
    assert response.status_code == 200
    assert tagger.seen == [large]
