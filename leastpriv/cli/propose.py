"""`leastpriv propose`, in every mode."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from leastpriv.cli.output import Clock, print_markdown, print_text, shell_workplace
from leastpriv.errors import InputError
from leastpriv.github_actions.workflow_commands import Console

if TYPE_CHECKING:
    from argparse import Namespace

    from leastpriv.config.settings import Settings


def propose(options: Namespace, stdout: TextIO, console: Console, clock: Clock) -> int:
    """Compares a policy file, or several, with the use and proposes the change."""
    from leastpriv.action.annotations import annotate, drift_section
    from leastpriv.action.step import exit_code, say_published
    from leastpriv.config.inputs import INPUTS
    from leastpriv.config.settings import from_options
    from leastpriv.pipeline.artifacts import check_report_files, write_files, write_reports
    from leastpriv.pipeline.propose import run
    from leastpriv.report.proposal_json import proposal_json

    values = {known.name: getattr(options, known.name.replace("-", "_"), "") or "" for known in INPUTS}
    if values["config"] or options.discover:
        from leastpriv.action.targets_step import several_command

        told, code = several_command(values, options, os.environ, clock(), console)
        print_text(stdout, told)
        return code
    settings = from_options(values, options.start or "", options.end or "")
    flags = {known.name: known.flag for known in INPUTS}
    check_report_files(settings, lambda value, _: Path(value), flags, options.output_dir)
    if settings.mode.value == "review":
        return _review(settings, options, stdout, console, clock)
    workplace = replace(shell_workplace(settings, os.environ, clock()), templates=_templates(options.templates))
    result = run(settings, workplace, clock())
    if options.output_dir:
        console.log(f"Wrote {write_files(result, Path(options.output_dir)).parent}")
    write_reports([result.subject], settings, lambda value, _: Path(value))
    say_published(result, console)
    if result.forgotten:
        console.warning(result.forgotten)
    if options.format == "json":
        print_text(stdout, proposal_json(result.subject, result.title, result.body))
    else:
        print_markdown(stdout, f"# {result.title}\n\n{drift_section(result, settings)}{result.body}")
    if settings.mode.value == "check":
        annotate(result, console, None)
    return exit_code(settings, result, console)


def _review(settings: Settings, options: Namespace, stdout: TextIO, console: Console, clock: Clock) -> int:
    """The file on disk against the one of the base branch; without a base, against the commit that is checked out."""
    from leastpriv.action.step import review_code
    from leastpriv.pipeline.review import Edited, run_review

    workplace = shell_workplace(settings, os.environ, clock())
    place, disk = workplace.place, Path(settings.policy.path)
    if options.output_dir:
        raise InputError("--output-dir is set, but a review writes no files: leave it out.")
    if place is None:
        raise InputError("--mode review needs a git repository around the policy file.")
    base = place.head_of(settings.base)[1]

    def on_disk(path: str) -> bytes | None:
        file = disk if path == workplace.policy_path else Path(path)
        return file.read_bytes() if file.is_file() else None

    result = run_review(settings, workplace, Edited(lambda path: place.read(base, path), on_disk))
    print_markdown(stdout, f"# {result.title}\n\n{result.whole}")
    return review_code(result, console)


def _templates(names: Sequence[str]) -> tuple[Path, ...]:
    for name in names:
        if not Path(name).is_file():
            raise InputError(f"--template names {name!r}, which is no file.")
    return tuple(map(Path, names))
