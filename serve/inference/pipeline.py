"""Decode images and run them through an engine: the synchronous part of a prediction."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pintag.core.types import Confidences, Engine, Pixels
from pintag.images.decoding import EncodedImage
from pintag.images.limits import ImageLimits
from pintag.serve.inference import decoders
from pintag.serve.observability.metrics import ClassifierMetrics, timed


def infer(engine: Engine, pixels: Pixels) -> Confidences:
    """The engine's confidences `float32[N,C]` for a batch `uint8[N,S,S,3]`.

    Raises:
        RuntimeError: a confidence is NaN or infinite.
    """
    confidences = engine.predict(pixels)
    if not np.isfinite(confidences).all():
        raise RuntimeError("the engine predicts confidences that are NaN or infinite")
    return confidences


class Pipeline:
    """Bytes to pixels to confidences, with metrics. Safe to call from several threads at once."""

    def __init__(self, input_size: int, limits: ImageLimits, metrics: ClassifierMetrics) -> None:
        self._input_size, self._limits, self._metrics = input_size, limits, metrics

    def open(self, data: bytes) -> EncodedImage:
        """Read the header of an encoded image.

        Raises:
            ImageError: the image is not accepted.
        """
        return EncodedImage(data, self._limits)

    def decode(self, image: EncodedImage) -> Pixels:
        """The pixels `uint8[S,S,3]` of an image.

        Raises:
            ImageError: the image is corrupt.
            OverloadedError: it needs a decoder process, and none can start.
        """
        with timed(self._metrics.decode), decoders.start_errors_as_overload():
            return image.decode(self._input_size)

    def run_one(self, engine: Engine, image: EncodedImage) -> Confidences:
        """The confidences `float32[C]` of one image.

        Raises:
            ImageError: the image is corrupt.
            RuntimeError: the engine cannot predict.
        """
        row: Confidences = self._infer(engine, self.decode(image)[np.newaxis])[0]
        return row

    def run_batch(
        self, engine: Engine, batch: Sequence[EncodedImage | Pixels]
    ) -> list[Confidences | Exception]:
        """The confidences `float32[C]` of each image, or the error that its decoding raised.

        Args:
            engine: predicts the whole batch in one call.
            batch: encoded images, and images that are already decoded, `uint8[S,S,3]`.

        Raises:
            RuntimeError: the engine cannot predict.
        """
        results = [self._decode_or_error(image) for image in batch]
        decoded = [result for result in results if not isinstance(result, Exception)]
        rows = iter(self._infer(engine, np.stack(decoded)) if decoded else ())
        return [result if isinstance(result, Exception) else next(rows) for result in results]

    def _decode_or_error(self, image: EncodedImage | Pixels) -> Pixels | Exception:
        try:
            return self.decode(image) if isinstance(image, EncodedImage) else image
        # Any error, lack of memory included, belongs to this image; the others may succeed.
        except Exception as error:
            return error

    def _infer(self, engine: Engine, pixels: Pixels) -> Confidences:
        self._metrics.batch_size.observe(len(pixels))
        with timed(self._metrics.inference):
            return infer(engine, pixels)
