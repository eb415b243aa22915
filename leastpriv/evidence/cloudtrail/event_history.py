"""Calls from CloudTrail's event history (`LookupEvents`): no trail, no bucket, no cost; management events of 90 days.

A role's calls are looked up by session name: first its sessions are found among the logins (`AssumeRoleWithWebIdentity`
and its kin), then each session's events, in every region at once. A user's calls are looked up by the user's name.
Where no session is found, the newest part of the whole history is looked through.

Limits: two requests a second per account and region, 50 events each, one attribute a request, 90 days (LookupEvents in
the CloudTrail API reference, read 2026-11-24).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta

from leastpriv.errors import AwsTrouble
from leastpriv.evidence.aws import Aws
from leastpriv.evidence.cloudtrail.delivery import await_delivery
from leastpriv.evidence.cloudtrail.event import NotACall, event_time, examine, read_only, region_of
from leastpriv.evidence.cloudtrail.file_reader import ReadStatistics, SeenEvents
from leastpriv.evidence.cloudtrail.lookup import Broken, Finished, Lookup, Page, lookups
from leastpriv.evidence.cloudtrail.wrappings import unwrap
from leastpriv.evidence.source import Principals, Window, session_of
from leastpriv.model import Call, Gap, GapKind, Scope

DAYS = 90
"""How far back event history reaches."""
_LONGEST_SESSION = timedelta(hours=12)
"""Of a role (AssumeRole in the AWS STS API reference, read 2026-11-24)."""
_LOGINS = ("AssumeRoleWithWebIdentity", "AssumeRoleWithSAML")
_MOST_PAGES = 1_200
"""Pages of one region where everything is looked through: ten minutes, 60,000 events."""
_WHOLE = (Lookup(),)


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
        say: Callable[[str], None] = lambda _: None,
        pace: float = 0.5,
        login_regions: tuple[str, ...] = (),
        sessions: tuple[str, ...] = (),
    ) -> None:
        """`days` back from `now`; `wait` at most that long for events under way; `pace`: seconds between requests.

        `login_regions`: others in which to look for logins, since a session may log in there and act here.
        `sessions`: names of the sessions of roles, where they are known; others are not looked for then.
        """
        self.statistics = ReadStatistics()
        self._aws = aws
        self._regions = tuple(dict.fromkeys(regions))
        self._login_regions = tuple(dict.fromkeys((*regions, *login_regions)))
        self._now = now
        self._reach = timedelta(days=min(days, DAYS))
        self._wait = wait
        self._shared = seen
        self._say = say
        self._pace = pace
        self._known_sessions = sessions

    def __str__(self) -> str:
        """What a person calls it."""
        return f"event history of {', '.join(self._regions)}"

    def read(self, window: Window, principals: Principals) -> Iterator[Call | Gap]:
        """Read the calls region by region, newest first, each once, and a gap for what could not be seen.

        Never raises for anything that AWS answers, or does not: that is a gap. Starts `statistics` anew.
        """
        self.statistics = ReadStatistics()
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
            yield from await_delivery(self._aws, self._regions, self._wait, self._say)
        failed: set[str] = set()
        asked, gaps = self._what_to_ask(chosen, principals, failed)
        yield from gaps
        regions = [region for region in self._regions if region not in failed]
        # The waiting has taken time, and the events of that time are wanted.
        yield from self._calls(regions, asked, chosen, principals, failed)
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
                self._say("Event history: no login to the role was found; looking through all events instead")
                return _WHOLE, gaps
            names += sorted(found, reverse=True)
            self._say(f"Event history: session names of the role: {len(found):,}; each is looked up")
        return tuple(Lookup("Username", name) for name in names), gaps

    def _sessions(
        self, window: Window, principals: Principals, arns: list[str], failed: set[str]
    ) -> tuple[set[str], list[Gap]]:
        """Names of the sessions whose login was seen; a login is an event of the region whose STS was called."""
        # AssumeRole happens all the time in most accounts, so that is asked for by the role that it is about.
        asked = (*(Lookup("EventName", name) for name in _LOGINS), *(Lookup("ResourceName", arn) for arn in arns))
        found: set[str] = set()
        gaps: list[Gap] = []
        before = Window(window.start - _LONGEST_SESSION if window.start else None, window.end)
        for item in lookups(self._aws, self._login_regions, asked, before, self._pace):
            if isinstance(item, Page):
                self.statistics.requests += 1
                found.update(name for record in _records(item) if (name := _login(record, principals)))
            elif isinstance(item, Broken):
                if item.region not in self._regions and item.trouble is AwsTrouble.INVALID:
                    # The account has not enabled that region: there nobody logs in.
                    continue
                failed.add(item.region)
                # A login that was not seen hides what its session did, wherever that was.
                gaps.append(Gap(GapKind.SOURCE_FAILED, Scope(), item.reason))
        return found, gaps

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
        for item in lookups(self._aws, regions, asked, window, self._pace, most):
            if isinstance(item, Broken):
                failed.add(item.region)
                yield Gap(GapKind.SOURCE_FAILED, Scope(regions=(item.region,)), item.reason)
            elif isinstance(item, Finished):
                self._say(f"Event history of {item.region}: read")
            else:
                self.statistics.requests += 1
                yield from self._page(item, window, principals, seen)

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


def _login(record: object, principals: Principals) -> str:
    """The session's name where a record is a successful login to one of the roles; else empty."""
    if not isinstance(record, Mapping) or record.get("errorCode"):
        return ""
    asked, given = record.get("requestParameters"), record.get("responseElements")
    if not str(record.get("eventName") or "").startswith("AssumeRole") or not isinstance(asked, Mapping):
        return ""
    if not principals.wants(str(asked.get("roleArn") or "")):
        return ""
    user = given.get("assumedRoleUser") if isinstance(given, Mapping) else None
    arn = str(user.get("arn") or "") if isinstance(user, Mapping) else ""
    return session_of(arn) or str(asked.get("roleSessionName") or "")
