"""Cached rows: computed once, by any number of workers, and written atomically."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from pintag.core.errors import ImageError, TrainingError
from pintag.data.dataset import Example
from pintag.train.config import TrainConfig
from pintag.train.fit import features
from pintag.train.fit.features import BLOCK, StoredRows

COUNT = BLOCK + 40


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> list[Example]:
    """More images than one block holds. The colour of each image encodes its number."""
    root = tmp_path_factory.mktemp("images")
    examples = []
    for number in range(COUNT):
        path = root / f"{number:04d}.png"
        Image.new("RGB", (2, 2), (number % 256, number // 256, 0)).save(path)
        examples.append(Example(path, 0, str(number)))
    return examples


def number_of(pixels: npt.NDArray[np.uint8], _: Sequence[str]) -> npt.NDArray[np.float32]:
    """The number of each image, read back from its first pixel: `float32[n,1]`."""
    corner = pixels[:, 0, 0].astype(np.float32)
    return corner[:, :1] + 256 * corner[:, 1:2]


def test_rows_have_the_order_of_the_examples(examples: list[Example], tmp_path: Path) -> None:
    features.compute(tmp_path, examples, 32, number_of)
    rows = StoredRows({tmp_path: COUNT})
    assert len(rows) == COUNT
    assert rows.take(np.arange(COUNT))[:, 0].tolist() == list(range(COUNT))
    picked = np.array([COUNT - 1, 0, BLOCK, BLOCK - 1, 0])
    assert rows.take(picked)[:, 0].tolist() == picked.tolist()


def test_a_transform_gets_the_digests_of_its_images(
    examples: list[Example], tmp_path: Path
) -> None:
    def read_digests(
        pixels: npt.NDArray[np.uint8], digests: Sequence[str]
    ) -> npt.NDArray[np.float32]:
        return np.array([[float(digest)] for digest in digests], np.float32)

    features.compute(tmp_path, examples, 32, read_digests)
    assert StoredRows({tmp_path: COUNT}).take(np.arange(COUNT))[:, 0].tolist() == list(range(COUNT))


def test_workers_divide_the_blocks(examples: list[Example], tmp_path: Path) -> None:
    seen: list[int] = []
    for rank in (0, 1):

        def transform(
            pixels: npt.NDArray[np.uint8], digests: Sequence[str], rank: int = rank
        ) -> npt.NDArray[np.float32]:
            seen.extend([rank] * len(pixels))
            return number_of(pixels, digests)

        features.compute(tmp_path, examples, 32, transform, rank=rank, world=2)
    assert seen == [0] * BLOCK + [1] * 40
    assert StoredRows({tmp_path: COUNT}).take(np.arange(COUNT))[:, 0].tolist() == list(range(COUNT))


def test_cached_blocks_are_not_computed_again(examples: list[Example], tmp_path: Path) -> None:
    features.compute(tmp_path, examples, 32, number_of, rank=0, world=2)

    def transform_missing(
        pixels: npt.NDArray[np.uint8], digests: Sequence[str]
    ) -> npt.NDArray[np.float32]:
        numbers = number_of(pixels, digests)
        assert numbers.min() >= BLOCK
        return numbers

    reported: list[tuple[int, int]] = []
    features.compute(
        tmp_path, examples, 32, transform_missing, progress=lambda *at: reported.append(at)
    )
    assert reported == [(COUNT, COUNT)]


def test_an_interrupted_block_leaves_no_file(examples: list[Example], tmp_path: Path) -> None:
    def interrupted(pixels: npt.NDArray[np.uint8], _: Sequence[str]) -> npt.NDArray[np.float32]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        features.compute(tmp_path, examples, 32, interrupted)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(TrainingError, match=r"block-000000\.npy is missing"):
        StoredRows({tmp_path: COUNT})


def test_a_damaged_block_is_named(examples: list[Example], tmp_path: Path) -> None:
    features.compute(tmp_path, examples, 32, number_of)
    (tmp_path / "block-000001.npy").write_bytes(b"not an array")
    with pytest.raises(TrainingError, match=r"block-000001\.npy is damaged"):
        StoredRows({tmp_path: COUNT})


def test_a_wrong_number_of_rows_is_refused(examples: list[Example], tmp_path: Path) -> None:
    features.compute(tmp_path, examples, 32, number_of)
    with pytest.raises(TrainingError, match="does not have 290 rows"):
        StoredRows({tmp_path: 290})


def test_an_image_that_vanished_since_the_scan_is_named(tmp_path: Path) -> None:
    gone = Example(tmp_path / "gone.png", 0, "")
    with pytest.raises(ImageError, match=r"gone\.png"):
        features.compute(tmp_path / "rows", [gone], 32, number_of)


def test_a_key_depends_on_everything_that_determines_features() -> None:
    config = TrainConfig()
    backbone = config.backbone
    others = [
        ("b", config, "imagenet", "float32"),
        ("a", config, "random-0", "float32"),
        ("a", config, "imagenet", "mixed_float16"),
        ("a", config.model_copy(update={"input_size": 224}), "imagenet", "float32"),
        *(
            ("a", config.model_copy(update={"backbone": changed}), "imagenet", "float32")
            for changed in (
                backbone.model_copy(update={"alpha": 0.5}),
                backbone.model_copy(update={"name": "vgg16"}),
            )
        ),
    ]
    key = features.key("a", config, "imagenet", "float32")
    assert key == features.key("a", TrainConfig(seed=3), "imagenet", "float32")
    assert len({key, *(features.key(*other) for other in others)}) == 7


def test_the_key_of_views_depends_on_seed_and_number_too() -> None:
    cases = [(TrainConfig(), 0), (TrainConfig(), 4), (TrainConfig(), 8), (TrainConfig(seed=3), 8)]
    keys = {features.key("a", config, "imagenet", "float32", views) for config, views in cases}
    assert len(keys) == 4


def test_the_key_of_pixels_depends_on_data_set_and_size() -> None:
    keys = {features.pixels_key(*case) for case in (("a", 56), ("b", 56), ("a", 32))}
    assert len(keys) == 3


def test_the_digest_of_weights_depends_on_their_content(tmp_path: Path) -> None:
    def digest(weights: str, seed: int = 0) -> str:
        return features.weights_digest(TrainConfig(backbone={"weights": weights}, seed=seed))  # type: ignore[arg-type]

    for name, content in (("a.h5", b"1"), ("b.h5", b"1"), ("c.h5", b"2")):
        (tmp_path / name).write_bytes(content)
    a, b, c = (digest(str(tmp_path / name)) for name in ("a.h5", "b.h5", "c.h5"))
    assert a == b != c
    assert digest("imagenet") == digest("imagenet", seed=1)
    # Random weights depend on the seed.
    assert digest("none") != digest("none", seed=1)


def test_rows_of_several_folders_form_one_array(examples: list[Example], tmp_path: Path) -> None:
    parts = {tmp_path / "a": examples[: BLOCK + 5], tmp_path / "b": examples[BLOCK + 5 :]}
    for folder, part in parts.items():
        features.compute(folder, part, 32, number_of)
    rows = StoredRows({folder: len(part) for folder, part in parts.items()})
    picked = np.array([COUNT - 1, 0, BLOCK + 5, BLOCK + 4, BLOCK])
    assert rows.take(picked)[:, 0].tolist() == picked.tolist()
