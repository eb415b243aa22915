"""Keeps drift in a tracking issue, in place of a failing step."""

from __future__ import annotations

from leastpriv.action.annotations import warn_if_public
from leastpriv.errors import PullRequestError
from leastpriv.github_actions.workflow_commands import Console
from leastpriv.pipeline.check import difference_sentence
from leastpriv.pipeline.results import TargetResult
from leastpriv.pull_request.github.repository import GitHubRepository
from leastpriv.pull_request.tracking_issue import IssueStep
from leastpriv.report.drift import context_findings, finding_ids, issue_body, issue_marker, issue_title


def track_drift(result: TargetResult, github: GitHubRepository, console: Console, run_url: str) -> int:
    """Opens, edits or closes the tracking issue of a target; returns the exit code of the target."""
    context = result.context
    if context is None:
        console.error(f"{result.target.role}: {result.failure}")
        return result.exit_code
    found = context_findings(context)
    try:
        step, url = github.track(
            issue_marker(context), finding_ids(found), issue_title(context), issue_body(found, context, run_url)
        )
    except PullRequestError as error:
        difference = f"{difference_sentence(context)}, and its issue could not be kept: " if found else ""
        console.error(f"{difference}{error}")
        return 1
    words = "left as it is" if step is IssueStep.NOTHING else step.value
    if step in (IssueStep.OPEN, IssueStep.EDIT, IssueStep.REOPEN):
        warn_if_public(github, console, "the tracking issue")
    console.log(f"Tracking issue {words}: {url}" if url else "Nothing differs, and there is no tracking issue.")
    return 0
