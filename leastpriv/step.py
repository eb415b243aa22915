"""The action as a step of a job: what the runner says goes in, outputs, annotations and the summary come out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from leastpriv.drift_step import MOST_ANNOTATIONS, annotate, conclude, drift_section, track
from leastpriv.errors import InputError, PullRequestError
from leastpriv.evidence.memory.file import LONGEST_FILE
from leastpriv.evidence.refusals.run_logs import RunLogs
from leastpriv.exposure import warn_of_pulls
from leastpriv.logs import JobLogs
from leastpriv.model import Basis
from leastpriv.pipeline import Result, run
from leastpriv.policy.location import Location
from leastpriv.pull_request.git import LocalRepository
from leastpriv.pull_request.local import LocalPlace
from leastpriv.pull_request.publication import is_branch_name, pull_request_outputs
from leastpriv.pull_request.publish import GitHubPlace
from leastpriv.pull_request.repository.connection import Connection
from leastpriv.pull_request.shelf import Shelf
from leastpriv.remembering import file_of
from leastpriv.report.escape import name as escaped_name
from leastpriv.report.escape import prose
from leastpriv.report.outputs import outputs
from leastpriv.report.words import plural
from leastpriv.review_step import review_step
from leastpriv.runner.commands import Console
from leastpriv.runner.context import Runner, repository_path
from leastpriv.runner.files import append_summary, write_outputs
from leastpriv.settings import AUTO_LOGS, Mode, Settings, from_environment
from leastpriv.sources import Reach
from leastpriv.workplace import Workplace
from leastpriv.written import check_report_files, write_files, write_reports

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
        result = run(settings, workplace, clock(), console.log, runner.run_pages)
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
    unused = [change for change in subject.draft.changes if change.line]
    if unused:
        entries = plural(len(unused), "entry grants", "entries grant")
        message = f"{entries} more than {subject.role} used."
        console.notice(message, file=subject.policy_path, line=unused[0].line, title="Not used")
    usages = [usage for change in subject.draft.changes for usage in change.usages]
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
