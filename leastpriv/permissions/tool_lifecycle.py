"""Returns the actions that CloudFormation and Terraform need for each resource type, by phase of
its life.

`data/cloudformation_types.tsv.gz` has the actions of CloudFormation's handlers,
`data/terraform_types.tsv.gz` those of Terraform's AWS provider. A phase lists every action that
some properties need, so one deployment needs fewer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from functools import cache, lru_cache

from msgspec import Struct

from leastpriv.permissions.fact_tables import table, text_of_table

CDK = "cdk"
"""The program that leaves all resources to CloudFormation."""
SCRIPT = "script"
"""A program that is no deploy tool: the AWS CLI, an SDK."""


class Phase(StrEnum):
    """What a tool does with a resource."""

    CREATE = "create"
    READ = "read"
    UPDATE = "update"
    DELETE = "delete"
    LIST = "list"


class Tool(StrEnum):
    """The tool whose resource types a table lists."""

    CLOUDFORMATION = "cloudformation"
    TERRAFORM = "terraform"


class ResourceKind(Struct, frozen=True, order=True):
    """A resource type of a tool: `AWS::SQS::Queue` or `aws_sqs_queue`."""

    tool: Tool
    name: str


def actions_of_phase(kind: ResourceKind, phase: Phase | str) -> tuple[str, ...]:
    """Returns the actions of a phase of a type; empty for an unknown type or phase."""
    return _cell(kind, phase)


def is_known(kind: ResourceKind) -> bool:
    """Whether the tables have actions of a phase of the type."""
    return any(_cell(kind, phase) for phase in Phase)


def type_names(tool: Tool) -> Iterable[str]:
    """Returns the names of all types of a tool."""
    return _rows(tool)[1].keys()


STACK_SERVICE = "cloudformation.amazonaws.com"
"""What `invokedBy` has for the calls of a stack with the rights of the principal that deploys it.
"""
PROVIDER_CALLS = ("lambda:InvokeFunction", "sns:Publish")
"""Calls of the provider of a custom resource, with the rights of the principal that deploys the
stack. A deployment was denied that of a function (github.com/KensioSoftware/yulin, issue 1329, read
2026-11-27); that of a topic is inferred."""


def is_custom(kind: ResourceKind) -> bool:
    """Whether a function or a topic of the template makes the resource: CloudFormation calls it for
    each phase.
    """
    return kind.name.startswith("Custom::") or kind.name == "AWS::CloudFormation::CustomResource"


def tag_actions(kind: ResourceKind) -> tuple[str, ...]:
    """Returns the actions of a type that only tags need."""
    return _cell(kind, "tags")


def making_actions(kind: ResourceKind) -> tuple[str, ...]:
    """Returns the actions of the phase `create` that make the resource itself:
    `sqs:CreateQueue`.
    """
    return _cell(kind, "makes")


@cache
def conditions_of(kind: ResourceKind) -> Mapping[str, tuple[str, ...]]:
    """Returns the actions that only some properties need -> these properties, or
    `property_rules.NEVER` alone.
    """
    pairs = (entry.partition("=") for entry in _cell(kind, "when"))
    return {action: tuple(paths.split("|")) for action, _, paths in pairs}


@lru_cache(maxsize=4_096)
def conditional_actions(kind: ResourceKind) -> frozenset[str]:
    """Returns the actions that only some properties need, whatever the phase."""
    return frozenset(
        action
        for action, paths in conditions_of(kind).items()
        if not all("@" in path for path in paths)
    )


def name_property(kind: ResourceKind) -> str:
    """Returns the property that names a resource of a CloudFormation type; empty where AWS names
    it.
    """
    return "".join(_cell(kind, "name"))


class TagProperty(Struct, frozen=True):
    """The property with the tags of a CloudFormation type."""

    name: str
    """Empty for a type without tags."""
    has_system_tags: bool
    """Whether CloudFormation adds its own tags."""


def tag_property(kind: ResourceKind) -> TagProperty:
    """Returns the property with the tags of a CloudFormation type."""
    name, _, system = "".join(_cell(kind, "tagged_by")).partition("+")
    return TagProperty(name, has_system_tags=bool(system))


DATA = "data."
"""Beginning of a data source of Terraform, which reads and makes nothing."""


@cache
def types_of_service(tool: Tool, prefix: str) -> tuple[ResourceKind, ...]:
    """Returns the types of resources of a tool of which a phase needs an action of a service."""
    start = f"{prefix}:"
    kinds = (kind for kind in _types_with(tool, start) if not kind.name.startswith(DATA))
    return tuple(
        kind
        for kind in kinds
        if any(start in action for phase in Phase for action in _cell(kind, phase))
    )


def types_made_by(action: str) -> tuple[ResourceKind, ...]:
    """Returns the types of both tools whose resource an action makes, sorted; empty for an action
    that makes none.
    """
    return _makers(action.partition(":")[0]).get(action, ())


@cache
def _makers(service: str) -> Mapping[str, tuple[ResourceKind, ...]]:
    kinds_by_action: dict[str, list[ResourceKind]] = {}
    for kind in (kind for tool in Tool for kind in _types_with(tool, f"{service}:")):
        for action in making_actions(kind):
            kinds_by_action.setdefault(action, []).append(kind)
    return {action: tuple(sorted(kinds)) for action, kinds in kinds_by_action.items()}


@lru_cache(maxsize=4_096)
def program_of(user_agent: str) -> str:
    """Returns the deploy tool of a user agent, `SCRIPT` for any other program; empty for an empty
    user agent.
    """
    programs = (row["program"] for row in table("deploy_tools") if row["marker"] in user_agent)
    return next(programs, SCRIPT) if user_agent else ""


def _types_with(tool: Tool, text: str) -> Iterator[ResourceKind]:
    return (ResourceKind(tool, name) for name, cells in _rows(tool)[1].items() if text in cells)


def _cell(kind: ResourceKind, column: str) -> tuple[str, ...]:
    columns, rows = _rows(kind.tool)
    text = dict(zip(columns, rows.get(kind.name, "").split("\t"), strict=False)).get(column, "")
    return tuple(text.split(",")) if text else ()


@cache
def _rows(tool: Tool) -> tuple[Sequence[str], Mapping[str, str]]:
    """The columns behind the type, and type -> its cells as one text: a run needs few of 1,800
    rows.
    """
    rows = dict(_ROW.findall(text_of_table(f"{tool}_types")))
    return rows.pop("type").split("\t"), rows


_ROW = re.compile(r"^([^#\t\n]+)\t?(.*)$", re.MULTILINE)
