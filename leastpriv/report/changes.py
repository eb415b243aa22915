"""Sections about changes: restricted resources, name patterns, kept and suggested actions,
conditions, text to copy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial

from msgspec import Struct

from leastpriv.declared.limits import NO_TABLE, why_unknown
from leastpriv.evidence.created_tags import RESOURCE_TAG
from leastpriv.evidence.models import DeclaredNeeds
from leastpriv.models import Basis, ChangeKind, condition_block, grouped
from leastpriv.permissions.catalog import removal_rank, sensitivity
from leastpriv.permissions.generalize import Certainty
from leastpriv.policy.document import Statement
from leastpriv.proposal.ledger import GrantFact, GrantState, StatementFacts
from leastpriv.proposal.models import Change
from leastpriv.proposal.origins import unreviewed_uses
from leastpriv.proposal.removals import UNSEEN_SERVICE
from leastpriv.proposal.suggestions import SuggestedAction
from leastpriv.proposal.verdict import VerdictRule
from leastpriv.proposal.wildcards import LIFECYCLE
from leastpriv.report.context import ReportContext
from leastpriv.report.escape import block, code, json_text, prose
from leastpriv.report.phrases import (
    at_most,
    by_guard_result,
    codes,
    kept_because,
    last_day,
    left_out_by_defaults,
    only_if,
    plural,
    runs_of,
    section,
    table_lines,
)

_MOST_ROWS = 12
_MOST_SEEN = 3
_MOST_KEPT = 3
_MOST_OF_ENTRY = 12
_MOST_DETAILS = 2
_MOST_SUGGESTIONS = 2
"""Lines; the changes themselves come first."""
_WORDS = {Basis.DECLARED: "declared by", Basis.LIFECYCLE: "counterpart of"}
_MOST_CONDITIONS = 3
_LONGEST = 20_000
"""Characters; more would leave no room for the evidence. A large policy has 10,000."""


def restrictions_section(context: ReportContext) -> Iterator[str]:
    """The section about restricted resources, with the reader's risk: one row for all actions on
    the same ones.
    """
    restricted = [change for change in context.changes(ChangeKind.NARROW) if change.restricted_to]
    groups = grouped(
        [
            ((change.resources, change.restricted_to, change.conditions), change)
            for change in restricted
        ]
    )
    if groups:
        risk = (
            "The resources of the earlier half of the runs cover the later half. A run that needs"
            " another resource will be denied: to keep `*`, use `keep` or `resources:"
            f" keep`.{of_tags(restricted)}"
        )
        rows = table_lines("Actions | From | To | Runs: | Last seen", map(_row, groups.values()))
        yield from section("Narrowed to the resources that were used", [risk, "", *rows])
    held_back = context.proposal.held_back_restrictions
    reasons = (
        f"| {codes(held_change.action for held_change in group)} | {code(guard_result.guard)}:"
        f" {prose(guard_result.reason)} |"
        for guard_result, group in by_guard_result(held_back).items()
    )
    title = f"{plural(len(held_back), 'used action')} on every resource"
    yield from section(title, table_lines("Action | Because", reasons))


def of_tags(changes: Iterable[Change]) -> str:
    """What a reader must know of conditions on tags; empty without one."""
    has_any = any(
        condition.key.startswith(RESOURCE_TAG)
        for change in changes
        for condition in change.conditions
    )
    return (
        " A resource that is created without the tag of a condition is denied its deletion."
        if has_any
        else ""
    )


def _row(group: Sequence[Change]) -> str:
    """Returns the line of changes that differ in the action alone."""
    first = group[0]
    usages = [usage for change in group for usage in change.usages]
    resources = codes(first.restricted_to, 6)
    cells = (
        _actions_cell(group),
        codes(first.resources, 2),
        f"{resources}{_seen_resources(group)}{only_if(first.conditions)}",
        f"{len(runs_of(usages))}",
        last_day(usages),
    )
    return f"| {' | '.join(cells)} |"


def _seen_resources(group: Sequence[Change]) -> str:
    """Returns how many resources the patterns of changes stand for; empty where none is open."""
    patterns = {pattern.pattern: pattern for change in group for pattern in change.patterns}
    if not any(pattern.openings for pattern in patterns.values()):
        return ""
    covered: set[str] = set()
    for pattern in patterns.values():
        # A log group has two forms in the evidence.
        covered.update(resource.removesuffix(":*") for resource in pattern.covers)
    return f" for {plural(len(covered), 'resource')} seen"


def _actions_cell(group: Sequence[Change]) -> str:
    """Returns the used actions of changes, then the unused ones by why they remain."""
    unused: dict[str, list[str]] = {}
    for change in group:
        for action, guard_result in (change.kept or {}).items():
            reason = "without a record of its use"
            if guard_result.guard == LIFECYCLE:
                reason = "for later deploys"
            unused.setdefault(reason, []).append(action)
    texts = [codes([action for change in group for action in change.used])]
    texts += [f"{reason}: {codes(actions)}" for reason, actions in unused.items()]
    return "; ".join(filter(None, texts))


UNNAMED_BECAUSE: Mapping[Certainty, str] = {
    Certainty.FROM_ANSWER: "the answer of a call names it, not the request",
    Certainty.IN_PART: "the records show its type or a part of its name",
}
"""Why no record names a resource whole, of those whose names are not open."""


class _Written(Struct):
    """A resource of additions that the records do not name whole."""

    actions: dict[str, None]
    covers: dict[str, None]
    reasons: dict[str, None]


def wildcards_section(context: ReportContext) -> Iterator[str]:
    """The collapsed section on resources of additions that no record names whole; empty if each is
    named.
    """
    pattern_by_text: dict[str, _Written] = {}
    has_names = False
    for change in context.changes(ChangeKind.ADD):
        for pattern in change.patterns:
            reasons = [opening.reason for opening in pattern.openings]
            has_names = has_names or bool(reasons)
            if not reasons and pattern.certainty in UNNAMED_BECAUSE:
                reasons = [UNNAMED_BECAUSE[pattern.certainty]]
            if not reasons or pattern.pattern not in change.resources:
                continue
            written_pattern = pattern_by_text.setdefault(pattern.pattern, _Written({}, {}, {}))
            written_pattern.actions[change.action] = None
            written_pattern.covers.update(dict.fromkeys(pattern.covers))
            written_pattern.reasons.update(dict.fromkeys(reasons))
    if not pattern_by_text:
        return
    rows = [
        f"| {code(name)} | {codes(each.actions, _MOST_SEEN)} | {codes(each.covers, _MOST_SEEN)} |"
        f" {prose('; '.join(each.reasons))} |"
        for name, each in sorted(pattern_by_text.items())
    ]
    note = "These patterns also match resources that other teams create in this account"
    note += "; `resources: exact` writes names instead."
    shown_rows = at_most(rows, _MOST_ROWS, "\n{:,} more are in `proposal.json`.")
    table = table_lines("Resource | Actions | Seen | Because", shown_rows)
    title = f"{plural(len(rows), 'resource')} without a whole name"
    yield from section(title, [note, "", *table] if has_names else table)


def removed_section(context: ReportContext) -> Iterator[str]:
    """Yields the removed actions by statement, one line a service; then the narrowed resources.

    Those without a record come first, and of them those of services in use.
    """
    statements = context.ledger.statements
    unrecorded = partial(_removed_part, statements, GrantState.REMOVED_UNRECORDED)
    yield from unrecorded(
        "No record could show a use", lambda grant: not is_of_unseen_service(grant)
    )
    yield from unrecorded(
        "No record could show a use, and their service was never called", is_of_unseen_service
    )
    unreviewed = {use.action for use in unreviewed_uses(context.evidence)}
    recorded = partial(_removed_part, statements, GrantState.REMOVED_RECORDED)
    yield from recorded(
        "Only runs of unreviewed code used them", lambda grant: grant.action in unreviewed
    )
    yield from recorded(
        "A use would have been recorded, and no record shows one",
        lambda grant: grant.action not in unreviewed,
    )
    yield from restrictions_section(context)


def _removed_part(
    statements: Sequence[StatementFacts],
    state: GrantState,
    why: str,
    is_meant: Callable[[GrantFact], bool],
) -> Iterator[str]:
    """Yields the section of the grants in a state that are meant."""
    lines: list[str] = []
    count = 0
    for facts in statements:
        actions = [grant.action for grant in facts.of(state) if is_meant(grant)]
        if not actions:
            continue
        count += len(actions)
        lines.append(f"- {statement_place(facts.statement)}: {plural(len(actions), 'action')}")
        by_service = grouped([(name.partition(":")[0], name) for name in actions])
        lines.extend(
            f"  - {codes(sorted(names, key=removal_rank), len(names))}"
            for names in by_service.values()
        )
    yield from section(f"{why}: {plural(count, 'action')}", lines)


def is_of_unseen_service(grant: GrantFact) -> bool:
    """Whether an action is removed with its service, of which no call was recorded."""
    return grant.guard == UNSEEN_SERVICE


def statement_place(statement: Statement) -> str:
    """Returns a statement by its Sid and line."""
    if statement.sid:
        return f"statement {code(statement.sid)} (line {statement.line})"
    return f"the statement on line {statement.line}"


def kept_section(context: ReportContext, *, details: bool = False) -> tuple[int, list[str]]:
    """Returns the number of unused actions that remain granted, and a list of them by guard, the
    largest first.

    `proposal.json` has the reason for each action; `details` adds the reasons of a guard that keeps
    few.
    """
    kept_grants = context.ledger.grants_of(GrantState.KEPT_UNUSED)
    groups = grouped([(grant.guard, grant) for grant in kept_grants])
    lines = []
    for guard, grants in sorted(groups.items(), key=lambda item: -len(item[1])):
        reasons = dict.fromkeys(grant.why for grant in grants)
        is_short = details and len(reasons) <= _MOST_DETAILS
        reason_words = f": {prose('; '.join(reasons))}" if is_short else ""
        name_words = codes(_names(grants), _MOST_KEPT)
        lines.append(
            f"- {len(grants):,} because {kept_because(guard)} ({code(guard)}):"
            f" {name_words}{reason_words}"
        )
    return len(kept_grants), lines


def _names(grants: Sequence[GrantFact]) -> list[str]:
    """Returns the names of kept actions; of many through one entry, the entry."""
    names: list[str] = []
    actions_by_entry = grouped([(grant.entry, grant.action) for grant in grants])
    for entry, actions in actions_by_entry.items():
        if len(actions) > _MOST_OF_ENTRY:
            names.append(entry)
        else:
            names.extend(sorted(actions, key=removal_rank))
    return names


def suggested_actions_section(
    suggestions: Sequence[SuggestedAction], declared: DeclaredNeeds
) -> Iterator[str]:
    """The section of suggested actions, and of resource types without a table."""
    lines = []
    suggestions_left = len(suggestions)
    by_cause = grouped(
        [
            ((suggestion.basis, suggestion.because, suggestion.resources), suggestion)
            for suggestion in suggestions
        ]
    )
    for (basis, because, _), group in list(by_cause.items())[:_MOST_SUGGESTIONS]:
        careful = (
            ", for a security review"
            if any(sensitivity(suggestion.action) for suggestion in group)
            else ""
        )
        lines.append(
            f"- {codes((suggestion.action for suggestion in group), 3)}: {_WORDS[basis]}"
            f" {code(because)}{careful}."
        )
        suggestions_left -= len(group)
    if suggestions_left:
        lines.append(f"- and {suggestions_left:,} more.")
    lines.extend(f"- {sentence}" for sentence in _unknown_needs(declared))
    lines.extend(f"- {left_out_line}" for left_out_line in left_out_by_defaults(declared.left_out))
    if lines:
        yield (
            "Later deploys may need these; `proposal.json` has statements to copy:\n\n"
            + "\n".join(lines)
        )


def _unknown_needs(declared: DeclaredNeeds) -> Iterator[str]:
    """Sentences about the parts of templates and plans whose needs are not known."""
    for reason, parts in unread_by_reason(declared).items():
        parts_named = codes(parts, 8)
        if reason == NO_TABLE:
            yield f"No table lists what {parts_named} of the templates and plans need."
        else:
            yield f"The needs of {parts_named} are not known: {prose(reason)}."


def unread_by_reason(declared: DeclaredNeeds) -> dict[str, list[str]]:
    """Returns the parts of templates and plans whose needs are not known, by the reason."""
    return grouped([(why_unknown(part, declared.reasons), part) for part in declared.unread])


def statements_to_copy(suggestions: Sequence[SuggestedAction]) -> list[dict[str, object]]:
    """Statements to copy, for actions that are not sensitive and whose resources were used."""
    offered = (
        suggestion
        for suggestion in suggestions
        if suggestion.resources and not sensitivity(suggestion.action)
    )
    by_resources = grouped([(suggestion.resources, suggestion.action) for suggestion in offered])
    return [
        {"Effect": "Allow", "Action": names, "Resource": list(resources)}
        for resources, names in by_resources.items()
    ]


def suggested_conditions_section(context: ReportContext) -> Iterator[str]:
    """The section on conditions that every call of an action met."""
    lines = [
        f"- {code(json_text(condition_block([suggestion.condition])))} for"
        f" {codes(suggestion.actions, 4)}"
        f" (statement {code(suggestion.sid) if suggestion.sid else suggestion.statement + 1},"
        f" {plural(suggestion.runs, 'run')})"
        for suggestion in context.suggested_conditions
    ]
    if lines:
        shown_lines = at_most(lines, _MOST_CONDITIONS, "- and {:,} more, in `proposal.json`.")
        yield "Each call of these actions met the condition:\n\n" + "\n".join(shown_lines)


def hcl_section(context: ReportContext) -> Iterator[str]:
    """The section with statements to copy, if the policy file cannot take them."""
    document, to_paste = context.proposal.document, context.proposal.to_paste
    committed = context.proposal.committed
    # The first screen of additions by hand has them already.
    if to_paste and committed and context.verdict.rule is not VerdictRule.ADD_BY_HAND:
        from leastpriv.proposal.edit_plan import text_to_paste

        reasons = sorted(
            {
                held_change.guard_result.reason
                for held_change in context.proposal.held_back_as("not-editable")
            }
        )
        yield (
            f"{code(context.policy_file)} does not write these statements for this policy alone:"
            f" they remain ({prose('; '.join(reasons))}). In their"
            f" place:\n\n{_shortened(text_to_paste(committed, to_paste))}"
        )
    doubtful = context.proposal.held_back_as("may-be-allowed")
    if doubtful and committed:
        from leastpriv.proposal.edit_plan import text_to_add

        language = committed.source.format
        yield (
            "AWS denied these actions, and a condition or an expression of the policy may allow"
            " them. If they are denied again, add:\n\n"
            f"{_shortened(text_to_add(committed, doubtful), language)}"
        )
    if context.proposal.changes and not document.editable:
        from leastpriv.policy.hcl_text import policy_hcl

        is_source = document.pointer.startswith(("data.", "/data/"))
        yield (
            f"{code(context.policy_file)} is a data source in Terraform's JSON, which this action"
            " reads and does not edit. To apply the proposal, replace"
            f" {'the statements' if is_source else 'the argument of `jsonencode`'} there"
            f" by:\n\n{_shortened(policy_hcl(document))}"
        )


def _shortened(text: str, language: str = "hcl") -> str:
    text_block = block(text, language)
    if len(text_block) <= _LONGEST:
        return text_block
    return "*It is too long for this page: `policy.tf` next to this report has it.*"
