"""Finds the roles, users and groups to which a template attaches the policy that it contains."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from leastpriv.policy.document import Document
from leastpriv.policy.syntax_tree import Node

_LISTS = {"Roles": "role", "Users": "user", "Groups": "group"}
"""Properties of `AWS::IAM::Policy` and `AWS::IAM::ManagedPolicy` (AWS CloudFormation template
reference, read 2026-12-01)."""
_TYPES = ("AWS::IAM::Policy", "AWS::IAM::ManagedPolicy")


class AttachedName(Struct, frozen=True):
    """A principal to which a template attaches the policy."""

    kind: str
    """`role`, `user` or `group`."""
    name: str


def attached_names(document: Document) -> Iterator[AttachedName]:
    """Yields each principal that the resource of the policy names by its text."""
    source = document.source
    if source.language != "cloudformation" or source.resource_type not in _TYPES:
        return
    resources = source.root.get("Resources") if source.root else None
    if resources is None:
        return
    match document.pointer.split("/"):
        case ["", _, name, _, *_]:
            resource = resources.get(name)
        case _:
            return
    properties = resource.get("Properties") if resource else None
    if properties is None:
        return
    for key, kind in _LISTS.items():
        names = properties.get(key)
        for entry in names.items if names else ():
            name = _name(entry, resources)
            if name:
                yield AttachedName(kind, name)


def _name(entry: Node, resources: Node) -> str:
    """Returns a literal name, or that of the resource which a `Ref` names; empty where only AWS
    chooses it.
    """
    if entry.kind == "string":
        return entry.text
    reference = entry.get("Ref")
    resource = resources.get(reference.text) if reference else None
    properties = resource.get("Properties") if resource else None
    if properties is None:
        return ""
    for key in ("RoleName", "UserName", "GroupName"):
        name = properties.get(key)
        if name is not None and name.kind == "string":
            return name.text
    return ""
