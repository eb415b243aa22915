"""Signals that ask a run to end, and who hears them for a while.

Signals that end a run while it has something of its own going on at AWS: none is lost, and none comes in between.

Signals that end a trial: the first ends it in order, and none takes what it found or leaves what it made.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C, a polite request to end, and a terminal that was closed."""

Handler = Callable[[int, FrameType | None], None]


@contextmanager
def heard_by(handler: Handler) -> Iterator[None]:
    """Inside, the handler hears these signals, but those that the caller ignores (`nohup`).

    Elsewhere than in the main thread, which alone hears any, it hears nothing.
    """
    is_main = threading.current_thread() is threading.main_thread()
    heard = [each for each in ENDING if is_main and signal.getsignal(each) not in (signal.SIG_IGN, None)]
    before = {number: signal.signal(number, handler) for number in heard}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


class Interruption:
    """The signals that were heard; each ends what is done, unless signals are held."""

    def __init__(self) -> None:
        self._was_heard = False
        self._is_held = False

    def hear(self, number: int, _frame: FrameType | None = None) -> None:
        """A handler of signals.

        Raises:
            KeyboardInterrupt: signals are not held.
        """
        self._was_heard = True
        if not self._is_held:
            raise KeyboardInterrupt(number)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Inside, signals are only noted; a request that makes something has to give its name before the run ends.

        Raises:
            KeyboardInterrupt: at the end, if there was one.
        """
        self._was_heard, self._is_held = False, True
        try:
            yield
        finally:
            self._is_held = False
            if self._was_heard:
                raise KeyboardInterrupt


@contextmanager
def listening() -> Iterator[Interruption]:
    """Inside, Ctrl-C, SIGTERM and SIGHUP are heard, also as the first process of a container, which gets none else.

    A signal that the caller ignores (`nohup`) stays ignored.
    """
    heard = Interruption()
    with heard_by(heard.hear):
        yield heard


class Stopped(KeyboardInterrupt):
    """A signal asked the trial to end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.signal = number


class Signals:
    """The signals that were heard. The first raises `Stopped`, unless they are held; no other ever does."""

    def __init__(self) -> None:
        self.heard: list[int] = []
        """Their numbers, in the order in which they came."""
        self._are_held = False

    def hear(self, number: int, _frame: FrameType | None = None) -> None:
        """A handler of signals.

        Raises:
            Stopped: it is the first, and signals are not held.
        """
        self.heard.append(number)
        if len(self.heard) == 1 and not self._are_held:
            raise Stopped(number)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Inside, signals are only noted."""
        before, self._are_held = self._are_held, True
        try:
            yield
        finally:
            self._are_held = before

    @contextmanager
    def raised(self) -> Iterator[None]:
        """Inside, also where that is within `held`, the first signal ends what is done; one noted before does at once.

        Raises:
            Stopped: there was or is one.
        """
        before, self._are_held = self._are_held, False
        try:
            if self.heard:
                raise Stopped(self.heard[0])
            yield
        finally:
            self._are_held = before


@contextmanager
def listening_for_stop() -> Iterator[Signals]:
    """Inside, Ctrl-C, SIGTERM and SIGHUP are heard by what this yields."""
    signals = Signals()
    with heard_by(signals.hear):
        yield signals
