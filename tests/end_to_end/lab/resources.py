"""Writes the resources of a record, as in real records of these services."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

from tests.end_to_end.lab.exchange import Exchange

Resource = dict[str, str]


def resources_of(exchange: Exchange, record: dict[str, Any], account: str) -> list[Resource]:
    """The list of a record; empty if AWS writes none."""
    made = _OF.get(exchange.service)
    return list(made(exchange, record, account)) if made else []


def _s3(exchange: Exchange, record: dict[str, Any], account: str) -> Iterator[Resource]:
    bucket = exchange.parameters.get("Bucket")
    if not bucket:
        return
    if not record["managementEvent"]:
        if "Key" in exchange.parameters:
            yield {
                "type": "AWS::S3::Object",
                "ARN": f"arn:aws:s3:::{bucket}/{exchange.parameters['Key']}",
            }
        else:
            yield {"type": "AWS::S3::Object", "ARNPrefix": f"arn:aws:s3:::{bucket}/"}
    yield {"accountId": account, "type": "AWS::S3::Bucket", "ARN": f"arn:aws:s3:::{bucket}"}


def _kms(exchange: Exchange, record: dict[str, Any], account: str) -> Iterator[Resource]:
    from ministack.core.iam_actions import _kms_key_id_from_ciphertext
    from ministack.services import kms

    if exchange.operation in ("CreateAlias", "UpdateAlias", "DeleteAlias"):
        # "Find aliases in AWS CloudTrail logs", AWS KMS Developer Guide, read 2026-12-02.
        for arn in exchange.checked:
            yield {"accountId": account, "type": "AWS::KMS::Key", "ARN": arn}
        return
    answered = (record.get("responseElements") or {}).get("keyMetadata", {}).get("arn")
    named = str(exchange.parameters.get("KeyId") or exchange.parameters.get("TargetKeyId") or "")
    if not named and isinstance(exchange.parameters.get("CiphertextBlob"), bytes):
        named = _kms_key_id_from_ciphertext(
            base64.b64encode(exchange.parameters["CiphertextBlob"]).decode()
        )
    if ":alias/" in named or named.startswith("alias/"):
        alias = (
            named
            if named.startswith("arn:")
            else f"arn:aws:kms:{exchange.region}:{account}:{named}"
        )
        named = str(kms._aliases.get(alias) or "")
    arn = answered or (named if named.startswith("arn:") else "")
    if not arn and named:
        arn = f"arn:aws:kms:{exchange.region}:{account}:key/{named}"
    if arn:
        yield {"accountId": account, "type": "AWS::KMS::Key", "ARN": arn}


def _sts(exchange: Exchange, _: dict[str, Any], __: str) -> Iterator[Resource]:
    arn = exchange.parameters.get("RoleArn")
    if arn:
        yield {"accountId": arn.split(":")[4], "type": "AWS::IAM::Role", "ARN": arn}


def _ssm(exchange: Exchange, _: dict[str, Any], account: str) -> Iterator[Resource]:
    if "Parameter" not in exchange.operation:
        return
    names = exchange.parameters.get("Names") or [
        exchange.parameters.get("Name") or exchange.parameters.get("Path")
    ]
    for name in filter(None, names):
        text = str(name)
        slash = "" if text.startswith("/") else "/"
        arn = (
            text
            if text.startswith("arn:")
            else f"arn:aws:ssm:{exchange.region}:{account}:parameter{slash}{text}"
        )
        yield {"accountId": account, "ARN": arn}


def _dynamodb(exchange: Exchange, _: dict[str, Any], account: str) -> Iterator[Resource]:
    asked = exchange.parameters
    names = [asked.get("TableName"), *(asked.get("RequestItems") or {})]
    for item in asked.get("TransactItems") or []:
        names += [part.get("TableName") for part in item.values() if isinstance(part, dict)]
    for name in dict.fromkeys(filter(None, names)):
        arn = (
            name
            if name.startswith("arn:")
            else f"arn:aws:dynamodb:{exchange.region}:{account}:table/{name}"
        )
        yield {"accountId": account, "type": "AWS::DynamoDB::Table", "ARN": arn}


def _lambda(exchange: Exchange, record: dict[str, Any], account: str) -> Iterator[Resource]:
    name = str(exchange.parameters.get("FunctionName", ""))
    if record["managementEvent"] or not name:
        return
    arn = (
        name
        if name.startswith("arn:")
        else f"arn:aws:lambda:{exchange.region}:{account}:function:{name}"
    )
    yield {"accountId": account, "type": "AWS::Lambda::Function", "ARN": arn}


def _ecr(exchange: Exchange, _: dict[str, Any], account: str) -> Iterator[Resource]:
    name = exchange.parameters.get("repositoryName")
    if name:
        yield {
            "ARN": f"arn:aws:ecr:{exchange.region}:{account}:repository/{name}",
            "accountId": account,
        }


def _sqs(exchange: Exchange, record: dict[str, Any], account: str) -> Iterator[Resource]:
    name = str(
        exchange.parameters.get("QueueUrl") or exchange.parameters.get("QueueName") or ""
    ).rpartition("/")[2]
    if name and not record["managementEvent"]:
        arn = f"arn:aws:sqs:{exchange.region}:{account}:{name}"
        yield {"accountId": account, "type": "AWS::SQS::Queue", "ARN": arn}


def _sns(exchange: Exchange, record: dict[str, Any], account: str) -> Iterator[Resource]:
    arn = exchange.parameters.get("TopicArn")
    if arn and not record["managementEvent"]:
        yield {"accountId": account, "type": "AWS::SNS::Topic", "ARN": arn}


_OF = {
    "s3": _s3, "kms": _kms, "sts": _sts, "ssm": _ssm, "dynamodb": _dynamodb, "lambda": _lambda,
    "ecr": _ecr,
    "sqs": _sqs, "sns": _sns,
}  # fmt: skip
