"""The mode review as a step of a job: one comment on the pull request, the summary, an exit code; never a commit."""

from __future__ import annotations

from leastpriv.errors import InputError, PullRequestError
from leastpriv.exposure import warn_if_public
from leastpriv.policy.location import Location
from leastpriv.pull_request.publish import GitHubPlace
from leastpriv.report.escape import code
from leastpriv.report.review_comment import marker
from leastpriv.review import Edited, ReviewResult, review_outputs, run_review
from leastpriv.runner.commands import Console
from leastpriv.runner.context import PullRequestEvent, Runner
from leastpriv.runner.files import append_summary, write_outputs
from leastpriv.settings import Settings
from leastpriv.workplace import Workplace

REFUSES = 3
"""Exit code when recorded allowed calls would be refused after the edit."""


def review_step(
    settings: Settings, workplace: Workplace, github: GitHubPlace | None, runner: Runner, console: Console
) -> int:
    """Reviews the pull request that started the run; gives the step's exit code.

    Raises:
        InputError: there is no token or no pull request, or an input is wrong.
        PullRequestError: GitHub does not let the two versions be read.
    """
    if github is None:
        raise InputError("The input github-token is empty: leave it out, a review reads both versions on GitHub.")
    pull = runner.pull_request()
    base = github.fork_point(pull.base, pull.head)
    files = {workplace.policy_path, *(Location.of(name).path for name in settings.attached_files)}
    if all(github.read(base, path) == github.read(pull.head, path) for path in sorted(files)):
        return _not_touched(settings, workplace.policy_name, github, pull, runner, console)
    edited = Edited(lambda path: github.read(base, path), lambda path: github.read(pull.head, path))
    with console.group("Review of the policy"):
        result = run_review(settings, workplace, edited, console.log, runner.run_pages)
    write_outputs(runner.output_file, review_outputs(result))
    if runner.summary_file:
        append_summary(runner.summary_file, f"## {result.title}\n\n{result.whole}")
    said = _comment(github, pull, result.body, runner, console, anew=result.has_changes)
    _annotate(result, console)
    return review_code(result, console) or (0 if said else 1)


def review_code(result: ReviewResult, console: Console) -> int:
    """0, or 3 where recorded calls would be refused; says so."""
    if not result.breaks:
        return 0
    console.error(f"{result.subject.policy_file} would refuse recorded calls ({result.title}): exit code {REFUSES}.")
    return REFUSES


def _not_touched(
    settings: Settings, path: str, github: GitHubPlace, pull: PullRequestEvent, runner: Runner, console: Console
) -> int:
    """Nothing to review; a comment from when there was something says so."""
    console.log(f"The pull request #{pull.number} does not change {path}: nothing to review.")
    text = f"This pull request does not change {code(path)} any more.\n\n{marker(settings.principal.arn, path)}\n"
    write_outputs(runner.output_file, {"has-changes": "false"})
    return 0 if _comment(github, pull, text, runner, console, anew=False) else 1


def _comment(
    github: GitHubPlace, pull: PullRequestEvent, body: str, runner: Runner, console: Console, *, anew: bool
) -> bool:
    """Whether the comment stands as it should; the token of a fork's run cannot write, so there it is the summary."""
    if runner.read_only_token():
        console.log("The token of this run is read-only: the review is in the job's summary alone.")
        return True
    text, _, mark = body.rstrip().rpartition("\n")
    try:
        if github.head_of_pull(pull.number) != pull.head:
            console.log("Meanwhile something else was pushed: the comment is left to the run of that.")
            return True
        url = github.say_once(pull.number, mark, text, anew=anew)
    except PullRequestError as error:
        console.error(f"The comment could not be written: {error}")
        return False
    if url:
        console.log(f"Comment: {url}")
        warn_if_public(github, console, "the review")
    return True


def _annotate(result: ReviewResult, console: Console) -> None:
    """One warning at most, for what no evidence asks for."""
    if result.subject.review.has_new_access_without_evidence:
        console.warning(
            "Something becomes allowed that no evidence asks for: see the job's summary.",
            file=result.subject.policy_path,
            title="New access",
        )
