"""Measures which absences prove non-use: `python -m bench.visibility REFERENCE [--pairs]`.

REFERENCE is an archive, a folder or an address of AWS's service reference. Prints how many actions
of the catalogue are of each visibility, and how many of a wildcard are kept as not visible on a
trail without data events if none of it was used, with the reasons. With `--pairs` it takes each
action that AWS authorizes inside an operation besides those that the mapping always names, and
proposes a policy that grants both from twelve runs: with the call and its trigger (the action must
be kept), with the call alone if the trigger is known, and without the call (the action should be
removed). The life cycle of what a call makes is off: only the evidence decides.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from msgspec import structs

from leastpriv.diff.compare import compare
from leastpriv.evidence.collector import UsageCollector
from leastpriv.evidence.models import Evidence
from leastpriv.models import Call, Outcome
from leastpriv.permissions import catalog
from leastpriv.permissions.event_table import (
    Visibility,
    carriers_of,
    data_event_types,
    facts_of,
    visibility,
)
from leastpriv.policy.document import Document, parse
from leastpriv.proposal.models import Lifecycle, Options, RemovalCandidate
from leastpriv.proposal.propose import propose
from leastpriv.proposal.removals import guard_context
from leastpriv.proposal.visibility_guards import not_visible
from tests.fakes.evidence import complete

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))

from make_visibility import needed_by
from service_reference import ServiceReference, load
from trail_events import named_by_reference

ROLE = "arn:aws:iam::111122223333:role/ci-deploy"
PATTERNS = ("s3:*", "lambda:*", "dynamodb:*", "logs:*", "cloudwatch:*", "ec2:*", "appsync:*", "*")
GOALS = {
    "s3:*": 45,
    "lambda:*": 40,
    "dynamodb:*": 25,
    "logs:*": 20,
    "cloudwatch:*": 60,
    "ec2:*": 15,
    "*": 6_000,
}
_FIRST = datetime(2026, 9, 1, 10, tzinfo=UTC)
_RUNS, _DAYS = 12, 4
_OTHER = ("sqs.amazonaws.com", "CreateQueue", {"queueName": "orders"})
_MOST_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Pair:
    """An action that an operation authorizes besides those that its mapping always names."""

    operation: str
    source: str
    name: str
    needed: tuple[str, ...]
    inner: str


def main(arguments: Sequence[str]) -> int:
    """Print the figures; 1 where one is worse than its goal."""
    reference = load(*[argument for argument in arguments if not argument.startswith("-")][:1])
    missed = classes() + kept()
    if "--pairs" in arguments:
        missed += pairs(reference)
    return 1 if missed else 0


def classes() -> int:
    """Print how many actions are of each visibility."""
    actions = [
        action for prefix in sorted(catalog.services()) for action in catalog.actions(prefix)
    ]
    counts = Counter(visibility(action).visibility for action in actions)
    print(
        f"{len(actions):,} actions: "
        + ", ".join(f"{name} {count:,}" for name, count in counts.most_common())
    )
    carried = sum(bool(carriers_of(action)) for action in actions)
    print(f"{carried:,} have carriers; {len(data_event_types())} types of data events")
    unknown = counts[Visibility.UNKNOWN]
    return _compare("unknown", unknown, 3_500)


def kept() -> int:
    """Print how many actions of a wildcard are kept as not visible, with the reasons."""
    return sum(_print_kept(pattern) for pattern in PATTERNS)


def _print_kept(pattern: str) -> int:
    """Prints how many actions of a wildcard, `s3:*`, are kept since a trail without data events
    cannot show their use; returns 1 where they are more than the goal, else 0.
    """
    document = policy([pattern])
    # Removals need runs: these call `sqs:CreateQueue` alone.
    evidence = observed(*_OTHER)
    entry = compare(document, [], evidence).entries[0]
    context = guard_context(evidence, Options(), policies=(document,))
    # A service that was called, so that its actions are not decided with the service as a whole.
    prefixes = {action.partition(":")[0] for action in entry.granted}
    called = {prefix: frozenset[str]() for prefix in prefixes}
    context = structs.replace(context, programs={**called, **context.programs})
    reasons: Counter[str] = Counter()
    for action in entry.granted:
        reason = not_visible(RemovalCandidate(action, entry), context)
        if reason:
            reasons[_kind(reason)] += 1
    total = sum(reasons.values())
    print(f"{pattern}: {total:,} of {len(entry.granted):,} kept as not visible")
    for reason, count in reasons.most_common():
        print(f"    {count:>6,}  {reason}")
    return _compare(pattern, total, GOALS[pattern]) if pattern in GOALS else 0


def _kind(reason: str) -> str:
    if reason.startswith("AWS may check it inside"):
        return (
            "a carrier is a data event"
            if "data event" in reason
            else "the visibility of a carrier is not known"
        )
    return "data event" if reason.startswith("data event") else reason.partition("; https")[0]


def pairs(reference: ServiceReference) -> int:
    """Print the results for the inner actions of all operations."""
    wrong, untriggered, gone, total, stays = [], Counter[bool](), 0, 0, Counter[str]()
    for pair in inner_pairs(reference):
        total += 1
        triggered_by_operation = {
            carrier.operation: carrier.triggered for carrier in carriers_of(pair.inner)
        }
        triggered = triggered_by_operation.get(pair.operation, False)
        if removed(pair, triggers(pair) if triggered else {}):
            wrong.append(f"{pair.operation} -> {pair.inner}")
        if triggered:
            untriggered[removed(pair, {})] += 1
        reason = held(pair)
        gone += not reason
        if reason:
            stays[reason] += 1
    print(
        f"{total:,} inner pairs: {len(wrong):,} wrong removals in runs with the call (and its"
        " trigger, where known)"
    )
    print("".join(f"    {pair_name}\n" for pair_name in wrong[:_MOST_SHOWN]), end="")
    print(f"without the call {gone:,} go ({100 * gone / total:.1f} %), the others stay:")
    print("".join(f"    {count:>6,}  {reason}\n" for reason, count in stays.most_common()), end="")
    untriggered_total = sum(untriggered.values())
    print(
        f"with the call, without its known trigger, {untriggered[True]:,} of"
        f" {untriggered_total:,} go"
    )
    staying = round(100 - 100 * gone / total)
    return _compare("wrong removals", len(wrong), 0) + _compare(
        "stay without the call, %", staying, 20
    )


def inner_pairs(reference: ServiceReference) -> Iterator[Pair]:
    """All pairs of the reference whose action the catalogue has."""
    for operation in reference.operations.values():
        for client_operation in named_by_reference(operation):
            needed_actions = needed_by(client_operation)
            for action in dict.fromkeys(filter(None, map(catalog.spelling, operation.actions))):
                if action not in needed_actions:
                    source = f"{client_operation.source or client_operation.prefix}.amazonaws.com"
                    yield Pair(
                        client_operation.key, source, client_operation.name, needed_actions, action
                    )


def triggers(pair: Pair) -> Mapping[str, object]:
    """Returns request parameters that make the operation authorize the inner action, `{"roleArn":
    "arn:…"}`; empty where the fact tables know none.
    """
    if pair.inner == "iam:PassRole":
        return {"roleArn": ROLE}
    facts = facts_of(pair.operation)
    causes = facts.inner.get(pair.inner)
    if causes:
        return _cause(causes[0])
    for trigger in facts.triggers:
        if trigger.action == pair.inner:
            return _with_parameter(trigger.parameter)
    for rule in facts.tags:
        if rule.action == pair.inner:
            if pair.inner == "ec2:CreateTags":
                specification = {"resourceType": "instance", "tags": [{"key": "a", "value": "b"}]}
                return {rule.parameter: {"items": [specification]}}
            return {rule.parameter: [{"key": "a", "value": "b"}]}
    return {}


def _cause(condition: str) -> Mapping[str, object]:
    """Request parameters with a condition of the event map: `name`, `name=value` or `name~part of
    the value`.
    """
    name, part = re.match(r"[^=~]+", condition), re.search(r"(?<=[=~]).*", condition)
    value = part.group() if part else "x"
    return {
        name.group() if name else "": (
            f"arn:aws{value}eu-west-1:111122223333:x" if "~" in condition else value
        )
    }


def removed(pair: Pair, parameters: Mapping[str, object]) -> bool:
    """Whether a proposal from runs with the call removes the inner action."""
    return _fate(pair, observed(pair.source, pair.name, parameters)) == ""


def held(pair: Pair) -> str:
    """The guard that keeps the inner action in a proposal from runs without the call; empty if it
    is removed.
    """
    return _fate(pair, observed(*_OTHER))


def _with_parameter(parameter: str) -> Mapping[str, object]:
    """Returns a request with a parameter as a fact table writes it (`Presence.has`).

    `key`: `{"key": "x"}`. `key=text`: `{"key": "text"}`. `key?member`: `{"key": "x"}`. `!key`, a
    parameter that must be absent: `{}`. The only text that a table excludes is that of a private
    ACL: `acl!=private` gives `{"acl": "public-read"}`.
    """
    if parameter.startswith("!"):
        return {}
    key, _, text = parameter.replace("!=private", "=public-read").partition("=")
    return {key.partition("?")[0]: text or "x"}


def _fate(pair: Pair, evidence: Evidence) -> str:
    document = policy([*pair.needed, pair.inner])
    draft = propose(
        document,
        compare(document, [], evidence),
        evidence,
        Options(minimum_confidence=0, lifecycle=Lifecycle.OFF),
    )
    if any(pair.inner in change.removed_actions for change in draft.changes):
        return ""
    return next(
        (
            held_change.guard_result.guard
            for held_change in draft.held_back
            if held_change.action == pair.inner
        ),
        "used",
    )


def policy(actions: Sequence[str]) -> Document:
    """A policy that grants actions on everything, and the call of the other runs."""
    statement = {"Effect": "Allow", "Action": [*actions, "sqs:CreateQueue"], "Resource": "*"}
    if actions == ["*"]:
        statement["Action"] = "*"
    return parse(
        json.dumps({"Version": "2012-10-17", "Statement": [statement]}).encode(), "policy.json"
    )


def observed(source: str, name: str, parameters: Mapping[str, object]) -> Evidence:
    """Evidence of twelve runs with the call, from sources that have every management event and no
    data event.
    """
    collector = UsageCollector(ROLE)
    for turn in range(_RUNS):
        time = _FIRST + timedelta(days=turn * _DAYS)
        for event in ((source, name, parameters), _OTHER):
            collector.note(_call(time, turn, *event))
    coverage = complete("us-east-1", "eu-west-1", start=_FIRST.date(), days=_RUNS * _DAYS)
    return structs.replace(
        collector.close(),
        coverage=structs.replace(coverage, events=frozenset({f"{source}:{name}"})),
    )


def _call(
    time: datetime, turn: int, source: str, name: str, parameters: Mapping[str, object]
) -> Call:
    return Call(
        event_id=f"{turn}-{source}-{name}",
        principal=ROLE,
        session=f"run-{turn}",
        time=time,
        account="111122223333",
        region="eu-west-1",
        source=source,
        name=name,
        parameters=parameters,
        response={},
        resources=(),
        outcome=Outcome.ALLOWED,
        read_only=False,
    )


def _compare(what: str, figure: int, goal: int) -> int:
    print(f"    {what}: {figure:,}, goal at most {goal:,}: {'met' if figure <= goal else 'MISSED'}")
    return int(figure > goal)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
