"""Authorization details of denials, asked over HTTP from a stateful fake that botocore's model
validates.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from leastpriv.aws.session import Aws, Polling
from leastpriv.denials.message import read_denial
from leastpriv.evidence.authorization_details import (
    DERIVATION,
    DeniedRequest,
    denied_requests,
    read_details,
    with_details,
)
from leastpriv.evidence.models import Evidence
from leastpriv.models import (
    Basis,
    Condition,
    DeniedBy,
    GapKind,
    Need,
    Outcome,
    Permission,
    Run,
    Usage,
)
from tests.fakes.aws.authorization_details import AuthorizationAccounts, Denied, check, evaluation
from tests.fakes.aws.passing_time import PassingTime
from tests.fakes.aws.server import FakeAws
from tests.fakes.replace import replace

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
ROLE = "arn:aws:iam::111122223333:role/ci/deploy"
SESSION = "arn:aws:sts::111122223333:assumed-role/deploy/GitHubActions"
APP = "arn:aws:iam::111122223333:role/app"
POLICY = "arn:aws:iam::111122223333:policy/limit"
SCP = "arn:aws:organizations::999988887777:policy/o-abc/service_control_policy/p-1"
ROOT = "arn:aws:organizations::999988887777:root/o-abc/r-1"
CONTEXT = {
    "aws:PrincipalArn": ROLE,
    "aws:userid": "AROAEXAMPLE:GitHubActions",
    "aws:SecureTransport": True,
}
LACKS = check("PRINCIPAL", "IMPLICIT_DENY", types=["IDENTITY_BASED_POLICY"])
ID = "z7k2" * 8


@dataclass
class Account:
    """An account with IAM's toolbox, and the time that passes in it."""

    time: PassingTime = field(default_factory=lambda: PassingTime(NOON))

    def __post_init__(self) -> None:
        self.accounts = AuthorizationAccounts(self.time.clock)
        self.aws = FakeAws(self.accounts.operations())

    def read(self, evidence: Evidence) -> Evidence:
        """The evidence with the details that AWS gives of its denials."""
        aws = Aws.open(self.aws.environment())
        polling = Polling(self.time.clock, self.time.sleep, timedelta(minutes=5))
        details, gaps = read_details(
            lambda region: aws.client("iam-toolbox", region), denied_requests(evidence), polling
        )
        return with_details(evidence, details, gaps)


@pytest.fixture
def account() -> Iterator[Account]:
    started = Account()
    with started.aws:
        yield started


def denied(
    action: str, resource: str, seen: datetime = NOON - timedelta(hours=1), name: str = ID
) -> Usage:
    advice = (
        f"Go to https://x/iam/home?region=us-east-1#/authorization-details/{name} for complete"
        " details"
    )
    message = (
        f"User: {SESSION} is not authorized to perform: {action} on resource: {resource} because no"
        f" identity-based policy allows the {action} action. {advice}"
    )
    return Usage(
        Need(Permission(action, resource), Basis.DENIED, "role in the request"),
        Outcome.DENIED,
        1,
        seen,
        seen,
        ("run-1",),
        ("iam.amazonaws.com:CreateRole",),
        ("us-east-1",),
        read_denial(message),
        succeeded=False,
    )


def evidence(*usages: Usage) -> Evidence:
    return Evidence(ROLE, usages)


def needed(found: Evidence) -> list[tuple[str, str, bool]]:
    return [
        (
            denied_usage.need.permission.action,
            denied_usage.need.permission.resource,
            bool(denied_usage.denial and denied_usage.denial.mendable),
        )
        for denied_usage in found.usages
    ]


def details(found: Evidence) -> list[str]:
    return [gap.detail for gap in found.gaps if gap.kind is GapKind.DENIAL_DETAILS]


def test_one_denial_gives_every_missing_permission_of_its_call(account: Account) -> None:
    account.accounts.requests[ID] = Denied(
        NOON - timedelta(hours=1),
        CONTEXT,
        [
            evaluation("iam:CreateRole", APP, "IMPLICIT_DENY", LACKS),
            evaluation("iam:TagRole", APP, "IMPLICIT_DENY", LACKS),
            evaluation(
                "iam:PassRole",
                APP,
                "IMPLICIT_DENY",
                LACKS,
                iam__PassedToService="lambda.amazonaws.com",
            ),
            evaluation("s3:ListAllMyBuckets", "", "IMPLICIT_DENY", LACKS),
            evaluation("iam:GetRole", APP, "ALLOW", check("PRINCIPAL", "ALLOW")),
        ],
    )
    with_answers = account.read(evidence(denied("iam:CreateRole", APP), denied("iam:GetRole", APP)))
    assert needed(with_answers) == [
        ("iam:CreateRole", APP, True),
        ("iam:PassRole", APP, True),
        ("iam:TagRole", APP, True),
        ("s3:ListAllMyBuckets", "*", True),
    ]
    passed = with_answers.usages[1]
    assert passed.need.permission.conditions == (
        Condition("StringEquals", "iam:PassedToService", ("lambda.amazonaws.com",)),
    )
    assert (passed.need.derivation, passed.runs, passed.need.exact) == (
        DERIVATION,
        ("run-1",),
        True,
    )
    assert passed.denial
    assert passed.denial.judged_by == (
        "aws:principalarn",
        "aws:securetransport",
        "aws:userid",
        "iam:passedtoservice",
    )
    assert len(account.aws.requests) == 5, "one a page"
    assert details(with_answers) == []


def test_a_new_denial_is_waited_for(account: Account) -> None:
    account.accounts.requests[ID] = Denied(
        NOON, CONTEXT, [evaluation("iam:TagRole", APP, "IMPLICIT_DENY", LACKS)]
    )
    with_answers = account.read(evidence(denied("iam:CreateRole", APP, NOON)))
    assert ("iam:TagRole", APP, True) in needed(with_answers)
    assert account.time.now - NOON >= account.accounts.takes
    assert details(with_answers) == []


def test_an_answer_that_never_comes_is_a_gap_and_the_denial_remains(account: Account) -> None:
    before = evidence(denied("iam:CreateRole", APP, NOON))
    with_answers = account.read(before)
    assert with_answers.usages == before.usages
    assert details(with_answers) == ["not there: expired, of another account, or not written yet"]
    assert account.time.now - NOON < timedelta(minutes=7)


def test_an_old_denial_is_not_waited_for_and_an_expired_one_is_not_asked_for(
    account: Account,
) -> None:
    old = denied("iam:CreateRole", APP, NOON - timedelta(hours=23))
    expired = denied("iam:TagRole", APP, NOON - timedelta(hours=25), "q" * 32)
    with_answers = account.read(evidence(old, expired))
    assert account.time.slept == []
    assert [
        request["authorizationId"]
        for request in account.aws.asked("GetRequestAuthorizationDetails")
    ] == [ID]
    assert details(with_answers) == [
        "older than 24 hours, so AWS may have deleted them",
        "not there: expired, of another account, or not written yet",
    ]


@pytest.mark.parametrize(
    ("code", "status", "detail"),
    [
        ("AccessDeniedException", 403, "the credentials lack iam:GetRequestAuthorizationDetails"),
        ("ThrottlingException", 429, "AWS kept throttling the requests"),
    ],
)
def test_a_refused_question_is_one_gap_and_no_error(
    account: Account, code: str, status: int, detail: str
) -> None:
    account.aws.refuse("GetRequestAuthorizationDetails", code, "no", status)
    before = evidence(denied("iam:CreateRole", APP), denied("iam:TagRole", APP, name="q" * 32))
    with_answers = account.read(before)
    assert (with_answers.usages, details(with_answers)) == (before.usages, [detail])


def test_throttling_that_ends_is_no_gap(account: Account) -> None:
    account.accounts.requests[ID] = Denied(
        NOON - timedelta(hours=1), CONTEXT, [evaluation("iam:TagRole", APP, "IMPLICIT_DENY", LACKS)]
    )
    account.aws.refuse(
        "GetRequestAuthorizationDetails", "ThrottlingException", "slow down", 429, times=1
    )
    with_answers = account.read(evidence(denied("iam:CreateRole", APP)))
    assert ("iam:TagRole", APP, True) in needed(with_answers)


def test_a_malformed_id_from_a_log_does_not_stop_the_others(account: Account) -> None:
    account.aws.refuse(
        "GetRequestAuthorizationDetails", "ValidationException", "malformed", times=1
    )
    account.accounts.requests[ID] = Denied(
        NOON - timedelta(hours=1), CONTEXT, [evaluation("iam:TagRole", APP, "IMPLICIT_DENY", LACKS)]
    )
    newest = denied("iam:GetRole", APP, NOON - timedelta(minutes=30), "q" * 32)
    with_answers = account.read(evidence(denied("iam:CreateRole", APP), newest))
    assert ("iam:TagRole", APP, True) in needed(with_answers)
    assert len(details(with_answers)) == 1


@pytest.mark.parametrize(
    ("checks", "denied_by", "why"),
    [
        (
            [check("SERVICE_CONTROL_POLICY", "EXPLICIT_DENY",
                   {"uri": SCP, "matchedStatements": [{"sid": "NoIam", "evaluatedEffect": "DENY"}]}), LACKS],
            DeniedBy.SCP,
            f"an explicit deny applied, which no grant overrides ({SCP} (statement NoIam))",
        ),
        (
            [check("SERVICE_CONTROL_POLICY", "IMPLICIT_DENY", types=["SERVICE_CONTROL_POLICY"], target=ROOT), LACKS],
            DeniedBy.SCP,
            f"a service control policy of the organization denied it ({SCP})",
        ),
        (
            [LACKS, check("PERMISSIONS_BOUNDARY", "IMPLICIT_DENY", types=["PERMISSIONS_BOUNDARY"])],
            DeniedBy.BOUNDARY,
            f"the permissions boundary of the principal denied it ({POLICY})",
        ),
        ([check("SESSION", "IMPLICIT_DENY")], DeniedBy.SESSION, "the session policy denied it"),
        ([check("RESOURCE", "IMPLICIT_DENY")], DeniedBy.RESOURCE, "the policy of the resource denied it"),
    ],
)  # fmt: skip
def test_what_another_policy_denies_is_not_mendable_and_names_the_policy(
    account: Account, checks: list[dict[str, object]], denied_by: DeniedBy, why: str
) -> None:
    effect = (
        "EXPLICIT_DENY"
        if any(check["evaluatedEffect"] == "EXPLICIT_DENY" for check in checks)
        else "IMPLICIT_DENY"
    )
    account.accounts.requests[ID] = Denied(
        NOON - timedelta(hours=1),
        CONTEXT,
        [evaluation("iam:CreateRole", APP, effect, *checks)],
        [
            {
                "uri": SCP,
                "type": "SERVICE_CONTROL_POLICY",
                "inline": False,
                "attachedTo": [{"arn": ROOT}],
            },
            {
                "uri": POLICY,
                "type": "PERMISSIONS_BOUNDARY",
                "inline": False,
                "attachedTo": [{"arn": ROLE}],
            },
        ],
    )
    (usage,) = account.read(evidence(denied("iam:CreateRole", APP))).usages
    assert usage.denial
    assert (usage.denial.denied_by, usage.denial.mendable, usage.denial.why) == (
        denied_by,
        False,
        why,
    )


@pytest.mark.parametrize(
    ("effect", "statement", "denied_by", "mendable"),
    [
        ("IMPLICIT_DENY", "ALLOW", DeniedBy.IDENTITY, True),
        ("EXPLICIT_DENY", "DENY", DeniedBy.SCP, False),
    ],
)
def test_an_answer_without_checks_is_read_by_its_policies(
    account: Account, effect: str, statement: str, denied_by: DeniedBy, *, mendable: bool
) -> None:
    matched = {"uri": SCP, "matchedStatements": [{"sid": "S", "evaluatedEffect": statement}]}
    account.accounts.requests[ID] = Denied(
        NOON - timedelta(hours=1),
        CONTEXT,
        [{**evaluation("iam:CreateRole", APP, effect), "matchedPolicies": [matched]}],
        [
            {
                "uri": SCP,
                "type": "SERVICE_CONTROL_POLICY",
                "inline": False,
                "attachedTo": [{"arn": ROOT}],
            }
        ],
    )
    (usage,) = account.read(evidence(denied("iam:CreateRole", APP))).usages
    assert usage.denial
    assert (usage.denial.denied_by, usage.denial.mendable) == (denied_by, mendable)
    assert (SCP in usage.denial.why) == (not mendable)


def test_a_rehearsal_s_session_policy_is_the_proposal_and_mendable(account: Account) -> None:
    context = {**CONTEXT, "aws:userid": "AROAEXAMPLE:leastpriv-rehearsal-17"}
    account.accounts.requests[ID] = Denied(
        NOON - timedelta(hours=1), context,
        [evaluation("iam:TagRole", APP, "IMPLICIT_DENY", check("SESSION", "IMPLICIT_DENY"))],
    )  # fmt: skip
    with_answers = account.read(evidence(denied("iam:CreateRole", APP)))
    assert ("iam:TagRole", APP, True) in needed(with_answers)


def test_the_id_of_another_principal_s_denial_says_nothing_about_this_one(account: Account) -> None:
    account.accounts.requests[ID] = Denied(
        NOON - timedelta(hours=1),
        {**CONTEXT, "aws:PrincipalArn": "arn:aws:iam::111122223333:role/other"},
        [evaluation("iam:CreateUser", "*", "IMPLICIT_DENY", LACKS)],
    )
    with_answers = account.read(evidence(denied("iam:CreateRole", APP)))
    assert needed(with_answers) == []
    assert [gap.kind for gap in with_answers.gaps] == [GapKind.DENIAL_OF_OTHER_PRINCIPAL]


@pytest.mark.parametrize(("session", "is_own"), [("GitHubActions", True), ("17650000001", False)])
def test_details_of_another_session_explain_nothing(
    account: Account, session: str, is_own: bool
) -> None:
    """A name in a denied call may quote the authorization id of another run's denial."""
    passed = evaluation("iam:PassRole", APP, "IMPLICIT_DENY", LACKS)
    account.accounts.requests[ID] = Denied(NOON - timedelta(hours=1), CONTEXT, [passed])
    run = Run("run-1", session, NOON - timedelta(hours=1), NOON)
    with_answers = account.read(replace(evidence(denied("iam:CreateRole", APP)), runs=(run,)))
    assert ("iam:PassRole" in {action for action, _, _ in needed(with_answers)}) == is_own
    assert any(gap.kind is GapKind.DENIAL_DETAILS for gap in with_answers.gaps) != is_own


def test_a_denial_of_a_job_log_remains_one_whatever_its_details_are(account: Account) -> None:
    account.accounts.requests[ID] = Denied(
        NOON - timedelta(hours=1), CONTEXT, [evaluation("iam:TagRole", APP, "IMPLICIT_DENY", LACKS)]
    )
    logged = denied("iam:TagRole", APP)
    assert logged.denial
    logged = replace(logged, denial=replace(logged.denial, log="deploy.log:3"))
    (usage,) = account.read(evidence(logged)).usages
    assert usage.denial
    assert usage.denial.log == "deploy.log:3"


def test_only_the_newest_denials_are_asked_for(account: Account) -> None:
    usages = [
        denied("iam:CreateRole", APP, NOON - timedelta(hours=1, minutes=n), f"{n:032d}")
        for n in range(60)
    ]
    with_answers = account.read(evidence(*usages))
    requests = account.aws.asked("GetRequestAuthorizationDetails")
    assert [request["authorizationId"] for request in requests] == [f"{n:032d}" for n in range(50)]
    assert details(with_answers) == [
        "beyond the newest 50",
        "not there: expired, of another account, or not written yet",
    ]


def test_equal_denials_of_several_calls_are_one_usage(account: Account) -> None:
    for name in (ID, "q" * 32):
        account.accounts.requests[name] = Denied(
            NOON - timedelta(hours=1),
            CONTEXT,
            [evaluation("iam:TagRole", APP, "IMPLICIT_DENY", LACKS)],
        )
    later = replace(denied("iam:TagRole", APP, name="q" * 32), runs=("run-2",))
    (usage,) = account.read(evidence(denied("iam:TagRole", APP), later)).usages
    assert (usage.count, usage.runs) == (2, ("run-1", "run-2"))


def test_the_region_of_the_link_or_of_the_record_is_asked() -> None:
    plain = denied("iam:CreateRole", APP)
    assert plain.denial
    without = replace(
        plain, denial=replace(plain.denial, authorization_region=""), regions=("eu-west-1",)
    )
    assert denied_requests(evidence(plain)) == [DeniedRequest(ID, "us-east-1", plain.last_seen)]
    assert denied_requests(evidence(without)) == [DeniedRequest(ID, "eu-west-1", plain.last_seen)]
