"""What `pintag train` says of fine-tuning that lowered the validation accuracy."""

from __future__ import annotations

from typing import Any

import pytest

from pintag.train.config import TrainConfig
from pintag.train.fit import fine_tuning


def rows(phase: str, *epochs: tuple[float, float]) -> list[dict[str, Any]]:
    """Rows of a history with these validation accuracies and losses."""
    return [
        {"phase": phase, "validation_accuracy": accuracy, "validation_loss": loss}
        for accuracy, loss in epochs
    ]


def warning(history: list[dict[str, Any]], schedule: str) -> str:
    config = TrainConfig.model_validate(
        {"backbone": {"name": "mobilenet"}, "fine_tune": {"epochs": 2, "schedule": schedule}}
    )
    return fine_tuning.warning(history, config)


HEAD = rows("head", (0.9, 0.5), (0.85, 0.45))


def test_lower_accuracy_of_weights_that_are_kept_is_said() -> None:
    assert warning([*HEAD, *rows("fine_tune", (0.95, 0.4), (0.88, 0.35))], "cosine") == (
        "fine-tuning lowered the validation accuracy from 90.00% to 88.00%, though the loss fell "
        "from 0.500 to 0.350; fine_tune.epochs=0 trains without it"
    )
    assert "though" not in warning([*HEAD, *rows("fine_tune", (0.88, 0.6))], "cosine")


def test_fine_tuning_that_came_to_nothing_is_said() -> None:
    assert warning([*HEAD, *rows("fine_tune", (0.89, 0.4), (0.88, 0.3))], "constant") == (
        "fine-tuning did not reach the validation accuracy from before it (90.00%; its best is "
        "89.00%): the weights from before it are kept"
    )


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_nothing_is_said_of_other_trainings(schedule: str) -> None:
    assert warning(HEAD, schedule) == ""
    assert warning([*HEAD, *rows("fine_tune", (0.9, 0.6))], schedule) == ""
    assert warning([*HEAD, *rows("fine_tune", (0.93, 0.4))], schedule) == ""
