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
    for source, operation in operations():
        verdict = map_event(f"{source}.amazonaws.com", operation).verdict
        verdicts[verdict] += 1
        if verdict in _OPEN:
            open_operations[source].append(operation)
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
    for label, operation in sorted(other_labels()):
        event = map_event(f"{label}.amazonaws.com", operation)
        if event.prefix not in catalog.services():
            continue
        scope = scope_of_unmapped(f"{label}.amazonaws.com", operation, "")
        is_named = event.verdict is Verdict.MAPPED and all(
            action_matches(scope.actions[0], each.action) for each in event.actions
        )
        total, named = total + 1, named + is_named
        held += is_named or event.prefix in scope.services
    return (
        f"{total:,} operations under a label that is no prefix: unmapped, the scope would hold the"
        f" action of {held / total:.1%} ({named / total:.1%} by its name)"
    )


def other_labels() -> set[tuple[str, str]]:
    """(label, operation) of all API models, by signing name, endpoint and name of the model, but no
    IAM prefix.
    """
    loader = botocore.session.get_session().get_component("data_loader")
    found: set[tuple[str, str]] = set()
    for service in loader.list_available_services("service-2"):
        model = loader.load_service_model(service, "service-2")
        metadata = model["metadata"]
        labels = {service, metadata["endpointPrefix"], metadata.get("signingName", service)}
        found.update(
            (label, each) for label in labels - catalog.services() for each in model["operations"]
        )
    return found


def operations() -> list[tuple[str, str]]:
    """(signing name, operation) of all API models."""
    session = botocore.session.get_session()
    loader = session.get_component("data_loader")
    found: list[tuple[str, str]] = []
    for service in session.get_available_services():
        model = loader.load_service_model(service, "service-2")
        signing = model["metadata"].get("signingName") or model["metadata"]["endpointPrefix"]
        found.extend((signing, operation) for operation in model["operations"])
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
