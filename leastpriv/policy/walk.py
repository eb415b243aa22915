"""All texts that a pattern describes at once: an automaton over many patterns, walked from the shortest text on.

A pattern is a chain of places joined by the characters that lead from one to the next; `*` is a place where one may
stay. All patterns together are one number whose bits are the places reached, so that reading a character is a shift
and two masks. Walking all numbers that can be reached finds for every combination of patterns whether some text
belongs to just that combination. Their number may grow beyond all bounds for hostile patterns, which is what `Effort`
is for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from leastpriv.permissions.patterns import ANY, ONE, tokens_of

_FILLERS = "xyzabcdefghijklmnopqrstuvw0123456789-_/"


class EffortError(Exception):
    """The patterns are too entangled to be told apart in reasonable time; caught where the question was asked."""


@dataclass(slots=True)
class Effort:
    """How many steps may still be taken; a step is roughly a microsecond."""

    left: int

    def spend(self, steps: int) -> None:
        """Take steps.

        Raises EffortError when none is left.
        """
        self.left -= steps
        if self.left < 0:
            raise EffortError


@dataclass(frozen=True, slots=True)
class Element:
    """The patterns of an Action or Resource element, or those that a NotAction or NotResource element excludes."""

    patterns: tuple[str, ...]
    negated: bool = False


@dataclass(frozen=True, slots=True)
class _Chain:
    """A pattern as places 0 … `last`, each a bit."""

    last: int
    literal: tuple[tuple[str, int], ...]
    """Character -> places that it leads on from."""
    any_one: int
    """Places that any character leads on from."""
    stay: int
    """Places where any character may stay."""


@lru_cache(maxsize=8192)
def _chain(pattern: str, escapes: bool) -> _Chain:
    literal: dict[str, int] = {}
    place = any_one = stay = 0
    for token in tokens_of(pattern, escapes):
        if token is ANY:
            stay |= 1 << place
            continue
        if token is ONE:
            any_one |= 1 << place
        else:
            literal[str(token)] = literal.get(str(token), 0) | 1 << place
        place += 1
    return _Chain(place, tuple(literal.items()), any_one, stay)


class Walk:
    """All texts of a domain at once, shortest first, and the elements that have them."""

    def __init__(self, domain: Element, elements: Sequence[Element], actions: bool, effort: Effort) -> None:
        self.domain = domain
        self.elements = elements
        self.effort = effort
        self.start = self.any_one = self.stay = self.width = 0
        self.literal: dict[str, int] = {}
        self.alive, self.in_domain = self._add(domain, not actions)
        self.ends = [self._add(element, not actions)[1] for element in elements]
        self.filler = next(filler for filler in self._fillers() if filler not in self.literal)

    def _fillers(self) -> Iterator[str]:
        yield from _FILLERS
        yield from map(chr, range(0x4E00, 0x9FFF))

    def _add(self, element: Element, escapes: bool) -> tuple[int, int]:
        """Add an element's patterns; returns all their places, and their last ones."""
        first, ends = self.width, 0
        for pattern in element.patterns:
            chain, at = _chain(pattern, escapes), self.width
            self.start |= 1 << at
            self.any_one |= chain.any_one << at
            self.stay |= chain.stay << at
            for char, places in chain.literal:
                self.literal[char] = self.literal.get(char, 0) | places << at
            ends |= 1 << at + chain.last
            self.width = at + chain.last + 1
        return (1 << self.width) - (1 << first), ends

    def texts(self) -> Iterator[tuple[int, str]]:
        """Yield each combination of elements that a text of the domain has (bits by place), with a shortest such."""
        came_from: dict[int, tuple[int | None, str]] = {}
        queue, seen = deque[int](), set[int]()
        cost = 4 + (len(self.literal) + len(self.elements)) * (1 + self.width // 512) // 8
        self._open(self.start, None, came_from, queue)
        while queue:
            places = queue.popleft()
            self.effort.spend(cost)
            if bool(places & self.in_domain) != self.domain.negated:
                found = self._found(places)
                if found not in seen:
                    seen.add(found)
                    yield found, _text(places, came_from)
            self._open(places, places, came_from, queue)

    def _open(
        self, places: int, origin: int | None, came_from: dict[int, tuple[int | None, str]], queue: deque[int]
    ) -> None:
        """Read one more character, each that any pattern names and one that none does."""
        otherwise = (places & self.any_one) << 1 | places & self.stay
        steps = [(char, otherwise | lead << 1) for char, leads in self.literal.items() if (lead := places & leads)]
        for char, following in (*steps, (self.filler, otherwise)):
            hopeless = not (following & self.alive or self.domain.negated)
            if not hopeless and following not in came_from:
                came_from[following] = (origin, char)
                queue.append(following)

    def _found(self, places: int) -> int:
        found = 0
        for place, (element, ends) in enumerate(zip(self.elements, self.ends, strict=True)):
            found |= (bool(places & ends) != element.negated) << place
        return found


def _text(places: int, came_from: dict[int, tuple[int | None, str]]) -> str:
    chars: list[str] = []
    at: int | None = places
    while at is not None:
        at, char = came_from[at]
        chars.append(char)
    return "".join(reversed(chars))
