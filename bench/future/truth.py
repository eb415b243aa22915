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
    found: dict[str, dict[str, Any]] = {}
    for line in (history / "checks.jsonl").read_text(encoding="utf-8").splitlines():
        asked = json.loads(line)
        if ":assumed-role/ci-deploy/" in asked["principal"] and not is_lost(asked):
            run = int(asked["principal"].rpartition("/")[2]) - 1001
            found.setdefault(line, {**asked, "resource": _as_aws(asked), "run": run})
    return list(found.values())


def is_lost(asked: Question) -> bool:
    """Whether AWS's check is unknown."""
    known = action_of(asked["action"])
    service = asked["action"].partition(":")[0]
    named = _NAMED_BY_THE_CALL.fullmatch(service) and known is not None and known.resource_types
    return asked["resource"] == "*" and bool(named)


def _as_aws(asked: Question) -> str:
    resource: str = asked["resource"]
    for actions, form, own in _OTHER_FORMS:
        if actions.match(asked["action"]) and form.fullmatch(resource):
            return form.sub(own, resource)
    return resource


def pair(asked: Question) -> Pair:
    """Action and resource; `*` if the action has no resource."""
    known = action_of(asked["action"])
    return asked["action"], asked["resource"] if known is None or known.resource_types else "*"


class Askable:
    """The pairs that AWS can check at all, from the checks of all histories.

    A resource has no id before its creation, so that IAM checks `security-group/*`. Such a new
    resource counts for actions that were checked so; an action that was only checked so is not
    checked on existing resources.
    """

    def __init__(self, asked: Iterable[Question]) -> None:
        self._new: set[Pair] = set()
        self._there: set[Pair] = set()
        resources = {"*"}
        for each in asked:
            resource = each["resource"]
            resources.add(resource)
            kinds = self._new if "*" in resource.removesuffix(":*") else self._there
            kinds.update((each["action"], kind) for kind in _kinds(each["action"], resource))
        self.resources = tuple(sorted(resources))

    def can_be(self, action: str, resource: str) -> bool:
        """Whether the resource is of a type of the action."""
        pairs = {(action, kind) for kind in _kinds(action, resource)}
        if "*" in resource.removesuffix(":*"):
            return not pairs.isdisjoint(self._new)
        return not pairs <= self._new or not pairs.isdisjoint(self._there)


def _kinds(action: str, resource: str) -> frozenset[str]:
    return frozenset(types_of_arn(action.partition(":")[0], resource))
