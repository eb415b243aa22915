"""Calls from CloudTrail's event history (`LookupEvents`): no trail, no bucket, no cost; management events of 90 days.

A role's calls are looked up by session name: first its sessions are found among the logins (`logins.py`), then each
session's events, in every region at once. A user's calls are looked up by the user's name. Where no session is found,
the newest part of the whole history is looked through.

Limits: two requests a second per account and region, 50 events each, one attribute a request, 90 days (LookupEvents in
the CloudTrail API reference, read 2026-11-24).

Sessions of a role as the records of its logins tell them: their names, by which event history is looked up.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from leastpriv.aws.arns import Principals, Window, session_of
from leastpriv.aws.session import Aws
from leastpriv.errors import AwsErrorKind
from leastpriv.evidence.cloudtrail.file_reader import ReadStatistics, SeenEvents, unwrap
from leastpriv.evidence.cloudtrail.lookup_events import (
    Broken,
    Finished,
    Lookup,
    Page,
    await_delivery,
    lookups,
    under_way,
)
from leastpriv.evidence.cloudtrail.record import NotACall, event_time, examine, read_only, region_of
from leastpriv.models import Call, Gap, GapKind, Scope

_log = logging.getLogger(__name__)

NAMED_LOGINS = ("AssumeRoleWithWebIdentity", "AssumeRoleWithSAML")
"""Events of logins that are rare enough to be looked up by their own name."""


@dataclass(slots=True)
class Logins:
    """What the records of logins have told so far."""

    principals: Principals
    sessions: set[str] = field(default_factory=set)
    roles: set[str] = field(default_factory=set)
    """ARNs of the roles as the logins name them: with their paths."""
    last: datetime | None = None
    """Time of the newest login."""

    def note(self, record: object) -> str:
        """Takes one record in; why it may be a login to one of the roles and cannot be read, or nothing."""
        if not isinstance(record, Mapping) or not record.get("eventName"):
            return "a record that may be a login cannot be read"
        if record.get("errorCode") or not str(record["eventName"]).startswith("AssumeRole"):
            return ""
        asked, given = record.get("requestParameters"), record.get("responseElements")
        role = str(asked.get("roleArn") or "") if isinstance(asked, Mapping) else ""
        user = given.get("assumedRoleUser") if isinstance(given, Mapping) else None
        own = str(user.get("arn") or "") if isinstance(user, Mapping) else ""
        if (role or own) and not self.principals.wants(role or own):
            return ""
        name = session_of(own) or (str(asked.get("roleSessionName") or "") if isinstance(asked, Mapping) else "")
        if not name or not (role or own):
            return f"a login ({record['eventName']}) does not tell its role or session"
        self._keep(name, role, event_time(record))
        return ""

    def _keep(self, name: str, role: str, time: datetime | None) -> None:
        self.sessions.add(name)
        if role:
            self.roles.add(role)
        self.last = max(filter(None, (self.last, time)), default=None)


def unread_login(detail: str) -> Gap:
    """The gap of a login that was not seen or not understood: its session may have acted anywhere."""
    return Gap(GapKind.UNREADABLE_RECORD, Scope(), detail)


DAYS = 90
"""How far back event history reaches."""
_LONGEST_SESSION = timedelta(hours=12)
"""Of a role (AssumeRole in the AWS STS API reference, read 2026-11-24)."""
_MOST_PAGES = 1_200
"""Pages of one region where everything is looked through: ten minutes, 60,000 events."""
_SAY_EVERY = 100
"""Pages of one region: 50 seconds."""
_OF_A_REGION = (AwsErrorKind.DENIED, AwsErrorKind.INVALID, AwsErrorKind.UNREACHABLE)
"""What may be wrong with one region alone, so that it helps to name the others."""
_WHOLE = (Lookup(),)
_FEW = 20
"""Regions that a sentence names."""


class EventHistory:
    """A source: the account's event history in some regions, as one set of credentials sees it."""

    def __init__(
        self,
        aws: Aws,
        regions: tuple[str, ...],
        now: datetime,
        *,
        days: int = DAYS,
        wait: timedelta = timedelta(),
        seen: SeenEvents | None = None,
        pace: float = 0.5,
        sessions: tuple[str, ...] = (),
        way_out: str = "",
    ) -> None:
        """`days` back from `now`; `wait` at most that long for events under way; `pace`: seconds between requests.

        `sessions`: names of the sessions of roles, where they are known; others are not looked for then.
        `way_out`: what a person may do about a region that cannot be read, a sentence.
        """
        self.statistics = ReadStatistics()
        self._aws = aws
        self._regions = tuple(dict.fromkeys(regions))
        self._now = now
        self._reach = timedelta(days=min(days, DAYS))
        self._wait = wait
        self._shared = seen
        self._pace = pace
        self._known_sessions = sessions
        self._way_out = way_out
        self._newest: datetime | None = None

    def __str__(self) -> str:
        """What a person calls it."""
        return f"event history of {_listed(self._regions)}"

    def read(self, window: Window, principals: Principals) -> Iterator[Call | Gap]:
        """Read the calls as the regions answer, newest first in each, each once, and a gap for what could not be seen.

        Never raises for anything that AWS answers, or does not: that is a gap. Starts `statistics` anew.
        """
        self.statistics = ReadStatistics()
        self._newest = None
        return self._read(window, principals)

    def _read(self, window: Window, principals: Principals) -> Iterator[Call | Gap]:
        start = max(window.start or self._now - self._reach, self._now - self._reach)
        chosen = Window(start, window.end)
        yield Gap(
            GapKind.NO_DATA_EVENTS,
            Scope(data_events=True),
            "event history holds management events only; a trail with data events shows the rest",
        )
        if self._wait:
            yield from await_delivery(self._aws, self._regions, self._wait)
        failed: set[str] = set()
        asked, gaps = self._what_to_ask(chosen, principals, failed)
        yield from gaps
        regions = [region for region in self._regions if region not in failed]
        yield from self._calls(regions, asked, chosen, principals, failed)
        yield from self._under_way(chosen)
        self._cover(chosen, failed)

    def _what_to_ask(
        self, window: Window, principals: Principals, failed: set[str]
    ) -> tuple[tuple[Lookup, ...], list[Gap]]:
        """Lookups that together show all calls of the principals."""
        names = [target.name for target in principals.targets or () if target.kind == "user"]
        roles = [target for target in principals.targets or () if target.kind == "role"]
        if principals.targets is None:
            return _WHOLE, []
        gaps: list[Gap] = []
        if self._known_sessions:
            names += self._known_sessions
        elif roles:
            found, gaps = self._sessions(window, principals, [role.arn for role in roles], failed)
            if not found:
                _log.info("Event history: no login to the role was found; looking through all events instead")
                return _WHOLE, gaps
            names += sorted(found, reverse=True)
            _log.info(f"Event history: session names of the role: {len(found):,}; each is looked up")
        return tuple(Lookup("Username", name) for name in names), gaps

    def _sessions(
        self, window: Window, principals: Principals, arns: list[str], failed: set[str]
    ) -> tuple[set[str], list[Gap]]:
        """Names of the sessions whose login was seen; a login is an event of the region whose STS was called."""
        before = Window(window.start - _LONGEST_SESSION if window.start else None, window.end)
        logins = Logins(principals)
        # AssumeRole happens all the time in most accounts, so that is asked for by the role that it is about.
        named = tuple(Lookup("EventName", name) for name in NAMED_LOGINS)
        gaps = self._logins((*named, *_about(arns)), before, logins, failed)
        # Who named the role without its path did not ask for the role that the logins are about.
        paths = logins.roles - set(arns)
        if paths:
            gaps += self._logins(_about(paths), before, logins, failed)
        self._newest = logins.last
        return logins.sessions, gaps

    def _logins(self, asked: tuple[Lookup, ...], window: Window, logins: Logins, failed: set[str]) -> list[Gap]:
        """Takes in all logins that are found; a gap for what may have been one."""
        gaps: dict[Gap, None] = {}
        broken: list[Broken] = []
        regions = [region for region in self._regions if region not in failed]
        for item in lookups(self._aws, regions, asked, window, self._pace):
            if isinstance(item, Page):
                self.statistics.requests += 1
                for detail in filter(None, map(logins.note, _records(item))):
                    gaps[unread_login(f"event history of {item.region}: {detail}")] = None
            elif isinstance(item, Broken):
                broken.append(item)
        failed.update(item.region for item in broken)
        # A login that was not seen hides what its session did, wherever that was.
        told = (Gap(GapKind.SOURCE_FAILED, Scope(), detail) for _, detail in self._reasons(broken))
        return [*gaps, *told]

    def _reasons(self, broken: Sequence[Broken]) -> Iterator[tuple[tuple[str, ...], str]]:
        """Regions that failed in the same way, and how, with the way out."""
        alike: dict[str, list[Broken]] = {}
        for item in sorted(broken, key=lambda item: item.region):
            same = item.kind if item.kind is AwsErrorKind.INVALID else item.reason.replace(item.region, "")
            alike.setdefault(same, []).append(item)
        for items in alike.values():
            regions = tuple(item.region for item in items)
            reason = f"{items[0].reason.rstrip('.')}."
            if items[0].kind is AwsErrorKind.INVALID:
                reason = _refusing(regions)
            elif len(items) > 1:
                reason = f"{reason} The same in {_listed(regions[1:])}."
            way_out = self._way_out if items[0].kind in _OF_A_REGION else ""
            yield regions, f"{reason} {way_out}".rstrip()

    def _under_way(self, window: Window) -> Iterator[Gap]:
        """A gap where the role was at work a moment ago, and nobody waited."""
        if not self._wait and not self._known_sessions:
            way_out = "set `wait-for-events`, or run again later"
            yield from under_way(self._newest, self._now, window, way_out, Scope())

    def _calls(
        self,
        regions: list[str],
        asked: tuple[Lookup, ...],
        window: Window,
        principals: Principals,
        failed: set[str],
    ) -> Iterator[Call | Gap]:
        seen = self._shared or SeenEvents()
        most = _MOST_PAGES if asked is _WHOLE else 0
        pages: Counter[str] = Counter()
        broken: list[Broken] = []
        for item in lookups(self._aws, regions, asked, window, self._pace, most):
            if isinstance(item, Broken):
                broken.append(item)
            elif isinstance(item, Finished):
                _log.info(f"Event history of {item.region}: read")
            else:
                self.statistics.requests += 1
                pages[item.region] += 1
                if pages[item.region] % _SAY_EVERY == 0:
                    _log.info(f"Event history of {item.region}: {pages[item.region]:,} answers so far")
                yield from self._page(item, window, principals, seen)

        failed.update(item.region for item in broken)
        for where, detail in self._reasons(broken):
            yield Gap(GapKind.SOURCE_FAILED, Scope(regions=where), detail)

    def _page(self, page: Page, window: Window, principals: Principals, seen: SeenEvents) -> Iterator[Call | Gap]:
        figures = self.statistics
        for record in _records(page):
            found = examine(record, principals.wants)
            if found is NotACall.NOT_A_RECORD or isinstance(found, Gap):
                detail = found.detail if isinstance(found, Gap) else "an event holds no record"
                yield Gap(GapKind.UNREADABLE_RECORD, Scope(regions=(page.region,)), f"event history: {detail}")
                continue
            self._note(record)
            if isinstance(found, NotACall):
                figures.skipped[found.value] += 1
            elif not window.contains(found.time):
                figures.outside_window += 1
            elif seen.is_copy(found.event_id):
                figures.duplicates += 1
            else:
                figures.calls += 1
                self._newest = max(self._newest or found.time, found.time)
                yield found

    def _note(self, record: object) -> None:
        if not isinstance(record, Mapping):
            return
        figures = self.statistics
        figures.records += 1
        reads = read_only(record)
        if reads is not None:
            figures.kinds[f"management-{'read' if reads else 'write'}"] += 1
        figures.sources.add(str(record.get("eventSource") or ""))
        region, time = region_of(record), event_time(record)
        if region:
            figures.regions.add(region)
        if time:
            figures.first = min(figures.first or time, time)
            figures.last = max(figures.last or time, time)

    def _cover(self, window: Window, failed: set[str]) -> None:
        """A region that was read to its end is covered from start to end: what is not there did not happen."""
        if self._known_sessions:
            return  # other sessions were not asked for
        first, last = window.start or self._now, min(window.end or self._now, self._now)
        for region in self._regions:
            if region not in failed and first < last:
                self.statistics.spans[region] = (first, last)
        if not failed and first < last:
            self.statistics.whole = last - first


def _records(page: Page) -> Iterator[object]:
    """The records of a page; an event without one, or with a broken one, is given as it is."""
    for text in page.events:
        yield from unwrap(text)


def _about(roles: Collection[str]) -> tuple[Lookup, ...]:
    return tuple(Lookup("ResourceName", arn) for arn in sorted(roles))


def _refusing(regions: Collection[str]) -> str:
    """Such a region is not enabled, or it is and the credentials are no good there.

    Tokens of the global endpoint of STS are valid only in regions that are enabled by default (IAM User Guide, "Manage
    AWS STS in an AWS Region", read 2026-11-24).
    """
    return (
        f"{_listed(regions)}: these credentials are not known there. Such a region is not enabled, or they came from "
        "STS's global endpoint (then set AWS_STS_REGIONAL_ENDPOINTS=regional where they are made)."
    )


def _listed(regions: Collection[str]) -> str:
    names = sorted(regions) if len(regions) > _FEW else list(regions)
    return ", ".join(names) if len(names) <= _FEW else f"{', '.join(names[:_FEW])} and {len(names) - _FEW} more"
