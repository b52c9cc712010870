"""Sentences that explain why a model is recommended, and which alternatives there are.

Models are chosen by cross-validation and the validation split. The test split only shows whether
the chosen model differs significantly from smaller or faster ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pintag.core import formatting
from pintag.report.results import (
    CrossValidation,
    ModelPair,
    ModelResult,
    Results,
    Scores,
    Timings,
)
from pintag.report.view import Strong, Text

# A model is faster if its time is below this share of the other's: smaller gains are noise.
_FASTER = 0.9


def fastest(timings: Timings, batch: int = 1) -> dict[str, float]:
    """Seconds for one image by model, each with its fastest engine."""
    seconds: dict[str, float] = {}
    for time in timings.predictions:
        if time.batch == batch:
            seconds[time.entry] = min(time.seconds, seconds.get(time.entry, time.seconds))
    return seconds


def pair(results: Results, first: str, second: str) -> ModelPair | None:
    """The comparison of two models in this order; None if they were not compared."""
    for compared in results.pairs:
        if (compared.first, compared.second) == (first, second):
            return compared
        if (compared.first, compared.second) == (second, first):
            return compared.model_copy(
                update={
                    "first": first,
                    "second": second,
                    "only_first": compared.only_second,
                    "only_second": compared.only_first,
                }
            )
    return None


def rules(timings: Timings) -> tuple[str, ...]:
    """The rules that recommend a model."""
    budget = formatting.seconds(timings.latency_budget)
    return (
        "Rule 1: start from the network with the best accuracy on the validation split, and from"
        " those that do not differ from it significantly there (McNemar's test). The winner is the"
        " one with the best mean accuracy in cross-validation. For a network without"
        " cross-validation its accuracy on the validation split counts. A support vector machine is"
        " compared with the networks, but it cannot be served.",
        f"Rule 2: if an image must be answered within a latency budget ({budget}, in a batch of"
        " one), rule 1 is applied to the networks that are within the budget.",
        "A smaller or faster network is an alternative if it does not differ significantly from the"
        " recommended one on the test split (McNemar's exact test).",
    )


def reasons(results: Results, best: ModelResult) -> Iterator[str]:
    """The reasons for the choice of the winner."""
    own = results.cross_validation_of(best.name)
    others = [other for other in results.cross_validation if other.entry != best.name]
    if own and others:
        yield _won_in_folds(best, own, others)
    elif others:
        yield _won_without_folds(best, others)
    else:
        yield _won_on_validation(results, best)
    yield from _higher_machines(results, best)


def within_budget(results: Results, timings: Timings) -> Iterator[Text]:
    """The outcome of rule 2."""
    seconds = fastest(timings)
    start = f"Within the latency budget of {formatting.seconds(timings.latency_budget)}"
    if timings.fast_best is None:
        measured = "no network was fast enough" if seconds else "prediction times were not measured"
        yield f"{start}, no model can be recommended: {measured}."
    elif timings.fast_best == results.best:
        yield f"{start}, the recommendation is the same model."
    else:
        fast = results.model(timings.fast_best)
        name = f" ({fast.name})" if fast.has_title else ""
        figures = "".join(f", {figure}" for figure in _figures(results, fast, seconds))
        yield [f"{start}, the recommendation is ", Strong(fast.title), f"{name}{figures}."]
        yield from alternatives(results, fast, seconds)


def alternatives(
    results: Results, model: ModelResult, seconds: Mapping[str, float]
) -> Iterator[str]:
    """Smaller, faster or better networks than a recommended one, as far as they are known.

    Args:
        seconds: the seconds for one image, by model.
    """
    yield from _cheaper(results, model, seconds)
    yield from _better(results, model)


def _won_in_folds(
    best: ModelResult, own: CrossValidation, others: Sequence[CrossValidation]
) -> str:
    second = max(others, key=lambda other: other.mean.value)
    names = ", ".join([best.name, *(other.entry for other in others)])
    tie = " The accuracy on the validation split decided between the two."
    return (
        f"{len(others) + 1} networks were cross-validated, as they do not differ significantly from"
        f" the most accurate one on the validation split: {names}. Of these, {best.name} has the"
        f" highest mean accuracy over {len(own.folds)} folds, {formatting.share(own.mean.value)};"
        f" {second.entry} follows with {formatting.share(second.mean.value)}."
        + (tie if second.mean.value == own.mean.value else "")
    )


def _won_without_folds(best: ModelResult, others: Sequence[CrossValidation]) -> str:
    second = max(others, key=lambda other: other.mean.value)
    return (
        f"{best.name} was not cross-validated, so its accuracy on the validation split counts,"
        f" {_accuracy(best.validation)}. The best network in cross-validation is {second.entry}"
        f" with a mean accuracy of {formatting.share(second.mean.value)}."
    )


def _won_on_validation(results: Results, best: ModelResult) -> str:
    accuracies = [
        model.validation.accuracy.value
        for model in results.entries
        if model.family != "svm" and model.validation
    ]
    if best.validation and best.validation.accuracy.value >= max(accuracies, default=0.0):
        return (
            f"{best.name} has the highest accuracy of all networks on the validation split,"
            f" {_accuracy(best.validation)}."
        )
    return (
        f"{best.name} does not differ significantly from the most accurate network on the"
        " validation split, and rule 1 prefers it."
    )


def _accuracy(scores: Scores | None) -> str:
    return formatting.share(scores.accuracy.value) if scores else formatting.MISSING


def _higher_machines(results: Results, best: ModelResult) -> Iterator[str]:
    """Support vector machines that are more accurate than the winner."""
    if best.validation is None:
        return
    accuracy = best.validation.accuracy.value
    higher = [
        f"{model.name} ({formatting.interval(model.validation.accuracy)})"
        for model in results.entries
        if model.family == "svm" and model.validation and model.validation.accuracy.value > accuracy
    ]
    if higher:
        yield (
            f"A support vector machine has a higher accuracy on the validation split:"
            f" {', '.join(higher)}. It is not recommended, as it cannot be served."
        )


def _figures(results: Results, model: ModelResult, seconds: Mapping[str, float]) -> list[str]:
    figures = []
    if cross_validation := results.cross_validation_of(model.name):
        figures.append(f"cross-validated accuracy {formatting.interval(cross_validation.mean)}")
    if model.validation:
        figures.append(f"validation accuracy {formatting.interval(model.validation.accuracy)}")
    if model.test:
        figures.append(f"test accuracy {formatting.interval(model.test.accuracy)}")
    return figures + _costs(model, seconds)


def _costs(model: ModelResult, seconds: Mapping[str, float]) -> list[str]:
    costs = [] if model.bytes is None else [formatting.size(model.bytes)]
    if model.name in seconds:
        costs.append(f"{formatting.seconds(seconds[model.name])} for one image")
    return costs


def _cheaper(results: Results, model: ModelResult, seconds: Mapping[str, float]) -> Iterator[str]:
    """Smaller or faster networks that do not differ on the test split, in the study's order."""
    compared = [
        (other, gain, comparison)
        for other in results.entries
        if other.family != "svm"
        and (gain := _gain(other, model, seconds))
        and (comparison := pair(results, model.name, other.name))
    ]
    similar = [
        f"{other.name}, {gain}"
        f" ({', '.join([*_costs(other, seconds), formatting.probability(comparison.p)])})"
        for other, gain, comparison in compared
        if not comparison.differs
    ]
    if similar:
        images = f"the {model.test.images} test images" if model.test else "the test images"
        yield (
            f"On {images} these smaller or faster networks do not differ significantly from"
            f" {model.name}: {'; '.join(similar)}. This does not prove that they are equally good:"
            " more images may show a difference."
        )
    elif compared and all(result.only_first > result.only_second for *_, result in compared):
        yield (
            f"McNemar's test finds {model.name} better than every smaller or faster network that it"
            " was compared with."
        )


def _better(results: Results, model: ModelResult) -> Iterator[str]:
    """Models that are better on the test split, which must not be used to choose a model."""
    better = [
        f"{other.name} ({result.only_second} images that only it classifies correctly, against"
        f" {result.only_first}, {formatting.probability(result.p)})"
        for other in results.entries
        if (result := pair(results, model.name, other.name))
        and result.differs
        and result.only_second > result.only_first
    ]
    if better:
        yield (
            f"On the test split, McNemar's test finds these models better than {model.name}:"
            f" {', '.join(better)}. The recommendation does not change, as the test split must not"
            " choose a model."
        )


def _gain(other: ModelResult, model: ModelResult, seconds: Mapping[str, float]) -> str:
    """`smaller`, `faster`, `smaller and faster`, or nothing, as far as both are known."""
    gains = []
    if other.bytes is not None and model.bytes is not None and other.bytes < model.bytes:
        gains.append("smaller")
    if other.name in seconds and seconds[other.name] < _FASTER * seconds.get(model.name, 0):
        gains.append("faster")
    return " and ".join(gains)
