"""The sections that compare the models of a study with one another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from matplotlib.figure import Figure

from pintag.core import formatting
from pintag.core.formatting import MISSING
from pintag.report import charts, recommendation, tradeoff
from pintag.report.figure_store import FigureStore
from pintag.report.results import IntervalFigure, ModelResult, Results, Scores, Timings
from pintag.report.view import Block, Link, Paragraph, Picture, Section, Strong, Table, Text

Anchors = Mapping[str, str]
"""The anchor of each model's section, by the name of the model."""


def sections(
    results: Results, timings: Timings, anchors: Anchors, figures: FigureStore
) -> Iterator[Section]:
    """Figures, costs, recall and significance of all models that were fitted."""
    models = ranked(results.fitted)
    tables = (*_tables(models, timings, anchors), *_failed(results))
    yield Section("Comparison of the models", "comparison", tables)
    yield Section("Accuracy and prediction time", "trade", tuple(_costs(models, timings, figures)))
    if recalls := charts.recalls(models, results.data.labels):
        yield Section("Recall of each label", "recall", (_recall(figures, recalls),))
    yield Section("Significant differences", "pairs", tuple(_pairs(results, models)))


def ranked(models: Sequence[ModelResult]) -> list[ModelResult]:
    """The models by their accuracy on the validation split, the highest first."""

    def accuracy(model: ModelResult) -> float:
        return model.validation.accuracy.value if model.validation else -1.0

    return sorted(models, key=accuracy, reverse=True)


def _tables(models: Sequence[ModelResult], timings: Timings, anchors: Anchors) -> Iterator[Block]:
    yield _scores(models, anchors)
    yield Paragraph(
        "In brackets: 95 % intervals. The models are ordered by their accuracy on the validation"
        " split. That accuracy is too optimistic for a model whose epoch or settings were chosen by"
        " it. ECE is the expected calibration error: the mean difference between the confidence of"
        " answers and the share of them that is right.",
        is_note=True,
    )
    yield from _notes(models)
    yield _cost_table(models, timings, anchors)
    yield Paragraph(
        "Prediction times are wall times for one image, without its decoding. Training times are"
        " those of the chosen settings, without the computation of features. The parameters of a"
        " support vector machine are the numbers in its support vectors. Machine:"
        f" {timings.machine}.",
        is_note=True,
    )


def _failed(results: Results) -> Iterator[Paragraph]:
    if failed := len(results.entries) - len(results.fitted):
        count = formatting.count(failed, "model")
        yield Paragraph(
            [f"{count} failed, and cannot be compared: see ", Link("Failures", "failures"), "."]
        )


def _scores(models: Sequence[ModelResult], anchors: Anchors) -> Table:
    def interval(scores: Scores | None, figure: Callable[[Scores], IntervalFigure]) -> str:
        return formatting.interval(figure(scores)) if scores else MISSING

    return Table(
        "Quality of the models",
        ("model", "validation accuracy", "test accuracy", "test macro-F1", "test ECE"),
        tuple(
            (
                _linked(model, anchors),
                interval(model.validation, lambda scores: scores.accuracy),
                interval(model.test, lambda scores: scores.accuracy),
                interval(model.test, lambda scores: scores.macro_f1),
                interval(model.test, lambda scores: scores.ece),
            )
            for model in models
        ),
    )


def _linked(model: ModelResult, anchors: Anchors) -> Text:
    """The name as a link to the model's section, with a star if the model has a note."""
    link = Link(model.name, anchors[model.name])
    return [link, " *"] if model.note else link


def _notes(models: Sequence[ModelResult]) -> Iterator[Paragraph]:
    """Each note once, with the names of all models that have it."""
    names_by_note: dict[str, list[str]] = {}
    for model in models:
        if model.note:
            names_by_note.setdefault(model.note, []).append(model.name)
    for note, names in names_by_note.items():
        yield Paragraph(["* ", Strong(", ".join(names)), f": {note}"])


def _cost_table(models: Sequence[ModelResult], timings: Timings, anchors: Anchors) -> Table:
    seconds = {(time.entry, time.engine, time.batch): time.seconds for time in timings.predictions}
    variants = sorted({(engine, batch) for _, engine, batch in seconds})

    def cells(model: ModelResult) -> Iterator[Text]:
        yield _linked(model, anchors)
        yield MISSING if model.parameters is None else formatting.number(model.parameters)
        yield MISSING if model.bytes is None else formatting.size(model.bytes)
        yield _seconds(timings.training.get(model.name))
        for engine, batch in variants:
            yield _seconds(seconds.get((model.name, engine, batch)))

    columns = [f"one image, {engine}, batch of {batch}" for engine, batch in variants]
    return Table(
        "Size and times of the models",
        ("model", "parameters", "size of weights", "training", *columns),
        tuple(tuple(cells(model)) for model in models),
    )


def _seconds(value: float | None) -> str:
    return MISSING if value is None else formatting.seconds(value)


def _costs(
    models: Sequence[ModelResult], timings: Timings, figures: FigureStore
) -> Iterator[Block]:
    points = tradeoff.points(models, recommendation.fastest(timings))
    chart = tradeoff.chart(points, timings.latency_budget)
    if chart is None:
        yield Paragraph("No model has both figures on the test split and a prediction time.")
    else:
        text = "; ".join(
            f"{point.name} {formatting.interval(point.accuracy)} in"
            f" {formatting.seconds(point.seconds)}"
            for point in points
        )
        front = ", ".join(point.name for point in tradeoff.pareto_front(points))
        yield figures.add(
            "accuracy-and-time",
            chart,
            f"Test accuracy against prediction time: {text}.",
            "Each model with its fastest engine. On the Pareto front, where no other model is both"
            f" faster and at least as accurate: {front}. Nothing was chosen by this chart.",
        )
    yield from _training(models, timings, figures)


def _training(
    models: Sequence[ModelResult], timings: Timings, figures: FigureStore
) -> Iterator[Picture]:
    chart = charts.training(models, timings.training)
    if chart is None:
        return
    text = "; ".join(
        f"{model.name} {formatting.seconds(timings.training[model.name])}"
        for model in models
        if model.name in timings.training
    )
    yield figures.add(
        "training", chart, f"Training times: {text}.", "Training times of the chosen settings."
    )


def _recall(figures: FigureStore, chart: Figure) -> Picture:
    return figures.add(
        "recall",
        chart,
        "Recall of each label by each model. The section of a model has its figures.",
        "Recall: the share of a label's test images that a model classifies correctly, with Wilson"
        " intervals.",
    )


def _pairs(results: Results, models: Sequence[ModelResult]) -> Iterator[Block]:
    names = [model.name for model in models if model.test]
    if not results.pairs:
        yield Paragraph("No two models have figures on the test split to compare.")
        return
    yield Table(
        "McNemar's exact test on the same test images",
        ("model", *names[:-1]),
        tuple(
            (
                first,
                *(
                    _compared(results, first, second) if row > column else ""
                    for column, second in enumerate(names[:-1])
                ),
            )
            for row, first in enumerate(names)
            if row
        ),
    )
    yield Paragraph(
        "Each cell has the number of images that only the model of the row classifies correctly,"
        " the number of those that only the model of the column does, and p: the probability of at"
        " least this difference between two equally good models. Significant differences (p < 0.05)"
        f" are bold. Among {formatting.count(len(results.pairs), 'pair')} of equally good models,"
        " one in twenty would be significant by chance; p is not corrected for this.",
        is_note=True,
    )


def _compared(results: Results, first: str, second: str) -> Text:
    comparison = recommendation.pair(results, first, second)
    if comparison is None:
        return MISSING
    counts = f"{comparison.only_first}\u00a0:\u00a0{comparison.only_second}"
    text = f"{counts}, {formatting.probability(comparison.p)}"
    return Strong(text) if comparison.differs else text
