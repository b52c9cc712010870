"""Scoring: figures with intervals, comparisons of models, and combined folds."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from pintag.core.types import Logits, Targets
from pintag.data.labels import Labels
from pintag.train.study import scoring

LABELS = Labels(("art", "food", "houses"))
TARGETS = np.array([0, 0, 1, 1, 2, 2, 2, 2], np.int64)


def predicting(*labels: int, height: float = 4.0) -> Logits:
    """Return logits that predict these labels."""
    return (height * np.eye(len(LABELS))[list(labels)]).astype(np.float32)


MOSTLY = predicting(0, 1, 1, 1, 2, 2, 2, 0)


def test_scores_are_those_of_the_confusion() -> None:
    result = scoring.scores(MOSTLY, 1.0, TARGETS, LABELS)
    assert result.confusion == [[1, 1, 0], [0, 2, 0], [1, 0, 3]]
    assert result.images == 8
    assert result.accuracy.value == 0.75
    assert result.accuracy.low < 0.75 < result.accuracy.high
    assert {name: figure.value for name, figure in result.recall.items()} == {
        "art": 0.5,
        "food": 1.0,
        "houses": 0.75,
    }
    # Twice the hits, divided by predictions plus true images: 2/(2+2), 4/(3+2), 6/(3+4).
    assert result.macro_f1.value == pytest.approx(np.mean([2 / 4, 4 / 5, 6 / 7]))
    assert result.macro_f1.low < result.macro_f1.value < result.macro_f1.high


def test_a_temperature_changes_confidences_but_no_predictions() -> None:
    sharp, soft = (scoring.scores(MOSTLY, t, TARGETS, LABELS) for t in (0.5, 4.0))
    assert sharp.confusion == soft.confusion
    assert sharp.accuracy == soft.accuracy
    assert sharp.reliability[-1].confidence > soft.reliability[-1].confidence
    assert sum(group.images for group in sharp.reliability) == len(TARGETS)


def test_a_label_without_images_has_no_recall() -> None:
    result = scoring.scores(predicting(0, 1), 1.0, np.array([0, 1]), LABELS)
    assert list(result.recall) == ["art", "food"]


def test_rank_is_by_accuracy_then_by_likelihood() -> None:
    best, worse = predicting(0, 0, 1, 1, 2, 2, 2, 2), MOSTLY
    assert scoring.rank(best, TARGETS) > scoring.rank(worse, TARGETS)
    # The same accuracy, with less confidence in wrong predictions.
    unsure = MOSTLY.copy()
    unsure[[1, 7]] *= 0.1
    assert scoring.rank(unsure, TARGETS)[0] == scoring.rank(MOSTLY, TARGETS)[0]
    assert scoring.rank(unsure, TARGETS) > scoring.rank(MOSTLY, TARGETS)


def test_every_two_models_are_compared_on_the_same_images() -> None:
    all_correct, all_wrong = predicting(*TARGETS), predicting(*((TARGETS + 1) % 3))
    result = scoring.pairs({"a": all_correct, "b": MOSTLY, "c": all_wrong}, TARGETS)
    assert [(pair.first, pair.second) for pair in result] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert [(pair.only_first, pair.only_second) for pair in result] == [(2, 0), (8, 0), (6, 0)]
    assert [pair.differs for pair in result] == [False, True, True]
    assert result[1].p == pytest.approx(2 / 2**8)


def test_folds_are_combined_with_the_interval_of_a_t_test() -> None:
    folds: list[tuple[Logits, Targets]] = [
        (MOSTLY, TARGETS),
        (predicting(*TARGETS), TARGETS),
        (predicting(0, 0, 0, 0), np.array([0, 0, 1, 2])),
    ]
    result = scoring.cross_validation("cnn", folds, LABELS)
    values = [0.75, 1.0, 0.5]
    assert [fold.value for fold in result.folds] == values
    assert result.mean.value == pytest.approx(0.75)
    assert result.deviation == pytest.approx(np.std(values, ddof=1))
    expected = stats.t.interval(0.95, 2, 0.75, stats.sem(values))
    assert (result.mean.low, result.mean.high) == pytest.approx(expected)
    assert np.sum(result.confusion) == 20
    assert result.confusion[1] == [1, 4, 0]
