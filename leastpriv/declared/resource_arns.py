"""Derives the ARNs of declared resources.

An ARN comes from the name of the resource, from other resources that its properties refer to, or
else is the pattern of its type, where `*` replaces what only the deployment knows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from functools import lru_cache

from msgspec import Struct

from leastpriv.budget import Budget
from leastpriv.declared.models import (
    UNKNOWN,
    Declaration,
    DeclaredResource,
    Place,
    Reference,
    leaves,
    members,
    open_text,
)
from leastpriv.declared.resource_types import (
    PATHED,
    SHORTEST,
    VERB,
    as_id,
    end_of_id,
    name_variable,
    own_types,
    plain,
    transform_of,
    types_of,
)
from leastpriv.permissions import catalog
from leastpriv.permissions.arn_parts import transformed
from leastpriv.permissions.fact_tables import table
from leastpriv.permissions.patterns import without_covered
from leastpriv.permissions.resource_types import VARIABLE, end_of, fits, own_variables
from leastpriv.permissions.service_facts import (
    ResourceType,
    TypeChoice,
    TypeRules,
    rules_of,
    service_facts,
)
from leastpriv.permissions.tool_lifecycle import (
    Phase,
    ResourceKind,
    actions_of_phase,
    making_actions,
    name_property,
)

TAGS = re.compile(
    "Tag(s|Resource|sForResource|sToResource|sFromResource)?$|Tags?(For|To|From|On|Of)[A-Z]"
)
"""Ends the names of actions about tags."""
_GENERAL = frozenset({"name", "id", "resourceid", "resourcename", "identifier", "type"})
"""Variables of ARNs that several types have."""
_LONGEST_NAME = 2_048
"""Characters of the longest ARN (`ResourceArns`,
https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulateCustomPolicy.html, read 2026-11-26):
no resource has a longer name.
"""
_SEVERAL = 2
_MOST_LEVELS = 25
"""References that are followed from one resource to the next."""
_ID = re.compile("[a-z]+-[0-9a-z]+")
_WORD = re.compile(r"[A-Z][a-z]+")
_CREATES = re.compile(":Create[A-Z]")
_BUCKET_HOST = re.compile(r"\.s3[.-][a-z0-9.-]*amazonaws\.com(\.cn)?$")
_FIELD = re.compile(r"\{([\w-]+)\}")
_SEPARATOR = re.compile("[:/]")
_IMAGE = re.compile(
    r"(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(?:\.cn)?/"
    r"(?P<name>[a-z0-9._/-]+)(?=[:@]|$)"
)
"""The address of an image in Amazon ECR."""
_REPEATED_ID_START = re.compile(r"(?<=/)([a-z]+-)(?=\1)")


class ActionArns(Struct, frozen=True):
    """The ARNs that an action on a resource is authorized on."""

    arns: tuple[str, ...]
    is_named: bool
    """Whether a name limits each of them; the pattern of a type is not limited."""


class _TypedArn(Struct, frozen=True):
    """An ARN, and of which type it is."""

    text: str
    suffix: str
    """What follows the ARN where the action is authorized on a part of it: `/*`."""
    type_name: str


class _ActionTypes(Struct, frozen=True):
    """The types of an action that its request means for a resource."""

    own_names: frozenset[str]
    """Names of the types that the resource itself is."""
    required: Sequence[ResourceType]
    optional: Sequence[ResourceType]


class _PropertyNames(Struct, frozen=True):
    """How the properties are called that fill one variable of an ARN: `${FunctionName}`."""

    stem: str
    exact: frozenset[str]
    endings: tuple[str, ...]
    makers: str
    """The declared type and its making actions, in which such a property may have its start.

    `db_subnet_group_name` of `rds:CreateDBCluster` fills `${SubnetGroupName}`.
    """

    @classmethod
    def of(cls, variable: str, resource_type: ResourceType, kind: ResourceKind) -> _PropertyNames:
        """Returns the names for a variable in the ARN of a type, in resources of a kind."""
        type_name = plain(resource_type.name)
        stem = plain(variable.removesuffix(PATHED)).removesuffix("name").removesuffix("id")
        stem = stem or type_name
        service = _service(resource_type.arn)
        exact = {stem, f"{service}{stem}"}
        exact |= {f"{stem}{ending}" for ending in ("name", "id", "arn", "url")}
        return cls(
            stem=stem,
            exact=frozenset(exact),
            endings=(f"{stem}name", f"{stem}identifier", f"{type_name}identifier"),
            makers=plain(",".join([kind.name, *making_actions(kind)])),
        )

    def include(self, key: str) -> bool:
        """Whether a property is called so."""
        if plain(key) in self.exact or _is_end_of(self.stem, key):
            return True
        for ending in self.endings:
            if plain(key).endswith(ending):
                return plain(key).removesuffix(ending) in self.makers
        return False


class Arns:
    """The ARNs of the resources of one declaration."""

    def __init__(
        self, declaration: Declaration, place: Place, budget: Budget | None = None
    ) -> None:
        self._declaration = declaration
        self._place = place
        self._budget = budget or Budget.of("needs")
        self._region = place.region
        """Of the resource whose action is authorized."""
        self._open: list[str] = []
        """Addresses of the resources that are being followed: one may refer to itself."""
        self._known: dict[tuple[str, ...], str] = {}
        """What was found of a resource that others refer to, by the question."""
        self._known_types: dict[str, Sequence[ResourceType]] = {}

    @contextmanager
    def _following(self, target: DeclaredResource) -> Iterator[bool]:
        """Whether a reference can be followed: not in a circle, and not without end."""
        can_follow = target.address not in self._open and len(self._open) < _MOST_LEVELS
        self._open.append(target.address)
        try:
            yield can_follow
        finally:
            self._open.pop()

    # What an action is authorized on

    def of_action(self, action: str, resource: DeclaredResource) -> ActionArns:
        """Returns the ARNs that an action on a resource is authorized on."""
        self._budget.spend(steps=1 + len(resource.properties))
        self._region = resource.region or self._place.region
        facts = catalog.action(action)
        if facts is None or not facts.resource_types or rules_of(action).on_all == "always":
            return ActionArns(("*",), is_named=True)
        paths = self._paths(action, resource)
        if paths:
            return ActionArns(paths, is_named=True)
        if _is_of_other_paths(action, resource.kind):
            return ActionArns((), is_named=True)

        types = self._types_of_action(action, resource, facts.resource_types)
        if types.required:
            return self._of_required_types(action, types, resource)
        return self._of_alternative_types(action, types.optional, resource)

    def _types_of_action(
        self, action: str, resource: DeclaredResource, accepted: Sequence[ResourceType]
    ) -> _ActionTypes:
        types_of_resource = self._types(resource)
        own_names = frozenset(type_.name for type_ in types_of_resource)
        segments = {*self._segments(resource), *map(_segment_of, types_of_resource)} - {""}
        if segments:
            accepted = [type_ for type_ in accepted if _segment_of(type_) in segments | {""}]
        chosen_types = [
            type_
            for type_ in accepted
            if type_.name in own_names or self._is_chosen(type_, [action], resource, if_set=True)
        ]
        accepted = chosen_types or accepted

        rows = [row for row in table("also_needed", __package__) if row["action"] == action]
        needed_names = own_names | {row["type"] for row in rows}
        required = [type_ for type_ in accepted if type_.required or type_.name in needed_names]
        required_own = [type_ for type_ in required if type_.name in own_names]
        if required_own and TAGS.search(action):
            # The types of an action that tags any resource of its service are alternatives.
            return _ActionTypes(own_names, required=required_own, optional=[])
        optional = [type_ for type_ in accepted if type_ not in required]
        return _ActionTypes(own_names, required, optional)

    def _of_required_types(
        self, action: str, types: _ActionTypes, resource: DeclaredResource
    ) -> ActionArns:
        own_arns: dict[str, _TypedArn] = {}
        named_arns: dict[str, _TypedArn] = {}
        patterns: list[str] = []
        for type_ in types.required:
            suffix = end_of(action, type_.name)
            if type_.name in types.own_names:
                own_arns |= _typed(self._own(type_, resource), suffix, type_)
                continue
            arns = self._named(action, type_, resource)
            if arns:
                named_arns |= _typed(arns, suffix, type_)
            else:
                patterns.append(self._fill(type_, self._unnamed(action, type_, resource)) + suffix)
        is_making = action in making_actions(resource.kind) or _CREATES.search(action)
        for type_ in types.optional:
            if is_making:
                arns = self._optional(action, type_, resource)
            else:
                arns = self._referred(action, type_, resource)
            named_arns |= _typed(arns, "", type_)

        arns = [
            *_without_alternatives(own_arns.values(), resource),
            *_without_alternatives(named_arns.values(), resource),
        ]
        for pattern in patterns:
            # A required type that only another one's ARN could fill, like both kinds of rules, is
            # an alternative of it.
            if not any(_same_family(pattern, arn) for arn in arns):
                arns.append(pattern)

        own_required = [type_ for type_ in types.required if type_.name in types.own_names]
        needs_name = any(own_variables(type_.arn) for type_ in own_required)
        is_named = bool(own_arns or named_arns) and (resource.has_name or not needs_name)
        return ActionArns(without_covered(arns), is_named)

    def _of_alternative_types(
        self, action: str, types: Sequence[ResourceType], resource: DeclaredResource
    ) -> ActionArns:
        """The ARNs of an action that requires none of its types.

        They are those that the properties name, or else those named like the resource.
        """
        types_named_alike = [type_ for type_ in types if _is_named_like(type_, resource.kind)]
        if types_named_alike:
            is_named = not any(own_variables(type_.arn) for type_ in types_named_alike)
            return ActionArns(
                without_covered(self._fill(type_, {}) for type_ in types_named_alike), is_named
            )
        if TAGS.search(action):
            # What a service makes for a resource gets the tags, too: the network interfaces of a
            # directory.
            types_of_others = _types_of_others(action, resource.kind)
            types = [type_ for type_ in types if type_.name in types_of_others] or types

        arns: dict[str, _TypedArn] = {}
        for type_ in types:
            suffix = end_of(action, type_.name)
            arns |= _typed(self._named(action, type_, resource), suffix, type_)
        if arns and self._has_part(types, resource):
            # A call about an alias of a function is authorized on `function:NAME:ALIAS`.
            return ActionArns(without_covered(arn.text for arn in arns.values()), is_named=True)
        if arns:
            arns_left = _without_alternatives(arns.values(), resource)
            return ActionArns(without_covered(arns_left), is_named=True)
        if rules_of(action).on_all == "unnamed":
            return ActionArns(("*",), is_named=True)
        patterns = [self._fill(type_, {}) + end_of(action, type_.name) for type_ in types]
        return ActionArns(without_covered(patterns), is_named=False)

    def _has_part(self, types: Sequence[ResourceType], resource: DeclaredResource) -> bool:
        """Whether a property refers to a part, as an alias, of what a variable names."""
        variables = {name for type_ in types for name in own_variables(type_.arn)}
        for value in leaves(resource.properties):
            if any(self._of_parent(variable, value) for variable in variables):
                return True
        return False

    def _paths(self, action: str, resource: DeclaredResource) -> tuple[str, ...]:
        """The paths of the operations that one action authorizes, as `apigateway:POST` for all."""
        templates = _paths_of(action, resource.kind, resource.tagged)
        return without_covered(
            _FIELD.sub(lambda field: self._path_value(field[1], resource), template)
            for template in templates
        )

    def _path_value(self, variable: str, resource: DeclaredResource) -> str:
        if variable == "region":
            return self._region
        if variable == "partition":
            return self._place.partition
        name = plain(variable)
        if name == plain(name_property(resource.kind)):
            return resource.name
        if name.endswith("id"):
            return UNKNOWN
        for key, value in resource.properties.items():
            if plain(key) == name:
                return self.text(value)
        return UNKNOWN

    # Resources and their types

    def pattern(self, service: str, type_name: str) -> str:
        """Returns the pattern of all resources of a type."""
        for type_ in service_facts(service).types:
            if type_.name == type_name:
                return self._fill(type_, {})
        return UNKNOWN

    def own_arn(self, resource: DeclaredResource) -> str:
        """Returns the ARN of a resource by its type; where that has several ARNs or none, the one
        that the declaration states, else UNKNOWN.
        """
        arns: list[str] = []
        for type_ in self._types(resource):
            arns += self._own(type_, resource)
        if len(arns) == 1:
            return arns[0]
        return resource.arn or UNKNOWN

    def related(self, resource: DeclaredResource) -> Iterator[DeclaredResource]:
        """Yields a resource and those that its properties refer to or name."""
        yield resource
        for value in leaves(resource.properties):
            target = self._declaration.target(value)
            if target:
                yield target
            elif isinstance(value, str):
                yield from self._declaration.by_name.get(open_text(value), ())

    def _types_of_target(self, target: DeclaredResource) -> Sequence[ResourceType]:
        """The types of a resource that another one refers to."""
        if target.address not in self._known_types:
            with self._following(target) as can_follow:
                types = self._types(target) if can_follow else own_types(target.kind)
            self._known_types[target.address] = types
        return self._known_types[target.address]

    def _types(self, resource: DeclaredResource) -> Sequence[ResourceType]:
        """The types that a resource is, by the property that decides where there are several."""
        types = own_types(resource.kind)
        if len(types) < _SEVERAL:
            return types
        segments = set(self._segments(resource))
        actions = making_actions(resource.kind)
        chosen_types = [
            type_
            for type_ in types
            if (not segments or _segment_of(type_) in segments)
            and self._is_chosen(type_, actions, resource)
        ]
        return chosen_types or types

    def _segments(self, resource: DeclaredResource) -> Iterator[str]:
        """The forms of what a resource is a part of: `app` of the load balancer of a listener."""
        for value in leaves(resource.properties):
            target = self._declaration.target(value)
            if target is None or target.address == resource.address:
                continue
            if len(own_types(target.kind)) < _SEVERAL:
                continue
            for type_ in self._types_of_target(target):
                if _segment_of(type_):
                    yield _segment_of(type_)

    def _is_chosen(
        self,
        resource_type: ResourceType,
        actions: Sequence[str],
        resource: DeclaredResource,
        *,
        if_set: bool = False,
    ) -> bool:
        """Whether the properties of a resource allow that it is of a type: with `eventBusName`
        `orders` a rule is a `rule-on-custom-event-bus` and no `rule-on-default-event-bus`.

        An unknown value rules no type out.

        Args:
            resource_type: One of the types that the resource may be.
            actions: Actions whose requests carry the deciding properties.
            resource: The declared resource.
            if_set: Whether a property that is not set decides nothing; else it counts as absent.
        """
        for choice in _choices_of(resource_type, actions):
            texts = self._parameter_texts(choice.parameter, resource)
            is_open = choice.value == UNKNOWN or any(UNKNOWN in text for text in texts)
            if is_open or (if_set and not texts):
                continue
            if not _agrees(texts, choice):
                return False
        return True

    def _parameter_texts(self, parameter: str, resource: DeclaredResource) -> list[str]:
        """The last parts of the properties that set a parameter of the making actions."""
        actions = [plain(action) for action in making_actions(resource.kind)]
        texts = []
        for key, value in resource.properties.items():
            name = plain(key)
            if value is None or not name.endswith(parameter):
                continue
            start = name.removesuffix(parameter)
            if not start or any(action.endswith(start) for action in actions):
                texts.append(_last_part(self.text(value)))
        return texts

    # Properties

    def text(self, value: object) -> str:
        """Returns the text of a property, with UNKNOWN for what only the deployment knows."""
        if isinstance(value, Reference):
            return self._referenced_text(value)
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            return open_text(value)
        return UNKNOWN

    def _referenced_text(self, reference: Reference) -> str:
        target = self._declaration.target(reference)
        if target is None:
            return UNKNOWN
        attribute = reference.attribute.lower()
        if attribute.endswith("arn"):
            return self._arn_of_target(target)
        if not attribute or attribute.endswith(("name", "id", "bucket")):
            return target.name
        return UNKNOWN

    def _arn_of_target(self, target: DeclaredResource) -> str:
        """The ARN of a resource that another one refers to."""
        question = ("arn", target.address, self._region)
        if question not in self._known:
            with self._following(target) as can_follow:
                self._known[question] = self.own_arn(target) if can_follow else UNKNOWN
        return self._known[question]

    def may_hold(self, value: object, text: str) -> bool:
        """Whether a text is in a property, as a service in an ARN.

        What only the deployment knows may have it.
        """
        for leaf in leaves(value):
            if isinstance(leaf, Reference):
                target = self._declaration.target(leaf)
                forms = [own.arn for own in own_types(target.kind)] if target else []
                if not forms or any(text in form for form in forms):
                    return True
            elif isinstance(leaf, str) and (text in leaf or _has_open_service(leaf)):
                return True
        return False

    def _by_property(
        self, variable: str, resource_type: ResourceType, resource: DeclaredResource
    ) -> str:
        """The text of the property that a variable is named after; empty without one."""
        names = _PropertyNames.of(variable, resource_type, resource.kind)
        for member in members(resource.properties):
            key = member.key
            if member.value in (None, self._place.account):
                # The id of an account, as of a catalogue of Glue, names no resource in it.
                continue
            transform = transform_of(variable, resource_type, plain(key))
            if not transform and not names.include(key):
                continue
            text = self._variable_text(variable, resource_type, key, member.value, transform)
            if text is not None:
                return text
        for value in leaves(resource.properties):
            text = self._of_parent(variable, value)
            if text:
                return text
        return ""

    def _variable_text(
        self, variable: str, resource_type: ResourceType, key: str, value: object, transform: str
    ) -> str | None:
        """What a variable has where a property fills it; None if it names another service."""
        if self._gives_no_id(variable, resource_type, key, value):
            return UNKNOWN
        text = self._of_parent(variable, value) or self.text(value)
        text = _BUCKET_HOST.sub("", text)
        if plain(key).endswith("arn") and self._is_of_other_service(value, text, resource_type):
            return None
        if transform and UNKNOWN not in text:
            return transformed(transform, text) or UNKNOWN
        if not text.startswith(("arn:", "https://")):
            return as_id(text, resource_type)
        if isinstance(value, Reference) and text.endswith(UNKNOWN):
            # AWS ends the ARN of a load balancer with an id after its name.
            return self.text(Reference(value.address))
        return _last_part(text)

    def _gives_no_id(
        self, variable: str, resource_type: ResourceType, key: str, value: object
    ) -> bool:
        """Whether a variable is an id that AWS gives, which this property cannot have."""
        if not variable.endswith("Id"):
            return False
        has_name_too = f"${{{variable.removesuffix('Id')}Name}}" in resource_type.arn
        if has_name_too and isinstance(value, Reference):
            return True
        return end_of_id(resource_type) is None and self._is_name(key, value)

    def _is_name(self, key: str, value: object) -> bool:
        """Whether a property holds a name of a resource to which AWS gives an id."""
        if not isinstance(value, Reference):
            return plain(key).endswith("name")
        target = self._declaration.target(value)
        return target is not None and plain(name_property(target.kind)).endswith("name")

    def _is_of_other_service(self, value: object, text: str, resource_type: ResourceType) -> bool:
        target = self._declaration.target(value)
        if target:
            arns = [own_type.arn for own_type in own_types(target.kind)]
        else:
            arns = [text] if text.startswith("arn:") else []
        services = {_service(arn) for arn in arns}
        return bool(services) and services.isdisjoint({_service(resource_type.arn), UNKNOWN})

    def _of_parent(self, variable: str, value: object) -> str:
        """The function of an alias that a property refers to, and the like; else empty."""
        target = self._declaration.target(value)
        if target is None:
            return ""
        for type_ in own_types(target.kind):
            variables = own_variables(type_.arn)
            if variable not in variables or name_variable(variables, target.kind) == variable:
                continue
            question = (variable, target.address, type_.name, self._region)
            if question not in self._known:
                with self._following(target) as can_follow:
                    name = self._by_property(variable, type_, target) if can_follow else ""
                self._known[question] = name
            return self._known[question]
        return ""

    # ARNs of one type

    def _own(self, resource_type: ResourceType, resource: DeclaredResource) -> list[str]:
        """The ARN of the resource itself, as one of its types."""
        if resource.arn:
            return [resource.arn]
        variables = own_variables(resource_type.arn)
        if not variables:
            return [self._fill(resource_type, {})]
        name_part = name_variable(variables, resource.kind)
        values: dict[str, str] = {}
        for variable in variables:
            if variable != name_part:
                text = self._by_property(variable, resource_type, resource)
                default = _default_of(variable, resource_type, making_actions(resource.kind))
                values[variable] = text or default
        values[name_part] = self._name_in_arn(name_part, resource_type, resource)
        return [self._fill(resource_type, values)]

    def _name_in_arn(
        self, variable: str, resource_type: ResourceType, resource: DeclaredResource
    ) -> str:
        """The name of a resource as its ARN has it."""
        name = resource.name
        if name == UNKNOWN:
            name = self._by_last_word(variable, resource)
        if variable.endswith(PATHED):
            path = resource.properties.get("Path", resource.properties.get("path", "/"))
            name = f"{self.text(path).strip('/')}/{name}".lstrip("/")
        elif name.startswith("arn:"):
            name = _last_part(name)
        if variable.endswith("Id"):
            name = as_id(name, resource_type)
        if "WithoutLeadingSlash" in variable:
            name = name.lstrip("/")
        # The name of an alias of KMS begins with the `alias/` of its ARN.
        before, _, _ = resource_type.arn.partition(f"${{{variable}}}")
        start = before.rpartition(":")[2]
        return name.removeprefix(start) + (end_of_id(resource_type) or "")

    def _named(
        self, action: str, resource_type: ResourceType, resource: DeclaredResource
    ) -> list[str]:
        """The ARNs of another type that the properties of a resource name or refer to."""
        referred = self._referred(action, resource_type, resource)
        variables = own_variables(resource_type.arn)
        if referred or not variables:
            return referred
        defaults = self._own_names(resource) if len(variables) > 1 else {}
        values: dict[str, str] = {}
        for variable in variables:
            text = self._by_property(variable, resource_type, resource)
            values[variable] = text or defaults.get(variable, UNKNOWN)
        for declared in self._declaration.by_name.get(values[variables[-1]], ()):
            if self._is_of_type(declared, resource_type):
                return self._own(resource_type, declared)
        if all(value == UNKNOWN for value in values.values()):
            return []
        return [self._fill(resource_type, values)]

    def _own_names(self, resource: DeclaredResource) -> Mapping[str, str]:
        """The variables that the name of a resource fills, in the ARNs of its parts too.

        The name of a group of schedules is in the ARN of each schedule.
        """
        names: dict[str, str] = {}
        if not resource.has_name:
            return names
        for type_ in self._types(resource):
            variables = own_variables(type_.arn)
            if not variables:
                continue
            variable = name_variable(variables, resource.kind)
            if plain(variable) not in _GENERAL:
                names[variable] = resource.name
        return names

    def _unnamed(
        self, action: str, resource_type: ResourceType, resource: DeclaredResource
    ) -> dict[str, str]:
        """The name that AWS takes where no property names one, as the default option group."""
        variables = own_variables(resource_type.arn)
        actions = making_actions(resource.kind)
        for row in table("also_needed", __package__):
            if row["action"] != action or row["type"] != resource_type.name:
                continue
            is_made = any(maker.startswith(row["maker"]) for maker in actions)
            if row["unnamed"] and is_made:
                is_set = self._by_property(variables[-1], resource_type, resource)
                return {} if is_set else {variables[-1]: row["unnamed"]}
        return {}

    def _optional(
        self, action: str, resource_type: ResourceType, resource: DeclaredResource
    ) -> list[str]:
        """The ARNs of a type that count where the request names them: the VPC of a group.

        They are those of resources that the resource refers to, else those that its properties
        name; every ARN of the type where a property names one that is not known.
        """
        referred = self._referred(action, resource_type, resource)
        if referred:
            return referred
        variables = own_variables(resource_type.arn)
        if len(variables) != 1 or self._is_variant(action, resource_type, resource):
            return []
        named = self._named(action, resource_type, resource)
        if named:
            return named
        for key, value in resource.properties.items():
            if value and plain(key) == plain(variables[0]):
                return [self._fill(resource_type, {})]
        return []

    def _is_variant(
        self, action: str, resource_type: ResourceType, resource: DeclaredResource
    ) -> bool:
        """Whether the name of a type ends in that of another one, which a property then means:
        `secondary-subnet` ends in `subnet`, and `subnet_id` names a subnet.

        The caller then takes only resources that properties refer to, and none by its name.

        Args:
            action: The action, which may take both types.
            resource_type: The type that may be a variant.
            resource: The declared resource, which may be of the other type itself.
        """
        other_types = [
            other_type for other_type in types_of([action]) if other_type != resource_type
        ]
        for other in (*self._types(resource), *other_types):
            if plain(resource_type.name).endswith(plain(other.name)):
                return True
        return False

    def _referred(
        self, action: str, resource_type: ResourceType, resource: DeclaredResource
    ) -> list[str]:
        """The ARNs of another type in the properties, and of resources that these refer to."""
        arns: list[str] = []
        for value in leaves(resource.properties):
            target = self._declaration.target(value)
            if target and self._is_of_type(target, resource_type):
                arns.extend(self._own(resource_type, target))
            elif isinstance(value, str):
                # The ARN of a log group ends with `:*`, which is no part of its name.
                text = open_text(type(value)(value.removesuffix(":*")))
                arns.extend(self._arns_in(text, action, resource_type))
        return arns

    def _arns_in(self, text: str, action: str, resource_type: ResourceType) -> list[str]:
        """The ARN of a type that a property writes out, or names by an id."""
        if text.startswith(("arn:", "*arn:", "s3://")):
            arn = text.replace("s3://", f"arn:{self._place.partition}:s3:::", 1)
            if "/" not in resource_type.arn:
                # An object's ARN names its bucket.
                arn = arn.partition("/")[0]
            return [arn] if _is_arn_of(arn, action, resource_type) else []
        image = _IMAGE.match(text)
        if image and resource_type.name == "repository":
            registry_arn = f"arn:{self._place.partition}:ecr:{image['region']}:{image['account']}"
            return [f"{registry_arn}:repository/{image['name']}"]
        resource_id = _id_in(text, resource_type)
        if resource_id:
            return [self._fill(resource_type, {own_variables(resource_type.arn)[-1]: resource_id})]
        form = _path_form(resource_type.arn)
        if form and re.fullmatch(form, text):
            # The end of an ARN as an id, `service/web/orders`, which a target of scaling names.
            start = self._fill(resource_type, {}).split(":")[:5]
            return [":".join([*start, text])]
        return []

    def _is_of_type(self, target: DeclaredResource, resource_type: ResourceType) -> bool:
        types = self._types_of_target(target)
        return any(own_type.arn == resource_type.arn for own_type in types)

    def _by_last_word(self, variable: str, resource: DeclaredResource) -> str:
        """The property called as the last word of a name: `Family` of `TaskDefinitionFamily`."""
        words = _WORD.findall(variable.removesuffix("Name"))
        if len(words) < _SEVERAL:
            return UNKNOWN
        for key, value in resource.properties.items():
            if key.title() == words[-1]:
                text = self.text(value)
                return UNKNOWN if text.startswith("arn:") else text
        return UNKNOWN

    def _fill(self, resource_type: ResourceType, values: Mapping[str, str]) -> str:
        """Returns the ARN of a type with its variables filled; a name that is too long for any
        resource is not known.
        """
        names = {
            name: text if len(text) <= _LONGEST_NAME else UNKNOWN for name, text in values.items()
        }
        values = {
            **names,
            "Partition": self._place.partition,
            "Region": self._region,
            "Account": self._place.account,
        }
        arn = VARIABLE.sub(lambda name: values.get(name[1], UNKNOWN), resource_type.arn)
        # An id comes with its start, which the ARN has, too: `ou/o-*/ou-ou-abcd`.
        arn = _REPEATED_ID_START.sub("", arn)
        return re.sub(r"\*{2,}", UNKNOWN, arn)


def _typed(arns: Sequence[str], suffix: str, resource_type: ResourceType) -> dict[str, _TypedArn]:
    return {arn: _TypedArn(arn, suffix, resource_type.name) for arn in arns}


def _agrees(texts: Sequence[str], choice: TypeChoice) -> bool:
    """Whether the texts of a parameter mean a type.

    `this`: the type counts if all have its value or none is set; `only`: if one has it; else if
    not.
    """
    if choice.means == "only":
        return choice.value in texts
    has_value = all(text == choice.value for text in texts)
    return has_value == (choice.means == "this")


def _is_arn_of(arn: str, action: str, resource_type: ResourceType) -> bool:
    """Whether an ARN in a property is one of a type that an action takes."""
    if f":{_service(resource_type.arn)}:" not in arn or not fits(action, arn):
        return False
    fixed_parts = VARIABLE.split(resource_type.arn)[::2]
    return re.fullmatch(".*".join(map(re.escape, fixed_parts)), arn) is not None


def _has_open_service(text: str) -> bool:
    """Whether only the deployment knows the service of an ARN, or any part of another text."""
    if text.startswith("arn:"):
        return UNKNOWN in text[: text.find(":", len("arn:"))]
    return UNKNOWN in text


def _service(arn: str) -> str:
    return arn.split(":")[2]


def _last_part(text: str) -> str:
    return _SEPARATOR.split(text)[-1]


# Types and their ARNs


def _rules(resource_type: ResourceType, actions: Iterable[str]) -> Iterator[TypeRules]:
    for action in actions:
        rules = rules_of(action).types.get(resource_type.name.lower())
        if rules:
            yield rules


def _choices_of(resource_type: ResourceType, actions: Iterable[str]) -> Iterator[TypeChoice]:
    """What decides whether the request of an action means a type."""
    for rules in _rules(resource_type, actions):
        yield from rules.choices


def _default_of(variable: str, resource_type: ResourceType, actions: Iterable[str]) -> str:
    """What AWS takes for a variable that no property names: the group `default` of a schedule."""
    defaults = {rules.defaults.get(variable, ()) for rules in _rules(resource_type, actions)}
    values = next(iter(defaults)) if len(defaults) == 1 else ()
    return values[0] if len(values) == 1 else UNKNOWN


def _segment_of(resource_type: ResourceType) -> str:
    """The form in the name of a type that is one of several: `listener/app`."""
    return resource_type.name.strip("/").partition("/")[2]


@lru_cache(maxsize=4_096)
def _types_of_others(action: str, kind: ResourceKind) -> frozenset[str]:
    """The types that the other actions of a service require that make or change a declared type."""
    prefix = f"{action.partition(':')[0]}:"
    all_actions = {*actions_of_phase(kind, Phase.CREATE), *actions_of_phase(kind, Phase.UPDATE)}
    other_actions = (
        action for action in all_actions if action.startswith(prefix) and not TAGS.search(action)
    )
    return frozenset(each.name for each in types_of(other_actions) if each.required)


@lru_cache(maxsize=4_096)
def _paths_of(action: str, kind: ResourceKind, is_tagged: bool) -> tuple[str, ...]:
    """The ARN templates of the operations on a type, where operations of other names share one
    action.
    """
    nouns = _paths_by_noun(action, _is_second_version(kind))
    paths: set[str] = set()
    fitting = [noun for noun in nouns if noun and plain(kind.name).endswith(noun)]
    if fitting:
        paths |= {path for path in nouns[max(fitting, key=len)] if "/tags/" not in path}
    if is_tagged:
        paths |= {path for path in nouns.get("resource", ()) if "/tags/" in path}
    return tuple(sorted(paths))


def _is_second_version(kind: ResourceKind) -> bool:
    return "v2" in kind.name.lower()


@lru_cache(maxsize=64)
def _paths_by_noun(action: str, is_second: bool) -> Mapping[str, Set[str]]:
    """Noun of an operation -> the ARN templates on which the action is authorized in it."""
    nouns: dict[str, set[str]] = {}
    for name, facts in service_facts(action.partition(":")[0]).events.items():
        for each in facts.actions:
            # `/v2/` marks the paths of the second version of API Gateway's API; IAM knows them
            # without it.
            if each.action == action and each.resource and ("::/v2/" in each.resource) == is_second:
                noun = plain(VERB.sub("", name)).removesuffix("s")
                nouns.setdefault(noun, set()).add(each.resource.replace("::/v2/", "::/"))
    return nouns


@lru_cache(maxsize=4_096)
def _is_of_other_paths(action: str, kind: ResourceKind) -> bool:
    """Whether an action is authorized on paths, and only others of a type have one: its handler
    lists it for tags.
    """
    if not _paths_by_noun(action, _is_second_version(kind)):
        return False
    all_actions = (action for phase in Phase for action in actions_of_phase(kind, phase))
    return any(_paths_of(action, kind, False) for action in all_actions)


def _id_in(text: str, resource_type: ResourceType) -> str:
    """A text that has the form of the ids of a type, as `sg-1` of a security group; else empty."""
    # The ids of images, whose ARN has no account, change with each update.
    if "${Account}" not in resource_type.arn or not _ID.fullmatch(text):
        return ""
    return text if text.partition("-")[0] in _starts_of(resource_type) else ""


@lru_cache(maxsize=4_096)
def _starts_of(resource_type: ResourceType) -> frozenset[str]:
    """What the ids of a type begin with."""
    starts: set[str] = set()
    facts = service_facts(resource_type.arn.split(":")[2])
    for template in facts.templates.get(resource_type.name.lower(), ()):
        if template.arn != resource_type.arn:
            continue
        for filled in template.variables[-1:]:
            starts.update(form for form in filled.same.values() if form.startswith("starts "))
    return frozenset(start.removeprefix("starts ") for start in starts)


def _is_end_of(stem: str, key: str) -> bool:
    """Whether a property identifies by the last word of a name: `zone_id` a hosted zone."""
    core = re.sub("(id|name|arn)$", "", plain(key))
    return len(core) > SHORTEST and core != plain(key) and stem.endswith(core)


def _is_named_like(resource_type: ResourceType, kind: ResourceKind) -> bool:
    """Whether a type has the name of a declared one: `RestApis`, `aws_api_gateway_rest_api`."""
    name = plain(resource_type.name).removesuffix("s")
    return len(name) > SHORTEST and plain(kind.name).endswith(name)


def _path_form(arn: str) -> str:
    """A regular expression of the resource part of an ARN with a fixed word before its variables;
    else empty.
    """
    end = arn.split(":", 5)[-1]
    if not re.match(r"[a-z-]+[/:]\$", end):
        return ""
    return "[^/:]+".join(map(re.escape, VARIABLE.split(end)[::2]))


def _same_family(one: str, other: str) -> bool:
    """Whether two ARNs are of one service and begin with the same word: `rule/a` and
    `rule/*/a`.
    """
    return _service(one) == _service(other) and _first_word(one) == _first_word(other)


def _first_word(arn: str) -> str:
    return _SEPARATOR.split(arn.split(":", 5)[-1])[0]


def _without_alternatives(arns: Iterable[_TypedArn], resource: DeclaredResource) -> list[str]:
    """The ARNs without the types of which another form is known whole."""
    all_arns = list(arns)
    tail = resource.name.count(UNKNOWN) if resource.has_name else 0
    short_arns = [arn for arn in all_arns if arn.text.split(":", 5)[-1].count(UNKNOWN) <= tail]
    whole_types = {arn.type_name for arn in short_arns}
    arns_left = []
    for arn in all_arns:
        is_alternative = any(_same_family(arn.text, short_arn.text) for short_arn in short_arns)
        if arn.type_name in whole_types or not is_alternative:
            arns_left.append(arn.text + arn.suffix)
    return arns_left
