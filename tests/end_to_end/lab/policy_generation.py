"""Access Analyzer's policy generation, with its known omissions.

No data events, no iam:PassRole (it has no event), denied calls counted as needed, and resources
only as placeholders: docs.aws.amazon.com, "IAM Access Analyzer policy generation", 2026-04.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tests.end_to_end.lab.trail import Trail, caller_of

_SECONDS = 0.3
"""How long a job is in progress; real ones take minutes."""

_PLACEHOLDERS = {
    "cloudformation": "arn:aws:cloudformation:${Region}:${Account}:stack/${StackName}/${Id}",
    "dynamodb": "arn:aws:dynamodb:${Region}:${Account}:table/${TableName}",
    "ecr": "arn:aws:ecr:${Region}:${Account}:repository/${RepositoryName}",
    "iam": "arn:aws:iam::${Account}:role/${RoleNameWithPath}",
    "kms": "arn:aws:kms:${Region}:${Account}:key/${KeyId}",
    "lambda": "arn:aws:lambda:${Region}:${Account}:function:${FunctionName}",
    "logs": "arn:aws:logs:${Region}:${Account}:log-group:${LogGroupName}",
    "s3": "arn:aws:s3:::${BucketName}",
    "secretsmanager": "arn:aws:secretsmanager:${Region}:${Account}:secret:${SecretId}",
    "sns": "arn:aws:sns:${Region}:${Account}:${TopicName}",
    "sqs": "arn:aws:sqs:${Region}:${Account}:${QueueName}",
    "ssm": "arn:aws:ssm:${Region}:${Account}:parameter/${ParameterNameWithoutLeadingSlash}",
    "states": "arn:aws:states:${Region}:${Account}:stateMachine:${StateMachineName}",
    "sts": "arn:aws:iam::${Account}:role/${RoleNameWithPath}",
}  # fmt: skip
"""The main resource type of a service; the real one has that of each action."""

_NO_RESOURCE = (
    "Describe",
    "List",
    "GetCallerIdentity",
    "GetAuthorizationToken",
    "GetAccountSummary",
)


class GenerationRefusedError(Exception):
    """A rejected request; `code` is the error's."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(slots=True)
class _Job:
    principal: str
    started: datetime
    details: Mapping[str, Any]
    canceled: bool = False


@dataclass(slots=True)
class Generations:
    """The jobs of a lab."""

    trail: Trail
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    _jobs: dict[str, _Job] = field(default_factory=dict)

    def start(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """StartPolicyGeneration."""
        principal = str((asked.get("policyGenerationDetails") or {}).get("principalArn", ""))
        if ":role/" not in principal and ":user/" not in principal:
            raise GenerationRefusedError(
                "ValidationException", "The principal ARN must be that of an IAM user or role."
            )
        job = str(uuid.uuid4())
        self._jobs[job] = _Job(principal, self.now(), asked.get("cloudTrailDetails") or {})
        return {"jobId": job}

    def get(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """GetGeneratedPolicy."""
        name, job = self._job(asked)
        status = self._status(job)
        properties: dict[str, Any] = {
            "principalArn": job.principal,
            "isComplete": status == "SUCCEEDED",
        }
        if job.details:
            properties["cloudTrailProperties"] = {
                "trailProperties": [dict(each) for each in job.details.get("trails", [])],
                "startTime": _shown(job.details.get("startTime", job.started)),
                "endTime": _shown(job.details.get("endTime", job.started)),
            }
        answer: dict[str, Any] = {
            "jobDetails": {"jobId": name, "status": status, "startedOn": _shown(job.started)},
            "generatedPolicyResult": {"properties": properties},
        }
        if status == "SUCCEEDED":
            answer["jobDetails"]["completedOn"] = _shown(self.now())
            policy = self._policy(job.principal, _true(asked.get("includeResourcePlaceholders")))
            answer["generatedPolicyResult"]["generatedPolicies"] = [{"policy": json.dumps(policy)}]
        return answer

    def list(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """ListPolicyGenerations, newest first; `maxResults` and `nextToken` page."""
        wanted = asked.get("principalArn")
        found = [
            (name, job)
            for name, job in reversed(self._jobs.items())
            if wanted in (None, job.principal)
        ]
        first, size = int(asked.get("nextToken") or 0), int(asked.get("maxResults") or 25)
        shown = [
            {
                "jobId": name,
                "principalArn": job.principal,
                "status": self._status(job),
                "startedOn": _shown(job.started),
            }
            for name, job in found[first : first + size]
        ]
        more = first + size < len(found)
        return {"policyGenerations": shown} | ({"nextToken": str(first + size)} if more else {})

    def cancel(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """CancelPolicyGeneration."""
        _, job = self._job(asked)
        job.canceled = job.canceled or self._status(job) == "IN_PROGRESS"
        return {}

    def _job(self, asked: Mapping[str, Any]) -> tuple[str, _Job]:
        name = str(asked.get("jobId", ""))
        if name not in self._jobs:
            raise GenerationRefusedError("ValidationException", "Invalid jobId")
        return name, self._jobs[name]

    def _status(self, job: _Job) -> str:
        if job.canceled:
            return "CANCELED"
        return (
            "SUCCEEDED" if (self.now() - job.started).total_seconds() >= _SECONDS else "IN_PROGRESS"
        )

    def _policy(self, principal: str, placeholders: bool) -> dict[str, Any]:
        of_principal = [each for each in self.trail.delivered() if each["managementEvent"]]
        ids = [each["eventID"] for each in of_principal if caller_of(each) == principal]
        actions = sorted(
            {self.trail.actions[each] for each in ids if each in self.trail.actions}
            - {"iam:PassRole"}
        )
        return {"Version": "2012-10-17", "Statement": _statements(actions, placeholders)}


def _statements(actions: Sequence[str], placeholders: bool) -> list[dict[str, Any]]:
    groups: dict[str, list[str]] = {}
    for action in actions:
        prefix, _, name = action.partition(":")
        resource = (
            _PLACEHOLDERS.get(prefix, "*")
            if placeholders and not name.startswith(_NO_RESOURCE)
            else "*"
        )
        groups.setdefault(resource, []).append(action)
    return [
        {"Effect": "Allow", "Action": names, "Resource": resource}
        for resource, names in groups.items()
    ]


def _true(value: object) -> bool:
    return str(value).lower() == "true"


def _shown(value: object) -> str:
    when = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
