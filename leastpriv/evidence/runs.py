"""Assigns calls to runs in any order, and links access keys to the AssumeRole call that issued
them.

A session named by a number of eight or more digits (GitHub's run id, where the workflow sets it as
the role session name) or `AWSCodeBuild-<uuid>` is one run, whichever roles it used. All other calls
are split where one principal made no call under one session name for more than 60 minutes. A user
has neither session names nor temporary keys, so all of its calls are split. Calls that go on for
more than a day are no deployment: each of their days (UTC) is a run. So are the days of a workload
(`workloads.tsv`), over all of its sessions.

The response of AssumeRole contains the id of the key that it issues (`credentials.accessKeyId`),
and each record contains the id of the key that signed the call (CloudTrail record contents,
`userIdentity.accessKeyId`, read 2026-11-26). A record may arrive before the record of its
AssumeRole call, so both are kept until the end; memory is limited, since every session has its own
key. GetScopedCredentials issues a narrower key of the same session; its description
(`scopedSessionDescription`) says what the key is for.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import chain, count, groupby, repeat
from operator import attrgetter
from typing import Any, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.aws.session_names import is_rehearsal, is_run_id
from leastpriv.cloudtrail.caller import access_key_in, is_workload
from leastpriv.cloudtrail.record import object_of
from leastpriv.models import AwareTime, Call, Outcome, Run, WebIdentity

RUN_SEPARATION = timedelta(minutes=60)
"""A longer pause ends a run."""
_LONGEST_RUN = timedelta(hours=24)
"""Calls of one session that go on for longer are no deployment."""

RunToken = int
_ALLOWED = Outcome.ALLOWED
_DENIED = Outcome.DENIED


class _Span(Struct, array_like=True, gc=False):
    """Calls of one session with one access key, as far as read."""

    token: RunToken
    first: AwareTime
    last: AwareTime
    count: int = 0
    denied: int = 0
    direct: bool = False
    """At least one call came from the holder of the key, not through a service."""


KeyUse = tuple[str, Mapping[str, list[_Span]]]
"""Session name, and access key -> its calls in order of time."""
_Place = tuple[str, str]
"""Principal (empty where the session name is a run id) and session name."""
_MOST_KEYS = 50_000
"""Most keys of one scan: those with the smallest ids, in whatever order the calls come."""
FURTHER_KEYS = "further keys"
"""The one unknown key of the calls of further keys."""
IdentityOf = Callable[[str], WebIdentity | None]
"""Access key -> the identity for which STS issued it; None where unknown."""
LoggedIn = Mapping[str, frozenset[WebIdentity]]
"""Session name -> all identities that logged in under it."""


class StoredKeys:
    """Decides which access keys are stored, of all principals of a scan together."""

    def __init__(self) -> None:
        """Stores every key so far."""
        self.limit: str | None = None
        """Keys from this one on are not stored; None: all are."""
        self._count = 0
        self._trackers: list[RunTracker] = []

    def add(self, tracker: RunTracker) -> None:
        """Adds the tracker of one principal."""
        self._trackers.append(tracker)

    def admit(self, key: str) -> bool:
        """Whether to store one more session and key."""
        # Twice the limit: a sort for each key past it would take long.
        if self._count >= 2 * _MOST_KEYS and self.keeps(key):
            self._drop_largest()
        if not self.keeps(key):
            return False
        self._count += 1
        return True

    def keeps(self, key: str) -> bool:
        """Whether a key may be stored."""
        return self.limit is None or key < self.limit

    def lower(self, limit: str) -> None:
        """Stores no key from a limit on."""
        if self.keeps(limit):
            self.limit = limit
            for tracker in self._trackers:
                tracker.drop_keys(limit)

    def settle(self) -> None:
        """Drops the keys that are too many, and the trackers, when all calls are noted."""
        self._drop_largest()
        self._trackers.clear()

    def _drop_largest(self) -> None:
        if self._count <= _MOST_KEYS:
            return
        stored = sorted([key for tracker in self._trackers for key in tracker.stored_keys()])
        if len(stored) > _MOST_KEYS:
            self.lower(stored[_MOST_KEYS])
        self._count = sum(map(self.keeps, stored))


class KeysOfSession(Struct, array_like=True):
    """The calls under one session name, by access key."""

    principal: str
    """Empty where the session name is a run id."""
    session: str
    spans: dict[str, list[_Span]]


class TrackedRuns(Struct, array_like=True):
    """What a tracker noted, for another one to add."""

    sessions: list[KeysOfSession]
    tokens: list[RunToken]
    """Token -> the first one of its run."""


class RunTracker:
    """Assigns a token to each call at once, and a run to each token when all calls are read.

    Memory grows with runs and keys, not with calls: a new token is created only for a call that is
    more than 60 minutes from all others of its session and key.
    """

    def __init__(self, stored: StoredKeys | None = None) -> None:
        """`stored`: which keys are stored; others count as one unknown key."""
        self._stored = stored or StoredKeys()
        self._stored.add(self)
        self._keys: dict[_Place, dict[str, list[_Span]]] = {}
        self._merged: list[RunToken] = []

    def note(self, call: Call, principal: str = "") -> RunToken:
        """Returns the token of the call's run; tokens of one run may differ until `resolve` joins
        them.

        `principal`: the ARN under which the call counts, where the record names the role without
        its path.
        """
        session = call.session
        key = call.access_key
        session_key = ("" if is_run_id(session) else principal or call.principal, session)
        keys = self._keys.get(session_key)
        if keys is None:
            keys = self._keys[session_key] = {}
        spans = keys.get(key)
        if spans is None:
            spans = self._spans_of(keys, key)
        time = call.time
        span = (
            spans[-1]
            if spans and spans[-1].first <= time <= spans[-1].last
            else self._span(spans, time)
        )
        span.count += 1
        if call.outcome is _DENIED:
            span.denied += 1
        if key and not call.invoked_by:
            span.direct = True
        return span.token

    def _spans_of(self, keys: dict[str, list[_Span]], key: str) -> list[_Span]:
        """Returns the calls of a key, or those of all keys that are not stored."""
        # A call without a key is always known to have none.
        is_stored = not key or (key != FURTHER_KEYS and self._stored.admit(key))
        return keys.setdefault(key if is_stored else FURTHER_KEYS, [])

    def stored_keys(self) -> Iterator[str]:
        """Yields the stored keys of all sessions."""
        for keys in self._keys.values():
            yield from [key for key in keys if key and key != FURTHER_KEYS]

    def drop_keys(self, limit: str) -> None:
        """Counts the keys from a limit on as one unknown key."""
        for keys in self._keys.values():
            dropped = [key for key in keys if key >= limit and key != FURTHER_KEYS]
            if dropped:
                spans = [span for key in dropped for span in keys.pop(key)]
                self._join(keys.setdefault(FURTHER_KEYS, []), spans)

    def noted(self) -> TrackedRuns:
        """Returns what was noted."""
        sessions = [KeysOfSession(*session_key, spans) for session_key, spans in self._keys.items()]
        return TrackedRuns(sessions, list(map(self._root, range(len(self._merged)))))

    def absorb(self, other: TrackedRuns) -> RunToken:
        """Adds what another tracker of the principal noted; returns the difference between its
        tokens and the new ones.
        """
        shift = len(self._merged)
        self._merged += [token + shift for token in other.tokens]
        for session in other.sessions:
            keys = self._keys.setdefault((session.principal, session.session), {})
            for key, spans in session.spans.items():
                for span in spans:
                    span.token += shift
                earlier_spans = keys.get(key)
                if earlier_spans is None:
                    earlier_spans = self._spans_of(keys, key)
                self._join(earlier_spans, spans)
        return shift

    def _join(self, spans: list[_Span], others: Iterable[_Span]) -> None:
        """Adds further calls of a session and key; `spans` are in order of time."""
        for other in others:
            position = bisect_right(spans, other.first, key=_FIRST)
            if position and _are_joined(spans[position - 1].last, other.first):
                position -= 1
                self._extend(spans[position], other)
            else:
                spans.insert(position, other)
            span = spans[position]
            following = position + 1
            while following < len(spans) and _are_joined(span.last, spans[following].first):
                self._extend(span, spans.pop(following))

    def key_uses(self) -> Iterator[KeyUse]:
        """Yields each session name and the stored keys with their calls."""
        for (_, session), keys in self._keys.items():
            yield (
                session,
                {key: keys[key] for key in keys if key != FURTHER_KEYS}
                if FURTHER_KEYS in keys
                else keys,
            )

    def resolve(
        self, identity_of: IdentityOf = lambda _: None, logged_in: LoggedIn | None = None
    ) -> Sequence[Run]:
        """Returns the run of every token; tokens of one run have the same object.

        Calls under one session name are different runs where STS issued their keys for different
        identities: the caller chooses the name, STS checks the identity. Ids are distinct, and do
        not depend on the order of the calls.
        """
        runs = {
            span.token: run
            for spans, run in self._runs(identity_of, logged_in or {})
            for span in spans
        }
        return [
            runs[token if parent == token else self._root(token)]
            for token, parent in enumerate(self._merged)
        ]

    def _span(self, spans: list[_Span], time: datetime) -> _Span:
        """Returns the span of a call; none crosses midnight (UTC), so that runs can be split by
        days.
        """
        position = bisect_right(spans, time, key=_FIRST) if spans else 0
        if position and _are_joined(spans[position - 1].last, time):
            span = spans[position - 1]
            span.last = max(span.last, time)
        elif position < len(spans) and _are_joined(time, spans[position].first):
            span = spans[position]
            span.first = time
            position += 1
        else:
            span = _Span(len(self._merged), time, time)
            self._merged.append(span.token)
            spans.insert(position, span)
            return span
        if position < len(spans) and _are_joined(span.last, spans[position].first):
            self._extend(span, spans.pop(position))
        return span

    def _extend(self, span: _Span, later: _Span) -> None:
        """Adds a span that begins later, and joins the runs of both."""
        self._merged[self._root(later.token)] = self._root(span.token)
        span.last = max(span.last, later.last)
        span.count += later.count
        span.denied += later.denied
        span.direct = span.direct or later.direct

    def _root(self, token: RunToken) -> RunToken:
        while self._merged[token] != token:
            self._merged[token] = token = self._merged[self._merged[token]]
        return token

    def _runs(self, identity_of: IdentityOf, logged_in: LoggedIn) -> Iterator[_RunSpans]:
        names_given: set[str] = set()
        days: dict[_WorkloadDay, list[_IssuedSpan]] = {}
        for (principal, session), keys in sorted(self._keys.items(), key=lambda entry: entry[0]):
            separation = RUN_SEPARATION if principal else timedelta.max
            issued: list[_IssuedSpan] = []
            for key, spans in keys.items():
                identity = identity_of(key)
                if principal and identity and is_workload(identity.provider):
                    for span in spans:
                        day = _WorkloadDay(principal, span.first.date())
                        days.setdefault(day, []).append((span, identity))
                else:
                    issued.extend(zip(spans, repeat(identity)))
            identities = logged_in.get(session, frozenset())
            for part in _by_identity(issued, separation, identities):
                for spans in _by_day(part.spans) if principal else [part.spans]:
                    stem = session
                    if principal:
                        stem = f"{session or 'user'}@{spans[0].first:%Y-%m-%dT%H:%MZ}"
                    name = _distinct(stem, names_given)
                    yield _RunSpans(spans, _run(name, session, spans, part.identity))
        for day, day_spans in sorted(days.items()):
            spans = sorted((span for span, _ in day_spans), key=_PERIOD)
            name = _distinct(f"{day.principal.rpartition('/')[2]}@{day.day}", names_given)
            yield _RunSpans(spans, _run(name, "", spans, day_spans[0][1]))


class _RunSpans(NamedTuple):
    """A run and its spans."""

    spans: list[_Span]
    run: Run


class _WorkloadDay(NamedTuple):
    """A day of a workload, whose calls are one run."""

    principal: str
    day: date


def _are_joined(earlier: datetime, later: datetime) -> bool:
    """Whether two calls of one session and key are of one span."""
    return later - earlier <= RUN_SEPARATION and later.date() == earlier.date()


def _by_day(spans: list[_Span]) -> Iterator[list[_Span]]:
    """Yields the spans of each run: all of them, or those of each day where they go on for longer
    than a deployment.
    """
    if max(map(_LAST, spans)) - spans[0].first <= _LONGEST_RUN:
        yield spans
    else:
        yield from (list(part) for _, part in groupby(spans, key=lambda span: span.first.date()))


def _run(name: str, session: str, spans: list[_Span], identity: WebIdentity | None) -> Run:
    denied = sum([span.denied for span in spans])
    periods = tuple([(part[0].first, max(map(_LAST, part))) for part in _parts(spans)])
    return Run(
        name, session, spans[0].first, periods[-1][1], denied, identity=identity, periods=periods
    )


_IssuedSpan = tuple[_Span, WebIdentity | None]


class _IdentitySpans(NamedTuple):
    """Spans of a run and the identity behind them."""

    spans: list[_Span]
    identity: WebIdentity | None


def _by_identity(
    issued: Sequence[_IssuedSpan], separation: timedelta, logged_in: frozenset[WebIdentity]
) -> Iterator[_IdentitySpans]:
    """Yields the spans of each run, oldest first, and the identity behind them.

    Calls that a service forwards with a key of another id belong to the one identity that called at
    that time, if no other one (`logged_in`) has the session name.
    """
    spans_of_all = [span for span, _ in issued]
    if not any([identity for _, identity in issued]):  # noqa: C419 - it is faster
        for part in _parts(spans_of_all, separation):
            yield _IdentitySpans(part, None)
        return
    identities = {id(span): identity for span, identity in issued}
    for cluster in _parts(spans_of_all, separation):
        direct = {*logged_in, *(identities[id(span)] for span in cluster if span.direct)}
        groups: dict[WebIdentity | None, list[_Span]] = {}
        for span in cluster:
            identity = next(iter(direct)) if len(direct) == 1 else identities[id(span)]
            groups.setdefault(identity, []).append(span)
        # The run that STS vouches for keeps the plain name.
        for identity, spans in sorted(groups.items(), key=_order_of_identity):
            for part in _parts(spans, separation):
                yield _IdentitySpans(part, identity)


def _order_of_identity(group: tuple[WebIdentity | None, list[_Span]]) -> tuple[object, ...]:
    identity, spans = group
    if identity is None:
        return (True, spans[0].first)
    return (False, spans[0].first, identity)


_FIRST = attrgetter("first")
_LAST = attrgetter("last")
_PERIOD = attrgetter("first", "last")


def _parts(spans: Iterable[_Span], separation: timedelta = RUN_SEPARATION) -> Iterator[list[_Span]]:
    """Splits spans where none of them lasts for longer than the separation."""
    part: list[_Span] = []
    last = datetime.max.replace(tzinfo=UTC)
    ordered = list(spans)
    if len(ordered) > 1:
        ordered.sort(key=_PERIOD)
    for span in ordered:
        if part and span.first - last > separation:
            yield part
            part = []
        last = span.last if not part or span.last > last else last
        part.append(span)
    if part:
        yield part


def _distinct(stem: str, given: set[str]) -> str:
    """Returns a new name: of two users whose runs begin in the same minute the second, by ARN, is
    `user@…#2`.
    """
    names = chain([stem], (f"{stem}#{number}" for number in count(2)))
    name = next(new_name for new_name in names if new_name not in given)
    given.add(name)
    return name


_ASSUME_ROLE, _SCOPE = _ISSUING = ("AssumeRole", "GetScopedCredentials")
_LONGEST_SESSION = timedelta(hours=12)
"""Longest session of a role (AssumeRole in the AWS STS API reference, read 2026-11-24)."""
_MOST_STEPS = 5
"""Most AssumeRole calls from a key back to the run: each is one more role."""


class _KeyIssue(NamedTuple):
    """The session that issued a key."""

    principal: str
    session: str
    key: str
    """The key that signed the AssumeRole call."""


class _ScopedKey(NamedTuple):
    """A narrower key of the same session."""

    key: str
    """The key that asked for it."""
    description: str
    """The session's description."""


class _KeyLogin(NamedTuple):
    """The login for which STS issued a key."""

    identity: WebIdentity
    session: str


class _KeyPeriod(NamedTuple):
    """The time of the calls with a key."""

    first: datetime
    last: datetime
    parent_run: str
    """The run that issued the key; empty where unknown."""


class KeyIssues(Struct, array_like=True):
    """What calls to AWS STS say of the keys that they issued, by key."""

    logins: dict[str, _KeyIssue] = {}
    identities: dict[str, _KeyLogin] = {}
    scoped: dict[str, _ScopedKey] = {}

    def drop_largest(self, most: int) -> bool:
        """Drops all but the `_MOST_KEYS` smallest keys where there are more than `most`; whether
        there are.
        """
        has_more = False
        by_key: dict[str, Any]
        for by_key in (self.logins, self.identities, self.scoped):
            if len(by_key) > most:
                has_more = True
                for key in sorted(by_key)[_MOST_KEYS:]:
                    del by_key[key]
        return has_more


class IssuedKeys:
    """Collects calls, and finds the principals that issued the access keys of these calls."""

    def __init__(self) -> None:
        self.stored = StoredKeys()
        self.issues = KeyIssues()
        self._logged_in: LoggedIn | None = None

    def absorb(self, other: KeyIssues) -> None:
        """Adds the issues of keys that were noted elsewhere."""
        self.issues.logins.update(other.logins)
        self.issues.identities.update(other.identities)
        self.issues.scoped.update(other.scoped)
        self.issues.drop_largest(2 * _MOST_KEYS)
        self._logged_in = None

    def settle(self) -> None:
        """Drops the keys that are too many, when all calls are noted."""
        self.stored.settle()
        if self.issues.drop_largest(_MOST_KEYS):
            self._logged_in = None

    @property
    def logged_in(self) -> LoggedIn:
        """Session name -> all identities that logged in under it."""
        # Each principal asks, when all calls are noted.
        if self._logged_in is None:
            identities: dict[str, set[WebIdentity]] = {}
            for login in self.issues.identities.values():
                identities.setdefault(login.session, set()).add(login.identity)
            self._logged_in = {
                session: frozenset(session_identities)
                for session, session_identities in identities.items()
            }
        return self._logged_in

    def note(self, call: Call, principal: str) -> None:
        """Stores the key that a call to AWS STS issued; `principal`: the ARN under which the call
        counts.
        """
        if call.name not in _ISSUING or call.outcome is not _ALLOWED:
            return
        key = access_key_in(object_of(call.response.get("credentials")))
        if key and call.name == _SCOPE:
            description = str(call.parameters.get("scopedSessionDescription") or "")
            self.issues.scoped[key] = _ScopedKey(call.access_key, description)
        elif key:
            self.issues.logins[key] = _KeyIssue(principal, call.session, call.access_key)
        self.issues.drop_largest(2 * _MOST_KEYS)

    def note_login(self, call: Call) -> None:
        """Stores the identity for which STS issued a key (`record.login_of`)."""
        key = access_key_in(object_of(call.response.get("credentials")))
        if not key:
            return
        subject = call.response.get("subject")
        provider = call.response.get("provider")
        identity = WebIdentity(str(provider or ""), str(subject or ""))
        self.issues.identities[key] = _KeyLogin(identity, call.session)
        self._logged_in = None
        self.issues.drop_largest(2 * _MOST_KEYS)

    def identity_of(self, key: str) -> WebIdentity | None:
        """Returns the identity behind a key, also through AssumeRole calls; None where the evidence
        lacks a record.
        """
        identities = self.issues.identities
        logins = self.issues.logins
        if key not in identities and key not in logins and key not in self.issues.scoped:
            return None
        key = self._unscoped(key)
        for _ in range(_MOST_STEPS):
            if key in identities or key not in logins:
                break
            key = self._unscoped(logins[key].key)
        login = identities.get(key)
        return login.identity if login else None

    def is_rehearsal_key(self, key: str) -> bool:
        """Whether a key is narrowed by a policy whose description says that it is the proposal."""
        if not self.stored.keeps(key):
            return False
        for _ in range(_MOST_STEPS):
            if key not in self.issues.scoped:
                return False
            key, description = self.issues.scoped[key]
            if is_rehearsal(description):
                return True
        return False

    def _unscoped(self, key: str) -> str:
        """Returns the key of the session from which a key was narrowed."""
        scoped = self.issues.scoped
        for _ in range(_MOST_STEPS):
            if key not in scoped:
                break
            key = scoped[key].key
        return key

    def key_issuers(self, uses: Iterable[KeyUse]) -> Mapping[str, int]:
        """Principal that issued keys of a principal's calls (empty: unknown) -> number of calls."""
        issuers: dict[str, int] = {}
        for key, spans in ((key, spans) for _, keys in uses for key, spans in keys.items() if key):
            login = self.issues.logins.get(self._unscoped(key))
            issuer = login.principal if login else ""
            issuers[issuer] = issuers.get(issuer, 0) + sum([span.count for span in spans])
        return issuers

    def with_parent_runs(self, uses: Iterable[KeyUse], runs: Iterable[Run]) -> tuple[Run, ...]:
        """Returns the runs of a principal; those of chained sessions get the run that issued all of
        their keys.
        """
        behind: dict[str, list[_KeyPeriod]] = {}
        for session, keys in uses:
            # A user's key, which no AssumeRole call issues, has no session.
            if (
                session
                and not is_run_id(session)
                and any(map(self.issues.logins.__contains__, map(self._unscoped, keys)))
            ):
                behind[session] = sorted(
                    _KeyPeriod(spans[0].first, max(map(_LAST, spans)), self._run_behind(key))
                    for key, spans in keys.items()
                )
        return tuple(self._known(run, behind.get(run.session, ())) for run in runs)

    def _known(self, run: Run, periods: Sequence[_KeyPeriod]) -> Run:
        """Returns a run with the one run that issued its keys; `periods`: those of its keys,
        sorted.
        """
        begin = bisect_left(periods, run.first - _LONGEST_SESSION, key=_FIRST)
        end = bisect_right(periods, run.last, key=_FIRST)
        behind = {period.parent_run for period in periods[begin:end] if period.last >= run.first}
        # A key of unknown issuer may belong to any run.
        if len(behind) == 1 and self.stored.limit is None:
            return replace(run, parent_run=behind.pop())
        return run

    def _run_behind(self, key: str) -> str:
        """Session name of the run whose AssumeRole calls led to a key; empty where unknown."""
        for _ in range(_MOST_STEPS):
            login = self.issues.logins.get(self._unscoped(key))
            if login is None:
                return ""
            if is_run_id(login.session):
                return login.session
            key = login.key
        return ""
