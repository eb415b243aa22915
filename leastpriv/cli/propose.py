"""`leastpriv propose`, in every mode."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from leastpriv.cli.output import Clock, print_markdown, print_text
from leastpriv.errors import InputError
from leastpriv.github_actions.workflow_commands import Console

if TYPE_CHECKING:
    from argparse import Namespace

    from leastpriv.pipeline.context import RunContext, RunResult


def propose(options: Namespace, stdout: TextIO, console: Console, clock: Clock) -> int:
    """Compares the policy files with the use and proposes the change."""
    from leastpriv.config.settings import Mode
    from leastpriv.pipeline.artifacts import write_reports, write_result
    from leastpriv.pipeline.context import heaviest
    from leastpriv.pipeline.propose import propose
    from leastpriv.pipeline.summary import annotate_drift, report_failures, report_published, run_notes

    run = _run_context(options, clock)
    if run.settings.mode is Mode.REVIEW:
        return _review(run, options, stdout, console)
    result = propose(run)
    codes = [each.exit_code for each in result.targets]
    if options.output_dir:
        console.log(f"Wrote {write_result(result, Path(options.output_dir), codes).parent}")
    write_reports(result, run.settings, lambda value, _: Path(value))
    report_published(result, console)
    for note in run_notes(result):
        console.warning(note, title=None if result.single else "Several targets")
    _print(result, run, options, stdout)
    if run.settings.mode is Mode.CHECK and result.single:
        annotate_drift(result.contexts[0], console)
    report_failures(result, console)
    return heaviest([*codes, *result.further_codes])


def _run_context(options: Namespace, clock: Clock) -> RunContext:
    from leastpriv.cli.command_run import check_output_files, command_context, targets_context
    from leastpriv.config.inputs import INPUTS
    from leastpriv.config.settings import command_inputs, from_options

    values = {known.name: getattr(options, known.name.replace("-", "_"), "") or "" for known in INPUTS}
    flags = {known.name: known.flag for known in INPUTS}
    times = (options.start or "", options.end or "")
    if not (values["config"] or options.discover):
        settings = from_options(values, *times)
        check_output_files(settings, flags, options.output_dir)
        return command_context(settings, os.environ, clock())
    _check_targets_options(options, values)
    given = command_inputs(values, *times)
    run = targets_context(given, os.environ, clock(), discover=bool(options.discover))
    check_output_files(run.settings, flags, options.output_dir)
    return run


def _check_targets_options(options: Namespace, values: Mapping[str, object]) -> None:
    """Raises InputError for options that several targets cannot have."""
    if options.discover and not (options.output_dir or values["mode"] == "pull-request"):
        raise InputError("--discover writes first files: say where with --output-dir, or set --mode pull-request.")


def _print(result: RunResult, run: RunContext, options: Namespace, stdout: TextIO) -> None:
    from leastpriv.pipeline.summary import drift_section, run_summary
    from leastpriv.report.first_screen import first_screen, markdown
    from leastpriv.report.proposal_json import proposal_json

    form, folder = options.format, options.output_dir
    content = result.single.content if result.single else None
    if content is None:
        print_text(stdout, run_summary(result, run.settings))
    elif form == "json":
        print_text(stdout, proposal_json(content.context, content.title, content.body))
    else:
        section = drift_section(content.context, run.settings.mode)
        brief = folder or stdout.isatty()
        text = f"{markdown(first_screen(content.context))}\n" if brief else content.body
        rest = f"\nThe whole proposal is in {folder}; start with pull-request.md.\n" if folder else ""
        if brief and not folder:
            rest = "\nThe option `--output-dir` writes the whole proposal, and `--page-file` a page of it.\n"
        print_markdown(stdout, f"# {content.title}\n\n{section}{text}{rest}")


def _review(run: RunContext, options: Namespace, stdout: TextIO, console: Console) -> int:
    """The file on disk against the one of the base branch; without a base, against the commit that is checked out."""
    from leastpriv.pipeline.review import EditedVersions, report_review, run_review
    from leastpriv.pipeline.terraform_folder import paths_on_disk

    (target,) = run.targets
    repository, disk = target.repository, Path(target.settings.policy.path)
    if options.output_dir:
        raise InputError("--output-dir is set, but a review writes no files: leave it out.")
    if repository is None:
        raise InputError("--mode review needs a git repository around the policy file.")
    base = repository.branch_head(target.settings.base)[1]

    def on_disk(path: str) -> bytes | None:
        file = disk if path == target.policy_path else Path(path)
        return file.read_bytes() if file.is_file() else None

    edited = EditedVersions(
        lambda path: repository.read(base, path),
        on_disk,
        lambda folder: repository.paths(base, folder),
        partial(paths_on_disk, Path()),
    )
    result = run_review(run, edited)
    print_markdown(stdout, f"# {result.title}\n\n{result.whole}")
    return report_review(result, console)
