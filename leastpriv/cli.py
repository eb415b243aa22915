"""The `leastpriv` command and the action's main: thin; the only place that catches errors and decides exit codes."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from leastpriv.arguments import parser
from leastpriv.errors import InputError, LeastprivError
from leastpriv.runner.commands import Console
from leastpriv.runner.context import Runner, repository_path
from leastpriv.runner.files import append_summary, write_output

if TYPE_CHECKING:
    from argparse import Namespace

    from leastpriv.pipeline import Result, Workplace
    from leastpriv.settings import Settings

Clock = Callable[[], datetime]
DRIFT = 3
"""Exit code of the mode `check` when the policy differs from what is needed."""
_INTERRUPTED = 130
_SHORT_SIGPIPE = 141


def console_main() -> int:
    """Entry point of the `leastpriv` command."""
    return main(sys.argv[1:], sys.stdout, sys.stderr, lambda: datetime.now(UTC))


def main(arguments: Sequence[str], stdout: TextIO, stderr: TextIO, clock: Clock) -> int:
    """Runs one command; returns 0 done, 1 could not do its job, 2 bad input, 3 drift found."""
    console = Console(stderr, stderr, in_actions=False)
    try:
        options = parser().parse_args(arguments)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 2
    return _guarded(lambda: _COMMANDS[options.command](options, stdout, console, clock), console, options.verbose)


def action_main(environment: Mapping[str, str], stdout: TextIO, stderr: TextIO, clock: Clock) -> int:
    """Runs the action as a step: inputs from the environment, outputs and summary into the runner's files."""
    runner = Runner.from_environment(environment)
    console = Console(stdout, stderr, in_actions=runner.in_actions)
    console.mask(environment.get("INPUT_GITHUB-TOKEN", ""))
    return _guarded(lambda: _step(environment, runner, console, clock), console, runner.debug)


def _guarded(work: Callable[[], int], console: Console, verbose: bool) -> int:
    try:
        return work()
    except LeastprivError as error:
        console.error(str(error))
        _explain(console, verbose)
        return error.exit_code
    except KeyboardInterrupt:
        console.error("Interrupted: nothing was published.")
        return _INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone, as in `leastpriv permissions … | head`; the rest has no reader.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _SHORT_SIGPIPE
    except Exception as error:
        # The last line of defence: a sentence instead of a traceback.
        console.error(f"Unexpected {type(error).__name__}: {error}. This is a defect; run again with -v and report it.")
        _explain(console, verbose)
        return 1


def _explain(console: Console, verbose: bool) -> None:
    if verbose:
        console.untrusted(traceback.format_exc())


def _propose(options: Namespace, stdout: TextIO, console: Console, clock: Clock) -> int:
    from leastpriv.pipeline import run, write_files
    from leastpriv.settings import INPUTS, from_options

    values = {known.name: getattr(options, known.name.replace("-", "_")) or "" for known in INPUTS}
    settings = from_options(values, options.start or "", options.end or "")
    result = run(settings, _shell_workplace(settings), clock(), console.log)
    if options.output_dir:
        console.log(f"Wrote {write_files(result, Path(options.output_dir)).parent}")
    _say_published(result, console)
    print_text(stdout, f"# {result.title}\n\n{result.body}")
    return _code(settings, result, console)


def _permissions(options: Namespace, stdout: TextIO, console: Console, clock: Clock) -> int:  # noqa: ARG001
    from leastpriv.evidence.cloudtrail.trail_files import SeenEvents, TrailFolder
    from leastpriv.evidence.read import read_evidence
    from leastpriv.report.terminal import json_lines, rows_of, table
    from leastpriv.settings import named_principal, trails, window

    if bool(options.role_arn) == options.all_roles:
        raise InputError("Name one role with --role-arn, or all with --all-roles.")
    if options.cache_dir:
        raise InputError("--cache is set, but not built yet: leave it out.")
    target = named_principal(options.role_arn, "--role-arn") if options.role_arn else None
    seen = SeenEvents()
    sources = [TrailFolder(Path(name), seen=seen) for name in trails(tuple(options.trails), "--trail")]
    found = read_evidence(
        sources,
        window(options.start or "", options.end or ""),
        target,
        lambda calls: console.log(f"… {calls:,} calls"),
    )
    rows = rows_of(found, options.resources == "pattern", name_principals=options.all_roles)
    print_text(stdout, table(rows) if options.format == "table" else json_lines(rows))
    return 0


_COMMANDS = {"propose": _propose, "permissions": _permissions}


def print_text(stdout: TextIO, text: str) -> None:
    """Writes a command's result as it is: Markdown and JSON have been escaped where they were made.

    What the stream's encoding lacks is written as an escape.

    Raises:
        BrokenPipeError: whoever read it has gone.
        LeastprivError: it cannot be written, as on a full disk.
    """
    encoding = stdout.encoding or "utf-8"
    shown = text if text.endswith("\n") or not text else text + "\n"
    try:
        stdout.write(shown.encode(encoding, "backslashreplace").decode(encoding))
        stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise LeastprivError(f"The result cannot be written to standard output: {error.strerror}.") from error


def _shell_workplace(settings: Settings) -> Workplace:
    """On a shell every path starts at the current folder; the repository is the one around the policy file."""
    from leastpriv.pipeline import Workplace
    from leastpriv.settings import Mode

    policy = Path(settings.policy_file)
    repository, path = Path(), policy.as_posix()
    if settings.mode is Mode.PULL_REQUEST:
        absolute = policy.parent.resolve() / policy.name
        repository = next((folder for folder in absolute.parents if (folder / ".git").exists()), absolute.parent)
        path = absolute.relative_to(repository).as_posix()
    return Workplace(
        repository=repository,
        policy_path=path,
        policy_file=policy,
        attached=tuple(Path(name) for name in settings.also_attached),
        trails=tuple(Path(name) for name in settings.trails),
    )


def _step(environment: Mapping[str, str], runner: Runner, console: Console, clock: Clock) -> int:
    from leastpriv.pipeline import run, write_files
    from leastpriv.settings import from_environment

    settings = from_environment(environment)
    place = _step_workplace(settings, runner)
    run_url = f"{runner.server_url}/{runner.repository}/actions/runs/{{run}}" if runner.repository else ""
    with console.group("Least privilege from evidence"):
        result = run(settings, place, clock(), console.log, run_url)
    folder = (runner.temporary or runner.workspace) / "leastpriv"
    written = write_files(result, folder)
    _say_published(result, console)
    _annotate(result, console)
    _write_outputs(runner, result, written)
    if runner.summary_file:
        append_summary(runner.summary_file, f"## {result.title}\n\n{result.body}")
    return _code(settings, result, console)


def _step_workplace(settings: Settings, runner: Runner) -> Workplace:
    """In a step every path starts at, and stays in, the workspace."""
    from leastpriv.pipeline import Workplace

    def inside(value: str, name: str) -> Path:
        return repository_path(runner.workspace, value, name)

    return Workplace(
        repository=runner.workspace,
        policy_path=Path(settings.policy_file).as_posix(),
        policy_file=inside(settings.policy_file, "policy-file"),
        attached=tuple(inside(name, "also-attached") for name in settings.also_attached),
        trails=tuple(inside(name, "trails") for name in settings.trails),
    )


def _say_published(result: Result, console: Console) -> None:
    published = result.published
    if published:
        at = f" at {published.head_sha[:12]}" if published.head_sha else ""
        reason = f": {published.reason}" if published.reason else ""
        console.log(f"Branch {published.branch} {published.operation}{at}{reason}")


def _annotate(result: Result, console: Console) -> None:
    """One notice for removals and one warning for refused calls at most: ten a step is the runner's own limit."""
    from leastpriv.report.words import plural

    subject = result.subject
    if not subject.evidence.counts.calls:
        console.warning(
            f"No call of {subject.principal} was found: is the ARN right, and the trail?", title="No evidence"
        )
    unused = [change for change in subject.draft.changes if change.line]
    if unused:
        entries = plural(len(unused), "entry grants", "entries grant")
        message = f"{entries} more than {subject.role} used."
        console.notice(message, file=subject.policy_file, line=unused[0].line, title="Not used")
    denied = sum(usage.count for change in subject.draft.changes for usage in change.usages if usage.denial)
    if denied:
        console.warning(
            f"{plural(denied, 'call was', 'calls were')} refused that the proposal would allow.",
            file=subject.policy_file,
            title="Refused",
        )


def _write_outputs(runner: Runner, result: Result, written: Path) -> None:
    from leastpriv.report.outputs import outputs

    if runner.output_file:
        published = result.published
        branch = (published.operation.value, published.head_sha, published.branch) if published else ("none", "", "")
        for name, value in outputs(result.subject, written.as_posix(), *branch).items():
            write_output(runner.output_file, name, value)


def _code(settings: Settings, result: Result, console: Console) -> int:
    if settings.mode.value != "check" or not result.has_changes:
        return 0
    console.error(f"{result.subject.policy_file} is not what the evidence says ({result.title}): exit code {DRIFT}.")
    return DRIFT
