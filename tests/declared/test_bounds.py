"""The promise of bounded work: no template hangs a run or takes its memory, and what is too large is
a state.
"""

from __future__ import annotations

import json
import time
from contextlib import suppress
from typing import Any

import pytest

from leastpriv.declared.declarations import read_stack
from leastpriv.declared.models import Declaration, Place
from leastpriv.declared.resource_needs import needs_of
from leastpriv.errors import TooLargeError
from leastpriv.policy.document import parse
from leastpriv.policy.replay import replay_need
from tests.fakes.deploys import ROLE

PLACE = Place("aws", "111122223333", "eu-west-1")
MOST_SECONDS = 20


def read(template: dict[str, Any] | str, **others: str) -> Declaration:
    """Reads a template and derives its needs, in time."""
    texts = {"t.yaml": template if isinstance(template, str) else json.dumps(template), **others}
    start = time.process_time()
    declaration = read_stack(
        "shop=t.yaml", lambda path: texts[path].encode() if path in texts else None, PLACE
    )
    with suppress(TooLargeError):
        needs_of(declaration, PLACE)
    assert time.process_time() - start < MOST_SECONDS
    return declaration


def queue(name: object) -> dict[str, Any]:
    return {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": name}}


def test_a_chain_of_names_that_doubles_is_short_of_no_memory() -> None:
    resources = {"R0": queue("a")}
    for number in range(1, 60):
        resources[f"R{number}"] = queue({"Fn::Sub": f"${{R{number - 1}.QueueName}}" * 2})
    declaration = read({"Resources": resources})
    assert all(len(resource.name) < 10_000 for resource in declaration.resources)
    assert len(declaration.resources) == 60


def test_a_long_chain_of_names_is_no_error() -> None:
    resources = {"R0": queue("a")}
    for number in range(1, 600):
        resources[f"R{number}"] = queue({"Fn::Sub": f"${{R{number - 1}.QueueName}}-x"})
    assert len(read({"Resources": resources}).resources) == 600


def test_stacks_that_name_themselves_are_refused_with_their_path() -> None:
    nested = "Resources:\n" + "".join(
        f"  {name}: {{Type: AWS::CloudFormation::Stack, Properties: {{TemplateURL: %s}}}}\n"
        for name in ("One", "Two")
    )
    declaration = read(nested % ("a.yaml", "a.yaml"), **{"a.yaml": nested % ("t.yaml", "a.yaml")})
    assert "t.yaml -> a.yaml -> t.yaml is a cycle of nested stacks" in declaration.unknown.values()
    assert "a.yaml -> a.yaml is a cycle of nested stacks" in declaration.unknown.values()


def test_stacks_that_double_at_each_level_are_too_large() -> None:
    files = {}
    for level in range(1, 30):
        files[f"{level}.yaml"] = "Resources:\n" + "".join(
            f"  {name}: {{Type: AWS::CloudFormation::Stack, Properties:"
            f" {{TemplateURL: {level + 1}.yaml}}}}\n"
            for name in ("One", "Two")
        )
    declaration = read(files["1.yaml"], **files)
    assert declaration.resources == ()
    assert "not known: too large" in declaration.unknown["t.yaml"]


def test_loops_that_multiply_are_too_large() -> None:
    body: Any = {"${A}${B}${C}": queue("${A}")}
    values = [str(number) for number in range(300)]
    for name in ("C", "B", "A"):
        body = {f"Fn::ForEach::{name}": [name, values, body]}
    declaration = read({"Transform": "AWS::LanguageExtensions", "Resources": body})
    assert "not known: too large" in declaration.unknown["t.yaml"]


def test_two_resources_that_refer_to_each_other_have_arns() -> None:
    declaration = read(
        {
            "Resources": {
                "A": {
                    "Type": "AWS::ElasticLoadBalancingV2::LoadBalancer",
                    "Properties": {"Subnets": [{"Ref": "B"}]},
                },
                "B": {
                    "Type": "AWS::ElasticLoadBalancingV2::LoadBalancer",
                    "Properties": {"Subnets": [{"Ref": "A"}]},
                },
            }
        }
    )
    assert any(
        need.permission.action == "elasticloadbalancing:CreateLoadBalancer"
        for need in needs_of(declaration, PLACE)
    )


@pytest.mark.parametrize(
    "kind", ["AWS::EC2::LaunchTemplate", "AWS::Lambda::Alias", "AWS::Events::Rule"]
)
def test_resources_that_name_themselves_or_each_other_end(kind: str) -> None:
    values: dict[str, Any] = {"FunctionName": {"Ref": "A"}, "Source": {"Ref": "B"}}
    values |= {
        "Other": {"Fn::GetAtt": ["A", "Arn"]},
        "LaunchTemplateData": {"Source": {"Ref": "A"}},
    }
    resources = {name: {"Type": kind, "Properties": values} for name in ("A", "B", "C")}
    assert len(read({"Resources": resources}).resources) == 3


def test_references_that_double_at_each_level_end() -> None:
    resources: dict[str, Any] = {}
    for number in range(400):
        target = {"Fn::GetAtt": [f"R{number + 1}", "Arn"]}
        resources[f"R{number}"] = {
            "Type": "AWS::Lambda::Alias",
            "Properties": {"FunctionName": target, "Name": "live", "Description": target},
        }
    assert len(read({"Resources": resources}).resources) == 400


def test_a_condition_for_each_value_has_few_variants() -> None:
    conditions = {
        f"C{number}": {"Fn::Equals": [{"Ref": f"P{number}"}, "x"]} for number in range(40)
    }
    tags = [
        {"Fn::If": [name, {"Key": name, "Value": "a"}, {"Key": name, "Value": "b"}]}
        for name in conditions
    ]
    many = {f"Q{number}": queue("a") for number in range(100)}
    for resource in many.values():
        resource["Properties"]["Tags"] = tags
    declaration = read({"Conditions": conditions, "Resources": many})
    assert len(declaration.resources) <= 16 * 100


def test_too_many_resources_are_a_state() -> None:
    resources = {f"Q{number}": {"Type": "AWS::SQS::Queue"} for number in range(20_000)}
    declaration = read({"Resources": resources})
    assert "not known: too large" in declaration.unknown["t.yaml"]


def test_a_name_that_is_longer_than_any_arn_is_not_known() -> None:
    template = {"Resources": {"Long": queue("a" * 3_000), "Short": queue("orders")}}
    declaration = read(template)
    arns = {need.permission.resource for need in needs_of(declaration, PLACE)}
    assert "arn:aws:sqs:eu-west-1:111122223333:orders" in arns
    assert all(len(arn) < 200 for arn in arns)


def test_long_names_of_special_characters_are_replayed_in_little_time() -> None:
    names = [f"b{number}{'`*?$|' * 150}" for number in range(200)]
    declaration = read(
        {"Resources": {f"R{number}": queue(name) for number, name in enumerate(names)}}
    )
    needs = needs_of(declaration, PLACE)
    arns = sorted({need.permission.resource for need in needs if need.exact})
    statement = {"Effect": "Allow", "Action": "*", "Resource": arns}
    document = parse(json.dumps({"Version": "2012-10-17", "Statement": statement}).encode(), "p")
    start = time.process_time()
    effects = {replay_need(need, ROLE, "", [document]) for need in needs if need.exact}
    assert time.process_time() - start < 2
    assert effects == {"allowed"}


@pytest.mark.parametrize(
    "value",
    [
        {"Fn::GetAtt": []},
        {"Fn::GetAtt": [[], {}]},
        {"Fn::Sub": [[], {}]},
        {"Fn::Join": [{"Ref": "R"}, "x"]},
        {"Fn::Select": [-1, ["a"]]},
        {"Fn::Select": [0, {"Fn::Split": ["", "a"]}]},
        {"Fn::FindInMap": ["M", "a", {"Fn::FindInMap": ["M", "a", "b"]}]},
        {"Fn::If": []},
        {"Ref": []},
        {"Fn::Sub": "${" * 100_000},
    ],
)
def test_a_function_with_odd_arguments_has_an_unknown_result(value: object) -> None:
    assert len(read({"Mappings": {"M": "x"}, "Resources": {"R": queue(value)}}).resources) == 1
