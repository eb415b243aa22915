"""A policy with fewer characters that allows and denies the same.

Lists of actions shortened by wildcards that grant, of today's catalogue, exactly the same actions.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from leastpriv.permissions import catalog, patterns
from leastpriv.permissions.patterns import action_covers
from leastpriv.policy.document import Document, Statement
from leastpriv.policy.edit import DropStatement, Edit, ReplaceActions, ReplaceResources, apply
from leastpriv.policy.evaluate import policy_size
from leastpriv.policy.syntax_tree import minified

_WORTH_A_WILDCARD = 3
"""Fewer actions are as short by themselves."""


def folded(
    actions: Collection[str], others: Collection[str], may_write: Callable[[str], bool], *, inner: bool = True
) -> tuple[str, ...]:
    """Entries, sorted, that stand for `actions` and for none of `others`.

    A wildcard is over whole words of names, at their beginning (`lambda:List*`) or with `inner` anywhere
    (`lambda:*Layer*`), stands for three actions or more, and is written only where `may_write` says so.
    """
    folds, rest, entries = _action_folds(actions, others, inner), set(actions), list[str]()
    while rest:
        pattern = max(folds, key=lambda fold: (len(folds[fold] & rest), len(fold), fold), default="")
        if not pattern or len(folds[pattern] & rest) < _WORTH_A_WILDCARD:
            break
        stands_for = folds.pop(pattern)
        if may_write(pattern):
            entries.append(pattern)
            rest -= stands_for
    return tuple(sorted({*entries, *rest}))


@dataclass(frozen=True, slots=True)
class _Fold:
    """A wildcard over whole words of action names: `lambda:List*`, `lambda:*Layer*`."""

    prefix: str
    text: str
    anchored: bool
    """The names begin with the text."""

    @property
    def pattern(self) -> str:
        return f"{self.prefix}:{'' if self.anchored else '*'}{self.text}*"

    def among(self, names: Mapping[str, str]) -> set[str]:
        """Those of a service's actions, by lower-case name, that the wildcard grants."""
        text = self.text.lower()
        if self.anchored:
            return {action for name, action in names.items() if name.startswith(text)}
        return {action for name, action in names.items() if text in name}


def _action_folds(actions: Collection[str], others: Collection[str], inner: bool) -> dict[str, set[str]]:
    """Wildcards that grant several of the actions and none of the others, with what they grant of the former."""
    own, foreign = _by_service(actions), _by_service(others)
    counts = Counter(fold for action in actions for fold in set(_word_folds(action)))
    return {
        fold.pattern: fold.among(own[fold.prefix])
        for fold, count in counts.items()
        if count >= _WORTH_A_WILDCARD and (inner or fold.anchored) and not fold.among(foreign.get(fold.prefix, {}))
    }


def _by_service(actions: Collection[str]) -> dict[str, dict[str, str]]:
    """Prefix -> lower-case name -> action."""
    found: dict[str, dict[str, str]] = {}
    for action in actions:
        prefix, _, name = action.partition(":")
        found.setdefault(prefix.lower(), {})[name.lower()] = action
    return found


def _word_folds(action: str) -> Iterator[_Fold]:
    """All runs of words of a name: `ListLayerVersions` gives `List*`, `*Layer*`, `*LayerVersions*` …."""
    prefix, _, name = action.partition(":")
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z][a-z0-9]*|[a-z0-9]+", name)
    for start in range(len(words)):
        for end in range(start + 1, len(words) + 1):
            yield _Fold(prefix.lower(), "".join(words[start:end]), anchored=start == 0)


@dataclass(frozen=True, slots=True)
class Fold:
    """A wildcard that stands for several actions, exactly those that it grants in the catalogue."""

    pattern: str
    actions: tuple[str, ...]


MayFold = Callable[[Document, Statement, str], bool]
"""Whether a wildcard may be written into a statement of a document: AWS may add actions that it grants."""


def merge(document: Document, limit: int = 0) -> tuple[Document, tuple[str, ...]]:
    """Statements that differ in their actions or their resources alone as one, and no entry that another one covers.

    Where fewer do to bring the policy within `limit`, the last ones alone: what need not change stays as it is.
    Returns Sids (or places) of the statements that became part of another one beside the policy.
    """
    left = _merged(document, range(len(document.statements)))
    whole = _applied(document, left)
    movable = [each.statement.index for each in left if each.gone]
    if policy_size(whole) > limit:
        return whole, _names(left)

    def after(count: int) -> tuple[Document, tuple[str, ...]]:
        few = _merged(document, movable[len(movable) - count :])
        return _applied(document, [each for each in few if each.is_changed]), _names(few)

    # Each one that goes makes it shorter: the first count that is enough is the least.
    enough = bisect_left(range(len(movable) + 1), True, key=lambda count: policy_size(after(count)[0]) <= limit)
    return after(enough) if enough <= len(movable) else (whole, _names(left))


def _merged(document: Document, may_go: Collection[int]) -> list[_Merging]:
    """All statements, those of `may_go` taken in by an earlier one where that says the same."""
    is_plain = document.source.language == "plain"
    left = [_Merging(statement, condition_of(document, statement), is_plain) for statement in document.statements]
    for place, each in enumerate(left):
        if each.statement.index in may_go:
            each.gone = any(not other.gone and other.takes(each) for other in left[:place])
    return left


def _applied(document: Document, merging: Iterable[_Merging]) -> Document:
    return apply(document, [edit for each in merging for edit in each.edits()])


def _names(merging: Iterable[_Merging]) -> tuple[str, ...]:
    return tuple(each.statement.sid or f"line {each.statement.line}" for each in merging if each.gone)


def condition_of(document: Document, statement: Statement) -> str:
    """A statement's condition as JSON without white space; empty where it has none."""
    node = document.statement_nodes[statement.index].get_any_case("Condition")
    return minified(node) if node else ""


@dataclass(slots=True)
class _Merging:
    """A statement that takes others in."""

    statement: Statement
    condition: str
    is_plain: bool
    """The file is no template."""
    actions: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    gone: bool = False

    def __post_init__(self) -> None:
        self.actions, self.resources = self.statement.actions, self.statement.resources

    @property
    def is_changed(self) -> bool:
        """Whether it goes, or took another one in."""
        return self.gone or (self.actions, self.resources) != (self.statement.actions, self.statement.resources)

    def takes(self, other: _Merging) -> bool:
        """Take the other statement in where that grants, or denies, nothing that neither did."""
        one, two = self.statement, other.statement
        if (one.effect, self.condition) != (two.effect, other.condition) or not (self.actions and other.actions):
            return False
        entries = (*self.actions, *self.resources, *other.actions, *other.resources)
        if not self.is_plain and any("${" in entry for entry in entries):
            # A part that only the template knows is no text that could be written in another place, nor beside others.
            return False
        if {*self.resources} == {*other.resources} and {*one.not_resources} == {*two.not_resources}:
            self.actions = (*self.actions, *other.actions)
            return True
        same = {action.lower() for action in self.actions} == {action.lower() for action in other.actions}
        if same and self.resources and other.resources:
            self.resources = (*self.resources, *other.resources)
            return True
        return False

    def edits(self) -> Iterator[Edit]:
        index = self.statement.index
        if self.gone:
            yield DropStatement(index)
            return
        kept = _uncovered(self.actions)
        removed = frozenset(self.statement.actions) - {*kept}
        new = tuple(action for action in kept if action not in self.statement.actions)
        if removed or new:
            yield ReplaceActions(index, removed, ((self.statement.actions[-1], new),) if new else ())
        resources = tuple(entry for entry in self.resources if entry not in self.statement.resources)
        if resources:
            yield ReplaceResources(index, frozenset(), resources)


def _uncovered(actions: Iterable[str]) -> tuple[str, ...]:
    """Entries without those that another one grants as well."""
    kept: dict[str, str] = {}
    wildcards: list[str] = []
    for action in actions:
        name = patterns.folded(action)
        if name in kept or any(action_covers(other, action) for other in wildcards):
            continue
        # An entry without wildcards grants itself alone: thousands of them are not compared with each other.
        if "*" in name or "?" in name:
            kept = {key: other for key, other in kept.items() if not action_covers(action, other)}
            wildcards = [*(other for other in wildcards if not action_covers(action, other)), action]
        kept[name] = action
    return tuple(kept.values())


def fold(document: Document, may_fold: MayFold, limit: int = 0) -> tuple[Document, tuple[Fold, ...]]:
    """Actions of Allow statements as wildcards that grant the same of the catalogue, where `may_fold` lets them.

    Those that save most come first, in the statements with the longest lists, and none any more once the policy is
    within `limit`.
    """
    folds: list[Fold] = []
    shorter, excess = document, policy_size(document) - limit
    for statement in sorted(document.statements, key=lambda each: -len(each.actions)):
        found = _folds(document, statement, may_fold, excess) if statement.effect == "Allow" and excess > 0 else []
        if found:
            gone = frozenset(action for each in found for action in each.actions)
            first = next(action for action in statement.actions if action in gone)
            written = tuple(each.pattern for each in found)
            shorter = apply(shorter, [ReplaceActions(statement.index, gone, ((first, written),))])
            excess = policy_size(shorter) - limit
            folds += found
    return shorter, tuple(folds)


def _folds(document: Document, statement: Statement, may_fold: MayFold, excess: int) -> list[Fold]:
    """Wildcards for a statement's actions, until they save `excess` characters."""
    actions = [action for action in statement.actions if not set(action) & {"*", "?"} and catalog.action(action)]
    names = {action.lower() for action in actions}
    prefixes = {action.partition(":")[0] for action in actions}
    others = [each for prefix in prefixes for each in catalog.actions(prefix) if each.lower() not in names]
    found: list[Fold] = []

    def may_write(pattern: str) -> bool:
        gone = {action for each in found for action in each.actions}
        if _length(gone) - _length(each.pattern for each in found) >= excess:
            return False
        if not may_fold(document, statement, pattern):
            return False
        found.append(Fold(pattern, tuple(action for action in actions if action_covers(pattern, action))))
        return True

    folded(actions, others, may_write)
    return sorted(found, key=lambda each: each.pattern)


def _length(entries: Iterable[str]) -> int:
    """Characters of entries in a list, with their quotes and commas."""
    return sum(len(entry) + len('"",') for entry in entries)
