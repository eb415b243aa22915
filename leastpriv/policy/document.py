"""Reads an identity-based policy out of a file, keeps every byte of the file, and rejects what IAM
would not accept.

Grammar: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html, read
2026-11-24.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import chain
from types import MappingProxyType

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.errors import PolicyFileError
from leastpriv.models import Condition
from leastpriv.permissions.patterns import has_variable
from leastpriv.policy.locate import locate
from leastpriv.policy.source import (
    PolicySource,
    TerraformFolder,
    format_names,
    has_principal,
    rendered_source,
)
from leastpriv.policy.syntax_tree import Member, Node, decoded, json_value, minified
from leastpriv.policy.template_functions import (
    PLACEHOLDER,
    Parts,
    Placeholder,
    joined_text,
    known_text,
    parts_of,
    serverless_variable,
)
from leastpriv.policy.template_values import described

LISTS = ("Action", "NotAction", "Resource", "NotResource")
"""Elements of a statement whose value is a string or a list of strings."""
VARIABLES_VERSION = "2012-10-17"
"""The version from which `${…}` is a policy variable; without a version, and in 2008-10-17, it is
plain text (read 2026-11-24 at
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_version.html)."""

_VERSIONS = (VARIABLES_VERSION, "2008-10-17", "")
_ELEMENTS = ("Sid", "Effect", "Principal", "NotPrincipal", *LISTS, "Condition")
_EXCLUSIVE = (
    ("Action", "NotAction"),
    ("Resource", "NotResource"),
    ("Principal", "NotPrincipal"),
)
_ACTION, _RESOURCE = re.compile(r":|\$\{|\A\*+\Z"), re.compile(r"arn:|[*$]")
_MIN_SIMILARITY = 0.75
"""Similarity from which a misspelled element is taken for a known one."""
_MAX_BYTES = 4 * 1024 * 1024
"""A policy has about 10 KB, an account-wide export that contains one some hundreds."""

_SERVERLESS_REASON = "only the Serverless Framework knows what it puts in here"
_NO_VALUES: Mapping[str, str] = MappingProxyType({})
_NO_FOLDER = TerraformFolder()


class PossibleEntry(Struct, frozen=True):
    """An entry of which only the rendered template knows whether a list has it."""

    key: str
    """The element that has the list, `Action`."""
    text: str
    depends_on: str
    """The expression that decides."""


class FixedPart(Struct, frozen=True):
    """A part of a statement that cannot be edited."""

    text: str
    """An entry as written; empty for the whole statement."""
    reason: str


class EntryItems(Struct, frozen=True):
    """For each entry of an element the index of the item of the file that makes it."""

    key: str
    """The element, `Action`."""
    places: tuple[int, ...]


class NamedPrincipal(Struct, frozen=True):
    """One entry of `Principal` or `NotPrincipal`."""

    kind: str
    """`AWS`, `Service`, `Federated` or `CanonicalUser`."""
    name: str
    """As written; `*` names every principal."""


class Statement(Struct, frozen=True):
    """One statement with its lists as written; a single string counts as a list of one.

    Parts that only the rendered template knows are placeholders, `${Bucket.Arn}`.
    """

    index: int
    """0-based index in the document."""
    sid: str
    """Empty if the statement has no Sid."""
    effect: str
    """`Allow` or `Deny`."""
    actions: tuple[str, ...]
    not_actions: tuple[str, ...]
    resources: tuple[str, ...]
    not_resources: tuple[str, ...]
    conditions: tuple[Condition, ...]
    """One per operator and key; all must hold, each for any of its values. Booleans and numbers are
    in their JSON text.
    """
    conditions_readable: bool
    """False if `conditions` cannot express the Condition block."""
    variables: bool
    """Whether `${…}` is a policy variable here: the version is 2012-10-17, or the statement has
    placeholders and its other texts are spelled as in that version."""
    line: int
    """1-based line on which the statement begins."""
    unknown_actions: tuple[str, ...] = ()
    """Those of `actions` of which only the rendered template knows the whole text; each may name
    any action that its known parts allow.
    """
    possible: tuple[PossibleEntry, ...] = ()
    """Those of the lists that an expression may leave out."""
    depends_on: str = ""
    """The expression that may leave out the whole statement; empty if none may."""
    items: tuple[EntryItems, ...] = ()
    """Of the elements of which an item of the file makes several entries, or none."""
    fixed: tuple[FixedPart, ...] = ()
    """The parts that another file or an expression makes, or that several statements share."""
    principals: tuple[NamedPrincipal, ...] = ()
    """Of a resource-based policy."""
    not_principals: tuple[NamedPrincipal, ...] = ()

    @property
    def meaning(self) -> Statement:
        """The statement without its place and its Sid."""
        return replace(self, index=0, sid="", line=0, fixed=(), items=())

    @property
    def is_certain(self) -> bool:
        """Whether the statement, and each of its actions and resources, is known in full."""
        texts = (*self.resources, *self.not_resources)
        is_known = not (self.unknown_actions or self.possible or self.depends_on)
        return is_known and not any(map(has_variable, texts))

    def unknown_parts(self) -> tuple[str, ...]:
        """Returns the expressions that only the rendered template knows, each once."""
        texts = (*self.unknown_actions, *self.resources, *self.not_resources)
        expressions = [self.depends_on, *(entry.depends_on for entry in self.possible)]
        expressions += [name for text in texts for name in PLACEHOLDER.findall(text)]
        return tuple(dict.fromkeys(filter(None, expressions)))

    def certain_part(self, *, keeps_variables: bool = False) -> Statement:
        """Returns what the statement names whatever the unknown parts of the template are.

        An entry with an unknown part names nothing then, and one with a policy variable only if
        `keeps_variables`.
        """
        if self.is_certain:
            return self
        is_open = PLACEHOLDER.search if keeps_variables else has_variable
        possible = {(entry.key, entry.text) for entry in self.possible}
        possible |= {("Action", entry) for entry in self.unknown_actions}
        actions = tuple(entry for entry in self.actions if ("Action", entry) not in possible)
        certain = [entry for entry in self.resources if ("Resource", entry) not in possible]
        resources = tuple(entry for entry in certain if not is_open(entry))
        is_empty = bool(self.depends_on) or any(map(is_open, self.not_resources))
        if is_empty or (self.resources and not resources):
            return replace(self, actions=(), not_actions=())
        return replace(
            self,
            actions=actions,
            resources=resources,
            unknown_actions=(),
            possible=(),
        )

    def fixed_reason(self, entry: str) -> str:
        """Returns why an entry, or the whole statement, cannot be edited; empty if it can."""
        return next((part.reason for part in self.fixed if part.text in ("", entry)), "")


@dataclass(frozen=True, slots=True)
class Document:
    """A policy and the file that contains it.

    Two documents are equal if bytes, pointer and parsed content are equal. The hash has all of
    them and is computed once: targets, and an edited document, may have the same bytes.
    """

    raw: bytes = field(repr=False)
    pointer: str
    """JSON pointer (RFC 6901) to the policy object, or its address in HCL; empty if the whole file
    is the policy.
    """
    where: str = field(compare=False)
    """Name of the file in messages."""
    version: str = field(compare=False)
    """The `Version` element; empty if absent, which IAM reads as 2008-10-17."""
    statements: tuple[Statement, ...]
    source: PolicySource = field(compare=False, repr=False)
    pseudo_parameters: Mapping[str, str] = field(repr=False)
    """Values of CloudFormation's pseudo parameters."""
    _hash: int = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        values = frozenset(self.pseudo_parameters.items())
        content = hash((self.raw, self.pointer, self.statements, values))
        object.__setattr__(self, "_hash", content)

    def __hash__(self) -> int:
        return self._hash

    @property
    def text(self) -> str:
        """The text that node offsets refer to: the decoded file, or the string in it that contains
        the policy.
        """
        return self.source.text

    @property
    def policy(self) -> Node:
        """The policy object; its offsets refer to `text`."""
        return self.source.policy

    @property
    def editable(self) -> bool:
        """Whether edits can be written into the file; else `text` is JSON rendered from it."""
        return not self.source.lines

    @property
    def has_several_policies(self) -> bool:
        """Whether it is several policies of one Terraform folder, read together."""
        return self.source.format == "hcl" and "," in self.pointer

    def certain_part(self, *, keeps_variables: bool = False) -> Document:
        """Returns the policy with what it names whatever the unknown parts of its file are; the
        indexes of its statements stay the same.
        """
        statements = tuple(
            statement.certain_part(keeps_variables=keeps_variables) for statement in self.statements
        )
        return self.with_statements(statements)

    def with_statements(self, statements: tuple[Statement, ...]) -> Document:
        """Returns the document with other statements, to be evaluated and not to be edited."""
        if statements == self.statements:
            return self
        return Document(
            raw=self.raw,
            pointer=self.pointer,
            where=self.where,
            version=self.version,
            statements=statements,
            source=self.source,
            pseudo_parameters=self.pseudo_parameters,
        )

    def as_json(self) -> Document:
        """Returns the policy rendered as JSON, in which every statement can be edited."""
        text = json.dumps(json_value(self.policy), indent=2, ensure_ascii=False)
        lines = tuple(statement.line for statement in self.statements)
        source = rendered_source(text, self.where, self.pointer, lines or (1,))
        return _document(self.raw, self.where, source, self.pseudo_parameters)

    def to_bytes(self) -> bytes:
        """Returns the unchanged bytes of the file."""
        return self.raw

    def value_in_file(self) -> tuple[str, object]:
        """Returns the smallest value that an edit changes (file, policy or string) and its JSON
        pointer.
        """
        source = self.source
        if source.embedded:
            return self.pointer, self.text
        if source.format == "yaml":
            return self.pointer, json_value(self.policy)
        return "", json.loads(self.text.removeprefix("\ufeff"))

    def with_text(self, text: str) -> Document:
        """Returns the document parsed from another `text`."""
        source, embedded = self.source, self.source.embedded
        if text == self.text:
            return self
        if not self.editable:
            source = rendered_source(text, self.where, self.pointer, source.lines)
            return _document(text.encode(), self.where, source, self.pseudo_parameters)
        outer = embedded.replace_text(self.text, text) if embedded else text
        return parse(
            outer.encode(), self.where, source.pointer, self.pseudo_parameters, source.folder
        )

    @property
    def statement_nodes(self) -> tuple[Node, ...]:
        """The nodes of the statements, in the order of `statements`."""
        return self.source.statement_nodes

    def line_of_entry(self, index: int, entry: str) -> int:
        """Returns the 1-based line of an `Action` entry; without such an entry, the line of the
        statement.
        """
        node = self.statement_nodes[index]
        actions = node.get_any_case("Action")
        entry_node = (
            next((candidate for candidate in actions.entries if candidate.text == entry), node)
            if actions
            else node
        )
        return self.source.line(index, entry_node)


def condition_of(document: Document, statement: Statement) -> str:
    """Returns a statement's condition as JSON without white space; empty if it has none."""
    node = document.statement_nodes[statement.index].get_any_case("Condition")
    return minified(node) if node else ""


def problem_for_iam(document: Document) -> str:
    """Returns why IAM rejects the actions or resources of a policy, with the remedy; empty where it
    does not.

    "IAM JSON policy elements reference", IAM User Guide, and the messages of `CreatePolicy`, read
    2026-11-28.
    """
    for statement in document.statements:
        actions, resources = (
            (*statement.actions, *statement.not_actions),
            (*statement.resources, *statement.not_resources),
        )
        checks = (
            (bool(resources), "has no Resource", "add it"),
            (
                all(map(_ACTION.search, actions)),
                "has an action without a service",
                "write it as in sqs:CreateQueue",
            ),
            (
                all(map(_RESOURCE.match, resources)),
                "has a Resource that is no ARN",
                "write an ARN or *",
            ),
        )
        for is_accepted, problem, remedy in checks:
            if not is_accepted:
                return (
                    f"the statement on line {statement.line} {problem}, which IAM rejects; {remedy}"
                )
    return ""


def parse(
    raw: bytes,
    where: str,
    pointer: str = "",
    pseudo_parameters: Mapping[str, str] = _NO_VALUES,
    folder: TerraformFolder = _NO_FOLDER,
    *,
    resource_based: bool = False,
) -> Document:
    """Parses an identity-based policy from the bytes of a UTF-8 file; keys are case-insensitive, as
    in IAM. With `resource_based` the statements may name principals.

    The file name `where` decides the format: YAML (`.yaml`, `.yml`, `.template`), Terraform (`.tf`,
    `.tf.json`), else JSON. An empty `pointer` searches the top of the file and the keys of the AWS
    CLI's output. `pseudo_parameters` has values such as that of `AWS::Partition`, `folder` the
    files near a Terraform file.

    Raises PolicyFileError, whose message names the remedy: the file cannot be read, has no policy
    at the pointer, or has one with a principal or that IAM would reject.
    """
    if len(raw) > _MAX_BYTES:
        raise PolicyFileError(
            f"{where}: {len(raw):,} bytes are too many for a policy file; name the policy itself."
        )
    source = locate(decoded(raw, where), where, pointer, folder, pseudo_parameters)
    return _document(raw, where, source, pseudo_parameters, resource_based=resource_based)


def _document(
    raw: bytes,
    where: str,
    source: PolicySource,
    pseudo_parameters: Mapping[str, str],
    *,
    resource_based: bool = False,
) -> Document:
    reader = _Reader(source, where, pseudo_parameters, resource_based=resource_based)
    version = reader.string(source.policy, "Version")
    nodes = reader.check_policy(source.policy, version).entries
    variables = version == VARIABLES_VERSION
    statements = tuple(reader.statement(index, node, variables) for index, node in enumerate(nodes))
    return Document(
        raw=raw,
        pointer=source.pointer,
        where=where,
        version=version,
        statements=statements,
        source=source,
        pseudo_parameters=pseudo_parameters,
    )


def _is_unknown(entry: _Entry) -> bool:
    """Returns whether only the rendered template knows an entry."""
    return known_text(entry.parts) is None


class _Reader:
    """Reads the parts of a policy; `where` names the file in messages."""

    def __init__(
        self,
        source: PolicySource,
        where: str,
        pseudo_parameters: Mapping[str, str],
        *,
        resource_based: bool,
    ) -> None:
        self.source = source
        self.where = where
        self.resource_based = resource_based
        self.functions = source.functions(pseudo_parameters)

    def error(self, node: Node | Member, advice: str) -> PolicyFileError:
        return PolicyFileError(f"{self.where}: {self.source.position(node.start)}: {advice}.")

    def statement(self, index: int, node: Node, variables: bool) -> Statement:
        variable = self.serverless_variable(node)
        if variable:
            return self.unknown_statement(index, node, variable)
        self.check_statement(node)
        effect = self.string(node, "Effect")
        if effect not in {"Allow", "Deny"}:
            raise self.error(
                node, "the Effect of this statement is neither Allow nor Deny; correct the policy"
            )
        if not (node.get_any_case("Action") or node.get_any_case("NotAction")):
            raise self.error(node, "this statement has no Action, which IAM rejects; add it")
        self.check_lists(node)
        lists = {key: self.entries(node, key) for key in LISTS}
        entries = chain.from_iterable(lists.values())
        escaped = not variables and any(map(_is_unknown, entries))
        texts = {
            key: tuple(joined_text(entry.parts, escaped=escaped) for entry in entries)
            for key, entries in lists.items()
        }
        block = self.conditions(node.get_any_case("Condition"), variables, escaped)
        return Statement(
            index=index,
            sid=self.string(node, "Sid"),
            effect=effect,
            actions=texts["Action"],
            not_actions=texts["NotAction"],
            resources=texts["Resource"],
            not_resources=texts["NotResource"],
            conditions=block.conditions,
            conditions_readable=block.is_readable,
            variables=variables or escaped,
            line=self.source.line(index, node),
            unknown_actions=tuple(
                text
                for entry, text in zip(lists["Action"], texts["Action"], strict=True)
                if _is_unknown(entry)
            ),
            possible=tuple(_possible(lists, texts)),
            depends_on=node.depends_on,
            items=tuple(_items(lists)),
            fixed=tuple(self.fixed(node, lists)),
            principals=self.principals(node, "Principal"),
            not_principals=self.principals(node, "NotPrincipal"),
        )

    def serverless_variable(self, node: Node) -> Placeholder | None:
        """Returns the placeholder of a value that only the Serverless Framework knows."""
        if self.source.language != "cloudformation":
            return None
        return serverless_variable(node)

    def unknown_statement(self, index: int, node: Node, variable: Placeholder) -> Statement:
        """Returns a statement that may allow anything, in place of one that another file has."""
        action = joined_text((variable,))
        return Statement(
            index=index,
            sid="",
            effect="Allow",
            actions=(action,),
            not_actions=(),
            resources=("*",),
            not_resources=(),
            conditions=(),
            conditions_readable=True,
            variables=True,
            line=self.source.line(index, node),
            unknown_actions=(action,),
            fixed=(FixedPart("", _SERVERLESS_REASON),),
        )

    def check_lists(self, node: Node) -> None:
        """Refuses a statement with an empty list."""
        for member in node.members:
            value = member.value
            if value.items or value.kind != "array" or member.key.casefold() == "condition":
                continue
            advice = (
                f"{member.key} is empty, which IAM rejects; add an entry, or remove the statement"
            )
            raise self.error(value, advice)

    def principals(self, node: Node, key: str) -> tuple[NamedPrincipal, ...]:
        """Returns the entries of `Principal` or `NotPrincipal`; a lone `*` is every principal."""
        value = node.get_any_case(key)
        if value is None:
            return ()
        if value.kind == "string" and value.text == "*":
            return (NamedPrincipal("AWS", "*"),)
        if value.kind != "object":
            raise self.error(value, f"{key} must be * or an object such as {{AWS: ARN}}")
        principals: list[NamedPrincipal] = []
        for member in value.members:
            for entry in member.value.entries:
                parts = self.parts(entry)
                if parts is None:
                    raise self.error(entry, f"{key} must name its principals as strings")
                principals.append(NamedPrincipal(member.key, joined_text(parts)))
        return tuple(principals)

    def fixed(self, node: Node, lists: Mapping[str, Sequence[_Entry]]) -> Iterator[FixedPart]:
        """Yields what of a statement is not written in this file for it alone."""
        if node.fixed:
            yield FixedPart("", node.fixed)
        for key in ("Action", "NotAction", "Resource"):
            value = node.get_any_case(key)
            for entry in lists[key]:
                reason = entry.fixed or (value.fixed if value else "")
                if not reason and key == "Action" and known_text(entry.parts) is None:
                    reason = "only the rendered template knows this action"
                if reason:
                    yield FixedPart(joined_text(entry.parts), reason)

    def string(self, node: Node, key: str) -> str:
        value = node.get_any_case(key)
        parts = self.parts(value) if value else ("",)
        if value and parts is None:
            raise self.error(value, f"{key} must be a string; correct the policy")
        return joined_text(parts or ())

    def entries(self, node: Node, key: str) -> list[_Entry]:
        value = node.get_any_case(key)
        if value is None:
            return []
        entries: list[_Entry] = []
        for index, entry_node in enumerate(value.entries):
            inner = self.inner_entries(entry_node, index)
            variable = self.serverless_variable(entry_node)
            if variable and key in ("Action", "NotAction"):
                inner = [_Entry((variable,), index, fixed=_SERVERLESS_REASON)]
            if inner is None:
                raise self.error(
                    entry_node,
                    f"{key} must be a string or a list of strings; render templates first",
                )
            if key == "NotAction" and any(known_text(entry.parts) is None for entry in inner):
                raise self.error(
                    entry_node,
                    "what this NotAction leaves out is not known before the template is rendered",
                )
            entries += inner
        if not entries and value.entries:
            raise self.error(value, f"{key} is a function that makes no entry; name another")
        return entries

    def inner_entries(self, node: Node, index: int) -> list[_Entry] | None:
        """Returns the entries that an item of `Action` or `Resource` makes; None if it cannot stand
        there, as a list inside the list.

        A text makes one. In CloudFormation `!If [IsProd, a, b]` makes two, each with the condition
        it depends on, and a `!Ref` to a list parameter one for each value of its default.

        Args:
            node: The item.
            index: Its place in the list.
        """
        if self.source.language != "cloudformation":
            parts = self.parts(node)
            if parts is None:
                return None
            return [_Entry(parts, index, node.depends_on, node.fixed)]
        inner = self.functions.entries(node)
        if inner is None or node.kind == "array":
            return None
        is_one = len(inner) == 1 and not inner[0].depends_on
        # Entries that a function makes are not in the file one by one: no edit can change one.
        fixed = "" if is_one else f"{described(node)} makes it"
        return [_Entry(entry.parts, index, entry.depends_on, fixed) for entry in inner]

    def parts(self, node: Node) -> Parts | None:
        return parts_of(node, self.source.language, self.functions)

    def conditions(self, node: Node | None, variables: bool, escaped: bool) -> _ConditionBlock:
        if node is None:
            return _ConditionBlock()
        are_blocks = node.kind == "object" and all(
            operator.value.kind == "object" for operator in node.members
        )
        conditions: list[Condition] = []
        are_readable = are_blocks
        for operator in node.members:
            for key in operator.value.members:
                texts = self.texts(key.value, variables, escaped)
                if texts is None:
                    are_readable = False
                else:
                    conditions.append(Condition(operator.key, key.key, texts))
        return _ConditionBlock(tuple(conditions), is_readable=are_readable)

    def texts(self, node: Node, variables: bool, escaped: bool) -> tuple[str, ...] | None:
        """Returns the values of a condition; None if one cannot be read."""
        texts: list[str] = []
        for entry in node.entries:
            parts = self.value(entry)
            if parts is None:
                return None
            if known_text(parts) is None and not (variables or escaped):
                return None
            texts.append(joined_text(parts, escaped=escaped))
        return tuple(texts)

    def value(self, node: Node) -> Parts | None:
        if node.kind == "number" or node.text in {"true", "false"}:
            return (node.text,)
        return self.parts(node) if node.kind == "string" else None

    def check_policy(self, policy: Node, version: str) -> Node:
        """Checks the policy outside its statements, and returns their node."""
        if version not in _VERSIONS:
            node = policy.get_any_case("Version") or policy
            raise self.error(
                node, f"IAM knows no Version {format_names([version])}; write {VARIABLES_VERSION}"
            )
        self.check_duplicate_keys(policy)
        for node in _descendants(policy):
            # An edit of an anchored or aliased value would change other parts of the file too.
            if node.kind == "alias" or node.anchor:
                raise self.error(
                    node,
                    "the policy has a YAML anchor or alias; write the value out in both places",
                )
        node = policy.get_any_case("Statement") or policy
        self.check_no_expression(node, "Statement")
        if node is policy or node.kind not in {"array", "object"}:
            raise self.error(
                node, "Statement must be an object or a list of objects; correct the policy"
            )
        return node

    def check_statement(self, node: Node) -> None:
        """Checks the keys of a statement, but not their values."""
        self.check_no_expression(node, "a statement")
        if node.kind != "object":
            raise self.error(node, "a statement must be an object; correct the policy")
        if len(node.members) == 1 and node.members[0].key.startswith("Fn::"):
            function = node.members[0].key
            raise self.error(
                node,
                f"this statement is made by {function}; name a file in which it is written out",
            )
        self.check_duplicate_keys(node)
        self.check_elements(node)
        if has_principal(node) and not self.resource_based:
            problem = (
                "this statement has a principal, so that the file is a resource-based or trust"
                " policy"
            )
            raise self.error(
                node, f"{problem}; name the file of an identity-based policy of the role"
            )
        for element, other_element in _EXCLUSIVE:
            if node.get_any_case(element) and node.get_any_case(other_element):
                both_elements = f"both {element} and {other_element}"
                problem = (
                    f"this statement has {both_elements}; IAM takes only one, remove the other"
                )
                raise self.error(node, problem)

    def check_elements(self, node: Node) -> None:
        """Refuses unknown keys: a misspelled Condition must not be read as no condition."""
        elements = {element.casefold(): element for element in _ELEMENTS}
        for member in node.members:
            key = member.key.casefold()
            if key in elements:
                continue
            similar = get_close_matches(key, elements, n=1, cutoff=_MIN_SIMILARITY)
            advice = f"write {elements[similar[0]]}" if similar else "remove it"
            name = format_names([member.key])
            problem = f"IAM knows no {name} in a statement and rejects the policy; {advice}"
            raise self.error(member, problem)

    def check_no_expression(self, node: Node, what: str) -> None:
        """Terraform's `[for …]` or `concat(…)` is valid, but only Terraform can evaluate it."""
        if self.source.language == "terraform" and known_text(self.parts(node) or ()) is None:
            advice = (
                "is an expression that only Terraform can work out; save what it renders as JSON"
                " and name that"
            )
            raise self.error(node, f"{what} {advice}")

    def check_duplicate_keys(self, node: Node) -> None:
        keys: dict[str, str] = {}
        for member in node.members:
            first_key = keys.setdefault(member.key.casefold(), member.key)
            if first_key is not member.key:
                case = "" if first_key == member.key else ", in different case"
                raise self.error(
                    node, f"the key {format_names([member.key])} appears twice{case}; keep one"
                )


class _Entry(Struct, frozen=True):
    """One entry of an element of a statement."""

    parts: Parts
    place: int
    """Index of the item of the file that makes it."""
    depends_on: str = ""
    """The expression that decides whether it is there; empty if it is."""
    fixed: str = ""
    """Why no edit can write into it; empty if one can."""


class _ConditionBlock(Struct, frozen=True):
    """The Condition element of a statement."""

    conditions: tuple[Condition, ...] = ()
    is_readable: bool = True
    """Whether `conditions` express the whole element."""


def _possible(
    lists: Mapping[str, Sequence[_Entry]], texts: Mapping[str, Sequence[str]]
) -> Iterator[PossibleEntry]:
    """Yields the entries that an expression may leave out, and that are not also certain."""
    for key, entries in lists.items():
        certain = {
            text for entry, text in zip(entries, texts[key], strict=True) if not entry.depends_on
        }
        for entry, text in zip(entries, texts[key], strict=True):
            if entry.depends_on and text not in certain:
                yield PossibleEntry(key, text, entry.depends_on)


def _items(lists: Mapping[str, Sequence[_Entry]]) -> Iterator[EntryItems]:
    for key, entries in lists.items():
        indexes = tuple(entry.place for entry in entries)
        if indexes != tuple(range(len(indexes))):
            yield EntryItems(key, indexes)


def _descendants(node: Node) -> Iterator[Node]:
    yield node
    for child in (*node.items, *(member.value for member in node.members)):
        yield from _descendants(child)
