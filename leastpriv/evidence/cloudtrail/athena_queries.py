"""Runs Athena queries: starts, awaits and stops them, reads their rows, and estimates their cost."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
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
_NO_RESULTS = "give the workgroup a place for query results, or Athena-managed results"


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
    sentence = "What answered in place of Athena is not AWS, or broke off: run again later."
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
