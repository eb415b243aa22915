"""Describes the Athena table of CloudTrail records, and builds the statement that creates one (pure).

The columns are those of the Athena User Guide ("Create the table for CloudTrail logs in Athena using partition
projection",
read 2026-11-24), or fewer. Properties: "Supported types for partition projection" of the same guide (read 2026-11-24).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

TABLE_NAME = re.compile(
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
"""Columns of a table that we create."""


@dataclass(frozen=True, slots=True)
class CloudTrailTable:
    """A table of CloudTrail records, as GetTableMetadata describes it; names in lower case."""

    database: str
    name: str
    columns: Mapping[str, str]
    """Column -> type."""
    partitions: tuple[str, ...] = ()
    parameters: Mapping[str, str] = field(default_factory=dict)
    """Table properties, such as `projection.day.type`."""
    location: str = ""

    @property
    def template(self) -> str:
        """Location of a partition's files, `s3://bucket/AWSLogs/${account}/…`."""
        return self.parameters.get("storage.location.template") or self.location

    @property
    def has_event_categories(self) -> bool:
        """Whether the table distinguishes data events from management events."""
        return "eventcategory" in self.columns or "managementevent" in self.columns


def is_table_name(name: str) -> bool:
    """Whether a name has the form of `TABLE_NAME`."""
    return TABLE_NAME.fullmatch(name) is not None


def date_format(table: CloudTrailTable, key: str) -> str:
    """The format of a partition key that is projected as a date, for `strftime`; empty for another type."""
    if table.parameters.get(f"projection.{key}.type", "").lower() != "date":
        return ""
    known = strftime_of(table, key)
    # Dates are compared as text, which works only from the largest unit to the smallest.
    return known if re.fullmatch(r"%Y(?:\W?%m(?:\W?%d(?:\W?%H)?)?)?", known) else ""


def strftime_of(table: CloudTrailTable, key: str) -> str:
    """The format of a partition key for `strftime`, in any order of units."""
    words = table.parameters.get(f"projection.{key}.format", "")
    return words.replace("yyyy", "%Y").replace("MM", "%m").replace("dd", "%d").replace("HH", "%H").replace("'", "")


def create_table(database: str, name: str, location: str) -> str:
    """Builds the statement that creates a partition-projected table for a trail's files.

    `location` ends above the accounts: `s3://bucket/prefix/AWSLogs` or `…/AWSLogs/o-abc`. Each query names its accounts
    and
    regions, so new ones are never left out.
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
    """Quotes the name of a table or column; raises `ValueError` for a name that cannot be quoted."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"no name of a table or column: {name!r}")
    return f'"{name}"'
