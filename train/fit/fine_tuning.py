"""What fine-tuning did to the validation accuracy, in words."""

from __future__ import annotations

from collections.abc import Sequence

from pintag.train.config import PhaseConfig, TrainConfig
from pintag.train.fit.checkpoint import EpochRow


def warning(history: Sequence[EpochRow], config: TrainConfig) -> str:
    """A sentence if fine-tuning lowered the validation accuracy; empty if it did not.

    Args:
        history: the rows of a training, in order.
        config: its configuration.
    """
    phases = list(dict.fromkeys(row["phase"] for row in history))
    if len(phases) < 2:
        return ""
    rows = [[row for row in history if row["phase"] == phase] for phase in phases]
    before, after = _kept(rows[0], config.head), _kept(rows[1], config.fine_tune)
    accuracies = (before["validation_accuracy"], after["validation_accuracy"])
    if accuracies[1] >= accuracies[0]:
        return ""
    if not config.fine_tune.keeps_last:
        return (
            f"fine-tuning did not reach the validation accuracy from before it ({accuracies[0]:.2%}"
            f"; its best is {accuracies[1]:.2%}): the weights from before it are kept"
        )
    losses = (before["validation_loss"], after["validation_loss"])
    though = f", though the loss fell from {losses[0]:.3f} to {losses[1]:.3f}"
    return (
        f"fine-tuning lowered the validation accuracy from {accuracies[0]:.2%} to "
        f"{accuracies[1]:.2%}{though if losses[1] < losses[0] else ''}; "
        "fine_tune.epochs=0 trains without it"
    )


def _kept(rows: Sequence[EpochRow], config: PhaseConfig) -> EpochRow:
    """The epoch of a phase whose weights are kept."""
    if config.keeps_last:
        return rows[-1]
    return max(rows, key=lambda row: (row["validation_accuracy"], -row["validation_loss"]))
