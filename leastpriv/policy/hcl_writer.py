"""Writes edits into HCL, and policies as HCL that a person can copy."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, partial
from itertools import pairwise
from typing import Any

from msgspec.structs import replace

from leastpriv.errors import PolicyFileError
from leastpriv.policy.document import LISTS, Document
from leastpriv.policy.hcl import references_of
from leastpriv.policy.hcl_functions import is_unknown
from leastpriv.policy.hcl_syntax import Expression, expressions_in, passed_list, read_blocks
from leastpriv.policy.hcl_text import (
    BLOCK_NAMES,
    ListStyle,
    aligned,
    block_lines,
    escaped_text,
    formatted_like,
    list_text,
    rewrite_tuple,
    value_lines,
)
from leastpriv.policy.json_writer import (
    ListChanges,
    Splice,
    apply_splices,
    indentation,
    json_style_of,
    map_strings,
    rewrite_list,
    statement_text,
)
from leastpriv.policy.syntax_tree import Member, Node, json_string
from leastpriv.policy.template_functions import joined_text, parts_of, template_escape

_PLACEHOLDER = re.compile(r"\$\{[^:*?$}]+\}")
"""An unknown part of a text; the name of a policy variable has a colon."""


class HclWriter:
    """Writes statements of data sources, of objects in HCL, and of JSON in heredocs; see `Writer`."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.text = document.text
        self.root = read_blocks(self.text)
        self.style = ListStyle.of(self.text)
        self.newline = self.style.newline
        self.escape = template_escape("terraform")
        self.json_style = replace(json_style_of(document), spell=json_string, spell_key=json_string)

    def rewrite_list(self, index: int, key: str, changes: ListChanges) -> list[Splice]:
        """Edits an Action or a Resource: each list in the file that has some of its entries."""
        node = self.document.statement_nodes[index]
        member = node.required_member(key)
        value, is_json = member.value, self._is_json(node)
        after = {place: [self._spelled(entry, is_json) for entry in found] for place, found in changes.after.items()}
        if value.kind != "array":
            written = [] if changes.drop else [self.text[value.start : value.end]]
            return [(value.start, value.end, self._entries_text([*written, *after.get(0, [])], member, key, node))]
        if is_json:
            texts = [self.text[item.start : item.end] for item in value.items]
            new = rewrite_list(self.text, value, texts, ListChanges(changes.drop, after), self.json_style)
            return [(value.start, value.end, new)]
        homes = self._by_tuple(value, ListChanges(changes.drop, after))
        return [self._list_splice(_list_node(home), own) for home, own in homes]

    def can_add_entries(self, index: int, key: str) -> bool:
        """Returns whether entries can be added to a statement's Action or Resource."""
        node = self.document.statement_nodes[index]
        value = node.get_any_case(key)
        if value is None or node.fixed:
            return False
        if value.kind != "array":
            return not value.fixed and not is_unknown(value)
        is_written = any(not item.fixed and item.start in self._homes for item in value.items)
        return is_written or self._is_json(node) or bool(self._empty_list(value))

    def _entries_text(self, entries: Sequence[str], member: Member, key: str, node: Node) -> str:
        if len(entries) == 1 and key in LISTS and not self._is_block(node):
            return entries[0]
        indent = indentation(self.text, member.start)
        if "\n" not in self.text[node.start : node.end]:
            return f"[{', '.join(entries)}]"
        if self._is_json(node):
            separator = f",{self.newline}{indent}  "
            return f"[{self.newline}{indent}  {separator.join(entries)}{self.newline}{indent}]"
        return list_text(entries, indent, self.style, one_line=len(entries) == 1)

    def _by_tuple(self, value: Node, changes: ListChanges) -> list[tuple[Expression, ListChanges]]:
        """Groups changes by the list of the file that has the entries."""
        found: dict[int, tuple[Expression, ListChanges]] = {}
        homes = [None if item.fixed else self._homes.get(item.start) for item in value.items]
        places = {part.start: number for home in homes if home for number, part in enumerate(home.parts)}
        first = next((home for home in homes if home), None) or self._empty_list(value)
        for place in sorted(changes.drop | {*changes.after}):
            # -1 is before the first entry.
            home = homes[max(place, 0)] if homes else None
            own = home or first
            if own is None:
                raise self._error(value, "no list of this statement can be edited; write its entries as a list")
            group = found.setdefault(own.start, (own, ListChanges()))[1]
            at = places[value.items[max(place, 0)].start] + min(place, 0) if home else len(own.parts) - 1
            group.drop |= {at} if home and place in changes.drop else set()
            group.after[at] += changes.after.get(place, [])
        return list(found.values())

    @cached_property
    def _homes(self) -> Mapping[int, Expression]:
        """Offset of an entry -> the innermost list of the file that has it."""
        return {part.start: each for each in self._tuples for part in each.parts}

    def _empty_list(self, value: Node) -> Expression | None:
        """Returns the first list that the expression of a value passes on whole."""
        found = [each for each in expressions_in(self.root) if (each.start, each.end) == (value.start, value.end)]
        return passed_list(found[0]) if found else None

    @cached_property
    def _tuples(self) -> list[Expression]:
        """All lists that the file writes out, outer ones first."""
        return [each for each in expressions_in(self.root) if each.kind == "tuple"]

    def replace_key(self, member: Member, key: str, entries: Sequence[str]) -> Splice:
        """Replaces a key and writes its list in the file's style."""
        node = next(each for each in self.document.statement_nodes if member in each.members)
        texts = [self._spelled(entry, self._is_json(node)) for entry in entries]
        name = self._key(key, node, member)
        between = self.text[member.key_end : member.value.start]
        return member.start, member.value.end, name + between + self._entries_text(texts, member, key, node)

    def _key(self, key: str, node: Node, like: Member | None = None) -> str:
        if self._is_block(node):
            return BLOCK_NAMES[key]
        quoted = like is not None and self.text[like.start : like.start + 1] == '"'
        return json_string(key) if quoted or self._is_json(node) else key

    def rewrite_policy(
        self, splices: Mapping[int, Sequence[Splice]], dropped: set[int], appended: Sequence[Mapping[str, object]]
    ) -> str:
        """Returns the whole text with edited, without dropped, and with appended statements."""
        inside = {splice for found in splices.values() for splice in found}
        text = apply_splices(self.text, 0, len(self.text), [*inside])
        if dropped or appended:
            # The edited text has the same statements in the same order.
            text = HclWriter(self.document.with_text(text))._rewrite_statements(dropped, appended)
        return formatted_like(self.text, text)

    def _rewrite_statements(self, dropped: set[int], appended: Sequence[Mapping[str, object]]) -> str:
        """Returns the whole text without dropped and with appended statements."""
        nodes = self.document.statement_nodes
        changes = {index: ListChanges({0}) for index in dropped}
        edits: list[Splice] = []
        place = self.place_for_statements(dropped) if appended else None
        if place is not None and place < 0:
            policy = self.document.policy
            indent = indentation(self.text, policy.start) + self.style.unit
            at = policy.end - 1
            begin = at - len(indentation(self.text, at))
            texts = [f"{self.newline}{self._block_text(each, indent)}{self.newline}" for each in appended]
            edits.append((begin, begin, "".join(texts)))
        elif place is not None:
            change = changes.setdefault(place, ListChanges())
            change.after[0] += [self._statement(each, nodes[place]) for each in appended]
        for found in self._lists_of_statements():
            numbers = {item.start: number for number, item in enumerate(found.items)}
            merged = ListChanges()
            for each in [each for each in changes if nodes[each].start in numbers]:
                change, number = changes.pop(each), numbers[nodes[each].start]
                merged.drop |= {number} if change.drop else set()
                merged.after[number] += change.after[0]
            if merged.after:
                edits.append(self._list_splice(found, merged))
        edits += [self._alone(nodes[each], change) for each, change in changes.items()]
        return apply_splices(self.text, 0, len(self.text), edits)

    def place_for_statements(self, dropped: set[int]) -> int | None:
        """Returns the statement behind which new ones are written: the last one that the file itself writes.

        -1 is the end of a data source without such a statement; None: there is no place.
        """
        found = [place for place, node in enumerate(self.document.statement_nodes) if not node.fixed]
        kept = [place for place in found if place not in dropped]
        policy = self.document.policy
        is_block = self.text.startswith("data", policy.start) and not policy.fixed
        return (kept or found)[-1] if found else -1 if is_block else None

    def _lists_of_statements(self) -> list[Node]:
        """Returns the lists of the file that have statements, in HCL or in JSON."""
        nodes = [node for node in self.document.statement_nodes if not node.fixed]
        starts = {node.start for node in nodes}
        found = [_list_node(each) for each in self._tuples if any(part.start in starts for part in each.parts)]
        for heredoc in self._heredocs:
            items = tuple(node for node in nodes if heredoc.start < node.start < heredoc.end)
            start = self.text.rfind("[", heredoc.start, items[0].start) if items else -1
            if start >= 0 and not self.text[start + 1 : items[0].start].strip():
                found.append(Node("array", start, self.text.index("]", items[-1].end) + 1, items=items))
        return found

    def _list_splice(self, found: Node, changes: ListChanges) -> Splice:
        written = [self.text[item.start : item.end] for item in found.items]
        if not self._is_json(found):
            return found.start, found.end, rewrite_tuple(self.text, found, written, changes)
        if len(changes.drop) == len(written) and not any(changes.after.values()):
            return found.start, found.end, "[]"
        return found.start, found.end, rewrite_list(self.text, found, written, changes, self.json_style)

    def _alone(self, node: Node, changes: ListChanges) -> Splice:
        """Edits a statement outside lists: a block, or the only object."""
        new = changes.after[0]
        if not self._is_block(node):
            if changes.drop and len(new) == 1:
                return node.start, node.end, new[0]
            if changes.drop:
                raise self._error(node, "the only statement of a policy cannot be removed")
            indent = indentation(self.text, node.start)
            texts = [self.text[node.start : node.end], *new]
            return node.start, node.end, list_text(texts, indent, self.style, one_line=True)
        indent = indentation(self.text, node.start)
        begin = node.start - len(indent)
        end = self.text.find("\n", node.end) + 1 or len(self.text)
        gap = self.newline if self._has_blank_lines(node) else ""
        if not changes.drop:
            return end, end, "".join(gap + indent + each + self.newline for each in new)
        if new:
            return begin, end, gap.join(indent + each + self.newline for each in new)
        blank = re.compile(r"[ \t]*\r?\n").match(self.text, end)
        before = self.text[:begin].rstrip(" \t")
        if blank and (before.endswith(("{\n", "{\r\n", "\n\n", "\r\n\r\n"))):
            return begin, blank.end(), ""
        if before.endswith(("\n\n", "\r\n\r\n")) and self.text[end:].lstrip().startswith("}"):
            return begin - len(self.newline), end, ""
        return begin, end, ""

    def _has_blank_lines(self, node: Node) -> bool:
        """Returns whether blank lines separate the blocks around a statement."""
        blocks = [each for each in self.document.statement_nodes if self._is_block(each) and not each.fixed]
        between = [self.text[one.end : other.start] for one, other in pairwise(blocks)]
        return any(re.search(r"\n[ \t]*\r?\n", gap) for gap in between) if between else node.end > 0

    def _statement(self, statement: Mapping[str, Any], like: Node) -> str:
        """Writes a new statement in the form of another one."""
        indent = indentation(self.text, like.start)
        if self._is_json(like):
            # The JSON text is written later: here it is its value.
            plain = partial(map_strings, lambda text: json.loads(self._spelled(text, is_json=True)))
            spelled = {key: value if key == "Condition" else plain(value) for key, value in statement.items()}
            return statement_text(spelled, indent, self.json_style)
        if self._is_block(like):
            return self._block_text(statement, indent).lstrip()
        return aligned(self.newline.join(self._object_lines(statement, like))).lstrip()

    def _block_text(self, statement: Mapping[str, Any], indent: str) -> str:
        effects = [each.get("Effect") for each in self.document.statement_nodes]
        writes_allow = any(each and each.end > each.start and each.text == "Allow" for each in effects)
        lines = block_lines(
            statement, indent, self.style, lambda entry: self._spelled(entry, is_json=False), effect=writes_allow
        )
        return aligned(self.newline.join(lines))

    def _object_lines(self, statement: Mapping[str, Any], like: Node) -> Iterator[str]:
        indent = indentation(self.text, like.start)
        first = like.members[0]
        quoted = self.text[first.start : first.start + 1] == '"'
        between = self.text[first.key_end : first.value.start]
        comma = "," if re.match(r"[ \t]*,[ \t]*\r?\n", self.text[first.value.end :]) else ""
        end = "," if self.text[like.members[-1].value.end :].lstrip(" \t").startswith(",") else ""
        *_, last = statement
        yield f"{indent}{{"
        for key, value in statement.items():
            name = f'"{key}"' if quoted else key
            equal = between if ":" in between and "\n" not in between else " = "
            if key == "Condition":
                text = self.newline.join(value_lines(value, indent + self.style.unit))
            elif isinstance(value, str):
                text = self._spelled(value, is_json=False)
            else:
                entries = [self._spelled(each, is_json=False) for each in value]
                single = len(entries) == 1
                text = (
                    entries[0] if single else list_text(entries, indent + self.style.unit, self.style, one_line=False)
                )
            yield f"{indent}{self.style.unit}{name}{equal}{text}{end if key == last else comma}"
        yield f"{indent}}}"

    def _spelled(self, entry: str, is_json: bool) -> str:
        """Writes a string: as the file already writes it, as a reference to a resource, else as a text."""
        if not is_json and entry in self._written:
            return self._written[entry]
        reference = self._references.get(entry, "")
        for arn, path in self._references.items():
            if entry.startswith((f"{arn}/", f"{arn}:")):
                rest = self.escape(entry[len(arn) :])
                return json_string(f"${{{path}}}{rest}") if is_json else f'"${{{path}}}{escaped_text(rest)}"'
        if reference:
            return json_string(f"${{{reference}}}") if is_json else reference
        if _PLACEHOLDER.search(entry) and not is_json:
            raise self._error(
                self.document.policy, "a resource that an expression makes cannot be written a second time"
            )
        return json_string(self.escape(entry)) if is_json else f'"{escaped_text(self.escape(entry))}"'

    @cached_property
    def _references(self) -> Mapping[str, str]:
        """ARNs of resources that the module defines, the longest first, and the references to them."""
        found = references_of(self.document.source, self.document.where, self.document.pseudo_parameters)
        return dict(sorted(found.items(), key=lambda pair: -len(pair[0])))

    @cached_property
    def _written(self) -> Mapping[str, str]:
        """Texts with unknown parts, as IAM's syntax and as the file writes them."""
        found: dict[str, str] = {}
        for node in self.document.statement_nodes:
            for member in node.members:
                for item in member.value.items or (member.value,):
                    parts = parts_of(item, "terraform", {}) if item.kind == "string" and not item.fixed else None
                    if parts and "${" in item.text and not self._is_json(node):
                        found.setdefault(joined_text(parts), self.text[item.start : item.end])
        return found

    @cached_property
    def _heredocs(self) -> list[Expression]:
        return [each for each in expressions_in(self.root) if each.kind == "heredoc"]

    def _is_json(self, node: Node) -> bool:
        return any(each.start < node.start < each.end for each in self._heredocs)

    def _is_block(self, node: Node) -> bool:
        return self.text.startswith("statement", node.start)

    def _error(self, node: Node, problem: str) -> PolicyFileError:
        where = f"{self.document.where}: {self.document.source.position(node.start)}"
        return PolicyFileError(f"{where}: {problem}.")


def _list_node(found: Expression) -> Node:
    items = tuple(Node("string", part.start, part.end) for part in found.parts)
    return Node("array", found.start, found.end, items=items)
