"""Checks and records the calls of a stack as its caller's or its role's.

It wraps ministack's three functions that create, change and delete a resource, so that a denial
fails the stack and rolls it back like any failure.
"""

from __future__ import annotations

import contextvars
import uuid
from collections.abc import Callable
from typing import Any

from ministack import app
from ministack.core.responses import get_account_id
from ministack.services import ssm
from ministack.services.cloudformation import provisioners, stacks

from tests.end_to_end.lab import drawn_names, pass_role
from tests.end_to_end.lab.actors import Actor, Recorder, actor
from tests.end_to_end.lab.exchange import CURRENT, Refusal
from tests.end_to_end.lab.handlers import HandlerCall, StackResource, calls_of, is_replaced
from tests.end_to_end.lab.serve import Options
from tests.end_to_end.lab.stack_operations import Stacks, operations
from tests.end_to_end.lab.trail import Trail

_CHECKED: contextvars.ContextVar[bool] = contextvars.ContextVar("lab_checked", default=False)
"""Whether the present operation has been checked already: an update may end in ministack's own
create.
"""

_PASSED_TO = {
    "ECS": "ecs-tasks",
    "StepFunctions": "states",
    "IAM": "ec2",
    "AutoScaling": "autoscaling",
}
_LABELS = {"iam": "Iam", "dynamodb": "DynamoDb", "logs": "CloudWatchLogs", "states": "Sfn", "sqs": "Sqs",
           "sns": "Sns", "secretsmanager": "SecretsManager", "ecs": "Ecs", "ecr": "Ecr",
           "kms": "Kms",
           "ssm": "Ssm", "ec2": "Ec2", "events": "EventBridge"}  # fmt: skip
_NO_ROLES = (
    "Custom::",
    "AWS::IAM::",
    "AWS::KMS::",
    "AWS::CloudFormation::",
    "AWS::S3::BucketPolicy",
)


def install(trail: Trail, options: Options) -> None:
    """Wrap ministack's functions."""
    kept = Stacks(Recorder(trail), options)
    drawn_names.install()
    create, update, delete = (
        provisioners._provision_resource,
        provisioners._update_resource,
        provisioners._delete_resource,
    )

    def checked_create(kind: str, logical_id: str, properties: dict[str, Any], stack: str) -> Any:
        if not provisioners._NAME_SEED.get():
            # A bucket's name has a random part; chosen here, the check knows it too.
            drawn = kind == "AWS::S3::Bucket" and not properties.get("BucketName")
            provisioners._NAME_SEED.set(uuid.uuid4().hex[:8] if drawn else "")
        made = _resource(kind, logical_id, stack, properties, {}, "")
        return _checked(kept, "create", made, lambda: create(kind, logical_id, properties, stack))

    def checked_update(
        kind: str,
        physical_id: str,
        old: dict[str, Any],
        new: dict[str, Any],
        stack: str,
        *more: Any,
        **named: Any,
    ) -> Any:
        def act() -> Any:
            return update(kind, physical_id, old, new, stack, *more, **named)

        if old == new or provisioners._replacing_change(kind, old, new):
            return (
                act()
            )  # nothing to do, or a create (and later a delete), which is checked as such
        logical_id = str(more[0] if more else named.get("logical_id") or physical_id)
        if is_replaced(kind, old, new):
            return _checked(kept, "create", _resource(kind, logical_id, stack, new, {}, ""), act)
        return _checked(
            kept, "update", _resource(kind, logical_id, stack, new, old, physical_id), act
        )

    def checked_delete(
        kind: str, physical_id: str, properties: dict[str, Any], *more: Any, **named: Any
    ) -> Any:
        stack = str(more[0] if more else named.get("stack_name") or "")
        gone = _resource(kind, physical_id, stack, properties or {}, {}, physical_id)
        return _checked(
            kept, "delete", gone, lambda: delete(kind, physical_id, properties, *more, **named)
        )

    for module in (provisioners, stacks):
        module._provision_resource = checked_create
        module._update_resource = checked_update
        module._delete_resource = checked_delete
    ssm.resolve_parameter_value = _checked_parameter(kept, ssm.resolve_parameter_value)
    app.SERVICE_HANDLERS["cloudformation"] = operations(
        kept, app.SERVICE_HANDLERS["cloudformation"]
    )


def _resource(
    kind: str,
    logical_id: str,
    stack: str,
    properties: dict[str, Any],
    old: dict[str, Any],
    physical_id: str,
) -> StackResource:
    exchange = CURRENT.get()
    region = exchange.region if exchange is not None else "us-east-1"
    return StackResource(
        kind, logical_id, stack, properties, old, str(physical_id), region, get_account_id()
    )


def _checked(kept: Stacks, operation: str, resource: StackResource, act: Callable[[], Any]) -> Any:
    """Make the calls of a handler, one by one, until one is denied."""
    by = actor()
    if by is None or _CHECKED.get():
        return act()
    calls = calls_of(operation, resource)
    done: list[HandlerCall] = []
    for call in calls:
        passed = (
            _stack_pass_role_denial(by, resource)
            if operation != "delete" and call == _main(calls)
            else None
        )
        refusal = by.refusal(call.action, call.resource) if passed is None else passed
        if refusal is not None:
            for each in done:
                _note_done(kept, by, each, resource.physical_id)
            kept.note(by, call.action, {}, refusal)
            raise RuntimeError(_handler_message(call.action, refusal))
        done.append(call)
    token = _CHECKED.set(True)
    try:
        result = act()
    except Exception:
        for call in done:  # CloudTrail has failed calls too
            _note_done(kept, by, call, resource.physical_id)
        raise
    finally:
        _CHECKED.reset(token)
    made = result[0] if isinstance(result, tuple) and result else resource.physical_id
    for call in done:
        _note_done(kept, by, call, str(made))
    return result


def _note_done(kept: Stacks, by: Actor, call: HandlerCall, physical_id: str) -> None:
    request, response = _shown(call.request, physical_id), _shown(call.response, physical_id)
    kept.note(by, call.action, request, None, response or None)


def _main(calls: list[HandlerCall]) -> HandlerCall | None:
    """The call that passes roles: the first that writes."""
    verbs = ("Create", "Put", "Update", "Register", "Add", "POST", "PATCH", "Modify")
    return next((call for call in calls if call.action.partition(":")[2].startswith(verbs)), None)


def _stack_pass_role_denial(by: Actor, resource: StackResource) -> Refusal | None:
    service = resource.kind.split("::")[1] if "::" in resource.kind else ""
    if resource.kind == "AWS::IAM::InstanceProfile":
        names = [str(each) for each in resource.properties.get("Roles", [])]
        roles = [pass_role._arn_of(name, resource.account) for name in names]
    elif resource.kind.startswith(_NO_ROLES):
        return None
    else:
        roles = pass_role.roles_within(dict(resource.properties))
    principal = f"{_PASSED_TO.get(service, service.lower())}.amazonaws.com"
    for role in roles:
        found = by.refusal("iam:PassRole", role, {"iam:PassedToService": principal})
        if found is not None:
            return found
    return None


def _shown(pairs: tuple[tuple[str, str], ...], physical_id: str) -> dict[str, Any]:
    """The parameters of a record; a dot in a name is a list of EC2's, or a part of a structure."""
    shown: dict[str, Any] = {}
    for name, value in pairs:
        given: Any = physical_id if value == "@" else value
        if (
            value.startswith("arn:")
            and value.endswith(":*")
            and physical_id
            and not physical_id.startswith("arn:")
        ):
            given = f"{value[:-1]}{physical_id}"  # the ARN of what the handler has just created
        outer, _, inner = name.partition(".")
        if inner:
            whole = shown.setdefault(outer, {})
            whole |= {"items": [{inner: given}]} if outer.endswith("Set") else {inner: given}
            shown[outer] = [whole] if outer == "targets" else whole
        else:
            shown[name] = [given] if name in ("names", "clusters", "alarmNames") else given
    return shown


def _handler_message(action: str, refusal: Refusal) -> str:
    """As in the events of a stack: real messages of 2024 to 2026."""
    prefix = action.partition(":")[0]
    status = (
        400
        if prefix in ("ssm", "logs", "dynamodb", "kms", "states", "ecs", "secretsmanager")
        else 403
    )
    label = _LABELS.get(prefix, prefix.title())
    told = (
        f"{refusal.message} (Service: {label}, Status Code: {status}, Request ID: {uuid.uuid4()})"
    )
    return (
        f'Resource handler returned message: "{told}" (RequestToken: {uuid.uuid4()},'
        " HandlerErrorCode: AccessDenied)"
    )


def _checked_parameter(kept: Stacks, resolve: Callable[..., Any]) -> Callable[..., Any]:
    """Template parameters of a type `AWS::SSM::Parameter::Value` are read with the caller's
    permissions.
    """

    def checked(name: str, *more: Any, **named: Any) -> Any:
        by = actor()
        if by is None or by.exchange.service != "cloudformation":
            return resolve(name, *more, **named)
        by = Actor(by.exchange, "")
        slash = "" if name.startswith("/") else "/"
        arn = f"arn:aws:ssm:{by.exchange.region}:{get_account_id()}:parameter{slash}{name}"
        refusal = by.refusal("ssm:GetParameters", arn)
        kept.note(by, "ssm:GetParameters", {"names": [name], "withDecryption": False}, refusal)
        if refusal is not None:
            raise ValueError(
                f"{refusal.message} (Service: AWSSimpleSystemsManagement; Status Code: 400; "
                f"Error Code: AccessDeniedException; Request ID: {uuid.uuid4()}; Proxy: null)"
            )
        return resolve(name, *more, **named)

    return checked
