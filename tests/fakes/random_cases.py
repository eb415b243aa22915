"""Random cases in the format of `tests/cases`: trails, policies in three languages, and denials."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from typing import Any

QUEUE = "arn:aws:sqs:eu-west-1:111122223333:orders"
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
)
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
RESOURCES = ("*", QUEUE, FUNCTION, TABLE, "arn:aws:s3:::shop", "arn:aws:sqs:*:*:ord*")
_EXPRESSIONS = ("${var.queue}", "${aws_sqs_queue.orders.arn}")
OPTIONS: tuple[Mapping[str, Any], ...] = (
    {},
    {"minimum-runs": 1},
    {"minimum-runs": 1, "unseen-services": "drop"},
    {"minimum-runs": 1, "keep": ["sqs:Get*"]},
    {"minimum-runs": 1, "max-changes": 1},
    {"minimum-runs": 1, "never-add": ["sqs:*"]},
    {"minimum-runs": 1, "break-glass": ["fix-*"]},
)


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
    case: dict[str, Any] = {
        "runs": [_run(chance, number) for number in range(chance.randint(1, 4))],
        "options": dict(chance.choice(OPTIONS)),
    }
    match chance.choice(("none", "json", "json", "yaml", "hcl")):
        case "json":
            case["policy"] = _policy(chance, RESOURCES)
        case "yaml":
            case["terraform"] = {"policy.yaml": _yaml(_policy(chance, RESOURCES))}
            case["policy-file"] = "policy.yaml"
        case "hcl":
            statements = _policy(chance, (*RESOURCES, *_EXPRESSIONS))["Statement"]
            case["terraform"] = {"main.tf": _hcl(statements)}
            case["policy-file"] = "main.tf#data.aws_iam_policy_document.deploy"
    return case


def _run(chance: random.Random, number: int) -> dict[str, Any]:
    calls = [
        {**chance.choice(CALLS), **chance.choice(OUTCOMES)} for _ in range(chance.randint(1, 6))
    ]
    block: dict[str, Any] = {
        "first": f"2026-{9 + number // 2:02}-{1 + 9 * (number % 2):02}T10:00:00Z",
        "times": chance.randint(1, 3),
        "every-days": 2,
        "calls": calls,
    }
    if chance.random() < 0.1:
        block["session"] = f"fix-{number}"
    return block


def _policy(chance: random.Random, resources: tuple[str, ...]) -> dict[str, Any]:
    statements = []
    for number in range(chance.randint(1, 4)):
        entries = chance.sample(ENTRIES, chance.randint(1, 4))
        statement: dict[str, Any] = {"Sid": f"S{number}", "Effect": "Allow"}
        is_wide = chance.random() < 0.1
        statement["NotAction" if is_wide else "Action"] = ["iam:*"] if is_wide else entries
        statement["Resource"] = chance.sample(resources, chance.randint(1, 2))
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


_HCL = {"Sid": "sid", "Action": "actions", "NotAction": "not_actions", "Resource": "resources"}


def _hcl(statements: list[dict[str, Any]]) -> list[str]:
    lines = ['data "aws_iam_policy_document" "deploy" {']
    for statement in statements:
        lines.append("  statement {")
        lines += [
            f"    {_HCL[key]} = {json.dumps(value)}"
            for key, value in statement.items()
            if key in _HCL
        ]
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
