"""A policy file that is moved keeps its pull request, its declines and its grace period."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.action.test_history import Clock, held_back, removed
from tests.action.test_step import POLICY_FILE, Job, Step
from tests.fakes.deploys import POLICY, usual_deploys, write_trail
from tests.fakes.github import FakeGitHub
from tests.fakes.github.direct import without_sockets

MOVED = "policies/deploy/ci.json"
HEAD = "leastpriv/ci-deploy"
MOVE = f"Move {POLICY_FILE}"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def hub(clock: Clock) -> Iterator[FakeGitHub]:
    clock.now = datetime(2026, 1, 1, 12, tzinfo=UTC)
    files = {POLICY_FILE: json.dumps(POLICY, indent=2)}
    with FakeGitHub("octo-org/shop", files=files, clock=clock) as fake, without_sockets(fake):
        clock.now = datetime(2026, 11, 10, 12, tzinfo=UTC)
        fake.add_user("kim", "write")
        yield fake


@pytest.fixture
def step(tmp_path: Path, hub: FakeGitHub) -> Callable[..., Step]:
    job = Job(tmp_path, hub)
    job.policy.unlink()
    write_trail(job.workspace / "trail", usual_deploys())

    def run(**inputs: str) -> Step:
        step_inputs = {
            "mode": "pull-request",
            "github_token": hub.token,
            "trails": "trail",
            "minimum_days": "30",
            "never_add": "cloudwatch:*",
        }
        return job.step(**{**step_inputs, **inputs})

    return run


def move(hub: FakeGitHub, before: str = POLICY_FILE, after: str = MOVED) -> None:
    """A person moves the policy file on the base."""
    hub.commit_as("kim", "main", {before: None, after: hub.file(before)}, MOVE)


def test_its_open_pull_request_moves_along(step: Callable[..., Step], hub: FakeGitHub) -> None:
    number = step().outputs["pull-request-number"]
    move(hub)
    moved = step(policy_file=MOVED)
    assert moved.outputs["pull-request-operation"] == "updated", moved.log
    assert moved.outputs["pull-request-number"] == number
    assert MOVED in str(hub.pull(int(number)).body)
    assert hub.file(MOVED, HEAD) != hub.file(MOVED)
    assert len(hub.world.pulls()) == 1
    again = step(policy_file=MOVED)
    assert again.outputs["pull-request-operation"] == "none", again.log


def test_a_moved_file_that_a_person_edited_on_the_branch_is_left_alone(
    step: Callable[..., Step], hub: FakeGitHub
) -> None:
    step()
    head = hub.commit_as("kim", HEAD, {POLICY_FILE: "{}"}, "Mine")
    move(hub)
    step_run = step(policy_file=MOVED)
    assert step_run.outputs["pull-request-operation"] == "none", step_run.log
    assert hub.head(HEAD) == head


def test_its_declines_survive_two_moves(step: Callable[..., Step], hub: FakeGitHub) -> None:
    number = int(step().outputs["pull-request-number"])
    hub.close_pull(number, "kim")
    hub.move_branch_as("kim", HEAD, None)
    move(hub)
    again = step(policy_file=MOVED)
    assert "sns:CreateTopic" in held_back(again, "declined"), again.log
    move(hub, MOVED, "iam/deploy.json")
    assert "sns:CreateTopic" in held_back(step(policy_file="iam/deploy.json"), "declined")


def test_a_second_file_of_the_role_keeps_what_was_declined_for_the_role(
    step: Callable[..., Step], hub: FakeGitHub
) -> None:
    number = int(step().outputs["pull-request-number"])
    hub.close_pull(number, "kim")
    hub.move_branch_as("kim", HEAD, None)
    hub.commit_as("kim", "main", {"iam/other.json": hub.file(POLICY_FILE)}, "Copy")
    assert "sns:CreateTopic" in held_back(step(policy_file="iam/other.json"), "declined")


def test_a_recent_grant_keeps_its_grace_period(
    step: Callable[..., Step], hub: FakeGitHub, clock: Clock
) -> None:
    grown = json.loads(json.dumps(POLICY))
    grown["Statement"].append(
        {"Sid": "New", "Effect": "Allow", "Action": "sns:DeleteTopic", "Resource": "*"}
    )
    clock.now = datetime(2026, 11, 12, 12, tzinfo=UTC)
    hub.commit_as("kim", "main", {POLICY_FILE: json.dumps(grown, indent=2)}, "A grant")
    clock.now = datetime(2026, 11, 20, 12, tzinfo=UTC)
    move(hub)
    step_run = step(policy_file=MOVED, grace_days="30")
    assert "sns:DeleteTopic" in held_back(step_run, "grace-period"), step_run.log
    assert "sns:CreateTopic" in removed(step_run)
