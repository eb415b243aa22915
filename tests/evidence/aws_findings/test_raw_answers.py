"""What IAM and IAM Access Analyzer may answer without an error: unknown states, pages without end,
missing members.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from leastpriv.aws.arns import parse_principal
from leastpriv.aws.session import Polling
from leastpriv.evidence.access_analyzer import collect_aws_findings
from leastpriv.evidence.models import AwsFindings
from leastpriv.evidence.policy_generation import GenerationSettings
from tests.fakes.aws.passing_time import PassingTime
from tests.fakes.aws.raw_answers import Raw, answering

ROLE = "arn:aws:iam::111122223333:role/ci/deploy"
TRAIL = "arn:aws:cloudtrail:eu-west-1:111122223333:trail/main"
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
JOB = "j" * 36


def report(state: str = "<JobStatus>COMPLETED</JobStatus>", more: str = "") -> Raw:
    service = "<ServiceName>S3</ServiceName><ServiceNamespace>s3</ServiceNamespace>"
    services = f"<ServicesLastAccessed><member>{service}</member></ServicesLastAccessed>"
    return Raw.query("GetServiceLastAccessedDetails", f"{state}{services}{more}")


def generated(status: str) -> Raw:
    policy_result = {"properties": {"principalArn": ROLE}, "generatedPolicies": []}
    details = {"jobId": "g", "status": status, "startedOn": "2026-11-24T12:00:00Z"}
    return Raw.json({"jobDetails": details, "generatedPolicyResult": policy_result})


def finding(number: str, resource: str = ROLE) -> dict[str, object]:
    return {"id": number, "findingType": "UnusedPermission", "status": "ACTIVE"} | (
        {"resource": resource} if resource else {}
    )


UNUSED = {
    "arn": "arn:aws:access-analyzer:eu-west-1:111122223333:analyzer/u",
    "name": "u",
    "status": "ACTIVE",
}
DETAIL = {
    "unusedPermissionDetails": {"serviceNamespace": "s3", "actions": [{"action": "DeleteBucket"}]}
}
USUAL = {
    "GenerateServiceLastAccessedDetails": [
        Raw.query("GenerateServiceLastAccessedDetails", f"<JobId>{JOB}</JobId>")
    ],
    "GetServiceLastAccessedDetails": [report()],
    "ListPoliciesGrantingServiceAccess": [
        Raw.query("ListPoliciesGrantingServiceAccess", "<PoliciesGrantingServiceAccess/>")
    ],
    "ListAnalyzers": [Raw.json({"analyzers": [UNUSED]}), Raw.json({"analyzers": []})],
    "ListFindingsV2": [Raw.json({"findings": [finding("f1")]})],
    "GetFindingV2": [Raw.json({**finding("f1"), "findingDetails": [DETAIL]})],
    "GenerateFindingRecommendation": [Raw("")],
    "GetFindingRecommendation": [Raw.json({"status": "SUCCEEDED", "recommendedSteps": []})],
    "ListPolicyGenerations": [Raw.json({"policyGenerations": []})],
    "StartPolicyGeneration": [Raw.json({"jobId": "g"})],
    "GetGeneratedPolicy": [generated("SUCCEEDED")],
}  # fmt: skip


def read(monkeypatch: pytest.MonkeyPatch, operation: str, answers: Sequence[Raw]) -> AwsFindings:
    time = PassingTime(NOON)
    aws = answering(monkeypatch, {**USUAL, operation: answers})
    settings = GenerationSettings("arn:aws:iam::111122223333:role/analyzer", TRAIL)
    waiting = Polling(time.clock, time.sleep)
    return collect_aws_findings(
        aws,
        parse_principal(ROLE),
        waiting,
        access=True,
        generation=(settings, NOON - timedelta(days=30)),
    )


TRUNCATED = "<IsTruncated>true</IsTruncated>"


@pytest.mark.parametrize(
    ("operation", "answers", "source", "why"),
    [
        (
            "GetServiceLastAccessedDetails",
            [report("<JobStatus>QUEUED</JobStatus>")],
            "access advisor",
            "in time",
        ),
        ("GetServiceLastAccessedDetails", [report("")], "access advisor", "lacks JobStatus"),
        (
            "GetServiceLastAccessedDetails",
            [report(more=TRUNCATED)],
            "access advisor",
            "lacks Marker",
        ),
        (
            "GetServiceLastAccessedDetails",
            [report(more=f"{TRUNCATED}<Marker>m</Marker>")],
            "access advisor",
            "an earlier one as the next",
        ),
        (
            "GenerateServiceLastAccessedDetails",
            [Raw.query("GenerateServiceLastAccessedDetails", "")],
            "access advisor",
            "lacks",
        ),
        ("ListAnalyzers", [Raw("{}")], "unused access findings", "lacks analyzers"),
        ("StartPolicyGeneration", [Raw("{}")], "policy generation", "lacks jobId"),
        ("GetGeneratedPolicy", [Raw("{}")], "policy generation", "lacks jobDetails"),
        ("GetGeneratedPolicy", [generated("QUEUED")], "policy generation", "in time"),
    ],
)
def test_an_answer_without_an_end_or_a_member_skips_its_source_with_the_reason(
    operation: str, answers: list[Raw], source: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    skipped = {
        skipped_source.source: skipped_source.why
        for skipped_source in read(monkeypatch, operation, answers).skipped_sources
    }
    assert why in skipped[source]


def test_an_unknown_state_of_a_generation_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read(
        monkeypatch, "GetGeneratedPolicy", [generated("QUEUED"), generated("SUCCEEDED")]
    ).generated


@pytest.mark.parametrize(
    ("operation", "answers"),
    [
        ("ListFindingsV2", [Raw.json({"findings": [finding("f0", ""), finding("f1")]})]),
        (
            "ListFindingsV2",
            [Raw.json({"findings": [], "nextToken": "a"}), *USUAL["ListFindingsV2"]],
        ),
        (
            "GetFindingV2",
            [Raw.json({**finding("f1"), "findingDetails": [{"unusedNewDetails": {}}, DETAIL]})],
        ),
    ],
)
def test_what_a_finding_lacks_or_adds_hides_no_other_finding(
    operation: str, answers: list[Raw], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert read(monkeypatch, operation, answers).unused[0].actions == ("s3:deletebucket",)


def test_a_finding_that_is_deleted_after_the_listing_hides_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(
        USUAL, "ListFindingsV2", [Raw.json({"findings": [finding("f0"), finding("f1")]})]
    )
    gone = Raw.failed("ResourceNotFoundException", "Finding not found", 404)
    assert read(monkeypatch, "GetFindingV2", [gone, *USUAL["GetFindingV2"]]).unused[0].actions == (
        "s3:deletebucket",
    )
