"""Measures the mapping against AWS's service reference: `python -m bench.service_reference SOURCE
[--list] [--sample]`.

SOURCE is an archive or folder of the reference. Each operation of each client of Boto3 is asked for
twice: without parameters and with all that botocore's model has. Prints how often the primary
action is missed, how many of AWS's (operation, action) pairs are needs, or kept while the operation
is used, and which operations pass an unknown role.

With `--sample` 600 operations, three quarters of which need several actions, are asked for with the
required parameters and then with each optional one alone: the differences from AWS's answer that
`reference_parameters.tsv` does not explain.
"""

from __future__ import annotations

import csv
import sys
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import chain
from operator import attrgetter
from pathlib import Path

from msgspec import Struct, structs

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

from service_reference import Operation, ServiceReference, load  # noqa: E402

from leastpriv.models import GapKind  # noqa: E402
from leastpriv.permissions import catalog  # noqa: E402
from leastpriv.permissions.event_table import Verdict, facts_of, map_event  # noqa: E402
from leastpriv.permissions.mapping import CallNeeds, needs_of  # noqa: E402
from tests.fakes.generated_calls import call, model_of, parameters_of, source_of  # noqa: E402

_USAGE = 2
_WITH_SEVERAL_ACTIONS = 450
_WITH_ONE_ACTION = 150


def main(arguments: Sequence[str]) -> int:
    """Prints the figures; 2 without a source."""
    sources = [argument for argument in arguments if not argument.startswith("-")]
    if len(sources) != 1:
        print("Name the archive or folder of AWS's service reference.", file=sys.stderr)
        return _USAGE
    reference = load(sources[0])
    if "--sample" in arguments:
        for difference in differences(reference):
            print(
                difference.operation,
                difference.kind,
                difference.action,
                difference.why or "UNEXPLAINED",
                sep="\t",
            )
        return 0
    counts: Counter[str] = Counter()
    lines: list[str] = []
    for operation in reference.operations.values():
        for client in operation.clients or ("",) if operation.authorized else ():
            for finding in judged(operation, client):
                counts[finding.kind] += 1
                if finding.detail:
                    lines.append(f"  {finding.kind}: {finding.detail}")
    pairs = counts["pair"] or 1
    print(
        f"{counts['row']:,} operations of clients; primary action missed: {counts['missed']:,}"
        " unexplained"
    )
    print(f"explained: {counts['explained']:,}")
    print(f"{pairs:,} pairs: {(pairs - counts['pair missed']) / pairs:.2%} needed, caused or kept")
    roles, unnamed, unknown = (
        counts[kind] for kind in ("passes role", "role kept", "role unknown")
    )
    print(
        f"operations that pass a role: {roles:,}, unnamed and kept: {unnamed:,},"
        f" unknown: {unknown:,}"
    )
    if "--list" in arguments:
        print("\n".join(sorted(lines)))
    return 0


class Finding(Struct, frozen=True):
    """What counts for an operation of a client."""

    kind: str
    detail: str = ""
    """Set for a miss."""


def judged(operation: Operation, client: str) -> Iterator[Finding]:
    """Yields what counts for one operation of one client, with the detail of each miss."""
    prefix, _, name = operation.name.partition(":")
    source = source_of(client, prefix)
    title = f"{source.removesuffix('.amazonaws.com')}:{name}"
    event = map_event(source, name)
    empty = needs_of(call(source, name, {}))
    full = needs_of(call(source, name, parameters_of(client, name)))
    mapped = {action.action for action in event.actions}
    authorized = _authorized(operation)
    yield Finding("row")
    primary = mapped or needed(full)
    if not primary & authorized:
        explained_by = explanation(operation, event.verdict, authorized)
        if explained_by:
            yield Finding("explained", f"{title}: {explained_by}")
        else:
            yield Finding("missed", f"{title}: {sorted(primary)} {sorted(authorized)}")
    expected = needed(empty) | needed(full) | mapped
    expected |= {*empty.kept, *full.kept} | caused(event.operation)
    for action in sorted(authorized):
        yield Finding("pair")
        if action not in expected and event.verdict is not Verdict.NO_PERMISSION:
            yield Finding("pair missed", f"{title}: {action}")
    if "iam:PassRole" in authorized:
        yield Finding("passes role")
        may_pass_role = any(gap.kind is GapKind.MAY_PASS_ROLE for gap in full.gaps)
        if "iam:PassRole" in full.kept:
            reason = "no parameter names it; a grant is kept while the operation is used"
            yield Finding("role kept", f"{title}: {reason}")
        elif "iam:PassRole" in needed(full) or may_pass_role:
            return
        elif facts_of(event.operation).passes_role != "key":
            yield Finding("role unknown", title)


def _authorized(operation: Operation) -> set[str]:
    return set(filter(None, map(catalog.spelling, operation.actions)))


class Difference(Struct, frozen=True, order=True):
    """An action that AWS's reference and the needs of an operation's calls do not share."""

    operation: str
    kind: str
    """`missing`: the reference has it, and no parameter asks for it; `more`: the other way."""
    action: str
    why: str = ""
    """The explanation; empty without one."""


class SampledOperation(Struct, frozen=True):
    """An operation of one client."""

    operation: Operation
    client: str

    @property
    def order(self) -> int:
        """Return a number that depends on the names alone."""
        return zlib.crc32(f"{self.client} {self.operation.name}".encode())


def sample(reference: ServiceReference) -> list[SampledOperation]:
    """Returns 600 operations with their clients, the same ones in each version of the models."""
    several: list[SampledOperation] = []
    single: list[SampledOperation] = []
    for operation in reference.operations.values():
        name = operation.name.partition(":")[2]
        for client in operation.clients if operation.authorized else ():
            model = model_of(client)
            if model and name in model["operations"]:
                operations = several if len(set(operation.actions)) > 1 else single
                operations.append(SampledOperation(operation, client))
    several.sort(key=attrgetter("order"))
    single.sort(key=attrgetter("order"))
    return several[:_WITH_SEVERAL_ACTIONS] + single[:_WITH_ONE_ACTION]


def differences(reference: ServiceReference) -> list[Difference]:
    """Returns the differences of the sample, each with its explanation."""
    by_operation = map(_differences_of, sample(reference))
    return sorted(set(chain.from_iterable(by_operation)))


def _differences_of(sampled: SampledOperation) -> Iterator[Difference]:
    """Yields the differences of one operation: with the required parameters, then with each
    optional one.
    """
    operation = sampled.operation
    client = sampled.client
    prefix, _, name = operation.name.partition(":")
    source = source_of(client, prefix)
    required = parameters_of(client, name, required_only=True)
    first = needs_of(call(source, name, required))
    if first.verdict is Verdict.NO_PERMISSION:
        return
    needed_actions = needed(first)
    for optional in (
        parameters_of(client, name),
        parameters_of(client, name, arns_of=prefix),
    ):
        for key, value in optional.items():
            needed_actions |= needed(needs_of(call(source, name, {**required, key: value})))
        needed_actions |= needed(needs_of(call(source, name, optional)))
    authorized = _authorized(operation)
    # What values decide that no model has, or no parameter shows, is kept while the operation is
    # used.
    event = map_event(source, name)
    expected = needed_actions | set(first.kept) | caused(event.operation)
    for action in sorted(authorized - expected):
        yield _difference(operation.name, "missing", action)
    for action in sorted(needed_actions - authorized):
        yield _difference(operation.name, "more", action)


def _difference(operation: str, kind: str, action: str) -> Difference:
    difference = Difference(operation, kind, action)
    return structs.replace(difference, why=_explained().get(difference, ""))


@cache
def _explained() -> Mapping[Difference, str]:
    """Return the explanations by the difference without one."""
    rows = _rows("reference_parameters.tsv")
    return {Difference(row["operation"], row["kind"], row["action"]): row["why"] for row in rows}


def needed(mapped: CallNeeds) -> set[str]:
    """Returns the actions of a call's needs."""
    return {need.permission.action for need in mapped.needs}


def caused(operation: str) -> set[str]:
    """Returns the actions that a parameter of the operation causes."""
    facts = facts_of(operation)
    passed = {"iam:PassRole"} if facts.passes_role else set()
    return {
        *(trigger.action for trigger in facts.triggers),
        *(rule.action for rule in facts.tags),
        *facts.inner,
    } | passed


def explanation(operation: Operation, verdict: Verdict, authorized: set[str]) -> str:
    """Says why our action differs from AWS's; empty where nothing explains it."""
    if verdict is Verdict.NO_PERMISSION:
        return "no identity policy has to allow it"
    if verdict is Verdict.BY_REQUEST:
        return "the request names the actions"
    if not authorized:
        return "the catalogue knows none of AWS's actions any more"
    for row in _rows("reference_differences.tsv"):
        if row["operation"] == operation.name:
            return row["why"]
    return ""


@cache
def _rows(name: str) -> tuple[dict[str, str], ...]:
    lines = (Path(__file__).parent / name).read_text(encoding="utf-8").splitlines()
    return tuple(
        csv.DictReader((line for line in lines if not line.startswith("#")), delimiter="\t")
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
