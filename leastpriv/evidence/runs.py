"""Which run a call belongs to, while calls stream by in any order.

A run is one deploy. A session named by a number of eight or more digits (GitHub's run id, where the workflow
sets it as the role session name) or `AWSCodeBuild-<uuid>` is a run by itself, whichever roles it used. All
else is cut where one principal was silent under one session name for more than 60 minutes; a user has no
session name and one key for ever, so all of its calls are cut.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache

from leastpriv.model import Call, Outcome, Run

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
