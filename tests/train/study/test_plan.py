"""Plans: the models and settings of a configuration, and errors that name wrong keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pintag.core import config
from pintag.core.errors import ConfigError
from pintag.train.config import SvmConfig, TrainConfig
from pintag.train.study import plan
from pintag.train.study.plan import ComparedModel, StudyConfig
from tests.conftest import CONFIGS


def model(name: str, **train: Any) -> dict[str, Any]:
    return {"name": name, "train": {"backbone": {"name": "mobilenet", "weights": "none"}} | train}


def compared(*models: dict[str, Any], **others: Any) -> dict[str, ComparedModel]:
    parsed = config.parse(StudyConfig, {"models": list(models), **others})
    return {model.name: model for model in plan.compared_models(parsed)}


def test_all_combinations_of_a_grid_are_tried() -> None:
    grid = {"batch_size": [16, 32], "learning_rate": [1e-3, 1e-4]}
    grid_model = compared(model("m", head={"epochs": 7}) | {"grid": grid})["m"]
    assert [tuple(settings.values()) for settings in grid_model.settings] == [
        (16, 1e-3),
        (16, 1e-4),
        (32, 1e-3),
        (32, 1e-4),
    ]
    for settings, learner in zip(grid_model.settings, grid_model.learners, strict=True):
        assert isinstance(learner, TrainConfig)
        assert learner.head.batch_size == settings["batch_size"]
        assert learner.head.learning_rate == settings["learning_rate"]
        assert (learner.head.epochs, learner.name) == (7, "m")


def test_without_a_grid_a_model_has_one_trial() -> None:
    single = compared(model("m", head={"batch_size": 8, "learning_rate": 0.5}))["m"]
    assert single.settings == ({"batch_size": 8, "learning_rate": 0.5},)


def test_the_svm_comes_first_unless_it_is_disabled() -> None:
    settings = [{"C": 1, "gamma": 0.1}, {"C": 2, "gamma": 0.01}]
    models = compared(model("m"), svm={"settings": settings})
    assert list(models) == ["svm", "m"]
    assert models["svm"].settings == tuple(settings)
    assert all(isinstance(learner, SvmConfig) for learner in models["svm"].learners)
    assert list(compared(model("m"), svm={"enabled": False})) == ["m"]


@pytest.mark.parametrize(
    ("train", "family"),
    [
        ({}, "transfer"),
        ({"fine_tune": {"epochs": 2}}, "fine_tuned"),
        ({"backbone": {"name": "basic_cnn"}}, "network"),
        ({"backbone": {"name": "basic_ann"}}, "network"),
    ],
)
def test_a_model_has_a_family(train: dict[str, Any], family: str) -> None:
    assert compared(model("m", **train))["m"].family == family


def test_a_note_warns_of_random_weights() -> None:
    assert "weights are random" in compared(model("m"))["m"].note
    named = model("m", backbone={"name": "mobilenet", "weights": "imagenet"}) | {"note": "Ours."}
    assert compared(named)["m"].note == "Ours."
    assert compared(model("m", backbone={"name": "basic_cnn"}))["m"].note == ""


def test_paths_of_weights_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    named = compared(model("m", backbone={"name": "mobilenet", "weights": "w.h5"}))["m"]
    (learner,) = named.learners
    assert isinstance(learner, TrainConfig)
    assert learner.backbone.weights == str(tmp_path / "w.h5")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"models": []}, "'models'"),
        ({"models": [model("m"), model("m")]}, "the name 'm' is used twice"),
        ({"models": [model("svm")]}, "the name 'svm' is used twice"),
        ({"models": [model("m")], "cross_validation": {"folds": 2}}, "give 0, or at least 3"),
        ({"models": [model("m")], "svm": {"settings": []}}, "'svm.settings'"),
        ({"models": [model("m")], "latency": 1}, "unknown key 'latency'"),
        ({"models": [model("m") | {"grids": {}}]}, "grid"),
        (
            {"models": [model("m", fine_tune={"epochs": 1}) | {"grid": {"batch_size": [1]}}]},
            "cannot have a grid",
        ),
    ],
)
def test_an_error_names_the_key(content: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config.parse(StudyConfig, content)


@pytest.mark.parametrize("path", sorted((CONFIGS / "study").glob("*.yaml")), ids=lambda p: p.stem)
def test_the_files_in_configs_are_valid(path: Path) -> None:
    assert plan.compared_models(config.load(StudyConfig, path))
    assert f"pintag study configs/study/{path.name}" in path.read_text()


@pytest.mark.parametrize("name", ["pins", "offline"])
def test_a_study_includes_the_recommended_configuration(name: str) -> None:
    recommended = config.load(TrainConfig, CONFIGS / "train/recommended.yaml")
    study = config.load(StudyConfig, CONFIGS / f"study/{name}.yaml")
    (tuned,) = (model.train for model in study.models if model.train.fine_tune.epochs)
    own = {"name": recommended.name, "backbone": recommended.backbone}
    assert tuned.model_copy(update=own) == recommended
    assert tuned.backbone.alpha == recommended.backbone.alpha
