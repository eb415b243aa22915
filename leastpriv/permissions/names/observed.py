"""What the runs of a target show of its names."""

from __future__ import annotations

from msgspec import Struct


class NameUse(Struct, frozen=True):
    """One action on one resource in some runs; the call succeeded."""

    action: str
    resource: str
    runs: tuple[str, ...]
    creates: bool = False
    """The action makes the resource or a part of it."""
    destroys: bool = False
    """The action takes the resource, or a part of it, away."""
    unnamed_makers: tuple[str, ...] = ()
    """Actions that made resources of its type, and that AWS authorizes on `*`."""
    made_ids: tuple[str, ...] = ()
    """The resource up to each id in it that AWS chose when a run made something."""


class RunFacts(Struct, frozen=True):
    """What a run shows of itself."""

    id: str
    branch: str | None = None
    """The branch or pull request of its login; None where it is not known."""
    words: frozenset[str] = frozenset()
    """The words of its branch or pull request in lower case."""
    numbers: frozenset[str] = frozenset()
    """Its id and the numbers of its session, which no other run has."""
    day: str = ""
    """The day on which it began, `20261128`."""


class DeclaredCopies(Struct, frozen=True):
    """The copies of the app that its owner names."""

    long_lived: tuple[str, ...] = ()
    """Words, `prod`."""
    short_lived: tuple[str, ...] = ()
    """Words or forms with a wildcard, `pr-*`."""


UNDECLARED = DeclaredCopies()
"""What an owner says who says nothing."""
