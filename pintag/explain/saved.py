"""An explanation from a server or a file, decoded into arrays so that it can be drawn again."""

from __future__ import annotations

from base64 import b64decode
from dataclasses import dataclass

import numpy as np
from PIL.Image import DecompressionBombError

from pintag.core.types import Floats, Pixels
from pintag.explain import figure, overlay
from pintag.explain.schema import ExplanationAnswer
from pintag.explain.superpixels import Segments


@dataclass(frozen=True)
class SavedExplanation:
    """An `ExplanationAnswer` with its segments and weights as arrays."""

    answer: ExplanationAnswer
    segments: Segments
    """`int32[H,W]`"""
    weights: Floats
    """`float64[K]`; zero where the answer lists no weight."""

    @classmethod
    def decode(cls, answer: ExplanationAnswer) -> SavedExplanation:
        """Decode the segment map and the weights of an answer.

        Raises:
            ValueError: the segment map is not an image, or a segment's number is not below
                `segmentation.count`.
        """
        try:
            segments = overlay.read_segment_map(b64decode(answer.segmentation.map))
        except (OSError, DecompressionBombError) as error:
            raise ValueError("segmentation.map is not a PNG image in base64") from error
        weights = np.zeros(answer.segmentation.count)
        numbers = [item.segment for item in answer.weights]
        for number in (*numbers, int(segments.max())):
            if not 0 <= number < len(weights):
                raise ValueError(
                    f"segment {number} does not exist: segmentation.count is {len(weights)}"
                )
        weights[numbers] = [item.weight for item in answer.weights]
        return cls(answer, segments, weights)

    def overlay(self, picture: Pixels) -> Pixels:
        """Draw the top segments on a picture of the image: `uint8[H,W,3]`."""
        answer = self.answer
        scale = answer.surrogate.scale
        return overlay.show(picture, self.segments, answer.drawn, scale, answer.claimed)

    def figure(self, picture: Pixels) -> Pixels:
        """`overlay` with a title above it and a legend below: `uint8[H,W,3]`."""
        return figure.compose(self.overlay(picture), self.answer)
