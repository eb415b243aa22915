"""A branch of its own for what is remembered, by API only: no checkout, no shared history with the code.

Whoever may push could write there, and an author's address is anybody's to write. So only commits count that the
token's own login made (and GitHub signed, where it signs), and every commit of ours starts from the files of the last
such commit: what others put in between is not read, and is gone with our next commit.
"""

from __future__ import annotations

import base64
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from leastpriv.errors import PullRequestError, UnreadableMemoryError
from leastpriv.pull_request.github.client import Connection, explained, is_bot
from leastpriv.pull_request.state_store import Change

if TYPE_CHECKING:
    from github.Commit import Commit
    from github.GitCommit import GitCommit
    from github.GitTree import GitTree
    from github.GitTreeElement import GitTreeElement


_TRAILER = "Leastpriv-Memory: v1"
_TRIES = 15
"""Of runs that write at the same time one wins each round: so many may."""
_PAUSE = 0.5
"""Seconds between tries, times their number, at most."""
_LOOKED_AT = 100
"""Commits behind the head among which ours is looked for."""
_FILE_MODES = ("100644", "100755")
_SIGNING = ("github.com", "ghe.com")
"""Hosts whose commits by the API of an app are signed (docs.github.com, "About commit signature verification", read
2026-11-26); an Enterprise Server signs only where its owner set that up."""
_WEB_FLOW = "web-flow"


@dataclass(frozen=True, slots=True)
class _Seen:
    """The branch as it stands."""

    head: str | None
    tree: GitTree | None
    """Of the newest commit that counts."""
    intact: bool
    """Nobody else's commit lies above it."""


class EvidenceBranch:
    """One file of the branch; a `Shelf`."""

    def __init__(self, connection: Connection, branch: str, path: str, title: str, longest: int) -> None:
        self._connection = connection
        self._repository = connection.repository
        self._branch = branch
        self._path = path
        self._title = title
        self._longest = longest

    @property
    def name(self) -> str:
        """The file on its branch."""
        return f"{self._path} on the branch {self._branch}"

    def read(self) -> bytes | None:
        """What the newest commit that counts holds; None where there is none.

        Raises:
            PullRequestError: GitHub cannot be asked, or the branch holds nothing but commits of others.
            UnreadableMemoryError: the file is too long, or no file.
        """
        with explained(f"reading the branch {self._branch}"):
            return self._content(self._look().tree)

    def update(self, change: Change) -> None:
        """One commit on the head, and the branch moved to it if nobody else moved it meanwhile; else once more.

        Raises:
            PullRequestError: as `read`, or GitHub refuses to write, or others were faster again and again.
            UnreadableMemoryError: as `read`.
        """
        for number in range(_TRIES):
            with explained(f"writing the branch {self._branch}"):
                if self._updated(change):
                    return
            self._connection.sleep(random.uniform(0, _PAUSE * (number + 1)))  # noqa: S311 - a pause, no secret
        raise PullRequestError(f"Others moved the branch {self._branch!r} {_TRIES} times meanwhile: run again.")

    def _updated(self, change: Change) -> bool:
        """Whether the branch holds what it should; False where somebody was faster."""
        seen = self._look()
        before = self._content(seen.tree)
        after = change(before)
        if after == before and seen.intact:
            return True
        return self._move(seen.head, self._commit(seen, after))

    def _look(self) -> _Seen:
        from github import UnknownObjectException

        try:
            head = self._repository.get_git_ref(f"heads/{self._branch}").object.sha
        except UnknownObjectException:
            return _Seen(None, None, intact=True)
        newest = zip(range(_LOOKED_AT), self._repository.get_commits(sha=head), strict=False)
        for number, commit in newest:
            if self._counts(commit):
                return _Seen(head, self._repository.get_git_tree(commit.commit.tree.sha), intact=number == 0)
        raise PullRequestError(
            f"None of the newest commits of the branch {self._branch!r} is one of this token's own memory: name a "
            "branch that does not exist yet in the input evidence-branch, or delete this one."
        )

    def _counts(self, commit: Commit) -> bool:
        author = commit.author.login if commit.author else ""
        committer = commit.committer.login if commit.committer else ""
        is_memory = commit.commit.message.rstrip().endswith(f"\n{_TRAILER}")
        if not (is_memory and self._connection.is_me(author) and committer in (author, _WEB_FLOW)):
            return False
        return _is_signed(commit.commit) or not self._signs()

    def _signs(self) -> bool:
        """Whether what this token commits by the API is signed by GitHub."""
        if not is_bot(self._connection.login):
            return False
        host = urlsplit(self._connection.web_url).hostname or ""
        return any(host == name or host.endswith(f".{name}") for name in _SIGNING)

    def _content(self, tree: GitTree | None) -> bytes | None:
        *folders, name = self._path.split("/")
        for folder in folders:
            below = _entry(tree, folder)
            tree = self._repository.get_git_tree(below.sha) if below and below.type == "tree" else None
        found = _entry(tree, name)
        if found is None:
            return None
        if found.mode not in _FILE_MODES or (found.size or 0) > self._longest:
            raise UnreadableMemoryError(f"is longer than {self._longest:,} bytes, or no file")
        return base64.b64decode(self._repository.get_git_blob(found.sha).content)

    def _commit(self, seen: _Seen, content: bytes) -> str:
        """A commit on the head: the files of the newest commit that counts, and this one. No branch is at it yet."""
        from github import GithubObject, InputGitTreeElement

        blob = self._repository.create_git_blob(base64.b64encode(content).decode(), "base64")
        element = InputGitTreeElement(path=self._path, mode=_FILE_MODES[0], type="blob", sha=blob.sha)
        tree = self._repository.create_git_tree([element], base_tree=seen.tree or GithubObject.NotSet)
        parents = [self._repository.get_git_commit(seen.head)] if seen.head else []
        message = f"{self._title} [skip ci]\n\n{_TRAILER}\n"
        made = self._repository.create_git_commit(message, tree, parents)
        if self._signs() and not _is_signed(made):
            # It would not be believed by the next run, and stand in the way of one that is.
            raise PullRequestError(
                "GitHub did not sign the commit of the memory, so anybody could forge one like it: leave the input "
                "evidence-branch out, or use the token of an app whose commits are signed."
            )
        return made.sha

    def _move(self, before: str | None, after: str) -> bool:
        """Moves the branch forward: without force GitHub refuses where its head is no longer the commit's parent."""
        from github import GithubException

        try:
            if before is None:
                self._repository.create_git_ref(f"refs/heads/{self._branch}", after)
            else:
                self._repository.get_git_ref(f"heads/{self._branch}").edit(after, force=False)
        except GithubException as error:
            if error.status not in (404, 409, 422):
                raise
            now = self._head()
            if now == before:
                # Nobody moved it, so it is not a race: protected, or a name that git refuses.
                raise
            return now == after
        return True

    def _head(self) -> str | None:
        from github import UnknownObjectException

        try:
            return self._repository.get_git_ref(f"heads/{self._branch}").object.sha
        except UnknownObjectException:
            return None


def _entry(tree: GitTree | None, name: str) -> GitTreeElement | None:
    return next((entry for entry in tree.tree if entry.path == name), None) if tree else None


def _is_signed(commit: GitCommit) -> bool:
    verification = commit.raw_data.get("verification") or {}
    return verification.get("verified") is True
