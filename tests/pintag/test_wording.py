"""Words for what an explanation claims: never more than its figures do."""

from __future__ import annotations

from typing import Any

import pytest

from pintag import wording


def answer(mode: str, outcome: str, claimed: int | None, **others: Any) -> dict[str, Any]:
    level = None if mode == "reference" else 0.95
    answered = {"mode": mode, "outcome": outcome, "level": level, "claimed": claimed}
    return {**answered, "num_features": 5, "weights": [{}] * 9, **others}


@pytest.mark.parametrize(
    ("answered", "said"),
    [
        (answer("reference", "budget", None), "plain LIME: another seed may name other"),
        (answer("reference", "deadline", None), "deadline: cut short by the time limit; another"),
        (answer("stable", "separated", 5), "separated: the first 5 superpixels are told apart"),
        (answer("stable", "separated", 3, weights=[{}] * 3), "separated: the first 3 superpixels"),
        (answer("stable", "separated", 1, num_features=1), "separated: the first superpixel is"),
        (answer("stable", "budget", 2), "budget: only the first 2 superpixels are told apart"),
        (answer("stable", "budget", 1), "budget: only the first superpixel is told apart"),
        (answer("stable", "budget", 0), "budget: no superpixel stands out reliably"),
        (answer("stable", "deadline", 2), "deadline: cut short by the time limit; only the first"),
        (answer("stable", "deadline", 0), "deadline: cut short by the time limit; no superpixel"),
    ],
)
def test_the_claim_is_that_of_the_outcome(answered: dict[str, Any], said: str) -> None:
    claim = wording.claim(answered)
    assert claim.startswith(said)
    assert claim.endswith("at 95% confidence") == ("told apart" in claim)


@pytest.mark.parametrize(
    ("score", "samples", "said"),
    [
        (0.5, 449, "surrogate R² 0.50"),
        (0.49, 449, "surrogate R² 0.49: it follows the model poorly; rely on the weights little"),
        (1.0, 20, "fewer samples than superpixels: rely on the weights little"),
    ],
)
def test_a_bad_fit_is_warned_of(score: float, samples: int, said: str) -> None:
    told = {"surrogate": {"score": score}, "samples": samples, "segmentation": {"count": 20}}
    assert wording.fit(told) == said


@pytest.mark.parametrize(
    ("share", "said"),
    [(0, "< 1"), (0.009, "< 1"), (0.01, "1"), (0.456, "46"), (0.99, "99"), (0.999, "> 99")],
)
def test_a_percentage_is_never_rounded_to_certainty(share: float, said: str) -> None:
    assert wording.percent(share).replace("\u00a0", " ") == f"{said} %"


def test_one_is_not_many() -> None:
    assert [wording.count(number, "image") for number in (0, 1, 2)] == [
        "0 images",
        "1 image",
        "2 images",
    ]
