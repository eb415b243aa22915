"""What keeps IAM from telling what is attached is a gap that says so; the lab's tests read what it
tells.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from leastpriv.aws import session as aws_module
from leastpriv.aws.arns import parse_principal
from leastpriv.aws.session import Aws
from leastpriv.evidence.live_role import LiveRole, read_live_role
from leastpriv.models import GapKind
from leastpriv.policy.size import PolicyKind, policy_kind
from tests.fakes.aws.event_history import FakeHistory, Fault
from tests.fakes.aws.server import FakeAws, Operation, RefusedError

FAULTS = {
    "throttled": "AWS throttled the requests",
    "server error": "AWS failed",
    "unavailable": "AWS failed",
    "denied": "AWS denied",
    "expired": "have expired",
    "invalid": "does not accept these credentials",
    "cut": "cut off",
    "slow": "did not answer in time",
}


@pytest.mark.parametrize(
    "arn", ["arn:aws:iam::111122223333:role/ci/deploy", "arn:aws:iam::111122223333:user/kim"]
)
@pytest.mark.parametrize("kind", FAULTS)
def test_any_failure_of_iam_is_a_gap_and_does_not_raise(
    kind: str, arn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Only where nobody is to answer in time: on a busy machine the other answers may take longer.
    monkeypatch.setattr(aws_module, "_READ_SECONDS", 0.2 if kind == "slow" else 30)
    with FakeHistory(faults=[Fault(kind, seconds=0.5)]) as fake:
        role = read_live_role(
            Aws.open({**fake.environment(), "AWS_MAX_ATTEMPTS": "1"}), parse_principal(arn)
        )
    assert not role.is_known
    assert (role.principal, role.policies) == (arn, ())
    assert {gap.kind for gap in role.gaps} == {GapKind.LIVE_ROLE_UNREAD}
    assert all(FAULTS[kind] in gap.detail for gap in role.gaps), role.gaps
    assert all("The other policies are not known" in gap.detail for gap in role.gaps)


ARN = "arn:aws:iam::111122223333:role/ci/deploy"
MANAGED = "arn:aws:iam::111122223333:policy/p"
DOCUMENT = json.dumps(
    {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "sqs:*", "Resource": "*"}}
)


def _no_entity(_: object) -> Mapping[str, Any]:
    raise RefusedError("NoSuchEntity", "It cannot be found.", 404)


def _told(value: Mapping[str, Any]) -> Operation:
    return lambda _: value


def _account(role: str = ARN) -> dict[str, Operation]:
    role_answer = {
        "Path": "/ci/", "RoleName": "deploy", "RoleId": "AROAAAAAAAAAAAAAAAAA", "Arn": role,
        "CreateDate": datetime(2026, 1, 1, tzinfo=UTC), "AssumeRolePolicyDocument": "{}",
    }  # fmt: skip
    return {
        "iam:GetRole": _told({"Role": role_answer}),
        "iam:ListAttachedRolePolicies": _told(
            {"AttachedPolicies": [{"PolicyArn": MANAGED}], "IsTruncated": False}
        ),
        "iam:ListRolePolicies": _told({"PolicyNames": ["own"], "IsTruncated": False}),
        "iam:GetRolePolicy": _told(
            {"RoleName": "deploy", "PolicyName": "own", "PolicyDocument": DOCUMENT}
        ),
        "iam:GetPolicy": _told({"Policy": {"DefaultVersionId": "v1"}}),
        "iam:GetPolicyVersion": _told({"PolicyVersion": {"Document": DOCUMENT}}),
    }


def _live(operations: Mapping[str, Operation], arn: str = ARN) -> LiveRole:
    with FakeAws(operations) as fake:
        role = read_live_role(Aws.open(fake.environment()), parse_principal(arn))
        # What this AWS leaves out of its answers on purpose is against botocore's models.
        fake.violations.clear()
    return role


@pytest.mark.parametrize(
    ("operation", "answer", "left", "text"),
    [
        ("GetPolicy", {"Policy": {}}, ["inline policy own"], "lacks Policy.DefaultVersionId"),
        (
            "GetPolicyVersion",
            {"PolicyVersion": {}},
            ["inline policy own"],
            "lacks PolicyVersion.Document",
        ),
        (
            "ListAttachedRolePolicies",
            {"AttachedPolicies": [{}]},
            ["inline policy own"],
            "lacks a PolicyArn",
        ),
        (
            "ListRolePolicies",
            {"PolicyNames": ["own"], "IsTruncated": True},
            [MANAGED, "inline policy own"],
            "incomplete",
        ),
    ],
)
def test_an_answer_that_lacks_a_part_is_a_gap_and_the_rest_is_read(
    operation: str, answer: Mapping[str, Any], left: list[str], text: str
) -> None:
    role = _live(_account() | {f"iam:{operation}": _told(answer)})
    assert [policy.name for policy in role.policies] == left
    assert len(role.gaps) == 1
    assert text in role.gaps[0].detail


@pytest.mark.parametrize("operation", ["GetPolicy", "GetPolicyVersion"])
def test_a_policy_that_is_deleted_after_the_listing_is_a_gap_that_asks_for_another_run(
    operation: str,
) -> None:
    role = _live(_account() | {f"iam:{operation}": _no_entity})
    [gap] = role.gaps
    assert f"{MANAGED} was deleted while it was read: run again." in gap.detail
    assert not role.missing


def test_a_role_that_is_not_there_is_one_sentence_that_names_the_input() -> None:
    missing = dict.fromkeys(
        ("iam:GetRole", "iam:ListAttachedRolePolicies", "iam:ListRolePolicies"), _no_entity
    )
    role = _live(_account() | missing)
    assert len(role.gaps) == 1
    assert (
        "no role deploy in the account 111122223333: check the input role-arn"
        in role.gaps[0].detail
    )


def test_a_role_with_another_path_is_reported() -> None:
    role = _live(_account(), ARN.replace("ci/", "cd/"))
    assert [f"is {ARN}: check the input role-arn" in gap.detail for gap in role.gaps] == [True]
    assert _live(_account(), ARN.replace("ci/", "")).gaps == ()


def test_the_roles_own_inline_policies_are_known_for_inline_ones() -> None:
    """They share one quota (`size_beside`), and are none of the ten managed policies."""
    role = _live(_account())
    assert {policy.name: policy_kind(policy.document, ARN) for policy in role.policies} == {
        MANAGED: PolicyKind.MANAGED,
        "inline policy own": PolicyKind.INLINE_ROLE,
    }
