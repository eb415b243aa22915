"""The fake's state besides git: people, pull requests, comments, workflow runs and requests."""

from __future__ import annotations

import itertools
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from tests.fakes.github.git_repository import Commit, GitRepository, Signature, signature
from tests.fakes.github.records import (
    Account,
    Comment,
    Issue,
    Job,
    Label,
    LineComment,
    PullRequest,
    RateLimit,
    Review,
    Run,
)

ACTIONS_BOT = "github-actions[bot]"
WEB_FLOW = Signature("GitHub", "noreply@github.com", "")
"""Committer of GitHub's own commits, such as those of the "Update branch" button (it signs them).
"""
ROLES = ("none", "read", "triage", "write", "maintain", "admin")
_NOREPLY = re.compile(r"(?:\d+\+)?(?P<login>[^@+]+)@users\.noreply\.github\.com")
_MOST_COMMENTS = 2_500
_TOO_MANY_COMMENTS = f"Commenting is disabled on issues with more than {_MOST_COMMENTS} comments"
_REAL_IDS = {ACTIONS_BOT: 41898282, "web-flow": 19864447}


class ApiError(Exception):
    """An error answer of GitHub; `errors` are the entries of a validation failure."""

    def __init__(
        self,
        status: int,
        message: str,
        errors: Sequence[dict[str, str] | str] = (),
        headers: Sequence[tuple[str, str]] = (),
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.errors, self.headers = (
            status,
            message,
            list(errors),
            list(headers),
        )


def not_found(what: str = "Not Found") -> ApiError:
    """GitHub's answer for a missing or invisible object."""
    return ApiError(404, what)


@dataclass(slots=True)
class World:
    """All state of one repository and of the people around it."""

    full_name: str
    default_branch: str
    git: GitRepository
    clock: Callable[[], datetime]
    private: bool = True
    id: int = 1296269
    """Of the repository."""
    forks: dict[str, int] = field(default_factory=dict)
    """Full name -> id, without the deleted ones."""
    accounts: dict[str, Account] = field(default_factory=dict)
    roles: dict[str, str] = field(default_factory=dict)
    teams: dict[str, int] = field(default_factory=dict)
    labels: dict[str, Label] = field(default_factory=dict)
    issues: dict[int, Issue] = field(default_factory=dict)
    comments: dict[int, Comment] = field(default_factory=dict)
    reviews: list[Review] = field(default_factory=list)
    line_comments: dict[int, LineComment] = field(default_factory=dict)
    runs: dict[int, Run] = field(default_factory=dict)
    jobs: dict[int, Job] = field(default_factory=dict)
    protected: set[str] = field(default_factory=set)
    signed: set[str] = field(default_factory=set)
    """Commits that GitHub signed."""
    rate: RateLimit = field(default_factory=RateLimit)
    actions_may_open_pull_requests: bool = True
    graphql_update_refs: bool = True
    checks_descriptions: bool = True
    """Whether requests and answers must fit GitHub's descriptions of its APIs."""
    lock: threading.RLock = field(default_factory=threading.RLock)
    """Held during every change: by a request, or a person."""
    ids: Iterator[int] = field(default_factory=lambda: itertools.count(1001))

    @property
    def owner(self) -> str:
        """Of the repository."""
        return self.full_name.partition("/")[0]

    @property
    def name(self) -> str:
        """Of the repository, without its owner."""
        return self.full_name.partition("/")[2]

    def head_owner(self, pull: PullRequest) -> str:
        """The owner of the repository that has a pull request's head branch."""
        return (pull.fork or self.full_name).partition("/")[0]

    def head_of(self, pull: PullRequest) -> str | None:
        """The commit at the head branch of a pull request, if the branch exists."""
        return pull.head_sha if pull.fork else self.git.branch(pull.head)

    def now(self) -> datetime:
        """The clock's time, whole seconds."""
        return self.clock().astimezone(UTC).replace(microsecond=0)

    def timestamp(self, later: timedelta = timedelta()) -> str:
        """The time as GitHub writes it."""
        return (self.now() + later).strftime("%Y-%m-%dT%H:%M:%SZ")

    def account(self, login: str) -> Account:
        """The account of a login, created on first use."""
        if login not in self.accounts:
            account_id = _REAL_IDS.get(login) or next(self.ids)
            self.accounts[login] = Account(login, account_id, self._account_type(login))
        return self.accounts[login]

    def _account_type(self, login: str) -> str:
        if login == self.owner:
            return "Organization"
        return "Bot" if login.endswith("[bot]") else "User"

    def account_of_email(self, email: str) -> Account | None:
        """The account that GitHub shows for a commit's address; a commit may have any address."""
        if email == WEB_FLOW.email:
            return self.account("web-flow")
        matched = _NOREPLY.fullmatch(email)
        return self.accounts.get(matched["login"]) if matched else None

    def web_flow(self) -> Signature:
        """GitHub's own signature, now."""
        return signature(WEB_FLOW.name, WEB_FLOW.email, self.now())

    def role(self, login: str) -> str:
        """One of ROLES."""
        return self.roles.get(login, "none")

    def may_write(self, login: str) -> bool:
        """Whether a person may push."""
        return ROLES.index(self.role(login)) >= ROLES.index("write")

    def issue(self, number: int | str) -> Issue:
        """An issue or pull request; raises ApiError 404."""
        found = self.issues.get(int(number))
        if found is None:
            raise not_found()
        return found

    def pulls(self) -> list[tuple[Issue, PullRequest]]:
        """Every pull request, the oldest first."""
        return [(issue, issue.pull) for _, issue in sorted(self.issues.items()) if issue.pull]

    def pull(self, number: int | str) -> tuple[Issue, PullRequest]:
        """A pull request; raises ApiError 404."""
        issue = self.issue(number)
        if issue.pull is None:
            raise not_found()
        return issue, issue.pull

    def touch(self, issue: Issue) -> None:
        """Record that an issue changed."""
        issue.updated_at = self.timestamp()

    def label(self, name: str) -> Label:
        """A label, found without regard to case, as on GitHub; created if it is missing."""
        for known in self.labels.values():
            if known.name.lower() == name.lower():
                return known
        self.labels[name] = Label(next(self.ids), name)
        return self.labels[name]

    def open_issue(
        self, author: str, title: str, body: str | None, pull: PullRequest | None = None
    ) -> Issue:
        """Return the next number."""
        number, now = len(self.issues) + 1, self.timestamp()
        issue = Issue(number, title, body, self.account(author).login, now, now, pull=pull)
        self.issues[number] = issue
        return issue

    def close(self, issue: Issue, by: str, reason: str | None = None) -> None:
        """Close an issue or a pull request."""
        issue.state, issue.closed_at, issue.closed_by = (
            "closed",
            self.timestamp(),
            self.account(by).login,
        )
        issue.state_reason = None if issue.pull else reason or "completed"
        self.touch(issue)

    def comment(self, number: int, author: str, body: str) -> Comment:
        """Add a comment; raises ApiError 403 after the 2,500th."""
        if sum(one.number == number for one in self.comments.values()) >= _MOST_COMMENTS:
            raise ApiError(403, _TOO_MANY_COMMENTS)
        self.touch(self.issue(number))
        now = self.timestamp()
        comment = Comment(next(self.ids), number, self.account(author).login, body, now, now)
        self.comments[comment.id] = comment
        return comment

    def commit(self, revision: str) -> Commit:
        """A commit by any name; raises ApiError 404."""
        sha = self.git.branch(revision) or self.git.resolve(revision)
        if sha is None:
            raise not_found(f"No commit found for SHA: {revision}")
        return self.git.commit(sha)
