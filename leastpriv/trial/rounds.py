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
from leastpriv.trial.cleanup import Mark
from leastpriv.trial.extend import Candidate, Refusal, Step, Tried, Unmended, judged, recorded, told
from leastpriv.trial.messages import not_mended, offered, round_line, verdict
from leastpriv.trial.options import TrialSettings
from leastpriv.trial.process import Ended, child_environment, run_command
from leastpriv.trial.records import Records
from leastpriv.trial.strategies import Strategy

_log = logging.getLogger(__name__)

_POLL, _POLL_HISTORY = 1.0, 15.0
"""Seconds between looks for new records: event history takes two requests a second, from all who ask."""
_NAP = 0.5
"""Seconds after which a signal ends that waiting."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a trial touches beside AWS."""

    environment: Mapping[str, str]
    stdout: TextIO
    stderr: TextIO
    clock: Callable[[], datetime]
    sleep: Callable[[float], None] = time.sleep


@dataclass(slots=True)
class Course:
    """The rounds so far, and the candidate that they made."""

    settings: TrialSettings
    around: Surroundings
    strategy: Strategy
    mark: Mark
    records: Records
    region: str
    candidate: Candidate
    signals: Signals = field(default_factory=Signals)
    """The caller only records them: the candidate holds what a round found before a signal ends the trial."""
    added: list[Change] = field(default_factory=list)
    unseen: set[str] = field(default_factory=set)
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
                self._extend(step)
                raise LeastprivError(ended.unread)
            if ended.exit_code == 0 and not ended.interrupted:
                self._tell(offered(step.added))
                self._tell(not_mended(step.unmended, has_records=self.records.are_there))
                _log.info(verdict(0, number, None, has_records=self.records.are_there))
                return 0
            if self.signals.received:
                self._extend(step)
                return 128 + self.signals.received[0]
            # Where AWS has not heeded the last change everywhere yet, one more round may be allowed it.
            again = self.strategy.lags and any(one.overtaken for one in step.unmended) and not waited
            waited = not step.added and again
            if not step.added and not again:
                break
            self._extend(step)
        self._tell(not_mended(step.unmended, has_records=self.records.are_there))
        _log.info(verdict(ended.exit_code, number, step, has_records=self.records.are_there))
        return 1

    def _round(self, number: int) -> tuple[Ended, Step]:
        with self.signals.delivered():
            credentials = self.strategy.enact(self.candidate.documents, number)
        environment = child_environment(self.around.environment, credentials, self.region)
        began, around = self.around.clock(), self.around
        ended = run_command(self.settings.argv, environment, around.stdout, around.stderr, self.signals)
        seconds = (self.around.clock() - began).total_seconds()
        step = self._step(number, ended)
        _log.info(round_line(number, ended.exit_code, step, seconds, is_whole=not ended.unread))
        return ended, step

    def _step(self, number: int, ended: Ended) -> Step:
        """What the round's output and records make of the candidate; records are waited for where they alone help."""
        tried = Tried(self.settings.principal.arn, self.mark.trial, self.strategy.acting, self.strategy.narrows)
        output = list(told(ended.denials, tried, self.candidate.resources))
        left = 0.0 if ended.unread or ended.exit_code == 0 else self.settings.wait
        while True:
            step = self._judged([*output, *self._recorded(number)], tried)
            if step.added or left <= 0 or not self.records.are_there or self.signals.received:
                return step
            pause = min(left, _POLL_HISTORY if self.records.history else _POLL)
            self._sleep(pause)
            left -= pause

    def _sleep(self, seconds: float) -> None:
        while seconds > 0 and not self.signals.received:
            self.around.sleep(min(seconds, _NAP))
            seconds -= _NAP

    def _judged(self, seen: Sequence[Refusal | Unmended], tried: Tried) -> Step:
        options = Options(never_add=self.settings.never_add)
        return judged(self.candidate, seen, tried, options, self.around.clock())

    def _recorded(self, number: int) -> list[Refusal]:
        sessions = [self.mark.session(each) for each in range(1, number + 1)]
        found = self.records.refused(sessions, self.strategy.acting, self.around.clock(), self._unseen)
        last = sessions[-1]
        return [one for name, usages in found.items() for one in recorded(usages, late=name != last)]

    def _unseen(self, detail: str) -> None:
        if detail not in self.unseen:
            self.unseen.add(detail)
            _log.info(f"Not seen in records: {detail}")

    def _extend(self, step: Step) -> None:
        self.candidate = replace(self.candidate, document=step.document)
        self.added += step.added

    def _tell(self, lines: Iterable[str]) -> None:
        for line in lines:
            _log.info(line)
