"""Suggests permissions and conditions for the reader to copy; a proposal never writes them.

A condition narrows what a resource cannot: a grant on `*` to the regions in use, or a passed role
to its service. It is suggested if every allowed call of an action meets it, in as many runs as a
removal needs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain

from msgspec import Struct

from leastpriv.evidence.models import Evidence
from leastpriv.models import Basis, Condition, Need, Outcome, Usage, grouped
from leastpriv.permissions.catalog import forbidden
from leastpriv.permissions.event_table import home_region
from leastpriv.permissions.fact_tables import table
from leastpriv.permissions.lifecycle import siblings_among, siblings_of
from leastpriv.permissions.patterns import resource_covers
from leastpriv.permissions.resource_types import bucket_of, creates_its_resource, fits, kinds_of
from leastpriv.policy.document import Document, Statement
from leastpriv.policy.evaluate import names_action, statements_allowing
from leastpriv.proposal.attached_policies import attached_policies
from leastpriv.proposal.models import Proposal
from leastpriv.proposal.wildcards import LIFECYCLE

_RECORDED_KEYS = (("iam:PassedToService", "iam:PassRole"), ("kms:ViaService", "kms:"))
"""Condition keys that `permissions/` derives from the record of every call, with the beginning of
the actions.
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
    allowed = (
        usage.need.permission for usage in evidence.usages if usage.outcome is Outcome.ALLOWED
    )
    by_action = grouped([(permission.action, permission.resource) for permission in allowed])
    resources_by_action = {
        action: dict.fromkeys(resources) for action, resources in by_action.items()
    }
    suggestions: dict[str, SuggestedAction] = {}
    for action, used_action in siblings_of(resources_by_action.keys()).items():
        written_resources = _as_written(
            used_action, tuple(resources_by_action.get(used_action, ())), documents
        )
        resources = tuple(
            resource for resource in written_resources if resource != "*" and fits(action, resource)
        )
        suggestions[action] = SuggestedAction(action, Basis.LIFECYCLE, used_action, resources)
    declared = evidence.aws_findings.declared
    types_of = declared.actions.items()
    declared_actions = (
        _on_created_resources(resources_by_action, documents),
        _declared(declared.needs + declared.later_needs, resources_by_action),
        (
            SuggestedAction(each, Basis.DECLARED, ", ".join(types[:3]))
            for each, types in types_of
            if each not in resources_by_action
        ),
        unrecorded_data_events(evidence, resources_by_action, documents),
    )
    for suggestion in chain.from_iterable(declared_actions):
        suggestions.setdefault(suggestion.action, suggestion)
    return tuple(
        suggestion
        for action, suggestion in sorted(suggestions.items())
        if not forbidden(action, never_add)
        and (action in resources_by_action or not statements_allowing(documents, action))
    )


def _as_written(
    action: str, resources: Sequence[str], documents: Sequence[Document]
) -> Iterable[str]:
    """Yields the patterns with which the policies grant an action on used resources, else the
    resources themselves.
    """
    granting = statements_allowing(documents, action)
    patterns = [
        pattern for statement in granting for pattern in statement.resources if pattern != "*"
    ]
    return dict.fromkeys(
        next((pattern for pattern in patterns if resource_covers(pattern, resource)), resource)
        for resource in resources
    )


def _declared(needs: Sequence[Need], used: Collection[str]) -> Iterator[SuggestedAction]:
    """Actions that templates and plans need and no run used, with the resources that they name."""
    by_action = grouped(
        [(need.permission.action, need) for need in needs if need.permission.action not in used]
    )
    for action, own in by_action.items():
        exact_resources = dict.fromkeys(need.permission.resource for need in own if need.exact)
        yield SuggestedAction(action, Basis.DECLARED, own[0].because, tuple(exact_resources))


def _on_created_resources(
    used: Mapping[str, Mapping[str, None]], documents: Sequence[Document]
) -> Iterator[SuggestedAction]:
    """Used actions on resources that the role created and has not used them on yet.

    The last run created the queue `orders-3`; `SetQueueAttributes` was used on `orders-1` and
    `orders-2`.
    """
    owner_and_resources: dict[str, tuple[str, dict[str, None]]] = {}
    for used_action in filter(creates_its_resource, used):
        for action in siblings_among(used_action, used):
            # Where no statement grants the action, AWS denied it or a person declined it.
            granting = statements_allowing(documents, action)
            allowed = [
                resource for statement in granting for resource in statement.resources or ("*",)
            ]
            for resource in used[used_action] if granting else ():
                # CloudWatch Logs takes a log group with and without `:*`.
                forms = {resource, resource.removesuffix(":*")}
                is_used = resource == "*" or resource in used[action] or not fits(action, resource)
                if not is_used and not any(
                    resource_covers(allowed_resource, form)
                    for allowed_resource in allowed
                    for form in forms
                ):
                    owner_and_resources.setdefault(action, (used_action, {}))[1][resource] = None
    for action, (used_action, missing) in owner_and_resources.items():
        yield SuggestedAction(action, Basis.LIFECYCLE, used_action, tuple(missing))


def kept_counterparts(proposal: Proposal, evidence: Evidence) -> tuple[SuggestedAction, ...]:
    """Lifecycle counterparts of used actions that remain in the policy without use."""
    allowed_actions = {
        usage.need.permission.action
        for usage in evidence.usages
        if usage.outcome is Outcome.ALLOWED
    }
    used_by_sibling = siblings_of(allowed_actions)
    kept_pairs = [pair for change in proposal.changes for pair in (change.kept or {}).items()]
    kept_pairs += [
        (held_change.action, held_change.guard_result) for held_change in proposal.held_back
    ]
    kept_actions = {action for action, result in kept_pairs if result.guard == LIFECYCLE}
    spelling_by_lower = {action.lower(): action for action in used_by_sibling}
    counterparts = sorted(
        {
            spelling_by_lower[action.lower()]
            for action in kept_actions
            if action.lower() in spelling_by_lower
        }
    )
    return tuple(
        SuggestedAction(action, Basis.LIFECYCLE, used_by_sibling[action]) for action in counterparts
    )


def unrecorded_data_events(
    evidence: Evidence, used: Mapping[str, Mapping[str, None]], documents: Sequence[Document]
) -> Iterator[SuggestedAction]:
    """Usual actions on items of used resources without recorded data events."""
    recorded = {bucket_of(stream.prefix) for stream in evidence.coverage.data}
    in_use = {resource: action for action, resources in used.items() for resource in resources}
    for row in table("item_level"):
        if row["needs"] and row["needs"] not in used:
            continue
        by_action = grouped(
            [
                (action, resource)
                for resource, action in in_use.items()
                if action.startswith(f"{row['prefix']}:")
                and not set(resource) & {*"*?$"}
                and resource not in recorded
                and row["type"] in kinds_of(action, resource)
            ]
        )
        written = dict.fromkeys(
            name for own, names in by_action.items() for name in _as_written(own, names, documents)
        )
        resources = tuple(f"{name}{row['below']}" for name in written)
        for action in row["actions"].split(",") if resources else ():
            if action not in used:
                yield SuggestedAction(action, Basis.DECLARED, row["template"], resources)


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
    usages_shown = (
        usage
        for usage in evidence.usages
        if usage.outcome is Outcome.ALLOWED and usage.need.verified
    )
    usages_by_action = grouped([(usage.need.permission.action, usage) for usage in usages_shown])
    partition = evidence.principal.split(":")[1]
    actions_by_condition: dict[tuple[int, Condition], dict[str, int]] = {}
    for statement in document.statements:
        if statement.effect != "Allow" or not statement.conditions_readable:
            continue
        condition_keys = {condition.key.lower() for condition in statement.conditions}
        for action, usages in usages_by_action.items():
            runs = len({run for usage in usages for run in usage.runs})
            if runs < max(minimum_runs, 2) or not names_action(statement, action):
                continue
            common = _common_conditions(action, usages, statement, partition)
            for condition in (*common, *attached_policies(usages, evidence)):
                if condition.key.lower() not in condition_keys:
                    actions_by_condition.setdefault((statement.index, condition), {})[action] = runs
    return tuple(
        SuggestedCondition(
            statement=index,
            sid=document.statements[index].sid,
            actions=tuple(sorted(runs)),
            condition=condition,
            runs=min(runs.values()),
        )
        for (index, condition), runs in sorted(actions_by_condition.items())
    )


def _common_conditions(
    action: str, usages: Sequence[Usage], statement: Statement, partition: str
) -> Iterator[Condition]:
    """Yields the conditions that all usages of an action through a statement met."""
    # A resource names its region; a global service chooses its own.
    open_to_all = not statement.resources or "*" in statement.resources
    is_regional = all(use.regions for use in usages) and not home_region(
        action.partition(":")[0], partition
    )
    if open_to_all and is_regional:
        regions = {region for use in usages for region in use.regions}
        yield Condition("StringEquals", "aws:RequestedRegion", tuple(sorted(regions)))
    conditions_of_usages = [usage.need.permission.conditions for usage in usages]
    for key, prefix in _RECORDED_KEYS:
        conditions_of_key = [
            [condition for condition in conditions if condition.key.lower() == key.lower()]
            for conditions in conditions_of_usages
        ]
        if action.startswith(prefix) and all(conditions_of_key):
            values = {
                value
                for conditions in conditions_of_key
                for condition in conditions
                for value in condition.values
            }
            yield Condition("StringEquals", key, tuple(sorted(values)))
    # Services through which all calls came, if each is known to set the key.
    services = {service for usage in usages for service in usage.forwarded_by}
    is_known = services <= {row["service"] for row in table("called_via")}
    if services and is_known and not any(usage.programs for usage in usages):
        yield Condition("ForAnyValue:StringEquals", "aws:CalledVia", tuple(sorted(services)))
