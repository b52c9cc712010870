"""The first section of a report: the winner, why it won, its figures, and how to serve it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

from pintag.core import formatting
from pintag.report import recommendation
from pintag.report.results import ModelResult, Results, Timings
from pintag.report.view import BulletList, Code, Link, Paragraph, Section, Strong, Table


def section(results: Results, timings: Timings, folder: Path) -> Section:
    """The recommendation of a study.

    Args:
        folder: the folder of the study, which has the winner's bundle.
    """
    rules = Section(
        "The rules of the recommendation",
        "rules",
        (BulletList(recommendation.rules(timings)),),
    )
    if results.best is None:
        text = "No model can be recommended: no network has figures on the validation split. See "
        explanation = Paragraph([text, Link("Failures", "failures"), "."])
        return Section("The winner", "winner", (explanation,), (rules,))
    best = results.model(results.best)
    others = (
        *recommendation.alternatives(results, best, recommendation.fastest(timings)),
        *recommendation.within_budget(results, timings),
    )
    return Section(
        "The winner",
        "winner",
        (
            Paragraph([Strong(best.title), f" ({best.name})" if best.has_title else "", "."]),
            Paragraph([Strong("Why it won: "), " ".join(recommendation.reasons(results, best))]),
            _figures(results, best, timings),
            Paragraph("This command serves it:"),
            Code(f"pintag serve --bundle {shlex.quote(str(folder / 'bundle'))}"),
        ),
        (Section("Alternatives", "alternatives", tuple(map(Paragraph, others))), rules),
    )


def _figures(results: Results, best: ModelResult, timings: Timings) -> Table:
    rows = (*_quality(results, best), *_costs(best, timings))
    return Table("Figures of the winner", ("figure", "value"), rows)


def _quality(results: Results, best: ModelResult) -> Iterator[tuple[str, str]]:
    if cross_validation := results.cross_validation_of(best.name):
        folds = formatting.count(len(cross_validation.folds), "fold")
        yield f"accuracy in cross-validation, {folds}", formatting.interval(cross_validation.mean)
    if best.validation:
        yield "accuracy on the validation split", formatting.interval(best.validation.accuracy)
    if best.test:
        yield "accuracy on the test split", formatting.interval(best.test.accuracy)
        yield "macro-F1 on the test split", formatting.interval(best.test.macro_f1)
        yield "calibration error on the test split", formatting.interval(best.test.ece)


def _costs(best: ModelResult, timings: Timings) -> Iterator[tuple[str, str]]:
    if best.parameters is not None:
        yield "parameters", formatting.number(best.parameters)
    if best.bytes is not None:
        yield "size of weights", formatting.size(best.bytes)
    if (seconds := recommendation.fastest(timings).get(best.name)) is not None:
        yield "prediction time of one image", formatting.seconds(seconds)
    if (seconds := timings.training.get(best.name)) is not None:
        yield "training time", formatting.seconds(seconds)
