"""The promises of a drafted boundary: it denies nothing that the roles need, leaves no path open, and
cannot be lifted.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from leastpriv.declared.models import Place, Stack
from leastpriv.declared.plan import read_plan
from leastpriv.declared.role_policies import CreatedRole, created_roles
from leastpriv.declared.template import read_template
from leastpriv.models import Basis, Condition, Need, Permission
from leastpriv.permissions.catalog import expand, forbidden
from leastpriv.permissions.patterns import has_wildcard
from leastpriv.policy.document import Document, parse
from leastpriv.policy.evaluate import policy_size
from leastpriv.policy.replay import replay_need
from leastpriv.proposal.boundary import (
    BoundaryDraft,
    demanding,
    draft_boundary,
    lost_needs,
    never_allowed,
)
from leastpriv.proposal.escalation_paths import Strength, escalation_paths

PLACE = Place("aws", "111122223333", "eu-west-1")
A = "arn:aws:iam::111122223333:"
ROLE = f"{A}role/worker"
QUEUE = "arn:aws:sqs:eu-west-1:111122223333:orders"
OWN = "arn:aws:s3:::homes/${aws:PrincipalAccount}/*"
HOMES = "arn:aws:s3:::homes/*"


def allow(actions: str | list[str], resource: Any = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": actions, "Resource": resource, **more}


def role(*statements: object, **properties: Any) -> dict[str, Any]:
    document = {"Version": "2012-10-17", "Statement": list(statements)}
    role_properties = {"RoleName": "worker", "AssumeRolePolicyDocument": {}, **properties}
    if statements:
        role_properties["Policies"] = [{"PolicyName": "p", "PolicyDocument": document}]
    return {"Type": "AWS::IAM::Role", "Properties": role_properties}


def roles_of(**resources: Any) -> tuple[CreatedRole, ...]:
    raw = json.dumps({"Resources": resources}).encode()
    return created_roles(read_template(raw, "t.json", Stack("shop"), PLACE), PLACE)


def drafted(*statements: object) -> tuple[BoundaryDraft, Document]:
    draft = draft_boundary(roles_of(Worker=role(*statements)))
    return draft, parse(draft.content, "boundary.json")


def allows(document: Document, action: str, resource: str) -> bool:
    need = Need(Permission(action, resource), Basis.DECLARED, "")
    return replay_need(need, ROLE, "", [document]) == "allowed"


def test_it_allows_what_the_policy_grants_and_nothing_else() -> None:
    draft, boundary = drafted(
        allow("sqs:SendMessage", QUEUE), allow(["s3:Get*"], "arn:aws:s3:::b/*")
    )
    assert draft.lost == ()
    assert allows(boundary, "sqs:SendMessage", QUEUE)
    assert allows(boundary, "s3:GetObject", "arn:aws:s3:::b/key")
    assert not allows(boundary, "sqs:SendMessage", f"{QUEUE}-2")
    assert not allows(boundary, "s3:PutObject", "arn:aws:s3:::b/key")


def test_it_knows_the_policies_of_aws() -> None:
    arn = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
    draft = draft_boundary(roles_of(Worker=role(ManagedPolicyArns=[arn])))
    boundary = parse(draft.content, "b")
    log = "arn:aws:logs:eu-west-1:111122223333:log-group:/aws/lambda/x:log-stream:y"
    assert allows(boundary, "logs:PutLogEvents", log)
    assert draft.unknown == ()


def test_a_policy_that_is_in_no_file_is_named() -> None:
    draft = draft_boundary(roles_of(Worker=role(ManagedPolicyArns=[f"{A}policy/elsewhere"])))
    assert draft.content == b""
    assert draft.unknown == (f"the policy {A}policy/elsewhere of Worker is not in the files",)


@pytest.mark.parametrize("kind", ["Policy", "ManagedPolicy", "RolePolicy"])
def test_it_reads_the_policies_that_name_the_role(kind: str) -> None:
    names = {"RoleName": {"Ref": "Worker"}} if kind == "RolePolicy" else {}
    attached = {
        "Type": f"AWS::IAM::{kind}",
        "Properties": {
            "PolicyName": "p",
            "Roles": [{"Ref": "Worker"}],
            "PolicyDocument": {"Version": "2012-10-17", "Statement": allow("sqs:*", QUEUE)},
            **names,
        },
    }
    boundary = parse(draft_boundary(roles_of(Worker=role(), P=attached)).content, "b")
    assert allows(boundary, "sqs:SendMessage", QUEUE)


def test_a_reference_is_the_arn_of_its_resource() -> None:
    queue = {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "orders"}}
    rights = allow("sqs:SendMessage", {"Fn::GetAtt": ["Orders", "Arn"]})
    boundary = parse(draft_boundary(roles_of(Worker=role(rights), Orders=queue)).content, "b")
    assert allows(boundary, "sqs:SendMessage", QUEUE)
    assert not allows(boundary, "sqs:SendMessage", f"{QUEUE}-2")


def test_a_role_of_a_plan_has_the_policies_of_its_attachments_and_documents() -> None:
    def change(kind: str, after: dict[str, Any], **unknown: bool) -> dict[str, Any]:
        is_data = kind == "aws_iam_policy_document"
        return {
            "address": f"data.{kind}.d" if is_data else f"{kind}.d",
            "mode": "data" if is_data else "managed",
            "type": kind,
            "provider_name": "aws",
            "change": {
                "actions": ["read" if is_data else "create"],
                "before": None,
                "after": after,
                "after_unknown": unknown,
            },
        }

    queue = ["aws_sqs_queue.d.arn", "aws_sqs_queue.d"]
    document = ["data.aws_iam_policy_document.d.json", "data.aws_iam_policy_document.d"]
    policy = ["aws_iam_policy.d.arn", "aws_iam_policy.d"]
    role_names = ["aws_iam_role.d.name", "aws_iam_role.d"]
    configured = [
        {"address": "data.aws_iam_policy_document.d", "expressions": {"statement": [{
            "actions": {"constant_value": ["sqs:SendMessage"]},
            "resources": {"references": queue},
        }]}},
        {"address": "aws_iam_policy.d", "expressions": {"policy": {"references": document}}},
        {"address": "aws_iam_role_policy_attachment.d", "expressions": {
            "role": {"references": role_names}, "policy_arn": {"references": policy},
        }},
    ]  # fmt: skip
    plan = {
        "resource_changes": [
            change("aws_sqs_queue", {"name": "orders"}, arn=True),
            change("aws_iam_policy_document", {}, json=True, statement=True),
            change("aws_iam_policy", {"name": "p"}, policy=True, arn=True),
            change("aws_iam_role", {"name": "worker"}, arn=True),
            change("aws_iam_role_policy_attachment", {}, role=True, policy_arn=True),
        ],
        "configuration": {"root_module": {"resources": configured}},
    }
    made_roles = created_roles(read_plan(json.dumps(plan).encode(), "p.json"), PLACE)
    draft = draft_boundary(made_roles)
    assert draft.unknown == ()
    assert allows(parse(draft.content, "b"), "sqs:SendMessage", QUEUE)


WIDE = [
    *("iam:*", "*", "ec2:*", "lambda:*", "ecs:*", "cloudformation:*", "kms:*", "sts:*", "ssm:*"),
    *("organizations:*", "cloudtrail:*", "secretsmanager:*", "sso:*", "glue:*", "sagemaker:*"),
]


@pytest.mark.parametrize("entry", WIDE)
def test_no_path_and_no_lift_is_open_under_it(entry: str) -> None:
    draft = draft_boundary(roles_of(Worker=role(allow([entry, "iam:PassRole", "sqs:SendMessage"]))))
    boundary = parse(draft.content, "b")
    for path in escalation_paths([boundary], ROLE):
        if path.strength is Strength.SECRETS:
            assert path.actions[0] in {open_action.action for open_action in draft.left_open}
            continue
        # The role that it may pass has the boundary, too.
        assert (path.strength, path.targets) == (Strength.NAMED, (ROLE,))
    assert allows(boundary, "sqs:SendMessage", QUEUE)
    assert draft.lost
    assert policy_size(boundary) <= 6_144
    for name in expand(entry) if entry != "*" else ("iam:PutRolePermissionsBoundary",):
        if never_allowed(name):
            assert not allows(boundary, name, "*"), name


def test_a_role_may_pass_and_assume_the_roles_that_have_the_boundary() -> None:
    rights = [allow(["iam:PassRole", "ecs:RunTask"], "*")]
    draft, boundary = drafted(*rights)
    assert allows(boundary, "iam:PassRole", ROLE)
    assert not allows(boundary, "iam:PassRole", f"{A}role/admin")
    assert {lost_need.action for lost_need in draft.lost} == {"iam:PassRole"}
    open_paths = escalation_paths([boundary], ROLE)
    assert {path.strength for path in open_paths} <= {Strength.NAMED}
    assert {target for path in open_paths for target in path.targets} <= {ROLE}


def test_what_a_role_grants_itself_and_the_boundary_denies_is_named_with_its_reason() -> None:
    draft, boundary = drafted(allow(["lambda:UpdateFunctionCode", "sqs:SendMessage"]))
    assert [(lost_need.role, lost_need.action) for lost_need in draft.lost] == [
        ("Worker", "lambda:UpdateFunctionCode")
    ]
    assert draft.lost[0].reason.startswith("it opens a path: changing what any Lambda function")
    assert not allows(boundary, "lambda:UpdateFunctionCode", "*")


def test_a_role_may_run_what_the_declaration_makes_and_nothing_else() -> None:
    """Whatever a job of the declaration runs, the boundary of its role limits it, too."""
    job = {"Type": "AWS::Batch::JobDefinition", "Properties": {"JobDefinitionName": "nightly"}}
    queue = {"Type": "AWS::Batch::JobQueue", "Properties": {"JobQueueName": "jobs"}}
    roles = roles_of(Worker=role(allow("batch:SubmitJob")), Nightly=job, Jobs=queue)
    draft = draft_boundary(roles)
    boundary = parse(draft.content, "b")
    batch = "arn:aws:batch:eu-west-1:111122223333:"
    assert allows(boundary, "batch:SubmitJob", f"{batch}job-definition/nightly:3")
    assert allows(boundary, "batch:SubmitJob", f"{batch}job-queue/jobs")
    assert not allows(boundary, "batch:SubmitJob", f"{batch}job-definition/other:1")
    assert [(lost_need.action, lost_need.reason) for lost_need in draft.lost] == [
        ("batch:SubmitJob", "the boundary allows it on what the declaration makes")
    ]
    assert {path.strength for path in escalation_paths([boundary], ROLE)} <= {Strength.NAMED}


def test_a_resource_with_a_policy_variable_is_allowed_as_the_role_names_it() -> None:
    draft, _ = drafted(allow("s3:PutObject", OWN), allow("s3:*", "arn:aws:s3:::logs"))
    assert "s3:PutObject" not in {lost_need.action for lost_need in draft.lost}
    denied = parse(b'{"Statement": []}', "b")
    assert [
        need.action
        for need in lost_needs(roles_of(Worker=role(allow("s3:PutObject", OWN))), denied)
    ]


def deny(actions: str | list[str], resource: Any = "*", **more: Any) -> dict[str, Any]:
    return {**allow(actions, resource, **more), "Effect": "Deny"}


def lost_under(resource: str, *statements: object) -> list[str]:
    """The actions of a role that writes a resource which a boundary of some statements denies."""
    document = {"Version": "2012-10-17", "Statement": list(statements)}
    boundary = parse(json.dumps(document).encode(), "b")
    roles = roles_of(Worker=role(allow("s3:PutObject", resource)))
    return [need.action for need in lost_needs(roles, boundary)]


@pytest.mark.parametrize(
    ("resource", "statements"),
    [
        (OWN, [allow("s3:PutObject", HOMES)]),
        (OWN, [allow("*")]),
        (OWN, [allow("*"), deny("s3:*", "arn:aws:s3:::secret/*")]),
        (OWN, [allow("*"), deny("s3:*", Condition={"Bool": {"aws:SecureTransport": "false"}})]),
        (OWN, [allow("*"), {"Effect": "Deny", "Action": "s3:*", "NotResource": HOMES}]),
        (OWN, [{"Effect": "Allow", "Action": "*", "NotResource": "arn:aws:s3:::secret/*"}]),
        (OWN, [allow("s3:PutObject", OWN)]),
        (OWN.replace("/*", "/a"), [allow("s3:PutObject", OWN)]),
        ("arn:aws:s3:::homes/${*}/x", [allow("s3:PutObject", HOMES)]),
        ("arn:aws:s3:::homes/${*}/x", [allow("*"), deny("s3:*", "arn:aws:s3:::homes/y/*")]),
    ],
)
def test_a_boundary_that_covers_a_resource_with_variables_loses_nothing(
    resource: str, statements: list[object]
) -> None:
    assert lost_under(resource, *statements) == []


@pytest.mark.parametrize(
    ("resource", "statements"),
    [
        (OWN, [allow("s3:PutObject", "arn:aws:s3:::homes/${aws:username}/*")]),
        (OWN, [allow("s3:PutObject", "arn:aws:s3:::homes/111122223333/*")]),
        (OWN, [allow("s3:PutObject", "arn:aws:s3:::home/*")]),
        (OWN, [allow("s3:GetObject", HOMES)]),
        (OWN, [allow("*"), deny("s3:*", HOMES)]),
        (OWN, [allow("*"), deny("s3:PutObject", OWN)]),
        (OWN, [allow("*"), {"Effect": "Deny", "Action": "s3:*", "NotResource": QUEUE}]),
        (OWN, [{"Effect": "Allow", "Action": "*", "NotResource": HOMES}]),
        ("arn:aws:s3:::homes/${*}/x", [allow("s3:PutObject", "arn:aws:s3:::homes/y/*")]),
        ("arn:aws:s3:::homes/${*}/x", [allow("*"), deny("s3:*", HOMES)]),
    ],
)
def test_a_boundary_that_denies_a_resource_with_variables_loses_it(
    resource: str, statements: list[object]
) -> None:
    assert lost_under(resource, *statements) == ["s3:PutObject"]


def test_a_read_of_any_parameter_is_allowed_and_named() -> None:
    draft, boundary = drafted(allow(["ssm:GetParameters", "sqs:SendMessage"]))
    assert draft.lost == ()
    assert [(open_action.role, open_action.action) for open_action in draft.left_open] == [
        ("Worker", "ssm:GetParameters")
    ]
    assert allows(boundary, "ssm:GetParameters", "arn:aws:ssm:eu-west-1:111122223333:parameter/x")
    exact = allow("ssm:GetParameters", "arn:aws:ssm:eu-west-1:111122223333:parameter/shop")
    assert drafted(exact)[0].left_open == ()


def test_a_long_boundary_gives_up_conditions_then_resources_and_never_a_need() -> None:
    names = [name for name in expand("sqs:*") if not never_allowed(name)]
    rights = [
        allow(
            names,
            [
                f"{QUEUE}-{number}-with-a-long-name-of-its-own"
                for number in range(first_number, first_number + 40)
            ],
        )
        for first_number in range(0, 400, 40)
    ]
    draft, boundary = drafted(*rights)
    assert policy_size(boundary) <= 6_144
    assert draft.lost == ()
    assert allows(boundary, "sqs:SendMessage", f"{QUEUE}-7-with-a-long-name-of-its-own")


def test_a_new_need_of_a_role_is_beyond_its_boundary() -> None:
    _, boundary = drafted(allow("sqs:SendMessage", QUEUE))
    assert lost_needs(roles_of(Worker=role(allow("sqs:SendMessage", QUEUE))), boundary) == ()
    roles = roles_of(Worker=role(allow(["sqs:SendMessage", "sqs:DeleteMessage"], QUEUE)))
    assert [need.action for need in lost_needs(roles, boundary)] == ["sqs:DeleteMessage"]


def test_drafted_needs_ask_for_the_boundary_unless_the_role_names_its_own() -> None:
    arn = f"{A}policy/app-boundary"
    absent = Condition("Null", "iam:PermissionsBoundary", ("true",))
    own_boundary = Condition("StringEquals", "iam:PermissionsBoundary", (f"{A}policy/own",))
    needs = [
        Need(Permission(action, ROLE, (condition,)), Basis.DECLARED, "")
        for action, condition in (
            ("iam:CreateRole", absent),
            ("iam:PutRolePolicy", own_boundary),
            ("iam:GetRole", absent),
        )
    ]
    conditions = [need.permission.conditions for need in demanding(needs, arn)]
    assert conditions == [
        (Condition("StringEquals", "iam:PermissionsBoundary", (arn,)),),
        (own_boundary,),
        (absent,),
    ]


@pytest.mark.parametrize(
    ("entry", "action", "resource"),
    [
        ("s3:*", "s3:BypassGovernanceRetention", "arn:aws:s3:::b/key"),
        ("kms:ScheduleKeyDeletion", "kms:ScheduleKeyDeletion", "arn:aws:kms:::key/a"),
        ("cloudtrail:Stop*", "cloudtrail:StopLogging", "arn:aws:cloudtrail:::trail/a"),
    ],
)
def test_what_gives_no_more_permissions_is_allowed_and_named(
    entry: str, action: str, resource: str
) -> None:
    draft, boundary = drafted(allow([entry, "sqs:SendMessage"]))
    assert draft.lost == ()
    assert action in {open_action.action for open_action in draft.left_open}
    assert allows(boundary, action, resource)


def test_a_role_may_put_the_roles_of_the_declaration_into_instance_profiles() -> None:
    names = ["iam:CreateInstanceProfile", "iam:AddRoleToInstanceProfile", "iam:PassRole"]
    draft, boundary = drafted(allow(names))
    assert allows(boundary, "iam:AddRoleToInstanceProfile", f"{A}instance-profile/p")
    assert not allows(boundary, "iam:PassRole", f"{A}role/admin")
    assert {lost_need.action for lost_need in draft.lost} == {"iam:PassRole"}


@pytest.mark.parametrize(
    "statements",
    [
        [allow("iam:*")],
        [allow("iam:*"), allow("iam:P*")],
        [allow("iam:*", f"{A}*")],
        [allow("iam:*", [f"{A}role/admin", f"{A}instance-profile/*"])],
        [allow("iam:PassRole", f"{A}role/admin"), allow("iam:AddRoleToInstanceProfile")],
    ],
)
def test_no_other_role_comes_into_an_instance_profile(statements: list[object]) -> None:
    draft, boundary = drafted(*statements, allow("ec2:Describe*"))
    assert not allows(boundary, "iam:PassRole", f"{A}role/admin")
    assert "iam:PassRole" in {lost_need.action for lost_need in draft.lost}
    assert {path.strength for path in escalation_paths([boundary], ROLE)} <= {Strength.NAMED}


@pytest.mark.parametrize("entry", ["iam:*", "sts:*", "iam:Pass*", "sts:A*"])
def test_a_wildcard_passes_and_assumes_the_roles_of_the_declaration_alone(entry: str) -> None:
    draft, boundary = drafted(allow([entry, f"{entry.rstrip('*')}?*"]))
    use = "iam:PassRole" if entry.startswith("iam:") else "sts:AssumeRole"
    assert allows(boundary, use, ROLE)
    assert not allows(boundary, use, f"{A}role/admin")
    reasons = {lost_need.reason for lost_need in draft.lost if lost_need.action == use}
    assert reasons == {"the boundary allows it on the roles that have it"}


def test_a_wildcard_for_the_sake_of_length_allows_nothing_that_asks_for_a_person() -> None:
    services = ("cloudtrail", "guardduty", "s3", "account", "kms")
    names = [name for service in services for name in expand(f"{service}:*") if not forbidden(name)]
    draft, boundary = drafted(allow([name for name in names if not never_allowed(name)]))
    assert any(
        has_wildcard(action) for statement in boundary.statements for action in statement.actions
    )
    assert draft.left_open == ()
    for name in ("cloudtrail:StopLogging", "s3:BypassGovernanceRetention", "account:CloseAccount"):
        assert not allows(boundary, name, "*")


def test_a_wildcard_leaves_a_role_what_the_declaration_makes() -> None:
    machine = {
        "Type": "AWS::StepFunctions::StateMachine",
        "Properties": {"StateMachineName": "orders", "RoleArn": {"Fn::GetAtt": ["Worker", "Arn"]}},
    }
    draft = draft_boundary(roles_of(Worker=role(allow("states:*")), Orders=machine))
    boundary = parse(draft.content, "b")
    states = "arn:aws:states:eu-west-1:111122223333:stateMachine:"
    assert allows(boundary, "states:UpdateStateMachine", f"{states}orders")
    assert not allows(boundary, "states:UpdateStateMachine", f"{states}payments")
    assert [(lost_need.action, lost_need.reason) for lost_need in draft.lost] == [
        ("states:UpdateStateMachine", "the boundary allows it on what the declaration makes")
    ]
    assert {path.strength for path in escalation_paths([boundary], ROLE)} <= {Strength.NAMED}
