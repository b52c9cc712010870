"""Read one split of a data set, and decode examples in batches."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pintag.core.errors import DataError, DecodingError, ImageError
from pintag.data import dataset
from pintag.data.dataset import is_flat, scan, scan_split
from pintag.data.labels import Labels
from tests.pintag.data.folders import fill, names, split_layout
from tests.pintag.images.hostile import limit_decoding, slow_jpeg


def test_scan_split_uses_the_labels_of_the_model(tmp_path: Path) -> None:
    split_layout(tmp_path)
    (tmp_path / "test" / "dog" / "broken.jpg").write_text("no image")
    calls: list[tuple[int, int]] = []
    labels = Labels(("ant", "cat", "dog"))
    result = scan_split(tmp_path, "test", labels, lambda done, total: calls.append((done, total)))
    assert [(example.path.parent.name, example.target) for example in result.examples] == [
        ("cat", 1),
        ("cat", 1),
        ("dog", 2),
        ("dog", 2),
    ]
    assert [item.path.name for item in result.unreadable] == ["broken.jpg"]
    assert calls == [(done, 5) for done in range(1, 6)]


def test_scan_split_reads_a_flat_folder(tmp_path: Path) -> None:
    fill(tmp_path, {"cat": 3, "dog": 2})
    examples = scan_split(tmp_path, "test", Labels(("cat", "dog"))).examples
    assert Counter(example.target for example in examples) == {0: 3, 1: 2}


def test_a_folder_of_labels_is_flat_and_a_folder_of_splits_is_not(tmp_path: Path) -> None:
    fill(tmp_path / "test", {"cat": 3, "dog": 2})
    assert is_flat(tmp_path / "test")
    assert not is_flat(tmp_path)


def test_scan_split_reports_an_unknown_label(tmp_path: Path) -> None:
    split_layout(tmp_path)
    with pytest.raises(DataError, match=r"train/dog: 'dog' is not a label of the model.*ant, cat"):
        scan_split(tmp_path, "train", Labels(("ant", "cat")))


def test_scan_split_lists_the_splits(tmp_path: Path) -> None:
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
def test_batches_keep_the_order_and_the_last_is_smaller(
    tmp_path: Path, batch_size: int, sizes: list[int]
) -> None:
    result = scan(split_layout(tmp_path))
    # This order differs from that of the paths, and it must be kept.
    examples = [*result.splits["validation"], *result.splits["train"]][::-1]
    created = list(dataset.batches(examples, 8, batch_size))
    assert [pixels.shape for pixels, _ in created] == [(size, 8, 8, 3) for size in sizes]
    assert all(
        pixels.dtype == np.uint8 and targets.dtype == np.int64 for pixels, targets in created
    )
    # Pictures are numbered in the order of drawing, and their red value is the number.
    assert np.concatenate([pixels[:, 0, 0, 0] for pixels, _ in created]).tolist() == [
        3,
        2,
        1,
        0,
        7,
        6,
        5,
        4,
    ]
    assert np.concatenate([targets for _, targets in created]).tolist() == [
        example.target for example in examples
    ]


def test_no_examples_give_no_batches() -> None:
    assert list(dataset.batches([], 8, 4)) == []


@pytest.mark.parametrize("content", [None, b"no image any more"])
def test_batches_report_a_file_that_changed(tmp_path: Path, content: bytes | None) -> None:
    examples = scan(split_layout(tmp_path)).splits["train"]
    victim = examples[2].path
    victim.unlink()
    if content:
        victim.write_bytes(content)
    created = dataset.batches(examples, 8, 2)
    assert next(created)[0].shape == (2, 8, 8, 3)
    with pytest.raises(ImageError) as raised:
        next(created)
    assert str(raised.value).startswith(f"{victim}: ")


def test_absolute_paths_work_from_other_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    split_layout(tmp_path / "pets")
    monkeypatch.chdir(tmp_path)
    relative = scan(Path("pets"))
    result = relative.with_absolute_paths()
    assert result.root == tmp_path / "pets"
    assert names(result) == names(relative)
    assert all(example.path.is_absolute() for example in result.examples)
    assert [example.digest for example in result.examples] == [
        example.digest for examples in relative.splits.values() for example in examples
    ]
    assert result.fingerprint == relative.fingerprint


def test_a_file_that_takes_too_long_to_decode_ends_by_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scan lists it; a fit, which reads what was scanned, names it."""
    limit_decoding(monkeypatch)
    examples = scan(split_layout(tmp_path)).splits["train"]
    slow = tmp_path / "train" / "cat" / "slow.jpg"
    slow.write_bytes(slow_jpeg())

    for result in (scan(tmp_path), scan_split(tmp_path, "train", Labels(("cat", "dog")))):
        (unreadable,) = result.unreadable
        assert unreadable.path == slow
        assert "takes more than 0.1 s to decode" in unreadable.reason
    changed = [replace(examples[0], path=slow), *examples]
    with pytest.raises(DecodingError, match=rf"^{slow}: .* takes more than 0\.1 s to decode"):
        next(dataset.batches(changed, 8, 2))
