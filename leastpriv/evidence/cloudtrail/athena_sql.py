"""The one query that reads a trail through Amazon Athena, the table it reads, and its rows as records (pure).

The table is that of the Athena User Guide ("Create the table for CloudTrail logs in Athena using partition projection",
read 2026-11-24), or one of fewer columns: what a table lacks is left out of the query. One scan gives two things: each
distinct request of the targets with the times and ids of its calls, and of everybody else's records how many there were
by service, region and kind, since silence proves something only where others were heard (docs: decision 6).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from leastpriv.evidence.cloudtrail.trail_paths import SLACK
from leastpriv.evidence.source import Principals, Window
from leastpriv.model import Principal

_ACCOUNT_KEYS = ("account", "account_id", "accountid", "account-id")
NAMED = re.compile(
    r"(?:(?P<workgroup>[\w.-]{1,128})/)?(?:(?P<catalog>[\w@-]{1,255})\.)?(?P<database>[\w-]{1,255})\.(?P<table>[\w-]{1,255})",
    re.ASCII,
)
"""`[WORKGROUP/][CATALOG.]DATABASE.TABLE`"""
_NAME = re.compile(r"[^\"`\x00-\x1f]{1,255}")
_ITEM, _PART = "\x1e", "\x1f"
"""Between the resources of a record, and between type and ARN: CloudTrail escapes control characters."""

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
    "identity_invoked_by": "useridentity.invokedby",
    "issuer_arn": "useridentity.sessioncontext.sessionissuer.arn",
    "sessioncredentialfromconsole": "sessioncredentialfromconsole",
    "errorcode": "errorcode",
    "errormessage": "errormessage",
    "requestparameters": "requestparameters",
    "responseelements": "responseelements",
}
"""Columns that are read of the targets' records only: name in the answer -> where the table has it."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table of CloudTrail records, as GetTableMetadata tells it; names in lower case."""

    database: str
    name: str
    columns: Mapping[str, str]
    """Column -> type."""
    partitions: tuple[str, ...] = ()
    parameters: Mapping[str, str] = field(default_factory=dict)
    """Table properties: `projection.day.type` and its kin."""
    location: str = ""

    @property
    def template(self) -> str:
        """Where a partition's files lie, `s3://bucket/AWSLogs/${account}/…`."""
        return self.parameters.get("storage.location.template") or self.location

    @property
    def tells_kinds(self) -> bool:
        """Whether data events can be told from management events."""
        return "eventcategory" in self.columns or "managementevent" in self.columns


def is_table_name(name: str) -> bool:
    """Whether a name has the form of `NAMED`."""
    return NAMED.fullmatch(name) is not None


def usage_query(table: Table, window: Window, principals: Principals, values: Mapping[str, Sequence[str]]) -> str:
    """The query, in Athena's SQL. `values`: partition key -> all of its values, for keys that need them."""
    conditions = [*partition_filters(table, window, principals, values), *_times(window)]
    where = f"\n  WHERE {' AND '.join(conditions)}" if conditions else ""
    anybody = [column for column in _ANYBODY if column in table.columns]
    own = {name: place for name, place in _TARGETS.items() if _has(table, place)}
    resources = _resources(table.columns.get("resources", ""))
    if resources:
        own = {**own, "resources": resources}
    keys = ["mine", *anybody, "day", *own]
    told = [f"CASE WHEN mine THEN {place} END AS {name}" for name, place in own.items()]
    return f"""WITH flagged AS (
  SELECT *, {_wanted(principals)} AS mine
  FROM {_quoted(table.database)}.{_quoted(table.name)}{where}
), told AS (
  SELECT mine, {", ".join(anybody)}, eventtime, eventid,
    CASE WHEN mine THEN substr(eventtime, 1, 10) END AS day,
    {f",{chr(10)}    ".join(told)}
  FROM flagged
)
SELECT {", ".join(keys)},
  count(*) AS number, min(eventtime) AS first_time, max(eventtime) AS last_time,
  array_join(array_agg(concat(coalesce(eventtime, ''), ' ', coalesce(eventid, ''))) FILTER (WHERE mine), ',') AS events
FROM told
GROUP BY {", ".join(keys)}
ORDER BY first_time, eventsource, eventname"""  # noqa: S608 - names and values are quoted, and no text of evidence is in it


def partition_filters(
    table: Table, window: Window, principals: Principals, values: Mapping[str, Sequence[str]]
) -> Iterator[str]:
    """Conditions by which whole partitions are left out."""
    for key in table.partitions:
        accounts = accounts_of(principals)
        if key in _ACCOUNT_KEYS and accounts:
            yield f"{_quoted(key)} IN ({_texts(accounts)})"
        elif values.get(key):
            yield f"{_quoted(key)} IN ({_texts(values[key])})"
        elif date_format(table, key):
            yield from _days(table, key, window)
        elif key == "year":
            yield from (f"{_quoted(key)} {sign} '{time:%Y}'" for sign, time in _bounds(window))


def date_format(table: Table, key: str) -> str:
    """The format of a partition key that is projected as a date, for `strftime`; empty where it is none."""
    if table.parameters.get(f"projection.{key}.type", "").lower() != "date":
        return ""
    words = table.parameters.get(f"projection.{key}.format", "")
    known = words.replace("yyyy", "%Y").replace("MM", "%m").replace("dd", "%d").replace("HH", "%H").replace("'", "")
    # Compared as text: only from the largest part to the smallest.
    return known if re.fullmatch(r"%Y(?:\W?%m(?:\W?%d(?:\W?%H)?)?)?", known) else ""


def accounts_of(principals: Principals) -> tuple[str, ...]:
    """Accounts of the targets, sorted; empty: of everybody."""
    return tuple(sorted({target.account for target in principals.targets or ()}))


def create_table(database: str, name: str, location: str) -> str:
    """The statement that makes a partition-projected table over a trail's files.

    `location` ends above the accounts: `s3://bucket/prefix/AWSLogs` or `…/AWSLogs/o-abc`. Accounts and regions are
    named by each query, so that new ones are never left out.
    """
    columns = ",\n  ".join(f"`{column}` {kind}" for column, kind in COLUMNS.items())
    top = location.rstrip("/").replace("'", "")
    properties = {
        "projection.enabled": "true",
        "projection.account.type": "injected",
        "projection.region.type": "injected",
        "projection.day.type": "date",
        "projection.day.format": "yyyy/MM/dd",
        "projection.day.interval": "1",
        "projection.day.interval.unit": "DAYS",
        "projection.day.range": "2013/11/01,NOW",
        "storage.location.template": f"{top}/${{account}}/CloudTrail/${{region}}/${{day}}",
    }
    told = ",\n  ".join(f"'{key}' = '{value}'" for key, value in properties.items())
    return f"""CREATE EXTERNAL TABLE IF NOT EXISTS `{database}`.`{name}` (
  {columns}
)
COMMENT 'CloudTrail records, read by leastpriv'
PARTITIONED BY (`account` string, `region` string, `day` string)
ROW FORMAT SERDE 'org.apache.hive.hcatalog.data.JsonSerDe'
STORED AS INPUTFORMAT 'com.amazon.emr.cloudtrail.CloudTrailInputFormat'
OUTPUTFORMAT 'org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat'
LOCATION '{top}/'
TBLPROPERTIES (
  {told}
)"""


_ISSUER = "struct<type:string,principalid:string,arn:string,accountid:string,username:string>"
COLUMNS: Mapping[str, str] = {
    "eventversion": "string",
    "useridentity": (
        "struct<type:string,principalid:string,arn:string,accountid:string,invokedby:string,accesskeyid:string,"
        f"username:string,sessioncontext:struct<sessionissuer:{_ISSUER}>>"
    ),
    "eventtime": "string",
    "eventsource": "string",
    "eventname": "string",
    "awsregion": "string",
    "errorcode": "string",
    "errormessage": "string",
    "requestparameters": "string",
    "responseelements": "string",
    "eventid": "string",
    "readonly": "string",
    "resources": "array<struct<arn:string,arnprefix:string,accountid:string,type:string>>",
    "eventtype": "string",
    "recipientaccountid": "string",
    "eventcategory": "string",
    "managementevent": "string",
    "sessioncredentialfromconsole": "string",
}
"""Columns of a table that we make."""


def record_of(row: Mapping[str, str | None]) -> dict[str, object]:
    """The record that all calls of a row have in common, but for time and id."""
    text = {name: value for name, value in row.items() if value is not None}
    identity = {
        "type": text.get("identity_type"),
        "principalId": text.get("identity_principal"),
        "arn": text.get("identity_arn"),
        "accountId": text.get("identity_account"),
        "userName": text.get("identity_user"),
        "invokedBy": text.get("identity_invoked_by"),
    }
    known: dict[str, object] = {name: value for name, value in identity.items() if value}
    if text.get("issuer_arn"):
        known["sessionContext"] = {"sessionIssuer": {"arn": text["issuer_arn"]}}
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
    }
    return {name: value for name, value in record.items() if value not in (None, [])} | {"userIdentity": known}


def events_of(row: Mapping[str, str | None]) -> Iterator[tuple[str, str]]:
    """Time and id of each call of a row, oldest first."""
    pairs = sorted((row.get("events") or "").split(","))
    yield from ((time, event) for time, _, event in (pair.partition(" ") for pair in pairs))


def _has(table: Table, place: str) -> bool:
    """Whether the table has a column, or the innermost field of a path in one."""
    column, _, path = place.partition(".")
    kind = table.columns.get(column, "").replace(" ", "").lower()
    return column in table.columns and all(f"{name}:" in kind for name in path.split(".") if name)


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
    # A record without a time may lie in the window.
    for sign, time in ((">=", window.start), ("<", window.end)):
        if time:
            yield f"(eventtime IS NULL OR eventtime {sign} '{time:%Y-%m-%dT%H:%M:%SZ}')"


def _bounds(window: Window) -> Iterator[tuple[str, datetime]]:
    if window.start:
        yield ">=", window.start - SLACK
    if window.end:
        yield "<=", window.end + SLACK


def _days(table: Table, key: str, window: Window) -> Iterator[str]:
    form = date_format(table, key)
    yield from (f"{_quoted(key)} {sign} '{time:{form}}'" for sign, time in _bounds(window))


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


def _quoted(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(f"no name of a table or column: {name!r}")
    return f'"{name}"'


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _texts(values: Sequence[str]) -> str:
    return ", ".join(map(_text, values))
