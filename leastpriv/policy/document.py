"""A policy file as the user wrote it: every byte kept, the statements read beside it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from leastpriv.errors import PolicyFileError
from leastpriv.model import Condition
from leastpriv.policy.spans import Node, line_of, place, read

VARIABLES_VERSION = "2012-10-17"
"""The version from which `${…}` means something; without it, and in 2008-10-17, it is plain text
(read 2026-11-24 at https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_version.html).
"""

_MAX_BYTES = 4 * 1024 * 1024
"""A policy has some 10 KB; account-wide exports, which may hold one, some hundreds."""

_WRAPPERS = ("", "/PolicyVersion/Document", "/Policy", "/PolicyDocument")
"""Where the policy stands in a policy file and in the output of `aws iam get-policy-version`,
`get-role-policy` and their like, which people commit as it is."""

_EXCLUSIVE = (("Action", "NotAction"), ("Resource", "NotResource"))


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement, its lists as written; a single string counts as a list of one."""

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
    """Whether `${…}` means anything here, that is, whether the document is of version 2012-10-17."""
    line: int
    """1-based line of the file on which the statement begins."""


@dataclass(frozen=True, slots=True)
class Document:
    """A policy inside the bytes that hold it. Two documents are equal when bytes and pointer are."""

    raw: bytes = field(repr=False)
    pointer: str
    """JSON pointer (RFC 6901) to the policy object; empty where the file is the policy."""
    where: str = field(compare=False)
    """How messages call the file."""
    version: str = field(compare=False)
    """The `Version` element; empty where absent, which IAM reads as 2008-10-17."""
    statements: tuple[Statement, ...] = field(compare=False)
    text: str = field(compare=False, repr=False)
    """`raw` decoded; a byte order mark is its first character."""
    policy: Node = field(compare=False, repr=False)
    """The policy object, with offsets into `text`."""

    def to_bytes(self) -> bytes:
        """Return the file, byte for byte as it was read."""
        return self.raw

    @property
    def statement_nodes(self) -> tuple[Node, ...]:
        """The statements' places in `text`, in the order of `statements`."""
        node = self.policy.get_any_case("Statement")
        return (node.items if node.kind == "array" else (node,)) if node else ()


def parse(raw: bytes, where: str, pointer: str = "") -> Document:
    """Read an identity-based policy from the bytes of a JSON file in UTF-8, with or without byte order mark.

    `where` names the file in messages. The policy is found at `pointer`, without one at the top of the file
    or where the AWS command line puts it. Keys of the policy language count in any case, as IAM takes them.
    Raises PolicyFileError, in one sentence with the way out, where the file is not strict JSON, holds no
    policy, or holds one that has a principal or that IAM would not accept.
    """
    if len(raw) > _MAX_BYTES:
        raise PolicyFileError(f"{where}: {len(raw):,} bytes are too many for a policy file; name the policy itself.")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise PolicyFileError(f"{where}: byte {error.start + 1} is not UTF-8; save the file as UTF-8.") from error
    found_at, policy = _find(read(text, where), where, pointer)
    reader = _Reader(text, where)
    version = reader.string(policy, "Version")
    statements = reader.statements(policy, version == VARIABLES_VERSION)
    return Document(raw, found_at, where, version, statements, text, policy)


def _find(root: Node, where: str, pointer: str) -> tuple[str, Node]:
    for candidate in (pointer,) if pointer else _WRAPPERS:
        node = _resolve(root, candidate)
        if node and node.get_any_case("Statement"):
            return candidate, node
    if pointer:
        raise PolicyFileError(
            f"{where}: there is no policy (an object with a Statement) at {pointer}; correct the pointer."
        )
    raise PolicyFileError(
        f"{where}: no policy, an object with Statement, stands at the top or at {', '.join(_WRAPPERS[1:])}; "
        "name the JSON file of an IAM policy."
    )


def _resolve(root: Node, pointer: str) -> Node | None:
    node: Node | None = root
    for token in pointer.split("/")[1:]:
        key = token.replace("~1", "/").replace("~0", "~")
        if node is None:
            return None
        if node.kind == "array":
            index = int(key) if re.fullmatch(r"0|[1-9][0-9]{0,6}", key) else len(node.items)
            node = node.items[index] if index < len(node.items) else None
        else:
            node = node.get(key)
    return node


class _Reader:
    """Reads the parts of a policy; `text` and `where` serve its messages."""

    def __init__(self, text: str, where: str) -> None:
        self.text = text
        self.where = where

    def error(self, node: Node, advice: str) -> PolicyFileError:
        return PolicyFileError(f"{self.where}: {place(self.text, node.start)}: {advice}.")

    def statements(self, policy: Node, variables: bool) -> tuple[Statement, ...]:
        self.refuse_twins(policy)
        node = policy.get_any_case("Statement")
        if node is None or node.kind not in {"array", "object"}:
            raise self.error(node or policy, "Statement must be an object or a list of objects; correct the policy")
        nodes = node.items if node.kind == "array" else (node,)
        return tuple(self.statement(index, item, variables) for index, item in enumerate(nodes))

    def statement(self, index: int, node: Node, variables: bool) -> Statement:
        self.check_statement(node)
        effect = self.string(node, "Effect")
        if effect not in {"Allow", "Deny"}:
            raise self.error(node, "the Effect of this statement is neither Allow nor Deny; correct the policy")
        conditions, readable = self.conditions(node.get_any_case("Condition"))
        return Statement(
            index=index,
            sid=self.string(node, "Sid"),
            effect=effect,
            actions=self.strings(node, "Action"),
            not_actions=self.strings(node, "NotAction"),
            resources=self.strings(node, "Resource"),
            not_resources=self.strings(node, "NotResource"),
            conditions=conditions,
            conditions_readable=readable,
            variables=variables,
            line=line_of(self.text, node.start),
        )

    def check_statement(self, node: Node) -> None:
        if node.kind != "object":
            raise self.error(node, "a statement must be an object; correct the policy")
        self.refuse_twins(node)
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

    def refuse_twins(self, node: Node) -> None:
        keys = [member.key.casefold() for member in node.members]
        for member, key in zip(node.members, keys, strict=True):
            if keys.count(key) > 1:
                raise self.error(node, f"the key {member.key} stands twice, in different case; keep one")

    def string(self, node: Node, key: str) -> str:
        value = node.get_any_case(key)
        if value is not None and value.kind != "string":
            raise self.error(value, f"{key} must be a string; correct the policy")
        return value.text if value else ""

    def strings(self, node: Node, key: str) -> tuple[str, ...]:
        value = node.get_any_case(key)
        if value is None:
            return ()
        items = value.items if value.kind == "array" else (value,)
        for item in items:
            if item.kind != "string":
                raise self.error(item, f"{key} must be a string or a list of strings; render templates first")
        return tuple(item.text for item in items)

    def conditions(self, node: Node | None) -> tuple[tuple[Condition, ...], bool]:
        if node is None:
            return (), True
        read_conditions = [
            Condition(operator.key, key.key, _texts(key.value))
            for operator in node.members
            for key in operator.value.members
            if _plain(key.value)
        ]
        blocks = node.kind == "object" and all(operator.value.kind == "object" for operator in node.members)
        plain = all(_plain(key.value) for operator in node.members for key in operator.value.members)
        return tuple(read_conditions), blocks and plain


def _plain(node: Node) -> bool:
    items = node.items if node.kind == "array" else (node,)
    return all(item.kind in {"string", "number"} or item.text in {"true", "false"} for item in items)


def _texts(node: Node) -> tuple[str, ...]:
    return tuple(item.text for item in node.items) if node.kind == "array" else (node.text,)
