"""IAM's account of denied calls: all checks of a call, kept under an authorization id (API model of
iam-toolbox).
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import (
    dataclass,
    field,
    replace,  # noqa: TID251 - the environment of the lab has no msgspec
)
from typing import Any

from ministack.core import iam_evaluator
from ministack.core.responses import get_account_id

from tests.end_to_end.lab.exchange import Exchange, Refusal

PATH = "/authorization-details/"
_CHECKS = {
    "an identity-based policy": "PRINCIPAL",
    "a permissions boundary": "PERMISSIONS_BOUNDARY",
    "a session policy": "SESSION",
}
_EFFECTS = {"Allow": "ALLOW", "Deny": "EXPLICIT_DENY"}


@dataclass(frozen=True, slots=True)
class Check:
    """An action on a resource that a call needs."""

    action: str
    resource: str
    context: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Details:
    """The accounts by id; `kept` False: messages have no id."""

    kept: bool = False
    answers: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: set[str] = field(default_factory=set)
    """Ids that were asked for: the first answer comes too early, as at AWS."""

    def of(self, name: str) -> dict[str, Any] | None:
        """The account under an id; None the first time, and for an unknown one."""
        late = name not in self.asked
        self.asked.add(name)
        return None if late else self.answers.get(name)

    def with_id(
        self,
        exchange: Exchange,
        denied: Refusal,
        checks: Iterable[Check],
        layers: Mapping[str, list[Any]],
    ) -> Refusal:
        """The denial with an authorization id in its message; only IAM's own messages have one."""
        if not self.kept or exchange.service != "iam":
            return denied
        name = secrets.token_hex(16)
        self.answers[name] = {
            "requestContext": _context(exchange),
            "evaluations": [_evaluation(exchange, check, layers) for check in checks],
            "policies": [],
        }
        console = (
            f"https://{exchange.region}.console.aws.amazon.com/iam/home?region={exchange.region}"
        )
        advice = (
            f". Go to {console}#{PATH}{name} for complete details, or call the"
            f" GetRequestAuthorizationDetails API with the following authorization id: {name}"
        )
        return replace(denied, message=denied.message + advice)


DETAILS = Details()


def _context(exchange: Exchange) -> dict[str, Any]:
    issuer = exchange.identity.get("sessionContext", {}).get("sessionIssuer", {})
    return {
        "aws:PrincipalArn": issuer.get("arn") or exchange.identity.get("arn", ""),
        "aws:userid": exchange.identity.get("principalId", ""),
        "aws:SecureTransport": True,
    }


def _evaluation(
    exchange: Exchange, check: Check, layers: Mapping[str, list[Any]]
) -> dict[str, Any]:
    asked = iam_evaluator.EvalContext(
        principal_arn=str(exchange.identity.get("arn", "")),
        principal_type=str(exchange.identity.get("type", "")),
        principal_account=get_account_id(),
        action=check.action,
        resource_arn=check.resource,
        region=exchange.region,
        service_context={
            "aws:tagkeys": None,
            **{key.lower(): value for key, value in check.context.items()},
        },
    )
    found = [
        {"checkType": _CHECKS[name], "evaluatedEffect": _EFFECTS.get(decision, "IMPLICIT_DENY")}
        for name, policies in layers.items()
        for decision in (iam_evaluator.evaluate(asked, policies).decision,)
    ]
    effects = {each["evaluatedEffect"] for each in found}
    return {
        "action": check.action,
        "resource": "" if check.resource == "*" else check.resource,
        "context": {key: value for key, value in check.context.items() if isinstance(value, str)},
        "evaluatedEffect": next(
            (each for each in ("EXPLICIT_DENY", "IMPLICIT_DENY") if each in effects), "ALLOW"
        ),
        "checks": found,
    }
