"""The trial in one screen: what earlier ones left, the policy, the rounds; then all goes and the file is written."""

from __future__ import annotations

import logging
import secrets
import signal
from datetime import timedelta

from leastpriv.aws.session import Aws
from leastpriv.aws.signals import caught_signals
from leastpriv.errors import AwsError, LeastprivError
from leastpriv.trial.cleanup import Here, Mark, left_overs, removed
from leastpriv.trial.extend import Candidate
from leastpriv.trial.messages import found, found_left_overs, saved
from leastpriv.trial.options import SESSION_POLICY, TrialSettings
from leastpriv.trial.policy_file import PolicyFile, open_attached, open_policy, save
from leastpriv.trial.records import Records
from leastpriv.trial.rounds import Course, Surroundings
from leastpriv.trial.strategies import SessionPolicy, Strategy, TrialRole

_log = logging.getLogger(__name__)

_SKEW = timedelta(minutes=5)
"""How far the clocks of this machine and of AWS may differ."""


def trial(settings: TrialSettings | None, around: Surroundings) -> int:
    """Runs the whole trial; without settings it only cleans up.

    Returns 0 clean, 1 no progress or rounds spent, 128 and its number for a signal.

    Whatever happens, what was made in the account is removed and the extended policy written.

    Raises:
        InputError: an input leads to nothing that can be tried.
        LeastprivError: AWS refuses what the trial itself needs, or something could not be removed or written.
    """
    aws = Aws.open(around.environment, "the trial")
    mark = Mark(f"leastpriv-{secrets.token_hex(6)}", around.clock(), Here.now())
    with caught_signals(first_only=True) as signals:
        _tell_left_overs(aws, around, mark.here, clean_up=settings is None or settings.clean_up)
        if settings is None:
            return 0
        file = open_policy(settings.policy, settings.principal)
        attached = open_attached(settings.policy, settings.also_attached, settings.principal)
        records = Records.of(settings.trails, aws, around.clock() - _SKEW)
        strategy = _strategy(settings, aws, mark, around)
        candidate = Candidate(file.document, attached)
        course = Course(settings, around, strategy, mark, records, aws.region, candidate, signals)
        with signals.recorded():
            return _run(course, file)


def _run(course: Course, file: PolicyFile) -> int:
    """The rounds, and what has to be done after them in any case; no signal is raised but while a round is prepared."""
    failures: list[str] = []
    try:
        code = course.run()
    except KeyboardInterrupt as stop:
        code = 128 + getattr(stop, "signal", signal.SIGINT)
    finally:
        try:
            failures = course.strategy.remove()
            for each in failures:
                _log.info(f"{each} Remove it with leastpriv trial --clean-up.")
        finally:
            _save(course, file)
    return code or (1 if failures else 0)


def _strategy(settings: TrialSettings, aws: Aws, mark: Mark, around: Surroundings) -> Strategy:
    if settings.strategy == SESSION_POLICY:
        return SessionPolicy(aws, settings.principal, mark, around.clock, around.sleep)
    return TrialRole(aws, settings.principal, mark, around.clock, around.sleep, settings.settle)


def _tell_left_overs(aws: Aws, around: Surroundings, here: Here, *, clean_up: bool) -> None:
    iam = aws.client("iam")
    try:
        found = left_overs(iam, around.clock(), here)
    except AwsError as error:
        if clean_up:
            raise
        _log.info(f"Not known: whether an earlier trial left something in the account. {error}")
        return
    for line in found_left_overs(found, clean_up=clean_up):
        _log.info(line)
    if clean_up:
        dead = [one for one in found if one.dead]
        failures = removed(iam, dead)
        _log.info(f"Removed {len(dead) - len(failures)} of {len(dead)} left-overs.")
        if failures:
            raise LeastprivError(" ".join(failures))


def _save(course: Course, file: PolicyFile) -> None:
    """Writes the file where it was extended, and says so; what was found is told also where it cannot be written."""
    if not course.added:
        return
    document = course.candidate.document
    try:
        path = save(file, document)
    except LeastprivError:
        for line in found(course.added):
            _log.info(line)
        raise
    for line in saved(path, file.path, course.added, document, course.settings.principal.arn):
        _log.info(line)
