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
from leastpriv.permissions.generalize import Certainty, Pattern
from leastpriv.permissions.patterns import action_matches
from leastpriv.proposal.models import Change, GuardResult
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
            {**_facts_value(action), **_evidence_value(action, context, has_policy)}
            for action in actions
        )
        return json_lines(rows)
    texts = []
    for action in actions:
        level = catalog.access_level(action) or f"not in the catalogue {catalog.version()}"
        findings = _findings(action, context, has_policy) if context else _facts(action)
        texts.append("\n".join([plain(f"{action} ({level})"), *findings]) + "\n")
    return "\n".join(texts)


def _actions(entry: str, context: ReportContext | None) -> Sequence[str]:
    """Returns the actions that `explain s3:Get*` means: of the catalogue or, with a proposal, those
    that it or the evidence names.
    """
    if not entry.partition(":")[2]:
        raise InputError(
            f"ACTION is {entry!r}: write an action like s3:PutObject, or a pattern like s3:*."
        )
    if not set(entry) & set("*?"):
        return [catalog.spelling(entry) or entry]
    if context is None:
        actions: Sequence[str] = catalog.expand(entry)
        reason = f"the catalogue {catalog.version()} has no action of that pattern"
    else:
        used_actions = [usage.need.permission.action for usage in context.evidence.usages]
        for change in context.proposal.changes:
            used_actions += (change.action, *change.used, *change.removed_actions)
        actions = sorted(
            {
                action
                for action in used_actions
                if action_matches(entry, action) and not set(action) & set("*?")
            }
        )
        reason = "no action of that pattern was called, and none would change"
    if not actions:
        raise InputError(f"ACTION is {entry!r}: {reason}.")
    return actions


def _facts(action: str) -> Iterator[str]:
    catalogue_action = catalog.action(action)
    for kind in catalogue_action.resource_types if catalogue_action else ():
        yield f"  resource: {_shown(kind.name)} {_shown(kind.arn)}"
    if catalogue_action and not catalogue_action.resource_types:
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
    """Yields the lines on each usage of an action: outcome, time, resource and how it was found."""
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
        confidence = (
            exact
            if need.exact
            else "medium: the resource is known in part, or by a like name, or by its type only"
        )
        yield (
            "    confidence:"
            f" {confidence if need.verified else 'low: the catalogue does not know the action'}"
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
    record_rule = visibility(action)
    kinds = {
        Visibility.MANAGEMENT: "as a management event",
        Visibility.DATA: f"as a data event of {record_rule.resource_type}",
        Visibility.CARRIERS: "by the events of other calls only",
        Visibility.PERMISSION_ONLY: "not as an event",
        Visibility.ENDED: "no call can use it",
        Visibility.NEVER: "never",
        Visibility.UNKNOWN: "not known",
    }
    yield f"  visible in a trail: {kinds[record_rule.visibility]} ({_shown(record_rule.source)})"
    carriers = []
    for carrier in carriers_of(action):
        kind = (
            f"data event {carrier.resource_type}"
            if carrier.resource_type
            else f"visibility {carrier.visibility}"
        )
        is_management = carrier.visibility is Visibility.MANAGEMENT
        carriers.append(carrier.operation if is_management else f"{carrier.operation} ({kind})")
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
            entry_place = f"{context.policy_file}:{entry.statement.line}{sid}"
            on_resources = (
                ", ".join(entry.statement.resources)
                or "every resource but those of its NotResource"
            )
            yield (
                f"  {_shown(f'{entry_place} grants it by {entry.pattern} on {on_resources}')}:"
                f" {decision(action, entry, context)}"
            )


def decision(action: str, entry: Entry, context: ReportContext) -> str:
    """The decision on the action in this entry, in words."""
    change = _change_of(entry, context)
    if change and action in change.removed_actions:
        becomes = ""
        if change.replacement:
            becomes = f", which becomes {listed(change.replacement, _MOST_COVERED)}"
        return _shown(f"removed with {change.action}{becomes}")
    resources = _narrowed_resources(action, entry, context)
    if resources:
        return _shown(f"kept, on {', '.join(resources)} only")
    if is_used(entry.uses.get(action, ())):
        return "kept: it was used"
    guard_result = _keeping_guard(action, entry, context)
    if guard_result is None:
        return "kept"
    return _shown(f"kept, held back by {guard_result.guard}: {guard_result.reason}")


def _change_of(entry: Entry, context: ReportContext) -> Change | None:
    """Returns the change of an entry; an addition belongs to no statement."""
    for change in context.proposal.changes:
        if change.statement == entry.statement.index and change.action == entry.pattern:
            return change
    return None


def _narrowed_resources(action: str, entry: Entry, context: ReportContext) -> tuple[str, ...]:
    """Returns the resources that an action of an entry's statement is narrowed to; none where it is
    not.
    """
    for change in context.proposal.changes:
        is_of_action = change.statement == entry.statement.index and change.used == (action,)
        if is_of_action and change.restricted_to:
            return change.restricted_to
    return ()


def _keeping_guard(action: str, entry: Entry, context: ReportContext) -> GuardResult | None:
    """Returns the guard that keeps an unused action of an entry, or the whole entry."""
    change = _change_of(entry, context)
    if change:
        return (change.kept or {}).get(action)
    for held_change in context.proposal.held_back:
        if (held_change.action, held_change.sid) == (entry.pattern, entry.statement.sid):
            return held_change.guard_result
    return None


def _additions(action: str, context: ReportContext, head: str) -> Iterator[str]:
    """Yields the lines on the additions of an action: each resource, with the parts that are open
    and why.
    """
    for change in context.changes(ChangeKind.ADD):
        if change.action != action:
            continue
        yield f"  {head}, basis {change.basis}, on"
        patterns = {pattern.pattern: pattern for pattern in change.patterns}
        for resource in change.resources:
            yield from _resource_lines(resource, patterns.get(resource))
        for condition in change.conditions:
            yield f"    only if {_shown(condition.sentence())}"
    for held_change in context.proposal.held_back_additions:
        if held_change.action == action:
            by = f"held back by {held_change.guard_result.guard}: {held_change.guard_result.reason}"
            yield _shown(f"  not added on {', '.join(held_change.resources)}, {by}")


def _resource_lines(resource: str, pattern: Pattern | None) -> Iterator[str]:
    """Yields a resource of an addition, with what its pattern leaves open and covers."""
    if pattern is None:
        yield f"    {_shown(resource)}"
        return
    is_whole = pattern.certainty is Certainty.WHOLE
    mark = "" if is_whole else f" ({pattern.certainty})"
    yield f"    {_shown(resource)}{mark}"
    for opening in pattern.openings:
        yield f"      open: {_shown(opening.part)}, since {_shown(opening.reason)}"
    if pattern.openings:
        yield _shown(f"      covers: {listed(pattern.covers, _MOST_COVERED)}")


def _shown(text: str) -> str:
    return plain(text, _LONGEST)


def _facts_value(action: str) -> dict[str, object]:
    """Returns the facts about an action without evidence, for JSON."""
    catalogue_action, record_rule = catalog.action(action), visibility(action)
    return {
        "action": action,
        "access_level": catalog.access_level(action) or None,
        "resource_types": (
            [{"name": kind.name, "arn": kind.arn} for kind in catalogue_action.resource_types]
            if catalogue_action
            else []
        ),
        "visibility": {
            "kind": record_rule.visibility,
            "resource_type": record_rule.resource_type or None,
            "source": record_rule.source,
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
            change_value(change)
            for change in context.changes(ChangeKind.ADD)
            if change.action == action
        ],
        "not_added": [
            held_value(held_change)
            for held_change in context.proposal.held_back_additions
            if held_change.action == action
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
