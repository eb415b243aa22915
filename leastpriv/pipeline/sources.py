"""Settings -> the sources of evidence, made in one place, and the one door to AWS that they share."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from leastpriv.aws.arns import Principals, Window, principal_of
from leastpriv.errors import AwsError, AwsErrorKind, InputError, LeastprivError
from leastpriv.evidence.cloudtrail.file_reader import ReadStatistics, SeenEvents
from leastpriv.evidence.cloudtrail.local_store import TrailFolder
from leastpriv.evidence.read_sources import describe_defect
from leastpriv.models import Call, Gap, Principal

if TYPE_CHECKING:
    from leastpriv.aws.session import Aws
    from leastpriv.config.settings import Settings

_log = logging.getLogger(__name__)


DAYS = 90
"""How far back trails in S3 are read where nobody says: the default of `lookback-days`."""

_NAMES_OF_CREDENTIALS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_PROFILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)


class CountedSource(Protocol):
    """A source that tells what it has read."""

    statistics: ReadStatistics

    def read(self, window: Window, principals: Principals) -> Iterator[Call | Gap]:
        """As `Source.read`."""


class Reach:
    """What a run can reach beyond its files: AWS, with the credentials of an environment; opened at the first use."""

    def __init__(self, environment: Mapping[str, str], now: datetime, regions: Sequence[str] = ()) -> None:
        """`regions`: those that a person names; the first stands in where the environment names none."""
        self._environment = environment
        self._regions = regions
        self._opened: Aws | LeastprivError | None = None
        self.now = now

    @property
    def has_credentials(self) -> bool:
        """Whether the environment names credentials: where it does not, looking for them takes seconds."""
        return any(self._environment.get(name) for name in _NAMES_OF_CREDENTIALS)

    def aws(self) -> Aws:
        """The door to AWS, with credentials that AWS has taken.

        Raises:
            AwsError: there are no credentials, they are not valid, or AWS cannot be reached; the same at every call.
            InputError: no region is known.
        """
        if self._opened is None:
            self._opened = self._open()
        if isinstance(self._opened, LeastprivError):
            raise self._opened
        return self._opened

    @property
    def opened(self) -> Aws | None:
        """The door, if something in this run has opened it already."""
        return None if isinstance(self._opened, LeastprivError) else self._opened

    def _open(self) -> Aws | LeastprivError:
        from leastpriv.aws.session import Aws

        try:
            door = Aws.open(self._environment, otherwise=next(iter(self._regions), ""))
            door.caller()
        except LeastprivError as error:
            return error
        return door


@dataclass(slots=True)
class FailedSource:
    """Stands where a source could not even be opened."""

    failure: LeastprivError
    statistics: ReadStatistics = field(default_factory=ReadStatistics)

    def read(self, window: Window, principals: Principals) -> Iterator[Call | Gap]:  # noqa: ARG002 - the shape of a source
        """Raises the reason."""
        raise self.failure


def open_sources(settings: Settings, folders: Sequence[Path], reach: Reach | None) -> list[CountedSource]:
    """Every source that the settings name, the nearest first; copies of one event count once over all of them.

    Raises:
        LeastprivError: none of them can be opened; if others can, the one that cannot is a gap.
    """
    seen = SeenEvents()
    cache = Path(settings.cache_dir) if settings.cache_dir else None
    makers: list[Callable[[], CountedSource]] = [partial(TrailFolder, path, seen=seen, cache=cache) for path in folders]
    waited = settings.event_history and settings.wait_for_events > 0
    if settings.wait_for_events and not settings.event_history:
        _log.info("Nothing is waited for: wait-for-events waits for event history, which trails does not name.")
    if settings.event_history:
        wait = timedelta(minutes=settings.wait_for_events)
        back, regions = settings.lookback_days, settings.aws_regions
        makers.append(lambda: event_history(settings.principal, regions, reach, seen, back, wait))
    if settings.athena_table:
        makers.append(lambda: _athena(settings, reach, seen, waited))
    days = settings.lookback_days if settings.window.start is None else None
    makers.extend(
        partial(bucket_trail, name, reach, seen, days, settings.cache_dir, settings.validate_digests, waited)
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
    reach: Reach | None,
    seen: SeenEvents,
    days: int,
    wait: timedelta = timedelta(),
) -> CountedSource:
    """The account's event history in some regions (none: all that it has enabled); `principal` None is everybody's.

    Raises:
        LeastprivError: AWS cannot be reached, or the credentials are of another account than the principal.
    """
    from leastpriv.evidence.cloudtrail.event_history import EventHistory
    from leastpriv.permissions.visibility import home_region

    if reach is None:
        raise InputError("Event history is read over the network, which this run has no way to.")
    aws = reach.aws()
    if principal:
        _insist_on_account(principal, aws)
    _log.info(f"Reading event history as {aws.caller()}")
    # Who names the regions says that the role works, and logs in, nowhere else.
    chosen, way_out = (regions, "") if regions else _everywhere(aws)
    return EventHistory(
        aws,
        (*chosen, home_region("iam", principal.partition if principal else aws.partition)),
        reach.now,
        days=days,
        wait=wait,
        seen=seen,
        way_out=way_out,
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
    reach: Reach | None,
    seen: SeenEvents,
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
    from leastpriv.evidence.cloudtrail.s3_store import S3Trail

    aws, now = _door(reach)
    cache = Path(cache_dir) if cache_dir else None
    at = now if validate else None
    since = _since(now, days)
    trail = partial(S3Trail, aws, named, since=since, seen=seen, survey=survey, cache=cache)
    return trail(validate_at=at, now=now, waited=waited)


def _athena(settings: Settings, reach: Reach | None, seen: SeenEvents, waited: bool) -> CountedSource:
    from leastpriv.evidence.cloudtrail.athena import AthenaTable

    aws, now = _door(reach)
    location = next((name for name in settings.bucket_trails if name.startswith("s3://")), "")
    since = _since(now, settings.lookback_days if settings.window.start is None else None)
    return AthenaTable(aws, settings.athena_table, now, location=location, since=since, seen=seen, waited=waited)


def _since(now: datetime, days: int | None) -> datetime | None:
    return now - timedelta(days=days) if days is not None else None


def _door(reach: Reach | None) -> tuple[Aws, datetime]:
    if reach is None:
        raise InputError("Trails in S3 and Athena are read over the network, which this run has no way to.")
    return reach.aws(), reach.now


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
