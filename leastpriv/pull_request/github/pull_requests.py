"""Reads and writes pull requests, their comments and labels, and comments at lines on GitHub."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING
from urllib.parse import quote

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.errors import PullRequestError
from leastpriv.pull_request.git_repository import trailer_fingerprint
from leastpriv.pull_request.github.client import (
    ACTIONS_BOT,
    Connection,
    CreationForbiddenError,
    error_sentence,
    found_or,
    is_bot,
    translate_github_errors,
    utc,
)
from leastpriv.pull_request.lifecycle import (
    RECONSIDER_LABEL,
    UNKNOWN_TIME,
    ClosedPullRequest,
    CommentCommand,
    OpenPullRequest,
    body_fingerprint,
    declined_changes,
    parse_commands,
    rejection_reason,
)
from leastpriv.pull_request.models import LineComment, PullRequestOptions

if TYPE_CHECKING:
    from github.IssueComment import IssueComment
    from github.PullRequest import PullRequest
    from github.PullRequest import ReviewComment as NewComment


_MAX_CLOSED = 100
_MAX_LISTED = 1_000
"""Closed pull requests of a branch that are looked through, those of others included."""
_MAX_CLOSED_READ = 5
"""Closed pull requests of the branch whose comments are read; each takes one request."""
_CLOSED_BY_LEASTPRIV = "<!-- leastpriv:closed v=1 -->"
"""Ends the body of a pull request that this program closed, so that closing it does not count as a
person's decision, and the comment with the reason."""
_NO_DRAFTS = "This repository has no draft pull requests, so it is a normal one."
_FORBIDDEN = (
    "GitHub does not let this token create pull requests. The branch {branch} is there: open the"
    " pull request, or switch on `Allow GitHub Actions to create and approve pull requests` in the"
    " settings of the repository and of the organization (Actions > General)."
)
_WAITS = (1.0, 2.0, 4.0)
"""Seconds between tries while GitHub does not find a new pull request yet, or computes the diff of
a branch that moved (404 and 422)."""


_MAX_COMMENTS = 1_000
"""Per pull request, the oldest."""
_MARKER = "<!-- leastpriv:line v=1 -->"
_MAX_LINE_COMMENTS = 100
_REVIEW_BODY = "The evidence at the lines that change; the description has all of it."


class CreatedPullRequest(Struct, frozen=True):
    """A pull request that was opened."""

    number: int
    url: str
    warning: str = ""
    """A sentence, if GitHub rejected a label, reviewer or assignee."""


class OtherPullRequest(Struct, frozen=True):
    """An open pull request of the branch that another author opened."""

    number: int
    author: str
    """Login; empty for a deleted account."""
    is_by_writer: bool
    """A person with write permission opened it."""


class BranchPullRequests(Struct, frozen=True):
    """The open pull requests of one branch of the repository."""

    own: OpenPullRequest | None = None
    other: OtherPullRequest | None = None
    """GitHub allows no second one for the same branch and base."""


class PullRequests:
    """The pull requests of one repository."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._repository = connection.repository
        # Requested once for each branch.
        self.closed = cache(self.list_closed)

    def of_branch(self, branch: str, base: str) -> BranchPullRequests:
        """Returns the open pull requests of the branch: the program's own, and that of another
        author into `base`.

        Its own one is into `base`, else one with its marker that a person retargeted.
        """
        with translate_github_errors("listing pull requests"):
            pulls = [
                pull
                for pull in self._repository.get_pulls(state="open", head=self._head(branch))
                if self._is_of_repository(pull)
            ]
            own = [pull for pull in pulls if self._is_by_program(pull)]
            into_base = [pull for pull in own if pull.base.ref == base]
            retargeted = [pull for pull in own if body_fingerprint(pull.body or "")]
            others = [pull for pull in pulls if pull.base.ref == base and pull not in own]
            return BranchPullRequests(
                own=_open_pull_request(next(iter([*into_base, *retargeted]), None)),
                other=self._other_pull_request(next(iter(others), None)),
            )

    def list_closed(self, branch: str, base: str) -> tuple[ClosedPullRequest, ...]:
        """Returns the program's own closed pull requests of the branch into `base` that held a
        proposal: the newest 100, newest first.

        An empty `base` is the default branch.
        """
        into = base or self._repository.default_branch
        found: list[ClosedPullRequest] = []
        with translate_github_errors("listing closed pull requests"):
            pulls = self._repository.get_pulls(
                state="closed", head=self._head(branch), sort="updated", direction="desc"
            )
            for pull in islice(pulls, _MAX_LISTED):
                if not (self._is_own(pull) and pull.base.ref == into):
                    continue
                closed = self._closed_pull_request(pull)
                if closed:
                    found.append(closed)
                if len(found) == _MAX_CLOSED:
                    break
        return tuple(found)

    def _head(self, branch: str) -> str:
        """Returns the filter for lists of pull requests.

        It names owner and branch, so pull requests of forks with the same owner match it too.
        """
        return f"{self._connection.owner}:{branch}"

    def _is_own(self, pull: PullRequest) -> bool:
        return self._is_of_repository(pull) and self._is_by_program(pull)

    def _is_of_repository(self, pull: PullRequest) -> bool:
        """Whether the head branch is in this repository, not in a fork; a deleted fork is null."""
        return pull.head.repo is not None and pull.head.repo.id == self._repository.id

    def _is_by_program(self, pull: PullRequest) -> bool:
        """Whether the token's login opened it, or a workflow of the repository, whose token a run
        has without one of an app.
        """
        login = _author(pull)
        return login == ACTIONS_BOT or self._connection.is_own_login(login)

    def _other_pull_request(self, pull: PullRequest | None) -> OtherPullRequest | None:
        if pull is None:
            return None
        author = _author(pull)
        return OtherPullRequest(pull.number, author, self._connection.may_write(author))

    def create(
        self, base: str, branch: str, title: str, body: str, options: PullRequestOptions
    ) -> CreatedPullRequest:
        """Opens the pull request, or adopts one that another run opened meanwhile.

        Raises:
            CreationForbiddenError: a setting of GitHub forbids it.
        """
        from github import GithubException

        try:
            pull = self._repository.create_pull(
                base, branch, title=title, body=body, draft=options.draft
            )
        except GithubException as error:
            if error.status == 403 and "create or approve pull requests" in str(error.data):
                page = f"{self._connection.web_url}/{self._repository.full_name}/compare"
                raise CreationForbiddenError(
                    _FORBIDDEN.format(branch=branch),
                    f"{page}/{quote(base)}...{quote(branch)}?expand=1",
                ) from error
            if options.draft and error.status == 422 and "draft" in str(error.data).lower():
                created = self.create(base, branch, title, body, replace(options, draft=False))
                warning = " ".join([_NO_DRAFTS, created.warning]).strip()
                return replace(created, warning=warning)
            # Another run was faster, or the answer to this request was lost.
            existing = self.of_branch(branch, base).own
            if existing is None:
                raise PullRequestError(
                    error_sentence(f"opening the pull request of {branch}", error)
                ) from error
            with translate_github_errors(f"reading #{existing.number}"):
                pull = self._repository.get_pull(existing.number)
        warning = self._set_options(pull, options)
        return CreatedPullRequest(pull.number, pull.html_url, warning)

    def _set_options(self, pull: PullRequest, options: PullRequestOptions) -> str:
        """Sets labels and people of a new pull request; returns a sentence for what GitHub
        rejected.
        """
        people = list(options.reviewers)
        teams = list(options.team_reviewers)
        requests: dict[str, Callable[[], object]] = {}
        if options.labels:
            requests["labels"] = lambda: pull.add_to_labels(*options.labels)
        if options.assignees:
            requests["assignees"] = lambda: pull.add_to_assignees(*options.assignees)
        if people:
            requests["reviewers"] = lambda: pull.create_review_request(people, [])
        if teams:
            requests["team-reviewers"] = lambda: pull.create_review_request([], teams)
        warnings = [
            self._retry_until_found(f"setting the {name} of #{pull.number}", request)
            for name, request in requests.items()
        ]
        return " ".join(filter(None, warnings))

    def edit(self, number: int, title: str, body: str) -> None:
        """Sets title and body of an open pull request."""
        with translate_github_errors(f"editing #{number}"):
            self._repository.get_pull(number).edit(title=title, body=body)

    def resume(self, number: int, marker: str, comment: str, label: str) -> None:
        """Removes the label, and edits the comment with `marker` that said why a pull request was
        left alone.
        """
        self.upsert_comment(number, marker, comment, create=False)
        with translate_github_errors(f"taking a label from #{number}"):
            self._repository.get_issue(number).remove_from_labels(label)

    def close(self, number: int, comment: str) -> None:
        """Comments with the reason and closes."""
        self.upsert_comment(number, _CLOSED_BY_LEASTPRIV, comment)
        with translate_github_errors(f"closing #{number}"):
            pull = self._repository.get_pull(number)
            pull.edit(state="closed", body=f"{pull.body or ''}\n{_CLOSED_BY_LEASTPRIV}\n")

    def head_of(self, number: int) -> str:
        """Returns the commit at the head of a pull request."""
        with translate_github_errors(f"reading #{number}"):
            return self._repository.get_pull(number).head.sha

    def upsert_comment(
        self, number: int, marker: str, comment: str, label: str = "", *, create: bool = True
    ) -> str:
        """Edits this program's comment that ends with `marker`, or writes it if `create`; returns
        its address.
        """
        with translate_github_errors(f"commenting on #{number}"):
            issue = self._repository.get_issue(number)
            text = f"{comment.rstrip()}\n\n{marker}"
            comments = [
                each
                for each in issue.get_comments()
                if each.body.rstrip().endswith(marker)
                and self._connection.is_own_login(getattr(each.user, "login", ""))
            ]
            for duplicate in comments[1:]:
                # From two runs at once, or after a lost answer to a request that GitHub carried
                # out.
                duplicate.delete()
            kept = comments[0] if comments else None
            if kept is None and not create:
                return ""
            if kept is None:
                kept = issue.create_comment(text)
            elif kept.body != text:
                kept.edit(text)
            if label and label.casefold() not in {each.name.casefold() for each in issue.labels}:
                issue.add_to_labels(label)
            return kept.html_url

    def _closed_pull_request(self, pull: PullRequest) -> ClosedPullRequest | None:
        body = pull.body or ""
        fingerprint = body_fingerprint(body)
        if not fingerprint:
            # A person rewrote the description: the commit still names the proposal, but not its
            # changes.
            head = pull.head.sha
            fingerprint = found_or(
                lambda: trailer_fingerprint(self._repository.get_git_commit(head).message), ""
            )
        if not fingerprint:
            return None
        is_merged = pull.merged_at is not None
        is_reconsidered = not is_merged and _has_label(pull, RECONSIDER_LABEL)
        is_closed_by_program = not is_merged and _CLOSED_BY_LEASTPRIV in body
        is_undone = is_merged or is_reconsidered or is_closed_by_program
        return ClosedPullRequest(
            number=pull.number,
            fingerprint=fingerprint,
            declined=not is_undone and self._is_closed_by_writer(pull),
            changes=declined_changes(body),
            reconsidered=is_reconsidered,
            undone=is_undone,
            merge_commit=(pull.merge_commit_sha or "") if is_merged else "",
            merged_at=pull.merged_at.astimezone(UTC) if pull.merged_at else None,
            changed_at=pull.updated_at.astimezone(UTC) if pull.updated_at else UNKNOWN_TIME,
        )

    def _is_closed_by_writer(self, pull: PullRequest) -> bool:
        """Whether a person with write permission closed it."""
        closer = pull.as_issue().closed_by
        return closer is not None and self._connection.may_write(closer.login)

    def _retry_until_found(self, doing: str, request: Callable[[], object]) -> str:
        """Retries, since GitHub may not find a new object yet (404 and 422); returns a sentence if
        it rejects.
        """
        from github import GithubException

        for wait in (*_WAITS, 0.0):
            try:
                request()
            except GithubException as error:
                if not wait or error.status not in (404, 422):
                    return error_sentence(doing, error)
                self._connection.sleep(wait)
            else:
                break
        return ""

    def comment_commands(self, branch: str, base: str) -> tuple[CommentCommand, ...]:
        """Returns the commands under the open pull request of the branch and its latest closed
        ones; an empty `base` is the default branch.
        """
        opened = self.of_branch(branch, base or self._repository.default_branch).own
        numbers = [opened.number] if opened else []
        numbers += [each.number for each in self.closed(branch, base)[:_MAX_CLOSED_READ]]
        return self.commands(dict.fromkeys(numbers))

    def commands(self, pulls: Iterable[int]) -> tuple[CommentCommand, ...]:
        """Returns the commands under some pull requests, in the order of their comments."""
        found: list[CommentCommand] = []
        for number in pulls:
            with translate_github_errors(f"listing the comments of #{number}"):
                for comment in islice(
                    self._repository.get_issue(number).get_comments(), _MAX_COMMENTS
                ):
                    commands = parse_commands(comment.body or "")
                    login = comment.user.login if comment.user else ""
                    rejection = self._rejection(comment, login) if commands else ""
                    time = utc(comment.created_at)
                    for verb, pattern in commands:
                        reason = rejection or rejection_reason(verb, pattern)
                        found.append(
                            CommentCommand(verb, pattern, login, time, comment.id, number, reason)
                        )
        return tuple(found)

    def _rejection(self, comment: IssueComment, login: str) -> str:
        """Returns why a comment does not count: an app wrote it, it was edited, or its author lacks
        permission.
        """
        if not login or is_bot(login) or comment.user.type != "User":
            return "an app wrote it"
        if utc(comment.updated_at) != utc(comment.created_at):
            # Others may edit a comment too, and the REST API does not name the editor.
            return "it was edited after it was written: write a new comment"
        if not self._connection.may_write(login):
            return "only people with write permission decide"
        return ""

    def replace_line_comments(
        self, number: int, commit: str, comments: Sequence[LineComment], *, is_new: bool
    ) -> str:
        """Replaces the comments at lines of the diff up to `commit`; returns a sentence if GitHub
        rejects them.

        Earlier comments of this program are deleted, except those with an answer; `is_new`: there
        are none. No failure ends the run.
        """
        if is_new and not comments:
            return ""
        try:
            with translate_github_errors(f"commenting on lines of #{number}"):
                pull = self._repository.get_pull(number)
                if not is_new:
                    self._remove_earlier(pull)
        except PullRequestError as error:
            return str(error)
        written: list[NewComment] = [
            {
                "path": each.path,
                "line": each.line,
                "side": each.side,
                "body": f"{each.text}\n\n{_MARKER}",
            }
            for each in comments
        ]

        def review() -> None:
            at = self._repository.get_commit(commit)
            pull.create_review(commit=at, body=_REVIEW_BODY, event="COMMENT", comments=written)

        return (
            self._retry_until_found(f"commenting on lines of #{number}", review) if written else ""
        )

    def _remove_earlier(self, pull: PullRequest) -> None:
        # Raw JSON: PyGithub makes another request for each comment that lacks `in_reply_to_id`.
        url = f"{pull.url}/comments?sort=created&direction=desc&per_page={_MAX_LINE_COMMENTS}"
        _, comments = pull.requester.requestJsonAndCheck("GET", url)
        answered = {comment.get("in_reply_to_id") for comment in comments}
        for comment in comments:
            author = (comment["user"] or {}).get("login", "")  # a deleted account has none
            is_own = self._connection.is_own_login(author) and comment["body"].rstrip().endswith(
                _MARKER
            )
            if is_own and comment["id"] not in answered:
                pull.requester.requestJsonAndCheck("DELETE", comment["url"])


def _open_pull_request(pull: PullRequest | None) -> OpenPullRequest | None:
    if pull is None:
        return None
    body = pull.body or ""
    return OpenPullRequest(
        number=pull.number,
        base=pull.base.ref,
        body=body,
        labels=tuple(label.name for label in pull.labels),
        fingerprint=body_fingerprint(body),
        url=pull.html_url,
        changes=declined_changes(body),
    )


def _author(pull: PullRequest) -> str:
    """Returns the login of the author; empty for a deleted account."""
    return getattr(pull.user, "login", "")


def _has_label(pull: PullRequest, label: str) -> bool:
    return label.casefold() in {each.name.casefold() for each in pull.labels}
