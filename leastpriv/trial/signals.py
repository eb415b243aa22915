"""Signals that end a trial: they end it in order, and never in the midst of removing what it made."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_ENDING = (signal.SIGTERM, signal.SIGHUP)
_ALL = (signal.SIGINT, *_ENDING)


class Stopped(KeyboardInterrupt):
    """A signal other than Ctrl-C asked the trial to end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.signal = number


@contextmanager
def stopping() -> Iterator[None]:
    """Inside, SIGTERM and SIGHUP raise `Stopped`, as Ctrl-C raises KeyboardInterrupt."""

    def stop(number: int, _frame: FrameType | None) -> None:
        raise Stopped(number)

    with _handled(_ENDING, stop):
        yield


@contextmanager
def undisturbed() -> Iterator[None]:
    """Inside, no signal ends the program: what was made in the account is removed whole."""
    with _handled(_ALL, signal.SIG_IGN):
        yield


@contextmanager
def _handled(numbers: tuple[signal.Signals, ...], handler: object) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        # Only the main thread hears signals.
        yield
        return
    before = {number: signal.signal(number, handler) for number in numbers}  # type: ignore[arg-type]
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)
