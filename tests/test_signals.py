"""Signals end a run at once, at the end of a block that defers them, or never where they are
ignored.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest

from leastpriv.errors import Signals, Stopped, caught_signals

TERMINATION = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
pytestmark = pytest.mark.usefixtures("default_signals")


def send(*numbers: int) -> None:
    for number in numbers:
        os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", TERMINATION)
def test_each_signal_of_termination_stops_the_run_and_is_named(number: signal.Signals) -> None:
    with pytest.raises(Stopped) as stopped, caught_signals():
        send(number)
    assert stopped.value.signal == number


def test_each_further_signal_stops_what_runs_after_the_first() -> None:
    with caught_signals() as signals:
        for number in TERMINATION:
            with pytest.raises(Stopped):
                send(number)
        assert signals.received == [*TERMINATION]


def test_only_the_first_signal_stops_the_run_where_that_is_asked_for() -> None:
    with caught_signals(first_only=True) as signals:
        with pytest.raises(Stopped) as stopped:
            send(signal.SIGTERM)
        send(signal.SIGINT, signal.SIGHUP, signal.SIGTERM)
        assert (stopped.value.signal, len(signals.received)) == (signal.SIGTERM, 4)


def test_a_block_that_records_signals_runs_to_its_end_and_raises_none() -> None:
    with caught_signals() as signals, signals.recorded():
        send(signal.SIGINT, signal.SIGTERM)
        assert signals.received == [signal.SIGINT, signal.SIGTERM]


def finish(done: list[str], *, fails: bool) -> None:
    send(signal.SIGTERM)
    done.append("finished")
    if fails:
        raise ValueError


@pytest.mark.parametrize("fails", [False, True])
def test_a_deferred_signal_stops_the_run_at_the_end_of_the_block_also_where_the_block_fails(
    fails: bool,
) -> None:
    done: list[str] = []
    with caught_signals() as signals:
        with pytest.raises(Stopped) as stopped, signals.deferred():
            finish(done, fails=fails)
        with signals.deferred():
            done.append("no further signal")
    assert (stopped.value.signal, done) == (signal.SIGTERM, ["finished", "no further signal"])


def test_a_recorded_signal_stops_the_next_block_that_delivers_signals_before_it_begins() -> None:
    with caught_signals() as signals, signals.recorded():
        send(signal.SIGINT)
        done = []
        with pytest.raises(Stopped), signals.delivered():
            done.append("begun")
        assert (signals.received, done) == ([signal.SIGINT], [])
        send(signal.SIGINT)


def test_a_signal_stops_a_block_that_delivers_signals_inside_one_that_records_them() -> None:
    with caught_signals(first_only=True) as signals, signals.recorded():
        with pytest.raises(Stopped), signals.delivered():
            send(signal.SIGINT)
        send(signal.SIGINT)
        assert len(signals.received) == 2


def test_the_handlers_of_before_are_back_afterwards() -> None:
    before = [signal.getsignal(number) for number in TERMINATION]
    with caught_signals():
        assert [signal.getsignal(number) for number in TERMINATION] != before
    assert [signal.getsignal(number) for number in TERMINATION] == before


def test_two_records_of_signals_share_no_signal() -> None:
    one, other = Signals(), Signals()
    with pytest.raises(Stopped):
        one.handle(signal.SIGINT)
    assert other.received == []


def test_a_thread_other_than_the_main_one_catches_no_signal() -> None:
    found = []

    def enter() -> None:
        with caught_signals():
            found.append([signal.getsignal(number) for number in TERMINATION])

    before = [signal.getsignal(number) for number in TERMINATION]
    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert found == [before]


PROGRAM = """
import sys
from leastpriv.errors import Stopped, caught_signals
try:
    with caught_signals() as signals:
        for line in sys.stdin:
            print("received", signals.received, flush=True)
except Stopped as stopped:
    print("stopped by", stopped.signal, flush=True)
"""


@pytest.mark.parametrize(
    ("trap", "answer"),
    [("trap '' HUP", "received []\n"), (":", f"stopped by {signal.SIGHUP.value}\n")],
)
def test_a_process_started_with_sighup_ignored_goes_on_ignoring_it(trap: str, answer: str) -> None:
    """`nohup leastpriv …` survives the end of its terminal; without nohup the same process
    stops.
    """
    command = ["sh", "-c", f'{trap}; exec "$@"', "sh", sys.executable, "-c", PROGRAM]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write("\n")
        assert process.stdout.readline() == "received []\n"
        process.send_signal(signal.SIGHUP)
        if answer.startswith("received"):
            process.stdin.write("\n")
        assert process.stdout.readline() == answer
        process.stdin.close()
        assert process.wait(timeout=60) == 0
