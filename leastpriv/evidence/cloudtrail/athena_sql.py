"""Builds the one Athena query of a trail, and converts its rows to records (pure).

Columns that the table lacks are left out of the query. One scan returns two results: each distinct request of the
targets with the times and ids of its calls, and the number of all records by account, service, region and kind, since
missing calls prove something only where other calls were recorded (docs: decision 6).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from leastpriv.aws.arns import Principals, Window
from leastpriv.aws.session import other_regions
from leastpriv.evidence.cloudtrail.athena_queries import ACCOUNT_KEYS, CloudTrailTable, date_format, quoted, strftime_of
from leastpriv.evidence.cloudtrail.caller import workload_services
from leastpriv.evidence.cloudtrail.file_store import DELIVERY_DELAY, location_parts
from leastpriv.evidence.cloudtrail.record import ASSUME_ROLE, LOGIN_EVENTS
from leastpriv.models import Gap, GapKind, Principal, Scope

_GROUP, _ITEM, _PART = "\x1d", "\x1e", "\x1f"
"""Separators of days, names and streams, of the resources of a record and of its calls, and of type and ARN, time and
id: CloudTrail escapes control characters."""

_SURVEY_COLUMNS = ("eventsource", "awsregion", "readonly", "eventcategory", "managementevent")
"""Columns that are read from every record."""
_TARGET_COLUMNS: Mapping[str, str] = {
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
    "useragent": "useragent",
    "errorcode": "errorcode",
    "errormessage": "errormessage",
    "requestparameters": "requestparameters",
    "responseelements": "responseelements",
}
"""Columns that are read from the targets' records only: name in the result -> column or path in the table."""


def usage_query(
    table: CloudTrailTable, window: Window, principals: Principals, values: Mapping[str, Sequence[str]]
) -> str:
    """Builds the query in Athena's SQL; `values`: partition key -> all of its values, for keys that need them."""
    conditions = [*partition_filters(table, window, principals, values), *_times(window)]
    where = f"\n  WHERE {' AND '.join(conditions)}" if conditions else ""
    anybody = [column for column in _SURVEY_COLUMNS if column in table.columns]
    own = {name: place for name, place in _TARGET_COLUMNS.items() if _has(table, place)}
    resources = _resources(table.columns.get("resources", ""))
    if resources:
        own = {**own, "resources": resources}
    recipient = _recipient(table) if principals.targets is not None else ""
    whose = [f"{recipient} AS recipient"] if recipient else []
    keys = ["mine", *anybody, *(["recipient"] if recipient else []), "day", *own]
    told = [f"CASE WHEN mine THEN {place} END AS {name}" for name, place in own.items()]
    call = "concat(coalesce(eventtime, ''), chr(31), coalesce(id, ''))"
    streams = _streams(table)
    return f"""WITH flagged AS (
  SELECT *, {_wanted(principals, logins="requestparameters" in table.columns)} AS mine
  FROM {quoted(table.database)}.{quoted(table.name)}{where}
), answered AS (
  SELECT mine, {", ".join([*anybody, *whose])}, eventtime, {"eventid" if "eventid" in table.columns else "''"} AS id,
    eventname AS operation, CASE WHEN {streams[0]} THEN {streams[1]} END AS stream,
    CASE WHEN mine THEN substr(eventtime, 1, 10) END AS day,
    {f",{chr(10)}    ".join(told)}
  FROM flagged
)
SELECT {", ".join(keys)},
  count(*) AS number, min(eventtime) AS first_time, max(eventtime) AS last_time,
  {_distinct("substr(eventtime, 1, 10)")} AS days, {_distinct("operation")} AS operations,
  {_distinct("stream")} AS streams,
  array_join(array_agg({call}) FILTER (WHERE mine), chr(30)) AS events
FROM answered
GROUP BY {", ".join(keys)}
ORDER BY first_time, eventsource, eventname"""  # noqa: S608 - names and values are quoted, and no text of evidence is in it


def partition_filters(
    table: CloudTrailTable, window: Window, principals: Principals, values: Mapping[str, Sequence[str]]
) -> Iterator[str]:
    """Yields conditions that exclude whole partitions."""
    for key in table.partitions:
        accounts = target_accounts(principals)
        if key in ACCOUNT_KEYS and accounts:
            yield f"{quoted(key)} IN ({_texts(accounts)})"
        elif values.get(key):
            yield f"{quoted(key)} IN ({_texts(values[key])})"
        elif date_format(table, key):
            yield from _days(table, key, window)
        elif key == "year":
            yield from (f"{quoted(key)} {sign} '{time:%Y}'" for sign, time in _bounds(window))


def target_accounts(principals: Principals) -> tuple[str, ...]:
    """Accounts of the targets, sorted; empty: all accounts."""
    return tuple(sorted({target.account for target in principals.targets or ()}))


def record_from_row(row: Mapping[str, str | None]) -> dict[str, object]:
    """Builds the record that all calls of a row have in common, without time and id."""
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
        "userAgent": text.get("useragent"),
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


def days_in_row(row: Mapping[str, str | None]) -> Iterator[datetime]:
    """Yields the days of the records of a row."""
    yield from filter(None, map(_day, (row.get("days") or "").split(_GROUP)))


def streams_in_row(row: Mapping[str, str | None]) -> Iterator[tuple[datetime, str, str]]:
    """Yields day, event name and folder of the data events of a row."""
    for group in (row.get("streams") or "").split(_GROUP):
        day, _, rest = group.partition(_PART)
        name, _, folders = rest.partition(_PART)
        if time := _day(day):
            yield from ((time, name, folder) for folder in folders.split(_ITEM) if folder)


def operations_in_row(row: Mapping[str, str | None]) -> list[str]:
    """Returns the event names of the records of a row."""
    return (row.get("operations") or "").split(_GROUP)


def _day(text: str) -> datetime | None:
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        return None


def events_in_row(row: Mapping[str, str | None]) -> Iterator[tuple[str, str]]:
    """Yields time and id of each call of a row, oldest first."""
    pairs = sorted((row.get("events") or "").split(_ITEM))
    yield from ((time, event) for time, _, event in (pair.partition(_PART) for pair in pairs))


def _has(table: CloudTrailTable, place: str) -> bool:
    """Whether the table has a column, or the innermost field of a path in one."""
    column, _, path = place.partition(".")
    kind = table.columns.get(column, "").replace(" ", "").lower()
    return column in table.columns and all(f"{name}:" in kind for name in path.split(".") if name)


def _recipient(table: CloudTrailTable) -> str:
    """The recipient account of a record; empty where the table has no such column."""
    told = [place for place in ("recipientaccountid", "useridentity.accountid") if _has(table, place)]
    return f"coalesce({', '.join(told)}, '')" if told else ""


def _wanted(principals: Principals, *, logins: bool) -> str:
    """Condition for records that may belong to a target or an unknown principal; never too narrow for the reader."""
    if principals.targets is None:
        return "TRUE"
    targets = sorted(principals.targets, key=lambda one: one.arn)
    alternatives = [each for target in targets for each in _caller(target)]
    if logins:
        alternatives += [_login(target) for target in targets if target.kind == "role"]
    # A target's record always has these fields: NULL must not count as wanted.
    return f"coalesce({' OR '.join(alternatives)}, useridentity IS NULL)" if alternatives else "FALSE"


def _caller(target: Principal) -> Iterator[str]:
    # `_` in a name matches any letter in LIKE; the record reader drops the surplus.
    own = f"arn:{target.partition}:iam::{target.account}:{target.kind}/%{target.name}"
    yield f"useridentity.sessioncontext.sessionissuer.arn LIKE {_text(own)}"
    yield f"useridentity.arn LIKE {_text(own)}"
    if target.kind == "role":
        session = f"arn:{target.partition}:sts::{target.account}:assumed-role/{target.name}/%"
        yield f"useridentity.arn LIKE {_text(session)}"
    else:
        yield f"(useridentity.arn IS NULL AND useridentity.username = {_text(target.name)})"


def _login(target: Principal) -> str:
    """Condition for the logins of identities and workloads to a role, whose caller is not the role yet."""
    role = f"%arn:{target.partition}:iam::{target.account}:role/%{target.name}%"
    services = _texts(tuple(sorted(workload_services())))
    by_service = f"eventname = '{ASSUME_ROLE}' AND useridentity.invokedby IN ({services})"
    events = f"(eventname IN ({_texts(tuple(LOGIN_EVENTS))}) OR {by_service})"
    return f"(eventsource = 'sts.amazonaws.com' AND {events} AND requestparameters LIKE {_text(role)})"


def _times(window: Window) -> Iterator[str]:
    # A record without a time may be in the window, and a time in another format cannot be compared as text. Without the
    # letter Z, fractions of the window's first second are included.
    for sign, time in ((">=", window.start), ("<", window.end)):
        if time:
            shaped = "eventtime NOT LIKE '____-__-__T__:__:__%Z'"
            yield f"(eventtime IS NULL OR eventtime {sign} '{time:%Y-%m-%dT%H:%M:%S}' OR {shaped})"


def _bounds(window: Window) -> Iterator[tuple[str, datetime]]:
    if window.start:
        yield ">=", window.start - DELIVERY_DELAY
    if window.end:
        yield "<=", window.end + DELIVERY_DELAY


def _days(table: CloudTrailTable, key: str, window: Window) -> Iterator[str]:
    form = date_format(table, key)
    yield from (f"{quoted(key)} {sign} '{time:{form}}'" for sign, time in _bounds(window))


def _resources(kind: str) -> str:
    """The resources of a record as one text; empty where the table has none, or in an unknown type."""
    if not re.fullmatch(r"array<struct<.*\barn:string.*>>", kind.replace(" ", "").lower()):
        return ""
    arn = "coalesce(r.arn, r.arnprefix, '')" if "arnprefix:string" in kind.lower() else "coalesce(r.arn, '')"
    return f"array_join(transform(resources, r -> concat(coalesce(r.type, ''), chr(31), {arn})), chr(30))"


_MOST_STREAMS = 20_000


def _distinct(value: str) -> str:
    """The distinct values of a group as one text."""
    return f"array_join(slice(array_agg(DISTINCT {value}), 1, {_MOST_STREAMS}), chr(29))"


def _streams(table: CloudTrailTable) -> tuple[str, str]:
    """The condition for data events, and their day, event name and folders as one text."""
    told = [f"{name} = '{value}'" for name, value in _DATA.items() if name in table.columns]
    kind = table.columns.get("resources", "")
    if not told or not re.fullmatch(r"array<struct<.*\barn:string.*>>", kind.replace(" ", "").lower()):
        return "FALSE", "''"
    arn = "coalesce(r.arn, r.arnprefix, '')" if "arnprefix:string" in kind.lower() else "coalesce(r.arn, '')"
    folder = f"CASE WHEN strpos({arn}, ':s3:::') > 0 THEN regexp_replace({arn}, '/[^/]*$', '/') ELSE {arn} END"
    folders = f"array_join(transform(resources, r -> {folder}), chr(30))"
    return " OR ".join(told), f"concat(substr(eventtime, 1, 10), chr(31), eventname, chr(31), {folders})"


_DATA = {"eventcategory": "Data", "managementevent": "false"}
"""Column -> its value for data events."""


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
"""Minimum length of the unit: for a relative range only what is certain counts."""


def table_gaps(
    table: CloudTrailTable, named: str, window: Window, principals: Principals, now: datetime
) -> Iterator[Gap]:
    """Yields gaps for accounts, regions and days outside the table's location or partitions."""
    account, region, _ = location_parts(table.template.removeprefix("s3://"))
    regions = (region,) if region else _listed_values(table, [key for key in table.partitions if "region" in key])
    if regions:
        detail = f"{named}: the table has {', '.join(regions)} only"
        yield Gap(GapKind.NOT_LOGGED, Scope(regions=other_regions(regions)), detail)
    accounts = (account,) if account else _listed_values(table, ACCOUNT_KEYS)
    missing = [each for each in target_accounts(principals) if accounts and each not in accounts]
    if missing:
        yield Gap(GapKind.SOURCE_FAILED, Scope(), f"{named}: the table does not have the account {', '.join(missing)}")
    for key in table.partitions:
        reason = _missing_days(table, key, window, now)
        if reason:
            yield Gap(GapKind.NOT_LOGGED, Scope(), f"{named}: {reason}")


def _listed_values(table: CloudTrailTable, keys: Sequence[str]) -> tuple[str, ...]:
    """The values of the first of these partition keys that has a list of them."""
    lists = (table.parameters.get(f"projection.{key}.values", "") for key in keys)
    return tuple(each.strip() for each in next(filter(None, lists), "").split(",") if each.strip())


def _missing_days(table: CloudTrailTable, key: str, window: Window, now: datetime) -> str:
    """Why days of the window may be outside the range of a partition key; empty where none is."""
    told = table.parameters.get(f"projection.{key}.range", "")
    kind = table.parameters.get(f"projection.{key}.type", "").lower()
    form = "%Y" if kind == "integer" and key == "year" else strftime_of(table, key) if kind == "date" else ""
    if not told or not form or window.start is None:
        return ""
    first, _, last = (each.strip() for each in told.partition(","))
    start, end = _moment(first, form, now), _moment(last, form, now)
    # The range includes its whole last day, month or year: only the beginning of the day is compared.
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
