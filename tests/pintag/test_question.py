"""Questions: equal words have equal meanings, and wrong ones are named."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from pintag.explain import ExplainConfig
from pintag.question import Question


def test_what_is_not_said_has_the_defaults_of_the_library() -> None:
    assert ExplainConfig.of(Question()) == ExplainConfig()


@pytest.mark.parametrize("segmentation", ["quickshift", "slic", "felzenszwalb"])
def test_everything_that_is_said_reaches_the_library(segmentation: Any) -> None:
    question = Question(
        label="food",
        num_features=3,
        num_samples=77,
        mode="stable",
        segmentation=segmentation,
        positive_only=True,
        seed=9,
    )
    config = ExplainConfig.of(question, batch_size=8)
    assert (config.mode, config.seed, config.batch_size) == ("stable", 9, 8)
    assert (config.num_features, config.num_samples, config.positive_only) == (3, 77, True)
    assert config.segmentation.algorithm == segmentation


def test_equal_questions_are_one_key() -> None:
    assert len({Question(seed=1), Question(seed=1), Question(seed=2)}) == 2


@pytest.mark.parametrize(
    "wrong", [{"seed": -1}, {"num_features": 0}, {"segmentation": "watershed"}, {"colour": "red"}]
)
def test_a_wrong_word_is_named(wrong: dict[str, Any]) -> None:
    (key,) = wrong
    with pytest.raises(ValidationError, match=key):
        Question(**wrong)
