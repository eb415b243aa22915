"""Publishes a proposal on GitHub: executes one step of the lifecycle."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import datetime

from leastpriv.errors import PullRequestError
from leastpriv.models import Origin, Run
from leastpriv.pull_request.comment_commands import CommentCommand
from leastpriv.pull_request.github.branches import Branches
from leastpriv.pull_request.github.client import Connection, CreationForbiddenError
from leastpriv.pull_request.github.comments import LineComments, PullRequestComments, TrackingIssue
from leastpriv.pull_request.github.pull_requests import PullRequestReference, PullRequests
from leastpriv.pull_request.github.state_branch import BranchStateStore
from leastpriv.pull_request.github.workflow_runs import WorkflowRuns
from leastpriv.pull_request.lifecycle import (
    EDITED_LABEL,
    DeclinedProposal,
    IssueStep,
    OpenPullRequest,
    PlannedStep,
    ProposalBranch,
    PullRequestStep,
    WantedProposal,
    fingerprint_scope,
    plan_step,
)
from leastpriv.pull_request.models import (
    ClosedPullRequest,
    Publication,
    PublishResult,
    PullRequestOperation,
    PullRequestOptions,
    check_fingerprint,
    commit_message,
    is_branch_name,
)
from leastpriv.pull_request.state_store import StateStore

_MAX_CLOSED_READ = 5
"""Closed pull requests of the branch whose comments are read; each takes one request."""
_EDITED_MARKER = "<!-- leastpriv:edited v=1 -->"
_CLOSED_MARKER = "<!-- leastpriv:closed v=1 -->"
_EDITED = (
    "This branch has commits of others, so it is left alone: tick the box in the description to rebuild it "
    "(commits of others on it are lost), or close this pull request."
)
_RETARGETED = (
    "This pull request targets another branch than the one the proposal is made for, so it is left "
    "alone: set the target back, or close it and name the other branch in the input `base`."
)
_OBSOLETE = (
    "No change is left: the policy now matches the evidence. The pull request is not closed, because "
    "its branch has commits of others."
)
_RESUMED = "The branch was left alone for a while; it follows the evidence again."
_CLOSED = "No change is left: the policy on the base branch now matches the evidence."


class GitHubRepository:
    """A `Repository` on GitHub, by its API only: no checkout, no git, no write in the workspace."""

    def __init__(self, connection: Connection, options: PullRequestOptions) -> None:
        self._connection = connection
        self._branches = Branches(connection)
        self._pulls = PullRequests(connection)
        self._comments = LineComments(connection)
        self._options = options
        self._closed: dict[str, tuple[ClosedPullRequest, ...]] = {}

    def with_options(self, options: PullRequestOptions) -> GitHubRepository:
        """Returns the same repository with other options for pull requests."""
        return GitHubRepository(self._connection, options)

    @property
    def has_pull_requests(self) -> bool:
        """Always true."""
        return True

    def branch_head(self, base: str) -> tuple[str, str]:
        """Returns name and commit of a branch, as `Branches.branch_head`."""
        return self._branches.branch_head(base)

    def read(self, commit: str, path: str) -> bytes | None:
        """Returns the content of a file in a commit, as `Branches.read`."""
        return self._branches.read(commit, path)

    def paths(self, commit: str, folder: str) -> tuple[str, ...]:
        """Returns the paths of the files in a folder and below, as `Branches.paths`."""
        return self._branches.paths(commit, folder)

    def last_changed(self, commit: str, path: str) -> datetime | None:
        """Returns when a file was last changed, as `Branches.last_changed`."""
        return self._branches.last_changed(commit, path)

    def read_at(self, commit: str, path: str, time: datetime) -> bytes | None:
        """Returns the content of a file at a time, as `Branches.read_at`."""
        return self._branches.read_at(commit, path, time)

    def declined(self, branch: str) -> tuple[DeclinedProposal, ...]:
        """Returns the proposals of the branch that a person closed without a merge, newest first."""
        return tuple(each.proposal for each in self.closed_pull_requests(branch) if each.declined)

    def closed_pull_requests(self, branch: str) -> tuple[ClosedPullRequest, ...]:
        """Returns closed pull requests, as `PullRequests.closed_pull_requests`; requested once."""
        if branch not in self._closed:
            self._closed[branch] = self._pulls.closed_pull_requests(branch)
        return self._closed[branch]

    def comment_commands(self, branch: str, base: str) -> tuple[CommentCommand, ...]:
        """Returns the commands under the open pull request of the branch and its latest closed ones."""
        opened = self._pulls.find_open(branch, self.branch_head(base)[0])
        numbers = [opened[0].number] if opened else []
        numbers += [each.proposal.number for each in self.closed_pull_requests(branch)[:_MAX_CLOSED_READ]]
        return PullRequestComments(self._connection).commands(dict.fromkeys(numbers))

    def parent_of(self, commit: str) -> str:
        """Returns the first parent of a commit, as `Branches.parent_of`."""
        return self._branches.parent_of(commit)

    def is_public(self) -> bool:
        """Whether the repository is public."""
        return not self._connection.repository.private

    def state_store(self, branch: str, path: str, title: str, max_bytes: int) -> StateStore:
        """Returns a file of a separate branch as the store of state."""
        return BranchStateStore(self._connection, branch, path, title, max_bytes)

    def update_tracking_issue(
        self, marker: str, findings: Collection[str], title: str, body: str
    ) -> tuple[IssueStep, str]:
        """Updates the tracking issue, as `TrackingIssue.update`."""
        return TrackingIssue(self._connection).update(marker, findings, title, body)

    def fork_point(self, base: str, head: str) -> str:
        """Returns the newest common ancestor, as `Branches.fork_point`."""
        return self._branches.fork_point(base, head)

    def pull_request_head(self, number: int) -> str:
        """Returns the head of a pull request, as `PullRequests.head_commit`."""
        return self._pulls.head_commit(number)

    def upsert_comment(self, number: int, marker: str, comment: str, *, create: bool) -> str:
        """Edits or writes a comment, as `PullRequests.upsert_comment`."""
        return self._pulls.upsert_comment(number, marker, comment, create=create)

    def origin_lookup(self, base: str) -> Callable[[Run], Origin]:
        """Returns a function that finds the origin of a run, compared with `base` (empty: the default branch)."""
        name = base or self._connection.repository.default_branch
        return WorkflowRuns(self._connection, self._branches, name).origin

    def publish(self, publication: Publication, now: datetime) -> PublishResult:  # noqa: ARG002 - GitHub dates commits
        """Brings branch and pull request to the proposal, or leaves them unchanged and gives the reason.

        Raises:
            PullRequestError: the names are unusable, a person owns the branch, it moved in between, or GitHub
                denies a request.
        """
        check_fingerprint(publication)
        if not is_branch_name(publication.branch):
            raise PullRequestError(f"The input branch is {publication.branch!r}: git does not take that as a name.")
        base, base_sha = self.branch_head(publication.base)
        expected = publication.expected_base or base_sha
        paths = {publication.path, *publication.other_files} if expected != base_sha else ()
        if any(self.read(expected, path) != self.read(base_sha, path) for path in paths):
            raise PullRequestError(f"The policy on {base!r} changed while the proposal was made: run again.")
        if publication.branch == base:
            raise PullRequestError(f"The input branch is {base!r}, the base itself: name another.")
        scope = fingerprint_scope(publication.fingerprint)
        changes = not publication.is_held_by(lambda path: self.read(base_sha, path))
        branch = self._branches.proposal_branch(
            publication.branch, base_sha, publication.path, publication.fingerprint_for
        )
        opened = self._pulls.find_open(publication.branch, base)
        closed = () if opened else self._pulls.closed_pull_requests(publication.branch)
        same_scope = [each for each in closed if fingerprint_scope(each.proposal.fingerprint) == scope]
        if branch and branch.merged and any(each.merged for each in same_scope):
            # A branch left over from a merge, by whichever button: the base holds all of it.
            branch = replace(branch, is_own=True, has_own_commits=True)
        declined = [each.proposal for each in same_scope if each.declined]
        open_pull_request = opened[0] if opened else None
        decision = plan_step(
            WantedProposal(publication.fingerprint, base, changes), branch, open_pull_request, declined
        )
        work = _PlannedWork(
            self._branches,
            self._pulls,
            self._comments,
            self._options,
            publication,
            base,
            base_sha,
            branch,
            open_pull_request,
        )
        return work.execute(decision, opened[1] if opened else None)


@dataclass(frozen=True, slots=True)
class _PlannedWork:
    """A proposal with the present state of its branch and pull request."""

    branches: Branches
    pulls: PullRequests
    comments: LineComments
    pull_request_options: PullRequestOptions
    publication: Publication
    base: str
    base_sha: str
    branch: ProposalBranch | None
    pull: OpenPullRequest | None

    def execute(self, decision: PlannedStep, opened: PullRequestReference | None) -> PublishResult:
        """Executes a planned step and returns the result."""
        try:
            operation, head, reference = self._carry_out(decision, opened)
        except CreationForbiddenError as error:
            name = self.publication.branch
            head = self.branches.commit_at(name) or ""
            return PublishResult(
                PullRequestOperation.NONE, name, head, self.base_sha, failure=str(error), manual_url=error.manual_url
            )
        number, url, warning = (
            (reference.number, reference.url, reference.warning) if reference else (decision.declined, "", "")
        )
        explanation = decision.reason if operation in (PullRequestOperation.NONE, PullRequestOperation.CLOSED) else ""
        reason = " ".join(filter(None, [explanation, warning]))
        return PublishResult(operation, self.publication.branch, head, self.base_sha, reason, number, url)

    def _carry_out(
        self, decision: PlannedStep, opened: PullRequestReference | None
    ) -> tuple[PullRequestOperation, str, PullRequestReference | None]:
        name, head = self.publication.branch, self.branch.head if self.branch else ""
        match decision.step:
            case PullRequestStep.FOREIGN:
                raise PullRequestError(f"The branch {name!r} is not this program's: name another in the input branch.")
            case PullRequestStep.OTHER_SCOPE:
                raise PullRequestError(
                    f"The branch {name!r} holds the proposal for another role or policy file: name a separate branch "
                    "for each in the input branch."
                )
            case PullRequestStep.CREATE | PullRequestStep.UPDATE:
                return self._comment_on_lines(
                    self._write_pull_request(self._commit_and_move_branch(), opened, decision.declined)
                )
            case PullRequestStep.CREATE_PULL | PullRequestStep.REWORD:
                return self._write_pull_request(head, opened, decision.declined)
            case PullRequestStep.CLOSE if opened:
                self.pulls.close(opened.number, _CLOSED_MARKER, _CLOSED)
                self.branches.move_branch(name, head, None)
                return PullRequestOperation.CLOSED, "", opened
            case PullRequestStep.DELETE_BRANCH:
                self.branches.move_branch(name, head, None)
                return PullRequestOperation.NONE, "", None
            case _ if opened and decision.is_current:
                self._resume(opened)
            case _ if opened:
                self._explain_no_update(decision.step, opened)
        return PullRequestOperation.NONE, head, opened

    def _explain_no_update(self, step: PullRequestStep, opened: PullRequestReference) -> None:
        """Comments once why a pull request is left alone, if there is a reason to give."""
        match step:
            case PullRequestStep.LEAVE_EDITED:
                self.pulls.upsert_comment(opened.number, _EDITED_MARKER, _EDITED, EDITED_LABEL)
            case PullRequestStep.LEAVE_RETARGETED:
                self.pulls.upsert_comment(opened.number, _EDITED_MARKER, _RETARGETED, EDITED_LABEL)
            case PullRequestStep.LEAVE_OBSOLETE:
                self.pulls.upsert_comment(opened.number, _EDITED_MARKER, _OBSOLETE)

    def _resume(self, opened: PullRequestReference) -> None:
        """Removes the label and edits the comment that said that a pull request is left alone."""
        if self.pull and self.pull.has_label(EDITED_LABEL):
            self.pulls.resume(opened.number, _EDITED_MARKER, _RESUMED, EDITED_LABEL)

    def _write_pull_request(
        self, head: str, opened: PullRequestReference | None, declined: int
    ) -> tuple[PullRequestOperation, str, PullRequestReference]:
        title, body = self.publication.title, self.publication.body
        if opened:
            self.pulls.edit(opened.number, title, body)
            self._resume(opened)
            return PullRequestOperation.UPDATED, head, opened
        if declined:
            body += f"\nWhat was declined in #{declined} is not part of this.\n"
        reference = self.pulls.create(self.base, self.publication.branch, title, body, self.pull_request_options)
        return PullRequestOperation.CREATED, head, reference

    def _comment_on_lines(
        self, written: tuple[PullRequestOperation, str, PullRequestReference]
    ) -> tuple[PullRequestOperation, str, PullRequestReference]:
        """Comments with the evidence at the changed lines of the new commit."""
        operation, head, pull = written
        comments, is_new = self.publication.comments, operation is PullRequestOperation.CREATED
        warning = self.comments.replace(pull.number, head, comments, is_new=is_new)
        return operation, head, replace(pull, warning=" ".join(filter(None, [pull.warning, warning])))

    def _commit_and_move_branch(self) -> str:
        """Creates one commit on the base's head and moves the branch to it once; returns it."""
        publication = self.publication
        if not publication.files:
            raise PullRequestError("There is no content to commit.")
        message = commit_message(publication)
        head = self.branches.create_commit(self.base_sha, publication.files, message)
        self.branches.move_branch(publication.branch, self.branch.head if self.branch else None, head)
        return head
