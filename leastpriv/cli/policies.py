"""Commands on policies and messages (`evaluate`, `contains`, `denials`), and `trial`."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from leastpriv.atomic_file import read_regular
from leastpriv.cli.output import Clock, print_rows
from leastpriv.errors import InputError
from leastpriv.github_actions.workflow_commands import Console

if TYPE_CHECKING:
    from argparse import Namespace

    from leastpriv.policy.document import Document
    from leastpriv.policy.evaluate import Layer


_NEW_ACCESS = 3


def evaluate(options: Namespace, stdout: TextIO, console: Console, clock: Clock) -> int:  # noqa: ARG001
    """Decides requests."""
    from leastpriv.policy.evaluate import evaluate_layers, read_requests
    from leastpriv.report.tables import decision_row, decision_table

    layers: dict[Layer, list[Document]] = {"identity": [_policy(name, "--policy") for name in options.policies]}
    if options.boundary:
        layers["boundary"] = [_policy(options.boundary, "--boundary")]
    if options.session_policy:
        layers["session"] = [_policy(options.session_policy, "--session-policy")]
    requests = read_requests(_bytes_of(options.request, "--request"), options.request)
    rows = [decision_row(evaluate_layers(request, layers), layers) for request in requests]
    print_rows(stdout, rows, decision_table, options.format)
    return 0


def contains(options: Namespace, stdout: TextIO, console: Console, clock: Clock) -> int:  # noqa: ARG001
    """Returns 0 where a policy allows nothing that another does not, else 3, and prints the smallest new request."""
    from leastpriv.policy.containment import check_containment
    from leastpriv.report.tables import excess_row, excess_sentence, excess_table

    old = [_policy(name, "--old") for name in options.old]
    new = [_policy(name, "--new") for name in options.new]
    smallest = check_containment(old, new).smallest
    if smallest is None:
        return 0
    print_rows(stdout, [excess_row(smallest, new)], excess_table, options.format)
    console.error(excess_sentence(smallest, new))
    return _NEW_ACCESS


def denials(options: Namespace, stdout: TextIO, console: Console, clock: Clock) -> int:  # noqa: ARG001
    """Lists the denials in logs; returns 1 without one."""
    from leastpriv.evidence.denials.job_logs import distinct_denials, read_logs
    from leastpriv.report.tables import denial_summary, denial_table, logged_denial_row

    found, more = distinct_denials(read_logs(options.files, sys.stdin.buffer))
    print_rows(stdout, [logged_denial_row(one) for one in found], denial_table, options.format)
    console.log(denial_summary(found, more=more))
    return 0 if found else 1


def _policy(name: str, flag: str) -> Document:
    from leastpriv.pipeline.terraform_folder import folder_on_disk
    from leastpriv.policy.document import parse
    from leastpriv.policy.source import Location

    location = Location.of(name)
    path, mark, pointer = name.partition("#")
    if mark and not location.pointer and not Path(name).exists() and Path(path).is_file():
        raise InputError(f"{flag} names {path!r} with the pointer {pointer!r}; a pointer begins with /, as #/Policy.")
    folder = folder_on_disk(location.path, Path())
    return parse(_bytes_of(location.path, flag), location.path, location.pointer, folder=folder)


def _bytes_of(name: str, flag: str) -> bytes:
    try:
        return read_regular(Path(name))
    except OSError as error:
        raise InputError(f"{flag} names {name!r}, which cannot be read: {error.strerror}.") from error


def trial(options: Namespace, stdout: TextIO, console: Console, clock: Clock) -> int:  # noqa: ARG001
    """Runs a command under a policy, and adds to the policy what AWS denied."""
    from leastpriv.trial.main import run_trial
    from leastpriv.trial.options import parse_settings
    from leastpriv.trial.rounds import TrialContext

    # The command's output passes through; progress of the trial is on standard error.
    return run_trial(parse_settings(options), TrialContext(os.environ, stdout, sys.stderr, clock))
