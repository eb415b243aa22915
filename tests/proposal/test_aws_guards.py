"""IAM's last accessed information: what it keeps, what it allows to remove, and what it does not
affect.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest
from msgspec import structs

from leastpriv.diff.compare import compare
from leastpriv.evidence.access_advisor import is_tracked, is_tracked_partition, is_tracked_region
from leastpriv.evidence.models import (
    AccessReport,
    AwsFindings,
    Evidence,
    GeneratedPolicy,
    LastAccess,
    ServiceAccess,
    SharedPolicy,
)
from leastpriv.models import Basis, Need, Permission
from leastpriv.policy.document import parse
from leastpriv.proposal import guards
from leastpriv.proposal.aws_guards import is_outdated, report_without
from leastpriv.proposal.models import GuardResult, History, Options, RemovalCandidate
from leastpriv.proposal.removals import guard_context
from tests.fakes.deploys import proposal
from tests.fakes.evidence import complete
from tests.fakes.replace import replace

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
TOPICS = "arn:aws:sns:eu-west-1:111122223333:*"
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
POLICY, SECOND = (
    "arn:aws:iam::111122223333:policy/shared",
    "arn:aws:iam::111122223333:policy/second",
)
OTHER = "arn:aws:iam::111122223333:role/other"


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    """35 days, six runs of which one had a denial; calls of Lambda, SQS and CloudWatch in
    eu-west-1.
    """
    return proposal(tmp_path_factory.mktemp("evidence"), None).context.evidence


def with_report(evidence: Evidence, services: Mapping[str, object], **more: object) -> Evidence:
    """The evidence with a report: `service` or `service:Action` -> time of the last attempt, or
    None.
    """
    assert evidence.last
    report_services: dict[str, ServiceAccess] = {}
    for name, time in services.items():
        prefix, _, action = name.lower().partition(":")
        access = report_services.get(prefix, ServiceAccess(prefix))
        attempt = LastAccess(time, "eu-west-1") if isinstance(time, datetime) else None
        actions = {**access.actions, name.lower(): attempt} if action else access.actions
        report_services[prefix] = replace(
            access, actions=actions, last=access.last if action else attempt
        )
    report = AccessReport(evidence.last + DAY, report_services, **more)  # type: ignore[arg-type]
    return replace(evidence, aws_findings=AwsFindings(access=report))


def ask_guards(
    evidence: Evidence,
    action: str,
    pattern: str = "",
    resource: str = "*",
    changed: datetime | None = LONG_AGO,
) -> GuardResult | None:
    """The guard result for an action, if any; `changed` is the policy file's last change."""
    dials = Options(minimum_runs=0, minimum_days=0)
    context = guard_context(evidence, dials, history=History(changed=changed))
    return guards.first_guard_result(candidate(action, evidence, pattern, resource), context)


def guard_of(found: GuardResult | None) -> str:
    """Its name; empty if no guard holds the removal back."""
    return found.guard if found else ""


def candidate(
    action: str, evidence: Evidence, pattern: str = "", resource: str = "*"
) -> RemovalCandidate:
    """An action of an entry (`pattern`, else the action)."""
    statement = {"Effect": "Allow", "Action": pattern or action, "Resource": resource}
    document = parse(
        json.dumps({"Version": "2012-10-17", "Statement": statement}).encode(), "p.json"
    )
    return RemovalCandidate(action, compare(document, [], evidence).entries[0])


def first(evidence: Evidence) -> datetime:
    assert evidence.first
    return evidence.first


def last(evidence: Evidence) -> datetime:
    assert evidence.last
    return evidence.last


def test_an_attempt_in_the_window_that_the_evidence_lacks_keeps_the_action(
    evidence: Evidence,
) -> None:
    when = first(evidence) + 5 * DAY
    guard_result = ask_guards(
        with_report(evidence, {"sns": when, "sns:CreateTopic": when}),
        "sns:CreateTopic",
        resource=TOPICS,
    )
    assert guard_result
    assert guard_result.guard == "last-accessed"
    assert f"on {when:%Y-%m-%d} in eu-west-1" in guard_result.reason


def test_an_attempt_after_the_evidence_ends_keeps_the_action_too(evidence: Evidence) -> None:
    when = last(evidence) + 3 * DAY
    for services in ({"sns": when, "sns:CreateTopic": when}, {"sqs": when}):
        action = "sns:CreateTopic" if "sns" in services else "sqs:PurgeQueue"
        assert ask_guards(with_report(evidence, services), action) is not None


def test_without_a_report_the_guard_changes_nothing(evidence: Evidence) -> None:
    assert ask_guards(evidence, "sns:CreateTopic", resource=TOPICS) is None
    assert ask_guards(evidence, "sns:CreateTopic", "sns:*") == ask_guards(
        with_report(evidence, {}), "sns:CreateTopic", "sns:*"
    )


def test_a_tracked_action_last_attempted_before_the_evidence_is_removed(evidence: Evidence) -> None:
    old = first(evidence) - 100 * DAY
    services = {"sns": first(evidence) + DAY, "sns:CreateTopic": old}
    assert ask_guards(with_report(evidence, services), "sns:CreateTopic", resource=TOPICS) is None


def test_it_is_removed_even_if_the_region_was_not_read_because_iam_covers_all_regions(
    evidence: Evidence,
) -> None:
    elsewhere = TOPICS.replace("eu-west-1", "sa-east-1")
    old = {"sns": first(evidence) - 100 * DAY, "sns:CreateTopic": first(evidence) - 100 * DAY}
    unread = ask_guards(evidence, "sns:CreateTopic", resource=elsewhere)
    assert unread
    assert unread.guard == "region-not-read"
    assert ask_guards(with_report(evidence, old), "sns:CreateTopic", resource=elsewhere) is None
    untracked = ask_guards(
        with_report(evidence, old),
        "sns:CreateTopic",
        resource=TOPICS.replace("eu-west-1", "mx-central-1"),
    )
    assert untracked
    assert untracked.guard == "region-not-read"


def test_a_date_of_an_untracked_action_supports_no_removal(evidence: Evidence) -> None:
    old = first(evidence) - 100 * DAY
    report = with_report(evidence, {"sns": first(evidence) - 101 * DAY, "sns:Publish": old})
    assert ask_guards(report, "sns:Publish", resource=TOPICS) is not None
    history = History(changed=LONG_AGO)
    assert not is_outdated(
        candidate("sns:Publish", evidence), guard_context(report, Options(), history=history)
    )
    tracked = with_report(evidence, {"sns": old, "sns:CreateTopic": old})
    assert is_outdated(
        candidate("sns:CreateTopic", evidence), guard_context(tracked, Options(), history=history)
    )


def test_an_old_date_of_an_untracked_action_keeps_it(evidence: Evidence) -> None:
    old = first(evidence) - 100 * DAY
    for action, guard in (("iam:PassRole", "last-accessed"), ("iam:CreateRole", "")):
        report = with_report(evidence, {"iam": old, action: old})
        assert guard_of(ask_guards(report, action)) == guard


def test_an_attempt_after_the_last_recorded_call_of_the_service_keeps_unseen_actions(
    evidence: Evidence,
) -> None:
    """The attempt is within the evidence, which has later calls of other services."""
    calls = tuple(
        usage for usage in evidence.usages if usage.need.permission.action != "sqs:CreateQueue"
    )
    [queue] = [
        usage for usage in evidence.usages if usage.need.permission.action == "sqs:CreateQueue"
    ]
    early = replace(evidence, usages=(*calls, replace(queue, last_seen=first(evidence))))
    for days, guard in ((0, ""), (20, "last-accessed")):
        report = with_report(early, {"sqs": first(evidence) + days * DAY})
        guard_result = ask_guards(report, "sqs:PurgeQueue")
        assert guard_of(guard_result) == guard
        assert not guard_result or "this evidence has no such call" in guard_result.reason


def test_an_inferred_need_explains_no_attempt_on_its_service(evidence: Evidence) -> None:
    implied = Need(Permission("iam:PassRole", "*"), Basis.INFERRED, "from the call")
    evidence_with_role = replace(
        evidence, usages=(*evidence.usages, replace(evidence.usages[0], need=implied))
    )
    report = with_report(evidence_with_role, {"iam": first(evidence) + DAY})
    assert guard_of(ask_guards(report, "iam:CreateRole")) == "last-accessed"
    observed = structs.replace(implied, basis=Basis.OBSERVED)
    called = replace(
        evidence, usages=(*evidence.usages, replace(evidence.usages[0], need=observed))
    )
    assert (
        guard_of(ask_guards(with_report(called, {"iam": first(evidence) + DAY}), "iam:CreateRole"))
        == "region-not-read"
    )


@pytest.mark.parametrize("changed", [None, "within"])
def test_a_grant_not_known_to_be_older_than_the_evidence_is_not_removed(
    evidence: Evidence, changed: str | None
) -> None:
    when = first(evidence) + DAY if changed else None
    never = with_report(evidence, {"sns": None})
    assert guard_of(ask_guards(never, "sns:CreateTopic", "sns:*", changed=when)) == "unseen-service"
    old = first(evidence) - 100 * DAY
    outdated = with_report(evidence, {"sns": old, "sns:CreateTopic": old})
    elsewhere = TOPICS.replace("eu-west-1", "sa-east-1")
    assert (
        guard_of(ask_guards(outdated, "sns:CreateTopic", resource=elsewhere, changed=when))
        == "region-not-read"
    )


def test_a_service_without_any_attempt_is_kept_in_a_region_that_iam_does_not_track(
    evidence: Evidence,
) -> None:
    never = with_report(evidence, {"sns": None})
    for region, guard in (("sa-east-1", ""), ("ca-west-1", "unseen-service")):
        topics = TOPICS.replace("eu-west-1", region)
        assert guard_of(ask_guards(never, "sns:CreateTopic", "sns:*", topics)) == guard
    read = replace(never, coverage=complete("eu-west-1", "us-east-1", "ca-west-1"))
    assert (
        guard_of(
            ask_guards(read, "sns:CreateTopic", "sns:*", TOPICS.replace("eu-west-1", "ca-west-1"))
        )
        == ""
    )


def test_an_action_without_a_date_proves_nothing(evidence: Evidence) -> None:
    elsewhere = TOPICS.replace("eu-west-1", "sa-east-1")
    guard_result = ask_guards(
        with_report(evidence, {"sns": None, "sns:CreateTopic": None}),
        "sns:CreateTopic",
        resource=elsewhere,
    )
    assert guard_result
    assert guard_result.guard == "region-not-read"


def test_a_service_without_any_attempt_is_dropped_from_wildcards(evidence: Evidence) -> None:
    guard_result = ask_guards(evidence, "sns:CreateTopic", "sns:*")
    assert guard_result
    assert guard_result.guard == "unseen-service"
    assert ask_guards(with_report(evidence, {"sns": None}), "sns:CreateTopic", "sns:*") is None
    assert ask_guards(with_report(evidence, {"sns": None}), "sns:Publish", "sns:*") is None


def test_a_service_that_iam_does_not_list_is_kept(evidence: Evidence) -> None:
    guard_result = ask_guards(
        with_report(evidence, {"sqs": last(evidence)}), "sns:CreateTopic", "sns:*"
    )
    assert guard_result
    assert guard_result.guard == "unseen-service"


@pytest.mark.parametrize("days", [-300, 5])
def test_a_service_with_an_attempt_is_kept_entirely(evidence: Evidence, days: int) -> None:
    guard_result = ask_guards(
        with_report(evidence, {"sns": first(evidence) + days * DAY}), "sns:CreateTopic", "sns:*"
    )
    assert guard_result
    assert guard_result.guard == "last-accessed"


def test_a_service_last_attempted_before_the_evidence_keeps_its_literal_actions(
    evidence: Evidence,
) -> None:
    guard_result = ask_guards(
        with_report(evidence, {"sns": first(evidence) - 300 * DAY}),
        "sns:CreateTopic",
        resource=TOPICS,
    )
    assert guard_result
    assert "before the evidence begins" in guard_result.reason


def test_an_attempt_that_the_evidence_has_keeps_nothing(evidence: Evidence) -> None:
    assert (
        ask_guards(with_report(evidence, {"sqs": last(evidence) + HOUR / 2}), "sqs:PurgeQueue")
        is None
    )


def test_a_call_that_needs_no_permission_keeps_nothing(evidence: Evidence) -> None:
    when = first(evidence) + DAY
    services = {"sts": when, "sts:GetCallerIdentity": when}
    without = ask_guards(evidence, "sts:DecodeAuthorizationMessage")
    assert ask_guards(with_report(evidence, services), "sts:DecodeAuthorizationMessage") == without
    later = {"sts": when + 2 * HOUR, "sts:GetCallerIdentity": when}
    for attempts in ({"sts": when}, later):
        assert (
            guard_of(ask_guards(with_report(evidence, attempts), "sts:DecodeAuthorizationMessage"))
            == "last-accessed"
        )


def test_in_an_untracked_partition_missing_attempts_prove_nothing(evidence: Evidence) -> None:
    china = replace(
        with_report(evidence, {"sns": None}),
        principal=evidence.principal.replace("arn:aws:", "arn:aws-cn:"),
    )
    guard_result = ask_guards(china, "sns:CreateTopic", "sns:*")
    assert guard_result
    assert guard_result.guard == "unseen-service"


def test_a_policy_that_other_principals_use_is_not_narrowed(evidence: Evidence) -> None:
    for days, guard in ((3, "shared-policy"), (-3, "")):
        shared = SharedPolicy(POLICY, "sqs", {OTHER: LastAccess(first(evidence) + days * DAY)})
        granting = ("arn:aws:iam::aws:policy/ReadOnlyAccess", POLICY)
        report = with_report(
            evidence, {"sqs": last(evidence)}, shared=(shared,), granted_by={"sqs": granting}
        )
        guard_result = ask_guards(report, "sqs:PurgeQueue")
        assert (guard_result.guard if guard_result else "") == guard


def test_a_shared_policy_is_narrowed_if_another_may_be_the_edited_one(evidence: Evidence) -> None:
    shared = SharedPolicy(POLICY, "sqs", {OTHER: LastAccess(first(evidence) + DAY)})
    report = with_report(
        evidence, {"sqs": last(evidence)}, shared=(shared,), granted_by={"sqs": ("deploy", POLICY)}
    )
    assert ask_guards(report, "sqs:PurgeQueue") is None


@pytest.mark.parametrize("is_second_used", [True, False])
def test_two_policies_that_other_principals_use_are_not_narrowed(
    evidence: Evidence, is_second_used: bool
) -> None:
    users = {OTHER: LastAccess(first(evidence) + DAY)}
    shared = (
        SharedPolicy(POLICY, "sqs", users),
        SharedPolicy(SECOND, "sqs", users if is_second_used else {}),
    )
    granting = {"sqs": (SECOND, POLICY)}
    report = with_report(evidence, {"sqs": last(evidence)}, shared=shared, granted_by=granting)
    assert guard_of(ask_guards(report, "sqs:PurgeQueue")) == (
        "shared-policy" if is_second_used else ""
    )


def test_a_policy_with_unknown_users_is_not_narrowed(evidence: Evidence) -> None:
    reason = "AWS denied iam:GetServiceLastAccessedDetailsWithEntities"
    shared, services = (SharedPolicy(POLICY, "sqs", is_known=False),), {"sqs": last(evidence)}
    for granting, guard in (((POLICY,), "shared-policy"), ((POLICY, "deploy"), "")):
        report = with_report(
            evidence, services, shared=shared, granted_by={"sqs": granting}, missing=reason
        )
        guard_result = ask_guards(report, "sqs:PurgeQueue")
        assert guard_of(guard_result) == guard
        assert not guard_result or reason in guard_result.reason
    assert (
        guard_of(ask_guards(with_report(evidence, services, missing=reason), "sqs:PurgeQueue"))
        == "shared-policy"
    )


def test_an_action_that_only_the_generated_policy_names_is_kept(evidence: Evidence) -> None:
    for action, guard in (
        ("sns:CreateTopic", "access-analyzer"),
        ("sns:*", "access-analyzer"),
        ("sns:Publish", ""),
    ):
        generated = GeneratedPolicy("job", None, None, True, ((action, ("*",)),))
        guard_result = ask_guards(
            replace(evidence, aws_findings=AwsFindings(generated=generated)),
            "sns:CreateTopic",
            resource=TOPICS,
        )
        assert (guard_result.guard if guard_result else "") == guard


def test_an_action_of_the_generated_policy_that_another_grant_covers_is_removed(
    evidence: Evidence,
) -> None:
    action = next(
        usage.need.permission.action
        for usage in evidence.usages
        if usage.need.permission.action[:4] == "sqs:"
    )
    generated = GeneratedPolicy("job", None, None, True, ((action, ("*",)),))
    queue = "arn:aws:sqs:eu-west-1:111122223333:never-used"
    for told_so in (evidence, replace(evidence, aws_findings=AwsFindings(generated=generated))):
        assert ask_guards(told_so, action, resource=queue) == ask_guards(
            evidence, action, resource=queue
        )


def test_pass_role_and_data_events_are_not_tracked() -> None:
    since = datetime.fromisoformat("2026-01-01T00:00:00Z")
    assert is_tracked("S3:putbucketpolicy", since)
    assert not is_tracked("s3:PutBucketPolicy", datetime.fromisoformat("2020-04-11T00:00:00Z"))
    assert not is_tracked("sns:CreateTopic", datetime.fromisoformat("2023-05-22T00:00:00Z"))
    assert not is_tracked("iam:PassRole", since)
    assert not is_tracked("s3:GetObject", since)
    assert is_tracked("dynamodb:WriteDataForReplication", since)
    assert is_tracked_region("eu-west-1", since)
    assert not is_tracked_region("ca-west-1", since)
    assert [
        is_tracked_partition(partition) for partition in ("aws", "aws-us-gov", "aws-cn", "aws-iso")
    ] == [
        True,
        True,
        False,
        False,
    ]


def test_a_left_out_run_does_not_influence_the_report(evidence: Evidence) -> None:
    services = {"sqs": last(evidence), "lambda": last(evidence), "sns": first(evidence) - DAY}
    report = with_report(evidence, services).aws_findings.access
    assert report
    only_lambda = tuple(
        usage for usage in evidence.usages if usage.need.permission.action.startswith("lambda:")
    )
    report_of_rest = report_without(report, evidence, only_lambda)
    assert report_of_rest.services["sqs"].last is None
    assert report_of_rest.services["lambda"] == report.services["lambda"]
    assert report_of_rest.services["sns"] == report.services["sns"]
    unexplained = with_report(evidence, {"sqs": last(evidence) + DAY}).aws_findings.access
    assert unexplained
    assert report_without(unexplained, evidence, only_lambda) == unexplained
