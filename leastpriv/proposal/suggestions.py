"""Suggests permissions and conditions for the reader to copy; a proposal never writes them.

A condition narrows what a resource cannot: a grant on `*` to the regions in use, or a passed role
to its service. It is suggested if every allowed call of an action meets it, in as many runs as a
removal needs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain

from msgspec import Struct

from leastpriv.evidence.models import DeclaredNeeds, Evidence
from leastpriv.models import Basis, Condition, Usage, grouped, usages_by_action
from leastpriv.permissions.catalog import forbidden
from leastpriv.permissions.event_table import home_region
from leastpriv.permissions.fact_tables import table
from leastpriv.permissions.lifecycle import siblings_among, siblings_of
from leastpriv.permissions.patterns import resource_covers
from leastpriv.permissions.resource_types import bucket_of, creates_its_resource, fits, kinds_of
from leastpriv.policy.document import Document, Statement
from leastpriv.policy.evaluate import granted_resources, names_action, statements_allowing
from leastpriv.proposal.attached_policies import attached_policies
from leastpriv.proposal.models import Proposal
from leastpriv.proposal.wildcards import LIFECYCLE

_RECORDED_KEYS = {"iam:PassedToService": "iam:PassRole", "kms:ViaService": "kms:"}
"""Condition keys that `permissions/` derives from the record of every call -> the beginning of the
actions.
"""


class SuggestedAction(Struct, frozen=True):
    """An action that no policy grants and a later run may need."""

    action: str
    basis: Basis
    """`sibling` or `declared`."""
    because: str
    """The used action, the resource types or the AWS SAM policy template that it belongs to."""
    resources: tuple[str, ...] = ()
    """Used resources that the action accepts; empty if there is none."""


def suggested_actions(
    evidence: Evidence, documents: Sequence[Document], never_add: Sequence[str] = ()
) -> tuple[SuggestedAction, ...]:
    """Lists lifecycle counterparts of used actions, actions of the role's resource types, and data
    events.

    Items of a resource without recorded data events (off by default) may be used unseen. Actions
    that a policy grants on any resource are omitted, and so are those that are never added.
    """
    resources_by_action = {
        action: dict.fromkeys(usage.resource for usage in usages)
        for action, usages in usages_by_action(evidence.allowed_usages).items()
    }
    suggestions: dict[str, SuggestedAction] = {}
    for action, used_action in siblings_of(resources_by_action.keys()).items():
        used_resources = resources_by_action.get(used_action, ())
        resources = tuple(
            resource
            for resource in _as_written(used_action, used_resources, documents)
            if resource != "*" and fits(action, resource)
        )
        suggestions[action] = SuggestedAction(action, Basis.LIFECYCLE, used_action, resources)
    further_suggestions = chain(
        _on_created_resources(resources_by_action, documents),
        _declared(evidence.aws_findings.declared, resources_by_action),
        unrecorded_data_events(evidence, resources_by_action, documents),
    )
    for suggestion in further_suggestions:
        suggestions.setdefault(suggestion.action, suggestion)
    return tuple(
        suggestion
        for action, suggestion in sorted(suggestions.items())
        if not forbidden(action, never_add)
        and (action in resources_by_action or not statements_allowing(documents, action))
    )


def _as_written(
    action: str, resources: Iterable[str], documents: Sequence[Document]
) -> Iterable[str]:
    """Yields the patterns with which the policies grant an action on used resources, else the
    resources themselves.
    """
    patterns = [pattern for pattern in granted_resources(documents, action) if pattern != "*"]
    return dict.fromkeys(
        next((pattern for pattern in patterns if resource_covers(pattern, resource)), resource)
        for resource in resources
    )


def _declared(declared: DeclaredNeeds, used: Collection[str]) -> Iterator[SuggestedAction]:
    """Actions that templates and plans need and no run used, with the resources that they name, and
    those of the resource types of stacks.
    """
    needs = declared.needs + declared.later_needs
    needs_by_action = grouped((need.permission.action, need) for need in needs)
    for action, own in needs_by_action.items():
        if action not in used:
            exact_resources = dict.fromkeys(need.permission.resource for need in own if need.exact)
            yield SuggestedAction(action, Basis.DECLARED, own[0].because, tuple(exact_resources))
    for action, types in declared.actions.items():
        if action not in used:
            yield SuggestedAction(action, Basis.DECLARED, ", ".join(types[:3]))


def _on_created_resources(
    used: Mapping[str, Collection[str]], documents: Sequence[Document]
) -> Iterator[SuggestedAction]:
    """Used actions on resources that the role created and has not used them on yet.

    The last run created the queue `orders-3`; `SetQueueAttributes` was used on `orders-1` and
    `orders-2`.
    """
    creating_actions: dict[str, str] = {}
    resources_by_action: dict[str, dict[str, None]] = {}
    for creating_action in filter(creates_its_resource, used):
        for action in siblings_among(creating_action, used):
            created = (name for name in used[creating_action] if name not in used[action])
            for resource in _not_granted(action, created, documents):
                creating_actions.setdefault(action, creating_action)
                resources_by_action.setdefault(action, {})[resource] = None
    for action, resources in resources_by_action.items():
        yield SuggestedAction(action, Basis.LIFECYCLE, creating_actions[action], tuple(resources))


def _not_granted(
    action: str, resources: Iterable[str], documents: Sequence[Document]
) -> Iterator[str]:
    """Yields the resources that an action takes and on which no policy grants it."""
    granted = granted_resources(documents, action)
    if not granted:
        # AWS denied it or a person declined it.
        return
    for resource in resources:
        if resource == "*" or not fits(action, resource):
            continue
        # CloudWatch Logs takes a log group with and without `:*`.
        forms = (resource, resource.removesuffix(":*"))
        if not any(resource_covers(pattern, form) for pattern in granted for form in forms):
            yield resource


def kept_counterparts(proposal: Proposal, evidence: Evidence) -> tuple[SuggestedAction, ...]:
    """Lifecycle counterparts of used actions that remain in the policy without use."""
    kept_actions = {
        held_change.action.lower()
        for held_change in proposal.held_back
        if held_change.guard_result.guard == LIFECYCLE
    }
    for change in proposal.changes:
        kept_actions.update(action.lower() for action in change.kept_by(LIFECYCLE))
    used_by_sibling = siblings_of({usage.action for usage in evidence.allowed_usages})
    return tuple(
        SuggestedAction(action, Basis.LIFECYCLE, used_by_sibling[action])
        for action in sorted(used_by_sibling)
        if action.lower() in kept_actions
    )


def unrecorded_data_events(
    evidence: Evidence, used: Mapping[str, Iterable[str]], documents: Sequence[Document]
) -> Iterator[SuggestedAction]:
    """Usual actions on items of used resources without recorded data events."""
    recorded = {bucket_of(stream.prefix) for stream in evidence.coverage.data}
    action_by_resource = {
        resource: action
        for action, resources in used.items()
        for resource in resources
        if resource not in recorded and not set(resource) & {*"*?$"}
    }
    for row in table("item_level"):
        if row["needs"] and row["needs"] not in used:
            continue
        resources_by_action = grouped(
            (action, resource)
            for resource, action in action_by_resource.items()
            if action.startswith(f"{row['prefix']}:") and row["type"] in kinds_of(action, resource)
        )
        names: dict[str, None] = {}
        for action, resources in resources_by_action.items():
            names.update(dict.fromkeys(_as_written(action, resources, documents)))
        if not names:
            continue
        items = tuple(f"{name}{row['below']}" for name in names)
        for action in row["actions"].split(","):
            if action not in used:
                yield SuggestedAction(action, Basis.DECLARED, row["template"], items)


class SuggestedCondition(Struct, frozen=True):
    """A condition that a statement could have."""

    statement: int
    """Index in the proposed document."""
    sid: str
    actions: tuple[str, ...]
    """Used actions of the statement whose every call met the condition, sorted."""
    condition: Condition
    runs: int
    """Number of runs of the least used action."""


def suggested_conditions(
    document: Document, evidence: Evidence, minimum_runs: int
) -> tuple[SuggestedCondition, ...]:
    """Lists conditions that each Allow statement of the proposed document could add."""
    verified = [usage for usage in evidence.allowed_usages if usage.need.verified]
    usages_of_action = usages_by_action(verified)
    suggested: list[SuggestedCondition] = []
    for statement in document.statements:
        if statement.effect == "Allow" and statement.conditions_readable:
            suggested += _conditions_for(statement, usages_of_action, evidence, minimum_runs)
    return tuple(suggested)


def _conditions_for(
    statement: Statement,
    usages_of_action: Mapping[str, Sequence[Usage]],
    evidence: Evidence,
    minimum_runs: int,
) -> Iterator[SuggestedCondition]:
    """Yields the conditions that one statement could add, on keys of which it has none."""
    partition = evidence.principal.split(":")[1]
    keys = {condition.key.lower() for condition in statement.conditions}
    runs_by_condition: dict[Condition, dict[str, int]] = {}
    for action, usages in usages_of_action.items():
        runs = len({run for usage in usages for run in usage.runs})
        if runs < max(minimum_runs, 2) or not names_action(statement, action):
            continue
        common = _common_conditions(action, usages, statement, partition)
        for condition in (*common, *attached_policies(usages, evidence)):
            if condition.key.lower() not in keys:
                runs_by_condition.setdefault(condition, {})[action] = runs
    for condition in sorted(runs_by_condition):
        runs_by_action = runs_by_condition[condition]
        yield SuggestedCondition(
            statement=statement.index,
            sid=statement.sid,
            actions=tuple(sorted(runs_by_action)),
            condition=condition,
            runs=min(runs_by_action.values()),
        )


def _common_conditions(
    action: str, usages: Sequence[Usage], statement: Statement, partition: str
) -> Iterator[Condition]:
    """Yields the conditions that all usages of an action through a statement met."""
    # A resource names its region; a global service chooses its own.
    is_on_all = not statement.resources or "*" in statement.resources
    is_global = bool(home_region(action.partition(":")[0], partition))
    if is_on_all and not is_global and all(usage.regions for usage in usages):
        regions = {region for usage in usages for region in usage.regions}
        yield Condition("StringEquals", "aws:RequestedRegion", tuple(sorted(regions)))
    for key, beginning in _RECORDED_KEYS.items():
        values = _values_of_all(usages, key)
        if values and action.startswith(beginning):
            yield Condition("StringEquals", key, values)
    # Services through which all calls came, if each is known to set the key.
    services = {service for usage in usages for service in usage.forwarded_by}
    is_known = services <= {row["service"] for row in table("called_via")}
    if services and is_known and not any(usage.programs for usage in usages):
        yield Condition("ForAnyValue:StringEquals", "aws:CalledVia", tuple(sorted(services)))


def _values_of_all(usages: Iterable[Usage], key: str) -> tuple[str, ...]:
    """Returns the values that usages had of a condition key; none where one of them lacks it."""
    values: set[str] = set()
    for usage in usages:
        conditions = usage.need.permission.conditions
        of_key = [condition for condition in conditions if condition.key.lower() == key.lower()]
        if not of_key:
            return ()
        for condition in of_key:
            values.update(condition.values)
    return tuple(sorted(values))
