"""What a run's evidence adds to the memory: days, months and resource patterns; no parameter, no address, no person."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC

from leastpriv.evidence.memory.file import is_action, is_resource
from leastpriv.evidence.memory.words import ANYTHING, Memory, Used, both, folded
from leastpriv.evidence.merge import by_pattern
from leastpriv.evidence.runs import workflow_run_of
from leastpriv.evidence.usage import Evidence
from leastpriv.model import Outcome, Run, Usage


def learned(evidence: Evidence) -> Memory:
    """The allowed uses of the evidence, those of one resource pattern as one."""
    runs = {run.id: run for run in evidence.runs}
    allowed = [usage for usage in evidence.usages if usage.outcome is Outcome.ALLOWED and usage.need.verified]
    found: dict[str, dict[str, Used]] = {}
    for usage in by_pattern(allowed):
        permission = usage.need.permission
        if is_action(permission.action):
            by_resource = found.setdefault(permission.action, {})
            resource = permission.resource if is_resource(permission.resource) else ANYTHING
            used, known = _used(usage, runs), by_resource.get(resource)
            # The same under other conditions, or on another basis.
            by_resource[resource] = both(known, used) if known else used
    return Memory(evidence.principal, used={action: folded(by_resource) for action, by_resource in found.items()})


def _used(usage: Usage, runs: Mapping[str, Run]) -> Used:
    own = [runs[name] for name in usage.runs if name in runs]
    last = max(own, key=lambda run: (run.last, run.id), default=None)
    return Used(
        usage.first_seen.astimezone(UTC).date(),
        usage.last_seen.astimezone(UTC).date(),
        _by_month(own),
        workflow_run_of(last.session) if last else "",
    )


def _by_month(runs: Iterable[Run]) -> Mapping[str, int]:
    found: dict[str, int] = {}
    for run in runs:
        month = f"{run.first.astimezone(UTC):%Y-%m}"
        found[month] = found.get(month, 0) + 1
    return found
