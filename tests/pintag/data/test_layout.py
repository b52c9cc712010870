"""The label folders of a data set: their names, links between them, and what lies beside them."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest

from pintag.core.errors import DataError
from pintag.data import inspection
from pintag.data.dataset import scan, scan_split
from pintag.data.labels import Labels
from pintag.data.layout import STRAY
from pintag.data.walker import LISTED, METADATA
from tests.pintag.data.folders import fill, split_layout

NFC, NFD = "café", unicodedata.normalize("NFD", "café")


def reasons(root: Path) -> dict[str, str]:
    """What the scan of a data set left out."""
    items = scan(root).left_out
    return {item.path.relative_to(root).as_posix(): item.reason for item in items}


def test_one_label_in_two_unicode_forms_is_one_label(tmp_path: Path) -> None:
    fill(tmp_path, {f"train/{NFC}": 3, f"test/{NFD}": 2, f"train/{NFD}": 1, "train/cat": 2})
    result = scan(tmp_path)
    assert result.labels.names == (NFC, "cat")
    assert result.counts("test") == {NFC: 2, "cat": 0}
    (warning,) = result.warnings
    assert "(NFC)" in warning
    assert "(NFD)" in warning
    assert "differ only in Unicode normalisation" in warning
    assert warning in inspection.inspect(result).warnings


@pytest.mark.parametrize("names", [("Train", "Test"), ("TRAINING", "VALID"), ("Train", "test")])
def test_the_folders_of_splits_may_have_names_in_any_case(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    assert scan(split_layout(tmp_path, names)).labels.names == ("cat", "dog")


@pytest.mark.parametrize(
    ("one", "other"),
    [("Cats", "cats"), ("cats", "cats "), ("a  b", "a b"), ("ﬁsh", "fish"), ("a\u200bb", "ab")],
)
def test_labels_that_people_may_take_for_one_are_a_warning(
    tmp_path: Path, one: str, other: str
) -> None:
    fill(tmp_path, {one: 2, other: 2, "dog": 2})
    result = scan(tmp_path)
    assert set(result.labels) == {one, other, "dog"}
    (warning,) = result.warnings
    assert repr(one) in warning or one == "a\u200bb"
    assert "are different labels, and differ only in case, spaces or invisible" in warning


def test_a_folder_around_the_data_set_is_named(tmp_path: Path) -> None:
    split_layout(tmp_path / "pets")
    with pytest.raises(DataError, match=rf"; if {tmp_path}/pets is the data set, give this folder"):
        scan(tmp_path)


def test_a_uri_is_not_called_a_missing_folder() -> None:
    with pytest.raises(DataError, match="a URI; a data set must be a folder of this machine"):
        scan("s3://bucket/pets")


def test_a_file_is_no_data_set(tmp_path: Path) -> None:
    (tmp_path / "pets.zip").write_bytes(b"PK")
    with pytest.raises(DataError, match=r"pets\.zip: a file, not a folder"):
        scan(tmp_path / "pets.zip")


def test_a_split_is_read_with_a_label_in_the_other_form(tmp_path: Path) -> None:
    fill(tmp_path, {f"test/{NFC}": 1, "test/dog": 1})
    found = scan_split(tmp_path, "test", Labels((NFD, "dog")))
    assert [example.target for example in found.examples] == [0, 1]


def test_a_label_folder_that_is_not_utf8_is_a_problem(tmp_path: Path) -> None:
    fill(tmp_path, {os.fsdecode(b"caf\xe9"): 3, "cat": 3})
    result = scan(tmp_path)
    assert result.labels.names == ("caf\\xe9", "cat")
    (problem,) = inspection.inspect(result).problems
    assert problem.startswith(f"{tmp_path}/caf\\xe9: the name of this folder is not UTF-8")
    assert len(result.fingerprint) == 64


def test_a_name_that_only_looks_like_one_that_is_not_utf8_is_no_other_form_of_it(
    tmp_path: Path,
) -> None:
    fill(tmp_path, {os.fsdecode(b"\xff"): 3, "\\xff": 3, "cat": 3})
    result = scan(tmp_path)
    assert (len(result.problems), result.warnings) == (1, ())


def test_metadata_and_stray_files_are_reported(tmp_path: Path) -> None:
    fill(tmp_path, {"cat": 3, "dog": 3, "__MACOSX/cat": 1})
    for name in ("Thumbs.db", "stray.png", "SYNTHETIC.txt", "cat/.DS_Store"):
        (tmp_path / name).write_bytes(b"\0")
    assert reasons(tmp_path) == {
        "Thumbs.db": METADATA,
        "__MACOSX": METADATA,
        "cat/.DS_Store": METADATA,
        "stray.png": STRAY,
    }


def test_a_folder_beside_the_splits_is_reported(tmp_path: Path) -> None:
    fill(split_layout(tmp_path), {"unlabelled": 2})
    assert reasons(tmp_path) == {"unlabelled": "a folder beside the splits"}


def test_a_label_that_links_to_another_is_not_a_label(tmp_path: Path) -> None:
    fill(tmp_path, {"cat": 3, "dog": 3})
    (tmp_path / "a dog").symlink_to("dog")
    (tmp_path / "everything").symlink_to(".")
    (tmp_path / "cat" / "up").symlink_to("..")
    (tmp_path / "cat" / "dogs").symlink_to("../dog")
    assert scan(tmp_path).labels.names == ("cat", "dog")
    assert reasons(tmp_path) == dict.fromkeys(("a dog", "everything", "cat/up", "cat/dogs"), LISTED)


def test_a_label_may_be_a_link_to_another_place(tmp_path: Path) -> None:
    fill(tmp_path, {"data/cat": 3, "elsewhere": 2})
    (tmp_path / "data" / "dog").symlink_to("../elsewhere")
    result = scan(tmp_path / "data")
    assert (sum(result.counts(split)["dog"] for split in result.splits), result.left_out) == (2, ())


def test_a_split_that_links_to_another_is_read_as_both(tmp_path: Path) -> None:
    fill(tmp_path, {f"{split}/{label}": 2 for split in ("train", "test") for label in "ab"})
    (tmp_path / "validation").symlink_to("test")
    result = scan(tmp_path)
    assert result.counts("validation") == result.counts("test") == {"a": 2, "b": 2}
    assert "4 images are in more than one split" in "".join(inspection.inspect(result).warnings)


def test_only_metadata_is_no_data_set(tmp_path: Path) -> None:
    fill(tmp_path, {"__MACOSX/cat": 1, "@eaDir/dog": 1})
    with pytest.raises(DataError, match="no label folders"):
        scan(tmp_path)
