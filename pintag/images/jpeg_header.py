"""Walk through the segments of a JPEG file: its size, its scans, and the parts that pixels need."""

from __future__ import annotations

import itertools
import re

from pintag.core.errors import DecodingError
from pintag.images.header import Budget, Header, HeaderEndsError, Part, append, damaged

_SOF0, _SOF1, _SOF2 = 0xC0, 0xC1, 0xC2
_FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_SOS, _EOI = 0xDA, 0xD9
# Frames that libjpeg does not read: hierarchical ones, lossless ones with arithmetic coding, and
# JPEG-LS.
_JPEG_LS = 0xF7
_OTHER_KINDS = {
    **dict.fromkeys((0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF), "hierarchical JPEG"),
    0xCB: "lossless arithmetic JPEG",
    _JPEG_LS: "JPEG-LS",
}
_MAX_PRECISION = 16
# Markers without a length: TEM, RST0 to RST7, SOI, EOI.
_BARE = frozenset({0x01, *range(0xD0, 0xDA)})
_ENDS = (0xD8, _EOI)
_APP0, _APP1, _APP14, _APP15, _COMMENT = 0xE0, 0xE1, 0xEE, 0xEF, 0xFE
# Photographs on the web have 3 to 20 scans.
MAX_SCANS = 100
# The next marker within entropy-coded data, where FF 00 is a byte and FF D0 to FF D7 are restarts.
_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
# Worst-case nanoseconds of a core: for each pixel; for each pixel in each scan; for each byte.
_PIXEL_NS, _SCAN_NS, _BYTE_NS = 6.0, 0.5, 4.0
# A byte of a file of several scans; how many times more a file of four components costs.
_SCANNED_BYTE_NS, _FOUR_COMPONENTS = 34.0, 1.7
# Pillow reads the tables in Python. Those of photographs take less than 1,500 bytes; a thumbnail in
# a JFIF segment, which is left in its place, up to 64 KB.
_MAX_TABLE_BYTES, _MAX_LEFT_BYTES = 8192, 2**18
# The next segment, where fill bytes or others are between two of them. Pillow skips these bytes one
# by one, in Python. No camera writes more than a few.
_SEGMENT = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")
_MAX_GAPS = 2**16


def read(data: bytes, budget: Budget) -> Header:
    """Read the header of a JPEG file; see `header.read`.

    Metadata is left out of the parts, apart from JFIF and Adobe segments, which decide about the
    colours. So are a few bytes between segments, which decoders skip.

    Raises:
        HeaderEndsError: the file ends before its first scan.
        DecodingError: no camera writes so much before the first scan, or between scans.
        NotAnImageError: the file begins again, or ends, before its first scan.
    """
    header = Header("JPEG")
    parts: list[Part] = [(0, 2)]
    end, frame, tables, gaps = 2, 0, 0, 0
    for number in itertools.count():
        at = _next_segment(data, end, _MAX_GAPS - gaps)
        gaps += at - end
        marker, end = data[at + 1], _end(data, at)
        if marker == _SOS:
            append(parts, at, len(data))
            header.parts = parts
            # Several frames are unusual: decoders differ in which of them counts.
            if header.size and frame in (_SOF0, _SOF1, _SOF2) and tables <= _MAX_TABLE_BYTES:
                _read_scans(data, at, frame, header, budget)
            return header
        if budget.ends(number, "JPEG"):
            return header
        if marker in _FRAMES:
            header.size = _size(data, at) if not frame else None
            header.components = data[at + 9]
            frame = marker
        if marker in _FRAMES or marker == _JPEG_LS:
            header.format = _kind(marker, data[at + 4])
        if marker == _APP1 and data.startswith(b"Exif\0\0", at + 4) and not header.exif:
            header.exif = data[at + 4 : end]
        if not _is_metadata(data, at, end, marker):
            append(parts, at, end)
            tables += end - at
            _check(tables, _MAX_LEFT_BYTES, "tables before its pixels")
    raise AssertionError("unreachable: segments are counted without end")


def _next_segment(data: bytes, at: int, gap: int) -> int:
    """Where the next segment begins: at `at`, or at most `gap` bytes later."""
    found = _SEGMENT.search(data, at, at + gap + 2)
    if not found:
        _check(len(data) - at, gap + 2, "padding between its segments")
        raise HeaderEndsError
    if data[found.start() + 1] in _ENDS:
        raise damaged("JPEG", "it begins or ends before its pixels")
    return found.start()


def _check(count: int, limit: int, words: str) -> None:
    if count > limit:
        raise DecodingError(f"the JPEG has too many bytes of {words}; save it again")


def _end(data: bytes, at: int) -> int:
    """The end of the segment at `at`."""
    if at + 4 > len(data):
        raise HeaderEndsError
    # Decoders skip a segment that claims to be shorter than its own length.
    end = max(at + 4, at + 2 + int.from_bytes(data[at + 2 : at + 4]))
    if end > len(data) or (data[at + 1] in _FRAMES and end < at + 10):
        raise HeaderEndsError
    return end


def _kind(frame: int, precision: int) -> str:
    """The name of the kind of JPEG, for an error; `JPEG` if it can be decoded."""
    if precision != 8 and 1 < precision <= _MAX_PRECISION:
        return f"JPEG with {precision} bits for each sample"
    return _OTHER_KINDS.get(frame, "JPEG")


def _size(data: bytes, at: int) -> tuple[int, int]:
    return int.from_bytes(data[at + 7 : at + 9]), int.from_bytes(data[at + 5 : at + 7])


def _is_metadata(data: bytes, at: int, end: int, marker: int) -> bool:
    # libjpeg ignores JFIF and Adobe segments that are too short; Pillow fails.
    if marker == _APP0:
        return end - at < 18 or not data.startswith(b"JFIF\0", at + 4)
    if marker == _APP14:
        return end - at < 16 or not data.startswith(b"Adobe", at + 4)
    return _APP0 < marker <= _APP15 or marker == _COMMENT


def _read_scans(data: bytes, at: int, frame: int, header: Header, budget: Budget) -> None:
    """Count the scans from the first one at `at`, and estimate how long decoding takes.

    A sequential file has one scan. If its first scan lacks components, there are further ones, and
    libjpeg keeps all coefficients in memory, as for a progressive file.
    """
    assert header.size
    pixels = header.size[0] * header.size[1]
    header.is_buffered = frame == _SOF2 or data[at + 4] < header.components
    factor = _FOUR_COMPONENTS if header.components > 3 else 1.0
    if not header.is_buffered:
        header.cost_ns = factor * (_PIXEL_NS * pixels + _BYTE_NS * len(data))
    elif len(data) <= budget.bytes and (scans := _count_scans(data, at, budget)):
        header.scans = scans
        cost = (_PIXEL_NS + _SCAN_NS * scans) * pixels + _SCANNED_BYTE_NS * len(data)
        header.cost_ns = factor * cost


def _count_scans(data: bytes, at: int, budget: Budget) -> int:
    """The number of scans, at most `MAX_SCANS` + 1; 0: more segments than the budget allows."""
    scans = 0
    for number in itertools.count():
        if budget.ends(number, "JPEG"):
            return 0
        marker = data[at + 1]
        scans += marker == _SOS
        if marker == _EOI or scans > MAX_SCANS:
            break
        end = at + 2 if marker in _BARE else at + 2 + int.from_bytes(data[at + 2 : at + 4])
        found = _MARKER.search(data, end)
        if not found:
            break
        at = found.start()
    return scans
