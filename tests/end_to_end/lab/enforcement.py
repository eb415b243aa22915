"""Enforces IAM as AWS does where ministack does less: the denying policy type, iam:PassRole, the
message.

It wraps ministack's functions `enforce` and `access_denied_response`, which every service looks up
for each request.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace  # noqa: TID251 - the environment of the lab has no msgspec
from typing import Any

from ministack.core import iam_actions, iam_evaluator
from ministack.core.responses import get_account_id
from ministack.services import ec2, secretsmanager, sts
from ministack.services import tagging as tags_of_services

from tests.end_to_end.lab import as_aws, event_names, pass_role, tagging, wording
from tests.end_to_end.lab.checks import Checks
from tests.end_to_end.lab.details import DETAILS, Check
from tests.end_to_end.lab.exchange import CURRENT, Exchange, Refusal

_OF_NO_ACCOUNT = re.compile(r"^(arn:[^:]+:ec2:[^:]+):\d+:((?:image|snapshot)/)")
"""ARNs that AWS writes without an account, since images and snapshots are shared:
docs.aws.amazon.com, "Actions, resources, and condition keys for Amazon EC2", 2026-11."""
_LOG_GROUP = re.compile(r"arn:[^:]+:logs:[^:]+:\d+:log-group:[^:]+")
_ON_BARE_LOG_GROUPS = frozenset(
    {"logs:TagResource", "logs:UntagResource", "logs:ListTagsForResource"}
)
"""The only actions on log groups that are checked without `:*` at the end: docs.aws.amazon.com,
LogGroup of the CloudWatch Logs API, `arn` and `logGroupArn`, read 2026-11-26."""

_evaluated = iam_evaluator.enforce
_answered = iam_actions.access_denied_response
_tags_of_others = tags_of_services.resource_tags


_CHECKS = Checks()


def install(checks: str = "") -> None:
    """Wrap ministack's two functions; `checks` is the file for every check of a caller's
    policies.
    """
    _CHECKS.path = checks
    iam_evaluator.enforce = _enforce
    tags_of_services.resource_tags = _resource_tags
    # ministack knows the tags of more services than it offers to policies.
    of_service = {"elasticfilesystem": "efs", "cognito-idp": "cognito"}
    for prefix in (
        "elasticfilesystem",
        "cognito-idp",
        "ecr",
        "ecs",
        "glue",
        "appsync",
        "cloudfront",
        "backup",
    ):
        collect = getattr(tags_of_services, f"_collect_{of_service.get(prefix, prefix)}")
        tags_of_services._RESOURCE_TAG_COLLECTORS.setdefault(prefix, collect)
    iam_actions.access_denied_response = _access_denied_response


def _resource_tags(arn: str) -> dict[str, str] | None:
    """The tags of a resource, for `aws:ResourceTag`; ministack's list lacks those of EC2."""
    if ":ec2:" not in arn:
        return _tags_of_others(arn)
    return {each["Key"]: each["Value"] for each in ec2._tags.get(arn.rpartition("/")[2]) or ()}


_RESOURCE_ACCOUNT = "aws:resourceaccount"
"""All resources of the lab are in its account
(https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html, read
2026-11-27)."""


def policy_denial(
    access_key: str,
    action: str,
    resource: str,
    region: str,
    context: Mapping[str, Any] | None = None,
) -> Refusal | None:
    """Whether the policies of an access key deny an action (resource policies aside), and the
    message.
    """
    principal = iam_evaluator.resolve_principal(access_key, get_account_id())
    if isinstance(principal, iam_evaluator.AuthError) or principal.policies is None:
        return None
    asked = iam_evaluator.EvalContext(
        principal_arn=principal.arn,
        principal_type=principal.type,
        principal_account=principal.account,
        action=action,
        resource_arn=resource,
        region=region,
        service_context={
            "aws:tagkeys": None,
            _RESOURCE_ACCOUNT: get_account_id(),
            **{name.lower(): value for name, value in (context or {}).items()},
        },
        principal_keys=principal.keys,
    )
    return _decide(asked, _layers(access_key, principal))


def role_denial(
    role_arn: str,
    session_arn: str,
    action: str,
    resource: str,
    region: str,
    context: Mapping[str, Any],
) -> Refusal | None:
    """Whether the policies of a role that a service assumed deny an action."""
    account, name = role_arn.split(":")[4], role_arn.rpartition("/")[2]
    asked = iam_evaluator.EvalContext(
        principal_arn=session_arn,
        principal_type="AssumedRole",
        principal_account=account,
        action=action,
        resource_arn=resource,
        region=region,
        service_context={
            "aws:tagkeys": None,
            **{key.lower(): value for key, value in context.items()},
        },
    )
    layers = {"an identity-based policy": iam_evaluator._gather_role_policies(name, account)}
    for limit in iam_evaluator._permissions_boundary(iam_evaluator_roles(), name, account):
        layers["a permissions boundary"] = limit
    return _decide(asked, layers)


def iam_evaluator_roles() -> Any:
    """The store of roles."""
    from ministack.services import iam

    return iam._roles


def _layers(access_key: str, principal: iam_evaluator.PrincipalInfo) -> dict[str, list[Any]]:
    """The layers of policies that each must allow, by AWS's name for one of its policies."""
    session = sts._sessions.get(access_key) or {}
    of_session = iam_evaluator._session_policy_limits(session, principal.account)
    of_boundary = principal.limits[: len(principal.limits) - len(of_session)]
    layers = {"an identity-based policy": principal.policies or []}
    for limit in of_boundary:
        layers["a permissions boundary"] = limit
    for limit in of_session:
        # A session without a session policy has no limit.
        if limit:
            layers["a session policy"] = limit
    return layers


def _decide(asked: iam_evaluator.EvalContext, layers: Mapping[str, list[Any]]) -> Refusal | None:
    _CHECKS.note(asked)
    reason = ""
    for name, policies in layers.items():
        if iam_evaluator.evaluate(asked, policies).decision == "Deny":
            reason = f"with an explicit deny in {name}"
            break
    else:
        for name, policies in layers.items():
            if iam_evaluator.evaluate(asked, policies).decision != "Allow":
                reason = f"because no {name.partition(' ')[2]} allows the {{action}} action"
                break
    if not reason:
        return None
    message = wording.refusal(
        asked.principal_arn, asked.action, asked.resource_arn, reason, asked.region
    )
    return Refusal(asked.action, asked.resource_arn, message)


def _enforce(
    access_key_id: str,
    iam_action: str,
    service: str,
    region: str,
    resource_arn: str = "*",
    service_context: dict[str, Any] | None = None,
) -> Any:
    service_context = {**(service_context or {}), _RESOURCE_ACCOUNT: get_account_id()}
    if ":secret:" in resource_arn and not _has_drawn_end(resource_arn):
        resource_arn += wording.DRAWN
    resource_arn = _OF_NO_ACCOUNT.sub(r"\1::\2", resource_arn)
    exchange = CURRENT.get()
    if exchange is not None and resource_arn == "*":
        resource_arn = _named(exchange)
    if _LOG_GROUP.fullmatch(resource_arn) and iam_action not in _ON_BARE_LOG_GROUPS:
        resource_arn += ":*"
    iam_action, (resource_arn, *further) = _as_aws(exchange, iam_action, resource_arn)
    if not resource_arn:
        return None
    if exchange is not None:
        exchange.checked = (resource_arn, *further)
    _note(access_key_id, iam_action, resource_arn, region, service_context)
    result = _evaluated(access_key_id, iam_action, service, region, resource_arn, service_context)
    if exchange is None:
        return result
    denials = (
        policy_denial(access_key_id, iam_action, each, region, service_context) for each in further
    )
    denial = next(filter(None, denials), None) if result is None else None
    whole = (iam_action, (resource_arn, *further))
    if denial is not None:
        exchange.action, exchange.refusal = iam_action, _with_id(exchange, denial, whole)
        return iam_evaluator.EvalResult(
            "ImplicitDeny", principal_arn=str(exchange.identity.get("arn", ""))
        )
    exchange.action = exchange.action or iam_action
    if isinstance(result, iam_evaluator.EvalResult):
        explained = _explained(exchange, result, iam_action, resource_arn, service_context)
        exchange.refusal = _with_id(exchange, explained, whole)
        return result
    if result is None and exchange.refusal is None and not _is_read(exchange):
        inner = pass_role_denial(exchange) or _tagging_denial(exchange, resource_arn)
        if inner is not None:
            exchange.refusal = _with_id(exchange, inner, whole)
            return iam_evaluator.EvalResult(
                "ImplicitDeny", principal_arn=str(exchange.identity.get("arn", ""))
            )
    return result


def _has_drawn_end(arn: str) -> bool:
    """Whether the ARN of a secret is that of one that is there; of others only the name is known."""
    _, found = secretsmanager._resolve(arn)
    return found is not None


def _with_id(exchange: Exchange, denied: Refusal, whole: tuple[str, tuple[str, ...]]) -> Refusal:
    """The denial with an id, under which all checks of the call are kept."""
    principal = iam_evaluator.resolve_principal(exchange.access_key, get_account_id())
    if isinstance(principal, iam_evaluator.AuthError) or principal.policies is None:
        return denied
    action, resources = whole
    account = get_account_id()
    checks = [Check(action, resource) for resource in resources]
    passed = pass_role.passed_roles(exchange, account)
    checks += [
        Check("iam:PassRole", each.arn, {"iam:PassedToService": each.service}) for each in passed
    ]
    tagged = tagging.tag_checks(exchange, resources[0], account)
    checks += [Check(each.action, each.resource, each.context or {}) for each in tagged]
    return DETAILS.with_id(exchange, denied, checks, _layers(exchange.access_key, principal))


def _as_aws(exchange: Exchange | None, action: str, resource: str) -> tuple[str, list[str]]:
    """The action and the resources that AWS checks; an empty resource where it makes no check."""
    if exchange is None:
        return action, [resource]
    action = as_aws.action_of(exchange, action)
    if action.partition(":")[2] not in (exchange.operation, "InvokeFunction", "CreateDistribution"):
        return action, [resource]
    return action, as_aws.resources(exchange, action, resource) or [""]


def _note(
    access_key: str, action: str, resource: str, region: str, context: Mapping[str, Any] | None
) -> None:
    """Record a check of ministack, if policies decide it at all."""
    if not _CHECKS.path or not access_key or action in iam_evaluator._ALWAYS_ALLOWED_ACTIONS:
        return
    principal = iam_evaluator.resolve_principal(access_key, get_account_id())
    if isinstance(principal, iam_evaluator.AuthError) or principal.policies is None:
        return
    given = {"aws:tagkeys": None, **{key.lower(): value for key, value in (context or {}).items()}}
    _CHECKS.note(
        iam_evaluator.EvalContext(
            principal_arn=principal.arn,
            principal_type=principal.type,
            principal_account=principal.account,
            action=action,
            resource_arn=resource,
            region=region,
            service_context=given,
        )
    )


def _named(exchange: Exchange) -> str:
    """The resource that a request names in its body, or implies, where ministack reads only the
    path.
    """
    function = str(exchange.parameters.get("FunctionName") or "")
    if exchange.operation == "CreateFunction" and function:
        own = f"arn:aws:lambda:{exchange.region}:{get_account_id()}:function:{function}"
        return function if ":" in function else own
    if exchange.service == "account":
        return f"arn:aws:account::{get_account_id()}:account"
    repositories = exchange.parameters.get("repositoryNames")
    if exchange.service == "ecr" and isinstance(repositories, list) and len(repositories) == 1:
        return f"arn:aws:ecr:{exchange.region}:{get_account_id()}:repository/{repositories[0]}"
    named = next(
        (str(value) for key, value in exchange.parameters.items() if key.lower() == "resourcearn"),
        "",
    )
    return named if named.startswith("arn:") else "*"


def pass_role_denial(exchange: Exchange) -> Refusal | None:
    """The first role that a call passes to a service without the caller's permission."""
    for passed in pass_role.passed_roles(exchange, get_account_id()):
        context = {"iam:PassedToService": passed.service}
        found = policy_denial(
            exchange.access_key, "iam:PassRole", passed.arn, exchange.region, context
        )
        if found is not None and exchange.service == "ec2":
            caller = str(exchange.identity.get("arn", ""))
            return replace(
                found, message=wording.of_ec2(found.message, caller, found.action, found.resource)
            )
        if found is not None:
            return found
    return None


def _tagging_denial(exchange: Exchange, resource: str) -> Refusal | None:
    """The first tagging action that the tags of a call need and its caller lacks."""
    if exchange.service == "kms":
        resource = f"arn:aws:kms:{exchange.region}:{get_account_id()}:key/*"
    for each in tagging.tag_checks(exchange, resource, get_account_id()):
        found = policy_denial(
            exchange.access_key, each.action, each.resource, exchange.region, each.context
        )
        if found is not None:
            return found
    return None


def _is_read(exchange: Exchange) -> bool:
    return event_names.is_read_only(exchange.service, exchange.operation)


def _explained(
    exchange: Exchange,
    result: iam_evaluator.EvalResult,
    action: str,
    resource: str,
    context: dict[str, Any] | None,
) -> Refusal:
    """A denial of ministack with AWS's message."""
    found = None
    if result.resource_policy_arn:
        message = iam_actions._resource_policy_denial(
            exchange.signing, action, result.principal_arn, result.resource_policy_arn
        )
        return Refusal(action, resource, message)
    found = policy_denial(exchange.access_key, action, resource, exchange.region, context)
    if found is not None:
        return found
    # The identity-based policy allows it, so the resource's own policy, which must allow too, does
    # not.
    reason = "because no resource-based policy allows the {action} action"
    return Refusal(
        action,
        resource,
        wording.refusal(result.principal_arn, action, resource, reason, exchange.region),
    )


def _access_denied_response(
    service: str, action: str, principal_arn: str, request_id: str, **options: Any
) -> tuple[Any, ...]:
    exchange = CURRENT.get()
    if exchange is None or exchange.refusal is None or options.get("error_code"):
        return tuple(_answered(service, action, principal_arn, request_id, **options))
    refused = exchange.refusal
    # These two accept no message; with their own code they do.
    code = "AccessDeniedException" if service in ("ssm", "logs") else ""
    options |= {"message": refused.message, "error_code": code, "resource_arn": refused.resource}
    return tuple(_answered(service, refused.action, principal_arn, request_id, **options))
