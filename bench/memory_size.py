"""Measures the size of a role's usage history, and the time to read and write it: `python
bench/memory_size.py`.
"""

from __future__ import annotations

import time
from datetime import UTC, date, datetime

from leastpriv.evidence.history_file import parse_history, serialize_history
from leastpriv.evidence.usage_history import ActionUse, UsageHistory, merge
from leastpriv.permissions import catalog

ROLE = "arn:aws:iam::111122223333:role/ci-deploy"
NOW = datetime(2026, 11, 26, tzinfo=UTC)


def a_memory(actions: int, resources: int) -> UsageHistory:
    """The given number of actions of the catalogue on some resources each, used every month for a
    year.
    """
    months = {f"2026-{month:02}": 30 for month in range(1, 12)}
    used = ActionUse(
        date(2025, 12, 1), date(2026, 11, 20), {"2025-12": 30, **months}, "17650000001"
    )
    names = [f"arn:aws:sqs:eu-west-1:111122223333:orders-{number}" for number in range(resources)]
    return UsageHistory(
        ROLE, used={action: dict.fromkeys(names, used) for action in catalog.expand("*")[:actions]}
    )


def main() -> None:
    """Prints a row for each size."""
    print("actions resources      bytes    read   merge   write (seconds)")
    for actions, resources in ((100, 3), (300, 3), (1_000, 3), (1_000, 20)):
        memory = a_memory(actions, resources)
        started = time.perf_counter()
        raw = serialize_history(memory)
        written = time.perf_counter()
        found = parse_history(raw, ROLE, NOW)[0]
        read = time.perf_counter()
        merge(memory, found)
        merged = time.perf_counter()
        row = (read - written, merged - read, written - started)
        print(
            f"{actions:>7} {resources:>9} {len(raw):>10,} "
            + " ".join(f"{each:>7.3f}" for each in row)
        )


if __name__ == "__main__":
    main()
