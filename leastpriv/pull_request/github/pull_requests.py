"""Pull requests, their comments and labels on GitHub."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import quote

from leastpriv.errors import PullRequestError
from leastpriv.pull_request.body_markers import declined_changes, fingerprint_in
from leastpriv.pull_request.git import fingerprint_of
from leastpriv.pull_request.github.client import Connection, CreationForbiddenError, explained, is_bot, sentence
from leastpriv.pull_request.lifecycle import RECONSIDER_LABEL, Declined, Pull

if TYPE_CHECKING:
    from github.Issue import Issue
    from github.PullRequest import PullRequest


_MOST_CLOSED = 100
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)
_CLOSED_BY_US = "<!-- leastpriv:closed v=1 -->"
"""Goes to the end of a body when we close it ourselves, so that this is not taken for a person's decision."""
_NO_DRAFTS = "This repository has no draft pull requests, so it is a normal one."
_FORBIDDEN = (
    "GitHub does not let this token create pull requests. The branch {branch} is there: open the pull request by hand, "
    "or switch on `Allow GitHub Actions to create and approve pull requests` in the settings of the repository and of "
    "the organization (Actions > General)."
)
_WAITS = (1.0, 2.0, 4.0)
"""Seconds between tries when a pull request just made is not found yet (eventual consistency, 422 and 404)."""


@dataclass(frozen=True, slots=True)
class Manners:
    """What a new pull request is given besides its words."""

    labels: tuple[str, ...] = ()
    reviewers: tuple[str, ...] = ()
    team_reviewers: tuple[str, ...] = ()
    """Slugs; they cannot be asked with `GITHUB_TOKEN`, only with an app's or a person's token."""
    assignees: tuple[str, ...] = ()
    draft: bool = False


@dataclass(frozen=True, slots=True)
class Closed:
    """A closed pull request that was about a proposal."""

    proposal: Declined
    merged: bool
    declined: bool
    """A person closed it without merging, and nobody took that back."""
    taken_back: bool = False
    """It was not merged, and has the label that lets its changes be proposed again."""
    merge_commit: str = ""
    """What merging it made; empty where it was not merged."""
    merged_at: datetime | None = None
    """Aware, UTC."""
    changed_at: datetime = _NEVER
    """When anything about it changed, as its labels (aware, UTC)."""


@dataclass(frozen=True, slots=True)
class OpenPull:
    """An open pull request with its address, and what could not be given to it."""

    number: int
    url: str
    lacking: str = ""
    """A sentence, where a label, reviewer or assignee was refused."""


class PullRequests:
    """The pull requests of one repository."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._repository = connection.repository

    def open_pull(self, branch: str, base: str) -> tuple[Pull, OpenPull] | None:
        """The open pull request of the branch into `base`; else one of ours whose target was changed."""
        with explained("listing pull requests"):
            found = list(self._repository.get_pulls(state="open", head=f"{self._connection.owner}:{branch}"))
        ours = [pull for pull in found if pull.base.ref == base] or [
            pull for pull in found if fingerprint_in(pull.body or "")
        ]
        if not ours:
            return None
        pull, body = ours[0], ours[0].body or ""
        labels = tuple(label.name for label in pull.labels)
        by_us = self._connection.may_be_ours(pull.user.login)
        seen = Pull(pull.number, pull.base.ref, body, labels, fingerprint_in(body), by_us)
        return seen, OpenPull(pull.number, pull.html_url)

    def closed(self, branch: str) -> tuple[Closed, ...]:
        """Closed pull requests of the branch that were about a proposal, newest first; the newest 100."""
        with explained("listing closed pull requests"):
            pulls = self._repository.get_pulls(
                state="closed", head=f"{self._connection.owner}:{branch}", sort="updated", direction="desc"
            )
            newest = [pull for _, pull in zip(range(_MOST_CLOSED), pulls, strict=False)]
            return tuple(filter(None, map(self._closed, newest)))

    def create_pull(self, base: str, branch: str, title: str, body: str, manners: Manners) -> OpenPull:
        """Opens the pull request; one that exists already is taken over.

        Raises:
            CreationForbiddenError: the setting "Allow GitHub Actions to create and approve pull requests" is off.
        """
        from github import GithubException

        try:
            pull = self._repository.create_pull(base, branch, title=title, body=body, draft=manners.draft)
        except GithubException as error:
            if error.status == 403 and "create or approve pull requests" in str(error.data):
                raise CreationForbiddenError(_FORBIDDEN.format(branch=branch), self._link(base, branch)) from error
            if manners.draft and error.status == 422 and "draft" in str(error.data).lower():
                made = self.create_pull(base, branch, title, body, replace(manners, draft=False))
                return replace(made, lacking=" ".join([_NO_DRAFTS, made.lacking]).strip())
            # Somebody was faster, or the answer to our own request got lost.
            found = self.open_pull(branch, base)
            if found is None:
                raise PullRequestError(sentence(f"opening the pull request of {branch}", error)) from error
            with explained(f"reading #{found[1].number}"):
                pull = self._repository.get_pull(found[1].number)
        return OpenPull(pull.number, pull.html_url, self._equip(pull, manners))

    def edit_pull(self, number: int, title: str, body: str) -> None:
        """Gives an open pull request its new title and body."""
        with explained(f"editing #{number}"):
            self._repository.get_pull(number).edit(title=title, body=body)

    def take_back(self, number: int, marker: str, comment: str, label: str) -> None:
        """Ends a label and the comment with `marker` that said why a pull request was left alone."""
        self.say_once(number, marker, comment, anew=False)
        with explained(f"taking a label from #{number}"):
            self._repository.get_issue(number).remove_from_labels(label)

    def close_pull(self, number: int, marker: str, comment: str) -> None:
        """Says why and closes."""
        self.say_once(number, marker, comment)
        with explained(f"closing #{number}"):
            pull = self._repository.get_pull(number)
            pull.edit(state="closed", body=f"{pull.body or ''}\n{_CLOSED_BY_US}\n")

    def head_of(self, number: int) -> str:
        """Commit at the head of a pull request."""
        with explained(f"reading #{number}"):
            return self._repository.get_pull(number).head.sha

    def say_once(self, number: int, marker: str, comment: str, label: str = "", *, anew: bool = True) -> str:
        """One comment of ours with this marker, its last line, written or edited in place; gives its address.

        Without `anew` one that is not there yet is not written either: the address is empty.
        """
        with explained(f"commenting on #{number}"):
            issue = self._repository.get_issue(number)
            text = f"{comment.rstrip()}\n\n{marker}"
            found = [each for each in issue.get_comments() if self._is_own(each.body, each.user, marker)]
            for copy in found[1:]:
                # Two runs at once, or the answer to a request that was carried out got lost.
                copy.delete()
            own = found[0] if found else None
            if own is None and not anew:
                return ""
            if own is None:
                own = issue.create_comment(text)
            elif own.body != text:
                own.edit(text)
            self._label(issue, label)
            return own.html_url

    def _is_own(self, body: str, user: object, marker: str) -> bool:
        return body.rstrip().endswith(marker) and self._connection.is_me(getattr(user, "login", ""))

    def _label(self, issue: Issue, label: str) -> None:
        if label and label.casefold() not in {each.name.casefold() for each in issue.labels}:
            issue.add_to_labels(label)

    def _closed(self, pull: PullRequest) -> Closed | None:
        body = pull.body or ""
        fingerprint = fingerprint_in(body)
        if not fingerprint:
            # A person has rewritten the description: the commit still tells the proposal, though not its changes.
            fingerprint = self._fingerprint_at(pull.head.sha)
        if not fingerprint:
            return None
        return Closed(
            Declined(pull.number, fingerprint, declined_changes(body)),
            merged=pull.merged_at is not None,
            declined=pull.merged_at is None and _CLOSED_BY_US not in body and self._is_decision(pull),
            taken_back=pull.merged_at is None and _is_reconsidered(pull),
            merge_commit=(pull.merge_commit_sha or "") if pull.merged_at else "",
            merged_at=pull.merged_at.astimezone(UTC) if pull.merged_at else None,
            changed_at=pull.updated_at.astimezone(UTC) if pull.updated_at else _NEVER,
        )

    def _fingerprint_at(self, commit: str) -> str:
        from github import UnknownObjectException

        try:
            return fingerprint_of(self._repository.get_git_commit(commit).message)
        except UnknownObjectException:
            return ""

    def _is_decision(self, pull: PullRequest) -> bool:
        """Whether a person closed it, and nobody has taken that back."""
        if _is_reconsidered(pull):
            return False
        closer = pull.as_issue().closed_by
        return closer is None or not is_bot(closer.login)

    def _equip(self, pull: PullRequest, manners: Manners) -> str:
        """Labels, assignees, reviewers; one that GitHub refuses is told, and the pull request stays open."""
        people, teams = list(manners.reviewers), list(manners.team_reviewers)
        wishes: list[tuple[str, bool, Callable[[], object]]] = [
            ("labels", bool(manners.labels), lambda: pull.add_to_labels(*manners.labels)),
            ("assignees", bool(manners.assignees), lambda: pull.add_to_assignees(*manners.assignees)),
            ("reviewers", bool(people), lambda: pull.create_review_request(people, [])),
            ("team-reviewers", bool(teams), lambda: pull.create_review_request([], teams)),
        ]
        refused = [self._patiently(pull.number, what, wish) for what, wanted, wish in wishes if wanted]
        return " ".join(filter(None, refused))

    def _patiently(self, number: int, what: str, wish: Callable[[], object]) -> str:
        """A pull request just made may not be found yet (eventual consistency: 404 and 422)."""
        from github import GithubException

        for wait in (*_WAITS, 0.0):
            try:
                wish()
            except GithubException as error:
                if not wait or error.status not in (404, 422):
                    return sentence(f"setting the {what} of #{number}", error)
                self._connection.sleep(wait)
            else:
                break
        return ""

    def _link(self, base: str, branch: str) -> str:
        """Where a person opens the pull request by hand."""
        page = f"{self._connection.web_url}/{self._repository.full_name}/compare"
        return f"{page}/{quote(base)}...{quote(branch)}?expand=1"


def _is_reconsidered(pull: PullRequest) -> bool:
    return RECONSIDER_LABEL.casefold() in {label.name.casefold() for label in pull.labels}
