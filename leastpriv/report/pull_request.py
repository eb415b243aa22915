"""Title and body of the pull request: the verdict first, the evidence last, and only that is truncated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from leastpriv import __version__
from leastpriv.evidence.models import Evidence
from leastpriv.models import Basis, ChangeKind, DeniedBy
from leastpriv.proposal.addition_rules import origin_mark
from leastpriv.proposal.models import Change
from leastpriv.proposal.suggestions import GUARD
from leastpriv.report import escape
from leastpriv.report.aws_findings import findings_section, generated_policy_section, outside_access_section
from leastpriv.report.changes import (
    lifecycle_counterparts,
    restrictions_section,
    suggested_actions_section,
    suggested_conditions_section,
    wildcards_section,
)
from leastpriv.report.context import ReportContext
from leastpriv.report.escalation import boundary_section, escalation_section, reach_section
from leastpriv.report.escape import block, code, prose
from leastpriv.report.evidence_limits import (
    gaps_section,
    held_back_section,
    implied_needs_section,
    is_sensitive_job_log_denial,
    live_role_section,
    not_added_line,
    not_added_section,
)
from leastpriv.report.phrases import (
    codes,
    day,
    evidence_span,
    fit_sections,
    joined,
    latest_use,
    oldest_first,
    plural,
    run_links,
    runs_of,
    times,
)
from leastpriv.report.proof import chance_sentence, checks_section, confidence_table, disagreements, proof_lines
from leastpriv.report.role_chain import chain_section

_LONGEST = 20_000
"""Characters; more would leave no room for the evidence. A large policy has 10,000."""


def hcl_section(context: ReportContext) -> Iterator[str]:
    """The section with statements to copy, if the policy file cannot take them."""
    document, left = context.proposal.document, context.proposal.to_paste
    committed = context.proposal.committed
    if left and committed:
        from leastpriv.proposal.editability import text_to_paste

        reasons = sorted({held.guard_result.reason for held in context.proposal.held_back_as("not-editable")})
        yield (
            f"### To paste\n\n{code(context.policy_file)} does not write these statements for this policy alone: "
            f"they remain ({prose('; '.join(reasons))}). In their place:\n\n"
            f"{_shortened(text_to_paste(committed, left))}"
        )
    if document.editable or not context.proposal.changes:
        return
    name = code(context.policy_file)
    from leastpriv.policy.hcl_writer import policy_hcl

    text = _shortened(policy_hcl(document))
    what = "the statements" if document.pointer.startswith(("data.", "/data/")) else "the argument of `jsonencode`"
    yield (
        f"### To copy\n\n{name} is a data source in Terraform's JSON, which is read here and not edited. "
        f"In place of {what} there, the proposal is:\n\n{text}"
    )


def _shortened(text: str) -> str:
    shown = block(text, "hcl")
    return (
        shown if len(shown) <= _LONGEST else "*It is too long for this page: `policy.tf` next to this report has it.*"
    )


LONGEST_BODY = 58_000
"""GitHub accepts 65,536 characters; headers and escapes count (Renovate uses the same limit)."""
_WORDS = {
    Basis.OBSERVED: "observed: allowed, though no known policy grants it",
    Basis.INFERRED: "inferred from an allowed call",
    Basis.DENIED: "refused by AWS",
    Basis.DECLARED: "declared",
}


def title(context: ReportContext) -> str:
    """One line of fixed words, figures and the role's name."""
    parts = [
        f"{verb} {len(changes)}"
        for verb, kind in (
            ("add", ChangeKind.ADD),
            ("narrow", ChangeKind.NARROW),
            ("remove", ChangeKind.REMOVE),
        )
        if (changes := context.changes(kind))
    ]
    if context.proposal.committed is None and context.proposal.changes:
        return f"First least-privilege policy for {escape.name(context.role)}"
    return f"Least privilege for {escape.name(context.role)}: {', '.join(parts) or 'nothing to change'}"


def body(context: ReportContext, reserved: int = 0) -> str:
    """The whole body in Markdown, at most 58,000 characters less the `reserved` ones.

    A body that is too long loses the evidence first, then the ends of its longest sections, never verdict or proof.
    """
    mark = proposal_marker(context.fingerprint)
    before = [
        proposal_verdict(context),
        *escalation_section(context),
        *disagreements(context.check_results),
        *chance_sentence(context),
    ]
    proof = [*proof_lines(context), *confidence_table(context)]
    after = [*hcl_section(context), *proof, *checks_section(context.check_results), *_next_steps(context)]
    sections = [
        *_security(context),
        *outside_access_section(context),
        *_additions(context),
        *wildcards_section(context),
        *_narrowed(context),
        *restrictions_section(context),
        *_removals(context),
        *not_added_section(context),
        *(chain_section(context.chained) if context.chained else ()),
        *live_role_section(context),
        *implied_needs_section(context),
        *generated_policy_section(context),
        *findings_section(context),
        *gaps_section(context),
        *held_back_section(context),
        *lifecycle_counterparts(context),
        *boundary_section(context),
        *reach_section(context),
        *suggested_conditions_section(context),
        *suggested_actions_section(context.suggested_actions, context.evidence.aws_findings.declared),
    ]
    evidence = _evidence(context)
    whole = _page([*before, *sections, *after, evidence, mark])
    longest = LONGEST_BODY - reserved
    if len(whole) <= longest:
        return whole
    evidence = "*The evidence table is too long for this page: it is in `proposal.json`.*"
    rest = [*before, *after, evidence, mark]
    remaining = longest - sum(len(part) + 2 for part in rest) - 2 * len(sections)
    return _page([*before, *fit_sections(sections, remaining), *after, evidence, mark])


def proposal_marker(fingerprint: str) -> str:
    """Hidden line that identifies the proposal of a body."""
    return f"<!-- leastpriv v=1 version={__version__} fingerprint={fingerprint} -->"


def _page(sections: Sequence[str]) -> str:
    return "\n\n".join(filter(None, sections)) + "\n"


def proposal_verdict(context: ReportContext) -> str:
    """The one sentence that a reviewer reads first."""
    evidence = context.evidence
    basis = f"in {evidence_span(evidence)}"
    if context.proposal.committed is None and any(
        held.guard_result.guard == "declined" for held in context.proposal.held_back_additions
    ):
        return f"**The first draft was declined** for {code(context.role)}, so there is none: see below."
    if not evidence.counts.calls and not context.changes(ChangeKind.ADD):
        return (
            f"**No call of {code(context.principal)}** is among the {context.records:,} records that were read: "
            "is the ARN right, and the trail?"
        )
    if context.proposal.committed is None and not context.proposal.changes:
        return f"**Nothing to draft**: no call of {code(context.role)} {basis} needed a permission that can be written."
    declared = [change for change in context.changes(ChangeKind.ADD) if change.basis is Basis.DECLARED]
    if context.proposal.committed is None and declared:
        return _declared_draft(context, len(declared))
    if context.proposal.committed is None:
        return (
            f"**A first draft** of {code(context.policy_file)} from what {code(context.role)} used {basis}: "
            f"{plural(len(context.proposal.changes), 'action')}. Nothing is removed by it: attach it beside the role's "
            "present grants, watch some runs, then detach the wide one."
        )
    removed = context.changes(ChangeKind.REMOVE)
    narrowed = [change for change in context.changes(ChangeKind.NARROW) if not change.restricted_to]
    restricted = [change for change in context.changes(ChangeKind.NARROW) if change.restricted_to]
    added = context.changes(ChangeKind.ADD)
    parts = []
    if added:
        refused_ones = sum(any(usage.need.basis is Basis.DENIED for usage in change.usages) for change in added)
        why = (
            " that AWS refused" if refused_ones == len(added) else f" ({refused_ones} refused)" if refused_ones else ""
        )
        parts.append(f"adds {plural(len(added), 'action')}{why}")
    if narrowed:
        grants = sum(change.granted for change in narrowed)
        used = sum(len(change.used) for change in narrowed)
        entries = plural(len(narrowed), "wildcard")
        left = grants - sum(len(change.removed_actions) for change in narrowed)
        parts.append(f"narrows {entries} ({grants:,} → {left:,} actions granted, {used:,} used)")
    if restricted:
        parts.append(f"narrows the resources of {plural(len(restricted), 'action')}")
    if removed:
        parts.append(f"removes {plural(len(removed), 'entry', 'entries')} without any use")
    sentence = joined(parts) or "changes nothing"
    role = f"{code(context.role)} did {basis}" if evidence.counts.calls else f"job logs tell of {code(context.role)}"
    return f"**{sentence[0].upper()}{sentence[1:]}** in {code(context.policy_file)}: what {role}."


def _declared_draft(context: ReportContext, declared: int) -> str:
    """The verdict of a first draft that rests on templates or plans."""
    sources = context.evidence.aws_findings.declared.sources
    seen = len(context.proposal.changes) - declared
    used = f", {plural(seen, 'action')} seen in {evidence_span(context.evidence)}" if seen else ""
    return (
        f"**A first draft** of {code(context.policy_file)} from {codes(sources, 3)}: {plural(declared, 'action')} that "
        f"the declared resources need, of which no run shows the use{used}. A run may need what no template shows. "
        f"After the first runs the proposal removes what they did not use.{_later(context)}"
    )


def _later(context: ReportContext) -> str:
    """What later changes of the declared resources need besides, as a sentence; empty where that is nothing."""
    later = {need.permission.action for need in context.evidence.aws_findings.declared.later_needs}
    left = later - {change.action for change in context.changes(ChangeKind.ADD)}
    if not left:
        return ""
    return (
        f" Updates and deletions of these resources need {plural(len(left), 'further action')}, which are offered "
        "below; `declared-phases: all` writes them."
    )


def _security(context: ReportContext) -> Iterator[str]:
    sensitive = [change for change in context.changes(ChangeKind.ADD) if change.security]
    logged = dict.fromkeys(
        not_added_line(held) for held in context.proposal.held_back_additions if is_sensitive_job_log_denial(held)
    )
    if sensitive or logged:
        rows = [
            f"- {code(change.action)} on {codes(change.resources)}{only_if(change)}: {change.security}"
            for change in sensitive
        ]
        rows += [f"{line} **Not written.**" for line in logged]
        yield "### Needs a security reviewer\n\n" + "\n".join(rows)


def _additions(context: ReportContext) -> Iterator[str]:
    added = context.changes(ChangeKind.ADD)
    if not added:
        return
    rows = [
        f"| {code(change.action)} | {codes(change.resources, 4)}{only_if(change)} | {basis_text(context, change)} | "
        f"{times(change.usages, context.evidence)} | {len(runs_of(change.usages))} | {day(latest_use(change.usages))} |"
        for change in added
    ]
    head = "| Action | Resource | Basis | Times | Runs | Last seen |\n| --- | --- | --- | ---: | ---: | --- |"
    yield f"### Adds\n\n{head}\n" + "\n".join(rows)


def only_if(change: Change) -> str:
    """The conditions of an addition, after its resources."""
    conditions = [f"{code(each.key)} is {' or '.join(map(code, each.values))}" for each in change.conditions]
    return f", only if {joined(conditions)}" if conditions else ""


def basis_text(context: ReportContext, change: Change) -> str:
    """The basis of an addition, and whether the origin of its code is unknown."""
    origins = context.history.origins
    mark = f", **removed by #{change.removed_by}**" if change.removed_by else ""
    doubt = origin_mark(change.usages, origins) if origins else ""
    mark += f" ({doubt})" if doubt else ""
    if change.basis is Basis.OBSERVED and context.proposal.committed is None:
        return f"observed{mark}"
    return f"{_basis_text(change)}{mark}"


def _basis_text(change: Change) -> str:
    """The basis of an addition."""
    words = _WORDS.get(change.basis or Basis.OBSERVED, "")
    if change.declared_by:
        more = f" and {len(change.declared_by) - 1} more" if len(change.declared_by) > 1 else ""
        return f"{words}: {escape.prose(change.declared_by[0])}{more}; never seen"
    denials = [usage.denial for usage in change.usages if usage.denial]
    if not denials or len(denials) < len(change.usages):
        return words
    if change.basis is Basis.INFERRED:
        words = "what the refused call will need next"
    if all(denial.log for denial in denials):
        return f"{words}, from the job log {codes(dict.fromkeys(denial.log for denial in denials), 2)}"
    return f"{words} in a rehearsal" if all(denial.denied_by is DeniedBy.SESSION for denial in denials) else words


def _narrowed(context: ReportContext) -> Iterator[str]:
    narrowed = [
        change for change in context.gravest_first if change.kind is ChangeKind.NARROW and not change.restricted_to
    ]
    if narrowed:
        yield "### Narrows\n\n" + "\n\n".join(_narrowed_entry(change, context.evidence) for change in narrowed)


def _narrowed_entry(change: Change, evidence: Evidence) -> str:
    lines = [
        f"**{code(change.action)}** in {_place(change)} granted {plural(change.granted, 'action')} on "
        f"{codes(change.resources, 3)}; {plural(len(change.used), 'action')} used.",
        "",
        "| Stays | Because | Times | Runs | Last seen |",
        "| --- | --- | ---: | ---: | --- |",
    ]
    for action in change.used:
        usages = [usage for usage in change.usages if usage.need.permission.action == action]
        runs, latest = len(runs_of(usages)), day(latest_use(usages))
        lines.append(f"| {code(action)} | used | {times(usages, evidence)} | {runs} | {latest} |")
    lines.extend(
        f"| {codes(actions, 8)} | {code(guard)}: {prose(reason)} | | | |"
        for guard, reason, actions in _kept_actions(change)
    )
    counterparts = sum(guard_result.guard == GUARD for guard_result in (change.kept or {}).values())
    if counterparts:
        lines.append(f"| {plural(counterparts, 'lifecycle counterpart')}, listed below | {code(GUARD)} | | | |")
    lines += ["", f"Goes ({len(change.removed_actions)}): {codes(change.removed_actions, 150)}."]
    folded = [entry for entry in change.replacement if "*" in entry]
    if folded:
        lines += ["", f"What stays unused is written in part as {codes(folded, 20)}, which grants no action that goes."]
    return "\n".join(lines)


def _kept_actions(change: Change) -> list[tuple[str, str, list[str]]]:
    """(guard, reason, actions) of unused actions that remain granted, without lifecycle counterparts."""
    grouped: dict[tuple[str, str], list[str]] = {}
    for action, guard_result in (change.kept or {}).items():
        if guard_result.guard == GUARD:
            continue
        grouped.setdefault((guard_result.guard, guard_result.reason), []).append(action)
    return [(guard, reason, sorted(actions)) for (guard, reason), actions in sorted(grouped.items())]


def _removals(context: ReportContext) -> Iterator[str]:
    removed = [change for change in context.gravest_first if change.kind is ChangeKind.REMOVE]
    if not removed:
        return
    by_place: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for change in removed:
        by_place.setdefault((_place(change), change.resources), []).append(change.action)
    rows = [f"| {codes(actions, 40)} | {place} | {codes(on, 3)} |" for (place, on), actions in by_place.items()]
    evidence = context.evidence
    seen = f"No call in {evidence_span(evidence)}, though CloudTrail would have shown it."
    yield f"### Removes\n\n{seen}\n\n| Entry | Statement | On |\n| --- | --- | --- |\n" + "\n".join(rows)


def _place(change: Change) -> str:
    return (
        f"statement {code(change.sid)} (line {change.line})" if change.sid else f"the statement on line {change.line}"
    )


def _next_steps(context: ReportContext) -> Iterator[str]:
    if not context.proposal.changes:
        return
    file = code(context.policy_file)
    lines = [
        f"- **Merge** changes {file}, not the account: apply it the way you apply it today.",
        "- **Edit** the branch and it is yours: it will not be touched again while it has commits of others.",
    ]
    if not context.proposal.document.editable:
        lines = [
            f"- **Copy** the text above into {file} and apply it the way you apply it today: nothing was written there."
        ]
    yield "\n".join(["### What happens next", "", *lines, "- To keep an action for good, name it in the input `keep`."])


def _evidence(context: ReportContext) -> str:
    rows = [_evidence_row(context, change) for change in context.proposal.changes if change.usages]
    if not rows:
        return ""
    head = "| Action | Events | First seen | Last seen | Runs |\n| --- | --- | --- | --- | --- |"
    table = "\n".join(row for block in rows for row in block)
    return f"<details><summary>Evidence for each action</summary>\n\n{head}\n{table}\n\n</details>"


def _evidence_row(context: ReportContext, change: Change) -> list[str]:
    rows = []
    for action in change.used:
        usages = [usage for usage in change.usages if usage.need.permission.action == action]
        events = dict.fromkeys(event for usage in usages for event in usage.events)
        first = min((usage.first_seen for usage in usages), default=None)
        runs = run_links(oldest_first(runs_of(usages), context.evidence.runs), context.run_url)
        rows.append(f"| {code(action)} | {codes(events, 4)} | {day(first)} | {day(latest_use(usages))} | {runs} |")
    return rows
