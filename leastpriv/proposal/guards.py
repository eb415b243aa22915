"""The judgement of the product: one rule a function, each with a name that the reader of the pull request sees.

A guard looks at one action that an entry would no longer grant and answers with the reason to keep it, or with nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import timedelta
from functools import lru_cache
from itertools import pairwise

from leastpriv.evidence.runs import SILENCE
from leastpriv.evidence.usage import Evidence, data_event_root
from leastpriv.model import Gap, Outcome
from leastpriv.permissions import catalog
from leastpriv.permissions.patterns import action_matches
from leastpriv.permissions.resource_types import kinds_of
from leastpriv.permissions.visibility import Visibility, home_region, visibility
from leastpriv.policy.document import Statement
from leastpriv.proposal.declared import declared
from leastpriv.proposal.fingerprint import entry_id
from leastpriv.proposal.last_accessed import is_never_attempted, is_outdated, last_accessed, shared_policy
from leastpriv.proposal.second_opinion import generated_policy
from leastpriv.proposal.situation import Candidate, Objection, Situation

Guard = Callable[[Candidate, Situation], str]


def kept(candidate: Candidate, situation: Situation) -> str:
    """A person said that it stays."""
    for pattern in situation.options.keep:
        if action_matches(pattern, candidate.action):
            return f"`keep` names {pattern}"
    return ""


def declined(candidate: Candidate, situation: Situation) -> str:
    """A person closed the pull request that changed this entry."""
    if not situation.declined:
        return ""
    entry = candidate.entry
    number = situation.declined.get(entry_id(entry.pattern, entry.statement.sid, entry.resources))
    return f"it was declined in #{number}" if number else ""


def live_differs(candidate: Candidate, situation: Situation) -> str:  # noqa: ARG001
    """The account is not what the file says: what was used was used under other permissions."""
    differs = situation.evidence.live_differs
    return f"{differs}: deploy the file, or commit what was changed in the account, first" if differs else ""


def unknown_action(candidate: Candidate, situation: Situation) -> str:  # noqa: ARG001 - one shape for all guards
    """The catalogue lacks it, so nobody can say that it was not used."""
    if catalog.spelling(candidate.action) is None:
        return "the catalogue does not know this action, so its use cannot be ruled out"
    return ""


def minimum_days(candidate: Candidate, situation: Situation) -> str:  # noqa: ARG001
    """The evidence is too young."""
    days, least = situation.evidence.span.days, situation.options.minimum_days
    return f"the evidence spans {days} of {least} days" if days < least else ""


def minimum_runs(candidate: Candidate, situation: Situation) -> str:  # noqa: ARG001
    """Too few runs without a refusal."""
    known, least = situation.separate_runs, situation.options.minimum_runs
    runs = separate_runs(situation.evidence) if known is None else known
    return f"the evidence holds {runs} of {least} runs without a refusal" if runs < least else ""


def separate_runs(evidence: Evidence) -> int:
    """Runs without a refusal that needed a permission; those that began within an hour may be one deploy."""
    working = {run for usage in evidence.usages if usage.outcome is Outcome.ALLOWED for run in usage.runs}
    starts = sorted(run.first for run in evidence.runs if not run.denied and run.id in working)
    apart = sum(1 for before, start in pairwise(starts) if start - before > SILENCE)
    return apart + bool(starts)


def gap_in_scope(candidate: Candidate, situation: Situation) -> str:
    """Something that could not be read may have been a use of it."""
    for gap in situation.evidence.gaps:
        elsewhere = gap.scope.data_events and _shown(candidate, situation)
        if could_hide(gap, candidate.action) and _reaches(candidate, gap.scope.regions, situation) and not elsewhere:
            return f"{gap.kind}: {gap.detail}"
    return ""


def inconclusive(candidate: Candidate, situation: Situation) -> str:  # noqa: ARG001
    """It was called through this entry, and refused or without a clear answer: that vetoes a removal."""
    outcomes = {usage.outcome for usage in candidate.entry.uses.get(candidate.action, ())}
    if Outcome.DENIED in outcomes:
        return "it was called and refused"
    if Outcome.UNKNOWN in outcomes:
        return "it was called, with an answer that says nothing about authorisation"
    return ""


def unexplained_use(candidate: Candidate, situation: Situation) -> str:
    """It was allowed where no known policy grants it, or granted it then: its resource may have been read wrongly."""
    if candidate.action in situation.unexplained:
        return "it was allowed on a resource that no known policy covers: this grant may be the one that was used"
    uses = [usage for usage in situation.used.get(candidate.action, ()) if usage.outcome is Outcome.ALLOWED]
    if situation.changed and uses and all(usage.last_seen < situation.changed for usage in uses):
        # What grants the use now may be new: a second run right after a merge has to see what the first one saw.
        day = situation.changed.date().isoformat()
        return (
            f"no use of it is younger than the policy file's last change ({day}): this grant may have been the used one"
        )
    return ""


def unseen_service(candidate: Candidate, situation: Situation) -> str:
    """A wildcard's unit is the service: without any call it is dropped only where the user says so."""
    prefix = candidate.action.partition(":")[0]
    dropped = situation.options.drop_unseen_services or is_never_attempted(prefix, situation)
    if not candidate.entry.is_wildcard or prefix in situation.services or dropped:
        return ""
    return f"no call of {prefix} in the window; set `unseen-services: drop` to remove such grants"


def region_not_read(candidate: Candidate, situation: Situation) -> str:
    """The region that would have recorded its use is not in the evidence."""
    if _dropped_with_service(candidate, situation):
        return ""
    evidence = situation.evidence
    home = home_region(candidate.action.partition(":")[0], evidence.principal.split(":")[1])
    needed = {home} if home else _named_regions(candidate.entry.statement)
    if is_outdated(candidate, situation, frozenset(needed)):
        return ""
    least = timedelta(days=situation.options.minimum_days)
    spans = evidence.coverage.regions
    for region in sorted(needed):
        if region not in spans:
            return f"no record of {region} was read, where its use would have been recorded"
        if spans[region] < least:
            return f"the records of {region} span {spans[region].days} of {least.days} days"
    return ""


def not_recorded(candidate: Candidate, situation: Situation) -> str:
    """The trail may leave out events of its kind: reads, or those of a service that AWS lets trails exclude."""
    if _dropped_with_service(candidate, situation) or is_outdated(candidate, situation):
        return ""
    coverage = situation.evidence.coverage
    if coverage.whole and coverage.whole >= timedelta(days=situation.options.minimum_days):
        return ""
    source = _EXCLUDABLE.get(candidate.action.partition(":")[0], "")
    if source and source not in coverage.sources:
        return f"no event of {source} was seen from anybody: the trail may exclude them"
    seen = visibility(candidate.action)
    if seen.visibility is Visibility.MANAGEMENT and _may_read(candidate.action, seen.read_only) and not coverage.reads:
        return "no reading call of anybody was seen: the trail may log writes only"
    return ""


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
            return seen.resource_type in events
        case Visibility.MANAGEMENT:
            reads = "management-read" in events and _may_read(action, seen.read_only)
            return reads or ("management-write" in events and seen.read_only is not True)
        case Visibility.NEVER:
            return False
        case _:
            return True


def _reaches(candidate: Candidate, regions: tuple[str, ...], situation: Situation) -> bool:
    """Whether a use through this statement may have been recorded in one of these regions (none: in any)."""
    home = home_region(candidate.action.partition(":")[0], situation.evidence.principal.split(":")[1])
    where = {home} if home else _only_regions(candidate.entry.statement)
    return not regions or where is None or not where.isdisjoint(regions)


def _only_regions(statement: Statement) -> set[str] | None:
    """The regions that a statement is limited to; None: it may act in any."""
    for condition in statement.conditions:
        literal = not any(set(value) & set("*?$") for value in condition.values)
        if condition.key.lower() == "aws:requestedregion" and condition.operator == "StringEquals" and literal:
            return set(condition.values)
    fields = [resource.split(":", 5) for resource in statement.resources]
    named = {field[3] if len(field) == 6 else "" for field in fields}
    return named if named and all(region and not set(region) & set("*?$") for region in named) else None


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
        others = [kind for kind in kinds_of(known.name, resource) if kind not in named]
        if others:
            return f"it was called, and this grant may have served the call's {others[0]}, which no record names"
    return ""


def _named_regions(statement: Statement) -> set[str]:
    """Regions that a statement's resources or its condition on `aws:RequestedRegion` name."""
    fields = (resource.split(":", 5) for resource in statement.resources)
    regions = {field[3] for field in fields if len(field) == 6}
    for condition in statement.conditions:
        if condition.key.lower() == "aws:requestedregion" and "Not" not in condition.operator:
            regions.update(condition.values)
    return {region for region in regions if region and not set(region) & set("*?$")}


_KINDS: Mapping[bool | None, tuple[str, ...]] = {True: ("read",), False: ("write",), None: ("read", "write")}
"""Which data events show an action; some are needed by reading and writing calls (`s3:GetObject` by a copy)."""


def not_visible(candidate: Candidate, situation: Situation) -> str:
    """Its use would have left no trace in this evidence."""
    if _dropped_with_service(candidate, situation):
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


def sibling(candidate: Candidate, situation: Situation) -> str:
    """A later run will need it to update or delete what this role makes."""
    if _dropped_with_service(candidate, situation):
        return ""
    used = situation.siblings.get(candidate.action)
    return f"lifecycle counterpart of {used}" if used else ""


GUARDS: tuple[tuple[str, Guard], ...] = (
    ("keep", kept),
    ("declined", declined),
    ("live-differs", live_differs),
    ("unknown-action", unknown_action),
    ("minimum-days", minimum_days),
    ("minimum-runs", minimum_runs),
    ("gap-in-scope", gap_in_scope),
    ("inconclusive", inconclusive),
    ("unexplained-use", unexplained_use),
    ("last-accessed", last_accessed),
    ("shared-policy", shared_policy),
    ("access-analyzer", generated_policy),
    ("unseen-service", unseen_service),
    ("region-not-read", region_not_read),
    ("not-recorded", not_recorded),
    ("other-resource", other_resource),
    ("not-visible", not_visible),
    ("sibling", sibling),
    ("declared", declared),
)
"""In the order in which a reader should hear of them."""


def objection_to(candidate: Candidate, situation: Situation) -> Objection | None:
    """The first guard that holds the removal of this action back, or None."""
    for name, guard in GUARDS:
        reason = guard(candidate, situation)
        if reason:
            return Objection(name, reason)
    return None


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


def _dropped_with_service(candidate: Candidate, situation: Situation) -> bool:
    """A wildcard over a service without any call goes whole when the user chose so (promise 4)."""
    prefix = candidate.action.partition(":")[0]
    dropped = situation.options.drop_unseen_services or is_never_attempted(prefix, situation)
    if not candidate.entry.is_wildcard or not dropped or prefix in situation.services:
        return False
    if candidate.entry.pattern.partition(":")[0].lower() != prefix:
        return True
    # Somebody wrote `rds-db:*` on purpose, and no trail shows anything of it: silence says nothing about the service.
    return prefix in _shown_services(candidate.entry.granted)


@lru_cache(maxsize=1_024)
def _shown_services(granted: tuple[str, ...]) -> frozenset[str]:
    """Services of which some granted action leaves management events, or of which nobody checked."""
    shown = (Visibility.MANAGEMENT, Visibility.UNKNOWN)
    return frozenset(action.partition(":")[0] for action in granted if visibility(action).visibility in shown)


def _shown(candidate: Candidate, situation: Situation) -> bool:
    """Whether the data events that show the action were recorded: another source may have what one lacks."""
    return _data_recorded(candidate, situation, _KINDS[visibility(candidate.action).read_only])


def _data_recorded(candidate: Candidate, situation: Situation, kinds: Collection[str]) -> bool:
    """Whether such data events were seen for each resource of the statement: a selector may name a single bucket."""
    resources = candidate.entry.statement.resources
    roots = {data_event_root(resource.removesuffix("/*")) for resource in resources}
    recorded = situation.evidence.data_recorded
    return bool(roots) and all(
        not set(root) & set("*?") and (root, kind) in recorded for root in roots for kind in kinds
    )
