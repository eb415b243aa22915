"""The mode check as a step of a job: an annotation a finding, a table, and exit code 3 or a tracking issue.

What everybody can read: said in a public repository, where something new about an account is put there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from leastpriv.config.settings import Mode, Settings
from leastpriv.errors import PullRequestError
from leastpriv.github_actions.workflow_commands import Console
from leastpriv.pipeline.propose import Result
from leastpriv.proposal.drift import DriftFinding
from leastpriv.pull_request.github.repository import GitHubPlace
from leastpriv.pull_request.models import Operation, Published
from leastpriv.pull_request.tracking_issue import IssueStep
from leastpriv.report.context import ReportContext
from leastpriv.report.drift import (
    finding_ids,
    context_findings,
    issue_body,
    issue_marker,
    issue_title,
    finding_sentence,
    summary_section,
)


def warn_if_public(github: GitHubPlace | None, console: Console, where: str) -> None:
    """Warns where a repository is public; `where` is what was written, in words of ours."""
    if github and github.is_public():
        console.warning(
            f"Everybody may read this repository, and with it the ARNs, account ids and names of resources in {where}. "
            "If these are no secret, nothing is to be done; else keep the policy in a private repository.",
            title="Public repository",
        )


def warn_of_pulls(github: GitHubPlace | None, console: Console, published: Iterable[Published | None]) -> None:
    """As `warn_if_public`, where a pull request was made or changed; one that stays as it is tells nothing new."""
    if any(each and each.url and each.operation in (Operation.CREATED, Operation.UPDATED) for each in published):
        warn_if_public(github, console, "the pull request")


DRIFT = 3
"""Exit code of the mode `check` when the policy differs from what is needed, or from the account."""
MOST_ANNOTATIONS = 9
"""GitHub shows ten warnings of one step (actions/toolkit, docs/problem-matchers.md, read 2026-11-26); one is left for
what else there is to say."""


def annotate(result: Result, console: Console, most: int | None = MOST_ANNOTATIONS) -> None:
    """One warning a finding, at its line; where there are more than `most`, the last one says how many (None: all)."""
    subject, found = result.subject, context_findings(result.subject)
    shown = found if most is None or len(found) <= most else found[: most - 1]
    for finding in shown:
        console.warning(finding_sentence(finding, subject), file=subject.policy_path, line=finding.line, title="Drift")
    if len(shown) < len(found):
        console.warning(f"{len(found) - len(shown):,} more findings: see the job's summary.", title="Drift")


def drift_section(result: Result, settings: Settings) -> str:
    """The table of findings in the mode `check`, in Markdown; empty in other modes, and where nothing differs."""
    return summary_section(context_findings(result.subject), result.subject) if settings.mode is Mode.CHECK else ""


def conclude(result: Result, console: Console) -> int:
    """0, or 3 where anything differs; says so."""
    found = context_findings(result.subject)
    if not found:
        return 0
    console.error(f"{_differs(found, result.subject)} ({result.title}): exit code {DRIFT}.")
    return DRIFT


def track(result: Result, github: GitHubPlace, console: Console, run_url: str) -> int:
    """Keeps the tracking issue instead of failing; 1 where that failed."""
    subject = result.subject
    found = context_findings(subject)
    try:
        step, url = github.track(
            issue_marker(subject), finding_ids(found), issue_title(subject), issue_body(found, subject, run_url)
        )
    except PullRequestError as error:
        console.error(f"{_differs(found, subject)}, and its issue could not be kept: {error}" if found else str(error))
        return 1
    words = "left as it is" if step is IssueStep.NOTHING else step.value
    if step in (IssueStep.OPEN, IssueStep.EDIT, IssueStep.REOPEN):
        warn_if_public(github, console, "the tracking issue")
    console.log(f"Tracking issue {words}: {url}" if url else "Nothing differs, and there is no tracking issue.")
    return 0


def _differs(found: Sequence[DriftFinding], subject: ReportContext) -> str:
    many = "1 finding" if len(found) == 1 else f"{len(found):,} findings"
    return f"{subject.policy_file} is not what the evidence and the account say: {many}"
