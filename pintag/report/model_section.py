"""The section of one model: its settings, its training, and its figures on the test split."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from pintag.core import formatting
from pintag.core.formatting import MISSING
from pintag.evaluation import plots
from pintag.report import charts, tuning
from pintag.report.figure_store import FigureStore
from pintag.report.results import ModelResult, ReportedTrial, Scores
from pintag.report.view import (
    Block,
    Link,
    Paragraph,
    Picture,
    PictureRow,
    Section,
    Strong,
    Table,
    Text,
)


def section(
    model: ModelResult, labels: Sequence[str], file: str, anchor: str, figures: FigureStore
) -> Section:
    """All results of one model.

    Args:
        file: the start of the names of the model's figures.
    """
    title = f"{model.name}: {model.title}" if model.has_title else model.name
    return Section(title, anchor, tuple(_blocks(model, labels, file, figures)))


def _blocks(
    model: ModelResult, labels: Sequence[str], file: str, figures: FigureStore
) -> Iterator[Block]:
    if model.note:
        yield Paragraph(model.note)
    if model.settings:
        yield Paragraph(["Chosen settings: ", Strong(formatting.settings(model.settings)), "."])
    if model.trials:
        yield _trials(model)
    yield from _training(model, file, figures)
    if model.test:
        yield confusion(f"{file}-confusion", model.name, model.test.confusion, labels, figures)
        yield PictureRow(tuple(_test_charts(model, model.test, labels, file, figures)))
    else:
        yield Paragraph("There are no figures on the test split.")


def _trials(model: ModelResult) -> Table:
    """Each setting that was tried, in the order of the trials."""
    keys = list(dict.fromkeys(key for trial in model.trials for key in trial.settings))

    def cells(index: int, trial: ReportedTrial) -> Iterator[Text]:
        yield Strong(f"{index + 1} (chosen)") if index == model.chosen else str(index + 1)
        for key in keys:
            yield formatting.setting(trial.settings[key]) if key in trial.settings else MISSING
        training = trial.training_accuracy
        yield MISSING if training is None else formatting.share(training)
        yield _validation(trial)

    return Table(
        f"Settings tried for {model.name}",
        (
            "trial",
            *(key.replace("_", " ") for key in keys),
            "training accuracy",
            "validation accuracy",
        ),
        tuple(tuple(cells(*row)) for row in enumerate(model.trials)),
    )


def _validation(trial: ReportedTrial) -> Text:
    if trial.validation_accuracy:
        return formatting.interval(trial.validation_accuracy)
    return Link("failed", "failures") if trial.failure else MISSING


def _training(model: ModelResult, file: str, figures: FigureStore) -> Iterator[Picture]:
    if tried := tuning.chart(model.trials, model.chosen):
        yield figures.add(
            f"{file}-tuning",
            tried,
            f"Validation accuracy of {model.name} by its settings, as in the table above.",
            f"Settings tried for {model.name}. A frame marks the chosen ones.",
        )
    if model.history:
        last = model.history[-1]
        yield figures.add(
            f"{file}-curves",
            plots.curves_figure(model.history, f"{model.name}: training"),
            f"Loss and accuracy of {model.name} over {len(model.history)} epochs. The validation"
            f" accuracy of the last epoch is {formatting.share(last['validation_accuracy'])}.",
            f"Training of {model.name} with the chosen settings.{_phases(model)}",
        )


def _phases(model: ModelResult) -> str:
    phases = list(dict.fromkeys(str(row["phase"]) for row in model.history if "phase" in row))
    if len(phases) < 2:
        return ""
    names = ", ".join(phases).replace("_", " ")
    return f" A dotted line marks the start of a phase; the phases are {names}."


def _test_charts(
    model: ModelResult, scores: Scores, labels: Sequence[str], file: str, figures: FigureStore
) -> Iterator[Picture]:
    recalls = "; ".join(
        f"{label} {formatting.interval(scores.recall[label])}"
        for label in labels
        if label in scores.recall
    )
    yield figures.add(
        f"{file}-recall",
        charts.recall(scores, labels),
        f"Recall of {model.name}: {recalls}.",
        "Recall: the share of a label's test images that the model classifies correctly, with"
        " Wilson intervals.",
    )
    if scores.reliability:
        yield figures.add(
            f"{file}-reliability",
            charts.reliability(scores),
            f"Reliability of {model.name}. Its expected calibration error is"
            f" {formatting.interval(scores.ece)}.",
            "Above: the share of right answers by their confidence. Below: the number of answers.",
        )


def confusion(
    file: str, name: str, counts: Sequence[Sequence[int]], labels: Sequence[str], store: FigureStore
) -> Picture:
    """A confusion matrix; the caption names the most frequent mistake."""
    matrix = np.array(counts)
    text = f"{np.trace(matrix):,} of {matrix.sum():,} images are right{_mistake(matrix, labels)}"
    return store.add(
        file,
        plots.confusion_figure(matrix, labels, name),
        f"Confusion matrix of {name}: {text}.",
        f"{text[0].upper()}{text[1:]}.",
    )


def _mistake(matrix: npt.NDArray[np.integer], labels: Sequence[str]) -> str:
    """The most frequent mistake, if it happened at least twice: a single one may be chance."""
    wrong = matrix * (1 - np.eye(len(labels), dtype=int))
    most = int(wrong.max(initial=0))
    if most < 2:
        return "; no mistake happened twice" if most else ""
    true, predicted = np.unravel_index(wrong.argmax(), wrong.shape)
    is_alone = (wrong == most).sum() == 1
    which = "the most frequent mistake" if is_alone else "one of the most frequent mistakes"
    return f"; {which} is {labels[predicted]} for {labels[true]}, {most:,} times"
