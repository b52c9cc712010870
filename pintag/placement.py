"""Where names stand in a chart: each near its point, and over nothing else."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from matplotlib.transforms import Bbox

# About a point, the better place first; and how far from it, in points of type.
_DIRECTIONS = ((1, 0), (1, 1), (1, -1), (-1, 0), (-1, 1), (-1, -1), (0, 1), (0, -1))
_DISTANCES = (11, 15, 23, 33, 45, 60, 80, 105, 135, 170, 210)
# From here on a line leads from the point to its name.
_FAR = 20

Point = tuple[float, float]


@dataclass
class Labels:
    """Boxes of names in a chart, found one after another; lengths are those of the canvas."""

    room: Bbox
    """Where names may stand."""
    obstacles: Sequence[Bbox]
    """What they should not cover."""
    scale: float = 1.0
    """Pixels to a point of type."""
    placed: list[Bbox] = field(default_factory=list)

    def place(self, point: Point, size: Point) -> Bbox:
        """The nearest free box; where all is full, one that covers a line but no other name."""
        boxes = [box for box in self._around(point, size) if _holds(self.room, box)]
        box = (
            _first(boxes, [*self.obstacles, *self.placed])
            or _first(boxes, self.placed)
            or next(self._around(point, size))
        )
        self.placed.append(box)
        return box

    def is_far(self, point: Point, box: Bbox) -> bool:
        """Whether nobody would see which point a name is of."""
        return math.dist(point, nearest(point, box)) > _FAR * self.scale

    def _around(self, point: Point, size: Point) -> Iterator[Bbox]:
        (x, y), (width, height) = point, size
        for distance in _DISTANCES:
            for right, up in _DIRECTIONS:
                left = x + right * distance * self.scale - width * (1 - right) / 2
                low = y + up * distance * self.scale - height / 2
                yield Bbox.from_bounds(left, low, width, height)


def nearest(point: Point, box: Bbox) -> Point:
    """The point of a box that is nearest to another point."""
    return (
        float(min(max(point[0], box.x0), box.x1)),
        float(min(max(point[1], box.y0), box.y1)),
    )


def _first(boxes: Iterable[Bbox], taken: Sequence[Bbox]) -> Bbox | None:
    return next((box for box in boxes if not any(box.overlaps(each) for each in taken)), None)


def _holds(room: Bbox, box: Bbox) -> bool:
    return bool(room.x0 <= box.x0 and box.x1 <= room.x1 and room.y0 <= box.y0 and box.y1 <= room.y1)
