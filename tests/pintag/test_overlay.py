"""Overlays: what is tinted and outlined, and segment maps that come back as they went."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from pintag import overlay
from pintag.errors import ImageTooLargeError, NotAnImageError
from pintag.images import Limits, Pixels
from pintag.overlay import AGAINST, FOR, Signs


def grey(height: int = 8, width: int = 12, level: int = 200) -> Pixels:
    return np.full((height, width, 3), level, np.uint8)


def halves(height: int = 8, width: int = 12) -> Signs:
    """For on the left, nothing between, against on the right."""
    return np.repeat(np.repeat(np.array([[1, 0, -1]], np.int8), width // 3, axis=1), height, axis=0)


def encoded(width: int, height: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(file, "PNG")
    return file.getvalue()


def shape_of(height: int, width: int) -> tuple[int, ...]:
    return overlay.picture(encoded(width, height)).shape


def test_an_overlay_is_a_picture_of_the_same_size() -> None:
    drawn = overlay.draw(grey(), halves())
    assert drawn.shape == (8, 12, 3)
    assert drawn.dtype == np.uint8


def test_what_is_drawn_on_is_not_changed() -> None:
    picture, signs = grey(), halves()
    overlay.draw(picture, signs)
    np.testing.assert_array_equal(picture, grey())
    np.testing.assert_array_equal(signs, halves())


@pytest.mark.parametrize(("sign", "colour"), [(1, FOR), (-1, AGAINST)])
def test_each_sign_is_tinted_with_its_colour_and_outlined_with_it(
    sign: int, colour: tuple[int, int, int]
) -> None:
    signs = halves(12)
    drawn = overlay.draw(grey(12), signs).astype(int)
    outline = (drawn == colour).all(axis=-1)
    assert outline.any()
    assert (signs[outline] == sign).all()
    # Only where it borders on something else, and not on the end of the picture.
    assert outline.sum() == 12
    inside = (signs == sign) & ~outline
    # One tint all over, between the picture's grey and the colour.
    (tint,) = np.unique(drawn[inside], axis=0)
    towards = (tint - 200) / (np.array(colour) - 200)
    assert towards == pytest.approx(np.full(3, towards[0]), abs=0.03)
    assert 0.1 < towards[0] < 0.6


def test_what_is_not_claimed_is_pale_and_has_a_dashed_outline() -> None:
    segments = np.repeat([0, 1], 320).reshape(1, 640).repeat(400, axis=0).astype(np.int32)
    weights = np.array([2.0, 1.0])

    def drawn(claimed: int | None) -> Pixels:
        return overlay.show(grey(400, 640), segments, weights, [0], claimed)

    def outlined(pixels: Pixels) -> float:
        """The share of the middle line that is outlined."""
        return float((pixels[:, 319] == FOR).all(axis=-1).mean())

    assert outlined(drawn(None)) == outlined(drawn(1)) == 1
    assert 0.3 < outlined(drawn(0)) < 0.7
    certain, pale = (drawn(claimed)[200, 100].astype(int) for claimed in (1, 0))
    assert 200 > pale[0] > certain[0] > FOR[0]
    assert (drawn(0)[:, 320:] == drawn(None)[:, 320:]).all()


def test_lines_are_of_a_width_to_look_at_and_have_white_beside_them() -> None:
    drawn = overlay.draw(grey(300, 960), halves(6, 12))
    row = drawn[150, :480]
    outline, white = (row == FOR).all(axis=-1), (row == 255).all(axis=-1)
    assert outline.sum() == 4
    assert white.sum() == 1
    assert np.flatnonzero(white)[0] == np.flatnonzero(outline)[0] - 1


def test_the_colours_of_for_and_against_are_told_apart_without_red_and_green() -> None:
    """By their blue and by how light they are, which colour-blind people see."""
    light = [0.2126 * r + 0.7152 * g + 0.0722 * b for r, g, b in (FOR, AGAINST)]
    assert abs(FOR[2] - AGAINST[2]) > 100
    assert abs(light[0] - light[1]) > 15


def test_the_rest_is_dimmed_and_grey() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (8, 12, 3), np.uint8)
    drawn = overlay.draw(picture, halves())[:, 4:8]
    assert (np.ptp(drawn, axis=-1) == 0).all()
    assert drawn.max() < 120
    # What was lighter still is.
    before = picture[:, 4:8].mean(axis=-1).ravel()
    after = drawn[..., 0].ravel()[np.argsort(before)]
    assert (np.diff(after.astype(int)) >= 0).all()


def test_where_nothing_is_chosen_there_is_no_tint() -> None:
    drawn = overlay.draw(grey(), np.zeros((8, 12), np.int8))
    assert len(np.unique(drawn)) == 1
    assert drawn[0, 0, 0] < 200


def test_where_all_is_chosen_all_is_tinted_and_nothing_outlined() -> None:
    drawn = overlay.draw(grey(), np.ones((8, 12), np.int8))
    assert len(np.unique(drawn.reshape(-1, 3), axis=0)) == 1
    assert drawn[0, 0, 2] > drawn[0, 0, 0]


@pytest.mark.parametrize(("height", "width"), [(8, 12), (80, 120), (81, 127), (3, 5), (1, 3)])
def test_signs_are_stretched_over_a_picture_of_any_size(height: int, width: int) -> None:
    drawn = overlay.draw(grey(height, width), halves()).astype(int)
    assert drawn.shape == (height, width, 3)
    left, middle, right = drawn[height // 2, [0, width // 2, -1]]
    assert left[2] > left[0]
    assert middle[0] == middle[2]
    assert right[0] > right[2]
    tinted = np.ptp(drawn, axis=-1) > 0
    assert tinted.mean() == pytest.approx(2 / 3, abs=0.1)


def test_stretching_moves_nothing() -> None:
    """A picture twice as large has of each pixel's sign four."""
    signs = np.random.default_rng(0).integers(-1, 2, (6, 9)).astype(np.int8)
    large = np.ptp(overlay.draw(grey(12, 18), signs).astype(int), axis=-1) > 0
    np.testing.assert_array_equal(large, np.kron(signs != 0, np.ones((2, 2), bool)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_picture_of_floats_is_refused(dtype: type) -> None:
    with pytest.raises(ValueError, match=f"uint8.*, not {np.dtype(dtype)}"):
        overlay.draw(grey().astype(dtype), halves())


def test_a_mask_has_the_signs_of_the_chosen_segments() -> None:
    segments = np.array([[0, 1, 2], [3, 3, 2]], np.int32)
    weights = np.array([0.5, -2.0, 3.0, 0.0])
    found = overlay.mask(segments, weights, [2, 1, 3])
    assert found.dtype == np.int8
    np.testing.assert_array_equal(found, [[0, -1, 1], [0, 0, 1]])
    np.testing.assert_array_equal(overlay.mask(segments, weights, []), np.zeros((2, 3)))


def test_a_png_comes_back_as_it_went() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (7, 5, 3), np.uint8)
    file = overlay.png(pixels)
    assert file.startswith(b"\x89PNG\r\n\x1a\n")
    with Image.open(io.BytesIO(file)) as image:
        assert (image.mode, image.size) == ("RGB", (5, 7))
        np.testing.assert_array_equal(np.asarray(image), pixels)


@pytest.mark.parametrize("largest", [0, 255, 256, 1000, 65535, 65536, 100_000, 2**24 - 1])
def test_a_segment_map_comes_back_as_it_went(largest: int) -> None:
    segments = np.linspace(0, largest, 60).astype(np.int32).reshape(6, 10)
    found = overlay.read_segment_map(overlay.segment_map(segments))
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, segments)


def test_a_segment_map_says_red_and_256_green_and_65536_blue() -> None:
    """As a browser's canvas reads it."""
    segments = np.array([[5, 256 * 7 + 1, 65536 * 2 + 3]], np.int32)
    with Image.open(io.BytesIO(overlay.segment_map(segments))) as image:
        np.testing.assert_array_equal(np.asarray(image), [[(5, 0, 0), (1, 7, 0), (3, 0, 2)]])


def test_pictures_are_of_a_size_to_look_at_in_their_own_proportions() -> None:
    assert shape_of(30, 60) == (240, 480, 3)
    assert shape_of(90, 60) == (480, 320, 3)
    assert shape_of(600, 500) == (600, 500, 3)
    assert shape_of(2048, 1000) == (1024, 500, 3)


def test_the_thinnest_picture_keeps_a_pixel() -> None:
    assert shape_of(1, 3000) == (1, 1024, 3)
    assert shape_of(1, 1) == (480, 480, 3)


def test_a_picture_that_needs_no_other_size_is_as_it_was_decoded() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (500, 20, 3), np.uint8)
    np.testing.assert_array_equal(overlay.picture(overlay.png(pixels)), pixels)


def test_what_is_no_picture_or_too_large_a_one_is_refused() -> None:
    with pytest.raises(NotAnImageError):
        overlay.picture(b"no picture")
    with pytest.raises(ImageTooLargeError):
        overlay.picture(encoded(20, 20), Limits(max_pixels=399))
