"""The chance of a denial in words and counts, the kinds of runs, and what will be denied."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leastpriv.proposal.chance import (
    QUIET_RUNS,
    Chance,
    DenialCause,
    ExpectedDenial,
    RunKind,
    Word,
)
from leastpriv.proposal.confidence import falling_chance
from leastpriv.proposal.leave_one_run_out import LaterRunsResult
from leastpriv.proposal.verdict import Instruction
from leastpriv.report.context import ReportContext
from leastpriv.report.pull_request import body
from tests.fakes.replace import replace
from tests.test_cases import run_case

URL = "https://sqs.eu-west-1.amazonaws.com/111122223333/"


def chance(left_out: tuple[int, int], later: tuple[int, int]) -> Chance:
    return Chance(
        left_out=left_out[1],
        left_out_denied=left_out[0],
        later=later[1],
        later_denied=later[0],
        quiet=0,
        days=30,
    )


@pytest.mark.parametrize(
    ("left_out", "later", "estimate", "word"),
    [
        ((0, 13), (0, 12), (0.5 / 14 + 0.0129) / 2, Word.SELDOM),
        ((3, 12), (5, 11), (3.5 / 13 + 0.2727) / 2, Word.MAY_BE),
        ((9, 12), (8, 11), (9.5 / 13 + 0.5449) / 2, Word.LIKELY),
        ((0, 0), (0, 0), 0.5, Word.MAY_BE),
    ],
)
def test_the_word_follows_the_mean_of_a_rate_and_of_a_chance_that_falls(
    left_out: tuple[int, int], later: tuple[int, int], estimate: float, word: Word
) -> None:
    estimated = chance(left_out, later)
    assert estimated.estimate == pytest.approx(estimate, abs=1e-4)
    assert estimated.word is word


def test_old_denials_weigh_less_the_more_runs_followed() -> None:
    """The rate of the same counts would stay at its half."""
    after = [falling_chance(count, 2 * count) for count in (1, 2, 5, 10)]
    assert after == sorted(after, reverse=True)
    assert after[0] > 0.35
    assert after[-1] < 0.32


def judged(denied: Sequence[bool]) -> Chance:
    """The chance after later runs of which some were denied, where no run left out was."""
    later = LaterRunsResult(
        {str(number): ("s3:A",) if actions else () for number, actions in enumerate(denied)}
    )
    chance_of_all = chance((0, len(denied) + 1), (later.denied_runs, later.judged))
    return replace(chance_of_all, latest=later.latest)


@pytest.mark.parametrize(("runs", "in_a_row"), [(20, 8), (59, 20), (10, 3), (40, 2), (5, 2)])
def test_runs_that_are_denied_now_weigh_more_than_those_denied_first(
    runs: int, in_a_row: int
) -> None:
    first = [True] * in_a_row + [False] * (runs - in_a_row)
    assert judged(first[::-1]).estimate > judged(first).estimate
    assert judged(first[::-1]).word is not Word.SELDOM
    # Once more runs were quiet, only their count says it.
    assert judged(first).latest == ()


@given(st.lists(st.booleans(), max_size=60))
def test_a_policy_whose_latest_two_runs_were_denied_is_never_seldom(before: list[bool]) -> None:
    assert judged([*before, True, True]).word is not Word.SELDOM


def test_the_latest_runs_are_twice_those_denied_in_a_row_and_at_most_ten() -> None:
    quiet, often = [False] * 20, [True] * 7
    assert judged([*quiet, True]).latest == ()
    assert judged([*quiet, True, True]).latest == (False, False, True, True)
    assert judged([*quiet, *often]).latest == (*[False] * 3, *often)


def test_so_many_quiet_runs_show_at_most_one_denial_in_twenty() -> None:
    assert 0.95**QUIET_RUNS < 0.05 < 0.95 ** (QUIET_RUNS - 1)


def test_quiet_runs_are_those_after_the_last_denial() -> None:
    later_runs = LaterRunsResult({"2": (), "3": ("s3:A",), "4": (), "5": ()})
    assert (later_runs.judged, later_runs.denied_runs, later_runs.quiet) == (4, 1, 2)


def create(name: str) -> dict[str, Any]:
    return {"event": "sqs:CreateQueue", "parameters": {"queueName": name}}


def delete(name: str) -> dict[str, Any]:
    return {"event": "sqs:DeleteQueue", "parameters": {"queueUrl": f"{URL}{name}"}}


TOPIC = {"event": "sns:CreateTopic", "parameters": {"name": "orders"}}
ALARM = {"event": "cloudwatch:PutMetricAlarm", "parameters": {"alarmName": "orders"}}


def proposed(folder: Path, runs: Sequence[Sequence[Mapping[str, Any]]]) -> ReportContext:
    blocks = [
        {"first": f"2026-10-{2 * number + 1:02}T10:00:00Z", "calls": list(calls)}
        for number, calls in enumerate(runs)
    ]
    return run_case({"policy": None, "runs": blocks}, folder).context


@pytest.mark.parametrize(
    ("runs", "kinds"),
    [
        ([[create("a")], [create("a")]], {}),
        ([[create("a")], [create("b")]], {RunKind.NEW_COPY: 1}),
        ([[create("a")], [create("b")], [create("a")]], {RunKind.NEW_COPY: 1}),
        ([[create("a")], [create("a"), TOPIC]], {RunKind.NEW_FEATURE: 1}),
        ([[create("a")], [delete("a")]], {RunKind.TAKEDOWN: 1}),
        ([[create("a")], [create("b"), delete("b")]], {RunKind.ROLLBACK: 1}),
        ([[create("a")], [create("b"), delete("a")]], {}),
        (
            [[create("a"), TOPIC], [create("b"), TOPIC, ALARM], [delete("b")]],
            {RunKind.NEW_FEATURE: 1, RunKind.TAKEDOWN: 1},
        ),
    ],
    ids=[
        "again",
        "copy",
        "copy-again",
        "feature",
        "takedown",
        "rollback",
        "replacement",
        "several",
    ],
)
def test_the_kind_of_a_run_follows_from_what_it_creates_and_deletes(
    tmp_path: Path, runs: Sequence[Sequence[Mapping[str, Any]]], kinds: Mapping[RunKind, int]
) -> None:
    draft = proposed(tmp_path, runs)
    assert draft.chance.shown == kinds
    assert set(draft.chance.not_shown) == set(RunKind) - set(kinds)


@pytest.mark.parametrize(
    ("call", "is_takedown"),
    [
        ({"event": "sqs:PurgeQueue", "parameters": {"queueUrl": f"{URL}a"}}, False),
        ({"event": "sqs:RemovePermission", "parameters": {"queueUrl": f"{URL}a"}}, False),
        ({"event": "iam:DeleteRolePolicy", "parameters": {"roleName": "a"}}, False),
        ({"event": "s3:DeleteBucketPolicy", "parameters": {"bucketName": "a"}}, False),
        ({"event": "iam:DeleteRole", "parameters": {"roleName": "a"}}, True),
        ({"event": "rds:DeleteDBInstance", "parameters": {"dBInstanceIdentifier": "a"}}, True),
        ({"event": "ecs:DeregisterTaskDefinition", "parameters": {"taskDefinition": "a:1"}}, True),
    ],
    ids=lambda each: str(each.get("event")) if isinstance(each, dict) else "",
)
def test_only_the_deletion_of_a_whole_resource_is_a_takedown(
    tmp_path: Path, call: Mapping[str, Any], *, is_takedown: bool
) -> None:
    kinds = proposed(tmp_path, [[create("a")], [call]]).chance.shown
    assert (RunKind.TAKEDOWN in kinds) is is_takedown


SESSION = "arn:aws:sts::111122223333:assumed-role/ci-deploy/run"


def denied(action: str, resource: str) -> dict[str, Any]:
    return {
        "event": action,
        "parameters": {},
        "error": "AccessDenied",
        "message": (
            f"User: {SESSION} is not authorized to perform: {action} on resource: {resource}"
            f" because no identity-based policy allows the {action} action"
        ),
    }


TAG = denied("sqs:TagQueue", "arn:aws:sqs:eu-west-1:111122223333:a")


@pytest.mark.parametrize(
    ("runs", "count"),
    [
        ([[create("a")], [create("a"), TAG], [create("a")]], 1),
        ([[create("a")], [create("a"), TAG], [create("a"), TAG]], 1),
        ([[create("a")], [TAG], [create("a")]], 1),
        ([[create("a")], [create("a")], [create("a")]], 0),
    ],
    ids=["once", "added-since", "nothing-else", "none"],
)
def test_a_run_that_aws_denied_something_counts_as_denied(
    tmp_path: Path, runs: Sequence[Sequence[Mapping[str, Any]]], count: int
) -> None:
    chance = proposed(tmp_path, runs).chance
    assert (chance.later, chance.later_denied) == (2, count)


def test_each_run_is_judged_by_the_policy_of_the_runs_before_it(tmp_path: Path) -> None:
    """The third run is the first to use a topic, and the fifth the first to use an alarm."""
    always = [create("a")]
    runs = [always, always, [*always, TOPIC], always, [*always, ALARM], [*always, TOPIC]]
    context = proposed(tmp_path, runs)
    assert context.proof.later_runs
    denied = list(context.proof.later_runs.denied.values())
    assert denied == [(), ("sns:CreateTopic",), (), ("cloudwatch:PutMetricAlarm",), ()]
    assert (context.chance.later_denied, context.chance.later, context.chance.quiet) == (2, 5, 1)
    text = body(context)
    assert (
        "A policy made from earlier runs would have denied 2 of the 5 runs after the first, not the last one, as far as calls"
        in text
    )
    assert (
        "No run so far deployed a new stage, branch or account, took resources down or rolled back"
        in text
    )
    assert "A job rarer than 10 days is not covered." in text


def test_what_most_deployments_do_to_a_bucket_will_be_denied(tmp_path: Path) -> None:
    bucket = {"event": "s3:CreateBucket", "parameters": {"bucketName": "orders-pages"}}
    context = proposed(tmp_path, [[bucket], [bucket]])
    certain = [expected for expected in context.chance.expected if expected.is_certain]
    assert {expected.cause for expected in certain} == {DenialCause.NOT_RECORDED}
    assert {action for expected in certain for action in expected.actions} == {
        "s3:ListBucket", "s3:GetObject", "s3:PutObject", "s3:DeleteObject"
    }  # fmt: skip
    assert "arn:aws:s3:::orders-pages/*" in {
        resource for expected in certain for resource in expected.resources
    }
    assert "**Will be denied:** " in body(context)


def test_a_bucket_of_which_calls_name_objects_alone_may_be_filled_by_another_role(
    tmp_path: Path,
) -> None:
    """A run that lists the bucket of the function's code is denied it; most runs do not."""
    code = {
        "event": "lambda:UpdateFunctionCode20150331v2",
        "parameters": {"functionName": "send", "s3Bucket": "builds", "s3Key": "send.zip"},
    }
    context = proposed(tmp_path, [[code], [code]])
    assert not any(expected.is_certain for expected in context.chance.expected)
    [unnamed] = [expected for expected in context.chance.expected if not expected.resources]
    assert "s3:ListBucket" in unnamed.actions


def test_other_objects_of_a_bucket_are_denied_where_the_draft_names_some(tmp_path: Path) -> None:
    """The CDK puts a template that a call names, and the code that no record names."""
    bucket = "cdk-hnb659fds-assets-111122223333-eu-west-1"
    agent = "aws-sdk-js/3.741.0 aws-cdk-cli/2.1006.0"
    runs = []
    for name in ("6f51433e9a161bf1", "02715f7a388fc4aa", "de59bb3a201e3399"):
        url = f"https://s3.eu-west-1.amazonaws.com/{bucket}/{name}.json"
        change = {"stackName": "api", "changeSetName": "deploy", "templateURL": url}
        calls = [
            {"event": "s3:GetBucketLocation", "parameters": {"bucketName": bucket}},
            {"event": "cloudformation:CreateChangeSet", "parameters": change},
        ]
        runs.append([{**call, "user-agent": agent} for call in calls])
    context = proposed(tmp_path, runs)
    assert "s3:PutObject" in {change.action for change in context.proposal.changes}
    causes = {
        expected.cause for expected in context.chance.expected if "s3:PutObject" in expected.actions
    }
    assert causes == {DenialCause.IF_USED}
    [certain] = [expected for expected in context.chance.expected if expected.is_certain]
    assert certain.actions == ("s3:ListBucket",)


@pytest.mark.parametrize(
    ("call", "action", "resource"),
    [
        (
            {"event": "dynamodb:CreateTable", "parameters": {"tableName": "orders"}},
            "dynamodb:PutItem",
            "arn:aws:dynamodb:eu-west-1:111122223333:table/orders",
        ),
        (
            {"event": "kinesis:CreateStream", "parameters": {"streamName": "clicks"}},
            "kinesis:PutRecord",
            "arn:aws:kinesis:eu-west-1:111122223333:stream/clicks",
        ),
        (
            {"event": "sqs:CreateQueue", "parameters": {"queueName": "mails"}},
            "sqs:SendMessage",
            "arn:aws:sqs:eu-west-1:111122223333:mails",
        ),
    ],
)
def test_items_that_only_some_deployments_use_are_denied_to_a_run_that_uses_them(
    tmp_path: Path, call: Mapping[str, Any], action: str, resource: str
) -> None:
    context = proposed(tmp_path, [[call], [call]])
    assert not any(expected.is_certain for expected in context.chance.expected)
    assert any(
        action in expected.actions and resource in expected.resources
        for expected in context.chance.expected
    )
    text = body(context)
    assert "**Will be denied:** " not in text
    assert "**Rehearse first, then merge.** The draft does not allow " in text
    assert "no record that was read shows whether runs use them." in text
    assert "as far as calls are recorded." in text
    assert context.verdict.instruction is Instruction.REHEARSE


def test_terraforms_state_will_be_denied_where_no_record_shows_it(tmp_path: Path) -> None:
    call = {**create("a"), "user-agent": "APN/1.0 HashiCorp/1.0 Terraform/1.9.8"}
    context = proposed(tmp_path, [[call], [call]])
    [expected] = [denial for denial in context.chance.expected if denial.is_certain]
    assert expected == ExpectedDenial(
        DenialCause.STATE, ("s3:ListBucket", "s3:GetObject", "s3:PutObject", "s3:DeleteObject")
    )
    locks = [denial for denial in context.chance.expected if "dynamodb:PutItem" in denial.actions]
    assert [(denial.cause, denial.resources) for denial in locks] == [(DenialCause.IF_USED, ())]


def test_what_is_never_written_will_be_denied(tmp_path: Path) -> None:
    key = "arn:aws:kms:eu-west-1:111122223333:key/0a1b2c3d-0a1b-0a1b-0a1b-0a1b2c3d4e5f"
    gone = {"event": "kms:ScheduleKeyDeletion", "parameters": {"keyId": key}, "resources": [key]}
    context = proposed(tmp_path, [[create("a"), gone], [create("a"), gone]])
    certain = [expected.actions for expected in context.chance.expected if expected.is_certain]
    assert certain == [("kms:ScheduleKeyDeletion",)]
    assert body(context).startswith("> [!CAUTION]\n> **Do not merge.** 2 of 4 successful calls")


def test_what_few_runs_called_is_denied_to_a_run_that_calls_it(tmp_path: Path) -> None:
    """The next run rarely does what one of three runs did."""
    key = "arn:aws:kms:eu-west-1:111122223333:key/0a1b2c3d-0a1b-0a1b-0a1b-0a1b2c3d4e5f"
    gone = {"event": "kms:ScheduleKeyDeletion", "parameters": {"keyId": key}, "resources": [key]}
    context = proposed(tmp_path, [[create("a"), gone], [create("a")], [create("a")]])
    assert not any(expected.is_certain for expected in context.chance.expected)
    text = body(context)
    assert "**Will be denied:** " not in text
    assert (
        "**Not allowed, needed by some runs:** `kms:ScheduleKeyDeletion` (called, and a built-in rule forbids it)"
    ) in text
    assert context.verdict.instruction is Instruction.DO_NOT_MERGE
