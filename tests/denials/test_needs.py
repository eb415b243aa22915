"""What a refusal writes: AWS's own word for the resource, where the request does not say the
same.
"""

from __future__ import annotations

import pytest

from leastpriv.denials.needs import IN_OTHER_ACCOUNT, denied_needs, mapping_contradictions
from leastpriv.models import Basis, Denial, DeniedBy, Need, Permission
from leastpriv.permissions.event_table import Verdict
from leastpriv.permissions.mapping import CallNeeds
from tests.fakes.replace import replace

HERE = "eu-west-1:111122223333"
FUNCTION = f"arn:aws:lambda:{HERE}:function:f"
TRANSFORM = "arn:aws:cloudformation:eu-west-1:aws:transform/Serverless-2016-10-31"


def mapped(action: str, *resources: str, exact: bool = True) -> CallNeeds:
    needs = (
        Need(Permission(action, each), Basis.OBSERVED, "named by the request", exact=exact)
        for each in resources
    )
    return CallNeeds(Verdict.MAPPED, action.partition(":")[0], tuple(needs))


def refusal(action: str, resource: str) -> Denial:
    return Denial((action,), resource, "", DeniedBy.IDENTITY, explicit=False, mendable=True)


@pytest.mark.parametrize(
    ("action", "own", "refused"),
    [
        ("lambda:InvokeFunction", FUNCTION, f"{FUNCTION}:prod"),
        ("lambda:InvokeFunction", f"{FUNCTION}:prod", FUNCTION),
        ("cloudformation:CreateChangeSet", f"arn:aws:cloudformation:{HERE}:stack/s/1", TRANSFORM),
        ("s3:GetObject", "arn:aws:s3:::b/k", "arn:aws:s3:::b/other"),
        (
            "ec2:StartInstances",
            f"arn:aws:ec2:{HERE}:instance/i-1",
            f"arn:aws:ec2:{HERE}:new-thing/n-1",
        ),
    ],
)
def test_the_arn_in_awss_message_wins_and_the_contradiction_is_a_gap(
    action: str, own: str, refused: str
) -> None:
    call, denial = mapped(action, own), refusal(action, refused)
    assert [(need.permission.resource, need.exact) for need in denied_needs(call, denial)] == [
        (refused, True)
    ]
    assert mapping_contradictions(call, denial) == (action,)


@pytest.mark.parametrize(
    ("action", "own", "refused"),
    [
        ("s3:GetObject", "arn:aws:s3:::b/a b", "arn:aws:s3:::b/a"),
        ("s3:GetObject", 'arn:aws:s3:::b/a"b', "arn:aws:s3:::b/a"),
        ("s3:GetObject", "arn:aws:s3:::b/k.", "arn:aws:s3:::b/k"),
        ("s3:GetObject", "arn:aws:s3:::b/k", "arn:aws:s3:::b/k"),
        (
            "logs:DeleteLogGroup",
            f"arn:aws:logs:{HERE}:log-group:g:*",
            f"arn:aws:logs:{HERE}:log-group:g:log-stream:",
        ),
    ],
)
def test_a_truncated_name_is_completed_from_the_request(
    action: str, own: str, refused: str
) -> None:
    call, denial = mapped(action, own), refusal(action, refused)
    assert [need.permission.resource for need in denied_needs(call, denial)] == [own]
    assert mapping_contradictions(call, denial) == ()


def test_a_record_may_name_another_account_and_the_need_says_so() -> None:
    other = "arn:aws:sqs:eu-west-1:999988887777:q"
    denial = replace(
        refusal("sqs:SendMessage", other),
        principal="arn:aws:sts::111122223333:assumed-role/deploy/run",
    )
    (need,) = denied_needs(CallNeeds(Verdict.UNMAPPED, ""), denial)
    assert (need.permission.resource, need.exact, need.derivation) == (
        other,
        True,
        IN_OTHER_ACCOUNT,
    )


def test_a_denial_of_one_of_several_resources_needs_all() -> None:
    two = [f"arn:aws:ec2:{HERE}:instance/i-{number}" for number in (1, 2)]
    call, denial = mapped("ec2:StopInstances", *two), refusal("ec2:StopInstances", two[1])
    assert [need.permission.resource for need in denied_needs(call, denial)] == two
    assert mapping_contradictions(call, denial) == ()


def test_a_literal_arn_comes_before_a_type_wildcard() -> None:
    call = mapped(
        "elasticloadbalancing:AddTags",
        f"arn:aws:elasticloadbalancing:{HERE}:loadbalancer/*",
        exact=False,
    )
    group = f"arn:aws:elasticloadbalancing:{HERE}:targetgroup/web/0a1b"
    denial = refusal("elasticloadbalancing:AddTags", group)
    assert [need.permission.resource for need in denied_needs(call, denial)] == [group]
    assert mapping_contradictions(call, denial) == ()


def test_a_pattern_that_aws_and_the_request_agree_on_is_the_resource() -> None:
    """What is not made yet has no id: AWS refuses `loadbalancer/app/web/*`."""
    pattern = f"arn:aws:elasticloadbalancing:{HERE}:loadbalancer/app/web/*"
    call = mapped("elasticloadbalancing:CreateLoadBalancer", pattern, exact=False)
    (need,) = denied_needs(call, refusal("elasticloadbalancing:CreateLoadBalancer", pattern))
    assert (need.permission.resource, need.exact) == (pattern, True)


@pytest.mark.parametrize(
    "resource", ["arn:aws:s3:::*", "arn:aws:sqs:eu-west-1:111122223333:q", "arn:aws:s3"]
)
def test_a_wildcard_or_another_services_arn_gives_no_need(resource: str) -> None:
    call = mapped("s3:GetObject", "arn:aws:s3:::b/k")
    needs = denied_needs(call, refusal("s3:GetObject", resource))
    assert [need.permission.resource for need in needs] == ["arn:aws:s3:::b/k"]
