"""A policy file as the user wrote it: every byte kept, the statements read beside it.

What IAM refuses as a policy, and what nobody can tell before a template is rendered: each in one sentence.

The grammar of a policy: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html, read
2026-11-24.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from types import MappingProxyType

from leastpriv.errors import PolicyFileError
from leastpriv.models import Condition
from leastpriv.policy.locate import locate
from leastpriv.policy.source import Source, names, rendered
from leastpriv.policy.syntax_tree import Node, value_of
from leastpriv.policy.template_functions import Parts, Placeholder, parts_of, spelled

LISTS = ("Action", "NotAction", "Resource", "NotResource")
"""Elements of a statement that are a string or a list of strings."""
VARIABLES_VERSION = "2012-10-17"
"""The version from which `${…}` means something; without it, and in 2008-10-17, it is plain text
(read 2026-11-24 at https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_version.html).
"""

_VERSIONS = (VARIABLES_VERSION, "2008-10-17", "")
_ELEMENTS = ("Sid", "Effect", "Principal", "NotPrincipal", *LISTS, "Condition")
_EXCLUSIVE = (("Action", "NotAction"), ("Resource", "NotResource"))
_LIKE = 0.75
"""How much of a misspelled element has to be right to be told which one is meant."""


@dataclass(frozen=True, slots=True)
class Grammar:
    """The checks of one policy; every one of them raises PolicyFileError."""

    source: Source
    where: str
    """How messages call the file."""

    def error(self, node: Node, advice: str) -> PolicyFileError:
        """Make the error that names a node's place."""
        return self._error(node.start, advice)

    def check_policy(self, policy: Node, version: str) -> None:
        """Refuse what is wrong with a policy outside its statements."""
        if version not in _VERSIONS:
            node = policy.get_any_case("Version") or policy
            raise self.error(node, f"IAM knows no Version {names([version])}; write {VARIABLES_VERSION}")
        self._refuse_twins(policy)
        self._refuse_aliases(policy)
        node = policy.get_any_case("Statement") or policy
        self._refuse_expression(node, "Statement")
        if node is policy or node.kind not in {"array", "object"}:
            raise self.error(node, "Statement must be an object or a list of objects; correct the policy")

    def check_statement(self, node: Node) -> None:
        """Refuse what is wrong with a statement, its values left aside."""
        self._refuse_expression(node, "a statement")
        if node.kind != "object":
            raise self.error(node, "a statement must be an object; correct the policy")
        if len(node.members) == 1 and node.members[0].key.startswith("Fn::"):
            raise self.error(
                node, f"this statement is made by {node.members[0].key}; name a file in which it is written out"
            )
        self._refuse_twins(node)
        self._refuse_unknown(node)
        if node.get_any_case("Principal") or node.get_any_case("NotPrincipal"):
            raise self.error(
                node,
                "this statement has a principal, so that the file is a resource-based or trust policy; name "
                "the file of an identity-based policy of the role",
            )
        for one, other in _EXCLUSIVE:
            if node.get_any_case(one) and node.get_any_case(other):
                raise self.error(
                    node, f"this statement has both {one} and {other}; IAM takes only one, remove the other"
                )

    def check_lists(self, statement: Node) -> None:
        """Refuse a statement that is about no action, or whose lists are empty: it would be read as saying nothing."""
        if not (statement.get_any_case("Action") or statement.get_any_case("NotAction")):
            raise self.error(statement, "this statement has no Action, which IAM refuses; add it")
        for member in statement.members:
            if member.value.kind == "array" and not member.value.items and member.key.casefold() != "condition":
                raise self.error(
                    member.value, f"{member.key} is empty, which IAM refuses; name something, or remove the statement"
                )

    def _error(self, offset: int, advice: str) -> PolicyFileError:
        return PolicyFileError(f"{self.where}: {self.source.place(offset)}: {advice}.")

    def _refuse_expression(self, node: Node, what: str) -> None:
        """Terraform's `[for …]` or `concat(…)` is no mistake, and only Terraform can work it out."""
        parts = parts_of(node, "terraform", {}) if self.source.language == "terraform" else None
        if any(isinstance(part, Placeholder) for part in parts or ()):
            raise self.error(
                node,
                f"{what} is an expression that only Terraform can work out; save what it renders as JSON and name that",
            )

    def _refuse_unknown(self, statement: Node) -> None:
        """A misspelled Condition must not be read as no condition."""
        known = {element.casefold(): element for element in _ELEMENTS}
        for member in statement.members:
            if member.key.casefold() not in known:
                near = get_close_matches(member.key.casefold(), known, n=1, cutoff=_LIKE)
                advice = f"write {known[near[0]]}" if near else "remove it"
                key = names([member.key])
                raise self._error(member.start, f"IAM knows no {key} in a statement and refuses the policy; {advice}")

    def _refuse_twins(self, node: Node) -> None:
        seen: dict[str, str] = {}
        for member in node.members:
            other = seen.setdefault(member.key.casefold(), member.key)
            if other is not member.key:
                case = "" if other == member.key else ", in different case"
                raise self.error(node, f"the key {names([member.key])} stands twice{case}; keep one")

    def _refuse_aliases(self, policy: Node) -> None:
        """An edit of what other places repeat, or of a repetition, would change more than the policy."""
        for node in _below(policy):
            if node.kind == "alias" or node.anchor:
                raise self.error(node, "the policy has a YAML anchor or alias; write the value out in both places")


def _below(node: Node) -> Iterator[Node]:
    yield node
    for child in (*node.items, *(member.value for member in node.members)):
        yield from _below(child)


_MAX_BYTES = 4 * 1024 * 1024
"""A policy has some 10 KB; account-wide exports, which may hold one, some hundreds."""

_NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement, its lists as written; a single string counts as a list of one.

    Parts that only a rendered template knows are placeholders, `${Bucket.Arn}`.
    """

    index: int
    """0-based place in the document."""
    sid: str
    """Empty where there is none."""
    effect: str
    """`Allow` or `Deny`."""
    actions: tuple[str, ...]
    not_actions: tuple[str, ...]
    resources: tuple[str, ...]
    not_resources: tuple[str, ...]
    conditions: tuple[Condition, ...]
    """One an operator and key; all must hold, of the values any. Booleans and numbers as their JSON text."""
    conditions_readable: bool
    """False where the Condition block has a shape that `conditions` cannot express."""
    variables: bool
    """Whether `${…}` means anything here: the document is of version 2012-10-17, or the statement has placeholders, in
    which case its other texts are spelled as in that version."""
    line: int
    """1-based line of the file on which the statement begins."""


@dataclass(frozen=True, slots=True)
class Document:
    """A policy inside the bytes that hold it.

    Two documents are equal when bytes, pointer and what was read there are; the hash is of the former alone.
    """

    raw: bytes = field(repr=False)
    pointer: str
    """JSON pointer (RFC 6901) to the policy object, or its address in HCL; empty where the file is the policy."""
    where: str = field(compare=False)
    """How messages call the file."""
    version: str = field(compare=False)
    """The `Version` element; empty where absent, which IAM reads as 2008-10-17."""
    statements: tuple[Statement, ...] = field(hash=False)
    source: Source = field(compare=False, repr=False)
    known: Mapping[str, str] = field(hash=False, repr=False)
    """Values of CloudFormation's own parameters."""

    @property
    def text(self) -> str:
        """What the policy's nodes have their offsets in: `raw` decoded, or the string in it that is the policy."""
        return self.source.text

    @property
    def policy(self) -> Node:
        """The policy object, with offsets into `text`."""
        return self.source.policy

    @property
    def editable(self) -> bool:
        """Whether an edit can be written into the file; a policy in HCL is rendered as JSON."""
        return self.source.format != "hcl"

    def to_bytes(self) -> bytes:
        """Return the file, byte for byte as it was read."""
        return self.raw

    def value_in_file(self) -> tuple[str, object]:
        """Return a JSON pointer and the value there, the smallest that an edit changes: the file, policy or string."""
        source = self.source
        if source.shell:
            return self.pointer, self.text
        if source.format == "yaml":
            return self.pointer, value_of(self.policy)
        return "", json.loads(self.text.removeprefix("\ufeff"))

    def with_text(self, text: str) -> Document:
        """Return the document with another `text`, which is read anew."""
        source, shell = self.source, self.source.shell
        if text == self.text:
            return self
        if not self.editable:
            return _document(text.encode(), self.where, rendered(text, self.where, self.pointer), self.known)
        outer = shell.wrap(self.text, text) if shell else text
        return parse(outer.encode(), self.where, source.pointer, self.known)

    @property
    def statement_nodes(self) -> tuple[Node, ...]:
        """The statements' places in `text`, in the order of `statements`."""
        node = self.policy.get_any_case("Statement")
        return (node.items if node.kind == "array" else (node,)) if node else ()

    def line_of_entry(self, index: int, entry: str) -> int:
        """Return the 1-based line of the file with an `Action` entry of a statement; without one, the statement's."""
        node = self.statement_nodes[index]
        actions = node.get_any_case("Action")
        found = next((item for item in _items(actions) if item.text == entry), node) if actions else node
        return self.source.line(index, found)


def parse(raw: bytes, where: str, pointer: str = "", known: Mapping[str, str] = _NOTHING) -> Document:
    """Read an identity-based policy from the bytes of a file in UTF-8, with or without byte order mark.

    `where` is the file's name, for messages and to know YAML (`.yaml`, `.yml`, `.template`), Terraform (`.tf`,
    `.tf.json`) and JSON (all else) by. The policy is found at `pointer`, without one at the top of the file or where
    the AWS command line puts it. `known` holds values of CloudFormation's own parameters, such as `AWS::Partition`.
    Keys of the policy language count in any case, as IAM takes them.
    Raises PolicyFileError, in one sentence with the way out, where the file cannot be read, holds no policy there, or
    holds one that has a principal or that IAM would not accept.
    """
    if len(raw) > _MAX_BYTES:
        raise PolicyFileError(f"{where}: {len(raw):,} bytes are too many for a policy file; name the policy itself.")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise PolicyFileError(f"{where}: byte {error.start + 1} is not UTF-8; save the file as UTF-8.") from error
    return _document(raw, where, locate(text, where, pointer), known)


def _document(raw: bytes, where: str, source: Source, known: Mapping[str, str]) -> Document:
    reader = _Reader(source, where, known)
    version = reader.string(source.policy, "Version")
    reader.grammar.check_policy(source.policy, version)
    statements = reader.statements(source.policy, version == VARIABLES_VERSION)
    return Document(raw, source.pointer, where, version, statements, source, known)


class _Reader:
    """Reads the parts of a policy; `where` serves its messages."""

    def __init__(self, source: Source, where: str, known: Mapping[str, str]) -> None:
        self.source = source
        self.known = known
        self.grammar = Grammar(source, where)
        self.error = self.grammar.error

    def statements(self, policy: Node, variables: bool) -> tuple[Statement, ...]:
        node = policy.get_any_case("Statement") or policy
        nodes = node.items if node.kind == "array" else (node,)
        return tuple(self.statement(index, item, variables) for index, item in enumerate(nodes))

    def statement(self, index: int, node: Node, variables: bool) -> Statement:
        self.grammar.check_statement(node)
        effect = self.string(node, "Effect")
        if effect not in {"Allow", "Deny"}:
            raise self.error(node, "the Effect of this statement is neither Allow nor Deny; correct the policy")
        self.grammar.check_lists(node)
        lists = {key: self.lists(node, key) for key in LISTS}
        escaped = not variables and any(_open(parts) for found in lists.values() for parts in found)
        texts = {key: tuple(spelled(parts, escaped=escaped) for parts in found) for key, found in lists.items()}
        conditions, readable = self.conditions(node.get_any_case("Condition"), variables, escaped)
        return Statement(
            index=index,
            sid=self.string(node, "Sid"),
            effect=effect,
            actions=texts["Action"],
            not_actions=texts["NotAction"],
            resources=texts["Resource"],
            not_resources=texts["NotResource"],
            conditions=conditions,
            conditions_readable=readable,
            variables=variables or escaped,
            line=self.source.line(index, node),
        )

    def string(self, node: Node, key: str) -> str:
        value = node.get_any_case(key)
        parts = self.parts(value) if value else ("",)
        if value and parts is None:
            raise self.error(value, f"{key} must be a string; correct the policy")
        return spelled(parts or ())

    def lists(self, node: Node, key: str) -> list[Parts]:
        value = node.get_any_case(key)
        if value is None:
            return []
        found: list[Parts] = []
        for item in value.items if value.kind == "array" else (value,):
            parts = self.parts(item)
            if parts is None:
                raise self.error(item, f"{key} must be a string or a list of strings; render templates first")
            if key == "NotAction" and _open(parts):
                raise self.error(item, "what this NotAction leaves out is not known before the template is rendered")
            found.append(parts)
        return found

    def parts(self, node: Node) -> Parts | None:
        return parts_of(node, self.source.language, self.known)

    def conditions(self, node: Node | None, variables: bool, escaped: bool) -> tuple[tuple[Condition, ...], bool]:
        if node is None:
            return (), True
        blocks = node.kind == "object" and all(operator.value.kind == "object" for operator in node.members)
        found, plain = list[Condition](), True
        for operator in node.members:
            for key in operator.value.members:
                values = [self.value(value) for value in _items(key.value)]
                if any(parts is None or (_open(parts) and not (variables or escaped)) for parts in values):
                    plain = False
                else:
                    texts = tuple(spelled(parts or (), escaped=escaped) for parts in values)
                    found.append(Condition(operator.key, key.key, texts))
        return tuple(found), blocks and plain

    def value(self, node: Node) -> Parts | None:
        if node.kind == "number" or node.text in {"true", "false"}:
            return (node.text,)
        return self.parts(node) if node.kind == "string" else None


def _items(node: Node) -> tuple[Node, ...]:
    return node.items if node.kind == "array" else (node,)


def _open(parts: Iterable[object]) -> bool:
    return any(isinstance(part, Placeholder) for part in parts)
