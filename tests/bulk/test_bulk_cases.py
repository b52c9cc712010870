"""Lists, tables and folders as people have them."""

from __future__ import annotations

from pathlib import Path

import pytest

from pintag.core.errors import DataError
from tests.bulk.fake import errors, fake_bundle, run
from tests.cases import cases_dir

__all__ = ["cases_dir", "fake_bundle"]
pytestmark = pytest.mark.usefixtures("fake_bundle")


@pytest.mark.parametrize(
    ("source", "images", "wrong"),
    [
        ("pictures", 6, 0),
        ("odd names", 9, 0),
        ("latin1", 1, 0),
        ("I12_endings", 4, 0),
        ("B03_fifo_among_pictures", 2, 0),
        ("B06_link_loop", 2, 0),
        ("B06_linked_twice", 3, 0),
        ("lists/B02_utf16_bom.txt", 6, 0),
        ("lists/B02_latin1.txt", 1, 0),
        ("lists/B03_nul.txt", 7, 1),
        ("lists/B09_file_uris.txt", 6, 0),
        ("lists/B09_comments_and_blanks.txt", 6, 0),
        ("lists/B09_odd_names.txt", 8, 0),
        ("parquet/B03_nul_in_path.parquet", 7, 1),
        ("parquet/B04_huggingface.parquet", 6, 0),
        ("parquet/B11_nulls.parquet", 4, 2),
    ],
)
def test_every_entry_is_a_row(
    cases_dir: Path, tmp_path: Path, source: str, images: int, wrong: int
) -> None:
    rows = run(cases_dir / "bulk" / source, tmp_path / "out")
    assert (len(rows), len(errors(rows))) == (images, wrong)
    assert len({row["uri"] for row in rows}) == images


def test_a_table_without_rows_is_an_error(cases_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="contains no images"):
        run(cases_dir / "bulk" / "parquet" / "B11_no_rows.parquet", tmp_path / "out")


def test_ids_of_zero_are_names(cases_dir: Path, tmp_path: Path) -> None:
    source = cases_dir / "bulk" / "parquet" / "B04_huggingface.parquet"
    rows = run(source, tmp_path / "out", uri_column="label")
    assert [row["uri"] for row in rows] == list("012345")
