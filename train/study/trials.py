"""Runs trials with Ray Tune, as many at once as the cluster has room for, and stores each result.

Ray Tune repeats a trial whose node is lost. A trial that raises an exception is reported as failed
with its reason, and the other trials continue.
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

from pintag.core import errors
from pintag.core.types import Targets
from pintag.train.config import SvmConfig, TrainConfig
from pintag.train.fit import device
from pintag.train.fit.epochs import Indices
from pintag.train.study import learners
from pintag.train.study.learners import TrialResult, TrialTask
from pintag.train.study.trial_results import TrialResults, encode

# Further attempts of a trial whose process dies. A large cluster may lose several nodes.
_RETRIES = 3

OnTrialProgress = Callable[[int, int], None]
OnTrialEnd = Callable[["Trial", Mapping[str, Any]], None]


@dataclass(frozen=True)
class Trial:
    """One learner, to be fitted and tested on given rows."""

    name: str
    """The name of the result's file, unique in the study."""
    learner: SvmConfig | TrainConfig
    inputs: tuple[str, ...]
    """The keys of its input arrays: the images, and their random views if it uses them."""
    train: Indices
    validation: Indices
    test: Indices


@dataclass(frozen=True)
class TrialData:
    """The arrays that trials share."""

    arrays: Mapping[str, npt.NDArray[Any]]
    """`[N, ...]` by key: features of the images or of their views, or pixels."""
    targets: Targets
    """`int64[N]`: the label of every row."""
    num_labels: int
    digests: tuple[str, ...] = ()
    """The digests of the N images."""


@dataclass(frozen=True)
class TrialResources:
    """The resources of one trial."""

    cpus: float = 1.0
    gpus: float = 0.0


def run(
    trials: Sequence[Trial],
    data: TrialData,
    results: TrialResults,
    resources: TrialResources,
    progress: OnTrialProgress | None = None,
) -> dict[str, str]:
    """Run the trials that have no result yet, and return the reason of each failure by name.

    Args:
        progress: called with the number of ended trials and the number of all trials.
    """
    missing = [trial for trial in trials if trial.name not in results]
    failures: dict[str, str] = {}

    def on_end(trial: Trial, outcome: Mapping[str, Any]) -> None:
        if "outcome" in outcome:
            results.write(trial.name, outcome["outcome"])
        else:
            failures[trial.name] = outcome["failure"]
        if progress:
            succeeded = sum(trial.name in results for trial in missing)
            progress(len(trials) - len(missing) + len(failures) + succeeded, len(trials))

    folder = results.folder.parent / "tune"
    try:
        run_within_memory(
            lambda subset: _run_with_tune(subset, data, folder, resources, on_end),
            missing,
            failures,
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return failures


class OutOfMemoryError(Exception):
    """Ray stopped the process of a trial because the node had too little memory."""

    def __init__(self, reason: str, started: Sequence[Trial], waiting: Sequence[Trial]) -> None:
        super().__init__(reason)
        self.started = started
        """Unfinished trials that had started; one of them used too much memory."""
        self.waiting = waiting
        """Trials that had not started."""


def run_within_memory(
    attempt: Callable[[Sequence[Trial]], None],
    trials: Sequence[Trial],
    failures: dict[str, str],
) -> None:
    """Run trials with `attempt`, and add those that run out of memory to `failures`.

    When Ray stops one trial because of its memory, Ray Tune stops all trials and does not report
    which one it was (`RayActorManager._actor_task_failed`, Ray 2.60). The started trials are then
    attempted one by one: each may fit into memory alone, and the one that does not is identified.
    After them, the waiting trials are attempted.
    """
    if not trials:
        return
    try:
        attempt(trials)
    except OutOfMemoryError as error:
        if len(trials) == 1:
            failures[trials[0].name] = str(error)
            return
        for trial in error.started or error.waiting:
            run_within_memory(attempt, [trial], failures)
        run_within_memory(attempt, error.waiting if error.started else (), failures)


def _run_with_tune(
    trials: Sequence[Trial],
    data: TrialData,
    folder: Path,
    resources: TrialResources,
    on_end: OnTrialEnd,
) -> None:
    """Run trials with Ray Tune, as many at once as the cluster has room for.

    Raises:
        OutOfMemoryError: Ray stopped a trial for lack of memory.
        OSError: a result cannot be written.
    """
    _configure_tune()
    attempt = _Attempt(trials, on_end)
    callback = _callback(attempt.started.add, attempt.end)
    tuner = _tuner(trials, data, folder, resources, callback)
    try:
        results = tuner.fit()
    except Exception as error:
        if reason := attempt.reason(error):
            raise reason from error
        raise
    for number, result in enumerate(results):
        if result.error:
            on_end(trials[number], {"failure": errors.summary(result.error)})


class _Attempt:
    """Trials that run with Ray Tune: which have started and ended, and why a result is not kept."""

    def __init__(self, trials: Sequence[Trial], on_end: OnTrialEnd) -> None:
        self._trials, self._on_end = trials, on_end
        self.started: set[int] = set()
        self._ended: set[int] = set()
        self._unwritten: OSError | None = None

    def end(self, number: int, outcome: Mapping[str, Any]) -> None:
        """Pass on the outcome of a trial."""
        self._ended.add(number)
        try:
            self._on_end(self._trials[number], outcome)
        # Ray Tune would turn it into text.
        except OSError as error:
            self._unwritten = error
            raise

    def reason(self, error: Exception) -> Exception | None:
        """Return the error behind one of Ray Tune's, if it is known."""
        from ray import exceptions

        if self._unwritten:
            return self._unwritten
        if not isinstance(error.__cause__, exceptions.OutOfMemoryError):
            return None
        waiting = set(range(len(self._trials))) - self._ended - self.started
        return OutOfMemoryError(
            _describe_memory(error.__cause__),
            self._numbered(self.started - self._ended),
            self._numbered(waiting),
        )

    def _numbered(self, numbers: set[int]) -> list[Trial]:
        return [self._trials[number] for number in sorted(numbers)]


def _configure_tune() -> None:
    """Set Ray Tune's environment variables; call it before Ray Tune is imported."""
    # The driver handles Ctrl-C. Tune's own log of each trial is not used.
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    # Only the older output obeys `verbose=0`.
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"


def _tuner(
    trials: Sequence[Trial],
    data: TrialData,
    folder: Path,
    resources: TrialResources,
    callback: Any,
) -> Any:
    from ray import tune

    return tune.Tuner(
        tune.with_resources(
            tune.with_parameters(_run_trial, trials=trials, data=data),
            {"cpu": resources.cpus, "gpu": resources.gpus},
        ),
        param_space={"number": tune.grid_search(list(range(len(trials))))},
        # Importing TensorFlow takes seconds, so a process runs one trial after another.
        tune_config=tune.TuneConfig(reuse_actors=True),
        run_config=tune.RunConfig(
            storage_path=str(folder.absolute()),
            verbose=0,
            callbacks=[callback],
            failure_config=tune.FailureConfig(max_failures=_RETRIES),
        ),
    )


def _run_trial(config: Mapping[str, int], trials: Sequence[Trial], data: TrialData) -> None:
    """Run one trial in a process of Ray Tune."""
    from ray import tune

    trial = trials[config["number"]]
    try:
        result = _fit(trial.learner, _task(trial, data))
    # An exception would occur again, so the trial has failed. Tune repeats it if its process dies.
    except Exception as error:
        tune.report({"failure": errors.summary(error), "done": True})
    else:
        tune.report({"outcome": encode(result), "done": True})


def _task(trial: Trial, data: TrialData) -> TrialTask:
    rows, *views = (data.arrays[key] for key in trial.inputs)
    parts = (trial.train, trial.validation, trial.test)
    return TrialTask(rows, data.targets, data.num_labels, *parts, data.digests, *views)


def _fit(learner: SvmConfig | TrainConfig, task: TrialTask) -> TrialResult:
    if isinstance(learner, SvmConfig):
        return learners.fit_svm(learner, task)
    device.limit_threads(1)
    return learners.fit_network(learner, task)


def _callback(
    on_start: Callable[[int], None], on_result: Callable[[int, Mapping[str, Any]], None]
) -> Any:
    """Return a callback of Ray Tune that passes the number of a trial, and its outcome."""
    from ray.tune import Callback

    class TrialCallback(Callback):  # type: ignore[misc]
        """Passes on each result at once, so that an interrupted study keeps it."""

        on_start: Callable[[int], None]
        on_result: Callable[[int, Mapping[str, Any]], None]

        def on_trial_start(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
            self.on_start(trial.config["number"])

        def on_trial_result(
            self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any
        ) -> None:
            if "outcome" in result or "failure" in result:
                self.on_result(result["config"]["number"], result)

        def __getstate__(self) -> dict[str, Any]:
            # Tune pickles its callbacks to resume by itself. A study resumes from its own files.
            return {}

    callback = TrialCallback()
    callback.on_start, callback.on_result = on_start, on_result
    return callback


def _describe_memory(error: BaseException) -> str:
    """Return one line with the memory use that Ray's error reports."""
    match = re.search(r"was ([\d.]+ ?\w+ used / [\d.]+ ?\w+) limit", str(error))
    usage = f" ({match[1]})" if match else ""
    return (
        f"out of memory{usage}: Ray stopped the trial although it ran alone; use a smaller batch"
        " size or network, or a node with more memory"
    )
