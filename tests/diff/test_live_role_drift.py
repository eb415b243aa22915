"""Comparison of the policy file with the account by meaning."""

from __future__ import annotations

import json
from typing import Any

import pytest

from leastpriv.diff.compare import Drift, compare_with_live_role
from leastpriv.evidence.live_role import LivePolicy, LiveRole
from leastpriv.models import Gap, GapKind, Scope
from leastpriv.policy.document import Document, parse

ROLE = "arn:aws:iam::111122223333:role/ci/deploy"
QUEUE = "arn:aws:sqs:eu-west-1:111122223333:orders"


def policy(*actions: str, resource: Any = "*", where: str = "iam/deploy.json") -> Document:
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": resource}
    return parse(json.dumps({"Version": "2012-10-17", "Statement": [statement]}).encode(), where)


def live(**policies: Document) -> LiveRole:
    return LiveRole(
        ROLE,
        tuple(LivePolicy(f"inline policy {name}", document) for name, document in policies.items()),
    )


@pytest.mark.parametrize(
    "found",
    [
        policy("sqs:CreateQueue", "sqs:TagQueue"),
        policy("SQS:tagqueue", "sqs:CreateQueue", "sqs:CreateQueue"),
        policy("sqs:CreateQueue", "sqs:TagQueue", resource=["*", QUEUE]),
    ],
)
def test_policies_of_equal_meaning_have_no_drift(found: Document) -> None:
    committed = policy("sqs:CreateQueue", "sqs:TagQueue")
    compared, other_policies = compare_with_live_role(
        committed, [], live(other=policy("s3:GetObject"), x=found)
    )
    assert compared == Drift("inline policy x")
    assert not compared.differs
    assert [policy.name for policy in other_policies] == ["inline policy other"]


def test_a_manual_change_and_an_undeployed_change_are_distinguished() -> None:
    committed = policy("sqs:CreateQueue", "sqs:TagQueue")
    by_hand, _ = compare_with_live_role(
        committed, [], live(x=policy("sqs:CreateQueue", "sqs:TagQueue", "sqs:PurgeQueue"))
    )
    assert by_hand.differs
    assert (by_hand.live_allows, by_hand.file_allows) == (("sqs:PurgeQueue", "*"), None)
    behind, _ = compare_with_live_role(committed, [], live(x=policy("sqs:CreateQueue")))
    assert (behind.live_allows, behind.file_allows) == (None, ("sqs:TagQueue", "*"))


def test_the_counterpart_is_the_policy_named_like_the_file_else_the_most_similar() -> None:
    committed = policy("sqs:CreateQueue", "sqs:TagQueue")
    of_same_name, _ = compare_with_live_role(
        committed, [], live(a=policy("sqs:CreateQueue"), Deploy=policy("s3:GetObject"))
    )
    assert of_same_name.counterpart == "inline policy Deploy"
    likest, other_policies = compare_with_live_role(
        committed, [], live(a=policy("s3:GetObject"), b=policy("sqs:CreateQueue"))
    )
    assert (likest.counterpart, [other_policy.name for other_policy in other_policies]) == (
        "inline policy b",
        ["inline policy a"],
    )


def test_a_policy_with_another_file_is_no_counterpart() -> None:
    logs_policy = policy("logs:PutRetentionPolicy", where="iam/logs.json")
    committed = policy("sqs:CreateQueue")
    compared, other_policies = compare_with_live_role(
        committed, [logs_policy], live(a=policy("logs:PutRetentionPolicy"), b=policy("sqs:*"))
    )
    assert (compared.counterpart, other_policies) == ("inline policy b", ())


def test_a_file_without_counterpart_is_drift_if_all_policies_could_be_read() -> None:
    committed = policy("sqs:CreateQueue")
    nothing, _ = compare_with_live_role(committed, [], LiveRole(ROLE))
    assert nothing.missing
    assert nothing.differs
    unread = LiveRole(ROLE, gaps=(Gap(GapKind.LIVE_ROLE_UNREAD, Scope(), "refused"),))
    unknown, _ = compare_with_live_role(committed, [], unread)
    assert unknown.unknown
    assert not unknown.differs


def test_an_aws_managed_policy_is_no_counterpart() -> None:
    managed = LivePolicy("arn:aws:iam::aws:policy/AdministratorAccess", policy("*"))
    compared, other_policies = compare_with_live_role(
        policy("sqs:CreateQueue"), [], LiveRole(ROLE, (managed,))
    )
    assert compared.missing
    assert other_policies == (managed,)


def test_a_template_is_not_compared_and_causes_no_drift() -> None:
    template = {"R": {"Properties": {"Policies": [{"PolicyDocument": {"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "sqs:CreateQueue", "Resource": {"Fn::GetAtt": ["Queue",
        "Arn"]}}
    ]}}]}}}  # fmt: skip
    committed = parse(
        json.dumps(template).encode(), "t.json", "/R/Properties/Policies/0/PolicyDocument"
    )
    compared, _ = compare_with_live_role(
        committed, [], live(x=policy("sqs:CreateQueue", resource=QUEUE))
    )
    assert (compared.counterpart, compared.differs) == ("inline policy x", False)
    assert "template" in compared.unknown


def denying(document: Document, *actions: str, **more: Any) -> Document:
    """Returns the policy with an additional Deny."""
    value = json.loads(document.to_bytes())
    value["Statement"].append({"Effect": "Deny", "Action": list(actions), "Resource": "*"} | more)
    return parse(json.dumps(value).encode(), document.where)


def test_a_deny_that_only_one_side_has_is_drift() -> None:
    """The Deny also denies what another policy allows."""
    plain = policy("sqs:CreateQueue")
    behind, _ = compare_with_live_role(
        denying(plain, "iam:*"), [], live(x=plain, admin=policy("*"))
    )
    assert (behind.counterpart, behind.file_denies, behind.differs) == (
        "inline policy x",
        ("iam:*", "*"),
        True,
    )
    by_hand, _ = compare_with_live_role(plain, [], live(x=denying(plain, "iam:*")))
    assert (by_hand.live_denies, by_hand.file_denies, by_hand.differs) == (
        ("iam:*", "*"),
        None,
        True,
    )
    difference, _ = compare_with_live_role(
        denying(plain, "iam:Get*", "iam:*"), [], live(x=denying(plain, "iam:*"))
    )
    assert difference == Drift("inline policy x")


def test_a_deny_counts_in_any_policy() -> None:
    plain = policy("sqs:CreateQueue")
    elsewhere, _ = compare_with_live_role(
        denying(plain, "iam:*"),
        [],
        live(deploy=plain, guard=denying(policy("s3:GetObject"), "iam:*")),
    )
    assert not elsewhere.differs


def test_a_missing_deny_is_no_drift_if_a_policy_could_not_be_read() -> None:
    plain = policy("sqs:CreateQueue")
    unread = LiveRole(
        ROLE, live(x=plain).policies, gaps=(Gap(GapKind.LIVE_ROLE_UNREAD, Scope(), "refused"),)
    )
    compared, _ = compare_with_live_role(denying(plain, "iam:*"), [], unread)
    assert not compared.differs


def test_if_a_policy_could_not_be_read_only_name_or_meaning_make_a_counterpart() -> None:
    """Otherwise an unrelated policy would be a drift that no edit of the file removes."""
    committed, wider = policy("sqs:CreateQueue"), policy("sqs:TagQueue", "sqs:CreateQueue")
    unread = (Gap(GapKind.LIVE_ROLE_UNREAD, Scope(), "refused"),)
    compared, other_policies = compare_with_live_role(
        committed, [], LiveRole(ROLE, live(x=wider).policies, gaps=unread)
    )
    assert (compared.differs, compared.counterpart) == (False, "")
    assert compared.unknown == "not all of the account was read"
    assert [other_policy.name for other_policy in other_policies] == ["inline policy x"]
    of_same_name, _ = compare_with_live_role(
        committed, [], LiveRole(ROLE, live(deploy=wider).policies, gaps=unread)
    )
    assert of_same_name.live_allows == ("sqs:TagQueue", "*")


@pytest.mark.parametrize(("is_known", "unlike"), [(True, ("iam/logs.json",)), (False, ())])
def test_another_file_without_counterpart_is_drift(is_known: bool, unlike: tuple[str, ...]) -> None:
    """Its grants would count as granted although the policy is not in force."""
    logs_policy, own_policy = (
        policy("logs:PutRetentionPolicy", where="iam/logs.json"),
        policy("sqs:CreateQueue"),
    )
    gaps = () if is_known else (Gap(GapKind.LIVE_ROLE_UNREAD, Scope(), "refused"),)
    compared, _ = compare_with_live_role(
        own_policy, [logs_policy], LiveRole(ROLE, live(x=own_policy).policies, gaps=gaps)
    )
    assert (compared.counterpart, compared.files_without_counterpart, compared.differs) == (
        "inline policy x",
        unlike,
        bool(unlike),
    )


def test_an_escaped_wildcard_is_no_placeholder() -> None:
    committed = policy("s3:GetObject", resource="arn:aws:s3:::assets/a${*}b")
    compared, _ = compare_with_live_role(
        committed, [], live(x=policy("s3:GetObject", "s3:PutObject", resource="*"))
    )
    assert (compared.unknown, compared.differs) == ("", True)


SEVERAL = """data "aws_iam_policy_document" "queues" {
  statement {
    actions   = ["sqs:CreateQueue"]
    resources = ["*"]
  }
}

resource "aws_iam_role_policy" "topics" {
  policy = jsonencode({ Statement = [{ Effect = "Allow", Action = "sns:Publish", Resource = "*" }] })
}
"""


def test_several_policies_of_a_terraform_folder_are_compared_with_all_of_the_role() -> None:
    addresses = "data.aws_iam_policy_document.queues,aws_iam_role_policy.topics.policy"
    committed = parse(SEVERAL.encode(), "main.tf", addresses)
    managed = LivePolicy("arn:aws:iam::aws:policy/ReadOnlyAccess", policy("s3:Get*"))
    two_policies = live(a=policy("sqs:CreateQueue"), b=policy("sns:Publish"))
    equal, other_policies = compare_with_live_role(
        committed, [], LiveRole(ROLE, (*two_policies.policies, managed))
    )
    assert not equal.differs
    assert other_policies == (managed,)
    wider, _ = compare_with_live_role(
        committed, [], live(a=policy("sqs:CreateQueue", "sqs:PurgeQueue"))
    )
    assert (wider.live_allows, wider.file_allows) == (("sqs:PurgeQueue", "*"), ("sns:Publish", "*"))
