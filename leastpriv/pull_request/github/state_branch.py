"""Stores the state of a target in a file of a separate branch, by GitHub's API alone."""

from __future__ import annotations

import base64
import random
from itertools import islice
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from leastpriv.errors import PullRequestError, UnreadableHistoryError
from leastpriv.pull_request.github.branches import FILE_MODES, WEB_FLOW, decoded, logins
from leastpriv.pull_request.github.client import (
    Connection,
    found_or,
    is_bot,
    translate_github_errors,
)
from leastpriv.pull_request.models import StateUpdate

if TYPE_CHECKING:
    from github.Commit import Commit
    from github.GitCommit import GitCommit

_TRAILER = "Leastpriv-Memory: v1"
_MAX_TRIES = 15
"""Of runs that write at the same time, one succeeds per try; so this many may."""
_MAX_PAUSE = 0.5
"""Seconds between tries, times the number of the try, at most."""
_MAX_COMMITS = 100
"""Commits behind the head that are searched for one of this program."""
_SIGNING_HOSTS = ("github.com", "ghe.com")
"""Hosts whose commits by the API of an app are signed (docs.github.com, "About commit signature
verification", read 2026-11-26); an Enterprise Server signs only where its owner set that up."""


class BranchStateStore:
    """State in one file of a separate branch, by GitHub's API, without checkout.

    Everyone with push permission could write there, and an author's address is easily forged. So
    only commits of the token's login count (signed by GitHub, where it signs), and each new commit
    starts from the files of the last such commit: files of other commits are not read, and the next
    commit drops them.
    """

    def __init__(
        self, connection: Connection, *, branch: str, path: str, title: str, max_bytes: int
    ) -> None:
        self._connection = connection
        self._repository = connection.repository
        self._branch = branch
        self._path = path
        self._title = title
        self._max_bytes = max_bytes

    @property
    def name(self) -> str:
        """The file and its branch."""
        return f"{self._path} on the branch {self._branch}"

    def read(self) -> bytes | None:
        """Returns the file in the newest commit that counts; None without one."""
        with translate_github_errors(f"reading the branch {self._branch}"):
            return self._file_content(self._branch_state()[1])

    def update(self, change: StateUpdate) -> None:
        """Creates one commit on the head and moves the branch to it; repeats if the branch moved in
        between.
        """
        for number in range(_MAX_TRIES):
            with translate_github_errors(f"writing the branch {self._branch}"):
                if self._try_update(change):
                    return
            self._connection.sleep(random.uniform(0, _MAX_PAUSE * (number + 1)))  # noqa: S311 - a pause, no secret
        raise PullRequestError(
            f"Others moved the branch {self._branch!r} {_MAX_TRIES} times meanwhile: run again."
        )

    def _try_update(self, change: StateUpdate) -> bool:
        """Whether the branch holds the new state; false if a parallel run was faster.

        The commit has the files of the newest commit that counts and this one. Without force GitHub
        rejects the move if the head is no longer the commit's parent.
        """
        from github import GithubException, GithubObject, InputGitTreeElement

        head, newest, is_intact = self._branch_state()
        before = self._file_content(newest)
        after = change(before)
        if after == before and is_intact:
            return True
        blob = self._repository.create_git_blob(base64.b64encode(after).decode(), "base64")
        element = InputGitTreeElement(
            path=self._path, mode=FILE_MODES[0], type="blob", sha=blob.sha
        )
        tree = self._repository.create_git_tree(
            [element], base_tree=newest.commit.tree if newest else GithubObject.NotSet
        )
        parents = [self._repository.get_git_commit(head)] if head else []
        commit = self._repository.create_git_commit(
            f"{self._title} [skip ci]\n\n{_TRAILER}\n", tree, parents
        )
        if self._expects_signature() and not _is_signed(commit):
            # The next run would ignore an unsigned commit, and it would hide an earlier one that
            # counts.
            raise PullRequestError(
                "GitHub did not sign the commit of the memory, so others could forge one like it:"
                " leave the input evidence-branch out, or use the token of an app whose commits are"
                " signed."
            )
        try:
            if head is None:
                self._repository.create_git_ref(f"refs/heads/{self._branch}", commit.sha)
            else:
                self._repository.get_git_ref(f"heads/{self._branch}").edit(commit.sha, force=False)
        except GithubException as error:
            if error.status not in (404, 409, 422):
                raise
            now = self._head()
            if now == head:
                # The branch did not move, so it is no race: it is protected, or git rejects its
                # name.
                raise
            return now == commit.sha
        return True

    def _branch_state(self) -> tuple[str | None, Commit | None, bool]:
        """Returns the head, the newest commit that counts, and whether that is the head."""
        head = self._head()
        if head is None:
            return None, None, True
        for number, commit in enumerate(
            islice(self._repository.get_commits(sha=head), _MAX_COMMITS)
        ):
            if self._is_own_state(commit):
                return head, commit, number == 0
        raise PullRequestError(
            f"None of the newest commits of the branch {self._branch!r} is one of this token's own"
            " memory: name a branch that does not exist yet in the input evidence-branch, or"
            " delete this one."
        )

    def _is_own_state(self, commit: Commit) -> bool:
        author, committer = logins(commit)
        is_memory = commit.commit.message.rstrip().endswith(f"\n{_TRAILER}")
        if not (
            is_memory and self._connection.is_own_login(author) and committer in (author, WEB_FLOW)
        ):
            return False
        return _is_signed(commit.commit) or not self._expects_signature()

    def _expects_signature(self) -> bool:
        """Whether GitHub signs the commits that this token creates by the API."""
        if not is_bot(self._connection.login):
            return False
        host = urlsplit(self._connection.web_url).hostname or ""
        return any(host == name or host.endswith(f".{name}") for name in _SIGNING_HOSTS)

    def _file_content(self, commit: Commit | None) -> bytes | None:
        if commit is None:
            return None
        contents = found_or(lambda: self._repository.get_contents(self._path, ref=commit.sha), None)
        if contents is None:
            return None
        if isinstance(contents, list) or contents.type != "file" or contents.size > self._max_bytes:
            raise UnreadableHistoryError(f"is longer than {self._max_bytes:,} bytes, or no file")
        return decoded(self._repository, contents)

    def _head(self) -> str | None:
        return found_or(
            lambda: self._repository.get_git_ref(f"heads/{self._branch}").object.sha, None
        )


def _is_signed(commit: GitCommit) -> bool:
    return (commit.raw_data.get("verification") or {}).get("verified") is True
