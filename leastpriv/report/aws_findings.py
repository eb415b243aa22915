"""Sections about AWS's findings on the role: warnings, questions for the reviewer, and effects on
the proposal.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from leastpriv.evidence.models import AccessReport, Recommendation, UnusedAccess
from leastpriv.models import ChangeKind
from leastpriv.permissions import catalog
from leastpriv.permissions.patterns import action_matches
from leastpriv.proposal.aws_guards import (
    UngrantedAction,
    UngrantedReason,
    compare_with_generated_policy,
    has_placeholder,
    was_granted,
)
from leastpriv.report.context import ReportContext
from leastpriv.report.escape import code, prose
from leastpriv.report.phrases import at_most, codes, day, joined, plural, section

_MOST_QUESTIONS = 12
_MOST_RESOURCES = 10
_MOST_SHARED = 5
"""Shared policies, one a line."""
_GUARDS = ("last-accessed", "shared-policy")
"""The guards that hold a removal back by last accessed information."""
_WHY = {
    UngrantedReason.UNSEEN: (
        "no call of it is in this evidence: was it used at another time, in another region, "
        "or not at all?"
    ),
    UngrantedReason.DENIED: (
        "AWS denied it in this evidence; generated policies include denied calls too"
    ),
    UngrantedReason.UNKNOWN: "the catalogue of actions does not know it: is it needed?",
}


def outside_access_section(context: ReportContext) -> Iterator[str]:
    """Warns of principals outside the account that may assume the role."""
    outside = [each for each in context.evidence.aws_findings.outside if not each.is_bound_subject]
    if not outside:
        return
    rows = []
    for access in outside:
        conditions = [
            f"{code(key)} matches {code(value)}"
            for key, value in list(access.conditions.items())[:6]
        ]
        only_if = f", only if {joined(conditions)}" if conditions else ", without any condition"
        rows.append(f"- {'any principal' if access.is_public else code(access.principal)}{only_if}")
    yield (
        "**Outside access:** IAM Access Analyzer found that principals outside the account or"
        f" organization can assume {code(context.role)}. This change does not alter it: check the"
        " trust policy.\n\n" + "\n".join(rows)
    )


def generated_policy_section(context: ReportContext) -> Iterator[str]:
    """Lists actions of Access Analyzer's generated policy that the proposal lacks; a proposal never
    adds them.
    """
    comparison = compare_with_generated_policy(context.documents, context.evidence)
    if comparison is None:
        return
    generated = comparison.generated
    first, last = day(generated.first), day(generated.last)
    complete = "" if generated.is_complete else ", which it calls incomplete,"
    several = (
        f"{plural(generated.policies, 'policy', 'policies')}"
        if generated.policies != 1
        else "a policy"
    )
    started_by = " Another principal had started it." if generated.was_running else ""
    source = f"{several}{complete} from the trail's events of {first} to {last}.{started_by}"
    head = (
        f"IAM Access Analyzer wrote {source} It knows neither `iam:PassRole` nor data events, and"
        f" counts denied calls as used. The proposal grants {comparison.agreed:,} of its actions as"
        " well."
    )
    if not comparison.questions:
        yield f"#### Second opinion\n\n{head} It names no action that the proposal lacks."
        return
    head += " The others are not written; add what you know to be needed."
    lines = at_most([*map(_question, comparison.questions)], _MOST_QUESTIONS, "- … and {:,} more")
    yield from section("Second opinion: IAM Access Analyzer names more", [head, "", *lines])


def _question(question: UngrantedAction) -> str:
    resources = codes(question.resources, 3)
    if question.has_real_resources:
        on_resources = f" on {resources}, with its placeholders filled from this evidence"
    elif any(map(has_placeholder, question.resources)):
        on_resources = f" on {resources}, whose placeholders this evidence cannot fill"
    else:
        on_resources = "" if question.resources == ("*",) else f" on {resources}"
    return f"- {code(question.action)}{on_resources}: {_WHY[question.why]}"


def findings_section(context: ReportContext) -> Iterator[str]:
    """Reports last accessed information, unused and internal access, and their effects on the
    proposal.
    """
    hints = context.evidence.aws_findings
    lines: list[str] = []
    if hints.access:
        lines.extend(_last_accessed(hints.access, context))
    for unused in hints.unused:
        lines.extend(_unused(unused, context))
    # What an attacker of the role's jobs would reach, as deployed.
    for hint in hints.inside[:_MOST_RESOURCES]:
        actions = f": {codes(hint.actions, 6)}" if hint.actions else ""
        found_by = f"the analyzer {code(hint.analyzer)} finds that the role reaches"
        lines.append(f"- **Internal access**: {found_by} {code(hint.resource)}{actions}.")
    if len(hints.inside) > _MOST_RESOURCES:
        lines.append(
            f"- … and {plural(len(hints.inside) - _MOST_RESOURCES, 'more monitored resource')}."
        )
    yield from section("What IAM reports", lines)


def _last_accessed(access: AccessReport, context: ReportContext) -> Iterator[str]:
    """Yields what IAM's last accessed information shows of the role's services, and what the
    proposal makes of it.
    """
    idle = [name for name, service in access.services.items() if service.last is None]
    yield (
        f"- **Last accessed information** up to {access.until:%Y-%m-%d %H:%M} UTC (later attempts"
        " may be missing, and denied ones count): the role's policies grant"
        f" {plural(len(access.services), 'service')}, and {len(idle):,} of them had no attempt."
    )
    changed = context.history.changed
    if was_granted(context.evidence, changed):
        yield from _dropped_service_lines(access, _dropped_services(context, idle))
    elif idle:
        when = f"it changed on {day(changed)}" if changed else "when it last changed is not known"
        yield (
            "- This removes no grant, since the policy file may be younger than the evidence:"
            f" {when}."
        )
    kept_actions = _actions_kept_by_access(context)
    if kept_actions:
        yield f"- It keeps {codes(kept_actions, 12)}, of which this evidence shows no use."
    yield from _shared_policy_lines(access)
    if access.missing:
        unknown = "Grants and users are not known for all policies"
        yield f"- {unknown}, so permissions that may be shared are kept: {prose(access.missing)}"


def _dropped_service_lines(access: AccessReport, dropped: Sequence[str]) -> Iterator[str]:
    """Yields which services a wildcard loses since neither IAM nor this evidence knows a use."""
    if not dropped:
        return
    them = "it" if len(dropped) == 1 else "them"
    yield (
        f"- IAM knows of no attempt on {codes(dropped, 12)}, so the actions of {them} in"
        " wildcards are removed."
    )
    policies: set[str] = set()
    for service in dropped:
        policies.update(access.granted_by.get(service, ()))
    if policies:
        yield f"- According to IAM, {codes(sorted(policies), 6)} grant these services."


def _actions_kept_by_access(context: ReportContext) -> list[str]:
    """Returns the unused actions that last accessed information keeps, each once."""
    entries = [
        held_change.action
        for held_change in context.proposal.held_back
        if held_change.guard_result.guard in _GUARDS
    ]
    kept_of_wildcards: list[str] = []
    for change in context.changes(ChangeKind.NARROW):
        for action, guard_result in (change.kept or {}).items():
            if guard_result.guard in _GUARDS:
                kept_of_wildcards.append(action)
    return list(dict.fromkeys([*entries, *sorted(kept_of_wildcards)]))


def _shared_policy_lines(access: AccessReport) -> Iterator[str]:
    """Yields which policies other users used too, the first of them."""
    shared_policies = [shared for shared in access.shared if shared.others]
    for shared in shared_policies[:_MOST_SHARED]:
        last_use = max(access_of_user.time for access_of_user in shared.others.values())
        yield (
            f"- {code(shared.arn)} is shared: {codes(sorted(shared.others), 3)} used"
            f" {code(shared.service)} through it, last on {day(last_use)}."
        )


def _dropped_services(context: ReportContext, idle: Iterable[str]) -> list[str]:
    wildcards = (change for change in context.proposal.changes if change.granted > 1)
    gone = {action.partition(":")[0] for change in wildcards for action in change.removed_actions}
    used_services = {
        usage.need.permission.action.partition(":")[0] for usage in context.evidence.usages
    }
    return sorted(gone.intersection(idle) - used_services)


def _unused(unused: UnusedAccess, context: ReportContext) -> Iterator[str]:
    """Yields what an analyzer's findings of unused access say, and whether the proposal removes
    it.
    """
    found_by = f"- **Unused access**: the analyzer {code(unused.analyzer)}"
    if unused.days:
        found_by += f" ({unused.days} days)"
    if unused.is_whole:
        yield f"{found_by} calls the whole role unused."
    if unused.credentials:
        yield (
            f"{found_by} calls credentials of"
            f" the user unused: {codes(unused.credentials, 4)}. Deactivate what no deploy uses."
        )
    if not unused.actions and not unused.services:
        return
    removed_actions: set[str] = set()
    for change in context.proposal.changes:
        removed_actions.update(action.lower() for action in change.removed_actions)
    agreed = _matching(removed_actions, _unused_patterns(unused))
    yield (
        f"{found_by} calls {_unused_counts(unused)} unused, and"
        f" this proposal removes {plural(len(agreed), 'action')} of these."
    )
    kept_actions = [action for action in unused.actions if action not in removed_actions]
    if kept_actions:
        yield (
            "- It also calls unused, but kept or not granted here:"
            f" {codes(map(_spelled, kept_actions), 8)}."
        )
    for step in unused.advice:
        yield _advice_line(step, _matching(removed_actions, step.grants))
    for reason in unused.without_recommendation:
        yield f"- Without a recommendation: {prose(reason)}"


def _unused_patterns(unused: UnusedAccess) -> list[str]:
    return [*unused.actions, *(f"{service}:*" for service in unused.services)]


def _unused_counts(unused: UnusedAccess) -> str:
    """Returns `2 services and 1 action`, without the zero."""
    counts: list[str] = []
    if unused.services:
        counts.append(plural(len(unused.services), "service"))
    if unused.actions:
        counts.append(plural(len(unused.actions), "action"))
    return joined(counts)


def _matching(actions: Iterable[str], patterns: Iterable[str]) -> list[str]:
    """Returns the actions that a pattern covers, sorted."""
    all_patterns = tuple(patterns)
    return sorted(
        action
        for action in actions
        if any(action_matches(pattern, action) for pattern in all_patterns)
    )


def _advice_line(step: Recommendation, removed: Sequence[str]) -> str:
    """Returns what an analyzer recommends for a policy of which a proposal removes actions."""
    verb = "to detach" if step.step == "DETACH_POLICY" else "to replace"
    line = f"- It recommends {verb} {code(step.policy or 'a policy')}"
    if not removed:
        return f"{line}."
    removed_codes = codes(map(_spelled, removed), 8)
    return f"{line} by a policy that keeps what this proposal removes: {removed_codes}."


def _spelled(action: str) -> str:
    return catalog.spelling(action) or action


def skipped_source_lines(context: ReportContext) -> Iterator[str]:
    """Sources of AWS findings that gave none, one list item per line."""
    for skipped in context.evidence.aws_findings.skipped_sources:
        yield f"- AWS's findings ({skipped.source}): {prose(skipped.why)}"
