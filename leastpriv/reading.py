"""Settings -> what was read: the evidence of one principal, or of several in one pass over the sources."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from leastpriv.evidence.cloudtrail.file_reader import ReadStatistics
from leastpriv.evidence.read import read_evidence
from leastpriv.evidence.refusals.logged_usage import Logs, with_logs
from leastpriv.evidence.source import Principals
from leastpriv.evidence.usage import Coverage, Evidence
from leastpriv.logs import decoder_of, read_job_logs
from leastpriv.report.words import plural
from leastpriv.settings import Settings
from leastpriv.sources import open_sources
from leastpriv.workplace import Workplace

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Reading:
    """The evidence of one principal, and what was read for it and for others in the same pass."""

    evidence: Evidence
    files: int
    records: int


def read_calls(settings: Settings, workplace: Workplace, say: Say) -> Reading:
    """The evidence of the settings' principal, with what job logs tell.

    Raises:
        LeastprivError: no source can be read, or a log that is named cannot.
    """
    principal = settings.principal
    reading = read_several(settings, Principals(frozenset({principal})), workplace, say)[principal.arn]
    logs = read_job_logs(workplace.job_logs, say) if workplace.job_logs else []
    return with_job_logs(reading, settings, workplace, logs)


def read_several(settings: Settings, principals: Principals, workplace: Workplace, say: Say) -> Mapping[str, Reading]:
    """What the sources show of each principal, by ARN, in one pass; those of one account only.

    The settings' own principal tells whose account it is.

    Raises:
        LeastprivError: no source can be read.
    """
    named = [*map(str, workplace.trails), *(["event history"] if settings.event_history else [])]
    named += [settings.athena_table] if settings.athena_table else settings.bucket_trails
    whose = _named(principals)
    say(f"Reading {', '.join(named) or 'no record of calls'} for {whose}")
    sources = open_sources(settings, workplace.trails, workplace.reach, say)
    one = "the role" if len(principals.targets or ()) == 1 and not principals.patterns else "these roles"
    found = read_evidence(
        sources,
        settings.window,
        principals,
        lambda calls: say(f"… {calls:,} calls of {one} so far"),
        decoder_of(workplace.reach),
    )
    figures = [source.statistics for source in sources]
    coverage = _coverage(figures)
    files, records = sum(each.files for each in figures), sum(each.records for each in figures)
    read = {"files": files, "answers of AWS": sum(each.requests for each in figures)}
    where = " and ".join(f"{count:,} {what}" for what, count in read.items() if count)
    say(f"Read {records:,} records in {where or 'no file'}: {_told(found)}")
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
