"""Reports drift: a sentence per finding, a table, and the tracking issue."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from leastpriv.proposal.drift import DriftFinding, DriftKind, drift_findings
from leastpriv.report import escape
from leastpriv.report.context import ReportContext
from leastpriv.report.escape import code
from leastpriv.report.phrases import codes, evidence_span, plural

_LONGEST_TABLE = 50_000
"""Characters; GitHub accepts 65,536 in an issue."""
_MOST_IDS = 500
_MARK = "leastpriv:drift v=1"
_WORDS = {
    DriftKind.ONLY_LIVE: "only the account allows it",
    DriftKind.ONLY_FILE: "only the file allows it: deploy it, or remove it",
    DriftKind.DENY_LIVE: "only the account denies it",
    DriftKind.DENY_FILE: "only the file denies it: deploy it",
    DriftKind.NOT_DEPLOYED: "no policy attached to the role is like it",
    DriftKind.NO_FILE: "there is no policy file",
    DriftKind.MISSING: "needed, and not in the file",
    DriftKind.UNUSED: "not used",
    DriftKind.UNUSED_IN_WILDCARD: "grants more than was used",
    DriftKind.UNUSED_RESOURCES: "granted on more resources than were used",
}


def context_findings(context: ReportContext) -> tuple[DriftFinding, ...]:
    """Differences between the file, the account and usage."""
    return drift_findings(context.proposal, context.live, context.drift, context.principal)


def finding_sentence(finding: DriftFinding, context: ReportContext) -> str:
    """One finding in plain text, for an annotation or a terminal."""
    on = f" on {', '.join(finding.resources[:3])}" if finding.resources else ""
    more = f" and {len(finding.resources) - 3} more" if len(finding.resources) > 3 else ""
    used = f" ({finding.used})" if finding.used and finding.kind is not DriftKind.UNUSED else ""
    name = finding.action or context.policy_file
    return escape.plain(f"{name}{on}{more}: {_WORDS[finding.kind]}{used}", 600)


def findings_table(found: Sequence[DriftFinding], context: ReportContext) -> str:
    """Findings in Markdown, as many as fit a page, with the state of file, account and usage."""
    lines = ["| Line | Finding | Action | On | File | Account | Used |", "| ---: | --- | --- | --- | --- | --- | --- |"]
    remaining = _LONGEST_TABLE
    for finding in found:
        action = code(finding.action or context.policy_file)
        on = codes(finding.resources, 3) or "–"
        cells = (
            str(finding.line),
            _WORDS[finding.kind],
            action,
            on,
            finding.file,
            finding.account,
            finding.used or "–",
        )
        row = f"| {' | '.join(cells)} |"
        remaining -= len(row) + 1
        if remaining < 0:
            break
        lines.append(row)
    left = len(found) - (len(lines) - 2)
    return "\n".join([*lines, *(["", f"and {left:,} more: see `proposal.json`."] if left else [])])


def summary_section(found: Sequence[DriftFinding], context: ReportContext) -> str:
    """The section at the top of a check's summary; empty without findings."""
    return f"### Drift\n\n{findings_table(found, context)}\n\n" if found else ""


def issue_title(context: ReportContext) -> str:
    """Title of the tracking issue."""
    return f"Drift of the policy of {escape.name(context.principal.rpartition('/')[2])}{context.in_account}"


def issue_marker(context: ReportContext) -> str:
    """Begin of the hidden line that identifies the tracking issue of a role and policy file."""
    scope = hashlib.sha256(f"{context.principal} {context.policy_file}".encode()).hexdigest()[:16]
    return f"<!-- {_MARK} scope={scope} "


def finding_ids(found: Sequence[DriftFinding]) -> tuple[str, ...]:
    """Ids of the findings for the tracking issue; of very many the first."""
    return tuple(dict.fromkeys(finding.id for finding in found))[:_MOST_IDS]


def issue_body(found: Sequence[DriftFinding], context: ReportContext, run_url: str) -> str:
    """Body of the tracking issue; its last line holds the ids of the findings."""
    when = f" in [this run]({run_url})" if run_url else ""
    evidence = context.evidence
    verdict = (
        f"{plural(len(found), 'finding')}{when}: {code(context.policy_file)}, the role {code(context.role)} in the "
        f"account, and what it used in {evidence_span(evidence)} do "
        "not agree."
    )
    way_out = (
        "Mode `pull-request` proposes the change of the file. This issue is updated when the findings change, and "
        "closed when none is left. Close it as *not planned* to accept these findings: only others reopen it."
    )
    marker = f"{issue_marker(context)}findings={','.join(finding_ids(found))} -->"
    return "\n\n".join([verdict, findings_table(found, context), way_out, marker])
