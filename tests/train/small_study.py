"""The configuration of a small study: tiny networks on the synthetic sample."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

TINY = {"name": "mobilenet", "alpha": 0.25, "weights": "none"}
HEAD = {"widths": [8], "learning_rate": 1e-3, "epochs": 2}
CNN = {"backbone": {"name": "basic_cnn"}, "input_size": 32, "head": HEAD}
CONFIG: dict[str, Any] = {
    "title": "A small study",
    "svm": {"settings": [{"C": 1, "gamma": 0.1}, {"C": 2, "gamma": 0.01}]},
    "models": [
        {"name": "cnn", "train": CNN},
        {
            "name": "tiny",
            "train": {"backbone": TINY, "input_size": 32, "head": HEAD | {"views": 1}},
            "grid": {"batch_size": [16, 32]},
        },
        # Its weights file does not exist: this model fails, and the others continue.
        {
            "name": "lost",
            "train": {"backbone": TINY | {"weights": "nowhere.h5"}, "input_size": 32},
        },
    ],
    "cross_validation": {"folds": 3},
    "gallery": {"per_label": 1, "mode": "reference"},
}
FOLDS = {f"{name}.fold.{number:02}" for name in ("cnn", "tiny") for number in range(3)}
TRIALS = {"svm.0", "svm.1", "cnn.0", "tiny.0", "tiny.1", *FOLDS}


@dataclass(frozen=True)
class FinishedStudy:
    """A study that was not interrupted."""

    out: Path
    stdout: str


def finished_trials(out: Path) -> dict[str, int]:
    """Return the names of all trials with a result, and when it was written."""
    return {path.stem: path.stat().st_mtime_ns for path in (out / "outcomes").glob("*.npz")}
