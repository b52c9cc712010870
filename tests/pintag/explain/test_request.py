"""Requests for explanations: defaults, hashing, and errors that name the wrong parameter."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from pintag.explain.explanation import ExplainConfig
from pintag.explain.request import ExplanationRequest


def test_an_empty_request_has_the_defaults_of_the_library() -> None:
    assert ExplainConfig.from_request(ExplanationRequest()) == ExplainConfig()


@pytest.mark.parametrize("segmentation", ["quickshift", "slic", "felzenszwalb"])
def test_every_parameter_reaches_the_configuration(segmentation: Any) -> None:
    request = ExplanationRequest(
        label="food",
        num_features=3,
        num_samples=77,
        mode="stable",
        segmentation=segmentation,
        positive_only=True,
        seed=9,
    )
    config = ExplainConfig.from_request(request, batch_size=8)
    assert (config.mode, config.seed, config.batch_size) == ("stable", 9, 8)
    assert (config.num_features, config.num_samples, config.positive_only) == (3, 77, True)
    assert config.segmentation.algorithm == segmentation


def test_equal_requests_have_equal_hashes() -> None:
    assert (
        len({ExplanationRequest(seed=1), ExplanationRequest(seed=1), ExplanationRequest(seed=2)})
        == 2
    )


@pytest.mark.parametrize(
    "wrong", [{"seed": -1}, {"num_features": 0}, {"segmentation": "watershed"}, {"colour": "red"}]
)
def test_a_wrong_parameter_is_named(wrong: dict[str, Any]) -> None:
    (key,) = wrong
    with pytest.raises(ValidationError, match=key):
        ExplanationRequest(**wrong)
