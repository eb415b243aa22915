"""A wildcard or a variable that a template or a plan writes out is a character of a name: no need
has it as a pattern.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from leastpriv.declared.declarations import read_stack
from leastpriv.declared.models import Place
from leastpriv.declared.plan import read_plan
from leastpriv.declared.resource_needs import needs_of
from leastpriv.models import Need
from leastpriv.permissions.patterns import escape_observed, has_variable, has_wildcard
from tests.declared.test_plans import change, plan

PLACE = Place("aws", "111122223333", "eu-west-1")
CHARACTERS = ("*", "?", "pro*d", "prod?", "${!aws:username}", "$*")
ROLE = "arn:aws:iam::111122223333:role/"


def needs(resources: dict[str, Any]) -> tuple[Need, ...]:
    template = {
        "Parameters": {"Star": {"Type": "String", "Default": "a*b"}},
        "Conditions": {"C": {"Fn::Equals": [{"Ref": "Star"}, "x"]}},
        "Resources": resources,
    }
    content = json.dumps(template).encode()
    return needs_of(read_stack("shop=t.yaml", {"t.yaml": content}.get, PLACE), PLACE)


def actions(found: tuple[Need, ...]) -> set[str]:
    return {need.permission.action for need in found}


def patterns(found: tuple[Need, ...], service: str) -> set[str]:
    """The resources of a service's needs that match more than one name."""
    return {
        need.permission.resource
        for need in found
        if need.permission.action.startswith(service)
        and (has_wildcard(need.permission.resource) or has_variable(need.permission.resource))
    }


@pytest.mark.parametrize("text", CHARACTERS)
def test_a_name_made_by_a_function_has_no_wildcard_of_the_template(text: str) -> None:
    names: list[object] = [
        {"Fn::Sub": text},
        {"Fn::Sub": [f"${{X}}-{text}", {"X": text}]},
        {"Fn::Join": [text.replace("!", ""), ["a", "b"]]},
        {"Fn::Join": ["", ["a", text.replace("!", "")]]},
        {"Fn::Select": [1, ["a", f"x{text.replace('!', '')}"]]},
        {"Fn::If": ["C", "a", f"x{text.replace('!', '')}"]},
        {"Fn::Sub": "x-${Star}"},
        {"Ref": "Star"},
    ]
    for name in names:
        needs_of_queue = needs(
            {"Q": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": name}}}
        )
        assert needs_of_queue
        assert patterns(needs_of_queue, "sqs:") == set(), name


@pytest.mark.parametrize("text", ["*", "adm*", "adm?", "${aws:username}"])
def test_a_role_and_a_key_in_a_property_have_no_wildcard_of_the_template(text: str) -> None:
    for role in (f"{ROLE}{text}", {"Fn::Join": ["", [ROLE, text]]}):
        properties = {
            "FunctionName": "w",
            "Role": role,
            "Code": {"S3Bucket": "acme-code", "S3Key": "k"},
            "KmsKeyArn": f"arn:aws:kms:eu-west-1:111122223333:key/{text}",
        }
        needs_of_function = needs(
            {"F": {"Type": "AWS::Lambda::Function", "Properties": properties}}
        )
        assert {"iam:PassRole", "kms:Decrypt"} <= actions(needs_of_function), role
        assert patterns(needs_of_function, "kms:") == set()
        assert patterns(needs_of_function, "iam:") == set(), role


def test_what_only_the_deployment_knows_beside_it_is_one_wildcard() -> None:
    name = {"Fn::Join": ["-", ["a*b", {"Fn::ImportValue": "x"}]]}
    needs_of_queue = needs({"Q": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": name}}})
    assert patterns(needs_of_queue, "sqs:") == {"arn:aws:sqs:eu-west-1:111122223333:a${*}b-*"}


@pytest.mark.parametrize("key", ["*", "x*.yaml"])
def test_the_template_of_a_nested_stack_is_one_object(key: str) -> None:
    for host in ("acme-templates.s3.amazonaws.com", "s3.amazonaws.com/acme-templates"):
        nested = {"TemplateURL": f"https://{host}/{key}"}
        needs_of_stack = needs({"S": {"Type": "AWS::CloudFormation::Stack", "Properties": nested}})
        read = [
            need.permission for need in needs_of_stack if need.permission.action == "s3:GetObject"
        ]
        assert [permission.resource for permission in read] == [
            f"arn:aws:s3:::acme-templates/{escape_observed(key)}"
        ]


@pytest.mark.parametrize("text", ["*", "adm*", "adm?", "${aws:username}"])
def test_a_plan_has_no_wildcard_of_a_value(text: str) -> None:
    function = {
        "function_name": "w",
        "role": f"{ROLE}{text}",
        "kms_key_arn": f"arn:aws:kms:eu-west-1:111122223333:key/{text}",
    }
    content = plan(change("aws_lambda_function", ["create"], function))
    plan_needs = needs_of(read_plan(content, "plan.json"), PLACE)
    assert any(need.permission.action == "iam:PassRole" for need in plan_needs)
    assert patterns(plan_needs, "iam:") == set()
    assert patterns(plan_needs, "kms:") == set()
