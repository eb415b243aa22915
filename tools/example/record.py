"""One CloudTrail record from a call and its actor, in the shape of event version 1.11.

Field order and shapes follow records that CloudTrail delivers
(https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html).
Every identifier is a hash of its position in the story, so that a change of one run does not change
the others.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias

Json: TypeAlias = dict[str, object]
Need: TypeAlias = tuple[str, str]
"""An action and the ARN it is authorized on."""

ACCOUNT = "111122223333"
REGION = "eu-west-1"
GLOBAL_REGION = "us-east-1"
"""Where CloudTrail records calls of global services such as IAM."""
ASSETS = f"cdk-hnb659fds-assets-{ACCOUNT}-{REGION}"
OIDC_PROVIDER = f"arn:aws:iam::{ACCOUNT}:oidc-provider/token.actions.githubusercontent.com"

_READS = ("Get", "List", "Describe", "Head", "AssumeRole")
_BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"


@dataclass(frozen=True, slots=True)
class Call:
    """One API call of the story."""

    service: str
    """First label of the event source, `monitoring` for CloudWatch."""
    name: str
    """Event name, `CreateFunction20150331`."""
    parameters: Json | None
    needs: tuple[Need, ...] = ()
    """The permissions that the call requires, which a reader of the trail has to find."""
    response: Json | None = None
    resources: tuple[Json, ...] = ()
    error: str = ""
    message: str = ""
    region: str = ""
    """Empty: the home region of this account."""
    via: str = ""
    """Service that makes the call with the caller's own permissions."""
    data: bool = False
    logged: bool = True
    """False for a call that this account's trail does not record."""
    wait: int = 1
    """Seconds since the call before."""
    extra: Json = field(default_factory=dict)
    """`additionalEventData`."""

    @property
    def recorded_in(self) -> str:
        """Region whose trail files hold the record."""
        return self.region or (GLOBAL_REGION if self.service == "iam" else REGION)


@dataclass(frozen=True, slots=True)
class Actor:
    """The identity and source of calls."""

    identity: Json
    address: str
    agent: str
    console: bool = False


def digest(*parts: object) -> str:
    """64 hexadecimal digits, always the same for the same parts."""
    return hashlib.sha256("|".join(map(str, parts)).encode()).hexdigest()


def number(*parts: object) -> int:
    """Derive a non-negative number below 2**32, always the same for the same parts."""
    return int(digest(*parts)[:8], 16)


def uuid(*parts: object) -> str:
    """Derive a UUID, version 4 in form, from the parts."""
    text = digest(*parts)
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:32]}"


def token(length: int, *parts: object, alphabet: str = _BASE32) -> str:
    """At most 32 letters and digits, derived from the parts."""
    text = digest("token", *parts)
    return "".join(
        alphabet[int(text[2 * index : 2 * index + 2], 16) % len(alphabet)]
        for index in range(length)
    )


def role_id(role: str) -> str:
    """Derive the unique id of a role."""
    return "AROA" + token(10, "role", role) + "EXAMPLE"


def role_session(
    role: str, session: str, created: datetime, *, path: str = "/", oidc: bool = False
) -> Json:
    """`userIdentity` of a role session; only `sessionIssuer` keeps the path of the role."""
    unique = role_id(role)
    context: Json = {
        "sessionIssuer": {
            "type": "Role",
            "principalId": unique,
            "arn": f"arn:aws:iam::{ACCOUNT}:role{path}{role}",
            "accountId": ACCOUNT,
            "userName": role,
        },
        "attributes": {"creationDate": _time(created), "mfaAuthenticated": "false"},
    }
    if oidc:
        context["webIdFederationData"] = {"federatedProvider": OIDC_PROVIDER, "attributes": {}}
    return {
        "type": "AssumedRole",
        "principalId": f"{unique}:{session}",
        "arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/{role}/{session}",
        "accountId": ACCOUNT,
        "accessKeyId": "ASIA" + token(9, "key", role, session, created) + "EXAMPLE",
        "sessionContext": context,
    }


def credentials(identity: Json) -> Json:
    """The credentials in STS's answer for a session."""
    return {
        "accessKeyId": identity["accessKeyId"],
        "sessionToken": "EXAMPLE" + token(16, identity["accessKeyId"]),
    }


def record(call: Call, actor: Actor, when: datetime, key: str) -> Json:
    """Return the record that CloudTrail writes; `key` is its position in the story and determines
    its identifiers.
    """
    made: Json = {
        "eventVersion": "1.11",
        "userIdentity": {**actor.identity, **({"invokedBy": call.via} if call.via else {})},
        "eventTime": _time(when),
        "eventSource": f"{call.service}.amazonaws.com",
        "eventName": call.name,
        "awsRegion": call.recorded_in,
        "sourceIPAddress": call.via or actor.address,
        "userAgent": call.via or actor.agent,
        **({"errorCode": call.error, "errorMessage": call.message} if call.error else {}),
        "requestParameters": call.parameters,
        "responseElements": None if call.error else call.response,
        **_additional(call, key),
        "requestID": _request_id(call, key),
        "eventID": uuid("event", key),
        "readOnly": call.name.startswith(_READS),
        **({"resources": list(call.resources)} if call.resources else {}),
        "eventType": "AwsConsoleSignIn" if call.service == "signin" else "AwsApiCall",
        "managementEvent": not call.data,
        "recipientAccountId": ACCOUNT,
        "eventCategory": "Data" if call.data else "Management",
    }
    if not call.via and not actor.agent.endswith(".amazonaws.com"):
        made["tlsDetails"] = _tls(call)
    if actor.console:
        made["sessionCredentialFromConsole"] = "true"
    return made


def _time(when: datetime) -> str:
    return f"{when:%Y-%m-%dT%H:%M:%SZ}"


def _request_id(call: Call, key: str) -> str:
    return token(16, "request", key) if call.service == "s3" else uuid("request", key)


def _additional(call: Call, key: str) -> Json:
    if call.service != "s3":
        return {"additionalEventData": call.extra} if call.extra else {}
    return {
        "additionalEventData": {
            "SignatureVersion": "SigV4",
            "CipherSuite": "TLS_AES_128_GCM_SHA256",
            "bytesTransferredIn": 0,
            "AuthenticationMethod": "AuthHeader",
            "x-amz-id-2": digest("s3", key)[:52],
            "bytesTransferredOut": 0,
            **call.extra,
        }
    }


def _tls(call: Call) -> Json:
    host = f"{call.service}.{call.recorded_in}.amazonaws.com"
    if call.service == "iam" or (call.service == "sts" and call.recorded_in == GLOBAL_REGION):
        host = f"{call.service}.amazonaws.com"
    if call.service == "s3" and call.parameters and "Host" in call.parameters:
        host = str(call.parameters["Host"])
    return {
        "tlsVersion": "TLSv1.3",
        "cipherSuite": "TLS_AES_128_GCM_SHA256",
        "clientProvidedHostHeader": host,
    }
