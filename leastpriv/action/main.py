"""The main function of the action: a step of a job, with its inputs, outputs and summary."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TextIO

from leastpriv.github_actions.context import Runner
from leastpriv.github_actions.exit_code import exit_code_of
from leastpriv.github_actions.workflow_commands import Console


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
