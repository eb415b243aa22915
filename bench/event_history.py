"""Measures event history: requests and peak memory by number of events; `.venv/bin/python
bench/event_history.py`.
"""

from __future__ import annotations

import multiprocessing
import resource
import sys
import time
from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from leastpriv.aws.arns import Window, parse_principal
from leastpriv.aws.session import Aws
from leastpriv.cloudtrail.event_history import EventHistory, EventHistoryOptions
from leastpriv.pipeline.sources import read_evidence
from tests.fakes.aws.event_history import FakeHistory, Fault, call, event_of, login, user_of

ROLE = "arn:aws:iam::111122223333:role/ci/deploy"
NOW = datetime(2026, 11, 24, tzinfo=UTC)
SIZES = ((2_000, 20), (20_000, 200), (60_000, 200))
"""Calls and sessions."""


class Quick(FakeHistory):
    """Answers from an index, so that the server is not measured."""

    index: Mapping[tuple[str, str], list[Mapping[str, Any]]] = {}

    def answer(
        self,
        region: str,
        asked: Mapping[str, Any],
        fault: Fault | None,  # noqa: ARG002
    ) -> Mapping[str, Any]:
        """One page."""
        attribute = asked["LookupAttributes"][0]
        key = (attribute["AttributeKey"], attribute["AttributeValue"])
        found = self.index.get(key, []) if region == "eu-west-1" else []
        first = int(asked.get("NextToken") or 0)
        more = {"NextToken": str(first + 50)} if first + 50 < len(found) else {}
        return {"Events": [event_of(record) for record in found[first : first + 50]], **more}


def serve(calls: int, sessions: int, ready: multiprocessing.Queue[dict[str, str]]) -> None:
    """A server with that many calls, inside the context."""
    index: dict[tuple[str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for number in range(sessions):
        name, start = (
            str(19_000_000_000 + number),
            NOW - timedelta(days=80) + timedelta(hours=number),
        )
        index["EventName", "AssumeRoleWithWebIdentity"].append(
            login(ROLE, name, start, "eu-west-1")
        )
        for second in range(calls // sessions):
            record = call(
                ROLE, name, "sqs:CreateQueue", start + timedelta(seconds=second), "eu-west-1"
            )
            index["Username", user_of(record)].append(record)
    Quick.index = index
    with Quick() as server:
        ready.put(server.environment())
        time.sleep(3_600)


def main() -> None:
    """Print one line per size; a separate process for each would show the same peak or less."""
    for calls, sessions in SIZES:
        ready: multiprocessing.Queue[dict[str, str]] = multiprocessing.Queue()
        server = multiprocessing.Process(target=serve, args=(calls, sessions, ready), daemon=True)
        server.start()
        aws = Aws.open(ready.get())
        source = EventHistory(aws, ("eu-west-1", "us-east-1"), NOW, EventHistoryOptions(pace=0))
        evidence = read_evidence([source], Window(), parse_principal(ROLE))[ROLE]
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(
            f"{evidence.counts.calls:>7,} calls  {source.statistics.requests:>6,} answers  peak"
            f" {peak} MB"
        )
        server.terminate()


if __name__ == "__main__":
    main()
