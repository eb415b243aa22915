"""What only unreviewed runs used, for the first screen and for the security reviewer."""

from __future__ import annotations

from leastpriv.models import ChangeKind, Origin, Outcome, Permission, Usage
from leastpriv.permissions.catalog import sensitivity
from leastpriv.proposal.origins import (
    ORIGIN_RULES,
    UnreviewedUse,
    change_marks,
    has_unknown_origin,
    is_unreviewed_use,
    unreviewed_uses,
)
from leastpriv.proposal.verdict import Instruction
from leastpriv.report.context import ReportContext
from leastpriv.report.phrases import codes, plural

_MOST_NAMED = 4
FIND_THE_RUN = "Find out who started these runs: merging does not undo what they did."


def kept_for_unreviewed_runs(context: ReportContext) -> tuple[UnreviewedUse, ...]:
    """Returns the actions that only unreviewed runs used and that the result still grants them."""
    return tuple(
        use for use in unreviewed_uses(context.evidence) if use.action in context.ledger.unreviewed
    )


def denied_to_unreviewed_runs(context: ReportContext) -> tuple[Usage, ...]:
    """Returns the allowed usages of unreviewed runs alone that the result does not grant."""
    denied = _denied_permissions(context)
    allowed = (usage for usage in context.evidence.usages if usage.outcome is Outcome.ALLOWED)
    unreviewed = (usage for usage in allowed if is_unreviewed_use(usage, context.evidence))
    return tuple(usage for usage in unreviewed if usage.need.permission in denied)


def unreviewed_line(context: ReportContext) -> str:
    """Returns the line of the first screen on what only unreviewed runs used, in Markdown; empty
    where there is nothing.
    """
    kept_actions = kept_for_unreviewed_runs(context)
    denied = denied_to_unreviewed_runs(context)
    sentences = []
    if kept_actions:
        names = codes([use.action for use in kept_actions], _MOST_NAMED)
        sentences.append(f"{names}, which the result still grants")
    if denied:
        names = codes([usage.need.permission.action for usage in denied], _MOST_NAMED)
        sentences.append(f"{names}, which the result denies them")
    narrowed_names = names_in_narrowings(context, Origin.UNREVIEWED)
    if narrowed_names:
        names = codes(
            dict.fromkeys(permission.resource for permission in narrowed_names), _MOST_NAMED
        )
        sentences.append(f"{names} in narrowed statements")
    if not sentences:
        return ""
    runs = context.evidence.runs_of_origin(Origin.UNREVIEWED)
    is_sensitive = any(sensitivity(usage.need.permission.action) for usage in denied)
    first = f" {FIND_THE_RUN}" if is_sensitive else ""
    return (
        f"**Only unreviewed runs** ({len(runs):,} of"
        f" {plural(len(context.evidence.runs), 'run')}) used {'; and '.join(sentences)}.{first}"
    )


def unknown_branch_line(context: ReportContext) -> str:
    """Returns the line of the first screen on additions, and on names for sensitive actions, of
    runs whose branch is not known, in Markdown; empty where there is none.
    """
    line = unknown_branch_of_additions(context)
    names = [
        permission.resource
        for permission in names_in_narrowings(context, Origin.UNKNOWN)
        if sensitivity(permission.action)
    ]
    if not names:
        return line
    name_words = codes(dict.fromkeys(names), _MOST_NAMED)
    if line:
        return f"{line} Only such runs used {name_words} in narrowed statements."
    return (
        f"**Branch unknown:** only runs without a known branch used {name_words} in narrowed"
        " statements."
    )


def unknown_branch_of_additions(context: ReportContext) -> str:
    """Returns the sentence on additions of runs whose branch is not known, in Markdown; empty
    without such an addition.
    """
    added = context.changes(ChangeKind.ADD)
    evidence = context.evidence
    unknown = [
        change.action
        for change in added
        if any(has_unknown_origin(usage, evidence) for usage in change.usages)
    ]
    if not unknown:
        return ""
    actions = tuple(dict.fromkeys(unknown))
    names = codes(actions) if len(actions) <= _MOST_NAMED else f"{len(actions):,} added actions"
    line = f"**Branch unknown:** the runs behind {names} may have run code of any branch."
    if context.verdict.instruction is not Instruction.MERGE:
        return line
    return (
        f"{line} This matters only if code without a review can use this role: then look at these"
        " runs first."
    )


def _denied_permissions(context: ReportContext) -> frozenset[object]:
    decisions = context.proof.need_decisions
    return frozenset(
        decision.permission for decision in decisions if not decision.effect.startswith("allowed")
    )


def names_in_narrowings(context: ReportContext, origin: Origin) -> tuple[Permission, ...]:
    """Returns the names in narrowed statements that only runs of an origin used."""
    permissions: dict[Permission, None] = {}
    mark = ORIGIN_RULES[origin].mark
    for change in context.changes(ChangeKind.NARROW):
        for resource in change_marks(change, context.evidence).get(mark, ()):
            permissions[Permission(change.restricted_action, resource)] = None
    return tuple(permissions)
