"""The action as a step of a job: runs the flow, then writes annotations, files, outputs and the summary."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path

from leastpriv.action.annotations import annotate_targets, warn_of_pull_requests
from leastpriv.action.context import checkout_context, connect_github, step_settings, with_repository
from leastpriv.action.review import review_step
from leastpriv.action.tracking import track_drift
from leastpriv.config.settings import Mode
from leastpriv.github_actions.context import Runner, repository_path
from leastpriv.github_actions.output_files import append_summary, write_outputs
from leastpriv.github_actions.workflow_commands import Console
from leastpriv.pipeline.artifacts import outputs_of, write_reports, write_result
from leastpriv.pipeline.propose import propose
from leastpriv.pipeline.results import heaviest
from leastpriv.pipeline.summary import report_failures, report_published, run_notes, run_summary


def step(environment: Mapping[str, str], runner: Runner, console: Console, clock: Callable[[], datetime]) -> int:
    """Runs the action once; returns the step's exit code.

    Raises:
        LeastprivError: an input is wrong, or the proposal could not be made; one that was made is written nevertheless.
    """
    settings = step_settings(environment, runner, console)
    run = checkout_context(settings, environment, runner, clock())
    if settings.mode is Mode.REVIEW:
        return review_step(run, connect_github(settings, runner, console), runner, console)
    with console.group("Least privilege from evidence"):
        github = connect_github(settings, runner, console)
        run = with_repository(run, environment, runner, github)
        result = propose(run)
    report_published(result, console)
    warn_of_pull_requests(github, console, result)
    annotate_targets(result, console)
    for note in run_notes(result):
        console.warning(note, title="Not remembered" if result.single else "Several targets")
    codes = [each.exit_code for each in result.targets]
    if settings.mode is Mode.CHECK and github and settings.drift_issue and not runner.read_only_token():
        codes = [track_drift(each, github, console, runner.run_url) for each in result.targets]
    else:
        report_failures(result, console)
    written = write_result(result, (runner.temporary or runner.workspace) / "leastpriv", codes)
    write_outputs(runner.output_file, outputs_of(result, written.as_posix(), codes))
    if runner.summary_file:
        append_summary(runner.summary_file, run_summary(result, settings))

    def inside(value: str, name: str) -> Path:
        return repository_path(runner.workspace, value, name)

    write_reports(result.contexts, settings, inside)
    first = result.first_files.published if result.first_files else None
    return heaviest([*codes, *([1] if first and first.failure else [])])
