"""What a run reports at its end: published branches, failures, drift, notes, and its summary in Markdown."""

from __future__ import annotations

from collections.abc import Iterator

from leastpriv.config.settings import Mode, Settings
from leastpriv.github_actions.workflow_commands import Console
from leastpriv.pipeline.context import DRIFT_EXIT_CODE, RunResult, TargetResult
from leastpriv.pipeline.publish import target_row
from leastpriv.report.context import ReportContext
from leastpriv.report.drift import context_findings, finding_sentence, summary_section
from leastpriv.report.escalation import path_sentence
from leastpriv.report.escape import prose
from leastpriv.report.phrases import codes
from leastpriv.report.targets import summary

_MOST_PATHS = 3


def report_published(result: RunResult, console: Console) -> None:
    """Logs a line about the branch and the pull request of each target."""
    for each in _without_repeated_failures(result):
        published = each.published
        if published:
            at = f" at {published.head_sha[:12]}" if published.head_sha else ""
            pull = f", pull request {published.url}" if published.url else ""
            reason = f": {published.reason}" if published.reason else ""
            console.log(f"Branch {published.branch} {published.operation}{at}{pull}{reason}")


def report_failures(result: RunResult, console: Console) -> None:
    """Reports why the exit code of a target is not 0; the failure of a shared pull request once."""
    for each in _without_repeated_failures(result):
        if each.content is None:
            console.error(f"{each.target.role}: {each.failure}")
        elif each.published and each.published.failure:
            console.error(f"{each.published.failure} {each.published.manual_url}".rstrip())
        elif each.lacks_calls:
            console.error(each.content.context.missing_calls)
        elif each.exit_code == DRIFT_EXIT_CODE:
            report_drift(each, console)


def run_notes(result: RunResult) -> list[str]:
    """Returns sentences about the whole run, and about a usage history that was not saved."""
    errors = {each.context.missing_calls for each in result.targets if each.context and each.lacks_calls}
    notes = [note for note in result.notes if note not in errors]
    return [*notes, *(each.unsaved for each in result.targets if each.unsaved)]


def run_summary(result: RunResult, settings: Settings) -> str:
    """Returns the summary of the run in Markdown, with its pull requests."""
    if result.single:
        return _target_summary(result.single)
    rows = [target_row(each) for each in result.targets]
    text = summary(rows, result.chain, result.notes, drift=settings.mode is Mode.CHECK)
    found = result.first_files
    if not (found and found.files):
        return text
    first = found.published
    where = f" in pull request [#{first.number}]({first.url})" if first and first.url else ""
    return f"{text}\n## First files{where}\n\n{codes(sorted(found.files), 60)}\n"


def _target_summary(result: TargetResult) -> str:
    published, content, where = result.published, result.content, ""
    if content is None:
        return ""
    if published and published.failure:
        by_hand = f" [Open it yourself]({published.manual_url})." if published.manual_url else ""
        where = f"> **Not published.** {prose(published.failure)}{by_hand}\n\n"
    elif published:
        pull = f"Pull request [#{published.number}]({published.url})" if published.url else "Pull request"
        why = f" {prose(published.reason)}" if published.reason else ""
        where = f"{pull}: {published.operation}.{why}\n\n"
    if content.context.missing_calls:
        where += f"> **No call was checked.** {prose(content.context.missing_calls)}\n\n"
    section = drift_section(content.context, result.target.settings.mode)
    return f"## {content.title}\n\n{where}{section}{content.body}"


def _without_repeated_failures(result: RunResult) -> Iterator[TargetResult]:
    """Yields the targets; of those whose shared pull request failed, the first."""
    failed: set[str] = set()
    for each in result.targets:
        if each.content and each.published and each.published.failure:
            if each.published.branch in failed:
                continue
            failed.add(each.published.branch)
        yield each


def annotate_drift(context: ReportContext, console: Console, limit: int | None = None) -> None:
    """Warns of each finding at its line; of more than `limit`, the last warning says how many (None: all)."""
    found = context_findings(context)
    shown = found if limit is None or len(found) <= limit else found[: limit - 1]
    for finding in shown:
        console.warning(finding_sentence(finding, context), file=context.policy_path, line=finding.line, title="Drift")
    if len(shown) < len(found):
        console.warning(f"{len(found) - len(shown):,} more findings: see the job summary.", title="Drift")


def drift_section(context: ReportContext, mode: Mode) -> str:
    """Returns the table of findings in Markdown; empty in other modes, and without findings."""
    return summary_section(context_findings(context), context) if mode is Mode.CHECK else ""


def difference_sentence(context: ReportContext) -> str:
    """Returns how much policy and evidence differ, without a full stop."""
    found = context_findings(context)
    many = "1 finding" if len(found) == 1 else f"{len(found):,} findings"
    return f"{context.policy_file} does not match the evidence and the account: {many}"


def report_drift(result: TargetResult, console: Console) -> None:
    """Reports why the run ends with the exit code of drift."""
    if result.content is None:
        return
    if context_findings(result.content.context):
        sentence = difference_sentence(result.content.context)
        console.error(f"{sentence} ({result.content.title}): exit code {DRIFT_EXIT_CODE}.")
    report_escalation(result, console)


def report_escalation(result: TargetResult, console: Console) -> None:
    """Reports the most dangerous paths of a policy that leads to administrator, where they fail the run."""
    if result.content is None or not result.leads_to_administrator:
        return
    context = result.content.context
    paths = [path for path in context.escalation.before if path.leads_to_administrator]
    named = "; ".join(path_sentence(path) for path in paths[:_MOST_PATHS])
    more = f"; and {len(paths) - _MOST_PATHS:,} more" if len(paths) > _MOST_PATHS else ""
    console.error(
        f"{context.policy_file} lets an attacker become administrator by {named}{more}: exit code {DRIFT_EXIT_CODE}."
    )
