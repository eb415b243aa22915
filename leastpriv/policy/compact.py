"""Shortens a policy without changing what it allows and denies.

Statements are merged; then lists of actions become wildcards that grant exactly the same actions of
the catalogue.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from heapq import heapify, heappop, heappush

from msgspec import Struct

from leastpriv.models import grouped
from leastpriv.permissions import catalog, patterns
from leastpriv.permissions.patterns import action_covers
from leastpriv.policy.document import Document, Statement, condition_of
from leastpriv.policy.edit import DropStatement, Edit, ReplaceActions, ReplaceResources, apply_edits
from leastpriv.policy.evaluate import policy_size

_WORTH_A_WILDCARD = 3
"""Fewer actions are as short when listed."""
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z][a-z0-9]*|[a-z0-9]+")


def wildcards_for(
    actions: Collection[str],
    other_actions: Collection[str],
    may_write: Callable[[str], bool],
    *,
    inner: bool = True,
) -> tuple[str, ...]:
    """Returns sorted entries that grant all `actions` and none of `other_actions`.

    A wildcard covers whole words of action names, at the start (`lambda:List*`) or, with `inner`,
    anywhere (`lambda:*Layer*`); it replaces at least three actions and needs the consent of
    `may_write`.
    """
    candidates = _candidate_patterns(actions, other_actions, inner)
    remaining_actions = set(actions)
    entries: list[str] = []
    ranked = [_RankedPattern(len(granted), pattern) for pattern, granted in candidates.items()]
    heapify(ranked)
    while ranked:
        first = heappop(ranked)
        # Fewer actions are left than when the wildcard was ranked; no wildcard ever gains any.
        count = len(candidates[first.pattern] & remaining_actions)
        if count < _WORTH_A_WILDCARD:
            continue
        if count < first.count:
            heappush(ranked, _RankedPattern(count, first.pattern))
        elif may_write(first.pattern):
            entries.append(first.pattern)
            remaining_actions -= candidates[first.pattern]
    return tuple(sorted({*entries, *remaining_actions}))


def fewest_entries(
    actions: Collection[str], other_actions: Collection[str], may_write: Callable[[str], bool]
) -> tuple[str, ...]:
    """Returns the fewest sorted entries that grant all `actions` and none of `other_actions`.

    A wildcard covers whole words at the start of action names (`s3:GetObject*`), so that a reviewer
    sees what it grants, and needs the consent of `may_write`.
    """
    foreign = sorted(action.lower() for action in other_actions)
    entries: list[str] = []
    start_of_action: dict[str, str] = {}
    for action in dict.fromkeys(actions):
        start = _shortest_start(action, foreign, may_write)
        if start:
            start_of_action[action] = start
        else:
            entries.append(action)
    widest = _widest_starts(start_of_action.values())
    lowered = [start.lower() for start in widest]
    granted: dict[str, list[str]] = {}
    for action, start in start_of_action.items():
        # The widest start of an action is the last one in the order that is not after its start.
        index = bisect_right(lowered, start.lower()) - 1
        granted.setdefault(widest[index], []).append(action)
    for start, granted_actions in granted.items():
        entries.append(granted_actions[0] if len(granted_actions) == 1 else f"{start}*")
    return tuple(sorted(entries))


def _widest_starts(starts: Iterable[str]) -> list[str]:
    """Returns sorted starts of actions without those that begin with another one."""
    widest: list[str] = []
    for start in sorted({*starts}, key=str.lower):
        # `GetObjects` is no whole word of `GetObject`, and `GetObject*` grants it too.
        if not widest or not start.lower().startswith(widest[-1].lower()):
            widest.append(start)
    return widest


def _shortest_start(action: str, foreign: Sequence[str], may_write: Callable[[str], bool]) -> str:
    """Returns the fewest first words of an action with which no foreign action begins; empty if
    there are none.
    """
    service, _, name = action.partition(":")
    for word in _WORDS.finditer(name):
        start = f"{service}:{name[: word.end()]}"
        index = bisect_left(foreign, start.lower())
        is_foreign = index < len(foreign) and foreign[index].startswith(start.lower())
        if not is_foreign and may_write(f"{start}*"):
            return start
    return ""


class _RankedPattern(Struct, frozen=True):
    """A wildcard by the number of actions that it replaces, then by its length and text."""

    count: int
    pattern: str

    def __lt__(self, other: _RankedPattern) -> bool:
        """Returns whether this wildcard is written first."""
        return self._key > other._key

    @property
    def _key(self) -> tuple[int, int, str]:
        return self.count, len(self.pattern), self.pattern


def _candidate_patterns(
    actions: Collection[str], other_actions: Collection[str], inner: bool
) -> dict[str, set[str]]:
    """Returns wildcards that grant several of the actions and none of the others, with the actions
    that each grants.
    """
    by_service = _by_service(actions)
    foreign = _by_service(other_actions)
    counts: Counter[str] = Counter()
    for action in actions:
        counts.update(set(_word_patterns(action)))
    candidates: dict[str, set[str]] = {}
    for pattern, count in counts.items():
        prefix, _, form = pattern.partition(":")
        is_inner = form[0] == "*"
        if count < _WORTH_A_WILDCARD or (is_inner and not inner):
            continue
        text = form.strip("*").lower()
        grants = str.__contains__ if is_inner else str.startswith
        if not any(grants(name, text) for name in foreign.get(prefix, ())):
            names = by_service[prefix]
            candidates[pattern] = {names[name] for name in names if grants(name, text)}
    return candidates


def _by_service(actions: Iterable[str]) -> dict[str, dict[str, str]]:
    """Returns actions by service prefix and name in lower case."""
    names_by_service: dict[str, dict[str, str]] = {}
    for action in actions:
        prefix, _, name = action.lower().partition(":")
        names_by_service.setdefault(prefix, {})[name] = action
    return names_by_service


def _word_patterns(action: str) -> Iterator[str]:
    """Yields a pattern for each run of words: `ListLayerVersions` gives `List*`, `*Layer*`,
    `*LayerVersions*` ….
    """
    prefix, _, name = action.partition(":")
    words = _WORDS.findall(name)
    for start in range(len(words)):
        for end in range(start + 1, len(words) + 1):
            yield f"{prefix.lower()}:{'*' if start else ''}{''.join(words[start:end])}*"


class ActionWildcard(Struct, frozen=True):
    """A wildcard and the actions that it replaces, which are exactly those that it grants in the
    catalogue.
    """

    pattern: str
    actions: tuple[str, ...]


MayWriteWildcard = Callable[[Document, Statement, str], bool]
"""Decides whether a wildcard may be written into a statement: AWS may add actions that it then
grants.
"""


class MergedPolicy(Struct, frozen=True):
    """A policy with fewer statements."""

    document: Document
    sids: tuple[str, ...]
    """Sids, or lines, of the statements that were merged into others."""


class ShortenedPolicy(Struct, frozen=True):
    """A policy with wildcards in the place of actions."""

    document: Document
    wildcards: tuple[ActionWildcard, ...]


def merge_statements(document: Document, limit: int = 0) -> MergedPolicy:
    """Merges statements that differ only in their actions or their resources, and removes entries
    that others cover.

    If merging the last few brings the policy within `limit`, only those are merged, so that the
    rest of the file is unchanged.
    """
    merged_statements = _merge(document, range(len(document.statements)))
    smallest = MergedPolicy(
        _apply_merges(document, merged_statements), _merged_sids(merged_statements)
    )
    movable = [merged.statement.index for merged in merged_statements if merged.is_absorbed]
    if policy_size(smallest.document) > limit:
        return smallest

    def after(count: int) -> MergedPolicy:
        statements = _merge(document, movable[len(movable) - count :])
        changed = [merged for merged in statements if merged.is_changed]
        return MergedPolicy(_apply_merges(document, changed), _merged_sids(statements))

    # Each merge shortens the policy, so that the first sufficient count is the smallest.
    smallest_count = bisect_left(
        range(len(movable) + 1), True, key=lambda count: policy_size(after(count).document) <= limit
    )
    return after(smallest_count) if smallest_count <= len(movable) else smallest


def _merge(document: Document, may_go: Collection[int]) -> list[_MergedStatement]:
    """Returns all statements; those of `may_go` are merged into an earlier one if the meaning is
    equal.
    """
    movable = frozenset(may_go)
    is_plain = document.source.language == "plain"
    merging = [
        _MergedStatement(statement, condition_of(document, statement))
        for statement in document.statements
    ]
    targets = _MergeTargets(merging)
    for index, merged in enumerate(merging):
        if not merged.can_merge(is_plain=is_plain):
            continue
        target_index = targets.first(merged) if merged.statement.index in movable else None
        if target_index is None:
            targets.add(index)
            continue
        merged.is_absorbed = merging[target_index].absorb(merged)
        targets.add(target_index if merged.is_absorbed else index)
    return merging


class _MergeTargets:
    """Finds the first statement of equal resources, or of equal actions, without comparing all."""

    def __init__(self, merging: Sequence[_MergedStatement]) -> None:
        self._merging = merging
        self._places: dict[_MergeKey, list[int]] = defaultdict(list)
        """Key -> heap of the places of statements that have it, or had it."""

    def add(self, index: int) -> None:
        """Adds a statement, or one whose actions or resources have grown."""
        for key in self._merging[index].merge_keys():
            indexes = self._places[key]
            if not indexes or indexes[0] != index:
                heappush(indexes, index)

    def first(self, statement: _MergedStatement) -> int | None:
        """Returns the place of the first statement that has a key of the given one."""
        first_indexes: list[int] = []
        for key in statement.merge_keys():
            indexes = self._places[key]
            # A statement that absorbed another one since has other actions or resources.
            while indexes and key not in self._merging[indexes[0]].merge_keys():
                heappop(indexes)
            first_indexes.extend(indexes[:1])
        return min(first_indexes, default=None)


def _apply_merges(document: Document, merging: Iterable[_MergedStatement]) -> Document:
    return apply_edits(document, [edit for merged in merging for edit in merged.edits()])


def _merged_sids(merging: Iterable[_MergedStatement]) -> tuple[str, ...]:
    return tuple(
        merged.statement.sid or f"line {merged.statement.line}"
        for merged in merging
        if merged.is_absorbed
    )


class _MergeKey(Struct, frozen=True):
    """What statements have in common that one can absorb another of, but for a rare collision."""

    element: str
    """The element whose lists are equal, `Action` or `Resource`."""
    effect: str
    condition: str
    entries: int
    """Sum of the hashes of the entries, so that a list that grows is not read again."""
    count: int


class _EntrySet:
    """The entries of a list, each once, with the sum of their hashes."""

    def __init__(self, entries: Iterable[str]) -> None:
        self.entries = set[str]()
        self.hash_sum = 0
        self.add(entries)

    def add(self, entries: Iterable[str]) -> None:
        """Adds entries that the set may have already."""
        for entry in entries:
            if entry not in self.entries:
                self.entries.add(entry)
                self.hash_sum += hash(entry)


class _MergedStatement:
    """A statement that can absorb others."""

    def __init__(self, statement: Statement, condition: str) -> None:
        self.statement = statement
        self.condition = condition
        self.actions = [*statement.actions]
        self.resources = [*statement.resources]
        self.is_absorbed = False
        self._action_names = _EntrySet(action.lower() for action in statement.actions)
        self._resource_names = _EntrySet(statement.resources)
        self._others = _EntrySet(statement.not_resources)

    @property
    def is_changed(self) -> bool:
        """Whether the statement was absorbed or absorbed another."""
        has_grown = len(self.actions) > len(self.statement.actions)
        return self.is_absorbed or has_grown or len(self.resources) > len(self.statement.resources)

    def can_merge(self, *, is_plain: bool) -> bool:
        """Returns whether the statement can absorb others at all; `is_plain` says whether its file
        is no template.
        """
        if not self.actions:
            return False
        # A placeholder is not text that could be written elsewhere or next to other entries.
        return is_plain or not any("${" in entry for entry in (*self.actions, *self.resources))

    def merge_keys(self) -> tuple[_MergeKey, ...]:
        """Returns what a statement that can absorb this one has: first equal resources, then equal
        actions.
        """
        resources = self._resource_names if self.resources else self._others
        by_resources = self._key("Resource" if self.resources else "NotResource", resources)
        if not self.resources:
            return (by_resources,)
        return by_resources, self._key("Action", self._action_names)

    def _key(self, element: str, entries: _EntrySet) -> _MergeKey:
        return _MergeKey(
            element=element,
            effect=self.statement.effect,
            condition=self.condition,
            entries=entries.hash_sum,
            count=len(entries.entries),
        )

    def has_equal_resources(self, other: _MergedStatement) -> bool:
        """Returns whether both statements hold for the same resources."""
        is_equal = self._resource_names.entries == other._resource_names.entries
        return is_equal and self._others.entries == other._others.entries

    def absorb(self, other: _MergedStatement) -> bool:
        """Absorbs the other statement if the union grants, or denies, exactly what the two did."""
        if self.has_equal_resources(other):
            self.actions.extend(other.actions)
            self._action_names.add(other._action_names.entries)
            return True
        is_same = self._action_names.entries == other._action_names.entries
        if is_same and self.resources and other.resources:
            self.resources.extend(other.resources)
            self._resource_names.add(other._resource_names.entries)
            return True
        return False

    def edits(self) -> Iterator[Edit]:
        index = self.statement.index
        if self.is_absorbed:
            yield DropStatement(index)
            return
        yield from self._action_edits()
        old_resources = frozenset(self.statement.resources)
        resources = tuple(entry for entry in self.resources if entry not in old_resources)
        if resources:
            yield ReplaceResources(index, frozenset(), resources)

    def _action_edits(self) -> Iterator[Edit]:
        actions = _without_covered(self.actions)
        old_actions = frozenset(self.statement.actions)
        removed = old_actions - {*actions}
        new = tuple(action for action in actions if action not in old_actions)
        if new:
            insert = ((self.statement.actions[-1], new),)
            yield ReplaceActions(self.statement.index, removed, insert)
        elif removed:
            yield ReplaceActions(self.statement.index, removed)


def _without_covered(actions: Iterable[str]) -> list[str]:
    """Returns actions without those that another one covers."""
    actions_by_name: dict[str, str] = {}
    wildcards: list[str] = []
    for action in actions:
        name = patterns.folded(action)
        if name in actions_by_name or any(
            action_covers(wildcard, action) for wildcard in wildcards
        ):
            continue
        # An entry without wildcards covers only itself, so that thousands of them need no
        # comparison.
        if "*" in name or "?" in name:
            actions_by_name = {
                key: earlier_action
                for key, earlier_action in actions_by_name.items()
                if not action_covers(action, earlier_action)
            }
            wildcards = [wildcard for wildcard in wildcards if not action_covers(action, wildcard)]
            wildcards.append(action)
        actions_by_name[name] = action
    return [*actions_by_name.values()]


def shorten_actions(
    document: Document, may_write_wildcard: MayWriteWildcard, limit: int = 0
) -> ShortenedPolicy:
    """Replaces actions of Allow statements by wildcards with the same grants in the catalogue.

    `may_write_wildcard` must consent to each. Starts with the longest lists and stops when the
    policy is within `limit`.
    """
    wildcards: list[ActionWildcard] = []
    shorter = document
    excess = policy_size(document) - limit
    for statement in sorted(document.statements, key=lambda statement: -len(statement.actions)):
        if statement.effect != "Allow" or excess <= 0:
            continue
        of_statement = _wildcards(document, statement, may_write_wildcard, excess)
        if not of_statement:
            continue
        replaced = frozenset(action for wildcard in of_statement for action in wildcard.actions)
        first = next(action for action in statement.actions if action in replaced)
        replacements = tuple(wildcard.pattern for wildcard in of_statement)
        edit = ReplaceActions(statement.index, replaced, ((first, replacements),))
        shorter = apply_edits(shorter, [edit])
        excess = policy_size(shorter) - limit
        wildcards += of_statement
    return ShortenedPolicy(shorter, tuple(wildcards))


def _wildcards(
    document: Document, statement: Statement, may_write_wildcard: MayWriteWildcard, excess: int
) -> list[ActionWildcard]:
    """Returns wildcards for a statement's actions, until they save `excess` characters."""
    actions = [
        action
        for action in statement.actions
        if not set(action) & {"*", "?"} and catalog.action(action)
    ]
    names = {action.lower() for action in actions}
    prefixes = {action.partition(":")[0] for action in actions}
    other_actions = [
        action
        for prefix in prefixes
        for action in catalog.actions(prefix)
        if action.lower() not in names
    ]
    by_service = grouped([(action.partition(":")[0].lower(), action) for action in actions])
    wildcards: list[ActionWildcard] = []
    replaced = set[str]()
    saved = 0

    def may_write(pattern: str) -> bool:
        nonlocal saved
        if saved >= excess or not may_write_wildcard(document, statement, pattern):
            return False
        service_actions = by_service[pattern.partition(":")[0]]
        granted = [action for action in service_actions if action_covers(pattern, action)]
        wildcards.append(ActionWildcard(pattern, tuple(granted)))
        saved += _length({*granted} - replaced) - _length([pattern])
        replaced.update(granted)
        return True

    wildcards_for(actions, other_actions, may_write)
    return sorted(wildcards, key=lambda each: each.pattern)


def _length(entries: Iterable[str]) -> int:
    """Counts characters of list entries with their quotes and commas."""
    return sum(len(entry) + len('"",') for entry in entries)
