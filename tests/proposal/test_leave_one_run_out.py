"""Leave-one-run-out: each run is checked against a policy made from the others, and its denials are
counted.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from leastpriv.diff.compare import compare
from leastpriv.errors import PolicyFileError
from leastpriv.evidence.models import Evidence
from leastpriv.models import Outcome
from leastpriv.policy.document import Document, parse
from leastpriv.policy.replay import replay_need
from leastpriv.proposal.chance import chance_of
from leastpriv.proposal.confidence import confidences, falling_chance
from leastpriv.proposal.guards import break_glass_runs
from leastpriv.proposal.leave_one_run_out import LeaveOneOutResult, RunChecks, leave_one_out
from leastpriv.proposal.models import History, Options, Proposal, ProposalInputs, UnseenServices
from leastpriv.proposal.proof import prove
from leastpriv.proposal.propose import propose
from tests.fakes.deploys import ROLE
from tests.fakes.evidence import RUNS, evidence, evidence_for, usage, with_unknown_grants
from tests.fakes.replace import replace
from tests.hypothesis_profiles import sampled

FUNCTION = "arn:aws:lambda:eu-west-1:111122223333:function:orders"
UPDATE, PUBLISH, TAG = (
    "lambda:UpdateFunctionCode",
    "lambda:PublishVersion",
    "lambda:PutFunctionEventInvokeConfig",
)


def document(action: str | list[str], resource: str = FUNCTION) -> Document:
    statement: dict[str, Any] = {"Effect": "Allow", "Action": action, "Resource": resource}
    return parse(json.dumps({"Version": "2012-10-17", "Statement": statement}).encode(), "p.json")


def left_out(
    committed: Document | None, found: Evidence, options: Options | None = None
) -> LeaveOneOutResult:
    options_of_draft = options or Options()
    draft = propose(committed, compare(committed, [], found), found, options_of_draft)
    return leave_one_out(draft, [], found, options_of_draft, History())


def test_a_run_without_unique_usage_would_have_been_allowed() -> None:
    left_out_runs = left_out(
        document("lambda:*"), evidence([usage(UPDATE, FUNCTION), usage(PUBLISH, FUNCTION, [3, 7])])
    )
    assert left_out_runs == LeaveOneOutResult(12, {})


def test_a_run_that_alone_used_an_action_of_a_narrowed_wildcard_would_have_been_denied() -> None:
    hidden = evidence([usage(UPDATE, FUNCTION), usage("lambda:InvokeFunction", FUNCTION, [5])])
    with_record = evidence([usage(UPDATE, FUNCTION), usage("lambda:AddPermission", FUNCTION, [5])])
    with_hidden, alone = (
        left_out(document("lambda:*"), hidden),
        left_out(document("lambda:*"), with_record),
    )
    assert with_hidden.actions == ()  # no record shows it, so it is kept
    assert alone == LeaveOneOutResult(12, {RUNS[5].id: ("lambda:AddPermission",)})


def test_a_literal_action_that_one_run_used_would_have_been_removed_without_it() -> None:
    used_once = evidence([usage(UPDATE, FUNCTION), usage("lambda:AddPermission", FUNCTION, [0])])
    left_out_runs = left_out(document([UPDATE, "lambda:AddPermission"]), used_once)
    assert left_out_runs.denied == {RUNS[0].id: ("lambda:AddPermission",)}


def test_an_addition_that_one_run_needed_would_have_been_missing() -> None:
    left_out_runs = left_out(
        None,
        evidence(
            [usage(UPDATE, FUNCTION), usage(PUBLISH, FUNCTION, [2]), usage(TAG, FUNCTION, [2])]
        ),
    )
    assert left_out_runs.denied == {RUNS[2].id: (TAG,)}, (
        "publishing a version is of the life cycle of what was updated"
    )


def test_a_pattern_from_the_other_runs_allows_the_left_out_run() -> None:
    names = [usage(PUBLISH, f"{FUNCTION}-{4000 + run * 37}", [run]) for run in range(12)]
    assert left_out(None, evidence(names)) == LeaveOneOutResult(12, {})
    exact = left_out(None, evidence(names), Options(exact_resources=True))
    assert len(exact.denied) == 12


def test_leaving_a_run_out_does_not_trigger_minimum_runs() -> None:
    few = Options(minimum_runs=12)
    once = evidence([usage(UPDATE, FUNCTION), usage("lambda:AddPermission", FUNCTION, [5])])
    assert left_out(document("lambda:*"), once, few).denied == {
        RUNS[5].id: ("lambda:AddPermission",)
    }


def test_a_call_that_the_full_proposal_denies_is_not_reported_again() -> None:
    calls = evidence(
        [
            usage(UPDATE, FUNCTION),
            usage("iam:CreateAccessKey", "arn:aws:iam::111122223333:user/x", [1]),
        ]
    )
    assert left_out(document(UPDATE), calls).denied == {}


def test_a_run_that_the_proposal_denies_or_allows_under_a_condition_is_not_counted() -> None:
    statement = {"Effect": "Allow", "Action": UPDATE, "Resource": FUNCTION}
    condition = {"Condition": {"StringEquals": {"aws:SourceVpc": "vpc-1"}}}
    hanging = parse(
        json.dumps({"Version": "2012-10-17", "Statement": {**statement, **condition}}).encode(),
        "p.json",
    )
    denied = {**statement, "Effect": "Deny", "Action": PUBLISH}
    policy = {
        "Version": "2012-10-17",
        "Statement": [{**statement, "Action": [UPDATE, PUBLISH]}, denied],
    }
    refusing = parse(json.dumps(policy).encode(), "p.json")
    always = usage(UPDATE, FUNCTION)
    assert left_out(hanging, evidence([always])) == LeaveOneOutResult(0, {}, not_checked=12)
    assert left_out(
        refusing, evidence([always, usage(PUBLISH, FUNCTION, [3, 4])])
    ) == LeaveOneOutResult(10, {}, not_checked=2, lacking=2)


def test_runs_that_are_too_few_to_remove_test_no_removal() -> None:
    """A policy of four runs removes nothing, so that the fifth run says nothing of a removal."""
    calls = evidence([usage(UPDATE, FUNCTION)])
    for committed, judged in ((document([UPDATE, TAG]), 7), (document(UPDATE), 11)):
        proposed = propose(committed, compare(committed, [], calls), calls, Options())
        later = RunChecks(proposed, [], calls, Options(), History()).later_runs()
        assert (later.judged, later.quiet) == (judged, judged)


def test_a_run_whose_calls_are_never_written_counts_in_the_chance() -> None:
    """The next run of its kind is denied, whatever the other runs used."""
    key = "arn:aws:kms:eu-west-1:111122223333:key/0a1b2c3d-0a1b-0a1b-0a1b-0a1b2c3d4e5f"
    calls = evidence([usage(UPDATE, FUNCTION), usage("kms:ScheduleKeyDeletion", key, [1, 4, 7])])
    proposed = propose(None, compare(None, [], calls), calls, Options())
    proof = prove(proposed, [], calls, Options())
    chance = chance_of(proposed, [], calls, proof.left_out, proof.later_runs)
    assert (chance.left_out_denied, chance.left_out) == (3, 12)
    assert (chance.later_denied, chance.later, chance.quiet) == (3, 11, 4)
    assert chance.estimate == (3.5 / 13 + falling_chance(3, 11)) / 2
    spared = Options(break_glass=tuple(RUNS[run].session for run in (1, 4, 7)))
    assert leave_one_out(proposed, [], calls, spared, History()).lacking == 0


OPTIONS = (
    Options(),
    Options(unseen_services=UnseenServices.DROP, minimum_runs=0, minimum_days=0),
    Options(exact_resources=True, minimum_runs=2),
    Options(keep=("s3:*",), minimum_runs=1, minimum_confidence=60),
    Options(never_add=("sqs:*",), break_glass=("17650000*1",), unseen_services=UnseenServices.DROP),
)


@pytest.mark.parametrize("options", OPTIONS, ids=range(len(OPTIONS)))
@pytest.mark.parametrize("is_first", [False, True])
def test_the_result_equals_that_of_complete_proposals_without_each_run(
    shared_folder: Path, options: Options, is_first: bool
) -> None:
    """For policies of public repositories and without a policy; packed, as the real proposal is."""
    comparisons = denials = 0
    number = OPTIONS.index(options)
    for path in sampled(
        sorted((shared_folder / "corpus" / "policies").glob("*.json"))[number % 3 :: 3]
    ):
        try:
            committed = parse(path.read_bytes(), path.name)
        except PolicyFileError:
            continue
        chance = random.Random(f"{path.name} {number}")  # noqa: S311 - the same each time
        calls = evidence_for(committed, chance)
        calls = with_unknown_grants(committed, calls, chance) if chance.random() < 0.3 else calls
        policy = None if is_first else committed
        draft = propose(policy, compare(policy, [], calls), calls, options)
        comparisons, left_out_runs = (
            comparisons + 1,
            leave_one_out(draft, [], calls, options, History()),
        )
        denials += bool(left_out_runs.denied)
        assert left_out_runs.denied == plainly(
            policy, calls, options, set(unjudged(draft, calls))
        ), path.name
    assert comparisons > len(sampled(range(30)))
    assert denials


def unjudged(draft: Proposal, found: Evidence) -> Iterator[str]:
    """Runs with a call that the proposal may deny."""
    for run_usage in found.usages:
        effects = {
            replay_need(run_usage.need, ROLE, region, draft.documents)
            for region in run_usage.regions
        }
        if run_usage.outcome is Outcome.ALLOWED and not effects <= {"allowed", "allowedInPart"}:
            yield from run_usage.runs


def plainly(
    policy: Document | None, found: Evidence, options: Options, without: set[str]
) -> dict[str, tuple[str, ...]]:
    """Actions that only one run used, and that a policy from all others denies.

    A break-glass session is no deploy that the next one would resemble, so that it is not judged.
    """
    break_glass = break_glass_runs(found.runs, options.break_glass)
    without = {*without, *break_glass}
    confidences_without = confidences(found, without=break_glass)
    options_of_rest = replace(options, minimum_runs=max(options.minimum_runs - 1, 0))
    denied = {}
    for run in found.runs:
        run_usages = [
            usage
            for usage in found.usages
            if usage.runs == (run.id,) and usage.outcome is Outcome.ALLOWED
        ]
        if run.id in without or not run_usages:
            continue
        usages = [
            replace(usage, runs=tuple(other_run for other_run in usage.runs if other_run != run.id))
            for usage in found.usages
            if usage.runs != (run.id,)
        ]
        runs = tuple(other_run for other_run in found.runs if other_run != run)
        evidence_of_rest = replace(found, usages=tuple(usages), groups=(), runs=runs)
        proposed = propose(
            policy,
            compare(policy, [], evidence_of_rest),
            evidence_of_rest,
            options_of_rest,
            ProposalInputs(confidence=confidences_without),
        )
        actions = {
            usage.need.permission.action
            for usage in run_usages
            for region in usage.regions
            if replay_need(usage.need, ROLE, region, proposed.documents)
            in ("implicitDeny", "explicitDeny")
        }
        if actions:
            denied[run.id] = tuple(sorted(actions))
    return denied


@pytest.mark.parametrize(
    ("committed", "most", "untried"),
    [(None, 12 * 9, 3), (document(PUBLISH), 13 * 9, 3), (None, 1, 4)],
)
def test_fewer_runs_are_left_out_of_large_evidence_and_the_others_count_as_untried(
    committed: Document | None, most: int, untried: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [usage(PUBLISH, f"{FUNCTION}-{4000 + run * 37}", [run]) for run in range(12)]
    monkeypatch.setattr("leastpriv.proposal.leave_one_run_out._MOST_JUDGED", most)
    assert left_out(committed, evidence(names)).untried == untried
