"""Decides the next step for the pull request of a proposal, and for the tracking issue of findings.

Both follow from the present state alone, without network or stored state.

The rules are those of Renovate, Dependabot and create-pull-request, with two differences: a branch
that a person edited is left alone, and a declined proposal does not come back. Declined single
changes do not come back either; they are removed before there is a proposal. People control a pull
request by commands in comments and by markers in its body.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from msgspec import Struct

from leastpriv.models import Permission, TargetName, grouped

if TYPE_CHECKING:
    from markdown_it.token import Token

SCOPE_DIGITS = 8
"""Number of digits at the beginning of a fingerprint that identify principal and policy file."""
PAUSED_LABEL = "leastpriv: paused"
"""Set by a person: the pull request is left as it is until the label is removed."""
EDITED_LABEL = "leastpriv: edited"
"""Set with the comment that says that a person edited the branch."""
HELD_LABEL = "leastpriv: held"
"""Set while the changes of a pull request are held back for now; removed when they go on."""
RECONSIDER_LABEL = "leastpriv: reconsider"
"""Set by a person on a closed pull request: its declined changes may be proposed again."""
REBASE_BOX = "- [ ] <!-- leastpriv:rebase -->"
"""Beginning of the line with the checkbox that returns the branch to this program."""
_REBASE_TICKED = re.compile(r"^\s*[-*] \[[xX]\] <!-- leastpriv:rebase -->", re.MULTILINE)


class PullRequestStep(StrEnum):
    """The next step for a pull request."""

    CREATE = "create"
    """Creates commit, branch and pull request."""
    CREATE_PULL = "create-pull"
    """Creates only the pull request: the branch is right, but an earlier run was not allowed to
    create it.
    """
    UPDATE = "update"
    """Moves the branch to one new commit on the base's head; edits or creates the pull request."""
    NOTHING = "nothing"
    HOLD = "hold"
    """Leaves branch and text as they are: the changes are held back for now. Writes or edits one
    comment and sets a label.
    """
    CLOSE = "close"
    """Comments with the reason, closes, deletes the branch."""
    DELETE_BRANCH = "delete-branch"
    """Deletes the branch: nothing is left to change, and there is no pull request to close."""
    LEAVE_EDITED = "leave-edited"
    """Leaves a person's branch alone; writes or edits one comment and sets a label."""
    LEAVE_RETARGETED = "leave-retargeted"
    """As `LEAVE_EDITED`, since its target branch was changed."""
    LEAVE_OBSOLETE = "leave-obsolete"
    """Comments once why a pull request without changes is not closed: a person edited its branch.
    """
    REWORD = "reword"
    """Edits title and body, which describe another proposal: an earlier edit failed or came too
    late.
    """
    FOREIGN = "foreign"
    """Fails: the branch has no commit of this program; the input `branch` must name another."""
    OTHER_SCOPE = "other-scope"
    """Fails: the branch is that of another principal or policy file; the input `branch` must name
    another.
    """


class ProposalBranch(Struct, frozen=True):
    """The present state of the branch of a proposal."""

    head: str
    is_own: bool
    """This program made every commit since the base, and no commit was amended or rebased."""
    has_own_commits: bool
    """This program made at least one commit since the base."""
    fingerprint: str
    """Fingerprint in the newest commit of this program; empty without one."""
    merged: bool = False
    """Its head is in the base already, so that deleting it loses nothing."""
    files: tuple[str, ...] = ()
    """Paths of the files that it changes."""


class OpenPullRequest(Struct, frozen=True):
    """The open pull request of the branch that this program opened."""

    number: int
    base: str
    """Name of its target branch."""
    body: str
    labels: tuple[str, ...] = ()
    fingerprint: str = ""
    """Fingerprint in the body; empty if a person rewrote it."""
    url: str = ""
    changes: tuple[str, ...] = ()
    """Ids of its changes; empty if a person rewrote the body."""
    additions: tuple[Permission, ...] = ()
    """What it adds; empty if a person rewrote the body."""

    @property
    def is_to_be_rebuilt(self) -> bool:
        """Whether a person ticked the box that lets this program rebuild the branch."""
        return _REBASE_TICKED.search(self.body) is not None


def has_label(labels: Iterable[str], label: str) -> bool:
    """Whether a label is among those of a pull request; GitHub compares labels without case."""
    return label.casefold() in map(str.casefold, labels)


class TargetMark(Struct, frozen=True):
    """What the hidden marker of a pull request says of its target."""

    name: TargetName
    config: str = ""
    """The targets file of the run that opened it; empty: the run had the one target."""
    branches: tuple[str, ...] = ()
    """Further branches that pull requests of the target had."""

    @property
    def marker(self) -> str:
        """The hidden line of a body."""
        fields = {
            "id": self.name.id,
            "role": self.name.role,
            "file": self.name.file,
            "config": self.config,
            "branches": ",".join(map(quote, self.branches)),
        }
        members = " ".join(f"{key}={quote(value)}" for key, value in fields.items())
        return f"<!-- leastpriv:target v=1 {members} -->"


UNKNOWN_TIME = datetime(1970, 1, 1, tzinfo=UTC)
"""Time of a change for which GitHub gives no time."""


class MarkedPullRequest(Struct, frozen=True):
    """A pull request of this program that names its target."""

    number: int
    base: str
    branch: str
    mark: TargetMark
    fingerprint: str
    """Fingerprint in its first commit; a body can be copied, so that it has to fit the marker."""
    labels: tuple[str, ...] = ()
    created_at: datetime = UNKNOWN_TIME
    """When it was opened (aware, UTC)."""
    changes: tuple[str, ...] = ()
    """Ids of its changes."""

    @property
    def is_paused(self) -> bool:
        """Whether a person wants it to be left as it is."""
        return has_label(self.labels, PAUSED_LABEL)


class ClosedPullRequest(Struct, frozen=True):
    """A closed pull request of this program that held a proposal."""

    number: int
    fingerprint: str
    declined: bool
    """A person with write permission closed it without a merge, and its changes are not to be
    reconsidered.
    """
    changes: tuple[str, ...] = ()
    """Ids of its changes."""
    reconsidered: bool = False
    """Its label allows its changes to be proposed again."""
    undone: bool = False
    """It was merged, this program closed it, or its changes are to be reconsidered: an earlier
    decline no longer counts.
    """
    merge_commit: str = ""
    """The commit of its merge; empty if it was not merged."""
    merged_at: datetime | None = None
    """Aware, UTC; None if it was not merged."""
    target: TargetName | None = None
    """The target that its body names; None if it names none."""
    branches: tuple[str, ...] = ()
    """Further branches that pull requests of the target had, as its body names them."""
    changed_at: datetime = UNKNOWN_TIME
    """Time of its last change, such as of its labels (aware, UTC)."""
    additions: tuple[Permission, ...] = ()
    """What it added; empty if a person rewrote the body."""


_REVERTED_COMMIT = re.compile(r"^This reverts commit ([0-9a-f]{7,40})\b", re.MULTILINE)
"""What `git revert` writes (https://git-scm.com/docs/git-revert)."""
_REVERTED_PULL_REQUEST = re.compile(r"^Reverts (?:([\w.-]+/[\w.-]+))?#(\d+)\b", re.MULTILINE)
"""What the button "Revert" of GitHub writes into a pull request, whose text a squash keeps."""


def reverted_commits(message: str) -> tuple[str, ...]:
    """Returns the names of the commits that a commit with this message reverts, perhaps
    abbreviated.
    """
    return tuple(_REVERTED_COMMIT.findall(message))


def is_reverted_by(pull: ClosedPullRequest, message: str, repository: str) -> bool:
    """Whether the message of a commit says that it reverts a merged pull request of a repository
    (`owner/name`).
    """
    commits = reverted_commits(message)
    if pull.merge_commit and any(pull.merge_commit.startswith(sha) for sha in commits):
        return True
    return any(
        int(number) == pull.number and repository_named.lower() in ("", repository.lower())
        for repository_named, number in _REVERTED_PULL_REQUEST.findall(message)
    )


IN_USE = ""
"""In place of a guard: what a change would have removed is in use."""


class Hold(Struct, frozen=True):
    """Why a change waits, and until when: a sentence."""

    text: str
    markdown: str


class Holds(Struct, frozen=True):
    """What holds changes back in a run that proposes none of them."""

    for_now: Mapping[str, Hold] = {}
    """Id of a change -> the guard that holds it back for now."""
    lasting: Mapping[str, str] = {}
    """Id of a change -> the guard that keeps what it would have changed, or `IN_USE`."""
    hidden: Hold | None = None
    """Why the evidence may hide a change that no guard names; None: it does not."""

    def hold(self, changes: Sequence[str]) -> Hold | None:
        """Returns why the changes of a pull request wait; None if they do not, or if one of them is
        no longer to be made.

        Without ids of changes, anything that is held back for now counts.
        """
        if any(change in self.lasting for change in changes):
            return None
        held_changes = changes or tuple(self.for_now)
        holds = Counter(self.for_now[change] for change in held_changes if change in self.for_now)
        if holds:
            return holds.most_common(1)[0][0]
        return self.hidden

    def closing_reason(self, changes: Sequence[str]) -> str:
        """Returns why a pull request with these changes is closed, in Markdown."""
        guards = {self.lasting[change] for change in changes if change in self.lasting}
        waits = any(change in self.for_now for change in changes)
        guard_words = ", ".join(f"`{guard}`" for guard in sorted(guards - {IN_USE}))
        if not guard_words and not waits:
            return "No change is left: the policy on the base branch now matches the evidence."
        reasons = ["This proposal no longer fits the evidence."]
        if IN_USE in guards:
            reasons.append("A part is in use now.")
        if guard_words:
            reasons.append(f"A part is kept now (guards: {guard_words}).")
        if waits:
            reasons.append(
                "The rest is held back for now: it comes in a new pull request when its guards"
                " pass."
            )
        return " ".join(reasons)


class WantedProposal(Struct, frozen=True):
    """The proposal of this run."""

    fingerprint: str
    base: str
    """Name of the base branch."""
    changes: bool
    """Whether the proposal changes the base."""
    holds: Holds = Holds()
    """What holds changes back; empty if the base holds the branch's changes already."""
    former_scopes: frozenset[str] = frozenset()
    """Scopes of fingerprints that proposals of the same policy had, under earlier names of its
    file.
    """


class PlannedStep(Struct, frozen=True):
    """The next step, its reason, and the number of the declined pull request it refers to (0:
    none).
    """

    step: PullRequestStep
    reason: str
    declined: int = 0
    is_current: bool = False
    """The pull request holds this proposal: a comment that it is left alone no longer applies."""
    comment: str = ""
    """Why its changes are held back for now, in Markdown."""


def plan_step(
    wanted: WantedProposal,
    branch: ProposalBranch | None,
    pull: OpenPullRequest | None,
    declined: Sequence[ClosedPullRequest],
) -> PlannedStep:
    """Returns the next step for the present state; `declined` is sorted newest first."""
    if pull and has_label(pull.labels, PAUSED_LABEL):
        return PlannedStep(
            PullRequestStep.NOTHING, f"#{pull.number} has the label `{PAUSED_LABEL}`."
        )
    if branch and not _is_of_same_policy(branch, wanted):
        reason = "the branch holds a proposal for another role or policy file"
        if not wanted.changes:
            return PlannedStep(PullRequestStep.NOTHING, f"Nothing to change; {reason}.")
        return PlannedStep(
            PullRequestStep.OTHER_SCOPE, f"There is something to change, but {reason}."
        )
    if branch and pull and pull.base != wanted.base:
        return PlannedStep(
            PullRequestStep.LEAVE_RETARGETED,
            f"#{pull.number} asks to be merged into {pull.base}, not {wanted.base}.",
        )
    if branch and not branch.is_own:
        return _edited_branch_step(wanted, branch, pull)
    if branch and pull:
        return _open_pull_request_step(wanted, branch, pull)
    if wanted.changes:
        return _no_pull_request_step(wanted, branch, declined)
    if branch is None:
        return PlannedStep(PullRequestStep.NOTHING, "Nothing to change.")
    return _remaining_branch_step(wanted, branch, declined)


def fingerprint_scope(fingerprint: str) -> str:
    """Returns the part of a fingerprint that identifies principal and policy file."""
    return fingerprint[:SCOPE_DIGITS]


def _is_of_same_policy(branch: ProposalBranch, wanted: WantedProposal) -> bool:
    """Whether the proposal of a branch is of the same principal and policy file, as far as its
    fingerprint says.
    """
    scopes = {fingerprint_scope(wanted.fingerprint), *wanted.former_scopes}
    return not branch.fingerprint or fingerprint_scope(branch.fingerprint) in scopes


def _remaining_branch_step(
    wanted: WantedProposal, branch: ProposalBranch, declined: Sequence[ClosedPullRequest]
) -> PlannedStep:
    """Returns the step for a branch without a pull request while there is nothing to change:
    delete it, unless its proposal was declined or is held back for now.
    """
    same_decline = _same_decline(declined, branch.fingerprint)
    if same_decline:
        # GitHub cannot reopen a closed pull request whose branch was deleted.
        return PlannedStep(
            PullRequestStep.NOTHING,
            f"Nothing to change; the branch is that of #{same_decline.number}.",
            same_decline.number,
        )
    hold = wanted.holds.hold(())
    if hold:
        return PlannedStep(PullRequestStep.NOTHING, hold.text)
    return PlannedStep(PullRequestStep.DELETE_BRANCH, "No change is left.")


def _same_decline(
    declined: Sequence[ClosedPullRequest], fingerprint: str
) -> ClosedPullRequest | None:
    """Returns the newest declined pull request with a fingerprint; None without one."""
    return next((pull for pull in declined if pull.fingerprint == fingerprint), None)


def _edited_branch_step(
    wanted: WantedProposal, branch: ProposalBranch, pull: OpenPullRequest | None
) -> PlannedStep:
    """Returns the step for a branch with commits of others: it is left alone, unless a person
    ticked the box that lets it be rebuilt.
    """
    if not branch.has_own_commits:
        if not wanted.changes:
            return PlannedStep(
                PullRequestStep.NOTHING,
                "Nothing to change; a branch of that name has only commits of others.",
            )
        return PlannedStep(PullRequestStep.FOREIGN, "The branch has only commits of others.")
    held_step = _held_step(wanted, pull)
    if held_step:
        return held_step
    if pull and wanted.changes and pull.is_to_be_rebuilt:
        return PlannedStep(
            PullRequestStep.UPDATE, "The box that lets this action rebuild the branch was ticked."
        )
    if not wanted.changes:
        return PlannedStep(
            PullRequestStep.LEAVE_OBSOLETE,
            "No change is left, but the branch has commits of others.",
        )
    remedy = (
        "" if pull else ", and it has no open pull request: delete the branch to get a new proposal"
    )
    return PlannedStep(PullRequestStep.LEAVE_EDITED, f"The branch has commits of others{remedy}.")


def _held_step(wanted: WantedProposal, pull: OpenPullRequest | None) -> PlannedStep | None:
    """Returns the step for a pull request whose changes are held back for now; None if they are
    not.
    """
    if wanted.changes or pull is None:
        return None
    hold = wanted.holds.hold(pull.changes)
    if hold is None:
        return None
    return PlannedStep(PullRequestStep.HOLD, hold.text, comment=hold.markdown)


def _open_pull_request_step(
    wanted: WantedProposal, branch: ProposalBranch, pull: OpenPullRequest
) -> PlannedStep:
    """Returns the step for an own branch with an open pull request: close, update, reword or
    nothing.
    """
    held_step = _held_step(wanted, pull)
    if held_step:
        return held_step
    if not wanted.changes:
        return PlannedStep(PullRequestStep.CLOSE, "No change is left.")
    if branch.fingerprint != wanted.fingerprint or pull.is_to_be_rebuilt:
        return PlannedStep(PullRequestStep.UPDATE, f"#{pull.number} holds another proposal.")
    # A person rewrote a body without fingerprint.
    if pull.fingerprint not in ("", wanted.fingerprint):
        return PlannedStep(PullRequestStep.REWORD, f"#{pull.number} describes another proposal.")
    return PlannedStep(
        PullRequestStep.NOTHING, f"#{pull.number} already holds this proposal.", is_current=True
    )


def _no_pull_request_step(
    wanted: WantedProposal, branch: ProposalBranch | None, declined: Sequence[ClosedPullRequest]
) -> PlannedStep:
    """Returns the step where no pull request is open: create one, unless the same proposal was
    declined.
    """
    same_decline = _same_decline(declined, wanted.fingerprint)
    if same_decline:
        return PlannedStep(
            PullRequestStep.NOTHING,
            f"The same proposal was declined in #{same_decline.number}.",
            same_decline.number,
        )
    earlier = declined[0].number if declined else 0
    if branch is None:
        return PlannedStep(PullRequestStep.CREATE, "There is no pull request yet.", earlier)
    if branch.fingerprint == wanted.fingerprint:
        return PlannedStep(
            PullRequestStep.CREATE_PULL, "The branch is there, its pull request is not.", earlier
        )
    return PlannedStep(PullRequestStep.UPDATE, "The branch holds another proposal.", earlier)


TRACKING_LABEL = "leastpriv: drift"
"""Label that identifies the issue; only people with triage permission can set it."""
_FINDINGS_MARKER = re.compile(r"findings=([0-9a-f,]*) -->")


class IssueStep(StrEnum):
    """The next step for a tracking issue."""

    OPEN = "open"
    EDIT = "edit"
    """The findings changed: edits the description and comments once."""
    REOPEN = "reopen"
    CLOSE = "close"
    NOTHING = "nothing"


class TrackedIssue(Struct, frozen=True):
    """The present state of the tracking issue."""

    is_open: bool
    not_planned: bool
    """Closed as not planned: a person accepts its findings."""
    body: str

    @property
    def findings(self) -> frozenset[str]:
        """Ids of its findings; empty if a person rewrote the description."""
        match = _FINDINGS_MARKER.search(self.body)
        return frozenset(filter(None, match[1].split(","))) if match else frozenset()


def next_issue_step(issue: TrackedIssue | None, findings: Collection[str]) -> IssueStep:
    """Returns the next step for the ids of the present findings."""
    now = frozenset(findings)
    if not now:
        return IssueStep.CLOSE if issue and issue.is_open else IssueStep.NOTHING
    if issue is None:
        return IssueStep.OPEN
    if issue.is_open:
        return IssueStep.NOTHING if issue.findings == now else IssueStep.EDIT
    if issue.not_planned and now <= issue.findings:
        return IssueStep.NOTHING
    return IssueStep.REOPEN


def change_summary(before: Collection[str], now: Collection[str]) -> str:
    """Returns one sentence with the numbers of new, gone and unchanged findings."""
    new = len(set(now) - set(before))
    gone = len(set(before) - set(now))
    unchanged = len(set(now) & set(before))
    return f"{new} new, {gone} gone, {unchanged} as before: the description is that of this run."


_MAX_IDS = 1_500
"""An id has 13 characters. Without its ids, only an equal proposal is recognized as declined."""
_CHANGES_MARKER = re.compile(r"<!-- leastpriv:changes v=1 ([0-9a-z -]*)-->")
_MOST_ADDITIONS = 400
_LONGEST_ADDITIONS = 10_000
"""Characters. Of further additions the ids are known alone."""
_ADDITIONS_MARKER = re.compile(r"<!-- leastpriv:additions v=1 ([^ <>]+(?: [^ <>]+)*) -->")
_TARGET_MARKER = re.compile(
    r"<!-- leastpriv:target v=1 id=(?P<id>[0-9a-f]{8}) role=(?P<role>[^ <>]{1,2048})"
    r" file=(?P<file>[^ <>]{1,6144}) config=(?P<config>[^ <>]{0,6144})"
    r" branches=(?P<branches>[^ <>]{0,6144}) -->"
)
_FINGERPRINT_MARKER = re.compile(r"<!-- leastpriv v=1 [^>]*?fingerprint=([0-9a-f]+)")


def target_mark(body: str) -> TargetMark | None:
    """Returns what the marker of a body says of its target; None without one."""
    match = _TARGET_MARKER.search(body)
    if match is None:
        return None
    fields = {key: unquote(value) for key, value in match.groupdict().items()}
    name = TargetName(id=fields["id"], role=fields["role"], file=fields["file"])
    branches = tuple(unquote(branch) for branch in fields["branches"].split(",") if branch)
    return TargetMark(name, config=fields["config"], branches=branches)


def controls_section(
    changes: Sequence[str],
    mark: TargetMark | None = None,
    additions: Sequence[Permission] = (),
) -> str:
    """Returns the last fold of a body and its markers.

    Args:
        changes: Ids of the changes that closing it declines.
        mark: The one target of the pull request; None: it has several.
        additions: What it adds, so that a later run knows which names a person declined.
    """
    lines = [
        "<details><summary>Commands and what happens next</summary>",
        "",
        "- **Merge** changes the file, not the account: apply it as you do today.",
        f"- **Close** declines these changes, until the label `{RECONSIDER_LABEL}`.",
        "- **A commit on the branch** makes it yours: no more updates, and an added line that it"
        " deletes is declined.",
        "- **A comment** `/leastpriv keep ACTION` by a person who may write keeps an action,"
        " `/leastpriv add ACTION` adds an offered one.",
        f"- **The label** `{PAUSED_LABEL}` leaves it as it is.",
        f"{REBASE_BOX} Rebuild the branch in the next run; commits of others on it are lost.",
        "",
        "</details>",
        "",
        *([mark.marker] if mark else []),
        *_additions_marker(additions),
        f"<!-- leastpriv:changes v=1 {' '.join(changes[:_MAX_IDS])} -->",
    ]
    return "\n".join(lines) + "\n"


def _additions_marker(additions: Sequence[Permission]) -> list[str]:
    """Returns the hidden line with the additions of a body, as far as they fit; none without
    additions.
    """
    actions_by_resource = grouped(
        [(addition.resource, addition.action) for addition in additions[:_MOST_ADDITIONS]]
    )
    texts: list[str] = []
    length = 0
    for resource, actions in actions_by_resource.items():
        names = ",".join(quote(action, safe=":") for action in actions)
        text = f"{quote(resource, safe=':/*')}={names}"
        length += len(text) + 1
        if length > _LONGEST_ADDITIONS:
            break
        texts.append(text)
    return [f"<!-- leastpriv:additions v=1 {' '.join(texts)} -->"] if texts else []


def proposed_additions(body: str) -> tuple[Permission, ...]:
    """Returns what the body of a pull request says that it adds."""
    match = _ADDITIONS_MARKER.search(body)
    if match is None:
        return ()
    additions: list[Permission] = []
    for text in match[1].split(" "):
        resource, equals, names = text.partition("=")
        actions = names.split(",") if equals else []
        additions += [Permission(unquote(action), unquote(resource)) for action in actions]
    return tuple(additions[:_MOST_ADDITIONS])


def declined_changes(body: str) -> tuple[str, ...]:
    """Returns the ids of the changes in the body of a closed pull request."""
    match = _CHANGES_MARKER.search(body)
    return tuple(match[1].split()) if match else ()


def body_fingerprint(body: str) -> str:
    """Returns the fingerprint in a body; empty without one."""
    match = _FINGERPRINT_MARKER.search(body)
    return match[1] if match else ""


COMMENT_MARKER = "<!-- leastpriv:commands v=1 -->"
"""Last line of the comment that answers the commands."""
_LINE = re.compile(r"/leastpriv(?:[ \t]+(?P<verb>\S+)(?P<rest>.*))?", re.ASCII)
_PLAIN_LINE = re.compile(r"/leastpriv[\w:*?`,\- \t]*", re.ASCII)
_LINE_END = re.compile(r"\r\n|\n|\r")
"""What ends a line in Markdown (https://spec.commonmark.org/0.31.2/#line-ending): a pasted text may
have other separators, which do not show.
"""
_HTML_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_TAG = re.compile(r"<[^<>]*>")
_BREAK_TAG = re.compile(r"<br[ \t]*/?>", re.IGNORECASE)
_LONGEST_COMMENT = 10_000
"""Characters of a comment with commands; a longer one is a pasted text."""
_MARKED = "\ufffc"
"""In place of a link or an image in a line, which is then no command."""
_ADD_AMONG_TEXT = "add (among other text)"
"""The verb of an `add` that does not count, which `rejection_reason` explains."""
_VERBS = ("add", "keep", "forget")
_MAX_COMMANDS = 20
"""Commands per comment; a wildcard or the input `keep` covers more actions."""
_MAX_LENGTH = 200


class CommentCommand(Struct, frozen=True):
    """A command with the comment that contains it."""

    verb: str
    pattern: str
    """Pattern of actions as the comment has it: untrusted."""
    author: str
    """Login of the comment's author."""
    created_at: datetime
    """Time of the comment (aware, UTC)."""
    comment_id: int
    pull_request: int
    rejection: str = ""
    """Why the command does not count, in words; empty if it counts."""


class ParsedCommand(Struct, frozen=True):
    """A command as a comment has it: untrusted."""

    verb: str
    pattern: str
    """Pattern of actions; empty where the comment names none."""


def parse_commands(body: str) -> tuple[ParsedCommand, ...]:
    """Returns the commands that a reader of a comment sees as lines of their own, outside of
    quotes and code: `/leastpriv keep s3:DeleteBucket, s3:PutBucketAcl` are two.

    `keep` is safe, as it only holds back: it counts in HTML, behind it and in a pasted text too.
    `add` grants, so that it counts only in a comment of commands alone. `forget` and others count
    in a line before any HTML.
    """
    if "/leastpriv" not in body:
        return ()
    written = list(filter(None, map(str.strip, _LINE_END.split(body))))
    if len(body) > _LONGEST_COMMENT:
        lines = [_ShownLine(line, is_plain=False) for line in written]
    else:
        lines = list(_shown_lines(body))
    has_only_commands = len(lines) == len(written) and all(map(_PLAIN_LINE.fullmatch, written))
    commands: list[ParsedCommand] = []
    for line in lines:
        commands.extend(_commands_of_line(line, grants=has_only_commands))
    return tuple(commands[:_MAX_COMMANDS])


def _commands_of_line(line: _ShownLine, *, grants: bool) -> list[ParsedCommand]:
    """Returns the commands of a line, one for each pattern; none where the line is no command.

    Args:
        line: The line.
        grants: Whether an `add` in it counts.
    """
    match = _LINE.fullmatch(line.text)
    if match is None:
        return []
    verb = (match["verb"] or "")[:_MAX_LENGTH]
    if not line.is_plain and verb != "keep":
        return []
    if verb == "add" and not grants:
        verb = _ADD_AMONG_TEXT
    words = re.split(r"[\s,]+", (match["rest"] or "").strip())
    patterns = [word.strip("`")[:_MAX_LENGTH] for word in words]
    entered_patterns = [pattern for pattern in patterns if pattern]
    return [ParsedCommand(verb, pattern) for pattern in entered_patterns or [""]]


def rejection_reason(verb: str, pattern: str) -> str:
    """Returns why a command is invalid; empty if it is valid."""
    if verb == _ADD_AMONG_TEXT:
        return "`add` counts only in a comment of commands without other text"
    if verb not in _VERBS:
        return "the commands are `keep`, `add` and `forget`"
    return "" if pattern else "no action is named, as in `/leastpriv keep s3:DeleteBucket`"


class _ShownLine(Struct, frozen=True):
    """A line of a comment without HTML."""

    text: str
    is_plain: bool
    """No HTML is before it or in it, but comments."""


def _shown_lines(body: str) -> Iterator[_ShownLine]:
    """Yields the lines of the paragraphs and of the HTML of a comment.

    An author need not have seen what a pasted text has in a comment or attribute of HTML, in a
    folded part, or in the definition or the title of a link.
    """
    from markdown_it import MarkdownIt

    # `*` is a part of patterns here, and a line of `-` after a command makes it no heading.
    markdown = MarkdownIt("commonmark").disable(["emphasis", "lheading"])
    quotes = 0
    is_plain = True
    for token in markdown.parse(_LINE_END.sub("\n", body)):
        if token.type.startswith("blockquote"):
            quotes += token.nesting
        html = _HTML_COMMENT.sub("", token.content) if token.type == "html_block" else ""
        if "<" in html:
            is_plain = False
            if not quotes:
                yield from _lines_of_html(html)
        if token.type == "inline" and not quotes:
            lines = list(_lines_of_paragraph(token.children or (), is_plain=is_plain))
            yield from lines
            is_plain = lines[-1].is_plain


def _lines_of_paragraph(parts: Iterable[Token], *, is_plain: bool) -> Iterator[_ShownLine]:
    """Yields the lines of a paragraph.

    Args:
        parts: The parts of the paragraph.
        is_plain: Whether no HTML is before the paragraph.
    """
    text = ""
    for part in parts:
        is_tag = part.type == "html_inline" and not _HTML_COMMENT.fullmatch(part.content)
        if is_tag:
            is_plain = False
        is_break = is_tag and _BREAK_TAG.fullmatch(part.content)
        if is_break or part.type in ("softbreak", "hardbreak"):
            yield _ShownLine(text.strip(), is_plain)
            text = ""
        elif part.type != "html_inline":
            text += _shown_text(part.type, part.content)
    yield _ShownLine(text.strip(), is_plain)


def _lines_of_html(html: str) -> Iterator[_ShownLine]:
    """Yields the lines that HTML shows; a comment without its end hides the rest."""
    visible_text = _TAG.sub("", _BREAK_TAG.sub("\n", html.partition("<!--")[0]))
    for line in visible_text.split("\n"):
        yield _ShownLine(line.strip(), is_plain=False)


def _shown_text(kind: str, content: str) -> str:
    """Returns a part of a line as its author wrote it."""
    if kind == "text":
        return content
    return f"`{content}`" if kind == "code_inline" else _MARKED
