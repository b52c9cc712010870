"""The synthetic data set: layout, determinism, notice, colours that do not predict the class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from pintag.core.errors import DataError
from pintag.data import figures, sample
from pintag.data.labels import DEFAULT_NAMES


def _contents(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file()
    }


def _statistics(count: int, split: str) -> npt.NDArray[np.float64]:
    """float[label,count,6]: mean and standard deviation of each channel of fresh drawings."""
    seeds = np.random.SeedSequence([len(split)]).generate_state(len(DEFAULT_NAMES) * count)
    rows = []
    for number, seed in enumerate(seeds):
        label = DEFAULT_NAMES[number // count]
        pixels = np.asarray(figures.draw(label, np.random.default_rng(int(seed)), 48), float)
        rows.append(np.concatenate([pixels.mean((0, 1)), pixels.std((0, 1))]))
    return np.reshape(rows, (len(DEFAULT_NAMES), count, 6))


@pytest.mark.parametrize("label", DEFAULT_NAMES)
def test_every_default_label_has_a_figure(label: str) -> None:
    image = figures.draw(label, np.random.default_rng(1), 40)
    assert (image.mode, image.size) == ("RGB", (40, 40))
    # Neither empty nor one flat colour.
    assert np.asarray(image).std() > 10


def test_a_label_without_a_figure_is_reported() -> None:
    with pytest.raises(DataError, match=r"'ships'.*animals"):
        figures.draw("ships", np.random.default_rng(0))


def test_layout_and_counts(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    counts = {"train": 2, "validation": 1, "test": 0}
    written = sample.write(
        tmp_path / "deep" / "data",
        counts=counts,
        size=32,
        progress=lambda done, total: calls.append((done, total)),
    )
    files = _contents(tmp_path / "deep" / "data")
    assert written == 24
    assert calls == [(done, 24) for done in range(1, 25)]
    assert set(files) == {"SYNTHETIC.txt"} | {
        f"{split}/{label}/{label}-{index:04}.jpg"
        for split, count in counts.items()
        for label in DEFAULT_NAMES
        for index in range(1, count + 1)
    }
    with Image.open(tmp_path / "deep/data/train/art/art-0002.jpg") as image:
        assert (image.format, image.size) == ("JPEG", (32, 32))


def test_the_default_is_720_images() -> None:
    assert len(DEFAULT_NAMES) * sum(sample.COUNTS.values()) == 720


def test_equal_seeds_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("one", "other"):
        sample.write(tmp_path / name, seed=3, counts={"train": 2}, size=32)
    assert _contents(tmp_path / "one") == _contents(tmp_path / "other")


def test_another_seed_gives_other_images(tmp_path: Path) -> None:
    for seed in (0, 1):
        sample.write(tmp_path / str(seed), seed=seed, counts={"train": 1, "test": 1}, size=32)
    pictures = [*_contents(tmp_path / "0").values(), *_contents(tmp_path / "1").values()]
    # The splits differ from each other, too: no image is used for both training and testing.
    assert len(set(pictures)) == len(pictures)


def test_a_larger_count_changes_no_earlier_image(tmp_path: Path) -> None:
    sample.write(tmp_path / "few", counts={"test": 1}, size=32)
    sample.write(tmp_path / "many", counts={"train": 1, "test": 3}, size=32)
    assert _contents(tmp_path / "few").items() <= _contents(tmp_path / "many").items()


def test_colours_do_not_predict_the_class() -> None:
    known, unknown = _statistics(30, "train"), _statistics(20, "test")
    spread = known.reshape(-1, 6).std(axis=0)
    distances = np.linalg.norm((unknown[:, :, None] - known.mean(axis=1)) / spread, axis=3)
    right = distances.argmin(axis=2) == np.arange(len(DEFAULT_NAMES))[:, None]
    assert right.mean() < 0.45


def test_a_notice_says_that_the_data_is_synthetic(tmp_path: Path) -> None:
    sample.write(tmp_path / "data", seed=17, counts={"train": 1}, size=32)
    notice = (tmp_path / "data" / "SYNTHETIC.txt").read_text(encoding="utf-8")
    for words in ("synthetic", "pintag data sample", "seed 17", "None is a photograph"):
        assert words in notice
    for path in (tmp_path / "data").rglob("*.jpg"):
        with Image.open(path) as image:
            assert image.info["comment"] == b"synthetic, drawn by pintag data sample"


def test_all_users_can_read_a_new_folder(tmp_path: Path) -> None:
    sample.write(tmp_path / "data", counts={"train": 1}, size=32)
    (tmp_path / "plain").mkdir()
    # Not the mode of a temporary folder, which other users cannot read.
    assert (tmp_path / "data").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_an_empty_working_directory_is_filled_and_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "data"
    root.mkdir()
    before = root.stat().st_ino
    monkeypatch.chdir(root)
    assert sample.write(Path(), counts={"train": 1}, size=32) == 8
    assert root.stat().st_ino == before
    assert len(_contents(root)) == 9
    assert list(tmp_path.iterdir()) == [root]


def test_a_folder_that_is_not_empty_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    for root in (tmp_path, tmp_path / "mine.txt"):
        with pytest.raises(DataError, match="not an empty folder; remove it or name another") as e:
            sample.write(root, counts={"train": 1}, size=32)
        assert str(root) in str(e.value)
    assert _contents(tmp_path) == {"mine.txt": b"keep"}


def test_a_path_below_a_file_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"file/data: cannot be written: .*name another folder"):
        sample.write(tmp_path / "file" / "data", counts={"train": 1}, size=32)


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(DataError, match="No space left"):
        sample.write(tmp_path / "data", counts={"train": 1}, size=32)
    assert not list(tmp_path.iterdir())


def test_an_interruption_leaves_nothing(tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        assert not (tmp_path / "data").exists()
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sample.write(tmp_path / "data", counts={"train": 1}, size=32, progress=interrupt)
    assert not list(tmp_path.iterdir())
