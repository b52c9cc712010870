"""Damaged tables, and damaged files of an interrupted job: rows with errors, or one line."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from pintag.bulk import job, listing, plan
from pintag.bulk.listing import InputSource
from pintag.bulk.tagger import RESULT, BulkTagger, TaggingSettings
from pintag.core.errors import DataError
from pintag.core.store import Store
from pintag.models import remote
from tests.bulk.conftest import picture
from tests.bulk.fake import FIRST, errors, fake_bundle, run

__all__ = ["fake_bundle"]
pytestmark = pytest.mark.usefixtures("fake_bundle")

NOTHING_TO_TAG: dict[str, Any] = {"images": 0, "errors": 0}


def damaged(path: Path, values: list[Any]) -> Path:
    """A table in two row groups, with zeros in the first page of the first one."""
    table = pyarrow.table({"image": values})
    options = {"use_dictionary": False, "write_statistics": False}
    pyarrow.parquet.write_table(table, path, row_group_size=len(values) // 2, **options)
    content = bytearray(path.read_bytes())
    # After the mark of the file and the head of the first page.
    content[40:440] = bytes(400)
    path.write_bytes(content)
    return path


def started(folder: Path, out: Path) -> TaggingSettings:
    """The settings of a job whose images are listed."""
    settings = TaggingSettings(InputSource(str(folder)), "bundle", str(out))
    job._listing(settings, "1", Store(str(out)), set())
    return settings


# Tables


def test_the_rows_of_a_damaged_row_group_have_its_error(tmp_path: Path) -> None:
    path = damaged(tmp_path / "0.parquet", [picture(number) for number in range(8)])
    rows = run(path, tmp_path / "out")
    assert [row["uri"] for row in rows] == [f"{path}#{number}" for number in range(8)]
    assert [row["error"] is None for row in rows] == [False] * 4 + [True] * 4
    assert f"{path}: row group 0 is damaged: " in errors(rows)[0]


def test_a_damaged_column_of_paths_is_one_line(tmp_path: Path) -> None:
    path = damaged(tmp_path / "0.parquet", [picture(number).hex() for number in range(8)])
    with pytest.raises(DataError, match=rf"{path}: row group 0 is damaged: "):
        run(path, tmp_path / "out")


def test_text_in_another_encoding_is_one_line(tmp_path: Path) -> None:
    """pyarrow reads any bytes as text, and raises when a value is taken out."""
    values = pyarrow.array([b"/caf\xe9.jpg"]).cast(pyarrow.string(), safe=False)
    path = tmp_path / "0.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"image": values}), path)
    with pytest.raises(DataError, match=rf"{path}: row group 0 is damaged: .*utf-8"):
        run(path, tmp_path / "out")


# Actors


def test_a_full_disk_ends_a_job_with_one_error(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = started(folder, tmp_path / "out")
    parts = plan.read(Store(settings.out), {})

    def full(*_: object) -> None:
        raise DataError("part-000000.parquet: cannot be written: No space left on device")

    monkeypatch.setattr(Store, "write", full)
    row = BulkTagger(settings, parts)(FIRST)
    assert row == NOTHING_TO_TAG | {
        "part": 0,
        "failed": "part-000000.parquet: cannot be written: No space left on device",
    }


def test_a_bundle_that_an_actor_cannot_load_is_one_error(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = started(folder, tmp_path / "out")

    def gone(uri: str) -> None:
        raise DataError(f"{uri}: no bundle here")

    monkeypatch.setattr(remote, "load", gone)
    row = BulkTagger(settings, plan.read(Store(settings.out), {}))(FIRST)
    assert row["failed"] == "bundle: no bundle here"


@pytest.mark.parametrize("content", [None, b"", b"PAR1", "another column"])
def test_a_lost_listing_is_one_error(
    folder: Path, tmp_path: Path, content: bytes | str | None
) -> None:
    out = tmp_path / "out"
    settings = started(folder, out)
    path = out / listing.LISTING.format(number=0)
    path.unlink()
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content:
        pyarrow.parquet.write_table(pyarrow.table({content: ["a.jpg"]}), path)
    row = BulkTagger(settings, plan.read(Store(settings.out), {}))(FIRST)
    assert str(out) in row["failed"]
    assert row["failed"].endswith("; the listing of the job is lost: choose another folder")
    assert "\n" not in row["failed"]


# Plans


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b"{}", b'{"job": 3}', b"\xff", b'{"job": {}}', b'{"images": 1}'],
)
def test_a_damaged_plan_is_one_line(folder: Path, tmp_path: Path, content: bytes) -> None:
    out = tmp_path / "out"
    settings = started(folder, out)
    (out / plan.PLAN).write_bytes(content)
    with pytest.raises(DataError) as caught:
        job.run(settings, "1")
    remedy = "damaged, or no plan of a job; choose another folder"
    assert str(caught.value) == f"{out}/_plan.json: {remedy}"


@pytest.mark.parametrize("foreign", [True, False])
def test_a_result_of_another_program_is_one_line(
    folder: Path, tmp_path: Path, foreign: bool
) -> None:
    out = tmp_path / "out"
    settings = started(folder, out)
    path = out / RESULT.format(number=0)
    if foreign:
        pyarrow.parquet.write_table(pyarrow.table({"other": [1]}), path)
    else:
        shutil.copyfile(folder / "notes.txt", path)
    with pytest.raises(DataError, match=rf"{path}: .*; delete it, and its images are tagged again"):
        job.run(settings, "1")
