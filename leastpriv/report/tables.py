"""Results of the commands `permissions`, `denials`, `evaluate` and `contains`, as JSON lines and as
tables.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import chain
from typing import TYPE_CHECKING

from msgspec import Struct

from leastpriv.evidence.iam_paths import by_pattern, without_contexts
from leastpriv.evidence.models import Evidence
from leastpriv.evidence.used_names import names_of
from leastpriv.models import Basis, Gap, Outcome, Usage, condition_block
from leastpriv.permissions import catalog
from leastpriv.permissions.patterns import escape_observed
from leastpriv.report.escape import json_text, plain

if TYPE_CHECKING:
    from leastpriv.denials.job_logs import LoggedDenial
    from leastpriv.policy.access import AccessDecision, Policies
    from leastpriv.policy.containment import Excess
    from leastpriv.policy.document import Document, Statement
_TO_SECONDS = len("2026-11-01T00:00:00")
Row = Mapping[str, object]


def permission_row(usage: Usage) -> dict[str, object]:
    """A row of `leastpriv permissions` for a need that an identity-based policy can grant."""
    need = usage.need
    return {
        "action": need.permission.action,
        "resource": need.permission.resource,
        "conditions": condition_block(need.permission.conditions),
        "basis": need.basis,
        **_seen(usage),
        **({"forwarded_by": list(usage.forwarded_by)} if usage.forwarded_by else {}),
        **({} if need.verified else {"verified": False}),
    }


def _denied_row(usage: Usage) -> dict[str, object]:
    """A row for a denial that no identity-based policy can fix."""
    permission, denial = usage.need.permission, usage.denial
    by = denial.denied_by if denial else "unknown"
    return {
        "denied": permission.action,
        "denied_by": by,
        "resource": permission.resource,
        **_seen(usage),
    }


def _seen(usage: Usage) -> dict[str, object]:
    return {
        "count": usage.count,
        "first_seen": time_value(usage.first_seen),
        "last_seen": time_value(usage.last_seen),
        "runs": list(usage.runs),
        "events": list(usage.events),
    }


def gap_row(gap: Gap) -> dict[str, object]:
    """A row of `leastpriv permissions` for a gap in the evidence."""
    scope = gap.scope
    parts = ("services", "actions", "regions", "events", "outside")
    values_by_part: dict[str, tuple[str, ...]] = {part: getattr(scope, part) for part in parts}
    shown_values: dict[str, object] = {
        part: list(values) for part, values in values_by_part.items() if values
    }
    if scope.data_events:
        shown_values["data_events"] = True
    return {
        "gap": gap.kind,
        "scope": shown_values or "all",
        "detail": gap.detail,
        "count": gap.count,
    }


def time_value(time: datetime | None) -> str | None:
    """A time as CloudTrail writes it."""
    return f"{time.isoformat()[:_TO_SECONDS]}Z" if time else None


def permission_rows(
    found: Mapping[str, Evidence], patterns: bool, *, name_principals: bool
) -> list[dict[str, object]]:
    """All rows: permissions, denials that no identity-based policy can fix, gaps.

    With several principals each row names its principal; a gap belongs to all and is listed once.
    """
    rows: list[dict[str, object]] = []
    for principal, evidence in found.items():
        principal_value: dict[str, object] = {"principal": principal} if name_principals else {}
        usages = without_contexts(evidence.usages)
        if patterns:
            usages = by_pattern(evidence.usages, names_of(evidence.usages, evidence.runs))
        rows.extend({**principal_value, **row} for row in _rows(usages))
        rows.extend({**principal_value, **gap_row(gap)} for gap in evidence.gaps)
    return rows


def _rows(usages: Sequence[Usage]) -> Iterator[dict[str, object]]:
    """Yields a row for each usage: a permission, a denial that no grant mends, or a call of unknown
    outcome.
    """
    for usage in usages:
        if usage.outcome is Outcome.ALLOWED:
            yield permission_row(usage)
        elif usage.outcome is Outcome.DENIED and usage.need.basis is Basis.DENIED:
            mendable = usage.denial is not None and usage.denial.mendable
            yield permission_row(usage) if mendable else _denied_row(usage)
        elif usage.outcome is Outcome.UNKNOWN:
            permission, doubt_value = (
                usage.need.permission,
                {"why": usage.doubt} if usage.doubt else {},
            )
            yield {
                "unknown": permission.action,
                **doubt_value,
                "resource": permission.resource,
                **_seen(usage),
            }


def json_lines(rows: Iterable[Row]) -> str:
    """One JSON object per line, in ASCII; escapes `##[`, which begins a workflow command anywhere
    in a line.
    """
    return "".join(json_text(row) + "\n" for row in rows)


class TextTable(Struct, frozen=True):
    """Columns for people; no cell contains a line break, or a control sequence of a terminal or
    runner.
    """

    columns: tuple[str, ...]
    cells: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    """Sentences below it."""

    def __str__(self) -> str:
        widths = [max(map(len, column)) for column in zip(self.columns, *self.cells, strict=True)]
        lines = [
            "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
            for line in (self.columns, *self.cells)
        ]
        return "\n".join([*lines, *self.notes]) + "\n"


def permission_table(rows: Sequence[Row]) -> TextTable:
    """Permission rows in columns; denials and gaps as sentences."""
    forms = {
        "denied": "denied by {denied_by}: {denied} on {resource} ({count}×)",
        "unknown": "outcome unknown: {unknown} on {resource} ({count}×)",
        "gap": "gap {gap}: {detail} ({count}×)",
    }
    notes = [
        form.format_map(
            {**row, **{name: _cell(row, name) for name in (kind, "resource", "detail")}}
        )
        for kind, form in forms.items()
        for row in rows
        if kind in row
    ]
    principal_column = ("principal",) if any("principal" in row for row in rows) else ()
    columns = (*principal_column, "action", "resource", "basis", "count", "runs", "last_seen")
    cells = [
        tuple(
            _cell(row, column)
            + (" (unverified)" if column == "action" and row.get("verified") is False else "")
            for column in columns
        )
        for row in rows
        if "action" in row
    ]
    return TextTable(columns, tuple(cells), tuple(notes))


def denial_table(rows: Sequence[Row]) -> TextTable:
    """Rows of `leastpriv denials`."""
    has_ids = any(row.get("authorization_id") for row in rows)
    columns = (
        "action",
        "resource",
        "denied_by",
        "mendable",
        *(("authorization_id",) if has_ids else ()),
    )
    cells = (
        (*(_cell(row, column) for column in columns), plain(f"{row['file']}:{row['line']}", 120))
        for row in rows
    )
    return TextTable((*columns, "where"), tuple(cells))


def decision_table(rows: Sequence[Row]) -> TextTable:
    """Rows of `leastpriv evaluate`, numbered like the requests."""
    names_policy = any(row.get("policy") for row in rows)
    columns = ("decision", "denied_by", *(("policy",) if names_policy else ()))
    cells = (
        (str(number), *(_cell(row, column) for column in columns), _statement(row))
        for number, row in enumerate(rows, start=1)
    )
    return TextTable(("request", *columns, "statement"), tuple(cells))


def excess_table(rows: Sequence[Row]) -> TextTable:
    """Rows of `leastpriv contains`."""
    cells = (
        (_cell(row, "action"), _cell(row, "resource"), _only_if(row), _statement(row))
        for row in rows
    )
    return TextTable(("action", "resource", "where", "statement"), tuple(cells))


def _cell(row: Row, column: str) -> str:
    value = row.get(column)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if column == "last_seen":
        # The day: a terminal's width goes to actions and resources.
        value = str(value)[: len("2026-11-05")]
    if isinstance(value, list):
        return str(len(value))
    return "–" if value is None else plain(str(value), 120)


def _statement(row: Row) -> str:
    statement = row.get("statement")
    if not isinstance(statement, Mapping):
        return "–"
    return plain(f"{statement['file']}:{statement['line']} {statement['sid'] or ''}".rstrip(), 120)


def _only_if(row: Row) -> str:
    """The context of a request, or the reason of an open decision."""
    context = row.get("context")
    if isinstance(context, Mapping):
        return (
            plain(
                ", ".join(f"{key} {' '.join(map(str, values))}" for key, values in context.items()),
                120,
            )
            or "–"
        )
    return _cell(row, "cannot_tell")


def decision_row(decision: AccessDecision) -> dict[str, object]:
    """A decision, the deciding policy and statement (null if none) and, of a denial, the policy
    type that denied.
    """
    row: dict[str, object] = {"decision": decision.effect, "statement": None}
    if decision.document and decision.statement:
        row["statement"] = statement_place(decision.document.where, decision.statement)
    if decision.effect in {"implicitDeny", "explicitDeny"}:
        row["denied_by"] = decision.layer
    if decision.policy:
        row["policy"] = decision.policy
    if decision.level:
        row["level"] = decision.level
    if decision.files and decision.layer != "identity":
        row["files"] = list(decision.files)
    if decision.not_given:
        row["not_given"] = decision.not_given
    return row


def access_notes(policies: Policies, decisions: Sequence[AccessDecision]) -> Iterator[str]:
    """Yields what a reader must know about levels of the organization that allow nothing."""
    denying = {
        decision.level
        for decision in decisions
        if decision.effect == "implicitDeny" and decision.level
    }
    organization = policies.organization
    for level in dict.fromkeys((*organization.levels, *chain(*organization.accounts.values()))):
        statements = [statement for scp in level.scps for statement in scp.document.statements]
        if level.name in denying and not any(
            statement.effect == "Allow" for statement in statements
        ):
            yield (
                f"No SCP of the level {plain(level.name)} has an Allow: if AWS's FullAWSAccess is"
                " attached there, save it there too."
            )


def excess_row(excess: Excess, new: Sequence[Document]) -> dict[str, object]:
    """A newly allowed request, as `leastpriv evaluate` takes it, and the statement that allows it.

    If the comparison is open: the statement's entries and the reason.
    """
    statement = statement_place(new[excess.document].where, excess.statement)
    witness = excess.witness
    if witness is None:
        entries = {"action": excess.action, "resource": excess.resource}
        return {**entries, "cannot_tell": excess.reason, "statement": statement}
    return {
        "action": witness.action,
        "resource": escape_observed(witness.resource),
        "context": {key: list(values) for key, values in witness.context.items()},
        "context_complete": True,
        "statement": statement,
    }


def excess_sentence(excess: Excess, new: Sequence[Document]) -> str:
    """The new access, for a log line."""
    document = new[excess.document]
    line_words = f"{plain(document.where)}, line {excess.statement.line},"
    witness = excess.witness
    if witness is None:
        return (
            f"{line_words} may allow more: {plain(excess.action)} on {plain(excess.resource)},"
            " since"
            f" {excess.reason}."
        )
    condition_words = "".join(
        f", {plain(key)} {plain(', '.join(values))}" for key, values in witness.context.items()
    )
    today = "" if catalog.action(witness.action) else "; AWS has no action of this name today"
    return (
        f"{line_words} allows what the old policy does not: {plain(witness.action)} on"
        f" {plain(witness.resource)}{condition_words}{today}."
    )


def statement_place(file: str, statement: Statement) -> dict[str, object]:
    """A statement by its file, index, Sid and line."""
    return {
        "file": file,
        "index": statement.index,
        "sid": statement.sid or None,
        "line": statement.line,
    }


def logged_denial_row(found: LoggedDenial) -> dict[str, object]:
    """One denial; fields that the message does not name are null. `why` says why no grant helps,
    else null.
    """
    denial = found.denial
    return {
        "file": found.file,
        "line": found.line,
        "action": denial.actions[0] if denial.actions else None,
        "actions": list(denial.actions),
        "resource": denial.resource or None,
        "principal": denial.principal or None,
        "denied_by": denial.denied_by,
        "explicit": denial.explicit,
        "mendable": denial.mendable,
        "inferred": denial.inferred,
        "why": denial.why or None,
        "authorization_id": denial.authorization_id or None,
        "message": denial.message,
    }


def denial_summary(found: Sequence[LoggedDenial], limit: str) -> str:
    """The number of denials, for a log line.

    Args:
        found: The denials.
        limit: What ended the reading before the end of the logs; empty if they were read.
    """
    limit_words = f" There may be more (limit: {limit})." if limit else ""
    if not found:
        return f"No denial was found.{limit_words}"
    mendable = sum(logged_denial.denial.mendable for logged_denial in found)
    noun = "denial" if len(found) == 1 else "denials"
    return f"{len(found):,} distinct {noun}; a grant could fix {mendable:,}.{limit_words}"
