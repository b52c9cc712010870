"""Sentences that describe the numbers of an explanation."""

from __future__ import annotations

from pintag.core import formatting
from pintag.explain.mask_designs import BLOCK
from pintag.explain.request import Mode
from pintag.explain.surrogate import StopReason

# R² from which the surrogate follows the model closely, and roughly.
_CLOSE, _ROUGH = 0.8, 0.5


def claim(
    mode: Mode,
    outcome: StopReason,
    samples: int,
    level: float | None,
    separated: int | None,
    superpixels: int,
) -> str:
    """One or two sentences about how reliable the order of the superpixels is.

    Args:
        level: the confidence level of stable mode.
        separated: how many of the first superpixels rank above the rest in stable mode.
        superpixels: how many the image has.
    """
    count = formatting.count(samples, "sample")
    if mode == "reference":
        cut = "cut short by the time limit after " if outcome == "deadline" else ""
        return f"Plain LIME, one seed, {cut}{count}: another seed may name other superpixels."
    # There is no rest, and the order of all is no claim: the last one was compared with zero.
    if separated and separated >= superpixels:
        return f"After {count}, {_all(superpixels, level)}."
    if outcome == "separated":
        return f"After {count}, {_separated(separated or 0, level)}."
    if outcome == "deadline":
        beginning = f"Cut short by the time limit after {count}"
    else:
        beginning = f"After {count} no further round of {BLOCK} fits into the budget"
    if not separated:
        return f"{beginning}: no superpixel stands out reliably. Their order is uncertain."
    return (
        f"{beginning}: only {_separated(separated, level)}. The order of the others is uncertain."
    )


def fit(score: float, samples: int, superpixels: int) -> str:
    """One or two sentences about how well the surrogate follows the model.

    Args:
        score: R² of the surrogate. It is meaningless without more samples than superpixels.
    """
    if samples <= superpixels:
        return "There are no more samples than superpixels. Do not rely on these weights."
    how = "closely" if score >= _CLOSE else "roughly" if score >= _ROUGH else "poorly"
    caution = " Do not rely on these weights." if how == "poorly" else ""
    return f"The surrogate follows the model {how} around this image (R² = {score:.2f}).{caution}"


def _separated(count: int, level: float | None) -> str:
    first = "first superpixel ranks" if count == 1 else f"first {count} superpixels rank"
    return f"the {first} above the rest{_confidence(level)}"


def _all(count: int, level: float | None) -> str:
    each = "the only superpixel has" if count == 1 else f"each of the {count} superpixels has"
    return f"{each} a weight other than zero{_confidence(level)}"


def _confidence(level: float | None) -> str:
    return "" if level is None else f" at {100 * level:g}% confidence"
