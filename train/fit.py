"""Fit, calibrate, evaluate, and write a bundle: one experiment from a data set to a model."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import softmax

import cluster
from pintag import bundle, evaluation, files, inspection, networks, plots
from pintag.bundle import ModelBundle
from pintag.calibration import fit_temperature
from pintag.dataset import TEST, TRAIN, VALIDATION, DataSet
from pintag.engine import TensorFlowEngine
from pintag.errors import DataError, PintagError, TrainingError
from pintag.networks import NetworkSpec
from train import features, workspace
from train.config import TrainConfig
from train.loop import BEST_WEIGHTS, FINE_TUNE, Job, run
from train.workspace import RAY_RUN, Watch, Workspace

if TYPE_CHECKING:
    import keras

# Now, the best, and the optimizer's two moments, in this checkpoint and the one before it.
_COPIES_OF_WEIGHTS = 8


def fit(
    config: TrainConfig,
    data: DataSet,
    out: Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    watch: Watch | None = None,
) -> ModelBundle:
    """Run an experiment on a Ray cluster: the one of `RAY_ADDRESS`, else a local one.

    Until the bundle is whole the run lives in `<out>.run`; an interrupted one stays there.

    Args:
        resume: go on with the run in `<out>.run`, which must be of the same request.
        overwrite: replace a bundle or an unfinished run that stands at `out`.
        watch: called with messages of progress, on another thread.

    Raises:
        DataError: the data set is unusable.
        WeightsError: the backbone's weights cannot be had.
        TrainingError: `out` is taken or cannot be written, or the fit failed.
        KeyboardInterrupt: the user interrupted; the run can be resumed.
    """
    if problems := inspection.inspect(data).problems:
        raise DataError(f"{data.root} is unusable: " + "; ".join(problems))
    place = Workspace(out)
    place.claim(config, data.fingerprint, resume=resume, overwrite=overwrite)
    with place.kept_when_begun():
        spec = config.network_spec(len(data.labels))
        # Built here first: weights that cannot be had are found before any worker starts.
        backbone = networks.build_backbone(spec, config.backbone.weights)
        network = networks.assemble(backbone, networks.build_head(spec, backbone.output_shape[-1]))
        job = _job(config, data, place)
        _check_space(job, network, backbone.output_shape[-1])
        with place.watching(watch):
            outcome = _train(job)
        network.load_weights(job.run / BEST_WEIGHTS)
        made = _finish(config, data, out, network, spec, outcome)
    place.remove()
    return made


def _job(config: TrainConfig, data: DataSet, place: Workspace) -> Job:
    data = data.located()
    return Job(
        config=config.located(),
        num_labels=len(data.labels),
        train=data.splits[TRAIN],
        validation=data.splits[VALIDATION],
        fingerprint=data.fingerprint,
        weights_digest=features.weights_digest(config),
        cache=(config.cache_dir or files.cache()).absolute(),
        run=place.folder,
    )


def _train(job: Job) -> dict[str, Any]:
    """Run the workers to the end; their history and seconds."""
    # Ray asks its workers for news at this interval; a short fit should not wait for the next.
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.5")
    started = time.perf_counter()
    # Workers beyond the cores share them: slower, and asked for.
    with cluster.connected(job.config.scaling.num_workers or 1):
        outcome = _run_trainer(job)
    outcome["seconds"]["fit"] = time.perf_counter() - started
    return outcome


def _run_trainer(job: Job) -> dict[str, Any]:
    from ray.train import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
    from ray.train.tensorflow import TensorflowTrainer
    from ray.train.v2.api.exceptions import TrainingFailedError

    workers, use_gpu = _workers(job.config)
    trainer = TensorflowTrainer(
        run,
        train_loop_config=job,
        scaling_config=ScalingConfig(num_workers=workers, use_gpu=use_gpu),
        run_config=RunConfig(
            name=RAY_RUN,
            storage_path=str(job.run),
            checkpoint_config=CheckpointConfig(num_to_keep=1),
            failure_config=FailureConfig(max_failures=job.config.scaling.max_failures),
        ),
    )
    try:
        outcome: dict[str, Any] = trainer.fit().return_value
    except TrainingFailedError as error:
        raise _reason(error) from error
    except SystemExit as error:
        # Ray's own handler of Ctrl-C ends the process with success; it was no success.
        raise KeyboardInterrupt from error
    outcome["num_workers"], outcome["use_gpu"] = workers, use_gpu
    return outcome


def _workers(config: TrainConfig) -> tuple[int, bool]:
    """How many workers, and whether each has a GPU."""
    import ray

    gpus = int(ray.cluster_resources().get("GPU", 0))
    wanted = config.scaling.use_gpu
    use_gpu = gpus > 0 if wanted == "auto" else wanted
    workers = config.scaling.num_workers or (max(gpus, 1) if use_gpu else 1)
    if use_gpu and workers > gpus:
        raise TrainingError(
            f"scaling asks for {workers} workers with a GPU each; the cluster has {gpus} GPUs"
        )
    return workers, use_gpu


def _reason(error: Exception) -> PintagError:
    """The error of ours behind a failed run, or one that names the first failure."""
    failures = getattr(error, "worker_failures", None) or {0: error}
    first = next(iter(failures.values()))
    return cluster.cause(first) or TrainingError(f"the fit failed: {first}")


def _finish(
    config: TrainConfig,
    data: DataSet,
    out: Path,
    network: keras.Model,
    spec: NetworkSpec,
    outcome: dict[str, Any],
) -> ModelBundle:
    """Calibrate on the validation split, evaluate, and write the bundle."""
    plain = evaluation.predict(TensorFlowEngine(network), data.splits[VALIDATION])
    temperature = fit_temperature(plain.logits, plain.targets)
    calibrated = softmax(plain.logits / temperature, axis=1).astype(np.float32)
    validation = evaluation.evaluate(calibrated, plain.targets, data.labels)
    tested = evaluation.predict(TensorFlowEngine(network, temperature), data.splits[TEST])
    test = evaluation.evaluate(tested.confidences, tested.targets, data.labels)
    name = config.name or spec.backbone
    title = f"{name}: {data.root.name}" + (" (synthetic)" if data.is_synthetic else "")
    history = outcome.pop("history")
    return bundle.save(
        out,
        network,
        spec,
        data.labels,
        temperature=temperature,
        name=name,
        metrics={
            VALIDATION: validation.to_json(),
            TEST: test.to_json() | {"seconds_per_image": tested.seconds_per_image},
        },
        training={"config": config.model_dump(mode="json"), **outcome},
        data={
            "fingerprint": data.fingerprint,
            "counts": {split: data.counts(split) for split in data.splits},
            "divided": list(data.divided),
            "unreadable": [str(each.path) for each in data.unreadable],
            "synthetic": data.is_synthetic,
        },
        extra={
            "history.json": json.dumps(history, indent=1).encode(),
            "training.png": plots.training_curves(history, title),
            "confusion.png": plots.confusion_matrix(test.confusion, data.labels, f"{title}, test"),
        },
    )


def _check_space(job: Job, network: keras.Model, width: int) -> None:
    images = len(job.train) + len(job.validation)
    size = job.config.input_size
    rows = features.row_bytes(size, width) * images if job.is_transfer else 0
    if job.is_transfer and (views := job.config.head.views):
        rows += features.row_bytes(size, width) * len(job.train) * (1 + views)
    if not job.is_transfer or FINE_TUNE in job.phases:
        rows += features.row_bytes(size, None) * images
    workspace.check_space(job.cache, rows)
    workspace.check_space(job.run, _COPIES_OF_WEIGHTS * 4 * network.count_params())
