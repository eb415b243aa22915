"""Describes a table of CloudTrail records, builds the one Athena query of a trail, and converts its
rows (pure).

The table is that of `docs/athena-table.sql`, or one of the Athena User Guide ("Create the table for
CloudTrail logs in Athena using partition projection", read 2026-11-24); the query leaves out the
columns that it lacks. One scan returns two results: each distinct request of the targets with the
times and ids of its calls, and the number of all records by account, service, region and kind,
since missing calls prove something only where other calls were recorded (docs: decision 6).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from msgspec import Struct

from leastpriv.aws.arns import Principals, Window
from leastpriv.aws.session import other_regions
from leastpriv.cloudtrail.caller import workload_services
from leastpriv.cloudtrail.file_store import DELIVERY_DELAY, location_parts
from leastpriv.cloudtrail.ocsf import KEYS, TYPES, is_ocsf, relation
from leastpriv.cloudtrail.record import ASSUME_ROLE, LOGIN_EVENTS, event_time
from leastpriv.models import Gap, GapKind, Principal, Scope

TABLE_NAME = re.compile(
    r"(?:(?P<workgroup>[\w.-]{1,128})/)?(?:(?P<catalog>[\w@-]{1,255})\.)?"
    r"(?P<database>[\w-]{1,255})\.(?P<table>[\w-]{1,255})",
    re.ASCII,
)
"""`[WORKGROUP/][CATALOG.]DATABASE.TABLE`"""
ACCOUNT_KEYS = ("account", "account_id", "accountid", "account-id")
"""Partition keys that hold the account."""
_REGION_KEYS = ("region", "awsregion", "aws_region")


class CloudTrailTable(Struct, frozen=True):
    """A table of CloudTrail records, as GetTableMetadata describes it; names in lower case."""

    database: str
    name: str
    columns: Mapping[str, str]
    """Column -> type."""
    partitions: tuple[str, ...] = ()
    parameters: Mapping[str, str] = {}
    """Table properties, such as `projection.day.type`."""
    is_ocsf: bool = False
    """Whether it is a table of Security Lake, whose columns the query renames."""

    @classmethod
    def of(cls, database: str, name: str, metadata: Mapping[str, Any]) -> CloudTrailTable:
        """Reads the description from `TableMetadata`."""
        columns = {
            str(column["Name"]).lower(): str(column.get("Type", ""))
            for column in metadata.get("Columns", ())
        }
        keys = tuple(
            str(partition_key["Name"]).lower()
            for partition_key in metadata.get("PartitionKeys", ())
        )
        parameters = {
            str(key): str(value) for key, value in (metadata.get("Parameters") or {}).items()
        }
        of_lake = is_ocsf(columns)
        if of_lake:
            keys = (*keys, *(key for key in KEYS if key in columns and key not in keys))
        return cls(
            database=database,
            name=name,
            is_ocsf=of_lake,
            columns=TYPES if of_lake else columns,
            partitions=keys,
            parameters=parameters,
        )

    @property
    def template(self) -> str:
        """Location of a partition's files, `s3://bucket/AWSLogs/${account}/…`."""
        template = self.parameters.get("storage.location.template")
        return template or self.parameters.get("location", "")

    @property
    def top(self) -> str:
        """Location of the table's files above all partitions: `s3://bucket/AWSLogs`."""
        return self.template.partition("${")[0].rstrip("/")

    @property
    def has_event_categories(self) -> bool:
        """Whether the table distinguishes data events from management events."""
        return "eventcategory" in self.columns or "managementevent" in self.columns

    def has(self, place: str) -> bool:
        """Whether the table has a column, or the innermost field of a path in one."""
        column, _, path = place.partition(".")
        kind = self.columns.get(column, "").replace(" ", "").lower()
        return column in self.columns and all(
            f"{name}:" in kind for name in path.split(".") if name
        )

    def date_format(self, key: str) -> str:
        """The format of a partition key of dates for `strftime`, if their order is that of the
        text; else empty.
        """
        if key == "year":
            return "%Y"
        words = self.parameters.get(f"projection.{key}.format", "")
        form = (
            words.replace("yyyy", "%Y")
            .replace("MM", "%m")
            .replace("dd", "%d")
            .replace("HH", "%H")
            .replace("'", "")
        )
        is_date = self.parameters.get(f"projection.{key}.type", "").lower() == "date"
        return form if is_date and re.fullmatch(r"%Y(?:\W?%m(?:\W?%d(?:\W?%H)?)?)?", form) else ""


_GROUP, _ITEM, _PART = "\x1d", "\x1e", "\x1f"
"""Separators of days, names and streams, of the resources of a record and of its calls, and of type
and ARN, time and id: CloudTrail escapes control characters."""

_SURVEY_COLUMNS = ("eventsource", "awsregion", "readonly", "eventcategory", "managementevent")
"""Columns that are read from every record."""
_IDENTITY = ("type", "principalId", "arn", "accountId", "userName", "accessKeyId", "invokedBy")
"""Fields of `userIdentity`; a row has `principalId` as `identity_principalid`."""
_TARGET_COLUMNS: Mapping[str, str] = {
    "eventtype": "eventtype",
    "eventname": "eventname",
    **{f"identity_{name.lower()}": f"useridentity.{name.lower()}" for name in _IDENTITY},
    "issuer_arn": "useridentity.sessioncontext.sessionissuer.arn",
    "sessioncredentialfromconsole": "sessioncredentialfromconsole",
    "session_from_console": "useridentity.sessioncontext.sessioncredentialfromconsole",
    "useragent": "useragent",
    "errorcode": "errorcode",
    "errormessage": "errormessage",
    "requestparameters": "requestparameters",
    "responseelements": "responseelements",
}
"""Columns that are read from the targets' records only: name in the result -> column or path in the
table.
"""
_RECORD = (
    "eventSource", "eventName", "awsRegion", "eventType", "userAgent", "errorCode", "errorMessage",
    "sessionCredentialFromConsole", "eventCategory", "managementEvent", "readOnly",
    "requestParameters", "responseElements",
)  # fmt: skip
"""Fields of a record that a row has under the same name, in lower case."""


def usage_query(
    table: CloudTrailTable,
    window: Window,
    principals: Principals,
    regions: Sequence[str],
    accounts: Sequence[str] = (),
) -> str:
    """Builds the query in Athena's SQL; `regions` and `accounts`: those of the files, which a
    partition key may need.
    """
    accounts = target_accounts(principals) or tuple(accounts)
    conditions = [*_partition_filters(table, window, accounts, regions), *_times(window)]
    where_clause = f"\n  WHERE {' AND '.join(conditions)}" if conditions else ""
    survey_columns = {name: name for name in _SURVEY_COLUMNS if name in table.columns}
    owners = [name for name in ("recipientaccountid", "useridentity.accountid") if table.has(name)]
    if owners and principals.targets is not None:
        survey_columns["recipient"] = f"coalesce({', '.join(owners)}, '')"
    target_columns = {name: column for name, column in _TARGET_COLUMNS.items() if table.has(column)}
    stream = "CAST(NULL AS varchar)"
    resource_arn = _resource_arn(table)
    if resource_arn:
        resource = f"concat(coalesce(r.type, ''), chr(31), {resource_arn})"
        target_columns["resources"] = f"array_join(transform(resources, r -> {resource}), chr(30))"
        stream = _stream(table, resource_arn) or stream
    keys = ["mine", *survey_columns, "day", *target_columns]
    values = [
        column if column == name else f"{column} AS {name}"
        for name, column in survey_columns.items()
    ]
    target_values = [
        f"CASE WHEN mine THEN {column} END AS {name}" for name, column in target_columns.items()
    ]
    call = "concat(coalesce(eventtime, ''), chr(31), coalesce(id, ''))"
    # Names and values are quoted, and no text of evidence is in it.
    return f"""WITH flagged AS (
  SELECT *, {_wanted(principals, logins="requestparameters" in table.columns)} AS mine
  FROM {_relation(table, window)}{where_clause}
), answered AS (
  SELECT mine, {", ".join(values)}, eventtime,
    {"eventid" if "eventid" in table.columns else "''"} AS id,
    eventname AS operation, {stream} AS stream, CASE WHEN mine THEN {_DAY} END AS day,
    {f",{chr(10)}    ".join(target_values)}
  FROM flagged
)
SELECT {", ".join(keys)},
  count(*) AS number, min(eventtime) AS first_time, max(eventtime) AS last_time,
  {_distinct(_DAY)} AS days, {_distinct("operation")} AS operations,
  {_distinct("stream")} AS streams,
  array_join(array_agg({call}) FILTER (WHERE mine), chr(30)) AS events
FROM answered
GROUP BY {", ".join(keys)}
ORDER BY first_time, eventsource, eventname"""  # noqa: S608


def _resource_arn(table: CloudTrailTable) -> str:
    """Returns the ARN of a resource `r` in SQL; empty where the table has no ARNs."""
    kind = table.columns.get("resources", "").replace(" ", "").lower()
    if not re.fullmatch(r"array<struct<.*\barn:string.*>>", kind):
        return ""
    return (
        "coalesce(r.arn, r.arnprefix, '')" if "arnprefix:string" in kind else "coalesce(r.arn, '')"
    )


def _stream(table: CloudTrailTable, resource_arn: str) -> str:
    """Returns the day, event name and folders of a data event in SQL (`data_uses_in_row`); empty
    where the table does not distinguish data events.
    """
    data_events = " OR ".join(
        f"{name} = '{value}'" for name, value in _DATA.items() if name in table.columns
    )
    if not data_events:
        return ""
    folder = (
        f"CASE WHEN strpos({resource_arn}, ':s3:::') > 0"
        f" THEN regexp_replace({resource_arn}, '/[^/]*$', '/') ELSE {resource_arn} END"
    )
    folders = f"array_join(transform(resources, r -> {folder}), chr(30))"
    stream = f"concat({_DAY}, chr(31), eventname, chr(31), {folders})"
    return f"CASE WHEN {data_events} THEN {stream} END"


def _relation(table: CloudTrailTable, window: Window) -> str:
    name = f"{_quoted(table.database)}.{_quoted(table.name)}"
    if not table.is_ocsf:
        return name
    return relation(name, tuple(map(_quoted, table.partitions)), window)


def _partition_filters(
    table: CloudTrailTable, window: Window, accounts: Sequence[str], regions: Sequence[str]
) -> Iterator[str]:
    """Yields conditions that exclude whole partitions."""
    start = window.start - DELIVERY_DELAY if window.start else None
    end = window.end + DELIVERY_DELAY if window.end else None
    for key in table.partitions:
        if key in ACCOUNT_KEYS and accounts:
            yield f"{_quoted(key)} IN ({_texts(accounts)})"
        elif key in _REGION_KEYS and regions:
            yield f"{_quoted(key)} IN ({_texts(regions)})"
        elif form := table.date_format(key):
            yield from (
                f"{_quoted(key)} {sign} '{time:{form}}'"
                for sign, time in ((">=", start), ("<=", end))
                if time
            )


def target_accounts(principals: Principals) -> tuple[str, ...]:
    """Accounts of the targets, sorted; empty: all accounts."""
    return tuple(sorted(principals.accounts or ()))


def record_from_row(row: Mapping[str, str | None]) -> dict[str, object]:
    """Builds the record that all calls of a row have in common, without time and id."""
    texts = {column: text for column, text in row.items() if text}
    identity: dict[str, object] = {
        name: texts[f"identity_{name.lower()}"]
        for name in _IDENTITY
        if f"identity_{name.lower()}" in texts
    }
    identity["sessionContext"] = {
        "sessionIssuer": {"arn": texts.get("issuer_arn", "")},
        "sessionCredentialFromConsole": texts.get("session_from_console"),
    }
    record: dict[str, object] = {
        name: texts[name.lower()] for name in _RECORD if name.lower() in texts
    }
    record["userIdentity"] = identity
    if "recipient" in texts:
        record["recipientAccountId"] = texts["recipient"]
    if "resources" in texts:
        record["resources"] = list(_resources(texts["resources"]))
    return record


def days_in_row(row: Mapping[str, str | None]) -> Iterator[datetime]:
    """Yields the days of the records of a row."""
    yield from filter(None, map(_day, (row.get("days") or "").split(_GROUP)))


class DataUse(NamedTuple):
    """A data event on a day."""

    day: datetime
    event_name: str
    folder: str


def data_uses_in_row(row: Mapping[str, str | None]) -> Iterator[DataUse]:
    """Yields the data events of a row."""
    for stream in (row.get("streams") or "").split(_GROUP):
        day_text, _, rest = stream.partition(_PART)
        event_name, _, folders = rest.partition(_PART)
        day = _day(day_text)
        if day is None:
            continue
        for folder in filter(None, folders.split(_ITEM)):
            yield DataUse(day, event_name, folder)


def operations_in_row(row: Mapping[str, str | None]) -> list[str]:
    """Returns the event names of the records of a row."""
    return (row.get("operations") or "").split(_GROUP)


def _day(text: str) -> datetime | None:
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        return None


class RowEvent(NamedTuple):
    """One of the calls of a row."""

    time: datetime | None
    event_id: str


def events_in_row(row: Mapping[str, str | None]) -> Iterator[RowEvent]:
    """Yields the calls of a row, oldest first."""
    for event in sorted((row.get("events") or "").split(_ITEM)):
        time, _, event_id = event.partition(_PART)
        yield RowEvent(event_time({"eventTime": time}), event_id)


def _wanted(principals: Principals, *, logins: bool) -> str:
    """Condition for records that may belong to a target or an unknown principal; never too narrow
    for the reader.
    """
    if principals.targets is None:
        return "TRUE"
    targets = sorted(principals.targets, key=lambda one: one.arn)
    if len(targets) > _MOST_ARNS:
        alternatives = list(_named(targets))
    else:
        alternatives = [condition for target in targets for condition in _caller(target)]
    for pattern in sorted(principals.patterns):
        alternatives += _matching(pattern)
    if logins:
        alternatives += _logins(targets, principals.patterns)
    if not alternatives:
        return "FALSE"
    # A target's record always has these fields: NULL must not count as wanted.
    return f"coalesce({' OR '.join(alternatives)}, useridentity IS NULL)"


def _caller(target: Principal) -> Iterator[str]:
    # `_` in a name matches any letter in LIKE; the record reader drops the surplus.
    role_pattern = f"arn:{target.partition}:iam::{target.account}:{target.kind}/%{target.name}"
    yield f"useridentity.sessioncontext.sessionissuer.arn LIKE {_text(role_pattern)}"
    yield f"useridentity.arn LIKE {_text(role_pattern)}"
    if target.kind == "role":
        session = f"arn:{target.partition}:sts::{target.account}:assumed-role/{target.name}/%"
        yield f"useridentity.arn LIKE {_text(session)}"
    else:
        yield f"(useridentity.arn IS NULL AND useridentity.username = {_text(target.name)})"


def _named(targets: Sequence[Principal]) -> Iterator[str]:
    """Yields conditions for many targets by their names: the record reader drops those of other
    accounts and paths.
    """
    names = _texts(sorted({target.name for target in targets}))
    issuer = "useridentity.sessioncontext.sessionissuer.arn"
    yield f"element_at(split({issuer}, '/'), -1) IN ({names})"
    yield f"element_at(split(useridentity.arn, '/'), -1) IN ({names})"
    # arn:aws:sts::123456789012:assumed-role/NAME/SESSION
    yield f"element_at(split(useridentity.arn, '/'), 2) IN ({names})"
    yield f"(useridentity.arn IS NULL AND useridentity.username IN ({names}))"


def _matching(pattern: str) -> Iterator[str]:
    """Yields conditions for the roles whose ARN matches a pattern."""
    like = _like(pattern)
    name = like.rpartition("/")[2]
    yield f"useridentity.sessioncontext.sessionissuer.arn LIKE {_text(like)}"
    yield f"useridentity.arn LIKE {_text(like)}"
    yield f"useridentity.arn LIKE {_text(f'arn:%:assumed-role/{name}/%')}"


def _logins(targets: Sequence[Principal], patterns: Collection[str]) -> Iterator[str]:
    """Yields the condition for the logins of identities and workloads to the roles, whose callers
    are not the roles yet.
    """
    roles = [
        f"arn:{role.partition}:iam::{role.account}:role/%{role.name}"
        for role in targets
        if role.kind == "role"
    ]
    roles += map(_like, sorted(patterns))
    if not roles:
        return
    services = _texts(sorted(workload_services()))
    by_service = f"eventname = '{ASSUME_ROLE}' AND useridentity.invokedby IN ({services})"
    events = f"(eventname IN ({_texts(tuple(LOGIN_EVENTS))}) OR {by_service})"
    condition = f"eventsource = 'sts.amazonaws.com' AND {events}"
    # The record reader drops the logins to other roles.
    if len(roles) <= _MOST_ARNS:
        of_role = " OR ".join(f"requestparameters LIKE {_text(f'%{role}%')}" for role in roles)
        condition = f"{condition} AND ({of_role})"
    yield f"({condition})"


def _like(pattern: str) -> str:
    """Returns a pattern of ARNs as SQL's LIKE has it."""
    return pattern.replace("*", "%").replace("?", "_")


_MOST_ARNS = 50
"""Targets whose ARNs are in the query; more are found by name, since a query has at most 262,144
bytes (https://repost.aws/knowledge-center/athena-query-string-length, read 2026-12-01)."""


def _times(window: Window) -> Iterator[str]:
    # A record without a time may be in the window, and a time in another format cannot be compared
    # as text. Without the letter Z, fractions of the window's first second are included.
    for sign, time in ((">=", window.start), ("<", window.end)):
        if time:
            shaped = "eventtime NOT LIKE '____-__-__T__:__:__%Z'"
            yield f"(eventtime IS NULL OR eventtime {sign} '{time:%Y-%m-%dT%H:%M:%S}' OR {shaped})"


_MOST_STREAMS = 20_000


def _distinct(value: str) -> str:
    """The distinct values of a group as one text."""
    return f"array_join(slice(array_agg(DISTINCT {value}), 1, {_MOST_STREAMS}), chr(29))"


_DAY = "substr(eventtime, 1, 10)"
_DATA = {"eventcategory": "Data", "managementevent": "false"}
"""Column -> its value for data events."""


def _resources(text: str) -> Iterator[Mapping[str, str]]:
    for resource in text.split(_ITEM):
        kind, _, arn = resource.partition(_PART)
        yield {name: value for name, value in (("ARN", arn), ("type", kind)) if value}


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _texts(values: Sequence[str]) -> str:
    return ", ".join(map(_text, values))


def table_gaps(
    table: CloudTrailTable, named: str, window: Window, principals: Principals, now: datetime
) -> Iterator[Gap]:
    """Yields gaps for accounts, regions and days outside the table's location or partitions."""
    account, region, _ = location_parts(table.template.removeprefix("s3://"))
    regions = (
        (region,)
        if region
        else _listed_values(table, [key for key in table.partitions if "region" in key])
    )
    if regions:
        detail = f"{named}: the table has {', '.join(regions)} only"
        yield Gap(GapKind.NOT_LOGGED, Scope(regions=other_regions(regions)), detail)
    accounts = (account,) if account else _listed_values(table, ACCOUNT_KEYS)
    missing = [
        target_account
        for target_account in target_accounts(principals)
        if accounts and target_account not in accounts
    ]
    if missing:
        yield Gap(
            GapKind.SOURCE_FAILED,
            Scope(),
            f"{named}: the table does not have the account {', '.join(missing)}",
        )
    for key in table.partitions:
        reason = _missing_days(table, key, window, now)
        if reason:
            yield Gap(GapKind.NOT_LOGGED, Scope(), f"{named}: {reason}")


def _listed_values(table: CloudTrailTable, keys: Sequence[str]) -> tuple[str, ...]:
    """The values of the first of these partition keys that has a list of them."""
    lists = (table.parameters.get(f"projection.{key}.values", "") for key in keys)
    return tuple(
        value.strip() for value in next(filter(None, lists), "").split(",") if value.strip()
    )


def _missing_days(table: CloudTrailTable, key: str, window: Window, now: datetime) -> str:
    """Why days of the window may be outside the range of a partition key; empty where none is."""
    dates = table.parameters.get(f"projection.{key}.range", "")
    form = table.date_format(key)
    is_date = form or table.parameters.get(f"projection.{key}.type", "").lower() == "date"
    if not dates or not is_date or window.start is None:
        return ""
    first, _, last = (bound.strip() for bound in dates.partition(","))
    if form and _first_day(first, form, now) <= f"{window.start:{form}}":
        # The range includes its whole last day or year: only the beginning of the day is compared,
        # as text.
        until = f"{min(window.end or now, now):{form}}"
        if last == "NOW" or (last[:1].isdigit() and until <= last):
            return ""
    return f"the table has {key} from {first} to {last} only"


def _first_day(bound: str, form: str, now: datetime) -> str:
    """Returns the first day of a range, which may begin some years ago: `NOW-3YEARS`."""
    years = re.fullmatch(r"NOW-(\d{1,2})YEARS?", bound)
    return f"{now - timedelta(days=365 * int(years[1])):{form}}" if years else bound


def _quoted(name: str) -> str:
    """Quotes the name of a table or column; raises `ValueError` for a name that cannot be
    quoted.
    """
    if not re.fullmatch(r"[^\"`\x00-\x1f]{1,255}", name):
        raise ValueError(f"no name of a table or column: {name!r}")
    return f'"{name}"'
