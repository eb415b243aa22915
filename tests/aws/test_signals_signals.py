"""The promises of signals: the first ends the trial once, and none does while something is at stake."""

from __future__ import annotations

import os
import signal

import pytest

from leastpriv.aws.signals import Signals, Stopped, listening_for_stop


def test_the_first_signal_stops_and_no_other_does() -> None:
    with listening_for_stop() as signals:
        with pytest.raises(Stopped) as stopped:
            os.kill(os.getpid(), signal.SIGTERM)
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
            os.kill(os.getpid(), number)
        assert (stopped.value.signal, len(signals.heard)) == (signal.SIGTERM, 4)


def test_what_is_held_is_noted_and_ends_the_next_that_may_be_ended() -> None:
    with listening_for_stop() as signals, signals.held():
        os.kill(os.getpid(), signal.SIGINT)
        done = []
        with pytest.raises(Stopped), signals.raised():
            done.append("begun")
        assert (signals.heard, done) == ([signal.SIGINT], [])
        os.kill(os.getpid(), signal.SIGINT)


def test_within_what_is_held_a_part_may_be_ended() -> None:
    with listening_for_stop() as signals, signals.held():
        with pytest.raises(Stopped), signals.raised():
            os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        assert len(signals.heard) == 2


def test_what_was_before_hears_signals_afterwards() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    with listening_for_stop():
        pass
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before


def test_signals_are_independent_of_each_other() -> None:
    one, other = Signals(), Signals()
    with pytest.raises(Stopped):
        one.hear(signal.SIGINT)
    assert other.heard == []


def test_a_signal_that_the_caller_ignores_stays_ignored() -> None:
    """`nohup leastpriv trial …`: the terminal may be closed."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with listening_for_stop() as signals:
            os.kill(os.getpid(), signal.SIGHUP)
        assert signals.heard == []
    finally:
        signal.signal(signal.SIGHUP, before)
