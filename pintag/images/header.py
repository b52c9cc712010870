"""The header of an image file: format, size, and how long decoding takes at most."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pintag.core.errors import DecodingError, NotAnImageError

Part = tuple[int, int]
"""A part of a file: its start and its end, in bytes."""


def append(parts: list[Part], start: int, end: int) -> None:
    """Append a part; it extends the last one if that ends where this one starts."""
    if parts[-1][1] == start:
        parts[-1] = (parts[-1][0], end)
    else:
        parts.append((start, end))


def damaged(name: str, reason: str) -> NotAnImageError:
    """The error for a file that is an image of the format `name`, but not a whole one."""
    return NotAnImageError(f"the {name} is cut off or damaged: {reason}; save or send it again")


@dataclass(frozen=True, slots=True)
class Budget:
    """How much of a file is read for its header."""

    segments: float
    """Segments, chunks and blocks before and between the pixels. A photograph has some ten; a PNG
    has one more for each 8 KB."""
    bytes: float
    """A file with more bytes is not searched for scans."""
    is_last: bool = False
    """Whether nobody reads on where this budget ends: the image is refused."""

    def ends(self, number: int, name: str) -> bool:
        """Whether no more is read than `number` segments of a file of the format `name`.

        Raises:
            DecodingError: nobody would read the rest.
        """
        if number < self.segments:
            return False
        if self.is_last:
            raise DecodingError(
                f"the {name} has more than {self.segments:,} segments, chunks or blocks; "
                "save it again"
            )
        return True


# On an event loop: less than a millisecond, whatever the file contains.
QUICK = Budget(64, 2**18)
# In a decoder: some 30 ms. A PNG of 20 MiB has 2,600 chunks of 8 KB; a photograph has some ten
# segments. Reading on would take a microsecond for each few bytes, here and in Pillow.
FULL = Budget(2**15, math.inf, is_last=True)


class HeaderEndsError(Exception):
    """The file ends before its pixels begin, or its header is not that of its format."""


@dataclass(slots=True)
class Header:
    """What is known of an image before it is decoded."""

    format: str
    size: tuple[int, int] | None = None
    """Width and height; None: unknown."""
    components: int = 0
    """The components of a JPEG's colours."""
    parts: list[Part] | None = None
    """The parts of the file that the pixels need, without metadata; None: unknown."""
    colour_key: tuple[int, ...] | None = None
    """The transparent colour of a PNG, as 8 bits for each sample; None: it has none."""
    exif: bytes = b""
    """The EXIF block, for JPEG and PNG; Pillow finds it in the other formats."""
    is_buffered: bool = False
    """Whether all coefficients of a JPEG are kept in memory: a smaller scale does not help."""
    is_read_in_python: bool = False
    """Whether Pillow decodes it in Python, which takes a hundred times as long as in C."""
    scans: int = 1
    """The scans of a JPEG, as far as they were counted."""
    cost_ns: float = math.inf
    """The highest estimate of decoding, in nanoseconds of a core of 2020; infinite: unknown."""

    def pixel_data(self, data: bytes) -> bytes:
        """The file without its metadata; unchanged if its parts are unknown."""
        if self.parts is None or self.parts == [(0, len(data))]:
            return data
        return b"".join([data[start:end] for start, end in self.parts])
