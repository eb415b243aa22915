"""Signals that ask a run to end, and who hears them for a while."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from types import FrameType

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C, a polite request to end, and a terminal that was closed."""

Handler = Callable[[int, FrameType | None], None]


@contextmanager
def heard_by(handler: Handler, numbers: Collection[signal.Signals] = ENDING) -> Iterator[None]:
    """Inside, the handler hears these signals; elsewhere than in the main thread, which alone hears any, nothing."""
    is_main = threading.current_thread() is threading.main_thread()
    before = {number: signal.signal(number, handler) for number in (numbers if is_main else ())}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)
