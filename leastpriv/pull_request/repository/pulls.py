"""Pull requests, their comments and labels on GitHub."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from leastpriv.errors import PullRequestError
from leastpriv.pull_request.controls import declined_changes, fingerprint_in
from leastpriv.pull_request.github_errors import CreationForbiddenError, explained, sentence
from leastpriv.pull_request.lifecycle import EDITED_LABEL, RECONSIDER_LABEL, Declined, Pull
from leastpriv.pull_request.repository.connection import Connection

if TYPE_CHECKING:
    from github.Issue import Issue
    from github.PullRequest import PullRequest

_MOST_DECLINED = 50
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
        self._declined: dict[str, tuple[Declined, ...]] = {}

    def open_pull(self, branch: str) -> tuple[Pull, OpenPull] | None:
        """The open pull request of the branch."""
        with explained("listing pull requests"):
            for pull in self._repository.get_pulls(state="open", head=f"{self._connection.owner}:{branch}"):
                labels = tuple(label.name for label in pull.labels)
                return Pull(pull.number, pull.base.ref, pull.body or "", labels), OpenPull(pull.number, pull.html_url)
        return None

    def declined(self, branch: str) -> tuple[Declined, ...]:
        """Our pull requests of the branch that somebody else closed without merging, newest first; asked for once.

        One with the label "leastpriv: reconsider" does not count.
        """
        if branch not in self._declined:
            with explained("listing closed pull requests"):
                pulls = self._repository.get_pulls(
                    state="closed", head=f"{self._connection.owner}:{branch}", sort="updated", direction="desc"
                )
                newest = [pull for _, pull in zip(range(_MOST_DECLINED), pulls, strict=False)]
                self._declined[branch] = tuple(filter(None, map(self._decline, newest)))
        return self._declined[branch]

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
                raise CreationForbiddenError(self._forbidden(base, branch)) from error
            # Somebody was faster, or the answer to our own request got lost.
            found = self.open_pull(branch) if error.status == 422 else None
            if found is None:
                raise PullRequestError(sentence(f"opening the pull request of {branch}", error)) from error
            with explained(f"reading #{found[1].number}"):
                pull = self._repository.get_pull(found[1].number)
        return OpenPull(pull.number, pull.html_url, self._equip(pull, manners))

    def edit_pull(self, number: int, title: str, body: str) -> None:
        """Gives an open pull request its new title and body; it is no longer a person's."""
        with explained(f"editing #{number}"):
            pull = self._repository.get_pull(number)
            pull.edit(title=title, body=body)
            if EDITED_LABEL in {label.name for label in pull.labels}:
                pull.remove_from_labels(EDITED_LABEL)

    def close_pull(self, number: int, comment: str) -> None:
        """Says why and closes."""
        with explained(f"closing #{number}"):
            pull = self._repository.get_pull(number)
            pull.create_issue_comment(comment)
            pull.edit(state="closed")

    def say_once(self, number: int, marker: str, comment: str, label: str = "", *, anew: bool = True) -> str:
        """One comment of ours with this marker, its last line, written or edited in place; gives its address.

        Without `anew` one that is not there yet is not written either: the address is empty.
        """
        with explained(f"commenting on #{number}"):
            issue = self._repository.get_issue(number)
            text = f"{comment.rstrip()}\n\n{marker}"
            own = next((each for each in issue.get_comments() if self._is_own(each.body, each.user, marker)), None)
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
        if label and label not in {each.name for each in issue.labels}:
            issue.add_to_labels(label)

    def _decline(self, pull: PullRequest) -> Declined | None:
        body = pull.body or ""
        fingerprint = fingerprint_in(body)
        reconsidered = RECONSIDER_LABEL in {label.name for label in pull.labels}
        if pull.merged_at is not None or not fingerprint or reconsidered or not self._connection.is_me(pull.user.login):
            return None
        closer = pull.as_issue().closed_by
        if closer is None or self._connection.is_me(closer.login):
            return None
        return Declined(pull.number, fingerprint, declined_changes(body))

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

    def _forbidden(self, base: str, branch: str) -> str:
        link = f"{self._connection.web_url}/{self._repository.full_name}/compare/{base}...{branch}?expand=1"
        return (
            f"GitHub does not let this token create pull requests. The branch {branch} is there: open the pull request "
            f"at {link}, or switch on 'Allow GitHub Actions to create and approve pull requests' in the settings of "
            "the repository and of the organization (Actions > General)."
        )
