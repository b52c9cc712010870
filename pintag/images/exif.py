"""Read the orientation from EXIF: a bounded search through one directory, whatever it contains.

Pillow reads all tags in Python, which takes 20 ms for a directory with thousands of them.
"""

from __future__ import annotations

import struct

_ORIENTATION = 0x0112
# The integer types of TIFF: BYTE, SHORT and LONG.
_INTEGERS = {1: "B", 3: "H", 4: "I"}
_MAX_ENTRIES = 512


def orientation(exif: bytes) -> int:
    """The orientation, 1 to 8, of an EXIF block; 1 (upright) if it has none or is broken."""
    while exif.startswith(b"Exif\0\0"):
        exif = exif[6:]
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None:
        return 1
    try:
        value = _first(exif, order)
    except struct.error:
        return 1
    return value if 1 <= value <= 8 else 1


def _first(exif: bytes, order: str) -> int:
    (directory,) = struct.unpack_from(f"{order}I", exif, 4)
    (count,) = struct.unpack_from(f"{order}H", exif, directory)
    entry = struct.Struct(f"{order}HHI")
    for number in range(min(count, _MAX_ENTRIES)):
        at = directory + 2 + 12 * number
        tag, kind, values = entry.unpack_from(exif, at)
        if tag == _ORIENTATION and values == 1 and kind in _INTEGERS:
            return int(struct.unpack_from(order + _INTEGERS[kind], exif, at + 8)[0])
    return 1
