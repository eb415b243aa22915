"""A git repository on disk as the place of the pull request: one commit on one branch.

Working tree, index and HEAD are never touched; objects are written and one reference moves, if nobody else
moved it meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from leastpriv.errors import PullRequestError
from leastpriv.pull_request.git import LocalRepository
from leastpriv.pull_request.lifecycle import scope_of
from leastpriv.pull_request.models import (
    Operation,
    Publication,
    Published,
    checked_fingerprint,
    commit_message,
    is_branch_name,
)


@dataclass(frozen=True, slots=True)
class LocalPlace:
    """A `Place` on disk: a branch is all there is, no pull request."""

    repository: LocalRepository

    def head_of(self, base: str) -> tuple[str, str]:
        """As `LocalRepository.head_of`."""
        return self.repository.head_of(base)

    def read(self, commit: str, path: str) -> bytes | None:
        """As `LocalRepository.read`."""
        return self.repository.read(commit, path)

    def changed_at(self, commit: str, path: str) -> datetime | None:
        """As `LocalRepository.changed_at`."""
        return self.repository.changed_at(commit, path)

    def earlier(self, commit: str, path: str, time: datetime) -> bytes | None:
        """As `LocalRepository.earlier`."""
        return self.repository.earlier(commit, path, time)

    def publish(self, publication: Publication, now: datetime) -> Published:
        """As `publish`."""
        return publish(self.repository, publication, now)


def publish(repository: LocalRepository, publication: Publication, now: datetime) -> Published:
    """Bring the branch to the one commit that makes the proposal, or leave it alone and say why.

    A branch that only this program wrote is renewed on the base's head, or deleted when nothing is left to
    change. One that a person added to, amended or rebased is left as it is.

    Raises:
        PullRequestError: the names, path or fingerprint are unusable; the branch holds somebody else's work
            only, is checked out, or moved meanwhile; or git fails.
    """
    branch = publication.branch
    base, base_sha = _checked_names(repository, publication)
    head = repository.commit_at(f"refs/heads/{branch}")
    if head is not None and (edited := _edited(repository, publication, base_sha, head)):
        return Published(Operation.NONE, branch, head, base_sha, edited)
    if publication.is_there(lambda path: repository.read(base_sha, path)):
        return _nothing_left(repository, branch, head, base, base_sha)
    if head is not None:
        latest = repository.look_at(head)
        if latest.fingerprint == publication.fingerprint and latest.parents == (base_sha,):
            return Published(Operation.NONE, branch, head, base_sha, "The branch already holds this proposal.")
    tree = f"{base_sha}^{{tree}}"
    for path, content in publication.files.items():
        tree = repository.tree_with(tree, path, content)
    new = repository.commit(tree, base_sha, commit_message(publication), now)
    repository.move(branch, head, new)
    return Published(Operation.CREATED if head is None else Operation.UPDATED, branch, new, base_sha)


def _nothing_left(repository: LocalRepository, branch: str, head: str | None, base: str, base_sha: str) -> Published:
    """Delete a branch of ours that has nothing left to propose."""
    if head is None:
        return Published(Operation.NONE, branch, "", base_sha, f"Nothing to change on {base}.")
    repository.move(branch, head, None)
    return Published(Operation.CLOSED, branch, "", base_sha, f"Nothing is left to change on {base}.")


def _checked_names(repository: LocalRepository, publication: Publication) -> tuple[str, str]:
    branch = publication.branch
    checked_fingerprint(publication)
    for given, name in (("branch", branch), ("base", publication.base)):
        if name and not is_branch_name(name):
            raise PullRequestError(f"The input {given} is {name!r}: git does not take that as a branch name.")
    base, base_sha = repository.head_of(publication.base)
    if publication.expected_base not in ("", base_sha):
        raise PullRequestError(f"The branch {base!r} moved while the proposal was made: run again.")
    if not branch or branch == base:
        raise PullRequestError(f"The input branch is {branch!r}: name a branch other than the base {base!r}.")
    return base, base_sha


def _edited(repository: LocalRepository, publication: Publication, base_sha: str, head: str) -> str:
    """Return why the branch is a person's now, empty where it is ours alone.

    Raises:
        PullRequestError: nothing on the branch is ours.
    """
    branch = publication.branch
    commits = repository.commits(base_sha, head) or (repository.look_at(head),)
    scopes = {scope_of(commit.fingerprint) for commit in commits if commit.fingerprint}
    if scopes - {scope_of(publication.fingerprint)}:
        if publication.is_there(lambda path: repository.read(base_sha, path)):
            return f"Nothing to change; the branch {branch} holds the proposal for another role or policy file."
        raise PullRequestError(
            f"The branch {branch!r} holds the proposal for another role or policy file: name a branch of its own for "
            "each in the input branch."
        )
    if not any(commit.fingerprint for commit in commits):
        raise PullRequestError(f"The branch {branch!r} is not this program's: name another in the input branch.")
    if all(commit.fingerprint and commit.untouched for commit in commits):
        return ""
    return f"Somebody worked on the branch {branch}: it is left as it is; delete it to have it proposed anew."
