"""Ctrl-C and SIGTERM: raised at once, and raised again if a library has caught it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable

import pytest

from pintag.train.study.interrupt import remembered
from tests.own_process import in_own_process

NUMBERS = (signal.SIGINT, signal.SIGTERM)


def interrupt_and_catch(number: signal.Signals) -> None:
    """Send a signal and lose the exception, as a library does that catches all exceptions."""
    try:
        signal.raise_signal(number)
    except BaseException:
        return
    pytest.fail("no KeyboardInterrupt was raised")


@pytest.mark.parametrize("number", NUMBERS)
@in_own_process
def test_an_interrupt_is_raised_at_once(number: signal.Signals) -> None:
    with pytest.raises(KeyboardInterrupt), remembered():
        signal.raise_signal(number)


@pytest.mark.parametrize("number", NUMBERS)
@in_own_process
def test_a_lost_interrupt_is_raised_by_the_next_check(number: signal.Signals) -> None:
    def work() -> None:
        with remembered() as check:
            check()
            interrupt_and_catch(number)
            reached.append("continued")
            check()
            reached.append("too far")

    reached: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        work()
    assert reached == ["continued"]


@pytest.mark.parametrize("number", NUMBERS)
@in_own_process
def test_a_lost_interrupt_is_raised_at_the_end(number: signal.Signals) -> None:
    with pytest.raises(KeyboardInterrupt), remembered():
        interrupt_and_catch(number)


@pytest.mark.parametrize("number", NUMBERS)
@in_own_process
def test_the_previous_handler_is_restored(number: signal.Signals) -> None:
    previous = signal.getsignal(number)
    with remembered() as check:
        check()
        assert signal.getsignal(number) is not previous
    assert signal.getsignal(number) is previous
    with pytest.raises(ValueError, match="an error"), remembered():
        raise ValueError("an error")
    assert signal.getsignal(number) is previous


def test_nothing_changes_in_other_threads() -> None:
    done: list[Callable[[], None]] = []

    def work() -> None:
        with remembered() as check:
            check()
            done.append(check)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(10)
    assert len(done) == 1
