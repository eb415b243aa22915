"""Output of `leastpriv explain`, as text and as JSON: facts, evidence and decision for one
action.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from leastpriv.diff.compare import Entry, is_used
from leastpriv.errors import InputError
from leastpriv.models import ChangeKind, DeniedBy, Outcome, Usage
from leastpriv.permissions import catalog
from leastpriv.permissions.catalog import forbidden, sensitivity
from leastpriv.permissions.event_table import Visibility, carriers_of, visibility
from leastpriv.permissions.generalize import Certainty
from leastpriv.permissions.patterns import action_matches
from leastpriv.proposal.visibility_guards import could_hide
from leastpriv.report.context import ReportContext
from leastpriv.report.escape import plain
from leastpriv.report.phrases import day, listed, plural
from leastpriv.report.proposal_json import change_value, held_value, usage_value
from leastpriv.report.tables import gap_row, json_lines

_MOST_USAGES = 20
_MOST_CARRIERS = 10
_MOST_COVERED = 5
_LONGEST = 500


def explain(
    asked: Sequence[str],
    context: ReportContext | None,
    *,
    has_policy: bool = False,
    as_json: bool = False,
) -> str:
    """Explains each action asked for, as text or as a line of JSON; without a context by facts
    alone.

    A pattern includes those of its actions that were called or changed, without a context all.
    Without a policy the text says how the use would be added. Raises InputError if an argument is
    no action, or a pattern has none.
    """
    actions = dict.fromkeys(action for entry in asked for action in _actions(entry, context))
    if as_json:
        rows = (
            {**_facts_value(each), **_evidence_value(each, context, has_policy)} for each in actions
        )
        return json_lines(rows)
    texts = []
    for action in actions:
        level = catalog.access_level(action) or f"not in the catalogue {catalog.version()}"
        found = _findings(action, context, has_policy) if context else _facts(action)
        texts.append("\n".join([plain(f"{action} ({level})"), *found]) + "\n")
    return "\n".join(texts)


def _actions(entry: str, context: ReportContext | None) -> Sequence[str]:
    if not entry.partition(":")[2]:
        raise InputError(
            f"ACTION is {entry!r}: write an action like s3:PutObject, or a pattern like s3:*."
        )
    if not set(entry) & set("*?"):
        return [catalog.spelling(entry) or entry]
    if context is None:
        found: Sequence[str] = catalog.expand(entry)
        why = f"the catalogue {catalog.version()} has no action of that pattern"
    else:
        known = [usage.need.permission.action for usage in context.evidence.usages]
        for change in context.proposal.changes:
            known += (change.action, *change.used, *change.removed_actions)
        found = sorted(
            {
                action
                for action in known
                if action_matches(entry, action) and not set(action) & set("*?")
            }
        )
        why = "no action of that pattern was called, and none would change"
    if not found:
        raise InputError(f"ACTION is {entry!r}: {why}.")
    return found


def _facts(action: str) -> Iterator[str]:
    known = catalog.action(action)
    for kind in known.resource_types if known else ():
        yield f"  resource: {_shown(kind.name)} {_shown(kind.arn)}"
    if known and not known.resource_types:
        yield "  resource: none, `*` alone"
    yield from _visibility(action)


def _findings(action: str, context: ReportContext, has_policy: bool) -> Iterator[str]:
    usages = [usage for usage in context.evidence.usages if usage.need.permission.action == action]
    yield from _evidence(usages)
    yield from _visibility(action)
    for gap in context.evidence.gaps:
        if could_hide(gap, action):
            yield f"  not seen: {gap.kind}, {_shown(gap.detail)}"
    if not has_policy:
        yield from _additions(action, context, "a policy made from this evidence would have it")
        return
    lines = [*_entries(action, context), *_additions(action, context, "would be added")]
    yield from lines or [f"  in {_shown(context.policy_file)}: neither granted nor needed"]


def _evidence(usages: Sequence[Usage]) -> Iterator[str]:
    if not usages:
        yield "  evidence: no call that needs it"
    for usage in usages[:_MOST_USAGES]:
        need = usage.need
        span = day(usage.first_seen)
        if day(usage.last_seen) != span:
            span += f" to {day(usage.last_seen)}"
        yield f"  {need.basis}: {_outcome(usage)} in {plural(len(usage.runs), 'run')}, {span}"
        yield f"    resource:   {_shown(need.permission.resource)}"
        yield f"    found:      {_shown(need.derivation)}"
        exact = "high: the whole resource is known"
        known = (
            exact
            if need.exact
            else "medium: the resource is known in part, or by a like name, or by its type only"
        )
        yield (
            "    confidence:"
            f" {known if need.verified else 'low: the catalogue does not know the action'}"
        )
        for condition in need.permission.conditions:
            yield _shown(
                f"    condition:  {condition.operator} {condition.key}"
                f" {', '.join(condition.values)}"
            )
        if need.because:
            yield f"    because:    {_shown(need.because)}"
        yield f"    events:     {_shown(', '.join(usage.events))}"
        if usage.denial and usage.denial.message:
            yield f"    denial:     {_shown(usage.denial.message)}"
        if usage.denial and usage.denial.judged_by:
            yield f"    judged by:  {_shown(', '.join(usage.denial.judged_by))}"
    if len(usages) > _MOST_USAGES:
        yield f"  … and {len(usages) - _MOST_USAGES:,} more resources"


def _outcome(usage: Usage) -> str:
    calls = plural(usage.count, "call")
    if usage.outcome is Outcome.DENIED:
        denial = usage.denial
        by = denial.denied_by if denial else DeniedBy.UNKNOWN
        helps = "" if denial and denial.mendable else ", which no identity-based policy can fix"
        return f"{calls} denied (by: {by}{helps})"
    if usage.outcome is Outcome.UNKNOWN:
        return f"{calls} without a response that shows whether they were allowed"
    return calls if usage.succeeded else f"{calls}, each of which failed after authorization"


def _visibility(action: str) -> Iterator[str]:
    """Yields what shows a use of the action, and whether a proposal writes it."""
    seen = visibility(action)
    kinds = {
        Visibility.MANAGEMENT: "as a management event",
        Visibility.DATA: f"as a data event of {seen.resource_type}",
        Visibility.CARRIERS: "by the events of other calls only",
        Visibility.PERMISSION_ONLY: "not as an event",
        Visibility.ENDED: "no call can use it",
        Visibility.NEVER: "never",
        Visibility.UNKNOWN: "not known",
    }
    yield f"  visible in a trail: {kinds[seen.visibility]} ({_shown(seen.source)})"
    carriers = []
    for each in carriers_of(action):
        kind = (
            f"data event {each.resource_type}"
            if each.resource_type
            else f"visibility {each.visibility}"
        )
        is_management = each.visibility is Visibility.MANAGEMENT
        carriers.append(each.operation if is_management else f"{each.operation} ({kind})")
    if carriers:
        yield f"  also checked inside: {_shown(listed(carriers, _MOST_CARRIERS))}"
    if forbidden(action):
        yield f"  never written: {_shown(forbidden(action))}"
    elif sensitivity(action):
        yield f"  sensitive: {_shown(sensitivity(action))}"


def _entries(action: str, context: ReportContext) -> Iterator[str]:
    for entry in context.difference.entries:
        if action in (*entry.granted, *entry.uses):
            sid = f" ({entry.statement.sid})" if entry.statement.sid else ""
            where = f"{context.policy_file}:{entry.statement.line}{sid}"
            on = (
                ", ".join(entry.statement.resources)
                or "every resource but those of its NotResource"
            )
            yield (
                f"  {_shown(f'{where} grants it by {entry.pattern} on {on}')}:"
                f" {decision(action, entry, context)}"
            )


def decision(action: str, entry: Entry, context: ReportContext) -> str:
    """The decision on the action in this entry, in words."""
    index, pattern, changes = entry.statement.index, entry.pattern, context.proposal.changes
    # An addition belongs to no statement.
    change = next(
        (each for each in changes if (each.statement, each.action) == (index, pattern)), None
    )
    if change and action in change.removed_actions:
        becomes = (
            f", which becomes {listed(change.replacement, _MOST_COVERED)}"
            if change.replacement
            else ""
        )
        return _shown(f"removed with {change.action}{becomes}")
    own = (each for each in changes if each.statement == index and each.used == (action,))
    resources = next((each.restricted_to for each in own if each.restricted_to), ())
    if resources:
        return _shown(f"kept, on {', '.join(resources)} only")
    if is_used(entry.uses.get(action, ())):
        return "kept: it was used"
    guard_result = (change.kept or {}).get(action) if change else None
    place = (pattern, entry.statement.sid)
    held = (
        each.guard_result for each in context.proposal.held_back if (each.action, each.sid) == place
    )
    found = guard_result or (None if change else next(held, None))
    return _shown(f"kept, held back by {found.guard}: {found.reason}") if found else "kept"


def _additions(action: str, context: ReportContext, head: str) -> Iterator[str]:
    for change in context.changes(ChangeKind.ADD):
        if change.action == action:
            yield f"  {head}, basis {change.basis}, on"
            under = [f"{each.key} is {' or '.join(each.values)}" for each in change.conditions]
            patterns = {found.pattern: found for found in change.patterns}
            for resource in change.resources:
                certainty = (
                    patterns[resource].certainty if resource in patterns else Certainty.WHOLE
                )
                mark = "" if certainty is Certainty.WHOLE else f" ({certainty})"
                yield f"    {_shown(resource)}{mark}"
                openings = patterns[resource].openings if resource in patterns else ()
                for opening in openings:
                    yield f"      open: {_shown(opening.part)}, since {_shown(opening.reason)}"
                if openings:
                    yield _shown(
                        f"      covers: {listed(patterns[resource].covers, _MOST_COVERED)}"
                    )
            yield from (f"    only if {_shown(condition)}" for condition in under)
    for held in context.proposal.held_back_additions:
        if held.action == action:
            by = f"held back by {held.guard_result.guard}: {held.guard_result.reason}"
            yield _shown(f"  not added on {', '.join(held.resources)}, {by}")


def _shown(text: str) -> str:
    return plain(text, _LONGEST)


def _facts_value(action: str) -> dict[str, object]:
    known, seen = catalog.action(action), visibility(action)
    return {
        "action": action,
        "access_level": catalog.access_level(action) or None,
        "resource_types": (
            [{"name": kind.name, "arn": kind.arn} for kind in known.resource_types] if known else []
        ),
        "visibility": {
            "kind": seen.visibility,
            "resource_type": seen.resource_type or None,
            "source": seen.source,
        },
        "never_written": forbidden(action) or None,
        "sensitive": sensitivity(action) or None,
    }


def _evidence_value(
    action: str, context: ReportContext | None, has_policy: bool
) -> dict[str, object]:
    """The evidence on an action and the decision; empty without a context."""
    if context is None:
        return {}
    usages = [usage for usage in context.evidence.usages if usage.need.permission.action == action]
    return {
        "usages": [_usage_value(usage) for usage in usages],
        "gaps": [gap_row(gap) for gap in context.evidence.gaps if could_hide(gap, action)],
        "entries": (
            [
                {
                    "file": context.policy_file,
                    "line": entry.statement.line,
                    "sid": entry.statement.sid,
                    "pattern": entry.pattern,
                    "resources": list(entry.statement.resources),
                    "decision": decision(action, entry, context),
                }
                for entry in context.difference.entries
                if action in (*entry.granted, *entry.uses)
            ]
            if has_policy
            else []
        ),
        "additions": [
            change_value(each) for each in context.changes(ChangeKind.ADD) if each.action == action
        ],
        "not_added": [
            held_value(held)
            for held in context.proposal.held_back_additions
            if held.action == action
        ],
    }


def _usage_value(usage: Usage) -> dict[str, object]:
    denial = usage.denial
    denied = (
        {"denied_by": denial.denied_by, "mendable": denial.mendable, "message": denial.message}
        if denial
        else {}
    )
    return {
        **usage_value(usage),
        "exact": usage.need.exact,
        "because": usage.need.because or None,
        **denied,
    }
