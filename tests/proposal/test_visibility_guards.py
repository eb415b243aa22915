"""A trail's settings over time: since when, and for which resources, missing events prove
absence.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date, timedelta

import pytest

from leastpriv.cloudtrail.coverage import days_of
from leastpriv.diff.compare import compare
from leastpriv.evidence.models import Evidence
from leastpriv.models import Gap, GapKind, Scope
from leastpriv.policy.document import parse
from leastpriv.proposal import visibility_guards
from leastpriv.proposal.models import GuardContext, Options, RemovalCandidate
from leastpriv.proposal.removals import guard_context
from tests.fakes.evidence import RUNS, data_events, evidence, usage
from tests.fakes.replace import replace

READS, KMS, RDS = "management-read", "kms.amazonaws.com", "rdsdata.amazonaws.com"
SHOP, OTHER = "arn:aws:s3:::shop", "arn:aws:s3:::other"
OBJECTS = "AWS::S3::Object"


def candidate(action: str, found: Evidence, *resources: str) -> RemovalCandidate:
    statement = {"Effect": "Allow", "Action": action, "Resource": [*resources] or "*"}
    document = parse(
        json.dumps({"Version": "2012-10-17", "Statement": statement}).encode(), "p.json"
    )
    return RemovalCandidate(action, compare(document, [], found).entries[0])


def context(found: Evidence) -> GuardContext:
    return guard_context(found, Options(minimum_days=30))


def seen(**parts: object) -> Evidence:
    evidence_of_create = evidence(
        [usage("sqs:CreateQueue", "arn:aws:sqs:eu-west-1:111122223333:orders")]
    )
    coverage = {
        name: parts.pop(name) for name in ("days", "logged", "data", "selected") if name in parts
    }
    return replace(
        evidence_of_create, coverage=replace(evidence_of_create.coverage, **coverage), **parts
    )  # type: ignore[arg-type]


def days(**lengths: int) -> Mapping[tuple[str, str], frozenset[date]]:
    names = {"reads": READS, "kms": KMS, "rds": RDS}
    start = RUNS[0].first.date()
    spans = {names[name]: length for name, length in lengths.items()}
    return {
        (region, name): frozenset(start + timedelta(days=number) for number in range(length + 1))
        for region in ("eu-west-1", "us-east-1")
        for name, length in {**spans, "management-write": 40}.items()
    }


@pytest.mark.parametrize(
    ("action", "logged", "reason"),
    [
        ("sns:GetTopicAttributes", days(reads=30), ""),
        (
            "sns:GetTopicAttributes",
            days(reads=29),
            "the reading calls of eu-west-1 span 29 of 30 days",
        ),
        ("sns:CreateTopic", days(reads=0), ""),
        ("kms:CreateAlias", days(reads=30, kms=30), ""),
        (
            "kms:CreateAlias",
            days(reads=30, kms=2),
            f"the events of {KMS} of eu-west-1 span 2 of 30 days",
        ),
        (
            "kms:DescribeKey",
            days(reads=2, kms=30),
            "the reading calls of eu-west-1 span 2 of 30 days",
        ),
        (
            "rds-data:ExecuteStatement",
            days(reads=30, rds=3),
            f"the events of {RDS} of eu-west-1 span 3 of 30 days",
        ),
    ],
)
def test_events_that_a_trail_may_exclude_prove_absence_only_while_recorded(
    action: str, logged: Mapping[tuple[str, str], frozenset[date]], reason: str
) -> None:
    """A trail's settings are today's: reads that were enabled last week prove nothing about the
    month before.
    """
    recording = seen(logged=logged)
    guard_result = visibility_guards.not_recorded(candidate(action, recording), context(recording))
    assert guard_result.startswith(reason) if reason else guard_result == ""


@pytest.mark.parametrize(("length", "holds"), [(30, False), (29, True), (0, True)])
def test_data_events_of_a_resource_prove_absence_only_after_enough_days(
    length: int, holds: bool
) -> None:
    data_coverage = data_events(
        length, ("GetObjectAcl", "read", f"{SHOP}/"), ("ListObjects", "read", SHOP)
    )
    recording = seen(
        data=data_coverage, days={"eu-west-1": days_of(next(iter(data_coverage.values())))}
    )
    checked = candidate("s3:GetObjectAcl", recording, f"{SHOP}/*")
    assert bool(visibility_guards.not_visible(checked, context(recording))) is holds


@pytest.mark.parametrize(
    ("kinds", "outside", "resources", "holds"),
    [
        (("read",), (f"{SHOP}/*",), (f"{SHOP}/*",), False),
        (("read",), (f"{SHOP}/*",), (SHOP, f"{SHOP}/*"), False),
        (("read",), (f"{SHOP}/logs/*",), (f"{SHOP}/*",), True),
        (("read",), (f"{SHOP}/logs/*",), (f"{SHOP}/logs",), True),
        (("read",), (f"{SHOP}/logs/*",), (f"{SHOP}/logs/2026/*",), False),
        (("read",), (f"{SHOP}/*",), (f"{SHOP}/*", f"{OTHER}/*"), True),
        (("read",), (f"{SHOP}/*", f"{OTHER}/*"), (f"{SHOP}/*", f"{OTHER}/*"), False),
        (("read",), (f"{SHOP}/*",), (f"{SHOP}*/*",), True),
        (("read",), (f"{SHOP}/*",), ("*",), True),
        (("read",), (f"{SHOP}/one",), (f"{SHOP}/one",), False),
        (("read",), (f"{SHOP}/one",), (f"{SHOP}/one/two",), True),
        (("read",), (), (f"{SHOP}/*",), True),
        (("write",), (), (f"{SHOP}/*",), False),
        (("write", "read"), (), (f"{SHOP}/*",), True),
    ],
)
def test_partly_selected_data_events_hide_the_other_resources(
    kinds: tuple[str, ...], outside: tuple[str, ...], resources: tuple[str, ...], holds: bool
) -> None:
    """Even if events of the same bucket were seen: those that were selected."""
    scope = Scope(events=tuple(f"{OBJECTS} {kind}" for kind in kinds), outside=outside)
    recorded = data_events(90, *[("GetObjectAcl", "read", f"{root}/") for root in (SHOP, OTHER)])
    recording = seen(gaps=(Gap(GapKind.NOT_LOGGED, scope, "in part"),), data=recorded)
    checked = candidate("s3:GetObjectAcl", recording, *resources)
    assert bool(visibility_guards.gap_in_scope(checked, context(recording))) is holds


@pytest.mark.parametrize("action", ["sqs:PurgeQueue", "lambda:InvokeFunction", "s3:RestoreObject"])
def test_data_events_of_one_type_and_kind_hide_nothing_else(action: str) -> None:
    gap = Gap(GapKind.NOT_LOGGED, Scope(events=(f"{OBJECTS} read",)), "reads of objects")
    recording = seen(gaps=(gap,))
    assert visibility_guards.gap_in_scope(candidate(action, recording), context(recording)) == ""
