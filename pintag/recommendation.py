"""Which model to take, in plain words, by rules that are stated beforehand.

Models are chosen by their figures on the validation split; the test split is asked only whether it
can tell the chosen one from faster ones.
"""

from __future__ import annotations

from collections.abc import Iterator

from pintag import quantities
from pintag.document import Items, Paragraph, Strong, Text
from pintag.results import Entry, Pair, Results, Timings


def chapter(results: Results, timings: Timings) -> list[Paragraph | Items]:
    """The rules, and what follows from them."""
    budget = quantities.seconds(timings.latency_budget)
    return [
        Items(
            (
                "Rule 1: where time does not matter, take the model of the best accuracy on the"
                " validation split.",
                "Rule 2: where one image must be answered within a latency budget"
                f" ({budget}, alone in its batch), take the best one on the validation split of"
                " those that keep it.",
                "If McNemar's exact test on the test split cannot tell the recommended model from"
                " a faster one, the faster one is named too.",
            )
        ),
        *(Paragraph(text) for text in _sentences(results, timings)),
    ]


def fastest(timings: Timings, batch: int = 1) -> dict[str, float]:
    """Of each entry the seconds for an image by the engine that is fastest with it."""
    found: dict[str, float] = {}
    for each in timings.predictions:
        if each.batch == batch:
            found[each.entry] = min(each.seconds, found.get(each.entry, each.seconds))
    return found


def pair(results: Results, first: str, second: str) -> Pair | None:
    """The comparison of two entries, seen from the first; none where it was not made."""
    for each in results.pairs:
        if (each.first, each.second) == (first, second):
            return each
        if (each.first, each.second) == (second, first):
            return each.model_copy(
                update={
                    "first": first,
                    "second": second,
                    "only_first": each.only_second,
                    "only_second": each.only_first,
                }
            )
    return None


def _sentences(results: Results, timings: Timings) -> Iterator[Text]:
    if results.best is None:
        yield "No model can be recommended: none has figures on the validation split."
        return
    seconds = fastest(timings)
    best = results.entry(results.best)
    yield ["By rule 1: ", Strong(best.title), f" ({best.name}){_figures(best, seconds)}."]
    yield from _faster(results, best, seconds)
    budget = quantities.seconds(timings.latency_budget)
    if timings.fast_best is None:
        told = "no model kept it" if seconds else "prediction times were not measured"
        yield f"By rule 2, within {budget}: none; {told}."
    elif timings.fast_best == best.name:
        yield f"By rule 2, within {budget}: the same model."
    else:
        fast = results.entry(timings.fast_best)
        yield [
            f"By rule 2, within {budget}: ",
            Strong(fast.title),
            f" ({fast.name}){_figures(fast, seconds)}.",
        ]
        yield from _faster(results, fast, seconds)


def _figures(entry: Entry, seconds: dict[str, float]) -> str:
    """What is known of it, after its name."""
    parts = []
    if entry.validation:
        parts.append(f"validation accuracy {quantities.interval(entry.validation.accuracy)}")
    if entry.test:
        parts.append(f"test accuracy {quantities.interval(entry.test.accuracy)}")
    if entry.name in seconds:
        parts.append(f"{quantities.seconds(seconds[entry.name])} for one image")
    return "".join(f", {part}" for part in parts)


def _faster(results: Results, entry: Entry, seconds: dict[str, float]) -> Iterator[Text]:
    """Faster models that the test split cannot tell from one, fastest first."""
    if entry.name not in seconds:
        return
    faster = sorted((taken, name) for name, taken in seconds.items() if taken < seconds[entry.name])
    compared = [
        (name, taken, found)
        for taken, name in faster
        if (found := pair(results, entry.name, name)) is not None
    ]
    alike = [(name, taken, found.p) for name, taken, found in compared if not found.differs]
    if alike:
        named = ", ".join(
            f"{name} ({quantities.seconds(taken)} for one image, {quantities.probability(p)})"
            for name, taken, p in alike
        )
        images = f"The {entry.test.images} test images" if entry.test else "The test images"
        yield (
            f"{images} cannot tell {entry.name} from what is faster: {named}."
            " That does not make them equal: more images might tell them apart."
        )
    elif compared:
        yield f"McNemar's test tells {entry.name} from every faster model it was compared with."
