"""Writes requestParameters: the call's parameters as CloudTrail records them, with hidden
secrets.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, unquote

import xmltodict

from tests.end_to_end.lab.exchange import Exchange

HIDDEN = "HIDDEN_DUE_TO_SECURITY_REASONS"

_SECRETS = frozenset({
    "authorizationToken", "authToken", "ciphertext", "clientSecret", "masterUserPassword",
    "oauthToken", "password",
    "newPassword", "oldPassword", "plaintext", "privateKey", "secretAccessKey", "secretBinary",
    "secretString",
    "sessionToken", "userData", "webIdentityToken",
})  # fmt: skip
_SECRET_OF = {("ssm", "value"), ("lambda", "variables")}
_LEFT_OUT = {
    "lambda": {"zipFile", "payload"}, "kms": {"ciphertextBlob", "plaintext", "message",
    "signature"},
    "sts": {"webIdentityToken", "sAMLAssertion"}, "ssm": set(),
    "dynamodb": {"item", "requestItems", "expressionAttributeValues", "transactItems"},
    "cloudformation": {"templateBody", "stackPolicyBody"},
    "secretsmanager": {"secretString", "secretBinary"},
    "sqs": {"messageBody", "entries"}, "sns": {"message"}, "kinesis": {"data", "records"},
}  # fmt: skip
"""Parameters that CloudTrail does not show at all."""


def request_parameters(exchange: Exchange) -> dict[str, Any] | None:
    """The parameters, or None without any."""
    if exchange.service == "s3":
        return _of_s3(exchange)
    if exchange.service == "ec2":
        return _of_ec2(exchange.parameters) or None
    shown = camel(exchange.parameters, exchange.service)
    for name in _LEFT_OUT.get(exchange.service, ()):
        shown.pop(name, None)
    if exchange.service == "dynamodb" and "key" in shown:
        shown["key"] = dict.fromkeys(exchange.parameters.get("Key", {}), HIDDEN)
    if exchange.service == "cloudformation" and "parameters" in shown:
        shown["parameters"] = [
            {"parameterKey": each.get("parameterKey")} for each in shown["parameters"]
        ]
    return real_addresses(shown, exchange.service, exchange.region) or None


def real_addresses(value: Any, service: str, region: str) -> Any:
    """A value with the addresses of AWS instead of this machine's."""
    if isinstance(value, dict):
        return {name: real_addresses(each, service, region) for name, each in value.items()}
    if isinstance(value, list):
        return [real_addresses(each, service, region) for each in value]
    if isinstance(value, str) and value.startswith(("http://localhost:", "http://127.0.0.1:")):
        return re.sub(r"^http://[\w.]+:\d+", f"https://{service}.{region}.amazonaws.com", value)
    return value


def camel(value: Any, service: str = "") -> Any:
    """Names with a small first letter, times as CloudTrail writes them, blobs and secrets
    hidden.
    """
    if isinstance(value, Mapping):
        return {
            lowered(str(name)): _hidden(lowered(str(name)), each, service)
            for name, each in value.items()
        }
    return plain(value, service)


def plain(value: Any, service: str = "") -> Any:
    """A value as JSON can hold it."""
    if isinstance(value, Mapping):
        return camel(value, service)
    if isinstance(value, list | tuple | set):
        return [plain(each, service) for each in value]
    if isinstance(value, bytes | bytearray):
        return (
            base64.b64encode(bytes(value)).decode()
            if len(value) < 256
            else {"hb": [], "bigEndian": True}
        )
    if isinstance(value, datetime):
        when = value.astimezone(UTC)
        return when.strftime("%b %-d, %Y, %-I:%M:%S %p")
    return (
        value
        if isinstance(value, str | int | float | bool | type(None))
        else getattr(value, "decode", lambda: "")()
    )


def lowered(name: str) -> str:
    """CloudTrail lowers the first letter only: DBInstanceIdentifier is dBInstanceIdentifier."""
    return name[:1].lower() + name[1:]


def _hidden(name: str, value: Any, service: str) -> Any:
    if name in _SECRETS or (service, name) in _SECRET_OF:
        return HIDDEN if value is not None else None
    if name in ("tags", "environment", "attributes", "dimensions") and isinstance(value, Mapping):
        # The keys of a free map are the caller's, and unchanged.
        return {
            key if name == "tags" else lowered(str(key)): plain(each, service)
            for key, each in value.items()
        }
    return plain(value, service)


def _of_s3(exchange: Exchange) -> dict[str, Any]:
    """Bucket, host and key, the query unchanged, the x-amz-acl-like headers, and the body as in
    XML.
    """
    parameters = exchange.parameters
    bucket = parameters.get("Bucket")
    host = f"s3.{exchange.region}.amazonaws.com"
    shown: dict[str, Any] = (
        {"bucketName": bucket, "Host": f"{bucket}.{host}"} if bucket else {"Host": host}
    )
    if "Key" in parameters:
        shown["key"] = unquote(str(parameters["Key"]))
    signed = (
        "AWSAccessKeyId",
        "Signature",
        "Expires",
        "X-Amz-Signature",
        "X-Amz-Date",
        "X-Amz-Expires",
        "X-Amz-Credential",
        "X-Amz-Security-Token",
        "X-Amz-Algorithm",
        "X-Amz-SignedHeaders",
    )
    query = parse_qsl(exchange.message.query, keep_blank_values=True)
    shown |= {name: value for name, value in query if name not in signed}
    wanted = ("x-amz-acl", "x-amz-copy-source", "x-amz-tagging", "x-amz-server-side-encryption", "x-amz-grant",
              "x-amz-storage-class", "x-amz-object-ownership", "x-amz-bucket-object-lock")  # fmt: skip
    shown |= {
        name: value for name, value in exchange.message.headers.items() if name.startswith(wanted)
    }
    if exchange.operation == "PutBucketPolicy":
        shown["bucketPolicy"] = _json_or_text(exchange.message.body)
    elif exchange.message.body[:1] == b"<" and exchange.operation not in (
        "PutObject",
        "DeleteObjects",
    ):
        shown |= _xml(exchange.message.body)
    return shown


def _json_or_text(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return body.decode("utf-8", "replace")


def _xml(body: bytes) -> dict[str, Any]:
    try:
        read = xmltodict.parse(body, attr_prefix="")
    except Exception:  # the service answers with the error
        return {}
    return {name: value if value is not None else "" for name, value in read.items()}


_EC2_SETS = {
    "InstanceIds": ("instancesSet", "instanceId"), "SecurityGroupIds": ("groupSet", "groupId"),
    "GroupIds": ("securityGroupIdSet", "groupId"), "GroupNames": ("securityGroupSet", "groupName"),
    "VpcIds": ("vpcSet", "vpcId"), "SubnetIds": ("subnetSet", "subnetId"),
    "ImageIds": ("imagesSet", "imageId"),
    "VolumeIds": ("volumeSet", "volumeId"), "SnapshotIds": ("snapshotSet", "snapshotId"),
    "RouteTableIds": ("routeTableIdSet", "routeTableId"), "KeyNames": ("keySet", "keyName"),
    "InternetGatewayIds": ("internetGatewayIdSet", "internetGatewayId"),
    "Resources": ("resourcesSet", "resourceId"),
    "RegionNames": ("regionSet", "regionName"), "ZoneNames": ("availabilityZoneSet", "zoneName"),
    "AllocationIds": ("allocationIdsSet", "allocationId"), "NatGatewayIds": ("natGatewayIdSet",
    "natGatewayId"),
    "NetworkInterfaceIds": ("networkInterfaceIdSet", "networkInterfaceId"), "Owners": ("ownersSet",
    "owner"),
}  # fmt: skip
"""EC2's lists of names, as in real records; other lists get their parameter's name."""


def _of_ec2(parameters: Mapping[str, Any]) -> dict[str, Any]:
    shown = dict(
        _ec2_member(name, value, "GroupName" in parameters) for name, value in parameters.items()
    )
    if "ImageId" in parameters and "MaxCount" in parameters:
        counts = {"minCount": shown.pop("minCount", None), "maxCount": shown.pop("maxCount")}
        shown["instancesSet"] = {"items": [{"imageId": shown.pop("imageId"), **counts}]}
    return shown


def _ec2_member(name: str, value: Any, of_group: bool) -> tuple[str, Any]:
    if name in _EC2_SETS and isinstance(value, list):
        outer, inner = _EC2_SETS[name]
        return outer, {"items": [{inner: each} for each in value]}
    if name == "Filters":
        return "filterSet", {"items": [_ec2_filter(each) for each in value]}
    if name == "Tags":
        return "tagSet", {"items": [camel(each) for each in value]}
    if name == "TagSpecifications":
        return "tagSpecificationSet", {"items": [_ec2_tags(each) for each in value]}
    if name == "UserData":
        return "userData", "<sensitiveDataRemoved>"
    if name == "Description" and of_group:
        return "groupDescription", value
    if isinstance(value, list):
        return lowered(name), {"items": plain(value)}
    return lowered(name), _hidden(lowered(name), value, "ec2")


def _ec2_filter(value: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": value.get("Name"),
        "valueSet": {"items": [{"value": each} for each in value.get("Values", [])]},
    }


def _ec2_tags(value: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "resourceType": value.get("ResourceType"),
        "tags": [camel(each) for each in value.get("Tags", [])],
    }
