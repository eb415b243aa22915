"""Writes a call as CloudTrail does: docs.aws.amazon.com, "CloudTrail record contents", 2026-11, and
real records.
"""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree as ET

from tests.end_to_end.lab import event_names, request_elements, resources, response_elements
from tests.end_to_end.lab.exchange import Exchange

Record = dict[str, Any]

NOT_AUTHENTICATED = frozenset({
    "ExpiredToken", "ExpiredTokenException", "IncompleteSignature", "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidToken", "MissingAuthenticationToken", "MissingAuthenticationTokenException",
    "SignatureDoesNotMatch",
    "InvalidSignatureException", "UnrecognizedClientException", "AuthFailure",
})  # fmt: skip
"""Errors of unknown callers: CloudTrail has no record of them."""

_DENIED = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError")
_SHOWN_THOUGH_DENIED = frozenset({"ce", "ec2", "health", "rds", "s3", "secretsmanager"})
"""Services whose denied calls keep their parameters in real records; those of others have null."""

_TLS = {"tlsVersion": "TLSv1.3", "cipherSuite": "TLS_AES_128_GCM_SHA256"}


@dataclass(frozen=True, slots=True)
class Answer:
    """The service's answer; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


def record_of(exchange: Exchange, answer: Answer, account: str) -> Record | None:
    """The record of a call, or None for one that CloudTrail does not record."""
    service, operation = exchange.service, exchange.operation
    code, text = error_of(exchange, answer)
    if code in NOT_AUTHENTICATED or not event_names.is_recorded(service, operation):
        return None
    if not exchange.identity:
        return None
    read_only = event_names.is_read_only(service, operation)
    denied = code in _DENIED
    shows_request = not denied or service in _SHOWN_THOUGH_DENIED
    record = bare_record(
        exchange.identity,
        exchange.started.strftime("%Y-%m-%dT%H:%M:%SZ"),
        event_names.event_source(service),
        event_names.event_name(service, operation, exchange.model),
        event_names.event_region(service, exchange.region),
        account,
    )
    data = event_names.is_data_event(service, operation)
    record |= {
        "sourceIPAddress": exchange.message.client,
        "userAgent": (
            f"[{agent}]"
            if (agent := exchange.message.headers.get("user-agent", "")) and service == "s3"
            else agent
        ),
        "requestParameters": (
            request_elements.request_parameters(exchange) if shows_request else None
        ),
        "responseElements": None,
        "requestID": (
            answer.headers.get("x-amzn-requestid")
            or answer.headers.get("x-amz-request-id")
            or _new_id()
        ),
        "readOnly": read_only,
        "managementEvent": not data,
        "eventCategory": "Data" if data else "Management",
        "tlsDetails": {**_TLS, "clientProvidedHostHeader": _host(exchange)},
    }
    if code:
        record |= {
            "errorCode": f"Client.{code}" if service == "ec2" else code,
            "errorMessage": text,
        }
    else:
        record["responseElements"] = response_elements.response_elements(
            exchange, answer.headers, answer.body, read_only
        )
    found = resources.resources_of(exchange, record, account) if not denied or data else []
    if found:
        record["resources"] = found
    if service in event_names.API_VERSIONS:
        record["apiVersion"] = event_names.API_VERSIONS[service]
    if service == "s3":
        record["additionalEventData"] = _additional(exchange, answer)
    return record


def further_records(exchange: Exchange, record: Record) -> list[Record]:
    """A recorded DeleteObjects has a DeleteObject record for each key."""
    if record["eventName"] != "DeleteObjects" or "errorCode" in record:
        return []
    bucket, account = exchange.parameters.get("Bucket"), record["recipientAccountId"]
    found = []
    for each in (exchange.parameters.get("Delete") or {}).get("Objects", []):
        key = each.get("Key")
        of_bucket = {
            "accountId": account,
            "type": "AWS::S3::Bucket",
            "ARN": f"arn:aws:s3:::{bucket}",
        }
        found.append(
            record
            | {
                "eventName": "DeleteObject",
                "eventID": _new_id(),
                "requestParameters": {
                    "bucketName": bucket,
                    "Host": record["requestParameters"]["Host"],
                    "key": key,
                },
                "resources": [
                    {"type": "AWS::S3::Object", "ARN": f"arn:aws:s3:::{bucket}/{key}"},
                    of_bucket,
                ],
            }
        )
    return found


def bare_record(
    identity: dict[str, Any], time: str, source: str, name: str, region: str, account: str
) -> Record:
    """The fields of every record; the caller adds the others."""
    return {
        "eventVersion": "1.11",
        "userIdentity": identity,
        "eventTime": time,
        "eventSource": source,
        "eventName": name,
        "awsRegion": region,
        "sourceIPAddress": "",
        "userAgent": "",
        "requestParameters": None,
        "responseElements": None,
        "requestID": _new_id(),
        "eventID": _new_id(),
        "readOnly": False,
        "eventType": "AwsApiCall",
        "managementEvent": True,
        "recipientAccountId": account,
        "eventCategory": "Management",
    }


def error_of(exchange: Exchange, answer: Answer) -> tuple[str, str | None]:
    """The error's code and message; empty for a success."""
    if answer.status < 400 or answer.status == 304:
        return "", None
    if exchange.refusal is not None:
        code = _code(answer) or "AccessDenied"
        # The answer to HEAD has no body, and CloudTrail records no more than the service answers.
        return (
            code,
            "Access Denied" if exchange.message.method == "HEAD" else exchange.refusal.message,
        )
    return _code(answer) or {404: "NoSuchKey", 403: "AccessDenied"}.get(
        answer.status, str(answer.status)
    ), _text(answer)


def _code(answer: Answer) -> str:
    text = answer.body.decode("utf-8", "replace")
    if text.lstrip().startswith("<"):
        return _xml(text, "Code")
    compatible = answer.headers.get("x-amzn-query-error")
    if compatible:
        return compatible.partition(";")[0]
    read = _json(answer)
    found = answer.headers.get("x-amzn-errortype") or read.get("__type") or read.get("code") or ""
    return str(found).rpartition("#")[2].partition(":")[0]


def _text(answer: Answer) -> str | None:
    text = answer.body.decode("utf-8", "replace")
    if text.lstrip().startswith("<"):
        return _xml(text, "Message") or None
    read = _json(answer)
    return read.get("message") or read.get("Message")


def _json(answer: Answer) -> dict[str, Any]:
    try:
        if "cbor" in answer.headers.get("content-type", ""):
            import cbor2

            read = cbor2.loads(answer.body)
        else:
            read = json.loads(answer.body)
    except ValueError:
        return {}
    return read if isinstance(read, dict) else {}


def _xml(text: str, tag: str) -> str:
    try:
        for element in ET.fromstring(text).iter():  # noqa: S314 - an answer of the local server
            if element.tag.rpartition("}")[2] == tag:
                return element.text or ""
    except ET.ParseError:
        pass
    found = re.search(rf"<{tag}>([^<]*)</{tag}>", text)
    return found.group(1) if found else ""


def _host(exchange: Exchange) -> str:
    name = {"s3": "s3", "stepfunctions": "states", "cloudwatch": "monitoring"}.get(
        exchange.service, exchange.signing
    )
    return f"{name}.{exchange.region}.amazonaws.com"


def _additional(exchange: Exchange, answer: Answer) -> dict[str, Any]:
    in_query = any(
        name in exchange.message.query for name in ("X-Amz-Credential", "AWSAccessKeyId")
    )
    return {
        "SignatureVersion": "SigV2" if "AWSAccessKeyId" in exchange.message.query else "SigV4",
        "CipherSuite": _TLS["cipherSuite"],
        "bytesTransferredIn": len(exchange.message.body),
        "AuthenticationMethod": "QueryString" if in_query else "AuthHeader",
        "x-amz-id-2": answer.headers.get("x-amz-id-2", ""),
        "bytesTransferredOut": len(answer.body),
    }


def _new_id() -> str:
    return str(uuid.uuid4())
