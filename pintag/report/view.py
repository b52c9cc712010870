"""The view model of a report: sections of blocks, which templates render as HTML and as Markdown.

The sections of a report build it; `pintag.report.rendering` renders it. `kind` names the macro of a
block or of a piece of text in both templates.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

# The columns of a table that fit a phone, and a page of 1,280 pixels beside its contents.
_FIT_A_PHONE, _FIT_A_PAGE = 3, 7
# A number with a unit, with parts such as `3 min 20 s`, an interval or a remark in brackets.
_NUMBER = re.compile(r"[-<]?\s?[\d.,e-]+(\s(%|kB|MB|ms|s|min|h|\d+|\([^()]*\)))*|\u2013")


@dataclass(frozen=True, slots=True)
class Strong:
    """Emphasised text."""

    text: str
    kind: ClassVar[str] = "strong"


@dataclass(frozen=True, slots=True)
class Link:
    """Text that links to a section of the same report."""

    text: str
    anchor: str
    kind: ClassVar[str] = "link"


Inline = str | Strong | Link
Text = Inline | Sequence[Inline]


def inlines(text: Text) -> Sequence[Inline]:
    """The pieces of a text."""
    return [text] if isinstance(text, str | Strong | Link) else text


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Some sentences."""

    text: Text
    is_note: bool = False
    """Whether the paragraph explains details, and is shown smaller."""
    kind: ClassVar[str] = "paragraph"


@dataclass(frozen=True, slots=True)
class BulletList:
    """A list without numbers."""

    items: tuple[Text, ...]
    kind: ClassVar[str] = "bullet_list"


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells; the first cell of a row is its heading."""

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[Text, ...], ...]
    kind: ClassVar[str] = "table"

    @property
    def is_numeric(self) -> list[bool]:
        """For each column, whether all its cells are numbers, which are aligned to the right."""
        return [
            bool(self.rows) and all(_NUMBER.fullmatch(_plain(row[index])) for row in self.rows)
            for index in range(len(self.head))
        ]

    @property
    def layout(self) -> str:
        """How a page fits the table into its width, as the classes of the element.

        `stack`: on a phone each row is a list of its cells. `dense`: letters are smaller, and
        numbers may have several lines.
        """
        columns = len(self.head)
        names = {"stack": columns > _FIT_A_PHONE, "dense": columns > _FIT_A_PAGE}
        return " ".join(name for name, applies in names.items() if applies)


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture, with its file's path below the folder of the report."""

    path: str
    data: bytes
    media_type: str
    """The media type of the data, such as `image/png`."""
    alt: str
    """The description for readers who do not see the picture."""
    caption: str = ""
    is_wide: bool = False
    """Whether a narrow screen should scroll the picture, as its letters would be too small."""
    kind: ClassVar[str] = "picture"

    @property
    def data_uri(self) -> str:
        """The picture as a `data:` URI, so that a page needs no other file."""
        return f"data:{self.media_type};base64,{b64encode(self.data).decode()}"


@dataclass(frozen=True, slots=True)
class PictureRow:
    """Pictures side by side, where the screen has room."""

    pictures: tuple[Picture, ...]
    kind: ClassVar[str] = "picture_row"


@dataclass(frozen=True, slots=True)
class ExplainedPicture:
    """The overlay of an explanation, beside the original where the study stored it."""

    original: Picture | None
    overlay: Picture
    caption: str


@dataclass(frozen=True, slots=True)
class Gallery:
    """Explained pictures with a legend."""

    legend: tuple[tuple[str, str], ...]
    """CSS class of a swatch, and its meaning."""
    pictures: tuple[ExplainedPicture, ...]
    kind: ClassVar[str] = "gallery"


@dataclass(frozen=True, slots=True)
class Code:
    """A command or a configuration."""

    text: str
    kind: ClassVar[str] = "code"


Block = BulletList | Code | Gallery | Paragraph | Picture | PictureRow | Table


@dataclass(frozen=True, slots=True)
class Section:
    """A heading, blocks, and sections below them."""

    title: str
    anchor: str
    """The target of links; unique in a report."""
    blocks: tuple[Block, ...] = ()
    sections: tuple[Section, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """A title and sections."""

    title: str
    sections: tuple[Section, ...]


def _plain(text: Text) -> str:
    return "".join(part if isinstance(part, str) else part.text for part in inlines(text))
