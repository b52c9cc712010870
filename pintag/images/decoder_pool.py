"""Processes that decode images which might take long: each can be ended, and another one started.

Pillow cannot be interrupted within a thread, and a picture of 240 KB may occupy it for minutes.
`pintag.images.decoder_process` is what runs in the processes.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import asdict
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from pintag.core import errors, machine
from pintag.core.errors import DecodingError
from pintag.core.types import Pixels
from pintag.images.limits import ImageLimits

# A decoder that was given no processor ends too: after so many times its processor time.
_WALL_FACTOR = 20
# Modules are looked for where the owner finds its own, and not in the working directory, which may
# have a `numpy.py`.
_PROGRAM = (
    "import sys; sys.path[:] = sys.argv[2:];"
    "from pintag.images import decoder_process; decoder_process.run(int(sys.argv[1]))"
)


class DecoderStartError(RuntimeError):
    """No decoder process can be started: a fault of the machine, not of an image."""


class DecoderLostError(DecoderStartError):
    """A decoder process has ended before it began with an image: no fault of the image."""


class DecoderPool:
    """Decoder processes, started when they are needed. Safe to call from several threads."""

    def __init__(self, processes: int) -> None:
        """`processes` is the highest number of processes; further images wait for one."""
        self._free = threading.BoundedSemaphore(processes)
        self._lock = threading.Lock()
        self._idle: list[_Decoder] = []
        self._is_closed = False

    def start(self) -> None:
        """Start one process now, so that the first image need not wait until it runs."""
        with self._free:
            self._put(self._take())

    def decode(
        self,
        data: bytes,
        limits: ImageLimits,
        size: int | None = None,
        longest: int | None = None,
    ) -> Pixels:
        """Decode an image; see `decoding.decode`. It blocks until a process is free, and is done.

        Raises:
            ImageError: see `decoding.decode`. Neither time nor a crash affects other images.
            DecoderStartError: no process can be started, and neither can a second one; or both have
                ended before they began with the image.
        """
        with self._free:
            try:
                return self._decode(data, limits, size, longest)
            except DecoderLostError:
                return self._decode(data, limits, size, longest)

    def close(self) -> None:
        """End all processes that are idle; the others end with their image."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
        for decoder in idle:
            decoder.close()

    def _decode(
        self, data: bytes, limits: ImageLimits, size: int | None, longest: int | None
    ) -> Pixels:
        decoder = self._take()
        try:
            return decoder.decode(data, limits, size, longest)
        finally:
            self._put(decoder)

    def _take(self) -> _Decoder:
        with self._lock:
            decoder = self._idle.pop() if self._idle else None
        if decoder and decoder.is_alive:
            return decoder
        if decoder:
            decoder.close()
        try:
            return _Decoder()
        except DecoderStartError:
            # Something has ended it, such as a lack of memory, which may be over.
            return _Decoder()

    def _put(self, decoder: _Decoder) -> None:
        with self._lock:
            if decoder.is_alive and not self._is_closed:
                self._idle.append(decoder)
                return
        decoder.close()


class _Decoder:
    """One process, which decodes one image at a time. It ends when this process does."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            path = [entry or str(Path.cwd()) for entry in sys.path]
            command = [sys.executable, "-I", "-W", "ignore", "-c", _PROGRAM, str(theirs.fileno())]
            try:
                self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and program
                    [*command, *path],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    # Ctrl-C reaches all processes of a terminal; the owner decides what ends.
                    start_new_session=True,
                    # Small matrices need no threads, whose stacks would count as memory.
                    env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
                )
            # Not an OSError, which would be taken for a file that cannot be read.
            except OSError as error:
                ours.close()
                raise DecoderStartError(f"a decoder process cannot start: {error}") from error
        self._connection = Connection(ours.detach())
        try:
            # Its first message: everything is imported.
            self._connection.recv_bytes()
        except (EOFError, OSError) as error:
            self._connection.close()
            status = self._process.wait()
            raise DecoderStartError(
                f"a decoder process cannot start (exit status {status})"
            ) from error

    @property
    def is_alive(self) -> bool:
        return not self._connection.closed and self._process.poll() is None

    def decode(
        self, data: bytes, limits: ImageLimits, size: int | None, longest: int | None
    ) -> Pixels:
        is_decoding = False
        try:
            self._give(data, limits, size, longest)
            is_decoding = True
            reply = self._reply(limits)
        # The process has ended, and with it its side of the connection.
        except (EOFError, OSError) as error:
            raise (self._end(limits) if is_decoding else self._loss()) from error
        except BaseException:
            # Another image must not get a reply that is still to come.
            self._connection.close()
            raise
        if isinstance(reply, dict):
            raise getattr(errors, reply["error"])(reply["message"])
        return reply

    def close(self) -> None:
        """Wait until the process has ended; it ends when its connection is closed."""
        self._connection.close()
        try:
            self._process.wait(1)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _give(
        self, data: bytes, limits: ImageLimits, size: int | None, longest: int | None
    ) -> None:
        """Send an image, and wait until decoding begins; until then nothing is its fault."""
        job = {"limits": asdict(limits), "size": size, "longest": longest}
        self._connection.send_bytes(json.dumps(job).encode())
        self._connection.send_bytes(data)
        if not self._connection.poll(_WALL_FACTOR * limits.decode_timeout_s):
            self._process.kill()
        self._connection.recv_bytes()

    def _reply(self, limits: ImageLimits) -> Pixels | dict[str, str]:
        if not self._connection.poll(_WALL_FACTOR * limits.decode_timeout_s):
            self._process.send_signal(signal.SIGPROF)
        # JSON: a decoder that a hostile image has taken over must not reach its owner.
        reply: dict[str, Any] = json.loads(self._connection.recv_bytes())
        if "error" in reply:
            return reply
        pixels: Pixels = np.empty(reply["shape"], np.uint8)
        self._connection.recv_bytes_into(pixels.data.cast("B"))
        return pixels

    def _loss(self) -> DecoderLostError:
        """The error if the process has ended before it began with the image."""
        self._connection.close()
        status = self._process.wait()
        return DecoderLostError(
            f"a decoder process ended before it began with an image (exit status {status})"
        )

    def _end(self, limits: ImageLimits) -> DecodingError:
        """The reason why the process has ended."""
        self._connection.close()
        status = self._process.wait()
        if status == -signal.SIGPROF:
            seconds = f"{limits.decode_timeout_s:g}"
            return DecodingError(f"the image takes more than {seconds} s to decode, the limit")
        return DecodingError(
            f"decoding the image ended the decoder (exit status {status}); "
            "it may take too much memory"
        )


_shared: DecoderPool | None = None
_shared_lock = threading.Lock()


def shared() -> DecoderPool:
    """The pool of this process: one decoder more than cores, as `DecodeQueue` has threads."""
    global _shared
    with _shared_lock:
        if _shared is None:
            _shared = DecoderPool(machine.allowed_cpus() + 1)
            atexit.register(_shared.close)
        return _shared


def _forget() -> None:
    """In a forked process: the decoders belong to the parent."""
    global _shared, _shared_lock
    _shared, _shared_lock = None, threading.Lock()


os.register_at_fork(after_in_child=_forget)
