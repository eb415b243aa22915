"""What a run reports at its end: published branches, failures, notes, and its summary in Markdown."""

from __future__ import annotations

from collections.abc import Iterator

from leastpriv.config.settings import Mode, Settings
from leastpriv.github_actions.workflow_commands import Console
from leastpriv.pipeline.check import drift_section, report_drift
from leastpriv.pipeline.publish import target_row
from leastpriv.pipeline.results import DRIFT_EXIT_CODE, RunResult, TargetResult
from leastpriv.report.escape import prose
from leastpriv.report.phrases import codes
from leastpriv.report.targets import summary


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
            console.error(f"{each.published.failure} {each.published.link}".rstrip())
        elif each.exit_code == DRIFT_EXIT_CODE:
            report_drift(each, console)


def run_notes(result: RunResult) -> list[str]:
    """Returns sentences about the whole run, and about a usage history that was not saved."""
    return [*result.notes, *(each.unsaved for each in result.targets if each.unsaved)]


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
        by_hand = f" [Open it by hand]({published.link})." if published.link else ""
        where = f"> **Not published.** {prose(published.failure)}{by_hand}\n\n"
    elif published:
        pull = f"Pull request [#{published.number}]({published.url})" if published.url else "Pull request"
        why = f" {prose(published.reason)}" if published.reason else ""
        where = f"{pull}: {published.operation}.{why}\n\n"
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
