"""Which run a call belongs to, while calls stream by in any order.

A run is one deploy. A session named by a number of eight or more digits (GitHub's run id, where the workflow
sets it as the role session name) or `AWSCodeBuild-<uuid>` is a run by itself, whichever roles it used. All
else is cut where one principal was silent under one session name for more than 60 minutes; a user has no
session name and one key for ever, so all of its calls are cut.

Whose keys a role's calls were signed with: those that another principal's `AssumeRole` got, or others.

The answer to AssumeRole tells the id of the key that it hands out (`credentials.accessKeyId`), and each call tells that
of the key that signed it (CloudTrail record contents, `userIdentity.accessKeyId`, read 2026-11-26). A record may come
before the one of its login, so both are kept until all are in; memory is bounded, since every session has its own key.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import lru_cache

from leastpriv.evidence.cloudtrail.record import access_key_in
from leastpriv.models import Call, Outcome, Run

SILENCE = timedelta(minutes=60)
"""A longer one ends a run."""

# This project's own definition of a run: GitHub's run ids are such numbers where a workflow makes them its
# role session name; the other is the session name of a CodeBuild build.
_NAMED = re.compile(
    r"leastpriv-rehearsal-\d{1,19}|\d{8,12}|AWSCodeBuild-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
    re.ASCII,
)

_WORKFLOW_RUN = re.compile(
    r"(?:(?P<rehearsal>leastpriv-rehearsal-)(?=\d{1,19}\Z)|(?=\d{8,12}\Z))(?P<run>\d+)", re.ASCII
)
"""docs/rehearsal.md: under such a session name a deploy runs with the proposal as its session policy. There the prefix
tells, and not the length: a GitHub Enterprise Server counts its runs from 1."""

RunToken = int


@dataclass(slots=True)
class _Span:
    """Calls that belong together, as far as seen."""

    token: RunToken
    first: datetime
    last: datetime
    denied: int = 0


@dataclass(slots=True)
class _Key:
    """The spans of one principal and session name, oldest first, each more than `SILENCE` apart."""

    session: str
    spans: list[_Span] = field(default_factory=list)


class RunTracker:
    """Gives each call a token at once, and the run of each token when all calls are in.

    Memory grows with runs, not with calls: a token is made only where a call lies more than 60 minutes from
    all others of its key.
    """

    def __init__(self) -> None:
        self._keys: dict[tuple[str, str], _Key] = {}
        self._merged: list[RunToken] = []

    def note(self, call: Call) -> RunToken:
        """Give the token of the call's run; tokens of one run may differ until `resolve` joins them."""
        named = is_run_by_itself(call.session)
        place = ("", call.session) if named else (call.principal, call.session)
        key = self._keys.get(place)
        if key is None:
            key = self._keys[place] = _Key(call.session)
        span = self._span(key.spans, call.time, timedelta.max if named else SILENCE)
        span.denied += call.outcome is Outcome.DENIED
        return span.token

    def resolve(self) -> Mapping[RunToken, Run]:
        """Give the run of every token given so far; tokens of one run give the same object.

        Ids are distinct, and the same for the same calls in whatever order they came.
        """
        runs = {span.token: run for span, run in self._runs()}
        return {token: runs[self._root(token)] for token in range(len(self._merged))}

    def _span(self, spans: list[_Span], time: datetime, silence: timedelta) -> _Span:
        if spans and spans[-1].first <= time <= spans[-1].last:
            return spans[-1]
        at = bisect_right(spans, time, key=lambda span: span.first)
        if at and time - spans[at - 1].last <= silence:
            span = spans[at - 1]
            span.last = max(span.last, time)
        elif at < len(spans) and spans[at].first - time <= silence:
            span = spans[at]
            span.first = time
            at += 1
        else:
            span = _Span(len(self._merged), time, time)
            self._merged.append(span.token)
            spans.insert(at, span)
            return span
        if at < len(spans) and spans[at].first - span.last <= silence:
            self._join(span, spans.pop(at))
        return span

    def _join(self, span: _Span, later: _Span) -> None:
        self._merged[later.token] = span.token
        span.last = max(span.last, later.last)
        span.denied += later.denied

    def _root(self, token: RunToken) -> RunToken:
        while self._merged[token] != token:
            self._merged[token] = token = self._merged[self._merged[token]]
        return token

    def _runs(self) -> Iterator[tuple[_Span, Run]]:
        given: set[str] = set()
        for (principal, session), key in sorted(self._keys.items(), key=lambda entry: entry[0]):
            for span in key.spans:
                stem = f"{session or 'user'}@{span.first:%Y-%m-%dT%H:%MZ}" if principal else session
                name = _distinct(stem, given)
                given.add(name)
                yield span, Run(name, session, span.first, span.last, span.denied)


def workflow_run_of(session: str) -> str:
    """The id of the workflow run that a session's name gives; empty where it gives none."""
    named = _WORKFLOW_RUN.fullmatch(session)
    return named["run"] if named else ""


def is_rehearsal(session: str) -> bool:
    """Whether a session's name says that the proposal was its session policy."""
    named = _WORKFLOW_RUN.fullmatch(session)
    return named is not None and named["rehearsal"] is not None


@lru_cache(maxsize=4_096)
def is_run_by_itself(session: str) -> bool:
    """Whether the session's name is the id of a run."""
    return _NAMED.fullmatch(session) is not None


def _distinct(stem: str, given: set[str]) -> str:
    """Two users who began in the same minute: the second, by ARN, is `user@…#2`."""
    number = 2
    name = stem
    while name in given:
        name, number = f"{stem}#{number}", number + 1
    return name


_MOST_KEYS = 50_000
"""Of one scan; calls with further keys are not counted, and then no run is known by its keys."""
_LOGIN = "AssumeRole"
_LONGEST_SESSION = timedelta(hours=12)
"""Of a role (AssumeRole in the AWS STS API reference, read 2026-11-24)."""
_MOST_STEPS = 5
"""From a key to the login of the run: each is one more role."""


@dataclass(slots=True)
class _Signed:
    """The calls of one principal under one session name and key."""

    first: datetime
    last: datetime
    count: int = 0


@dataclass(frozen=True, slots=True)
class _Login:
    """Who handed out a key."""

    principal: str
    session: str
    key: str
    """That signed the login itself."""


class HandedOutKeys:
    """Takes in calls as they stream by; tells at the end who had handed out what they were signed with."""

    def __init__(self) -> None:
        self._signed: dict[str, dict[tuple[str, str], _Signed]] = {}
        self._places = 0
        self._logins: dict[str, _Login] = {}
        self._is_whole = True

    def note(self, call: Call) -> None:
        """Counts one call by its key, and keeps the key that it handed out."""
        own, place = self._signed.setdefault(call.principal, {}), (call.session, call.access_key)
        signed = own.get(place)
        if signed is None and self._places < _MOST_KEYS:
            self._places += 1
            signed = own[place] = _Signed(call.time, call.time)
        if signed is None:
            self._is_whole = False
        else:
            signed.count += 1
            signed.first, signed.last = min(signed.first, call.time), max(signed.last, call.time)
        if call.name == _LOGIN and call.source == "sts.amazonaws.com" and call.outcome is Outcome.ALLOWED:
            credentials = call.response.get("credentials")
            key = access_key_in(credentials) if isinstance(credentials, Mapping) else ""
            if key and len(self._logins) < _MOST_KEYS:
                self._logins[key] = _Login(call.principal, call.session, call.access_key)

    def callers(self, principal: str) -> Mapping[str, int]:
        """Who handed out the keys of a principal's calls, empty where nobody did that was read -> number of calls."""
        found: dict[str, int] = {}
        for (_, key), signed in self._signed.get(principal, {}).items():
            if key:
                login = self._logins.get(key)
                issuer = login.principal if login else ""
                found[issuer] = found.get(issuer, 0) + signed.count
        return found

    def with_logins(self, principal: str, runs: Iterable[Run]) -> tuple[Run, ...]:
        """The runs of a principal, those of chained sessions with the run whose logins handed out all of their keys."""
        spans: dict[str, list[tuple[datetime, datetime, str]]] = {}
        for (session, key), signed in self._signed.get(principal, {}).items():
            # A user's key, which no login hands out, has no session.
            if session and not is_run_by_itself(session):
                spans.setdefault(session, []).append((signed.first, signed.last, self._run_behind(key)))
        ordered = {session: sorted(found) for session, found in spans.items()}
        return tuple(self._known(run, ordered.get(run.session, ())) for run in runs)

    def _known(self, run: Run, spans: Sequence[tuple[datetime, datetime, str]]) -> Run:
        """`spans`: first and last call of each key and the run behind it, by the first call."""
        begin = bisect_left(spans, run.first - _LONGEST_SESSION, key=lambda span: span[0])
        end = bisect_right(spans, run.last, key=lambda span: span[0])
        behind = {name for _, last, name in spans[begin:end] if last >= run.first}
        # One key that nobody is known to have handed out may be anybody's.
        return replace(run, taken_by=behind.pop()) if len(behind) == 1 and self._is_whole else run

    def _run_behind(self, key: str) -> str:
        """Session name of the run that a key goes back to; empty where that is not known."""
        for _ in range(_MOST_STEPS):
            login = self._logins.get(key)
            if login is None:
                return ""
            if is_run_by_itself(login.session):
                return login.session
            key = login.key
        return ""
