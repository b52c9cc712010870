"""Ctrl-C: raised at once, and again where somebody swallowed it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable

import pytest

from train.interrupt import remembered


def swallowed() -> None:
    """As a library does that catches everything."""
    try:
        signal.raise_signal(signal.SIGINT)
    except BaseException:
        return
    pytest.fail("no KeyboardInterrupt was raised")


def test_ctrl_c_is_raised_at_once() -> None:
    with pytest.raises(KeyboardInterrupt), remembered():
        signal.raise_signal(signal.SIGINT)


def test_one_that_was_swallowed_is_raised_when_asked() -> None:
    def work() -> None:
        with remembered() as check:
            check()
            swallowed()
            reached.append("on")
            check()
            reached.append("too far")

    reached: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        work()
    assert reached == ["on"]


def test_one_that_was_swallowed_is_raised_at_the_end() -> None:
    with pytest.raises(KeyboardInterrupt), remembered():
        swallowed()


def test_afterwards_ctrl_c_is_what_it_was() -> None:
    before = signal.getsignal(signal.SIGINT)
    with remembered() as check:
        check()
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before
    with pytest.raises(ValueError, match="an error"), remembered():
        raise ValueError("an error")
    assert signal.getsignal(signal.SIGINT) is before


def test_other_threads_do_without() -> None:
    done: list[Callable[[], None]] = []

    def work() -> None:
        with remembered() as check:
            check()
            done.append(check)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(10)
    assert len(done) == 1
