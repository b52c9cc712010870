"""Stage 9: writes the results, the timings and the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pintag.data.dataset import TEST
from pintag.report import writer
from pintag.report.results import CrossValidation, ExplainedImage, Results, Timings
from pintag.train.study import scoring, summary
from pintag.train.study.best_trials import BestTrial
from pintag.train.study.plan import CHANGEABLE, ComparedModel
from pintag.train.study.stages.leak_search import CheckedData
from pintag.train.study.stages.stage import Stage, StudyContext

RESULTS, TIMINGS = "results.json", "timings.json"


@dataclass(frozen=True)
class StageResults:
    """The results of all earlier stages."""

    checked: CheckedData
    models: Sequence[ComparedModel]
    best: Sequence[BestTrial]
    failures: Mapping[str, str]
    folds: list[CrossValidation]
    winner: BestTrial
    explained: list[ExplainedImage]


class ReportStage(Stage[tuple[Results, Timings]]):
    """Computes all figures and writes `results.json`, `timings.json` and the report."""

    def __init__(self, context: StudyContext, stages: StageResults) -> None:
        self._context, self._stages = context, stages

    def is_done(self) -> bool:
        """Return False: the report is always rewritten, as its form differs between versions."""
        return False

    def run(self) -> None:
        store = self._context.store
        results, timings = self._results(), self._timings()
        store.write(RESULTS, results.model_dump_json(indent=1) + "\n")
        store.write(TIMINGS, timings.model_dump_json(indent=1) + "\n")
        writer.write(store.folder, results, timings)

    def result(self) -> tuple[Results, Timings]:
        folder = self._context.store.folder
        return (
            Results.model_validate_json((folder / RESULTS).read_text()),
            Timings.model_validate_json((folder / TIMINGS).read_text()),
        )

    def _results(self) -> Results:
        stages, config = self._stages, self._context.config
        dataset = stages.checked.dataset
        tested = {trial.name: trial.result.test for trial in stages.best}
        best = {trial.name: trial for trial in stages.best}
        return Results(
            title=config.title,
            data=summary.data_summary(dataset.data),
            leaks=stages.checked.leaks,
            entries=[
                summary.model_result(
                    model, best.get(model.name), self._context.store, dataset, stages.failures
                )
                for model in stages.models
            ],
            pairs=scoring.pairs(tested, dataset.targets_of(TEST)),
            cross_validation=stages.folds,
            explained=stages.explained,
            best=stages.winner.name,
            config=config.model_dump(mode="json", exclude=CHANGEABLE, exclude_unset=True),
        )

    def _timings(self) -> Timings:
        stages = self._stages
        return summary.timings(
            stages.best,
            self._context.store,
            stages.checked.dataset,
            stages.folds,
            self._context.config.latency_budget,
        )
