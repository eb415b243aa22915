"""The text of the proof: five lines, and no claim beyond the evidence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from leastpriv.evidence.models import CallGroup
from leastpriv.models import Outcome
from leastpriv.policy.compact import ActionWildcard
from leastpriv.policy.document import parse
from leastpriv.policy.size import PackedPolicy, PolicyKind
from leastpriv.proposal.leave_one_run_out import LeaveOneOutResult
from leastpriv.report.context import ReportContext
from leastpriv.report.proof import proof_sentences
from tests.fakes.contexts import with_parts
from tests.fakes.deploys import POLICY, proposal
from tests.fakes.replace import replace

GROUP = CallGroup((), Outcome.ALLOWED, 3, ("1",), ("eu-west-1",), "sqs.amazonaws.com:Odd`Event")


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> ReportContext:
    return proposal(tmp_path_factory.mktemp("usual"), POLICY).context


def lines(context: ReportContext, **changes: Any) -> list[str]:
    proof = replace(context.proof, **changes)
    return list(proof_sentences(with_parts(context, proof=proof)))


def test_the_proof_has_a_line_for_replay_access_runs_and_sizes(usual: ReportContext) -> None:
    size = usual.proof.size_after
    assert lines(usual) == [
        (
            "**12 of 12** successful calls are allowed by the result. Not evaluated: 1 call that"
            " AWS denied. SCPs, permissions boundaries and resource policies are not evaluated."
        ),
        "No new access beyond the listed additions.",
        ("Leaving one run out: a policy made from the other runs allows each of the 6 runs."),
        (
            f"Size {usual.proof.size_before:,} → {size:,} characters, of at most 6,144 of a managed"
            f" policy. The lists of actions have {usual.proof.entries_before} →"
            f" {usual.proof.entries_after} entries."
        ),
    ]


def test_calls_that_would_be_denied_are_in_the_first_line(usual: ReportContext) -> None:
    proof_lines = lines(usual, replay=replace(usual.proof.replay, denied=(GROUP,)))
    assert len(proof_lines) == 4
    assert proof_lines[0].endswith("**3 calls would be denied**: ``sqs.amazonaws.com:Odd`Event``.")


def test_calls_allowed_in_part_or_under_a_condition_are_in_the_limits(usual: ReportContext) -> None:
    proof_lines = lines(usual, replay=replace(usual.proof.replay, in_part=2, uncertain=(GROUP,)))
    assert len(proof_lines) == 5
    assert proof_lines[4].startswith(
        "Left open: 2 calls of these name the resource in part: the result allows a part of it."
    )
    assert "3 more calls allowed if a condition holds" in proof_lines[4]


def test_runs_that_would_have_been_denied_are_counted_with_their_actions(
    usual: ReportContext,
) -> None:
    line = lines(
        usual, left_out=LeaveOneOutResult(12, {"1": ("sqs:A",), "2": ("sqs:A", "sqs:B")}, untried=2)
    )[2]
    assert (
        line == "Leaving one run out: in **2 of 10 runs** a policy made from the other runs lacks"
        " `sqs:A`, `sqs:B`. The more runs, the safer. 2 older runs with actions of their own not"
        " tested."
    )


def test_new_access_is_a_warning(usual: ReportContext) -> None:
    assert (
        lines(usual, new_access=("sqs:* on *",))[1]
        == "**New access beyond the listed additions**: `sqs:* on *`."
    )


def test_a_policy_that_iam_would_reject_is_a_warning(usual: ReportContext) -> None:
    over = lines(usual, sizes=(7_144,), fits=False)[3]
    assert "**over the limit by 1,000**, IAM will reject it" in over
    assert "more than the 10 managed policies" in lines(usual, fits=False)[3]
    inline = lines(usual, sizes=(7_144,), kind=PolicyKind.INLINE_ROLE)[3]
    assert "→ 7,144 characters, of at most 10,240 of all inline policies of a role." in inline


def test_compaction_for_the_size_is_reported(usual: ReportContext) -> None:
    second = parse(b'{"Statement": []}', "a part")
    folds = (ActionWildcard("ec2:Describe*", ("ec2:DescribeA", "ec2:DescribeB")),)
    packed = PackedPolicy(usual.proposal.document, (second,), ("Queues",), folds)
    split = replace(
        usual, proposal=replace(usual.proposal, packed=packed), further=("iam/ci-deploy-2.json",)
    )
    line = lines(split, sizes=(6_000, 900))[3]
    assert "**Split**: attach `iam/ci-deploy-2.json` (900) as well" in line
    assert "Merged into another statement, to save size: `Queues`." in line
    assert "`ec2:Describe*` for 2 actions" in line


def test_runs_that_the_proposal_may_deny_are_not_claimed(usual: ReportContext) -> None:
    assert (
        lines(usual, left_out=LeaveOneOutResult(0, {}, not_checked=12))[2]
        == "Leaving one run out: not done; it needs two runs, and no run can be tested. 12 runs not"
        " judged: the result does not surely allow all of it."
    )


def test_restricted_resources_have_a_section_with_the_risk(tmp_path: Path) -> None:
    wildcard = {
        **POLICY["Statement"][0],
        "Resource": "*",
        "Action": ["lambda:UpdateFunctionCode", "sqs:CreateQueue"],
    }
    body = proposal(tmp_path, {**POLICY, "Statement": [wildcard]}).body
    function = "arn:aws:lambda:eu-west-1:111122223333:function:orders"
    assert "| 1\u00a0narrowed |" in body
    assert f"| `lambda:UpdateFunctionCode` | `*` | `{function}` | 6 | 2026-11-05 |" in body
    assert "A run that needs another resource will be denied" in body
    assert "1 used action on every resource" in body
    assert "`makes-new`" in body
