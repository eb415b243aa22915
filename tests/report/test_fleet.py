"""A fleet of targets: one line each, and 500 targets in less than 500 kB."""

from __future__ import annotations

import pytest

from leastpriv.evidence.role_chain import RoleChain
from leastpriv.report import html
from leastpriv.report.context import ReportContext
from leastpriv.report.role_chain import RoleChainPolicies
from leastpriv.report.targets import TargetRow, fleet_overview, summary
from tests.fakes.deploys import POLICY, ROLE, proposal

LARGEST = 500_000


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> ReportContext:
    return proposal(tmp_path_factory.mktemp("usual"), POLICY).context


@pytest.fixture(scope="module")
def rows(usual: ReportContext) -> list[TargetRow]:
    return [
        TargetRow(
            role=f"arn:aws:iam::{111122223333 + number % 20}:role/team/ci-deploy-{number:03}",
            policy_file=f"iam/team/ci-deploy-{number:03}.json",
            title="iam(ci-deploy): 88 -> 85 actions, 1 narrowed, 1 added",
            pull_request=f"https://github.com/acme/orders/pull/{number}",
            number=number,
            operation="updated",
            context=usual,
        )
        for number in range(1, 501)
    ]


def test_text_and_page_of_500_targets_are_small(rows: list[TargetRow]) -> None:
    text = summary(rows, RoleChainPolicies(RoleChain(())), [])
    assert len(text.encode()) < LARGEST
    assert len(html.page(rows).encode()) < LARGEST


def test_each_target_has_a_line_with_verdict_effect_most_sensitive_removal_and_link(
    rows: list[TargetRow],
) -> None:
    failed = TargetRow(ROLE, "iam/x.json", failure="No *call*.")
    head, _, first, *rows_of_rest = fleet_overview([*rows, failed]).splitlines()
    assert head == "| Role | Verdict | Found | Most sensitive removal | Pull request |"
    assert first.startswith("| `111122223333:role/ci-deploy` | **Failed**: No ")
    assert "No *call*" not in first
    assert len(rows_of_rest) == len(rows)
    assert "88 -> 85 actions" in rows_of_rest[0]
    assert "[#1](https://github.com/acme/orders/pull/1)" in rows_of_rest[0]


def test_a_few_targets_have_their_texts_below_the_table(rows: list[TargetRow]) -> None:
    text = summary(rows[:2], RoleChainPolicies(RoleChain(())), [])
    assert text.count("<details>") > 2
