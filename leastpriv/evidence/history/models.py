"""The memory of one role or user as frozen dataclasses, and its merge.

Two runs may remember at once, and a run may be repeated: so the merge is commutative, associative and idempotent, and
nothing in a memory is ever added up. Counts are lower bounds of which the larger one is the better.

What a run's evidence adds to the memory: days, months and resource patterns; no parameter, no address, no person.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import TypeVar

from leastpriv.evidence.aggregate import by_pattern
from leastpriv.evidence.models import Evidence
from leastpriv.evidence.runs import workflow_run_id
from leastpriv.models import Outcome, Run, Usage
from leastpriv.permissions.patterns import action_covers, overlaps, resource_overlaps

REMEMBERED_DAYS = 400
"""Use and refusals after a removal are remembered so long: what runs once a year has slack (docs: memory)."""
MOST_RESOURCES = 20
"""Of one action; from the next one on it is remembered as used on `*`, which vetoes more and never less."""
MOST_DECLINED = 100
"""Declined pull requests, those with the highest numbers."""
ANYTHING = "*"

_K = TypeVar("_K")
_V = TypeVar("_V", "Word", "Decline", "Returned")


@dataclass(frozen=True, slots=True)
class Used:
    """When one permission was used, by days in UTC."""

    first: date
    last: date
    runs: Mapping[str, int] = field(default_factory=dict)
    """Month (`2026-11`) -> at least how many runs used it then."""
    workflow_run: str = ""
    """Id of the workflow run of the last use; empty where its session's name gave none."""

    @property
    def least_runs(self) -> int:
        """At least how many runs used it."""
        return sum(self.runs.values())


@dataclass(frozen=True, slots=True, order=True)
class Word:
    """What a person said of an action pattern, in a comment; the latest word counts."""

    at: datetime
    """When the comment was written (aware, UTC, whole seconds)."""
    comment: int
    """Its id."""
    keep: bool
    """`/leastpriv keep`; false: `/leastpriv forget`, which takes that back and lets earlier use be forgotten."""
    by: str
    """Login."""
    pull: int
    """Number of the pull request under which it stands."""


@dataclass(frozen=True, slots=True, order=True)
class Decline:
    """A pull request that a person closed without merging it."""

    seen: datetime
    """When it was last looked at (aware, UTC, whole seconds)."""
    taken_back: bool
    """It has the label that lets its changes be proposed again."""
    fingerprint: str
    """Of its proposal."""
    changes: tuple[str, ...]
    """Ids of its changes."""


@dataclass(frozen=True, slots=True, order=True)
class Returned:
    """A permission that was removed by a merged pull request and refused afterwards."""

    refused: date
    """The last day on which it was refused."""
    pull: int
    """Number of the pull request that removed it."""


@dataclass(frozen=True, slots=True)
class Memory:
    """All that is remembered of one principal. It may veto a removal; it never justifies an addition."""

    principal: str
    """ARN."""
    used: Mapping[str, Mapping[str, Used]] = field(default_factory=dict)
    """Catalogue action -> resource pattern, as a policy would name it -> use."""
    words: Mapping[str, Word] = field(default_factory=dict)
    """Action pattern as written -> the latest word on it."""
    declined: Mapping[int, Decline] = field(default_factory=dict)
    """Number of the pull request -> what was declined with it."""
    returned: Mapping[tuple[str, str], Returned] = field(default_factory=dict)
    """(action, resource) -> when it was refused after its removal."""

    def last_use(self, action: str, resources: Iterable[str] = (ANYTHING,)) -> tuple[str, Used] | None:
        """The last remembered use of an action that may have been on one of these resource patterns."""
        told = self._forgotten(action)
        found = [
            (used.last, resource)
            for resource, used in self.used.get(action, {}).items()
            if not (told and used.last <= told.at.date())
            and any(resource_overlaps(pattern, resource) for pattern in resources)
        ]
        resource = max(found)[1] if found else ""
        return (resource, self.used[action][resource]) if found else None

    def kept(self, action: str) -> tuple[str, Word] | None:
        """The latest word that keeps an action, and its pattern; None where the latest word on it lets it go."""
        latest = self._word(action)
        return latest if latest and latest[1].keep else None

    def return_of(self, action: str, resources: Iterable[str]) -> Returned | None:
        """The latest refusal of an action after its removal, on one of these resource patterns."""
        told, patterns = self._forgotten(action), tuple(resources)
        found = [
            back
            for (name, resource), back in self.returned.items()
            if name == action
            and not (told and back.refused <= told.at.date())
            and any(resource_overlaps(pattern, resource) for pattern in patterns)
        ]
        return max(found, default=None)

    def limits(self, pattern: str) -> bool:
        """Whether the word on a pattern takes back a part of what an earlier word on another one keeps."""
        return any(
            other.keep and other < self.words[pattern] and overlaps(name, pattern, ignore_case=True)
            for name, other in self.words.items()
        )

    def _forgotten(self, action: str) -> Word | None:
        told = self._word(action)
        return told[1] if told and not told[1].keep else None

    def _word(self, action: str) -> tuple[str, Word] | None:
        said = [(word, pattern) for pattern, word in self.words.items() if action_covers(pattern, action)]
        word, pattern = max(said, default=(None, ""))
        return (pattern, word) if word else None


def merge(one: Memory, other: Memory) -> Memory:
    """What both remember; of two values the later, larger or earlier one, never their sum.

    Raises:
        ValueError: they are of two principals.
    """
    if one.principal != other.principal:
        raise ValueError(f"memories of two principals: {one.principal} and {other.principal}")
    actions = dict.fromkeys((*one.used, *other.used))
    declined = _latest(one.declined, other.declined)
    newest = sorted(declined, reverse=True)[:MOST_DECLINED]
    return Memory(
        one.principal,
        used={action: _joined(one.used.get(action, {}), other.used.get(action, {})) for action in actions},
        words=_latest(one.words, other.words),
        declined={number: declined[number] for number in newest},
        returned=_latest(one.returned, other.returned),
    )


def pruned(memory: Memory, now: datetime) -> Memory:
    """The memory without what is older than `REMEMBERED_DAYS`; the word of a person that keeps something stays.

    So does one that takes a part of it back: without it the wider word would hold for that part again.
    """
    oldest = now - timedelta(days=REMEMBERED_DAYS)
    day = oldest.astimezone(UTC).date()
    month = f"{day:%Y-%m}"
    used = {
        action: {
            resource: Used(
                each.first, each.last, {key: runs for key, runs in each.runs.items() if key >= month}, each.workflow_run
            )
            for resource, each in by_resource.items()
            if each.last >= day
        }
        for action, by_resource in memory.used.items()
    }
    return Memory(
        memory.principal,
        used={action: by_resource for action, by_resource in used.items() if by_resource},
        words={
            pattern: word
            for pattern, word in memory.words.items()
            if word.keep or word.at >= oldest or memory.limits(pattern)
        },
        declined=memory.declined,
        returned={key: back for key, back in memory.returned.items() if back.refused >= day},
    )


def folded(by_resource: Mapping[str, Used], most: int = MOST_RESOURCES) -> Mapping[str, Used]:
    """Uses of one action by resource; `*` stands for all of them once there are more than `most`, or it is among them.

    So the result does not hang on the order in which memories were merged.
    """
    if len(by_resource) <= most and (ANYTHING not in by_resource or len(by_resource) == 1):
        return by_resource
    first, *rest = by_resource.values()
    together = first
    for each in rest:
        together = both(together, each)
    return {ANYTHING: together}


def _joined(one: Mapping[str, Used], other: Mapping[str, Used]) -> Mapping[str, Used]:
    found = dict(one)
    for resource, used in other.items():
        found[resource] = both(found[resource], used) if resource in found else used
    return folded(found)


def both(one: Used, other: Used) -> Used:
    """Two uses as one."""
    months = dict.fromkeys((*one.runs, *other.runs))
    last = max((one.last, one.workflow_run), (other.last, other.workflow_run))
    return Used(
        min(one.first, other.first),
        last[0],
        {month: max(one.runs.get(month, 0), other.runs.get(month, 0)) for month in months},
        last[1],
    )


def _latest(one: Mapping[_K, _V], other: Mapping[_K, _V]) -> dict[_K, _V]:
    found = dict(one)
    for key, value in other.items():
        found[key] = max(found[key], value) if key in found else value
    return found


def learned(evidence: Evidence) -> Memory:
    """The allowed uses of the evidence, those of one resource pattern as one."""
    runs = {run.id: run for run in evidence.runs}
    allowed = [usage for usage in evidence.usages if usage.outcome is Outcome.ALLOWED and usage.need.verified]
    found: dict[str, dict[str, Used]] = {}
    for usage in by_pattern(allowed):
        permission = usage.need.permission
        if is_action(permission.action):
            by_resource = found.setdefault(permission.action, {})
            resource = permission.resource if is_resource(permission.resource) else ANYTHING
            used, known = _used(usage, runs), by_resource.get(resource)
            # The same under other conditions, or on another basis.
            by_resource[resource] = both(known, used) if known else used
    return Memory(evidence.principal, used={action: folded(by_resource) for action, by_resource in found.items()})


def _used(usage: Usage, runs: Mapping[str, Run]) -> Used:
    own = [runs[name] for name in usage.runs if name in runs]
    last = max(own, key=lambda run: (run.last, run.id), default=None)
    return Used(
        usage.first_seen.astimezone(UTC).date(),
        usage.last_seen.astimezone(UTC).date(),
        _by_month(own),
        workflow_run_id(last.session) if last else "",
    )


def _by_month(runs: Iterable[Run]) -> Mapping[str, int]:
    found: dict[str, int] = {}
    for run in runs:
        month = f"{run.first.astimezone(UTC):%Y-%m}"
        found[month] = found.get(month, 0) + 1
    return found


def is_action_pattern(text: str) -> bool:
    """Whether a text names actions as a policy would: `s3:DeleteBucket`, `s3:Delete*`, `*`."""
    return _PATTERN.fullmatch(text) is not None


def is_action(text: str) -> bool:
    """Whether a text is an action's name as the file can hold it."""
    return _ACTION.fullmatch(text) is not None


def is_resource(text: str) -> bool:
    """Whether a text is a resource as the file can hold it."""
    return _RESOURCE.fullmatch(text) is not None


_ACTION = re.compile(r"[a-z0-9-]{1,64}:[A-Za-z0-9_]{1,128}", re.ASCII)
_PATTERN = re.compile(r"[A-Za-z0-9-]{1,64}:[A-Za-z0-9_*?]{1,128}|\*", re.ASCII)
_RESOURCE = re.compile(r"[ -~]{1,2048}", re.ASCII)
"""A name of other characters is remembered as `*`."""
