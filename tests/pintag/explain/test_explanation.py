"""Explanations: weights, masks, overlays, seeds, and the published answer."""

from __future__ import annotations

import json
import time
from base64 import b64decode
from typing import Any

import numpy as np
import pytest
from scipy.special import expit

from pintag.core.types import Array
from pintag.explain import overlay
from pintag.explain.explanation import Explanation, explain, explain_labels
from pintag.explain.surrogate import Scale
from tests.pintag.explain.tiles import (
    LABELS,
    MODEL,
    MODES,
    WEIGHTS,
    by_tile,
    predict,
    settings,
    shown,
)


@MODES
def test_an_explanation_has_a_weight_for_each_superpixel(mode: str, image: Array) -> None:
    explained = explain(image, predict, 0, settings(mode=mode))
    assert explained.segments.shape == (16, 24)
    assert explained.segments.dtype == np.int32
    assert explained.weights.shape == (6,)
    assert explained.weights.dtype == np.float64
    assert explained.result.label == 0
    assert explained.result.confidence == pytest.approx(expit(WEIGHTS.sum()))
    assert explained.image is image
    # lime's ridge regression shrinks weights and its scale differs, but the signs agree.
    clear = np.abs(WEIGHTS) > 0.3
    np.testing.assert_array_equal(np.sign(by_tile(explained))[clear], np.sign(WEIGHTS[clear]))


def test_stable_mode_estimates_the_log_odds_of_the_model(image: Array) -> None:
    explained = explain(image, predict, 0, settings(mode="stable"))
    np.testing.assert_allclose(by_tile(explained), WEIGHTS, atol=1e-5)
    assert explained.result.surrogate.scale == "log-odds"
    assert explained.result.surrogate.intervals is not None
    assert explained.result.surrogate.intervals.shape == (6, 2)
    assert (explained.result.outcome, explained.result.claimed) == ("separated", 5)
    assert explained.samples == 65


def how(explained: Explanation) -> tuple[Scale, int | None]:
    """The unit of the weights, and how many of the first segments rank above the rest."""
    return explained.result.surrogate.scale, explained.result.claimed


@MODES
def test_the_top_segments_are_the_mask_and_the_overlay(mode: str, image: Array) -> None:
    explained = explain(image, predict, 0, settings(mode=mode, num_features=3))
    top = explained.top()
    assert top == explained.ranking()[:3]
    assert set(np.flatnonzero(np.isin(explained.segments[4::8, 4::8], top))) == {1, 2, 4}
    mask = explained.mask()
    assert mask.dtype == np.int8
    expected = np.array([0, -1, 1, 0, 1, 0]).reshape(2, 3).repeat(8, axis=0).repeat(8, axis=1)
    np.testing.assert_array_equal(mask, expected)
    drawn = explained.overlay()
    assert ((drawn != image).any(axis=-1) | (mask != 0)).all()
    np.testing.assert_array_equal(
        drawn,
        overlay.show(image, explained.segments, explained.drawn(), *how(explained)),
    )
    assert [item.segment for item in explained.drawn()] == top


def test_any_number_of_segments_can_be_drawn(image: Array) -> None:
    explained = explain(image, predict, 0, settings(mode="stable", num_features=1))
    assert len(explained.top()) == 1
    assert len(explained.top(4)) == 4
    assert explained.top(0) == []
    assert not explained.mask(0).any()
    assert len(np.unique(explained.segments[explained.mask(4) != 0])) == 4
    drawn = overlay.show(image, explained.segments, explained.drawn(4), *how(explained))
    np.testing.assert_array_equal(explained.overlay(4), drawn)


def test_positive_only_ranks_evidence_for_the_label(image: Array) -> None:
    explained = explain(
        image, predict, 0, settings(mode="stable", positive_only=True, num_features=6)
    )
    # The weight of the tile without effect may be 1e-6 above or below zero.
    assert set(explained.ranking()[:3]) == set(explained.segments[4::8, 4::8].ravel()[[0, 2, 4]])
    assert (explained.weights[explained.top()] > 0).all()
    assert (explained.mask() >= 0).all()
    # The last of them cannot be separated from zero, so every sample is used.
    assert (explained.result.outcome, explained.result.claimed) == ("budget", 3)


def test_an_overlay_can_be_drawn_on_a_larger_picture(image: Array) -> None:
    explained = explain(image, predict, 0, settings())
    picture = image.repeat(5, axis=0).repeat(5, axis=1)
    drawn = explained.overlay(picture=picture)
    assert drawn.shape == (80, 120, 3)
    expected = overlay.show(picture, explained.segments, explained.drawn(), *how(explained))
    np.testing.assert_array_equal(drawn, expected)


@MODES
def test_by_default_the_most_confident_label_is_explained(mode: str, image: Array) -> None:
    first = explain(image, predict, config=settings(mode=mode))
    assert first.result.label == predict(image[np.newaxis])[0].argmax()
    same = explain(image, predict, first.result.label, settings(mode=mode))
    np.testing.assert_array_equal(first.weights, same.weights)


@MODES
def test_a_count_of_labels_is_explained_in_order_of_confidence(mode: str, image: Array) -> None:
    explained = explain_labels(image, predict, 3, settings(mode=mode))
    confidences = [explanation.result.confidence for explanation in explained]
    assert confidences == sorted(confidences, reverse=True)
    assert {explanation.result.label for explanation in explained} == {0, 1, 2}
    assert len(explain_labels(image, predict, 2, settings(mode=mode))) == 2


@MODES
def test_several_labels_share_their_samples(mode: str, image: Array) -> None:
    images = []

    def counted(batch: Array) -> Any:
        images.append(len(batch))
        return predict(batch)

    first, second = explain_labels(image, counted, [1, 0], settings(mode=mode))
    assert sum(images) == first.samples == second.samples
    assert (first.result.label, second.result.label) == (1, 0)
    np.testing.assert_allclose(first.weights, -second.weights, atol=1e-5)
    np.testing.assert_array_equal(first.segments, second.segments)


@MODES
def test_equal_seeds_give_equal_explanations_and_different_seeds_different_ones(
    mode: str, image: Array
) -> None:
    def rough(images: Array) -> Any:
        return expit(np.sin(97.0 * shown(images) @ np.arange(1.0, 7)))[:, np.newaxis]

    # Fewer samples than possible masks, so that two seeds differ.
    one, same, other = (
        explain(image, rough, 0, settings(mode=mode, seed=seed, num_samples=33))
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one.weights, same.weights)
    assert one.result.surrogate.score == same.result.surrogate.score
    assert not np.array_equal(one.weights, other.weights)


@MODES
def test_seconds_add_up(mode: str, image: Array) -> None:
    predicting = []

    def timed(images: Array) -> Any:
        started = time.perf_counter()
        answer = predict(images)
        predicting.append(time.perf_counter() - started)
        return answer

    started = time.perf_counter()
    seconds = explain(image, timed, 0, settings(mode=mode)).seconds
    whole = time.perf_counter() - started
    assert min(seconds.segmentation, seconds.sampling, seconds.fit) > 0
    assert seconds.sampling >= sum(predicting)
    assert seconds.total == seconds.segmentation + seconds.sampling + seconds.fit
    assert seconds.total <= whole


@MODES
def test_an_answer_contains_everything_except_the_image(mode: str, image: Array) -> None:
    explained = explain(image, predict, 1, settings(mode=mode, num_features=2))
    answer = explained.to_answer(LABELS, MODEL)
    content = json.loads(json.dumps(answer.model_dump(), allow_nan=False))
    result = explained.result
    assert content["model"] == {"name": "tiles", "version": "1"}
    assert content["label"] == "plants"
    assert content["confidence"] == result.confidence
    assert (content["mode"], content["outcome"]) == (mode, result.outcome)
    assert content["claimed"] == result.claimed
    assert content["level"] == (0.95 if mode == "stable" else None)
    assert content["num_features"] == 2
    assert content["positive_only"] is False
    assert content["samples"] == explained.samples
    assert content["surrogate"] == {
        "score": result.surrogate.score,
        "intercept": result.surrogate.intercept,
        "prediction": result.surrogate.prediction,
        "scale": "log-odds" if mode == "stable" else "probability",
    }
    ranking = explained.ranking()
    assert [row["segment"] for row in content["weights"]] == ranking
    assert [row["weight"] for row in content["weights"]] == list(explained.weights[ranking])
    segmentation = content["segmentation"]
    assert segmentation["algorithm"] == "felzenszwalb"
    assert (segmentation["width"], segmentation["height"], segmentation["count"]) == (24, 16, 6)
    segments = overlay.read_segment_map(b64decode(segmentation["map"]))
    np.testing.assert_array_equal(segments, explained.segments)
    seconds = content["seconds"]
    assert seconds.pop("total") == pytest.approx(sum(seconds.values()))


def test_an_answer_contains_intervals_where_there_are_any(image: Array) -> None:
    """Reference mode has none; those of too few samples are infinite, which JSON cannot express."""

    def rows(**changes: Any) -> list[dict[str, Any]]:
        answer = explain(image, predict, 0, settings(**changes)).to_answer(LABELS, MODEL)
        return json.loads(json.dumps(answer.model_dump(), allow_nan=False))["weights"]

    for item in rows(mode="stable"):
        assert item["low"] < item["weight"] < item["high"]
    for item in [*rows(mode="stable", num_samples=5), *rows(mode="reference")]:
        assert item["low"] is item["high"] is None
