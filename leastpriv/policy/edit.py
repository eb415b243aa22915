"""The smallest edit of a policy file, made in its text: what must not change is never written anew.

Edits name statements by their index in the document they are applied to; all edits of one call refer to the
same document, however many statements they drop.

A list in brackets rewritten so that what stays keeps its text, its separators and its comments.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from leastpriv.errors import PolicyFileError
from leastpriv.policy.document import VARIABLES_VERSION, Document, parse
from leastpriv.policy.json_writer import Slots, Splice
from leastpriv.policy.writers import BlockWriter, BracketWriter, Writer

_EMPTY_POLICY = b'{\n  "Version": "2012-10-17",\n  "Statement": []\n}\n'


@dataclass(frozen=True, slots=True)
class ReplaceActions:
    """Drop entries from a statement's Action and put others where they stood."""

    statement: int
    remove: frozenset[str]
    """Entries exactly as written; every duplicate goes."""
    insert: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """(entry as written, new entries): they follow the entry, or take its place where it is removed; in a sorted list
    they go where they belong."""


@dataclass(frozen=True, slots=True)
class DropStatement:
    """Drop a statement whole."""

    statement: int


@dataclass(frozen=True, slots=True)
class AppendStatement:
    """Put a statement after the last one."""

    statement: Mapping[str, object] = field(hash=False)
    """Sid, Effect, Action, Resource, Condition as in JSON; lists may be tuples."""


@dataclass(frozen=True, slots=True)
class AppendActions:
    """Put entries after the last one of a statement's Action, in a sorted list where they belong."""

    statement: int
    actions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReplaceResources:
    """Drop entries from a statement's Resource and put others where they stood."""

    statement: int
    remove: frozenset[str]
    """Entries exactly as written; every duplicate goes."""
    insert: tuple[str, ...] = ()
    """They take the place of the first entry removed, or follow the last one; in a sorted list as in `ReplaceActions`.
    """


@dataclass(frozen=True, slots=True)
class ReplaceNotAction:
    """Write a statement with Action in the place of its NotAction."""

    statement: int
    actions: tuple[str, ...]


Edit = ReplaceActions | DropStatement | AppendStatement | AppendActions | ReplaceResources | ReplaceNotAction


def apply(document: Document, edits: Sequence[Edit]) -> Document:
    """Return the document after all `edits`, changing only the lines that have to change.

    A statement that loses its last action goes whole. An action that the statement's list already has (in any
    case) is not written again. Raises PolicyFileError where a statement or a resource with `${` is new to a document
    in which that would be plain text, or a list is laid out in a way that no edit fits; ValueError where an edit
    names a statement or an entry that does not exist.
    """
    appended = [edit.statement for edit in edits if isinstance(edit, AppendStatement)]
    _refuse_unescaped(document, edits)
    writer = _writer(document)
    splices: dict[int, list[Splice]] = {}
    dropped: set[int] = set()
    for index in sorted({edit.statement for edit in edits if not isinstance(edit, AppendStatement)}):
        if not 0 <= index < len(document.statements):
            raise ValueError(f"the policy has no statement {index}")
        found = _splices(document, index, edits, writer)
        if found is None:
            dropped.add(index)
        else:
            splices[index] = found
    text = writer.whole(splices, dropped, appended)
    try:
        return document.with_text(text)
    except PolicyFileError as error:
        # What we wrote is no policy: the file was read before, so that its owner has nothing to correct.
        raise PolicyFileError(
            f"{document.where}: the change finds no place in the way this file is laid out; write its lists with one "
            "entry a line."
        ) from error


def _writer(document: Document) -> Writer:
    value = document.policy.get_any_case("Statement")
    is_empty = value is not None and not (value.items or value.members)
    in_blocks = value is not None and (value.block or (is_empty and document.policy.block))
    return BlockWriter(document) if in_blocks else BracketWriter(document)


def create(statements: Sequence[Mapping[str, object]]) -> bytes:
    """Return a new policy file of version 2012-10-17: two blanks a level, one entry a line, final newline."""
    empty = parse(_EMPTY_POLICY, "new policy")
    return apply(empty, [AppendStatement(statement) for statement in statements]).to_bytes()


def _refuse_unescaped(document: Document, edits: Sequence[Edit]) -> None:
    if document.version == VARIABLES_VERSION:
        return
    new = [text for edit in edits if isinstance(edit, AppendStatement) for text in _strings(edit.statement)]
    there = {resource for statement in document.statements for resource in statement.resources}
    # A resource that moves within the document means what it did.
    new += [text for edit in edits if isinstance(edit, ReplaceResources) for text in {*edit.insert} - there]
    if any("${" in text for text in new):
        raise PolicyFileError(
            f"{document.where}: a resource that needs an escape such as ${{*}} cannot be added, because IAM "
            f'reads it as plain text without "Version": "{VARIABLES_VERSION}"; set that version first.'
        )


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from _strings(list(value.values()))
    elif isinstance(value, Sequence):
        for item in value:
            yield from _strings(item)


def _splices(document: Document, index: int, edits: Sequence[Edit], writer: Writer) -> list[Splice] | None:
    """Return what changes within a statement; None where it goes whole."""
    slots, splices = Slots(), list[Splice]()
    entries = document.statements[index].actions
    for edit in edits:
        if isinstance(edit, AppendStatement) or edit.statement != index:
            continue
        if isinstance(edit, DropStatement):
            return None
        if isinstance(edit, ReplaceResources):
            splices.append(writer.rewritten(index, "Resource", _with_resources(document, edit)))
        elif isinstance(edit, ReplaceNotAction):
            splices.append(_without_not_action(document, edit, writer))
        else:
            _plan(slots, entries, edit)
    if slots.drop or slots.after:
        kept = [entry for place, entry in enumerate(entries) if place not in slots.drop]
        _forget_duplicates(slots, kept, str.casefold)
        _keep_sorted(slots, entries)
        if not (kept or any(slots.after.values())):
            return None
        splices.append(writer.rewritten(index, "Action", slots))
    return splices


def _with_resources(document: Document, edit: ReplaceResources) -> Slots:
    entries = document.statements[edit.statement].resources
    if missing := edit.remove - set(entries):
        raise ValueError(f"statement {edit.statement} has no resource {min(missing)}")
    slots = Slots({place for place, entry in enumerate(entries) if entry in edit.remove})
    slots.after[min(slots.drop, default=len(entries) - 1)] += edit.insert
    kept = [entry for place, entry in enumerate(entries) if place not in slots.drop]
    _forget_duplicates(slots, kept, str)
    _keep_sorted(slots, entries)
    if not (kept or any(slots.after.values())):
        raise ValueError(f"statement {edit.statement} would have no resource")
    return slots


def _without_not_action(document: Document, edit: ReplaceNotAction, writer: Writer) -> Splice:
    member = document.statement_nodes[edit.statement].member_any_case("NotAction")
    if member is None or not edit.actions:
        raise ValueError(f"statement {edit.statement} has no NotAction to replace")
    return writer.renamed(member, "Action", edit.actions)


def _plan(slots: Slots, entries: tuple[str, ...], edit: ReplaceActions | AppendActions) -> None:
    if not entries:
        raise ValueError(f"statement {edit.statement} has no Action list to edit")
    if isinstance(edit, AppendActions):
        slots.after[len(entries) - 1] += edit.actions
        return
    if missing := (edit.remove | {place for place, _ in edit.insert}) - set(entries):
        raise ValueError(f"statement {edit.statement} has no action {min(missing)}")
    slots.drop |= {place for place, entry in enumerate(entries) if entry in edit.remove}
    for place, actions in edit.insert:
        slots.after[entries.index(place)] += actions


def _forget_duplicates(slots: Slots, kept: Sequence[str], same: Callable[[str], str]) -> None:
    """Leave out new entries that are there already; `same` makes equal what counts as equal."""
    seen = {same(entry) for entry in kept}
    for place in sorted(slots.after):
        fresh: dict[str, str] = {}
        for entry in slots.after[place]:
            fresh.setdefault(same(entry), entry)
        slots.after[place] = [entry for name, entry in fresh.items() if name not in seen]
        seen |= fresh.keys()


def _keep_sorted(slots: Slots, entries: Sequence[str]) -> None:
    """Put new entries where they belong in a list that its owner keeps sorted; `entries` are those before the edit."""
    key = _order_of(entries)
    if key is None:
        return
    new = sorted((entry for place in sorted(slots.after) for entry in slots.after[place]), key=key)
    there = [key(entry) for entry in entries]
    slots.after.clear()
    for entry in new:
        slots.after[bisect_right(there, key(entry)) - 1].append(entry)


def _order_of(entries: Sequence[str]) -> Callable[[str], str] | None:
    """The order that a list is kept in, with or without regard to case; two entries and fewer show none."""
    if len({*entries}) < 3:
        return None
    orders: tuple[Callable[[str], str], ...] = (str.casefold, str)
    return next((key for key in orders if all(key(one) <= key(other) for one, other in pairwise(entries))), None)
