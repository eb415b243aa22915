"""Fakes IAM's account of denied requests: written late, kept for a day, per region and
organization, and paged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from tests.fakes.aws.server import Asked, Operation, RefusedError

KEPT = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Denied:
    """A denied request that IAM keeps an account of."""

    time: datetime
    context: Mapping[str, Any]
    evaluations: Sequence[Mapping[str, Any]]
    policies: Sequence[Mapping[str, Any]] = ()
    region: str = "us-east-1"


@dataclass(slots=True)
class AuthorizationAccounts:
    """The state: denied requests by authorization id."""

    clock: Callable[[], datetime]
    requests: dict[str, Denied] = field(default_factory=dict)
    takes: timedelta = timedelta(minutes=2)
    """From a denial until its account can be read."""
    page: int = 1

    def operations(self) -> dict[str, Operation]:
        """The operations for `FakeAws`."""
        return {"iam-toolbox:GetRequestAuthorizationDetails": self._details}

    def _details(self, asked: Asked) -> Mapping[str, Any]:
        name = asked.parameters["authorizationId"]
        found, now = self.requests.get(name), self.clock()
        if (
            not found
            or found.region != asked.region
            or not found.time + self.takes <= now <= found.time + KEPT
        ):
            raise RefusedError(
                "ResourceNotFoundException", f"No authorization details of {name}.", 404
            )
        start = int(asked.parameters.get("nextToken") or 0)
        end = start + self.page
        more = {"nextToken": str(end)} if end < len(found.evaluations) else {}
        return {
            "requestContext": found.context,
            "evaluations": list(found.evaluations[start:end]),
            "policies": list(found.policies),
            **more,
        }


def check(
    kind: str, effect: str, *matched: Mapping[str, Any], types: Sequence[str] = (), target: str = ""
) -> dict[str, Any]:
    """One authorization check of an evaluation."""
    found: dict[str, Any] = {"checkType": kind, "evaluatedEffect": effect}
    if matched:
        found["matchedPolicies"] = list(matched)
    if types:
        found["relevantPolicyTypes"] = list(types)
    return found | ({"targetArn": target} if target else {})


def evaluation(
    action: str, resource: str, effect: str, *checks: Mapping[str, Any], **context: Any
) -> dict[str, Any]:
    """One judged action and resource; `context` has `__` for `:`."""
    keys = {key.replace("__", ":"): value for key, value in context.items()}
    found: dict[str, Any] = {"action": action, "resource": resource, "evaluatedEffect": effect}
    return (
        found | ({"checks": list(checks)} if checks else {}) | ({"context": keys} if keys else {})
    )
