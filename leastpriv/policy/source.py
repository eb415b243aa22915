"""The place of a policy: a file, a pointer into it, and the text that its nodes refer to."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from leastpriv.errors import NoPolicyError
from leastpriv.policy.embedded_json import Shell
from leastpriv.policy.syntax_tree import Node, line_of, place, read
from leastpriv.policy.template_functions import Language

_MOST_NAMES = 12
_LONGEST_NAME = 60
_LONGEST_POINTER = 300
_MOST_POLICIES = 5
_INDEX = re.compile(r"0|[1-9][0-9]{0,6}")
_ADDRESSED = (".tf", ".tofu", ".hcl")
"""Files in which a policy goes by an address like `data.aws_iam_policy_document.deploy`, not by a JSON pointer."""


@dataclass(frozen=True, slots=True)
class Location:
    """What `template.yaml#/Resources/Role` names."""

    path: str
    pointer: str
    """JSON pointer (RFC 6901), or the address of HCL; empty where the file is the policy."""

    @classmethod
    def of(cls, name: str) -> Location:
        """Split a name; a `#` that no pointer follows belongs to the file's name."""
        path, mark, pointer = name.partition("#")
        if mark and (pointer.startswith("/") or is_hcl(path)):
            return cls(path, pointer)
        return cls(name, "")

    def __str__(self) -> str:
        return f"{self.path}#{self.pointer}" if self.pointer else self.path


def is_hcl(path: str) -> bool:
    """Whether a file is HCL, by its name."""
    return path.lower().endswith(_ADDRESSED)


def find(root: Node, pointer: str, where: str) -> Node:
    """Follow a JSON pointer.

    Raises NoPolicyError naming the first part that is not there, and the names that are.
    """
    node, done = root, ""
    for token in pointer.split("/")[1:]:
        key = token.replace("~1", "/").replace("~0", "~")
        found = _child(node, key)
        if found is None:
            named, at = (_short(each, _LONGEST_POINTER) for each in (pointer, done or "the top"))
            raise NoPolicyError(
                f"{where}: the pointer {named} leads nowhere: {at} {_lack(node, key)}; correct the pointer."
            )
        node, done = found, f"{done}/{token}"
    return node


def policies_in(root: Node) -> list[str]:
    """Return pointers to what looks like identity-based policies, in the order of the file."""
    return list(_policies(root, ""))


def choices(where: str, pointers: Iterable[str]) -> str:
    """Put ready names of a file's policies in words; empty where it has none."""
    found = list(pointers)
    shown = ", ".join(f"{where}#{pointer}" for pointer in found[:_MOST_POLICIES])
    rest = f" and {len(found) - _MOST_POLICIES} more" if len(found) > _MOST_POLICIES else ""
    return shown + rest


def names(found: Iterable[str]) -> str:
    """Put names in words, the first dozen of them."""
    every = list(found)
    shown = ", ".join(map(_short, every[:_MOST_NAMES]))
    return shown + (f" and {len(every) - _MOST_NAMES} more" if len(every) > _MOST_NAMES else "")


def _short(name: str, longest: int = _LONGEST_NAME) -> str:
    return name if len(name) <= longest else f"{name[:longest]}…"


def _child(node: Node, key: str) -> Node | None:
    if node.kind == "array":
        index = int(key) if _INDEX.fullmatch(key) else len(node.items)
        return node.items[index] if index < len(node.items) else None
    return node.get(key)


def _lack(node: Node, key: str) -> str:
    if node.kind == "array":
        size = len(node.items)
        has = f"only 0 to {size - 1}" if size > 1 else "only 0" if size else "for it is empty"
        return f"is a list that has no {_short(key)}, {has}"
    if node.kind == "object":
        keys = [member.key for member in node.members]
        return f"has no {_short(key)}, only {names(keys)}" if keys else f"has no {_short(key)}, for it is empty"
    return f"is a {kind_name(node)}, so that it has no {_short(key)}"


def kind_name(node: Node) -> str:
    """Put a node's kind in words."""
    return {"array": "list", "object": "object without members", "literal": "constant"}.get(node.kind, node.kind)


def _policies(node: Node, pointer: str) -> Iterator[str]:
    if node.kind == "array":
        for number, item in enumerate(node.items):
            yield from _policies(item, f"{pointer}/{number}")
        return
    sub = node.get("Fn::Sub") or node
    if sub.kind == "string" and sub.text.lstrip().startswith("{") and '"Statement"' in sub.text:
        yield pointer
        return
    statements = node.get_any_case("Statement")
    if statements and not _is_resource_based(statements):
        yield pointer
        return
    for member in node.members:
        token = member.key.replace("~", "~0").replace("/", "~1")
        yield from _policies(member.value, f"{pointer}/{token}")


def _is_resource_based(statements: Node) -> bool:
    nodes = statements.items if statements.kind == "array" else (statements,)
    return any(node.get_any_case("Principal") or node.get_any_case("NotPrincipal") for node in nodes)


Format = Literal["json", "yaml", "hcl"]


@dataclass(frozen=True, slots=True)
class Source:
    """The place of a policy."""

    format: Format
    pointer: str
    text: str
    """What the policy's nodes have their offsets in: the file, or the string in which the policy is written."""
    policy: Node
    language: Language
    outer: str
    """The whole file."""
    shell: Shell | None = None
    """Where the policy is written in a string."""
    kind: str = ""
    """Type of the resource of a CloudFormation template that the policy is a part of, `AWS::IAM::UserPolicy`."""
    lines: tuple[int, ...] = ()
    """Of a policy that was rendered as JSON: where its statements begin in the file."""

    def offset(self, offset: int) -> int:
        """Return the offset in the file of an offset in `text`."""
        return self.shell.place(offset) if self.shell else offset

    def place(self, offset: int) -> str:
        """Return an offset of `text` in words, as of the file; of a policy that was rendered, its address."""
        return self.pointer if self.format == "hcl" else place(self.outer, self.offset(offset))

    def line(self, index: int, node: Node) -> int:
        """Return the 1-based line of the file on which a statement begins."""
        return self.lines[index] if self.lines else line_of(self.outer, self.offset(node.start))


def rendered(text: str, where: str, pointer: str, lines: tuple[int, ...] = ()) -> Source:
    """Make the source of a Terraform policy that was written as JSON; `lines` are those of its statements."""
    return Source("hcl", pointer, text, read(text, where), "terraform", text, lines=lines)
