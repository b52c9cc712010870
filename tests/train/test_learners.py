"""Learners: what they have seen they know, and equal tasks have equal outcomes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pintag import networks
from train import learners
from train.config import SvmConfig, TrainConfig
from train.learners import Task

pytestmark = [pytest.mark.keras, pytest.mark.ray]

LABELS = 3


def task(rows: Any, targets: Any) -> Task:
    """Half to learn from, a quarter to watch, a quarter to be tested on."""
    places = np.random.default_rng(0).permutation(len(targets))
    half, quarter = len(targets) // 2, 3 * len(targets) // 4
    return Task(rows, targets, LABELS, places[:half], places[half:quarter], places[quarter:])


@pytest.fixture(scope="module")
def pictures() -> Task:
    """`uint8[48,32,32,3]`: each label has a third of the picture light."""
    random = np.random.default_rng(0)
    targets = np.arange(48) % LABELS
    pixels = random.integers(0, 60, (48, 32, 32, 3), np.uint8)
    for row, target in enumerate(targets):
        pixels[row, :, 10 * target : 10 * target + 12] += 150
    return task(pixels, targets)


@pytest.fixture(scope="module")
def features() -> Task:
    """`float32[96,8]`: a cloud for each label."""
    random = np.random.default_rng(0)
    targets = np.arange(96) % LABELS
    centres = random.normal(size=(LABELS, 8))
    rows = centres[targets] + 0.2 * random.normal(size=(96, 8))
    return task(rows.astype(np.float32), targets)


def head(epochs: int = 12, **settings: Any) -> TrainConfig:
    """A head on features, of no backbone that is ever built."""
    return TrainConfig.model_validate(
        {
            "backbone": {"name": "mobilenet", "weights": "none"},
            "head": {"widths": [16], "learning_rate": 0.01, "batch_size": 8, "epochs": epochs}
            | settings,
        }
    )


def right(logits: Any, targets: Any) -> float:
    return float((logits.argmax(axis=1) == targets).mean())


# Support vector machines


def test_an_svm_learns_what_pictures_have_in_common(pictures: Task) -> None:
    made = learners.fit_svm(SvmConfig(C=2, gamma=0.01), pictures)
    assert made.training_accuracy == 1
    assert right(made.test, pictures.targets[pictures.test]) == 1
    assert right(made.validation, pictures.targets[pictures.validation]) == 1
    assert made.validation.shape == (12, LABELS)
    assert (made.validation.dtype, made.history) == (np.float32, ())
    assert made.parameters % (32 * 32) == 0


def test_an_svm_of_two_labels_says_nothing_of_a_third(pictures: Task) -> None:
    two = np.flatnonzero(pictures.targets[pictures.train] != 1)
    some = Task(
        pictures.rows, pictures.targets, LABELS, pictures.train[two], pictures.train, pictures.test
    )
    made = learners.fit_svm(SvmConfig(), some)
    assert set(made.validation.argmax(axis=1)) == {0, 2}
    assert np.isfinite(made.validation).all()


def test_an_svm_sees_grey_by_its_lightness() -> None:
    """Green is lighter than blue, whose numbers are the same."""
    pixels = np.zeros((2, 1, 1, 3), np.uint8)
    pixels[0, ..., 1] = pixels[1, ..., 2] = 200
    green, blue = learners._grey(pixels)[:, 0]
    assert green == pytest.approx(0.587 * 200 / 255)
    assert blue == pytest.approx(0.114 * 200 / 255)


# Networks


def test_a_head_learns_from_features(features: Task) -> None:
    made = learners.fit_network(head(), features)
    assert made.training_accuracy > 0.95
    assert right(made.test, features.targets[features.test]) > 0.9
    assert made.parameters == 8 * 16 + 16 + 16 * LABELS + LABELS
    assert [row["epoch"] for row in made.history] == list(range(1, 13))
    assert set(made.history[0]) == {
        "epoch",
        "loss",
        "accuracy",
        "validation_loss",
        "validation_accuracy",
        "phase",
    }


def test_equal_tasks_have_equal_outcomes_and_other_seeds_others(features: Task) -> None:
    config = head(3, dropout=0.5)
    first, again = (learners.fit_network(config, features) for _ in range(2))
    np.testing.assert_array_equal(first.test, again.test)
    assert first.history == again.history
    other = learners.fit_network(config.model_copy(update={"seed": 1}), features)
    assert (other.test != first.test).any()


def test_the_best_epoch_counts_and_not_the_last(features: Task) -> None:
    made = learners.fit_network(head(6, learning_rate=0.5), features)
    best = max(row["validation_accuracy"] for row in made.history)
    assert right(made.validation, features.targets[features.validation]) == pytest.approx(best)


def test_a_learning_rate_that_falls_to_zero_leaves_the_last_epoch(features: Task) -> None:
    """At a rate that ruins the first epochs: what is kept is what the last one says."""
    made = learners.fit_network(head(12, learning_rate=0.5, schedule="cosine"), features)
    last = made.history[-1]["validation_accuracy"]
    assert right(made.validation, features.targets[features.validation]) == pytest.approx(last)
    losses = [row["loss"] for row in made.history]
    # The last steps are too small to change anything.
    assert abs(losses[-1] - losses[-2]) < abs(losses[1] - losses[0])


def test_a_head_learns_from_views_and_is_asked_about_pictures(features: Task) -> None:
    """Views that say what the pictures do not: without them half of the labels are never learnt."""
    noise = np.random.default_rng(1).normal(size=features.rows.shape).astype(np.float32)
    shown = np.stack([features.rows, features.rows, features.rows], axis=1)
    hidden = replace(features, rows=np.where(np.arange(96)[:, None] % 2, noise, features.rows))
    places = np.flatnonzero(np.arange(96) % 2 == 0)
    asked = replace(hidden, test=np.setdiff1d(places, features.train), views=shown)
    made = learners.fit_network(head(12, views=2), asked)
    assert right(made.test, features.targets[asked.test]) > 0.9
    assert made.training_accuracy < 0.9
    again = learners.fit_network(head(12, views=2), asked)
    np.testing.assert_array_equal(made.test, again.test)
    plain = learners.fit_network(head(12), asked)
    assert (plain.test != made.test).any()


def test_it_stops_when_nothing_gets_better(features: Task) -> None:
    made = learners.fit_network(head(200, early_stopping=3, learning_rate=2.0), features)
    assert len(made.history) < 100


@pytest.mark.parametrize("name", ["basic_cnn", "basic_ann"])
def test_a_whole_network_learns_from_pixels(name: str, pictures: Task) -> None:
    config = TrainConfig.model_validate(
        {
            "backbone": {"name": name},
            "input_size": 32,
            "head": {"widths": [8], "learning_rate": 1e-3, "batch_size": 8, "epochs": 8},
        }
    )
    made = learners.fit_network(config, pictures)
    assert made.training_accuracy > 0.9
    assert made.parameters == networks.count_parameters(config.network_spec(LABELS))


def test_a_whole_network_sees_views_of_pixels(pictures: Task) -> None:
    digests = [f"{number:032x}" for number in range(len(pictures.targets))]
    config = TrainConfig.model_validate(
        {
            "backbone": {"name": "basic_cnn"},
            "input_size": 32,
            "head": {"widths": [8], "learning_rate": 1e-3, "batch_size": 8, "epochs": 2},
        }
    )
    plain = learners.fit_network(config, pictures)
    head = config.head.model_copy(update={"views": 1})
    viewed = config.model_copy(update={"head": head})
    made = learners.fit_network(viewed, replace(pictures, digests=digests))
    assert (made.test != plain.test).any()
    assert made.parameters == plain.parameters
