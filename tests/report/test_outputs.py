"""The step's outputs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from leastpriv.config.settings import from_options
from leastpriv.pipeline.artifacts import outputs_of
from leastpriv.pipeline.context import RunResult, Target, TargetResult
from leastpriv.policy.document import Document, parse
from leastpriv.pull_request.models import PublishResult, PullRequestOperation
from tests.fakes.deploys import CREATE_QUEUE, POLICY, ROLE, UPDATE, as_committed, deploys, proposal
from tests.fakes.replace import replace
from tests.fakes.runs import Proposed

SETTINGS = from_options({"role-arn": ROLE, "policy-file": "policy.json", "trails": "trail"})


def outputs(proposed: Proposed, file: str = "") -> dict[str, str]:
    target = TargetResult(Target(SETTINGS, "policy.json"), proposed.content)
    return outputs_of(RunResult((target,), has_targets_file=False), file, [0])


def test_outputs_list_added_actions_and_those_that_no_statement_grants_any_more(
    tmp_path: Path,
) -> None:
    drafted = proposal(tmp_path, POLICY)
    values = outputs(drafted, "/out/proposal.json")
    assert values["has-changes"] == "true"
    assert json.loads(values["added-actions"]) == ["cloudwatch:PutMetricAlarm"]
    removed = json.loads(values["removed-actions"])
    assert {"sns:CreateTopic", "sqs:PurgeQueue", "lambda:DeleteAlias"} <= set(removed)
    assert "lambda:UpdateFunctionCode" not in removed
    assert removed == sorted(removed)
    assert json.loads(values["policy"]) == json.loads(drafted.context.proposal.content)
    assert values["proposal-file"] == "/out/proposal.json"


def test_an_action_that_another_statement_still_grants_is_not_listed_as_removed(
    tmp_path: Path,
) -> None:
    """One of two grants is removed; the other is kept because its region was not read."""
    north = POLICY["Statement"][1]["Resource"].replace("eu-west-1", "eu-north-1")
    northern = {**POLICY["Statement"][1], "Sid": "More", "Action": "sqs:P*", "Resource": north}
    drafted = proposal(tmp_path, {**POLICY, "Statement": [*POLICY["Statement"], northern]})
    values = outputs(drafted)
    assert "sqs:PurgeQueue" in {change.action for change in drafted.context.proposal.changes}
    assert "sqs:PurgeQueue" not in json.loads(values["removed-actions"])


def test_without_a_change_the_lists_are_empty_and_the_policy_is_the_committed_one(
    tmp_path: Path,
) -> None:
    values = outputs(proposal(tmp_path, as_committed(), deploys([UPDATE, CREATE_QUEUE])))
    assert (values["has-changes"], values["added-actions"], values["removed-actions"]) == (
        "false",
        "[]",
        "[]",
    )
    assert values["policy"] == json.dumps(as_committed(), indent=2)


def session_policy(proposed: Proposed, other: Document | None = None) -> str:
    if other:
        context = replace(proposed.context, attached_documents=(other,))
        proposed = replace(proposed, content=replace(proposed.content, context=context))
    return outputs(proposed)["inline-session-policy"]


def test_the_session_policy_is_the_proposal_with_the_attached_policies(tmp_path: Path) -> None:
    """A session policy denies all that it does not allow, so a deploy needs the other policies in
    it.
    """
    attached = parse(
        b'{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "s3:*", "Resource":'
        b' "*"}}',
        "o",
    )
    drafted = proposal(tmp_path, POLICY)
    text = session_policy(drafted, attached)
    statements = json.loads(text)["Statement"]
    assert statements[:-1] == json.loads(drafted.context.proposal.content)["Statement"]
    assert statements[-1]["Action"] == "s3:*"
    assert " " not in text.replace(statements[0]["Resource"], "")


def test_a_policy_too_long_for_a_session_gives_no_session_policy(tmp_path: Path) -> None:
    deny = {
        "Effect": "Deny",
        "Action": [f"sns:Set{number:>090}" for number in range(25)],
        "Resource": "*",
    }
    assert (
        session_policy(proposal(tmp_path, {**POLICY, "Statement": [*POLICY["Statement"], deny]}))
        == ""
    )


@pytest.mark.parametrize(
    ("resource", "fits"),
    [
        ("arn:aws:s3:::b/${aws:username}/*", True),
        ("arn:aws:s3:::b/${*}", True),
        ("arn:aws:s3:::${AWS::AccountId}", False),
        ("arn:aws:s3:::${bucket}", False),
        ("arn:aws:s3:::<bucket>", False),
        ("arn:aws:s3:::{{ bucket }}", False),
        ({"Fn::Sub": "arn:aws:s3:::${Bucket}"}, False),
    ],
)
def test_a_policy_with_placeholders_gives_no_session_policy(
    tmp_path: Path, resource: object, fits: bool
) -> None:
    text = json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": resource}],
        }
    )
    template = json.dumps(
        {"Resources": {"P": {"Properties": {"PolicyDocument": json.loads(text)}}}}
    )
    attached = parse(template.encode(), "t.json", "/Resources/P/Properties/PolicyDocument")
    assert bool(session_policy(proposal(tmp_path, POLICY), attached)) is fits


def test_pull_requests_of_two_repositories_with_one_branch_name_are_both_named() -> None:
    targets = tuple(
        TargetResult(
            Target(SETTINGS, "policy.json"),
            published=PublishResult(
                PullRequestOperation.CREATED, "leastpriv/deploy", "head", "base", number=number,
                url=f"https://github.com/octo-org/{repository}/pull/{number}",
            ),
        )
        for repository, number in (("shop", 7), ("mail", 9))
    )  # fmt: skip
    step_outputs = outputs_of(RunResult(targets, has_targets_file=True), "", [0, 0])
    assert step_outputs["pull-request-number"] == "7\n9"
    assert step_outputs["pull-request-url"].split() == [
        "https://github.com/octo-org/shop/pull/7",
        "https://github.com/octo-org/mail/pull/9",
    ]


def test_a_pull_request_of_two_targets_is_named_once() -> None:
    shared = PublishResult(
        PullRequestOperation.UPDATED, "leastpriv/deploy", "head", "base", number=7,
        url="https://github.com/octo-org/shop/pull/7",
    )  # fmt: skip
    target = TargetResult(Target(SETTINGS, "policy.json"), published=shared)
    step_outputs = outputs_of(RunResult((target, target), has_targets_file=True), "", [0, 0])
    assert step_outputs["pull-request-number"] == "7"
