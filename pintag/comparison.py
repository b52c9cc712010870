"""The models of a study beside one another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from pintag import charts, quantities, recommendation, tradeoff
from pintag.document import Block, Heading, Link, Paragraph, Strong, Table, Text
from pintag.quantities import MISSING
from pintag.results import Entry, Figure, Results, Scores, Timings
from pintag.sketchbook import Sketchbook


def chapter(
    results: Results, timings: Timings, anchors: Mapping[str, str], book: Sketchbook
) -> Iterator[Block]:
    """Figures, sizes and times; `anchors` leads from an entry's name to its section."""
    entries = ranked(results.entries)
    yield Heading("The models compared", anchor="comparison")
    yield _scores(entries, anchors)
    yield Paragraph(
        "In brackets are 95 % intervals. Models stand in the order of their accuracy on the"
        " validation split, which flatters those whose epoch or settings were chosen by it. ECE is"
        " the expected calibration error: how far confidences are from the share of answers that"
        " are right.",
        aside=True,
    )
    yield from _notes(entries)
    yield _costs(entries, timings, anchors)
    yield Paragraph(
        "Prediction is the wall time for one image, its decoding not included; training is that"
        " of the chosen settings, features not included. The parameters of a support vector machine"
        f" are the numbers in its support vectors. Machine: {timings.machine}.",
        aside=True,
    )
    yield from _drawn(timings, entries, book)
    yield from _recall(results, entries, book)
    yield from _pairs(results, entries)


def ranked(entries: Sequence[Entry]) -> list[Entry]:
    """Best accuracy on the validation split first; those without come last."""

    def accuracy(entry: Entry) -> float:
        return entry.validation.accuracy.value if entry.validation else -1.0

    return sorted(entries, key=accuracy, reverse=True)


def _scores(entries: Sequence[Entry], anchors: Mapping[str, str]) -> Table:
    def interval(scores: Scores | None, of: Callable[[Scores], Figure]) -> str:
        return quantities.interval(of(scores)) if scores else MISSING

    return Table(
        "Figures of the models",
        ("model", "validation accuracy", "test accuracy", "test macro-F1", "test ECE"),
        tuple(
            (
                _linked(entry, anchors),
                interval(entry.validation, lambda scores: scores.accuracy),
                interval(entry.test, lambda scores: scores.accuracy),
                interval(entry.test, lambda scores: scores.macro_f1),
                interval(entry.test, lambda scores: scores.ece),
            )
            for entry in entries
        ),
    )


def _linked(entry: Entry, anchors: Mapping[str, str]) -> Text:
    """Its name, and a mark where there is a note."""
    link = Link(entry.name, anchors[entry.name])
    return [link, " *"] if entry.note else link


def _notes(entries: Sequence[Entry]) -> Iterator[Paragraph]:
    """Every note once, with all whom it concerns."""
    concerned: dict[str, list[str]] = {}
    for entry in entries:
        if entry.note:
            concerned.setdefault(entry.note, []).append(entry.name)
    for note, names in concerned.items():
        yield Paragraph(["* ", Strong(", ".join(names)), f": {note}"])


def _costs(entries: Sequence[Entry], timings: Timings, anchors: Mapping[str, str]) -> Table:
    taken = {(each.entry, each.engine, each.batch): each.seconds for each in timings.predictions}
    ways = sorted({(engine, batch) for _, engine, batch in taken})

    def told(entry: Entry) -> Iterator[Text]:
        yield _linked(entry, anchors)
        yield MISSING if entry.parameters is None else quantities.number(entry.parameters)
        yield MISSING if entry.bytes is None else quantities.size(entry.bytes)
        yield _seconds(timings.training.get(entry.name))
        for engine, batch in ways:
            yield _seconds(taken.get((entry.name, engine, batch)))

    columns = [f"one image, {engine}, batch of {batch}" for engine, batch in ways]
    return Table(
        "Size and time of the models",
        ("model", "parameters", "size of weights", "training", *columns),
        tuple(tuple(told(entry)) for entry in entries),
    )


def _seconds(value: float | None) -> str:
    return MISSING if value is None else quantities.seconds(value)


def _drawn(timings: Timings, entries: Sequence[Entry], book: Sketchbook) -> Iterator[Block]:
    yield Heading("Accuracy against prediction time", anchor="trade")
    seconds = recommendation.fastest(timings)
    shown = tradeoff.points(entries, seconds)
    trade = tradeoff.chart(shown, timings.latency_budget)
    if trade is None:
        yield Paragraph("No model has both figures of the test split and a prediction time.")
    else:
        told = "; ".join(
            f"{each.name} {quantities.interval(each.accuracy)} in"
            f" {quantities.seconds(each.seconds)}"
            for each in shown
        )
        front = ", ".join(each.name for each in tradeoff.front(shown))
        yield book.picture(
            "accuracy-and-time",
            trade,
            f"Test accuracy against prediction time: {told}.",
            "Each model by the engine that is fastest with it. On the Pareto front, as none is"
            f" faster and as accurate: {front}. Nothing was chosen by it.",
        )
    training = charts.training(entries, timings.training)
    if training:
        told = "; ".join(
            f"{entry.name} {quantities.seconds(timings.training[entry.name])}"
            for entry in entries
            if entry.name in timings.training
        )
        yield book.picture(
            "training",
            training,
            f"Seconds of training: {told}.",
            "What fitting the chosen settings took.",
        )


def _recall(results: Results, entries: Sequence[Entry], book: Sketchbook) -> Iterator[Block]:
    drawn = charts.recalls(entries, results.data.labels)
    if drawn:
        yield Heading("Recall of each label", anchor="recall")
        yield book.picture(
            "recall",
            drawn,
            "Recall of each label by each model; the figures stand in the sections of the models.",
            "Of each label's test images, the share that a model finds, with Wilson's intervals.",
        )


def _pairs(results: Results, entries: Sequence[Entry]) -> Iterator[Block]:
    yield Heading("Which models the test split tells apart", anchor="pairs")
    names = [entry.name for entry in entries if entry.test]
    if not results.pairs:
        yield Paragraph("No two models have figures of the test split to compare.")
        return
    yield Table(
        "McNemar's exact test on the same test images",
        ("model", *names[:-1]),
        tuple(
            (
                first,
                *(
                    _compared(results, first, second) if place > at else ""
                    for at, second in enumerate(names[:-1])
                ),
            )
            for place, first in enumerate(names)
            if place
        ),
    )
    yield Paragraph(
        "Each cell: the images that only the row's model has right, and those that only the"
        " column's has; then the probability of a difference as large as this between"
        f" equals. Bold where the two differ (p < 0.05). Of {len(results.pairs)} pairs of equals"
        " one in twenty would differ by chance as well; no correction is made for that.",
        aside=True,
    )


def _compared(results: Results, first: str, second: str) -> Text:
    found = recommendation.pair(results, first, second)
    if found is None:
        return MISSING
    apart = f"{found.only_first}\u00a0:\u00a0{found.only_second}"
    text = f"{apart}, {quantities.probability(found.p)}"
    return Strong(text) if found.differs else text
