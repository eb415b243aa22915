"""Writes edits into a policy's text: one writer for brackets, as in JSON, and one for YAML blocks.

Both return the whole new text and copy unaffected parts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from msgspec.structs import replace

from leastpriv.errors import PolicyFileError
from leastpriv.policy import yaml_writer
from leastpriv.policy.document import Document
from leastpriv.policy.json_writer import (
    JsonStyle,
    ListChanges,
    Splice,
    StatementSplices,
    apply_splices,
    entry_list_text,
    indentation,
    json_style_of,
    rewrite_list,
    statement_list_text,
    statement_text,
)
from leastpriv.policy.syntax_tree import Member, Node
from leastpriv.policy.template_functions import template_escape
from leastpriv.policy.yaml_writer import column, entry_lines, list_splice


class BlockWriter:
    """Writes statements in YAML blocks; see `Writer`."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.text = document.text
        self.style = yaml_writer.yaml_style_of(document)

    def rewrite_list(self, index: int, key: str, changes: ListChanges) -> list[Splice]:
        """Edits an Action or a Resource; a string becomes a list if necessary."""
        member = _editable(self.document, index, key, changes)
        value, list_style = member.value, yaml_writer.with_quotes_of(self.style, member.value)
        after = {
            place: [yaml_writer.scalar(entry, list_style) for entry in found] for place, found in changes.after.items()
        }
        if value.kind == "array" and value.block:
            indent = " " * column(self.text, value.start)
            lines = {place: [f"{indent}- {entry}" for entry in found] for place, found in after.items()}
            return [list_splice(self.text, value, {}, ListChanges(changes.drop, lines), self.style)]
        written = [self.text[item.start : item.end] for item in value.items or (value,)]
        if value.kind == "array":
            new = rewrite_list(
                self.text, value, written, ListChanges(changes.drop, after), json_style_of(self.document)
            )
            return [(value.start, value.end, new)]
        entries = ([] if changes.drop else written) + after.get(0, [])
        if len(entries) == 1:
            return [(value.start, value.end, entries[0])]
        if not self.document.statement_nodes[index].block:
            return [(value.start, value.end, f"[{', '.join(entries)}]")]
        if self.style.flow and not changes.drop:
            entries[0] = yaml_writer.flow_text(self.text, value, list_style)
        return [(member.key_end, value.end, yaml_writer.list_text(entries, member, self.text, self.style))]

    def replace_key(self, member: Member, key: str, entries: Sequence[str]) -> Splice:
        """Replaces a key and writes its list in the file's style."""
        texts = [yaml_writer.scalar(entry, self.style) for entry in entries]
        if len(texts) == 1 and member.value.kind != "array":
            return member.start, member.value.end, f"{key}: {texts[0]}"
        in_line = self.text[member.start : member.value.end].count("\n") == 0 and member.value.kind == "array"
        new = f": [{', '.join(texts)}]" if in_line else yaml_writer.list_text(texts, member, self.text, self.style)
        return member.start, member.value.end, key + new

    def rewrite_policy(
        self, splices: StatementSplices, dropped: set[int], appended: Sequence[Mapping[str, object]]
    ) -> str:
        """Returns the whole text with edited, without dropped, and with appended statements."""
        member, text, style = self.document.policy.required_member("Statement"), self.text, self.style
        value, number = member.value, len(self.document.statement_nodes)
        is_list, indent = value.kind == "array", " " * column(text, value.start)
        if len(dropped) == number and not (appended and is_list and number):
            # A list of only new statements begins at the key's colon.
            end = entry_lines(text, value, number - 1, style)[1] if is_list and number else value.end
            indent = " " * column(text, member.start) + style.dash
            entries = (style.newline + yaml_writer.statement_text(each, indent, style) for each in appended)
            new = (member.key_end, end, ":" + ("".join(entries) or " []"))
        elif is_list:
            written = {
                index: apply_splices(text, *entry_lines(text, value, index, style), found)
                for index, found in splices.items()
            }
            changes = ListChanges(dropped)
            changes.after[number - 1] += [yaml_writer.statement_text(each, indent, style) for each in appended]
            new = list_splice(text, value, written, changes, style)
        elif appended:
            # A single statement becomes the first entry of a list.
            begin = value.start - len(indent)
            lines = apply_splices(text, begin, value.end, splices.get(0, ())).split("\n")
            rest = (f"  {line}" if line.strip() else line for line in lines[1:])
            own = "\n".join([f"{indent}- {lines[0][len(indent) :]}", *rest])
            added = (yaml_writer.statement_text(each, indent, style) for each in appended)
            new = (begin, value.end, style.newline.join([own, *added]))
        else:
            return apply_splices(text, 0, len(text), splices.get(0, ()))
        return apply_splices(text, 0, len(text), [new])


def can_add_entries(document: Document, index: int, key: str) -> bool:
    """Returns whether entries can be added to a statement's Action or Resource, which it has."""
    if document.source.format == "hcl":
        from leastpriv.policy import hcl_writer

        return hcl_writer.can_add_entries(document, index, key)
    return _accepts_entries(document, document.statement_nodes[index].required_member(key).value)


def can_add_statements(document: Document) -> bool:
    """Returns whether a new statement can be written into the file."""
    if document.source.format != "hcl" or document.is_rendered:
        return True
    from leastpriv.policy import hcl_writer

    return hcl_writer.can_add_statements(document)


class BracketWriter:
    """Writes statements in brackets; see `Writer`."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.text = document.text
        self.style = _with_yaml_strings(document, json_style_of(document))
        self.escape = template_escape(document.source.language)

    def rewrite_list(self, index: int, key: str, changes: ListChanges) -> list[Splice]:
        """Edits an Action or a Resource; a string becomes a list if necessary."""
        value = _editable(self.document, index, key, changes).value
        written = [self.text[item.start : item.end] for item in value.items or (value,)]
        after = {place: self.spelled(found) for place, found in changes.after.items()}
        if value.kind == "array":
            new = rewrite_list(self.text, value, written, ListChanges(changes.drop, after), self.style)
            return [(value.start, value.end, new)]
        entries = ([] if changes.drop else written) + after.get(0, [])
        if len(entries) == 1:
            return [(value.start, value.end, entries[0])]
        return [(value.start, value.end, entry_list_text(entries, indentation(self.text, value.start), self.style))]

    def replace_key(self, member: Member, key: str, entries: Sequence[str]) -> Splice:
        """Replaces a key and writes its list in the file's style."""
        value = member.value
        texts = self.spelled(entries)
        bare = len(texts) == 1 and value.kind != "array"
        new = texts[0] if bare else entry_list_text(texts, indentation(self.text, member.start), self.style)
        return member.start, value.end, self.style.spell_key(key) + self.text[member.key_end : value.start] + new

    def rewrite_policy(
        self, splices: StatementSplices, dropped: set[int], appended: Sequence[Mapping[str, object]]
    ) -> str:
        """Returns the whole text with edited, without dropped, and with appended statements."""
        value, nodes = self.document.policy.required_member("Statement").value, self.document.statement_nodes
        texts = [apply_splices(self.text, n.start, n.end, splices.get(index, ())) for index, n in enumerate(nodes)]
        if len(dropped) == len(texts):
            indent = indentation(self.text, value.start)
            new_list = [self.statement(statement, indent + self.style.unit) for statement in appended]
            new = statement_list_text(new_list, indent, self.style)
        else:
            indent = indentation(self.text, nodes[-1].end - 1)
            changes = ListChanges(dropped)
            changes.after[len(texts) - 1] += [self.statement(statement, indent) for statement in appended]
            new = rewrite_list(self.text, value, texts, changes, self.style)
        return self.text[: value.start] + new + self.text[value.end :]

    def spelled(self, entries: Sequence[str]) -> list[str]:
        """Writes strings in the file's spelling."""
        return [self.style.spell(self.escape(entry)) for entry in entries]

    def statement(self, statement: Mapping[str, object], indent: str) -> str:
        """Writes a new statement; its conditions are copied from the file and already in the file's spelling."""
        escaped = {
            key: value if key == "Condition" else _map_strings(self.escape, value) for key, value in statement.items()
        }
        return statement_text(escaped, indent, self.style)


def _with_yaml_strings(document: Document, style: JsonStyle) -> JsonStyle:
    """Returns the style with a YAML file's spelling of strings and keys, which need no quotes in its brackets."""
    keys = [member for node in document.statement_nodes for member in node.members]
    if document.source.format != "yaml" or document.source.embedded or not keys:
        return style
    yaml_style, first = yaml_writer.yaml_style_of(document), document.text[keys[0].start]
    key_style = replace(yaml_style, quote=first if first in {'"', "'"} else "")
    return replace(
        style,
        spell=lambda text: yaml_writer.scalar(text, yaml_style),
        spell_key=lambda key: yaml_writer.scalar(key, key_style),
    )


_ONE_STRING = frozenset({"Fn::Sub", "Fn::Join", "Fn::GetAtt"})
"""Functions that return one string, so that other strings can follow; `Ref` or `Fn::If` may return a list."""


def _editable(document: Document, index: int, key: str, changes: ListChanges) -> Member:
    member = document.statement_nodes[index].required_member(key)
    value = member.value
    if not changes.drop and not _accepts_entries(document, value):
        function = value.members[0].key if value.members else value.text
        raise PolicyFileError(
            f"{document.where}: {document.source.position(value.start)}: no entry can be added next to this {function} "
            f"in {key}; write it as a list."
        )
    return member


def _accepts_entries(document: Document, value: Node) -> bool:
    """Returns whether entries can be added to a value: it must be a string on one line, or a literal list."""
    if value.kind != "object":
        return value.kind == "array" or document.source.language != "terraform" or not value.text.startswith("${")
    return value.members[0].key in _ONE_STRING and "\n" not in document.text[value.start : value.end]


def _map_strings(change: Callable[[str], str], value: object) -> object:
    """Applies a change to a string, or to each string of a list."""
    if isinstance(value, str):
        return change(value)
    return [_map_strings(change, item) for item in value] if isinstance(value, Sequence) else value
