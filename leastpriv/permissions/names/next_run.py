"""Reads the names of the run after an earlier one: where a name differs is the word of a copy.

In: the uses of an earlier run, as `app-pr-12-jobs`, and one of the next run, `app-pr-13-jobs`.
Out: the names of the app with `pr-*` as the form of its copies, which open the other names too.

One name of the next run is enough where both words have a digit. A plain word is one of the run if
the earlier run wrote it into names of several types.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby, takewhile

from msgspec import Struct

from leastpriv.permissions.names.app_names import AppNames, NamedUse, collected
from leastpriv.permissions.names.copies import Copies, form_of
from leastpriv.permissions.names.copy_words import LONG_LIVED, PULL
from leastpriv.permissions.names.observed import NameUse
from leastpriv.permissions.names.run_slots import template_of
from leastpriv.permissions.names.words import (
    Name,
    Words,
    is_word,
    key_of,
    literal_name_of,
)
from leastpriv.permissions.resource_types import bucket_of

_LEAST_NUMBER = 4
"""Letters of a number that is open in all names: `1` is part of many."""
_LEAST_TYPES = 3
"""Types of created resources whose names have a plain word of the run."""
_WITH_PREFIX = 2
"""Words before the number of a pull request, `pr-`."""


class _Difference(Struct, frozen=True):
    """The words in which a name of the next run differs from one of the earlier run."""

    earlier: Words
    later: Words
    resource: str
    """The resource of the earlier run."""

    @property
    def is_numbered(self) -> bool:
        """Whether both words have a digit."""
        return all(
            any(letter.isdigit() for letter in "".join(words))
            for words in (self.earlier, self.later)
        )

    @property
    def is_of_one_name(self) -> bool:
        """Whether the word is too short to be open in other names."""
        return self.is_numbered and len(key_of(self.earlier)) < _LEAST_NUMBER


def read_next_run(earlier: Sequence[NameUse], later: NameUse) -> AppNames | None:
    """Learns from one use of the next run which word of the earlier run's names changes.

    Args:
        earlier: the uses of the earlier run.
        later: a use of the next run.

    Returns:
        The names with that word as their copy; None where the use shows no such word.
    """
    differences = [
        difference
        for difference in _differences(earlier, later)
        if difference.is_numbered or _is_word_of_run(difference, earlier)
    ]
    if not differences:
        return None
    best = min(differences, key=lambda each: (not each.is_numbered, len(each.earlier)))
    copies = _copies_of(best)
    uses = [*earlier, later]
    if best.is_of_one_name:
        uses = [use for use in uses if use.resource in (best.resource, later.resource)]
    named_uses: list[NamedUse] = []
    for use in uses:
        name = literal_name_of(use.resource)
        if name is None:
            continue
        named_uses.append(NamedUse.of(use, name, copies, template_of(name, copies)))
    return collected(copies, named_uses, uses)


def _copies_of(difference: _Difference) -> Copies:
    """Returns the two words as copies: `prod` as a long-lived one, `pr-12` and `pr-13` as
    short-lived ones of the form `pr-*`.
    """
    long_lived: dict[str, Words] = {}
    short_lived: dict[str, Words] = {}
    for words in (difference.earlier, difference.later):
        key = key_of(words)
        lasting = key in LONG_LIVED
        (long_lived if lasting else short_lived)[key] = words
    form = form_of(short_lived.values()) or "*"
    return Copies(long_lived=long_lived, short_lived=short_lived, forms=(form,))


def _differences(earlier: Sequence[NameUse], later: NameUse) -> Iterator[_Difference]:
    """Yields the differences to names on which the earlier run used the same action."""
    name = literal_name_of(bucket_of(later.resource))
    for use in earlier:
        earlier_name = (
            literal_name_of(bucket_of(use.resource)) if use.action == later.action else None
        )
        if (
            name is None
            or earlier_name is None
            or earlier_name.head != name.head
            or earlier_name.kind != name.kind
        ):
            continue
        words = _words_that_differ(earlier_name, name)
        if words is not None:
            yield _Difference(*words, resource=use.resource)


def _words_that_differ(earlier_name: Name, later_name: Name) -> tuple[Words, Words] | None:
    """Returns the words in which two names differ, the same in each segment of a path that differs;
    None where it is no word.

    `app-dev/app-dev-jobs` and `app-test/app-test-jobs` give `dev` and `test`.
    """
    first_segments = _segments(earlier_name)
    second_segments = _segments(later_name)
    if len(first_segments) != len(second_segments):
        return None
    differences = {
        _words_of_segments(first, second)
        for first, second in zip(first_segments, second_segments, strict=True)
        if first != second
    }
    difference = differences.pop() if len(differences) == 1 else ((), ())
    is_read = all(is_word(words) and "*" not in "".join(words) for words in difference)
    return difference if is_read else None


def _segments(name: Name) -> list[Words]:
    """The segments of a path, without the signs between them."""
    return [
        tuple(words)
        for is_sign, words in groupby(name.text, lambda word: word == "/")
        if not is_sign
    ]


def _words_of_segments(earlier: Words, later: Words) -> tuple[Words, Words]:
    """Returns the words between the common beginning and end of two segments.

    The number of a pull request has the words before it, so that `app-pr-12` and `app-pr-13` give
    `pr-12` and `pr-13`.
    """
    begin = _same_words(earlier, later)
    first = earlier[begin:]
    second = later[begin:]
    same_end = _same_words(first[::-1], second[::-1])
    first = first[: len(first) - same_end]
    second = second[: len(second) - same_end]
    prefix = _prefix_of_pulls(earlier[:begin], first, second)
    return (*prefix, *first), (*prefix, *second)


def _prefix_of_pulls(before: Words, first: Words, second: Words) -> Words:
    """Returns the words before two numbers of pull requests, `("pr", "-")`; none where they are no
    such numbers.
    """
    prefix = before[-_WITH_PREFIX:]
    are_pulls = all(PULL.fullmatch(key_of((*prefix, *words))) for words in (first, second))
    return prefix if are_pulls else ()


def _same_words(one: Words, other: Words) -> int:
    """How many words two texts begin with alike."""
    pairs = zip(one, other, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _is_word_of_run(difference: _Difference, earlier: Sequence[NameUse]) -> bool:
    """Whether created resources of several types have the word, and no like name has another."""
    copies = _copies_of(difference)
    kinds: set[str] = set()
    changing = literal_name_of(difference.resource)
    for use in earlier:
        name = literal_name_of(use.resource)
        if name is None:
            continue
        is_changed = copies.copy_of(name) is not None
        if use.creates and is_changed:
            kinds.add(name.kind)
        if changing is not None and name != changing and name.kind == changing.kind:
            words = _words_that_differ(changing, name)
            if words is not None and words[0] == difference.earlier:
                return False
    return len(kinds) >= _LEAST_TYPES
