"""Operations of stacks: the principal of their calls, and the permissions that reading the template
needs.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlparse

from ministack.services import cloudformation, iam
from ministack.services.cloudformation.helpers import _error, _resolve_document

from tests.end_to_end.lab import drawn_names
from tests.end_to_end.lab.actors import ACTING_ROLE, Actor, Recorder, actor
from tests.end_to_end.lab.exchange import CURRENT, Exchange, Refusal
from tests.end_to_end.lab.serve import Options

Answer = tuple[int, dict[str, str], bytes]
Handler = Callable[..., Awaitable[Answer]]

_GIVES_ROLE = frozenset({"CreateStack", "UpdateStack", "DeleteStack", "CreateChangeSet", "RollbackStack",
                         "ContinueUpdateRollback"})  # fmt: skip
_TAKES_TEMPLATE = frozenset({"CreateStack", "UpdateStack", "CreateChangeSet", "ValidateTemplate",
                             "GetTemplateSummary"})  # fmt: skip
_S3_DENIED = (
    "S3 error: Access Denied\nFor more information check "
    "http://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html"
)
_WORKS = frozenset({"CreateStack", "UpdateStack", "DeleteStack", "ExecuteChangeSet", "RollbackStack",
                    "ContinueUpdateRollback"})  # fmt: skip


@dataclass(slots=True)
class Stacks:
    """The roles of the stacks of a lab and of their change sets, by region and name; and how calls
    are recorded.
    """

    recorder: Recorder
    options: Options
    roles: dict[tuple[str, str], str] = field(default_factory=dict)
    change_sets: dict[tuple[str, str], str] = field(default_factory=dict)

    def note(
        self,
        by: Actor,
        action: str,
        request: Mapping[str, Any],
        refusal: Refusal | None,
        response: Any = None,
    ) -> None:
        """Record a call of CloudFormation, if such calls are recorded."""
        if self.options.service_events:
            self.recorder.note(by, action, request, refusal, response)


def operations(kept: Stacks, others: Handler) -> Handler:
    """A handler of CloudFormation around ministack's."""

    async def handle(*arguments: Any) -> Answer:
        exchange = CURRENT.get()
        if exchange is None:
            return await others(*arguments)
        refused = _template_denial(kept, exchange)
        if refused is not None:
            return refused
        role = exchange.parameters.get("RoleARN")
        if role and not _is_trusted(str(role)):
            return _answer("ValidationError", f"Role {role} is invalid or cannot be assumed")
        _forget_executed(exchange)
        acting = _role_at_work(kept, exchange)
        token = ACTING_ROLE.set(acting)
        by = actor()
        if (
            acting
            and by is not None
            and kept.options.service_events
            and exchange.operation in _WORKS
        ):
            kept.recorder.note_assumed(by)
        try:
            return await others(*arguments)
        finally:
            ACTING_ROLE.reset(token)

    return handle


def _forget_executed(exchange: Exchange) -> None:
    """An executed change set is deleted (CloudFormation User Guide, "Execute a change set", read
    2026-11-24).
    """
    if exchange.operation != "CreateChangeSet":
        return
    name = exchange.parameters.get("ChangeSetName")
    for key, each in list(cloudformation._change_sets.items()):
        if each.get("ChangeSetName") == name and each.get("ExecutionStatus") == "EXECUTE_COMPLETE":
            cloudformation._change_sets.pop(key, None)


def _role_at_work(kept: Stacks, exchange: Exchange) -> str:
    """The role of the stack that a call is about; a given role remains the stack's."""
    asked, operation = exchange.parameters, exchange.operation
    stack = _stack_name(str(asked.get("StackName") or ""))
    change_set = str(asked.get("ChangeSetName") or "")
    if change_set.startswith("arn:"):
        change_set = change_set.split("/")[1]
    if operation == "ExecuteChangeSet":
        found = kept.change_sets.get((stack, change_set), "")
        if not stack:
            # Named only by its ARN.
            found = next(
                (role for (_, name), role in kept.change_sets.items() if name == change_set), ""
            )
        if found and stack:
            kept.roles[exchange.region, stack] = found
        return found
    if operation == "CreateStack" or asked.get("ChangeSetType") == "CREATE":
        kept.roles.pop((exchange.region, stack), None)  # of a stack that had this name before
        drawn_names.fresh(stack)
    role = str(asked.get("RoleARN") or kept.roles.get((exchange.region, stack), ""))
    if operation == "CreateChangeSet":
        kept.change_sets[stack, change_set] = role
    elif role and operation in _GIVES_ROLE:
        kept.roles[exchange.region, stack] = role
    return role


def _stack_name(name: str) -> str:
    return name.split("/")[1] if name.startswith("arn:") else name


def _is_trusted(role: str) -> bool:
    """Whether a role's trust policy lets CloudFormation assume it."""
    found = (
        iam._roles.get_scoped(role.split(":")[4], None, role.rpartition("/")[2])
        if role.count(":") > 4
        else None
    )
    document = (found or {}).get("AssumeRolePolicyDocument", "{}")
    read = json.loads(unquote(document)) if isinstance(document, str) else document
    statements = read.get("Statement", [])
    for statement in statements if isinstance(statements, list) else [statements]:
        principal = statement.get("Principal", {})
        services = principal.get("Service", []) if isinstance(principal, dict) else []
        if statement.get("Effect") == "Allow" and "cloudformation.amazonaws.com" in services:
            return True
    return False


def _template_denial(kept: Stacks, exchange: Exchange) -> Answer | None:
    """A template in a bucket is read, and a transform is run, with the caller's permissions."""
    if exchange.operation not in _TAKES_TEMPLATE:
        return None
    by = Actor(exchange, "")
    address = urlparse(str(exchange.parameters.get("TemplateURL") or ""))
    if address.path:
        bucket, key = _bucket_and_key(address.netloc, address.path)
        refusal = by.refusal("s3:GetObject", f"arn:aws:s3:::{bucket}/{key}")
        kept.note(by, "s3:GetObject", {"bucketName": bucket, "key": key}, refusal)
        if refusal is not None:
            return _answer("ValidationError", _S3_DENIED)
    body = str(exchange.parameters.get("TemplateBody") or "")
    if not body and address.path:
        body = str(
            _resolve_document(exchange.parameters, "TemplateBody", "TemplateURL", "Template")[0]
            or ""
        )
    if "AWS::Serverless-2016-10-31" in body and exchange.operation in (
        "CreateChangeSet",
        "CreateStack",
        "UpdateStack",
    ):
        transform = f"arn:aws:cloudformation:{exchange.region}:aws:transform/Serverless-2016-10-31"
        refusal = by.refusal("cloudformation:CreateChangeSet", transform)
        if refusal is not None:
            exchange.refusal = refusal
            return _answer("AccessDenied", refusal.message, 403)
    return None


def _bucket_and_key(host: str, path: str) -> tuple[str, str]:
    first, _, rest = unquote(path).lstrip("/").partition("/")
    label = host.partition(".s3")[0]
    if ".s3" in host and label:
        return label, unquote(path).lstrip("/")
    return first, rest


def _answer(code: str, message: str, status: int = 400) -> Answer:
    status, headers, body = _error(code, message, status)
    return status, headers, body
