"""Decodes a request to the lab into a call: operation, caller, and denial."""

from __future__ import annotations

import contextvars
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs, quote

from botocore.model import OperationModel
from botocore.session import get_session
from moto.core.parse import PROTOCOL_PARSERS
from moto.core.request import Request, determine_request_protocol
from moto.core.routing import get_service_router

SERVICES = {
    "access-analyzer": "accessanalyzer", "email": "ses", "elasticfilesystem": "efs",
    "elasticloadbalancing": "elbv2",
    "monitoring": "cloudwatch", "states": "stepfunctions", "tagging": "resourcegroupstaggingapi",
}  # fmt: skip
"""The name in a signature → the API model's name, where they differ."""

_CREDENTIAL = re.compile(r"Credential=([^/]+)/\d{8}/([^/]+)/([^/]+)/aws4_request")
_CBOR_PATH = re.compile(r"^/service/[^/]+/operation/([^/?]+)")
_UNSIGNED = ("AssumeRoleWithWebIdentity", "AssumeRoleWithSAML")


@dataclass(frozen=True, slots=True)
class Message:
    """A received HTTP request; header names in lower case."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    client: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why IAM denied it; `message` is AWS's sentence."""

    action: str
    resource: str
    message: str


@dataclass(slots=True)
class Exchange:
    """A call; `signing` is the service in the signature, `service` the API model's, `action` the
    checked one.
    """

    message: Message
    access_key: str
    region: str
    signing: str
    service: str
    operation: str
    parameters: dict[str, Any]
    model: OperationModel | None
    started: datetime
    identity: dict[str, Any] = field(default_factory=dict)
    action: str = ""
    checked: tuple[str, ...] = ()
    """The resources of the checked action."""
    refusal: Refusal | None = None


CURRENT: contextvars.ContextVar[Exchange | None] = contextvars.ContextVar(
    "lab_exchange", default=None
)
"""The call of this task or thread; the tasks of a stack inherit that of the stack's operation."""


def read_exchange(message: Message, region: str, now: datetime) -> Exchange | None:
    """The call of a request, or None if it is no call of an AWS API. `region` is for unsigned
    calls.
    """
    query = parse_qs(message.query, keep_blank_values=True)
    found = _CREDENTIAL.search(message.headers.get("authorization", ""))
    presigned = query.get("X-Amz-Credential", [""])[0].split("/")
    if found:
        key, region, signing = found.groups()
    elif len(presigned) == 5:
        key, region, signing = presigned[0], presigned[2], presigned[3]
    elif "AWSAccessKeyId" in query:
        key, signing = query["AWSAccessKeyId"][0], "s3"
    elif any(name.encode() in message.body for name in _UNSIGNED):
        key, signing = "", "sts"
    else:
        return None
    service, operation, parameters, model = _parsed(message, signing)
    if not operation:
        return None
    return Exchange(message, key, region, signing, service, operation, parameters, model, now)


def _parsed(
    message: Message, signing: str
) -> tuple[str, str, dict[str, Any], OperationModel | None]:
    service = SERVICES.get(signing, signing)
    host = message.headers.get("host", "localhost")
    url = f"http://{host}{quote(message.path, safe='/~%')}" + (
        f"?{message.query}" if message.query else ""
    )
    request = Request.from_primitives(message.method, url, message.headers, message.body)
    request.environ["RAW_URI"] = quote(message.path, safe="/~%")
    cbor = _CBOR_PATH.match(message.path)
    if cbor:
        return (
            service,
            cbor.group(1),
            _cbor_parameters(message.body),
            _operation_model(service, cbor.group(1)),
        )
    service, model, uri = _routed(request, service, message)
    if model is None:
        return service, "", {}, None
    parser = PROTOCOL_PARSERS[determine_request_protocol(model.service_model, request.content_type)]
    values = {
        "method": request.method, "values": request.values, "headers": request.headers,
        "body": message.body,
        "url_path": message.path, "url_params": uri,
    }  # fmt: skip
    try:
        parameters = parser(model).parse(values)
    except Exception:  # the caller's mistake: the service answers with the error
        parameters = {}
    return service, model.name, parameters or {}, model


def _routed(
    request: Request, service: str, message: Message
) -> tuple[str, OperationModel | None, dict[str, Any]]:
    names = {
        "elbv2": ("elbv2", "elb"),
        "ses": ("sesv2", "ses"),
        "apigateway": ("apigateway", "apigatewayv2"),
    }
    for name in names.get(service, (service,)):
        try:
            model, uri = get_service_router(name).match(request)
        except Exception:  # not of this service, or a name that no model has  # noqa: S112
            continue
        return name, model, uri
    # The JavaScript SDK shortens some targets: CloudTrail_20131101.LookupEvents.
    target = message.headers.get("x-amz-target", "").rpartition(".")[2]
    return service, _operation_model(service, target) if target else None, {}


def _operation_model(service: str, operation: str) -> OperationModel | None:
    try:
        return get_session().get_service_model(service).operation_model(operation)
    except Exception:  # an operation that no model has
        return None


def _cbor_parameters(body: bytes) -> dict[str, Any]:
    if not body:
        return {}
    import cbor2

    read = cbor2.loads(body)
    return read if isinstance(read, dict) else {}
