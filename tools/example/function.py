"""CloudFormation's calls for AWS::Lambda::Function, ::Permission and ::EventSourceMapping."""

from __future__ import annotations

from collections.abc import Iterator

from example.record import ACCOUNT, ASSETS, REGION, Call, Json, Need, uuid
from example.stack import APP_TAGS, Stack, by_cloudformation, queue_arn

LAMBDA = "20150331"
"""API date that CloudTrail appends to most Lambda event names."""


def code(asset: str) -> Json:
    """Location of an asset's code for Lambda."""
    return {"s3Bucket": ASSETS, "s3Key": f"{asset}.zip"}


def create_function(stack: Stack, asset: str) -> Iterator[Call]:
    """Create AWS::Lambda::Function: searched first, created with its role and tags, awaited."""
    yield _missing_function(stack)
    parameters: Json = {
        "functionName": stack.function,
        "runtime": "nodejs22.x",
        "role": stack.role_arn,
        "handler": "index.handler",
        "code": code(asset),
        "timeout": 10,
        "memorySize": 256,
        "publish": False,
        "packageType": "Zip",
        "architectures": ["arm64"],
        "loggingConfig": {"logGroup": stack.log_group},
        "environment": {},
        "tags": APP_TAGS,
    }
    needs = (
        ("lambda:CreateFunction", stack.function_arn),
        ("lambda:TagResource", stack.function_arn),
        ("iam:PassRole", stack.role_arn),
    )
    created: Json = {
        "functionName": stack.function,
        "functionArn": stack.function_arn,
        "role": stack.role_arn,
    }
    yield by_cloudformation(
        "lambda", f"CreateFunction{LAMBDA}", parameters, *needs, response=created, wait=9
    )
    yield from _await_function(stack, 2)


def connect(stack: Stack) -> Iterator[Call]:
    """Let the queue feed the function and the shop's account call it."""
    permission: Json = {
        "functionName": stack.function,
        "statementId": stack.physical("HandlerInvokeShop7C2D"),
        "action": "lambda:InvokeFunction",
        "principal": "444455556666",
    }
    yield by_cloudformation(
        "lambda",
        f"AddPermission{LAMBDA}v2",
        permission,
        ("lambda:AddPermission", stack.function_arn),
    )
    mapping: Json = {
        "eventSourceArn": queue_arn(stack.queue()),
        "functionName": stack.function,
        "batchSize": 10,
    }
    yield by_cloudformation(
        "lambda",
        f"CreateEventSourceMapping{LAMBDA}",
        mapping,
        ("lambda:CreateEventSourceMapping", "*"),
        response={
            "uUID": uuid("mapping", stack.name),
            "functionArn": stack.function_arn,
            "state": "Creating",
        },
    )
    yield _mapping_call(stack, "GetEventSourceMapping", wait=6)


def update_code(stack: Stack, asset: str) -> Iterator[Call]:
    """Give the function new code."""
    parameters: Json = {
        "functionName": stack.function,
        **code(asset),
        "publish": False,
        "dryRun": False,
    }
    yield _function_call(stack, "UpdateFunctionCode", parameters)
    yield from _await_function(stack, 2)


def update_configuration(stack: Stack, memory: int) -> Iterator[Call]:
    """Give the function a new configuration; CloudFormation passes the role again."""
    parameters: Json = {
        "functionName": stack.function,
        "role": stack.role_arn,
        "handler": "index.handler",
        "timeout": 10,
        "memorySize": memory,
        "runtime": "nodejs22.x",
        "environment": {},
    }
    yield _function_call(
        stack, "UpdateFunctionConfiguration", parameters, ("iam:PassRole", stack.role_arn)
    )
    yield from _await_function(stack, 1)


def tag_function(stack: Stack, tags: Json) -> Call:
    """Change tags of the function; TagResource has another API date."""
    parameters: Json = {"resource": stack.function_arn, "tags": tags}
    return by_cloudformation(
        "lambda", "TagResource20170331v2", parameters, ("lambda:TagResource", stack.function_arn)
    )


def delete_function(stack: Stack) -> Iterator[Call]:
    """Delete the function with its permission and event source mapping."""
    yield _mapping_call(stack, "DeleteEventSourceMapping")
    parameters: Json = {
        "functionName": stack.function,
        "statementId": stack.physical("HandlerInvokeShop7C2D"),
    }
    yield _function_call(stack, "RemovePermission", parameters)
    yield by_cloudformation(
        "lambda",
        f"DeleteFunction{LAMBDA}",
        {"functionName": stack.function},
        ("lambda:DeleteFunction", stack.function_arn),
        wait=5,
    )
    yield _missing_function(stack)


def _function_call(stack: Stack, operation: str, parameters: Json, *more: Need) -> Call:
    return by_cloudformation(
        "lambda",
        f"{operation}{LAMBDA}v2",
        parameters,
        (f"lambda:{operation}", stack.function_arn),
        *more,
    )


def _await_function(stack: Stack, times: int) -> Iterator[Call]:
    for _ in range(times):
        yield _function_call(stack, "GetFunction", {"functionName": stack.function})


def _missing_function(stack: Stack) -> Call:
    return by_cloudformation(
        "lambda",
        f"GetFunction{LAMBDA}v2",
        {"functionName": stack.function},
        ("lambda:GetFunction", stack.function_arn),
        error="ResourceNotFoundException",
        message=f"Function not found: {stack.function_arn}",
    )


def _mapping_call(stack: Stack, operation: str, wait: int = 2) -> Call:
    identifier = uuid("mapping", stack.name)
    arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:event-source-mapping:{identifier}"
    return by_cloudformation(
        "lambda",
        f"{operation}{LAMBDA}",
        {"uUID": identifier},
        (f"lambda:{operation}", arn),
        wait=wait,
    )
