"""Rows on disk: computed once, by any number of workers, whole or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from pintag.dataset import Example
from pintag.errors import ImageError, TrainingError
from train import features
from train.config import TrainConfig
from train.features import BLOCK, Rows

COUNT = BLOCK + 40


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> list[Example]:
    """More images than one block holds, each of one grey that tells its number."""
    root = tmp_path_factory.mktemp("images")
    made = []
    for number in range(COUNT):
        path = root / f"{number:04d}.png"
        Image.new("RGB", (2, 2), (number % 256, number // 256, 0)).save(path)
        made.append(Example(path, 0, str(number)))
    return made


def number_of(pixels: npt.NDArray[np.uint8], _: Sequence[str]) -> npt.NDArray[np.float32]:
    """The number of each image, read back from its first pixel: `float32[n,1]`."""
    corner = pixels[:, 0, 0].astype(np.float32)
    return corner[:, :1] + 256 * corner[:, 1:2]


def test_rows_lie_in_the_order_of_the_examples(examples: list[Example], tmp_path: Path) -> None:
    features.compute(tmp_path, examples, 32, number_of)
    rows = Rows({tmp_path: COUNT})
    assert len(rows) == COUNT
    assert rows.take(np.arange(COUNT))[:, 0].tolist() == list(range(COUNT))
    picked = np.array([COUNT - 1, 0, BLOCK, BLOCK - 1, 0])
    assert rows.take(picked)[:, 0].tolist() == picked.tolist()


def test_a_transform_is_told_whose_pixels_it_sees(examples: list[Example], tmp_path: Path) -> None:
    def told(pixels: npt.NDArray[np.uint8], digests: Sequence[str]) -> npt.NDArray[np.float32]:
        return np.array([[float(digest)] for digest in digests], np.float32)

    features.compute(tmp_path, examples, 32, told)
    assert Rows({tmp_path: COUNT}).take(np.arange(COUNT))[:, 0].tolist() == list(range(COUNT))


def test_workers_share_the_blocks(examples: list[Example], tmp_path: Path) -> None:
    seen: list[int] = []
    for rank in (0, 1):

        def transform(
            pixels: npt.NDArray[np.uint8], digests: Sequence[str], rank: int = rank
        ) -> npt.NDArray[np.float32]:
            seen.extend([rank] * len(pixels))
            return number_of(pixels, digests)

        features.compute(tmp_path, examples, 32, transform, rank=rank, world=2)
    assert seen == [0] * BLOCK + [1] * 40
    assert Rows({tmp_path: COUNT}).take(np.arange(COUNT))[:, 0].tolist() == list(range(COUNT))


def test_what_is_on_disk_is_not_computed_again(examples: list[Example], tmp_path: Path) -> None:
    features.compute(tmp_path, examples, 32, number_of, rank=0, world=2)

    def only_the_rest(
        pixels: npt.NDArray[np.uint8], digests: Sequence[str]
    ) -> npt.NDArray[np.float32]:
        numbers = number_of(pixels, digests)
        assert numbers.min() >= BLOCK
        return numbers

    reported: list[tuple[int, int]] = []
    features.compute(
        tmp_path, examples, 32, only_the_rest, progress=lambda *at: reported.append(at)
    )
    assert reported == [(COUNT, COUNT)]


def test_an_interrupted_block_leaves_no_file(examples: list[Example], tmp_path: Path) -> None:
    def interrupted(pixels: npt.NDArray[np.uint8], _: Sequence[str]) -> npt.NDArray[np.float32]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        features.compute(tmp_path, examples, 32, interrupted)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(TrainingError, match=r"block-000000\.npy is missing"):
        Rows({tmp_path: COUNT})


def test_a_damaged_block_is_named(examples: list[Example], tmp_path: Path) -> None:
    features.compute(tmp_path, examples, 32, number_of)
    (tmp_path / "block-000001.npy").write_bytes(b"not an array")
    with pytest.raises(TrainingError, match=r"block-000001\.npy is damaged"):
        Rows({tmp_path: COUNT})


def test_rows_of_another_number_are_refused(examples: list[Example], tmp_path: Path) -> None:
    features.compute(tmp_path, examples, 32, number_of)
    with pytest.raises(TrainingError, match="does not hold 290 rows"):
        Rows({tmp_path: 290})


def test_an_image_that_vanished_since_the_scan_is_named(tmp_path: Path) -> None:
    gone = Example(tmp_path / "gone.png", 0, "")
    with pytest.raises(ImageError, match=r"gone\.png"):
        features.compute(tmp_path / "rows", [gone], 32, number_of)


def test_keys_tell_apart_what_features_are_determined_by() -> None:
    config = TrainConfig()
    backbone = config.backbone
    others = [
        ("b", config, "imagenet", "float32"),
        ("a", config, "random-0", "float32"),
        ("a", config, "imagenet", "mixed_float16"),
        ("a", config.model_copy(update={"input_size": 224}), "imagenet", "float32"),
        *(
            ("a", config.model_copy(update={"backbone": each}), "imagenet", "float32")
            for each in (
                backbone.model_copy(update={"alpha": 0.5}),
                backbone.model_copy(update={"name": "vgg16"}),
            )
        ),
    ]
    key = features.key("a", config, "imagenet", "float32")
    assert key == features.key("a", TrainConfig(seed=3), "imagenet", "float32")
    assert len({key, *(features.key(*each) for each in others)}) == 7


def test_features_of_views_are_also_those_of_a_seed_and_a_number_of_views() -> None:
    asked = [(TrainConfig(), 0), (TrainConfig(), 4), (TrainConfig(), 8), (TrainConfig(seed=3), 8)]
    keys = {features.key("a", config, "imagenet", "float32", views) for config, views in asked}
    assert len(keys) == 4


def test_pixels_are_those_of_a_data_set_at_a_size() -> None:
    keys = {features.pixels_key(*each) for each in (("a", 56), ("b", 56), ("a", 32))}
    assert len(keys) == 3


def test_weights_are_told_apart_by_their_content(tmp_path: Path) -> None:
    def digest(weights: str, seed: int = 0) -> str:
        return features.weights_digest(TrainConfig(backbone={"weights": weights}, seed=seed))  # type: ignore[arg-type]

    for name, content in (("a.h5", b"1"), ("b.h5", b"1"), ("c.h5", b"2")):
        (tmp_path / name).write_bytes(content)
    a, b, c = (digest(str(tmp_path / name)) for name in ("a.h5", "b.h5", "c.h5"))
    assert a == b != c
    assert digest("imagenet") == digest("imagenet", seed=1)
    # Random weights are those of a seed.
    assert digest("none") != digest("none", seed=1)


def test_rows_of_several_folders_are_one_after_another(
    examples: list[Example], tmp_path: Path
) -> None:
    parts = {tmp_path / "a": examples[: BLOCK + 5], tmp_path / "b": examples[BLOCK + 5 :]}
    for folder, each in parts.items():
        features.compute(folder, each, 32, number_of)
    rows = Rows({folder: len(each) for folder, each in parts.items()})
    picked = np.array([COUNT - 1, 0, BLOCK + 5, BLOCK + 4, BLOCK])
    assert rows.take(picked)[:, 0].tolist() == picked.tolist()
