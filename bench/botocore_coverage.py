"""Measures how many API operations map to an existing action: `python -m bench.botocore_coverage
[--list]`.

Asks the mapping for every operation of every API model that the installed botocore has, as
CloudTrail would name it (the signing name stands for the event source). Prints the share that maps
to an action of the catalogue or needs none, and the operations that are open by service; `--list`
names them. What was launched between the dates of the catalogue and of the models cannot be mapped.
To compare equal dates, put another release of botocore first:

    python -m pip install --no-deps --target OTHER botocore==1.43.121
    PYTHONPATH=OTHER python -m bench.botocore_coverage
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from dataclasses import dataclass

import botocore
import botocore.session

from bench.measure import Stopwatch
from leastpriv.permissions import catalog
from leastpriv.permissions.event_table import Verdict, map_event, scope_of_unmapped
from leastpriv.permissions.patterns import action_matches

_OPEN = (Verdict.UNMAPPED, Verdict.UNVERIFIED)


def main(arguments: list[str]) -> int:
    """Print the figures."""
    stopwatch = Stopwatch()
    verdicts: Counter[Verdict] = Counter()
    open_operations: dict[str, list[str]] = defaultdict(list)
    for operation in operations():
        verdict = map_event(f"{operation.label}.amazonaws.com", operation.name).verdict
        verdicts[verdict] += 1
        if verdict in _OPEN:
            open_operations[operation.label].append(operation.name)
    total = sum(verdicts.values())
    covered = total - sum(verdicts[verdict] for verdict in _OPEN)
    print(f"botocore {botocore.__version__}, catalogue {catalog.version()}")
    print(
        f"{total:,} operations:"
        f" {', '.join(f'{verdict} {count:,}' for verdict, count in verdicts.most_common())}"
    )
    print(f"mapped to an existing action or in need of none: {covered / total:.2%}")
    by_size = sorted(open_operations.items(), key=lambda pair: (-len(pair[1]), pair[0]))
    print("open by service: " + ", ".join(f"{source} {len(names)}" for source, names in by_size))
    if "--list" in arguments:
        for source, names in by_size:
            print(f"  {source}: {', '.join(sorted(names))}")
    print(_without_the_table())
    print(f"{stopwatch.elapsed:.1f} s")
    return 0


def _without_the_table() -> str:
    """How often the scope of an unmapped event would hold its true action, had the table no row for
    its service.
    """
    total = held = named = 0
    for operation in sorted(other_labels()):
        source = f"{operation.label}.amazonaws.com"
        event = map_event(source, operation.name)
        if event.prefix not in catalog.services():
            continue
        scope = scope_of_unmapped(source, operation.name, "")
        is_named = event.verdict is Verdict.MAPPED and all(
            action_matches(scope.actions[0], mapped.action) for mapped in event.actions
        )
        total += 1
        named += is_named
        held += is_named or event.prefix in scope.services
    return (
        f"{total:,} operations under a label that is no prefix: unmapped, the scope would hold the"
        f" action of {held / total:.1%} ({named / total:.1%} by its name)"
    )


@dataclass(frozen=True, order=True, slots=True)
class Operation:
    """An operation of an API model."""

    label: str
    """The first part of its event source, as the model has it."""
    name: str


def other_labels() -> set[Operation]:
    """Return the operations of all API models under labels that are no IAM prefix: signing name,
    endpoint and name of the model.
    """
    loader = botocore.session.get_session().get_component("data_loader")
    others: set[Operation] = set()
    for service in loader.list_available_services("service-2"):
        model = loader.load_service_model(service, "service-2")
        metadata = model["metadata"]
        labels = {service, metadata["endpointPrefix"], metadata.get("signingName", service)}
        for label in labels - catalog.services():
            others.update(Operation(label, name) for name in model["operations"])
    return others


def operations() -> list[Operation]:
    """Return the operations of all API models under their signing names."""
    session = botocore.session.get_session()
    loader = session.get_component("data_loader")
    found: list[Operation] = []
    for service in session.get_available_services():
        model = loader.load_service_model(service, "service-2")
        signing = model["metadata"].get("signingName") or model["metadata"]["endpointPrefix"]
        found.extend(Operation(signing, name) for name in model["operations"])
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
