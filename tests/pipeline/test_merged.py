"""A proposal that waited for weeks before it was merged: the run after the merge proposes nothing
more.
"""

from __future__ import annotations

import json
import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from leastpriv.config.settings import from_options
from leastpriv.pipeline.context import Target
from leastpriv.pull_request.git_repository import GitRepository
from tests.fakes.deploys import CREATE_QUEUE, ROLE, deploys, write_trail
from tests.fakes.runs import Proposed, run_one
from tests.test_cases import change_words

FILE = "iam/ci.json"
QUEUE = "arn:aws:sqs:eu-west-1:111122223333"
COMMITTED = datetime(2026, 9, 1, tzinfo=UTC)
PROPOSED = datetime(2026, 10, 25, tzinfo=UTC)
MERGED = datetime(2026, 11, 10, tzinfo=UTC)
"""Four deploys lie before the proposal, two more before the merge."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The policy grants another queue than the one that every deploy made, which nobody knows
    how.
    """
    granted = {
        "Effect": "Allow",
        "Action": ["sqs:CreateQueue", "sqs:TagQueue"],
        "Resource": f"{QUEUE}:payments",
    }
    (tmp_path / "iam").mkdir()
    (tmp_path / FILE).write_text(
        json.dumps({"Version": "2012-10-17", "Statement": [granted]}, indent=2)
    )
    write_trail(tmp_path / "trail", deploys([CREATE_QUEUE], times=4))
    for command in (["init", "-q", "-b", "main"], ["add", "iam"], ["commit", "-q", "-m", "policy"]):
        git(tmp_path, *command, at=COMMITTED)
    return tmp_path


def git(folder: Path, *command: str, at: datetime) -> None:
    """Git as a person uses it, at some time."""
    names = {
        f"GIT_{role}_{part}": "kim"
        for role in ("AUTHOR", "COMMITTER")
        for part in ("NAME", "EMAIL")
    }
    environment = {**os.environ, **names, "GIT_COMMITTER_DATE": at.isoformat()}
    subprocess.run(["git", *command], cwd=folder, env=environment, check=True, capture_output=True)


def proposal(folder: Path, now: datetime) -> Proposed:
    """What a run at some time proposes, and puts on the branch."""
    dials = {"minimum-days": "20", "minimum-runs": "3"}
    inputs = {
        "role-arn": ROLE,
        "policy-file": FILE,
        "trails": ("trail",),
        "mode": "pull-request",
        **dials,
    }
    settings = from_options(inputs)
    target = Target(settings, FILE, folder, GitRepository.open(folder))
    return run_one(target, (folder / "trail",), now)


@pytest.mark.parametrize("way", [["--no-ff"], ["--squash"]])
def test_merging_an_addition_removes_no_other_grant(folder: Path, way: list[str]) -> None:
    first = proposal(folder, PROPOSED)
    assert first.published
    assert [change_words(change) for change in first.context.proposal.changes] == [
        f"add sqs:CreateQueue on {QUEUE}:orders"
    ]
    git(folder, "merge", "-q", *way, "-m", "Merge", first.published.branch, at=MERGED)
    if way == ["--squash"]:
        git(folder, "commit", "-q", "-m", "Squashed", at=MERGED)
    write_trail(folder / "trail", deploys([CREATE_QUEUE]))
    second = proposal(folder, MERGED)
    assert [change_words(change) for change in second.context.proposal.changes] == []
    for proposed in (first, second):
        guards = {
            held_back.action: held_back.guard_result.guard
            for held_back in proposed.context.proposal.held_back
        }
        assert guards["sqs:CreateQueue"] == "unexplained-use"
