"""Signals that end a trial: the first ends it in order, and none takes what it found or leaves what it made."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from leastpriv.signals import heard_by


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
def listening() -> Iterator[Signals]:
    """Inside, Ctrl-C, SIGTERM and SIGHUP are heard by what this yields."""
    signals = Signals()
    with heard_by(signals.hear):
        yield signals
