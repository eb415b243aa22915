"""The promises on declared actions without use: they count as idle only where every phase that
needs them was seen.
"""

from __future__ import annotations

import pytest

from leastpriv.declared.declarations import exercised_actions, marks_of
from leastpriv.declared.models import Declaration, DeclaredResource
from leastpriv.permissions.tool_lifecycle import Phase, ResourceKind, Tool

QUEUE = ResourceKind(Tool.CLOUDFORMATION, "AWS::SQS::Queue")
TABLE = ResourceKind(Tool.CLOUDFORMATION, "AWS::DynamoDB::Table")


def declared(*kinds: ResourceKind) -> list[Declaration]:
    return [
        Declaration(
            "t.yaml", tuple(DeclaredResource(kind, "Main", (Phase.CREATE,)) for kind in kinds)
        )
    ]


def test_a_phase_is_seen_by_an_action_that_it_alone_has() -> None:
    assert marks_of(QUEUE, Phase.CREATE) == ("sqs:CreateQueue",)
    assert "sqs:SetQueueAttributes" in marks_of(QUEUE, Phase.UPDATE)
    assert marks_of(QUEUE, Phase.DELETE) == ("sqs:DeleteQueue",)


@pytest.mark.parametrize(
    ("used", "idle", "open_ones"),
    [
        ((), set(), {"sqs:GetQueueUrl", "sqs:ListQueueTags", "sqs:DeleteQueue"}),
        (
            ("sqs:CreateQueue",),
            {"sqs:GetQueueUrl", "sqs:ListQueueTags"},
            {"sqs:SetQueueAttributes", "sqs:DeleteQueue"},
        ),
        (
            ("sqs:CreateQueue", "sqs:SetQueueAttributes"),
            {"sqs:GetQueueUrl", "sqs:ListQueueTags", "sqs:TagQueue"},
            {"sqs:DeleteQueue", "sqs:GetQueueAttributes"},
        ),
    ],
)
def test_an_action_is_idle_after_all_phases_that_list_it(
    used: tuple[str, ...], idle: set[str], open_ones: set[str]
) -> None:
    idle_actions = exercised_actions(declared(QUEUE), used)
    assert idle <= idle_actions
    assert open_ones.isdisjoint(idle_actions)


def test_another_type_without_a_seen_phase_keeps_what_it_shares() -> None:
    used_actions = ("dynamodb:CreateTable", "sqs:CreateQueue")
    alone = exercised_actions(declared(QUEUE), used_actions)
    assert "sqs:GetQueueUrl" in alone
    assert "kms:ListAliases" not in exercised_actions(declared(QUEUE, TABLE), used_actions)


def test_tags_that_only_the_creation_needs_are_idle_without_an_update() -> None:
    rule = ResourceKind(Tool.CLOUDFORMATION, "AWS::Events::Rule")
    used_actions = ("events:PutRule", "events:PutTargets")
    plain, tagged = (
        DeclaredResource(rule, "Main", (Phase.CREATE,), tagged=tagged) for tagged in (False, True)
    )
    assert "events:TagResource" in exercised_actions(
        [Declaration("t.yaml", (plain,))], used_actions
    )
    assert "events:TagResource" not in exercised_actions(
        [Declaration("t.yaml", (plain, tagged))], used_actions
    )
