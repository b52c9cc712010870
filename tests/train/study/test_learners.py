"""Learners: they learn, and equal tasks have equal results."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pintag.models import networks
from pintag.train.config import SvmConfig, TrainConfig
from pintag.train.fit.epochs import DivergedError
from pintag.train.study import learners
from pintag.train.study.learners import TrialTask

pytestmark = [pytest.mark.keras, pytest.mark.ray]

LABELS = 3


def task(rows: Any, targets: Any) -> TrialTask:
    """Return a task: half of the rows for training, a quarter for validation, one for testing."""
    order = np.random.default_rng(0).permutation(len(targets))
    half, quarter = len(targets) // 2, 3 * len(targets) // 4
    return TrialTask(rows, targets, LABELS, order[:half], order[half:quarter], order[quarter:])


@pytest.fixture(scope="module")
def pictures() -> TrialTask:
    """`uint8[48,32,32,3]`: each label has another bright third of the image."""
    random = np.random.default_rng(0)
    targets = np.arange(48) % LABELS
    pixels = random.integers(0, 60, (48, 32, 32, 3), np.uint8)
    for row, target in enumerate(targets):
        pixels[row, :, 10 * target : 10 * target + 12] += 150
    return task(pixels, targets)


@pytest.fixture(scope="module")
def features() -> TrialTask:
    """`float32[96,8]`: one cluster for each label."""
    random = np.random.default_rng(0)
    targets = np.arange(96) % LABELS
    centres = random.normal(size=(LABELS, 8))
    rows = centres[targets] + 0.2 * random.normal(size=(96, 8))
    return task(rows.astype(np.float32), targets)


def head(epochs: int = 12, **settings: Any) -> TrainConfig:
    """Return the configuration of a head on features. Its backbone is never built."""
    return TrainConfig.model_validate(
        {
            "backbone": {"name": "mobilenet", "weights": "none"},
            "head": {"widths": [16], "learning_rate": 0.01, "batch_size": 8, "epochs": epochs}
            | settings,
        }
    )


def accuracy(logits: Any, targets: Any) -> float:
    return float((logits.argmax(axis=1) == targets).mean())


# Support vector machines


def test_an_svm_learns_from_pixels(pictures: TrialTask) -> None:
    result = learners.fit_svm(SvmConfig(C=2, gamma=0.01), pictures)
    assert result.training_accuracy == 1
    assert accuracy(result.test, pictures.targets[pictures.test]) == 1
    assert accuracy(result.validation, pictures.targets[pictures.validation]) == 1
    assert result.validation.shape == (12, LABELS)
    assert (result.validation.dtype, result.history) == (np.float32, ())
    assert result.parameters % (32 * 32) == 0


def test_an_svm_never_predicts_a_label_without_training_rows(pictures: TrialTask) -> None:
    two = np.flatnonzero(pictures.targets[pictures.train] != 1)
    partial = TrialTask(
        pictures.rows, pictures.targets, LABELS, pictures.train[two], pictures.train, pictures.test
    )
    result = learners.fit_svm(SvmConfig(), partial)
    assert set(result.validation.argmax(axis=1)) == {0, 2}
    assert np.isfinite(result.validation).all()


def test_an_svm_uses_luma() -> None:
    """Green is lighter than blue of the same value."""
    pixels = np.zeros((2, 1, 1, 3), np.uint8)
    pixels[0, ..., 1] = pixels[1, ..., 2] = 200
    green, blue = learners._grey(pixels)[:, 0]
    assert green == pytest.approx(0.587 * 200 / 255)
    assert blue == pytest.approx(0.114 * 200 / 255)


# Networks


def test_a_head_learns_from_features(features: TrialTask) -> None:
    result = learners.fit_network(head(), features)
    assert result.training_accuracy > 0.95
    assert accuracy(result.test, features.targets[features.test]) > 0.9
    assert result.parameters == 8 * 16 + 16 + 16 * LABELS + LABELS
    assert [row["epoch"] for row in result.history] == list(range(1, 13))
    assert set(result.history[0]) == {
        "epoch",
        "loss",
        "accuracy",
        "validation_loss",
        "validation_accuracy",
        "phase",
    }


def test_equal_tasks_have_equal_results_and_other_seeds_do_not(features: TrialTask) -> None:
    config = head(3, dropout=0.5)
    first, again = (learners.fit_network(config, features) for _ in range(2))
    np.testing.assert_array_equal(first.test, again.test)
    assert first.history == again.history
    other = learners.fit_network(config.model_copy(update={"seed": 1}), features)
    assert (other.test != first.test).any()


def test_the_weights_of_the_best_epoch_are_kept(features: TrialTask) -> None:
    result = learners.fit_network(head(6, learning_rate=0.5), features)
    best = max(row["validation_accuracy"] for row in result.history)
    assert accuracy(result.validation, features.targets[features.validation]) == pytest.approx(best)


def test_a_cosine_schedule_keeps_the_last_epoch(features: TrialTask) -> None:
    """A high learning rate spoils the first epochs; the weights of the last one are kept."""
    result = learners.fit_network(head(12, learning_rate=0.5, schedule="cosine"), features)
    last = result.history[-1]["validation_accuracy"]
    assert accuracy(result.validation, features.targets[features.validation]) == pytest.approx(last)
    losses = [row["loss"] for row in result.history]
    # The last steps are too small to change anything.
    assert abs(losses[-1] - losses[-2]) < abs(losses[1] - losses[0])


def test_a_head_learns_from_views_and_predicts_images(features: TrialTask) -> None:
    """Half of the training images are noise. The head learns from their views, which are not."""
    noise = np.random.default_rng(1).normal(size=features.rows.shape).astype(np.float32)
    views = np.stack([features.rows, features.rows, features.rows], axis=1)
    hidden = replace(features, rows=np.where(np.arange(96)[:, None] % 2, noise, features.rows))
    clean = np.flatnonzero(np.arange(96) % 2 == 0)
    mixed = replace(hidden, test=np.setdiff1d(clean, features.train), views=views)
    result = learners.fit_network(head(12, views=2), mixed)
    assert accuracy(result.test, features.targets[mixed.test]) > 0.9
    assert result.training_accuracy < 0.9
    again = learners.fit_network(head(12, views=2), mixed)
    np.testing.assert_array_equal(result.test, again.test)
    plain = learners.fit_network(head(12), mixed)
    assert (plain.test != result.test).any()


def test_early_stopping_ends_the_fit(features: TrialTask) -> None:
    result = learners.fit_network(head(200, early_stopping=3, learning_rate=2.0), features)
    assert len(result.history) < 100


@pytest.mark.parametrize("name", ["basic_cnn", "basic_ann"])
def test_a_whole_network_learns_from_pixels(name: str, pictures: TrialTask) -> None:
    config = TrainConfig.model_validate(
        {
            "backbone": {"name": name},
            "input_size": 32,
            "head": {"widths": [8], "learning_rate": 1e-3, "batch_size": 8, "epochs": 8},
        }
    )
    result = learners.fit_network(config, pictures)
    assert result.training_accuracy > 0.9
    assert result.parameters == networks.count_parameters(config.network_spec(LABELS))


def test_a_whole_network_learns_from_views_of_pixels(pictures: TrialTask) -> None:
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
    result = learners.fit_network(viewed, replace(pictures, digests=digests))
    assert (result.test != plain.test).any()
    assert result.parameters == plain.parameters


def test_a_loss_that_is_no_number_ends_a_trial_with_the_setting(features: TrialTask) -> None:
    with pytest.raises(DivergedError, match=r"^head\.learning_rate: the loss is "):
        learners.fit_network(head(learning_rate=1e30), features)
