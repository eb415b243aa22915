"""Stores the state of a target in a file of a separate branch, by GitHub's API alone."""

from __future__ import annotations

import base64
import random
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from msgspec import Struct

from leastpriv.errors import PullRequestError, UnreadableHistoryError
from leastpriv.pull_request.github.branches import FILE_MODES, WEB_FLOW, decoded, logins
from leastpriv.pull_request.github.client import (
    Connection,
    found_or,
    is_bot,
    translate_github_errors,
)
from leastpriv.pull_request.github.snapshot import read_texts
from leastpriv.pull_request.models import StateUpdate

if TYPE_CHECKING:
    from github.Commit import Commit
    from github.GitCommit import GitCommit
    from github.GitTree import GitTree

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


class _BranchState(Struct, frozen=True):
    """The head of the branch, and the newest commit that counts."""

    head: str | None
    """None: there is no branch."""
    commit: str = ""
    """Empty: no commit counts yet."""
    tree: GitTree | None = None
    """The files of the commit that counts."""
    is_intact: bool = True
    """The head is the commit that counts."""


class StateBranch:
    """A separate branch that holds the state of all targets, a file each.

    Everyone with push permission could write there, and an author's address is easily forged. So
    only commits of the token's login count (signed by GitHub, where it signs), and each new commit
    starts from the files of the last such commit: files of other commits are not read, and the next
    commit drops them.
    """

    def __init__(self, connection: Connection, branch: str) -> None:
        self._connection = connection
        self._repository = connection.repository
        self.name = branch
        self._paths: set[str] = set()
        self._known: _BranchState | None = None
        self._contents: dict[str, bytes | None] = {}

    def store(self, path: str, title: str, max_bytes: int) -> BranchStateStore:
        """Returns one file of the branch as the store of state."""
        self._paths.add(path)
        return BranchStateStore(self, path=path, title=title, max_bytes=max_bytes)

    def others(self, path: str, max_bytes: int) -> Iterator[bytes]:
        """Yields the files of other targets in the newest commit that counts."""
        state = self._state()
        if not state.commit:
            return
        tree = self._repository.get_git_tree(state.commit, recursive=True).tree
        paths = [
            entry.path
            for entry in tree
            if entry.type == "blob" and entry.path != path and (entry.size or 0) <= max_bytes
        ]
        unread = [other for other in paths if other not in self._contents]
        self._contents.update(read_texts(self._connection, state.commit, unread))
        for other in paths:
            if other not in self._contents:
                self._contents[other] = self._file_content(state.commit, other, max_bytes)
            content = self._contents[other]
            if content is not None:
                yield content

    def read(self, path: str, max_bytes: int) -> bytes | None:
        """Returns a file in the newest commit that counts, requested once; None without one."""
        state = self._state()
        if not state.commit:
            return None
        if not self._contents and len(self._paths) > 1:
            self._contents.update(read_texts(self._connection, state.commit, sorted(self._paths)))
        if path not in self._contents:
            self._contents[path] = self._file_content(state.commit, path, max_bytes)
        content = self._contents[path]
        if content is not None and len(content) > max_bytes:
            raise _too_long(max_bytes)
        return content

    def try_update(self, store: BranchStateStore, change: StateUpdate) -> bool:
        """Whether the branch holds the new state of a store; false if a parallel run was faster.

        The commit has the files of the newest commit that counts and this one. Without force GitHub
        rejects the move if the head is no longer the commit's parent.
        """
        state = self._state()
        before = self.read(store.path, store.max_bytes)
        after = change(before)
        if after == before and state.is_intact:
            return True
        commit_sha = self._write_commit(state, store, after)
        if not self._move(state.head, commit_sha.commit):
            self.forget()
            return False
        self._known = commit_sha
        self._contents[store.path] = after
        return True

    def pause(self, number: int) -> None:
        """Waits after a try, so that runs which write at the same time move apart."""
        # A pause, no secret.
        self._connection.sleep(random.uniform(0, _MAX_PAUSE * (number + 1)))  # noqa: S311

    def forget(self) -> None:
        """Reads the branch again at its next use: a parallel run may have moved it."""
        self._known = None
        self._contents.clear()

    def _write_commit(
        self, state: _BranchState, store: BranchStateStore, content: bytes
    ) -> _BranchState:
        """Creates a commit with the new content on the state that was read; raises PullRequestError
        where GitHub did not sign it.
        """
        from github import GithubObject, InputGitTreeElement

        blob = self._repository.create_git_blob(base64.b64encode(content).decode(), "base64")
        element = InputGitTreeElement(
            path=store.path, mode=FILE_MODES[0], type="blob", sha=blob.sha
        )
        tree = self._repository.create_git_tree(
            [element], base_tree=state.tree or GithubObject.NotSet
        )
        parents = [self._repository.get_git_commit(state.head)] if state.head else []
        commit = self._repository.create_git_commit(
            f"{store.title} [skip ci]\n\n{_TRAILER}\n", tree, parents
        )
        if self._expects_signature() and not _is_signed(commit):
            # The next run would ignore an unsigned commit, and it would hide an earlier one that
            # counts.
            raise PullRequestError(
                "GitHub did not sign the commit of the memory, so others could forge one like it:"
                " leave the input evidence-branch out, or use the token of an app whose commits are"
                " signed."
            )
        return _BranchState(head=commit.sha, commit=commit.sha, tree=tree)

    def _move(self, head: str | None, commit: str) -> bool:
        """Moves the branch from `head` to the commit; false if it moved in between."""
        from github import GithubException

        try:
            if head is None:
                self._repository.create_git_ref(f"refs/heads/{self.name}", commit)
            else:
                self._repository.get_git_ref(f"heads/{self.name}").edit(commit, force=False)
        except GithubException as error:
            if error.status not in (404, 409, 422):
                raise
            now = self._head()
            if now == head:
                # The branch did not move, so it is no race: it is protected, or git rejects its
                # name.
                raise
            return now == commit
        return True

    def _state(self) -> _BranchState:
        if self._known is None:
            self._known = self._read_state()
        return self._known

    def _read_state(self) -> _BranchState:
        """Returns the newest state of the branch that this program committed; raises
        PullRequestError where none of the newest commits is its own.
        """
        head = self._head()
        if head is None:
            return _BranchState(None)
        commits = self._repository.get_commits(sha=head)
        for number, commit in enumerate(islice(commits, _MAX_COMMITS)):
            if self._is_own_state(commit):
                return _BranchState(
                    head=head, commit=commit.sha, tree=commit.commit.tree, is_intact=number == 0
                )
        raise PullRequestError(
            f"None of the newest commits of the branch {self.name!r} is one of this token's own"
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

    def _file_content(self, commit: str, path: str, max_bytes: int) -> bytes | None:
        contents = found_or(lambda: self._repository.get_contents(path, ref=commit), None)
        if contents is None:
            return None
        if isinstance(contents, list) or contents.type != "file" or contents.size > max_bytes:
            raise _too_long(max_bytes)
        return decoded(self._repository, contents)

    def _head(self) -> str | None:
        return found_or(lambda: self._repository.get_git_ref(f"heads/{self.name}").object.sha, None)


class BranchStateStore:
    """The state of one target, in a file of a separate branch."""

    def __init__(self, branch: StateBranch, *, path: str, title: str, max_bytes: int) -> None:
        self._branch = branch
        self.path = path
        self.title = title
        """The first line of the commits that change the file."""
        self.max_bytes = max_bytes

    @property
    def name(self) -> str:
        """The file and its branch."""
        return f"{self.path} on the branch {self._branch.name}"

    def read(self) -> bytes | None:
        """Returns the file in the newest commit that counts; None without one."""
        with translate_github_errors(f"reading the branch {self._branch.name}"):
            return self._branch.read(self.path, self.max_bytes)

    def sibling(self, path: str) -> BranchStateStore:
        """Returns another file of the branch."""
        return self._branch.store(path, self.title, self.max_bytes)

    def others(self) -> Iterator[bytes]:
        """Yields the states of other targets on the branch."""
        with translate_github_errors(f"reading the branch {self._branch.name}"):
            yield from self._branch.others(self.path, self.max_bytes)

    def update(self, change: StateUpdate) -> None:
        """Creates one commit on the head and moves the branch to it; repeats if the branch moved in
        between.
        """
        for number in range(_MAX_TRIES):
            with translate_github_errors(f"writing the branch {self._branch.name}"):
                if self._branch.try_update(self, change):
                    return
            self._branch.pause(number)
        raise PullRequestError(
            f"Others moved the branch {self._branch.name!r} {_MAX_TRIES} times meanwhile: run"
            " again."
        )


def _too_long(max_bytes: int) -> UnreadableHistoryError:
    return UnreadableHistoryError(f"is longer than {max_bytes:,} bytes, or no file")


def _is_signed(commit: GitCommit) -> bool:
    return (commit.raw_data.get("verification") or {}).get("verified") is True
