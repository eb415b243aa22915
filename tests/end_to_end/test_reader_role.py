"""The reader role of `leastpriv init` in the lab, held against what the product itself derives from its own run."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from leastpriv.checks.custom_checks import paid_checks, run_checks
from leastpriv.checks.trust import trust_policies
from leastpriv.evidence.aws import Aws
from leastpriv.evidence.hints.last_accessed import last_accessed
from leastpriv.evidence.hints.waiting import Waiting
from leastpriv.model import ChangeKind
from leastpriv.policy.document import parse
from leastpriv.proposal.situation import Change, Draft
from leastpriv.setup.files import CLOUDFORMATION, files
from leastpriv.setup.grants import DEFAULT_SOURCES, grants_of, policy_of
from leastpriv.setup.target import target_of
from tests.end_to_end.lab.lab import ACCOUNT, Environment, Lab
from tests.end_to_end.test_lab import allow, policy
from tests.end_to_end.test_lab_stacks import create, settled
from tests.evidence.hints.test_read_hints import Account
from tests.fakes.aws.cloudformation_types import CloudFormationTypes
from tests.fakes.aws.iam_last_accessed import Attempt, LastAccessed
from tests.fakes.aws.policy_checks import PolicyChecks
from tests.fakes.aws.server import Asked, FakeAws
from tests.fakes.deploys import record, write_trail

TARGET = f"arn:aws:iam::{ACCOUNT}:role/deploy"
READER = f"arn:aws:iam::{ACCOUNT}:role/leastpriv-reader"
SOURCES = (*DEFAULT_SOURCES, "s3-trail", "job-logs", "custom-policy-checks")
VALUES = {
    "Partition": "aws",
    "Account": ACCOUNT,
    "TargetRoleArn": TARGET,
    "TrailBucket": "trails",
    "TrailPrefix": "org/",
}
WIDE = policy(allow("sqs:*", "s3:*", "cloudformation:*"))
QUEUE = {"Queue": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "jobs"}}}
HANDLERS = {"AWS::SQS::Queue": {"create": ["sqs:CreateQueue", "sqs:TagQueue"], "delete": ["sqs:DeleteQueue"]}}
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Read:
    """A run of the product with the reader role."""

    code: int
    told: str
    page: str
    records: Path
    """Of the lab's calls and of those to the stand-ins."""


@pytest.fixture(scope="module")
def reading(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Read:
    """A role deploys seven times, the product reads and judges with the reader role, and all is recorded."""
    folder = tmp_path_factory.mktemp("reader")
    _deploy_seven_times(lab)
    (folder / "deploy.log").write_text(_encoded_refusal(lab))
    _make_trail(lab)
    _set_up(lab)
    (folder / "deploy.json").write_text(json.dumps(WIDE, indent=2))
    with PolicyChecks() as judges, _types() as types:
        own = {
            "AWS_ENDPOINT_URL_ACCESSANALYZER": judges.endpoint,
            "AWS_ENDPOINT_URL_CLOUDFORMATION": types.endpoint,
        }
        session = {**_as_job(lab, "repo:acme/shop:ref:refs/heads/main"), **own}
        done = _leastpriv(
            session, "propose", "--role-arn", TARGET, "--policy-file", folder / "deploy.json",
            "--trail", "event-history", "--trail", "s3://trails/org", "--job-log", folder / "deploy.log",
            "--minimum-days", "0", "--minimum-runs", "1",
        )  # fmt: skip
        asked = [*judges.requests, *types.requests, *_paid(), *_last_accessed()]
    lab.flush()
    write_trail(folder / "trail", _records(asked))
    (folder / "trail" / "lab").symlink_to(lab.records)
    return Read(done.returncode, done.stderr, done.stdout, folder / "trail")


def test_both_forms_of_githubs_subject_may_take_the_role_and_no_other_may(lab: Lab, reading: Read) -> None:
    for subject in ("repo:acme/shop:ref:refs/heads/main", "repo:acme@12/shop@34:ref:refs/heads/main"):
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


def test_the_product_reads_and_judges_with_it_and_is_refused_nothing(reading: Read) -> None:
    assert reading.code == 0, reading.told
    assert "refused" not in reading.told
    assert "AWS refused" not in reading.page
    assert "`ValidatePolicy` judged 1 policy" in reading.page
    assert "`SimulateCustomPolicy` judged" in reading.page
    assert "disagree" not in reading.page


def test_what_the_products_own_calls_need_is_exactly_what_init_grants(reading: Read, tmp_path: Path) -> None:
    """The product's proposal for its own reader role: nothing to add, nothing to remove, no wildcard to narrow."""
    granted = tmp_path / "leastpriv-reader.json"
    granted.write_text(json.dumps(policy_of(grants_of(SOURCES), VALUES), indent=2))
    done = _leastpriv(
        _no_aws(), "propose", "--role-arn", READER, "--policy-file", granted, "--trail", reading.records,
        "--minimum-days", "0", "--minimum-runs", "0", "--output-dir", tmp_path / "out",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    proposal = json.loads((tmp_path / "out" / "proposal.json").read_text())
    assert [(change["kind"], change["action"]) for change in proposal["changes"]] == []
    assert [each["action"] for each in proposal["refused"]] == []
    assert _used(reading.records) == {action for grant in grants_of(SOURCES) for action in grant.actions}


def test_what_access_analyzer_is_asked_for_needs_is_what_init_grants_for_it(tmp_path: Path) -> None:
    """But for what is asked only where an interruption comes in the way."""
    account = Account()
    with FakeAws({**account.iam.operations(), **account.analyzer.operations()}) as aws:
        account.hints(Aws.open(aws.environment()))
    write_trail(tmp_path, _records(each for each in aws.requests if each.service == "accessanalyzer"))
    granted = {action for grant in grants_of(["access-analyzer"]) for action in grant.actions}
    in_the_way = {"access-analyzer:CancelPolicyGeneration"}
    assert _used(tmp_path) == granted - in_the_way


def _used(trail: Path) -> set[str]:
    """The actions that the reader's records show, as the product derives them."""
    done = _leastpriv(_no_aws(), "permissions", "--role-arn", READER, "--trail", trail)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row for row in rows if "gap" in row] == []
    return {row["action"] for row in rows if row["basis"] in ("observed", "inferred")}


def _deploy_seven_times(lab: Lab) -> None:
    managed = lab.client("iam").create_policy(PolicyName="more", PolicyDocument=json.dumps(policy(allow("sns:List*"))))
    lab.role("deploy", WIDE)
    lab.client("iam").attach_role_policy(RoleName="deploy", PolicyArn=managed["Policy"]["Arn"])
    for run in range(7):
        session = lab.assume(TARGET, f"176500000{run}")
        lab.client("sqs", session).create_queue(QueueName="orders")
        if run == 0:
            create(lab, session, "orders", QUEUE)


def _encoded_refusal(lab: Lab) -> str:
    """What a deploy's log says where EC2 tells nothing but an encoded text."""
    with pytest.raises(ClientError) as refused:
        lab.client("ec2", lab.assume(TARGET, "1765000007")).create_vpc(CidrBlock="10.0.0.0/16")
    _, mark, encoded = str(refused.value).partition("Encoded authorization failure message: ")
    assert mark
    words = "An error occurred (UnauthorizedOperation) when calling the CreateVpc operation"
    return f"{words}: You are not authorized to perform this operation. {mark}{encoded}\n"


def _make_trail(lab: Lab) -> None:
    """What has been recorded so far, in a bucket as CloudTrail puts it there."""
    lab.flush()
    lab.client("s3").create_bucket(Bucket="trails")
    for file in lab.records.rglob("*.json.gz"):
        lab.client("s3").upload_file(str(file), "trails", f"org/{file.relative_to(lab.records)}")
    trails = lab.client("cloudtrail")
    trails.create_trail(Name="main", S3BucketName="trails", S3KeyPrefix="org", IsMultiRegionTrail=True)
    trails.start_logging(Name="main")


def _set_up(lab: Lab) -> None:
    text = files(SOURCES, target_of(role_arn=TARGET, repository="acme/shop"), {})[CLOUDFORMATION]
    given = {"RepositoryOwnerId": "12", "RepositoryId": "34", "TrailBucket": "trails", "TrailPrefix": "org/"}
    lab.client("cloudformation").create_stack(
        StackName="reader",
        TemplateBody=text,
        Capabilities=["CAPABILITY_NAMED_IAM"],
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in given.items()],
    )
    assert settled(lab, "reader") == "CREATE_COMPLETE"


def _as_job(lab: Lab, subject: str) -> Environment:
    """The credentials that a job with a token of this subject gets."""
    token = ".".join(
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")
        for part in (
            {"alg": "none"},
            {"iss": "https://token.actions.githubusercontent.com", "aud": "sts.amazonaws.com", "sub": subject},
            {},
        )
    )
    answer = lab.client("sts").assume_role_with_web_identity(
        RoleArn=READER, RoleSessionName="1765000099", WebIdentityToken=token
    )
    keys = answer["Credentials"]
    return lab.environment(keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"])


def _types() -> CloudFormationTypes:
    return CloudFormationTypes(HANDLERS, {("us-east-1", "orders"): ["AWS::SQS::Queue"]})


def _paid() -> list[Asked]:
    """The custom policy checks, which no run asks for by itself."""
    trust = {"Statement": [{"Effect": "Allow", "Principal": {"Service": "x"}, "Action": "sts:AssumeRole"}]}
    resource = {"Properties": {"AssumeRolePolicyDocument": trust, "Policies": [{"PolicyDocument": WIDE}]}}
    document = parse(
        json.dumps({"Resources": {"Role": resource}}).encode(),
        "t.json",
        "/Resources/Role/Properties/Policies/0/PolicyDocument",
    )
    draft = Draft(document, document, document.to_bytes(), (Change(ChangeKind.REMOVE, "s3:*", ("*",)),), (), ())
    checks, _ = paid_checks(draft, {"t.json": document}, (), trust_policies(document, "t.json"))
    with PolicyChecks() as aws:
        run_checks(Aws.open(aws.environment()), checks, lambda _: None)
    return aws.requests


def _last_accessed() -> list[Asked]:
    """IAM's last accessed information, which the lab does not have."""
    more, other = f"arn:aws:iam::{ACCOUNT}:policy/more", f"arn:aws:iam::{ACCOUNT}:role/other"
    state = LastAccessed(lambda: NOW, {TARGET: {more: ("sns",), "deploy": ("sqs",)}, other: {more: ("sns",)}})
    state.takes = timedelta(0)
    state.attempts.append(Attempt(other, "sns:ListTopics", NOW - timedelta(days=1)))
    with FakeAws(state.operations()) as aws:
        client = Aws.open(aws.environment()).client("iam")
        last_accessed(client, TARGET, Waiting(lambda: NOW, lambda _: None, lambda _: None))
    return aws.requests


def _records(asked: Iterable[Asked]) -> Iterator[dict[str, Any]]:
    """The records that CloudTrail would have of requests to stand-ins."""
    names = {"accessanalyzer": "access-analyzer"}
    now = datetime.now(UTC)
    for number, each in enumerate(asked):
        parameters = {key[0].lower() + key[1:]: value for key, value in each.parameters.items()}
        region = "us-east-1" if each.service == "iam" else each.region
        call = {
            "event": f"{names.get(each.service, each.service)}:{each.operation}",
            "parameters": parameters,
            "region": region,
        }
        yield record(call, now + timedelta(milliseconds=number), "1765000099", READER)


def _no_aws() -> Environment:
    return {"AWS_EC2_METADATA_DISABLED": "true"}


def _leastpriv(environment: Environment, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = Path(sys.executable).with_name("leastpriv")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "INPUT_", "GITHUB_"))}
    return subprocess.run(
        [command, *arguments], env={**kept, **environment}, capture_output=True, text=True, timeout=120, check=False
    )
