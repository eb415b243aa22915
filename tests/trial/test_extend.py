"""The promises of one round: what extends the policy, what never does, and the reason that is given."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leastpriv.evidence.denials.message import read_denial
from leastpriv.models import Basis, Denial, DeniedBy, Need, Outcome, Permission, Usage
from leastpriv.permissions.sensitive import forbidden, sensitivity
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

ROLE = "arn:aws:iam::111122223333:role/ci/deploy"
OWN = "arn:aws:sts::111122223333:assumed-role/deploy/leastpriv-0a1b2c3d4e5f-2"
SESSION = TrialIdentity(ROLE, "leastpriv-0a1b2c3d4e5f", ROLE, narrows=True)
TEMPORARY = "arn:aws:iam::111122223333:role/leastpriv-trial/leastpriv-0a1b2c3d4e5f-20261103T091500-role"
OWN_OF_TEMPORARY = f"arn:aws:sts::111122223333:assumed-role/{TEMPORARY.rpartition('/')[2]}/leastpriv-0a1b2c3d4e5f-2"
TRIAL_ROLE = TrialIdentity(ROLE, "leastpriv-0a1b2c3d4e5f", TEMPORARY, narrows=False)
NOW = datetime(2026, 11, 3, 9, 15, tzinfo=UTC)
CASES = json.loads((Path(__file__).parent / "rounds.json").read_text(encoding="utf-8"))


def candidate(*statements: dict[str, Any], attached: Sequence[Document] = ()) -> CandidatePolicy:
    return CandidatePolicy(document(*statements), tuple(attached))


def document(*statements: dict[str, Any]) -> Document:
    return parse(json.dumps({"Version": "2012-10-17", "Statement": list(statements)}).encode(), "p.json")


def allow(action: str | list[str], resource: str | list[str] = "*", **more: object) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def answer(
    policy: CandidatePolicy, *messages: str, tried: TrialIdentity = SESSION, options: Options | None = None
) -> RoundResult:
    """What a round makes of the messages of its output."""
    denials = [read_denial(message) for message in messages]
    return extend_candidate(policy, list(logged_denials(denials, tried)), tried, options or Options(), NOW)


def added(step: RoundResult) -> list[tuple[str, tuple[str, ...]]]:
    return [(change.action, change.resources) for change in step.added]


@pytest.mark.parametrize("case", CASES, ids=[case["title"] for case in CASES])
def test_a_round_as_written_down(case: dict[str, Any]) -> None:
    tried = TRIAL_ROLE if case.get("strategy") == "trial-role" else SESSION
    own = OWN_OF_TEMPORARY if tried is TRIAL_ROLE else OWN
    policy = candidate(*case["policy"])
    messages = [message.replace("{OWN}", own) for message in case["output"]]
    step = answer(policy, *messages, tried=tried, options=Options(never_add=tuple(case.get("never-add", ()))))
    assert [f"{action} on {', '.join(resources)}" for action, resources in added(step)] == case["added"]
    expected = case["not-mended"]
    assert [one.action for one in step.unresolved] == [action for action, _ in expected]
    for one, (_, reason) in zip(step.unresolved, expected, strict=True):
        assert reason in one.reason
    if not case["added"]:
        assert step.document.to_bytes() == policy.document.to_bytes()


def test_a_bare_refusal_in_a_record_of_the_session_counts_where_the_policy_lacks_the_permission() -> None:
    """A refused HEAD request has no message: the policy in force is known, so that it is known to have refused."""
    need = Need(Permission("s3:GetObject", "arn:aws:s3:::assets/app.zip"), Basis.DENIED, "from the request")
    bare = Denial((), "", "", DeniedBy.UNKNOWN, False, False)
    usage = Usage(need, Outcome.DENIED, 1, NOW, NOW, (), ("s3.amazonaws.com:HeadObject",), ("us-east-1",), bare)
    lacking = extend_candidate(candidate(allow("sqs:*")), list(recorded_denials([usage])), SESSION, Options(), NOW)
    assert added(lacking) == [("s3:GetObject", ("arn:aws:s3:::assets/app.zip",))]
    allowing = extend_candidate(candidate(allow("s3:*")), list(recorded_denials([usage])), SESSION, Options(), NOW)
    assert (added(allowing), len(allowing.unresolved)) == ([], 1)


def test_what_an_earlier_round_was_refused_and_the_policy_allows_by_now_is_settled() -> None:
    need = Need(Permission("sqs:ListQueues", "*"), Basis.DENIED, "from the request")
    denial = Denial(("sqs:ListQueues",), "", OWN, DeniedBy.SESSION, False, False)
    usage = Usage(need, Outcome.DENIED, 1, NOW, NOW, (), ("x:Y",), ("us-east-1",), denial)
    policy = candidate(allow("sqs:*"))
    assert (
        extend_candidate(policy, list(recorded_denials([usage], is_earlier=True)), SESSION, Options(), NOW).unresolved
        == ()
    )
    assert len(extend_candidate(policy, list(recorded_denials([usage])), SESSION, Options(), NOW).unresolved) == 1


def test_a_refusal_that_names_its_resource_is_believed_over_one_that_does_not() -> None:
    step = answer(
        candidate(allow("sqs:*")),
        "An error occurred (403) when calling the HeadObject operation: Forbidden",
        _refused("s3:GetObject", '"arn:aws:s3:::assets/app.zip"'),
    )
    assert added(step) == [("s3:GetObject", ("arn:aws:s3:::assets/app.zip",))]
    assert step.unresolved == ()


def test_another_attached_policy_counts_and_is_not_edited() -> None:
    beside = document(allow("ssm:GetParameter"))
    arn = "arn:aws:ssm:us-east-1:111122223333:parameter/x"
    step = answer(candidate(allow("sqs:*"), attached=[beside]), _refused("ssm:GetParameter", arn))
    assert (added(step), [one.allowed_by_candidate for one in step.unresolved]) == ([], [True])


def test_the_humans_lines_stay_and_the_addition_goes_where_it_fits() -> None:
    arn = "arn:aws:ssm:us-east-1:111122223333:parameter/x"
    text = (
        '{"Version": "2012-10-17",  "Statement": [\n'
        f'  {{"Sid": "Mine", "Effect": "Allow", "Action": ["ssm:GetParameter"], "Resource": "{arn}"}}\n]}}\n'
    )
    policy = CandidatePolicy(parse(text.encode(), "p.json"))
    step = answer(policy, _refused("ssm:PutParameter", arn))
    expected = text.replace('"ssm:GetParameter"]', '"ssm:GetParameter", "ssm:PutParameter"]')
    assert step.document.to_bytes().decode() == expected


def _refused(action: str, resource: str = "", principal: str = OWN, why: str = "session policy") -> str:
    on = f" on resource: {resource}" if resource else ""
    return f"User: {principal} is not authorized to perform: {action}{on} because no {why} allows the {action} action"


ACTIONS = (
    "ssm:GetParameter", "ssm:PutParameter", "s3:GetObject", "s3:PutObject", "iam:PassRole", "iam:CreateUser",
    "sqs:SendMessage", "ec2:DescribeVpcs", "organizations:LeaveOrganization", "nobody:Does", "sts:AssumeRole", "s3:*",
)  # fmt: skip
RESOURCES = (
    "", "*", "arn:aws:ssm:us-east-1:111122223333:parameter/x", "arn:aws:ssm:us-east-1:111122223333:*",
    '"arn:aws:s3:::assets/a*b"', '"arn:aws:s3:::assets/app.zip"', "arn:aws:sqs:us-east-1:111122223333:orders",
    "arn:aws:iam::111122223333:role/app", "role app", "arn:aws:iam::111122223333:role/*", "***", "arn:aws:s3:::${x}",
    TEMPORARY,
)  # fmt: skip
STATEMENTS = st.builds(
    lambda effect, actions, resources: {"Effect": effect, "Action": actions, "Resource": resources},
    st.sampled_from(["Allow", "Allow", "Allow", "Deny"]),
    st.lists(st.sampled_from([*ACTIONS[:-1], "ssm:*", "s3:Get*", "iam:*"]), min_size=1, max_size=3, unique=True),
    st.lists(
        st.sampled_from(["*", "arn:aws:s3:::assets/*", "arn:aws:ssm:us-east-1:111122223333:parameter/x"]),
        min_size=1,
        max_size=2,
        unique=True,
    ),
)
MESSAGES = st.builds(
    _refused,
    st.sampled_from(ACTIONS),
    st.sampled_from(RESOURCES),
    st.sampled_from([OWN, OWN, OWN_OF_TEMPORARY, "arn:aws:sts::111122223333:assumed-role/deploy/other", "Bob"]),
    st.sampled_from(["session policy", "identity-based policy", "service control policy", "permissions boundary"]),
)


@given(st.lists(STATEMENTS, min_size=1, max_size=3), st.lists(MESSAGES, max_size=5), st.booleans())
def test_no_round_takes_anything_away_or_gives_more_than_was_refused(
    statements: list[dict[str, Any]], messages: list[str], narrows: bool
) -> None:
    tried = SESSION if narrows else TRIAL_ROLE
    policy = candidate(*statements)
    seen = list(logged_denials([read_denial(message) for message in messages], tried))
    step = extend_candidate(policy, seen, tried, Options(), NOW)
    refused = [one.need.permission for one in seen if isinstance(one, TrialDenial) and one.need.exact]
    assert check_containment([step.document], [policy.document]).holds
    assert not lost_denies([policy.document], [step.document])
    assert check_containment([policy.document], [step.document], refused).holds
    certain = {one.need.permission.action for one in seen if isinstance(one, TrialDenial) and one.is_certain}
    for action, resources in added(step):
        assert not forbidden(action)
        assert not sensitivity(action) or (action in certain and not any("*" in each for each in resources))
        assert not any(tried.trial in each for each in resources)


@given(st.lists(STATEMENTS, min_size=1, max_size=3), st.lists(MESSAGES, max_size=5))
def test_the_same_refusals_extend_a_policy_once(statements: list[dict[str, Any]], messages: list[str]) -> None:
    first = answer(candidate(*statements), *messages)
    again = answer(CandidatePolicy(first.document), *messages)
    assert (again.added, again.document.to_bytes()) == ((), first.document.to_bytes())


@given(st.lists(MESSAGES, max_size=6))
def test_every_refusal_is_either_mended_or_told(messages: list[str]) -> None:
    policy = candidate(allow("sqs:ListQueues"))
    denials = [read_denial(message) for message in messages]
    seen = list(logged_denials(denials, SESSION))
    step = extend_candidate(policy, seen, SESSION, Options(), NOW)
    told_of = {change.action for change in step.added} | {one.action for one in step.unresolved}
    assert told_of >= {one.need.permission.action if isinstance(one, TrialDenial) else one.action for one in seen}
    assert all(one.reason for one in step.unresolved if isinstance(one, UnresolvedDenial))


def test_what_the_output_hides_of_a_resource_is_filled_from_what_the_candidate_grants() -> None:
    """Terraform names an object by its key alone; the candidate grants something on just one object of that key."""
    message = "Error: error reading S3 Object (index.html): Forbidden: Forbidden\n\tstatus code: 403"
    known = candidate(allow("s3:PutObject", "arn:aws:s3:::orders-site/index.html")).exact_resources
    hidden = [one for one in logged_denials([read_denial(message)], SESSION) if isinstance(one, TrialDenial)]
    filled = [one for one in logged_denials([read_denial(message)], SESSION, known) if isinstance(one, TrialDenial)]
    assert [one.need.exact for one in hidden] == [False]
    assert [one.need.permission.resource for one in filled] == ["arn:aws:s3:::orders-site/index.html"]
    two = known | {"arn:aws:s3:::other/index.html"}
    assert [
        one.need.exact for one in logged_denials([read_denial(message)], SESSION, two) if isinstance(one, TrialDenial)
    ] == [False]
