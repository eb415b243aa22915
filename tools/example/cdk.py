"""Calls of `cdk deploy` and `cdk destroy` with the role's own credentials
(CliCredentialsStackSynthesizer).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from example.record import (
    ACCOUNT,
    ASSETS,
    REGION,
    Actor,
    Call,
    Json,
    Need,
    credentials,
    digest,
    uuid,
)
from example.stack import CLOUDFORMATION, Stack

LOOKUP_ROLE = f"cdk-hnb659fds-lookup-role-{ACCOUNT}-{REGION}"
BOOTSTRAP_VERSION = "/cdk-bootstrap/hnb659fds/version"
_CHANGE_SET = "cdk-deploy-change-set"
_BUCKET_ARN = f"arn:aws:s3:::{ASSETS}"
_BUCKET: Json = {"accountId": ACCOUNT, "type": "AWS::S3::Bucket", "ARN": _BUCKET_ARN}


def bootstrap_version() -> Call:
    """Read the parameter with the version of `cdk bootstrap`."""
    arn = f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter{BOOTSTRAP_VERSION}"
    listed: tuple[Json, ...] = ({"accountId": ACCOUNT, "ARN": arn},)
    return Call(
        "ssm",
        "GetParameter",
        {"name": BOOTSTRAP_VERSION},
        (("ssm:GetParameter", arn),),
        resources=listed,
    )


def assume_lookup_role(lookup: Actor) -> Call:
    """Assume the bootstrap's lookup role, as `cdk diff` does to read the account; `lookup` is its
    session.
    """
    arn = f"arn:aws:iam::{ACCOUNT}:role/{LOOKUP_ROLE}"
    return Call(
        "sts",
        "AssumeRole",
        {"roleArn": arn, "roleSessionName": "aws-cdk-runner", "durationSeconds": 3600},
        (("sts:AssumeRole", arn),),
        response={
            "credentials": credentials(lookup.identity),
            "assumedRoleUser": {
                "arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/{LOOKUP_ROLE}/aws-cdk-runner"
            },
        },
        resources=({"accountId": ACCOUNT, "type": "AWS::IAM::Role", "ARN": arn},),
    )


def publish(template: str, asset: str, *, new: bool) -> Iterator[Call]:
    """Put the template and the function's code into the bootstrap bucket under their hashes."""
    yield _bucket("GetBucketLocation", "s3:GetBucketLocation", {"location": ""})
    for key, size in ((f"{template}.json", 9_312), (f"{asset}.zip", 48_120)):
        listing: Json = {"list-type": "2", "prefix": key, "max-keys": "1"}
        yield _bucket("ListObjects", "s3:ListBucket", listing, data=True)
        if not new:
            continue
        yield _bucket("GetBucketEncryption", "s3:GetEncryptionConfiguration", {"encryption": ""})
        yield _object(
            "PutObject",
            key,
            "s3:PutObject",
            extra={"bytesTransferredIn": size, "SSEApplied": "SSE_S3"},
        )
    yield _object("HeadObject", f"{asset}.zip", "s3:GetObject")


def check_lifecycle() -> Call:
    """Read, in a step of the workflow, whether the bucket expires old assets; it does not."""
    return _bucket(
        "GetBucketLifecycle",
        "s3:GetLifecycleConfiguration",
        {"lifecycle": ""},
        error="NoSuchLifecycleConfiguration",
        message="The lifecycle configuration does not exist",
    )


def deploy(
    stack: Stack,
    run: str,
    template: str,
    resources: Iterable[Call],
    *,
    exists: bool,
    failed: bool = False,
) -> Iterator[Call]:
    """Create a change set, read it, execute it and follow it to its end."""
    if exists:
        yield _named(stack, "DescribeStacks")
        yield _named(stack, "GetTemplate", {"templateStage": "Original"})
        yield _named(stack, "DeleteChangeSet", {"changeSetName": _CHANGE_SET})
    else:
        yield _named(
            stack,
            "DescribeStacks",
            error="ValidationException",
            message=f"Stack with id {stack.name} does not exist",
        )
    yield _create_change_set(stack, run, template, "UPDATE" if exists else "CREATE")
    yield _object("GetObject", f"{template}.json", "s3:GetObject", via=CLOUDFORMATION)
    yield from (
        _named(stack, "DescribeChangeSet", {"changeSetName": _CHANGE_SET}, wait=5) for _ in range(2)
    )
    yield _named(
        stack,
        "ExecuteChangeSet",
        {"changeSetName": _CHANGE_SET, "clientRequestToken": f"exec{run}"},
    )
    yield from _followed(stack, resources)
    if failed:
        yield _by_id(stack, "DescribeStackResources")
    yield _named(stack, "DescribeStacks")


def destroy(stack: Stack, resources: Iterable[Call]) -> Iterator[Call]:
    """`cdk destroy`: one call, the others are CloudFormation's."""
    yield _named(stack, "DescribeStacks")
    yield _named(stack, "DeleteStack")
    yield from _followed(stack, resources)
    yield _by_id(stack, "DescribeStacks")


def throttled(stack: Stack) -> Call:
    """Get an error that is no denial."""
    return Call(
        "cloudformation",
        "DescribeStackEvents",
        None,
        (("cloudformation:DescribeStackEvents", stack.id),),
        error="ThrottlingException",
        message="Rate exceeded",
    )


def _followed(stack: Stack, resources: Iterable[Call]) -> Iterator[Call]:
    """CloudFormation's calls, with the tool's read of the stack's events after every fourth
    call.
    """
    yield _by_id(stack, "DescribeStackEvents", wait=5)
    for index, call in enumerate(resources, start=1):
        yield call
        if index % 4 == 0:
            yield _by_id(stack, "DescribeStackEvents")
    yield _by_id(stack, "DescribeStackEvents", wait=5)


def _create_change_set(stack: Stack, run: str, template: str, kind: str) -> Call:
    identifier = uuid("change set", run, stack.name)
    change_set = f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:changeSet/{_CHANGE_SET}/{identifier}"
    parameters: Json = {
        "stackName": stack.name,
        "changeSetName": _CHANGE_SET,
        "changeSetType": kind,
        "description": f"CDK Changeset for execution {uuid('execution', run, stack.name)}",
        "templateURL": f"https://s3.{REGION}.amazonaws.com/{ASSETS}/{template}.json",
        "capabilities": ["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"],
        "includeNestedStacks": True,
        "importExistingResources": False,
        "clientToken": f"create{digest('token', run)[:16]}",
    }
    needs = (("cloudformation:CreateChangeSet", stack.any_id),)
    return Call(
        "cloudformation",
        "CreateChangeSet",
        parameters,
        needs,
        {"id": change_set, "stackId": stack.id},
        wait=3,
    )


def _named(
    stack: Stack,
    name: str,
    more: Json | None = None,
    *,
    error: str = "",
    message: str = "",
    wait: int = 1,
) -> Call:
    needs: tuple[Need, ...] = ((f"cloudformation:{name}", stack.any_id),)
    parameters: Json = {"stackName": stack.name, **(more or {})}
    return Call("cloudformation", name, parameters, needs, error=error, message=message, wait=wait)


def _by_id(stack: Stack, name: str, *, wait: int = 1) -> Call:
    return Call(
        "cloudformation",
        name,
        {"stackName": stack.id},
        ((f"cloudformation:{name}", stack.id),),
        wait=wait,
    )


def _bucket(
    name: str, action: str, more: Json, *, data: bool = False, error: str = "", message: str = ""
) -> Call:
    parameters: Json = {"bucketName": ASSETS, "Host": f"{ASSETS}.s3.{REGION}.amazonaws.com", **more}
    needs: tuple[Need, ...] = ((action, _BUCKET_ARN),)
    return Call(
        "s3", name, parameters, needs, resources=(_BUCKET,), data=data, error=error, message=message
    )


def _object(name: str, key: str, action: str, *, extra: Json | None = None, via: str = "") -> Call:
    arn = f"{_BUCKET_ARN}/{key}"
    parameters: Json = {
        "bucketName": ASSETS,
        "Host": f"{ASSETS}.s3.{REGION}.amazonaws.com",
        "key": key,
    }
    listed: tuple[Json, ...] = ({"type": "AWS::S3::Object", "ARN": arn}, _BUCKET)
    return Call(
        "s3",
        name,
        parameters,
        ((action, arn),),
        resources=listed,
        data=True,
        extra=extra or {},
        via=via,
    )
