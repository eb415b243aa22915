"""Fakes several accounts: keys of one assume reader roles of the others; each has its own event
history and roles.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.fakes.aws.event_history import event_of
from tests.fakes.aws.server import Asked, Operation, RefusedError

HOME = "111122223333"


@dataclass(slots=True)
class Accounts:
    """The state of all accounts; `operations` serves it."""

    records: Mapping[str, Sequence[Mapping[str, Any]]]
    """Event history by account."""
    readers: Mapping[str, str]
    """ARN of each reader role -> the external id that its trust policy names, or empty."""
    roles: Sequence[str] = ()
    """ARNs of the roles that exist."""
    policy: str = "{}"
    """The policy of each role."""
    sessions: list[str] = field(default_factory=list)
    """Role session names, in the order of their AssumeRole calls."""

    @property
    def operations(self) -> Mapping[str, Operation]:
        """The operations of AWS."""
        return {
            "sts:GetCallerIdentity": self._caller,
            "sts:AssumeRole": self._assume_role,
            "cloudtrail:LookupEvents": self._lookup,
            "iam:GetRole": self._role,
            "iam:ListAttachedRolePolicies": lambda _: {
                "AttachedPolicies": [],
                "IsTruncated": False,
            },
            "iam:ListRolePolicies": lambda _: {"PolicyNames": ["deploy"], "IsTruncated": False},
            "iam:GetRolePolicy": self._policy,
            "iam:SimulateCustomPolicy": lambda _: {"EvaluationResults": []},
            "accessanalyzer:ListAnalyzers": lambda _: {"analyzers": []},
            "accessanalyzer:ValidatePolicy": lambda _: {"findings": []},
        }

    def _account(self, asked: Asked) -> str:
        return (
            asked.access_key.removeprefix("ASIAFAKE")
            if asked.access_key.startswith("ASIAFAKE")
            else HOME
        )

    def _caller(self, asked: Asked) -> Mapping[str, Any]:
        account = self._account(asked)
        return {
            "Arn": f"arn:aws:sts::{account}:assumed-role/reader/x",
            "UserId": "AROAFAKE:x",
            "Account": account,
        }

    def _assume_role(self, asked: Asked) -> Mapping[str, Any]:
        role, given = str(asked.parameters["RoleArn"]), asked.parameters.get("ExternalId", "")
        if self.readers.get(role) != given:
            message = (
                f"User: {self._caller(asked)['Arn']} is not authorized to perform: sts:AssumeRole"
                f" on resource: {role}"
            )
            raise RefusedError("AccessDenied", message, 403)
        self.sessions.append(str(asked.parameters["RoleSessionName"]))
        account = role.split(":")[4]
        return {
            "Credentials": {
                "AccessKeyId": f"ASIAFAKE{account}",
                "SecretAccessKey": "secret",
                "SessionToken": "token",
                "Expiration": datetime.now(UTC) + timedelta(hours=1),
            }
        }

    def _lookup(self, asked: Asked) -> Mapping[str, Any]:
        wanted = {
            each["AttributeKey"]: each["AttributeValue"]
            for each in asked.parameters.get("LookupAttributes", ())
        }
        names = {"Username": "Username", "EventName": "EventName"}
        found = [event_of(each) for each in self.records.get(self._account(asked), ())]
        return {
            "Events": [
                {**event, "EventTime": datetime.fromtimestamp(event["EventTime"], UTC)}
                for event in found
                if all(key in names and event[names[key]] == value for key, value in wanted.items())
            ]
        }

    def _policy(self, asked: Asked) -> Mapping[str, Any]:
        return {
            "RoleName": asked.parameters["RoleName"],
            "PolicyName": "deploy",
            "PolicyDocument": self.policy,
        }

    def _role(self, asked: Asked) -> Mapping[str, Any]:
        name = str(asked.parameters["RoleName"])
        arn = f"arn:aws:iam::{self._account(asked)}:role/{name}"
        if arn not in self.roles:
            raise RefusedError("NoSuchEntity", f"The role with name {name} cannot be found.", 404)
        return {
            "Role": {
                "Path": "/",
                "RoleName": name,
                "RoleId": "AROAFAKEFAKEFAKEFAKE",
                "Arn": arn,
                "CreateDate": datetime(2026, 1, 1, tzinfo=UTC),
            }
        }
