"""Opens the sources of evidence that the settings name, and reads all of them in one pass.

All share one AWS session. Where they have no call of a principal, a sentence says which slip is
likely.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from functools import partial
from itertools import chain
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct, field
from msgspec.structs import replace

from leastpriv.aws.arns import (
    EvidenceSource,
    Principals,
    Window,
    account_of,
    principal_of,
    short_arn,
)
from leastpriv.aws.session import Aws, AwsSession
from leastpriv.cloudtrail.file_reader import CountedCalls, EventDeduplicator, S3TrailOptions
from leastpriv.cloudtrail.local_store import TrailFolder
from leastpriv.cloudtrail.parts import Item, SourceOfParts
from leastpriv.cloudtrail.statistics import ReadStatistics
from leastpriv.errors import AwsError, AwsErrorKind, InputError, LeastprivError, listed, plural
from leastpriv.evidence.parts import CountingFiles
from leastpriv.models import Call, Gap, GapKind, Principal, Scope

if TYPE_CHECKING:
    from leastpriv.cloudtrail.event_history import EventHistoryOptions
    from leastpriv.config.settings import Settings
    from leastpriv.denials.encoded_message import Decoder
    from leastpriv.evidence.models import Evidence

_log = logging.getLogger(__name__)

DEFAULT_DAYS = timedelta(days=90)
"""How far back trails in S3 are read without the input: the default of `lookback-days`."""


class CountedReader(EvidenceSource, Protocol):
    """A source of evidence that counts what it reads."""

    statistics: ReadStatistics


class CountedFiles(SourceOfParts, Protocol):
    """A source of evidence in files that counts what it reads."""

    statistics: ReadStatistics


CountedSource = CountedReader | CountedFiles


class FailedSource(Struct):
    """A source that could not be opened."""

    failure: LeastprivError
    statistics: ReadStatistics = field(default_factory=ReadStatistics)

    # The protocol has both parameters.
    def read(self, window: Window, principals: Principals) -> Iterator[Call | Gap]:  # noqa: ARG002
        """Raises the reason."""
        raise self.failure


def open_sources(
    settings: Settings, folders: Sequence[Path], session: AwsSession | None
) -> list[CountedSource]:
    """Opens every source that the settings name, folders first.

    Raises:
        LeastprivError: none of them can be opened; if others can, the one that cannot is a gap.
        InputError: a folder does not exist, or has no CloudTrail file.
    """
    for path in folders:
        TrailFolder(path).check()
    now = session.now if session else None
    since = None
    if now and settings.window.start is None:
        since = now - timedelta(days=settings.lookback_days)
    options = S3TrailOptions(
        since=since,
        seen=EventDeduplicator(),
        cache=Path(settings.cache_dir) if settings.cache_dir else None,
        validate_at=now if settings.validate_digests else None,
        now=now,
        waited=settings.event_history and settings.wait_for_events > 0,
    )
    openers: list[Callable[[], CountedSource]] = [
        partial(TrailFolder, path, seen=options.seen, cache=options.cache) for path in folders
    ]
    if settings.wait_for_events and not settings.event_history:
        _log.info(
            "wait-for-events has no effect: it waits for event history, which trails does not name."
        )
    if settings.event_history:
        from leastpriv.cloudtrail.event_history import EventHistoryOptions

        # Event history keeps 90 days whatever the window.
        wait = timedelta(minutes=settings.wait_for_events)
        history = EventHistoryOptions(settings.lookback_days, wait, options.seen)
        openers.append(
            partial(event_history, settings.principal, settings.aws_regions, session, history)
        )
    base_session = session.base if session else None
    openers += [
        partial(_athena_table, table, settings.athena_max_bytes, base_session, options)
        for table in settings.athena_tables
    ]
    openers.extend(_bucket_openers(settings, session, options))
    return open_all(openers)


def _bucket_openers(
    settings: Settings, session: AwsSession | None, options: S3TrailOptions
) -> Iterator[Callable[[], CountedSource]]:
    """Yields what opens the trails in S3 and the log groups that the settings name."""
    if not settings.bucket_trails:
        return
    from leastpriv.cloudtrail.trail import is_log_group

    for name in settings.bucket_trails:
        # A table of Athena has the same files as the trail in S3; it never has a log group.
        if settings.athena_tables and not is_log_group(name):
            continue
        # An ARN of the principal's account is read with the role there; a bucket, or an ARN of a
        # central account, with the run's own credentials.
        is_arn_of_account = (
            name.startswith("arn:") and account_of(name) == settings.principal.account
        )
        reading_session = session
        if session and not is_arn_of_account:
            reading_session = session.base
        yield partial(bucket_trail, name, reading_session, options)


def open_all(openers: Iterable[Callable[[], CountedSource]]) -> list[CountedSource]:
    """Opens all sources; one that cannot be opened is a failed one, which becomes a gap when it is
    read.
    """
    sources: list[CountedSource] = []
    failures: list[LeastprivError] = []
    for open_source in openers:
        try:
            sources.append(open_source())
        except LeastprivError as error:
            failures.append(error)
        except Exception as error:
            failures.append(
                LeastprivError(f"A source could not be opened: {describe_defect(error)}.")
            )
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
    options: EventHistoryOptions,
) -> CountedSource:
    """Opens the account's event history in some regions (none: all enabled ones); `principal` None:
    of all principals.

    Raises LeastprivError where AWS cannot be reached, or the credentials are of another account
    than the principal.
    """
    from leastpriv.cloudtrail.event_history import EventHistory
    from leastpriv.permissions.event_table import home_region

    if session is None:
        raise InputError("Event history needs AWS, which this run does not use.")
    aws = session.aws()
    if principal and aws.account() not in ("", principal.account):
        who = principal_of(aws.caller())
        raise InputError(
            f"The AWS credentials are those of {who.arn if who else aws.caller()}, and event"
            " history shows calls of that account only: use credentials of the account"
            f" {principal.account} of the input role-arn, or name the role that reads it as"
            " assume-role in the input config."
        )
    _log.info(f"Reading event history as {aws.caller()}")
    # Regions that are named are the only ones in which the role works and logs in.
    read = _ReadRegions(regions) if regions else _all_regions(aws)
    home = home_region("iam", principal.partition if principal else aws.partition)
    return EventHistory(
        aws, (*read.regions, home), session.now, replace(options, remedy=read.remedy)
    )


class _ReadRegions(Struct, frozen=True):
    """The regions in which event history is read."""

    regions: tuple[str, ...]
    remedy: str = ""
    """What to do where one cannot be read; empty where the input names them."""


def _all_regions(aws: Aws) -> _ReadRegions:
    """Returns every region in which the role may have worked."""
    remedy = "If the role works in some regions only, name these in the input aws-regions"
    region_of_session = (aws.region,) if aws.region else ()
    try:
        return _ReadRegions((*region_of_session, *aws.enabled_regions()), f"{remedy}.")
    except AwsError as error:
        _log.info(f"All regions are read, enabled or not: {error}")
    remedy = f"{remedy}, or allow account:ListRegions to these credentials."
    return _ReadRegions((*region_of_session, *aws.regions("cloudtrail")), remedy)


def bucket_trail(name: str, session: AwsSession | None, options: S3TrailOptions) -> CountedSource:
    """Opens a trail in S3, which is named by its location or ARN, or in a CloudWatch log group."""
    from leastpriv.cloudtrail.trail import LogGroup, S3Trail, is_log_group

    aws = _required(session).aws()
    if is_log_group(name):
        return LogGroup(aws, name, options)
    return S3Trail(aws, name, options)


def _athena_table(
    table: str, max_bytes: int, session: AwsSession | None, options: S3TrailOptions
) -> CountedSource:
    """Opens a table of Athena as a source."""
    from leastpriv.cloudtrail.athena import AthenaOptions, AthenaTable

    session = _required(session)
    athena_options = AthenaOptions(
        since=options.since,
        seen=options.seen,
        waited=options.waited,
        max_bytes=max_bytes,
    )
    return AthenaTable(session.aws(), table, session.now, athena_options)


def _required(session: AwsSession | None) -> AwsSession:
    """Returns the session; raises InputError without one."""
    if session is None:
        raise InputError("Trails in S3 and Athena need AWS, which this run does not use.")
    return session


_PROGRESS_EVERY = 10_000


class ReadHooks(Struct, frozen=True):
    """What a reader of all sources gets besides them."""

    progress: Callable[[int], None] = lambda _: None
    """Called with the number of calls so far, from time to time."""
    decoder: Decoder | None = None
    """Decodes EC2's encoded messages."""
    shared_gaps: list[Gap] | None = None
    """Receives the gaps of the sources; None: they go to the evidence of each principal."""


def read_evidence(
    sources: Sequence[EvidenceSource | SourceOfParts],
    window: Window,
    target: Principal | Principals | None,
    hooks: ReadHooks | None = None,
) -> Mapping[str, Evidence]:
    """Reads all sources in one pass and returns the evidence by principal ARN; `target` None: of
    all principals.

    A target is always in the result, even without calls. Gaps count for every principal, since they
    may hide calls of any. Raises LeastprivError, that of the first source, where no source could be
    read; with other sources it is a gap.
    """
    return dict(read_by_principal(sources, window, target, hooks))


def _only(principal: Principal | None) -> Principals:
    """The one principal, or all where there is none."""
    return Principals(frozenset({principal}) if principal else None)


def read_by_principal(
    sources: Sequence[EvidenceSource | SourceOfParts],
    window: Window,
    target: Principal | Principals | None,
    hooks: ReadHooks | None = None,
) -> Iterator[tuple[str, Evidence]]:
    """Like `read_evidence`, but yields the evidence one by one after reading, so that not all is in
    memory.
    """
    hooks = hooks or ReadHooks()
    principals = target if isinstance(target, Principals) else _only(target)
    has_decoder = hooks.decoder is not None and hooks.decoder.can_ask
    counting = CountingFiles(has_decoder=has_decoder)
    items = _all_items(sources, window, principals, counting)
    first = next(items, None)
    # Import late: the modules below take longer to load than all others, and meanwhile the first
    # objects arrive.
    from leastpriv.evidence.collector import PrincipalCollectors

    collectors = PrincipalCollectors(principals, len(sources), hooks.decoder)
    calls_read = 0
    calls_shown = 0
    for source_item in chain([first] if first else [], items):
        item = source_item.item
        collectors.note(source_item.source, item)
        calls_read += item.calls if isinstance(item, CountedCalls) else 1
        if calls_read >= calls_shown + _PROGRESS_EVERY:
            calls_shown = calls_read
            hooks.progress(calls_read)
    return collectors.close(hooks.shared_gaps)


class _SourceItem(Struct, frozen=True, gc=False):
    """An item that a source yields."""

    source: int
    """Number of the source."""
    item: Item


def _all_items(
    sources: Sequence[EvidenceSource | SourceOfParts],
    window: Window,
    principals: Principals,
    counting: CountingFiles,
) -> Iterator[_SourceItem]:
    """Yields the items of all sources; an error becomes a gap, so that the other sources are
    read.
    """
    failures: list[LeastprivError] = []
    items: Iterator[Item]
    for number, source in enumerate(sources):
        try:
            if isinstance(source, SourceOfParts):
                items = source.read_parts(window, principals, counting)
            else:
                items = source.read(window, principals)
            for item in items:
                yield _SourceItem(number, item)
        except LeastprivError as error:
            failures.append(error)
            yield _SourceItem(number, Gap(GapKind.SOURCE_FAILED, Scope(), str(error)))
        except Exception as error:
            has_name = type(source).__str__ is not object.__str__
            name = str(source) if has_name else type(source).__name__
            detail = f"{name} could not be fully read: {describe_defect(error)}"
            yield _SourceItem(number, Gap(GapKind.SOURCE_FAILED, Scope(), detail))
    if failures and len(failures) == len(sources):
        raise failures[0]


def describe_defect(error: Exception) -> str:
    """Describes an unexpected exception so that a report of it is enough to find the cause."""
    from traceback import extract_tb

    frames = extract_tb(error.__traceback__)
    location = f" at {PurePath(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"unexpected {type(error).__name__}{location}; this is a defect, please report it"


_MOST_NAMED = 5
_LEAST_SIMILARITY = 0.7
"""Of a name that was probably meant (`difflib`): 1 for equal ones."""
_UNREAD = (GapKind.SOURCE_FAILED, GapKind.UNREADABLE_FILE, GapKind.UNREADABLE_RECORD)


def missing_calls(
    principal: Principal, statistics: Sequence[ReadStatistics], gaps: Sequence[Gap], name: str
) -> str:
    """Returns sentences that say what was read of each source and which slip is likely, where no
    call of a principal was found; `name` is the principal in them.
    """
    read = ReadStatistics()
    for source_statistics in statistics:
        read.absorb(source_statistics)
    unread = [gap.detail.removesuffix(".") for gap in gaps if gap.kind in _UNREAD]
    return f"No calls by {name}. {_likely_slip(principal, read, unread)}"


def _likely_slip(principal: Principal, read: ReadStatistics, unread: Sequence[str]) -> str:
    """Returns the likely reason why no call of a principal was found; `unread`: what could not be
    read.
    """
    if not read.records and unread:
        further_gaps = f" (and {len(unread) - 1} more gaps)" if len(unread) > 1 else ""
        return f"No record could be read: {unread[0]}{further_gaps}."
    if not read.records and read.outside_window:
        return (
            f"All {read.outside_window:,} records are outside the window: check --from and --to, or"
            " lookback-days."
        )
    if read.callers:
        return _other_callers(principal, read.callers)
    if not read.records:
        return (
            "No record was read: check trails, and the window (--from and --to, or lookback-days)."
        )
    first_gap = f" {unread[0]}." if unread else ""
    return f"{read.records:,} records were read: check role-arn and trails.{first_gap}"


def all_damaged_sentence(statistics: Sequence[ReadStatistics], gaps: Sequence[Gap]) -> str:
    """Returns `Every file that was read is damaged (3): ...` where no source has an intact file,
    even if a part of one could be read; else nothing.

    A source without files, as event history, is intact.
    """

    def is_intact(source: ReadStatistics) -> bool:
        return source.damaged_files + source.foreign_files < max(source.files, 1)

    damaged = sum(statistic.damaged_files for statistic in statistics)
    if not damaged or any(map(is_intact, statistics)):
        return ""
    first = next((gap.detail for gap in gaps if gap.kind in _UNREAD), "")
    return f"Every file that was read is damaged ({damaged:,}): {first}."


class _CallerName(Struct, frozen=True):
    """What the ARNs of a role and of its sessions share: a session's ARN lacks the path of its
    role.
    """

    account: str
    kind: str
    name: str


class _OtherCaller(Struct):
    """Another principal of the records."""

    arn: str
    """With its path, where a record has it."""
    name: str
    account: str
    calls: int = 0


def _others_of(callers: Mapping[str, int]) -> Sequence[_OtherCaller]:
    """Returns the roles and users of the records, without the roles of services, the busiest
    first.
    """
    others: dict[_CallerName, _OtherCaller] = {}
    for arn, calls in callers.items():
        other = principal_of(arn) or principal_of(f"{arn}/session")
        if other is None or ":role/aws-service-role/" in other.arn:
            continue
        key = _CallerName(other.account, other.kind, other.name)
        caller = others.setdefault(key, _OtherCaller(other.arn, other.name, other.account))
        caller.arn = max(caller.arn, other.arn, key=len)
        caller.calls += calls
    return sorted(others.values(), key=lambda caller: (-caller.calls, caller.arn))


def _other_callers(principal: Principal, callers: Mapping[str, int]) -> str:
    """Says whose calls the trail has instead: a role with a like name, the busiest ones of the
    account, or those of other accounts.
    """
    others = _others_of(callers)
    of_account = [caller for caller in others if caller.account == principal.account]
    if not of_account:
        accounts = ", ".join(sorted({caller.account for caller in others})[:_MOST_NAMED])
        if not accounts:
            return "The calls in this trail are of services: check trails."
        return (
            f"The calls in this trail are of account {accounts}: check the account in role-arn,"
            " and trails."
        )
    from difflib import get_close_matches

    by_name = {caller.name.lower(): caller for caller in of_account}
    close_names = get_close_matches(
        principal.name.lower(), by_name, n=_MOST_NAMED, cutoff=_LEAST_SIMILARITY
    )
    close = [by_name[name] for name in close_names]
    if close and close[0].name == principal.name:
        # Only what precedes the account in its ARN, or its kind, is another.
        return f"This trail has calls of {close[0].arn}: correct role-arn."
    shown = [*close, *(caller for caller in of_account if caller not in close)]
    names = (f"{short_arn(caller.arn)} ({plural(caller.calls, 'call')})" for caller in shown)
    meant = f" Did you mean {short_arn(close[0].arn)}?" if close else ""
    return f"Roles and users in this trail: {listed(names, _MOST_NAMED)}.{meant}"
