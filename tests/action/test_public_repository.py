"""The promise to who works in public: what everybody will read of an account is said where it is
put there.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from leastpriv.action.step import action_main
from tests.action.test_step import POLICY_FILE, Job, add_runs
from tests.fakes.deploys import NOW, POLICY
from tests.fakes.github import FakeGitHub

RIGHTS = {
    "metadata": "read",
    "contents": "write",
    "pull_requests": "write",
    "actions": "read",
    "issues": "write",
}


@pytest.fixture
def hub() -> Iterator[FakeGitHub]:
    with FakeGitHub(
        "octo-org/shop", permissions=RIGHTS, files={POLICY_FILE: json.dumps(POLICY, indent=2)}
    ) as fake:
        fake.add_user("kim", "write")
        add_runs(fake)
        yield fake


def warned(job: Job, hub: FakeGitHub, event: str = "schedule", **inputs: str) -> list[str]:
    """The warnings of that title, in a step."""
    environment = job.environment({"github_token": hub.token} | inputs) | {
        "GITHUB_EVENT_NAME": event
    }
    out = io.StringIO()
    action_main(environment, out, io.StringIO(), lambda: NOW)
    begin = "::warning title=Public repository::"
    return [
        line.removeprefix(begin) for line in out.getvalue().splitlines() if line.startswith(begin)
    ]


@pytest.mark.parametrize("private", [True, False])
def test_a_pull_request_in_public_is_warned_about_when_it_is_made(
    tmp_path: Path, hub: FakeGitHub, private: bool
) -> None:
    hub.world.private = private
    job = Job(tmp_path, hub)
    assert len(warned(job, hub, mode="pull-request")) == (0 if private else 1)
    # The second run leaves it as it is and publishes nothing new.
    assert warned(job, hub, mode="pull-request") == []


def test_a_tracking_issue_in_public_is_warned_about(tmp_path: Path, hub: FakeGitHub) -> None:
    hub.world.private = False
    [warning] = warned(Job(tmp_path, hub), hub, mode="check", drift_report="issue")
    assert warning.startswith(
        "This repository is public: everyone can read the ARNs, account IDs and names"
    )
    assert "in the tracking issue" in warning


def test_a_review_in_public_is_warned_about(tmp_path: Path, hub: FakeGitHub) -> None:
    hub.world.private = False
    hub.commit_as(
        "kim",
        "kim/policy",
        {POLICY_FILE: json.dumps({**POLICY, "Statement": POLICY["Statement"][:1]})},
    )
    number = hub.open_pull_as("kim", "kim/policy")
    repository = {"full_name": "octo-org/shop"}
    sides = {"base": hub.head("main"), "head": hub.head("kim/policy")}
    pull = {
        "number": number,
        **{side: {"sha": sha, "repo": repository} for side, sha in sides.items()},
    }
    job = Job(tmp_path, hub, json.dumps({"pull_request": pull}))
    [warning] = warned(job, hub, "pull_request", mode="review")
    assert "in the review" in warning


def test_a_report_in_public_publishes_nothing_and_has_no_warning(
    tmp_path: Path, hub: FakeGitHub
) -> None:
    hub.world.private = False
    assert warned(Job(tmp_path, hub), hub, mode="report") == []
