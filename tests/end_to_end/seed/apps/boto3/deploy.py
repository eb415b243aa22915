"""Deploys a queue, a table, a bucket, a key and a function with boto3; the key remains when it
takes them down.

usage: deploy.py up|down RELEASE
"""

import json
import os
import sys
import time
from pathlib import Path

import boto3

what, release = sys.argv[1:]
name = f"orders{os.environ.get('FRESH_NAME', '')}"
STATE = Path("state.json")
region = os.environ["AWS_REGION"]
s3, sqs, kms, iam, functions, dynamodb, ssm = (
    boto3.client(each) for each in ("s3", "sqs", "kms", "iam", "lambda", "dynamodb", "ssm")
)
account = boto3.client("sts").get_caller_identity()["Account"]
TRUST = {
    "Effect": "Allow",
    "Principal": {"Service": "lambda.amazonaws.com"},
    "Action": "sts:AssumeRole",
}
TRUST = json.dumps({"Version": "2012-10-17", "Statement": [TRUST]})


def up() -> None:
    state = json.loads(STATE.read_text()) if STATE.exists() else {}
    if state.get("name") != name:
        key = kms.create_key(Description=name, Tags=[{"TagKey": "app", "TagValue": "orders"}])[
            "KeyMetadata"
        ]["KeyId"]
        kms.enable_key_rotation(KeyId=key)
        kms.create_alias(AliasName=f"alias/{name}", TargetKeyId=key)
        STATE.write_text(json.dumps({"name": name, "key": key}))
        s3.create_bucket(Bucket=f"{name}-site")
        s3.put_public_access_block(
            Bucket=f"{name}-site",
            PublicAccessBlockConfiguration={"BlockPublicAcls": True, "IgnorePublicAcls": True},
        )
        s3.put_bucket_versioning(
            Bucket=f"{name}-site", VersioningConfiguration={"Status": "Enabled"}
        )
        sqs.create_queue(QueueName=name)
        dynamodb.create_table(
            TableName=name,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        )
        role = iam.create_role(RoleName=f"{name}-worker", AssumeRolePolicyDocument=TRUST)["Role"][
            "Arn"
        ]
        iam.put_role_policy(
            RoleName=f"{name}-worker",
            PolicyName="queue",
            PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [
                {"Effect": "Allow", "Action": "sqs:ReceiveMessage",
                "Resource": f"arn:aws:sqs:*:{account}:{name}"}
            ]}),
        )  # fmt: skip
        time.sleep(1)
        functions.create_function(
            FunctionName=f"{name}-worker", Runtime="python3.12", Handler="worker.handler",
            Role=role,
            Code={"ZipFile": Path("worker.zip").read_bytes()}, Tags={"app": "orders"},
        )  # fmt: skip
    s3.put_object(Bucket=f"{name}-site", Key="index.html", Body=f"release {release}".encode())
    ssm.put_parameter(Name=f"/{name}/release", Value=release, Type="String", Overwrite=True)
    sqs.set_queue_attributes(
        QueueUrl=sqs.get_queue_url(QueueName=name)["QueueUrl"],
        Attributes={"VisibilityTimeout": f"{30 * int(release)}"},
    )
    functions.update_function_configuration(
        FunctionName=f"{name}-worker", Environment={"Variables": {"RELEASE": release}}
    )


def down() -> None:
    functions.delete_function(FunctionName=f"{name}-worker")
    iam.delete_role_policy(RoleName=f"{name}-worker", PolicyName="queue")
    iam.delete_role(RoleName=f"{name}-worker")
    ssm.delete_parameter(Name=f"/{name}/release")
    dynamodb.delete_table(TableName=name)
    sqs.delete_queue(QueueUrl=sqs.get_queue_url(QueueName=name)["QueueUrl"])
    for each in s3.list_object_versions(Bucket=f"{name}-site").get("Versions", []):
        s3.delete_object(Bucket=f"{name}-site", Key=each["Key"], VersionId=each["VersionId"])
    s3.delete_bucket(Bucket=f"{name}-site")
    kms.delete_alias(AliasName=f"alias/{name}")
    STATE.unlink()


{"up": up, "down": down}[what]()
