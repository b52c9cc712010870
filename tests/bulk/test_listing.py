"""List folders, list files and Parquet, and divide them into parts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from pintag.bulk import listing
from pintag.bulk.listing import InputSource
from pintag.core.errors import DataError
from pintag.core.store import Store


@pytest.fixture
def out(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "out"))


def listed(source: InputSource, out: Store) -> list[str]:
    """All URIs in the order of the parts."""
    listed_parts = listing.create(source, out)
    uris = [uri for number in range(listed_parts.parts) for uri in listing.read(out, number)]
    assert len(uris) == listed_parts.images
    return uris


def table(path: Path, columns: dict[str, Any], rows: int = 100) -> Path:
    pyarrow.parquet.write_table(pyarrow.table(columns), path, row_group_size=rows)
    return path


def test_only_images_of_a_folder_are_listed(folder: Path, out: Store) -> None:
    result = listed(InputSource(str(folder)), out)
    assert result == sorted(str(path) for path in folder.rglob("*.jpg"))


def test_a_list_file_has_relative_and_absolute_paths_and_uris(tmp_path: Path, out: Store) -> None:
    names = tmp_path / "list.txt"
    names.write_text("a.jpg\n\n  /b/c.jpg \ns3://bucket/d.jpg\n")
    assert listed(InputSource(str(names)), out) == [
        str(tmp_path / "a.jpg"),
        "/b/c.jpg",
        "s3://bucket/d.jpg",
    ]


def test_a_text_column_contains_paths_or_uris(tmp_path: Path, out: Store) -> None:
    path = table(tmp_path / "pins.parquet", {"where": ["/a.jpg", None, "/b.jpg"]})
    assert listed(InputSource(str(path), column="where"), out) == ["/a.jpg", "", "/b.jpg"]


def test_parquet_files_are_read_in_the_order_of_their_names(tmp_path: Path, out: Store) -> None:
    data = tmp_path / "data"
    data.mkdir()
    table(data / "b.parquet", {"image": ["3"]})
    table(data / "a.parquet", {"image": ["1", "2"]})
    table(data / "_notes.parquet", {"other": ["4"]})
    assert listed(InputSource(str(data)), out) == [f"{data}/{name}" for name in "123"]


def test_each_row_group_of_bytes_is_a_part(tmp_path: Path, out: Store) -> None:
    path = table(tmp_path / "pins.parquet", {"image": [b"%d" % n for n in range(25)]}, rows=10)
    listed_parts = listing.create(InputSource(str(path)), out)
    assert (listed_parts.images, listed_parts.parts) == (25, 3)
    assert listed_parts.groups == ((str(path), 0, 0), (str(path), 1, 10), (str(path), 2, 20))
    assert out.names() == set()


def test_many_images_are_many_parts(
    tmp_path: Path, out: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "PART", 4)
    names = tmp_path / "list.txt"
    names.write_text("".join(f"/{number}.jpg\n" for number in range(10)))
    listed_parts = listing.create(InputSource(str(names)), out)
    assert listed_parts.parts == 3
    assert [len(listing.read(out, number)) for number in range(3)] == [4, 4, 2]


def test_a_source_without_images_is_an_error(tmp_path: Path, out: Store) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty: contains no images"):
        listing.create(InputSource(str(tmp_path / "empty")), out)
    with pytest.raises(DataError, match="none: no such file or folder"):
        listing.create(InputSource(str(tmp_path / "none")), out)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ({"column": "picture"}, "there is no column 'picture'; the columns are image, size"),
        ({"uri_column": "name"}, "there is no column 'name'; the columns are image, size"),
        ({"column": "size"}, "column 'size' is int64, neither bytes nor text"),
    ],
)
def test_a_wrong_column_is_reported(
    tmp_path: Path, out: Store, source: dict[str, str], words: str
) -> None:
    path = table(tmp_path / "pins.parquet", {"image": [b""], "size": [1]})
    with pytest.raises(DataError, match=words):
        listing.create(InputSource(str(path), **source), out)


def test_an_invalid_parquet_file_is_reported(tmp_path: Path, out: Store) -> None:
    path = tmp_path / "pins.parquet"
    path.write_bytes(b"not at all")
    with pytest.raises(DataError, match=r"pins\.parquet: not a Parquet file"):
        listing.create(InputSource(str(path)), out)
