"""Compares what two versions of a policy grant and deny, independent of their form.

Other statements, orders, spellings or wildcards of equal meaning are no difference.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from msgspec import Struct

from leastpriv.diff.statement_coverage import (
    ActionEntry,
    ComparableStatement,
    ResourceEntry,
    actions_on_resource,
    catalogue_actions,
    conditions_implied,
    covers_actions,
    covers_resource,
    is_pattern,
    shared_resources,
    shown_resources,
    statements_with_effect,
)
from leastpriv.models import Condition
from leastpriv.policy.document import Document, Statement


class EntryDiff(Struct, frozen=True):
    """The part of one entry of a statement that the other version lacks."""

    statement: Statement
    entry: str
    """As written; `NotAction: …` for all entries of a NotAction."""
    granted: int
    """Number of catalogue actions that the entry names on its statement's resources."""
    only: tuple[str, ...]
    """Actions that the other version does not have on these resources."""
    partly: tuple[str, ...]
    """Actions that the other version has on fewer resources."""
    on: tuple[str, ...]
    """Resources on which the versions differ."""
    elsewhere: tuple[str, ...]
    """Resources on which the other version has `partly`."""
    whole: bool
    """Whether the other version has no part of the entry."""

    @property
    def actions(self) -> tuple[str, ...]:
        """All actions that differ; empty if only future actions of AWS differ, as between a wildcard and its list."""
        return tuple(sorted({*self.only, *self.partly}))


class ConditionDiff(Struct, frozen=True):
    """Actions that both versions name on the same resources under different conditions."""

    effect: str
    before: tuple[Condition, ...]
    after: tuple[Condition, ...]
    actions: tuple[str, ...]
    on: tuple[str, ...]
    stricter: bool
    """Whether a request, as far as the text shows, meets the conditions before and not after."""
    looser: bool
    """The reverse; both may be true."""

    @property
    def widens(self) -> bool:
        """Whether more may be allowed after: an Allow under fewer conditions, or a Deny under more."""
        return self.looser if self.effect == "Allow" else self.stricter


class PolicyDiff(Struct, frozen=True):
    """All differences; empty if both versions have the same meaning."""

    removed: tuple[EntryDiff, ...]
    """Grants of the version before."""
    added: tuple[EntryDiff, ...]
    """Grants of the version after."""
    denies_removed: tuple[EntryDiff, ...]
    denies_added: tuple[EntryDiff, ...]
    conditions: tuple[ConditionDiff, ...]


class _ConditionChange(Struct):
    """Actions and resources with the same pair of condition sets."""

    actions: set[str] = set()
    on: dict[str, None] = {}
    stricter: bool = False
    looser: bool = False


_Key = tuple[str, frozenset[Condition], frozenset[Condition]]
"""Effect, conditions before and after."""


def diff_policies(before: Document | None, after: Document | None, attached: Sequence[Document] = ()) -> PolicyDiff:
    """Compares two versions of a policy (None: no file); what another attached policy has too is no difference."""
    found: dict[str, list[EntryDiff]] = {}
    conditioned: dict[_Key, _ConditionChange] = {}
    for effect in ("Allow", "Deny"):
        for one, other, is_before in ((before, after, True), (after, before, False)):
            others = statements_with_effect([other, *attached], effect)
            side = _EntryComparison(others, is_before, conditioned)
            same = {each.statement.meaning for each in others}
            own = [each for each in statements_with_effect([one], effect) if each.statement.meaning not in same]
            found[f"{effect} {is_before}"] = [
                edit for statement in own for entry in statement.action_entries if (edit := side.edit(statement, entry))
            ]
    return PolicyDiff(
        removed=tuple(found["Allow True"]),
        added=tuple(found["Allow False"]),
        denies_removed=tuple(found["Deny True"]),
        denies_added=tuple(found["Deny False"]),
        conditions=tuple(
            ConditionDiff(
                effect=effect,
                before=tuple(sorted(fewer)),
                after=tuple(sorted(more)),
                actions=tuple(sorted(note.actions)),
                on=tuple(note.on),
                stricter=note.stricter,
                looser=note.looser,
            )
            for (effect, fewer, more), note in conditioned.items()
        ),
    )


class _EntryComparison:
    """Compares the entries of one version with the other version."""

    def __init__(
        self, others: Sequence[ComparableStatement], is_before: bool, conditioned: dict[_Key, _ConditionChange]
    ) -> None:
        self._others = others
        self._is_before = is_before
        self._conditioned = conditioned
        self._covering: dict[tuple[ResourceEntry, bool], Sequence[ComparableStatement]] = {}

    def edit(self, statement: ComparableStatement, entry: ActionEntry) -> EntryDiff | None:
        """Returns the part of an entry that the other version lacks; collects changed conditions separately."""
        only: set[str] = set()
        partly: set[str] = set()
        elsewhere: dict[str, None] = {}
        lacking = {
            resource: rest
            for resource in statement.resource_entries
            if (rest := self._rest(statement, entry, resource)) is not None
        }
        for resource, rest in lacking.items():
            left: set[str] = set()
            for entries, actions in self._shared(statement, resource, rest):
                elsewhere.update(dict.fromkeys(entries))
                left |= actions
            only |= rest - left
            partly |= left
        if not lacking:
            return None
        only -= partly
        granted = len(
            frozenset[str]().union(
                *(actions_on_resource(statement, entry, resource) for resource in statement.resource_entries)
            )
        )
        spelled = (
            {}
            if is_pattern(entry)
            else {action: str(entry) for action in catalogue_actions(entry) if action == str(entry).lower()}
        )
        return EntryDiff(
            statement=statement.statement,
            entry=entry if isinstance(entry, str) else f"NotAction: {', '.join(entry)}",
            granted=granted,
            only=tuple(sorted(spelled.get(action, action) for action in only)),
            partly=tuple(sorted(spelled.get(action, action) for action in partly)),
            on=tuple(dict.fromkeys(entry for resource in lacking for entry in shown_resources(resource))),
            elsewhere=tuple(elsewhere),
            whole=not partly and len(only) == granted and len(lacking) == len(statement.resource_entries),
        )

    def _rest(self, statement: ComparableStatement, entry: ActionEntry, resource: ResourceEntry) -> set[str] | None:
        """Returns an entry's actions that no statement covers on a resource; None if there is no difference."""
        key = resource, statement.statement.variables
        if key not in self._covering:
            self._covering[key] = [
                other for other in self._others if covers_resource(other, resource, statement.statement.variables)
            ]
        there = self._covering[key]
        same = [other for other in there if conditions_implied(other.conditions, statement.conditions)]
        if any(covers_actions(other, entry) for other in same):
            return None
        here = actions_on_resource(statement, entry, resource)
        rest = set(here).difference(*(other.actions for other in same))
        for other in there:
            shared = rest & other.actions if other not in same else None
            if shared:
                self._note(statement, other, shared, resource)
                rest -= shared
        # A wildcard exceeds its list, because it also names future actions.
        more = (
            is_pattern(entry)
            and bool(here or not catalogue_actions(entry))
            and not any(covers_actions(o, entry) for o in there)
        )
        return rest if rest or more else None

    def _shared(
        self, statement: ComparableStatement, resource: ResourceEntry, rest: set[str]
    ) -> Iterator[tuple[tuple[str, ...], set[str]]]:
        """Yields the other version's resources for some of the actions, and these actions."""
        for other in self._others:
            actions = rest & other.actions
            entries = shared_resources(other, resource, statement.statement.variables) if actions else ()
            if entries:
                yield entries, actions

    def _note(
        self, statement: ComparableStatement, other: ComparableStatement, actions: set[str], resource: ResourceEntry
    ) -> None:
        before, after = (statement, other) if self._is_before else (other, statement)
        key = (statement.statement.effect, before.conditions, after.conditions)
        note = self._conditioned.setdefault(key, _ConditionChange())
        note.actions |= actions
        note.on.update(dict.fromkeys(shown_resources(resource)))
        note.stricter = note.stricter or self._is_before
        note.looser = note.looser or not self._is_before


def json_patch(committed: Document | None, proposed: Document) -> str:
    """Returns a JSON Patch from the committed file's value to the proposed value, as indented JSON.

    Without a file the patch adds the whole value. YAML templates have their functions in the long form, as
    `{"Fn::Sub": …}`. The patch is verified by applying it: if the library's shortest patch fails (moves within lists of
    equal items), the whole value is replaced.
    """
    import jsonpatch

    pointer, after = proposed.value_in_file()
    if committed is None:
        return _text([{"op": "add", "path": "", "value": after}], "")
    before = committed.value_in_file()[1]
    operations = jsonpatch.make_patch(before, after).patch
    try:
        right = jsonpatch.apply_patch(before, operations) == after
    except jsonpatch.JsonPatchException:
        right = False
    return _text(operations if right else [{"op": "replace", "path": "", "value": after}], pointer)


def _text(operations: list[dict[str, Any]], pointer: str) -> str:
    """Prefixes the operations' paths with `pointer`."""
    places = ("path", "from")
    moved = [{key: pointer + value if key in places else value for key, value in each.items()} for each in operations]
    # `##[` is a workflow command of the runner at any position in a line, so it gets an escape.
    return json.dumps(moved, indent=2).replace("##[", "#\\u0023[") + "\n"
