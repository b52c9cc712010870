"""What a server answers if it has no decoder process for an image."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pintag.images.decoder_pool import DecoderStartError
from pintag.serve.errors import OverloadedError
from pintag.serve.observability.logs import log


@contextmanager
def start_errors_as_overload() -> Iterator[None]:
    """Log a decoder that cannot start, and let the client try again.

    Raises:
        OverloadedError: in place of a `DecoderStartError`.
    """
    try:
        yield
    except DecoderStartError as error:
        log.error("%s", error)
        raise OverloadedError("no process to decode the image can start; try again") from error
