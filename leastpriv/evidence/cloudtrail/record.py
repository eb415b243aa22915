"""One CloudTrail record -> one call, one gap, or nothing: pure, untrusted in, typed out.

Field meanings: "CloudTrail record contents" of the CloudTrail User Guide (excerpts read 2026-11-24), and what
4,584 public records hold.

Who made the call of a CloudTrail record: `userIdentity` -> role or user (pure).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, StrEnum
from functools import lru_cache
from typing import NamedTuple

from leastpriv.aws.arns import principal_of, session_of
from leastpriv.aws.error_codes import call_outcome
from leastpriv.models import Call, Gap, GapKind, Outcome, Principal, Scope

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
    arn = _text_field(identity, "arn")
    found = _principal(identity, arn, _text_field(record, "awsRegion"))
    if isinstance(found, NoCaller):
        return found
    # A service-linked role is governed by AWS alone.
    if ":role/aws-service-role/" in found.arn:
        return NoCaller.OTHER
    return Caller(
        principal=found.arn,
        account=_account(identity) or found.account,
        session=_session(identity, arn) if found.kind == "role" else "",
        invoked_by=_text_field(identity, "invokedBy"),
        console=_from_console(record, identity),
        access_key=access_key_in(identity),
    )


def access_key_in(fields: Mapping[str, object]) -> str:
    """The `accessKeyId` of an identity or of credentials that were handed out; empty where none can be read."""
    key = _text_field(fields, "accessKeyId")
    return key if is_access_key(key) else ""


def is_access_key(text: str) -> bool:
    """Whether a text can be the id of an access key."""
    return (len(text) == _USUAL and text.isalnum() and text.isascii()) or _ACCESS_KEY.fullmatch(text) is not None


def _principal(identity: Mapping[str, object], arn: str, region: str) -> Principal | NoCaller:
    issuer = _text_field(_object(_object(identity, "sessionContext"), "sessionIssuer"), "arn")
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
    return principal_of(f"arn:{partition}:iam::{_account(identity)}:user/{_text_field(identity, 'userName')}")


def _session(identity: Mapping[str, object], arn: str) -> str:
    # `principalId` is AROA…:session
    named = _text_field(identity, "principalId").partition(":")[2]
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
    return _text_field(identity, "accountId")


def _object(fields: Mapping[str, object], key: str) -> Mapping[str, object]:
    value = fields.get(key)
    return value if isinstance(value, Mapping) else {}


def _text_field(fields: Mapping[str, object], key: str) -> str:
    value = fields.get(key)
    return value if isinstance(value, str) else ""


_REGION = re.compile(r"[a-z]{2,5}(?:-[a-z]+)+-\d{1,2}[a-z]?", re.ASCII)
_NUMBER = re.compile(r"[0-9.]+")
_PRINTABLE = re.compile(r"[!-~]{1,256}", re.ASCII)
_RECORD_FIELDS = frozenset({"eventName", "eventSource", "eventVersion", "userIdentity"})
_ARN_KEYS = ("ARN", "arn", "ARNPrefix", "arnPrefix")
NOTHING: Mapping[str, object] = {}


class NotACall(StrEnum):
    """Why a record is no call of a role or user."""

    EVENT_TYPE = "event-type"
    """Service events, sign-ins, console actions, network activity, insights: no API call of the caller."""
    OTHER_CALLER = "other-caller"
    """A service, another account, root, a service-linked role, a login that has no permissions yet."""
    CONSOLE = "console"
    """A person in the AWS console, with that person's rhythm: it says nothing about what a deploy needs."""
    NOT_A_RECORD = "not-a-record"
    """An object without any of the fields of a record: a digest, or something that is not CloudTrail's."""
    NOT_WANTED = "not-wanted"
    """A call of somebody whose calls are not read."""


def read_record(record: object, wants: Callable[[str], bool] | None = None) -> Call | Gap | None:
    """Read the call that a record shows; `None` where it shows no call of a role or user.

    Calls of those whom `wants` refuses are `None` too. A record that would be a call but lacks what makes it
    one (who, when, what) is a gap. Never raises.
    """
    found = examine(record, wants)
    return None if isinstance(found, NotACall) else found


def examine(record: object, wants: Callable[[str], bool] | None = None) -> Call | Gap | NotACall:
    """As `read_record`, with the reason in place of `None`."""
    if not isinstance(record, Mapping):
        return _gap(NOTHING, "it is not a JSON object")
    found = whose(record, wants)
    return call_of(record, found) if isinstance(found, Caller) else found


def whose(record: Mapping[str, object], wants: Callable[[str], bool] | None = None) -> Caller | Gap | NotACall:
    """Who made the call that a record shows, if it is one that is read.

    Reads the fields `eventType`, `eventCategory`, `eventSource`, `awsRegion`, `userIdentity` and
    `sessionCredentialFromConsole`; and for a gap all that names the record.
    """
    if _RECORD_FIELDS.isdisjoint(record):
        return NotACall.NOT_A_RECORD
    if not _is_api_call(record):
        return NotACall.EVENT_TYPE
    caller = caller_of(record)
    if caller is NoCaller.OTHER:
        return NotACall.OTHER_CALLER
    if not isinstance(caller, Caller):
        return _gap(record, "it does not say which role or user called")
    if wants is not None and not wants(caller.principal):
        return NotACall.NOT_WANTED
    if caller.console:
        return NotACall.CONSOLE
    return caller


def event_time(record: Mapping[str, object]) -> datetime | None:
    """`eventTime` as aware UTC, its only zone; blanks for `T`, fractions, epoch seconds are taken."""
    value = record.get("eventTime")
    try:
        if isinstance(value, str) and not _NUMBER.fullmatch(value):
            return _aware(datetime.fromisoformat(value.strip()))
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            seconds = float(value)
            # Twelve digits and more are milliseconds, as Elasticsearch and EventBridge Pipes write them.
            return datetime.fromtimestamp(seconds / 1000 if seconds >= 1e11 else seconds, UTC)
    except (ValueError, OverflowError, OSError):
        pass
    return None


def region_of(record: Mapping[str, object]) -> str:
    """`awsRegion` where it looks like a region, else empty."""
    value = record.get("awsRegion")
    return value if isinstance(value, str) and _is_region(value) else ""


def account_of(record: Mapping[str, object]) -> str:
    """The account that the record was written for, else the caller's; empty where neither is told."""
    recipient = record.get("recipientAccountId")
    if recipient:
        return str(recipient)
    identity = record.get("userIdentity")
    told = identity if isinstance(identity, Mapping) else NOTHING
    return str(told.get("accountId") or "") or ":".join(str(told.get("arn")).split(":")[4:5])


def is_data_event(record: Mapping[str, object]) -> bool:
    """Whether a trail writes this event only where data events are switched on."""
    return record.get("eventCategory") == "Data" or _flag(record.get("managementEvent")) is False


def read_only(record: Mapping[str, object]) -> bool | None:
    """`readOnly`, which some records hold as text; `None` where it is absent."""
    return _flag(record.get("readOnly"))


def _is_api_call(record: Mapping[str, object]) -> bool:
    kind = record.get("eventType")
    if kind is None:
        # Records before eventVersion 1.02 have no type; sign-ins are told apart by their source.
        return record.get("eventSource") != "signin.amazonaws.com"
    return kind == "AwsApiCall" and record.get("eventCategory") not in ("Insight", "NetworkActivity")


class Shape(NamedTuple):
    """What a call shares with all those whose records are alike but for who called, when and with what."""

    source: str
    """Empty, like `name`, where the record tells none."""
    name: str
    region: str
    outcome: Outcome
    error_code: str
    error_message: str
    read_only: bool | None
    data_event: bool
    omitted: bool
    """The record is marked as cut, so that its request is not all of it."""

    @classmethod
    def of(cls, record: Mapping[str, object]) -> Shape:
        """Of a record: reads those fields of it that are no objects."""
        code, message = _text(record, "errorCode"), _text(record, "errorMessage")
        return cls(
            _word(record, "eventSource"),
            _word(record, "eventName"),
            region_of(record),
            call_outcome(code, message),
            code,
            message,
            read_only(record),
            is_data_event(record),
            _omitted(record),
        )

    def call(
        self,
        caller: Caller,
        access_key: str,
        time: datetime,
        event_id: str,
        parameters: Mapping[str, object],
        response: Mapping[str, object],
        resources: tuple[str, ...],
    ) -> Call:
        """One of the calls."""
        cut = "omitted" in parameters and _omitted(parameters)
        return Call(
            event_id,
            caller.principal,
            caller.session,
            time,
            caller.account,
            self.region,
            self.source,
            self.name,
            NOTHING if cut else parameters,
            response,
            resources,
            self.outcome,
            self.error_code,
            self.error_message,
            caller.invoked_by,
            self.read_only,
            self.data_event,
            self.omitted or cut,
            access_key,
        )


def call_of(record: Mapping[str, object], caller: Caller) -> Call | Gap:
    """The call of a record by whom `whose` found; a gap where it lacks when, where or what."""
    time, shape = event_time(record), Shape.of(record)
    if time is None or not shape.source or not shape.name:
        lacking = "eventTime" if time is None else "eventSource" if not shape.source else "eventName"
        return _gap(record, f"its {lacking} is missing or unreadable")
    return shape.call(
        caller,
        caller.access_key,
        time,
        _text(record, "eventID"),
        object_of(record.get("requestParameters")),
        object_of(record.get("responseElements")),
        tuple(resources_of(record.get("resources"))),
    )


def resources_of(value: object) -> Iterator[str]:
    """ARNs of `resources`: a list of objects, of strings, or once a single string."""
    if isinstance(value, str):
        yield from (value,) if value else ()
    entries = value if isinstance(value, list) else [value] if isinstance(value, Mapping) else []
    for entry in entries:
        names = [entry.get(key) for key in _ARN_KEYS] if isinstance(entry, Mapping) else [entry]
        yield from [name for name in names if isinstance(name, str) and name][:1]


def _omitted(fields: Mapping[str, object]) -> bool:
    # "If a field is truncated, omitted is present with a value of true" (record contents); where it is present
    # the page does not say and no public record shows, so both the record and the field's own place count.
    # A request's own parameter of that name does not stand alone.
    return _flag(fields.get("omitted")) is True and (
        "eventName" in fields or fields.keys() <= {"omitted", "originalSize", "reason"}
    )


def object_of(value: object) -> Mapping[str, object]:
    """Take a JSON object, also where a tool has written it as text; everything else is empty."""
    if value is None:
        return NOTHING
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return NOTHING
    return value if isinstance(value, Mapping) else NOTHING


def _flag(value: object) -> bool | None:
    if isinstance(value, str):
        return {"true": True, "false": False}.get(value.strip().lower())
    return value if isinstance(value, bool) else None


def _text(record: Mapping[str, object], key: str) -> str:
    value = record.get(key)
    return value if isinstance(value, str) else ""


def _word(record: Mapping[str, object], key: str) -> str:
    value = _text(record, key)
    return value if _is_word(value) else ""


@lru_cache(maxsize=4_096)
def _is_word(value: str) -> bool:
    return _PRINTABLE.fullmatch(value) is not None


@lru_cache(maxsize=256)
def _is_region(value: str) -> bool:
    return _REGION.fullmatch(value) is not None


def _aware(time: datetime) -> datetime:
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def _gap(record: Mapping[str, object], reason: str) -> Gap:
    region = region_of(record)
    event = _word(record, "eventID")
    subject = f"record {event}" if event else "a record"
    return Gap(
        GapKind.UNREADABLE_RECORD,
        Scope(regions=(region,) if region else ()),
        f"{subject} cannot be read: {reason}",
    )
