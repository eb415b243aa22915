"""Measures proposals and their proof: `python bench/proposal_speed.py`.

Prints the seconds of comparing, proposing, proving, and leaving each run out, for some 500
permissions used in 200 runs against a policy that grants everything and one that grants three
services. Each run has a unique name, so that leaving it out takes a separate proposal, up to the
product's limit. Needs the package installed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from leastpriv.diff.compare import compare
from leastpriv.evidence.models import CallGroup, Counts, Evidence
from leastpriv.models import Basis, Need, Outcome, Permission, Run, Usage
from leastpriv.permissions import catalog
from leastpriv.permissions.resource_types import VARIABLE, action_of
from leastpriv.policy.document import Document, parse
from leastpriv.proposal.models import Options, UnseenServices
from leastpriv.proposal.proof import prove
from leastpriv.proposal.propose import propose
from tests.fakes.evidence import complete

ROLE = "arn:aws:iam::111122223333:role/ci-deploy"
PLACES = {"Partition": "aws", "Region": "eu-west-1", "Account": "111122223333"}
FIRST = datetime(2026, 8, 1, tzinfo=UTC)
RUNS = tuple(
    Run(f"{1765000000 + n}", "s", FIRST + timedelta(hours=12 * n), FIRST) for n in range(200)
)
ACTIONS, RESOURCES = 120, 3

_Answer = TypeVar("_Answer")


def usage(action: str, resource: str, runs: tuple[str, ...]) -> Usage:
    """Make one permission, used in some runs."""
    need = Need(Permission(action, resource), Basis.OBSERVED, "made up")
    last = RUNS[-1].first
    return Usage(
        need, Outcome.ALLOWED, len(runs), FIRST, last, runs, (f"{action}.event",), ("eu-west-1",)
    )


def evidence() -> Evidence:
    """Make 200 runs that use the same permissions, and each another parameter."""
    every = tuple(run.id for run in RUNS)
    names = [name for prefix in ("lambda", "sqs", "ssm") for name in catalog.actions(prefix)][
        :ACTIONS
    ]
    used = [
        usage(
            name,
            VARIABLE.sub(
                lambda found, n=number: PLACES.get(found[1], f"thing-{n}"),
                known.resource_types[0].arn,
            ),
            every,
        )
        for name in names
        if (known := action_of(name)) and known.resource_types
        for number in range(RESOURCES)
    ]
    parameter = "arn:aws:ssm:eu-west-1:111122223333:parameter/rel-"
    used += [
        usage("ssm:PutParameter", f"{parameter}{n * 7919 % 100_003}", (run.id,))
        for n, run in enumerate(RUNS)
    ]
    groups = tuple(
        CallGroup((each.need,), each.outcome, each.count, each.runs, each.regions, "e")
        for each in used
    )
    spans = {region: timedelta(days=100) for region in ("eu-west-1", "us-east-1")}
    counts = Counts(
        calls=sum(each.count for each in used), allowed=sum(each.count for each in used)
    )
    return Evidence(
        ROLE,
        tuple(used),
        groups,
        runs=RUNS,
        first=FIRST,
        last=RUNS[-1].first,
        counts=counts,
        regions=("eu-west-1",),
        coverage=complete(*spans, start=FIRST.date(), days=100),
    )


def document(actions: list[str]) -> Document:
    """Make a policy that grants some actions on everything."""
    statement = {"Effect": "Allow", "Action": actions, "Resource": "*"}
    return parse(json.dumps({"Version": "2012-10-17", "Statement": [statement]}).encode(), "policy")


def timed(what: str, ask: Callable[[], _Answer]) -> _Answer:
    """Print how long an answer takes."""
    start = time.perf_counter()
    answer = ask()
    print(f"  {what}: {time.perf_counter() - start:.2f} s")
    return answer


def main() -> None:
    """Measure both policies; the first comparison loads the whole catalogue."""
    found, options = evidence(), Options(unseen_services=UnseenServices.DROP)
    print(f"{len(found.usages)} permissions, {len(found.runs)} runs, {found.counts.calls:,} calls")
    for actions in (["*"], ["lambda:*", "sqs:*", "ssm:*"]):
        committed = document(actions)
        print(f"{', '.join(actions)}:")
        difference = timed("compare", lambda committed=committed: compare(committed, [], found))
        proposal = timed("propose", lambda c=committed, d=difference: propose(c, d, found, options))
        timed("prove", lambda proposal=proposal: prove(proposal, [], found))
        proof = timed(
            "prove and leave runs out",
            lambda proposal=proposal: prove(proposal, [], found, options),
        )
        assert proof.left_out is not None  # noqa: S101 - it was asked for
        print(
            f"  {len(proof.left_out.denied)} runs refused, {proof.left_out.untried} not tried,"
            f" sizes {proof.sizes}"
        )


if __name__ == "__main__":
    main()
