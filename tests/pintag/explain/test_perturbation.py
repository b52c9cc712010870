"""Perturbed images are bit for bit equal to the result of `np.where`."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pintag.core.types import Array
from pintag.explain.perturbation import Masks, Perturber, background
from pintag.explain.superpixels import Segments

DTYPES = pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
COUNT = 5


def picture(dtype: npt.DTypeLike, seed: int = 0) -> Array:
    """`[6,7,3]` of noise: bytes, or floats on both sides of zero."""
    rng = np.random.default_rng(seed)
    if dtype is np.uint8:
        return rng.integers(0, 256, (6, 7, 3), np.uint8)
    return rng.normal(size=(6, 7, 3)).astype(dtype)


@pytest.fixture
def segments() -> Segments:
    """Segments need not be connected, and these are not."""
    return (np.arange(42, dtype=np.int32) * 3 % COUNT).reshape(6, 7)


def drawn(count: int, seed: int = 0) -> Masks:
    return np.random.default_rng(seed).random((count, COUNT)) < 0.5


def simple(image: Array, hidden: Array, segments: Segments, masks: Masks) -> Array:
    """A simple implementation with the same result."""
    return np.where(masks[:, segments][..., np.newaxis], image, hidden)


def lime_means(image: Array, segments: Segments) -> Array:
    """lime's computation of the background: the mean colour of each segment."""
    fudged = image.copy()
    for number in np.unique(segments):
        pixels = image[segments == number]
        fudged[segments == number] = tuple(np.mean(pixels[:, channel]) for channel in range(3))
    return fudged


@DTYPES
@pytest.mark.parametrize("hide", [(0, 0, 0), (7, 128, 255), "mean"], ids=str)
def test_images_equal_those_of_np_where(dtype: Any, hide: Any, segments: Segments) -> None:
    image, masks = picture(dtype), drawn(16)
    hidden = background(image, segments, hide)
    result = Perturber(image, hidden, segments, 16).images(masks)
    assert result.dtype == dtype
    np.testing.assert_array_equal(result, simple(image, hidden, segments, masks))


@DTYPES
def test_a_full_mask_gives_the_image_and_an_empty_mask_the_background(
    dtype: Any, segments: Segments
) -> None:
    image, hidden = picture(dtype), picture(dtype, seed=1)
    whole, nothing = Perturber(image, hidden, segments, 2).images(
        np.array([[True] * COUNT, [False] * COUNT])
    )
    np.testing.assert_array_equal(whole, image)
    np.testing.assert_array_equal(nothing, hidden)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data())
def test_any_image_segments_and_masks_equal_np_where(data: st.DataObject) -> None:
    """Floats have any bit pattern, including infinity, minus zero and NaN."""
    dtype = data.draw(st.sampled_from([np.uint8, np.float16, np.float32, np.float64]))
    height, width, count = (data.draw(st.integers(1, 9)) for _ in range(3))
    shape = (height, width, 3)
    image, hidden = (data.draw(arrays.arrays(dtype, shape)) for _ in range(2))
    labels = arrays.arrays(np.int32, shape[:2], elements=st.integers(0, count - 1))
    segments = data.draw(labels)
    masks = data.draw(arrays.arrays(np.bool_, (data.draw(st.integers(1, 6)), count)))
    result = Perturber(image, hidden, segments, len(masks)).images(masks)
    expected = simple(image, hidden, segments, masks)
    assert result.dtype == expected.dtype
    assert result.tobytes() == expected.tobytes()


def test_a_batch_may_be_smaller_than_the_batch_size(segments: Segments) -> None:
    image = picture(np.uint8)
    perturber = Perturber(image, np.zeros_like(image), segments, 8)
    masks = drawn(8)
    for count in (8, 3, 1, 0):
        result = perturber.images(masks[:count])
        assert result.shape == (count, *image.shape)
        np.testing.assert_array_equal(result, simple(image, 0 * image, segments, masks[:count]))


def test_a_batch_larger_than_the_batch_size_is_refused(segments: Segments) -> None:
    image = picture(np.uint8)
    with pytest.raises(ValueError, match="does not match"):
        Perturber(image, image, segments, 2).images(drawn(3))


def test_images_are_valid_until_the_next_call(segments: Segments) -> None:
    """All batches share one buffer, and no pixels of one batch remain in the next."""
    image = picture(np.float32)
    hidden = background(image, segments, "mean")
    perturber = Perturber(image, hidden, segments, 4)
    first = perturber.images(drawn(4))
    kept = first.copy()
    second = perturber.images(drawn(4, seed=1))
    assert np.shares_memory(first, second)
    assert not np.array_equal(first, kept)
    np.testing.assert_array_equal(perturber.images(drawn(4)), kept)


def test_changing_a_batch_does_not_change_the_image(segments: Segments) -> None:
    image = picture(np.uint8)
    original = image.copy()
    perturber = Perturber(image, np.zeros_like(image), segments, 1)
    whole = np.ones((1, COUNT), bool)
    perturber.images(whole)[:] = 1
    np.testing.assert_array_equal(image, original)
    np.testing.assert_array_equal(perturber.images(whole)[0], original)


@pytest.mark.parametrize("view", [lambda a: a[::-1, ::-1], lambda a: np.asfortranarray(a)])
def test_images_and_masks_may_have_any_memory_order(view: Any, segments: Segments) -> None:
    image, hidden, masks = view(picture(np.float64)), view(picture(np.float64, 1)), view(drawn(4))
    result = Perturber(image, hidden, view(segments), 4).images(masks)
    np.testing.assert_array_equal(result, simple(image, hidden, view(segments), masks))


@DTYPES
def test_a_hide_colour_fills_the_background(dtype: Any, segments: Segments) -> None:
    image = picture(dtype)
    hidden = background(image, segments, (9, 0, 255))
    assert hidden.dtype == dtype
    assert hidden.shape == image.shape
    np.testing.assert_array_equal(hidden.reshape(-1, 3), [(9, 0, 255)] * 42)


def test_means_of_bytes_are_truncated_as_in_lime(segments: Segments) -> None:
    for seed in range(5):
        image = picture(np.uint8, seed)
        result = background(image, segments, "mean")
        assert result.dtype == np.uint8
        np.testing.assert_array_equal(result, lime_means(image, segments))


def test_means_of_floats_equal_those_of_lime(segments: Segments) -> None:
    image = picture(np.float64)
    result = background(image, segments, "mean")
    np.testing.assert_allclose(result, lime_means(image, segments), rtol=1e-12)


def test_the_mean_of_a_segment_of_one_colour_is_that_colour() -> None:
    segments = np.arange(12, dtype=np.int32).reshape(3, 4) // 2
    image = picture(np.uint8)[0, :6][segments]
    np.testing.assert_array_equal(background(image, segments, "mean"), image)
