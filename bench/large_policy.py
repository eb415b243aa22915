"""How the time of a proposal and its proof grows with policies and needs.

    python -m bench.large_policy [ENTRIES …]
    python -m bench.large_policy --needs [NEEDS …]

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
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

from bench.measure import Stopwatch
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
VALUES_OF_VARIABLES = {"Partition": "aws", "Region": "eu-west-1", "Account": "111122223333"}
FIRST = datetime(2026, 8, 1, tzinfo=UTC)
RUNS = tuple(
    Run(f"{1765000000 + n}", "s", FIRST + timedelta(hours=36 * n), FIRST) for n in range(60)
)
RUN_IDS = tuple(run.id for run in RUNS)
LEFT_OUT_RUNS = 40
"""The product leaves out so many of the runs."""
USED_ACTIONS = 300
TITLE = "entries  stmts   needs  compare propose prove    all  changes"
ARN_BY_ACTION = {
    "sqs:SendMessage": "arn:aws:sqs:eu-west-1:111122223333:queue-{}",
    "s3:GetObject": "arn:aws:s3:::bucket/{}.txt",
    "dynamodb:GetItem": "arn:aws:dynamodb:eu-west-1:111122223333:table/table-{}",
    "sns:Publish": "arn:aws:sns:eu-west-1:111122223333:topic-{}",
    "lambda:InvokeFunction": "arn:aws:lambda:eu-west-1:111122223333:function:function-{}",
}


def main(arguments: Sequence[str]) -> None:
    """Measure several sizes."""
    sizes = [int(argument) for argument in arguments if argument.isdecimal()]
    if "--needs" in arguments:
        measure_needs(sizes or [100, 1_000, 10_000])
    else:
        measure_entries(sizes or [300, 1_000, 3_000])


def measure_entries(sizes: Sequence[int]) -> None:
    """Measure policies of several sizes."""
    # The first comparison loads the catalogue.
    compare(document(["s3:*"], 1), [], evidence(tuple(usages(actions(300)))))
    print(TITLE)
    for statement_size in (1_000_000, 10, 1):
        seconds = [measured(actions(size), statement_size) for size in sizes]
        print_growth("entries", sizes, seconds)


def measure_needs(sizes: Sequence[int]) -> None:
    """Measure several numbers of needs."""
    print(TITLE)
    seconds = [measured(actions(100), 10, size) for size in sizes]
    print_growth("needs", sizes, seconds)
    for size in sizes:
        evaluations = 100 * size
        print(f"{evaluations:,} needs evaluated: {evaluated(evaluations):.2f} s", flush=True)


def print_growth(unit: str, sizes: Sequence[int], seconds: Sequence[float]) -> None:
    """Print how the time grows from the first size to the last one."""
    print(
        f"  {sizes[-1] / sizes[0]:.1f} times the {unit}: {seconds[-1] / seconds[0]:.1f} times"
        " the seconds"
    )


def measured(granted: Sequence[str], statement_size: int, needs: int = 0) -> float:
    """Print the seconds of one policy, and return their sum."""
    used = list(usages(granted))
    used.extend(usage(permission, RUN_IDS) for permission in permissions(needs))
    known = evidence(tuple(used))
    options = Options()
    committed = document([*granted, *ARN_BY_ACTION] if needs else granted, statement_size)

    stopwatch = Stopwatch()
    difference = compare(committed, [], known)
    compared = stopwatch.processor
    proposal = propose(committed, difference, known, options)
    proposed = stopwatch.processor
    proof = prove(proposal, [], known, options)
    proved = stopwatch.processor

    if proof.left_out is None or proof.left_out.untried < len(RUNS) - LEFT_OUT_RUNS:
        raise SystemExit(f"The proof left out more than {LEFT_OUT_RUNS} runs.")
    size = f"{len(granted):7,} {len(committed.statements):6,} {len(used):7,}"
    parts = f"{compared:7.2f} {proposed - compared:7.2f} {proved - proposed:7.2f} {proved:7.2f}"
    print(f"{size} {parts}  {len(proposal.changes)}", flush=True)
    return proved


def evaluated(count: int) -> float:
    """Return the seconds of evaluating so many distinct needs against a policy of 11 statements."""
    documents = [document([*actions(100), *ARN_BY_ACTION], 10)]
    stopwatch = Stopwatch()
    for permission in permissions(count):
        evaluate(Request(permission.action, permission.resource), documents)
    return stopwatch.processor


def actions(count: int) -> list[str]:
    """Return the given number of actions of the catalogue, evenly from all services."""
    names = [name for prefix in sorted(catalog.services()) for name in catalog.actions(prefix)]
    return [names[number * len(names) // count] for number in range(count)]


def permissions(count: int) -> Iterator[Permission]:
    """Yield so many distinct actions on resources."""
    kinds = list(ARN_BY_ACTION.items())
    for number in range(count):
        action, arn = kinds[number % len(kinds)]
        yield Permission(action, arn.format(number))


def usages(granted: Sequence[str]) -> Iterator[Usage]:
    """Yield uses of some granted actions by every run, and of one parameter by each run."""
    for action in granted[:: max(len(granted) // USED_ACTIONS, 1)]:
        known = action_of(action)
        arn = known.resource_types[0].arn if known and known.resource_types else "*"
        resource = VARIABLE.sub(
            lambda variable: VALUES_OF_VARIABLES.get(variable[1], "orders"), arn
        )
        yield usage(Permission(action, resource), RUN_IDS)
    for number, run_id in enumerate(RUN_IDS):
        name = f"arn:aws:ssm:eu-west-1:111122223333:parameter/rel-{number * 7919 % 100_003}"
        yield usage(Permission("ssm:PutParameter", name), (run_id,))


def usage(permission: Permission, runs: tuple[str, ...]) -> Usage:
    """Make the use of a permission in some runs."""
    return Usage(
        Need(permission, Basis.OBSERVED, "made up"),
        Outcome.ALLOWED,
        count=len(runs),
        first_seen=FIRST,
        last_seen=RUNS[-1].first,
        runs=runs,
        events=(f"{permission.action}.event",),
        regions=("eu-west-1",),
    )


def evidence(used: tuple[Usage, ...]) -> Evidence:
    """Make evidence of 60 runs in 90 days."""
    groups = tuple(
        CallGroup(
            needs=(each.need,),
            outcome=each.outcome,
            count=each.count,
            runs=each.runs,
            regions=each.regions,
            event="e",
        )
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


def document(granted: Sequence[str], statement_size: int) -> Document:
    """Make a policy of some actions, with the given number per statement."""
    names = [*granted, "ssm:PutParameter"]
    statements = [
        {
            "Sid": f"S{number}",
            "Effect": "Allow",
            "Action": names[number : number + statement_size],
            "Resource": "*",
        }
        for number in range(0, len(names), statement_size)
    ]
    policy = {"Version": "2012-10-17", "Statement": statements}
    return parse(json.dumps(policy, indent=2).encode(), "policy")


if __name__ == "__main__":
    main(sys.argv[1:])
