"""Measures removals of what AWS authorizes inside a call: `python -m bench.inner_actions SOURCE
[--list]`.

SOURCE is an archive or folder of AWS's service reference. Twelve runs call each operation with
inner actions, with all parameters of its model and then with the required ones alone; a policy
grants its own and each inner action. Prints how many inner grants the product would remove: with
the parameters none may go; without them, which guards hold the rest.
"""

from __future__ import annotations

import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from msgspec import structs

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

from service_reference import Operation, load  # noqa: E402

from leastpriv.diff.compare import compare  # noqa: E402
from leastpriv.evidence.collector import UsageCollector  # noqa: E402
from leastpriv.evidence.models import Evidence  # noqa: E402
from leastpriv.permissions import catalog  # noqa: E402
from leastpriv.permissions.event_table import map_event  # noqa: E402
from leastpriv.policy.document import parse  # noqa: E402
from leastpriv.proposal.models import Lifecycle, Options, ProposalInputs  # noqa: E402
from leastpriv.proposal.propose import propose  # noqa: E402
from tests.fakes.evidence import complete  # noqa: E402
from tests.fakes.generated_calls import call, parameters_of, source_of  # noqa: E402

_USAGE = 2
_FIRST = datetime(2026, 9, 1, 9, tzinfo=UTC)
_RUNS = 12
_MOST_VARIANTS = 8
_OPTIONS = Options(lifecycle=Lifecycle.OFF)
"""Only the evidence decides."""


def main(arguments: Sequence[str]) -> int:
    """Prints the figures; 2 without a source."""
    sources = [argument for argument in arguments if not argument.startswith("-")]
    if len(sources) != 1:
        print("Name the archive or folder of AWS's service reference.", file=sys.stderr)
        return _USAGE
    counts: Counter[str] = Counter()
    lines: list[str] = []
    for operation in load(sources[0]).operations.values():
        prefix = operation.name.partition(":")[0]
        by_source: dict[str, list[str]] = defaultdict(list)
        for client in operation.clients:
            by_source[source_of(client, prefix)].append(client)
        for source, clients in by_source.items():
            for result in judged(operation, source, clients):
                counts[result.kind] += 1
                lines.append(f"  {result.kind}: {result.title}")
    print(
        f"with all parameters: {counts['removed'] + counts['kept']:,} inner grants, removed:"
        f" {counts['removed']:,}"
    )
    idle = {kind: count for kind, count in counts.most_common() if kind.startswith("idle")}
    print(
        "with the required parameters alone:"
        f" {', '.join(f'{kind[5:]} {count:,}' for kind, count in idle.items())}"
    )
    unseen = sum(
        idle.get(f"idle {guard}", 0) for guard in ("checked-inside", "not-visible", "gap-in-scope")
    )
    total = sum(idle.values()) or 1
    print(f"not held for want of a trace or a cause: {(total - unseen) / total:.1%}")
    if "--list" in arguments:
        print("\n".join(sorted(lines)))
    return 0


@dataclass(frozen=True, slots=True)
class Result:
    """What becomes of an inner grant."""

    kind: str
    """`removed` or `kept` with all parameters; `idle GUARD` with the required ones alone."""
    title: str


def judged(operation: Operation, source: str, clients: Sequence[str]) -> Iterator[Result]:
    """Yields what becomes of each inner grant of one operation, with and without its parameters.

    A record does not name the client: the parameters are those of all clients of the event source,
    of which one may lack the parameter that causes an inner action (Amazon DocumentDB and Neptune
    share the events of RDS).
    """
    name = operation.name.partition(":")[2]
    mapped = {action.action for action in map_event(source, name).actions}
    inner = sorted(set(filter(None, map(catalog.spelling, operation.actions))) - mapped)
    if not inner or not mapped:
        return
    granted = [*sorted(mapped), *inner]
    services = sorted({action.partition(":")[0] for action in inner})
    with_parameters = [
        decisions(source, name, parameters, granted)
        for client in clients
        for parameters in _variants(client, name, services)
    ]
    idle = decisions(source, name, parameters_of(clients[0], name, required_only=True), granted)
    for action in inner:
        title = f"{source.removesuffix('.amazonaws.com')}:{name}: {action}"
        is_removed = all(decided.get(action) == "removed" for decided in with_parameters)
        yield Result("removed" if is_removed else "kept", title)
        yield Result(f"idle {idle.get(action, 'needed')}", title)


def _variants(client: str, name: str, services: Sequence[str]) -> list[dict[str, object]]:
    """Returns parameters of an operation: none, all with each value of its enumerations, with ARNs
    of each service.
    """
    variants: list[dict[str, object]] = [{}]
    for number in range(_MOST_VARIANTS):
        parameters = parameters_of(client, name, variant=number)
        if parameters not in variants:
            variants.append(parameters)
    variants += [parameters_of(client, name, arns_of=service) for service in services]
    all_parameters = variants[1]
    # A bucket may be named by the ARN of an access point, whatever its model says.
    if "bucketName" in all_parameters:
        for service in services:
            arn = f"arn:aws:{service}:eu-west-1:111122223333:accesspoint/x"
            variants.append({**all_parameters, "bucketName": arn})
    return variants


def decisions(
    source: str, name: str, parameters: Mapping[str, object], granted: Sequence[str]
) -> dict[str, str]:
    """Maps actions to `removed`, or to the guard that holds their removal back, after twelve runs
    of one call.
    """
    statement = {"Effect": "Allow", "Action": list(granted), "Resource": "*"}
    document = parse(
        json.dumps({"Version": "2012-10-17", "Statement": [statement]}).encode(), "policy.json"
    )
    found = evidence(source, name, parameters)
    proposal = propose(
        document, compare(document, (), found), found, _OPTIONS, ProposalInputs(writes=False)
    )
    held = {each.action: each.guard_result.guard for each in proposal.held_back}
    return held | {
        change.action: "removed" for change in proposal.changes if change.kind == "remove"
    }


def evidence(source: str, name: str, parameters: Mapping[str, object]) -> Evidence:
    """Returns the evidence of twelve runs of one call, in a trail that shows all management
    events.
    """
    made = call(source, name, parameters)
    book = UsageCollector(made.principal)
    for run in range(_RUNS):
        session = f"{1_765_000_000 + run}"
        book.note(
            structs.replace(
                made, time=_FIRST + timedelta(days=4 * run), session=session, event_id=session
            )
        )
    coverage = complete("eu-west-1", "us-east-1", "us-west-2", start=_FIRST.date())
    return structs.replace(
        book.close(), coverage=structs.replace(coverage, events=frozenset({f"{source}:{name}"}))
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
