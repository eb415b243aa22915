"""Fakes IAM's last accessed information: reports belong to the requesting session, are late, paged
and fixed.

As in https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_last-accessed.html (read
2026-11-24), with one exception: a report that is not ready has the empty list and the date that the
model requires; AWS omits them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from typing import Any

from tests.fakes.aws.server import Asked, Operation, RefusedError

LATE = timedelta(hours=4)
TRACKED = (
    "s3:PutBucketPolicy",
    "s3:DeleteBucket",
    "sqs:CreateQueue",
    "sqs:DeleteQueue",
    "sns:CreateTopic",
    "sts:GetCallerIdentity",
)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request; IAM does not return whether it was denied."""

    principal: str
    action: str
    time: datetime
    region: str = "eu-west-1"


@dataclass(slots=True)
class _Report:
    owner: str
    arn: str
    level: str
    ready: datetime
    attempts: tuple[Attempt, ...]


@dataclass(slots=True)
class LastAccessed:
    """The state: policies of each entity, the services they grant, and the requests."""

    clock: Callable[[], datetime]
    policies: dict[str, Mapping[str, tuple[str, ...]]]
    """Role or user -> policy (ARN, or name of an inline one) -> services it grants."""
    attempts: list[Attempt] = field(default_factory=list)
    takes: timedelta = timedelta(seconds=3)
    """Until a report is ready."""
    page: int = 2
    fails: str = ""
    """Code by which reports fail."""
    _reports: dict[str, _Report] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def operations(self) -> dict[str, Operation]:
        """The operations for `FakeAws`."""
        return {
            "iam:GenerateServiceLastAccessedDetails": self._generate,
            "iam:GetServiceLastAccessedDetails": self._get,
            "iam:GetServiceLastAccessedDetailsWithEntities": self._entities,
            "iam:ListPoliciesGrantingServiceAccess": self._granting,
        }

    def _generate(self, asked: Asked) -> Mapping[str, Any]:
        arn = asked.parameters["Arn"]
        if arn not in self.policies and not self._users(arn):
            raise RefusedError("NoSuchEntity", f"ARN {arn} does not exist.", 404)
        job = f"{next(self._numbers):08d}-aaaa-4bbb-8ccc-ddddeeeeffff"
        now = self.clock()
        seen = tuple(attempt for attempt in self.attempts if attempt.time <= now - LATE)
        level = asked.parameters.get("Granularity", "SERVICE_LEVEL")
        self._reports[job] = _Report(asked.access_key, arn, level, now + self.takes, seen)
        return {"JobId": job}

    def _get(self, asked: Asked) -> Mapping[str, Any]:
        report = self._report(asked)
        about = self._about(report)
        if about["JobStatus"] != "COMPLETED":
            return {**about, "ServicesLastAccessed": []}
        rows = [self._row(report, service) for service in sorted(self._services(report.arn))]
        return {**about, **self._paged(asked, "ServicesLastAccessed", rows)}

    def _entities(self, asked: Asked) -> Mapping[str, Any]:
        report, service = self._report(asked), asked.parameters["ServiceNamespace"]
        rows = []
        for arn in self._users(report.arn):
            last = _latest(
                each for each in report.attempts if each.principal == arn and _is_of(each, service)
            )
            row: dict[str, Any] = {
                "EntityInfo": {
                    "Arn": arn,
                    "Name": arn.rpartition("/")[2],
                    "Type": "ROLE",
                    "Id": "AROAEXAMPLEIDEXAMPLE",
                }
            }
            rows.append(row | ({"LastAuthenticated": last.time} if last else {}))
        about = {name: value for name, value in self._about(report).items() if name != "JobType"}
        return {**about, **self._paged(asked, "EntityDetailsList", rows)}

    def _granting(self, asked: Asked) -> Mapping[str, Any]:
        rows = []
        for service in asked.parameters["ServiceNamespaces"]:
            named = [
                policy
                for policy, granted in self.policies[asked.parameters["Arn"]].items()
                if service in granted
            ]
            rows.append(
                {"ServiceNamespace": service, "Policies": [_policy(name) for name in named]}
            )
        return self._paged(asked, "PoliciesGrantingServiceAccess", rows)

    def _report(self, asked: Asked) -> _Report:
        report = self._reports.get(asked.parameters["JobId"])
        if report is None or report.owner != asked.access_key:
            raise RefusedError("NoSuchEntity", f"No job {asked.parameters['JobId']} of yours.", 404)
        return report

    def _about(self, report: _Report) -> dict[str, Any]:
        dates = {
            "JobCreationDate": report.ready - self.takes,
            "JobCompletionDate": report.ready,
            "JobType": report.level,
        }
        if self.clock() < report.ready:
            return {"JobStatus": "IN_PROGRESS", **dates}
        if self.fails:
            return {
                "JobStatus": "FAILED",
                **dates,
                "Error": {"Code": self.fails, "Message": "It failed."},
            }
        return {"JobStatus": "COMPLETED", **dates}

    def _row(self, report: _Report, service: str) -> dict[str, Any]:
        users = self._users(report.arn)
        own = [
            each for each in report.attempts if each.principal in users and _is_of(each, service)
        ]
        row: dict[str, Any] = {"ServiceName": service.upper(), "ServiceNamespace": service}
        last = _latest(own)
        if last:
            row |= {
                "LastAuthenticated": last.time, "LastAuthenticatedEntity": last.principal,
                "LastAuthenticatedRegion": last.region,
                "TotalAuthenticatedEntities": len({each.principal for each in own}),
            }  # fmt: skip
        tracked = (
            [name for name in TRACKED if name.startswith(f"{service}:")]
            if report.level == "ACTION_LEVEL"
            else []
        )
        if tracked:
            row["TrackedActionsLastAccessed"] = [_tracked(name, own) for name in tracked]
        return row

    def _services(self, arn: str) -> set[str]:
        policies = [*self.policies.get(arn, {}).items()] or [
            each for granted in self.policies.values() for each in granted.items() if each[0] == arn
        ]
        return {service for _, services in policies for service in services}

    def _users(self, arn: str) -> list[str]:
        if arn in self.policies:
            return [arn]
        return sorted(principal for principal, policies in self.policies.items() if arn in policies)

    def _paged(self, asked: Asked, name: str, rows: list[Any]) -> dict[str, Any]:
        start = int(asked.parameters.get("Marker", "0"))
        end = start + self.page
        more = (
            {"IsTruncated": True, "Marker": str(end)} if end < len(rows) else {"IsTruncated": False}
        )
        return {name: rows[start:end], **more}


def _is_of(attempt: Attempt, service: str) -> bool:
    return attempt.action.startswith(f"{service}:")


def _latest(attempts: Any) -> Attempt | None:
    return max(attempts, key=lambda attempt: attempt.time, default=None)


def _tracked(action: str, attempts: list[Attempt]) -> dict[str, Any]:
    last = _latest(each for each in attempts if each.action == action)
    name = {"ActionName": action.partition(":")[2]}
    if last is None:
        return name
    return {
        **name,
        "LastAccessedTime": last.time,
        "LastAccessedEntity": last.principal,
        "LastAccessedRegion": last.region,
    }


def _policy(name: str) -> dict[str, str]:
    if name.startswith("arn:"):
        return {"PolicyName": name.rpartition("/")[2], "PolicyType": "MANAGED", "PolicyArn": name}
    return {
        "PolicyName": name,
        "PolicyType": "INLINE",
        "EntityType": "ROLE",
        "EntityName": "deploy",
    }
