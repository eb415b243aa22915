"""The mode review as a step: one comment on the pull request, the summary, an exit code; never a commit."""

from __future__ import annotations

from leastpriv.action.annotations import warn_if_public
from leastpriv.errors import InputError, PullRequestError
from leastpriv.github_actions.context import PullRequestEvent, Runner
from leastpriv.github_actions.output_files import append_summary, write_outputs
from leastpriv.github_actions.workflow_commands import Console
from leastpriv.pipeline.context import RunContext, Target
from leastpriv.pipeline.review import EditedVersions, ReviewResult, report_review, review_outputs, run_review
from leastpriv.policy.source import Location
from leastpriv.pull_request.github.repository import GitHubRepository
from leastpriv.report.escape import code
from leastpriv.report.review import review_marker


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
    if all(github.read(base, path) == github.read(pull.head, path) for path in sorted(files)):
        return _unchanged(target, github, pull, runner, console)
    edited = EditedVersions(lambda path: github.read(base, path), lambda path: github.read(pull.head, path))
    with console.group("Review of the policy"):
        result = run_review(run, edited)
    write_outputs(runner.output_file, review_outputs(result))
    if runner.summary_file:
        append_summary(runner.summary_file, f"## {result.title}\n\n{result.whole}")
    commented = _comment(github, pull, result.body, (runner, console), anew=result.has_changes)
    _annotate(result, console)
    return report_review(result, console) or (0 if commented else 1)


def _unchanged(
    target: Target, github: GitHubRepository, pull: PullRequestEvent, runner: Runner, console: Console
) -> int:
    """Edits an earlier comment where the pull request does not change the policy any more."""
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


def _annotate(result: ReviewResult, console: Console) -> None:
    """Warns once of new access without evidence."""
    if result.context.review.has_new_access_without_evidence:
        console.warning(
            "Something becomes allowed that no evidence asks for: see the job's summary.",
            file=result.context.policy_path,
            title="New access",
        )
