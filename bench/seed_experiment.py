"""Prints the experiment with the real deploy tools as a table: rounds until clean, by tool and by
recorded events.

    python -m bench.seed_experiment [--fresh] [NAME …]

NAME is a part of a tool's name (`CDK`). With `--fresh` each deploy gives its resources other names.
It takes some ten minutes; every deploy runs in the lab, no account is needed.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.end_to_end.seed.deploys import ALL
from tests.end_to_end.seed.experiment import TrialResult, experiment

_FIRST = "first deploy"
_WAYS = (
    ("all", True, "", False),
    ("all", False, "", False),
    ("all", False, "", True),
    (_FIRST, True, _FIRST, False),
    (_FIRST, True, _FIRST, True),
)
"""The administrator's deploy, whether data events are recorded, the last step, whether offers are
accepted.
"""


def main(names: list[str]) -> None:
    """Prints a row per tool and variant."""
    fresh = "--fresh" in names
    names = [each for each in names if each != "--fresh"]
    print(
        "| tool | seen | data events | offers taken | actions | extensions | added by refusals |"
        " clean | seconds |"
    )
    print("| --- | --- | --- | --- | ---: | ---: | --- | --- | ---: |")
    for deploy in ALL:
        for seen, data_events, until, accept in _WAYS:
            if (until and not deploy.template) or (
                fresh and (until or accept)
            ):  # nothing would be declared
                continue
            if not names or any(name in deploy.name for name in names):
                with tempfile.TemporaryDirectory() as folder:
                    result = experiment(
                        deploy,
                        Path(folder),
                        data_events=data_events,
                        until=until,
                        accept_offers=accept,
                        fresh_names=fresh,
                    )
                if fresh and not result.clean:
                    print(result.log[-3_000:])
                _print(result, seen, data_events=data_events, accept=accept)


def _print(result: TrialResult, seen: str, *, data_events: bool, accept: bool) -> None:
    entries = [statement["Action"] for statement in result.policy["Statement"]]
    actions = {
        action for entry in entries for action in ([entry] if isinstance(entry, str) else entry)
    }
    added = ", ".join(dict.fromkeys(each.partition(" on ")[0] for each in result.added))
    yes = {True: "yes", False: "no"}
    print(
        f"| {result.deploy} | {seen} | {yes[data_events]} | {yes[accept]} | {len(actions)} |"
        f" {result.extensions} | {added or '–'} | {yes[result.clean]} | {result.seconds:.0f} |",
        flush=True,
    )


if __name__ == "__main__":
    main(sys.argv[1:])
