"""How `explain` calls the predict function, when it stops, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pintag.core import config
from pintag.core.errors import ConfigError, ExplainError
from pintag.core.types import Array
from pintag.explain.explanation import ExplainConfig, explain, explain_labels
from pintag.explain.superpixels import Felzenszwalb, Slic
from tests.pintag.explain.tiles import (
    MODES,
    one_label,
    predict,
    settings,
    shown,
)


@MODES
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_predict_receives_copies_of_the_image_in_its_dtype(
    mode: str, dtype: Any, image: Array
) -> None:
    pixels = image if dtype is np.uint8 else (image / 255).astype(dtype)
    original = pixels.copy()
    batches = []

    def recorded(images: Array) -> Any:
        assert images.dtype == dtype
        assert images.shape[1:] == pixels.shape
        assert images.flags.c_contiguous
        batches.append(images.copy())
        answer = predict(images)
        # Changing the batch afterwards has no effect.
        images[:] = 1
        return answer

    explain(pixels, recorded, 0, settings(mode=mode, batch_size=20))
    np.testing.assert_array_equal(pixels, original)
    assert {len(batch) for batch in batches[:-1]} <= {20, 5}
    # First the whole image, then images in which each tile is either original or black.
    np.testing.assert_array_equal(batches[0][0], pixels)
    every = np.concatenate(batches)
    kept = shown(every).reshape(-1, 2, 3).repeat(8, axis=1).repeat(8, axis=2)
    np.testing.assert_array_equal(every, np.where(kept[..., np.newaxis], pixels, 0))


@pytest.mark.parametrize("hide", [(9, 8, 7), "mean"])
def test_a_hidden_tile_shows_the_configured_colour(hide: Any, image: Array) -> None:
    batches = []

    def recorded(images: Array) -> Any:
        batches.append(images.copy())
        return predict(images)

    texture = np.tile(np.array([[0, 2], [2, 0]], np.uint8), (8, 12))
    textured = image // 2 + texture[..., np.newaxis]
    coarse = settings(hide=hide, num_samples=20, segmentation=Slic(n_segments=4, sigma=0))
    explained = explain(textured, recorded, 0, coarse)
    changed = np.concatenate(batches) != textured
    hidden = np.concatenate(batches)[changed.any(axis=-1)]
    assert len(hidden)
    if hide == "mean":
        means = {
            tuple(textured[explained.segments == number].mean(axis=0).astype(np.uint8))
            for number in range(len(explained.weights))
        }
        assert {tuple(pixel) for pixel in hidden} <= means
    else:
        assert {tuple(pixel) for pixel in hidden} == {hide}


@MODES
def test_a_deadline_returns_the_result_so_far(mode: str, image: Array) -> None:
    explained = explain(
        image,
        predict,
        0,
        settings(mode=mode, batch_size=16, num_features=6, num_samples=400),
        stop=lambda: True,
    )
    assert explained.samples == 16
    assert explained.result.outcome == "deadline"
    assert np.isfinite(explained.weights).all()


@MODES
def test_an_exception_of_stop_propagates(mode: str, image: Array) -> None:
    def stop() -> bool:
        raise InterruptedError("cancelled")

    with pytest.raises(InterruptedError, match="cancelled"):
        explain(image, predict, 0, settings(mode=mode), stop)


@MODES
@pytest.mark.parametrize("side", [1, 16])
def test_an_image_of_one_superpixel_is_explained(mode: str, side: int) -> None:
    explained = explain(np.full((side, side, 3), 90, np.uint8), one_label, 0, settings(mode=mode))
    assert explained.weights.shape == (1,)
    assert explained.weights[0] > 0
    assert explained.mask().all()


@pytest.mark.parametrize(
    "shape", [(8, 8), (8, 8, 4), (8, 8, 1), (1, 8, 8, 3), (0, 8, 3), (3,)], ids=str
)
def test_an_array_that_is_not_an_image_is_refused(shape: tuple[int, ...]) -> None:
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

    with pytest.raises(ValueError, match=rf"labels \[{label}\]: the model has the labels 0 to 2"):
        explain(image, counted, label, settings(mode=mode, batch_size=8))
    assert sizes == [8]


@MODES
@pytest.mark.parametrize("labels", [0, []], ids=str)
def test_no_label_is_refused(mode: str, labels: Any, image: Array) -> None:
    with pytest.raises(ValueError, match="at least one label is needed"):
        explain_labels(image, predict, labels, settings(mode=mode))


@MODES
def test_confidences_that_are_not_finite_are_refused(mode: str, image: Array) -> None:
    with pytest.raises(ValueError, match="NaN or infinite"):
        explain(image, lambda images: predict(images) * np.nan, 0, settings(mode=mode))


def test_more_superpixels_than_stable_mode_supports_are_refused() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (18, 18, 3), np.uint8)
    coarse = {"segmentation": Felzenszwalb(scale=1e-3, sigma=0, min_size=1)}
    with pytest.raises(ExplainError, match=r"superpixels; .* choose a coarser segmentation"):
        explain(noise, one_label, 0, settings(mode="stable", **coarse))
    explained = explain(noise, one_label, 0, settings(num_samples=2, **coarse))
    assert len(explained.weights) > 256


def test_the_default_budget_depends_on_the_mode() -> None:
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
def test_an_invalid_setting_is_named(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(changes))):
        config.parse(ExplainConfig, changes)
