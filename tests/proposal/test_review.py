"""The review reports as broken what a replay shows, with a line for every broken call."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leastpriv.evidence.models import CallGroup, Counts, Evidence
from leastpriv.models import Basis, Denial, DeniedBy, Need, Outcome, Permission, Run, Usage
from leastpriv.policy.document import Document
from leastpriv.proposal.models import Options
from leastpriv.proposal.review import PolicyVersion, review
from leastpriv.proposal.review_models import Review, ReviewVerdict
from tests.diff.test_policy_diff import NAMES, OF_TWO_SERVICES, QUEUE, allow, document
from tests.fakes.deploys import ROLE
from tests.fakes.replace import replace

TIME = datetime(2026, 11, 3, tzinfo=UTC)
RUN = Run("17650000000", "17650000000", TIME, TIME)


def usage(
    action: str,
    resource: str,
    region: str = "eu-west-1",
    outcome: Outcome = Outcome.ALLOWED,
    **more: Any,
) -> Usage:
    """One call of the evidence; `more` are fields of its need and `denial`."""
    denial = more.pop("denial", None)
    need = Need(Permission(action, resource), Basis.OBSERVED, "of the record", **more)
    return Usage(need, outcome, 1, TIME, TIME, (RUN.id,), ("x:Y",), (region,), denial)


def evidence(usages: Iterable[Usage]) -> Evidence:
    """A call for each usage."""
    distinct = tuple(dict.fromkeys(usages))
    groups = tuple(
        CallGroup(
            (usage_of_call.need,),
            usage_of_call.outcome,
            1,
            usage_of_call.runs,
            usage_of_call.regions,
            "x:Y",
        )
        for usage_of_call in distinct
    )
    allowed = sum(usage_of_call.outcome is Outcome.ALLOWED for usage_of_call in distinct)
    return Evidence(
        ROLE,
        distinct,
        groups,
        (),
        (RUN,),
        TIME,
        TIME,
        Counts(len(distinct), allowed),
        tuple({r for u in distinct for r in u.regions}),
    )


USAGES = st.lists(
    st.builds(
        usage,
        st.sampled_from(["sqs:CreateQueue", "sqs:DeleteQueue", "sqs:TagQueue"]),
        st.sampled_from([QUEUE, NAMES[1]]),
        st.sampled_from(["eu-west-1", "us-east-1"]),
        st.sampled_from(list(Outcome)),
    ),
    max_size=6,
)


def reviewed(
    before: Document | None, after: Document | None, calls: Evidence, options: Options | None = None
) -> Review:
    """The review of an edit without attached policies."""
    return review(PolicyVersion(before), PolicyVersion(after), calls, options or Options())


def reported_actions(found: Review) -> set[str]:
    """Actions of the usages that a line reports as denied."""
    lost = {action for removal in found.removals for action in removal.lost}
    denied = [group for change in found.denies_added for group in change.denied]
    denied += [group for change in found.conditions for group in change.denied]
    return lost | {group.need.permission.action for group in denied}


@given(OF_TWO_SERVICES, OF_TWO_SERVICES, USAGES)
def test_newly_denied_calls_of_the_replay_break_and_a_line_says_why(
    before: Any, after: Any, usages: list[Usage]
) -> None:
    review = reviewed(document(before), document(after), evidence(usages))
    denied_before = set(review.before.denied)
    assert {group for group in review.after.denied if group not in denied_before} <= set(
        review.newly_denied
    )
    assert set(review.newly_denied) <= set(review.after.denied)
    assert {
        need.permission.action for group in review.newly_denied for need in group.needs
    } <= reported_actions(review)
    assert not set(review.newly_denied) & set(review.may_be_denied)


@given(OF_TWO_SERVICES, OF_TWO_SERVICES, USAGES)
def test_newly_allowed_access_has_a_line_and_is_never_called_narrower(
    before: Any, after: Any, usages: list[Usage]
) -> None:
    review = reviewed(document(before), document(after), evidence(usages))
    if review.after.allowed > review.before.allowed:
        assert review.verdict in {
            ReviewVerdict.BREAKS,
            ReviewVerdict.NEW_ACCESS,
            ReviewVerdict.NEEDED_ACCESS,
        }


@given(OF_TWO_SERVICES, USAGES)
def test_without_an_edit_nothing_changes(policy: Any, usages: list[Usage]) -> None:
    review = reviewed(document(policy), document(policy), evidence(usages))
    assert review.verdict is ReviewVerdict.UNCHANGED
    assert not review.breaks
    assert review.before == review.after


def test_a_denied_call_of_an_action_newer_than_the_catalogue_is_doubtful() -> None:
    """The replay does not count it, because its need comes only from the event's name."""
    policy = document([allow(["sqs:NewThing", "sqs:TagQueue"], QUEUE)])
    calls = evidence([usage("sqs:NewThing", QUEUE, verified=False)])
    review = reviewed(policy, document([allow("sqs:TagQueue", QUEUE)]), calls)
    assert not review.breaks
    assert len(review.may_be_denied) == 1
    assert list(review.removals[0].doubtful) == ["sqs:NewThing"]
    assert review.verdict is ReviewVerdict.NARROWS


@pytest.mark.parametrize(
    ("before", "after"), [("sqs:newthing", "SQS:NewThing"), ("sqs:NewT*", "SQS:newt*")]
)
def test_a_new_condition_names_the_calls_of_an_action_newer_than_the_catalogue(
    before: str, after: str
) -> None:
    condition = {"Condition": {"Bool": {"aws:SecureTransport": "true"}}}
    calls = evidence([usage("sqs:NewThing", QUEUE, verified=False)])
    review = reviewed(
        document([allow(before, QUEUE)]), document([allow(after, QUEUE, **condition)]), calls
    )
    assert [group.need.permission.action for group in review.conditions[0].doubtful] == [
        "sqs:NewThing"
    ]


@pytest.mark.parametrize("outcome", [Outcome.DENIED, Outcome.UNKNOWN])
def test_a_call_that_was_not_allowed_does_not_break(outcome: Outcome) -> None:
    review = reviewed(
        document([allow(["sqs:TagQueue", "sqs:CreateQueue"], QUEUE)]),
        document([allow("sqs:CreateQueue", QUEUE)]),
        evidence([usage("sqs:TagQueue", QUEUE, outcome=outcome)]),
    )
    assert not review.breaks
    assert [guard_result.guard for guard_result in review.removals[0].unseen]


def denial(by: DeniedBy, *, explicit: bool, mendable: bool) -> Denial:
    return Denial(("sqs:TagQueue",), QUEUE, ROLE, by, explicit, mendable)


@pytest.mark.parametrize(
    ("denied", "verdict"),
    [
        (denial(DeniedBy.IDENTITY, explicit=True, mendable=False), ReviewVerdict.NEEDED_ACCESS),
        (denial(DeniedBy.SCP, explicit=True, mendable=False), ReviewVerdict.NEW_ACCESS),
        (denial(DeniedBy.BOUNDARY, explicit=False, mendable=False), ReviewVerdict.NEW_ACCESS),
    ],
)
def test_only_denials_by_such_a_deny_justify_its_removal(
    denied: Denial, verdict: ReviewVerdict
) -> None:
    grant = allow("sqs:TagQueue", QUEUE)
    deny = {**grant, "Effect": "Deny"}
    calls = evidence([usage("sqs:TagQueue", QUEUE, outcome=Outcome.DENIED, denial=denied)])
    assert reviewed(document([grant, deny]), document([grant]), calls).verdict is verdict


def test_removing_a_deny_on_more_than_was_denied_is_new_access() -> None:
    grant = allow("sqs:TagQueue", "*")
    denied = denial(DeniedBy.IDENTITY, explicit=True, mendable=False)
    calls = evidence([usage("sqs:TagQueue", QUEUE, outcome=Outcome.DENIED, denial=denied)])
    review = reviewed(document([grant, {**grant, "Effect": "Deny"}]), document([grant]), calls)
    assert review.verdict is ReviewVerdict.NEW_ACCESS


def test_witnesses_of_containment_are_new_access() -> None:
    """Witnesses count even if the evidence needs every line."""
    policy = document([allow("sqs:TagQueue", QUEUE)])
    review = replace(reviewed(policy, policy, evidence([])), new_access=("sqs:TagQueue on *",))
    assert review.has_new_access_without_evidence
    assert review.verdict is ReviewVerdict.NEW_ACCESS


def test_removing_a_deny_of_access_that_nothing_allows_is_not_reported_as_allowing_it() -> None:
    unrelated, deny = (
        allow("sqs:CreateQueue", QUEUE),
        {**allow("sqs:TagQueue", QUEUE), "Effect": "Deny"},
    )
    denied = denial(DeniedBy.IDENTITY, explicit=True, mendable=False)
    calls = evidence([usage("sqs:TagQueue", QUEUE, outcome=Outcome.DENIED, denial=denied)])
    review = reviewed(document([unrelated, deny]), document([unrelated]), calls)
    assert review.denies_removed[0].granted == ()
    assert review.verdict is ReviewVerdict.NEW_ACCESS


def test_a_grant_with_not_resource_is_never_needed_by_a_call() -> None:
    calls = evidence([usage("sqs:TagQueue", QUEUE)])
    grant = {"Effect": "Allow", "Action": "sqs:TagQueue", "NotResource": NAMES[1]}
    review = reviewed(None, document([grant]), calls)
    assert review.additions[0].unproven == ("sqs:TagQueue",)
    assert review.verdict is ReviewVerdict.NEW_ACCESS


def test_a_denied_action_has_no_guard_and_an_unused_one_has_the_first_that_matches() -> None:
    """The evidence is a day old; that does not matter for a used action."""
    calls = evidence([usage("sqs:TagQueue", QUEUE)])
    policy = document([allow(["sqs:TagQueue", "sqs:PurgeQueue", "sqs:CreateQueue"], QUEUE)])
    review = reviewed(policy, document([allow("sqs:CreateQueue", QUEUE)]), calls)
    by_action = {removal.edit.entry: removal for removal in review.removals}
    assert by_action["sqs:TagQueue"].unseen == {}
    assert [guard_result.guard for guard_result in by_action["sqs:PurgeQueue"].unseen] == [
        "minimum-days"
    ]


def test_guards_on_proposals_do_not_apply_to_a_persons_edit() -> None:
    """A service without calls is a result of the evidence, not a reason to doubt it."""
    options = Options(minimum_days=0, minimum_runs=0)
    policy = document([allow(["sns:*Topic", "sqs:TagQueue"], "*")])
    review = reviewed(
        policy,
        document([allow("sqs:TagQueue", "*")]),
        evidence([usage("sqs:TagQueue", QUEUE)]),
        options,
    )
    guards = {guard_result.guard for removal in review.removals for guard_result in removal.unseen}
    assert guards <= {"region-not-read", "not-recorded", "not-visible", "sibling"}


def test_a_use_that_no_known_policy_grants_objects_to_a_removed_grant() -> None:
    calls = evidence([usage("sqs:TagQueue", NAMES[1])])
    policy = document([allow(["sqs:TagQueue", "sqs:CreateQueue"], QUEUE)])
    after = document([allow("sqs:CreateQueue", QUEUE)])
    review = reviewed(policy, after, calls, Options(minimum_days=0, minimum_runs=0))
    assert [guard_result.guard for guard_result in review.removals[0].unseen] == ["unexplained-use"]


def test_a_forbidden_action_is_not_listed_again_as_sensitive() -> None:
    review = reviewed(
        None, document([allow(["iam:PassRole", "iam:CreateAccessKey"], "*")]), evidence([])
    )
    reasons = {
        addition.edit.entry: (bool(addition.forbidden), bool(addition.sensitive))
        for addition in review.additions
    }
    assert reasons == {"iam:PassRole": (False, True), "iam:CreateAccessKey": (True, False)}
