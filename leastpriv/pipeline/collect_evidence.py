"""Settings -> what was read: the evidence of one principal, or of several in one pass over the sources.

The evidence of all targets in one scan of each account, and of the roles that they lead to.

Settings -> what AWS itself says of the principal's use, where the run can ask it; nothing here is needed.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TypeVar

from leastpriv.aws.arns import Principals, parse_principal
from leastpriv.aws.polling import Polling
from leastpriv.config.settings import Settings
from leastpriv.config.targets_file import Entry
from leastpriv.errors import AwsError, LeastprivError
from leastpriv.evidence.aws_findings.collect import collect_aws_findings
from leastpriv.evidence.aws_findings.models import AwsFindings, Unasked
from leastpriv.evidence.cloudtrail.file_reader import ReadStatistics
from leastpriv.evidence.denials.logged_usage import Logs, with_logs
from leastpriv.evidence.models import Coverage, Evidence
from leastpriv.evidence.read_sources import read_evidence
from leastpriv.evidence.role_chain import MOST_STEPS, RoleChain, build_chain
from leastpriv.models import Principal
from leastpriv.permissions.patterns import matches
from leastpriv.pipeline.context import Workplace, decoder_of, read_job_logs
from leastpriv.pipeline.sources import Reach, open_sources
from leastpriv.report.phrases import plural

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Reading:
    """The evidence of one principal, and what was read for it and for others in the same pass."""

    evidence: Evidence
    files: int
    records: int


def read_calls(settings: Settings, workplace: Workplace) -> Reading:
    """The evidence of the settings' principal, with what job logs tell.

    Raises:
        LeastprivError: no source can be read, or a log that is named cannot.
    """
    principal = settings.principal
    reading = read_several(settings, Principals(frozenset({principal})), workplace)[principal.arn]
    logs = read_job_logs(workplace.job_logs) if workplace.job_logs else []
    return with_job_logs(reading, settings, workplace, logs)


def read_several(settings: Settings, principals: Principals, workplace: Workplace) -> Mapping[str, Reading]:
    """What the sources show of each principal, by ARN, in one pass; those of one account only.

    The settings' own principal tells whose account it is.

    Raises:
        LeastprivError: no source can be read.
    """
    named = [*map(str, workplace.trails), *(["event history"] if settings.event_history else [])]
    named += [settings.athena_table] if settings.athena_table else settings.bucket_trails
    whose = _named(principals)
    _log.info(f"Reading {', '.join(named) or 'no record of calls'} for {whose}")
    sources = open_sources(settings, workplace.trails, workplace.reach)
    one = "the role" if len(principals.targets or ()) == 1 and not principals.patterns else "these roles"
    found = read_evidence(
        sources,
        settings.window,
        principals,
        lambda calls: _log.info(f"… {calls:,} calls of {one} so far"),
        decoder_of(workplace.reach),
    )
    figures = [source.statistics for source in sources]
    coverage = _coverage(figures)
    files, records = sum(each.files for each in figures), sum(each.records for each in figures)
    read = {"files": files, "answers of AWS": sum(each.requests for each in figures)}
    where = " and ".join(f"{count:,} {what}" for what, count in read.items() if count)
    _log.info(f"Read {records:,} records in {where or 'no file'}: {_told(found)}")
    return {name: Reading(replace(evidence, coverage=coverage), files, records) for name, evidence in found.items()}


def with_job_logs(reading: Reading, settings: Settings, workplace: Workplace, logs: Sequence[Logs]) -> Reading:
    """The reading with what job logs tell of the settings' principal."""
    if not workplace.job_logs:
        return reading
    at, decoder = workplace.job_logs.read_at, decoder_of(workplace.reach)
    return replace(reading, evidence=with_logs(reading.evidence, logs, settings.window, at, decoder))


def _named(principals: Principals) -> str:
    targets = sorted(target.arn for target in principals.targets or ())
    names = [*targets, *sorted(principals.patterns)]
    return names[0] if len(names) == 1 else plural(len(names), "role")


def _told(found: Mapping[str, Evidence]) -> str:
    if len(found) == 1:
        (evidence,) = found.values()
        return f"{plural(evidence.counts.calls, 'call')} in {plural(len(evidence.runs), 'run')}"
    calls = sum(evidence.counts.calls for evidence in found.values())
    return f"{plural(calls, 'call')} of {plural(len(found), 'role')}"


def _coverage(figures: Sequence[ReadStatistics]) -> Coverage:
    """What all sources together show of anybody."""
    return Coverage(
        regions=_lengths(each.spans for each in figures),
        logged=_lengths(each.logged for each in figures),
        reads=any(each.kinds["management-read"] for each in figures),
        sources=frozenset(source for each in figures for source in each.sources),
        whole=max((each.whole for each in figures), default=timedelta()),
    )


def _lengths(spans: Iterable[Mapping[str, tuple[datetime, datetime]]]) -> Mapping[str, timedelta]:
    """Name -> time from the first to the last of all."""
    together: dict[str, tuple[datetime, datetime]] = {}
    for name, (first, last) in (item for each in spans for item in each.items()):
        known = together.get(name, (first, last))
        together[name] = (min(known[0], first), max(known[1], last))
    return {name: last - first for name, (first, last) in sorted(together.items())}


MOST_BY_PATTERN = 50
"""Roles that one pattern may mean: who wants more names them."""


@dataclass(slots=True)
class Readings:
    """What was read so far, by ARN, and why some of it could not be."""

    settings: Settings
    """The run's own; its principal is nobody."""
    workplace: Workplace
    found: dict[str, Reading] = field(default_factory=dict)
    failures: dict[str, LeastprivError] = field(default_factory=dict)
    """By account."""
    unlisted: dict[str, LeastprivError] = field(default_factory=dict)
    """By account: why nobody knows which roles its patterns mean."""

    def read(self, principals: Iterable[Principal], patterns: Iterable[str] = ()) -> None:
        """Reads whom it has not read yet, one scan an account: what the trail of one logs says nothing of another."""
        wanted = [each for each in principals if each.arn not in self.found]
        open_to = list(patterns)
        accounts = dict.fromkeys((*(each.account for each in wanted), *(text.split(":")[4] for text in open_to)))
        for account in accounts:
            own = [each for each in wanted if each.account == account]
            like = [text for text in open_to if text.split(":")[4] == account]
            read, failure = tried(lambda own=own, like=like: self._scan(own, like))  # type: ignore[misc]
            self.found.update(read or {})
            if failure:
                self.failures[account] = failure
                _log.info(f"Not read of account {account}: {failure}")
        # Whoever was waited for once has come.
        self.settings = replace(self.settings, wait_for_events=0)

    def _scan(self, own: list[Principal], like: list[str]) -> Mapping[str, Reading]:
        targets, patterns = dict.fromkeys(own), like
        if like and self.settings.asks_aws:
            listed, failure = tried(lambda: self._listed(like))
            targets |= dict.fromkeys(listed or ())
            patterns = []
            if failure:
                self.unlisted[like[0].split(":")[4]] = failure
        if not targets and not patterns:
            return {}
        first = next(iter(targets), None) or parse_principal(like[0].replace("*", "x").replace("?", "x"))
        whose = Principals(frozenset(targets), frozenset(patterns))
        return read_several(replace(self.settings, principal=first), whose, self.workplace)

    def _listed(self, patterns: list[str]) -> Iterable[Principal]:
        from leastpriv.evidence.live_role import list_matching_roles

        if self.workplace.reach is None:
            return ()
        try:
            return list_matching_roles(self.workplace.reach.aws(), patterns, patterns[0].split(":")[1])
        except AwsError as error:
            raise AwsError(
                f"{error} Allow it for the wildcards of the input config, or name the roles.",
                error.kind,
                error.missing_action,
            ) from error


def matched(entry: Entry, readings: Readings, taken: Iterable[str]) -> tuple[str, ...]:
    """ARNs of the roles that an entry's pattern means and nobody named otherwise, sorted.

    Raises:
        LeastprivError: they could not be read, or are too many.
    """
    account = entry.role.split(":")[4]
    failure = readings.failures.get(account) or readings.unlisted.get(account)
    if failure:
        raise failure
    already = set(taken)
    found = sorted(
        arn
        for arn, reading in readings.found.items()
        if arn not in already and reading.evidence.counts.calls and matches(entry.role, arn)
    )
    if len(found) > MOST_BY_PATTERN:
        raise LeastprivError(
            f"{entry.where}: role-arn means {len(found)} roles, and at most {MOST_BY_PATTERN} are taken: narrow it."
        )
    return tuple(found)


def followed(readings: Readings, roots: tuple[str, ...], *, follow: bool) -> RoleChain:
    """The chain from the targets, read to its end where it is to be followed: a further scan for each step at most."""
    asked: set[str] = set()
    for _ in range(MOST_STEPS):
        chain = build_chain(roots, _evidence(readings))
        unknown = [role for role in chain.roles if role not in readings.found and role not in asked]
        if not follow or not unknown:
            return chain
        asked.update(unknown)
        _log.info(f"The targets lead to {plural(len(unknown), 'role')} that the config does not name: reading on")
        readings.read(map(parse_principal, unknown))
    return build_chain(roots, _evidence(readings))


def _evidence(readings: Readings) -> Mapping[str, Evidence]:
    return {arn: reading.evidence for arn, reading in readings.found.items()}


def with_hints(settings: Settings, reach: Reach | None, evidence: Evidence) -> Evidence:
    """The evidence with AWS's own word, where the settings ask for it and there are credentials.

    Whatever fails is told in the hints, and ends nothing; an interruption does.
    """
    wanted = bool(settings.access_analyzer) or (settings.last_accessed and reach is not None and reach.has_credentials)
    if reach is None or not wanted:
        return evidence
    try:
        aws = reach.aws()
        account = aws.account()
    except LeastprivError as error:
        return _without(evidence, str(error))
    if account != settings.principal.account:
        return _without(evidence, f"the AWS credentials are those of account {account}, not of the role's.")
    found = collect_aws_findings(
        aws,
        settings.principal,
        Polling(_passing(reach.now), time.sleep),
        access=settings.last_accessed,
        generation=settings.access_analyzer,
        start=evidence.first,
    )
    return replace(evidence, aws_findings=replace(found, declared=evidence.aws_findings.declared))


def _without(evidence: Evidence, why: str) -> Evidence:
    _log.info(f"AWS's own word on the role's use is left out: {why}")
    return replace(
        evidence,
        aws_findings=AwsFindings(unasked=(Unasked("all sources", why),), declared=evidence.aws_findings.declared),
    )


def _passing(now: datetime) -> Callable[[], datetime]:
    """A clock that goes on from `now`."""
    began = time.monotonic()
    return lambda: now + timedelta(seconds=time.monotonic() - began)


def tried(work: Callable[[], _Answer]) -> tuple[_Answer | None, LeastprivError | None]:
    """What the work gives, or why it failed: no target ends the others, whatever becomes of it."""
    try:
        return work(), None
    except LeastprivError as error:
        return None, error
    except Exception as error:
        defect = f"Unexpected {type(error).__name__}: {error}. This is a defect; run this target alone and report it."
        return None, LeastprivError(defect)


_Answer = TypeVar("_Answer")
