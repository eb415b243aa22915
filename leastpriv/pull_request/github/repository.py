"""Publishes a proposal on GitHub, by one step of the lifecycle."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Self

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.errors import PullRequestError
from leastpriv.pull_request.git_repository import trailer_fingerprint
from leastpriv.pull_request.github.branches import Branches
from leastpriv.pull_request.github.client import Connection, CreationForbiddenError
from leastpriv.pull_request.github.pull_requests import OtherPullRequest, PullRequests
from leastpriv.pull_request.github.snapshot import BranchHead, read_snapshot
from leastpriv.pull_request.github.state_branch import BranchStateStore, StateBranch
from leastpriv.pull_request.github.tracking_issue import TrackingIssues
from leastpriv.pull_request.github.workflow_runs import WorkflowRuns
from leastpriv.pull_request.lifecycle import (
    EDITED_LABEL,
    HELD_LABEL,
    ClosedPullRequest,
    Hold,
    Holds,
    MarkedPullRequest,
    OpenPullRequest,
    PlannedStep,
    ProposalBranch,
    PullRequestStep,
    WantedProposal,
    fingerprint_scope,
    has_label,
    plan_step,
)
from leastpriv.pull_request.models import (
    BaseBranch,
    OriginLookup,
    Publication,
    PublishResult,
    PullRequestOperation,
    TargetFiles,
    commit_message,
)

_EDITED_MARKER = "<!-- leastpriv:edited v=1 -->"


class _Notice(Struct, frozen=True):
    """What a pull request that is left alone gets once."""

    comment: str
    label: str = ""


_LEFT_ALONE: Mapping[PullRequestStep, _Notice] = {
    PullRequestStep.LEAVE_EDITED: _Notice(
        (
            "This branch has commits of others, so it is left alone: tick the box in the"
            " description to rebuild it (commits of others on it are lost), or close this pull"
            " request."
        ),
        EDITED_LABEL,
    ),
    PullRequestStep.LEAVE_RETARGETED: _Notice(
        (
            "This pull request targets another branch than the one the proposal is made for, so it"
            " is left alone: set the target back, or close it and name the other branch in the"
            " input `base`."
        ),
        EDITED_LABEL,
    ),
    PullRequestStep.LEAVE_OBSOLETE: _Notice(
        (
            "No change is left: the policy now matches the evidence. The pull request is not"
            " closed, because its branch has commits of others."
        ),
    ),
}
"""The comment says why the pull request is left alone."""
_REFUSALS = {
    PullRequestStep.FOREIGN: (
        "The branch {branch!r} is not this program's: name another in the input branch."
    ),
    PullRequestStep.OTHER_SCOPE: (
        "The branch {branch!r} holds the proposal for another role or policy file: name a separate"
        " branch for each in the input branch."
    ),
}
"""The sentence for a branch that is no proposal of this policy file."""
_NOTHING_BUT_DECLINED = (
    "No other change is left. The pull request is not closed, because its branch has commits of"
    " others."
)
"""In place of the comment that the policy matches the evidence."""
_RESUMED = "The branch was left alone for a while; it follows the evidence again."
_HELD_MARKER = "<!-- leastpriv:held v=1 -->"
_HELD = (
    "**Held for now.** {reason} The pull request remains open as an earlier run made it: merge it"
    " only after that."
)
"""The comment that says why the changes wait."""
_GOES_ON = "The changes were held back for a while; the pull request follows the evidence again."


class GitHubRepository:
    """A repository on GitHub, by its API only: no checkout, no git, no write in the workspace."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.branches = Branches(connection)
        self.pull_requests = PullRequests(connection)
        # One of each serves all targets of a run.
        self._state_branches: dict[str, StateBranch] = {}
        self._workflow_runs: dict[tuple[str, tuple[str, ...]], WorkflowRuns] = {}

    @property
    def github(self) -> Self:
        """The repository itself; one on disk has None."""
        return self

    @property
    def full_name(self) -> str:
        """Owner and name."""
        return self._connection.repository.full_name

    @property
    def is_public(self) -> bool:
        """Whether the repository is public."""
        return not self._connection.repository.private

    def branch_head(self, base: str = "") -> BaseBranch:
        """Returns name and commit of the branch `base`, or of the default branch, as the run first
        read it.
        """
        return self.branches.base_head(base)

    def read_ahead(
        self, base: str, targets: Sequence[TargetFiles], labels: Sequence[str] = ()
    ) -> None:
        """Reads the branches, pull requests and files of all targets with few requests, as of the
        present head of the base.

        Open pull requests of other branches are read where they have one of the labels.
        """
        branch = self.branches.renew_base_head(base)
        snapshot = read_snapshot(self._connection, branch, targets, labels)
        self.branches.use_snapshot(snapshot)
        self.pull_requests.use_snapshot(snapshot.pulls, snapshot.opened)

    def read(self, commit: str, path: str) -> bytes | None:
        """Returns the content of a file in a commit; None if the commit lacks it."""
        return self.branches.read(commit, path)

    def paths(self, commit: str, folder: str) -> tuple[str, ...]:
        """Returns the paths of the files in a folder and below."""
        return self.branches.paths(commit, folder)

    def last_changed(self, commit: str, path: str) -> datetime | None:
        """Returns when a file was last changed, as of a commit (aware, UTC)."""
        return self.branches.last_changed(commit, path)

    def read_at(self, commit: str, path: str, time: datetime) -> bytes | None:
        """Returns the content of a file at a time (aware), as of a commit."""
        return self.branches.read_at(commit, path, time)

    def earlier_names(self, commit: str, path: str) -> tuple[str, ...]:
        """Returns the paths that a file had before it was moved, as of a commit."""
        return self.branches.earlier_names(commit, path)

    def state_store(self, branch: str, path: str, title: str, max_bytes: int) -> BranchStateStore:
        """Returns a file of a separate branch as the store of state."""
        if branch not in self._state_branches:
            self._state_branches[branch] = StateBranch(self._connection, branch)
        return self._state_branches[branch].store(path, title, max_bytes)

    def origin_lookup(self, base: str, reviewed_refs: tuple[str, ...] = ()) -> OriginLookup:
        """Returns what finds the origins of runs, compared with `base` (empty: the default branch)
        and the input `reviewed-refs`.
        """
        name = base or self._connection.repository.default_branch
        if (name, reviewed_refs) not in self._workflow_runs:
            self._workflow_runs[name, reviewed_refs] = WorkflowRuns(
                self._connection, self.branches, name, reviewed_refs
            )
        runs = self._workflow_runs[name, reviewed_refs]
        return OriginLookup(runs.origin_by_login, runs.origin)

    def close_orphan(self, pull: MarkedPullRequest, reason: str) -> bool:
        """Closes a pull request whose target has another branch now, or is gone, and deletes its
        branch; whether it did.

        One with commits of a person, or that is paused, is left open; the former gets the reason
        as a comment.

        Args:
            pull: The pull request.
            reason: What follows `since`, in Markdown.
        """
        if pull.is_paused:
            return False
        base = self.branches.base_head(pull.base)
        head = self.branches.commit_at(pull.branch)
        if head and not self.branches.is_only_by_program(base.commit, head):
            comment = f"This is no longer updated, since {reason}"
            self.pull_requests.upsert_comment(pull.number, _EDITED_MARKER, comment, EDITED_LABEL)
            return False
        self.pull_requests.close(pull.number, f"Closed, since {reason} This declines nothing.")
        if head:
            self.branches.move_branch(pull.branch, head, None)
        return True

    def hold_orphan(self, pull: MarkedPullRequest, hold: Hold) -> None:
        """Says in a comment and by a label why the changes of a pull request of an earlier name
        wait; not of one that is paused.
        """
        if pull.is_paused:
            return
        comment = _HELD.format(reason=hold.markdown)
        self.pull_requests.upsert_comment(pull.number, _HELD_MARKER, comment, HELD_LABEL)

    def tracking_issues(self) -> TrackingIssues:
        """Returns the tracking issues of the repository."""
        return TrackingIssues(self._connection)

    # GitHub itself dates commits, so the time is not used.
    def publish(self, publication: Publication, now: datetime) -> PublishResult:  # noqa: ARG002
        """Brings branch and pull request to the proposal, or leaves them unchanged and gives the
        reason.
        """
        unchanged = self._unchanged(publication)
        if unchanged:
            return unchanged
        base = self.branches.branch_head(publication.base)
        if self._has_base_changed(publication, base):
            raise PullRequestError(
                f"The policy on {base.name!r} changed while the proposal was made: run again."
            )
        if publication.branch == base.name:
            raise PullRequestError(
                f"The input branch is {base.name!r}, the base itself: name another."
            )
        changes = not publication.is_part_of(lambda path: self.read(base.commit, path))
        branch = self.branches.proposal_branch(publication, base.commit)
        pulls = self.pull_requests.of_branch(publication.branch, base.name)
        closed = () if pulls.own else self.pull_requests.list_closed(publication.branch, base.name)
        has_merged = any(
            pull.merged_at and fingerprint_scope(pull.fingerprint) in publication.scopes
            for pull in closed
        )
        if branch and branch.merged and has_merged:
            # A branch left over from a merge, by whichever button: the base holds all of it.
            branch = replace(branch, is_own=True, has_own_commits=True)
        is_on_base = branch is not None and all(
            self.read(base.commit, path) == self.read(branch.head, path) for path in branch.files
        )
        planned = plan_step(
            WantedProposal(
                fingerprint=publication.fingerprint,
                base=base.name,
                changes=changes,
                holds=Holds() if is_on_base else publication.holds,
                former_scopes=publication.scopes,
            ),
            branch,
            pulls.own,
            _declined(closed, publication),
        )
        work = _PlannedWork(
            branches=self.branches,
            pull_requests=self.pull_requests,
            publication=publication,
            base=base,
            branch=branch,
            opened=pulls.own,
            other=pulls.other,
        )
        return work.execute(planned)

    def _has_base_changed(self, publication: Publication, base: BaseBranch) -> bool:
        """Whether the base has other files than the commit that the proposal was made for."""
        expected = publication.expected_base
        if expected in ("", base.commit):
            return False
        paths = {publication.path, *publication.files}
        return any(self.read(expected, path) != self.read(base.commit, path) for path in paths)

    def _unchanged(self, publication: Publication) -> PublishResult | None:
        """Returns the result if the snapshot of the run shows that nothing is to be written.

        None: there is no snapshot, or something may have to be written.
        """
        base = self.branch_head(publication.base)
        try:
            head = self.branches.known_head(publication.branch)
        except KeyError:
            return None
        if publication.expected_base not in ("", base.commit) or publication.branch == base.name:
            return None
        changes = not publication.is_part_of(lambda path: self.read(base.commit, path))
        branch = None
        if head:
            path = publication.path
            is_on_base = self.read(head.sha, path) == self.read(base.commit, path)
            if is_on_base or (changes and not self._is_proposal(publication, head)):
                return None
            branch = ProposalBranch(
                head=head.sha,
                is_own=True,
                has_own_commits=True,
                fingerprint=trailer_fingerprint(head.message),
            )
        pulls = self.pull_requests.known_of_branch(publication.branch, base.name)
        closed: tuple[ClosedPullRequest, ...] = ()
        if pulls.own is None:
            closed = self.pull_requests.closed(publication.branch, publication.base)
        proposal = WantedProposal(
            fingerprint=publication.fingerprint,
            base=base.name,
            changes=changes,
            holds=publication.holds,
            former_scopes=publication.scopes,
        )
        planned = plan_step(proposal, branch, pulls.own, _declined(closed, publication))
        work = _PlannedWork(
            branches=self.branches,
            pull_requests=self.pull_requests,
            publication=publication,
            base=base,
            branch=branch,
            opened=pulls.own,
            other=pulls.other,
        )
        return work.execute(planned) if work.writes_nothing(planned) else None

    def _is_proposal(self, publication: Publication, head: BranchHead) -> bool:
        """Whether a branch is one commit on the base's history that makes the changes of the
        proposal and no others.
        """
        if head.ahead_by != 1 or len(head.parents) != 1:
            return False
        if trailer_fingerprint(head.message) != publication.fingerprint:
            return False
        changed = [
            path
            for path, content in publication.files.items()
            if self.read(head.parents[0], path) != content
        ]
        return head.changed_files == len(changed) and publication.is_part_of(
            lambda path: self.read(head.sha, path)
        )


def _declined(
    closed: Iterable[ClosedPullRequest], publication: Publication
) -> tuple[ClosedPullRequest, ...]:
    """Returns the declined pull requests of the same principal and policy file."""
    return tuple(
        pull
        for pull in closed
        if pull.declined and fingerprint_scope(pull.fingerprint) in publication.scopes
    )


class _PlannedWork(Struct, frozen=True):
    """A proposal with the present state of its branch and pull request."""

    branches: Branches
    pull_requests: PullRequests
    publication: Publication
    base: BaseBranch
    branch: ProposalBranch | None
    opened: OpenPullRequest | None
    other: OtherPullRequest | None
    """Another author's pull request of the branch into the base."""

    def writes_nothing(self, planned: PlannedStep) -> bool:
        """Whether the step changes nothing, as the snapshot of the run shows it."""
        if planned.step is PullRequestStep.HOLD and self.opened:
            has_comment = self.pull_requests.has_comment(
                self.opened.number, _HELD_MARKER, _HELD.format(reason=planned.comment)
            )
            return has_comment and has_label(self.opened.labels, HELD_LABEL)
        is_resumed = (
            planned.is_current
            and self.opened is not None
            and (
                has_label(self.opened.labels, EDITED_LABEL)
                or has_label(self.opened.labels, HELD_LABEL)
            )
        )
        return planned.step is PullRequestStep.NOTHING and not is_resumed

    def execute(self, planned: PlannedStep) -> PublishResult:
        """Executes a planned step and returns the result."""
        head = self.branch.head if self.branch else ""
        match planned.step:
            case PullRequestStep.FOREIGN | PullRequestStep.OTHER_SCOPE:
                refusal = _REFUSALS[planned.step].format(branch=self.publication.branch)
                raise PullRequestError(refusal)
            case PullRequestStep.CREATE | PullRequestStep.UPDATE:
                return self._write_branch(planned.declined)
            case PullRequestStep.CREATE_PULL | PullRequestStep.REWORD:
                return self._write_pull_request(head, planned.declined)
        unchanged = self._result(
            PullRequestOperation.NONE,
            head,
            reason=planned.reason,
            number=self.opened.number if self.opened else planned.declined,
        )
        if planned.step is PullRequestStep.DELETE_BRANCH:
            self._delete_branch()
            return replace(unchanged, head_sha="")
        if self.opened:
            return self._execute_on_open(planned, self.opened, unchanged)
        return unchanged

    def _execute_on_open(
        self, planned: PlannedStep, opened: OpenPullRequest, unchanged: PublishResult
    ) -> PublishResult:
        """Holds, closes, leaves alone or resumes the open pull request; returns the result.

        Args:
            planned: The step, which writes no proposal.
            opened: The pull request.
            unchanged: The result where nothing is written.
        """
        match planned.step:
            case PullRequestStep.HOLD:
                if not self.writes_nothing(planned):
                    comment = _HELD.format(reason=planned.comment)
                    self.pull_requests.upsert_comment(
                        opened.number, _HELD_MARKER, comment, HELD_LABEL
                    )
                return replace(unchanged, operation=PullRequestOperation.HELD)
            case PullRequestStep.CLOSE:
                reason = self.publication.holds.closing_reason(opened.changes)
                self.pull_requests.close(opened.number, reason)
                self._delete_branch()
                return replace(unchanged, operation=PullRequestOperation.CLOSED, head_sha="")
            case step if step in _LEFT_ALONE:
                notice = self._notice(step)
                self.pull_requests.upsert_comment(
                    opened.number, _EDITED_MARKER, notice.comment, notice.label
                )
            case _ if planned.is_current:
                self._resume()
        return unchanged

    def _delete_branch(self) -> None:
        """Deletes the branch of the proposal, unless it moved since it was read."""
        head = self.branch.head if self.branch else ""
        self.branches.move_branch(self.publication.branch, head, None)

    def _notice(self, step: PullRequestStep) -> _Notice:
        """Returns why a pull request is left alone, and what a person declined by its branch."""
        notice = _LEFT_ALONE[step]
        taken_away = self.publication.taken_away
        if not taken_away:
            return notice
        comment = notice.comment
        if step is PullRequestStep.LEAVE_OBSOLETE:
            comment = _NOTHING_BUT_DECLINED
        return replace(notice, comment=f"{comment} {taken_away}")

    def _result(
        self, operation: PullRequestOperation, head: str, *, reason: str = "", number: int = 0
    ) -> PublishResult:
        """Returns the result for the open pull request, or for the number of another one."""
        return PublishResult(
            operation=operation,
            branch=self.publication.branch,
            head_sha=head,
            base_sha=self.base.commit,
            reason=reason,
            number=self.opened.number if self.opened else number,
            url=self.opened.url if self.opened else "",
        )

    def _blocked_by(self, other: OtherPullRequest, head: str) -> PublishResult:
        """Returns the result where another author's pull request has branch and base: its text is
        the author's.
        """
        blocked = self._result(PullRequestOperation.NONE, head)
        author = other.author or "a deleted account"
        sentence = (
            f"The branch {self.publication.branch} holds the proposal, and #{other.number} by"
            f" {author} already asks to merge it into {self.base.name}: close that pull request to"
            " get one with the evidence."
        )
        if other.is_by_writer:
            return replace(blocked, reason=sentence)
        return replace(blocked, failure=sentence)

    def _resume(self) -> None:
        """Removes the labels and edits the comments that said that a pull request is left alone or
        held.
        """
        if self.opened is None:
            return
        if has_label(self.opened.labels, EDITED_LABEL):
            self.pull_requests.resume(self.opened.number, _EDITED_MARKER, _RESUMED, EDITED_LABEL)
        if has_label(self.opened.labels, HELD_LABEL):
            self.pull_requests.resume(self.opened.number, _HELD_MARKER, _GOES_ON, HELD_LABEL)

    def _write_branch(self, declined: int) -> PublishResult:
        """Moves the branch once to one commit on the base's head; comments at the changed lines of
        that commit.
        """
        publication = self.publication
        head = self.branches.create_commit(
            self.base.commit, publication.files, commit_message(publication)
        )
        before = self.branch.head if self.branch else None
        self.branches.move_branch(publication.branch, before, head)
        publish_result = self._write_pull_request(head, declined)
        if not publish_result.number:
            return publish_result
        warning = self.pull_requests.replace_line_comments(
            publish_result.number,
            head,
            publication.comments,
            is_new=publish_result.operation is PullRequestOperation.CREATED,
        )
        return replace(
            publish_result, reason=" ".join(filter(None, [publish_result.reason, warning]))
        )

    def _write_pull_request(self, head: str, declined: int) -> PublishResult:
        """Edits the open pull request, or opens one for the branch at `head`; another author's pull
        request of the branch blocks it.
        """
        title, body = self.publication.title, self.publication.body
        if self.opened:
            self.pull_requests.edit(self.opened.number, title, body)
            self._resume()
            return self._result(PullRequestOperation.UPDATED, head)
        if self.other:
            return self._blocked_by(self.other, head)
        if declined:
            body += f"\nWhat was declined in #{declined} is not part of this.\n"
        try:
            created = self.pull_requests.create(
                self.base.name, self.publication.branch, title, body, self.publication.options
            )
        except CreationForbiddenError as error:
            head = self.branches.commit_at(self.publication.branch) or ""
            publish_result = self._result(PullRequestOperation.NONE, head)
            return replace(publish_result, failure=str(error), manual_url=error.manual_url)
        publish_result = self._result(
            PullRequestOperation.CREATED, head, reason=created.warning, number=created.number
        )
        return replace(publish_result, url=created.url)
