"""The action as a step of a job: runs the flow, then writes annotations, files, outputs and the summary."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from leastpriv.action.annotations import annotate_targets, review_step, warn_if_public, warn_of_pull_requests
from leastpriv.action.step_run import checkout_context, connect_github, step_settings, with_repository
from leastpriv.config.settings import Mode, Settings, step_inputs
from leastpriv.errors import PullRequestError
from leastpriv.github_actions.context import Runner, repository_path
from leastpriv.github_actions.exit_code import exit_code_of
from leastpriv.github_actions.output_files import write_outputs, write_summary
from leastpriv.github_actions.workflow_commands import Console
from leastpriv.pipeline.artifacts import outputs_of, write_reports, write_result
from leastpriv.pipeline.context import DRIFT_EXIT_CODE, RunResult, TargetResult, heaviest
from leastpriv.pipeline.propose import propose
from leastpriv.pipeline.summary import (
    difference_sentence,
    report_escalation,
    report_failures,
    report_published,
    run_notes,
    run_summary,
)
from leastpriv.pull_request.lifecycle import IssueStep
from leastpriv.report.drift import context_findings, finding_ids, issue_body, issue_marker, issue_title

if TYPE_CHECKING:
    from leastpriv.pull_request.github.repository import GitHubRepository


def step(environment: Mapping[str, str], runner: Runner, console: Console, clock: Callable[[], datetime]) -> int:
    """Runs the action once; returns the step's exit code.

    Raises:
        LeastprivError: an input is wrong, or the proposal could not be made; one that was made is written nevertheless.
    """
    given = step_inputs(environment)
    settings = step_settings(given, runner, console)
    run = checkout_context(settings, environment, runner, clock())
    if settings.mode is Mode.REVIEW:
        return review_step(run, connect_github(settings, runner, console), runner, console)
    with console.group("Least privilege from evidence"):
        github = connect_github(settings, runner, console)
        run = with_repository(run, given, runner, github)
        files = _ResultFiles(settings, runner)
        result = propose(run, files.write_proposals)
    report_published(result, console)
    warn_of_pull_requests(github, console, result)
    annotate_targets(result, console)
    for note in run_notes(result):
        console.warning(note, title="Not remembered" if result.single else "Several targets")
    codes = [each.exit_code for each in result.targets]
    if settings.mode is Mode.CHECK and github and settings.drift_issue and not runner.has_read_only_token():
        codes = [_track_drift(each, github, console, runner.run_url) for each in result.targets]
    else:
        report_failures(result, console)
    written = files.write(result, codes)
    write_outputs(runner.output_file, outputs_of(result, written.as_posix(), codes))

    def inside(value: str, name: str) -> Path:
        return repository_path(runner.workspace, value, name)

    write_reports(result, settings, inside)
    return heaviest([*codes, *result.further_codes])


class _ResultFiles:
    """Writes `proposal.json`, the policies and the summary: before publishing, and again with what was published."""

    def __init__(self, settings: Settings, runner: Runner) -> None:
        self._settings, self._summary = settings, runner.summary_file
        self._folder = (runner.temporary or runner.workspace) / "leastpriv"
        self._start = self._summary.stat().st_size if self._summary and self._summary.exists() else 0

    def write_proposals(self, result: RunResult) -> None:
        """Writes a result that is not published yet, so that a run that ends while it publishes leaves it."""
        self.write(result, [each.exit_code for each in result.targets])

    def write(self, result: RunResult, codes: list[int]) -> Path:
        """Writes all files; returns the path of `proposal.json`."""
        written = write_result(result, self._folder, codes)
        if self._summary:
            write_summary(self._summary, run_summary(result, self._settings), self._start)
        return written


def _track_drift(result: TargetResult, github: GitHubRepository, console: Console, run_url: str) -> int:
    """Opens, edits or closes the tracking issue of a target; returns the exit code of the target."""
    context = result.context
    if context is None:
        console.error(f"{result.target.role}: {result.failure}")
        return result.exit_code
    if context.missing_calls:
        # Without a call no finding is settled.
        show = console.error if result.lacks_calls else console.warning
        show(context.missing_calls)
        return result.exit_code
    found = context_findings(context)
    try:
        step, url = github.update_tracking_issue(
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
    report_escalation(result, console)
    return DRIFT_EXIT_CODE if result.leads_to_administrator else 0


def action_main(environment: Mapping[str, str], stdout: TextIO, stderr: TextIO, clock: Callable[[], datetime]) -> int:
    """Runs the action once; returns the exit code of its step."""
    runner = Runner.from_environment(environment)
    console = Console(stdout, stderr, in_actions=runner.in_actions)
    console.mask(environment.get("INPUT_GITHUB-TOKEN", ""))

    def work() -> int:
        # Imported here, so that an error of the import is reported as well.
        from leastpriv.action.step import step

        return step(environment, runner, console, clock)

    return exit_code_of(work, console, verbose=runner.debug)
