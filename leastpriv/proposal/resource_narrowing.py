"""Replaces `Resource: "*"` of a used action by the resources that the runs used.

The risk is a resource that no run has used yet. So each use must name its resource exactly, each pattern needs as many
runs as a removal, and the patterns of the earlier half of the runs must cover the later half. An action with too few
runs is granted on all resources of its type that any action used often enough. An action on resources that another
action creates is restricted only together with that one.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.diff.compare import Difference, Entry
from leastpriv.evidence.created_resources import CreatedResources, find_created_resources
from leastpriv.evidence.iam_paths import arns_without_path
from leastpriv.evidence.models import Evidence
from leastpriv.models import ChangeKind, Condition, GapKind, Outcome, Usage, grouped
from leastpriv.permissions.arn_templates import IN_PART, IN_RESPONSE, NAMED
from leastpriv.permissions.event_table import Visibility, visibility
from leastpriv.permissions.generalize import ObservedResource, Pattern
from leastpriv.permissions.lifecycle import created_types, is_tagging
from leastpriv.permissions.patterns import action_matches, resource_covers, without_covered
from leastpriv.permissions.resource_types import (
    action_of,
    creates_its_resource,
    fits,
    kinds_of,
    types_of_arn,
    whole_types,
    with_any_path,
)
from leastpriv.permissions.volatility import (
    WildcardPart,
    in_region,
    is_named_but_ids,
    is_open_anyway,
    is_whole_type,
    region_of,
    service_of,
)
from leastpriv.policy.document import Statement
from leastpriv.proposal.guards import first_guard_result, inconclusive, is_used, used_elsewhere
from leastpriv.proposal.lifecycle_additions import id_conditions
from leastpriv.proposal.models import Change, GuardContext, GuardResult, HeldBackChange, RemovalCandidate
from leastpriv.proposal.removals import change_of, creators_of, held_back
from leastpriv.proposal.stability import UNSTABLE, Stability, in_regions_in_use, names_by_word, where_applied
from leastpriv.proposal.visibility_guards import is_of_another_region, may_be_uncalled, unnamed_types
from leastpriv.proposal.wildcards import LIFECYCLE, NO_SIGN

_ESCAPED = re.compile(r"\$\{[*?$]\}")


class _Restriction(Struct, frozen=True):
    """A used action on `*` with the patterns that replace it, or the guard that holds it back."""

    entry: Entry
    """The entry reduced to the one action."""
    patterns: tuple[Pattern, ...] = ()
    guard_result: GuardResult | None = None

    @property
    def action(self) -> str:
        return self.entry.granted[0]


class _ObservedResources(Struct, frozen=True):
    created: CreatedResources
    exact_usages: Mapping[str, Sequence[Usage]]
    """Service -> usages that name their resource exactly."""
    names: Mapping[str, Mapping[str, Collection[str]]]
    """`names_by_word` of these usages."""
    pathless: frozenset[str]
    """ARNs of IAM that have no path for sure."""
    granted_literally: frozenset[str]
    """Actions that an entry of the policy names."""

    def of_type(self, action: str) -> list[ObservedResource]:
        """Observed resources of types that the action accepts, whichever action used them."""
        own = self.exact_usages.get(action.partition(":")[0], ())
        return self.created.seen(usage for usage in own if fits(action, usage.need.permission.resource))


def narrow_resources(
    difference: Difference, changes: Sequence[Change], context: GuardContext, *, escapes: bool
) -> tuple[list[Change], list[HeldBackChange]]:
    """Checks each used action that a statement would still grant on `*` after `changes`.

    With `resources: keep` it restricts nothing. `escapes`: whether the policy's version supports names with `*`, `?` or
    `$`.
    """
    entries = () if context.options.keep_forms else tuple(_wildcard_grants(difference, changes))
    if not entries:
        return [], []
    allowed = [usage for usage in context.evidence.usages if usage.outcome is Outcome.ALLOWED]
    pathless = arns_without_path(usage.need for usage in allowed if usage.succeeded)
    exact = [usage for usage in allowed if _is_exact(usage, pathless)]
    exact_usages = grouped([(service_of(usage.need.permission.resource), usage) for usage in exact])
    literal = frozenset(entry.granted[0] for entry in difference.entries if not entry.is_wildcard)
    created = find_created_resources(context.evidence.usages, runs=context.evidence.runs)
    names = names_by_word(exact)
    known = _ObservedResources(created, exact_usages, names, pathless, literal)
    creators = creators_of(context.used)
    checked = [_check_action(entry, context, creators.get(entry.granted[0], ()), known, escapes) for entry in entries]
    restrictions = _hold_with_creators(checked, creators)
    narrowed = [_change(each, context.evidence) for each in restrictions if not each.guard_result]
    narrowed += _partners_restricted(difference, changes, narrowed, context)
    held = ((each.entry, each.guard_result) for each in restrictions)
    return narrowed, [held_back(entry, ChangeKind.NARROW, why) for entry, why in held if why]


def _partners_restricted(
    difference: Difference, changes: Sequence[Change], restricted: Sequence[Change], context: GuardContext
) -> Iterator[Change]:
    """Restricts each unused action that a narrowed wildcard on `*` keeps to the resources of what it belongs to.

    A life-cycle action belongs to the used actions that it follows, another one to the used actions on its resource
    types. It remains on `*` if one of these does, or if it takes no resource of these.
    """
    wide = {entry.statement.index: entry for entry in difference.entries if "*" in entry.statement.resources}
    decided = {(change.statement, change.action) for change in changes if change.kind is not ChangeKind.ADD}
    on_all = (entry for entry in difference.entries if "*" in entry.statement.resources)
    unchanged = [entry for entry in on_all if (entry.statement.index, entry.pattern) not in decided]
    patterns = {(change.statement, change.restricted_action): change.patterns for change in restricted}
    for change in changes:
        entry = wide.get(change.statement)
        if entry is None or not change.kept or not _can_be_copied(entry.statement):
            continue
        for action, result in change.kept.items():
            owners = context.partners.get(action, ()) if result.guard == LIFECYCLE else _used_on_types(action, change)
            if result.guard not in NO_SIGN or not owners or _grants_any(unchanged, action):
                continue
            # The owner of a life-cycle action may be authorized on no resource or on the parent.
            for group in (owners, _used_on_types(action, change) if result.guard == LIFECYCLE else ()):
                known = [patterns.get((change.statement, owner)) for owner in group]
                own = where_applied(action, known)
                if own:
                    break
            if own and all(found is not None for found in known):
                unique = {each.pattern: each for each in own}
                names = tuple(sorted(without_covered(unique)))
                used = [usage for owner in owners for usage in context.used.get(owner, ())]
                conditions = id_conditions(action, names, used, context.evidence)
                yield replace(
                    change_of(entry, ChangeKind.NARROW),
                    action=action,
                    kept={action: result},
                    restricted_to=names,
                    patterns=tuple(unique[name] for name in names),
                    conditions=_without_asked(conditions, entry.statement),
                )


def without_folded(changes: Sequence[Change], restricted: Sequence[Change]) -> list[Change]:
    """Writes out each wildcard of a replacement that would grant a restricted action on `*` again."""
    found = []
    for change in changes:
        moved = [each.restricted_action for each in restricted if each.statement == change.statement]
        folded = {each for each in change.replacement if "*" in each and any(action_matches(each, a) for a in moved)}
        left = (*change.used, *(change.kept or ()))
        names = {action for action in left if any(action_matches(each, action) for each in folded)}
        entries = tuple(sorted({*change.replacement} - folded | names))
        found.append(replace(change, replacement=entries) if folded else change)
    return found


def _used_on_types(action: str, change: Change) -> tuple[str, ...]:
    """The used actions of a narrowed wildcard on the types of an action; none for items without a call on their own."""
    known = action_of(action)
    own = {kind.name for kind in known.resource_types} if known and not may_be_uncalled(action) else set()
    return tuple(
        each
        for each in change.used
        if each.partition(":")[0] == action.partition(":")[0]
        and (facts := action_of(each))
        and not own.isdisjoint(kind.name for kind in facts.resource_types)
    )


def _wildcard_grants(difference: Difference, changes: Sequence[Change]) -> Iterable[Entry]:
    """Used actions on `*`, each as an entry; skips those that an unchanged wildcard on `*` grants too."""
    decided = {(change.statement, change.action): change for change in changes if change.kind is not ChangeKind.ADD}
    on_all = [entry for entry in difference.entries if "*" in entry.statement.resources]
    wide = [entry for entry in on_all if entry.is_wildcard and (entry.statement.index, entry.pattern) not in decided]
    found: dict[tuple[int, str], Entry] = {}
    for entry in on_all:
        change = decided.get((entry.statement.index, entry.pattern))
        if entry.is_wildcard:
            names = [(action, action) for action in change.used] if change else []
        else:
            names = [] if change else [(entry.pattern, action) for action in entry.granted]
        for pattern, action in names:
            uses, facts = {action: entry.uses.get(action, ())}, action_of(action)
            if is_used(uses[action]) and facts and facts.resource_types and not _grants_any(wide, action):
                own = replace(entry, pattern=pattern, granted=(action,), uses=uses)
                found.setdefault((entry.statement.index, action), own)
    return found.values()


def _grants_any(entries: Iterable[Entry], action: str) -> bool:
    return any(
        action in entry.granted if entry.statement.not_actions else action_matches(entry.pattern, action)
        for entry in entries
    )


def _check_action(
    entry: Entry, context: GuardContext, creators: Sequence[str], known: _ObservedResources, escapes: bool
) -> _Restriction:
    action = entry.granted[0]
    candidate = RemovalCandidate(action, entry)
    doubt = inconclusive(candidate, context)
    guard_result = _guard_result(candidate, context, known.granted_literally)
    if not guard_result and not _can_be_copied(entry.statement):
        guard_result = GuardResult("condition", "its statement's condition cannot be written a second time")
    if guard_result:
        return _Restriction(entry, (), guard_result)
    own = [usage for name in creators for usage in context.used[name] if fits(action, usage.need.permission.resource)]
    usages = [usage for usage in (*entry.uses[action], *own) if usage.outcome is Outcome.ALLOWED]
    partly = next((usage for usage in usages if not _is_exact(usage, known.pathless)), None)
    if partly:
        reason = f"a call names its resource in part or by a like name: {partly.need.permission.resource}"
        return _Restriction(entry, (), GuardResult("unknown-resource", reason))
    found, is_creating = known.created.seen(usages), creates_its_resource(action)
    makers = _makers(entry, known.granted_literally) if is_creating else None
    stability = Stability(context, found, makers, known.names, escapes)
    patterns, instability = stability.judge(found)
    if instability and instability.guard != "policy-version":
        # Other actions may show the names; too few runs show which of them this action uses, so all of them count.
        kinds = {kind for each in found for kind in types_of_arn(service_of(each.resource), each.resource)}
        of_type = [*found, *known.of_type(action)]
        same = (each for each in of_type if kinds & types_of_arn(service_of(each.resource), each.resource))
        names = found if is_creating else of_type if is_tagging(action) else list(same)
        stability = replace(stability, shown=of_type)
        if instability.guard == "few-runs":
            patterns, instability = stability.judge(names)
        if instability:
            patterns, instability = stability.judge_common_names(names) or (patterns, instability)
    if _has_no_event(action) and instability and not any(each.made or each.family for each in found):
        # Every call names what it hands over, and the runs make no such resource.
        instability = None if instability.guard in UNSTABLE else instability
    patterns = (*in_regions_in_use(patterns, known.of_type(action)), *_of_unnamed_types(candidate, patterns, context))
    before = used_elsewhere(entry, (each.pattern for each in patterns), context.history.history_state)
    called = (usage.need.permission.resource for usage in entry.uses[action])
    if doubt and not all(any(resource_covers(each.pattern, name) for each in patterns) for name in called):
        before = before or GuardResult("inconclusive", doubt)
    return _Restriction(entry, patterns, instability or before)


def _of_unnamed_types(
    candidate: RemovalCandidate, patterns: Sequence[Pattern], context: GuardContext
) -> Iterator[Pattern]:
    """Every resource of each type that the calls may have served and no record names.

    Of any account where the calls used resources of the service in another one.
    """
    known = action_of(candidate.action)
    written = {kind for each in patterns for kind in kinds_of(candidate.action, each.pattern)}
    unnamed = {*unnamed_types(candidate, context)} - written if patterns else set()
    regions = sorted({region for each in patterns if (region := region_of(each.pattern))} or context.evidence.regions)
    prefix, own = candidate.action.partition(":")[0], context.evidence.principal.split(":")[4]
    arns = (usage.need.permission.resource.split(":", 5) for usage in context.evidence.usages if unnamed)
    is_shared = any(len(arn) > 5 and arn[2] == prefix and arn[4].isdigit() and arn[4] != own for arn in arns)
    for kind in known.resource_types if known else ():
        for resource in whole_types([kind], context.evidence.principal, regions) if kind.name in unnamed else ():
            account = resource.split(":")[4]
            is_open = account and (is_shared or account != own)
            name = re.sub(r"^((?:[^:]*:){4})[^:]+", r"\1*", resource) if is_open else resource
            yield Pattern(name, (), (WildcardPart(kind.name, "no record names which one the calls used"),))


def _guard_result(
    candidate: RemovalCandidate, context: GuardContext, granted_literally: Collection[str]
) -> GuardResult | None:
    """The guard that holds a restriction back; the calls that a carrier's action is known from name its resource."""
    is_inner = _has_no_event(candidate.action)
    if is_inner:
        gaps = tuple(gap for gap in context.evidence.gaps if gap.kind is not GapKind.MAY_PASS_ROLE)
        context = replace(context, evidence=replace(context.evidence, gaps=gaps))
    found = first_guard_result(candidate, context, "other-resource", "inconclusive")
    is_dropped = is_inner or context.options.drop_unseen_actions
    if found is None or (is_dropped and found.guard in NO_SIGN):
        return None
    is_named = candidate.action in granted_literally
    return found if is_named or not is_of_another_region(candidate, found, context) else None


def _makers(entry: Entry, granted_literally: Collection[str]) -> Mapping[str, int]:
    """Resource -> number of runs that made it, or that made another one from it.

    None made one for an action that a person granted by its name on `*`.
    """
    action = entry.granted[0]
    prefix, _, name = action.partition(":")
    created = {*created_types(prefix, name)}
    making = [usage for usage in entry.uses[action] if usage.outcome is Outcome.ALLOWED and usage.succeeded]
    used = ((usage.need.permission.resource, run) for usage in making for run in usage.runs)
    found = grouped(
        [
            (in_region(resource, "*"), run)
            for resource, run in used
            if action not in granted_literally
            or (created and created.isdisjoint(map(str.lower, types_of_arn(prefix, resource))))
        ]
    )
    return {resource: len({*runs}) for resource, runs in found.items()}


def _can_be_copied(statement: Statement) -> bool:
    """Whether a statement's condition can be written into a second statement; templates may hide parts of it."""
    return statement.conditions_readable and not any("${" in v for each in statement.conditions for v in each.values)


def _is_exact(usage: Usage, pathless: Collection[str]) -> bool:
    """Whether a call names its resource exactly; for an IAM resource the path too."""
    need = usage.need
    resource = need.permission.resource
    if ":log-group:" in resource:
        resource = resource.removesuffix(":*")
    if not need.exact or set(_ESCAPED.sub("", resource)) & {"*", "?"}:
        is_open = is_open_anyway(resource) or is_named_but_ids(resource)
        return is_whole_type(resource) or (need.derivation in (IN_PART, IN_RESPONSE) and is_open)
    may_have_path = need.derivation == NAMED and with_any_path(resource) and resource not in pathless
    return not may_have_path


def _hold_with_creators(checked: Sequence[_Restriction], creators: Mapping[str, tuple[str, ...]]) -> list[_Restriction]:
    """Holds an action back while the action that creates its resources remains on `*`."""
    found, is_changed = list(checked), True
    while is_changed:
        on_all, is_changed = {each.action for each in found if each.guard_result}, False
        for place, each in enumerate(found):
            named = [name for name in creators.get(each.action, ()) if name in on_all]
            if named and not each.guard_result:
                why = GuardResult(LIFECYCLE, f"{', '.join(named)} remains on `*` and may create another")
                found[place], is_changed = replace(each, guard_result=why), True
    return found


def _change(each: _Restriction, evidence: Evidence) -> Change:
    entry = each.entry
    usages = tuple(usage for usage in entry.uses[each.action] if usage.outcome is Outcome.ALLOWED)
    restricted_to = tuple(pattern.pattern for pattern in each.patterns)
    return replace(
        change_of(entry, ChangeKind.NARROW),
        used=(each.action,),
        usages=usages,
        restricted_to=restricted_to,
        patterns=each.patterns,
        conditions=_without_asked(
            _conditions(each.action, usages) or id_conditions(each.action, restricted_to, usages, evidence),
            entry.statement,
        ),
    )


def _without_asked(conditions: Sequence[Condition], statement: Statement) -> tuple[Condition, ...]:
    """The conditions; none where the statement has one on such a key."""
    asked = {each.key.lower() for each in statement.conditions}
    return tuple(conditions) if asked.isdisjoint(each.key.lower() for each in conditions) else ()


def _conditions(action: str, usages: Sequence[Usage]) -> tuple[Condition, ...]:
    """The condition that all uses of an action without own events met: `iam:PassedToService`."""
    shown = [usage.need.permission.conditions for usage in usages]
    keys = {(each.operator, each.key) for conditions in shown for each in conditions}
    if not _has_no_event(action) or len(keys) != 1 or not all(len(conditions) == 1 for conditions in shown):
        return ()
    [(operator, key)] = keys
    return (Condition(operator, key, tuple(sorted({value for [each] in shown for value in each.values}))),)


def _has_no_event(action: str) -> bool:
    """Whether an action is known by the parameters of calls that need another action only."""
    return visibility(action).visibility in (Visibility.CARRIERS, Visibility.PERMISSION_ONLY)
