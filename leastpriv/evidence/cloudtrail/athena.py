"""Reads calls with Amazon Athena, for organization trails: one query for all targets and days.

Logs the data size and cost before the query (an estimate) and after. A query that AWS denies, stops or fails is a gap
and does not end the run. CloudTrail Lake is not supported: it is closed to new customers since 2026-05-31 (document
history of the CloudTrail User Guide, read 2026-11-24).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from msgspec import structs

from leastpriv.aws.arns import Principals, Window
from leastpriv.aws.errors import error_code, translate_errors
from leastpriv.errors import AwsError, InputError
from leastpriv.evidence.cloudtrail.athena_queries import (
    TABLE_NAME,
    CloudTrailTable,
    QueryRunner,
    create_table,
    estimate_size,
    format_cost,
)
from leastpriv.evidence.cloudtrail.athena_sql import (
    days_in_row,
    events_in_row,
    operations_in_row,
    record_from_row,
    streams_in_row,
    table_gaps,
    target_accounts,
    usage_query,
)
from leastpriv.evidence.cloudtrail.file_reader import EventDeduplicator, is_new
from leastpriv.evidence.cloudtrail.file_store import LogPrefix, delivery_location
from leastpriv.evidence.cloudtrail.lookup_events import WAIT_ADVICE, late_events_gap
from leastpriv.evidence.cloudtrail.record import SkipReason, event_time, parse_record
from leastpriv.evidence.cloudtrail.s3_bucket import AwsClients, Bucket
from leastpriv.evidence.cloudtrail.statistics import ReadStatistics, RecordGroup, count_group
from leastpriv.evidence.cloudtrail.trail_config import settings_gaps, split_location
from leastpriv.models import Call, Gap, GapKind, Scope

_log = logging.getLogger(__name__)

NEEDED = ("useridentity", "eventtime", "eventname", "eventsource", "awsregion", "eventtype", "errorcode")
"""Columns that are required to identify a call and its outcome."""
_DEFAULT_DAYS = 90


@dataclass(frozen=True, slots=True)
class AthenaOptions:
    """How a table in Athena is read."""

    location: str = ""
    """Location of the trail that a missing table is created for."""
    since: datetime | None = None
    """Older records are not read, whatever the window."""
    seen: EventDeduplicator | None = None
    """Shared by sources that may contain copies of each other's records."""
    poll: float = 1.0
    """Seconds before the first status request of a query."""
    waited: bool = False
    """The run waited for event history, which has all events except data events."""


class AthenaTable:
    """An evidence source: a table of CloudTrail records in Amazon Athena."""

    def __init__(
        self, clients: AwsClients, named: str, now: datetime, options: AthenaOptions = AthenaOptions()
    ) -> None:
        """`named`: `[WORKGROUP/][CATALOG.]DATABASE.TABLE`.

        Raises:
            InputError: the name has another form.
        """
        found = TABLE_NAME.fullmatch(named)
        if not found:
            raise InputError(f"athena-table is {named!r}: write DATABASE.TABLE, or WORKGROUP/DATABASE.TABLE.")
        self.statistics = ReadStatistics()
        self._clients, self._named, self._now = clients, named, now
        self._workgroup, self._catalog = found["workgroup"] or "primary", found["catalog"] or "AwsDataCatalog"
        self._database, self._table = found["database"], found["table"]
        self._options = options

    def __str__(self) -> str:
        """Name of the source in messages."""
        return f"{self._named} in Athena"

    def read(self, window: Window, principals: Principals) -> Iterator[Call | Gap]:
        """Reads the calls, roughly oldest first and deduplicated, and gaps for unread parts; resets `statistics`.

        Requests that AWS denies never raise.

        Raises:
            InputError: the table does not exist and there is no trail to create it for; raised while reading.
        """
        self.statistics = ReadStatistics()
        return self._read(window.since(self._options.since), principals)

    def _read(self, window: Window, principals: Principals) -> Iterator[Call | Gap]:
        try:
            queries = QueryRunner(
                self._clients.client("athena"), self._workgroup, self._catalog, self._database, self._options.poll
            )
            table = self._opened(queries)
            listed = self._branches(table, principals)
            found = [each for each in listed or () if each.dated]
            bucket = _top(table).removeprefix("s3://").partition("/")[0]
            keys = [each.prefix for each in found] or [table.template.removeprefix(f"s3://{bucket}/")]
            places = {place for place in map(delivery_location, keys) if place}
            yield from settings_gaps(self._clients, self._named, (bucket, places), None, window)
            yield from table_gaps(table, self._named, window, principals, self._now)
            if listed is not None and not listed:
                detail = (
                    f"{self._named}: its place has no folder of the account {', '.join(target_accounts(principals))}"
                )
                yield Gap(GapKind.SOURCE_FAILED, Scope(), detail)
            self._say_estimate(table, found, window)
            query = usage_query(table, window, principals, _values(found))
            yield from self._calls(queries, query, table, window, principals)
            scope = Scope(data_events=self._options.waited)
            yield from late_events_gap(self.statistics.newest, self._now, window, WAIT_ADVICE, scope)
        except AwsError as error:
            yield Gap(GapKind.SOURCE_FAILED, Scope(), f"{self._named}: {error}")

    def _opened(self, queries: QueryRunner) -> CloudTrailTable:
        table = self._described()
        if table is None and self._options.location:
            top = self._above_accounts()
            _log.info(f"Creating the table {self._named} over {top}")
            queries.run(create_table(self._database, self._table, top))
            table = self._described()
        if table is None:
            raise InputError(
                f"athena-table: there is no table {self._named!r}: name one of CloudTrail records, or name the trail "
                "as s3://BUCKET/PREFIX in the input trails to create it."
            )
        lacking = [name for name in NEEDED if name not in table.columns]
        if lacking:
            raise InputError(
                f"athena-table: {self._named!r} is no table of CloudTrail records, or an incomplete one:"
                f" it has no column {lacking[0]}. Create it as in AWS's guide."
            )
        return table

    def _described(self) -> CloudTrailTable | None:
        client = self._clients.client("athena")
        try:
            with translate_errors(f"reading the table {self._named}", "athena:GetTableMetadata"):
                answer = client.get_table_metadata(
                    CatalogName=self._catalog,
                    DatabaseName=self._database,
                    TableName=self._table,
                    WorkGroup=self._workgroup,
                )["TableMetadata"]
        except AwsError as error:
            # Glue's EntityNotFoundException arrives as a MetadataException (GetTableMetadata, Athena API reference).
            if error_code(error) == "MetadataException":
                return None
            raise
        columns = {str(each["Name"]).lower(): str(each.get("Type", "")) for each in answer.get("Columns", ())}
        keys = tuple(str(each["Name"]).lower() for each in answer.get("PartitionKeys", ()))
        parameters = {str(name): str(value) for name, value in (answer.get("Parameters") or {}).items()}
        return CloudTrailTable(self._database, self._table, columns, keys, parameters, parameters.get("location", ""))

    def _above_accounts(self) -> str:
        """`s3://bucket/prefix/AWSLogs`, or an organization's folder below it."""
        name, prefix = split_location(self._options.location)
        found = Bucket(name, self._clients.client("s3")).find_prefixes(prefix, None)
        tops = sorted({each.prefix.partition(f"/{each.account}/")[0] for each in found if each.dated})
        if not tops:
            raise InputError(
                f"trails: {self._options.location!r} has no AWSLogs/ACCOUNT/CloudTrail/REGION/ to create a table over."
            )
        return f"s3://{name}/{tops[-1]}"

    def _branches(self, table: CloudTrailTable, principals: Principals) -> tuple[LogPrefix, ...] | None:
        """Accounts and regions of the targets that have files, and prefixes of unknown layouts.

        None where they cannot be listed and the query needs no names.
        """
        accounts = frozenset(target_accounts(principals)) or None
        try:
            name, prefix = split_location(_top(table))
            return Bucket(name, self._clients.client("s3")).find_prefixes(prefix, accounts)
        except (AwsError, InputError):
            if any(value.lower() == "injected" for value in table.parameters.values()):
                raise
            return None

    def _say_estimate(self, table: CloudTrailTable, found: Sequence[LogPrefix], window: Window) -> None:
        start, end = window.start or self._now - timedelta(days=_DEFAULT_DAYS), window.end or self._now
        days = max(1, (end - start).days + 2)
        try:
            size = estimate_size(Bucket(split_location(_top(table))[0], self._clients.client("s3")), found, start, days)
        except (AwsError, InputError) as error:
            _log.info(f"Athena: the size of the query is not known. {error}")
            return
        if size is not None:
            _log.info(f"Athena: the query will read about {format_cost(size)}, by a sample of {days} days")

    def _calls(
        self, queries: QueryRunner, query: str, table: CloudTrailTable, window: Window, principals: Principals
    ) -> Iterator[Call | Gap]:
        seen = self._options.seen or EventDeduplicator()
        execution = queries.run(query)
        scanned = int(execution.get("Statistics", {}).get("DataScannedInBytes") or 0)
        _log.info(f"Athena: the query read {format_cost(scanned)}")
        for row in queries.rows(str(execution["QueryExecutionId"]), "number"):
            yield from self._row(row, table, window, principals, seen)
        self.statistics.requests += queries.pages

    def _row(
        self,
        row: Mapping[str, str | None],
        table: CloudTrailTable,
        window: Window,
        principals: Principals,
        seen: EventDeduplicator,
    ) -> Iterator[Call | Gap]:
        statistics, record, number = self.statistics, record_from_row(row), int(row["number"] or 0)
        statistics.records += number
        # Where the table does not distinguish data events from others, a read-only call may be either.
        told = record if table.has_event_categories else {**record, "readOnly": None}
        times = [event_time({"eventTime": row[name]}) for name in ("first_time", "last_time")]
        inside = [time for time in times if time and window.contains(time)]
        # The query also returns times in other formats, which may be outside the window.
        if inside or not all(times):
            names, streams = operations_in_row(row), streams_in_row(row)
            days = [day for day in days_in_row(row) if inside and inside[0].date() <= day.date() <= inside[-1].date()]
            group = RecordGroup(told, inside, days, names, streams)
            count_group(statistics, group, principals)
        if row["mine"] != "true":
            statistics.skipped[SkipReason.NOT_WANTED.value] += number
            return
        events = [(event_time({"eventTime": text}), event) for text, event in events_in_row(row)]
        some = next((time for time, _ in events if time), None)
        found = parse_record(
            {**record, "eventTime": some.isoformat() if some else None}, principals.wants, principals.include
        )
        if isinstance(found, SkipReason):
            statistics.skipped[found.value] += number
        elif isinstance(found, Gap):
            yield replace(found, detail=f"{self._named}: {found.detail}", count=number)
        else:
            # A call without a time is lost alone; the other calls of its row count.
            lost = None if all(time for time, _ in events) else parse_record({**record, "eventTime": None})
            for moment, event in events:
                if moment:
                    call = structs.replace(found, time=moment, event_id=event)
                    if window.contains(moment) and is_new(call, statistics, seen):
                        yield call
                elif isinstance(lost, Gap):
                    yield replace(lost, detail=f"{self._named}: {lost.detail}")


def _top(table: CloudTrailTable) -> str:
    """Location of the table's files above all partitions: `s3://bucket/AWSLogs`."""
    return table.template.partition("${")[0].rstrip("/")


def _values(found: Sequence[LogPrefix]) -> Mapping[str, Sequence[str]]:
    """Partition key -> its values, for the keys that contain the region."""
    regions = sorted({each.region for each in found})
    accounts = sorted({each.account for each in found})
    return {"region": regions, "awsregion": regions, "aws_region": regions, **dict.fromkeys(("account",), accounts)}
