"""Rendering of a report: the same text in both formats, and names are never interpreted."""

from __future__ import annotations

import re

import pytest

from pintag.report import rendering
from pintag.report.view import (
    Block,
    BulletList,
    Code,
    ExplainedPicture,
    Gallery,
    Link,
    Paragraph,
    Picture,
    PictureRow,
    Report,
    Section,
    Strong,
    Table,
)
from tests.pintag.conftest import Page

ODD = '<script>alert("&amp;")</script> {{ title }} *a* _b_ [c](d) `e` | ~f~ \\ \udcff'
PRINTED = ODD.replace("\udcff", "\\xff")
PICTURE = Picture("figures/a b.png", b"\x89PNG", "image/png", "a cat", "A cat.")


def rendered(*blocks: Block, title: str = "Title") -> tuple[Page, str]:
    """A report with one section as a page and as Markdown."""
    report = Report(title, (Section(title, "anchor", blocks),))
    return Page(rendering.html(report)), rendering.markdown(report)


def unescaped(markdown: str) -> str:
    """The text that a reader of Markdown sees."""
    return re.sub(r"\\([^A-Za-z0-9\s])", r"\1", markdown)


@pytest.mark.parametrize(
    "block",
    [
        Paragraph(ODD),
        Paragraph([Strong(ODD), " and ", Link(ODD, "anchor")]),
        BulletList((ODD, Strong(ODD))),
        Code(ODD),
        Gallery((("other", ODD),), (ExplainedPicture(PICTURE, PICTURE, ODD),)),
        Table(ODD, (ODD, "b"), ((ODD, "1"),)),
        Picture("a.png", b"", "image/png", ODD, ODD),
    ],
)
def test_names_are_text_and_never_interpreted(block: Block) -> None:
    page, markdown = rendered(block, title=ODD)
    assert page.words.count(PRINTED) > 2
    assert "script" not in page.tags
    assert unescaped(markdown).count(PRINTED) > 2
    code = "    " + PRINTED
    assert "<script" not in markdown.replace(code, "").replace("\\<", "")


def test_text_never_starts_a_block_of_markdown() -> None:
    _, markdown = rendered(
        *(Paragraph(text) for text in ("# a", "- b", "+ c", "1. d", "2) e", "==="))
    )
    assert markdown.split("\n\n")[4:] == [
        "\\# a", "\\- b", "\\+ c", "1\\. d", "2\\) e", "\\===\n"
    ]  # fmt: skip


def test_a_line_break_in_a_name_does_not_break_a_table() -> None:
    _, markdown = rendered(Table("t", ("a", "b"), (("one\ntwo", "x | y"),)))
    assert "| one two | x \\| y |" in markdown.splitlines()


def test_numbers_are_not_escaped() -> None:
    _, markdown = rendered(Paragraph("91.5 % (87.1 to 94.5), p = 0.34"))
    assert "91.5 % (87.1 to 94.5), p = 0.34" in markdown


def test_spaces_of_strong_text_are_outside_of_its_stars() -> None:
    page, markdown = rendered(Paragraph([Strong("It failed: "), "why"]))
    assert "**It failed:** why" in markdown
    assert "It failed: why" in page.words


def test_the_page_needs_no_other_file() -> None:
    pictures = PictureRow((PICTURE, PICTURE))
    gallery = Gallery((("other", "grey"),), (ExplainedPicture(PICTURE, PICTURE, "A cat."),))
    section = Section("Pictures", "pictures", (PICTURE, pictures, gallery))
    content = rendering.html(Report("Title", (section,)))
    page = Page(content)
    assert [image["src"] for image in page.images] == ["data:image/png;base64,iVBORw=="] * 5
    assert all(image["alt"] == "a cat" for image in page.images)
    assert not {"script", "link", "iframe", "object", "base"} & set(page.tags)
    assert "http" not in content
    assert "url(" not in content
    assert "@import" not in content


def test_markdown_refers_to_pictures_by_their_paths() -> None:
    _, markdown = rendered(PICTURE)
    assert "![a cat](figures/a%20b.png)\n\nA cat." in markdown


def test_a_gallery_has_its_legend_and_originals_where_they_exist() -> None:
    with_original = ExplainedPicture(PICTURE, PICTURE, "The first.")
    without = ExplainedPicture(None, PICTURE, "The second.")
    page, markdown = rendered(Gallery((("supports", "blue"),), (with_original, without)))
    for text in page.words, markdown:
        assert [word in text for word in ("blue", "The first.", "The second.")] == [True] * 3
    assert len(page.images) == markdown.count("![a cat]") == 3


def test_every_cell_of_a_table_has_a_column_and_a_row() -> None:
    table = Table("Cats", ("name", "age"), (("Tom", "3"),))
    content = rendering.html(Report("t", (Section("s", "s", (table,)),)))
    assert '<th scope="col" role="columnheader">name</th>' in content
    assert '<th scope="row" role="rowheader">Tom</th>' in content
    assert "<caption>Cats</caption>" in content


def test_columns_of_numbers_are_aligned_to_the_right() -> None:
    table = Table(
        "t",
        ("name", "share", "time", "pair"),
        (
            ("one", "91.5\u00a0% (87.1 to 94.5)", "3\u00a0min 20\u00a0s", "5 : 3, p = 0.5"),
            ("2 two", "\u2013", "<\u00a01\u00a0ms", "5 : 3, p = 0.5"),
        ),
    )
    page, markdown = rendered(table)
    assert "| --- | ---: | ---: | --- |" in markdown
    assert page.tags.count("th") == 6


def test_the_contents_link_to_every_section() -> None:
    parts = (Section("Part", "part"), Section("Other part", "other"))
    report = Report("Title", (Section("One", "one", sections=parts), Section("Two", "two")))
    page, markdown = Page(rendering.html(report)), rendering.markdown(report)
    assert page.links == ["#contents", "#one", "#part", "#other", "#two"]
    assert {"one", "part", "other", "two", "contents"} == set(page.ids)
    assert page.tags.count("h2") == page.tags.count("h3") == 2
    assert "- [One](#one)\n  - [Part](#part)\n  - [Other part](#other)\n- [Two](#two)" in markdown
    assert '<a id="part"></a>\n\n### Part' in markdown


def test_lists_of_the_contents_are_closed() -> None:
    parts = tuple(Section(name, name) for name in "ab")
    sections = tuple(Section(name, name, sections=parts) for name in "cd")
    content = rendering.html(Report("t", sections))
    for tag in ("ul", "li", "section", "main", "nav"):
        assert content.count(f"<{tag}") == content.count(f"</{tag}>") > 0


def test_a_report_without_sections_is_a_page_as_well() -> None:
    report = Report("Title", ())
    page = Page(rendering.html(report))
    assert "Title" in page.words
    assert rendering.markdown(report) == "# Title\n"
    assert "ul" not in page.tags
