"""A `git revert` of a merged proposal declines its changes, as the clone alone shows it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from leastpriv.cli.propose import command_target
from leastpriv.config.settings import from_options
from leastpriv.pipeline.context import RunContext, TargetResult
from leastpriv.pipeline.propose import propose
from leastpriv.pull_request import git_history
from leastpriv.pull_request.checkouts import Checkouts
from leastpriv.pull_request.git_program import GitProgram
from leastpriv.pull_request.git_repository import GitRepository
from leastpriv.pull_request.models import TRAILER
from tests.fakes.deploys import POLICY, ROLE, usual_deploys, write_trail

FILE = "iam/ci-deploy.json"
BRANCH = "leastpriv/ci-deploy"
DECLINED = "sns:CreateTopic"
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


class Clone:
    """A clone with the policy of one role, and the product that runs on it."""

    never_add = "cloudwatch:*"
    """The input: denied actions that no proposal adds."""

    def __init__(self, folder: Path, trail: Path) -> None:
        self.folder = folder
        self.role = ROLE
        self.file = FILE
        self._trail = trail
        (folder / "iam").mkdir(parents=True)
        (folder / FILE).write_text(json.dumps(POLICY, indent=2))
        self.git("init", "--quiet", "--initial-branch=main")
        self.git("add", ".")
        self.git("commit", "--quiet", "-m", "First")

    def git(self, *arguments: str) -> str:
        """Runs git as a person."""
        names = {
            f"GIT_{role}_{part}": value
            for role in ("AUTHOR", "COMMITTER")
            for part, value in (("NAME", "Kim"), ("EMAIL", "kim@example.org"))
        }
        completed = subprocess.run(
            ["git", *arguments],
            cwd=self.folder,
            env={**os.environ, **names, "GIT_CONFIG_GLOBAL": os.devnull},
            check=True,
            capture_output=True,
            text=True,
        )
        return completed.stdout.strip()

    def propose(self, mode: str = "pull-request") -> TargetResult:
        """Runs the command in the clone."""
        options = {
            "role-arn": self.role,
            "policy-file": self.file,
            "mode": mode,
            "trails": (str(self._trail),),
            "aws-regions": ("eu-west-1",),
            "minimum-days": "30",
            "grace-days": "0",
            "never-add": self.never_add,
            "branch": BRANCH,
        }
        settings = from_options(options)
        run = RunContext(
            settings, (command_target(settings, checkouts=Checkouts()),), NOW, (self._trail,)
        )
        return propose(run).targets[0]

    def merge(self, way: str) -> None:
        """A person merges the proposal, and deletes its branch."""
        MERGES[way](self)
        self.git("branch", "--quiet", "-D", BRANCH)


def _squash_as_github(clone: Clone) -> None:
    message = clone.git("log", "-1", "--format=%B", BRANCH)
    subject, _, text = message.partition("\n")
    clone.git("merge", "--quiet", "--squash", BRANCH)
    clone.git(
        "commit", "--quiet", "-m", f"{subject} (#12)\n{text}\n\nCo-authored-by: Kim <k@e.org>"
    )


def _squash(clone: Clone) -> None:
    clone.git("merge", "--quiet", "--squash", BRANCH)
    clone.git("commit", "--quiet", "--no-edit")


MERGES: dict[str, Callable[[Clone], object]] = {
    "merge commit": lambda clone: clone.git("merge", "--quiet", "--no-ff", "--no-edit", BRANCH),
    "fast forward": lambda clone: clone.git("merge", "--quiet", "--ff-only", BRANCH),
    "rebase": lambda clone: clone.git("cherry-pick", BRANCH),
    "squash": _squash,
    "squash as GitHub": _squash_as_github,
}


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Clone:
    trail = tmp_path / "trail"
    write_trail(trail, usual_deploys())
    cloned = Clone(tmp_path / "clone", trail)
    monkeypatch.chdir(cloned.folder)
    return cloned


def declined(result: TargetResult) -> dict[str, str]:
    """Entries that a decline holds back, with the reason."""
    assert result.context is not None
    held_back = result.context.proposal.held_back_as("declined")
    return {
        held_back_change.action: held_back_change.guard_result.reason
        for held_back_change in held_back
    }


def is_granted(clone: Clone) -> bool:
    return DECLINED in (clone.folder / clone.file).read_text()


@pytest.mark.parametrize("way", MERGES)
def test_a_reverted_proposal_is_declined(clone: Clone, way: str) -> None:
    clone.propose()
    clone.merge(way)
    assert not is_granted(clone)
    parent = ("-m", "1") if way == "merge commit" else ()
    clone.git("revert", "--no-edit", *parent, "HEAD")
    assert is_granted(clone)
    for mode in ("report", "pull-request"):
        reason = declined(clone.propose(mode))[DECLINED]
        assert ("#12" in reason) == (way == "squash as GitHub"), reason
    assert clone.git("branch", "--list", BRANCH) == ""


def test_it_is_declined_after_the_file_moved(clone: Clone) -> None:
    clone.propose()
    clone.merge("rebase")
    clone.git("revert", "--no-edit", "HEAD")
    (clone.folder / "policies").mkdir()
    clone.git("mv", FILE, "policies/ci.json")
    clone.git("commit", "--quiet", "-m", "Move")
    clone.file = "policies/ci.json"
    assert DECLINED in declined(clone.propose("report"))
    assert DECLINED in declined(clone.propose())


def test_a_revert_that_is_reverted_declines_nothing(clone: Clone) -> None:
    clone.propose()
    clone.merge("rebase")
    before = clone.git("rev-parse", "HEAD~1")
    clone.git("revert", "--no-edit", "HEAD")
    clone.git("revert", "--no-edit", "HEAD")
    clone.git("checkout", "--quiet", before, "--", FILE)
    clone.git("commit", "--quiet", "-m", "Grant it for another reason")
    assert is_granted(clone)
    assert declined(clone.propose("report")) == {}


def test_the_revert_of_another_commit_declines_nothing(clone: Clone) -> None:
    text = (clone.folder / FILE).read_text()
    (clone.folder / FILE).write_text(text.replace(DECLINED, "sns:DeleteTopic"))
    clone.git("commit", "--quiet", "-am", "Mine")
    clone.git("revert", "--no-edit", "HEAD")
    assert declined(clone.propose("report")) == {}


def test_a_message_that_names_hundreds_of_commits_starts_few_processes(
    clone: Clone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The text of a pull request is the message of its squash."""
    monkeypatch.setattr(git_history, "_MOST_NAMED", 5)
    names = "\n".join(f"This reverts commit {number:040x}" for number in range(500))
    clone.git("commit", "--quiet", "--allow-empty", "-m", "Other")
    (clone.folder / FILE).write_text("{}")
    clone.git("commit", "--quiet", "-am", f"Squash\n\n{names}\n{names}")
    started = tmp_path / "started"
    counting = tmp_path / "git"
    counting.write_text(f'#!/bin/sh\necho >> {started}\nexec {shutil.which("git")} "$@"\n')
    counting.chmod(0o755)
    repository = GitRepository(GitProgram(clone.folder, str(counting)))
    assert repository.reverted_proposals("HEAD", FILE) == ()
    assert len(started.read_text()) < 20


def test_the_reverted_proposal_of_another_role_declines_nothing(clone: Clone) -> None:
    clone.propose()
    clone.merge("rebase")
    clone.git("revert", "--no-edit", "HEAD")
    message = clone.git("log", "-1", "--format=%B", "HEAD~1")
    assert TRAILER in message
    clone.role = f"{ROLE}-other"
    assert declined(clone.propose("report")) == {}


def test_a_path_with_the_beginning_of_a_pattern_is_reverted_too(clone: Clone) -> None:
    clone.file = ":(top)iam/ci.json"
    (clone.folder / ":(top)iam").mkdir()
    clone.git("mv", FILE, f"./{clone.file}")
    clone.git("commit", "--quiet", "-m", "Move")
    clone.propose()
    clone.merge("rebase")
    clone.git("revert", "--no-edit", "HEAD")
    assert DECLINED in declined(clone.propose("report"))
