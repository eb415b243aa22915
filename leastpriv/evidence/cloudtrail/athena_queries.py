"""Runs Athena queries, estimates their cost, and describes the table of CloudTrail records that they read.

The columns are those of the Athena User Guide ("Create the table for CloudTrail logs in Athena using partition
projection", read 2026-11-24), or fewer. Properties: "Supported types for partition projection" of the same guide.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from leastpriv.aws.errors import denial_error, translate_errors
from leastpriv.aws.signals import caught_signals
from leastpriv.errors import AwsError, AwsErrorKind
from leastpriv.evidence.cloudtrail.file_store import LogPrefix
from leastpriv.evidence.cloudtrail.s3_bucket import Bucket
from leastpriv.permissions.fact_tables import table as facts

_log = logging.getLogger(__name__)

_SAMPLES = 40
"""Days of an account and region whose files are listed for the estimate."""
_TERABYTE = 1024**4
_ROWS = 1000
_SAY_EVERY = 30.0
"""Seconds between progress messages."""
_LONGEST = 3600.0
"""Seconds after which a query is stopped; Athena stops one after 30 minutes, unless that quota was raised ("Service
Quotas" of the Athena User Guide, read 2026-11-24)."""
_NO_RESULTS = "set a location for query results in the workgroup, or Athena-managed results"


class QueryRunner:
    """Runs queries of one workgroup and database."""

    def __init__(
        self,
        client: Any,
        workgroup: str,
        catalog: str,
        database: str,
        poll: float,
    ) -> None:
        """`poll`: seconds before the first status request; later pauses are up to eight times as long."""
        self._client, self._workgroup, self._poll = client, workgroup, poll
        self._catalog, self._database = catalog, database
        self._ended = False
        self.pages = 0
        """Number of answers that were read."""

    def run(self, query: str) -> Mapping[str, Any]:
        """Starts a query, waits for it and returns its execution; stops it if waiting ends early.

        Raises:
            AwsError: the query was denied, failed, was stopped or took an hour, or AWS does not answer.
            KeyboardInterrupt: a signal asked the run to end.
        """
        number, self._ended = "", False
        with caught_signals() as signals:
            try:
                with signals.deferred():
                    number = self._started(query)
                return self._awaited(number)
            finally:
                if number and not self._ended:
                    with (
                        suppress(AwsError),
                        translate_errors("stopping a query in Athena", "athena:StopQueryExecution"),
                    ):
                        self._client.stop_query_execution(QueryExecutionId=number)

    def _started(self, query: str) -> str:
        with translate_errors("starting a query in Athena", "athena:StartQueryExecution"):
            answer = self._client.start_query_execution(
                QueryString=query,
                QueryExecutionContext={"Database": self._database, "Catalog": self._catalog},
                WorkGroup=self._workgroup,
            )
        return str(answer["QueryExecutionId"])

    def _awaited(self, number: str) -> Mapping[str, Any]:
        pause, waited = self._poll, 0.0
        while True:
            with translate_errors("waiting for a query in Athena", "athena:GetQueryExecution"):
                execution = _part(self._client.get_query_execution(QueryExecutionId=number), "QueryExecution")
            status = _part(execution, "Status")
            self._ended = status.get("State") in ("SUCCEEDED", "FAILED", "CANCELLED")
            if status.get("State") == "SUCCEEDED":
                return execution
            if self._ended:
                raise _failed(status)
            if waited >= _LONGEST:
                raise AwsError("The query in Athena was stopped: it took more than an hour.", AwsErrorKind.OTHER)
            time.sleep(pause)
            if waited // _SAY_EVERY != (waited + pause) // _SAY_EVERY:
                _log.info(f"Athena: the query has been running for {waited + pause:.0f} seconds")
            waited += pause
            pause = min(pause * 1.5, 8 * self._poll)

    def rows(self, number: str, counted: str) -> Iterator[Mapping[str, str | None]]:
        """Yields the rows of a query's result; `counted` names a column of whole numbers in it.

        Raises:
            AwsError: the request was denied, or the result does not belong to this query.
        """
        token: dict[str, str] = {}
        names: list[str] | None = None
        while True:
            with translate_errors("reading the results of a query in Athena", "athena:GetQueryResults"):
                page = self._client.get_query_results(QueryExecutionId=number, MaxResults=_ROWS, **token)
            self.pages += 1
            for row in _part(page, "ResultSet").get("Rows") or ():
                values = [cell.get("VarCharValue") for cell in row.get("Data") or ()]
                if names is None:  # the first row of the first page has the column names
                    names = [str(value) for value in values]
                elif len(values) != len(names):
                    raise _strange()
                else:
                    found = dict(zip(names, values, strict=True))
                    if not (found.get(counted) or "").isdecimal():
                        raise _strange()
                    yield found
            before, token = token, {"NextToken": page.get("NextToken") or ""}
            if not token["NextToken"]:
                return
            if token == before:
                raise _strange()


def estimate_size(bucket: Bucket, found: Sequence[LogPrefix], start: datetime, days: int) -> int | None:
    """Estimates the bytes of so many days below the prefixes from listings of some days; None: no files found.

    Raises:
        AwsError: they cannot be listed.
    """
    if not found:
        return None
    whole = len(found) * days
    step = max(1, whole // _SAMPLES)
    places = [divmod(number, len(found)) for number in range(step // 2, whole, step)]
    sizes = [
        sum(
            stored.size
            for page in bucket.objects(f"{found[at].prefix}{start + timedelta(days=day):%Y/%m/%d}/")
            for stored in page
        )
        for day, at in places
    ]
    return sum(sizes) * whole // max(1, len(sizes))


def format_cost(size: int) -> str:
    """Formats the size and the price of a query (`data/athena_prices.tsv`)."""
    [price] = [row for row in facts("athena_prices", "leastpriv.evidence") if row["region"] == "*"]
    counted = max(size, int(price["least_bytes"]))
    return f"{size / 1e9:,.2f} GB, about ${counted / _TERABYTE * float(price['usd_per_tb']):,.4f}"


def _part(answer: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Returns a required member of a response, or raises `AwsError`."""
    found = answer.get(name)
    if not isinstance(found, Mapping):
        raise _strange()
    return found


def _strange() -> AwsError:
    sentence = "The response of Athena was cut off, or did not come from AWS: run again later."
    return AwsError(sentence, AwsErrorKind.INCOMPLETE)


def _failed(status: Mapping[str, Any]) -> AwsError:
    reason = " ".join(str(status.get("StateChangeReason") or "no reason given").split())
    # Denials within the query (catalogue, files, their key) arrive as text, often after a long path.
    refusal = denial_error("", reason, "running the query in Athena", "")
    if refusal.missing_action:
        return refusal
    word = "stopped" if status.get("State") == "CANCELLED" else "failed"
    advice = f" ({_NO_RESULTS})" if "output location" in reason.lower() else ""
    return AwsError(f"The query in Athena {word}: {reason[:300]}{advice}", AwsErrorKind.OTHER)


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
    "useragent": "string",
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
    and regions, so new ones are never left out.
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
