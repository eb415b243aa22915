"""What AWS says of a role's use, asked over HTTP, and what a run reports where a source fails."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from leastpriv.aws.arns import parse_principal
from leastpriv.aws.session import Aws, Polling
from leastpriv.errors import AwsError
from leastpriv.evidence.access_advisor import read_last_accessed
from leastpriv.evidence.access_analyzer import collect_aws_findings
from leastpriv.evidence.models import AwsFindings, ExternalAccess, InternalAccess, Recommendation
from leastpriv.evidence.policy_generation import GenerationSettings
from tests.fakes import progress
from tests.fakes.aws.access_analyzer import AccessAnalyzer, Finding
from tests.fakes.aws.iam_last_accessed import Attempt, LastAccessed
from tests.fakes.aws.passing_time import PassingTime
from tests.fakes.aws.server import Asked, FakeAws, Operation, RefusedError

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
DAY = timedelta(days=1)
ROLE = "arn:aws:iam::111122223333:role/ci/deploy"
OTHER = "arn:aws:iam::111122223333:role/other"
SHARED = "arn:aws:iam::111122223333:policy/shared"
READ_ONLY = "arn:aws:iam::aws:policy/ReadOnlyAccess"
GITHUB = "token.actions.githubusercontent.com"
TRAIL = "arn:aws:cloudtrail:eu-west-1:111122223333:trail/main"
GENERATION = GenerationSettings("arn:aws:iam::111122223333:role/analyzer", TRAIL)
BUCKET = {
    "Effect": "Allow",
    "Action": ["s3:CreateBucket"],
    "Resource": "arn:aws:s3:::${BucketName}",
}
EVERYWHERE = {"Effect": "Allow", "Action": "ec2:DescribeRegions", "Resource": "*"}


def policy(*statements: Mapping[str, object]) -> dict[str, object]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def unused(service: str, *actions: str) -> dict[str, object]:
    details = {"actions": [{"action": action} for action in actions]} if actions else {}
    return {"unusedPermissionDetails": {"serviceNamespace": service, **details}}


def recommended(step: str, existing: str) -> dict[str, object]:
    return {
        "unusedPermissionsRecommendedStep": {
            "recommendedAction": step,
            "existingPolicyId": existing,
        }
    }


def outside(kind: str, principal: str, *keys: str) -> dict[str, object]:
    return {
        "externalAccessDetails": {
            "principal": {kind: principal},
            "condition": dict.fromkeys(keys, "x"),
        }
    }


@dataclass
class Account:
    """An account with both services, and the time that passes in it."""

    time: PassingTime = field(default_factory=lambda: PassingTime(NOON))
    log_lines: list[str] = field(default_factory=lambda: progress.LINES)
    role: str = ROLE

    def __post_init__(self) -> None:
        self.iam = LastAccessed(
            self.time.clock,
            {
                ROLE: {"deploy": ("s3", "sqs"), SHARED: ("sns", "sqs"), READ_ONLY: ("ec2",)},
                OTHER: {SHARED: ("sns", "sqs")},
            },
            [
                Attempt(ROLE, "s3:PutBucketPolicy", NOON - 200 * DAY),
                Attempt(ROLE, "s3:DeleteBucket", NOON - 10 * DAY, "us-east-1"),
                Attempt(ROLE, "sns:CreateTopic", NOON - 5 * DAY),
                Attempt(ROLE, "sqs:CreateQueue", NOON - timedelta(hours=3)),
                Attempt(OTHER, "sns:CreateTopic", NOON - 8 * DAY),
            ],
        )
        self.analyzer = AccessAnalyzer(
            self.time.clock,
            [policy(BUCKET), policy(EVERYWHERE)],
            analyzers={
                "ACCOUNT_UNUSED_ACCESS/unused": [
                    Finding("f1", ROLE, "UnusedPermission", [
                        unused("sqs"), unused("s3", "s3:DeleteBucket"), unused("sns",
                        "DeleteTopic"),
                    ], [recommended("DETACH_POLICY", SHARED)]),
                    Finding("f2", ROLE, "UnusedPermission", [], status="ARCHIVED"),
                    Finding("f3", OTHER, "UnusedIAMRole", [{"unusedIamRoleDetails": {}}]),
                ],
                "ACCOUNT/outside": [
                    Finding("x1", ROLE, "ExternalAccess", [outside("AWS",
                    "arn:aws:iam::999999999999:root")]),
                    Finding("x2", ROLE, "ExternalAccess", [outside("Federated", GITHUB,
                    f"{GITHUB}:sub")]),
                    Finding("x3", OTHER, "ExternalAccess", [outside("AWS", "*")]),
                ],
            },
        )  # fmt: skip

    @property
    def waiting(self) -> Polling:
        return Polling(self.time.clock, self.time.sleep)

    def aws_findings(self, door: Aws) -> AwsFindings:
        role, start = parse_principal(ROLE), NOON - 40 * DAY
        return collect_aws_findings(
            door, role, self.waiting, access=True, generation=(GENERATION, start)
        )


@pytest.fixture
def account() -> Account:
    return Account()


@pytest.fixture(scope="module")
def endpoint() -> Iterator[FakeAws]:
    """One for all, since making clients takes longer than asking."""
    with FakeAws({}) as running:
        yield running


@pytest.fixture(scope="module")
def door(endpoint: FakeAws) -> Aws:
    return Aws.open(endpoint.environment(attempts=1))


@pytest.fixture(scope="module")
def patient(endpoint: FakeAws) -> Aws:
    """Clients that make a throttled request again."""
    return Aws.open(endpoint.environment(attempts=2))


@pytest.fixture
def aws(endpoint: FakeAws, account: Account) -> FakeAws:
    endpoint.operations = {**account.iam.operations(), **account.analyzer.operations()}
    endpoint.requests.clear()
    endpoint._faults.clear()
    return endpoint


def test_all_pages_of_all_sources_are_read(account: Account, aws: FakeAws, door: Aws) -> None:
    hints = account.aws_findings(door)
    assert not hints.skipped_sources
    assert hints.access
    services = hints.access.services
    assert {name: service.last and service.last.time for name, service in services.items()} == {
        "ec2": None, "s3": NOON - 10 * DAY, "sns": NOON - 5 * DAY, "sqs": None,
    }  # fmt: skip
    assert services["s3"].last
    assert services["s3"].last.region == "us-east-1"
    assert {name: attempt and attempt.time for name, attempt in services["s3"].actions.items()} == {
        "s3:putbucketpolicy": NOON - 200 * DAY, "s3:deletebucket": NOON - 10 * DAY,
    }  # fmt: skip
    assert hints.access.granted_by["sqs"] == (SHARED, "deploy")
    assert [
        (shared_policy.arn, shared_policy.service, list(shared_policy.others))
        for shared_policy in hints.access.shared
    ] == [(SHARED, "sns", [OTHER])]
    assert hints.generated
    assert hints.generated.grants == (
        ("ec2:DescribeRegions", ("*",)), ("s3:CreateBucket", ("arn:aws:s3:::${BucketName}",)),
    )  # fmt: skip
    assert (hints.generated.policies, hints.generated.is_complete, hints.generated.was_running) == (
        2,
        True,
        False,
    )
    [unused] = hints.unused
    assert (unused.analyzer, unused.days, unused.is_whole) == ("unused", 90, False)
    assert (unused.services, unused.actions) == (("sqs",), ("s3:deletebucket", "sns:deletetopic"))
    assert unused.advice == (Recommendation("DETACH_POLICY", SHARED),)
    assert [(trust.principal, trust.is_bound_subject) for trust in hints.outside] == [
        ("AWS arn:aws:iam::999999999999:root", False),
        ("Federated token.actions.githubusercontent.com", True),
    ]


def test_the_monitored_resources_that_the_role_reaches_are_read(
    account: Account, aws: FakeAws, door: Aws
) -> None:
    bucket = "arn:aws:s3:::secrets"

    def reached(principal: str, *actions: str) -> dict[str, object]:
        return {"internalAccessDetails": {"action": list(actions), "principal": {"AWS": principal}}}

    account.analyzer.analyzers["ACCOUNT_INTERNAL_ACCESS/inside"] = [
        Finding(
            "i1",
            bucket,
            "InternalAccess",
            [reached(ROLE, "s3:GetObject"), reached(ROLE, "s3:PutObject")],
        ),
        Finding("i2", bucket, "InternalAccess", [reached(OTHER, "s3:GetObject")]),
        Finding(
            "i3", bucket, "InternalAccess", [reached(ROLE, "s3:DeleteObject")], status="RESOLVED"
        ),
    ]
    hints = account.aws_findings(door)
    assert hints.inside == (InternalAccess("inside", bucket, ("s3:GetObject", "s3:PutObject")),)
    assert not hints.skipped_sources


def test_unused_credentials_of_a_user_are_read(account: Account, aws: FakeAws, door: Aws) -> None:
    kim = "arn:aws:iam::111122223333:user/kim"
    key = {"unusedIamUserAccessKeyDetails": {"accessKeyId": "AKIAEXAMPLE000000001"}}
    password: dict[str, object] = {"unusedIamUserPasswordDetails": {}}
    account.analyzer.analyzers = {
        "ACCOUNT_UNUSED_ACCESS/unused": [
            Finding("k", kim, "UnusedIAMUserAccessKey", [key]),
            Finding("p", kim, "UnusedIAMUserPassword", [password]),
        ]
    }
    account.iam.policies = {kim: {"deploy": ("s3",)}}
    hints = collect_aws_findings(door, parse_principal(kim), account.waiting, access=True)
    assert [user.credentials for user in hints.unused] == [("AKIAEXAMPLE000000001", "password")]
    assert "external access findings" not in hints.asked


def test_what_may_cost_is_said_before_the_first_call_that_touches_it(
    account: Account, aws: FakeAws, door: Aws
) -> None:
    account.aws_findings(door)
    costs = next(number for number, line in enumerate(account.log_lines) if "USD 0.20" in line)
    assert costs < next(
        number for number, line in enumerate(account.log_lines) if "second opinion" in line
    )
    assert not [request for request in aws.requests if request.operation == "CreateAnalyzer"]


DENIED = (
    "User: arn:aws:sts::111122223333:assumed-role/reader/run is not authorized to perform: {}"
    " because no identity-based policy allows the {} action"
)
SOURCES = {
    "access advisor": (
        "GenerateServiceLastAccessedDetails",
        "GetServiceLastAccessedDetails",
        "iam:",
    ),
    "policy generation": ("StartPolicyGeneration", "GetGeneratedPolicy", "access-analyzer:"),
    "unused access findings": ("ListFindingsV2", "GetFindingV2", "access-analyzer:"),
    "external access findings": ("ListFindingsV2", "GetFindingV2", "access-analyzer:"),
}


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("place", [0, 1])
def test_a_denied_source_is_one_sentence_that_names_the_permission_and_the_others_are_read(
    account: Account, aws: FakeAws, door: Aws, source: str, place: int
) -> None:
    operation = SOURCES[source][place]
    action = SOURCES[source][2] + operation.removesuffix("V2")
    code = "AccessDenied" if source == "access advisor" else "AccessDeniedException"
    aws.refuse(operation, code, DENIED.format(action, action), 403)
    hints = account.aws_findings(door)
    reasons = {skipped.source: skipped.why for skipped in hints.skipped_sources}
    assert action in reasons[source]
    assert reasons[source].count(".") < 4
    assert len(hints.asked) == 4 - len(reasons) >= 2


@pytest.mark.parametrize(
    "operation", ["GetServiceLastAccessedDetails", "GetGeneratedPolicy", "ListFindingsV2"]
)
def test_a_throttled_request_is_repeated(
    account: Account, aws: FakeAws, patient: Aws, operation: str
) -> None:
    aws.refuse(operation, "ThrottlingException", "Rate exceeded", 429, times=1)
    assert not account.aws_findings(patient).skipped_sources


@pytest.mark.parametrize(
    ("operation", "source"),
    [
        ("GetServiceLastAccessedDetails", "access advisor"),
        ("GetGeneratedPolicy", "policy generation"),
    ],
)
def test_a_persistently_throttled_source_fails_alone(
    account: Account, aws: FakeAws, door: Aws, operation: str, source: str
) -> None:
    aws.refuse(operation, "ThrottlingException", "Rate exceeded", 429)
    hints = account.aws_findings(door)
    assert [
        (skipped.source, "AWS throttled the requests" in skipped.why)
        for skipped in hints.skipped_sources
    ] == [(source, True)]


@pytest.mark.parametrize(
    "operation", ["GetServiceLastAccessedDetails", "ListAnalyzers", "ListPolicyGenerations"]
)
def test_an_answer_that_breaks_off_fails_alone(
    account: Account, aws: FakeAws, door: Aws, operation: str
) -> None:
    aws.break_off(operation)
    hints = account.aws_findings(door)
    assert hints.skipped_sources
    assert len(hints.asked) + len(hints.skipped_sources) == 4


def test_a_report_that_takes_too_long_is_left_out(
    account: Account, aws: FakeAws, door: Aws
) -> None:
    account.iam.takes = timedelta(hours=1)
    hints = account.aws_findings(door)
    assert [skipped.source for skipped in hints.skipped_sources] == ["access advisor"]
    assert any("waiting for IAM's report for" in line for line in account.log_lines)


def test_a_failed_report_says_why(account: Account, aws: FakeAws, door: Aws) -> None:
    account.iam.fails = "SERVICE_ERROR"
    assert "SERVICE_ERROR" in account.aws_findings(door).skipped_sources[0].why


def test_details_that_may_not_be_read_leave_the_dates(
    account: Account, aws: FakeAws, door: Aws
) -> None:
    action = "iam:ListPoliciesGrantingServiceAccess"
    aws.refuse(
        "ListPoliciesGrantingServiceAccess", "AccessDenied", DENIED.format(action, action), 403
    )
    access = account.aws_findings(door).access
    assert access
    assert access.services["s3"].last
    assert action in access.missing


@pytest.mark.parametrize(
    ("name", "unknown"),
    [
        ("GetServiceLastAccessedDetailsWithEntities", ["sns"]),
        ("GenerateServiceLastAccessedDetails", ["sns", "sqs"]),
    ],
)
def test_who_else_uses_a_policy_is_unknown_where_iam_does_not_say(
    account: Account, aws: FakeAws, door: Aws, name: str, unknown: list[str]
) -> None:
    aws.operations[f"iam:{name}"] = _only_for_roles(aws.operations[f"iam:{name}"])
    access = account.aws_findings(door).access
    assert access
    assert [(shared_policy.service, shared_policy.is_known) for shared_policy in access.shared] == [
        (service, False) for service in unknown
    ]
    assert access.granted_by["sns"] == (SHARED,)
    assert access.missing


def _only_for_roles(operation: Operation) -> Operation:
    def answer(asked: Asked) -> Mapping[str, object]:
        if ":policy/" in asked.parameters.get("Arn", ":policy/"):
            raise RefusedError("AccessDenied", "no", 403)
        return operation(asked)

    return answer


def test_beyond_twenty_shared_pairs_the_rest_is_unknown(
    account: Account, aws: FakeAws, door: Aws
) -> None:
    services = tuple(f"svc{number:02}" for number in range(23))
    account.iam.policies = {ROLE: {SHARED: services}, OTHER: {SHARED: services[:-1]}}
    account.iam.attempts = [
        Attempt(OTHER, f"{service}:Do", NOON - DAY) for service in services[:-1]
    ]
    access = account.aws_findings(door).access
    assert access
    assert len([shared_policy for shared_policy in access.shared if shared_policy.others]) == 20
    assert [
        shared_policy.service for shared_policy in access.shared if not shared_policy.is_known
    ] == ["svc20", "svc21"]
    assert "at most 20 times" in access.missing


def test_a_report_belongs_to_the_session_that_asked_for_it(
    account: Account, aws: FakeAws, door: Aws
) -> None:
    our_client, other_client = (
        Aws.open(aws.environment(key=key)).client("iam") for key in ("AKIAOURS", "AKIATHEIRS")
    )
    job = our_client.generate_service_last_accessed_details(Arn=ROLE)["JobId"]
    with pytest.raises(other_client.exceptions.NoSuchEntityException):
        other_client.get_service_last_accessed_details(JobId=job)
    assert (
        len(
            {
                request.access_key
                for request in aws.requests
                if request.operation != "GetServiceLastAccessedDetails"
            }
        )
        == 1
    )


def test_a_role_that_is_not_there_is_said(account: Account, aws: FakeAws, door: Aws) -> None:
    with pytest.raises(AwsError, match="NoSuchEntity"):
        read_last_accessed(door.client("iam"), f"{ROLE}-2", account.waiting)


def test_without_an_analyzer_that_is_said(account: Account, aws: FakeAws, door: Aws) -> None:
    account.analyzer.analyzers = {}
    hints = account.aws_findings(door)
    assert [(skipped.source, skipped.why) for skipped in hints.skipped_sources] == [
        ("external access findings", "there is no such analyzer in eu-west-1.")
    ]
    assert hints.unused == ()


def test_findings_are_read_without_a_policy_generation_too(
    account: Account, aws: FakeAws, door: Aws
) -> None:
    hints = collect_aws_findings(door, parse_principal(ROLE), account.waiting, access=True)
    assert hints.outside
    assert hints.unused
    assert not aws.asked("StartPolicyGeneration")
    assert any("USD 0.20" in line for line in account.log_lines)


@pytest.mark.parametrize(
    ("subject", "is_bound"),
    [
        ("repo:acme/shop:*", True),
        ("repo:acme/shop:ref:refs/heads/main", True),
        ("repo:acme@12/shop@34:*", True),
        ("repo:acme/shop:pull_request, repo:acme/site:*", True),
        ('["repo:acme/shop:*", "repo:acme/site:*"]', True),
        ("project_path:acme/shop:ref_type:branch:ref:*", True),
        ("organization:acme:project:shop:workspace:main:run_phase:*", True),
        ("system:serviceaccount:ci:deploy", True),
        ("repo:*", False),
        ("*", False),
        ("repo:acme/*", False),
        ("repo:acme/*:ref:refs/heads/main", False),
        ("repo:acme/sh?p:*", False),
        ("repo:*/shop:*", False),
        ("repo:acme/shop*", False),
        ("repo:acme/shop:*, repo:acme/*", False),
        ("organization:acme:*", False),
        ("system:serviceaccount:*", False),
        ("", False),
    ],
)
def test_a_login_is_bound_by_a_subject_of_one_repository(subject: str, is_bound: bool) -> None:
    assert (
        ExternalAccess(f"Federated {GITHUB}", {f"{GITHUB}:sub": subject}).is_bound_subject
        is is_bound
    )
    assert not ExternalAccess("AWS *", {f"{GITHUB}:sub": subject}, is_public=True).is_bound_subject


def test_a_finding_about_another_role_is_ignored(account: Account, aws: FakeAws, door: Aws) -> None:
    other_findings = [
        account.analyzer._about(finding)
        for finding in account.analyzer.analyzers["ACCOUNT_UNUSED_ACCESS/unused"][1:]
    ]
    aws.operations["accessanalyzer:ListFindingsV2"] = lambda _: {"findings": other_findings}
    hints = account.aws_findings(door)
    assert [(unused_access.is_whole, unused_access.actions) for unused_access in hints.unused] == [
        (False, ())
    ]
    assert hints.outside == ()
