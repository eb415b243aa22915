"""A round extends the policy only by what was denied, and gives a reason for every other denial."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leastpriv.denials.message import read_denial
from leastpriv.models import Basis, Denial, DeniedBy, Need, Outcome, Permission, Usage
from leastpriv.permissions.catalog import forbidden, sensitivity
from leastpriv.policy.containment import check_containment, lost_denies
from leastpriv.policy.document import Document, parse
from leastpriv.proposal.models import Options
from leastpriv.trial.extend import (
    CandidatePolicy,
    RoundResult,
    TrialDenial,
    TrialIdentity,
    UnresolvedDenial,
    extend_candidate,
    logged_denials,
    recorded_denials,
)
from leastpriv.trial.limits import TrialLimits, needed_proof
from leastpriv.trial.messages import saved_lines
from tests.fakes.replace import replace

ROLE = "arn:aws:iam::111122223333:role/ci/deploy"
OWN = "arn:aws:sts::111122223333:assumed-role/deploy/leastpriv-0a1b2c3d4e5f-2"
SESSION = TrialIdentity(ROLE, "leastpriv-0a1b2c3d4e5f", ROLE, narrows=True)
TEMPORARY = (
    "arn:aws:iam::111122223333:role/leastpriv-trial/leastpriv-0a1b2c3d4e5f-20261103T091500-role"
)
OWN_OF_TEMPORARY = f"arn:aws:sts::111122223333:assumed-role/{TEMPORARY.rpartition('/')[2]}/leastpriv-0a1b2c3d4e5f-2"
TRIAL_ROLE = TrialIdentity(ROLE, "leastpriv-0a1b2c3d4e5f", TEMPORARY, narrows=False)
NOW = datetime(2026, 11, 3, 9, 15, tzinfo=UTC)
CASES = json.loads((Path(__file__).parent / "rounds.json").read_text(encoding="utf-8"))


def candidate(*statements: dict[str, Any], attached: Sequence[Document] = ()) -> CandidatePolicy:
    return CandidatePolicy(document(*statements), tuple(attached))


def document(*statements: dict[str, Any]) -> Document:
    return parse(
        json.dumps({"Version": "2012-10-17", "Statement": list(statements)}).encode(), "p.json"
    )


def allow(
    action: str | list[str], resource: str | list[str] = "*", **more: object
) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def answer(
    policy: CandidatePolicy,
    *messages: str,
    identity: TrialIdentity = SESSION,
    options: Options | None = None,
    limits: TrialLimits | None = None,
    are_recorded: bool = False,
) -> RoundResult:
    """The result of a round with these messages in its output, or in AWS's own records."""
    denials = [read_denial(message) for message in messages]
    return extend_candidate(
        policy,
        list(logged_denials(denials, identity, are_recorded=are_recorded)),
        identity,
        options or Options(),
        NOW,
        limits or TrialLimits(),
    )


def added(result: RoundResult) -> list[tuple[str, tuple[str, ...]]]:
    return [(change.action, change.resources) for change in result.added]


@pytest.mark.parametrize("case", CASES, ids=[case["title"] for case in CASES])
def test_rounds_of_the_case_file_have_their_result(case: dict[str, Any]) -> None:
    identity = TRIAL_ROLE if case.get("strategy") == "trial-role" else SESSION
    own_arn = OWN_OF_TEMPORARY if identity is TRIAL_ROLE else OWN
    policy = candidate(*case["policy"])
    messages = [message.replace("{OWN}", own_arn) for message in case["output"]]
    answered = answer(
        policy,
        *messages,
        identity=identity,
        options=Options(never_add=tuple(case.get("never-add", ()))),
        limits=TrialLimits(
            yes_to=tuple(case.get("yes-to", ())),
            within=document(*case["within"]) if "within" in case else None,
        ),
        are_recorded=case.get("recorded", False),
    )
    assert [f"{action} on {', '.join(resources)}" for action, resources in added(answered)] == case[
        "added"
    ]
    expected = case["not-mended"]
    assert [unresolved.action for unresolved in answered.unresolved] == [
        action for action, _ in expected
    ]
    for unresolved, (_, reason) in zip(answered.unresolved, expected, strict=True):
        assert reason in unresolved.reason
    if not case["added"]:
        assert answered.document.to_bytes() == policy.document.to_bytes()


def test_a_grant_without_its_earlier_condition_is_marked_in_the_list_of_additions() -> None:
    case = next(case for case in CASES if "own tag denied" in case["title"])
    policy = candidate(*case["policy"])
    answered = answer(policy, *(message.replace("{OWN}", OWN) for message in case["output"]))
    lines = list(
        saved_lines(Path("p.json"), Path("p.json"), answered.added, answered.document, ROLE)
    )
    assert lines[1].endswith(
        "vpc/* (AWS denied a call under the committed condition that aws:ResourceTag/project is"
        " shop)"
    )
    again = [message.replace("{OWN}", OWN) for message in case["output"]]
    assert "denies it" in answer(CandidatePolicy(answered.document), *again).unresolved[0].reason


def test_a_recorded_denial_without_message_counts_if_the_policy_lacks_the_permission() -> None:
    """A denied HEAD request has no message; the policy in force is known, so it must be what denied
    the request.
    """
    need = Need(
        Permission("s3:GetObject", "arn:aws:s3:::assets/app.zip"), Basis.DENIED, "from the request"
    )
    bare = Denial((), "", "", DeniedBy.UNKNOWN, False, False)
    usage = Usage(
        need,
        Outcome.DENIED,
        1,
        NOW,
        NOW,
        (),
        ("s3.amazonaws.com:HeadObject",),
        ("us-east-1",),
        bare,
    )
    lacking = extend_candidate(
        candidate(allow("sqs:*")), list(recorded_denials([usage])), SESSION, Options(), NOW
    )
    assert added(lacking) == [("s3:GetObject", ("arn:aws:s3:::assets/app.zip",))]
    allowing = extend_candidate(
        candidate(allow("s3:*")), list(recorded_denials([usage])), SESSION, Options(), NOW
    )
    assert (added(allowing), len(allowing.unresolved)) == ([], 1)


def test_a_denial_of_an_earlier_round_that_the_policy_now_allows_is_resolved() -> None:
    need = Need(Permission("sqs:ListQueues", "*"), Basis.DENIED, "from the request")
    denial = Denial(("sqs:ListQueues",), "", OWN, DeniedBy.SESSION, False, False)
    usage = Usage(need, Outcome.DENIED, 1, NOW, NOW, (), ("x:Y",), ("us-east-1",), denial)
    policy = candidate(allow("sqs:*"))
    assert (
        extend_candidate(
            policy, list(recorded_denials([usage], is_earlier=True)), SESSION, Options(), NOW
        ).unresolved
        == ()
    )
    assert (
        len(
            extend_candidate(
                policy, list(recorded_denials([usage])), SESSION, Options(), NOW
            ).unresolved
        )
        == 1
    )


def test_a_denial_with_a_resource_replaces_one_without() -> None:
    answered = answer(
        candidate(allow("sqs:*")),
        "An error occurred (403) when calling the HeadObject operation: Forbidden",
        _refused("s3:GetObject", '"arn:aws:s3:::assets/app.zip"'),
    )
    assert [(unresolved.action, unresolved.resource) for unresolved in answered.unresolved] == [
        ("s3:GetObject", "arn:aws:s3:::assets/app.zip")
    ]


def test_an_attached_policy_counts_and_is_not_edited() -> None:
    attached_policy = document(allow("ssm:GetParameter"))
    arn = "arn:aws:ssm:us-east-1:111122223333:parameter/x"
    answered = answer(
        candidate(allow("sqs:*"), attached=[attached_policy]), _refused("ssm:GetParameter", arn)
    )
    assert (
        added(answered),
        [unresolved.allowed_by_candidate for unresolved in answered.unresolved],
    ) == (
        [],
        [True],
    )


def test_existing_lines_are_kept_and_the_addition_joins_a_fitting_statement() -> None:
    arn = "arn:aws:ssm:us-east-1:111122223333:parameter/x"
    text = (
        '{"Version": "2012-10-17",  "Statement": [\n  {"Sid": "Mine", "Effect": "Allow",'
        f' "Action": ["ssm:GetParameter"], "Resource": "{arn}"}}\n]}}\n'
    )
    policy = CandidatePolicy(parse(text.encode(), "p.json"))
    answered = answer(policy, _refused("ssm:PutParameter", arn))
    expected = text.replace('"ssm:GetParameter"]', '"ssm:GetParameter", "ssm:PutParameter"]')
    assert answered.document.to_bytes().decode() == expected


ALL_DATA = TrialLimits(yes_to=("s3:*", "kinesis:*", "dynamodb:*"))


def test_data_actions_that_no_call_was_denied_are_offered_and_not_added() -> None:
    policy = candidate(allow(["s3:CreateBucket"], "arn:aws:s3:::orders-*-site"))
    message = _refused("s3:PutObject", '"arn:aws:s3:::orders-a1-site/index.html"')
    answered = answer(policy, message, limits=TrialLimits(yes_to=("s3:PutObject",)))
    lists = {"s3:ListBucket", "s3:ListBucketVersions", "s3:ListMultipartUploadParts"}
    assert {action for action, _ in added(answered)} == {"s3:PutObject", *lists}
    offered = {change.action for change in answered.offered}
    assert {"s3:GetObject", "s3:DeleteObject"} <= offered
    assert all(needed_proof(action) for action in offered)


def test_a_second_service_without_data_events_brings_the_items_of_every_created_resource() -> None:
    """A tool stops at its first denial, so that each further service would take a round."""
    region_and_account = "us-east-1:111122223333"
    created = allow(["s3:CreateBucket"], "arn:aws:s3:::orders-*-site")
    stream = allow(
        ["kinesis:CreateStream"], f"arn:aws:kinesis:{region_and_account}:stream/orders-*"
    )
    table = allow(["dynamodb:CreateTable"], f"arn:aws:dynamodb:{region_and_account}:table/orders-*")
    message = _refused(
        "dynamodb:PutItem", f"arn:aws:dynamodb:{region_and_account}:table/orders-a1b2c3"
    )
    policy = candidate(created, stream, table)
    first, second = (
        answer(replace(policy, unrecorded=unrecorded), message, limits=ALL_DATA)
        for unrecorded in (frozenset(), frozenset({"s3"}))
    )
    streams = {action for action, _ in added(second)} - {action for action, _ in added(first)}
    assert {"kinesis:PutRecord", "kinesis:PutRecords", "s3:PutObject"} <= streams
    assert not any(action.startswith("kinesis:Put") for action, _ in added(first))
    assert all("orders-*" in resource for _, resources in added(second) for resource in resources)


def test_the_rest_of_a_denied_step_is_offered_and_added_where_a_person_names_it() -> None:
    queue = "arn:aws:sqs:us-east-1:111122223333:orders"
    message = _refused("sqs:CreateQueue", queue)
    policy = candidate(allow("ssm:GetParameter"))
    unasked = answer(policy, message)
    assert added(unasked) == [("sqs:CreateQueue", (queue,))]
    assert {"sqs:GetQueueAttributes", "sqs:TagQueue"} <= {offer.action for offer in unasked.offered}
    pattern = answer(policy, message, limits=TrialLimits(yes_to=("sqs:*",)))
    assert added(pattern) == added(unasked)
    with_yes = answer(policy, message, limits=TrialLimits(yes_to=("sqs:GetQueueAttributes",)))
    assert ("sqs:GetQueueAttributes", (queue,)) in added(with_yes)
    within = document(allow("sqs:CreateQueue", queue))
    bound = answer(
        policy, message, limits=TrialLimits(yes_to=("sqs:GetQueueAttributes",), within=within)
    )
    assert added(bound) == added(unasked)
    assert bound.offered == ()


def _refused(
    action: str, resource: str = "", principal: str = OWN, why: str = "session policy"
) -> str:
    on_resource = f" on resource: {resource}" if resource else ""
    return (
        f"User: {principal} is not authorized to perform: {action}{on_resource} because no {why} allows the"
        f" {action} action"
    )


ACTIONS = (
    "ssm:GetParameter", "ssm:PutParameter", "s3:GetObject", "s3:PutObject", "iam:PassRole",
    "iam:CreateUser",
    "sqs:SendMessage", "ec2:DescribeVpcs", "organizations:LeaveOrganization", "nobody:Does",
    "sts:AssumeRole", "s3:*",
)  # fmt: skip
RESOURCES = (
    "", "*", "arn:aws:ssm:us-east-1:111122223333:parameter/x",
    "arn:aws:ssm:us-east-1:111122223333:*",
    '"arn:aws:s3:::assets/a*b"', '"arn:aws:s3:::assets/app.zip"',
    "arn:aws:sqs:us-east-1:111122223333:orders",
    "arn:aws:iam::111122223333:role/app", "role app", "arn:aws:iam::111122223333:role/*", "***",
    "arn:aws:s3:::${x}",
    TEMPORARY,
)  # fmt: skip
STATEMENTS = st.builds(
    lambda effect, actions, resources: {"Effect": effect, "Action": actions, "Resource": resources},
    st.sampled_from(["Allow", "Allow", "Allow", "Deny"]),
    st.lists(
        st.sampled_from([*ACTIONS[:-1], "ssm:*", "s3:Get*", "iam:*"]),
        min_size=1,
        max_size=3,
        unique=True,
    ),
    st.lists(
        st.sampled_from(
            ["*", "arn:aws:s3:::assets/*", "arn:aws:ssm:us-east-1:111122223333:parameter/x"]
        ),
        min_size=1,
        max_size=2,
        unique=True,
    ),
)
MESSAGES = st.builds(
    _refused,
    st.sampled_from(ACTIONS),
    st.sampled_from(RESOURCES),
    st.sampled_from(
        [OWN, OWN, OWN_OF_TEMPORARY, "arn:aws:sts::111122223333:assumed-role/deploy/other", "Bob"]
    ),
    st.sampled_from(
        [
            "session policy",
            "identity-based policy",
            "service control policy",
            "permissions boundary",
        ]
    ),
)


@given(
    st.lists(STATEMENTS, min_size=1, max_size=3),
    st.lists(MESSAGES, max_size=5),
    st.booleans(),
    st.booleans(),
)
def test_a_round_removes_nothing_and_adds_only_what_was_denied(
    statements: list[dict[str, Any]], messages: list[str], narrows: bool, are_recorded: bool
) -> None:
    identity = SESSION if narrows else TRIAL_ROLE
    policy = candidate(*statements)
    round_denials = list(
        logged_denials(
            [read_denial(message) for message in messages], identity, are_recorded=are_recorded
        )
    )
    round_result = extend_candidate(policy, round_denials, identity, Options(), NOW)
    refused = [
        round_denial.need.permission
        for round_denial in round_denials
        if isinstance(round_denial, TrialDenial) and round_denial.need.exact
    ]
    assert check_containment([round_result.document], [policy.document]).holds
    assert not lost_denies([policy.document], [round_result.document])
    assert check_containment([policy.document], [round_result.document], refused).holds
    for action, resources in added(round_result):
        assert not forbidden(action)
        assert not needed_proof(action) or (
            are_recorded
            and not (sensitivity(action) and any("*" in resource for resource in resources))
        )
        assert not any(identity.trial in resource for resource in resources)


@given(
    st.lists(STATEMENTS, min_size=1, max_size=3),
    st.lists(STATEMENTS, min_size=1, max_size=3),
    st.lists(MESSAGES, max_size=5),
)
def test_no_round_adds_what_is_outside_of_the_bound(
    statements: list[dict[str, Any]], bound: list[dict[str, Any]], messages: list[str]
) -> None:
    policy = candidate(*statements)
    within = document(*bound)
    answered = answer(policy, *messages, limits=TrialLimits(within=within), are_recorded=True)
    without_deny = [statement for statement in bound if statement["Effect"] == "Allow"]
    grants = [policy.document, document(*without_deny)]
    assert check_containment(grants, [answered.document]).holds


@given(st.lists(STATEMENTS, min_size=1, max_size=3), st.lists(MESSAGES, max_size=5))
def test_equal_denials_extend_a_policy_once(
    statements: list[dict[str, Any]], messages: list[str]
) -> None:
    first = answer(candidate(*statements), *messages)
    again = answer(CandidatePolicy(first.document), *messages)
    assert (again.added, again.document.to_bytes()) == ((), first.document.to_bytes())


@given(st.lists(MESSAGES, max_size=6))
def test_every_denial_is_either_added_or_reported(messages: list[str]) -> None:
    policy = candidate(allow("sqs:ListQueues"))
    denials = [read_denial(message) for message in messages]
    round_denials = list(logged_denials(denials, SESSION))
    round_result = extend_candidate(policy, round_denials, SESSION, Options(), NOW)
    reported = {change.action for change in round_result.added} | {
        unresolved.action for unresolved in round_result.unresolved
    }
    assert reported >= {
        round_denial.need.permission.action
        if isinstance(round_denial, TrialDenial)
        else round_denial.action
        for round_denial in round_denials
    }
    assert all(
        unresolved.reason
        for unresolved in round_result.unresolved
        if isinstance(unresolved, UnresolvedDenial)
    )


def test_a_resource_that_the_output_hides_is_filled_from_the_candidate() -> None:
    """Terraform names an object only by its key; the candidate grants an action on one object of
    that key.
    """
    message = (
        "Error: error reading S3 Object (index.html): Forbidden: Forbidden\n\tstatus code: 403"
    )
    exact_resources = candidate(
        allow("s3:PutObject", "arn:aws:s3:::orders-site/index.html")
    ).exact_resources
    hidden = [
        logged_denial
        for logged_denial in logged_denials([read_denial(message)], SESSION)
        if isinstance(logged_denial, TrialDenial)
    ]
    filled = [
        logged_denial
        for logged_denial in logged_denials([read_denial(message)], SESSION, exact_resources)
        if isinstance(logged_denial, TrialDenial)
    ]
    assert [logged_denial.need.exact for logged_denial in hidden] == [False]
    assert [logged_denial.need.permission.resource for logged_denial in filled] == [
        "arn:aws:s3:::orders-site/index.html"
    ]
    two_objects = exact_resources | {"arn:aws:s3:::other/index.html"}
    assert [
        logged_denial.need.exact
        for logged_denial in logged_denials([read_denial(message)], SESSION, two_objects)
        if isinstance(logged_denial, TrialDenial)
    ] == [False]
