"""Resources derived from made-up requests against the ARNs that refusals name: the measure of
`bench/`.
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from types import ModuleType

import pytest

from tests.fakes.scripts import load

BENCH = Path(__file__).parents[2] / "bench"
STREAM = "arn:aws:kinesis:eu-west-1:111122223333:stream/orders"


@pytest.fixture
def measure(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCH))
    return load("bench/refused_resources.py")


def write(path: Path, *rows: tuple[str, str]) -> Path:
    expected = [
        {"expected": {"actions": [action], "resource": resource}} for action, resource in rows
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in expected), encoding="utf-8")
    return path


def test_a_request_is_made_up_from_the_parts_of_the_arn(measure: ModuleType) -> None:
    classified = measure.classified("kinesis:PutRecord", STREAM)
    verdicts = {classified_way.way: classified_way.verdict for classified_way in classified}
    assert verdicts == {"by name": "exact", "by ARN": "exact"}


def test_masked_arns_and_actions_without_types_are_left_out_and_equal_ones_count_once(
    measure: ModuleType, tmp_path: Path
) -> None:
    masked = STREAM.replace("111122223333", "***")
    rows = [("kinesis:PutRecord", STREAM)] * 2 + [
        ("kinesis:PutRecord", masked),
        ("kinesis:ListStreams", STREAM),
    ]
    assert measure.denied_permissions(write(tmp_path / "r.jsonl", *rows)) == [
        measure.DeniedPermission("kinesis:PutRecord", STREAM)
    ]


def test_the_quoted_refusals_are_derived_right(measure: ModuleType, shared_folder: Path) -> None:
    """One ARN of them had its account taken out; two are of no type that any page of AWS names
    (2026-11-24).
    """
    actions_by_verdict: dict[str, list[str]] = defaultdict(list)
    for denied in measure.denied_permissions(shared_folder / "corpus" / "refusals.jsonl"):
        for classified_way in measure.classified(denied.action, denied.arn):
            actions_by_verdict[classified_way.verdict].append(denied.action)
    assert sum(map(len, actions_by_verdict.values())) > 150
    assert actions_by_verdict["wrong"] == ["ssm:GetParameter"]
    assert {*actions_by_verdict["unknown"]} == {"ce:GetCostAndUsage", "logs:PutLogEvents"}
