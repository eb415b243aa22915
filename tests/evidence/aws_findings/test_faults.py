"""Each row of `faults.json`: what goes wrong at a source of hints, and what the run says of it; the
others go on.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from leastpriv.aws.session import Aws
from leastpriv.evidence.models import AwsFindings
from tests.evidence.aws_findings.test_collect import OTHER, Account
from tests.fakes.aws.server import FakeAws

ROWS = json.loads((Path(__file__).parent / "faults.json").read_text(encoding="utf-8"))
SOURCES = (
    "access advisor",
    "policy generation",
    "unused access findings",
    "external access findings",
)


@pytest.fixture(scope="module")
def endpoint() -> Iterator[FakeAws]:
    """One for all, since making clients takes longer than asking."""
    with FakeAws({}) as running:
        yield running


@pytest.fixture(scope="module")
def door(endpoint: FakeAws) -> Aws:
    return Aws.open(endpoint.environment(attempts=1))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['source']}: {row['fault']}")
def test_a_fault_is_reported_and_affects_only_its_source(
    row: Mapping[str, Any], endpoint: FakeAws, door: Aws
) -> None:
    account = Account()
    endpoint.operations = {**account.iam.operations(), **account.analyzer.operations()}
    endpoint._faults.clear()
    endpoint.requests.clear()
    _arrange(row, account, endpoint)
    if row.get("interrupted"):
        with pytest.raises(KeyboardInterrupt):
            account.aws_findings(door)
        assert row["says"] == account.log_lines[-1]
        return
    hints = account.aws_findings(door)
    assert {skipped.source: skipped.why for skipped in hints.skipped_sources} == row.get(
        "left-out", {}
    )
    assert set(_found(hints)) == set(SOURCES) - {*row.get("left-out", {})}
    assert not row.get("says") or row["says"] in account.log_lines
    if "pages-of" in row:
        requests = endpoint.asked(row["pages-of"])
        assert any({"Marker", "nextToken"} & {*parameters} for parameters in requests)


def test_every_source_is_tried_with_every_fault_that_it_can_have() -> None:
    tried = {(row["source"], row["fault"]) for row in ROWS}
    common = {"happy", "paging", "throttled", "access denied", "slow", "broken off"}
    expected_pairs = {(source, fault) for source in SOURCES for fault in common}
    expected_pairs |= {
        ("policy generation", fault)
        for fault in ("conflict", "conflict that ends", "quota", "failed", "joined")
    }
    expected_pairs |= {("unused access findings", "failed")}
    expected_pairs |= {(source, "interrupted") for source in SOURCES[:3]}
    assert tried == expected_pairs


def _arrange(row: Mapping[str, Any], account: Account, endpoint: FakeAws) -> None:
    refused = row.get("refuse")
    if refused:
        endpoint.refuse(
            refused["operation"], refused["code"], refused["message"], refused["status"]
        )
    if "break-off" in row:
        endpoint.break_off(row["break-off"])
    if "delay" in row:
        endpoint.delay(row["delay"], 0.2, times=2)
    for _ in range(row.get("earlier-generations", 0)):
        account.analyzer.begin(account.role, ago=timedelta(days=2)).is_cancelled = True
    account.analyzer.analyzers["ACCOUNT/outside"] *= row.get("findings-times", 1)
    if "busy-minutes" in row:
        account.analyzer.begin(OTHER, takes=timedelta(minutes=row["busy-minutes"]))
    if "running-for-the-role" in row:
        account.analyzer.begin(account.role, takes=timedelta(minutes=4))
    account.analyzer.a_day = row.get("a-day", 50)
    account.analyzer.error = row.get("error", "")
    account.iam.takes = timedelta(seconds=row.get("report-takes", 3))
    account.analyzer.takes = timedelta(seconds=row.get("generation-takes", 120))
    account.analyzer.unrecommended = row.get("recommendation-error", "")
    account.analyzer.recommending = timedelta(seconds=row.get("recommendation-takes", 5))
    if row.get("interrupted"):
        account.time.on_sleep = lambda: _interrupt_at(row["interrupted"], account, endpoint)


def _interrupt_at(operation: str, account: Account, endpoint: FakeAws) -> None:
    if endpoint.requests and endpoint.requests[-1].operation == operation:
        raise KeyboardInterrupt


def _found(hints: AwsFindings) -> list[str]:
    finding_by_source = {
        "access advisor": hints.access and hints.access.services,
        "policy generation": hints.generated and hints.generated.grants,
        "unused access findings": hints.unused,
        "external access findings": hints.outside,
    }
    return [name for name, value in finding_by_source.items() if value]
