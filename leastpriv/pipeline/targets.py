"""The flow of several targets in one screen: config -> one scan -> chain -> each proposal -> pull requests."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from leastpriv.config.settings import Mode, Settings
from leastpriv.config.targets_file import Configuration, Entry
from leastpriv.errors import InputError, LeastprivError
from leastpriv.evidence.denials.logged_usage import Logs
from leastpriv.evidence.role_chain import RoleChain
from leastpriv.pipeline.collect_evidence import Readings, followed, matched, tried, with_job_logs
from leastpriv.pipeline.context import Workplace, read_job_logs
from leastpriv.pipeline.discover import (
    FirstFiles,
    SettingsOf,
    WorkplaceOf,
    declined_roles,
    first_files,
    published_first_files,
    unwritten,
)
from leastpriv.pipeline.propose import Ended, Made, Target, make
from leastpriv.pipeline.publish import group_scope, published_all
from leastpriv.pull_request.models import Published
from leastpriv.report.role_chain import RoleChainPolicies

_log = logging.getLogger(__name__)

_FOLLOW = "Set `follow: true` in the config to have it looked at."
_DISCOVER = "Add them as targets, or set `discover: true` in the config (on a shell `--discover`) for first files."


@dataclass(frozen=True, slots=True)
class Run:
    """What a run of several targets is told."""

    configuration: Configuration
    raw: bytes
    """The config file itself."""
    settings: Settings
    """The run's own; its principal is nobody, its policy file the config."""
    workplace: Workplace
    """Where the config lies, and what all targets share."""
    settings_of: SettingsOf
    workplace_of: WorkplaceOf
    now: datetime
    run_url: str = ""


@dataclass(frozen=True, slots=True)
class Several:
    """How a run ended."""

    ended: tuple[Ended, ...]
    chained: RoleChainPolicies
    notes: tuple[str, ...] = ()
    first_files: FirstFiles | None = None
    """None: nobody asked for them."""
    first_published: Published | None = None


def run_several(run: Run) -> Several:
    """Makes a proposal for each target and, in the mode pull-request, publishes it.

    Raises:
        InputError: an entry of the config is wrong. What fails of a target is told with it, and ends no other.
    """
    config = run.configuration
    named = [(entry, target(run, entry, entry.role)) for entry in config.entries if not entry.is_pattern]
    patterns = [entry for entry in config.entries if entry.is_pattern]
    for entry in patterns:
        run.settings_of(entry, entry.role.replace("*", "x").replace("?", "x"))  # wrong dials are bad input at once
    readings = Readings(run.settings, run.workplace)
    readings.read((each.settings.principal for _, each in named), (entry.role for entry in patterns))
    meant, lost, notes = _meant(run, patterns, readings, [each for _, each in named])
    targets = [*(each for _, each in named), *meant]
    if not targets:
        return Several(tuple(lost), RoleChainPolicies(RoleChain(())), tuple(notes))
    logs, failure = tried(partial(_job_logs, run.workplace))
    if failure:
        raise failure
    chained, drafts = _chained(run, targets, readings, logs or ())
    ended = tuple(_ended(run, each, readings, chained, logs or ()) for each in targets)
    found, published, more = _first_files(run, drafts, chained)
    ended = published_all(ended, config.path, chained, run.now)
    return Several((*ended, *lost), chained, (*notes, *more), found, published)


def target(run: Run, entry: Entry, role: str) -> Target:
    """The target of an entry; `role` is its ARN, the one of a match where the entry is a pattern.

    Raises:
        InputError: a value of the entry is wrong.
    """
    settings = run.settings_of(entry, role)
    return Target(settings, run.workplace_of(settings), entry.group, entry.where)


def _meant(
    run: Run, patterns: Sequence[Entry], readings: Readings, targets: Sequence[Target]
) -> tuple[list[Target], list[Ended], list[str]]:
    """The targets that patterns mean, entries that failed, and what to say of those that mean nobody."""
    named = {each.role for each in targets}
    paths = {each.workplace.policy_path for each in targets}
    found: list[Target] = []
    lost: list[Ended] = []
    notes: list[str] = []
    for entry in patterns:
        roles, failure = tried(partial(matched, entry, readings, named))
        for role in roles or ():
            one, failure = tried(partial(target, run, entry, role))
            if one and one.workplace.policy_path in paths:
                one, failure = None, InputError(f"{entry.where}: {role} would have a policy-file of another target.")
            if one:
                found.append(one)
                paths.add(one.workplace.policy_path)
            named.add(role)
        if failure:
            nobody = run.settings_of(entry, entry.role.replace("*", "x").replace("?", "x"))
            lost.append(Ended(Target(nobody, run.workplace, entry.group, entry.where), failure=failure))
        elif not roles:
            notes.append(f"{entry.where}: `{entry.role}` means no role that was read.")
    return found, lost, notes


def _chained(
    run: Run, targets: Sequence[Target], readings: Readings, logs: Sequence[Logs]
) -> tuple[RoleChainPolicies, tuple[Ended, ...]]:
    """The chain with what is known of its roles, and drafts for those without a committed policy."""
    config = run.configuration
    chain = followed(readings, tuple(each.role for each in targets), follow=config.follow)
    told, drafts = unwritten(
        chain, targets, readings, config, run.settings_of, run.workplace_of, logs, run.now, run.run_url
    )
    advice = "" if config.discover else _DISCOVER if config.follow else _FOLLOW
    signed = {arn: reading.evidence.signed for arn, reading in readings.found.items()}
    return RoleChainPolicies(chain, frozenset(each.role for each in targets), told, signed, advice), drafts


def _ended(run: Run, one: Target, readings: Readings, chained: RoleChainPolicies, logs: Sequence[Logs]) -> Ended:
    reading, unread = readings.found.get(one.role), readings.failures.get(one.settings.principal.account)
    if reading is None:
        return Ended(one, failure=unread or LeastprivError(f"{one.role} was not read."))
    around = RoleChainPolicies(
        chained.chain.around(one.role), chained.committed, chained.unwritten, chained.signed, chained.advice
    )

    def proposal() -> Made:
        own = with_job_logs(reading, one.settings, run.workplace, logs)
        group = group_scope(one.group, run.configuration.path) if one.group else ""
        return make(one.settings, one.workplace, run.now, run.run_url, lambda *_: own, group, around)

    made, failure = tried(proposal)
    if failure:
        _log.info(f"Failed for {one.role}: {failure}")
    return Ended(one, made, failure)


def _first_files(
    run: Run, drafts: Sequence[Ended], chained: RoleChainPolicies
) -> tuple[FirstFiles | None, Published | None, tuple[str, ...]]:
    """First files where they are asked for, their pull request, and what is to be said of them."""
    config = run.configuration
    if not config.discover:
        return None, None, ()
    declined, failure = tried(partial(declined_roles, run.workplace, config))
    if failure:
        return None, None, (f"First files are not proposed: {failure}",)
    found = first_files(drafts, config, run.raw, declined or ())
    notes = tuple(f"Add to {config.path}: role-arn {role}, policy-file {file}" for role, file in found.by_hand)
    for path in found.files:
        _log.info(f"First file: {path}")
    published = None
    if run.settings.mode is Mode.PULL_REQUEST:
        put: Callable[[], Published | None] = partial(
            published_first_files, found, config, chained, run.workplace, run.settings.base, run.now
        )
        published, failure = tried(put)
    refused = str(failure) if failure else published.failure if published else ""
    return found, published, (*notes, *((f"First files were not published: {refused}",) if refused else ()))


def _job_logs(workplace: Workplace) -> list[Logs]:
    return read_job_logs(workplace.job_logs) if workplace.job_logs else []
