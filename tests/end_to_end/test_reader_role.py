"""The reader role of `leastpriv init` in the lab has exactly the permissions that the product's own
run needs.
"""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from leastpriv.init.options import parse_options
from leastpriv.init.reader_role import DEFAULT_SOURCES, reader_grants, reader_policy
from leastpriv.init.render import CLOUDFORMATION, render_files
from tests.end_to_end.lab.lab import ACCOUNT, Environment, Lab
from tests.end_to_end.test_lab import allow, policy
from tests.end_to_end.test_lab_stacks import create, settled
from tests.evidence.aws_findings.test_collect import outside, unused
from tests.fakes.aws.access_analyzer import AccessAnalyzer, Finding
from tests.fakes.aws.iam_last_accessed import Attempt, LastAccessed
from tests.fakes.aws.policy_checks import PolicyChecks
from tests.fakes.deploys import write_trail
from tests.fakes.own_calls import changes, leastpriv, records_of, used

TARGET = f"arn:aws:iam::{ACCOUNT}:role/deploy"
READER = f"arn:aws:iam::{ACCOUNT}:role/leastpriv-reader"
SOURCES = (*DEFAULT_SOURCES, "s3-trail", "job-logs", "custom-policy-checks")
NOT_ASKED = {
    "access-analyzer:CheckNoNewAccess",
    "iam:GetRequestAuthorizationDetails",
    "iam:ListEntitiesForPolicy",
}
"""No denial of these deploys has an authorization id (`tests/pipeline/test_denial_details.py`
asks), and the committed policy is no managed one (`tests/init/test_reader_role_needs.py` asks).
"""
OPTIONS = parse_options(
    {
        "repository": ["acme/shop"],
        "role-arn": [TARGET],
        "sources": SOURCES,
        "trails": ["s3://trails/org"],
    }
)
VALUES = {**OPTIONS.values, "Account": ACCOUNT}
WIDE = policy(allow("sqs:*", "s3:*", "cloudformation:*"))
QUEUE = {"Queue": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "jobs"}}}
POLICY = "#/Resources/Role/Properties/Policies/0/PolicyDocument"


@dataclass(frozen=True, slots=True)
class Read:
    """Two runs of the product with the reader role: over the account, and over files with AWS's
    policy checks.
    """

    runs: tuple[subprocess.CompletedProcess[str], subprocess.CompletedProcess[str]]
    records: Path
    """Records of the lab's calls and of those to the fakes."""


@pytest.fixture(scope="module")
def reading(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Read:
    """A role deploys seven times, the product runs with the reader role, and all calls are
    recorded.
    """
    folder = tmp_path_factory.mktemp("reader")
    _deploy_seven_times(lab)
    (folder / "deploy.log").write_text(_encoded_denial(lab))
    _make_trail(lab)
    _set_up(lab)
    # The role's last use may be late in event history, so that nothing is removed: the checks get
    # an addition.
    (folder / "deploy.json").write_text(
        json.dumps(policy(allow("s3:*", "cloudformation:*")), indent=2)
    )
    (folder / "role.json").write_text(_template())
    lab.flush()
    common = ("propose", "--role-arn", TARGET, "--minimum-days", "0", "--minimum-runs", "1")
    with PolicyChecks() as judges, PolicyChecks() as more:
        more.operations.update({**_last_accessed().operations(), **_analyzers().operations()})
        own = {"AWS_ENDPOINT_URL_ACCESSANALYZER": judges.endpoint}
        session = {**_as_job(lab, "repo:acme/shop:ref:refs/heads/main"), **own}
        done = leastpriv(
            session, *common, "--policy-file", folder / "deploy.json", "--trails", "event-history",
            "--trails", f"s3://trails/org/AWSLogs/{ACCOUNT}/", "--job-logs", folder / "deploy.log",
        )  # fmt: skip
        own |= {
            "AWS_ENDPOINT_URL_ACCESSANALYZER": more.endpoint,
            "AWS_ENDPOINT_URL_IAM": more.endpoint,
        }
        again = leastpriv(
            {**session, **own}, *common, "--policy-file", f"{folder / 'role.json'}{POLICY}",
            "--trails", lab.records,
            "--last-accessed", "true", "--custom-policy-checks", "true", "--aws-regions",
            "us-east-1",
        )  # fmt: skip
        asked = [*judges.requests, *more.requests]
    lab.flush()
    write_trail(folder / "trail", records_of(asked, READER))
    shutil.copytree(lab.records, folder / "trail" / "lab")
    return Read((done, again), folder / "trail")


def test_only_both_forms_of_github_s_subject_may_assume_the_role(lab: Lab, reading: Read) -> None:
    for subject in (
        "repo:acme/shop:ref:refs/heads/main",
        "repo:acme@12/shop@34:ref:refs/heads/main",
    ):
        assert _as_job(lab, subject)["AWS_SESSION_TOKEN"]
    for subject in (
        "repo:acme/shop:ref:refs/heads/other",
        "repo:acme/shop:pull_request",
        "repo:acme/shop2:ref:refs/heads/main",
        "repo:acme@13/shop@34:ref:refs/heads/main",
        "repo:evil/shop:ref:refs/heads/main",
    ):
        with pytest.raises(ClientError, match="Not authorized"):
            _as_job(lab, subject)


def test_the_product_works_with_the_role_without_a_denial(reading: Read) -> None:
    for run, policies in zip(reading.runs, ("1 policy", "2 policies"), strict=True):
        assert run.returncode == 0, run.stderr
        assert "refused" not in run.stderr
        assert "AWS denied" not in re.sub("calls? that AWS denied", "", run.stdout)
        # The trust policy in the second run's template is checked too.
        assert f"`ValidatePolicy` judged {policies}" in run.stdout
        assert "`SimulateCustomPolicy` judged" in run.stdout
        assert "disagree" not in run.stdout
    # CheckNoNewAccess is for proposals that only narrow; tests/aws_checks covers it.
    for check in ("CheckAccessNotGranted", "CheckNoPublicAccess"):
        assert f"`{check}` answered" in reading.runs[1].stdout
    assert "which AWS charges" in reading.runs[1].stderr


def test_init_grants_exactly_what_the_product_s_calls_need(reading: Read, tmp_path: Path) -> None:
    """The product's proposal for its own reader role has no addition, removal or narrowing."""
    granted = tmp_path / "leastpriv-reader.json"
    granted.write_text(json.dumps(reader_policy(reader_grants(SOURCES), VALUES), indent=2))
    assert [
        each
        for each in changes(granted, reading.records, READER, tmp_path / "out")
        if each[1] not in NOT_ASKED
    ] == []
    actions = {action for grant in reader_grants(SOURCES) for action in grant.actions}
    assert used(reading.records, READER) == actions - NOT_ASKED


def _deploy_seven_times(lab: Lab) -> None:
    managed = lab.client("iam").create_policy(
        PolicyName="more", PolicyDocument=json.dumps(policy(allow("sns:List*")))
    )
    lab.role("deploy", WIDE)
    lab.client("iam").attach_role_policy(RoleName="deploy", PolicyArn=managed["Policy"]["Arn"])
    for run in range(7):
        session = lab.assume(TARGET, f"176500000{run}")
        lab.client("sqs", session).create_queue(QueueName="orders")
        if run == 0:
            create(lab, session, "orders", QUEUE)


def _encoded_denial(lab: Lab) -> str:
    """A deploy's log in which EC2 returns only an encoded message."""
    with pytest.raises(ClientError) as refused:
        lab.client("ec2", lab.assume(TARGET, "1765000007")).create_vpc(CidrBlock="10.0.0.0/16")
    _, mark, encoded = str(refused.value).partition("Encoded authorization failure message: ")
    assert mark
    words = "An error occurred (UnauthorizedOperation) when calling the CreateVpc operation"
    return f"{words}: You are not authorized to perform this operation. {mark}{encoded}\n"


def _make_trail(lab: Lab) -> None:
    """The records so far, in a bucket at CloudTrail's keys."""
    lab.flush()
    lab.client("s3").create_bucket(Bucket="trails")
    for file in lab.records.rglob("*.json.gz"):
        lab.client("s3").upload_file(str(file), "trails", f"org/{file.relative_to(lab.records)}")
    trails = lab.client("cloudtrail")
    trails.create_trail(
        Name="main", S3BucketName="trails", S3KeyPrefix="org", IsMultiRegionTrail=True
    )
    trails.start_logging(Name="main")


def _set_up(lab: Lab) -> None:
    text = render_files(OPTIONS)[CLOUDFORMATION]
    given = {"RepositoryOwnerId": "12", "RepositoryId": "34"}
    lab.client("cloudformation").create_stack(
        StackName="reader",
        TemplateBody=text,
        Capabilities=["CAPABILITY_NAMED_IAM"],
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in given.items()],
    )
    assert settled(lab, "reader") == "CREATE_COMPLETE"


def _as_job(lab: Lab, subject: str) -> Environment:
    """The credentials of a job with a token of this subject."""
    token = ".".join(
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")
        for part in (
            {"alg": "none"},
            {
                "iss": "https://token.actions.githubusercontent.com",
                "aud": "sts.amazonaws.com",
                "sub": subject,
            },
            {},
        )
    )
    answer = lab.client("sts").assume_role_with_web_identity(
        RoleArn=READER, RoleSessionName="1765000099", WebIdentityToken=token
    )
    keys = answer["Credentials"]
    return lab.environment(keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"])


def _template() -> str:
    """The role's policy and its trust policy, as CloudFormation has them."""
    trust = policy({**allow("sts:AssumeRole"), "Principal": {"Service": "lambda.amazonaws.com"}})
    del trust["Statement"][0]["Resource"]
    inline = {"PolicyName": "deploy", "PolicyDocument": WIDE}
    role = {"AssumeRolePolicyDocument": trust, "Policies": [inline]}
    return json.dumps(
        {"Resources": {"Role": {"Type": "AWS::IAM::Role", "Properties": role}}}, indent=2
    )


def _last_accessed() -> LastAccessed:
    """IAM's last accessed information, missing in the lab: a managed policy is attached to another
    role.
    """
    more, other = f"arn:aws:iam::{ACCOUNT}:policy/more", f"arn:aws:iam::{ACCOUNT}:role/other"
    granted = {TARGET: {more: ("sns",), "deploy": ("sqs",)}, other: {more: ("sns",)}}
    attempt = Attempt(other, "sns:ListTopics", datetime.now(UTC) - timedelta(days=1))
    return LastAccessed(lambda: datetime.now(UTC), granted, [attempt], takes=timedelta())


def _analyzers() -> AccessAnalyzer:
    """Analyzers with findings of the role."""
    sure = "token.actions.githubusercontent.com"
    finding = Finding("f1", TARGET, "UnusedPermission", [unused("sqs", "DeleteQueue")])
    seen = Finding("x1", TARGET, "ExternalAccess", [outside("Federated", sure, f"{sure}:sub")])
    analyzers = {"ACCOUNT_UNUSED_ACCESS/unused": [finding], "ACCOUNT/outside": [seen]}
    return AccessAnalyzer(lambda: datetime.now(UTC), analyzers=analyzers, recommending=timedelta())
