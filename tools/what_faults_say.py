"""Print the reports of a run for faults of AWS: a Markdown table per source, from the tests' rows.

The tests compare every sentence with the product's (`tests/evidence/aws_findings/test_faults.py`
and its neighbours, and `tests/action/test_interruptions.py`).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
ROWS = (
    "tests/evidence/aws_findings/faults.json",
    "tests/aws_checks/faults.json",
    "tests/evidence/aws_findings/type_faults.json",
)

INTERRUPTED = "Interrupted: nothing was published."
"""The command's last line, after the line about cancelled jobs."""

Row = Mapping[str, Any]


def main() -> int:
    """Print every table."""
    rows: list[Row] = [
        row for name in ROWS for row in json.loads((ROOT / name).read_text(encoding="utf-8"))
    ]
    for source in dict.fromkeys(row["source"] for row in rows):
        print(f"### {source}\n\n| Fault | What the run reports |\n| --- | --- |")
        own = [row for row in rows if row["source"] == source and row["fault"] != "interrupted"]
        before = (
            row.get("says", "")
            for row in rows
            if (row["source"], row["fault"]) == (source, "interrupted")
        )
        cancelled = [said for said in before if said.startswith("Cancelled")]
        for row in [*own, {"fault": "interrupted", "says": " ".join([*cancelled, INTERRUPTED])}]:
            cells = (row["fault"], " ".join(sentences(row)).replace("|", "\\|"))
            print(f"| {' | '.join(cells)} |")
        print()
    return 0


def sentences(row: Row) -> Iterator[str]:
    """The sentences of a row, or that there is none."""
    left_out = row.get("left-out", {})
    if not left_out and "says" not in row:
        yield "(its answer)"
    if "says" in row:
        yield row["says"]
    yield from dict.fromkeys(left_out.values())


if __name__ == "__main__":
    sys.exit(main())
