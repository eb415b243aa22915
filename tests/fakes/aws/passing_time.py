"""A clock that only sleeping advances, so that no test waits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta


@dataclass(slots=True)
class PassingTime:
    """The time of a test: `sleep` advances it, `until` runs an action at a time on the way."""

    now: datetime
    slept: list[float] = field(default_factory=list)
    on_sleep: Callable[[], None] = lambda: None

    def clock(self) -> datetime:
        """The time."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Advance the time."""
        self.slept.append(seconds)
        self.now += timedelta(seconds=seconds)
        self.on_sleep()
