"""IAM's last accessed information: what it keeps, what it lets go, and what it says nothing about."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from leastpriv.diff.compare import compare
from leastpriv.evidence.hints.found import AccessReport, Attempt, GeneratedPolicy, Hints, ServiceAccess, SharedPolicy
from leastpriv.evidence.hints.tracking import is_tracked, is_tracked_partition, is_tracked_region
from leastpriv.evidence.usage import Evidence
from leastpriv.policy.document import parse
from leastpriv.proposal import guards
from leastpriv.proposal.last_accessed import as_without, is_outdated
from leastpriv.proposal.propose import situation_of
from leastpriv.proposal.situation import Candidate, Objection, Options
from tests.fakes.deploys import proposal

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
TOPICS = "arn:aws:sns:eu-west-1:111122223333:*"


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    """35 days, six runs of which one had a refusal; calls of Lambda, SQS and CloudWatch in eu-west-1."""
    return proposal(tmp_path_factory.mktemp("evidence"), None).subject.evidence


def told(evidence: Evidence, services: Mapping[str, object], **more: object) -> Evidence:
    """The evidence with a report: `service` or `service:Action` -> time of the last attempt, or None."""
    assert evidence.last
    found: dict[str, ServiceAccess] = {}
    for name, time in services.items():
        prefix, _, action = name.lower().partition(":")
        known = found.get(prefix, ServiceAccess(prefix))
        attempt = Attempt(time, "eu-west-1") if isinstance(time, datetime) else None
        named = {**known.actions, name.lower(): attempt} if action else known.actions
        found[prefix] = replace(known, actions=named, last=known.last if action else attempt)
    report = AccessReport(evidence.last + DAY, found, **more)  # type: ignore[arg-type]
    return replace(evidence, hints=Hints(access=report))


def judged(evidence: Evidence, action: str, pattern: str = "", resource: str = "*") -> Objection | None:
    """What holds the removal of an action back, if anything."""
    dials = Options(minimum_runs=0, minimum_days=0)
    return guards.objection_to(candidate(action, evidence, pattern, resource), situation_of(evidence, dials))


def candidate(action: str, evidence: Evidence, pattern: str = "", resource: str = "*") -> Candidate:
    """An action of an entry (`pattern`, else the action itself)."""
    statement = {"Effect": "Allow", "Action": pattern or action, "Resource": resource}
    document = parse(json.dumps({"Version": "2012-10-17", "Statement": statement}).encode(), "p.json")
    return Candidate(action, compare(document, [], evidence).entries[0])


def first(evidence: Evidence) -> datetime:
    assert evidence.first
    return evidence.first


def last(evidence: Evidence) -> datetime:
    assert evidence.last
    return evidence.last


def test_an_attempt_in_the_window_that_the_evidence_lacks_keeps_the_action(evidence: Evidence) -> None:
    when = first(evidence) + 5 * DAY
    found = judged(told(evidence, {"sns": when, "sns:CreateTopic": when}), "sns:CreateTopic", resource=TOPICS)
    assert found
    assert found.guard == "last-accessed"
    assert f"on {when:%Y-%m-%d} in eu-west-1" in found.reason


def test_an_attempt_after_the_evidence_ends_keeps_the_action_too(evidence: Evidence) -> None:
    when = last(evidence) + 3 * DAY
    for services in ({"sns": when, "sns:CreateTopic": when}, {"sqs": when}):
        action = "sns:CreateTopic" if "sns" in services else "sqs:PurgeQueue"
        assert judged(told(evidence, services), action) is not None


def test_without_a_report_nothing_is_kept_or_let_go_for_it(evidence: Evidence) -> None:
    assert judged(evidence, "sns:CreateTopic", resource=TOPICS) is None
    assert judged(evidence, "sns:CreateTopic", "sns:*") == judged(told(evidence, {}), "sns:CreateTopic", "sns:*")


def test_a_tracked_action_that_was_last_tried_before_the_evidence_goes(evidence: Evidence) -> None:
    old = first(evidence) - 100 * DAY
    services = {"sns": first(evidence) + DAY, "sns:CreateTopic": old}
    assert judged(told(evidence, services), "sns:CreateTopic", resource=TOPICS) is None


def test_it_goes_even_where_the_region_was_not_read_since_iam_covers_all_regions(evidence: Evidence) -> None:
    elsewhere = TOPICS.replace("eu-west-1", "sa-east-1")
    old = {"sns": first(evidence) - 100 * DAY, "sns:CreateTopic": first(evidence) - 100 * DAY}
    unread = judged(evidence, "sns:CreateTopic", resource=elsewhere)
    assert unread
    assert unread.guard == "region-not-read"
    assert judged(told(evidence, old), "sns:CreateTopic", resource=elsewhere) is None
    untracked = judged(told(evidence, old), "sns:CreateTopic", resource=TOPICS.replace("eu-west-1", "mx-central-1"))
    assert untracked
    assert untracked.guard == "region-not-read"


def test_a_date_of_what_iam_does_not_track_lets_nothing_go(evidence: Evidence) -> None:
    old = first(evidence) - 100 * DAY
    report = told(evidence, {"sns": first(evidence) - 101 * DAY, "sns:Publish": old})
    assert judged(report, "sns:Publish", resource=TOPICS) is not None
    assert not is_outdated(candidate("sns:Publish", evidence), situation_of(report, Options()))
    tracked = told(evidence, {"sns": old, "sns:CreateTopic": old})
    assert is_outdated(candidate("sns:CreateTopic", evidence), situation_of(tracked, Options()))


def test_an_action_without_a_date_is_no_evidence(evidence: Evidence) -> None:
    elsewhere = TOPICS.replace("eu-west-1", "sa-east-1")
    found = judged(told(evidence, {"sns": None, "sns:CreateTopic": None}), "sns:CreateTopic", resource=elsewhere)
    assert found
    assert found.guard == "region-not-read"


def test_a_service_without_any_attempt_is_dropped_from_wildcards(evidence: Evidence) -> None:
    kept = judged(evidence, "sns:CreateTopic", "sns:*")
    assert kept
    assert kept.guard == "unseen-service"
    assert judged(told(evidence, {"sns": None}), "sns:CreateTopic", "sns:*") is None
    assert judged(told(evidence, {"sns": None}), "sns:Publish", "sns:*") is None


def test_a_service_that_iam_does_not_list_is_not(evidence: Evidence) -> None:
    kept = judged(told(evidence, {"sqs": last(evidence)}), "sns:CreateTopic", "sns:*")
    assert kept
    assert kept.guard == "unseen-service"


@pytest.mark.parametrize("days", [-300, 5])
def test_a_service_that_was_tried_at_some_time_is_kept_whole(evidence: Evidence, days: int) -> None:
    found = judged(told(evidence, {"sns": first(evidence) + days * DAY}), "sns:CreateTopic", "sns:*")
    assert found
    assert found.guard == "last-accessed"


def test_a_service_that_was_last_tried_before_the_evidence_keeps_its_named_actions(evidence: Evidence) -> None:
    found = judged(told(evidence, {"sns": first(evidence) - 300 * DAY}), "sns:CreateTopic", resource=TOPICS)
    assert found
    assert "before the evidence begins" in found.reason


def test_an_attempt_that_the_evidence_has_keeps_nothing(evidence: Evidence) -> None:
    assert judged(told(evidence, {"sqs": last(evidence) + HOUR / 2}), "sqs:PurgeQueue") is None


def test_a_call_that_no_policy_has_to_allow_keeps_nothing(evidence: Evidence) -> None:
    when = first(evidence) + DAY
    services = {"sts": when, "sts:GetCallerIdentity": when}
    without = judged(evidence, "sts:DecodeAuthorizationMessage")
    assert judged(told(evidence, services), "sts:DecodeAuthorizationMessage") == without
    kept = judged(told(evidence, {"sts": when}), "sts:DecodeAuthorizationMessage")
    assert kept
    assert kept.guard == "last-accessed"


def test_in_a_partition_that_iam_does_not_track_no_silence_counts(evidence: Evidence) -> None:
    china = replace(told(evidence, {"sns": None}), principal=evidence.principal.replace("arn:aws:", "arn:aws-cn:"))
    found = judged(china, "sns:CreateTopic", "sns:*")
    assert found
    assert found.guard == "unseen-service"


def test_a_policy_that_serves_others_is_not_narrowed_under_them(evidence: Evidence) -> None:
    policy, other = "arn:aws:iam::111122223333:policy/shared", "arn:aws:iam::111122223333:role/other"
    for days, guard in ((3, "shared-policy"), (-3, "")):
        shared = SharedPolicy(policy, "sqs", {other: Attempt(first(evidence) + days * DAY)})
        granting = ("arn:aws:iam::aws:policy/ReadOnlyAccess", policy)
        report = told(evidence, {"sqs": last(evidence)}, shared=(shared,), granted_by={"sqs": granting})
        found = judged(report, "sqs:PurgeQueue")
        assert (found.guard if found else "") == guard


def test_where_another_policy_may_be_the_one_edited_it_is(evidence: Evidence) -> None:
    policy, other = "arn:aws:iam::111122223333:policy/shared", "arn:aws:iam::111122223333:role/other"
    shared = SharedPolicy(policy, "sqs", {other: Attempt(first(evidence) + DAY)})
    report = told(evidence, {"sqs": last(evidence)}, shared=(shared,), granted_by={"sqs": ("deploy", policy)})
    assert judged(report, "sqs:PurgeQueue") is None


def test_what_a_generated_policy_names_and_nothing_here_shows_stays(evidence: Evidence) -> None:
    for named, guard in (("sns:CreateTopic", "access-analyzer"), ("sns:*", "access-analyzer"), ("sns:Publish", "")):
        generated = GeneratedPolicy("job", None, None, True, ((named, ("*",)),))
        found = judged(replace(evidence, hints=Hints(generated=generated)), "sns:CreateTopic", resource=TOPICS)
        assert (found.guard if found else "") == guard


def test_what_it_names_and_another_grant_served_keeps_no_second_one(evidence: Evidence) -> None:
    used = next(each.need.permission.action for each in evidence.usages if each.need.permission.action[:4] == "sqs:")
    generated = GeneratedPolicy("job", None, None, True, ((used, ("*",)),))
    queue = "arn:aws:sqs:eu-west-1:111122223333:never-used"
    for told_so in (evidence, replace(evidence, hints=Hints(generated=generated))):
        assert judged(told_so, used, resource=queue) == judged(evidence, used, resource=queue)


def test_pass_role_and_data_events_are_not_tracked() -> None:
    since = datetime.fromisoformat("2026-01-01T00:00:00Z")
    assert is_tracked("S3:putbucketpolicy", since)
    assert not is_tracked("s3:PutBucketPolicy", datetime.fromisoformat("2020-04-11T00:00:00Z"))
    assert not is_tracked("sns:CreateTopic", datetime.fromisoformat("2023-05-22T00:00:00Z"))
    assert not is_tracked("iam:PassRole", since)
    assert not is_tracked("s3:GetObject", since)
    assert is_tracked_region("eu-west-1", since)
    assert not is_tracked_region("ca-west-1", since)
    assert [is_tracked_partition(each) for each in ("aws", "aws-us-gov", "aws-cn", "aws-iso")] == [
        True,
        True,
        False,
        False,
    ]


def test_a_run_that_is_left_out_leaves_no_trace_in_the_report(evidence: Evidence) -> None:
    services = {"sqs": last(evidence), "lambda": last(evidence), "sns": first(evidence) - DAY}
    report = told(evidence, services).hints.access
    assert report
    only_lambda = tuple(each for each in evidence.usages if each.need.permission.action.startswith("lambda:"))
    left = as_without(report, evidence, only_lambda)
    assert left.services["sqs"].last is None
    assert left.services["lambda"] == report.services["lambda"]
    assert left.services["sns"] == report.services["sns"]
