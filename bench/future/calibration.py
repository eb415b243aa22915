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
    asked = parser.parse_args()
    rows: list[Row] = []
    for place in sorted(asked.folder.iterdir()):
        if asked.histories and place.name not in asked.histories:
            continue
        rows += _rows_of(place, asked)
        print(place.name, flush=True)
        _write(rows, asked.out)
    print_tables(rows)


def _rows_of(place: Path, asked: argparse.Namespace) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        every = sum(1 for _ in (place / "records").iterdir())
        _copy(place, scratch / "truth", every, data=True)
        truth = proposal(scratch / "truth", scratch, None).context.evidence
        actions = {usage.need.permission.action for usage in truth.usages}
        committed = {
            "draft": None,
            "narrowed": _on_everything({f"{each.partition(':')[0]}:*" for each in actions}),
            "listed": _on_everything(actions),
        }
        for runs in asked.runs:
            for data in [each == "yes" for each in asked.data]:
                trail = scratch / f"{runs}-{data}"
                _copy(place, trail, runs, data=data)
                for way in asked.ways:
                    result = proposal(trail, scratch, committed[way])
                    yield _row(result, truth, place.name, way, data=data, runs=runs)


def _copy(place: Path, trail: Path, runs: int, *, data: bool) -> None:
    """Copies the records of the first runs, with or without data events."""
    for number in range(runs):
        name = str(_FIRST_RUN + number)
        target = trail / name
        target.mkdir(parents=True)
        for file in (place / "records" / name).iterdir():
            records = json.loads(gzip.decompress(file.read_bytes()))["Records"]
            kept = [each for each in records if data or each["eventCategory"] == "Management"]
            content = json.dumps({"Records": kept}).encode()
            (target / file.name).write_bytes(gzip.compress(content))


def _on_everything(actions: Iterable[str]) -> Policy:
    statement = {"Effect": "Allow", "Action": sorted(actions), "Resource": "*"}
    return {"Version": "2012-10-17", "Statement": [statement]}


def _denied(result: PullRequestContent, truth: Evidence, run: int) -> list[Permission]:
    """The permissions that the proposal denies a later run."""
    documents = result.context.proposal.documents
    session = str(_FIRST_RUN + run - 1)
    own = {each.id for each in truth.runs if each.session == session}
    found = dict[Permission, None]()
    for usage in truth.usages:
        if own.isdisjoint(usage.runs) or usage.outcome is not Outcome.ALLOWED:
            continue
        if usage.need.verified and replay_usage(usage, truth.principal, documents) & _DENIED:
            found[usage.need.permission] = None
    return list(found)


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
    certain = [each for each in chance.expected if each.is_certain]
    listed = {action for each in certain for action in each.actions}
    named = {action for each in chance.expected for action in each.actions}
    data_denials = [each for each in came if _is_data(each.action)]
    return Row(
        history=history,
        way=way,
        data=data,
        runs=runs,
        said=round(chance.estimate, 3),
        word=chance.word.value,
        instruction=verdict.instruction.value,
        rule=verdict.rule.value,
        causes=",".join(sorted({each.cause.value for each in chance.expected})),
        listed=len(listed),
        listed_came=len(listed & {each.action for each in came}),
        listed_later=len(listed & {each.action for each in later}),
        denied=len(came),
        denied_data=len(data_denials),
        denied_data_listed=sum(each.action in named for each in data_denials),
        denied_data_on=sum(_is_listed(each, chance.expected) for each in data_denials),
        denials=" ".join(f"{each.action}@{each.resource}" for each in came[:12]),
    )


def _is_data(action: str) -> bool:
    return visibility(action).visibility is Visibility.DATA


def _is_listed(permission: Permission, expected: Iterable[ExpectedDenial]) -> bool:
    """Whether "will be denied" names the action, on this resource or without one."""
    for each in expected:
        if permission.action not in each.actions:
            continue
        if not each.resources or any(
            resource_covers(pattern, permission.resource) for pattern in each.resources
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
        own = [row for row in rows if (row.way, row.data) == (way, data)]
        said = mean(row.said for row in own)
        came = mean(row.denied > 0 for row in own)
        brier = mean((row.said - (row.denied > 0)) ** 2 for row in own)
        print(
            f"| {way} | {data} | {len(own)} | {said:.0%} | {came:.0%} | {abs(said - came):.1%} |"
            f" {_gap(own):.1%} | {brier:.3f} |"
        )
    print("\n| policy | data events | said | cases | denied in the next run |")
    print("| --- | --- | --- | ---: | ---: |")
    for way, data in _kinds(rows):
        own = [row for row in rows if (row.way, row.data) == (way, data)]
        for title, group in (*_groups(own, _word), *_groups(own, lambda row: row.instruction)):
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
    named = sum(row.denied_data_listed for row in drafts)
    on = sum(row.denied_data_on for row in drafts)
    print(f"denied data actions: {denied_data}, named: {named}, with the resource: {on}")


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
    return [(each, [row for row in rows if name(row) == each]) for each in names]


def _share(rows: Sequence[Row], holds: Callable[[Row], bool]) -> str:
    count = sum(map(holds, rows))
    return f"{count} of {len(rows)} ({count / max(len(rows), 1):.0%})"


def _gap(rows: Sequence[Row]) -> float:
    """Mean distance of said and came over fifths of the scale, weighted by their cases."""
    total = 0.0
    for _, own in _groups(rows, lambda row: str(min(int(row.said * _BINS), _BINS - 1))):
        said = mean(row.said for row in own)
        total += len(own) * abs(said - mean(row.denied > 0 for row in own))
    return total / len(rows)


if __name__ == "__main__":
    main()
