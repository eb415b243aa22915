"""Evaluates CloudFormation's functions in the strings and lists of a policy to what they may be.

A function whose result depends on the deployment has several possible values: the branches of
`Fn::If`, the values that a parameter allows, the rows of a mapping. An attribute of a resource of
the same template has the form of its ARN. What remains unknown is a placeholder.

Source: intrinsic-function-reference.html in
https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/, read 2026-12-01.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import product
from types import MappingProxyType

from msgspec import Struct

from leastpriv.budget import Budget
from leastpriv.errors import TooLargeError
from leastpriv.permissions import catalog
from leastpriv.permissions.fact_tables import table
from leastpriv.permissions.tool_lifecycle import ResourceKind, Tool, making_actions
from leastpriv.policy.conditions import all_of, any_of
from leastpriv.policy.syntax_tree import Member, Node, minified
from leastpriv.policy.template_functions import (
    Parts,
    Placeholder,
    known_text,
    merged,
    placeholder_for,
    sub_parts,
    with_build_step_names,
)

_MOST_ALTERNATIVES = 16
"""Possible texts of one string; beyond that the function is a placeholder."""
_DEEPEST = 24
"""References that lead to one another, and functions inside functions."""
_VARIABLE = re.compile(r"\$\{(/?)(\w+)(?:=([^}]*))?\}")
_OPERANDS_OF_EQUALS = 2
_PSEUDO_OF_PART = {
    "Partition": "AWS::Partition",
    "Region": "AWS::Region",
    "Account": "AWS::AccountId",
}
_NO_VALUE = "AWS::NoValue"
_IMPLICIT_ROLE = "AWS::Serverless::Function"
"""SAM makes the role `LOGICALIDRole` for each function without one."""


class TemplateEntry(Struct, frozen=True):
    """One entry of a list, and the function that decides whether it is there; empty if it is."""

    parts: Parts
    depends_on: str = ""


class TemplateValues:
    """What the functions of one template can refer to, and their values.

    Args:
        root: The whole template; None for a policy outside one.
        pseudo_parameters: Values such as that of `AWS::Partition`.
    """

    def __init__(
        self,
        root: Node | None = None,
        pseudo_parameters: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.pseudo_parameters = pseudo_parameters
        self._budget = Budget.of("policy")
        self._sections = {
            name: _section(root, name)
            for name in ("Parameters", "Mappings", "Conditions", "Resources")
        }
        self._known: dict[str, tuple[Parts, ...]] = {}
        self._depth = 0

    def entries(self, value: Node) -> tuple[TemplateEntry, ...] | None:
        """Returns the entries of a list, a string or a function; None for any other value."""
        if value.kind == "array":
            entries: list[TemplateEntry] = []
            for element in value.items:
                inner = self.entries(element)
                if inner is None:
                    return None
                entries += inner
            return tuple(entries)
        if value.kind == "string":
            return (TemplateEntry(with_build_step_names(value.text)),)
        function = _function(value)
        if function is None:
            return None
        try:
            return tuple(self._entries_of(value, *function))
        except TooLargeError:
            return (TemplateEntry(_whole(value)),)

    def texts(self, value: Node) -> tuple[Parts, ...] | None:
        """Returns the possible texts of a string or of a function; None for any other value."""
        if value.kind == "string":
            return (with_build_step_names(value.text),)
        function = _function(value)
        if function is None:
            return None
        try:
            return self._texts_of(value, *function)
        except TooLargeError:
            return (_whole(value),)

    def parts(self, value: Node) -> Parts | None:
        """Returns the only text of a value; a placeholder if it has several."""
        texts = self.texts(value)
        if texts is None or len(texts) == 1:
            return texts[0] if texts else None
        return _whole(value)

    def sub(self, text: str) -> tuple[Parts, ...]:
        """Returns the possible texts of the argument of `Fn::Sub`."""
        return self._sub(text, {})

    def _entries_of(
        self, function_node: Node, name: str, argument: Node
    ) -> Iterator[TemplateEntry]:
        self._budget.spend()
        match name, argument.items:
            case "Fn::If", [test, yes, no]:
                yield from self._branches(test, yes, no)
                return
        if name == "Ref" and argument.text == _NO_VALUE:
            return
        elements = self._list(function_node)
        if elements is not None:
            for element in elements:
                yield from self.entries(element) or ()
            return
        texts = self._texts_of(function_node, name, argument, is_action=True)
        depends_on = described(function_node) if len(texts) > 1 else ""
        yield from (TemplateEntry(parts, depends_on) for parts in texts)

    def _branches(self, test: Node, yes: Node, no: Node) -> Iterator[TemplateEntry]:
        decided = self._condition(test.text, frozenset())
        if decided is not None:
            yield from self.entries(yes if decided else no) or ()
            return
        branches = [self.entries(yes) or (), self.entries(no) or ()]
        yield from union(branches, f"Fn::If {test.text}")

    def _list(self, value: Node) -> Sequence[Node] | None:
        """Returns the items of a function that makes a literal list."""
        if value.kind == "array":
            return value.items
        function = _function(value)
        if function is None:
            return None
        name, argument = function
        if name == "Ref":
            return self._list_parameter(argument.text)
        if name == "Fn::FindInMap":
            mapped_values = self._mapped(argument)
            is_one_list = len(mapped_values) == 1 and mapped_values[0].kind == "array"
            return mapped_values[0].items if is_one_list else None
        match name, argument.items:
            case "Fn::Split", [delimiter, text]:
                return self._split_text(text, delimiter.text)
        return None

    def _list_parameter(self, name: str) -> Sequence[Node] | None:
        """Returns the default of a parameter that is a list; None for another parameter."""
        parameter = self._sections["Parameters"].get(name)
        if parameter is None:
            return None
        default = parameter.get("Default")
        kind = parameter.get("Type")
        if default is None or kind is None or not _is_list_type(kind.text):
            return None
        return _split(default, ",")

    def _split_text(self, text: Node, delimiter: str) -> Sequence[Node] | None:
        """Returns the parts of a text that is known in full."""
        texts = self.texts(text)
        if texts is None or len(texts) != 1 or not delimiter:
            return None
        full_text = known_text(texts[0])
        if full_text is None:
            return None
        return _split(Node("string", text.start, text.end, full_text), delimiter)

    def _texts_of(
        self, function_node: Node, name: str, argument: Node, *, is_action: bool = False
    ) -> tuple[Parts, ...]:
        self._budget.spend()
        if self._depth >= _DEEPEST:
            return (_whole(function_node),)
        self._depth += 1
        try:
            alternatives = self._alternatives(function_node, name, argument, is_action)
            unique = tuple(dict.fromkeys(alternatives))
        finally:
            self._depth -= 1
        if not 0 < len(unique) <= _MOST_ALTERNATIVES:
            return (_whole(function_node),)
        self._budget.spend(characters=sum(map(_length, unique)))
        return unique

    def _alternatives(
        self, function_node: Node, name: str, argument: Node, is_action: bool
    ) -> Iterable[Parts]:
        return self._known_alternatives(name, argument, is_action) or (_whole(function_node),)

    def _known_alternatives(
        self, name: str, argument: Node, is_action: bool
    ) -> Iterable[Parts] | None:
        """Returns the texts that a function may make; none if they are not known."""
        if name == "Ref" and argument.kind == "string":
            return self.named(argument.text, is_action=is_action)
        if name == "Fn::GetAtt":
            attribute = _attribute(argument)
            return self.named(attribute) if attribute else None
        if name == "Fn::Sub":
            return self._sub_function(argument)
        if name == "Fn::FindInMap":
            return self._all_texts(self._mapped(argument))
        match name, argument.items:
            case "Fn::Join", [delimiter, list_node]:
                return self._join(delimiter.text, list_node)
            case "Fn::If", [_condition, _yes, _no]:
                return self._either(argument.items)
            case "Fn::Select", [place, list_node]:
                return self._selected(place, list_node)
        return None

    def named(self, name: str, *, is_action: bool = False) -> tuple[Parts, ...]:
        """Returns the possible values of what `Ref`, `Fn::GetAtt` or `${…}` name."""
        if name in self.pseudo_parameters:
            return ((self.pseudo_parameters[name],),)
        key = f"{name} {is_action}"
        if key not in self._known:
            # What refers to itself is unknown.
            self._known[key] = ((placeholder_for(name),),)
            self._known[key] = self._named(name, is_action)
        return self._known[key]

    def _named(self, name: str, is_action: bool) -> tuple[Parts, ...]:
        parameter = self._sections["Parameters"].get(name)
        if parameter is not None:
            return self._parameter(name, parameter, is_action)
        logical, _, attribute = name.partition(".")
        if arn := self._resource(logical, attribute):
            return arn
        return ((placeholder_for(name),),)

    def _parameter(self, name: str, parameter: Node, is_action: bool) -> tuple[Parts, ...]:
        """Returns the values that a parameter may have; a placeholder where any is possible.

        Its default is the value of an action, but not of a resource, which differs by stack.
        """
        allowed_values = parameter.get("AllowedValues")
        if allowed_values and allowed_values.items:
            return tuple((value.text,) for value in allowed_values.items)
        default = parameter.get("Default")
        if is_action and default is not None:
            names_action = ":" in default.text and not default.text.startswith("arn:")
            if names_action:
                return ((default.text,),)
        return ((placeholder_for(name),),)

    def _resource(self, logical: str, attribute: str) -> tuple[Parts, ...] | None:
        """Returns an attribute of a resource; None if its form is not known."""
        resource = self._sections["Resources"].get(logical)
        if resource is None:
            owner = self._sections["Resources"].get(logical.removesuffix("Role"))
            is_implicit = owner is not None and _type(owner) == _IMPLICIT_ROLE
            template = _template("AWS::IAM::Role", attribute) if is_implicit else ""
            return (tuple(self._filled(template, logical, None)),) if template else None
        template = _template(_type(resource), attribute)
        if not template:
            return None
        return (merged(self._filled(template, logical, resource.get("Properties"))),)

    def _filled(
        self, template: str, logical: str, properties: Node | None
    ) -> Iterator[str | Placeholder]:
        """Yields the parts of a template of an attribute."""
        position = 0
        for match in _VARIABLE.finditer(template):
            yield template[position : match.start()]
            position = match.end()
            start, name, default = match.groups()
            if name in _PSEUDO_OF_PART:
                yield from self.named(_PSEUDO_OF_PART[name])[0]
                continue
            property_value = properties.get(name) if properties else None
            if property_value is None and default:
                yield default
                continue
            yield from self._property(property_value, start) or (
                placeholder_for(f"{logical}.{name}"),
            )
        yield template[position:]

    def _property(self, property_value: Node | None, start: str) -> Parts | None:
        """Returns the text of a property as a part of an ARN; None if it is no such part."""
        parts = self.parts(property_value) if property_value else None
        if parts is None or not parts:
            return None
        first = parts[0]
        if isinstance(first, str) and first.startswith("arn:"):
            return None
        if not start:
            return parts
        if isinstance(first, str):
            return merged((start + first.removeprefix(start), *parts[1:]))
        return None

    def _sub_function(self, argument: Node) -> tuple[Parts, ...] | None:
        """Returns the texts of `Fn::Sub` of a text, or of a text and a map."""
        text = argument
        members: Sequence[Member] = ()
        match argument.items:
            case [text, variable_map]:
                members = variable_map.members
        if text.kind != "string":
            return None
        variables: dict[str, tuple[Parts, ...]] = {}
        for member in members:
            variables[member.key] = self.texts(member.value) or (_whole(member.value),)
        return self._sub(text.text, variables)

    def _sub(self, text: str, variables: Mapping[str, tuple[Parts, ...]]) -> tuple[Parts, ...]:
        slots: list[tuple[Parts, ...]] = []
        for part in sub_parts(text):
            if isinstance(part, str):
                slots.append(((part,),))
            elif part.name in variables:
                slots.append(variables[part.name])
            else:
                slots.append(self.named(part.name))
        return self._products(slots)

    def _join(self, delimiter: str, list_node: Node) -> tuple[Parts, ...] | None:
        """Returns the texts of `Fn::Join` of a delimiter and a literal list."""
        elements = self._list(list_node)
        if elements is None:
            return None
        slots: list[tuple[Parts, ...]] = []
        for element in elements:
            if _is_no_value(element):
                continue
            texts = self.texts(element)
            if texts is None:
                return None
            if slots and delimiter:
                slots.append(((delimiter,),))
            slots.append(texts)
        return self._products(slots)

    def _products(self, slots: Sequence[tuple[Parts, ...]]) -> tuple[Parts, ...]:
        """Returns all texts that the alternatives of some slots make together."""
        count = 1
        for slot in slots:
            count *= len(slot)
        if count > _MOST_ALTERNATIVES:
            slots = [slot if len(slot) == 1 else ((_any_of(slot),),) for slot in slots]
            count = 1
        self._budget.spend(characters=count * sum(max(map(_length, slot)) for slot in slots))
        return tuple(
            merged(part for parts in combination for part in parts)
            for combination in product(*slots)
        )

    def _either(self, arguments: Sequence[Node]) -> Iterator[Parts]:
        test, yes, no = arguments
        decided = self._condition(test.text, frozenset())
        for branch, is_chosen in ((yes, True), (no, False)):
            if decided in (None, is_chosen):
                yield from self.texts(branch) or (_whole(branch),)

    def _selected(self, index_node: Node, list_node: Node) -> tuple[Parts, ...]:
        elements = self._list(list_node)
        if elements is None:
            return ()
        if index_node.text.isdecimal() and len(index_node.text) < len("1000"):
            return self._all_texts(elements[int(index_node.text) :][:1])
        return self._all_texts(elements)

    def _all_texts(self, values: Iterable[Node]) -> tuple[Parts, ...]:
        all_texts: list[Parts] = []
        for value in values:
            if value.kind == "number":
                all_texts.append((value.text,))
                continue
            texts = self.texts(value)
            if texts is None:
                return ()
            all_texts += texts
        return tuple(all_texts)

    def _mapped(self, argument: Node) -> list[Node]:
        """Returns the values of a mapping that `Fn::FindInMap` may mean."""
        match argument.items:
            case [name, first_key, second_key, *_]:
                rows = self._rows(self._sections["Mappings"].get(name.text), first_key)
                return [value for row in rows for value in self._rows(row, second_key)]
        return []

    def _rows(self, rows: Node | None, key: Node) -> list[Node]:
        if rows is None or rows.kind != "object":
            return []
        texts = self.texts(key) or ()
        names = [known_text(parts) for parts in texts]
        if names and None not in names:
            return [row for name in names if name and (row := rows.get(name))]
        return [member.value for member in rows.members]

    def _condition(self, name: str, asked_conditions: frozenset[str]) -> bool | None:
        """Returns whether a condition holds; None if only the deployment knows."""
        value = self._sections["Conditions"].get(name)
        if value is None or name in asked_conditions or len(asked_conditions) > _DEEPEST:
            return None
        return self._holds(value, asked_conditions | {name})

    def _holds(self, value: Node, asked_conditions: frozenset[str]) -> bool | None:
        function = _function(value)
        if function is None or len(asked_conditions) > _DEEPEST:
            return None
        self._budget.spend()
        name, argument = function
        if name == "Condition":
            return self._condition(argument.text, asked_conditions)
        if name == "Fn::Equals":
            return self._equals(argument.items)
        deeper = asked_conditions | {f"{len(asked_conditions)}"}
        truths = [self._holds(operand, deeper) for operand in argument.items]
        match name, truths:
            case "Fn::Not", [truth]:
                return None if truth is None else not truth
            case "Fn::And", [_, *_]:
                return all_of(truths)
            case "Fn::Or", [_, *_]:
                return any_of(truths)
        return None

    def _equals(self, operands: Sequence[Node]) -> bool | None:
        """Returns whether two values are the same text; None if one is not known."""
        known_texts: list[str] = []
        for operand in operands:
            texts = self.texts(operand)
            text = known_text(texts[0]) if texts and len(texts) == 1 else None
            if text is None:
                return None
            known_texts.append(text)
        if len(known_texts) != _OPERANDS_OF_EQUALS:
            return None
        return known_texts[0] == known_texts[1]


def union(branches: Sequence[Sequence[TemplateEntry]], depends_on: str) -> Iterator[TemplateEntry]:
    """Yields the entries of all branches of a list; those that not all have depend on the test."""
    certain = [{entry.parts for entry in branch if not entry.depends_on} for branch in branches]
    common = set.intersection(*certain)
    yielded_parts: set[Parts] = set()
    for branch in branches:
        for entry in branch:
            if entry.parts in yielded_parts:
                continue
            yielded_parts.add(entry.parts)
            if entry.parts in common:
                yield TemplateEntry(entry.parts)
            else:
                yield TemplateEntry(entry.parts, entry.depends_on or depends_on)


def described(function: Node) -> str:
    """Returns a function as a sentence can name it: `Fn::If Production`, `Ref Queue`."""
    name, argument = function.members[0].key, function.members[0].value
    text = argument.text if argument.kind == "string" else _attribute(argument)
    if not text and argument.items and argument.items[0].kind == "string":
        text = argument.items[0].text
    return f"{name} {text or minified(argument)}"


def _function(value: Node) -> tuple[str, Node] | None:
    """Returns the name and the argument of a function."""
    if value.kind != "object" or len(value.members) != 1:
        return None
    key = value.members[0].key
    is_function = key.startswith("Fn::") or key in {"Ref", "Condition"}
    return (key, value.members[0].value) if is_function else None


def _is_no_value(value: Node) -> bool:
    function = _function(value)
    return function is not None and function[0] == "Ref" and function[1].text == _NO_VALUE


def _attribute(argument: Node) -> str:
    """Returns the argument of `Fn::GetAtt` as `Queue.Arn`; empty if it is none."""
    if argument.kind == "string":
        return argument.text
    if not argument.items or any(part.kind != "string" for part in argument.items):
        return ""
    return ".".join(part.text for part in argument.items)


def _whole(value: Node) -> Parts:
    """Returns a function as a placeholder."""
    function = _function(value)
    if function is None:
        return (placeholder_for(minified(value)),)
    name, argument = function
    if name in {"Ref", "Fn::GetAtt"} and (text := _attribute(argument)):
        return (placeholder_for(text),)
    return (placeholder_for(minified(value), name.replace("::", ".")),)


def _any_of(slot: Sequence[Parts]) -> Placeholder:
    return placeholder_for(repr(slot), "choice")


def _section(root: Node | None, name: str) -> Mapping[str, Node]:
    section = root.get(name) if root and root.kind == "object" else None
    return {member.key: member.value for member in section.members} if section else {}


def _type(resource: Node) -> str:
    kind = resource.get("Type")
    return kind.text if kind else ""


def _is_list_type(name: str) -> bool:
    return name == "CommaDelimitedList" or name.startswith("List<")


def _split(value: Node, delimiter: str) -> list[Node]:
    return [
        Node("string", value.start, value.end, text.strip() if delimiter == "," else text)
        for text in value.text.split(delimiter)
    ]


def _length(parts: Parts) -> int:
    return sum(len(part) if isinstance(part, str) else len(part.name) for part in parts)


class _ResourceAttribute(Struct, frozen=True):
    """An attribute of the resources of a tool's type."""

    kind: ResourceKind
    name: str


@cache
def _attribute_templates() -> Mapping[_ResourceAttribute, str]:
    templates: dict[_ResourceAttribute, str] = {}
    for tool in Tool:
        for row in table(f"{tool.value}_attributes", "leastpriv.policy"):
            attribute = _ResourceAttribute(ResourceKind(tool, row["type"]), row["attribute"])
            templates[attribute] = row["template"]
    return templates


def attribute_template(kind: ResourceKind, attribute: str) -> str | None:
    """Returns what an attribute of a tool's type is made of; None where the tables lack it."""
    return _attribute_templates().get(_ResourceAttribute(kind, attribute))


def _template(type_name: str, attribute: str) -> str:
    """Returns what an attribute is made of; empty if that is not known."""
    kind = ResourceKind(Tool.CLOUDFORMATION, type_name)
    template = attribute_template(kind, attribute)
    if template is not None:
        return template
    if attribute != "Arn" and attribute != f"{type_name.rpartition('::')[2]}Arn":
        return ""
    return arn_of_service(kind, attribute)


@cache
def arn_of_service(kind: ResourceKind, attribute: str) -> str:
    """Returns the form of the ARNs that a tool's type has in its service; empty if it has several
    services.
    """
    services: set[str] = set()
    for action in making_actions(kind):
        catalog_action = catalog.action(action)
        services.update(
            resource_type.arn.split(":")[2]
            for resource_type in (catalog_action.resource_types if catalog_action else ())
        )
    if len(services) != 1:
        return ""
    (service,) = services
    return f"arn:${{Partition}}:{service}:${{Region}}:${{Account}}:${{{attribute}}}"
