"""Calls of all other principals of the account, which are in the same files and must not count for
the deploy role.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from example.record import (
    ACCOUNT,
    GLOBAL_REGION,
    REGION,
    Actor,
    Call,
    Json,
    credentials,
    number,
    role_session,
)
from example.runs import ORDERS, RUNS, Event
from example.stack import Stack

_FIRST_DAY = datetime(2026, 10, 5, tzinfo=UTC)
_DAYS = 35
_TERRAFORM = (
    "APN/1.0 HashiCorp/1.0 Terraform/1.13.3 (+https://www.terraform.io)"
    " terraform-provider-aws/6.15.0"
)
_CLI = (
    "aws-cli/2.31.3 md/awscrt#0.27.6 ua/2.1 os/linux#6.8.0-1040-aws md/arch#x86_64"
    " lang/python#3.13.7"
)
_BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0"


def events() -> Iterator[Event]:
    """List the calls of other roles, a user, a person in the console and AWS services."""
    for index in range(_DAYS):
        day = _FIRST_DAY + timedelta(days=index)
        yield from _timed(day, 6, _service("cloudtrail.amazonaws.com"), _deliveries())
        if day.weekday() == 0:
            yield from _timed(
                day, 8, _user(), [Call("s3", "ListBuckets", {"Host": f"s3.{REGION}.amazonaws.com"})]
            )
            yield from _timed(day, 9, _person(day), _console(day))
        if day.weekday() in {1, 3}:
            yield from _timed(day, 10, _session(day, "billing-deploy", _TERRAFORM), _billing(day))
        if day.weekday() == 4:
            yield from _timed(day, 11, _session(day, "orders-deploy-docs", _CLI), _documents(day))
    yield from _application()


def _timed(
    day: datetime, hour: int, actor: Actor, calls: Iterator[Call] | list[Call]
) -> Iterator[Event]:
    now = day + timedelta(hours=hour, seconds=number("minute", day, hour) % 1800)
    for index, call in enumerate(calls):
        now += timedelta(seconds=call.wait)
        yield Event(now, actor, call, f"others/{now:%Y-%m-%d}/{hour}/{index}/{call.name}")


def _service(name: str) -> Actor:
    return Actor({"type": "AWSService", "invokedBy": name}, name, name)


def _session(day: datetime, role: str, agent: str) -> Actor:
    session = str(17_600_000_000 + number("session", role, day) % 400_000_000)
    return Actor(role_session(role, session, day, path="/ci/", oidc=True), "198.51.100.24", agent)


def _user() -> Actor:
    identity: Json = {
        "type": "IAMUser",
        "principalId": "AIDAEXAMPLELEGACYBKUP",
        "arn": f"arn:aws:iam::{ACCOUNT}:user/legacy-backup",
        "accountId": ACCOUNT,
        "accessKeyId": "AKIAEXAMPLELEGACYKEY",
        "userName": "legacy-backup",
    }
    return Actor(identity, "192.0.2.77", _CLI)


def _person(day: datetime) -> Actor:
    path = f"/aws-reserved/sso.amazonaws.com/{REGION}/"
    identity = role_session(
        "AWSReservedSSO_Operator_0a1b2c3d4e5f6071", "kim@example.com", day, path=path
    )
    return Actor(identity, "192.0.2.140", _BROWSER, console=True)


def _deliveries() -> Iterator[Call]:
    yield Call(
        "s3",
        "GetBucketAcl",
        {"bucketName": "acme-cloudtrail", "acl": "", "Host": "acme-cloudtrail.s3.amazonaws.com"},
    )


def _console(day: datetime) -> Iterator[Call]:
    yield Call(
        "signin", "ConsoleLogin", None, response={"ConsoleLogin": "Success"}, region=GLOBAL_REGION
    )
    yield Call("lambda", "ListFunctions20150331", {"maxItems": 50})
    yield Call("monitoring", "DescribeAlarms", {"maxRecords": 100})
    if day > RUNS[7].start:
        yield Call(
            "monitoring",
            "PutMetricAlarm",
            {"alarmName": "orders-errors", "namespace": "AWS/Lambda"},
        )
    yield Call("dynamodb", "ListTables", {"limit": 100})


def _billing(day: datetime) -> Iterator[Call]:
    """Another team's Terraform: it uses the services that the deploy role is allowed and never
    touches.
    """
    state: Json = {"bucketName": "acme-terraform-state", "key": "billing/terraform.tfstate"}
    listed: tuple[Json, ...] = (
        {
            "type": "AWS::S3::Object",
            "ARN": "arn:aws:s3:::acme-terraform-state/billing/terraform.tfstate",
        },
        {
            "accountId": ACCOUNT,
            "type": "AWS::S3::Bucket",
            "ARN": "arn:aws:s3:::acme-terraform-state",
        },
    )
    topic = f"arn:aws:sns:{REGION}:{ACCOUNT}:billing-events"
    yield Call("sts", "GetCallerIdentity", None)
    yield Call("s3", "GetObject", state, data=True, resources=listed)
    yield Call("dynamodb", "DescribeTable", {"tableName": "billing"})
    yield Call("sns", "GetTopicAttributes", {"topicArn": topic})
    yield Call("iam", "GetRole", {"roleName": "billing-task"})
    if number("billing", day) % 3 == 0:
        yield Call("sns", "CreateTopic", {"name": "billing-events"}, response={"topicArn": topic})
        yield Call(
            "dynamodb", "UpdateTable", {"tableName": "billing", "billingMode": "PAY_PER_REQUEST"}
        )
    yield Call("s3", "PutObject", state, data=True, resources=listed)


def _documents(day: datetime) -> Iterator[Call]:
    """Use a role whose name begins with the deploy role's name."""
    for page in ("index.html", "api/orders.html", "changes.html"):
        arn = f"arn:aws:s3:::acme-orders-docs/{page}"
        yield Call(
            "s3",
            "PutObject",
            {"bucketName": "acme-orders-docs", "key": page},
            data=True,
            resources=({"type": "AWS::S3::Object", "ARN": arn},),
        )
    yield Call(
        "cloudfront",
        "CreateInvalidation",
        {"distributionId": "E1EXAMPLEDOCS"},
        region=GLOBAL_REGION,
    )
    if number("documents", day) % 2:
        error = "The specified distribution does not exist."
        yield Call(
            "cloudfront",
            "GetDistribution2020_05_31",
            None,
            error="NoSuchDistribution",
            message=error,
            region=GLOBAL_REGION,
        )


def _application() -> Iterator[Event]:
    """Run the deployed function: a service assumes its role, and the role writes logs."""
    for run in RUNS[1::2]:
        start = run.start + timedelta(minutes=40)
        identity = role_session(ORDERS.role, ORDERS.function, start)
        yield Event(
            start,
            _service("lambda.amazonaws.com"),
            _assume(ORDERS, identity),
            f"application/{run.id}/assume",
        )
        stream: Json = {
            "logGroupName": ORDERS.log_group,
            "logStreamName": f"{start:%Y/%m/%d}/[$LATEST]{run.asset[:32]}",
        }
        runtime = Actor(
            identity, "203.0.113.251", "awslambda-worker/1.0 rusoto/0.48.0 rust/1.90.0 linux"
        )
        yield Event(
            start + timedelta(seconds=2),
            runtime,
            Call("logs", "CreateLogStream", stream),
            f"application/{run.id}/stream",
        )


def _assume(stack: Stack, identity: Json) -> Call:
    return Call(
        "sts",
        "AssumeRole",
        {"roleArn": stack.role_arn, "roleSessionName": stack.function},
        response={
            "credentials": credentials(identity),
            "assumedRoleUser": {
                "arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/{stack.role}/{stack.function}"
            },
        },
        resources=({"accountId": ACCOUNT, "type": "AWS::IAM::Role", "ARN": stack.role_arn},),
    )
