"""Fakes IAM Access Analyzer: one policy generation at a time, analyzers with findings, slow
recommendations.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from typing import Any

from tests.fakes.aws.server import ACCOUNT, Asked, Operation, RefusedError

PAGE = 2


@dataclass(slots=True)
class Job:
    """A policy generation."""

    number: str
    principal: str
    started: datetime
    takes: timedelta
    details: Mapping[str, Any] = field(default_factory=dict)
    is_cancelled: bool = False

    def status(self, now: datetime, error: str) -> str:
        """As AWS returns it."""
        if self.is_cancelled:
            return "CANCELED"
        if now < self.started + self.takes:
            return "IN_PROGRESS"
        return "FAILED" if error else "SUCCEEDED"


@dataclass(slots=True)
class Finding:
    """A finding, with its details as `GetFindingV2` gives them."""

    number: str
    resource: str
    kind: str
    details: list[Mapping[str, Any]]
    steps: list[Mapping[str, Any]] = field(default_factory=list)
    status: str = "ACTIVE"
    asked: datetime | None = None
    """When its recommendation was requested."""


@dataclass(slots=True)
class AccessAnalyzer:
    """The state."""

    clock: Callable[[], datetime]
    policies: list[Mapping[str, Any]] = field(default_factory=list)
    """The result of a generation."""
    is_complete: bool = True
    takes: timedelta = timedelta(minutes=2)
    error: str = ""
    """Code by which generations fail."""
    a_day: int = 50
    jobs: list[Job] = field(default_factory=list)
    analyzers: dict[str, list[Finding]] = field(default_factory=dict)
    """`TYPE/name` -> its findings."""
    recommending: timedelta = timedelta(seconds=5)
    """How long a recommendation takes."""
    unrecommended: str = ""
    """Code by which recommendations fail."""
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def operations(self) -> dict[str, Operation]:
        """The operations for `FakeAws`."""
        named = {
            "StartPolicyGeneration": self._start, "GetGeneratedPolicy": self._get,
            "ListPolicyGenerations": self._list,
            "CancelPolicyGeneration": self._cancel, "ListAnalyzers": self._list_analyzers,
            "ListFindingsV2": self._list_findings, "GetFindingV2": self._finding,
            "GenerateFindingRecommendation": self._recommend,
            "GetFindingRecommendation": self._recommendation,
        }  # fmt: skip
        return {f"accessanalyzer:{name}": operation for name, operation in named.items()}

    def begin(
        self, principal: str, takes: timedelta | None = None, ago: timedelta = timedelta()
    ) -> Job:
        """A requested generation."""
        job = Job(f"job-{next(self._numbers)}", principal, self.clock() - ago, takes or self.takes)
        self.jobs.append(job)
        return job

    def status(self, job: Job) -> str:
        """The generation as AWS returns it now."""
        return job.status(self.clock(), self.error)

    def _start(self, asked: Asked) -> Mapping[str, Any]:
        now = self.clock()
        if any(self.status(job) == "IN_PROGRESS" for job in self.jobs):
            raise RefusedError("ConflictException", "A policy generation is in progress.", 409)
        if sum(now - job.started < timedelta(days=1) for job in self.jobs) >= self.a_day:
            raise RefusedError(
                "ServiceQuotaExceededException", "Policy generations per day exceeded.", 402
            )
        details = asked.parameters["cloudTrailDetails"]
        if now - datetime.fromisoformat(details["startTime"]) > timedelta(days=90, seconds=5):
            raise RefusedError(
                "ValidationException", "The start time is more than 90 days ago.", 400
            )
        job = self.begin(asked.parameters["policyGenerationDetails"]["principalArn"])
        job.details = details
        return {"jobId": job.number}

    def _job(self, asked: Asked) -> Job:
        found = next((job for job in self.jobs if job.number == asked.parameters["jobId"]), None)
        if found is None:
            raise RefusedError("ValidationException", "There is no such job.", 400)
        return found

    def _get(self, asked: Asked) -> Mapping[str, Any]:
        job = self._job(asked)
        status = self.status(job)
        about: dict[str, Any] = {"jobId": job.number, "status": status, "startedOn": job.started}
        if status == "FAILED":
            about["jobError"] = {"code": self.error, "message": "The generation failed."}
        result: dict[str, Any] = {"properties": {"principalArn": job.principal}}
        if status == "SUCCEEDED":
            about["completedOn"] = job.started + job.takes
            texts = [json.dumps(_with_placeholders(policy, asked)) for policy in self.policies]
            trail = {
                "cloudTrailArn": f"arn:aws:cloudtrail:eu-west-1:{ACCOUNT}:trail/main",
                "regions": [],
                **job.details.get("trails", [{"allRegions": True}])[0],
            }
            result["generatedPolicies"] = [{"policy": text} for text in texts]
            result["properties"] |= {
                "isComplete": self.is_complete,
                "cloudTrailProperties": {
                    "trailProperties": [trail],
                    "startTime": _first(job),
                    "endTime": job.details.get("endTime", job.started),
                },
            }
        return {"jobDetails": about, "generatedPolicyResult": result}

    def _list(self, asked: Asked) -> Mapping[str, Any]:
        wanted = asked.parameters.get("principalArn")
        rows = []
        for job in reversed(self.jobs):
            if wanted in (None, job.principal) and self.clock() - job.started < timedelta(days=7):
                row: dict[str, Any] = {
                    "jobId": job.number,
                    "principalArn": job.principal,
                    "status": self.status(job),
                    "startedOn": job.started,
                }
                rows.append(
                    row
                    | (
                        {"completedOn": job.started + job.takes}
                        if row["status"] == "SUCCEEDED"
                        else {}
                    )
                )
        return _paged(asked, "policyGenerations", rows)

    def _cancel(self, asked: Asked) -> Mapping[str, Any]:
        self._job(asked).is_cancelled = True
        return {}

    def _list_analyzers(self, asked: Asked) -> Mapping[str, Any]:
        rows = [
            _analyzer(name, self.clock())
            for name in self.analyzers
            if name.startswith(f"{asked.parameters['type']}/")
        ]
        return _paged(asked, "analyzers", rows)

    def _of(self, asked: Asked) -> list[Finding]:
        name = asked.parameters["analyzerArn"].partition("analyzer/")[2]
        found = next(
            (
                findings
                for each, findings in self.analyzers.items()
                if each.partition("/")[2] == name
            ),
            None,
        )
        if found is None:
            raise RefusedError("ResourceNotFoundException", f"There is no analyzer {name}.", 404)
        return found

    def _list_findings(self, asked: Asked) -> Mapping[str, Any]:
        wanted = asked.parameters["filter"]
        rows = [self._about(finding) for finding in self._of(asked) if _fits(finding, wanted)]
        return _paged(asked, "findings", rows)

    def _about(self, finding: Finding) -> dict[str, Any]:
        now = self.clock()
        return {
            "id": finding.number, "resource": finding.resource, "resourceType": "AWS::IAM::Role",
            "resourceOwnerAccount": ACCOUNT, "status": finding.status, "findingType": finding.kind,
            "analyzedAt": now,
            "createdAt": now, "updatedAt": now,
        }  # fmt: skip

    def _one(self, asked: Asked) -> Finding:
        found = next(
            (each for each in self._of(asked) if each.number == asked.parameters["id"]), None
        )
        if found is None:
            raise RefusedError("ResourceNotFoundException", "There is no such finding.", 404)
        return found

    def _finding(self, asked: Asked) -> Mapping[str, Any]:
        finding = self._one(asked)
        return {**self._about(finding), **_paged(asked, "findingDetails", finding.details)}

    def _recommend(self, asked: Asked) -> Mapping[str, Any]:
        finding = self._one(asked)
        if finding.kind != "UnusedPermission":
            raise RefusedError(
                "ValidationException", "There is no recommendation for such findings.", 400
            )
        finding.asked = self.clock()
        return {}

    def _recommendation(self, asked: Asked) -> Mapping[str, Any]:
        finding = self._one(asked)
        if finding.asked is None:
            raise RefusedError(
                "ResourceNotFoundException", "Nobody asked for a recommendation.", 404
            )
        about = {
            "startedAt": finding.asked, "resourceArn": finding.resource,
            "recommendationType": "UnusedPermissionRecommendation",
        }  # fmt: skip
        if self.clock() - finding.asked < self.recommending:
            return {**about, "status": "IN_PROGRESS"}
        if self.unrecommended:
            error = {"code": self.unrecommended, "message": "The recommendation failed."}
            return {**about, "status": "FAILED", "error": error}
        return {**about, "status": "SUCCEEDED", **_paged(asked, "recommendedSteps", finding.steps)}


def _fits(finding: Finding, wanted: Mapping[str, Any]) -> bool:
    """Whether a finding has the resource, the status and the principal of a filter."""
    details = [detail.get("internalAccessDetails", {}) for detail in finding.details]
    names = [name for detail in details for name in detail.get("principal", {}).values()]
    return (
        finding.resource in wanted.get("resource", {}).get("eq", [finding.resource])
        and finding.status in wanted["status"]["eq"]
        and (
            "principal.AWS" not in wanted
            or any(name in wanted["principal.AWS"]["eq"] for name in names)
        )
    )


def _first(job: Job) -> datetime:
    start = job.details.get("startTime")
    return datetime.fromisoformat(start) if start else job.started - timedelta(days=90)


def _with_placeholders(policy: Mapping[str, Any], asked: Asked) -> Mapping[str, Any]:
    if asked.parameters.get("includeResourcePlaceholders"):
        return policy
    return {**policy, "Statement": [{**each, "Resource": "*"} for each in policy["Statement"]]}


def _analyzer(name: str, now: datetime) -> dict[str, Any]:
    kind, _, own = name.partition("/")
    arn = f"arn:aws:access-analyzer:eu-west-1:{ACCOUNT}:analyzer/{own}"
    row: dict[str, Any] = {
        "arn": arn,
        "name": own,
        "type": kind,
        "createdAt": now,
        "status": "ACTIVE",
    }
    return row | (
        {"configuration": {"unusedAccess": {"unusedAccessAge": 90}}} if "UNUSED" in kind else {}
    )


def _paged(asked: Asked, name: str, rows: list[Any]) -> dict[str, Any]:
    start = int(asked.parameters.get("nextToken", "0"))
    more = {"nextToken": str(start + PAGE)} if start + PAGE < len(rows) else {}
    return {name: rows[start : start + PAGE], **more}
