"""Which resources a principal's own runs made: only these may lose the ids that AWS chose."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from msgspec import structs

from leastpriv.evidence.created_resources import creating_usages, find_created_resources
from leastpriv.models import Basis, Need, Outcome, Permission, Usage
from leastpriv.permissions.lifecycle import created_types
from tests.fakes.replace import replace

TIME = datetime(2026, 11, 1, tzinfo=UTC)
VPC = "arn:aws:ec2:eu-west-1:111122223333:vpc/vpc-0a1b2c3d4e5f60718"


def usage(action: str, resource: str, event: str, runs: str, **fields: object) -> Usage:
    need = Need(Permission(action, resource), Basis.OBSERVED, "")
    return Usage(need, Outcome.ALLOWED, 1, TIME, TIME, tuple(runs.split()), (event,), **fields)  # type: ignore[arg-type]


def created(event: str, runs: str, action: str = "ec2:CreateVpc", **fields: object) -> Usage:
    return usage(action, "*", f"ec2.amazonaws.com:{event}", runs, **fields)


@pytest.mark.parametrize(
    ("making", "used_in", "made"),
    [
        (created("CreateVpc", "7 9"), "7 8", True),
        (created("CreateVpc", "8 9"), "7 8", False),
        (created("CreateVpc", "7"), "7 8", False),
        (created("CreateVpc", "7 9"), "7 8 9", False),
        (created("CreateVpc", "7 9", succeeded=False), "7", False),
        (created("CreateSubnet", "7 9", "ec2:CreateSubnet"), "7", False),
        (created("DescribeVpcs", "7 9", "ec2:DescribeVpcs"), "7", False),
    ],
    ids=[
        "in its first run",
        "only later",
        "once",
        "each run the same",
        "in vain",
        "something else",
        "nothing",
    ],
)
def test_a_resource_may_be_created_by_the_first_run_that_used_it(
    making: Usage, used_in: str, made: bool
) -> None:
    using = usage("ec2:DeleteVpc", VPC, "ec2.amazonaws.com:DeleteVpc", used_in)
    assert find_created_resources([making, using]).is_created(using) is made


def test_a_resource_that_another_action_used_before_was_not_created() -> None:
    """The run that made a VPC was the first to delete this one, but a run before had described
    it.
    """
    making = created("CreateVpc", "7 9")
    before = replace(
        usage("ec2:DescribeVpcAttribute", VPC, "ec2.amazonaws.com:DescribeVpcAttribute", "6"),
        first_seen=TIME - timedelta(days=1),
    )
    using = usage("ec2:DeleteVpc", VPC, "ec2.amazonaws.com:DeleteVpc", "7")
    assert find_created_resources([making, using]).is_created(using)
    assert not find_created_resources([making, using, before]).is_created(using)


def test_an_id_in_a_response_was_created_whichever_run_used_it_first() -> None:
    """The run that made a gateway had no other call about it; a later one changed it."""
    api, other_api = (
        f"arn:aws:apigateway:eu-west-1::/restapis/{name}" for name in ("332d27d7", "471702ed")
    )
    apis = "arn:aws:apigateway:eu-west-1::/restapis"
    making = usage(
        "apigateway:POST",
        apis,
        "apigateway.amazonaws.com:CreateRestApi",
        "1 4",
        made=("332d27d7",),
    )
    using, strange = (
        usage("apigateway:PATCH", api_arn, "apigateway.amazonaws.com:UpdateRestApi", "3")
        for api_arn in (api, other_api)
    )
    assert find_created_resources([making, using]).is_created(using)
    assert not find_created_resources([making, strange]).is_created(strange)
    once = replace(making, runs=("1",))
    assert not find_created_resources([once, using]).is_created(using)
    elsewhere = replace(
        making, need=structs.replace(making.need, permission=Permission("ec2:CreateVpc", "*"))
    )
    assert not find_created_resources([elsewhere, using]).is_created(using)


def test_what_one_run_created_and_any_run_deleted_has_another_id_next_time_for_every_action() -> (
    None
):
    pool = "arn:aws:cognito-idp:eu-west-1:111122223333:userpool/eu-west-1_AbCdEfGhI"
    source = "cognito-idp.amazonaws.com"
    making = usage(
        "cognito-idp:CreateUserPool",
        "*",
        f"{source}:CreateUserPool",
        "4",
        made=("eu-west-1_AbCdEfGhI",),
    )
    reading = usage("cognito-idp:DescribeUserPool", pool, f"{source}:DescribeUserPool", "4 5 9")
    deleting = usage("cognito-idp:DeleteUserPool", pool, f"{source}:DeleteUserPool", "9")
    emptying = usage(
        "cognito-idp:DeleteUserPoolClient", pool, f"{source}:DeleteUserPoolClient", "9"
    )
    assert find_created_resources([making, reading, deleting]).is_created(reading)
    assert not find_created_resources([making, reading, emptying]).is_created(reading)


@pytest.mark.parametrize(
    ("action", "event", "resource"),
    [
        ("ec2:RunInstances", "RunInstances", "arn:aws:ec2:eu-west-1:111122223333:instance/i-1"),
        (
            "cloudfront:CreateDistribution",
            "CreateDistributionWithTags",
            "arn:aws:cloudfront::111122223333:distribution/E1",
        ),
        ("route53:CreateHostedZone", "CreateHostedZone", "arn:aws:route53:::hostedzone/Z1"),
        ("apigateway:POST", "CreateRestApi", "arn:aws:apigateway:eu-west-1::/restapis/a1"),
    ],
)
def test_the_type_is_read_off_the_event(action: str, event: str, resource: str) -> None:
    making = usage(action, "*", f"x.amazonaws.com:{event}", "7 8")
    using = usage(action.partition(":")[0] + ":Any", resource, "x.amazonaws.com:Any", "7")
    assert find_created_resources([making, using]).is_created(using)


@pytest.mark.parametrize(
    ("prefix", "event", "kinds"),
    [
        ("ec2", "RunInstances", ("instance", "network-interface", "volume")),
        ("ec2", "StartInstances", ()),
        ("rds", "StartDBInstance", ()),
        ("glue", "StartCrawler", ()),
        ("synthetics", "StartCanary", ()),
        ("secretsmanager", "RestoreSecret", ()),
        ("config", "StartConfigurationRecorder", ()),
        ("states", "StartExecution", ("execution",)),
        ("codebuild", "StartBuild", ("build",)),
        ("", "StartInstances", ()),
        ("nosuchservice", "StartInstances", ()),
    ],
)
def test_to_start_what_another_call_makes_is_not_to_make_it(
    prefix: str, event: str, kinds: tuple[str, ...]
) -> None:
    """Two instances that were started each by a run are no reason to open the termination of
    all.
    """
    assert created_types(prefix, event) == kinds


def test_unreviewed_runs_do_not_count_as_creators() -> None:
    """One that makes a VPC and touches another one first would open all of them for what a reviewed
    run needs.
    """
    making = created("CreateVpc", "1 2")
    using = usage("ec2:DeleteVpc", VPC, "ec2.amazonaws.com:DeleteVpc", "1 3")
    assert find_created_resources([making, using]).is_created(using)
    assert find_created_resources([making, using], reviewed={"1", "2", "3"}).is_created(using)
    assert not find_created_resources([making, using], reviewed={"2", "3"}).is_created(using)
    creation = replace(making, runs=("2", "3", "4"), made=("vpc-0a1b2c3d4e5f60718",))
    assert find_created_resources([creation, using], reviewed={"2", "3", "4"}).is_created(using)
    assert not find_created_resources([creation, using], reviewed={"3", "4"}).is_created(using)


def test_the_makers_of_what_others_use_are_those_of_its_type() -> None:
    vpc, group = (
        created("CreateVpc", "1"),
        created("CreateSecurityGroup", "2", "ec2:CreateSecurityGroup"),
    )
    using = usage("ec2:DeleteVpc", VPC, "ec2.amazonaws.com:DeleteVpc", "3")
    assert creating_usages([vpc, group, using], [using]) == [vpc]
    assert (
        creating_usages(
            [vpc, using],
            [usage("sts:GetCallerIdentity", "*", "sts.amazonaws.com:GetCallerIdentity", "3")],
        )
        == []
    )
