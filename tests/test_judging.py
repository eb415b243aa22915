"""When AWS judges a proposal, and where the reader sees what it says."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from leastpriv.model import Basis
from leastpriv.pipeline import Result, run
from leastpriv.settings import from_options
from leastpriv.sources import Reach
from leastpriv.workplace import Workplace
from tests.fakes.aws.cloudformation_types import CloudFormationTypes
from tests.fakes.aws.policy_checks import PolicyChecks
from tests.fakes.command import leastpriv
from tests.fakes.deploys import (
    CREATE_QUEUE,
    NOW,
    POLICY,
    ROLE,
    UPDATE,
    as_committed,
    deploys,
    usual_deploys,
    write_trail,
)

STACK = "arn:aws:cloudformation:eu-west-1:111122223333:stack/orders/1"
HANDLERS = {"AWS::SQS::Queue": {"create": ["kms:ListAliases"], "delete": ["sqs:DeleteQueue", "sns:SetTopicAttributes"]}}


def _run(
    folder: Path, reach: Reach | None, policy: Any = POLICY, records: Any = None, templates: Sequence[str] = ()
) -> Result:
    file = folder / "ci.json"
    file.write_text(json.dumps(policy, indent=2))
    trail = write_trail(folder / "trail", usual_deploys() if records is None else records)
    settings = from_options(
        {"role-arn": ROLE, "policy-file": str(file), "trails": (str(trail),), "last-accessed": "false"}
    )
    paths = tuple(folder / name for name in templates)
    return run(settings, Workplace("ci.json", folder, (trail,), reach=reach, templates=paths), NOW, lambda _: None)


def _opened(environment: dict[str, str]) -> Reach:
    """A run's reach whose door something has opened already."""
    reach = Reach(environment, NOW)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("leastpriv.evidence.aws.Aws.caller", lambda _: ROLE)
        reach.aws()
    return reach


def test_a_run_over_files_alone_asks_aws_nothing_whatever_its_environment_holds(tmp_path: Path) -> None:
    with PolicyChecks() as aws:
        result = _run(tmp_path, Reach(aws.environment(), NOW))
    assert aws.requests == []
    assert "What AWS says of it" not in result.body


def test_a_run_that_has_opened_the_door_has_its_proposal_judged(tmp_path: Path) -> None:
    with PolicyChecks() as aws:
        result = _run(tmp_path, _opened(aws.environment()))
    assert result.subject.draft.changes
    assert [each.judge for each in result.subject.judgements] == ["ValidatePolicy", "SimulateCustomPolicy"]
    assert all(not each.failure for each in result.subject.judgements)
    assert "### What AWS says of it" in result.body
    assert "AWS disagrees" not in result.body


def test_the_simulation_agrees_with_our_replay_on_every_need(tmp_path: Path) -> None:
    with PolicyChecks() as aws:
        result = _run(tmp_path, _opened(aws.environment()))
    simulated = result.subject.judgements[1]
    assert simulated.asked > 0
    assert simulated.disagreements == ()


def test_a_disagreement_stands_right_below_the_verdict(tmp_path: Path) -> None:
    with PolicyChecks("SimulateCustomPolicy") as aws:
        result = _run(tmp_path, _opened(aws.environment()))
    sections = result.body.split("\n\n")
    assert sections[1].startswith("> [!CAUTION]\n> **AWS disagrees with this proposal's own proof.**")
    assert "our replay says allowed, AWS's simulation not allowed" in sections[1]


def test_nothing_to_change_is_nothing_to_judge(tmp_path: Path) -> None:
    with PolicyChecks() as aws:
        _run(tmp_path, _opened(aws.environment()), as_committed(), deploys([UPDATE, CREATE_QUEUE]))
    assert aws.requests == []


def test_no_run_asks_for_what_costs(tmp_path: Path) -> None:
    with PolicyChecks() as aws:
        _run(tmp_path, _opened(aws.environment()))
    assert {each.operation for each in aws.requests} == {"ValidatePolicy", "SimulateCustomPolicy"}


def test_a_judge_that_fails_ends_nothing(tmp_path: Path) -> None:
    words = f"User: {ROLE} is not authorized to perform: access-analyzer:ValidatePolicy on resource: *"
    with PolicyChecks() as aws:
        aws.refuse("ValidatePolicy", "AccessDeniedException", words, 403)
        result = _run(tmp_path, _opened(aws.environment()))
    assert result.subject.draft.changes
    assert "`ValidatePolicy` could not be asked. AWS refused `access-analyzer:ValidatePolicy`" in result.body


def test_what_types_of_the_roles_own_stacks_need_is_kept_and_offered(tmp_path: Path) -> None:
    create = {"event": "cloudformation:CreateStack", "parameters": {"stackName": "orders"}, "resources": [STACK]}
    calls = deploys([create, UPDATE, CREATE_QUEUE])
    for each in calls:
        if each["eventName"] == "CreateQueue":
            each |= {"sourceIPAddress": "cloudformation.amazonaws.com", "userAgent": "cloudformation.amazonaws.com"}
            each["userIdentity"]["invokedBy"] = "cloudformation.amazonaws.com"
    policy = {
        **POLICY,
        "Statement": [*POLICY["Statement"], _allow("sns:SetTopicAttributes", "cloudformation:CreateStack")],
    }
    with CloudFormationTypes(HANDLERS, {("eu-west-1", "orders"): ["AWS::SQS::Queue"]}) as types, PolicyChecks() as aws:
        environment = {**aws.environment(), "AWS_ENDPOINT_URL_CLOUDFORMATION": types.endpoint}
        result = _run(tmp_path, _opened(environment), policy, calls)
    assert result.subject.evidence.hints.declared.types == ("AWS::SQS::Queue",)
    held = {each.action: each.objection.guard for each in result.subject.draft.held_back}
    assert held["sns:SetTopicAttributes"] == "declared"
    offered = {offer.action: offer.basis.value for offer in result.subject.offers}
    assert offered["kms:ListAliases"] == "declared"
    assert "- `kms:ListAliases`: declared by `AWS::SQS::Queue`." in result.body


def test_a_template_opens_the_door_and_its_types_are_asked(tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text("Resources:\n  Queue:\n    Type: AWS::SQS::Queue\n")
    with CloudFormationTypes(HANDLERS, {}) as types, PolicyChecks() as aws:
        environment = {**aws.environment(), "AWS_ENDPOINT_URL_CLOUDFORMATION": types.endpoint}
        result = _run(tmp_path, _opened(environment), templates=("t.yaml",))
    assert {offer.action for offer in result.subject.offers if offer.basis is Basis.DECLARED} >= {"kms:ListAliases"}


def test_a_template_without_credentials_is_told_and_ends_nothing(tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text("Resources:\n  Queue:\n    Type: AWS::SQS::Queue\n")
    nowhere = {"AWS_PROFILE": "nobody", "AWS_REGION": "eu-west-1", "AWS_EC2_METADATA_DISABLED": "true"}
    result = _run(tmp_path, Reach(nowhere, NOW), templates=("t.yaml",))
    assert result.subject.draft.changes
    assert "What resource types need is not known whole." in result.body


def test_a_template_that_is_no_file_is_refused(tmp_path: Path) -> None:
    told = leastpriv(
        "propose", "--role-arn", ROLE, "--policy-file", "p.json", "--trail", str(tmp_path), "--template", "no.yaml"
    )
    assert (told.code, "--template names 'no.yaml'" in told.err) == (2, True)


def _allow(*actions: str) -> dict[str, Any]:
    return {"Sid": "More", "Effect": "Allow", "Action": list(actions), "Resource": "*"}
