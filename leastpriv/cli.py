"""The `leastpriv` command and the action's main: thin; the only place that catches errors and decides exit codes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from leastpriv.arguments import parser
from leastpriv.errors import InputError, LeastprivError
from leastpriv.runner.commands import Console
from leastpriv.shell import print_markdown, print_rows, print_text, shell_workplace

if TYPE_CHECKING:
    from argparse import Namespace

    from leastpriv.policy.document import Document
    from leastpriv.policy.evaluate import Layer
    from leastpriv.runner.context import Runner
    from leastpriv.settings import Settings

Clock = Callable[[], datetime]
_NEW_ACCESS = 3
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
    from leastpriv.runner.context import Runner

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
        import traceback

        console.untrusted(traceback.format_exc())


def _propose(options: Namespace, stdout: TextIO, console: Console, clock: Clock) -> int:
    from leastpriv.drift_step import annotate
    from leastpriv.inputs import INPUTS
    from leastpriv.pipeline import run
    from leastpriv.report.proposal_json import proposal_json
    from leastpriv.settings import from_options
    from leastpriv.step import exit_code, say_published
    from leastpriv.written import write_files, write_reports

    values = {known.name: getattr(options, known.name.replace("-", "_"), "") or "" for known in INPUTS}
    if values["config"] or options.discover:
        from leastpriv.several_step import several_command

        told, code = several_command(values, options, os.environ, clock(), console)
        print_text(stdout, told)
        return code
    settings = from_options(values, options.start or "", options.end or "")
    if settings.mode.value == "review":
        return _review(settings, options, stdout, console, clock)
    workplace = replace(shell_workplace(settings, os.environ, clock()), templates=_templates(options.templates))
    result = run(settings, workplace, clock(), console.log)
    if options.output_dir:
        console.log(f"Wrote {write_files(result, Path(options.output_dir)).parent}")
    write_reports([result.subject], settings, lambda value, _: Path(value))
    say_published(result, console)
    if result.forgotten:
        console.warning(result.forgotten)
    if options.format == "json":
        print_text(stdout, proposal_json(result.subject, result.title, result.body))
    else:
        print_markdown(stdout, f"# {result.title}\n\n{result.body}")
    if settings.mode.value == "check":
        annotate(result, console, None)
    return exit_code(settings, result, console)


def _review(settings: Settings, options: Namespace, stdout: TextIO, console: Console, clock: Clock) -> int:
    """The file on disk against the one of the base branch; without a base, against the commit that is checked out."""
    from leastpriv.review import Edited, run_review
    from leastpriv.review_step import review_code

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

    result = run_review(settings, workplace, Edited(lambda path: place.read(base, path), on_disk), console.log)
    print_markdown(stdout, f"# {result.title}\n\n{result.whole}")
    return review_code(result, console)


def _permissions(options: Namespace, stdout: TextIO, console: Console, clock: Clock) -> int:
    from leastpriv.evidence.cloudtrail.file_reader import SeenEvents
    from leastpriv.evidence.cloudtrail.trail_files import TrailFolder
    from leastpriv.evidence.read import read_evidence
    from leastpriv.report.terminal import permission_table, rows_of
    from leastpriv.sources import DAYS, CountedSource, Reach, bucket_trail, event_history, opened
    from leastpriv.values import EVENT_HISTORY, is_in_aws, named_principal, trails, window

    if bool(options.role_arn) == options.all_roles:
        raise InputError("Name one role with --role-arn, or all with --all-roles.")
    target = named_principal(options.role_arn, "--role-arn") if options.role_arn else None
    seen = SeenEvents()
    reach, days = Reach(os.environ, clock(), options.aws_regions), None if options.start else DAYS

    cache = Path(options.cache_dir) if options.cache_dir else None

    def source(name: str) -> CountedSource:
        if is_in_aws(name):
            return bucket_trail(name, reach, seen, console.log, days, options.cache_dir or "", survey=False)
        if name == EVENT_HISTORY:
            return event_history(target, tuple(options.aws_regions), reach, seen, console.log, DAYS)
        return TrailFolder(Path(name), seen=seen, survey=False, cache=cache)

    makers = [partial(source, name) for name in trails(tuple(options.trails), "--trail")]
    sources = opened(makers, console.log)
    found = read_evidence(
        sources,
        window(options.start or "", options.end or ""),
        target,
        lambda calls: console.log(f"… {calls:,} calls"),
    )
    console.settle()
    rows = rows_of(found, options.resources == "pattern", name_principals=options.all_roles)
    print_rows(stdout, rows, permission_table, options.format)
    return 0


def _why(options: Namespace, stdout: TextIO, console: Console, clock: Clock) -> int:
    from leastpriv.arguments import EXPLAINED
    from leastpriv.pipeline import run
    from leastpriv.policy.location import Location
    from leastpriv.report.explain import explain, explain_without_evidence
    from leastpriv.settings import from_options
    from leastpriv.sources import Reach
    from leastpriv.workplace import Workplace

    values = {name: getattr(options, name.replace("-", "_")) or "" for name in EXPLAINED}
    if not (options.role_arn or options.trails or options.policy_file):
        print_text(stdout, explain_without_evidence(options.actions))
        return 0
    if options.policy_file and not Path(Location.of(options.policy_file).path).is_file():
        raise InputError(f"--policy-file names {options.policy_file!r}, which is no file.")
    values["policy-file"] = options.policy_file or "policy"
    settings = from_options(values, options.start or "", options.end or "")
    trails = tuple(Path(name) for name in settings.trail_folders)
    workplace = Workplace(settings.policy_file, None, trails, reach=Reach(os.environ, clock(), settings.aws_regions))
    if options.policy_file:
        workplace = shell_workplace(settings, os.environ, clock())
    result = run(settings, workplace, clock(), console.log)
    print_text(stdout, explain(options.actions, result.subject, has_policy=bool(options.policy_file)))
    return 0


def _step(environment: Mapping[str, str], runner: Runner, console: Console, clock: Clock) -> int:
    from leastpriv.runner.inputs import read_input

    if read_input(environment, "config"):
        from leastpriv.several_step import several_step

        return several_step(environment, runner, console, clock)
    from leastpriv.step import step

    return step(environment, runner, console, clock)


def _evaluate(options: Namespace, stdout: TextIO, console: Console, clock: Clock) -> int:  # noqa: ARG001
    from leastpriv.policy.evaluate import evaluate_layers
    from leastpriv.policy.requests import read_requests
    from leastpriv.report.decisions import decision_row
    from leastpriv.report.terminal import decision_table

    layers: dict[Layer, list[Document]] = {"identity": [_policy(name, "--policy") for name in options.policies]}
    if options.boundary:
        layers["boundary"] = [_policy(options.boundary, "--boundary")]
    if options.session_policy:
        layers["session"] = [_policy(options.session_policy, "--session-policy")]
    requests = read_requests(_bytes_of(options.request, "--request"), options.request)
    rows = [decision_row(evaluate_layers(request, layers), layers) for request in requests]
    print_rows(stdout, rows, decision_table, options.format)
    return 0


def _contains(options: Namespace, stdout: TextIO, console: Console, clock: Clock) -> int:  # noqa: ARG001
    from leastpriv.policy.contain import contained
    from leastpriv.report.decisions import excess_row, excess_sentence
    from leastpriv.report.terminal import excess_table

    old = [_policy(name, "--old") for name in options.old]
    new = [_policy(name, "--new") for name in options.new]
    smallest = contained(old, new).smallest
    if smallest is None:
        return 0
    print_rows(stdout, [excess_row(smallest, new)], excess_table, options.format)
    console.error(excess_sentence(smallest, new))
    return _NEW_ACCESS


def _denials(options: Namespace, stdout: TextIO, console: Console, clock: Clock) -> int:  # noqa: ARG001
    from leastpriv.evidence.refusals.job_log import distinct
    from leastpriv.evidence.refusals.log_files import read_logs
    from leastpriv.report.denials import logged_row, sum_up
    from leastpriv.report.terminal import denial_table

    found, more = distinct(read_logs(options.files, sys.stdin.buffer))
    print_rows(stdout, [logged_row(one) for one in found], denial_table, options.format)
    console.log(sum_up(found, more=more))
    return 0 if found else 1


def _trial(options: Namespace, stdout: TextIO, console: Console, clock: Clock) -> int:
    from leastpriv.trial.flow import trial
    from leastpriv.trial.rounds import Surroundings
    from leastpriv.trial.settings import from_options

    # The command talks to whoever called us, in its own words; ours stay on standard error.
    return trial(from_options(options), Surroundings(os.environ, stdout, sys.stderr, console.log, clock))


def _init(options: Namespace, stdout: TextIO, console: Console, clock: Clock) -> int:  # noqa: ARG001
    from leastpriv.inputs import INPUTS
    from leastpriv.setup.files import deploy_command, files, write
    from leastpriv.setup.target import sources_of, target_of
    from leastpriv.setup.workflow import lacks

    target = target_of(options.role_arn, options.policy_file, options.repository, options.region, options.branch)
    sources = sources_of(options.sources, target)
    found = files(sources, target, {known.name: known.built for known in INPUTS})
    write(found, Path(options.output_dir), console.log, overwrite=options.overwrite)
    for sentence in lacks(sources):
        console.log(sentence)
    console.log(
        f"Deploy the role from the folder, with the repository's default branch: {deploy_command(sources, target)}"
    )
    return 0


def _templates(names: Sequence[str]) -> tuple[Path, ...]:
    for name in names:
        if not Path(name).is_file():
            raise InputError(f"--template names {name!r}, which is no file.")
    return tuple(map(Path, names))


def _policy(name: str, flag: str) -> Document:
    from leastpriv.policy.document import parse
    from leastpriv.policy.location import Location

    location = Location.of(name)
    path, mark, pointer = name.partition("#")
    if mark and not location.pointer and not Path(name).exists() and Path(path).is_file():
        raise InputError(f"{flag} names {path!r} with the pointer {pointer!r}; a pointer begins with /, as #/Policy.")
    return parse(_bytes_of(location.path, flag), location.path, location.pointer)


def _bytes_of(name: str, flag: str) -> bytes:
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise InputError(f"{flag} names {name!r}, which cannot be read: {error.strerror}.") from error


_COMMANDS = {
    "propose": _propose,
    "permissions": _permissions,
    "explain": _why,
    "evaluate": _evaluate,
    "contains": _contains,
    "denials": _denials,
    "init": _init,
    "trial": _trial,
}
