"""Sections about changes: restricted resources, wildcards, lifecycle counterparts, suggested actions and conditions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from leastpriv.evidence.aws_findings.models import DeclaredNeeds
from leastpriv.models import Basis, ChangeKind
from leastpriv.permissions.sensitive import sensitivity
from leastpriv.proposal.models import Change
from leastpriv.proposal.suggestions import SuggestedAction
from leastpriv.report.context import ReportContext
from leastpriv.report.escape import code, prose
from leastpriv.report.phrases import by_guard_result, codes, day, joined, latest_use, plural, runs_of


def restrictions_section(context: ReportContext) -> Iterator[str]:
    """The section about restricted resources, with the reader's risk."""
    changes = [change for change in context.changes(ChangeKind.NARROW) if change.restricted_to]
    if changes:
        rows = "\n".join(_row(change) for change in changes)
        head = "| Action | Was on | Is on | Runs | Last seen |\n| --- | --- | --- | ---: | --- |"
        risk = (
            "Every use names its resource, and what the earlier half of the runs used covers the later half. A run "
            "that needs another resource will be refused: keep `*` where you plan one (`keep`, or `resources: keep`)."
        )
        yield f"### Narrows resources\n\n{risk}\n\n{head}\n{rows}"
    yield from _held_back_restrictions(context)


def _row(change: Change) -> str:
    covered = sum(len(pattern.covers) for pattern in change.patterns)
    opened = any(pattern.openings for pattern in change.patterns)
    stands_for = f" for {plural(covered, 'resource')} seen" if opened else ""
    return (
        f"| {codes(change.used)} | {codes(change.resources, 2)} | {codes(change.restricted_to, 6)}{stands_for} | "
        f"{len(runs_of(change.usages))} | {day(latest_use(change.usages))} |"
    )


def _held_back_restrictions(context: ReportContext) -> Iterator[str]:
    groups = by_guard_result(context.proposal.held_back_restrictions)
    if groups:
        table = "\n".join(
            f"| {codes((held.action for held in group), 12)} | {code(result.guard)}: {prose(result.reason)} |"
            for result, group in groups.items()
        )
        count = plural(len(context.proposal.held_back_restrictions), "used action stays", "used actions stay")
        head = "| Action | Because |\n| --- | --- |"
        yield f"<details><summary>{count} on `*`</summary>\n\n{head}\n{table}\n\n</details>"


_MOST_ROWS = 30
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
    count = plural(len(rows), "pattern stands", "patterns stand")
    yield (
        f"<details><summary>{count} for more than what was seen</summary>\n\n"
        "Whatever has such a name is granted, also what others made in this account: where another team's things are "
        "named so, write the names instead (`resources: exact`).\n\n"
        "| Pattern | For | Seen on | Open because |\n| --- | --- | --- | --- |\n"
        + "\n".join(rows[:_MOST_ROWS])
        + f"{more}\n\n</details>"
    )


HEADING = "### Lifecycle counterparts"
_MOST_COUNTERPARTS = 20


def lifecycle_counterparts(context: ReportContext) -> Iterator[str]:
    """Lifecycle counterparts by the used action: those that remain granted and those that no policy grants."""
    yield from counterparts_section(
        context.kept_counterparts, [each for each in context.suggested_actions if each.basis is Basis.LIFECYCLE]
    )


def counterparts_section(kept: Sequence[SuggestedAction], suggestions: Sequence[SuggestedAction]) -> Iterator[str]:
    """The section, if there is any counterpart."""
    kept_by, suggested_by = _by_used_action(kept), _by_used_action(suggestions)
    used_actions = sorted({*kept_by, *suggested_by})
    if not used_actions:
        return
    rows = [
        f"| {code(action)} | {_names(kept_by.get(action, ()))} | {_names(suggested_by.get(action, ()))} |"
        for action in used_actions[:_MOST_COUNTERPARTS]
    ]
    if len(used_actions) > _MOST_COUNTERPARTS:
        rows.append(f"| and {len(used_actions) - _MOST_COUNTERPARTS:,} more, in `proposal.json` | | |")
    yield (
        f"{HEADING}\n\nA later run updates, tags or deletes what this role makes, though no run has shown it yet. What "
        "the policy grants for that stays; the rest is offered, not written: `proposal.json` has statements to copy "
        "for what is not for a security reviewer (†).\n\n"
        "| Used | Stays | Offered |\n| --- | --- | --- |\n" + "\n".join(rows)
    )


def _by_used_action(suggestions: Sequence[SuggestedAction]) -> dict[str, list[SuggestedAction]]:
    found: dict[str, list[SuggestedAction]] = {}
    for suggestion in suggestions:
        found.setdefault(suggestion.because, []).append(suggestion)
    return found


def _names(suggestions: Sequence[SuggestedAction]) -> str:
    """Actions with equal resources together; † marks those with an action for a security reviewer."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for suggestion in suggestions:
        groups.setdefault(suggestion.resources, []).append(suggestion.action)
    parts = []
    for resources, actions in groups.items():
        careful = " †" if any(map(sensitivity, actions)) else ""
        on = f" on {codes(resources, 3)}" if resources else ""
        parts.append(f"{codes(actions, 8)}{careful}{on}")
    return "; ".join(parts)


_MOST_SUGGESTIONS = 12
"""Lines; the changes themselves come first."""
_WORDS = {
    Basis.DECLARED: "declared by",
}


def suggested_actions_section(suggestions: Sequence[SuggestedAction], declared: DeclaredNeeds) -> Iterator[str]:
    """The section of suggested actions, or on resource types that could not be read.

    Lifecycle counterparts have their own section.
    """
    groups = _grouped([suggestion for suggestion in suggestions if suggestion.basis is not Basis.LIFECYCLE])
    lines = [_line(group) for group in groups[:_MOST_SUGGESTIONS]]
    if len(groups) > _MOST_SUGGESTIONS:
        lines.append(f"- and {sum(map(len, groups[_MOST_SUGGESTIONS:])):,} more, in `proposal.json`.")
    lines.extend(_unknown_resource_types(declared))
    if lines:
        yield (
            "### Offered for later runs, not written\n\nNo record shows their use, and no known policy grants them: an "
            "update, a deletion, a rollback, or calls that only data events show, may need them. `proposal.json` "
            "has all of them, and statements to copy for those that show a resource here and are not for a security "
            "reviewer.\n\n" + "\n".join(lines)
        )


def _unknown_resource_types(declared: DeclaredNeeds) -> Iterator[str]:
    """What is unknown about resource types."""
    if declared.failure:
        yield f"- What resource types need is not known whole. {prose(declared.failure)}"
    if declared.untold:
        yield f"- CloudFormation's registry does not know {codes(declared.untold, 8)}, nor what their resources need."
    if declared.unread:
        yield f"- No table knows what {codes(declared.unread, 8)} of the templates and plans need."
    if declared.unknown:
        yield f"- Resource types name what is no action that the catalogue knows: {codes(declared.unknown, 8)}."


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


def _grouped(suggestions: Sequence[SuggestedAction]) -> list[list[SuggestedAction]]:
    groups: dict[tuple[Basis, str, tuple[str, ...]], list[SuggestedAction]] = {}
    for suggestion in suggestions:
        groups.setdefault((suggestion.basis, suggestion.because, suggestion.resources), []).append(suggestion)
    return list(groups.values())


def _line(group: Sequence[SuggestedAction]) -> str:
    suggestion = group[0]
    on = f" on {codes(suggestion.resources, 3)}" if suggestion.resources else ""
    careful = " (for a security reviewer)" if any(sensitivity(each.action) for each in group) else ""
    actions = codes((each.action for each in group), 8)
    return f"- {actions}{on}: {_WORDS[suggestion.basis]} {code(suggestion.because)}{careful}."


_MOST_CONDITIONS = 10


def suggested_conditions_section(context: ReportContext) -> Iterator[str]:
    """The section on conditions that every call of an action met."""
    suggested = context.suggested_conditions
    lines = [
        f"- In {f'statement {code(each.sid)}' if each.sid else f'statement {each.statement + 1}'}: "
        f"{code(each.condition.key)} is {joined([code(value) for value in each.condition.values])} "
        f"({code(each.condition.operator)}) for {codes(each.actions, 8)}, in {plural(each.runs, 'run')} or more."
        for each in suggested[:_MOST_CONDITIONS]
    ]
    if len(suggested) > _MOST_CONDITIONS:
        lines.append(f"- and {len(suggested) - _MOST_CONDITIONS:,} more, in `proposal.json`.")
    if lines:
        yield (
            "### Conditions that would fit, not written\n\nEvery recorded call of these actions met them. A statement "
            "that grants other actions as well has to be split first.\n\n" + "\n".join(lines)
        )
