"""Sections about changes: restricted resources, name patterns, kept and suggested actions, conditions, text to copy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from leastpriv.evidence.created_tags import RESOURCE_TAG
from leastpriv.evidence.models import DeclaredNeeds
from leastpriv.models import Basis, ChangeKind
from leastpriv.permissions.catalog import sensitivity
from leastpriv.proposal.models import Change
from leastpriv.proposal.suggestions import SuggestedAction
from leastpriv.proposal.wildcards import LIFECYCLE
from leastpriv.report.context import ReportContext
from leastpriv.report.escape import block, code, prose
from leastpriv.report.first_screen import entry_sizes, kept_because
from leastpriv.report.phrases import by_guard_result, codes, day, joined, latest_use, only_if, plural, runs_of


def restrictions_section(context: ReportContext) -> Iterator[str]:
    """The section about restricted resources, with the reader's risk: one row for all actions on the same ones."""
    groups: dict[tuple[object, ...], list[Change]] = {}
    for change in context.changes(ChangeKind.NARROW):
        if change.restricted_to:
            groups.setdefault((change.resources, change.restricted_to, change.conditions), []).append(change)
    if groups:
        rows = "\n".join(_row(group) for group in groups.values())
        head = "| Actions | From | To | Runs | Last seen |\n| --- | --- | --- | ---: | --- |"
        risk = (
            "The resources of the earlier half of the runs cover the later half. A run that needs another resource "
            "will be denied: to keep `*`, use `keep` or `resources: keep`."
        )
        risk += of_tags(chain.from_iterable(groups.values()))
        yield f"#### Narrowed to the resources that were used\n\n{risk}\n\n{head}\n{rows}"
    held_back = by_guard_result(context.proposal.held_back_restrictions)
    if held_back:
        table = "\n".join(
            f"| {codes(held.action for held in group)} | {code(result.guard)}: {prose(result.reason)} |"
            for result, group in held_back.items()
        )
        count = plural(len(context.proposal.held_back_restrictions), "used action")
        head = "| Action | Because |\n| --- | --- |"
        yield f"#### {count} on every resource\n\n{head}\n{table}"


def of_tags(changes: Iterable[Change]) -> str:
    """What a reader must know of conditions on tags; empty without one."""
    has_any = any(each.key.startswith(RESOURCE_TAG) for change in changes for each in change.conditions)
    return " A resource that is created without the tag of a condition is denied its deletion." if has_any else ""


def _row(group: Sequence[Change]) -> str:
    patterns = {pattern.pattern: pattern for change in group for pattern in change.patterns}.values()
    # A log group has two forms in the evidence.
    covered = len({each.removesuffix(":*") for pattern in patterns for each in pattern.covers})
    stands_for = f" for {plural(covered, 'resource')} seen" if any(each.openings for each in patterns) else ""
    usages = [usage for change in group for usage in change.usages]
    unused: dict[str, list[str]] = {}
    for change in group:
        for action, result in (change.kept or {}).items():
            why = "for later deploys" if result.guard == LIFECYCLE else "without a record of its use"
            unused.setdefault(why, []).append(action)
    actions = [
        codes([action for change in group for action in change.used]),
        *(f"{why}: {codes(names)}" for why, names in unused.items()),
    ]
    to = f"{codes(group[0].restricted_to, 6)}{stands_for}{only_if(group[0].conditions)}"
    runs = f"{len(runs_of(usages))} | {day(latest_use(usages))}"
    return f"| {'; '.join(filter(None, actions))} | {codes(group[0].resources, 2)} | {to} | {runs} |"


_MOST_ROWS = 12
_MOST_SEEN = 3


def wildcards_section(context: ReportContext) -> Iterator[str]:
    """The collapsed section on wildcards of additions; empty if every resource is exact."""
    seen: dict[str, tuple[dict[str, None], dict[str, None], dict[str, None]]] = {}
    for change in context.changes(ChangeKind.ADD):
        for pattern in change.patterns:
            if pattern.openings and pattern.pattern in change.resources:
                actions, covers, reasons = seen.setdefault(pattern.pattern, ({}, {}, {}))
                actions[change.action] = None
                covers.update(dict.fromkeys(pattern.covers))
                reasons.update(dict.fromkeys(opening.reason for opening in pattern.openings))
    if not seen:
        return
    rows = [
        f"| {code(name)} | {codes(actions, _MOST_SEEN)} | {codes(covers, _MOST_SEEN)} | {prose('; '.join(reasons))} |"
        for name, (actions, covers, reasons) in sorted(seen.items())
    ]
    more = f"\n\n{len(rows) - _MOST_ROWS:,} more are in `proposal.json`." if len(rows) > _MOST_ROWS else ""
    yield (
        f"#### {plural(len(rows), 'name pattern')}\n\n"
        "These patterns also match resources that other teams create in this account; `resources: exact` writes names "
        "instead.\n\n"
        "| Pattern | Actions | Seen | Because |\n| --- | --- | --- | --- |\n" + "\n".join(rows[:_MOST_ROWS]) + more
    )


_MOST_KEPT = 3


def kept_section(context: ReportContext, *, details: bool = False) -> tuple[int, list[str]]:
    """Returns the number of unused actions that remain granted, and a list of them by guard, the largest first.

    `proposal.json` has the reason for each action; `details` adds the reasons of a guard that keeps few.
    """
    kept: dict[str, dict[str, str]] = {}
    for change in context.changes(ChangeKind.NARROW):
        for action, result in (change.kept or {}).items():
            kept.setdefault(result.guard, {})[action] = result.reason
    for held in context.proposal.held_back:
        kept.setdefault(held.guard_result.guard, {})[held.action] = held.guard_result.reason
    size = entry_sizes(context)
    counts = {guard: sum(map(size, actions)) for guard, actions in kept.items()}
    lines = []
    for guard, actions in sorted(kept.items(), key=lambda item: -counts[item[0]]):
        why = (
            f": {prose('; '.join(dict.fromkeys(actions.values())))}"
            if details and len(actions) <= _MOST_DETAILS
            else ""
        )
        named = codes(sorted(actions), _MOST_KEPT)
        lines.append(f"- {counts[guard]:,} because {kept_because(guard)} ({code(guard)}): {named}{why}")
    return sum(counts.values()), ["\n".join(lines)] if lines else []


_MOST_DETAILS = 2
_MOST_SUGGESTIONS = 2
"""Lines; the changes themselves come first."""
_WORDS = {Basis.DECLARED: "declared by", Basis.LIFECYCLE: "counterpart of"}


def suggested_actions_section(suggestions: Sequence[SuggestedAction], declared: DeclaredNeeds) -> Iterator[str]:
    """The section of suggested actions, and of resource types without a table."""
    by_cause: dict[tuple[Basis, str, tuple[str, ...]], list[SuggestedAction]] = {}
    for suggestion in suggestions:
        by_cause.setdefault((suggestion.basis, suggestion.because, suggestion.resources), []).append(suggestion)
    groups = list(by_cause.values())
    lines = [_line(group) for group in groups[:_MOST_SUGGESTIONS]]
    if len(groups) > _MOST_SUGGESTIONS:
        lines.append(f"- and {sum(map(len, groups[_MOST_SUGGESTIONS:])):,} more.")
    if declared.unread:
        lines.append(f"- No table lists what {codes(declared.unread, 8)} of the templates and plans need.")
    if lines:
        yield ("Later deploys may need these; `proposal.json` has statements to copy:\n\n" + "\n".join(lines))


def statements_to_copy(suggestions: Sequence[SuggestedAction]) -> list[dict[str, object]]:
    """Statements to copy, for actions that are not sensitive and whose resources were used."""
    by_resources: dict[tuple[str, ...], list[str]] = {}
    for suggestion in suggestions:
        if suggestion.resources and not sensitivity(suggestion.action):
            by_resources.setdefault(suggestion.resources, []).append(suggestion.action)
    return [
        {"Effect": "Allow", "Action": actions, "Resource": list(resources)}
        for resources, actions in by_resources.items()
    ]


def _line(group: Sequence[SuggestedAction]) -> str:
    suggestion = group[0]
    careful = ", for a security review" if any(sensitivity(each.action) for each in group) else ""
    actions = codes((each.action for each in group), 3)
    return f"- {actions}: {_WORDS[suggestion.basis]} {code(suggestion.because)}{careful}."


_MOST_CONDITIONS = 3


def suggested_conditions_section(context: ReportContext) -> Iterator[str]:
    """The section on conditions that every call of an action met."""
    suggested = context.suggested_conditions
    lines = [
        f"- {code(each.condition.key)} is {joined([code(value) for value in each.condition.values])} for "
        f"{codes(each.actions, 4)} (statement {code(each.sid) if each.sid else each.statement + 1}, "
        f"{plural(each.runs, 'run')})"
        for each in suggested[:_MOST_CONDITIONS]
    ]
    if len(suggested) > _MOST_CONDITIONS:
        lines.append(f"- and {len(suggested) - _MOST_CONDITIONS:,} more, in `proposal.json`.")
    if lines:
        yield "Each call of these actions met the condition:\n\n" + "\n".join(lines)


_LONGEST = 20_000
"""Characters; more would leave no room for the evidence. A large policy has 10,000."""


def hcl_section(context: ReportContext) -> Iterator[str]:
    """The section with statements to copy, if the policy file cannot take them."""
    document, left = context.proposal.document, context.proposal.to_paste
    committed = context.proposal.committed
    if left and committed:
        from leastpriv.proposal.edit_plan import text_to_paste

        reasons = sorted({held.guard_result.reason for held in context.proposal.held_back_as("not-editable")})
        yield (
            f"{code(context.policy_file)} does not write these statements for this policy alone: they "
            f"remain ({prose('; '.join(reasons))}). In their place:\n\n"
            f"{_shortened(text_to_paste(committed, left))}"
        )
    if document.editable or not context.proposal.changes:
        return
    name = code(context.policy_file)
    from leastpriv.policy.hcl_text import policy_hcl

    text = _shortened(policy_hcl(document))
    what = "the statements" if document.pointer.startswith(("data.", "/data/")) else "the argument of `jsonencode`"
    yield (
        f"{name} is a data source in Terraform's JSON, which this action reads and does not edit. To apply the "
        f"proposal, replace {what} there by:\n\n{text}"
    )


def _shortened(text: str) -> str:
    shown, note = block(text, "hcl"), "*It is too long for this page: `policy.tf` next to this report has it.*"
    return shown if len(shown) <= _LONGEST else note
