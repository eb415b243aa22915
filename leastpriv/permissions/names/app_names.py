"""Writes the resources of one action from the names of an app.

What creates, reads or changes is granted in each copy that was seen: by exact names in long-lived
copies, by one pattern for the short-lived ones. What destroys is granted in the copies where runs
destroyed.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import combinations

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.permissions.catalog import access_level, sensitivity
from leastpriv.permissions.fact_tables import table
from leastpriv.permissions.generalize import (
    ObservedResource,
    Pattern,
    deletes,
    least_literal,
)
from leastpriv.permissions.lifecycle import siblings_among
from leastpriv.permissions.names.bare_names import without_slots
from leastpriv.permissions.names.copies import Copies, learn_copies
from leastpriv.permissions.names.drawn_ends import drawn_ends, with_open_ends
from leastpriv.permissions.names.lifetimes import (
    LEAST_LIVED_RUNS,
    LEAST_RUNS_APART,
    has_apart,
)
from leastpriv.permissions.names.name_table import table_of
from leastpriv.permissions.names.observed import UNDECLARED, DeclaredCopies, NameUse, RunFacts
from leastpriv.permissions.names.run_slots import (
    Template,
    TemplateKey,
    learn_run_slots,
    template_of,
)
from leastpriv.permissions.names.spelling import spelling_around, spelling_of
from leastpriv.permissions.names.words import (
    COPY,
    OWN_RUN,
    RUN,
    SEPARATORS,
    Name,
    Words,
    ids_in,
    is_date,
    is_drawn,
    is_region,
    name_below_id,
    name_of,
)
from leastpriv.permissions.patterns import (
    action_matches,
    has_wildcard,
    resource_covers,
    resource_overlaps,
    without_covered,
)
from leastpriv.permissions.resource_types import fits
from leastpriv.permissions.volatility import WildcardPart, in_region, literal_letters, region_of

_LEAST_DELETIONS = 2
"""Runs that destroyed in a long-lived copy before what they draw in its names is open."""
_LEAST_LITERAL = 3
"""Letters and digits of a name outside the slot of its copy."""
_LEAST_BUCKETS = 3
"""Buckets that prove a slot."""
_MANY_NAMES = 5
"""Names that prove a slot in a short name, `pr-100`."""
_LEAST_LITERAL_OF_MANY = 2
"""Letters of such a name; an action that destroys needs more."""
_LEAST_LITERAL_BEHIND = 6
"""The same of a name that begins with the word of its copy: other teams have copies as well."""
_REVISION = (":", "*")
"""The end of a name with a number that each registration counts up."""
_REGION = "\0region"
"""In the place of a region in a name, also of a word that is short for one (`euc1`)."""
IN_COPY = "the app has this name in each copy"
OVER_COPIES = "short-lived copies of this app differ in this word"
NEW_IN_RUN = "every run showed another"
OF_KIND = "runs used the action on a like name of a short-lived copy"


def names_with_a_date(resources: Iterable[str]) -> tuple[str, ...]:
    """The resources whose names hold a day or a month as it is: the next one is refused."""
    dated_resources: set[str] = set()
    for resource in {*resources}:
        name = name_of(resource)
        if name is not None and any(is_date(word) and not word.isdigit() for word in name.text):
            dated_resources.add(resource)
    return tuple(sorted(dated_resources))


def names_with_a_year(resources: Iterable[str], years: Collection[str]) -> tuple[str, ...]:
    """The resources whose names hold the year of a run as it is: the next year is refused."""
    dated_resources: set[str] = set()
    for resource in resources:
        name = name_of(resource)
        if name is not None and not set(name.text).isdisjoint(years):
            dated_resources.add(resource)
    return tuple(sorted(dated_resources))


@lru_cache(maxsize=4_096)
def destroys(action: str) -> bool:
    """Whether an action takes a resource, or a part of it that holds state, away
    (`data/not_destroyed.tsv`).
    """
    if not deletes(action) or "Tagging" in access_level(action):
        return False
    return not any(action_matches(row["pattern"], action) for row in table("not_destroyed"))


def sets(action: str) -> bool:
    """Whether an action may set what ends with the resource that has it. An inline policy does not:
    IAM deletes no role, user or group with one
    (https://docs.aws.amazon.com/IAM/latest/APIReference/API_DeleteRole.html, read 2026-12-02).
    """
    return ":Put" in action and not action.startswith("iam:")


class NamedUse(Struct, frozen=True):
    """A use with its name as the model reads it."""

    use: NameUse
    name: Name
    template: Template
    copy: str | None
    """Key of the copy; None for a name of no copy."""
    spelled: tuple[Words, ...] = ()
    """The word of the copy, as the name has it in each place."""

    @classmethod
    def of(cls, use: NameUse, name: Name, copies: Copies, template: Template) -> NamedUse:
        """Reads which copy a name is of."""
        copy = copies.copy_of(name)
        if copy is None:
            return cls(use, name, template, None)
        return cls(use, name, template, copy.key, copy.spelled)

    @property
    def has_slot(self) -> bool:
        """Whether other copies or runs have another name in its place."""
        return any(word == COPY or RUN in word for word in self.template)

    @property
    def has_drawn_part(self) -> bool:
        """Whether a part of the name is new in each run and not the run's own."""
        return any(RUN in word and OWN_RUN not in word for word in self.template)


class _KindInAccount(Struct, frozen=True):
    """A kind of names of one account."""

    kind: str
    account: str


class _LikeNames(Struct, frozen=True):
    """The names of a template in one copy."""

    kind: str
    template: Template
    copy: str | None


class _Destruction(Struct, frozen=True):
    """An action that destroyed the names of a template in one copy."""

    kind: str
    template: Template
    copy: str | None
    action: str


class _AppPattern(Struct, frozen=True):
    """A pattern of the names of the app, and why a part of it is open; empty if none is."""

    pattern: str
    reason: str


class _OpenDeletion(Struct, frozen=True):
    """A deletion with patterns, which may cover names of several copies."""

    action: str
    patterns: tuple[str, ...]
    destroyed: frozenset[str]
    """Resources on which runs carried it out."""

    @property
    def service(self) -> str:
        """The IAM prefix of the action."""
        return self.action.partition(":")[0]

    def covers(self, resource: str) -> bool:
        """Whether a pattern covers a resource."""
        return any(resource_covers(pattern, resource) for pattern in self.patterns)

    def may_have_destroyed(self, name: str) -> bool:
        """Whether a run may have carried it out on what has a name."""
        return any(resource_overlaps(name, resource) for resource in self.destroyed)


class AppNames(Struct, frozen=True):
    """The names of one target."""

    copies: Copies
    all_uses: tuple[NameUse, ...]
    """Also those of ids that AWS drew."""
    uses: tuple[NamedUse, ...]
    by_resource: Mapping[str, NamedUse]
    runs_of: Mapping[str, frozenset[str]]
    """Resource -> runs that used it."""
    names_of: Mapping[TemplateKey, frozenset[str]]
    """Kind and template -> resources."""
    regions: Mapping[_KindInAccount, frozenset[str]]
    """Regions in which the runs used such names."""
    templates: Mapping[str, frozenset[Template]]
    """Kind -> templates with the slot of a copy."""
    in_short_lived: Mapping[str, frozenset[str]]
    """Kind -> actions that runs used in short-lived copies."""
    created: Mapping[TemplateKey, frozenset[str]]
    """Kind and template -> actions that created such resources."""
    destroyed_by: Mapping[_Destruction, frozenset[str]]
    """Runs that destroyed so."""
    first_uses: Mapping[str, int]
    """Resource -> the place in time of the first run that used it."""
    outliving: frozenset[str]
    """Resources that are there although runs destroyed like names that are newer: these come and
    go next to them, and do not replace them.
    """
    spellings: Mapping[TemplateKey, Mapping[str, tuple[Words, ...]]]
    """Kind and template -> key of a copy -> its word, as the names have it in each place."""
    lasting_ids: frozenset[str]
    """Ids that AWS drew, and that runs of long-lived copies alone used, or runs of several
    short-lived ones: a shared subnet.
    """
    words_behind_copy: frozenset[str]
    """The words behind the copy's in names that begin with it: one if it is the name of the app."""

    def shape_of(self, resource: str) -> TemplateKey | None:
        """What a name has in common with that of other copies, runs and regions; None without a
        slot.
        """
        named_use = self.by_resource.get(resource)
        if named_use is None or not named_use.has_slot:
            return None
        words = [_REGION if self._is_region(word) else word for word in named_use.template]
        return named_use.name.kind, tuple(words)

    def _is_region(self, word: str) -> bool:
        """Whether a word of a name is a region, or short for one."""
        return is_region(word) or word in self.copies.region_words

    def resources_of(
        self, action: str, observed: Sequence[ObservedResource]
    ) -> tuple[list[Pattern], list[ObservedResource]]:
        """Returns the resources of an action by the names of the app, and what has no slot."""
        reasons: dict[str, str] = {}
        other_resources: list[ObservedResource] = []
        is_sensitive = bool(sensitivity(action))
        for observed_resource in observed:
            named_use = self.by_resource.get(observed_resource.resource)
            if named_use is None or not named_use.has_slot:
                other_resources.append(observed_resource)
                continue
            if not self._may_open(named_use, is_sensitive=is_sensitive):
                other_resources.append(observed_resource)
                continue
            is_end = destroys(action)
            if is_end:
                patterns = self._destroyed(action, named_use)
            else:
                patterns = self._used(action, named_use, is_sensitive=is_sensitive)
            if not patterns:
                other_resources.append(observed_resource)
            for app_pattern in patterns:
                for regional in self._in_regions(app_pattern.pattern, named_use):
                    reasons.setdefault(regional, app_pattern.reason)
        if not is_sensitive:
            for pattern in self._of_like_names(action):
                reasons.setdefault(pattern, OF_KIND)
        return [*_patterns(action, reasons, observed)], other_resources

    def _may_open(self, named_use: NamedUse, *, is_sensitive: bool) -> bool:
        """Whether the slots of a name may be open.

        For a sensitive action only what the run wrote of itself, or what several copies drew, in
        what runs created. The ARN of a bucket has no account, so that several buckets prove its
        slot.
        """
        key = (named_use.name.kind, named_use.template)
        names = len(self.names_of[key])
        if is_sensitive:
            is_proved = COPY in named_use.template or not named_use.has_drawn_part
            return is_proved and bool(self._makers(named_use))
        is_drawn_bucket = named_use.name.kind == "s3:" and any(
            RUN in word for word in named_use.template
        )
        return not is_drawn_bucket or names >= _LEAST_BUCKETS

    def _makers(self, named_use: NamedUse) -> frozenset[str]:
        """The actions that created such a resource, or what it is a revision of: a job definition
        is registered by its name, and run by name and revision.
        """
        kind, template = named_use.name.kind, named_use.template
        makers = self.created.get((kind, template), frozenset())
        if not makers and template[-2:] == _REVISION:
            return self.created.get((kind, template[:-2]), frozenset())
        return makers

    def _used(self, action: str, named_use: NamedUse, *, is_sensitive: bool) -> list[_AppPattern]:
        """A name in every copy of the app."""
        least_letters = least_literal(action)
        if len(self.names_of[named_use.name.kind, named_use.template]) >= _MANY_NAMES:
            least_letters = _LEAST_LITERAL_OF_MANY
        if named_use.copy is None:
            pattern = self._render(named_use, "")
            is_literal = self._is_literal(pattern, named_use, least_letters)
            return [_AppPattern(pattern, NEW_IN_RUN)] if is_literal else []
        patterns: list[_AppPattern] = []
        is_preview_of_stage = named_use.copy in self.copies.short_lived and self.copies.has_stage(
            named_use.name
        )
        for key in self.copies.long_lived:
            if key and is_preview_of_stage:
                continue
            pattern = self._render(named_use, key)
            is_guess = is_sensitive and named_use.has_drawn_part
            if self._is_literal(pattern, named_use, least_letters) and not is_guess:
                patterns.append(_AppPattern(pattern, IN_COPY))
        patterns += [
            _AppPattern(pattern, OVER_COPIES)
            for pattern in self._over_copies(named_use, least_letters)
        ]
        return _with_used(patterns, named_use)

    def _destroyed(self, action: str, named_use: NamedUse) -> list[_AppPattern]:
        """A name in the copies where runs destroyed it."""
        if named_use.copy in self.copies.short_lived:
            patterns = self._over_copies(named_use, is_end=True)
            return _with_used([_AppPattern(form, OVER_COPIES) for form in patterns], named_use)
        destruction = _Destruction(named_use.name.kind, named_use.template, named_use.copy, action)
        if len(self.destroyed_by.get(destruction, ())) < _LEAST_DELETIONS:
            return [_AppPattern(named_use.use.resource, "")]
        pattern = self._render(named_use, named_use.copy or "")
        is_literal = self._is_literal(pattern, named_use, least_literal(action))
        return [_AppPattern(pattern, NEW_IN_RUN)] if is_literal else []

    def _of_like_names(self, action: str) -> Iterator[str]:
        """The names of a kind in short-lived copies, if the action was used on one of them."""
        service = action.partition(":")[0]
        for kind, templates in self.templates.items():
            if action not in self.in_short_lived.get(kind, ()):
                continue
            for template in templates:
                makers = self.created.get((kind, template), frozenset())
                is_own = any(siblings_among(maker, (action,)) for maker in makers)
                if destroys(action) and not is_own:
                    continue
                named_use = self._named_as(kind, template)
                if named_use.name.service != service:
                    continue
                for pattern in self._over_copies(named_use, is_end=destroys(action)):
                    if fits(action, pattern):
                        yield from self._in_regions(pattern, named_use)

    def short_lived_patterns(self, named_use: NamedUse, *, is_end: bool = False) -> list[str]:
        """The names of a resource in short-lived copies, in all regions; none without a copy.

        `is_end`: in those that runs show to be short-lived.
        """
        if COPY not in named_use.template:
            return []
        patterns = self._over_copies(named_use, is_end=is_end)
        return [
            regional for pattern in patterns for regional in self._in_regions(pattern, named_use)
        ]

    def is_in_short_lived_copies(self, pattern: str) -> bool:
        """Whether a pattern is a name in short-lived copies."""
        return any(
            pattern in self.short_lived_patterns(named_use, is_end=is_end)
            for named_use in self.uses
            for is_end in (True, False)
        )

    def lives_long(self, resource: str) -> bool:
        """Whether an exact name is of a long-lived copy; where no copy is known, whether several
        runs used it.
        """
        name = name_of(resource)
        if name is None or has_wildcard(resource):
            return False
        copy = self.copies.copy_of(name)
        if copy is not None:
            return self.copies.lasts(copy.key)
        return len(self.runs_of.get(resource, ())) >= LEAST_LIVED_RUNS

    def spares(self, action: str, resource: str) -> bool:
        """Whether an action destroys, and a resource is a name that lives long and on which no run
        carried it out.
        """
        is_end = destroys(action) and self.lives_long(resource)
        return is_end and not self.has_destroyed(action, resource)

    def has_destroyed(self, action: str, resource: str) -> bool:
        """Whether a run carried out an action on a resource."""
        return any(
            named_use.use.action == action and named_use.use.resource == resource
            for named_use in self.uses
        )

    def shows_need(self, action: str, resource: str) -> bool:
        """Whether the use of another action on a resource shows where an action may be needed: one
        that destroys is needed in the copies where runs carried it out.
        """
        named_use = self.by_resource.get(resource)
        if named_use is None or named_use.copy is None or not destroys(action):
            return True
        return any(
            destruction.copy == named_use.copy and destruction.action == action
            for destruction in self.destroyed_by
        )

    def ends_with_copy(self, named: NamedUse) -> bool:
        """Whether an unused deletion belongs to the end of what a call made in a copy.

        Where a copy was taken down, its deletions were seen; a setting ends with what it is of.
        """
        makers = self.created.get((named.name.kind, named.template), frozenset())
        if not makers or named.copy in self.copies.gone or self.copies.may_be_lasting:
            return False
        is_object = named.name.kind == "s3:object"
        if is_object and COPY not in named.template[: named.template.index("/")]:
            return False  # the bucket is shared
        gone = any(
            named_use.copy in self.copies.gone and named_use.use.action == named.use.action
            for named_use in self.uses
        )
        is_setting = sets(named.use.action) and any(":Create" in maker for maker in makers)
        return not gone and not is_setting

    def denied(self, action: str, resources: Iterable[str]) -> tuple[str, ...]:
        """The names that the patterns of a deletion cover and that it spares: those of long-lived
        copies where no run destroyed, and what outlived others.
        """
        patterns = tuple(filter(has_wildcard, resources))
        if not patterns or not destroys(action):
            return ()
        destroyed = frozenset(use.resource for use in self.all_uses if use.action == action)
        deletion = _OpenDeletion(action, patterns, destroyed)
        names = dict.fromkeys(
            [
                *self._lasting_names(deletion),
                *self._lasting_resources(deletion),
                *self._spared_ids(deletion),
            ]
        )
        # A stack that a run deleted by its name may be the one whose id another call shows.
        safe = [
            name for name in names if fits(action, name) and not deletion.may_have_destroyed(name)
        ]
        return without_covered(safe)

    def _lasting_names(self, deletion: _OpenDeletion) -> Iterator[str]:
        """Yields the names that copies which last have, used or not."""
        for kind, templates in self.templates.items():
            if kind.partition(":")[0] != deletion.service:
                continue
            for template in sorted(templates):
                named_use = self._named_as(kind, template)
                for key in self.copies.lasting:
                    destruction = _Destruction(kind, template, key, deletion.action)
                    if self.destroyed_by.get(destruction):
                        continue
                    pattern = self._render(named_use, key)
                    yield from filter(deletion.covers, self._in_regions(pattern, named_use))

    def _lasting_resources(self, deletion: _OpenDeletion) -> Iterator[str]:
        """Yields the resources that runs used, which live long or are older than what they
        destroyed.
        """
        older = self._older_than_destroyed(deletion)
        for named_use in self.uses:
            resource = named_use.use.resource
            is_living = resource not in deletion.destroyed
            if named_use.name.service != deletion.service or not is_living:
                continue
            # Where a run replaced the model of production, the next one replaces the present one.
            destruction = _Destruction(
                named_use.name.kind, named_use.template, named_use.copy, deletion.action
            )
            is_replaced = destruction in self.destroyed_by and resource not in self.outliving
            is_lasting = not is_replaced and self._lives_long(named_use)
            if (is_lasting or resource in older) and deletion.covers(resource):
                yield resource

    def _spared_ids(self, deletion: _OpenDeletion) -> Iterator[str]:
        """Yields the ids that AWS gave to what lasts, unless a run destroyed one of them."""
        if deletion.destroyed.isdisjoint(self.lasting_ids):
            yield from filter(deletion.covers, sorted(self.lasting_ids))

    def _older_than_destroyed(self, deletion: _OpenDeletion) -> set[str]:
        """The resources that were there before all of their kind that runs destroyed within the
        patterns, where these are several: they came and went next to them. One is enough where a
        name also has the word of a copy that lasts.
        """
        first_destroyed: dict[str, list[int]] = {}
        kinds = {named_use.use.resource: named_use.name.kind for named_use in self.uses}
        for resource in deletion.destroyed & kinds.keys():
            if deletion.covers(resource):
                first_uses = first_destroyed.setdefault(kinds[resource], [])
                first_uses.append(self.first_uses[resource])
        older: set[str] = set()
        for named_use in self.uses:
            resource = named_use.use.resource
            first_uses = first_destroyed.get(named_use.name.kind, [])
            if not first_uses or self.first_uses[resource] >= min(first_uses):
                continue
            if self.copies.is_certainly_short(named_use.copy):
                continue
            if len(first_uses) >= LEAST_RUNS_APART or self._has_word_that_lasts(named_use):
                older.add(resource)
        return older

    def _has_word_that_lasts(self, named_use: NamedUse) -> bool:
        """Whether a name of a short-lived copy has the word of one that lasts as well: in
        `admin-api-stable-users`, `api` may be a component.
        """
        if named_use.copy is None:
            return False
        lasting = filter(None, self.copies.lasting)
        return has_apart(named_use.name, named_use.copy, lasting)

    def _lives_long(self, named_use: NamedUse) -> bool:
        """Whether a name is of a long-lived copy; without a word of one, whether several runs used
        it.
        """
        if named_use.copy is not None:
            return self.copies.lasts(named_use.copy)
        resource = named_use.use.resource
        runs = len(self.runs_of[resource])
        # No preview has such a name.
        is_apart = not named_use.has_slot or resource in self.outliving
        return runs >= (LEAST_RUNS_APART if is_apart else LEAST_LIVED_RUNS)

    def _named_as(self, kind: str, template: Template) -> NamedUse:
        return next(
            named_use
            for named_use in self.uses
            if named_use.name.kind == kind and named_use.template == template
        )

    def _over_copies(
        self, named_use: NamedUse, least_letters: int = _LEAST_LITERAL, *, is_end: bool = False
    ) -> list[str]:
        """Returns the patterns of a name in the short-lived copies of the app, one for each form of
        their words: `…:app-pr-*-orders` for the form `pr-*`.

        `is_end`: for what destroys, only in copies that runs show to be short-lived. A pattern is
        left out where too little of it would be literal: it would cover names of other
        apps.
        """
        forms = (is_end and self.copies.ending_forms) or self.copies.forms
        patterns = [self._render(named_use, form, is_form=True) for form in forms]
        return [
            pattern
            for pattern in patterns
            if self._is_literal(pattern, named_use, min(least_letters, _LEAST_LITERAL))
        ]

    def _is_literal(self, pattern: str, named_use: NamedUse, least_letters: int) -> bool:
        """Whether enough of a name is literal, so that it covers no other app's names."""
        if "*" not in pattern:
            return True
        text = pattern.removeprefix(f"{named_use.name.head}:")
        text = text.removeprefix("".join(named_use.name.fixed)).lstrip("/")
        if named_use.name.text[:2] == ("*", "/"):
            # What the name is in, no record shows: it says nothing of the app.
            text = text.removeprefix("*/")
        if not text.startswith("*"):
            return literal_letters(text) >= least_letters
        names_app = named_use.name.service != "s3" and bool(self.words_behind_copy)
        if len(self.words_behind_copy) > 1 or (text.startswith("*/") and not names_app):
            return False
        return literal_letters(text) >= _LEAST_LITERAL_BEHIND

    def _in_regions(self, pattern: str, named_use: NamedUse) -> Iterator[str]:
        """The pattern in each region in which the runs used names of the kind."""
        account = named_use.name.head.split(":")[4]
        kind = _KindInAccount(named_use.name.kind, account)
        regions = self.regions.get(kind, frozenset())
        if len(regions) < 2 or not region_of(pattern):
            yield pattern
            return
        for region in sorted(regions):
            yield self._in_region(pattern, region, named_use.name)

    def _in_region(self, pattern: str, region: str, name: Name) -> str:
        """The pattern of a name in another region, with the word that is short for it."""
        moved = in_region(pattern, region)
        words = self.copies.region_words
        word = next((word for word in name.text if words.get(word) == name.region), "")
        other_word = next(
            (word for word, word_region in words.items() if word_region == region), ""
        )
        if not (word and other_word):
            return moved
        return re.sub(rf"(?<![0-9A-Za-z]){re.escape(word)}(?![0-9A-Za-z])", other_word, moved)

    def _render(self, named_use: NamedUse, copy: str, *, is_form: bool = False) -> str:
        """Writes a name in one copy, or in all short-lived ones; the next of these draws
        another.
        """
        words: list[str] = []
        text = copy if is_form else self.copies.word_of(copy)
        template = named_use.template
        if not text and COPY in template:
            template = without_slots(replace(named_use.name, words=template))
        for index, word in enumerate(template):
            if word == COPY:
                words.append(self._spelled(text, named_use, index, "" if is_form else copy))
            else:
                is_open = is_form and index >= len(named_use.name.fixed) and is_drawn(word)
                words.append("*" if is_open else _opened(word))
        return f"{named_use.name.head}:{re.sub('[*]{2,}', '*', ''.join(words))}"

    def _spelled(self, text: str, named_use: NamedUse, index: int, key: str) -> str:
        """The word of a copy, or the form of such words, as the app writes it in names of one form:
        `feat_login`, `FeatLogin`.

        `index`: the place of the slot in the template.
        """
        template = named_use.template
        spelled = self.spellings.get((named_use.name.kind, template), {})
        place = template[:index].count(COPY)
        examples = {each: words[place] for each, words in spelled.items()}
        if key in examples:
            return "".join(examples[key])
        guess = spelling_around(template, index, len(named_use.name.fixed))
        short_lived = [words for each, words in examples.items() if each in self.copies.short_lived]
        spelling = spelling_of(short_lived or examples.values())
        if spelling is None:
            return guess.of(text)
        if spelling.separators is None:
            spelling = replace(spelling, separators=guess.separators)
        return spelling.of(text)


def _with_used(patterns: list[_AppPattern], named_use: NamedUse) -> list[_AppPattern]:
    """The patterns, and the name that was used where they do not cover it."""
    resource = named_use.use.resource
    if any(resource_covers(app_pattern.pattern, resource) for app_pattern in patterns):
        return patterns
    return [*patterns, _AppPattern(resource, "")]


def _opened(word: str) -> str:
    return word.replace(OWN_RUN, "*").replace(RUN, "*")


def _patterns(
    action: str, reasons: Mapping[str, str], observed: Sequence[ObservedResource]
) -> Iterator[Pattern]:
    resources = [observed_resource.resource for observed_resource in observed]
    for pattern in sorted(without_covered(name for name in reasons if fits(action, name))):
        covers = tuple(
            sorted({resource for resource in resources if resource_covers(pattern, resource)})
        )
        reason = reasons[pattern]
        openings = (WildcardPart("name", reason),) if reason and covers != (pattern,) else ()
        yield Pattern(pattern, covers, openings)


def read_app_names(
    uses: Sequence[NameUse],
    runs: Sequence[RunFacts],
    declared: DeclaredCopies = UNDECLARED,
) -> AppNames:
    """Learns the names of a target.

    Args:
        uses: the uses of its runs that succeeded.
        runs: the runs, oldest first.
        declared: what the owner of the app says of its copies.
    """
    facts = {run.id: run for run in runs}
    readable = [name for use in uses if (name := name_of(use.resource)) is not None]
    ends = drawn_ends(readable)
    shared_ids: set[str] = set()

    def read_name(resource: str) -> Name | None:
        is_below_shared = not shared_ids.isdisjoint(ids_in(resource))
        name = name_below_id(resource) if is_below_shared else name_of(resource)
        return with_open_ends(name, ends) if name else None

    table = table_of(uses, [*facts], read_name)
    copies = learn_copies(table, uses, facts, declared)
    shared_ids.update(_shared_ids(uses, copies))

    if shared_ids:
        table = table_of(uses, [*facts], read_name)
    slots = learn_run_slots(table, copies, facts)
    named_uses: list[NamedUse] = []
    for use in uses:
        name = read_name(use.resource)
        if name is None:
            continue
        template = slots[name.kind, template_of(name, copies)]
        named_uses.append(NamedUse.of(use, name, copies, template))
    return collected(copies, named_uses, uses, table.order)


def _shared_ids(uses: Sequence[NameUse], copies: Copies) -> Iterator[str]:
    """Yields the ids that AWS drew for what several copies share: the app of AWS Amplify in which
    each has a branch.
    """
    copies_of_run: dict[str, set[str]] = {}
    runs_of_id: dict[str, set[str]] = {}
    for use in uses:
        name = name_of(use.resource)
        copy = copies.copy_of(name) if name else None
        if copy is not None:
            for run in use.runs:
                copies_of_run.setdefault(run, set()).add(copy.key)
        for resource in ids_in(use.resource):
            runs_of_id.setdefault(resource, set()).update(use.runs)
    for resource, using in runs_of_id.items():
        if _are_several(copies_of_run[run] for run in using if run in copies_of_run):
            yield resource


def _lasting_ids(
    uses: Sequence[NameUse], named_uses: Iterable[NamedUse], copies: Copies
) -> Iterator[str]:
    """Yields the ids that runs of long-lived copies alone used, or of several short-lived ones: an
    id is of the copy whose names the same run used.
    """
    copies_of_run: dict[str, set[str]] = {}
    for named_use in named_uses:
        if named_use.copy is not None:
            for run in named_use.use.runs:
                copies_of_run.setdefault(run, set()).add(named_use.copy)
    runs_of_id: dict[str, set[str]] = {}
    for use in uses:
        for resource in {*ids_in(use.resource), *use.made_ids}:
            runs_of_id.setdefault(resource, set()).update(use.runs)
    for resource, runs in runs_of_id.items():
        copies_of_id = [copies_of_run.get(run, set()) for run in runs]
        short_lived = [found - {*filter(copies.lasts, found)} for found in copies_of_id]
        if any(short_lived):
            is_lasting = _are_several(filter(None, short_lived))
        else:
            is_lasting = all(copies_of_id) or len(runs) >= LEAST_LIVED_RUNS
        if is_lasting and copies.short_lived:
            yield resource


def _are_several(copies_of_runs: Iterable[set[str]]) -> bool:
    """Whether two runs are of different copies, and not one a run that cleans up after both."""
    return any(one.isdisjoint(other) for one, other in combinations(copies_of_runs, 2))


def _words_behind_copy(named_uses: Iterable[NamedUse]) -> Iterator[str]:
    for named_use in named_uses:
        text = [
            word
            for word in named_use.template[len(named_use.name.fixed) :]
            if word not in SEPARATORS
        ]
        if len(text) > 1 and text[0] == COPY:
            yield text[1]


def _first_uses(named_uses: Iterable[NamedUse], order: Mapping[str, int]) -> Mapping[str, int]:
    """Resource -> the place in time of the first run that used it."""
    first_uses: dict[str, int] = {}
    for named_use in named_uses:
        resource = named_use.use.resource
        first = min((order.get(run, 0) for run in named_use.use.runs), default=0)
        first_uses[resource] = min(first, first_uses.get(resource, first))
    return first_uses


def _outliving(named_uses: Iterable[NamedUse], first_uses: Mapping[str, int]) -> Iterator[str]:
    """Yields the resources that are older than a like name that runs destroyed, and not destroyed
    themselves.
    """
    like_names: dict[_LikeNames, set[str]] = {}
    destroyed: set[str] = set()
    for named_use in named_uses:
        resource = named_use.use.resource
        like = _LikeNames(named_use.name.kind, named_use.template, named_use.copy)
        like_names.setdefault(like, set()).add(resource)
        if named_use.use.destroys:
            destroyed.add(resource)
    for resources in like_names.values():
        newest = max((first_uses[resource] for resource in resources & destroyed), default=0)
        for resource in resources - destroyed:
            if first_uses[resource] < newest:
                yield resource


def collected(
    copies: Copies,
    named_uses: Sequence[NamedUse],
    uses: Sequence[NameUse],
    order: Mapping[str, int] = {},
) -> AppNames:
    """Returns the names of a target, each with its copy; `uses` are also those of ids.

    `order`: run -> its place in time.
    """
    first_uses = _first_uses(named_uses, order)
    regions: dict[_KindInAccount, set[str]] = {}
    runs_of: dict[str, set[str]] = {}
    names_of: dict[TemplateKey, set[str]] = {}
    templates: dict[str, set[Template]] = {}
    in_short_lived: dict[str, set[str]] = {}
    created: dict[TemplateKey, set[str]] = {}
    destroyed: dict[_Destruction, set[str]] = {}
    spellings: dict[TemplateKey, dict[str, tuple[Words, ...]]] = {}
    for named_use in named_uses:
        kind = named_use.name.kind
        _, _, _, region, account = named_use.name.head.split(":")
        names_of.setdefault((kind, named_use.template), set()).add(named_use.use.resource)
        runs_of.setdefault(named_use.use.resource, set()).update(named_use.use.runs)
        if region:
            regions.setdefault(_KindInAccount(kind, account), set()).add(region)
        if COPY in named_use.template:
            templates.setdefault(kind, set()).add(named_use.template)
            if named_use.copy:
                spelled = spellings.setdefault((kind, named_use.template), {})
                spelled.setdefault(named_use.copy, named_use.spelled)
        if named_use.copy in copies.short_lived:
            in_short_lived.setdefault(kind, set()).add(named_use.use.action)
        if named_use.use.creates:
            created.setdefault((kind, named_use.template), set()).add(named_use.use.action)
        if named_use.use.unnamed_makers:
            makers = created.setdefault((kind, named_use.template), set())
            makers.update(named_use.use.unnamed_makers)
        if named_use.use.destroys:
            destruction = _Destruction(
                kind, named_use.template, named_use.copy, named_use.use.action
            )
            destroyed.setdefault(destruction, set()).update(named_use.use.runs)
    return AppNames(
        copies=copies,
        all_uses=tuple(uses),
        uses=tuple(named_uses),
        by_resource={named_use.use.resource: named_use for named_use in named_uses},
        runs_of={resource: frozenset(runs) for resource, runs in runs_of.items()},
        names_of={key: frozenset(resources) for key, resources in names_of.items()},
        regions={key: frozenset(region_names) for key, region_names in regions.items()},
        templates={kind: frozenset(kind_templates) for kind, kind_templates in templates.items()},
        in_short_lived={kind: frozenset(actions) for kind, actions in in_short_lived.items()},
        created={key: frozenset(actions) for key, actions in created.items()},
        destroyed_by={key: frozenset(run_ids) for key, run_ids in destroyed.items()},
        first_uses=first_uses,
        outliving=frozenset(_outliving(named_uses, first_uses)),
        spellings=spellings,
        lasting_ids=frozenset(_lasting_ids(uses, named_uses, copies)),
        words_behind_copy=frozenset(_words_behind_copy(named_uses)),
    )
