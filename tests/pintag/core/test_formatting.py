"""Numbers as text, with their units."""

from __future__ import annotations

import pytest

from pintag.core import formatting
from pintag.report.results import IntervalFigure


def plain(text: str) -> str:
    return text.replace("\u00a0", " ")


def test_an_interval_follows_its_figure() -> None:
    figure = IntervalFigure(value=0.915, low=0.8714, high=0.9449)
    assert plain(formatting.interval(figure)) == "91.5 % (87.1 to 94.5)"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.000416, "0.42 ms"),
        (0.0123, "12.3 ms"),
        (0.1862, "186 ms"),
        (0.9999, "1.00 s"),
        (4.561, "4.56 s"),
        (59.99, "1 min 00 s"),
        (200, "3 min 20 s"),
        (3599.9, "1 h 00 min"),
        (3900, "1 h 05 min"),
    ],
)
def test_seconds_have_the_unit_that_fits(seconds: float, text: str) -> None:
    assert plain(formatting.seconds(seconds)) == text


@pytest.mark.parametrize(
    ("count", "text"), [(1650, "1.6 kB"), (13_443_872, "13.4 MB"), (1_500_000_000, "1,500.0 MB")]
)
def test_sizes_have_decimal_units(count: int, text: str) -> None:
    assert plain(formatting.size(count)) == text


@pytest.mark.parametrize(
    ("p", "text"),
    [(1.0, "p = 1.00"), (0.34, "p = 0.34"), (0.0496, "p = 0.050"), (1e-9, "p < 0.001")],
)
def test_a_probability_is_never_rounded_to_zero(p: float, text: str) -> None:
    assert plain(formatting.probability(p)) == text


def test_settings_have_their_names() -> None:
    text = formatting.settings({"batch_size": 16, "learning_rate": 1e-5, "widths": [128, 64]})
    assert text == "batch size 16, learning rate 1e-05, widths [128, 64]"


def test_a_minus_is_as_wide_as_a_plus() -> None:
    assert [formatting.signed(value, 2) for value in (1.234, -0.5, 0)] == [
        "+1.23",
        "\u22120.50",
        "+0.00",
    ]
