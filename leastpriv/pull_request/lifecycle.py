"""What to do with the one pull request of a proposal: a pure table from what is found to the next step.

The rows are those of the bots that people already know (Renovate, Dependabot, create-pull-request), with two
differences: a branch that a person touched is left alone, and a proposal that was declined does not come back (its
single changes neither: they are taken out before there is a proposal). No network, no state: all that decides is in
the arguments.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

SCOPE_DIGITS = 8
"""How many digits at the beginning of a fingerprint tell principal and policy file."""
PAUSED_LABEL = "leastpriv: paused"
"""A person sets it: the pull request is left as it is until the label is gone."""
EDITED_LABEL = "leastpriv: edited"
"""Set beside the comment that says that the branch is a person's now."""
RECONSIDER_LABEL = "leastpriv: reconsider"
"""A person sets it on a closed pull request: what was declined with it may be proposed again."""
REBASE_BOX = "- [ ] <!-- leastpriv:rebase -->"
"""How the line with the box begins that hands the branch back."""
_REBASE_TICKED = re.compile(r"^\s*[-*] \[[xX]\] <!-- leastpriv:rebase -->", re.MULTILINE)


class PullRequestStep(StrEnum):
    """The next step."""

    CREATE = "create"
    """Commit on the base, branch, pull request."""
    CREATE_PULL = "create-pull"
    """The branch is there and right; the pull request is not (its creation was forbidden)."""
    UPDATE = "update"
    """One commit on the base's head, the branch moved once, title and body edited; a pull request if there is none."""
    NOTHING = "nothing"
    CLOSE = "close"
    """Comment why, close, delete the branch."""
    DELETE_BRANCH = "delete-branch"
    """Nothing left to change, and no pull request to close."""
    LEAVE_EDITED = "leave-edited"
    """A person's: one comment, edited in place, and a label."""
    LEAVE_RETARGETED = "leave-retargeted"
    """Its target branch was changed: as `LEAVE_EDITED`."""
    LEAVE_OBSOLETE = "leave-obsolete"
    """A person's, and nothing is left to change: one comment that closing was skipped."""
    REWORD = "reword"
    """The branch is right; title and body are those of another proposal (an edit of them failed, or came too late)."""
    FOREIGN = "foreign"
    """The branch was never ours: stop, and name the input `branch`."""
    OTHER_SCOPE = "other-scope"
    """The branch is ours, for another principal or policy file: stop, and name the input `branch`."""


@dataclass(frozen=True, slots=True)
class ProposalBranch:
    """The branch of the proposal as it is."""

    head: str
    is_own: bool
    """Every commit since the base was made by this program and touched by nobody."""
    has_own_commits: bool
    """Some commit since the base was made by this program."""
    fingerprint: str
    """Of our newest commit; empty where there is none."""
    merged: bool = False
    """Its head is on the base already: nothing on it can be lost."""


@dataclass(frozen=True, slots=True)
class OpenPullRequest:
    """The open pull request of the branch."""

    number: int
    base: str
    """Name of the branch that it asks to be merged into."""
    body: str
    labels: tuple[str, ...] = ()
    fingerprint: str = ""
    """Of the proposal that the body is about; empty where a person has rewritten it."""
    is_own: bool = True
    """We opened it."""

    def has_label(self, label: str) -> bool:
        """Whether it has a label; GitHub keeps the case in which a label was first written and compares without."""
        return label.casefold() in {each.casefold() for each in self.labels}


@dataclass(frozen=True, slots=True)
class DeclinedProposal:
    """A pull request of the branch that was closed without being merged."""

    number: int
    fingerprint: str
    changes: tuple[str, ...] = ()
    """Ids of its changes."""


@dataclass(frozen=True, slots=True)
class WantedProposal:
    """The proposal as it should become."""

    fingerprint: str
    base: str
    """Name of the base branch."""
    changes: bool
    """Whether there is anything to change."""


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """A step, why, and the declined pull request that it has to do with (0: none)."""

    step: PullRequestStep
    reason: str
    declined: int = 0
    is_current: bool = False
    """The pull request is as it should be: what said that it is left alone no longer holds."""


def plan_step(
    wanted: WantedProposal,
    branch: ProposalBranch | None,
    pull: OpenPullRequest | None,
    declined: Sequence[DeclinedProposal],
) -> PlannedStep:
    """The next step for what was found; `declined` newest first."""
    if pull and pull.has_label(PAUSED_LABEL):
        return PlannedStep(PullRequestStep.NOTHING, f"#{pull.number} has the label `{PAUSED_LABEL}`.")
    if branch and branch.fingerprint and fingerprint_scope(branch.fingerprint) != fingerprint_scope(wanted.fingerprint):
        other = "the branch holds a proposal for another role or policy file"
        if not wanted.changes:
            return PlannedStep(PullRequestStep.NOTHING, f"Nothing to change; {other}.")
        return PlannedStep(PullRequestStep.OTHER_SCOPE, f"There is something to change, but {other}.")
    if branch and pull and pull.base != wanted.base:
        return PlannedStep(
            PullRequestStep.LEAVE_RETARGETED, f"#{pull.number} asks to be merged into {pull.base}, not {wanted.base}."
        )
    if branch and not branch.is_own:
        return _edited_branch_step(wanted, branch, pull)
    if branch and pull:
        return _open_pull_request_step(wanted, branch, pull)
    if not wanted.changes:
        return _no_change_step(branch, declined)
    return _no_pull_request_step(wanted, branch, declined)


def fingerprint_scope(fingerprint: str) -> str:
    """The part of a fingerprint that tells principal and policy file."""
    return fingerprint[:SCOPE_DIGITS]


def _edited_branch_step(wanted: WantedProposal, branch: ProposalBranch, pull: OpenPullRequest | None) -> PlannedStep:
    if not branch.has_own_commits:
        if not wanted.changes:
            return PlannedStep(
                PullRequestStep.NOTHING, "Nothing to change; the branch of that name is somebody else's."
            )
        return PlannedStep(PullRequestStep.FOREIGN, "The branch holds nothing but somebody else's work.")
    if pull and wanted.changes and _REBASE_TICKED.search(pull.body):
        return PlannedStep(PullRequestStep.UPDATE, "The box that hands the branch back was ticked.")
    if not wanted.changes:
        return PlannedStep(
            PullRequestStep.LEAVE_OBSOLETE, "Nothing is left to change, but somebody worked on the branch."
        )
    way_out = "" if pull else ", and it has no open pull request: delete the branch to have it proposed anew"
    return PlannedStep(PullRequestStep.LEAVE_EDITED, f"Somebody worked on the branch{way_out}.")


def _open_pull_request_step(wanted: WantedProposal, branch: ProposalBranch, pull: OpenPullRequest) -> PlannedStep:
    if not wanted.changes:
        return PlannedStep(PullRequestStep.CLOSE, "Nothing is left to change.")
    if branch.fingerprint != wanted.fingerprint or _REBASE_TICKED.search(pull.body):
        return PlannedStep(PullRequestStep.UPDATE, f"#{pull.number} holds another proposal.")
    if pull.fingerprint != wanted.fingerprint and (pull.fingerprint or not pull.is_own):
        return PlannedStep(PullRequestStep.REWORD, f"#{pull.number} spoke of another proposal.")
    return PlannedStep(PullRequestStep.NOTHING, f"#{pull.number} already holds this proposal.", is_current=True)


def _no_change_step(branch: ProposalBranch | None, declined: Sequence[DeclinedProposal]) -> PlannedStep:
    if branch is None:
        return PlannedStep(PullRequestStep.NOTHING, "Nothing to change.")
    own = next((each for each in declined if each.fingerprint == branch.fingerprint), None)
    if own:
        # Without its branch a closed pull request cannot be opened again.
        return PlannedStep(
            PullRequestStep.NOTHING, f"Nothing to change; the branch is that of #{own.number}.", own.number
        )
    return PlannedStep(PullRequestStep.DELETE_BRANCH, "Nothing is left to change.")


def _no_pull_request_step(
    wanted: WantedProposal, branch: ProposalBranch | None, declined: Sequence[DeclinedProposal]
) -> PlannedStep:
    same = next((each for each in declined if each.fingerprint == wanted.fingerprint), None)
    if same:
        return PlannedStep(PullRequestStep.NOTHING, f"The same proposal was declined in #{same.number}.", same.number)
    earlier = declined[0].number if declined else 0
    if branch is None:
        return PlannedStep(PullRequestStep.CREATE, "There is no pull request yet.", earlier)
    if branch.fingerprint == wanted.fingerprint:
        return PlannedStep(PullRequestStep.CREATE_PULL, "The branch is there, its pull request is not.", earlier)
    return PlannedStep(PullRequestStep.UPDATE, "The branch holds another proposal.", earlier)
