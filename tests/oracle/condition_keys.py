"""Condition keys whose values a record shows, so that a policy's condition on them can be decided.

Trails carry no condition keys; these follow from the request by a page of AWS.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

from leastpriv.models import Call, Condition
from tests.fakes.tables import table
from tests.oracle.arn_templates import partition

_NAME = re.compile(r"[a-z0-9.-]{1,128}")
"""A service's name as it may stand in a condition: no variable, no wildcard."""


def shown_conditions(call: Call, action: str) -> tuple[Condition, ...]:
    """The conditions under which one action of a call was authorised, as far as the record shows them."""
    if action == "iam:CreateServiceLinkedRole":
        service = next((value for key, value in call.parameters.items() if key.lower() == "awsservicename"), None)
        # https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_iam-condition-keys.html (2026-11-24)
        return (
            (_equals("iam:AWSServiceName", service),) if isinstance(service, str) and _NAME.fullmatch(service) else ()
        )
    if call.invoked_by and action.startswith("kms:"):
        return _via_service(call)
    return ()


def keys_of_conditions(action: str) -> tuple[frozenset[str], frozenset[str]]:
    """Keys of a request whose texts, and whose presence alone, show conditions of an action, in lower case."""
    if action == "iam:CreateServiceLinkedRole":
        return frozenset({"awsservicename"}), frozenset()
    if action.startswith("kms:"):
        return frozenset({"encryptioncontext"}), frozenset(key.lower() for key in _contexts())
    return frozenset(), frozenset()


def _via_service(call: Call) -> tuple[Condition, ...]:
    """`kms:ViaService` of a call that a service forwarded; in China the form of its value is not documented."""
    context = call.parameters.get("encryptionContext")
    if not isinstance(context, Mapping) or partition(call) == "aws-cn":
        return ()
    services = dict.fromkeys(_contexts()[key] for key in context if key in _contexts())
    via = [f"{name}.{call.region}.amazonaws.com" for name in list(services)[:1]]
    return tuple(_equals("kms:ViaService", name) for name in via if _NAME.fullmatch(name))


def _equals(key: str, value: str) -> Condition:
    return Condition("StringEquals", key, (value,))


@cache
def _contexts() -> Mapping[str, str]:
    return {row["context"]: row["service"] for row in table("kms_contexts")}
