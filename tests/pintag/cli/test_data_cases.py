"""`pintag data check` of data sets as people have them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cases import cases_dir
from tests.pintag.cli.conftest import Cli

__all__ = ["cases_dir"]


def checked(cli: Cli, folder: Path) -> tuple[int, dict[str, Any]]:
    done = cli("data", "check", folder, "--json")
    # A strict reader: a document with half of a surrogate pair is not UTF-8.
    result: dict[str, Any] = json.loads(done.out)
    json.dumps(result, ensure_ascii=False).encode()
    return done.code, result


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("D01_nfc_nfd", ["café", "thé"]),
        ("D02_macosx", ["cats", "dogs"]),
        ("D07_120_classes", [f"class-{number:03}" for number in range(120)]),
        ("D07_500_classes", [f"class-{number:03}" for number in range(500)]),
        ("D08_one_picture", ["cats", "dogs"]),
        ("D08_only_a_duplicate", ["cats", "dogs"]),
        ("D09_numbers", sorted(map(str, range(12)))),
        ("T01_small", ["birds", "cats", "dogs"]),
    ],
)
def test_a_data_set_is_usable(cli: Cli, cases_dir: Path, name: str, labels: list[str]) -> None:
    code, result = checked(cli, cases_dir / "data" / name)
    assert (code, result["usable"], result["unreadable"]) == (0, True, [])
    assert list(result["counts"]["train"]) == labels


def test_any_name_is_the_name_of_a_label(cli: Cli, cases_dir: Path) -> None:
    folder = cases_dir / "data" / "M01_names"
    code, result = checked(cli, folder)
    assert (code, list(result["counts"]["train"])) == (
        0,
        sorted(path.name for path in folder.iterdir()),
    )
    # One line for each label, whatever its name contains.
    printed = cli("data", "check", folder).out
    assert sum("│     4 │" in line for line in printed.splitlines()) == 11


def test_metadata_is_left_out(cli: Cli, cases_dir: Path) -> None:
    _, result = checked(cli, cases_dir / "data" / "D02_macosx")
    assert len(result["left_out"]) == 8
    assert {item["reason"] for item in result["left_out"]} == {
        "metadata of an operating system or a NAS"
    }


def test_labels_in_two_unicode_forms_are_reported(cli: Cli, cases_dir: Path) -> None:
    _, result = checked(cli, cases_dir / "data" / "D01_nfc_nfd")
    assert sum("differ only in Unicode normalisation" in text for text in result["warnings"]) == 2


def test_a_label_in_latin_1_is_a_problem(cli: Cli, cases_dir: Path) -> None:
    code, result = checked(cli, cases_dir / "data" / "D04_latin1")
    assert (code, result["usable"], result["not_utf8"]) == (1, False, 8)
    (problem,) = result["problems"]
    assert "caf\\xe9: the name of this folder is not UTF-8" in problem


@pytest.mark.parametrize(("options", "lines"), [((), 130), (("--all",), 520)])
def test_many_classes_are_not_all_printed(
    cli: Cli, cases_dir: Path, options: tuple[str, ...], lines: int
) -> None:
    printed = cli("data", "check", cases_dir / "data" / "D07_500_classes", *options).out
    assert lines - 30 < len(printed.splitlines()) < lines
    assert ("400 more labels" in printed) == (not options)
