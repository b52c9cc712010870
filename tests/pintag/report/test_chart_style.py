"""Charts do not depend on colour alone."""

from __future__ import annotations

from matplotlib.lines import Line2D

from pintag.report import chart_style
from tests.pintag.drawings import all_texts


def test_families_have_different_markers() -> None:
    markers = [marker for _, marker, _ in chart_style.FAMILIES.values()]
    assert len(set(markers)) == len(markers)


def test_a_legend_has_only_what_the_chart_has() -> None:
    figure = chart_style.new_figure(5, 3)
    chart_style.add_legend(figure, ["svm", "svm"], {"a line": Line2D([], [])})
    assert all_texts(figure).count("support vector machine") == 1
    assert "a line" in all_texts(figure)
    assert "fine-tuned backbone" not in all_texts(figure)
