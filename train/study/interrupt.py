"""Remembers interrupts: libraries that catch all exceptions may lose a KeyboardInterrupt."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from pintag.core import signals


@contextmanager
def remembered() -> Iterator[Callable[[], None]]:
    """Yield a function that raises KeyboardInterrupt if the block received SIGINT or SIGTERM.

    A signal raises KeyboardInterrupt at once, as usual. Ray Tune's loop has lost that exception and
    continued to the end. Only the main thread receives signals; in other threads nothing changes.
    """
    received = threading.Event()

    def on_interrupt(number: int, frame: FrameType | None) -> None:
        received.set()
        raise KeyboardInterrupt

    def check() -> None:
        # Progress may be reported from another thread, where raising would not stop the study.
        if received.is_set() and threading.current_thread() is threading.main_thread():
            raise KeyboardInterrupt

    with signals.handled(on_interrupt, signal.SIGINT, signal.SIGTERM):
        yield check
        check()
