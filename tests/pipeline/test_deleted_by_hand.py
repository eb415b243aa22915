"""An addition that a person deletes on the base branch after its merge is declined by that commit,
until a later call needs it; in a clone, git alone shows this and what a person granted again.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from leastpriv.pull_request.github import branches
from leastpriv.pull_request.lifecycle import RECONSIDER_LABEL
from tests.fakes.deploys import FIRST, REFUSED, deploys, usual_deploys, write_trail
from tests.pipeline.test_hand_edits import ADDS, ALARM, added, grant, refused, statements
from tests.pipeline.test_identity import FILE, Repository, number_of
from tests.pipeline.test_kept_in_merged import commit, held, merge, quick_repository
from tests.pipeline.test_reverts_in_git import BRANCH, MERGES, NOW, Clone

DENIED = deploys([REFUSED], first=FIRST + timedelta(days=20), times=1, number=40)
REMOVED = "sns:CreateTopic"


def trail_with(folder: Path, *later: datetime) -> None:
    """Writes the usual deploys, a denied alarm, and further denials at some times."""
    denials: list[Any] = []
    for number, first in enumerate(later, start=50):
        denials += deploys([REFUSED], first=first, times=1, number=number)
    write_trail(folder, [*usual_deploys(), *DENIED, *denials])


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Repository]:
    with quick_repository(tmp_path) as started:
        trail_with(tmp_path / "trail")
        yield started


def without_alarm(repository: Repository, branch: str = "main") -> list[Any]:
    remaining = [
        statement
        for statement in statements(repository, branch)
        if ALARM not in str(statement["Action"])
    ]
    assert remaining != statements(repository, branch)
    return remaining


def merged_alarm(repository: Repository) -> int:
    """A person merges the addition of an alarm a day before the present time."""
    number = number_of(repository.propose(**ADDS))
    merge(repository, number)
    repository.clock.now += timedelta(days=1)
    return number


@pytest.mark.parametrize("has_memory", [False, True], ids=["no-memory", "memory"])
def test_a_merged_addition_that_a_person_deletes_is_declined(
    repository: Repository, has_memory: bool
) -> None:
    repository.has_memory = has_memory
    number = merged_alarm(repository)
    commit(repository, without_alarm(repository))
    head = repository.hub.head("main")
    for _ in range(2):
        proposed = repository.propose(**ADDS)
        assert added(proposed) == set()
        reason = refused(proposed)[ALARM]
        assert head[:7] in reason
        assert f"#{number}" in reason
        repository.clock.now += timedelta(days=1)


def test_it_is_declined_after_the_file_moved(repository: Repository) -> None:
    merged_alarm(repository)
    commit(repository, without_alarm(repository))
    repository.clock.now += timedelta(hours=1)
    repository.move()
    assert ALARM in refused(repository.propose(**ADDS))


@pytest.mark.parametrize("method", ["merge", "squash"])
def test_it_is_declined_by_the_merge_of_a_persons_pull_request(
    repository: Repository, method: str
) -> None:
    merged_alarm(repository)
    repository.hub.commit_as("kim", "without", {"README": "Without it"}, "Begin")
    commit(repository, without_alarm(repository), "without")
    number = repository.hub.open_pull_as("kim", "without")
    repository.hub.merge_pull(number, "kim", method)
    assert ALARM in refused(repository.propose(**ADDS))


@pytest.mark.parametrize("method", ["merge", "squash"])
def test_a_branch_from_before_the_addition_hides_no_deletion(
    repository: Repository, method: str
) -> None:
    repository.hub.commit_as("kim", "old", {"README": "Old"}, "Begin")
    first, *further_statements = statements(repository, "old")
    commit(repository, [{**first, "Sid": "Renamed"}, *further_statements], "old")
    merged_alarm(repository)
    commit(repository, without_alarm(repository))
    number = repository.hub.open_pull_as("kim", "old")
    repository.hub.merge_pull(number, "kim", method)
    assert ALARM in refused(repository.propose(**ADDS))


def test_a_denial_after_the_deletion_proposes_it_again(
    repository: Repository, tmp_path: Path
) -> None:
    merged_alarm(repository)
    commit(repository, without_alarm(repository))
    trail_with(tmp_path / "trail", repository.clock.now + timedelta(hours=2))
    repository.clock.now += timedelta(days=1)
    proposed = repository.propose(**ADDS)
    assert added(proposed) == {ALARM}
    assert proposed.content is not None
    assert "needed since" in proposed.content.body
    # Who merges and deletes it again answers again.
    merge(repository, number_of(proposed))
    commit(repository, without_alarm(repository))
    assert ALARM in refused(repository.propose(**ADDS))


def test_a_line_that_moves_to_another_file_is_not_declined(repository: Repository) -> None:
    merged_alarm(repository)
    policy = json.loads(repository.hub.file(FILE))
    text = json.dumps({**policy, "Statement": without_alarm(repository)}, indent=2)
    alarms = json.dumps({"Statement": [grant("cloudwatch:Put*")]}, indent=2)
    files = {FILE: text, "iam/alarms.json": alarms}
    repository.hub.commit_as("kim", "main", files, "Split")
    assert added(repository.propose(**ADDS)) == {ALARM}


def test_a_deletion_in_a_commit_to_many_files_is_not_declined(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(branches, "MOST_FILES_OF_COMMIT", 3)
    merged_alarm(repository)
    policy = json.loads(repository.hub.file(FILE))
    text = json.dumps({**policy, "Statement": without_alarm(repository)}, indent=2)
    files = {FILE: text, **{f"doc/{number}": "text" for number in range(3)}}
    repository.hub.commit_as("kim", "main", files, "Write all again")
    assert added(repository.propose(**ADDS)) == {ALARM}


def test_the_label_that_reconsiders_ends_it(repository: Repository) -> None:
    number = merged_alarm(repository)
    commit(repository, without_alarm(repository))
    repository.hub.label_as("kim", number, RECONSIDER_LABEL)
    assert added(repository.propose(**ADDS)) == {ALARM}


def test_what_a_person_adds_and_deletes_is_not_declined(repository: Repository) -> None:
    before = statements(repository)
    commit(repository, [*before, grant(ALARM)])
    repository.clock.now += timedelta(days=1)
    commit(repository, before)
    assert added(repository.propose(**ADDS)) == {ALARM}


class DatedClone(Clone):
    """A clone whose commits have dates before the run."""

    time = NOW - timedelta(days=3)
    never_add = ""

    def git(self, *arguments: str) -> str:
        """Runs git an hour after the last time."""
        self.time += timedelta(hours=1)
        os.environ["GIT_COMMITTER_DATE"] = self.time.isoformat()
        return super().git(*arguments)

    def statements(self) -> list[Any]:
        """The statements of the policy file."""
        return list(json.loads((self.folder / self.file).read_text())["Statement"])

    def write(self, statements: list[Any], message: str = "By hand") -> None:
        """A person commits a policy."""
        policy = {"Version": "2012-10-17", "Statement": statements}
        (self.folder / self.file).write_text(json.dumps(policy, indent=2))
        self.git("add", ".")
        self.git("commit", "--quiet", "-m", message)

    def delete(self, action: str) -> str:
        """A person deletes the statements of an action; returns the commit."""
        remaining = [
            statement for statement in self.statements() if action not in str(statement["Action"])
        ]
        assert remaining != self.statements()
        self.write(remaining)
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DatedClone:
    monkeypatch.setenv("GIT_COMMITTER_DATE", "")
    trail = tmp_path / "trail"
    trail_with(trail)
    dated = DatedClone(tmp_path / "clone", trail)
    monkeypatch.chdir(dated.folder)
    return dated


def change_by_hand(clone: DatedClone, way: str) -> str:
    """A person merges the proposal, deletes its addition and grants what it removed; returns the
    commit of the deletion.
    """
    topic = [statement for statement in clone.statements() if REMOVED in str(statement["Action"])]
    clone.propose()
    clone.merge(way)
    assert REMOVED not in str(clone.statements())
    commit = clone.delete(ALARM)
    clone.write([*clone.statements(), *topic])
    return commit


@pytest.mark.parametrize("way", MERGES)
def test_git_alone_shows_the_deletion_and_the_new_grant(clone: DatedClone, way: str) -> None:
    commit = change_by_hand(clone, way)
    for mode in ("report", "pull-request"):
        proposed = clone.propose(mode)
        assert commit[:7] in refused(proposed)[ALARM]
        assert ("#12" in refused(proposed)[ALARM]) == (way == "squash as GitHub")
        assert held(proposed) == {REMOVED}
    assert clone.git("branch", "--list", BRANCH) == ""


def test_git_alone_shows_it_after_the_file_moved(clone: DatedClone) -> None:
    change_by_hand(clone, "rebase")
    (clone.folder / "policies").mkdir()
    clone.git("mv", clone.file, "policies/ci.json")
    clone.git("commit", "--quiet", "-m", "Move")
    clone.file = "policies/ci.json"
    proposed = clone.propose("report")
    assert ALARM in refused(proposed)
    assert held(proposed) == {REMOVED}


def test_a_commit_that_moves_the_file_and_deletes_the_line_declines_it(clone: DatedClone) -> None:
    clone.propose()
    clone.merge("squash")
    (clone.folder / "policies").mkdir()
    clone.git("mv", clone.file, "policies/ci.json")
    clone.file = "policies/ci.json"
    clone.delete(ALARM)
    assert ALARM in refused(clone.propose("report"))


def test_a_line_that_moves_to_another_file_of_a_clone_is_not_declined(clone: DatedClone) -> None:
    clone.propose()
    clone.merge("rebase")
    alarms = {"Version": "2012-10-17", "Statement": [grant(ALARM)]}
    (clone.folder / "iam/alarms.json").write_text(json.dumps(alarms, indent=2))
    clone.delete(ALARM)
    assert added(clone.propose("report")) == {ALARM}


def test_a_commit_of_the_future_decides_nothing(clone: DatedClone) -> None:
    clone.propose()
    clone.merge("rebase")
    clone.time = NOW + timedelta(days=400)
    clone.delete(ALARM)
    assert added(clone.propose("report")) == {ALARM}


def test_what_a_person_leaves_on_a_merged_branch_of_a_clone_is_kept(clone: DatedClone) -> None:
    topic = [statement for statement in clone.statements() if REMOVED in str(statement["Action"])]
    clone.propose()
    clone.git("checkout", "--quiet", BRANCH)
    clone.write([*clone.statements(), *topic])
    clone.git("checkout", "--quiet", "main")
    clone.merge("merge commit")
    assert REMOVED in str(clone.statements())
    assert held(clone.propose("report")) == {REMOVED}


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_shallow_clone_decides_by_what_it_has(
    clone: DatedClone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, depth: int
) -> None:
    """The merge is the third commit from the end: only with the one before it is the proposal
    known.
    """
    change_by_hand(clone, "squash")
    source = f"file://{clone.folder}"
    clone.git("clone", "--quiet", f"--depth={depth}", source, str(tmp_path / "shallow"))
    clone.folder = tmp_path / "shallow"
    monkeypatch.chdir(clone.folder)
    proposed = clone.propose("report")
    assert added(proposed) == {ALARM}
    assert held(proposed) == set()


def test_a_partial_clone_decides_by_what_it_has(
    clone: DatedClone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change_by_hand(clone, "squash")
    clone.git("config", "uploadpack.allowFilter", "true")
    source = f"file://{clone.folder}"
    clone.git("clone", "--quiet", "--filter=blob:none", source, str(tmp_path / "partial"))
    clone.folder = tmp_path / "partial"
    monkeypatch.chdir(clone.folder)
    proposed = clone.propose("report")
    assert added(proposed) == {ALARM}
    assert held(proposed) == set()
    assert proposed.content is not None


def test_a_date_that_no_calendar_has_ends_no_run(clone: DatedClone) -> None:
    clone.propose()
    clone.merge("rebase")
    remaining = [
        statement for statement in clone.statements() if ALARM not in str(statement["Action"])
    ]
    clone.write(remaining)
    raw = clone.git("cat-file", "commit", "HEAD")
    lines = [
        f"committer Kim <kim@example.org> {10**15} +0000" if line.startswith("committer") else line
        for line in raw.splitlines()
    ]
    stored = subprocess.run(
        ["git", "hash-object", "-t", "commit", "-w", "--stdin", "--literally"],
        cwd=clone.folder,
        input="\n".join(lines) + "\n",
        check=True,
        capture_output=True,
        text=True,
    )
    clone.git("update-ref", "refs/heads/main", stored.stdout.strip())
    assert added(clone.propose("report")) == {ALARM}
