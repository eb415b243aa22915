"""A trail with parts left out never removes what the whole trail shows as used."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from leastpriv.aws.arns import Principals, Window, parse_principal
from leastpriv.cloudtrail.record import event_time, parse_record
from leastpriv.cloudtrail.statistics import ReadStatistics, count_coverage, total_coverage
from leastpriv.diff.compare import compare
from leastpriv.evidence.models import Evidence, with_coverage
from leastpriv.models import Call, Gap, Outcome
from leastpriv.pipeline.sources import read_evidence
from leastpriv.policy.document import Document, parse
from leastpriv.proposal.models import Options
from leastpriv.proposal.propose import propose
from tests.fakes.deploys import ROLE, record
from tests.hypothesis_profiles import examples

ACCOUNT = "111122223333"
REGIONS = ("eu-west-1", "us-east-1", "eu-north-1")
FIRST = datetime(2026, 9, 1, tzinfo=UTC)
DAYS, RUNS, INTERVAL = 52, 12, 4
MINIMUM_DAYS = 35
ASKED = Window(FIRST, FIRST + timedelta(days=DAYS))
"""The window that the user asks for: without it, a trail that begins later or ends earlier is whole
for its own.
"""
OTHERS = ("audit", "backup", "watch")
PREFIXES = ("art/logs", "art/releases", "www")
BUCKET = "arn:aws:s3:::shop"


@dataclass(frozen=True, slots=True)
class Grant:
    """A permission of the policy, with a call that uses it."""

    action: str
    event: str
    resource: str = "*"
    parameters: Mapping[str, Any] = field(default_factory=dict)
    regions: tuple[str, ...] = ("eu-west-1", "eu-north-1")
    reads: bool = False
    key: str = ""
    """Key of the object, for a data event."""


def object_grant(action: str, prefix: str, granted: str) -> Grant:
    key = f"{prefix}/file"
    return Grant(
        f"s3:{action}",
        f"s3:{action}",
        f"{BUCKET}/{granted}",
        {"bucketName": "shop", "key": key},
        ("eu-west-1",),
        key=key,
    )


PROFILE = {"instanceProfileName": "orders"}
GRANTS = (
    Grant("sqs:PurgeQueue", "sqs:PurgeQueue", "*",
    {"queueUrl": f"https://sqs.eu-west-1.amazonaws.com/{ACCOUNT}/orders"}),
    Grant("sns:ListTopics", "sns:ListTopics", reads=True),
    Grant("sns:SetTopicAttributes", "sns:SetTopicAttributes",
    f"arn:aws:sns:eu-north-1:{ACCOUNT}:orders",
          {"topicArn": f"arn:aws:sns:eu-north-1:{ACCOUNT}:orders"}, ("eu-north-1",)),
    Grant("cloudwatch:DescribeAlarmHistory", "monitoring:DescribeAlarmHistory", reads=True),
    Grant("iam:GetInstanceProfile", "iam:GetInstanceProfile", "*", PROFILE, ("us-east-1",), True),
    Grant("iam:CreateInstanceProfile", "iam:CreateInstanceProfile", "*", PROFILE, ("us-east-1",)),
    Grant("kms:CreateAlias", "kms:CreateAlias", "*", {"aliasName": "alias/orders",
    "targetKeyId": "orders"}),
    Grant("kms:ListAliases", "kms:ListAliases", reads=True),
    object_grant("PutObject", "art/logs", "art/logs/*"),
    object_grant("DeleteObject", "art/releases", "art/releases/*"),
    object_grant("RestoreObject", "www", "*"),
)  # fmt: skip
ALWAYS = {"event": "sqs:CreateQueue", "parameters": {"queueName": "orders"}}
POLICY = parse(
    json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Action": "sqs:CreateQueue",
                    "Resource": f"arn:aws:sqs:eu-west-1:{ACCOUNT}:orders",
                },
                *(
                    {"Effect": "Allow", "Action": grant.action, "Resource": grant.resource}
                    for grant in GRANTS
                ),
            ],
        }
    ).encode(),
    "policy.json",
)

Record = Mapping[str, Any]


def whole_trail(uses: Sequence[frozenset[int]], regions: Sequence[int]) -> list[Record]:
    """The records of twelve runs, each grant used in its runs, and of three other principals every
    day.
    """
    records = list(_other_calls())
    for run in range(RUNS):
        time = FIRST + timedelta(days=3 + run * INTERVAL, hours=9)
        calls: list[dict[str, Any]] = [ALWAYS]
        for grant, runs, number in zip(GRANTS, uses, regions, strict=True):
            if run in runs:
                calls.append(
                    _call(
                        grant.event,
                        grant.parameters,
                        grant.regions[number % len(grant.regions)],
                        grant.key,
                    )
                )
        records += [
            record(call, time + timedelta(seconds=second), f"17650000{run:03}")
            for second, call in enumerate(calls)
        ]
    return records


def _other_calls() -> Iterator[Record]:
    for number in range(DAYS):
        for hour, name in enumerate(OTHERS):
            time = FIRST + timedelta(days=number, hours=hour)
            who = f"arn:aws:iam::{ACCOUNT}:role/{name}"
            for region in REGIONS:
                for event in (
                    "ec2:DescribeRegions",
                    "ec2:CreateTags",
                    "kms:ListKeys",
                    "kms:UpdateAlias",
                ):
                    yield record(_call(event, {}, region), time, "daily", who)
            for prefix in PREFIXES:
                for event in ("s3:PutObject", "s3:DeleteObject", "s3:RestoreObject"):
                    yield record(
                        _call(event, {}, "eu-west-1", f"{prefix}/other"), time, "daily", who
                    )


def _call(event: str, parameters: Mapping[str, Any], region: str, key: str = "") -> dict[str, Any]:
    call: dict[str, Any] = {"event": event, "parameters": dict(parameters), "region": region}
    return {**call, "data": True, "resources": [f"{BUCKET}/{key}", BUCKET]} if key else call


@dataclass(slots=True)
class MemorySource:
    """An evidence source of records in memory."""

    records: Iterable[Record]
    statistics: ReadStatistics = field(default_factory=ReadStatistics)

    def read(self, window: Window, principals: Principals) -> Iterator[Call | Gap]:  # noqa: ARG002 - protocol
        """Yield the calls of the records, and count what they cover."""
        for trail_record in self.records:
            count_coverage(self.statistics, trail_record, event_time(trail_record), principals)
            call = parse_record(trail_record, principals.wants, principals.include)
            if isinstance(call, Call | Gap):
                yield call


def evidence_of(records: Iterable[Record]) -> Evidence:
    source = MemorySource(records)
    role_evidence = read_evidence([source], Window(), parse_principal(ROLE))[ROLE]
    return with_coverage(role_evidence, total_coverage([source.statistics], REGIONS, ASKED))


def proposed(evidence: Evidence) -> Document:
    return propose(
        POLICY, compare(POLICY, [], evidence), evidence, Options(minimum_days=MINIMUM_DAYS)
    ).document


Loss = Mapping[str, Any]
_ALL_DAYS = frozenset(range(DAYS))


def without(records: Iterable[Record], losses: Sequence[Loss]) -> list[Record]:
    """The records that no loss takes; a session of unknown type keeps its records and loses its
    type.
    """
    remaining = []
    for trail_record in records:
        record_after_loss: Record | None = trail_record
        for loss in losses:
            record_after_loss = _after(record_after_loss, loss) if record_after_loss else None
        if record_after_loss:
            remaining.append(record_after_loss)
    return remaining


def _after(made: Record, loss: Loss) -> Record | None:
    day = date.fromisoformat(str(made["eventTime"])[:10])
    is_data, region = made["eventCategory"] == "Data", made["awsRegion"]
    if loss.get("region", region) != region or (day - FIRST.date()).days not in loss.get(
        "days", _ALL_DAYS
    ):
        return made
    identity = made["userIdentity"]
    match loss["what"]:
        case "days" | "region":
            lost = True
        case "data":
            lost = is_data and made["readOnly"] is loss["reads"]
        case "kind":
            lost = not is_data and made["readOnly"] is loss["reads"]
        case "source":
            lost = made["eventSource"] == "kms.amazonaws.com"
        case "prefixes":
            lost = is_data and f"/{loss['kept']}/" not in made["resources"][0]["ARN"]
        case "operations":
            lost = is_data and made["eventName"] == loss["name"]
        case "caller":
            lost = identity["arn"].split("/")[1] == loss["name"]
        case _:
            if identity["arn"].endswith(loss["session"]):
                return {
                    **made,
                    "userIdentity": {
                        "type": "Unknown",
                        "arn": identity["arn"],
                        "accountId": ACCOUNT,
                    },
                }
            lost = False
    return None if lost else made


_region = st.sampled_from(REGIONS)
_block = st.tuples(st.integers(0, DAYS - 1), st.integers(1, DAYS)).map(
    lambda part: frozenset(range(part[0], part[0] + part[1]))
)
_scattered = st.frozensets(st.integers(0, DAYS - 1), min_size=1, max_size=6)
_days = {"days": st.one_of(st.just(_ALL_DAYS), _block, _scattered)}
_period = {"days": st.one_of(st.just(_ALL_DAYS), _block)}
"""Event selectors change for a time: single days without writes are no different from days without
work.
"""
LOSSES = st.one_of(
    st.fixed_dictionaries({"what": st.just("days"), **_days}, optional={"region": _region}),
    st.fixed_dictionaries({"what": st.just("region"), "region": _region}),
    st.fixed_dictionaries(
        {"what": st.just("kind"), "reads": st.booleans(), **_period}, optional={"region": _region}
    ),
    st.fixed_dictionaries({"what": st.just("source"), **_days}, optional={"region": _region}),
    st.fixed_dictionaries({"what": st.just("data"), "reads": st.booleans(), **_days}),
    st.fixed_dictionaries(
        {"what": st.just("prefixes"), "kept": st.sampled_from(PREFIXES), **_days}
    ),
    st.fixed_dictionaries(
        {
            "what": st.just("operations"),
            "name": st.sampled_from(["PutObject", "DeleteObject", "RestoreObject"]),
            **_days,
        }
    ),
    st.fixed_dictionaries({"what": st.just("caller"), "name": st.sampled_from(OTHERS), **_days}),
    st.fixed_dictionaries(
        {
            "what": st.just("type"),
            "session": st.integers(0, RUNS - 1).map(lambda run: f"/17650000{run:03}"),
        }
    ),
)
RUN_SETS = st.one_of(
    st.just(frozenset[int]()), st.frozensets(st.integers(0, RUNS - 1), min_size=1, max_size=1),
    st.frozensets(st.integers(0, RUNS - 1)),
)  # fmt: skip
TRAILS = st.tuples(
    st.lists(RUN_SETS, min_size=len(GRANTS), max_size=len(GRANTS)),
    st.lists(st.integers(0, 1), min_size=len(GRANTS), max_size=len(GRANTS)),
    st.lists(LOSSES, min_size=1, max_size=3),
)


def wrong_removals(
    uses: Sequence[frozenset[int]], regions: Sequence[int], losses: Sequence[Loss]
) -> list[str]:
    """Actions that the whole trail shows as allowed and that the proposal from the rest no longer
    grants, without those that only short silences hide.
    """
    records = whole_trail(uses, regions)
    actions = {
        usage.need.permission.action
        for usage in evidence_of(records).usages
        if usage.outcome is Outcome.ALLOWED
    }
    document = proposed(evidence_of(without(records, losses)))
    granted = {action for statement in document.statements for action in statement.actions}
    granted_before = {action for statement in POLICY.statements for action in statement.actions}
    removed = (actions & granted_before) - granted
    return sorted(
        grant.action
        for grant, runs, number in zip(GRANTS, uses, regions, strict=True)
        if grant.action in removed
        and not _is_hidden_by_short_silences(
            grant, runs, grant.regions[number % len(grant.regions)], losses
        )
    )


def _is_hidden_by_short_silences(
    grant: Grant, runs: frozenset[int], region: str, losses: Sequence[Loss]
) -> bool:
    """Whether all uses of a grant are on days without records, and other days settle these: an
    unbroken stretch as long as a removal needs, and ten times as long as all lost days (decision 44).
    """
    silences = [loss for loss in losses if loss["what"] in ("days", "kind", "source")]
    call = _call(grant.event, grant.parameters, region, grant.key)
    lost = {
        day
        for day in range(DAYS)
        if not without([record(call, FIRST + timedelta(days=day), "silence")], silences)
    }
    if not all(3 + run * INTERVAL in lost for run in runs):
        return False
    ends = [-1, *sorted(lost), DAYS]
    longest = max(later - earlier - 1 for earlier, later in pairwise(ends))
    return longest >= max(MINIMUM_DAYS, 10 * len(lost))


_FEW_WRITES = {
    "sqs:PurgeQueue": frozenset({1}),
    "cloudwatch:DescribeAlarmHistory": frozenset({0, 1, 2, 11}),
    "s3:DeleteObject": frozenset({8}),
}
_WRITES_OF_FIVE_DAYS: Loss = {"what": "kind", "reads": False, "days": frozenset(range(4, 51))}


@examples(25, fast=4)
@given(TRAILS)
@example(
    (
        [_FEW_WRITES.get(grant.action, frozenset()) for grant in GRANTS],
        [0] * len(GRANTS),
        [_WRITES_OF_FIVE_DAYS],
    )
)
def test_a_trail_with_parts_left_out_removes_no_used_action(
    trail: tuple[list[frozenset[int]], list[int], list[Loss]],
) -> None:
    assert wrong_removals(*trail) == []


@pytest.mark.slow
@examples(2_000, ci=200)
@given(TRAILS)
def test_two_thousand_trails_with_parts_left_out_remove_no_used_action(
    trail: tuple[list[frozenset[int]], list[int], list[Loss]],
) -> None:
    assert wrong_removals(*trail) == []


def test_a_whole_trail_removes_every_unused_action() -> None:
    nothing = [frozenset[int]()] * len(GRANTS)
    role_evidence = evidence_of(whole_trail(nothing, [0] * len(GRANTS)))
    assert not role_evidence.gaps
    document = proposed(role_evidence)
    assert [action for statement in document.statements for action in statement.actions] == [
        "sqs:CreateQueue"
    ]


@pytest.mark.parametrize(
    "loss",
    [
        {"what": "days", "days": frozenset({19}), "region": "eu-north-1"},
        {"what": "days", "days": frozenset(range(10, 25))},
        {"what": "region", "region": "us-east-1"},
        {"what": "kind", "region": "eu-west-1", "reads": True},
        {"what": "source", "region": "eu-north-1"},
        {"what": "prefixes", "kept": "art/logs"},
        {"what": "operations", "name": "RestoreObject"},
        {"what": "type", "session": "/17650000004"},
    ],
    ids=lambda loss: str(loss["what"]),
)
def test_each_loss_keeps_the_actions_that_it_may_hide(loss: Loss) -> None:
    """One run used every grant, on the day that the loss takes; without the guards its grants would
    be removed.
    """
    uses = [frozenset({4})] * len(GRANTS)
    for number in (0, 1):
        assert wrong_removals(uses, [number] * len(GRANTS), [loss]) == []
