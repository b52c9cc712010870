"""An explanation as it was told: its JSON, and what is needed to draw it once more."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL.Image import DecompressionBombError

from pintag import overlay
from pintag.images import Pixels
from pintag.superpixels import Segments
from pintag.surrogate import Floats, top


@dataclass(frozen=True)
class Told:
    """What `Explanation.to_json` tells."""

    content: Mapping[str, Any]
    segments: Segments
    weights: Floats

    @classmethod
    def read(cls, content: Mapping[str, Any]) -> Told:
        """From the JSON of an explanation.

        Raises:
            ValueError: its map is no picture, or it speaks of segments that there are not.
        """
        try:
            segments = overlay.read_segment_map(b64decode(content["segmentation"]["map"]))
        except (OSError, DecompressionBombError) as error:
            raise ValueError("the map of segments is no picture") from error
        weights = np.zeros(content["segmentation"]["count"])
        named = [each["segment"] for each in content["weights"]]
        if not all(0 <= number < len(weights) for number in (*named, int(segments.max()))):
            raise ValueError(f"a segment that is none of {len(weights)}")
        weights[named] = [each["weight"] for each in content["weights"]]
        return cls(content, segments, weights)

    def overlay(self, picture: Pixels) -> Pixels:
        """The segments that were asked for, drawn on a picture of the image: `uint8[H,W,3]`."""
        chosen = top(self.weights, self.content["num_features"], self.content["positive_only"])
        return overlay.show(picture, self.segments, self.weights, chosen, self.content["claimed"])
