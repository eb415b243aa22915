"""A proposal is simulated under the account's SCPs and the role's boundary, where the reader may
read them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from leastpriv.aws.arns import parse_principal
from leastpriv.aws.session import Aws
from leastpriv.aws_checks.simulate import (
    OuterPolicies,
    SimulatedPolicies,
    read_outer_policies,
    simulate,
)
from leastpriv.models import Permission
from leastpriv.policy.document import parse
from leastpriv.proposal.models import CheckResult, Severity
from leastpriv.proposal.proof import NeedDecision
from tests.fakes.aws.organization import FULL_ACCESS, Organization
from tests.fakes.aws.policy_checks import PolicyChecks
from tests.fakes.aws.server import Asked, RefusedError

ROLE = "arn:aws:iam::111122223333:role/ci/deploy"
BOUNDARY = "arn:aws:iam::111122223333:policy/limit"
QUEUE, TOPIC = (
    "arn:aws:sqs:eu-west-1:111122223333:orders",
    "arn:aws:sns:eu-west-1:111122223333:orders",
)
NO_QUEUES = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Deny", "Action": "sqs:*", "Resource": "*"}],
}
ONLY_QUEUES = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "sqs:*", "Resource": "*"}],
}
NEEDS = [NeedDecision(Permission(action, arn), "eu-west-1", "allowed", None, None) for action, arn in
         (("sqs:SendMessage", QUEUE), ("sns:Publish", TOPIC))]  # fmt: skip
LEVELS = ["r-abcd", "ou-abcd-11111111", "111122223333"]


@pytest.fixture
def organization() -> Organization:
    return Organization(policies={"p-FullAWSAccess": FULL_ACCESS, "p-noqueues": NO_QUEUES})


@pytest.fixture
def aws(organization: Organization) -> Iterator[PolicyChecks]:
    with PolicyChecks() as running:
        running.operations |= organization.operations()
        running.operations |= {"iam:GetPolicy": _policy, "iam:GetPolicyVersion": _version}
        yield running


def _policy(_: Asked) -> Mapping[str, Any]:
    return {"Policy": {"DefaultVersionId": "v2", "Arn": BOUNDARY}}


def _version(asked: Asked) -> Mapping[str, Any]:
    assert asked.parameters["VersionId"] == "v2"
    return {"PolicyVersion": {"Document": json.dumps(ONLY_QUEUES), "VersionId": "v2"}}


def outer(aws: PolicyChecks, boundary: str = "") -> OuterPolicies:
    return read_outer_policies(
        Aws.open(aws.environment(attempts=1)), parse_principal(ROLE), boundary, organization=True
    )


def simulated(aws: PolicyChecks, policies: OuterPolicies) -> CheckResult:
    document = parse(json.dumps(FULL_ACCESS).encode(), "p.json")
    return simulate(
        Aws.open(aws.environment()), SimulatedPolicies([document], "p.json", policies), NEEDS, ROLE
    )


@pytest.mark.parametrize("level", LEVELS)
def test_a_used_action_that_an_scp_of_any_level_denies_is_reported(
    aws: PolicyChecks, organization: Organization, level: str
) -> None:
    organization.attached = {level: ["p-noqueues"]}
    policies = outer(aws)
    assert [len(scps) for scps in policies.scps] == [
        1 + (level_name == level) for level_name in LEVELS
    ]
    check = simulated(aws, policies)
    assert [(finding.severity, finding.text) for finding in check.findings] == [
        (
            Severity.WARNING,
            (
                f"sqs:SendMessage on {QUEUE} is used, and a service control policy of the"
                " organization denies it now: no grant helps."
            ),
        )
    ]
    (request,) = aws.asked("SimulateCustomPolicy")[:1]
    assert len(request["OrderedOrganizationPolicyInputList"]) == 3


def test_a_used_action_outside_the_boundary_is_reported(aws: PolicyChecks) -> None:
    check = simulated(aws, outer(aws, BOUNDARY))
    assert [finding.text for finding in check.findings] == [
        f"sns:Publish on {TOPIC} is used, and the permissions boundary of the principal denies it"
        " now: no grant helps."
    ]


def test_within_the_limits_there_is_no_finding(aws: PolicyChecks) -> None:
    assert simulated(aws, outer(aws)).findings == ()


def test_scps_are_not_known_without_the_root(aws: PolicyChecks, organization: Organization) -> None:
    organization.parents["ou-abcd-11111111"] = "ou-abcd-22222222"
    organization.parents["ou-abcd-22222222"] = "ou-abcd-11111111"
    assert (outer(aws).scps, "names no root" in outer(aws).unread[0]) == ((), True)


def test_no_scp_limits_the_management_account(
    aws: PolicyChecks, organization: Organization
) -> None:
    arn = "arn:aws:organizations::111122223333:policy/o-abcde12345/service_control_policy/p-noqueues01"
    organization.attached = {"r-abcd": ["p-noqueues"]}
    described = aws.operations["organizations:DescribePolicy"]
    aws.operations["organizations:DescribePolicy"] = lambda asked: {
        "Policy": {**described(asked)["Policy"], "PolicySummary": {"Arn": arn}}
    }
    assert outer(aws).scps == ()


@pytest.mark.parametrize("level", LEVELS)
def test_the_rcps_of_each_level_are_read_too(
    aws: PolicyChecks, organization: Organization, level: str
) -> None:
    organization.rcps = {level: ["p-noqueues"]}
    outer_policies = outer(aws)
    names = {scope.name: [rcp.name for rcp in scope.rcps] for scope in outer_policies.levels}
    expected = {level_name: ["p-RCPFullAWSAccess"] for level_name in LEVELS}
    expected[level].append("p-noqueues")
    assert (names, outer_policies.unread) == (expected, ())
    assert simulated(aws, outer_policies).findings == ()


def test_rcps_that_may_not_be_read_are_said_and_the_scps_remain(
    aws: PolicyChecks, organization: Organization
) -> None:
    original_listing = aws.operations["organizations:ListPoliciesForTarget"]
    organization.attached = {"r-abcd": ["p-noqueues"]}

    def scps_only(asked: Asked) -> Mapping[str, Any]:
        if asked.parameters["Filter"] == "RESOURCE_CONTROL_POLICY":
            raise RefusedError("AccessDeniedException", "no")
        return original_listing(asked)

    aws.operations["organizations:ListPoliciesForTarget"] = scps_only
    outer_policies = outer(aws)
    assert [len(level.scps) for level in outer_policies.levels] == [2, 1, 1]
    assert [level.rcps for level in outer_policies.levels] == [(), (), ()]
    assert outer_policies.unread[0].startswith(
        "The resource control policies of the account are not known"
    )


@pytest.mark.parametrize("code", ["AccessDeniedException", "AWSOrganizationsNotInUseException"])
def test_scps_that_may_not_be_read_are_said_and_the_simulation_does_without(
    aws: PolicyChecks, code: str
) -> None:
    aws.refuse("ListParents", code, "no")
    policies = outer(aws)
    assert (
        policies.scps,
        policies.unread[0].startswith("The service control policies of the account"),
    ) == ((), True)
    assert simulated(aws, policies).findings == ()
    assert "OrderedOrganizationPolicyInputList" not in aws.asked("SimulateCustomPolicy")[0]


def test_one_scp_that_may_not_be_read_leaves_out_all(aws: PolicyChecks) -> None:
    aws.refuse("DescribePolicy", "AccessDeniedException", "no")
    assert outer(aws).scps == ()


def test_without_the_input_no_request_is_made(aws: PolicyChecks) -> None:
    outer_policies = read_outer_policies(
        Aws.open(aws.environment()), parse_principal(ROLE), "", organization=False
    )
    assert (outer_policies, aws.requests) == (OuterPolicies(), [])


def test_a_boundary_that_may_not_be_read_is_said(aws: PolicyChecks) -> None:
    aws.refuse("GetPolicyVersion", "AccessDenied", "no", 403)
    policies = outer(aws, BOUNDARY)
    assert policies.boundary == ""
    assert policies.unread[0].startswith(
        "The permissions boundary is not known: AWS denied iam:GetPolicyVersion"
    )
    assert simulated(aws, policies).skipped_sources == policies.unread


def test_throttled_requests_are_repeated(aws: PolicyChecks) -> None:
    aws.refuse("ListParents", "TooManyRequestsException", "slow down", times=1)
    outer_policies = read_outer_policies(
        Aws.open(aws.environment(attempts=3)), parse_principal(ROLE), "", organization=True
    )
    assert len(outer_policies.scps) == 3
