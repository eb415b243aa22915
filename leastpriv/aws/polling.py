"""Waits for work that AWS does in the background, with growing pauses, progress messages and a time limit."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

_log = logging.getLogger(__name__)

_Found = TypeVar("_Found")
_SAY_AFTER = timedelta(seconds=20)


@dataclass(frozen=True, slots=True)
class Polling:
    """How to wait, and how long; the caller supplies clock and sleep."""

    clock: Callable[[], datetime]
    sleep: Callable[[float], None]
    """Seconds."""
    longest: timedelta = timedelta(minutes=15)
    first: float = 1.0
    """Seconds before the second request; each further pause is 1.5 times as long."""
    most: float = 30.0

    def until(self, ask: Callable[[], _Found | None], what: str) -> _Found | None:
        """Repeats the request until there is an answer; None after `longest`."""
        began = self.clock()
        pause, said = self.first, began
        while (answer := ask()) is None:
            now = self.clock()
            if now - began >= self.longest:
                return None
            if now - said >= _SAY_AFTER:
                said = now
                _log.info(f"… waiting for {what} for {(now - began).total_seconds():.0f} s")
            self.sleep(pause)
            pause = min(pause * 1.5, self.most)
        return answer
