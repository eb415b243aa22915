"""GitHub as the place of the pull request: carries out one step of the life cycle."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import datetime

from leastpriv.errors import PullRequestError
from leastpriv.models import Origin, Run
from leastpriv.pull_request.comment_commands import Said
from leastpriv.pull_request.github.branches import Branches
from leastpriv.pull_request.github.client import Connection, CreationForbiddenError
from leastpriv.pull_request.github.comments import Comments, LineComments
from leastpriv.pull_request.github.issues import TrackingIssue
from leastpriv.pull_request.github.pull_requests import Closed, Manners, OpenPull, PullRequests
from leastpriv.pull_request.github.state_branch import EvidenceBranch
from leastpriv.pull_request.github.workflow_runs import WorkflowRuns
from leastpriv.pull_request.lifecycle import (
    EDITED_LABEL,
    Branch,
    Decision,
    Declined,
    Pull,
    Step,
    Wanted,
    decide,
    scope_of,
)
from leastpriv.pull_request.models import (
    Operation,
    Publication,
    Published,
    checked_fingerprint,
    commit_message,
    is_branch_name,
)
from leastpriv.pull_request.state_store import Shelf
from leastpriv.pull_request.tracking_issue import IssueStep

_LISTENED_TO = 5
"""Closed pull requests of the branch whose comments are read, each by a request of its own."""
_EDITED_MARKER = "<!-- leastpriv:edited v=1 -->"
_CLOSED_MARKER = "<!-- leastpriv:closed v=1 -->"
_EDITED = (
    "Somebody worked on this branch, so it is left as it is: tick the box in the description to have it made anew "
    "(commits of others on it are lost), or close this pull request."
)
_RETARGETED = (
    "This pull request asks to be merged into another branch than the one the proposal is made for, so it is left as "
    "it is: set the target back, or close it and name the other branch in the input `base`."
)
_OBSOLETE = (
    "Nothing is left to change: the policy now is as the evidence says. The pull request is not closed, because "
    "somebody worked on its branch."
)
_TAKEN_BACK = "The branch was left as it is for a while; it follows the evidence again."
_CLOSED = "Nothing is left to change: the policy on the base branch now is as the evidence says."


class GitHubPlace:
    """A `Place` on GitHub, by API only: no checkout, no git, no write in the workspace."""

    def __init__(self, connection: Connection, manners: Manners) -> None:
        self._connection = connection
        self._branches = Branches(connection)
        self._pulls = PullRequests(connection)
        self._comments = LineComments(connection)
        self._manners = manners
        self._closed: dict[str, tuple[Closed, ...]] = {}

    def with_manners(self, manners: Manners) -> GitHubPlace:
        """The same repository for pull requests that are given something else."""
        return GitHubPlace(self._connection, manners)

    def head_of(self, base: str) -> tuple[str, str]:
        """As `Branches.head_of`."""
        return self._branches.head_of(base)

    def read(self, commit: str, path: str) -> bytes | None:
        """As `Branches.read`."""
        return self._branches.read(commit, path)

    def changed_at(self, commit: str, path: str) -> datetime | None:
        """As `Branches.changed_at`."""
        return self._branches.changed_at(commit, path)

    def earlier(self, commit: str, path: str, time: datetime) -> bytes | None:
        """As `Branches.earlier`."""
        return self._branches.earlier(commit, path, time)

    def declined(self, branch: str) -> tuple[Declined, ...]:
        """Proposals of the branch that a person closed without merging, newest first."""
        return tuple(each.proposal for each in self.closed(branch) if each.declined)

    def closed(self, branch: str) -> tuple[Closed, ...]:
        """As `PullRequests.closed`; asked once."""
        if branch not in self._closed:
            self._closed[branch] = self._pulls.closed(branch)
        return self._closed[branch]

    def said(self, branch: str, base: str) -> tuple[Said, ...]:
        """What people asked for under the open pull request of the branch and its latest closed ones."""
        found = self._pulls.open_pull(branch, self.head_of(base)[0])
        pulls = [found[0].number] if found else []
        pulls += [each.proposal.number for each in self.closed(branch)[:_LISTENED_TO]]
        return Comments(self._connection).said(dict.fromkeys(pulls))

    def parent_of(self, commit: str) -> str:
        """As `Branches.parent_of`."""
        return self._branches.parent_of(commit)

    def is_public(self) -> bool:
        """Whether everybody may read the repository."""
        return not self._connection.repository.private

    def shelf(self, branch: str, path: str, title: str, longest: int) -> Shelf:
        """One file of a branch of its own for what is remembered."""
        return EvidenceBranch(self._connection, branch, path, title, longest)

    def track(self, marker: str, findings: Collection[str], title: str, body: str) -> tuple[IssueStep, str]:
        """As `TrackingIssue.keep`."""
        return TrackingIssue(self._connection).keep(marker, findings, title, body)

    def fork_point(self, base: str, head: str) -> str:
        """As `Branches.fork_point`."""
        return self._branches.fork_point(base, head)

    def head_of_pull(self, number: int) -> str:
        """As `PullRequests.head_of`."""
        return self._pulls.head_of(number)

    def say_once(self, number: int, marker: str, comment: str, *, anew: bool) -> str:
        """As `PullRequests.say_once`."""
        return self._pulls.say_once(number, marker, comment, anew=anew)

    def origins(self, base: str) -> Callable[[Run], Origin]:
        """Asks where a run came from, judged against the branch `base` (empty: the default branch)."""
        name = base or self._connection.repository.default_branch
        return WorkflowRuns(self._connection, self._branches, name).origin

    def publish(self, publication: Publication, now: datetime) -> Published:  # noqa: ARG002 - GitHub dates commits
        """Brings branch and pull request to the proposal, or leaves them alone and says why.

        Raises:
            PullRequestError: the names are unusable, the branch is not ours or was moved meanwhile, or GitHub refuses.
        """
        base, base_sha = self._checked(publication)
        scope = scope_of(publication.fingerprint)
        changes = not publication.is_there(lambda path: self.read(base_sha, path))
        branch = self._branches.branch(publication.branch, base_sha, publication.path, publication.certify)
        found = self._pulls.open_pull(publication.branch, base)
        closed = () if found else self._pulls.closed(publication.branch)
        ours = [each for each in closed if scope_of(each.proposal.fingerprint) == scope]
        if branch and branch.merged and any(each.merged for each in ours):
            # What is left over from a merge, by whichever button: all of it is on the base.
            branch = replace(branch, ours=True, ever_ours=True)
        declined = [each.proposal for each in ours if each.declined]
        pull = found[0] if found else None
        decision = decide(Wanted(publication.fingerprint, base, changes), branch, pull, declined)
        work = _Work(
            self._branches, self._pulls, self._comments, self._manners, publication, base, base_sha, branch, pull
        )
        return work.do(decision, found[1] if found else None)

    def _checked(self, publication: Publication) -> tuple[str, str]:
        checked_fingerprint(publication)
        if not is_branch_name(publication.branch):
            raise PullRequestError(f"The input branch is {publication.branch!r}: git does not take that as a name.")
        base, base_sha = self.head_of(publication.base)
        expected = publication.expected_base or base_sha
        paths = {publication.path, *publication.further} if expected != base_sha else ()
        if any(self.read(expected, path) != self.read(base_sha, path) for path in paths):
            raise PullRequestError(f"The policy on {base!r} changed while the proposal was made: run again.")
        if publication.branch == base:
            raise PullRequestError(f"The input branch is {base!r}, the base itself: name another.")
        return base, base_sha


@dataclass(frozen=True, slots=True)
class _Work:
    """Everything that a step needs."""

    branches: Branches
    pulls: PullRequests
    comments: LineComments
    manners: Manners
    publication: Publication
    base: str
    base_sha: str
    branch: Branch | None
    pull: Pull | None

    def do(self, decision: Decision, opened: OpenPull | None) -> Published:
        """Carries out the decision."""
        try:
            operation, head, at = self._step(decision, opened)
        except CreationForbiddenError as error:
            name = self.publication.branch
            head = self.branches.commit_at(name) or ""
            return Published(Operation.NONE, name, head, self.base_sha, failure=str(error), link=error.link)
        number, url, lacking = (at.number, at.url, at.lacking) if at else (decision.declined, "", "")
        why = decision.reason if operation in (Operation.NONE, Operation.CLOSED) else ""
        reason = " ".join(filter(None, [why, lacking]))
        return Published(operation, self.publication.branch, head, self.base_sha, reason, number, url)

    def _step(self, decision: Decision, opened: OpenPull | None) -> tuple[Operation, str, OpenPull | None]:
        name, head = self.publication.branch, self.branch.head if self.branch else ""
        match decision.step:
            case Step.FOREIGN:
                raise PullRequestError(f"The branch {name!r} is not this program's: name another in the input branch.")
            case Step.OTHER_SCOPE:
                raise PullRequestError(
                    f"The branch {name!r} holds the proposal for another role or policy file: name a branch of its own "
                    "for each in the input branch."
                )
            case Step.CREATE | Step.UPDATE:
                return self._commented(self._written(self._renewed(), opened, decision.declined))
            case Step.CREATE_PULL | Step.REWORD:
                return self._written(head, opened, decision.declined)
            case Step.CLOSE if opened:
                self.pulls.close_pull(opened.number, _CLOSED_MARKER, _CLOSED)
                self.branches.move(name, head, None)
                return Operation.CLOSED, "", opened
            case Step.DELETE_BRANCH:
                self.branches.move(name, head, None)
                return Operation.NONE, "", None
            case _ if opened and decision.settled:
                self._take_back(opened)
            case _ if opened:
                self._leave(decision.step, opened)
        return Operation.NONE, head, opened

    def _leave(self, step: Step, opened: OpenPull) -> None:
        """Says once why a pull request is left as it is, where there is something to say."""
        match step:
            case Step.LEAVE_EDITED:
                self.pulls.say_once(opened.number, _EDITED_MARKER, _EDITED, EDITED_LABEL)
            case Step.LEAVE_RETARGETED:
                self.pulls.say_once(opened.number, _EDITED_MARKER, _RETARGETED, EDITED_LABEL)
            case Step.LEAVE_OBSOLETE:
                self.pulls.say_once(opened.number, _EDITED_MARKER, _OBSOLETE)

    def _take_back(self, opened: OpenPull) -> None:
        """Ends the label and the comment that said that a pull request is left alone."""
        if self.pull and self.pull.has(EDITED_LABEL):
            self.pulls.take_back(opened.number, _EDITED_MARKER, _TAKEN_BACK, EDITED_LABEL)

    def _written(self, head: str, opened: OpenPull | None, earlier: int) -> tuple[Operation, str, OpenPull]:
        title, body = self.publication.title, self.publication.body
        if opened:
            self.pulls.edit_pull(opened.number, title, body)
            self._take_back(opened)
            return Operation.UPDATED, head, opened
        if earlier:
            body += f"\nWhat was declined in #{earlier} is not part of this.\n"
        made = self.pulls.create_pull(self.base, self.publication.branch, title, body, self.manners)
        return Operation.CREATED, head, made

    def _commented(self, done: tuple[Operation, str, OpenPull]) -> tuple[Operation, str, OpenPull]:
        """The evidence at the changed lines of the commit that was just made."""
        operation, head, pull = done
        told, anew = self.publication.comments, operation is Operation.CREATED
        lacking = self.comments.put(pull.number, head, told, anew=anew)
        return operation, head, replace(pull, lacking=" ".join(filter(None, [pull.lacking, lacking])))

    def _renewed(self) -> str:
        """One commit on the base's head, and the branch moved to it once."""
        publication = self.publication
        if not publication.files:
            raise PullRequestError("There is no content to commit.")
        message = commit_message(publication)
        head = self.branches.commit(self.base_sha, publication.files, message)
        self.branches.move(publication.branch, self.branch.head if self.branch else None, head)
        return head
