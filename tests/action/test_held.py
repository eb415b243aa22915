"""A pull request whose changes are held back only for now stays open, and says which guard and
until when.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from leastpriv.pull_request.lifecycle import HELD_LABEL
from tests.action.test_history import BRANCH, Clock
from tests.action.test_step import POLICY_FILE, Job, Step
from tests.fakes.deploys import FIRST, POLICY, UPDATE, Record, record, usual_deploys, write_trail
from tests.fakes.github import FakeGitHub

HEAD = "leastpriv/ci-deploy"
FALSE_REASON = "matches the evidence"
DAYS = 40


@pytest.fixture
def hub() -> Iterator[FakeGitHub]:
    files = {POLICY_FILE: json.dumps(POLICY, indent=2)}
    with FakeGitHub("octo-org/shop", files=files, clock=Clock()) as fake:
        fake.add_user("kim", "write")
        for deploy in usual_deploys():
            session = deploy["userIdentity"]["arn"].rpartition("/")[2]
            fake.add_run(
                int(session), created_at="2026-01-01T00:00:00Z", updated_at="2026-12-01T00:00:00Z"
            )
        yield fake


def trail(folder: Path, without: range = range(0)) -> str:
    """A trail in which another role makes a call each day, but for the days `without`; its name."""
    another = "arn:aws:iam::111122223333:role/nightly"
    noise = [
        record(UPDATE, FIRST + timedelta(days=day, hours=3), "nightly", another)
        for day in range(DAYS)
        if day not in without
    ]
    deploys = [record for record in usual_deploys() if _day_of(record) not in without]
    write_trail(folder, [*noise, *deploys])
    return folder.name


def _day_of(made: Record) -> int:
    return (datetime.fromisoformat(made["eventTime"]) - FIRST).days


@pytest.fixture
def step(tmp_path: Path, hub: FakeGitHub) -> Callable[..., Step]:
    """Runs the step on a trail without gaps, unless another is named."""
    job = Job(tmp_path, hub)
    job.policy.unlink()
    whole_trail = trail(job.workspace / "whole")
    trail(job.workspace / "three-days-missing", range(22, 25))

    def run(**inputs: str) -> Step:
        step_inputs = {
            "mode": "pull-request",
            "github_token": hub.token,
            "trails": whole_trail,
            "minimum_days": "30",
            "never_add": "cloudwatch:*",
        }
        return job.step(**{**step_inputs, **inputs})

    return run


def comments(hub: FakeGitHub, number: int) -> str:
    return "\n".join(hub.comments(number))


def assert_held(hub: FakeGitHub, step: Step, number: int, *words: str) -> None:
    """The pull request is open as it was, and one comment has the words."""
    pull = hub.pull(number)
    assert step.outputs["pull-request-operation"] == "held", step.log
    assert step.outputs["pull-request-number"] == str(number)
    assert (pull.state, pull.labels) == ("open", ["leastpriv", HELD_LABEL])
    [comment] = hub.comments(number)
    for word in words:
        assert word in comment
    assert FALSE_REASON not in f"{comment} {step.log}"


def opened(hub: FakeGitHub, step: Step) -> int:
    """The number of the new pull request, which a person approves."""
    assert step.outputs["pull-request-operation"] == "created", step.log
    number = int(step.outputs["pull-request-number"])
    hub.review_as("kim", number)
    return number


def assert_goes_on_and_closes(hub: FakeGitHub, step: Callable[..., Step], number: int) -> None:
    """After the hold the pull request continues; when the base has its changes, it is closed."""
    head = hub.head(HEAD)
    after = step()
    assert (after.outputs["pull-request-number"], hub.head(HEAD)) == (str(number), head)
    assert (hub.pull(number).state, hub.pull(number).labels) == ("open", ["leastpriv"])
    assert "follows the evidence again" in comments(hub, number)
    hub.commit_as("kim", "main", {POLICY_FILE: hub.file(POLICY_FILE, HEAD)}, "By hand")
    closed = step()
    assert closed.outputs["pull-request-operation"] == "closed", closed.log
    assert hub.pull(number).state == "closed"
    assert FALSE_REASON in comments(hub, number)


def test_an_evidence_branch_that_github_cannot_read(
    step: Callable[..., Step], hub: FakeGitHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("leastpriv.action.step_run.time.sleep", lambda _: None)
    number = opened(hub, step(evidence_branch=BRANCH))
    head = hub.head(HEAD)
    hub.fail_next("GET", f"/git/ref/heads/{BRANCH}$", 502, times=50)
    failed = step(evidence_branch=BRANCH)
    hub._desk.faults.clear()
    assert_held(hub, failed, number, "`remembered`", "until the usage history can be read")
    assert hub.head(HEAD) == head
    assert_goes_on_and_closes(hub, step, number)


def test_three_days_of_missing_files(step: Callable[..., Step], hub: FakeGitHub) -> None:
    number = opened(hub, step())
    head = hub.head(HEAD)
    step_run = step(trails="three-days-missing")
    assert_held(hub, step_run, number, "`gap-in-scope`", "silence", "until the gap is closed")
    assert_held(hub, step(trails="three-days-missing"), number, "`gap-in-scope`")
    assert hub.head(HEAD) == head
    assert_goes_on_and_closes(hub, step, number)


def test_a_higher_minimum(step: Callable[..., Step], hub: FakeGitHub) -> None:
    number = opened(hub, step())
    # The evidence ends on 2026-11-09 and spans 39 days.
    assert_held(hub, step(minimum_days="60"), number, "`minimum-days`", "until 2026-12-")
    assert_held(hub, step(minimum_runs="50"), number, "`minimum-runs`", "until enough runs")
    assert_goes_on_and_closes(hub, step, number)


def test_a_trail_without_the_call_that_an_addition_rests_on(
    step: Callable[..., Step], hub: FakeGitHub, tmp_path: Path
) -> None:
    """The alarm is denied on day 14; with those days missing nothing shows that it is needed."""
    keeping = {"keep": "sns:* sqs:* lambda:*", "never_add": ""}
    number = opened(hub, step(**keeping))
    assert "cloudwatch:PutMetricAlarm" in hub.file(POLICY_FILE, HEAD).decode()
    workspace = next(tmp_path.rglob("whole")).parent
    gone = trail(workspace / "denial-missing", range(13, 16))
    step_run = step(trails=gone, **keeping)
    assert_held(hub, step_run, number, "`gap-in-scope`")


def test_a_persons_keep_closes_with_that_reason(step: Callable[..., Step], hub: FakeGitHub) -> None:
    number = opened(hub, step())
    closed = step(keep="sns:* sqs:* lambda:*")
    assert closed.outputs["pull-request-operation"] == "closed", closed.log
    assert "`keep`" in comments(hub, number)
    assert FALSE_REASON not in comments(hub, number)


def test_a_hold_does_not_keep_a_pull_request_whose_changes_the_base_has(
    step: Callable[..., Step], hub: FakeGitHub
) -> None:
    number = opened(hub, step())
    hub.commit_as("kim", "main", {POLICY_FILE: hub.file(POLICY_FILE, HEAD)}, "By hand")
    closed = step(trails="three-days-missing")
    assert closed.outputs["pull-request-operation"] == "closed", closed.log
    assert hub.pull(number).state == "closed"


def test_a_held_branch_that_a_person_edited_hears_no_false_reason(
    step: Callable[..., Step], hub: FakeGitHub
) -> None:
    number = opened(hub, step())
    hub.commit_as("kim", HEAD, {"notes.txt": "mine"}, "Mine")
    assert_held(hub, step(trails="three-days-missing"), number, "`gap-in-scope`")
