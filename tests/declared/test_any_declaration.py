"""The promise of templates and plans of any form: needs that fit their actions, or one sentence."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from leastpriv.declared.models import Place, Stack
from leastpriv.declared.plan import read_plan
from leastpriv.declared.resource_needs import needs_of
from leastpriv.declared.template import read_template
from leastpriv.errors import InputError
from leastpriv.permissions import catalog
from tests.hypothesis_profiles import examples

PLACE = Place("aws", "111122223333", "eu-west-1")
IDS = ("A", "B", "C")
TYPES = (
    "AWS::SQS::Queue", "AWS::IAM::Role", "AWS::Lambda::Function", "AWS::Lambda::Alias",
    "AWS::EC2::LaunchTemplate", "AWS::AutoScaling::AutoScalingGroup", "AWS::ECS::Service",
    "AWS::ElasticLoadBalancingV2::Listener", "AWS::CloudFormation::Stack", "Custom::Own", "None",
)  # fmt: skip
KEYS = (
    "QueueName", "RoleName", "Role", "FunctionName", "Code", "LaunchTemplate", "Name", "Tags",
    "Fn::If", "Fn::Sub", "Fn::Join", "Fn::GetAtt", "Fn::Select", "Fn::FindInMap", "Ref",
    "Fn::Transform", "Fn::ForEach::L", "Condition", "AssumeRolePolicyDocument", "Parameters",
)  # fmt: skip
TEXTS = st.sampled_from(
    (
        *IDS,
        "x",
        "",
        "*",
        "${A}",
        "${B.Arn}",
        "${!x}",
        "AWS::NoValue",
        "Arn",
        "arn:aws:iam::1:role/r",
    )
)
LEAVES = TEXTS | st.integers(-2, 3) | st.booleans() | st.none()
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=2)
    ),
    max_leaves=12,
)
RESOURCES = st.fixed_dictionaries(
    {"Type": st.sampled_from(TYPES), "Properties": VALUES},
    optional={"Condition": TEXTS, "DeletionPolicy": LEAVES, "Metadata": VALUES},
)


def check(needs: Any) -> None:
    for need in needs:
        assert catalog.spelling(need.permission.action) == need.permission.action
        assert need.permission.resource
        assert need.because


@examples(60)
@given(
    st.dictionaries(st.sampled_from(IDS), RESOURCES, min_size=1),
    st.dictionaries(TEXTS, VALUES, max_size=2),
)
def test_any_template_has_needs_or_is_refused(
    resources: dict[str, Any], conditions: dict[str, Any]
) -> None:
    text = json.dumps({"Resources": resources, "Conditions": conditions, "Mappings": conditions})
    with suppress(InputError):
        read = read_template(text.encode(), "t.json", Stack("shop"), PLACE)
        check(needs_of(read, PLACE))
        check(needs_of(read.whole(), PLACE))


CHANGES = st.fixed_dictionaries(
    {
        "address": st.sampled_from(("aws_sqs_queue.q", 'module.m["a"].aws_lambda_function.f')),
        "type": st.sampled_from(("aws_sqs_queue", "aws_lambda_function", "awscc_sqs_queue")),
        "change": st.fixed_dictionaries(
            {
                "actions": st.lists(
                    st.sampled_from(("create", "update", "delete", "no-op", "read")), max_size=2
                ),
                "before": VALUES,
                "after": VALUES,
                "after_unknown": VALUES,
            }
        ),
    }
)


@examples(60)
@given(st.lists(CHANGES, max_size=3), VALUES)
def test_any_plan_has_needs_or_is_refused(changes: list[Any], configuration: Any) -> None:
    text = json.dumps({"resource_changes": changes, "configuration": configuration})
    with suppress(InputError):
        read = read_plan(text.encode(), "plan.json")
        check(needs_of(read, PLACE))
