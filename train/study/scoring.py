"""Computes the scores of a study from logits, with their confidence intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt
from scipy import stats
from scipy.special import log_softmax, softmax

from pintag.core.types import Logits, Targets
from pintag.data.labels import Labels
from pintag.evaluation import calibration, metrics, significance
from pintag.evaluation.calibration import expected_calibration_error
from pintag.evaluation.significance import Estimate
from pintag.report.results import (
    CrossValidation,
    IntervalFigure,
    ModelPair,
    ReliabilityBin,
    Scores,
)


def scores(logits: Logits, temperature: float, targets: Targets, labels: Labels) -> Scores:
    """Return the scores of logits `float32[N,C]` for `int64[N]`, after temperature scaling."""
    confidences = softmax(logits / temperature, axis=1).astype(np.float32)
    evaluation = metrics.evaluate(confidences, targets, labels)
    predicted = logits.argmax(axis=1)
    macro_f1 = significance.bootstrap(
        lambda rows: _macro_f1(predicted[rows], targets[rows], len(labels)), len(targets)
    )
    ece = significance.bootstrap(
        lambda rows: expected_calibration_error(confidences[rows], targets[rows]),
        len(targets),
    )
    hits = evaluation.confusion.diagonal()
    return Scores(
        images=len(targets),
        accuracy=figure(significance.share(int(hits.sum()), len(targets))),
        macro_f1=figure(macro_f1),
        ece=figure(ece),
        recall={
            name: figure(significance.share(int(hits[target]), score.support))
            for target, (name, score) in enumerate(evaluation.per_label.items())
            if score.support
        },
        confusion=evaluation.confusion.tolist(),
        reliability=[
            ReliabilityBin(confidence=confidence, accuracy=accuracy, images=images)
            for confidence, accuracy, images in calibration.reliability(confidences, targets)
        ],
    )


def accuracy(logits: Logits, targets: Targets) -> IntervalFigure:
    """Return the share of correct predictions, with Wilson's interval."""
    correct = logits.argmax(axis=1) == targets
    return figure(significance.share(int(correct.sum()), len(correct)))


def rank(logits: Logits, targets: Targets) -> tuple[float, float]:
    """Return accuracy and mean log-likelihood. Settings and models are chosen by the highest."""
    accuracy = float((logits.argmax(axis=1) == targets).mean())
    temperature = calibration.fit_temperature(logits, targets)
    likelihood = log_softmax(logits / temperature, axis=1)[np.arange(len(targets)), targets].mean()
    return accuracy, float(likelihood)


def pairs(tested: Mapping[str, Logits], targets: Targets) -> list[ModelPair]:
    """Compare every two models on the same test images, with McNemar's test."""
    correct = {name: logits.argmax(axis=1) == targets for name, logits in tested.items()}
    compared_pairs = []
    for first, second in combinations(correct, 2):
        compared = significance.mcnemar(correct[first], correct[second])
        compared_pairs.append(
            ModelPair(
                first=first,
                second=second,
                only_first=compared.only_first,
                only_second=compared.only_second,
                p=compared.p,
                differs=compared.differs,
            )
        )
    return compared_pairs


def cross_validation(
    entry: str, folds: Sequence[tuple[Logits, Targets]], labels: Labels
) -> CrossValidation:
    """Combine the logits and labels of all folds. The interval of the mean is that of a t-test."""
    accuracies = [accuracy(*fold) for fold in folds]
    values = np.array([fold.value for fold in accuracies])
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
        folds=accuracies,
        mean=IntervalFigure(value=mean, low=mean - float(margin), high=mean + float(margin)),
        deviation=deviation,
        confusion=np.reshape(confusion, (count, count)).tolist(),
    )


def figure(estimate: Estimate) -> IntervalFigure:
    """Return an estimate in the form that the results store."""
    return IntervalFigure(value=estimate.value, low=estimate.low, high=estimate.high)


def _macro_f1(predicted: npt.NDArray[np.integer], targets: Targets, count: int) -> float:
    """Return the mean F1 score over the labels that have images.

    An interval takes 2,000 calls; scikit-learn's `f1_score` takes a thousand times as long.
    """
    hits = np.bincount(targets[predicted == targets], minlength=count)
    support = np.bincount(targets, minlength=count)
    f1 = 2 * hits / np.maximum(support + np.bincount(predicted, minlength=count), 1)
    return float(f1[support > 0].mean())
