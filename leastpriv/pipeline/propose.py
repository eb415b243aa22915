"""The flow in one screen: evidence -> usage -> difference -> proposal -> proof -> report -> pull request.

One of several targets: what it was told, and how it ended.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from leastpriv.config.settings import Mode, Settings
from leastpriv.diff.compare import compare
from leastpriv.errors import LeastprivError, PullRequestError
from leastpriv.evidence.gaps import with_clock_gap
from leastpriv.pipeline.aws_checks import judgements, named_trusts, types_of, with_declared
from leastpriv.pipeline.collect_evidence import Reading, read_calls, with_hints
from leastpriv.pipeline.context import Workplace, committed_policy, free_names
from leastpriv.pipeline.history import Found, answer, history_of, keep
from leastpriv.pipeline.load_policies import attached_to, with_account
from leastpriv.policy.size import file_number
from leastpriv.proposal.fingerprint import change_ids, fingerprint
from leastpriv.proposal.proof import prove
from leastpriv.proposal.propose import propose
from leastpriv.proposal.suggestions import kept_counterparts, suggested_actions, suggested_conditions
from leastpriv.pull_request.body_markers import controls
from leastpriv.pull_request.lifecycle import scope_of
from leastpriv.pull_request.models import LineComment, Operation, Place, Publication, Published
from leastpriv.report.context import ReportContext
from leastpriv.report.line_comments import MOST_NOTES, line_notes
from leastpriv.report.pull_request import body, title
from leastpriv.report.role_chain import RoleChainPolicies, principal_role_chain

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Result:
    """What one run found and made."""

    subject: ReportContext
    title: str
    body: str
    published: Published | None
    forgotten: str = ""
    """Why what was learned is not remembered, or a comment not answered, in a sentence."""

    @property
    def has_changes(self) -> bool:
        """Whether the proposal differs from the committed policy."""
        return bool(self.subject.proposal.changes)


COMMIT_SUMMARY = "The pull request's text has the evidence for each change and the replay of the recorded calls."
Read = Callable[[Settings, Workplace], Reading]
"""How the evidence of a target is had: read for it alone, or together with that of others."""


@dataclass(frozen=True, slots=True)
class Made:
    """A proposal with its report, before anything is published."""

    subject: ReportContext
    title: str
    text: str
    base: str
    """Commit that the policy was read in; empty where it was read on disk."""
    scope: str
    """Principal and policy file, as fingerprints tell them apart."""
    changes: tuple[str, ...]
    """Ids of what closing the pull request declines."""
    found: Found
    """Of what came earlier."""

    @property
    def failure(self) -> str:
        """Why nothing may be published: the repository could not be asked."""
        return self.found.failure


def run(settings: Settings, workplace: Workplace, now: datetime, run_url: str = "") -> Result:
    """Makes a proposal for one role and one policy file, and publishes it in the mode pull-request.

    Raises:
        InputError: an input leads to nothing readable.
        LeastprivError: the proposal fails its own proof, or the base branch cannot be read.
    """
    return publish(make(settings, workplace, now, run_url), settings, workplace, now)


def make(
    settings: Settings,
    workplace: Workplace,
    now: datetime,
    run_url: str = "",
    read: Read = read_calls,
    group: str = "",
    chained: RoleChainPolicies | None = None,
) -> Made:
    """Makes the proposal of one role and policy file.

    `group` is the scope of the pull request that it shares with others; `chained` the roles that it leads to and their
    policies, where more is known of them than its own calls tell.

    Raises:
        InputError: an input leads to nothing readable.
        LeastprivError: the proposal fails its own proof, or the base branch cannot be read.
    """
    types, place = types_of(workplace.templates), workplace.place
    base = place.head_of(settings.base)[1] if place else ""
    committed = committed_policy(workplace, base, settings)
    trusts = named_trusts(settings, workplace, base)
    beside = attached_to(settings, workplace, base, committed)
    named, attached = beside.names, list(beside.documents)
    reading = read(settings, workplace)
    evidence = with_account(with_clock_gap(reading.evidence, now), beside, by_sessions=settings.event_history)
    evidence = with_hints(settings, workplace.reach, evidence)
    evidence = with_declared(evidence, workplace.reach, types, settings.principal)
    difference = compare(committed, attached, evidence)
    scope = f"{settings.principal.arn} {workplace.policy_name}"
    found = history_of(settings, workplace, base, (scope, group), difference.missing, evidence, now)
    history = found.history
    proposal = propose(committed, difference, evidence, settings.options, history, attached)
    subject = ReportContext(
        principal=settings.principal.arn,
        policy_file=workplace.policy_name,
        proposal=proposal,
        difference=difference,
        proof=prove(proposal, attached, evidence, settings.options, history),
        evidence=evidence,
        fingerprint=fingerprint(
            scope, committed.to_bytes() if committed else None, *(each.to_bytes() for each in proposal.documents)
        ),
        attached=named,
        assumed=beside.assumed,
        further=free_names(workplace, base, len(proposal.documents) - 1),
        files=reading.files,
        records=reading.records,
        run_url=run_url,
        history=history,
        attached_documents=tuple(attached),
        chained=chained or principal_role_chain(settings.principal.arn, evidence),
        live=beside.live,
        drift=beside.drift,
        suggested_actions=suggested_actions(evidence, [*proposal.documents, *attached], settings.options.never_add)
        if proposal.changes
        else (),
        kept_counterparts=kept_counterparts(proposal, evidence),
        suggested_conditions=suggested_conditions(proposal.document, evidence, settings.options.minimum_runs),
    )
    _insist(subject)
    subject = replace(subject, check_results=judgements(subject, settings, workplace.reach, trusts))
    name, changes = title(subject), change_ids(proposal)
    _log.info(name)
    return Made(subject, name, body(subject, len(controls(changes))), base, scope, changes, found)


def publish(made: Made, settings: Settings, workplace: Workplace, now: datetime) -> Result:
    """Puts the proposal for review in the mode pull-request; else the result is the report alone.

    What the run has learned is kept, whatever came of the proposal.
    """
    place, published = workplace.place, None
    forgotten = remember(made, workplace, now)
    if place and settings.mode is Mode.PULL_REQUEST and made.failure:
        published = Published(Operation.NONE, settings.branch, "", made.base, failure=made.failure)
    elif place and settings.mode is Mode.PULL_REQUEST:
        text = f"{made.text}\n{controls(made.changes)}"
        published = _publish(settings, place, made.base, made.subject, made.title, text, made.scope, now)
        forgotten = forgotten or answered(made, workplace, published)
    return Result(made.subject, made.title, made.text, published, forgotten)


def line_comments(subjects: Sequence[ReportContext]) -> Sequence[LineComment]:
    """What a pull request tells at its lines, of all its policies together as few as of one."""
    notes = [(subject.policy_path, note) for subject in subjects for note in line_notes(subject)]
    return [LineComment(path, note.line, note.side, note.text) for path, note in notes[:MOST_NOTES]]


def remember(made: Made, workplace: Workplace, now: datetime) -> str:
    """Keeps what the run has learned of the target; gives a sentence where that failed."""
    shelf = workplace.shelf if workplace.remembers and not made.found.history.history_state.trouble else None
    return keep(shelf, made.subject.evidence, made.found.news, now)


def answered(made: Made, workplace: Workplace, published: Published) -> str:
    """Answers people's commands, once what counts of them is remembered; gives a sentence where that failed."""
    return answer(workplace.historian, made.found.said, published, remembered=workplace.shelf is not None)


def _insist(subject: ReportContext) -> None:
    """A proposal that fails its own proof is a defect of the product and never leaves it."""
    proof = subject.proof
    found: Sequence[str] = [*proof.new_access, *proof.broken, *proof.unapplied]
    if found:
        raise LeastprivError(
            f"The proposal failed its own proof and was thrown away ({'; '.join(found[:3])}): "
            "please report this as a defect."
        )


def _publish(
    settings: Settings, place: Place, base: str, subject: ReportContext, name: str, text: str, scope: str, now: datetime
) -> Published:
    """Publishes; a failure is part of the result, so that report and outputs are written all the same."""
    publication = Publication(
        branch=settings.branch,
        base=settings.base,
        path=subject.policy_path,
        content=subject.proposal.content if subject.proposal.changes or subject.proposal.committed else None,
        title=name,
        summary=COMMIT_SUMMARY,
        fingerprint=subject.fingerprint,
        expected_base=base,
        body=text,
        certify=lambda before, after: _certified(scope, subject.policy_path, before, after),
        further={path: content for path, content in subject.contents.items() if path != subject.policy_path},
        comments=line_comments([subject]),
    )
    try:
        return place.publish(publication, now)
    except PullRequestError as error:
        return Published(Operation.NONE, settings.branch, "", base, failure=str(error))


def _certified(scope: str, path: str, before: bytes | None, after: Mapping[str, bytes]) -> str:
    """Fingerprint of a proposal that changes the policy file `path` and those it continues in; of other files, none."""
    numbers = {file_number(path, name): content for name, content in after.items()}
    if 0 in numbers or 1 not in numbers:
        return ""
    return fingerprint(scope, before, *(content for _, content in sorted(numbers.items())))


_RANKS = (1, 2, 3)
"""Exit codes, the worst first: what could not be looked at weighs more than what was found."""


@dataclass(frozen=True, slots=True)
class Target:
    """One role and its policy file."""

    settings: Settings
    workplace: Workplace = field(repr=False)
    group: str = ""
    where: str = ""
    """The entry that names it, for messages."""

    @property
    def role(self) -> str:
        """ARN of the role or user."""
        return self.settings.principal.arn

    @property
    def scope(self) -> str:
        """Principal and policy file, as fingerprints tell them apart."""
        return f"{self.role} {self.workplace.policy_name}"

    @property
    def digits(self) -> str:
        """The scope as it stands in a fingerprint."""
        return scope_of(fingerprint(self.scope, None, b""))


@dataclass(frozen=True, slots=True)
class Ended:
    """How one target ended."""

    target: Target
    made: Made | None = None
    failure: LeastprivError | None = None
    """Why there is no proposal."""
    published: Published | None = None
    forgotten: str = ""
    """Why what was learned is not remembered, or a comment not answered, in a sentence."""

    @property
    def result(self) -> Result | None:
        """As a run of its own would give it; None where there is no proposal."""
        made = self.made
        return Result(made.subject, made.title, made.text, self.published, self.forgotten) if made else None


def worst(codes: list[int]) -> int:
    """The exit code of all: 1 (not done) before 2 (bad input) before 3 (drift) before 0."""
    return next((code for code in _RANKS if code in codes), max(codes, default=0))
