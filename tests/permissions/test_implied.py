"""`iam:PassRole` from requests: only where a role is handed to a service."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import pytest

from leastpriv.model import Basis, Call, Need, Outcome
from leastpriv.permissions.implied import implied_needs

PASSED = "arn:aws:iam::111122223333:role/app/task"


def needs(
    service: str,
    name: str,
    parameters: Mapping[str, object],
    *,
    outcome: Outcome = Outcome.ALLOWED,
    error_code: str = "",
    read_only: bool | None = False,
) -> list[Need]:
    made = Call(
        event_id="",
        principal="arn:aws:iam::111122223333:role/ci/deploy",
        session="12345678901",
        time=datetime(2026, 11, 1, tzinfo=UTC),
        account="111122223333",
        region="eu-west-1",
        source=service if "." in service else f"{service}.amazonaws.com",
        name=name,
        parameters=parameters,
        response={},
        resources=(),
        outcome=outcome,
        error_code=error_code,
        read_only=read_only,
    )
    return list(implied_needs(made))


@pytest.mark.parametrize(
    ("service", "name", "parameters"),
    [
        ("lambda", "CreateFunction20150331", {"role": PASSED}),
        ("cloudformation", "CreateStack", {"roleARN": PASSED}),
        ("ecs", "RegisterTaskDefinition", {"executionRoleArn": PASSED, "taskRoleArn": PASSED}),
        ("events", "PutTargets", {"targets": [{"arn": "arn:aws:lambda:r:a:function:f", "roleArn": PASSED}]}),
        ("codebuild", "CreateProject", {"serviceRole": PASSED}),
        ("redshift", "CreateCluster", {"iamRoles": [PASSED]}),
        ("ec2", "CreateFlowLogs", {"CreateFlowLogsRequest": {"DeliverLogsPermissionArn": PASSED}}),
        ("sns", "SetPlatformApplicationAttributes", {"attributes": {"SuccessFeedbackRoleArn": PASSED}}),
        ("s3", "PutBucketReplication", {"ReplicationConfiguration": {"Role": PASSED}}),
    ],
)
def test_a_role_under_a_role_key_of_a_write_is_passed(service: str, name: str, parameters: dict[str, object]) -> None:
    (need,) = needs(service, name, parameters)
    assert (need.permission.action, need.permission.resource) == ("iam:PassRole", PASSED)
    assert need.basis is Basis.INFERRED
    assert need.because.startswith(service)
    assert need.exact


@pytest.mark.parametrize(
    ("service", "name", "parameters"),
    [
        ("sts", "AssumeRole", {"roleArn": PASSED}),
        ("sts.amazonaws.com.cn", "AssumeRole", {"roleArn": PASSED}),
        ("eks", "CreateAccessEntry", {"principalArn": PASSED}),
        ("iam", "CreateRole", {"assumeRolePolicyDocument": f'{{"Principal": {{"AWS": "{PASSED}"}}}}'}),
        ("kms", "PutKeyPolicy", {"policy": f'{{"Principal": {{"AWS": "{PASSED}"}}}}'}),
        ("kms", "CreateGrant", {"granteePrincipal": PASSED}),
        ("lambda", "CreateFunction20150331", {"tags": {"deploy-role": PASSED}}),
        ("lambda", "UpdateFunctionConfiguration20150331v2", {"environment": {"variables": {"ROLE_ARN": PASSED}}}),
        ("cloudformation", "CreateStack", {"parameters": [{"parameterKey": "RoleArn", "parameterValue": PASSED}]}),
        ("lambda", "CreateFunction20150331", {"role": "arn:aws:iam::111122223333:role/*"}),
        ("lambda", "CreateFunction20150331", {"role": f"{PASSED}, and {PASSED}"}),
        ("batch", "CreateJobQueue", {"role": "arn:aws:iam::111122223333:role/aws-service-role/batch.amazonaws.com/X"}),
        ("iam", "AttachRolePolicy", {"roleName": "task", "policyArn": "arn:aws:iam::aws:policy/ReadOnlyAccess"}),
    ],
)
def test_a_role_that_is_only_named_is_not_passed(service: str, name: str, parameters: dict[str, object]) -> None:
    assert needs(service, name, parameters) == []


@pytest.mark.parametrize("outcome", [Outcome.DENIED, Outcome.UNKNOWN])
def test_a_call_that_was_not_allowed_passes_nothing(outcome: Outcome) -> None:
    """A refused call proves no need: whether the role would have been passed is not known."""
    assert needs("lambda", "CreateFunction20150331", {"role": PASSED}, outcome=outcome) == []


def test_a_call_that_failed_after_authorisation_passes_nothing() -> None:
    assert needs("lambda", "CreateFunction20150331", {"role": PASSED}, error_code="ResourceConflictException") == []


def test_a_read_passes_nothing() -> None:
    assert needs("ecs", "DescribeTasks", {"roleArn": PASSED}, read_only=True) == []


def test_a_call_of_unknown_kind_counts_as_a_write() -> None:
    assert len(needs("ecs", "RunTask", {"roleArn": PASSED}, read_only=None)) == 1


def test_an_instance_profile_takes_its_role_by_name() -> None:
    (need,) = needs("iam", "AddRoleToInstanceProfile", {"roleName": "app", "instanceProfileName": "app"})
    assert need.permission.resource == "arn:aws:iam::111122223333:role/app"


def test_each_passed_role_is_one_need() -> None:
    other = PASSED + "-2"
    found = needs(
        "ecs", "RegisterTaskDefinition", {"taskRoleArn": PASSED, "executionRoleArn": other, "x": {"role": other}}
    )
    assert sorted(need.permission.resource for need in found) == [PASSED, other]
