"""Fits in memory, each in one process: what a study's trials do.

A learner is told by its configuration, sees rows at some places and is asked about others; what it
says are logits, or what a temperature can be fitted to.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pintag import networks
from train import checkpoint, epochs
from train.checkpoint import State
from train.config import SvmConfig, TrainConfig
from train.epochs import Course, Indices
from train.step import Step
from train.views import DrawnViews, StoredViews

Logits = npt.NDArray[np.float32]
Targets = npt.NDArray[np.int64]

_BATCH = 256


@dataclass(frozen=True)
class Task:
    """The rows to learn from, to watch and to be tested on."""

    rows: npt.NDArray[Any]
    """`[N, ...]`: features, or pixels."""
    targets: Targets
    num_labels: int
    train: Indices
    validation: Indices
    test: Indices
    digests: Sequence[str] = ()
    """Of the N images; wanted where views are drawn from pixels."""
    views: npt.NDArray[Any] | None = None
    """`[N, 1+V, D]`: the features of views, where the learner sees any; see `train.views`."""


@dataclass(frozen=True)
class Outcome:
    """What a learner says of the rows it did not learn from."""

    validation: Logits
    """`float32[V,C]`."""
    test: Logits
    training_accuracy: float
    parameters: int
    """Weights of the part that was fitted."""
    history: tuple[dict[str, Any], ...] = ()
    seconds: float = 0.0
    """Of the fit alone."""


def fit_svm(config: SvmConfig, task: Task) -> Outcome:
    """Fit an SVM on `uint8[N,S,S,3]`; its one-against-rest decision values are the logits."""
    from sklearn.svm import SVC

    pixels = _grey(task.rows)
    machine = SVC(C=config.C, gamma=config.gamma, kernel="rbf", decision_function_shape="ovr")
    started = time.perf_counter()
    machine.fit(pixels[task.train], task.targets[task.train])
    seconds = time.perf_counter() - started
    classes = machine.classes_

    def logits(places: Indices) -> Logits:
        decided = machine.decision_function(pixels[places])
        if len(classes) == 2:
            decided = np.stack([-decided, decided], axis=-1)
        # A label that was never seen is never said.
        found = np.full((len(places), task.num_labels), decided.min() - 1, np.float32)
        found[:, classes] = decided
        return found

    right = logits(task.train).argmax(axis=1) == task.targets[task.train]
    return Outcome(
        validation=logits(task.validation),
        test=logits(task.test),
        training_accuracy=float(right.mean()),
        parameters=int(machine.support_vectors_.size),
        seconds=seconds,
    )


def fit_network(config: TrainConfig, task: Task) -> Outcome:
    """Fit a head on features `float32[N,D]`, or a whole network on pixels `uint8[N,S,S,3]`.

    As the first phase of `train.loop` on one worker does: same seed, same weights.
    """
    import keras
    import tensorflow as tf

    keras.backend.clear_session()
    keras.utils.set_random_seed(config.seed)
    started = time.perf_counter()
    model = _model(config, task)
    course = Course(
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
    step = Step(
        tf.distribute.get_strategy(),
        model,
        config.head.learning_rate,
        config.head.label_smoothing,
        config.head.decay_steps(course.steps),
    )
    state = State()
    while state.epoch < config.head.epochs and not state.is_stale(config.head.early_stopping):
        row = epochs.run(course, state.epoch, step)
        row.pop("step_losses")
        row.pop("seconds")
        state = state.after(
            row | {"phase": "head"},
            checkpoint.values(model.variables),
            [],
            keep_last=config.head.keeps_last,
        )
    checkpoint.assign(model.variables, state.best_weights)
    seconds = time.perf_counter() - started
    right = _logits(model, task.rows, task.train).argmax(axis=1) == task.targets[task.train]
    return Outcome(
        validation=_logits(model, task.rows, task.validation),
        test=_logits(model, task.rows, task.test),
        training_accuracy=float(right.mean()),
        parameters=int(model.count_params()),
        history=state.history,
        seconds=seconds,
    )


@dataclass(frozen=True)
class _InMemory:
    rows: npt.NDArray[Any]

    def take(self, indices: Indices) -> npt.NDArray[Any]:
        return self.rows[indices]


def _views(config: TrainConfig, task: Task) -> epochs.Views | None:
    if not config.head.views:
        return None
    plain = _InMemory(task.rows)
    if task.views is None:
        return DrawnViews(plain, task.digests, config.seed)
    others = _InMemory(task.views)
    return StoredViews(plain, others, config.head.views, len(task.rows), config.seed)


def _model(config: TrainConfig, task: Task) -> Any:
    spec = config.network_spec(task.num_labels)
    if spec.is_transfer:
        return networks.build_head(spec, task.rows.shape[-1], seed=config.seed)
    backbone = networks.build_backbone(spec)
    head = networks.build_head(spec, backbone.output_shape[-1], seed=config.seed)
    return networks.assemble(backbone, head)


def _logits(model: Any, rows: npt.NDArray[Any], places: Indices) -> Logits:
    parts = [
        model(rows[places[start : start + _BATCH]], training=False).numpy()
        for start in range(0, len(places), _BATCH)
    ]
    return np.concatenate(parts).astype(np.float32)


def _grey(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """`uint8[N,S,S,3]` to `float32[N,S*S]` from 0 to 1, by the luma of ITU-R BT.601."""
    luma = pixels @ np.array([0.299, 0.587, 0.114], np.float32) / 255
    return luma.reshape(len(pixels), -1).astype(np.float32)
