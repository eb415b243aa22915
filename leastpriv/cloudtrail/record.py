"""Parses one CloudTrail record into one call, one gap, or nothing (pure).

Input is untrusted, output is typed. Field meanings: "CloudTrail record contents" of the CloudTrail
User Guide (excerpts read 2026-11-24), and the values in 4,584 public records.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

from msgspec.structs import replace

from leastpriv.aws.arns import principal_of, same_arn, session_of
from leastpriv.aws.errors import call_outcome
from leastpriv.cloudtrail.caller import (
    Caller,
    MissingCaller,
    access_key_in,
    account_in,
    caller_of,
    issuer_of,
    object_in,
    text_in,
    workload_services,
)
from leastpriv.models import Call, Gap, GapKind, Outcome, Scope
from leastpriv.permissions.tool_lifecycle import program_of

_ACCOUNT = re.compile(r"[0-9]{12}", re.ASCII)
_as_region = lru_cache(maxsize=256)(
    re.compile(r"[a-z]{2,5}(?:-[a-z]+)+-\d{1,2}[a-z]?", re.ASCII).fullmatch
)
_NUMBER = re.compile(r"[0-9.]+")
_STS = "sts.amazonaws.com"
_as_printable = lru_cache(maxsize=4_096)(re.compile(r"[!-~]{1,256}", re.ASCII).fullmatch)
_RECORD_FIELDS = frozenset({"eventName", "eventSource", "eventVersion", "userIdentity"})
_FIRST_TIME = datetime(2013, 1, 1, tzinfo=UTC)
_LAST_TIME = datetime(2100, 1, 1, tzinfo=UTC)
_API_CALL = "AwsApiCall"
_EVENT_TYPES = frozenset(
    {
        _API_CALL,
        "AwsServiceEvent",
        "AwsConsoleAction",
        "AwsConsoleSignIn",
        "AwsCloudTrailInsight",
        "AwsVpceEvent",
    }
)
"""All types of events ("CloudTrail record contents", `eventType`, read 2026-12-01)."""
_ARN_KEYS = ("ARN", "arn", "ARNPrefix", "arnPrefix")
EMPTY_OBJECT: Mapping[str, object] = {}


class SkipReason(StrEnum):
    """Why a record is not a call of a role or user."""

    EVENT_TYPE = "event-type"
    """Service events, sign-ins, console actions, network activity, insights: no API call of the
    caller.
    """
    OTHER_CALLER = "other-caller"
    """A service, another account, root, a service-linked role, or an AssumeRole call without
    permissions.
    """
    NOT_A_RECORD = "not-a-record"
    """An object without the fields of a record: a digest, or not from CloudTrail."""
    NOT_WANTED = "not-wanted"
    """A call of a principal that is not read."""


class NoCall(NamedTuple):
    """A record that names a wanted role or user and is no API call of it."""

    principal: str
    """ARN of the role or user."""
    why: str
    """What the record is instead: its `eventType`, or `eventCategory`."""


Accepts = Callable[[str], bool]


def parse_record(
    record: object, wants: Accepts | None = None, in_account: Accepts | None = None
) -> Call | Gap | NoCall | SkipReason:
    """Parses the call of a record; returns the reason where it has no call of a wanted role or
    user.

    A call without a required field (caller, time, name) is a gap. Never raises.
    """
    if not isinstance(record, Mapping):
        return _gap(EMPTY_OBJECT, "it is not a JSON object")
    caller_found = find_caller(record, wants, in_account)
    if caller_found is SkipReason.OTHER_CALLER:
        return login_of(record, wants) or caller_found
    return call_of(record, caller_found) if isinstance(caller_found, Caller) else caller_found


class LoginMembers(NamedTuple):
    """Members of AWS STS's response to a login."""

    subject: str
    """The name of the identity."""
    provider: str


LOGIN_EVENTS: Mapping[str, LoginMembers] = {
    "AssumeRoleWithWebIdentity": LoginMembers("subjectFromWebIdentityToken", "provider"),
    "AssumeRoleWithSAML": LoginMembers("subject", "issuer"),
}
"""The events by which an identity outside AWS gets the keys of a role (AWS STS API reference, read
2026-11-27)."""
_LOGIN_TYPES = ("WebIdentityUser", "SAMLUser")
ASSUME_ROLE = "AssumeRole"
"""The event by which a service gets the keys of a role for a workload (`workloads.tsv`)."""


def login_of(
    record: Mapping[str, object], wants: Callable[[str], bool] | None = None
) -> Call | None:
    """Returns the login of an identity outside AWS, or of a workload's service, to a wanted role.

    It is a call of that role without its secrets. The identity has no permissions of the role yet,
    so that the call needs none; its response links the issued key (`credentials.accessKeyId`) with
    the identity (`subject`, `provider`).
    """
    fields = EventFields.of(record)
    if fields.source != _STS or fields.outcome is not Outcome.ALLOWED or fields.error_code:
        return None
    response = object_of(record.get("responseElements"))
    identity = _login_identity(record, fields.name, response)
    key = access_key_in(object_in(response, "credentials"))
    time = event_time(record)
    if identity is None or not key or time is None:
        return None
    session = text_in(object_in(response, "assumedRoleUser"), "arn")
    # The request has the path of the role, the response the role that STS knows.
    requested_role = text_in(object_of(record.get("requestParameters")), "roleArn")
    role = principal_of(requested_role if same_arn(requested_role, session) else session)
    if role is None or (wants is not None and not wants(role.arn)):
        return None
    return fields.call(
        Caller(role.arn, role.account, session_of(session), invoked_by=""),
        access_key="",
        time=time,
        event_id=text_in(record, "eventID"),
        parameters=EMPTY_OBJECT,
        response={"credentials": {"accessKeyId": key}, **identity},
        resources=(),
    )


def _login_identity(
    record: Mapping[str, object], event_name: str, response: Mapping[str, object]
) -> Mapping[str, str] | None:
    """Returns the `subject` and the `provider` of who logs in; None where the record is no login of
    an identity outside AWS or of a workload's service.
    """
    caller = object_in(record, "userIdentity")
    if event_name == ASSUME_ROLE:
        service = text_in(caller, "invokedBy").removesuffix(".cn")
        return {"subject": "", "provider": service} if service in workload_services() else None
    members = LOGIN_EVENTS.get(event_name)
    if members is None or text_in(caller, "type") not in _LOGIN_TYPES:
        return None
    provider = text_in(response, members.provider)
    if members.provider == "issuer":
        # The issuer of a SAML assertion may have the name of an OpenID Connect provider.
        provider = f"saml:{provider}"
    return {"subject": text_in(response, members.subject), "provider": provider}


def is_login(call: Call) -> bool:
    """Whether a call is a login by `login_of`, which no role or user can make."""
    # AWS STS's own response to AssumeRole names no provider.
    return call.source == _STS and (
        call.name in LOGIN_EVENTS
        or (
            call.name == ASSUME_ROLE
            and call.response.keys() == {"credentials", "subject", "provider"}
        )
    )


def find_caller(
    record: Mapping[str, object], wants: Accepts | None = None, in_account: Accepts | None = None
) -> Caller | Gap | NoCall | SkipReason:
    """Returns the caller of a record, if its calls are read.

    `wants` accepts the ARN of a role or user, `in_account` the account of one.

    Reads the fields `eventType`, `eventCategory`, `eventSource`, `awsRegion`, `userIdentity` and
    `sessionCredentialFromConsole`, and for a gap all fields that identify the record.
    """
    if _RECORD_FIELDS.isdisjoint(record):
        return SkipReason.NOT_A_RECORD
    if not _is_api_call(record):
        return _no_call(record, wants)
    caller = caller_of(record)
    if caller is MissingCaller.OTHER:
        return SkipReason.OTHER_CALLER
    if not isinstance(caller, Caller):
        if not _may_be_wanted(record, wants, in_account):
            return SkipReason.NOT_WANTED
        return _gap(record, "it does not say which role or user called")
    if wants is not None and not wants(caller.principal):
        return SkipReason.NOT_WANTED
    return caller


def _no_call(record: Mapping[str, object], wants: Accepts | None) -> Gap | NoCall | SkipReason:
    """Returns what a record is that is no API call: a gap where its type is not known."""
    caller = caller_of(record)
    principal = caller.principal if isinstance(caller, Caller) else ""
    kind = record.get("eventType")
    is_wanted = bool(principal) and (wants is None or wants(principal))
    if is_wanted and isinstance(kind, str) and kind not in _EVENT_TYPES:
        return _gap(record, "its eventType is not known")
    if not is_wanted or wants is None:
        return SkipReason.EVENT_TYPE
    category = record.get("eventCategory")
    return NoCall(principal, str(category if kind == _API_CALL else kind or "sign-in"))


def _may_be_wanted(
    record: Mapping[str, object], wants: Accepts | None, in_account: Accepts | None
) -> bool:
    """Whether a caller that cannot be read may be one whose calls are read, by its account and
    name.
    """
    identity = object_in(record, "userIdentity")
    account = account_in(identity)
    if in_account and _ACCOUNT.fullmatch(account) and not in_account(account):
        return False
    name = text_in(issuer_of(identity), "userName") or text_in(identity, "userName")
    if wants is None or not name or not _ACCOUNT.fullmatch(account):
        return True
    return any(
        wants(f"arn:{partition}:iam::{account}:{kind}/{name}")
        for partition in ("aws", "aws-cn", "aws-us-gov")
        for kind in ("role", "user")
    )


def event_time(record: Mapping[str, object]) -> datetime | None:
    """Parses `eventTime`, or an export's `@timestamp`, as aware UTC; accepts a blank for `T`,
    fractions, seconds.

    None also for a time that no record of CloudTrail has (`is_possible_time`).
    """
    time = _time_in(record.get("eventTime") or record.get("@timestamp"))
    return time if time and is_possible_time(time) else None


def is_possible_time(time: datetime) -> bool:
    """Whether a record can have this time: CloudTrail began in 2013, and days are counted one by
    one.
    """
    return _FIRST_TIME <= time < _LAST_TIME


def _time_in(value: object) -> datetime | None:
    try:
        if isinstance(value, str) and not _NUMBER.fullmatch(value):
            time = datetime.fromisoformat(value.strip())
            return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            seconds = float(value)
            # Twelve digits and more are milliseconds, as Elasticsearch and EventBridge Pipes write
            # them.
            return datetime.fromtimestamp(seconds / 1000 if seconds >= 1e11 else seconds, UTC)
    except (ValueError, OverflowError, OSError):
        pass
    return None


def region_of(record: Mapping[str, object]) -> str:
    """`awsRegion` where it has the form of a region, else empty."""
    value = record.get("awsRegion")
    return value if isinstance(value, str) and _as_region(value) else ""


def account_of_record(record: Mapping[str, object]) -> str:
    """The account whose trail has the record, else the caller's; empty where the record has
    neither.
    """
    recipient = record.get("recipientAccountId")
    if recipient:
        return str(recipient)
    identity = record.get("userIdentity")
    caller = identity if isinstance(identity, Mapping) else EMPTY_OBJECT
    account = caller.get("accountId")
    if account:
        return str(account)
    arn_parts = str(caller.get("arn")).split(":")
    return arn_parts[4] if len(arn_parts) > 4 else ""


def is_data_event(record: Mapping[str, object]) -> bool:
    """Whether a trail records this event only if data events are enabled."""
    return record.get("eventCategory") == "Data" or _flag(record.get("managementEvent")) is False


def is_management_event(record: Mapping[str, object]) -> bool:
    """Whether the record says that it is a management event; False where it does not say what it
    is.
    """
    return (
        record.get("eventCategory") == "Management" or _flag(record.get("managementEvent")) is True
    )


def read_only(record: Mapping[str, object]) -> bool | None:
    """`readOnly`, which some records have as text; `None` where it is absent."""
    return _flag(record.get("readOnly"))


def _is_api_call(record: Mapping[str, object]) -> bool:
    kind = record.get("eventType")
    if kind is None:
        # Records before eventVersion 1.02 have no type; their sign-ins have a separate source.
        return record.get("eventSource") != "signin.amazonaws.com"
    return kind == _API_CALL and record.get("eventCategory") not in (
        "Insight",
        "NetworkActivity",
    )


class EventFields(NamedTuple):
    """Fields that are equal for all records of one event, region and outcome."""

    source: str
    """Empty, like `name`, where the record has none."""
    name: str
    region: str
    outcome: Outcome
    error_code: str
    error_message: str
    read_only: bool | None
    data_event: bool
    omitted: bool
    """The record is marked as truncated, so its request is incomplete."""
    program: str

    @classmethod
    def of(cls, record: Mapping[str, object]) -> EventFields:
        """Reads the fields from a record."""
        code = text_in(record, "errorCode")
        message = text_in(record, "errorMessage")
        return cls(
            source=_printable_field(record, "eventSource"),
            name=_printable_field(record, "eventName"),
            region=region_of(record),
            outcome=call_outcome(code, message),
            error_code=code,
            error_message=message,
            read_only=read_only(record),
            data_event=is_data_event(record),
            omitted=_omitted(record),
            program=program_of(text_in(record, "userAgent")),
        )

    def call(
        self,
        caller: Caller,
        *,
        access_key: str,
        time: datetime,
        event_id: str,
        parameters: Mapping[str, object],
        response: Mapping[str, object],
        resources: tuple[str, ...],
    ) -> Call:
        """Builds one call with these fields."""
        cut = "omitted" in parameters and _omitted(parameters)
        return Call(
            event_id=event_id,
            principal=caller.principal,
            session=caller.session,
            time=time,
            account=caller.account,
            region=self.region,
            source=self.source,
            name=self.name,
            parameters=EMPTY_OBJECT if cut else parameters,
            response=response,
            resources=resources,
            outcome=Outcome.UNKNOWN if caller.doubt else self.outcome,
            error_code=self.error_code,
            error_message=self.error_message,
            invoked_by=caller.invoked_by,
            read_only=self.read_only,
            data_event=self.data_event,
            parameters_omitted=self.omitted or cut,
            access_key=access_key,
            caller_doubt=caller.doubt,
            program=self.program,
        )


def call_of(record: Mapping[str, object], caller: Caller) -> Call | Gap:
    """Returns the call of a record by the caller that `find_caller` returned; a gap where a field
    is missing.
    """
    time = event_time(record)
    fields = EventFields.of(record)
    if time is None or not fields.source or not fields.name:
        return _gap(record, f"its {_missing_field(time, fields)} is missing or unreadable")
    return fields.call(
        caller,
        access_key=caller.access_key,
        time=time,
        event_id=text_in(record, "eventID"),
        parameters=object_of(record.get("requestParameters")),
        response=object_of(record.get("responseElements")),
        resources=tuple(resources_of(record.get("resources"))),
    )


def _missing_field(time: datetime | None, fields: EventFields) -> str:
    if time is None:
        return "eventTime"
    return "eventName" if fields.source else "eventSource"


def resources_of(value: object) -> Iterator[str]:
    """Yields the ARNs in `resources`: a list of objects, of strings, or one string."""
    for entry in value if isinstance(value, list) else [value]:
        names = [entry.get(key) for key in _ARN_KEYS] if isinstance(entry, Mapping) else [entry]
        arns = [name for name in names if isinstance(name, str) and name]
        yield from arns[:1]


def _omitted(fields: Mapping[str, object]) -> bool:
    # "If a field is truncated, omitted is present with a value of true" (record contents); the page
    # does not say where, and no public record shows it, so the field counts at the top of the
    # record and in the truncated field. A request parameter of that name always has other fields
    # next to it.
    return _flag(fields.get("omitted")) is True and (
        "eventName" in fields or fields.keys() <= {"omitted", "originalSize", "reason"}
    )


def object_of(value: object) -> Mapping[str, object]:
    """Returns a JSON object, decoded if it is a text; an empty one for other values."""
    if value is None:
        return EMPTY_OBJECT
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return EMPTY_OBJECT
    return value if isinstance(value, Mapping) else EMPTY_OBJECT


def _flag(value: object) -> bool | None:
    if isinstance(value, str):
        return {"true": True, "false": False}.get(value.strip().lower())
    return value if isinstance(value, bool) else None


def _printable_field(record: Mapping[str, object], key: str) -> str:
    value = text_in(record, key)
    return value if _as_printable(value) else ""


def _gap(record: Mapping[str, object], reason: str) -> Gap:
    region = region_of(record)
    event = _printable_field(record, "eventID")
    subject = f"record {event}" if event else "a record"
    return Gap(
        GapKind.UNREADABLE_RECORD,
        _scope_of_event(record, region),
        f"{subject} cannot be read: {reason}",
    )


def _scope_of_event(record: Mapping[str, object], region: str) -> Scope:
    """The actions that a record may have used, as far as it names its event."""
    from leastpriv.permissions.event_table import Verdict, map_event, scope_of_unmapped

    source = _printable_field(record, "eventSource")
    name = _printable_field(record, "eventName")
    scope = Scope(regions=(region,) if region else ())
    if not source or not name:
        return scope
    event = map_event(source, name)
    if event.verdict is not Verdict.MAPPED:
        unmapped = scope_of_unmapped(source, name, event.prefix)
        return replace(scope, services=unmapped.services, actions=unmapped.actions)
    prefixes = (action.action.partition(":")[0].lower() for action in event.actions)
    return replace(scope, services=tuple(sorted({event.prefix, *prefixes})))
