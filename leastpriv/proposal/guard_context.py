"""Computes what the guards need to know of the evidence, once for all removals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from leastpriv.evidence.coverage import DataStream, bucket_of
from leastpriv.evidence.models import Evidence
from leastpriv.models import Outcome, Usage
from leastpriv.permissions.generalize import deletes
from leastpriv.permissions.lifecycle import lifecycle_partners, siblings_of
from leastpriv.permissions.resource_types import creates_its_resource
from leastpriv.permissions.tool_lifecycle import CDK, STACK_SERVICE, Tool
from leastpriv.policy.document import Document
from leastpriv.proposal.confidence import confidences
from leastpriv.proposal.guards.aws import last_recorded
from leastpriv.proposal.guards.carriers import CallableOperations, called_operations, operation_of
from leastpriv.proposal.guards.people_and_history import break_glass_runs
from leastpriv.proposal.guards.registry import count_separate_runs
from leastpriv.proposal.models import GuardContext, History, Options

_NO_HISTORY = History()


def usages_by_action(evidence: Evidence) -> dict[str, tuple[Usage, ...]]:
    """Groups the usages of the evidence by action."""
    used: dict[str, list[Usage]] = {}
    for usage in evidence.usages:
        used.setdefault(usage.need.permission.action, []).append(usage)
    return {action: tuple(usages) for action, usages in used.items()}


def guard_context(
    evidence: Evidence,
    options: Options,
    missing: Sequence[Usage] = (),
    history: History = _NO_HISTORY,
    *,
    policies: Sequence[Document] = (),
) -> GuardContext:
    """Computes the inputs of the guards once; `policies` are all known policies of the principal."""
    used = usages_by_action(evidence)
    allowed = {action for action, usages in used.items() if any(usage.outcome is Outcome.ALLOWED for usage in usages)}
    services = frozenset(action.partition(":")[0] for action in used)
    unexplained = {usage.need.permission.action for usage in missing if usage.outcome is Outcome.ALLOWED}
    # Calls that no known policy grants show that another policy grants some of their service.
    granted_elsewhere = {
        usage.need.permission.action.partition(":")[0] for usage in missing if usage.outcome is not Outcome.DENIED
    }
    counterparts = siblings_of(allowed)
    partners = lifecycle_partners(
        {action: _tools(used[action]) for action in allowed},
        _redeployed_actions(evidence),
        only_ends=options.drop_unseen_actions,
    )
    break_glass = break_glass_runs(evidence.runs, options.break_glass)
    runs = count_separate_runs(evidence, break_glass)
    programs: dict[str, frozenset[str]] = {}
    for action, usages in used.items():
        service = action.partition(":")[0]
        programs[service] = programs.get(service, frozenset()).union(*(usage.programs for usage in usages))
    streams: dict[str, list[tuple[DataStream, int]]] = {}
    for stream, days in evidence.coverage.data.items():
        streams.setdefault(bucket_of(stream.prefix), []).append((stream, days))
    return GuardContext(
        evidence,
        options,
        used,
        counterparts,
        partners,
        services,
        history,
        frozenset(unexplained),
        runs,
        last_recorded(evidence.usages),
        confidences(evidence, without=break_glass),
        break_glass,
        called_operations(evidence),
        frozenset(map(operation_of, evidence.coverage.events)),
        streams,
        evidence.coverage.whole_days,
        CallableOperations(policies, frozenset(granted_elsewhere)),
        programs,
    )


def creators_of(used_by_action: Mapping[str, Sequence[Usage]]) -> Mapping[str, tuple[str, ...]]:
    """Maps used actions to the used actions that create their resources."""
    used = [action for action, usages in used_by_action.items() if is_used(usages)]
    found: dict[str, list[str]] = {}
    for creating_action in filter(creates_its_resource, used):
        for counterpart in siblings_of((creating_action,)):
            found.setdefault(counterpart, []).append(creating_action)
    return {action: tuple(found[action]) for action in used if action in found}


def is_used(usages: Iterable[Usage]) -> bool:
    """Whether a call with one of the usages was allowed."""
    return any(usage.outcome is Outcome.ALLOWED for usage in usages)


_REDEPLOYED = 2
"""Runs that deployed a resource again; a script that changes it whenever it exists did so by then."""


def _redeployed_actions(evidence: Evidence) -> frozenset[str]:
    """The used actions on a resource that several later runs deployed again, whether with this action or another."""
    runs: dict[str, set[str]] = {}
    allowed = [usage for usage in evidence.usages if usage.outcome is Outcome.ALLOWED and usage.need.exact]
    for usage in allowed:
        if not deletes(usage.need.permission.action):
            runs.setdefault(usage.need.permission.resource, set()).update(usage.runs)
    order = {run.id: number for number, run in enumerate(evidence.runs)}
    later = {resource: sorted(order.keys() & own, key=order.__getitem__)[1:] for resource, own in runs.items()}
    again: dict[str, set[str]] = {}
    for usage in allowed:
        again.setdefault(usage.need.permission.action, set()).update(later.get(usage.need.permission.resource, ()))
    return frozenset(action for action, later in again.items() if len(later) >= _REDEPLOYED)


def _tools(usages: Sequence[Usage]) -> frozenset[str]:
    """The tools whose types describe what these calls deploy; none for a script, which may do anything."""
    allowed = [usage for usage in usages if usage.outcome is Outcome.ALLOWED]
    programs = {program for usage in allowed for program in usage.programs}
    if any(STACK_SERVICE in usage.forwarded_by for usage in allowed):
        programs.add(Tool.CLOUDFORMATION)
    # Terraform's types are the best description of a call whose record has no user agent.
    return frozenset({program or Tool.TERRAFORM for program in programs} & {CDK, *Tool})
