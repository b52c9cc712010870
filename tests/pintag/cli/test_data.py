"""`pintag data sample` and `pintag data check`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.pintag.cli.conftest import Cli


@pytest.fixture
def root(sample_dir: Path, tmp_path: Path) -> Path:
    """A copy of two labels of the sample, which a test may change."""
    for split in ("train", "validation", "test"):
        for label in ("art", "food"):
            copied = tmp_path / "data" / split / label
            copied.mkdir(parents=True)
            for file in sorted((sample_dir / split / label).iterdir())[:3]:
                shutil.copy(file, copied)
    return tmp_path / "data"


def test_a_sample_is_drawn_and_usable(cli: Cli, tmp_path: Path) -> None:
    out = tmp_path / "my data"
    drawn = cli("data", "sample", out, "--per-label", "4", "--seed", "7")
    assert (drawn.code, drawn.err) == (0, "")
    assert drawn.out == f"48 synthetic images in {out} (seed 7)\n"
    checked = cli("data", "check", out)
    assert checked.code == 0
    assert "(synthetic)" in checked.out
    assert checked.out.endswith("usable\n")


def test_a_sample_as_json(cli: Cli, tmp_path: Path) -> None:
    done = cli("data", "sample", tmp_path / "data", "--per-label", "1", "--json")
    assert json.loads(done.out) == {
        "path": str(tmp_path / "data"),
        "images": 24,
        "seed": 0,
        "synthetic": True,
    }


def test_a_sample_overwrites_nothing(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    done = cli("data", "sample", tmp_path, "--per-label", "1")
    assert (done.code, done.out) == (1, "")
    assert f"error: {tmp_path}: is not an empty folder" in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_sample_below_a_file_is_reported(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("keep")
    done = cli("data", "sample", tmp_path / "file" / "data")
    assert done.code == 1
    assert f"{tmp_path / 'file' / 'data'}: cannot be written" in done.err


def test_a_check_counts_images_by_label_and_split(cli: Cli, root: Path) -> None:
    (root / "test" / "food").joinpath("food-0003.jpg").unlink()
    done = cli("data", "check", root)
    assert done.code == 0
    # Without spaces at its end.
    assert done.out.startswith(f"{root}\n")
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in done.out.splitlines()]
    assert [row for row in rows if row] == [
        ["art", "3", "3", "3"],
        ["food", "3", "3", "2"],
        ["all", "6", "6", "5"],
    ]


def test_a_check_as_json(cli: Cli, root: Path) -> None:
    done = cli("data", "check", root, "--json")
    result = json.loads(done.out)
    assert done.code == 0
    assert result["usable"] is True
    assert result["synthetic"] is False
    assert result["counts"]["train"] == {"art": 3, "food": 3}
    assert result["imbalance"] == 1.0
    assert result["unreadable"] == result["duplicates"] == result["problems"] == []
    assert len(result["fingerprint"]) == 64


def test_a_corrupt_file_is_reported_and_skipped(cli: Cli, root: Path) -> None:
    bad = root / "train" / "art" / "a [red] 'bad' one.jpg"
    bad.write_bytes(b"no image")
    output = cli("data", "check", root)
    assert output.code == 0
    assert f"unreadable: {bad}: not an image, or a corrupt one" in output.out
    result = json.loads(cli("data", "check", root, "--json").out)
    assert [file["path"] for file in result["unreadable"]] == [str(bad)]
    assert "not an image" in result["unreadable"][0]["reason"]
    assert result["usable"] is True


def test_a_file_that_is_cut_off_is_reported_as_such(cli: Cli, root: Path) -> None:
    good = next((root / "train" / "art").glob("*.jpg"))
    for name, length in (("head.jpg", 8), ("middle.jpg", good.stat().st_size - 50)):
        (good.parent / name).write_bytes(good.read_bytes()[:length])
    output = cli("data", "check", root)
    for name, part in (("head.jpg", "head"), ("middle.jpg", "pixels")):
        expected = f"{good.parent / name}: the JPEG is cut off or damaged: the file ends in its"
        assert f"unreadable: {expected} {part}" in output.out


def test_equal_files_are_listed_with_split_and_label(cli: Cli, root: Path) -> None:
    one, other = root / "train/art/art-0001.jpg", root / "test/food/copy.jpg"
    shutil.copy(one, other)
    output = cli("data", "check", root)
    assert output.code == 0
    assert f"equal: {one} = {other}" in output.out
    assert "more than one split" in output.out
    [group] = json.loads(cli("data", "check", root, "--json").out)["duplicates"]
    assert group == [
        {"split": "train", "label": "art", "path": str(one)},
        {"split": "test", "label": "food", "path": str(other)},
    ]


def test_a_label_without_training_images_is_unusable(cli: Cli, root: Path) -> None:
    shutil.rmtree(root / "train" / "art")
    output = cli("data", "check", root)
    assert output.code == 1
    assert "problem: label 'art' has no readable image in the train split" in output.out
    assert output.out.endswith("unusable\n")
    checked = cli("data", "check", root, "--json")
    result = json.loads(checked.out)
    assert checked.code == 1
    assert result["usable"] is False
    # JSON has no infinity.
    assert result["imbalance"] is None


def test_a_flat_folder_is_divided_by_the_seed(cli: Cli, root: Path) -> None:
    flat = root / "train"
    done = cli("data", "check", flat)
    assert done.code == 0
    assert "no folder for validation or test" in done.out
    prints = [
        json.loads(cli("data", "check", flat, "--seed", seed, "--json").out)["fingerprint"]
        for seed in ("1", "1", "2", "3", "4")
    ]
    assert prints[0] == prints[1]
    assert len(set(prints)) > 1


@pytest.mark.parametrize("name", ["nothing", "file", "file/below", "empty"])
def test_a_folder_without_a_data_set_is_reported(cli: Cli, tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    done = cli("data", "check", tmp_path / name)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(f"error: {tmp_path / name}: ")


def test_names_are_printed_unchanged(cli: Cli, root: Path, tmp_path: Path) -> None:
    """Brackets are not markup, and a word between colons is not an emoji."""
    # The table is as wide as the terminal lets it be.
    folder = root.rename(tmp_path / "a [b] :art:")
    (folder / "train" / "art").rename(folder / "train" / "[red]x :art:")
    done = cli("data", "check", folder)
    assert "[b] :art:" in " ".join(done.out.split())
    assert "[red]x :art:" in done.out
