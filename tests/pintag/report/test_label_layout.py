"""Names of points: near their points, within the chart, and over nothing."""

from __future__ import annotations

import itertools

from matplotlib.transforms import Bbox

from pintag.report import label_layout
from pintag.report.label_layout import LabelLayout

AREA = Bbox.from_bounds(0, 0, 1000, 600)
SIZE = (90.0, 14.0)


def test_a_name_is_to_the_right_of_its_point() -> None:
    box = LabelLayout(AREA, []).place((500, 300), SIZE)
    assert 500 < box.x0 < 520
    assert box.y0 < 300 < box.y1


def test_a_name_at_the_right_edge_is_to_the_left() -> None:
    box = LabelLayout(AREA, []).place((990, 300), SIZE)
    assert box.x1 < 990


def test_names_of_equal_points_do_not_overlap() -> None:
    labels = LabelLayout(AREA, [])
    boxes = [labels.place((500, 300), SIZE) for _ in range(20)]
    assert not any(one.overlaps(two) for one, two in itertools.combinations(boxes, 2))


def test_a_name_does_not_cover_a_line() -> None:
    line = Bbox.from_bounds(520, 0, 4, 600)
    assert not LabelLayout(AREA, [line]).place((500, 300), SIZE).overlaps(line)


def test_names_in_a_full_chart_cover_lines_but_not_each_other() -> None:
    labels = LabelLayout(AREA, [AREA])
    boxes = [labels.place((500, 300), SIZE) for _ in range(5)]
    assert not any(one.overlaps(two) for one, two in itertools.combinations(boxes, 2))


def test_a_name_far_from_its_point_needs_a_line() -> None:
    labels = LabelLayout(AREA, [])
    boxes = [labels.place((500, 300), SIZE) for _ in range(20)]
    assert not labels.is_far((500, 300), boxes[0])
    assert labels.is_far((500, 300), boxes[-1])
    assert label_layout.nearest((0, 0), Bbox.from_bounds(3, 4, 1, 1)) == (3, 4)
