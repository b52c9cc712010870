"""The limits of an image: bytes, pixels, and the time that decoding may take."""

from __future__ import annotations

from dataclasses import dataclass

from pintag.core.errors import ImageTooLargeError, NotAnImageError


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """The limits of one image. All but the time are checked before pixels are decoded.

    Only a server can change them: it is open to strangers, and its memory is shared by many
    requests. Commands that read files use the defaults, so that training, tagging and a server with
    default settings refuse the same files.
    """

    max_bytes: int = 20 * 2**20
    """Bytes of the file."""
    max_declared_pixels: int = 250_000_000
    """Width times height. Phones write photographs of 200 megapixels."""
    max_decoded_pixels: int = 50_000_000
    """Width times height of what is decoded: a JPEG can be decoded at an eighth of its width and
    height, unless it is progressive."""
    decode_timeout_s: float = 5.0
    """Seconds of a processor that decoding may take."""
    heif: bool = True
    """Whether HEIC and AVIF are accepted, where a decoder is installed."""

    def check_bytes(self, count: int) -> None:
        """Raise an `ImageError` for a file that is empty or has too many bytes."""
        if count > self.max_bytes:
            raise ImageTooLargeError(f"{count:,} bytes; at most {self.max_bytes:,} are accepted")
        if count == 0:
            raise NotAnImageError("no bytes: the image is empty")

    def check_declared(self, size: tuple[int, int]) -> None:
        """Raise an `ImageTooLargeError` for an image of this size with too many pixels."""
        _check_pixels(size, self.max_declared_pixels, "in all are accepted")

    def check_decoded(self, size: tuple[int, int]) -> None:
        """Raise an `ImageTooLargeError` if decoding gives this size, with too many pixels."""
        _check_pixels(size, self.max_decoded_pixels, "in all are decoded; send a smaller image")


def _check_pixels(size: tuple[int, int], limit: int, words: str) -> None:
    width, height = size
    if width * height > limit:
        raise ImageTooLargeError(f"{width}x{height} pixels; at most {limit:,} {words}")
