"""Signals that end a run while it has something of its own going on at AWS: none is lost, and none comes in between."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from leastpriv.signals import heard_by


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
