"""A document of blocks, and its two forms: one HTML page that needs nothing else, and Markdown."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources
from string import Template
from typing import assert_never
from urllib.parse import quote

# More pictures than these stand in a gallery, and smaller.
_PAIR = 2
_TEMPLATE = resources.files("pintag") / "report.html"
# A figure with its unit, in parts such as `3 min 20 s`, its interval or a remark in brackets.
_NUMERIC = re.compile(r"[-<]?\s?[\d.,e-]+(\s(%|kB|MB|ms|s|min|h|\d+|\([^()]*\)))*|\u2013")


@dataclass(frozen=True, slots=True)
class Strong:
    """Words that matter more than the others."""

    text: str


@dataclass(frozen=True, slots=True)
class Link:
    """Words that lead to a heading of the same document."""

    text: str
    anchor: str


Inline = str | Strong | Link
Text = Inline | Sequence[Inline]


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading of a chapter (level 2) or a section (level 3)."""

    text: str
    level: int = 2
    anchor: str = ""
    """What a link leads to; headings that have one make the table of contents."""


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Some sentences."""

    text: Text
    aside: bool = False
    """Whether it is a note that only some will read."""


@dataclass(frozen=True, slots=True)
class Items:
    """A list."""

    items: tuple[Text, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells, of which the first names the row."""

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[Text, ...], ...]


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture, whose file lies below the document's folder."""

    path: str
    data: bytes
    kind: str
    """Of the data: `image/png`, for instance."""
    alt: str
    """What it shows, for those who do not see it."""
    caption: str = ""
    is_wide: bool = False
    """Whether a phone should scroll it rather than make its letters tiny."""


@dataclass(frozen=True, slots=True)
class Pictures:
    """Pictures side by side, where there is room."""

    pictures: tuple[Picture, ...]


@dataclass(frozen=True, slots=True)
class Code:
    """Lines for machines, such as a configuration."""

    text: str


Block = Code | Heading | Paragraph | Items | Table | Picture | Pictures


@dataclass(frozen=True, slots=True)
class Document:
    """A title, and what stands below it."""

    title: str
    blocks: tuple[Block, ...]

    @property
    def contents(self) -> list[Heading]:
        """The headings that can be led to."""
        return [each for each in self.blocks if isinstance(each, Heading) and each.anchor]


def html(document: Document) -> str:
    """One page, pictures inside, without scripts; a name in it is text, whatever it is."""
    return Template(_TEMPLATE.read_text(encoding="utf-8")).substitute(
        title=_escaped(document.title),
        contents=_nested(document.contents),
        body="\n".join(_html(block) for block in document.blocks),
    )


def markdown(document: Document) -> str:
    """GitHub's Markdown, pictures by their paths; a name in it is text, whatever it is."""
    contents = "\n".join(
        f"{'  ' * (each.level - 2)}- [{_marked(each.text)}](#{each.anchor})"
        for each in document.contents
    )
    blocks = [f"# {_marked(document.title)}", contents, *map(_markdown, document.blocks)]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _html(block: Block) -> str:
    match block:
        case Heading(text, level, anchor):
            name = f' id="{_escaped(anchor)}"' if anchor else ""
            return f"<h{level}{name}>{_escaped(text)}</h{level}>"
        case Paragraph(text, aside):
            kind = ' class="aside"' if aside else ""
            return f"<p{kind}>{_html_text(text)}</p>"
        case Items(items):
            return "<ul>" + "".join(f"<li>{_html_text(each)}</li>" for each in items) + "</ul>"
        case Code(text):
            return f"<pre>{_escaped(text)}</pre>"
        case Table():
            return _html_table(block)
        case Picture():
            return _html_picture(block)
        case Pictures(pictures):
            kind = "gallery" if len(pictures) > _PAIR else "pictures"
            return f'<div class="{kind}">' + "\n".join(map(_html_picture, pictures)) + "</div>"
        case _:
            assert_never(block)


def _html_text(text: Text) -> str:
    return "".join(map(_html_inline, _inlines(text)))


def _html_inline(inline: Inline) -> str:
    match inline:
        case Strong(text):
            return f"<strong>{_escaped(text)}</strong>"
        case Link(text, anchor):
            return f'<a href="#{_escaped(anchor)}">{_escaped(text)}</a>'
        case str():
            return _escaped(inline)
        case _:
            assert_never(inline)


def _html_table(table: Table) -> str:
    right = [_is_numeric([row[at] for row in table.rows]) for at in range(len(table.head))]

    def cell(tag: str, scope: str, at: int, content: str) -> str:
        kind = ' class="number"' if right[at] else ""
        return f"<{tag}{scope}{kind}>{content}</{tag}>"

    head = "".join(
        cell("th", ' scope="col"', at, _escaped(name)) for at, name in enumerate(table.head)
    )
    rows = "\n".join(
        "<tr>"
        + cell("th", ' scope="row"', 0, _html_text(row[0]))
        + "".join(cell("td", "", at, _html_text(row[at])) for at in range(1, len(row)))
        + "</tr>"
        for row in table.rows
    )
    # What scrolls must be within reach of the keyboard, and say what it is.
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{_escaped(table.caption)}">'
        f"<table><caption>{_escaped(table.caption)}</caption>\n"
        f"<thead><tr>{head}</tr></thead>\n<tbody>{rows}</tbody></table></div>"
    )


def _is_numeric(cells: Sequence[Text]) -> bool:
    return bool(cells) and all(_NUMERIC.fullmatch(_plain(cell)) for cell in cells)


def _html_picture(picture: Picture) -> str:
    source = f"data:{picture.kind};base64,{b64encode(picture.data).decode()}"
    caption = f"<figcaption>{_escaped(picture.caption)}</figcaption>" if picture.caption else ""
    # What may scroll must be within reach of the keyboard.
    kind = ' class="wide" tabindex="0"' if picture.is_wide else ""
    return f'<figure{kind}><img alt="{_escaped(picture.alt)}" src="{source}">{caption}</figure>'


def _nested(headings: Sequence[Heading]) -> str:
    """The table of contents: sections below their chapters."""
    parts: list[str] = []
    level = 1
    for each in headings:
        if each.level > level:
            parts.append("<ul>" * (each.level - level))
        else:
            parts.append("</li>" + "</ul></li>" * (level - each.level))
        level = each.level
        parts.append(f"<li>{_html_inline(Link(each.text, each.anchor))}")
    return "".join(parts) + "</li></ul>" * (level - 1)


def _markdown(block: Block) -> str:
    match block:
        case Heading(text, level, anchor):
            # GitHub makes names of headings by rules of its own.
            name = f'<a id="{_escaped(anchor)}"></a>\n\n' if anchor else ""
            return f"{name}{'#' * level} {_marked(text)}"
        case Paragraph(text):
            return _markdown_text(text)
        case Items(items):
            return "\n".join(f"- {_markdown_text(each)}" for each in items)
        case Code(text):
            # Indented, not fenced: no text can end it.
            return "\n".join(f"    {line}" for line in text.splitlines())
        case Table():
            return _markdown_table(block)
        case Picture():
            return _markdown_picture(block)
        case Pictures(pictures):
            return "\n\n".join(map(_markdown_picture, pictures))
        case _:
            assert_never(block)


def _markdown_text(text: Text) -> str:
    return "".join(map(_markdown_inline, _inlines(text)))


def _markdown_inline(inline: Inline) -> str:
    match inline:
        case Strong(text):
            # Stars beside a space are stars.
            inner = text.strip()
            before, _, after = text.partition(inner)
            return f"{before}**{_marked(inner)}**{after}" if inner else text
        case Link(text, anchor):
            return f"[{_marked(text)}](#{anchor})"
        case str():
            return _marked(inline)
        case _:
            assert_never(inline)


def _markdown_table(table: Table) -> str:
    def row(cells: Sequence[str]) -> str:
        return f"| {' | '.join(cells)} |"

    right = [_is_numeric([cells[at] for cells in table.rows]) for at in range(len(table.head))]
    lines = [
        row([_marked(name) for name in table.head]),
        row(["---:" if each else "---" for each in right]),
        *(row([_markdown_text(cell) for cell in cells]) for cells in table.rows),
    ]
    return f"{_marked(table.caption)}:\n\n" + "\n".join(lines)


def _markdown_picture(picture: Picture) -> str:
    shown = f"![{_marked(picture.alt)}]({quote(picture.path)})"
    return f"{shown}\n\n{_marked(picture.caption)}" if picture.caption else shown


def _inlines(text: Text) -> Sequence[Inline]:
    return [text] if isinstance(text, str | Strong | Link) else text


def _plain(text: Text) -> str:
    return "".join(each if isinstance(each, str) else each.text for each in _inlines(text))


def _escaped(value: str) -> str:
    """A name that is no text is shown with its bytes spelt out."""
    return escape(value.encode(errors="backslashreplace").decode())


def _marked(value: str) -> str:
    """Text that Markdown takes for text, in one line."""
    line = re.sub(r"[^\S\u00a0]+", " ", value.encode(errors="backslashreplace").decode())
    line = re.sub(r"([\\`*_\[\]<>|~$&])", r"\\\1", line)
    # What would make a heading, a rule or a list of the line.
    line = re.sub(r"^( ?)([#+=-])", r"\1\\\2", line)
    return re.sub(r"^( ?\d+)([.)](?:\s|$))", r"\1\\\2", line)
