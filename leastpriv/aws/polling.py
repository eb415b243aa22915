"""Waiting for work that AWS does in the background: ever longer pauses, a line of progress, and an end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

_Found = TypeVar("_Found")
_SAY_AFTER = timedelta(seconds=20)


@dataclass(frozen=True, slots=True)
class Waiting:
    """How long to wait, and how; clock and sleep are the caller's."""

    clock: Callable[[], datetime]
    sleep: Callable[[float], None]
    """Seconds."""
    say: Callable[[str], None]
    longest: timedelta = timedelta(minutes=15)
    first: float = 1.0
    """Seconds before the second question; each further pause is half as long again."""
    most: float = 30.0

    def until(self, ask: Callable[[], _Found | None], what: str) -> _Found | None:
        """Asks until there is an answer; None when `longest` has passed."""
        began = self.clock()
        pause, said = self.first, began
        while (answer := ask()) is None:
            now = self.clock()
            if now - began >= self.longest:
                return None
            if now - said >= _SAY_AFTER:
                said = now
                self.say(f"… waiting for {what} for {(now - began).total_seconds():.0f} s")
            self.sleep(pause)
            pause = min(pause * 1.5, self.most)
        return answer
