"""`iam:PassRole` from requests: only where a role is handed to a service, and on that role
alone.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from leastpriv.models import Basis, Call, GapKind, Need, Outcome
from leastpriv.permissions.mapping import needs_of
from tests.fakes.calls import a_call, inferred
from tests.fakes.tables import table

PASSED = "arn:aws:iam::111122223333:role/app/task"
ELSEWHERE = "arn:aws:iam::444455556666:role/app/task"


def passed(call: Call) -> list[Need]:
    return [need for need in inferred(call) if need.permission.action == "iam:PassRole"]


def may_pass(call: Call) -> bool:
    return any(gap.kind is GapKind.MAY_PASS_ROLE for gap in needs_of(call).gaps)


@pytest.mark.parametrize(
    ("event", "parameters"),
    [
        ("lambda:CreateFunction20150331", {"role": PASSED}),
        ("cloudformation:CreateStack", {"roleARN": PASSED}),
        ("ecs:RegisterTaskDefinition", {"executionRoleArn": PASSED, "taskRoleArn": PASSED}),
        (
            "events:PutTargets",
            {"targets": [{"arn": "arn:aws:lambda:r:a:function:f", "roleArn": PASSED}]},
        ),
        ("codebuild:CreateProject", {"serviceRole": PASSED}),
        ("redshift:CreateCluster", {"iamRoles": [PASSED]}),
        ("ec2:CreateFlowLogs", {"CreateFlowLogsRequest": {"DeliverLogsPermissionArn": PASSED}}),
        (
            "sns:SetPlatformApplicationAttributes",
            {"attributes": {"SuccessFeedbackRoleArn": PASSED}},
        ),
        (
            "sns:SetTopicAttributes",
            {"attributeName": "SQSSuccessFeedbackRoleArn", "attributeValue": PASSED},
        ),
        ("s3:PutBucketReplication", {"ReplicationConfiguration": {"Role": PASSED}}),
        ("qbusiness:CreateDataAccessor", {"principal": PASSED}),
        (
            "cognito-identity:SetIdentityPoolRoles",
            {"identityPoolId": "eu-west-1:1", "roles": {"authenticated": PASSED}},
        ),
        ("cognito-identity:SetIdentityPoolRoles", {"roles": {"unauthenticated": PASSED}}),
    ],
)
def test_a_role_that_a_write_hands_to_a_service_is_passed(
    event: str, parameters: dict[str, object]
) -> None:
    (need,) = passed(a_call(event, parameters))
    assert (need.permission.action, need.permission.resource) == ("iam:PassRole", PASSED)
    assert need.basis is Basis.INFERRED
    assert need.because.startswith(event.partition(":")[0])
    assert need.exact


@pytest.mark.parametrize(
    ("event", "parameters"),
    [
        ("sts:AssumeRole", {"roleArn": PASSED}),
        ("sts.amazonaws.com.cn:AssumeRole", {"roleArn": PASSED}),
        ("eks:CreateAccessEntry", {"principalArn": PASSED}),
        ("iam:CreateRole", {"assumeRolePolicyDocument": f'{{"Principal": {{"AWS": "{PASSED}"}}}}'}),
        ("kms:PutKeyPolicy", {"policy": f'{{"Principal": {{"AWS": "{PASSED}"}}}}'}),
        ("kms:CreateGrant", {"granteePrincipal": PASSED}),
        ("lambda:CreateFunction20150331", {"tags": {"deploy-role": PASSED}}),
        (
            "lambda:UpdateFunctionConfiguration20150331v2",
            {"environment": {"variables": {"ROLE_ARN": PASSED}}},
        ),
        (
            "cloudformation:CreateStack",
            {"parameters": [{"parameterKey": "RoleArn", "parameterValue": PASSED}]},
        ),
        ("lambda:CreateFunction20150331", {"role": "arn:aws:iam::111122223333:role/*"}),
        ("lambda:CreateFunction20150331", {"role": f"{PASSED}, and {PASSED}"}),
        ("lambda:CreateFunction20150331", {"role": ELSEWHERE}),
        (
            "batch:CreateJobQueue",
            {"role": "arn:aws:iam::111122223333:role/aws-service-role/batch.amazonaws.com/X"},
        ),
        (
            "iam:AttachRolePolicy",
            {"roleName": "task", "policyArn": "arn:aws:iam::aws:policy/ReadOnlyAccess"},
        ),
        (
            "securityhub:BatchImportFindings",
            {"findings": [{"resources": [{"details": {"role": PASSED}}]}]},
        ),
        ("bedrock:Converse", {"messages": [{"role": "user"}]}),
        ("lambda:CreateFunction20150331", {"role": "task"}),
    ],
)
def test_a_role_that_is_only_named_is_not_passed(event: str, parameters: dict[str, object]) -> None:
    assert passed(a_call(event, parameters)) == []


@pytest.mark.parametrize(
    ("event", "parameters", "resource"),
    [
        ("iam:AddRoleToInstanceProfile", {"roleName": "app", "instanceProfileName": "app"}, "app"),
        ("ecs:RegisterTaskDefinition", {"taskRoleArn": "task"}, "task"),
        ("glue:CreateJob", {"name": "job", "role": "service-role/glue"}, "service-role/glue"),
        ("ssm:CreateActivation", {"iamRole": "SSMServiceRole"}, "SSMServiceRole"),
        ("elasticmapreduce:RunJobFlow", {"serviceRole": "EMR_DefaultRole"}, "EMR_DefaultRole"),
    ],
)
def test_a_name_is_a_role_of_the_own_account_where_the_parameter_takes_names(
    event: str, parameters: dict[str, object], resource: str
) -> None:
    (need,) = passed(a_call(event, parameters))
    assert need.permission.resource == f"arn:aws:iam::111122223333:role/{resource}"


def test_a_name_that_is_no_name_of_a_role_is_none() -> None:
    assert passed(a_call("glue:CreateJob", {"role": "*"})) == []
    assert passed(a_call("glue:CreateJob", {"role": "a b"})) == []


def test_the_partition_is_the_callers_own() -> None:
    (need,) = passed(a_call("glue:CreateJob", {"role": "glue"}, partition="aws-cn"))
    assert need.permission.resource == "arn:aws-cn:iam::111122223333:role/glue"


@pytest.mark.parametrize("outcome", [Outcome.DENIED, Outcome.UNKNOWN])
def test_a_call_that_was_not_allowed_passes_nothing(outcome: Outcome) -> None:
    """A refused call proves no need: whether the role would have been passed is not known."""
    call = a_call("lambda:CreateFunction20150331", {"role": PASSED}, outcome=outcome)
    assert passed(call) == []


def test_a_call_that_failed_after_authorisation_passes_nothing() -> None:
    assert (
        passed(
            a_call(
                "lambda:CreateFunction", {"role": PASSED}, error_code="ResourceConflictException"
            )
        )
        == []
    )


def test_a_read_passes_nothing() -> None:
    assert passed(a_call("ecs:DescribeTasks", {"roleArn": PASSED}, read_only=True)) == []


def test_a_call_of_unknown_kind_counts_as_a_write() -> None:
    assert len(passed(a_call("ecs:RunTask", {"roleArn": PASSED}, read_only=None))) == 1


def test_each_passed_role_is_one_need() -> None:
    second_role = PASSED + "-2"
    call = a_call(
        "ecs:RegisterTaskDefinition",
        {"taskRoleArn": PASSED, "executionRoleArn": second_role, "x": {"role": second_role}},
    )
    assert sorted(need.permission.resource for need in passed(call)) == [PASSED, second_role]


def test_the_service_that_a_role_is_passed_to_comes_from_aws_and_never_from_the_prefix() -> None:
    (passing,) = passed(a_call("ecs:RegisterTaskDefinition", {"taskRoleArn": PASSED}))
    assert [(condition.key, condition.values) for condition in passing.permission.conditions] == [
        ("iam:PassedToService", ("ecs-tasks.amazonaws.com",))
    ]
    (started,) = passed(a_call("ecs:RunTask", {"overrides": {"taskRoleArn": PASSED}}))
    assert [condition.values for condition in started.permission.conditions] == [
        ("ecs-tasks.amazonaws.com",)
    ]
    volume = {"managedEBSVolume": {"roleArn": PASSED}}
    (manages,) = passed(a_call("ecs:RunTask", {"volumeConfigurations": [volume]}))
    assert [condition.values for condition in manages.permission.conditions] == [
        ("ecs.amazonaws.com",)
    ]
    (built,) = passed(a_call("codebuild:CreateProject", {"serviceRole": PASSED}))
    assert [condition.values for condition in built.permission.conditions] == [
        ("codebuild.amazonaws.com",)
    ]
    (access,) = passed(
        a_call(
            "apprunner:CreateService", {"authenticationConfiguration": {"accessRoleArn": PASSED}}
        )
    )
    assert {"bullet.amazonaws.com", "build.apprunner.amazonaws.com"} <= {
        *access.permission.conditions[0].values
    }
    (unknown,) = passed(a_call("ecs:FrobnicateThing", {"serviceRole": PASSED}))
    assert unknown.permission.conditions == ()


@pytest.mark.parametrize(
    ("event", "parameters"),
    [
        ("ec2:RunInstances", {"iamInstanceProfile": {"name": "app"}}),
        ("ec2:RunInstances", {"launchTemplate": {"launchTemplateId": "lt-1"}}),
        ("autoscaling:CreateAutoScalingGroup", {"launchTemplate": {"version": "1"}}),
        ("ecs:RunTask", {"taskDefinition": "app:3"}),
        ("cloudformation:DeleteStack", {"stackName": "app"}),
        ("elasticmapreduce:RunJobFlow", {"jobFlowRole": "EMR_EC2_DefaultRole"}),
    ],
)
def test_a_role_that_the_request_does_not_name_is_a_gap_over_pass_role_alone(
    event: str, parameters: dict[str, object]
) -> None:
    (gap,) = needs_of(a_call(event, parameters)).gaps
    assert gap.kind is GapKind.MAY_PASS_ROLE
    assert (gap.scope.actions, gap.scope.services) == (("iam:PassRole",), ())
    assert passed(a_call(event, parameters)) == []


@pytest.mark.parametrize(
    "call",
    [
        a_call("ec2:RunInstances", {"imageId": "ami-1"}),
        a_call("ec2:RunInstances", {"iamInstanceProfile": {"name": "app"}}, outcome=Outcome.DENIED),
        a_call("ec2:DescribeInstances", {"iamInstanceProfile": {"name": "app"}}, read_only=True),
        a_call("cloudformation:DeleteStack", {"stackName": "app", "roleARN": PASSED}),
        a_call("ecs:UpdateService", {"service": "app", "desiredCount": 2}),
    ],
    ids=lambda call: call.name,
)
def test_a_call_that_passes_no_unnamed_role_is_no_gap(call: Call) -> None:
    assert not may_pass(call)


def test_every_operation_of_the_tables_is_a_real_one() -> None:
    """A row that nothing reaches would be a role that is forgotten."""
    import botocore.session

    from leastpriv.permissions.event_table import Verdict, map_event

    session = botocore.session.get_session()
    loader = session.get_component("data_loader")
    operations = {
        row["operation"] for name in ("roles", "passed_to", "tags_on_create") for row in table(name)
    }
    models = {
        "bedrock-agentcore": "bedrock-agentcore-control", "cloudwatch": "cloudwatch",
        "elasticmapreduce": "emr",
        "elasticfilesystem": "efs", "ssm-incidents": "ssm-incidents",
        "sms-voice": "pinpoint-sms-voice-v2",
        "health-agent": "connecthealth", "discovery": "discovery", "s3": "s3control",
        "elasticloadbalancing": "elbv2",
        "apigateway": "apigatewayv2", "chime": "chime-sdk-media-pipelines",
    }  # fmt: skip
    strange = []
    for operation in sorted(operations):
        prefix, _, name = operation.partition(":")
        event = map_event(f"{prefix}.amazonaws.com", name)
        if name == "*" or event.verdict in (Verdict.MAPPED, Verdict.BY_REQUEST):
            continue
        model = loader.load_service_model(models.get(prefix, prefix), "service-2")
        if name not in model["operations"]:
            strange.append(operation)
    assert strange == []


NOT_ROLES = {
    "kendra:CreateIndex": "a secret's ARN, under a shape that other members use for roles",
    "kendra:UpdateIndex": "a secret's ARN",
    "budgets:CreateBudgetAction": (
        "names of roles that a policy is attached to; no service is handed one"
    ),
    "budgets:UpdateBudgetAction": "names of roles that a policy is attached to",
    "eks:CreateAccessEntry": "a role that may use the cluster",
    "bedrock:CountTokens": "who speaks in a conversation",
    "quicksight:CreateDataSet": "what a column means on a map",
    "quicksight:UpdateDataSet": "what a column means on a map",
    "iam:CreateInstanceProfile": "the profile has no role yet",
    "iam:DeleteInstanceProfile": "the profile goes",
    "iam:RemoveRoleFromInstanceProfile": "a role is taken out",
    "iotthingsgraph:CreateSystemInstance": (
        "a retired service without actions: a gap over everything"
    ),
    "securityhub:BatchImportFindings": "roles of the resources that findings are about",
}
"""Operations of the survey whose parameter hands no role to a service, and why."""


def test_every_role_carrying_parameter_of_the_survey_gives_its_role_or_the_gap(
    shared_folder: Path,
) -> None:
    """All 1,570 of botocore 1.43.121 (2026-10-28): an ARN at the parameter's place is passed, a
    profile is a gap.
    """
    missed = []
    checked = 0
    for line in (
        (shared_folder / "data" / "passrole.tsv").read_text(encoding="utf-8").splitlines()[1:]
    ):
        operation, _, path, evidence, _ = line.split("\t")
        if (operation, path) == ("iam:AddRoleToInstanceProfile", "InstanceProfileName"):
            continue  # The role stands beside it.
        if (
            operation in NOT_ROLES
            or operation.startswith("sts:")
            or ":Tag" in operation
            or ":Untag" in operation
        ):
            continue
        checked += 1
        profile = evidence == "instance-profile"
        steps = path.replace("Arn|Name", "Name").partition(" (")[0].split(".")
        call = a_call(operation, nested(steps, "app" if profile else PASSED))
        reached = (
            may_pass(call)
            if profile
            else any(need.permission.resource == PASSED for need in passed(call))
        )
        if not reached:
            missed.append((operation, path, evidence))
    assert checked > 1_500
    assert missed == []


def nested(steps: list[str], value: object) -> dict[str, object]:
    """`a.[].b` -> {"a": [{"b": value}]}, keys as CloudTrail writes them; {} stands for a key that
    people choose.
    """
    nested_value: object = value
    for step in reversed(steps):
        name = step.removesuffix("[]")
        if name in ("", "[]"):
            nested_value = [nested_value]
        elif name.startswith("{}"):
            nested_value = {f"Success{name[3:]}" if len(name) > 2 else "anything": nested_value}
        else:
            nested_value = {
                name[0].lower() + name[1:]: (
                    [nested_value] if step.endswith("[]") and step != "[]" else nested_value
                )
            }
    assert isinstance(nested_value, dict)
    return nested_value
