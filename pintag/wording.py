"""What an explanation claims, in words: no more than it says in figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def claim(answer: Mapping[str, Any]) -> str:
    """How far the first superpixels of an `Explanation.to_json` can be told from the others."""
    reference = answer["mode"] == "reference"
    if answer["outcome"] == "deadline":
        beginning = "deadline: cut short by the time limit; "
    else:
        beginning = "plain LIME: " if reference else f"{answer['outcome']}: "
    if reference:
        return beginning + "another seed may name other superpixels"
    told = told_apart(answer)
    if not told:
        return beginning + "no superpixel stands out reliably"
    only = "" if answer["outcome"] == "separated" else "only "
    first = "the first superpixel is" if told == 1 else f"the first {told} superpixels are"
    return f"{beginning}{only}{first} told apart from the rest at {answer['level']:.0%} confidence"


def fit(answer: Mapping[str, Any]) -> str:
    """How far the surrogate, from which the weights come, can be trusted to speak for the model."""
    score = answer["surrogate"]["score"]
    if answer["samples"] <= answer["segmentation"]["count"]:
        return "fewer samples than superpixels: rely on the weights little"
    if score < 0.5:
        return f"surrogate R² {score:.2f}: it follows the model poorly; rely on the weights little"
    return f"surrogate R² {score:.2f}"


def told_apart(answer: Mapping[str, Any]) -> int | None:
    """How many of the first superpixels are told apart from all others; None: not known."""
    if answer["outcome"] == "separated":
        return min(int(answer["num_features"]), len(answer["weights"]))
    return None if answer["claimed"] is None else int(answer["claimed"])


def percent(share: float) -> str:
    """Never rounded to certainty: neither 0 % nor 100 %."""
    if share < 0.01:
        return "<\u00a01\u00a0%"
    if share > 0.99:
        return ">\u00a099\u00a0%"
    return f"{share:.0%}".replace("%", "\u00a0%")


def count(number: int, noun: str) -> str:
    """`1 image`, `3 images`"""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
