"""The table of verdicts: one case for each row, and the order of the rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from leastpriv.proposal.chance import QUIET_RUNS, Word
from leastpriv.proposal.models import GuardResult
from leastpriv.proposal.verdict import TABLE, Facts, Instruction, VerdictRule, decide

CASES = Path(__file__).parents[1] / "cases"
READ: dict[str, Any] = {"records": 900, "calls": 60, "succeeded": 50}
REMOVES: dict[str, Any] = {**READ, "removed": 20, "tests": 5, "least_tests": 5}
NOTHING: dict[str, Any] = {**READ, "has_changes": False}
DRAFT: dict[str, Any] = {**READ, "is_draft": True, "added": 9, "quiet": QUIET_RUNS}
FEW_DAYS = GuardResult("minimum-days", "the evidence spans 3 of 35 days")

ROWS: tuple[tuple[VerdictRule, Instruction, dict[str, Any]], ...] = (
    (
        VerdictRule.DRAFT_DECLINED,
        Instruction.NONE,
        {**NOTHING, "is_draft": True, "is_draft_declined": True},
    ),
    (VerdictRule.PROBE, Instruction.NONE, {**NOTHING, "succeeded": 0, "is_probe": True}),
    (VerdictRule.ADD_BY_HAND, Instruction.NONE, {**NOTHING, "by_hand": 1}),
    (VerdictRule.NO_RECORDS, Instruction.NONE, {"has_changes": False}),
    (VerdictRule.NO_CALLS, Instruction.NONE, {"has_changes": False, "records": 900}),
    (VerdictRule.NO_SUCCESS, Instruction.NONE, {**NOTHING, "succeeded": 0}),
    (VerdictRule.LACKS_PERMISSIONS, Instruction.NONE, {**NOTHING, "lacking": 3}),
    (VerdictRule.LACKS_EVIDENCE, Instruction.NONE, {**NOTHING, "waits_for": FEW_DAYS}),
    (VerdictRule.UNCHANGED, Instruction.NONE, NOTHING),
    (VerdictRule.CONTRADICTED, Instruction.DO_NOT_MERGE, {**REMOVES, "disagreements": 1}),
    (VerdictRule.UNLISTED_ACCESS, Instruction.DO_NOT_MERGE, {**REMOVES, "new_access": 1}),
    (VerdictRule.TOO_LARGE, Instruction.DO_NOT_MERGE, {**REMOVES, "fits": False}),
    (VerdictRule.NEWLY_DENIED, Instruction.DO_NOT_MERGE, {**REMOVES, "newly_denied": 1}),
    (VerdictRule.DRAFT_DENIES, Instruction.DO_NOT_MERGE, {**DRAFT, "lacking": 1}),
    (VerdictRule.SENSITIVE_ADDITION, Instruction.SECURITY_REVIEW, {**REMOVES, "sensitive": 1}),
    (
        VerdictRule.SENSITIVE_UNREVIEWED,
        Instruction.SECURITY_REVIEW,
        {**REMOVES, "unreviewed": 2, "unreviewed_sensitive": 1},
    ),
    (VerdictRule.NEW_DELETION, Instruction.SECURITY_REVIEW, {**DRAFT, "deletions": 1}),
    (VerdictRule.DENIAL_EXPECTED, Instruction.REHEARSE, {**DRAFT, "expected_denials": 4}),
    (VerdictRule.UNREVIEWED_USE, Instruction.REHEARSE, {**REMOVES, "unreviewed": 2}),
    (VerdictRule.UNREVIEWED_DENIED, Instruction.REHEARSE, {**REMOVES, "unreviewed_denied": 1}),
    (VerdictRule.USERS_NOT_COVERED, Instruction.REHEARSE, {**REMOVES, "users_not_covered": 1}),
    (VerdictRule.STILL_LACKS, Instruction.REHEARSE, {**REMOVES, "lacking": 1}),
    (VerdictRule.REMOVED_UNRECORDED, Instruction.REHEARSE, {**REMOVES, "removed_unrecorded": 1}),
    (
        VerdictRule.NEVER_RAN,
        Instruction.REHEARSE,
        {**DRAFT, "succeeded": 0, "has_declared_only": True},
    ),
    (VerdictRule.REGION_ASSUMED, Instruction.REHEARSE, {**REMOVES, "region_assumed": 1}),
    (VerdictRule.OFTEN_DENIED, Instruction.REHEARSE, {**REMOVES, "word": Word.MAY_BE}),
    (VerdictRule.ONLY_ADDS, Instruction.MERGE, {**READ, "added": 1}),
    (VerdictRule.NAMES_UNTESTED, Instruction.REHEARSE, {**REMOVES, "untested_names": 1}),
    (
        VerdictRule.REMOVALS_UNTESTED,
        Instruction.REHEARSE,
        {**REMOVES, "tests": 4},
    ),
    (VerdictRule.UNRECORDED_USE, Instruction.REHEARSE, {**DRAFT, "unrecorded_use": 3}),
    (VerdictRule.FEW_QUIET_RUNS, Instruction.REHEARSE, {**DRAFT, "quiet": QUIET_RUNS - 1}),
    (VerdictRule.ALL_RECORDED, Instruction.MERGE, REMOVES),
)


@pytest.mark.parametrize(("rule", "instruction", "facts"), ROWS, ids=lambda each: str(each)[:24])
def test_each_row_has_a_case(
    rule: VerdictRule, instruction: Instruction, facts: dict[str, Any]
) -> None:
    verdict = decide(Facts(**facts))
    assert (verdict.rule, verdict.instruction) == (rule, instruction)


def test_the_cases_are_the_rows_in_their_order() -> None:
    assert [row[:2] for row in ROWS] == [(row.rule, row.instruction) for row in TABLE]
    assert {row.rule for row in TABLE} == set(VerdictRule)


NOT_IN_RECORDS = {
    VerdictRule.CONTRADICTED: "AWS's own simulation contradicts the proof",
    VerdictRule.UNLISTED_ACCESS: "the proof finds a fault of the product",
    VerdictRule.NEWLY_DENIED: "the proof finds a fault of the product",
}
"""Rows that no case of records reaches, with what they need."""


@pytest.mark.parametrize("rule", [rule for rule in VerdictRule if rule not in NOT_IN_RECORDS])
def test_each_row_has_a_case_of_records_with_its_name(rule: VerdictRule) -> None:
    case = json.loads((CASES / f"verdict-{rule}.json").read_text(encoding="utf-8"))
    instruction = next(row.instruction for row in TABLE if row.rule is rule)
    assert case["expect"]["verdict"] == f"{instruction}: {rule}"


def test_a_first_draft_is_merged_after_enough_runs_that_it_would_not_have_denied() -> None:
    assert decide(Facts(**DRAFT)).instruction is Instruction.MERGE


MERGE = [facts for _, instruction, facts in ROWS if instruction is Instruction.MERGE]
AGAINST: tuple[dict[str, Any], ...] = (
    {"removed_unrecorded": 1, "removed": 1},
    {"unreviewed": 1},
    {"users_not_covered": 1, "removed": 1},
    {"deletions": 1},
    {"sensitive": 1},
    {"newly_denied": 1},
    {"lacking": 1, "removed": 1},
    {"never_written": 1, "is_draft": True},
    {"expected_denials": 1},
    {"unrecorded_use": 1, "is_draft": True},
    {"unreviewed_denied": 1, "removed": 1},
    {"new_access": 1},
    {"untested_names": 1, "removed": 1},
    {"least_tests": 6, "removed": 1},
    {"word": Word.LIKELY},
    {"word": Word.MAY_BE},
    {"region_assumed": 1, "removed": 1},
)


@pytest.mark.parametrize("facts", MERGE)
@pytest.mark.parametrize("against", AGAINST, ids=lambda each: str(next(iter(each))))
def test_one_fact_against_it_is_enough_not_to_merge(
    facts: dict[str, Any], against: dict[str, Any]
) -> None:
    assert decide(Facts(**{**facts, **against})).instruction is not Instruction.MERGE
