"""Text from outside, such as the names of files, made safe for terminals and for UTF-8 files."""

from __future__ import annotations

import re

# Python decodes a byte of a file name that is not UTF-8 to a lone surrogate, which no UTF-8 file
# may contain.
_SURROGATES = re.compile("[\ud800-\udfff]")
# Control characters could move the cursor, delete text or start a new line in a log; direction
# marks show a name in another order than its own.
_UNPRINTABLE = re.compile(
    "[\0-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]"
)


def valid(text: str) -> str:
    r"""Text that UTF-8 can encode: a byte of a name that is not UTF-8 becomes `\xe9`."""
    return _SURROGATES.sub(_escape, text)


def printable(text: str, *, keep: str = "") -> str:
    r"""Text for a terminal, in one line: control characters are escaped, such as `\n` or `\x1b`.

    Args:
        keep: control characters that stay as they are.
    """
    return _UNPRINTABLE.sub(
        lambda match: match[0] if match[0] in keep else _escape(match), valid(text)
    )


def is_utf8(name: str) -> bool:
    """Whether the bytes of a file name are UTF-8."""
    return _SURROGATES.search(name) is None


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if 0xD800 <= code <= 0xDFFF:
        return f"\\u{code:04x}"
    return match[0].encode("unicode_escape").decode()
