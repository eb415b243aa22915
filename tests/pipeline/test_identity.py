"""A target keeps its history and its pull request when its role, policy file or branch changes its
name, and nothing that no longer has a target remains open.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from leastpriv.config.inputs import inputs
from leastpriv.config.settings import GivenInputs, Settings, from_options
from leastpriv.config.targets_file import read_configuration, run_settings
from leastpriv.errors import InputError
from leastpriv.evidence.history_file import target_of
from leastpriv.models import FormerNames, TargetName
from leastpriv.pipeline.context import (
    RunContext,
    Target,
    TargetResult,
    TargetsFile,
    with_targets_file,
)
from leastpriv.pipeline.propose import propose
from leastpriv.pipeline.saved_history import HistoryFile
from leastpriv.pull_request.git_repository import TRAILER
from leastpriv.pull_request.github.client import Connection
from leastpriv.pull_request.github.repository import GitHubRepository
from leastpriv.pull_request.lifecycle import TargetMark, target_mark
from leastpriv.pull_request.models import FolderStateStore
from tests.fakes.deploys import POLICY, ROLE, usual_deploys, write_trail
from tests.fakes.github import FakeGitHub
from tests.fakes.github.direct import NoDeadline, without_sockets

RENAMED = ROLE.replace("ci-deploy", "release")
FILE = "iam/ci-deploy.json"
MOVED = "policies/shop/ci.json"
EVIDENCE = "leastpriv-evidence"
CONFIG = ".github/leastpriv.yml"
DECLINED = "sns:CreateTopic"


class Clock:
    """The time on GitHub."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 20, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


class Repository:
    """A repository with the policy of one role, and the product that runs on it."""

    def __init__(self, folder: Path, hub: FakeGitHub, clock: Clock) -> None:
        self.hub = hub
        self.clock = clock
        self.workflow = ""
        self.role = ROLE
        self.file = FILE
        self.branch = ""
        self.has_memory = False
        self._trail = folder / "trail"
        self._roles = ["ci-deploy"]
        self.add_role("release")

    def propose(self, **options: str) -> TargetResult:
        """Runs the product as a new process does."""
        github = self._connected()
        target = self._target(self._settings(options), github)
        run = RunContext(
            target.settings, (target,), self.clock.now, (self._trail,), workflow=self.workflow
        )
        return propose(run).targets[0]

    def propose_by(
        self, config: str, *, path: str = CONFIG, is_on_base: bool = True, **options: str
    ) -> tuple[TargetResult, ...]:
        """Runs the product with a targets file of the base branch, or of another one."""
        if is_on_base:
            self.hub.commit_as("kim", "main", {path: config}, "Targets")
        github = self._connected()
        values: dict[str, Any] = {**self._inputs(options), "config": path}
        labels = {action_input.name: f"The input {action_input.name}" for action_input in inputs()}
        arrived = GivenInputs(values, labels)
        settings = run_settings(arrived)
        file = TargetsFile(
            configuration=read_configuration(config.encode(), path),
            raw=config.encode(),
            given=arrived,
            mode=settings.mode,
            target_of=lambda settings, _: self._target(settings, github),
            repository=github,
        )
        run = RunContext(settings, (), Clock().now, (self._trail,))
        return propose(with_targets_file(run, file, file.configuration)).targets

    @property
    def entry(self) -> str:
        """A targets file with the present names of the target."""
        branch = f"    branch: {self.branch}\n" if self.branch else ""
        return f"targets:\n  - role-arn: {self.role}\n    policy-file: {self.file}\n{branch}"

    def _inputs(self, options: dict[str, str]) -> dict[str, Any]:
        return {
            "mode": "pull-request",
            "trails": (str(self._trail),),
            "aws-regions": ("eu-west-1",),
            "minimum-days": "30",
            "never-add": "cloudwatch:*",
            "labels": "leastpriv",
            **options,
        }

    def _settings(self, options: dict[str, str]) -> Settings:
        target = {"role-arn": self.role, "policy-file": self.file, "branch": self.branch}
        return from_options({**self._inputs(options), **target})

    def _target(self, settings: Settings, github: GitHubRepository) -> Target:
        store = None
        if self.has_memory:
            file = HistoryFile.of(settings.principal)
            store = github.state_store(EVIDENCE, file.path, "Remember", file.longest)
        return Target(settings, settings.policy.path, repository=github, store=store)

    def _connected(self) -> GitHubRepository:
        connection = Connection.open(
            self.hub.token,
            "octo-org/shop",
            api_url=self.hub.url,
            web_url="https://github.com",
            deadline=NoDeadline(),
        )
        return GitHubRepository(connection)

    def move(self, after: str = MOVED, *, content: bytes | None = None) -> None:
        """A person moves the policy file, or writes it again under another name."""
        files = {self.file: None, after: content or self.hub.file(self.file)}
        self.hub.commit_as("kim", "main", files, f"Move {self.file}")
        self.file = after

    def add_role(self, name: str) -> None:
        """A further role makes the same calls."""
        self._roles.append(name)
        text = json.dumps(usual_deploys())
        records: list[Any] = []
        for role in self._roles:
            renamed = text.replace("ci-deploy", role)
            records += json.loads(renamed.replace('"eventID": "', f'"eventID": "{role}'))
        write_trail(self._trail, records)

    def rename_role(self) -> None:
        """The role has another name from now on, and deploys as before."""
        self.role = RENAMED
        self.clock.now += timedelta(days=60)
        later: list[dict[str, Any]] = []
        for record in json.loads(json.dumps(usual_deploys()).replace("ci-deploy", "release")):
            time = datetime.fromisoformat(record["eventTime"]) + timedelta(days=60)
            later.append({**record, "eventTime": f"{time:%Y-%m-%dT%H:%M:%SZ}"})
        self._trail = self._trail.with_name("later")
        write_trail(self._trail, later)

    def decline(self, number: int) -> None:
        """A person closes a pull request and deletes its branch."""
        head = self.hub.world.pull(number)[1].head
        self.hub.close_pull(number, "kim")
        self.hub.move_branch_as("kim", head, None)


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Repository]:
    files = {FILE: json.dumps(POLICY, indent=2)}
    clock = Clock()
    with FakeGitHub("octo-org/shop", files=files, clock=clock) as hub, without_sockets(hub):
        hub.add_user("kim", "write")
        yield Repository(tmp_path, hub, clock)


def number_of(result: TargetResult) -> int:
    """The number of the pull request that a run made or found."""
    assert result.published is not None
    assert not result.published.failure, result.published.failure
    return result.published.number


def declined(result: TargetResult) -> list[str]:
    """Entries that the guard `declined` holds back."""
    assert result.context is not None
    return [held_back.action for held_back in result.context.proposal.held_back_as("declined")]


def open_pulls(hub: FakeGitHub) -> list[int]:
    return [issue.number for issue, _ in hub.world.pulls() if issue.state == "open"]


def _cases(*quick: tuple[str, bool], slow: Sequence[tuple[str, bool]]) -> list[Any]:
    """Cases of a change of names, with or without a usage history."""
    return [
        *(pytest.param(*case) for case in quick),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in slow),
    ]


@pytest.mark.parametrize(
    ("change", "has_memory"),
    _cases(
        ("role", False),
        ("role and file", True),
        slow=[
            ("role", True),
            ("branch", False),
            ("branch", True),
            ("file and branch", False),
            ("role and file", False),
        ],
    ),
)
def test_an_open_pull_request_of_an_earlier_name_is_closed_with_a_link(
    repository: Repository, change: str, has_memory: bool
) -> None:
    repository.has_memory = has_memory

    def propose() -> int:
        if "role" in change:
            return number_of(repository.propose_by(repository.entry)[0])
        return number_of(repository.propose())

    first = propose()
    if "role" in change:
        repository.role = RENAMED
    if "file" in change:
        repository.move()
    if "branch" in change:
        repository.branch = "least/privilege"
    second = propose()
    assert open_pulls(repository.hub) == [second]
    [reason] = repository.hub.comments(first)
    assert f"#{second}" in reason
    assert " now. " in reason
    assert "matches the evidence" not in reason
    assert (propose(), open_pulls(repository.hub)) == (second, [second])


@pytest.mark.parametrize(
    ("change", "has_memory"),
    _cases(
        ("role", True),
        ("branch", False),
        slow=[
            ("role", False),
            ("branch", True),
            ("file", False),
            ("file", True),
            ("role and file", False),
            ("role and file", True),
        ],
    ),
)
def test_declines_follow_the_target(repository: Repository, change: str, has_memory: bool) -> None:
    repository.has_memory = has_memory
    repository.decline(number_of(repository.propose()))
    if "role" in change:
        repository.rename_role()
    if "file" in change:
        repository.move()
    if change == "branch":
        repository.branch = "least/privilege"
    for _ in range(2):
        proposed = repository.propose()
        assert DECLINED in declined(proposed)
        assert number_of(proposed) in (0, 1)


@pytest.mark.parametrize("has_memory", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_decline_is_not_one_of_another_role_with_the_same_file(
    repository: Repository, has_memory: bool
) -> None:
    repository.has_memory = has_memory
    repository.decline(number_of(repository.propose()))
    repository.role = RENAMED
    assert declined(repository.propose()) == []
    repository.role = ROLE
    assert DECLINED in declined(repository.propose())


WORKFLOW = ".github/workflows/least-privilege.yml"


@pytest.mark.parametrize(
    ("before", "after", "is_closed"),
    [
        (f"role-arn: {ROLE}", f"role-arn: {RENAMED}", True),
        (
            "role-arn: arn:aws:iam::${{ vars.ACCOUNT }}:role/ci-deploy",
            "role-arn: arn:aws:iam::${{ vars.ACCOUNT }}:role/release",
            True,
        ),
        (f"role-arn: {ROLE}", f"role-arn: {RENAMED}\n# and {ROLE}", False),
        (f"role-arn: {ROLE}\n# and {RENAMED}", f"role-arn: {RENAMED}", False),
        (f"role-arn: {ROLE}", "role-arn: ${{ vars.ROLE }}", False),
        ("role-arn: ${{ vars.ROLE }}", f"role-arn: {RENAMED}", False),
        (f"role-arn: {ROLE}-2", f"role-arn: {RENAMED}", False),
    ],
)
def test_without_a_config_the_workflow_shows_that_a_role_has_another_name(
    repository: Repository, before: str, after: str, is_closed: bool
) -> None:
    repository.workflow = f"octo-org/shop/{WORKFLOW}"
    repository.hub.commit_as("kim", "main", {WORKFLOW: f"{before}\n".encode()}, "Workflow")
    first = number_of(repository.propose())
    repository.rename_role()
    repository.hub.commit_as("kim", "main", {WORKFLOW: f"{after}\n".encode()}, "Rename")
    second = number_of(repository.propose())
    assert open_pulls(repository.hub) == ([second] if is_closed else [first, second])
    comments = repository.hub.comments(first)
    assert [f"#{second}" in comment for comment in comments] == ([True] if is_closed else [])


@pytest.mark.parametrize(
    ("other", "is_closed"),
    [(f"role-to-assume: {RENAMED}", True), (f"role-arn: {ROLE}", False)],
)
def test_a_role_that_another_workflow_has_is_not_renamed(
    repository: Repository, other: str, is_closed: bool
) -> None:
    repository.workflow = f"octo-org/shop/{WORKFLOW}"
    before = {WORKFLOW: f"role-arn: {ROLE}\n".encode()}
    repository.hub.commit_as("kim", "main", before, "Workflow")
    first = number_of(repository.propose())
    repository.rename_role()
    after = {
        WORKFLOW: f"role-arn: {RENAMED}\n".encode(),
        ".github/workflows/other.yml": f"{other}\n".encode(),
    }
    repository.hub.commit_as("kim", "main", after, "Split")
    second = number_of(repository.propose())
    assert open_pulls(repository.hub) == ([second] if is_closed else [first, second])


def test_declines_are_kept_when_a_person_rewrites_the_statement(repository: Repository) -> None:
    repository.decline(number_of(repository.propose()))
    topic = POLICY["Statement"][2]
    rewritten = {
        **POLICY,
        "Statement": [
            {**topic, "Sid": "Renamed", "Action": ["sns:CreateTopic", "sns:DeleteTopic"]},
            *POLICY["Statement"][:2],
        ],
    }
    repository.hub.commit_as("kim", "main", {FILE: json.dumps(rewritten)}, "Rewrite")
    proposed = repository.propose()
    assert DECLINED in declined(proposed)
    assert "sns:DeleteTopic" not in declined(proposed)


def test_the_use_that_a_renamed_role_made_is_remembered(repository: Repository) -> None:
    repository.has_memory = True
    repository.propose(mode="report")
    path = "111122223333/role/ci-deploy.json"
    memory = json.loads(repository.hub.file(path, EVIDENCE))
    memory["used"]["sqs:PurgeQueue"] = {"*": {"first": "2026-01-02", "last": "2026-01-02"}}
    store_text(repository, path, memory)
    repository.rename_role()
    proposed = repository.propose()
    assert proposed.context is not None
    remembered = [
        held_back.action for held_back in proposed.context.proposal.held_back_as("remembered")
    ]
    assert "sqs:PurgeQueue" in remembered
    renamed = json.loads(repository.hub.file("111122223333/role/release.json", EVIDENCE))
    assert "sqs:PurgeQueue" in renamed["used"]
    assert renamed["target"]["id"] == memory["target"]["id"]


def store_text(repository: Repository, path: str, memory: dict[str, Any]) -> None:
    """Writes a usage history as the product does."""
    github = repository._connected()
    store = github.state_store(EVIDENCE, path, "Remember", 1_000_000)
    store.update(lambda _: json.dumps(memory).encode())


FORMERLY = f"""
targets:
  - role-arn: {RENAMED}
    policy-file: {MOVED}
    formerly:
      role-arn: {ROLE}
      policy-file: {FILE}
      branch: old/branch
"""


def test_the_config_names_earlier_roles_files_and_branches(repository: Repository) -> None:
    repository.branch = "old/branch"
    repository.decline(number_of(repository.propose()))
    # The new file has little of the old one: git shows no move.
    grown = {**POLICY, "Statement": [*POLICY["Statement"], *_further(40)]}
    repository.move(content=json.dumps(grown).encode())
    [proposed] = repository.propose_by(FORMERLY)
    assert DECLINED in declined(proposed)


def _further(count: int) -> list[dict[str, object]]:
    return [
        {
            "Sid": f"More{number}",
            "Effect": "Allow",
            "Action": "sqs:CreateQueue",
            "Resource": f"arn:aws:sqs:eu-west-1:111122223333:more-{number}",
        }
        for number in range(count)
    ]


def test_a_pull_request_whose_target_left_the_config_is_closed(repository: Repository) -> None:
    other_role = "arn:aws:iam::111122223333:role/release"
    policy = json.dumps(POLICY)
    repository.hub.commit_as("kim", "main", {"iam/release.json": policy}, "Second policy")
    entry = "  - role-arn: {}\n    policy-file: {}\n"
    first, second = entry.format(ROLE, FILE), entry.format(other_role, "iam/release.json")
    proposals = repository.propose_by(f"targets:\n{first}{second}")
    numbers = [number_of(proposal) for proposal in proposals]
    assert sorted(open_pulls(repository.hub)) == sorted(numbers)
    repository.propose_by(f"targets:\n{first}")
    assert open_pulls(repository.hub) == [numbers[0]]
    [reason] = repository.hub.comments(numbers[1])
    assert "no target of" in reason


def test_the_pull_request_of_a_group_that_left_the_config_is_closed(
    repository: Repository,
) -> None:
    entry = f"targets:\n  - role-arn: {ROLE}\n    policy-file: {FILE}\n"
    [grouped] = repository.propose_by(f"{entry}    group: shop\n")
    first = number_of(grouped)
    [single] = repository.propose_by(entry)
    assert open_pulls(repository.hub) == [number_of(single)] != [first]
    [reason] = repository.hub.comments(first)
    assert "the group `shop`" in reason


def test_a_run_of_one_target_closes_no_pull_request_of_another(repository: Repository) -> None:
    repository.hub.commit_as("kim", "main", {"iam/release.json": json.dumps(POLICY)}, "Second")
    first = number_of(repository.propose())
    repository.role, repository.file = RENAMED, "iam/release.json"
    second = number_of(repository.propose())
    repository.role, repository.file = ROLE, FILE
    repository.propose()
    assert open_pulls(repository.hub) == [first, second]


def test_a_person_s_commits_on_an_orphan_are_left(repository: Repository) -> None:
    first = number_of(repository.propose())
    head = repository.hub.commit_as("kim", "leastpriv/ci-deploy", {"notes.txt": "mine"}, "Mine")
    repository.branch = "least/privilege"
    second = number_of(repository.propose())
    assert open_pulls(repository.hub) == [first, second]
    assert repository.hub.head("leastpriv/ci-deploy") == head
    [comment] = repository.hub.comments(first)
    assert comment.startswith("This is no longer updated, since")
    assert f"#{second}" in comment


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("formerly: iam/old.json", "formerly is 'iam/old.json'"),
        ("formerly: {file: iam/old.json}", "unknown key 'file'"),
        ("formerly: {role-arn: old}", "formerly: role-arn"),
        ("formerly: {branch: 'a b'}", "formerly: branch is 'a b'"),
        ("formerly: {policy-file: [1]}", "formerly: policy-file is [1]"),
    ],
)
def test_another_form_of_earlier_names_is_bad_input(written: str, words: str) -> None:
    text = f"targets:\n  - role-arn: {ROLE}\n    policy-file: {FILE}\n    {written}\n"
    with pytest.raises(Exception, match="formerly") as error:
        read_configuration(text.encode(), CONFIG)
    assert words in str(error.value)


EVERY_ROLE = f"""
targets:
  - role-arn: {ROLE.replace("ci-deploy", "*")}
    policy-file: iam/{{name}}.json
    formerly: """


@pytest.mark.parametrize(
    "names", [f"{{role-arn: '{ROLE}'}}", "{branch: old/branch}", "{policy-file: iam/old.json}"]
)
def test_an_earlier_name_of_a_pattern_is_of_each_role(names: str) -> None:
    with pytest.raises(InputError, match=r"write \{name\} in it"):
        read_configuration(f"{EVERY_ROLE}{names}\n".encode(), CONFIG)


def test_the_earlier_names_of_a_pattern_have_the_role_s_name() -> None:
    former = ROLE.replace("ci-deploy", "old-{name}")
    names = f"{{role-arn: '{former}', branch: 'old/{{name}}', policy-file: 'old/{{name}}.json'}}"
    [entry] = read_configuration(f"{EVERY_ROLE}{names}\n".encode(), CONFIG).entries
    assert entry.former_names(RENAMED) == FormerNames(
        roles=(ROLE.replace("ci-deploy", "old-release"),),
        files=("old/release.json",),
        branches=("old/release",),
    )


@pytest.mark.parametrize("has_memory", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_two_jobs_may_have_two_roles_and_one_policy_file(
    repository: Repository, has_memory: bool
) -> None:
    repository.has_memory = has_memory
    first = number_of(repository.propose())
    repository.role = RENAMED
    second = number_of(repository.propose())
    repository.role = ROLE
    repository.propose()
    assert open_pulls(repository.hub) == [first, second]
    assert repository.hub.comments(first) == repository.hub.comments(second) == []


def test_a_first_draft_is_of_a_second_policy_file_of_its_role(repository: Repository) -> None:
    first = number_of(repository.propose())
    repository.file, repository.branch = "iam/second.json", "leastpriv/second"
    second = number_of(repository.propose())
    repository.file, repository.branch = FILE, ""
    repository.propose()
    assert open_pulls(repository.hub) == [first, second]


def test_two_configs_may_have_one_policy_file(repository: Repository) -> None:
    paths = (".github/dev.yml", ".github/prod.yml")
    dev = repository.entry
    [first] = repository.propose_by(dev, path=paths[0])
    repository.role = RENAMED
    [second] = repository.propose_by(repository.entry, path=paths[1])
    repository.propose_by(dev, path=paths[0])
    assert open_pulls(repository.hub) == [number_of(first), number_of(second)]


def test_a_pull_request_is_left_until_its_successor_is_there(repository: Repository) -> None:
    first = number_of(repository.propose())
    repository.branch = "least/privilege"
    repository.propose(**{"minimum-days": "3000"})
    assert open_pulls(repository.hub) == [first]
    [comment] = repository.hub.comments(first)
    assert comment.startswith("**Held for now.**")
    repository.hub.forbid_pull_request_creation()
    repository.propose()
    assert open_pulls(repository.hub) == [first]


def test_a_pull_request_of_an_earlier_name_is_closed_where_no_change_is_left(
    repository: Repository,
) -> None:
    first = number_of(repository.propose_by(repository.entry)[0])
    proposed = repository.hub.file(FILE, "leastpriv/ci-deploy")
    repository.hub.commit_as("kim", "main", {FILE: proposed}, "By hand")
    repository.role = RENAMED
    [proposal_of_entry] = repository.propose_by(repository.entry)
    assert not proposal_of_entry.has_changes
    assert open_pulls(repository.hub) == []
    [reason] = repository.hub.comments(first)
    assert "No change is left." in reason


def test_a_pull_request_of_an_earlier_name_waits_with_its_successor(
    repository: Repository,
) -> None:
    first = number_of(repository.propose_by(repository.entry)[0])
    repository.add_role("nightly")
    unused = {
        "Sid": "Unused",
        "Effect": "Allow",
        "Action": ["sqs:PurgeQueue", "sqs:AddPermission", "sqs:RemovePermission"],
        "Resource": "arn:aws:sqs:eu-west-1:111122223333:old",
    }
    larger = {**POLICY, "Statement": [*POLICY["Statement"], unused]}
    repository.hub.commit_as("kim", "main", {"iam/nightly.json": json.dumps(larger)}, "Second")
    repository.role = RENAMED
    second = f"  - role-arn: {ROLE.replace('ci-deploy', 'nightly')}\n"
    targets = f"{repository.entry}{second}    policy-file: iam/nightly.json\n"

    def propose() -> list[int]:
        proposals = repository.propose_by(targets, **{"max-pull-requests": "1"})
        return [number_of(proposal) for proposal in proposals]

    [waiting, nightly] = propose()
    assert (waiting, open_pulls(repository.hub)) == (0, [first, nightly])
    assert repository.hub.comments(first) == []
    [successor, _] = propose()
    assert open_pulls(repository.hub) == [nightly, successor]


@pytest.mark.parametrize("listed", ["earlier", "present"])
def test_nothing_is_gone_while_a_target_fails(repository: Repository, listed: str) -> None:
    [first] = repository.propose_by(repository.entry)
    repository.hub.commit_as("kim", "main", {FILE: None, MOVED: "{"}, "Break it")
    repository.role, repository.file = RENAMED, MOVED
    names = f"    formerly: {{role-arn: '{ROLE}', policy-file: {FILE}}}\n"
    repository.propose_by(f"{repository.entry}{names if listed == 'earlier' else ''}")
    assert open_pulls(repository.hub) == [number_of(first)]


def test_a_config_of_another_branch_closes_nothing(repository: Repository) -> None:
    repository.hub.commit_as("kim", "main", {"iam/release.json": json.dumps(POLICY)}, "Second")
    second = f"  - role-arn: {RENAMED}\n    policy-file: iam/release.json\n"
    proposals = repository.propose_by(f"{repository.entry}{second}")
    repository.propose_by(repository.entry, is_on_base=False)
    assert open_pulls(repository.hub) == [number_of(proposal) for proposal in proposals]


def test_a_pull_request_that_cannot_be_closed_blocks_no_other(repository: Repository) -> None:
    numbers = []
    for branch in ("one/branch", "other/branch", "least/privilege"):
        repository.branch = branch
        if branch == "other/branch":
            repository.hub.fail_next("PATCH", "/pulls/1$", 422, times=20)
        if branch == "least/privilege":
            long = repository.hub.world.pull(numbers[1])[0].body or ""
            repository.hub.edit_body_as("kim", numbers[1], long.ljust(65_536, "x"))
        numbers.append(number_of(repository.propose()))
    assert open_pulls(repository.hub) == [numbers[0], numbers[2]]
    assert repository.hub.comments(numbers[0]) == []
    assert "leastpriv:closed" in (repository.hub.world.pull(numbers[1])[0].body or "")


def test_the_marker_in_a_pull_request_of_another_workflow_is_not_believed(
    repository: Repository,
) -> None:
    first = number_of(repository.propose())
    body = repository.hub.world.pull(first)[0].body or ""
    repository.hub.add_user("github-actions[bot]", "write")
    for number, message in enumerate(("Sync", f"Sync\n\n{TRAILER}: {'0' * 32}")):
        branch = f"vendor/sync-{number}"
        repository.hub.commit_as("github-actions[bot]", branch, {"x.txt": "1"}, message)
        pull = repository.hub.open_pull_as("github-actions[bot]", branch, "main", "Sync", body)
        repository.hub.label_as("kim", pull, "leastpriv")
    repository.propose()
    assert len(open_pulls(repository.hub)) == 3
    assert repository.hub.comments(first + 1) == repository.hub.comments(first + 2) == []


def test_branches_with_any_names_are_read_back_from_a_marker() -> None:
    name = TargetName(id="0123abcd", role=ROLE, file=FILE)
    mark = TargetMark(name, branches=("a,b", "100%2C", "least/privilege"))
    assert target_mark(mark.marker) == mark


def test_other_things_than_files_in_the_folder_of_histories_are_left_out(tmp_path: Path) -> None:
    store = FolderStateStore(tmp_path, "own.json", 1_000)
    (tmp_path / "other.json").write_text("{}")
    (tmp_path / "folder.json").mkdir()
    os.mkfifo(tmp_path / "pipe.json")
    assert list(store.others()) == [b"{}"]


def test_a_history_without_a_principal_names_no_target() -> None:
    target = {"id": "0123abcd", "file": FILE}
    for principal in (5, None, [ROLE]):
        raw = json.dumps({"leastpriv-memory": 1, "principal": principal, "target": target})
        assert target_of(raw.encode()) is None
