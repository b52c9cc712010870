"""Runs a study: fits all models on one data set, compares them, and keeps the best.

A study is a sequence of stages (`pintag.train.study.stages`). Each stage stores its results as soon
as they exist, so an interrupted study continues with what is missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from pintag.cluster import connection
from pintag.core import files
from pintag.core.errors import TrainingError
from pintag.data.dataset import VALIDATION, DataSet
from pintag.report.results import Results, Timings
from pintag.train.fit import experiment, workspace
from pintag.train.study import best_trials, interrupt, outdated, plan
from pintag.train.study.plan import ComparedModel, StudyConfig
from pintag.train.study.stages.explanations import Explanations
from pintag.train.study.stages.features import Features
from pintag.train.study.stages.fine_tuning import FineTuning
from pintag.train.study.stages.fold_runs import FoldRuns
from pintag.train.study.stages.leak_search import CheckedData, LeakSearch
from pintag.train.study.stages.prediction_times import PredictionTimes
from pintag.train.study.stages.report import ReportStage, StageResults
from pintag.train.study.stages.stage import OnProgress, StudyContext, complete
from pintag.train.study.stages.trial_runs import FailedTrials, TrialRuns, plan_trials
from pintag.train.study.stages.winner_bundle import WinnerBundle
from pintag.train.study.study_store import StudyStore


def run(
    config: StudyConfig,
    data: DataSet,
    out: Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    drop_leaks: bool = False,
    on_progress: OnProgress | None = None,
) -> tuple[Results, Timings]:
    """Run a study on the Ray cluster of `RAY_ADDRESS`, or else a local one.

    Args:
        resume: continue the study in `out`, if there is one, of the same configuration and data.
        overwrite: replace an existing study in `out`.
        drop_leaks: move images that are in two splits to the earlier split.
        on_progress: called with the title of a stage, the amount done, and the total amount.

    Raises:
        DataError: the data set is unusable.
        TrainingError: `out` exists or cannot be written, or no model could be fitted.
        KeyboardInterrupt: the user interrupted the study, which can be resumed.
    """
    experiment.check_usable(data)
    store = StudyStore(out)
    request = _request(config, data, drop_leaks=drop_leaks)
    with ExitStack() as stack:
        stack.enter_context(workspace.locked(out))
        store.claim(request, resume=resume, overwrite=overwrite)
        stack.enter_context(connection.connected())
        check_interrupt = stack.enter_context(interrupt.remembered())

        def report(title: str, done: float, total: int) -> None:
            check_interrupt()
            if on_progress:
                on_progress(title, done, total)

        context = StudyContext(config, store, report)
        return _run_stages(context, data, drop_leaks=drop_leaks)


def _request(config: StudyConfig, data: DataSet, *, drop_leaks: bool) -> dict[str, Any]:
    """What must be the same when a study is resumed, as plain JSON."""
    return {
        "config": config.model_dump(mode="json", exclude=plan.CHANGEABLE),
        "data": data.fingerprint,
        "drop_leaks": drop_leaks,
    }


def _run_stages(
    context: StudyContext, data: DataSet, *, drop_leaks: bool
) -> tuple[Results, Timings]:
    try:
        return _complete_stages(context, data, drop_leaks=drop_leaks)
    # For example, the disk is full.
    except OSError as error:
        raise TrainingError(
            f"{files.explain(error)}; {context.store.folder} keeps what is done, and the same "
            "command with --resume continues the study"
        ) from error


def _complete_stages(
    context: StudyContext, data: DataSet, *, drop_leaks: bool
) -> tuple[Results, Timings]:
    checked = complete(LeakSearch(context, data, drop_leaks=drop_leaks))
    dataset, models = checked.dataset, plan.compared_models(context.config)
    failures = _fit_models(context, checked, models)
    best = best_trials.find(models, context.store, dataset)
    if not best:
        raise _no_model(failures)
    outdated.remove_of_other_settings(context.store, best)
    contenders = best_trials.contenders(best, dataset.targets_of(VALIDATION))
    folds = complete(FoldRuns(context, checked, contenders))
    winner = best_trials.winner(contenders, folds)
    outdated.remove_of_other_winner(context.store, winner)
    bundle = complete(WinnerBundle(context, dataset, winner))
    complete(PredictionTimes(context, dataset, best))
    explained = complete(Explanations(context, dataset.data, bundle))
    stages = StageResults(checked, models, best, failures, folds, winner, explained)
    return complete(ReportStage(context, stages))


def _fit_models(
    context: StudyContext, checked: CheckedData, models: Sequence[ComparedModel]
) -> FailedTrials:
    """Fit all models and return the reasons of the trials that failed."""
    dataset = checked.dataset
    planned = plan_trials(models, dataset)
    inputs = complete(Features(context, dataset, planned.trials))
    failed = complete(TrialRuns(context, "trials", dataset, planned.trials, inputs))
    return planned.failures | failed | complete(FineTuning(context, dataset, models))


def _no_model(failures: Mapping[str, str]) -> TrainingError:
    first = next(iter(failures.values()), "no trial was planned")
    return TrainingError(f"no model could be fitted: {first}")
