"""Decides whether a doubt keeps an unused action of `*`, NotAction or `sqs:*`, which no person
chose by its name.

Any other entry keeps every action that a guard doubts. A wildcard grants hundreds of actions, and
"its use may leave no event" is true of many of them. It keeps what the deploying tool does to the
resources in use, and what a deployment usually does unseen; the wildcard of one service also keeps
unrecorded actions on the resource types in use. The report names the rest as removed without proof.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache

from leastpriv.diff.compare import Entry
from leastpriv.errors import listed
from leastpriv.models import grouped
from leastpriv.permissions import catalog
from leastpriv.permissions.catalog import forbidden
from leastpriv.permissions.event_table import Visibility, visibility
from leastpriv.permissions.fact_tables import table
from leastpriv.permissions.lifecycle import is_tagging
from leastpriv.permissions.names.app_names import destroys
from leastpriv.permissions.patterns import has_variable, resource_covers, resource_overlaps
from leastpriv.permissions.tool_lifecycle import (
    PROVIDER_CALLS,
    SCRIPT,
    STACK_SERVICE,
    Phase,
    Tool,
    actions_of_phase,
    conditional_actions,
    making_actions,
    types_made_by,
    types_of_service,
)
from leastpriv.permissions.volatility import ServiceType, service_types
from leastpriv.policy.document import Statement
from leastpriv.proposal.guards import minimum_confidence
from leastpriv.proposal.models import GuardContext, GuardResult, Lifecycle, RemovalCandidate
from leastpriv.proposal.recorded_use import checked_inside
from leastpriv.proposal.visibility_guards import (
    deploying_programs,
    dropped_with_service,
    is_done_by,
    is_of_another_region,
)

LIFECYCLE = "sibling"
"""Guard of an action that the life cycle of a used resource needs."""
_BY_HAND = frozenset({SCRIPT, ""})
"""Programs that may call any operation: one without a user agent may be a script."""
NO_SIGN = frozenset({"checked-inside", "not-visible", LIFECYCLE, "declared"})
"""Guards that name no sign of a use."""
COVERAGE = frozenset({"gap-in-scope", "region-not-read", "not-recorded", "minimum-confidence"})
"""Guards that name what the evidence lacks, for many actions at once."""


def keeping_result(
    candidate: RemovalCandidate, found: GuardResult, context: GuardContext
) -> GuardResult | None:
    """The reason to keep an unused action of a wildcard that a guard found, or None where the doubt
    is no reason.
    """
    if not candidate.entry.spans_a_service:
        return _keeping_named(candidate, found, context)
    action = candidate.action
    guard = found.guard
    if guard in NO_SIGN | COVERAGE and forbidden(action, context.options.never_add):
        return None
    if guard == "minimum-confidence" and not _is_for_resources_in_use(action, context):
        return None
    if _names_a_sign(candidate, found, context):
        return found
    if dropped_with_service(candidate, context) or action in _of_service_principals():
        return None
    keeps_unseen = not context.options.drop_unseen_actions
    if guard != LIFECYCLE and keeps_unseen and _may_serve_a_deploy(candidate, context):
        return found
    partners = context.partners.get(action)
    if partners and context.options.lifecycle.writes:
        if not needs_lifecycle(candidate, context):
            return None
        return GuardResult(LIFECYCLE, f"lifecycle counterpart of {listed(partners, 1)}")
    if guard == LIFECYCLE:
        return _of_next_run(candidate, context)
    if guard == "declared" and keeps_unseen:
        return found
    return None


def _names_a_sign(candidate: RemovalCandidate, found: GuardResult, context: GuardContext) -> bool:
    """Whether a guard names a sign of a use, in a region where the entry may be used."""
    if found.guard in NO_SIGN:
        return False
    spans_services = candidate.entry.spans_services
    return not (spans_services and is_of_another_region(candidate, found, context))


def _keeping_named(
    candidate: RemovalCandidate, found: GuardResult, context: GuardContext
) -> GuardResult | None:
    """The same for an entry in which a person named a part of the service, as `iam:*Role*`: what
    the tool does decides, not a like name.
    """
    if found.guard != LIFECYCLE or not candidate.entry.is_wildcard:
        return found
    if candidate.action not in context.partners:
        return _of_next_run(candidate, context)
    return found if needs_lifecycle(candidate, context) else None


def needs_lifecycle(candidate: RemovalCandidate, context: GuardContext) -> bool:
    """Whether a wildcard keeps an unused counterpart of a used action.

    As in a first draft, a deletion is kept for short-lived copies alone. It is offered elsewhere,
    unless `lifecycle: all` asks for it or each action of the entry deletes: a person named these.
    """
    if not leaves_to_offers(candidate.action, candidate.entry, context):
        return True
    statement = candidate.entry.statement
    deletions = context.unused_deletions(candidate.action)
    for change in deletions.written:
        if any(part_granted(statement, name, deletions.spared) for name in change.resources):
            return True
    return False


def leaves_to_offers(action: str, entry: Entry, context: GuardContext) -> bool:
    """Whether an unused action of an entry is a deletion that no person asked for."""
    if not destroys(action) or context.options.lifecycle is Lifecycle.ALL:
        return False
    return not all(map(destroys, entry.granted))


def part_granted(
    statement: Statement, pattern: str, spared: Collection[str] = ()
) -> tuple[str, ...]:
    """Returns the resources of a pattern on which a statement grants: the pattern itself, or the
    resources of the statement that it covers. A statement with a variable may grant on each.

    Args:
        statement: the statement.
        pattern: the pattern.
        spared: names that the pattern covers and that are left out.
    """
    if any(map(has_variable, (*statement.resources, *statement.not_resources))):
        return (pattern,)
    if statement.not_resources:
        is_excluded = any(resource_overlaps(name, pattern) for name in statement.not_resources)
        return () if is_excluded else (pattern,)
    if any(resource_covers(name, pattern) for name in statement.resources):
        return (pattern,)
    return tuple(
        name
        for name in statement.resources
        if resource_covers(pattern, name)
        and not any(resource_overlaps(name, spared_name) for spared_name in spared)
    )


def _of_next_run(candidate: RemovalCandidate, context: GuardContext) -> GuardResult | None:
    """The doubt whether the next run needs a reading action of a like name, or None where there is
    none.
    """
    is_read = context.options.lifecycle.writes and catalog.is_read(candidate.action)
    reason = minimum_confidence(candidate, context) if is_read else ""
    is_in_use = bool(reason) and _is_for_resources_in_use(candidate.action, context)
    return GuardResult("minimum-confidence", reason) if is_in_use else None


def _may_serve_a_deploy(candidate: RemovalCandidate, context: GuardContext) -> bool:
    """Whether a deployment may well use the action without an event of it in this evidence."""
    action = candidate.action
    prefix = action.partition(":")[0]
    # A script that calls one service may send a message to another.
    has_script = not _BY_HAND.isdisjoint(deploying_programs(context))
    match visibility(action).visibility:
        case Visibility.DATA:
            return _may_leave_data_event(action, context, has_script=has_script)
        case Visibility.NEVER:
            return has_script or prefix not in context.programs
        case Visibility.MANAGEMENT:
            # A service that calls the API for the principal leaves the event of that call.
            return False
        case _ if is_tagging(action):
            # A call without tags needs no such action; where the runs set tags, it is of the life
            # cycle.
            return False
        case _:
            # A call without the parameter that makes AWS check the action is no use of it.
            return bool(checked_inside(candidate, context))


def _may_leave_data_event(action: str, context: GuardContext, *, has_script: bool) -> bool:
    """Whether a deployment may well use an action that only data events show."""
    prefix = action.partition(":")[0]
    if _is_of_tool(action, context) or _may_call_a_provider(action, context):
        return True
    if _is_usual(action, context):
        return True
    is_terraform = Tool.TERRAFORM in context.programs.get(prefix, ())
    if is_terraform and action in _only_in_data_events(prefix):
        return True
    # The service of a resource type in use may have no list of usual actions.
    return has_script and prefix not in _item_services() and _has_type_in_use(action, context)


def _is_for_resources_in_use(action: str, context: GuardContext) -> bool:
    """Whether a later run may do this to a resource type in use: by the types of the tool, or any
    program's.
    """
    prefix, catalogue_action = action.partition(":")[0], catalog.action(action)
    if _BY_HAND.isdisjoint(context.programs.get(prefix, ())):
        return _is_of_tool(action, context)
    if catalogue_action is None or catalogue_action.resource_types:
        return _has_type_in_use(action, context)
    # What names no resource may read what a used action names: `DescribeTargetHealth` after
    # `CreateTargetGroup`.
    nouns = frozenset(
        noun
        for used_action in context.used
        if used_action.startswith(f"{prefix}:")
        for noun in _nouns_of(used_action)
    )
    return catalog.is_read(action) and not nouns.isdisjoint(_nouns_of(action))


@lru_cache(maxsize=4_096)
def _nouns_of(action: str) -> frozenset[str]:
    """The words behind the verb of an action, cut at the letters that a plural leaves alone:
    `polic`, `group`.
    """
    return frozenset(
        word[:5].lower() for word in re.findall("[A-Z]+(?![a-z])|[A-Z][a-z]+", action)[1:]
    )


def _is_of_tool(action: str, context: GuardContext) -> bool:
    """Whether a deploy tool does this to a resource type that the runs created:
    `sqs:GetQueueAttributes`.
    """
    prefix = action.partition(":")[0]
    used_of_service = frozenset(
        used_action for used_action in context.used if used_action.partition(":")[0] == prefix
    )
    return context.programs.get(prefix) != frozenset({SCRIPT}) and action in _actions_of_tools(
        used_of_service
    )


@lru_cache(maxsize=256)
def _actions_of_tools(used: frozenset[str]) -> frozenset[str]:
    actions = set[str]()
    for kind in {kind for used_action in used for kind in types_made_by(used_action)}:
        of_any_phase = {action for phase in Phase for action in actions_of_phase(kind, phase)}
        actions |= of_any_phase - conditional_actions(kind)
    return frozenset(actions)


def _may_call_a_provider(action: str, context: GuardContext) -> bool:
    """Whether a stack of the role may have a custom resource, whose provider a data event shows
    alone.
    """
    prefix = action.partition(":")[0]
    used_of_providers = (
        usage
        for name, usages in context.used.items()
        if name.startswith(f"{prefix}:")
        for usage in usages
    )
    return action in PROVIDER_CALLS and any(
        STACK_SERVICE in usage.forwarded_by for usage in used_of_providers
    )


@lru_cache(maxsize=256)
def _only_in_data_events(prefix: str) -> frozenset[str]:
    """The actions of Terraform's types of a service that no management event shows:
    `aws_lambda_invocation`.
    """
    if prefix in _item_services():
        return frozenset()
    kinds_made = set[str]()
    for kind in types_of_service(Tool.TERRAFORM, prefix):
        if all(
            visibility(making_action).visibility is Visibility.DATA
            for making_action in making_actions(kind)
        ):
            kinds_made.update(action for phase in Phase for action in actions_of_phase(kind, phase))
    return frozenset(each for each in kinds_made if visibility(each).visibility is Visibility.DATA)


def _is_usual(action: str, context: GuardContext) -> bool:
    """Whether deployments by these programs usually do this to the items of a resource."""
    callers = context.programs.get(action.partition(":")[0], frozenset())
    everywhere = deploying_programs(context)
    for row in _usual().get(action, ()):
        programs = everywhere if row["uncalled"] else callers | (everywhere & {SCRIPT})
        is_needed = not row["needs"] or row["needs"] in context.used
        if is_needed and row["unless"] not in context.programs and is_done_by(row, programs):
            return True
    return False


def _has_type_in_use(action: str, context: GuardContext) -> bool:
    """Whether the action is for a type of which the role uses a resource, or for no resource."""
    known = catalog.action(action)
    if known is None or not known.resource_types:
        return known is not None
    service = action.partition(":")[0]
    types = {ServiceType(service, kind.name.lower()) for kind in known.resource_types}
    resources = {usage.resource for usages in context.used.values() for usage in usages}
    return not types.isdisjoint(_types_of(frozenset(resources)))


@lru_cache(maxsize=64)
def _types_of(resources: frozenset[str]) -> frozenset[ServiceType]:
    return frozenset[ServiceType]().union(*map(service_types, resources))


@lru_cache(maxsize=1)
def _of_service_principals() -> frozenset[str]:
    """Actions that a service of AWS alone does, as the policy of a resource allows it."""
    return frozenset(row["action"] for row in table("service_principals"))


@lru_cache(maxsize=1)
def _item_services() -> frozenset[str]:
    """Services whose resources hold items, such as the objects of a bucket, whose use no management
    event shows.
    """
    return frozenset(row["prefix"] for row in table("item_level"))


@lru_cache(maxsize=1)
def _usual() -> Mapping[str, Sequence[Mapping[str, str]]]:
    return grouped(
        [(action, row) for row in table("item_level") for action in row["actions"].split(",")]
    )
