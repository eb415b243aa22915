"""Source × fault: what a judge reports when AWS does not answer as it should. No fault ends a run."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from leastpriv.checks.custom_checks import paid_checks, run_checks
from leastpriv.checks.simulate import simulate
from leastpriv.checks.validate_policy import validate
from leastpriv.evidence import aws as door
from leastpriv.evidence.aws import Aws
from leastpriv.model import ChangeKind, Permission
from leastpriv.policy.document import parse
from leastpriv.proposal.judgement import Judgement
from leastpriv.proposal.proof import Allowance
from leastpriv.proposal.situation import Change, Draft
from tests.fakes.aws.policy_checks import PolicyChecks

ROLE = "arn:aws:iam::111122223333:role/ci/deploy"
QUEUE = "arn:aws:sqs:eu-west-1:111122223333:orders"
STATEMENT = {"Effect": "Allow", "Action": ["sqs:SendMessage"], "Resource": "*"}
POLICY = parse(json.dumps({"Version": "2012-10-17", "Statement": [STATEMENT]}).encode(), "p.json")
DRAFT = Draft(POLICY, POLICY, POLICY.to_bytes(), (Change(ChangeKind.REMOVE, "sqs:*", ("*",)),), (), ())
NEED = Allowance(Permission("sqs:SendMessage", QUEUE), "eu-west-1", "allowed", None, None)


def _validate(aws: Aws) -> Judgement:
    return validate(aws, {"p.json": POLICY}, None)


def _simulate(aws: Aws) -> Judgement:
    return simulate(aws, [POLICY], [NEED], ROLE, "p.json")


def _check(aws: Aws) -> Judgement:
    checks, _ = paid_checks(DRAFT, {"p.json": POLICY})
    return run_checks(aws, checks[:1], lambda _: None)[0]


JUDGES: dict[str, tuple[str, Callable[[Aws], Judgement]]] = {
    "ValidatePolicy": ("access-analyzer:ValidatePolicy", _validate),
    "SimulateCustomPolicy": ("iam:SimulateCustomPolicy", _simulate),
    "CheckNoNewAccess": ("access-analyzer:CheckNoNewAccess", _check),
}
each_judge = pytest.mark.parametrize("name", list(JUDGES))


def _outcome(name: str, arrange: Callable[[PolicyChecks], None]) -> Judgement:
    with PolicyChecks() as aws:
        arrange(aws)
        return JUDGES[name][1](Aws.open(aws.environment()))


@each_judge
def test_without_a_fault_there_is_no_failure_and_nothing_to_say(name: str) -> None:
    found = _outcome(name, lambda _: None)
    assert (found.judge, found.asked, found.failure, found.remarks) == (name, 1, "", ())


@each_judge
def test_a_refusal_names_the_missing_permission(name: str) -> None:
    action = JUDGES[name][0]
    words = f"User: {ROLE} is not authorized to perform: {action} on resource: *"
    code = "AccessDenied" if name == "SimulateCustomPolicy" else "AccessDeniedException"
    found = _outcome(name, lambda aws: aws.refuse(name, code, words, 403))
    assert found.asked == 0
    assert found.failure.startswith(f"AWS refused {action}")


@each_judge
def test_throttling_is_waited_for_and_then_told(name: str) -> None:
    code = "Throttling" if name == "SimulateCustomPolicy" else "ThrottlingException"
    passing = _outcome(name, lambda aws: aws.refuse(name, code, "Rate exceeded", times=1))
    assert (passing.asked, passing.failure) == (1, "")
    lasting = _outcome(name, lambda aws: aws.refuse(name, code, "Rate exceeded"))
    assert "too many requests" in lasting.failure


@each_judge
def test_a_failure_of_aws_is_told(name: str) -> None:
    code = "InternalFailure" if name == "SimulateCustomPolicy" else "InternalServerException"
    found = _outcome(name, lambda aws: aws.refuse(name, code, "oops", 500))
    assert "AWS failed while" in found.failure


@each_judge
def test_expired_credentials_are_told_with_the_way_out(name: str) -> None:
    found = _outcome(name, lambda aws: aws.refuse(name, "ExpiredTokenException", "expired", 403))
    assert "credentials have expired" in found.failure


@each_judge
def test_an_answer_that_breaks_off_is_told(name: str) -> None:
    found = _outcome(name, lambda aws: aws.break_off(name))
    assert found.asked == 0
    assert "broke off" in found.failure


@each_judge
def test_an_answer_that_does_not_come_is_told(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "_READ_SECONDS", 0.2)
    found = _outcome(name, lambda aws: aws.delay(name, 1.0))
    assert "did not answer in time" in found.failure


@each_judge
def test_an_interruption_is_the_callers(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control-C while a judge is asked stops the run, as anywhere else."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Aws, "client", interrupted)
    with pytest.raises(KeyboardInterrupt):
        _outcome(name, lambda _: None)


def test_a_policy_that_a_custom_check_cannot_analyse_is_told() -> None:
    words = "The policy is too complex"
    found = _outcome(
        "CheckNoNewAccess", lambda aws: aws.refuse("CheckNoNewAccess", "UnprocessableEntityException", words, 422)
    )
    assert words in found.failure


def test_a_policy_that_the_simulator_refuses_is_told_not_taken_for_an_unknown_action() -> None:
    """PolicyEvaluation is AWS's error for a policy that it cannot evaluate."""
    found = _outcome(
        "SimulateCustomPolicy", lambda aws: aws.refuse("SimulateCustomPolicy", "PolicyEvaluation", "no", 500)
    )
    assert "no" in found.failure
