"""From what a model says of images to the figures of a study, each with its interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt
from scipy import stats
from scipy.special import log_softmax, softmax

from pintag import calibration, evaluation, significance
from pintag.calibration import expected_calibration_error
from pintag.labels import Labels
from pintag.results import Bin, CrossValidation, Figure, Pair, Scores
from pintag.significance import Estimate

Logits = npt.NDArray[np.float32]
Targets = npt.NDArray[np.int64]


def scores(logits: Logits, temperature: float, targets: Targets, labels: Labels) -> Scores:
    """The figures of `float32[N,C]` logits against `int64[N]`, softened by a temperature."""
    confidences = softmax(logits / temperature, axis=1).astype(np.float32)
    found = evaluation.evaluate(confidences, targets, labels)
    predicted = logits.argmax(axis=1)
    macro_f1 = significance.bootstrap(
        lambda places: _macro_f1(predicted[places], targets[places], len(labels)), len(targets)
    )
    ece = significance.bootstrap(
        lambda places: expected_calibration_error(confidences[places], targets[places]),
        len(targets),
    )
    hits = found.confusion.diagonal()
    return Scores(
        images=len(targets),
        accuracy=figure(significance.share(int(hits.sum()), len(targets))),
        macro_f1=figure(macro_f1),
        ece=figure(ece),
        recall={
            name: figure(significance.share(int(hits[at]), score.support))
            for at, (name, score) in enumerate(found.per_label.items())
            if score.support
        },
        confusion=found.confusion.tolist(),
        reliability=[
            Bin(confidence=confidence, accuracy=accuracy, images=images)
            for confidence, accuracy, images in calibration.reliability(confidences, targets)
        ],
    )


def accuracy(logits: Logits, targets: Targets) -> Figure:
    """The share of images that are right, with Wilson's interval."""
    right = logits.argmax(axis=1) == targets
    return figure(significance.share(int(right.sum()), len(right)))


def rank(logits: Logits, targets: Targets) -> tuple[float, float]:
    """What settings and models are chosen by, the more the better: accuracy, then likelihood."""
    right = float((logits.argmax(axis=1) == targets).mean())
    temperature = calibration.fit_temperature(logits, targets)
    likelihood = log_softmax(logits / temperature, axis=1)[np.arange(len(targets)), targets].mean()
    return right, float(likelihood)


def pairs(tested: Mapping[str, Logits], targets: Targets) -> list[Pair]:
    """Every two models on the same test images."""
    right = {name: logits.argmax(axis=1) == targets for name, logits in tested.items()}
    found = []
    for first, second in combinations(right, 2):
        compared = significance.mcnemar(right[first], right[second])
        found.append(
            Pair(
                first=first,
                second=second,
                only_first=compared.only_first,
                only_second=compared.only_second,
                p=compared.p,
                differs=compared.differs,
            )
        )
    return found


def cross_validation(
    entry: str, folds: Sequence[tuple[Logits, Targets]], labels: Labels
) -> CrossValidation:
    """What the folds say together; the interval of their mean is that of a t-test."""
    each = [accuracy(*fold) for fold in folds]
    values = np.array([fold.value for fold in each])
    deviation = float(values.std(ddof=1))
    margin = stats.t.ppf((1 + significance.LEVEL) / 2, len(values) - 1) * deviation
    margin /= np.sqrt(len(values))
    mean = float(values.mean())
    count = len(labels)
    confusion = sum(
        np.bincount(targets * count + logits.argmax(axis=1), minlength=count**2)
        for logits, targets in folds
    )
    return CrossValidation(
        entry=entry,
        folds=each,
        mean=Figure(value=mean, low=mean - float(margin), high=mean + float(margin)),
        deviation=deviation,
        confusion=np.reshape(confusion, (count, count)).tolist(),
    )


def figure(estimate: Estimate) -> Figure:
    """An estimate as results tell it."""
    return Figure(value=estimate.value, low=estimate.low, high=estimate.high)


def _macro_f1(predicted: npt.NDArray[np.integer], targets: Targets, count: int) -> float:
    hits = np.bincount(targets[predicted == targets], minlength=count)
    support = np.bincount(targets, minlength=count)
    f1 = 2 * hits / np.maximum(support + np.bincount(predicted, minlength=count), 1)
    return float(f1[support > 0].mean())
