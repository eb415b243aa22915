"""Runs a trial: reports earlier trials, reads the policy, runs the rounds, cleans up and writes the policy."""

from __future__ import annotations

import logging
import secrets
import signal
from datetime import timedelta

from leastpriv.aws.session import Aws
from leastpriv.aws.signals import caught_signals
from leastpriv.errors import AwsError, LeastprivError
from leastpriv.trial.cleanup import ProcessIdentity, TrialTags, find_trial_resources, remove_resources
from leastpriv.trial.extend import CandidatePolicy
from leastpriv.trial.messages import found_lines, saved_lines, trial_resource_lines
from leastpriv.trial.options import SESSION_POLICY, TrialSettings
from leastpriv.trial.policy_file import PolicyFile, open_attached, open_policy, save_policy
from leastpriv.trial.records import TrialRecords
from leastpriv.trial.rounds import TrialContext, TrialRun
from leastpriv.trial.strategies import SessionPolicy, Strategy, TrialRole

_log = logging.getLogger(__name__)

_SKEW = timedelta(minutes=5)
"""Maximal difference between the clocks of this machine and of AWS."""


def run_trial(settings: TrialSettings | None, context: TrialContext) -> int:
    """Runs the whole trial; without settings it only cleans up.

    Its resources are removed and the extended policy is written, however the trial ends.

    Returns:
        0 for success, 1 without progress or after the last round, 128 and its number for a signal.

    Raises InputError where an input leads to no policy or command that can be tried, and LeastprivError where AWS
    denies what the trial itself needs, or a resource or file could not be removed or written.
    """
    aws = Aws.open(context.environment, "the trial")
    tags = TrialTags(f"leastpriv-{secrets.token_hex(6)}", context.clock(), ProcessIdentity.current())
    with caught_signals(first_only=True) as signals:
        _report_earlier_trials(aws, context, tags.process, clean_up=settings is None or settings.clean_up)
        if settings is None:
            return 0
        file = open_policy(settings.policy, settings.principal)
        attached = open_attached(settings.policy, settings.also_attached, settings.principal)
        records = TrialRecords.open(settings.trails, aws, context.clock() - _SKEW)
        shared = (aws, settings.principal, tags, context.clock, context.sleep)
        is_session = settings.strategy == SESSION_POLICY
        strategy: Strategy = SessionPolicy(*shared) if is_session else TrialRole(*shared, settings.settle)
        candidate = CandidatePolicy(file.document, attached)
        course = TrialRun(settings, context, strategy, tags, records, aws.region, candidate, signals)
        with signals.recorded():
            return _run(course, file)


def _run(run: TrialRun, file: PolicyFile) -> int:
    """Runs the rounds, then cleans up and writes the file; signals are raised only while a round is prepared."""
    failures: list[str] = []
    try:
        code = run.run()
    except KeyboardInterrupt as stop:
        code = 128 + getattr(stop, "signal", signal.SIGINT)
    finally:
        try:
            failures = run.strategy.clean_up()
            for each in failures:
                _log.info(f"{each} Remove it with leastpriv trial --clean-up.")
        finally:
            _save_policy(run, file)
    return code or (1 if failures else 0)


def _report_earlier_trials(aws: Aws, context: TrialContext, process: ProcessIdentity, *, clean_up: bool) -> None:
    iam = aws.client("iam")
    try:
        resources = find_trial_resources(iam, context.clock(), process)
    except AwsError as error:
        if clean_up:
            raise
        _log.info(f"It is not known whether an earlier trial left resources in the account. {error}")
        return
    for line in trial_resource_lines(resources, clean_up=clean_up):
        _log.info(line)
    if clean_up:
        orphaned = [resource for resource in resources if resource.trial_ended]
        failures = remove_resources(iam, orphaned)
        _log.info(f"Removed {len(orphaned) - len(failures)} of {len(orphaned)} left-overs.")
        if failures:
            raise LeastprivError(" ".join(failures))


def _save_policy(run: TrialRun, file: PolicyFile) -> None:
    """Writes the extended policy and logs what was added, even if the file cannot be written."""
    if not run.added:
        return
    document = run.candidate.document
    try:
        path = save_policy(file, document)
    except LeastprivError:
        for line in found_lines(run.added):
            _log.info(line)
        raise
    for line in saved_lines(path, file.path, run.added, document, run.settings.principal.arn):
        _log.info(line)
