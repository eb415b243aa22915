"""`leastpriv permissions`: its rows, its JSON lines, its table."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from leastpriv.report.tables import json_lines, permission_table
from tests.fakes.markdown import HOSTILE

TEXTS = st.sampled_from(HOSTILE) | st.text()
ROW = {
    "action": "s3:PutObject",
    "resource": "*",
    "basis": "observed",
    "count": 3,
    "runs": ["1", "2"],
    "last_seen": "x",
}


@given(st.lists(st.dictionaries(TEXTS, TEXTS, max_size=3), max_size=4))
def test_rows_survive_json_lines_and_run_no_workflow_command(rows: list[dict[str, str]]) -> None:
    text = json_lines(rows)
    assert text.isascii()
    assert "##[" not in text
    assert [json.loads(line) for line in text.splitlines()] == rows


@given(TEXTS, TEXTS)
def test_the_table_has_one_line_per_row_whatever_the_names(resource: str, detail: str) -> None:
    rows = [
        {**ROW, "resource": resource},
        {"denied": "s3:GetObject", "denied_by": "scp", "resource": resource, "count": 2},
        {"gap": "unmapped-event", "scope": "all", "detail": detail, "count": 1},
    ]
    text = str(permission_table(rows))
    lines = text.splitlines()
    assert len(lines) == 1 + len(rows)
    assert "##[" not in text
    assert not any(line.lstrip().startswith("::") for line in lines)
    assert lines[2].startswith("denied by scp: s3:GetObject on ")
    assert lines[3].startswith("gap unmapped-event: ")


def test_columns_line_up_and_runs_are_counted() -> None:
    head, first, second = str(
        permission_table([ROW, {**ROW, "action": "s3:PutObjectTagging", "count": 14}])
    ).splitlines()
    assert head.split() == ["action", "resource", "basis", "count", "runs", "last_seen"]
    assert first.split() == ["s3:PutObject", "*", "observed", "3", "2", "x"]
    assert first.index("observed") == second.index("observed") == head.index("basis")


def test_without_rows_the_table_is_its_header() -> None:
    assert str(permission_table([])).split() == [
        "action",
        "resource",
        "basis",
        "count",
        "runs",
        "last_seen",
    ]


def test_an_action_that_the_catalogue_lacks_is_marked() -> None:
    _, listed_row, unknown = str(
        permission_table([ROW, {**ROW, "action": "s3:FrobnicateBucket", "verified": False}])
    ).splitlines()
    assert "unverified" not in listed_row
    assert unknown.startswith("s3:FrobnicateBucket (unverified)  *")


def test_a_table_has_the_day_and_json_the_time() -> None:
    row = {**ROW, "last_seen": "2026-11-05T09:00:00Z"}
    assert str(permission_table([row])).rstrip().endswith(" 2026-11-05")
    assert "2026-11-05T09:00:00Z" in json_lines([row])
