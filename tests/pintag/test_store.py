"""Folders, on disk and in a bucket: the same, whatever they are on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pintag.errors import DataError
from pintag.store import Store, absolute, bare, inside, last_name
from tests.conftest import S3

Make = Callable[[str], Store]


@pytest.fixture(params=["disk", "s3"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """A new folder of a name."""
    if request.param == "disk":
        return lambda name: Store(str(tmp_path / name))
    s3: S3 = request.getfixturevalue("s3")
    bucket = s3.bucket()
    return lambda name: Store(s3.uri(f"{bucket}/{name}"))


def test_what_is_written_can_be_read(make: Make) -> None:
    store = make("folder")
    store.write("one", b"content")
    store.write("one", b"another content")
    assert store.read(store.join("one")) == b"another content"
    assert store.names() == {"one"}


def test_a_folder_that_is_not_there_has_nothing(make: Make) -> None:
    assert make("nothing").names() == set()
    with pytest.raises(DataError, match="there is nothing here"):
        make("nothing").is_file()


def test_all_files_below_are_found_in_order(make: Make) -> None:
    for place in ("b", "a", "c/d", "c"):
        make(f"folder/{place}").write("2", b"x")
        make(f"folder/{place}").write("1", b"x")
    store = make("folder")
    found = [path.removeprefix(f"{store.root}/") for path in store.walk()]
    assert found == ["a/1", "a/2", "b/1", "b/2", "c/1", "c/2", "c/d/1", "c/d/2"]


def test_a_file_and_a_folder_are_told_apart(make: Make) -> None:
    make("folder").write("file", b"x")
    assert not make("folder").is_file()
    assert make("folder/file").is_file()


def test_a_missing_file_is_named(make: Make) -> None:
    store = make("folder")
    with pytest.raises(DataError, match="folder"):
        store.read(store.join("missing"))


def test_a_uri_is_told_without_its_way(make: Make) -> None:
    store = make("folder")
    store.write("one", b"x")
    (path,) = store.walk()
    assert "?" not in store.uri(path)
    assert store.uri(path).endswith("folder/one")


def test_a_strange_uri_is_refused() -> None:
    with pytest.raises(DataError, match="ftp://host/folder"):
        Store("ftp://host/folder")


def test_what_a_folder_has_is_told_apart(make: Make) -> None:
    make("folder").write("file", b"x")
    make("folder/inner").write("file", b"x")
    store = make("folder")
    assert [store.has(name) for name in ("file", "inner/file", "inner", "none", "none/file")] == [
        True,
        True,
        False,
        False,
        False,
    ]
    assert (store.names(), store.folders()) == ({"file"}, {"inner"})
    assert make("folder/file").folders() == set()


def test_a_file_goes_there_and_back(make: Make, tmp_path: Path) -> None:
    content = bytes(range(256)) * 50_000
    (tmp_path / "one").write_bytes(content)
    store = make("folder")
    store.write("there", b"")
    store.put(tmp_path / "one", "one")
    store.fetch("one", tmp_path / "two")
    assert (tmp_path / "two").read_bytes() == content
    assert store.names() == {"there", "one"}
    with pytest.raises(DataError, match="folder"):
        store.fetch("missing", tmp_path / "three")


def test_a_bucket_that_there_is_not_is_named(s3: S3, tmp_path: Path) -> None:
    store = Store(s3.uri("nowhere/folder"))
    (tmp_path / "one").touch()
    for ask in (
        store.is_file,
        lambda: store.has("one"),
        lambda: list(store.walk()),
        lambda: store.write("one", b"x"),
        lambda: store.put(tmp_path / "one", "one"),
    ):
        with pytest.raises(DataError, match=r"^s3://nowhere/folder: there is no such bucket"):
            ask()


def test_who_is_not_let_in_is_told_who_asked(s3: S3) -> None:
    store = Store(s3.uri(f"{s3.bucket()}/folder"))
    with s3.closed():
        for ask in (
            lambda: store.has("one"),
            lambda: store.read(store.join("one")),
            lambda: list(store.walk()),
            lambda: store.write("one", b"x"),
        ):
            with pytest.raises(DataError, match=r"^s3://.*/folder: access denied; AWS_ACCESS_"):
                ask()


def test_a_store_that_does_not_answer_is_said_to_be_out_of_reach(
    s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the words of AWS' client, who asks three times, six seconds long."""

    class Away:
        def get_file_info(self, path: str) -> None:
            raise OSError(
                f"When getting information for key 'x' in bucket '{path}': AWS Error "
                "NETWORK_CONNECTION during HeadObject operation: curlCode: 7, Could not connect"
            )

    store = Store(s3.uri("pins/folder"))
    monkeypatch.setattr(store, "_fs", Away())
    with pytest.raises(DataError, match=r"^s3://pins/folder: cannot be reached: When getting"):
        store.has("one")


def test_another_store_than_amazons_may_be_a_variable(
    s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{s3.port}")
    bucket = s3.bucket()
    Store(f"s3://{bucket}/folder").write("one", b"x")
    assert Store(s3.uri(f"{bucket}/folder")).names() == {"one"}


def test_a_key_is_no_part_of_a_uri() -> None:
    with pytest.raises(DataError, match="not for URIs") as caught:
        Store("s3://name:secret@bucket/folder")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("place", "inner"),
    [
        ("models/pins", "models/pins/one"),
        ("models/pins/", "models/pins/one"),
        ("/is/it?", "/is/it?/one"),
        ("s3://models", "s3://models/one"),
        ("s3://models/pins/?scheme=http", "s3://models/pins/one?scheme=http"),
    ],
)
def test_what_a_place_has_is_a_place(place: str, inner: str) -> None:
    assert inside(place, "one") == inner
    assert last_name(inner) == "one"


def test_only_paths_are_relative(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert absolute("models") == str(tmp_path / "models")
    assert absolute("s3://models/pins?scheme=http") == "s3://models/pins?scheme=http"
    assert bare("s3://models/pins?scheme=http") == "s3://models/pins"
