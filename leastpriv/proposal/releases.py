"""Finds which values of the inputs would release what these inputs hold back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec.structs import replace

from leastpriv.diff.compare import Difference
from leastpriv.models import grouped
from leastpriv.permissions.names.app_names import AppNames
from leastpriv.proposal.models import Change, GuardContext, HeldBackChange, Release
from leastpriv.proposal.removals import GuardedEntry, removals
from leastpriv.proposal.resource_narrowing import narrow_resources
from leastpriv.proposal.settled_silences import SettledSilences

_DAYS = (30, 21, 14, 7)
"""Values of `minimum-days` that are proposed: whole weeks, or a month."""
_LEAST_RUNS = 2
"""Runs below which no value of `minimum-runs` is proposed: one run shows nothing about the next."""
_GUARDS = frozenset({"minimum-days", "minimum-runs", "region-not-read", "not-recorded"})
"""Guards that these inputs decide."""
_DAYS_INPUT = "minimum-days"
_RUNS_INPUT = "minimum-runs"
_REGIONS_INPUT = "aws-regions"


def releases(
    difference: Difference,
    context: GuardContext,
    names: AppNames,
    held_back: Iterable[HeldBackChange],
    *,
    escapes: bool,
) -> tuple[Release, ...]:
    """Returns the one input that would release the most, then all together if these release more.

    Asks the guards at most four times; nothing where no such guard holds anything back.

    Args:
        difference: What the policy grants and the role used.
        context: The inputs of the guards, with the values of this run.
        names: The names of the target.
        held_back: The changes that guards hold back.
        escapes: Whether the policy's version supports names with `*`, `?` or `$`.
    """
    if not any(held_change.guard_result.guard in _GUARDS for held_change in held_back):
        return ()
    values = _values(context)
    candidates = [
        _release({name: value}, difference, context, names, escapes=escapes)
        for name, value in values.items()
    ]
    best = max(candidates, key=lambda release: release.size, default=None)
    if best is None:
        return ()
    together = best
    if len(values) > 1:
        together = _release(values, difference, context, names, escapes=escapes)
    shown_releases = [best] if best.size else []
    if together.size > best.size:
        shown_releases.append(together)
    return tuple(shown_releases)


def _values(context: GuardContext) -> Mapping[str, str]:
    """Returns the inputs that hold changes back, with the greatest value that the evidence has."""
    options = context.options
    evidence = context.evidence
    coverage = evidence.coverage
    values: dict[str, str] = {}
    lengths = [coverage.length(region) for region in evidence.regions]
    days = min([evidence.span.days, *(length.days for length in lengths if length is not None)])
    fewest_days = next((limit for limit in _DAYS if limit <= days), None)
    if fewest_days is not None and fewest_days < options.minimum_days:
        values[_DAYS_INPUT] = str(fewest_days)
    if _LEAST_RUNS <= context.separate_runs < options.minimum_runs:
        values[_RUNS_INPUT] = str(context.separate_runs)
    if coverage.days and not (coverage.named_regions or coverage.every_region):
        values[_REGIONS_INPUT] = ", ".join(sorted(coverage.days))
    return values


def _with_values(context: GuardContext, values: Mapping[str, str]) -> GuardContext:
    options, evidence = context.options, context.evidence
    if _DAYS_INPUT in values:
        options = replace(options, minimum_days=int(values[_DAYS_INPUT]))
    if _RUNS_INPUT in values:
        options = replace(options, minimum_runs=int(values[_RUNS_INPUT]))
    if _REGIONS_INPUT in values:
        regions = frozenset(values[_REGIONS_INPUT].split(", "))
        coverage = replace(evidence.coverage, named_regions=regions)
        evidence = replace(evidence, coverage=coverage)
    memory = context.history.history_state.memory
    silences = SettledSilences(evidence, options, context.uncounted_runs, memory)
    return replace(context, options=options, evidence=evidence, open_gaps=silences.open_gaps())


def _release(
    values: Mapping[str, str],
    difference: Difference,
    context: GuardContext,
    names: AppNames,
    *,
    escapes: bool,
) -> Release:
    changed = _with_values(context, values)
    removed, _ = removals([*map(GuardedEntry, difference.entries)], changed)
    restricted, _ = narrow_resources(difference, removed, changed, names, escapes=escapes)
    return Release(values, _actions_removed(removed), len(restricted))


def _actions_removed(changes: Sequence[Change]) -> int:
    """Returns the number of removed actions; two entries of a statement may grant one of them."""
    by_statement = grouped([(change.statement, change.removed_actions) for change in changes])
    return sum(len(set().union(*actions)) for actions in by_statement.values())
