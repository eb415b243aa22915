"""No result is to be merged in spite of a doubt, and its reason counts each call once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from leastpriv.proposal.verdict import Instruction, VerdictRule
from leastpriv.report.first_screen import first_screen
from leastpriv.report.screen_models import markdown
from leastpriv.report.verdict import calls_remain
from tests.test_cases import run_case

QUEUE = {
    "event": "sqs:CreateQueue",
    "parameters": {"queueName": "orders"},
    "response": {"queueUrl": "https://sqs.eu-west-1.amazonaws.com/111122223333/orders"},
}
UNKNOWN_EVENT = {"event": "sns:FancyNew"}
FAILED = {
    "event": "sns:CreateTopic",
    "parameters": {"name": "orders"},
    "error": "ThrottlingException",
}
BUCKET = {"event": "s3:CreateBucket", "parameters": {"bucketName": "orders-artifacts"}}
HIDDEN_ROLE = {
    "event": "sts:AssumeRole",
    "parameters": {"roleArn": "HIDDEN_DUE_TO_SECURITY_REASONS", "roleSessionName": "x"},
}


def function(name: str, role: str) -> dict[str, Any]:
    return {
        "event": "lambda:CreateFunction20150331",
        "parameters": {
            "functionName": name,
            "role": f"arn:aws:iam::111122223333:role/{role}",
        },
        "response": {"functionArn": f"arn:aws:lambda:eu-west-1:111122223333:function:{name}"},
    }


def allows(*actions: str, **more: Any) -> dict[str, Any]:
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*", **more}
    return {"Version": "2012-10-17", "Statement": [statement]}


def runs(*calls: Mapping[str, Any], times: int = 61) -> dict[str, Any]:
    first = "2026-09-20T10:00:00Z"
    return {"first": first, "times": times, "every-days": 1, "calls": list(calls)}


REVIEWED = {str(17650000000 + number): "trusted" for number in range(61)}
UNREVIEWED_RUN = {
    "first": "2026-10-01T12:00:00Z",
    "session": "99",
    "calls": [function("other", "admin")],
}
TAGGED = {"Condition": {"StringEquals": {"aws:PrincipalTag/team": "orders"}}}

CASES: dict[str, tuple[dict[str, Any], VerdictRule, Instruction]] = {
    "a draft of a role whose use of data no record shows": (
        {"runs": [runs(QUEUE)]},
        VerdictRule.UNRECORDED_USE,
        Instruction.REHEARSE,
    ),
    "a draft without the action of an unknown event": (
        {"runs": [runs(QUEUE, UNKNOWN_EVENT)]},
        VerdictRule.DRAFT_DENIES,
        Instruction.DO_NOT_MERGE,
    ),
    "a draft without an action whose every call failed": (
        {"runs": [runs(QUEUE, FAILED)]},
        VerdictRule.DENIAL_EXPECTED,
        Instruction.REHEARSE,
    ),
    "a draft without the objects of its bucket": (
        {"runs": [runs(QUEUE, BUCKET)]},
        VerdictRule.DENIAL_EXPECTED,
        Instruction.REHEARSE,
    ),
    "a removal besides a call that no known policy allows": (
        {
            "policy": allows("sqs:CreateQueue", "sns:CreateTopic"),
            "runs": [runs(QUEUE, HIDDEN_ROLE)],
        },
        VerdictRule.STILL_LACKS,
        Instruction.REHEARSE,
    ),
    "a narrowing without the role that only an unreviewed run passed": (
        {
            "policy": allows("lambda:CreateFunction", "iam:PassRole"),
            "origins": {**REVIEWED, "99": "untrusted"},
            "runs": [runs(function("orders", "orders")), UNREVIEWED_RUN],
        },
        VerdictRule.UNREVIEWED_DENIED,
        Instruction.REHEARSE,
    ),
    "a removal where a condition decides on all calls": (
        {
            "policy": allows("sqs:CreateQueue", "sns:CreateTopic", **TAGGED),
            "runs": [runs(QUEUE)],
        },
        VerdictRule.OFTEN_DENIED,
        Instruction.REHEARSE,
    ),
    "a narrowing besides an unknown event and a failed call": (
        {
            "policy": allows("sqs:*"),
            "runs": [runs(QUEUE, UNKNOWN_EVENT, FAILED)],
        },
        VerdictRule.ALL_RECORDED,
        Instruction.MERGE,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_doubt_decides_the_instruction(name: str, tmp_path: Path) -> None:
    case, rule, instruction = CASES[name]
    context = run_case(case, tmp_path).context
    assert (context.verdict.rule, context.verdict.instruction) == (rule, instruction)
    text = markdown(first_screen(context))
    if instruction is Instruction.MERGE:
        assert "ill be denied:**" not in text
        assert "would be denied" not in text.partition("\n\n")[0]
    if context.chance.later == 0:
        assert "one run shows nothing" not in text


@pytest.mark.parametrize("name", CASES)
def test_the_parts_of_the_successful_calls_add_up(name: str, tmp_path: Path) -> None:
    context = run_case(CASES[name][0], tmp_path).context
    sentence = calls_remain(context)
    of_all = re.match(r"All (\d+) successful", sentence)
    of_them = re.match(r"Of (\d+) successful calls \([^)]*\), ([^;]*)", sentence)
    assert of_all or of_them
    if of_them:
        parts = re.findall(r"\b(\d+) (?:remain|would|may|not|is|are)", of_them[2])
        assert sum(map(int, parts)) == int(of_them[1]) == context.ledger.calls.succeeded


def test_a_result_without_a_change_says_what_remains_unused(tmp_path: Path) -> None:
    case = {"policy": allows("sqs:CreateQueue", "sns:*"), "runs": [runs(QUEUE)]}
    context = run_case(case, tmp_path).context
    assert not context.proposal.changes
    first = markdown(first_screen(context)).partition("\n\n")[0]
    assert "unused actions remain granted (" in first
    assert "by `unseen-service`" in first
