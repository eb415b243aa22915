"""What a collector keeps of too many values, so that the order of the records makes no difference.

A limit that keeps the first values gives another result for each order of the files. These keep
what the values themselves decide: the smallest ones, or all of them at a wider level.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Mapping
from typing import Any, Generic, TypeVar

from msgspec import Struct

WIDEST_LEVEL = 3

Key = TypeVar("Key", bound=Hashable)


class KeyCount(Struct, Generic[Key], array_like=True):
    """How often a key was counted."""

    key: Key
    count: int


class Counted(Struct, Generic[Key], array_like=True):
    """What a counter counted."""

    detailed: list[KeyCount[Key]]
    rest: list[KeyCount[Key]]
    """Keys without the detail of those past the limit."""


class BoundedCounts(Generic[Key]):
    """Counts keys; past a limit the largest keys are counted without their detail."""

    def __init__(
        self, most: int, order: Callable[[Key], Any], without_detail: Callable[[Key], Key]
    ) -> None:
        """Creates an empty counter.

        Args:
            most: number of keys whose detail is kept.
            order: the value by which keys are sorted.
            without_detail: the key under which a key past the limit counts.
        """
        self._most = most
        self._order = order
        self._without_detail = without_detail
        self._counts: dict[Key, int] = {}
        self._rest: dict[Key, int] = {}

    def add(self, key: Key, count: int) -> None:
        """Adds a count to a key."""
        self._counts[key] = self._counts.get(key, 0) + count
        # Twice the limit: a sort for each key past it would take long.
        if len(self._counts) > 2 * self._most:
            self._drop_details()

    def counts(self) -> Counted[Key]:
        """Returns the counts, for another counter to add."""
        self._drop_details()
        return Counted(_as_list(self._counts), _as_list(self._rest))

    def absorb(self, other: Counted[Key]) -> None:
        """Adds the counts of another counter with the same limit."""
        for detailed in other.detailed:
            self.add(detailed.key, detailed.count)
        for general in other.rest:
            self._rest[general.key] = self._rest.get(general.key, 0) + general.count

    def totals(self) -> list[KeyCount[Key]]:
        """Returns the keys with their counts, sorted."""
        self._drop_details()
        totals = Counter(self._counts)
        totals.update(self._rest)
        return sorted(_as_list(totals), key=lambda total: self._order(total.key))

    def _drop_details(self) -> None:
        if len(self._counts) <= self._most:
            return
        for key in sorted(self._counts, key=self._order)[self._most :]:
            general = self._without_detail(key)
            self._rest[general] = self._rest.get(general, 0) + self._counts.pop(key)


def _as_list(counts: Mapping[Key, int]) -> list[KeyCount[Key]]:
    return [KeyCount(key, count) for key, count in counts.items()]


class ListedResources(Struct, array_like=True):
    """The resources of one action, or the patterns over them, at one level."""

    level: int
    resources: set[str]


class ResourceList:
    """The resources of one action, at the finest level at which there are few enough.

    Memory: object keys took 216 MB of a trail of 5 GB.
    """

    def __init__(self, most: int) -> None:
        """`most`: number of resources up to which all are listed."""
        self._most = most
        self._seen: set[str] = set()
        self.level = 0
        """0: every resource; 1: its folder; 2: its first part; 3: its account."""

    def add(self, resource: str) -> None:
        """Adds a resource, and raises the level where there are too many."""
        self._seen.add(at_level(resource, self.level))
        self._widen()

    def listed(self) -> ListedResources:
        """Returns the list, for another one to add."""
        return ListedResources(self.level, self._seen)

    def absorb(self, other: ListedResources) -> None:
        """Adds another list of the same action."""
        if other.level > self.level:
            self._raise_to(other.level)
        self._seen.update([at_level(resource, self.level) for resource in other.resources])
        self._widen()

    def _widen(self) -> None:
        while len(self._seen) > self._most and self.level < WIDEST_LEVEL:
            self._raise_to(self.level + 1)

    def _raise_to(self, level: int) -> None:
        self.level = level
        self._seen = {at_level(resource, level) for resource in self._seen}


def at_level(resource: str, level: int) -> str:
    """Returns a resource, or the pattern over it at a level: `b/x/*`, `b/*`, then the account.

    A pattern of a finer level gives the same pattern as its resources do.
    """
    if level == 0:
        return resource
    head, slash, path = resource.partition("/")
    if level == WIDEST_LEVEL or not slash:
        return ":".join(resource.split(":", 5)[:5]) + ":*"
    folder = path.rpartition("/")[0]
    return f"{head}/{folder}/*" if folder and level == 1 else f"{head}/*"
