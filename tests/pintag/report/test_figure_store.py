"""Figures of a report: each has two formats and a unique name."""

from __future__ import annotations

import pytest
from matplotlib.figure import Figure

from pintag.report import figure_store
from pintag.report.figure_store import FigureStore


def test_a_figure_is_stored_in_two_formats() -> None:
    store = FigureStore()
    picture = store.add("one", Figure(figsize=(1, 1)), "a figure")
    assert set(store.files) == {"figures/one.png", "figures/one.svg"}
    assert picture.path == "figures/one.png"
    assert store.files[picture.path].startswith(b"\x89PNG")
    assert picture.data == store.files["figures/one.svg"]


def test_a_figure_never_replaces_another() -> None:
    store = FigureStore()
    store.add("one", Figure(figsize=(1, 1)), "a figure")
    with pytest.raises(ValueError, match="'one'"):
        store.add("one", Figure(figsize=(1, 1)), "another")


def test_only_wide_figures_scroll() -> None:
    store = FigureStore()
    assert not store.add("narrow", Figure(figsize=(5, 1)), "").is_wide
    assert store.add("wide", Figure(figsize=(9, 1)), "").is_wide


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("mobilenet-0.75", "mobilenet-0.75"),
        ("../a b/<c>", "a-b-c"),
        ("..", "x"),
        ("\u732b", "x"),
        ("long" * 50, "long" * 10),
    ],
)
def test_a_name_becomes_a_part_of_a_file_name(name: str, slug: str) -> None:
    assert figure_store.slug(name) == slug
