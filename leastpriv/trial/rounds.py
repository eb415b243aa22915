"""Runs the rounds of a trial: apply the candidate, run the command, extend the candidate by its
denials.

New records of the sessions come from folders that grow during the trial, and from event history.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import TextIO

from msgspec import Struct, field
from msgspec.structs import replace

from leastpriv.aws.arns import EvidenceSource, Principals, Window, parse_principal, same_arn
from leastpriv.aws.session import Aws, Polling
from leastpriv.cloudtrail.event_history import EventHistory, EventHistoryOptions
from leastpriv.cloudtrail.local_store import TrailFolder
from leastpriv.config.inputs import EVENT_HISTORY
from leastpriv.errors import InputError, LeastprivError, Signals
from leastpriv.evidence.authorization_details import (
    AuthorizationDetails,
    DeniedRequest,
    explained_denials,
    read_details,
)
from leastpriv.models import Call, Denial, Gap, Outcome, Principal
from leastpriv.permissions.event_table import home_region
from leastpriv.pipeline.sources import read_evidence
from leastpriv.policy.document import Document
from leastpriv.policy.source import Location
from leastpriv.proposal.models import Change, Options
from leastpriv.trial.cleanup import TrialTags
from leastpriv.trial.extend import (
    CandidatePolicy,
    RoundResult,
    TrialDenial,
    TrialIdentity,
    UnresolvedDenial,
    extend_candidate,
    kind_of,
    logged_denials,
    recorded_denials,
)
from leastpriv.trial.limits import TrialLimits
from leastpriv.trial.messages import (
    offered_lines,
    outcome_line,
    repeated_line,
    round_line,
    time_limit_sentence,
    unresolved_lines,
)
from leastpriv.trial.next_names import services_without_data_events
from leastpriv.trial.process import CommandResult, Credentials, child_environment, run_command
from leastpriv.trial.strategies import Strategy

_log = logging.getLogger(__name__)

_POLL = 1.0
_POLL_HISTORY = 15.0
"""Seconds between requests for new records: event history allows two requests a second per account.
"""
_ROUNDS_OF_A_KIND = 2
_SIGNAL_CHECK = 0.5
"""Seconds between checks for a signal while waiting for records."""


class TrialSettings(Struct, frozen=True):
    """The settings of one trial."""

    principal: Principal
    policy: Location
    also_attached: tuple[str, ...]
    strategy: str
    max_rounds: int
    trails: tuple[str, ...]
    wait: float
    """Seconds to wait for records after a round whose output does not help."""
    settle: float
    """Seconds that IAM gets to apply a change of the temporary role."""
    never_add: tuple[str, ...]
    yes_to: tuple[str, ...]
    """Actions that may be added although only the command's output names them."""
    within: str
    """A policy outside of which nothing is added; empty: no bound."""
    pass_env: tuple[str, ...]
    """Variables that the command gets although they may hold a secret."""
    time_limit: float
    """Seconds after which a round's command is ended."""
    clean_up: bool
    argv: tuple[str, ...]


class TrialRecords(Struct, frozen=True):
    """Sources of new records of a trial's sessions."""

    folders: tuple[Path, ...]
    reads_event_history: bool
    aws: Aws
    since: datetime

    @classmethod
    def open(cls, names: Sequence[str], aws: Aws, since: datetime) -> TrialRecords:
        """Returns the sources by name: folders of CloudTrail files, empty ones too, and the
        account's event history.
        """
        folders = tuple(Path(name) for name in names if name != EVENT_HISTORY)
        for folder in folders:
            if not folder.is_dir():
                raise InputError(
                    f"--trails names {str(folder)!r}, which is no folder: name one that CloudTrail"
                    f" files arrive in, or {EVENT_HISTORY}."
                )
        return cls(folders, EVENT_HISTORY in names, aws, since)

    @property
    def has_sources(self) -> bool:
        """Whether there is any source."""
        return bool(self.folders or self.reads_event_history)

    def read(
        self, principal: Principal, sessions: tuple[str, ...], now: datetime
    ) -> Iterator[Call | Gap]:
        """Yields the calls of sessions of a role, and gaps."""
        sources: list[EvidenceSource] = [TrailFolder(folder) for folder in self.folders]
        if self.reads_event_history:
            regions = (self.aws.region, home_region("iam", self.aws.partition))
            sources.append(
                EventHistory(self.aws, regions, now, EventHistoryOptions(sessions=sessions))
            )
        for source in sources:
            # A folder without a file is no trail yet.
            with suppress(InputError):
                yield from source.read(Window(start=self.since), Principals(frozenset({principal})))


class _ReadCalls(Struct, frozen=True):
    """A source of calls that were read already."""

    calls: Sequence[Call | Gap]

    def read(self, window: Window, principals: Principals) -> Iterator[Call | Gap]:  # noqa: ARG002
        return iter(self.calls)


class _RoundMark(Struct, frozen=True):
    """How records name the calls of a round."""

    session: str
    access_key: str = ""
    """Of a round in a session of the caller's own; empty where the session is the trial's."""

    def has_made(self, call: Call) -> bool:
        """Whether a call is of the round."""
        return call.session == self.session and self.access_key in ("", call.access_key)


class _OutputDenials(Struct, frozen=True):
    """The denials in a command's output."""

    of_text: Sequence[Denial]
    """What the command printed, which proves nothing."""
    of_aws: Sequence[Denial]
    """AWS's own account of denials whose authorization id the command printed."""


class TrialContext(Struct, frozen=True):
    """Environment, streams and clock of a trial."""

    environment: Mapping[str, str]
    stdout: TextIO
    stderr: TextIO
    clock: Callable[[], datetime]
    sleep: Callable[[float], None] = time.sleep


def _keep(document: Document) -> None:
    """Saves nothing."""


class TrialRun(Struct):
    """The rounds so far, and the extended candidate."""

    settings: TrialSettings
    context: TrialContext
    strategy: Strategy
    tags: TrialTags
    records: TrialRecords
    candidate: CandidatePolicy
    signals: Signals = field(default_factory=Signals)
    """The caller only records signals, so that a round's denials extend the candidate before a
    signal ends the trial.
    """
    limits: TrialLimits = field(default_factory=TrialLimits)
    save: Callable[[Document], object] = _keep
    """Saves the candidate after each round that extended it."""
    added: list[Change] = []
    offered: dict[str, Change] = {}
    """What only a person's yes adds, by action."""
    marks: list[_RoundMark] = []
    """Of each round."""
    kinds: dict[tuple[str, str], int] = {}
    """Action and resource type -> number of rounds that were denied it on another resource."""
    reported_gaps: set[str] = set()
    """What the sources cannot show, each logged once."""

    def run(self) -> int:
        """Runs all rounds and returns the exit code.

        Raises LeastprivError where a round could not be prepared, or its output not be read, and
        Stopped where a signal came while a round was prepared.
        """
        has_waited = False
        for number in range(1, self.settings.max_rounds + 1):
            command_result, round_result = self._round(number)
            failure = self._failure_of(command_result)
            if failure:
                self._accept(round_result)
                raise LeastprivError(failure)
            if command_result.exit_code == 0 and not command_result.interrupted:
                self._log_success(number, round_result)
                return 0
            if self.signals.received:
                self._accept(round_result)
                return 128 + self.signals.received[0]
            if round_result.added:
                has_waited = False
            elif not has_waited and self._may_lag(round_result):
                has_waited = True
            else:
                break
            self._accept(round_result)
        self._log_unresolved(round_result)
        self._log_outcome(command_result.exit_code, number, round_result)
        return 1

    def _failure_of(self, command_result: CommandResult) -> str:
        """Returns why the rounds cannot go on after a command; empty where they can."""
        if command_result.unread:
            return command_result.unread
        return time_limit_sentence(self.settings.time_limit) if command_result.timed_out else ""

    def _may_lag(self, round_result: RoundResult) -> bool:
        """Whether a further round may succeed without a change: IAM may not have applied the last
        one everywhere yet.
        """
        return self.strategy.may_lag and any(
            denial.allowed_by_candidate for denial in round_result.unresolved
        )

    def _log_success(self, number: int, round_result: RoundResult) -> None:
        """Logs a round in which the command succeeded, and drops the offers that it did without."""
        self._log_lines(offered_lines(round_result.added))
        self._log_unresolved(round_result)
        self._log_outcome(0, number, None)
        self.offered = {
            action: offer for action, offer in self.offered.items() if not offer.usual_as
        }

    def _log_unresolved(self, round_result: RoundResult) -> None:
        has_records = self.records.has_sources
        self._log_lines(unresolved_lines(round_result.unresolved, has_records=has_records))

    def _log_outcome(self, exit_code: int, number: int, round_result: RoundResult | None) -> None:
        has_records = self.records.has_sources
        _log.info(outcome_line(exit_code, number, round_result, has_records=has_records))

    def _round(self, number: int) -> tuple[CommandResult, RoundResult]:
        """Runs the command once under the candidate, and reads what it was denied."""
        credentials = self._apply_candidate(number)
        started = self.context.clock()
        command_result = self._run_command(credentials)
        seconds = (self.context.clock() - started).total_seconds()
        round_result = self._extend(command_result)
        _log.info(
            round_line(
                number,
                command_result.exit_code,
                round_result,
                seconds,
                is_fully_read=not command_result.unread,
            )
        )
        self._count_kinds(round_result)
        return command_result, round_result

    def _apply_candidate(self, number: int) -> Credentials:
        """Puts the candidate in force, and notes how records name the calls of the round."""
        with self.signals.delivered():
            credentials = self.strategy.apply(self.candidate.documents, number)
        # Narrower keys of the caller's own session are recognized by their id.
        own_session = self.strategy.own_session
        if own_session:
            self.marks.append(_RoundMark(own_session, credentials.key))
        else:
            self.marks.append(_RoundMark(self.tags.session_name(number)))
        return credentials

    def _run_command(self, credentials: Credentials) -> CommandResult:
        environment = child_environment(
            self.context.environment,
            credentials,
            self.records.aws.region,
            self.settings.pass_env,
        )
        return run_command(
            self.settings.argv,
            environment,
            self.context.stdout,
            self.context.stderr,
            self.signals,
            time_limit=self.settings.time_limit,
        )

    def _count_kinds(self, round_result: RoundResult) -> None:
        """Counts the rounds that were denied an action on a type of resource; logs the second."""
        denied = {
            kind_of(change.action, resource)
            for change in round_result.denied
            for resource in change.resources
        }
        for kind in sorted(denied):
            self.kinds[kind] = self.kinds.get(kind, 0) + 1
            if self.kinds[kind] == _ROUNDS_OF_A_KIND:
                _log.info(repeated_line(*kind, round_result.added))

    def _extend(self, command_result: CommandResult) -> RoundResult:
        """Extends the candidate by a round's output and records; waits for records only if they are
        needed.
        """
        identity = self._identity()
        output_denials = self._output_denials(command_result, identity)
        seconds_left = self.settings.wait
        if command_result.unread or command_result.exit_code == 0:
            seconds_left = 0.0
        while True:
            round_result = extend_candidate(
                self.candidate,
                [*output_denials, *self._recorded_denials()],
                identity,
                Options(never_add=self.settings.never_add),
                self.context.clock(),
                limits=self.limits,
            )
            if round_result.added or seconds_left <= 0 or not self._may_wait():
                return round_result
            pause = min(seconds_left, self._poll())
            self._sleep(pause)
            seconds_left -= pause

    def _identity(self) -> TrialIdentity:
        return TrialIdentity(
            target=self.settings.principal.arn,
            trial=self.tags.trial,
            acting_role=self.strategy.acting_role,
            narrows=self.strategy.narrows,
            own_session=self.strategy.own_session,
        )

    def _may_wait(self) -> bool:
        """Whether records may still come that the trial can wait for."""
        return self.records.has_sources and not self.signals.received

    def _poll(self) -> float:
        """Returns the seconds between two requests for new records."""
        return _POLL_HISTORY if self.records.reads_event_history else _POLL

    def _output_denials(
        self, command_result: CommandResult, identity: TrialIdentity
    ) -> list[TrialDenial | UnresolvedDenial]:
        """Returns the denials in the command's output, by its text or by AWS's account of them."""
        denials = self._explained(command_result, identity)
        known_arns = self.candidate.exact_resources
        of_text = logged_denials(denials.of_text, identity, known_arns)
        of_aws = logged_denials(
            denials.of_aws, identity, known_arns, are_recorded=not identity.own_session
        )
        return [*of_text, *of_aws]

    def _explained(self, command_result: CommandResult, identity: TrialIdentity) -> _OutputDenials:
        """Replaces denials of this trial by AWS's account of them: all that the call lacks, in one
        round.
        """
        details_by_id = self._read_details(command_result)
        of_text: list[Denial] = []
        of_aws: list[Denial] = []
        for denial in command_result.denials:
            details = details_by_id.get(denial.authorization_id)
            if details and _is_of_trial(details, identity):
                of_aws += [explained for explained, _ in explained_denials(denial, details)]
            else:
                of_text.append(denial)
        return _OutputDenials(of_text, of_aws)

    def _read_details(self, command_result: CommandResult) -> Mapping[str, AuthorizationDetails]:
        """Returns AWS's account of the denials whose id the command printed, by that id."""
        now = self.context.clock()
        requests = [
            DeniedRequest(denial.authorization_id, denial.authorization_region, now)
            for denial in command_result.denials
            if denial.authorization_id
        ]
        longest = timedelta()
        if command_result.exit_code != 0:
            longest = timedelta(seconds=self.settings.wait)

        def clock() -> datetime:
            # After a signal, the wait is over.
            return now + longest if self.signals.received else self.context.clock()

        details_by_id, gaps = read_details(
            lambda region: self.records.aws.client("iam-toolbox", region),
            requests,
            Polling(clock, self._sleep, longest),
        )
        for gap in gaps:
            self._report_gap(f"details of denials: {gap.detail}")
        return details_by_id

    def _sleep(self, seconds: float) -> None:
        while seconds > 0 and not self.signals.received:
            self.context.sleep(min(seconds, _SIGNAL_CHECK))
            seconds -= _SIGNAL_CHECK

    def _recorded_denials(self) -> Iterator[TrialDenial]:
        """Yields the denials of all rounds so far that the records show."""
        principal = parse_principal(self.strategy.acting_role)
        for mark, calls in self._denied_calls(principal).items():
            if calls:
                evidence = read_evidence([_ReadCalls(calls)], Window(), principal)[principal.arn]
                yield from recorded_denials(evidence.usages, is_earlier=mark != self.marks[-1])

    def _denied_calls(self, principal: Principal) -> Mapping[_RoundMark, Sequence[Call]]:
        """Returns the denied calls that the records show, by round."""
        denied_calls: dict[_RoundMark, list[Call]] = {mark: [] for mark in self.marks}
        sessions = tuple(dict.fromkeys(mark.session for mark in self.marks))
        for record_item in self.records.read(principal, sessions, self.context.clock()):
            if isinstance(record_item, Gap):
                self._report_gap(record_item.detail)
            elif record_item.outcome is Outcome.DENIED:
                for mark, calls in denied_calls.items():
                    if mark.has_made(record_item):
                        calls.append(record_item)
        return denied_calls

    def _report_gap(self, detail: str) -> None:
        if detail not in self.reported_gaps:
            self.reported_gaps.add(detail)
            _log.info(f"Not seen in records: {detail}")

    def _accept(self, round_result: RoundResult) -> None:
        unrecorded = self.candidate.unrecorded | services_without_data_events(round_result.denied)
        self.candidate = replace(
            self.candidate, document=round_result.document, unrecorded=unrecorded
        )
        self.offered |= {change.action: change for change in round_result.offered}
        for change in round_result.added:
            self.offered.pop(change.action, None)
        if round_result.added:
            self.added += round_result.added
            self.save(self.candidate.document)

    def _log_lines(self, lines: Iterable[str]) -> None:
        for line in lines:
            _log.info(line)


def _is_of_trial(details: AuthorizationDetails, identity: TrialIdentity) -> bool:
    """Whether AWS's account of a denial names a session of the trial."""
    return same_arn(details.principal, identity.acting_role) and identity.has_session(
        details.session
    )
