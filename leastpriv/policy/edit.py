"""Edits a policy file in its text, so that unaffected lines keep every byte.

Edits name statements by index; all edits of one call refer to the document before the call, however
many statements they drop.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from itertools import pairwise

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.errors import PolicyFileError
from leastpriv.models import grouped
from leastpriv.policy.document import VARIABLES_VERSION, Document, Statement, parse
from leastpriv.policy.json_writer import (
    JsonStyle,
    ListChanges,
    Splice,
    StatementSplices,
    Writer,
    accepts_entries,
    apply_splices,
    editable_member,
    entry_list_text,
    indentation,
    json_style_of,
    layout_error,
    map_strings,
    reread,
    rewrite_list,
    statement_list_text,
    statement_text,
)
from leastpriv.policy.syntax_tree import Member, Node
from leastpriv.policy.template_functions import (
    joined_text,
    language_of,
    template_escape,
    with_build_step_names,
)

_EMPTY_POLICY = b'{\n  "Version": "2012-10-17",\n  "Statement": []\n}\n'


class ReplaceActions(Struct, frozen=True):
    """Removes entries from a statement's Action and inserts others at their positions."""

    statement: int
    remove: frozenset[str]
    """Entries exactly as written; all duplicates are removed."""
    insert: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """(entry as written, new entries): the new entries follow the entry or replace it if it is
    removed; in a sorted list they are inserted in order."""


class DropStatement(Struct, frozen=True):
    """Removes a whole statement."""

    statement: int


@dataclass(frozen=True, slots=True)
class AppendStatement:
    """Adds a statement after the last one."""

    statement: Mapping[str, object] = field(hash=False)
    """Sid, Effect, Action, Resource and Condition as in JSON; lists may be tuples."""


class AppendActions(Struct, frozen=True):
    """Adds entries to a statement's Action: at the end, or in order if the list is sorted."""

    statement: int
    actions: tuple[str, ...]


class ReplaceResources(Struct, frozen=True):
    """Removes entries from a statement's Resource and inserts others at their positions."""

    statement: int
    remove: frozenset[str]
    """Entries exactly as written; all duplicates are removed."""
    insert: tuple[str, ...] = ()
    """They replace the first removed entry, or follow the last entry; in a sorted list they are
    inserted as in `ReplaceActions`."""


class ReplaceNotAction(Struct, frozen=True):
    """Replaces a statement's NotAction by Action."""

    statement: int
    actions: tuple[str, ...]


EditInStatement = (
    ReplaceActions | DropStatement | AppendActions | ReplaceResources | ReplaceNotAction
)
Edit = EditInStatement | AppendStatement


def apply_edits(document: Document, edits: Sequence[Edit]) -> Document:
    """Applies `edits` to a document and changes only the lines that must change.

    A statement that loses its last action is removed. An action that the list already has, in any
    case, is not added again.

    Raises PolicyFileError if a new statement or resource has `${` in a document whose version reads
    that as plain text, or if a list's layout cannot be edited; ValueError if an edit names a
    statement or entry that does not exist.
    """
    _check_escapes(document, edits)
    writer = _writer_for(document)
    rewritten = _rewrite_statements(document, edits, writer)
    appended = [edit.statement for edit in edits if isinstance(edit, AppendStatement)]
    text = writer.rewrite_policy(rewritten.splices, rewritten.dropped, appended)
    edited = reread(document, text)
    if not _has_all_edits(document, edited, edits, rewritten.dropped):
        raise layout_error(document)
    return edited


def _has_all_edits(
    document: Document, edited: Document, edits: Sequence[Edit], dropped: Collection[int]
) -> bool:
    """Returns whether a file that was edited says what the edits say, and no more.

    An expression may read a list that an edit changes, and so change or leave out a statement that
    no edit names.
    """
    by_statement = grouped(
        [(edit.statement, edit) for edit in edits if not isinstance(edit, AppendStatement)]
    )
    edited_statements = iter(edited.statements)
    for statement in document.statements:
        if statement.index in dropped:
            continue
        own_edits = by_statement.get(statement.index, [])
        # New statements may be before the last ones of the file.
        if not any(_is_edited(statement, own_edits, after) for after in edited_statements):
            return False
    appended = sum(isinstance(edit, AppendStatement) for edit in edits)
    return len(edited.statements) == len(document.statements) - len(dropped) + appended


def _is_edited(before: Statement, edits: Sequence[EditInStatement], after: Statement) -> bool:
    """Returns whether a statement is another one after its edits."""
    if not edits:
        return after.meaning == before.meaning
    removed_actions: set[str] = set()
    new_actions: set[str] = set()
    removed_resources: set[str] = set()
    new_resources: set[str] = set()
    for edit in edits:
        if isinstance(edit, ReplaceResources):
            removed_resources |= edit.remove
            new_resources.update(edit.insert)
        elif isinstance(edit, ReplaceActions):
            removed_actions |= edit.remove
            for _, actions in edit.insert:
                new_actions.update(actions)
        elif isinstance(edit, AppendActions | ReplaceNotAction):
            new_actions.update(edit.actions)
    return _is_edited_list(
        before.actions, removed_actions, new_actions, after.actions, str.casefold
    ) and _is_edited_list(
        before.resources, removed_resources, new_resources, after.resources, _as_read
    )


def _as_read(resource: str) -> str:
    """Returns a resource as the reader of a file returns it, which takes an account that is no
    number for a name that a build step replaces.
    """
    if language_of(resource) == "plain":
        return resource
    return joined_text(with_build_step_names(resource))


def _is_edited_list(
    before: Iterable[str],
    removed: Set[str],
    new: Iterable[str],
    after: Iterable[str],
    entry_key: Callable[[str], str],
) -> bool:
    """Returns whether a list has the entries that an edit keeps and adds, and no others.

    An entry that is removed remains where the file makes it together with one that is kept.
    """
    kept_entries = {entry_key(entry) for entry in before if entry not in removed}
    added = {entry_key(entry) for entry in new}
    allowed = {entry_key(entry) for entry in before} | added
    return kept_entries | added <= {entry_key(entry) for entry in after} <= allowed


def edited_for_evaluation(document: Document, edits: Sequence[Edit]) -> Document:
    """Applies `edits` as `apply_edits` does, to a document that is evaluated and never written.

    Only the edited statements are written and read again: a policy may have thousands of others.
    """
    if not edits:
        return document
    source = document.source
    is_json = source.format == "json" and source.language == "plain" and not source.embedded
    if not is_json or document.version != VARIABLES_VERSION:
        return apply_edits(document, edits)
    in_statements = [edit for edit in edits if not isinstance(edit, AppendStatement)]
    indexes = sorted({edit.statement for edit in in_statements})
    part = _part_of(document, indexes)
    edits_of_part = [_edit_of_part(edit, indexes) for edit in edits]
    dropped = _rewrite_statements(part, edits_of_part, _writer_for(part)).dropped
    edited = apply_edits(part, edits_of_part)
    return Document(
        raw=edited.raw,
        pointer=document.pointer,
        where=document.where,
        version=document.version,
        statements=_merged(document, indexes, edited, dropped),
        source=source,
        pseudo_parameters=document.pseudo_parameters,
    )


def _edit_of_part(edit: Edit, indexes: Sequence[int]) -> Edit:
    """Returns an edit of a document as an edit of the document of only some statements."""
    if isinstance(edit, AppendStatement):
        return edit
    return replace(edit, statement=indexes.index(edit.statement))


def _merged(
    document: Document, indexes: Sequence[int], edited: Document, dropped: Collection[int]
) -> tuple[Statement, ...]:
    """Returns the statements of a document with those of an edited part in their places.

    Args:
        document: The document before the edits.
        indexes: The statements that are in the part.
        edited: The part after the edits.
        dropped: Indexes of statements of the part that the edits remove.
    """
    kept_indexes = [index for position, index in enumerate(indexes) if position not in dropped]
    by_index = dict(zip(kept_indexes, edited.statements, strict=False))
    removed = frozenset(indexes) - by_index.keys()
    statements = [
        by_index.get(statement.index, statement)
        for statement in document.statements
        if statement.index not in removed
    ]
    statements.extend(edited.statements[len(kept_indexes) :])
    return tuple(
        statement if statement.index == index else replace(statement, index=index)
        for index, statement in enumerate(statements)
    )


def _part_of(document: Document, indexes: Sequence[int]) -> Document:
    """Returns a document of some statements of a JSON file, as they are written."""
    nodes = [document.statement_nodes[index] for index in indexes]
    texts = ",".join(document.text[node.start : node.end] for node in nodes)
    text = f'{{"Version":"{document.version}","Statement":[{texts}]}}'
    return parse(text.encode(), document.where)


class _Rewritten(Struct, frozen=True):
    """What edits do to the statements of a document."""

    splices: Mapping[int, Sequence[Splice]]
    dropped: set[int]


def _rewrite_statements(document: Document, edits: Sequence[Edit], writer: Writer) -> _Rewritten:
    splices: dict[int, list[Splice]] = {}
    dropped: set[int] = set()
    by_statement = grouped(
        [(edit.statement, edit) for edit in edits if not isinstance(edit, AppendStatement)]
    )
    for index in sorted(by_statement):
        if not 0 <= index < len(document.statements):
            raise ValueError(f"the policy has no statement {index}")
        statement_splices = _splices(document, index, by_statement[index], writer)
        if statement_splices is None:
            dropped.add(index)
        else:
            splices[index] = statement_splices
    return _Rewritten(splices, dropped)


def _writer_for(document: Document) -> Writer:
    if document.source.format == "hcl" and document.editable:
        from leastpriv.policy.hcl_writer import HclWriter

        return HclWriter(document)
    value = document.policy.get_any_case("Statement")
    is_empty = value is not None and not (value.items or value.members)
    in_blocks = value is not None and (value.block or (is_empty and document.policy.block))
    if not in_blocks:
        return BracketWriter(document)
    from leastpriv.policy.yaml_writer import BlockWriter

    return BlockWriter(document)


def create_policy(statements: Sequence[Mapping[str, object]]) -> bytes:
    """Creates a policy file of version 2012-10-17, indented by two blanks, one entry a line, with a
    final line end.
    """
    empty = parse(_EMPTY_POLICY, "new policy")
    return apply_edits(empty, [AppendStatement(statement) for statement in statements]).to_bytes()


def _check_escapes(document: Document, edits: Sequence[Edit]) -> None:
    if document.version == VARIABLES_VERSION:
        return
    resources = {resource for statement in document.statements for resource in statement.resources}
    new: list[str] = []
    for edit in edits:
        if isinstance(edit, AppendStatement):
            new.extend(_strings(edit.statement))
        elif isinstance(edit, ReplaceResources):
            # A resource that moves within the document keeps its meaning.
            new.extend({*edit.insert} - resources)
    if any("${" in text for text in new):
        raise PolicyFileError(
            f"{document.where}: a resource that needs an escape such as ${{*}} cannot be added,"
            " because IAM "
            f'reads it as plain text without "Version": "{VARIABLES_VERSION}"; set that version'
            " first."
        )


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from _strings(list(value.values()))
    elif isinstance(value, Sequence):
        for element in value:
            yield from _strings(element)


def _splices(
    document: Document, index: int, edits: Sequence[EditInStatement], writer: Writer
) -> list[Splice] | None:
    """Returns the splices of all edits of a statement; None if the whole statement is removed."""
    changes = ListChanges()
    splices: list[Splice] = []
    entries = document.statements[index].actions
    for edit in edits:
        if isinstance(edit, DropStatement):
            return None
        if isinstance(edit, ReplaceResources):
            splices += writer.rewrite_list(index, "Resource", _resource_changes(document, edit))
        elif isinstance(edit, ReplaceNotAction):
            member = document.statement_nodes[edit.statement].member_any_case("NotAction")
            if member is None or not edit.actions:
                raise ValueError(f"statement {edit.statement} has no NotAction to replace")
            splices.append(writer.replace_key(member, "Action", edit.actions))
        else:
            _add_action_changes(changes, entries, edit)
    if changes.drop or changes.after:
        if not _settle(changes, entries, str.casefold):
            return None
        by_item = _by_item(changes, document.statements[index], "Action")
        splices += writer.rewrite_list(index, "Action", by_item)
    return splices


def _resource_changes(document: Document, edit: ReplaceResources) -> ListChanges:
    entries = document.statements[edit.statement].resources
    if missing := edit.remove - set(entries):
        raise ValueError(f"statement {edit.statement} has no resource {min(missing)}")
    changes = ListChanges(
        {position for position, entry in enumerate(entries) if entry in edit.remove}
    )
    changes.after[min(changes.drop, default=len(entries) - 1)] += edit.insert
    if not _settle(changes, entries, str):
        raise ValueError(f"statement {edit.statement} would have no resource")
    return _by_item(changes, document.statements[edit.statement], "Resource")


def _by_item(changes: ListChanges, statement: Statement, key: str) -> ListChanges:
    """Returns changes of entries as changes of the items of the file that make them.

    An item goes only if all its entries go.
    """
    item_indexes = next(
        (entry_items.places for entry_items in statement.items if entry_items.key == key), None
    )
    if item_indexes is None:
        return changes
    kept_indexes = {
        index for entry_index, index in enumerate(item_indexes) if entry_index not in changes.drop
    }
    changes_of_items = ListChanges({*item_indexes} - kept_indexes)
    for position, entries in changes.after.items():
        item_index = item_indexes[position] if position >= 0 else position
        changes_of_items.after[item_index] += entries
    return changes_of_items


def _add_action_changes(
    changes: ListChanges, entries: tuple[str, ...], edit: ReplaceActions | AppendActions
) -> None:
    if not entries:
        raise ValueError(f"statement {edit.statement} has no Action list to edit")
    if isinstance(edit, AppendActions):
        changes.after[len(entries) - 1] += edit.actions
        return
    edited_actions = edit.remove | {entry for entry, _ in edit.insert}
    missing = edited_actions - set(entries)
    if missing:
        raise ValueError(f"statement {edit.statement} has no action {min(missing)}")
    changes.drop |= {position for position, entry in enumerate(entries) if entry in edit.remove}
    for entry, actions in edit.insert:
        changes.after[entries.index(entry)] += actions


def _settle(changes: ListChanges, entries: Sequence[str], entry_key: Callable[[str], str]) -> bool:
    """Drops new entries that the list already has, and inserts the others in order if the list was
    sorted.

    `entries` are those before the edit; `entry_key` maps those that count as equal to one key.
    Returns whether one is left.
    """
    kept_entries = [entry for index, entry in enumerate(entries) if index not in changes.drop]
    keys = {entry_key(entry) for entry in kept_entries}
    for position in sorted(changes.after):
        new: dict[str, str] = {}
        for entry in changes.after[position]:
            new.setdefault(entry_key(entry), entry)
        changes.after[position] = [entry for key, entry in new.items() if key not in keys]
        keys |= new.keys()
    _insert_in_order(changes, entries)
    return bool(kept_entries or any(changes.after.values()))


def _insert_in_order(changes: ListChanges, entries: Sequence[str]) -> None:
    """Moves new entries to their places in a list that was sorted."""
    sort_key = _sort_key(entries)
    if sort_key is None:
        return
    new: list[str] = []
    for position in sorted(changes.after):
        new.extend(changes.after[position])
    changes.after.clear()
    keys = [sort_key(entry) for entry in entries]
    for entry in sorted(new, key=sort_key):
        changes.after[bisect_right(keys, sort_key(entry)) - 1].append(entry)


def _sort_key(entries: Sequence[str]) -> Callable[[str], str] | None:
    """Returns the sort key of a sorted list, case-sensitive or not; fewer than three entries show
    no order.
    """
    if len({*entries}) < 3:
        return None
    orders: tuple[Callable[[str], str], ...] = (str.casefold, str)
    for key in orders:
        if all(key(entry) <= key(following) for entry, following in pairwise(entries)):
            return key
    return None


def can_add_entries(document: Document, index: int, key: str) -> bool:
    """Returns whether entries can be added to a statement's Action or Resource, which it has."""
    if document.source.format == "hcl":
        from leastpriv.policy.hcl_writer import HclWriter

        return HclWriter(document).can_add_entries(index, key)
    return accepts_entries(document, document.statement_nodes[index].required_member(key).value)


def can_add_statements(document: Document) -> bool:
    """Returns whether a new statement can be written into the file."""
    if document.source.format != "hcl" or not document.editable:
        return True
    from leastpriv.policy.hcl_writer import HclWriter

    return HclWriter(document).place_for_statements(set()) is not None


class BracketWriter:
    """Writes statements in brackets; see `Writer`."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.text = document.text
        self.style = _with_yaml_strings(document, json_style_of(document))
        self.escape = template_escape(document.source.language)

    def rewrite_list(self, index: int, key: str, changes: ListChanges) -> list[Splice]:
        """Edits an Action or a Resource; a string becomes a list if necessary."""
        value = editable_member(self.document, index, key, changes).value
        changes = changes.spelled(self.spelled)
        if value.kind == "array":
            entry_texts = [self._source(entry) for entry in value.items]
            new = rewrite_list(self.text, value, entry_texts, changes, self.style)
            return [Splice.of_node(value, new)]
        entries = changes.entries_of_value(self._source(value))
        if len(entries) == 1:
            return [Splice.of_node(value, entries[0])]
        indent = indentation(self.text, value.start)
        return [Splice.of_node(value, entry_list_text(entries, indent, self.style))]

    def replace_key(self, member: Member, key: str, entries: Sequence[str]) -> Splice:
        """Replaces a key and writes its list in the file's style."""
        value = member.value
        texts = self.spelled(entries)
        if len(texts) == 1 and value.kind != "array":
            new = texts[0]
        else:
            new = entry_list_text(texts, indentation(self.text, member.start), self.style)
        colon = self.text[member.key_end : value.start]
        return Splice(member.start, value.end, self.style.spell_key(key) + colon + new)

    def rewrite_policy(
        self, splices: StatementSplices, dropped: set[int], appended: Sequence[Mapping[str, object]]
    ) -> str:
        """Returns the whole text with edited, without dropped, and with appended statements."""
        value = self.document.policy.required_member("Statement").value
        nodes = self.document.statement_nodes
        if len(dropped) == len(nodes):
            indent = indentation(self.text, value.start)
            inner = indent + self.style.unit
            texts = [self.statement(statement, inner) for statement in appended]
            new = statement_list_text(texts, indent, self.style)
        else:
            indent = indentation(self.text, nodes[-1].end - 1)
            changes = ListChanges(dropped)
            changes.after[len(nodes) - 1] += [
                self.statement(statement, indent) for statement in appended
            ]
            statement_texts = [
                apply_splices(self.text, node.start, node.end, splices.get(index, ()))
                for index, node in enumerate(nodes)
            ]
            new = rewrite_list(self.text, value, statement_texts, changes, self.style)
        return self.text[: value.start] + new + self.text[value.end :]

    def _source(self, node: Node) -> str:
        return self.text[node.start : node.end]

    def spelled(self, entries: Sequence[str]) -> list[str]:
        """Writes strings in the file's spelling."""
        return [self.style.spell(self.escape(entry)) for entry in entries]

    def statement(self, statement: Mapping[str, object], indent: str) -> str:
        """Writes a new statement; its conditions are copied from the file and already in the file's
        spelling.
        """
        escaped = {
            key: value if key == "Condition" else map_strings(self.escape, value)
            for key, value in statement.items()
        }
        return statement_text(escaped, indent, self.style)


def _with_yaml_strings(document: Document, style: JsonStyle) -> JsonStyle:
    """Returns the style with a YAML file's spelling of strings and keys, which need no quotes in
    its brackets.
    """
    keys = [member for node in document.statement_nodes for member in node.members]
    if document.source.format != "yaml" or document.source.embedded or not keys:
        return style
    from leastpriv.policy import yaml_writer

    yaml_style = yaml_writer.yaml_style_of(document)
    first = document.text[keys[0].start]
    key_style = replace(yaml_style, quote=first if first in {'"', "'"} else "")
    return replace(
        style,
        spell=lambda text: yaml_writer.scalar(text, yaml_style),
        spell_key=lambda key: yaml_writer.scalar(key, key_style),
    )
