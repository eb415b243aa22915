"""The first screen of a review, and its part about the infrastructure.

The first screen says whether to merge and why, and what the edit removes, adds and leaves unknown.
The part about the infrastructure says what its change needs, what the role lacks, and what was ever
used.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct

from leastpriv.evidence.models import CallGroup
from leastpriv.models import Need, Usage
from leastpriv.permissions.catalog import is_read, sensitivity
from leastpriv.policy.hcl_text import new_statements_hcl
from leastpriv.policy.source import Location
from leastpriv.proposal.preflight import Preflight, Withdrawn, as_text
from leastpriv.proposal.review_models import ReviewVerdict
from leastpriv.proposal.verdict import Instruction
from leastpriv.report.context import ReviewContext
from leastpriv.report.escalation import PathEffect
from leastpriv.report.escape import block, code, name, path_name, prose
from leastpriv.report.guide import page_link
from leastpriv.report.phrases import (
    at_most,
    codes,
    evidence_span,
    fold,
    joined,
    kept_because,
    last_day,
    left_out_by_defaults,
    only_if,
    plural,
    table_lines,
    times,
)
from leastpriv.report.review_tables import edit_table, edits_to_review
from leastpriv.report.screen_models import Alert, FirstScreen
from leastpriv.report.verdict import ALERTS, HEADINGS

_MOST_ROWS = 40
_MOST_NAMED = 6
_MOST_LINES = 3


def preflight_title(context: ReviewContext) -> Iterator[str]:
    """The part of the title; nothing without a template or plan."""
    preflight = context.preflight
    if preflight and preflight.withdrawn:
        yield (
            f"removes {plural(len(_withdrawn_actions(preflight)), 'permission')} that"
            f" {_declared_in(preflight)} still needs"
        )
    if preflight and preflight.missing:
        yield (
            f"{_subject(preflight)} {plural(len(preflight.missing_actions), 'permission')} that"
            f" {name(context.role)} lacks"
        )
    elif preflight and preflight.rest:
        actions = {need.permission.action for need in preflight.rest}
        lacks = plural(len(actions), "permission")
        yield f"{_declarations(preflight)} {lacks} that {name(context.role)} lacks"
    elif preflight and not preflight.withdrawn:
        known_words = " of its known types" if preflight.change.unread else ""
        yield f"the role has the permissions that {_subject(preflight, known_words)}"
    elif context.declared_in and preflight is None:
        yield "the infrastructure does not change"
    if context.beyond_boundary:
        roles = {lost_need.role for lost_need in context.beyond_boundary}
        yield f"{plural(len(roles), 'role')} beyond the boundary"


class Answer(Struct, frozen=True):
    """An instruction with its reason."""

    instruction: Instruction
    reason: str
    heading: str = ""
    """What heads it instead of the instruction."""


def preflight_answer(context: ReviewContext) -> Answer | None:
    """The answer for the change of the infrastructure; None without a change."""
    preflight = context.preflight
    if preflight is None:
        return None
    gone = _withdrawal(preflight) if preflight.withdrawn else ""
    if preflight.missing:
        sentence = f"{gone} {_missing_sentence(preflight, context)}".strip()
        return Answer(Instruction.DO_NOT_MERGE, sentence)
    if gone:
        is_open = all(withdrawal.is_open for withdrawal in preflight.withdrawn)
        return Answer(Instruction.REHEARSE if is_open else Instruction.DO_NOT_MERGE, gone)
    role = code(context.role)
    if preflight.rest:
        sentence = f"{role} has the permissions of this change. {_rest_of(preflight)}"
        return Answer(Instruction.DO_NOT_MERGE, sentence)
    covered = {need.permission.action for need in preflight.covered}
    used_actions = {need.permission.action for need, usages in preflight.covered.items() if usages}
    sources = codes(preflight.change.sources, 3)
    sentence = (
        f"{role} has the permissions that {_subject(preflight, f' of {sources}')}:"
        f" {plural(len(covered), 'permission')},"
        f" {f'{len(used_actions):,}' if used_actions else 'none'} of them in"
        " use."
    )
    return Answer(Instruction.REHEARSE if preflight.change.unread else Instruction.MERGE, sentence)


def _missing_sentence(found: Preflight, context: ReviewContext) -> str:
    """Which permissions the change of the infrastructure needs and the role lacks."""
    actions = found.missing_actions
    sensitive = [*filter(sensitivity, actions)]
    several = len(actions) > 1
    them = "them" if several else "it"
    reads = len([*filter(is_read, actions)]) if several else 0
    reading = f", {reads:,} of them reads," if reads else ""
    careful = ""
    if sensitive:
        careful = f", {len(sensitive):,} of them sensitive" if several else ", a sensitive one"
    unused = f"no run used {them} yet, and this comment adds no permission"
    if found.change.is_whole:
        unused = "no record of a run was read"
    return (
        f"{_capitalized(_subject(found))} {plural(len(actions), 'permission')}{reading} that"
        f" {code(context.role)} lacks: {codes(actions, _MOST_NAMED)}{careful}. Without {them} its"
        f" deployment or its rollback may fail. {codes(found.change.sources, 3)} declares {them};"
        f" {unused}. {_rest_of(found)}"
    )


def _rest_of(found: Preflight) -> str:
    """The sentence about the resources that do not change; empty where the role has what they
    need.
    """
    actions = list(dict.fromkeys(need.permission.action for need in found.rest))
    if not actions:
        return ""
    return (
        f"Resources that do not change need {plural(len(actions), 'permission')} that the role"
        f" lacks: {codes(actions, _MOST_NAMED)}."
    )


def _subject(found: Preflight, rest: str = "") -> str:
    """What needs permissions, with its verb."""
    return _declarations(found, rest) if found.change.is_whole else f"this change{rest} needs"


def _declarations(found: Preflight, rest: str = "") -> str:
    if len(found.change.sources) == 1:
        return f"the declaration{rest} needs"
    return f"the declarations{rest} need"


def _capitalized(text: str) -> str:
    return text[:1].upper() + text[1:]


def _withdrawn_actions(found: Preflight) -> tuple[str, ...]:
    return tuple(dict.fromkeys(withdrawal.need.permission.action for withdrawal in found.withdrawn))


def _declared_in(found: Preflight, source: str = "") -> str:
    """`the template app.yaml`; all declarations of a change for a need of a resource that it
    deletes.
    """
    sources = (source,) if source else found.change.sources
    noun = "plan" if set(sources) <= set(found.change.plans) else "template"
    return f"the {noun}{'s' if len(sources) > 1 else ''} {codes(sources, 3)}"


def _withdrawal(found: Preflight) -> str:
    """The sentence about what the edit takes away, whole where it is one permission."""
    actions, rows = _withdrawn_actions(found), [*withdrawn_rows(found)]
    without = f"Without {'it' if len(actions) == 1 else 'them'} a later deployment may fail."
    if len(rows) == 1:
        return f"T{rows[0][1:]}. {without}"
    sources = {withdrawal.source for withdrawal in found.withdrawn}
    source = _declared_in(found, sources.pop() if len(sources) == 1 else "")
    gone = f"{plural(len(actions), 'permission')} that this pull request removes"
    return f"T{source[1:]} still needs {gone}: {codes(actions, _MOST_NAMED)}. {without}"


def withdrawn_rows(found: Preflight) -> Iterator[str]:
    """Yields a sentence for the needs of one resource in one phase that an edit takes away in one
    way.
    """
    rows: dict[tuple[str, str, str], list[str]] = {}
    for withdrawal in found.withdrawn:
        permission = withdrawal.need.permission
        resource_words = f"{code(permission.resource)}{only_if(permission.conditions)}"
        because = withdrawal.need.because.replace(" (", ", ").replace(")", "")
        row = (
            _declared_in(found, withdrawal.source),
            f"{resource_words} ({prose(because)})",
            _what_is_left(withdrawal),
        )
        rows.setdefault(row, []).append(withdrawal.need.permission.action)
    for (source, resource_words, left_words), actions in rows.items():
        pronoun = "it" if len(actions) == 1 else "them"
        yield (
            f"{source} still needs {codes(actions, len(actions))} on {resource_words}: this pull"
            " request"
            f" removes {pronoun}{left_words}"
        )


def _what_is_left(withdrawal: Withdrawn) -> str:
    if withdrawal.conditions:
        conditions = joined(
            [
                code(f"{condition.operator} {condition.key}: {', '.join(condition.values)}")
                for condition in withdrawal.conditions
            ]
        )
        return f" by a Deny if {conditions}" if withdrawal.denied else f" unless {conditions}"
    if withdrawal.denied:
        return " by a Deny"
    return f", and leaves {codes(withdrawal.left, 3)}" if withdrawal.left else ""


def preflight_sections(context: ReviewContext) -> Iterator[str]:
    """The missing permissions, the statements to paste, and the permissions that the role has, a
    fold each.
    """
    preflight = context.preflight
    if preflight is None:
        return
    if preflight.withdrawn:
        rows = at_most(
            [f"- {row}." for row in withdrawn_rows(preflight)], _MOST_ROWS, "- and {:,} more."
        )
        title = f"Still needed: {plural(len(_withdrawn_actions(preflight)), 'removed permission')}"
        yield from fold(title, ["\n".join(rows)])
    if preflight.missing:
        yield from fold(
            f"Missing: {plural(len(preflight.missing_actions), 'permission')}",
            [_missing(preflight, preflight.missing)],
        )
    if preflight.rest:
        actions = dict.fromkeys(need.permission.action for need in preflight.rest)
        title = f"Resources that do not change lack {plural(len(actions), 'permission')}"
        yield from fold(title, [_missing(preflight, preflight.rest)])
    if preflight.statements:
        location = Location.of(context.policy_file)
        if location.path.endswith(".tf"):
            text = new_statements_hcl(
                preflight.statements, as_blocks=location.pointer.startswith("data.")
            )
            statements = block(text, "hcl")
        else:
            language = "yaml" if location.path.endswith((".yaml", ".yml")) else "json"
            statements = block(as_text(preflight.statements, language, preflight.indent), language)
        yield from fold(
            f"To copy into the statements of {path_name(context.policy_file)}", [statements]
        )
    if preflight.covered:
        yield from _covered(context, preflight.covered)


def _missing(found: Preflight, needs: Sequence[Need]) -> str:
    """One row for the actions that one resource needs in one phase, on one ARN."""
    rows: dict[tuple[str, ...], list[str]] = {}
    for need in needs:
        resource_words = f"{code(need.permission.resource)}{only_if(need.permission.conditions)}"
        guard_result, reason = found.never_written.get(need), sensitivity(need.permission.action)
        warning = f"**sensitive**: {prose(reason)}" if reason else ""
        note = (
            f"**not in the statements**: {prose(guard_result.reason)}" if guard_result else warning
        )
        rows.setdefault((resource_words, prose(need.because), note), []).append(
            need.permission.action
        )
    lines = [
        f"| {codes(actions, len(actions))} | {' | '.join(shared)} |"
        for shared, actions in rows.items()
    ]
    lines = at_most(lines, _MOST_ROWS, "| and {:,} more, in the job summary | | | |")
    return "\n".join(table_lines("Actions | On | For | Note", lines))


def _covered(context: ReviewContext, covered: Mapping[Need, tuple[Usage, ...]]) -> list[str]:
    """The permissions that the policies allow: those in use with their count, those never seen by
    name.
    """
    actions, usages_by_action = (
        dict.fromkeys(need.permission.action for need in covered),
        dict[str, tuple[Usage, ...]](),
    )
    for need, need_usages in covered.items():
        if need_usages:
            usages_by_action.setdefault(need.permission.action, need_usages)
    lines = [
        f"- {code(action)}: seen {times(usages, context.evidence)}, last on {last_day(usages)}"
        for action, usages in list(usages_by_action.items())[:_MOST_ROWS]
    ]
    unused_actions = [action for action in actions if action not in usages_by_action]
    if unused_actions:
        lines.append(f"- never seen: {codes(unused_actions, 20)}")
    return fold(f"Granted already: {plural(len(actions), 'permission')}", ["\n".join(lines)])


def review_first_screen(context: ReviewContext) -> FirstScreen:
    """Returns the first screen of a review; missing permissions of the infrastructure precede the
    edit.
    """
    answer = _edit(context)
    preflight = preflight_answer(context)
    reasons = [*_reasons(context)]
    lacks = bool(context.preflight and context.preflight.lacking)
    if preflight and context.review.verdict is ReviewVerdict.UNCHANGED:
        answer = preflight
    elif preflight and lacks and not context.review.breaks:
        reasons.insert(0, f"**Edit of the policy:** {answer.reason}")
        answer = preflight
    elif preflight:
        reasons.insert(0, f"**Infrastructure:** {preflight.reason}")
    if context.beyond_boundary and not (lacks or context.review.breaks):
        reasons.insert(0, answer.reason)
        answer = Answer(Instruction.DO_NOT_MERGE, _beyond_sentence(context))
    heading = answer.heading or HEADINGS[answer.instruction]
    page = ("what a reviewer looks at", "threat-model")
    if answer.instruction is not Instruction.SECURITY_REVIEW:
        page = ("about reviews", "review")
    alert = Alert(
        kind=ALERTS[answer.instruction],
        instruction=heading,
        reason=answer.reason,
        links=f"({page_link(context.guide, *page)})",
    )
    lines = [f"- {line}" for line in (*reasons, *_other_changes(context))]
    effect = PathEffect(
        escalation=context.escalation, guide=context.guide, is_draft=False, has_changes=True
    )
    return FirstScreen(
        alerts=(alert,),
        changes=edit_table(context),
        security=edits_to_review(context),
        lines=tuple(filter(None, ["\n".join(lines), effect.line()])),
    )


def _beyond_sentence(context: ReviewContext) -> str:
    """Which created roles need more than their boundary."""
    lost = context.beyond_boundary
    roles = dict.fromkeys(lost_need.role for lost_need in lost)
    actions = dict.fromkeys(lost_need.action for lost_need in lost)
    return (
        f"{code(context.boundary_file)} denies {plural(len(actions), 'action')} that the policy of"
        f" {codes(roles, 3)} grants: {codes(actions, _MOST_NAMED)}. Add what the role needs to the"
        " boundary, or take it out of its policy."
    )


def _edit(context: ReviewContext) -> Answer:
    """The answer for the edit of the policy."""
    verdict = context.review.verdict
    file = _edited_file(context)
    if verdict is ReviewVerdict.UNCHANGED:
        sentence = f"Both versions of {file} allow and deny the same."
        return Answer(Instruction.NONE, sentence, "Nothing to review")
    if verdict is ReviewVerdict.BREAKS:
        return _breaking_edit(context)
    if not (_is_by_declarations(context) or context.evidence.counts.calls):
        sentence = (
            f"No call of {code(context.principal)} is among the {context.records:,} records that"
            f" were read, so nothing shows what {file} needs: check the ARN and the trail."
        )
        return Answer(Instruction.NONE, sentence, "No evidence")
    if verdict is ReviewVerdict.NEW_ACCESS:
        return _unproven_edit(context)
    if verdict is ReviewVerdict.NEEDED_ACCESS:
        return _needed_edit(context)
    return _narrowing_edit(context)


def _edited_file(context: ReviewContext) -> str:
    """Returns the policy file in Markdown, and whether it is new or deleted."""
    file = code(context.policy_file)
    if context.review.is_created:
        return f"{file} (new)"
    if context.review.is_deleted:
        return f"{file} (deleted)"
    return file


def _is_by_declarations(context: ReviewContext) -> bool:
    """Whether templates and plans alone name the needs: there are no records."""
    has_records = bool(context.evidence.counts.calls or context.records)
    return bool(context.declared_in) and not has_records


def _sources(context: ReviewContext) -> str:
    """Returns the templates and plans in Markdown."""
    return codes(context.declared_in, 2)


def _breaking_edit(context: ReviewContext) -> Answer:
    """The answer for an edit that would deny recorded calls."""
    calls = plural(count_calls(context.review.newly_denied), "recorded call")
    denied = f"{calls} of {code(context.role)} in {evidence_span(context.evidence)}"
    sentence = (
        f"After this edit of {_edited_file(context)}, {denied} would be denied: such a deploy would"
        " fail."
    )
    if context.review.has_new_access_without_evidence:
        sentence += " It also gives new access without evidence."
    return Answer(Instruction.DO_NOT_MERGE, sentence)


def _unproven_edit(context: ReviewContext) -> Answer:
    """The answer for an edit that gives access beyond the needs."""
    if _is_by_declarations(context):
        access = "access that nothing asks for"
        needs = f"{_sources(context)} needs"
    else:
        access = "access without evidence"
        needs = f"{code(context.role)} needed in {evidence_span(context.evidence)}"
    file = _edited_file(context)
    sentence = f"{file} gains {access}: {_unproven(context)} beyond what {needs}."
    heading = "" if _is_sensitive(context) else "Review what it adds, then merge"
    return Answer(Instruction.SECURITY_REVIEW, sentence, heading)


def _needed_edit(context: ReviewContext) -> Answer:
    """The answer for an edit that gives access which is needed."""
    needs = "what was denied, or used without a known grant"
    if _is_by_declarations(context):
        needs = f"what {_sources(context)} needs; no record of calls was read"
    instruction = Instruction.MERGE
    if _is_sensitive(context):
        instruction = Instruction.SECURITY_REVIEW
    return Answer(instruction, f"{_edited_file(context)} gains only {needs}.")


def _narrowing_edit(context: ReviewContext) -> Answer:
    """The answer for an edit that only takes access away, of which no recorded call is denied."""
    review = context.review
    file = _edited_file(context)
    if _is_by_declarations(context):
        reason = f", and {_sources(context)} needs nothing of what it takes away"
        if context.preflight and context.preflight.withdrawn:
            reason = ""
        sentence = f"{file} allows less{reason}; no record of calls was read."
        return Answer(Instruction.REHEARSE, sentence)
    calls = f"no recorded call of {code(context.role)} in {evidence_span(context.evidence)}"
    certainty = " for sure" if review.may_be_denied else ""
    sentence = f"{file} allows less, and {calls} would be denied{certainty}."
    has_unseen = any(removal.unseen for removal in review.removals)
    if review.may_be_denied or has_unseen:
        return Answer(Instruction.REHEARSE, sentence)
    return Answer(Instruction.MERGE, sentence)


def _is_sensitive(context: ReviewContext) -> bool:
    """Whether the edit adds what a security reviewer must see."""
    return any(addition.forbidden or addition.sensitive for addition in context.review.additions)


def _unproven(context: ReviewContext) -> str:
    """Returns the subject and verb of `FILE gains access without evidence: ... beyond what ROLE
    needed`.

    `3 of 5 added actions go`, or `1 added action goes`. `it goes` where none lacks evidence: the
    access comes of a Deny or a condition that the edit lifts.
    """
    added = {action for addition in context.review.additions for action in addition.edit.actions}
    unproven = {action for addition in context.review.additions for action in addition.unproven}
    if not unproven:
        return "it goes"
    count_words = f"{len(unproven):,} of " if len(unproven) < len(added) else ""
    return (
        f"{count_words}{plural(len(added), 'added action')}"
        f" {'goes' if len(unproven) == 1 else 'go'}"
    )


def _reasons(context: ReviewContext) -> Iterator[str]:
    """Yields the reasons of the verdict, each with a heading."""
    review = context.review
    if review.after.succeeded and review.verdict is not ReviewVerdict.UNCHANGED:
        calls = f"{review.after.allowed:,} of {plural(review.after.succeeded, 'successful call')}"
        yield f"**Replay:** this version allows {calls}, the base {review.before.allowed:,}."
    if review.may_be_denied:
        calls = plural(count_calls(review.may_be_denied), "recorded call")
        yield f"**Not sure:** {calls} may be denied; the records do not decide it."
    results_and_actions = [pair for removal in review.removals for pair in removal.unseen.items()]
    unseen = {action for _, actions in results_and_actions for action in actions}
    if unseen:
        reason = kept_because(
            Counter(
                {guard_result.guard: len(actions) for guard_result, actions in results_and_actions}
            ).most_common(1)[0][0]
        )
        yield (
            f"**Not known:** whether {plural(len(unseen), 'removed action')} will be needed,"
            f" because {reason}."
        )
    unread = context.preflight.change.unread if context.preflight else ()
    if unread:
        yield f"**Not known:** what {codes(unread, 3)} needs."
    left_out = context.preflight.change.left_out if context.preflight else {}
    yield from left_out_by_defaults(left_out)


def _other_changes(context: ReviewContext) -> Iterator[str]:
    review = context.review
    other_changes = len(review.conditions) + len(review.denies_added) + len(review.denies_removed)
    if other_changes:
        yield (
            f"**Changes {plural(other_changes, 'condition or Deny', 'conditions or Denies')}**,"
            " listed"
            " below."
        )


def count_calls(groups: Sequence[CallGroup]) -> int:
    """Returns the number of calls of some groups."""
    return sum(group.count for group in groups)
