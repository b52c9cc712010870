"""Saved explanations: reading one back draws the same picture."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from pintag.data.labels import Labels
from pintag.explain import overlay
from pintag.explain.explanation import ExplainConfig, Explanation, PhaseSeconds
from pintag.explain.saved import SavedExplanation
from pintag.explain.schema import ExplanationAnswer
from pintag.explain.surrogate import LabelExplanation, Surrogate
from pintag.models.identity import Model

LABELS = Labels(("art", "food"))
MODEL = Model(name="pins", version="d9ad6c45d208")
TILES = np.kron(np.array([[0, 1, 2], [3, 4, 5]], np.int32), np.ones((16, 16), np.int32))
WEIGHTS = np.array([0.5, -2.0, 0.0, 1.25, 0.75, -0.125])


def explanation(claimed: int | None = None, **config: Any) -> Explanation:
    surrogate = Surrogate(WEIGHTS, -1.0, 0.75, 0.8, "probability")
    return Explanation(
        image=np.full((32, 48, 3), 200, np.uint8),
        segments=TILES,
        result=LabelExplanation(1, 0.8, surrogate, "budget", claimed),
        samples=1000,
        seconds=PhaseSeconds(0.5, 1.0, 0.5),
        config=ExplainConfig(**config),
    )


def saved(explained: Explanation) -> Any:
    """The JSON of an explanation, as a file or a server's answer has it."""
    return json.loads(explained.to_answer(LABELS, MODEL).model_dump_json())


def read(content: Any) -> SavedExplanation:
    return SavedExplanation.decode(ExplanationAnswer.model_validate(content))


@pytest.mark.parametrize("positive_only", [True, False])
@pytest.mark.parametrize("claimed", [None, 0, 2])
def test_a_saved_explanation_draws_the_same_overlay(
    claimed: int | None, positive_only: bool
) -> None:
    explained = explanation(claimed, num_features=3, positive_only=positive_only)
    restored = read(saved(explained))
    np.testing.assert_array_equal(restored.segments, explained.segments)
    np.testing.assert_array_equal(restored.weights, explained.weights)
    picture = np.full((64, 96, 3), 180, np.uint8)
    np.testing.assert_array_equal(restored.overlay(picture), explained.overlay(picture=picture))


def changed(key: str, **changes: Any) -> Any:
    content = saved(explanation())
    content[key] = content[key] | changes
    return content


@pytest.mark.parametrize(
    "map_", ["iVBORw0=", "bm8gcGljdHVyZQ==", ""], ids=["truncated", "text", "empty"]
)
def test_a_segment_map_that_is_not_an_image_is_refused(map_: str) -> None:
    with pytest.raises(ValueError, match="not a PNG image"):
        read(changed("segmentation", map=map_))


@pytest.mark.parametrize("segment", [6, -1])
def test_a_segment_number_out_of_range_is_refused(segment: int) -> None:
    content = saved(explanation())
    content["weights"][0]["segment"] = segment
    message = rf"segment {segment} does not exist: segmentation\.count is 6"
    with pytest.raises(ValueError, match=message):
        read(content)


def test_a_map_of_more_segments_than_there_are_weights_is_refused() -> None:
    with pytest.raises(ValueError, match=r"segment 5 does not exist: segmentation\.count is 5"):
        read(changed("segmentation", count=5))


def test_without_weights_nothing_is_drawn() -> None:
    content = saved(explanation()) | {"weights": []}
    picture = np.full((32, 48, 3), 180, np.uint8)
    nothing = overlay.draw(picture, np.zeros((32, 48), np.int8))
    np.testing.assert_array_equal(read(content).overlay(picture), nothing)
