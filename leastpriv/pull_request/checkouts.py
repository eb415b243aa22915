"""Finds the repositories around files on disk; each is opened once, and read for all its files."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from msgspec import Struct

from leastpriv.errors import PullRequestError
from leastpriv.pull_request.git_repository import FileChange, GitRepository, RevertedProposal


def repository_root(file: Path) -> Path | None:
    """Returns the root of the git repository around a file, if there is one."""
    return next((folder for folder in file.parents if (folder / ".git").exists()), None)


class Head(Struct, frozen=True):
    """The commit that is checked out in a repository."""

    repository: GitRepository
    commit: str


class Checkouts:
    """The repositories around the policy files of a run."""

    def __init__(self) -> None:
        """Opens nothing yet."""
        self._repositories: dict[Path, GitRepository] = {}
        self._heads: dict[Path, Head | None] = {}
        self._paths: dict[Path, list[str]] = {}

    def repository(self, root: Path) -> GitRepository:
        """Returns the repository with this root; raises PullRequestError where it is none."""
        if root not in self._repositories:
            self._repositories[root] = GitRepository.open(root)
        return self._repositories[root]

    def head(self, root: Path) -> Head | None:
        """Returns the commit that is checked out, with its named files read ahead; None where there
        is none.
        """
        if root not in self._heads:
            self._heads[root] = None
            with suppress(PullRequestError):
                repository = self.repository(root)
                commit = repository.commit_at("HEAD")
                if commit:
                    repository.read_ahead(commit, self._paths.get(root, ()))
                    self._heads[root] = Head(repository, commit)
        return self._heads[root]

    def file(self, file: Path) -> CheckedOutFile:
        """Names a file by its absolute path; those that are named before the first question about
        one are read together.
        """
        root = repository_root(file)
        path = file.relative_to(root).as_posix() if root else ""
        if root:
            self._paths.setdefault(root, []).append(path)
        return CheckedOutFile(self, file, root, path)


class CheckedOutFile(Struct, frozen=True):
    """A file on disk, and what the repository around it knows of its past."""

    checkouts: Checkouts
    file: Path
    """Its absolute path."""
    root: Path | None
    """Root of its repository; None: it is in none."""
    path: str
    """The file from the root, with `/`."""

    def _head(self) -> Head | None:
        return self.checkouts.head(self.root) if self.root else None

    def changed(self) -> datetime | None:
        """Returns when it was last changed: by its commit where it equals that, else by its time on
        disk. None: it does not exist.
        """
        head = self._head()
        with suppress(PullRequestError, OSError):
            if head and head.repository.read(head.commit, self.path) == self.file.read_bytes():
                changed = head.repository.last_changed(head.commit, self.path)
                if changed:
                    return changed
        if not self.file.is_file():
            return None
        return datetime.fromtimestamp(self.file.stat().st_mtime, UTC)

    def at(self, time: datetime) -> bytes | None:
        """Returns the file as it was committed at a time, or at first; None where no repository has
        it.
        """
        head = self._head()
        with suppress(PullRequestError):
            return head.repository.read_at(head.commit, self.path, time) if head else None
        return None

    def changes(self) -> Sequence[FileChange]:
        """Returns the commits to it since the first merged proposal for it."""
        head = self._head()
        with suppress(PullRequestError):
            return head.repository.file_changes(head.commit, self.path) if head else ()
        return ()

    def added_lines(self, commit: str, besides: Sequence[str]) -> Sequence[str] | None:
        """Returns the lines that a commit of its repository adds to other files."""
        head = self._head()
        with suppress(PullRequestError):
            return head.repository.added_lines(commit, besides) if head else None
        return None

    def reverted(self) -> Sequence[RevertedProposal]:
        """Returns the merged proposals for it that later commits of its repository revert."""
        head = self._head()
        with suppress(PullRequestError):
            return head.repository.reverted_proposals(head.commit, self.path) if head else ()
        return ()
