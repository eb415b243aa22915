"""Reads resources of Terraform's provider `awscc`, which makes each by the handlers of a
CloudFormation type (https://registry.terraform.io/providers/hashicorp/awscc/latest/docs, not read:
inferred from the names of its resources).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache, lru_cache

from leastpriv.declared.resource_types import plain
from leastpriv.permissions.tool_lifecycle import (
    ResourceKind,
    Tool,
    conditions_of,
    name_property,
    tag_property,
    type_names,
)

PREFIX = "awscc_"


def kind_of_control(name: str) -> ResourceKind | None:
    """Returns the CloudFormation type of a resource type, `AWS::SQS::Queue` of `awscc_sqs_queue`;
    None for one that no table has.
    """
    kind = _types().get(plain(name.removeprefix(PREFIX)))
    return ResourceKind(Tool.CLOUDFORMATION, kind) if kind else None


def control_properties(kind: ResourceKind, values: Mapping[str, object]) -> dict[str, object]:
    """Returns the attributes of a resource under the names of CloudFormation's properties."""
    return {_property(kind, name): _renamed(kind, value) for name, value in values.items()}


def _renamed(kind: ResourceKind, value: object) -> object:
    if isinstance(value, Mapping):
        return control_properties(kind, value)
    if isinstance(value, list):
        return [_renamed(kind, member) for member in value]
    return value


@cache
def _types() -> Mapping[str, str]:
    names = type_names(Tool.CLOUDFORMATION)
    return {plain(name.removeprefix("AWS::")): name for name in names if name.startswith("AWS::")}


@lru_cache(maxsize=16_384)
def _property(kind: ResourceKind, name: str) -> str:
    known_property = _known_properties(kind).get(plain(name))
    return known_property or "".join(part[:1].upper() + part[1:] for part in name.split("_"))


@lru_cache(maxsize=1_024)
def _known_properties(kind: ResourceKind) -> Mapping[str, str]:
    """The properties that the tables of a type name, by their letters."""
    names = {name_property(kind), tag_property(kind).name}
    for paths in conditions_of(kind).values():
        for path in paths:
            names.update(re.split(r"[.~!@]", path.partition("@")[2] or path))
    return {plain(name): name for name in names if name and name[0].isupper()}
