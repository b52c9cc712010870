"""A document in its two forms: the same words in both, and names that stay names."""

from __future__ import annotations

import re

import pytest

from pintag import document
from pintag.document import (
    Block,
    Document,
    Heading,
    Items,
    Link,
    Paragraph,
    Picture,
    Pictures,
    Strong,
    Table,
)
from tests.pintag.conftest import Page

ODD = '<script>alert("&amp;")</script> $title *a* _b_ [c](d) `e` | ~f~ \\ \udcff'
SHOWN = ODD.replace("\udcff", "\\udcff")
PICTURE = Picture("figures/a b.png", b"\x89PNG", "image/png", "a cat", "A cat.")


def both(*blocks: Block, title: str = "Title") -> tuple[Page, str]:
    made = Document(title, blocks)
    return Page(document.html(made)), document.markdown(made)


def unescaped(markdown: str) -> str:
    """What a reader of Markdown sees of escaped text."""
    return re.sub(r"\\([^A-Za-z0-9\s])", r"\1", markdown)


@pytest.mark.parametrize(
    "block",
    [
        Heading(ODD, anchor="odd"),
        Paragraph(ODD),
        Paragraph([Strong(ODD), " and ", Link(ODD, "odd")]),
        Items((ODD, Strong(ODD))),
        Table(ODD, (ODD, "b"), ((ODD, "1"),)),
        Picture("a.png", b"", "image/png", ODD, ODD),
    ],
)
def test_names_are_shown_and_not_run(block: Block) -> None:
    page, markdown = both(Heading("odd", anchor="odd"), block, title=ODD)
    assert SHOWN in page.words
    assert "script" not in page.tags
    assert SHOWN in unescaped(markdown)
    assert "<script" not in markdown.replace("\\<", "")


def test_nothing_in_markdown_begins_a_block_by_accident() -> None:
    _, markdown = both(*(Paragraph(text) for text in ("# a", "- b", "+ c", "1. d", "2) e", "===")))
    assert markdown.split("\n\n")[1:] == [
        "\\# a", "\\- b", "\\+ c", "1\\. d", "2\\) e", "\\===\n"
    ]  # fmt: skip


def test_line_breaks_in_names_break_no_table() -> None:
    _, markdown = both(Table("t", ("a", "b"), (("one\ntwo", "x | y"),)))
    assert "| one two | x \\| y |" in markdown.splitlines()


def test_figures_are_left_as_they_are() -> None:
    _, markdown = both(Paragraph("91.5 % (87.1 to 94.5), p = 0.34"))
    assert "91.5 % (87.1 to 94.5), p = 0.34" in markdown


def test_a_space_in_strong_words_stands_outside_of_their_stars() -> None:
    page, markdown = both(Paragraph([Strong("It failed: "), "why"]))
    assert "**It failed:** why" in markdown
    assert "It failed: why" in page.words


def test_the_page_needs_nothing_else() -> None:
    made = Document("Title", (PICTURE, Pictures((PICTURE, PICTURE))))
    content = document.html(made)
    page = Page(content)
    assert [image["src"] for image in page.images] == ["data:image/png;base64,iVBORw=="] * 3
    assert all(image["alt"] == "a cat" for image in page.images)
    assert not {"script", "link", "iframe", "object", "base"} & set(page.tags)
    assert "http" not in content
    assert "url(" not in content
    assert "@import" not in content


def test_markdown_refers_to_pictures_by_their_paths() -> None:
    _, markdown = both(PICTURE)
    assert "![a cat](figures/a%20b.png)\n\nA cat." in markdown


def test_every_cell_of_a_table_belongs_to_a_column_and_a_row() -> None:
    content = document.html(Document("t", (Table("Cats", ("name", "age"), (("Tom", "3"),)),)))
    assert '<th scope="col">name</th>' in content
    assert '<th scope="row">Tom</th>' in content
    assert "<caption>Cats</caption>" in content


def test_columns_of_figures_stand_to_the_right() -> None:
    table = Table(
        "t",
        ("name", "share", "time", "pair"),
        (
            ("one", "91.5\u00a0% (87.1 to 94.5)", "3\u00a0min 20\u00a0s", "5 : 3, p = 0.5"),
            ("2 two", "\u2013", "<\u00a01\u00a0ms", "5 : 3, p = 0.5"),
        ),
    )
    page, markdown = both(table)
    assert "| --- | ---: | ---: | --- |" in markdown
    assert page.tags.count("th") == 6


def test_the_contents_lead_to_the_headings_that_have_an_anchor() -> None:
    page, markdown = both(
        Heading("One", anchor="one"),
        Heading("Part", 3, "part"),
        Heading("Aside", 3),
        Heading("Two", anchor="two"),
    )
    assert page.links == ["#contents", "#one", "#part", "#two"]
    assert {"one", "part", "two", "contents"} == set(page.ids)
    assert "- [One](#one)\n  - [Part](#part)\n- [Two](#two)" in markdown
    assert '<a id="part"></a>' in markdown


def test_lists_of_the_contents_are_closed() -> None:
    levels = [2, 3, 3, 2, 3]
    headings = tuple(Heading(str(at), level, f"h{at}") for at, level in enumerate(levels))
    content = document.html(Document("t", headings))
    for tag in ("ul", "li"):
        assert content.count(f"<{tag}>") == content.count(f"</{tag}>") > 0


def test_a_document_of_nothing_is_a_page_as_well() -> None:
    page, markdown = both()
    assert "Title" in page.words
    assert markdown == "# Title\n"
    assert "ul" not in page.tags
