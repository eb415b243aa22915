"""Reads calls from CloudTrail's event history (`LookupEvents`): 90 days of management events, free,
without a trail.

A role's calls are looked up by session name: first its sessions are found in the events of
AssumeRole, then each session's events, in all regions at once. A user's calls are looked up by user
name. Where no session is found, the newest part of the whole history is read.

Limits: two requests a second per account and region, 50 events each, one attribute a request, 90
days (LookupEvents in the CloudTrail API reference, read 2026-11-24).
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from msgspec import Struct

from leastpriv.aws.arns import Principals, Window, session_of
from leastpriv.aws.errors import remedy
from leastpriv.aws.session import Aws
from leastpriv.cloudtrail.file_reader import EventDeduplicator, is_new
from leastpriv.cloudtrail.lookup_events import (
    Lookup,
    Page,
    RegionEnd,
    await_delivery,
    late_events_gap,
    lookup_regions,
)
from leastpriv.cloudtrail.record import (
    LOGIN_EVENTS,
    NoCall,
    SkipReason,
    event_time,
    login_of,
    object_of,
    parse_record,
    region_of,
)
from leastpriv.cloudtrail.statistics import ReadStatistics
from leastpriv.errors import AwsErrorKind, listed
from leastpriv.models import Call, Gap, GapKind, Scope

_log = logging.getLogger(__name__)


class AssumeRoleEvents(Struct):
    """Sessions of roles, collected from AssumeRole events."""

    principals: Principals
    sessions: set[str] = set()
    roles: set[str] = set()
    """ARNs of the roles, with their paths."""
    last: datetime | None = None
    """Time of the newest AssumeRole event."""
    calls: list[Call] = []
    """The logins of identities outside AWS (`record.login_of`)."""

    def note(self, record: object) -> str:
        """Adds one record; returns why it may be a session of one of the roles that cannot be read,
        or "".
        """
        if not isinstance(record, Mapping) or not record.get("eventName"):
            return "a record that may be a login cannot be read"
        event_name = str(record["eventName"])
        if record.get("errorCode") or not event_name.startswith("AssumeRole"):
            return ""
        session = _AssumedSession.of(record)
        role_or_session = session.role_arn or session.arn
        if role_or_session and not self.principals.wants(role_or_session):
            return ""
        if not session.name or not role_or_session:
            return f"a login ({event_name}) does not name its role or session"
        self._add(session, record)
        return ""

    def _add(self, session: _AssumedSession, record: Mapping[str, object]) -> None:
        self.sessions.add(session.name)
        if session.role_arn:
            self.roles.add(session.role_arn)
        self.last = _newer(self.last, event_time(record))
        login = login_of(record, self.principals.wants)
        if login:
            self.calls.append(login)


class _AssumedSession(NamedTuple):
    """The session that an AssumeRole event starts, as far as its record names it."""

    role_arn: str
    """With the path of the role; empty where the request does not name it."""
    arn: str
    name: str

    @classmethod
    def of(cls, record: Mapping[str, object]) -> _AssumedSession:
        """Returns the session of an AssumeRole event."""
        request = object_of(record.get("requestParameters"))
        response = object_of(record.get("responseElements"))
        arn = _text(object_of(response.get("assumedRoleUser")), "arn")
        name = session_of(arn) or _text(request, "roleSessionName")
        return cls(_text(request, "roleArn"), arn, name)


def _text(fields: Mapping[str, object], name: str) -> str:
    return str(fields.get(name) or "")


def _newer(one: datetime | None, other: datetime | None) -> datetime | None:
    return max(filter(None, (one, other)), default=None)


DAYS = 90
"""Days that event history keeps."""
_LONGEST_SESSION = timedelta(hours=12)
"""Longest session of a role (AssumeRole in the AWS STS API reference, read 2026-11-24)."""
_MOST_SESSIONS = 7_200
"""Most session names that are looked up, an hour in each region: tasks and pods have a new one
every time.
"""
_SAY_EVERY = 100
"""Pages of one region between progress messages: 50 seconds."""
_REGION_ERRORS = (AwsErrorKind.DENIED, AwsErrorKind.INVALID, AwsErrorKind.UNREACHABLE)
"""Errors that may concern one region alone, so that naming the other regions helps."""
_ALL_EVENTS = (Lookup(),)
_MOST_NAMED_REGIONS = 20
"""Most regions that a sentence names."""


class EventHistoryOptions(Struct, frozen=True):
    """How event history is read."""

    days: int = DAYS
    """Days to read, counted back from now."""
    wait: timedelta = timedelta()
    """Longest wait for the delivery of recent events."""
    seen: EventDeduplicator | None = None
    """Shared by sources that may contain copies of each other's records."""
    pace: float = 0.5
    """Seconds between requests in a region."""
    sessions: tuple[str, ...] = ()
    """Session names of the roles, where known; other sessions are then not looked up."""
    remedy: str = ""
    """What a user can do about a region that cannot be read, a sentence."""


class EventHistory:
    """An evidence source: the account's event history in some regions, with one set of
    credentials.
    """

    def __init__(
        self,
        aws: Aws,
        regions: tuple[str, ...],
        now: datetime,
        options: EventHistoryOptions = EventHistoryOptions(),
    ) -> None:
        """Reads nothing yet."""
        self.statistics = ReadStatistics()
        self._aws = aws
        self._regions = tuple(dict.fromkeys(regions))
        self._now = now
        self._options = options
        self._reach = timedelta(days=min(options.days, DAYS))
        self._newest: datetime | None = None
        self._login_calls: list[Call] = []
        self._failed_regions: set[str] = set()

    def __str__(self) -> str:
        """Name of the source in messages."""
        return f"event history of {_listed(self._regions)}"

    def read(self, window: Window, principals: Principals) -> Iterator[Call | Gap]:
        """Reads the calls, newest first in each region and deduplicated, and gaps for what could
        not be read.

        Never raises for AWS errors, which are gaps; resets `statistics`.
        """
        self.statistics = ReadStatistics()
        self._newest = None
        self._login_calls = []
        self._failed_regions = set()
        return self._read(window, principals)

    def _read(self, window: Window, principals: Principals) -> Iterator[Call | Gap]:
        start = max(window.start or self._now - self._reach, self._now - self._reach)
        window = Window(start, window.end)
        detail = (
            "event history holds management events only; a trail with data events shows the rest"
        )
        yield Gap(GapKind.NO_DATA_EVENTS, Scope(data_events=True), detail)
        if self._options.wait:
            yield from await_delivery(self._aws, self._regions, self._options.wait)
        lookups = yield from self._lookups(window, principals)
        yield from self._login_calls
        yield from self._calls(lookups, window, principals)
        if self._options.sessions:
            # Other sessions were not looked up.
            return
        if not self._options.wait:
            remedy = "set `wait-for-events`, or run again later"
            yield from late_events_gap(self._newest, self._now, window, remedy, Scope())
        # A region that was read completely is covered from start to end: a missing call did not
        # happen.
        last = min(window.end or self._now, self._now)
        if start < last:
            for region in self._unfailed_regions():
                self.statistics.cover(region, start, last)

    def _unfailed_regions(self) -> Sequence[str]:
        return [region for region in self._regions if region not in self._failed_regions]

    def _lookups(
        self, window: Window, principals: Principals
    ) -> Generator[Gap, None, Sequence[Lookup]]:
        """Returns lookups that together find all calls of the principals; yields gaps for logins
        that could not be read.
        """
        if principals.targets is None or principals.patterns:
            return _ALL_EVENTS
        names = sorted(target.name for target in principals.targets if target.kind == "user")
        role_arns = [target.arn for target in principals.targets if target.kind == "role"]
        if self._options.sessions:
            names += self._options.sessions
        elif role_arns:
            logins = yield from self._role_logins(window, principals, role_arns)
            self._newest = logins.last
            self._login_calls = logins.calls
            session_count = len(logins.sessions)
            if not session_count:
                _log.info(
                    "Event history: no login to the role was found; all events are read instead"
                )
                return _ALL_EVENTS
            if session_count > _MOST_SESSIONS:
                _log.info(
                    f"Event history: the role has {session_count:,} session names; all events are"
                    " read instead"
                )
                return _ALL_EVENTS
            names += sorted(logins.sessions, reverse=True)
            _log.info(
                f"Event history: session names of the role: {session_count:,}; each is looked up"
            )
        return [Lookup("Username", name) for name in names]

    def _role_logins(
        self, window: Window, principals: Principals, role_arns: Sequence[str]
    ) -> Generator[Gap, None, AssumeRoleEvents]:
        """Returns the AssumeRole events of roles, which are recorded in the region whose STS
        endpoint was called.
        """
        start = window.start - _LONGEST_SESSION if window.start else None
        earlier_window = Window(start, window.end)
        logins = AssumeRoleEvents(principals)
        # AssumeRole is frequent in most accounts, so it is looked up by role instead of by event
        # name.
        lookups = [Lookup("EventName", name) for name in LOGIN_EVENTS]
        lookups += _lookups_of_roles(role_arns)
        yield from self._logins(lookups, earlier_window, logins)
        # A target without its role path: the found role may not be the target.
        further_roles = logins.roles - set(role_arns)
        if further_roles:
            lookups = _lookups_of_roles(further_roles)
            yield from self._logins(lookups, earlier_window, logins)
        return logins

    def _logins(
        self,
        lookups: Sequence[Lookup],
        window: Window,
        logins: AssumeRoleEvents,
    ) -> Iterator[Gap]:
        """Collects AssumeRole events, and yields gaps for events that may be missing."""
        objections: dict[str, None] = {}
        failures: list[RegionEnd] = []
        for answer in self._answers(lookups, window):
            if isinstance(answer, Page):
                for record in _records(answer):
                    objection = logins.note(record)
                    if objection:
                        objections[f"event history of {answer.region}: {objection}"] = None
            elif answer.failure:
                failures.append(answer)
        # An unread AssumeRole event hides what its session did in any region.
        for detail in objections:
            yield Gap(GapKind.UNREADABLE_RECORD, Scope(), detail)
        for failure in self._failures(failures):
            yield Gap(GapKind.SOURCE_FAILED, Scope(), failure.reason)
        self._failed_regions.update(region_end.region for region_end in failures)

    def _answers(self, lookups: Sequence[Lookup], window: Window) -> Iterator[Page | RegionEnd]:
        """Yields the pages of the lookups in the regions that have not failed, and counts them."""
        regions = self._unfailed_regions()
        for answer in lookup_regions(self._aws, regions, lookups, window, self._options.pace):
            if isinstance(answer, Page):
                self.statistics.requests += 1
            yield answer

    def _failures(self, region_ends: Iterable[RegionEnd]) -> Iterator[_Failure]:
        """Yields the failures of regions: one for all regions with the same reason."""
        ends_by_reason: dict[str, list[RegionEnd]] = {}
        for region_end in sorted(region_ends, key=lambda end: end.region):
            reason = region_end.failure.replace(region_end.region, "")
            if _is_unknown_there(region_end):
                reason = region_end.kind
            ends_by_reason.setdefault(reason, []).append(region_end)
        for equal_ends in ends_by_reason.values():
            yield self._failure(equal_ends)

    def _failure(self, equal_ends: Sequence[RegionEnd]) -> _Failure:
        """Describes why some regions failed for one reason, and what a user can do about it."""
        first_end = equal_ends[0]
        regions = tuple(region_end.region for region_end in equal_ends)
        reason = f"{first_end.failure.rstrip('.')}."
        if _is_unknown_there(first_end):
            # Tokens of the global STS endpoint are valid only in regions that are enabled by
            # default (IAM User Guide, "Manage AWS STS in an AWS Region", read 2026-11-24).
            reason = (
                f"{_listed(regions)}: these credentials are not known there. Such a region is"
                " not enabled, or they came from STS's global endpoint (then set"
                " AWS_STS_REGIONAL_ENDPOINTS=regional where they are made)."
            )
        elif len(regions) > 1:
            reason = f"{reason} The same in {_listed(regions[1:])}."
        if first_end.kind in _REGION_ERRORS:
            reason = f"{reason} {self._options.remedy}".rstrip()
        return _Failure(regions, reason)

    def _calls(
        self,
        lookups: Sequence[Lookup],
        window: Window,
        principals: Principals,
    ) -> Iterator[Call | Gap]:
        """Yields the calls that lookups find, and gaps for regions that fail."""
        seen_events = self._options.seen or EventDeduplicator()
        page_counts: Counter[str] = Counter()
        failures: list[RegionEnd] = []
        for answer in self._answers(lookups, window):
            region = answer.region
            if isinstance(answer, Page):
                page_counts[region] += 1
                if page_counts[region] % _SAY_EVERY == 0:
                    _log.info(f"Event history of {region}: {page_counts[region]:,} answers so far")
                yield from self._page(answer, window, principals, seen_events)
            elif answer.failure:
                failures.append(answer)
            else:
                _log.info(f"Event history of {region}: read")
        self._failed_regions.update(region_end.region for region_end in failures)
        for failure in self._failures(failures):
            yield Gap(GapKind.SOURCE_FAILED, Scope(regions=failure.regions), failure.reason)

    def _page(
        self, page: Page, window: Window, principals: Principals, seen: EventDeduplicator
    ) -> Iterator[Call | Gap]:
        """Counts the records of a page, and yields new calls and gaps for unreadable records."""
        for record in _records(page):
            parsed = parse_record(record, principals.wants)
            if parsed is SkipReason.NOT_A_RECORD:
                yield _unreadable_gap(page, "an event holds no record")
                continue
            if isinstance(parsed, Gap):
                yield _unreadable_gap(page, parsed.detail)
                continue
            self._count(record)
            if isinstance(parsed, NoCall):
                self.statistics.note_no_call(parsed)
            elif isinstance(parsed, Call) and not window.contains(parsed.time):
                self.statistics.outside_window += 1
            elif isinstance(parsed, Call) and is_new(parsed, self.statistics, seen):
                self._newest = _newer(self._newest, parsed.time)
                yield parsed

    def _count(self, record: object) -> None:
        """Counts a record with its time and region."""
        self.statistics.records += 1
        if not isinstance(record, Mapping):
            return
        region = region_of(record)
        if region:
            self.statistics.regions.add(region)
        time = event_time(record)
        if time:
            self.statistics.note_times(time, time)


class _Failure(NamedTuple):
    """Why some regions could not be read."""

    regions: tuple[str, ...]
    reason: str
    """With the remedy, one or more sentences."""


def _unreadable_gap(page: Page, reason: str) -> Gap:
    scope = Scope(regions=(page.region,))
    return Gap(GapKind.UNREADABLE_RECORD, scope, f"event history: {reason}")


def _is_unknown_there(end: RegionEnd) -> bool:
    """Whether the region does not know the credentials; where a remedy is known, they have another
    fault.
    """
    return end.kind is AwsErrorKind.INVALID and not remedy(end.failure)


def _records(page: Page) -> Iterator[object]:
    """Yields the records of a page; a missing or malformed record is passed on unchanged."""
    for text in page.events:
        try:
            yield json.loads(text, strict=False)
        except (ValueError, RecursionError):
            yield text


def _lookups_of_roles(arns: Collection[str]) -> list[Lookup]:
    return [Lookup("ResourceName", arn) for arn in sorted(arns)]


def _listed(regions: Collection[str]) -> str:
    return listed(sorted(regions), _MOST_NAMED_REGIONS)
