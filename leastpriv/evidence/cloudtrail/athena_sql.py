"""The one query that reads a trail through Amazon Athena, and its rows as records (pure).

What a table lacks is left out of the query. One scan gives two things: each distinct request of the targets with the
times and ids of its calls, and of everybody else's records how many there were by account, service, region and kind,
since silence proves something only where others were heard (docs: decision 6).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from leastpriv.aws.arns import Principals, Window
from leastpriv.aws.session import other_regions
from leastpriv.evidence.cloudtrail.athena_table import ACCOUNT_KEYS, Table, date_format, quoted, strftime_of
from leastpriv.evidence.cloudtrail.file_store import SLACK, part_of
from leastpriv.models import Gap, GapKind, Principal, Scope

_ITEM, _PART = "\x1e", "\x1f"
"""Between the resources of a record, and its calls; between type and ARN, and time and id: CloudTrail escapes control
characters."""

_ANYBODY = ("eventsource", "awsregion", "readonly", "eventcategory", "managementevent")
"""Columns that are read of every record."""
_TARGETS: Mapping[str, str] = {
    "eventtype": "eventtype",
    "eventname": "eventname",
    "identity_type": "useridentity.type",
    "identity_principal": "useridentity.principalid",
    "identity_arn": "useridentity.arn",
    "identity_account": "useridentity.accountid",
    "identity_user": "useridentity.username",
    "identity_key": "useridentity.accesskeyid",
    "identity_invoked_by": "useridentity.invokedby",
    "issuer_arn": "useridentity.sessioncontext.sessionissuer.arn",
    "sessioncredentialfromconsole": "sessioncredentialfromconsole",
    "session_from_console": "useridentity.sessioncontext.sessioncredentialfromconsole",
    "errorcode": "errorcode",
    "errormessage": "errormessage",
    "requestparameters": "requestparameters",
    "responseelements": "responseelements",
}
"""Columns that are read of the targets' records only: name in the answer -> where the table has it."""


def usage_query(table: Table, window: Window, principals: Principals, values: Mapping[str, Sequence[str]]) -> str:
    """The query, in Athena's SQL. `values`: partition key -> all of its values, for keys that need them."""
    conditions = [*partition_filters(table, window, principals, values), *_times(window)]
    where = f"\n  WHERE {' AND '.join(conditions)}" if conditions else ""
    anybody = [column for column in _ANYBODY if column in table.columns]
    own = {name: place for name, place in _TARGETS.items() if _has(table, place)}
    resources = _resources(table.columns.get("resources", ""))
    if resources:
        own = {**own, "resources": resources}
    recipient = _recipient(table) if principals.targets is not None else ""
    whose = [f"{recipient} AS recipient"] if recipient else []
    keys = ["mine", *anybody, *(["recipient"] if recipient else []), "day", *own]
    told = [f"CASE WHEN mine THEN {place} END AS {name}" for name, place in own.items()]
    call = "concat(coalesce(eventtime, ''), chr(31), coalesce(id, ''))"
    return f"""WITH flagged AS (
  SELECT *, {_wanted(principals)} AS mine
  FROM {quoted(table.database)}.{quoted(table.name)}{where}
), told AS (
  SELECT mine, {", ".join([*anybody, *whose])}, eventtime, {"eventid" if "eventid" in table.columns else "''"} AS id,
    CASE WHEN mine THEN substr(eventtime, 1, 10) END AS day,
    {f",{chr(10)}    ".join(told)}
  FROM flagged
)
SELECT {", ".join(keys)},
  count(*) AS number, min(eventtime) AS first_time, max(eventtime) AS last_time,
  array_join(array_agg({call}) FILTER (WHERE mine), chr(30)) AS events
FROM told
GROUP BY {", ".join(keys)}
ORDER BY first_time, eventsource, eventname"""  # noqa: S608 - names and values are quoted, and no text of evidence is in it


def partition_filters(
    table: Table, window: Window, principals: Principals, values: Mapping[str, Sequence[str]]
) -> Iterator[str]:
    """Conditions by which whole partitions are left out."""
    for key in table.partitions:
        accounts = accounts_of(principals)
        if key in ACCOUNT_KEYS and accounts:
            yield f"{quoted(key)} IN ({_texts(accounts)})"
        elif values.get(key):
            yield f"{quoted(key)} IN ({_texts(values[key])})"
        elif date_format(table, key):
            yield from _days(table, key, window)
        elif key == "year":
            yield from (f"{quoted(key)} {sign} '{time:%Y}'" for sign, time in _bounds(window))


def accounts_of(principals: Principals) -> tuple[str, ...]:
    """Accounts of the targets, sorted; empty: of everybody."""
    return tuple(sorted({target.account for target in principals.targets or ()}))


def record_of(row: Mapping[str, str | None]) -> dict[str, object]:
    """The record that all calls of a row have in common, but for time and id."""
    text = {name: value for name, value in row.items() if value is not None}
    identity = {
        "type": text.get("identity_type"),
        "principalId": text.get("identity_principal"),
        "arn": text.get("identity_arn"),
        "accountId": text.get("identity_account"),
        "userName": text.get("identity_user"),
        "accessKeyId": text.get("identity_key"),
        "invokedBy": text.get("identity_invoked_by"),
    }
    known: dict[str, object] = {name: value for name, value in identity.items() if value}
    known["sessionContext"] = {
        "sessionIssuer": {"arn": text.get("issuer_arn", "")},
        "sessionCredentialFromConsole": text.get("session_from_console"),
    }
    record: dict[str, object] = {
        "eventSource": text.get("eventsource"),
        "eventName": text.get("eventname"),
        "awsRegion": text.get("awsregion"),
        "eventType": text.get("eventtype"),
        "errorCode": text.get("errorcode"),
        "errorMessage": text.get("errormessage"),
        "requestParameters": _parsed(text.get("requestparameters")),
        "responseElements": _parsed(text.get("responseelements")),
        "resources": list(_listed(text.get("resources", ""))),
        "sessionCredentialFromConsole": text.get("sessioncredentialfromconsole"),
        "eventCategory": text.get("eventcategory"),
        "managementEvent": text.get("managementevent"),
        "readOnly": text.get("readonly"),
        "recipientAccountId": text.get("recipient"),
    }
    return {name: value for name, value in record.items() if value not in (None, [])} | {"userIdentity": known}


def events_of(row: Mapping[str, str | None]) -> Iterator[tuple[str, str]]:
    """Time and id of each call of a row, oldest first."""
    pairs = sorted((row.get("events") or "").split(_ITEM))
    yield from ((time, event) for time, _, event in (pair.partition(_PART) for pair in pairs))


def _has(table: Table, place: str) -> bool:
    """Whether the table has a column, or the innermost field of a path in one."""
    column, _, path = place.partition(".")
    kind = table.columns.get(column, "").replace(" ", "").lower()
    return column in table.columns and all(f"{name}:" in kind for name in path.split(".") if name)


def _recipient(table: Table) -> str:
    """The account that a record was written for; empty where the table does not tell."""
    told = [place for place in ("recipientaccountid", "useridentity.accountid") if _has(table, place)]
    return f"coalesce({', '.join(told)}, '')" if told else ""


def _wanted(principals: Principals) -> str:
    """Whether a record may be a target's, or nobody knows whose: at least all that the reader of records takes."""
    if principals.targets is None:
        return "TRUE"
    alternatives = [each for target in sorted(principals.targets, key=lambda one: one.arn) for each in _caller(target)]
    # A target's record without one of these fields is none of its calls: NULL must not count as wanted.
    return f"coalesce({' OR '.join(alternatives)}, useridentity IS NULL)" if alternatives else "FALSE"


def _caller(target: Principal) -> Iterator[str]:
    # `_` in a name matches any letter in LIKE: the reader drops what is too much.
    own = f"arn:{target.partition}:iam::{target.account}:{target.kind}/%{target.name}"
    yield f"useridentity.sessioncontext.sessionissuer.arn LIKE {_text(own)}"
    yield f"useridentity.arn LIKE {_text(own)}"
    if target.kind == "role":
        session = f"arn:{target.partition}:sts::{target.account}:assumed-role/{target.name}/%"
        yield f"useridentity.arn LIKE {_text(session)}"
    else:
        yield f"(useridentity.arn IS NULL AND useridentity.username = {_text(target.name)})"


def _times(window: Window) -> Iterator[str]:
    # A record without a time may lie in the window, and one of another shape cannot be compared as text. Without the
    # zone's letter a fraction of the window's first second is in it.
    for sign, time in ((">=", window.start), ("<", window.end)):
        if time:
            shaped = "eventtime NOT LIKE '____-__-__T__:__:__%Z'"
            yield f"(eventtime IS NULL OR eventtime {sign} '{time:%Y-%m-%dT%H:%M:%S}' OR {shaped})"


def _bounds(window: Window) -> Iterator[tuple[str, datetime]]:
    if window.start:
        yield ">=", window.start - SLACK
    if window.end:
        yield "<=", window.end + SLACK


def _days(table: Table, key: str, window: Window) -> Iterator[str]:
    form = date_format(table, key)
    yield from (f"{quoted(key)} {sign} '{time:{form}}'" for sign, time in _bounds(window))


def _resources(kind: str) -> str:
    """The resources of a record as one text; empty where the table has none, or in a shape that nobody expects."""
    if not re.fullmatch(r"array<struct<.*\barn:string.*>>", kind.replace(" ", "").lower()):
        return ""
    arn = "coalesce(r.arn, r.arnprefix, '')" if "arnprefix:string" in kind.lower() else "coalesce(r.arn, '')"
    return f"array_join(transform(resources, r -> concat(coalesce(r.type, ''), chr(31), {arn})), chr(30))"


def _listed(text: str) -> Iterator[Mapping[str, str]]:
    for item in text.split(_ITEM) if text else ():
        kind, _, arn = item.partition(_PART)
        yield {name: value for name, value in (("ARN", arn), ("type", kind)) if value}


def _parsed(text: str | None) -> object:
    try:
        return json.loads(text) if text else None
    except (ValueError, RecursionError):
        return None


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _texts(values: Sequence[str]) -> str:
    return ", ".join(map(_text, values))


_RELATIVE = re.compile(r"NOW(?:(?P<sign>[+-])(?P<number>\d{1,6})(?P<unit>YEAR|MONTH|WEEK|DAY|HOUR)S?)?", re.ASCII)
_HOURS = {"YEAR": 365 * 24, "MONTH": 28 * 24, "WEEK": 7 * 24, "DAY": 24, "HOUR": 1}
"""At least so long: of a range that begins some time ago, what is certain counts."""


def left_out_by_table(table: Table, named: str, window: Window, principals: Principals, now: datetime) -> Iterator[Gap]:
    """Accounts, regions and days that the table does not have: beside its place, or not named by its partitions."""
    account, region, _ = part_of(table.template.removeprefix("s3://"))
    regions = (region,) if region else _listed_values(table, [key for key in table.partitions if "region" in key])
    if regions:
        detail = f"{named}: the table has {', '.join(regions)} only"
        yield Gap(GapKind.NOT_LOGGED, Scope(regions=other_regions(regions)), detail)
    accounts = (account,) if account else _listed_values(table, ACCOUNT_KEYS)
    missing = [each for each in accounts_of(principals) if accounts and each not in accounts]
    if missing:
        yield Gap(GapKind.SOURCE_FAILED, Scope(), f"{named}: the table does not have the account {', '.join(missing)}")
    for key in table.partitions:
        reason = _days_left_out(table, key, window, now)
        if reason:
            yield Gap(GapKind.NOT_LOGGED, Scope(), f"{named}: {reason}")


def _listed_values(table: Table, keys: Sequence[str]) -> tuple[str, ...]:
    """The values of the first of these partition keys that has a list of them."""
    lists = (table.parameters.get(f"projection.{key}.values", "") for key in keys)
    return tuple(each.strip() for each in next(filter(None, lists), "").split(",") if each.strip())


def _days_left_out(table: Table, key: str, window: Window, now: datetime) -> str:
    """Why days of the window may lie outside of the range of a partition key; empty where none does."""
    told = table.parameters.get(f"projection.{key}.range", "")
    kind = table.parameters.get(f"projection.{key}.type", "").lower()
    form = "%Y" if kind == "integer" and key == "year" else strftime_of(table, key) if kind == "date" else ""
    if not told or not form or window.start is None:
        return ""
    first, _, last = (each.strip() for each in told.partition(","))
    start, end = _moment(first, form, now), _moment(last, form, now)
    # The last day, month or year of a range is in it whole: the day's beginning is what is asked for.
    if start and end and start <= window.start and f"{end:{form}}" >= f"{min(window.end or now, now):{form}}":
        return ""
    return f"the table has {key} from {first} to {last} only"


def _moment(text: str, form: str, now: datetime) -> datetime | None:
    relative = _RELATIVE.fullmatch(text)
    try:
        if not relative:
            return datetime.strptime(text, form).replace(tzinfo=UTC)
        if not relative["number"]:
            return now
        length = timedelta(hours=int(relative["number"]) * _HOURS[relative["unit"]])
        return now - length if relative["sign"] == "-" else now + length
    except (ValueError, OverflowError):
        return None
