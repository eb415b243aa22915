"""Reads calls with Amazon Athena, for organization trails: one query for all targets and days.

Logs the data size and cost before the query (an estimate) and after. A query that AWS denies, stops
or fails is a gap and does not end the run. CloudTrail Lake is not supported: it is closed to new
customers since 2026-05-31 (document history of the CloudTrail User Guide, read 2026-11-24).
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.aws.arns import Principals, Window
from leastpriv.aws.errors import (
    aws_message,
    denial_error,
    error_code,
    remedy,
    required_member,
    translate_errors,
)
from leastpriv.aws.session import Aws, pages
from leastpriv.cloudtrail.athena_sql import (
    TABLE_NAME,
    CloudTrailTable,
    RowEvent,
    data_uses_in_row,
    days_in_row,
    events_in_row,
    operations_in_row,
    record_from_row,
    table_gaps,
    target_accounts,
    usage_query,
)
from leastpriv.cloudtrail.file_reader import EventDeduplicator, is_new
from leastpriv.cloudtrail.file_store import LogPrefix, delivery_location
from leastpriv.cloudtrail.lookup_events import WAIT_ADVICE, late_events_gap
from leastpriv.cloudtrail.record import NoCall, event_time, parse_record
from leastpriv.cloudtrail.s3_bucket import Bucket
from leastpriv.cloudtrail.statistics import CoverageCounter, ReadStatistics
from leastpriv.cloudtrail.trail_config import (
    Trail,
    settings_gaps,
    split_location,
    trails_of_bucket,
)
from leastpriv.errors import AwsError, AwsErrorKind, InputError, caught_signals
from leastpriv.models import Call, Gap, GapKind, Scope
from leastpriv.permissions.fact_tables import table as facts

_log = logging.getLogger(__name__)

NEEDED = (
    "useridentity",
    "eventtime",
    "eventname",
    "eventsource",
    "awsregion",
    "eventtype",
    "errorcode",
)
"""Columns that are required to identify a call and its outcome."""
_DEFAULT_DAYS = 90
_SAMPLES = 40
"""Days of an account and region whose files are listed for the estimate."""
_SAY_EVERY = 30.0
"""Seconds between progress messages."""
_LONGEST = 3600.0
"""Seconds after which a query is stopped; Athena stops one after 30 minutes, unless that quota was
raised ("Service Quotas" of the Athena User Guide, read 2026-11-24)."""


class QueryRunner:
    """Runs queries of one workgroup and database."""

    def __init__(
        self, client: Any, place: Mapping[str, Any], poll: float, max_bytes: int = 0
    ) -> None:
        """`poll`: seconds before the first status request; later pauses are up to eight times as
        long. `max_bytes`: what a query may read; 0: any amount.
        """
        self._client = client
        self._place = place
        self._poll = poll
        self._max_bytes = max_bytes
        self._ended = False
        self.pages = 0
        """Number of answers that were read."""

    def run(self, query: str) -> Mapping[str, Any]:
        """Starts a query, waits for it and returns its execution; stops it if waiting ends early.

        Raises AwsError where the query was denied, failed, was stopped or took an hour, or AWS does
        not answer, and KeyboardInterrupt where a signal asked the run to end.
        """
        query_id = ""
        self._ended = False
        activity = "starting a query in Athena"
        with caught_signals() as signals:
            try:
                with (
                    signals.deferred(),
                    translate_errors(activity, "athena:StartQueryExecution"),
                ):
                    answer = self._client.start_query_execution(QueryString=query, **self._place)
                    query_id = str(required_member(answer, activity, "QueryExecutionId"))
                return self._awaited(query_id)
            finally:
                if query_id and not self._ended:
                    self._stop(query_id)

    def _stop(self, query_id: str) -> None:
        with (
            suppress(AwsError),
            translate_errors("stopping a query in Athena", "athena:StopQueryExecution"),
        ):
            self._client.stop_query_execution(QueryExecutionId=query_id)

    def _awaited(self, query_id: str) -> Mapping[str, Any]:
        """Returns the execution of a query once it has succeeded; raises like `run`."""
        activity = "waiting for a query in Athena"
        pause = self._poll
        waited = 0.0
        while True:
            with translate_errors(activity, "athena:GetQueryExecution"):
                answer = self._client.get_query_execution(QueryExecutionId=query_id)
            execution: Mapping[str, Any] = required_member(answer, activity, "QueryExecution")
            status = required_member(execution, activity, "Status")
            self._ended = status.get("State") in ("SUCCEEDED", "FAILED", "CANCELLED")
            if status.get("State") == "SUCCEEDED":
                return execution
            if self._ended:
                raise _failed(status)
            scanned = _scanned_bytes(execution)
            if self._max_bytes and scanned > self._max_bytes:
                raise _too_much(f"has read {_cost(scanned)} and was stopped", self._max_bytes)
            if waited >= _LONGEST:
                raise AwsError(
                    "The query in Athena was stopped: it took more than an hour.",
                    AwsErrorKind.OTHER,
                )
            time.sleep(pause)
            if waited // _SAY_EVERY != (waited + pause) // _SAY_EVERY:
                _log.info(f"Athena: the query has been running for {waited + pause:.0f} seconds")
            waited += pause
            pause = min(pause * 1.5, 8 * self._poll)

    def rows(self, query_id: str) -> Iterator[Mapping[str, str | None]]:
        """Yields the rows of a query's result, which has a column `number` of whole numbers.

        Raises AwsError where the request was denied, or the result does not belong to this query.
        """
        activity = "reading the results of a query in Athena"
        names: Sequence[str | None] = ()
        for page in pages(
            self._client,
            "get_query_results",
            activity,
            "athena:GetQueryResults",
            QueryExecutionId=query_id,
            MaxResults=1000,
        ):
            self.pages += 1
            for row in required_member(page, activity, "ResultSet").get("Rows") or ():
                values = [cell.get("VarCharValue") for cell in row.get("Data") or ()]
                if not names:  # the first row of the first page has the names of the columns
                    names = values
                    continue
                fields = dict(zip(map(str, names), values, strict=False))
                if len(values) != len(names) or not (fields.get("number") or "").isdecimal():
                    raise _incomplete()
                yield fields


def _scanned_bytes(execution: Mapping[str, Any]) -> int:
    return int((execution.get("Statistics") or {}).get("DataScannedInBytes") or 0)


def _incomplete() -> AwsError:
    sentence = "The response of Athena was cut off, or did not come from AWS: run again later."
    return AwsError(sentence, AwsErrorKind.INCOMPLETE)


def _failed(status: Mapping[str, Any]) -> AwsError:
    reason = " ".join(str(status.get("StateChangeReason") or "no reason given").split())
    # Denials within the query (catalogue, files, their key) arrive as text, often after a long
    # path.
    denial = denial_error("", reason, "running the query in Athena", "")
    if denial.missing_action:
        return denial
    end = "stopped" if status.get("State") == "CANCELLED" else "failed"
    sentence = f"The query in Athena {end}: {reason[:300].rstrip('.')}."
    return AwsError(f"{sentence} {remedy(reason)}".rstrip(), AwsErrorKind.OTHER)


class AthenaOptions(Struct, frozen=True):
    """How a table in Athena is read."""

    since: datetime | None = None
    seen: EventDeduplicator | None = None
    """Shared by sources that may contain copies of each other's records."""
    poll: float = 1.0
    """Seconds before the first status request of a query."""
    waited: bool = False
    """The run waited for event history, which has all events except data events."""
    max_bytes: int = 0
    """Bytes that the query may read (`athena-max-bytes`); 0: any number."""


class AthenaTable:
    """An evidence source: a table of CloudTrail records in Amazon Athena."""

    def __init__(
        self, clients: Aws, named: str, now: datetime, options: AthenaOptions = AthenaOptions()
    ) -> None:
        """`named`: `[WORKGROUP/][CATALOG.]DATABASE.TABLE`; raises InputError where the name has
        another form.
        """
        name_match = TABLE_NAME.fullmatch(named)
        if not name_match:
            raise InputError(
                f"athena-table is {named!r}: write DATABASE.TABLE, or WORKGROUP/DATABASE.TABLE."
            )
        self.statistics = ReadStatistics()
        self._clients = clients
        self._named = named
        self._now = now
        self._options = options
        self._workgroup = name_match["workgroup"] or "primary"
        self._catalog = name_match["catalog"] or "AwsDataCatalog"
        self._database = name_match["database"]
        self._table = name_match["table"]

    def __str__(self) -> str:
        """Name of the source in messages."""
        return f"{self._named} in Athena"

    def read(self, window: Window, principals: Principals) -> Iterator[Call | Gap]:
        """Reads the calls, roughly oldest first and deduplicated, and gaps for unread parts; resets
        `statistics`.

        Requests that AWS denies never raise.
        Raises InputError where the table does not exist or lacks a column; raised while reading.
        """
        self.statistics = ReadStatistics()
        return self._read(window.since(self._options.since), principals)

    def _read(self, window: Window, principals: Principals) -> Iterator[Call | Gap]:
        try:
            yield from self._query_items(window, principals)
        except AwsError as error:
            yield Gap(GapKind.SOURCE_FAILED, Scope(), f"{self._named}: {error}")
            return
        scope = Scope(data_events=self._options.waited)
        yield from late_events_gap(self.statistics.newest, self._now, window, WAIT_ADVICE, scope)

    def _query_items(self, window: Window, principals: Principals) -> Iterator[Call | Gap]:
        """Yields the calls that the query finds, and gaps for what the table does not have; raises
        like `read`, and AwsError.
        """
        query_place = {
            "QueryExecutionContext": {"Database": self._database, "Catalog": self._catalog},
            "WorkGroup": self._workgroup,
        }
        max_bytes = self._options.max_bytes
        queries = QueryRunner(
            self._clients.client("athena"), query_place, self._options.poll, max_bytes
        )
        table = self._described()
        branches = self._branches(table, principals)
        dated_branches = [branch for branch in branches or () if branch.dated]
        delivering_trails = partial(self._delivering_trails, table, dated_branches)
        yield from settings_gaps(self._clients, self._named, delivering_trails, window)
        yield from table_gaps(table, self._named, window, principals, self._now)
        if branches is not None and not branches:
            accounts = ", ".join(target_accounts(principals))
            detail = f"{self._named}: its place has no folder of the account {accounts}"
            yield Gap(GapKind.SOURCE_FAILED, Scope(), detail)
        estimate = self._log_estimate(table, dated_branches, window)
        if max_bytes and estimate > max_bytes:
            raise _too_much(f"would read about {_cost(estimate)}", max_bytes)
        query = usage_query(
            table,
            window,
            principals,
            regions=sorted({branch.region for branch in dated_branches}),
            accounts=sorted({branch.account for branch in dated_branches if branch.account}),
        )
        execution = queries.run(query)
        _log.info(f"Athena: the query read {_cost(_scanned_bytes(execution))}")
        reader = _RowReader(
            name=self._named,
            table=table,
            window=window,
            principals=principals,
            statistics=self.statistics,
            seen_events=self._options.seen or EventDeduplicator(),
        )
        for row in queries.rows(str(execution["QueryExecutionId"])):
            yield from reader.calls(row)
        self.statistics.requests += queries.pages

    def _described(self) -> CloudTrailTable:
        table_name = {
            "CatalogName": self._catalog,
            "DatabaseName": self._database,
            "TableName": self._table,
        }
        activity = f"reading the table {self._named}"
        try:
            with translate_errors(activity, "athena:GetTableMetadata"):
                answer = self._clients.client("athena").get_table_metadata(
                    **table_name, WorkGroup=self._workgroup
                )
        except AwsError as error:
            # Glue's EntityNotFoundException arrives as a MetadataException (GetTableMetadata,
            # Athena API reference). So does a denial by Glue or Lake Formation.
            message = aws_message(error)
            is_metadata_error = error_code(error) == "MetadataException"
            if is_metadata_error and re.search("not ?found", message, re.IGNORECASE):
                raise InputError(
                    f"athena-table: there is no table {self._named!r}: create it as in"
                    " docs/athena-table.sql, or name another one."
                ) from error
            if "AccessDenied" in message:
                raise denial_error("", message, activity, "glue:GetTable") from error
            raise
        table = CloudTrailTable.of(
            self._database, self._table, required_member(answer, activity, "TableMetadata")
        )
        lacking = [name for name in NEEDED if name not in table.columns]
        if lacking:
            raise InputError(
                f"athena-table: {self._named!r} is no table of CloudTrail records, or an incomplete"
                f" one: it has no column {lacking[0]}. Create it as in docs/athena-table.sql."
            )
        return table

    def _branches(
        self, table: CloudTrailTable, principals: Principals
    ) -> tuple[LogPrefix, ...] | None:
        """Returns the log prefixes of the targets; None where they cannot be listed and the query
        needs no names.
        """
        if table.is_ocsf:
            return None
        try:
            name, prefix = split_location(table.top)
            accounts = frozenset(target_accounts(principals)) or None
            return Bucket(name, self._clients.client("s3")).find_prefixes(prefix, accounts)
        except (AwsError, InputError):
            if any(value.lower() == "injected" for value in table.parameters.values()):
                raise
            return None

    def _delivering_trails(
        self, table: CloudTrailTable, branches: Sequence[LogPrefix]
    ) -> Sequence[Trail]:
        """Returns the trails that deliver the files of the table; raises AwsError."""
        bucket, _, template = table.template.removeprefix("s3://").partition("/")
        keys = [branch.prefix for branch in branches] or [template]
        locations = {location for location in map(delivery_location, keys) if location}
        return trails_of_bucket(self._clients, bucket, locations)

    def _log_estimate(
        self, table: CloudTrailTable, branches: Sequence[LogPrefix], window: Window
    ) -> int:
        """Logs the estimated size and cost, from listings of some days below the prefixes; returns
        the size, 0 where it is not known.
        """
        if not branches:
            return 0
        start = window.start or self._now - timedelta(days=_DEFAULT_DAYS)
        end = window.end or self._now
        day_count = max(1, (end - start).days + 2)
        folder_count = len(branches) * day_count
        step = max(1, folder_count // _SAMPLES)
        sampled_bytes = sample_count = 0
        try:
            bucket = Bucket(split_location(table.top)[0], self._clients.client("s3"))
            for number in range(step // 2, folder_count, step):
                days, branch_number = divmod(number, len(branches))
                day = start + timedelta(days=days)
                folder = f"{branches[branch_number].prefix}{day:%Y/%m/%d}/"
                for objects in bucket.objects(folder):
                    sampled_bytes += sum(stored.size for stored in objects)
                sample_count += 1
        except (AwsError, InputError) as error:
            _log.info(f"Athena: the size of the query is not known. {error}")
            return 0
        size = sampled_bytes * folder_count // max(1, sample_count)
        _log.info(
            f"Athena: the query will read about {_cost(size)}, by a sample of {day_count} days"
        )
        return size


class _RowReader(Struct):
    """Reads the rows of a query's result."""

    name: str
    """The source in messages."""
    table: CloudTrailTable
    window: Window
    principals: Principals
    statistics: ReadStatistics
    seen_events: EventDeduplicator

    def calls(self, row: Mapping[str, str | None]) -> Iterator[Call | Gap]:
        """Counts the records of a row, and yields the calls of a target without duplicates, and
        gaps for those that cannot be read.
        """
        record = record_from_row(row)
        record_count = int(row["number"] or 0)
        self.statistics.records += record_count
        self._count_coverage(row, record)
        if row["mine"] != "true":
            return
        events = list(events_in_row(row))
        times = [event.time.isoformat() for event in events if event.time]
        parsed = parse_record(
            {**record, "eventTime": times[0] if times else None},
            self.principals.wants,
            self.principals.include,
        )
        if isinstance(parsed, NoCall):
            self.statistics.note_no_call(parsed, record_count)
        elif isinstance(parsed, Gap):
            yield self._gap(parsed, record_count)
        elif isinstance(parsed, Call):
            for event in events:
                yield from self._call_at(event, parsed, record)

    def _count_coverage(self, row: Mapping[str, str | None], record: Mapping[str, object]) -> None:
        """Counts the coverage of the records of a row that are in the window."""
        times = [event_time({"eventTime": row[name]}) for name in ("first_time", "last_time")]
        inside = [time for time in times if time and self.window.contains(time)]
        # The query also returns times in other formats, which may be outside the window.
        if not inside and all(times):
            return
        if not self.table.has_event_categories:
            # A read-only call may be a data event or another one.
            record = {**record, "readOnly": None}
        counter = CoverageCounter.of(record, self.principals)
        for moment in inside:
            self.statistics.note_times(moment, moment)
            counter.days.add(moment.toordinal())
        for day in days_in_row(row):
            if inside and inside[0].date() <= day.date() <= inside[-1].date():
                counter.days.add(day.toordinal())
        counter.names.update(operations_in_row(row))
        for use in data_uses_in_row(row):
            counter.note_folders(use.day.toordinal(), use.event_name, (use.folder,))
        counter.add_to(self.statistics)

    def _call_at(
        self, event: RowEvent, call: Call, record: Mapping[str, object]
    ) -> Iterator[Call | Gap]:
        """Yields one of the calls of a row, which are equal but for their times and ids; a gap
        where it has no time.
        """
        if event.time is None:
            parsed = parse_record({**record, "eventTime": None})
            if isinstance(parsed, Gap):
                yield self._gap(parsed, 1)
        elif self.window.contains(event.time):
            call = replace(call, time=event.time, event_id=event.event_id)
            if is_new(call, self.statistics, self.seen_events):
                yield call

    def _gap(self, gap: Gap, record_count: int) -> Gap:
        return replace(gap, detail=f"{self.name}: {gap.detail}", count=record_count)


def _too_much(what: str, limit: int) -> AwsError:
    sentence = (
        f"The query in Athena {what}, more than athena-max-bytes, {_cost(limit)}: raise that, or"
        " read fewer days (lookback-days), regions (aws-regions) or accounts."
    )
    return AwsError(sentence, AwsErrorKind.OTHER)


def _cost(size: int) -> str:
    """Formats the size and the price of a query (`data/athena_prices.tsv`)."""
    [price] = [
        row for row in facts("athena_prices", "leastpriv.cloudtrail") if row["region"] == "*"
    ]
    counted = max(size, int(price["least_bytes"]))
    return f"{size / 1e9:,.2f} GB, about ${counted / 1024**4 * float(price['usd_per_tb']):,.4f}"
