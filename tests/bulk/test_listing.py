"""What is to be tagged: folders, lists and Parquet, divided into parts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from bulk import listing
from bulk.listing import Source
from pintag.errors import DataError
from pintag.store import Store


@pytest.fixture
def out(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "out"))


def listed(source: Source, out: Store) -> list[str]:
    """Every URI, in the order of the parts."""
    made = listing.make(source, out)
    uris = [uri for number in range(made.parts) for uri in listing.read(out, number)]
    assert len(uris) == made.images
    return uris


def table(path: Path, columns: dict[str, Any], rows: int = 100) -> Path:
    pyarrow.parquet.write_table(pyarrow.table(columns), path, row_group_size=rows)
    return path


def test_a_folder_is_its_images_and_no_other_file(folder: Path, out: Store) -> None:
    found = listed(Source(str(folder)), out)
    assert found == sorted(str(path) for path in folder.rglob("*.jpg"))


def test_a_list_has_paths_beside_it_absolute_ones_and_uris(tmp_path: Path, out: Store) -> None:
    names = tmp_path / "list.txt"
    names.write_text("a.jpg\n\n  /b/c.jpg \ns3://bucket/d.jpg\n")
    assert listed(Source(str(names)), out) == [
        str(tmp_path / "a.jpg"),
        "/b/c.jpg",
        "s3://bucket/d.jpg",
    ]


def test_a_column_of_text_is_a_list(tmp_path: Path, out: Store) -> None:
    path = table(tmp_path / "pins.parquet", {"where": ["/a.jpg", None, "/b.jpg"]})
    assert listed(Source(str(path), column="where"), out) == ["/a.jpg", "", "/b.jpg"]


def test_a_folder_of_parquet_is_read_in_the_order_of_its_names(tmp_path: Path, out: Store) -> None:
    data = tmp_path / "data"
    data.mkdir()
    table(data / "b.parquet", {"image": ["3"]})
    table(data / "a.parquet", {"image": ["1", "2"]})
    table(data / "_notes.parquet", {"other": ["4"]})
    assert listed(Source(str(data)), out) == ["1", "2", "3"]


def test_a_column_of_bytes_is_divided_by_its_row_groups(tmp_path: Path, out: Store) -> None:
    path = table(tmp_path / "pins.parquet", {"image": [b"%d" % n for n in range(25)]}, rows=10)
    made = listing.make(Source(str(path)), out)
    assert (made.images, made.parts) == (25, 3)
    assert made.groups == ((str(path), 0, 0), (str(path), 1, 10), (str(path), 2, 20))
    assert out.names() == set()


def test_many_images_are_many_parts(
    tmp_path: Path, out: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "PART", 4)
    names = tmp_path / "list.txt"
    names.write_text("".join(f"/{number}.jpg\n" for number in range(10)))
    made = listing.make(Source(str(names)), out)
    assert made.parts == 3
    assert [len(listing.read(out, number)) for number in range(3)] == [4, 4, 2]


def test_nothing_to_tag_is_an_error(tmp_path: Path, out: Store) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty: no images here"):
        listing.make(Source(str(tmp_path / "empty")), out)
    with pytest.raises(DataError, match="none: there is nothing here"):
        listing.make(Source(str(tmp_path / "none")), out)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ({"column": "picture"}, "there is no column 'picture'; there are image, size"),
        ({"uri_column": "name"}, "there is no column 'name'; there are image, size"),
        ({"column": "size"}, "column 'size' is int64, neither bytes nor text"),
    ],
)
def test_a_wrong_column_is_named(
    tmp_path: Path, out: Store, source: dict[str, str], words: str
) -> None:
    path = table(tmp_path / "pins.parquet", {"image": [b""], "size": [1]})
    with pytest.raises(DataError, match=words):
        listing.make(Source(str(path), **source), out)


def test_what_is_no_parquet_is_named(tmp_path: Path, out: Store) -> None:
    path = tmp_path / "pins.parquet"
    path.write_bytes(b"not at all")
    with pytest.raises(DataError, match=r"pins\.parquet: no Parquet file"):
        listing.make(Source(str(path)), out)
