"""IAM's last accessed information: what it keeps, what it lets go, and what it says nothing about."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from leastpriv.diff.compare import compare
from leastpriv.evidence.aws_findings.access_advisor import is_tracked, is_tracked_partition, is_tracked_region
from leastpriv.evidence.aws_findings.models import (
    AccessReport,
    Attempt,
    AwsFindings,
    GeneratedPolicy,
    ServiceAccess,
    SharedPolicy,
)
from leastpriv.evidence.models import Evidence
from leastpriv.models import Basis, Need, Permission
from leastpriv.policy.document import parse
from leastpriv.proposal.guards import registry
from leastpriv.proposal.guards.aws import is_outdated, report_without
from leastpriv.proposal.models import GuardResult, History, Options, RemovalCandidate
from leastpriv.proposal.propose import guard_context
from tests.fakes.deploys import proposal

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
TOPICS = "arn:aws:sns:eu-west-1:111122223333:*"
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
POLICY, SECOND = "arn:aws:iam::111122223333:policy/shared", "arn:aws:iam::111122223333:policy/second"
OTHER = "arn:aws:iam::111122223333:role/other"


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
    return replace(evidence, aws_findings=AwsFindings(access=report))


def judged(
    evidence: Evidence, action: str, pattern: str = "", resource: str = "*", changed: datetime | None = LONG_AGO
) -> GuardResult | None:
    """What holds the removal of an action back, if anything; `changed` is when the policy file was."""
    dials = Options(minimum_runs=0, minimum_days=0)
    context = guard_context(evidence, dials, history=History(changed=changed))
    return registry.first_guard_result(candidate(action, evidence, pattern, resource), context)


def guard_of(found: GuardResult | None) -> str:
    """Its name; empty where nothing holds the removal back."""
    return found.guard if found else ""


def candidate(action: str, evidence: Evidence, pattern: str = "", resource: str = "*") -> RemovalCandidate:
    """An action of an entry (`pattern`, else the action itself)."""
    statement = {"Effect": "Allow", "Action": pattern or action, "Resource": resource}
    document = parse(json.dumps({"Version": "2012-10-17", "Statement": statement}).encode(), "p.json")
    return RemovalCandidate(action, compare(document, [], evidence).entries[0])


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
    history = History(changed=LONG_AGO)
    assert not is_outdated(candidate("sns:Publish", evidence), guard_context(report, Options(), history=history))
    tracked = told(evidence, {"sns": old, "sns:CreateTopic": old})
    assert is_outdated(candidate("sns:CreateTopic", evidence), guard_context(tracked, Options(), history=history))


def test_an_old_date_of_what_iam_does_not_track_keeps_the_action(evidence: Evidence) -> None:
    old = first(evidence) - 100 * DAY
    for action, guard in (("iam:PassRole", "last-accessed"), ("iam:CreateRole", "")):
        report = told(evidence, {"iam": old, action: old})
        assert guard_of(judged(report, action)) == guard


def test_an_attempt_after_the_last_recorded_call_of_its_service_keeps_what_the_evidence_lacks(
    evidence: Evidence,
) -> None:
    """In the middle of the evidence, that of other services goes on."""
    calls = tuple(each for each in evidence.usages if each.need.permission.action != "sqs:CreateQueue")
    [queue] = [each for each in evidence.usages if each.need.permission.action == "sqs:CreateQueue"]
    early = replace(evidence, usages=(*calls, replace(queue, last_seen=first(evidence))))
    for days, guard in ((0, ""), (20, "last-accessed")):
        report = told(early, {"sqs": first(evidence) + days * DAY})
        found = judged(report, "sqs:PurgeQueue")
        assert guard_of(found) == guard
        assert not found or "this evidence has no such call" in found.reason


def test_a_need_that_another_call_implies_explains_no_attempt_on_its_service(evidence: Evidence) -> None:
    implied = Need(Permission("iam:PassRole", "*"), Basis.INFERRED, "from the call")
    seen = replace(evidence, usages=(*evidence.usages, replace(evidence.usages[0], need=implied)))
    report = told(seen, {"iam": first(evidence) + DAY})
    assert guard_of(judged(report, "iam:CreateRole")) == "last-accessed"
    used = replace(implied, basis=Basis.OBSERVED)
    called = replace(evidence, usages=(*evidence.usages, replace(evidence.usages[0], need=used)))
    assert guard_of(judged(told(called, {"iam": first(evidence) + DAY}), "iam:CreateRole")) == "region-not-read"


@pytest.mark.parametrize("changed", [None, "within"])
def test_a_grant_that_is_not_known_to_be_older_than_the_evidence_gets_no_support(
    evidence: Evidence, changed: str | None
) -> None:
    when = first(evidence) + DAY if changed else None
    never = told(evidence, {"sns": None})
    assert guard_of(judged(never, "sns:CreateTopic", "sns:*", changed=when)) == "unseen-service"
    old = first(evidence) - 100 * DAY
    outdated = told(evidence, {"sns": old, "sns:CreateTopic": old})
    elsewhere = TOPICS.replace("eu-west-1", "sa-east-1")
    assert guard_of(judged(outdated, "sns:CreateTopic", resource=elsewhere, changed=when)) == "region-not-read"


def test_a_service_without_any_attempt_stays_in_a_region_that_iam_does_not_track(evidence: Evidence) -> None:
    never = told(evidence, {"sns": None})
    for region, guard in (("sa-east-1", ""), ("ca-west-1", "unseen-service")):
        on = TOPICS.replace("eu-west-1", region)
        assert guard_of(judged(never, "sns:CreateTopic", "sns:*", on)) == guard
    spans = {**never.coverage.regions, "ca-west-1": timedelta(days=35)}
    read = replace(never, coverage=replace(never.coverage, regions=spans))
    assert guard_of(judged(read, "sns:CreateTopic", "sns:*", TOPICS.replace("eu-west-1", "ca-west-1"))) == ""


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
    later = {"sts": when + 2 * HOUR, "sts:GetCallerIdentity": when}
    for others in ({"sts": when}, later):
        assert guard_of(judged(told(evidence, others), "sts:DecodeAuthorizationMessage")) == "last-accessed"


def test_in_a_partition_that_iam_does_not_track_no_silence_counts(evidence: Evidence) -> None:
    china = replace(told(evidence, {"sns": None}), principal=evidence.principal.replace("arn:aws:", "arn:aws-cn:"))
    found = judged(china, "sns:CreateTopic", "sns:*")
    assert found
    assert found.guard == "unseen-service"


def test_a_policy_that_serves_others_is_not_narrowed_under_them(evidence: Evidence) -> None:
    for days, guard in ((3, "shared-policy"), (-3, "")):
        shared = SharedPolicy(POLICY, "sqs", {OTHER: Attempt(first(evidence) + days * DAY)})
        granting = ("arn:aws:iam::aws:policy/ReadOnlyAccess", POLICY)
        report = told(evidence, {"sqs": last(evidence)}, shared=(shared,), granted_by={"sqs": granting})
        found = judged(report, "sqs:PurgeQueue")
        assert (found.guard if found else "") == guard


def test_where_another_policy_may_be_the_one_edited_it_is(evidence: Evidence) -> None:
    shared = SharedPolicy(POLICY, "sqs", {OTHER: Attempt(first(evidence) + DAY)})
    report = told(evidence, {"sqs": last(evidence)}, shared=(shared,), granted_by={"sqs": ("deploy", POLICY)})
    assert judged(report, "sqs:PurgeQueue") is None


@pytest.mark.parametrize("is_second_used", [True, False])
def test_two_policies_of_which_all_serve_others_are_not_narrowed_under_them(
    evidence: Evidence, is_second_used: bool
) -> None:
    users = {OTHER: Attempt(first(evidence) + DAY)}
    shared = (SharedPolicy(POLICY, "sqs", users), SharedPolicy(SECOND, "sqs", users if is_second_used else {}))
    granting = {"sqs": (SECOND, POLICY)}
    report = told(evidence, {"sqs": last(evidence)}, shared=shared, granted_by=granting)
    assert guard_of(judged(report, "sqs:PurgeQueue")) == ("shared-policy" if is_second_used else "")


def test_where_nobody_can_tell_whom_a_policy_serves_it_is_not_narrowed(evidence: Evidence) -> None:
    why = "AWS refused iam:GetServiceLastAccessedDetailsWithEntities"
    shared, services = (SharedPolicy(POLICY, "sqs", is_known=False),), {"sqs": last(evidence)}
    for granting, guard in (((POLICY,), "shared-policy"), ((POLICY, "deploy"), "")):
        report = told(evidence, services, shared=shared, granted_by={"sqs": granting}, missing=why)
        found = judged(report, "sqs:PurgeQueue")
        assert guard_of(found) == guard
        assert not found or why in found.reason
    assert guard_of(judged(told(evidence, services, missing=why), "sqs:PurgeQueue")) == "shared-policy"


def test_what_a_generated_policy_names_and_nothing_here_shows_stays(evidence: Evidence) -> None:
    for named, guard in (("sns:CreateTopic", "access-analyzer"), ("sns:*", "access-analyzer"), ("sns:Publish", "")):
        generated = GeneratedPolicy("job", None, None, True, ((named, ("*",)),))
        found = judged(
            replace(evidence, aws_findings=AwsFindings(generated=generated)), "sns:CreateTopic", resource=TOPICS
        )
        assert (found.guard if found else "") == guard


def test_what_it_names_and_another_grant_served_keeps_no_second_one(evidence: Evidence) -> None:
    used = next(each.need.permission.action for each in evidence.usages if each.need.permission.action[:4] == "sqs:")
    generated = GeneratedPolicy("job", None, None, True, ((used, ("*",)),))
    queue = "arn:aws:sqs:eu-west-1:111122223333:never-used"
    for told_so in (evidence, replace(evidence, aws_findings=AwsFindings(generated=generated))):
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
    report = told(evidence, services).aws_findings.access
    assert report
    only_lambda = tuple(each for each in evidence.usages if each.need.permission.action.startswith("lambda:"))
    left = report_without(report, evidence, only_lambda)
    assert left.services["sqs"].last is None
    assert left.services["lambda"] == report.services["lambda"]
    assert left.services["sns"] == report.services["sns"]
    unexplained = told(evidence, {"sqs": last(evidence) + DAY}).aws_findings.access
    assert unexplained
    assert report_without(unexplained, evidence, only_lambda) == unexplained
