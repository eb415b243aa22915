"""The `leastpriv` command and the action's main: thin; the only place that catches errors and decides exit codes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TextIO

from leastpriv.cli.parser import parser
from leastpriv.errors import LeastprivError
from leastpriv.github_actions.workflow_commands import Console

if TYPE_CHECKING:
    from argparse import Namespace
    from datetime import datetime

    from leastpriv.cli import Clock
    from leastpriv.github_actions.context import Runner


_INTERRUPTED = 130
_SHORT_SIGPIPE = 141


def console_main() -> int:
    """Entry point of the `leastpriv` command."""
    return main(sys.argv[1:], sys.stdout, sys.stderr, _now)


def _now() -> datetime:
    from datetime import UTC, datetime

    return datetime.now(UTC)


def main(arguments: Sequence[str], stdout: TextIO, stderr: TextIO, clock: Clock) -> int:
    """Runs one command; returns 0 done, 1 could not do its job, 2 bad input, 3 drift found."""
    console = Console(stderr, stderr, in_actions=False)
    try:
        options = parser(only=next((each for each in arguments if not each.startswith("-")), "")).parse_args(arguments)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 2
    return _guarded(lambda: _command(options.command)(options, stdout, console, clock), console, options.verbose)


def action_main(environment: Mapping[str, str], stdout: TextIO, stderr: TextIO, clock: Clock) -> int:
    """Runs the action as a step: inputs from the environment, outputs and summary into the runner's files."""
    from leastpriv.github_actions.context import Runner

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


def _step(environment: Mapping[str, str], runner: Runner, console: Console, clock: Clock) -> int:
    from leastpriv.github_actions.inputs import read_input

    if read_input(environment, "config"):
        from leastpriv.action.targets_step import several_step

        return several_step(environment, runner, console, clock)
    from leastpriv.action.step import step

    return step(environment, runner, console, clock)


def _command(name: str) -> Callable[[Namespace, TextIO, Console, Clock], int]:
    """What does it; only its own modules are loaded."""
    match name:
        case "propose":
            from leastpriv.cli.propose import propose

            return propose
        case "permissions" | "explain":
            from leastpriv.cli.permissions import explain_actions, permissions

            return permissions if name == "permissions" else explain_actions
        case "init" | "trial":
            from leastpriv.cli.init import init, trial

            return init if name == "init" else trial
    from leastpriv.cli.policies import contains, denials, evaluate

    return {"evaluate": evaluate, "contains": contains, "denials": denials}[name]
