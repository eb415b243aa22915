"""Builds the policy that HCL describes: `aws_iam_policy_document`, `jsonencode`, heredocs and JSON
text.

The nodes have IAM's keys and the offsets of the HCL that makes them. An unknown value may cover
anything: an unknown statement allows what its expression may allow, and a statement that may be
absent has an unknown condition.

The data source
(https://registry.terraform.io/providers/hashicorp/aws/latest/docs/data-sources/iam_policy_document,
read 2026-11-27) defaults to `version` 2012-10-17 and `effect` Allow, and writes `&{` for the `${`
of a policy variable.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.errors import PolicyFileError, TooLargeError
from leastpriv.policy.hcl_evaluate import Evaluator
from leastpriv.policy.hcl_functions import array, is_known, is_unknown, plain_text
from leastpriv.policy.hcl_module import ModuleScope, relocated, unknown
from leastpriv.policy.hcl_syntax import Block, Expression
from leastpriv.policy.syntax_tree import Member, Node, minified, read_json

_LISTS = {
    "actions": "Action",
    "not_actions": "NotAction",
    "resources": "Resource",
    "not_resources": "NotResource",
}
_SOURCES = ("source_policy_documents", "source_json")
_OVERRIDES = ("override_policy_documents", "override_json")


def document_node(scope: ModuleScope, file: str, block: Block) -> Node:
    """Returns the policy of a data source."""
    reader = _BlockReader(Evaluator(scope, file))
    statements = reader.statements_of(block, _SOURCES)
    try:
        statements = _overridden(statements, reader.statements(block))
    except TooLargeError as error:
        unknown_node = unknown(".".join(block.labels), block.start, block.end)
        statements.append(_unknown_statement(replace(unknown_node, fixed=str(error))))
    statements = _overridden(statements, reader.statements_of(block, _OVERRIDES))
    start = block.start
    members = [
        Member(
            "Version",
            start,
            start,
            reader.text(block, "version") or Node("string", start, start, "2012-10-17"),
        )
    ]
    if identifier := reader.text(block, "policy_id"):
        members.append(Member("Id", start, start, identifier))
    statement_list = Node("array", start, block.end, items=tuple(statements))
    return Node(
        "object",
        start,
        block.end,
        members=(*members, Member("Statement", start, block.end, statement_list)),
    )


def policy_node(scope: ModuleScope, file: str, expression: Expression) -> Node | None:
    """Returns the policy that an expression makes; None if it surely makes none."""
    evaluator = Evaluator(scope, file)
    if expression.kind == "heredoc":
        return _checked_policy(_heredoc_node(evaluator, expression))
    node = evaluator.value(expression)
    if node.kind != "choice":
        return _checked_policy(_parsed_text(node, expression, _IN_QUOTES))
    policies = [
        _checked_policy(_parsed_text(alternative, expression, _IN_QUOTES))
        for alternative in node.items
    ]
    known_policies = [policy for policy in policies if policy is not None]
    if not known_policies:
        return None
    return _one_of(
        known_policies, len(known_policies) < len(policies), evaluator.source(expression)
    )


_IN_QUOTES = "it is a text in quotes; write it with jsonencode"


def _heredoc_node(evaluator: Evaluator, expression: Expression) -> Node | None:
    """Returns the JSON value of a heredoc."""
    pieces: list[_Piece] = []
    inside = False  # the quotes of a string of JSON
    for part in expression.parts:
        if part.kind == "text":
            pieces.append(_Piece(part.text, part.start, is_made=False))
            inside = _is_inside(part.text, inside)
            continue
        value = evaluator.value(part.parts[0])
        if value.kind == "choice" or not_definite(value):
            value = evaluator.unknown(part.parts[0])
        text = minified(value) if value.kind in {"array", "object"} else value.text
        if not inside and is_unknown(value):
            # Outside of quotes an unknown value is a whole one, which JSON needs as a string.
            text = f'"{text}"'
        pieces.append(_Piece(text, part.start, is_made=True))
    return _json_node(pieces)


def _checked_policy(node: Node | None) -> Node | None:
    """Returns a value as a policy with what its unknown parts may allow; None if it is none."""
    if node is None:
        return None
    if is_unknown(node):
        statement_list = Node("array", node.start, node.end, items=(node,))
        statement_member = Member("Statement", node.start, node.end, statement_list)
        return normalized(Node("object", node.start, node.end, members=(statement_member,)))
    return normalized(node) if node.kind == "object" and node.get_any_case("Statement") else None


def _one_of(policies: Sequence[Node], may_be_none: bool, depends_on: str) -> Node:
    """Returns the policy that has the statements of several, one of which is the policy."""
    statements_by_text: dict[str, Node] = {}
    counts: Counter[str] = Counter()
    for policy in policies:
        value = policy.get_any_case("Statement")
        for statement in value.entries if value else ():
            text = minified(statement)
            counts[text] += 1
            statements_by_text.setdefault(text, statement)
    statements = []
    for text, statement in statements_by_text.items():
        is_common = counts[text] == len(policies) and not may_be_none
        cause = statement.depends_on or ("" if is_common else " ".join(depends_on.split()))
        statements.append(replace(statement, depends_on=cause))
    first = policies[0]
    statement_list = Node("array", first.start, first.end, items=tuple(statements))
    members = [
        replace(member, value=statement_list) if member.key.casefold() == "statement" else member
        for member in first.members
    ]
    return replace(first, members=tuple(members))


def normalized(policy: Node) -> Node:
    """Returns a policy whose unknown statements, effects and NotActions are written as what they
    may allow.
    """
    members = []
    for member in policy.members:
        value = member.value
        if member.key.casefold() == "statement":
            entries = value.items if value.kind in {"array", "choice"} else (value,)
            cause = "" if value.kind != "choice" else value.text
            statements = [statement for entry in entries for statement in _statements(entry, cause)]
            single = value.kind == "object" and len(statements) == 1
            value = (
                statements[0]
                if single
                else replace(value, kind="array", text="", members=(), items=tuple(statements))
            )
        members.append(replace(member, value=value))
    return replace(policy, members=tuple(members))


def _statements(node: Node, depends_on: str = "") -> Iterator[Node]:
    """Yields the statements that one entry of Statement may be."""
    cause = node.depends_on or depends_on
    if node.kind == "choice":
        for alternative in node.items:
            yield from _statements(alternative, cause or node.text)
        return
    if node.kind == "string":
        yield replace(_unknown_statement(node), depends_on=cause)
        return
    node = replace(_with_settled_members(node), depends_on=cause)
    not_action = node.get_any_case("NotAction")
    if not_action and not _has_known_texts(not_action):
        hidden = unknown(minified(not_action), not_action.start, not_action.end)
        hidden = replace(hidden, fixed="what its NotAction excludes is unknown")
        node = _with_member(node, not_action, "Action", hidden)
    yield from _with_each_effect(node)


def _with_each_effect(statement: Node) -> Iterator[Node]:
    """Yields a statement; one whose effect is unknown with each effect."""
    effect = statement.get_any_case("Effect")
    if effect is None or is_known(effect):
        yield statement
        return
    for effect_name in ("Allow", "Deny"):
        with_effect = _with_member(statement, effect, "Effect", replace(effect, text=effect_name))
        yield _maybe(with_effect, effect.text, "its effect is an expression")


def _has_known_texts(value: Node) -> bool:
    """Returns whether the text of each entry is known, even if an expression may leave it out."""
    return all(is_known(replace(entry, depends_on="")) for entry in value.entries)


def _with_settled_members(statement: Node) -> Node:
    """Returns a statement whose lists have one text an entry, and which has no other choices."""
    members: list[Member] = []
    for member in statement.members:
        value = member.value
        if member.key.casefold() in _LIST_KEYS:
            value = _settled_list(value)
        elif not_definite(value):
            value = replace(
                unknown(minified(value), value.start, value.end), fixed=_EXPRESSION_MADE
            )
        members.append(replace(member, value=value))
    return replace(statement, members=tuple(members))


_LIST_KEYS = frozenset({"action", "notaction", "resource", "notresource"})
_EXPRESSION_MADE = "an expression makes it"


def _settled_list(value: Node) -> Node:
    """Returns a list in which each possible text is a separate entry."""
    if value.kind != "choice" and not any(node.kind == "choice" for node in value.items):
        return value
    if value.kind == "choice":
        value = replace(value, kind="array", items=(value,))
    entries: list[Node] = []
    for entry in value.items:
        if entry.kind != "choice":
            entries.append(entry)
            continue
        cause = entry.depends_on or entry.text
        entries += (
            replace(alternative, depends_on=alternative.depends_on or cause)
            for alternative in entry.items
        )
    return replace(value, items=tuple(entries))


def not_definite(node: Node) -> bool:
    """Returns whether an expression decides which parts a value has."""
    if node.kind == "choice" or node.depends_on:
        return True
    return any(map(not_definite, node.items)) or any(
        not_definite(member.value) for member in node.members
    )


def without_options(policy: Node) -> Node:
    """Returns a policy for JSON, which has no place for what an expression may leave out.

    Such a statement has an unknown condition; such entries are in a statement of their own.
    """
    members = []
    for member in policy.members:
        value = member.value
        if member.key.casefold() == "statement":
            statements = tuple(
                part for statement in value.entries for part in _rendered_parts(statement)
            )
            value = replace(value, kind="array", text="", members=(), items=statements)
        members.append(replace(member, value=value))
    return replace(policy, members=tuple(members))


def _rendered_parts(statement: Node) -> Iterator[Node]:
    open_lists = {
        member.key: [entry for entry in member.value.entries if entry.depends_on]
        for member in statement.members
        if member.key.casefold() in _LIST_KEYS
    }
    causes = dict.fromkeys(
        entry.depends_on for open_list in open_lists.values() for entry in open_list
    )
    cause = " and ".join(causes)
    if cause:
        certain = _with_entries(statement, lambda item: not item.depends_on)
        if certain is not None:
            yield _under(certain, statement.depends_on)
        with_all_entries = _with_entries(statement, lambda _: True)
        if with_all_entries is not None:
            yield _under(with_all_entries, statement.depends_on or cause)
        return
    yield _under(statement, statement.depends_on)


def _with_entries(statement: Node, is_kept: Callable[[Node], bool]) -> Node | None:
    """Returns a statement with some entries of its lists; None if a list would be empty."""
    members: list[Member] = []
    for member in statement.members:
        value = member.value
        if member.key.casefold() in _LIST_KEYS:
            entries = tuple(
                replace(entry, depends_on="") for entry in value.entries if is_kept(entry)
            )
            if not entries:
                return None
            value = replace(value, kind="array", text="", items=entries, depends_on="")
        members.append(replace(member, value=value))
    return replace(statement, members=tuple(members))


def _under(statement: Node, cause: str) -> Node:
    """Returns a statement with an unknown condition."""
    if not cause:
        return statement
    condition = unknown(cause, statement.start, statement.end)
    other_members = tuple(
        member for member in statement.members if member.key.casefold() != "condition"
    )
    condition_member = Member("Condition", statement.start, statement.start, condition)
    return replace(statement, members=(*other_members, condition_member), depends_on="")


def _unknown_statement(node: Node) -> Node:
    node = replace(node, depends_on="")
    values = {"Effect": replace(node, text="Allow"), "Action": node, "Resource": node}
    members = tuple(Member(key, node.start, node.start, value) for key, value in values.items())
    return Node(
        "object",
        node.start,
        node.end,
        members=members,
        fixed=node.fixed or _EXPRESSION_MADE,
    )


def _with_member(node: Node, old: Node, key: str, value: Node) -> Node:
    members = (
        replace(member, key=key, value=value) if member.value is old else member
        for member in node.members
    )
    return replace(node, members=tuple(members))


def _maybe(node: Node, cause: str, reason: str) -> Node:
    """Returns a statement that an expression may leave out."""
    depends_on = node.depends_on or cause
    return replace(node, depends_on=depends_on, fixed=node.fixed or reason)


def _overridden(before: Sequence[Node], after: Iterable[Node]) -> list[Node]:
    """Merges statements as the provider does: one with the Sid of an earlier one takes its
    place.
    """
    statements = list(before)
    for node in after:
        sid, sids = _sid(node), [_sid(statement) for statement in statements]
        if sid and sid in sids:
            statements[sids.index(sid)] = node
        else:
            statements.append(node)
    return statements


def _sid(statement: Node) -> str:
    sid = statement.get_any_case("Sid")
    return sid.text if sid else ""


class _BlockReader:
    """Converts the blocks of a data source."""

    def __init__(self, evaluator: Evaluator) -> None:
        self.evaluator = evaluator

    def statements_of(self, block: Block, keys: Sequence[str]) -> list[Node]:
        """Returns the statements of other documents."""
        statements: list[Node] = []
        for key in keys:
            attribute = block.attributes.get(key)
            if attribute is None:
                continue
            node = self.evaluator.value(attribute.value)
            for document in node.entries:
                is_choice = document.kind == "choice"
                cause = document.depends_on or (document.text if is_choice else "")
                for alternative in document.items if is_choice else (document,):
                    statements += _statements_of_document(alternative, cause)
        return statements

    def statements(self, block: Block) -> Iterator[Node]:
        """Yields the statements of a block's own `statement` and `dynamic` blocks."""
        for own_block in self.each_block(block, "statement"):
            for node in _statements(own_block.reader.statement(own_block.block)):
                if own_block.reader is self:
                    yield node
                    continue
                origin = own_block.block
                statement = relocated(node, origin.start, origin.end, "a dynamic block makes it")
                if own_block.depends_on:
                    statement = _maybe(statement, own_block.depends_on, statement.fixed)
                yield statement

    def each_block(self, body: Block, name: str) -> Iterator[_OwnBlock]:
        """Yields the blocks of a type, and those that a dynamic block makes."""
        for block in body.blocks:
            if block.labels == (name,):
                yield _OwnBlock(self, block)
            elif block.labels == ("dynamic", name):
                yield from self.dynamic(block, name)

    def dynamic(self, block: Block, name: str) -> Iterator[_OwnBlock]:
        content = next(block.named("content"), None)
        for_each = block.attributes.get("for_each")
        if content is None or for_each is None:
            return
        iterator = block.attributes.get("iterator")
        label = iterator.value.text if iterator else name
        for element in _elements(self.evaluator.value(for_each.value)):
            self.evaluator.scope.budget.spend()
            key = Node("string", 0, 0, element.key)
            if is_unknown(element.value) or element.value.depends_on:
                key = unknown(f"{label}.key", 0, 0)
            value = replace(element.value, depends_on="")
            members = (Member("key", 0, 0, key), Member("value", 0, 0, value))
            names = {label: Node("object", 0, 0, members=members)}
            reader = _BlockReader(self.evaluator.with_names(names))
            cause = element.value.depends_on or element.depends_on
            if is_unknown(element.value):
                cause = element.value.text
            yield _OwnBlock(reader, content, cause)

    def statement(self, block: Block) -> Node:
        start = block.start
        sid = self.text(block, "sid")
        elements = {
            ("Sid", "sid"): sid if sid and sid.text else None,
            ("Effect", "effect"): self.text(block, "effect")
            or Node("string", start, start, "Allow"),
            **{(name, key): self.listed(block, key) for key, name in _LISTS.items()},
            ("Principal", ""): self.principals(block, "principals"),
            ("NotPrincipal", ""): self.principals(block, "not_principals"),
            ("Condition", ""): self.conditions(block),
        }
        members: list[Member] = []
        for (name, key), value in elements.items():
            attribute = block.attributes.get(key)
            if value and attribute:
                members.append(Member(name, attribute.start, attribute.start + len(key), value))
            elif value:
                members.append(Member(name, start, start, value))
        return Node("object", start, block.end, members=tuple(members))

    def text(self, block: Block, key: str) -> Node | None:
        attribute = block.attributes.get(key)
        node = self.evaluator.value(attribute.value) if attribute else None
        return None if node is None or node.text == "null" else node

    def listed(self, block: Block, key: str) -> Node | None:
        """Returns a list of texts; None for an empty one, which the provider omits."""
        attribute = block.attributes.get(key)
        if attribute is None:
            return None
        expression = attribute.value
        node = self.evaluator.value(expression)
        if node.kind == "literal" or (expression.kind == "tuple" and not expression.parts):
            return None
        if not _is_text(node) and not (node.items and all(map(_is_text, node.items))):
            # An empty list from an input has entries where the module is used.
            node = self.evaluator.unknown(expression)
        return with_policy_variables(node)

    def principals(self, block: Block, key: str) -> Node | None:
        """Returns principals as the provider does: `*` for all principals, else identifiers grouped
        by type.
        """
        identifiers_by_type: dict[str, list[Node]] = {}
        for own_block in self.each_block(block, key):
            kind = own_block.reader.text(own_block.block, "type")
            identifiers = own_block.reader.listed(own_block.block, "identifiers")
            identifiers_by_type.setdefault(kind.text if kind else "", []).extend(
                identifiers.entries if identifiers else ()
            )
        if not identifiers_by_type:
            return None
        all_texts = {
            kind: [node.text for node in nodes] for kind, nodes in identifiers_by_type.items()
        }
        if all_texts == {"*": ["*"]}:
            return Node("string", block.start, block.start, "*")
        principals = {
            kind: nodes[0] if len(nodes) == 1 else array(nodes)
            for kind, nodes in identifiers_by_type.items()
        }
        return replace(_object(principals), start=block.start, end=block.start)

    def conditions(self, block: Block) -> Node | None:
        """Returns the conditions; values of equal test and variable are joined in order, as in
        policy_model.go.
        """
        conditions: dict[str, dict[str, list[Node]]] = {}
        for own_block in self.each_block(block, "condition"):
            test = own_block.reader.text(own_block.block, "test")
            variable = own_block.reader.text(own_block.block, "variable")
            operator = plain_text(test) if test else None
            key = plain_text(variable) if variable else None
            values = own_block.reader.listed(own_block.block, "values")
            is_open = values is None or own_block.depends_on or not_definite(values)
            if operator is None or key is None or values is None or is_open:
                origin = own_block.block
                return self.evaluator.unknown(Expression("other", origin.start, origin.end))
            conditions.setdefault(operator, {}).setdefault(key, []).extend(values.entries)
        if not conditions:
            return None
        operators: dict[str, Node] = {}
        for operator, values_by_key in conditions.items():
            operators[operator] = _object(
                {key: array(nodes) for key, nodes in values_by_key.items()}
            )
        return _object(operators)


class _OwnBlock(Struct, frozen=True):
    """A block with its reader."""

    reader: _BlockReader
    block: Block
    depends_on: str = ""
    """The expression that decides whether it is there; empty if it is."""


class _Element(Struct, frozen=True):
    """What a dynamic block makes one block of."""

    key: str
    value: Node
    depends_on: str = ""


def _elements(collection: Node, depends_on: str = "") -> Iterator[_Element]:
    if collection.kind == "choice":
        for alternative in collection.items:
            yield from _elements(alternative, collection.text)
        return
    for member in collection.members:
        yield _Element(member.key, member.value, depends_on)
    elements = (collection,) if is_unknown(collection) else collection.items
    for index, element in enumerate(elements):
        yield _Element(str(index), element, depends_on)


def _is_text(node: Node) -> bool:
    return node.kind == "string" or (node.kind == "choice" and all(map(_is_text, node.items)))


def _statements_of_document(document: Node, depends_on: str) -> Iterator[Node]:
    """Yields the statements of another document, which an expression may leave out."""
    document = _parsed_text(document, document, "it is a text")
    inner = document.get_any_case("Statement")
    if document.kind == "object" and inner:
        statements = inner.entries
    elif document.kind == "string" and document.text:
        statements = (_unknown_statement(document),)
    else:
        return
    for statement in statements:
        yield replace(statement, depends_on=statement.depends_on or depends_on)


def _object(values: Mapping[str, Node]) -> Node:
    members = tuple(Member(key, 0, 0, value) for key, value in values.items())
    return Node("object", 0, 0, members=members)


def with_policy_variables(node: Node) -> Node:
    """Returns texts with the data source's `&{` as a policy variable."""
    return replace(
        node,
        text=node.text.replace("&{", "$${"),
        items=tuple(map(with_policy_variables, node.items)),
    )


class _Piece(Struct, frozen=True):
    """A part of JSON text."""

    text: str
    start: int
    """Offset in the file of the text, or of the expression that makes it."""
    is_made: bool
    """Whether an expression makes it."""


_EXPRESSION = re.compile(r"(?<!\$)(\$\{[^{}]*\})")
_JSON_STRING = re.compile(r'\\.|"', re.DOTALL)


def _is_inside(text: str, inside: bool) -> bool:
    """Returns whether the end of a text is inside a JSON string."""
    quotes = sum(1 for match in _JSON_STRING.finditer(text) if match[0] == '"')
    return inside != bool(quotes % 2)


def _parsed_text(node: Node, origin: Node | Expression, reason: str) -> Node:
    """Returns the JSON that a known text has; any other value itself."""
    if node.kind != "string" or is_unknown(node):
        return node
    piece = _Piece(node.text, 0, is_made=True)
    parsed_node = _json_node([piece], node.fixed or reason)
    return (
        relocated(parsed_node, origin.start, origin.end, node.fixed or reason)
        if parsed_node
        else node
    )


def _json_node(pieces: Sequence[_Piece], reason: str = "an expression makes it") -> Node | None:
    """Parses JSON text of several pieces; None if it is not JSON."""
    text = "".join(piece.text for piece in pieces)
    if not text.lstrip().startswith("{"):
        return None
    is_made_whole = len(pieces) == 1 and pieces[0].is_made
    try:
        root = read_json(_with_quoted_expressions(text) if is_made_whole else text, "")
    except PolicyFileError:
        return None
    starts = [0, *accumulate(len(piece.text) for piece in pieces)]

    def in_file(at: int) -> _Place:
        number = min(bisect_right(starts, at), len(pieces)) - 1
        piece = pieces[number]
        if piece.is_made:
            return _Place(piece.start, is_made=True)
        return _Place(piece.start + at - starts[number], is_made=False)

    def moved(node: Node) -> Node:
        start = in_file(node.start)
        last = in_file(node.end - 1)
        entries = tuple(map(moved, node.items))
        if any(entry.fixed for entry in entries):
            # The text of what an expression makes of a list is not in the file.
            entries = tuple(replace(entry, fixed=entry.fixed or reason) for entry in entries)
        members = tuple(
            Member(
                member.key,
                in_file(member.start).offset,
                in_file(member.key_end).offset,
                moved(member.value),
            )
            for member in node.members
        )
        return replace(
            node,
            start=start.offset,
            end=start.offset if start.is_made else last.offset + 1,
            fixed=reason if start.is_made or last.is_made else "",
            items=entries,
            members=members,
        )

    return moved(root)


class _Place(Struct, frozen=True):
    """The file offset of a place in JSON text, and whether an expression makes that place."""

    offset: int
    is_made: bool


def _with_quoted_expressions(text: str) -> str:
    """Returns JSON text with quotes around expressions that stand for whole values."""
    quoted_text = ""
    is_in_string = False
    for index, part in enumerate(_EXPRESSION.split(text)):
        is_expression = index % 2 == 1
        if is_expression:
            quoted_text += part if is_in_string else f'"{part}"'
            continue
        quoted_text += part
        is_in_string = _is_inside(part, is_in_string)
    return quoted_text
