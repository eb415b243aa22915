"""Reads previews of Pulumi (`pulumi preview --json`) as plans: its AWS provider has the resource
types of Terraform's under other names.

The form is that of pulumi/pulumi, `sdk/go/common/display/json.go` (inferred, not read).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from leastpriv.declared.cloud_control import PREFIX
from leastpriv.declared.resource_types import plain
from leastpriv.permissions.fact_tables import table
from leastpriv.permissions.tool_lifecycle import DATA, Tool, type_names

_TYPE = re.compile(r"aws:(?P<module>\w+)/(?P<name>\w+):\w+")
_NATIVE = re.compile(r"aws-native:(?P<module>\w+):(?P<name>\w+)")
"""A type of the provider that makes resources by Cloud Control."""
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
    "refresh": ("no-op",),
    "import": ("no-op",),
    "import-replacement": ("no-op",),
    "create-replacement": ("create",),
    "delete-replaced": ("delete",),
    "read-replacement": ("read",),
}

_WITHOUT_CALL = ("discard", "discard-replaced", "remove-pending-replace")
"""Operations that only change the state of Pulumi."""
_RUNS_CODE = re.compile(r"pulumi-\w+:dynamic:|command:")
"""Begins the types of resources whose creation runs a program."""

TOOL = "pulumi"
"""What the plan of a preview names as its tool."""


def is_preview(document: object) -> bool:
    """Whether a document is a preview."""
    if not isinstance(document, dict) or "resource_changes" in document:
        return False
    return isinstance(document.get("steps"), list)


def plan_of_preview(preview: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the plan of Terraform that has the same changes."""
    steps = [step for step in preview["steps"] if isinstance(step, Mapping)]
    changes = [change for change in map(_change, steps) if change]
    configured = [resource for resource in map(_configured, steps) if resource]
    return {
        "tool": TOOL,
        "resource_changes": changes,
        "configuration": {"root_module": {"resources": configured}},
    }


def _change(step: Mapping[str, Any]) -> dict[str, Any]:
    """The change of a step; empty for one of another provider, or of no known operation.

    A step that runs code has no type of Terraform, and says so.
    """
    old, new = step.get("oldState") or {}, step.get("newState") or {}
    token = str(new.get("type") or old.get("type") or "")
    kind = _type_of(token)
    operation = str(step.get("op"))
    actions = _ACTIONS.get(operation, ())
    if why := _why_unknown(token, operation):
        return {"address": str(step.get("urn", "")), "type": "", "unknown": why}
    if not kind or not actions:
        return {}
    return {
        "address": _address(str(step.get("urn", "")), kind),
        "type": kind,
        "provider_name": "awscc" if kind.startswith(PREFIX) else "aws",
        "change": {
            "actions": list(actions),
            "before": _attributes(old.get("inputs")) if old else None,
            "after": _attributes(new.get("inputs")) if new else None,
            "after_unknown": _unknown(new.get("inputs") or {}),
        },
    }


def _why_unknown(token: str, operation: str) -> str:
    """Why it is not known what a step calls; empty where it is."""
    if _RUNS_CODE.match(token) and operation != "same":
        return "it runs code, and a preview does not say what that calls"
    if _type_of(token) and operation not in _ACTIONS and operation not in _WITHOUT_CALL:
        return f"no table has the operation {operation}"
    return ""


def _configured(step: Mapping[str, Any]) -> dict[str, Any]:
    """What the inputs of a step refer to, as Terraform's configuration says it."""
    state = step.get("newState") or {}
    kind = _type_of(str(state.get("type") or ""))
    if not kind:
        return {}
    expressions = {}
    for name, urns in (state.get("propertyDependencies") or {}).items():
        references = [reference for reference in map(_referred, urns or ()) if reference]
        if references:
            expressions[_snake(name)] = {"references": references}
    return {"address": _address(str(step.get("urn", "")), kind), "expressions": expressions}


def _referred(urn: object) -> str:
    """The address of the resource that a URN names; empty for one of another provider."""
    before_name, _, _ = str(urn).rpartition("::")
    # The type of a resource in a component follows those of the components: `my:App$aws:…`.
    kind = _type_of(before_name.rpartition("::")[2].rpartition("$")[2])
    return _address(str(urn), kind) if kind else ""


def _address(urn: str, kind: str) -> str:
    name = re.sub(r"[^\w-]", "-", urn.rpartition("::")[2])
    return f"{kind}.{name}"


@cache
def _type_of(token: str) -> str:
    """`aws_sqs_queue` of `aws:sqs/queue:Queue`; empty for a type of another provider."""
    native = _NATIVE.fullmatch(token)
    if native:
        return f"{PREFIX}{_snake(native['module'])}_{_snake(native['name'])}"
    token_match = _TYPE.fullmatch(token)
    if not token_match:
        return ""
    module, name = token_match["module"], token_match["name"]
    for row in table("pulumi_types", __package__):
        if row["module"] == module and row["name"] in (name, "*"):
            is_start = row["type"].endswith("_")
            return f"{row['type']}{_snake(name)}" if is_start else row["type"]
    for candidate in _candidates(module, name):
        known_type = _types().get(plain(candidate))
        if known_type:
            return known_type
    return f"aws_{_snake(module)}_{_snake(name)}"


def _candidates(module: str, name: str) -> Iterator[str]:
    """The names that a type may have: those of Amazon EC2 have no name of a service."""
    yield f"aws_{module}_{name}"
    # A second version of a type replaces the first under the same name.
    yield f"aws_{module}_{re.sub('[vV]2$', '', name)}"
    if module in ("ec2", "vpc"):
        yield f"aws_{name}"


@cache
def _types() -> Mapping[str, str]:
    """The types of Terraform by their letters."""
    names: Sequence[str] = [*type_names(Tool.TERRAFORM)]
    return {plain(name): name for name in names if not name.startswith(DATA)}


def _snake(name: str) -> str:
    return _CAPITAL.sub("_", name).lower()


def _attributes(value: object) -> Any:
    """The inputs under the names of Terraform's attributes, without unknown values."""
    if isinstance(value, Mapping):
        attributes = {_snake(key): _attributes(member) for key, member in value.items()}
        return {key: member for key, member in attributes.items() if member is not None}
    if isinstance(value, list):
        return [_attributes(element) for element in value]
    return None if value == _UNKNOWN else value


def _unknown(inputs: Mapping[str, object]) -> dict[str, bool]:
    return {_snake(key): True for key, value in inputs.items() if value == _UNKNOWN}
