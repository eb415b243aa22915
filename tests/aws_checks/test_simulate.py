from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from leastpriv.aws.session import Aws
from leastpriv.aws_checks import simulate as door
from leastpriv.aws_checks.simulate import (
    Batch,
    SimulatedPolicies,
    SimulationRequest,
    batches,
    simulate,
)
from leastpriv.models import Condition, Permission
from leastpriv.policy.document import Document, parse
from leastpriv.policy.replay import ReplayEffect
from leastpriv.proposal.models import CheckResult
from leastpriv.proposal.proof import NeedDecision
from tests.fakes.aws.policy_checks import PolicyChecks

ROLE = "arn:aws:iam::111122223333:role/ci/deploy"
QUEUE = "arn:aws:sqs:eu-west-1:111122223333:orders"
OBJECT = "arn:aws:s3:::shop/index.html"


def test_an_agreement_is_no_finding() -> None:
    needs = [
        _need("sqs:SendMessage", QUEUE),
        _need("s3:GetObject", OBJECT),
        _need("s3:ListAllMyBuckets", "*"),
    ]
    policy = _policy(["sqs:SendMessage", "s3:GetObject", "s3:ListAllMyBuckets"], "*")
    with PolicyChecks() as aws:
        simulation = _simulate(aws, [policy], needs)
    assert (simulation.asked, simulation.findings, simulation.failure) == (3, (), "")


def test_every_disagreement_names_action_resource_and_both_decisions() -> None:
    needs = [_need("sqs:SendMessage", QUEUE), _need("s3:GetObject", OBJECT, "implicitDeny")]
    with PolicyChecks() as aws:
        simulation = _simulate(aws, [_policy(["s3:GetObject"], "*")], needs)
    assert [disagreement.text for disagreement in simulation.disagreements] == [
        f"sqs:SendMessage on {QUEUE}: the replay says allowed, AWS's simulation not allowed.",
        f"s3:GetObject on {OBJECT}: the replay says not allowed, AWS's simulation allowed.",
    ]


def test_needs_that_a_simulation_cannot_decide_are_skipped() -> None:
    needs = [
        _need("sqs:SendMessage", "arn:aws:sqs:eu-west-1:111122223333:*"),
        _need("sqs:SendMessage", "arn:aws:sqs:eu-west-1:999988887777:theirs"),
        _need("s3:GetObject", "*"),
        _need("s3:GetObject", "arn:aws:s3:::shop/日本"),
    ]
    with PolicyChecks() as aws:
        simulation = _simulate(aws, [_policy(["sqs:*"], "*")], needs)
    assert aws.requests == []
    assert (simulation.asked, simulation.findings) == (0, ())
    assert "4 of the needs" in simulation.skipped_sources[0]


def test_a_missing_condition_key_is_no_disagreement() -> None:
    with PolicyChecks() as aws:
        aws.context_needed["sqs:SendMessage"] = "aws:SourceVpc"
        simulation = _simulate(
            aws, [_policy(["sqs:SendMessage"], "*")], [_need("sqs:SendMessage", QUEUE)]
        )
    assert simulation.findings == ()
    assert "1 of the needs depend on condition keys" in simulation.skipped_sources[0]


def test_recorded_condition_keys_are_sent_as_context() -> None:
    conditions = (Condition("StringEquals", "iam:PassedToService", ("lambda.amazonaws.com",)),)
    role = "arn:aws:iam::111122223333:role/fn"
    statement = {
        "Effect": "Allow",
        "Action": "iam:PassRole",
        "Resource": role,
        "Condition": _only_lambda(),
    }
    policy = parse(
        json.dumps({"Version": "2012-10-17", "Statement": [statement]}).encode(), "p.json"
    )
    need = NeedDecision(
        Permission("iam:PassRole", role, conditions), "eu-west-1", "allowed", None, None
    )
    with PolicyChecks() as aws:
        simulation = _simulate(aws, [policy], [need])
    assert (simulation.asked, simulation.findings) == (1, ())


def test_a_name_with_wildcard_characters_is_simulated_unescaped() -> None:
    policy = _policy(["s3:GetObject"], "arn:aws:s3:::shop/a${*}b")
    with PolicyChecks() as aws:
        simulation = _simulate(aws, [policy], [_need("s3:GetObject", "arn:aws:s3:::shop/a${*}b")])
    assert aws.asked("SimulateCustomPolicy")[0]["ResourceArns"] == ["arn:aws:s3:::shop/a*b"]
    assert (simulation.asked, simulation.findings) == (1, ())


def test_an_action_that_the_simulator_rejects_affects_no_other() -> None:
    names = ["sqs:SendMessage", "ec2:NewAction", "sqs:GetQueueUrl", "sqs:DeleteQueue"]
    with PolicyChecks() as aws:
        simulation = _simulate(aws, [_policy(["*"], "*")], [_need(name, QUEUE) for name in names])
    assert (simulation.asked, simulation.findings, simulation.failure) == (3, (), "")
    assert "ec2:NewAction" in simulation.skipped_sources[0]


def test_every_page_of_results_is_read() -> None:
    names = [f"sqs:{name}" for name in ("A", "B", "C", "D", "E", "F", "G", "H")]
    with PolicyChecks("SimulateCustomPolicy") as aws:
        simulation = _simulate(aws, [_policy(["*"], "*")], [_need(name, QUEUE) for name in names])
    assert len(simulation.disagreements) == len(names)
    assert len(aws.asked("SimulateCustomPolicy")) > 1


def test_requests_simulate_only_the_needs() -> None:
    """Batches cover every need once and no other pair of action and resource."""
    needs = [
        SimulationRequest(action, resource, context, "allowed")
        for action, resources in {"a:1": "xy", "a:2": "xy", "a:3": "y", "a:4": "z"}.items()
        for resource in resources
        for context in ((), (("aws:RequestedRegion", ("eu-west-1",)),))
    ]
    requests = list(batches(needs))
    pairs = [
        (action, resource, batch.context)
        for batch in requests
        for action in batch.actions
        for resource in batch.resources
    ]
    assert sorted(pairs) == sorted((need.action, need.resource, need.context) for need in needs)
    assert Batch(("a:1", "a:2"), ("x", "y"), ()) in requests


def test_very_many_resources_become_several_requests() -> None:
    needs = [
        SimulationRequest("s3:GetObject", f"arn:aws:s3:::shop/{number}", (), "allowed")
        for number in range(1_201)
    ]
    assert [len(batch.resources) for batch in batches(needs)] == [500, 500, 201]


def test_the_number_of_requests_is_limited_largest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "_MOST_REQUESTS", 1)
    other_queue = QUEUE.replace("orders", "other")
    needs = [
        _need("sqs:SendMessage", other_queue),
        _need("sqs:GetQueueUrl", QUEUE),
        _need("sqs:DeleteQueue", QUEUE),
    ]
    with PolicyChecks() as aws:
        simulation = _simulate(aws, [_policy(["*"], "*")], needs)
    assert simulation.asked == 2
    assert "1 of the needs would take more than 1 requests" in simulation.skipped_sources[0]


def _only_lambda() -> dict[str, Any]:
    return {"StringEquals": {"iam:PassedToService": "lambda.amazonaws.com"}}


def _need(action: str, resource: str, effect: ReplayEffect = "allowed") -> NeedDecision:
    return NeedDecision(Permission(action, resource), "eu-west-1", effect, None, None)


def _policy(actions: list[str], resource: str) -> Document:
    statement = {"Effect": "Allow", "Action": actions, "Resource": resource}
    return parse(json.dumps({"Version": "2012-10-17", "Statement": [statement]}).encode(), "p.json")


def _simulate(
    aws: PolicyChecks, documents: Sequence[Document], needs: Sequence[NeedDecision]
) -> CheckResult:
    return simulate(
        Aws.open(aws.environment()), SimulatedPolicies(documents, "p.json"), needs, ROLE
    )
