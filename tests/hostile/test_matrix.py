"""The promise of untrusted text: whatever a name holds, it comes out by every way as text, and is never a pattern."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.fakes.github import FakeGitHub
from tests.hostile.deploy import POLICY_FILE, RIGHTS, Put, Stage, policy
from tests.hostile.matrix import WAYS, reached, widened
from tests.hostile.names import FIXED, tagged

BATCH = 50
"""Names of one run: of more, the pages would show only a part."""
RUNS = ("proposed", "answered", "reviewed", "checked")


ADDED = [
    "iam:PassRole",
    "lambda:CreateFunction",
    "s3:PutObject",
    "sqs:CreateQueue",
    "sqs:TagQueue",
    "ssm:PutParameter",
    "sts:AssumeRole",
]


def hub_for(names: Sequence[str]) -> FakeGitHub:
    return FakeGitHub("octo-org/shop", permissions=RIGHTS, files={POLICY_FILE: json.dumps(policy(names), indent=2)})


@pytest.fixture(scope="module")
def fixed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Put]:
    """The pull request for all names of the fixed list at once."""
    with hub_for(FIXED) as hub:
        hub.add_user("kim", "write")
        yield Stage(tmp_path_factory.mktemp("fixed"), FIXED, hub).proposed()


@pytest.mark.parametrize("way", WAYS)
def test_no_name_of_the_list_does_anything_by_any_way_out_of_a_pull_request(fixed: Put, way: str) -> None:
    assert fixed.code == 0
    assert fixed.outputs["pull-request-operation"] == "created"
    assert WAYS[way](fixed) == []


def test_no_name_in_a_refusal_makes_it_one_that_a_grant_could_mend(fixed: Put) -> None:
    """All those of `sns:Publish` are a service control policy's, whatever the topic's name says before that."""
    assert json.loads(fixed.outputs["added-actions"]) == ADDED


def test_no_name_becomes_a_wildcard_or_a_variable(fixed: Put) -> None:
    assert widened(fixed, FIXED) == []


@pytest.mark.slow
@pytest.mark.parametrize("number", range(1_000 // BATCH))
def test_a_thousand_names_do_nothing_by_any_way_out_of_any_mode(tmp_path: Path, number: int) -> None:
    names, tags = tagged(1_000)
    mine, own = (each[number * BATCH : (number + 1) * BATCH] for each in (names, tags))
    with hub_for(mine) as hub:
        hub.add_user("kim", "write")
        stage = Stage(tmp_path, mine, hub)
        for run in RUNS:
            put: Put = getattr(stage, run)()
            assert put.code in ((0, 3) if run == "reviewed" else (0,)), put.log[-2_000:]
            assert {way: acts for way, check in WAYS.items() if (acts := check(put))} == {}, run
            if run == "proposed":
                assert widened(put, mine) == []
                met = reached(put, own)
                assert met["JSON files"] > BATCH * 0.9
                assert met["Markdown"] > BATCH * 0.3
                assert met["page"] > BATCH * 0.5
