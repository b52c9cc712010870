"""What runs in a decoder process: one image after another, until the owner's connection closes.

It imports NumPy and Pillow only. The kernel ends it when an image has used up its processor time,
so neither Pillow nor the owner has to look at a clock. Waiting for a processor costs nothing, so
an image has the same limit on a busy machine.
"""

from __future__ import annotations

import contextlib
import json
import resource
import signal
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from pintag.core.errors import DecodingError, ImageError
from pintag.core.types import Pixels
from pintag.images.decoding import EncodedImage
from pintag.images.header import FULL
from pintag.images.limits import ImageLimits

# The address space of a process: a base for the libraries, and for each decoded pixel the most that
# decoding, blending and resizing need at a time.
_BASE_BYTES, _BYTES_PER_PIXEL = 2**30, 24


def run(descriptor: int) -> None:
    """Decode the images that arrive on a socket; return when it is closed."""
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGPROF})
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # If memory runs out, the kernel ends this process rather than its owner.
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    with Connection(descriptor) as connection, contextlib.suppress(EOFError, OSError):
        connection.send_bytes(b"ready")
        while True:
            job = json.loads(connection.recv_bytes())
            data = connection.recv_bytes()
            # If this process ends after this message, the owner reports an error of the image.
            connection.send_bytes(b"begun")
            _answer(connection, job, data)


def _answer(connection: Connection, job: dict[str, Any], data: bytes) -> None:
    limits = ImageLimits(**job["limits"])
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    memory = _BASE_BYTES + _BYTES_PER_PIXEL * limits.max_decoded_pixels
    if most == resource.RLIM_INFINITY or memory <= most:
        resource.setrlimit(resource.RLIMIT_AS, (memory, most))
    signal.setitimer(signal.ITIMER_PROF, limits.decode_timeout_s)
    try:
        pixels = _decode(data, limits, job)
    except ImageError as error:
        _send(connection, {"error": type(error).__name__, "message": str(error)})
        return
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    _send(connection, {"shape": pixels.shape})
    connection.send_bytes(pixels.data.cast("B"))


def _decode(data: bytes, limits: ImageLimits, job: dict[str, Any]) -> Pixels:
    try:
        image = EncodedImage(data, limits, FULL)
        return image.decode_here(job["size"], longest=job["longest"])
    except MemoryError as error:
        raise DecodingError("the image takes more memory than there is to decode") from error


def _send(connection: Connection, reply: dict[str, object]) -> None:
    connection.send_bytes(json.dumps(reply).encode())
