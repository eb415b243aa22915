"""AWS's own refusals as the judge of the mapping; `bench/oracle.py` prints the same. Skipped
without the samples.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from leastpriv.permissions.event_table import map_event
from leastpriv.permissions.mapping import CallNeeds
from tests.fakes.scripts import load


@pytest.fixture(scope="module")
def oracle() -> ModuleType:
    return load("bench/oracle.py")


def test_what_aws_refuses_is_what_the_mapping_says_but_for_two_explained_cases(
    oracle: ModuleType, shared_folder: Path
) -> None:
    cases = {
        *oracle.of_records(shared_folder / "corpus" / "records"),
        *oracle.of_messages(shared_folder / "corpus" / "refusals.jsonl"),
    }
    other_cases = [case for case in cases if case.verdict == "other"]
    assert len(cases) >= 50
    assert [case for case in other_cases if not oracle.explanation(case)] == []


@pytest.mark.parametrize(
    ("source", "event", "refused", "verdict"),
    [
        ("s3", "HeadObject", "s3:GetObject", "same"),
        ("lambda", "CreateFunction", "lambda:TagResource", "partner"),
        ("lambda", "CreateFunction", "kms:Decrypt", "key"),
        ("lambda", "CreateFunction", "sqs:SendMessage", "other"),
        ("sts", "AssumeRoleWithWebIdentity", "sts:AssumeRoleWithWebIdentity", "other"),
        ("nosuch", "DoIt", "kms:Decrypt", "other"),
    ],
)
def test_the_judge_takes_no_excuse_for_an_answer(
    oracle: ModuleType, source: str, event: str, refused: str, verdict: str
) -> None:
    """Neither "no permission" nor "unmapped" counts as the action that AWS named, and a key is told
    apart.
    """
    mapped = map_event(f"{source}.amazonaws.com", event)
    needs = CallNeeds(mapped.verdict, mapped.prefix)
    actions = {action.action for action in mapped.actions}
    case = oracle.Case(f"{source}.amazonaws.com", event, refused, where="records")
    assert oracle.judged(case, needs, actions).verdict == verdict


def test_the_refused_action_does_not_choose_the_service(oracle: ModuleType) -> None:
    message = (
        "an error occurred when calling the tagresource operation: not authorized to perform:"
        " sqs:tagresource"
    )
    assert oracle._source("TagResource", "sqs:TagResource", message) == ""
    assert oracle._source("PurgeQueue", "sqs:PurgeQueue", message) == "sqs.amazonaws.com"
