"""Derives ARNs of declared resources: from names, from references to other resources, else the
type's pattern.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from leastpriv.declared.models import (
    UNKNOWN,
    Declaration,
    DeclaredResource,
    Place,
    Reference,
    leaves,
    members,
)
from leastpriv.declared.resource_types import (
    GENERAL,
    PATHED,
    TAGS,
    as_id,
    choices_of,
    default_of,
    end_of_id,
    id_in,
    is_end_of,
    is_named_like,
    is_of_other_paths,
    name_variable,
    own_types,
    path_form,
    paths_of,
    plain,
    same_family,
    segment_of,
    transform_of,
    types_of,
    types_of_others,
    without_alternatives,
)
from leastpriv.permissions import catalog
from leastpriv.permissions.arn_parts import transformed
from leastpriv.permissions.fact_tables import table
from leastpriv.permissions.patterns import without_covered
from leastpriv.permissions.resource_types import VARIABLE, end_of, fits, own_variables
from leastpriv.permissions.service_facts import ResourceType, rules_of, service_facts
from leastpriv.permissions.tool_lifecycle import making_actions, name_property

_SEVERAL = 2
_WORD = re.compile(r"[A-Z][a-z]+")
_MAKES = re.compile(":Create[A-Z]")
_BUCKET_HOST = re.compile(r"\.s3[.-][a-z0-9.-]*amazonaws\.com(\.cn)?$")
_FIELD = re.compile(r"\{([\w-]+)\}")


class Arns:
    """The ARNs of the resources of one declaration."""

    def __init__(self, declaration: Declaration, place: Place) -> None:
        self._declaration, self._place = declaration, place
        self._region = place.region
        """Of the resource whose action is authorized."""
        self._resolving: set[str] = set()
        """Addresses whose ARNs are being derived: an ARN may refer to itself."""

    def of_action(self, action: str, resource: DeclaredResource) -> tuple[tuple[str, ...], bool]:
        """Returns the ARNs that an action on a resource is authorized on, and whether a name limits
        each of them.
        """
        self._region = resource.region or self._place.region
        known = catalog.action(action)
        if known is None or not known.resource_types or rules_of(action).on_all == "always":
            return ("*",), True
        if paths := self._paths(action, resource):
            return paths, True
        if is_of_other_paths(action, resource.kind):
            return (), True
        types = self._types(resource)
        own = {kind.name for kind in types}
        also = {row["type"] for row in table("also_needed", __package__) if row["action"] == action}
        forms = {*self._segments(resource), *map(segment_of, types)} - {""}
        kinds = [
            kind for kind in known.resource_types if not forms or segment_of(kind) in forms | {""}
        ]
        chosen = [
            kind
            for kind in kinds
            if kind.name in own or self._is_chosen(kind, [action], resource, named=True)
        ]
        kinds = chosen or kinds
        needed = [kind for kind in kinds if kind.required or kind.name in own | also]
        if TAGS.search(action) and any(kind.name in own for kind in needed):
            # The types of an action that tags any resource of its service are alternatives.
            kinds = needed = [kind for kind in needed if kind.name in own]
        if not needed:
            return self._of_no_required_type(action, kinds, resource)
        mine: dict[str, tuple[str, str]] = {}
        named: dict[str, tuple[str, str]] = {}
        open_ones: list[str] = []
        for kind in needed:
            end = end_of(action, kind.name)
            if kind.name in own:
                mine.update(dict.fromkeys(self._own(kind, resource), (end, kind.name)))
            elif found := self._named(action, kind, resource):
                named.update(dict.fromkeys(found, (end, kind.name)))
            else:
                open_ones.append(self._filled(kind, self._unnamed(action, kind, resource)) + end)
        optional = (kind for kind in kinds if kind not in needed)
        is_making = action in making_actions(resource.kind) or _MAKES.search(action)
        of_optional = self._optional if is_making else self._referred
        named.update(
            (arn, ("", kind.name))
            for kind in optional
            for arn in of_optional(action, kind, resource)
        )
        whole = [*without_alternatives(mine, resource), *without_alternatives(named, resource)]
        # A required type that only another one's ARN could fill, like both kinds of rules, is an
        # alternative of it.
        whole.extend(arn for arn in open_ones if not any(same_family(arn, each) for each in whole))
        is_named = resource.has_name or not any(
            own_variables(kind.arn) for kind in needed if kind.name in own
        )
        return without_covered(whole), is_named and bool(mine or named)

    def _of_no_required_type(
        self, action: str, kinds: Sequence[ResourceType], resource: DeclaredResource
    ) -> tuple[tuple[str, ...], bool]:
        """The ARNs of an action whose types are alternatives: those that the properties name, else
        of its own name.
        """
        alike = [kind for kind in kinds if is_named_like(kind, resource.kind)]
        if alike:
            is_open = any(own_variables(kind.arn) for kind in alike)
            return without_covered(self._filled(kind, {}) for kind in alike), not is_open
        if TAGS.search(action):
            # What a service makes for a resource, as the network interfaces of a directory, gets
            # the tags.
            others = types_of_others(action, resource.kind)
            kinds = [kind for kind in kinds if kind.name in others] or kinds
        found = {
            arn: (end_of(action, kind.name), kind.name)
            for kind in kinds
            for arn in self._named(action, kind, resource)
        }
        if found:
            # A call about an alias of a function, for one, is authorized on `function:NAME:ALIAS`.
            names = {name for kind in kinds for name in own_variables(kind.arn)}
            if any(
                self._of_parent(name, each)
                for name in names
                for each in leaves(resource.properties)
            ):
                return without_covered(arn + end for arn, (end, _) in found.items()), True
            return without_covered(without_alternatives(found, resource)), True
        if rules_of(action).on_all == "unnamed":
            return ("*",), True
        return without_covered(
            self._filled(kind, {}) + end_of(action, kind.name) for kind in kinds
        ), False

    def _paths(self, action: str, resource: DeclaredResource) -> tuple[str, ...]:
        """The paths of the operations on a type that one action authorizes, as `apigateway:POST`
        does for all.
        """
        templates = paths_of(action, resource.kind, resource.tagged)
        named = {"region": self._region, "partition": self._place.partition}
        naming = plain(name_property(resource.kind))

        def value(match: re.Match[str]) -> str:
            name = plain(match[1])
            given = (
                each
                for key, each in resource.properties.items()
                if plain(key) == name and not name.endswith("id")
            )
            return named.get(match[1]) or (
                resource.name if name == naming else self.text(next(given, UNKNOWN))
            )

        return without_covered(_FIELD.sub(value, each) for each in templates)

    def pattern(self, prefix: str, name: str) -> str:
        """Returns the pattern of all resources of a type."""
        kinds = (each for each in service_facts(prefix).types if each.name == name)
        return next((self._filled(each, {}) for each in kinds), UNKNOWN)

    def own_arn(self, resource: DeclaredResource) -> str:
        """Returns the ARN of a resource; UNKNOWN where its type has several or none."""
        arns = [arn for kind in self._types(resource) for arn in self._own(kind, resource)]
        return arns[0] if len(arns) == 1 else resource.arn or UNKNOWN

    def related(self, resource: DeclaredResource) -> Iterator[DeclaredResource]:
        """Yields a resource and those that its properties refer to or name."""
        yield resource
        for value in leaves(resource.properties):
            if target := self._declaration.target(value):
                yield target
            elif isinstance(value, str):
                yield from self._declaration.by_name.get(value, ())

    def _types(self, resource: DeclaredResource) -> Sequence[ResourceType]:
        """The types that a resource makes, by the property that decides where there are several."""
        kinds = own_types(resource.kind)
        if len(kinds) < _SEVERAL:
            return kinds
        segments = set(self._segments(resource))
        chosen = [each for each in kinds if not segments or segment_of(each) in segments]
        makes = making_actions(resource.kind)
        return [each for each in chosen if self._is_chosen(each, makes, resource)] or kinds

    def _segments(self, resource: DeclaredResource) -> Iterator[str]:
        """The forms of the resources that a resource is a part of: `app` of the load balancer of a
        listener.
        """
        for value in leaves(resource.properties):
            target = self._declaration.target(value)
            if target and target is not resource and len(own_types(target.kind)) >= _SEVERAL:
                yield from filter(None, map(segment_of, self._types(target)))

    def _is_chosen(
        self,
        kind: ResourceType,
        actions: Sequence[str],
        resource: DeclaredResource,
        *,
        named: bool = False,
    ) -> bool:
        """Whether properties choose a type for actions, as an event bus that of a rule; `named`:
        only if one is set.
        """
        return all(self._agrees(choice, resource, named) for choice in choices_of(kind, actions))

    def _agrees(
        self, choice: tuple[str, str, str], resource: DeclaredResource, named: bool
    ) -> bool:
        parameter, wanted, means = choice
        makes = [plain(action) for action in making_actions(resource.kind)]
        given = (
            (plain(key), value) for key, value in resource.properties.items() if value is not None
        )
        texts = [
            re.split("[:/]", self.text(value))[-1]
            for key, value in given
            if key == parameter
            or (
                key.endswith(parameter)
                and any(each.endswith(key.removesuffix(parameter)) for each in makes)
            )
        ]
        if wanted == UNKNOWN or any(UNKNOWN in text for text in texts) or (named and not texts):
            return True
        if means == "only":
            return wanted in texts
        return (
            all(text == wanted for text in texts) == (means == "this") if texts else means == "this"
        )

    def text(self, value: object) -> str:
        """Returns the text of a property, with UNKNOWN for what only the deployment knows."""
        if isinstance(value, Reference):
            target = self._declaration.target(value)
            if target is None or target.address in self._resolving:
                return UNKNOWN
            if value.attribute.lower().endswith("arn"):
                self._resolving.add(target.address)
                try:
                    return self.own_arn(target)
                finally:
                    self._resolving.remove(target.address)
            is_name = not value.attribute or value.attribute.lower().endswith(
                ("name", "id", "bucket")
            )
            return target.name if is_name else UNKNOWN
        return (
            str(value)
            if isinstance(value, str | int | float) and not isinstance(value, bool)
            else UNKNOWN
        )

    def may_hold(self, value: object, text: str) -> bool:
        """Whether a text is in a property, as a service in an ARN; what only the deployment knows
        may have it.
        """
        for each in leaves(value):
            if isinstance(each, Reference):
                target = self._declaration.target(each)
                forms = [kind.arn for kind in own_types(target.kind)] if target else []
                if not forms or any(text in form for form in forms):
                    return True
            elif isinstance(each, str):
                is_open = UNKNOWN in (
                    each[: each.find(":", 4)] if each.startswith("arn:") else each
                )
                if is_open or text in each:
                    return True
        return False

    def _own(self, kind: ResourceType, resource: DeclaredResource) -> list[str]:
        """The ARN of the resource itself, as one of its types."""
        if resource.arn:
            return [resource.arn]
        names = own_variables(kind.arn)
        if not names:
            return [self._filled(kind, {})]
        chosen = name_variable(names, resource.kind)
        given = {name: self._by_property(name, kind, resource) for name in names if name != chosen}
        values = {
            name: value or default_of(name, kind, making_actions(resource.kind))
            for name, value in given.items()
        }
        name = resource.name if resource.name != UNKNOWN else self._by_last_word(chosen, resource)
        if chosen.endswith(PATHED):
            path = self.text(resource.properties.get("Path", resource.properties.get("path", "/")))
            name = f"{path.strip('/')}/{name}".lstrip("/")
        elif name.startswith("arn:"):
            name = re.split("[:/]", name)[-1]
        name = as_id(name, kind) if chosen.endswith("Id") else name
        if "WithoutLeadingSlash" in chosen:
            name = name.lstrip("/")
        # The name of an alias of KMS has the `alias/` of its ARN.
        name = name.removeprefix(
            kind.arn.partition("${" + chosen + "}")[0].rpartition(":")[2] or "\0"
        )
        return [self._filled(kind, {**values, chosen: name + (end_of_id(kind) or "")})]

    def _named(self, action: str, kind: ResourceType, resource: DeclaredResource) -> list[str]:
        """The ARNs of another type that the properties of a resource name or refer to."""
        found = self._referred(action, kind, resource)
        names = own_variables(kind.arn)
        if not found and names:
            own = self._own_names(resource) if len(names) > 1 else {}
            values = {
                name: self._by_property(name, kind, resource) or own.get(name, UNKNOWN)
                for name in names
            }
            named = self._declaration.by_name.get(values[names[-1]], ())
            if declared := [
                each for each in named if any(own.arn == kind.arn for own in self._types(each))
            ]:
                found.extend(self._own(kind, declared[0]))
            elif any(value != UNKNOWN for value in values.values()):
                found.append(self._filled(kind, values))
        return found

    def _own_names(self, resource: DeclaredResource) -> Mapping[str, str]:
        """The variable that the name of a resource fills, in the ARNs of its parts too: the group
        of a schedule.
        """
        kinds = (
            [own_variables(kind.arn) for kind in self._types(resource)] if resource.has_name else []
        )
        names = (name_variable(names, resource.kind) for names in kinds if names)
        return {name: resource.name for name in names if plain(name) not in GENERAL}

    def _unnamed(
        self, action: str, kind: ResourceType, resource: DeclaredResource
    ) -> dict[str, str]:
        """The name of what AWS takes where no property names a resource of a type, as the default
        option group.
        """
        rows = [
            row
            for row in table("also_needed", __package__)
            if (row["action"], row["type"]) == (action, kind.name)
        ]
        makes = making_actions(resource.kind)
        unnamed = {
            row["unnamed"] for row in rows if any(each.startswith(row["maker"]) for each in makes)
        } - {""}
        name = own_variables(kind.arn)[-1:]
        return (
            dict.fromkeys(name, unnamed.pop())
            if unnamed and not self._by_property(name[0], kind, resource)
            else {}
        )

    def _optional(self, action: str, kind: ResourceType, resource: DeclaredResource) -> list[str]:
        """The ARNs of a type on which AWS authorizes an action where the request names it: the VPC
        of a group.
        """
        found = self._referred(action, kind, resource)
        names = own_variables(kind.arn)
        # A global replication group is none that the property of a replication group names, nor
        # `subnet_id` a secondary subnet.
        others = (*self._types(resource), *(each for each in types_of([action]) if each != kind))
        is_variant = any(plain(kind.name).endswith(plain(each.name)) for each in others)
        if found or len(names) != 1 or is_variant:
            return found
        is_named = any(
            plain(key) == plain(names[0]) and value for key, value in resource.properties.items()
        )
        return self._named(action, kind, resource) or ([self._filled(kind, {})] if is_named else [])

    def _referred(self, action: str, kind: ResourceType, resource: DeclaredResource) -> list[str]:
        """The ARNs of another type in the properties, and of resources that these refer to."""
        prefix = kind.arn.split(":")[2]
        found: list[str] = []
        for value in leaves(resource.properties):
            target = self._declaration.target(value)
            if target and any(each.arn == kind.arn for each in self._types(target)):
                found.extend(self._own(kind, target))
            elif isinstance(value, str) and value.startswith(("arn:", "*arn:", "s3://")):
                value = value.replace("s3://", f"arn:{self._place.partition}:s3:::", 1)
                arn = value.split(":*")[0] if value.endswith(":*") else value
                # An object's ARN names its bucket.
                arn = arn if "/" in kind.arn else arn.partition("/")[0]
                shape = ".*".join(map(re.escape, VARIABLE.split(kind.arn)[::2]))
                if f":{prefix}:" in arn and fits(action, arn) and re.fullmatch(shape, arn):
                    found.append(arn)
            elif isinstance(value, str) and (found_id := id_in(value, kind)):
                found.append(self._filled(kind, {own_variables(kind.arn)[-1]: found_id}))
            elif (
                isinstance(value, str) and (end := path_form(kind.arn)) and re.fullmatch(end, value)
            ):
                # An id that has the form of the end of an ARN: `service/web/orders`, what a target
                # of scaling names.
                found.append(":".join((*self._filled(kind, {}).split(":")[:5], value)))
        return found

    def _by_property(self, variable: str, kind: ResourceType, resource: DeclaredResource) -> str:
        """The text of the property that a variable of an ARN is named after, `${FunctionName}`;
        empty without one.
        """
        stem = plain(variable.removesuffix(PATHED)).removesuffix("name").removesuffix(
            "id"
        ) or plain(kind.name)
        prefix = kind.arn.split(":")[2]
        # If the ARN also has the name, AWS gives the id: neither a name nor a reference has it.
        is_given = variable.endswith("Id") and f"${{{variable.removesuffix('Id')}Name}}" in kind.arn
        wanted = {
            stem,
            *(f"{stem}{end}" for end in ("name", "id", "arn", "url")),
            f"{prefix}{stem}",
        }
        ends = (f"{stem}name", f"{stem}identifier", f"{plain(kind.name)}identifier")
        makes = plain(",".join((resource.kind.name, *making_actions(resource.kind))))
        for key, value in members(resource.properties):
            if value in (None, self._place.account):
                # The id of an account, as of a catalogue of Glue, names no resource in it.
                continue
            # `db_subnet_group_name` of `rds:CreateDBCluster` fills `${SubnetGroupName}`.
            start = next(
                (plain(key).removesuffix(end) for end in ends if plain(key).endswith(end)), None
            )
            transform = transform_of(variable, kind, plain(key))
            if (
                plain(key) in wanted
                or transform
                or is_end_of(stem, key)
                or (start is not None and start in makes)
            ):
                is_id = variable.endswith("Id") and end_of_id(kind) is None
                if (is_given and isinstance(value, Reference)) or (
                    is_id and self._is_name(key, value)
                ):
                    return UNKNOWN
                text = _BUCKET_HOST.sub("", self._of_parent(variable, value) or self.text(value))
                if plain(key).endswith("arn") and self._is_of_other_service(value, text, prefix):
                    continue
                if UNKNOWN not in text and transform:
                    return transformed(transform, text) or UNKNOWN
                if not text.startswith(("arn:", "https://")):
                    return as_id(text, kind)
                if isinstance(value, Reference) and text.endswith(UNKNOWN):
                    # AWS ends the ARN of a load balancer with an id after its name.
                    return self.text(Reference(value.address))
                return re.split("[:/]", text)[-1]
        return next(
            filter(
                None, (self._of_parent(variable, value) for value in leaves(resource.properties))
            ),
            "",
        )

    def _is_of_other_service(self, value: object, text: str, prefix: str) -> bool:
        target = self._declaration.target(value)
        forms = (
            [each.arn for each in own_types(target.kind)]
            if target
            else [text]
            if text.startswith("arn:")
            else []
        )
        return bool(forms) and all(each.split(":")[2] not in (prefix, UNKNOWN) for each in forms)

    def _of_parent(self, variable: str, value: object) -> str:
        """The function of an alias that a property refers to, and the like; empty for another
        value.
        """
        target = self._declaration.target(value)
        if target is None or target.address in self._resolving:
            return ""
        whole = [kind for kind in own_types(target.kind) if variable in own_variables(kind.arn)]
        part = next(
            (
                kind
                for kind in whole
                if name_variable(own_variables(kind.arn), target.kind) != variable
            ),
            None,
        )
        if part is None:
            return ""
        self._resolving.add(target.address)
        try:
            return self._by_property(variable, part, target)
        finally:
            self._resolving.remove(target.address)

    def _is_name(self, key: str, value: object) -> bool:
        """Whether a property holds a name of a resource to which AWS gives an id."""
        if not isinstance(value, Reference):
            return plain(key).endswith("name")
        target = self._declaration.target(value)
        return target is not None and plain(name_property(target.kind)).endswith("name")

    def _by_last_word(self, variable: str, resource: DeclaredResource) -> str:
        """The text of the property that is the last word of a name: `Family` of
        `${TaskDefinitionFamilyName}`.
        """
        words = _WORD.findall(variable.removesuffix("Name"))
        values = (
            value
            for key, value in resource.properties.items()
            if len(words) > 1 and key.title() == words[-1]
        )
        text = self.text(next(values, UNKNOWN))
        return UNKNOWN if text.startswith("arn:") else text

    def _filled(self, kind: ResourceType, values: Mapping[str, str]) -> str:
        place = {
            "Partition": self._place.partition,
            "Region": self._region,
            "Account": self._place.account,
        }
        filled = VARIABLE.sub(
            lambda match: place.get(match[1]) or values.get(match[1], UNKNOWN), kind.arn
        )
        # An id comes with its start, which the ARN has, too: `ou/o-*/ou-ou-abcd`.
        return re.sub(r"\*{2,}", UNKNOWN, re.sub(r"(?<=/)([a-z]+-)(?=\1)", "", filled))
