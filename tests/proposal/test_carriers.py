"""Actions that AWS authorizes inside calls: a called carrier keeps them, and recorded ones without
a call do not.
"""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import pytest

from leastpriv.diff.compare import compare
from leastpriv.evidence.usage_history import ActionUse, UsageHistory
from leastpriv.models import Gap, GapKind, Outcome, Scope, Usage
from leastpriv.permissions.event_table import Visibility, carriers_of, visibility
from leastpriv.policy.document import Document, parse
from leastpriv.proposal.models import GuardContext, History, HistoryState, Options, RemovalCandidate
from leastpriv.proposal.recorded_use import CallableOperations, called_operations, checked_inside
from leastpriv.proposal.removals import guard_context
from leastpriv.proposal.visibility_guards import (
    could_hide,
    gap_in_scope,
    not_visible,
    region_not_read,
)
from tests.fakes.evidence import complete, evidence, usage
from tests.fakes.replace import replace

GET_ROLE = "iam:GetRole"
"""Authorized inside ActivateOrganizationsAccess; what causes it is not known."""
ACTIVATED = usage("cloudformation:ActivateOrganizationsAccess", "*")
ASSUMED = usage("sts:AssumeRole", "arn:aws:iam::111122223333:role/reader")


def policy(*actions: str) -> Document:
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
    return parse(json.dumps({"Version": "2012-10-17", "Statement": statement}).encode(), "p.json")


def judged(
    action: str, *usages: Usage, grants: tuple[str, ...] = (), **more: Any
) -> tuple[RemovalCandidate, GuardContext]:
    """A candidate of a policy that grants it and `grants`, and the context of the evidence."""
    document = policy(action, *grants)
    evidence_of_calls = replace(evidence(usages), **more)
    entry = compare(document, [], evidence_of_calls).entries[0]
    return RemovalCandidate(action, entry), guard_context(
        evidence_of_calls, Options(), policies=(document,)
    )


def test_a_called_carrier_without_a_known_trigger_keeps_the_action() -> None:
    reason = "AWS may check it inside cloudformation:ActivateOrganizationsAccess"
    assert checked_inside(*judged(GET_ROLE, ACTIVATED)) == reason


def test_an_action_without_a_called_carrier_is_not_kept() -> None:
    assert checked_inside(*judged(GET_ROLE, ASSUMED)) == ""
    assert not_visible(*judged(GET_ROLE, ASSUMED)) == ""


def test_a_called_carrier_whose_trigger_the_mapping_knows_does_not_keep_the_action() -> None:
    """With session tags the call would have needed sts:TagSession, and that would be a usage."""
    assert checked_inside(*judged("sts:TagSession", ASSUMED)) == ""


@pytest.mark.parametrize(
    "changes", [{"outcome": Outcome.UNKNOWN}, {"outcome": Outcome.DENIED}, {"succeeded": False}]
)
def test_a_carrier_that_was_called_without_success_keeps_the_action_whatever_its_trigger(
    changes: dict[str, Any],
) -> None:
    failed = replace(ASSUMED, **changes)
    reason = "AWS may check it inside sts:AssumeRole, which was called without success"
    assert checked_inside(*judged("sts:TagSession", failed)) == reason
    assert checked_inside(*judged("sts:TagSession", failed, ASSUMED)) == ""


def test_an_event_that_no_table_maps_counts_as_called() -> None:
    gap = Gap(GapKind.UNMAPPED_EVENT, Scope(services=("rds",)), "rds.amazonaws.com:DeleteDBCluster")
    assert called_operations(replace(evidence([]), gaps=(gap,))) == {"rds:DeleteDBCluster": False}


def test_a_carrier_that_was_called_before_the_evidence_keeps_the_action() -> None:
    day = date(2026, 6, 1)
    remembered_uses = {"cloudformation:ActivateOrganizationsAccess": {"*": ActionUse(day, day)}}
    candidate, context = judged(GET_ROLE)
    history = History(
        history_state=HistoryState(
            UsageHistory("arn:aws:iam::111122223333:role/ci", remembered_uses)
        )
    )
    assert "before this evidence begins" in checked_inside(
        candidate, replace(context, history=history)
    )


def test_a_carrier_that_is_an_unrecorded_data_event_keeps_the_action_where_the_principal_may_call_it() -> (
    None
):
    reason = not_visible(*judged("s3:BypassGovernanceRetention", grants=("s3:DeleteObject",)))
    assert (
        reason
        == "AWS may check it inside s3:DeleteObject, a data event (AWS::S3::Object) that is not"
        " known to be recorded for these resources"
    )
    assert not_visible(*judged("s3:BypassGovernanceRetention", grants=("sqs:CreateQueue",))) == ""


def test_a_carrier_of_an_unknown_service_keeps_the_action_until_a_record_shows_its_operation() -> (
    None
):
    inner, operation = unknown_pair()
    candidate, context = judged(inner, grants=(operation,))
    assert "it is not known whether CloudTrail records that" in not_visible(candidate, context)
    unknown = {
        carrier.operation
        for carrier in carriers_of(inner)
        if carrier.visibility is Visibility.UNKNOWN
    }
    assert not_visible(candidate, replace(context, recorded=frozenset(unknown))) == ""


def unknown_pair() -> tuple[str, str]:
    """A visible action, and a carrier of unknown visibility whose operation is an action of its
    own.
    """
    return next(
        (action, carrier.operation)
        for action in ("ec2:DescribeSubnets", "ec2:DescribeSecurityGroups", "ec2:RunInstances")
        for carrier in carriers_of(action)
        if carrier.visibility is Visibility.UNKNOWN
        and visibility(carrier.operation).visibility is Visibility.UNKNOWN
    )


def test_a_management_event_of_any_principal_settles_an_operation_of_unknown_visibility() -> None:
    candidate, context = judged("personalize:CreateSolution")
    assert not_visible(candidate, context) == "it is not known whether CloudTrail records it"
    assert (
        not_visible(candidate, replace(context, recorded=frozenset({"personalize:CreateSolution"})))
        == ""
    )


def test_without_any_known_policy_every_carrier_may_be_called() -> None:
    assert CallableOperations((), frozenset())("s3:DeleteObject")
    assert not CallableOperations((policy("sqs:*"),), frozenset())("s3:DeleteObject")
    assert CallableOperations((policy("sqs:*"),), frozenset({"s3"}))("s3:DeleteObject")
    assert CallableOperations((policy("s3:Delete*"),), frozenset())("s3:DeleteObjects")


def test_answers_differ_only_if_one_that_was_given_does() -> None:
    answers = CallableOperations((policy("s3:*"),), frozenset())
    assert answers.differs_in((policy("sqs:*"),)) is None
    assert answers("s3:DeleteObject")
    assert answers.differs_in((policy("s3:*"),)) is None
    fewer = answers.differs_in((policy("sqs:*"),))
    assert fewer is not None
    assert not fewer("s3:DeleteObject")


@pytest.mark.parametrize(
    ("kind", "services", "hides"),
    [
        (GapKind.SOURCE_FAILED, ("rds",), True),
        (GapKind.SOURCE_FAILED, ("lambda",), True),
        (GapKind.SOURCE_FAILED, ("iam",), True),
        (GapKind.SOURCE_FAILED, ("sqs",), False),
        (GapKind.UNMAPPED_EVENT, ("lambda",), False),
        (GapKind.UNMAPPED_EVENT, ("iam",), True),
    ],
)
def test_a_gap_hides_an_action_with_its_carriers_services(
    kind: GapKind, services: tuple[str, ...], hides: bool
) -> None:
    """An unmapped event is no known carrier: it hides actions of its own service alone."""
    assert could_hide(Gap(kind, Scope(services=services), "x"), "iam:PassRole") is hides


def test_pass_role_needs_the_home_region_of_global_services_only_if_the_principal_may_call_them() -> (
    None
):
    candidate, context = judged("iam:PassRole", grants=("lambda:CreateFunction",))
    covered = replace(context, evidence=replace(context.evidence, coverage=complete("eu-west-1")))
    assert region_not_read(candidate, covered) == ""
    candidate, context = judged("iam:PassRole", grants=("iam:AddRoleToInstanceProfile",))
    covered = replace(context, evidence=replace(context.evidence, coverage=complete("eu-west-1")))
    assert "no record of us-east-1 was read" in region_not_read(candidate, covered)


def test_a_gap_of_a_region_hides_an_action_of_a_global_service_only_if_the_principal_may_call_a_carrier_there() -> (
    None
):
    gap = Gap(GapKind.SOURCE_FAILED, Scope(regions=("eu-west-1",)), "lost")
    assert (
        gap_in_scope(*judged("iam:GetRole", grants=("cloudformation:*",), gaps=(gap,)))
        == "source-failed: lost"
    )
    assert gap_in_scope(*judged("iam:GetRole", grants=("sqs:*",), gaps=(gap,))) == ""
