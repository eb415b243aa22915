"""Reads the caller of a CloudTrail record from `userIdentity`: a role or user of the account, or
none (pure).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from fnmatch import fnmatchcase
from functools import cache

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.aws.arns import principal_of, session_of
from leastpriv.models import Principal
from leastpriv.permissions.fact_tables import table

# Identity types whose permissions come from a role or user of the account ("CloudTrail userIdentity
# element" of the CloudTrail User Guide, and types in public records). The others are services,
# other accounts, root, directories, or AssumeRole calls (AssumeRoleWithWebIdentity) without
# permissions.
_PRINCIPAL_TYPES = frozenset({"AssumedRole", "Role", "IAMUser", "FederatedUser"})
OTHER_TYPES = frozenset(
    {
        "Root",
        "AWSAccount",
        "AWSService",
        "Directory",
        "WebIdentityUser",
        "SAMLUser",
        "IdentityCenterUser",
    }
)
"""The other identity types that "CloudTrail userIdentity element" lists; `Unknown` and new ones may
be any caller.
"""
CONSOLE = "console"
_PACKAGE = "leastpriv.cloudtrail"
"""The package of the table of workloads."""
# 16 to 128 word characters (`accessKeyIdType` of botocore's model of AWS STS, 1.43 and later).
_ACCESS_KEY = re.compile(r"\w{16,128}", re.ASCII)
_COMMON_KEY_LENGTH = 20
"""Length of most ids that AWS issues."""
_SESSION_NAME = re.compile(r"[\w+=,.@-]{2,64}", re.ASCII)


class Caller(Struct, frozen=True):
    """The role or user whose permissions a call used."""

    principal: str
    account: str
    session: str
    invoked_by: str
    doubt: str = ""
    """Why the call may be no deployment's: `console`, or an identity type that is not known."""
    access_key: str = ""

    def in_session(self, arn: str, principal_id: str) -> Caller:
        """Returns the caller with the session of a record, if it is a role; `principal_id` is
        AROA…:session.
        """
        session_name = principal_id.partition(":")[2]
        session = session_of(arn) or (session_name if _SESSION_NAME.fullmatch(session_name) else "")
        is_role = self.principal.split(":", 5)[5].startswith("role/")
        return replace(self, session=session) if is_role else self


class MissingCaller(Enum):
    """Why a record has no caller of a role or user."""

    OTHER = "other"
    """Another caller, whose permissions no policy of a role or user grants."""
    UNREADABLE = "unreadable"
    """The record has no caller."""


def caller_of(record: Mapping[str, object]) -> Caller | MissingCaller:
    """Returns the role or user that called, whatever `invokedBy` says: services forward a caller's
    request.
    """
    identity = record.get("userIdentity")
    if not isinstance(identity, Mapping):
        return MissingCaller.UNREADABLE
    kind = identity.get("type")
    if isinstance(kind, str) and kind in OTHER_TYPES:
        return MissingCaller.OTHER
    unknown_type = kind if isinstance(kind, str) and kind not in _PRINCIPAL_TYPES else ""
    arn = text_in(identity, "arn")
    principal = _principal(identity, arn, text_in(record, "awsRegion"))
    if isinstance(principal, MissingCaller):
        # A caller of a type that is not known may be any, unless the record names another one.
        return MissingCaller.OTHER if unknown_type and arn else principal
    # AWS alone controls a service-linked role.
    if ":role/aws-service-role/" in principal.arn:
        return MissingCaller.OTHER
    return Caller(
        principal=principal.arn,
        account=account_in(identity) or principal.account,
        session="",
        invoked_by=text_in(identity, "invokedBy"),
        doubt=CONSOLE if _from_console(record, identity) else unknown_type,
        access_key=access_key_in(identity),
    ).in_session(arn, text_in(identity, "principalId"))


@cache
def workload_services() -> frozenset[str]:
    """Returns the services that assume a role for a workload: a function, a task or a pod."""
    return frozenset(
        row["name"] for row in table("workloads", _PACKAGE) if row["login"] == "service"
    )


@cache
def is_workload(provider: str) -> bool:
    """Whether STS issues the keys of a workload for identities of this provider, or for this
    service.
    """
    return any(fnmatchcase(provider, row["name"]) for row in table("workloads", _PACKAGE))


def caller_arn(record: Mapping[str, object]) -> str:
    """Returns the ARN of a record's caller, without the session; empty where there is none."""
    identity = object_in(record, "userIdentity")
    issuer = text_in(issuer_of(identity), "arn")
    return without_session(issuer or text_in(identity, "arn"))


def without_session(arn: str) -> str:
    """Returns a caller's ARN without the session name, so that sessions of one role are equal."""
    return arn.rpartition("/")[0] if ":assumed-role/" in arn else arn


def access_key_in(fields: Mapping[str, object]) -> str:
    """Returns the `accessKeyId` of an identity or of issued credentials; empty where there is no
    valid one.
    """
    key = text_in(fields, "accessKeyId")
    return key if is_access_key(key) else ""


def is_access_key(text: str) -> bool:
    """Whether a text is a valid access key id."""
    return (
        len(text) == _COMMON_KEY_LENGTH and text.isalnum() and text.isascii()
    ) or _ACCESS_KEY.fullmatch(text) is not None


def _principal(identity: Mapping[str, object], arn: str, region: str) -> Principal | MissingCaller:
    issuer = text_in(issuer_of(identity), "arn")
    principal = principal_of(issuer) or principal_of(arn)
    if principal:
        return principal
    if identity.get("type") == "FederatedUser":
        # GetFederationToken called by root, or by a caller that the record does not name.
        return MissingCaller.OTHER
    if arn.endswith(":root"):
        return MissingCaller.OTHER
    if not arn and not identity.get("type"):
        # A service makes such records (`invokedBy`), unless they have no caller at all.
        return MissingCaller.OTHER if identity.get("invokedBy") else MissingCaller.UNREADABLE
    return _named_user(identity, region) or MissingCaller.UNREADABLE


def _named_user(identity: Mapping[str, object], region: str) -> Principal | None:
    """Returns a user that old records give by name only."""
    if identity.get("type") != "IAMUser" or identity.get("arn"):
        return None
    partition = {"cn": "aws-cn", "us-gov": "aws-us-gov"}.get(
        "us-gov" if region.startswith("us-gov-") else region[:2], "aws"
    )
    return principal_of(
        f"arn:{partition}:iam::{account_in(identity)}:user/{text_in(identity, 'userName')}"
    )


def _from_console(record: Mapping[str, object], identity: Mapping[str, object]) -> bool:
    # Documented next to `userIdentity`, but some records have it in the session context.
    key = "sessionCredentialFromConsole"
    marks = (record.get(key), object_in(identity, "sessionContext").get(key))
    return any(str(mark).lower() == "true" for mark in marks if isinstance(mark, str | bool))


def issuer_of(identity: Mapping[str, object]) -> Mapping[str, object]:
    """Returns the role that issued the session of an identity; empty where there is none."""
    return object_in(object_in(identity, "sessionContext"), "sessionIssuer")


def account_in(identity: Mapping[str, object]) -> str:
    """Returns the account of an identity; empty where it has none."""
    value = identity.get("accountId")
    # Tools that parse the field as a number drop leading zeros.
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 10**12:
        return str(value).zfill(12)
    return text_in(identity, "accountId")


def object_in(fields: Mapping[str, object], key: str) -> Mapping[str, object]:
    """Returns a member of a record that is an object; an empty one for another value."""
    value = fields.get(key)
    return value if isinstance(value, Mapping) else {}


def text_in(fields: Mapping[str, object], key: str) -> str:
    """Returns a member of a record that is a text; empty for another value."""
    value = fields.get(key)
    return value if isinstance(value, str) else ""
