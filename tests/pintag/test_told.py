"""Told explanations: what is read back draws the same picture."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from pintag import overlay
from pintag.explain import ExplainConfig, Explanation, Seconds
from pintag.labels import Labels
from pintag.surrogate import Finding, Surrogate
from pintag.told import Told

LABELS = Labels(("art", "food"))
TILES = np.kron(np.array([[0, 1, 2], [3, 4, 5]], np.int32), np.ones((16, 16), np.int32))
WEIGHTS = np.array([0.5, -2.0, 0.0, 1.25, 0.75, -0.125])


def explanation(claimed: int | None = None, **config: Any) -> Explanation:
    surrogate = Surrogate(WEIGHTS, -1.0, 0.75, 0.8, "probability")
    return Explanation(
        image=np.full((32, 48, 3), 200, np.uint8),
        segments=TILES,
        finding=Finding(1, 0.8, surrogate, "budget", claimed),
        samples=1000,
        seconds=Seconds(0.5, 1.0, 0.5),
        config=ExplainConfig(**config),
    )


def told(made: Explanation) -> Any:
    return json.loads(json.dumps(made.to_json(LABELS)))


@pytest.mark.parametrize("positive_only", [True, False])
@pytest.mark.parametrize("claimed", [None, 0, 2])
def test_it_draws_what_the_explanation_draws(claimed: int | None, positive_only: bool) -> None:
    made = explanation(claimed, num_features=3, positive_only=positive_only)
    read = Told.read(told(made))
    np.testing.assert_array_equal(read.segments, made.segments)
    np.testing.assert_array_equal(read.weights, made.weights)
    picture = np.full((64, 96, 3), 180, np.uint8)
    np.testing.assert_array_equal(read.overlay(picture), made.overlay(picture=picture))


def changed(key: str, **changes: Any) -> Any:
    content = told(explanation())
    content[key] = content[key] | changes
    return content


@pytest.mark.parametrize(
    "map_", ["iVBORw0=", "bm8gcGljdHVyZQ==", ""], ids=["cut", "text", "nothing"]
)
def test_a_map_that_is_no_picture_is_refused(map_: str) -> None:
    with pytest.raises(ValueError, match="no picture"):
        Told.read(changed("segmentation", map=map_))


@pytest.mark.parametrize("segment", [6, -1])
def test_a_segment_that_is_none_is_refused(segment: int) -> None:
    content = told(explanation())
    content["weights"][0]["segment"] = segment
    with pytest.raises(ValueError, match="none of 6"):
        Told.read(content)


def test_a_map_of_more_segments_than_there_are_weights_is_refused() -> None:
    with pytest.raises(ValueError, match="none of 5"):
        Told.read(changed("segmentation", count=5))


def test_without_weights_nothing_is_drawn() -> None:
    content = told(explanation()) | {"weights": []}
    picture = np.full((32, 48, 3), 180, np.uint8)
    nothing = overlay.draw(picture, np.zeros((32, 48), np.int8))
    np.testing.assert_array_equal(Told.read(content).overlay(picture), nothing)
