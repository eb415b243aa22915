"""Names the location of a policy: a file, a pointer into it, and the text that its nodes refer to."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from leastpriv.errors import NoPolicyError
from leastpriv.policy.embedded_json import EmbeddedJson
from leastpriv.policy.syntax_tree import Node, line_of, position, read_json
from leastpriv.policy.template_functions import Language

_MOST_NAMES = 12
_LONGEST_NAME = 60
_LONGEST_POINTER = 300
_MOST_POLICIES = 5
_INDEX = re.compile(r"0|[1-9][0-9]{0,6}")
_ADDRESSED = (".tf", ".tofu", ".hcl")
"""Files in which an address like `data.aws_iam_policy_document.deploy` replaces the JSON pointer."""


@dataclass(frozen=True, slots=True)
class Location:
    """A parsed name such as `template.yaml#/Resources/Role`."""

    path: str
    pointer: str
    """JSON pointer (RFC 6901), or the address in HCL; empty if the whole file is the policy."""

    @classmethod
    def of(cls, name: str) -> Location:
        """Splits a name; a `#` without a pointer after it is part of the file name."""
        path, mark, pointer = name.partition("#")
        if mark and (pointer.startswith("/") or is_hcl(path)):
            return cls(path, pointer)
        return cls(name, "")

    def __str__(self) -> str:
        return f"{self.path}#{self.pointer}" if self.pointer else self.path


def is_hcl(path: str) -> bool:
    """Returns whether the file name is that of an HCL file."""
    return path.lower().endswith(_ADDRESSED)


def may_decide(path: str) -> bool:
    """Returns whether a file of a Terraform folder may decide what a policy of the folder grants."""
    return is_hcl(path) or path.lower().endswith((".tfvars", ".json", ".tftpl", ".tpl"))


def follow_pointer(root: Node, pointer: str, where: str) -> Node:
    """Follows a JSON pointer.

    Raises NoPolicyError that names the first missing part, and the names that exist.
    """
    node, done = root, ""
    for token in pointer.split("/")[1:]:
        key = token.replace("~1", "/").replace("~0", "~")
        found = _child(node, key)
        if found is None:
            named, at = (_shorten(each, _LONGEST_POINTER) for each in (pointer, done or "the top"))
            raise NoPolicyError(
                f"{where}: the pointer {named} leads nowhere: {at} {_missing_reason(node, key)}; correct the pointer."
            )
        node, done = found, f"{done}/{token}"
    return node


def policy_pointers(root: Node) -> list[str]:
    """Returns pointers to the likely identity-based policies, in the order of the file."""
    return list(_policies(root, ""))


def format_addresses(where: str, pointers: Iterable[str]) -> str:
    """Lists full names of a file's policies; empty if it has none."""
    found = list(pointers)
    shown = ", ".join(f"{where}#{pointer}" for pointer in found[:_MOST_POLICIES])
    rest = f" and {len(found) - _MOST_POLICIES} more" if len(found) > _MOST_POLICIES else ""
    return shown + rest


def format_names(found: Iterable[str]) -> str:
    """Lists names, of many the first dozen."""
    every = list(found)
    shown = ", ".join(map(_shorten, every[:_MOST_NAMES]))
    return shown + (f" and {len(every) - _MOST_NAMES} more" if len(every) > _MOST_NAMES else "")


def _shorten(name: str, longest: int = _LONGEST_NAME) -> str:
    return name if len(name) <= longest else f"{name[:longest]}…"


def _child(node: Node, key: str) -> Node | None:
    if node.kind == "array":
        index = int(key) if _INDEX.fullmatch(key) else len(node.items)
        return node.items[index] if index < len(node.items) else None
    return node.get(key)


def _missing_reason(node: Node, key: str) -> str:
    if node.kind == "array":
        size = len(node.items)
        has = f"only 0 to {size - 1}" if size > 1 else "only 0" if size else "for it is empty"
        return f"is a list that has no {_shorten(key)}, {has}"
    if node.kind == "object":
        keys = [member.key for member in node.members]
        return (
            f"has no {_shorten(key)}, only {format_names(keys)}" if keys else f"has no {_shorten(key)}, for it is empty"
        )
    return f"is a {describe_kind(node)}, so that it has no {_shorten(key)}"


def describe_kind(node: Node) -> str:
    """Returns the kind of a node in words."""
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
    nodes = statements.entries
    return any(node.get_any_case("Principal") or node.get_any_case("NotPrincipal") for node in nodes)


Format = Literal["json", "yaml", "hcl"]


@dataclass(frozen=True, slots=True)
class TerraformFolder:
    """What the expressions of a Terraform file can refer to."""

    files: Mapping[str, str] = field(default_factory=dict)
    """Name relative to the folder of the policy file -> text of its other files."""
    plan: str = ""
    """Output of `terraform show -json`; empty if there is none."""


@dataclass(frozen=True, slots=True)
class PolicySource:
    """A located policy."""

    format: Format
    pointer: str
    text: str
    """The text that node offsets refer to: the file, or the string that contains the policy."""
    policy: Node
    language: Language
    outer: str
    """The whole file."""
    embedded: EmbeddedJson | None = None
    """The string that contains the policy, if any."""
    resource_type: str = ""
    """Type of the CloudFormation resource that contains the policy, `AWS::IAM::UserPolicy`."""
    lines: tuple[int, ...] = ()
    """Lines of the statements in the file, if the policy was rendered as JSON."""
    folder: TerraformFolder = TerraformFolder()
    """The files near an HCL file."""

    def offset(self, offset: int) -> int:
        """Returns the file offset of an offset in `text`."""
        return self.embedded.outer_offset(offset) if self.embedded else offset

    def position(self, offset: int) -> str:
        """Returns the position of an offset in words; for a rendered policy, its address."""
        return self.pointer if self.lines else position(self.outer, self.offset(offset))

    def line(self, index: int, node: Node) -> int:
        """Returns the 1-based line of the file on which a statement begins."""
        return (
            self.lines[min(index, len(self.lines) - 1)] if self.lines else line_of(self.outer, self.offset(node.start))
        )


def rendered_source(text: str, where: str, pointer: str, lines: tuple[int, ...] = ()) -> PolicySource:
    """Returns the source of a Terraform policy rendered as JSON; `lines` are those of its statements."""
    return PolicySource("hcl", pointer, text, read_json(text, where), "terraform", text, lines=lines)
