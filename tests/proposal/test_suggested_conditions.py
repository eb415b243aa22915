"""Suggested conditions: every recorded call met them, and no statement already has them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from msgspec import structs

from leastpriv.evidence.models import Evidence
from leastpriv.models import Basis, Condition, Need, Outcome, Permission, Usage
from leastpriv.policy.document import parse
from leastpriv.proposal.suggestions import SuggestedCondition, suggested_conditions
from tests.fakes.replace import replace

ROLE = "arn:aws:iam::111122223333:role/ci-deploy"
DAY = datetime(2026, 11, 1, tzinfo=UTC)
RUNS = ("1", "2", "3", "4", "5")
PASSED = Condition("StringEquals", "iam:PassedToService", ("lambda.amazonaws.com",))
VIA = Condition("StringEquals", "kms:ViaService", ("s3.eu-west-1.amazonaws.com",))
CLOUDFORMATION = "cloudformation.amazonaws.com"


def usage(action: str, *conditions: Condition, resource: str = "*", **more: Any) -> Usage:
    need = Need(Permission(action, resource, conditions), Basis.OBSERVED, "test")
    return replace(
        Usage(need, Outcome.ALLOWED, 9, DAY, DAY, RUNS, (), regions=("eu-west-1",)), **more
    )


def offered(
    statement: dict[str, Any], *usages: Usage, runs: int = 5
) -> list[tuple[tuple[str, ...], Condition]]:
    policy = {
        "Version": "2012-10-17",
        "Statement": {"Effect": "Allow", "Resource": "*", **statement},
    }
    document = parse(json.dumps(policy).encode(), "p.json")
    suggestions: tuple[SuggestedCondition, ...] = suggested_conditions(
        document, Evidence(ROLE, usages), runs
    )
    return [(suggestion.actions, suggestion.condition) for suggestion in suggestions]


def region(*values: str) -> Condition:
    return Condition("StringEquals", "aws:RequestedRegion", values)


def test_the_regions_of_all_calls_are_suggested_for_a_grant_on_all_resources() -> None:
    calls = (
        usage("ec2:DescribeVpcs"),
        usage("ec2:DescribeSubnets", regions=("eu-west-1", "us-east-1")),
    )
    assert offered({"Action": "ec2:*"}, *calls) == [
        (("ec2:DescribeVpcs",), region("eu-west-1")),
        (("ec2:DescribeSubnets",), region("eu-west-1", "us-east-1")),
    ]


def test_a_resource_that_names_its_region_and_a_global_service_need_no_condition_on_the_region() -> (
    None
):
    queue = "arn:aws:sqs:eu-west-1:111122223333:orders"
    assert (
        offered(
            {"Action": "sqs:SendMessage", "Resource": queue},
            usage("sqs:SendMessage", resource=queue),
        )
        == []
    )
    assert (
        offered({"Action": "iam:ListRoles"}, usage("iam:ListRoles", regions=("us-east-1",))) == []
    )


def test_the_services_that_a_role_was_passed_to_are_suggested() -> None:
    role = "arn:aws:iam::111122223333:role/worker"
    states = structs.replace(PASSED, values=("states.amazonaws.com",))
    passes = [
        usage("iam:PassRole", PASSED, resource=role),
        usage("iam:PassRole", states, resource=role),
    ]
    together = structs.replace(PASSED, values=("lambda.amazonaws.com", "states.amazonaws.com"))
    assert offered({"Action": "iam:PassRole"}, *passes) == [(("iam:PassRole",), together)]


def test_the_policies_that_runs_attached_are_suggested() -> None:
    role = "arn:aws:iam::111122223333:role/api"
    policies = ("arn:aws:iam::111122223333:policy/own", "arn:aws:iam::aws:policy/ReadOnlyAccess")
    uses = []
    for policy in policies:
        use = usage("iam:AttachRolePolicy", resource=role)
        context = (Condition("ArnEquals", "iam:PolicyARN", (policy,)),)
        uses.append(replace(use, need=replace(use.need, context=context)))
    statement = {"Action": "iam:AttachRolePolicy", "Resource": role}
    condition = Condition("ArnLike", "iam:PolicyARN", policies)
    assert offered(statement, *uses) == [(("iam:AttachRolePolicy",), condition)]
    unknown = usage("iam:AttachRolePolicy", resource=role)
    assert offered(statement, *uses, unknown) == []


def test_one_call_without_a_value_prevents_the_suggestion() -> None:
    assert (
        offered({"Action": "iam:PassRole"}, usage("iam:PassRole", PASSED), usage("iam:PassRole"))
        == []
    )
    assert offered(
        {"Action": "kms:Decrypt", "Resource": "arn:aws:kms:*:*:key/*"}, usage("kms:Decrypt", VIA)
    ) == [(("kms:Decrypt",), VIA)]
    keys = usage("kms:Decrypt", VIA), usage("kms:Decrypt")
    assert offered({"Action": "kms:Decrypt", "Resource": "arn:aws:kms:*:*:key/*"}, *keys) == []


def test_called_via_is_suggested_if_only_cloudformation_made_the_calls() -> None:
    grant = {"Action": "sqs:CreateQueue", "Resource": "arn:aws:sqs:*:*:*"}
    via = usage("sqs:CreateQueue", forwarded_by=(CLOUDFORMATION,), programs=())
    condition = Condition("ForAnyValue:StringEquals", "aws:CalledVia", (CLOUDFORMATION,))
    assert offered(grant, via) == [(("sqs:CreateQueue",), condition)]
    assert offered(grant, replace(via, programs=("",))) == []
    assert offered(grant, via, usage("sqs:CreateQueue")) == []
    # AWS sets the key for only four services.
    assert offered(grant, replace(via, forwarded_by=("codebuild.amazonaws.com",))) == []


def test_too_few_runs_suggest_no_condition() -> None:
    assert (
        offered({"Action": "ec2:DescribeVpcs"}, usage("ec2:DescribeVpcs", runs=("1", "2")), runs=5)
        == []
    )
    assert (
        offered({"Action": "ec2:DescribeVpcs"}, usage("ec2:DescribeVpcs", runs=("1",)), runs=0)
        == []
    )


def test_a_condition_is_not_suggested_for_a_statement_with_the_key_or_a_deny() -> None:
    limited = {
        "Action": "ec2:DescribeVpcs",
        "Condition": {"StringLike": {"AWS:requestedregion": "eu-*"}},
    }
    assert offered(limited, usage("ec2:DescribeVpcs")) == []
    assert (
        offered({"Effect": "Deny", "Action": "ec2:DescribeVpcs"}, usage("ec2:DescribeVpcs")) == []
    )


def test_denied_calls_do_not_affect_suggested_conditions() -> None:
    refused = usage("ec2:DescribeVpcs", outcome=Outcome.DENIED)
    assert offered({"Action": "ec2:DescribeVpcs"}, refused) == []
