"""Who made the call of a CloudTrail record: `userIdentity` -> role or user (pure)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from leastpriv.evidence.source import principal_of, session_of
from leastpriv.model import Principal

# Types whose permissions come from a role or user of the account ("CloudTrail userIdentity element" of the
# CloudTrail User Guide, and the types that public records hold). The others are services, other accounts, root,
# directories, or logins (AssumeRoleWithWebIdentity) that hold no permissions yet.
_OF_A_PRINCIPAL = frozenset({"AssumedRole", "Role", "IAMUser", "FederatedUser"})
# 16 to 128 word characters (`accessKeyIdType` of botocore's model of AWS STS, 1.43 and later).
_ACCESS_KEY = re.compile(r"\w{16,128}", re.ASCII)
_USUAL = 20
"""Characters of the ids that AWS gives out."""
_SESSION_NAME = re.compile(r"[\w+=,.@-]{2,64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Caller:
    """The role or user whose permissions a call used."""

    principal: str
    account: str
    session: str
    invoked_by: str
    console: bool
    access_key: str = ""


class NoCaller(Enum):
    """Why a record has no caller."""

    OTHER = "other"
    """It says that somebody else called, whom no policy of a role or user governs."""
    UNREADABLE = "unreadable"
    """It does not say who called."""


def caller_of(record: Mapping[str, object]) -> Caller | NoCaller:
    """Tell which role or user called. `invokedBy` does not matter: services forward a caller's request."""
    identity = record.get("userIdentity")
    if not isinstance(identity, Mapping):
        return NoCaller.UNREADABLE
    kind = identity.get("type")
    if isinstance(kind, str) and kind not in _OF_A_PRINCIPAL:
        return NoCaller.OTHER
    arn = _text(identity, "arn")
    found = _principal(identity, arn, _text(record, "awsRegion"))
    if isinstance(found, NoCaller):
        return found
    # A service-linked role is governed by AWS alone.
    if ":role/aws-service-role/" in found.arn:
        return NoCaller.OTHER
    return Caller(
        principal=found.arn,
        account=_account(identity) or found.account,
        session=_session(identity, arn) if found.kind == "role" else "",
        invoked_by=_text(identity, "invokedBy"),
        console=_from_console(record, identity),
        access_key=access_key_in(identity),
    )


def access_key_in(fields: Mapping[str, object]) -> str:
    """The `accessKeyId` of an identity or of credentials that were handed out; empty where none can be read."""
    key = _text(fields, "accessKeyId")
    return key if is_access_key(key) else ""


def is_access_key(text: str) -> bool:
    """Whether a text can be the id of an access key."""
    return (len(text) == _USUAL and text.isalnum() and text.isascii()) or _ACCESS_KEY.fullmatch(text) is not None


def _principal(identity: Mapping[str, object], arn: str, region: str) -> Principal | NoCaller:
    issuer = _text(_object(_object(identity, "sessionContext"), "sessionIssuer"), "arn")
    found = principal_of(issuer) or principal_of(arn)
    if found:
        return found
    if identity.get("type") == "FederatedUser":
        # GetFederationToken called by root, or by somebody whom the record does not name.
        return NoCaller.OTHER
    if arn.endswith(":root"):
        return NoCaller.OTHER
    if not arn and not identity.get("type"):
        # Such records are made by a service (`invokedBy`), unless they say nothing at all.
        return NoCaller.OTHER if identity.get("invokedBy") else NoCaller.UNREADABLE
    return _named_user(identity, region) or NoCaller.UNREADABLE


def _named_user(identity: Mapping[str, object], region: str) -> Principal | None:
    """Find a user whom old records give by name only."""
    if identity.get("type") != "IAMUser" or identity.get("arn"):
        return None
    partition = {"cn": "aws-cn", "us-gov": "aws-us-gov"}.get(
        "us-gov" if region.startswith("us-gov-") else region[:2], "aws"
    )
    return principal_of(f"arn:{partition}:iam::{_account(identity)}:user/{_text(identity, 'userName')}")


def _session(identity: Mapping[str, object], arn: str) -> str:
    # `principalId` is AROA…:session
    named = _text(identity, "principalId").partition(":")[2]
    return session_of(arn) or (named if _SESSION_NAME.fullmatch(named) else "")


def _from_console(record: Mapping[str, object], identity: Mapping[str, object]) -> bool:
    # The documentation has it beside `userIdentity`, some records have it in the session context.
    key = "sessionCredentialFromConsole"
    marks = (record.get(key), _object(identity, "sessionContext").get(key))
    return any(str(mark).lower() == "true" for mark in marks if isinstance(mark, str | bool))


def _account(identity: Mapping[str, object]) -> str:
    value = identity.get("accountId")
    # Tools that read the field as a number lose the zeros in front.
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 10**12:
        return str(value).zfill(12)
    return _text(identity, "accountId")


def _object(fields: Mapping[str, object], key: str) -> Mapping[str, object]:
    value = fields.get(key)
    return value if isinstance(value, Mapping) else {}


def _text(fields: Mapping[str, object], key: str) -> str:
    value = fields.get(key)
    return value if isinstance(value, str) else ""
