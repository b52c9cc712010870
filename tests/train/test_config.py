"""Training configurations: the files in configs/train, and errors of wrong keys and values."""

from __future__ import annotations

from pathlib import Path

import pytest

from pintag.core import config
from pintag.core.errors import ConfigError
from pintag.train.config import TrainConfig
from tests.conftest import CONFIGS


@pytest.mark.parametrize("path", sorted((CONFIGS / "train").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_file_in_configs_is_valid_and_leaves_the_name_to_the_folder(path: Path) -> None:
    loaded = config.load(TrainConfig, path)
    assert loaded.name is None
    assert path.stem in (loaded.backbone.name, "recommended", "sample")


@pytest.mark.parametrize(
    ("name", "widths", "batch_size", "learning_rate"),
    [
        ("mobilenet", (512, 256, 128, 64), 32, 1e-4),
        ("vgg16", (256, 128, 64), 16, 1e-3),
        ("resnet50", (256, 128, 64), 16, 1e-3),
        ("inception_v3", (256, 128, 64), 16, 1e-4),
    ],
)
def test_the_files_have_the_best_settings_of_the_study(
    name: str, widths: tuple[int, ...], batch_size: int, learning_rate: float
) -> None:
    head = config.load(TrainConfig, CONFIGS / f"train/{name}.yaml").head
    assert (head.widths, head.batch_size, head.learning_rate) == (widths, batch_size, learning_rate)
    assert head.epochs == 20


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        ("head.batchsize=3", "head.batch_size"),
        ("backbone.name=alexnet", "mobilenet, vgg16, resnet50, inception_v3, basic_cnn"),
        ("head.epochs=0", "head.epochs"),
        ("head.widths=[]=", "head.widths"),
        ("scaling.use_gpu=maybe", "scaling.use_gpu"),
        ("seed=-1", "seed"),
        ("seed=4294967296", "seed"),
        ("scaling.num_workers=17", "scaling.num_workers is 17, but head.batch_size is 16"),
        ("input_size=32 ", "inception_v3 needs an input size of at least 75"),
        ("colour=red", "colour"),
        ("head.views=65", "head.views"),
        ("fine_tune.schedule=linear", "fine_tune.schedule"),
    ],
)
def test_a_wrong_key_or_value_is_named(override: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint.replace(".", r"\.")):
        config.load(TrainConfig, CONFIGS / "train/inception_v3.yaml", [override])


def test_default_widths_are_those_of_the_study() -> None:
    spec = TrainConfig().network_spec(num_labels=8)
    assert spec.widths == (512, 256, 128, 64)
    assert spec.num_labels == 8


def test_a_head_may_be_a_single_layer() -> None:
    single = config.load(TrainConfig, None, ["head.widths=[]"])
    assert single.network_spec(num_labels=8).widths == ()


def test_a_cosine_schedule_excludes_early_stopping() -> None:
    with pytest.raises(ConfigError, match="early_stopping would end a cosine schedule too early"):
        config.load(TrainConfig, None, ["head.schedule=cosine", "head.early_stopping=3"])


def test_a_cosine_schedule_ends_with_the_last_step() -> None:
    head = config.load(TrainConfig, None, ["head.schedule=cosine", "head.epochs=7"]).head
    assert (head.decay_steps(12), head.keeps_last) == (84, True)
    assert (TrainConfig().head.decay_steps(12), TrainConfig().head.keeps_last) == (None, False)
