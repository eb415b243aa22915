"""Files, commits and branches on GitHub, without checkout, git or a write in the workspace.

Commits are made from blob, tree and commit objects without author fields, so that GitHub signs them; the branch then
moves once, by compare-and-swap.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

from leastpriv.errors import PullRequestError
from leastpriv.pull_request.git import fingerprint_of
from leastpriv.pull_request.github.client import Connection, explained
from leastpriv.pull_request.lifecycle import Branch
from leastpriv.pull_request.models import Certify

if TYPE_CHECKING:
    from github.Commit import Commit
    from github.GitTree import GitTree


_NOBODY = "0" * 40
_WEB_FLOW = "web-flow"
"""Login of GitHub's own committer, who signs what the API commits and the button "Update branch" merges."""
_NEW_FILE = "100644"
_NOT_FOR_THIS_TOKEN = (403, 404)
"""A job with `contents: read` alone, as the mode `report` takes, may read a private repository's commits only."""
_FILE_MODES = ("100644", "100755")
_MOST_FILES = 20
_MOST_VERSIONS = 50
"""More files than this no proposal changes: a role has ten managed policies, twenty where AWS has raised it."""


class Branches:
    """The git side of one repository."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._repository = connection.repository
        self._read: dict[tuple[str, str], bytes | None] = {}

    def head_of(self, base: str = "") -> tuple[str, str]:
        """Name and commit of the branch `base`, or of the default branch.

        Raises:
            PullRequestError: there is no such branch.
        """
        name = base or self._repository.default_branch
        commit = self.commit_at(name)
        if commit is None:
            raise PullRequestError(f"The branch {name!r} does not exist on GitHub: name another in the input base.")
        return name, commit

    def commit_at(self, branch: str) -> str | None:
        """Commit at the head of a branch; None where there is no such branch."""
        from github import UnknownObjectException

        with explained(f"reading the branch {branch}"):
            try:
                return self._repository.get_git_ref(f"heads/{branch}").object.sha
            except UnknownObjectException:
                return None

    def read(self, commit: str, path: str) -> bytes | None:
        """Content of a file in a commit; None where there is none. What a commit holds is asked for once.

        Raises:
            PullRequestError: the path is a folder, or a link that leads out of the repository.
        """
        if (commit, path) not in self._read:
            self._read[commit, path] = self._fetch(commit, path)
        return self._read[commit, path]

    def changed_at(self, commit: str, path: str) -> datetime | None:
        """When a file was last changed, as of a commit (aware, UTC); None where it never was there.

        A commit that came by a pull request counts from its merge on, which the commit itself may be far older than.
        """
        with explained(f"reading the history of {path}"):
            newest = next(iter(self._repository.get_commits(sha=commit, path=path)), None)
            return max(_times(newest)) if newest else None

    def parent_of(self, commit: str) -> str:
        """The first parent of a commit; empty where it has none, or is not there any more."""
        from github import UnknownObjectException

        with explained(f"reading the commit {commit[:12]}"):
            try:
                parents = self._repository.get_git_commit(commit).parents
            except UnknownObjectException:
                return ""
            return parents[0].sha if parents else ""

    def earlier(self, commit: str, path: str, time: datetime) -> bytes | None:
        """Content of a file as it was at a time (aware), as of a commit; None where it never was there.

        Where the file is younger, its first version; of one with more changes since, the oldest that was looked at.
        """
        version = None
        with explained(f"reading the history of {path}"):
            # Each commit by when it was merged, as `changed_at`, which takes a question for each.
            for version in islice(self._repository.get_commits(sha=commit, path=path), _MOST_VERSIONS):
                if max(_times(version)) <= time:
                    break
        return self.read(version.sha, path) if version else None

    def branch(self, name: str, base_sha: str, path: str, certify: Certify) -> Branch | None:
        """The branch as the life cycle sees it; None where there is none. `path` is the policy file."""
        from github import UnknownObjectException

        head = self.commit_at(name)
        if head is None:
            return None
        with explained(f"comparing {name} with its base"):
            try:
                comparison = self._repository.compare(base_sha, head)
                commits, total = list(comparison.commits), comparison.total_commits
                files = {file.filename for file in comparison.files}
            except UnknownObjectException:
                # The base's history was rewritten: there is no common ancestor.
                alone = self._repository.get_commit(head)
                commits, total, files = [], 1, {file.filename for file in alone.files}
            merged = not commits and total == 0
            commits = commits or [self._repository.get_commit(head)]
        own = [commit for commit in commits if self._is_ours(commit)]
        ours = bool(own) and len(commits) >= total and len(files) <= _MOST_FILES
        # The button "Update branch" merges the base and signs as GitHub: nobody's work, if our change is all there is.
        ours = ours and all(commit in own or _is_update(commit) for commit in commits)
        if ours and not merged:
            ours = self._is_as_certified(own[-1], head, path, files, certify)
        marked = [stamp for commit in commits if (stamp := fingerprint_of(commit.commit.message))]
        return Branch(head, ours, bool(marked), marked[-1] if marked else "", merged)

    def _is_as_certified(self, own: Commit, head: str, path: str, files: set[str], certify: Certify) -> bool:
        """Whether the files are what the commit's fingerprint was made of: names and trailers can be copied."""
        found = {file: self.read(head, file) for file in sorted(files)}
        contents = {file: content for file, content in found.items() if content is not None}
        before = self.read(own.parents[0].sha, path) if own.parents else None
        return contents.keys() == files and certify(before, contents) == fingerprint_of(own.commit.message)

    def commit(self, base_sha: str, files: Mapping[str, bytes], message: str) -> str:
        """A signed commit on `base_sha` that changes these files; no branch points to it yet. Modes are kept."""
        from github import InputGitTreeElement

        with explained("making the commit"):
            base = self._repository.get_git_commit(base_sha)
            elements = []
            for path, content in files.items():
                mode = self._mode(base.tree, path)
                blob = self._repository.create_git_blob(base64.b64encode(content).decode(), "base64")
                elements.append(InputGitTreeElement(path=path, mode=mode, type="blob", sha=blob.sha))
            tree = self._repository.create_git_tree(elements, base_tree=base.tree)
            return self._repository.create_git_commit(message, tree, [base]).sha

    def move(self, branch: str, before: str | None, after: str | None) -> None:
        """Moves, makes (`before` None) or deletes (`after` None) the branch, if it still stands where it was seen.

        Raises:
            PullRequestError: it stands elsewhere now, or is protected.
        """
        from github import GithubException

        with explained(f"moving the branch {branch}"):
            try:
                self._compare_and_swap(branch, before, after)
            except GithubException:
                if self._is_moved(branch, before, after):
                    return
                try:
                    self._move_by_rest(branch, before, after)
                except GithubException:
                    if not self._is_moved(branch, before, after):
                        raise

    def contains(self, head: str, commit: str) -> bool:
        """Whether a commit is `head` or one of its ancestors; False where either is not there."""
        from github import UnknownObjectException

        with explained(f"looking for a commit before {head[:12]}"):
            try:
                return self._repository.compare(head, commit).status in ("identical", "behind")
            except UnknownObjectException:
                return False

    def fork_point(self, base: str, head: str) -> str:
        """The commit from which `head` went its own way."""
        with explained(f"comparing {head[:12]} with its base"):
            return self._repository.compare(base, head).merge_base_commit.sha

    def is_protected(self, branch: str) -> bool:
        """Whether a branch is protected; False where there is none."""
        from github import UnknownObjectException

        with explained(f"reading the branch {branch}"):
            try:
                return self._repository.get_branch(branch).protected
            except UnknownObjectException:
                return False

    def _fetch(self, commit: str, path: str) -> bytes | None:
        from github import UnknownObjectException

        with explained(f"reading {path}"):
            try:
                found = self._repository.get_contents(path, ref=commit)
            except UnknownObjectException:
                return None
            if isinstance(found, list) or found.type != "file":
                raise PullRequestError(f"The path {path!r} is no regular file on GitHub: name another.")
            if found.encoding == "base64":
                return found.decoded_content
            # Over 1 MB the content is left out (docs.github.com, "Repository contents", read 2026-11).
            return base64.b64decode(self._repository.get_git_blob(found.sha).content)

    def _mode(self, tree: GitTree, path: str) -> str:
        """Mode of the file at `path`; that of a new file where there is none."""
        *folders, name = path.split("/")
        for folder in folders:
            below = next((entry for entry in tree.tree if entry.path == folder), None)
            if below is None:
                return _NEW_FILE
            if below.type != "tree":
                raise PullRequestError(f"The path {path!r} leads through a link or submodule: name the file itself.")
            tree = self._repository.get_git_tree(below.sha)
        mode = next((entry.mode for entry in tree.tree if entry.path == name), _NEW_FILE)
        if mode not in _FILE_MODES:
            raise PullRequestError(f"The path {path!r} is a symbolic link, folder or submodule: name a regular file.")
        return mode

    def _is_ours(self, commit: Commit) -> bool:
        author = commit.author.login if commit.author else ""
        committer = commit.committer.login if commit.committer else ""
        made_by_us = self._connection.may_be_ours(author) and (
            committer == _WEB_FLOW or self._connection.may_be_ours(committer)
        )
        return made_by_us and bool(fingerprint_of(commit.commit.message))

    def _compare_and_swap(self, branch: str, before: str | None, after: str | None) -> None:
        update = {
            "name": f"refs/heads/{branch}",
            "beforeOid": before or _NOBODY,
            "afterOid": after or _NOBODY,
            "force": True,
        }
        wish: dict[str, Any] = {"repositoryId": self._repository.node_id, "refUpdates": [update]}
        self._repository.requester.graphql_named_mutation("updateRefs", wish, "clientMutationId")

    def _is_moved(self, branch: str, before: str | None, after: str | None) -> bool:
        """Whether the branch stands at `after` already: a request was carried out, and its answer got lost.

        The answer to a stale `beforeOid` is generic, so only a second look tells that somebody else was faster.

        Raises:
            PullRequestError: it stands neither there nor at `before`.
        """
        now = self.commit_at(branch)
        if now not in (before, after):
            raise PullRequestError(f"Somebody moved the branch {branch!r} meanwhile: run again.")
        return now == after

    def _move_by_rest(self, branch: str, before: str | None, after: str | None) -> None:
        """For servers and tokens without `updateRefs`: looked at just before, so the window is one request wide."""
        if before is None and after is not None:
            self._repository.create_git_ref(f"refs/heads/{branch}", after)
        elif after is None:
            self._repository.get_git_ref(f"heads/{branch}").delete()
        else:
            self._repository.get_git_ref(f"heads/{branch}").edit(after, force=True)


def _times(commit: Commit) -> Iterator[datetime]:
    """A commit's own date, and when pull requests with it were merged, if this token may read pull requests."""
    from github import GithubException, RateLimitExceededException

    yield commit.commit.committer.date
    try:
        yield from (pull.merged_at for pull in commit.get_pulls() if pull.merged_at)
    except GithubException as error:
        if isinstance(error, RateLimitExceededException) or error.status not in _NOT_FOR_THIS_TOKEN:
            raise


def _is_update(commit: Commit) -> bool:
    return len(commit.parents) == 2 and commit.committer is not None and commit.committer.login == _WEB_FLOW
