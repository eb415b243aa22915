"""CloudFormation's calls, with the caller's permissions, for each resource of the app.

Modelled on the handlers of AWS::SQS::Queue, AWS::IAM::Role, AWS::IAM::Policy, AWS::Logs::LogGroup
and AWS::CloudWatch::Alarm. The reads of SQS are no management events, and the trail of this account
logs only data events of S3: the deploy needs `sqs:GetQueueAttributes`, and no record shows it
(https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/logging-using-cloudtrail.html).
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from example import function
from example.record import ACCOUNT, REGION, Call, Json, digest, role_id
from example.stack import APP_TAGS, CLOUDFORMATION, Stack, by_cloudformation, queue_arn

LAMBDA_EXECUTION = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"


def create_all(stack: Stack, asset: str) -> Iterator[Call]:
    """Create a stack: log group, role, queue, function, and their connections."""
    yield from create_log_group(stack)
    yield from create_role(stack)
    yield from create_queue(stack.queue())
    yield put_role_policy(stack)
    yield from function.create_function(stack, asset)
    yield from function.connect(stack)


def create_log_group(stack: Stack) -> Iterator[Call]:
    """Create AWS::Logs::LogGroup, kept for a month."""
    name: Json = {"logGroupName": stack.log_group}
    yield by_cloudformation(
        "logs", "CreateLogGroup", name, ("logs:CreateLogGroup", _log_group_arn(stack))
    )
    yield put_retention(stack, 30)
    yield by_cloudformation(
        "logs",
        "DescribeLogGroups",
        {"logGroupNamePrefix": stack.log_group},
        ("logs:DescribeLogGroups", "*"),
    )


def put_retention(stack: Stack, days: int) -> Call:
    """Set the retention of the function's log."""
    parameters: Json = {"logGroupName": stack.log_group, "retentionInDays": days}
    return by_cloudformation(
        "logs", "PutRetentionPolicy", parameters, ("logs:PutRetentionPolicy", _log_group_arn(stack))
    )


def create_role(stack: Stack) -> Iterator[Call]:
    """Create AWS::IAM::Role: searched first, tagged on creation."""
    get = ("iam:GetRole", stack.role_arn)
    name: Json = {"roleName": stack.role}
    missing = f"The role with name {stack.role} cannot be found."
    yield by_cloudformation(
        "iam", "GetRole", name, get, error="NoSuchEntityException", message=missing
    )
    trust = _policy("sts:AssumeRole", principal={"Service": "lambda.amazonaws.com"})
    tags = [{"key": key, "value": value} for key, value in APP_TAGS.items()]
    request = {**name, "assumeRolePolicyDocument": trust, "tags": tags}
    role = {"path": "/", **name, "roleId": role_id(stack.role), "arn": stack.role_arn, "tags": tags}
    yield by_cloudformation(
        "iam",
        "CreateRole",
        request,
        ("iam:CreateRole", stack.role_arn),
        ("iam:TagRole", stack.role_arn),
        response={"role": role},
    )
    yield by_cloudformation(
        "iam",
        "AttachRolePolicy",
        {**name, "policyArn": LAMBDA_EXECUTION},
        ("iam:AttachRolePolicy", stack.role_arn),
    )
    yield by_cloudformation("iam", "GetRole", name, get, wait=8)


def put_role_policy(stack: Stack, *actions: str) -> Call:
    """Write AWS::IAM::Policy of the function's role."""
    allowed = _policy(
        *("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes", *actions),
        resource=queue_arn(stack.queue()),
    )
    name = stack.physical("HandlerServiceRoleDefaultPolicyCBD0CC91")
    parameters: Json = {"roleName": stack.role, "policyName": name, "policyDocument": allowed}
    return by_cloudformation(
        "iam", "PutRolePolicy", parameters, ("iam:PutRolePolicy", stack.role_arn)
    )


def create_queue(queue: str) -> Iterator[Call]:
    """Create AWS::SQS::Queue, tagged on creation; its attributes are read back."""
    arn = queue_arn(queue)
    parameters: Json = {
        "queueName": queue,
        "attributes": {"VisibilityTimeout": "30"},
        "tags": APP_TAGS,
    }
    needs = (("sqs:CreateQueue", arn), ("sqs:TagQueue", arn))
    yield by_cloudformation(
        "sqs", "CreateQueue", parameters, *needs, response={"queueUrl": _queue_url(queue)}
    )
    yield _queue_read(queue)


def set_queue(queue: str, attributes: Json) -> Iterator[Call]:
    """Change attributes of a queue."""
    parameters: Json = {"queueUrl": _queue_url(queue), "attributes": attributes}
    yield by_cloudformation(
        "sqs", "SetQueueAttributes", parameters, ("sqs:SetQueueAttributes", queue_arn(queue))
    )
    yield _queue_read(queue)


def tag_queue(queue: str, tags: Json) -> Call:
    """Change tags of a queue."""
    parameters: Json = {"queueUrl": _queue_url(queue), "tags": tags}
    return by_cloudformation("sqs", "TagQueue", parameters, ("sqs:TagQueue", queue_arn(queue)))


def delete_queue(queue: str) -> Call:
    """Delete a queue."""
    return by_cloudformation(
        "sqs", "DeleteQueue", {"queueUrl": _queue_url(queue)}, ("sqs:DeleteQueue", queue_arn(queue))
    )


def tag_role(stack: Stack, tags: dict[str, str]) -> Call:
    """Change tags of the role."""
    parameters: Json = {
        "roleName": stack.role,
        "tags": [{"key": key, "value": value} for key, value in tags.items()],
    }
    return by_cloudformation("iam", "TagRole", parameters, ("iam:TagRole", stack.role_arn))


def refused_alarm(session: str, alarm: str) -> Call:
    """Fail to create AWS::CloudWatch::Alarm; the record of a denial has no request parameters."""
    arn = f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:{alarm}"
    action = "cloudwatch:PutMetricAlarm"
    message = (
        f"User: {session} is not authorized to perform: {action} on resource: {arn} "
        f"because no identity-based policy allows the {action} action"
    )
    return Call(
        "monitoring",
        "PutMetricAlarm",
        None,
        error="AccessDenied",
        message=message,
        via=CLOUDFORMATION,
    )


def refused_vpc(session: str) -> Call:
    """Fail to create AWS::EC2::VPC, which a service control policy of the organization forbids."""
    message = (
        f"You are not authorized to perform this operation. User: {session} is not authorized to"
        f" perform: ec2:CreateVpc on resource: arn:aws:ec2:{REGION}:{ACCOUNT}:vpc/* with an"
        " explicit deny in a service control policy:"
        " arn:aws:organizations::999988887777:policy/o-exampleorg/service_control_policy/"
        "p-examplescp."
        f" Encoded authorization failure message: {digest('encoded', session)}"
    )
    return Call(
        "ec2",
        "CreateVpc",
        {
            "cidrBlock": "10.42.0.0/16",
            "instanceTenancy": "default",
            "amazonProvidedIpv6CidrBlock": False,
        },
        error="Client.UnauthorizedOperation",
        message=message,
        via=CLOUDFORMATION,
    )


def delete_all(stack: Stack) -> Iterator[Call]:
    """Delete a stack's resources in the order of their dependencies."""
    yield from function.delete_function(stack)
    yield from _delete_role(stack)
    yield delete_queue(stack.queue())
    yield by_cloudformation(
        "logs",
        "DeleteLogGroup",
        {"logGroupName": stack.log_group},
        ("logs:DeleteLogGroup", _log_group_arn(stack)),
    )


def _delete_role(stack: Stack) -> Iterator[Call]:
    name: Json = {"roleName": stack.role}
    policy = stack.physical("HandlerServiceRoleDefaultPolicyCBD0CC91")
    for event, parameters in (
        ("DeleteRolePolicy", {**name, "policyName": policy}),
        ("DetachRolePolicy", {**name, "policyArn": LAMBDA_EXECUTION}),
        ("DeleteRole", name),
    ):
        yield by_cloudformation("iam", event, parameters, (f"iam:{event}", stack.role_arn))


def _queue_read(queue: str) -> Call:
    return Call(
        "sqs",
        "GetQueueAttributes",
        {"queueUrl": _queue_url(queue)},
        (("sqs:GetQueueAttributes", queue_arn(queue)),),
        via=CLOUDFORMATION,
        logged=False,
    )


def _policy(*actions: str, principal: Json | None = None, resource: str = "") -> str:
    statement: Json = {
        "Action": actions[0] if len(actions) == 1 else list(actions),
        "Effect": "Allow",
    }
    statement |= {"Principal": principal} if principal else {"Resource": resource}
    return json.dumps({"Statement": [statement], "Version": "2012-10-17"}, separators=(",", ":"))


def _log_group_arn(stack: Stack) -> str:
    return f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{stack.log_group}:*"


def _queue_url(queue: str) -> str:
    return f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{queue}"
