"""Reads and writes pull requests, their comments and labels, and comments at lines on GitHub."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
)
from leastpriv.pull_request.github.listed import (
    ListedComment,
    ListedCommit,
    ListedPullRequest,
    comment_from_rest,
    commit_from_rest,
    from_rest,
)
from leastpriv.pull_request.github.snapshot import read_closed
from leastpriv.pull_request.lifecycle import (
    RECONSIDER_LABEL,
    ClosedPullRequest,
    CommentCommand,
    MarkedPullRequest,
    OpenPullRequest,
    body_fingerprint,
    declined_changes,
    has_label,
    parse_commands,
    proposed_additions,
    rejection_reason,
    target_mark,
)
from leastpriv.pull_request.models import LineComment, PullRequestOptions

if TYPE_CHECKING:
    from github.Issue import Issue
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
_LONGEST_BODY = 65_536
"""Characters that GitHub accepts."""
_NO_DRAFTS = "This repository has no draft pull requests, so it is a normal one."
_FORBIDDEN = (
    "GitHub does not let this token create pull requests. The branch {branch} is there: open the"
    " pull request, or switch on `Allow GitHub Actions to create and approve pull requests` in the"
    " settings of the repository and of the organization (Actions > General)."
)
_WAITS = (1.0, 2.0, 4.0)
"""Seconds between tries while GitHub does not find a new pull request yet, or computes the diff of
a branch that moved (404 and 422)."""


_TOO_MANY_COMMENTS = "Commenting is disabled on issues with more than"
"""Begins GitHub's answer to a comment after the 2,500th (seen in issues of 2026-09)."""
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
        # What a run knows by its snapshot, or has requested once.
        self._pulls: dict[str, tuple[ListedPullRequest, ...]] = {}
        self._comments: dict[int, tuple[ListedComment, ...]] = {}
        self._commits: dict[int, tuple[ListedCommit, ...]] = {}
        self._opened: tuple[ListedPullRequest, ...] = ()
        self.closed = cache(self._read_closed)
        self.closed_elsewhere = cache(self._read_closed_elsewhere)

    def use_snapshot(
        self,
        pulls: Mapping[str, tuple[ListedPullRequest, ...]],
        opened: tuple[ListedPullRequest, ...] = (),
    ) -> None:
        """Answers `closed`, `known_of_branch`, `comment_commands` and `opened_elsewhere` from pull
        requests that were read together.

        Args:
            pulls: Those of some branches, by name of the branch.
            opened: Open ones of any branch.
        """
        self._pulls.update(pulls)
        self._opened = opened
        for pull in (pull for branch_pulls in pulls.values() for pull in branch_pulls):
            if pull.comments is not None:
                self._comments[pull.number] = pull.comments
            if pull.first_commits is not None:
                self._commits[pull.number] = pull.first_commits

    def of_branch(self, branch: str, base: str) -> BranchPullRequests:
        """Returns the open pull requests of the branch: the program's own, and that of another
        author into `base`.

        Its own one is into `base`, else one with its marker that a person retargeted.
        """
        with translate_github_errors("listing pull requests"):
            open_pulls = self._repository.get_pulls(state="open", head=self._head(branch))
            return self._open_pull_requests(map(self._listed, open_pulls), base)

    def known_of_branch(self, branch: str, base: str) -> BranchPullRequests:
        """Returns the open pull requests of the branch as the snapshot of the run has them, else as
        `of_branch`.
        """
        if branch not in self._pulls:
            return self.of_branch(branch, base)
        return self._open_pull_requests(self._pulls[branch], base)

    def opened(self, branch: str, base: str) -> OpenPullRequest | None:
        """Returns the program's open pull request of the branch, as `known_of_branch`; an empty
        `base` is the default branch.
        """
        return self.known_of_branch(branch, base or self._repository.default_branch).own

    def opened_elsewhere(self) -> tuple[MarkedPullRequest, ...]:
        """Returns the program's open pull requests of any branch that name their target, as the
        snapshot of the run has them.
        """
        return self._marked(self._opened)

    def _read_closed_elsewhere(
        self, base: str, labels: tuple[str, ...]
    ) -> tuple[MarkedPullRequest, ...]:
        """Returns the program's latest changed closed pull requests of any branch that name their
        target.

        An empty `base` is the default branch.
        """
        into = base or self._repository.default_branch
        return self._marked(read_closed(self._connection, into, labels))

    def _marked(self, pulls: Iterable[ListedPullRequest]) -> tuple[MarkedPullRequest, ...]:
        """Returns the program's pull requests with the marker of a target, and the fingerprint of
        their first commit.
        """
        marked_pulls: list[MarkedPullRequest] = []
        for pull in pulls:
            mark = target_mark(pull.body)
            commit_fingerprint = trailer_fingerprint(pull.first_message)
            if mark and commit_fingerprint and self._is_own(pull):
                marked_pulls.append(
                    MarkedPullRequest(
                        number=pull.number,
                        base=pull.base,
                        branch=pull.branch,
                        mark=mark,
                        fingerprint=commit_fingerprint,
                        labels=pull.labels,
                        created_at=pull.created_at,
                        changes=declined_changes(pull.body),
                    )
                )
        return tuple(marked_pulls)

    def list_closed(self, branch: str, base: str) -> tuple[ClosedPullRequest, ...]:
        """Returns the program's own closed pull requests of the branch into `base` that held a
        proposal: the newest 100, newest first.

        An empty `base` is the default branch.
        """
        with translate_github_errors("listing closed pull requests"):
            closed_pulls = self._repository.get_pulls(
                state="closed", head=self._head(branch), sort="updated", direction="desc"
            )
            return self._closed_pull_requests(
                map(self._listed, islice(closed_pulls, _MAX_LISTED)), base
            )

    def _read_closed(self, branch: str, base: str) -> tuple[ClosedPullRequest, ...]:
        """Returns closed pull requests, as `list_closed`, from the snapshot of the run if it has
        them.
        """
        if branch not in self._pulls:
            return self.list_closed(branch, base)
        with translate_github_errors("reading closed pull requests"):
            return self._closed_pull_requests(self._pulls[branch], base)

    def _open_pull_requests(
        self, pulls: Iterable[ListedPullRequest], base: str
    ) -> BranchPullRequests:
        """Returns the program's open pull request of a branch, and that of another author.

        The program's is into the base; else it is one with its marker, which a person moved to
        another base.
        """
        of_repository = [pull for pull in pulls if pull.is_open and pull.is_of_repository]
        own_pulls = [pull for pull in of_repository if self._is_by_program(pull)]
        into_base = [pull for pull in own_pulls if pull.base == base]
        with_marker = [pull for pull in own_pulls if body_fingerprint(pull.body)]
        foreign_pulls = [
            pull for pull in of_repository if pull.base == base and pull not in own_pulls
        ]
        return BranchPullRequests(
            own=_open_pull_request(next(iter(into_base or with_marker), None)),
            other=self._other_pull_request(next(iter(foreign_pulls), None)),
        )

    def _closed_pull_requests(
        self, pulls: Iterable[ListedPullRequest], base: str
    ) -> tuple[ClosedPullRequest, ...]:
        """Returns the program's newest closed pull requests into a base, at most `_MAX_CLOSED`."""
        into = base or self._repository.default_branch
        closed_pulls: list[ClosedPullRequest] = []
        for pull in pulls:
            if pull.is_open or pull.base != into or not self._is_own(pull):
                continue
            closed = self._closed_pull_request(pull)
            if closed:
                closed_pulls.append(closed)
            if len(closed_pulls) == _MAX_CLOSED:
                break
        return tuple(closed_pulls)

    def _head(self, branch: str) -> str:
        """Returns the filter for lists of pull requests.

        It names owner and branch, so pull requests of forks with the same owner match it too.
        """
        return f"{self._connection.owner}:{branch}"

    def _listed(self, pull: PullRequest) -> ListedPullRequest:
        return from_rest(pull, self._repository.id)

    def _is_own(self, pull: ListedPullRequest) -> bool:
        return pull.is_of_repository and self._is_by_program(pull)

    def _is_by_program(self, pull: ListedPullRequest) -> bool:
        """Whether the token's login opened it, or a workflow of the repository, whose token a run
        has without one of an app.
        """
        return pull.author == ACTIONS_BOT or self._connection.is_own_login(pull.author)

    def _other_pull_request(self, pull: ListedPullRequest | None) -> OtherPullRequest | None:
        if pull is None:
            return None
        is_by_writer = self._connection.may_write(pull.author)
        return OtherPullRequest(pull.number, pull.author, is_by_writer)

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
        """Closes, then comments with the reason."""
        with translate_github_errors(f"closing #{number}"):
            pull = self._repository.get_pull(number)
            end = f"\n{_CLOSED_BY_LEASTPRIV}\n"
            body_before = (pull.body or "")[: _LONGEST_BODY - len(end)]
            pull.edit(state="closed", body=f"{body_before}{end}")
        self.upsert_comment(number, _CLOSED_BY_LEASTPRIV, comment)

    def head_of(self, number: int) -> str:
        """Returns the commit at the head of a pull request."""
        with translate_github_errors(f"reading #{number}"):
            return self._repository.get_pull(number).head.sha

    def upsert_comment(
        self, number: int, marker: str, comment: str, label: str = "", *, create: bool = True
    ) -> str:
        """Edits this program's comment that ends with `marker`, or writes it if `create`; returns
        its address, or nothing where GitHub accepts no further comment.
        """
        with translate_github_errors(f"commenting on #{number}"):
            issue = self._repository.get_issue(number)
            text = _marked(comment, marker)
            comments = [
                listed_comment
                for listed_comment in issue.get_comments()
                if listed_comment.body.rstrip().endswith(marker)
                and self._connection.is_own_login(getattr(listed_comment.user, "login", ""))
            ]
            for duplicate in comments[1:]:
                # From two runs at once, or after a lost answer to a request that GitHub carried
                # out.
                duplicate.delete()
            first_comment = comments[0] if comments else None
            if first_comment is None and not create:
                return ""
            if first_comment is None:
                first_comment = _new_comment(issue, text)
            elif first_comment.body != text:
                first_comment.edit(text)
            if label and label.casefold() not in {label.name.casefold() for label in issue.labels}:
                issue.add_to_labels(label)
            return first_comment.html_url if first_comment else ""

    def _closed_pull_request(self, pull: ListedPullRequest) -> ClosedPullRequest | None:
        """Returns what a closed pull request decides: whether a writer declined its changes, or it
        was merged or is to be reconsidered. None for one without a fingerprint.
        """
        fingerprint = body_fingerprint(pull.body)
        if not fingerprint:
            # A person rewrote the description: the commit still names the proposal, but not its
            # changes.
            fingerprint = found_or(
                lambda: trailer_fingerprint(self._repository.get_git_commit(pull.head_sha).message),
                "",
            )
        if not fingerprint:
            return None
        is_merged = pull.merged_at is not None
        is_reconsidered = has_label(pull.labels, RECONSIDER_LABEL)
        is_closed_by_program = not is_merged and _CLOSED_BY_LEASTPRIV in pull.body
        is_undone = is_merged or is_reconsidered or is_closed_by_program
        mark = target_mark(pull.body)
        return ClosedPullRequest(
            number=pull.number,
            fingerprint=fingerprint,
            declined=not is_undone and self._is_closed_by_writer(pull),
            changes=declined_changes(pull.body),
            reconsidered=is_reconsidered,
            undone=is_undone,
            merge_commit=pull.merge_commit,
            merged_at=pull.merged_at,
            target=mark.name if mark else None,
            branches=mark.branches if mark else (),
            changed_at=pull.updated_at,
            additions=proposed_additions(pull.body),
        )

    def _is_closed_by_writer(self, pull: ListedPullRequest) -> bool:
        """Whether a person with write permission closed it."""
        closer = pull.closed_by
        if closer is None:
            closer = getattr(self._repository.get_issue(pull.number).closed_by, "login", "")
        return self._connection.may_write(closer)

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

    def knows_commits(self, number: int) -> bool:
        """Whether `first_commits` needs no request."""
        return number in self._commits

    def first_commits(self, number: int) -> tuple[ListedCommit, ...]:
        """Returns the first two commits of a pull request, the oldest first."""
        if number not in self._commits:
            with translate_github_errors(f"reading the commits of #{number}"):
                url = f"{self._repository.url}/pulls/{number}/commits?per_page=2"
                _, contents = self._repository.requester.requestJsonAndCheck("GET", url)
                self._commits[number] = tuple(map(commit_from_rest, contents))
        return self._commits[number]

    def comment_commands(self, branch: str, base: str) -> tuple[CommentCommand, ...]:
        """Returns the commands under the open pull request of the branch and its latest closed
        ones; an empty `base` is the default branch.
        """
        open_pull = self.opened(branch, base)
        numbers = [open_pull.number] if open_pull else []
        numbers += [pull.number for pull in self.closed(branch, base)[:_MAX_CLOSED_READ]]
        return self.commands(dict.fromkeys(numbers))

    def commands(self, pulls: Iterable[int]) -> tuple[CommentCommand, ...]:
        """Returns the commands under some pull requests, in the order of their comments."""
        commands: list[CommentCommand] = []
        for number in pulls:
            with translate_github_errors(f"listing the comments of #{number}"):
                for comment in self._comments_of(number):
                    commands.extend(self._commands_in(comment, number))
        return tuple(commands)

    def _comments_of(self, number: int) -> Iterator[ListedComment]:
        if number in self._comments:
            return iter(self._comments[number])
        # GitHub accepts no comment after 2,500, so that none hides another.
        return map(comment_from_rest, self._repository.get_issue(number).get_comments())

    def _commands_in(self, comment: ListedComment, number: int) -> Iterator[CommentCommand]:
        commands = parse_commands(comment.body)
        rejection = self._rejection(comment) if commands else ""
        for command in commands:
            yield CommentCommand(
                verb=command.verb,
                pattern=command.pattern,
                author=comment.author,
                created_at=comment.created_at,
                comment_id=comment.id,
                pull_request=number,
                rejection=rejection or rejection_reason(command.verb, command.pattern),
            )

    def _rejection(self, comment: ListedComment) -> str:
        """Returns why a comment does not count: an app wrote it, it was edited, or its author lacks
        permission.
        """
        if is_bot(comment.author) or not comment.is_by_user:
            return "an app wrote it"
        if comment.is_edited:
            # Others may edit a comment too, and the REST API does not name the editor.
            return "it was edited after it was written: write a new comment"
        if not self._connection.may_write(comment.author):
            return "only people with write permission decide"
        return ""

    def has_comment(self, number: int, marker: str, comment: str) -> bool:
        """Whether the snapshot of the run has this program's comment with this text."""
        text = _marked(comment, marker)
        return any(
            comment.body == text and self._connection.is_own_login(comment.author)
            for comment in self._comments.get(number, ())
        )

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
        new_comments: list[NewComment] = [
            {
                "path": comment.path,
                "line": comment.line,
                "side": comment.side,
                "body": f"{comment.text}\n\n{_MARKER}",
            }
            for comment in comments
        ]

        def review() -> None:
            reviewed_commit = self._repository.get_commit(commit)
            pull.create_review(
                commit=reviewed_commit, body=_REVIEW_BODY, event="COMMENT", comments=new_comments
            )

        return (
            self._retry_until_found(f"commenting on lines of #{number}", review)
            if new_comments
            else ""
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


def _open_pull_request(pull: ListedPullRequest | None) -> OpenPullRequest | None:
    if pull is None:
        return None
    return OpenPullRequest(
        number=pull.number,
        base=pull.base,
        body=pull.body,
        labels=pull.labels,
        fingerprint=body_fingerprint(pull.body),
        url=pull.url,
        changes=declined_changes(pull.body),
        additions=proposed_additions(pull.body),
    )


def _new_comment(issue: Issue, text: str) -> IssueComment | None:
    """Writes a comment; None where the issue has as many as GitHub accepts.

    Comments of outsiders must not end the runs of a target.
    """
    from github import GithubException

    try:
        return issue.create_comment(text)
    except GithubException as error:
        if error.status == 403 and _TOO_MANY_COMMENTS in str(error.data):
            return None
        raise


def _marked(comment: str, marker: str) -> str:
    """Returns the text of a comment that this program finds again by its marker."""
    return f"{comment.rstrip()}\n\n{marker}"
