"""Derives ARNs of declared resources: from names, from references to other resources, else the type's pattern."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence, Set
from functools import lru_cache

from leastpriv.evidence.declared.models import UNKNOWN, Declaration, DeclaredResource, Place, Reference
from leastpriv.permissions import catalog
from leastpriv.permissions.arn_templates import transformed
from leastpriv.permissions.fact_tables import table
from leastpriv.permissions.patterns import without_covered
from leastpriv.permissions.resource_types import VARIABLE, end_of, fits
from leastpriv.permissions.service_facts import ResourceType, TypeRules, service_facts
from leastpriv.permissions.tool_lifecycle import (
    Phase,
    ResourceKind,
    actions_of_phase,
    making_actions,
    name_property,
)

_SEVERAL = 2
_PLACES = ("Partition", "Region", "Account")
_VERB = re.compile(r"[A-Z][a-z]+")
_PATHED = "WithPath"
"""End of a variable that holds a path before the name: `${RoleNameWithPath}`."""
_FIELD = re.compile(r"\{([\w-]+)\}")
_TAGS = re.compile("Tag(s|Resource|sForResource|sToResource|sFromResource)?$|Tags?(For|To|From|On|Of)[A-Z]")
_SHORTEST = 3
_MOST_VALUES = 500


class Arns:
    """The ARNs of the resources of one declaration."""

    def __init__(self, declaration: Declaration, place: Place) -> None:
        self._declaration = declaration
        self._place = place
        self._resolving: set[str] = set()
        """Addresses whose ARNs are being derived: an ARN may refer to itself."""

    def of_action(self, action: str, resource: DeclaredResource) -> tuple[tuple[str, ...], bool]:
        """Returns the ARNs that an action on a resource is authorized on, and whether a name limits each of them."""
        known = catalog.action(action)
        if known is None or not known.resource_types or _on_all(action) == "always":
            return ("*",), True
        if paths := self._paths(action, resource):
            return paths, True
        if _is_of_other_paths(action, resource.kind):
            return (), True
        own = {kind.name for kind in self._types(resource)}
        also = {row["type"] for row in table("also_needed", __package__) if row["action"] == action}
        needed = [kind for kind in known.resource_types if kind.required or kind.name in own | also]
        if _TAGS.search(action) and any(kind.name in own for kind in needed):
            # The types of an action that tags any resource of its service are alternatives.
            needed = [kind for kind in needed if kind.name in own]
        if not needed:
            return self._of_no_required_type(action, known.resource_types, resource)
        mine: list[str] = []
        named: list[str] = []
        open_ones: list[str] = []
        for kind in needed:
            end = end_of(action, kind.name)
            if kind.name in own:
                mine.extend(arn + end for arn in self._own(kind, resource))
            elif found := self._named(action, kind, resource):
                named.extend(arn + end for arn in found)
            else:
                open_ones.append(self._filled(kind, {}) + end)
        optional = (kind for kind in known.resource_types if kind not in needed)
        of_optional = self._optional if action in making_actions(resource.kind) else self._referred
        named.extend(arn for kind in optional for arn in of_optional(action, kind, resource))
        whole = [*_without_alternatives(mine, resource), *_without_alternatives(named, resource)]
        # A required type that only another one's ARN could fill, like both kinds of rules, is an alternative of it.
        whole.extend(arn for arn in open_ones if not any(_same_family(arn, each) for each in whole))
        is_named = has_name(resource) or not any(own_variables(kind.arn) for kind in needed if kind.name in own)
        return without_covered(whole), is_named and bool(mine or named)

    def _of_no_required_type(
        self, action: str, kinds: Sequence[ResourceType], resource: DeclaredResource
    ) -> tuple[tuple[str, ...], bool]:
        """The ARNs of an action whose types are alternatives: those that the properties name, else of its own name."""
        alike = [kind for kind in kinds if _is_named_like(kind, resource.kind)]
        if alike:
            return without_covered(arn for kind in alike for arn in self._all(kind)), not any(map(_is_open, alike))
        found = [arn + end_of(action, kind.name) for kind in kinds for arn in self._named(action, kind, resource)]
        if found:
            return without_covered(_without_alternatives(found, resource)), True
        if _on_all(action) == "unnamed":
            return ("*",), True
        return without_covered(self._filled(kind, {}) + end_of(action, kind.name) for kind in kinds), False

    def _paths(self, action: str, resource: DeclaredResource) -> tuple[str, ...]:
        """The paths of the operations on a type that one action authorizes, as `apigateway:POST` does for all."""
        templates = _templates(action, resource.kind, resource.tagged)
        named = {"region": self._place.region, "partition": self._place.partition}
        naming = _plain(name_property(resource.kind))

        def value(match: re.Match[str]) -> str:
            plain = _plain(match[1])
            given = (
                each for key, each in resource.properties.items() if _plain(key) == plain and not plain.endswith("id")
            )
            return named.get(match[1]) or (resource.name if plain == naming else self.text(next(given, UNKNOWN)))

        return without_covered(_FIELD.sub(value, each) for each in templates)

    def pattern(self, prefix: str, name: str) -> str:
        """Returns the pattern of all resources of a type."""
        kinds = (each for each in service_facts(prefix).types if each.name == name)
        return next((self._filled(each, {}) for each in kinds), UNKNOWN)

    def own_arn(self, resource: DeclaredResource) -> str:
        """Returns the ARN of a resource; UNKNOWN where its type has several or none."""
        arns = [arn for kind in self._types(resource) for arn in self._own(kind, resource)]
        return arns[0] if len(arns) == 1 else resource.arn or UNKNOWN

    def _types(self, resource: DeclaredResource) -> Sequence[ResourceType]:
        """The types that a resource makes, by the property that decides where there are several."""
        kinds = own_types(resource.kind)
        if len(kinds) < _SEVERAL:
            return kinds
        found = [
            each for each in kinds if all(self._agrees(choice, resource) for choice in _choices(each, resource.kind))
        ]
        return found or kinds

    def _agrees(self, choice: tuple[str, str, str], resource: DeclaredResource) -> bool:
        """Whether a property chooses a type: the type of a load balancer, the event bus of a rule."""
        parameter, wanted, means = choice
        texts = [
            re.split("[:/]", self.text(value))[-1]
            for key, value in resource.properties.items()
            if value is not None
            and _plain(key)
            in (parameter, _plain(resource.kind.name.split("::")[-1]) + parameter, f"loadbalancer{parameter}")
        ]
        if wanted == UNKNOWN or any(UNKNOWN in text for text in texts):
            return True
        if means == "only":
            return wanted in texts
        return all(text == wanted for text in texts) == (means == "this") if texts else means == "this"

    def text(self, value: object) -> str:
        """Returns the text of a property, with UNKNOWN for what only the deployment knows."""
        if isinstance(value, Reference):
            target = self._declaration.by_address.get(value.address)
            if target is None or target.address in self._resolving:
                return UNKNOWN
            if value.attribute.lower().endswith("arn"):
                self._resolving.add(target.address)
                try:
                    return self.own_arn(target)
                finally:
                    self._resolving.remove(target.address)
            is_name = not value.attribute or value.attribute.lower().endswith(("name", "id", "bucket"))
            return target.name if is_name else UNKNOWN
        return str(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else UNKNOWN

    def may_hold(self, value: object, text: str) -> bool:
        """Whether a text is in a property, as a service in an ARN; what only the deployment knows may have it."""
        for each in leaves(value):
            if isinstance(each, Reference):
                target = self._declaration.by_address.get(each.address)
                forms = [kind.arn for kind in own_types(target.kind)] if target else []
                if not forms or any(text in form for form in forms):
                    return True
            elif isinstance(each, str):
                is_open = UNKNOWN in (each[: each.find(":", 4)] if each.startswith("arn:") else each)
                if is_open or text in each:
                    return True
        return False

    def _all(self, kind: ResourceType) -> list[str]:
        """The patterns of all resources of a type; API Gateway has two for some."""
        return [self._filled(kind, {})]

    def _own(self, kind: ResourceType, resource: DeclaredResource) -> list[str]:
        """The ARN of the resource itself, as one of its types."""
        if resource.arn:
            return [resource.arn]
        names = own_variables(kind.arn)
        if not names:
            return [self._filled(kind, {})]
        chosen = name_variable(names, resource.kind)
        given = {name: self._by_property(name, kind, resource) for name in names if name != chosen}
        values = {name: value or _default(name, kind, resource.kind) for name, value in given.items()}
        name = resource.name if resource.name != UNKNOWN else self._by_last_word(chosen, resource)
        if chosen.endswith(_PATHED):
            path = self.text(resource.properties.get("Path", resource.properties.get("path", "/")))
            name = f"{path.strip('/')}/{name}".lstrip("/")
        elif name.startswith("arn:"):
            name = re.split("[:/]", name)[-1]
        if "WithoutLeadingSlash" in chosen:
            name = name.lstrip("/")
        # The name of an alias of KMS has the `alias/` of its ARN.
        name = name.removeprefix(kind.arn.partition("${" + chosen + "}")[0].rpartition(":")[2] or "\0")
        return [self._filled(kind, {**values, chosen: name + (_end_of_id(kind) or "")})]

    def _named(self, action: str, kind: ResourceType, resource: DeclaredResource) -> list[str]:
        """The ARNs of another type that the properties of a resource name or refer to."""
        found = self._referred(action, kind, resource)
        names = own_variables(kind.arn)
        if not found and names:
            values = {name: self._by_property(name, kind, resource) or UNKNOWN for name in names}
            if any(value != UNKNOWN for value in values.values()):
                found.append(self._filled(kind, values))
        return found

    def _optional(self, action: str, kind: ResourceType, resource: DeclaredResource) -> list[str]:
        """The ARNs of a type on which AWS authorizes an action where the request names it: the VPC of a group."""
        found = self._referred(action, kind, resource)
        stems = {_plain(name) for name in own_variables(kind.arn)}
        is_named = len(stems) == 1 and any(_plain(key) in stems and value for key, value in resource.properties.items())
        return found or (self._named(action, kind, resource) or [self._filled(kind, {})] if is_named else [])

    def _referred(self, action: str, kind: ResourceType, resource: DeclaredResource) -> list[str]:
        """The ARNs of another type in the properties, and of resources that these refer to."""
        prefix = action.partition(":")[0]
        found: list[str] = []
        for value in leaves(resource.properties):
            if isinstance(value, Reference):
                target = self._declaration.by_address.get(value.address)
                if target and any(each.arn == kind.arn for each in self._types(target)):
                    found.extend(self._own(kind, target))
            elif isinstance(value, str) and value.startswith(("arn:", "*arn:", "s3://")):
                value = value.replace("s3://", f"arn:{self._place.partition}:s3:::", 1)
                arn = value.split(":*")[0] if value.endswith(":*") else value
                if f":{prefix}:" in arn and fits(action, arn) and _has_shape(kind.arn, arn):
                    found.append(arn)
        return found

    def _by_property(self, variable: str, kind: ResourceType, resource: DeclaredResource) -> str:
        """The text of the property that a variable of an ARN is named after, `${FunctionName}`; empty without one."""
        stem = _plain(variable.removesuffix(_PATHED)).removesuffix("name").removesuffix("id") or _plain(kind.name)
        prefix = kind.arn.split(":")[2]
        # Beside a variable for the name, an id is one that AWS gives: neither a name nor a reference has it.
        is_given = variable.endswith("Id") and f"${{{variable.removesuffix('Id')}Name}}" in kind.arn
        wanted = {stem, *(f"{stem}{end}" for end in ("name", "id", "arn", "url")), f"{prefix}{stem}"}
        for key, value in members(resource.properties):
            if _plain(key) in wanted or _is_end_of(stem, key):
                is_id = variable.endswith("Id") and _end_of_id(kind) is None
                if (is_given and isinstance(value, Reference)) or (is_id and self._is_name(key, value)):
                    return UNKNOWN
                text = self.text(value)
                if UNKNOWN not in text and (transform := _transform(variable, kind, _plain(key))):
                    return transformed(transform, text) or UNKNOWN
                return re.split("[:/]", text)[-1] if text.startswith(("arn:", "https://")) else _as_id(text, kind)
        return ""

    def _is_name(self, key: str, value: object) -> bool:
        """Whether a property holds a name of a resource to which AWS gives an id."""
        if not isinstance(value, Reference):
            return _plain(key).endswith("name")
        target = self._declaration.by_address.get(value.address)
        return target is not None and _plain(name_property(target.kind)).endswith("name")

    def _by_last_word(self, variable: str, resource: DeclaredResource) -> str:
        """The text of the property that is the last word of a name: `Family` of `${TaskDefinitionFamilyName}`."""
        words = _VERB.findall(variable.removesuffix("Name"))
        values = (value for key, value in resource.properties.items() if len(words) > 1 and key.title() == words[-1])
        text = self.text(next(values, UNKNOWN))
        return UNKNOWN if text.startswith("arn:") else text

    def _filled(self, kind: ResourceType, values: Mapping[str, str]) -> str:
        place = {"Partition": self._place.partition, "Region": self._place.region, "Account": self._place.account}
        filled = VARIABLE.sub(lambda match: place.get(match[1]) or values.get(match[1], UNKNOWN), kind.arn)
        return re.sub(r"\*{2,}", UNKNOWN, filled)


def _as_id(text: str, kind: ResourceType) -> str:
    """A text as the id of a type; UNKNOWN where it names one of another type, as the alias of a key."""
    start, separator, _ = text.partition("/")
    others = (each.arn for each in service_facts(kind.arn.split(":")[2]).types if each.name != kind.name)
    return UNKNOWN if separator and any(f":{start}/" in arn for arn in others) else text


def _on_all(action: str) -> str:
    """When AWS authorizes an action on `*` though it has types."""
    prefix, _, name = action.partition(":")
    rules = service_facts(prefix).rules.get(name)
    return rules.on_all if rules else ""


def _default(variable: str, kind: ResourceType, declared: ResourceKind) -> str:
    """What AWS takes for a variable that no property names: the group `default` of a schedule."""
    found = {rules.defaults.get(variable, ()) for rules in _rules(kind, declared)}
    values = next(iter(found)) if len(found) == 1 else ()
    return values[0] if len(values) == 1 else UNKNOWN


def _choices(kind: ResourceType, declared: ResourceKind) -> Iterator[tuple[str, str, str]]:
    """What decides whether a request that makes a declared type means one of its types."""
    for rules in _rules(kind, declared):
        yield from rules.choices


def _rules(kind: ResourceType, declared: ResourceKind) -> Iterator[TypeRules]:
    for action in making_actions(declared):
        prefix, _, name = action.partition(":")
        rules = service_facts(prefix).rules.get(name)
        if rules and kind.name.lower() in rules.types:
            yield rules.types[kind.name.lower()]


@lru_cache(maxsize=4_096)
def _transform(variable: str, kind: ResourceType, key: str) -> str:
    """How the text of a property becomes a part of an ARN, where it is another: the scope of a web ACL."""
    templates = service_facts(kind.arn.split(":")[2]).templates.get(kind.name.lower(), ())
    filled = (each for template in templates if template.arn == kind.arn for each in template.variables)
    found = next((each.same.get(key, "") for each in filled if each.name == variable), "")
    return "" if found in ("whole", "text") else found


def _is_end_of(stem: str, key: str) -> bool:
    """Whether a property identifies by the last word of a name: `zone_id` a hosted zone."""
    core = re.sub("(id|name|arn)$", "", _plain(key))
    return len(core) > _SHORTEST and core != _plain(key) and stem.endswith(core)


def _end_of_id(kind: ResourceType) -> str | None:
    """What AWS adds to a name that becomes the id of a type; None for the other types."""
    prefix = kind.arn.split(":")[2]
    rows = table("named_ids", __package__)
    return next((row["end"] for row in rows if row["prefix"] == prefix and row["type"] in (kind.name, "*")), None)


def is_given_id(kind: ResourceType) -> bool:
    """Whether AWS gives the resources of a type an id, so that no name is in their ARN."""
    names = own_variables(kind.arn)
    return bool(names) and all(name.endswith(("Id", "Identifier")) for name in names) and _end_of_id(kind) is None


def is_name_in_arn(kind: ResourceKind, naming: str) -> bool:
    """Whether the property that names a resource is in its ARN, which may have an id that AWS gives instead."""
    types = [each for each in own_types(kind) if own_variables(each.arn)]
    if not types or not all(map(is_given_id, types)):
        return True
    ids = {_plain(name_variable(own_variables(each.arn), kind)) for each in types}
    name = _plain(naming)
    return name.endswith(("id", "identifier")) and any(
        each == "resourceid" or each.endswith(name) or name.endswith(each) for each in ids
    )


@lru_cache(maxsize=4_096)
def _templates(action: str, kind: ResourceKind, tagged: bool) -> tuple[str, ...]:
    """Returns the ARN templates of the operations on a type, where operations of other names share one action."""
    nouns = _paths_by_noun(action, "v2" in kind.name.lower())
    fitting = [noun for noun in nouns if noun and _plain(kind.name).endswith(noun)]
    found = {each for each in nouns[max(fitting, key=len)] if "/tags/" not in each} if fitting else set[str]()
    if tagged:
        found |= {each for each in nouns.get("resource", ()) if "/tags/" in each}
    return tuple(sorted(found))


@lru_cache(maxsize=64)
def _paths_by_noun(action: str, is_second: bool) -> Mapping[str, Set[str]]:
    """Noun of an operation -> the ARN templates on which the action is authorized in it."""
    nouns: dict[str, set[str]] = {}
    for name, facts in service_facts(action.partition(":")[0]).events.items():
        for each in facts.actions:
            # `/v2/` marks the paths of the second version of API Gateway's API; IAM knows them without it.
            if each.action == action and each.resource and ("::/v2/" in each.resource) == is_second:
                noun = _plain(_without_verb(name)).removesuffix("s")
                nouns.setdefault(noun, set()).add(each.resource.replace("::/v2/", "::/"))
    return nouns


@lru_cache(maxsize=4_096)
def _is_of_other_paths(action: str, kind: ResourceKind) -> bool:
    """Whether an action is authorized on paths, and only others of a type have one: its handler lists it for tags."""
    every = (each for phase in Phase for each in actions_of_phase(kind, phase))
    return bool(_paths_by_noun(action, "v2" in kind.name.lower())) and any(
        _templates(each, kind, False) for each in every
    )


def _is_named_like(kind: ResourceType, declared: ResourceKind) -> bool:
    """Whether a type has the name of a declared one: `RestApis`, `aws_api_gateway_rest_api`."""
    name = _plain(kind.name).removesuffix("s")
    return len(name) > _SHORTEST and _plain(declared.name).endswith(name)


def _is_open(kind: ResourceType) -> bool:
    return bool(own_variables(kind.arn))


def leaves(value: object) -> Iterator[object]:
    """Yields the texts and references of a JSON value."""
    yield from (each for _, each in members(value))


def members(value: object) -> Iterator[tuple[str, object]]:
    """Yields the keys of a JSON value, from the outside in, with their texts and references."""
    level, count = [("", value)], 0
    while level and count < _MOST_VALUES:
        inner: list[tuple[str, object]] = []
        for key, each in level:
            if isinstance(each, Mapping):
                inner.extend(each.items())
            elif isinstance(each, list | tuple):
                inner.extend((key, item) for item in each)
            else:
                count += 1
                yield key, each
        level = inner


@lru_cache(maxsize=4_096)
def own_types(kind: ResourceKind) -> tuple[ResourceType, ...]:
    """Returns the resource types of the catalogue that a declared type makes, by the noun of its making actions.

    Where these are authorized on `*` alone, the types are those of its other actions.
    """
    makes = making_actions(kind)
    listed = next((row["types"].split(",") for row in table("own_types", __package__) if row["kind"] == kind.name), ())
    if listed:
        known = (catalog.action(action) for action in makes)
        return tuple(each for action in known if action for each in action.resource_types if each.name in listed)
    nouns = {_plain(_without_verb(action.partition(":")[2])).removesuffix("s") for action in makes} - {""}
    return (
        _types_named(makes, nouns)
        or _types_with_id_of(kind, makes)
        or _types_named([each for phase in (Phase.DELETE, Phase.READ) for each in actions_of_phase(kind, phase)], nouns)
    )


def _types_with_id_of(kind: ResourceKind, makes: Sequence[str]) -> tuple[ResourceType, ...]:
    """The types of the making actions whose variable has the name of the declared type: `subgrp/${SubnetGroupName}`."""
    name = _plain(re.split("::|aws_", kind.name)[-1])
    known = (catalog.action(action) for action in makes)
    kinds = {each.name: each for action in known if action for each in action.resource_types}
    stems = {
        each: re.sub("(name|id)$", "", _plain(own_variables(kinds[each].arn)[-1]))
        for each in kinds
        if own_variables(kinds[each].arn)
    }
    return tuple(kinds[each] for each, stem in stems.items() if len(stem) > _SHORTEST and name.endswith(stem))


def _types_named(actions: Sequence[str], nouns: Set[str]) -> tuple[ResourceType, ...]:
    """The types of some actions that have one of the nouns for name, else those that a noun is a part of."""
    found: dict[str, ResourceType] = {}
    exact: dict[str, ResourceType] = {}
    for action in actions:
        known = catalog.action(action)
        for each in known.resource_types if known else ():
            name, variables = _plain(each.name), _plain("".join(own_variables(each.arn)))
            if any(noun in word for noun in nouns for word in (name, variables)):
                found.setdefault(each.name, each)
            if any(noun == name or (len(name) > _SHORTEST and noun.endswith(name)) for noun in nouns):
                exact.setdefault(each.name, each)
    return tuple((exact or found).values())


def _without_verb(name: str) -> str:
    match = _VERB.match(name)
    return name.removeprefix(match[0]) if match else name


def own_variables(template: str) -> tuple[str, ...]:
    """Returns the variables of an ARN template other than partition, region and account."""
    return tuple(name for name in VARIABLE.findall(template) if name not in _PLACES)


def name_variable(names: Sequence[str], kind: ResourceKind) -> str:
    """The variable that holds the name: the last that the type names and that is no id, else the last."""
    last = _plain(re.split("::|_", kind.name)[-1])
    own = [name for name in names if last in _plain(name)] or list(names)
    return next((name for name in own if name.endswith(("Name", _PATHED))), own[-1])


def _plain(text: str) -> str:
    return re.sub("[^a-z0-9]", "", text.lower())


def _has_shape(template: str, arn: str) -> bool:
    pattern = re.escape(VARIABLE.sub("\0", template)).replace("\0", ".*")
    return re.fullmatch(pattern, arn) is not None


def has_name(resource: DeclaredResource) -> bool:
    """Whether the name of a resource, or a part of it, is known."""
    return bool(resource.arn or re.search("[A-Za-z0-9]", resource.name))


def _same_family(one: str, other: str) -> bool:
    """Whether two ARNs are of one service and begin with the same word: `rule/a` and `rule/*/a`."""
    first, second = (re.split("[:/]", arn.split(":", 5)[-1])[0] for arn in (one, other))
    return one.split(":")[2] == other.split(":")[2] and first == second


def _without_alternatives(arns: Sequence[str], resource: DeclaredResource) -> list[str]:
    """The ARNs that are known whole, where the others are alternatives that leave a part open."""
    tail = resource.name.count(UNKNOWN)
    whole = [arn for arn in arns if arn.split(":", 5)[-1].removesuffix(":*").count(UNKNOWN) <= tail]
    return whole or list(arns)
