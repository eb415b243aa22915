"""What a template or plan declares, as frozen structs, and the needs of the tool itself
(`data/tool_calls.tsv`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.models import Basis, Condition, Need, Permission
from leastpriv.permissions.arn_parts import object_of
from leastpriv.permissions.fact_tables import table
from leastpriv.permissions.patterns import escape_observed
from leastpriv.permissions.tool_lifecycle import Phase, ResourceKind, Tool
from leastpriv.permissions.volatility import common_beginning

LIFE = (Phase.CREATE, Phase.READ, Phase.UPDATE, Phase.DELETE)
"""The phases of the whole life of a resource."""


class OpenText(str):
    """A text in which `*` is what only the deployment knows; a wildcard or a variable that the
    declaration itself has is escaped.
    """

    __slots__ = ()


def open_text(value: str | float) -> OpenText:
    """Returns a value as an open text: all that a plain text has is characters."""
    if isinstance(value, OpenText):
        return value
    return OpenText(escape_observed(str(value)))


def value_text(value: object) -> str:
    """Returns the text of a value of JSON or YAML, as CloudFormation compares it: `true`."""
    return str(value).lower() if isinstance(value, bool) else str(value)


UNKNOWN = OpenText("*")
"""A text, or a part of one, that only the deployment knows."""

_DATA = re.compile(r"(?:^|\.)data\.")

LOCAL_PATH = "aws:asset:path"
"""Key of the metadata of a nested stack whose template is a local file."""
APPLICATION = "serverlessrepo:application"
"""Key of the metadata of a nested stack that AWS SAM makes of a published application: its id."""


OUTER = "^"
"""Begins the address of a resource of the template around a nested stack."""


class Reference(Struct, frozen=True):
    """A property that holds the name or an attribute of another resource of the same
    declaration.
    """

    address: str
    attribute: str = ""
    """`Arn`, `QueueName`; empty for the identifier."""


class Place(Struct, frozen=True):
    """Where the deployment makes its resources."""

    partition: str
    account: str
    region: str = UNKNOWN

    @classmethod
    def of(cls, principal: str, regions: tuple[str, ...]) -> Place:
        """Returns the place of a principal, whose deployments make resources in these regions."""
        parts = principal.split(":")
        return cls(parts[1], parts[4], regions[0] if len(regions) == 1 else UNKNOWN)


class Stack(Struct, frozen=True):
    """How a template is deployed."""

    name: str = UNKNOWN
    parameters: Mapping[str, str] = {}
    references: Mapping[str, Reference] = {}
    """Parameters of a nested stack that hold resources of the template around it."""
    tagged: bool = False
    bucket: str = ""
    """Where local files are uploaded, as far as a configuration of AWS SAM names it; UNKNOWN where
    it cannot be read.
    """
    prefix: str = ""
    """Begins the keys of uploaded files."""
    repository: str = ""
    """Where built images are pushed, as far as a configuration of AWS SAM names it."""


class DeclaredResource(Struct, frozen=True):
    """A resource of a template or plan, and what a deployment does with it."""

    kind: ResourceKind
    address: str
    """Logical id, or address of Terraform."""
    phases: tuple[Phase, ...]
    properties: Mapping[str, object] = {}
    """JSON values; texts may hold UNKNOWN, and a Reference names another resource."""
    name: str = UNKNOWN
    """Pattern of its name."""
    arn: str = ""
    """Where a plan knows it."""
    tagged: bool = False
    """It has tags, or the whole stack has."""
    changed: frozenset[str] | None = None
    """Properties that an update changes; None: any."""
    any_update: bool = False
    """An update may change any property that the type can change, also one that is not set."""
    region: str = ""
    """Where that is another than the declaration's."""
    variant: str = ""
    """The conditions that do not hold, of those that only the deployment knows: a resource whose
    properties they decide is declared once for each way they can decide.
    """

    @property
    def key(self) -> tuple[str, str]:
        """Identifies it in its declaration."""
        return self.address, self.variant

    @property
    def is_data(self) -> bool:
        """Whether it is a data source of Terraform, which is only read."""
        return self.kind.tool is Tool.TERRAFORM and _DATA.search(self.address) is not None

    @property
    def has_name(self) -> bool:
        """Whether its name, or a part of it, is known."""
        return bool(self.arn or re.search("[A-Za-z0-9]", self.name))

    def __hash__(self) -> int:
        return hash(self.address)


class LeftOut(Struct, frozen=True, order=True):
    """Resources that a template makes only with other values of its parameters."""

    parameters: tuple[str, ...]
    """Those whose defaults decide, sorted."""
    addresses: tuple[str, ...]


class Declaration(Struct, frozen=True, dict=True):
    """The resources of one template or plan."""

    source: str
    """The file, as the user names it."""
    resources: tuple[DeclaredResource, ...] = ()
    calls: tuple[Need, ...] = ()
    """What the tool itself calls."""
    reads: tuple[Need, ...] = ()
    """Parameters and secrets that CloudFormation reads for the template, with the rights that make
    the resources.
    """
    later_calls: tuple[Need, ...] = ()
    """What it calls to delete what it made, in addition."""
    plan_calls: tuple[Need, ...] = ()
    """What it calls to show the change alone."""
    unknown: Mapping[str, str] = {}
    """Types and parts of which the needs are not known -> why."""
    left_out: tuple[LeftOut, ...] = ()
    """What the defaults of parameters leave out."""
    transforms: tuple[str, ...] = ()
    """Names of the transforms of a template and its nested ones."""
    trusts: Mapping[str, tuple[str, ...]] = {}
    """Address of a role -> the services that may assume it."""
    region: str = ""
    """Where the declaration itself knows it."""
    around: tuple[DeclaredResource, ...] = ()
    """Further resources that references may name."""
    existing: tuple[DeclaredResource, ...] = ()
    """Resources that exist before the change: their service-linked roles exist, too."""
    lacks_state: bool = False
    """A plan of Terraform whose folder does not show where it keeps the state."""

    @cached_property
    def by_address(self) -> Mapping[str, DeclaredResource]:
        """The resources by address; of several variants one with what their names share."""
        resource_by_address: dict[str, DeclaredResource] = {}
        for resource in (*self.around, *self.resources):
            earlier = resource_by_address.get(resource.address)
            if earlier and earlier.name != resource.name and earlier.variant != resource.variant:
                shared = common_beginning([earlier.name, resource.name])
                resource = replace(resource, name=f"{shared.rstrip(UNKNOWN)}{UNKNOWN}")
            resource_by_address[resource.address] = resource
        return resource_by_address

    @cached_property
    def by_key(self) -> Mapping[tuple[str, str], DeclaredResource]:
        """The resources by address and variant."""
        return {resource.key: resource for resource in (*self.around, *self.resources)}

    def target(self, value: object) -> DeclaredResource | None:
        """The resource that a property refers to."""
        return self.by_address.get(value.address) if isinstance(value, Reference) else None

    @cached_property
    def by_name(self) -> Mapping[str, Sequence[DeclaredResource]]:
        """The resources by name, without those of which only the deployment knows it."""
        resources_by_name: dict[str, list[DeclaredResource]] = {}
        for resource in (*self.around, *self.resources):
            resources_by_name.setdefault(resource.name, []).append(resource)
        return {name: namesakes for name, namesakes in resources_by_name.items() if name != UNKNOWN}

    def inside(self, logical: str) -> Declaration:
        """Returns the declaration of a nested stack, whose logical ids another template may have
        too.
        """
        return replace(
            self,
            resources=tuple(_moved_resource(resource, logical) for resource in self.resources),
            around=tuple(_moved_resource(resource, logical) for resource in self.around),
            trusts={f"{logical}.{address}": names for address, names in self.trusts.items()},
            left_out=tuple(
                LeftOut(
                    left_out.parameters, tuple(f"{logical}.{name}" for name in left_out.addresses)
                )
                for left_out in self.left_out
            ),
        )

    def to_plan(self) -> Declaration:
        """Returns what a role needs that shows the change and does not make it: reads of every
        resource.
        """
        read = (
            replace(resource, phases=(Phase.READ,), changed=None) for resource in self.resources
        )
        return replace(self, resources=tuple(read), calls=self.plan_calls)

    def with_phases(self, *phases: Phase, any_update: bool = False) -> Declaration:
        """Returns the declaration with these phases for every resource, and the calls of a later
        deletion.

        A data source is only read, and a resource that the template retains is not deleted.

        Args:
            phases: of each resource.
            any_update: an update may set a property that is absent now.
        """
        changed = (
            replace(
                resource, phases=phases_of(resource, phases), changed=None, any_update=any_update
            )
            for resource in self.resources
        )
        return replace(self, resources=tuple(changed), calls=self.later_calls, reads=())

    def whole(self) -> Declaration:
        """Returns the declaration with all phases of the resources that exist after the change, and
        all calls.
        """
        resources_left = tuple(
            resource
            for resource in self.resources
            if Phase.CREATE in resource.phases or Phase.DELETE not in resource.phases
        )
        whole_life = replace(self, resources=resources_left).with_phases(*LIFE)
        return replace(
            whole_life,
            calls=(*self.calls, *self.later_calls),
            reads=self.reads,
            around=(*self.around, *self.resources),
        )


def _moved_resource(resource: DeclaredResource, logical: str) -> DeclaredResource:
    properties = {key: moved(value, logical) for key, value in resource.properties.items()}
    return replace(resource, address=f"{logical}.{resource.address}", properties=properties)


def phases_of(resource: DeclaredResource, phases: Sequence[Phase]) -> tuple[Phase, ...]:
    """Returns those of some phases that a resource has: a data source is only read, and what the
    template retains is not deleted.
    """
    if resource.is_data:
        return tuple(phase for phase in phases if phase is Phase.READ)
    if resource.properties.get("DeletionPolicy") == "Retain":
        return tuple(phase for phase in phases if phase is not Phase.DELETE)
    return tuple(phases)


def moved(value: object, logical: str) -> object:
    """Returns a value of a nested stack as the template around it has it: references name the
    resources of the nested stack, or those that a parameter brought from around it.
    """
    if isinstance(value, Reference):
        if value.address.startswith(OUTER):
            return replace(value, address=value.address.removeprefix(OUTER))
        return replace(value, address=f"{logical}.{value.address}")
    if isinstance(value, Mapping):
        return {key: moved(member, logical) for key, member in value.items()}
    if isinstance(value, list):
        return [moved(element, logical) for element in value]
    return value


_MOST_VALUES = 500
_FREE_KEYS = re.compile("(tags?|tags_all|tag_?specifications?|variables)$", re.IGNORECASE)
"""Properties of which a person chooses the keys, as `Key: team` of a tag."""


def leaves(value: object) -> Iterator[object]:
    """Yields the texts and references of a JSON value."""
    yield from (member.value for member in members(value))


class JsonMember(Struct, frozen=True, gc=False):
    """A member of a JSON object, or an element of a list that is one."""

    key: str
    value: object


def members(value: object) -> Iterator[JsonMember]:
    """Yields the texts and references of a JSON value with their keys, from the outside in.

    Those of tags and environment variables are words of a person, and name no resource.
    """
    level = [JsonMember("", value)]
    number = 0
    while level and number < _MOST_VALUES:
        next_level: list[JsonMember] = []
        for member in level:
            inner = member.value
            if not isinstance(inner, Mapping | list | tuple):
                number += 1
                yield member
            elif _FREE_KEYS.search(member.key):
                continue
            elif isinstance(inner, Mapping):
                next_level.extend(JsonMember(key, value) for key, value in inner.items())
            else:
                next_level.extend(JsonMember(member.key, element) for element in inner)
        level = next_level


_CLOUDFORMATION = (
    Condition("StringEquals", "iam:PassedToService", ("cloudformation.amazonaws.com",)),
)


def tool_calls(step: str, because: str, place: Place, **names: str) -> Iterator[Need]:
    """Yields the needs of one step of a tool; `names` fill the resources: stack, role, bucket …."""
    values = {
        "partition": place.partition,
        "account": place.account,
        "region": place.region,
        **names,
    }
    for row in table("tool_calls", __package__):
        if row["step"] != step:
            continue
        for action in row["actions"].split(","):
            conditions = _CLOUDFORMATION if step == "pass" else ()
            permission = Permission(action, row["resource"].format(**values), conditions)
            yield Need(permission, Basis.DECLARED, "calls of the tool itself", because)


def transform_calls(made: Declaration, because: str, place: Place) -> Iterator[Need]:
    """Yields the needs of the transforms of a template, AWS's and those that are macros of the
    account.
    """
    for name in made.transforms:
        transform_name = name.removeprefix("AWS::")
        owner = place.account if transform_name == name else "aws"
        yield from tool_calls("transform", because, place, owner=owner, transform=transform_name)


_DYNAMIC = re.compile(r"\{\{resolve:(ssm|ssm-secure|secretsmanager):([^}]+)\}\}")


def reads_of(
    parameters: Iterable[str], texts: Iterable[str], because: str, place: Place
) -> Iterator[Need]:
    """Yields the needs of parameters of Systems Manager, by name, and of the dynamic references in
    texts.
    """
    names = list(parameters)
    for kind, name in (match.groups() for text in texts for match in _DYNAMIC.finditer(text)):
        if kind.startswith("ssm"):
            names.append(name.partition(":")[0])
            continue
        secret = name.partition(":SecretString")[0]
        service = f"arn:{place.partition}:secretsmanager:{place.region}:{place.account}"
        arn = f"{service}:secret:{secret}-{UNKNOWN}"
        yield from tool_calls(
            "secret", because, place, secret=secret if secret.startswith("arn:") else arn
        )
    for name in names:
        owner = "" if name.startswith("/aws/service/") else place.account
        yield from tool_calls("parameter", because, place, owner=owner, parameter=name.lstrip("/"))


def read_in_s3(url: object, because: str, place: Place) -> Iterator[Need]:
    """Yields what CloudFormation needs to read a template at a URL of S3; nothing for a local
    file.
    """
    if isinstance(url, str) and url.startswith("https:"):
        yield from read_object(url, because, place)


def read_object(address: str, because: str, place: Place) -> Iterator[Need]:
    """Yields what CloudFormation needs to read an object of S3."""
    bucket, key = object_of(address)
    if not isinstance(address, OpenText):
        bucket = escape_observed(bucket)
        key = escape_observed(key)
    if bucket:
        yield from tool_calls("nested", because, place, bucket=bucket, object=key)
