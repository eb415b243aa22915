"""Would the evidence have shown it? The guards that ask whether silence about an action proves anything.

In which regions a use through a statement would have been noted.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import timedelta
from functools import lru_cache

from leastpriv.evidence.collector import data_event_root
from leastpriv.models import Gap, Outcome
from leastpriv.permissions import catalog
from leastpriv.permissions.patterns import action_matches
from leastpriv.permissions.resource_types import is_named_when_meant, kinds_of
from leastpriv.permissions.visibility import Visibility, visibility
from leastpriv.proposal.guards.aws import home_of, is_never_attempted, is_outdated, only_regions, regions_to_know
from leastpriv.proposal.models import Candidate, Situation


def gap_in_scope(candidate: Candidate, situation: Situation) -> str:
    """Something that could not be read may have been a use of it."""
    for gap in situation.evidence.gaps:
        elsewhere = gap.scope.data_events and _shown(candidate, situation)
        reached = _reaches(candidate, gap.scope.regions, situation) and not _lies_in(candidate, gap.scope.outside)
        if could_hide(gap, candidate.action) and reached and not elsewhere:
            return f"{gap.kind}: {gap.detail}"
    return ""


def region_not_read(candidate: Candidate, situation: Situation) -> str:
    """The region that would have recorded its use is not in the evidence."""
    if dropped_with_service(candidate, situation):
        return ""
    if is_outdated(candidate, situation):
        return ""
    least = timedelta(days=situation.options.minimum_days)
    spans = situation.evidence.coverage.regions
    for region in sorted(regions_to_know(candidate, situation)):
        if region not in spans:
            return f"no record of {region} was read, where its use would have been recorded"
        if spans[region] < least:
            return f"the records of {region} span {spans[region].days} of {least.days} days"
    return ""


def not_recorded(candidate: Candidate, situation: Situation) -> str:
    """The trail may leave out events of its kind: reads, or those of a service that AWS lets trails exclude."""
    if dropped_with_service(candidate, situation) or is_outdated(candidate, situation):
        return ""
    coverage = situation.evidence.coverage
    if coverage.whole and coverage.whole >= timedelta(days=situation.options.minimum_days):
        return ""
    source = _EXCLUDABLE.get(candidate.action.partition(":")[0], "")
    if source and source not in coverage.sources:
        return f"no event of {source} was seen from anybody: the trail may exclude them"
    if source and (short := _shorter(source, situation)):
        return f"the events of {source} {short}: the trail may have excluded them before"
    seen = visibility(candidate.action)
    if seen.visibility is not Visibility.MANAGEMENT or not _may_read(candidate.action, seen.read_only):
        return ""
    if not coverage.reads:
        return "no reading call of anybody was seen: the trail may log writes only"
    short = _shorter("management-read", situation)
    return f"the reading calls {short}: the trail may have logged writes only before" if short else ""


def _shorter(what: str, situation: Situation) -> str:
    """In words, how few days the records of some kind span; empty where they are enough, or nobody measured them."""
    span, least = situation.evidence.coverage.logged.get(what), situation.options.minimum_days
    return f"span {span.days} of {least} days" if span is not None and span < timedelta(days=least) else ""


def _may_read(action: str, read_only: bool | None) -> bool:
    """Whether CloudTrail may mark the call as a read; KMS and STS show that its flag is not IAM's access level."""
    if read_only is not None:
        return read_only
    level = catalog.access_level(action)
    writes = "Write" in level or "Tagging" in level or "Permissions management" in level
    return not writes or action.partition(":")[0] in ("kms", "sts")


def _shown_by(events: tuple[str, ...], action: str) -> bool:
    """Whether a use of the action may be an event of these kinds (`Scope.events`; none: of any kind)."""
    if not events:
        return True
    seen = visibility(action)
    match seen.visibility:
        case Visibility.DATA:
            kinds = (f"{seen.resource_type} {kind}" for kind in _KINDS[seen.read_only])
            return seen.resource_type in events or any(kind in events for kind in kinds)
        case Visibility.MANAGEMENT:
            reads = "management-read" in events and _may_read(action, seen.read_only)
            return reads or ("management-write" in events and seen.read_only is not True)
        case Visibility.NEVER:
            return False
        case _:
            return any(event.startswith("management-") for event in events)


def _reaches(candidate: Candidate, regions: tuple[str, ...], situation: Situation) -> bool:
    """Whether a use through this statement may have been recorded in one of these regions (none: in any)."""
    home = home_of(candidate, situation)
    where = {home} if home else only_regions(candidate.entry.statement)
    return not regions or where is None or not where.isdisjoint(regions)


def _lies_in(candidate: Candidate, places: tuple[str, ...]) -> bool:
    """Whether all resources of the statement lie in places where nothing is hidden (`Scope.outside`)."""

    def lies_in(resource: str, place: str) -> bool:
        # A bucket beside its objects, as many statements name it, is the place of all of them.
        named = resource if "/" in resource else f"{resource}/"
        return named.startswith(place[:-1]) if place.endswith("*") else resource == place

    resources = candidate.entry.statement.resources
    return bool(resources) and all(any(lies_in(resource, place) for place in places) for resource in resources)


_EXCLUDABLE: Mapping[str, str] = {"kms": "kms.amazonaws.com", "rds-data": "rdsdata.amazonaws.com"}
"""Management events that a trail may exclude: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/logging-management-events-with-cloudtrail.html."""


def other_resource(candidate: Candidate, situation: Situation) -> str:
    """A call needs a grant for each of several kinds of resource, and its record names only some of them."""
    known = catalog.action(candidate.action)
    used = [usage for usage in situation.used.get(candidate.action, ()) if usage.outcome is Outcome.ALLOWED]
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


def checked_inside(candidate: Candidate, situation: Situation) -> str:
    """AWS may authorize it inside a call that was made, and no record says whether it did."""
    event = situation.evidence.checked_inside.get(candidate.action)
    return f"AWS may check it inside {event}, which was called; the records do not say whether it did" if event else ""


_NEVER = timedelta(days=-1)
_KINDS: Mapping[bool | None, tuple[str, ...]] = {True: ("read",), False: ("write",), None: ("read", "write")}
"""Which data events show an action; some are needed by reading and writing calls (`s3:GetObject` by a copy)."""


def not_visible(candidate: Candidate, situation: Situation) -> str:
    """Its use would have left no trace in this evidence."""
    if dropped_with_service(candidate, situation):
        return ""
    seen = visibility(candidate.action)
    match seen.visibility:
        case Visibility.MANAGEMENT:
            return ""
        case Visibility.DATA:
            if _shown(candidate, situation):
                return ""
            return f"data event ({seen.resource_type}), not known to be recorded for these resources"
        case Visibility.PERMISSION_ONLY:
            return "CloudTrail does not show every use of it: other calls check it too, or it has no event of its own"
        case Visibility.NEVER:
            return "CloudTrail never records it"
        case _:
            return "whether CloudTrail records it is not known"


def could_hide(gap: Gap, action: str) -> bool:
    """Whether what a gap could not see may have been a use of the action."""
    scope = gap.scope
    if not gap.kind.hides_use or not _shown_by(scope.events, action):
        return False
    if scope.data_events:
        return visibility(action).visibility is Visibility.DATA
    if not scope.services and not scope.actions:
        return True
    prefix = action.partition(":")[0].lower()
    return prefix in scope.services or any(action_matches(pattern, action) for pattern in scope.actions)


def dropped_with_service(candidate: Candidate, situation: Situation) -> bool:
    """A wildcard over a service without any call goes whole when the user chose so (promise 4)."""
    prefix = candidate.action.partition(":")[0]
    if not is_unseen(candidate, situation) or not lets_unseen_go(candidate, situation):
        return False
    if candidate.entry.pattern.partition(":")[0].lower() != prefix:
        return True
    # Somebody wrote `rds-db:*` on purpose, and no trail shows anything of it: silence says nothing about the service.
    return prefix in _shown_services(candidate.entry.granted)


def is_unseen(candidate: Candidate, situation: Situation) -> bool:
    """Whether it is one of a wildcard, of a service without any call."""
    return candidate.entry.is_wildcard and candidate.action.partition(":")[0] not in situation.services


def lets_unseen_go(candidate: Candidate, situation: Situation) -> bool:
    """Whether the user, or IAM's own word, lets services without any call go."""
    return situation.options.drop_unseen_services or is_never_attempted(candidate, situation)


@lru_cache(maxsize=1_024)
def _shown_services(granted: tuple[str, ...]) -> frozenset[str]:
    """Services of which some granted action leaves management events, or of which nobody checked."""
    shown = (Visibility.MANAGEMENT, Visibility.UNKNOWN)
    return frozenset(action.partition(":")[0] for action in granted if visibility(action).visibility in shown)


def _shown(candidate: Candidate, situation: Situation) -> bool:
    """Whether the data events that show the action were recorded: another source may have what one lacks."""
    return _data_recorded(candidate, situation, _KINDS[visibility(candidate.action).read_only])


def _data_recorded(candidate: Candidate, situation: Situation, kinds: Collection[str]) -> bool:
    """Whether such data events were seen long enough for each resource of the statement.

    A selector may name a single bucket, and be there since yesterday.
    """
    resources = candidate.entry.statement.resources
    roots = {data_event_root(resource.removesuffix("/*")) for resource in resources}
    recorded = situation.evidence.data_recorded
    least = timedelta(days=situation.options.minimum_days)
    return bool(roots) and all(
        not set(root) & set("*?") and recorded.get((root, kind), _NEVER) >= least for root in roots for kind in kinds
    )
