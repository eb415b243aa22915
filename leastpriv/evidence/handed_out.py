"""Whose keys a role's calls were signed with: those that another principal's `AssumeRole` got, or others.

The answer to AssumeRole tells the id of the key that it hands out (`credentials.accessKeyId`), and each call tells that
of the key that signed it (CloudTrail record contents, `userIdentity.accessKeyId`, read 2026-11-26). A record may come
before the one of its login, so both are kept until all are in; memory is bounded, since every session has its own key.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from leastpriv.evidence.cloudtrail.identity import access_key_in
from leastpriv.evidence.runs import is_run_by_itself
from leastpriv.model import Call, Outcome, Run

_MOST_KEYS = 50_000
"""Of one scan; calls with further keys are not counted, and then no run is known by its keys."""
_LOGIN = "AssumeRole"
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
        self._signed: dict[tuple[str, str, str], _Signed] = {}
        self._logins: dict[str, _Login] = {}
        self._is_whole = True

    def note(self, call: Call) -> None:
        """Counts one call by its key, and keeps the key that it handed out."""
        place = (call.principal, call.session, call.access_key)
        signed = self._signed.get(place)
        if signed is None and len(self._signed) < _MOST_KEYS:
            signed = self._signed[place] = _Signed(call.time, call.time)
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

    def callers(self) -> Mapping[str, Mapping[str, int]]:
        """Principal -> (who handed out the keys, empty where nobody did that was read) -> number of calls."""
        found: dict[str, dict[str, int]] = {}
        for (principal, _, key), signed in self._signed.items():
            if key:
                login = self._logins.get(key)
                counts, issuer = found.setdefault(principal, {}), login.principal if login else ""
                counts[issuer] = counts.get(issuer, 0) + signed.count
        return found

    def with_logins(self, principal: str, runs: Iterable[Run]) -> tuple[Run, ...]:
        """The runs of a principal, those of chained sessions with the run whose logins handed out all of their keys."""
        spans: dict[str, list[tuple[_Signed, str]]] = {}
        for (who, session, key), signed in self._signed.items():
            if who == principal and not is_run_by_itself(session):
                spans.setdefault(session, []).append((signed, self._run_behind(key)))
        return tuple(self._known(run, spans.get(run.session, ())) for run in runs)

    def _known(self, run: Run, spans: Iterable[tuple[_Signed, str]]) -> Run:
        behind = {name for signed, name in spans if signed.first <= run.last and run.first <= signed.last}
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
