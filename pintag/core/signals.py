"""Signal handlers for the length of a block."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

Handler = Callable[[int, FrameType | None], object] | signal.Handlers


# `timeout` sends a signal twice: to its command, and to the group of the command.
_SAME_S = 1.0


@contextmanager
def interrupting(
    *numbers: signal.Signals, clock: Callable[[], float] = time.monotonic
) -> Iterator[None]:
    """Raise KeyboardInterrupt in the block at a signal, and again at one that is a second later.

    One that follows at once is the same: it would interrupt the end of the work.
    """
    last = -math.inf

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal last
        previous, last = last, clock()
        if last - previous > _SAME_S:
            signal.default_int_handler(number, frame)

    with handled(interrupt, *numbers):
        yield


@contextmanager
def handled(handler: Handler, *numbers: signal.Signals) -> Iterator[None]:
    """Handle signals with `handler` during the block.

    Only the main thread may set handlers, and receives signals: in other threads nothing changes.
    """
    with kept(*numbers):
        if threading.current_thread() is threading.main_thread():
            for number in numbers:
                signal.signal(number, handler)
        yield


@contextmanager
def remembered_interrupt() -> Iterator[Callable[[], bool]]:
    """Yield a function that returns whether the process has received SIGINT during the block.

    SIGINT raises KeyboardInterrupt, as usual, but native code may replace that exception. An
    ignored SIGINT, as of a process in the background, stays ignored.
    """
    received = False

    def on_interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal received
        received = True
        signal.default_int_handler(number, frame)

    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield lambda: received
        return
    with handled(on_interrupt, signal.SIGINT):
        yield lambda: received


@contextmanager
def kept(*numbers: signal.Signals) -> Iterator[None]:
    """Restore the handlers of signals after the block, which may replace them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
