"""How the time of a proposal and its proof grows: `python bench/large_policy.py [ENTRIES …]`, or
`--needs [NEEDS …]`.

Prints the seconds of the processor for comparing, proposing and proving with each run left out, for
policies of so many entries (300, 1,000, 3,000), as one statement, as statements of ten actions and
of one action each, and how the whole grows against the number of entries. Each of 60 runs has a
parameter that no other has, so that 40 of them are left out by a proposal each. With `--needs`: the
same for a policy of 11 statements and so many further distinct needs of every run (100, 1,000,
10,000), and the seconds of evaluating so many distinct needs alone, 100 times as many. Needs the
package installed.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from leastpriv.diff.compare import compare
from leastpriv.evidence.models import CallGroup, Counts, Evidence
from leastpriv.models import Basis, Need, Outcome, Permission, Run, Usage
from leastpriv.permissions import catalog
from leastpriv.permissions.resource_types import VARIABLE, action_of
from leastpriv.policy.document import Document, parse
from leastpriv.policy.evaluate import Request, evaluate
from leastpriv.proposal.models import Options
from leastpriv.proposal.proof import prove
from leastpriv.proposal.propose import propose
from tests.fakes.evidence import complete

ROLE = "arn:aws:iam::111122223333:role/ci-deploy"
PLACES = {"Partition": "aws", "Region": "eu-west-1", "Account": "111122223333"}
FIRST = datetime(2026, 8, 1, tzinfo=UTC)
RUNS = tuple(
    Run(f"{1765000000 + n}", "s", FIRST + timedelta(hours=36 * n), FIRST) for n in range(60)
)
USED = 300


def actions(count: int) -> list[str]:
    """Return the given number of actions of the catalogue, evenly from all services."""
    every = [name for prefix in sorted(catalog.services()) for name in catalog.actions(prefix)]
    return [every[number * len(every) // count] for number in range(count)]


def usages(granted: Sequence[str]) -> Iterator[Usage]:
    """Some of the granted actions, used by every run, and one parameter per run."""
    every = tuple(run.id for run in RUNS)
    for action in granted[:: max(len(granted) // USED, 1)]:
        known = action_of(action)
        arn = known.resource_types[0].arn if known and known.resource_types else "*"
        yield usage(action, VARIABLE.sub(lambda found: PLACES.get(found[1], "thing"), arn), every)
    for number, run in enumerate(RUNS):
        name = f"arn:aws:ssm:eu-west-1:111122223333:parameter/rel-{number * 7919 % 100_003}"
        yield usage("ssm:PutParameter", name, (run.id,))


def usage(action: str, resource: str, runs: tuple[str, ...]) -> Usage:
    """Make one permission, used in some runs."""
    need = Need(Permission(action, resource), Basis.OBSERVED, "made up")
    return Usage(
        need,
        Outcome.ALLOWED,
        len(runs),
        FIRST,
        RUNS[-1].first,
        runs,
        (f"{action}.event",),
        ("eu-west-1",),
    )


def evidence(used: tuple[Usage, ...]) -> Evidence:
    """Evidence of 60 runs in 90 days."""
    groups = tuple(
        CallGroup((each.need,), each.outcome, each.count, each.runs, each.regions, "e")
        for each in used
    )
    calls = sum(each.count for each in used)
    return Evidence(
        ROLE,
        used,
        groups,
        runs=RUNS,
        first=FIRST,
        last=RUNS[-1].first,
        counts=Counts(calls=calls, allowed=calls),
        regions=("eu-west-1",),
        coverage=complete("eu-west-1", "us-east-1", start=FIRST.date(), days=100),
    )


def document(granted: Sequence[str], a_statement: int) -> Document:
    """Make a policy of some actions, with the given number per statement."""
    every = [*granted, "ssm:PutParameter"]
    statements = [
        {
            "Sid": f"S{number}",
            "Effect": "Allow",
            "Action": every[number : number + a_statement],
            "Resource": "*",
        }
        for number in range(0, len(every), a_statement)
    ]
    return parse(
        json.dumps({"Version": "2012-10-17", "Statement": statements}, indent=2).encode(), "policy"
    )


KINDS = {
    "sqs:SendMessage": "arn:aws:sqs:eu-west-1:111122223333:queue-{}",
    "s3:GetObject": "arn:aws:s3:::bucket/{}.txt",
    "dynamodb:GetItem": "arn:aws:dynamodb:eu-west-1:111122223333:table/table-{}",
    "sns:Publish": "arn:aws:sns:eu-west-1:111122223333:topic-{}",
    "lambda:InvokeFunction": "arn:aws:lambda:eu-west-1:111122223333:function:function-{}",
}


def needed(count: int) -> Iterator[tuple[str, str]]:
    """Yield so many distinct actions on resources."""
    kinds = list(KINDS.items())
    for number in range(count):
        action, arn = kinds[number % len(kinds)]
        yield action, arn.format(number)


def evaluated(count: int) -> float:
    """Return the seconds of evaluating so many distinct needs against a policy of 11 statements."""
    documents = [document([*actions(100), *KINDS], 10)]
    started = time.process_time()
    for action, arn in needed(count):
        evaluate(Request(action, arn), documents)
    return time.process_time() - started


def measured(granted: Sequence[str], a_statement: int, needs: int = 0) -> float:
    """Print the seconds of one policy, and return their sum."""
    every = tuple(run.id for run in RUNS)
    used = (*usages(granted), *(usage(action, arn, every) for action, arn in needed(needs)))
    found, options = evidence(used), Options()
    committed = document([*granted, *KINDS] if needs else granted, a_statement)
    times = [time.process_time()]
    difference = compare(committed, [], found)
    times.append(time.process_time())
    proposal = propose(committed, difference, found, options)
    times.append(time.process_time())
    proof = prove(proposal, [], found, options)
    times.append(time.process_time())
    assert proof.left_out is not None and proof.left_out.untried >= len(RUNS) - 40  # noqa: S101, PT018
    parts = " ".join(f"{after - before:7.2f}" for before, after in pairwise(times))
    size = f"{len(granted):7,} {len(committed.statements):6,} {len(used):7,}"
    print(f"{size} {parts} {times[-1] - times[0]:7.2f}  {len(proposal.changes)}", flush=True)
    return times[-1] - times[0]


def main(sizes: Sequence[int]) -> None:
    """Measure policies of several sizes."""
    compare(document(["s3:*"], 1), [], evidence(tuple(usages(actions(300)))))
    print("entries  stmts   needs  compare propose prove    all  changes")
    for a_statement in (1_000_000, 10, 1):
        seconds = [measured(actions(size), a_statement) for size in sizes]
        print(
            f"  {sizes[-1] / sizes[0]:.1f} times the entries: {seconds[-1] / seconds[0]:.1f} times"
            " the seconds"
        )


def main_of_needs(sizes: Sequence[int]) -> None:
    """Measure several numbers of needs."""
    print("entries  stmts   needs  compare propose prove    all  changes")
    seconds = [measured(actions(100), 10, size) for size in sizes]
    print(
        f"  {sizes[-1] / sizes[0]:.1f} times the needs: {seconds[-1] / seconds[0]:.1f} times the"
        " seconds"
    )
    for size in sizes:
        print(f"{100 * size:,} needs evaluated: {evaluated(100 * size):.2f} s", flush=True)


if __name__ == "__main__":
    numbers = [int(each) for each in sys.argv[1:] if each.isdecimal()]
    if "--needs" in sys.argv:
        main_of_needs(numbers or [100, 1_000, 10_000])
    else:
        main(numbers or [300, 1_000, 3_000])
