"""Title and body of the pull request: the first screen, then one fold for each question of a
reviewer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from leastpriv import __version__
from leastpriv.models import Basis, ChangeKind, DeniedBy, grouped
from leastpriv.permissions.catalog import expand, is_read, removal_rank
from leastpriv.proposal.models import Change
from leastpriv.proposal.origins import origin_mark, origin_marks
from leastpriv.report.aws_findings import (
    findings_section,
    generated_policy_section,
    outside_access_section,
)
from leastpriv.report.changes import (
    hcl_section,
    kept_section,
    of_tags,
    restrictions_section,
    suggested_actions_section,
    suggested_conditions_section,
    wildcards_section,
)
from leastpriv.report.context import ReportContext
from leastpriv.report.escape import code, name, path_name, prose
from leastpriv.report.evidence_limits import (
    gaps_lines,
    implied_needs_section,
    is_sensitive_job_log_denial,
    live_role_section,
    not_added_line,
    not_added_section,
)
from leastpriv.report.first_screen import first_screen, markdown, service_counts
from leastpriv.report.phrases import (
    basis_usages,
    codes,
    denied_by_text,
    evidence_span,
    fit_sections,
    fold,
    joined,
    last_day,
    links_of_runs,
    listed,
    only_if,
    plural,
    run_links,
    runs_of,
    section,
    times,
)
from leastpriv.report.proof import checks_section, confidence_table, disagreements, proof_lines
from leastpriv.report.role_chain import chain_section
from leastpriv.report.unreviewed_runs import security_rows
from leastpriv.report.verdict import (
    boundary_section,
    escalation_section,
    escalation_title,
    reach_section,
    use_of_passed_role,
)

_MOST_NAMES = 3
"""Actions by name in one line, the riskiest first; `proposal.json` and the page have all."""
_MOST_CAREFUL = 6
LONGEST_BODY = 58_000
"""GitHub accepts 65,536 characters; headers and escapes count (Renovate uses the same limit)."""
_WORDS = {
    Basis.OBSERVED: "the call succeeded, and no known policy allows it",
    Basis.INFERRED: "inferred from an allowed call",
    Basis.DECLARED: "declared",
}


def title(context: ReportContext) -> str:
    """One line of fixed words, figures and the role's name."""
    kinds = (("add", ChangeKind.ADD), ("narrow", ChangeKind.NARROW), ("remove", ChangeKind.REMOVE))
    parts = [f"{verb} {len(changes)}" for verb, kind in kinds if (changes := context.changes(kind))]
    role = f"{name(context.principal.rpartition('/')[2])}{context.in_account}"
    if context.proposal.committed is None and context.proposal.changes:
        return f"First least-privilege policy for {role}"
    return f"Least privilege for {role}: {', '.join(parts) or 'nothing to change'}"


def body(context: ReportContext, reserved: int = 0) -> str:
    """Returns the whole body in Markdown, at most 58,000 characters less the `reserved` ones.

    If it is too long, the longest folds lose their ends, and never the first screen.
    """
    first = [*disagreements(context.check_results), markdown(first_screen(context))]
    first += [*_security(context), *_writes_of_plan_role(context)]
    evidence, limits = context.evidence, gaps_lines(context)
    calls, succeeded = evidence.counts.calls, context.proof.replay.recorded
    successful = f", {succeeded:,} successful," if succeeded < calls else ""
    folds = [
        *fold(f"Text to copy into {path_name(context.policy_path)}", hcl_section(context)),
        *fold(f"Changes: {title(context).partition(': ')[2] or 'first draft'}", _changes(context)),
        *fold(
            f"Evidence: {plural(calls, 'call')}{successful} in {evidence_span(evidence)}",
            _evidence(context),
        ),
        *fold(
            escalation_title(context),
            [*escalation_section(context), *reach_section(context), *boundary_section(context)],
        ),
        *_kept_fold(context),
        *fold(
            f"Could not be seen: {plural(len(limits), 'limit')}",
            [*live_role_section(context), "\n".join(limits)],
        ),
        *_proof_fold(context),
        *fold("What happens next", _next_steps(context)),
    ]
    mark = proposal_marker(context.fingerprint)
    remaining = (
        LONGEST_BODY - reserved - sum(len(part) + 2 for part in (*first, mark)) - 2 * len(folds)
    )
    return "\n\n".join(filter(None, [*first, *fit_sections(folds, remaining), mark])) + "\n"


def proposal_marker(fingerprint: str) -> str:
    """Hidden line that identifies the proposal of a body."""
    return f"<!-- leastpriv v=1 version={__version__} fingerprint={fingerprint} -->"


def _writes_of_plan_role(context: ReportContext) -> Iterator[str]:
    """What a role that only plans may write, apart from what its tool needs (the lock of the
    state).
    """
    declared = context.evidence.aws_findings.declared
    if not declared.only_plans:
        return
    needed = {need.permission.action for need in declared.needs}
    statements = (each for document in context.proposal.documents for each in document.statements)
    allows = (each for each in statements if each.effect == "Allow")
    entries = dict.fromkeys(entry for statement in allows for entry in statement.actions)
    writes = [
        entry
        for entry in entries
        if entry not in needed and any(not is_read(each) for each in expand(entry))
    ]
    if writes:
        plans = (
            f"{code(context.role)} shows changes and does not make them (`declared-phases: plan`)"
        )
        grants = (
            f"its policy grants writes: {codes(writes, 12)}. Move them to the role that applies."
        )
        yield f"### A plan role that can write\n\n{plans}, and {grants}"


def _security(context: ReportContext) -> Iterator[str]:
    sensitive = [change for change in context.changes(ChangeKind.ADD) if change.security]
    held_back = filter(is_sensitive_job_log_denial, context.proposal.held_back_additions)
    logged = dict.fromkeys(map(not_added_line, held_back))
    unreviewed = list(security_rows(context))
    if sensitive or logged or unreviewed:
        rows = [
            f"- {code(change.action)} on {codes(change.resources)}{only_if(change.conditions)}: it"
            f" {change.security}.{use_of_passed_role(context, change)}"
            for change in sensitive[:_MOST_CAREFUL]
        ]
        rows += [f"{line} **Not written.**" for line in list(logged)[:_MOST_CAREFUL]]
        rows += unreviewed[:_MOST_CAREFUL]
        more = len(sensitive) + len(logged) + len(unreviewed) - len(rows)
        rows += [f"- and {more:,} more, below"] if more else []
        yield "**For a security review:**\n\n" + "\n".join(rows)


def _changes(context: ReportContext) -> Iterator[str]:
    added = context.changes(ChangeKind.ADD)
    rows = [
        f"- {code(change.action)} on {codes(change.resources, 4)}{only_if(change.conditions)}: "
        f"{basis_text(context, change)}{_seen(context, change)}"
        for change in added
    ]
    note = of_tags(added).strip()
    yield from outside_access_section(context)
    yield from section("Added", [note, "", *rows] if note else rows)
    yield from wildcards_section(context)
    narrowed = (
        each
        for each in context.gravest_first
        if each.kind is ChangeKind.NARROW and not each.restricted_to
    )
    yield from section("Narrowed", map(_narrowed_entry, narrowed))
    yield from restrictions_section(context)
    removed = (change for change in context.gravest_first if change.kind is ChangeKind.REMOVE)
    places = grouped([(_place(change), change.action) for change in removed])
    if places:
        seen = f"No call in {evidence_span(context.evidence)}, and CloudTrail would have shown it."
        lines = (f"- {_removed_names(actions)}, {place}" for place, actions in places.items())
        yield from section("Removed", [seen, "", *lines])
    yield from not_added_section(context)


def _seen(context: ReportContext, change: Change) -> str:
    """How often and when the calls behind an addition were made; empty without a call."""
    if not change.usages:
        return ""
    shown = basis_usages(change)
    runs = runs_of(shown)
    latest = links_of_runs(shown, context.evidence, context.run_url, 1)
    where = (
        f" in {plural(len(runs), 'run')}, last{f' in {latest}' if latest else ''}"
        if runs
        else ", last"
    )
    later = [usage for usage in change.usages if usage not in shown]
    more = f"; allowed calls need it too, {times(later, context.evidence)}" if later else ""
    return f", {times(shown, context.evidence)}{where} on {last_day(shown)}{more}"


def basis_text(context: ReportContext, change: Change) -> str:
    """The basis of an addition, and whether the origin of its code is unknown."""
    mark = f", **removed by #{change.removed_by}**" if change.removed_by else ""
    doubts = origin_marks(change.usages, context.evidence)
    of_all = len(doubts) == 1 and all(
        origin_mark(usage, context.evidence) for usage in change.usages
    )
    words = [
        doubt if of_all else f"{doubt}: {codes(resources, 4)}"
        for doubt, resources in doubts.items()
    ]
    mark += f" ({'; '.join(words)})" if words else ""
    if change.basis is Basis.OBSERVED and context.proposal.committed is None:
        return f"used{mark}"
    if change.basis is Basis.OBSERVED and context.replaced:
        return f"used: only {codes(context.replaced)} grants it{mark}"
    return f"{_basis_text(change)}{mark}"


def _basis_text(change: Change) -> str:
    if change.basis is Basis.LIFECYCLE:
        return f"life cycle of {code(change.because)}, not used yet"
    words = _WORDS.get(change.basis or Basis.OBSERVED, "")
    if change.basis is Basis.DENIED:
        words = denied_by_text(change)
    if change.declared_by:
        # A need of several resources counts them itself: two such counts may count one resource
        # twice.
        first, _, counted = change.declared_by[0].partition(", and ")
        others = f"{len(change.declared_by) - 1} more" if len(change.declared_by) > 1 else ""
        rest = "others" if counted and others else counted or others
        more = f" and {rest}" if rest else ""
        return f"{words}: {prose(first)}{more}; never seen"
    denials = [usage.denial for usage in change.usages if usage.denial]
    if not denials or len(denials) < len(change.usages):
        return words
    is_logged = all(denial.log for denial in denials)
    if is_logged:
        words = "denied"
    if change.basis is Basis.INFERRED:
        words = "needed next by the denied call"
    if is_logged:
        places = codes(dict.fromkeys(denial.log for denial in denials), 2)
        return f"{words}, by the text of the job log {places}"
    return (
        f"{words} in a rehearsal"
        if all(denial.denied_by is DeniedBy.SESSION for denial in denials)
        else words
    )


def _narrowed_entry(change: Change) -> str:
    left, unproven = (
        change.granted - len(change.removed_actions),
        sorted(change.unproven or (), key=removal_rank),
    )
    hidden = (
        f" {len(unproven):,} of these may leave no record: {codes(unproven, 2)}."
        if unproven
        else ""
    )
    return (
        f"- {code(change.action)}, {_place(change)}: {change.granted:,} → {left:,} actions,"
        f" {len(change.used):,} used. Removed: {_removed_names(change.removed_actions)}.{hidden}"
    )


def _removed_names(actions: Sequence[str]) -> str:
    """The names, the riskiest first; of a wildcard over many services, the number by service
    first.
    """
    names = codes(sorted(actions, key=removal_rank), _MOST_NAMES)
    services = {action.partition(":")[0] for action in actions}
    return names if len(services) == 1 else f"{service_counts(actions)}. The riskiest: {names}"


def _place(change: Change) -> str:
    sid = f"statement {code(change.sid)} (line {change.line})"
    return sid if change.sid else f"the statement on line {change.line}"


def _evidence(context: ReportContext) -> Iterator[str]:
    """The runs with links, then the used actions by the day of their last use."""
    evidence = context.evidence
    if evidence.runs:
        latest = run_links([run.id for run in evidence.runs], context.run_url)
        yield f"Latest runs: {latest}."
    used: dict[str, list[str]] = {}
    for change in context.changes(ChangeKind.NARROW):
        for action in change.used:
            usages = [usage for usage in change.usages if usage.need.permission.action == action]
            used.setdefault(last_day(usages), []).append(
                f"{code(action)} {times(usages, evidence)}"
            )
    if used:
        (when, names), *earlier = sorted(used.items(), reverse=True)
        lines = [f"- {when}: {listed(names, _MOST_NAMES)}"]
        lines += (
            [f"- earlier: {plural(sum(len(each) for _, each in earlier), 'action')}"]
            if earlier
            else []
        )
        yield "Used actions of narrowed wildcards:\n\n" + "\n".join(lines)
    yield from findings_section(context)
    yield from generated_policy_section(context)
    if context.chained:
        yield from chain_section(context.chained)


def _kept_fold(context: ReportContext) -> Iterator[str]:
    count, sections = kept_section(context, details=True)
    unwritten = [
        *suggested_actions_section(
            context.suggested_actions, context.evidence.aws_findings.declared
        ),
        *implied_needs_section(context),
        *suggested_conditions_section(context),
    ]
    yield from fold(f"Kept without a recorded use: {plural(count, 'action')}", sections)
    suggested = ((context.suggested_actions, "action"), (context.suggested_conditions, "condition"))
    offered = (
        joined([plural(len(found), what) for found, what in suggested if found])
        or "needs of denied calls"
    )
    yield from fold(f"Suggested, not included: {offered}", unwritten)


def _proof_fold(context: ReportContext) -> list[str]:
    replay = context.proof.replay
    access = "**new access**" if context.proof.new_access else "no unlisted access"
    calls = f"{replay.allowed:,} of {plural(replay.recorded, 'call')} allowed"
    kept = (change.kept or {} for change in context.changes(ChangeKind.NARROW))
    guards = {result.guard for each in kept for result in each.values()}
    is_doubted = "minimum-confidence" in guards or context.proposal.held_back_as(
        "minimum-confidence"
    )
    confidence = confidence_table(context) if is_doubted else ()
    return fold(
        f"Proof: {calls if replay.recorded else 'no call to replay'}, {access}",
        [*proof_lines(context), *confidence, *checks_section(context.check_results)],
    )


def _next_steps(context: ReportContext) -> Iterator[str]:
    if not context.proposal.changes:
        return
    file = code(context.policy_file)
    is_new = context.proposal.committed is None
    merge = (
        f"add {file}; then attach it to the role"
        if is_new
        else f"change {file}; then deploy it as today"
    )
    lines = [
        f"- **Merge** to {merge}.",
        "- **Push** to change it: the pull request is then yours, and no longer updated.",
        "- **Close** to decline: these changes are not proposed again.",
    ]
    if not context.proposal.document.editable:
        lines = [
            f"- **Copy** the text above into {file} and apply it as you do today: it was not"
            " changed."
        ]
    yield "\n".join([*lines, "- The input `keep` names actions that are never removed."])
