"""A git repository on disk as the place of the pull request: one commit on one branch.

Working tree, index and HEAD are never touched; objects are written and one reference moves, if nobody else
moved it meanwhile.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from leastpriv.errors import PullRequestError
from leastpriv.pull_request.git import TRAILER, LocalRepository

__all__ = ["LocalRepository", "Operation", "Publication", "Published", "commit_message", "publish"]

_TITLE_LIMIT = 120


class Operation(StrEnum):
    """What publishing did to the branch; the values of the output `pull-request-operation`."""

    CREATED = "created"
    UPDATED = "updated"
    CLOSED = "closed"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Publication:
    """One file as it should become, and the words that go with it."""

    branch: str
    base: str
    """Branch the commit is based on; empty for the one that is checked out."""
    path: str
    """Relative to the repository's root, with `/`."""
    content: bytes | None
    """None: nothing to propose for a file that does not exist yet."""
    title: str
    body: str
    """Short; the pull request's own text is elsewhere."""
    fingerprint: str
    """Lower-case hexadecimal; equal for equal proposals."""
    expected_base: str = ""
    """Commit of the base that the proposal was made from; empty where nothing of the base was read."""


@dataclass(frozen=True, slots=True)
class Published:
    """What publishing did."""

    operation: Operation
    branch: str
    head_sha: str
    """Head of the branch afterwards; empty where there is no branch."""
    base_sha: str
    reason: str = ""
    """A sentence, where the operation is `none` or `closed`."""


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
    if head is not None and (edited := _edited(repository, branch, base_sha, head)):
        return Published(Operation.NONE, branch, head, base_sha, edited)
    content = publication.content
    if content is None or repository.read(base_sha, publication.path) == content:
        return _nothing_left(repository, branch, head, base, base_sha)
    if head is not None:
        latest = repository.look_at(head)
        if latest.fingerprint == publication.fingerprint and latest.parents == (base_sha,):
            return Published(Operation.NONE, branch, head, base_sha, "The branch already holds this proposal.")
    tree = repository.tree_with(f"{base_sha}^{{tree}}", publication.path, content)
    new = repository.commit(tree, base_sha, commit_message(publication), now)
    repository.move(branch, head, new)
    return Published(Operation.CREATED if head is None else Operation.UPDATED, branch, new, base_sha)


def _nothing_left(repository: LocalRepository, branch: str, head: str | None, base: str, base_sha: str) -> Published:
    """Delete a branch of ours that has nothing left to propose."""
    if head is None:
        return Published(Operation.NONE, branch, "", base_sha, f"Nothing to change on {base}.")
    repository.move(branch, head, None)
    return Published(Operation.CLOSED, branch, "", base_sha, f"Nothing is left to change on {base}.")


def commit_message(publication: Publication) -> str:
    """Return title, body and trailer; whatever title and body hold, the trailer is the last paragraph alone.

    Line breaks in the title become blanks, and what GitHub acts on in a commit message (`@name`, `#12`,
    `[skip ci]`) is broken by a zero-width space.
    """
    title = " ".join(_calm(publication.title).split())[:_TITLE_LIMIT].rstrip() or "Change permissions"
    body = _calm(publication.body).strip("\n")
    paragraphs = [title, *([body] if body.strip() else []), f"{TRAILER}: {publication.fingerprint}"]
    return "\n\n".join(paragraphs) + "\n"


def _checked_names(repository: LocalRepository, publication: Publication) -> tuple[str, str]:
    branch = publication.branch
    if re.fullmatch(r"[0-9a-f]{8,128}", publication.fingerprint) is None:
        raise PullRequestError(f"The fingerprint {publication.fingerprint!r} is not hexadecimal.")
    for given, name in (("branch", branch), ("base", publication.base)):
        if name and not repository.accepts_branch(name):
            raise PullRequestError(f"The input {given} is {name!r}: git does not take that as a branch name.")
    base, base_sha = repository.head_of(publication.base)
    if publication.expected_base not in ("", base_sha):
        raise PullRequestError(f"The branch {base!r} moved while the proposal was made: run again.")
    if not branch or branch == base:
        raise PullRequestError(f"The input branch is {branch!r}: name a branch other than the base {base!r}.")
    return base, base_sha


def _edited(repository: LocalRepository, branch: str, base_sha: str, head: str) -> str:
    """Return why the branch is a person's now, empty where it is ours alone.

    Raises:
        PullRequestError: nothing on the branch is ours.
    """
    commits = repository.commits(base_sha, head) or (repository.look_at(head),)
    if not any(commit.fingerprint for commit in commits):
        raise PullRequestError(f"The branch {branch!r} is not this program's: name another in the input branch.")
    if all(commit.fingerprint and commit.untouched for commit in commits):
        return ""
    return f"Somebody worked on the branch {branch}: it is left as it is; delete it to have it proposed anew."


def _calm(text: str) -> str:
    shown = "".join(c for c in text if c == "\n" or unicodedata.category(c) not in {"Cc", "Cf", "Cs", "Zl", "Zp"})
    # https://docs.github.com/en/actions/how-tos/manage-workflow-runs/skip-workflow-runs, read 2026-11
    skipping = r"\[(?=(?:skip (?:ci|actions)|ci skip|no ci|actions skip)\])|^skip(?=-checks)"
    return re.sub(rf"(?im)(?:@|#(?=\d)|\bGH-(?=\d)|/(?:issues|pull)/(?=\d)|{skipping})", "\\g<0>\u200b", shown)
