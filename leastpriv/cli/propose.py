"""`leastpriv propose`, in every mode: every path starts at the current folder, the repository is
the policy file's.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from msgspec.structs import replace

from leastpriv.aws.session import AwsSession
from leastpriv.cli.command_line import check_folder, print_markdown, print_text
from leastpriv.cli.reading_bar import reading_bar
from leastpriv.config.inputs import entries, inputs
from leastpriv.config.settings import (
    AUTO_LOGS,
    BRANCH,
    GivenInputs,
    Mode,
    Settings,
    command_inputs,
    parse_settings,
    with_command_defaults,
)
from leastpriv.config.targets_file import (
    OF_ONE_TARGET,
    entry_text,
    first_file_template,
    names_one_target,
    read_configuration,
    run_settings,
    with_settings,
    with_shared_settings,
)
from leastpriv.errors import InputError
from leastpriv.github_actions.workflow_commands import Console
from leastpriv.pipeline.artifacts import (
    annotate_drift,
    check_report_files,
    damage_notes,
    drift_section,
    files_of,
    first_files_section,
    report_failures,
    report_published,
    run_notes,
    target_values,
    write_reports,
    write_result,
)
from leastpriv.pipeline.context import (
    JobLogs,
    RunContext,
    RunResult,
    Target,
    TargetsFile,
    with_targets_file,
)
from leastpriv.pipeline.publish import target_row
from leastpriv.pipeline.saved_history import HistoryFile
from leastpriv.policy.source import Location
from leastpriv.pull_request.checkouts import Checkouts, repository_root
from leastpriv.pull_request.models import FolderStateStore

if TYPE_CHECKING:
    from argparse import Namespace

    from leastpriv.cli.command_line import Clock
    from leastpriv.pipeline.review import ReviewResult


def command_context(
    found: Settings,
    environment: Mapping[str, str],
    now: datetime,
    checkouts: Checkouts | None = None,
) -> RunContext:
    """Returns the run of one target; raises InputError and PullRequestError.

    Args:
        found: The settings.
        environment: Variables of the process.
        now: The present.
        checkouts: The repositories that other targets share with this one.
    """
    if AUTO_LOGS in found.job_logs:
        raise InputError(
            "--job-logs auto reads the logs of a step's workflow run: here, name files of logs."
        )
    for name in found.job_logs:
        if name != "-" and not Path(name).exists():
            raise InputError(f"--job-logs names {name!r}, which is no file or folder.")
    return RunContext(
        settings=found,
        targets=(command_target(found, checkouts=checkouts or Checkouts()),),
        now=now,
        trails=tuple(Path(name) for name in found.trail_folders),
        job_logs=JobLogs(found.job_logs),
        aws=AwsSession(environment, now, found.aws_regions),
    )


def command_target(found: Settings, repository: str = "", *, checkouts: Checkouts) -> Target:
    """Returns the target of a command; raises PullRequestError where a mode that needs a git
    repository finds none, and InputError for another `repository`.
    """
    if repository:
        raise InputError(
            f"The config names the repository {repository}, which only a step of a workflow reads:"
            " run this command in a clone of it."
        )
    policy = Path(found.policy.path)
    absolute = policy.parent.resolve() / policy.name
    pointer = found.policy.pointer
    store = None
    if found.history_location:
        file = HistoryFile.of(found.principal)
        store = FolderStateStore(Path(found.history_location), file.path, file.longest)
    if found.mode not in (Mode.PULL_REQUEST, Mode.REVIEW):
        return Target(
            found,
            policy.as_posix(),
            Path(),
            pointer=pointer,
            past=checkouts.file(absolute),
            store=store,
        )
    root = repository_root(absolute) or absolute.parent
    path = absolute.relative_to(root).as_posix()
    settings = _from_root(found, root) if found.mode is Mode.PULL_REQUEST else found
    return Target(
        settings=settings,
        policy_path=path,
        folder=Path(),
        repository=checkouts.repository(root),
        pointer=pointer,
        store=store,
    )


def _from_root(settings: Settings, root: Path) -> Settings:
    """Returns settings whose other policy files are named from the root of the repository, where
    the base branch has them, and not from the current folder.
    """

    def from_root(name: str) -> str:
        """Returns `policies/a.json#/p` for `a.json#/p`, in the folder `policies`; an empty name
        and a file outside of the repository are returned as they are.
        """
        location = Location.of(name)
        file = Path(location.path)
        # The base branch has the file by the name of a link, not by that of what it leads to.
        absolute = file.parent.resolve() / file.name
        if not location.path or not absolute.is_relative_to(root):
            return name
        return str(Location(absolute.relative_to(root).as_posix(), location.pointer))

    others = (replace(policy, file=from_root(policy.file)) for policy in settings.other_policies)
    return replace(
        settings,
        also_attached=(*settings.attached_arns, *map(from_root, settings.attached_files)),
        trust_policy=from_root(settings.trust_policy),
        boundary_file=from_root(settings.boundary_file),
        organization_files=tuple(map(from_root, settings.organization_files)),
        other_policies=tuple(others),
    )


def targets_context(
    given: GivenInputs, environment: Mapping[str, str], now: datetime, *, discover: bool
) -> RunContext:
    """Returns the run of all targets of `--config`; `discover` starts without it from the one
    target of the options.

    Raises InputError where the targets file or an option is wrong, and PullRequestError where a
    mode that needs a git repository finds none.
    """
    path = str(given.values.get("config") or "")
    if path:
        raw = _read_config(path, given)
        configuration = read_configuration(raw, path)
        given = with_shared_settings(given, configuration)
        given = with_command_defaults(given)
    else:
        given = with_command_defaults(given)
        # The file that the one target of the options would have.
        target_settings = parse_settings(given)
        path = "leastpriv.yml"
        if Path(path).exists() and discover:
            raise InputError(
                f"--discover would write {path}, which is there already: name it with --config."
            )
        attached = entries(given.values.get("also-attached", ()))
        entry = entry_text(
            target_settings.principal.arn, target_settings.policy_file, also_attached=attached
        )
        raw = f"targets:\n{entry}".encode()
        configuration = read_configuration(raw, path)
        shared = {name: value for name, value in given.values.items() if name not in OF_ONE_TARGET}
        given = replace(given, values=shared)
    settings_of_run = run_settings(replace(given, values={**given.values, "config": path}))
    # The config and the policy files are usually in one repository, which is opened once.
    checkouts = Checkouts()
    run = command_context(settings_of_run, environment, now, checkouts)
    (config,) = run.targets
    # In the mode pull-request the repository's root is where its name begins.
    configuration = replace(configuration, path=config.policy_path)
    if discover and not configuration.discover:
        first = str(configuration.entries[0].values["policy-file"])
        configuration = replace(configuration, discover=first_file_template(first))
    if (
        configuration.discover
        and config.repository
        and Path(config.policy_path).resolve() != Path(path).resolve()
    ):
        raise InputError(
            "First files and their config are named from the root of the repository: run --mode"
            " pull-request there."
        )

    file = TargetsFile(
        configuration=configuration,
        raw=raw,
        given=given,
        mode=settings_of_run.mode,
        target_of=partial(command_target, checkouts=checkouts),
        repository=config.repository,
    )
    # The config is that of the person whose credentials the command uses.
    return with_targets_file(run, file, configuration)


def _read_config(path: str, given: GivenInputs) -> bytes:
    """Returns the content of the config; raises InputError where it cannot be read."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        label = given.labels["config"]
        raise InputError(
            f"{label} names {path!r}, which cannot be read: {error.strerror}."
        ) from error


def propose(options: Namespace, stdout: TextIO, console: Console, clock: Clock) -> int:
    """Compares the policy files with the use and proposes the change."""
    from leastpriv.pipeline.propose import propose

    run = _run_context(options, clock)
    if run.settings.mode is Mode.REVIEW:
        return _review(run, options, stdout, console)
    from leastpriv.pipeline.review import check_declarations, checks_declarations_alone

    if checks_declarations_alone(run):
        return _report_review(check_declarations(run), options, stdout, console)
    run_result = propose(replace(run, watch=partial(reading_bar, console)))
    codes = [target_result.exit_code for target_result in run_result.targets]
    if options.output_dir:
        console.log(f"Wrote {write_result(run_result, Path(options.output_dir), codes).parent}")
    write_reports(run_result, run.settings, lambda value, _: Path(value))
    report_published(run_result, console)
    for note in damage_notes(run_result):
        console.warning(note, title="Damaged files")
    for note in run_notes(run_result):
        console.warning(note, title=None if run_result.single else "Several targets")
    _print(run_result, run, options, codes, stdout)
    if run.settings.mode is Mode.CHECK and run_result.single:
        annotate_drift(run_result.contexts[0], console)
    report_failures(run_result, console)
    return run_result.exit_code(codes)


def _run_context(options: Namespace, clock: Clock) -> RunContext:
    """Returns the run of the options: of one target, with its settings from `--config` if given, or
    of the targets that `--config` lists or `--discover` finds.
    """
    values = {
        declared.name: getattr(options, declared.name.replace("-", "_"), "") or ""
        for declared in inputs()
    }
    values |= {"from": options.start or "", "to": options.end or ""}
    _check_output(options, values["mode"])
    inputs_given = command_inputs(values)
    if names_one_target(inputs_given) and not options.discover:
        path = str(inputs_given.values["config"])
        inputs_given = with_settings(inputs_given, _read_config(path, inputs_given), path)
        run = command_context(_settings(inputs_given), os.environ, clock())
    elif values["config"] or options.discover:
        run = targets_context(inputs_given, os.environ, clock(), discover=bool(options.discover))
    else:
        run = command_context(_settings(inputs_given), os.environ, clock())
    check_report_files(
        run.settings, lambda value, _: Path(value), inputs_given.labels, options.output_dir
    )
    return run


def _check_output(options: Namespace, mode: str) -> None:
    """Raises InputError where first files would be written nowhere."""
    is_written = options.output_dir or mode in ("pull-request", BRANCH)
    if options.discover and not is_written:
        raise InputError(
            "--discover writes first files: say where with --output-dir, or set --mode"
            " pull-request."
        )
    check_folder(options.output_dir, "--output-dir")
    check_folder(options.evidence_branch, "--evidence-folder")
    check_folder(options.cache_dir, "--cache-dir")


def _settings(given: GivenInputs) -> Settings:
    return parse_settings(with_command_defaults(given))


def _print(
    result: RunResult, run: RunContext, options: Namespace, codes: Sequence[int], stdout: TextIO
) -> None:
    """Prints the result: as Markdown, and the first screen alone at a terminal or next to files."""
    content = result.single.content if result.single else None
    if content is None:
        _print_targets(result, options, codes, stdout)
        return
    if options.format == "json":
        print_text(stdout, files_of(content)["proposal.json"].decode())
        return
    from leastpriv.report.first_screen import first_screen
    from leastpriv.report.policy_text import diff_section
    from leastpriv.report.screen_models import Medium, markdown

    context = content.context
    is_brief = bool(options.output_dir) or stdout.isatty()
    parts = [f"# {content.title}", drift_section(context, run.settings.mode), content.body]
    if is_brief:
        medium = Medium.TERMINAL if stdout.isatty() else Medium.GITHUB
        screen = markdown(first_screen(context), medium)
        parts[2:] = [screen, *diff_section(context), _where(options)]
    print_markdown(stdout, "\n\n".join(part.strip("\n") for part in parts if part))


def _where(options: Namespace, folder: str = "") -> str:
    """Says where the whole proposal is.

    Args:
        options: The options of the command.
        folder: Where `pull-request.md` is, if not in the folder of the option.
    """
    if options.output_dir:
        first = f"pull-request.md in {folder}" if folder else "pull-request.md"
        return f"The whole proposal is in {options.output_dir}; start with {first}."
    return "The option `--output-dir` writes the whole proposal, and `--page-file` a page of it."


def _print_targets(
    result: RunResult, options: Namespace, codes: Sequence[int], stdout: TextIO
) -> None:
    """Prints a row for each target, as people or programs read it."""
    from leastpriv.report.escape import json_text
    from leastpriv.report.role_chain import chain_section
    from leastpriv.report.screen_models import Medium
    from leastpriv.report.targets import overview, targets_title

    if options.format == "json":
        lines = [json_text(value) for value in target_values(result, codes)]
        print_text(stdout, "\n".join(lines))
        return
    rows = [target_row(target_result) for target_result in result.targets]
    medium = Medium.TERMINAL if stdout.isatty() else Medium.GITHUB
    parts = [
        f"# {targets_title(rows)}",
        overview(rows, medium) if rows else "",
        *chain_section(result.chain),
        first_files_section(result),
        _where(options, "the folder of each target"),
    ]
    print_markdown(stdout, "\n\n".join(filter(None, parts)))


def _review(run: RunContext, options: Namespace, stdout: TextIO, console: Console) -> int:
    """Reviews the file on disk against the one of the base branch, or without a base against the
    commit that is checked out; returns the exit code.
    """
    from leastpriv.pipeline.infrastructure import RepositoryVersion
    from leastpriv.pipeline.review import run_review

    (target,) = run.targets
    repository = target.repository
    disk = RepositoryVersion.on_disk()
    if repository is None:
        raise InputError("--mode review needs a git repository around the policy file.")
    base = repository.branch_head(target.settings.base).commit

    def read_from_disk(path: str) -> bytes | None:
        """Reads a file; a target names its policy file from the root of the repository, and all
        others from the current folder.
        """
        if path == target.policy_path:
            path = target.settings.policy.path
        return disk.read(path)

    before = RepositoryVersion.of(repository, base)
    result = run_review(run, before, after=replace(disk, read=read_from_disk))
    return _report_review(result, options, stdout, console)


def _report_review(
    result: ReviewResult, options: Namespace, stdout: TextIO, console: Console
) -> int:
    from leastpriv.pipeline.review import report_review

    if options.output_dir:
        raise InputError("--output-dir is set, but a review writes no files: leave it out.")
    print_markdown(stdout, f"# {result.title}\n\n{result.whole}")
    return report_review(result, console)
