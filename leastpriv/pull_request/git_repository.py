"""Publishes a proposal as one commit on one branch of a git repository on disk.

It writes objects and moves one reference; working tree, index and HEAD never change.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from leastpriv.errors import PullRequestError
from leastpriv.models import Origin, Run, Trust
from leastpriv.pull_request.comment_commands import CommentCommand
from leastpriv.pull_request.git import LocalRepository
from leastpriv.pull_request.lifecycle import fingerprint_scope
from leastpriv.pull_request.models import (
    ClosedPullRequest,
    Publication,
    PublishResult,
    PullRequestOperation,
    check_fingerprint,
    commit_message,
    is_branch_name,
)


@dataclass(frozen=True, slots=True)
class GitRepository(LocalRepository):
    """A `Repository` on disk, which has branches but no pull requests."""

    @property
    def has_pull_requests(self) -> bool:
        """Always false."""
        return False

    def closed_pull_requests(self, branch: str) -> Sequence[ClosedPullRequest]:  # noqa: ARG002 - no pull requests
        """Returns none."""
        return ()

    def comment_commands(self, branch: str, base: str) -> Sequence[CommentCommand]:  # noqa: ARG002
        """Returns none."""
        return ()

    def upsert_comment(self, number: int, marker: str, comment: str, *, create: bool) -> str:  # noqa: ARG002
        """Writes nothing."""
        return ""

    def parent_of(self, commit: str) -> str:
        """Returns the first parent of a commit; empty where it has none."""
        return next(iter(self.read_commit(commit).parents), "")

    def origin_lookup(self, base: str) -> Callable[[Run], Origin]:  # noqa: ARG002
        """Knows of no workflow run."""
        return lambda _: Origin(Trust.UNKNOWN, "")

    def publish(self, publication: Publication, now: datetime) -> PublishResult:
        """Publishes by a branch, as the function `publish` of this module."""
        return publish(self, publication, now)


def publish(repository: LocalRepository, publication: Publication, now: datetime) -> PublishResult:
    """Brings the branch to the one commit of the proposal, or leaves it unchanged and gives the reason.

    A branch with commits of this program only is renewed on the base's head, or deleted if nothing is left to change. A
    branch that a person added to, amended or rebased is left as it is.
    """
    branch = publication.branch
    base, base_sha = _check_names(repository, publication)
    head = repository.commit_at(f"refs/heads/{branch}")
    if head is not None and (edited := _edit_reason(repository, publication, base_sha, head)):
        return PublishResult(PullRequestOperation.NONE, branch, head, base_sha, edited)
    if publication.is_held_by(lambda path: repository.read(base_sha, path)):
        if head is None:
            return PublishResult(PullRequestOperation.NONE, branch, "", base_sha, f"Nothing to change on {base}.")
        repository.move_branch(branch, head, None)
        return PublishResult(PullRequestOperation.CLOSED, branch, "", base_sha, f"No change is left on {base}.")
    if head is not None:
        latest = repository.read_commit(head)
        if latest.fingerprint == publication.fingerprint and latest.parents == (base_sha,):
            return PublishResult(
                PullRequestOperation.NONE, branch, head, base_sha, "The branch already holds this proposal."
            )
    tree = f"{base_sha}^{{tree}}"
    for path, content in publication.files.items():
        tree = repository.write_tree(tree, path, content)
    new = repository.write_commit(tree, base_sha, commit_message(publication), now)
    repository.move_branch(branch, head, new)
    return PublishResult(
        PullRequestOperation.CREATED if head is None else PullRequestOperation.UPDATED, branch, new, base_sha
    )


def _check_names(repository: LocalRepository, publication: Publication) -> tuple[str, str]:
    branch = publication.branch
    check_fingerprint(publication)
    for input_name, name in (("branch", branch), ("base", publication.base)):
        if name and not is_branch_name(name):
            raise PullRequestError(f"The input {input_name} is {name!r}: git does not take that as a branch name.")
    base, base_sha = repository.branch_head(publication.base)
    if publication.expected_base not in ("", base_sha):
        raise PullRequestError(f"The branch {base!r} moved while the proposal was made: run again.")
    if not branch or branch == base:
        raise PullRequestError(f"The input branch is {branch!r}: name a branch other than the base {base!r}.")
    return base, base_sha


def _edit_reason(repository: LocalRepository, publication: Publication, base_sha: str, head: str) -> str:
    """Returns why the branch belongs to a person now; empty if this program alone wrote it."""
    branch = publication.branch
    commits = repository.commits_since(base_sha, head) or (repository.read_commit(head),)
    scopes = {fingerprint_scope(commit.fingerprint) for commit in commits if commit.fingerprint}
    if scopes - {fingerprint_scope(publication.fingerprint)}:
        if publication.is_held_by(lambda path: repository.read(base_sha, path)):
            return f"Nothing to change; the branch {branch} holds the proposal for another role or policy file."
        raise PullRequestError(
            f"The branch {branch!r} holds the proposal for another role or policy file: name a separate branch for "
            "each in the input branch."
        )
    if not any(commit.fingerprint for commit in commits):
        raise PullRequestError(f"The branch {branch!r} is not this program's: name another in the input branch.")
    if all(commit.fingerprint and commit.untouched for commit in commits):
        return ""
    return f"The branch {branch} has commits of others, so it is left alone: delete it to get a new proposal."
