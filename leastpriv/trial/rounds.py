"""The rounds of a trial: enact the candidate, run the command, judge what it was refused, extend, repeat."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TextIO

from leastpriv.aws.signals import Signals
from leastpriv.errors import LeastprivError
from leastpriv.proposal.models import Change, Options
from leastpriv.trial.cleanup import TrialTags
from leastpriv.trial.extend import (
    CandidatePolicy,
    RoundResult,
    TrialDenial,
    TrialIdentity,
    UnresolvedDenial,
    extend_candidate,
    logged_denials,
    recorded_denials,
)
from leastpriv.trial.messages import offered_lines, outcome_line, round_line, unresolved_lines
from leastpriv.trial.options import TrialSettings
from leastpriv.trial.process import CommandResult, child_environment, run_command
from leastpriv.trial.records import TrialRecords
from leastpriv.trial.strategies import Strategy

_log = logging.getLogger(__name__)

_POLL, _POLL_HISTORY = 1.0, 15.0
"""Seconds between looks for new records: event history takes two requests a second, from all who ask."""
_SIGNAL_CHECK = 0.5
"""Seconds after which a signal ends that waiting."""


@dataclass(frozen=True, slots=True)
class TrialContext:
    """What a trial touches beside AWS."""

    environment: Mapping[str, str]
    stdout: TextIO
    stderr: TextIO
    clock: Callable[[], datetime]
    sleep: Callable[[float], None] = time.sleep


@dataclass(slots=True)
class TrialRun:
    """The rounds so far, and the candidate that they made."""

    settings: TrialSettings
    context: TrialContext
    strategy: Strategy
    tags: TrialTags
    records: TrialRecords
    region: str
    candidate: CandidatePolicy
    signals: Signals = field(default_factory=Signals)
    """The caller only records them: the candidate holds what a round found before a signal ends the trial."""
    added: list[Change] = field(default_factory=list)
    reported_gaps: set[str] = field(default_factory=set)
    """What the sources cannot see, each said once."""

    def run(self) -> int:
        """All rounds; the exit code.

        Raises:
            LeastprivError: a round could not be prepared, or its output not be read.
            Stopped: a signal came while a round was prepared.
        """
        waited = False
        for number in range(1, self.settings.max_rounds + 1):
            ended, step = self._round(number)
            if ended.unread:
                self._accept(step)
                raise LeastprivError(ended.unread)
            if ended.exit_code == 0 and not ended.interrupted:
                self._log_lines(offered_lines(step.added))
                self._log_lines(unresolved_lines(step.unresolved, has_records=self.records.has_sources))
                _log.info(outcome_line(0, number, None, has_records=self.records.has_sources))
                return 0
            if self.signals.received:
                self._accept(step)
                return 128 + self.signals.received[0]
            # Where AWS has not heeded the last change everywhere yet, one more round may be allowed it.
            again = self.strategy.may_lag and any(one.allowed_by_candidate for one in step.unresolved) and not waited
            waited = not step.added and again
            if not step.added and not again:
                break
            self._accept(step)
        self._log_lines(unresolved_lines(step.unresolved, has_records=self.records.has_sources))
        _log.info(outcome_line(ended.exit_code, number, step, has_records=self.records.has_sources))
        return 1

    def _round(self, number: int) -> tuple[CommandResult, RoundResult]:
        with self.signals.delivered():
            credentials = self.strategy.apply(self.candidate.documents, number)
        environment = child_environment(self.context.environment, credentials, self.region)
        began, around = self.context.clock(), self.context
        ended = run_command(self.settings.argv, environment, around.stdout, around.stderr, self.signals)
        seconds = (self.context.clock() - began).total_seconds()
        step = self._result(number, ended)
        _log.info(round_line(number, ended.exit_code, step, seconds, is_fully_read=not ended.unread))
        return ended, step

    def _result(self, number: int, ended: CommandResult) -> RoundResult:
        """What the round's output and records make of the candidate; records are waited for where they alone help."""
        tried = TrialIdentity(
            self.settings.principal.arn, self.tags.trial, self.strategy.acting_role, self.strategy.narrows
        )
        output = list(logged_denials(ended.denials, tried, self.candidate.exact_resources))
        left = 0.0 if ended.unread or ended.exit_code == 0 else self.settings.wait
        while True:
            step = self._extended([*output, *self._recorded_denials(number)], tried)
            if step.added or left <= 0 or not self.records.has_sources or self.signals.received:
                return step
            pause = min(left, _POLL_HISTORY if self.records.reads_event_history else _POLL)
            self._sleep(pause)
            left -= pause

    def _sleep(self, seconds: float) -> None:
        while seconds > 0 and not self.signals.received:
            self.context.sleep(min(seconds, _SIGNAL_CHECK))
            seconds -= _SIGNAL_CHECK

    def _extended(self, seen: Sequence[TrialDenial | UnresolvedDenial], tried: TrialIdentity) -> RoundResult:
        options = Options(never_add=self.settings.never_add)
        return extend_candidate(self.candidate, seen, tried, options, self.context.clock())

    def _recorded_denials(self, number: int) -> list[TrialDenial]:
        sessions = [self.tags.session_name(each) for each in range(1, number + 1)]
        found = self.records.denied_usages(sessions, self.strategy.acting_role, self.context.clock(), self._report_gap)
        last = sessions[-1]
        return [one for name, usages in found.items() for one in recorded_denials(usages, is_earlier=name != last)]

    def _report_gap(self, detail: str) -> None:
        if detail not in self.reported_gaps:
            self.reported_gaps.add(detail)
            _log.info(f"Not seen in records: {detail}")

    def _accept(self, step: RoundResult) -> None:
        self.candidate = replace(self.candidate, document=step.document)
        self.added += step.added

    def _log_lines(self, lines: Iterable[str]) -> None:
        for line in lines:
            _log.info(line)
