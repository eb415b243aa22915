"""Creates evidence for a policy: some granted actions were used, some missing ones were denied."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta

from leastpriv.cloudtrail.coverage import LOGGED_KINDS, Coverage, DataStream, RegionEvents, mask_of
from leastpriv.evidence.models import CallGroup, Counts, Evidence
from leastpriv.models import Basis, Denial, DeniedBy, Need, Outcome, Permission, Run, Usage
from leastpriv.permissions import catalog
from leastpriv.permissions.patterns import has_variable, resource_covers
from leastpriv.permissions.resource_types import VARIABLE, action_of, fits
from leastpriv.policy.document import Document, Statement
from leastpriv.policy.replay import replay_need
from tests.fakes.deploys import ROLE

FIRST = datetime(2026, 9, 1, 9, tzinfo=UTC)
_FIRST_DAY = FIRST.date()
RUNS = tuple(
    Run(
        f"{1765000000 + number}",
        f"{1765000000 + number}",
        FIRST + timedelta(days=4 * number),
        FIRST,
    )
    for number in range(12)
)
NEVER_GRANTED = (
    ("sqs:PurgeQueue", "arn:aws:sqs:eu-west-1:111122223333:orders"),
    ("sns:SetTopicAttributes", "arn:aws:sns:eu-west-1:111122223333:orders"),
    ("ssm:PutParameter", "arn:aws:ssm:eu-west-1:111122223333:parameter/orders/image"),
)
PLACES = {"Partition": "aws", "Region": "eu-west-1", "Account": "111122223333"}


def evidence_for(document: Document, chance: random.Random) -> Evidence:
    """Forty-four days and twelve runs with calls of some granted actions and no denial."""
    pairs = [pair for statement in document.statements for pair in _used(statement, chance)]
    called = [
        _usage(action, resource, _some_runs(chance)) for action, resource in dict.fromkeys(pairs)
    ]
    usages = [
        each
        for each in called
        if replay_need(each.need, ROLE, "eu-west-1", [document]) in ("allowed", "unknown")
    ]
    refused = [_refusal(*pair) for pair in NEVER_GRANTED if chance.random() < 0.5]
    return evidence([*usages, *refused])


def with_unknown_grants(document: Document, found: Evidence, chance: random.Random) -> Evidence:
    """The evidence with allowed calls that the policy does not allow, so that an unknown policy
    did.
    """
    pairs = [pair for statement in document.statements for pair in _used(statement, chance)]
    moved = [
        (action, re.sub(r"[A-Za-z0-9]$", "-elsewhere", resource)) for action, resource in pairs
    ]
    more = [_usage(*pair, _some_runs(chance)) for pair in dict.fromkeys(moved) if fits(*pair)]
    unknown = [
        each
        for each in more
        if replay_need(each.need, ROLE, "eu-west-1", [document]) == "implicitDeny"
    ]
    return evidence([*found.usages, *unknown])


def evidence(usages: Sequence[Usage]) -> Evidence:
    """Evidence of some usages, each with one call in each of its runs."""
    groups = [
        CallGroup((each.need,), each.outcome, each.count, each.runs, each.regions, each.events[0])
        for each in usages
    ]
    allowed = sum(each.count for each in usages if each.outcome is Outcome.ALLOWED)
    return Evidence(
        ROLE,
        usages=tuple(usages),
        groups=tuple(groups),
        runs=RUNS,
        first=RUNS[0].first,
        last=RUNS[-1].first,
        counts=Counts(calls=allowed, allowed=allowed),
        regions=("eu-west-1",),
        coverage=complete("eu-west-1", "us-east-1"),
    )


def complete(*regions: str, start: date = _FIRST_DAY, days: int = 45) -> Coverage:
    """Coverage of some regions, in which the role works, by all kinds of management events but the
    RDS Data API's.
    """
    every = frozenset(start + timedelta(days=number) for number in range(days))
    kinds = LOGGED_KINDS - {"rdsdata.amazonaws.com"}
    return Coverage(
        days=dict.fromkeys(regions, every),
        logged={RegionEvents(region, kind): every for region in regions for kind in kinds},
        named_regions=frozenset(regions),
    )


def data_events(days: int, *streams: tuple[str, str, str]) -> dict[DataStream, int]:
    """Recorded data events, each an event name, `read` or `write` and a folder, on each of some
    days.
    """
    mask = mask_of(range(FIRST.toordinal(), FIRST.toordinal() + days + 1))
    return {
        DataStream(f"s3.amazonaws.com:{name}", kind, folder): mask for name, kind, folder in streams
    }


def usage(
    action: str, resource: str, runs: Sequence[int] = range(12), *, exact: bool = True
) -> Usage:
    """An allowed usage in some runs, by their numbers."""
    return _usage(action, resource, tuple(RUNS[number].id for number in runs), exact)


def _usage(action: str, resource: str, runs: tuple[str, ...], exact: bool = True) -> Usage:
    need = Need(Permission(action, resource), Basis.OBSERVED, "from the record", exact=exact)
    event = f"{action.partition(':')[0]}.amazonaws.com:{action.partition(':')[2]}"
    last = RUNS[-1].first
    return Usage(need, Outcome.ALLOWED, len(runs), FIRST, last, runs, (event,), ("eu-west-1",))


def _refusal(action: str, resource: str) -> Usage:
    denial = Denial((action,), resource, ROLE, DeniedBy.IDENTITY, False, True)
    need = Need(Permission(action, resource), Basis.DENIED, "from the refusal")
    return Usage(
        need, Outcome.DENIED, 1, FIRST, FIRST, (RUNS[3].id,), ("x:Y",), ("eu-west-1",), denial
    )


def _some_runs(chance: random.Random) -> tuple[str, ...]:
    first = chance.choice([0, 0, 0, 3, 8])
    return tuple(run.id for run in RUNS[first:] if chance.random() < chance.choice([0.1, 0.9])) or (
        RUNS[0].id,
    )


def _used(statement: Statement, chance: random.Random) -> Iterator[tuple[str, str]]:
    if statement.effect != "Allow":
        return
    granted = [name for entry in statement.actions for name in catalog.expand(entry)]
    if statement.not_actions:
        granted = ["sqs:CreateQueue", "lambda:UpdateFunctionCode", "sns:Subscribe"]
    for action in chance.sample(granted, min(len(granted), chance.randrange(6))):
        places = [entry for entry in statement.resources or ("*",) if not has_variable(entry)]
        for place in places[:2]:
            resource = _one_of(action, place, chance)
            if resource:
                yield action, resource


def _one_of(action: str, place: str, chance: random.Random) -> str:
    """A resource of the action at an index of a policy; empty if there is none."""
    known = action_of(action)
    if known is None or not known.resource_types:
        return "*" if place == "*" else ""
    if place == "*":
        kind = chance.choice(known.resource_types)
        name = chance.choice(["orders", "payments", f"build-{chance.randrange(99)}"])
        made = VARIABLE.sub(lambda match: PLACES.get(match[1], name), kind.arn)
    else:
        made = re.sub(r"\*+", "orders", place).replace("?", "x")
    is_one = not set(made) & set("*?$") and fits(action, made) and resource_covers(place, made)
    return made if is_one else ""
