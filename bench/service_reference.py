"""Measures the mapping against AWS's service reference: `python bench/service_reference.py SOURCE
[--list]`.

SOURCE is an archive or folder of the reference. Each operation of each client of Boto3 is asked for
twice: without parameters and with all that botocore's model has. Prints how often the primary
action is missed, how many of AWS's (operation, action) pairs are needs, or kept while the operation
is used, and which operations pass an unknown role.
"""

from __future__ import annotations

import csv
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

from service_reference import Operation, load  # noqa: E402

from leastpriv.models import GapKind  # noqa: E402
from leastpriv.permissions import catalog  # noqa: E402
from leastpriv.permissions.event_table import Verdict, facts_of, map_event  # noqa: E402
from leastpriv.permissions.mapping import CallNeeds, needs_of  # noqa: E402
from tests.fakes.generated_calls import call, parameters_of, source_of  # noqa: E402

_USAGE = 2


def main(arguments: Sequence[str]) -> int:
    """Prints the figures; 2 without a source."""
    named = [each for each in arguments if not each.startswith("-")]
    if len(named) != 1:
        print("Name the archive or folder of AWS's service reference.", file=sys.stderr)
        return _USAGE
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
    lines = (
        (Path(__file__).parent / "reference_differences.tsv")
        .read_text(encoding="utf-8")
        .splitlines()
    )
    return tuple(
        csv.DictReader((line for line in lines if not line.startswith("#")), delimiter="\t")
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
