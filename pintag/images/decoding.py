"""Decode uploaded bytes to `uint8[H,W,3]` within limits of size and time.

Training and serving both use `decode`, so that a model sees the same pixels in both.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
from PIL import Image

from pintag.core.errors import DecodingError, ImageError, ImageTooLargeError, NotAnImageError
from pintag.core.types import Pixels
from pintag.images import decoder_pool, header_reader, pixel_decoder
from pintag.images.header import QUICK, Budget
from pintag.images.jpeg_header import MAX_SCANS
from pintag.images.limits import ImageLimits

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".heic", ".heif", ".avif")
# The longest time for which an image may be decoded where nothing can stop it.
_FAST_NS = 5e6
# Nanoseconds of a core if the header does not give the cost: those of a JPEG of `MAX_SCANS` scans.
_UNKNOWN_PIXEL_NS, _UNKNOWN_BYTE_NS = 60.0, 34.0

DEFAULT_LIMITS = ImageLimits()


def decode(
    data: bytes,
    size: int | None = None,
    limits: ImageLimits = DEFAULT_LIMITS,
    *,
    longest: int | None = None,
    isolated: bool = False,
) -> Pixels:
    """Decode an image file to RGB pixels `uint8[H,W,3]`; with `size`, to `uint8[size,size,3]`.

    The EXIF rotation is applied. The first frame of an animation is used. Transparent pixels are
    blended with white. 16-bit samples keep their upper 8 bits. With `size`, the image is resized to
    a square without keeping its proportions, as in training; a JPEG is decoded at the smallest DCT
    scale that is at least `size`. With `longest`, a JPEG is decoded at the smallest DCT scale whose
    longer side has at least so many pixels.

    An image that may take more than 5 ms is decoded in another process, which ends when it has used
    `limits.decode_timeout_s` seconds of a processor. With `isolated`, every image is.

    Raises:
        ImageTooLargeError: more bytes or pixels than `limits`; checked before decoding.
        UnsupportedFormatError: an image of a format that is not accepted.
        DecodingError: decoding takes too long or too much memory, or crashes.
        NotAnImageError: any other input, including images that are cut off or damaged.
    """
    image = EncodedImage(data, limits)
    decode = image.decode_apart if isolated else image.decode
    return decode(size, longest=longest)


class EncodedImage:
    """An image file whose header has been read; its pixels are decoded on request."""

    def __init__(
        self,
        data: bytes,
        limits: ImageLimits = DEFAULT_LIMITS,
        budget: Budget = QUICK,
    ) -> None:
        """Read the header, within a budget, and check the limits. See the errors of `decode`."""
        limits.check_bytes(len(data))
        self._data, self._limits = data, limits
        self._header = header_reader.read(data, budget, heif=limits.heif)
        if self._header.size:
            limits.check_declared(self._header.size)
        if self._header.scans > MAX_SCANS:
            raise DecodingError(f"the JPEG has more than {MAX_SCANS} scans; save it again")
        seconds = self._header.cost_ns / 1e9
        if self._header.is_read_in_python and seconds > limits.decode_timeout_s:
            raise ImageTooLargeError(
                f"decoding this compressed {self._header.format} may take {seconds:.1f} s, and the "
                f"limit is {limits.decode_timeout_s:g} s; send it as PNG"
            )

    @property
    def is_slow(self) -> bool:
        """Whether decoding may take more than 5 ms: then another process decodes the image."""
        return self._header.cost_ns > _FAST_NS

    @property
    def cost_s(self) -> float:
        """The seconds of a core that decoding takes at most, by the header and the limit of time.

        If the header does not give the cost, that of a costly image of this size.
        """
        nanoseconds = self._header.cost_ns
        if not math.isfinite(nanoseconds):
            nanoseconds = _UNKNOWN_PIXEL_NS * self.pixels + _UNKNOWN_BYTE_NS * len(self._data)
        return min(nanoseconds / 1e9, self._limits.decode_timeout_s)

    @property
    def pixels(self) -> int:
        """The declared pixels of the image; of an unknown size, the most that are decoded."""
        if self._header.size is None:
            return self._limits.max_decoded_pixels
        return self._header.size[0] * self._header.size[1]

    def decode(self, size: int | None = None, *, longest: int | None = None) -> Pixels:
        """Decode the pixels, wherever that is safe. See the function `decode`."""
        decode = self.decode_apart if self.is_slow else self.decode_here
        return decode(size, longest=longest)

    def decode_here(self, size: int | None = None, *, longest: int | None = None) -> Pixels:
        """Decode the pixels in this process, however long it takes."""
        return pixel_decoder.decode(self._data, self._header, self._limits, size, longest)

    def decode_apart(self, size: int | None = None, *, longest: int | None = None) -> Pixels:
        """Decode the pixels in another process. If that crashes, it is a `DecodingError`."""
        return decoder_pool.shared().decode(self._data, self._limits, size, longest)


def read(
    path: str | os.PathLike[str], size: int | None = None, limits: ImageLimits = DEFAULT_LIMITS
) -> Pixels:
    """Decode a file; see `decode`. The message of an `ImageError` begins with the path."""
    path = Path(path)
    try:
        limits.check_bytes(path.stat().st_size)
        return decode(path.read_bytes(), size, limits)
    except ImageError as error:
        raise type(error)(f"{path}: {error}") from error
    except OSError as error:
        raise NotAnImageError(f"{path}: cannot be read: {error.strerror or error}") from error


def resize(pixels: Pixels, size: int) -> Pixels:
    """Resize RGB pixels `uint8[H,W,3]` to `uint8[size,size,3]`, as `decode` does with a PNG.

    Raises:
        NotAnImageError: the array has another type or shape.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise NotAnImageError(
            f"expected RGB pixels as uint8[H,W,3], got {pixels.dtype}{list(pixels.shape)}"
        )
    return np.asarray(Image.fromarray(pixels).resize((size, size), Image.Resampling.BILINEAR))


def check_bytes(count: int, limits: ImageLimits = DEFAULT_LIMITS) -> None:
    """Raise an `ImageError` for a file that is empty or has more than `limits.max_bytes`."""
    limits.check_bytes(count)
