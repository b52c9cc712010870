"""Extraction by a pool of actors: equal to that of one process, and never repeated."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pintag.core.errors import ImageError, WeightsError
from pintag.data import dataset
from pintag.data.dataset import Example
from pintag.models import networks
from pintag.train.config import TrainConfig
from pintag.train.fit import features
from pintag.train.study import extraction
from pintag.train.study.extraction import Extraction

pytestmark = [pytest.mark.ray, pytest.mark.keras]

CONFIG = TrainConfig.model_validate(
    {"backbone": {"name": "mobilenet", "alpha": 0.25, "weights": "none"}, "input_size": 32}
)
PIXELS = TrainConfig.model_validate({"backbone": {"name": "basic_cnn"}, "input_size": 32})

Folders = Mapping[Path, Sequence[Example]]


@pytest.fixture(scope="module", autouse=True)
def _cluster(ray_cluster: None) -> None:
    """All tests need Ray."""


@pytest.fixture(scope="module")
def splits(sample_dir: Path) -> Mapping[str, tuple[Example, ...]]:
    return dataset.scan(sample_dir).splits


def folders_in(parent: Path, splits: Mapping[str, Sequence[Example]]) -> Folders:
    return {parent / split: examples for split, examples in splits.items()}


def rows(config: TrainConfig, folders: Folders, **options: Any) -> Any:
    stored = extraction.extract(Extraction(config, 8), folders, **options)
    return stored.take(np.arange(len(stored)))


def test_features_equal_those_of_one_process(
    splits: Mapping[str, tuple[Example, ...]], tmp_path: Path
) -> None:
    import keras

    keras.utils.set_random_seed(CONFIG.seed)
    transform = features.extractor(networks.build_backbone(CONFIG.network_spec(8)))
    for split, examples in splits.items():
        features.compute(tmp_path / "one" / split, examples, 32, transform)
    expected = features.StoredRows(
        {tmp_path / "one" / split: len(examples) for split, examples in splits.items()}
    )
    pooled = rows(CONFIG, folders_in(tmp_path / "pool", splits))
    assert pooled.dtype == np.float32
    np.testing.assert_allclose(
        pooled, expected.take(np.arange(len(expected))), rtol=1e-5, atol=1e-6
    )


def test_without_a_backbone_rows_are_the_decoded_pixels(
    splits: Mapping[str, tuple[Example, ...]], tmp_path: Path
) -> None:
    few = {"test": splits["test"][:40]}
    reported: list[tuple[float, int]] = []
    decoded = rows(
        PIXELS, folders_in(tmp_path, few), progress=lambda *counts: reported.append(counts)
    )
    ((pixels, _),) = dataset.batches(few["test"], 32, 40)
    np.testing.assert_array_equal(decoded, pixels)
    assert reported[-1] == (40, 40)


def test_cached_rows_are_not_computed_again(
    splits: Mapping[str, tuple[Example, ...]], tmp_path: Path
) -> None:
    few = {split: examples[:20] for split, examples in splits.items()}
    whole = rows(PIXELS, folders_in(tmp_path, few))
    shutil.rmtree(tmp_path / "test")
    reported: list[tuple[float, int]] = []
    again = rows(
        PIXELS, folders_in(tmp_path, few), progress=lambda *counts: reported.append(counts)
    )
    np.testing.assert_array_equal(again, whole)
    assert reported == [(60, 60)]
    reported.clear()
    rows(PIXELS, folders_in(tmp_path, few), progress=lambda *counts: reported.append(counts))
    assert reported == []


def test_a_missing_image_is_named(tmp_path: Path) -> None:
    gone = Example(tmp_path / "gone.jpg", 0, "")
    with pytest.raises(ImageError, match=r"gone\.jpg"):
        rows(PIXELS, {tmp_path / "rows": [gone]})


def test_missing_weights_are_named(
    splits: Mapping[str, tuple[Example, ...]], tmp_path: Path
) -> None:
    missing = CONFIG.backbone.model_copy(update={"weights": str(tmp_path / "none.h5")})
    config = CONFIG.model_copy(update={"backbone": missing})
    with pytest.raises(WeightsError, match=r"none\.h5"):
        rows(config, {tmp_path / "rows": splits["test"][:3]})


@pytest.mark.parametrize(
    ("config", "title"), [(CONFIG, "mobilenet 0.25 at 32"), (PIXELS, "pixels at 32")]
)
def test_the_title_names_backbone_and_size(config: TrainConfig, title: str) -> None:
    assert Extraction(config, 8).title == title
