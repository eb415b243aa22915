"""The first screen of a proposal: one instruction with its reason, and one table.

Body, summary, terminal and page show the same `FirstScreen`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from leastpriv.declared.limits import NO_TABLE
from leastpriv.evidence.created_tags import CALLED_VIA
from leastpriv.evidence.models import DeclaredNeeds
from leastpriv.models import ChangeKind, grouped
from leastpriv.permissions.catalog import never_add_pattern, removal_rank, sensitivity
from leastpriv.permissions.generalize import deletes
from leastpriv.permissions.patterns import has_wildcard
from leastpriv.permissions.volatility import is_whole_type
from leastpriv.proposal.addition_rules import OFFERED
from leastpriv.proposal.ledger import DenialFact
from leastpriv.proposal.models import Change, HeldBackChange
from leastpriv.proposal.self_widening import SELF_WIDENING
from leastpriv.proposal.verdict import NOT_EDITABLE, VerdictRule, added_by_hand
from leastpriv.report.change_tables import changes_table, security_table
from leastpriv.report.changes import unread_by_reason
from leastpriv.report.context import ReportContext
from leastpriv.report.escalation import PathEffect
from leastpriv.report.escape import block, code, prose
from leastpriv.report.evidence_limits import (
    is_sensitive_job_log_denial,
    not_added_title,
    was_denied,
)
from leastpriv.report.offers import (
    completing_line,
    counted_offers_line,
    first_notes,
    offered_line,
    releases_line,
)
from leastpriv.report.phrases import codes, kept_because, links_of_runs, plural, them
from leastpriv.report.policy_users import users_lines
from leastpriv.report.screen_models import Alert, FirstScreen
from leastpriv.report.unreviewed_runs import unknown_branch_line, unreviewed_line
from leastpriv.report.verdict import (
    MOST_SHOWN,
    alert_kind,
    alert_links,
    chance_sentences,
    heading,
    reason,
)

_MOST_REASONS = 2
_OWN_REASON = frozenset({"not-mendable", "forbidden"})
"""Guards whose reasons differ from action to action."""


def first_screen(context: ReportContext) -> FirstScreen:
    """Returns the first screen of a proposal."""
    instruction = Alert(
        kind=alert_kind(context),
        instruction=heading(context),
        reason=reason(context),
        links=alert_links(context),
    )
    lines = (
        *users_lines(context),
        *chance_sentences(context),
        administrator_line(context),
        releases_line(context),
        _replaced(context),
        _too_wide(context),
        _not_narrowed(context),
        *first_notes(context),
        completing_line(context),
        offered_line(context),
        counted_offers_line(context),
        _not_drafted(context),
        _not_added(context),
        _offered_conditions(context),
        unreviewed_line(context),
        unknown_branch_line(context),
    )
    return FirstScreen(
        alerts=(*_attempts(context), instruction),
        by_hand=_statements_by_hand(context),
        changes=changes_table(context),
        security=security_table(context),
        lines=tuple(filter(None, lines)),
    )


def _attempts(context: ReportContext) -> Iterator[Alert]:
    """Yields an alert where a run was denied to extend its own role, or to make identities."""
    denied = [fact for fact in context.ledger.not_added if _is_attempt(fact)]
    if not denied:
        return
    actions = dict.fromkeys(fact.usage.need.permission.action for fact in denied)
    usages = [fact.usage for fact in denied]
    runs = links_of_runs(usages, context.evidence, context.run_url)
    in_runs = f" in {runs}" if runs else ""
    are = "It is" if len(actions) == 1 else "They are"
    text = (
        f"AWS denied {codes(actions, MOST_SHOWN)}{in_runs}. {are} not added: find out who started"
        " the run."
    )
    yield Alert("CAUTION", "A run tried to extend its own permissions", text)


def _is_attempt(fact: DenialFact) -> bool:
    if fact.usage.denial and fact.usage.denial.log:
        return False
    if fact.guard == "forbidden":
        return bool(sensitivity(fact.usage.need.permission.action))
    return fact.guard == SELF_WIDENING


def _statements_by_hand(context: ReportContext) -> str:
    """Returns the additions that the file cannot take, as statements of its language."""
    committed = context.proposal.committed
    if context.verdict.rule is not VerdictRule.ADD_BY_HAND or committed is None:
        return ""
    from leastpriv.proposal.edit_plan import is_in_a_json_file, text_to_add

    text = text_to_add(committed, added_by_hand(context.proposal))
    return block(text, "json" if is_in_a_json_file(committed) else committed.source.format)


def _replaced(context: ReportContext) -> str:
    if not context.replaced:
        return ""
    when = "after the merge" if context.is_pull_request else "once this policy is attached"
    return (
        f"**Replaces** {codes(context.replaced)}: detach it {when}; until then it denies no call."
    )


def _too_wide(context: ReportContext) -> str:
    """Names what the change adds on every resource and, of deletions, on every one of a type."""
    added = context.changes(ChangeKind.ADD)
    on_everything = [change.action for change in added if "*" in change.resources]
    deletes_of_whole_type = [
        change.action
        for change in added
        if not change.conditions and deletes(change.action) and _has_whole_type(change)
    ]
    parts = [f"{codes(dict.fromkeys(on_everything), 3)} on every resource"] if on_everything else []
    if deletes_of_whole_type:
        actions = codes(deletes_of_whole_type, 3)
        parts.append(f"{actions} on every resource of a type, since AWS chooses the ids")
    return f"**Too wide:** {'; '.join(parts)}." if parts else ""


def _not_narrowed(context: ReportContext) -> str:
    """Names the used actions of the policy that a guard keeps on every resource."""
    actions = dict.fromkeys(
        held_change.action for held_change in context.proposal.held_back_restrictions
    )
    if not actions:
        return ""
    already = "" if context.proposal.committed is None else " (already in the policy)"
    return f"**Not narrowed yet:** {codes(actions, 3)} on every resource{already}."


def _not_drafted(context: ReportContext) -> str:
    """Names what templates and plans leave open of a first draft."""
    declared = context.evidence.aws_findings.declared
    if context.proposal.committed is not None or not context.proposal.changes:
        return ""
    parts = list(_unread(declared))
    if declared.stateless:
        parts.append(
            f"what Terraform's state needs, because the folder of {codes(declared.stateless, 3)}"
            " has no `.terraform/terraform.tfstate` (`terraform init` writes it unless the state is"
            " local)"
        )
    return f"**Not drafted:** {'; '.join(parts)}." if parts else ""


def _unread(declared: DeclaredNeeds) -> Iterator[str]:
    """Yields the parts of templates and plans whose needs are not known; the reasons of the last
    ones are in a fold.
    """
    by_reason = list(unread_by_reason(declared).items())
    for why, parts in by_reason[:_MOST_REASONS]:
        needs = f"what {codes(parts, 3)} need{'s' if len(parts) == 1 else ''}"
        if why == NO_TABLE:
            yield f"{needs}, which no table lists"
        else:
            yield f"{needs} ({prose(why)})"
    parts_left = sum(len(parts) for _, parts in by_reason[_MOST_REASONS:])
    if parts_left:
        yield f"what {plural(parts_left, 'further part')} need{'s' if parts_left == 1 else ''}"


def _has_whole_type(change: Change) -> bool:
    return any(is_whole_type(resource) for resource in change.resources if has_wildcard(resource))


def _not_added(context: ReportContext) -> str:
    """Names the needs that are not added, by reason; used actions first, since the next run needs
    them.
    """
    held_changes = [
        held_change
        for held_change in context.proposal.held_back_additions
        if held_change.guard_result.guard != OFFERED
        and not is_sensitive_job_log_denial(held_change)
    ]
    if context.verdict.rule is VerdictRule.ADD_BY_HAND:
        # The instruction names them, and their statements follow it.
        held_changes = [
            held_change
            for held_change in held_changes
            if held_change.guard_result.guard != NOT_EDITABLE
        ]
    undecided = [fact for fact in context.ledger.not_added if not fact.guard]
    if not held_changes and not undecided:
        return ""
    groups = grouped([(_kind_of_reason(held_change), held_change) for held_change in held_changes])
    order = sorted(
        groups, key=lambda kind: (all(map(was_denied, groups[kind])), -len(groups[kind]))
    )
    parts = [_not_added_part(groups[kind], context) for kind in order[:_MOST_REASONS]]
    if len(order) > _MOST_REASONS:
        parts.append(plural(len(order) - _MOST_REASONS, "further reason"))
    if undecided:
        actions = dict.fromkeys(fact.usage.need.permission.action for fact in undecided)
        parts.append(f"{codes(actions, 3)}, because {prose(undecided[0].why)}")
    heading_of = not_added_title(held_changes) if held_changes else "Denied, not added"
    return f"**{heading_of}:** {'; '.join(parts)}."


def _kind_of_reason(held: HeldBackChange) -> str:
    """Returns the guard, the pattern of `never-add`, or which policy denied what no identity-based
    policy can grant.
    """
    guard_result = held.guard_result
    if pattern := _pattern_of_never_add(held):
        return pattern
    return guard_result.reason if guard_result.guard in _OWN_REASON else guard_result.guard


def _pattern_of_never_add(held: HeldBackChange) -> str:
    """Returns the user's pattern that forbids an addition, in Markdown; empty without one."""
    guard_result = held.guard_result
    return (
        prose(never_add_pattern(guard_result.reason)) if guard_result.guard == "forbidden" else ""
    )


def _not_added_part(held: Sequence[HeldBackChange], context: ReportContext) -> str:
    actions = sorted({held_change.action for held_change in held}, key=removal_rank)
    usages = [usage for held_change in held for usage in held_change.usages]
    last = links_of_runs(usages, context.evidence, context.run_url, 1)
    in_last_run = f" (last in run {last})" if last else ""
    because = _not_added_because(held[0], len(actions))
    if pattern := _pattern_of_never_add(held[0]):
        what = them(len(actions))
        because = f"`never-add` has {pattern}: add {what} by hand if the runs need {what}"
    return f"{codes(actions, 3)}, because {because}{in_last_run}"


def _not_added_because(held: HeldBackChange, count: int) -> str:
    """Returns the reason of a guard for `count` actions, or who denied what no identity-based
    policy can grant.
    """
    guard_result = held.guard_result
    if guard_result.guard == "forbidden":
        subject = "it" if count == 1 else "each"
        return f"{subject} {prose(guard_result.reason)}, and leastpriv never adds that"
    if guard_result.guard in _OWN_REASON:
        return prose(guard_result.reason)
    return kept_because(guard_result.guard, "addition")


def _offered_conditions(context: ReportContext) -> str:
    """Names the conditions that every call of a sensitive action met."""
    offers = grouped(
        [
            ((suggestion.condition.key, suggestion.condition.values), action)
            for suggestion in context.suggested_conditions
            for action in filter(sensitivity, suggestion.actions)
        ]
    )
    # A long draft has its conditions in `proposal.json`, with all that it offers.
    if not offers or context.is_long_draft:
        return ""
    parts = [
        f"{code(key)} would limit {codes(dict.fromkeys(actions), 3)} to"
        f" {'calls through ' if key == CALLED_VIA else ''}{codes(values, 2)}"
        for (key, values), actions in offers.items()
    ]
    condition_words = "; ".join(parts[:_MOST_REASONS])
    return (
        f"**Condition suggested, not in this change:** {condition_words} (*Kept, offered, not"
        " known* has it"
        " to copy)."
    )


def administrator_line(context: ReportContext) -> str:
    """Returns what the change does to the paths to administrator, or to named roles; empty without
    a path.
    """
    effect = PathEffect(
        escalation=context.escalation,
        guide=context.guide,
        is_draft=context.proposal.committed is None,
        has_changes=bool(context.proposal.changes),
    )
    return effect.line()
