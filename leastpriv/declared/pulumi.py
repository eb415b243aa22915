"""Reads previews of Pulumi (`pulumi preview --json`) as plans: its AWS provider has the resource
types of Terraform's under other names.

The form is that of pulumi/pulumi, `sdk/go/common/display/json.go` (inferred, not read).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from leastpriv.permissions.tool_lifecycle import ResourceKind, Tool, is_known

_TYPE = re.compile(r"aws:(?P<module>\w+)/(?P<name>\w+):\w+")
_CAPITAL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
"""The mark of a value that only the deployment knows."""
_ACTIONS: Mapping[str, tuple[str, ...]] = {
    "create": ("create",),
    "update": ("update",),
    "delete": ("delete",),
    "replace": ("delete", "create"),
    "read": ("read",),
    "same": ("no-op",),
}


def is_preview(document: object) -> bool:
    """Whether a document is a preview."""
    if not isinstance(document, dict) or "resource_changes" in document:
        return False
    return isinstance(document.get("steps"), list)


def plan_of_preview(preview: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the plan of Terraform that has the same changes."""
    changes = (_change(step) for step in preview["steps"])
    return {"resource_changes": [change for change in changes if change]}


def _change(step: Mapping[str, Any]) -> dict[str, Any]:
    """The change of a step; empty for one of another provider, or of no known operation."""
    old, new = step.get("oldState") or {}, step.get("newState") or {}
    token = str(new.get("type") or old.get("type") or "")
    found = _TYPE.fullmatch(token)
    actions = _ACTIONS.get(str(step.get("op")), ())
    if not found or not actions:
        return {}
    kind = _terraform_type(found["module"], found["name"])
    name = str(step.get("urn", "")).rpartition("::")[2]
    return {
        "address": f"{kind}.{name}",
        "type": kind,
        "provider_name": "aws",
        "change": {
            "actions": list(actions),
            "before": _attributes(old.get("inputs")) if old else None,
            "after": _attributes(new.get("inputs")) if new else None,
            "after_unknown": _unknown(new.get("inputs") or {}),
        },
    }


def _terraform_type(module: str, name: str) -> str:
    """`aws_sqs_queue` of `aws:sqs/queue:Queue`; types of Amazon EC2 have no name of a service."""
    names = [f"aws_{_snake(module)}_{_snake(name)}"]
    if module == "ec2":
        names.append(f"aws_{_snake(name)}")
    for each in names:
        if is_known(ResourceKind(Tool.TERRAFORM, each)):
            return each
    return names[0]


def _snake(name: str) -> str:
    return _CAPITAL.sub("_", name).lower()


def _attributes(value: object) -> Any:
    """The inputs under the names of Terraform's attributes, without unknown values."""
    if isinstance(value, Mapping):
        given = {_snake(key): _attributes(each) for key, each in value.items()}
        return {key: each for key, each in given.items() if each is not None}
    if isinstance(value, list):
        return [_attributes(each) for each in value]
    return None if value == _UNKNOWN else value


def _unknown(inputs: Mapping[str, object]) -> dict[str, bool]:
    return {_snake(key): True for key, value in inputs.items() if value == _UNKNOWN}
