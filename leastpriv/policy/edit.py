"""The smallest edit of a policy file, made in its text: what must not change is never written anew.

Edits name statements by their index in the document they are applied to; all edits of one call refer to the
same document, however many statements they drop.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from leastpriv.errors import PolicyFileError
from leastpriv.policy.document import VARIABLES_VERSION, Document, parse
from leastpriv.policy.layout import (
    Layout,
    indentation,
    layout_of,
    list_text,
    statement_list_text,
    statement_text,
)
from leastpriv.policy.spans import Node, quoted

_EMPTY_POLICY = b'{\n  "Version": "2012-10-17",\n  "Statement": []\n}\n'


@dataclass(frozen=True, slots=True)
class ReplaceActions:
    """Drop entries from a statement's Action and put others where they stood."""

    statement: int
    remove: frozenset[str]
    """Entries exactly as written; every duplicate goes."""
    insert: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """(entry as written, new entries): they follow the entry, or take its place where it is removed."""


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
    """Put entries after the last one of a statement's Action."""

    statement: int
    actions: tuple[str, ...]


Edit = ReplaceActions | DropStatement | AppendStatement | AppendActions


@dataclass(slots=True)
class _Slots:
    """What becomes of the entries of one list: each slot loses its entry, gains followers, or stays."""

    drop: set[int] = field(default_factory=set)
    after: dict[int, list[str]] = field(default_factory=lambda: defaultdict(list))


def apply(document: Document, edits: Sequence[Edit]) -> Document:
    """Return the document after all `edits`, changing only the lines that have to change.

    A statement that loses its last action goes whole. An action that the statement's list already has (in any
    case) is not written again. Raises PolicyFileError where a statement with `${` is appended to a document
    in which that would be plain text, ValueError where an edit names a statement or an entry that does not
    exist.
    """
    layout = layout_of(document)
    texts = [document.text[node.start : node.end] for node in document.statement_nodes]
    dropped: set[int] = set()
    for index in sorted({edit.statement for edit in edits if not isinstance(edit, AppendStatement)}):
        if not 0 <= index < len(texts):
            raise ValueError(f"the policy has no statement {index}")
        new = _edited_statement(document, index, edits, layout)
        dropped |= {index} if new is None else set()
        texts[index] = new or texts[index]
    appended = [edit.statement for edit in edits if isinstance(edit, AppendStatement)]
    for statement in appended:
        _refuse_unescaped(document, statement)
    new_text = _with_statements(document, texts, dropped, appended, layout)
    return parse(new_text.encode("utf-8"), document.where, document.pointer)


def create(statements: Sequence[Mapping[str, object]]) -> bytes:
    """Return a new policy file of version 2012-10-17: two blanks a level, one entry a line, final newline."""
    empty = parse(_EMPTY_POLICY, "new policy")
    return apply(empty, [AppendStatement(statement) for statement in statements]).to_bytes()


def _refuse_unescaped(document: Document, statement: Mapping[str, object]) -> None:
    if document.version == VARIABLES_VERSION:
        return
    if any("${" in text for text in _strings(list(statement.values()))):
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


def _edited_statement(document: Document, index: int, edits: Sequence[Edit], layout: Layout) -> str | None:
    """Return the new text of a statement; None where it goes whole."""
    slots = _Slots()
    entries = document.statements[index].actions
    for edit in edits:
        if isinstance(edit, AppendStatement) or edit.statement != index:
            continue
        if isinstance(edit, DropStatement):
            return None
        _plan(slots, entries, edit)
    kept = [entry for place, entry in enumerate(entries) if place not in slots.drop]
    _forget_duplicates(slots, kept)
    if len(kept) == 0 and not any(slots.after.values()):
        return None
    return _with_actions(document, document.statement_nodes[index], entries, slots, layout)


def _plan(slots: _Slots, entries: tuple[str, ...], edit: ReplaceActions | AppendActions) -> None:
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


def _forget_duplicates(slots: _Slots, kept: Sequence[str]) -> None:
    seen = {entry.casefold() for entry in kept}
    for place in sorted(slots.after):
        fresh: dict[str, str] = {}
        for action in slots.after[place]:
            fresh.setdefault(action.casefold(), action)
        slots.after[place] = [action for name, action in fresh.items() if name not in seen]
        seen |= fresh.keys()


def _with_actions(document: Document, node: Node, entries: tuple[str, ...], slots: _Slots, layout: Layout) -> str:
    text, value = document.text, node.get_any_case("Action")
    if value is None:
        raise ValueError("the statement has no Action")
    after = {place: [quoted(action) for action in actions] for place, actions in slots.after.items()}
    if value.kind == "array":
        written = [text[item.start : item.end] for item in value.items]
        new = _rewritten(text, value, written, _Slots(slots.drop, after), layout)
    else:
        actions = [entry for entry in entries if not slots.drop] + slots.after.get(0, [])
        new = quoted(actions[0]) if len(actions) == 1 else _list_for_string(text, value, actions, layout)
        new = text[value.start : value.end] if actions == list(entries) else new
    return text[node.start : value.start] + new + text[value.end : node.end]


def _list_for_string(text: str, value: Node, actions: Sequence[str], layout: Layout) -> str:
    return list_text(actions, indentation(text, value.start), layout)


def _with_statements(
    document: Document,
    texts: Sequence[str],
    dropped: set[int],
    appended: Sequence[Mapping[str, object]],
    layout: Layout,
) -> str:
    text, value = document.text, document.policy.get_any_case("Statement")
    if value is None:
        raise ValueError("the document has no Statement")
    if len(dropped) == len(texts):
        indent = indentation(text, value.start)
        fresh = [statement_text(statement, indent + layout.unit, layout) for statement in appended]
        new = statement_list_text(fresh, indent, layout)
    else:
        indent = indentation(text, document.statement_nodes[-1].end - 1)
        slots = _Slots(dropped)
        slots.after[len(texts) - 1] += [statement_text(statement, indent, layout) for statement in appended]
        new = _rewritten(text, value, texts, slots, layout)
    return text[: value.start] + new + text[value.end :]


def _rewritten(text: str, value: Node, written: Sequence[str], slots: _Slots, layout: Layout) -> str:
    """Return the text of a list of which at least one entry remains, keeping the separators it has."""
    if value.kind == "object":
        entries = [*written, *slots.after.get(0, [])]
        return entries[0] if len(entries) == 1 else "[" + layout.comma.join(entries) + "]"
    items = value.items
    lead, tail = text[value.start + 1 : items[0].start], text[items[-1].end : value.end - 1]
    between = [text[one.end : other.start] for one, other in pairwise(items)]
    usual = _usual_separator(lead, between, layout)
    result, last = "", -1
    for place, entry in enumerate(written):
        entries = ([] if place in slots.drop else [entry]) + slots.after.get(place, [])
        if entries:
            result += (lead if last < 0 else _joined(between[last:place])) + usual.join(entries)
            last = place
    return "[" + result + tail + "]"


def _usual_separator(lead: str, between: Sequence[str], layout: Layout) -> str:
    if broken := [separator for separator in between if "\n" in separator]:
        return min(broken, key=lambda separator: separator.count("\n"))
    if between:
        return between[0]
    if "\n" in lead:
        return "," + layout.newline + lead[lead.rfind("\n") + 1 :]
    return layout.comma


def _joined(separators: Sequence[str]) -> str:
    """Make one separator of those around dropped entries: the first's end of line, the last's beginning."""
    first, last = separators[0], separators[-1]
    if "\n" not in first or "\n" not in last:
        return first if "\n" in first else last
    if first.count("\n") >= last.count("\n"):
        joined = first[: first.rfind("\n") + 1] + last[last.rfind("\n") + 1 :]
    else:
        joined = first[: first.find("\n") + 1] + last[last.find("\n") + 1 :]
    return joined if joined.count(",") == 1 else first
