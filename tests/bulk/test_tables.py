"""Columns of Parquet tables as other programs write them: shapes, names and ids."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from pintag.core.errors import DataError
from tests.bulk.conftest import picture
from tests.bulk.fake import errors, fake_bundle, run
from tests.bulk.test_inputs import root, table, uris

__all__ = ["fake_bundle", "root"]
pytestmark = pytest.mark.usefixtures("fake_bundle")


@pytest.mark.parametrize(
    ("ids", "name"),
    [
        (pyarrow.array([2**30, 1], pyarrow.date32()), "{path}#0"),
        (pyarrow.array([0, 1], pyarrow.timestamp("us", "No/Where")), "{path}#0"),
        (pyarrow.array([b"caf\xe9", b"b"]).cast(pyarrow.string(), safe=False), "caf\\xe9"),
    ],
    ids=["far date", "unknown zone", "Latin-1"],
)
def test_an_id_that_python_cannot_have_does_not_cost_the_image(
    tmp_path: Path, ids: Any, name: str
) -> None:
    path = table(tmp_path / "0.parquet", {"image": [picture(1), picture(2)], "id": ids})
    rows = run(path, tmp_path / "out", uri_column="id")
    assert (uris(rows)[0], errors(rows)) == (name.format(path=path), [])


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"bytes": "text", "path": "a"}, "neither bytes nor text; a field of it is a column"),
        ({"bytes": [1, 2], "path": "a"}, "neither bytes nor text"),
        ({"bytes": b"", "path": 5}, "neither bytes nor text"),
        ({"path": "a.jpg"}, r"a field of it is a column, too, such as image\.path"),
        ([b"", b""], "list<.*>, neither bytes nor text$"),
    ],
)
def test_a_column_of_another_shape_is_refused(tmp_path: Path, value: Any, words: str) -> None:
    path = table(tmp_path / "0.parquet", {"image": [value]})
    with pytest.raises(DataError, match=rf"^{path}: column 'image' is .*{words}"):
        run(path, tmp_path / "out")


def test_fields_without_any_value_are_of_no_other_shape(root: Path, tmp_path: Path) -> None:
    images = [{"bytes": None, "path": "pictures/a b.jpg"}, {"bytes": None, "path": None}]
    rows = run(table(tmp_path / "0.parquet", {"image": images}), tmp_path / "out")
    assert errors(rows) == ["there is no image: the value is missing"]
    images = [{"bytes": picture(1), "path": None}]
    assert errors(run(table(tmp_path / "1.parquet", {"image": images}), tmp_path / "1")) == []


@pytest.mark.parametrize(
    ("column", "names", "words"),
    [
        ("image", "", "there are several columns 'image'; rename all but one"),
        ("other", "image", "there are several columns 'image'; rename all but one"),
        ("", "", "there is no column ''; the columns are image, image, other"),
        ("*", "", "there is no column '*'"),
    ],
)
def test_a_name_of_no_column_or_of_several_is_refused(
    tmp_path: Path, column: str, names: str, words: str
) -> None:
    content = [pyarrow.array([picture(1)])] * 3
    path = tmp_path / "0.parquet"
    columns = pyarrow.Table.from_arrays(content, ["image", "image", "other"])
    pyarrow.parquet.write_table(columns, path)
    with pytest.raises(DataError) as refused:
        run(path, tmp_path / "out", column=column, uri_column=names)
    assert str(refused.value).startswith(f"{path}: {words}")
