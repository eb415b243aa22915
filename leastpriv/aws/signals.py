"""Catch the signals that ask a run to end while it must not lose an id, or leave behind a resource that it created."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from msgspec import Struct

TERMINATION = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C, a request to end, and a terminal that was closed."""


class Stopped(KeyboardInterrupt):
    """A signal asked the run to end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.signal = number


class Signals(Struct):
    """The signals received so far. Each raises `Stopped` unless signals are blocked."""

    first_only: bool = False
    """Only the first signal may raise `Stopped`."""
    received: list[int] = []
    """Their numbers, in the order of arrival."""
    _is_blocked: bool = False

    def handle(self, number: int, _frame: FrameType | None = None) -> None:
        """Record a signal; a handler for `signal.signal`.

        Raises Stopped where signals are not blocked, and this is the first signal or `first_only` is not set.
        """
        self.received.append(number)
        if not self._is_blocked and not (self.first_only and len(self.received) > 1):
            raise Stopped(number)

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """Record signals inside the block and raise for none of them."""
        before, self._is_blocked = self._is_blocked, True
        try:
            yield
        finally:
            self._is_blocked = before

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Record signals inside the block and raise at its end, whether the block succeeds or fails.

        Raises Stopped where a signal arrived inside the block.
        """
        count = len(self.received)
        try:
            with self.recorded():
                yield
        finally:
            if len(self.received) > count:
                raise Stopped(self.received[count])

    @contextmanager
    def delivered(self) -> Iterator[None]:
        """Let a signal raise inside the block, also where an outer block records signals.

        Raises Stopped where a signal arrived before the block, or arrives inside it.
        """
        before, self._is_blocked = self._is_blocked, False
        try:
            if self.received:
                raise Stopped(self.received[0])
            yield
        finally:
            self._is_blocked = before


@contextmanager
def caught_signals(*, first_only: bool = False) -> Iterator[Signals]:
    """Catch the signals of `TERMINATION` inside the block; the first process of a container receives them only so.

    A signal that the process ignores, as under `nohup`, remains ignored. Outside the main thread, which alone receives
    signals, none is caught.
    """
    signals = Signals(first_only)
    is_main = threading.current_thread() is threading.main_thread()
    caught = [each for each in TERMINATION if is_main and signal.getsignal(each) not in (signal.SIG_IGN, None)]
    before = {number: signal.signal(number, signals.handle) for number in caught}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
