"""One model of a study: what was tried, what was chosen, and how good it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from pintag import charts, plots, quantities, tuning
from pintag.document import Block, Heading, Paragraph, Picture, Pictures, Strong, Table, Text
from pintag.quantities import MISSING
from pintag.results import Entry, Scores, Trial
from pintag.sketchbook import Sketchbook


def section(
    entry: Entry, labels: Sequence[str], name: str, anchor: str, book: Sketchbook
) -> Iterator[Block]:
    """Everything that is known of one model; `name` begins the names of its figures' files."""
    yield Heading(f"{entry.name}: {entry.title}" if entry.is_titled else entry.name, 3, anchor)
    if entry.note:
        yield Paragraph(entry.note)
    if entry.failure:
        yield Paragraph([Strong("It failed: "), entry.failure])
    if entry.settings:
        yield Paragraph(["Chosen settings: ", Strong(quantities.settings(entry.settings)), "."])
    if entry.trials:
        yield _trials(entry)
    yield from _course(entry, name, book)
    if entry.test:
        yield confusion(f"{name}-confusion", entry.name, entry.test.confusion, labels, book)
        yield Pictures(tuple(_tested(entry, entry.test, labels, name, book)))
    else:
        yield Paragraph("There are no figures of the test split.")


def _trials(entry: Entry) -> Table:
    """Every setting that was tried, as it was tried."""
    keys = list(dict.fromkeys(key for trial in entry.trials for key in trial.settings))

    def told(number: int, trial: Trial) -> Iterator[Text]:
        is_chosen = number == entry.chosen
        yield Strong(f"{number + 1} (chosen)") if is_chosen else str(number + 1)
        for key in keys:
            yield quantities.setting(trial.settings[key]) if key in trial.settings else MISSING
        training = trial.training_accuracy
        yield MISSING if training is None else quantities.share(training)
        if trial.validation_accuracy:
            yield quantities.interval(trial.validation_accuracy)
        else:
            yield "failed" if trial.failure else MISSING

    return Table(
        f"Settings tried for {entry.name}",
        (
            "trial",
            *(key.replace("_", " ") for key in keys),
            "training accuracy",
            "validation accuracy",
        ),
        tuple(tuple(told(*each)) for each in enumerate(entry.trials)),
    )


def _course(entry: Entry, name: str, book: Sketchbook) -> Iterator[Picture]:
    tried = tuning.chart(entry.trials, entry.chosen)
    if tried:
        yield book.picture(
            f"{name}-tuning",
            tried,
            f"Validation accuracy of {entry.name} by its settings, as in the table above.",
            f"Tuning of {entry.name}; the chosen settings are framed.",
        )
    if entry.history:
        last = entry.history[-1]
        yield book.picture(
            f"{name}-curves",
            plots.curves_figure(entry.history, f"{entry.name}: training"),
            f"Loss and accuracy of {entry.name} over {len(entry.history)} epochs; at the last one"
            f" the validation accuracy is {quantities.share(last['validation_accuracy'])}.",
            f"Training of {entry.name} with the chosen settings{_phases(entry)}.",
        )


def _phases(entry: Entry) -> str:
    phases = list(dict.fromkeys(str(row["phase"]) for row in entry.history if "phase" in row))
    if len(phases) < 2:
        return ""
    return f"; dotted, where a phase begins: {', '.join(phases).replace('_', ' ')}"


def _tested(
    entry: Entry, scores: Scores, labels: Sequence[str], name: str, book: Sketchbook
) -> Iterator[Picture]:
    told = "; ".join(
        f"{label} {quantities.interval(scores.recall[label])}"
        for label in labels
        if label in scores.recall
    )
    yield book.picture(
        f"{name}-recall",
        charts.recall(scores, labels),
        f"Recall of {entry.name}: {told}.",
        "Of each label's test images, the share that is found, with Wilson's intervals.",
    )
    if scores.reliability:
        yield book.picture(
            f"{name}-reliability",
            charts.reliability(scores),
            f"Reliability of {entry.name}; its expected calibration error is"
            f" {quantities.interval(scores.ece)}.",
            "How often answers of a confidence are right, and how many there are of each.",
        )


def confusion(
    file: str, name: str, counts: Sequence[Sequence[int]], labels: Sequence[str], book: Sketchbook
) -> Picture:
    """A confusion matrix, with its commonest mistake in words."""
    matrix = np.array(counts)
    said = f"{np.trace(matrix):,} of {matrix.sum():,} images are right{_mistake(matrix, labels)}"
    return book.picture(
        file,
        plots.confusion_figure(matrix, labels, name),
        f"Confusion matrix of {name}: {said}.",
        f"{said[0].upper()}{said[1:]}.",
    )


def _mistake(matrix: npt.NDArray[np.integer], labels: Sequence[str]) -> str:
    """The commonest one, if one is; what happened once is none to learn from."""
    wrong = matrix * (1 - np.eye(len(labels), dtype=int))
    most = int(wrong.max(initial=0))
    if most < 2:
        return "; no mistake was made twice" if most else ""
    true, predicted = np.unravel_index(wrong.argmax(), wrong.shape)
    is_alone = (wrong == most).sum() == 1
    which = "the commonest mistake" if is_alone else "one of the commonest mistakes"
    return f"; {which} is {labels[predicted]} for {labels[true]}, {most:,} times"
