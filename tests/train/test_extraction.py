"""Rows by a pool of actors: the same as one process makes, and none is made twice."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cluster
from pintag import dataset, networks
from pintag.dataset import Example
from pintag.errors import ImageError, WeightsError
from train import extraction, features
from train.config import TrainConfig
from train.extraction import Extraction

pytestmark = [pytest.mark.ray, pytest.mark.keras]

CONFIG = TrainConfig.model_validate(
    {"backbone": {"name": "mobilenet", "alpha": 0.25, "weights": "none"}, "input_size": 32}
)
PIXELS = TrainConfig.model_validate({"backbone": {"name": "basic_cnn"}, "input_size": 32})

Folders = Mapping[Path, Sequence[Example]]


@pytest.fixture(scope="module", autouse=True)
def _ray() -> Iterator[None]:
    with cluster.connected():
        yield


@pytest.fixture(scope="module")
def splits(sample_dir: Path) -> Mapping[str, tuple[Example, ...]]:
    return dataset.scan(sample_dir).splits


def below(place: Path, splits: Mapping[str, Sequence[Example]]) -> Folders:
    return {place / split: examples for split, examples in splits.items()}


def rows(config: TrainConfig, folders: Folders, **options: Any) -> Any:
    found = extraction.extract(Extraction(config, 8), folders, **options)
    return found.take(np.arange(len(found)))


def test_features_are_those_of_one_process(
    splits: Mapping[str, tuple[Example, ...]], tmp_path: Path
) -> None:
    import keras

    keras.utils.set_random_seed(CONFIG.seed)
    transform = features.extractor(networks.build_backbone(CONFIG.network_spec(8)))
    for split, examples in splits.items():
        features.compute(tmp_path / "one" / split, examples, 32, transform)
    alone = features.Rows({tmp_path / "one" / split: len(each) for split, each in splits.items()})
    found = rows(CONFIG, below(tmp_path / "pool", splits))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, alone.take(np.arange(len(alone))), rtol=1e-5, atol=1e-6)


def test_without_a_backbone_they_are_the_decoded_pixels(
    splits: Mapping[str, tuple[Example, ...]], tmp_path: Path
) -> None:
    few = {"test": splits["test"][:40]}
    told: list[tuple[float, int]] = []
    found = rows(PIXELS, below(tmp_path, few), progress=lambda *each: told.append(each))
    ((pixels, _),) = dataset.batches(few["test"], 32, 40)
    np.testing.assert_array_equal(found, pixels)
    assert told[-1] == (40, 40)


def test_what_is_on_disk_is_not_made_again(
    splits: Mapping[str, tuple[Example, ...]], tmp_path: Path
) -> None:
    few = {split: examples[:20] for split, examples in splits.items()}
    whole = rows(PIXELS, below(tmp_path, few))
    shutil.rmtree(tmp_path / "test")
    told: list[tuple[float, int]] = []
    again = rows(PIXELS, below(tmp_path, few), progress=lambda *each: told.append(each))
    np.testing.assert_array_equal(again, whole)
    assert told == [(60, 60)]
    told.clear()
    rows(PIXELS, below(tmp_path, few), progress=lambda *each: told.append(each))
    assert told == []


def test_an_image_that_is_gone_is_named(tmp_path: Path) -> None:
    gone = Example(tmp_path / "gone.jpg", 0, "")
    with pytest.raises(ImageError, match=r"gone\.jpg"):
        rows(PIXELS, {tmp_path / "rows": [gone]})


def test_weights_that_are_not_there_are_named(
    splits: Mapping[str, tuple[Example, ...]], tmp_path: Path
) -> None:
    missing = CONFIG.backbone.model_copy(update={"weights": str(tmp_path / "none.h5")})
    config = CONFIG.model_copy(update={"backbone": missing})
    with pytest.raises(WeightsError, match=r"none\.h5"):
        rows(config, {tmp_path / "rows": splits["test"][:3]})


@pytest.mark.parametrize(
    ("config", "title"), [(CONFIG, "mobilenet 0.25 at 32"), (PIXELS, "pixels at 32")]
)
def test_it_is_called_by_what_it_is(config: TrainConfig, title: str) -> None:
    assert Extraction(config, 8).title == title
