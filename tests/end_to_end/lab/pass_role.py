"""Finds the roles that a call passes to a service, which needs iam:PassRole."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ministack.services import ecs, iam

from tests.end_to_end.lab.exchange import Exchange

_ROLE = re.compile(r"arn:aws[\w-]*:iam::(\d{12}):role/[\w+=,.@/-]+")
_NEVER = frozenset({"sts", "kms", "lakeformation", "organizations", "cloudcontrol"})
"""Services that name roles without receiving them; Cloud Control is not supported here."""

_NOT_PASSED = frozenset({"principalArn", "PrincipalArn", "policyDocument"})
_NAMES = {
    ("ecs", "RegisterTaskDefinition"): ("taskRoleArn", "executionRoleArn"),
    ("ecs", "RunTask"): ("taskRoleArn", "executionRoleArn"),
    ("ecs", "StartTask"): ("taskRoleArn", "executionRoleArn"),
    ("glue", "CreateJob"): ("Role",),
    ("glue", "CreateCrawler"): ("Role",),
}
"""Parameters that accept a role's name."""

_TO = {"ecs": "ecs-tasks", "ec2": "ec2", "stepfunctions": "states"}
"""iam:PassedToService where it is not the service's own name: docs.aws.amazon.com, "PassRole",
2026.
"""


@dataclass(frozen=True, slots=True)
class PassedRole:
    """A role and the service principal that receives it."""

    arn: str
    service: str


def passed_roles(exchange: Exchange, account: str) -> list[PassedRole]:
    """The roles of a call, each once."""
    if exchange.service in _NEVER:
        return []
    if exchange.service == "iam":
        found = list(_into_profile(exchange, account))
        return [PassedRole(arn, "ec2.amazonaws.com") for arn in found]
    found = [*_by_key(exchange.parameters, ""), *_by_name(exchange, account)]
    found += [*_of_profile(exchange.parameters, account), *_of_task(exchange)]
    service = f"{_TO.get(exchange.service, exchange.signing)}.amazonaws.com"
    return [PassedRole(arn, service) for arn in dict.fromkeys(found)]


def roles_within(properties: Any) -> list[str]:
    """The roles that the properties of a stack's resource pass."""
    return list(dict.fromkeys(_by_key(properties, "")))


def _by_key(value: Any, key: str) -> Iterator[str]:
    if isinstance(value, dict):
        for name, each in value.items():
            if name not in _NOT_PASSED:
                yield from _by_key(each, str(name))
    elif isinstance(value, list):
        for each in value:
            yield from _by_key(each, key)
    elif isinstance(value, str) and "role" in key.lower():
        found = _ROLE.fullmatch(value)
        if found and "/aws-service-role/" not in value:
            yield value


def _by_name(exchange: Exchange, account: str) -> Iterator[str]:
    names = _NAMES.get((exchange.service, exchange.operation), ())
    asked = exchange.parameters
    for holder in (asked, asked.get("overrides") or {}):
        for name in names:
            value = str(holder.get(name) or "")
            if value and not value.startswith("arn:"):
                yield _arn_of(value, account)


def _of_task(exchange: Exchange) -> Iterator[str]:
    """RunTask and StartTask pass the roles of the task definition."""
    if (exchange.service, exchange.operation) not in (("ecs", "RunTask"), ("ecs", "StartTask")):
        return
    named = str(exchange.parameters.get("taskDefinition", "")).rpartition("/")[2]
    family, _, revision = named.partition(":")
    definitions = dict(ecs._task_defs.items())
    fitting = [
        each
        for key, each in definitions.items()
        if str(key).rpartition("/")[2].partition(":")[0] == family
    ]
    exact = [each for each in fitting if revision and str(each.get("revision")) == revision]
    for definition in exact or fitting[-1:]:
        for name in ("taskRoleArn", "executionRoleArn"):
            value = str(definition.get(name) or "")
            if value.startswith("arn:"):
                yield value


def _of_profile(parameters: Any, account: str) -> Iterator[str]:
    profile = parameters.get("IamInstanceProfile")
    if isinstance(profile, dict):
        name = str(profile.get("Name") or str(profile.get("Arn", "")).rpartition("/")[2])
        for role in (iam._instance_profiles.get(name) or {}).get("Roles", []):
            yield _arn_of(str(role), account)


def _into_profile(exchange: Exchange, account: str) -> Iterator[str]:
    if exchange.operation == "AddRoleToInstanceProfile":
        yield _arn_of(str(exchange.parameters.get("RoleName", "")), account)


def _arn_of(name: str, account: str) -> str:
    role = iam._roles.get_scoped(account, None, name) or {}
    return str(role.get("Arn") or f"arn:aws:iam::{account}:role/{name}")
