"""The mode check: a warning for each difference, a table, and the sentence that ends the run."""

from __future__ import annotations

from leastpriv.config.settings import Mode
from leastpriv.github_actions.workflow_commands import Console
from leastpriv.pipeline.results import DRIFT_EXIT_CODE, TargetResult
from leastpriv.report.context import ReportContext
from leastpriv.report.drift import context_findings, finding_sentence, summary_section


def annotate_drift(context: ReportContext, console: Console, limit: int | None = None) -> None:
    """Warns of each finding at its line; of more than `limit`, the last warning says how many (None: all)."""
    found = context_findings(context)
    shown = found if limit is None or len(found) <= limit else found[: limit - 1]
    for finding in shown:
        console.warning(finding_sentence(finding, context), file=context.policy_path, line=finding.line, title="Drift")
    if len(shown) < len(found):
        console.warning(f"{len(found) - len(shown):,} more findings: see the job's summary.", title="Drift")


def drift_section(context: ReportContext, mode: Mode) -> str:
    """Returns the table of findings in Markdown; empty in other modes, and without findings."""
    return summary_section(context_findings(context), context) if mode is Mode.CHECK else ""


def difference_sentence(context: ReportContext) -> str:
    """Returns how much policy and evidence differ, without a full stop."""
    found = context_findings(context)
    many = "1 finding" if len(found) == 1 else f"{len(found):,} findings"
    return f"{context.policy_file} is not what the evidence and the account say: {many}"


def report_drift(result: TargetResult, console: Console) -> None:
    """Reports that the run ends with the exit code of drift."""
    if result.content:
        sentence = difference_sentence(result.content.context)
        console.error(f"{sentence} ({result.content.title}): exit code {DRIFT_EXIT_CODE}.")
