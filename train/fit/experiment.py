"""One training run, from a data set to a bundle: fit, calibrate, evaluate, save."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import softmax

from pintag.cluster import connection, failures
from pintag.core import files, text
from pintag.core.errors import DataError, PintagError, TrainingError
from pintag.data import inspection
from pintag.data.dataset import TEST, TRAIN, VALIDATION, DataSet
from pintag.data.labels import Labels
from pintag.evaluation import metrics, plots
from pintag.evaluation.calibration import fit_temperature
from pintag.evaluation.metrics import Evaluation
from pintag.models import bundle_writer, networks
from pintag.models.bundle import ModelBundle
from pintag.models.engines.tensorflow import TensorFlowEngine
from pintag.models.manifest import model_name
from pintag.models.networks import NetworkSpec
from pintag.train.config import TrainConfig
from pintag.train.fit import features
from pintag.train.fit.checkpoint import EpochRow
from pintag.train.fit.loop import BEST_WEIGHTS, FINE_TUNE, TrainingJob, run
from pintag.train.fit.workspace import RAY_RUN, OnMessage, Workspace, check_space, locked

if TYPE_CHECKING:
    import keras

# The current and best weights and the optimizer's two moments, in two checkpoints, and in the copy
# of which Ray makes one. Then the best weights, and the bundle.
_COPIES_OF_WEIGHTS = 14
# At most this many problems of a data set are in the error.
_MOST_PROBLEMS = 10


def fit(
    config: TrainConfig,
    data: DataSet,
    out: Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    on_progress: OnMessage | None = None,
) -> ModelBundle:
    """Fit a model on the Ray cluster of `RAY_ADDRESS`, or else a local one, and save its bundle.

    The folder `<out>.run` holds the state of an unfinished or interrupted run.

    Args:
        resume: continue the run in `<out>.run`, if there is one. It must have the same
            configuration and data.
        overwrite: replace an existing bundle or unfinished run at `out`.
        on_progress: called with progress messages, on another thread.

    Raises:
        DataError: the data set is unusable.
        WeightsError: the backbone's weights cannot be read or downloaded.
        TrainingError: `out` exists or cannot be written, or the fit failed.
        KeyboardInterrupt: the user interrupted the run, which can be resumed.
    """
    check_usable(data)
    workspace = Workspace(out)
    with locked(out):
        workspace.claim(config, data.fingerprint, resume=resume, overwrite=overwrite)
        return _fit(config, data, workspace, on_progress)


def _fit(
    config: TrainConfig, data: DataSet, workspace: Workspace, on_progress: OnMessage | None
) -> ModelBundle:
    """Fit in a claimed workspace, and remove it after success."""
    with workspace.removed_unless_started():
        spec = config.network_spec(len(data.labels))
        # The driver builds the network first, to find missing weights before any worker starts.
        backbone = networks.build_backbone(spec, config.backbone.weights)
        network = networks.assemble(backbone, networks.build_head(spec, backbone.output_shape[-1]))
        job = _job(config, data, workspace)
        _check_space(job, network, backbone.output_shape[-1])
        with workspace.reporting(on_progress):
            result = _train(job)
        if error := result.get("error"):
            raise _interrupted(error, workspace.folder)
        _check_finite(result, workspace)
        network.load_weights(job.run / BEST_WEIGHTS)
        fitted = _finish(config, data, workspace.out, network, spec, result)
    workspace.remove()
    return fitted


def _check_finite(result: dict[str, Any], workspace: Workspace) -> None:
    """Raise a TrainingError if the loss became no number. The last good epoch is kept."""
    if not (failure := result.get("failure")):
        return
    good = result["epochs"]
    if not good:
        workspace.remove()
        raise TrainingError(f"{failure}; no bundle is written")
    raise TrainingError(
        f"{failure} and give --overwrite; no bundle is written; {workspace.folder} keeps the state "
        f"after epoch {good}, and the best weights in {BEST_WEIGHTS}"
    )


def check_usable(data: DataSet) -> None:
    """Raise a DataError that names the problems of a data set that cannot be trained on."""
    if problems := inspection.inspect(data).problems:
        listed = "; ".join(problems[:_MOST_PROBLEMS])
        if (more := len(problems) - _MOST_PROBLEMS) > 0:
            listed += f"; and {more:,} more, which `pintag data check` lists"
        raise DataError(f"{data.root} is unusable: {listed}")


def _interrupted(reason: object, run_folder: Path) -> TrainingError:
    return TrainingError(
        f"{reason}; no bundle is written; {run_folder} keeps the run, and the same command with "
        "--resume continues it"
    )


def _job(config: TrainConfig, data: DataSet, workspace: Workspace) -> TrainingJob:
    data = data.with_absolute_paths()
    return TrainingJob(
        config=config.with_absolute_paths(),
        num_labels=len(data.labels),
        train=data.splits[TRAIN],
        validation=data.splits[VALIDATION],
        fingerprint=data.fingerprint,
        weights_digest=features.weights_digest(config),
        cache=(config.cache_dir or files.cache()).absolute(),
        run=workspace.folder,
        start=workspace.keep_newest_checkpoint(),
    )


def _train(job: TrainingJob) -> dict[str, Any]:
    """Run the workers to the end and return their history and seconds."""
    # Ray polls its workers at this interval. With the default of 2 s a short fit would wait for it.
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.5")
    started = time.perf_counter()
    # More workers than cores are slow, but the user may configure them.
    with connection.connected(job.config.scaling.num_workers or 1):
        result = _run_trainer(job)
    result.setdefault("seconds", {})["fit"] = time.perf_counter() - started
    return result


def _run_trainer(job: TrainingJob) -> dict[str, Any]:
    import ray
    from ray.train import ScalingConfig
    from ray.train.tensorflow import TensorflowTrainer
    from ray.train.v2.api.exceptions import TrainingFailedError

    workers, use_gpu = _workers(job.config)
    trainer = TensorflowTrainer(
        run,
        train_loop_config=job,
        scaling_config=ScalingConfig(num_workers=workers, use_gpu=use_gpu),
        run_config=_run_config(job),
    )
    try:
        result: dict[str, Any] = trainer.fit().return_value
    # Ray's own process of the run, which is not repeated, may end too.
    except (TrainingFailedError, ray.exceptions.RayError) as error:
        raise _interrupted(_reason(error), job.run) from error
    except SystemExit as error:
        # Ray's own handler of Ctrl-C exits with code 0, which would mean success.
        raise KeyboardInterrupt from error
    result["num_workers"], result["use_gpu"] = workers, use_gpu
    return result


def _run_config(job: TrainingJob) -> Any:
    from ray.train import CheckpointConfig, FailureConfig, RunConfig

    failures = FailureConfig(max_failures=job.config.scaling.max_failures)
    keep = CheckpointConfig(num_to_keep=1)
    return RunConfig(RAY_RUN, str(job.run), failure_config=failures, checkpoint_config=keep)


def _workers(config: TrainConfig) -> tuple[int, bool]:
    """Return the number of workers, and whether each of them has a GPU."""
    import ray

    gpus = int(ray.cluster_resources().get("GPU", 0))
    setting = config.scaling.use_gpu
    use_gpu = gpus > 0 if setting == "auto" else setting
    workers = config.scaling.num_workers or (max(gpus, 1) if use_gpu else 1)
    if use_gpu and workers > gpus:
        raise TrainingError(
            f"scaling.num_workers: {workers} workers need a GPU each, but the cluster has {gpus}"
            " GPUs; reduce it, or set scaling.use_gpu=false"
        )
    return workers, use_gpu


def _reason(error: Exception) -> PintagError:
    """Return the pintag error behind a failed run, or a TrainingError with the first failure."""
    by_worker = getattr(error, "worker_failures", None) or {0: error}
    first = next(iter(by_worker.values()))
    return failures.cause(first) or TrainingError(f"the fit failed: {failures.reason(first)}")


def _finish(
    config: TrainConfig,
    data: DataSet,
    out: Path,
    network: keras.Model,
    spec: NetworkSpec,
    result: dict[str, Any],
) -> ModelBundle:
    """Calibrate on the validation split, evaluate on both splits, and write the bundle."""
    uncalibrated = metrics.predict(TensorFlowEngine(network), data.splits[VALIDATION])
    temperature = fit_temperature(uncalibrated.logits, uncalibrated.targets)
    calibrated = softmax(uncalibrated.logits / temperature, axis=1).astype(np.float32)
    validation = metrics.evaluate(calibrated, uncalibrated.targets, data.labels)
    tested = metrics.predict(TensorFlowEngine(network, temperature), data.splits[TEST])
    test = metrics.evaluate(tested.confidences, tested.targets, data.labels)
    name = config.name or model_name(out, spec.backbone)
    history = result.pop("history")
    return bundle_writer.save(
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
        training={"config": config.model_dump(mode="json"), **result},
        data=_describe(data),
        extra=_further_files(_title(name, data), history, test, data.labels),
    )


def _title(name: str, data: DataSet) -> str:
    """Return the title of a model's plots."""
    return f"{name}: {data.root.name}" + (" (synthetic)" if data.is_synthetic else "")


def _further_files(
    title: str, history: Sequence[EpochRow], test: Evaluation, labels: Labels
) -> dict[str, bytes]:
    """Return the files of a bundle besides its weights and its manifest, by name."""
    return {
        "history.json": json.dumps(history, indent=1).encode(),
        "training.png": plots.training_curves(history, title),
        "confusion.png": plots.confusion_matrix(test.confusion, labels, f"{title}, test"),
    }


def _describe(data: DataSet) -> dict[str, Any]:
    """Return the description of a data set for the manifest."""
    return {
        "fingerprint": data.fingerprint,
        "counts": {split: data.counts(split) for split in data.splits},
        "divided": list(data.divided),
        "unreadable": [text.valid(str(file.path)) for file in data.unreadable],
        "synthetic": data.is_synthetic,
    }


def _check_space(job: TrainingJob, network: keras.Model, width: int) -> None:
    """Raise a TrainingError if the disks have too little space for cached rows or checkpoints."""
    images = len(job.train) + len(job.validation)
    size = job.config.input_size
    rows = features.row_bytes(size, width) * images if job.is_transfer else 0
    if job.is_transfer and (views := job.config.head.views):
        rows += features.row_bytes(size, width) * len(job.train) * (1 + views)
    if not job.is_transfer or FINE_TUNE in job.phases:
        rows += features.row_bytes(size, None) * images
    check_space(job.cache, rows, "set cache_dir or XDG_CACHE_HOME to another folder")
    weights = _COPIES_OF_WEIGHTS * 4 * network.count_params()
    check_space(job.run, weights, "choose another --out")
