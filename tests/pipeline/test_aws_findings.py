"""The whole way: a trail in a folder, IAM and Access Analyzer over HTTP, and the pull request's
text.
"""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from leastpriv.aws.session import AwsSession
from leastpriv.cli.main import main
from leastpriv.config.inputs import Value
from leastpriv.config.settings import from_options, parse_settings, step_inputs
from leastpriv.errors import InputError
from leastpriv.pipeline.context import Target
from tests.fakes import progress
from tests.fakes.aws.access_analyzer import AccessAnalyzer, Finding
from tests.fakes.aws.iam_last_accessed import Attempt, LastAccessed
from tests.fakes.aws.server import Asked, FakeAws, Operation, RefusedError
from tests.fakes.markdown import table_widths
from tests.fakes.past import KnownPast
from tests.fakes.runs import Proposed, run_one
from tests.test_cases import outcome, records, write_trail

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
DAY = timedelta(days=1)
ROLE = "arn:aws:iam::111122223333:role/ci-deploy"
ACCESS_ROLE, TRAIL = (
    "arn:aws:iam::111122223333:role/analyzer",
    "arn:aws:cloudtrail:eu-west-1:111122223333:trail/main",
)
POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Sid": "Queues",
            "Effect": "Allow",
            "Action": ["sqs:CreateQueue", "sqs:ListQueues"],
            "Resource": "*",
        },
        {"Sid": "Topics", "Effect": "Allow", "Action": "sns:*", "Resource": "*"},
        {"Sid": "Keys", "Effect": "Allow", "Action": "ecr:*", "Resource": "*"},
        {"Sid": "Zones", "Effect": "Allow", "Action": "acm:ListCertificates", "Resource": "*"},
    ],
}
QUEUE = {"event": "sqs:CreateQueue", "parameters": {"queueName": "orders"}}
RUNS = {"runs": [{"first": "2026-10-01T10:00:00Z", "times": 16, "every-days": 3, "calls": [QUEUE]}]}


class Account:
    """What AWS knows of the role."""

    def __init__(self) -> None:
        self.iam = LastAccessed(
            lambda: NOW,
            {ROLE: {"deploy": ("acm", "ecr", "sns", "sqs")}},
            [
                Attempt(ROLE, "sqs:CreateQueue", NOW - 9 * DAY - timedelta(hours=2)),
                Attempt(ROLE, "ecr:DescribeRepositories", NOW - 200 * DAY),
                Attempt(ROLE, "acm:ListCertificates", NOW - 20 * DAY),
            ],
            takes=timedelta(),
        )
        self.analyzer = AccessAnalyzer(lambda: NOW, takes=timedelta())

    def operations(self) -> dict[str, Operation]:
        caller = {
            "UserId": "AROAEXAMPLE:run", "Account": "111122223333",
            "Arn": "arn:aws:sts::111122223333:assumed-role/reader/run",
        }  # fmt: skip
        judges = dict.fromkeys(
            ("accessanalyzer:ValidatePolicy", "iam:SimulateCustomPolicy"), _refuse
        )
        answers = {**self.iam.operations(), **self.analyzer.operations(), **judges}
        return {**answers, "sts:GetCallerIdentity": lambda _: caller}


def _refuse(asked: Asked) -> Mapping[str, Any]:
    """Judges of a proposal are another matter."""
    raise RefusedError("AccessDenied", f"{asked.operation} is refused.", 403)


@pytest.fixture
def account() -> Account:
    return Account()


@pytest.fixture
def aws(account: Account) -> Iterator[FakeAws]:
    with FakeAws(account.operations()) as running:
        yield running


@pytest.fixture
def propose(aws: FakeAws, tmp_path: Path) -> Callable[..., Proposed]:
    """Makes a proposal with these inputs; `said` gets the log, `changed` is when the policy file
    was.
    """
    write_trail(tmp_path / "trail", records(RUNS))
    (tmp_path / "policy.json").write_text(json.dumps(POLICY, indent=2))

    def made(
        reach: Mapping[str, str] | None = None,
        changed: datetime | None = NOW - 100 * DAY,
        **inputs: str,
    ) -> Proposed:
        options: dict[str, Value] = {
            name.replace("_", "-"): value for name, value in inputs.items()
        }
        options |= {
            "role-arn": ROLE,
            "policy-file": "policy.json",
            "trails": (str(tmp_path / "trail"),),
        }
        options |= {"aws-regions": "eu-west-1", "minimum-days": "30"}
        settings = from_options(options)
        door = AwsSession(aws.environment(attempts=1) if reach is None else reach, NOW)
        target = Target(settings, "policy.json", tmp_path, past=KnownPast(changed))
        return run_one(target, (tmp_path / "trail",), NOW, door)

    return made


def test_last_accessed_information_removes_services_without_an_attempt_and_keeps_the_others(
    propose: Callable[..., Proposed],
) -> None:
    without = outcome(propose())
    assert "sns:*: unseen-service" in without["held-back"]
    assert "remove acm:ListCertificates" in without["changes"]
    with_it = propose(last_accessed="true")
    report = outcome(with_it)
    assert "remove sns:*" in report["changes"]
    assert {"ecr:*: last-accessed", "acm:ListCertificates: last-accessed"} <= set(
        report["held-back"]
    )
    assert "IAM saw an attempt on acm on 2026-11-04 in eu-west-1" in with_it.body.replace("`", "")
    assert "IAM knows of no attempt on `sns`" in with_it.body
    assert all(len(widths) == 1 for widths in table_widths(with_it.body))


def test_a_service_in_use_is_never_reported_as_unused_by_iam(
    propose: Callable[..., Proposed], account: Account, tmp_path: Path
) -> None:
    """IAM may not know of it: the use is less than four hours old, or in a region that it does not
    track.
    """
    account.iam.attempts = []
    wildcards = [{"Effect": "Allow", "Action": ["sqs:*", "sns:*"], "Resource": "*"}]
    (tmp_path / "policy.json").write_text(
        json.dumps({"Version": "2012-10-17", "Statement": wildcards}, indent=2)
    )
    proposed = propose(last_accessed="true")
    assert any(change.startswith("narrow sqs:*") for change in outcome(proposed)["changes"])
    assert (
        "IAM knows of no attempt on `sns`, so the actions of it in wildcards are removed."
        in proposed.body
    )


@pytest.mark.parametrize(
    ("changed", "why"), [(None, "is not known"), (NOW - 10 * DAY, "changed on 2026-11-14")]
)
def test_a_recent_grant_is_kept_without_an_attempt(
    propose: Callable[..., Proposed], changed: datetime | None, why: str
) -> None:
    proposed = propose(last_accessed="true", changed=changed)
    assert "sns:*: unseen-service" in outcome(proposed)["held-back"]
    section = proposed.body.partition("#### What IAM reports")[2].partition("\n#### ")[0]
    assert why in section.replace("`", "")
    assert "may be younger" not in propose(last_accessed="true").body


def test_a_run_that_may_ask_reads_the_findings_as_well(
    propose: Callable[..., Proposed], account: Account
) -> None:
    details = {"externalAccessDetails": {"principal": {"AWS": "*"}, "condition": {}}}
    account.analyzer.analyzers = {
        "ACCOUNT/outside": [Finding("1", ROLE, "ExternalAccess", [details])]
    }
    assert "**Outside access:**" in propose(last_accessed="true").body
    assert "**Outside access:**" not in propose(last_accessed="true", reach={}).body


def test_a_run_without_the_input_sends_aws_no_request(
    propose: Callable[..., Proposed], aws: FakeAws
) -> None:
    propose()
    assert not [request for request in aws.requests if request.operation.startswith("Generate")]


def test_without_credentials_no_request_is_sent_and_no_message_logged(
    propose: Callable[..., Proposed], aws: FakeAws
) -> None:
    log_lines = progress.LINES
    proposed = propose(reach={}, last_accessed="true")
    assert not aws.requests
    assert "What IAM reports" not in proposed.body
    assert not [line for line in log_lines if "AWS" in line]


def test_denied_last_accessed_information_is_reported_and_removes_no_grant(
    propose: Callable[..., Proposed], aws: FakeAws
) -> None:
    action = "iam:GenerateServiceLastAccessedDetails"
    aws.refuse(
        action.partition(":")[2],
        "AccessDenied",
        f"User: x is not authorized to perform: {action}",
        403,
    )
    refused = propose(last_accessed="true")
    assert outcome(refused)["changes"] == outcome(propose())["changes"]
    assert f"`{action}`" in refused.body.partition("#### Not seen")[2]


def test_credentials_of_another_account_are_reported(
    propose: Callable[..., Proposed], account: Account, aws: FakeAws
) -> None:
    other_identity = {
        "UserId": "x",
        "Account": "999999999999",
        "Arn": "arn:aws:iam::999999999999:user/somebody",
    }
    aws.operations["sts:GetCallerIdentity"] = lambda _: other_identity
    assert "credentials are those of account 999999999999" in propose(
        last_accessed="true"
    ).body.replace("`", "")


def test_a_generated_policy_is_asked_about_and_never_written(
    propose: Callable[..., Proposed], account: Account
) -> None:
    account.analyzer.is_complete = False
    queues = "arn:aws:sqs:${Region}:${Account}:${QueueName}"
    account.analyzer.policies = [
        {"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": ["sqs:CreateQueue", "sqs:GetQueueUrl"],
            "Resource": queues},
            {"Effect": "Allow", "Action": ["acm:ListCertificates", "s3:*|@evil"], "Resource": "*"},
            {"Effect": "Allow", "Action": "kms:EnableKey",
            "Resource": "arn:aws:kms:${Region}:${Account}:key/${KeyId}"},
        ]},
    ]  # fmt: skip
    before = outcome(propose())
    proposed = propose(access_analyzer=f"{ACCESS_ROLE} {TRAIL}")
    report = outcome(proposed)
    assert [change for change in report["changes"] if change.startswith("add ")] == []
    assert "acm:ListCertificates: access-analyzer" in report["held-back"]
    assert set(report["changes"]) == set(before["changes"]) - {"remove acm:ListCertificates"}
    questions = proposed.body.partition("#### Second opinion: IAM Access Analyzer names more")[
        2
    ].partition("</details>")[0]
    assert "which it calls incomplete" in questions
    assert "`sqs:GetQueueUrl` on `arn:aws:sqs:eu-west-1:111122223333:orders`" in questions
    key = "arn:aws:kms:${Region}:${Account}:key/${KeyId}"
    assert f"`kms:EnableKey` on `{key}`, whose placeholders this evidence cannot fill" in questions
    assert "@evil" not in questions
    assert "sqs:CreateQueue" not in questions


@pytest.mark.usefixtures("propose")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_command_cancels_the_generation_it_started(
    account: Account,
    aws: FakeAws,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
) -> None:
    """The signal comes with the first answer; whoever does not hear it gets the generated policy
    with the second.
    """
    account.analyzer.takes = 30 * DAY
    answer = aws.operations["accessanalyzer:GetGeneratedPolicy"]

    def interrupting(asked: Asked) -> Mapping[str, Any]:
        if aws.asked("GetGeneratedPolicy")[1:]:
            account.analyzer.jobs[0].takes = timedelta()
        signal.pthread_kill(threading.main_thread().ident or 0, number)
        return answer(asked)

    aws.operations["accessanalyzer:GetGeneratedPolicy"] = interrupting
    monkeypatch.chdir(tmp_path)
    for name, value in aws.environment().items():
        monkeypatch.setenv(name, value)
    role_options = ["--role-arn", ROLE, "--policy-file", "policy.json", "--trails", "trail"]
    log = StringIO()
    before = signal.signal(number, lambda *_: None)
    try:
        command = ["propose", *role_options, "--access-analyzer", f"{ACCESS_ROLE} {TRAIL}"]
        code = main(command, StringIO(), log, lambda: NOW)
    finally:
        signal.signal(number, before)
    [job] = account.analyzer.jobs
    assert (code, account.analyzer.status(job)) == (130, "CANCELED")
    assert log.getvalue().index(
        f"Cancelled the policy generation {job.number}"
    ) < log.getvalue().index("Interrupted")


def test_an_open_trust_is_warned_of_and_a_bound_login_is_not(
    propose: Callable[..., Proposed], account: Account
) -> None:
    github = "token.actions.githubusercontent.com"

    def outside(kind: str, who: str, **condition: str) -> dict[str, Any]:
        return {"externalAccessDetails": {"principal": {kind: who}, "condition": condition}}

    account.analyzer.analyzers = {"ACCOUNT/outside": [
        Finding("1", ROLE, "ExternalAccess", [outside("Federated", github,
        **{f"{github}:sub": "repo:acme/shop:*"})]),
    ]}  # fmt: skip
    assert "open to outsiders" not in propose(access_analyzer=f"{ACCESS_ROLE} {TRAIL}").body
    account.analyzer.analyzers["ACCOUNT/outside"] += [
        Finding(
            "2",
            ROLE,
            "ExternalAccess",
            [outside("Federated", github, **{f"{github}:aud": "sts.amazonaws.com"})],
        ),
        Finding("3", ROLE, "ExternalAccess", [outside("AWS", "*")]),
    ]
    body = propose(access_analyzer=f"{ACCESS_ROLE} {TRAIL}").body
    warning = body.partition("**Outside access:**")[2].partition("\n#### ")[0]
    assert f"`Federated {github}`, only if `{github}:aud` matches `sts.amazonaws.com`" in warning
    assert "- any principal, without any condition" in warning
    assert ":sub" not in warning


def test_unused_access_findings_are_compared_with_the_proposal(
    propose: Callable[..., Proposed], account: Account
) -> None:
    step = {
        "unusedPermissionsRecommendedStep": {
            "recommendedAction": "CREATE_POLICY",
            "existingPolicyId": "deploy",
        }
    }
    _find_unused(account, step)
    body = propose(access_analyzer=f"{ACCESS_ROLE} {TRAIL}").body
    assert (
        "`ninety` (90 days) calls 1 action unused, and this proposal removes 1 action of these."
        in body
    )
    assert "- It recommends to replace `deploy`.\n" in body


def test_a_recommended_policy_that_keeps_a_removed_grant_is_reported(
    propose: Callable[..., Proposed], account: Account
) -> None:
    allowed = {"Effect": "Allow", "Action": ["sqs:CreateQueue", "acm:List*"], "Resource": "*"}
    step = {
        "recommendedAction": "CREATE_POLICY",
        "existingPolicyId": "deploy",
        "recommendedPolicy": json.dumps({"Version": "2012-10-17", "Statement": [allowed]}),
    }
    _find_unused(account, {"unusedPermissionsRecommendedStep": step})
    body = propose(access_analyzer=f"{ACCESS_ROLE} {TRAIL}").body
    replacement = "a policy that keeps what this proposal removes: `acm:ListCertificates`."
    assert f"- It recommends to replace `deploy` by {replacement}\n" in body


def test_unused_credentials_are_reported(
    propose: Callable[..., Proposed], account: Account
) -> None:
    key = {"unusedIamUserAccessKeyDetails": {"accessKeyId": "AKIAEXAMPLE000000001"}}
    findings = [Finding("1", ROLE, "UnusedIAMUserAccessKey", [key])]
    account.analyzer.analyzers = {"ACCOUNT_UNUSED_ACCESS/ninety": findings}
    body = propose(access_analyzer=f"{ACCESS_ROLE} {TRAIL}").body
    assert "calls credentials of the user unused: `AKIAEXAMPLE000000001`." in body


def test_a_finding_without_a_recommendation_has_the_reason(
    propose: Callable[..., Proposed], account: Account
) -> None:
    _find_unused(account)
    account.analyzer.unrecommended = "SERVICE_ERROR"
    body = propose(access_analyzer=f"{ACCESS_ROLE} {TRAIL}").body
    assert (
        "Access Analyzer makes no recommendation (`SERVICE_ERROR`: The recommendation failed)."
        in body
    )
    assert "calls 1 action unused" in body


def _find_unused(account: Account, *steps: Mapping[str, Any]) -> None:
    unused = {
        "unusedPermissionDetails": {
            "serviceNamespace": "acm",
            "actions": [{"action": "acm:ListCertificates"}],
        }
    }
    finding = Finding("1", ROLE, "UnusedPermission", [unused], [*steps])
    account.analyzer.analyzers = {"ACCOUNT_UNUSED_ACCESS/ninety": [finding]}
    account.analyzer.clock = iter_clock(NOW)


def iter_clock(now: datetime) -> Callable[[], datetime]:
    """A clock that goes on by ten seconds whenever somebody looks."""
    looks = iter(range(10_000))
    return lambda: now + timedelta(seconds=10 * next(looks))


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("access-analyzer", "on", "The input access-analyzer is 'on'"),
        ("last-accessed", "perhaps", "last-accessed"),
    ],
)
def test_a_wrong_input_is_named(name: str, value: str, words: str) -> None:
    inputs = {"role-arn": ROLE, "policy-file": "policy.json", "trails": "trail", name: value}
    with pytest.raises(InputError, match=words):
        parse_settings(step_inputs({f"INPUT_{key.upper()}": text for key, text in inputs.items()}))


def test_a_step_asks_iam_by_default_and_a_command_does_not() -> None:
    inputs = {"role-arn": ROLE, "policy-file": "policy.json", "trails": "trail"}
    assert parse_settings(
        step_inputs({f"INPUT_{key.upper()}": text for key, text in inputs.items()})
    ).last_accessed
    assert not from_options(inputs).last_accessed
    assert from_options({**inputs, "last-accessed": "true"}).last_accessed
