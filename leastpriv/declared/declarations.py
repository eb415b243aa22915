"""Reads what templates and plans declare, compares two versions, and finds the permissions that
runs could have used.

Of a cloud assembly of the AWS CDK (`cdk.out`) it reads the stacks, their assets and the roles of
its bootstrap. The CI role assumes the roles of the bootstrap; the execution role makes the
resources. So the declaration depends on the role whose policy is drafted
(https://docs.aws.amazon.com/cdk/v2/guide/bootstrapping-customizing.html, read 2026-11-27).

The usual guards decide on a declared permission that no run used, once runs showed the phases of
its resource types. An action shows a phase that alone has it: `sqs:CreateQueue`,
`sqs:SetQueueAttributes`, `sqs:DeleteQueue`.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from itertools import product
from pathlib import Path, PurePath
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.declared.models import (
    LIFE,
    UNKNOWN,
    Declaration,
    DeclaredResource,
    Place,
    Stack,
    tool_calls,
    transform_calls,
)
from leastpriv.declared.resource_arns import Arns
from leastpriv.declared.resource_needs import needed_actions
from leastpriv.declared.template import MADE, read_template
from leastpriv.declared.transforms import MANAGED_BUCKET, deployed_as
from leastpriv.errors import InputError
from leastpriv.models import Need
from leastpriv.permissions import catalog
from leastpriv.permissions.tool_lifecycle import (
    Phase,
    ResourceKind,
    actions_of_phase,
    making_actions,
)

MANIFEST = "manifest.json"
_STACK = "aws:cloudformation:stack"
_ASSETS = "cdk:asset-manifest"
_ASSEMBLY = "cdk:cloud-assembly"


def read_assembly(folder: Path, source: str, role: str, place: Place) -> tuple[Declaration, ...]:
    """Reads the stacks of an assembly as the target `role` deploys them.

    Raises:
        InputError: the folder holds no readable assembly.
    """
    if not (folder / MANIFEST).is_file():
        raise InputError(
            f"The input templates names the folder {source!r}, which has no {MANIFEST}: run `cdk"
            " synth`."
        )
    try:
        stacks = tuple(_stacks(folder, source, place))
        bootstrap = {name for each in stacks for name in each.bootstrap_roles}
        return tuple(_declaration(each, role, role in bootstrap) for each in stacks)
    except (AttributeError, KeyError, RecursionError, TypeError) as error:
        raise InputError(
            f"{source} is no assembly that the CDK wrote: a field has another type."
        ) from error


class _StackArtifact(Struct, frozen=True):
    """A stack of an assembly."""

    folder: Path
    source: str
    name: str
    properties: Mapping[str, Any]
    place: Place
    assets: Sequence[Mapping[str, Any]]
    deploy: str
    """The roles that deploy it, by ARN; empty where the CLI uses its own credentials."""
    execution: str
    lookup: str

    @property
    def bootstrap_roles(self) -> tuple[str, ...]:
        """The roles that deploy it and publish its assets."""
        publishing = (
            each.get("assumeRoleArn", "") for each in self.destinations("files", "dockerImages")
        )
        return tuple(filter(None, (self.deploy, self.execution, self.lookup, *publishing)))

    def destinations(self, *kinds: str) -> Iterator[Mapping[str, str]]:
        """Yields the buckets or repositories of its assets."""
        for kind, manifest in product(kinds, self.assets):
            for asset in manifest.get(kind, {}).values():
                for each in asset.get("destinations", {}).values():
                    yield {
                        key: _filled(value, self.place)
                        for key, value in each.items()
                        if isinstance(value, str)
                    }


def _stacks(folder: Path, source: str, place: Place) -> Iterator[_StackArtifact]:
    artifacts = _json(folder / MANIFEST).get("artifacts", {})
    for name, artifact in artifacts.items():
        properties = artifact.get("properties", {})
        if artifact.get("type") == _ASSEMBLY:
            inner = folder / str(properties.get("directoryName", ""))
            yield from _stacks(inner, f"{source}/{inner.name}", place)
        elif artifact.get("type") == _STACK:
            assets = [
                _json(folder / str(artifacts[each]["properties"]["file"]))
                for each in artifact.get("dependencies", ())
                if artifacts.get(each, {}).get("type") == _ASSETS
            ]
            # `aws://ACCOUNT/REGION`, where the assembly knows the region.
            region = str(artifact.get("environment", "")).rpartition("/")[2]
            own = (
                replace(place, region=region)
                if region and not region.startswith("unknown")
                else place
            )
            stack = str(properties.get("stackName") or name)
            named = [
                properties.get(key) for key in ("assumeRoleArn", "cloudFormationExecutionRoleArn")
            ]
            named.append(properties.get("lookupRole", {}).get("arn"))
            roles = (_filled(str(role or ""), own) for role in named)
            yield _StackArtifact(folder, f"{source}/{name}", stack, properties, own, assets, *roles)


def _declaration(stack: _StackArtifact, role: str, is_of_bootstrap: bool) -> Declaration:
    """What a role needs for a stack; one of the bootstrap needs nothing for stacks that other roles
    deploy.
    """
    place, properties = stack.place, stack.properties
    parameters = {key: str(value) for key, value in properties.get("parameters", {}).items()}
    deployed = Stack(stack.name, parameters, bool(properties.get("tags")))
    raw = _bytes(stack.folder / str(properties.get("templateFile", "")))
    made = read_template(raw, stack.source, deployed, place, partial(_content_of, stack.folder))
    made = replace(made, region=place.region)
    because = f"the stack {stack.name}"
    if role == stack.execution:
        return made
    if role == stack.deploy or not stack.deploy:
        calls = [*_deployment(because, stack), *transform_calls(made, because, place)]
        calls += [] if stack.deploy else _published(because, stack, "")
        plan_calls = tuple(tool_calls("diff", because, place, stack=stack.name))
        made = replace(made, calls=tuple(calls), plan_calls=plan_calls)
        return replace(made, resources=(), unknown_types=()) if stack.execution else made
    only_calls = replace(made, resources=(), reads=(), unknown_types=())
    if is_of_bootstrap:
        return replace(only_calls, calls=tuple(_published(because, stack, role)))
    assumed = dict.fromkeys(each for each in stack.bootstrap_roles if each != stack.execution)
    needed = (need for each in assumed for need in tool_calls("assume", because, place, role=each))
    look_up = tool_calls("assume", because, place, role=stack.lookup) if stack.lookup else ()
    return replace(only_calls, calls=tuple(needed), plan_calls=tuple(look_up))


def _deployment(because: str, stack: _StackArtifact) -> Iterator[Need]:
    for step in ("deploy", "delete", *(() if stack.deploy else ("toolkit",))):
        yield from tool_calls(step, because, stack.place, stack=stack.name)
    yield from tool_calls(
        "bootstrap", because, stack.place, parameter=f"cdk-bootstrap/{UNKNOWN}/version"
    )
    if stack.execution:
        yield from tool_calls("pass", because, stack.place, role=stack.execution)


def _published(because: str, stack: _StackArtifact, role: str) -> Iterator[Need]:
    """The uploads that the CLI makes with a role, or with its own credentials."""
    for kind, step in (("files", "publish"), ("dockerImages", "image")):
        for each in stack.destinations(kind):
            if role in ("", each.get("assumeRoleArn")):
                names = {
                    "bucket": each.get("bucketName", ""),
                    "repository": each.get("repositoryName", ""),
                }
                yield from tool_calls(step, because, stack.place, object=UNKNOWN, **names)


def _filled(text: str, place: Place) -> str:
    """A text of a manifest with the place for its variables."""
    values = {"Partition": place.partition, "AccountId": place.account, "Region": place.region}
    for name, value in values.items():
        text = text.replace("${AWS::" + name + "}", value)
    return text


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(_bytes(path))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path.as_posix()} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise InputError(f"{path.as_posix()} is no manifest of the CDK.")
    return found


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path.as_posix()} cannot be read: {error.strerror}.") from error


ReadFile = Callable[[str], bytes | None]
"""Content of a file by its path as the user writes it; None where there is none."""
_SAM_CONFIG = "samconfig.toml"
_STATE = ".terraform/terraform.tfstate"


def read_declarations(
    templates: Iterable[str], plans: Iterable[str], role: str, place: Place, root: Path
) -> tuple[Declaration, ...]:
    """Reads templates (`[STACK=]FILE`, or a folder `cdk.out`) and plans below a folder.

    Raises:
        InputError: one cannot be read, or is none.
    """
    on_disk = partial(_content_of, root)
    found: list[Declaration] = []
    for name in templates:
        if (root / name).is_dir():
            found.extend(read_assembly(root / name, name, role, place))
        else:
            found.append(read_stack(name, on_disk, place))
    return (*found, *(_plan(name, on_disk, role, place) for name in plans))


def _content_of(folder: Path, path: str) -> bytes | None:
    file = folder / path
    return file.read_bytes() if file.is_file() else None


def read_stack(name: str, read: ReadFile, place: Place) -> Declaration:
    """Reads one template, `[STACK=]FILE`, with what `samconfig.toml` in its folder says of the
    stack.

    Raises:
        InputError: it cannot be read, or is no template.
    """
    stack_name, path = split_stack(name)
    raw = read(path)
    if raw is None:
        raise InputError(f"The input templates names {path!r}, which is no file.")
    folder = PurePath(path).parent
    stack = Stack(stack_name or UNKNOWN)
    is_sam = b"AWS::Serverless" in raw
    config = read((folder / _SAM_CONFIG).as_posix())
    if config is not None:
        configured = deployed_as(config)
        stack = replace(configured, name=stack_name or configured.name)
    made = read_template(raw, path, stack, place, lambda nested: read((folder / nested).as_posix()))
    because = f"the deployment of {path}"
    steps = ("deploy", "summary", "delete")
    calls = [need for step in steps for need in tool_calls(step, because, place, stack=stack.name)]
    calls += transform_calls(made, because, place)
    later: tuple[Need, ...] = ()
    if is_sam or stack.bucket:
        names = {
            "bucket": stack.bucket or MANAGED_BUCKET,
            "object": f"{stack.prefix}{UNKNOWN}",
            "stack": stack.name,
        }
        calls += tool_calls("publish", because, place, **names)
        calls += () if stack.bucket else tool_calls("managed", because, place)
        later = tuple(tool_calls("withdraw", because, place, **names)) if is_sam else ()
    plan_calls = tuple(tool_calls("diff", because, place, stack=stack.name))
    return replace(made, calls=tuple(calls), later_calls=later, plan_calls=plan_calls)


def split_stack(name: str) -> tuple[str, str]:
    """Splits `STACK=FILE`; the name is empty where only the file is given."""
    stack, separator, path = name.partition("=")
    return (stack, path) if separator else ("", name)


def _plan(name: str, read: ReadFile, role: str, place: Place) -> Declaration:
    from leastpriv.declared.plan import backend_calls, read_plan

    raw = read(name)
    if raw is None:
        raise InputError(f"The input plans names {name!r}, which is no file.")
    made = read_plan(raw, name, role)
    state = read((PurePath(name).parent / _STATE).as_posix())
    if state is None:
        return replace(made, lacks_state=True)
    calls, plan_calls = (
        backend_calls(state, place, role, applies=applies) for applies in (True, False)
    )
    return replace(made, calls=(*made.calls, *calls), plan_calls=(*made.plan_calls, *plan_calls))


def exercised_actions(declarations: Iterable[Declaration], used: Collection[str]) -> frozenset[str]:
    """Returns the actions of declared types whose phases the used actions show: all that list them,
    or that need them.

    The update of a queue lists `sqs:TagQueue`, and needs it only for a queue with tags. An update
    reads what the creation reads at its end, so that reads are seen by the one or the other.
    """
    listed, needed = defaultdict[bool, set[str]](set), defaultdict[bool, set[str]](set)
    for declaration in declarations:
        arns = Arns(declaration, Place(UNKNOWN, UNKNOWN))
        for resource, phase in product(declaration.resources, LIFE):
            is_seen = any(mark in used for mark in marks_of(resource.kind, phase))
            reads = _reads_of(resource.kind) if phase is Phase.UPDATE else frozenset()
            every = needed_actions(replace(resource, changed=None), phase, arns)
            listed[is_seen] |= set(actions_of_phase(resource.kind, phase)) - reads
            needed[is_seen] |= set(every) - reads
    return frozenset(listed[True] - listed[False] | needed[True] - needed[False])


@lru_cache(maxsize=4_096)
def _reads_of(kind: ResourceKind) -> frozenset[str]:
    return frozenset(filter(catalog.is_read, actions_of_phase(kind, Phase.READ)))


@lru_cache(maxsize=4_096)
def marks_of(kind: ResourceKind, phase: Phase) -> tuple[str, ...]:
    """Returns the actions that show that a phase of a type was exercised; a resource is read
    whenever it is made.
    """
    if phase in (Phase.CREATE, Phase.READ):
        return making_actions(kind)
    others = {
        action for other in LIFE if other is not phase for action in actions_of_phase(kind, other)
    }
    own = (action for action in actions_of_phase(kind, phase) if action not in others)
    return tuple(action for action in own if not catalog.is_read(action))


class ChangedResources(Struct, frozen=True):
    """The resources of a change, by whether they exist before it."""

    made: Declaration
    """New ones, and replaced ones; with the calls of the tool."""
    kept: Declaration
    """Those that it updates or deletes: the exact names of some may be granted already."""


def changed_resources(before: Declaration | None, after: Declaration) -> ChangedResources:
    """Returns what a change of a template does; without an earlier version all resources are new.

    A plan says itself what it does with each resource, so its phases decide.
    """
    if before is None:
        made = [each for each in after.resources if Phase.CREATE in each.phases]
        others = (each for each in after.resources if Phase.CREATE not in each.phases)
        # Who applies a plan reads its data sources; it changes nothing of a resource that is only
        # read.
        kept = [each for each in others if each.is_data or set(each.phases) != {Phase.READ}]
        return ChangedResources(
            replace(after, resources=tuple(made), around=after.resources),
            replace(after, resources=tuple(kept), calls=(), reads=(), around=after.resources),
        )
    made, kept = [], []
    for each in after.resources:
        earlier = before.by_address.get(each.address)
        if earlier is None or not _is_same(earlier, each):
            made.append(replace(each, phases=MADE))
            continue
        names = {*earlier.properties, *each.properties}
        changed = frozenset(
            name for name in names if earlier.properties.get(name) != each.properties.get(name)
        )
        kept += (
            [replace(each, phases=(Phase.UPDATE, Phase.READ), changed=changed)] if changed else []
        )
    for each in before.resources:
        now = after.by_address.get(each.address)
        if now is None or not _is_same(now, each):
            kept.append(replace(each, phases=(Phase.DELETE,)))
    is_empty = not (made or kept)
    calls, reads = ((), ()) if is_empty else (after.calls, after.reads)
    return ChangedResources(
        replace(after, resources=tuple(made), calls=calls, reads=reads, around=after.resources),
        replace(
            after,
            resources=tuple(kept),
            calls=(),
            reads=(),
            around=(*before.resources, *after.resources),
        ),
    )


def _is_same(one: DeclaredResource, other: DeclaredResource) -> bool:
    return (one.kind, one.name) == (other.kind, other.name)
