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
from pathlib import Path

from msgspec import Struct

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
    named = [each for each in arguments if not each.startswith("-")]
    if len(named) != 1:
        print("Name the archive or folder of AWS's service reference.", file=sys.stderr)
        return _USAGE
    if "--sample" in arguments:
        for each in differences(load(named[0])):
            print(each.operation, each.kind, each.action, each.why or "UNEXPLAINED", sep="\t")
        return 0
    counts: Counter[str] = Counter()
    lines: list[str] = []
    for operation in load(named[0]).operations.values():
        for client, _ in operation.clients or (("", ""),) if operation.authorized else ():
            for kind, detail in judged(operation, client):
                counts[kind] += 1
                lines += [f"  {kind}: {detail}"] if detail else []
    pairs = counts["pair"] or 1
    print(
        f"{counts['row']:,} operations of clients; primary action missed: {counts['missed']:,}"
        " unexplained"
    )
    print(f"explained: {counts['explained']:,}")
    print(f"{pairs:,} pairs: {(pairs - counts['pair missed']) / pairs:.2%} needed, caused or kept")
    roles, kept, unknown = (counts[kind] for kind in ("passes role", "role kept", "role unknown"))
    print(
        f"operations that pass a role: {roles:,}, unnamed and kept: {kept:,}, unknown: {unknown:,}"
    )
    if "--list" in arguments:
        print("\n".join(sorted(lines)))
    return 0


def judged(operation: Operation, client: str) -> Iterator[tuple[str, str]]:
    """Yields what counts for one operation of one client, with the detail of each miss."""
    prefix, _, name = operation.name.partition(":")
    source = source_of(client, prefix)
    title = f"{source.removesuffix('.amazonaws.com')}:{name}"
    event = map_event(source, name)
    empty, full = (
        needs_of(call(source, name, parameters)) for parameters in ({}, parameters_of(client, name))
    )
    found = needed(empty) | needed(full) | {mapped.action for mapped in event.actions}
    authorized = {spelled for action in operation.actions if (spelled := catalog.spelling(action))}
    yield "row", ""
    own = {mapped.action for mapped in event.actions} or needed(full)
    if not own & authorized:
        why = explanation(operation, event.verdict, authorized)
        yield (
            ("explained", f"{title}: {why}")
            if why
            else ("missed", f"{title}: {sorted(own)} {sorted(authorized)}")
        )
    known = found | {*empty.kept, *full.kept} | caused(event.operation)
    for action in sorted(authorized):
        yield "pair", ""
        if action not in known and event.verdict is not Verdict.NO_PERMISSION:
            yield "pair missed", f"{title}: {action}"
    if "iam:PassRole" in authorized:
        yield "passes role", ""
        is_named = "iam:PassRole" in needed(full) or any(
            gap.kind is GapKind.MAY_PASS_ROLE for gap in full.gaps
        )
        if "iam:PassRole" in full.kept:
            yield (
                "role kept",
                f"{title}: no parameter names it; a grant is kept while the operation is used",
            )
        elif not is_named and facts_of(event.operation).passes_role != "key":
            yield "role unknown", title


class Difference(Struct, frozen=True, order=True):
    """An action that AWS's reference and the needs of an operation's calls do not share."""

    operation: str
    kind: str
    """`missing`: the reference has it, and no parameter asks for it; `more`: the other way."""
    action: str
    why: str = ""
    """The explanation; empty without one."""


def sample(reference: ServiceReference) -> list[tuple[Operation, str]]:
    """Returns 600 operations with their clients, the same ones in each version of the models."""
    several: list[tuple[Operation, str]] = []
    single: list[tuple[Operation, str]] = []
    for operation in reference.operations.values():
        name = operation.name.partition(":")[2]
        for client, _ in operation.clients if operation.authorized else ():
            model = model_of(client)
            if model and name in model["operations"]:
                chosen = several if len(set(operation.actions)) > 1 else single
                chosen.append((operation, client))

    def place(each: tuple[Operation, str]) -> int:
        return zlib.crc32(f"{each[1]} {each[0].name}".encode())

    several.sort(key=place)
    single.sort(key=place)
    return several[:_WITH_SEVERAL_ACTIONS] + single[:_WITH_ONE_ACTION]


def differences(reference: ServiceReference) -> list[Difference]:
    """Returns the differences of the sample, each with its explanation."""
    found = {each for one in sample(reference) for each in _by_parameter(*one)}
    return sorted(found)


def _by_parameter(operation: Operation, client: str) -> Iterator[Difference]:
    """Yields the differences of one operation: with the required parameters, then with each
    optional one.
    """
    prefix, _, name = operation.name.partition(":")
    source = source_of(client, prefix)
    required = parameters_of(client, name, required_only=True)
    first = needs_of(call(source, name, required))
    if first.verdict is Verdict.NO_PERMISSION:
        return
    found = needed(first)
    for given in (
        parameters_of(client, name),
        parameters_of(client, name, arns_of=prefix),
    ):
        for key, value in given.items():
            found |= needed(needs_of(call(source, name, {**required, key: value})))
        found |= needed(needs_of(call(source, name, given)))
    authorized = {spelled for action in operation.actions if (spelled := catalog.spelling(action))}
    # What values decide that no model has, or no parameter shows, is kept while the operation is
    # used.
    event = map_event(source, name)
    known = found | set(first.kept) | caused(event.operation)
    for action in sorted(authorized - known):
        yield _difference(operation.name, "missing", action)
    for action in sorted(found - authorized):
        yield _difference(operation.name, "more", action)


def _difference(operation: str, kind: str, action: str) -> Difference:
    why = _explained().get((operation, kind, action), "")
    return Difference(operation, kind, action, why)


@cache
def _explained() -> Mapping[tuple[str, str, str], str]:
    rows = _rows("reference_parameters.tsv")
    return {(row["operation"], row["kind"], row["action"]): row["why"] for row in rows}


def needed(mapped: CallNeeds) -> set[str]:
    """Returns the actions of a call's needs."""
    return {need.permission.action for need in mapped.needs}


def caused(operation: str) -> set[str]:
    """Returns the actions that a parameter of the operation causes."""
    facts = facts_of(operation)
    passed = {"iam:PassRole"} if facts.passes_role else set()
    return {
        *(each.action for each in facts.triggers),
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
    row = next((row for row in _differences() if row["operation"] == operation.name), None)
    return row["why"] if row else ""


@cache
def _differences() -> tuple[dict[str, str], ...]:
    return _rows("reference_differences.tsv")


def _rows(name: str) -> tuple[dict[str, str], ...]:
    lines = (Path(__file__).parent / name).read_text(encoding="utf-8").splitlines()
    return tuple(
        csv.DictReader((line for line in lines if not line.startswith("#")), delimiter="\t")
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
