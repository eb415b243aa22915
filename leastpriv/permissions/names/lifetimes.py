"""Decides which copies of an app live long, as `prod`, and which come and go, as `pr-58`."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from fnmatch import fnmatchcase

from msgspec import Struct

from leastpriv.permissions.names.copy_words import LONG_LIVED, PRODUCTION, PULL, STAGES, letters_of
from leastpriv.permissions.names.name_table import NameTable
from leastpriv.permissions.names.observed import DeclaredCopies, RunFacts
from leastpriv.permissions.names.words import Name, Words, key_of

LEAST_SHARE = 0.4
"""Part of what one run makes that has the word: a component is a small part of it."""
_LEAST_GONE = 2
"""Kinds of resources that runs destroyed in a copy that they took down; half of those made there
have to be, as well.
"""
_SHORTEST_OF_BRANCH = 2
"""Letters of a branch in a name."""
LEAST_LIVED_RUNS = 3
"""Runs that use what lives long, as `prod`; a copy with a number has to be used by half of all runs
as well. A copy of fewer runs may be a preview."""
LEAST_RUNS_APART = 2
"""Runs that use a name or copy that is none of those that come and go: it has no slot, or was there
before others that are gone.
"""


class Life(Struct, frozen=True):
    """What shows how long a copy lives."""

    table: NameTable
    runs: Mapping[str, RunFacts]
    words: Mapping[str, Words]
    names: Mapping[str, set[Name]]
    certain: Mapping[str, Words]
    gone: frozenset[str]
    declared: DeclaredCopies

    def is_shown_short(self, key: str) -> bool:
        """Whether a copy, or another with its letters, was taken down, or it is of a pull request
        or another branch.
        """
        if self._is_stage(key):
            return key in self.gone and bool(key)
        if key in self.gone or PULL.fullmatch(key):
            return True
        # `qa3` is like `qa2`; `qa`, or a `qa1` that was there before both, may live longer.
        letters = letters_of(key)
        is_numbered = letters != key and letters in map(letters_of, self.gone)
        if is_numbered and not self._outlives_others(key):
            return True
        text = "".join(self.words[key])
        if any(fnmatchcase(text, form) for form in self.declared.short_lived):
            return True
        if key in self.certain or self._is_like_gone(key):
            return True
        branches = {self._branch_of(run) for run in self._making(key)}
        return bool(branches) and branches.isdisjoint({None, *LONG_LIVED})

    def _is_like_gone(self, key: str) -> bool:
        """Whether few runs used a copy that came after several of its form, which were taken down:
        `dev-carol` after `dev-alice` and `dev-bob`.
        """
        word = self.words[key]
        using = self._runs_of(key)
        if len(word) == 1 or len(using) >= LEAST_LIVED_RUNS:
            return False
        earlier = [
            self.words[other]
            for other in self.gone
            if self.table.first_of(self._runs_of(other)) < self.table.first_of(using)
        ]
        for shared, differing in ((slice(1), slice(1, None)), (slice(-1, None), slice(-1))):
            alike = [
                other
                for other in earlier
                if len(other) == len(word) and other[shared] == word[shared]
            ]
            is_production = not PRODUCTION.isdisjoint(word[shared])
            if len(alike) > 1 and not is_production and LONG_LIVED.isdisjoint(word[differing]):
                return True
        return False

    def has_passing_number(self, key: str) -> bool:
        """Whether a copy has a number, and few runs used it."""
        if self._is_stage(key) or not _has_number(self.words[key]):
            return False
        if self._outlives_others(key):
            return False
        using = self._runs_of(key)
        return len(using) < LEAST_LIVED_RUNS or 2 * len(using) < len(self.table.order)

    def _outlives_others(self, key: str) -> bool:
        """Whether a copy was there before all those that were taken down, and several runs used it
        or several others came and went: `v1` is production where `alice` and `bob` did.
        """
        if key in self.gone or not self.gone:
            return False
        using = self._runs_of(key)
        if max(len(using), len(self.gone)) < LEAST_RUNS_APART:
            return False
        first_use = self.table.first_of(using)
        return all(first_use < self.table.first_of(self._runs_of(other)) for other in self.gone)

    def came_late(self, key: str) -> bool:
        """Whether few runs used a copy, and another one was there before it.

        Runs 1 to 9 deploy `prod`, and run 10 alone `login-page`: that is a branch rather than a
        stage.
        """
        using_runs = self._runs_of(key)
        is_stage = self._is_stage(key) or not LONG_LIVED.isdisjoint(self.words[key])
        if is_stage or len(using_runs) >= LEAST_LIVED_RUNS or self._outlives_others(key):
            return False
        first_use = self.table.first_of(using_runs)
        other_keys = [other_key for other_key in self.words if other_key not in ("", key)]
        return any(self.table.first_of(self._runs_of(other)) < first_use for other in other_keys)

    def _is_stage(self, key: str) -> bool:
        """Whether a copy is one that every app has; a single letter is short for it: `p`, `d`."""
        return len(key) < _SHORTEST_OF_BRANCH or key in LONG_LIVED

    def _runs_of(self, key: str) -> set[str]:
        return self.table.runs_of(self.names[key])

    def _making(self, key: str) -> set[str]:
        """The runs most of whose creations are of a copy."""
        names = self.names[key]
        creations = self.table.made.items()
        return {
            run
            for run, made_names in creations
            if len(made_names & names) >= LEAST_SHARE * len(made_names)
        }

    def _branch_of(self, run: str) -> str | None:
        facts = self.runs.get(run)
        return facts.branch if facts else None


def _has_number(word: Words) -> bool:
    return any(part.isdigit() or re.fullmatch(r"[a-z]+\d+", part) for part in word)


def without_branches(names: set[Name], key: str, branches: Collection[str]) -> set[Name]:
    """The names of a copy; of a stage without those of branches that are next to it,
    `dev-login`.
    """
    if key not in LONG_LIVED:
        return names
    return {name for name in names if not has_apart(name, key, branches)}


def is_taken_down(names: set[Name], key: str, table: NameTable) -> bool:
    """Whether runs destroyed most kinds of what they made of the names with the word of a copy.

    What has a shorter name that lives is of another copy, `shop-dev-alice-jobs` next to
    `shop-dev-jobs`, and what a stage has as well, or an older name that lives, is of a component:
    `shop-web-login-jobs` next to `shop-web-main-jobs`.
    """
    made_kinds = {name.kind for name in names & table.made_names}
    destroyed = {name for name in names if name in table.destroyed}
    shortest: dict[str, int] = {}
    first_use: dict[str, int] = {}
    of_stages: set[str] = set()
    for name in names & table.made_names - destroyed:
        shortest[name.kind] = min(len(name.words), shortest.get(name.kind, len(name.words)))
        made_at = table.first_of(table.runs[name])
        first_use[name.kind] = min(made_at, first_use.get(name.kind, made_at))
        if has_apart(name, key, LONG_LIVED):
            of_stages.add(name.kind)
    destroyed_kinds = {
        name.kind
        for name in destroyed
        if len(name.words) <= shortest.get(name.kind, len(name.words))
        and table.first_of(table.runs[name]) <= first_use.get(name.kind, len(table.order))
    }
    destroyed_kinds -= of_stages
    made_and_destroyed = destroyed_kinds & made_kinds
    return len(destroyed_kinds) >= _LEAST_GONE and 2 * len(made_and_destroyed) >= len(made_kinds)


def has_apart(name: Name, key: str, known: Iterable[str], *, behind: bool = False) -> bool:
    """Whether a name has the word of a known copy apart from another word; `behind`: only behind
    it.
    """
    for begin, end in name.places_of(key):
        for known_key in known:
            for known_begin, known_end in name.places_of(known_key):
                is_before = known_end <= begin and not behind
                if is_before or end <= known_begin:
                    return True
    return False


def has_stage(word: Words) -> bool:
    """Whether a part of the word of a copy is a stage: `eu-qa`, `dev2`."""
    return any(letters_of(part) in STAGES for part in (*word, key_of(word)))
