"""Guards of the usage history: they hold removals back for use before the evidence, and add
nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime

from leastpriv.diff.compare import compare
from leastpriv.evidence.usage_history import ActionUse, KeepDecision, RevertedRemoval, UsageHistory
from leastpriv.models import ChangeKind, Usage
from leastpriv.policy.document import Document, parse
from leastpriv.proposal.guards import history_state
from leastpriv.proposal.leave_one_run_out import leave_one_out
from leastpriv.proposal.models import History, HistoryState, Options, Proposal, ProposalInputs
from leastpriv.proposal.propose import propose
from tests.fakes.deploys import ROLE
from tests.fakes.evidence import RUNS, evidence, usage

FUNCTION = "arn:aws:lambda:eu-west-1:111122223333:function:orders"
UPDATE, PUBLISH, ADD = "lambda:UpdateFunctionCode", "lambda:PublishVersion", "lambda:AddPermission"
MARCH = ActionUse(date(2026, 3, 1), date(2026, 3, 9), {"2026-03": 2})


def policy(*actions: str, resource: str = FUNCTION) -> Document:
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": resource}
    return parse(json.dumps({"Version": "2012-10-17", "Statement": statement}).encode(), "p.json")


def memory(
    used: Mapping[str, Mapping[str, ActionUse]] | None = None, **more: object
) -> HistoryState:
    return history_state(UsageHistory(ROLE, used=used or {}, **more))  # type: ignore[arg-type]


def draft(committed: Document, recollection: HistoryState, *usages: Usage) -> Proposal:
    evidence_of_calls = evidence(usages or [usage(UPDATE, FUNCTION)])
    difference = compare(committed, [], evidence_of_calls)
    return propose(
        committed,
        difference,
        evidence_of_calls,
        Options(),
        ProposalInputs(History(history_state=recollection)),
    )


def guards(made: Proposal) -> dict[str, str]:
    return {
        held_back.action: held_back.guard_result.guard
        for held_back in (*made.held_back, *made.held_back_restrictions)
    }


def gone(made: Proposal) -> list[str]:
    return [change.action for change in made.changes if change.kind is ChangeKind.REMOVE]


def test_an_action_used_before_on_the_resources_of_the_entry_is_kept() -> None:
    proposed = draft(policy(UPDATE, ADD), memory({ADD: {FUNCTION: MARCH}}))
    assert (gone(proposed), guards(proposed)) == ([], {ADD: "remembered"})
    assert (
        "used in at least 2 runs, last on 2026-03-09" in proposed.held_back[0].guard_result.reason
    )


def test_use_on_another_resource_keeps_nothing() -> None:
    assert gone(draft(policy(UPDATE, ADD), memory({ADD: {f"{FUNCTION}-2": MARCH}}))) == [ADD]


def test_remembered_actions_of_a_wildcard_are_kept() -> None:
    proposed = draft(policy("lambda:*"), memory({ADD: {FUNCTION: MARCH}}))
    (change,) = proposed.changes
    assert (change.kept or {})[ADD].guard == "remembered"
    assert ADD in change.replacement


def test_the_counterpart_of_an_action_used_before_is_kept() -> None:
    queue = "arn:aws:sqs:eu-west-1:111122223333:orders"
    committed = policy(UPDATE, "sqs:DeleteQueue", resource="*")
    assert gone(draft(committed, HistoryState())) == ["sqs:DeleteQueue"]
    proposed = draft(committed, memory({"sqs:CreateQueue": {queue: MARCH}}))
    assert "lifecycle counterpart of sqs:CreateQueue" in proposed.held_back[0].guard_result.reason


def test_the_counterpart_of_an_action_in_the_evidence_has_the_guard_sibling() -> None:
    """The history contains this evidence too; naming it instead would change every report."""
    queue = "arn:aws:sqs:eu-west-1:111122223333:orders"
    proposed = draft(
        policy("sqs:CreateQueue", "sqs:DeleteQueue", resource="*"),
        memory({"sqs:CreateQueue": {queue: MARCH}}),
        usage("sqs:CreateQueue", queue),
    )
    assert (gone(proposed), guards(proposed)["sqs:DeleteQueue"]) == ([], "sibling")


def test_a_used_action_is_not_restricted_to_less_than_was_used_before() -> None:
    assert guards(draft(policy(UPDATE, resource="*"), memory({UPDATE: {FUNCTION: MARCH}}))) == {}
    proposed = draft(policy(UPDATE, resource="*"), memory({UPDATE: {f"{FUNCTION}-yearly": MARCH}}))
    assert guards(proposed) == {UPDATE: "remembered"}


def test_an_unreadable_history_holds_every_removal_back() -> None:
    proposed = draft(policy(UPDATE, ADD), HistoryState(trouble="it is locked"))
    assert (gone(proposed), proposed.held_back[0].guard_result.reason) == ([], "it is locked")


def test_a_persons_decision_keeps_and_releases() -> None:
    decided = datetime(2026, 10, 1, tzinfo=UTC)
    keep, forget = (
        KeepDecision(decided, 1, True, "kim", 7),
        KeepDecision(decided.replace(day=2), 2, False, "lee", 7),
    )
    with_keep = draft(policy(UPDATE, ADD), memory(words={"lambda:Add*": keep}))
    assert (gone(with_keep), guards(with_keep)) == ([], {ADD: "asked-to-keep"})
    assert "@kim" in with_keep.held_back[0].guard_result.reason
    assert gone(
        draft(policy(UPDATE, ADD), memory({ADD: {FUNCTION: MARCH}}, words={ADD: forget}))
    ) == [ADD]


def test_an_action_denied_after_its_removal_is_not_removed_again() -> None:
    back = {(ADD, FUNCTION): RevertedRemoval(date(2026, 8, 1), 12)}
    proposed = draft(policy(UPDATE, ADD), memory(returned=back))
    assert guards(proposed) == {ADD: "refused-after-removal"}
    assert "removed by #12 and denied on 2026-08-01" in proposed.held_back[0].guard_result.reason
    assert "before 2027-09-05" in proposed.held_back[0].guard_result.reason


def test_the_history_adds_nothing() -> None:
    proposed = draft(
        policy(UPDATE),
        memory(
            {ADD: {FUNCTION: MARCH}}, returned={(ADD, FUNCTION): RevertedRemoval(MARCH.last, 1)}
        ),
    )
    assert proposed.changes == ()


def test_a_left_out_run_is_left_out_of_the_history_too() -> None:
    evidence_of_calls = evidence([usage(UPDATE, FUNCTION), usage(ADD, FUNCTION, [5])])
    committed = policy(UPDATE, ADD)
    of_the_window = ActionUse(date(2026, 9, 1), date(2026, 10, 1))
    for last_use, refused in ((of_the_window, {RUNS[5].id: (ADD,)}), (MARCH, {})):
        history = History(history_state=memory({ADD: {FUNCTION: last_use}}))
        proposed = propose(
            committed,
            compare(committed, [], evidence_of_calls),
            evidence_of_calls,
            Options(),
            ProposalInputs(history),
        )
        assert leave_one_out(proposed, [], evidence_of_calls, Options(), history).denied == refused
