"""Reads CloudFormation templates: resources with their properties, functions resolved as far as the
template knows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from msgspec import Struct

from leastpriv.declared.made_types import (
    is_name_in_arn,
    made_name,
    name_by_parameter,
    own_types,
)
from leastpriv.declared.models import (
    LOCAL_PATH,
    UNKNOWN,
    Declaration,
    DeclaredResource,
    Place,
    Reference,
    Stack,
    leaves,
    read_in_s3,
    reads_of,
)
from leastpriv.declared.transforms import MANAGED_BUCKET, after_transform, without_loops
from leastpriv.errors import InputError, PolicyFileError
from leastpriv.models import Need
from leastpriv.permissions.fact_tables import table
from leastpriv.permissions.patterns import BUILD_STEP_NAME, escape_observed
from leastpriv.permissions.tool_lifecycle import (
    Phase,
    ResourceKind,
    Tool,
    is_custom,
    is_known,
    name_property,
    tag_property,
)

MADE = (Phase.CREATE, Phase.READ, Phase.DELETE)
"""Phases of a new resource: CloudFormation deletes it when the deployment fails."""
_SUB = re.compile(r"\$\{(!?)([^}]*)\}")
_NO_VALUE = object()
_SERVICE = re.compile(r"[a-z0-9.*-]+\.amazonaws\.com(?:\.cn)?")
_MOST_NESTED = 20
_NESTED = "AWS::CloudFormation::Stack"
_NOT_MADE = (
    "AWS::CDK::Metadata",
    "AWS::CloudFormation::WaitCondition",
    "AWS::CloudFormation::WaitConditionHandle",
)
_EXPANDED = ("AWS::Serverless-", "AWS::LanguageExtensions")
"""Begin the names of transforms whose result is known."""

ReadNested = Callable[[str], bytes | None]
"""A nested template by its path; None where there is no such file."""


def read_template(
    raw: bytes, source: str, stack: Stack, place: Place, nested: ReadNested = lambda _: None
) -> Declaration:
    """Reads a template in JSON or YAML, and those of its nested stacks that are files.

    Raises:
        InputError: it is no CloudFormation template.
    """
    document = _document(raw, source)
    try:
        return _Template(document, source, stack, place, nested).declaration()
    except RecursionError as error:
        raise InputError(
            f"{source} cannot be read as a template: it is nested too deep."
        ) from error


def _document(raw: bytes, source: str) -> Mapping[str, object]:
    from leastpriv.policy.syntax_tree import json_value, read_yaml

    text = raw.decode("utf-8", "replace")
    try:
        if text.removeprefix("\ufeff").lstrip().startswith("{"):
            document: object = json.loads(text.removeprefix("\ufeff"))
        else:
            document = json_value(read_yaml(text, source))
    except (PolicyFileError, ValueError, RecursionError) as error:
        raise InputError(f"{source} cannot be read as a template: {error}") from error
    if not isinstance(document, dict) or not isinstance(document.get("Resources"), dict):
        raise InputError(f"{source} is no CloudFormation template: it has no Resources.")
    return document


class _Template(Struct):
    document: Mapping[str, object]
    source: str
    stack: Stack
    place: Place
    nested: ReadNested
    depth: int = 0
    transforms: tuple[str, ...] = ()
    naming: set[str] = set()
    """Logical ids whose names are being resolved: a name may refer to itself."""
    inner_reads: list[Need] = []
    """Those of nested stacks."""

    def __post_init__(self) -> None:
        self.transforms = tuple(_transforms(self.document))
        if any(each.startswith("AWS::Serverless-") for each in self.transforms):
            uploads = f"{self.stack.bucket or MANAGED_BUCKET}/{self.stack.prefix}"
            self.document = after_transform(self.document, self.source, uploads)
        resources = without_loops(self._section("Resources"), self._items)
        self.document = {**self.document, "Resources": resources}

    def declaration(self) -> Declaration:
        """Returns the resources of the template and of its nested stacks."""
        found: list[DeclaredResource] = []
        transforms = dict.fromkeys(self.transforms)
        unknown = {f"transform {each}" for each in transforms if not each.startswith(_EXPANDED)}
        trusts: dict[str, tuple[str, ...]] = {}
        for logical, entry in self._section("Resources").items():
            if (
                not isinstance(entry, dict)
                or self._condition(entry.get("Condition", {}), 0) is False
            ):
                continue
            name = str(entry.get("Type", ""))
            kind = ResourceKind(Tool.CLOUDFORMATION, name)
            resolved = self._resolve(entry.get("Properties", {}), 0)
            properties = resolved if isinstance(resolved, dict) else {}
            rows = (
                row
                for row in table("default_snapshots", __package__)
                if row["type"] == entry.get("Type")
            )
            default = (
                "Snapshot" if any(row["unless"] not in properties for row in rows) else "Delete"
            )
            properties["DeletionPolicy"] = str(entry.get("DeletionPolicy") or default)
            if name == _NESTED:
                part = self._nested(logical, entry, properties)
                unknown.update(part.unknown_types)
                found.extend(part.resources)
                trusts.update(part.trusts)
                transforms.update(dict.fromkeys(part.transforms))
            if name not in _NOT_MADE and not is_known(kind) and not is_custom(kind):
                unknown.add(name)
            tagged = self.stack.tagged or bool(properties.get(tag_property(kind)[0]))
            phases = MADE[:-1] if properties["DeletionPolicy"] == "Retain" else MADE
            name = self._name(kind, logical, properties)
            found.append(DeclaredResource(kind, logical, phases, properties, name, tagged=tagged))
            if "AssumeRolePolicyDocument" in properties:
                trusts[logical] = trusted_services(properties["AssumeRolePolicyDocument"])
        return Declaration(
            self.source,
            tuple(found),
            reads=(*self.inner_reads, *self._reads(found)),
            unknown_types=tuple(sorted(unknown - {""})),
            transforms=tuple(transforms),
            trusts=trusts,
        )

    def _reads(self, resources: Sequence[DeclaredResource]) -> Iterator[Need]:
        names = [
            str(self.stack.parameters.get(key) or each.get("Default") or UNKNOWN)
            for key, each in self._section("Parameters").items()
            if isinstance(each, dict) and _is_stored(each)
        ]
        texts = (
            text for each in resources for text in leaves(each.properties) if isinstance(text, str)
        )
        return reads_of(names, texts, f"the values of {self.source}", self.place)

    def _nested(
        self, logical: str, entry: Mapping[str, object], properties: Mapping[str, object]
    ) -> Declaration:
        """The declaration of a nested stack; its type is unknown where its template is no file."""
        metadata = entry.get("Metadata")
        asset = metadata.get(LOCAL_PATH) if isinstance(metadata, dict) else None
        path = str(asset or properties.get("TemplateURL") or "")
        self.inner_reads.extend(
            read_in_s3(properties.get("TemplateURL"), f"the template of {logical}", self.place)
        )
        raw = (
            self.nested(path) if path and "://" not in path and self.depth < _MOST_NESTED else None
        )
        if raw is None:
            return Declaration(path, unknown_types=(f"{_NESTED} {logical}",))
        given = properties.get("Parameters")
        members = given.items() if isinstance(given, dict) else ()
        texts = {key: value for key, value in members if isinstance(value, str)}
        inner = Stack(f"{self.stack.name}-{logical}-{UNKNOWN}", texts, self.stack.tagged)
        part = _Template(
            _document(raw, path), path, inner, self.place, self.nested, self.depth + 1
        ).declaration()
        self.inner_reads.extend(part.reads)
        return part.inside(logical)

    def _items(self, collection: object) -> Sequence[str]:
        """The texts of the collection of a loop; UNKNOWN alone where only the deployment knows
        them.
        """
        found = self._resolve(collection, 0)
        texts = found.split(",") if isinstance(found, str) else found
        return [str(each).strip() for each in texts] if isinstance(texts, list) else [UNKNOWN]

    def _section(self, name: str) -> Mapping[str, object]:
        section = self.document.get(name)
        return section if isinstance(section, dict) else {}

    def _name(self, kind: ResourceKind, logical: str, properties: Mapping[str, object]) -> str:
        """The name in the template, else the one that CloudFormation makes; UNKNOWN where AWS gives
        an id.
        """
        if kind.name == _NESTED:
            return made_name(kind.name, self.stack.name, logical)
        key = name_property(kind)
        given = properties.get(key) if key else _name_inside(kind, properties)
        if not key and not given:
            return name_by_parameter(kind, properties)
        if isinstance(given, Reference) or not is_name_in_arn(kind, key or "Name"):
            return UNKNOWN
        entry = self._section("Resources").get(logical)
        own = entry.get("Properties") if isinstance(entry, dict) else None
        written = own.get(key) or _name_inside(kind, own) if isinstance(own, dict) else None
        if isinstance(written, str) and not BUILD_STEP_NAME.search(written):
            # A `*` in it is a character, and not what only the deployment knows.
            return escape_observed(written)
        given = given if given and given != self.place.account else _name_inside(kind, properties)
        if not isinstance(given, str):
            return made_name(kind.name, self.stack.name, logical)
        # Only the deployment knows `{{resolve:ssm:/app/bucket}}`, and a name that a build step
        # replaces.
        return BUILD_STEP_NAME.sub(UNKNOWN, given)

    def _resolve(self, value: object, depth: int) -> object:
        """The value without functions: texts with UNKNOWN in place of what the template does not
        know.
        """
        if depth > 40:
            return UNKNOWN
        if isinstance(value, list):
            items = (self._resolve(item, depth + 1) for item in value)
            return [item for item in items if item is not _NO_VALUE]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            ((name, argument),) = value.items()
            if name == "Ref" or name.startswith("Fn::"):
                return self._call(name.removeprefix("Fn::"), argument, depth + 1)
        members = ((key, self._resolve(item, depth + 1)) for key, item in value.items())
        return {key: item for key, item in members if item is not _NO_VALUE}

    def _call(self, name: str, argument: object, depth: int) -> object:
        if name == "Ref":
            return self._ref(str(argument))
        if name == "GetAtt":
            parts = argument if isinstance(argument, list) else str(argument).split(".", 1)
            return Reference(str(parts[0]), ".".join(map(str, parts[1:])))
        if name == "Sub":
            return self._sub(argument, depth)
        if name == "If":
            return self._if(argument, depth)
        if name == "Join" and isinstance(argument, list) and len(argument) == 2:
            joined = self._resolve(argument[1], depth)
            return (
                str(argument[0]).join(map(self._text, joined))
                if isinstance(joined, list)
                else UNKNOWN
            )
        if name == "Split" and isinstance(argument, list) and len(argument) == 2:
            whole = self._resolve(argument[1], depth)
            is_known = isinstance(whole, str) and UNKNOWN not in whole and argument[0]
            return whole.split(str(argument[0])) if isinstance(whole, str) and is_known else UNKNOWN
        return self._selected(name, argument, depth) if name in ("Select", "FindInMap") else UNKNOWN

    def _ref(self, name: str) -> object:
        pseudo = {
            "AWS::AccountId": self.place.account,
            "AWS::Partition": self.place.partition,
            "AWS::Region": self.place.region,
            "AWS::StackName": self.stack.name,
            "AWS::URLSuffix": "amazonaws.com.cn"
            if self.place.partition == "aws-cn"
            else "amazonaws.com",
        }
        if name == "AWS::NoValue":
            return _NO_VALUE
        if name in pseudo:
            return pseudo[name]
        if name in self._section("Resources"):
            return Reference(name)
        # The given value of a parameter, else its default; one of Systems Manager holds a name
        # instead.
        declared = self._section("Parameters").get(name)
        known = declared if isinstance(declared, dict) else {}
        given = self.stack.parameters.get(name, known.get("Default"))
        if _is_stored(known) or not isinstance(given, str | int | float):
            return UNKNOWN
        is_list = str(known.get("Type", "")).startswith(("List<", "CommaDelimitedList"))
        return [part.strip() for part in str(given).split(",") if part] if is_list else str(given)

    def _sub(self, argument: object, depth: int) -> object:
        text, values = (
            argument if isinstance(argument, list) and len(argument) == 2 else (argument, {})
        )
        if not isinstance(text, str):
            return UNKNOWN
        given = values if isinstance(values, dict) else {}

        def part(match: re.Match[str]) -> str:
            if match[1]:
                return "${" + match[2] + "}"
            if match[2] in given:
                return self._text(self._resolve(given[match[2]], depth))
            logical, _, attribute = match[2].partition(".")
            return self._text(Reference(logical, attribute) if attribute else self._ref(match[2]))

        whole = _SUB.fullmatch(text)
        if whole and not whole[1] and whole[2] not in given and "." in whole[2]:
            return Reference(*whole[2].split(".", 1))
        return re.sub(r"\*{2,}", UNKNOWN, _SUB.sub(part, text))

    def _text(self, value: object) -> str:
        """A part of a longer text; a reference gives the name that the template gives to its
        resource.
        """
        if not isinstance(value, Reference):
            return str(value) if isinstance(value, str | int | float) else UNKNOWN
        entry = self._section("Resources").get(value.address)
        if not isinstance(entry, dict) or value.address in self.naming:
            return UNKNOWN
        kind = ResourceKind(Tool.CLOUDFORMATION, str(entry.get("Type", "")))
        key = name_property(kind)
        if value.attribute not in ("", "Name", key) or not own_types(kind):
            # Where no ARN has a name, as of an API of API Gateway, AWS gives an id.
            return UNKNOWN
        given = entry.get("Properties")
        own = given.get(key) if isinstance(given, dict) else None
        self.naming.add(value.address)
        try:
            return self._name(
                kind, value.address, {key: self._resolve(own, 20)} if own is not None else {}
            )
        finally:
            self.naming.remove(value.address)

    def _if(self, argument: object, depth: int) -> object:
        if not isinstance(argument, list) or len(argument) != 3:
            return UNKNOWN
        known = self._condition(argument[0], depth)
        if known is not None:
            return self._resolve(argument[1 if known else 2], depth)
        found = [self._resolve(each, depth) for each in argument[1:]]
        values = [each for each in found if each is not _NO_VALUE]
        if (
            len(values) == 2
            and all(isinstance(each, str) for each in values)
            and values[0] != values[1]
        ):
            return UNKNOWN
        return values[0] if values else _NO_VALUE

    def _condition(self, condition: object, depth: int) -> bool | None:
        """Whether a condition holds; None where only the deployment knows."""
        if depth > 40:
            return None
        if isinstance(condition, str):
            return self._condition(self._section("Conditions").get(condition), depth + 1)
        if not isinstance(condition, dict) or len(condition) != 1:
            return None
        ((name, argument),) = condition.items()
        if name == "Condition":
            return self._condition(argument, depth + 1)
        if not isinstance(argument, list):
            return None
        if name == "Fn::Equals" and len(argument) == 2:
            one, other = (self._resolve(each, depth + 1) for each in argument)
            is_known = (
                isinstance(one, str | int)
                and isinstance(other, str | int)
                and UNKNOWN not in f"{one}{other}"
            )
            return str(one) == str(other) if is_known else None
        parts = [self._condition(each, depth + 1) for each in argument]
        if name == "Fn::Not":
            return None if parts[0] is None else not parts[0]
        if name in ("Fn::And", "Fn::Or"):
            decisive = name == "Fn::Or"
            return decisive if decisive in parts else None if None in parts else not decisive
        return None

    def _selected(self, name: str, argument: object, depth: int) -> object:
        keys = (
            [self._resolve(each, depth) for each in argument] if isinstance(argument, list) else []
        )
        found: object = None
        if (
            name == "Select"
            and len(keys) == 2
            and str(keys[0]).isdigit()
            and isinstance(keys[1], list)
        ):
            index = int(str(keys[0]))
            found = keys[1][index] if index < len(keys[1]) else None
        elif name == "FindInMap" and len(keys) >= 3:
            found = self._section("Mappings")
            for key in keys[:3]:
                found = found.get(str(key)) if isinstance(found, dict) else None
        return UNKNOWN if found is None else found


def _is_stored(parameter: Mapping[str, object]) -> bool:
    """Whether a parameter of a template holds the name of a parameter of Systems Manager, whose
    value it has.
    """
    return str(parameter.get("Type", "")).startswith("AWS::SSM::Parameter::Value<")


def _name_inside(kind: ResourceKind, properties: Mapping[str, object]) -> object:
    """The name in the one block that describes the resource: `DatabaseInput.Name`; None where there
    is none.
    """
    noun = kind.name.rpartition("::")[2]
    blocks = [properties.get(f"{noun}{end}") for end in ("", "Input", "Config", "Configuration")]
    named = (
        block.get(key)
        for block in blocks
        if isinstance(block, dict)
        for key in ("Name", f"{noun}Name")
    )
    return next(filter(None, named), None)


def trusted_services(document: object) -> tuple[str, ...]:
    """Returns the services that a trust policy names, sorted."""
    texts = (each for each in leaves(document) if isinstance(each, str))
    return tuple(sorted({text for text in texts if _SERVICE.fullmatch(text)}))


def _transforms(document: Mapping[str, object]) -> Iterator[str]:
    """The names of the transforms of a template, and of a part of its resources."""
    declared, resources = document.get("Transform"), document.get("Resources")
    inner = resources.values() if isinstance(resources, Mapping) else ()
    parts = (each.get("Fn::Transform") for each in (resources, *inner) if isinstance(each, Mapping))
    for each in (*(declared if isinstance(declared, list) else [declared]), *parts):
        name = each.get("Name") if isinstance(each, Mapping) else each
        if isinstance(name, str):
            yield name
