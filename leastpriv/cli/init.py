"""`leastpriv init` and `leastpriv trial`: before there is a role that reads, or a policy that suffices."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from leastpriv.cli import Clock
from leastpriv.github_actions.workflow_commands import Console

if TYPE_CHECKING:
    from argparse import Namespace


def trial(options: Namespace, stdout: TextIO, console: Console, clock: Clock) -> int:
    """Runs a command under a policy, and extends the policy by what is refused."""
    from leastpriv.trial.main import trial
    from leastpriv.trial.options import from_options
    from leastpriv.trial.rounds import Surroundings

    # The command talks to whoever called us, in its own words; ours stay on standard error.
    return trial(from_options(options), Surroundings(os.environ, stdout, sys.stderr, console.log, clock))


def init(options: Namespace, stdout: TextIO, console: Console, clock: Clock) -> int:  # noqa: ARG001
    """Writes the role that reads the evidence, and the workflow."""
    from leastpriv.init.options import sources_of, target_of
    from leastpriv.init.render import deploy_command, files, lacks, write

    target = target_of(options.role_arn, options.policy_file, options.repository, options.region, options.branch)
    sources = sources_of(options.sources, target)
    found = files(sources, target)
    write(found, Path(options.output_dir), console.log, overwrite=options.overwrite)
    for sentence in lacks(sources):
        console.log(sentence)
    console.log(
        f"Deploy the role from the folder, with the repository's default branch: {deploy_command(sources, target)}"
    )
    return 0
