"""The lab's records equal those of CloudTrail, compared with real records and by the product's
reader.
"""

from __future__ import annotations

import base64
import gzip
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from leastpriv.aws.arns import Window, parse_principal
from leastpriv.cloudtrail.local_store import TrailFolder
from leastpriv.models import Outcome
from leastpriv.pipeline.sources import read_evidence
from tests.end_to_end.lab.lab import Lab
from tests.end_to_end.test_lab import allow, policy, refusal
from tests.end_to_end.test_lab_stacks import QUEUE, create

Record = dict[str, Any]

SECRET = "correct-horse-battery"  # noqa: S105 - no record may contain it
COMMAND = str(Path(sys.executable).with_name("leastpriv"))
ISSUER = "token.actions.githubusercontent.com"

OF_PUBLISHERS = frozenset({"p_event_time", "p_log_type", "p_parse_time"})
"""Fields that publishers of a record added to it."""

SHOWN_IN_NEWER_RECORDS = frozenset({
    "Host", "DeleteObjects.delete", "DeleteObjects.x-amz-version-id",
    "DeleteObject.x-amz-version-id",
    "PutObject.x-amz-version-id", "CreateSecurityGroup.securityGroupArn",
    "DeleteSecurityGroup.groupId",
    "CreateVpc._return",
})  # fmt: skip
"""Fields that no public record of an event has, most being old, and that AWS documents or shows for
similar events.
"""


@pytest.fixture(scope="module")
def real(shared_folder: Path) -> list[Record]:
    found = []
    for path in sorted((shared_folder / "corpus" / "records").glob("*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            found += [json.loads(line) for line in lines]
    return [
        each for each in found if isinstance(each.get("userIdentity"), dict) and "eventName" in each
    ]


def token(**claims: str) -> str:
    parts = [{"alg": "RS256"}, {"iss": f"https://{ISSUER}", **claims}]
    encoded = [
        base64.urlsafe_b64encode(json.dumps(each).encode()).decode().rstrip("=") for each in parts
    ]
    return ".".join([*encoded, "c2ln"])


def federated(lab: Lab) -> Mapping[str, str]:
    """The session of a workflow that assumed a role by its token."""
    provider = f"arn:aws:iam::{lab.account}:oidc-provider/{ISSUER}"
    trust = policy(
        {
            "Effect": "Allow",
            "Principal": {"Federated": provider},
            "Action": "sts:AssumeRoleWithWebIdentity",
            "Condition": {"StringEquals": {f"{ISSUER}:aud": "sts.amazonaws.com"}},
        }
    )
    role = lab.role("workflow", policy(allow("*")), trust=trust, path="/ci/")
    keys = lab.client("sts").assume_role_with_web_identity(
        RoleArn=role,
        RoleSessionName="run-7",
        WebIdentityToken=token(sub="repo:acme/shop:ref:refs/heads/main", aud="sts.amazonaws.com"),
    )["Credentials"]
    return lab.environment(keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"])


@pytest.fixture(scope="module")
def records(lab: Lab) -> list[Record]:
    """The records of a round of calls by every kind of caller."""
    _, key, secret = lab.user("sam", policy(allow("*")))
    lab.client("sqs", lab.environment(key, secret)).create_queue(QueueName="of-a-user")
    objects = lab.client("s3", federated(lab))
    objects.create_bucket(Bucket="round")
    objects.put_bucket_versioning(Bucket="round", VersioningConfiguration={"Status": "Enabled"})
    objects.put_object(Bucket="round", Key="a b/c", Body=SECRET.encode())
    objects.get_object(Bucket="round", Key="a b/c")
    objects.list_objects_v2(Bucket="round", Prefix="a")
    objects.delete_objects(Bucket="round", Delete={"Objects": [{"Key": "a b/c"}]})
    session = lab.assume(lab.admin_role("maker"), "run-8")
    lab.client("ssm", session).put_parameter(Name="/app/key", Value=SECRET, Type="SecureString")
    lab.client("secretsmanager", session).create_secret(Name="app", SecretString=SECRET)
    keys = lab.client("kms", session)
    made = keys.create_key(Description="of the round")["KeyMetadata"]["KeyId"]
    keys.encrypt(KeyId=made, Plaintext=SECRET.encode())
    keys.create_alias(AliasName="alias/round", TargetKeyId=made)
    keys.delete_alias(AliasName="alias/round")
    networks = lab.client("ec2", session)
    network = networks.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    group = networks.create_security_group(GroupName="g", Description="d", VpcId=network)["GroupId"]
    rule = {
        "IpProtocol": "tcp",
        "FromPort": 443,
        "ToPort": 443,
        "IpRanges": [{"CidrIp": "10.0.0.0/8"}],
    }
    networks.authorize_security_group_ingress(GroupId=group, IpPermissions=[rule])
    networks.delete_security_group(GroupId=group)
    assert create(lab, session, "of-the-round", QUEUE) == "CREATE_COMPLETE"
    nobody = lab.assume(lab.role("nobody", policy(allow("sts:*"))), "run-9")
    refusal(lambda: lab.client("iam", nobody).create_user(UserName="x"))
    refusal(lambda: lab.client("s3", nobody).get_object(Bucket="round", Key="a b/c"))
    return lab.all_records()


def kinds(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Each key of a value by its path, with its type."""
    if isinstance(value, dict):
        for name, each in value.items():
            yield from kinds(each, f"{path}.{name}")
    yield path, type(value).__name__


@pytest.mark.parametrize("kind", ["Root", "IAMUser", "AssumedRole", "AWSService"])
def test_an_identity_has_the_keys_and_types_of_real_ones(
    records: list[Record], real: list[Record], kind: str
) -> None:
    seen = {
        pair
        for each in real
        for pair in kinds(each["userIdentity"])
        if each["userIdentity"].get("type") == kind
    }
    found = [each["userIdentity"] for each in records if each["userIdentity"]["type"] == kind]
    if kind == "AWSService":
        found = [{"type": "AWSService", "invokedBy": "cloudformation.amazonaws.com"}]
    assert found
    federation = {
        ".sessionContext.webIdFederationData.federatedProvider",
        ".sessionContext.webIdFederationData.attributes",
    }
    unseen = {
        pair
        for each in found
        for pair in kinds(each)
        if pair not in seen and pair[0] not in federation
    }
    assert unseen == set()


def test_a_workflow_is_first_a_web_identity_and_then_its_role(
    records: list[Record], lab: Lab
) -> None:
    login = next(each for each in records if each["eventName"] == "AssumeRoleWithWebIdentity")
    provider = f"arn:aws:iam::{lab.account}:oidc-provider/{ISSUER}"
    assert login["userIdentity"] == {
        "type": "WebIdentityUser",
        "principalId": f"{provider}:sts.amazonaws.com:repo:acme/shop:ref:refs/heads/main",
        "userName": "repo:acme/shop:ref:refs/heads/main",
        "identityProvider": provider,
    }
    assert set(login["requestParameters"]) == {"roleArn", "roleSessionName"}
    later = next(each for each in records if each["eventName"] == "CreateBucket")["userIdentity"]
    assert later["accessKeyId"] == login["responseElements"]["credentials"]["accessKeyId"]
    assert later["arn"] == f"arn:aws:sts::{lab.account}:assumed-role/workflow/run-7"
    assert (
        later["sessionContext"]["sessionIssuer"]["arn"]
        == f"arn:aws:iam::{lab.account}:role/ci/workflow"
    )
    assert later["sessionContext"]["webIdFederationData"]["federatedProvider"] == provider


def test_a_record_has_the_fields_and_types_of_real_ones(
    records: list[Record], real: list[Record]
) -> None:
    seen: dict[str, set[str]] = {}
    for each in real:
        for name in set(each) - OF_PUBLISHERS:
            seen.setdefault(name, set()).add(type(each[name]).__name__)
    for each in records:
        for name, value in each.items():
            assert type(value).__name__ in seen.get(name, ()), (name, value)
        assert {"eventVersion", "eventID", "requestID", "readOnly", "managementEvent"} <= set(each)


@pytest.mark.parametrize("part", ["requestParameters", "responseElements"])
def test_an_event_has_the_fields_of_real_events_of_its_name(
    records: list[Record], real: list[Record], part: str
) -> None:
    shown: dict[tuple[str, str], set[str]] = {}
    for each in real:
        if isinstance(each.get(part), dict) and "errorCode" not in each:
            shown.setdefault((each["eventSource"], each["eventName"]), set()).update(each[part])
    compared = 0
    for each in records:
        known = shown.get((each["eventSource"], each["eventName"]))
        by_service = "invokedBy" in each["userIdentity"]
        if known and "errorCode" not in each and not by_service:
            compared += 1
            more = {name for name in each[part] or {} if name not in known | SHOWN_IN_NEWER_RECORDS}
            assert {f"{each['eventName']}.{name}" for name in more} <= SHOWN_IN_NEWER_RECORDS
    assert compared >= 8


def test_read_and_data_flags_are_those_of_real_records(
    records: list[Record], real: list[Record]
) -> None:
    flags: dict[tuple[str, str], set[tuple[object, object]]] = {}
    for each in real:
        if isinstance(each.get("readOnly"), bool) and isinstance(each.get("managementEvent"), bool):
            known = flags.setdefault((each["eventSource"], each["eventName"]), set())
            known.add((each["readOnly"], each["managementEvent"]))
    compared = [each for each in records if (each["eventSource"], each["eventName"]) in flags]
    assert len({each["eventName"] for each in compared}) >= 10
    for each in compared:
        found = (each["readOnly"], each["managementEvent"])
        assert found in flags[each["eventSource"], each["eventName"]], each["eventName"]


def test_the_records_of_an_alias_list_it_and_its_key(records: list[Record], lab: Lab) -> None:
    place = f"arn:aws:kms:us-east-1:{lab.account}"
    for name in ("CreateAlias", "DeleteAlias"):
        (record,) = [record for record in records if record["eventName"] == name]
        alias, key = [resource["ARN"] for resource in record["resources"]]
        assert (alias, key.startswith(f"{place}:key/")) == (f"{place}:alias/round", True)


def test_no_record_holds_a_secret(records: list[Record], lab: Lab) -> None:
    text = json.dumps(records)
    for secret in (
        SECRET,
        base64.b64encode(SECRET.encode()).decode(),
        lab.root["AWS_SECRET_ACCESS_KEY"],
    ):
        assert secret not in text
    parameter = next(each for each in records if each["eventName"] == "PutParameter")
    assert parameter["requestParameters"]["value"] == "HIDDEN_DUE_TO_SECURITY_REASONS"


def test_resources_are_listed_where_real_records_list_them(records: list[Record], lab: Lab) -> None:
    of = {each["eventName"]: each.get("resources") for each in records if "errorCode" not in each}
    bucket = {"accountId": lab.account, "type": "AWS::S3::Bucket", "ARN": "arn:aws:s3:::round"}
    assert of["PutObject"] == [
        {"type": "AWS::S3::Object", "ARN": "arn:aws:s3:::round/a b/c"},
        bucket,
    ]
    assert of["PutBucketVersioning"] == [bucket]
    arn = f"arn:aws:ssm:us-east-1:{lab.account}:parameter/app/key"
    assert of["PutParameter"] == [{"accountId": lab.account, "ARN": arn}]
    assert of["Encrypt"] is not None
    assert of["Encrypt"][0]["type"] == "AWS::KMS::Key"
    assert of["CreateVpc"] is None


def test_deleting_many_objects_is_recorded_for_each_of_them(records: list[Record]) -> None:
    assert [
        each["requestParameters"].get("key")
        for each in records
        if each["eventName"] == "DeleteObject"
    ] == ["a b/c"]


def test_data_events_can_be_left_out(lab: Lab, records: list[Record]) -> None:
    before = len(lab.all_records())
    lab.set(data_events=False)
    try:
        lab.client("s3").put_object(Bucket="round", Key="unseen", Body=b"1")
        lab.client("s3").get_bucket_versioning(Bucket="round")
    finally:
        lab.set(data_events=True)
    assert [each["eventName"] for each in lab.all_records()[before:]] == ["GetBucketVersioning"]


def test_the_product_s_reader_accepts_every_record(lab: Lab, records: list[Record]) -> None:
    lab.flush()
    command = [COMMAND, "permissions", "--all-roles", "--trails", str(lab.records)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    gaps = [line for line in lines if "gap" in line and "may-pass-role" not in str(line)]
    assert gaps == []
    actions = {line.get("action") for line in lines}
    assert {
        "s3:PutObject",
        "kms:CreateKey",
        "sqs:CreateQueue",
        "ec2:CreateVpc",
        "ssm:PutParameter",
    } <= actions


def test_a_denied_call_with_recorded_parameters_shows_its_next_permissions(fresh_lab: Lab) -> None:
    """As in real records of EC2 and RDS; an image has no account in its ARN."""
    own, monitoring = (
        fresh_lab.role("starter", policy(allow("s3:GetObject"))),
        fresh_lab.role("monitoring", None),
    )
    keys = fresh_lab.assume(own, "run-1")
    tags = [{"Key": "team", "Value": "shop"}]
    ec2, rds = fresh_lab.client("ec2", keys), fresh_lab.client("rds", keys)
    instances = {
        "ImageId": "ami-0a1b2c3d",
        "InstanceType": "t3.micro",
        "MinCount": 1,
        "MaxCount": 1,
    }
    specified = [{"ResourceType": "instance", "Tags": tags}]
    refusal(lambda: ec2.run_instances(**instances, TagSpecifications=specified))
    database = {
        "DBInstanceIdentifier": "orders",
        "DBInstanceClass": "db.t3.micro",
        "Engine": "mysql",
        "Tags": tags,
    }
    refusal(
        lambda: rds.create_db_instance(
            **database, MonitoringRoleArn=monitoring, MonitoringInterval=60
        )
    )
    fresh_lab.flush()
    role = parse_principal(own)
    found = read_evidence([TrailFolder(fresh_lab.records)], Window(), role)[role.arn].usages
    arn = f"us-east-1:{fresh_lab.account}"
    assert {(each.need.permission.action, each.need.permission.resource) for each in found} == {
        ("ec2:RunInstances", "arn:aws:ec2:us-east-1::image/ami-0a1b2c3d"),
        ("ec2:CreateTags", f"arn:aws:ec2:{arn}:instance/*"),
        ("rds:CreateDBInstance", f"arn:aws:rds:{arn}:db:orders"),
        ("rds:AddTagsToResource", f"arn:aws:rds:{arn}:db:orders"),
        ("iam:PassRole", monitoring),
    }
    assert {each.outcome for each in found} == {Outcome.DENIED}
