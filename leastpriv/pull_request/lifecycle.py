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


class Step(StrEnum):
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
class Branch:
    """The branch of the proposal as it is."""

    head: str
    ours: bool
    """Every commit since the base was made by this program and touched by nobody."""
    ever_ours: bool
    """Some commit since the base was made by this program."""
    fingerprint: str
    """Of our newest commit; empty where there is none."""
    merged: bool = False
    """Its head is on the base already: nothing on it can be lost."""


@dataclass(frozen=True, slots=True)
class Pull:
    """The open pull request of the branch."""

    number: int
    base: str
    """Name of the branch that it asks to be merged into."""
    body: str
    labels: tuple[str, ...] = ()
    fingerprint: str = ""
    """Of the proposal that the body is about; empty where a person has rewritten it."""
    by_us: bool = True
    """We opened it."""

    def has(self, label: str) -> bool:
        """Whether it has a label; GitHub keeps the case in which a label was first written and compares without."""
        return label.casefold() in {each.casefold() for each in self.labels}


@dataclass(frozen=True, slots=True)
class Declined:
    """A pull request of the branch that was closed without being merged."""

    number: int
    fingerprint: str
    changes: tuple[str, ...] = ()
    """Ids of its changes."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """The proposal as it should become."""

    fingerprint: str
    base: str
    """Name of the base branch."""
    changes: bool
    """Whether there is anything to change."""


@dataclass(frozen=True, slots=True)
class Decision:
    """A step, why, and the declined pull request that it has to do with (0: none)."""

    step: Step
    reason: str
    declined: int = 0
    settled: bool = False
    """The pull request is as it should be: what said that it is left alone no longer holds."""


def decide(wanted: Wanted, branch: Branch | None, pull: Pull | None, declined: Sequence[Declined]) -> Decision:
    """The next step for what was found; `declined` newest first."""
    if pull and pull.has(PAUSED_LABEL):
        return Decision(Step.NOTHING, f"#{pull.number} has the label `{PAUSED_LABEL}`.")
    if branch and branch.fingerprint and scope_of(branch.fingerprint) != scope_of(wanted.fingerprint):
        other = "the branch holds a proposal for another role or policy file"
        if not wanted.changes:
            return Decision(Step.NOTHING, f"Nothing to change; {other}.")
        return Decision(Step.OTHER_SCOPE, f"There is something to change, but {other}.")
    if branch and pull and pull.base != wanted.base:
        return Decision(Step.LEAVE_RETARGETED, f"#{pull.number} asks to be merged into {pull.base}, not {wanted.base}.")
    if branch and not branch.ours:
        return _of_a_person(wanted, branch, pull)
    if branch and pull:
        return _open(wanted, branch, pull)
    if not wanted.changes:
        return _nothing_left(branch, declined)
    return _without_pull(wanted, branch, declined)


def scope_of(fingerprint: str) -> str:
    """The part of a fingerprint that tells principal and policy file."""
    return fingerprint[:SCOPE_DIGITS]


def _of_a_person(wanted: Wanted, branch: Branch, pull: Pull | None) -> Decision:
    if not branch.ever_ours:
        if not wanted.changes:
            return Decision(Step.NOTHING, "Nothing to change; the branch of that name is somebody else's.")
        return Decision(Step.FOREIGN, "The branch holds nothing but somebody else's work.")
    if pull and wanted.changes and _REBASE_TICKED.search(pull.body):
        return Decision(Step.UPDATE, "The box that hands the branch back was ticked.")
    if not wanted.changes:
        return Decision(Step.LEAVE_OBSOLETE, "Nothing is left to change, but somebody worked on the branch.")
    way_out = "" if pull else ", and it has no open pull request: delete the branch to have it proposed anew"
    return Decision(Step.LEAVE_EDITED, f"Somebody worked on the branch{way_out}.")


def _open(wanted: Wanted, branch: Branch, pull: Pull) -> Decision:
    if not wanted.changes:
        return Decision(Step.CLOSE, "Nothing is left to change.")
    if branch.fingerprint != wanted.fingerprint or _REBASE_TICKED.search(pull.body):
        return Decision(Step.UPDATE, f"#{pull.number} holds another proposal.")
    if pull.fingerprint != wanted.fingerprint and (pull.fingerprint or not pull.by_us):
        return Decision(Step.REWORD, f"#{pull.number} spoke of another proposal.")
    return Decision(Step.NOTHING, f"#{pull.number} already holds this proposal.", settled=True)


def _nothing_left(branch: Branch | None, declined: Sequence[Declined]) -> Decision:
    if branch is None:
        return Decision(Step.NOTHING, "Nothing to change.")
    own = next((each for each in declined if each.fingerprint == branch.fingerprint), None)
    if own:
        # Without its branch a closed pull request cannot be opened again.
        return Decision(Step.NOTHING, f"Nothing to change; the branch is that of #{own.number}.", own.number)
    return Decision(Step.DELETE_BRANCH, "Nothing is left to change.")


def _without_pull(wanted: Wanted, branch: Branch | None, declined: Sequence[Declined]) -> Decision:
    same = next((each for each in declined if each.fingerprint == wanted.fingerprint), None)
    if same:
        return Decision(Step.NOTHING, f"The same proposal was declined in #{same.number}.", same.number)
    earlier = declined[0].number if declined else 0
    if branch is None:
        return Decision(Step.CREATE, "There is no pull request yet.", earlier)
    if branch.fingerprint == wanted.fingerprint:
        return Decision(Step.CREATE_PULL, "The branch is there, its pull request is not.", earlier)
    return Decision(Step.UPDATE, "The branch holds another proposal.", earlier)
