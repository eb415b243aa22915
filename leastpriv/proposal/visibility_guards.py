"""Guards that ask whether the evidence would have shown a use of the action."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import cache, lru_cache, partial

from leastpriv.cloudtrail.coverage import EXCLUDABLE, READ, WRITE
from leastpriv.models import Gap
from leastpriv.permissions import catalog
from leastpriv.permissions.event_table import (
    Visibility,
    carriers_of,
    global_services,
    home_region,
    read_only_by_name,
    visibility,
)
from leastpriv.permissions.fact_tables import table
from leastpriv.permissions.patterns import action_matches
from leastpriv.permissions.resource_types import is_named_when_meant, kinds_of
from leastpriv.permissions.volatility import is_open_anyway
from leastpriv.proposal.aws_guards import (
    home_region_of,
    is_never_attempted,
    is_outdated,
    limiting_regions,
    regions_to_know,
)
from leastpriv.proposal.models import GuardContext, GuardResult, RemovalCandidate, UnseenServices
from leastpriv.proposal.recorded_use import (
    KINDS_OF_DATA,
    UNKNOWN_EVENTS,
    data_recorded,
    has_data_events,
    hidden_carriers,
    is_recorded,
    operation_of,
)


def gap_in_scope(candidate: RemovalCandidate, context: GuardContext) -> str:
    """Keeps an action whose use a gap may hide."""
    for gap in context.open_gaps:
        if not could_hide(gap, candidate.action):
            continue
        elsewhere = gap.scope.data_events and has_data_events(candidate, context)
        reached = _reaches(candidate, gap.scope.regions, context) and not _is_inside(
            candidate, gap.scope.outside
        )
        if reached and not elsewhere:
            return f"{gap.kind}: {gap.detail}"
    return ""


def region_not_read(candidate: RemovalCandidate, context: GuardContext) -> str:
    """Keeps an action whose use would be recorded in a region that the evidence lacks."""
    if dropped_with_service(candidate, context) or is_outdated(candidate, context):
        return ""
    minimum = timedelta(days=context.options.minimum_days)
    coverage = context.evidence.coverage
    named_regions = regions_to_know(candidate, context)
    regions = named_regions or coverage.named_regions
    partition = context.evidence.principal.split(":")[1]
    homes: set[str] = set()
    for carrier in carriers_of(candidate.action):
        if context.may_call(carrier.operation):
            # A global service records the calls of carriers in its home region alone.
            homes.add(home_region(carrier.operation.partition(":")[0], partition))
    homes.discard("")
    for region in sorted(regions | homes):
        length = coverage.length(region)
        if length is None:
            if len(context.evidence.users) > 1:
                return f"no day has records of {region} for every user, which would show its use"
            return f"no record of {region} was read, where its use would have been recorded"
        if length < minimum:
            return f"the records of {region} span {length.days} of {minimum.days} days"
    # Recorded data events of the very resources show that their regions were read.
    is_data = visibility(candidate.action).visibility is Visibility.DATA
    if regions or coverage.every_region:
        return ""
    if is_data and not carriers_of(candidate.action) and has_data_events(candidate, context):
        return ""
    read = ", ".join(sorted(coverage.days)) or "no region"
    return (
        f"the grant reaches every region, and the records are of {read} only: name the role's"
        " regions in `aws-regions`, or read a trail of all regions"
    )


def not_recorded(candidate: RemovalCandidate, context: GuardContext) -> str:
    """Keeps an action whose events the trail of a region may omit: reads, writes, or those of an
    excludable service.
    """
    if dropped_with_service(candidate, context) or is_outdated(candidate, context):
        return ""
    regions = _regions_of_use(candidate, context)
    source = EXCLUDABLE.get(candidate.action.partition(":")[0], "")
    if source and (reason := _unrecorded(source, f"events of {source}", regions, context)):
        return f"{reason}: the trail may exclude them"
    record_rule = visibility(candidate.action)
    if record_rule.visibility is not Visibility.MANAGEMENT:
        return ""
    may_be_read = _may_be_read(candidate.action, record_rule.read_only)
    if may_be_read and (reason := _unrecorded(READ, "reading calls", regions, context)):
        return f"{reason}: the trail may log writes only"
    if record_rule.read_only is not True and (
        reason := _unrecorded(WRITE, "writing calls", regions, context)
    ):
        return f"{reason}: the trail may log reads only"
    return ""


def is_of_another_region(
    candidate: RemovalCandidate, found: GuardResult, context: GuardContext
) -> bool:
    """Whether only some regions lack events of AWS KMS for long enough: a role calls KMS where its
    resources are.
    """
    source = (
        EXCLUDABLE.get(candidate.action.partition(":")[0], "")
        if found.guard == "not-recorded"
        else ""
    )
    regions = _regions_of_use(candidate, context) if source else ()
    return any(not _unrecorded(source, "events", [region], context) for region in regions)


def _regions_of_use(candidate: RemovalCandidate, context: GuardContext) -> list[str]:
    """The regions whose records have to show that the action was not used."""
    coverage = context.evidence.coverage
    regions = regions_to_know(candidate, context) or coverage.named_regions
    return sorted(regions or frozenset(context.evidence.regions) or frozenset(coverage.days))


def _unrecorded(kind: str, words: str, regions: Sequence[str], context: GuardContext) -> str:
    """Why the records of some region may lack events of a kind; empty if each has them for long
    enough.
    """
    minimum = timedelta(days=context.options.minimum_days)
    for region in regions:
        length = context.evidence.coverage.length(region, kind)
        if length is None:
            return f"no {words} were recorded in {region}, of any principal"
        if length < minimum:
            return f"the {words} of {region} span {length.days} of {minimum.days} days"
    return "" if regions else f"no {words} were recorded"


def _may_be_read(action: str, read_only: bool | None) -> bool:
    """Whether CloudTrail may mark the call as a read; for KMS and STS its flag differs from IAM's
    access level.
    """
    if read_only is not None:
        return read_only
    level = catalog.access_level(action)
    writes = "Write" in level or "Tagging" in level or "Permissions management" in level
    return not writes or action.partition(":")[0] in ("kms", "sts")


def _is_event_of(events: tuple[str, ...], action: str) -> bool:
    """Whether a use of the action may be an event of these kinds (`Scope.events`; none: of any
    kind).
    """
    if not events:
        return True
    record_rule = visibility(action)
    match record_rule.visibility:
        case Visibility.DATA:
            kinds = (
                f"{record_rule.resource_type} {kind}"
                for kind in KINDS_OF_DATA[record_rule.read_only]
            )
            return record_rule.resource_type in events or any(kind in events for kind in kinds)
        case Visibility.MANAGEMENT:
            reads = "management-read" in events and _may_be_read(action, record_rule.read_only)
            return reads or ("management-write" in events and record_rule.read_only is not True)
        case Visibility.NEVER:
            return False
        case _:
            return any(event.startswith("management-") for event in events)


def _reaches(candidate: RemovalCandidate, regions: tuple[str, ...], context: GuardContext) -> bool:
    """Whether a use through this statement may be recorded in one of these regions (none: any)."""
    carriers = (carrier.operation for carrier in carriers_of(candidate.action))
    # CloudTrail records a carrier of a regional service in the region that is called.
    regional = (
        carrier for carrier in carriers if carrier.partition(":")[0] not in global_services("aws")
    )
    home = "" if any(map(context.may_call, regional)) else home_region_of(candidate, context)
    where = {home} if home else limiting_regions(candidate.entry.statement)
    return not regions or where is None or not where.isdisjoint(regions)


def _is_inside(candidate: RemovalCandidate, places: tuple[str, ...]) -> bool:
    """Whether all resources of the statement are within locations that the gap does not affect
    (`Scope.outside`).
    """

    def is_within(resource: str, place: str) -> bool:
        # Many statements name a bucket together with its objects; the bucket is the location of
        # both.
        folder = resource if "/" in resource else f"{resource}/"
        return folder.startswith(place[:-1]) if place.endswith("*") else resource == place

    resources = candidate.entry.statement.resources
    return bool(resources) and all(
        any(is_within(resource, place) for place in places) for resource in resources
    )


def other_resource(candidate: RemovalCandidate, context: GuardContext) -> str:
    """Keeps a used action if its grant may have served a second resource type that the record does
    not name.
    """
    types = unnamed_types(candidate, context)
    if not types:
        return ""
    call = f"it was called, and this grant may have served the call's {types[0]}"
    return f"{call}, which no record names"


def unnamed_types(candidate: RemovalCandidate, context: GuardContext) -> tuple[str, ...]:
    """The resource types of the statement that calls of a used action may have served and no record
    names.
    """
    catalogue_action = catalog.action(candidate.action)
    allowed_usages = [usage for usage in context.used.get(candidate.action, ()) if usage.is_allowed]
    if catalogue_action is None or len(catalogue_action.resource_types) < 2 or not allowed_usages:
        return ()
    resources = {
        usage.resource
        for usage in allowed_usages
        if usage.need.exact or is_open_anyway(usage.resource)
    }
    named_kinds = {
        kind for resource in resources for kind in kinds_of(catalogue_action.name, resource)
    }
    # The catalogue lacks types of some actions: that of `apigateway:DELETE` on `/apis/ID`.
    return tuple(
        kind
        for resource in candidate.entry.statement.resources
        for kind in kinds_of(catalogue_action.name, resource)
        if kind not in named_kinds
        and not (resources and is_named_when_meant(catalogue_action.name, kind.lower()))
    )


def not_visible(candidate: RemovalCandidate, context: GuardContext) -> str:
    """Keeps an action whose use leaves neither its own event nor the event of an operation that
    needs it.
    """
    if dropped_with_service(candidate, context):
        return ""
    return why_unrecorded(candidate, context)


def why_unrecorded(candidate: RemovalCandidate, context: GuardContext) -> str:
    """Returns why a use of the action would leave no record; empty where it would leave one."""
    record_rule = visibility(candidate.action)
    match record_rule.visibility:
        case Visibility.ENDED:
            return ""
        case Visibility.DATA if not has_data_events(candidate, context):
            return (
                f"data event ({record_rule.resource_type}), not known to be recorded for these"
                " resources"
            )
        case Visibility.PERMISSION_ONLY:
            return f"its use may leave no event: {record_rule.source}"
        # Records of its use come before the page that says that there are none: some of its
        # operations have events.
        case Visibility.NEVER if candidate.action not in context.used:
            return f"CloudTrail never records it: {record_rule.source}"
        case Visibility.UNKNOWN if not is_recorded(candidate.action, context):
            return "it is not known whether CloudTrail records it"
    return _hidden_carrier(candidate, context)


def _hidden_carrier(candidate: RemovalCandidate, context: GuardContext) -> str:
    """Returns why no record may show the use of an action inside another operation; empty where
    each such operation is recorded.
    """
    for hidden_carrier in hidden_carriers(candidate, context):
        inside = f"AWS may check it inside {hidden_carrier.operation}"
        if hidden_carrier.visibility is not Visibility.DATA:
            return f"{inside}, and it is not known whether CloudTrail records that"
        kinds = KINDS_OF_DATA[read_only_by_name(hidden_carrier.operation.partition(":")[2])]
        # CloudTrail records ListObjectsV2 as ListObjects.
        names = (hidden_carrier.operation, hidden_carrier.operation.removesuffix("V2"))
        if not data_recorded(
            candidate, context, hidden_carrier.resource_type, kinds, partial(_is_one_of, names)
        ):
            return (
                f"{inside}, a data event ({hidden_carrier.resource_type}) that is not known to be"
                " recorded"
                " for these resources"
            )
    return ""


def _is_one_of(operations: tuple[str, ...], event: str) -> bool:
    return operation_of(event) in operations


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
    # An event that no table maps is no known carrier: it hides only what its own service
    # authorizes.
    services = (
        _services_of(action)
        if gap.kind not in UNKNOWN_EVENTS
        else {action.partition(":")[0].lower()}
    )
    return not services.isdisjoint(scope.services)


@lru_cache(maxsize=32_768)
def _services_of(action: str) -> frozenset[str]:
    names = (action, *(carrier.operation for carrier in carriers_of(action)))
    return frozenset(name.partition(":")[0].lower() for name in names)


def dropped_with_service(candidate: RemovalCandidate, context: GuardContext) -> bool:
    """Whether the action is dropped with its wildcard over a service without calls, as the user
    chose.
    """
    prefix = candidate.action.partition(":")[0]
    if not is_of_unseen_service(candidate, context) or not allows_dropping_unseen(
        candidate, context
    ):
        return False
    is_silent = may_be_uncalled(candidate.action) and not context.options.drop_unseen_actions
    is_kept = is_silent and not is_never_attempted(candidate, context)
    if candidate.entry.pattern.partition(":")[0].lower() != prefix:
        return not is_kept or context.options.unseen_services is not UnseenServices.BY_ENTRY
    # A person wrote `s3:*` and `rds-db:*` on purpose, and no trail shows an upload or a login to a
    # database.
    return not is_kept and prefix in _visible_services(candidate.entry.granted)


@cache
def may_be_uncalled(action: str) -> bool:
    """Whether a deployment may cause this data event without any management event of the
    resource.
    """
    return any(
        action in row["actions"].split(",") for row in table("item_level") if row["uncalled"]
    )


def is_of_unseen_service(candidate: RemovalCandidate, context: GuardContext) -> bool:
    """Whether the action belongs to a wildcard and to a service without any call."""
    return (
        candidate.entry.is_wildcard and candidate.action.partition(":")[0] not in context.programs
    )


def allows_dropping_unseen(candidate: RemovalCandidate, context: GuardContext) -> bool:
    """Whether the user's option, or IAM's last accessed information, allows dropping unseen
    services.
    """
    choice = context.options.unseen_services
    entry = candidate.entry
    is_by_entry = choice is UnseenServices.BY_ENTRY
    is_dropped = choice is UnseenServices.DROP or (is_by_entry and entry.spans_services)
    if is_dropped or is_never_attempted(candidate, context):
        return True
    # Most deployments by these programs use such a service unseen, so that its lack of calls is no
    # sign.
    prefix = candidate.action.partition(":")[0]
    programs = deploying_programs(context)
    usual = (
        row for row in table("item_level") if row["prefix"] == prefix and row["uncalled"] == "usual"
    )
    return is_by_entry and entry.spans_a_service and any(is_done_by(row, programs) for row in usual)


def is_done_by(row: Mapping[str, str], programs: frozenset[str]) -> bool:
    """Whether one of some programs does what a row of `item_level.tsv` says; one without a user
    agent may do all.
    """
    return not programs.isdisjoint({"", *row["programs"].split(",")})


def deploying_programs(context: GuardContext) -> frozenset[str]:
    """The programs of all calls but those of STS, by which a workflow logs in."""
    return frozenset[str]().union(
        *(program_names for name, program_names in context.programs.items() if name != "sts")
    )


@lru_cache(maxsize=1_024)
def _visible_services(granted: tuple[str, ...]) -> frozenset[str]:
    """Services of which more granted actions leave management events, or events that no source
    knows, than never do.
    """
    balance: Counter[str] = Counter()
    weights = {Visibility.MANAGEMENT: 1, Visibility.UNKNOWN: 1, Visibility.NEVER: -1}
    for action in granted:
        balance[action.partition(":")[0]] += weights.get(visibility(action).visibility, 0)
    return frozenset(service for service, weight in balance.items() if weight > 0)
