"""Figures: the overlay unchanged, a title above it, and a legend that names every colour."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pintag.core.types import Pixels
from pintag.explain import figure
from pintag.explain.figure import Layout
from pintag.explain.schema import ExplanationAnswer
from pintag.explain.style import AGAINST, FOR
from tests.pintag.explain.test_schema import VERSION_0_1


def answer(**changes: Any) -> ExplanationAnswer:
    return ExplanationAnswer.model_validate(VERSION_0_1 | changes)


def picture(height: int, width: int) -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def has(pixels: Pixels, colour: tuple[int, int, int]) -> bool:
    return bool((pixels == colour).all(axis=-1).any())


@pytest.mark.parametrize(
    ("height", "width"), [(240, 480), (768, 1024), (480, 2), (480, 120), (1, 480), (1024, 1024)]
)
def test_the_overlay_is_unchanged_between_title_and_legend(height: int, width: int) -> None:
    drawn = picture(height, width)
    composed = figure.compose(drawn, answer())
    assert composed.dtype == np.uint8
    left, top = Layout(height, width).origin
    np.testing.assert_array_equal(composed[top : top + height, left : left + width], drawn)
    above, below = composed[:top], composed[top + height :]
    # Something is written above and below, on white.
    assert above.min() < 100
    assert below.min() < 100
    assert (composed[0] == 255).all()
    assert (composed[-1] == 255).all()


def test_the_legend_shows_the_colours_of_the_overlay() -> None:
    below = figure.compose(picture(240, 480), answer())[Layout(240, 480).origin[1] + 240 :]
    assert has(below, FOR)
    assert has(below, AGAINST)


def test_the_title_names_label_probability_and_mode() -> None:
    title = figure.title(answer()).replace("\u00a0", " ")
    assert title == "houses: probability 75 %, stable mode"


def test_a_confidence_is_never_rounded_to_certainty() -> None:
    assert "> 99 %" in figure.title(answer(confidence=0.9999)).replace("\u00a0", " ")


def texts(**changes: Any) -> list[str]:
    return [item.text for item in figure.legend(answer(**changes))]


def test_the_legend_names_only_what_the_overlay_shows() -> None:
    number, pro, con = (
        "rank and weight (log-odds)",
        "evidence for houses",
        "evidence against houses",
    )
    uncertain, dark = "pale, dashed: the rank is uncertain", "dark: less important"
    assert texts(claimed=1) == [number, pro, con, uncertain]
    assert texts(claimed=2) == texts(claimed=None, mode="reference") == [number, pro, con]
    assert texts(claimed=1, num_features=1) == [number, pro, dark]
    assert texts(claimed=2, positive_only=True) == [number, pro, dark]
    assert texts(weights=weights(0.0)) == [dark]
    assert texts(weights=weights(*[1.0] * 30), num_features=30, claimed=None) == [
        f"{number} of the first 20",
        pro,
    ]


def test_the_legend_names_what_may_be_evidence_for_or_against() -> None:
    item = {"segment": 0, "weight": 0.1, "low": -0.1, "high": 0.3}
    assert texts(weights=[item], claimed=1)[-1] == "white number: may be either"


def weights(*values: float) -> list[dict[str, Any]]:
    return [
        {"segment": segment, "weight": weight, "low": None, "high": None}
        for segment, weight in enumerate(values)
    ]


@pytest.mark.parametrize("label", ["n" * 500, "a\nb\tc\x00", "ü 中文 \u202e", ""], ids=range(4))
def test_any_label_fits_the_figure(label: str) -> None:
    composed = figure.compose(picture(240, 480), answer(label=label))
    left, top = Layout(240, 480).origin
    assert composed.shape[1] == 480
    assert "\n" not in figure.title(answer(label=label))
    # Nothing is written up to the right edge.
    assert (composed[:top, -3:] == 255).all()
    assert (composed[top + 240 :, -3:] == 255).all()
    assert left == 0


def test_a_narrow_picture_is_centred() -> None:
    left, _ = Layout(480, 120).origin
    assert left == (Layout(480, 120).full_width - 120) // 2 > 0
