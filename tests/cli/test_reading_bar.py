"""The bar of a command that reads records."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from leastpriv.cli.reading_bar import Progress, reading_bar
from leastpriv.cloudtrail.local_store import TrailFolder
from leastpriv.github_actions.workflow_commands import PROGRESS_PREFIX, Console

COUNT = st.integers(0, 10**9)


def test_the_line_has_the_part_the_rate_and_the_time_that_is_left() -> None:
    text = Progress(files=30, records=6_000, seconds=3.0, total=120).text
    assert text.startswith(f"{PROGRESS_PREFIX}██████░")
    assert text.endswith(" 25% 30 of 120 files, 6,000 records, 2,000 records a second, 9 s left")


def test_without_a_total_the_line_counts() -> None:
    text = Progress(files=30, records=6_000, seconds=3.0).text
    assert text == f"{PROGRESS_PREFIX}30 files, 6,000 records, 2,000 records a second"


@given(COUNT, COUNT, st.floats(0, 10**6), COUNT)
def test_every_progress_has_a_line(files: int, records: int, seconds: float, total: int) -> None:
    text = Progress(files=files, records=records, seconds=seconds, total=total).text
    assert text.isprintable()


def test_outside_a_terminal_nothing_is_drawn(tmp_path: Path) -> None:
    stream = StringIO()
    with reading_bar(Console(stream, stream, in_actions=False), [TrailFolder(tmp_path)]):
        pass
    assert stream.getvalue() == ""
