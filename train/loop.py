"""The training loop that runs in every Ray Train worker.

Phase "head" trains the head on frozen features, or the whole of a network that has no pretrained
part; phase "fine_tune" goes on through the unfrozen blocks with random views. The workers
share each global batch (see `train.step`), so their number does not change what is learnt.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pintag import backbones, networks
from pintag.dataset import TRAIN, VALIDATION, Example
from train import checkpoint, device, epochs, features
from train.checkpoint import State
from train.config import PhaseConfig, TrainConfig
from train.epochs import Course
from train.step import Step
from train.views import DrawnViews, StoredViews

if TYPE_CHECKING:
    import keras

BEST_WEIGHTS = "best.weights.h5"
PROGRESS = "progress.jsonl"
HEAD, FINE_TUNE = "head", "fine_tune"


@dataclass(frozen=True)
class Job:
    """What a worker is told: plain data that travels to other machines."""

    config: TrainConfig
    num_labels: int
    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    fingerprint: str
    """Of the data set; part of the key of everything cached."""
    weights_digest: str
    """What tells one set of backbone weights from another."""
    cache: Path
    run: Path
    """A folder of this run that every worker and the driver see."""

    @property
    def phases(self) -> tuple[str, ...]:
        tunes = self.is_transfer and self.config.fine_tune.epochs > 0
        return (HEAD, FINE_TUNE) if tunes else (HEAD,)

    @property
    def is_transfer(self) -> bool:
        return self.config.network_spec(self.num_labels).is_transfer


def run(job: Job) -> dict[str, Any]:
    """Train as told; the first worker leaves the best weights in `job.run`.

    Returns:
        `history`, a row for each epoch, and `seconds` by stage of this worker.
    """
    from ray import train

    context = train.get_context()
    strategy = device.set_up(job.config, context.get_local_world_size())
    worker = _Worker(job, strategy, context.get_world_rank(), context.get_world_size())
    latest = train.get_checkpoint()
    return worker.run(checkpoint.load(latest) if latest else State())


class _Worker:
    """One worker's share of a run."""

    def __init__(self, job: Job, strategy: Any, rank: int, world: int) -> None:
        self._job, self._strategy, self._rank, self._world = job, strategy, rank, world
        self._seconds: dict[str, float] = {}
        spec = job.config.network_spec(job.num_labels)
        with strategy.scope():
            self._backbone = networks.build_backbone(spec, job.config.backbone.weights)
            self._head = networks.build_head(
                spec, self._backbone.output_shape[-1], seed=job.config.seed
            )
            self._network = networks.assemble(self._backbone, self._head)
            self._extractor = features.extractor(self._backbone)

    def run(self, state: State) -> dict[str, Any]:
        for number, phase in enumerate(self._job.phases):
            if number > state.phase:
                # The part that was trained is now the network's; so the best is, too.
                state = state.next_phase(checkpoint.values(self._model(phase).variables))
            if number == state.phase:
                state = self._train(phase, state)
                checkpoint.assign(self._model(phase).variables, state.best_weights)
        if self._rank == 0:
            self._network.save_weights(self._job.run / BEST_WEIGHTS)
        return {"history": list(state.history), "seconds": self._seconds}

    def _model(self, phase: str) -> keras.Model:
        on_features = phase == HEAD and self._job.is_transfer
        return self._head if on_features else self._network

    def _train(self, phase: str, state: State) -> State:
        head, fine_tune = self._job.config.head, self._job.config.fine_tune
        config: PhaseConfig = head if phase == HEAD else fine_tune
        patience = head.early_stopping if phase == HEAD else None
        if phase == FINE_TUNE:
            name = self._job.config.backbone.name
            backbones.unfreeze(self._backbone, name, fine_tune.unfreeze)
        course = self._course(phase, config.batch_size)
        model = self._model(phase)
        started = reported = time.perf_counter()
        step = Step(
            self._strategy,
            model,
            config.learning_rate,
            head.label_smoothing,
            config.decay_steps(course.steps),
        )
        if state.weights:
            checkpoint.assign(model.variables, state.weights)
            checkpoint.assign(step.optimizer.variables, state.optimizer)
        while state.epoch < config.epochs and not state.is_stale(patience):
            row = epochs.run(course, state.epoch, step)
            state = state.after(
                row | {"phase": phase, "epochs": config.epochs},
                checkpoint.values(model.variables),
                checkpoint.values(step.optimizer.variables),
                keep_last=config.keeps_last,
            )
            self._say(stage="training", **_figures(state))
            done = state.epoch == config.epochs or state.is_stale(patience)
            if done or self._is_due(reported, step):
                self._checkpoint(state)
                reported = time.perf_counter()
        self._seconds[phase] = time.perf_counter() - started
        return state

    def _course(self, phase: str, batch_size: int) -> Course:
        job = self._job
        targets = np.array([example.target for example in job.train + job.validation], np.int64)
        count = len(job.train)
        rows = self._rows(phase)
        return Course(
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

    def _rows(self, phase: str) -> features.Rows:
        """What the phase trains on and is validated on, as it is."""
        job = self._job
        splits = {TRAIN: job.train, VALIDATION: job.validation}
        if phase == HEAD and job.is_transfer:
            return self._computed("features", self._key(), self._extractor, splits)
        key = features.pixels_key(job.fingerprint, job.config.input_size)
        return self._computed("decoding", key, features.identity, splits)

    def _views(self, phase: str, rows: features.Rows) -> epochs.Views | None:
        """What the phase sees instead of the rows to train on."""
        job, seed, count = self._job, self._job.config.seed, self._job.config.head.views
        if phase == HEAD and not count:
            return None
        if phase == FINE_TUNE or not job.is_transfer:
            return DrawnViews(rows, [example.digest for example in job.train], seed)
        transform = features.of_views(self._extractor, seed, count)
        others = self._computed("views", self._key(count), transform, {TRAIN: job.train})
        return StoredViews(rows, others, count, len(job.train), seed)

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
    ) -> features.Rows:
        """Rows of those splits, by all workers together where they are not on disk."""
        from ray.train.collective import barrier

        started = time.perf_counter()
        folder = self._job.cache / key
        total = sum(map(len, splits.values()))
        before = 0

        def progress(done: int, _: int) -> None:
            self._say(stage=stage, done=before + done, total=total)

        for split, examples in splits.items():
            features.compute(
                folder / split, examples, self._job.config.input_size, transform,
                rank=self._rank, world=self._world, progress=progress,
            )  # fmt: skip
            before += len(examples)
        barrier()
        self._seconds[stage] = time.perf_counter() - started
        return features.Rows({folder / split: len(each) for split, each in splits.items()})

    def _is_due(self, reported: float, step: Step) -> bool:
        """Whether a checkpoint is; the workers' clocks differ, so they decide on the mean."""
        elapsed = np.array([time.perf_counter() - reported], np.float32)
        mean = float(step.add_up(elapsed)[0]) / self._world
        return mean >= self._job.config.scaling.checkpoint_seconds

    def _checkpoint(self, state: State) -> None:
        """Hand the state to Ray Train; every worker must call it."""
        from ray import train

        if self._rank == 0:
            with checkpoint.save(state) as saved:
                train.report(_figures(state), checkpoint=saved)
        else:
            train.report(_figures(state))

    def _say(self, **message: Any) -> None:
        if self._rank == 0:
            with (self._job.run / PROGRESS).open("a") as file:
                file.write(json.dumps(message) + "\n")


def _figures(state: State) -> dict[str, Any]:
    """The last epoch's row without what is long."""
    return {key: value for key, value in state.history[-1].items() if key != "step_losses"}
