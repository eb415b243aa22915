"""The records of the fake's state, without rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tests.fakes.github.git_repository import Signature, signature


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and its answer; `path` is without the API's prefix and not decoded."""

    method: str
    path: str
    query: dict[str, str]
    body: Any
    status: int
    login: str | None


@dataclass(frozen=True, slots=True)
class Account:
    """A user, an app's bot or an organisation."""

    login: str
    id: int
    kind: str

    def sign(self, when: datetime) -> Signature:
        """The signature with the no-reply address that GitHub gives every account."""
        return signature(self.login, f"{self.id}+{self.login}@users.noreply.github.com", when)


@dataclass(frozen=True, slots=True)
class Token:
    """The owner of a token; `permissions` (None: all that the person has) maps a permission to
    `read` or `write`.
    """

    login: str
    permissions: dict[str, str] | None = None

    @property
    def installation(self) -> bool:
        """Whether it belongs to an app (`GITHUB_TOKEN` does) and not to a person."""
        return self.login.endswith("[bot]")


@dataclass(slots=True)
class Label:
    """A label of the repository."""

    id: int
    name: str
    color: str = "ededed"
    description: str | None = None


@dataclass(slots=True)
class PullRequest:
    """The part of an issue that makes it a pull request."""

    head: str
    base: str
    head_sha: str
    base_sha: str
    draft: bool = False
    merged_at: str | None = None
    merged_by: str | None = None
    merge_sha: str | None = None
    reviewers: list[str] = field(default_factory=list)
    teams: list[str] = field(default_factory=list)
    head_was_moved: bool = False
    """The head branch was moved, deleted or recreated while it was closed: GitHub then does not
    reopen it.
    """
    fork: str = ""
    """Full name of the fork that has the head branch; empty: the branch is of the repository."""


@dataclass(slots=True)
class Issue:
    """An issue; a pull request is one too, and shares its numbers, labels and comments."""

    number: int
    title: str
    body: str | None
    author: str
    created_at: str
    updated_at: str
    state: str = "open"
    state_reason: str | None = None
    closed_at: str | None = None
    closed_by: str | None = None
    labels: list[str] = field(default_factory=list)
    assignees: list[str] = field(default_factory=list)
    pull: PullRequest | None = None


@dataclass(slots=True)
class Comment:
    """A comment on an issue or a pull request."""

    id: int
    number: int
    author: str
    body: str
    created_at: str
    updated_at: str


@dataclass(frozen=True, slots=True)
class LineComment:
    """A comment at a line of a pull request's diff; `side` is LEFT or RIGHT."""

    id: int
    number: int
    author: str
    body: str
    path: str
    line: int
    side: str
    sha: str
    made: str
    review: int | None
    reply_to: int | None


@dataclass(frozen=True, slots=True)
class Review:
    """A review of a pull request; `state` as GitHub stores it: APPROVED, CHANGES_REQUESTED or
    COMMENTED.
    """

    id: int
    number: int
    author: str
    body: str
    state: str
    sha: str
    submitted_at: str


@dataclass(frozen=True, slots=True)
class Run:
    """A workflow run."""

    id: int
    head_branch: str | None
    head_sha: str
    event: str
    status: str
    conclusion: str | None
    attempt: int
    actor: str
    path: str
    head_repository: str
    created_at: str
    updated_at: str
    started_at: str
    """Start of the latest attempt."""
    earlier: Mapping[int, tuple[str, str]]
    """Attempt -> its start and end."""


@dataclass(frozen=True, slots=True)
class Job:
    """A job of a workflow run; a log of None has expired or does not exist yet."""

    id: int
    run_id: int
    attempt: int
    name: str
    status: str
    conclusion: str | None
    log: bytes | None


@dataclass(slots=True)
class RateLimit:
    """The primary rate limit."""

    limit: int = 5000
    remaining: int = 5000
    reset: int = 4102444800
