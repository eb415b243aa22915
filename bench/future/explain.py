"""Explains for each history what the first draft denies from run 10 on, and what it grants that no
run needed.

    .venv/bin/python -m bench.future.explain FOLDER [HISTORY …]

A line `refused RUN ACTION RESOURCE` is a pair of that run, decided by the draft from the runs
before it; a line `surplus` is a pattern of the last draft, the actions under it and the resources
of all histories that it covers beyond need (those of this history are marked `own`).
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.future.future import LabEvaluator, Policy, each_of, granted_on, proposal, written
from bench.future.plan import RUNS, existing_folder
from bench.future.truth import Askable, authorization_checks, pair

_FIRST = 9
"""Drafts of this number of runs and more are explained."""


def main(arguments: list[str]) -> None:
    """Explains the histories named, or all."""
    parser = argparse.ArgumentParser(description="Explain the first drafts of histories.")
    parser.add_argument("folder", type=existing_folder)
    parser.add_argument("histories", nargs="*", metavar="HISTORY")
    options = parser.parse_args(arguments)
    folder: Path = options.folder
    names: list[str] = options.histories
    histories = sorted(
        history for history in folder.iterdir() if (history / "checks.jsonl").exists()
    )
    checks_by_history = {history.name: authorization_checks(history) for history in histories}
    askable = Askable(check for checks in checks_by_history.values() for check in checks)
    evaluator = LabEvaluator()
    for history in histories:
        if not names or history.name in names:
            print(history.name)
            policies = _print_denials(history, checks_by_history[history.name], evaluator)
            _surplus(policies, {pair(check) for check in checks_by_history[history.name]}, askable)
    evaluator.close()


def _print_denials(
    history: Path, checks: Sequence[Mapping[str, Any]], evaluator: LabEvaluator
) -> Sequence[Policy]:
    """Prints what the draft of the runs before it denies each run; returns the last draft."""
    policies: Sequence[Policy] = ()
    with tempfile.TemporaryDirectory() as scratch:
        trail = Path(scratch) / "trail"
        for runs in range(1, RUNS):
            shutil.copytree(history / "records" / str(1000 + runs), trail / str(runs))
            if runs < _FIRST:
                continue
            policies = written(proposal(trail, Path(scratch), None))
            answers = zip(checks, evaluator.allowed(policies, checks), strict=True)
            for action, resource in sorted(
                {pair(check) for check, may in answers if not may and check["run"] == runs}
            ):
                print(f"  refused {runs + 1} {action} {resource}")
    return policies


def _surplus(policies: Sequence[Policy], used: set[tuple[str, str]], askable: Askable) -> None:
    resources_of_history = {resource for _, resource in used}
    beyond: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for policy in policies:
        for statement in each_of(policy["Statement"]):
            for action in each_of(statement["Action"]):
                for pattern in each_of(statement["Resource"]):
                    unused = [
                        resource
                        for resource in granted_on(action, [pattern], askable)
                        if (action, resource) not in used
                    ]
                    if unused:
                        beyond.setdefault((pattern, tuple(unused)), []).append(action)
    for (pattern, resources), actions in sorted(
        beyond.items(), key=lambda surplus: -len(surplus[0][1]) * len(surplus[1])
    ):
        inside = len(resources_of_history.intersection(resources)) * len(actions)
        print(
            f"  surplus {len(resources) * len(actions)}, own {inside}: {', '.join(actions)} on"
            f" {pattern}"
        )
        print(f"    {' '.join(resources)[:400]}")


if __name__ == "__main__":
    main(sys.argv[1:])
