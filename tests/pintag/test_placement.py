"""Names beside points: near, within the chart, and over nothing."""

from __future__ import annotations

import itertools

from matplotlib.transforms import Bbox

from pintag import placement
from pintag.placement import Labels

ROOM = Bbox.from_bounds(0, 0, 1000, 600)
SIZE = (90.0, 14.0)


def test_a_name_stands_to_the_right_of_its_point() -> None:
    box = Labels(ROOM, []).place((500, 300), SIZE)
    assert 500 < box.x0 < 520
    assert box.y0 < 300 < box.y1


def test_a_name_at_the_right_edge_stands_to_the_left() -> None:
    box = Labels(ROOM, []).place((990, 300), SIZE)
    assert box.x1 < 990


def test_names_of_points_that_coincide_do_not_overlap() -> None:
    labels = Labels(ROOM, [])
    boxes = [labels.place((500, 300), SIZE) for _ in range(20)]
    assert not any(one.overlaps(two) for one, two in itertools.combinations(boxes, 2))


def test_a_name_does_not_cover_a_line() -> None:
    line = Bbox.from_bounds(520, 0, 4, 600)
    assert not Labels(ROOM, [line]).place((500, 300), SIZE).overlaps(line)


def test_where_all_is_full_names_cover_lines_but_not_each_other() -> None:
    labels = Labels(ROOM, [ROOM])
    boxes = [labels.place((500, 300), SIZE) for _ in range(5)]
    assert not any(one.overlaps(two) for one, two in itertools.combinations(boxes, 2))


def test_a_name_far_from_its_point_needs_a_line() -> None:
    labels = Labels(ROOM, [])
    boxes = [labels.place((500, 300), SIZE) for _ in range(20)]
    assert not labels.is_far((500, 300), boxes[0])
    assert labels.is_far((500, 300), boxes[-1])
    assert placement.nearest((0, 0), Bbox.from_bounds(3, 4, 1, 1)) == (3, 4)
