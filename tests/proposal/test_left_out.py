"""The promises of leaving a run out: each run is judged by a policy made from the others, and a refusal is counted."""

from __future__ import annotations

import json
from typing import Any

from leastpriv.diff.compare import compare
from leastpriv.evidence.usage import Evidence
from leastpriv.policy.document import Document, parse
from leastpriv.proposal.left_out import LeftOut, leave_one_out
from leastpriv.proposal.propose import propose
from leastpriv.proposal.situation import History, Options
from tests.fakes.evidence import RUNS, evidence, usage

FUNCTION = "arn:aws:lambda:eu-west-1:111122223333:function:orders"
UPDATE, PUBLISH, TAG = "lambda:UpdateFunctionCode", "lambda:PublishVersion", "lambda:PutFunctionEventInvokeConfig"


def document(action: str | list[str], resource: str = FUNCTION) -> Document:
    statement: dict[str, Any] = {"Effect": "Allow", "Action": action, "Resource": resource}
    return parse(json.dumps({"Version": "2012-10-17", "Statement": statement}).encode(), "p.json")


def left_out(committed: Document | None, found: Evidence, options: Options | None = None) -> LeftOut:
    chosen = options or Options()
    draft = propose(committed, compare(committed, [], found), found, chosen)
    return leave_one_out(draft, [], found, chosen, History())


def test_a_run_that_did_what_others_did_would_have_been_allowed() -> None:
    found = left_out(document("lambda:*"), evidence([usage(UPDATE, FUNCTION), usage(PUBLISH, FUNCTION, [3, 7])]))
    assert found == LeftOut(12, {})


def test_a_run_that_alone_used_an_action_of_a_narrowed_wildcard_would_have_been_refused() -> None:
    hidden = evidence([usage(UPDATE, FUNCTION), usage("lambda:InvokeFunction", FUNCTION, [5])])
    shown = evidence([usage(UPDATE, FUNCTION), usage("lambda:AddPermission", FUNCTION, [5])])
    found, alone = left_out(document("lambda:*"), hidden), left_out(document("lambda:*"), shown)
    assert found.actions == ()  # no record shows it, so that it stays
    assert alone == LeftOut(12, {RUNS[5].id: ("lambda:AddPermission",)})


def test_a_literal_action_that_one_run_used_would_have_been_removed_without_it() -> None:
    used_once = evidence([usage(UPDATE, FUNCTION), usage("lambda:AddPermission", FUNCTION, [0])])
    found = left_out(document([UPDATE, "lambda:AddPermission"]), used_once)
    assert found.refused == {RUNS[0].id: ("lambda:AddPermission",)}


def test_an_addition_that_one_run_needed_would_have_been_missing() -> None:
    found = left_out(
        None, evidence([usage(UPDATE, FUNCTION), usage(PUBLISH, FUNCTION, [2]), usage(TAG, FUNCTION, [2])])
    )
    assert found.refused == {RUNS[2].id: (PUBLISH, TAG)}


def test_a_pattern_that_the_other_runs_show_allows_the_one_left_out() -> None:
    names = [usage(PUBLISH, f"{FUNCTION}-{4000 + run * 37}", [run]) for run in range(12)]
    assert left_out(None, evidence(names)) == LeftOut(12, {})
    exact = left_out(None, evidence(names), Options(exact_resources=True))
    assert len(exact.refused) == 12


def test_one_run_less_is_no_reason_to_hold_everything_back() -> None:
    few = Options(minimum_runs=12)
    once = evidence([usage(UPDATE, FUNCTION), usage("lambda:AddPermission", FUNCTION, [5])])
    assert left_out(document("lambda:*"), once, few).refused == {RUNS[5].id: ("lambda:AddPermission",)}


def test_what_the_proposal_refuses_anyway_is_not_told_a_second_time() -> None:
    found = evidence([usage(UPDATE, FUNCTION), usage("iam:CreateAccessKey", "arn:aws:iam::111122223333:user/x", [1])])
    assert left_out(document(UPDATE), found).refused == {}


def test_a_run_that_the_result_refuses_or_allows_under_a_condition_is_not_judged() -> None:
    statement = {"Effect": "Allow", "Action": UPDATE, "Resource": FUNCTION}
    condition = {"Condition": {"StringEquals": {"aws:SourceVpc": "vpc-1"}}}
    hanging = parse(json.dumps({"Version": "2012-10-17", "Statement": {**statement, **condition}}).encode(), "p.json")
    denied = {**statement, "Effect": "Deny", "Action": PUBLISH}
    policy = {"Version": "2012-10-17", "Statement": [{**statement, "Action": [UPDATE, PUBLISH]}, denied]}
    refusing = parse(json.dumps(policy).encode(), "p.json")
    always = usage(UPDATE, FUNCTION)
    assert left_out(hanging, evidence([always])) == LeftOut(0, {}, not_judged=12)
    assert left_out(refusing, evidence([always, usage(PUBLISH, FUNCTION, [3, 4])])) == LeftOut(10, {}, not_judged=2)
