"""Reads and writes files, commits and branches by GitHub's API, without checkout or git.

Commits are created from blob, tree and commit objects without author fields, so that GitHub signs
them. The branch then moves once, by compare-and-swap.
"""

from __future__ import annotations

import base64
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from leastpriv.errors import BaseBranchError, PullRequestError
from leastpriv.pull_request.git_repository import (
    LONGEST_PATCH,
    MOST_FILES_OF_COMMIT,
    added_in_patch,
    trailer_fingerprint,
)
from leastpriv.pull_request.github.client import (
    Connection,
    found_or,
    pages_of,
    translate_github_errors,
)
from leastpriv.pull_request.github.snapshot import (
    BranchHead,
    FileOfCommit,
    FileVersion,
    FileVersions,
    Snapshot,
)
from leastpriv.pull_request.lifecycle import ProposalBranch
from leastpriv.pull_request.models import BaseBranch, Publication

if TYPE_CHECKING:
    from github.Commit import Commit
    from github.ContentFile import ContentFile
    from github.GitTree import GitTree
    from github.Repository import Repository


_NULL_OID = "0" * 40
WEB_FLOW = "web-flow"
"""Login of GitHub's committer, which signs commits of the API and merges of the button "Update
branch".
"""
_NEW_FILE = "100644"
_FORBIDDEN_STATUSES = (403, 404)
"""A job with `contents: read` alone, as in mode `report`, may read only the commits of a private
repository.
"""
FILE_MODES = ("100644", "100755")
_MAX_FILES = 20
"""A proposal never changes more files: a role has ten managed policies, twenty if AWS raised the
quota.
"""
_MAX_VERSIONS = 50
_MOST_CHANGES = 10
"""Commits to a policy file, each read, that are searched for what people deleted."""
_MAX_MOVES = 5
_MAX_MESSAGES = 100


class _FileAt(Struct, frozen=True):
    """A file in a commit."""

    commit: str
    path: str


class BranchCommit(Struct, frozen=True):
    """A commit that changed a file."""

    sha: str
    time: datetime
    """When the commit, or the pull request that brought it, was merged (aware, UTC)."""
    parent: str
    """Its first parent; empty without one."""
    message: str


class _BranchChanges(Struct, frozen=True):
    """What a branch has that its base lacks."""

    commits: list[Commit]
    """The oldest first; the head alone where the base has all, or its history was rewritten."""
    are_all: bool
    """Whether GitHub listed every commit."""
    is_merged: bool
    """Whether the base has all of the branch."""
    files: frozenset[str]


class Branches:
    """The branches of one repository."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._repository = connection.repository
        # Each is requested once, or known by the snapshot of the run.
        self._files_of = cache(self._list_files)
        self._contents: dict[FileOfCommit, bytes | None] = {}
        self._versions: dict[FileOfCommit, FileVersions] = {}
        self._times: dict[str, datetime] = {}
        self._moves_of = cache(self._read_moves)
        self._heads: dict[str, BranchHead | None] = {}
        self._base_heads: dict[str, BaseBranch] = {}

    def use_snapshot(self, snapshot: Snapshot) -> None:
        """Answers `read`, `last_changed`, `read_at` and `known_head` from what was read
        together.
        """
        self._contents.update(snapshot.files)
        self._versions.update(snapshot.versions)
        self._heads.update(snapshot.heads)

    def known_head(self, branch: str) -> BranchHead | None:
        """Returns the head of a branch as the snapshot of the run has it.

        Raises:
            KeyError: the snapshot lacks the branch.
        """
        return self._heads[branch]

    def head_of(self, branch: str) -> str | None:
        """Returns the commit at the head of a branch, as the snapshot of the run has it or else
        now; None without such a branch.
        """
        if branch not in self._heads:
            return self.commit_at(branch)
        head = self._heads[branch]
        return head.sha if head else None

    def base_head(self, base: str = "") -> BaseBranch:
        """Returns name and commit of a base branch, requested once in a run."""
        name = base or self._repository.default_branch
        if name not in self._base_heads:
            self._base_heads[name] = self.branch_head(name)
        return self._base_heads[name]

    def renew_base_head(self, base: str = "") -> BaseBranch:
        """Returns name and commit of a base branch now, which `base_head` then gives too."""
        branch = self.branch_head(base)
        self._base_heads[branch.name] = branch
        return branch

    def branch_head(self, base: str = "") -> BaseBranch:
        """Returns name and commit of the branch `base` now, or of the default branch."""
        name = base or self._repository.default_branch
        commit = self.commit_at(name)
        if commit is None:
            raise BaseBranchError(
                f"The branch {name!r} does not exist on GitHub: name another in the input base."
            )
        return BaseBranch(name, commit)

    def commit_at(self, branch: str) -> str | None:
        """Returns the commit at the head of a branch; None without such a branch."""
        with translate_github_errors(f"reading the branch {branch}"):
            return found_or(
                lambda: self._repository.get_git_ref(f"heads/{branch}").object.sha, None
            )

    def read(self, commit: str, path: str) -> bytes | None:
        """Returns the content of a file in a commit, requested once; None if the commit lacks
        it.
        """
        file = FileOfCommit(commit, path)
        if file not in self._contents:
            self._contents[file] = self._fetch(commit, path)
        return self._contents[file]

    def paths(self, commit: str, folder: str) -> tuple[str, ...]:
        """Returns the paths of the files in a folder and below; GitHub leaves some out of a tree of
        100,000 entries.
        """
        start = f"{folder}/" if folder else ""
        return tuple(path for path in self._files_of(commit) if path.startswith(start))

    def last_changed(self, commit: str, path: str) -> datetime | None:
        """Returns when a file was last changed, as of a commit (aware, UTC); None if it never
        existed.

        A commit of a pull request counts from its merge, which may be much later than the commit
        itself.
        """
        newest = next(self._versions_of(commit, path), None)
        return newest.time if newest else None

    def changed_by_others(
        self, commit: str, path: str, own_commits: Collection[str]
    ) -> datetime | None:
        """Returns when a commit of others last changed a file, as of a commit (aware, UTC); None if
        none did.

        Where it is not among the newest versions, it is the time of the oldest of these.
        """
        file_versions = self._versions.get(FileOfCommit(commit, path))
        if file_versions is None:
            return self.last_changed(commit, path)
        for version in file_versions.newest:
            if version.sha not in own_commits:
                return version.time
        is_known = file_versions.is_whole or not file_versions.newest
        return None if is_known else file_versions.newest[-1].time

    def _versions_of(self, commit: str, path: str) -> Iterator[FileVersion]:
        """Yields the versions of a file, as of a commit, the newest first."""
        file = FileOfCommit(commit, path)
        file_versions = self._versions.get(file, FileVersions((), is_whole=False))
        yield from file_versions.newest
        if file_versions.is_whole:
            return
        with translate_github_errors(f"reading the history of {path}"):
            shas = {each.sha for each in file_versions.newest}
            for version in self._repository.get_commits(sha=commit, path=path):
                if version.sha in shas:
                    continue
                dated_version = FileVersion(version.sha, self._time_of(version))
                self._versions.setdefault(file, FileVersions((dated_version,), is_whole=False))
                yield dated_version
            self._versions.setdefault(file, FileVersions((), is_whole=True))

    def _time_of(self, commit: Commit) -> datetime:
        """Returns when a commit, or the pull request that brought it, was merged; requested
        once.
        """
        if commit.sha not in self._times:
            self._times[commit.sha] = max(_commit_times(commit))
        return self._times[commit.sha]

    def messages_since(self, commit: str, path: str, time: datetime) -> tuple[str, ...]:
        """Returns the messages of the newest 100 commits that changed a file after a time (aware),
        as of a commit.
        """
        with translate_github_errors(f"reading the history of {path}"):
            commits = self._repository.get_commits(sha=commit, path=path, since=time)
            return tuple(each.commit.message for each in islice(commits, _MAX_MESSAGES))

    def parent_of(self, commit: str) -> str:
        """Returns the first parent of a commit; empty if it has none or no longer exists."""
        with translate_github_errors(f"reading the commit {commit[:12]}"):
            return found_or(
                lambda: next(
                    (parent.sha for parent in self._repository.get_git_commit(commit).parents), ""
                ),
                "",
            )

    def changes_since(self, commit: str, path: str, time: datetime) -> Iterator[BranchCommit]:
        """Yields those of the newest 10 commits to a file that came to the base since a time
        (aware), as of a commit, the newest first.
        """
        for version in islice(self._versions_of(commit, path), _MOST_CHANGES):
            if version.time < time:
                continue
            with translate_github_errors(f"reading the commit {version.sha[:12]}"):
                git_commit = self._repository.get_git_commit(version.sha)
                yield BranchCommit(
                    sha=version.sha,
                    time=version.time,
                    parent=next((parent.sha for parent in git_commit.parents), ""),
                    message=git_commit.message,
                )

    def added_lines(self, commit: str, besides: Collection[str]) -> tuple[str, ...] | None:
        """Returns the lines that a commit adds to the files of a repository, but to some.

        None: they are not known, or too many.

        Args:
            commit: The commit.
            besides: Paths of files that are left out.
        """
        lines: list[str] = []
        length = 0
        with translate_github_errors(f"reading the commit {commit[:12]}"):
            files = islice(self._repository.get_commit(commit).files, MOST_FILES_OF_COMMIT + 1)
            for number, file in enumerate(files):
                if number == MOST_FILES_OF_COMMIT:
                    return None
                if file.filename in besides:
                    continue
                patch = file.patch or ""
                length += len(patch)
                # GitHub gives no patch of a large or binary file, nor of one that only moved.
                if length > LONGEST_PATCH or (file.additions and not patch):
                    return None
                lines.extend(added_in_patch(patch))
        return tuple(lines)

    def read_at(self, commit: str, path: str, time: datetime) -> bytes | None:
        """Returns the content of a file at a time (aware), as of a commit; None if it never
        existed.

        For a younger file it is the first version; with more changes since, the oldest of the
        newest 50 versions.
        """
        version = None
        is_younger = True
        for version in islice(self._versions_of(commit, path), _MAX_VERSIONS):
            if version.time <= time:
                is_younger = False
                break
        if version is None:
            return None
        moved = self._moved_from(version.sha, path) if is_younger else None
        if moved:
            return self.read_at(moved.commit, moved.path, time)
        return self.read(version.sha, path)

    def earlier_names(self, commit: str, path: str) -> tuple[str, ...]:
        """Returns the paths that a file had before it was moved, as of a commit, the latest
        first.
        """
        names: list[str] = []
        while len(names) < _MAX_MOVES:
            with translate_github_errors(f"reading the history of {path}"):
                versions = self._repository.get_commits(sha=commit, path=path).reversed
                first = next(iter(versions), None)
            moved = self._moved_from(first.sha, path) if first else None
            if moved is None:
                break
            names.append(moved.path)
            commit, path = moved.commit, moved.path
        return tuple(names)

    def _moved_from(self, commit: str, path: str) -> _FileAt | None:
        """Returns the file that a commit moved to a path; None if it did not move one there."""
        return self._moves_of(commit).get(path)

    def _read_moves(self, commit: str) -> Mapping[str, _FileAt]:
        """Returns the files that a commit moved, by their new paths."""
        with translate_github_errors(f"reading the commit {commit[:12]}"):
            github_commit = self._repository.get_commit(commit)
            if not github_commit.parents:
                return {}
            parent = github_commit.parents[0].sha
            return {
                file.filename: _FileAt(parent, file.previous_filename)
                for file in github_commit.files
                if file.status == "renamed"
            }

    def proposal_branch(self, publication: Publication, base_sha: str) -> ProposalBranch | None:
        """Returns the state of the branch of a proposal; None without such a branch.

        It is this program's own where no person committed to it, and its files are those of the
        proposal in its newest commit: names and trailers of commits can be copied.
        """
        head = self.commit_at(publication.branch)
        if head is None:
            return None
        changes = self._changes_since(base_sha, head, publication.branch)
        own_commits = [commit for commit in changes.commits if self._is_own_commit(commit)]
        is_own = self._is_without_people(changes, own_commits)
        if is_own and not changes.is_merged:
            is_own = self._has_files_of(publication, own_commits[-1], head, changes.files)
        trailers = (trailer_fingerprint(commit.commit.message) for commit in changes.commits)
        fingerprints = list(filter(None, trailers))
        return ProposalBranch(
            head=head,
            is_own=is_own,
            has_own_commits=bool(fingerprints),
            fingerprint=fingerprints[-1] if fingerprints else "",
            merged=changes.is_merged,
            files=tuple(sorted(changes.files)),
        )

    def _changes_since(self, base: str, head: str, branch: str) -> _BranchChanges:
        """Returns what a branch changes since its base."""
        from github import UnknownObjectException

        with translate_github_errors(f"comparing {branch} with its base"):
            try:
                comparison = self._repository.compare(base, head)
                commits = list(comparison.commits)
            except UnknownObjectException:
                # The base's history was rewritten: there is no common ancestor.
                commit = self._repository.get_commit(head)
                files = frozenset(file.filename for file in commit.files)
                return _BranchChanges([commit], are_all=True, is_merged=False, files=files)
            total = comparison.total_commits
            is_merged = not commits and total == 0
            commits = commits or [self._repository.get_commit(head)]
            return _BranchChanges(
                commits=commits,
                are_all=len(commits) >= total,
                is_merged=is_merged,
                files=frozenset(file.filename for file in comparison.files),
            )

    def _is_without_people(self, changes: _BranchChanges, own_commits: Sequence[Commit]) -> bool:
        """Whether each commit is the program's, or one of the button "Update branch"."""
        if not own_commits or not changes.are_all or len(changes.files) > _MAX_FILES:
            return False
        others = [commit for commit in changes.commits if commit not in own_commits]
        return all(map(_is_update_of_branch, others))

    def _has_files_of(
        self, publication: Publication, commit: Commit, head: str, files: Collection[str]
    ) -> bool:
        """Whether the changed files at `head` are those of the proposal that made a commit."""
        contents: dict[str, bytes] = {}
        for file in sorted(files):
            content = self.read(head, file)
            if content is None:
                return False
            contents[file] = content
        return self._is_made_by(publication, commit, contents)

    def is_only_by_program(self, base: str, head: str) -> bool:
        """Whether this program made every commit that `head` has and `base` lacks."""
        with translate_github_errors(f"comparing {head[:12]} with its base"):
            comparison = self._repository.compare(base, head)
            commits = list(comparison.commits)
            is_whole = len(commits) >= comparison.total_commits
            return is_whole and all(
                self._is_own_commit(commit) or _is_update_of_branch(commit) for commit in commits
            )

    def _is_made_by(
        self, publication: Publication, commit: Commit, contents: Mapping[str, bytes]
    ) -> bool:
        """Whether the fingerprint of a commit is that of a proposal with these files, under the
        present or an earlier name of the policy file.
        """
        fingerprint = trailer_fingerprint(commit.commit.message)
        parent = commit.parents[0].sha if commit.parents else ""
        for policy in (publication.policy, *publication.formers):
            before = self.read(parent, policy.path) if parent else None
            if policy.fingerprint_for(before, contents) == fingerprint:
                return True
        return False

    def create_commit(self, base_sha: str, files: Mapping[str, bytes], message: str) -> str:
        """Creates a signed commit on `base_sha` with these files and returns it; keeps their
        modes.
        """
        from github import InputGitTreeElement

        with translate_github_errors("making the commit"):
            base = self._repository.get_git_commit(base_sha)
            elements = []
            for path, content in files.items():
                mode = self._file_mode(base.tree, path)
                blob = self._repository.create_git_blob(
                    base64.b64encode(content).decode(), "base64"
                )
                elements.append(
                    InputGitTreeElement(path=path, mode=mode, type="blob", sha=blob.sha)
                )
            tree = self._repository.create_git_tree(elements, base_tree=base.tree)
            return self._repository.create_git_commit(message, tree, [base]).sha

    def move_branch(self, branch: str, before: str | None, after: str | None) -> None:
        """Moves, creates (`before` None) or deletes (`after` None) the branch, if its head is still
        `before`.
        """
        from github import GithubException

        with translate_github_errors(f"moving the branch {branch}"):
            try:
                update = {
                    "name": f"refs/heads/{branch}",
                    "beforeOid": before or _NULL_OID,
                    "afterOid": after or _NULL_OID,
                    "force": True,
                }
                mutation: dict[str, Any] = {
                    "repositoryId": self._repository.node_id,
                    "refUpdates": [update],
                }
                self._repository.requester.graphql_named_mutation(
                    "updateRefs", mutation, "clientMutationId"
                )
            except GithubException:
                if self._is_moved(branch, before, after):
                    return
                try:
                    if before is None and after is not None:
                        self._repository.create_git_ref(f"refs/heads/{branch}", after)
                    elif after is None:
                        self._repository.get_git_ref(f"heads/{branch}").delete()
                    else:
                        self._repository.get_git_ref(f"heads/{branch}").edit(after, force=True)
                except GithubException:
                    if not self._is_moved(branch, before, after):
                        raise

    def contains(self, head: str, commit: str) -> bool:
        """Whether a commit is `head` or one of its ancestors; false if either does not exist."""
        with translate_github_errors(f"looking for a commit before {head[:12]}"):
            return found_or(
                lambda: self._repository.compare(head, commit).status in ("identical", "behind"),
                False,
            )

    def commits(self, head: str) -> Iterator[str]:
        """Yields `head` and its ancestors, the newest first."""
        with translate_github_errors(f"listing the commits before {head[:12]}"):
            for page in pages_of(self._repository.get_commits(sha=head)):
                yield from (commit.sha for commit in page)

    def fork_point(self, base: str, head: str) -> str:
        """Returns the newest common ancestor of `base` and `head`."""
        with translate_github_errors(f"comparing {head[:12]} with its base"):
            return self._repository.compare(base, head).merge_base_commit.sha

    def is_protected(self, branch: str) -> bool:
        """Whether a branch is protected; false without such a branch."""
        with translate_github_errors(f"reading the branch {branch}"):
            return found_or(lambda: self._repository.get_branch(branch).protected, False)

    def _list_files(self, commit: str) -> tuple[str, ...]:
        with translate_github_errors("listing the files of the repository"):
            tree = self._repository.get_git_tree(commit, recursive=True).tree
            return tuple(entry.path for entry in tree if entry.type == "blob")

    def _fetch(self, commit: str, path: str) -> bytes | None:
        with translate_github_errors(f"reading {path}"):
            contents = found_or(lambda: self._repository.get_contents(path, ref=commit), None)
            if contents is None:
                return None
            if isinstance(contents, list) or contents.type != "file":
                raise PullRequestError(
                    f"The path {path!r} is no regular file on GitHub: name another."
                )
            return decoded(self._repository, contents)

    def _file_mode(self, tree: GitTree, path: str) -> str:
        """Returns the mode of the file at `path`; for a new file the default mode."""
        *folders, name = path.split("/")
        for folder in folders:
            subfolder = next((entry for entry in tree.tree if entry.path == folder), None)
            if subfolder is None:
                return _NEW_FILE
            if subfolder.type != "tree":
                raise PullRequestError(
                    f"The path {path!r} leads through a link or submodule: name the file itself."
                )
            tree = self._repository.get_git_tree(subfolder.sha)
        mode = next((entry.mode for entry in tree.tree if entry.path == name), _NEW_FILE)
        if mode not in FILE_MODES:
            raise PullRequestError(
                f"The path {path!r} is a symbolic link, folder or submodule: name a regular file."
            )
        return mode

    def _is_own_commit(self, commit: Commit) -> bool:
        author, committer = logins(commit)
        may_be_own = self._connection.may_be_own_login
        is_own_login = may_be_own(author) and (committer == WEB_FLOW or may_be_own(committer))
        return is_own_login and bool(trailer_fingerprint(commit.commit.message))

    def _is_moved(self, branch: str, before: str | None, after: str | None) -> bool:
        """Whether the head is `after` already: GitHub carried out the request, but its answer was
        lost.

        GitHub's answer to a stale `beforeOid` is generic, so a second request finds out whether the
        branch moved.
        """
        now = self.commit_at(branch)
        if now not in (before, after):
            raise PullRequestError(f"The branch {branch!r} changed during the run: run again.")
        return now == after


def _is_update_of_branch(commit: Commit) -> bool:
    """Whether a commit merges the base by the button "Update branch", which signs as GitHub: no
    person's work.
    """
    return len(commit.parents) == 2 and logins(commit)[1] == WEB_FLOW


def logins(commit: Commit) -> tuple[str, str]:
    """Returns the logins of author and committer; empty where GitHub knows none."""
    return (
        commit.author.login if commit.author else "",
        commit.committer.login if commit.committer else "",
    )


def decoded(repository: Repository, contents: ContentFile) -> bytes:
    """Returns the content of a file; GitHub omits it over 1 MB (docs.github.com, "Repository
    contents", 2026-11).
    """
    if contents.encoding == "base64":
        return contents.decoded_content
    return base64.b64decode(repository.get_git_blob(contents.sha).content)


def _commit_times(commit: Commit) -> Iterator[datetime]:
    """Yields a commit's date and the merge times of its pull requests, if this token may read pull
    requests.
    """
    from github import GithubException, RateLimitExceededException

    yield commit.commit.committer.date
    try:
        yield from (pull.merged_at for pull in commit.get_pulls() if pull.merged_at)
    except GithubException as error:
        if isinstance(error, RateLimitExceededException) or error.status not in _FORBIDDEN_STATUSES:
            raise
