"""Write edits into the text of a policy: one writer for brackets, as in JSON, one for blocks of YAML.

Both return the whole new text; what an edit does not concern is copied.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from leastpriv.errors import PolicyFileError
from leastpriv.policy import yaml_writer
from leastpriv.policy.document import Document
from leastpriv.policy.json_writer import (
    Layout,
    Slots,
    Splice,
    entry_list_text,
    indentation,
    layout_of,
    rewritten,
    spliced,
    statement_list_text,
    statement_text,
)
from leastpriv.policy.syntax_tree import Member, Node
from leastpriv.policy.template_functions import escaped_for
from leastpriv.policy.yaml_writer import column, entry_lines, list_splice


class BlockWriter:
    """Statements in blocks of YAML; see `Writer`."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.text = document.text
        self.hand = yaml_writer.hand_of(document)

    def rewritten(self, index: int, key: str, slots: Slots) -> Splice:
        """Edit an Action or a Resource; one string becomes a list where it has to."""
        member = _editable(self.document, index, key, slots)
        value, hand = member.value, yaml_writer.like(self.hand, member.value)
        after = {place: [yaml_writer.scalar(entry, hand) for entry in found] for place, found in slots.after.items()}
        if value.kind == "array" and value.block:
            indent = " " * column(self.text, value.start)
            lines = {place: [f"{indent}- {entry}" for entry in found] for place, found in after.items()}
            return list_splice(self.text, value, {}, Slots(slots.drop, lines), self.hand)
        written = [self.text[item.start : item.end] for item in value.items or (value,)]
        if value.kind == "array":
            layout = layout_of(self.document)
            return value.start, value.end, rewritten(self.text, value, written, Slots(slots.drop, after), layout)
        entries = ([] if slots.drop else written) + after.get(0, [])
        if len(entries) == 1:
            return value.start, value.end, entries[0]
        if not self.document.statement_nodes[index].block:
            return value.start, value.end, f"[{', '.join(entries)}]"
        if self.hand.flow and not slots.drop:
            entries[0] = yaml_writer.in_brackets(self.text, value, hand)
        return member.key_end, value.end, yaml_writer.list_text(entries, member, self.text, self.hand)

    def renamed(self, member: Member, key: str, entries: Sequence[str]) -> Splice:
        """Write another key, its list as the file writes lists."""
        texts = [yaml_writer.scalar(entry, self.hand) for entry in entries]
        if len(texts) == 1 and member.value.kind != "array":
            return member.start, member.value.end, f"{key}: {texts[0]}"
        in_line = self.text[member.start : member.value.end].count("\n") == 0 and member.value.kind == "array"
        new = f": [{', '.join(texts)}]" if in_line else yaml_writer.list_text(texts, member, self.text, self.hand)
        return member.start, member.value.end, key + new

    def whole(self, splices: Splices, dropped: set[int], appended: Sequence[Mapping[str, object]]) -> str:
        """Return the whole text after edits within statements, without the dropped ones, with others at the end."""
        member, nodes = _statements(self.document), self.document.statement_nodes
        value = member.value
        if len(dropped) == len(nodes) and not (appended and value.kind == "array" and nodes):
            end = (
                entry_lines(self.text, value, len(nodes) - 1, self.hand)[1]
                if value.kind == "array" and nodes
                else value.end
            )
            new = (member.key_end, end, self.fresh(member, appended))
        elif value.kind == "array":
            new = self.several(value, splices, dropped, appended)
        elif appended:
            new = self.one_and_others(value, splices, appended)
        else:
            return spliced(self.text, 0, len(self.text), splices.get(0, ()))
        return spliced(self.text, 0, len(self.text), [new])

    def several(
        self, value: Node, splices: Splices, dropped: set[int], appended: Sequence[Mapping[str, object]]
    ) -> Splice:
        """Rewrite a list of statements of which one at least remains."""
        written = {
            index: spliced(self.text, *entry_lines(self.text, value, index, self.hand), found)
            for index, found in splices.items()
        }
        indent = " " * column(self.text, value.start)
        slots = Slots(dropped)
        slots.after[len(value.items) - 1] += [yaml_writer.statement_text(each, indent, self.hand) for each in appended]
        return list_splice(self.text, value, written, slots, self.hand)

    def one_and_others(self, value: Node, splices: Splices, appended: Sequence[Mapping[str, object]]) -> Splice:
        """Make a list of a statement that stands without one."""
        begin = value.start - column(self.text, value.start)
        lines = spliced(self.text, begin, value.end, splices.get(0, ())).split("\n")
        indent = " " * (value.start - begin)
        first = f"{indent}- {lines[0][len(indent) :]}"
        own = "\n".join([first, *(f"  {line}" if line.strip() else line for line in lines[1:])])
        entries = [own, *(yaml_writer.statement_text(statement, indent, self.hand) for statement in appended)]
        return begin, value.end, self.hand.newline.join(entries)

    def fresh(self, member: Member, appended: Sequence[Mapping[str, object]]) -> str:
        """Write a list of new statements alone, from the key's colon on."""
        if not appended:
            return ": []"
        indent = " " * column(self.text, member.start) + self.hand.dash
        texts = [yaml_writer.statement_text(statement, indent, self.hand) for statement in appended]
        return ":" + "".join(self.hand.newline + text for text in texts)


def takes(document: Document, index: int, key: str) -> bool:
    """Tell whether entries can be put beside those of a statement's Action or Resource, which it has."""
    return _takes(document, _member(document, index, key).value)


class BracketWriter:
    """Statements in brackets; see `Writer`."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.text = document.text
        self.layout = _spelling(document, layout_of(document))
        self.escape = escaped_for(document.source.language)

    def rewritten(self, index: int, key: str, slots: Slots) -> Splice:
        """Edit an Action or a Resource; one string becomes a list where it has to."""
        value = _editable(self.document, index, key, slots).value
        written = [self.text[item.start : item.end] for item in value.items or (value,)]
        after = {place: self.spelled(found) for place, found in slots.after.items()}
        if value.kind == "array":
            new = rewritten(self.text, value, written, Slots(slots.drop, after), self.layout)
            return value.start, value.end, new
        entries = ([] if slots.drop else written) + after.get(0, [])
        if len(entries) == 1:
            return value.start, value.end, entries[0]
        return value.start, value.end, entry_list_text(entries, indentation(self.text, value.start), self.layout)

    def renamed(self, member: Member, key: str, entries: Sequence[str]) -> Splice:
        """Write another key, its list as the file writes lists."""
        value = member.value
        texts = self.spelled(entries)
        bare = len(texts) == 1 and value.kind != "array"
        new = texts[0] if bare else entry_list_text(texts, indentation(self.text, member.start), self.layout)
        return member.start, value.end, self.layout.spell_key(key) + self.text[member.key_end : value.start] + new

    def whole(self, splices: Splices, dropped: set[int], appended: Sequence[Mapping[str, object]]) -> str:
        """Return the whole text after edits within statements, without the dropped ones, with others at the end."""
        value, nodes = _statements(self.document).value, self.document.statement_nodes
        texts = [spliced(self.text, n.start, n.end, splices.get(index, ())) for index, n in enumerate(nodes)]
        if len(dropped) == len(texts):
            indent = indentation(self.text, value.start)
            fresh = [self.statement(statement, indent + self.layout.unit) for statement in appended]
            new = statement_list_text(fresh, indent, self.layout)
        else:
            indent = indentation(self.text, nodes[-1].end - 1)
            slots = Slots(dropped)
            slots.after[len(texts) - 1] += [self.statement(statement, indent) for statement in appended]
            new = rewritten(self.text, value, texts, slots, self.layout)
        return self.text[: value.start] + new + self.text[value.end :]

    def spelled(self, entries: Sequence[str]) -> list[str]:
        """Write strings as the file spells them."""
        return [self.layout.spell(self.escape(entry)) for entry in entries]

    def statement(self, statement: Mapping[str, object], indent: str) -> str:
        """Write a new statement; its conditions are copied from the file, spelled as the file spells them."""
        escaped = {key: value if key == "Condition" else _each(self.escape, value) for key, value in statement.items()}
        return statement_text(escaped, indent, self.layout)


def _spelling(document: Document, layout: Layout) -> Layout:
    """The layout with a YAML file's own ways to write strings and keys: in its brackets they need no quotes."""
    keys = [member for node in document.statement_nodes for member in node.members]
    if document.source.format != "yaml" or document.source.shell or not keys:
        return layout
    hand, first = yaml_writer.hand_of(document), document.text[keys[0].start]
    of_keys = replace(hand, quote=first if first in {'"', "'"} else "")
    return replace(
        layout,
        spell=lambda text: yaml_writer.scalar(text, hand),
        spell_key=lambda key: yaml_writer.scalar(key, of_keys),
    )


def _statements(document: Document) -> Member:
    member = document.policy.member_any_case("Statement")
    if member is None:
        raise ValueError("the document has no Statement")
    return member


_ONE_STRING = frozenset({"Fn::Sub", "Fn::Join", "Fn::GetAtt"})
"""Functions beside which other strings can stand; `Ref` or `Fn::If` may be a list already."""


def _member(document: Document, index: int, key: str) -> Member:
    member = document.statement_nodes[index].member_any_case(key)
    if member is None:
        raise ValueError(f"the statement has no {key}")
    return member


def _editable(document: Document, index: int, key: str, slots: Slots) -> Member:
    member = _member(document, index, key)
    value = member.value
    if not slots.drop and not _takes(document, value):
        function = value.members[0].key if value.members else value.text
        raise PolicyFileError(
            f"{document.where}: {document.source.place(value.start)}: nothing can be put beside this {function} in "
            f"{key}; write it as a list."
        )
    return member


def _takes(document: Document, value: Node) -> bool:
    """Whether entries can be put beside a value: not beside what is a list already, nor beside several lines."""
    if value.kind != "object":
        return value.kind == "array" or document.source.language != "terraform" or not value.text.startswith("${")
    return value.members[0].key in _ONE_STRING and "\n" not in document.text[value.start : value.end]


def _each(change: Callable[[str], str], value: object) -> object:
    """Change a string, or those of a list."""
    if isinstance(value, str):
        return change(value)
    return [_each(change, item) for item in value] if isinstance(value, Sequence) else value


Splices = Mapping[int, Sequence[Splice]]
"""Index of a statement -> edits of its text."""


class Writer(Protocol):
    """How edits become text."""

    def rewritten(self, index: int, key: str, slots: Slots) -> Splice:
        """Edit an Action or a Resource of a statement; `slots` holds plain strings."""

    def renamed(self, member: Member, key: str, entries: Sequence[str]) -> Splice:
        """Write another key with a list in place of a member of a statement."""

    def whole(self, splices: Splices, dropped: set[int], appended: Sequence[Mapping[str, object]]) -> str:
        """Return the whole text after edits within statements, without the dropped ones, with others at the end."""
