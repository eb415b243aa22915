"""Carries out one step of the life cycle on GitHub."""

from __future__ import annotations

from dataclasses import dataclass

from leastpriv.errors import PullRequestError
from leastpriv.pull_request.lifecycle import EDITED_LABEL, Branch, Decision, Step, Wanted, decide
from leastpriv.pull_request.local import Operation, Publication, commit_message
from leastpriv.pull_request.repository import GitHubRepository, OpenPull, Words

_EDITED_MARKER = "<!-- leastpriv:edited v=1 -->"
_OBSOLETE_MARKER = "<!-- leastpriv:obsolete v=1 -->"
_EDITED = (
    "Somebody worked on this branch, so it is left as it is. The latest proposal differs from it: tick the box in the "
    "description to have the branch made anew (your commits on it are lost), or close this pull request."
)
_OBSOLETE = (
    "Nothing is left to change: the policy now is as the evidence says. The pull request is not closed, because "
    "somebody worked on its branch."
)
_CLOSED = "Nothing is left to change: the policy on the base branch now is as the evidence says."


@dataclass(frozen=True, slots=True)
class OnGitHub:
    """What publishing did on GitHub."""

    operation: Operation
    branch: str
    head_sha: str
    base_sha: str
    reason: str
    number: int = 0
    url: str = ""


def publish_on_github(repository: GitHubRepository, publication: Publication, words: Words) -> OnGitHub:
    """Brings branch and pull request to the proposal, or leaves them alone and says why.

    Raises:
        PullRequestError: the branch is not ours, was moved meanwhile, or GitHub refuses.
    """
    base, base_sha = repository.head_of(publication.base)
    if publication.expected_base not in ("", base_sha):
        raise PullRequestError(f"The branch {base!r} moved while the proposal was made: run again.")
    if publication.branch == base:
        raise PullRequestError(f"The input branch is {base!r}, the base itself: name another.")
    content = publication.content
    changes = content is not None and repository.read(base_sha, publication.path) != content
    branch = repository.branch(publication.branch, base_sha)
    found = repository.open_pull(publication.branch)
    declined = () if found else repository.declined(publication.branch)
    pull = found[0] if found else None
    decision = decide(Wanted(publication.fingerprint, base, changes), branch, pull, declined)
    return _Work(repository, publication, words, base, base_sha, branch, found[1] if found else None).do(decision)


@dataclass(frozen=True, slots=True)
class _Work:
    """Everything that a step needs."""

    repository: GitHubRepository
    publication: Publication
    words: Words
    base: str
    base_sha: str
    branch: Branch | None
    opened: OpenPull | None

    def do(self, decision: Decision) -> OnGitHub:
        """Carries out the decision."""
        operation, head, at = self._step(decision)
        number, url = (at.number, at.url) if at else (0, "")
        return OnGitHub(operation, self.publication.branch, head, self.base_sha, decision.reason, number, url)

    def _step(self, decision: Decision) -> tuple[Operation, str, OpenPull | None]:
        name, head = self.publication.branch, self.branch.head if self.branch else ""
        match decision.step:
            case Step.FOREIGN:
                raise PullRequestError(f"The branch {name!r} is not this program's: name another in the input branch.")
            case Step.CREATE | Step.UPDATE:
                return self._written(self._renewed())
            case Step.CREATE_PULL:
                return self._written(head)
            case Step.CLOSE | Step.DELETE_BRANCH:
                if self.opened:
                    self.repository.close_pull(self.opened.number, _CLOSED)
                self.repository.move(name, head, None)
                return Operation.CLOSED, "", self.opened
            case Step.LEAVE_EDITED if self.opened:
                self.repository.say_once(self.opened.number, _EDITED_MARKER, _EDITED, EDITED_LABEL)
            case Step.LEAVE_OBSOLETE if self.opened:
                self.repository.say_once(self.opened.number, _OBSOLETE_MARKER, _OBSOLETE)
        return Operation.NONE, head, self.opened

    def _written(self, head: str) -> tuple[Operation, str, OpenPull]:
        if self.opened:
            self.repository.edit_pull(self.opened.number, self.words)
            return Operation.UPDATED, head, self.opened
        return Operation.CREATED, head, self.repository.create_pull(self.base, self.publication.branch, self.words)

    def _renewed(self) -> str:
        """One commit on the base's head, and the branch moved to it once."""
        publication = self.publication
        if publication.content is None:
            raise PullRequestError("There is no content to commit.")
        message = commit_message(publication)
        head = self.repository.commit(self.base_sha, publication.path, publication.content, message)
        self.repository.move(publication.branch, self.branch.head if self.branch else None, head)
        return head
