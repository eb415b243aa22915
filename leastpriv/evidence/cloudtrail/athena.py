"""Calls through Amazon Athena, for trails of whole organizations: one query for all targets and days.

What it will read and cost is said before (an estimate) and after. A query that AWS refuses, stops or fails is a gap,
never the end of the run. CloudTrail Lake is not built on: it is closed to new customers since 2026-05-31 (document
history of the CloudTrail User Guide, read 2026-11-24).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from msgspec import structs

from leastpriv.aws.arns import Principals, Window
from leastpriv.aws.errors import error_code, translate_errors
from leastpriv.errors import AwsError, InputError
from leastpriv.evidence.cloudtrail.athena_queries import Queries, cost_of, estimate
from leastpriv.evidence.cloudtrail.athena_sql import accounts_of, events_of, left_out_by_table, record_of, usage_query
from leastpriv.evidence.cloudtrail.athena_table import NAMED, Table, create_table
from leastpriv.evidence.cloudtrail.file_reader import ReadStatistics, SeenEvents, cover
from leastpriv.evidence.cloudtrail.file_store import Branch, branches, delivered
from leastpriv.evidence.cloudtrail.lookup_events import NOT_WAITED_FOR, under_way
from leastpriv.evidence.cloudtrail.record import NotACall, event_time, examine
from leastpriv.evidence.cloudtrail.s3_bucket import Bucket, Clients
from leastpriv.evidence.cloudtrail.trail_config import settings_gaps, split
from leastpriv.models import Call, Gap, GapKind, Scope

_log = logging.getLogger(__name__)

NEEDED = ("useridentity", "eventtime", "eventname", "eventsource", "awsregion", "eventtype", "errorcode")
"""Columns without which a call cannot be told from something else, or a refused one from an allowed one."""
_DEFAULT_DAYS = 90


class AthenaTable:
    """A source: a table of CloudTrail records in Amazon Athena."""

    def __init__(
        self,
        clients: Clients,
        named: str,
        now: datetime,
        *,
        location: str = "",
        since: datetime | None = None,
        seen: SeenEvents | None = None,
        poll: float = 1.0,
        waited: bool = False,
    ) -> None:
        """`named`: `[WORKGROUP/][CATALOG.]DATABASE.TABLE`; `location`: the trail to make a missing table over.

        `waited`: event history was waited for, which has all but data events.

        Raises:
            InputError: the name is none of that form.
        """
        found = NAMED.fullmatch(named)
        if not found:
            raise InputError(f"athena-table is {named!r}: write DATABASE.TABLE, or WORKGROUP/DATABASE.TABLE.")
        self.statistics = ReadStatistics()
        self._clients, self._named, self._now = clients, named, now
        self._workgroup, self._catalog = found["workgroup"] or "primary", found["catalog"] or "AwsDataCatalog"
        self._database, self._table = found["database"], found["table"]
        self._location, self._since, self._shared = location, since, seen
        self._poll, self._waited = poll, waited

    def __str__(self) -> str:
        """What a person calls it."""
        return f"{self._named} in Athena"

    def read(self, window: Window, principals: Principals) -> Iterator[Call | Gap]:
        """Read the calls, roughly oldest first, each once, and a gap for what could not be seen.

        Raises `InputError` while reading where there is no such table and no trail to make it over; never for what AWS
        refuses. Starts `statistics` anew.
        """
        self.statistics = ReadStatistics()
        return self._read(window.since(self._since), principals)

    def _read(self, window: Window, principals: Principals) -> Iterator[Call | Gap]:
        try:
            queries = Queries(
                self._clients.client("athena"), self._workgroup, self._catalog, self._database, self._poll
            )
            table = self._opened(queries)
            listed = self._branches(table, principals)
            found = [each for each in listed or () if each.dated]
            bucket = _top(table).removeprefix("s3://").partition("/")[0]
            keys = [each.prefix for each in found] or [table.template.removeprefix(f"s3://{bucket}/")]
            places = {place for place in map(delivered, keys) if place}
            yield from settings_gaps(self._clients, self._named, bucket, places, None, window)
            yield from left_out_by_table(table, self._named, window, principals, self._now)
            if listed is not None and not listed:
                detail = f"{self._named}: its place has no folder of the account {', '.join(accounts_of(principals))}"
                yield Gap(GapKind.SOURCE_FAILED, Scope(), detail)
            self._say_estimate(table, found, window)
            query = usage_query(table, window, principals, _values(found))
            yield from self._calls(queries, query, table, window, principals)
            scope = Scope(data_events=self._waited)
            yield from under_way(self.statistics.newest, self._now, window, NOT_WAITED_FOR, scope)
        except AwsError as error:
            yield Gap(GapKind.SOURCE_FAILED, Scope(), f"{self._named}: {error}")

    # The table.

    def _opened(self, queries: Queries) -> Table:
        table = self._described()
        if table is None and self._location:
            top = self._above_accounts()
            _log.info(f"Making the table {self._named} over {top}")
            queries.run(create_table(self._database, self._table, top))
            table = self._described()
        if table is None:
            raise InputError(
                f"athena-table: there is no table {self._named!r}: name one of CloudTrail records, or name the trail "
                "as s3://BUCKET/PREFIX in the input trails to have it made."
            )
        lacking = [name for name in NEEDED if name not in table.columns]
        if lacking:
            raise InputError(
                f"athena-table: {self._named!r} is no table of CloudTrail records, or one that lacks what tells a call:"
                f" it has no column {lacking[0]}. Make it as in AWS's guide."
            )
        return table

    def _described(self) -> Table | None:
        client = self._clients.client("athena")
        try:
            with translate_errors(f"looking at the table {self._named}", "athena:GetTableMetadata"):
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
        return Table(self._database, self._table, columns, keys, parameters, parameters.get("location", ""))

    def _above_accounts(self) -> str:
        """`s3://bucket/prefix/AWSLogs`, or an organization's folder below it."""
        name, prefix = split(self._location)
        found = branches(Bucket(name, self._clients.client("s3")).folders_of, f"{prefix}/" if prefix else "", None)
        tops = sorted({each.prefix.partition(f"/{each.account}/")[0] for each in found if each.dated})
        if not tops:
            raise InputError(
                f"trails: {self._location!r} holds no AWSLogs/ACCOUNT/CloudTrail/REGION/ to make a table over."
            )
        return f"s3://{name}/{tops[-1]}"

    # What it will read.

    def _branches(self, table: Table, principals: Principals) -> tuple[Branch, ...] | None:
        """The targets' accounts and regions that have files, and places of a layout that nobody knows.

        None where they cannot be listed and the query needs no names.
        """
        accounts = frozenset(accounts_of(principals)) or None
        try:
            name, prefix = split(_top(table))
            bucket = Bucket(name, self._clients.client("s3"))
            found = branches(bucket.folders_of, f"{prefix}/" if prefix else "", accounts)
            return tuple(each for each in found if not accounts or not each.account or each.account in accounts)
        except (AwsError, InputError):
            if any(value.lower() == "injected" for value in table.parameters.values()):
                raise
            return None

    def _say_estimate(self, table: Table, found: Sequence[Branch], window: Window) -> None:
        start, end = window.start or self._now - timedelta(days=_DEFAULT_DAYS), window.end or self._now
        days = max(1, (end - start).days + 2)
        try:
            size = estimate(Bucket(split(_top(table))[0], self._clients.client("s3")), found, start, days)
        except (AwsError, InputError) as error:
            _log.info(f"Athena: what the query will read is not known. {error}")
            return
        if size is not None:
            _log.info(f"Athena: the query will read about {cost_of(size)}, by a sample of {days} days")

    # The query.

    def _calls(
        self, queries: Queries, query: str, table: Table, window: Window, principals: Principals
    ) -> Iterator[Call | Gap]:
        seen = self._shared or SeenEvents()
        execution = queries.run(query)
        scanned = int(execution.get("Statistics", {}).get("DataScannedInBytes") or 0)
        _log.info(f"Athena: the query read {cost_of(scanned)}")
        for row in queries.rows(str(execution["QueryExecutionId"]), "number"):
            yield from self._row(row, table, window, principals, seen)
        self.statistics.requests += queries.pages

    def _row(
        self,
        row: Mapping[str, str | None],
        table: Table,
        window: Window,
        principals: Principals,
        seen: SeenEvents,
    ) -> Iterator[Call | Gap]:
        figures, record, number = self.statistics, record_of(row), int(row["number"] or 0)
        figures.records += number
        for name, times in (("first_time", number), ("last_time", 0)):
            # Where the table does not tell data events from others, a reading call may be either.
            told = record if table.tells_kinds else {**record, "readOnly": None}
            time = event_time({"eventTime": row[name]})
            if time is None or window.contains(time):
                cover(figures, told, time, principals, times)
        if row["mine"] != "true":
            figures.skipped[NotACall.NOT_WANTED.value] += number
            return
        events = [(event_time({"eventTime": text}), event) for text, event in events_of(row)]
        some = next((time for time, _ in events if time), None)
        found = examine({**record, "eventTime": some.isoformat() if some else None}, principals.wants)
        if isinstance(found, NotACall):
            figures.skipped[found.value] += number
        elif isinstance(found, Gap):
            yield replace(found, detail=f"{self._named}: {found.detail}", count=number)
        else:
            # One record of a request without a time is lost by itself.
            lost = None if all(time for time, _ in events) else examine({**record, "eventTime": None})
            for moment, event in events:
                if moment:
                    yield from self._each(structs.replace(found, time=moment, event_id=event), window, seen)
                elif isinstance(lost, Gap):
                    yield replace(lost, detail=f"{self._named}: {lost.detail}")

    def _each(self, call: Call, window: Window, seen: SeenEvents) -> Iterator[Call]:
        if window.contains(call.time):
            self.statistics.note_call(call.time)
            if seen.is_copy(call.event_id):
                self.statistics.duplicates += 1
            else:
                self.statistics.calls += 1
                yield call


def _top(table: Table) -> str:
    """Where the table's files lie, above all partitions: `s3://bucket/AWSLogs`."""
    return table.template.partition("${")[0].rstrip("/")


def _values(found: Sequence[Branch]) -> Mapping[str, Sequence[str]]:
    """Partition key -> its values, for the keys that say the region."""
    regions = sorted({each.region for each in found})
    accounts = sorted({each.account for each in found})
    return {"region": regions, "awsregion": regions, "aws_region": regions, **dict.fromkeys(("account",), accounts)}
