"""Scoring: figures with their intervals, comparisons on the same images, folds together."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from pintag.labels import Labels
from train import scoring
from train.scoring import Logits, Targets

LABELS = Labels(("art", "food", "houses"))
TARGETS = np.array([0, 0, 1, 1, 2, 2, 2, 2], np.int64)


def said(*labels: int, height: float = 4.0) -> Logits:
    """Logits that name these labels."""
    return (height * np.eye(len(LABELS))[list(labels)]).astype(np.float32)


MOSTLY = said(0, 1, 1, 1, 2, 2, 2, 0)


def test_scores_are_those_of_the_confusion() -> None:
    found = scoring.scores(MOSTLY, 1.0, TARGETS, LABELS)
    assert found.confusion == [[1, 1, 0], [0, 2, 0], [1, 0, 3]]
    assert found.images == 8
    assert found.accuracy.value == 0.75
    assert found.accuracy.low < 0.75 < found.accuracy.high
    assert {name: each.value for name, each in found.recall.items()} == {
        "art": 0.5,
        "food": 1.0,
        "houses": 0.75,
    }
    # 2 of 2+2, 4 of 3+2 and 6 of 3+4: twice the hits over said and true.
    assert found.macro_f1.value == pytest.approx(np.mean([2 / 4, 4 / 5, 6 / 7]))
    assert found.macro_f1.low < found.macro_f1.value < found.macro_f1.high


def test_a_temperature_changes_how_sure_and_not_what_is_said() -> None:
    sharp, soft = (scoring.scores(MOSTLY, t, TARGETS, LABELS) for t in (0.5, 4.0))
    assert sharp.confusion == soft.confusion
    assert sharp.accuracy == soft.accuracy
    assert sharp.reliability[-1].confidence > soft.reliability[-1].confidence
    assert sum(each.images for each in sharp.reliability) == len(TARGETS)


def test_a_label_without_images_has_no_recall() -> None:
    found = scoring.scores(said(0, 1), 1.0, np.array([0, 1]), LABELS)
    assert list(found.recall) == ["art", "food"]


def test_rank_is_by_accuracy_then_by_likelihood() -> None:
    sure, less = said(0, 0, 1, 1, 2, 2, 2, 2), MOSTLY
    assert scoring.rank(sure, TARGETS) > scoring.rank(less, TARGETS)
    # Equally often right, but wrong with less weight.
    doubting = MOSTLY.copy()
    doubting[[1, 7]] *= 0.1
    assert scoring.rank(doubting, TARGETS)[0] == scoring.rank(MOSTLY, TARGETS)[0]
    assert scoring.rank(doubting, TARGETS) > scoring.rank(MOSTLY, TARGETS)


def test_every_two_models_are_compared_on_the_same_images() -> None:
    right, none = said(*TARGETS), said(*((TARGETS + 1) % 3))
    found = scoring.pairs({"a": right, "b": MOSTLY, "c": none}, TARGETS)
    assert [(each.first, each.second) for each in found] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert [(each.only_first, each.only_second) for each in found] == [(2, 0), (8, 0), (6, 0)]
    assert [each.differs for each in found] == [False, True, True]
    assert found[1].p == pytest.approx(2 / 2**8)


def test_folds_are_added_up_and_their_mean_has_the_interval_of_a_t_test() -> None:
    folds: list[tuple[Logits, Targets]] = [
        (MOSTLY, TARGETS),
        (said(*TARGETS), TARGETS),
        (said(0, 0, 0, 0), np.array([0, 0, 1, 2])),
    ]
    found = scoring.cross_validation("cnn", folds, LABELS)
    values = [0.75, 1.0, 0.5]
    assert [each.value for each in found.folds] == values
    assert found.mean.value == pytest.approx(0.75)
    assert found.deviation == pytest.approx(np.std(values, ddof=1))
    expected = stats.t.interval(0.95, 2, 0.75, stats.sem(values))
    assert (found.mean.low, found.mean.high) == pytest.approx(expected)
    assert np.sum(found.confusion) == 20
    assert found.confusion[1] == [1, 4, 0]
