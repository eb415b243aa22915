"""Queries in Amazon Athena: started, waited for, stopped where nobody waits, their rows, and what they cost."""

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
from leastpriv.evidence.cloudtrail.file_store import Branch
from leastpriv.evidence.cloudtrail.s3_bucket import Bucket
from leastpriv.permissions.fact_tables import table as facts

_log = logging.getLogger(__name__)

_SAMPLES = 40
"""Days of an account and region whose files are listed for the estimate."""
_TERABYTE = 1024**4
_ROWS = 1000
_SAY_EVERY = 30.0
"""Seconds of waiting."""
_LONGEST = 3600.0
"""Seconds after which a query is stopped; Athena itself stops one after 30 minutes, unless that quota was raised
("Service Quotas" of the Athena User Guide, read 2026-11-24)."""
_NO_RESULTS = "give the workgroup a place for query results, or Athena-managed results"


class Queries:
    """Queries of one workgroup and database."""

    def __init__(
        self,
        client: Any,
        workgroup: str,
        catalog: str,
        database: str,
        poll: float,
    ) -> None:
        """`poll`: seconds before a query is asked about first; later it is eight times that."""
        self._client, self._workgroup, self._poll = client, workgroup, poll
        self._catalog, self._database = catalog, database
        self._ended = False
        self.pages = 0
        """Pages of answers that were read."""

    def run(self, query: str) -> Mapping[str, Any]:
        """Start a query and wait for it; its execution. One that nobody waits for any more is stopped.

        Raises:
            AwsError: it was refused, failed, was stopped or took an hour, or AWS does not tell.
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
        """The answer of a query, a page of rows at a time; `counted` names a column of whole numbers in it.

        Raises:
            AwsError: it was refused, or is no answer to this query.
        """
        token: dict[str, str] = {}
        names: list[str] | None = None
        while True:
            with translate_errors("reading the results of a query in Athena", "athena:GetQueryResults"):
                page = self._client.get_query_results(QueryExecutionId=number, MaxResults=_ROWS, **token)
            self.pages += 1
            for row in _part(page, "ResultSet").get("Rows") or ():
                values = [cell.get("VarCharValue") for cell in row.get("Data") or ()]
                if names is None:  # the first row of the first page
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


def estimate(bucket: Bucket, found: Sequence[Branch], start: datetime, days: int) -> int | None:
    """About how many bytes lie in so many days of the branches, by listing some of them; None: nothing to go by.

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


def cost_of(size: int) -> str:
    """Bytes and what Athena asks for reading them, in words (`data/athena_prices.tsv`)."""
    [price] = [row for row in facts("athena_prices", "leastpriv.evidence") if row["region"] == "*"]
    counted = max(size, int(price["least_bytes"]))
    return f"{size / 1e9:,.2f} GB, about ${counted / _TERABYTE * float(price['usd_per_tb']):,.4f}"


def _part(answer: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A part that every answer has; raises `AwsError` where one has not."""
    found = answer.get(name)
    if not isinstance(found, Mapping):
        raise _strange()
    return found


def _strange() -> AwsError:
    sentence = "What answered in place of Athena is not AWS, or broke off: run again later."
    return AwsError(sentence, AwsErrorKind.INCOMPLETE)


def _failed(status: Mapping[str, Any]) -> AwsError:
    reason = " ".join(str(status.get("StateChangeReason") or "no reason given").split())
    # What the query itself was refused (the catalogue, the files, their key) comes as text, often behind a long path.
    refusal = denial_error("", reason, "running the query in Athena", "")
    if refusal.missing_action:
        return refusal
    word = "stopped" if status.get("State") == "CANCELLED" else "failed"
    advice = f" ({_NO_RESULTS})" if "output location" in reason.lower() else ""
    return AwsError(f"The query in Athena {word}: {reason[:300]}{advice}", AwsErrorKind.OTHER)
