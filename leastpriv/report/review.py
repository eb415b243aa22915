"""The comment on a pull request that edits a policy: the verdict first, then the sections, one line
per entry.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence

from leastpriv.diff.policy_diff import EntryDiff
from leastpriv.evidence.models import CallGroup
from leastpriv.models import Condition, Outcome, Usage, grouped
from leastpriv.policy.document import Statement
from leastpriv.proposal.addition_rules import denied_elsewhere
from leastpriv.proposal.review_models import (
    Addition,
    ConditionChange,
    DenyChange,
    Removal,
    Review,
    ReviewVerdict,
    asks_for_grant,
)
from leastpriv.proposal.wildcards import LIFECYCLE
from leastpriv.report.context import ReviewContext
from leastpriv.report.escalation import lost_lines
from leastpriv.report.escape import code, name, prose
from leastpriv.report.evidence_limits import limits_lines
from leastpriv.report.phrases import (
    codes,
    fit_sections,
    fold,
    joined,
    last_seen,
    plural,
    section,
    table_lines,
)
from leastpriv.report.proof import replay_sentences
from leastpriv.report.review_verdict import (
    count_calls,
    preflight_sections,
    preflight_title,
    review_first_screen,
)
from leastpriv.report.screen_models import markdown

_NO_EVIDENCE = "no evidence"
_REASONS = {LIFECYCLE: "a later run updates or deletes what this role makes"}
"""Reasons that differ only in the dependent action are listed as one."""
_LONGEST = 58_000
"""GitHub accepts 65,536 characters; headers and escapes count, as in a pull request's body."""


def security_section(context: ReviewContext) -> Iterator[str]:
    """Sensitive additions with the reason; first those that no proposal would add."""
    rows = (
        f"- {codes(actions, 6)} on {codes(addition.edit.on, 3)}: {prefix}{prose(reason)}."
        for addition in context.review.additions
        for prefix, actions_by_reason in (
            ("**no proposal would write it**: ", addition.forbidden),
            ("", addition.sensitive),
        )
        for reason, actions in actions_by_reason.items()
    )
    yield from section("Needs a security reviewer", dict.fromkeys(rows))


def removals_section(context: ReviewContext) -> Iterator[str]:
    """Removed access: used first, then the rest with the guards that object."""
    removed = context.review.removals
    used_lines = (line for removal in removed for line in _used_lines(context, removal))
    yield from section("Removes what was used", used_lines)
    rows = table_lines("Entry | Where | On | Left", _unused_rows(removed))
    yield from section("Removes without a recorded use", rows)
    guards = table_lines("Guard | Actions | Why", _guard_rows(removed))
    yield from section("A use of these may be unseen or still to come", guards)


def _used_lines(context: ReviewContext, removal: Removal) -> Iterator[str]:
    """Yields a line for each used action that an edit takes: ``- removes `sqs:PurgeQueue` of
    `sqs:*` on `*` (used 3×, last in ...); line 9 of the base``.
    """
    edit = removal.edit
    for words, actions_found in (("used", removal.lost), ("may be denied: used", removal.doubtful)):
        for action, usages in actions_found.items():
            verb = "narrows" if action in edit.partly else "removes"
            through = "" if action == edit.entry else f" of {code(edit.entry)}"
            left_words = f", leaves {codes(edit.elsewhere, 3)}" if action in edit.partly else ""
            resources = sorted({usage.need.permission.resource for usage in usages} - set(edit.on))
            called_on = f", on {codes(resources, 3)}" if resources else ""
            yield (
                f"- {verb} {code(action)}{through} on {codes(edit.on, 3)}{left_words} ({words}"
                f" {_last_seen(context, usages)}{called_on}); {_place(edit.statement, 'base')}"
            )


def _unused_rows(removed: Iterable[Removal]) -> Iterator[str]:
    """A row for each statement and kind of edit, literal entries together."""
    rows: dict[tuple[str, str, str], list[str]] = {}
    for removal in removed:
        edit = removal.edit
        unused = [
            action for action in edit.actions if action not in {*removal.lost, *removal.doubtful}
        ]
        if edit.actions and not unused:
            continue
        remaining = [codes(edit.elsewhere, 3)] if edit.elsewhere else []
        remaining_actions = edit.granted - len(edit.actions)
        remaining += [plural(remaining_actions, "action")] if remaining_actions else []
        cells = (
            _place(edit.statement, "base"),
            codes(edit.on, 3),
            joined(remaining) or "nothing",
        )
        rows.setdefault(cells, []).append(_entry(edit, unused))
    for cells_of_row, entries in rows.items():
        yield f"| {', '.join(entries)} | {' | '.join(cells_of_row)} |"


def _entry(edit: EntryDiff, actions: Sequence[str]) -> str:
    """`sqs:PurgeQueue`, or `sqs:*` with its affected actions."""
    if not actions:
        return f"{code(edit.entry)}: what AWS will add"
    if list(actions) == [edit.entry]:
        return code(edit.entry)
    return f"{code(edit.entry)}: {plural(len(actions), 'action')} ({codes(actions, 6)})"


def _guard_rows(removed: Iterable[Removal]) -> Iterator[str]:
    """Yields a row for each guard and reason, with the removed actions that it objects to."""
    objections = (pair for removal in removed for pair in removal.unseen.items())
    pairs = (
        (guard_result.guard, _REASONS.get(guard_result.guard, guard_result.reason), actions)
        for guard_result, actions in objections
    )
    actions_by_reason = grouped(
        [((guard, reason), action) for guard, reason, actions in pairs for action in actions]
    )
    for (guard, reason), actions_of_reason in actions_by_reason.items():
        yield f"| {code(guard)} | {codes(sorted({*actions_of_reason}), 12)} | {prose(reason)} |"


def additions_section(context: ReviewContext) -> Iterator[str]:
    """Added access, each with its evidence or the lack of it."""
    entries = grouped(
        [
            (_added(context, addition), code(addition.edit.entry))
            for addition in context.review.additions
        ]
    )
    rows = [
        f"- {verb} {', '.join(names)}{words_after}"
        for (verb, words_after), names in entries.items()
    ]
    if context.review.new_access:
        rows.append(f"- **new access by containment**: {codes(context.review.new_access, 6)}")
    yield from section("Adds", rows)


def _added(context: ReviewContext, addition: Addition) -> tuple[str, str]:
    """The texts before and after the entry; entries that share both share a line."""
    edit = addition.edit
    verb = "widens" if edit.partly and not edit.only else "adds"
    new = len(edit.actions)
    count = (
        f", {plural(new, 'action')},"
        if new == edit.granted
        else f", {new:,} of {edit.granted:,} actions new,"
    )
    wider = f", beyond {codes(edit.elsewhere, 3)}" if edit.partly else ""
    edit_words = f"{count if edit.granted > 1 else ''} on {codes(edit.on, 3)}{wider}"
    return verb, f"{edit_words} ({_evidence(context, addition)}); {_place(edit.statement, 'head')}"


def _evidence(context: ReviewContext, addition: Addition) -> str:
    """`denied 3×, last in …`; several actions are listed by name."""
    actions = addition.edit.actions
    if not actions:
        return f"what AWS will add: {_NO_EVIDENCE}"
    if len(actions) == 1:
        return _asked_for(context, addition, actions[0]) or _no_evidence(addition, actions)
    parts = [
        f"{code(action)} {_asked_for(context, addition, action)}"
        for action in list(addition.asked)[:6]
    ]
    further_actions = len(addition.asked) - len(parts)
    parts += [f"{further_actions} more with evidence"] if further_actions else []
    silent = [action for action in addition.unproven if action not in addition.asked]
    if silent:
        parts.append(f"{codes(silent, 6)}: {_no_evidence(addition, silent)}")
    return "; ".join(parts)


def _asked_for(context: ReviewContext, addition: Addition, action: str) -> str:
    """Returns the evidence on one action, as `denied 3×, last in ...`; where it asks for only a
    part of the added resources, it names that part: `..., on arn:aws:s3:::shop-prod alone`.
    """
    usages = addition.asked.get(action, ())
    asked_words = _asked(context, usages)
    is_for_a_part = action in addition.unproven and any(map(asks_for_grant, usages))
    if not is_for_a_part:
        return asked_words
    resources = sorted({usage.need.permission.resource for usage in usages})
    return f"{asked_words}, on {codes(resources, 3)} alone"


def _no_evidence(addition: Addition, actions: Sequence[str]) -> str:
    """Says that no evidence asks for added actions, and what speaks for them all the same: a
    declaration, or a use on other resources.
    """
    declared = [addition.declared[action] for action in actions if action in addition.declared]
    if len(declared) == len(actions):
        return f"declared: {prose(declared[0])}; never seen"
    used_elsewhere = [action for action in actions if action in addition.elsewhere]
    if not used_elsewhere:
        return _NO_EVIDENCE
    use_words = (
        "in use" if len(used_elsewhere) == len(actions) else f"{codes(used_elsewhere, 6)} in use"
    )
    return f"{_NO_EVIDENCE}; {use_words}, on other resources"


def _asked(context: ReviewContext, usages: Sequence[Usage]) -> str:
    """The evidence on an action that was not allowed before."""
    by_kind = grouped([(_kind(usage), usage) for usage in usages])
    return ", ".join(
        f"{prose(kind)} {_last_seen(context, of_kind)}" for kind, of_kind in by_kind.items()
    )


def _last_seen(context: ReviewContext, usages: Sequence[Usage]) -> str:
    return last_seen(context.evidence, context.run_url, usages)


def _kind(usage: Usage) -> str:
    """Returns what a usage shows, before `3×, last in ...`: `denied`, `used without a known
    grant`.
    """
    if usage.outcome is Outcome.ALLOWED:
        return "used without a known grant"
    if usage.outcome is Outcome.UNKNOWN:
        return "called, without a response that shows whether it was allowed,"
    if usage.denial and not usage.denial.mendable:
        return f"{_NO_EVIDENCE}: {denied_elsewhere(usage).guard_result.reason}; denied"
    return "denied, as a job log shows," if usage.denial and usage.denial.log else "denied"


def conditions_section(context: ReviewContext) -> Iterator[str]:
    """Changed conditions and Deny statements, with the recorded calls that they decide."""
    review = context.review
    lines = [
        *(_deny(context, change, "adds a Deny of", "head") for change in review.denies_added),
        *(_deny(context, change, "lifts a Deny of", "base") for change in review.denies_removed),
        *(_condition(context, change) for change in review.conditions),
    ]
    yield from section("Conditions and Deny", lines)


def _deny(context: ReviewContext, change: DenyChange, verb: str, version: str) -> str:
    """Returns the line of a Deny that the edit adds or lifts; `version`: `head` or `base`."""
    edit = change.edit
    what = code(edit.entry) if edit.whole else _entry(edit, edit.actions)
    left_words = f", beyond {codes(edit.elsewhere, 3)}" if edit.partly else ""
    effects = _effect(context, {"denies": change.denied, "allows": change.granted})
    nothing = _NO_EVIDENCE if version == "base" else "it denies no recorded call"
    return (
        f"- {verb} {what} on {codes(edit.on, 3)}{left_words} ({effects or nothing});"
        f" {_place(edit.statement, version)}"
    )


def _condition(context: ReviewContext, change: ConditionChange) -> str:
    """Returns the line of changed conditions, from those before to those after."""
    edit = change.edit
    contexts = f"{codes(edit.actions, 6)} on {codes(edit.on, 3)}"
    effects = _effect(
        context, {"denies": change.denied, "may deny": change.doubtful, "allows": change.granted}
    )
    nothing = _NO_EVIDENCE if edit.widens else "it denies no recorded call"
    effect = "a Deny of " if edit.effect == "Deny" else ""
    return (
        f"- {effect}{contexts}: {_conditions(edit.before)} → {_conditions(edit.after)}"
        f" ({effects or nothing})"
    )


def _effect(context: ReviewContext, by_verb: Mapping[str, Sequence[Usage]]) -> str:
    """Returns ``denies `s3:GetObject`, used 3×, last in ...`` for the usages of each verb; empty
    without any.
    """
    parts = []
    for verb, usages in by_verb.items():
        allowed_usages = [usage for usage in usages if usage.outcome is Outcome.ALLOWED]
        other_usages = [usage for usage in usages if usage.outcome is not Outcome.ALLOWED]
        outcomes = [f"used {_last_seen(context, allowed_usages)}"] if allowed_usages else []
        outcomes += [_asked(context, other_usages)] if other_usages else []
        if usages:
            actions = codes(dict.fromkeys(usage.need.permission.action for usage in usages), 6)
            parts.append(f"{verb} {actions}, {', '.join(outcomes)}")
    return "; ".join(parts)


def _conditions(found: Sequence[Condition]) -> str:
    """`StringEquals aws:RequestedRegion eu-west-1`, each in code, or that there is none."""
    condition_texts = [
        f"{condition.operator} {condition.key} {', '.join(condition.values)}".strip()
        for condition in found
    ]
    return codes(condition_texts, 6) if condition_texts else "no condition"


def _place(statement: Statement, version: str) -> str:
    """`statement Queues, line 9 of the base`."""
    line = f"line {statement.line} of the {version}"
    return f"statement {code(statement.sid)}, {line}" if statement.sid else line


def review_marker(principal: str, policy_file: str) -> str:
    """The last line of the comment, which identifies it to the next run: one per principal and
    policy file.
    """
    scope = hashlib.sha256(f"{principal} {policy_file}".encode()).hexdigest()[:12]
    return f"<!-- leastpriv:review v=1 scope={scope} -->"


def review_title(context: ReviewContext) -> str:
    """One line of fixed words, figures and the role's name."""
    title_parts = [*preflight_title(context)]
    edit = (
        []
        if title_parts and context.review.verdict is ReviewVerdict.UNCHANGED
        else [_edit_title(context.review)]
    )
    return f"Policy review for {name(context.role)}: {', '.join([*edit, *title_parts])}"


def _edit_title(review: Review) -> str:
    titles = {
        ReviewVerdict.BREAKS: f"denies {plural(count_calls(review.newly_denied), 'recorded call')}",
        ReviewVerdict.NEW_ACCESS: "new access without evidence",
        ReviewVerdict.NEEDED_ACCESS: "adds what was needed",
        ReviewVerdict.NARROWS: "allows less",
        ReviewVerdict.UNCHANGED: "no change of permissions",
    }
    return titles[review.verdict]


def review_body(context: ReviewContext, longest: int = _LONGEST) -> str:
    """The whole comment in Markdown, at most `longest` characters, with `marker` as its last line.

    A comment that is too long loses the ends of its longest sections, never verdict or replay.
    """
    parts = (security_section, removals_section, additions_section, conditions_section)
    changes = [text for part in parts for text in part(context)]
    limits = list(limits_lines(context.evidence, has_attached=bool(context.attached)))
    replay = context.review.after
    before = [markdown(review_first_screen(context))]
    after = [
        *fold(
            f"Replay: {replay.allowed:,} of {plural(replay.succeeded, 'successful call')}",
            [_replay(context)],
        ),
        review_marker(context.principal, context.policy_file),
    ]
    sections = [
        *preflight_sections(context),
        *_boundary_section(context),
        *fold(f"Changes: {_edit_title(context.review)}", changes),
        *fold(f"Could not be seen: {plural(len(limits), 'limit')}", ["\n".join(limits)]),
    ]
    # Two line ends follow each part, and one the last.
    remaining = longest + 1 - sum(len(part) + 2 for part in (*before, *after)) - 2 * len(sections)
    return (
        "\n\n".join([*before, *fit_sections(sections, remaining, "the job's summary"), *after])
        + "\n"
    )


def _boundary_section(context: ReviewContext) -> Iterator[str]:
    """What created roles need and their boundary does not allow."""
    lines = lost_lines(context.beyond_boundary)
    yield from section(f"Created roles need more than {code(context.boundary_file)} allows", lines)


def _replay(context: ReviewContext) -> str:
    """Returns the list of what both versions of the policy allow of the recorded calls."""
    review = context.review
    lines = [*replay_sentences(review.after, "this version")]
    if review.before.succeeded:
        lines.append(f"The base allows {review.before.allowed:,} of {review.before.succeeded:,}.")
    if review.newly_denied:
        calls, events = (
            plural(count_calls(review.newly_denied), "call"),
            _events(review.newly_denied, 8),
        )
        lines.append(f"**{calls} would be denied after this edit**: {events}.")
    if review.may_be_denied:
        calls, events = (
            plural(count_calls(review.may_be_denied), "call"),
            _events(review.may_be_denied, 8),
        )
        lines.append(f"{calls} may be denied, and were surely allowed before: {events}.")
    denied_before_too = [
        group for group in review.after.denied if group not in set(review.newly_denied)
    ]
    if denied_before_too:
        lines.append(
            f"{plural(count_calls(denied_before_too), 'call')} by neither version: another policy"
            " of the role"
            f" must have allowed {'it' if count_calls(denied_before_too) == 1 else 'them'}"
            f" ({_events(denied_before_too, 4)})."
        )
    return "\n".join(f"- {line}" for line in lines)


def _events(groups: Iterable[CallGroup], most: int) -> str:
    return codes(dict.fromkeys(group.event for group in groups), most)
