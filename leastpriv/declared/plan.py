"""Reads Terraform plans (`terraform show -json PLAN`): the resources that change, and what the
change needs.

The format is HashiCorp's (https://developer.hashicorp.com/terraform/internals/json-format, read
2026-11-27).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from leastpriv.declared.models import (
    NO_TABLE,
    UNKNOWN,
    Declaration,
    DeclaredResource,
    Place,
    Reference,
    tool_calls,
)
from leastpriv.declared.resource_types import (
    is_given_id,
    name_by_parameter,
    name_variable,
    own_types,
    plain,
)
from leastpriv.declared.template import trusted_services
from leastpriv.errors import InputError
from leastpriv.models import Need
from leastpriv.permissions.patterns import escape_observed
from leastpriv.permissions.resource_types import own_variables
from leastpriv.permissions.tool_lifecycle import DATA, Phase, ResourceKind, Tool, is_known
from leastpriv.permissions.volatility import common_beginning

_PHASES = {
    "create": (Phase.CREATE, Phase.READ),
    "read": (Phase.READ,),
    "update": (Phase.UPDATE, Phase.READ),
    "delete": (Phase.DELETE, Phase.READ),
    "no-op": (Phase.READ,),
}
_FREE_DATA = (
    "aws_caller_identity", "aws_iam_policy_document", "aws_partition", "aws_region", "aws_arn",
    "aws_service_principal",
    "aws_default_tags", "aws_eks_cluster_auth", "aws_elb_service_account", "aws_ip_ranges",
    "aws_billing_service_account", "aws_elb_hosted_zone_id", "aws_s3_bucket_hosted_zone_id",
    "aws_canonical_user_id",
)  # fmt: skip
"""Data sources that call nothing that needs a permission."""
_KEY = ""
"""In place of an attribute: the key of the provider's configuration."""
_DOCUMENT = re.compile(r"\s*[{\[]|.*\n")
_INDEX = re.compile(r"\[[^\]]*\]")
_NAMED = re.compile(r"(aws_\w+\.[\w-]+(?:\[[^\]]*\])?)(?:\.(\w+))?")


def read_plan(raw: bytes, source: str, role: str = "") -> Declaration:
    """Reads a plan in JSON, as a role applies it: what another role makes that a provider assumes
    is not its need.

    Raises:
        InputError: it is no plan in JSON.
    """
    try:
        plan = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{source} is no JSON: write `terraform show -json PLAN > {source}`."
        ) from error
    is_plan = isinstance(plan, dict) and bool({"planned_values", "resource_changes"} & plan.keys())
    if not is_plan or not isinstance(plan.get("resource_changes"), list | None):
        raise InputError(f"{source} is no plan: write `terraform show -json PLAN > {source}`.")
    try:
        configured = dict(_configured(plan.get("configuration", {}).get("root_module", {}), ""))
        providers = _providers(plan)
        changes = [
            change
            for change in plan.get("resource_changes") or ()
            if str(change.get("type", "")).startswith("aws_")
            and str(change.get("provider_name", "aws")).rpartition("/")[2] == "aws"
        ]
        instances: dict[str, list[str]] = {}
        for change in changes:
            instances.setdefault(_INDEX.sub("", change["address"]), []).append(change["address"])
        found = [
            each for change in changes for each in _resources(change, configured, instances)
        ] + _data_sources(plan)
        resources: list[DeclaredResource] = []
        calls: list[Need] = []
        for each in found:
            key = str(configured.get(_INDEX.sub("", each.address), {}).get(_KEY))
            region, assumed = providers.get(key, ("", ""))
            if assumed and role and assumed != role:
                place = Place(*(assumed.split(":")[position] for position in (1, 4)))
                calls += tool_calls(
                    "assume", f"the provider of {each.address}", place, role=assumed
                )
                continue
            own = each.properties.get("region")
            resources.append(replace(each, region=own if isinstance(own, str) and own else region))
        trusts = {
            each.address: trusted_services(_document(each.properties["assume_role_policy"]))
            for each in resources
            if each.properties.get("assume_role_policy")
        }
        unknown = sorted(
            {each.kind.name for each in resources if not is_known(each.kind)} - {*_FREE_DATA}
        )
        several = tuple(
            _any_of(address, found) for address, each in instances.items() if len(each) > 1
        )
        made = Declaration(
            source,
            tuple(resources),
            unknown=dict.fromkeys(unknown, NO_TABLE),
            trusts=trusts,
            around=several,
        )
        distinct = tuple(dict.fromkeys(calls))
        return replace(made, calls=distinct, plan_calls=distinct)
    except (AttributeError, KeyError, RecursionError, TypeError) as error:
        raise InputError(
            f"{source} is no plan that Terraform wrote: a field has another type."
        ) from error


def _providers(plan: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Key of a provider's configuration -> region and role of its resources, empty where the plan
    does not say it.
    """
    variables = {name: each.get("value") for name, each in (plan.get("variables") or {}).items()}

    def text(expression: object) -> str:
        given = expression if isinstance(expression, Mapping) else {}
        names = [str(each).removeprefix("var.") for each in given.get("references", ())]
        value = given.get("constant_value", variables.get(names[0]) if len(names) == 1 else None)
        return value if isinstance(value, str) else ""

    found = {}
    for key, each in plan.get("configuration", {}).get("provider_config", {}).items():
        expressions = each.get("expressions", {})
        role = text(_block(expressions.get("assume_role")).get("role_arn"))
        found[key] = text(expressions.get("region")), _arn(role)
    return found


def _block(value: object) -> Mapping[str, Any]:
    """The one block of a name; empty without one."""
    block = value[0] if isinstance(value, list) and value else value
    return block if isinstance(block, Mapping) else {}


def backend_calls(
    raw: bytes, place: Place, role: str = "", *, applies: bool = True
) -> tuple[Need, ...]:
    """Returns what an S3 backend needs, from the `.terraform/terraform.tfstate` that `terraform
    init` writes.

    Args:
        raw: that file.
        place: of the target.
        role: the target's; where the backend assumes another one, that alone reads and writes the
            state.
        applies: whether the state is written, too; a plan locks it and reads it.
    """
    try:
        backend = json.loads(raw).get("backend", {})
    except (ValueError, AttributeError, RecursionError):
        return ()
    config = (
        backend.get("config", {})
        if isinstance(backend, dict) and backend.get("type") == "s3"
        else {}
    )
    if not config.get("bucket"):
        return ()
    place = replace(place, region=str(config.get("region") or place.region))
    other = str(_block(config.get("assume_role")).get("role_arn") or config.get("role_arn") or "")
    if other not in ("", role):
        return tuple(tool_calls("assume", "the backend in S3", place, role=other))
    because, key = "the backend in S3", str(config.get("key") or UNKNOWN)
    workspaces = f"{config.get('workspace_key_prefix') or 'env:'}/{UNKNOWN}/{key}"
    found: list[Need] = []
    for step in ("state", *(("write",) if applies else ())):
        for each in (key, workspaces):
            found += tool_calls(step, because, place, bucket=config["bucket"], key=each)
    if config.get("use_lockfile"):
        found += tool_calls("lock", because, place, bucket=config["bucket"], key=key)
    if config.get("dynamodb_table"):
        found += tool_calls("table", because, place, table=config["dynamodb_table"])
    if encrypts := str(config.get("kms_key_id") or ""):
        name = UNKNOWN if "alias/" in encrypts else encrypts
        arn = f"arn:{place.partition}:kms:{place.region}:{place.account}:key/{name}"
        found += tool_calls("key", because, place, key=name if name.startswith("arn:") else arn)
    return tuple(dict.fromkeys(found))


def _any_of(address: str, resources: Sequence[DeclaredResource]) -> DeclaredResource:
    """The resource that a reference to any instance of a resource means: what their names share."""
    found = [each for each in resources if _INDEX.sub("", each.address) == address]
    name = common_beginning([each.name for each in found]) + UNKNOWN
    return replace(found[0], address=address, phases=(), name=name.replace("**", "*"), arn="")


def _resources(
    change: Mapping[str, Any],
    configured: Mapping[str, Mapping[str, object]],
    instances: Mapping[str, Sequence[str]],
) -> Iterator[DeclaredResource]:
    """The resource of a change; two for a replacement, whose old one may have another name."""
    detail = change.get("change", {})
    actions: Sequence[str] = detail.get("actions", ())
    kind = ResourceKind(Tool.TERRAFORM, change["type"])
    data = ResourceKind(Tool.TERRAFORM, DATA + change["type"])
    kind = data if change.get("mode") == "data" and is_known(data) else kind
    before, after = detail.get("before") or {}, detail.get("after") or {}
    address = str(change.get("address", ""))
    old = DeclaredResource(kind, address, (), before, _name(kind, before))
    if "create" not in actions and "update" not in actions:
        arn = str(before.get("arn") or "")
        known = dict(after or before)
        phases = tuple(
            dict.fromkeys(phase for action in actions for phase in _PHASES.get(action, ()))
        )
        yield replace(old, phases=phases, properties=known, name=_name(kind, known), arn=_arn(arn))
        return
    unknown = detail.get("after_unknown") or {}
    expressions = configured.get(_INDEX.sub("", address), {})
    properties = _with_references(dict(after), unknown, expressions)
    properties = {
        name: _of_instance(value, address, instances) for name, value in properties.items()
    }
    tagged = any((after.get("tags_all"), after.get("tags"), after.get("tag"), unknown.get("tags")))
    changed = frozenset(name for name in {*before, *after} if before.get(name) != after.get(name))
    new = replace(old, properties=properties, name=_name(kind, properties), tagged=tagged)
    if "update" in actions:
        yield replace(
            new, phases=_PHASES["update"], changed=changed, arn=_arn(str(before.get("arn") or ""))
        )
        return
    if "delete" in actions:
        yield replace(old, phases=_PHASES["delete"], arn=_arn(str(before.get("arn") or "")))
    yield replace(new, phases=_PHASES["create"])


def _arn(text: str) -> str:
    return text if text.startswith("arn:") else ""


def _name(kind: ResourceKind, properties: Mapping[str, object]) -> str:
    """The name by the attribute that a variable of the ARN is named after, by `name`, or by a
    prefix.
    """
    given = {plain(name): value for name, value in properties.items()}
    texts = {
        name: value
        for name, value in given.items()
        if isinstance(value, str) and value not in ("", UNKNOWN)
    }
    last = kind.name.rpartition("_")[2]
    kinds = [each for each in own_types(kind) if own_variables(each.arn)]
    variables = dict.fromkeys(name_variable(own_variables(each.arn), kind) for each in kinds)
    wanted = [plain(name).removesuffix("withpath") for name in variables]
    if kinds and all(is_given_id(each, kind) for each in kinds):
        ids = (
            texts.get(each, "")
            for each in (*wanted, f"{last}id", f"{last}identifier", "identifier")
        )
        return next(map(escape_observed, filter(None, ids)), UNKNOWN)
    candidates = [
        *wanted,
        *(each.removesuffix("name") for each in wanted),
        "name",
        "identifier",
        last,
        f"{last}name",
    ]
    candidates += [f"{last}identifier", "clusteridentifier"] if last != "function" else []
    candidates += ["key"] if last == "object" else []
    words = kind.name.split("_")[2:]
    candidates += ["".join(words[start:]) for start in range(len(words) - 1)]
    for each in candidates:
        # An attribute `policy` holds a document and no name.
        if each in texts and each != "id" and not _DOCUMENT.match(texts[each]):
            # A `*` in it is a character, and not what only the deployment knows.
            return escape_observed(texts[each])
    prefixes = (texts[f"{each}prefix"] for each in candidates if f"{each}prefix" in texts)
    return next(
        (f"{escape_observed(each)}{UNKNOWN}" for each in prefixes),
        name_by_parameter(kind, properties),
    )


def _data_sources(plan: Mapping[str, Any]) -> list[DeclaredResource]:
    """The data sources that the plan has read; one of the name of a resource type reads what that
    type reads.
    """
    found = []
    modules = [plan.get("prior_state", {}).get("values", {}).get("root_module", {})]
    while modules:
        module = modules.pop()
        modules.extend(module.get("child_modules", ()))
        for each in module.get("resources", ()):
            name, values = str(each.get("type", "")), each.get("values") or {}
            if each.get("mode") == "data" and name.startswith("aws_") and name not in _FREE_DATA:
                kind = ResourceKind(Tool.TERRAFORM, DATA + name)
                kind = kind if is_known(kind) else ResourceKind(Tool.TERRAFORM, name)
                named, arn = _name(kind, values), str(values.get("arn") or "")
                found.append(
                    DeclaredResource(
                        kind, each.get("address", ""), (Phase.READ,), values, named, arn
                    )
                )
    return found


def _configured(module: Mapping[str, Any], above: str) -> Iterator[tuple[str, dict[str, object]]]:
    """Address of a resource -> its configured attributes: what each refers to, else UNKNOWN; lists
    for blocks.
    """
    for each in module.get("resources", ()):
        expressions = each.get("expressions", {})
        found = {
            name: _configured_value(expression, above) for name, expression in expressions.items()
        }
        found[_KEY] = each.get("provider_config_key")
        yield f"{above}{each.get('address', '')}", found
    for name, call in module.get("module_calls", {}).items():
        yield from _configured(call.get("module", {}), f"{above}module.{name}.")


def _configured_value(expression: object, above: str) -> object:
    if isinstance(expression, list):
        return [_configured_value(each, above) for each in expression]
    if isinstance(expression, Mapping) and not {"references", "constant_value"} & set(expression):
        return {name: _configured_value(each, above) for name, each in expression.items()}
    named = _named_in(expression)
    return Reference(f"{above}{named[0]}", named[1]) if named else UNKNOWN


def _with_references(
    values: dict[str, Any], unknown: Mapping[str, Any], configured: object
) -> dict[str, Any]:
    """The values of a block with what the configuration says of those that only the deployment
    knows.
    """
    said = configured if isinstance(configured, Mapping) else {}
    for name, is_unknown in unknown.items():
        value = values.get(name)
        if is_unknown is True:
            # An attribute that AWS decides is known to be there, and not set.
            values[name] = said.get(name) if value in (None, "", []) else value
        elif isinstance(is_unknown, list) and isinstance(value, list):
            blocks = said.get(name)
            parts = blocks if isinstance(blocks, list) else [blocks] * len(value)
            for part, open_ones, each in zip(
                value, is_unknown, [*parts, *[None] * len(value)], strict=False
            ):
                if isinstance(part, dict) and isinstance(open_ones, Mapping):
                    _with_references(part, open_ones, each)
        elif isinstance(is_unknown, Mapping) and isinstance(value, dict):
            _with_references(value, is_unknown, said.get(name))
    return values


def _of_instance(value: object, address: str, instances: Mapping[str, Sequence[str]]) -> object:
    """A value whose references name the instance: the only one, or the one with the index of the
    resource itself.
    """
    if isinstance(value, list):
        return [_of_instance(each, address, instances) for each in value]
    if isinstance(value, Mapping):
        return {name: _of_instance(each, address, instances) for name, each in value.items()}
    if not isinstance(value, Reference):
        return value
    every = instances.get(_INDEX.sub("", value.address), ())
    module, index = _place(address)
    inside = [each for each in every if _place(each)[0] == module] or list(every)
    own = [each for each in inside if each.endswith(value.address.rpartition(".")[2])]
    same = [each for each in inside if _place(each)[1] == index]
    found = own if "[" in value.address else inside if len(inside) == 1 else same
    return Reference(
        found[0] if len(found) == 1 else _INDEX.sub("", value.address), value.attribute
    )


def _place(address: str) -> tuple[str, str]:
    """The module of an address, with its index, and the index of the resource."""
    plain = _INDEX.sub(lambda match: match[0].replace(".", "\0"), address)
    *module, _, name = plain.split(".")
    return ".".join(module), name.partition("[")[2]


def _named_in(expression: object) -> tuple[str, str] | None:
    """The one resource that an expression refers to, and the attribute."""
    names: list[str] = []
    stack = [expression]
    while stack:
        each = stack.pop()
        if isinstance(each, Mapping):
            names.extend(each.get("references", ()))
            stack.extend(value for key, value in each.items() if key != "references")
        elif isinstance(each, list):
            stack.extend(each)
    # A reference comes with each of its beginnings: `aws_sqs_queue.q["a"].arn`, `aws_sqs_queue.q`.
    matches = [match for name in names if (match := _NAMED.match(name))]
    if len({_INDEX.sub("", match[1]) for match in matches}) != 1:
        return None
    attribute = next((match[2] for match in matches if match[2]), "")
    return max((match[1] for match in matches), key=len), attribute


def _document(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return {}
