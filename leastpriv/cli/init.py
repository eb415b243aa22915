"""`leastpriv init`: asks for what is missing, writes the files, or checks them with credentials."""

from __future__ import annotations

import os
import re
import sys
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TextIO

from leastpriv.cli.output import Clock, print_text
from leastpriv.errors import InputError
from leastpriv.github_actions.workflow_commands import Console


def init(options: Namespace, stdout: TextIO, console: Console, clock: Clock) -> int:  # noqa: ARG001
    """Writes the reader role and the workflow, or checks them."""
    from leastpriv.init.options import known_options, parse_options
    from leastpriv.init.render import command_options, next_steps, render_files, write_files

    given: dict[str, Sequence[str]] = {}
    for name, known in known_options().items():
        value = getattr(options, name.replace("-", "_"))
        texts = (value,) if isinstance(value, str) else value or ()
        form = r"[,\s]+" if known["several"] == "commas" else r"\Z"
        given[name] = tuple(each for text in texts for each in re.split(form, text) if each)
    if sys.stdin.isatty() and not (given["repository"] and given["role-arn"]):
        given = ask(given, lambda prompt: _answer(prompt, sys.stdin, sys.stderr), console.error)
        console.log(f"Without questions: leastpriv init {command_options(given)}")
    target = parse_options(given)
    if options.check:
        from leastpriv.init.check import check_rows, check_setup

        checks = list(check_setup(target, os.environ))
        print_text(stdout, check_rows(checks))
        return int(any(each.works is False for each in checks))
    found = render_files(target)
    write_files(found, Path(options.output_dir), overwrite=options.overwrite)
    for number, step in enumerate(next_steps(target, found, given), start=1):
        for line in f"{number}. {step}".split("\n"):
            console.log(line)
    return 0


def ask(
    given: Mapping[str, Sequence[str]], answer: Callable[[str], str], report: Callable[[str], None]
) -> dict[str, Sequence[str]]:
    """Asks for each option that is not given, again after a wrong answer; returns all options."""
    from leastpriv.init.options import check_option, known_options

    found = dict(given)
    for name, known in known_options().items():
        question, default, needs = known["question"], known["default"], known["needs"]
        skipped = {
            "no environment": bool(found["environment"]),
            "s3": not any(each.startswith("s3://") for each in found["trails"]),
            "athena": not found["athena-table"],
        }
        while question and not found[name] and not skipped.get(needs, False):
            said = answer(f"{question}{f' [{default}]' if default else ''}: ").strip() or default
            words = (said,) if name == "environment" and said else tuple(said.split())
            try:
                found[name] = tuple(check_option(name, each) for each in words)
            except InputError as error:
                report(str(error))
                continue
            if said or name not in ("repository", "role-arn"):
                break
    return found


def _answer(prompt: str, stdin: TextIO, stderr: TextIO) -> str:
    stderr.write(prompt)
    stderr.flush()
    line = stdin.readline()
    if not line:
        raise InputError("The answers ended: name the options, or answer on a terminal.")
    return line
