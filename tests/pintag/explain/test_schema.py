"""The JSON schema of an explanation: its words follow its figures, and old files can be read."""

from __future__ import annotations

from typing import Any

import pytest

from pintag.explain import schema, summaries
from pintag.explain.schema import ExplanationAnswer, WeightItem
from tests import examples

# What `pintag explain` of version 0.1 wrote.
VERSION_0_1: dict[str, Any] = {
    "model": {"name": "pins", "version": "d9ad6c45d208"},
    "label": "houses",
    "confidence": 0.75,
    "mode": "stable",
    "outcome": "budget",
    "level": 0.95,
    "claimed": 1,
    "num_features": 5,
    "positive_only": False,
    "samples": 449,
    "surrogate": {"score": 0.9, "intercept": -3.5, "prediction": 0.76, "scale": "log-odds"},
    "segmentation": {
        "algorithm": "slic",
        "width": 56,
        "height": 56,
        "count": 2,
        "map": "iVBORw0=",
    },
    "weights": [
        {"segment": 1, "weight": 1.5, "low": 1.0, "high": 2.0},
        {"segment": 0, "weight": -0.25, "low": None, "high": None},
    ],
    "seconds": {"segmentation": 0.125, "sampling": 1.5, "fit": 0.25, "total": 1.875},
}


def without_words(content: dict[str, Any]) -> dict[str, Any]:
    weights = [
        {key: value for key, value in row.items() if key != "direction"}
        for row in content["weights"]
    ]
    rest = {key: value for key, value in content.items() if key != "summary"}
    return rest | {"weights": weights}


def test_a_file_of_version_0_1_is_read_and_keeps_every_field() -> None:
    answer = ExplanationAnswer.model_validate(VERSION_0_1)
    assert without_words(answer.model_dump()) == VERSION_0_1


def test_an_image_name_and_unknown_fields_in_a_file_are_ignored() -> None:
    content = {"image": "a.jpg", **VERSION_0_1, "colour": "blue"}
    assert ExplanationAnswer.model_validate(content).model_dump()["label"] == "houses"


def test_the_summary_is_computed_from_the_figures() -> None:
    content = {**VERSION_0_1, "summary": {"claim": "all is certain", "fit": "perfect"}}
    summary = ExplanationAnswer.model_validate(content).summary
    assert summary.claim == summaries.claim("stable", "budget", 449, 0.95, 1, 2)
    assert summary.fit == summaries.fit(0.9, 449, 2)
    assert ExplanationAnswer.model_validate(content).model_dump()["summary"] == {
        "claim": summary.claim,
        "fit": summary.fit,
    }


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, 1),
        ({"claimed": 0}, 0),
        ({"outcome": "separated", "claimed": 5, "num_features": 1}, 1),
        # There are no more than two superpixels.
        ({"outcome": "separated", "claimed": 2}, 2),
        ({"mode": "reference", "claimed": None}, None),
    ],
    ids=str,
)
def test_the_number_of_separated_superpixels(changes: dict[str, Any], expected: int | None) -> None:
    answer = ExplanationAnswer.model_validate(VERSION_0_1 | changes)
    assert answer.separated_count == expected


@pytest.mark.parametrize(
    ("weight", "low", "high", "direction"),
    [
        (1.5, 1.0, 2.0, "for"),
        (1.5, None, None, "for"),
        (1.5, -0.5, 3.5, "either"),
        (-1.5, -3.5, 0.5, "either"),
        (-1.5, -2.0, -1.0, "against"),
        (-1.5, None, None, "against"),
        # The interval touches zero, and does not go beyond it.
        (1.5, 0.0, 3.0, "for"),
        (0.0, None, None, "either"),
    ],
)
def test_the_direction_is_the_sign_unless_the_interval_contains_zero(
    weight: float, low: float | None, high: float | None, direction: str
) -> None:
    assert WeightItem(segment=0, weight=weight, low=low, high=high).direction == direction


@pytest.mark.parametrize(("annotation", "bounds", "example"), examples.of(schema))
def test_every_example_is_a_valid_value_of_its_field(
    annotation: type, bounds: list[object], example: object
) -> None:
    examples.check(annotation, bounds, example)


def test_pictures_show_the_most_important_superpixels_with_a_weight() -> None:
    weights = [
        {"segment": segment, "weight": weight, "low": None, "high": None}
        for segment, weight in enumerate((0.5, 0.0, -2.0, 1.0))
    ]

    def drawn(**changes: Any) -> list[int]:
        content = {**VERSION_0_1, "weights": weights, **changes}
        return [item.segment for item in ExplanationAnswer.model_validate(content).drawn]

    assert drawn() == [2, 3, 0]
    assert drawn(num_features=2) == [2, 3]
    assert drawn(positive_only=True) == [3, 0]
