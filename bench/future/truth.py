"""The ground truth of a history: the lab's authorization checks, in the form in which AWS makes
them.

If the lab's check differs, no policy made for AWS can pass it: such a check is converted if AWS's
form follows from the lab's, and dropped otherwise. Histories recorded today have fewer of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from leastpriv.permissions.resource_types import action_of, types_of_arn

Question = Mapping[str, Any]
Pair = tuple[str, str]

_OTHER_FORMS = (
    # https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-manage-iam-access.html (rules of
    # the default bus)
    (re.compile(r"events:"), re.compile(r"(arn:aws:events:[^:]+:\d+:rule/)default/(.+)"), r"\1\2"),
    # `arn` and `logGroupArn` of LogGroup in the API of CloudWatch Logs, read 2026-11-26
    (
        re.compile(r"logs:(?!TagResource|UntagResource|ListTagsForResource)"),
        re.compile(r"(arn:aws:logs:[^:]+:\d+:log-group:[^:]+)"),
        r"\1:*",
    ),
    # The lab draws another suffix for CreateSecret than for the secret; it has one
    # (https://docs.aws.amazon.com/secretsmanager/latest/userguide/whats-in-a-secret.html)
    (
        re.compile(r"secretsmanager:"),
        re.compile(r"(arn:aws:secretsmanager:.+)-[A-Za-z0-9]{6}"),
        r"\1-LabS3c",
    ),
)
"""(action, resource in the lab's check, resource in AWS's check)."""
_NAMED_BY_THE_CALL = re.compile(r"events|states|ssm|ecs|ecr|elasticache|rds")
"""Services that the lab checks on `*` although the call names a resource, which the check does not
show.
"""


def authorization_checks(history: Path) -> list[dict[str, Any]]:
    """The distinct checks of the deploy role in a history, each with the number of its run."""
    checks: dict[str, dict[str, Any]] = {}
    for line in (history / "checks.jsonl").read_text(encoding="utf-8").splitlines():
        check = json.loads(line)
        if ":assumed-role/ci-deploy/" in check["principal"] and not is_lost(check):
            run = int(check["principal"].rpartition("/")[2]) - 1001
            checks.setdefault(line, {**check, "resource": _as_aws(check), "run": run})
    return list(checks.values())


def is_lost(check: Question) -> bool:
    """Whether AWS's check is unknown."""
    documented = action_of(check["action"])
    service = check["action"].partition(":")[0]
    is_named_by_call = (
        _NAMED_BY_THE_CALL.fullmatch(service)
        and documented is not None
        and documented.resource_types
    )
    return check["resource"] == "*" and bool(is_named_by_call)


def _as_aws(check: Question) -> str:
    resource: str = check["resource"]
    for actions, form, replacement in _OTHER_FORMS:
        if actions.match(check["action"]) and form.fullmatch(resource):
            return form.sub(replacement, resource)
    return resource


def pair(check: Question) -> Pair:
    """Action and resource; `*` if the action has no resource."""
    documented = action_of(check["action"])
    has_resource = documented is None or documented.resource_types
    return check["action"], check["resource"] if has_resource else "*"


class Askable:
    """The pairs that AWS can check at all, from the checks of all histories.

    A resource has no id before its creation, so that IAM checks `security-group/*`. Such a new
    resource counts for actions that were checked so; an action that was only checked so is not
    checked on existing resources.
    """

    def __init__(self, checks: Iterable[Question]) -> None:
        self._new: set[Pair] = set()
        self._there: set[Pair] = set()
        resources = {"*"}
        for check in checks:
            resource = check["resource"]
            resources.add(resource)
            kinds = self._new if "*" in resource.removesuffix(":*") else self._there
            kinds.update((check["action"], kind) for kind in _kinds(check["action"], resource))
        self.resources = tuple(sorted(resources))

    def can_be(self, action: str, resource: str) -> bool:
        """Whether the resource is of a type of the action."""
        pairs = {(action, kind) for kind in _kinds(action, resource)}
        if "*" in resource.removesuffix(":*"):
            return not pairs.isdisjoint(self._new)
        return not pairs <= self._new or not pairs.isdisjoint(self._there)


def _kinds(action: str, resource: str) -> frozenset[str]:
    return frozenset(types_of_arn(action.partition(":")[0], resource))
