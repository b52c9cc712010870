"""Figures of a report: each in two formats, under a name of its own."""

from __future__ import annotations

import pytest
from matplotlib.figure import Figure

from pintag import sketchbook
from pintag.sketchbook import Sketchbook


def test_a_figure_is_kept_in_two_formats() -> None:
    book = Sketchbook()
    picture = book.picture("one", Figure(figsize=(1, 1)), "a figure")
    assert set(book.files) == {"figures/one.png", "figures/one.svg"}
    assert picture.path == "figures/one.png"
    assert book.files[picture.path].startswith(b"\x89PNG")
    assert picture.data == book.files["figures/one.svg"]


def test_no_figure_takes_the_place_of_another() -> None:
    book = Sketchbook()
    book.picture("one", Figure(figsize=(1, 1)), "a figure")
    with pytest.raises(ValueError, match="'one'"):
        book.picture("one", Figure(figsize=(1, 1)), "another")


def test_only_wide_figures_are_scrolled() -> None:
    book = Sketchbook()
    assert not book.picture("narrow", Figure(figsize=(5, 1)), "").is_wide
    assert book.picture("wide", Figure(figsize=(9, 1)), "").is_wide


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
def test_a_name_becomes_a_part_of_a_files_name(name: str, slug: str) -> None:
    assert sketchbook.slug(name) == slug
