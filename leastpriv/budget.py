"""Bounds the work that text of others can cause, and walks references without following a cycle.

A pull request's author writes templates, HCL and plans. A few lines of them can ask for gigabytes.
Whatever evaluates such text spends from one budget. What comes after the last step is not known:
too large, and the run continues.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Hashable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Literal, TypeVar

from msgspec import Struct

from leastpriv.errors import CycleError, TooLargeError

Work = Literal["policy", "template", "plan", "needs", "log"]
"""What a budget is for."""

_Key = TypeVar("_Key", bound=Hashable)


class Limits(Struct, frozen=True, kw_only=True):
    """The most that one piece of work may take."""

    steps: int
    """Expressions that are evaluated, values that are copied, parts of a log that are parsed."""
    characters: int
    """Characters of all texts that are made or read; of a log, those near a denial's words."""
    files: int
    """Files that are read."""
    seconds: float
    """A last resort for what the other limits do not count."""
    reason: str
    """What honest input has."""


LIMITS: Mapping[Work, Limits] = MappingProxyType(
    {
        "policy": Limits(
            steps=200_000,
            characters=20_000_000,
            files=1_000,
            seconds=5,
            reason="IAM takes policies of 10,240 characters",
        ),
        "template": Limits(
            steps=1_000_000,
            characters=20_000_000,
            files=200,
            seconds=5,
            reason="CloudFormation takes templates of 1 MB with 500 resources",
        ),
        "plan": Limits(
            steps=5_000_000,
            characters=200_000_000,
            files=10,
            seconds=10,
            reason="a plan has each resource twice, with its values before and after",
        ),
        "needs": Limits(
            steps=2_000_000,
            characters=200_000_000,
            files=0,
            seconds=10,
            reason="a plan of 2,000 resources needs 10,000 permissions",
        ),
        "log": Limits(
            steps=20_000,
            characters=64_000_000,
            files=10_000,
            seconds=15,
            reason="a failed deploy prints a few hundred denials; a run has at most 1,000 jobs",
        ),
    }
)
"""Quotas of IAM and CloudFormation
(https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html,
https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html, read
2026-12-01)."""


_SPENDINGS_PER_LOOK = 8
"""How often the clock is read, which takes longer than most steps."""


class Budget:
    """The work that is left; each evaluation of one input has its own."""

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.thread_time) -> None:
        self.limits = limits
        self.steps = 0
        self.characters = 0
        self.files = 0
        self._clock = clock
        self._end = clock() + limits.seconds
        self._is_late = False
        self._spendings = 0

    @classmethod
    def of(cls, work: Work, clock: Callable[[], float] = time.thread_time) -> Budget:
        """Returns a full budget for a kind of work.

        Args:
            work: What the budget is for.
            clock: Seconds that pass, such as those of the thread's processor time.
        """
        return cls(LIMITS[work], clock)

    def spend(self, *, steps: int = 1, characters: int = 0, files: int = 0) -> None:
        """Counts work before it is done.

        Args:
            steps: Expressions to evaluate or values to copy.
            characters: Characters of a text to make or to read.
            files: Files to read.

        Raises:
            TooLargeError: The work is more than the budget that is left; so is all that follows.
        """
        self.steps += steps
        self.characters += characters
        self.files += files
        if self._spendings % _SPENDINGS_PER_LOOK == 0:
            self._is_late = self._is_late or self._clock() > self._end
        self._spendings += 1
        if exceeded := self.exceeded:
            raise TooLargeError(exceeded)

    @property
    def exceeded(self) -> str:
        """The limit that is exceeded, such as `200,000 steps`; empty for none."""
        if self.steps > self.limits.steps:
            return f"{self.limits.steps:,} steps"
        if self.characters > self.limits.characters:
            return f"{self.limits.characters:,} characters"
        if self.files > self.limits.files:
            return f"{self.limits.files:,} files"
        return f"{self.limits.seconds:g} seconds" if self._is_late else ""


def dependencies_first(
    start: _Key,
    references: Callable[[_Key], Iterable[_Key]],
    known: Container[_Key],
    budget: Budget,
) -> Iterator[_Key]:
    """Yields what a definition refers to and then itself, each once and after all it refers to.

    The walk needs no recursion, so that a chain of definitions may have any length.

    Args:
        start: The definition.
        references: Returns the definitions that a definition refers to.
        known: Definitions that need no further visit.
        budget: Pays a step for each visit.

    Raises:
        CycleError: Definitions refer to each other; the message has their path.
        TooLargeError: The budget is spent.
    """
    if start in known:
        return
    done: set[_Key] = set()
    path: dict[_Key, Iterator[_Key]] = {start: iter(references(start))}
    while path:
        current = next(reversed(path))
        budget.spend()
        following = next(path[current], None)
        if following is None:
            del path[current]
            done.add(current)
            yield current
        elif following in path:
            cycle = [*path][[*path].index(following) :]
            raise CycleError([*map(_spelled, cycle), _spelled(following)])
        elif following not in done and following not in known:
            path[following] = iter(references(following))


def _spelled(key: object) -> str:
    return ".".join(map(str, key)) if isinstance(key, tuple) else str(key)
