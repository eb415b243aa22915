"""Reports on several targets: the table of all, the bodies of grouped pull requests, and the
figures of each target.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.models import ChangeKind
from leastpriv.permissions.catalog import removal_rank
from leastpriv.proposal.ledger import GrantState
from leastpriv.report.change_tables import ActionCounts, before_and_after, removed_cell
from leastpriv.report.context import ReportContext
from leastpriv.report.drift import context_findings, summary_section
from leastpriv.report.escape import code, name, prose
from leastpriv.report.phrases import fold, plural, table_lines
from leastpriv.report.pull_request import LONGEST_BODY, body, proposal_marker
from leastpriv.report.role_chain import RoleChainPolicies, chain_section
from leastpriv.report.screen_models import NOTHING, Column, Medium, Table, TableRow
from leastpriv.report.templates import render
from leastpriv.report.verdict import heading, reason, short_verdict

MOST_IN_FULL = 20
"""Targets whose texts follow the table of all; more have the table alone."""
_IN_THE_FILES = (
    "Each target has its text in its pull request, and in `pull-request.md` in its folder of the"
    " output."
)
_LEAST_PAGE = 6_000
"""Characters; a shorter page of a target is omitted entirely."""


class TargetRow(Struct, frozen=True):
    """One target in the table of all; nothing in it is escaped yet."""

    role: str
    """ARN."""
    policy_file: str
    title: str = ""
    failure: str = ""
    pull_request: str = ""
    """URL, or empty."""
    number: int = 0
    operation: str = ""
    context: ReportContext | None = None


_COLUMNS = (
    Column("Role", longest=40),
    Column("Actions", is_number=True),
    Column("Used", is_number=True),
    Column("Removed", is_number=True),
    Column("Instruction", longest=26),
    Column("Pull request", longest=14),
)


def overview(rows: Sequence[TargetRow], medium: Medium = Medium.GITHUB) -> str:
    """Returns a table of all targets in Markdown: what changes, the instruction, the pull request.

    Args:
        rows: The targets.
        medium: The program that renders the table.
    """
    several = len({row.role.split(":")[4] for row in rows}) > 1
    table = Table.of(_COLUMNS, [_overview_row(row, several_accounts=several) for row in rows])
    return render("table", shown=table, medium=medium.value)


def _shown_role(arn: str, *, with_account: bool) -> str:
    """Returns `role/ci-deploy`, or `123456789012:role/ci-deploy` with the account."""
    fields = arn.split(":", 5)
    return ":".join(fields[4:]) if with_account else fields[5]


def _overview_row(row: TargetRow, *, several_accounts: bool) -> TableRow:
    """Returns the row of a target: role and file, `288 → 102, +1`, the used actions, the removed
    ones, the instruction, and `#12 created`.
    """
    role = _shown_role(row.role, with_account=several_accounts)
    name = f"{code(role)}<br>{code(row.policy_file)}"
    link = row.operation or NOTHING
    if row.pull_request:
        link = f"[#{row.number}]({row.pull_request}) {row.operation}"
    context = row.context
    if row.failure or context is None:
        failure = prose(row.failure) or "no proposal"
        return TableRow((name, NOTHING, NOTHING, NOTHING, f"**Failed**: {failure}", link))
    counts = ActionCounts.of(context.ledger.statements)
    change = _change_of_actions(context, counts)
    cells = (
        name,
        change,
        f"{counts.used:,}",
        removed_cell(counts),
        f"**{heading(context)}**",
        link,
    )
    return TableRow(cells)


def _change_of_actions(context: ReportContext, counts: ActionCounts) -> str:
    """Returns `288 → 102, +1` with the added actions, and `+12` of a first policy."""
    added = len(context.changes(ChangeKind.ADD))
    if context.proposal.committed is None:
        return f"+{added:,}" if added else NOTHING
    change = before_and_after(counts)
    return f"{change}, +{added:,}" if added else change


def fleet_overview(rows: Sequence[TargetRow]) -> str:
    """A table of many targets, one line each: failed ones first, then those with most to gain."""
    several = len({row.role.split(":")[4] for row in rows}) > 1
    lines: list[str] = []
    for row in sorted(rows, key=_rank):
        role = _shown_role(row.role, with_account=several)
        context = row.context
        verdict = f"**Failed**: {prose(row.failure)}" if row.failure else "–"
        if context and not row.failure:
            verdict = short_verdict(context)
        found_text = row.title.partition(": ")[2] or "–"
        link = f"[#{row.number}]({row.pull_request})" if row.pull_request else "–"
        removal = _most_sensitive_removal(context) if context else ""
        cells = (code(role), verdict, found_text, code(removal) if removal else "–", link)
        lines.append(f"| {' | '.join(cells)} |")
    head = "Role | Verdict | Found | Most sensitive removal | Pull request"
    return "\n".join(table_lines(head, lines))


def _rank(row: TargetRow) -> tuple[bool, int]:
    removed = row.context.ledger.removed if row.context else 0
    return not row.failure, -removed


def _most_sensitive_removal(context: ReportContext) -> str:
    removed = context.ledger.grants_of(GrantState.REMOVED_RECORDED, GrantState.REMOVED_UNRECORDED)
    return min((grant.action for grant in removed), key=removal_rank, default="")


def targets_title(rows: Sequence[TargetRow]) -> str:
    """One line of fixed words and figures."""
    return (
        f"iam({plural(len(rows), 'role')}): {_counts(rows)}" if rows else "Least privilege: no role"
    )


def group_title(group: str, rows: Sequence[TargetRow]) -> str:
    """The title of a grouped pull request."""
    return f"iam({name(group)}, {plural(len(rows), 'role')}): {_counts(rows)}"


def summary(
    rows: Sequence[TargetRow],
    chained: RoleChainPolicies,
    notes: Sequence[str],
    *,
    drift: bool = False,
) -> str:
    """The page of a whole run: table, chain, then every target in full; `drift`: with the findings
    of `check`.
    """
    is_fleet = len(rows) > MOST_IN_FULL
    table = fleet_overview(rows) if is_fleet else overview(rows)
    parts = [f"## {targets_title(rows)}", table, *(f"> {prose(note)}" for note in notes)]
    parts += chain_section(chained)
    if is_fleet:
        return "\n\n".join([*parts, _IN_THE_FILES]) + "\n"
    for row in rows:
        if row.context:
            drifted = summary_section(context_findings(row.context), row.context) if drift else ""
            page = f"{drifted}{body(replace(row.context, chained=None))}"
            parts.extend(
                fold(row.title, [page]) if len(rows) > 1 else [f"## {row.title}\n\n{page}"]
            )
    return "\n\n".join(parts) + "\n"


def group_body(
    rows: Sequence[TargetRow], chained: RoleChainPolicies, fingerprint: str, reserved: int = 0
) -> str:
    """The body of a grouped pull request, at most as long as one of a single target.

    The verdict on each target remains; if all pages are too long, the last are left to the job's
    summary.
    """
    verdicts = [
        f"- **{heading(row.context)}.** {reason(row.context)}" for row in rows if row.context
    ]
    head = [overview(rows), *verdicts, *chain_section(chained)]
    remaining = (
        LONGEST_BODY
        - reserved
        - sum(len(part) + 2 for part in head)
        - len(proposal_marker(fingerprint))
        - 200
    )
    pages: list[str] = []
    changed = [row.context for row in rows if row.context and row.context.proposal.changes]
    for number, context in enumerate(changed):
        share = remaining // (len(changed) - number)
        if share < _LEAST_PAGE:
            pages.append(
                f"*The pages of {plural(len(changed) - number, 'further target')} are in the job"
                " summary.*"
            )
            break
        pages.append(_page(context, share))
        remaining -= len(pages[-1]) + 2
    return "\n\n".join([*head, *pages, proposal_marker(fingerprint)]) + "\n"


def first_files_title(roles: Sequence[str]) -> str:
    """The title of the pull request that adds first policy files for further roles."""
    return f"First least-privilege policies for {plural(len(roles), 'further role')}"


def first_files_body(
    rows: Sequence[TargetRow],
    config: str,
    chained: RoleChainPolicies,
    fingerprint: str,
    reserved: int = 0,
) -> str:
    """The body of the pull request with first policy files and the config's new entries."""
    file_words = (
        f"**{plural(len(rows), 'role')}** that the targets of {code(config)} lead to had no"
        " committed policy. This drafts one for each from what it used, and adds it as a target."
        " It removes no permission: attach each next to the role's present policies, watch some"
        " runs, then detach the wide policy. Closing this without merging declines these roles for"
        " good."
    )
    return (
        f"{file_words}\n\n{group_body(rows, chained, fingerprint, reserved + len(file_words) + 2)}"
    )


def _page(context: ReportContext, longest: int) -> str:
    role = name(context.principal.rpartition("/")[2])
    head = f"<details><summary>{role}{context.in_account}</summary>\n\n"
    text = body(replace(context, chained=None), LONGEST_BODY - longest + len(head) + 20)
    return f"{head}{text.replace(proposal_marker(context.fingerprint), '').rstrip()}\n\n</details>"


def _counts(rows: Sequence[TargetRow]) -> str:
    """The effect on all targets together, from their ledgers."""
    totals = _Totals.of(rows)
    parts: list[str] = []
    if totals.removed:
        parts.append(f"{totals.before:,} -> {totals.before - totals.removed:,} actions")
    if totals.narrowed:
        parts.append(f"{totals.narrowed:,} narrowed")
    if totals.added and parts:
        parts.append(f"plus {totals.added:,} added")
    elif totals.added:
        parts.append(f"{totals.added:,} added")
    if totals.drafts:
        parts.append(plural(totals.drafts, "first draft"))
    if totals.by_hand:
        parts.append(f"{totals.by_hand:,} to add by hand")
    if totals.failed:
        parts.append(f"{totals.failed} failed")
    return ", ".join(parts) or "nothing to change"


class _Totals(Struct):
    """What becomes of the actions of several targets."""

    before: int = 0
    """Granted actions of the policies that change."""
    removed: int = 0
    narrowed: int = 0
    added: int = 0
    by_hand: int = 0
    drafts: int = 0
    """Targets without a committed policy."""
    failed: int = 0

    @classmethod
    def of(cls, rows: Sequence[TargetRow]) -> _Totals:
        """Counts over all targets."""
        totals = cls()
        for row in rows:
            if row.failure:
                totals.failed += 1
            if row.context:
                totals.count(row.context)
        return totals

    def count(self, context: ReportContext) -> None:
        """Counts a target."""
        facts = context.verdict.facts
        self.by_hand += facts.by_hand
        if not context.proposal.changes:
            return
        if facts.is_draft:
            self.drafts += 1
            return
        self.before += context.ledger.count(*GrantState)
        self.removed += context.ledger.removed
        self.narrowed += context.ledger.narrowed
        self.added += facts.added


_FIGURES = (
    "granted",
    "used",
    "granted-after",
    "verdict",
    "chance",
    "chance-word",
    "runs",
    "calls",
    "last-run",
)


def target_figures(context: ReportContext | None) -> dict[str, object]:
    """Returns the figures of a target as the index of a run has them; those of a failed target are
    null.
    """
    if context is None:
        return dict.fromkeys(_FIGURES)
    ledger, evidence = context.ledger, context.evidence
    chance = round(context.chance.estimate, 4) if context.chance.left_out else None
    last = max((run.last for run in evidence.runs), default=None)
    granted = ledger.count(*GrantState)
    added = {change.action for change in context.changes(ChangeKind.ADD)}
    return {
        "granted": granted,
        "used": ledger.count(GrantState.KEPT_USED),
        "granted-after": granted - ledger.removed + len(added),
        "verdict": short_verdict(context),
        "chance": chance,
        "chance-word": context.chance.word if chance is not None else None,
        "runs": len(evidence.runs),
        "calls": ledger.calls.total,
        "last-run": f"{last:%Y-%m-%dT%H:%M:%SZ}" if last else None,
    }
