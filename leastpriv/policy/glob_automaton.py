"""Sets of texts that patterns describe, and what they have in common, exactly: by automata, not by sampling.

Most questions need no automaton: two patterns are compared as they stand, and only what that leaves open is walked.

All texts that a pattern describes at once: an automaton over many patterns, walked from the shortest text on.

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

from leastpriv.permissions.patterns import (
    ANY,
    ONE,
    action_matches,
    covers,
    folded,
    literal_of,
    resource_covers,
    resource_matches,
    tokens_of,
)

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


_COVER = 12
"""Steps that comparing two patterns takes, as a walk counts them."""


@dataclass(frozen=True, slots=True)
class Reach:
    """What is known of a domain without a walk, as bits that stand for elements."""

    whole: int
    """Elements that have all of it."""
    part: int
    """Elements that may have a part of it, or all."""


class Universe:
    """Some elements, of which each is asked what it shares with others; an element's bit is `1 << its index`.

    Actions are compared without case; resources read `${*}`, `${?}`, `${$}` as the characters. The empty text is no
    member of the universe: there is no such action or resource.
    """

    def __init__(self, elements: Sequence[Element], *, actions: bool, effort: Effort) -> None:
        self.actions = actions
        self.effort = effort
        self.elements = [Element(tuple(map(self._spelled, each.patterns)), each.negated) for each in elements]
        self._literals: dict[str, int] = {}
        self._globs: list[tuple[str, int]] = []
        self._negated = 0
        for index, element in enumerate(self.elements):
            self._negated |= element.negated << index
            for pattern in element.patterns:
                self._file(pattern, 1 << index)
        self._known: dict[str, int] = {}
        self._reaches: dict[Element, Reach] = {}

    def _spelled(self, pattern: str) -> str:
        return folded(pattern) if self.actions else pattern

    def _file(self, pattern: str, bit: int) -> None:
        text = literal_of(pattern, not self.actions)
        if text is None:
            self._globs.append((pattern, bit))
        else:
            self._literals[text] = self._literals.get(text, 0) | bit

    def text(self, domain: Element) -> str | None:
        """Return the only member of a domain of one literal pattern; None for any other."""
        if domain.negated or len(domain.patterns) != 1:
            return None
        return literal_of(self._spelled(domain.patterns[0]), not self.actions)

    def membership(self, text: str) -> int:
        """Return the bits of all elements that have `text`, a plain text."""
        text = self._spelled(text)
        known = self._known.get(text)
        if known is None:
            known = self._literals.get(text, 0)
            for pattern, bit in self._globs:
                self.effort.spend(1 + len(pattern) * len(text) // 4096)
                if not known & bit and self._match(pattern, text):
                    known |= bit
            known = self._known[text] = known ^ self._negated
        return known

    def _match(self, pattern: str, text: str) -> bool:
        return action_matches(pattern, text) if self.actions else resource_matches(pattern, text)

    def reach(self, domain: Element) -> Reach:
        """Compare a domain with each element, pattern by pattern: quick, and sure only in what it calls whole or none.

        Raises EffortError.
        """
        text = self.text(domain)
        if text is not None:
            return Reach(self.membership(text), 0)
        found = self._reaches.get(domain)
        if found is None:
            spelled = Element(tuple(map(self._spelled, domain.patterns)), domain.negated)
            whole = part = 0
            for index, element in enumerate(self.elements):
                has_all, has_some = self._compare(spelled, element)
                whole |= has_all << index
                part |= (has_some and not has_all) << index
            found = self._reaches[domain] = Reach(whole, part)
        return found

    def _compare(self, domain: Element, element: Element) -> tuple[bool, bool]:
        """Tell whether the element has all of the domain for sure, and whether it may have some of it."""
        if domain.negated:
            # Everything but some patterns: sure are only the same exclusion, and a subset of it.
            if element.negated:
                return set(element.patterns) <= set(domain.patterns), True
            return "*" in element.patterns, True
        covered = all(any(self._covers(pattern, each) for pattern in element.patterns) for each in domain.patterns)
        met = any(self._may_meet(pattern, each) for pattern in element.patterns for each in domain.patterns)
        return (not met, not covered) if element.negated else (covered, met)

    def _covers(self, pattern: str, other: str) -> bool:
        if pattern in (other, "*"):
            return True
        if not _may_meet(pattern, other, self.actions):
            return False
        self.effort.spend(_COVER + len(pattern) * len(other) // 64)
        return covers(pattern, other) if self.actions else resource_covers(pattern, other)

    def _may_meet(self, pattern: str, other: str) -> bool:
        self.effort.spend(1)
        return _may_meet(pattern, other, self.actions)

    def members(self, domain: Element, relevant: int) -> Iterator[tuple[int, str]]:
        """Yield each combination of `relevant` elements (bits) that some text of the domain has, with a shortest such.

        Raises EffortError.
        """
        text = self.text(domain)
        if text is not None:
            if text:
                yield self.membership(text) & relevant, text
            return
        domain = Element(tuple(map(self._spelled, domain.patterns)), domain.negated)
        indexes = [index for index in range(len(self.elements)) if relevant >> index & 1]
        walk = Walk(domain, [self._close(self.elements[index], domain) for index in indexes], self.actions, self.effort)
        for found, shortest in walk.texts():
            bits = 0
            for place, index in enumerate(indexes):
                bits |= (found >> place & 1) << index
            yield bits, shortest

    def _close(self, element: Element, domain: Element) -> Element:
        """Leave out the patterns of an element that cannot have a text of the domain."""
        if domain.negated:
            return element
        near = (
            pattern for pattern in element.patterns if any(self._may_meet(pattern, each) for each in domain.patterns)
        )
        return Element(tuple(near), element.negated)


def _may_meet(pattern: str, other: str, actions: bool) -> bool:
    """Tell whether two patterns agree in their first characters, as far as these are literal in both."""
    start, other_start = _start(pattern, not actions), _start(other, not actions)
    return start.startswith(other_start) or other_start.startswith(start)


@lru_cache(maxsize=16384)
def _start(pattern: str, escapes: bool) -> str:
    text = ""
    for token in tokens_of(pattern, escapes):
        if not isinstance(token, str):
            break
        text += token
    return text
