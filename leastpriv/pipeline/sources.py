"""Opens the sources of evidence that the settings name; all share one AWS session."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct, field
from msgspec.structs import replace

from leastpriv.aws.arns import EvidenceSource, Principals, Window, principal_of
from leastpriv.aws.session import Aws, AwsSession
from leastpriv.errors import AwsError, AwsErrorKind, InputError, LeastprivError
from leastpriv.evidence.cloudtrail.file_reader import EventDeduplicator
from leastpriv.evidence.cloudtrail.local_store import TrailFolder
from leastpriv.evidence.cloudtrail.statistics import ReadStatistics
from leastpriv.evidence.read_sources import describe_defect
from leastpriv.models import Call, Gap, Principal

if TYPE_CHECKING:
    from leastpriv.config.settings import Settings

_log = logging.getLogger(__name__)


DEFAULT_DAYS = 90
"""How far back trails in S3 and event history are read without the input: the default of `lookback-days`."""


class CountedSource(EvidenceSource, Protocol):
    """A source of evidence that counts what it reads."""

    statistics: ReadStatistics


class SourceOptions(Struct, frozen=True):
    """What the sources of one run share."""

    days: int | None
    """How far back AWS is read; None: to the start of the window."""
    seen: EventDeduplicator = field(default_factory=EventDeduplicator)
    """Counts copies of an event once over all sources."""
    cache_dir: str = ""
    """Folder that keeps what was read of trails in S3."""
    validate_digests: bool = False
    """Whether files of trails in S3 are compared with their digest files."""
    waits_for_events: bool = False
    """Whether event history waits until CloudTrail has delivered the newest events."""
    collects_coverage: bool = True
    """False: the calls of the targets count, not what the sources cover."""


class FailedSource(Struct):
    """A source that could not be opened."""

    failure: LeastprivError
    statistics: ReadStatistics = field(default_factory=ReadStatistics)

    def read(self, window: Window, principals: Principals) -> Iterator[Call | Gap]:  # noqa: ARG002 - protocol
        """Raises the reason."""
        raise self.failure


def open_sources(settings: Settings, folders: Sequence[Path], session: AwsSession | None) -> list[CountedSource]:
    """Opens every source that the settings name, folders first.

    Raises:
        LeastprivError: none of them can be opened; if others can, the one that cannot is a gap.
        InputError: a folder does not exist, or has no CloudTrail file.
    """
    for path in folders:
        TrailFolder(path).check()
    options = SourceOptions(
        settings.lookback_days if settings.window.start is None else None,
        cache_dir=settings.cache_dir,
        validate_digests=settings.validate_digests,
        waits_for_events=settings.event_history and settings.wait_for_events > 0,
    )
    cache = Path(settings.cache_dir) if settings.cache_dir else None
    openers: list[Callable[[], CountedSource]] = [
        partial(TrailFolder, path, seen=options.seen, cache=cache) for path in folders
    ]
    if settings.wait_for_events and not settings.event_history:
        _log.info("wait-for-events has no effect: it waits for event history, which trails does not name.")
    if settings.event_history:
        # Event history keeps 90 days whatever the window.
        history = replace(options, days=settings.lookback_days)
        wait = timedelta(minutes=settings.wait_for_events)
        openers.append(partial(event_history, settings.principal, settings.aws_regions, session, history, wait))
    if settings.athena_table:
        openers.append(partial(_athena_table, settings, session.base if session else None, options))
    if settings.bucket_trails:
        from leastpriv.evidence.cloudtrail.trail import is_log_group

        def is_own(name: str) -> bool:
            return name.startswith("arn:") and name.split(":")[4] == settings.principal.account

        openers.extend(
            partial(bucket_trail, name, session.base if session and not is_own(name) else session, options)
            for name in settings.bucket_trails
            if is_log_group(name) or not settings.athena_table
        )
    return open_all(openers)


def open_all(openers: Iterable[Callable[[], CountedSource]]) -> list[CountedSource]:
    """Opens all sources; one that cannot be opened is a failed one, which becomes a gap when it is read."""
    sources: list[CountedSource] = []
    failures: list[LeastprivError] = []
    for open_source in openers:
        try:
            sources.append(open_source())
        except LeastprivError as error:
            failures.append(error)
        except Exception as error:
            failures.append(LeastprivError(f"A source could not be opened: {describe_defect(error)}."))
    first = next(iter(failures), None)
    if isinstance(first, AwsError) and first.kind is AwsErrorKind.NO_CREDENTIALS and not sources:
        # Event history is the default of a step.
        advice = "To run without AWS, name a folder of CloudTrail files in the input trails."
        raise AwsError(f"{first} {advice}", first.kind)
    if first and not sources:
        raise first
    for failure in failures:
        _log.info(f"Left out: {failure}")
    return [*sources, *map(FailedSource, failures)]


def event_history(
    principal: Principal | None,
    regions: tuple[str, ...],
    session: AwsSession | None,
    options: SourceOptions,
    wait: timedelta = timedelta(),
) -> CountedSource:
    """Opens the account's event history in some regions (none: all enabled ones); `principal` None: of all principals.

    Raises LeastprivError where AWS cannot be reached, or the credentials are of another account than the principal.
    """
    from leastpriv.evidence.cloudtrail.event_history import EventHistory, EventHistoryOptions
    from leastpriv.permissions.visibility import home_region

    if session is None:
        raise InputError("Event history needs AWS, which this run does not use.")
    aws = session.aws()
    if principal and aws.account() not in ("", principal.account):
        who = principal_of(aws.caller())
        raise InputError(
            f"The AWS credentials are those of {who.arn if who else aws.caller()}, and event history shows calls of "
            f"that account only: use credentials of the account {principal.account} of the input role-arn, or name the "
            "role that reads it as assume-role in the input config."
        )
    _log.info(f"Reading event history as {aws.caller()}")
    # Regions that are named are the only ones in which the role works and logs in.
    chosen, remedy = (regions, "") if regions else _all_regions(aws)
    home = home_region("iam", principal.partition if principal else aws.partition)
    how = EventHistoryOptions(options.days or DEFAULT_DAYS, wait, options.seen, remedy=remedy)
    return EventHistory(aws, (*chosen, home), session.now, how)


def _all_regions(aws: Aws) -> tuple[tuple[str, ...], str]:
    """Returns every region in which the role may have worked, and the remedy where one cannot be read."""
    remedy = "If the role works in some regions only, name these in the input aws-regions"
    own = (aws.region,) if aws.region else ()
    try:
        return (*own, *aws.enabled_regions()), f"{remedy}."
    except AwsError as error:
        _log.info(f"All regions are read, enabled or not: {error}")
        return (*own, *aws.regions("cloudtrail")), f"{remedy}, or allow account:ListRegions to these credentials."


def bucket_trail(named: str, session: AwsSession | None, options: SourceOptions) -> CountedSource:
    """Opens a trail in S3, which is named by its location or ARN, or in a CloudWatch log group."""
    from leastpriv.evidence.cloudtrail.trail import LogGroup, S3Trail, S3TrailOptions, is_log_group

    aws, now = _opened(session)
    cache = Path(options.cache_dir) if options.cache_dir else None
    validate_at = now if options.validate_digests else None
    since, counts, waited = _since(now, options), options.collects_coverage, options.waits_for_events
    chosen = S3TrailOptions(since, options.seen, counts, cache, validate_at, now, waited)
    return LogGroup(aws, named, chosen) if is_log_group(named) else S3Trail(aws, named, chosen)


def _athena_table(settings: Settings, session: AwsSession | None, options: SourceOptions) -> CountedSource:
    from leastpriv.evidence.cloudtrail.athena import AthenaOptions, AthenaTable

    aws, now = _opened(session)
    chosen = AthenaOptions(_since(now, options), options.seen, waited=options.waits_for_events)
    return AthenaTable(aws, settings.athena_table, now, chosen)


def _since(now: datetime, options: SourceOptions) -> datetime | None:
    return now - timedelta(days=options.days) if options.days is not None else None


def _opened(session: AwsSession | None) -> tuple[Aws, datetime]:
    if session is None:
        raise InputError("Trails in S3 and Athena need AWS, which this run does not use.")
    return session.aws(), session.now
