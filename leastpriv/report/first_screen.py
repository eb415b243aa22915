"""The first screen of every result: one instruction with its reason, and one table.

Body, summary, terminal and page show the same `FirstScreen`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from enum import StrEnum

from msgspec import Struct

from leastpriv.models import Basis, ChangeKind, grouped
from leastpriv.permissions.catalog import removal_rank, sensitivity
from leastpriv.permissions.fact_tables import table
from leastpriv.permissions.generalize import deletes
from leastpriv.permissions.patterns import has_wildcard
from leastpriv.permissions.volatility import is_whole_type
from leastpriv.proposal.addition_rules import OFFERED
from leastpriv.proposal.additions import unmet_reason
from leastpriv.proposal.escalation_paths import EscalationPath, is_administrator
from leastpriv.proposal.ledger import DenialFact, GrantState, StatementFacts
from leastpriv.proposal.models import Change, HeldBackChange
from leastpriv.proposal.self_widening import SELF_WIDENING
from leastpriv.proposal.verdict import NOT_EDITABLE, VerdictRule, added_by_hand
from leastpriv.report.context import ReportContext
from leastpriv.report.escalation import path_line, use_of_passed_role
from leastpriv.report.escape import block, code, prose
from leastpriv.report.evidence_limits import (
    is_sensitive_job_log_denial,
    not_added_title,
    was_denied,
)
from leastpriv.report.offers import first_notes, not_on, offered_line, releases_line
from leastpriv.report.phrases import (
    basis_usages,
    codes,
    denied_by_text,
    guard_row,
    links_of_runs,
    only_if,
    plural,
    runs_of,
    short_arn,
    table_lines,
    times,
)
from leastpriv.report.policy_users import users_lines
from leastpriv.report.unreviewed_runs import (
    kept_for_unreviewed_runs,
    unknown_branch_line,
    unreviewed_line,
)
from leastpriv.report.verdict import (
    MOST_SHOWN,
    alert_kind,
    chance_sentences,
    heading,
    reason,
)

_MOST_STATEMENTS = 10
_MOST_ADDED = 4
_MOST_SERVICES = 12
_MOST_CAREFUL = 6
_MOST_REASONS = 2
_NEW = "**new:**"
"""Begins the row of an addition."""


class Medium(StrEnum):
    """The program that renders the Markdown of a first screen."""

    GITHUB = "github"
    """It has alerts, and aligns columns."""
    PAGE = "page"
    TERMINAL = "terminal"
    """It has no room for a table."""


class Alert(Struct, frozen=True):
    """A box at the top of a result."""

    kind: str
    """Of GitHub's alerts: `TIP`, `NOTE`, `IMPORTANT`, `WARNING` or `CAUTION`."""
    instruction: str
    reason: str


class Table(Struct, frozen=True):
    """A table with the cells of each row in Markdown."""

    head: str
    """The names of the columns, with a colon after those of numbers."""
    rows: tuple[tuple[str, ...], ...]
    more: str = ""
    """What follows the table where rows are left out."""


class FirstScreen(Struct, frozen=True):
    """The first screen of a result, in Markdown with all names escaped."""

    alerts: tuple[Alert, ...]
    """The instruction, and before it what a run tried against its own role."""
    by_hand: str = ""
    """Statements to copy in the language of the file; empty without one."""
    changes: Table | None = None
    security: Table | None = None
    lines: tuple[str, ...] = ()
    """The chance, the denials that are not added, and the path to administrator."""


def first_screen(context: ReportContext) -> FirstScreen:
    """Returns the first screen of a proposal."""
    instruction = Alert(alert_kind(context), heading(context), reason(context))
    lines = (
        *users_lines(context),
        *chance_sentences(context),
        releases_line(context),
        _replaced(context),
        _too_wide(context),
        *first_notes(context),
        offered_line(context),
        _not_drafted(context),
        _not_added(context),
        unreviewed_line(context),
        unknown_branch_line(context),
        administrator_line(context),
    )
    return FirstScreen(
        alerts=(*_attempts(context), instruction),
        by_hand=_statements_by_hand(context),
        changes=_changes(context),
        security=_security(context),
        lines=tuple(filter(None, lines)),
    )


def markdown(screen: FirstScreen, medium: Medium = Medium.GITHUB) -> str:
    """Returns a first screen as Markdown for the program that renders it."""
    parts = [_alert(alert, medium) for alert in screen.alerts]
    parts.append(screen.by_hand)
    if screen.changes:
        parts.append(_table(screen.changes, medium))
    if screen.security:
        parts.append(f"**For a security review:**\n\n{_table(screen.security, medium)}")
    parts.extend(screen.lines)
    return "\n\n".join(filter(None, parts))


def _alert(alert: Alert, medium: Medium) -> str:
    text = f"**{alert.instruction}.** {alert.reason}"
    return f"> [!{alert.kind}]\n> {text}" if medium is Medium.GITHUB else text


def _table(shown: Table, medium: Medium) -> str:
    if medium is Medium.TERMINAL:
        lines = [_row_as_item(shown, cells) for cells in shown.rows]
    else:
        # The page's security policy forbids the style that aligns a column.
        head = shown.head if medium is Medium.GITHUB else shown.head.replace(":", "")
        lines = table_lines(head, (f"| {' | '.join(cells)} |" for cells in shown.rows))
    return "\n".join([*lines, "", shown.more] if shown.more else lines)


def _row_as_item(shown: Table, cells: Sequence[str]) -> str:
    """Returns a row as an item of a list, which fits a terminal of any width."""
    if cells[0].startswith(_NEW):
        return f"- {cells[0]} ({cells[2]})"
    _, *names = shown.head.replace(":", "").split(" | ")
    named = [
        f"{name.lower()} {cell}" for name, cell in zip(names, cells[1:], strict=True) if cell != "–"
    ]
    return f"- {cells[0]}: {', '.join(named)}" if named else f"- {cells[0]}"


def _attempts(context: ReportContext) -> Iterator[Alert]:
    """Yields an alert where a run was denied to extend its own role, or to make identities."""
    denied = [fact for fact in context.ledger.not_added if _is_attempt(fact)]
    if not denied:
        return
    actions = dict.fromkeys(fact.usage.need.permission.action for fact in denied)
    usages = [fact.usage for fact in denied]
    runs = links_of_runs(usages, context.evidence, context.run_url)
    where = f" in {runs}" if runs else ""
    text = (
        f"AWS denied {codes(actions, MOST_SHOWN)}{where}. It is not added: find out who started"
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
    return (
        f"**Replaces** {codes(context.replaced)}: detach it after the merge; until then it denies"
        " no call."
    )


def _too_wide(context: ReportContext) -> str:
    """Names what remains on every resource: of a first draft, and of used actions that a guard
    keeps.
    """
    added = context.changes(ChangeKind.ADD)
    wide = [change.action for change in added if "*" in change.resources]
    wide += [held.action for held in context.proposal.held_back_restrictions]
    # Of a type without a name, as Glue's catalog, the account has one resource.
    ends = [
        change.action
        for change in added
        if not change.conditions and deletes(change.action) and _has_whole_type(change)
    ]
    parts = [f"{codes(dict.fromkeys(wide), 3)} on every resource"] if wide else []
    if ends:
        parts.append(f"{codes(ends, 3)} on every resource of a type, since AWS chooses the ids")
    return f"**Too wide:** {'; '.join(parts)}." if parts else ""


def _not_drafted(context: ReportContext) -> str:
    """Names what templates and plans leave open of a first draft."""
    declared = context.evidence.aws_findings.declared
    if context.proposal.committed is not None or not context.proposal.changes:
        return ""
    parts = []
    if declared.unread:
        parts.append(f"what {codes(declared.unread, 3)} needs, which no table lists")
    if declared.stateless:
        parts.append(
            f"what Terraform's state needs, because the folder of {codes(declared.stateless, 3)}"
            " has no `.terraform/terraform.tfstate` (`terraform init` writes it unless the state is"
            " local)"
        )
    return f"**Not drafted:** {'; '.join(parts)}." if parts else ""


def _has_whole_type(change: Change) -> bool:
    return any(is_whole_type(each) for each in change.resources if has_wildcard(each))


def _changes(context: ReportContext) -> Table | None:
    """Returns the table of changes: of a policy by statement, of a first draft by service."""
    if context.proposal.committed is None:
        return _draft(context)
    if not context.proposal.changes:
        return None
    changed = {change.statement for change in context.proposal.changes}
    own: list[StatementFacts] = []
    others: list[StatementFacts] = []
    for facts in context.ledger.statements:
        is_open = bool(facts.of(GrantState.KEPT_UNUSED))
        is_shown = facts.statement.index in changed or is_open
        (own if is_shown else others).append(facts)
    own.sort(key=lambda facts: (not facts.removed, not facts.narrowed, facts.statement.index))
    others += own[_MOST_STATEMENTS:]
    rows = [_statement_row(facts, context) for facts in own[:_MOST_STATEMENTS]]
    if others:
        rows.append(_others_row(others, "other statement" if own else "statement"))
    rows += _added_rows(context)
    has_doubt = context.ledger.count(GrantState.REMOVED_UNRECORDED) > 0
    return Table(
        "Statement | Actions: | Used: | Removed: | Riskiest removal | Still open",
        tuple(rows),
        "? = a use leaves no record." if has_doubt else "",
    )


def _statement_row(facts: StatementFacts, context: ReportContext) -> tuple[str, ...]:
    riskiest = min((grant.action for grant in facts.removed), key=removal_rank, default="")
    return (
        _statement_name(facts, context),
        _before_and_after(facts),
        f"{len(facts.of(GrantState.KEPT_USED)):,}",
        _removed_cell(facts),
        code(riskiest.partition(":")[2]) if riskiest else "–",
        _open_cell(facts),
    )


def _statement_name(facts: StatementFacts, context: ReportContext) -> str:
    statement = facts.statement
    label = code(statement.sid) if statement.sid else f"line {statement.line}"
    if context.file_url:
        label = f"[{label}]({context.file_url}#L{statement.line})"
    entries = list(dict.fromkeys(grant.entry for grant in facts.grants))
    if len(entries) == 1:
        return f"{label} {code(entries[0], 40)}"
    return label


def _before_and_after(facts: StatementFacts) -> str:
    before = len(facts.grants)
    if facts.left == before:
        return f"{before:,}"
    return f"{before:,} → **{facts.left:,}**"


def _removed_cell(facts: StatementFacts) -> str:
    """Returns the number of removed actions, of them those without a record, and of narrowed
    ones.
    """
    parts = []
    if facts.removed:
        unrecorded = len(facts.of(GrantState.REMOVED_UNRECORDED))
        doubt = f" ({unrecorded:,} ?)" if unrecorded else ""
        parts.append(f"{len(facts.removed):,}{doubt}")
    if facts.narrowed:
        parts.append(f"{len(facts.narrowed):,} narrowed")
    return ", ".join(parts) or "–"


def _open_cell(facts: StatementFacts) -> str:
    """Returns the number of kept unused actions by the most frequent reasons."""
    kept = facts.of(GrantState.KEPT_UNUSED)
    counts = Counter(grant.guard for grant in kept)
    parts = [f"{count:,} {guard_words(guard)}" for guard, count in counts.most_common(1)]
    rest = len(kept) - sum(count for _, count in counts.most_common(1))
    if rest:
        parts.append(f"{rest:,} more")
    return ", ".join(parts) or "–"


def _others_row(others: Sequence[StatementFacts], noun: str) -> tuple[str, ...]:
    before = sum(len(facts.grants) for facts in others)
    left = sum(facts.left for facts in others)
    used = sum(len(facts.of(GrantState.KEPT_USED)) for facts in others)
    removed = before - left
    unrecorded = sum(len(facts.of(GrantState.REMOVED_UNRECORDED)) for facts in others)
    doubt = f" ({unrecorded:,} ?)" if unrecorded else ""
    kept = sum(len(facts.of(GrantState.KEPT_UNUSED)) for facts in others)
    return (
        plural(len(others), noun),
        f"{before:,} → **{left:,}**" if removed else f"{before:,}",
        f"{used:,}",
        f"{removed:,}{doubt}" if removed else "–",
        "–",
        f"{kept:,}" if kept else "–",
    )


def _added_rows(context: ReportContext) -> list[tuple[str, ...]]:
    added = sorted(context.changes(ChangeKind.ADD), key=lambda change: not change.security)
    rows = [_added_row(change, context) for change in added[:_MOST_ADDED]]
    if len(added) > _MOST_ADDED:
        rest = len(added) - _MOST_ADDED
        rows.append((f"{_NEW} {plural(rest, 'further permission')}", f"+{rest:,}", *"––––"))
    return rows


def _added_row(change: Change, context: ReportContext) -> tuple[str, ...]:
    return (
        f"{_NEW} {code(change.action)} on {_short(change.resources, 1)}{not_on(change, 1)}",
        "+1",
        _evidence_cell(change, context),
        "–",
        "–",
        prose(unmet_reason(change)) or "–",
    )


_HOW = {
    Basis.OBSERVED: "used",
    Basis.INFERRED: "needed by a call",
    Basis.LIFECYCLE: "life cycle",
    Basis.DECLARED: "declared",
}


def _how(change: Change) -> str:
    """A few words on the basis of an addition."""
    if change.basis is Basis.DENIED:
        return denied_by_text(change)
    return _HOW.get(change.basis or Basis.OBSERVED, str(change.basis))


def _evidence_cell(change: Change, context: ReportContext) -> str:
    usages = basis_usages(change)
    how = _how(change)
    if not usages:
        return how
    last = links_of_runs(usages, context.evidence, context.run_url, 1)
    where = f", last in {last}" if last else ""
    return f"{how} {times(usages, context.evidence)}{where}"


def _short(resources: Sequence[str], most: int) -> str:
    return codes(map(short_arn, resources), most)


def _draft(context: ReportContext) -> Table | None:
    """Returns a row for each service of a first draft, those for a security review first."""
    added = context.changes(ChangeKind.ADD)
    if not added:
        return None
    services = grouped([(change.action.partition(":")[0], change) for change in added])
    order = sorted(
        services, key=lambda name: (not any(each.security for each in services[name]), name)
    )
    rows = [_service_row(name, services[name]) for name in order[:_MOST_SERVICES]]
    left = [change for name in order[_MOST_SERVICES:] for change in services[name]]
    if left:
        rows.append(_service_row("", left))
    head = "Service | Actions: | Resources | Used in runs: | Not used yet: | Security review"
    return Table(head, tuple(rows))


def _service_row(service: str, changes: Sequence[Change]) -> tuple[str, ...]:
    bases = grouped([(change.action, change.basis) for change in changes])
    coming = [
        action for action, own in bases.items() if {*own} <= {Basis.LIFECYCLE, Basis.DECLARED}
    ]
    resources = dict.fromkeys(
        short_arn(resource) for change in changes for resource in change.resources
    )
    denied = dict.fromkeys(short_arn(name) for change in changes for name in change.denied_on)
    left_out = f"; no deletion of {codes(denied, 1)}" if denied else ""
    runs = runs_of([usage for change in changes for usage in change.usages])
    careful = dict.fromkeys(
        change.action.partition(":")[2] for change in changes if change.security
    )
    names = {change.action.partition(":")[0] for change in changes}
    return (
        code(service) if service else plural(len(names), "further service"),
        f"{len(bases):,}",
        (codes(resources, 2) if service else plural(len(resources), "resource")) + left_out,
        f"{len(runs):,}",
        f"{len(coming):,}" if coming else "–",
        codes(careful, 2) if careful else "–",
    )


def _security(context: ReportContext) -> Table | None:
    """Returns what a security reviewer decides: a row for actions of one resource and reason."""
    sensitive = [change for change in context.changes(ChangeKind.ADD) if change.security]
    rows: list[tuple[str, ...]] = []
    same = grouped(
        [
            ((each.resources, each.conditions, each.denied_on, each.security), each)
            for each in sensitive
        ]
    )
    for (resources, conditions, _, why), changes in same.items():
        more = dict.fromkeys(use_of_passed_role(context, change) for change in changes)
        usages = [usage for change in changes for usage in basis_usages(change)]
        runs = links_of_runs(usages, context.evidence, context.run_url, 1)
        how = _how(changes[0])
        rows.append(
            (
                codes((change.action for change in changes), 4),
                f"{_short(resources, 2)}{only_if(conditions)}{not_on(changes[0])}",
                f"it {why}.{''.join(more)}",
                f"{how} in {runs}" if runs else how,
            )
        )
    for held in filter(is_sensitive_job_log_denial, context.proposal.held_back_additions):
        why = f"**Not written:** {prose(held.guard_result.reason)}"
        rows.append((code(held.action), _short(held.resources, 2), why, "job log"))
    for use in kept_for_unreviewed_runs(context):
        if use.security:
            why = (
                f"{prose(use.security)}. Only unreviewed runs used it: remove it by hand, or with"
                " `unknown-refs: refuse`."
            )
            where = prose(use.where) if use.where else "unreviewed runs"
            rows.append((code(use.action), _short(use.resources, 2), why, where))
    if not rows:
        return None
    shown = tuple(dict.fromkeys(rows))
    rest = len(shown) - _MOST_CAREFUL
    note = f"{rest:,} more rows are in *Evidence and replay*." if rest > 0 else ""
    return Table("Action | Resource | Why | Evidence", shown[:_MOST_CAREFUL], note)


def _not_added(context: ReportContext) -> str:
    """Names the needs that are not added, by reason; used actions first, since the next run needs
    them.
    """
    held = [
        each
        for each in context.proposal.held_back_additions
        if each.guard_result.guard != OFFERED and not is_sensitive_job_log_denial(each)
    ]
    if context.verdict.rule is VerdictRule.ADD_BY_HAND:
        # The instruction names them, and their statements follow it.
        held = [each for each in held if each.guard_result.guard != NOT_EDITABLE]
    undecided = [fact for fact in context.ledger.not_added if not fact.guard]
    if not held and not undecided:
        return ""
    groups = grouped([(_kind_of_reason(each), each) for each in held])
    order = sorted(
        groups, key=lambda kind: (all(map(was_denied, groups[kind])), -len(groups[kind]))
    )
    parts = [_not_added_part(groups[kind], context) for kind in order[:_MOST_REASONS]]
    if len(order) > _MOST_REASONS:
        parts.append(plural(len(order) - _MOST_REASONS, "further reason"))
    if undecided:
        actions = dict.fromkeys(fact.usage.need.permission.action for fact in undecided)
        parts.append(f"{codes(actions, 3)}, because {prose(undecided[0].why)}")
    heading_of = not_added_title(held) if held else "Denied, not added"
    return f"**{heading_of}:** {'; '.join(parts)}."


def _kind_of_reason(held: HeldBackChange) -> str:
    """Returns the guard, or which policy denied what no identity-based policy can grant."""
    result = held.guard_result
    return result.reason if result.guard == "not-mendable" else result.guard


def _not_added_part(held: Sequence[HeldBackChange], context: ReportContext) -> str:
    actions = sorted({each.action for each in held}, key=removal_rank)
    usages = [usage for each in held for usage in each.usages]
    last = links_of_runs(usages, context.evidence, context.run_url, 1)
    where = f" (last in {last})" if last else ""
    return f"{codes(actions, 3)}, because {_not_added_because(held[0])}{where}"


def _not_added_because(held: HeldBackChange) -> str:
    """Returns the reason of a guard, or who denied what no identity-based policy can grant."""
    result = held.guard_result
    if result.guard == "not-mendable":
        return prose(result.reason)
    return kept_because(result.guard, "addition")


def administrator_line(context: ReportContext) -> str:
    """Returns what the change does to the paths to administrator; empty without one."""
    escalation = context.escalation
    before = [path for path in escalation.before if path.leads_to_administrator or path.known]
    after = escalation.leading
    if not after:
        return _closed_line(before) or _undecided_line(escalation.undecided_by)
    known = {path.id for path in before}
    new = [path for path in after if path.id not in known]
    gain = "become administrator" if is_administrator(escalation.after) else "gain more permissions"
    how = _leading_path(new or after)
    if context.proposal.committed is None:
        return f"**With this policy** an attacker in one run can {gain} by {how}."
    if new and context.proposal.changes:
        return f"**New with this change:** an attacker in one run can {gain} by {how}."
    if context.proposal.changes:
        return f"**Not closed by this change:** an attacker in one run can {gain} by {how}."
    return f"**Path to administrator:** an attacker in one run can {gain} by {how}."


def _undecided_line(names: Sequence[str]) -> str:
    if not names:
        return ""
    decide = "decides" if len(names) == 1 else "decide"
    return (
        "**A path to administrator cannot be ruled out:** only the rendered file shows what"
        f" {codes(names, 3)} {decide}."
    )


def _closed_line(before: Sequence[EscalationPath]) -> str:
    if not before:
        return ""
    actions = dict.fromkeys(action for path in before for action in path.actions[:1])
    return (
        f"**Closed by this change:** {plural(len(before), 'path')} to administrator, by"
        f" {codes(actions, 4)}."
    )


def _leading_path(paths: Sequence[EscalationPath]) -> str:
    more = f"; and {plural(len(paths) - 1, 'further path')}" if len(paths) > 1 else ""
    return f"{path_line(paths[0])}{more}"


def guard_words(guard: str) -> str:
    """Returns a few words on what a guard keeps, for a cell of a table."""
    words = {row["guard"]: row["words"] for row in table("guard_words", __package__ or "")}
    return words.get(guard, code(guard))


def kept_because(guard: str, group: str = "removal") -> str:
    """Returns the reason of a guard, or its name, as Markdown that completes "kept because …"."""
    row = guard_row(guard, group)
    return row["reason"] if row else code(guard)
