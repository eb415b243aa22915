"""The principal of CloudFormation's calls: the caller of the stack's operation, or the role of the
stack.
"""

from __future__ import annotations

import contextvars
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from botocore.session import get_session
from ministack.core.responses import get_account_id

from tests.end_to_end.lab import (
    enforcement,
    event_names,
    identities,
    records,
    request_elements,
    wording,
)
from tests.end_to_end.lab.exchange import CURRENT, Exchange, Refusal
from tests.end_to_end.lab.trail import Trail

CLOUDFORMATION = "cloudformation.amazonaws.com"
ACTING_ROLE: contextvars.ContextVar[str] = contextvars.ContextVar("lab_acting_role", default="")
"""The ARN of the present stack's role; empty if it acts for the caller."""

_SESSION = "AWSCloudFormation"
_VIA = {
    "aws:CalledVia": [CLOUDFORMATION],
    "aws:CalledViaFirst": CLOUDFORMATION,
    "aws:CalledViaLast": CLOUDFORMATION,
    "aws:ViaAWSService": "true",
}
_EVENTS = {
    "s3:PutEncryptionConfiguration": "PutBucketEncryption",
    "s3:PutLifecycleConfiguration": "PutBucketLifecycle",
    "s3:PutBucketCORS": "PutBucketCors", "lambda:InvokeFunction": "Invoke",
    "apigateway:POST": "CreateRestApi",
    "apigateway:PATCH": "UpdateRestApi", "apigateway:DELETE": "DeleteRestApi",
}  # fmt: skip
"""The event of an action with another name."""

_MODELS = {"states": "stepfunctions"}
_LONG_CODE = frozenset({
    "apigateway", "dynamodb", "ecr", "ecs", "events", "kinesis", "kms", "lambda", "logs",
    "scheduler",
    "secretsmanager", "ssm", "states",
})  # fmt: skip
_CODES = {"ec2": "Client.UnauthorizedOperation", "sns": "AuthorizationError"}


@dataclass(frozen=True, slots=True)
class Actor:
    """The principal of a call: a role's ARN, or without one the access key of the caller."""

    exchange: Exchange
    role: str

    def refusal(
        self, action: str, resource: str, context: Mapping[str, Any] | None = None
    ) -> Refusal | None:
        """Whether its policies deny an action."""
        region = self.exchange.region
        if action == "secretsmanager:CreateSecret":
            resource += wording.DRAWN
        given = {**_VIA, **(context or {})}
        if not self.role:
            return enforcement.policy_denial(
                self.exchange.access_key, action, resource, region, given
            )
        session = f"arn:aws:sts::{get_account_id()}:assumed-role/{self.role.rpartition('/')[2]}/{_SESSION}"
        return enforcement.role_denial(self.role, session, action, resource, region, given)

    def identity(self) -> dict[str, Any]:
        """The identity as in records."""
        if self.role:
            return identities.role_session(self.role, _SESSION, get_account_id(), CLOUDFORMATION)
        return identities.forwarded(self.exchange.identity, CLOUDFORMATION)


def actor() -> Actor | None:
    """The present principal, or None outside a call."""
    exchange = CURRENT.get()
    return (
        Actor(exchange, ACTING_ROLE.get()) if exchange is not None and exchange.identity else None
    )


@dataclass(frozen=True, slots=True)
class Recorder:
    """Writes the records of CloudFormation's calls."""

    trail: Trail

    def note(
        self,
        by: Actor,
        action: str,
        request: Mapping[str, Any],
        refusal: Refusal | None,
        response: Any = None,
    ) -> None:
        """Write one call; `refusal` is why it failed."""
        prefix, _, name = action.partition(":")
        service = _MODELS.get(prefix, prefix)
        operation = _EVENTS.get(action, name)
        record = records.bare_record(
            by.identity(), datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            event_names.event_source(service),
            event_names.event_name(service, operation, _model(service, operation)),
            event_names.event_region(service, by.exchange.region), get_account_id(),
        )  # fmt: skip
        data = event_names.is_data_event(service, operation)
        record |= {
            "sourceIPAddress": CLOUDFORMATION,
            "userAgent": CLOUDFORMATION,
            "readOnly": event_names.is_read_only(service, operation),
            "managementEvent": not data,
            "eventCategory": "Data" if data else "Management",
        }
        if refusal is None:
            shown = request_elements.real_addresses(dict(request), service, by.exchange.region)
            record |= {
                "requestParameters": shown or None,
                "responseElements": _response(prefix, response, operation, service, by),
            }
        else:
            code = _CODES.get(
                prefix, "AccessDeniedException" if prefix in _LONG_CODE else "AccessDenied"
            )
            record |= {"errorCode": code, "errorMessage": refusal.message}
        self.trail.add(record, action)

    def note_assumed(self, by: Actor) -> None:
        """Write that CloudFormation assumed the stack's role."""
        identity = {"type": "AWSService", "invokedBy": CLOUDFORMATION}
        when = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        account = get_account_id()
        record = records.bare_record(
            identity, when, "sts.amazonaws.com", "AssumeRole", by.exchange.region, account
        )
        record |= {
            "sourceIPAddress": CLOUDFORMATION,
            "userAgent": CLOUDFORMATION,
            "readOnly": True,
            "requestParameters": {"roleArn": by.role, "roleSessionName": _SESSION},
            "resources": [{"accountId": account, "type": "AWS::IAM::Role", "ARN": by.role}],
            "sharedEventID": str(uuid.uuid4()),
        }
        self.trail.add(record)


def _model(service: str, operation: str) -> Any:
    try:
        return get_session().get_service_model(service).operation_model(operation)
    except Exception:  # an event that is no operation of the API
        return None


def _response(
    prefix: str, response: dict[str, Any] | None, operation: str, service: str, by: Actor
) -> Any:
    if event_names.is_read_only(service, operation):
        return None
    shown = request_elements.real_addresses(response or {}, service, by.exchange.region)
    if prefix == "ec2":
        return {"requestId": str(uuid.uuid4()), "_return": True, **shown}
    return shown or None
