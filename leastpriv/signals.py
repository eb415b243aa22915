"""Signals that ask a run to end, and who hears them for a while."""

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
