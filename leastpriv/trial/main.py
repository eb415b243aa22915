"""Runs a trial: parses its options, reports earlier trials, reads the policy, runs the rounds and
writes the policy.
"""

from __future__ import annotations

import logging
import secrets
import shutil
import signal
from argparse import Namespace
from collections.abc import Mapping
from datetime import timedelta

from leastpriv.atomic_file import read_named
from leastpriv.aws.session import Aws
from leastpriv.config.inputs import entries, named_principal, parse_integer, patterns
from leastpriv.errors import AwsError, InputError, LeastprivError, caught_signals
from leastpriv.models import Principal
from leastpriv.policy.source import Location
from leastpriv.trial.cleanup import TrialTags, find_trial_resources, remove_all
from leastpriv.trial.extend import CandidatePolicy
from leastpriv.trial.limits import TrialLimits
from leastpriv.trial.messages import (
    found_lines,
    hidden_lines,
    saved_lines,
    trial_resource_lines,
    yes_lines,
)
from leastpriv.trial.policy_file import PolicyFile, open_attached, open_bound, open_policy
from leastpriv.trial.process import TRIAL_CREDENTIALS, hidden_variables
from leastpriv.trial.rounds import TrialContext, TrialRecords, TrialRun, TrialSettings
from leastpriv.trial.strategies import SessionPolicy, TrialRole

_log = logging.getLogger(__name__)


SESSION_POLICY = "session-policy"
TRIAL_ROLE = "trial-role"


def parse_settings(options: Namespace) -> TrialSettings | None:
    """Parses the options; None: there is no command, and the trial only cleans up; raises
    InputError.
    """
    if not options.argv and options.clean_up:
        return None
    if not options.argv:
        raise InputError(
            "There is no command to try: write it after --, as in leastpriv trial … -- make deploy."
        )
    _check_given(options.role_arn, "--role-arn")
    _check_given(options.policy_file, "--policy-file")
    principal = named_principal(options.role_arn, "--role-arn")
    return TrialSettings(
        principal=principal,
        policy=Location.of(options.policy_file),
        also_attached=_entries(options.also_attached),
        strategy=_strategy_name(options.strategy, principal),
        max_rounds=parse_integer(options.max_rounds, "--max-rounds", 1),
        trails=_entries(options.trails),
        wait=parse_integer(options.wait, "--wait-for-records"),
        settle=parse_integer(options.settle, "--settle"),
        never_add=patterns(_entries(options.never_add), "--never-add"),
        yes_to=_yes_to(options.yes_to),
        within=options.within or "",
        pass_env=_passed_on(options.pass_env),
        time_limit=parse_integer(options.time_limit, "--time-limit", 1),
        clean_up=options.clean_up,
        argv=tuple(options.argv),
    )


def _check_given(value: str | None, flag: str) -> None:
    if not value:
        raise InputError(
            f"{flag} is missing: a command is tried under the policy of one role or user."
        )


def _strategy_name(given: str | None, principal: Principal) -> str:
    """Returns the strategy that is given, or the usual one of the principal; raises InputError."""
    if principal.kind != "user":
        return given or SESSION_POLICY
    if given == SESSION_POLICY:
        raise InputError(
            "--strategy is session-policy, but a user cannot be assumed: use trial-role."
        )
    return given or TRIAL_ROLE


def _entries(values: list[str] | None) -> tuple[str, ...]:
    return tuple(entry for value in values or () for entry in entries(value))


def _yes_to(values: list[str] | None) -> tuple[str, ...]:
    """Returns the actions of `--yes-to`; raises InputError for a yes to all services."""
    yes_patterns = patterns(_entries(values), "--yes-to")
    for pattern in yes_patterns:
        service = pattern.partition(":")[0]
        if "*" in service or "?" in service:
            raise InputError(
                f"--yes-to holds {pattern!r}, which is a yes to every service: name the actions, as"
                " in"
                " --yes-to s3:PutObject."
            )
    return yes_patterns


def _passed_on(values: list[str] | None) -> tuple[str, ...]:
    """Returns the names of `--pass-env`; raises InputError for one that cannot be passed on."""
    for name in values or ():
        if name in TRIAL_CREDENTIALS:
            raise InputError(
                f"--pass-env is {name}, in which the command gets the trial's own credentials:"
                " leave it out."
            )
        if not name or "=" in name:
            raise InputError(
                f"--pass-env is {name!r}: write the name of a variable of your environment, without"
                " its value."
            )
    return tuple(values or ())


_SKEW = timedelta(minutes=5)
"""Maximal difference between the clocks of this machine and of AWS."""


def run_trial(settings: TrialSettings | None, context: TrialContext) -> int:
    """Runs the whole trial; without settings it only cleans up.

    Its resources are removed, and the extended policy of each round is written, however the trial
    ends.

    Returns:
        0 for success, 1 without progress or after the last round, 128 and its number for a signal.

    Raises InputError where an input leads to no policy or command that can be tried, and
    LeastprivError where AWS denies what the trial itself needs, or a resource or file could not be
    removed or written.
    """
    if settings is not None:
        _check_named(settings, context.environment)
    aws = Aws.open(context.environment, "the trial")
    tags = TrialTags(f"leastpriv-{secrets.token_hex(6)}", context.clock())
    with caught_signals(first_only=True) as signals:
        _report_earlier_trials(aws, context, clean_up=settings is None or settings.clean_up)
        if settings is None:
            return 0
        file = open_policy(settings.policy, settings.principal, aws.region)
        run = _open_run(settings, context, aws, tags, file)
        run.signals = signals
        hidden = hidden_variables(context.environment, settings.pass_env)
        for line in hidden_lines(hidden.difference(TRIAL_CREDENTIALS)):
            _log.info(line)
        with signals.recorded():
            return _run(run, file)


def _open_run(
    settings: TrialSettings, context: TrialContext, aws: Aws, tags: TrialTags, file: PolicyFile
) -> TrialRun:
    """Opens what the rounds read and change; raises InputError."""
    principal = settings.principal
    attached = open_attached(settings.policy, settings.also_attached, principal, aws.region)
    records = TrialRecords.open(settings.trails, aws, context.clock() - _SKEW)
    strategy_class = SessionPolicy if settings.strategy == SESSION_POLICY else TrialRole
    strategy = strategy_class(
        aws=aws,
        principal=principal,
        tags=tags,
        clock=context.clock,
        sleep=context.sleep,
        settle=settings.settle,
    )
    return TrialRun(
        settings=settings,
        context=context,
        strategy=strategy,
        tags=tags,
        records=records,
        candidate=CandidatePolicy(file.document, attached),
        limits=TrialLimits(
            yes_to=settings.yes_to,
            within=open_bound(settings.within, principal, aws.region),
        ),
        save=file.save,
    )


def _check_named(settings: TrialSettings, environment: Mapping[str, str]) -> None:
    """Raises InputError where a named file or the command does not exist, before AWS is asked."""
    named_files = [("--also-attached", name) for name in settings.also_attached]
    for flag, name in [("--within", settings.within), *named_files]:
        if name:
            read_named(Location.of(name).path, flag)
    command = settings.argv[0] if settings.argv else ""
    if command and shutil.which(command, path=environment.get("PATH")) is None:
        raise InputError(f"The command {command!r} cannot be run: there is no such program.")


def _run(run: TrialRun, file: PolicyFile) -> int:
    """Runs the rounds, then cleans up and reports what was added; signals are raised only while a
    round is prepared.
    """
    failures: list[str] = []
    try:
        code = run.run()
    except KeyboardInterrupt as stop:
        code = 128 + getattr(stop, "signal", signal.SIGINT)
    finally:
        try:
            failures = run.strategy.clean_up()
            for failure in failures:
                _log.info(f"{failure} Remove it with leastpriv trial --clean-up.")
        finally:
            _report_policy(run, file)
    return code or (1 if failures else 0)


def _report_earlier_trials(aws: Aws, context: TrialContext, *, clean_up: bool) -> None:
    """Logs what earlier trials left in the account and, with `clean_up`, removes what has ended."""
    iam = aws.client("iam")
    try:
        resources = find_trial_resources(iam, context.clock())
    except AwsError as error:
        if clean_up:
            raise
        _log.info(
            f"It is not known whether an earlier trial left resources in the account. {error}"
        )
        return
    for line in trial_resource_lines(resources, clean_up=clean_up):
        _log.info(line)
    if clean_up:
        orphaned = [arn for arn, has_ended in resources.items() if has_ended]
        failures = remove_all(iam, orphaned)
        _log.info(f"Removed {len(orphaned) - len(failures)} of {len(orphaned)} left-overs.")
        if failures:
            raise LeastprivError(" ".join(failures))


def _report_policy(run: TrialRun, file: PolicyFile) -> None:
    """Writes the extended policy, where a round could not, and logs what was added."""
    for line in yes_lines(run.offered):
        _log.info(line)
    if not run.added:
        return
    document = run.candidate.document
    try:
        path = file.save(document)
    except LeastprivError:
        for line in found_lines(run.added):
            _log.info(line)
        raise
    for line in saved_lines(path, file.path, run.added, document, run.settings.principal.arn):
        _log.info(line)
