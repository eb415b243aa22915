"""Opens the sources of evidence that the settings name; all share one AWS session."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from leastpriv.aws.arns import Principals, Window, principal_of
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


DAYS = 90
"""How far back trails in S3 are read where nobody says: the default of `lookback-days`."""


class CountedSource(Protocol):
    """A source that tells what it has read."""

    statistics: ReadStatistics

    def read(self, window: Window, principals: Principals) -> Iterator[Call | Gap]:
        """As `Source.read`."""


@dataclass(slots=True)
class FailedSource:
    """Stands where a source could not even be opened."""

    failure: LeastprivError
    statistics: ReadStatistics = field(default_factory=ReadStatistics)

    def read(self, window: Window, principals: Principals) -> Iterator[Call | Gap]:  # noqa: ARG002 - the shape of a source
        """Raises the reason."""
        raise self.failure


def open_sources(settings: Settings, folders: Sequence[Path], session: AwsSession | None) -> list[CountedSource]:
    """Every source that the settings name, the nearest first; copies of one event count once over all of them.

    Raises:
        LeastprivError: none of them can be opened; if others can, the one that cannot is a gap.
    """
    seen = EventDeduplicator()
    cache = Path(settings.cache_dir) if settings.cache_dir else None
    makers: list[Callable[[], CountedSource]] = [partial(TrailFolder, path, seen=seen, cache=cache) for path in folders]
    waited = settings.event_history and settings.wait_for_events > 0
    if settings.wait_for_events and not settings.event_history:
        _log.info("Nothing is waited for: wait-for-events waits for event history, which trails does not name.")
    if settings.event_history:
        wait = timedelta(minutes=settings.wait_for_events)
        back, regions = settings.lookback_days, settings.aws_regions
        makers.append(lambda: event_history(settings.principal, regions, session, seen, back, wait))
    if settings.athena_table:
        makers.append(lambda: _athena(settings, session, seen, waited))
    days = settings.lookback_days if settings.window.start is None else None
    makers.extend(
        partial(bucket_trail, name, session, seen, days, settings.cache_dir, settings.validate_digests, waited)
        for name in (() if settings.athena_table else settings.bucket_trails)
    )
    return opened(makers)


def opened(makers: Iterable[Callable[[], CountedSource]]) -> list[CountedSource]:
    """The sources that can be opened, and a failed one for each that cannot: a gap once it is read.

    Raises:
        LeastprivError: none of them can be opened.
    """
    sources: list[CountedSource] = []
    failures: list[LeastprivError] = []
    for make in makers:
        try:
            sources.append(make())
        except LeastprivError as error:
            failures.append(error)
        except Exception as error:
            failures.append(LeastprivError(f"A source could not be opened: {describe_defect(error)}."))
    if failures and not sources:
        raise _with_way_out(failures[0])
    for failure in failures:
        _log.info(f"Left out: {failure}")
    return [*sources, *map(FailedSource, failures)]


def event_history(
    principal: Principal | None,
    regions: tuple[str, ...],
    session: AwsSession | None,
    seen: EventDeduplicator,
    days: int,
    wait: timedelta = timedelta(),
) -> CountedSource:
    """The account's event history in some regions (none: all that it has enabled); `principal` None is everybody's.

    Raises:
        LeastprivError: AWS cannot be reached, or the credentials are of another account than the principal.
    """
    from leastpriv.evidence.cloudtrail.event_history import EventHistory, EventHistoryOptions
    from leastpriv.permissions.visibility import home_region

    if session is None:
        raise InputError("Event history is read over the network, which this run has no way to.")
    aws = session.aws()
    if principal:
        _insist_on_account(principal, aws)
    _log.info(f"Reading event history as {aws.caller()}")
    # Who names the regions says that the role works, and logs in, nowhere else.
    chosen, way_out = (regions, "") if regions else _everywhere(aws)
    return EventHistory(
        aws,
        (*chosen, home_region("iam", principal.partition if principal else aws.partition)),
        session.now,
        EventHistoryOptions(days, wait, seen, remedy=way_out),
    )


def _everywhere(aws: Aws) -> tuple[tuple[str, ...], str]:
    """Every region in which the role may have been at work, and what helps where one cannot be read."""
    way_out = "If the role works and logs in in some regions only, name these in the input aws-regions"
    own = (aws.region,) if aws.region else ()
    try:
        return (*own, *aws.enabled_regions()), f"{way_out}."
    except AwsError as error:
        _log.info(f"Every region is looked in, enabled or not: {error}")
        return (*own, *aws.regions("cloudtrail")), f"{way_out}, or allow account:ListRegions to these credentials."


def bucket_trail(
    named: str,
    session: AwsSession | None,
    seen: EventDeduplicator,
    days: int | None,
    cache_dir: str = "",
    validate: bool = False,
    waited: bool = False,
    survey: bool = True,
) -> CountedSource:
    """A trail in S3 by its place or ARN; so many days back, None: as far as the window goes.

    `validate`: its files are held against its digest files; `waited`: event history was waited for;
    `survey` False: only the targets' calls count.

    Raises:
        LeastprivError: AWS cannot be reached.
    """
    from leastpriv.evidence.cloudtrail.s3_store import S3Trail, S3TrailOptions

    aws, now = _open(session)
    cache = Path(cache_dir) if cache_dir else None
    at = now if validate else None
    since = _since(now, days)
    options = S3TrailOptions(since, seen, survey, cache, validate_at=at, now=now, waited=waited)
    return S3Trail(aws, named, options)


def _athena(settings: Settings, session: AwsSession | None, seen: EventDeduplicator, waited: bool) -> CountedSource:
    from leastpriv.evidence.cloudtrail.athena import AthenaOptions, AthenaTable

    aws, now = _open(session)
    location = next((name for name in settings.bucket_trails if name.startswith("s3://")), "")
    since = _since(now, settings.lookback_days if settings.window.start is None else None)
    return AthenaTable(aws, settings.athena_table, now, AthenaOptions(location, since, seen, waited=waited))


def _since(now: datetime, days: int | None) -> datetime | None:
    return now - timedelta(days=days) if days is not None else None


def _open(session: AwsSession | None) -> tuple[Aws, datetime]:
    if session is None:
        raise InputError("Trails in S3 and Athena are read over the network, which this run has no way to.")
    return session.aws(), session.now


def _with_way_out(failure: LeastprivError) -> LeastprivError:
    """Who has no credentials may not know that event history was to be read."""
    if isinstance(failure, AwsError) and failure.kind is AwsErrorKind.NO_CREDENTIALS:
        advice = "To do without AWS, name a folder of CloudTrail files in the input trails."
        return AwsError(f"{failure} {advice}", failure.kind)
    return failure


def _insist_on_account(principal: Principal, aws: Aws) -> None:
    """Event history is an account's own: that of another says nothing about the role."""
    if aws.account() not in ("", principal.account):
        caller = aws.caller()
        who = principal_of(caller)
        raise InputError(
            f"The AWS credentials are those of {who.arn if who else caller}, and event history shows the calls of its "
            f"own account only: use credentials of the account {principal.account} of the input role-arn."
        )
