"""The users of a policy: their evidence as one, and users that no input names."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from time import process_time

import pytest

from leastpriv.aws.arns import parse_principal
from leastpriv.cloudtrail.coverage import Coverage, DataStream, RegionEvents
from leastpriv.evidence.models import (
    AccessReport,
    AwsFindings,
    Counts,
    Evidence,
    LastAccess,
    ServiceAccess,
)
from leastpriv.evidence.users import (
    OWN_ACCOUNT,
    Callers,
    KnownUsers,
    UserEvidence,
    account_namer,
    common_principal,
    in_own_account,
    labels_of,
    permission_set_pattern,
    unite,
    unnamed_users,
)
from leastpriv.models import Basis, Need, Outcome, Permission, Run, Usage, WebIdentity
from leastpriv.permissions.patterns import matches
from tests.fakes.replace import replace

DEV = "arn:aws:iam::111122223333:role/ci-deploy"
PROD = "arn:aws:iam::333344445555:role/ci-deploy"
COMMON = DEV.replace("111122223333", OWN_ACCOUNT)
NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
SET = "arn:aws:iam::111122223333:role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_Deploy_0123456789abcdef"


def run(session: str, hour: int = 12, subject: str = "") -> Run:
    first = NOON.replace(hour=hour)
    identity = WebIdentity("github", subject) if subject else None
    return Run(f"{session}", session, first, first + timedelta(minutes=5), identity=identity)


def usage(action: str, resource: str, *runs: Run) -> Usage:
    return Usage(
        Need(Permission(action, resource), Basis.OBSERVED, "named"),
        Outcome.ALLOWED,
        count=len(runs),
        first_seen=min(each_run.first for each_run in runs),
        last_seen=max(each_run.last for each_run in runs),
        runs=tuple(each_run.id for each_run in runs),
        events=("sqs.amazonaws.com:CreateQueue",),
    )


def user(arn: str, label: str, *runs: Run, queue: str = "orders", unread: str = "") -> UserEvidence:
    account = arn.split(":")[4]
    role_usage = usage("sqs:CreateQueue", f"arn:aws:sqs:eu-west-1:{account}:{queue}", *runs)
    evidence = Evidence(arn, usages=(role_usage,), runs=runs, counts=Counts(calls=len(runs)))
    return UserEvidence(arn, label, evidence, unread)


def united(*users: UserEvidence, names: tuple[str, ...] = ()) -> Evidence:
    return unite(users, COMMON, account_namer(names))


def test_a_resource_of_one_name_in_each_account_is_one() -> None:
    together = united(user(DEV, "dev", run("1765000001")), user(PROD, "prod", run("1765000002")))
    (common,) = together.usages
    assert common.need.permission.resource == f"arn:aws:sqs:eu-west-1:{OWN_ACCOUNT}:orders"
    assert (common.users, common.count, len(common.runs)) == (("dev", "prod"), 2, 2)


def test_a_resource_that_the_policy_names_with_its_account_keeps_it() -> None:
    queue_pattern = "arn:aws:sqs:eu-west-1:333344445555:*"
    together = united(
        user(DEV, "dev", run("1765000001")),
        user(PROD, "prod", run("1765000002")),
        names=(queue_pattern,),
    )
    assert {common.need.permission.resource for common in together.usages} == {
        f"arn:aws:sqs:eu-west-1:{OWN_ACCOUNT}:orders",
        "arn:aws:sqs:eu-west-1:333344445555:orders",
    }


def test_one_workflow_run_in_two_accounts_is_one_run() -> None:
    together = united(
        user(DEV, "dev", run("1765000001", 12)), user(PROD, "prod", run("1765000001", 14))
    )
    (common_run,) = together.runs
    assert (common_run.first.hour, common_run.last.hour) == (12, 14)
    assert [user_of_policy.runs for user_of_policy in together.users] == [
        frozenset({common_run.id})
    ] * 2


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (run("deploy@2026-11-01"), run("deploy@2026-11-01")),
        (run("1765000001", subject="main"), run("1765000001", subject="pull_request")),
    ],
    ids=["sessions of one name", "logins of two identities"],
)
def test_other_runs_of_one_id_remain_two(one: Run, other: Run) -> None:
    together = united(user(DEV, "dev", one), user(PROD, "prod", other))
    assert len(together.runs) == 2
    assert {name for common in together.usages for name in common.runs} == {
        common_run.id for common_run in together.runs
    }


def test_a_day_counts_where_the_records_of_each_account_have_it() -> None:
    days = [date(2026, 11, number) for number in range(1, 6)]
    streams = {DataStream("s3.amazonaws.com:GetObject", "read", "arn:aws:s3:::dev/"): 1}
    dev = Coverage(days={"eu-west-1": frozenset(days)}, data=streams, every_region=True)
    prod = Coverage(days={"eu-west-1": frozenset(days[:2])}, every_region=False)
    parts = [user(DEV, "dev", run("1765000001")), user(PROD, "prod", run("1765000002"))]
    parts = [
        replace(part, evidence=replace(part.evidence, coverage=coverage))
        for part, coverage in zip(parts, (dev, prod), strict=True)
    ]
    coverage = united(*parts).coverage
    assert coverage.days == {"eu-west-1": frozenset(days[:2])}
    assert not coverage.data
    assert not coverage.every_region


def test_a_region_whose_days_no_two_users_share_is_not_covered() -> None:
    days = [date(2026, 11, number) for number in range(1, 3)]
    writes = RegionEvents("eu-west-1", "management-write")
    covered = [
        Coverage(days={"eu-west-1": frozenset({day})}, logged={writes: frozenset({day})})
        for day in days
    ]
    parts = [user(DEV, "dev", run("1765000001")), user(PROD, "prod", run("1765000002"))]
    parts = [
        replace(part, evidence=replace(part.evidence, coverage=coverage))
        for part, coverage in zip(parts, covered, strict=True)
    ]
    coverage = united(*parts).coverage
    assert not coverage.days
    assert not coverage.logged


def test_a_service_is_unused_only_if_no_user_attempted_it() -> None:
    silent = AccessReport(NOON, {"sqs": ServiceAccess("sqs")})
    attempted = AccessReport(NOON, {"sqs": ServiceAccess("sqs", LastAccess(NOON))})
    parts = [user(DEV, "dev", run("1765000001")), user(PROD, "prod", run("1765000002"))]

    def access(*reports: AccessReport | None) -> AccessReport | None:
        with_findings = [
            replace(part, evidence=replace(part.evidence, aws_findings=AwsFindings(access=report)))
            for part, report in zip(parts, reports, strict=True)
        ]
        return united(*with_findings).aws_findings.access

    with_attempt = access(silent, attempted)
    assert with_attempt
    assert with_attempt.services["sqs"].last == LastAccess(NOON)
    without_attempt = access(silent, silent)
    assert without_attempt
    assert without_attempt.services["sqs"].last is None
    unknown = access(silent, None)
    assert unknown
    assert "sqs" not in unknown.services


@pytest.mark.parametrize(
    ("arns", "labels"),
    [
        ((DEV, PROD), ("111122223333", "333344445555")),
        ((DEV, DEV.replace("ci", "x")), ("ci-deploy", "x-deploy")),
        (
            (DEV, PROD, DEV.replace("ci", "x")),
            ("111122223333/ci-deploy", "333344445555/ci-deploy", "111122223333/x-deploy"),
        ),
    ],
)
def test_a_label_is_the_shortest_text_that_distinguishes(
    arns: tuple[str, ...], labels: tuple[str, ...]
) -> None:
    assert labels_of(arns) == labels


def test_an_account_is_replaced_as_a_whole_number_alone() -> None:
    name = "arn:aws:s3:::assets-111122223333-eu-west-1/9111122223333"
    assert in_own_account(name, "111122223333") == name.replace(
        "-111122223333-", f"-{OWN_ACCOUNT}-"
    )
    dev, prod = map(parse_principal, (DEV, PROD))
    assert common_principal([dev, prod]).account == OWN_ACCOUNT
    assert common_principal([dev, dev]) == dev


def test_a_namesake_in_another_account_may_be_a_user() -> None:
    callers = {PROD: 12, "arn:aws:iam::333344445555:role/other": 3}
    (namesake,) = unnamed_users([DEV], Callers(callers))
    assert (namesake.arn, "at least 12 calls" in namesake.why) == (PROD, True)
    for targets in ([DEV, PROD], [DEV, "arn:aws:iam::*:role/ci-*"]):
        assert not unnamed_users(targets, Callers(callers))
    assert not unnamed_users([DEV], Callers(callers), excluded=[PROD])


def test_namesakes_in_several_accounts_are_one_pattern() -> None:
    namesakes = [PROD, PROD.replace("333344445555", "444455556666")]
    (pattern,) = unnamed_users([DEV], Callers(dict.fromkeys(namesakes, 3)))
    assert pattern.arn == "arn:aws:iam::*:role/ci-deploy"
    assert "2 other accounts made at least 6 calls" in pattern.why
    assert not unnamed_users([DEV], Callers(dict.fromkeys(namesakes, 3)), excluded=[pattern.arn])


def test_namesakes_of_two_partitions_are_a_pattern_each() -> None:
    of_government = DEV.replace("arn:aws:", "arn:aws-us-gov:")
    namesakes = [PROD, PROD.replace("333344445555", "444455556666"), of_government]
    namesakes.append(of_government.replace("111122223333", "444455556666"))
    unnamed = unnamed_users([DEV], Callers(dict.fromkeys(namesakes, 3)))
    patterns = [f"arn:{partition}:iam::*:role/ci-deploy" for partition in ("aws", "aws-us-gov")]
    assert {namesake.arn for namesake in unnamed} == {*patterns}
    assert not unnamed_users([DEV, *patterns], Callers(dict.fromkeys(namesakes, 3)))


def test_the_pattern_of_a_permission_set_has_no_role_of_a_set_with_a_longer_name() -> None:
    pattern = permission_set_pattern(SET)
    assert matches(pattern, SET.replace("111122223333", "333344445555"))
    assert matches(pattern, SET.replace("com/", "com/eu-west-1/"))
    assert not matches(pattern, SET.replace("Deploy_", "Deploy_Prod_"))


def test_a_permission_set_has_a_role_in_each_account() -> None:
    (pattern,) = unnamed_users([SET], Callers())
    assert pattern.arn == permission_set_pattern(SET)
    assert not unnamed_users(
        [SET, pattern.arn], Callers({SET.replace("111122223333", "333344445555"): 3})
    )


def test_a_role_is_known_by_its_name_whatever_its_path_and_by_patterns() -> None:
    known_users = KnownUsers(
        [f"{DEV.replace('ci-deploy', 'team/ci-deploy')}", "arn:aws:iam::*:role/x-*"]
    )
    assert known_users.include(DEV)
    assert known_users.include("arn:aws:iam::333344445555:role/x-deploy")
    assert not known_users.include(PROD)
    assert not known_users.include(DEV.replace("role/", "user/"))


def test_three_hundred_targets_of_one_name_are_compared_in_a_moment() -> None:
    roles = [f"arn:aws:iam::{111122223333 + number}:role/ci-deploy" for number in range(300)]
    callers = Callers(dict.fromkeys(roles, 1))
    before = process_time()
    for role in roles:
        other_roles = [other_role for other_role in roles if other_role != role]
        assert not unnamed_users([role], callers, excluded=other_roles)
    # Each role against each other for each target would take minutes.
    assert process_time() - before < 5
