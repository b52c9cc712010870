"""Explanations: from an image and a predict function to weights, masks, pictures and JSON."""

from __future__ import annotations

import json
import time
from base64 import b64decode
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.special import expit

from pintag import config, overlay
from pintag.errors import ConfigError, ExplainError
from pintag.explain import ExplainConfig, Explanation, explain, explain_labels
from pintag.labels import Labels
from pintag.perturbation import Array, Masks
from pintag.superpixels import Felzenszwalb, Slic

# Of each tile, for the first label. The second label's are their opposites, the third has none.
WEIGHTS = np.array([0.5, -3.0, 2.0, 0.0, 1.0, -0.25])
LABELS = Labels(("houses", "plants", "roads"))
MODES = pytest.mark.parametrize("mode", ["reference", "stable"])
# On flat tiles it finds the tiles.
TILES = Felzenszwalb(scale=1, sigma=0, min_size=1)


@pytest.fixture
def image() -> Array:
    """`uint8[16,24,3]`: six tiles of 8 x 8 pixels, each of a colour of its own."""
    colours = np.random.default_rng(3).integers(60, 256, (2, 3, 3), np.uint8)
    return colours.repeat(8, axis=0).repeat(8, axis=1)


def shown(images: Array) -> Masks:
    """The tiles that are not black, row by row."""
    return images[:, 4::8, 4::8].any(axis=-1).reshape(len(images), -1)


def predict(images: Array) -> Any:
    log_odds = shown(images) @ np.stack([WEIGHTS, -WEIGHTS, 0 * WEIGHTS], axis=-1)
    return expit(log_odds).astype(np.float32)


def settings(**changes: Any) -> ExplainConfig:
    return ExplainConfig(**{"segmentation": TILES, "num_samples": 200} | changes)


def by_tile(made: Explanation) -> npt.NDArray[np.float64]:
    """Weights in the order of the tiles, whatever their segments' numbers."""
    return made.weights[made.segments[4::8, 4::8].ravel()]


# What comes out.


@MODES
def test_an_explanation_has_a_weight_for_each_superpixel(mode: str, image: Array) -> None:
    made = explain(image, predict, 0, settings(mode=mode))
    assert made.segments.shape == (16, 24)
    assert made.segments.dtype == np.int32
    assert made.weights.shape == (6,)
    assert made.weights.dtype == np.float64
    assert made.finding.label == 0
    assert made.finding.confidence == pytest.approx(expit(WEIGHTS.sum()))
    assert made.image is image
    # Lime's ridge shrinks and its scale is another; the signs are the model's all the same.
    clear = np.abs(WEIGHTS) > 0.3
    np.testing.assert_array_equal(np.sign(by_tile(made))[clear], np.sign(WEIGHTS[clear]))


def test_stable_mode_finds_the_log_odds_of_the_model(image: Array) -> None:
    made = explain(image, predict, 0, settings(mode="stable"))
    np.testing.assert_allclose(by_tile(made), WEIGHTS, atol=1e-5)
    assert made.finding.surrogate.scale == "log-odds"
    assert made.finding.surrogate.intervals is not None
    assert made.finding.surrogate.intervals.shape == (6, 2)
    assert (made.finding.outcome, made.finding.claimed) == ("separated", 5)
    assert made.samples == 65


@MODES
def test_the_top_segments_are_the_mask_and_the_overlay(mode: str, image: Array) -> None:
    made = explain(image, predict, 0, settings(mode=mode, num_features=3))
    top = made.top()
    assert top == made.ranking()[:3]
    assert set(np.flatnonzero(np.isin(made.segments[4::8, 4::8], top))) == {1, 2, 4}
    mask = made.mask()
    assert mask.dtype == np.int8
    expected = np.array([0, -1, 1, 0, 1, 0]).reshape(2, 3).repeat(8, axis=0).repeat(8, axis=1)
    np.testing.assert_array_equal(mask, expected)
    drawn = made.overlay()
    assert ((drawn != image).any(axis=-1) | (mask != 0)).all()
    np.testing.assert_array_equal(
        drawn, overlay.show(image, made.segments, made.weights, top, made.finding.claimed)
    )


def test_another_count_than_was_asked_for_can_be_drawn(image: Array) -> None:
    made = explain(image, predict, 0, settings(mode="stable", num_features=1))
    assert len(made.top()) == 1
    assert len(made.top(4)) == 4
    assert made.top(0) == []
    assert not made.mask(0).any()
    assert len(np.unique(made.segments[made.mask(4) != 0])) == 4
    drawn = overlay.show(image, made.segments, made.weights, made.top(4), made.finding.claimed)
    np.testing.assert_array_equal(made.overlay(4), drawn)


def test_only_what_speaks_for_the_label_can_be_asked_for(image: Array) -> None:
    made = explain(image, predict, 0, settings(mode="stable", positive_only=True, num_features=6))
    # The tile that does nothing may come out at a millionth on either side of zero.
    assert set(made.ranking()[:3]) == set(made.segments[4::8, 4::8].ravel()[[0, 2, 4]])
    assert (made.weights[made.top()] > 0).all()
    assert (made.mask() >= 0).all()
    # Here the last of them cannot be told from zero, and every sample is used.
    assert (made.finding.outcome, made.finding.claimed) == ("budget", 3)


def test_an_overlay_goes_on_a_larger_picture(image: Array) -> None:
    made = explain(image, predict, 0, settings())
    picture = image.repeat(5, axis=0).repeat(5, axis=1)
    drawn = made.overlay(picture=picture)
    assert drawn.shape == (80, 120, 3)
    shown = overlay.show(picture, made.segments, made.weights, made.top(), made.finding.claimed)
    np.testing.assert_array_equal(drawn, shown)


@MODES
def test_by_default_the_most_confident_label_is_explained(mode: str, image: Array) -> None:
    first = explain(image, predict, config=settings(mode=mode))
    assert first.finding.label == predict(image[np.newaxis])[0].argmax()
    same = explain(image, predict, first.finding.label, settings(mode=mode))
    np.testing.assert_array_equal(first.weights, same.weights)


@MODES
def test_a_count_of_labels_is_explained_in_order_of_confidence(mode: str, image: Array) -> None:
    made = explain_labels(image, predict, 3, settings(mode=mode))
    confidences = [each.finding.confidence for each in made]
    assert confidences == sorted(confidences, reverse=True)
    assert {each.finding.label for each in made} == {0, 1, 2}
    assert len(explain_labels(image, predict, 2, settings(mode=mode))) == 2


@MODES
def test_several_labels_share_their_samples(mode: str, image: Array) -> None:
    images = []

    def counted(batch: Array) -> Any:
        images.append(len(batch))
        return predict(batch)

    first, second = explain_labels(image, counted, [1, 0], settings(mode=mode))
    assert sum(images) == first.samples == second.samples
    assert (first.finding.label, second.finding.label) == (1, 0)
    np.testing.assert_allclose(first.weights, -second.weights, atol=1e-5)
    np.testing.assert_array_equal(first.segments, second.segments)


@MODES
def test_equal_seeds_give_equal_explanations_and_others_others(mode: str, image: Array) -> None:
    def rough(images: Array) -> Any:
        return expit(np.sin(97.0 * shown(images) @ np.arange(1.0, 7)))[:, np.newaxis]

    # Fewer samples than there are masks, or two seeds could have seen the same.
    one, same, other = (
        explain(image, rough, 0, settings(mode=mode, seed=seed, num_samples=33))
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one.weights, same.weights)
    assert one.finding.surrogate.score == same.finding.surrogate.score
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


# What is asked of the predict function.


@MODES
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_predict_sees_copies_of_the_image_in_its_own_dtype(
    mode: str, dtype: Any, image: Array
) -> None:
    given = image if dtype is np.uint8 else (image / 255).astype(dtype)
    original = given.copy()
    batches = []

    def recorded(images: Array) -> Any:
        assert images.dtype == dtype
        assert images.shape[1:] == given.shape
        assert images.flags.c_contiguous
        batches.append(images.copy())
        answer = predict(images)
        # What becomes of the batch does not matter.
        images[:] = 1
        return answer

    explain(given, recorded, 0, settings(mode=mode, batch_size=20))
    np.testing.assert_array_equal(given, original)
    assert {len(batch) for batch in batches[:-1]} <= {20, 5}
    # First the whole image, and then tiles that are whole or black.
    np.testing.assert_array_equal(batches[0][0], given)
    every = np.concatenate(batches)
    kept = shown(every).reshape(-1, 2, 3).repeat(8, axis=1).repeat(8, axis=2)
    np.testing.assert_array_equal(every, np.where(kept[..., np.newaxis], given, 0))


@pytest.mark.parametrize("hide", [(9, 8, 7), "mean"])
def test_a_hidden_tile_shows_what_was_asked_for(hide: Any, image: Array) -> None:
    batches = []

    def recorded(images: Array) -> Any:
        batches.append(images.copy())
        return predict(images)

    texture = np.tile(np.array([[0, 2], [2, 0]], np.uint8), (8, 12))
    textured = image // 2 + texture[..., np.newaxis]
    coarse = settings(hide=hide, num_samples=20, segmentation=Slic(n_segments=4, sigma=0))
    made = explain(textured, recorded, 0, coarse)
    changed = np.concatenate(batches) != textured
    hidden = np.concatenate(batches)[changed.any(axis=-1)]
    assert len(hidden)
    if hide == "mean":
        means = {
            tuple(textured[made.segments == number].mean(axis=0).astype(np.uint8))
            for number in range(len(made.weights))
        }
        assert {tuple(pixel) for pixel in hidden} <= means
    else:
        assert {tuple(pixel) for pixel in hidden} == {hide}


@MODES
def test_a_deadline_tells_what_is_known(mode: str, image: Array) -> None:
    made = explain(
        image,
        predict,
        0,
        settings(mode=mode, batch_size=16, num_features=6, num_samples=400),
        stop=lambda: True,
    )
    assert made.samples == 16
    assert made.finding.outcome == "deadline"
    assert np.isfinite(made.weights).all()


@MODES
def test_what_stop_raises_is_passed_on(mode: str, image: Array) -> None:
    def stop() -> bool:
        raise InterruptedError("nobody waits any more")

    with pytest.raises(InterruptedError, match="nobody waits"):
        explain(image, predict, 0, settings(mode=mode), stop)


@MODES
@pytest.mark.parametrize("side", [1, 16])
def test_an_image_of_one_superpixel_is_explained(mode: str, side: int) -> None:
    made = explain(np.full((side, side, 3), 90, np.uint8), one_label, 0, settings(mode=mode))
    assert made.weights.shape == (1,)
    assert made.weights[0] > 0
    assert made.mask().all()


def one_label(images: Array) -> Any:
    return images.reshape(len(images), -1).mean(axis=1, keepdims=True) / 100


# What is refused.


@pytest.mark.parametrize(
    "shape", [(8, 8), (8, 8, 4), (8, 8, 1), (1, 8, 8, 3), (0, 8, 3), (3,)], ids=str
)
def test_what_is_no_image_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected an image \[H,W,3\], got \[") as raised:
        explain(np.zeros(shape, np.uint8), predict)
    assert str(list(shape)) in str(raised.value)


@MODES
@pytest.mark.parametrize("label", [3, -1])
def test_an_unknown_label_is_refused_after_the_first_batch(
    mode: str, label: int, image: Array
) -> None:
    sizes = []

    def counted(images: Array) -> Any:
        sizes.append(len(images))
        return predict(images)

    with pytest.raises(ValueError, match=rf"labels \[{label}\]: there are 0 to 2"):
        explain(image, counted, label, settings(mode=mode, batch_size=8))
    assert sizes == [8]


@MODES
@pytest.mark.parametrize("labels", [0, []], ids=str)
def test_no_label_is_refused(mode: str, labels: Any, image: Array) -> None:
    with pytest.raises(ValueError, match="at least one is needed"):
        explain_labels(image, predict, labels, settings(mode=mode))


@MODES
def test_answers_that_are_no_numbers_are_refused(mode: str, image: Array) -> None:
    with pytest.raises(ValueError, match="no numbers"):
        explain(image, lambda images: predict(images) * np.nan, 0, settings(mode=mode))


def test_more_superpixels_than_stable_mode_tells_apart_are_refused() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (18, 18, 3), np.uint8)
    coarse = {"segmentation": Felzenszwalb(scale=1e-3, sigma=0, min_size=1)}
    with pytest.raises(ExplainError, match=r"superpixels; .* choose a coarser segmentation"):
        explain(noise, one_label, 0, settings(mode="stable", **coarse))
    made = explain(noise, one_label, 0, settings(num_samples=2, **coarse))
    assert len(made.weights) > 256


# Configuration.


def test_a_budget_depends_on_the_mode_until_it_is_given() -> None:
    assert ExplainConfig(mode="reference").budget == 1000
    assert ExplainConfig(mode="stable").budget == 500
    assert ExplainConfig(mode="stable", num_samples=70).budget == 70


@pytest.mark.parametrize(
    "changes",
    [
        {"mode": "fast"},
        {"num_samples": 1},
        {"num_features": 0},
        {"max_features": 0},
        {"level": 1.0},
        {"level": 0.4},
        {"batch_size": 0},
        {"seed": -1},
        {"seed": 2**32},
        {"hide": (0, 0, 256)},
        {"hide": (0, 0)},
        {"hide": "median"},
        {"samples": 10},
    ],
    ids=str,
)
def test_a_value_that_makes_no_explanation_is_refused_by_name(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(changes))):
        config.parse(ExplainConfig, changes)


# JSON.


@MODES
def test_json_tells_everything_but_the_image(mode: str, image: Array) -> None:
    made = explain(image, predict, 1, settings(mode=mode, num_features=2))
    told = json.loads(json.dumps(made.to_json(LABELS), allow_nan=False))
    finding = made.finding
    assert told["label"] == "plants"
    assert told["confidence"] == finding.confidence
    assert (told["mode"], told["outcome"]) == (mode, finding.outcome)
    assert told["claimed"] == finding.claimed
    assert told["level"] == (0.95 if mode == "stable" else None)
    assert told["num_features"] == 2
    assert told["samples"] == made.samples
    assert told["surrogate"] == {
        "score": finding.surrogate.score,
        "intercept": finding.surrogate.intercept,
        "prediction": finding.surrogate.prediction,
        "scale": "log-odds" if mode == "stable" else "probability",
    }
    assert [row["segment"] for row in told["weights"]] == made.ranking()
    assert [row["weight"] for row in told["weights"]] == list(made.weights[made.ranking()])
    segmentation = told["segmentation"]
    assert segmentation["algorithm"] == "felzenszwalb"
    assert (segmentation["width"], segmentation["height"], segmentation["count"]) == (24, 16, 6)
    segments = overlay.read_segment_map(b64decode(segmentation["map"]))
    np.testing.assert_array_equal(segments, made.segments)
    seconds = told["seconds"]
    assert seconds.pop("total") == pytest.approx(sum(seconds.values()))


def test_json_tells_intervals_where_there_are_any(image: Array) -> None:
    """Neither of the reference mode, nor of too few samples, for which JSON has no number."""

    def rows(**changes: Any) -> list[dict[str, Any]]:
        told = explain(image, predict, 0, settings(**changes)).to_json(LABELS)
        return json.loads(json.dumps(told, allow_nan=False))["weights"]

    for each in rows(mode="stable"):
        assert each["low"] < each["weight"] < each["high"]
    for each in [*rows(mode="stable", num_samples=5), *rows(mode="reference")]:
        assert each["low"] is each["high"] is None
