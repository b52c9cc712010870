"""Plans: a configuration says what is compared, and every mistake in it is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pintag import config
from pintag.errors import ConfigError
from tests.conftest import CONFIGS
from train import plan
from train.config import SvmConfig, TrainConfig
from train.plan import Candidate, StudyConfig


def model(name: str, **train: Any) -> dict[str, Any]:
    return {"name": name, "train": {"backbone": {"name": "mobilenet", "weights": "none"}} | train}


def candidates(*models: dict[str, Any], **others: Any) -> dict[str, Candidate]:
    found = config.parse(StudyConfig, {"models": list(models), **others})
    return {each.name: each for each in plan.candidates(found)}


def test_a_grid_is_tried_each_with_each() -> None:
    grid = {"batch_size": [16, 32], "learning_rate": [1e-3, 1e-4]}
    found = candidates(model("m", head={"epochs": 7}) | {"grid": grid})["m"]
    assert [tuple(each.values()) for each in found.settings] == [
        (16, 1e-3),
        (16, 1e-4),
        (32, 1e-3),
        (32, 1e-4),
    ]
    for settings, learner in zip(found.settings, found.learners, strict=True):
        assert isinstance(learner, TrainConfig)
        assert learner.head.batch_size == settings["batch_size"]
        assert learner.head.learning_rate == settings["learning_rate"]
        assert (learner.head.epochs, learner.name) == (7, "m")


def test_without_a_grid_a_model_is_tried_as_it_is() -> None:
    found = candidates(model("m", head={"batch_size": 8, "learning_rate": 0.5}))["m"]
    assert found.settings == ({"batch_size": 8, "learning_rate": 0.5},)


def test_the_svm_comes_first_unless_it_is_not_wanted() -> None:
    settings = [{"C": 1, "gamma": 0.1}, {"C": 2, "gamma": 0.01}]
    found = candidates(model("m"), svm={"settings": settings})
    assert list(found) == ["svm", "m"]
    assert found["svm"].settings == tuple(settings)
    assert all(isinstance(learner, SvmConfig) for learner in found["svm"].learners)
    assert list(candidates(model("m"), svm={"enabled": False})) == ["m"]


@pytest.mark.parametrize(
    ("train", "family"),
    [
        ({}, "transfer"),
        ({"fine_tune": {"epochs": 2}}, "fine_tuned"),
        ({"backbone": {"name": "basic_cnn"}}, "network"),
        ({"backbone": {"name": "basic_ann"}}, "network"),
    ],
)
def test_a_model_is_of_a_family(train: dict[str, Any], family: str) -> None:
    assert candidates(model("m", **train))["m"].family == family


def test_random_weights_are_said_to_be_random() -> None:
    assert "weights are random" in candidates(model("m"))["m"].note
    named = model("m", backbone={"name": "mobilenet", "weights": "imagenet"}) | {"note": "Ours."}
    assert candidates(named)["m"].note == "Ours."
    assert candidates(model("m", backbone={"name": "basic_cnn"}))["m"].note == ""


def test_weights_are_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = candidates(model("m", backbone={"name": "mobilenet", "weights": "w.h5"}))["m"]
    (learner,) = found.learners
    assert isinstance(learner, TrainConfig)
    assert learner.backbone.weights == str(tmp_path / "w.h5")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"models": []}, "'models'"),
        ({"models": [model("m"), model("m")]}, "the name 'm' is taken twice"),
        ({"models": [model("svm")]}, "the name 'svm' is taken twice"),
        ({"models": [model("m")], "cross_validation": {"folds": 2}}, "0, or 3 at least"),
        ({"models": [model("m")], "svm": {"settings": []}}, "'svm.settings'"),
        ({"models": [model("m")], "latency": 1}, "unknown key 'latency'"),
        ({"models": [model("m") | {"grids": {}}]}, "grid"),
        (
            {"models": [model("m", fine_tune={"epochs": 1}) | {"grid": {"batch_size": [1]}}]},
            "has no grid",
        ),
    ],
)
def test_a_mistake_is_named(content: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        config.parse(StudyConfig, content)


@pytest.mark.parametrize("path", sorted((CONFIGS / "study").glob("*.yaml")), ids=lambda p: p.stem)
def test_the_configurations_that_come_with_it_are_right(path: Path) -> None:
    found = config.load(StudyConfig, path)
    assert plan.candidates(found)
    assert f"pintag study configs/study/{path.name}" in path.read_text()


@pytest.mark.parametrize("name", ["pins", "offline"])
def test_a_study_compares_the_recommended_experiment_as_it_is(name: str) -> None:
    recommended = config.load(TrainConfig, CONFIGS / "train/recommended.yaml")
    found = config.load(StudyConfig, CONFIGS / f"study/{name}.yaml")
    (tuned,) = (each.train for each in found.models if each.train.fine_tune.epochs)
    own = {"name": recommended.name, "backbone": recommended.backbone}
    assert tuned.model_copy(update=own) == recommended
    assert tuned.backbone.alpha == recommended.backbone.alpha
