"""Learns the copies of an app from the names that its runs use: `prod`, `stage`, `pr-58`.

A copy is one deployment of an app next to others of it. In come the names `shop-prod-jobs` and
`shop-stage-jobs` of several resources; out go the copies `prod` and `stage`, by key (`key_of`).

Two words are copies where the names of one run have the one and those of another run the other, at
the same place of several names. A branch, a pull request and a workspace are copies by themselves.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cached_property, lru_cache
from itertools import chain, takewhile
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.permissions.names.aligned_words import MOST_WORDS, Aligned, Pair, aligned_words
from leastpriv.permissions.names.bare_names import (
    Insertion,
    insertion_of,
    insertions_of,
    template_without_word,
)
from leastpriv.permissions.names.copy_words import (
    LEAST_NAMES,
    LONG_LIVED,
    NO_COPY,
    PRODUCTION,
    PULL,
    STAGES,
)
from leastpriv.permissions.names.lifetimes import (
    LEAST_SHARE,
    Life,
    has_apart,
    has_stage,
    is_taken_down,
    without_branches,
)
from leastpriv.permissions.names.name_table import NameTable
from leastpriv.permissions.names.observed import DeclaredCopies, NameUse, RunFacts
from leastpriv.permissions.names.words import (
    COPY,
    SEPARATORS,
    SIGNS_OF_SEGMENTS,
    Name,
    Place,
    Words,
    is_drawn,
    is_region,
    is_word,
    key_of,
    lowered,
    masked,
    places_of,
    unglued,
    words_of,
)

_LEAST_SERVICES = 2
"""Services of these names; the tables of one app have names of one form."""
_LEAST_NAMES_IF_CERTAIN = 2
"""Names that a word shares with one that is a copy for certain, or that a third copy shares, or
that two words share of which runs took all names down.
"""
_MOST_SHARED_RUNS = 0.67
"""Part of the runs of a word that use the other word, too: the components of an app are deployed
together.
"""
_WITH_WORD_BEFORE = 3
"""A drawn word with the word before it and the sign between them, `preview-3fa8c1d2`."""
_LEAST_TRUNCATED = 12
"""Letters of a branch's name that prove it although a tool left out the rest."""
_WORKSPACE = re.compile(r":s3:::[^/]+/(?:.*/)?env:/(?P<name>[^/]+)/")
"""Key of the state of a workspace in Terraform's S3 backend
(https://developer.hashicorp.com/terraform/language/backend/s3, `workspace_key_prefix`, read
2026-11-27)."""
_ENDS = frozenset({(), *((sign,) for sign in SEPARATORS)})
"""What follows a whole word in a name."""


class CopyOfName(Struct, frozen=True):
    """The copy that a name is of: `service/shop-prod/shop-prod-api` has its word twice."""

    key: str
    """`NO_COPY` where the name has no word of a copy."""
    template: Words
    """The words of the name, with a slot in each place of the word."""
    spelled: tuple[Words, ...] = ()
    """The word as the name has it in each of these places; none without a word."""


class Copies(Struct, frozen=True, dict=True):
    """The copies of an app; keys are their letters and digits in lower case (`key_of`)."""

    long_lived: Mapping[str, Words] = {}
    """Key -> words."""
    short_lived: Mapping[str, Words] = {}
    gone: frozenset[str] = frozenset()
    """Keys of the copies that runs made and took down."""
    certain: frozenset[str] = frozenset()
    """Keys of the copies that are so by themselves: branches of runs, workspaces, drawn words."""
    spared: frozenset[str] = frozenset()
    """Keys of the short-lived copies that a deletion spares like long-lived ones: numbered stages,
    `dev2`, of which no run took one down.
    """
    may_be_lasting: bool = False
    """Whether only a number or their few, late runs show that the short-lived copies are so: those
    of new tenants would look alike.
    """
    insertions: frozenset[Insertion] = frozenset()
    """Where names have the word, if one copy has none."""
    forms: tuple[str, ...] = ()
    """Patterns of the words of short-lived copies, `pr-*`; empty where none is known."""
    ending_forms: tuple[str, ...] = ()
    """The same of those that runs show to be short-lived: a deletion opens no more. Empty where
    none is known, so that `forms` count.
    """
    texts_before: frozenset[Words] = frozenset()
    """What names have before the words of several copies: `main-site-`."""
    region_words: Mapping[str, str] = {}
    """Word of a name -> the region that it is short for."""
    glued: Mapping[str, Words] = {}
    """Text in lower case -> the words of it that other names of the app show."""
    notes: tuple[str, ...] = ()
    """What the names do not show, in sentences."""

    def is_bare(self, name: Name) -> bool:
        """Whether a name is of the copy without a word."""
        copy = self.copy_of(name)
        return copy is not None and copy.key == NO_COPY

    def has_stage(self, name: Name) -> bool:
        """Whether a name has the word of a long-lived copy."""
        return any(any(name.places_of(key)) for key in filter(None, self.long_lived))

    @property
    def lasting(self) -> tuple[str, ...]:
        """Keys of the copies whose names no deletion may cover, unless a run destroyed them
        there.
        """
        return (*self.long_lived, *sorted(self.spared))

    def lasts(self, key: str | None) -> bool:
        """Whether no deletion may cover the names of a copy, unless a run destroyed them there."""
        return key in self.long_lived or key in self.spared

    def is_certainly_short(self, key: str | None) -> bool:
        """Whether the word of a copy, or the branch of its runs, shows that it is short-lived."""
        if key is None or key not in self.short_lived:
            return False
        return key in self.certain or PULL.fullmatch(key) is not None

    def word_of(self, key: str) -> str:
        """The word of a copy; empty for one without a word."""
        return "".join(self.long_lived.get(key) or self.short_lived.get(key, ()))

    @cached_property
    def _pulls(self) -> tuple[str, ...]:
        """Keys of the copies of pull requests."""
        return tuple(filter(PULL.fullmatch, self.short_lived))

    def copy_of(self, name: Name) -> CopyOfName | None:
        """Which copy a name is of; None for a name of no copy."""
        name = unglued(name, self.glued)
        # A preview of a stage, `dev-pr-41`, is a preview. A branch may be named like a component of
        # the stage.
        for keys in (self._pulls, (*self.short_lived, *self.long_lived)):
            words = [
                (begin, -end, key)
                for key in filter(None, keys)
                for begin, end in name.places_of(key)
            ]
            if words:
                # The name of the app may have the word of a copy: `main-site-main-orders`.
                of_copies = [word for word in words if name.words[: word[0]] in self.texts_before]
                begin, _, key = min(of_copies or words)
                places = places_in_segments(name, key, begin)
                spelled = tuple([name.words[begin:end] for begin, end in places])
                return CopyOfName(key, with_slots(name.words, places), spelled)
        template = template_without_word(name, self.insertions)
        return None if template is None else CopyOfName(NO_COPY, template)


def places_in_segments(name: Name, key: str, first: int = 0) -> list[Place]:
    """The places of a copy's word: the first in each segment of a path. In one segment,
    `shop-login-login-errors`, the second is a component that is called like a branch.

    `first`: words before it are none of a copy.
    """
    places: list[Place] = []
    last = 0
    for begin, end in name.places_of(key):
        if begin < first:
            continue
        if not places or not SIGNS_OF_SEGMENTS.isdisjoint(name.words[last:begin]):
            places.append((begin, end))
            last = end
    return places


def with_slots(words: Words, places: Iterable[Place]) -> Words:
    """The words with a slot in each place."""
    template: list[str] = []
    last = 0
    for begin, end in places:
        template += [*words[last:begin], COPY]
        last = end
    return (*template, *words[last:])


def learn_copies(
    table: NameTable,
    uses: Sequence[NameUse],
    runs: Mapping[str, RunFacts],
    declared: DeclaredCopies,
) -> Copies:
    """Finds the copies of an app.

    Args:
        table: all names.
        uses: what the names were read from.
        runs: what each run shows of itself.
        declared: what the owner of the app says.
    """
    aligned = aligned_words(table, runs)
    certain = {
        **_drawn_words(table),
        **_declared_words(table, declared),
        **_words_of_runs(table, uses, runs),
    }
    words = _supported(aligned, certain, table)
    # Names without a copy have the text before the number of `shop-test-1234` next to `shop-test`.
    named_copies = [
        key
        for key, word in words.items()
        if word and (not _is_end_of_word(word) or (NO_COPY, key) in aligned)
    ]
    app_words = set[Words]().union(*(_words_before(key, table) for key in named_copies))
    words = dict(_extended(word, table, app_words) for word in words.values())
    words = {key: word for key, word in words.items() if len(key) > 1 or not key.isdigit()}
    pulls = [key for key in words if PULL.fullmatch(key)]
    words = {key: word for key, word in words.items() if not _has_more_than(pulls, key, word)}
    words |= dict(sorted(certain.items()))
    if not words:
        notes = (
            "One copy of the app seen: previews, branches and stages are not covered; the setting"
            " `copies` can give a pattern of their names, such as `pr-*`",
        )
        return Copies(forms=declared.short_lived, glued=table.glued, notes=notes)
    return _sorted_by_life(words, certain, table, runs, declared)


def _sorted_by_life(
    words: Mapping[str, Words],
    certain: Mapping[str, Words],
    table: NameTable,
    runs: Mapping[str, RunFacts],
    declared: DeclaredCopies,
) -> Copies:
    """Separates long-lived copies, as `prod`, from short-lived ones, as `pr-58`, whose common form
    is `pr-*`.
    """
    texts_before = _texts_before(words, table)
    names = _names_by_copy(words, texts_before, table)
    gone = frozenset(
        key
        for key in words
        if key and is_taken_down(without_branches(names[key], key, certain), key, table)
    )
    long_keys = {key_of(words_of(word)) for word in declared.long_lived}
    long_lived: dict[str, Words] = {}
    short_lived: dict[str, Words] = {}
    unshown: set[str] = set()
    life = Life(
        table=table,
        runs=runs,
        words=words,
        names=names,
        certain=certain,
        gone=gone,
        declared=declared,
    )
    for key, word in words.items():
        if key in long_keys:
            long_lived[key] = word
        elif life.is_shown_short(key):
            short_lived[key] = word
        elif life.has_passing_number(key) or life.came_late(key):
            short_lived[key] = word
            unshown.add(key)
        else:
            long_lived[key] = word
    forms = _forms(declared, short_lived.values())
    shown = [word for key, word in short_lived.items() if key not in unshown]
    notes: tuple[str, ...] = ()
    if not forms:
        notes = (
            "No short-lived copy of the app seen: a preview is not covered; the setting `copies`"
            " can give a pattern of its name, such as `pr-*`",
        )
    elif "*" in forms:
        notes = (
            "Previews and branches: names have nothing in common, so `*` matches any word;"
            " the setting `copies` can give a pattern (`pr-*`)",
        )
    copies = Copies(
        long_lived=long_lived,
        short_lived=short_lived,
        gone=gone,
        certain=frozenset(certain),
        spared=frozenset(key for key in unshown if has_stage(words[key])),
        may_be_lasting=bool(unshown) and unshown == {*short_lived} and not declared.short_lived,
        insertions=_insertions(words, table) if NO_COPY in long_lived else frozenset(),
        forms=forms,
        ending_forms=_ending_forms(forms, _forms(declared, shown)),
        texts_before=texts_before,
        region_words=table.region_words,
        glued=table.glued,
        notes=notes,
    )
    if NO_COPY in long_lived and not any(map(copies.is_bare, table.runs)):
        # The names without the word of a preview, `shop-dev-pr-41-jobs`, have that of a stage.
        return replace(
            copies, long_lived={key: long_lived[key] for key in filter(None, long_lived)}
        )
    return copies


_Rest = tuple[str, Words, Words]
"""Kind of a name, and what it has before and behind a word."""


def _known_copies(
    aligned: Aligned, certain: Collection[str], gone: Collection[str]
) -> frozenset[str]:
    """The words that are copies by themselves and differ in a name: branches, pull requests and
    stages, and what runs took down in the place of a stage.
    """
    known: set[str] = set()
    for keys in aligned:
        short_keys = [key for key in keys if key in certain or PULL.fullmatch(key)]
        known_keys = [key for key in keys if key in short_keys or key in LONG_LIVED]
        # Production may have no word.
        if len(known_keys) == len(keys) or (NO_COPY in keys and short_keys):
            known.update(known_keys)
    next_to_stage: set[str] = set()
    for keys, pair in aligned.items():
        for key, word in zip(keys, pair.words, strict=True):
            is_gone = key in gone and not LONG_LIVED.isdisjoint(keys)
            if is_gone and not _has_more_than(known, key, word):
                next_to_stage.update(keys)
    return frozenset(known | next_to_stage)


def _has_component(pair: Pair, known: frozenset[str], table: NameTable) -> bool:
    """Whether a word of a pair is a component's: of two apps `admin` and `admin-api`, names with
    `api` have the word of a copy at another place, `prod` or `pr-4`, and a name is of one copy. For
    the same reason `api-prod` is no copy next to `prod`. Where a stage is in the place of the other
    word, `live-chat-dev` next to `live-chat-alice`, the text before both is of the app.
    """
    is_next_to_stage = any(key_of(word) in LONG_LIVED for word in pair.words)
    of_copies = known if is_next_to_stage else known | PRODUCTION
    for side, word in enumerate(pair.words):
        key = key_of(word)
        if not key or key in known:
            continue
        if _has_more_than(known, key, word):
            return True
        names = pair.names_with_text_before(side, table)
        if is_next_to_stage:
            names -= pair.names(side)
        of_known_copy = [
            name for name in names if has_apart(name, key, of_copies, behind=is_next_to_stage)
        ]
        if len(of_known_copy) >= _LEAST_NAMES_IF_CERTAIN:
            return True
    return False


def _has_more_than(keys: Collection[str], key: str, word: Words) -> bool:
    """Whether a word has one of some words and further ones."""
    return any(other_key != key and any(places_of(other_key, word)) for other_key in keys)


def _supported(
    aligned: Aligned, certain: Mapping[str, Words], table: NameTable
) -> dict[str, Words]:
    """The words of pairs of copies, those first that have the place of a stage in most names; of
    two of which one holds the other, the better one.
    """
    partners: dict[str, set[str]] = {}
    for first_key, second_key in aligned:
        partners.setdefault(first_key, set()).add(second_key)
        partners.setdefault(second_key, set()).add(first_key)
    name_counts: dict[str, int] = {}
    next_to_stage: set[str] = set()
    spelling: dict[str, Words] = {}
    gone = {key for key in partners if key and is_taken_down(table.holding(key), key, table)}
    known = _known_copies(aligned, certain, gone)
    stage_of_previews = _stage_of_previews(aligned, gone, certain)
    # Two that runs took down are surer than others, which may share names with them.
    for keys, pair in sorted(aligned.items(), key=lambda item: not gone.issuperset(item[0])):
        first_key, second_key = keys
        is_certain = first_key in certain or second_key in certain
        has_third = bool(first_key) and not partners[first_key].isdisjoint(
            partners[second_key] & name_counts.keys()
        )
        are_gone = gone.issuperset(keys)
        is_certain = is_certain or has_third
        if not _is_pair_of_copies(pair, table, is_certain=is_certain, are_gone=are_gone):
            continue
        if stage_of_previews.keys().isdisjoint(keys) and _has_component(pair, known, table):
            continue
        if not LONG_LIVED.isdisjoint(keys):
            next_to_stage.update(keys)
        for key, word in zip(keys, pair.words, strict=True):
            name_counts[key] = max(name_counts.get(key, 0), len(pair.rests))
            if len(word) >= len(spelling.get(key, ())):
                spelling[key] = lowered(word)
    # Of `cart` and `feat-cart`, the one that names have in the place of a stage.
    in_order = sorted(
        name_counts, key=lambda key: (key not in next_to_stage, -name_counts[key], key)
    )
    support = {key: spelling[key] for key in in_order}
    return {
        key: word
        for key, word in support.items()
        if key in stage_of_previews or _is_best(key, support, stage_of_previews)
    }


def _stage_of_previews(
    aligned: Aligned, gone: Collection[str], certain: Collection[str]
) -> Mapping[str, str]:
    """A word with that of a stage, `dev-alice`, -> the stage, where runs took several down: a
    component that the stage no longer needs, `dev-worker`, is one. Of `dev-pr-41`, `pr-41` is the
    copy.
    """
    words = {key_of(word): word for pair in aligned.values() for word in pair.words}
    unsure = [key for key in gone if not _has_more_than(certain, key, words[key])]
    next_to_stage = {key for keys in aligned if not LONG_LIVED.isdisjoint(keys) for key in keys}
    stages = (next_to_stage - {NO_COPY}) | (STAGES & words.keys())
    stage_of: dict[str, str] = {}
    for stage in sorted(stages.difference(gone)):
        of_stage = [key for key in unsure if _has_more_than((stage,), key, words[key])]
        if len(of_stage) > 1:
            stage_of |= dict.fromkeys(of_stage, stage)
    return stage_of


def _is_pair_of_copies(pair: Pair, table: NameTable, *, is_certain: bool, are_gone: bool) -> bool:
    """Whether the two words of a pair are copies: many names of several services differ in them,
    each is in a large part of what one run makes, and few runs use both.

    `prod` and `stage` are; `orders` and `users`, two components that each run deploys, are not.
    """
    if len(pair.rests) < (_LEAST_NAMES_IF_CERTAIN if is_certain or are_gone else LEAST_NAMES):
        return False
    if not is_certain and len(pair.services()) < _LEAST_SERVICES:
        return False
    for part in chain.from_iterable(pair.words):
        if is_region(part) or part in table.region_words:
            return False
    for side, word in enumerate(pair.words):
        if (
            word
            and not are_gone
            and table.share(pair.names_with_text_before(side, table)) < LEAST_SHARE
        ):
            return False
    first = table.runs_of(pair.names(0))
    second = table.runs_of(pair.names(1))
    if not pair.words[0]:
        all_runs = set(table.order)
        first = all_runs - second or all_runs
    return len(first & second) <= _MOST_SHARED_RUNS * min(len(first), len(second))


def _is_best(key: str, support: Mapping[str, Words], stage_of_previews: Mapping[str, str]) -> bool:
    """Whether a word is a copy's, of two of which one holds the other: `prod` rather than
    `prod-2`, and never the bare number of `pr-2`. A stage is one next to its previews.
    """
    has_more_names = True
    for other_key, words in support.items():
        if stage_of_previews.get(other_key) == key:
            continue
        if other_key == key:
            has_more_names = False
        if other_key == key or not (key and other_key):
            continue
        is_inside = any(places_of(key, words))
        if is_inside and key.isdigit():
            return False
        has_inside = not other_key.isdigit() and any(places_of(other_key, support[key]))
        if has_more_names and (is_inside or has_inside):
            return False
    return True


def _words_before(key: str, table: NameTable) -> set[Words]:
    """The words before that of a copy, each with the sign behind it."""
    return {lowered(text[-2:]) for _, text in table.texts_before(key)}


def _is_end_of_word(word: Words) -> bool:
    """Whether the word of a copy may be the end of one: it begins with a number, or is a letter."""
    return word[0][0].isdigit() or len(key_of(word)) == 1


def _extended(word: Words, table: NameTable, app_words: Collection[Words]) -> tuple[str, Words]:
    """The word; a bare number takes the word before it along (`pr-101`), and next to other copies a
    letter (`feature-a`), but not one that other copies have before them as well: `shop-101` next to
    `shop-prod`.
    """
    while word and _is_end_of_word(word) and (app_words or word[0].isdigit()):
        before = sorted(_words_before(key_of(word), table))
        if len({words[:1] for words in before}) != 1:
            break
        preceding = before[0]
        is_whole = len(preceding) == 2 and preceding[0][0].isalpha()
        if not is_whole or preceding in app_words:
            break
        word = (*preceding, *word)
    return key_of(word), word


def _declared_words(table: NameTable, declared: DeclaredCopies) -> dict[str, Words]:
    """The words of names that the owner of the app names as copies."""
    words_by_key: dict[str, Words] = {}
    forms = [form.lower() for form in (*declared.long_lived, *declared.short_lived)]
    for name in table.runs if forms else ():
        for begin, end in name.parts(MOST_WORDS):
            word = lowered(name.words[begin:end])
            if is_word(word) and any(fnmatchcase("".join(word), form) for form in forms):
                words_by_key[key_of(word)] = word
    return {
        key: word
        for key, word in words_by_key.items()
        if not _is_part_of_another(key, words_by_key)
    }


def _is_part_of_another(key: str, words: Mapping[str, Words]) -> bool:
    return any(other_key != key and any(places_of(key, words[other_key])) for other_key in words)


def _drawn_words(table: NameTable) -> dict[str, Words]:
    """The words of previews that were drawn, `3fa8c1d2` or `preview-3fa8c1d2`, and those of the
    stages next to them.

    Such a word is in most of what one run made, where other names have the word of a stage or none.
    """
    words_by_key: dict[str, Words] = {}
    stages = _Stages.of(table)
    for names in table.made.values():
        places: dict[str, list[_PlaceOfWord]] = {}
        for name in names:
            for index in range(len(name.fixed), len(name.words)):
                if is_drawn(name.words[index]):
                    places.setdefault(name.words[index], []).append(_PlaceOfWord(name, index))
        for word_places in places.values():
            if len(word_places) < LEAST_SHARE * len(names):
                continue
            for length in (1, _WITH_WORD_BEFORE):
                next_to = stages.next_to_all(word_places, length)
                if next_to:
                    place = word_places[0]
                    word = place.name.words[place.at + 1 - length : place.at + 1]
                    words_by_key[key_of(word)] = lowered(word)
                    words_by_key |= {key: (key,) if key else () for key in next_to}
                    break
    return words_by_key


class _PlaceOfWord(NamedTuple):
    """Where a name has a word."""

    name: Name
    at: int


class _Stages(Struct, frozen=True):
    """The names of the stages that every app has, and those without a word."""

    key_of_rest: Mapping[_Rest, str]
    """The rest of a name -> the key of the stage that one with this rest has."""
    names: frozenset[tuple[str, Words]]
    """Kind and words of each name, with one sign for what was drawn."""

    @classmethod
    def of(cls, table: NameTable) -> _Stages:
        """Collects the names with the word of a stage."""
        key_of_rest = {
            _rest(name, begin, end): key
            for name in table.runs
            for key in sorted(LONG_LIVED)
            for begin, end in name.places_of(key)
        }
        return cls(key_of_rest, frozenset((name.kind, masked(name.words)) for name in table.runs))

    def next_to_all(self, places: Iterable[_PlaceOfWord], length: int) -> set[str]:
        """The keys of the stages whose names have another word, or none, in the place of a drawn
        word and the text before it; none where too few names do.

        `length`: words and separators of the place, the drawn word last.
        """
        known: dict[Name, str] = {}
        for name, at in places:
            begin = at + 1 - length
            if begin >= len(name.fixed):
                key = self._next_to(name, begin, at + 1)
                if key is not None:
                    known[name] = key
        if len({name.service for name in known}) < _LEAST_SERVICES:
            return set()
        return {*known.values()}

    def _next_to(self, name: Name, begin: int, end: int) -> str | None:
        """The key of the stage whose name has another word, or none, at a place; None without
        one.
        """
        key = self.key_of_rest.get(_rest(name, begin, end))
        insertion = insertion_of(name, begin, end)
        if key is not None or insertion is None:
            return key
        begin -= insertion.slot.index(COPY)
        words = name.words[:begin] + name.words[begin + len(insertion.slot) :]
        return NO_COPY if (name.kind, masked(words)) in self.names else None


def _rest(name: Name, begin: int, end: int) -> _Rest:
    return name.kind, masked(name.words[:begin]), masked(name.words[end:])


def _words_of_runs(
    table: NameTable, uses: Sequence[NameUse], runs: Mapping[str, RunFacts]
) -> dict[str, Words]:
    """The words that runs wrote of their branch, pull request or workspace into what they made."""
    words_by_key: dict[str, Words] = {}
    keys = {
        run: {key_of(words_of(word)) for word in facts.words} - LONG_LIVED
        for run, facts in runs.items()
    }
    for use in uses:
        workspace = _WORKSPACE.search(use.resource)
        key = key_of(words_of(workspace["name"])) if workspace else ""
        if key and key not in LONG_LIVED:
            for run in use.runs:
                keys.setdefault(run, set()).add(key)
    for run, names in table.made.items():
        for name in names:
            for word in _own_words(name, keys.get(run, set())):
                words_by_key[key_of(word)] = lowered(word)
    return words_by_key


def _own_words(name: Name, keys: Collection[str]) -> Iterator[Words]:
    """Yields the words of a name that are the run's own, or a pull request's."""
    for begin in range(len(name.fixed), len(name.words)):
        for end in range(begin + 1, len(name.words) + 1):
            word = name.words[begin:end]
            key = key_of(word)
            is_begin = any(run_key.startswith(key) for run_key in keys)
            if not (is_begin or _begins_pull(key)):
                break
            if not is_word(word):
                continue
            is_truncated = is_begin and len(key) >= _LEAST_TRUNCATED
            if key in keys or is_truncated or _is_pull(word, name.words[end : end + 1]):
                yield word


@lru_cache(maxsize=4_096)
def _begins_pull(key: str) -> bool:
    """Whether a key may begin that of a pull request: `pull`, `pr5`."""
    letters = key.rstrip("0123456789")
    return any(begin.startswith(letters) for begin in ("pr", "pullrequest", "mr"))


def _is_pull(word: Words, behind: Words) -> bool:
    """Whether a word is a pull request's, by what follows it in the name."""
    has_one_number = sum(part.isdigit() for part in word) == 1
    return behind in _ENDS and has_one_number and PULL.fullmatch(key_of(word)) is not None


def _names_by_copy(
    words: Mapping[str, Words], texts_before: frozenset[Words], table: NameTable
) -> Mapping[str, set[Name]]:
    """The names of each copy."""
    copies = Copies(short_lived=words, texts_before=texts_before)
    names: dict[str, set[Name]] = {key: set() for key in words}
    for name in table.runs:
        copy = copies.copy_of(name)
        if copy is not None:
            names[copy.key].add(name)
    return names


def _insertions(words: Mapping[str, Words], table: NameTable) -> frozenset[Insertion]:
    """Where names have the words of copies."""
    insertions: set[Insertion] = set()
    for key in filter(None, words):
        for name in table.runs:
            template = with_slots(name.words, places_in_segments(name, key))
            insertions.update(insertions_of(replace(name, words=template)))
    return frozenset(insertions)


def _texts_before(keys: Iterable[str], table: NameTable) -> frozenset[Words]:
    """The words that names of several copies have before the word of theirs."""
    keys_of: dict[Words, set[str]] = {}
    for key in filter(None, keys):
        for name, text in table.texts_before(key):
            keys_of.setdefault((*name.fixed, *text), set()).add(key)
    return frozenset(words for words, found in keys_of.items() if len(found) > 1)


def _shared_parts(words: Sequence[Words]) -> set[int]:
    """The places in which several words have one part with letters that ends with no number: `e2e`
    of `e2e-17` and `e2e-24`, not `v1` of `v1-2` and `v1-3`.
    """
    if len(words) < 2:
        return set()
    columns = enumerate(zip(*words, strict=False))
    return {
        index for index, column in columns if len({*column}) == 1 and not column[0][-1].isdigit()
    }


def _open_number(part: str, word: Words) -> str:
    """A part of the word of a copy with its number open; of several parts the whole part."""
    number = r"\d+" if len(word) == 1 else r".*\d.*"
    return re.sub(number, "*", part)


def _forms(declared: DeclaredCopies, words: Iterable[Words]) -> tuple[str, ...]:
    """The declared forms of short-lived copies and that of some words; `*` covers all others."""
    forms = (*declared.short_lived, *filter(None, [form_of(words)]))
    return ("*",) if "*" in forms else tuple(dict.fromkeys(forms))


def _ending_forms(forms: tuple[str, ...], shown: tuple[str, ...]) -> tuple[str, ...]:
    """The forms of the copies that runs show to be short-lived, never wider than that of all."""
    return forms if "*" in shown else shown


def form_of(words: Iterable[Words]) -> str:
    """The common form of the words of short-lived copies; a number is open even in a single one.

    `*` where they have none, empty without words.
    """
    words = list(words)
    if not words:
        return ""
    shared = _shared_parts(words)
    forms = {
        tuple(
            part if index in shared else _open_number(part, word) for index, part in enumerate(word)
        )
        for word in words
    }
    if all(is_drawn(part) for word in words for part in word):
        return "*"
    if len(forms) == 1:
        form = "".join(forms.pop())
        return form if "*" in form else "*"
    columns = zip(*forms, strict=False)
    common_columns = takewhile(lambda column: len(set(column)) == 1, columns)
    begin = "".join(column[0] for column in common_columns).rstrip("*")
    return f"{begin}*" if begin.strip("-_/.") else "*"
