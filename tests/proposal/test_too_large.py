"""A proposal needs no more policies than IAM attaches to a role."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from leastpriv.proposal.models import Proposal
from tests.fakes.deploys import deploys, proposal

QUEUES = [
    f"{letter}{other_letter}-orders-of-the-shop-without-a-common-end-{other_letter}{letter}"
    for letter in "abcdefgh"
    for other_letter in "ijklmnopq"
]
CALLS = [{"event": "sqs:CreateQueue", "parameters": {"queueName": name}} for name in QUEUES]
OTHER = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "*"}],
}


@pytest.mark.parametrize("action", ["*", "sqs:*"])
@pytest.mark.parametrize(("others", "is_held"), [(0, False), (9, True)])
def test_what_would_need_too_many_policies_remains(
    action: str, others: int, is_held: bool, tmp_path: Path
) -> None:
    committed = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": action, "Resource": "*"}],
    }
    files = [tmp_path / f"{number}.json" for number in range(others)]
    for file in files:
        file.write_text(json.dumps(OTHER))
    draft = proposal(
        tmp_path, committed, deploys(CALLS), resources="exact", also_attached=tuple(map(str, files))
    ).content.context.proposal
    assert bool(draft.held_back_as("too-large")) is is_held
    assert (draft.content == json.dumps(committed, indent=2).encode()) is is_held
    assert draft.packed is not None
    assert draft.packed.fits


STREAMS = [
    {"event": "kinesis:CreateStream", "parameters": {"streamName": name, "shardCount": 1}}
    for name in QUEUES
]


def test_an_action_is_not_removed_while_a_too_large_narrowing_leaves_its_carrier(
    tmp_path: Path,
) -> None:
    """CloudTrail may not record `kinesis:CreateChannel`, which may need the log delivery."""
    draft = proposal_of(tmp_path, [("kinesis:*", "*"), ("logs:CreateLogDelivery", "*")], [*STREAMS])
    assert [change.action for change in draft.changes] == []
    assert [held_back.action for held_back in draft.held_back_as("too-large")] == [
        "kinesis:*",
        "kinesis:CreateStream",
    ]
    assert [held_back.action for held_back in draft.held_back_as("not-visible")] == [
        "logs:CreateLogDelivery"
    ]


def test_an_action_is_not_narrowed_while_a_too_large_narrowing_leaves_its_creator(
    tmp_path: Path,
) -> None:
    """A later run may create another queue."""
    topics = [{"event": "sns:CreateTopic", "parameters": {"name": name}} for name in QUEUES[-50:]]
    url = f"https://sqs.eu-west-1.amazonaws.com/111122223333/{QUEUES[0]}"
    setting = {"event": "sqs:SetQueueAttributes", "parameters": {"queueUrl": url}}
    draft = proposal_of(
        tmp_path,
        [(["sqs:C*", "sns:C*"], "*"), ("sqs:SetQueueAttributes", "*")],
        [*CALLS[:50], *topics, setting],
    )
    assert [change.action for change in draft.changes] == []
    assert {held_back.action for held_back in draft.held_back_as("too-large")} == {
        *("sqs:C*", "sns:C*", "sqs:CreateQueue", "sns:CreateTopic")
    }
    assert [
        (held_back.action, held_back.guard_result.guard)
        for held_back in draft.held_back_restrictions
    ] == [("sqs:SetQueueAttributes", "sibling")]


def proposal_of(
    folder: Path,
    granted: Sequence[tuple[str | list[str], str]],
    calls: Sequence[Mapping[str, object]],
) -> Proposal:
    """Returns the proposal for a role with ten policies, of which the last grants some actions."""
    statements = [
        {"Sid": f"S{number}", "Effect": "Allow", "Action": action, "Resource": resource}
        for number, (action, resource) in enumerate(granted)
    ]
    committed = {"Version": "2012-10-17", "Statement": statements}
    other_files = [folder / f"{number}.json" for number in range(9)]
    for file in other_files:
        file.write_text(json.dumps(OTHER))
    draft = proposal(
        folder,
        committed,
        deploys(calls),
        resources="exact",
        unseen_actions="drop",
        also_attached=tuple(map(str, other_files)),
    )
    assert draft.content.context is not None
    return draft.content.context.proposal
