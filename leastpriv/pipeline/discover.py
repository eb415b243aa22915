"""Roles of the chain that nobody looks after yet: what they would need, and first files for them."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime

from leastpriv.config.settings import Mode, Settings
from leastpriv.config.targets_file import NAME, Configuration, Entry, template_beside, with_targets
from leastpriv.errors import InputError, LeastprivError
from leastpriv.evidence.denials.logged_usage import Logs
from leastpriv.evidence.role_chain import RoleChain
from leastpriv.pipeline.collect_evidence import Readings, tried, with_job_logs
from leastpriv.pipeline.context import Workplace
from leastpriv.pipeline.propose import Ended, Target, make
from leastpriv.pipeline.publish import Shared, put, row_of
from leastpriv.proposal.fingerprint import fingerprint
from leastpriv.pull_request.lifecycle import scope_of
from leastpriv.pull_request.models import Published
from leastpriv.report.role_chain import RoleChainPolicies, UncommittedRole
from leastpriv.report.targets import first_files_body, first_files_title

BRANCH = "leastpriv/first-files"
"""Of the pull request with first files."""

SettingsOf = Callable[[Entry, str], Settings]
WorkplaceOf = Callable[[Settings], Workplace]


@dataclass(frozen=True, slots=True)
class FirstFiles:
    """First policy files for roles without one, and the config that names them."""

    drafts: tuple[Ended, ...]
    files: dict[str, bytes]
    """By path in the repository; without the config where that has to be changed by hand."""
    by_hand: tuple[tuple[str, str], ...] = ()
    """(Role ARN, policy file) of entries that a person has to write."""


def unwritten(
    chain: RoleChain,
    targets: Sequence[Target],
    readings: Readings,
    configuration: Configuration,
    settings_of: SettingsOf,
    workplace_of: WorkplaceOf,
    logs: Sequence[Logs],
    now: datetime,
    run_url: str,
) -> tuple[tuple[UncommittedRole, ...], tuple[Ended, ...]]:
    """What each role of the chain that is no target would need, and the drafts behind that."""
    named = {target.role for target in targets}
    taken = {target.workplace.policy_path for target in targets}
    template = configuration.discover or template_beside(targets[0].settings.policy_file)
    told: list[UncommittedRole] = []
    drafts: list[Ended] = []
    for role in (each for each in chain.roles if each not in named):
        reading = readings.found.get(role)
        if reading is None:
            failure = readings.failures.get(role.split(":")[4])
            told += [UncommittedRole(role, failure=str(failure))] if failure else []
            continue
        path = _free(template, role, taken)
        taken.add(path)
        entry = Entry(f"The role {role}", {"role-arn": role, "policy-file": path})
        target, failure = tried(lambda entry=entry: _target(entry, settings_of, workplace_of))  # type: ignore[misc]
        ended = Ended(target, failure=failure) if target else None
        if target:
            own = with_job_logs(reading, target.settings, readings.workplace, logs)
            with _without_progress():
                made, failure = tried(
                    lambda target=target, own=own: make(  # type: ignore[misc]
                        target.settings, target.workplace, now, run_url, lambda *_: own
                    )
                )
            if made and made.subject.proposal.committed is not None:
                failure = InputError(f"{path} is there already: name it for this role in {configuration.path}.")
            ended = Ended(target, None if failure else made, failure)
        told.append(_needs(role, ended, failure))
        drafts += [ended] if ended and ended.made and ended.made.subject.proposal.changes else []
    return tuple(told), tuple(drafts)


def first_files(
    drafts: Sequence[Ended], configuration: Configuration, raw: bytes, declined: Iterable[str]
) -> FirstFiles:
    """The files for all drafts but those of roles that a person declined; `declined` are ids of roles."""
    gone = set(declined)
    wanted = tuple(each for each in drafts if role_id(each.target.role) not in gone)
    entries = [(each.target.role, each.target.workplace.policy_path) for each in wanted]
    files = {path: text for each in wanted if each.made for path, text in each.made.subject.contents.items()}
    if not entries:
        return FirstFiles((), {})
    config = with_targets(raw, configuration.path, entries)
    if config is None:
        return FirstFiles(wanted, files, tuple(entries))
    return FirstFiles(wanted, {configuration.path: config, **files})


def declined_roles(workplace: Workplace, configuration: Configuration) -> tuple[str, ...]:
    """Ids of the roles whose first files a person closed without merging.

    Raises:
        PullRequestError: GitHub does not tell.
    """
    if workplace.historian is None:
        return ()
    own = scope_of(fingerprint(_scope(configuration), None, b""))
    proposals = [each.proposal for each in workplace.historian.closed(BRANCH) if each.declined]
    return tuple(role for each in proposals if scope_of(each.fingerprint) == own for role in each.changes)


def published_first_files(
    found: FirstFiles, configuration: Configuration, chained: RoleChainPolicies, here: Workplace, base: str, now: datetime
) -> Published | None:
    """What became of the pull request with first files; None where there is no place for one."""
    place = here.place
    if place is None:
        return None
    commit = place.head_of(base)[1]
    rows = [row_of(each) for each in found.drafts]
    folder = (configuration.discover or "").rpartition("/")[0]
    shared = Shared(
        scope=_scope(configuration),
        branch=BRANCH,
        base=base,
        primary=configuration.path,
        files=found.files,
        title=first_files_title([row.role for row in rows]),
        changes=tuple(role_id(each.target.role) for each in found.drafts),
        text=lambda mark, taken: first_files_body(rows, configuration.path, chained, mark, taken),
        owns=lambda path: path == configuration.path or (path.rpartition("/")[0] == folder and path.endswith(".json")),
    )
    return put(shared, place, commit, now)


def role_id(role: str) -> str:
    """Twelve hexadecimal digits for a role whose first file is proposed."""
    return hashlib.sha256(role.encode()).hexdigest()[:12]


def _scope(configuration: Configuration) -> str:
    return f"first files of {configuration.path}"


def _target(entry: Entry, settings_of: SettingsOf, workplace_of: WorkplaceOf) -> Target:
    """A role that is only looked at: AWS is asked nothing more of it, and nothing of it is published by itself."""
    settings = replace(
        settings_of(entry, entry.role),
        mode=Mode.REPORT,
        last_accessed=False,
        access_analyzer=None,
        custom_policy_checks=False,
    )
    return Target(settings, replace(workplace_of(settings), reach=None, shelf=None), where=entry.where)


def _free(template: str, role: str, taken: set[str]) -> str:
    """The role's file; where another has that name, with the account before it. IAM's names hold no `/`."""
    name, account = role.rpartition("/")[2], role.split(":")[4]
    path = template.replace(NAME, name)
    return path if path not in taken else template.replace(NAME, f"{account}-{name}")


def _needs(role: str, ended: Ended | None, failure: LeastprivError | None) -> UncommittedRole:
    made = ended.made if ended else None
    if made is None:
        return UncommittedRole(role, failure=str(failure))
    proposal, evidence = made.subject.proposal, made.subject.evidence
    return UncommittedRole(
        role,
        actions=tuple(dict.fromkeys(change.action for change in proposal.changes)),
        calls=evidence.counts.calls,
        runs=len(evidence.runs),
        refused=len({held.action for held in proposal.refused}),
    )


@contextmanager
def _without_progress() -> Iterator[None]:
    """Drops what this package logs about a role that the run only looks at."""
    logger = logging.getLogger(__package__)
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
