"""The tables of a first screen: what changes by statement, or by service of a first draft, and what
a security reviewer decides.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from msgspec import Struct

from leastpriv.models import Basis, ChangeKind, Condition, grouped
from leastpriv.permissions.catalog import removal_rank
from leastpriv.proposal.additions import unmet_reason
from leastpriv.proposal.escalation_paths import PassedRoleUse, passed_role_use
from leastpriv.proposal.ledger import GrantState, StatementFacts
from leastpriv.proposal.models import Change
from leastpriv.report.context import ReportContext
from leastpriv.report.escape import code, prose
from leastpriv.report.evidence_limits import is_sensitive_job_log_denial
from leastpriv.report.guide import page_link
from leastpriv.report.offers import not_on
from leastpriv.report.phrases import (
    basis_usages,
    codes,
    denied_by_text,
    guard_words,
    last_run_page,
    links_of_runs,
    plural,
    runs_of,
    short_arn,
    times,
)
from leastpriv.report.screen_models import NOTHING, Column, Table, TableRow
from leastpriv.report.unreviewed_runs import kept_for_unreviewed_runs

_MOST_STATEMENTS = 9
_MOST_ADDED = 4
_MOST_SERVICES = 5
MOST_CAREFUL = 4
"""Rows for a security review on the first screen."""
_LONGEST_ENTRY = 22
"""Characters of a name in a cell: a table of more than 700 pixels does not fit GitHub's page."""
_WORD_OF_ACTION = re.compile(r"[A-Z]?[^A-Z]+|[A-Z]+(?![a-z])|.", re.DOTALL)
_MOST_NAMED = 4
"""Actions of a service of a draft that are named in place of their number."""
_SMALL_DRAFT = 12
"""Actions of a draft whose actions are named."""
_LONGEST_NAME = 22
"""Characters of a name in a table of five columns."""
_LONGEST_LINE = 30
_MOST_CONDITIONS = 2
_NEW = "**new:**"
"""Begins the row of an addition."""

_STATEMENT_COLUMNS = (
    Column("Statement", longest=28),
    Column("Actions", is_number=True),
    Column("Used", is_number=True),
    Column("Removed", longest=25),
    Column("Not<br>removed", longest=16),
)
_SERVICE_COLUMNS = (
    Column("Service", longest=36),
    Column("Actions", is_number=True),
    Column("Resources", longest=_LONGEST_LINE),
    Column("Runs", is_number=True),
    Column("To<br>review", is_number=True),
)
_SECURITY_COLUMNS = (
    Column("Action", longest=_LONGEST_LINE),
    Column("Why", longest=34),
    Column("Evidence", longest=16),
)


class ActionCounts(Struct, frozen=True):
    """The actions of one or more statements."""

    before: int
    left: int
    used: int
    unrecorded: int
    open: int
    narrowed: int

    @property
    def removed(self) -> int:
        """Number of removed actions."""
        return self.before - self.left

    @classmethod
    def of(cls, statements: Sequence[StatementFacts]) -> ActionCounts:
        """Returns the sums over some statements."""
        return cls(
            before=sum(len(facts.grants) for facts in statements),
            left=sum(facts.left for facts in statements),
            used=sum(len(facts.of(GrantState.KEPT_USED)) for facts in statements),
            unrecorded=sum(len(facts.of(GrantState.REMOVED_UNRECORDED)) for facts in statements),
            open=sum(len(facts.of(GrantState.KEPT_UNUSED)) for facts in statements),
            narrowed=sum(len(facts.narrowed) for facts in statements),
        )


def changes_table(context: ReportContext) -> Table | None:
    """Returns the table of changes: of a policy by statement, of a first draft by service."""
    if context.proposal.committed is None:
        return _draft(context)
    if not context.proposal.changes:
        return None
    changed = {change.statement for change in context.proposal.changes}
    changed_statements: list[StatementFacts] = []
    other_statements: list[StatementFacts] = []
    for facts in context.ledger.statements:
        is_open = bool(facts.of(GrantState.KEPT_UNUSED))
        is_shown = facts.statement.index in changed or is_open
        (changed_statements if is_shown else other_statements).append(facts)
    changed_statements.sort(
        key=lambda facts: (not facts.removed, not facts.narrowed, facts.statement.index)
    )
    other_statements += changed_statements[_MOST_STATEMENTS:]
    rows = [_statement_row(facts, context) for facts in changed_statements[:_MOST_STATEMENTS]]
    if other_statements:
        rows.append(
            _others_row(
                other_statements, "other statement" if changed_statements else "unchanged statement"
            )
        )
    rows += _added_rows(context)
    return Table.of(_STATEMENT_COLUMNS, rows, _doubt_note(context))


def _doubt_note(context: ReportContext) -> str:
    """Returns what the question mark of the table means; empty without a doubtful removal."""
    if not context.ledger.count(GrantState.REMOVED_UNRECORDED):
        return ""
    link = page_link(context.guide, "no CloudTrail record", "guards#how-certain")
    return f"? = a use leaves {link}."


def _statement_row(facts: StatementFacts, context: ReportContext) -> TableRow:
    counts = ActionCounts.of([facts])
    cells = (
        _statement_name(facts, context),
        before_and_after(counts),
        f"{counts.used:,}",
        removed_cell(counts, _most_sensitive(facts)),
        _open_cell(facts),
    )
    return TableRow(cells)


def _most_sensitive(facts: StatementFacts) -> str:
    """Returns the most sensitive removed action as it follows a number, with its service where the
    statement has several; empty without one.
    """
    action = min((grant.action for grant in facts.removed), key=removal_rank, default="")
    if not action:
        return ""
    services = {grant.action.partition(":")[0] for grant in facts.grants}
    action_name = action if len(services) > 1 else action.partition(":")[2]
    mark = ", most\u00a0sensitive" if len(facts.removed) > 1 else ""
    return "<br>".join([mark, *_code_lines(action_name, _LONGEST_ENTRY)])


def _code_lines(action: str, longest: int) -> Iterator[str]:
    """Yields an action in lines: a long one breaks after its service and between its words."""
    if len(action) <= longest:
        yield code(action)
        return
    service, colon, name = action.rpartition(":")
    if colon:
        yield code(f"{service}:", longest)
    line = ""
    for word in _WORD_OF_ACTION.findall(name):
        if line and len(line) + len(word) > longest:
            yield code(line, longest)
            line = ""
        line += word
    yield code(line, longest)


def _statement_name(facts: StatementFacts, context: ReportContext) -> str:
    statement = facts.statement
    label = code(statement.sid, _LONGEST_ENTRY) if statement.sid else f"line {statement.line}"
    if context.file_url:
        label = f"[{label}]({context.file_url}#L{statement.line})"
    entries = list(dict.fromkeys(grant.entry for grant in facts.grants))
    if len(entries) != 1:
        return label
    return "<br>".join([label, *_code_lines(entries[0], _LONGEST_ENTRY)])


def before_and_after(counts: ActionCounts) -> str:
    """Returns `36 → **9**`, or one number where nothing is removed."""
    if counts.left == counts.before:
        return f"{counts.before:,}"
    return f"{counts.before:,}\u00a0→\u00a0**{counts.left:,}**"


def removed_cell(counts: ActionCounts, most_sensitive: str = "") -> str:
    """Returns the number of removed actions, of them those without a record, and in a further line
    that of narrowed ones.

    Args:
        counts: The numbers.
        most_sensitive: What follows the number of removed actions.
    """
    lines = []
    if counts.removed:
        mark = "\u00a0removed" if counts.narrowed else ""
        doubt = f" ({counts.unrecorded:,}\u00a0?)" if counts.unrecorded else ""
        lines.append(f"{counts.removed:,}{mark}{doubt}{most_sensitive}")
    if counts.narrowed:
        lines.append(f"{counts.narrowed:,}\u00a0narrowed")
    return "<br>".join(lines) or NOTHING


def _open_cell(facts: StatementFacts) -> str:
    """Returns the number of kept actions without a use that counts, and the most frequent
    reason.
    """
    kept_facts = facts.of(GrantState.KEPT_UNUSED)
    if not kept_facts:
        return NOTHING
    guards = Counter(grant.guard for grant in kept_facts)
    guard, count = guards.most_common(1)[0]
    words = guard_words(guard)
    mostly = "" if count == len(kept_facts) else "mostly "
    unused = "" if words.startswith(("used", "called", "denied")) else " unused"
    return f"{len(kept_facts):,}{unused}:<br>{mostly}{words}"


def _others_row(others: Sequence[StatementFacts], noun: str) -> TableRow:
    counts = ActionCounts.of(others)
    cells = (
        plural(len(others), noun),
        before_and_after(counts),
        f"{counts.used:,}",
        removed_cell(counts),
        f"{counts.open:,}" if counts.open else NOTHING,
    )
    return TableRow(cells)


def _added_rows(context: ReportContext) -> Iterator[TableRow]:
    added = sorted(context.changes(ChangeKind.ADD), key=lambda change: not change.security)
    for change in added[:_MOST_ADDED]:
        yield _added_row(change, context)
    rows_left = len(added) - _MOST_ADDED
    if rows_left > 0:
        name = f"{_NEW} {plural(rows_left, 'further permission')}"
        yield TableRow((name, f"+{rows_left:,}", "", "", ""), is_new=True)


def _added_row(change: Change, context: ReportContext) -> TableRow:
    first, *further_lines = _code_lines(change.action, _LONGEST_ENTRY)
    lines = [f"{_NEW} {first}", *further_lines, _on(change)]
    # The table for a security review has the conditions of the others.
    if not change.security:
        lines += _condition_lines(change.conditions)
    lines.append(_evidence_cell(change, context))
    lines.append(prose(unmet_reason(change)))
    return TableRow(("<br>".join(filter(None, lines)), "+1", "", "", ""), is_new=True)


def _on(change: Change) -> str:
    return f"on {_short(change.resources, 1)}{not_on(change, 1)}"


def _condition_lines(conditions: Sequence[Condition]) -> Iterator[str]:
    """Yields a line for each condition of an addition, of many the first."""
    for condition in conditions[:_MOST_CONDITIONS]:
        values = codes(condition.values, 1)
        yield f"only if {code(condition.key)} {condition.relation} {values}".rstrip()
    conditions_left = len(conditions) - _MOST_CONDITIONS
    if conditions_left > 0:
        yield f"and {plural(conditions_left, 'further condition')}"


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
    if change.usual_as:
        return "usually follows"
    return _HOW.get(change.basis or Basis.OBSERVED, str(change.basis))


def _evidence_cell(change: Change, context: ReportContext) -> str:
    """Returns the basis of an addition and its number of calls, linked to the last run."""
    usages = basis_usages(change)
    if not usages:
        return _how(change)
    text = f"{_how(change)} {times(usages, context.evidence)}"
    page = last_run_page(usages, context.evidence, context.run_url)
    linked = f"[{text}]({page})" if page else text
    # What this policy lacks and a run used, another policy of the role allows today.
    return f"{linked}; another<br>policy allows it" if change.basis is Basis.OBSERVED else linked


def _short(resources: Sequence[str], most: int, longest: int = _LONGEST_ENTRY) -> str:
    """Returns resources without the parts that all ARNs of an account share, cut to a cell."""
    names = [code(short_arn(resource), longest) for resource in resources[:most]]
    names_left = len(resources) - len(names)
    further_names = f" and\u00a0{names_left:,}\u00a0more" if names_left else ""
    return f"{', '.join(names)}{further_names}"


def _draft(context: ReportContext) -> Table | None:
    """Returns a row for each service of a first draft, those for a security review first."""
    added = context.changes(ChangeKind.ADD)
    if not added:
        return None
    services = grouped([(change.action.partition(":")[0], change) for change in added])
    order = sorted(
        services, key=lambda name: (not any(change.security for change in services[name]), name)
    )
    is_small = len({change.action for change in added}) <= _SMALL_DRAFT
    # One further service has its own row.
    services_shown = len(order) if len(order) == _MOST_SERVICES + 1 else _MOST_SERVICES
    rows = [
        _service_row(name, services[name], names_actions=is_small)
        for name in order[:services_shown]
    ]
    further_changes = [change for name in order[services_shown:] for change in services[name]]
    if further_changes:
        rows.append(
            _row_of_services(
                plural(len(order) - services_shown, "further service"), further_changes
            )
        )
    return Table.of(_SERVICE_COLUMNS, rows, _not_deleted(added))


def _label_with_actions(name: str, changes: Sequence[Change]) -> str:
    """Returns a service and its actions, with a mark at those that no run used yet."""
    unused = _not_used_yet(changes)
    lines = [f"**{code(name)}**"]
    for action in sorted({change.action for change in changes}):
        lines.extend(_code_lines(action.partition(":")[2], _LONGEST_NAME))
        if action in unused:
            lines[-1] += " (not\u00a0used\u00a0yet)"
    return "<br>".join(lines)


def _not_used_yet(changes: Sequence[Change]) -> Sequence[str]:
    """Returns the actions that only the life cycle or a declaration asks for."""
    bases = grouped([(change.action, change.basis) for change in changes])
    return [
        action
        for action, action_bases in bases.items()
        if {*action_bases} <= {Basis.LIFECYCLE, Basis.DECLARED}
    ]


def _number_of_actions(changes: Sequence[Change]) -> str:
    """Returns the number of actions, and how many of them no run used yet."""
    number = f"{len({change.action for change in changes}):,}"
    unused = len(_not_used_yet(changes))
    return f"{number}<br>({unused:,}\u00a0not used yet)" if unused else number


def _service_row(name: str, changes: Sequence[Change], *, names_actions: bool) -> TableRow:
    """Returns the row of a service, with its actions where they are few."""
    number = len({change.action for change in changes})
    if names_actions and number <= _MOST_NAMED:
        return _row_of_services(_label_with_actions(name, changes), changes, f"{number:,}")
    return _row_of_services(code(name), changes)


def _row_of_services(label: str, changes: Sequence[Change], actions: str = "") -> TableRow:
    """Returns the row of one or more services.

    Args:
        label: Its first cell.
        changes: The additions of the services.
        actions: The cell with the number of actions; empty: with that of unused ones.
    """
    resources = dict.fromkeys(resource for change in changes for resource in change.resources)
    runs = runs_of([usage for change in changes for usage in change.usages])
    careful = {change.action for change in changes if change.security}
    cells = (
        label,
        actions or _number_of_actions(changes),
        _short(list(resources), 1, _LONGEST_NAME),
        f"{len(runs):,}",
        f"{len(careful):,}" if careful else NOTHING,
    )
    return TableRow(cells)


def _not_deleted(added: Sequence[Change]) -> str:
    """Returns which resources a Deny of the draft protects; empty without one."""
    denied = dict.fromkeys(short_arn(name) for change in added for name in change.denied_on)
    if not denied:
        return ""
    if len(denied) == 1:
        return f"The policy also denies the deletion of the long-lived {codes(denied)}."
    first, *further_names = denied
    further_words = plural(len(further_names), "more long-lived resource")
    return f"The policy also denies the deletion of {code(first)} and {further_words}."


def security_table(context: ReportContext, most: int = MOST_CAREFUL) -> Table | None:
    """Returns what a security reviewer decides: a row for actions of one resource and reason.

    Args:
        context: The proposal.
        most: Number of rows that are shown.
    """
    rows = tuple(dict.fromkeys(_security_rows(context)))
    if not rows:
        return None
    rows_left = len(rows) - most
    note = f"{rows_left:,} more rows are in *Evidence and replay*." if rows_left > 0 else ""
    return Table.of(_SECURITY_COLUMNS, rows[:most], note)


def _security_rows(context: ReportContext) -> Iterator[TableRow]:
    """Yields a row for each sensitive addition, each sensitive denial that is not written, and each
    sensitive action that only unreviewed runs used.
    """
    for changes in _same_for_a_reviewer(context):
        yield _sensitive_row(changes, context)
    for held_change in filter(is_sensitive_job_log_denial, context.proposal.held_back_additions):
        reason = f"**not written:** {prose(held_change.guard_result.reason)}"
        resources = _short(held_change.resources, 1)
        yield TableRow((f"{code(held_change.action)}<br>on {resources}", reason, "job log"))
    for use in kept_for_unreviewed_runs(context):
        if use.security:
            reason = (
                f"{prose(use.security.removeprefix('it '))}; only unreviewed runs used it: remove"
                " it by hand, or with `unknown-refs: refuse`"
            )
            run_words = prose(use.where) if use.where else "unreviewed runs"
            resources = _short(use.resources, 1)
            yield TableRow((f"{code(use.action)}<br>on {resources}", reason, run_words))


class _Reason(Struct, frozen=True):
    """Why an addition is for a security reviewer, and what limits it."""

    security: str
    conditions: tuple[Condition, ...]
    denied_on: tuple[str, ...]

    @classmethod
    def of(cls, change: Change) -> _Reason:
        return cls(change.security, tuple(change.conditions), tuple(change.denied_on))


def _same_for_a_reviewer(context: ReportContext) -> Iterator[Sequence[Change]]:
    """Yields the sensitive additions, those with the same reason and resources together."""
    sensitive = [change for change in context.changes(ChangeKind.ADD) if change.security]
    by_action = grouped([((change.action, _Reason.of(change)), change) for change in sensitive])
    groups = []
    for (_, reason), changes_of_action in by_action.items():
        resources = dict.fromkeys(
            resource for change in changes_of_action for resource in change.resources
        )
        groups.append(((tuple(resources), reason), changes_of_action))
    for several in grouped(groups).values():
        yield [change for same_changes in several for change in same_changes]


def _sensitive_row(changes: Sequence[Change], context: ReportContext) -> TableRow:
    """Returns the row of equal sensitive changes: action and resource, why it is sensitive, and
    what shows the need.
    """
    first = changes[0]
    documents = context.proposal.documents
    ways = [passed_role_use(change, documents, context.principal) for change in changes]
    uses = dict.fromkeys(f"; {_use_of_a_role(use)}" for use in ways if use)
    usages = [usage for change in changes for usage in basis_usages(change)]
    runs = links_of_runs(usages, context.evidence, context.run_url, 1)
    resources = dict.fromkeys(resource for change in changes for resource in change.resources)
    what = [
        codes(dict.fromkeys(change.action for change in changes), 4),
        f"on {_short(list(resources), 1, _LONGEST_LINE)}{not_on(first, 1)}",
        *_condition_lines(first.conditions),
    ]
    cells = (
        "<br>".join(what),
        f"{first.security}{''.join(uses)}",
        f"{_how(first)} in {runs}" if runs else _how(first),
    )
    return TableRow(cells)


def _use_of_a_role(use: PassedRoleUse) -> str:
    if not use.lacks:
        return f"a run can use that role by {use.how}"
    lacking = code(use.lacks[0])
    if len(use.lacks) > 1:
        lacking += " or a similar action"
    return f"to use that role by {use.how}, a run also needs {lacking}, which the policy lacks"
