"""Guards that ask whether the evidence would have shown a use of the action."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from datetime import timedelta
from functools import lru_cache

from leastpriv.evidence.collector import logged_resource
from leastpriv.models import Gap, Outcome
from leastpriv.permissions import catalog
from leastpriv.permissions.patterns import action_matches
from leastpriv.permissions.resource_types import is_named_when_meant, kinds_of
from leastpriv.permissions.visibility import (
    Visibility,
    carriers_of,
    global_services,
    home_region,
    read_only_by_name,
    visibility,
)
from leastpriv.proposal.guards.aws import (
    home_region_of,
    is_never_attempted,
    is_outdated,
    limiting_regions,
    regions_to_know,
)
from leastpriv.proposal.guards.carriers import UNKNOWN_EVENTS, hidden_carriers, is_recorded
from leastpriv.proposal.models import GuardContext, RemovalCandidate


def gap_in_scope(candidate: RemovalCandidate, context: GuardContext) -> str:
    """Keeps an action whose use a gap may hide."""
    for gap in context.evidence.gaps:
        elsewhere = gap.scope.data_events and _has_data_events(candidate, context)
        reached = _reaches(candidate, gap.scope.regions, context) and not _is_inside(candidate, gap.scope.outside)
        if could_hide(gap, candidate.action) and reached and not elsewhere:
            return f"{gap.kind}: {gap.detail}"
    return ""


def region_not_read(candidate: RemovalCandidate, context: GuardContext) -> str:
    """Keeps an action whose use would be recorded in a region that the evidence lacks."""
    if dropped_with_service(candidate, context):
        return ""
    if is_outdated(candidate, context):
        return ""
    least = timedelta(days=context.options.minimum_days)
    spans = context.evidence.coverage.regions
    for region in sorted(regions_to_know(candidate, context) | _home_regions_of_carriers(candidate, context)):
        if region not in spans:
            return f"no record of {region} was read, where its use would have been recorded"
        if spans[region] < least:
            return f"the records of {region} span {spans[region].days} of {least.days} days"
    return ""


def _home_regions_of_carriers(candidate: RemovalCandidate, context: GuardContext) -> frozenset[str]:
    """Home regions of the carriers that the principal may call: global services record them nowhere else."""
    partition = context.evidence.principal.split(":")[1]
    named = (each.operation for each in carriers_of(candidate.action) if context.may_call(each.operation))
    return frozenset(home_region(name.partition(":")[0], partition) for name in named) - {""}


@lru_cache(maxsize=32_768)
def _has_regional_carrier(action: str) -> bool:
    """Whether a carrier of the action is recorded in the region that is called."""
    prefixes = {each.operation.partition(":")[0] for each in carriers_of(action)}
    return not prefixes <= set(global_services("aws"))


def not_recorded(candidate: RemovalCandidate, context: GuardContext) -> str:
    """Keeps an action whose events the trail may omit: reads, or those of a service that trails may exclude."""
    if dropped_with_service(candidate, context) or is_outdated(candidate, context):
        return ""
    coverage = context.evidence.coverage
    if coverage.whole and coverage.whole >= timedelta(days=context.options.minimum_days):
        return ""
    source = _EXCLUDABLE.get(candidate.action.partition(":")[0], "")
    if source and source not in coverage.sources:
        return f"no event of {source} was seen from anybody: the trail may exclude them"
    if source and (short := _short_span(source, context)):
        return f"the events of {source} {short}: the trail may have excluded them before"
    seen = visibility(candidate.action)
    if seen.visibility is not Visibility.MANAGEMENT or not _may_be_read(candidate.action, seen.read_only):
        return ""
    if not coverage.reads:
        return "no reading call of anybody was seen: the trail may log writes only"
    short = _short_span("management-read", context)
    return f"the reading calls {short}: the trail may have logged writes only before" if short else ""


def _short_span(what: str, context: GuardContext) -> str:
    """The days that the records of a kind span, in words; empty if they suffice or were not measured."""
    span, least = context.evidence.coverage.logged.get(what), context.options.minimum_days
    return f"span {span.days} of {least} days" if span is not None and span < timedelta(days=least) else ""


def _may_be_read(action: str, read_only: bool | None) -> bool:
    """Whether CloudTrail may mark the call as a read; for KMS and STS its flag differs from IAM's access level."""
    if read_only is not None:
        return read_only
    level = catalog.access_level(action)
    writes = "Write" in level or "Tagging" in level or "Permissions management" in level
    return not writes or action.partition(":")[0] in ("kms", "sts")


def _is_event_of(events: tuple[str, ...], action: str) -> bool:
    """Whether a use of the action may be an event of these kinds (`Scope.events`; none: of any kind)."""
    if not events:
        return True
    seen = visibility(action)
    match seen.visibility:
        case Visibility.DATA:
            kinds = (f"{seen.resource_type} {kind}" for kind in _KINDS[seen.read_only])
            return seen.resource_type in events or any(kind in events for kind in kinds)
        case Visibility.MANAGEMENT:
            reads = "management-read" in events and _may_be_read(action, seen.read_only)
            return reads or ("management-write" in events and seen.read_only is not True)
        case Visibility.NEVER:
            return False
        case _:
            return any(event.startswith("management-") for event in events)


def _reaches(candidate: RemovalCandidate, regions: tuple[str, ...], context: GuardContext) -> bool:
    """Whether a use through this statement may be recorded in one of these regions (none: any)."""
    home = "" if _has_regional_carrier(candidate.action) else home_region_of(candidate, context)
    where = {home} if home else limiting_regions(candidate.entry.statement)
    return not regions or where is None or not where.isdisjoint(regions)


def _is_inside(candidate: RemovalCandidate, places: tuple[str, ...]) -> bool:
    """Whether all resources of the statement are within locations that the gap does not affect (`Scope.outside`)."""

    def lies_in(resource: str, place: str) -> bool:
        # Many statements name a bucket together with its objects; the bucket is the location of both.
        named = resource if "/" in resource else f"{resource}/"
        return named.startswith(place[:-1]) if place.endswith("*") else resource == place

    resources = candidate.entry.statement.resources
    return bool(resources) and all(any(lies_in(resource, place) for place in places) for resource in resources)


_EXCLUDABLE: Mapping[str, str] = {"kms": "kms.amazonaws.com", "rds-data": "rdsdata.amazonaws.com"}
"""Management events that a trail may exclude: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/logging-management-events-with-cloudtrail.html."""


def other_resource(candidate: RemovalCandidate, context: GuardContext) -> str:
    """Keeps a used action if its grant may have served a second resource type that the record does not name."""
    known = catalog.action(candidate.action)
    used = [usage for usage in context.used.get(candidate.action, ()) if usage.outcome is Outcome.ALLOWED]
    if known is None or len(known.resource_types) < 2 or not used:
        return ""
    named = {
        kind for usage in used if usage.need.exact for kind in kinds_of(known.name, usage.need.permission.resource)
    }
    for resource in candidate.entry.statement.resources:
        kinds = [kind for kind in kinds_of(known.name, resource) if kind not in named]
        others = [kind for kind in kinds if not (named and is_named_when_meant(known.name, kind.lower()))]
        if others:
            return f"it was called, and this grant may have served the call's {others[0]}, which no record names"
    return ""


_NEVER = timedelta(days=-1)
_KINDS: Mapping[bool | None, tuple[str, ...]] = {True: ("read",), False: ("write",), None: ("read", "write")}
"""Data events that show an action; reading and writing calls need some of them (`s3:GetObject` by a copy)."""


def not_visible(candidate: RemovalCandidate, context: GuardContext) -> str:
    """Keeps an action whose use leaves no trace in this evidence."""
    if dropped_with_service(candidate, context):
        return ""
    return _hidden_use(candidate, context) or _hidden_carrier(candidate, context)


def _hidden_use(candidate: RemovalCandidate, context: GuardContext) -> str:
    """Why the events that always need the action would not have been seen."""
    seen = visibility(candidate.action)
    match seen.visibility:
        case Visibility.MANAGEMENT | Visibility.CARRIERS | Visibility.ENDED:
            return ""
        case Visibility.DATA:
            if _has_data_events(candidate, context):
                return ""
            return f"data event ({seen.resource_type}), not known to be recorded for these resources"
        case Visibility.PERMISSION_ONLY:
            return f"its use may leave no event: {seen.source}"
        case Visibility.NEVER:
            return f"CloudTrail never records it: {seen.source}"
        case _:
            return "" if is_recorded(candidate.action, context) else "whether CloudTrail records it is not known"


def _hidden_carrier(candidate: RemovalCandidate, context: GuardContext) -> str:
    """Why a call of a carrier would not have been seen."""
    if visibility(candidate.action).visibility is Visibility.ENDED:
        return ""
    for each in hidden_carriers(candidate, context):
        inside = f"AWS may check it inside {each.operation}"
        if each.visibility is not Visibility.DATA:
            return f"{inside}, and whether CloudTrail records that is not known"
        kinds = _KINDS[read_only_by_name(each.operation.partition(":")[2])]
        if not _data_recorded(candidate, context, kinds):
            return f"{inside}, a data event ({each.resource_type}) that is not known to be recorded for these resources"
    return ""


def could_hide(gap: Gap, action: str) -> bool:
    """Whether a gap may hide a use of the action."""
    scope = gap.scope
    if not gap.kind.hides_use or not _is_event_of(scope.events, action):
        return False
    if scope.data_events:
        return visibility(action).visibility is Visibility.DATA
    if not scope.services and not scope.actions:
        return True
    if any(action_matches(pattern, action) for pattern in scope.actions):
        return True
    # An event that no table maps is no known carrier: it hides only what its own service authorizes.
    services = _services_of(action) if gap.kind not in UNKNOWN_EVENTS else {action.partition(":")[0].lower()}
    return not services.isdisjoint(scope.services)


@lru_cache(maxsize=32_768)
def _services_of(action: str) -> frozenset[str]:
    """IAM prefixes of an action and of its carriers."""
    names = (action, *(each.operation for each in carriers_of(action)))
    return frozenset(name.partition(":")[0].lower() for name in names)


def dropped_with_service(candidate: RemovalCandidate, context: GuardContext) -> bool:
    """Whether the action goes with its wildcard over a service without any call, as the user chose (promise 4)."""
    prefix = candidate.action.partition(":")[0]
    if not is_of_unseen_service(candidate, context) or not allows_dropping_unseen(candidate, context):
        return False
    if candidate.entry.pattern.partition(":")[0].lower() != prefix:
        return True
    # A person wrote `rds-db:*` on purpose, and no trail shows its use: a lack of calls proves nothing.
    return prefix in _visible_services(candidate.entry.granted)


def is_of_unseen_service(candidate: RemovalCandidate, context: GuardContext) -> bool:
    """Whether the action belongs to a wildcard and to a service without any call."""
    return candidate.entry.is_wildcard and candidate.action.partition(":")[0] not in context.services


def allows_dropping_unseen(candidate: RemovalCandidate, context: GuardContext) -> bool:
    """Whether the user's option, or IAM's last accessed information, allows dropping unseen services."""
    return context.options.drop_unseen_services or is_never_attempted(candidate, context)


@lru_cache(maxsize=1_024)
def _visible_services(granted: tuple[str, ...]) -> frozenset[str]:
    """Services of which more granted actions leave management events, or events that no source knows, than never do."""
    balance: Counter[str] = Counter()
    weights = {Visibility.MANAGEMENT: 1, Visibility.UNKNOWN: 1, Visibility.NEVER: -1}
    for action in granted:
        balance[action.partition(":")[0]] += weights.get(visibility(action).visibility, 0)
    return frozenset(service for service, weight in balance.items() if weight > 0)


def _has_data_events(candidate: RemovalCandidate, context: GuardContext) -> bool:
    """Whether the data events of the action were recorded; one source may have what another lacks."""
    return _data_recorded(candidate, context, _KINDS[visibility(candidate.action).read_only])


def _data_recorded(candidate: RemovalCandidate, context: GuardContext, kinds: Collection[str]) -> bool:
    """Whether such data events were recorded long enough for each resource of the statement.

    A selector may name a single bucket, and exist only since yesterday.
    """
    resources = candidate.entry.statement.resources
    roots = {logged_resource(resource.removesuffix("/*")) for resource in resources}
    recorded = context.evidence.data_recorded
    least = timedelta(days=context.options.minimum_days)
    return bool(roots) and all(
        not set(root) & set("*?") and recorded.get((root, kind), _NEVER) >= least for root in roots for kind in kinds
    )
