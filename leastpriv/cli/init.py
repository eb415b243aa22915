"""`leastpriv init` and `leastpriv trial`: before there is a role that reads, or a policy that suffices."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from leastpriv.cli.output import Clock
from leastpriv.github_actions.workflow_commands import Console

if TYPE_CHECKING:
    from argparse import Namespace


def trial(options: Namespace, stdout: TextIO, console: Console, clock: Clock) -> int:  # noqa: ARG001
    """Runs a command under a policy, and adds to the policy what AWS denied."""
    from leastpriv.trial.main import run_trial
    from leastpriv.trial.options import parse_settings
    from leastpriv.trial.rounds import TrialContext

    # The command's output passes through; progress of the trial is on standard error.
    return run_trial(parse_settings(options), TrialContext(os.environ, stdout, sys.stderr, clock))


def init(options: Namespace, stdout: TextIO, console: Console, clock: Clock) -> int:  # noqa: ARG001
    """Writes the role that reads the evidence, and the workflow."""
    from leastpriv.init.options import chosen_sources, parse_options
    from leastpriv.init.render import deploy_command, missing_sources, render_files, write_files

    target = parse_options(options.role_arn, options.policy_file, options.repository, options.region, options.branch)
    sources = chosen_sources(options.sources, target)
    found = render_files(sources, target)
    write_files(found, Path(options.output_dir), overwrite=options.overwrite)
    for sentence in missing_sources(sources):
        console.log(sentence)
    console.log(
        f"Deploy the role from the folder, with the repository's default branch: {deploy_command(sources, target)}"
    )
    return 0
