"""Reads Terraform plans (`terraform show -json PLAN`): the resources that change, and what the
change needs.

The format is HashiCorp's (https://developer.hashicorp.com/terraform/internals/json-format, read
2026-11-27).
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from leastpriv.budget import Budget
from leastpriv.declared.cloud_control import PREFIX, control_properties, kind_of_control
from leastpriv.declared.limits import NO_TABLE, needs_nothing, unknown_parts
from leastpriv.declared.models import (
    UNKNOWN,
    Declaration,
    DeclaredResource,
    Place,
    Reference,
    open_text,
    tool_calls,
)
from leastpriv.declared.other_forms import remedy_for
from leastpriv.declared.plan_references import ConfiguredResource, configured_resources
from leastpriv.declared.pulumi import TOOL, is_preview, plan_of_preview
from leastpriv.declared.resource_types import (
    is_given_id,
    name_by_parameter,
    name_variable,
    own_types,
    plain,
)
from leastpriv.declared.template import trusted_services
from leastpriv.errors import InputError
from leastpriv.models import Need, grouped
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
    "forget": (),
}
_DEFERRED_ACTIONS = "deferred_action_invocations"
"""Actions of providers (Terraform 1.14 and later) that a later plan decides on."""
_ZIP = b"PK\x03\x04"
_DOCUMENT = re.compile(r"\s*[{\[]|.*\n")
_INDEX = re.compile(r"\[[^\]]*\]")
_OBJECT = re.compile(r"^\s*\{", re.MULTILINE)
_MEMBER = re.compile('"(resource_changes|planned_values)"')
"""Shows that a text is, or was, a plan."""
_STEPS_OF_RESOURCE = 500
"""What a resource costs with its needs: a budget has 10,000 resources."""
_REMEDY = "run `terraform show -json tf.plan > plan.json`, and name plan.json in the input plans."
_NOT_CONFIGURED = ConfiguredResource({}, "")


def read_plan(raw: bytes, source: str, role: str = "", place: Place | None = None) -> Declaration:
    """Reads a plan in JSON, as a role applies it: what another role makes that a provider assumes
    is not its need.

    Args:
        raw: the plan, with what the wrapper of the action setup-terraform prints around it; several
            where `terragrunt run-all show -json` wrote one for each unit.
        source: its path, as the user names it.
        role: ARN of the role; empty: any.
        place: of the role.

    Raises:
        InputError: it is no plan in JSON.
        TooLargeError: it asks for more work than its budget has.
    """
    # By the time of the processor: a busy machine makes no honest plan too large.
    budget = Budget.of("plan")
    budget.spend(characters=len(raw), files=1)
    plans = _plans(raw, source)
    try:
        parts = []
        for plan in plans:
            reading = _Reading(plan=plan, source=source, role=role, place=place, budget=budget)
            parts.append(reading.declaration())
        return parts[0] if len(parts) == 1 else _joined(parts)
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise InputError(
            f"{source} is no plan that Terraform wrote: a field has another type."
        ) from error


def _joined(parts: Sequence[Declaration]) -> Declaration:
    """The declaration of the plans of several units, whose addresses another unit may have, too."""
    units = [part.inside(f"unit[{number}]") for number, part in enumerate(parts, start=1)]
    unknown = {name: reason for part in units for name, reason in part.unknown.items()}
    has_resources = any(part.resources for part in units)
    if has_resources:
        unknown.pop(units[0].source, None)
    calls = dict.fromkeys(call for part in units for call in part.calls)
    trusts = {address: names for part in units for address, names in part.trusts.items()}
    return replace(
        units[0],
        resources=tuple(resource for part in units for resource in part.resources),
        around=tuple(resource for part in units for resource in part.around),
        calls=tuple(calls),
        plan_calls=tuple(calls),
        unknown=unknown,
        trusts=trusts,
    )


def _plans(raw: bytes, source: str) -> list[Mapping[str, Any]]:
    """The plans in a file: lines may precede and follow each."""
    if raw.startswith(_ZIP):
        raise InputError(
            f"{source} is a plan in Terraform's own format: run `terraform show -json {source} >"
            " plan.json`, and name plan.json in the input plans."
        )
    is_wide = raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    text = raw.decode("utf-16" if is_wide else "utf-8", "replace").removeprefix("\ufeff")
    documents = _json_documents(text, source)
    plans = [_as_plan(document) for document in documents if _is_plan(document)]
    if not plans:
        keys: set[str] = set()
        for document in documents:
            if isinstance(document, dict):
                keys.update(document)
        remedy = remedy_for(source, keys - {"resource_changes"}) or _REMEDY
        raise InputError(f"{source} is no plan: {remedy}")
    return plans


def _json_documents(text: str, source: str) -> Sequence[object]:
    """The JSON objects that begin a line of a text.

    Raises:
        InputError: there is none, or one that may be a plan is not complete.
    """
    documents: list[object] = []
    start = _OBJECT.search(text)
    try:
        while start or not documents:
            # Without an object, the error of the whole text is that of the first character.
            brace = start.end() - 1 if start else 0
            document, end = json.JSONDecoder().raw_decode(text, brace)
            documents.append(document)
            start = _OBJECT.search(text, end)
    except (ValueError, RecursionError) as error:
        unread = text[start.start() :] if start else text
        if not any(map(_is_plan, documents)) or _MEMBER.search(unread):
            remedy = remedy_for(source, ()) or _REMEDY
            raise InputError(f"{source} is no plan in JSON: {remedy}") from error
    return documents


def _is_plan(document: object) -> bool:
    """Whether a JSON document is a plan of Terraform, or a preview of Pulumi."""
    if is_preview(document):
        return True
    if not isinstance(document, dict):
        return False
    has_plan = "planned_values" in document or "resource_changes" in document
    return has_plan and isinstance(document.get("resource_changes"), list | None)


def _as_plan(document: object) -> Mapping[str, Any]:
    """A plan as Terraform writes it, also of a preview of Pulumi."""
    plan: Mapping[str, Any] = document if isinstance(document, dict) else {}
    return plan_of_preview(plan) if is_preview(plan) else plan


class _Provider(Struct, frozen=True):
    """The configuration of a provider, as far as the plan says it."""

    region: str = ""
    role: str = ""
    """The role that it assumes."""


class _Reading(Struct):
    """Reads one plan."""

    plan: Mapping[str, Any]
    source: str
    role: str
    place: Place | None
    budget: Budget
    configured: dict[str, ConfiguredResource] = field(default_factory=dict)
    """Address without an index -> configuration."""
    instances: dict[str, list[str]] = field(default_factory=dict)
    """Address without an index -> addresses."""
    calls: dict[Need, None] = field(default_factory=dict)
    unknown: dict[str, str] = field(default_factory=dict)

    def declaration(self) -> Declaration:
        """Returns the resources that the plan changes and reads."""
        changes = [change for change in self._changes() if _is_of_aws(change)]
        self.budget.spend(steps=_STEPS_OF_RESOURCE * len(changes))
        self.configured.update(configured_resources(self.plan, self.budget))
        for address, configured in self.configured.items():
            if configured.runs_command:
                self.unknown[f"the command of {address}"] = "a plan does not say what it calls"
        for change in changes:
            address = str(change["address"])
            self.instances.setdefault(_INDEX.sub("", address), []).append(address)
        providers = _providers(self.plan)
        resources: list[DeclaredResource] = []
        for resource in self._resources(changes):
            provider = providers.get(self._configuration(resource.address).provider, _Provider())
            if provider.role and self.role not in ("", provider.role):
                self._assume(provider.role, resource)
                continue
            region = resource.properties.get("region")
            if not isinstance(region, str) or not region:
                region = provider.region
            resources.append(replace(resource, region=region))
            self.unknown.update(unknown_parts(resource.kind, resource.properties))
        calls = tuple(self.calls)
        self.unknown.update(_missing_parts(self.plan))
        if not (resources or calls or self.unknown):
            self.unknown[self.source] = "it has no resource of AWS"
        return Declaration(
            self.source,
            tuple(resources),
            calls=calls,
            plan_calls=calls,
            unknown=self.unknown,
            trusts=_trusts(resources),
            around=self._any_instances(resources),
            lacks_state=self.plan.get("tool") != TOOL,
        )

    def _changes(self) -> Iterator[Mapping[str, Any]]:
        """The changes of the plan, with those that a later plan makes; says which of AWS's types
        another provider has.
        """
        yield from self._known(self.plan.get("resource_changes") or ())
        for deferred in self.plan.get("deferred_changes") or ():
            change = deferred.get("resource_change") or {}
            self.unknown[f"the deferred {change.get('address')}"] = "a later plan decides on it"
            yield from self._known([change])

    def _known(self, changes: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
        """The changes; says of each whose needs are not known why."""
        for change in changes:
            name = str(change.get("type", ""))
            if name.startswith(("aws_", PREFIX)) and not _is_of_aws(change):
                provider = change.get("provider_name")
                self.unknown[name] = f"the provider {provider} makes it"
            elif change.get("unknown"):
                self.unknown[str(change["address"])] = str(change["unknown"])
            yield change

    def _resources(self, changes: Sequence[Mapping[str, Any]]) -> Iterator[DeclaredResource]:
        """The resources of changes, and the data sources that the plan has read."""
        for change in changes:
            if str(change["type"]).startswith(PREFIX):
                yield from self._controlled(change)
            else:
                yield from self._changed(change, _kind_of(change))
        for data_source in _data_sources(self.plan):
            self.budget.spend(steps=_STEPS_OF_RESOURCE)
            yield data_source

    def _configuration(self, address: str) -> ConfiguredResource:
        """The configuration of a resource, by the address of an instance."""
        return self.configured.get(_INDEX.sub("", address), _NOT_CONFIGURED)

    def _assume(self, role: str, resource: DeclaredResource) -> None:
        """Adds the call by which the provider of a resource assumes its role."""
        role_place = Place.of(role, ())
        because = f"the provider of {resource.address}"
        self.calls.update(dict.fromkeys(tool_calls("assume", because, role_place, role=role)))

    def _any_instances(self, resources: Sequence[DeclaredResource]) -> tuple[DeclaredResource, ...]:
        """What references to any instance of a resource mean."""
        by_address = grouped((_INDEX.sub("", resource.address), resource) for resource in resources)
        return tuple(
            _any_of(address, by_address[address])
            for address, instances in self.instances.items()
            if len(instances) > 1 and address in by_address
        )

    def _controlled(self, change: Mapping[str, Any]) -> Iterator[DeclaredResource]:
        """A resource of the provider `awscc`, and the calls of Cloud Control."""
        kind = kind_of_control(str(change["type"]))
        if kind is None:
            self.unknown[str(change["type"])] = NO_TABLE
            return
        detail = change.get("change", {})
        because = str(change.get("address", ""))
        deploy_place = self.place or Place("aws", UNKNOWN)
        for action in detail.get("actions", ()):
            step = f"control-{action}"
            self.calls.update(dict.fromkeys(tool_calls(step, because, deploy_place)))
        for resource in self._changed(change, kind):
            properties = control_properties(kind, resource.properties)
            changed = resource.changed
            if changed is not None:
                changed = frozenset(control_properties(kind, dict.fromkeys(changed)))
            name = _name(kind, properties)
            yield replace(resource, properties=properties, changed=changed, name=name)

    def _changed(self, change: Mapping[str, Any], kind: ResourceKind) -> Iterator[DeclaredResource]:
        """The resource of a change; two for a replacement, whose old one may have another name."""
        detail = change.get("change", {})
        actions: Sequence[str] = detail.get("actions", ())
        before = detail.get("before") or {}
        after = detail.get("after") or {}
        unknown = detail.get("after_unknown") or {}
        address = str(change.get("address", ""))
        arn = _arn(str(before.get("arn") or ""))
        old = DeclaredResource(
            kind, address, phases=(), properties=before, name=_name(kind, before)
        )
        if "create" not in actions and "update" not in actions:
            properties: dict[str, object] = dict(after or before)
            if "read" in actions:
                # A data source that only the deployment reads refers to what the plan makes.
                properties = self._with_references(properties, unknown, address)
            yield replace(
                old,
                phases=self._phases(actions, address),
                properties=properties,
                name=_name(kind, properties),
                arn=arn,
            )
            return
        properties = self._with_references(dict(after), unknown, address)
        tags = (after.get("tags_all"), after.get("tags"), after.get("tag"), unknown.get("tags"))
        new = replace(old, properties=properties, name=_name(kind, properties), tagged=any(tags))
        if "update" in actions:
            names = {*before, *after}
            changed = frozenset(name for name in names if before.get(name) != after.get(name))
            yield replace(new, phases=_PHASES["update"], changed=changed, arn=arn)
            return
        if "delete" in actions:
            yield replace(old, phases=_PHASES["delete"], arn=arn)
        yield replace(new, phases=_PHASES["create"])

    def _phases(self, actions: Iterable[str], address: str) -> tuple[Phase, ...]:
        """The phases that the actions of a change stand for; says which action no table has."""
        phases: dict[Phase, None] = {}
        for action in actions:
            if action not in _PHASES:
                self.unknown[f"the action {action} of {address}"] = "no table has it"
            phases.update(dict.fromkeys(_PHASES.get(action, ())))
        return tuple(phases)

    def _with_references(
        self, values: dict[str, object], unknown: Mapping[str, Any], address: str
    ) -> dict[str, object]:
        """The values of a resource with references for what only the deployment knows."""
        _put_references(values, unknown, self._configuration(address).attributes)
        return {name: self._of_instance(value, address) for name, value in values.items()}

    def _of_instance(self, value: object, address: str) -> object:
        """A value whose references name the instance: the only one, or the one with the index of
        the resource itself.
        """
        if isinstance(value, list):
            return [self._of_instance(element, address) for element in value]
        if isinstance(value, Mapping):
            return {name: self._of_instance(member, address) for name, member in value.items()}
        if not isinstance(value, Reference):
            return value
        instances = self._instances_of(value.address, address)
        target = instances[0] if len(instances) == 1 else _INDEX.sub("", value.address)
        return Reference(target, value.attribute)

    def _instances_of(self, wanted: str, address: str) -> list[str]:
        """The instances that a reference in a resource may mean."""
        instances = self.instances.get(_INDEX.sub("", wanted), [])
        referring = _instance(address)
        of_module = [
            instance for instance in instances if _instance(instance).module == referring.module
        ]
        candidates = of_module or instances
        if "[" in wanted:
            name = wanted.rpartition(".")[2]
            return [instance for instance in candidates if instance.endswith(name)]
        if len(candidates) == 1:
            return candidates
        return [instance for instance in candidates if _instance(instance).index == referring.index]


def _missing_parts(plan: Mapping[str, Any]) -> dict[str, str]:
    """What a plan says that it lacks -> the reason."""
    missing: dict[str, str] = {}
    if plan.get("errored"):
        missing["the rest of the plan"] = "it ended with an error"
    elif plan.get("complete") is False:
        missing["the rest of the plan"] = "it is not complete: a further plan follows"
    root = (plan.get("planned_values") or {}).get("root_module", {})
    has_values = bool(root.get("resources") or root.get("child_modules"))
    if has_values and not plan.get("resource_changes"):
        reason = "it lists planned values alone, and no resource_changes"
        missing["the changes of the plan"] = reason
    deferred = (each.get("action_invocation") for each in plan.get(_DEFERRED_ACTIONS) or ())
    for invocation in (*(plan.get("action_invocations") or ()), *deferred):
        if invocation and str(invocation.get("type", "")).startswith("aws_"):
            missing[f"the call of {invocation.get('address')}"] = "no table has what it needs"
    return missing


def _is_of_aws(change: Mapping[str, Any]) -> bool:
    """Whether a provider of AWS makes the resource of a change."""
    name = str(change.get("type", ""))
    provider = str(change.get("provider_name", "aws")).rpartition("/")[2]
    if name.startswith(PREFIX):
        return provider in ("aws", "awscc")
    return name.startswith("aws_") and provider == "aws"


def _kind_of(change: Mapping[str, Any]) -> ResourceKind:
    """The type of a change; a data source of the name of a resource type reads what that reads."""
    data_kind = ResourceKind(Tool.TERRAFORM, DATA + change["type"])
    if change.get("mode") == "data" and is_known(data_kind):
        return data_kind
    return ResourceKind(Tool.TERRAFORM, change["type"])


def _trusts(resources: Sequence[DeclaredResource]) -> dict[str, tuple[str, ...]]:
    """Address of a role -> the services that may assume it."""
    trusts: dict[str, tuple[str, ...]] = {}
    for resource in resources:
        for key in ("assume_role_policy", "AssumeRolePolicyDocument"):
            if resource.properties.get(key):
                trusts[resource.address] = trusted_services(_document(resource.properties[key]))
    return trusts


def _providers(plan: Mapping[str, Any]) -> dict[str, _Provider]:
    """Key of a provider's configuration -> region and role of its resources."""
    variables = {
        name: variable.get("value") for name, variable in (plan.get("variables") or {}).items()
    }

    def text(expression: object) -> str:
        """Returns the value of a constant or of one variable; else an empty text."""
        # In Terraform's JSON syntax an expression is also a constant: the text `${var.region}`.
        configured = expression if isinstance(expression, Mapping) else {}
        references = list(configured.get("references", ()))
        value = None
        if not references:
            value = configured.get("constant_value")
        elif len(references) == 1:
            value = variables.get(str(references[0]).removeprefix("var."))
        return value if isinstance(value, str) else ""

    providers = {}
    for key, provider in plan.get("configuration", {}).get("provider_config", {}).items():
        expressions = provider.get("expressions", {})
        role = text(_block(expressions.get("assume_role")).get("role_arn"))
        providers[key] = _Provider(text(expressions.get("region")), _arn(role))
    return providers


def _block(value: object) -> Mapping[str, Any]:
    """The one block of a name; empty without one."""
    if isinstance(value, list) and value:
        value = value[0]
    return value if isinstance(value, Mapping) else {}


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
    config = _backend_config(raw)
    if not config.get("bucket"):
        return ()
    bucket = open_text(config["bucket"])
    place = replace(place, region=open_text(config.get("region") or place.region))
    because = "the backend in S3"
    assuming_block = _block(config.get("assume_role"))
    assumed_role = str(assuming_block.get("role_arn") or config.get("role_arn") or "")
    if assumed_role not in ("", role):
        return tuple(tool_calls("assume", because, place, role=open_text(assumed_role)))
    key = open_text(config.get("key") or UNKNOWN)
    workspace_prefix = open_text(config.get("workspace_key_prefix") or "env:")
    key_in_workspaces = f"{workspace_prefix}/{UNKNOWN}/{key}"
    needs: list[Need] = []
    for step in ("state", "write") if applies else ("state",):
        for object_key in (key, key_in_workspaces):
            needs += tool_calls(step, because, place, bucket=bucket, key=object_key)
    if config.get("use_lockfile"):
        needs += tool_calls("lock", because, place, bucket=bucket, key=key)
    if config.get("dynamodb_table"):
        table = open_text(config["dynamodb_table"])
        needs += tool_calls("table", because, place, table=table)
    if config.get("kms_key_id"):
        arn = _key_arn(open_text(config["kms_key_id"]), place)
        needs += tool_calls("key", because, place, key=arn)
    return tuple(dict.fromkeys(needs))


def _backend_config(raw: bytes) -> Mapping[str, Any]:
    """The configuration of a backend in S3; empty for another one."""
    try:
        backend = json.loads(raw).get("backend", {})
    except (ValueError, AttributeError, RecursionError):
        return {}
    if not isinstance(backend, dict) or backend.get("type") != "s3":
        return {}
    config = backend.get("config")
    return config if isinstance(config, dict) else {}


def _key_arn(key: str, place: Place) -> str:
    """The ARN of a key by its id or ARN; a pattern for an alias."""
    name = UNKNOWN if "alias/" in key else key
    if name.startswith("arn:"):
        return name
    return f"arn:{place.partition}:kms:{place.region}:{place.account}:key/{name}"


def _any_of(address: str, resources: Sequence[DeclaredResource]) -> DeclaredResource:
    """The resource that a reference to any instance of a resource means: what their names share."""
    name = common_beginning([resource.name for resource in resources]) + UNKNOWN
    return replace(resources[0], address=address, phases=(), name=name.replace("**", "*"), arn="")


def _arn(text: str) -> str:
    """An ARN; empty for another text."""
    return text if text.startswith("arn:") else ""


def _name(kind: ResourceKind, properties: Mapping[str, object]) -> str:
    """The name by the attribute that a variable of the ARN is named after, by `name`, or by a
    prefix.
    """
    texts: dict[str, str] = {}
    for key, value in properties.items():
        if isinstance(value, str) and value not in ("", UNKNOWN):
            texts[plain(key)] = value
    resource_types = [each for each in own_types(kind) if own_variables(each.arn)]
    variables = dict.fromkeys(
        name_variable(own_variables(each.arn), kind) for each in resource_types
    )
    attributes_of_arn = [plain(name).removesuffix("withpath") for name in variables]
    if resource_types and all(is_given_id(each, kind) for each in resource_types):
        return _id(kind, attributes_of_arn, texts)
    attributes = [*attributes_of_arn, *_naming_attributes(kind, attributes_of_arn)]
    for attribute in attributes:
        # An attribute `policy` holds a document and no name.
        is_name = attribute in texts and not _DOCUMENT.match(texts[attribute])
        if is_name and attribute != "id":
            # A `*` in it is a character, and not what only the deployment knows.
            return escape_observed(texts[attribute])
    for attribute in attributes:
        prefix = texts.get(f"{attribute}prefix")
        if prefix:
            return f"{escape_observed(prefix)}{UNKNOWN}"
    return name_by_parameter(kind, properties)


def _last_word(kind: ResourceKind) -> str:
    """The last word of a type: `queue` of `aws_sqs_queue`."""
    return re.split("::|_", kind.name)[-1].lower()


def _id(kind: ResourceKind, attributes_of_arn: Iterable[str], texts: Mapping[str, str]) -> str:
    """The id that AWS gives a resource; UNKNOWN where the plan does not know it yet."""
    last = _last_word(kind)
    for attribute in (*attributes_of_arn, f"{last}id", f"{last}identifier", "identifier"):
        if attribute in texts:
            return escape_observed(texts[attribute])
    return UNKNOWN


def _naming_attributes(kind: ResourceKind, attributes_of_arn: Iterable[str]) -> Iterator[str]:
    """The attributes that may hold the name of a type, besides those of its ARN."""
    yield from (name.removesuffix("name") for name in attributes_of_arn)
    last = _last_word(kind)
    yield from ("name", "identifier", last, f"{last}name")
    if last != "function":
        yield from (f"{last}identifier", "clusteridentifier")
    if last == "object":
        yield "key"
    words = kind.name.split("_")[2:]
    for start in range(len(words) - 1):
        yield "".join(words[start:])


def _data_sources(plan: Mapping[str, Any]) -> Iterator[DeclaredResource]:
    """The data sources that the plan has read; one of the name of a resource type reads what that
    type reads.
    """
    modules = [plan.get("prior_state", {}).get("values", {}).get("root_module", {})]
    while modules:
        module = modules.pop()
        modules.extend(module.get("child_modules", ()))
        for resource in module.get("resources", ()):
            name = str(resource.get("type", ""))
            if resource.get("mode") != "data" or not name.startswith("aws_") or needs_nothing(name):
                continue
            values = resource.get("values") or {}
            kind = _kind_of(resource)
            yield DeclaredResource(
                kind,
                address=resource.get("address", ""),
                phases=(Phase.READ,),
                properties=values,
                name=_name(kind, values),
                arn=str(values.get("arn") or ""),
            )


def _put_references(
    values: dict[str, object], unknown: Mapping[str, Any], configured: object
) -> None:
    """Puts into a block what the configuration says of the values that only the deployment knows.

    Args:
        values: the block, which is changed.
        unknown: by attribute, true where only the deployment knows the value; blocks as they are.
        configured: the configuration of the block.
    """
    configuration = configured if isinstance(configured, Mapping) else {}
    for name, unknown_value in unknown.items():
        value = values.get(name)
        if unknown_value is True:
            # An attribute that AWS decides is known to be there, and not set.
            values[name] = configuration.get(name) if value in (None, "", []) else value
        elif isinstance(unknown_value, Mapping) and isinstance(value, dict):
            _put_references(value, unknown_value, configuration.get(name))
        elif isinstance(unknown_value, list) and isinstance(value, list):
            blocks = configuration.get(name)
            if not isinstance(blocks, list):
                # All blocks have the configuration of one dynamic block.
                blocks = [blocks] * len(value)
            for part, unknown_part, block in zip_longest(value, unknown_value, blocks):
                if isinstance(part, dict) and isinstance(unknown_part, Mapping):
                    _put_references(part, unknown_part, block)


class _Instance(Struct, frozen=True):
    """The place of an instance of a resource."""

    module: str
    """With its index."""
    index: str
    """Of the resource itself."""


def _instance(address: str) -> _Instance:
    """The place of the instance of an address: `module.vpc["a"].aws_subnet.b[0]`."""
    without_dots = _INDEX.sub(lambda match: match[0].replace(".", "\0"), address)
    *module, _, name = without_dots.split(".")
    return _Instance(".".join(module), name.partition("[")[2])


def _document(value: object) -> object:
    """The value of a policy in JSON; an empty one for another text."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return {}
