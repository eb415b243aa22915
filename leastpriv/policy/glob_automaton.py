"""Compares sets of glob patterns exactly: what one set matches and another does not.

Patterns are first compared pairwise; an automaton decides only the rest. A pattern is a chain of
states joined by characters; `*` is a state with a loop. The states of all patterns are bits of one
integer, so that reading a character is a shift and two masks. Visiting all reachable integers
finds, for each combination of patterns, whether a text matches exactly that combination. Their
number can explode for hostile patterns, which `StepBudget` limits.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain

from msgspec import Struct

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


class StepBudgetError(Exception):
    """The patterns take more steps than the budget allows; the caller that set the budget catches
    it.
    """


class StepBudget(Struct):
    """Steps that may still be taken, of about a microsecond each."""

    left: int

    def spend(self, steps: int) -> None:
        """Takes steps; raises StepBudgetError if none is left."""
        self.left -= steps
        if self.left < 0:
            raise StepBudgetError


class Element(Struct, frozen=True):
    """The patterns of an Action or Resource element, or those that a NotAction or NotResource
    element excludes.
    """

    patterns: tuple[str, ...]
    negated: bool = False


def each_bit(bits: int) -> Iterator[int]:
    """Yields the bits that are set, the lowest first."""
    while bits:
        bit = bits & -bits
        yield bit
        bits ^= bit


class _PatternStates(Struct, frozen=True):
    """The states of a pattern, from 0 to the last one; fields of several states are bits."""

    last: int
    literal: Mapping[str, int]
    """Character -> states from which it leads on."""
    any_one: int
    """States from which any one character leads on."""
    loops: int
    """States in which any character remains."""


@lru_cache(maxsize=8192)
def _states_of(pattern: str, escapes: bool) -> _PatternStates:
    literal: dict[str, int] = {}
    state = any_one = loops = 0
    for token in tokens_of(pattern, escapes):
        if token is ANY:
            loops |= 1 << state
            continue
        if token is ONE:
            any_one |= 1 << state
        else:
            literal[str(token)] = literal.get(str(token), 0) | 1 << state
        state += 1
    return _PatternStates(state, literal, any_one, loops)


class MatchingText(Struct, frozen=True):
    """A text of a domain, a shortest one of those that the same elements match."""

    elements: int
    """The elements that match it, as bits."""
    text: str


class _StepTo(Struct, frozen=True):
    """How the automaton first came to a combination of states: by which character, and from where;
    None at the start.
    """

    origin: int | None
    char: str


class GlobAutomaton:
    """An automaton that enumerates the texts of a domain, shortest first, with the elements that
    match them.
    """

    def __init__(
        self, domain: Element, elements: Sequence[Element], actions: bool, budget: StepBudget
    ) -> None:
        self.domain = domain
        self.elements = elements
        self.budget = budget
        self.start = self.any_one = self.loops = self.width = 0
        self.literal: dict[str, int] = {}
        self.in_domain = self._add(domain, not actions)
        self.alive = (1 << self.width) - 1
        """All states of the domain, which come first."""
        self.ends = [self._add(element, not actions) for element in elements]
        fillers = chain(_FILLERS, map(chr, range(0x4E00, 0x9FFF)))
        self.filler = next(filler for filler in fillers if filler not in self.literal)

    def _add(self, element: Element, escapes: bool) -> int:
        """Adds an element's patterns; returns their last states."""
        ends = 0
        for pattern in element.patterns:
            pattern_states = _states_of(pattern, escapes)
            offset = self.width
            self.start |= 1 << offset
            self.any_one |= pattern_states.any_one << offset
            self.loops |= pattern_states.loops << offset
            for char, states in pattern_states.literal.items():
                self.literal[char] = self.literal.get(char, 0) | states << offset
            ends |= 1 << offset + pattern_states.last
            self.width = offset + pattern_states.last + 1
        return ends

    def members(self) -> Iterator[MatchingText]:
        """Yields one text of the domain for each combination of elements that match one."""
        steps: dict[int, _StepTo] = {}
        queue = deque[int]()
        combinations = set[int]()
        cost = 4 + (len(self.literal) + len(self.elements)) * (1 + self.width // 512) // 8
        self._read_one_character(self.start, None, steps, queue)
        while queue:
            states = queue.popleft()
            self.budget.spend(cost)
            if bool(states & self.in_domain) != self.domain.negated:
                combination = self._matching(states)
                if combination not in combinations:
                    combinations.add(combination)
                    yield MatchingText(combination, _text_to(states, steps))
            self._read_one_character(states, states, steps, queue)

    def _matching(self, states: int) -> int:
        """Returns the elements, as bits, that match a text after which the automaton is in these
        states.
        """
        combination = 0
        for index, (element, ends) in enumerate(zip(self.elements, self.ends, strict=True)):
            combination |= (bool(states & ends) != element.negated) << index
        return combination

    def _read_one_character(
        self, states: int, origin: int | None, steps: dict[int, _StepTo], queue: deque[int]
    ) -> None:
        """Reads one more character: each that a pattern names, and one that no pattern names."""
        otherwise = (states & self.any_one) << 1 | states & self.loops
        following_states = {
            char: otherwise | lead << 1
            for char, leads in self.literal.items()
            if (lead := states & leads)
        }
        following_states[self.filler] = otherwise
        for char, following in following_states.items():
            hopeless = not (following & self.alive or self.domain.negated)
            if not hopeless and following not in steps:
                steps[following] = _StepTo(origin, char)
                queue.append(following)


def _text_to(states: int, steps: Mapping[int, _StepTo]) -> str:
    """Returns the text whose characters lead to a combination of states."""
    chars: list[str] = []
    origin: int | None = states
    while origin is not None:
        step = steps[origin]
        chars.append(step.char)
        origin = step.origin
    return "".join(reversed(chars))


_COMPARE_COST = 12
"""Steps that comparing two patterns costs."""


class _Glob(Struct, frozen=True):
    """A pattern with wildcards."""

    pattern: str
    element: int
    """Bit of the element that has it."""


class Overlap(Struct, frozen=True):
    """What pairwise comparison shows about a domain; bits stand for elements."""

    whole: int
    """Elements that match all of it."""
    part: int
    """Elements that may match part of it, or all."""


class GlobSet:
    """Elements that are compared with domains; an element's bit is `1 << index`.

    Actions are case-insensitive; in resources `${*}`, `${?}` and `${$}` are plain characters. The
    empty text is no member: no action or resource is empty.
    """

    def __init__(self, elements: Sequence[Element], *, actions: bool, budget: StepBudget) -> None:
        self.actions = actions
        self.budget = budget
        self.elements = [
            Element(tuple(map(self._spelled, raw_element.patterns)), raw_element.negated)
            for raw_element in elements
        ]
        self._literals: dict[str, int] = {}
        """Literal pattern -> bits of the elements that have it."""
        self._globs: dict[str, list[_Glob]] = {}
        """Literal beginning -> patterns with wildcards."""
        self._by_start: dict[str, int] = {}
        self._negated = 0
        for index, element in enumerate(self.elements):
            self._negated |= element.negated << index
            for pattern in element.patterns:
                text = literal_of(pattern, not actions)
                start = _literal_start(pattern, not actions)
                if text is None:
                    self._globs.setdefault(start, []).append(_Glob(pattern, 1 << index))
                else:
                    self._literals[text] = self._literals.get(text, 0) | 1 << index
                self._by_start[start] = self._by_start.get(start, 0) | 1 << index
        self._glob_lengths = sorted({*map(len, self._globs)})
        self._starts = sorted(self._by_start)
        self._known: dict[str, int] = {}
        self._reaches: dict[Element, Overlap] = {}

    def _spelled(self, pattern: str) -> str:
        return folded(pattern) if self.actions else pattern

    def text(self, domain: Element) -> str | None:
        """Returns the only member of a domain of one literal pattern; None for any other domain."""
        if domain.negated or len(domain.patterns) != 1:
            return None
        return literal_of(self._spelled(domain.patterns[0]), not self.actions)

    def membership(self, text: str) -> int:
        """Returns the bits of all elements that match a plain text."""
        text = self._spelled(text)
        bits = self._known.get(text)
        if bits is None:
            bits = self._literals.get(text, 0)
            matches = action_matches if self.actions else resource_matches
            for start in (text[:length] for length in self._glob_lengths):
                for glob in self._globs.get(start, ()):
                    self.budget.spend(1 + len(glob.pattern) * len(text) // 4096)
                    if not bits & glob.element and matches(glob.pattern, text):
                        bits |= glob.element
            bits = self._known[text] = bits ^ self._negated
        return bits

    def overlap(self, domain: Element) -> Overlap:
        """Compares a domain with each element by patterns; certain are only `whole` and the bits in
        neither field.
        """
        text = self.text(domain)
        if text is not None:
            return Overlap(self.membership(text), 0)
        overlap = self._reaches.get(domain)
        if overlap is None:
            spelled = Element(tuple(map(self._spelled, domain.patterns)), domain.negated)
            near = self._near_elements(spelled)
            # An element that excludes patterns matches all of a domain that none of them meets.
            whole_bits, part_bits = self._negated & ~near, 0
            for bit in each_bit(near):
                has_all, has_some = self._compare(spelled, self.elements[bit.bit_length() - 1])
                whole_bits |= bit if has_all else 0
                part_bits |= bit if has_some and not has_all else 0
            overlap = self._reaches[domain] = Overlap(whole_bits, part_bits)
        return overlap

    def _near_elements(self, domain: Element) -> int:
        """Returns the bits of the elements with a pattern whose literal beginning agrees with one
        of the domain's.
        """
        if domain.negated:
            return (1 << len(self.elements)) - 1
        bits = 0
        for start in {_literal_start(pattern, not self.actions) for pattern in domain.patterns}:
            for length in range(len(start) + 1):
                bits |= self._by_start.get(start[:length], 0)
            for index in range(bisect_right(self._starts, start), len(self._starts)):
                if not self._starts[index].startswith(start):
                    break
                bits |= self._by_start[self._starts[index]]
        return bits

    def _compare(self, domain: Element, element: Element) -> tuple[bool, bool]:
        """Returns whether the element certainly matches all of the domain, and whether it may match
        some of it.
        """
        if domain.negated:
            # For an exclusion only the same exclusion and a subset of it are certain.
            if element.negated:
                return set(element.patterns) <= set(domain.patterns), True
            return "*" in element.patterns, True
        covered = all(
            any(self._covers(pattern, domain_pattern) for pattern in element.patterns)
            for domain_pattern in domain.patterns
        )
        met = any(
            self._may_meet(pattern, domain_pattern)
            for pattern in element.patterns
            for domain_pattern in domain.patterns
        )
        return (not met, not covered) if element.negated else (covered, met)

    def _covers(self, pattern: str, other: str) -> bool:
        if pattern in (other, "*"):
            return True
        if not _may_meet(pattern, other, self.actions):
            return False
        self.budget.spend(_COMPARE_COST + len(pattern) * len(other) // 64)
        return covers(pattern, other) if self.actions else resource_covers(pattern, other)

    def _may_meet(self, pattern: str, other: str) -> bool:
        self.budget.spend(1)
        return _may_meet(pattern, other, self.actions)

    def members(self, domain: Element, relevant: int) -> Iterator[MatchingText]:
        """Yields one text of the domain for each combination of `relevant` elements that match one;
        `relevant` and the elements of a member are bits.
        """
        text = self.text(domain)
        if text is not None:
            if text:
                yield MatchingText(self.membership(text) & relevant, text)
            return
        domain = Element(tuple(map(self._spelled, domain.patterns)), domain.negated)
        relevant &= self._near_elements(domain) | self._negated
        indexes = [bit.bit_length() - 1 for bit in each_bit(relevant)]
        near = [self._near(self.elements[index], domain) for index in indexes]
        automaton = GlobAutomaton(domain, near, self.actions, self.budget)
        for member in automaton.members():
            bits = 0
            for position, index in enumerate(indexes):
                bits |= (member.elements >> position & 1) << index
            yield MatchingText(bits, member.text)

    def _near(self, element: Element, domain: Element) -> Element:
        """Returns an element without the patterns that cannot match a text of the domain."""
        if domain.negated:
            return element
        near = (
            pattern
            for pattern in element.patterns
            if any(self._may_meet(pattern, domain_pattern) for domain_pattern in domain.patterns)
        )
        return Element(tuple(near), element.negated)


def _may_meet(pattern: str, other: str, actions: bool) -> bool:
    """Returns whether the literal beginnings of two patterns agree."""
    start, other_start = _literal_start(pattern, not actions), _literal_start(other, not actions)
    return start.startswith(other_start) or other_start.startswith(start)


@lru_cache(maxsize=16384)
def _literal_start(pattern: str, escapes: bool) -> str:
    text = ""
    for token in tokens_of(pattern, escapes):
        if not isinstance(token, str):
            break
        text += token
    return text
