"""Trials on Ray Tune: as many at once as there is room for, each outcome kept as it comes.

A trial whose node is lost is tried again elsewhere; one that fails by itself, out of memory for
instance, is told with its reason, and the others go on.
"""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pintag import files
from train import device, learners
from train.config import SvmConfig, TrainConfig
from train.epochs import Indices
from train.learners import Outcome, Targets, Task

# Attempts after the first: nodes are lost more than once on a large cluster.
_RETRIES = 3

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Trial:
    """One setting to be tried."""

    name: str
    """Unique in its study, and the name of a file."""
    learner: SvmConfig | TrainConfig
    sees: tuple[str, ...]
    """Which of the arrays it sees: that of the images, and that of their views if it sees those."""
    train: Indices
    validation: Indices
    test: Indices


@dataclass(frozen=True)
class RowsOf:
    """What trials see of a data set."""

    arrays: Mapping[str, npt.NDArray[Any]]
    """`[N, ...]` by name: features of a backbone, or of views, or pixels."""
    targets: Targets
    """`int64[N]`, of every row."""
    num_labels: int
    digests: tuple[str, ...] = ()
    """Of the N images."""


@dataclass(frozen=True)
class Resources:
    """What one trial is given."""

    cpus: float = 1.0
    gpus: float = 0.0


class Outcomes:
    """A folder of outcomes, a file for each trial that has ended well."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def __contains__(self, name: str) -> bool:
        return self._path(name).exists()

    def write(self, name: str, encoded: bytes) -> None:
        """Keep an encoded outcome; the file appears whole or not at all."""
        files.write_atomic(self._path(name), encoded)

    def read(self, name: str) -> Outcome:
        """The outcome of a trial that has ended well."""
        return decode(self._path(name).read_bytes())

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.npz"


def encode(outcome: Outcome) -> bytes:
    """As a file of arrays, and JSON for the rest."""
    told = {
        "training_accuracy": outcome.training_accuracy,
        "parameters": outcome.parameters,
        "history": outcome.history,
        "seconds": outcome.seconds,
    }
    buffer = io.BytesIO()
    np.savez(
        buffer, told=np.array(json.dumps(told)), validation=outcome.validation, test=outcome.test
    )
    return buffer.getvalue()


def decode(encoded: bytes) -> Outcome:
    """What was encoded."""
    with np.load(io.BytesIO(encoded), allow_pickle=False) as arrays:
        told = json.loads(str(arrays["told"]))
        told["history"] = tuple(told["history"])
        return Outcome(validation=arrays["validation"], test=arrays["test"], **told)


def run(
    trials: Sequence[Trial],
    data: RowsOf,
    outcomes: Outcomes,
    resources: Resources,
    progress: Progress | None = None,
) -> dict[str, str]:
    """Run those trials that have no outcome yet; why trials failed, by name."""
    missing = [trial for trial in trials if trial.name not in outcomes]
    if not missing:
        return {}
    # Ctrl-C is the driver's to see; nor does anybody read Tune's own logs of each trial.
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    # The older output is silent when it is told to be.
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"
    from ray import tune

    failures: dict[str, str] = {}

    def keep(number: int, result: Mapping[str, Any]) -> None:
        name = missing[number].name
        if "failure" in result:
            failures[name] = result["failure"]
        else:
            outcomes.write(name, result["outcome"])
        if progress:
            progress(len(trials) - len(missing) + len(failures) + kept(), len(trials))

    def kept() -> int:
        return sum(trial.name in outcomes for trial in missing)

    place = outcomes.folder.parent / "tune"
    tuner = tune.Tuner(
        tune.with_resources(
            tune.with_parameters(_try, trials=missing, data=data),
            {"cpu": resources.cpus, "gpu": resources.gpus},
        ),
        param_space={"number": tune.grid_search(list(range(len(missing))))},
        # A process that has imported TensorFlow once is given the next trial.
        tune_config=tune.TuneConfig(reuse_actors=True),
        run_config=tune.RunConfig(
            storage_path=str(place.absolute()),
            verbose=0,
            callbacks=[_keeper(keep)],
            failure_config=tune.FailureConfig(max_failures=_RETRIES),
        ),
    )
    try:
        for number, result in enumerate(tuner.fit()):
            if result.error:
                failures[missing[number].name] = _first_line(result.error)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return failures


def _try(config: Mapping[str, int], trials: Sequence[Trial], data: RowsOf) -> None:
    """One trial, in a process of Tune's."""
    from ray import tune

    trial = trials[config["number"]]
    rows, *views = (data.arrays[name] for name in trial.sees)
    task = Task(
        rows,
        data.targets,
        data.num_labels,
        trial.train,
        trial.validation,
        trial.test,
        data.digests,
        *views,
    )
    try:
        if isinstance(trial.learner, SvmConfig):
            outcome = learners.fit_svm(trial.learner, task)
        else:
            device.limit_threads(1)
            outcome = learners.fit_network(trial.learner, task)
    # What goes wrong by itself would do so again. A process that dies is another matter: Tune sees.
    except Exception as error:
        tune.report({"failure": _first_line(error), "done": True})
    else:
        tune.report({"outcome": encode(outcome), "done": True})


def _keeper(keep: Callable[[int, Mapping[str, Any]], None]) -> Any:
    from ray.tune import Callback

    class Keeper(Callback):  # type: ignore[misc]
        """Writes outcomes as they come: an interrupted study has those that were done."""

        keep: Callable[[int, Mapping[str, Any]], None]

        def on_trial_result(
            self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any
        ) -> None:
            if "outcome" in result or "failure" in result:
                self.keep(result["config"]["number"], result)

        def __getstate__(self) -> dict[str, Any]:
            # Tune keeps its callbacks on disk, to go on by itself: we go on otherwise.
            return {}

    keeper = Keeper()
    keeper.keep = keep
    return keeper


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:300]
