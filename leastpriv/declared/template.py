"""Reads CloudFormation templates: resources with their properties, functions resolved as far as the
template knows.

What only the deployment knows is a bound. A resource whose properties depend on an unknown
condition is declared once for each branch, so that its needs are those of all branches.
"""

from __future__ import annotations

import re
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeGuard

from msgspec import Struct, field
from msgspec.structs import replace

from leastpriv.budget import Budget
from leastpriv.declared.files import OutsideError, RepositoryFiles
from leastpriv.declared.limits import unknown_parts
from leastpriv.declared.models import (
    APPLICATION,
    LOCAL_PATH,
    OUTER,
    UNKNOWN,
    Declaration,
    DeclaredResource,
    LeftOut,
    OpenText,
    Place,
    Reference,
    Stack,
    leaves,
    moved,
    open_text,
    read_in_s3,
    read_object,
    reads_of,
    tool_calls,
    value_text,
)
from leastpriv.declared.other_forms import remedy_for
from leastpriv.declared.resource_types import (
    is_name_in_arn,
    made_name,
    name_by_parameter,
    own_types,
)
from leastpriv.declared.template_text import read_template_text
from leastpriv.declared.transforms import (
    MANAGED_BUCKET,
    after_transform,
    either_template,
    is_of_sam,
    without_loops,
)
from leastpriv.errors import InputError, PolicyFileError
from leastpriv.models import Need
from leastpriv.permissions.fact_tables import table
from leastpriv.permissions.patterns import BUILD_STEP_NAME, escape_observed
from leastpriv.permissions.tool_lifecycle import (
    Phase,
    ResourceKind,
    Tool,
    name_property,
    tag_property,
)
from leastpriv.policy.conditions import all_of, any_of

MADE = (Phase.CREATE, Phase.READ, Phase.DELETE)
"""Phases of a new resource: CloudFormation deletes it when the deployment fails."""
_SUB = re.compile(r"\$\{(?P<literal>!?)(?P<name>[^{}]*)\}")
_NO_VALUE = object()
_SERVICE = re.compile(r"[a-z0-9.*-]+\.amazonaws\.com(?:\.cn)?")
_MOST_LEVELS = 40
_LEVEL_OF_NAME = 20
"""At which a name is resolved: that of another resource may have one in it again."""
_MOST_VARIANTS = 16
"""Ways in which unknown conditions decide about one resource."""
_STEPS_OF_RESOURCE = 200
"""What a resource costs with its needs: a budget has 5,000 resources."""
_LONGEST_NAME = 2_048
"""Characters; a longer text names no resource of AWS."""
_NESTED = "AWS::CloudFormation::Stack"
_IF = "Fn::If"
_ONLY_DEPLOYMENT = "only the deployment knows them"
_LOOP = "Fn::ForEach"
_NO_LOOP = "it is no list of a variable, items and a body"
_TRANSFORM = "Fn::Transform"
_WITH_LOOPS = ("Conditions", "Resources", "Outputs")
"""Sections in which `Fn::ForEach` may be."""
_EXPANDED = ("AWS::Serverless-", "AWS::LanguageExtensions")
"""Begin the names of transforms whose result is known."""


def read_template(
    raw: bytes, source: str, stack: Stack, place: Place, files: RepositoryFiles | None = None
) -> Declaration:
    """Reads a template in JSON or YAML, and those of its nested stacks that are files.

    Args:
        raw: the template.
        source: its path, as the user names it.
        stack: how it is deployed.
        place: where.
        files: the files that it can name; None: none.

    Raises:
        InputError: it is no CloudFormation template.
        TooLargeError: it asks for more work than its budget has.
    """
    # By the time of the processor: a busy machine makes no honest template too large.
    budget = Budget.of("template")
    document = _read(raw, source, budget)
    around = files or RepositoryFiles(lambda _: None)
    try:
        template = _Template(
            document=document.sections,
            repeated=document.repeated,
            source=source,
            stack=stack,
            place=place,
            files=around,
            budget=budget,
        )
        return template.declaration()
    except RecursionError as error:
        raise InputError(
            f"{source} cannot be read as a template: it is nested too deep."
        ) from error


class _Document(Struct, frozen=True):
    """A template as it is written."""

    sections: Mapping[str, object]
    repeated: tuple[str, ...]
    """Keys that an object has twice with different values."""


def _read(raw: bytes, source: str, budget: Budget) -> _Document:
    budget.spend(characters=len(raw), files=1)
    # PowerShell writes UTF-16 where it redirects the output of a program.
    encoding = "utf-16" if raw.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) else "utf-8"
    text = raw.decode(encoding, "replace").removeprefix("\ufeff")
    if not text.strip():
        raise InputError(f"{source} is empty: name the file of a template.")
    try:
        template = read_template_text(text, source, budget)
    except (PolicyFileError, ValueError, RecursionError) as error:
        remedy = remedy_for(source, ())
        raise InputError(f"{source} cannot be read as a template: {remedy or error}") from error
    sections = template.value if isinstance(template.value, dict) else {}
    if "Resources" not in sections and any(map(_makes_resources, _transform_entries(sections))):
        sections = {**sections, "Resources": {}}
    if not isinstance(sections.get("Resources"), dict):
        remedy = remedy_for(source, {*sections} - {"Resources"})
        raise InputError(
            f"{source} is no CloudFormation template: {remedy or 'it has no Resources.'}"
        )
    return _Document(sections, template.repeated)


def _makes_resources(transform: object) -> bool:
    """Whether a transform may make the resources of a template that has none."""
    name = transform.get("Name") if isinstance(transform, Mapping) else transform
    return isinstance(name, str) and not name.startswith(_EXPANDED)


class _Branch(Struct, frozen=True):
    """A branch of `Fn::If` under a condition that only the deployment knows."""

    condition: str
    function: int
    """Identity of the function."""
    holds: bool
    """Whether the condition is taken to hold."""


class _Choice(Struct):
    """What decides about the parts of a template that are being resolved."""

    false: frozenset[str] = frozenset()
    """Unknown conditions that are taken not to hold; the others are taken to hold."""
    asked: set[str] = field(default_factory=set)
    """Unknown conditions that a function asked for."""
    taken: set[_Branch] = field(default_factory=set)
    """The branches of the functions that asked for them."""
    defaults: set[str] = field(default_factory=set)
    """Parameters whose defaults were read."""


class _Variant(Struct, frozen=True):
    """The properties of a resource under one choice."""

    false: frozenset[str]
    """The unknown conditions that are taken not to hold."""
    properties: dict[str, object]
    name: str


class _NameKey(Struct, frozen=True):
    """A resource under one choice, which decides about its name."""

    logical: str
    false: frozenset[str]
    """The unknown conditions that are taken not to hold."""


class _ResolvedName(Struct, frozen=True):
    """The name of a resource, and what decided about it."""

    name: str
    choice: _Choice


class _Template(Struct):
    """Reads one template."""

    document: Mapping[str, object]
    source: str
    stack: Stack
    place: Place
    files: RepositoryFiles
    budget: Budget
    repeated: tuple[str, ...] = ()
    """Keys that an object of the file has twice."""
    outer: tuple[str, ...] = ()
    """The files of the templates around it."""
    transforms: tuple[str, ...] = ()
    choice: _Choice = field(default_factory=_Choice)
    naming: list[str] = field(default_factory=list)
    """Logical ids whose names are being resolved, from the outside in."""
    names: dict[_NameKey, _ResolvedName] = field(default_factory=dict)
    """Those that texts of other resources have."""
    inner_reads: list[Need] = field(default_factory=list)
    """Those of nested stacks."""
    outputs: dict[Reference, object] = field(default_factory=dict)
    """Reference to an output of a nested stack, `Outputs.Role` -> value."""
    unknown: dict[str, str] = field(default_factory=dict)
    left_out: dict[tuple[str, ...], list[str]] = field(default_factory=dict)
    """Parameters whose defaults decide -> logical ids."""

    def __post_init__(self) -> None:
        self.transforms = tuple(_transforms(self.document))
        for name in _WITH_LOOPS:
            section = without_loops(self._section(name), self._items, self.budget)
            self.document = {**self.document, name: section}
        if any(transform.startswith("AWS::Serverless-") for transform in self.transforms):
            self._leave_out_unnamed()
            self.document = self._after_transform()

    def _after_transform(self) -> Mapping[str, object]:
        """The template after the transform of AWS SAM, once for each way in which unknown
        conditions decide about whole properties, which AWS SAM does not take as a function.
        """
        made: Mapping[str, object] = {}
        for choice in self._choices("resources of AWS SAM"):
            document = after_transform(
                {**self.document, "Resources": self._with_one_branch()},
                source=self.source,
                uploads=f"{self.stack.bucket or MANAGED_BUCKET}/{self.stack.prefix}",
                resolve=lambda value: self._resolve(value, 0),
            )
            # No section has a condition of several names, so that it is unknown as well.
            condition = " ".join(sorted(choice.false))
            made = either_template(condition, made, document) if made else document
        return made

    def _choices(self, what: str, own_condition: object = None) -> Iterator[_Choice]:
        """Yields each choice of the unknown conditions that its user asks for, as the present one;
        names the part whose branches are not all tried.

        Args:
            what: the part that depends on them, for the message.
            own_condition: the condition under which the part exists.
        """
        pending = [frozenset[str]()]
        seen = set(pending)
        taken: set[_Branch] = set()
        for number in range(_MOST_VARIANTS):
            if not pending:
                return
            self.budget.spend(steps=_STEPS_OF_RESOURCE if number else 0)
            choice = _Choice(pending.pop(0))
            self.choice = choice
            yield choice
            taken |= choice.taken
            asked = choice.asked - {str(own_condition)}
            singles = [choice.false | {condition} for condition in sorted(asked)]
            for following in (frozenset(asked), *singles):
                if following not in seen:
                    seen.add(following)
                    pending.append(following)
        opposites = {replace(branch, holds=not branch.holds) for branch in taken}
        if any(branch.condition != str(own_condition) for branch in opposites - taken):
            self.unknown[f"branches of {what}"] = "they depend on more conditions than are tried"

    def _with_one_branch(self) -> dict[str, object]:
        """The resources, those of AWS SAM with the properties that one choice of conditions
        takes.
        """
        resources: dict[str, object] = {}
        for logical, entry in self._section("Resources").items():
            if not isinstance(entry, dict) or not is_of_sam(entry):
                resources[logical] = entry
                continue
            properties = self._branch_of(entry.get("Properties"))
            if isinstance(properties, dict | None):
                resources[logical] = {**entry, "Properties": properties or {}}
            else:
                self.unknown[f"the properties of {logical}"] = _ONLY_DEPLOYMENT
        return resources

    def _branch_of(self, properties: object) -> object:
        """The properties that one choice of conditions takes, with the functions in them; what a
        function makes where it is another one.
        """
        for _ in range(_MOST_LEVELS):
            if not isinstance(properties, dict) or len(properties) != 1:
                return properties
            ((name, argument),) = properties.items()
            if name == "Ref" and argument == "AWS::NoValue":
                return {}
            if name == "Ref" or (name.startswith("Fn::") and name != _IF):
                return self._resolve(properties, 0)
            if name != _IF or not isinstance(argument, list) or len(argument) != 3:
                return properties
            properties = argument[1] if self._holds(argument, 0) else argument[2]
        return properties

    def _leave_out_unnamed(self) -> None:
        """Leaves out what a loop over unknown items makes of AWS SAM, which takes no such name."""
        resources: dict[str, object] = {}
        for logical, entry in self._section("Resources").items():
            if is_of_sam(entry) and not logical.isalnum():
                self.unknown[logical] = "only the deployment knows the items of its loop"
            else:
                resources[logical] = entry
        self.document = {**self.document, "Resources": resources}

    def declaration(self) -> Declaration:
        """Returns the resources of the template and of its nested stacks."""
        resources: list[DeclaredResource] = []
        parts: list[Declaration] = []
        trusts: dict[str, tuple[str, ...]] = {}
        self.budget.spend(steps=_STEPS_OF_RESOURCE * len(self._section("Resources")))
        for key in self.repeated:
            part = f"the first {key} of {self.source}"
            self.unknown[part] = "an object has the key twice, and the last one is read"
        for name in self.transforms:
            if not name.startswith(_EXPANDED):
                self.unknown[f"transform {name}"] = "what it makes is not known"
        for logical, entry in self._section("Resources").items():
            if not self._is_resource(entry, logical) or not self._is_made(logical, entry):
                continue
            resources_of_entry = self._resources(logical, entry)
            resources.extend(resources_of_entry)
            for resource in resources_of_entry:
                if "AssumeRolePolicyDocument" in resource.properties:
                    services = trusted_services(resource.properties["AssumeRolePolicyDocument"])
                    trusts[logical] = tuple(sorted({*trusts.get(logical, ()), *services}))
            if entry.get("Type") == _NESTED:
                parts.append(self._nested(logical, entry, resources_of_entry[0].properties))
        if not (resources or parts or self.unknown or self.left_out):
            self.unknown[self.source] = "it makes no resource"
        if self.outputs:
            resources = [self._with_outputs(resource) for resource in resources]
            parts = [
                replace(part, resources=tuple(map(self._with_outputs, part.resources)))
                for part in parts
            ]
        return self._with_parts(resources, trusts, parts)

    def output_values(self) -> dict[str, object]:
        """Returns the outputs, resolved, by name."""
        self.choice = _Choice()
        return {
            name: self._resolve(entry.get("Value"), 0)
            for name, entry in self._section("Outputs").items()
            if isinstance(entry, dict)
        }

    def _with_outputs(self, resource: DeclaredResource) -> DeclaredResource:
        """A resource with what the outputs of nested stacks are."""
        properties = {
            key: _filled_in(value, self.outputs) for key, value in resource.properties.items()
        }
        return replace(resource, properties=properties)

    def _with_parts(
        self,
        resources: Sequence[DeclaredResource],
        trusts: dict[str, tuple[str, ...]],
        parts: Sequence[Declaration],
    ) -> Declaration:
        """The declaration of the template with those of its nested stacks."""
        resources_of_parts = [resource for part in parts for resource in part.resources]
        transforms = dict.fromkeys(self.transforms)
        left_out = [
            LeftOut(parameters, tuple(logical)) for parameters, logical in self.left_out.items()
        ]
        for part in parts:
            transforms.update(dict.fromkeys(part.transforms))
            trusts.update(part.trusts)
            self.unknown.update(part.unknown)
            left_out.extend(part.left_out)
        return Declaration(
            self.source,
            (*resources_of_parts, *resources),
            reads=(*self.inner_reads, *self._reads(resources)),
            unknown=self.unknown,
            left_out=tuple(left_out),
            transforms=tuple(transforms),
            trusts=trusts,
        )

    def _is_resource(self, entry: object, logical: str) -> TypeGuard[Mapping[str, object]]:
        """Whether an entry of the resources is one; says of another one that it is not read."""
        if isinstance(entry, dict) and "Type" in entry:
            return True
        is_of_transform = isinstance(entry, dict) and _TRANSFORM in entry
        if logical.startswith(_LOOP):
            self.unknown[f"the loop {logical}"] = _NO_LOOP
        elif not is_of_transform and logical != _TRANSFORM:
            self.unknown[f"the resource {logical}"] = "it has no Type"
        return False

    def _is_made(self, logical: str, entry: Mapping[str, object]) -> bool:
        """Whether the deployment makes a resource, as far as its condition says."""
        if "Condition" not in entry:
            return True
        self.choice = _Choice()
        if self._condition(entry["Condition"], 0) is not False:
            return True
        if parameters := tuple(sorted(self.choice.defaults)):
            self.left_out.setdefault(parameters, []).append(logical)
        return False

    def _resources(self, logical: str, entry: Mapping[str, object]) -> list[DeclaredResource]:
        """The resource, once for each way in which unknown conditions decide about it."""
        type_name = entry.get("Type", "")
        if not isinstance(type_name, str):
            self.unknown[f"the type of {logical}"] = "another tool fills it in"
            type_name = ""
        kind = ResourceKind(Tool.CLOUDFORMATION, type_name)
        tags = tag_property(kind).name
        resources = []
        for variant in self._variants(logical, kind, entry):
            if type_name:
                self.unknown.update(unknown_parts(kind, variant.properties))
            is_retained = variant.properties["DeletionPolicy"] == "Retain"
            resources.append(
                DeclaredResource(
                    kind,
                    logical,
                    phases=(Phase.CREATE, Phase.READ) if is_retained else MADE,
                    properties=variant.properties,
                    name=variant.name,
                    tagged=self.stack.tagged or bool(variant.properties.get(tags)),
                    variant=" ".join(sorted(variant.false)),
                )
            )
        return resources

    def _variants(
        self, logical: str, kind: ResourceKind, entry: Mapping[str, object]
    ) -> list[_Variant]:
        """The properties under each choice of the conditions that they ask for, without repeats."""
        variants: list[_Variant] = []
        for choice in self._choices(logical, entry.get("Condition")):
            properties = self._properties(logical, entry)
            name = self._name(kind, logical, properties)
            is_repeated = any(
                variant.name == name and variant.properties == properties for variant in variants
            )
            if not is_repeated:
                variants.append(_Variant(choice.false, properties, name))
        return variants

    def _properties(self, logical: str, entry: Mapping[str, object]) -> dict[str, object]:
        """The properties under the present choice, with the deletion policy."""
        resolved = self._resolve(entry.get("Properties"), 0)
        properties: dict[str, object] = {}
        if isinstance(resolved, dict):
            properties = resolved
        elif resolved not in (None, _NO_VALUE):
            self.unknown[f"the properties of {logical}"] = _ONLY_DEPLOYMENT
        policy = self._resolve(entry.get("DeletionPolicy"), 0)
        if not isinstance(policy, str):
            policy = _default_policy(entry.get("Type"), properties)
        properties["DeletionPolicy"] = str(policy)
        return properties

    def _reads(self, resources: Sequence[DeclaredResource]) -> Iterator[Need]:
        """What CloudFormation reads for the template: parameters, secrets, included snippets."""
        names = [
            str(self.stack.parameters.get(key) or parameter.get("Default") or UNKNOWN)
            for key, parameter in self._section("Parameters").items()
            if isinstance(parameter, dict) and _is_stored(parameter)
        ]
        values = (leaf for resource in resources for leaf in leaves(resource.properties))
        texts = (value for value in values if isinstance(value, str))
        because = f"the values of {self.source}"
        yield from reads_of(names, texts, because, self.place)
        for location in _included(self.document):
            yield from read_object(location, because, self.place)

    def _nested(
        self, logical: str, entry: Mapping[str, object], properties: Mapping[str, object]
    ) -> Declaration:
        """The declaration of a nested stack; what it needs is not known where its template is no
        file.
        """
        metadata = _object(entry.get("Metadata"))
        name = str(metadata.get(LOCAL_PATH) or properties.get("TemplateURL") or "")
        part = f"{_NESTED} {logical}"
        because = f"the template of {logical}"
        self.inner_reads.extend(read_in_s3(properties.get("TemplateURL"), because, self.place))
        if APPLICATION in metadata:
            application = self._resolve(metadata[APPLICATION], 0)
            calls = _calls_of_application(application, because, self.place)
            self.inner_reads.extend(calls)
            return Declaration(name, unknown={part: "its template is a published application's"})
        if not name or "://" in name or UNKNOWN in name:
            return Declaration(name, unknown={part: "its template is not in the repository"})
        try:
            path = self.files.path(name)
            raw = self.files.read(name)
        except OutsideError as error:
            return Declaration(name, unknown={part: f"its template {error}"})
        if raw is None:
            return Declaration(name, unknown={part: "its template is not in the repository"})
        around = (*self.outer, self.source)
        if path in around:
            cycle = " -> ".join((*around[around.index(path) :], path))
            return Declaration(path, unknown={part: f"{cycle} is a cycle of nested stacks"})
        document = _read(raw, path, self.budget)
        template = _Template(
            document=document.sections,
            repeated=document.repeated,
            source=path,
            stack=self._nested_stack(logical, _object(properties.get("Parameters"))),
            place=self.place,
            files=self.files.beside(path),
            budget=self.budget,
            outer=around,
        )
        nested = template.declaration()
        for output, value in template.output_values().items():
            self.outputs[Reference(logical, f"Outputs.{output}")] = moved(value, logical)
        self.inner_reads.extend(nested.reads)
        return nested.inside(logical)

    def _nested_stack(self, logical: str, parameters: Mapping[str, object]) -> Stack:
        """How CloudFormation deploys a nested stack with some parameters."""
        return Stack(
            name=f"{self.stack.name}-{logical}-{UNKNOWN}",
            parameters={
                key: _given_text(parameter)
                for key, parameter in parameters.items()
                if not isinstance(parameter, Reference)
            },
            references=_outer_references(parameters),
            tagged=self.stack.tagged,
        )

    def _items(self, collection: object) -> Sequence[str]:
        """The texts of the collection of a loop; UNKNOWN alone where only the deployment knows
        them.
        """
        items: dict[str, None] = {}
        # The items of a loop over a condition that only the deployment knows are all.
        for _ in self._choices("a loop"):
            items.update(dict.fromkeys(_texts(self._resolve(collection, 0))))
        return list(items)

    def _section(self, name: str) -> Mapping[str, object]:
        """A section of the template; empty where it has none."""
        return _object(self.document.get(name))

    def _name(self, kind: ResourceKind, logical: str, properties: Mapping[str, object]) -> str:
        """The name in the template, else the one that CloudFormation makes; UNKNOWN where AWS gives
        an id.
        """
        if kind.name == _NESTED:
            return made_name(kind.name, self.stack.name, logical)
        key = name_property(kind)
        name_value = properties.get(key) if key else _name_inside(kind, properties)
        if not key and not name_value:
            return name_by_parameter(kind, properties)
        if isinstance(name_value, Reference) or not is_name_in_arn(kind, key or "Name"):
            return UNKNOWN
        if not name_value or name_value == self.place.account:
            name_value = _name_inside(kind, properties)
        if not isinstance(name_value, str):
            return made_name(kind.name, self.stack.name, logical)
        # Only the deployment knows `{{resolve:ssm:/app/bucket}}`, and a name that a build step
        # replaces.
        if isinstance(name_value, OpenText):
            return BUILD_STEP_NAME.sub(UNKNOWN, name_value)
        return UNKNOWN.join(map(escape_observed, BUILD_STEP_NAME.split(name_value)[::2]))

    def _resolve(self, value: object, depth: int) -> object:
        """The value without functions: texts with UNKNOWN in place of what the template does not
        know.
        """
        self.budget.spend()
        if depth > _MOST_LEVELS:
            return UNKNOWN
        if isinstance(value, list):
            elements = (self._resolve(element, depth + 1) for element in value)
            return [element for element in elements if element is not _NO_VALUE]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            ((name, argument),) = value.items()
            if name == "Ref" or name.startswith("Fn::"):
                return self._call(name.removeprefix("Fn::"), argument, depth + 1)
        resolved: dict[str, object] = {}
        for key, item in value.items():
            if key == _IF:
                # Members of one branch; CloudFormation itself takes the function alone.
                branch = self._if(item, depth + 1)
                resolved.update(branch if isinstance(branch, dict) else {})
                continue
            if key.startswith(_LOOP):
                self.unknown[f"the loop {key}"] = _NO_LOOP
            member = self._resolve(item, depth + 1)
            if member is not _NO_VALUE:
                resolved[key] = member
        return resolved

    def _call(self, name: str, argument: object, depth: int) -> object:
        """The result of a function; UNKNOWN where the template does not know it."""
        if name == "Ref":
            return self._ref(str(argument))
        if name == "GetAtt":
            parts = argument if isinstance(argument, list) else str(argument).split(".", 1)
            if not parts:
                return UNKNOWN
            return Reference(str(parts[0]), ".".join(map(str, parts[1:])))
        if name == "Sub":
            return self._sub(argument, depth)
        if name == "If":
            return self._if(argument, depth)
        if name in ("Join", "Split", "Select"):
            return self._of_list(name, argument, depth)
        if name == "FindInMap":
            return self._mapped(argument, depth)
        return UNKNOWN

    def _of_list(self, name: str, argument: object, depth: int) -> object:
        """The result of a function of two arguments, one of them a list or a text with parts."""
        if not isinstance(argument, list) or len(argument) != 2:
            return UNKNOWN
        first, second = argument
        parts = self._resolve(second, depth)
        if name == "Split":
            return _split(parts, str(first or ""))
        if not isinstance(parts, list):
            return UNKNOWN
        if name == "Join":
            return self._made_text(open_text(str(first)).join(map(self._text, parts)))
        index = str(self._resolve(first, depth))
        is_in_list = len(index) < 6 and index.isdecimal() and int(index) < len(parts)
        return parts[int(index)] if is_in_list else UNKNOWN

    def _mapped(self, argument: object, depth: int) -> object:
        """The result of `Fn::FindInMap`."""
        if not isinstance(argument, list) or len(argument) < 3:
            return UNKNOWN
        mapping: object = self._section("Mappings")
        keys = [self._resolve(key, depth) for key in argument[:3]]
        for key in keys:
            mapping = mapping.get(str(key)) if isinstance(mapping, dict) else None
        if mapping is not None:
            return mapping
        # With AWS::LanguageExtensions a fourth argument has the value for a key that is absent.
        options = _object(argument[3]) if len(argument) > 3 else {}
        is_known = all(isinstance(key, str) and UNKNOWN not in key for key in keys)
        if is_known and "DefaultValue" in options:
            return self._resolve(options["DefaultValue"], depth)
        return UNKNOWN

    def _ref(self, name: str) -> object:
        """The result of `Ref`: a pseudo parameter, a resource, or the value of a parameter."""
        if name == "AWS::NoValue":
            return _NO_VALUE
        pseudo = self._pseudo_parameter(name)
        if pseudo is not None:
            return pseudo
        if name in self._section("Resources"):
            return Reference(name)
        return self._parameter(name)

    def _pseudo_parameter(self, name: str) -> str | None:
        """The value of a pseudo parameter; None for another name."""
        if name == "AWS::URLSuffix":
            is_china = self.place.partition == "aws-cn"
            return "amazonaws.com.cn" if is_china else "amazonaws.com"
        values = {
            "AWS::AccountId": self.place.account,
            "AWS::Partition": self.place.partition,
            "AWS::Region": self.place.region,
            "AWS::StackName": self.stack.name,
        }
        value = values.get(name)
        return None if value is None else OpenText(value)

    def _parameter(self, name: str) -> object:
        """The value with which the stack is deployed, else the default of the parameter; UNKNOWN
        for one without a value, and for one whose value Systems Manager holds.
        """
        parameter = _object(self._section("Parameters").get(name))
        if _is_stored(parameter):
            return UNKNOWN
        if name in self.stack.references:
            return self.stack.references[name]
        value: object = self.stack.parameters.get(name)
        if value is None:
            value = parameter.get("Default")
            if value is not None:
                self.choice.defaults.add(name)
        if not isinstance(value, str | int | float):
            return UNKNOWN
        text = value if isinstance(value, str) else value_text(value)
        is_list = str(parameter.get("Type", "")).startswith(("List<", "CommaDelimitedList"))
        if is_list:
            # The parts of an open text are open texts.
            return [type(text)(part.strip()) for part in text.split(",") if part]
        return text

    def _sub(self, argument: object, depth: int) -> object:
        """The result of `Fn::Sub`: of `${Role.Arn}` alone the reference, else a text."""
        text = argument
        values: Mapping[str, object] = {}
        if isinstance(argument, list) and len(argument) == 2:
            text = argument[0]
            values = _object(argument[1])
        if not isinstance(text, str):
            return UNKNOWN
        whole = _SUB.fullmatch(text)
        if whole and not whole["literal"] and whole["name"] not in values:
            logical, _, attribute = whole["name"].partition(".")
            if "." in whole["name"]:
                return Reference(logical, attribute)
        pieces: list[str] = []
        end = 0
        for match in _SUB.finditer(text):
            pieces.append(escape_observed(text[end : match.start()]))
            pieces.append(self._substituted(match, values, depth))
            end = match.end()
        pieces.append(escape_observed(text[end:]))
        return self._made_text(re.sub(r"\*{2,}", UNKNOWN, "".join(pieces)))

    def _substituted(
        self, variable: re.Match[str], values: Mapping[str, object], depth: int
    ) -> str:
        """The text in place of a variable of `Fn::Sub`; `values`: those that the function has."""
        name = variable["name"]
        if variable["literal"]:
            return escape_observed("${" + name + "}")
        if name in values:
            return self._text(self._resolve(values[name], depth))
        logical, _, attribute = name.partition(".")
        return self._text(Reference(logical, attribute) if attribute else self._ref(name))

    def _made_text(self, text: str) -> OpenText:
        """A text that a function makes, which costs budget."""
        self.budget.spend(characters=len(text))
        return OpenText(text)

    def _text(self, value: object) -> str:
        """A part of a longer text; a reference gives the name that the template gives to its
        resource.
        """
        if not isinstance(value, Reference):
            return open_text(value) if isinstance(value, str | int | float) else UNKNOWN
        entry = self._section("Resources").get(value.address)
        if not isinstance(entry, dict):
            return UNKNOWN
        kind = ResourceKind(Tool.CLOUDFORMATION, str(entry.get("Type", "")))
        if value.attribute not in ("", "Name", name_property(kind)) or not own_types(kind):
            # Where no ARN has a name, as of an API of API Gateway, AWS gives an id.
            return UNKNOWN
        name = self._name_of(value.address, kind, entry)
        return name if len(name) < _LONGEST_NAME else UNKNOWN

    def _name_of(self, logical: str, kind: ResourceKind, entry: Mapping[str, object]) -> str:
        """The name of a resource that another one's text has; each is resolved once."""
        if logical in self.naming:
            cycle = [*self.naming[self.naming.index(logical) :], logical]
            self.unknown[f"the name of {logical}"] = f"{' -> '.join(cycle)} is a cycle"
            return UNKNOWN
        if len(self.naming) > _MOST_LEVELS:
            return UNKNOWN
        outer = self.choice
        key = _NameKey(logical, outer.false)
        if key not in self.names:
            self.choice = _Choice(outer.false)
            self.naming.append(logical)
            try:
                name = self._declared_name(logical, kind, entry)
                self.names[key] = _ResolvedName(name, self.choice)
            finally:
                self.naming.pop()
                self.choice = outer
        resolved = self.names[key]
        outer.asked |= resolved.choice.asked
        outer.taken |= resolved.choice.taken
        outer.defaults |= resolved.choice.defaults
        return resolved.name

    def _declared_name(self, logical: str, kind: ResourceKind, entry: Mapping[str, object]) -> str:
        """The name of a resource by its one property that has it."""
        key = name_property(kind)
        value = _object(self._branch_of(entry.get("Properties"))).get(key)
        properties: dict[str, object] = {}
        if value is not None:
            properties = {key: self._resolve(value, _LEVEL_OF_NAME)}
        return self._name(kind, logical, properties)

    def _if(self, argument: object, depth: int) -> object:
        """The result of `Fn::If`."""
        if not isinstance(argument, list) or len(argument) != 3:
            return UNKNOWN
        _, if_true, if_false = argument
        return self._resolve(if_true if self._holds(argument, depth) else if_false, depth)

    def _holds(self, function: Sequence[object], depth: int) -> bool:
        """Whether the condition of `Fn::If` holds under the present choice of what only the
        deployment knows.
        """
        holds = self._condition(function[0], depth)
        if holds is None:
            name = str(function[0])
            self.choice.asked.add(name)
            holds = name not in self.choice.false
            self.choice.taken.add(_Branch(name, id(function), holds))
        return holds

    def _condition(self, condition: object, depth: int) -> bool | None:
        """Whether a condition holds; None where only the deployment knows."""
        self.budget.spend()
        if depth > _MOST_LEVELS:
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
            first_value, second_value = (self._resolve(operand, depth + 1) for operand in argument)
            return _are_equal(first_value, second_value)
        return _combined(name, [self._condition(operand, depth + 1) for operand in argument])


def _object(value: object) -> Mapping[str, object]:
    """A JSON object; an empty one in place of another value."""
    return value if isinstance(value, dict) else {}


def _split(text: object, delimiter: str) -> object:
    """The result of `Fn::Split`; UNKNOWN for a text of which the template knows a part only."""
    if not isinstance(text, str) or UNKNOWN in text or not delimiter:
        return UNKNOWN
    # The parts of an open text are open texts.
    return list(map(type(text), text.split(delimiter)))


def _combined(function: str, truths: Sequence[bool | None]) -> bool | None:
    """Whether a condition of conditions holds; None where only the deployment knows."""
    if function == "Fn::And":
        return all_of(truths)
    if function == "Fn::Or":
        return any_of(truths)
    if function == "Fn::Not" and len(truths) == 1 and truths[0] is not None:
        return not truths[0]
    return None


def _texts(items: object) -> list[str]:
    """The items of a list, or of a text with commas; UNKNOWN alone for another value."""
    if isinstance(items, str) and items is not UNKNOWN:
        items = [type(items)(part) for part in items.split(",")]
    if not isinstance(items, list):
        return [UNKNOWN]
    return [element if isinstance(element, OpenText) else str(element).strip() for element in items]


def _are_equal(one: object, other: object) -> bool | None:
    """Whether two values are equal; None where only the deployment knows."""
    if not isinstance(one, str | int) or not isinstance(other, str | int):
        return None
    if UNKNOWN in f"{one}{other}":
        return None
    return value_text(one) == value_text(other)


def _default_policy(type_name: object, properties: Mapping[str, object]) -> str:
    """What CloudFormation does with a resource that the template deletes and that says nothing."""
    for row in table("default_snapshots", __package__):
        if row["type"] == type_name and row["unless"] not in properties:
            return "Snapshot"
    return "Delete"


def _given_text(value: object) -> str:
    """The text that a nested stack gets for a parameter; UNKNOWN for a list or an object."""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float):
        return value_text(value)
    return UNKNOWN


def _outer_references(parameters: Mapping[str, object]) -> dict[str, Reference]:
    """The parameters of a nested stack that hold resources, as its template names them."""
    return {
        key: replace(value, address=f"{OUTER}{value.address}")
        for key, value in parameters.items()
        if isinstance(value, Reference)
    }


def _filled_in(value: object, outputs: Mapping[Reference, object]) -> object:
    """A value with the outputs of nested stacks in place of references to them."""
    if isinstance(value, Reference):
        return outputs.get(value, value)
    if isinstance(value, dict):
        return {key: _filled_in(member, outputs) for key, member in value.items()}
    if isinstance(value, list):
        return [_filled_in(element, outputs) for element in value]
    return value


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
    for end in ("", "Input", "Config", "Configuration"):
        block = _object(properties.get(f"{noun}{end}"))
        name = block.get("Name") or block.get(f"{noun}Name")
        if name:
            return name
    return None


def trusted_services(document: object) -> tuple[str, ...]:
    """Returns the services that a trust policy names, sorted."""
    texts = (leaf for leaf in leaves(document) if isinstance(leaf, str))
    return tuple(sorted({text for text in texts if _SERVICE.fullmatch(text)}))


def _calls_of_application(application: object, because: str, place: Place) -> Iterator[Need]:
    """Yields what AWS SAM asks the AWS Serverless Application Repository for, and the read of the
    template, which AWS keeps in its own bucket (Powertools for AWS Lambda, "Lambda layers",
    the policy to deploy the published layer, read 2026-12-01).
    """
    arn = f"arn:{place.partition}:serverlessrepo:{UNKNOWN}:{UNKNOWN}:applications/{UNKNOWN}"
    if isinstance(application, str) and application.startswith("arn:"):
        arn = application
    yield from tool_calls("application", because, place, application=arn)
    bucket = f"awsserverlessrepo-changesets-{UNKNOWN}"
    yield from tool_calls("nested", because, place, bucket=bucket, object=UNKNOWN)


def _included(document: Mapping[str, object]) -> Iterator[str]:
    """The locations of the snippets that `AWS::Include` reads."""
    for entry in _transform_entries(document):
        transform = _object(entry)
        location = _object(transform.get("Parameters")).get("Location")
        if transform.get("Name") == "AWS::Include" and isinstance(location, str):
            yield location


def _transforms(document: Mapping[str, object]) -> Iterator[str]:
    """The names of the transforms of a template, and of parts of its resources."""
    for entry in _transform_entries(document):
        name = entry.get("Name") if isinstance(entry, Mapping) else entry
        if isinstance(name, str):
            yield name


def _transform_entries(document: Mapping[str, object]) -> Iterator[object]:
    """The transforms of a template, and of parts of its resources: names, or objects with one."""
    declared = document.get("Transform")
    yield from declared if isinstance(declared, list) else [declared]
    yield document.get(_TRANSFORM)
    pending: list[object] = [document.get("Resources")]
    while pending:
        part = pending.pop()
        if isinstance(part, Mapping):
            yield part.get(_TRANSFORM)
            pending.extend(part.values())
        elif isinstance(part, list):
            pending.extend(part)
