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
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

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
        if record.get("errorCode") or not str(record["eventName"]).startswith("AssumeRole"):
            return ""
        lookups, answer = (
            object_of(record.get("requestParameters")),
            object_of(record.get("responseElements")),
        )
        role, own = (
            str(lookups.get("roleArn") or ""),
            str(object_of(answer.get("assumedRoleUser")).get("arn") or ""),
        )
        if (role or own) and not self.principals.wants(role or own):
            return ""
        name = session_of(own) or str(lookups.get("roleSessionName") or "")
        if not name or not (role or own):
            return f"a login ({record['eventName']}) does not name its role or session"
        self.sessions.add(name)
        if role:
            self.roles.add(role)
        self.last = max(filter(None, (self.last, event_time(record))), default=None)
        login = login_of(record, self.principals.wants)
        self.calls += [login] if login else []
        return ""


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
        self._aws, self._regions, self._now, self._options = (
            aws,
            tuple(dict.fromkeys(regions)),
            now,
            options,
        )
        self._reach = timedelta(days=min(options.days, DAYS))
        self._newest: datetime | None = None
        self._login_calls: list[Call] = []

    def __str__(self) -> str:
        """Name of the source in messages."""
        return f"event history of {_listed(self._regions)}"

    def read(self, window: Window, principals: Principals) -> Iterator[Call | Gap]:
        """Reads the calls, newest first in each region and deduplicated, and gaps for what could
        not be read.

        Never raises for AWS errors, which are gaps; resets `statistics`.
        """
        self.statistics = ReadStatistics()
        self._newest, self._login_calls = None, []
        return self._read(window, principals)

    def _read(self, window: Window, principals: Principals) -> Iterator[Call | Gap]:
        start = max(window.start or self._now - self._reach, self._now - self._reach)
        chosen_window = Window(start, window.end)
        detail = (
            "event history holds management events only; a trail with data events shows the rest"
        )
        yield Gap(GapKind.NO_DATA_EVENTS, Scope(data_events=True), detail)
        if self._options.wait:
            yield from await_delivery(self._aws, self._regions, self._options.wait)
        failed: set[str] = set()
        lookups, gaps = self._what_to_ask(chosen_window, principals, failed)
        yield from gaps
        yield from self._login_calls
        regions = [region for region in self._regions if region not in failed]
        yield from self._calls(regions, lookups, chosen_window, principals, failed)
        if not self._options.wait and not self._options.sessions:
            remedy = "set `wait-for-events`, or run again later"
            yield from late_events_gap(self._newest, self._now, chosen_window, remedy, Scope())
        if not self._options.sessions:  # other sessions were not looked up
            # A region that was read completely is covered from start to end: a missing call did not
            # happen.
            last = min(window.end or self._now, self._now)
            for region in self._regions if start < last else ():
                if region not in failed:
                    self.statistics.cover(region, start, last)

    def _what_to_ask(
        self, window: Window, principals: Principals, failed: set[str]
    ) -> tuple[tuple[Lookup, ...], list[Gap]]:
        """Returns lookups that together find all calls of the principals."""
        names = [target.name for target in principals.targets or () if target.kind == "user"]
        roles = [target for target in principals.targets or () if target.kind == "role"]
        if principals.targets is None or principals.patterns:
            return _ALL_EVENTS, []
        gaps: list[Gap] = []
        if self._options.sessions:
            names += self._options.sessions
        elif roles:
            sessions, gaps = self._sessions(
                window, principals, [role.arn for role in roles], failed
            )
            if not sessions:
                _log.info(
                    "Event history: no login to the role was found; all events are read instead"
                )
                return _ALL_EVENTS, gaps
            if len(sessions) > _MOST_SESSIONS:
                _log.info(
                    f"Event history: the role has {len(sessions):,} session names; all events are"
                    " read instead"
                )
                return _ALL_EVENTS, gaps
            names += sorted(sessions, reverse=True)
            _log.info(
                f"Event history: session names of the role: {len(sessions):,}; each is looked up"
            )
        return tuple(Lookup("Username", name) for name in names), gaps

    def _sessions(
        self, window: Window, principals: Principals, arns: list[str], failed: set[str]
    ) -> tuple[set[str], list[Gap]]:
        """Session names from AssumeRole events, which are recorded in the region whose STS endpoint
        was called.
        """
        before = Window(window.start - _LONGEST_SESSION if window.start else None, window.end)
        logins = AssumeRoleEvents(principals)
        # AssumeRole is frequent in most accounts, so it is looked up by role instead of by event
        # name.
        login_lookups = tuple(Lookup("EventName", name) for name in LOGIN_EVENTS)
        gaps = self._logins((*login_lookups, *_about(arns)), before, logins, failed)
        # A target without its role path: the found role may not be the target.
        paths = logins.roles - set(arns)
        if paths:
            gaps += self._logins(_about(paths), before, logins, failed)
        self._newest, self._login_calls = logins.last, logins.calls
        return logins.sessions, gaps

    def _logins(
        self, asked: tuple[Lookup, ...], window: Window, logins: AssumeRoleEvents, failed: set[str]
    ) -> list[Gap]:
        """Collects AssumeRole events, and returns gaps for events that may be missing."""
        gaps: dict[Gap, None] = {}
        broken: list[RegionEnd] = []
        regions = [region for region in self._regions if region not in failed]
        for answer in lookup_regions(self._aws, regions, asked, window, self._options.pace):
            if isinstance(answer, Page):
                self.statistics.requests += 1
                for detail in filter(None, map(logins.note, _records(answer))):
                    # The session of an unread AssumeRole event may have called any service.
                    source = f"event history of {answer.region}: {detail}"
                    gaps[Gap(GapKind.UNREADABLE_RECORD, Scope(), source)] = None
            elif answer.failure:
                broken.append(answer)
        failed.update(broken_end.region for broken_end in broken)
        # An unread AssumeRole event hides what its session did in any region.
        failures = (
            Gap(GapKind.SOURCE_FAILED, Scope(), detail) for _, detail in self._reasons(broken)
        )
        return [*gaps, *failures]

    def _reasons(self, broken: Sequence[RegionEnd]) -> Iterator[tuple[tuple[str, ...], str]]:
        """Groups regions by their failure, and adds the remedy."""
        ends_by_failure: dict[str, list[RegionEnd]] = {}
        for region_end in sorted(broken, key=lambda item: item.region):
            failure = (
                region_end.kind
                if _is_unknown_there(region_end)
                else region_end.failure.replace(region_end.region, "")
            )
            ends_by_failure.setdefault(failure, []).append(region_end)
        for region_ends in ends_by_failure.values():
            regions = tuple(same_end.region for same_end in region_ends)
            reason = f"{region_ends[0].failure.rstrip('.')}."
            if _is_unknown_there(region_ends[0]):
                # Tokens of the global STS endpoint are valid only in regions that are enabled by
                # default (IAM User Guide, "Manage AWS STS in an AWS Region", read 2026-11-24).
                reason = (
                    f"{_listed(regions)}: these credentials are not known there. Such a region is"
                    " not enabled, or they came from STS's global endpoint (then set"
                    " AWS_STS_REGIONAL_ENDPOINTS=regional where they are made)."
                )
            elif len(region_ends) > 1:
                reason = f"{reason} The same in {_listed(regions[1:])}."
            remedy = self._options.remedy if region_ends[0].kind in _REGION_ERRORS else ""
            yield regions, f"{reason} {remedy}".rstrip()

    def _calls(
        self,
        regions: list[str],
        asked: tuple[Lookup, ...],
        window: Window,
        principals: Principals,
        failed: set[str],
    ) -> Iterator[Call | Gap]:
        seen_events = self._options.seen or EventDeduplicator()
        pages: Counter[str] = Counter()
        broken: list[RegionEnd] = []
        for answer in lookup_regions(self._aws, regions, asked, window, self._options.pace):
            if isinstance(answer, RegionEnd) and answer.failure:
                broken.append(answer)
            elif isinstance(answer, RegionEnd):
                _log.info(f"Event history of {answer.region}: read")
            else:
                self.statistics.requests += 1
                pages[answer.region] += 1
                if pages[answer.region] % _SAY_EVERY == 0:
                    _log.info(
                        f"Event history of {answer.region}: {pages[answer.region]:,} answers so far"
                    )
                yield from self._page(answer, window, principals, seen_events)

        failed.update(broken_end.region for broken_end in broken)
        for regions_named, detail in self._reasons(broken):
            yield Gap(GapKind.SOURCE_FAILED, Scope(regions=regions_named), detail)

    def _page(
        self, page: Page, window: Window, principals: Principals, seen: EventDeduplicator
    ) -> Iterator[Call | Gap]:
        statistics = self.statistics
        for record in _records(page):
            parsed = parse_record(record, principals.wants)
            if parsed is SkipReason.NOT_A_RECORD or isinstance(parsed, Gap):
                detail = parsed.detail if isinstance(parsed, Gap) else "an event holds no record"
                yield Gap(
                    GapKind.UNREADABLE_RECORD,
                    Scope(regions=(page.region,)),
                    f"event history: {detail}",
                )
                continue
            statistics.records += 1
            time = event_time(record) if isinstance(record, Mapping) else None
            if isinstance(record, Mapping) and (region := region_of(record)):
                statistics.regions.add(region)
            if time:
                statistics.note_times(time, time)
            if isinstance(parsed, NoCall):
                statistics.note_no_call(parsed)
            elif isinstance(parsed, SkipReason):
                statistics.skipped[parsed.value] += 1
            elif not window.contains(parsed.time):
                statistics.outside_window += 1
            elif is_new(parsed, statistics, seen):
                self._newest = max(self._newest or parsed.time, parsed.time)
                yield parsed


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


def _about(roles: Collection[str]) -> tuple[Lookup, ...]:
    return tuple(Lookup("ResourceName", arn) for arn in sorted(roles))


def _listed(regions: Collection[str]) -> str:
    return listed(sorted(regions), _MOST_NAMED_REGIONS)
