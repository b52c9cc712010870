"""Fits a learner in memory, in one process: the work of one trial of a study.

A learner is fitted on the training rows and predicts logits of the validation and test rows.
An SVM's decision values serve as logits.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pintag.core.types import Logits, Targets
from pintag.models import networks
from pintag.train.config import HeadConfig, SvmConfig, TrainConfig
from pintag.train.fit import checkpoint, epochs
from pintag.train.fit.checkpoint import TrainingState
from pintag.train.fit.epochs import Indices, TrainingData
from pintag.train.fit.step import TrainStep
from pintag.train.fit.views import DrawnViews, StoredViews

_BATCH = 256


@dataclass(frozen=True)
class TrialTask:
    """The rows of a data set, and which of them are for training, validation and testing."""

    rows: npt.NDArray[Any]
    """`[N, ...]`: features, or pixels."""
    targets: Targets
    num_labels: int
    train: Indices
    validation: Indices
    test: Indices
    digests: Sequence[str] = ()
    """The digests of the N images; needed for random views of pixels."""
    views: npt.NDArray[Any] | None = None
    """`[N, 1+V, D]`: features of random views, if used; see `pintag.train.fit.views`."""


@dataclass(frozen=True)
class TrialResult:
    """A fitted learner's predictions for validation and test rows, and the numbers of its fit."""

    validation: Logits
    """`float32[V,C]`: the logits of the validation rows."""
    test: Logits
    """`float32[T,C]`: the logits of the test rows."""
    training_accuracy: float
    parameters: int
    """The number of fitted parameters."""
    history: tuple[dict[str, Any], ...] = ()
    seconds: float = 0.0
    """Wall seconds of the fit."""


def fit_svm(config: SvmConfig, task: TrialTask) -> TrialResult:
    """Fit an SVM on `uint8[N,S,S,3]`; its one-against-rest decision values are the logits."""
    from sklearn.svm import SVC

    pixels = _grey(task.rows)
    machine = SVC(C=config.C, gamma=config.gamma, kernel="rbf", decision_function_shape="ovr")
    started = time.perf_counter()
    machine.fit(pixels[task.train], task.targets[task.train])
    seconds = time.perf_counter() - started
    classes = machine.classes_

    def logits(indices: Indices) -> Logits:
        decisions = machine.decision_function(pixels[indices])
        if len(classes) == 2:
            decisions = np.stack([-decisions, decisions], axis=-1)
        # A label without training rows gets the lowest value, so it is never predicted.
        values = np.full((len(indices), task.num_labels), decisions.min() - 1, np.float32)
        values[:, classes] = decisions
        return values

    correct = logits(task.train).argmax(axis=1) == task.targets[task.train]
    return TrialResult(
        validation=logits(task.validation),
        test=logits(task.test),
        training_accuracy=float(correct.mean()),
        parameters=int(machine.support_vectors_.size),
        seconds=seconds,
    )


def fit_network(config: TrainConfig, task: TrialTask) -> TrialResult:
    """Fit a head on features `float32[N,D]`, or a whole network on pixels `uint8[N,S,S,3]`.

    The result equals that of the first phase of `pintag.train.fit.loop` on one worker, for the same
    seed.
    """
    import keras

    keras.backend.clear_session()
    keras.utils.set_random_seed(config.seed)
    started = time.perf_counter()
    model = _model(config, task)
    data = TrainingData(
        rows=_InMemory(task.rows),
        views=_views(config, task),
        targets=task.targets,
        train=task.train,
        validation=task.validation,
        batch_size=config.head.batch_size,
        seed=(config.seed, "head"),
        weights=epochs.label_weights(
            task.targets[task.train], task.num_labels, config.head.class_weights
        ),
    )
    state = _train(model, data, config.head)
    seconds = time.perf_counter() - started
    return TrialResult(
        validation=_logits(model, task.rows, task.validation),
        test=_logits(model, task.rows, task.test),
        training_accuracy=_training_accuracy(model, task),
        parameters=int(model.count_params()),
        history=state.history,
        seconds=seconds,
    )


def _training_accuracy(model: Any, task: TrialTask) -> float:
    predicted = _logits(model, task.rows, task.train).argmax(axis=1)
    return float((predicted == task.targets[task.train]).mean())


def _train(model: Any, data: TrainingData, head: HeadConfig) -> TrainingState:
    """Train a model, leave it with the weights to keep, and return the last state."""
    import tensorflow as tf

    step = TrainStep(
        tf.distribute.get_strategy(),
        model,
        head.learning_rate,
        head.label_smoothing,
        head.decay_steps(data.steps),
    )
    state = TrainingState()
    while state.epoch < head.epochs and not state.is_stale(head.early_stopping):
        row = epochs.run_epoch(data, state.epoch, step)
        row.pop("step_losses")
        row.pop("seconds")
        state = state.after(
            row | {"phase": "head"},
            checkpoint.copy_values(model.variables),
            [],
            keep_last=head.keeps_last,
        )
    checkpoint.assign(model.variables, state.best_weights)
    return state


@dataclass(frozen=True)
class _InMemory:
    """A NumPy array as a `RowArray`."""

    rows: npt.NDArray[Any]

    def take(self, indices: Indices) -> npt.NDArray[Any]:
        return self.rows[indices]


def _views(config: TrainConfig, task: TrialTask) -> epochs.EpochViews | None:
    if not config.head.views:
        return None
    plain = _InMemory(task.rows)
    if task.views is None:
        return DrawnViews(plain, task.digests, config.seed)
    views = _InMemory(task.views)
    return StoredViews(plain, views, config.head.views, len(task.rows), config.seed)


def _model(config: TrainConfig, task: TrialTask) -> Any:
    spec = config.network_spec(task.num_labels)
    if spec.is_transfer:
        return networks.build_head(spec, task.rows.shape[-1], seed=config.seed)
    backbone = networks.build_backbone(spec)
    head = networks.build_head(spec, backbone.output_shape[-1], seed=config.seed)
    return networks.assemble(backbone, head)


def _logits(model: Any, rows: npt.NDArray[Any], indices: Indices) -> Logits:
    parts = [
        model(rows[indices[start : start + _BATCH]], training=False).numpy()
        for start in range(0, len(indices), _BATCH)
    ]
    return np.concatenate(parts).astype(np.float32)


def _grey(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Return the luma of ITU-R BT.601: `uint8[N,S,S,3]` to `float32[N,S*S]` from 0 to 1."""
    luma = pixels @ np.array([0.299, 0.587, 0.114], np.float32) / 255
    return luma.reshape(len(pixels), -1).astype(np.float32)
