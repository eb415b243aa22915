"""Attempts to get a grant written without a mark, or a wildcard over what no proved run used: each
fails.

Further attempts: `test_workflow_runs.py` (logins, tags, branches), `test_origins.py`,
`tests/hostile`, and the cases `log-*`, `burst-*`, `denied-*` and `session-*`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import pytest
from msgspec import structs

from leastpriv.evidence.models import Evidence
from leastpriv.models import (
    Basis,
    Condition,
    Denial,
    DeniedBy,
    Need,
    Origin,
    Outcome,
    Permission,
    Run,
    RunOrigin,
    Usage,
)
from leastpriv.policy.document import Document, parse
from leastpriv.proposal.additions import additions
from leastpriv.proposal.models import Change, History, Options
from leastpriv.proposal.origins import origin_marks
from tests.fakes.replace import replace

ROLE = "arn:aws:iam::111122223333:role/ci-deploy"
A = "arn:aws:iam::111122223333:"
START = datetime(2026, 11, 3, 9, 0, tzinfo=UTC)
PROVED = RunOrigin(Origin.REVIEWED, "main")
BY_NAME = RunOrigin(Origin.REVIEWED, "main", "branch by session name")
UNREVIEWED = RunOrigin(Origin.UNREVIEWED, "the branch feature/x, which is not protected")
UNKNOWN = RunOrigin(Origin.UNKNOWN, "sessions whose names are no workflow runs of this repository")
ORIGINS = {
    **{f"main{number}": PROVED for number in range(8)},
    **{f"name{number}": BY_NAME for number in range(8)},
    **{f"evil{number}": UNREVIEWED for number in range(8)},
    **{f"unknown{number}": UNKNOWN for number in range(8)},
}


def used(action: str, resource: str, *runs: str, event: str = "", **more: object) -> Usage:
    need = Need(Permission(action, resource), Basis.OBSERVED, "named by the request")
    service, _, name = action.partition(":")
    usage = Usage(
        need, Outcome.ALLOWED, 1, START, START, runs, (event or f"{service}.amazonaws.com:{name}",)
    )
    return replace(usage, **more)  # type: ignore[arg-type]


def denied(action: str, resource: str, *runs: str, log: str = "", explicit: bool = False) -> Usage:
    denial = Denial((action,), resource, ROLE, DeniedBy.IDENTITY, explicit, not explicit, log=log)
    usage = used(action, resource, *runs)
    return replace(
        usage,
        need=structs.replace(usage.need, basis=Basis.DENIED),
        outcome=Outcome.DENIED,
        denial=denial,
    )


def added(
    usages: Sequence[Usage],
    *,
    origins: Mapping[str, RunOrigin] = ORIGINS,
    options: Options = Options(),
    document: Document | None = None,
    principal: str = ROLE,
    own_policies: tuple[str, ...] = (),
    others: Sequence[Usage] = (),
) -> list[Change]:
    names = dict.fromkeys(run for usage in usages for run in usage.runs)
    runs = tuple(Run(name, name, START, START + timedelta(minutes=5)) for name in names)
    evidence = Evidence(
        principal,
        usages=(*usages, *others),
        runs=runs,
        own_policies=own_policies,
        origins=origins,
    )
    return additions(usages, evidence, options, History(), document)[0]


def policy(*statements: Mapping[str, object]) -> Document:
    return parse(
        json.dumps({"Version": "2012-10-17", "Statement": statements}).encode(), "policy.json"
    )


def allow(action: str, resource: str) -> Mapping[str, object]:
    return {"Effect": "Allow", "Action": action, "Resource": resource}


def queue(name: str) -> str:
    return f"arn:aws:sqs:eu-west-1:111122223333:{name}"


QUEUE = queue("orders")
SECRETS = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:"
NEVER: dict[str, Sequence[Usage]] = {
    "a call of an unreviewed branch": [used("sqs:SendMessage", QUEUE, "evil1")],
    "many calls of many unreviewed runs": [used("sqs:SendMessage", QUEUE,
    *(f"evil{n}" for n in range(8)))],
    "an unreviewed run and one of unknown origin": [used("sqs:SendMessage", QUEUE, "evil1",
    "unknown1")],
    "a sensitive action of an unknown run": [used("iam:PassRole", f"{A}role/admin", "unknown1")],
    "one denial of an unknown run": [denied("sqs:SendMessage", QUEUE, "unknown1")],
    "a denial of an unreviewed run": [denied("sqs:SendMessage", QUEUE, "evil1", "evil2")],
    "a denial that no grant helps": [denied("sqs:SendMessage", QUEUE, "main1", explicit=True)],
    "its own policies": [used("iam:AttachRolePolicy", ROLE, "main1")],
    "its own policies by another path": [used("iam:PutRolePolicy", f"{A}role/x/ci-deploy",
    "main1")],
    "its own policies by a pattern": [used("iam:PutRolePolicy", f"{A}role/ci-*", "main1")],
    "its own trust": [used("iam:UpdateAssumeRolePolicy", ROLE, "main1")],
    "its own boundary": [used("iam:DeleteRolePermissionsBoundary", ROLE, "main1")],
    "its own tags": [used("iam:TagRole", ROLE, "main1")],
    "the policies of a role that it may pass": [
        denied("iam:AttachRolePolicy", f"{A}role/app", "main1", "main2"),
        used("iam:PassRole", f"{A}role/app", "main1"),
    ][:1],
    "a version of any policy, asked for by a denial": [denied("iam:CreatePolicyVersion",
    f"{A}policy/x", "main1")],
    "an access key": [used("iam:CreateAccessKey", f"{A}user/admin", "main1")],
    "an identity provider": [used("iam:CreateOpenIDConnectProvider",
    f"{A}oidc-provider/evil.example", "main1")],
    "a sensitive action on every resource": [used("iam:PassRole", "*", "main1")],
    "a sensitive action on a pattern": [used("iam:PassRole", f"{A}role/*", "main1")],
    "a sensitive action of failed calls": [used("iam:PassRole", f"{A}role/admin", "main1",
    succeeded=False)],
    "a log that writes": [denied("sqs:SendMessage", QUEUE, "main1", log="deploy.log:1")],
    "a log that names a bucket of others": [denied("s3:GetObject", "arn:aws:s3:::evil/loot",
    "main1", log="x:1")],
    "a log that names another account": [
        denied("sqs:GetQueueUrl", "arn:aws:sqs:eu-west-1:999988887777:x", "main1", log="x:1")
    ],
    "a log that names another partition": [
        denied("sqs:GetQueueUrl", "arn:aws-cn:sqs:eu-west-1:111122223333:x", "main1", log="x:1")
    ],
    "a log that names secrets": [
        denied("secretsmanager:GetSecretValue", f"{SECRETS}x-AbCdEf", "main1", log="x:1")
    ],
    "an action as a pattern": [denied("sqs:*", QUEUE, "main1", "main2")],
    "a name with a character that a reader does not see": [denied("sqs:SendMessage",
    queue("orders\u200b"), "main1")],
    "a name that breaks the line": [denied("s3:GetObject", "arn:aws:s3:::shop/x\ny", "main1")],
    "a resource of another service": [used("sqs:SendMessage", "arn:aws:s3:::shop", "main1")],
    "a probe": [
        denied(f"sqs:{name}", QUEUE, "main1")
        for name in (
            "AddPermission", "ChangeMessageVisibility", "DeleteMessage", "DeleteQueue",
            "GetQueueAttributes",
            "GetQueueUrl", "ListDeadLetterSourceQueues", "ListQueueTags", "PurgeQueue",
            "ReceiveMessage",
            "RemovePermission", "SendMessage", "SetQueueAttributes", "TagQueue", "UntagQueue",
            "CreateQueue",
            "CancelMessageMoveTask", "StartMessageMoveTask", "ListMessageMoveTasks", "ListQueues",
        )
    ],
}  # fmt: skip


@pytest.mark.parametrize("attempt", NEVER)
def test_it_is_never_written(attempt: str) -> None:
    usages = NEVER[attempt]
    passed = [used("iam:PassRole", f"{A}role/app", "main1")] if "pass" in attempt else []
    assert added(usages, others=passed) == []


@pytest.mark.parametrize(
    ("run", "is_written"), [("evil1", False), ("main2", True), ("unknown1", True)]
)
def test_a_log_names_nothing_that_only_unreviewed_code_used(run: str, is_written: bool) -> None:
    read = denied("sqs:GetQueueAttributes", QUEUE, "main1", log="deploy.log:1")
    changes = added([read], others=[used("sqs:SendMessage", QUEUE, run)])
    assert [change.resources for change in changes] == [(QUEUE,)] * is_written


@pytest.mark.parametrize(("run", "is_written"), [("evil1", False), ("main2", True)])
def test_a_log_reads_no_whole_service_that_only_unreviewed_code_read(
    run: str, is_written: bool
) -> None:
    read = denied("ec2:DescribeSubnets", "*", "main1", log="deploy.log:1")
    changes = added([read], others=[used("ec2:DescribeVpcs", "*", run)])
    assert [change.resources for change in changes] == [("*",)] * is_written


def test_a_user_never_gets_what_changes_a_group() -> None:
    user = "arn:aws:iam::111122223333:user/ci"
    usages = [
        used(f"iam:{verb}GroupPolicy", f"{A}group/ci", "main1")
        for verb in ("Attach", "Put", "Detach", "Delete")
    ]
    assert added(usages, principal=user) == []


def test_a_version_of_a_policy_that_the_role_has_is_never_written() -> None:
    version = used("iam:CreatePolicyVersion", f"{A}policy/ci", "main1")
    assert [change.action for change in added([version])] == ["iam:CreatePolicyVersion"]
    assert added([version], own_policies=(f"{A}policy/ci",)) == []


def test_a_committed_pattern_does_not_widen_a_sensitive_addition() -> None:
    """With `resources: keep` a read of all roles would make `iam:PassRole` one on all roles."""
    committed = policy(allow("iam:GetRole", f"{A}role/*"))
    [change] = added(
        [used("iam:PassRole", f"{A}role/app", "main1")],
        options=Options(keep_forms=True),
        document=committed,
    )
    assert change.resources == (f"{A}role/app",)


def test_a_resource_that_only_a_borrowed_run_used_is_marked_beside_a_proved_one() -> None:
    usages = [
        used("sqs:SendMessage", QUEUE, "main1"),
        used("sqs:SendMessage", queue("mine"), "name1"),
    ]
    [change] = added(usages)
    assert origin_marks(change.usages, Evidence(ROLE, origins=ORIGINS)) == {
        "branch by session name": (queue("mine"),)
    }


def test_the_value_of_a_condition_that_only_a_borrowed_run_used_is_marked() -> None:
    passed = [used("iam:PassRole", f"{A}role/app", run) for run in ("main1", "name1")]
    services = [
        Condition("StringEquals", "iam:PassedToService", (f"{name}.amazonaws.com",))
        for name in ("lambda", "ec2")
    ]
    usages = [
        replace(
            usage,
            need=structs.replace(
                usage.need, permission=structs.replace(usage.need.permission, conditions=(service,))
            ),
        )
        for usage, service in zip(passed, services, strict=True)
    ]
    [change] = added(usages)
    assert origin_marks(change.usages, Evidence(ROLE, origins=ORIGINS)) == {
        "branch by session name": (f"{A}role/app",)
    }


@pytest.mark.parametrize("kind", ["evil", "unknown", "name"])
def test_runs_that_nothing_proves_teach_no_name_pattern(kind: str) -> None:
    """Two names of proved runs and many of others are no pattern without a mark."""
    unproved_usages = [
        used("sqs:CreateQueue", queue(f"orders-{n}17"), f"{kind}{n}") for n in range(5)
    ]
    proved = [used("sqs:CreateQueue", queue(f"orders-{n}21"), f"main{n}") for n in (6, 7)]
    for change in added([*proved, *unproved_usages]):
        marked = {
            resource
            for resources in origin_marks(change.usages, Evidence(ROLE, origins=ORIGINS)).values()
            for resource in resources
        }
        patterns = [pattern for pattern in change.patterns if "*" in pattern.pattern]
        assert all(marked & {*pattern.covers} for pattern in patterns)


@pytest.mark.parametrize("kind", ["evil", "unknown", "name"])
def test_runs_that_nothing_proves_teach_no_ids(kind: str) -> None:
    vpc = "arn:aws:ec2:eu-west-1:111122223333:vpc/vpc-"
    creations = [
        used(
            "ec2:CreateVpc",
            f"{vpc}{n}",
            f"{kind}{n}",
            made=(f"vpc-{n}",),
            event="ec2.amazonaws.com:CreateVpc",
        )
        for n in range(4)
    ]
    deletion = used("ec2:DeleteVpc", f"{vpc}9", "main1")
    [change] = added([deletion], others=creations)
    assert change.resources == (f"{vpc}9",)


def test_denied_names_open_no_pattern() -> None:
    usages = [denied("sqs:SendMessage", queue(f"orders-{n}21"), f"main{n}") for n in range(5)]
    [change] = added(usages)
    assert not [resource for resource in change.resources if "*" in resource]


@pytest.mark.parametrize("name", ["*", "?", "${aws:username}", "a*", "${*}"])
def test_a_name_never_becomes_a_wildcard(name: str) -> None:
    from leastpriv.permissions.patterns import escape_observed, resource_matches

    [change] = added([used("s3:PutObject", f"arn:aws:s3:::shop/{escape_observed(name)}", "main1")])
    assert not resource_matches(change.resources[0], "arn:aws:s3:::shop/another")
