"""Perturbed copies of one image, written directly into the batch for a predict function."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from pintag.core.types import Array
from pintag.explain.superpixels import Segments

Masks = npt.NDArray[np.bool_]
"""`bool[S,K]`: which of K segments each of S samples keeps."""


class Perturber:
    """Hides segments of one image, one batch of samples at a time.

    It copies bytes with three operations over the whole batch: XOR with the difference of image and
    background turns the background into the image wherever the mask is set. All batches share one
    buffer. It works on bytes, so it supports every dtype.
    """

    def __init__(
        self, image: Array, background: Array, segments: Segments, batch_size: int
    ) -> None:
        """Image and background are `[H,W,3]` of the same dtype; segments `int32[H,W]`, 0 to K-1."""
        self.segments = int(segments.max()) + 1
        self._shape, self._dtype = image.shape, image.dtype
        bytes_per_pixel = image[0, 0].nbytes
        self._segment_of_byte = np.repeat(segments.ravel(), bytes_per_pixel).astype(np.intp)
        self._background = np.ascontiguousarray(background).view(np.uint8).ravel()
        self._difference = np.ascontiguousarray(image).view(np.uint8).ravel() ^ self._background
        self._buffer = np.empty((batch_size, len(self._difference)), np.uint8)

    def images(self, masks: Masks) -> Array:
        """The images `[B,H,W,3]` of masks `bool[B,K]`; B is at most the batch size.

        They are a view of the buffer, which the next call overwrites.
        """
        batch = self._buffer[: len(masks)]
        kept = masks.view(np.uint8) * np.uint8(255)
        # Segments are below K by construction. Without `mode` NumPy would buffer the output.
        np.take(kept, self._segment_of_byte, axis=1, out=batch, mode="clip")
        batch &= self._difference
        batch ^= self._background
        return batch.view(self._dtype).reshape(-1, *self._shape)


def background(
    image: Array, segments: Segments, hide: tuple[int, int, int] | Literal["mean"]
) -> Array:
    """What replaces hidden segments, `[H,W,3]`: one colour, or each segment's mean colour."""
    if hide != "mean":
        return np.broadcast_to(np.asarray(hide, image.dtype), image.shape).copy()
    counts = np.bincount(segments.ravel())
    sums = [np.bincount(segments.ravel(), channel.ravel()) for channel in np.moveaxis(image, -1, 0)]
    means: Array = (np.stack(sums, axis=-1) / counts[:, None]).astype(image.dtype)
    return means[segments]
