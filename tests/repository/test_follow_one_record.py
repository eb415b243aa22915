"""The page that follows one record: its breakpoints are hit in its order, and what it prints exists
there.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from tests.pages import ROOT

PAGE = (ROOT / "docs/contributing/follow-one-record.md").read_text(encoding="utf-8")
EXAMPLE = ROOT / "examples/one-record"
DEBUGGER = re.findall(r"python -c '(.+?)'", PAGE)[0]
ROLE = "arn:aws:iam::111122223333:role/deploy"
OPTIONS = (
    "--mode",
    "pull-request",
    "--role-arn",
    ROLE,
    "--policy-file",
    "iam/deploy.json",
    "--trails",
    "trail",
)


@dataclass(frozen=True, slots=True)
class Stop:
    """One row of the walk."""

    file: str
    function: str
    expression: str

    @property
    def module(self) -> str:
        return f"leastpriv.{self.file.removesuffix('.py').replace('/', '.')}"


WALK = [
    Stop(*row)
    for row in re.findall(
        r"^\| `([a-z_/0-9]+\.py)` \| `([\w.]+)` \| `([^`]+)` \|", PAGE, re.MULTILINE
    )
]


def test_the_breakpoints_of_the_example_are_those_of_the_page() -> None:
    lines = (EXAMPLE / ".pdbrc").read_text(encoding="utf-8").splitlines()
    imports = [f"import {stop.module}" for stop in WALK]
    breakpoints = [f"tbreak {stop.module}.{stop.function}" for stop in WALK]
    assert lines == imports + breakpoints
    assert len(WALK) == 16


def test_the_debugger_stops_at_each_breakpoint_in_order_and_prints_each_expression(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "one-record"
    shutil.copytree(EXAMPLE, folder)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "LC_ALL": "C.UTF-8",
        "PYTHONPATH": str(ROOT),
    }
    git = ("git", "-c", "user.name=me", "-c", "user.email=me@example.com")
    for command in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-q", "-m", "Policy"]):
        subprocess.run([*git, *command], cwd=folder, env=environment, check=True)
    typed = ["c", *chain.from_iterable((f"p {stop.expression}", "c") for stop in WALK), "q", ""]
    completed = subprocess.run(
        [sys.executable, "-c", DEBUGGER, "propose", *OPTIONS],
        cwd=folder, env=environment, check=False, capture_output=True, text=True,
        input="\n".join(typed), timeout=120,
    )  # fmt: skip
    stops = re.findall(r"^(?:\(Pdb\) )?> (\S+)\(\d+\)(\w+)\(\)", completed.stdout, re.MULTILINE)
    expected_stops = [
        (str(ROOT / "leastpriv" / stop.file), stop.function.rpartition(".")[2]) for stop in WALK
    ]
    assert stops[: len(expected_stops)] == expected_stops, completed.stdout
    assert [line for line in completed.stdout.splitlines() if "***" in line] == []
    assert "Branch leastpriv/deploy created" in completed.stderr
