"""Settings -> what AWS itself says of the principal's use, where the run can ask it; nothing here is needed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from leastpriv.errors import LeastprivError
from leastpriv.evidence.hints.found import Hints, Unasked
from leastpriv.evidence.hints.read import read_hints
from leastpriv.evidence.hints.waiting import Waiting
from leastpriv.evidence.usage import Evidence
from leastpriv.settings import Settings
from leastpriv.sources import Reach

Say = Callable[[str], None]


def with_hints(settings: Settings, reach: Reach | None, evidence: Evidence, say: Say) -> Evidence:
    """The evidence with AWS's own word, where the settings ask for it and there are credentials.

    Whatever fails is told in the hints, and ends nothing; an interruption does.
    """
    wanted = bool(settings.access_analyzer) or (settings.last_accessed and reach is not None and reach.has_credentials)
    if reach is None or not wanted:
        return evidence
    try:
        aws = reach.aws()
        account = aws.account()
    except LeastprivError as error:
        return _without(evidence, str(error), say)
    if account != settings.principal.account:
        return _without(evidence, f"the AWS credentials are those of account {account}, not of the role's.", say)
    found = read_hints(
        aws,
        settings.principal,
        Waiting(_passing(reach.now), time.sleep, say),
        access=settings.last_accessed,
        generation=settings.access_analyzer,
        start=evidence.first,
    )
    return replace(evidence, hints=replace(found, declared=evidence.hints.declared))


def _without(evidence: Evidence, why: str, say: Say) -> Evidence:
    say(f"AWS's own word on the role's use is left out: {why}")
    return replace(evidence, hints=Hints(unasked=(Unasked("all sources", why),), declared=evidence.hints.declared))


def _passing(now: datetime) -> Callable[[], datetime]:
    """A clock that goes on from `now`."""
    began = time.monotonic()
    return lambda: now + timedelta(seconds=time.monotonic() - began)
