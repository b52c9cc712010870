"""Handlers of signals: set for a block, then restored."""

from __future__ import annotations

import signal
import threading

import pytest

from pintag.core import signals
from tests.own_process import in_own_process


@in_own_process
def test_a_handler_handles_its_signals_during_the_block_only() -> None:
    received: list[int] = []
    before = signal.getsignal(signal.SIGUSR1), signal.getsignal(signal.SIGUSR2)
    with signals.handled(lambda number, _: received.append(number), signal.SIGUSR1, signal.SIGUSR2):
        signal.raise_signal(signal.SIGUSR1)
        signal.raise_signal(signal.SIGUSR2)
    assert received == [signal.SIGUSR1, signal.SIGUSR2]
    assert (signal.getsignal(signal.SIGUSR1), signal.getsignal(signal.SIGUSR2)) == before


def test_the_previous_handler_is_restored_after_an_error() -> None:
    before = signal.getsignal(signal.SIGUSR1)
    with (
        pytest.raises(ValueError, match="an error"),
        signals.handled(signal.SIG_IGN, signal.SIGUSR1),
    ):
        raise ValueError("an error")
    assert signal.getsignal(signal.SIGUSR1) is before


@in_own_process
def test_a_handler_that_the_block_replaces_is_restored() -> None:
    """As Ray replaces the handler of SIGTERM when it starts."""
    received: list[str] = []
    with signals.handled(lambda *_: received.append("ours"), signal.SIGUSR1):
        with signals.kept(signal.SIGUSR1):
            signal.signal(signal.SIGUSR1, lambda *_: received.append("another"))
            signal.raise_signal(signal.SIGUSR1)
        signal.raise_signal(signal.SIGUSR1)
    assert received == ["another", "ours"]


def test_nothing_changes_in_other_threads() -> None:
    before = signal.getsignal(signal.SIGUSR1)
    during: list[object] = []

    def work() -> None:
        with signals.handled(signal.SIG_IGN, signal.SIGUSR1):
            during.append(signal.getsignal(signal.SIGUSR1))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(10)
    assert during == [before]


@in_own_process
def test_an_interrupt_is_remembered_when_native_code_replaces_its_exception() -> None:
    # These tests may run in the background themselves.
    with signals.handled(signal.default_int_handler, signal.SIGINT):
        with signals.remembered_interrupt() as was_interrupted:
            assert not was_interrupted()
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
            assert was_interrupted()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@in_own_process
def test_an_interrupt_of_a_process_in_the_background_stays_ignored() -> None:
    """A shell starts `command &` so."""
    with signals.handled(signal.SIG_IGN, signal.SIGINT):
        with signals.remembered_interrupt() as was_interrupted:
            signal.raise_signal(signal.SIGINT)
        assert not was_interrupted()


@in_own_process
def test_a_signal_that_is_sent_twice_interrupts_once() -> None:
    """`timeout` sends it to its command, and then to the group of the command."""
    times = iter([10.0, 10.5])
    with signals.interrupting(signal.SIGTERM, clock=lambda: next(times)):
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@in_own_process
def test_a_second_signal_interrupts_again() -> None:
    times = iter([10.0, 11.5])
    with signals.interrupting(signal.SIGTERM, clock=lambda: next(times)):
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGTERM)
