"""A clock that only sleeping moves, so that no test waits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta


@dataclass(slots=True)
class PassingTime:
    """The time of a test: `sleep` passes it on, `until` lets something happen on the way."""

    now: datetime
    slept: list[float] = field(default_factory=list)
    on_sleep: Callable[[], None] = lambda: None

    def clock(self) -> datetime:
        """The time."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.slept.append(seconds)
        self.now += timedelta(seconds=seconds)
        self.on_sleep()
