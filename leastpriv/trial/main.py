"""Runs a trial: parses its options, reports earlier trials, reads the policy, runs the rounds and
writes the policy.
"""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import signal
from argparse import Namespace
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from msgspec import Struct

from leastpriv.atomic_file import read_named
from leastpriv.aws.session import Aws
from leastpriv.config.inputs import entries, named_principal, parse_integer, patterns
from leastpriv.errors import AwsError, InputError, LeastprivError, caught_signals
from leastpriv.models import Principal
from leastpriv.pipeline.infrastructure import RepositoryVersion
from leastpriv.pipeline.load_policies import continuations, read_attached
from leastpriv.policy.document import Document, parse
from leastpriv.policy.edit import create_policy
from leastpriv.policy.source import Location, is_hcl
from leastpriv.trial.cleanup import TrialTags, find_trial_resources, remove_all
from leastpriv.trial.extend import CandidatePolicy
from leastpriv.trial.messages import found_lines, saved_lines, trial_resource_lines
from leastpriv.trial.rounds import TrialContext, TrialRecords, TrialRun, TrialSettings
from leastpriv.trial.strategies import SessionPolicy, TrialRole

_log = logging.getLogger(__name__)


SESSION_POLICY, TRIAL_ROLE = "session-policy", "trial-role"


def parse_settings(options: Namespace) -> TrialSettings | None:
    """Parses the options; None: there is no command, and the trial only cleans up; raises
    InputError.
    """
    if not options.argv and not options.clean_up:
        raise InputError(
            "There is no command to try: write it after --, as in leastpriv trial … -- make deploy."
        )
    if not options.argv:
        return None
    for value, flag in ((options.role_arn, "--role-arn"), (options.policy_file, "--policy-file")):
        if not value:
            raise InputError(
                f"{flag} is missing: a command is tried under the policy of one role or user."
            )
    principal = named_principal(options.role_arn, "--role-arn")
    strategy = options.strategy or (TRIAL_ROLE if principal.kind == "user" else SESSION_POLICY)
    if strategy == SESSION_POLICY and principal.kind == "user":
        raise InputError(
            "--strategy is session-policy, but a user cannot be assumed: use trial-role."
        )
    return TrialSettings(
        principal=principal,
        policy=Location.of(options.policy_file),
        also_attached=_entries(options.also_attached),
        strategy=strategy,
        max_rounds=parse_integer(options.max_rounds, "--max-rounds", 1),
        trails=_entries(options.trails),
        wait=parse_integer(options.wait, "--wait-for-records"),
        settle=parse_integer(options.settle, "--settle"),
        never_add=patterns(_entries(options.never_add), "--never-add"),
        clean_up=options.clean_up,
        argv=tuple(options.argv),
    )


def _entries(values: list[str] | None) -> tuple[str, ...]:
    return tuple(entry for value in values or () for entry in entries(value))


class PolicyFile(Struct, frozen=True):
    """The file at the beginning of the trial."""

    path: Path
    raw: bytes | None
    """None: the file did not exist."""
    document: Document


def open_policy(location: Location, principal: Principal) -> PolicyFile:
    """Reads the policy; without a file, the trial begins with a policy that allows nothing; raises
    InputError.
    """
    path = Path(location.path)
    raw = read_named(path, "--policy-file") if path.exists() else None
    if raw is None:
        if location.pointer or is_hcl(location.path) or not path.parent.is_dir():
            raise InputError(
                f"--policy-file names {str(location)!r}, which does not exist; create that first."
            )
        return PolicyFile(path, None, parse(create_policy(()), location.path))
    document = read_attached(
        raw, str(location), principal, RepositoryVersion.on_disk().folder(location.path)
    )
    if not document.editable:
        raise InputError(
            f"--policy-file is {str(location)!r}: a data source in Terraform's JSON is read, not"
            " edited; name another file."
        )
    return PolicyFile(path, raw, document)


def open_attached(
    location: Location, also_attached: tuple[str, ...], principal: Principal
) -> tuple[Document, ...]:
    """Reads the attached policies: those named by the option, and further files of a split policy.

    Raises InputError where one cannot be read, or holds no policy.
    """

    def read(name: str) -> bytes | None:
        return read_named(name, "--policy-file") if Path(name).exists() else None

    further = continuations(location, read, principal)
    names = dict.fromkeys((*also_attached, *further))
    return tuple(
        read_attached(read_named(Location.of(name).path, "--also-attached"), name, principal)
        for name in names
    )


def save_policy(file: PolicyFile, document: Document) -> Path:
    """Writes the extended policy atomically and returns its path.

    If the file changed since it was read, it is left alone: the policy is written to `FILE.trial`,
    or to `FILE.trial-2` and so on if that exists. Raises LeastprivError where it cannot be written.
    """
    current = None
    with suppress(OSError):
        current = file.path.read_bytes()
    target = file.path
    if current != file.raw:
        # The result of an earlier trial is not overwritten.
        names = (
            f"{target.name}.trial{number}"
            for number in ("", *(f"-{each}" for each in range(2, 1000)))
        )
        target = next(
            found for name in names if not os.path.lexists(found := file.path.with_name(name))
        )
    resolved = target.resolve()
    part = resolved.with_name(f".{resolved.name}.part")
    try:
        part.write_bytes(document.to_bytes())
        if resolved.exists():
            shutil.copymode(resolved, part)
        part.replace(resolved)
    except OSError as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise LeastprivError(
            f"The extended policy cannot be written to {target}: {error.strerror}."
        ) from error
    return target


_SKEW = timedelta(minutes=5)
"""Maximal difference between the clocks of this machine and of AWS."""


def run_trial(settings: TrialSettings | None, context: TrialContext) -> int:
    """Runs the whole trial; without settings it only cleans up.

    Its resources are removed and the extended policy is written, however the trial ends.

    Returns:
        0 for success, 1 without progress or after the last round, 128 and its number for a signal.

    Raises InputError where an input leads to no policy or command that can be tried, and
    LeastprivError where AWS denies what the trial itself needs, or a resource or file could not be
    removed or written.
    """
    aws = Aws.open(context.environment, "the trial")
    tags = TrialTags(f"leastpriv-{secrets.token_hex(6)}", context.clock())
    with caught_signals(first_only=True) as signals:
        _report_earlier_trials(aws, context, clean_up=settings is None or settings.clean_up)
        if settings is None:
            return 0
        file = open_policy(settings.policy, settings.principal)
        attached = open_attached(settings.policy, settings.also_attached, settings.principal)
        records = TrialRecords.open(settings.trails, aws, context.clock() - _SKEW)
        kind = SessionPolicy if settings.strategy == SESSION_POLICY else TrialRole
        strategy = kind(
            aws, settings.principal, tags, context.clock, context.sleep, settings.settle
        )
        candidate = CandidatePolicy(file.document, attached)
        course = TrialRun(settings, context, strategy, tags, records, candidate, signals)
        with signals.recorded():
            return _run(course, file)


def _run(run: TrialRun, file: PolicyFile) -> int:
    """Runs the rounds, then cleans up and writes the file; signals are raised only while a round is
    prepared.
    """
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


def _report_earlier_trials(aws: Aws, context: TrialContext, *, clean_up: bool) -> None:
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
