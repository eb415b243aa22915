"""Judges whether CloudTrail would have recorded the use of an action, by its carriers and by data
events.

A carrier is an operation that authorizes an action besides the one that the operation needs. AWS
checks such an action inside the call and records no event of it. So a called carrier may have used
the action, and an action is known to be unused only where every carrier would have been recorded.
Data events are recorded by resource, prefix, operation and kind.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from functools import lru_cache, reduce
from operator import or_

from msgspec import Struct

from leastpriv.cloudtrail.coverage import (
    SelectedData,
    days_of,
    folder_of,
    length_of,
    silences,
)
from leastpriv.evidence.models import Evidence
from leastpriv.models import GapKind
from leastpriv.permissions import catalog
from leastpriv.permissions.event_table import (
    Carrier,
    Verdict,
    Visibility,
    carriers_of,
    facts_of,
    map_event,
    own_operations,
    visibility,
)
from leastpriv.permissions.resource_types import bucket_of
from leastpriv.permissions.volatility import common_ends
from leastpriv.policy.document import Document
from leastpriv.policy.evaluate import allow_statements, statements_allowing
from leastpriv.proposal.models import GuardContext, RecordedStream, RemovalCandidate

UNKNOWN_EVENTS = (GapKind.UNMAPPED_EVENT, GapKind.UNVERIFIED_ACTION)
"""Gaps whose detail is the event that was called."""
KINDS_OF_DATA: Mapping[bool | None, tuple[str, ...]] = {
    True: ("read",),
    False: ("write",),
    None: ("read", "write"),
}
"""Data events that show an action; reading and writing calls need some of them (`s3:GetObject` by a
copy).
"""
_decoded = lru_cache(maxsize=1_024)(days_of)
_PERIOD = 1_000_000
"""Days: longer than CloudTrail exists."""


def checked_inside(candidate: RemovalCandidate, context: GuardContext) -> str:
    """A called operation authorizes the action inside the call, and no record shows whether it
    did.
    """
    # Calls that show a need of the action name its resource too.
    recorded_operations = {
        operation_of(event)
        for usage in context.used.get(candidate.action, ())
        for event in usage.events
    }
    inside = context.evidence.checked_inside.get(candidate.action)
    if inside and inside not in recorded_operations:
        return f"AWS may check it inside {inside}"
    memory = context.history.history_state.memory
    for carrier in carriers_of(candidate.action):
        name = carrier.operation
        if name in recorded_operations:
            continue
        if name in context.called:
            if not carrier.triggered:
                return f"AWS may check it inside {name}"
            if not context.called[name]:
                return f"AWS may check it inside {name}, which was called without success"
        # The memory would list a use of a triggered action if the remembered call had caused one.
        elif (
            memory
            and memory.last_use(name)
            and (not carrier.triggered or candidate.action in facts_of(name).inner)
        ):
            return f"AWS may check it inside {name}, which was called before this evidence begins"
    return ""


def called_operations(evidence: Evidence) -> dict[str, bool]:
    """Maps each operation that the principal called to whether a call was carried out, and so shows
    all it needed.
    """
    carried_out_by_operation: dict[str, bool] = {}
    for usage in evidence.usages:
        carried_out = usage.is_allowed and usage.succeeded
        for event in usage.events:
            carried_out_by_operation[operation_of(event)] = (
                carried_out_by_operation.get(operation_of(event), False) or carried_out
            )
    for gap in evidence.gaps:
        if gap.kind in UNKNOWN_EVENTS:
            carried_out_by_operation.setdefault(operation_of(gap.detail), False)
    return carried_out_by_operation


@lru_cache(maxsize=16_384)
def operation_of(event: str) -> str:
    """IAM prefix and operation of an event (`lambda.amazonaws.com:CreateFunction20150331`)."""
    source, _, name = event.partition(":")
    return map_event(source, name).operation


def hidden_carriers(candidate: RemovalCandidate, context: GuardContext) -> Iterator[Carrier]:
    """Carriers that the principal may call and that not every trail shows: data events, unknown and
    unrecorded ones.
    """
    for carrier in carriers_of(candidate.action):
        is_recorded_one = (
            carrier.visibility is Visibility.UNKNOWN and carrier.operation in context.recorded
        )
        is_seen = carrier.visibility is Visibility.MANAGEMENT or is_recorded_one
        if not is_seen and context.may_call(carrier.operation):
            yield carrier


def is_recorded(action: str, context: GuardContext) -> bool:
    """Whether the evidence has a management event of each operation that always needs the action,
    of any principal.
    """
    return own_operations(action) <= context.recorded


class CallableOperations:
    """Says whether the principal may call an operation, as far as known policies show."""

    def __init__(self, policies: Sequence[Document], services: frozenset[str]) -> None:
        """Takes the known policies of the principal, and the prefixes of services that another
        policy grants in part.

        Without any policy every operation may be called; of these services too.
        """
        self._policies = tuple(policies)
        self._grants_nothing = not allow_statements(policies)
        self._services = services
        self._answers: dict[str, bool] = {}
        self.changed: frozenset[str] = frozenset()
        """Operations with another answer than earlier policies gave."""

    def __call__(self, operation: str) -> bool:
        """Whether a known policy grants the operation, or another one may."""
        if self._grants_nothing or operation.partition(":")[0] in self._services:
            return True
        if operation not in self._answers:
            self._answers[operation] = self._grants(operation)
        return self._answers[operation]

    def differs_in(self, policies: Sequence[Document]) -> CallableOperations | None:
        """The answers with other policies, if one that allowed a call would change; else None."""
        return self._if_changed(policies, answer=True)

    def grown_in(self, policies: Sequence[Document]) -> CallableOperations | None:
        """The answers with other policies, if one that excluded a call would change; else None."""
        return self._if_changed(policies, answer=False)

    def _if_changed(
        self, policies: Sequence[Document], *, answer: bool
    ) -> CallableOperations | None:
        operations = CallableOperations(policies, self._services)
        given = self._answers.items()
        operations.changed = frozenset(name for name, each in given if operations(name) is not each)
        return (
            operations
            if any(self._answers[name] is answer for name in operations.changed)
            else None
        )

    def _grants(self, operation: str) -> bool:
        prefix, _, name = operation.partition(":")
        event = map_event(f"{prefix}.amazonaws.com", name)
        named_actions = (
            [action.action for action in event.actions]
            if event.verdict is Verdict.MAPPED
            else catalog.actions(prefix)
        )
        return any(statements_allowing(self._policies, action) for action in named_actions)


def has_data_events(candidate: RemovalCandidate, context: GuardContext) -> bool:
    """Whether the data events of the action were recorded; one source may have what another
    lacks.
    """
    record_rule = visibility(candidate.action)

    def shows(event: str) -> bool:
        return candidate.action in _actions_of(event)

    return data_recorded(
        candidate, context, record_rule.resource_type, KINDS_OF_DATA[record_rule.read_only], shows
    )


def data_recorded(
    candidate: RemovalCandidate,
    context: GuardContext,
    resource_type: str,
    kinds: Collection[str],
    shows: Callable[[str], bool],
) -> bool:
    """Whether such data events were recorded long enough for each resource of the statement.

    Event selectors may name one bucket or prefix, or one operation, and exist only since yesterday.
    Data events of each of `kinds` are required; `shows` says whether an event (source and name)
    shows the action.
    """
    selected = context.evidence.coverage.selected
    resources = candidate.entry.statement.resources
    streams = {resource: context.data_streams.get(_bucket(resource), ()) for resource in resources}
    return bool(resources) and all(
        _is_recorded_on(resource, stream, kinds, context)
        and (
            _is_selected(resource_type, kinds, resource, selected)
            or _was_seen_under(resource, stream, shows, context)
        )
        for resource, stream in streams.items()
    )


def _bucket(resource: str) -> str:
    return bucket_of(resource.removesuffix("/*"))


def _is_recorded_on(
    resource: str, streams: Sequence[RecordedStream], kinds: Collection[str], context: GuardContext
) -> bool:
    """Whether data events of each kind span the minimum on the bucket, or the other resource,
    itself.
    """
    if set(_bucket(resource)) & set("*?"):
        return False
    minimum = timedelta(days=context.options.minimum_days)
    for kind in kinds:
        masks = (recorded.days for recorded in streams if recorded.stream.kind == kind)
        days = _decoded(reduce(or_, masks, 0))
        if not days or length_of(days) < minimum or _has_silence(days, context):
            return False
    return True


def _has_silence(days: frozenset[date], context: GuardContext) -> bool:
    return context.whole_days is not None and bool(silences(days, context.whole_days))


def _is_selected(
    resource_type: str, kinds: Collection[str], resource: str, selected: Collection[SelectedData]
) -> bool:
    """Whether event selectors include all data events of the resource."""
    start = resource if ":s3:::" not in resource or "/" in resource else f"{resource}/"

    def includes(pattern: str) -> bool:
        return start.startswith(pattern[:-1]) if pattern.endswith("*") else start == pattern

    of_type = [
        selection
        for selection in selected
        if selection.resource_type == resource_type and includes(selection.resource)
    ]
    return {*kinds} <= {selection.kind for selection in of_type}


def _was_seen_under(
    resource: str,
    streams: Sequence[RecordedStream],
    shows: Callable[[str], bool],
    context: GuardContext,
) -> bool:
    """Whether an event that shows the action was recorded under the resource, and none suggests a
    narrower selector.
    """
    showing = [recorded for recorded in streams if shows(recorded.stream.event)]
    literal = re.split(r"[*?]", resource, maxsplit=1)[0]
    if ":s3:::" not in resource or "/" not in resource:
        prefixes = {bucket_of(recorded.stream.prefix) for recorded in showing}
        return literal == resource and resource in prefixes
    if literal == resource:
        literal = folder_of(resource)
    objects = _of_objects(showing)
    if not objects:
        bucket = bucket_of(resource)
        return any(recorded.stream.prefix == bucket for recorded in showing)
    if not _days_under(literal, objects, _PERIOD):
        return False
    if _has_silence(_days_under(literal, objects, 1), context):
        return False
    # Data events of any operation were recorded all the time. Folders come and go: a week with an
    # event counts.
    of_any_operation = _of_objects(streams)
    weeks = length_of(_days_under(literal, of_any_operation, 7)) + timedelta(days=7)
    if weeks.days < context.options.minimum_days:
        return False
    return not _has_silence(_days_under(literal, of_any_operation, 1), context)


def _of_objects(streams: Iterable[RecordedStream]) -> tuple[RecordedStream, ...]:
    """Returns the data events of objects, without those of whole buckets."""
    return tuple(recorded for recorded in streams if "/" in recorded.stream.prefix)


class _Folders(Struct):
    """The folders with events in one period."""

    first: str
    """In alphabetical order."""
    last: str
    is_under: bool = False
    """One of them is under the prefix in question."""


@lru_cache(maxsize=256)
def _days_under(literal: str, objects: tuple[RecordedStream, ...], length: int) -> frozenset[date]:
    """Returns the first days of the periods with an event under a prefix in which no narrower
    selector is likely.

    Event selectors of unknown content may name a prefix: all folders of the period then begin with
    it. `objects` are the data events of objects, `length` the days of a period.
    """
    folders_by_period: dict[int, _Folders] = {}
    for recorded in objects:
        prefix = recorded.stream.prefix
        for period in {day.toordinal() // length for day in _decoded(recorded.days)}:
            folders = folders_by_period.setdefault(period, _Folders(prefix, prefix))
            folders.first = min(folders.first, prefix)
            folders.last = max(folders.last, prefix)
            folders.is_under = folders.is_under or prefix.startswith(literal)
    # The first and the last in order have the prefix that all have.
    return frozenset(
        date.fromordinal(max(period * length, 1))
        for period, folders in folders_by_period.items()
        if folders.is_under and literal.startswith(common_ends([folders.first, folders.last])[0])
    )


@lru_cache(maxsize=4_096)
def _actions_of(event: str) -> frozenset[str]:
    source, _, name = event.partition(":")
    return frozenset(action.action for action in map_event(source, name).actions)
