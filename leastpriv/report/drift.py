"""Finds drift of the committed file from usage and from the role in the account, and reports it.

A finding is a sentence, a row of a table, and an entry of the tracking issue.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import accumulate

from msgspec import Struct

from leastpriv.evidence.live_role import LiveRole
from leastpriv.models import Basis, ChangeKind, Outcome, Usage, grouped
from leastpriv.permissions.fact_tables import table
from leastpriv.permissions.patterns import action_matches, resource_overlaps
from leastpriv.policy.containment import check_containment
from leastpriv.policy.document import Document
from leastpriv.policy.replay import replay_need
from leastpriv.proposal.verdict import added_by_hand
from leastpriv.report.context import ReportContext
from leastpriv.report.escape import code, name, plain
from leastpriv.report.guide import page_link
from leastpriv.report.phrases import codes, evidence_span, listed, plural, short_arn
from leastpriv.report.screen_models import (
    NOTHING,
    Alert,
    Column,
    FirstScreen,
    Table,
    TableRow,
    markdown,
)
from leastpriv.report.templates import render

_LONGEST_TABLE = 50_000
"""Characters; GitHub accepts 65,536 in an issue."""
_LONGEST_RULE = 16
"""Characters of a row besides its cells."""
_MOST_OF_ROW = 6
_MOST_IDS = 500
_MARK = "leastpriv:drift v=1"


class DriftKind(StrEnum):
    """Kinds of drift, most severe first."""

    ONLY_LIVE = "only-in-the-account"
    """The account allows it and the file does not."""
    ONLY_FILE = "only-in-the-file"
    """The file allows it and the account does not: it is not deployed."""
    DENY_LIVE = "denied-only-in-the-account"
    DENY_FILE = "denied-only-in-the-file"
    NOT_DEPLOYED = "not-in-the-account"
    """No policy of the role resembles the file."""
    NO_FILE = "no-file"
    """There is no policy file."""
    MISSING = "missing"
    """The role needs it, and the file does not allow it."""
    UNUSED = "unused"
    UNUSED_IN_WILDCARD = "unused-in-wildcard"
    UNUSED_RESOURCES = "unused-resources"


class AccessState(StrEnum):
    """What the file or the account says about an access."""

    YES = "allows"
    NO = "does not"
    PART = "in part"
    UNKNOWN = "not read"
    DENIES = "denies"
    NONE = "–"


class DriftFinding(Struct, frozen=True):
    """One finding."""

    kind: DriftKind
    action: str
    """The entry as written in the file, the catalogue action if it is missing, or the name of a
    file.
    """
    file: AccessState
    account: AccessState
    resources: tuple[str, ...] = ()
    line: int = 1
    """1-based line of the policy file; 1 if the finding has no line."""
    used: str = ""
    """Usage in words: `4× in 2 runs`, `refused 1×`, `no`; empty if usage does not matter."""
    removed_actions: tuple[str, ...] = ()
    """Unused actions of a wildcard."""

    @property
    def id(self) -> str:
        """Eight hexadecimal digits that remain equal while the finding exists, whatever its
        line.
        """
        parts = [self.kind.value, self.action, sorted(self.resources)]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:8]


def context_findings(context: ReportContext) -> tuple[DriftFinding, ...]:
    """Lists the differences of file, account and usage: those of the account, then missing and
    unused access.
    """
    findings = [*_account_findings(context), *_usage_findings(context)]
    order = list(DriftKind)
    return tuple(
        sorted(findings, key=lambda each: (order.index(each.kind), each.line, each.action))
    )


def _account_findings(context: ReportContext) -> Iterator[DriftFinding]:
    """Yields the differences between the policy file and the role in the account."""
    committed, drift = context.proposal.committed, context.drift
    if drift is None or committed is None:
        return
    policies = context.live.policies if context.live else ()
    counterpart = next(
        (policy.document for policy in policies if policy.name == drift.counterpart), None
    )
    if counterpart and drift.differs:
        yield from _one_sided_findings(committed, counterpart)
    for kind, pair, file, account in (
        (DriftKind.DENY_LIVE, drift.live_denies, AccessState.NONE, AccessState.DENIES),
        (DriftKind.DENY_FILE, drift.file_denies, AccessState.DENIES, AccessState.NONE),
    ):
        if pair:
            yield DriftFinding(
                kind=kind,
                action=pair[0],
                resources=(pair[1],),
                line=_line(committed, *pair, "Deny"),
                file=file,
                account=account,
            )
    for file_name in (
        *([committed.where] if drift.missing else []),
        *drift.files_without_counterpart,
    ):
        yield DriftFinding(
            kind=DriftKind.NOT_DEPLOYED,
            action=file_name,
            file=AccessState.YES,
            account=AccessState.NO,
        )


def _one_sided_findings(committed: Document, counterpart: Document) -> Iterator[DriftFinding]:
    """Reports access that only the account or only the file allows, one finding per entry."""
    excesses = check_containment([committed], [counterpart]).excesses
    only_live = grouped(
        [((excess.statement.index, excess.action), excess.resource) for excess in excesses]
    )
    for (_, action), resources in only_live.items():
        yield DriftFinding(
            kind=DriftKind.ONLY_LIVE,
            action=action,
            resources=tuple(resources),
            line=_line(committed, action, resources[0], "Allow"),
            file=AccessState.NO,
            account=AccessState.YES,
        )
    excesses = check_containment([counterpart], [committed]).excesses
    only_file = grouped(
        [((excess.statement.index, excess.action), excess.resource) for excess in excesses]
    )
    for (statement_index, action), resources in only_file.items():
        yield DriftFinding(
            kind=DriftKind.ONLY_FILE,
            action=action,
            resources=tuple(resources),
            line=committed.line_of_entry(statement_index, action),
            file=AccessState.YES,
            account=AccessState.NO,
        )


def _usage_findings(context: ReportContext) -> Iterator[DriftFinding]:
    """Yields the differences between the policy file and the use."""
    proposal, live, drift = context.proposal, context.live, context.drift
    committed, no = proposal.committed, AccessState.NO
    if committed is None:
        if proposal.changes:
            actions = tuple(change.action for change in proposal.changes)
            account = AccessState.UNKNOWN if live is None else AccessState.NONE
            yield DriftFinding(
                kind=DriftKind.NO_FILE,
                action="",
                file=no,
                account=account,
                used=plural(len({*actions}), "action"),
                removed_actions=actions,
            )
        return
    deployed = AccessState.UNKNOWN
    if drift and not drift.unknown:
        deployed = AccessState.PART if drift.differs else AccessState.YES
    for change in proposal.changes:
        action, resources = change.action, change.resources
        if change.kind is ChangeKind.ADD:
            yield DriftFinding(
                kind=DriftKind.MISSING,
                action=action,
                resources=resources,
                line=_line(committed, action, "*", "Allow"),
                file=no,
                account=_account_state(change.usages, live, context.principal),
                used=_use_text(change.usages),
            )
            continue
        if change.kind is ChangeKind.REMOVE:
            kind, use_words = DriftKind.UNUSED, "no"
        elif change.restricted_to:
            kind, use_words = DriftKind.UNUSED_RESOURCES, "on fewer resources"
        else:
            kind, use_words = (
                DriftKind.UNUSED_IN_WILDCARD,
                f"{len(change.used)} of {change.granted} actions",
            )
        yield DriftFinding(
            kind=kind,
            action=action,
            resources=resources,
            line=committed.line_of_entry(change.statement, action),
            file=AccessState.YES,
            account=deployed,
            used=use_words,
            removed_actions=change.removed_actions,
        )
    for held_change in added_by_hand(proposal):
        yield DriftFinding(
            kind=DriftKind.MISSING,
            action=held_change.action,
            resources=held_change.resources,
            line=_line(committed, held_change.action, "*", "Allow"),
            file=no,
            account=_account_state(held_change.usages, live, context.principal),
            used=_use_text(held_change.usages),
        )


def _use_text(usages: Sequence[Usage]) -> str:
    denied = sum(usage.count for usage in usages if usage.outcome is Outcome.DENIED)
    allowed = sum(usage.count for usage in usages if usage.outcome is Outcome.ALLOWED)
    implied = bool(usages) and all(usage.need.basis is Basis.INFERRED for usage in usages)
    parts = [f"denied {denied}×"] if denied else []
    if allowed:
        parts.append(f"{'implied' if implied else 'used'} {allowed}×")
    return ", ".join(parts) or "yes"


def _account_state(usages: Sequence[Usage], live: LiveRole | None, principal: str) -> AccessState:
    if live is None or not live.is_known:
        return AccessState.UNKNOWN
    documents = [policy.document for policy in live.policies]
    needs = ((usage.need, region) for usage in usages for region in usage.regions or ("",))
    effects = {replay_need(need, principal, region, documents) for need, region in needs}
    if effects <= {"allowed"}:
        return AccessState.YES
    return AccessState.NO if effects <= {"implicitDeny", "explicitDeny"} else AccessState.PART


def _line(committed: Document, action: str, resource: str, effect: str) -> int:
    """Line of the statement that the missing entry would belong to: one of the same effect and
    service.
    """
    service = action.partition(":")[0].lower()
    of_service = [
        statement
        for statement in committed.statements
        if statement.effect == effect
        and any(action_matches(entry.partition(":")[0], service) for entry in statement.actions)
    ]
    exact = [
        each
        for each in of_service
        if any(resource_overlaps(entry, resource) for entry in each.resources)
    ]
    return next((entry.line for entry in (*exact, *of_service)), 1)


def _kind_texts() -> Mapping[str, str]:
    return {row["kind"]: row["text"] for row in table("drift_kinds", __package__ or "")}


def finding_sentence(finding: DriftFinding, context: ReportContext) -> str:
    """One finding in plain text, for an annotation or a terminal."""
    on_resources = f" on {listed(finding.resources, 3)}" if finding.resources else ""
    use_words = (
        f" ({finding.used})" if finding.used and finding.kind is not DriftKind.UNUSED else ""
    )
    subject = finding.action or context.policy_file
    return plain(f"{subject}{on_resources}: {_kind_texts()[finding.kind]}{use_words}", 600)


class _Shown(Struct, frozen=True):
    """What several findings share in the table."""

    kind: DriftKind
    file: AccessState
    account: AccessState
    resources: tuple[str, ...]
    used: str

    @classmethod
    def of(cls, finding: DriftFinding) -> _Shown:
        return cls(
            kind=finding.kind,
            file=finding.file,
            account=finding.account,
            resources=finding.resources,
            used=finding.used,
        )


def drift_screen(
    found: Sequence[DriftFinding], context: ReportContext, run_url: str
) -> FirstScreen:
    """Returns the first screen of a check: what differs, and one row for each kind and resource.

    Args:
        found: The findings, the most severe first.
        context: The proposal that would end them.
        run_url: Page of the run that found them, or empty.
    """
    when = f" ([this run]({run_url}))" if run_url else ""
    span = evidence_span(context.evidence)
    missing = [finding for finding in found if finding.kind is DriftKind.NO_FILE]
    if missing:
        instruction = "There is no policy file"
        reason = (
            f"{code(context.policy_file)} does not exist, and the role {code(context.role)} used"
            f" {missing[0].used} in {span}{when}. Correct the input `policy-file` where the path is"
            " wrong; else mode `pull-request` writes the file."
        )
    else:
        instruction = f"Drift: {plural(len(found), 'finding')}"
        reason = (
            f"{code(context.policy_file)}, the role {code(context.role)} in the account, and what"
            f" it used in {span} do not agree{when}."
        )
    link = f"({page_link(context.guide, 'what drift is', 'drift')})"
    alert = Alert(kind="WARNING", instruction=instruction, reason=reason, links=link)
    return FirstScreen(alerts=(alert,), changes=findings_table(found, context))


_ALLOWS = {AccessState.YES: "yes", AccessState.NO: "no"}
"""What a cell says of the file or the account, where it allows the access or does not."""
_COLUMNS = (
    Column("Access", longest=35),
    Column("Finding", longest=25),
    Column("File / account"),
    Column("Used", longest=20),
)


def findings_table(found: Sequence[DriftFinding], context: ReportContext) -> Table:
    """Returns the findings, as many as fit a page; those on one resource share a row."""
    groups = grouped([(_Shown.of(finding), finding) for finding in found])
    rows = [
        _finding_row(finding_key, group_findings, context)
        for finding_key, group_findings in groups.items()
    ]
    sizes = accumulate(sum(map(len, row.cells)) + _LONGEST_RULE for row in rows)
    fitting = sum(size <= _LONGEST_TABLE for size in sizes)
    findings_left = sum(len(group_findings) for group_findings in list(groups.values())[fitting:])
    note = f"{findings_left:,} more findings are in `proposal.json`." if findings_left else ""
    return Table.of(_COLUMNS, rows[:fitting], note)


def _finding_row(
    shown: _Shown, findings: Sequence[DriftFinding], context: ReportContext
) -> TableRow:
    """Returns the row of findings that differ in the action alone: what, the kind, file / account,
    use.
    """
    names = dict.fromkeys(finding.action or context.policy_file for finding in findings)
    if shown.kind is DriftKind.NO_FILE:
        cells = (codes(names, _MOST_OF_ROW), _kind_texts()[shown.kind], NOTHING, shown.used)
        return TableRow(cells)
    line = min(finding.line for finding in findings)
    line_words = f"line {line}"
    if context.file_url:
        line_words = f"[{line_words}]({context.file_url}#L{line})"
    resources = codes(map(short_arn, shown.resources), 1)
    on_resources = f"on {resources}, " if resources else ""
    cells = (
        f"{codes(names, _MOST_OF_ROW)}<br>{on_resources}{line_words}",
        _kind_texts()[shown.kind],
        f"{_ALLOWS.get(shown.file, shown.file)} / {_ALLOWS.get(shown.account, shown.account)}",
        shown.used or NOTHING,
    )
    return TableRow(cells)


def summary_section(found: Sequence[DriftFinding], context: ReportContext) -> str:
    """The section at the top of a check's summary; empty without findings."""
    if not found:
        return ""
    screen = markdown(drift_screen(found, context, run_url=""))
    change = "### The change that ends it\n\n" if context.proposal.changes else ""
    return f"{screen}\n\n{change}"


def issue_title(context: ReportContext) -> str:
    """Title of the tracking issue."""
    return (
        f"Drift of the policy of {name(context.principal.rpartition('/')[2])}{context.in_account}"
    )


def issue_marker(context: ReportContext) -> str:
    """Begin of the hidden line that identifies the tracking issue of a role and policy file."""
    scope = hashlib.sha256(f"{context.principal} {context.policy_file}".encode()).hexdigest()[:16]
    return f"<!-- {_MARK} scope={scope} "


def finding_ids(found: Sequence[DriftFinding]) -> tuple[str, ...]:
    """Ids of the findings for the tracking issue; of very many the first."""
    return tuple(dict.fromkeys(finding.id for finding in found))[:_MOST_IDS]


def issue_body(found: Sequence[DriftFinding], context: ReportContext, run_url: str) -> str:
    """Body of the tracking issue; its last line holds the ids of the findings."""
    marker = f"{issue_marker(context)}findings={','.join(finding_ids(found))} -->"
    screen = markdown(drift_screen(found, context, run_url))
    return render("drift_issue", screen=screen, marker=marker)
