"""The proof detects a document that grants too much or denies recorded calls."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from leastpriv.evidence.models import Evidence
from leastpriv.models import ChangeKind
from leastpriv.policy.document import Document, parse
from leastpriv.policy.evaluate import Request, evaluate
from leastpriv.policy.size import PolicyKind, quota
from leastpriv.proposal.models import Change, Proposal
from leastpriv.proposal.proof import Proof, prove
from leastpriv.report.context import ReportContext
from tests.fakes.deploys import ALARM, POLICY, ROLE, proposal
from tests.fakes.evidence import evidence, usage
from tests.fakes.replace import replace
from tests.hypothesis_profiles import examples

Statements = list[dict[str, Any]]
QUEUE = "arn:aws:sqs:eu-west-1:111122223333:orders"
DENY = {"Sid": "Never", "Effect": "Deny", "Action": "sqs:DeleteQueue", "Resource": "*"}
TAGGED = {
    "Sid": "Tagged",
    "Effect": "Allow",
    "Action": "dynamodb:*",
    "Resource": "arn:aws:dynamodb:eu-west-1:111122223333:table/orders",
    "Condition": {"StringEquals": {"aws:ResourceTag/team": "shop"}},
}
COMMITTED = {**POLICY, "Statement": [*POLICY["Statement"], DENY, TAGGED]}


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> ReportContext:
    return proposal(tmp_path_factory.mktemp("proof"), COMMITTED).context


def document(policy: object) -> Document:
    return parse(json.dumps(policy).encode(), "p.json")


def proof_of(context: ReportContext, change: Callable[[Statements], object]) -> Proof:
    """The proof of the proposal after a change of its statements."""
    policy = json.loads(context.proposal.content)
    statements = copy.deepcopy(policy["Statement"])
    change(statements)
    edited = document({**policy, "Statement": statements})
    return prove(replace(context.proposal, document=edited), [], context.evidence)


def test_a_listed_removal_that_was_not_applied_is_detected(context: ReportContext) -> None:
    assert prove(context.proposal, [], context.evidence).unapplied == ()
    committed = context.proposal.committed
    assert committed is not None
    unapplied = prove(replace(context.proposal, document=committed), [], context.evidence).unapplied
    actions = {
        change.action.lower()
        for change in context.proposal.changes
        if change.kind is not ChangeKind.ADD
    }
    assert actions
    assert {*unapplied} == {f"{action} is still there" for action in actions}


def by_sid(statements: Statements, sid: str) -> dict[str, Any]:
    return next(statement for statement in statements if statement.get("Sid") == sid)


def test_the_proposal_grants_no_unlisted_access_and_denies_no_recorded_call(
    context: ReportContext,
) -> None:
    proof = proof_of(context, len)
    assert (proof.new_access, proof.newly_denied) == ((), ())


WIDENED: dict[str, tuple[Callable[[Statements], object], str]] = {
    "another action": (
        lambda s: by_sid(s, "Queues").update(Action=["sqs:CreateQueue", "sqs:SendMessage"]),
        "sqs:SendMessage on",
    ),
    "a wildcard for an action": (lambda s: by_sid(s, "Queues").update(Action="sqs:*"), "sqs:* on"),
    "a wider wildcard": (lambda s: by_sid(s, "Functions").update(Action="l*"), "l* on"),
    "another resource": (
        lambda s: by_sid(s, "Queues").update(Resource="arn:aws:sqs:eu-west-1:111122223333:other"),
        "other",
    ),
    "every resource": (lambda s: by_sid(s, "Queues").update(Resource="*"), "sqs:CreateQueue on *"),
    "a wider resource": (
        lambda s: by_sid(s, "Queues").update(Resource=QUEUE.replace("eu-west-1", "*")),
        ":*:",
    ),
    "a variable": (
        lambda s: by_sid(s, "Queues").update(
            Resource="arn:aws:sqs:eu-west-1:111122223333:${aws:username}"
        ),
        "${",
    ),
    "a condition dropped": (lambda s: by_sid(s, "Tagged").pop("Condition"), "dynamodb:* on"),
    "another condition": (
        lambda s: by_sid(s, "Tagged").update(
            Condition={"StringLike": {"aws:ResourceTag/team": "*"}}
        ),
        "dynamodb:* on",
    ),
    "an action under no condition": (
        lambda s: s.append(
            {**by_sid(s, "Tagged"), "Sid": "X", "Condition": {}, "Action": "dynamodb:GetItem"}
        ),
        "dynamodb:GetItem on",
    ),
    "a Deny gone": (lambda s: s.remove(by_sid(s, "Never")), "a Deny is missing: Never"),
    "a Deny narrowed": (
        lambda s: by_sid(s, "Never").update(Resource="arn:aws:sqs:*:*:x"),
        "a Deny is missing: Never",
    ),
    "a Deny under a condition": (
        lambda s: by_sid(s, "Never").update(Condition={"Bool": {"aws:SecureTransport": "false"}}),
        "a Deny is missing: Never",
    ),
    "a Deny turned round": (
        lambda s: by_sid(s, "Never").update(Effect="Allow"),
        "sqs:DeleteQueue on *",
    ),
    "a new statement": (
        lambda s: s.append({"Effect": "Allow", "Action": "s3:*", "Resource": "*"}),
        "s3:* on *",
    ),
    "everything but": (
        lambda s: s.append({"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"}),
        "* on *",
    ),
    "every resource but": (
        lambda s: (
            by_sid(s, "Queues").pop("Resource")
            and by_sid(s, "Queues").update(NotResource="arn:aws:sqs:::x")
        ),
        "sqs:CreateQueue on *",
    ),
    "a listed action elsewhere": (
        lambda s: by_sid(s, "AllowCloudwatchPutMetricAlarm").update(Resource=[ALARM, f"{ALARM}-2"]),
        f"cloudwatch:PutMetricAlarm on {ALARM}-2",
    ),
    "an unlisted action on a listed resource": (
        lambda s: by_sid(s, "AllowCloudwatchPutMetricAlarm").update(Action="cloudwatch:*"),
        "cloudwatch:* on",
    ),
}


@pytest.mark.parametrize("how", WIDENED)
def test_a_document_that_grants_more_than_listed_is_detected(
    context: ReportContext, how: str
) -> None:
    change, expected = WIDENED[how]
    proof = proof_of(context, change)
    assert any(expected in access for access in proof.new_access), proof.new_access


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s.remove(by_sid(s, "Tagged")),
        lambda s: by_sid(s, "Tagged").update(Action=["dynamodb:GetItem", "dynamodb:Query*"]),
        lambda s: by_sid(s, "Functions").update(Sid="Renamed"),
        lambda s: s.append({**DENY, "Sid": "More", "Action": "*"}),
        lambda s: s.reverse(),
    ],
)
def test_a_document_that_grants_the_same_or_less_has_no_new_access(
    context: ReportContext, change: Callable[[Statements], object]
) -> None:
    assert proof_of(context, change).new_access == ()


@pytest.mark.parametrize(
    ("change", "event"),
    [
        (lambda s: s.remove(by_sid(s, "Queues")), "sqs.amazonaws.com:CreateQueue"),
        (
            lambda s: by_sid(s, "Queues").update(Action="sqs:PurgeQueue"),
            "sqs.amazonaws.com:CreateQueue",
        ),
        (
            lambda s: by_sid(s, "Queues").update(Resource="arn:aws:sqs:::x"),
            "sqs.amazonaws.com:CreateQueue",
        ),
        (
            lambda s: s.append({**DENY, "Action": "lambda:*"}),
            "lambda.amazonaws.com:UpdateFunctionCode20150331v2",
        ),
        (
            lambda s: by_sid(s, "Queues").update(
                Condition={"Bool": {"aws:SecureTransport": "true"}}
            ),
            "sqs.amazonaws.com:CreateQueue",
        ),
    ],
)
def test_a_document_that_would_deny_a_recorded_call_is_detected(
    context: ReportContext, change: Callable[[Statements], object], event: str
) -> None:
    assert proof_of(context, change).newly_denied == (event,)


def test_a_call_that_the_committed_policy_denies_too_is_not_newly_denied(
    context: ReportContext,
) -> None:
    """An attached policy that the settings do not name allows such a call."""
    poor = document({**POLICY, "Statement": [TAGGED]})
    draft = Proposal(poor, poor, poor.to_bytes(), (), (), ())
    proof = prove(draft, [], context.evidence)
    assert proof.newly_denied == ()
    assert sum(group.count for group in proof.replay.denied) == proof.replay.succeeded == 12


def test_attached_policies_count_in_the_replay(context: ReportContext) -> None:
    poor = document({**POLICY, "Statement": [TAGGED]})
    draft = Proposal(poor, poor, poor.to_bytes(), (), (), ())
    rich = document(
        {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}
    )
    assert prove(draft, [rich], context.evidence).replay.allowed == 12


def test_sizes_are_counted_as_iam_does_with_the_limit(context: ReportContext) -> None:
    small = document({"Statement": []})
    text = '{"Statement":[]}'
    large = document({"Statement": [{**TAGGED, "Resource": "x" * quota(PolicyKind.MANAGED)}]})
    proof = prove(Proposal(small, large, b"", (), (), ()), [], Evidence(ROLE))
    assert proof.size_before == len(text)
    assert (proof.kind, proof.fits) == (PolicyKind.MANAGED, False)
    assert prove(Proposal(large, small, b"", (), (), ()), [], Evidence(ROLE)).fits
    assert context.proof.fits


def test_used_actions_of_a_narrowed_wildcard_from_one_run_are_listed(
    context: ReportContext,
) -> None:
    narrowed = context.changes(ChangeKind.NARROW)[0]
    once = replace(
        narrowed, usages=tuple(replace(usage, runs=usage.runs[:1]) for usage in narrowed.usages)
    )
    assert context.proof.seen_once == ()
    draft = replace(context.proposal, changes=(once,))
    assert prove(draft, [], context.evidence).seen_once == ("lambda:UpdateFunctionCode",)


ACTIONS = ("sqs:Ab", "sqs:Ac", "sns:Ab")
NAMES = ("arn:q:a", "arn:q:ab", "arn:r:a")
CONDITIONS = st.sampled_from(
    [
        None,
        {"Bool": {"aws:SecureTransport": "true"}},
        {"StringEquals": {"aws:RequestedRegion": "x"}},
    ]
)
SOME_ACTIONS = st.lists(
    st.sampled_from([*ACTIONS, "sqs:*", "s*:Ab", "SQS:a?", "*"]), min_size=1, max_size=2
)
SOME_RESOURCES = st.lists(
    st.sampled_from([*NAMES, "arn:q:*", "arn:?:a", "*"]), min_size=1, max_size=2
)


@st.composite
def statement(draw: st.DrawFn) -> dict[str, Any]:
    action, resource = draw(
        st.sampled_from(
            [("Action", "Resource")] * 4 + [("NotAction", "Resource"), ("Action", "NotResource")]
        )
    )
    statement_draft: dict[str, Any] = {
        "Effect": draw(st.sampled_from(["Allow", "Allow", "Deny"])),
        action: draw(SOME_ACTIONS),
        resource: draw(SOME_RESOURCES),
    }
    condition = draw(CONDITIONS)
    return {**statement_draft, "Condition": condition} if condition else statement_draft


@st.composite
def two_documents(draw: st.DrawFn) -> tuple[Document, Document]:
    """A committed policy and one made from it: statements dropped, changed or added."""
    committed = draw(st.lists(statement(), max_size=3))
    proposed = [
        draw(st.just(old_statement) | statement())
        for old_statement in committed
        if draw(st.booleans())
    ] + draw(st.lists(statement(), max_size=1))
    return tuple(
        document({"Version": "2012-10-17", "Statement": statements})
        for statements in (committed, proposed)
    )  # type: ignore[return-value]


@examples(300)
@given(
    two_documents(),
    st.lists(st.tuples(st.sampled_from(ACTIONS), st.sampled_from(NAMES)), max_size=2),
)
def test_without_reported_new_access_no_request_is_newly_allowed(
    documents: tuple[Document, Document], listed: list[tuple[str, str]]
) -> None:
    """Evaluates all requests of a small world under both documents and all values of the
    conditions.
    """
    committed, proposed = documents
    changes = tuple(Change(ChangeKind.ADD, action, (resource,)) for action, resource in listed)
    proof = prove(
        Proposal(committed, proposed, proposed.to_bytes(), changes, (), ()), [], Evidence(ROLE)
    )
    if proof.new_access:
        return
    for action, name, secure, region in product(ACTIONS, NAMES, ("true", "false"), ("x", "y")):
        context = {"aws:SecureTransport": (secure,), "aws:RequestedRegion": (region,)}
        request = Request(action, name, context, context_complete=True)
        if evaluate(request, [proposed]).effect == "allowed" and (action, name) not in listed:
            assert evaluate(request, [committed]).effect == "allowed", request


def test_a_permission_with_several_bases_is_listed_once() -> None:
    role = "arn:aws:iam::111122223333:role/worker"
    policy = document(
        {"Statement": {"Effect": "Allow", "Action": "iam:PassRole", "Resource": role}}
    )
    passed = [usage("iam:PassRole", role), usage("iam:PassRole", f"{role}-2")]
    again = replace(
        passed[0], need=structs.replace(passed[0].need, because="another call hands it over")
    )
    expected = prove(
        Proposal(policy, policy, b"", (), (), ()), [], evidence([*passed, again])
    ).need_decisions
    assert [
        (expectation.permission.resource, expectation.statement is not None)
        for expectation in expected
    ] == [
        (role, True),
        (f"{role}-2", False),
    ]
