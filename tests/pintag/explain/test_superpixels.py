"""Superpixels: segments are numbered without gaps and equal those of lime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from lime.wrappers.scikit_image import SegmentationAlgorithm
from skimage.segmentation import quickshift

from pintag.core import config
from pintag.core.errors import ConfigError
from pintag.core.types import Pixels
from pintag.data import figures
from pintag.explain.explanation import ExplainConfig
from pintag.explain.superpixels import (
    ALGORITHMS,
    Felzenszwalb,
    Quickshift,
    Segmentation,
    Slic,
    segment,
)

EVERY = pytest.mark.parametrize(
    "segmentation",
    [Quickshift(), Quickshift(kernel_size=2, max_dist=8), Slic(), Felzenszwalb(min_size=20)],
    ids=lambda segmentation: segmentation.algorithm,
)


@pytest.fixture(scope="module")
def drawing() -> Pixels:
    return np.asarray(figures.draw("houses", np.random.default_rng(0), 64))


def parsed(**segmentation: Any) -> Segmentation:
    return config.parse(ExplainConfig, {"segmentation": segmentation}).segmentation


def refusal(**segmentation: Any) -> str:
    with pytest.raises(ConfigError) as raised:
        parsed(**segmentation)
    return str(raised.value)


@EVERY
def test_segments_cover_the_image_and_are_numbered_without_gaps(
    segmentation: Segmentation, drawing: Pixels
) -> None:
    wide = drawing[:40]
    result = segment(wide, segmentation)
    assert result.shape == (40, 64)
    assert result.dtype == np.int32
    count = int(result.max()) + 1
    assert count > 1
    np.testing.assert_array_equal(np.unique(result), np.arange(count))


@EVERY
def test_equal_images_have_equal_segments_whatever_the_seed(
    segmentation: Segmentation, drawing: Pixels
) -> None:
    result = segment(drawing, segmentation)
    np.testing.assert_array_equal(segment(drawing.copy(), segmentation, seed=7), result)


@EVERY
def test_an_image_is_not_changed(segmentation: Segmentation, drawing: Pixels) -> None:
    image = drawing.copy()
    segment(image, segmentation)
    np.testing.assert_array_equal(image, drawing)


@EVERY
def test_floats_between_zero_and_one_have_the_segments_of_their_bytes(
    segmentation: Segmentation, drawing: Pixels
) -> None:
    result = segment(drawing / 255, segmentation)  # type: ignore[arg-type]
    np.testing.assert_array_equal(result, segment(drawing, segmentation))


@EVERY
@pytest.mark.parametrize("side", [1, 24])
def test_an_image_of_one_colour_has_segments(segmentation: Segmentation, side: int) -> None:
    result = segment(np.full((side, side, 3), 77, np.uint8), segmentation)
    np.testing.assert_array_equal(np.unique(result), np.arange(result.max() + 1))
    # Only SLIC divides an image of one colour, by position.
    assert segmentation.algorithm == "slic" or result.max() == 0


def test_felzenszwalb_finds_flat_tiles() -> None:
    tiles = np.kron(np.arange(6).reshape(2, 3), np.ones((8, 8), int))
    image = np.random.default_rng(0).integers(0, 256, (6, 3), np.uint8)[tiles]
    result = segment(image, Felzenszwalb(scale=1, sigma=0, min_size=1))
    assert result.max() == 5
    assert len(np.unique(result * 6 + tiles)) == 6


def test_the_default_quickshift_equals_that_of_lime(drawing: Pixels) -> None:
    """It equals the segmentation of `LimeImageExplainer.explain_instance`, and scikit-image's."""
    theirs = SegmentationAlgorithm(
        "quickshift", kernel_size=4, max_dist=200, ratio=0.2, random_seed=123
    )(drawing)
    ours = segment(drawing, Quickshift())
    np.testing.assert_array_equal(ours, theirs)
    plain = quickshift(drawing, kernel_size=4, max_dist=200, ratio=0.2)
    np.testing.assert_array_equal(ours, plain)


def test_parameters_reach_the_algorithm(drawing: Pixels) -> None:
    def count(segmentation: Segmentation) -> int:
        return int(segment(drawing, segmentation).max()) + 1

    assert count(Quickshift(max_dist=5)) > count(Quickshift(max_dist=200))
    assert count(Quickshift(kernel_size=1, max_dist=9)) > count(Quickshift(max_dist=9))
    assert count(Slic(n_segments=50)) > count(Slic(n_segments=5)) > count(Slic(n_segments=1)) == 1
    assert count(Felzenszwalb(min_size=5)) > count(Felzenszwalb(min_size=500))


def test_every_algorithm_is_chosen_by_its_name() -> None:
    assert {name: kind().algorithm for name, kind in ALGORITHMS.items()} == {
        name: name for name in ("quickshift", "slic", "felzenszwalb")
    }
    for name, kind in ALGORITHMS.items():
        assert parsed(algorithm=name) == kind()


def test_the_default_is_quickshift_with_the_parameters_of_lime() -> None:
    assert ExplainConfig().segmentation == Quickshift(kernel_size=4, max_dist=200, ratio=0.2)


@pytest.mark.parametrize(
    ("algorithm", "key"),
    [
        ("quickshift", "kernel_sise"),
        ("quickshift", "n_segments"),
        ("slic", "kernel_size"),
        ("felzenszwalb", "compactness"),
        ("felzenszwalb", "random_seed"),
    ],
)
def test_the_error_for_an_unknown_parameter_names_it(algorithm: str, key: str) -> None:
    message = refusal(algorithm=algorithm, **{key: 3})
    assert "unknown key" in message
    assert "segmentation" in message
    assert key in message


@pytest.mark.parametrize(
    ("algorithm", "key", "value"),
    [
        ("quickshift", "kernel_size", 0.5),
        ("quickshift", "max_dist", 0),
        ("quickshift", "ratio", 1.1),
        ("slic", "n_segments", 0),
        ("slic", "compactness", 0),
        ("felzenszwalb", "min_size", 0),
        ("felzenszwalb", "scale", "large"),
    ],
)
def test_the_error_for_an_invalid_value_names_the_parameter(
    algorithm: str, key: str, value: object
) -> None:
    message = refusal(algorithm=algorithm, **{key: value})
    assert key in message
    assert f"(found {value!r})" in message


def test_the_error_for_an_unknown_algorithm_lists_all_algorithms() -> None:
    message = refusal(algorithm="watershed")
    assert "watershed" in message
    for name in ALGORITHMS:
        assert name in message
