"""Which model to take, in plain words, by rules that are stated beforehand.

Models are chosen by cross-validation and the validation split; the test split is asked only whether
it can tell the chosen one from smaller or faster ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pintag import quantities
from pintag.document import Items, Paragraph, Strong, Text
from pintag.results import Entry, Pair, Results, Timings

# Of another's time: less of a difference is the noise of a clock.
_FASTER = 0.9


def chapter(results: Results, timings: Timings) -> list[Paragraph | Items]:
    """The rules, and what follows from them."""
    budget = quantities.seconds(timings.latency_budget)
    return [
        Items(
            (
                "Rule 1: where time does not matter, find the network of the best accuracy on the"
                " validation split, and those that McNemar's test cannot tell from it there. Take"
                " the one of the best mean accuracy in cross-validation; one that is not"
                " cross-validated counts with its accuracy on the validation split. A support"
                " vector machine is compared, but cannot be served.",
                "Rule 2: where one image must be answered within a latency budget"
                f" ({budget}, alone in its batch), do the same with those that keep it.",
                "If McNemar's exact test on the test split cannot tell the recommended model from"
                " a smaller or faster one, that one is named too.",
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
    yield ["By rule 1: ", Strong(best.title), f"{_figures(results, best, seconds)}."]
    yield from _unserved(results, best)
    yield from _cheaper(results, best, seconds)
    yield from _better(results, best)
    budget = quantities.seconds(timings.latency_budget)
    if timings.fast_best is None:
        told = "no network kept it" if seconds else "prediction times were not measured"
        yield f"By rule 2, within {budget}: none; {told}."
    elif timings.fast_best == best.name:
        yield f"By rule 2, within {budget}: the same model."
    else:
        fast = results.entry(timings.fast_best)
        told = f"{_figures(results, fast, seconds)}."
        yield [f"By rule 2, within {budget}: ", Strong(fast.title), told]
        yield from _cheaper(results, fast, seconds)
        yield from _better(results, fast)


def _figures(results: Results, entry: Entry, seconds: Mapping[str, float]) -> str:
    """What is known of it, after its title."""
    parts = []
    if folds := results.folds(entry.name):
        parts.append(f"cross-validated accuracy {quantities.interval(folds.mean)}")
    if entry.validation:
        parts.append(f"validation accuracy {quantities.interval(entry.validation.accuracy)}")
    if entry.test:
        parts.append(f"test accuracy {quantities.interval(entry.test.accuracy)}")
    parts += _costs(entry, seconds)
    name = f" ({entry.name})" if entry.is_titled else ""
    return name + "".join(f", {part}" for part in parts)


def _costs(entry: Entry, seconds: Mapping[str, float]) -> list[str]:
    parts = [] if entry.bytes is None else [quantities.size(entry.bytes)]
    if entry.name in seconds:
        parts.append(f"{quantities.seconds(seconds[entry.name])} for one image")
    return parts


def _unserved(results: Results, best: Entry) -> Iterator[Text]:
    """Machines of a higher accuracy, and why they are not recommended all the same."""
    if best.validation is None:
        return
    reached = best.validation.accuracy.value
    higher = [
        f"{entry.name} ({quantities.interval(entry.validation.accuracy)})"
        for entry in results.entries
        if entry.family == "svm" and entry.validation and entry.validation.accuracy.value > reached
    ]
    if higher:
        yield (
            f"A higher validation accuracy has {', '.join(higher)}: a support vector machine,"
            " which cannot be served."
        )


def _cheaper(results: Results, entry: Entry, seconds: Mapping[str, float]) -> Iterator[Text]:
    """Smaller or faster networks that the test split cannot tell from one, in the study's order."""
    compared = [
        (other, gain, found)
        for other in results.entries
        if other.family != "svm"
        and (gain := _gain(other, entry, seconds))
        and (found := pair(results, entry.name, other.name))
    ]
    alike = [(other, gain, found.p) for other, gain, found in compared if not found.differs]
    if alike:
        named = "; ".join(
            f"{other.name}, {gain}"
            f" ({', '.join([*_costs(other, seconds), quantities.probability(p)])})"
            for other, gain, p in alike
        )
        images = f"The {entry.test.images} test images" if entry.test else "The test images"
        yield (
            f"{images} cannot tell {entry.name} from what is smaller or faster: {named}."
            " That does not make them equal: more images might tell them apart."
        )
    elif compared and all(each.only_first > each.only_second for *_, each in compared):
        yield (
            f"McNemar's test finds {entry.name} better than every smaller or faster network it"
            " was compared with."
        )


def _better(results: Results, entry: Entry) -> Iterator[Text]:
    """What the test split finds better than one: no reason to choose it, and worth knowing."""
    found = [
        f"{other.name} ({each.only_second} images that it alone has right to {each.only_first},"
        f" {quantities.probability(each.p)})"
        for other in results.entries
        if (each := pair(results, entry.name, other.name))
        and each.differs
        and each.only_second > each.only_first
    ]
    if found:
        yield (
            f"On the test split McNemar's test finds better than {entry.name}: {', '.join(found)}."
            " The recommendation stays: what is tested on must not choose."
        )


def _gain(other: Entry, entry: Entry, seconds: Mapping[str, float]) -> str:
    """`smaller`, `faster`, both, or nothing: as far as it is known of the two."""
    gains = []
    if other.bytes is not None and entry.bytes is not None and other.bytes < entry.bytes:
        gains.append("smaller")
    if other.name in seconds and seconds[other.name] < _FASTER * seconds.get(entry.name, 0):
        gains.append("faster")
    return " and ".join(gains)
