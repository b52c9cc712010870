"""Overlays: which pixels are tinted and outlined. Segment maps: they can be decoded."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from pintag.core.errors import ImageTooLargeError, NotAnImageError
from pintag.core.types import Pixels
from pintag.explain import overlay
from pintag.explain.overlay import Signs
from pintag.explain.schema import WeightItem
from pintag.explain.style import AGAINST, FOR, HALO, INK
from pintag.images.limits import ImageLimits


def grey(height: int = 8, width: int = 12, level: int = 200) -> Pixels:
    return np.full((height, width, 3), level, np.uint8)


def halves(height: int = 8, width: int = 12) -> Signs:
    """Evidence for the label on the left, none in the middle, evidence against it on the right."""
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


def test_the_picture_and_the_signs_are_not_changed() -> None:
    picture, signs = grey(), halves()
    overlay.draw(picture, signs)
    np.testing.assert_array_equal(picture, grey())
    np.testing.assert_array_equal(signs, halves())


@pytest.mark.parametrize(("sign", "colour"), [(1, FOR), (-1, AGAINST)])
def test_each_sign_has_its_colour_as_tint_and_outline(
    sign: int, colour: tuple[int, int, int]
) -> None:
    signs = halves(12)
    drawn = overlay.draw(grey(12), signs).astype(int)
    outline = (drawn == colour).all(axis=-1)
    assert outline.any()
    assert (signs[outline] == sign).all()
    # There is an outline towards other segments, but not at the edge of the picture.
    assert outline.sum() == 12
    inside = (signs == sign) & ~outline
    # All pixels have the same tint, between the picture's grey and the colour.
    (tint,) = np.unique(drawn[inside], axis=0)
    towards = (tint - 200) / (np.array(colour) - 200)
    assert towards == pytest.approx(np.full(3, towards[0]), abs=0.05)
    assert 0.1 < towards[0] < 0.6


def test_segments_that_are_not_claimed_are_pale_with_a_dashed_outline() -> None:
    segments = np.repeat([0, 1], 320).reshape(1, 640).repeat(400, axis=0).astype(np.int32)
    chosen = [WeightItem(segment=0, weight=2.0, low=None, high=None)]

    def drawn(claimed: int | None) -> Pixels:
        return overlay.show(grey(400, 640), segments, chosen, "log-odds", claimed)

    def outlined(pixels: Pixels) -> float:
        """The share of the column at the border that has the outline's colour."""
        return float((pixels[:, 319] == FOR).all(axis=-1).mean())

    assert outlined(drawn(None)) == outlined(drawn(1)) == 1
    assert 0.3 < outlined(drawn(0)) < 0.7
    certain, pale = (drawn(claimed)[200, 100].astype(int) for claimed in (1, 0))
    assert 200 > pale[0] > certain[0] > FOR[0]
    assert (drawn(0)[:, 320:] == drawn(None)[:, 320:]).all()


def test_lines_have_a_visible_width_between_white_and_black() -> None:
    drawn = overlay.draw(grey(300, 960), halves(6, 12))
    row = drawn[150, :480]
    outline, white, black = ((row == each).all(axis=-1) for each in (FOR, HALO, INK))
    # The evidence for the label ends at column 320.
    assert np.flatnonzero(outline).tolist() == [316, 317, 318, 319]
    assert np.flatnonzero(white).tolist() == [314, 315, 320, 321]
    assert np.flatnonzero(black).tolist() == [313, 322]


def test_each_superpixel_has_an_outline_also_beside_one_of_the_same_sign() -> None:
    segments = np.repeat([0, 1, 2, 3], 160).reshape(1, 640).repeat(400, axis=0).astype(np.int32)
    chosen = [WeightItem(segment=i, weight=w, low=None, high=None) for i, w in ((0, 2), (1, 1))]
    row = overlay.show(grey(400, 640), segments, chosen, "log-odds")[10].astype(int)
    outline = np.flatnonzero((row == FOR).all(axis=-1)).tolist()
    # One line between the two, and one to the rest.
    assert outline == [159, 160, 317, 318, 319]


@pytest.mark.parametrize("level", [0, 60, 120, 180, 255])
@pytest.mark.parametrize("colour", [None, FOR, AGAINST])
def test_lines_differ_from_any_picture(level: int, colour: tuple[int, ...] | None) -> None:
    picture = np.full((320, 960, 3), colour or (level,) * 3, np.uint8)
    drawn = overlay.draw(picture, halves(6, 12)).astype(int)
    # The evidence for the label ends at column 320; beside it are its tint and the dark rest.
    for beside in (drawn[160, 100], drawn[160, 480]):
        assert max(contrast(tuple(beside), each) for each in (HALO, INK)) > 3


def contrast(one: tuple[int, ...], other: tuple[int, ...]) -> float:
    """The contrast ratio of two colours (WCAG 2.2, 1.4.3), 1 to 21."""

    def luminance(colour: tuple[int, ...]) -> float:
        linear = [
            share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4
            for share in (channel / 255 for channel in colour)
        ]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("picture", [(235, 120, 20), AGAINST, (20, 110, 200), FOR], ids=str)
def test_evidence_is_visible_on_a_picture_of_the_same_colour(picture: tuple[int, ...]) -> None:
    """On orange and blue pictures the tints differ, and lines are next to a contrasting halo."""
    drawn = overlay.draw(np.full((320, 960, 3), picture, np.uint8), halves(6, 12)).astype(int)
    evidence_for, evidence_against = drawn[160, 100], drawn[160, 900]
    # Evidence for the label is bluer than evidence against it.
    assert evidence_for[2] - evidence_for[0] > evidence_against[2] - evidence_against[0] + 80
    for colour in (FOR, AGAINST):
        assert contrast(colour, HALO) > 3
    for column in (315, 644):
        assert tuple(drawn[160, column]) == HALO


def test_colour_blind_people_can_distinguish_the_two_colours() -> None:
    """The colours differ in blue and in lightness, which colour-blind people can see."""
    light = [0.2126 * r + 0.7152 * g + 0.0722 * b for r, g, b in (FOR, AGAINST)]
    assert abs(FOR[2] - AGAINST[2]) > 100
    assert abs(light[0] - light[1]) > 15


def test_the_rest_is_dimmed_and_grey() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (8, 12, 3), np.uint8)
    drawn = overlay.draw(picture, halves())[:, 4:8]
    assert (np.ptp(drawn, axis=-1) == 0).all()
    assert drawn.max() < 120
    # Lighter pixels stay lighter.
    before = picture[:, 4:8].mean(axis=-1).ravel()
    after = drawn[..., 0].ravel()[np.argsort(before)]
    assert (np.diff(after.astype(int)) >= 0).all()


def test_without_chosen_pixels_there_is_no_tint() -> None:
    drawn = overlay.draw(grey(), np.zeros((8, 12), np.int8))
    assert len(np.unique(drawn)) == 1
    assert drawn[0, 0, 0] < 200


def test_if_all_pixels_are_chosen_all_are_tinted_and_none_outlined() -> None:
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


def test_stretched_signs_stay_aligned_with_the_picture() -> None:
    """On a picture of twice the size, each sign covers two by two pixels."""
    signs = np.random.default_rng(0).integers(-1, 2, (6, 9)).astype(np.int8)
    large = np.ptp(overlay.draw(grey(12, 18), signs).astype(int), axis=-1) > 0
    np.testing.assert_array_equal(large, np.kron(signs != 0, np.ones((2, 2), bool)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_picture_of_floats_is_refused(dtype: type) -> None:
    with pytest.raises(ValueError, match=f"uint8.*, got {np.dtype(dtype)}"):
        overlay.draw(grey().astype(dtype), halves())


def test_a_mask_has_the_signs_of_the_chosen_segments() -> None:
    segments = np.array([[0, 1, 2], [3, 3, 2]], np.int32)
    weights = np.array([0.5, -2.0, 3.0, 0.0])
    result = overlay.mask(segments, weights, [2, 1, 3])
    assert result.dtype == np.int8
    np.testing.assert_array_equal(result, [[0, -1, 1], [0, 0, 1]])
    np.testing.assert_array_equal(overlay.mask(segments, weights, []), np.zeros((2, 3)))


def test_a_png_keeps_all_pixels() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (7, 5, 3), np.uint8)
    file = overlay.png(pixels)
    assert file.startswith(b"\x89PNG\r\n\x1a\n")
    with Image.open(io.BytesIO(file)) as image:
        assert (image.mode, image.size) == ("RGB", (5, 7))
        np.testing.assert_array_equal(np.asarray(image), pixels)


@pytest.mark.parametrize("largest", [0, 255, 256, 1000, 65535, 65536, 100_000, 2**24 - 1])
def test_a_segment_map_can_be_decoded(largest: int) -> None:
    segments = np.linspace(0, largest, 60).astype(np.int32).reshape(6, 10)
    result = overlay.read_segment_map(overlay.segment_map(segments))
    assert result.dtype == np.int32
    np.testing.assert_array_equal(result, segments)


def test_the_channels_of_a_segment_map_are_the_digits_of_the_segment() -> None:
    """A pixel's segment is R + 256 G + 65536 B, as the script of the page computes it."""
    segments = np.array([[5, 256 * 7 + 1, 65536 * 2 + 3]], np.int32)
    with Image.open(io.BytesIO(overlay.segment_map(segments))) as image:
        np.testing.assert_array_equal(np.asarray(image), [[(5, 0, 0), (1, 7, 0), (3, 0, 2)]])


def test_pictures_are_scaled_for_viewing_and_keep_their_proportions() -> None:
    assert shape_of(30, 60) == (240, 480, 3)
    assert shape_of(90, 60) == (480, 320, 3)
    assert shape_of(600, 500) == (600, 500, 3)
    assert shape_of(2048, 1000) == (1024, 500, 3)


def test_a_very_thin_picture_keeps_at_least_one_pixel() -> None:
    assert shape_of(1, 3000) == (1, 1024, 3)
    assert shape_of(1, 1) == (480, 480, 3)


def test_a_picture_of_the_right_size_is_not_changed() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (500, 20, 3), np.uint8)
    np.testing.assert_array_equal(overlay.picture(overlay.png(pixels)), pixels)


def test_input_that_is_not_an_image_or_too_large_is_refused() -> None:
    with pytest.raises(NotAnImageError):
        overlay.picture(b"no picture")
    with pytest.raises(ImageTooLargeError):
        overlay.picture(encoded(20, 20), ImageLimits(max_declared_pixels=399))
