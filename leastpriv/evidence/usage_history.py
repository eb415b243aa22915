"""The history of one role or user as frozen structs, its merge, and what a run adds to it.

The annotations of fields are checked where the history file is parsed.

Two runs may write at once, and a run may be repeated, so the merge is commutative, associative and
idempotent: it never adds counts up. A count is a lower bound, and the larger bound is better. A run
adds days, months and resource patterns; no parameters, addresses or persons.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from functools import reduce
from itertools import pairwise
from typing import Annotated, TypeVar

from msgspec import Meta, Struct, field
from msgspec.structs import replace

from leastpriv.aws.session_names import workflow_run_id
from leastpriv.evidence.iam_paths import by_pattern
from leastpriv.evidence.models import Evidence
from leastpriv.models import Origin, Outcome, Run, TargetName, Usage
from leastpriv.permissions.patterns import (
    action_covers,
    overlaps,
    resource_covers,
    resource_overlaps,
)

KEPT_DAYS = 400
"""Use, and denials after a removal, are kept this long: a yearly job has a margin (docs: memory).
"""
MOST_RESOURCES = 20
"""Most resources of one action; with more the action counts as used on `*`, which blocks more
removals, never fewer.
"""
MOST_DECLINED = 100
"""Declined pull requests, those with the highest numbers."""
MOST_RESTORED = 500
"""Grants that a person brought back, those of the latest pull requests."""
ANYTHING = "*"
_MOST_A_MONTH = 6
"""Runs of a month, of a use that comes back every week."""
_YEAR = (timedelta(days=335), timedelta(days=395))

Month = Annotated[str, Meta(pattern=r"\A[0-9]{4}-(?:0[1-9]|1[0-2])\Z")]
Count = Annotated[int, Meta(gt=0, lt=10**12)]
Time = Annotated[datetime, Meta(tz=True)]
"""Aware, UTC, whole seconds."""
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)

_ACTION = re.compile(r"[a-z0-9-]{1,64}:[A-Za-z0-9_]{1,128}", re.ASCII)
_PATTERN = re.compile(r"[A-Za-z0-9-]{1,64}:[A-Za-z0-9_*?]{1,128}|\*", re.ASCII)
_RESOURCE = re.compile(r"[ -~]{1,2048}", re.ASCII)
"""A resource with other characters is stored as `*`."""

_K = TypeVar("_K")
_V = TypeVar("_V", "KeepDecision", "DeclinedPullRequest", "RevertedRemoval", int)


class ActionUse(Struct, frozen=True, omit_defaults=True):
    """When one permission was used, by days in UTC."""

    first: date
    last: date
    runs: Mapping[Month, Count] = {}
    """Month (`2026-11`) -> minimum number of runs that used it."""
    workflow_run: Annotated[str, Meta(pattern=r"\A[0-9]{0,20}\Z")] = field(default="", name="run")
    """Id of the workflow run of the last use; empty where its session name contains none."""

    @property
    def least_runs(self) -> int:
        """Minimum number of runs that used it."""
        return sum(self.runs.values())

    @property
    def interval(self) -> timedelta | None:
        """Interval at which the use came back, from a week to a year; None where it is not steady,
        or not known.
        """
        months = sorted(int(month[:4]) * 12 + int(month[5:]) for month in self.runs)
        steps = [later - earlier for earlier, later in pairwise(months)]
        if not steps or max(steps) > min(steps) + 1 or max(self.runs.values()) > _MOST_A_MONTH:
            return None
        length = (self.last - self.first) / (self.least_runs - 1)
        # Two uses show an interval only where they are a year apart.
        return length if self.least_runs > 2 or _YEAR[0] <= length <= _YEAR[1] else None

    @property
    def expected_until(self) -> date | None:
        """Day until which the next use may come: half an interval after it is due; None without an
        interval.
        """
        return self.last + self.interval * 3 / 2 if self.interval else None


class KeepDecision(Struct, frozen=True, order=True):
    """A person's decision about an action pattern, from a comment; the latest decision counts."""

    at: datetime
    """When the comment was written (aware, UTC, whole seconds)."""
    comment: int
    """Id of the comment."""
    keep: bool
    """`/leastpriv keep`; false: `/leastpriv forget`, which revokes it and allows earlier use to be
    forgotten.
    """
    by: str
    """Login of the person."""
    pull: int
    """Number of the pull request with the comment."""


class DeclinedAddition(Struct, frozen=True, order=True):
    """An addition that a person declined."""

    action: Annotated[str, Meta(pattern=rf"\A{_ACTION.pattern}\Z")]
    resource: Annotated[str, Meta(pattern=rf"\A{_RESOURCE.pattern}\Z")]


class DeclinedPullRequest(Struct, frozen=True, order=True, rename="kebab", omit_defaults=True):
    """A pull request that a person closed without merging it, or merged without some additions."""

    seen: Time
    """When it was last read."""
    taken_back: bool
    """It has the label that allows its changes to be proposed again."""
    fingerprint: Annotated[str, Meta(pattern=r"\A[0-9a-f]{8,128}\Z")]
    """Fingerprint of its proposal."""
    changes: tuple[Annotated[str, Meta(pattern=r"\A[0-9a-z-]{1,32}\Z")], ...]
    """Ids of its declined changes."""
    additions: tuple[DeclinedAddition, ...] = ()
    """Its declined additions, as far as its body named them."""
    by_commit: bool = False
    """It was merged, and a commit on its branch had taken these additions away."""


class RevertedRemoval(Struct, frozen=True, order=True):
    """A permission that a merged pull request removed, and that was denied or granted again
    afterwards.
    """

    refused: date
    """The last day on which it was denied; of a grant that came back, the day of that merge."""
    pull: int
    """Number of the pull request that removed it."""
    merged: Time = _NEVER
    """When that was merged, of what the policy grants again."""
    by_person: bool = False
    """A person brought it back, and no proposal."""
    commit: str = ""
    """In a clone, where pull requests are not known: the commit that removed it."""

    @property
    def granted(self) -> bool:
        """Whether the policy grants it again."""
        return self.merged > _NEVER

    def is_forgotten(self, decision: KeepDecision | None) -> bool:
        """Whether a later `forget` permits the removal."""
        if decision is None:
            return False
        if self.granted:
            return self.merged <= decision.at
        return self.refused <= decision.at.date()


Returned = Mapping[tuple[str, str], RevertedRemoval]
"""Action or pattern of actions, and resource -> what came back."""


class UsageHistory(Struct, frozen=True):
    """The history of one principal. It may block a removal; it never justifies an addition."""

    principal: str
    """ARN."""
    used: Mapping[str, Mapping[str, ActionUse]] = {}
    """Catalogue action -> resource pattern of a policy -> use."""
    words: Mapping[str, KeepDecision] = {}
    """Action pattern as written -> the latest decision."""
    declined: Mapping[int, DeclinedPullRequest] = {}
    """Number of the pull request -> its declined changes."""
    returned: Returned = {}
    """(action, resource) -> its denial after a removal, or the grant that came back; then the
    action may be a pattern.
    """
    target: TargetName | None = None
    """The target that has it; None where no run wrote it."""

    def last_use(
        self, action: str, resources: Iterable[str] = (ANYTHING,)
    ) -> tuple[str, ActionUse] | None:
        """Returns the last use of an action that may apply to one of these resource patterns."""
        uses = dict(self.uses(action, resources))
        resource = max(uses, key=lambda name: (uses[name].last, name), default="")
        return (resource, uses[resource]) if uses else None

    def uses(self, action: str, resources: Iterable[str]) -> Iterator[tuple[str, ActionUse]]:
        """Yields resource patterns and uses of an action that may apply to one of these resource
        patterns.
        """
        forgotten = self._forgotten(action)
        patterns = tuple(resources)
        for resource, use in self.used.get(action, {}).items():
            is_forgotten = forgotten and use.last <= forgotten.at.date()
            if not is_forgotten and any(
                resource_overlaps(pattern, resource) for pattern in patterns
            ):
                yield resource, use

    def kept(self, action: str) -> tuple[str, KeepDecision] | None:
        """Returns the latest decision to keep an action, with its pattern; None where it has been
        revoked.
        """
        latest = self._word(action)
        return latest if latest and latest[1].keep else None

    def returned_by_service(self) -> Mapping[str, Returned]:
        """Returns what came back by the lower-case prefix of its service; that of patterns of
        several services by an empty one.
        """
        by_service: dict[str, dict[tuple[str, str], RevertedRemoval]] = {}
        for (name, resource), back in self.returned.items():
            service = name.partition(":")[0].lower()
            by_service.setdefault("" if "*" in service else service, {})[name, resource] = back
        return by_service

    def reverted_removal(
        self, action: str, resources: Iterable[str], returned: Returned
    ) -> RevertedRemoval | None:
        """Returns the latest denial or new grant of an action after its removal, on one of these
        resource patterns, among those that its service has.
        """
        forgotten = self._forgotten(action) if returned else None
        patterns = tuple(resources)
        removals = [
            back
            for (name, resource), back in returned.items()
            if not back.is_forgotten(forgotten)
            and _is_of_action(name, action, back)
            and any(_is_on_resource(pattern, resource, back) for pattern in patterns)
        ]
        return max(removals, default=None)

    def limits(self, pattern: str) -> bool:
        """Whether the decision on a pattern revokes a part of an earlier decision on another
        pattern.
        """
        return any(
            other_decision.keep
            and other_decision < self.words[pattern]
            and overlaps(name, pattern, ignore_case=True)
            for name, other_decision in self.words.items()
        )

    def _forgotten(self, action: str) -> KeepDecision | None:
        latest = self._word(action)
        return latest[1] if latest and not latest[1].keep else None

    def _word(self, action: str) -> tuple[str, KeepDecision] | None:
        words = [
            (word, pattern)
            for pattern, word in self.words.items()
            if action_covers(pattern, action)
        ]
        word, pattern = max(words, default=(None, ""))
        return (pattern, word) if word else None


def _is_of_action(name: str, action: str, back: RevertedRemoval) -> bool:
    return action_covers(name, action) if back.granted else name == action


def _is_on_resource(pattern: str, resource: str, back: RevertedRemoval) -> bool:
    """Whether what came back is on a resource pattern: a grant on `orders-*` is none of
    `*-archive`.
    """
    if back.granted:
        return resource_covers(pattern, resource) or resource_covers(resource, pattern)
    return resource_overlaps(pattern, resource)


def merge(one: UsageHistory, other: UsageHistory) -> UsageHistory:
    """Merges two histories; of two values the later, larger or earlier one counts, never their sum.

    Raises ValueError where they are of two principals.
    """
    if one.principal != other.principal:
        raise ValueError(f"memories of two principals: {one.principal} and {other.principal}")
    actions = dict.fromkeys((*one.used, *other.used))
    declined = _latest(one.declined, other.declined)
    newest = sorted(declined, reverse=True)[:MOST_DECLINED]
    use_by_action = {action: dict(one.used.get(action, {})) for action in actions}
    for action, by_resource in other.used.items():
        use_by_resource = use_by_action[action]
        for resource, use in by_resource.items():
            use_by_resource[resource] = merge_uses(use_by_resource.get(resource, use), use)
    return UsageHistory(
        one.principal,
        used={
            action: limit_resources(by_resource) for action, by_resource in use_by_action.items()
        },
        words=_latest(one.words, other.words),
        declined={number: declined[number] for number in newest},
        returned=_latest(one.returned, other.returned),
        target=max(filter(None, (one.target, other.target)), default=None),
    )


def pruned(memory: UsageHistory, now: datetime) -> UsageHistory:
    """Removes entries older than `KEPT_DAYS` whose use is not expected again; a decision to keep an
    action remains.

    A decision that revokes a part of it remains, too: without it the wider decision would apply to
    that part again.
    """
    oldest = now - timedelta(days=KEPT_DAYS)
    day = oldest.astimezone(UTC).date()
    today = now.astimezone(UTC).date()
    month = f"{day:%Y-%m}"
    use_by_action = {
        action: {
            resource: use
            if (use.expected_until or day) >= today
            else replace(use, runs={key: runs for key, runs in use.runs.items() if key >= month})
            for resource, use in by_resource.items()
            if use.last >= day or (use.expected_until or day) >= today
        }
        for action, by_resource in memory.used.items()
    }
    return UsageHistory(
        memory.principal,
        used={action: by_resource for action, by_resource in use_by_action.items() if by_resource},
        words={
            pattern: word
            for pattern, word in memory.words.items()
            if word.keep or word.at >= oldest or memory.limits(pattern)
        },
        declined=memory.declined,
        returned=_without_old(memory.returned, day),
        target=memory.target,
    )


def limit_returned(returned: Returned, most: int = MOST_RESTORED) -> Returned:
    """Limits grants that came back: of too many, their patterns count on `*`, and then their
    services, which blocks more removals, never fewer.
    """
    on_anything = _latest_by_key((name, ANYTHING, back) for (name, _), back in returned.items())
    of_services = _latest_by_key(
        (_service_pattern(name), ANYTHING, back) for (name, _), back in returned.items()
    )
    return next(
        (limited for limited in (returned, on_anything) if len(limited) <= most), of_services
    )


def _service_pattern(name: str) -> str:
    service, _, actions = name.partition(":")
    return f"{service}:*" if actions else ANYTHING


def _latest_by_key(
    rows: Iterable[tuple[str, str, RevertedRemoval]],
) -> dict[tuple[str, str], RevertedRemoval]:
    latest: dict[tuple[str, str], RevertedRemoval] = {}
    for name, resource, back in rows:
        latest[name, resource] = max(back, latest.get((name, resource), back))
    return latest


def _without_old(returned: Returned, day: date) -> Returned:
    """Returns what came back since a day, and what a person brought back at any time."""
    by_person = [key for key, back in returned.items() if back.by_person]
    by_person.sort(key=lambda key: (returned[key], key), reverse=True)
    lasting = frozenset(by_person[:MOST_RESTORED])
    return {
        key: back
        for key, back in returned.items()
        if key in lasting or (back.refused >= day and not back.by_person)
    }


def limit_resources(
    by_resource: Mapping[str, ActionUse], most: int = MOST_RESOURCES
) -> Mapping[str, ActionUse]:
    """Limits the resources of one action: `*` replaces all of more than `most`, or of those that
    include it.

    So the result does not depend on the order of merges.
    """
    if len(by_resource) <= most and (ANYTHING not in by_resource or len(by_resource) == 1):
        return by_resource
    return {ANYTHING: reduce(merge_uses, by_resource.values())}


def merge_uses(one: ActionUse, other: ActionUse) -> ActionUse:
    """Merges two uses."""
    last, workflow_run = max((one.last, one.workflow_run), (other.last, other.workflow_run))
    return ActionUse(min(one.first, other.first), last, _latest(one.runs, other.runs), workflow_run)


def _latest(one: Mapping[_K, _V], other: Mapping[_K, _V]) -> dict[_K, _V]:
    """Returns the later or larger value of each key."""
    return {**one, **{key: max(one.get(key, value), value) for key, value in other.items()}}


def history_from_evidence(evidence: Evidence) -> UsageHistory:
    """Returns the allowed uses in the evidence, merged by resource pattern."""
    # An unreviewed run shows a use, and no rhythm.
    unreviewed = evidence.runs_of_origin(Origin.UNREVIEWED)
    runs = {run.id: run for run in evidence.runs if run.id not in unreviewed}
    allowed = [
        usage
        for usage in evidence.usages
        if usage.outcome is Outcome.ALLOWED and usage.need.verified
    ]
    use_by_action: dict[str, dict[str, ActionUse]] = {}
    for usage in by_pattern(allowed):
        permission = usage.need.permission
        if _ACTION.fullmatch(permission.action):
            by_resource = use_by_action.setdefault(permission.action, {})
            resource = permission.resource if _RESOURCE.fullmatch(permission.resource) else ANYTHING
            use = _used(usage, runs)
            # The same permission with other conditions, or on another basis.
            by_resource[resource] = merge_uses(by_resource.get(resource, use), use)
    return UsageHistory(
        evidence.principal,
        used={
            action: limit_resources(by_resource) for action, by_resource in use_by_action.items()
        },
    )


def _used(usage: Usage, runs: Mapping[str, Run]) -> ActionUse:
    own_runs = [runs[name] for name in usage.runs if name in runs]
    last = max(own_runs, key=lambda run: (run.last, run.id), default=None)
    first_day, last_day = (
        time.astimezone(UTC).date() for time in (usage.first_seen, usage.last_seen)
    )
    months = Counter(f"{run.first.astimezone(UTC):%Y-%m}" for run in own_runs)
    return ActionUse(
        first_day, last_day, dict(months), workflow_run_id(last.session) if last else ""
    )


def is_resource(text: str) -> bool:
    """Whether a resource can be stored as it is written."""
    return _RESOURCE.fullmatch(text) is not None


def is_action(text: str) -> bool:
    """Whether a text names one action."""
    return _ACTION.fullmatch(text) is not None


def is_action_pattern(text: str) -> bool:
    """Whether a text names actions like a policy: `s3:DeleteBucket`, `s3:Delete*`, `*`."""
    return _PATTERN.fullmatch(text) is not None
