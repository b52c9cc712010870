"""Ctrl-C, remembered: libraries that catch everything may swallow a KeyboardInterrupt."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def remembered() -> Iterator[Callable[[], None]]:
    """Ctrl-C raises KeyboardInterrupt, as ever; the call that is yielded raises it once more.

    Ray Tune's loop has lost one, and then went on to the end as if nobody had asked it to stop.
    Outside of the main thread there are no signals, and nothing to remember.
    """
    came = threading.Event()

    def interrupt(number: int, frame: FrameType | None) -> None:
        came.set()
        raise KeyboardInterrupt

    def check() -> None:
        # A thread that watches has nothing to interrupt.
        if came.is_set() and threading.current_thread() is threading.main_thread():
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield check
        return
    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield check
        check()
    finally:
        signal.signal(signal.SIGINT, before)
