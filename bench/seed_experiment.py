"""The experiment with the real deploy tools as a table: rounds until clean, by tool and by what the trail records.

    .venv/bin/python bench/seed_experiment.py [NAME …]

NAME is a part of a tool's name (`CDK`). It takes some ten minutes; every deploy runs in the lab, no account is needed.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.end_to_end.seed.deploys import ALL
from tests.end_to_end.seed.experiment import Told, experiment


def main(names: list[str]) -> None:
    """Prints a row for each tool, with and without data events."""
    print("| tool | data events | actions proposed | rounds | added by refusals | deploys clean | seconds |")
    print("| --- | --- | ---: | ---: | --- | --- | ---: |")
    for deploy in ALL:
        if names and not any(name in deploy.name for name in names):
            continue
        for data_events in (True, False):
            with tempfile.TemporaryDirectory() as folder:
                _print(experiment(deploy, Path(folder), data_events=data_events), data_events=data_events)


def _print(told: Told, *, data_events: bool) -> None:
    actions = {action for statement in told.policy["Statement"] for action in statement["Action"]}
    added = ", ".join(dict.fromkeys(each.partition(" on ")[0] for one in told.rounds for each in one.added))
    recorded, clean = ("yes" if yes else "no" for yes in (data_events, told.clean))
    print(
        f"| {told.deploy} | {recorded} | {len(actions)} | {len(told.rounds)} | {added or '–'} | {clean} "
        f"| {told.seconds:.0f} |",
        flush=True,
    )


if __name__ == "__main__":
    main(sys.argv[1:])
