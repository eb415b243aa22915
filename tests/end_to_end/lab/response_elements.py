"""Writes responseElements: the answer to a write; null for reads, and for writes without an
answer.
"""

from __future__ import annotations

from typing import Any

from botocore.model import ListShape, Shape, StructureShape
from botocore.parsers import create_parser

from tests.end_to_end.lab.exchange import Exchange
from tests.end_to_end.lab.request_elements import camel, lowered, plain, real_addresses

_SHOWN_THOUGH_READ = frozenset({"AssumeRole", "AssumeRoleWithWebIdentity", "AssumeRoleWithSAML"})


def response_elements(
    exchange: Exchange, headers: dict[str, str], body: bytes, read_only: bool
) -> dict[str, Any] | None:
    """The elements of a success."""
    shown_read = exchange.service == "sts" and exchange.operation in _SHOWN_THOUGH_READ
    if exchange.model is None or (read_only and not shown_read):
        return None
    if exchange.service == "s3":
        return _of_s3(exchange, headers)
    parsed = answer_of(exchange, headers, body)
    if exchange.service == "ec2":
        done = {} if exchange.operation == "RunInstances" else {"_return": True}
        shape = exchange.model.output_shape
        return {
            "requestId": headers.get("x-amzn-requestid", ""),
            **done,
            **(_of_ec2(parsed, shape) if shape else {}),
        }
    if exchange.service == "secretsmanager":
        return {"arn": parsed["ARN"]} if "ARN" in parsed else None
    if exchange.service == "lambda" and exchange.operation == "Invoke":
        return None
    shown = real_addresses(camel(parsed, exchange.service), exchange.service, exchange.region)
    return shown or None


def answer_of(exchange: Exchange, headers: dict[str, str], body: bytes) -> dict[str, Any]:
    """The answer, parsed by the API model."""
    if exchange.model is None or exchange.model.output_shape is None:
        return {}
    metadata = exchange.model.service_model.metadata
    protocol = (
        "smithy-rpc-v2-cbor" if "cbor" in headers.get("content-type", "") else metadata["protocol"]
    )
    given = {"status_code": 200, "headers": headers, "body": body}
    try:
        parsed = create_parser(protocol).parse(given, exchange.model.output_shape)
    except Exception:  # an answer that violates the model shows nothing
        return {}
    parsed.pop("ResponseMetadata", None)
    streams = {
        name
        for name, shape in exchange.model.output_shape.members.items()
        if "streaming" in shape.serialization
    }
    return {name: value for name, value in parsed.items() if name not in streams}


def _of_s3(exchange: Exchange, headers: dict[str, str]) -> dict[str, Any] | None:
    """Management events show none; of the data events only writes do, and only their headers."""
    if "Key" not in exchange.parameters:
        return None
    shown = {
        name: value
        for name, value in headers.items()
        if name.startswith(("x-amz-version", "x-amz-server-side"))
    }
    return shown or None


def _of_ec2(value: Any, shape: Shape) -> Any:
    """EC2's elements have the names of its XML, and its lists have items."""
    if isinstance(shape, StructureShape) and isinstance(value, dict):
        named = (
            (name, member)
            for name, member in shape.members.items()
            if name in value and name != "Return"
        )
        return {_xml_name(name, member): _of_ec2(value[name], member) for name, member in named}
    if isinstance(shape, ListShape) and isinstance(value, list):
        return {"items": [_of_ec2(each, shape.member) for each in value]}
    return plain(value)


def _xml_name(name: str, shape: Shape) -> str:
    return str(shape.serialization.get("name") or lowered(name))
