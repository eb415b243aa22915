"""What job logs add to the evidence: marked refusals and gaps, never a use; and what of it is
written.
"""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leastpriv.aws.arns import Window, principal_of
from leastpriv.denials.encoded_message import Decoder
from leastpriv.denials.job_logs import distinct_denials, read_log
from leastpriv.diff.compare import compare
from leastpriv.evidence.models import Evidence
from leastpriv.evidence.run_logs import LoggedDenials, add_job_logs
from leastpriv.models import Basis, Gap, GapKind, Need, Outcome, Permission, Run, Scope, Usage
from leastpriv.permissions import catalog
from leastpriv.permissions.catalog import sensitivity
from leastpriv.proposal.additions import additions
from leastpriv.proposal.models import History, Options
from leastpriv.proposal.review_models import asks_for_grant, asks_to_lift_deny
from leastpriv.proposal.visibility_guards import could_hide
from tests.fakes.replace import replace

ROLE = "arn:aws:iam::111122223333:role/ci/deploy"
SESSION = "arn:aws:sts::111122223333:assumed-role/deploy/run"
TOPIC = "arn:aws:sns:eu-west-1:111122223333:orders"
NOW = datetime(2026, 11, 24, tzinfo=UTC)
ALL = Window()


def line(
    action: str = "sns:Publish",
    resource: str = TOPIC,
    who: str = SESSION,
    why: str = "identity-based",
) -> str:
    reason = f"because no {why} policy allows the {action} action"
    return f"User: {who} is not authorized to perform: {action} on resource: {resource} {reason}"


def logs(*lines: str, run: Run | None = None) -> LoggedDenials:
    text = "\n\n".join(lines).encode()
    return LoggedDenials(tuple(distinct_denials(read_log(io.BytesIO(text), "deploy"))[0]), run=run)


def heard(*lines: str, window: Window = ALL) -> Evidence:
    return add_job_logs(Evidence(ROLE), [logs(*lines)], window, NOW)


def test_a_logged_denial_is_a_denied_usage_with_location_and_time() -> None:
    (usage,) = heard(f"2026-11-03T09:00:07.1234567Z {line()}").usages
    assert (usage.outcome, usage.need.basis, usage.succeeded, usage.runs) == (
        Outcome.DENIED,
        Basis.DENIED,
        False,
        (),
    )
    assert usage.need.permission.resource == TOPIC
    assert usage.denial is not None
    assert usage.denial.log == "deploy:1"
    assert usage.first_seen == usage.last_seen == datetime(2026, 11, 3, 9, 0, 7, tzinfo=UTC)
    assert usage.regions == ("eu-west-1",)


def test_a_line_without_a_time_counts_as_seen_when_it_was_read() -> None:
    assert [usage.first_seen for usage in heard(line()).usages] == [NOW]


def test_denials_outside_the_window_do_not_count() -> None:
    early = f"2026-11-03T09:00:07.1234567Z {line()}"
    assert heard(early, window=Window(start=NOW)).usages == ()
    assert len(heard(early, window=Window(end=NOW)).usages) == 1


def test_denials_belong_to_the_run_of_their_logs() -> None:
    run = Run("17650000500", "17650000500", NOW, NOW)
    evidence = add_job_logs(Evidence(ROLE), [logs(line(), run=run)], ALL, NOW)
    assert [usage.runs for usage in evidence.usages] == [("17650000500",)]
    assert (evidence.logged_runs, evidence.runs) == ((run,), ())


def test_gaps_of_logs_hide_no_use() -> None:
    gap = Gap(GapKind.UNREADABLE_LOG, Scope(), "deploy: gone")
    evidence = add_job_logs(Evidence(ROLE), [LoggedDenials(gaps=(gap, gap))], ALL, NOW)
    assert [(role_gap.kind, role_gap.count) for role_gap in evidence.gaps] == [
        (GapKind.UNREADABLE_LOG, 2)
    ]
    assert not any(could_hide(role_gap, "s3:DeleteBucket") for role_gap in evidence.gaps)
    assert could_hide(replace(gap, kind=GapKind.UNREADABLE_FILE), "s3:DeleteBucket")


def test_an_encoded_denial_is_decoded_or_a_gap() -> None:
    encoded = (
        "You are not authorized to perform this operation. Encoded authorization failure message:"
        f" {'a' * 80}"
    )
    decoded = (
        '{"allowed": false, "explicitDeny": false, "context": {"action": "ec2:CreateVpc",'
        ' "resource": "arn:aws:ec2:eu-west-1:111122223333:vpc/*", "principal": {"arn":'
        f' "{SESSION}"}}}}}}'
    )
    evidence = add_job_logs(Evidence(ROLE), [logs(encoded)], ALL, NOW, Decoder(lambda _: decoded))
    assert [usage.need.permission.action for usage in evidence.usages] == ["ec2:CreateVpc"]
    (gap,) = heard(encoded).gaps
    assert gap.kind is GapKind.ENCODED_DENIAL
    assert "decode-authorization-message" in gap.detail


@pytest.mark.parametrize(
    ("action", "resource", "reason"),
    [
        ("sns:Publish", TOPIC.replace("111122223333", "999999999999"), "another account"),
        ("sns:Publish", TOPIC.replace("111122223333", ""), "lacks the account"),
        (
            "cloudformation:CreateStack",
            "arn:aws:cloudformation:eu-west-1:999999999999:stack/a/*",
            "another account",
        ),
        ("sns:Publish", TOPIC + "\u202egnp", "a reader may not see"),
        ("s3:GetObject", "arn:aws:s3:::orders/\u4e2d", "only a denial names it"),
        (
            "iam:GetRole",
            "arn:aws:iam::111122223333:role/../x",
            "neither the request nor the denial names",
        ),
        ("sns:Publish", TOPIC + "`b", "neither the request nor the denial names"),
    ],
)
def test_an_unusual_resource_from_a_log_alone_is_reported_and_not_written(
    action: str, resource: str, reason: str
) -> None:
    evidence = heard(line(action, resource))
    changes, held_back = additions(evidence.usages, evidence, Options(), History())
    assert changes == []
    assert [
        (addition.action, reason in addition.guard_result.reason) for addition in held_back
    ] == [(action, True)]


def test_a_log_group_is_written_as_policies_name_it() -> None:
    group = "arn:aws:logs:eu-west-1:111122223333:log-group:/aws/x"
    for resource in (group, f"{group}:log-stream:"):
        (usage,) = heard(line("logs:CreateLogGroup", resource)).usages
        assert usage.need.permission.resource == f"{group}:*"
    (usage,) = heard(
        line("logs:DescribeLogGroups", "arn:aws:logs:eu-west-1:111122223333:log-group::log-stream:")
    ).usages
    assert usage.need.permission.resource == "*"


def test_in_a_review_only_a_line_that_names_the_role_supports_a_grant() -> None:
    named_line, partner = (
        line("backup:CreateBackupSelection", "arn:aws:backup:eu-west-1:111122223333:backup-plan:1"),
        "iam:PassRole",
    )
    asking = {
        usage.need.permission.action: asks_for_grant(usage) for usage in heard(named_line).usages
    }
    assert asking == {"backup:CreateBackupSelection": True, partner: False}
    bare = (
        "upload failed: s3://b/k An error occurred (AccessDenied) when calling the PutObject"
        " operation: Access Denied"
    )
    assert [
        (usage.need.permission.action, asks_for_grant(usage)) for usage in heard(bare).usages
    ] == [("s3:PutObject", False)]
    denied = line().replace(
        "because no identity-based policy allows",
        "with an explicit deny in an identity-based policy;",
    )
    assert [asks_to_lift_deny(usage) for usage in heard(denied).usages] == [False]


ACTIONS = st.sampled_from(
    [
        "sns:Publish",
        "iam:PassRole",
        "sts:AssumeRole",
        "iam:PutRolePolicy",
        "s3:*",
        "sns:Fly",
        "kms:Decrypt",
        "s3:GetObject",
        "ec2:TerminateInstances",
    ]
)
PRINCIPALS = st.sampled_from(
    [
        SESSION,
        ROLE,
        SESSION.replace("111122223333", "***"),
        "arn:aws:iam::111122223333:user/x",
        "***",
        "x",
    ]
)
RESOURCES = st.sampled_from(
    [
        TOPIC,
        "*",
        "arn:aws:sns:*:111122223333:*",
        "arn:aws:sns:eu-west-1:***:orders",
        "role ci",
        "arn:aws:ec2:eu-west-1:111122223333:instance/*",
        "arn:aws:s3:::b/${aws:username}*",
    ]
) | st.text(max_size=30)
LINES = st.builds(
    line,
    ACTIONS,
    RESOURCES,
    PRINCIPALS,
    st.sampled_from(["identity-based", "session", "resource-based"]),
)
BARE = st.sampled_from(
    [
        "An error occurred (AccessDenied) when calling the PutObject operation: Access Denied",
        "::error::x",
        "AccessDenied",
    ]
)


@given(st.lists(LINES | BARE | st.text(max_size=80), max_size=6))
def test_no_text_of_a_log_adds_a_use_or_writes_what_a_log_may_not(lines: list[str]) -> None:
    """Nothing invented, and untrusted text stays text, whatever a program of the job prints."""
    evidence = heard(*lines)
    assert all(
        usage.outcome is Outcome.DENIED and usage.denial and usage.denial.log
        for usage in evidence.usages
    )
    assert (evidence.groups, evidence.runs, evidence.counts) == ((), (), Evidence(ROLE).counts)
    changes, _ = additions(compare(None, [], evidence).missing, evidence, Options(), History())
    for change in changes:
        assert catalog.action(change.action) is not None
        assert sensitivity(change.action) == ""
        assert all(
            usage.denial and usage.denial.mendable and usage.denial.principal
            for usage in change.usages
        )
        for resource in change.resources if change.resources != ("*",) else ():
            assert "*" not in resource.replace("${*}", "")
            assert "?" not in resource.replace("${?}", "")
            assert "${" not in resource.replace("${*}", "").replace("${?}", "").replace("${$}", "")


def seen(resource: str) -> Usage:
    """An allowed call of another action on a resource."""
    need = Need(Permission("tag:GetResources", resource), Basis.OBSERVED, "x")
    return Usage(
        need, Outcome.ALLOWED, 1, NOW, NOW, ("1",), ("tagging.amazonaws.com:GetResources",)
    )


def test_labelled_denials_add_only_their_own_action_where_a_grant_helps(
    shared_folder: Path,
) -> None:
    """The labelled half of the public refusals, each as the log of the principal that it names."""
    added = named_ones = 0
    for text in (
        (shared_folder / "corpus" / "refusals.jsonl").read_text(encoding="utf-8").splitlines()
    ):
        labelled = json.loads(text)
        principal = principal_of(labelled["expected"]["principal"] or "")
        evidence = add_job_logs(
            Evidence(principal.arn if principal else ROLE), [logs(labelled["message"])], ALL, NOW
        )
        changes, held_back = additions(
            compare(None, [], evidence).missing, evidence, Options(), History()
        )
        # What the evidence has already may be read: as if other calls had used the resources that
        # the log names.
        elsewhere = [
            seen(resource)
            for held_addition in held_back
            for resource in held_addition.resources
            if resource != "*"
        ]
        known_names = replace(evidence, usages=(*evidence.usages, *elsewhere))
        further_additions, _ = additions(
            compare(None, [], evidence).missing, known_names, Options(), History()
        )
        named_ones += any(change.resources != ("*",) for change in further_additions)
        changes = [*changes, *further_additions]
        assert not (changes and (labelled["grant"] == "no" or principal is None)), labelled["id"]
        for change in changes:
            catalogued = catalog.action(change.action)
            assert catalogued is not None
            assert change.action.lower() in {
                action.lower() for action in labelled["expected"]["actions"]
            }, labelled["id"]
            assert (change.resources == ("*",)) <= (not catalogued.resource_types), labelled["id"]
        added += bool(changes)
    # Only reads of settings count, of a service and a resource that other evidence has: a log alone
    # adds no write and no read of data.
    assert added >= 9
    assert named_ones >= 9
