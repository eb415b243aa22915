"""Measures the size of a role's usage history, and the time to read and write it.

python -m bench.memory_size
"""

from __future__ import annotations

from datetime import UTC, date, datetime

from bench.measure import Stopwatch
from leastpriv.evidence.history_file import parse_history, serialize_history
from leastpriv.evidence.usage_history import ActionUse, UsageHistory, merge
from leastpriv.permissions import catalog

ROLE = "arn:aws:iam::111122223333:role/ci-deploy"
NOW = datetime(2026, 11, 26, tzinfo=UTC)


def history(actions: int, resources: int) -> UsageHistory:
    """Make a history of some actions of the catalogue, each on some resources, used every month of
    a year.
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
        memory = history(actions, resources)
        stopwatch = Stopwatch()
        raw = serialize_history(memory)
        written = stopwatch.elapsed
        parsed = parse_history(raw, ROLE, NOW)[0]
        read = stopwatch.elapsed
        merge(memory, parsed)
        merged = stopwatch.elapsed
        print(
            f"{actions:>7} {resources:>9} {len(raw):>10,} {read - written:>7.3f}"
            f" {merged - read:>7.3f} {written:>7.3f}"
        )


if __name__ == "__main__":
    main()
