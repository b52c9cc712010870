"""Data sets: what is found, under which split and label, and what a split by seed promises."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pintag import dataset
from pintag.dataset import DataSet, scan, scan_split
from pintag.errors import DataError, ImageError
from pintag.labels import Labels

SPLITS = ("train", "validation", "test")


def draw(path: Path, number: int) -> Path:
    """A small picture that is the same for the same number only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4), (number % 256, number // 256, 7)).save(path)
    return path


def fill(root: Path, counts: Mapping[str, int], first: int = 0) -> Path:
    """Draw pictures, each another, into folders of `root`."""
    number = first
    for folder, count in counts.items():
        for index in range(count):
            draw(root / folder / f"{index:03}.png", number)
            number += 1
    return root


def split_layout(root: Path, names: tuple[str, ...] = SPLITS) -> Path:
    return fill(root, {f"{name}/{label}": 2 for name in names for label in ("cat", "dog")})


def names(found: DataSet) -> dict[str, list[str]]:
    """The files of each split, by their paths below the root."""
    return {
        split: [example.path.relative_to(found.root).as_posix() for example in examples]
        for split, examples in found.splits.items()
    }


@pytest.mark.parametrize(
    "folders",
    [
        ("train", "validation", "test"),
        ("train", "val", "test"),
        ("training", "valid", "testing"),
        ("training_set", "validation_set", "test_set"),
    ],
)
def test_a_split_layout_is_read_under_every_alias(
    tmp_path: Path, folders: tuple[str, str, str]
) -> None:
    found = scan(split_layout(tmp_path, folders))
    assert tuple(found.labels) == ("cat", "dog")
    assert names(found) == {
        split: [
            f"{folder}/{file}"
            for file in ("cat/000.png", "cat/001.png", "dog/000.png", "dog/001.png")
        ]
        for split, folder in zip(SPLITS, folders, strict=True)
    }
    assert [example.target for example in found.splits["test"]] == [0, 0, 1, 1]
    assert (len(found), found.divided, found.unreadable) == (12, (), ())


def test_every_alias_is_tried_above() -> None:
    assert sum(map(len, dataset.SPLITS.values())) == 10


def test_two_folders_that_mean_one_split_are_one_split(tmp_path: Path) -> None:
    found = scan(split_layout(tmp_path, ("train", "training_set", "val", "test")))
    assert {split: len(examples) for split, examples in found.splits.items()} == {
        "train": 8,
        "validation": 4,
        "test": 4,
    }


def test_counts_name_every_label(tmp_path: Path) -> None:
    fill(tmp_path, {"train/cat": 3, "train/dog": 1, "val/dog": 2, "test/cat": 1})
    found = scan(tmp_path)
    assert found.counts("train") == {"cat": 3, "dog": 1}
    assert found.counts("validation") == {"cat": 0, "dog": 2}
    assert found.counts("test") == {"cat": 1, "dog": 0}


def test_a_label_of_any_split_is_a_label(tmp_path: Path) -> None:
    fill(tmp_path, {"train/cat": 1, "train/dog": 1, "val/cat": 1, "test/emu": 1})
    assert tuple(scan(tmp_path).labels) == ("cat", "dog", "emu")


def test_images_in_nested_folders_belong_to_the_label_above(tmp_path: Path) -> None:
    split_layout(tmp_path)
    draw(tmp_path / "train" / "cat" / "2024" / "may" / "deep.png", 99)
    found = scan(tmp_path)
    assert found.counts("train") == {"cat": 3, "dog": 2}
    assert "train/cat/2024/may/deep.png" in names(found)["train"]


def test_what_is_hidden_is_ignored(tmp_path: Path) -> None:
    before = scan(split_layout(tmp_path)).fingerprint
    for number, hidden in enumerate(
        [
            "train/cat/.hidden.png",
            "train/cat/._000.png",
            "train/cat/.ipynb_checkpoints/000-checkpoint.png",
            "train/cat/deep/.cache/very/000.png",
            "train/.git/000.png",
            ".git/cat/000.png",
        ]
    ):
        draw(tmp_path / hidden, 100 + number)
    (tmp_path / "train" / "cat" / ".DS_Store").write_bytes(b"\0")
    found = scan(tmp_path)
    assert (found.fingerprint, found.unreadable) == (before, ())


def test_a_root_below_a_hidden_folder_is_not_hidden(tmp_path: Path) -> None:
    assert len(scan(split_layout(tmp_path / ".data" / "pets"))) == 12


def test_files_beside_the_folders_are_ignored(tmp_path: Path) -> None:
    split_layout(tmp_path)
    (tmp_path / "README.txt").write_text("about")
    draw(tmp_path / "train" / "stray.png", 99)
    found = scan(tmp_path)
    assert (len(found), found.unreadable) == (12, ())


def test_what_is_no_image_is_skipped_and_listed_with_its_reason(tmp_path: Path) -> None:
    split_layout(tmp_path)
    whole = draw(tmp_path / "train" / "cat" / "broken.png", 99).read_bytes()
    contents = {
        "broken.png": whole[: len(whole) // 2],
        "empty.jpg": b"",
        "notes.txt": b"not a picture at all",
        "scan.tif": b"II*\0" + bytes(20),
    }
    for name, content in contents.items():
        (tmp_path / "train" / "cat" / name).write_bytes(content)
    found = scan(tmp_path)
    assert len(found) == 12
    assert [item.path.name for item in found.unreadable] == sorted(contents)
    for item, reason in zip(
        found.unreadable, ("corrupt", "empty", "not an image", "TIFF is not"), strict=True
    ):
        assert item.path.parent == tmp_path / "train" / "cat"
        assert reason in item.reason


def test_a_file_too_large_for_an_image_is_listed_and_not_read(tmp_path: Path) -> None:
    split_layout(tmp_path)
    with (tmp_path / "train" / "cat" / "film.mp4").open("wb") as film:
        # A hole: it takes no room on the disk, and would take all of memory.
        film.truncate(2**40)
    (listed,) = scan(tmp_path).unreadable
    assert "1,099,511,627,776 bytes; at most" in listed.reason


def test_a_link_to_nothing_is_ignored(tmp_path: Path) -> None:
    split_layout(tmp_path)
    (tmp_path / "train" / "cat" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    assert len(scan(tmp_path)) == 12


def test_a_flat_layout_is_split_and_says_so(tmp_path: Path) -> None:
    found = scan(fill(tmp_path, {"cat": 40, "dog": 20}))
    assert found.divided == ("validation", "test")
    everything = [name for files in names(found).values() for name in files]
    assert sorted(everything) == sorted(
        path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.png")
    )


def test_a_split_by_seed_is_stratified(tmp_path: Path) -> None:
    found = scan(fill(tmp_path, {"cat": 40, "dog": 20, "emu": 3}))
    # 15 % of each label, and of the rest again; at least one, and never the last.
    assert found.counts("validation") == {"cat": 6, "dog": 3, "emu": 1}
    assert found.counts("test") == {"cat": 5, "dog": 3, "emu": 1}
    assert found.counts("train") == {"cat": 29, "dog": 14, "emu": 1}


def test_the_last_image_of_a_label_stays_to_be_trained(tmp_path: Path) -> None:
    found = scan(fill(tmp_path, {"cat": 10, "dog": 1}))
    assert found.counts("train")["dog"] == 1


def test_a_split_depends_on_the_seed_alone(tmp_path: Path) -> None:
    fill(tmp_path / "one", {"cat": 40, "dog": 20})
    shutil.copytree(tmp_path / "one", tmp_path / "other")
    one, same, other = (
        names(scan(tmp_path / folder, seed=seed))
        for folder, seed in (("one", 3), ("other", 3), ("one", 4))
    )
    assert one == same
    assert one["validation"] != other["validation"]
    assert one["test"] != other["test"]


def test_each_split_stays_in_the_order_of_the_paths(tmp_path: Path) -> None:
    for files in names(scan(fill(tmp_path, {"cat": 40, "dog": 20}), seed=1)).values():
        assert files == sorted(files)


@pytest.mark.parametrize("seed", range(5))
def test_equal_files_stay_on_one_side(tmp_path: Path, seed: int) -> None:
    fill(tmp_path, {"cat": 20, "dog": 20})
    for index in range(15):
        # Some within a label, some across labels.
        source = tmp_path / "cat" / f"{index:03}.png"
        shutil.copy(source, tmp_path / ("cat" if index % 2 else "dog") / f"copy-{index}.png")
    found = scan(tmp_path, seed=seed)
    sides = [{example.digest for example in examples} for examples in found.splits.values()]
    assert len(found) == 55
    assert sum(map(len, sides)) == len(set.union(*sides)) == 40


def test_only_the_split_without_a_folder_is_taken_from_the_training_images(tmp_path: Path) -> None:
    fill(tmp_path, {"train/cat": 20, "train/dog": 20, "test/cat": 5, "test/dog": 5})
    found = scan(tmp_path)
    assert found.divided == ("validation",)
    assert found.counts("train") == {"cat": 17, "dog": 17}
    assert found.counts("validation") == {"cat": 3, "dog": 3}
    assert all(name.startswith("test/") for name in names(found)["test"])
    assert all(name.startswith("train/") for name in names(found)["validation"])


@pytest.mark.parametrize("name", ["test", "train", "val"])
def test_a_class_with_the_name_of_a_split_is_a_class_among_others(
    tmp_path: Path, name: str
) -> None:
    found = scan(fill(tmp_path, {"plane": 5, "ship": 5, name: 5}))
    assert tuple(found.labels) == tuple(sorted(("plane", "ship", name)))
    assert len(found) == 15


def test_a_stray_folder_beside_a_training_folder_is_no_class(tmp_path: Path) -> None:
    split_layout(tmp_path)
    fill(tmp_path, {"notes/figures": 2}, first=90)
    assert len(scan(tmp_path)) == 12


def test_a_training_folder_without_labels_is_no_class_beside_other_splits(tmp_path: Path) -> None:
    fill(tmp_path, {"train": 2, "val/cat": 2, "val/dog": 2, "notes": 1})
    found = scan(tmp_path)
    assert tuple(found.labels) == ("cat", "dog")
    assert len(found) == 4


def test_a_copy_at_another_place_has_the_same_fingerprint(tmp_path: Path) -> None:
    split_layout(tmp_path / "one")
    shutil.copytree(tmp_path / "one", tmp_path / "far" / "away")
    (tmp_path / "far" / "away" / "train").rename(tmp_path / "far" / "away" / "training_set")
    one, other = scan(tmp_path / "one"), scan(tmp_path / "far" / "away")
    assert one.fingerprint == other.fingerprint
    assert len(one.fingerprint) == 64


def test_the_fingerprint_changes_with_a_byte_a_label_or_a_split(tmp_path: Path) -> None:
    split_layout(tmp_path)
    file = tmp_path / "train" / "cat" / "001.png"
    content = file.read_bytes()
    found = [scan(tmp_path).fingerprint]
    file.write_bytes(content + b"\0")
    found.append(scan(tmp_path).fingerprint)
    file.write_bytes(content)
    for place in ("train/dog/moved.png", "test/cat/moved.png"):
        moved = file.rename(tmp_path / place)
        found.append(scan(tmp_path).fingerprint)
        moved.rename(file)
    assert len(set(found)) == 4
    assert scan(tmp_path).fingerprint == found[0]


@pytest.mark.parametrize("place", ["train/dog/!.png", "val/emu/!.png"])
def test_the_fingerprint_sees_a_move_that_keeps_the_order_of_the_files(
    tmp_path: Path, place: str
) -> None:
    fill(tmp_path, {"train/cat": 2, "train/dog": 2, "train/emu": 2, "val/emu": 2, "test/cat": 1})
    before = scan(tmp_path)
    # From the end of one folder to the front of the next.
    source = "train/cat/001.png" if "dog" in place else "train/emu/001.png"
    (tmp_path / source).rename(tmp_path / place)
    after = scan(tmp_path)
    order, moved = (
        [example.digest for examples in found.splits.values() for example in examples]
        for found in (before, after)
    )
    assert order == moved
    assert before.fingerprint != after.fingerprint


def test_a_drawn_data_set_says_that_it_is_synthetic(tmp_path: Path) -> None:
    split_layout(tmp_path)
    assert not scan(tmp_path).is_synthetic
    (tmp_path / "SYNTHETIC.txt").write_text("drawn")
    assert scan(tmp_path).is_synthetic


def test_a_missing_folder_and_a_file_are_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for name in ("nowhere", "file"):
        with pytest.raises(DataError, match=f"{name}: no such folder"):
            scan(tmp_path / name)


@pytest.mark.parametrize("folders", [[], ["train", "test"], [".git"]])
def test_a_folder_without_classes_is_named_with_the_layouts(
    tmp_path: Path, folders: list[str]
) -> None:
    for folder in folders:
        # Images directly in a split: they have no label, and the splits are none.
        draw(tmp_path / folder / "picture.png", 1)
    with pytest.raises(DataError, match=r"no class folders; expected <split>/<label>/\* or <lab"):
        scan(tmp_path)


def test_a_single_class_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"at least two labels are needed, not \['cat'\]"):
        scan(fill(tmp_path, {"cat": 3}))


@pytest.mark.parametrize("count", [0, 2])
def test_folders_without_a_readable_image_are_refused(tmp_path: Path, count: int) -> None:
    for label in ("cat", "dog"):
        (tmp_path / label).mkdir()
        for index in range(count):
            (tmp_path / label / f"{index}.jpg").write_text("no image")
    with pytest.raises(DataError, match=f"no readable image in {2 * count} files"):
        scan(tmp_path)


def test_progress_counts_every_file_to_the_total(tmp_path: Path) -> None:
    split_layout(tmp_path)
    (tmp_path / "train" / "cat" / "broken.jpg").write_text("no image")
    calls: list[tuple[int, int]] = []
    scan(tmp_path, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(done, 13) for done in range(1, 14)]


def test_scan_split_reads_one_split_under_the_labels_of_a_model(tmp_path: Path) -> None:
    split_layout(tmp_path)
    (tmp_path / "test" / "dog" / "broken.jpg").write_text("no image")
    calls: list[tuple[int, int]] = []
    labels = Labels(("ant", "cat", "dog"))
    examples, unreadable = scan_split(
        tmp_path, "test", labels, lambda done, total: calls.append((done, total))
    )
    assert [(example.path.parent.name, example.target) for example in examples] == [
        ("cat", 1),
        ("cat", 1),
        ("dog", 2),
        ("dog", 2),
    ]
    assert [item.path.name for item in unreadable] == ["broken.jpg"]
    assert calls == [(done, 5) for done in range(1, 6)]


def test_scan_split_takes_a_flat_folder_for_the_split(tmp_path: Path) -> None:
    fill(tmp_path, {"cat": 3, "dog": 2})
    examples, _ = scan_split(tmp_path, "test", Labels(("cat", "dog")))
    assert Counter(example.target for example in examples) == {0: 3, 1: 2}


def test_scan_split_names_a_folder_that_is_no_label(tmp_path: Path) -> None:
    split_layout(tmp_path)
    with pytest.raises(DataError, match=r"train/dog: 'dog' is no label of the model.*ant, cat"):
        scan_split(tmp_path, "train", Labels(("ant", "cat")))


def test_scan_split_names_the_splits_there_are(tmp_path: Path) -> None:
    split_layout(tmp_path, ("train", "val"))
    with pytest.raises(DataError, match="no 'test' split; there are train, validation"):
        scan_split(tmp_path, "test", Labels(("cat", "dog")))


def test_scan_split_refuses_a_split_without_a_readable_image(tmp_path: Path) -> None:
    split_layout(tmp_path, ("train",))
    (tmp_path / "test" / "cat").mkdir(parents=True)
    with pytest.raises(DataError, match="no readable image in the 'test' split"):
        scan_split(tmp_path, "test", Labels(("cat", "dog")))


@pytest.mark.parametrize(
    ("batch_size", "sizes"), [(1, [1] * 8), (3, [3, 3, 2]), (8, [8]), (100, [8])]
)
def test_batches_keep_the_order_and_end_with_the_rest(
    tmp_path: Path, batch_size: int, sizes: list[int]
) -> None:
    found = scan(split_layout(tmp_path))
    # An order that is not that of the paths, to see that it is kept.
    examples = [*found.splits["validation"], *found.splits["train"]][::-1]
    made = list(dataset.batches(examples, 8, batch_size))
    assert [pixels.shape for pixels, _ in made] == [(size, 8, 8, 3) for size in sizes]
    assert all(pixels.dtype == np.uint8 and targets.dtype == np.int64 for pixels, targets in made)
    # Pictures are numbered in the order they are drawn, and their red says which.
    assert np.concatenate([pixels[:, 0, 0, 0] for pixels, _ in made]).tolist() == [
        3,
        2,
        1,
        0,
        7,
        6,
        5,
        4,
    ]
    assert np.concatenate([targets for _, targets in made]).tolist() == [
        example.target for example in examples
    ]


def test_no_examples_are_no_batches() -> None:
    assert list(dataset.batches([], 8, 4)) == []


@pytest.mark.parametrize("content", [None, b"no image any more"])
def test_batches_name_a_file_that_vanished_or_changed(
    tmp_path: Path, content: bytes | None
) -> None:
    examples = scan(split_layout(tmp_path)).splits["train"]
    victim = examples[2].path
    victim.unlink()
    if content:
        victim.write_bytes(content)
    made = dataset.batches(examples, 8, 2)
    assert next(made)[0].shape == (2, 8, 8, 3)
    with pytest.raises(ImageError) as raised:
        next(made)
    assert str(raised.value).startswith(f"{victim}: ")


def test_a_data_set_of_relative_paths_can_be_found_from_other_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    split_layout(tmp_path / "pets")
    monkeypatch.chdir(tmp_path)
    relative = scan(Path("pets"))
    found = relative.located()
    assert found.root == tmp_path / "pets"
    assert names(found) == names(relative)
    assert all(example.path.is_absolute() for example in found.examples)
    assert [example.digest for example in found.examples] == [
        example.digest for examples in relative.splits.values() for example in examples
    ]
    assert found.fingerprint == relative.fingerprint
