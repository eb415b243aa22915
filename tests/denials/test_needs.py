"""What a refusal writes: AWS's own word for the resource, where the request does not say the
same.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leastpriv.denials.encoded_message import Decoder
from leastpriv.denials.message import read_denial
from leastpriv.denials.needs import (
    IN_OTHER_ACCOUNT,
    denied_needs,
    mapping_contradictions,
    recorded_denial,
)
from leastpriv.models import Basis, Call, Denial, DeniedBy, Need, Outcome, Permission
from leastpriv.permissions.event_table import Verdict
from leastpriv.permissions.mapping import CallNeeds
from tests.fakes.replace import replace
from tests.hypothesis_profiles import examples

HERE = "eu-west-1:111122223333"
FUNCTION = f"arn:aws:lambda:{HERE}:function:f"
TRANSFORM = "arn:aws:cloudformation:eu-west-1:aws:transform/Serverless-2016-10-31"


def mapped(action: str, *resources: str, exact: bool = True) -> CallNeeds:
    needs = (
        Need(Permission(action, resource), Basis.OBSERVED, "named by the request", exact=exact)
        for resource in resources
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
    in_other_account = "arn:aws:sqs:eu-west-1:999988887777:q"
    denial = replace(
        refusal("sqs:SendMessage", in_other_account),
        principal="arn:aws:sts::111122223333:assumed-role/deploy/run",
    )
    (need,) = denied_needs(CallNeeds(Verdict.UNMAPPED, ""), denial)
    assert (need.permission.resource, need.exact, need.derivation) == (
        in_other_account,
        True,
        IN_OTHER_ACCOUNT,
    )


def test_a_denial_of_one_of_several_resources_needs_all() -> None:
    instances = [f"arn:aws:ec2:{HERE}:instance/i-{number}" for number in (1, 2)]
    call, denial = (
        mapped("ec2:StopInstances", *instances),
        refusal("ec2:StopInstances", instances[1]),
    )
    assert [need.permission.resource for need in denied_needs(call, denial)] == instances
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


ROLE = "arn:aws:iam::111122223333:role/ci"
SENTENCE = (
    'User: {principal} is not authorized to perform: {action} on resource: "{resource}" because no'
    " identity-based policy allows the {action} action"
)
NAMES = st.lists(
    st.sampled_from([
        "a", "b0", "-", "x/y", "*", "=", "@", "403", "AccessDenied", "forbidden", "api:", "client.",
        "thisoperation", "whencalling", "error", "user", "arn:aws:iam::111122223333:role/x", ".", ":",
    ]),
    min_size=1,
    max_size=5,
).map("".join)  # fmt: skip
ACTIONS = st.sampled_from(
    ["s3:GetObject", "iam:PassRole", "sts:AssumeRoleWithSAML", "nosuch:Action", "lambda:Invoke403"]
)


def denied_call(message: str, code: str) -> Call:
    return Call(
        event_id="",
        principal=ROLE,
        session="run",
        time=datetime(2026, 11, 1, tzinfo=UTC),
        account="111122223333",
        region="eu-west-1",
        source="s3.amazonaws.com",
        name="GetObject",
        parameters={},
        response={},
        resources=(),
        outcome=Outcome.DENIED,
        error_code=code,
        error_message=message,
    )


@examples(300, fast=20)
@given(NAMES, NAMES, ACTIONS, st.sampled_from(["AccessDenied", "VpceAccessDenied"]))
def test_usual_sentences_are_read_alike_whatever_names_they_have(
    session: str, name: str, action: str, code: str
) -> None:
    """They are parsed once for all names."""
    name_of_session = re.sub(r"[/:*]", ".", session)
    principal = f"arn:aws:sts::111122223333:assumed-role/ci/{name_of_session}"
    resource = f"arn:aws:s3:::{name}"
    message = SENTENCE.format(principal=principal, action=action, resource=resource)
    recorded = recorded_denial(denied_call(message, code), ROLE, Decoder(None))
    assert recorded == read_denial(message, error_code=code)
