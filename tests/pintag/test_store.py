"""Folders, on disk and in a bucket: the same, whatever they are on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pintag.errors import DataError
from pintag.store import Store
from tests.conftest import S3

Make = Callable[[str], Store]


@pytest.fixture(params=["disk", "s3"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """A new folder of a name."""
    if request.param == "disk":
        return lambda name: Store(str(tmp_path / name))
    s3: S3 = request.getfixturevalue("s3")
    bucket = f"bucket-{abs(hash(tmp_path))}"
    s3.client.create_bucket(Bucket=bucket)
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
