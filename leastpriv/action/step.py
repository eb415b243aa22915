"""The action as a step of a job: what the runner says goes in, outputs, annotations and the summary come out.

The mode review as a step of a job: one comment on the pull request, the summary, an exit code; never a commit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from leastpriv.action.annotations import (
    MOST_ANNOTATIONS,
    annotate,
    conclude,
    drift_section,
    track,
    warn_if_public,
    warn_of_pulls,
)
from leastpriv.config.settings import AUTO_LOGS, Mode, Settings, from_environment
from leastpriv.errors import InputError, PullRequestError
from leastpriv.evidence.denials.github_run_logs import RunLogs
from leastpriv.evidence.history.file import LONGEST_FILE
from leastpriv.github_actions.context import PullRequestEvent, Runner, repository_path
from leastpriv.github_actions.output_files import append_summary, write_outputs
from leastpriv.github_actions.workflow_commands import Console
from leastpriv.models import Basis
from leastpriv.pipeline.artifacts import check_report_files, write_files, write_reports
from leastpriv.pipeline.context import JobLogs, Workplace
from leastpriv.pipeline.history import file_of
from leastpriv.pipeline.propose import Result, run
from leastpriv.pipeline.review import Edited, ReviewResult, review_outputs, run_review
from leastpriv.pipeline.sources import Reach
from leastpriv.policy.source import Location
from leastpriv.pull_request.git import LocalRepository
from leastpriv.pull_request.git_repository import LocalPlace
from leastpriv.pull_request.github.client import Connection
from leastpriv.pull_request.github.repository import GitHubPlace
from leastpriv.pull_request.models import is_branch_name, pull_request_outputs
from leastpriv.pull_request.state_store import Shelf
from leastpriv.report.escape import code, prose
from leastpriv.report.escape import name as escaped_name
from leastpriv.report.outputs import outputs
from leastpriv.report.phrases import plural
from leastpriv.report.review import marker

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
        result = run_review(settings, workplace, edited, runner.run_pages)
    write_outputs(runner.output_file, review_outputs(result))
    if runner.summary_file:
        append_summary(runner.summary_file, f"## {result.title}\n\n{result.whole}")
    said = _comment(github, pull, result.body, runner, console, anew=result.has_changes)
    _annotate_review(result, console)
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


def _annotate_review(result: ReviewResult, console: Console) -> None:
    """One warning at most, for what no evidence asks for."""
    if result.subject.review.has_new_access_without_evidence:
        console.warning(
            "Something becomes allowed that no evidence asks for: see the job's summary.",
            file=result.subject.policy_path,
            title="New access",
        )


IN_PUBLIC = "public:"
"""Before the name of the evidence branch: it may lie in a public repository. No branch's name can begin so."""


def step(environment: Mapping[str, str], runner: Runner, console: Console, clock: Callable[[], datetime]) -> int:
    """Runs the action once; gives the step's exit code.

    Raises:
        LeastprivError: an input is wrong, or the proposal could not be made; one that was made is written all the same.
    """
    settings = within_rights(from_environment(environment), runner, console)
    reach = Reach(environment, clock(), settings.aws_regions)
    logs = job_logs_of(settings, runner, clock())
    here = replace(inside_workspace(settings, runner), job_logs=logs, reach=reach)
    if settings.mode is Mode.REVIEW:
        return review_step(settings, here, github_of(settings, runner, console), runner, console)
    with console.group("Least privilege from evidence"):
        github = github_of(settings, runner, console)
        workplace = step_workplace(settings, with_shelf(here, settings, github, runner), github)
        result = run(settings, workplace, clock(), runner.run_pages)
    folder = (runner.temporary or runner.workspace) / "leastpriv"
    written = write_files(result, folder)
    say_published(result, console)
    warn_of_pulls(github, console, [result.published])
    tell(result, settings, console)
    if result.forgotten:
        console.warning(result.forgotten, title="Not remembered")
    found = {**outputs(result.subject, written.as_posix()), **pull_request_outputs(result.published)}
    write_outputs(runner.output_file, found)
    if runner.summary_file:
        append_summary(runner.summary_file, _summary(result, settings))
    write_reports([result.subject], settings, lambda value, name: repository_path(runner.workspace, value, name))
    if settings.mode is Mode.CHECK and github and settings.drift_issue and not runner.read_only_token():
        return track(result, github, console, runner.run_url)
    return exit_code(settings, result, console)


def within_rights(settings: Settings, runner: Runner, console: Console) -> Settings:
    """A run whose token cannot write reports by itself: a fork's pull request, or Dependabot's."""
    if settings.mode is not Mode.PULL_REQUEST or not runner.read_only_token():
        return settings
    console.notice(
        "The token of this run is read-only (a pull request from a fork, or Dependabot's): the proposal is only "
        "reported, as with mode report.",
        title="Read-only token",
    )
    return replace(settings, mode=Mode.REPORT)


def step_workplace(settings: Settings, here: Workplace, github: GitHubPlace | None) -> Workplace:
    """In a step every path starts at, and stays in, the workspace `here`; with a token, policies may be on GitHub."""
    workspace = here.folder or Path()
    if github is None and settings.mode is Mode.PULL_REQUEST:
        # Another forge, or none: the branch is made in the repository that the workspace holds.
        return replace(here, place=LocalPlace(LocalRepository.open(workspace)))
    if github and (settings.mode is Mode.PULL_REQUEST or not (workspace / here.policy_path).exists()):
        return replace(here, folder=None, place=github, historian=github)
    return replace(here, historian=github, chronicle=github)


def with_shelf(here: Workplace, settings: Settings, github: GitHubPlace | None, runner: Runner) -> Workplace:
    """The workspace with the place where the memory of the settings' principal lies, if there is one."""
    return replace(here, shelf=evidence_shelf(settings, github), remembers=not runner.read_only_token())


def inside_workspace(settings: Settings, runner: Runner) -> Workplace:
    """The workspace; paths that lead out of it are refused."""

    def inside(value: str, name: str) -> Path:
        return repository_path(runner.workspace, value, name)

    policy = settings.policy
    inside(policy.path, "policy-file")
    for name in settings.attached_files:
        inside(Location.of(name).path, "also-attached")
    if settings.trust_policy:
        inside(Location.of(settings.trust_policy).path, "trust-policy")
    check_report_files(settings, inside, {})
    trails = tuple(inside(name, "trails") for name in settings.trail_folders)
    return Workplace(Path(policy.path).as_posix(), runner.workspace, trails, pointer=policy.pointer)


def job_logs_of(settings: Settings, runner: Runner, now: datetime) -> JobLogs:
    """The logs in the workspace and, for `auto`, those of the workflow run.

    Raises:
        InputError: a name leads out of the workspace, or `auto` lacks a token or a workflow run.
    """
    files = tuple(
        str(repository_path(runner.workspace, name, "job-logs")) for name in settings.job_logs if name != AUTO_LOGS
    )
    root = f"{runner.workspace.resolve()}/"
    if AUTO_LOGS not in settings.job_logs:
        return JobLogs(now, files, root=root)
    if not (settings.github_token and runner.repository and runner.run_id):
        raise InputError(
            "The input job-logs is 'auto', which reads the logs of this workflow run: give the input github-token."
        )
    run = RunLogs(
        runner.api_url, runner.repository, runner.run_id, runner.run_attempt, settings.github_token, time.sleep
    )
    return JobLogs(now, files, run, root)


def github_of(settings: Settings, runner: Runner, console: Console) -> GitHubPlace | None:
    """The repository on GitHub; None without a token, or where nothing is written and it cannot be reached."""
    if not (settings.github_token and runner.repository):
        return None
    try:
        connection = Connection.open(
            settings.github_token,
            runner.repository,
            api_url=runner.api_url,
            web_url=runner.server_url,
            sleep=time.sleep,
        )
    except PullRequestError as error:
        needed = settings.mode in (Mode.PULL_REQUEST, Mode.REVIEW) or bool(settings.memory)
        if needed or not (runner.workspace / settings.policy.path).exists():
            # Without the file on disk nothing is known of the policy: that it does not exist would be a guess.
            raise
        console.log(f"GitHub is left out: {error}")
        return None
    return GitHubPlace(connection, settings.manners)


def evidence_shelf(settings: Settings, github: GitHubPlace | None) -> Shelf | None:
    """Where a step remembers: a file of a branch of its own. None where it does not.

    Raises:
        InputError: the branch has another use, there is no token, or everybody could read it.
    """
    if not settings.memory:
        return None
    branch, forced = settings.memory.removeprefix(IN_PUBLIC), settings.memory.startswith(IN_PUBLIC)
    if github is None:
        raise InputError("The input evidence-branch is set, which needs GitHub: give the input github-token.")
    if not is_branch_name(branch):
        raise InputError(f"The input evidence-branch is {branch!r}: git does not take that as the name of a branch.")
    if branch in (settings.branch, github.head_of(settings.base)[0], github.head_of("")[0]):
        raise InputError(f"The input evidence-branch is {branch!r}, which has another use: name one of its own.")
    if github.is_public() and not forced:
        raise InputError(
            "The input evidence-branch is set, and everybody may read this repository: what the role uses would be "
            f"public. Leave the input out, or write {IN_PUBLIC}{branch} to have it so."
        )
    title = f"Remember what {escaped_name(settings.principal.name)} used"
    return github.shelf(branch, file_of(settings.principal), title, LONGEST_FILE)


def _summary(result: Result, settings: Settings) -> str:
    published = result.published
    where = ""
    if published and published.failure:
        by_hand = f" [Open it by hand]({published.link})." if published.link else ""
        where = f"> **Not published.** {prose(published.failure)}{by_hand}\n\n"
    elif published:
        pull = f"Pull request [#{published.number}]({published.url})" if published.url else "Pull request"
        why = f" {prose(published.reason)}" if published.reason else ""
        where = f"{pull}: {published.operation}.{why}\n\n"
    return f"## {result.title}\n\n{where}{drift_section(result, settings)}{result.body}"


def tell(result: Result, settings: Settings, console: Console, most: int = MOST_ANNOTATIONS) -> None:
    """Annotates: a warning where nothing was found, then what the proposal changes or, in the mode `check`, the drift.

    Of findings there are at most so many.
    """
    _no_evidence(result, console)
    if settings.mode is Mode.CHECK:
        annotate(result, console, most)
    else:
        _annotate(result, console)


def _no_evidence(result: Result, console: Console) -> None:
    subject = result.subject
    if not subject.evidence.counts.calls:
        console.warning(
            f"No call of {subject.principal} was found: is the ARN right, and the trail?", title="No evidence"
        )


def _annotate(result: Result, console: Console) -> None:
    """One notice for removals and one warning for refused calls at most: ten a step is the runner's own limit."""
    subject = result.subject
    unused = [change for change in subject.proposal.changes if change.line]
    if unused:
        entries = plural(len(unused), "entry grants", "entries grant")
        message = f"{entries} more than {subject.role} used."
        console.notice(message, file=subject.policy_path, line=unused[0].line, title="Not used")
    usages = [usage for change in subject.proposal.changes for usage in change.usages]
    denied = sum(usage.count for usage in usages if usage.denial and usage.need.basis is Basis.DENIED)
    if denied:
        console.warning(
            f"{plural(denied, 'call was', 'calls were')} refused that the proposal would allow.",
            file=subject.policy_path,
            title="Refused",
        )


def say_published(result: Result, console: Console) -> None:
    """One line about branch and pull request."""
    published = result.published
    if published:
        at = f" at {published.head_sha[:12]}" if published.head_sha else ""
        pull = f", pull request {published.url}" if published.url else ""
        reason = f": {published.reason}" if published.reason else ""
        console.log(f"Branch {published.branch} {published.operation}{at}{pull}{reason}")


def exit_code(settings: Settings, result: Result, console: Console) -> int:
    """0, or 1 where publishing failed, or 3 for drift in the mode `check`; says why."""
    if result.published and result.published.failure:
        console.error(f"{result.published.failure} {result.published.link}".rstrip())
        return 1
    return conclude(result, console) if settings.mode is Mode.CHECK else 0
