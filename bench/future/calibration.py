"""Compares what a proposal says of the next run with what came: the chance, the word, "will be
denied" and the instruction.

    .venv/bin/python -m bench.future.calibration FOLDER OUT.tsv [--runs N …] [--histories NAME …]
        [--ways WAY …] [--data yes|no …]

For each history of FOLDER (`records/` is enough) and each number of runs, a first draft and two
narrowed policies are made from the runs 1 to n, with data events and without.
What came are the calls of run n + 1, data events always included, replayed against the policy.
OUT.tsv gets a row for each; the tables are printed.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from statistics import mean

from msgspec import Struct
from msgspec.structs import asdict

from bench.future.future import Policy, proposal
from bench.future.plan import RUNS as RUNS_OF_PLAN
from bench.future.plan import existing_folder
from leastpriv.diff.compare import replay_usage
from leastpriv.evidence.models import Evidence
from leastpriv.models import Outcome, Permission
from leastpriv.permissions.event_table import Visibility, visibility
from leastpriv.permissions.patterns import resource_covers
from leastpriv.pipeline.context import PullRequestContent
from leastpriv.proposal.chance import ExpectedDenial

RUNS = (3, 5, 7, 10)
WAYS = ("draft", "narrowed", "listed")
"""A first draft; a policy of service wildcards, and one of the actions of all runs, both narrowed.
"""
_FIRST_RUN = 1001
_DENIED = frozenset({"implicitDeny", "explicitDeny"})
_BINS = 5


class Row(Struct, frozen=True):
    """One policy: what its proposal said, and what came in the next run."""

    history: str
    way: str
    """One of `WAYS`."""
    data: bool
    """Whether the trail of the runs 1 to n had data events."""
    runs: int
    said: float
    word: str
    instruction: str
    rule: str
    causes: str
    listed: int
    """Actions under "will be denied"."""
    listed_came: int
    """Those of them that the next run was denied."""
    listed_later: int
    """Those of them that any later run was denied."""
    denied: int
    """Permissions that the next run was denied."""
    denied_data: int
    """Those of them whose use is a data event."""
    denied_data_listed: int
    """Those of them whose action was listed, as certain or for a run that uses it."""
    denied_data_on: int
    """Those of them that were listed with the resource, or without one."""
    denials: str


def main() -> None:
    """Measures the histories of a folder."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=existing_folder)
    parser.add_argument("out", type=Path)
    parser.add_argument("--runs", nargs="*", type=int, default=RUNS)
    parser.add_argument("--histories", nargs="*", default=[])
    parser.add_argument("--ways", nargs="*", default=WAYS)
    parser.add_argument("--data", nargs="*", default=("yes", "no"))
    options = parser.parse_args()
    rows: list[Row] = []
    for history in sorted(options.folder.iterdir()):
        if options.histories and history.name not in options.histories:
            continue
        rows += _rows_of(history, options)
        print(history.name, flush=True)
        _write(rows, options.out)
    print_tables(rows)


def _rows_of(history: Path, options: argparse.Namespace) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        run_count = sum(1 for _ in (history / "records").iterdir())
        _copy(history, scratch / "truth", run_count, data=True)
        truth = proposal(scratch / "truth", scratch, None).context.evidence
        actions = {usage.need.permission.action for usage in truth.usages}
        committed = {
            "draft": None,
            "narrowed": _on_everything({f"{action.partition(':')[0]}:*" for action in actions}),
            "listed": _on_everything(actions),
        }
        for runs in options.runs:
            for has_data_events in [answer == "yes" for answer in options.data]:
                trail = scratch / f"{runs}-{has_data_events}"
                _copy(history, trail, runs, data=has_data_events)
                for way in options.ways:
                    result = proposal(trail, scratch, committed[way])
                    yield _row(result, truth, history.name, way, data=has_data_events, runs=runs)


def _copy(history: Path, trail: Path, runs: int, *, data: bool) -> None:
    """Copies the records of the first runs, with or without data events."""
    for number in range(runs):
        name = str(_FIRST_RUN + number)
        target = trail / name
        target.mkdir(parents=True)
        for file in (history / "records" / name).iterdir():
            records = json.loads(gzip.decompress(file.read_bytes()))["Records"]
            records_in_trail = [
                record for record in records if data or record["eventCategory"] == "Management"
            ]
            content = json.dumps({"Records": records_in_trail}).encode()
            (target / file.name).write_bytes(gzip.compress(content))


def _on_everything(actions: Iterable[str]) -> Policy:
    statement = {"Effect": "Allow", "Action": sorted(actions), "Resource": "*"}
    return {"Version": "2012-10-17", "Statement": [statement]}


def _denied(result: PullRequestContent, truth: Evidence, run: int) -> list[Permission]:
    """The permissions that the proposal denies a later run."""
    documents = result.context.proposal.documents
    session = str(_FIRST_RUN + run - 1)
    run_ids = {run.id for run in truth.runs if run.session == session}
    permissions = dict[Permission, None]()
    for usage in truth.usages:
        if run_ids.isdisjoint(usage.runs) or usage.outcome is not Outcome.ALLOWED:
            continue
        if usage.need.verified and replay_usage(usage, truth.principal, documents) & _DENIED:
            permissions[usage.need.permission] = None
    return list(permissions)


def _row(
    result: PullRequestContent,
    truth: Evidence,
    history: str,
    way: str,
    *,
    data: bool,
    runs: int,
) -> Row:
    chance = result.context.chance
    verdict = result.context.verdict
    came = _denied(result, truth, runs + 1)
    later = list(came)
    for run in range(runs + 2, RUNS_OF_PLAN + 1):
        later += _denied(result, truth, run)
    certain = [denial for denial in chance.expected if denial.is_certain]
    certain_actions = {action for denial in certain for action in denial.actions}
    expected_actions = {action for denial in chance.expected for action in denial.actions}
    data_denials = [permission for permission in came if _is_data(permission.action)]
    return Row(
        history=history,
        way=way,
        data=data,
        runs=runs,
        said=round(chance.estimate, 3),
        word=chance.word.value,
        instruction=verdict.instruction.value,
        rule=verdict.rule.value,
        causes=",".join(sorted({denial.cause.value for denial in chance.expected})),
        listed=len(certain_actions),
        listed_came=len(certain_actions & {permission.action for permission in came}),
        listed_later=len(certain_actions & {permission.action for permission in later}),
        denied=len(came),
        denied_data=len(data_denials),
        denied_data_listed=sum(denial.action in expected_actions for denial in data_denials),
        denied_data_on=sum(_is_listed(denial, chance.expected) for denial in data_denials),
        denials=" ".join(f"{permission.action}@{permission.resource}" for permission in came[:12]),
    )


def _is_data(action: str) -> bool:
    return visibility(action).visibility is Visibility.DATA


def _is_listed(permission: Permission, expected: Iterable[ExpectedDenial]) -> bool:
    """Whether "will be denied" names the action, on this resource or without one."""
    for denial in expected:
        if permission.action not in denial.actions:
            continue
        if not denial.resources or any(
            resource_covers(pattern, permission.resource) for pattern in denial.resources
        ):
            return True
    return False


def _write(rows: Sequence[Row], out: Path) -> None:
    with out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, Row.__struct_fields__, delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)


def print_tables(rows: Sequence[Row]) -> None:
    """Prints the figures of the goals."""
    print("\n| policy | data events | cases | said | came | gap | gap by fifths | Brier |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for way, data in _kinds(rows):
        cases = [row for row in rows if (row.way, row.data) == (way, data)]
        predicted = mean(row.said for row in cases)
        came = mean(row.denied > 0 for row in cases)
        brier = mean((row.said - (row.denied > 0)) ** 2 for row in cases)
        print(
            f"| {way} | {data} | {len(cases)} | {predicted:.0%} | {came:.0%} |"
            f" {abs(predicted - came):.1%} | {_gap(cases):.1%} | {brier:.3f} |"
        )
    print("\n| policy | data events | said | cases | denied in the next run |")
    print("| --- | --- | --- | ---: | ---: |")
    for way, data in _kinds(rows):
        cases = [row for row in rows if (row.way, row.data) == (way, data)]
        for title, group in (*_groups(cases, _word), *_groups(cases, lambda row: row.instruction)):
            print(f"| {way} | {data} | {title} | {len(group)} | {_share(group, _came)} |")
    drafts = [row for row in rows if row.way == "draft" and not row.data]
    listing = [row for row in drafts if row.listed]
    actions = sum(row.listed for row in listing)
    denied_data = sum(row.denied_data for row in drafts)
    print('\n"Will be denied", first drafts without data events:')
    print(f"cases with a list: {len(listing)} of {len(drafts)}")
    print(f"a listed action was denied in the next run: {_share(listing, _listed_came)}")
    print(f"in a later run: {_share(listing, lambda row: row.listed_later > 0)}")
    print(f"listed actions denied later: {sum(row.listed_later for row in listing)} of {actions}")
    by_action = sum(row.denied_data_listed for row in drafts)
    by_resource = sum(row.denied_data_on for row in drafts)
    print(
        f"denied data actions: {denied_data}, named: {by_action}, with the resource: {by_resource}"
    )


def _kinds(rows: Iterable[Row]) -> list[tuple[str, bool]]:
    return sorted({(row.way, row.data) for row in rows}, key=lambda kind: (kind[0], not kind[1]))


def _word(row: Row) -> str:
    return f"{row.word}, with a list" if row.listed else row.word


def _came(row: Row) -> bool:
    return row.denied > 0


def _listed_came(row: Row) -> bool:
    return row.listed_came > 0


def _groups(rows: Sequence[Row], name: Callable[[Row], str]) -> list[tuple[str, list[Row]]]:
    names = sorted({name(row) for row in rows})
    return [(group, [row for row in rows if name(row) == group]) for group in names]


def _share(rows: Sequence[Row], holds: Callable[[Row], bool]) -> str:
    count = sum(map(holds, rows))
    return f"{count} of {len(rows)} ({count / max(len(rows), 1):.0%})"


def _gap(rows: Sequence[Row]) -> float:
    """Mean distance of said and came over fifths of the scale, weighted by their cases."""
    total = 0.0
    for _, cases in _groups(rows, lambda row: str(min(int(row.said * _BINS), _BINS - 1))):
        predicted = mean(row.said for row in cases)
        total += len(cases) * abs(predicted - mean(row.denied > 0 for row in cases))
    return total / len(rows)


if __name__ == "__main__":
    main()
