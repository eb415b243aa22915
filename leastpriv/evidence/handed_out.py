"""Whose keys a role's calls were signed with: those that another principal's `AssumeRole` got, or others.

The answer to AssumeRole tells the id of the key that it hands out (`credentials.accessKeyId`), and each call tells that
of the key that signed it (CloudTrail record contents, `userIdentity.accessKeyId`, read 2026-11-26). A record may come
before the one of its login, so both are kept until all are in; memory is bounded, since every session has its own key.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from leastpriv.evidence.cloudtrail.identity import access_key_in
from leastpriv.evidence.runs import is_run_by_itself
from leastpriv.model import Call, Outcome, Run

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
