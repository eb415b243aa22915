"""Title and body of the pull request: the first screen, then folds; a report shows the diff too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from leastpriv import __version__
from leastpriv.models import Basis, ChangeKind, Denial, DeniedBy, grouped
from leastpriv.permissions.catalog import expand, is_read
from leastpriv.proposal.ledger import GrantState
from leastpriv.proposal.models import Change
from leastpriv.proposal.origins import origin_mark, origin_marks
from leastpriv.report.aws_findings import (
    findings_section,
    generated_policy_section,
    outside_access_section,
)
from leastpriv.report.change_tables import MOST_CAREFUL, security_table
from leastpriv.report.changes import (
    hcl_section,
    kept_section,
    of_tags,
    removed_section,
    suggested_actions_section,
    suggested_conditions_section,
    wildcards_section,
)
from leastpriv.report.context import ReportContext
from leastpriv.report.escalation import (
    boundary_section,
    escalation_section,
    escalation_title,
    reach_section,
)
from leastpriv.report.escape import code, prose
from leastpriv.report.evidence_limits import (
    gaps_lines,
    implied_needs_section,
    live_role_section,
    not_added_section,
)
from leastpriv.report.first_screen import first_screen
from leastpriv.report.offers import not_on, offered_section, other_notes
from leastpriv.report.phrases import (
    basis_usages,
    codes,
    denied_by_text,
    evidence_span,
    fit_sections,
    fold,
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
from leastpriv.report.policy_text import diff_section, rest_of_diff
from leastpriv.report.policy_users import needed_by, users_section
from leastpriv.report.proof import (
    checks_section,
    confidence_table,
    disagreements,
    ledger_table,
    proof_lines,
)
from leastpriv.report.role_chain import chain_section
from leastpriv.report.screen_models import markdown
from leastpriv.report.templates import render
from leastpriv.report.verdict import title as title

_MOST_CAREFUL = 40
"""Rows for a security review in a fold."""
_MOST_NAMES = 3
"""Actions by name in one line, the riskiest first; `proposal.json` and the page have all."""
LONGEST_BODY = 58_000
"""GitHub accepts 65,536 characters; headers and escapes count (Renovate uses the same limit)."""
_WORDS = {
    Basis.OBSERVED: "the call succeeded, and no known policy allows it",
    Basis.INFERRED: "inferred from an allowed call",
    Basis.DECLARED: "declared",
}


def body(context: ReportContext, reserved: int = 0) -> str:
    """Returns the whole body in Markdown, at most 58,000 characters less the `reserved` ones.

    If it is too long, the longest folds lose their ends, and never the first screen. The fold
    with the commands of a pull request follows it (`controls_section`).
    """
    first = [
        *disagreements(context.check_results),
        markdown(first_screen(context)),
        *writes_of_plan_role(context),
        *hcl_section(context),
        *diff_section(context),
    ]
    folds = body_folds(context)
    mark = proposal_marker(context.fingerprint)
    fixed = sum(len(part) + 2 for part in (*first, mark))
    remaining = LONGEST_BODY - reserved - fixed - 2 * len(folds)
    fitting = fit_sections(folds, remaining)
    return f"{render('body', first=first, folds=fitting, marker=mark)}\n"


def body_folds(context: ReportContext) -> list[str]:
    """Returns the collapsed parts that follow the first screen of a proposal."""
    folds = [
        *fold(_removed_title(context), removed_section(context)),
        *users_section(context),
        *fold(_evidence_title(context), _evidence(context)),
        *fold("Kept, offered, not known", _kept(context)),
    ]
    if context.is_pull_request:
        return folds
    return [*rest_of_diff(context), *folds, *fold("What happens next", _next_steps(context))]


def proposal_marker(fingerprint: str) -> str:
    """Hidden line that identifies the proposal of a body."""
    return f"<!-- leastpriv v=1 version={__version__} fingerprint={fingerprint} -->"


def writes_of_plan_role(context: ReportContext) -> Iterator[str]:
    """What a role that only plans may write, apart from what its tool needs (the lock of the
    state).
    """
    declared = context.evidence.aws_findings.declared
    if not declared.only_plans:
        return
    needed_actions = {need.permission.action for need in declared.needs}
    statements = (
        statement for document in context.proposal.documents for statement in document.statements
    )
    allows = (statement for statement in statements if statement.effect == "Allow")
    entries = dict.fromkeys(entry for statement in allows for entry in statement.actions)
    writes = [
        entry
        for entry in entries
        if entry not in needed_actions and any(not is_read(action) for action in expand(entry))
    ]
    if writes:
        plans = (
            f"{code(context.role)} shows changes and does not make them (`declared-phases: plan`)"
        )
        grants = (
            f"its policy grants writes: {codes(writes, 12)}. Move them to the role that applies."
        )
        yield f"### A plan role that can write\n\n{plans}, and {grants}"


def _removed_title(context: ReportContext) -> str:
    ledger = context.ledger
    unrecorded = ledger.count(GrantState.REMOVED_UNRECORDED)
    title = f"Removed: {plural(ledger.removed, 'action')}"
    if unrecorded:
        title += f", {unrecorded:,} of them without a record"
    return f"{title}; {ledger.narrowed:,} narrowed" if ledger.narrowed else title


def _added(context: ReportContext) -> Iterator[str]:
    """Each addition with its basis and the evidence."""
    added = context.changes(ChangeKind.ADD)
    rows = [
        f"- {code(change.action)} on {codes(change.resources, 4)}{only_if(change.conditions)}"
        f"{not_on(change, 4)}: {basis_text(context, change)}{_seen(context, change)}"
        for change in added
    ]
    note = of_tags(added).strip()
    yield from section("Added", [note, "", *rows] if note else rows)
    yield from wildcards_section(context)


def _of_long_draft(context: ReportContext) -> Iterator[str]:
    """What the first screen of a long draft leaves out for a security reviewer."""
    yield "The page and `proposal.json` have the evidence of each action."
    careful = security_table(context, most=_MOST_CAREFUL)
    if careful is None:
        return
    rows = careful.rows[MOST_CAREFUL:]
    cells = ([cell.replace("<br>", " ") for cell in row.cells] for row in rows)
    lines = [f"- {action}: {'; '.join(further_cells)}" for action, *further_cells in cells]
    yield from section("For a security review, too", filter(None, [*lines, careful.more]))


def _seen(context: ReportContext, change: Change) -> str:
    """How often and when the calls behind an addition were made; empty without a call."""
    if not change.usages:
        return ""
    usages_shown = basis_usages(change)
    runs = runs_of(usages_shown)
    latest = links_of_runs(usages_shown, context.evidence, context.run_url, 1)
    users_text = needed_by(usages_shown, context.evidence)
    sentence = f", by {users_text}" if users_text else ""
    sentence += f", {times(usages_shown, context.evidence)}"
    sentence += f" in {plural(len(runs), 'run')}, last" if runs else ", last"
    if latest:
        sentence += f" in run {latest}"
    sentence += f" on {last_day(usages_shown)}"
    later = [usage for usage in change.usages if usage not in usages_shown]
    if later:
        sentence += f"; allowed calls need it too, {times(later, context.evidence)}"
    return sentence


def _declined_before(change: Change) -> str:
    """Names what a person declined before of the names that an added pattern covers, and the
    commits that deleted the addition before it was needed again; empty without such.
    """
    declined_before = (change.declined_before or {}).items()
    deletions = [decline for _, decline in declined_before if decline.commit]
    names_by_decline = grouped(
        [(decline, name) for name, decline in declined_before if not decline.commit]
    )
    parts = [f"{codes(names, 4)} {decline.words}" for decline, names in names_by_decline.items()]
    text = f", **covers what a person declined: {'; '.join(parts)}**" if parts else ""
    if deletions:
        latest = max(deletions, key=lambda decline: decline.at)
        text += f", **{latest.words}, and needed since**"
    return text


def basis_text(context: ReportContext, change: Change) -> str:
    """The basis of an addition, and whether the origin of its code is unknown."""
    mark = f", **removed by #{change.removed_by}**" if change.removed_by else ""
    mark += _declined_before(change)
    mark += _doubts(context, change)
    if change.basis is Basis.OBSERVED and context.proposal.committed is None:
        return f"used{mark}"
    if change.basis is Basis.OBSERVED and context.replaced:
        return f"used: only {codes(context.replaced)} grants it{mark}"
    return f"{_basis_text(change)}{mark}"


def _doubts(context: ReportContext, change: Change) -> str:
    """Returns the doubts about the origins of an addition, with the resources that have them."""
    resources_by_doubt = origin_marks(change.usages, context.evidence)
    if not resources_by_doubt:
        return ""
    is_of_all = all(origin_mark(usage, context.evidence) for usage in change.usages)
    if is_of_all and len(resources_by_doubt) == 1:
        return f" ({next(iter(resources_by_doubt))})"
    doubts = [f"{doubt}: {codes(names, 4)}" for doubt, names in resources_by_doubt.items()]
    return f" ({'; '.join(doubts)})"


def _basis_text(change: Change) -> str:
    """Returns in words what shows the need of an addition: `denied`, `declared by a template; never
    seen`.
    """
    if change.usual_as:
        return f"usually follows {code(change.because)}: {prose(change.usual_as)}"
    if change.basis is Basis.LIFECYCLE:
        return f"life cycle of {code(change.because)}, not used yet"
    words = _WORDS.get(change.basis or Basis.OBSERVED, "")
    if change.basis is Basis.DENIED:
        words = denied_by_text(change)
    if change.declared_by:
        return f"{words}: {_declared_words(change.declared_by)}; never seen"
    denials = [usage.denial for usage in change.usages if usage.denial]
    if denials and len(denials) == len(change.usages):
        return _denied_words(change.basis, denials, words)
    return words


def _declared_words(declared_by: Sequence[str]) -> str:
    """Returns the first source that declares a need, and how many others do."""
    first, _, counted = declared_by[0].partition(", and ")
    further_sources = len(declared_by) - 1
    if counted and further_sources:
        # A need of several resources counts them itself: two such counts may count one resource
        # twice.
        return f"{prose(first)} and others"
    if counted:
        return f"{prose(first)} and {counted}"
    if further_sources:
        return f"{prose(first)} and {further_sources} more"
    return prose(first)


def _denied_words(basis: Basis | None, denials: Sequence[Denial], words: str) -> str:
    """Returns how an addition was denied of which no call succeeded, whose basis is `words`."""
    log_names = [denial.log for denial in denials]
    is_logged = all(log_names)
    if basis is Basis.INFERRED:
        words = "needed next by the denied call"
    elif is_logged:
        words = "denied"
    if is_logged:
        return f"{words}, by the text of the job log {codes(dict.fromkeys(log_names), 2)}"
    if all(denial.denied_by is DeniedBy.SESSION for denial in denials):
        return f"{words} in a rehearsal"
    return words


def _evidence_title(context: ReportContext) -> str:
    calls = context.ledger.calls
    access = "**new access**" if context.proof.new_access else "no other new access"
    if not calls.succeeded:
        return f"Evidence and replay: no successful call, {access}"
    succeeded = plural(calls.succeeded, "successful call")
    if calls.allowed == calls.succeeded:
        return f"Evidence and replay: all {succeeded} allowed, {access}"
    return f"Evidence and replay: {calls.allowed:,} of {succeeded} allowed, {access}"


def _evidence(context: ReportContext) -> Iterator[str]:
    """What was read and what became of it, the proof, then the evidence of each change."""
    evidence = context.evidence
    yield "\n".join(ledger_table(context.ledger))
    yield from proof_lines(context)
    if _is_doubted(context):
        yield from confidence_table(context)
    if evidence.runs:
        latest = run_links([run.id for run in evidence.runs], context.run_url)
        yield f"{evidence_span(evidence)}; latest runs: {latest}."
    if context.is_long_draft:
        yield from _of_long_draft(context)
    else:
        yield from _added(context)
        yield from _used_of_wildcards(context)
        yield from not_added_section(context)
    yield from checks_section(context.check_results)
    yield from outside_access_section(context)
    yield from findings_section(context)
    yield from generated_policy_section(context)
    if context.chained and not context.is_long_draft:
        yield from chain_section(context.chained)


def _is_doubted(context: ReportContext) -> bool:
    """Whether `minimum-confidence` keeps an action."""
    kept_grants = context.ledger.grants_of(GrantState.KEPT_UNUSED)
    return any(grant.guard == "minimum-confidence" for grant in kept_grants)


def _used_of_wildcards(context: ReportContext) -> Iterator[str]:
    """The used actions of narrowed wildcards by the day of their last use."""
    uses_by_day: dict[str, list[str]] = {}
    for change in context.changes(ChangeKind.NARROW):
        by_action = grouped([(usage.need.permission.action, usage) for usage in change.usages])
        for action in change.used:
            usages = by_action.get(action, [])
            use_text = f"{code(action)} {times(usages, context.evidence)}"
            # Two narrowed entries may use one action.
            if use_text not in uses_by_day.setdefault(last_day(usages), []):
                uses_by_day[last_day(usages)].append(use_text)
    if not uses_by_day:
        return
    (when, uses), *earlier = sorted(uses_by_day.items(), reverse=True)
    lines = [f"- {when}: {listed(uses, _MOST_NAMES)}"]
    if earlier:
        count = sum(len(uses_of_day) for _, uses_of_day in earlier)
        lines.append(f"- earlier: {plural(count, 'action')}")
    yield "Used actions of narrowed wildcards:\n\n" + "\n".join(lines)


def _kept(context: ReportContext) -> Iterator[str]:
    """What remains granted without use, the offers, and what the evidence cannot show."""
    count, kept_text = kept_section(context, details=True)
    yield from section(f"Kept without a recorded use: {plural(count, 'action')}", kept_text)
    declared = context.evidence.aws_findings.declared
    if context.is_long_draft and context.suggested_actions and not declared.needs:
        later = plural(len(context.suggested_actions), "action")
        offered = [f"Later deploys may need {later}: `proposal.json` has statements to copy."]
    else:
        offered = [
            *suggested_actions_section(context.suggested_actions, declared),
            *implied_needs_section(context),
            *suggested_conditions_section(context),
        ]
    yield from section("Suggested, not in this change", ["\n\n".join(offered)] if offered else [])
    yield from offered_section(context)
    limits = [*gaps_lines(context), *(f"- {note}" for note in other_notes(context))]
    yield from section(f"Not seen: {plural(len(limits), 'limit')}", limits)
    yield from live_role_section(context)
    reach = [] if context.is_long_draft else reach_section(context)
    paths = [*escalation_section(context), *reach, *boundary_section(context)]
    yield from section(escalation_title(context), ["\n\n".join(paths)] if paths else [])


def _next_steps(context: ReportContext) -> Iterator[str]:
    """Says how to get the change of a report: as a pull request, or as files."""
    if context.proposal.changes:
        yield render(
            "next_steps",
            file=code(context.policy_file),
            is_step=bool(context.run_url),
            page=code(context.page_file) if context.page_file else "",
        )
