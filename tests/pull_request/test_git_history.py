"""What git knows of many files is read together, and is what it knows of each alone."""

from __future__ import annotations

import os
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from leastpriv.errors import PullRequestError
from leastpriv.pull_request import git_program
from leastpriv.pull_request.checkouts import Checkouts
from leastpriv.pull_request.git_program import GitProgram
from leastpriv.pull_request.git_repository import GitRepository
from leastpriv.pull_request.models import TRAILER

START = datetime(2026, 6, 1, tzinfo=UTC)
FILES = [f"iam/team-{number % 3}/{number}.json" for number in range(12)]
ODD = ["none.json", "../outside.json", "iam", "a\0b.json", "iam/team-0/0.json/x"]


class Clone:
    """A repository in which people work, one commit a day."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.day = 0
        folder.mkdir()
        self.git("init", "--quiet", "--initial-branch=main")

    def git(self, *arguments: str) -> str:
        """Runs git as a person, a day later."""
        self.day += 1
        date = (START + timedelta(days=self.day)).isoformat()
        names = {
            f"GIT_{role}_{part}": value
            for role in ("AUTHOR", "COMMITTER")
            for part, value in (("NAME", "Kim"), ("EMAIL", "kim@example.org"), ("DATE", date))
        }
        completed = subprocess.run(
            ["git", *arguments],
            cwd=self.folder,
            env={"PATH": os.environ["PATH"], "HOME": str(self.folder), **names},
            check=True,
            capture_output=True,
            text=True,
        )
        return completed.stdout.strip()

    def write(self, path: str, text: str) -> None:
        """Writes a file."""
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / path).write_text(text)

    def commit(self, message: str) -> None:
        """Commits everything."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)

    def move(self, path: str, moved: str) -> None:
        """Moves a file; does not commit it."""
        (self.folder / moved).parent.mkdir(parents=True, exist_ok=True)
        self.git("mv", path, moved)


def text_of(path: str) -> str:
    return "\n".join(f"line {number} of {path}" for number in range(20))


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """Makes a repository whose files were moved, once or twice, alone and together, edited, deleted
    and created again; and whose proposals were merged and reverted, on branches and without them.
    """
    clone = Clone(tmp_path_factory.mktemp("history") / "clone")
    clone.write("README.md", "first")
    clone.commit("First")
    for path in FILES:
        clone.write(path, text_of(path))
    clone.commit("Policies")
    clone.move(FILES[0], "policies/0.json")
    clone.commit("Move one")
    for number in (1, 2):
        clone.move(FILES[number], f"policies/{number}.json")
    clone.commit("Move two together")
    clone.write(FILES[3], "edited")
    clone.commit("Edit")
    clone.move("policies/0.json", "again/0.json")
    clone.commit("Move it again")
    (clone.folder / FILES[4]).unlink()
    clone.commit("Delete")
    clone.write(FILES[4], "another")
    clone.commit("Create again")
    for number in (5, 6):
        clone.write(FILES[number], f"proposed {number}")
        clone.commit(f"Change\n\n{TRAILER}: {number:064x}")
    for number in (7, 8):
        clone.git("checkout", "--quiet", "-b", f"proposal-{number}")
        clone.write(FILES[number], f"proposed {number}")
        clone.commit(f"Change\n\n{TRAILER}: {number:064x}")
        clone.git("checkout", "--quiet", "main")
        merge = f"Merge pull request #{number} from x/y"
        clone.git("merge", "--quiet", "--no-ff", "--message", merge, f"proposal-{number}")
    clone.git("revert", "--no-edit", "HEAD~3")
    clone.git("checkout", "--quiet", "-b", "side")
    clone.git("revert", "--no-edit", "-m", "1", "HEAD~1")
    clone.git("checkout", "--quiet", "main")
    clone.write("README.md", "second")
    clone.commit("Aside")
    clone.git("merge", "--quiet", "--no-ff", "--no-edit", "side")
    clone.move(FILES[8], "policies/8.json")
    clone.commit("Move a reverted one")
    return clone


def present(clone: Clone) -> list[str]:
    return clone.git("ls-files").splitlines()


def answers(repository: GitRepository, head: str, path: str) -> object:
    """Returns all that git knows of a file."""
    times = [START + timedelta(days=days) for days in range(0, 60, 3)]
    return (
        repository.last_changed(head, path),
        repository.earlier_names(head, path),
        repository.reverted_proposals(head, path),
        repository.file_changes(head, path),
        [repository.read_at(head, path, time) for time in times],
    )


def test_files_that_are_read_together_have_the_answers_of_each_alone(clone: Clone) -> None:
    paths = [*present(clone), *FILES, *ODD[:3]]
    together = GitRepository.open(clone.folder)
    head = together.branch_head().commit
    together.read_ahead(head, [*paths, *ODD])
    alone = {path: answers(GitRepository.open(clone.folder), head, path) for path in paths}
    assert {path: answers(together, head, path) for path in paths} == alone


def test_a_file_has_the_past_that_git_shows_of_it(clone: Clone) -> None:
    repository = GitRepository.open(clone.folder)
    head = repository.branch_head().commit
    repository.read_ahead(head, present(clone))
    for path in present(clone):
        shown_time = clone.git("log", "--first-parent", "-1", "--format=%ct", "--", path)
        assert repository.last_changed(head, path) == datetime.fromtimestamp(int(shown_time), UTC)
    assert repository.earlier_names(head, "again/0.json") == ("policies/0.json", FILES[0])
    assert repository.earlier_names(head, "policies/1.json") == (FILES[1],)
    reverted = {
        path: [proposal.number for proposal in repository.reverted_proposals(head, path)]
        for path in present(clone)
    }
    assert {path: numbers for path, numbers in reverted.items() if numbers} == {
        FILES[5]: [0],
        "policies/8.json": [8],
    }


def counted(clone: Clone, folder: Path, script: str = "") -> tuple[GitRepository, Path]:
    """Returns a repository, and the file that gets a line for each git process."""
    started = folder / "started"
    program = folder / "git"
    lines = ("#!/bin/sh", f'echo "$@" >> {started}', script, f'exec {shutil.which("git")} "$@"')
    program.write_text("\n".join(lines) + "\n")
    program.chmod(0o755)
    return GitRepository(GitProgram(clone.folder, str(program))), started


def test_more_files_start_no_more_processes(clone: Clone, tmp_path: Path) -> None:
    for number in range(300):
        clone.write(f"many/folder-{number % 150}/{number}.json", text_of(str(number)))
    clone.commit("Many")
    many = [path for path in present(clone) if path.startswith("many/")]
    counts: list[int] = []
    for paths in (many[:2], many):
        folder = tmp_path / str(len(paths))
        folder.mkdir()
        repository, started = counted(clone, folder)
        head = clone.git("rev-parse", "HEAD")
        repository.read_ahead(head, paths)
        for path in paths:
            number = path.rpartition("/")[2].removesuffix(".json")
            assert repository.read(head, path) == text_of(number).encode()
            assert repository.last_changed(head, path)
            assert repository.read_at(head, path, START)
            assert repository.earlier_names(head, path) == ()
            assert repository.reverted_proposals(head, path) == ()
            assert repository.file_changes(head, path) == ()
        counts.append(len(started.read_text().splitlines()))
    assert counts[0] == counts[1] < 10


def test_git_that_does_not_answer_is_asked_once_for_all_files(
    clone: Clone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(git_program, "_TIMEOUT", 1)
    slow = 'case "$*" in *" log "*) exec sleep 30;; esac'
    repository, started = counted(clone, tmp_path, slow)
    head = clone.git("rev-parse", "HEAD")
    repository.read_ahead(head, FILES)
    for path in FILES:
        with pytest.raises(PullRequestError, match="could not run"):
            repository.last_changed(head, path)
    assert sum(" log " in line for line in started.read_text().splitlines()) == 1


def test_the_files_of_a_checkout_are_read_together_by_one_repository(clone: Clone) -> None:
    checkouts = Checkouts()
    paths = present(clone)[:10]
    files = [checkouts.file(clone.folder / path) for path in paths]
    repository = checkouts.repository(clone.folder)
    head = clone.git("rev-parse", "HEAD")
    assert [file.changed() for file in files] == [
        repository.last_changed(head, path) for path in paths
    ]
    assert checkouts.head(clone.folder) is checkouts.head(clone.folder)


def test_a_file_that_differs_from_its_commit_was_changed_when_the_disk_says(clone: Clone) -> None:
    path = present(clone)[0]
    file = clone.folder / path
    committed = file.read_bytes()
    file.write_text("mine")
    os.utime(file, (1_900_000_000, 1_900_000_000))
    try:
        changed = Checkouts().file(file).changed()
    finally:
        file.write_bytes(committed)
    assert changed == datetime.fromtimestamp(1_900_000_000, UTC)
    assert Checkouts().file(clone.folder / "none.json").changed() is None
