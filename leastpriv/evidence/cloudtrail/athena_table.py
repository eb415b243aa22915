"""The table of CloudTrail records that Athena reads: what is known of one, and how one is made (pure).

The shape is that of the Athena User Guide ("Create the table for CloudTrail logs in Athena using partition projection",
read 2026-11-24), or one of fewer columns.

What a table in Athena leaves out, by its place and its partition projection (pure).

Properties: "Supported types for partition projection" of the Athena User Guide (read 2026-11-24).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from leastpriv.aws.arns import Principals, Window
from leastpriv.aws.session import other_regions_than
from leastpriv.evidence.cloudtrail.athena_sql import accounts_of
from leastpriv.evidence.cloudtrail.s3_store import part_of
from leastpriv.models import Gap, GapKind, Scope

NAMED = re.compile(
    r"(?:(?P<workgroup>[\w.-]{1,128})/)?(?:(?P<catalog>[\w@-]{1,255})\.)?(?P<database>[\w-]{1,255})\.(?P<table>[\w-]{1,255})",
    re.ASCII,
)
"""`[WORKGROUP/][CATALOG.]DATABASE.TABLE`"""
ACCOUNT_KEYS = ("account", "account_id", "accountid", "account-id")
"""Partition keys that hold the account."""
_NAME = re.compile(r"[^\"`\x00-\x1f]{1,255}")

_ISSUER = "struct<type:string,principalid:string,arn:string,accountid:string,username:string>"
COLUMNS: Mapping[str, str] = {
    "eventversion": "string",
    "useridentity": (
        "struct<type:string,principalid:string,arn:string,accountid:string,invokedby:string,accesskeyid:string,"
        f"username:string,sessioncontext:struct<sessionissuer:{_ISSUER},sessioncredentialfromconsole:string>>"
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


def date_format(table: Table, key: str) -> str:
    """The format of a partition key that is projected as a date, for `strftime`; empty where it is none."""
    if table.parameters.get(f"projection.{key}.type", "").lower() != "date":
        return ""
    known = strftime_of(table, key)
    # Compared as text: only from the largest part to the smallest.
    return known if re.fullmatch(r"%Y(?:\W?%m(?:\W?%d(?:\W?%H)?)?)?", known) else ""


def strftime_of(table: Table, key: str) -> str:
    """The format of a partition key, whatever its order of parts, for `strftime`."""
    words = table.parameters.get(f"projection.{key}.format", "")
    return words.replace("yyyy", "%Y").replace("MM", "%m").replace("dd", "%d").replace("HH", "%H").replace("'", "")


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


def quoted(name: str) -> str:
    """A name of a table or column for a query. Raises `ValueError` for one that no quotes can hold."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"no name of a table or column: {name!r}")
    return f'"{name}"'


_RELATIVE = re.compile(r"NOW(?:(?P<sign>[+-])(?P<number>\d{1,6})(?P<unit>YEAR|MONTH|WEEK|DAY|HOUR)S?)?", re.ASCII)
_HOURS = {"YEAR": 365 * 24, "MONTH": 28 * 24, "WEEK": 7 * 24, "DAY": 24, "HOUR": 1}
"""At least so long: of a range that begins some time ago, what is certain counts."""


def left_out_by_table(table: Table, named: str, window: Window, principals: Principals, now: datetime) -> Iterator[Gap]:
    """Accounts, regions and days that the table does not have: beside its place, or not named by its partitions."""
    account, region, _ = part_of(table.template.removeprefix("s3://"))
    regions = (region,) if region else _listed(table, [key for key in table.partitions if "region" in key])
    if regions:
        detail = f"{named}: the table has {', '.join(regions)} only"
        yield Gap(GapKind.NOT_LOGGED, Scope(regions=other_regions_than(regions)), detail)
    accounts = (account,) if account else _listed(table, ACCOUNT_KEYS)
    missing = [each for each in accounts_of(principals) if accounts and each not in accounts]
    if missing:
        yield Gap(GapKind.SOURCE_FAILED, Scope(), f"{named}: the table does not have the account {', '.join(missing)}")
    for key in table.partitions:
        reason = _days_left_out(table, key, window, now)
        if reason:
            yield Gap(GapKind.NOT_LOGGED, Scope(), f"{named}: {reason}")


def _listed(table: Table, keys: Sequence[str]) -> tuple[str, ...]:
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
