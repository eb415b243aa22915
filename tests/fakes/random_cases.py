"""Random cases in the format of `tests/cases`: trails with logins, policies in four languages with
expressions, other policies, denials and logs.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from typing import Any

QUEUE = "arn:aws:sqs:eu-west-1:111122223333:orders"
TOPIC = "arn:aws:sns:eu-west-1:111122223333:orders"
FUNCTION = "arn:aws:lambda:eu-west-1:111122223333:function:orders"
TABLE = "arn:aws:dynamodb:eu-west-1:111122223333:table/orders"
_URL = "https://sqs.eu-west-1.amazonaws.com/111122223333/orders"
_NAMED = {"functionName": "orders"}
CALLS: tuple[Mapping[str, Any], ...] = (
    {"event": "sqs:CreateQueue", "parameters": {"queueName": "orders"}, "response": {"x": 1}},
    {"event": "sqs:DeleteQueue", "parameters": {"queueUrl": _URL}},
    {"event": "lambda:UpdateFunctionCode20150331v2", "parameters": _NAMED},
    {"event": "lambda:GetFunction20150331v2", "parameters": _NAMED},
    {"event": "dynamodb:DescribeTable", "parameters": {"tableName": "orders"}},
    {"event": "s3:GetBucketLocation", "parameters": {"bucketName": "shop"}},
    {"event": "s3:PutObject", "data": True, "parameters": {"bucketName": "shop", "key": "a"}},
    {"event": "sts:GetCallerIdentity"},
    {"event": "sqs:NoSuchOperation"},
    {"event": "nosuchservice:DoIt"},
    {"event": "sqs:CreateQueue", "parameters": {"queueName": "mails"}, "type": "AwsNewKind"},
    {
        "event": "sqs:SetQueueAttributes",
        "parameters": {"queueUrl": _URL},
        "type": "AwsServiceEvent",
    },
    {"event": "iam:CreateRole", "parameters": {"roleName": "orders"}},
    {"event": "dynamodb:CreateTable", "parameters": None},
)
_SESSION = "arn:aws:sts::111122223333:assumed-role/ci-deploy/run"
_DENIED = "User: x is not authorized to perform: {} on resource: {}"
OUTCOMES: tuple[Mapping[str, Any], ...] = (
    {},
    {},
    {},
    {"error": "ThrottlingException"},
    {"error": "NoSuchEntity"},
    {"error": "AccessDenied"},
    {
        "error": "AccessDenied",
        "message": (
            f"{_DENIED.format('sqs:PurgeQueue', QUEUE)} because no identity-based policy allows"
            " the sqs:PurgeQueue action"
        ),
    },
    {
        "error": "AccessDenied",
        "message": (
            f"User: {_SESSION} is not authorized to perform: sns:Subscribe on resource: {TOPIC}"
            " because no identity-based policy allows the sns:Subscribe action"
        ),
    },
    {
        "error": "AccessDenied",
        "message": (
            f"User: {_SESSION} is not authorized to perform: sqs:PurgeQueue on resource: {QUEUE}"
            " because no identity-based policy allows the sqs:PurgeQueue action"
        ),
    },
    {
        "error": "AccessDenied",
        "message": (
            f"{_DENIED.format('sqs:TagQueue', QUEUE)} with an explicit deny in a service control"
            " policy"
        ),
    },
)
ENTRIES = (
    "sqs:*",
    "sqs:CreateQueue",
    "sqs:Get*",
    "lambda:*",
    "lambda:UpdateFunctionCode",
    "dynamodb:DescribeTable",
    "s3:GetBucketLocation",
    "s3:*",
    "sns:Publish",
    "events:PutRule",
    "iam:*Role*",
    "nosuchservice:DoIt",
)
_UNCOMMON_ENTRIES = ("*", "sqs:*Queue", "dynamodb:*", "iam:CreateRole", "SQS:createqueue")
RESOURCES = ("*", QUEUE, FUNCTION, TABLE, "arn:aws:s3:::shop", "arn:aws:sqs:*:*:ord*")
_EXPRESSIONS = ("${var.queue}", "${aws_sqs_queue.orders.arn}", "arn:aws:sqs:*:*:${var.name}")
_HCL_LISTS = (
    'concat(["{}"], var.wide ? ["*"] : [])',
    'var.wide ? ["{}"] : var.others',
    'toset(["{}", var.queue])',
    '[for name in var.names : "arn:aws:sqs:*:*:${{name}}"]',
    "local.unknown",
)
_FUNCTIONS = (
    '!If [Wide, "*", "{}"]',
    "!Sub arn:aws:sqs:${{AWS::Region}}:${{AWS::AccountId}}:${{Name}}",
    "!GetAtt Orders.Arn",
    "!ImportValue Queue",
    "!Ref Name",
)
OPTIONS: tuple[Mapping[str, Any], ...] = (
    {},
    {"minimum-runs": 1},
    {"minimum-runs": 1, "unseen-services": "drop"},
    {"minimum-runs": 1, "keep": ["sqs:Get*"]},
    {"minimum-runs": 1, "max-changes": 1},
    {"minimum-runs": 1, "never-add": ["sqs:*"]},
    {"minimum-runs": 1, "break-glass": ["fix-*"]},
    {"minimum-runs": 1, "unknown-refs": "refuse"},
    {"minimum-runs": 1, "unseen-actions": "drop"},
    {"minimum-runs": 1, "lifecycle": "all"},
    {"minimum-runs": 1, "aws-regions": []},
)
_LOG = (
    f"Error: User: {_SESSION} is not authorized to perform: {{}} on resource: {{}} because no"
    " identity-based policy allows the {} action"
)
_LOGGED = (("sqs:PurgeQueue", QUEUE), ("sns:Publish", TOPIC))
_SUBJECTS = ("repo:acme/shop:ref:refs/heads/main", "repo:acme/shop:pull_request")
_PROVIDER = "arn:aws:iam::111122223333:oidc-provider/token.actions.githubusercontent.com"


TEMPLATE_RESOURCES: Mapping[str, Mapping[str, Any]] = {
    "Orders": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "orders"}},
    "Topic": {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": "orders"}},
    "Carts": {"Type": "AWS::DynamoDB::Table", "Properties": {"TableName": "carts"}},
    "Other": {"Type": "Custom::Unknown", "Properties": {}},
}


def random_template(chance: random.Random) -> dict[str, Any] | None:
    """A template with some resources, or none."""
    names = chance.sample(sorted(TEMPLATE_RESOURCES), chance.randint(0, 3))
    if not names:
        return None
    return {"Resources": {name: TEMPLATE_RESOURCES[name] for name in names}}


def random_case(chance: random.Random) -> dict[str, Any]:
    """A case of some runs, and a policy or none."""
    has_logins = chance.random() < 0.4
    case: dict[str, Any] = {
        "runs": [
            _run(chance, number, has_logins=has_logins) for number in range(chance.randint(1, 4))
        ],
        "options": dict(chance.choice(OPTIONS)),
    }
    if has_logins:
        case["origins"] = {"nothing": "reviewed"}
    if chance.random() < 0.2:
        case["also-attached"] = [_policy(chance, RESOURCES)]
    if chance.random() < 0.2:
        action, resource = chance.choice(_LOGGED)
        case["job-logs"] = {"deploy.txt": [_LOG.format(action, resource, action)]}
    match chance.choice(("none", "json", "json", "yaml", "hcl", "template")):
        case "json":
            case["policy"] = _policy(chance, RESOURCES)
        case "yaml":
            case["terraform"] = {"policy.yaml": _yaml(_policy(chance, RESOURCES))}
            case["policy-file"] = "policy.yaml"
        case "hcl":
            statements = _policy(chance, (*RESOURCES, *_EXPRESSIONS))["Statement"]
            case["terraform"] = {"main.tf": _hcl(chance, statements)}
            case["policy-file"] = "main.tf#data.aws_iam_policy_document.deploy"
        case "template":
            case["terraform"] = {"template.yaml": _template(chance, _policy(chance, RESOURCES))}
            case["policy-file"] = "template.yaml#/Resources/Deploy/Properties/PolicyDocument"
    return case


def _run(chance: random.Random, number: int, *, has_logins: bool) -> dict[str, Any]:
    calls = [
        {**chance.choice(CALLS), **chance.choice(OUTCOMES)} for _ in range(chance.randint(1, 6))
    ]
    block: dict[str, Any] = {
        "first": f"2026-{9 + number // 2:02}-{1 + 9 * (number % 2):02}T10:00:00Z",
        "times": chance.randint(1, 3),
        "every-days": 2,
        "calls": calls,
    }
    if has_logins:
        session, key = f"17650000{number}", f"ASIAEXAMPLE{number:09}"
        own = [{**call, "key": key} for call in calls]
        block |= {"session": session, "times": 1}
        block["calls"] = [_login(chance.choice(_SUBJECTS), session, key), *own]
    elif chance.random() < 0.1:
        block["session"] = f"fix-{number}"
    return block


def _login(subject: str, session: str, key: str) -> dict[str, Any]:
    return {
        "event": "sts:AssumeRoleWithWebIdentity",
        "identity": {
            "type": "WebIdentityUser",
            "userName": subject,
            "identityProvider": _PROVIDER,
        },
        "parameters": {
            "roleArn": "arn:aws:iam::111122223333:role/ci-deploy",
            "roleSessionName": session,
        },
        "response": {
            "credentials": {"accessKeyId": key},
            "subjectFromWebIdentityToken": subject,
            "provider": _PROVIDER,
            "assumedRoleUser": {
                "arn": f"arn:aws:sts::111122223333:assumed-role/ci-deploy/{session}"
            },
        },
    }


def _policy(chance: random.Random, resources: tuple[str, ...]) -> dict[str, Any]:
    statements = []
    for number in range(chance.randint(1, 4)):
        entries = chance.sample(ENTRIES, chance.randint(1, 4))
        if chance.random() < 0.15:
            entries.append(chance.choice(_UNCOMMON_ENTRIES))
        effect = "Deny" if chance.random() < 0.1 else "Allow"
        statement: dict[str, Any] = {"Sid": f"S{number}", "Effect": effect}
        is_wide = chance.random() < 0.1
        statement["NotAction" if is_wide else "Action"] = ["iam:*"] if is_wide else entries
        named = "NotResource" if chance.random() < 0.1 else "Resource"
        statement[named] = chance.sample(resources, chance.randint(1, 2))
        if chance.random() < 0.15:
            statement["Condition"] = {"StringEquals": {"aws:PrincipalOrgID": "o-abcdefghij"}}
        statements.append(statement)
    return {"Version": "2012-10-17", "Statement": statements}


def _yaml(policy: Mapping[str, Any]) -> list[str]:
    lines = [f"Version: '{policy['Version']}'", "Statement:"]
    for statement in policy["Statement"]:
        marks = ["- ", *["  "] * len(statement)]
        lines += [
            f"{mark}{key}: {json.dumps(value)}"
            for mark, (key, value) in zip(marks, statement.items(), strict=False)
        ]
    return lines


def _template(chance: random.Random, policy: Mapping[str, Any]) -> list[str]:
    """A CloudFormation template, with functions in place of some resources."""
    lines = [
        "Parameters: {Name: {Type: String}}",
        "Conditions: {Wide: !Equals [!Ref AWS::Region, eu-west-2]}",
        "Resources:",
        "  Orders: {Type: AWS::SQS::Queue, Properties: {QueueName: orders}}",
        "  Deploy:",
        "    Type: AWS::IAM::ManagedPolicy",
        "    Properties:",
        "      PolicyDocument:",
        f"        Version: '{policy['Version']}'",
        "        Statement:",
    ]
    for statement in policy["Statement"]:
        mark = "          - "
        for key, value in statement.items():
            text = json.dumps(value)
            if key == "Resource" and chance.random() < 0.5:
                text = chance.choice(_FUNCTIONS).format(value[0])
            lines.append(f"{mark}{key}: {text}")
            mark = "            "
    return lines


_HCL = {
    "Sid": "sid",
    "Effect": "effect",
    "Action": "actions",
    "NotAction": "not_actions",
    "Resource": "resources",
    "NotResource": "not_resources",
}


def _hcl(chance: random.Random, statements: list[dict[str, Any]]) -> list[str]:
    lines = ['data "aws_iam_policy_document" "deploy" {']
    for statement in statements:
        lines.append("  statement {")
        for key, value in statement.items():
            if key not in _HCL:
                continue
            text = json.dumps(value)
            if key == "Resource" and chance.random() < 0.4:
                text = chance.choice(_HCL_LISTS).format(value[0])
            lines.append(f"    {_HCL[key]} = {text}")
        for operator, keys in statement.get("Condition", {}).items():
            for key, value in keys.items():
                lines += [
                    "    condition {",
                    f"      test = {json.dumps(operator)}",
                    f"      variable = {json.dumps(key)}",
                    f"      values = [{json.dumps(value)}]",
                    "    }",
                ]
        lines.append("  }")
    return [*lines, "}"]
