"""The self-check of the mapping: AWS's refusals name what the event is known to need, or the
mapping is wrong.
"""

from __future__ import annotations

import pytest

from leastpriv.permissions import catalog
from leastpriv.permissions.lifecycle import unknown_refusals
from leastpriv.permissions.mapping import needs_of
from tests.fakes.calls import a_call
from tests.fakes.tables import table


def strange(
    event: str, *refused: str, parameters: dict[str, object] | None = None
) -> tuple[str, ...]:
    call = a_call(event, parameters)
    return unknown_refusals(call.source, call.name, needs_of(call), refused)


@pytest.mark.parametrize(
    ("event", "refused"),
    [
        ("s3:HeadObject", "s3:GetObject"),
        ("s3:PutObject", "s3:putobject"),
        ("lambda:CreateFunction20150331", "lambda:CreateFunction"),
        ("lambda:CreateFunction20150331", "iam:PassRole"),
        ("lambda:CreateFunction20150331", "lambda:TagResource"),
        ("lambda:CreateFunction20150331", "lambda:GetLayerVersion"),
        ("lambda:CreateFunction20150331", "kms:Decrypt"),
        ("cloudformation:DescribeStacks", "cloudformation:ListStacks"),
        ("ec2:RunInstances", "ec2:CreateTags"),
        ("s3:GetObject", "s3:GetObjectVersion"),
        ("rds:RebootDBCluster", "rds:RebootDBInstance"),
        ("ecr:CreatePullThroughCacheRule", "iam:CreateServiceLinkedRole"),
        ("s3:FrobnicateBucket", "s3:FrobnicateBucket"),
    ],
)
def test_a_refusal_of_what_the_event_is_known_to_need_is_no_disagreement(
    event: str, refused: str
) -> None:
    assert strange(event, refused) == ()


@pytest.mark.parametrize(
    ("event", "refused"),
    [
        ("s3:GetObject", "s3:PutObject"),
        ("sqs:CreateQueue", "sns:CreateTopic"),
        ("ec2:RunInstances", "s3:GetObject"),
    ],
)
def test_a_refusal_of_anything_else_is_one(event: str, refused: str) -> None:
    assert strange(event, refused) == (refused,)


def test_what_nobody_can_map_or_no_policy_governs_is_told_otherwise() -> None:
    assert strange("nosuch:DoIt", "s3:GetObject") == ()
    assert strange("sts:AssumeRoleWithWebIdentity", "sts:AssumeRoleWithWebIdentity") == ()


def test_every_dependent_is_in_the_catalogue() -> None:
    for row in table("dependents"):
        for action in (row["action"], *row["dependents"].split(",")):
            assert catalog.spelling(action) == action


@pytest.mark.parametrize(
    ("event", "parameters", "kept"),
    [
        (
            "route53resolver:DeleteResolverEndpoint",
            {},
            ("ec2:DeleteNetworkInterface", "ec2:DescribeNetworkInterfaces"),
        ),
        ("ec2:DescribeLaunchTemplateVersions", {"resolveAlias": True}, ("ssm:GetParameters",)),
        ("ec2:DescribeLaunchTemplateVersions", {"launchTemplateId": "lt-0a1"}, ()),
        (
            "s3:CopyObject",
            {"bucketName": "assets", "key": "a", "x-amz-tagging-directive": "REPLACE"},
            (),
        ),
        (
            "s3:CopyObject",
            {"bucketName": "assets", "key": "a", "x-amz-copy-source": "builds/a"},
            ("s3:GetObjectTagging", "s3:PutObjectTagging"),
        ),
    ],
)
def test_what_aws_may_check_inside_a_call_is_kept_while_the_call_is_made(
    event: str, parameters: dict[str, object], kept: tuple[str, ...]
) -> None:
    assert needs_of(a_call(event, parameters)).kept == kept
