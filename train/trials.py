"""Trials on Ray Tune: as many at once as there is room for, each outcome kept as it comes.

A trial whose node is lost is tried again elsewhere; one that fails by itself, out of memory for
instance, is told with its reason, and the others go on.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt

from train import device, learners
from train.config import SvmConfig, TrainConfig
from train.epochs import Indices
from train.learners import Targets, Task
from train.outcomes import Outcomes, encode

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


def run(
    trials: Sequence[Trial],
    data: RowsOf,
    outcomes: Outcomes,
    resources: Resources,
    progress: Progress | None = None,
) -> dict[str, str]:
    """Run those trials that have no outcome yet; why trials failed, by name."""
    missing = [trial for trial in trials if trial.name not in outcomes]
    failures: dict[str, str] = {}

    def ended(trial: Trial, result: Mapping[str, Any]) -> None:
        if "outcome" in result:
            outcomes.write(trial.name, result["outcome"])
        else:
            failures[trial.name] = result["failure"]
        if progress:
            kept = sum(each.name in outcomes for each in missing)
            progress(len(trials) - len(missing) + len(failures) + kept, len(trials))

    place = outcomes.folder.parent / "tune"
    try:
        within_memory(lambda some: _tuned(some, data, place, resources, ended), missing, failures)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return failures


class OutOfMemoryError(Exception):
    """Ray ended the process of a trial, as its node was running low on memory."""

    def __init__(self, reason: str, begun: Sequence[Trial], waiting: Sequence[Trial]) -> None:
        super().__init__(reason)
        self.begun = begun
        """Trials that were running: one of them took the memory."""
        self.waiting = waiting
        """Trials that had not begun."""


def within_memory(
    attempt: Callable[[Sequence[Trial]], None],
    trials: Sequence[Trial],
    failures: dict[str, str],
) -> None:
    """Attempt trials that may run out of memory, and note which did.

    Ray Tune gives up all trials when one is ended for its memory, and does not say which
    (`RayActorManager._actor_task_failed`, Ray 2.60). What was running is tried again one by one:
    alone it may have room, and if not it is known whose fault it is. Then the rest goes on.
    """
    if not trials:
        return
    try:
        attempt(trials)
    except OutOfMemoryError as error:
        if len(trials) == 1:
            failures[trials[0].name] = str(error)
            return
        for trial in error.begun or error.waiting:
            within_memory(attempt, [trial], failures)
        within_memory(attempt, error.waiting if error.begun else (), failures)


def _tuned(
    trials: Sequence[Trial],
    data: RowsOf,
    place: Path,
    resources: Resources,
    ended: Callable[[Trial, Mapping[str, Any]], None],
) -> None:
    """Trials by Ray Tune, as many at once as there is room for.

    Raises:
        OutOfMemoryError: there was not enough memory for those that ran.
    """
    # Ctrl-C is the driver's to see; nor does anybody read Tune's own logs of each trial.
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    # The older output is silent when it is told to be.
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"
    from ray import exceptions, tune

    begun: set[int] = set()
    over: set[int] = set()

    def keep(number: int, result: Mapping[str, Any]) -> None:
        over.add(number)
        ended(trials[number], result)

    tuner = tune.Tuner(
        tune.with_resources(
            tune.with_parameters(_try, trials=trials, data=data),
            {"cpu": resources.cpus, "gpu": resources.gpus},
        ),
        param_space={"number": tune.grid_search(list(range(len(trials))))},
        # A process that has imported TensorFlow once is given the next trial.
        tune_config=tune.TuneConfig(reuse_actors=True),
        run_config=tune.RunConfig(
            storage_path=str(place.absolute()),
            verbose=0,
            callbacks=[_keeper(begun.add, keep)],
            failure_config=tune.FailureConfig(max_failures=_RETRIES),
        ),
    )
    try:
        results = tuner.fit()
    except RuntimeError as error:
        if not isinstance(error.__cause__, exceptions.OutOfMemoryError):
            raise
        left = {number: trial for number, trial in enumerate(trials) if number not in over}
        raise OutOfMemoryError(
            _memory(error.__cause__),
            [trial for number, trial in left.items() if number in begun],
            [trial for number, trial in left.items() if number not in begun],
        ) from error
    for number, result in enumerate(results):
        if result.error:
            ended(trials[number], {"failure": _first_line(result.error)})


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


def _keeper(begin: Callable[[int], None], keep: Callable[[int, Mapping[str, Any]], None]) -> Any:
    from ray.tune import Callback

    class Keeper(Callback):  # type: ignore[misc]
        """Writes outcomes as they come: an interrupted study has those that were done."""

        begin: Callable[[int], None]
        keep: Callable[[int, Mapping[str, Any]], None]

        def on_trial_start(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
            self.begin(trial.config["number"])

        def on_trial_result(
            self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any
        ) -> None:
            if "outcome" in result or "failure" in result:
                self.keep(result["config"]["number"], result)

        def __getstate__(self) -> dict[str, Any]:
            # Tune keeps its callbacks on disk, to go on by itself: we go on otherwise.
            return {}

    keeper = Keeper()
    keeper.begin, keeper.keep = begin, keep
    return keeper


def _memory(error: BaseException) -> str:
    """What Ray tells of a node that ran low on memory, in a line."""
    found = re.search(r"was ([\d.]+ ?\w+ used / [\d.]+ ?\w+) limit", str(error))
    how_much = f" ({found[1]})" if found else ""
    return (
        f"out of memory{how_much}: it ran alone, and Ray ended its process; a smaller batch or"
        " network may fit, or a node with more memory"
    )


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:300]
