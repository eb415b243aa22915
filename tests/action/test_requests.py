"""A run in which nothing changed asks GitHub little, however many targets it has."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.action.test_step import Job, Step
from tests.fakes.deploys import CREATE_QUEUE, POLICY, UPDATE, Record, deploys, write_trail
from tests.fakes.github import FakeGitHub
from tests.fakes.github.records import Exchange

CONFIG = ".github/leastpriv.yml"
PROVIDER = "arn:aws:iam::111122223333:oidc-provider/token.actions.githubusercontent.com"


class Clock:
    """The time on GitHub; tests move it."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


class Fleet:
    """Targets of one repository with a policy each, from which the proposals remove actions."""

    def __init__(self, folder: Path, hub: FakeGitHub, size: int) -> None:
        self.hub = hub
        self.roles = [f"arn:aws:iam::111122223333:role/team-{number}" for number in range(size)]
        files: dict[str, str | bytes | None] = {CONFIG: self._config()}
        for number in range(size):
            files[f"iam/team-{number}.json"] = json.dumps(POLICY, indent=2)
        hub.commit_as("kim", "main", files, "Begin")
        self._job = Job(folder, hub)
        self._job.policy.unlink()
        records = [
            record_with_login
            for number, role in enumerate(self.roles)
            for record in deploys([UPDATE, CREATE_QUEUE])
            for record_with_login in with_login(record, role, number)
        ]
        write_trail(self._job.workspace / "cloudtrail", records)

    def _config(self) -> str:
        entries = [
            f"  - role-arn: {role}\n    policy-file: iam/{role.rpartition('/')[2]}.json\n"
            for role in self.roles
        ]
        return "targets:\n" + "".join(entries)

    def run(self, **inputs: str) -> tuple[Step, list[Exchange]]:
        """Runs the step; returns it with its requests."""
        before = len(self.hub.requests)
        step_inputs = {
            "config": CONFIG,
            "role_arn": "",
            "policy_file": "",
            "mode": "pull-request",
            "github_token": self.hub.token,
            "never_add": "cloudwatch:*",
            "minimum_days": "30",
            "trails": "cloudtrail",
        }
        step_run = self._job.step(**{**step_inputs, **inputs})
        assert step_run.code == 0, step_run.log
        return step_run, self.hub.requests[before:]


def with_login(
    record: Record, role: str, number: int, repository: str = "octo-org/shop"
) -> list[Record]:
    """A record of a role, and the login of the base branch by which its run got the keys."""
    name = role.rpartition("/")[2]
    content = json.loads(json.dumps(record).replace("ci-deploy", name))
    session = content["userIdentity"]["arn"].rpartition("/")[2]
    key = f"ASIA{number:06}{session[-10:]}"
    content["userIdentity"]["accessKeyId"] = key
    content["eventID"] = f"{name}-{content['eventName']}-{session}"
    subject = f"repo:{repository}:ref:refs/heads/main"
    login = {
        **content,
        "eventID": f"{name}-login-{session}",
        "eventSource": "sts.amazonaws.com",
        "eventName": "AssumeRoleWithWebIdentity",
        "userIdentity": {
            "type": "WebIdentityUser",
            "userName": subject,
            "identityProvider": PROVIDER,
        },
        "requestParameters": {"roleArn": role, "roleSessionName": session},
        "responseElements": {
            "credentials": {"accessKeyId": key},
            "subjectFromWebIdentityToken": subject,
            "provider": PROVIDER,
            "assumedRoleUser": {"arn": content["userIdentity"]["arn"]},
        },
        "resources": [],
    }
    return [login, content]


@pytest.fixture
def hub() -> Iterator[FakeGitHub]:
    clock = Clock()
    with FakeGitHub("octo-org/shop", files={"README.md": "hello\n"}, clock=clock) as fake:
        fake.add_user("kim", "write")
        yield fake


def shown(requests: list[Exchange]) -> str:
    return "\n".join(
        f"{count} {path}"
        for path, count in Counter(
            f"{request.method} {request.path}" for request in requests
        ).most_common()
    )


def test_an_unchanged_run_asks_once_for_all_targets(tmp_path: Path, hub: FakeGitHub) -> None:
    fleet = Fleet(tmp_path, hub, 4)
    first, _ = fleet.run()
    assert first.outputs["pull-request-operation"] == "created", first.log
    again, requests = fleet.run()
    assert again.outputs["pull-request-operation"] == "none", again.log
    assert [pull.state for pull, _ in hub.world.pulls()] == ["open"] * 4
    assert len(requests) <= 10, shown(requests)
    hub.commit_as("kim", "main", {"README.md": "moved on\n"})
    moved, requests = fleet.run()
    assert moved.outputs["pull-request-operation"] == "none", moved.log
    assert len(requests) <= 10, shown(requests)


def test_an_unchanged_run_with_a_memory_asks_no_more_for_each_target(
    tmp_path: Path, hub: FakeGitHub
) -> None:
    fleet = Fleet(tmp_path, hub, 4)
    fleet.run(evidence_branch="leastpriv-evidence")
    head = hub.head("leastpriv-evidence")
    _, requests = fleet.run(evidence_branch="leastpriv-evidence")
    assert hub.head("leastpriv-evidence") == head
    assert len(requests) <= 14, shown(requests)


def test_nothing_to_change_asks_little_too(tmp_path: Path, hub: FakeGitHub) -> None:
    fleet = Fleet(tmp_path, hub, 4)
    fleet.run()
    for number in range(1, 5):
        hub.merge_pull(number, "kim", delete_branch=True)
    fleet.run()
    run, requests = fleet.run()
    assert run.outputs["has-changes"] == "false", run.log
    assert len(requests) <= 10, shown(requests)


def test_declined_and_held_targets_ask_little_too(tmp_path: Path, hub: FakeGitHub) -> None:
    fleet = Fleet(tmp_path, hub, 4)
    fleet.run()
    for number in (1, 2):
        hub.close_pull(number, "kim")
    minimum = {"minimum_days": "60"}
    fleet.run(**minimum)
    _, requests = fleet.run(**minimum)
    assert [pull.state for pull, _ in hub.world.pulls()] == ["closed", "closed", "open", "open"]
    assert len(requests) <= 12, shown(requests)


def test_an_edit_of_one_branch_is_seen_among_unchanged_ones(
    tmp_path: Path, hub: FakeGitHub
) -> None:
    fleet = Fleet(tmp_path, hub, 4)
    fleet.run()
    head = hub.commit_as("kim", "leastpriv/team-2", {"notes.txt": "mine"}, "Mine")
    trailer = hub.world.git.commit(hub.head("leastpriv/team-3")).message
    hub.commit_as("kim", "leastpriv/team-3", {"notes.txt": "mine"}, trailer)
    fleet.run()
    assert hub.head("leastpriv/team-2") == head
    labels = [sorted(pull.labels) for pull, _ in hub.world.pulls()]
    usual, edited = ["leastpriv"], ["leastpriv", "leastpriv: edited"]
    assert labels == [usual, usual, edited, edited]


def test_a_server_that_lacks_a_field_of_the_snapshot_is_asked_piece_by_piece(
    tmp_path: Path, hub: FakeGitHub
) -> None:
    fleet = Fleet(tmp_path, hub, 2)
    fleet.run()
    error = {"errors": [{"message": "Field 'file' doesn't exist on type 'Commit'"}]}
    hub.fail_next("POST", "/graphql$", 200, body=error)
    again, _ = fleet.run()
    assert again.outputs["pull-request-operation"] == "none", again.log
    assert len(hub.world.pulls()) == 2


@pytest.mark.slow
def test_an_unchanged_run_of_a_hundred_targets_asks_thirty_times(
    tmp_path: Path, hub: FakeGitHub
) -> None:
    fleet = Fleet(tmp_path, hub, 100)
    fleet.run()
    hub.commit_as("kim", "main", {"README.md": "moved on\n"})
    again, requests = fleet.run()
    assert again.outputs["pull-request-operation"] == "none", again.log
    assert len(requests) <= 30, shown(requests)
