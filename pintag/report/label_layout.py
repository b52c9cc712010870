"""Place the names of points in a chart: near their points, without covering anything else.

adjustText 1.4 was tried instead, on the chart of a study with ten models: it drew names over
points, intervals and the Pareto front, and took seconds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from matplotlib.transforms import Bbox

# Directions from a point to its name, in the order of preference, and distances in points of type.
_DIRECTIONS = ((1, 0), (1, 1), (1, -1), (-1, 0), (-1, 1), (-1, -1), (0, 1), (0, -1))
_DISTANCES = (11, 15, 23, 33, 45, 60, 80, 105, 135, 170, 210)
# A name at a larger distance needs a line from its point.
_FAR = 20

Coordinates = tuple[float, float]


@dataclass
class LabelLayout:
    """Places the boxes of names one after another; all lengths are pixels."""

    area: Bbox
    """The area that names must not leave."""
    obstacles: Sequence[Bbox]
    """The boxes that names should not cover."""
    scale: float = 1.0
    """Pixels in a point of type."""
    placed: list[Bbox] = field(default_factory=list)

    def place(self, point: Coordinates, size: Coordinates) -> Bbox:
        """The nearest free box of this size.

        If no box is free, a box that covers an obstacle but no other name. If there is none, the
        box to the right of the point.
        """
        boxes = [box for box in self._around(point, size) if _contains(self.area, box)]
        box = (
            _first_free(boxes, [*self.obstacles, *self.placed])
            or _first_free(boxes, self.placed)
            or next(self._around(point, size))
        )
        self.placed.append(box)
        return box

    def is_far(self, point: Coordinates, box: Bbox) -> bool:
        """Whether the name needs a line that connects it with its point."""
        return math.dist(point, nearest(point, box)) > _FAR * self.scale

    def _around(self, point: Coordinates, size: Coordinates) -> Iterator[Bbox]:
        (x, y), (width, height) = point, size
        for distance in _DISTANCES:
            for right, up in _DIRECTIONS:
                left = x + right * distance * self.scale - width * (1 - right) / 2
                bottom = y + up * distance * self.scale - height / 2
                yield Bbox.from_bounds(left, bottom, width, height)


def nearest(point: Coordinates, box: Bbox) -> Coordinates:
    """The point of a box that is nearest to another point."""
    return (
        float(min(max(point[0], box.x0), box.x1)),
        float(min(max(point[1], box.y0), box.y1)),
    )


def _first_free(boxes: Iterable[Bbox], taken: Sequence[Bbox]) -> Bbox | None:
    return next((box for box in boxes if not any(box.overlaps(other) for other in taken)), None)


def _contains(area: Bbox, box: Bbox) -> bool:
    return bool(area.x0 <= box.x0 and box.x1 <= area.x1 and area.y0 <= box.y0 and box.y1 <= area.y1)
