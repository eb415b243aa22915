"""The annotations of a step: what a proposal changes, drift, and what a public repository shows."""

from __future__ import annotations

from leastpriv.config.settings import Mode
from leastpriv.github_actions.workflow_commands import Console
from leastpriv.models import Basis
from leastpriv.pipeline.context import RunResult, TargetResult
from leastpriv.pipeline.summary import annotate_drift
from leastpriv.pull_request.github.repository import GitHubRepository
from leastpriv.pull_request.models import PullRequestOperation
from leastpriv.report.context import ReportContext
from leastpriv.report.phrases import plural

MAX_FINDINGS = 9
"""GitHub shows ten warnings of one step (actions/toolkit, docs/problem-matchers.md, read 2026-11-26); one is left for
other messages."""
_MAX_TARGETS, _MAX_TARGET_FINDINGS = 3, 3
"""Of several targets: how many have annotations, and of how many findings each."""


def warn_if_public(github: GitHubRepository | None, console: Console, written: str) -> None:
    """Warns where a repository is public; `written` names the text that its readers see, in trusted words."""
    if github and github.is_public():
        console.warning(
            f"Everybody may read this repository, and with it the ARNs, account ids and names of resources in "
            f"{written}. If these are no secret, nothing is to be done; else keep the policy in a private repository.",
            title="Public repository",
        )


def warn_of_pull_requests(github: GitHubRepository | None, console: Console, result: RunResult) -> None:
    """Warns of a public repository where a pull request was opened or changed."""
    first = result.first_files.published if result.first_files else None
    published = [first, *(each.published for each in result.targets)]
    if any(
        each and each.url and each.operation in (PullRequestOperation.CREATED, PullRequestOperation.UPDATED)
        for each in published
    ):
        warn_if_public(github, console, "the pull request")


def annotate_targets(result: RunResult, console: Console) -> None:
    """Annotates the one target, or a few of several that change: GitHub shows ten annotations of a kind a step."""
    if result.single:
        _annotate(result.single, console, MAX_FINDINGS)
        return
    changing = [each for each in result.targets if each.has_changes or (each.context and not _calls(each.context))]
    for each in changing[:_MAX_TARGETS]:
        _annotate(each, console, _MAX_TARGET_FINDINGS)


def _annotate(result: TargetResult, console: Console, max_findings: int) -> None:
    context = result.context
    if context is None:
        return
    if not _calls(context):
        text = context.missing_calls or f"No call of {context.principal} was found."
        if not result.lacks_calls:
            console.warning(text, title="No evidence")
    if result.target.settings.mode is Mode.CHECK:
        annotate_drift(context, console, max_findings)
    else:
        _annotate_changes(context, console)


def _calls(context: ReportContext) -> int:
    return context.evidence.counts.calls


def _annotate_changes(context: ReportContext, console: Console) -> None:
    """Writes at most one notice for removals and one warning for denied calls."""
    unused = [change for change in context.proposal.changes if change.line]
    if unused:
        entries = plural(len(unused), "entry grants", "entries grant")
        message = f"{entries} more than {context.role} used."
        console.notice(message, file=context.policy_path, line=unused[0].line, title="Not used")
    usages = [usage for change in context.proposal.changes for usage in change.usages]
    denied = sum(usage.count for usage in usages if usage.denial and usage.need.basis is Basis.DENIED)
    if denied:
        console.warning(
            f"{plural(denied, 'call was', 'calls were')} refused that the proposal would allow.",
            file=context.policy_path,
            title="Refused",
        )
