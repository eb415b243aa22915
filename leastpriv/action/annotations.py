"""Annotations of a step, and the comment of the mode review; warnings where the repository is public."""

from __future__ import annotations

from typing import TYPE_CHECKING

from leastpriv.config.settings import Mode
from leastpriv.errors import InputError, PullRequestError
from leastpriv.github_actions.context import PullRequestEvent, Runner
from leastpriv.github_actions.output_files import append_summary, write_outputs
from leastpriv.github_actions.workflow_commands import Console
from leastpriv.models import Basis
from leastpriv.pipeline.context import RunContext, RunResult, Target, TargetResult
from leastpriv.pipeline.summary import annotate_drift
from leastpriv.policy.source import Location, is_hcl, may_decide
from leastpriv.pull_request.models import PullRequestOperation
from leastpriv.report.context import ReportContext
from leastpriv.report.escape import code
from leastpriv.report.phrases import plural

if TYPE_CHECKING:
    from leastpriv.pipeline.review import ReviewResult
    from leastpriv.pull_request.github.repository import GitHubRepository

MAX_FINDINGS = 9
"""GitHub shows ten warnings of one step (actions/toolkit, docs/problem-matchers.md, read 2026-11-26); one is left for
other messages."""
_MAX_TARGETS, _MAX_TARGET_FINDINGS = 3, 3
"""Of several targets: how many have annotations, and of how many findings each."""


def warn_if_public(github: GitHubRepository | None, console: Console, written: str) -> None:
    """Warns where a repository is public; `written` names the text that its readers see, in trusted words."""
    if github and github.is_public():
        console.warning(
            f"This repository is public: everyone can read the ARNs, account IDs and names of resources in "
            f"{written}. If any of these is secret, move the policy to a private repository.",
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
            f"{plural(denied, 'call was', 'calls were')} denied that the proposal would allow.",
            file=context.policy_path,
            title="Denied",
        )


def review_step(run: RunContext, github: GitHubRepository | None, runner: Runner, console: Console) -> int:
    """Reviews the pull request that started the run; returns the step's exit code.

    Raises:
        InputError: there is no token or no pull request, or an input is wrong.
        PullRequestError: GitHub does not let the two versions be read.
    """
    if github is None:
        raise InputError("The input github-token is empty: leave it out, a review reads both versions on GitHub.")
    (target,) = run.targets
    pull = runner.pull_request_event()
    base = github.fork_point(pull.base, pull.head)
    files = {target.policy_path, *(Location.of(name).path for name in target.settings.attached_files)}
    for path in filter(is_hcl, sorted(files)):
        # An expression may refer to any file of the folder.
        folder = path.rpartition("/")[0]
        files |= {other for commit in (base, pull.head) for other in github.paths(commit, folder) if may_decide(other)}
    declares = target.settings.templates or target.settings.plans
    if not declares and all(github.read(base, path) == github.read(pull.head, path) for path in sorted(files)):
        return _unchanged(target, github, pull, runner, console)
    from leastpriv.pipeline.review import EditedVersions, report_review, review_outputs, run_review

    before, after = base, pull.head
    edited = EditedVersions(
        lambda path: github.read(before, path),
        lambda path: github.read(after, path),
        lambda folder: github.paths(before, folder),
        lambda folder: github.paths(after, folder),
    )
    with console.group("Review of the policy"):
        result = run_review(run, edited)
    write_outputs(runner.output_file, review_outputs(result))
    if runner.summary_file:
        append_summary(runner.summary_file, f"## {result.title}\n\n{result.whole}")
    commented = _comment(github, pull, result.body, (runner, console), anew=result.has_changes)
    _annotate_findings(result, console)
    return report_review(result, console) or (0 if commented else 1)


def _unchanged(
    target: Target, github: GitHubRepository, pull: PullRequestEvent, runner: Runner, console: Console
) -> int:
    """Edits an earlier comment where the pull request does not change the policy any more."""
    from leastpriv.report.review import review_marker

    path = target.policy_name
    console.log(f"The pull request #{pull.number} does not change {path}: nothing to review.")
    text = f"This pull request does not change {code(path)} any more.\n\n{review_marker(target.role, path)}\n"
    write_outputs(runner.output_file, {"has-changes": "false"})
    return 0 if _comment(github, pull, text, (runner, console), anew=False) else 1


def _comment(
    github: GitHubRepository, pull: PullRequestEvent, body: str, here: tuple[Runner, Console], *, anew: bool
) -> bool:
    """Writes or edits the comment; returns whether that worked. A fork's run cannot write: there the summary has it."""
    runner, console = here
    if runner.has_read_only_token():
        console.log("The token of this run is read-only: the review is in the job's summary alone.")
        return True
    text, _, mark = body.rstrip().rpartition("\n")
    try:
        if github.pull_request_head(pull.number) != pull.head:
            console.log("Meanwhile something else was pushed: the comment is left to the run of that.")
            return True
        url = github.upsert_comment(pull.number, mark, text, create=anew)
    except PullRequestError as error:
        console.error(f"The comment could not be written: {error}")
        return False
    if url:
        console.log(f"Comment: {url}")
        warn_if_public(github, console, "the review")
    return True


def _annotate_findings(result: ReviewResult, console: Console) -> None:
    """Warns once of new access without evidence."""
    if result.context.review.has_new_access_without_evidence:
        console.warning(
            "Something becomes allowed that no evidence asks for: see the job's summary.",
            file=result.context.policy_path,
            title="New access",
        )
