"""Several targets as a step of a job and on a shell: surroundings in; files, outputs, words and an exit code out."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from leastpriv.action.annotations import track, warn_of_pulls
from leastpriv.action.step import (
    exit_code,
    github_of,
    inside_workspace,
    job_logs_of,
    say_published,
    step_workplace,
    tell,
    with_shelf,
    within_rights,
)
from leastpriv.cli.output import shell_workplace
from leastpriv.config.settings import Mode, Settings, given_to_command, given_to_step
from leastpriv.config.targets_file import Configuration, Entry, read_configuration, run_settings, settings_of
from leastpriv.config.validators import Value
from leastpriv.errors import InputError
from leastpriv.github_actions.context import Runner, repository_path
from leastpriv.github_actions.output_files import append_summary, write_outputs
from leastpriv.github_actions.workflow_commands import Console
from leastpriv.pipeline.artifacts import check_report_files, outputs_of, write_all, write_reports
from leastpriv.pipeline.context import Workplace
from leastpriv.pipeline.propose import Result, worst
from leastpriv.pipeline.publish import row_of
from leastpriv.pipeline.sources import Reach
from leastpriv.pipeline.targets import Run, Several, run_several
from leastpriv.pull_request.github.repository import GitHubPlace
from leastpriv.report.context import ReportContext
from leastpriv.report.targets import summary

_MOST_ANNOTATED, _MOST_FINDINGS = 3, 3
"""Targets with annotations of their own, and findings of each: ten of a kind a step is the runner's own limit."""


def several_step(
    environment: Mapping[str, str], runner: Runner, console: Console, clock: Callable[[], datetime]
) -> int:
    """Runs the action once for all targets of the input `config`; gives the step's exit code.

    Raises:
        LeastprivError: the config or an input is wrong, or cannot be read. What fails of a target ends no other.
    """
    values, labels = given_to_step(environment)
    repository_path(runner.workspace, str(values["config"]), "config")
    whole = within_rights(run_settings(values, labels), runner, console)
    reach, logs = Reach(environment, clock(), whole.aws_regions), job_logs_of(whole, runner, clock())
    github = github_of(whole, runner, console)

    def workplace_of(settings: Settings) -> Workplace:
        here = replace(inside_workspace(settings, runner), job_logs=logs, reach=reach)
        place = github.with_manners(settings.manners) if github else None
        return step_workplace(settings, with_shelf(here, settings, place, runner), place)

    def target_settings(entry: Entry, role: str) -> Settings:
        return replace(settings_of(entry, role, values, labels), mode=whole.mode)

    here = workplace_of(whole)
    with console.group("Least privilege from evidence"):
        raw, configuration = _configuration(whole, here)
        run = Run(configuration, raw, whole, here, target_settings, workplace_of, clock(), runner.run_pages)
        several = run_several(run)
    keeps = github if whole.mode is Mode.CHECK and whole.drift_issue and not runner.read_only_token() else None
    codes = _codes(several, console, keeps, runner.run_url)
    warn_of_pulls(github, console, [several.first_published, *(each.published for each in several.ended)])
    written = write_all(several, (runner.temporary or runner.workspace) / "leastpriv", codes)
    for settings, result in _with_words(several):
        tell(result, settings, console, _MOST_FINDINGS)
    write_outputs(runner.output_file, outputs_of(several, written.as_posix(), codes))
    if runner.summary_file:
        append_summary(runner.summary_file, _summary(several, whole))
    write_reports(_subjects(several), whole, lambda value, name: repository_path(runner.workspace, value, name))
    return _together(several, codes)


def several_command(
    values: Mapping[str, Value], options: Namespace, environment: Mapping[str, str], now: datetime, console: Console
) -> tuple[str, int]:
    """Runs `leastpriv propose --config F` or `--discover`; gives what it prints and the exit code.

    Raises:
        LeastprivError: as `several_step`, or an option is for one policy file.
    """
    discover, times = bool(options.discover), (options.start or "", options.end or "")
    if options.templates:
        raise InputError("--template is for one policy file: leave it out beside --config and --discover.")
    if discover and not (options.output_dir or values["mode"] == "pull-request"):
        raise InputError("--discover writes first files: say where with --output-dir, or set --mode pull-request.")
    given, labels = given_to_command(values)
    raw, path, given = _config_of_command(given, labels, discover=discover)
    whole = run_settings({**given, "config": path}, labels, *times)
    check_report_files(whole, lambda value, _: Path(value), labels, options.output_dir)
    here = shell_workplace(whole, environment, now)
    configuration = read_configuration(raw, here.policy_path)
    if discover and not configuration.discover:
        configuration = replace(configuration, discover=_beside(configuration))
    if configuration.discover and here.place and Path(here.policy_path).resolve() != Path(path).resolve():
        raise InputError(
            "First files and their config are named from the root of the repository: run --mode pull-request there."
        )

    def workplace_of(settings: Settings) -> Workplace:
        found = shell_workplace(settings, environment, now)
        return replace(found, job_logs=here.job_logs, reach=here.reach)

    def target_settings(entry: Entry, role: str) -> Settings:
        return replace(settings_of(entry, role, given, labels, *times), mode=whole.mode)

    several = run_several(Run(configuration, raw, whole, here, target_settings, workplace_of, now))
    codes = _codes(several, console)
    if options.output_dir:
        console.log(f"Wrote {write_all(several, Path(options.output_dir), codes).parent}")
    write_reports(_subjects(several), whole, lambda value, _: Path(value))
    return _summary(several, whole), _together(several, codes)


def _configuration(whole: Settings, here: Workplace) -> tuple[bytes, Configuration]:
    """The config on the base branch where pull requests are made or the workspace lacks it, else in the workspace."""
    path = here.policy_path
    if here.place and here.folder is None:
        raw = here.place.read(here.place.head_of(whole.base)[1], path)
    else:
        file = (here.folder or Path()) / path
        raw = file.read_bytes() if file.is_file() else None
    if raw is None:
        raise InputError(f"The input config names {path!r}, which does not exist: write it, or name another file.")
    return raw, read_configuration(raw, path)


def _config_of_command(
    values: Mapping[str, Value], labels: Mapping[str, str], *, discover: bool
) -> tuple[bytes, str, Mapping[str, Value]]:
    """The config's text, its path and the other values; made of the one target where `--discover` begins without."""
    from leastpriv.config.settings import settings
    from leastpriv.config.targets_file import entry_text
    from leastpriv.config.validators import entries

    path = str(values.get("config") or "")
    if path:
        try:
            return Path(path).read_bytes(), path, values
        except OSError as error:
            raise InputError(f"{labels['config']} names {path!r}, which cannot be read: {error.strerror}.") from error
    one = settings(values, labels)
    path = "leastpriv.yml"
    if Path(path).exists() and discover:
        raise InputError(f"--discover would write {path}, which is there already: name it with --config.")
    text = "targets:\n" + entry_text(
        one.principal.arn, one.policy_file, also_attached=entries(values.get("also-attached", ()))
    )
    own = ("role-arn", "policy-file", "also-attached", "trust-policy", "branch")
    return text.encode(), path, {name: value for name, value in values.items() if name not in own}


def _beside(configuration: Configuration) -> str:
    from leastpriv.config.targets_file import template_beside

    return template_beside(str(configuration.entries[0].values["policy-file"]))


def _codes(several: Several, console: Console, keeps: GitHubPlace | None = None, run_url: str = "") -> list[int]:
    """The exit code of each target, said where it is not 0; a pull request that several share fails once.

    `keeps`: where a tracking issue of each target is kept in place of failing for drift.
    """
    codes: list[int] = []
    failed: set[str] = set()
    for each in several.ended:
        if each.failure or each.result is None:
            console.error(f"{each.target.role}: {each.failure}")
            codes.append(each.failure.exit_code if each.failure else 1)
        elif each.published and each.published.failure and each.published.branch in failed:
            codes.append(1)
        elif keeps:
            codes.append(track(each.result, keeps, console, run_url))
        else:
            failed.add(each.published.branch if each.published else "")
            say_published(each.result, console)
            codes.append(exit_code(each.target.settings, each.result, console))
    for note in (*several.notes, *(each.forgotten for each in several.ended if each.forgotten)):
        console.warning(note, title="Several targets")
    return codes


def _together(several: Several, codes: list[int]) -> int:
    first = several.first_published
    return worst([*codes, *([1] if first and first.failure else [])])


def _subjects(several: Several) -> list[ReportContext]:
    return [each.made.subject for each in several.ended if each.made]


def _with_words(several: Several) -> list[tuple[Settings, Result]]:
    found = [(each.target.settings, each.result) for each in several.ended if each.result]
    changed = [each for each in found if each[1].has_changes or not each[1].subject.evidence.counts.calls]
    return changed[:_MOST_ANNOTATED]


def _summary(several: Several, whole: Settings) -> str:
    rows = [row_of(each) for each in several.ended]
    text = summary(rows, several.chained, several.notes, drift=whole.mode is Mode.CHECK)
    first = several.first_published
    where = f" in pull request [#{first.number}]({first.url})" if first and first.url else ""
    found = several.first_files
    if not (found and found.files):
        return text
    from leastpriv.report.phrases import codes

    return f"{text}\n## First files{where}\n\n{codes(sorted(found.files), 60)}\n"
