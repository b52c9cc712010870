"""The sentences about an explanation: they claim no more than its figures."""

from __future__ import annotations

from typing import Any

import pytest

from pintag.core import formatting
from pintag.explain import summaries


def claim(
    mode: Any, outcome: Any, separated: int | None, level: float = 0.95, superpixels: int = 20
) -> str:
    shown = None if mode == "reference" else level
    return summaries.claim(mode, outcome, 449, shown, separated, superpixels)


@pytest.mark.parametrize(
    ("mode", "outcome", "separated", "sentence"),
    [
        (
            "reference",
            "budget",
            None,
            "Plain LIME, one seed, 449 samples: another seed may name other superpixels.",
        ),
        (
            "reference",
            "deadline",
            None,
            "Plain LIME, one seed, cut short by the time limit after 449 samples: another seed may",
        ),
        (
            "stable",
            "separated",
            5,
            "After 449 samples, the first 5 superpixels rank above the rest at 95% confidence.",
        ),
        ("stable", "separated", 3, "After 449 samples, the first 3 superpixels rank above"),
        ("stable", "separated", 1, "After 449 samples, the first superpixel ranks above"),
        (
            "stable",
            "budget",
            2,
            "After 449 samples no further round of 64 fits into the budget: only the first 2"
            " superpixels rank above the rest at 95% confidence. The order of the others"
            " is uncertain.",
        ),
        (
            "stable",
            "budget",
            1,
            "After 449 samples no further round of 64 fits into the budget: only",
        ),
        (
            "stable",
            "budget",
            0,
            "After 449 samples no further round of 64 fits into the budget: no superpixel stands",
        ),
        (
            "stable",
            "deadline",
            2,
            "Cut short by the time limit after 449 samples: only the first 2 superpixels rank",
        ),
        (
            "stable",
            "deadline",
            0,
            "Cut short by the time limit after 449 samples: no superpixel stands out reliably.",
        ),
    ],
)
def test_the_claim_follows_the_outcome(
    mode: str, outcome: str, separated: int | None, sentence: str
) -> None:
    text = claim(mode, outcome, separated)
    assert text.startswith(sentence)
    assert ("at 95% confidence" in text) == ("above the rest" in text)


@pytest.mark.parametrize("outcome", ["separated", "budget", "deadline"])
def test_no_rest_is_spoken_of_if_all_superpixels_are_claimed(outcome: str) -> None:
    assert claim("stable", outcome, 5, superpixels=5) == (
        "After 449 samples, each of the 5 superpixels has a weight other than zero at 95%"
        " confidence."
    )
    assert claim("stable", outcome, 1, superpixels=1) == (
        "After 449 samples, the only superpixel has a weight other than zero at 95% confidence."
    )


@pytest.mark.parametrize(("level", "shown"), [(0.9, "90%"), (0.999, "99.9%"), (0.5, "50%")])
def test_a_level_is_not_rounded_to_certainty(level: float, shown: str) -> None:
    assert f"at {shown} confidence" in claim("stable", "separated", 2, level)


@pytest.mark.parametrize(
    ("score", "samples", "sentence"),
    [
        (0.8, 449, "The surrogate follows the model closely around this image (R² = 0.80)."),
        (0.79, 449, "The surrogate follows the model roughly around this image (R² = 0.79)."),
        (0.5, 449, "The surrogate follows the model roughly around this image (R² = 0.50)."),
        (
            0.49,
            449,
            "The surrogate follows the model poorly around this image (R² = 0.49). Do not rely on"
            " these weights.",
        ),
        (1.0, 20, "There are no more samples than superpixels. Do not rely on these weights."),
    ],
)
def test_a_poor_fit_is_warned_of(score: float, samples: int, sentence: str) -> None:
    assert summaries.fit(score, samples, superpixels=20) == sentence


@pytest.mark.parametrize(
    ("share", "shown"),
    [(0, "< 1"), (0.009, "< 1"), (0.01, "1"), (0.456, "46"), (0.99, "99"), (0.999, "> 99")],
)
def test_a_percentage_is_never_rounded_to_certainty(share: float, shown: str) -> None:
    assert formatting.percent(share).replace("\u00a0", " ") == f"{shown} %"


def test_one_is_singular() -> None:
    assert [formatting.count(number, "image") for number in (0, 1, 2)] == [
        "0 images",
        "1 image",
        "2 images",
    ]
