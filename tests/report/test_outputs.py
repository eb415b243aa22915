"""The promises of the step's outputs."""

from __future__ import annotations

import json
from pathlib import Path

from leastpriv.report.outputs import outputs
from tests.fakes.deploys import CREATE_QUEUE, POLICY, UPDATE, as_committed, deploys, proposal


def test_outputs_name_what_is_added_and_what_no_statement_grants_any_more(tmp_path: Path) -> None:
    subject = proposal(tmp_path, POLICY).subject
    told = outputs(subject, "/out/proposal.json")
    assert told["has-changes"] == "true"
    assert json.loads(told["added-actions"]) == ["cloudwatch:PutMetricAlarm"]
    removed = json.loads(told["removed-actions"])
    assert {"sns:CreateTopic", "sqs:PurgeQueue", "lambda:DeleteAlias"} <= set(removed)
    assert "lambda:UpdateFunctionCode" not in removed
    assert removed == sorted(removed)
    assert json.loads(told["policy"]) == json.loads(subject.draft.content)
    assert told["proposal-file"] == "/out/proposal.json"


def test_an_action_that_another_statement_still_grants_is_not_told_as_removed(tmp_path: Path) -> None:
    """One of two grants goes; the other stays because nobody read its region."""
    north = POLICY["Statement"][1]["Resource"].replace("eu-west-1", "eu-north-1")
    more = {**POLICY["Statement"][1], "Sid": "More", "Action": "sqs:P*", "Resource": north}
    subject = proposal(tmp_path, {**POLICY, "Statement": [*POLICY["Statement"], more]}).subject
    told = outputs(subject, "")
    assert "sqs:PurgeQueue" in {change.action for change in subject.draft.changes}
    assert "sqs:PurgeQueue" not in json.loads(told["removed-actions"])


def test_without_a_change_the_lists_are_empty_and_the_policy_is_the_committed_one(tmp_path: Path) -> None:
    subject = proposal(tmp_path, as_committed(), deploys([UPDATE, CREATE_QUEUE])).subject
    told = outputs(subject, "")
    assert (told["has-changes"], told["added-actions"], told["removed-actions"]) == ("false", "[]", "[]")
    assert told["policy"] == json.dumps(as_committed(), indent=2)
