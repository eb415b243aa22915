"""Measures the mapping at size: `python -m bench.mapping_speed [CALLS [WORDINGS]]` (1,000,000 calls
in 10 wordings).

With `--trails FOLDER` it maps the calls of a trail instead, all of which it holds in memory, and
prints processor time of a call with a distinct request mapped alone, of any call mapped, and of a
call noted.

Makes calls of 300 distinct events of thirteen services, each with a request in so many wordings,
maps them and prints, at a quarter, half and the whole: seconds, microseconds a call, peak memory.
Linear time shows as equal microseconds, flat memory as equal mebibytes.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Collection, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from bench.measure import Stopwatch, peak_mebibytes
from leastpriv.aws.arns import Principals, Window
from leastpriv.cloudtrail.local_store import TrailFolder
from leastpriv.evidence.collector import UsageCollector
from leastpriv.models import Call, Outcome
from leastpriv.permissions import catalog
from leastpriv.permissions.mapping import needs_of

SERVICES = (
    "s3",
    "ec2",
    "iam",
    "lambda",
    "sqs",
    "sns",
    "ecs",
    "rds",
    "kms",
    "logs",
    "events",
    "cloudformation",
    "ecr",
)
EVENTS = 300
_Input = TypeVar("_Input")


def main(arguments: list[str]) -> int:
    """Print the figures."""
    if arguments[:1] == ["--trails"]:
        return of_trail(Path(arguments[1]))
    most = int(arguments[0]) if arguments else 1_000_000
    wordings = int(arguments[1]) if arguments[1:] else 10
    operations = actions()
    print(f"{len(operations)} distinct events, {wordings:,} wordings of each request")
    print(f"{'calls':>10}{'seconds':>9}{'µs/call':>9}{'peak MiB':>10}")
    for count in (most // 4, most // 2, most):
        stopwatch = Stopwatch()
        for call in calls(operations, count, wordings):
            needs_of(call)
        seconds = stopwatch.elapsed
        peak = peak_mebibytes()
        print(f"{count:>10,}{seconds:>9.1f}{1e6 * seconds / count:>9.1f}{peak:>10.0f}", flush=True)
    return 0


def of_trail(folder: Path) -> int:
    """Print the figures of a trail's calls."""
    found = [
        call
        for call in TrailFolder(folder).read(Window(), Principals(None))
        if isinstance(call, Call)
    ]
    distinct = list({_request(call): call for call in found}.values())
    books = {call.principal: UsageCollector(call.principal) for call in found}
    for call in found:
        needs_of(call)  # Loads the catalogue and compiles what is compiled once.
    gc.collect()
    gc.freeze()
    print(f"{len(found):,} calls, {len(distinct):,} with distinct requests")
    print(f"{'a distinct call mapped':24}{timed(needs_of, distinct):>8.1f} µs")
    print(f"{'a call mapped':24}{timed(needs_of, found):>8.1f} µs")
    print(
        f"{'a call noted':24}{timed(lambda call: books[call.principal].note(call), found):>8.1f} µs"
    )
    like = found[len(found) // 2]
    microseconds = timed(UsageCollector(like.principal).note, [like] * 100_000)
    print(f"{'the same call noted':24}{microseconds:>8.1f} µs")
    return 0


def _request(call: Call) -> tuple[object, ...]:
    """Returns what distinguishes the requests of calls."""
    return (
        call.source,
        call.name,
        call.region,
        call.resources,
        call.outcome,
        repr(call.parameters),
    )


def timed(work: Callable[[_Input], object], inputs: Collection[_Input]) -> float:
    """Return the microseconds of processor time that one input takes."""
    stopwatch = Stopwatch()
    for value in inputs:
        work(value)
    return 1e6 * stopwatch.processor / len(inputs)


def actions() -> list[str]:
    """Return the first actions of each service, which name an API operation."""
    names: list[str] = []
    for prefix in SERVICES:
        names.extend(catalog.actions(prefix)[:25])
    return names[:EVENTS]


def calls(operations: list[str], count: int, wordings: int) -> Iterator[Call]:
    """Yield the calls; each operation returns with another wording."""
    now = datetime(2026, 11, 1, tzinfo=UTC)
    for number in range(count):
        prefix, _, name = operations[number % len(operations)].partition(":")
        source = f"{prefix}.amazonaws.com"
        wording = (number // len(operations)) % wordings
        yield Call(
            event_id="",
            principal="arn:aws:iam::111122223333:role/ci/deploy",
            session="12345678901",
            time=now,
            account="111122223333",
            region="eu-west-1",
            source=source,
            name=name,
            parameters=parameters(source, wording),
            response={},
            resources=(),
            outcome=Outcome.ALLOWED,
            read_only=False,
        )


def parameters(source: str, wording: int) -> dict[str, object]:
    """A request that names something, carries tags and hands on a role."""
    name = f"orders-{wording}"
    return {
        "name": name,
        "bucketName": name,
        "key": f"assets/{wording:032x}.zip",
        "functionName": name,
        "roleArn": "arn:aws:iam::111122223333:role/app/task",
        "tags": [{"key": "stage", "value": "test"}],
        "configuration": {"size": wording, "items": [{"name": "one"}, {"name": "two"}]},
        "resourceArn": f"arn:aws:{source.partition('.')[0]}:eu-west-1:111122223333:queue/{name}",
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
