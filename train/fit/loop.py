"""The training loop that runs in every Ray Train worker.

Phase "head" trains the head on features of the frozen backbone, or all layers of a network without
a pretrained backbone. Phase "fine_tune" then trains the unfrozen blocks on random views. The
workers share each global batch (see `pintag.train.fit.step`), so their number does not change the
result.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pintag.core import files
from pintag.core.errors import PintagError, TrainingError
from pintag.data.dataset import TRAIN, VALIDATION, Example
from pintag.models import backbones, networks
from pintag.train.config import PhaseConfig, TrainConfig
from pintag.train.fit import checkpoint, device, epochs, features
from pintag.train.fit.checkpoint import TrainingState
from pintag.train.fit.epochs import DivergedError, TrainingData
from pintag.train.fit.step import TrainStep
from pintag.train.fit.views import DrawnViews, StoredViews
from pintag.train.fit.workspace import PROGRESS

if TYPE_CHECKING:
    import keras

BEST_WEIGHTS = "best.weights.h5"
HEAD, FINE_TUNE = "head", "fine_tune"


@dataclass(frozen=True)
class TrainingJob:
    """The input of all workers. It is plain data, because Ray sends it to other machines."""

    config: TrainConfig
    num_labels: int
    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    fingerprint: str
    """The fingerprint of the data set; part of the key of all cached rows."""
    weights_digest: str
    """Identifies the backbone's weights; see `features.weights_digest`."""
    cache: Path
    """The folder of cached rows, which all workers share."""
    run: Path
    """The folder of this run, which the workers and the driver share."""
    start: Path | None = None
    """The folder of the checkpoint of an earlier run, which this one resumes."""

    @property
    def phases(self) -> tuple[str, ...]:
        has_fine_tuning = self.is_transfer and self.config.fine_tune.epochs > 0
        return (HEAD, FINE_TUNE) if has_fine_tuning else (HEAD,)

    @property
    def is_transfer(self) -> bool:
        return self.config.network_spec(self.num_labels).is_transfer


def run(job: TrainingJob) -> dict[str, Any]:
    """Train in this worker. Worker 0 writes the best weights to `job.run`.

    Returns:
        `history`, a row for each epoch, and `seconds`, the wall seconds of each stage. If the loss
        is not a number: `failure`, the reason, and `epochs`, the number of good epochs. If it is
        another error that would occur again: `error`.

    Raises:
        TrainingError: there are several workers, and this one cannot continue.
    """
    from ray import train

    context = train.get_context()
    strategy = device.set_up(job.config, context.get_local_world_size())
    worker = _Worker(job, strategy, context.get_world_rank(), context.get_world_size())
    try:
        return worker.run(_start(job))
    # Ray Train would repeat a worker that raises, and the loss would be the same.
    except DivergedError as error:
        return {"failure": str(error), "epochs": worker.good_epochs}
    except (PintagError, OSError) as error:
        reason = _reason(error, job)
        # Other workers wait for this one until it raises.
        if context.get_world_size() > 1:
            raise TrainingError(reason) from error
        return {"error": reason}


def _start(job: TrainingJob) -> TrainingState:
    """Return the state of the latest checkpoint: of this run, or of the one that it resumes."""
    from ray import train

    if latest := train.get_checkpoint():
        with latest.as_directory() as folder:
            return checkpoint.load(Path(folder))
    return checkpoint.load(job.start) if job.start else TrainingState()


def _reason(error: PintagError | OSError, job: TrainingJob) -> str:
    """Return the reason of an error, with a file or folder. The libraries' own errors name none."""
    if not isinstance(error, OSError):
        return str(error)
    return f"{error.filename or job.run}: {files.reason(error)}"


class _Worker:
    """One worker of a run."""

    def __init__(self, job: TrainingJob, strategy: Any, rank: int, world: int) -> None:
        self._job, self._strategy, self._rank, self._world = job, strategy, rank, world
        self._seconds: dict[str, float] = {}
        self.good_epochs = 0
        """The epochs before the loss was not a number, which are kept."""
        spec = job.config.network_spec(job.num_labels)
        with strategy.scope():
            self._backbone = networks.build_backbone(spec, job.config.backbone.weights)
            self._head = networks.build_head(
                spec, self._backbone.output_shape[-1], seed=job.config.seed
            )
            self._network = networks.assemble(self._backbone, self._head)
            self._extractor = features.extractor(self._backbone)

    def run(self, state: TrainingState) -> dict[str, Any]:
        for number, phase in enumerate(self._job.phases):
            if number > state.phase:
                # The network contains the trained head, so its variables are the best so far.
                best = checkpoint.copy_values(self._model(phase).variables)
                state = state.next_phase(best)
            if number == state.phase:
                state = self._train(phase, state)
                checkpoint.assign(self._model(phase).variables, state.best_weights)
        if self._rank == 0:
            self._network.save_weights(self._job.run / BEST_WEIGHTS)
        return {"history": list(state.history), "seconds": self._seconds}

    def _model(self, phase: str) -> keras.Model:
        on_features = phase == HEAD and self._job.is_transfer
        return self._head if on_features else self._network

    def _train(self, phase: str, state: TrainingState) -> TrainingState:
        head = self._job.config.head
        config = self._phase_config(phase)
        patience = head.early_stopping if phase == HEAD else None
        if phase == FINE_TUNE:
            self._unfreeze()
        data = self._training_data(phase, config.batch_size)
        model = self._model(phase)
        started = last_checkpoint = time.perf_counter()
        step = TrainStep(
            self._strategy,
            model,
            config.learning_rate,
            head.label_smoothing,
            config.decay_steps(data.steps),
        )
        _restore(state, model, step)
        while state.epoch < config.epochs and not state.is_stale(patience):
            try:
                row = epochs.run_epoch(data, state.epoch, step)
            except DivergedError:
                self._keep(phase, state)
                raise
            state = state.after(
                row | {"phase": phase, "epochs": config.epochs},
                checkpoint.copy_values(model.variables),
                checkpoint.copy_values(step.optimizer.variables),
                keep_last=config.keeps_last,
            )
            self._report(stage="training", **_last_metrics(state))
            done = state.epoch == config.epochs or state.is_stale(patience)
            if done or self._is_checkpoint_due(last_checkpoint, step):
                self._save_checkpoint(state)
                last_checkpoint = time.perf_counter()
        self._seconds[phase] = time.perf_counter() - started
        return state

    def _phase_config(self, phase: str) -> PhaseConfig:
        config = self._job.config
        return config.head if phase == HEAD else config.fine_tune

    def _unfreeze(self) -> None:
        config = self._job.config
        backbones.unfreeze(self._backbone, config.backbone.name, config.fine_tune.unfreeze)

    def _keep(self, phase: str, state: TrainingState) -> None:
        """Save the last good epoch as a checkpoint, and the best weights so far."""
        self.good_epochs = len(state.history)
        if not self.good_epochs:
            return
        self._save_checkpoint(state)
        checkpoint.assign(self._model(phase).variables, state.best_weights)
        if self._rank == 0:
            self._network.save_weights(self._job.run / BEST_WEIGHTS)

    def _training_data(self, phase: str, batch_size: int) -> TrainingData:
        job = self._job
        targets = np.array([example.target for example in job.train + job.validation], np.int64)
        count = len(job.train)
        rows = self._rows(phase)
        return TrainingData(
            rows=rows,
            targets=targets,
            train=np.arange(count),
            validation=np.arange(count, len(targets)),
            batch_size=batch_size,
            seed=(job.config.seed, phase),
            weights=epochs.label_weights(
                targets[:count], job.num_labels, job.config.head.class_weights
            ),
            views=self._views(phase, rows),
            rank=self._rank,
            world=self._world,
        )

    def _rows(self, phase: str) -> features.StoredRows:
        """Return the rows that the phase trains and validates on, without views."""
        job = self._job
        splits = {TRAIN: job.train, VALIDATION: job.validation}
        if phase == HEAD and job.is_transfer:
            return self._computed("features", self._key(), self._extractor, splits)
        key = features.pixels_key(job.fingerprint, job.config.input_size)
        return self._computed("decoding", key, features.identity, splits)

    def _views(self, phase: str, rows: features.StoredRows) -> epochs.EpochViews | None:
        """Return the random views that the phase trains on; None: it trains on the rows."""
        job, seed, count = self._job, self._job.config.seed, self._job.config.head.views
        if phase == HEAD and not count:
            return None
        if phase == FINE_TUNE or not job.is_transfer:
            return DrawnViews(rows, [example.digest for example in job.train], seed)
        transform = features.transform_views(self._extractor, seed, count)
        views = self._computed("views", self._key(count), transform, {TRAIN: job.train})
        return StoredViews(rows, views, count, len(job.train), seed)

    def _key(self, views: int = 0) -> str:
        job = self._job
        dtype = self._backbone.compute_dtype
        return features.key(job.fingerprint, job.config, job.weights_digest, dtype, views)

    def _computed(
        self,
        stage: str,
        key: str,
        transform: features.Transform,
        splits: Mapping[str, Sequence[Example]],
    ) -> features.StoredRows:
        """Return the rows of all `splits`. The workers together compute the missing ones."""
        from ray.train.collective import barrier

        started = time.perf_counter()
        folder = self._job.cache / key
        total = sum(map(len, splits.values()))
        previous = 0

        def progress(done: int, _: int) -> None:
            self._report(stage=stage, done=previous + done, total=total)

        for split, examples in splits.items():
            features.compute(
                folder / split, examples, self._job.config.input_size, transform,
                rank=self._rank, world=self._world, progress=progress,
            )  # fmt: skip
            previous += len(examples)
        barrier()
        self._seconds[stage] = time.perf_counter() - started
        return features.StoredRows(
            {folder / split: len(examples) for split, examples in splits.items()}
        )

    def _is_checkpoint_due(self, last: float, step: TrainStep) -> bool:
        """Return whether to save a checkpoint now; every worker must call it.

        The clocks of the workers differ, so all decide by the mean time since the last checkpoint.
        """
        elapsed = np.array([time.perf_counter() - last], np.float32)
        mean = float(step.sum_over_workers(elapsed)[0]) / self._world
        return mean >= self._job.config.scaling.checkpoint_seconds

    def _save_checkpoint(self, state: TrainingState) -> None:
        """Report the state to Ray Train; every worker must call it."""
        from ray import train

        if self._rank == 0:
            with checkpoint.save(state, self._job.run) as saved:
                train.report(_last_metrics(state), checkpoint=saved)
        else:
            train.report(_last_metrics(state))

    def _report(self, **message: Any) -> None:
        """Append a message to the progress file, which the driver reads."""
        if self._rank == 0:
            with (self._job.run / PROGRESS).open("a") as file:
                file.write(json.dumps(message) + "\n")


def _restore(state: TrainingState, model: keras.Model, step: TrainStep) -> None:
    """Continue after the epochs of a state, if it has any in this phase."""
    if state.weights:
        checkpoint.assign(model.variables, state.weights)
        checkpoint.assign(step.optimizer.variables, state.optimizer)


def _last_metrics(state: TrainingState) -> dict[str, Any]:
    """Return the metrics of the last epoch without the long list of step losses."""
    return {key: value for key, value in state.history[-1].items() if key != "step_losses"}
