"""Sections about AWS's findings on the role: warnings, questions for the reviewer, and effects on
the proposal.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from leastpriv.evidence.models import AccessReport, UnusedAccess
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
    lines = [
        *(_last_accessed(hints.access, context) if hints.access else ()),
        *(line for unused in hints.unused for line in _unused(unused, context)),
    ]
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
    if idle and not was_granted(context.evidence, context.history.changed):
        changed = context.history.changed
        when = f"it changed on {day(changed)}" if changed else "when it last changed is not known"
        yield (
            "- This removes no grant, since the policy file may be younger than the evidence:"
            f" {when}."
        )
    # Services dropped from a wildcard because neither IAM nor this evidence knows a use.
    dropped = (
        _dropped_services(context, idle)
        if was_granted(context.evidence, context.history.changed)
        else []
    )
    if dropped:
        them = "it" if len(dropped) == 1 else "them"
        yield (
            f"- IAM knows of no attempt on {codes(dropped, 12)}, so the actions of {them} in"
            " wildcards are removed."
        )
        policies = sorted(
            {policy for name in dropped for policy in access.granted_by.get(name, ())}
        )
        if policies:
            yield f"- According to IAM, {codes(policies, 6)} grant these services."
    guards = ("last-accessed", "shared-policy")
    entries = [
        held_change.action
        for held_change in context.proposal.held_back
        if held_change.guard_result.guard in guards
    ]
    kept_results = (change.kept or {} for change in context.changes(ChangeKind.NARROW))
    actions = [
        action
        for results_by_action in kept_results
        for action, guard_result in results_by_action.items()
        if guard_result.guard in guards
    ]
    if entries or actions:
        action_words = codes(dict.fromkeys([*entries, *sorted(actions)]), 12)
        yield f"- It keeps {action_words}, of which this evidence shows no use."
    for shared in [shared_policy for shared_policy in access.shared if shared_policy.others][:5]:
        yield (
            f"- {code(shared.arn)} is shared: {codes(sorted(shared.others), 3)} used"
            f" {code(shared.service)} through it, last on"
            f" {day(max(access_of_user.time for access_of_user in shared.others.values()))}."
        )
    if access.missing:
        unknown = "Grants and users are not known for all policies"
        yield f"- {unknown}, so permissions that may be shared are kept: {prose(access.missing)}"


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
    gone = {
        action.lower() for change in context.proposal.changes for action in change.removed_actions
    }
    days = f" ({unused.days} days)" if unused.days else ""
    if unused.is_whole:
        yield (
            f"- **Unused access**: the analyzer {code(unused.analyzer)}{days} calls the whole role"
            " unused."
        )
    if unused.credentials:
        yield (
            f"- **Unused access**: the analyzer {code(unused.analyzer)}{days} calls credentials of"
            f" the user unused: {codes(unused.credentials, 4)}. Deactivate what no deploy uses."
        )
    if not unused.actions and not unused.services:
        return
    patterns = [*unused.actions, *(f"{service}:*" for service in unused.services)]
    agreed = sum(any(action_matches(pattern, action) for pattern in patterns) for action in gone)
    kept_actions = [action for action in unused.actions if action not in gone]
    counted = ((unused.services, "service"), (unused.actions, "action"))
    what = joined(
        [plural(len(counted_names), noun) for counted_names, noun in counted if counted_names]
    )
    yield (
        f"- **Unused access**: the analyzer {code(unused.analyzer)}{days} calls {what} unused, and"
        f" this proposal removes {plural(agreed, 'action')} of these."
    )
    if kept_actions:
        yield (
            "- It also calls unused, but kept or not granted here:"
            f" {codes(map(_spelled, kept_actions), 8)}."
        )
    for step in unused.advice:
        verb = "to detach" if step.step == "DETACH_POLICY" else "to replace"
        removed = sorted(
            action for action in gone if any(action_matches(grant, action) for grant in step.grants)
        )
        by = (
            " by a policy that keeps what this proposal removes:"
            f" {codes(map(_spelled, removed), 8)}"
        )
        yield f"- It recommends {verb} {code(step.policy or 'a policy')}{by if removed else ''}."
    for reason in unused.without_recommendation:
        yield f"- Without a recommendation: {prose(reason)}"


def _spelled(action: str) -> str:
    return catalog.spelling(action) or action


def skipped_source_lines(context: ReportContext) -> Iterator[str]:
    """Sources of AWS findings that gave none, one list item per line."""
    for skipped in context.evidence.aws_findings.skipped_sources:
        yield f"- AWS's findings ({skipped.source}): {prose(skipped.why)}"
