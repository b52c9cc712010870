"""What the charts have in common is told by more than colour."""

from __future__ import annotations

from matplotlib.lines import Line2D

from pintag import canvas
from tests.pintag.drawings import written


def test_families_are_told_by_markers_too() -> None:
    markers = [marker for _, marker, _ in canvas.FAMILIES.values()]
    assert len(set(markers)) == len(markers)


def test_a_legend_names_what_is_there_and_nothing_else() -> None:
    figure = canvas.blank(5, 3)
    canvas.families(figure, ["svm", "svm"], {"a line": Line2D([], [])})
    assert written(figure).count("support vector machine") == 1
    assert "a line" in written(figure)
    assert "fine-tuned backbone" not in written(figure)
