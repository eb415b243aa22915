"""Each guard holds a removal back for its own reason only."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from leastpriv.cloudtrail.statistics import ReadStatistics, total_coverage
from leastpriv.diff.compare import Entry, compare
from leastpriv.evidence.models import Evidence
from leastpriv.models import Gap, GapKind, Outcome, Scope, Usage
from leastpriv.permissions import catalog
from leastpriv.policy.document import parse
from leastpriv.proposal import guards
from leastpriv.proposal.addition_rules import OFFERED, ONLY_LOGGED, UNPRINTABLE
from leastpriv.proposal.models import (
    GuardContext,
    GuardResult,
    Options,
    RemovalCandidate,
    UnseenServices,
)
from leastpriv.proposal.propose import MAX_CHANGES
from leastpriv.proposal.removals import guard_context
from tests.fakes.deploys import proposal
from tests.fakes.evidence import complete, data_events
from tests.fakes.replace import replace

QUEUE = "arn:aws:sqs:eu-west-1:111122223333:orders"


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    """35 days, six runs of which one had a denial; calls of Lambda, SQS and CloudWatch in
    eu-west-1.
    """
    return proposal(tmp_path_factory.mktemp("evidence"), None).context.evidence


def context(evidence: Evidence, **options: Any) -> GuardContext:
    return guard_context(evidence, Options(**{"minimum_days": 30, **options}))


def candidate(
    action: str,
    evidence: Evidence,
    pattern: str = "",
    resources: list[str] | str = "*",
    **uses: tuple[Usage, ...],
) -> RemovalCandidate:
    """One action that an entry (`pattern`, else the action) of a statement would no longer
    grant.
    """
    statement = {"Effect": "Allow", "Action": pattern or action, "Resource": resources}
    document = parse(
        json.dumps({"Version": "2012-10-17", "Statement": statement}).encode(), "p.json"
    )
    entry = compare(document, [], evidence).entries[0]
    return RemovalCandidate(action, entry)


def test_a_visible_unused_action_with_enough_evidence_is_part_of_no_guard(
    evidence: Evidence,
) -> None:
    checked = candidate("sqs:PurgeQueue", evidence, resources=QUEUE)
    assert guards.first_guard_result(checked, context(evidence)) is None


def test_every_guard_has_a_unique_name() -> None:
    names = [*guards.GUARDS]
    assert len(set(names)) == len(names)
    assert all(name == name.lower() and " " not in name for name in names)


def test_the_guide_explains_every_guard() -> None:
    """Readers of a pull request look names up there, so it lists every name in the code."""
    package = Path(guards.__file__).parent
    source = "\n".join(file.read_text(encoding="utf-8") for file in sorted(package.rglob("*.py")))
    names = {*guards.GUARDS} | {*re.findall(r'(?:GuardResult\(\s*|yield )"([a-z-]+)",', source)}
    names |= {OFFERED, ONLY_LOGGED, UNPRINTABLE, MAX_CHANGES}
    page = (package.parents[1] / "docs" / "guards.md").read_text(encoding="utf-8")
    assert len(names) > 30
    assert [name for name in sorted(names) if f"`{name}`" not in page] == []


@pytest.mark.parametrize("pattern", ["sqs:PurgeQueue", "SQS:purge*", "sqs:*", "*"])
def test_keep_ignores_case(evidence: Evidence, pattern: str) -> None:
    reason = guards.kept(
        candidate("sqs:PurgeQueue", evidence), context(evidence, keep=("s3:*", pattern))
    )
    assert reason == f"`keep` names {pattern}"


def test_keep_for_other_actions_holds_nothing_back(evidence: Evidence) -> None:
    assert (
        guards.kept(candidate("sqs:PurgeQueue", evidence), context(evidence, keep=("sqs:Purge",)))
        == ""
    )


def test_an_action_that_the_catalogue_lacks_is_kept(evidence: Evidence) -> None:
    assert guards.unknown_action(candidate("sqs:PurgeQueueOfTomorrow", evidence), context(evidence))
    assert guards.unknown_action(candidate("sqs:PurgeQueue", evidence), context(evidence)) == ""


@pytest.mark.parametrize(("least", "holds"), [(34, False), (35, False), (36, True)])
def test_evidence_must_span_the_days_that_the_user_asks_for(
    evidence: Evidence, least: int, holds: bool
) -> None:
    reason = guards.minimum_days(
        candidate("sqs:PurgeQueue", evidence), context(evidence, minimum_days=least)
    )
    assert reason == (f"the evidence spans 35 of {least} days" if holds else "")


@pytest.mark.parametrize(("least", "holds"), [(4, False), (5, False), (6, True)])
def test_only_runs_without_a_denial_count(evidence: Evidence, least: int, holds: bool) -> None:
    reason = guards.minimum_runs(
        candidate("sqs:PurgeQueue", evidence), context(evidence, minimum_runs=least)
    )
    assert reason == (f"the evidence holds 5 of {least} runs without a denial" if holds else "")


@pytest.mark.parametrize(
    ("scope", "holds"),
    [
        (Scope(), True),
        (Scope(services=("sqs",)), True),
        (Scope(actions=("sqs:Purge*",)), True),
        (Scope(services=("s3", "sqs")), True),
        (Scope(regions=("eu-west-1",)), True),
        (Scope(services=("s3",)), False),
        (Scope(actions=("sqs:CreateQueue",)), False),
    ],
)
def test_a_gap_keeps_only_actions_that_it_could_hide(
    evidence: Evidence, scope: Scope, holds: bool
) -> None:
    holed = replace(evidence, gaps=(Gap(GapKind.UNMAPPED_EVENT, scope, "sqs.amazonaws.com:DoIt"),))
    reason = guards.gap_in_scope(candidate("sqs:PurgeQueue", evidence), context(holed))
    assert reason == ("unmapped-event: sqs.amazonaws.com:DoIt" if holds else "")


@pytest.mark.parametrize(
    ("action", "events", "holds"),
    [
        ("sqs:PurgeQueue", ("management-write",), True),
        ("sqs:PurgeQueue", ("management-read",), False),
        ("lambda:GetFunction", ("management-read",), True),
        ("lambda:GetFunction", ("management-write",), False),
        ("s3:GetObject", ("AWS::S3::Object",), True),
        ("s3:GetObject", ("AWS::DynamoDB::Table", "management-read"), False),
        ("sqs:PurgeQueue", ("AWS::S3::Object",), False),
    ],
)
def test_events_that_a_trail_does_not_log_hide_the_actions_that_only_they_show(
    evidence: Evidence, action: str, events: tuple[str, ...], holds: bool
) -> None:
    holed = replace(evidence, gaps=(Gap(GapKind.NOT_LOGGED, Scope(events=events), "not logged"),))
    reason = guards.gap_in_scope(candidate(action, evidence, resources=QUEUE), context(holed))
    assert reason == ("not-logged: not logged" if holds else "")


@pytest.mark.parametrize(
    ("action", "resources", "regions", "holds"),
    [
        ("sqs:PurgeQueue", QUEUE, ("eu-west-1",), True),
        ("sqs:PurgeQueue", QUEUE, ("us-east-1", "eu-central-1"), False),
        ("sqs:PurgeQueue", "*", ("us-east-1",), True),
        ("sqs:PurgeQueue", [QUEUE, "arn:aws:sqs:*:111122223333:orders"], ("us-east-1",), True),
        ("s3:CreateBucket", "arn:aws:s3:::shop", ("us-east-1",), True),
        ("iam:ListUsers", "*", ("us-east-1",), True),
        ("iam:ListUsers", "*", ("eu-west-1",), False),
        ("iam:GetRole", "*", ("eu-west-1",), True),
    ],
)
def test_a_gap_of_some_regions_keeps_actions_that_may_be_recorded_there(
    evidence: Evidence,
    action: str,
    resources: list[str] | str,
    regions: tuple[str, ...],
    holds: bool,
) -> None:
    holed = replace(evidence, gaps=(Gap(GapKind.SOURCE_FAILED, Scope(regions=regions), "lost"),))
    reason = guards.gap_in_scope(candidate(action, evidence, resources=resources), context(holed))
    assert reason == ("source-failed: lost" if holds else "")


def test_a_gap_outside_the_regions_of_a_condition_keeps_nothing(evidence: Evidence) -> None:
    checked = candidate("sqs:PurgeQueue", evidence)
    for operator, holds in (
        ("StringEquals", False),
        ("StringEqualsIfExists", True),
        ("StringNotEquals", True),
    ):
        condition = {operator: {"aws:RequestedRegion": "eu-west-1"}}
        statement = {
            "Effect": "Allow",
            "Action": "sqs:PurgeQueue",
            "Resource": "*",
            "Condition": condition,
        }
        document = parse(
            json.dumps({"Version": "2012-10-17", "Statement": statement}).encode(), "p.json"
        )
        entry = replace(checked.entry, statement=document.statements[0])
        holed = replace(
            evidence, gaps=(Gap(GapKind.SOURCE_FAILED, Scope(regions=("us-east-1",)), "lost"),)
        )
        assert bool(guards.gap_in_scope(replace(checked, entry=entry), context(holed))) is holds


def test_unknown_settings_of_a_trail_keep_nothing(evidence: Evidence) -> None:
    reason = replace(evidence, gaps=(Gap(GapKind.SETTINGS_UNKNOWN, Scope(), "no source says"),))
    assert guards.gap_in_scope(candidate("sqs:PurgeQueue", evidence), context(reason)) == ""


@pytest.mark.parametrize(
    ("outcome", "word"),
    [(Outcome.DENIED, "denied"), (Outcome.UNKNOWN, "does not show whether it was allowed")],
)
def test_a_denied_or_unknown_call_prevents_a_removal(
    evidence: Evidence, outcome: Outcome, word: str
) -> None:
    usage = next(
        usage for usage in evidence.usages if usage.need.permission.action == "sqs:CreateQueue"
    )
    checked = candidate("sqs:CreateQueue", evidence)
    entry: Entry = replace(
        checked.entry, uses={"sqs:CreateQueue": (replace(usage, outcome=outcome),)}
    )
    assert word in guards.inconclusive(replace(checked, entry=entry), context(evidence))


def test_a_call_of_another_action_prevents_nothing(evidence: Evidence) -> None:
    checked = candidate("sqs:PurgeQueue", evidence, "sqs:*")
    assert checked.entry.uses
    assert guards.inconclusive(checked, context(evidence)) == ""


@pytest.mark.parametrize(
    ("action", "pattern", "options", "holds"),
    [
        ("sns:CreateTopic", "sns:*", {}, True),
        ("sns:CreateTopic", "s*", {}, False),
        ("sns:CreateTopic", "s*", {"unseen_services": UnseenServices.KEEP}, True),
        ("sns:CreateTopic", "", {}, False),
        ("sns:CreateTopic", "sns:*", {"unseen_services": UnseenServices.DROP}, False),
        ("sqs:PurgeQueue", "sqs:*", {}, False),
    ],
)
def test_a_wildcard_that_names_an_unseen_service_is_kept_and_one_over_services_drops_it(
    evidence: Evidence, action: str, pattern: str, options: Mapping[str, Any], holds: bool
) -> None:
    reason = guards.unseen_service(
        candidate(action, evidence, pattern), context(evidence, **options)
    )
    assert bool(reason) is holds
    assert not holds or "no call of sns" in reason


@pytest.mark.parametrize(
    ("action", "resources", "covered", "missing"),
    [
        ("sqs:PurgeQueue", QUEUE, ("eu-west-1",), ""),
        ("sqs:PurgeQueue", QUEUE, ("us-east-1",), "eu-west-1"),
        (
            "sqs:PurgeQueue",
            [QUEUE, QUEUE.replace("eu-west-1", "eu-north-1")],
            ("eu-west-1",),
            "eu-north-1",
        ),
        ("sqs:PurgeQueue", QUEUE.replace("eu-west-1", "*"), ("us-east-1",), ""),
        ("iam:DeleteRole", "arn:aws:iam::111122223333:role/x", ("eu-west-1",), "us-east-1"),
        ("iam:DeleteRole", "arn:aws:iam::111122223333:role/x", ("us-east-1",), ""),
    ],
)
def test_an_unread_region_keeps_actions_that_it_would_have_recorded(
    evidence: Evidence,
    action: str,
    resources: list[str] | str,
    covered: tuple[str, ...],
    missing: str,
) -> None:
    read = replace(evidence, coverage=complete(*covered, days=400))
    reason = guards.region_not_read(candidate(action, read, resources=resources), context(read))
    assert (missing in reason) if missing else (reason == "")


@pytest.mark.parametrize(
    ("action", "word"),
    [
        ("sqs:PurgeQueue", ""),
        ("qldb:SendCommand", ""),
        ("swf:RecordMarker", "no API operation"),
        ("rds-db:connect", "never records it"),
        ("personalize:CreateSolution", "is not known"),
    ],
)
def test_only_an_action_that_a_trail_would_have_shown_is_removed(
    evidence: Evidence, action: str, word: str
) -> None:
    reason = guards.not_visible(candidate(action, evidence), context(evidence))
    assert (word in reason) if word else (reason == "")


@pytest.mark.parametrize(
    ("recorded", "resources", "holds"),
    [
        ((), "arn:aws:s3:::shop/*", True),
        ((("GetObjectAcl", "read", "arn:aws:s3:::shop/"),), "arn:aws:s3:::shop/*", False),
        ((("GetObject", "read", "arn:aws:s3:::shop/"),), "arn:aws:s3:::shop/*", True),
        ((("PutObjectAcl", "write", "arn:aws:s3:::shop/"),), "arn:aws:s3:::shop/*", True),
        ((("GetObjectAcl", "read", "arn:aws:s3:::shop/a/"),), "arn:aws:s3:::shop/*", True),
        ((("GetObjectAcl", "read", "arn:aws:s3:::shop/a/"),), "arn:aws:s3:::shop/b/*", True),
        ((("GetObjectAcl", "read", "arn:aws:s3:::shop/a/"),), "arn:aws:s3:::shop/a/*", False),
        (
            (("GetObjectAcl", "read", "arn:aws:s3:::shop/"),),
            ["arn:aws:s3:::shop/*", "arn:aws:s3:::other/*"],
            True,
        ),
        ((("GetObjectAcl", "read", "arn:aws:s3:::shop/"),), "*", True),
        ((("GetObjectAcl", "read", "arn:aws:s3:::shop/"),), "arn:aws:s3:::shop*/*", True),
    ],
)
def test_an_action_of_data_events_is_removed_only_if_such_events_of_its_resources_were_recorded(
    evidence: Evidence,
    recorded: tuple[tuple[str, str, str], ...],
    resources: list[str] | str,
    holds: bool,
) -> None:
    recording = replace(
        evidence, coverage=replace(evidence.coverage, data=data_events(90, *recorded, *LISTED))
    )
    reason = guards.not_visible(
        candidate("s3:GetObjectAcl", recording, resources=resources), context(recording)
    )
    assert ("data event (AWS::S3::Object)" in reason) if holds else (reason == "")


LISTED = [("ListObjects", "read", f"arn:aws:s3:::{bucket}") for bucket in ("shop", "other")]
"""AWS may check object actions inside ListObjects."""


@pytest.mark.parametrize("kind", ["read", "write"])
def test_an_action_of_read_and_write_events_is_removed_only_if_both_were_recorded(
    evidence: Evidence, kind: str
) -> None:
    """GetObject (a read) and CopyObject (a write) both need `s3:GetObject`."""
    data_coverage = data_events(90, ("GetObject", kind, "arn:aws:s3:::shop/"))
    recording = replace(evidence, coverage=replace(evidence.coverage, data=data_coverage))
    reason = guards.not_visible(
        candidate("s3:GetObject", recording, resources="arn:aws:s3:::shop/*"), context(recording)
    )
    assert "data event (AWS::S3::Object)" in reason


def test_a_lifecycle_counterpart_is_kept_and_names_the_used_action(evidence: Evidence) -> None:
    reason = guards.lifecycle_counterpart(candidate("sqs:DeleteQueue", evidence), context(evidence))
    assert reason == "lifecycle counterpart of sqs:CreateQueue"
    assert (
        guards.lifecycle_counterpart(candidate("sqs:PurgeQueue", evidence), context(evidence)) == ""
    )


def test_a_denied_call_has_no_lifecycle_counterparts(evidence: Evidence) -> None:
    """The alarm was never created, so it needs no deletion."""
    assert (
        guards.lifecycle_counterpart(
            candidate("cloudwatch:DeleteAlarms", evidence), context(evidence)
        )
        == ""
    )


def test_without_evidence_nothing_is_removed(evidence: Evidence) -> None:
    nothing = Evidence(evidence.principal)
    for action in catalog.actions("sqs"):
        reason = guards.first_guard_result(candidate(action, nothing), context(nothing))
        assert reason == GuardResult("minimum-days", "the evidence spans 0 of 30 days")


def test_the_span_counts_whole_days_from_first_to_last_call(evidence: Evidence) -> None:
    assert evidence.first
    short = replace(evidence, last=evidence.first + timedelta(days=29, hours=23))
    reason = guards.minimum_days(candidate("sqs:PurgeQueue", short), context(short))
    assert reason == "the evidence spans 29 of 30 days"


def test_a_role_that_differs_from_the_file_is_not_narrowed_further(evidence: Evidence) -> None:
    checked = candidate("sqs:PurgeQueue", evidence, resources=QUEUE)
    differs = replace(
        evidence,
        live_role_drift="the file allows sqs:PurgeQueue on *, which inline policy ci does not",
    )
    guard_result = guards.first_guard_result(checked, context(differs))
    assert guard_result is not None
    assert guard_result.guard == "live-differs"
    assert guard_result.reason.startswith(differs.live_role_drift)


@pytest.mark.parametrize(("action", "holds"), [("s3:PutObject", True), ("sqs:PurgeQueue", False)])
def test_a_source_without_data_events_keeps_actions_that_only_they_show(
    evidence: Evidence, action: str, holds: bool
) -> None:
    gap = Gap(GapKind.NO_DATA_EVENTS, Scope(data_events=True), "management events only")
    checked = candidate(action, evidence, resources="arn:aws:s3:::assets/*")
    assert bool(guards.gap_in_scope(checked, context(replace(evidence, gaps=(gap,))))) is holds


def test_data_events_of_one_source_make_up_for_another(evidence: Evidence) -> None:
    gap = Gap(GapKind.NO_DATA_EVENTS, Scope(data_events=True), "management events only")
    coverage = replace(
        evidence.coverage, data=data_events(90, ("PutObject", "write", "arn:aws:s3:::assets/"))
    )
    checked = candidate("s3:PutObject", evidence, resources="arn:aws:s3:::assets/*")
    assert (
        guards.gap_in_scope(checked, context(replace(evidence, gaps=(gap,), coverage=coverage)))
        == ""
    )


@pytest.mark.parametrize("kind", [GapKind.SOURCE_FAILED, GapKind.EVENTS_LATE])
def test_a_partly_read_region_keeps_actions_that_it_records(
    evidence: Evidence, kind: GapKind
) -> None:
    gap = Gap(kind, Scope(regions=("eu-west-1",)), "AWS throttled")
    checked = candidate("sqs:PurgeQueue", evidence, resources=QUEUE)
    assert guards.gap_in_scope(checked, context(replace(evidence, gaps=(gap,))))


def test_an_attached_policy_hides_no_call(evidence: Evidence) -> None:
    gap = Gap(GapKind.LIVE_ROLE_UNREAD, Scope(), "AWS denied iam:GetRole")
    checked = candidate("sqs:PurgeQueue", evidence, resources=QUEUE)
    assert guards.first_guard_result(checked, context(replace(evidence, gaps=(gap,)))) is None


@pytest.mark.parametrize(("days", "holds"), [(90, False), (29, True), (0, True)])
def test_with_all_management_events_read_no_event_source_needs_to_be_seen(
    evidence: Evidence, days: int, holds: bool
) -> None:
    statistics = ReadStatistics()
    statistics.cover("eu-west-1", evidence.first, evidence.first + timedelta(days=days))
    coverage = total_coverage([statistics], every_region=True)
    checked = candidate("kms:DescribeKey", evidence, resources="*")
    assert (
        bool(guards.not_recorded(checked, context(replace(evidence, coverage=coverage)))) is holds
    )
