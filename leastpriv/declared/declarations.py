"""Reads what templates and plans declare, compares two versions, and finds the permissions that
runs could have used.

The usual guards decide on a declared permission that no run used, once runs showed the phases of
its resource types. An action shows a phase that alone has it: `sqs:CreateQueue`,
`sqs:SetQueueAttributes`, `sqs:DeleteQueue`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from itertools import product
from pathlib import Path

from msgspec import Struct, field
from msgspec.structs import replace

from leastpriv.declared.assembly import MANIFEST, read_assembly
from leastpriv.declared.files import ReadFile, RepositoryFiles, StackFile, files_on_disk
from leastpriv.declared.models import (
    LIFE,
    UNKNOWN,
    Declaration,
    DeclaredResource,
    Place,
    Stack,
    phases_of,
    tool_calls,
    transform_calls,
)
from leastpriv.declared.resource_arns import Arns
from leastpriv.declared.resource_needs import needed_actions
from leastpriv.declared.template import MADE, read_template
from leastpriv.declared.transforms import MANAGED_BUCKET, deployed_as, parameter_values
from leastpriv.errors import InputError, TooLargeError
from leastpriv.models import Need
from leastpriv.permissions import catalog
from leastpriv.permissions.tool_lifecycle import (
    Phase,
    ResourceKind,
    actions_of_phase,
    making_actions,
)

_SAM_CONFIG = "samconfig.toml"
_STATE = ".terraform/terraform.tfstate"
_DOCKERFILE = b"Dockerfile"
"""Names in the metadata of a function what AWS SAM builds its image of."""


def read_declarations(
    templates: Iterable[str],
    plans: Iterable[str],
    role: str,
    place: Place,
    root: Path,
    policies: Iterable[str] = (),
) -> tuple[Declaration, ...]:
    """Reads templates (`[STACK=]FILE[?PARAMETERS]`, or a folder `cdk.out`), plans, and policies
    that other tools wrote from source code, below a folder.

    Raises:
        InputError: one cannot be read, is none, or leads out of the repository.
    """
    read = files_on_disk(root)
    declarations: list[Declaration] = []
    for name in templates:
        if (root / name).is_dir():
            files = RepositoryFiles.around(f"{name}/{MANIFEST}", read)
            declarations.extend(read_assembly(files, name, role, place))
        else:
            declarations.append(read_stack(name, read, place))
    declarations.extend(_plan(name, read, role, place) for name in plans)
    return (*declarations, *(_written_policy(name, read) for name in policies))


def _written_policy(name: str, read: ReadFile) -> Declaration:
    """Reads one policy that another tool wrote."""
    from leastpriv.declared.written_policy import read_written_policy

    raw = read(name)
    if raw is None:
        raise InputError(f"The input declared names {name!r}, which is no file.")
    return read_written_policy(raw, name)


def read_stack(name: str, read: ReadFile, place: Place) -> Declaration:
    """Reads one template with what `samconfig.toml` in its folder says of the stack.

    A template that asks for too much work has no resources, and says so.

    Raises:
        InputError: it cannot be read, or is no template.
    """
    stack_file = StackFile.of(name)
    path = stack_file.path
    files = RepositoryFiles.around(path, read)
    raw = read(path)
    if raw is None:
        raise InputError(f"The input templates names {path!r}, which is no file.")
    configured = _configuration(files)
    stack = _deployment_of(configured.stack, stack_file, read)
    try:
        declaration = read_template(raw, path, stack, place, files)
    except TooLargeError as error:
        declaration = Declaration(path, unknown={path: str(error)})
    if configured.problem:
        declaration = replace(
            declaration, unknown={**declaration.unknown, _SAM_CONFIG: configured.problem}
        )
    is_of_sam = b"AWS::Serverless" in raw
    because = f"the deployment of {path}"
    calls: list[Need] = []
    later_calls: list[Need] = []
    for step in ("deploy", "summary", "delete"):
        calls += tool_calls(step, because, place, stack=stack.name)
    calls += transform_calls(declaration, because, place)
    uploads_files = is_of_sam or bool(stack.bucket)
    if uploads_files and stack.bucket is not UNKNOWN:
        names = {
            "bucket": stack.bucket or MANAGED_BUCKET,
            "object": f"{stack.prefix}{UNKNOWN}",
            "stack": stack.name,
        }
        calls += tool_calls("publish", because, place, **names)
        if not stack.bucket:
            calls += tool_calls("managed", because, place)
        if is_of_sam:
            later_calls += tool_calls("withdraw", because, place, **names)
    if _DOCKERFILE in raw and any(map(_runs_unnamed_image, declaration.resources)):
        repository = stack.repository or UNKNOWN
        calls += tool_calls("image", because, place, repository=repository)
    plan_calls = tool_calls("diff", because, place, stack=stack.name)
    return replace(
        declaration,
        calls=tuple(calls),
        later_calls=tuple(later_calls),
        plan_calls=tuple(plan_calls),
    )


def _runs_unnamed_image(resource: DeclaredResource) -> bool:
    """Whether a function runs an image that the template does not name: `sam build` makes it."""
    code = resource.properties.get("Code")
    return isinstance(code, Mapping) and code.get("ImageUri") == UNKNOWN


class _Configuration(Struct, frozen=True):
    """What a `samconfig.toml` says, and why it cannot be read; empty where it can."""

    stack: Stack
    problem: str = ""


def _configuration(files: RepositoryFiles) -> _Configuration:
    """The configuration of AWS SAM in the folder of a template."""
    raw = files.read(_SAM_CONFIG)
    if raw is None:
        return _Configuration(Stack())
    try:
        return _Configuration(deployed_as(raw))
    except InputError as error:
        return _Configuration(Stack(bucket=UNKNOWN), str(error))


def _deployment_of(stack: Stack, named: StackFile, read: ReadFile) -> Stack:
    """How a template is deployed, by `samconfig.toml`, the input and the file of its parameters."""
    if named.stack:
        stack = replace(stack, name=named.stack)
    if not named.parameters:
        return stack
    raw = read(named.parameters)
    if raw is None:
        raise InputError(f"The input templates names {named.parameters!r}, which is no file.")
    values = {**stack.parameters, **parameter_values(raw, named.parameters)}
    return replace(stack, parameters=values)


def _plan(name: str, read: ReadFile, role: str, place: Place) -> Declaration:
    """Reads one plan; one that asks for too much work has no resources, and says so."""
    from leastpriv.declared.plan import backend_calls, read_plan

    raw = read(name)
    if raw is None:
        raise InputError(f"The input plans names {name!r}, which is no file.")
    try:
        declaration = read_plan(raw, name, role, place)
    except TooLargeError as error:
        declaration = Declaration(name, unknown={name: str(error)})
    state = RepositoryFiles.around(name, read).read(_STATE)
    if state is None:
        return declaration
    calls = backend_calls(state, place, role)
    plan_calls = backend_calls(state, place, role, applies=False)
    return replace(
        declaration,
        calls=(*declaration.calls, *calls),
        plan_calls=(*declaration.plan_calls, *plan_calls),
        lacks_state=False,
    )


def exercised_actions(declarations: Iterable[Declaration], used: Collection[str]) -> frozenset[str]:
    """Returns the actions of declared types whose phases the used actions show: all that list them,
    or that need them.

    The update of a queue lists `sqs:TagQueue`, and needs it only for a queue with tags. An update
    reads what the creation reads at its end, so that reads are seen by the one or the other.
    """
    seen = _ActionsOfPhases()
    unseen = _ActionsOfPhases()
    for declaration in declarations:
        arns = Arns(declaration, Place(UNKNOWN, UNKNOWN))
        for resource, phase in product(declaration.resources, LIFE):
            is_seen = any(mark in used for mark in marks_of(resource.kind, phase))
            actions = seen if is_seen else unseen
            reads = _reads_of(resource.kind) if phase is Phase.UPDATE else frozenset()
            needed = needed_actions(replace(resource, changed=None), phase, arns)
            actions.listed.update(set(actions_of_phase(resource.kind, phase)) - reads)
            actions.needed.update(set(needed) - reads)
    return frozenset(seen.listed - unseen.listed) | (seen.needed - unseen.needed)


class _ActionsOfPhases(Struct):
    """The actions of some phases of declared resources."""

    listed: set[str] = field(default_factory=set)
    """Those that the phases of their types list."""
    needed: set[str] = field(default_factory=set)
    """Those that the resources need with their properties."""


@lru_cache(maxsize=4_096)
def _reads_of(kind: ResourceKind) -> frozenset[str]:
    """The actions that read a resource of a type."""
    return frozenset(filter(catalog.is_read, actions_of_phase(kind, Phase.READ)))


@lru_cache(maxsize=4_096)
def marks_of(kind: ResourceKind, phase: Phase) -> tuple[str, ...]:
    """Returns the actions that show that a phase of a type was exercised; a resource is read
    whenever it is made.
    """
    if phase in (Phase.CREATE, Phase.READ):
        return making_actions(kind)
    actions_of_others: set[str] = set()
    for other_phase in LIFE:
        if other_phase is not phase:
            actions_of_others.update(actions_of_phase(kind, other_phase))
    return tuple(
        action
        for action in actions_of_phase(kind, phase)
        if action not in actions_of_others and not catalog.is_read(action)
    )


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
        return _resources_by_phases(after)
    created: list[DeclaredResource] = []
    kept: list[DeclaredResource] = []
    for resource in after.resources:
        earlier = before.by_key.get(resource.key)
        if earlier is None or not _is_same(earlier, resource):
            created.append(replace(resource, phases=MADE))
        elif changed := _changed_properties(earlier, resource):
            kept.append(replace(resource, phases=(Phase.UPDATE, Phase.READ), changed=changed))
    for resource in before.resources:
        now = after.by_key.get(resource.key)
        if now is None or not _is_same(now, resource):
            kept.append(replace(resource, phases=phases_of(resource, (Phase.DELETE,))))
    # Also a parameter that is read, or a transform that is asked for, changes the deployment.
    has_new_calls = bool({*after.reads, *after.calls} - {*before.reads, *before.calls})
    if not (created or kept or has_new_calls):
        after = replace(after, calls=(), reads=())
    return ChangedResources(
        made=replace(
            after, resources=tuple(created), around=after.resources, existing=before.resources
        ),
        kept=replace(
            after,
            resources=tuple(kept),
            calls=(),
            reads=(),
            around=(*before.resources, *after.resources),
        ),
    )


def _resources_by_phases(after: Declaration) -> ChangedResources:
    """Returns the resources of a plan, or of a new template, by their phases."""
    created: list[DeclaredResource] = []
    kept: list[DeclaredResource] = []
    existing: list[DeclaredResource] = []
    for resource in after.resources:
        if Phase.CREATE in resource.phases:
            created.append(resource)
            continue
        # Who applies a plan reads its data sources; it changes nothing of a resource that is only
        # read.
        if resource.is_data or set(resource.phases) != {Phase.READ}:
            kept.append(resource)
        if not resource.is_data:
            existing.append(resource)
    return ChangedResources(
        made=replace(
            after,
            resources=tuple(created),
            around=after.resources,
            existing=tuple(existing),
        ),
        kept=replace(after, resources=tuple(kept), calls=(), reads=(), around=after.resources),
    )


_DELETING = frozenset({"cloudformation:DeleteStack", "cloudformation:DescribeStacks"})
"""Calls of a tool that deletes a stack."""


def deleted_stack(before: Declaration) -> ChangedResources:
    """Returns what the deletion of a template does: it deletes the stack and what that has."""
    deleted = before.with_phases(Phase.DELETE)
    calls = [call for call in before.calls if call.permission.action in _DELETING]
    return ChangedResources(
        replace(before, resources=(), calls=(), reads=(), unknown={}, left_out=()),
        replace(deleted, calls=(*calls, *before.later_calls), around=before.resources),
    )


def _changed_properties(earlier: DeclaredResource, now: DeclaredResource) -> frozenset[str]:
    """The properties that two versions of a resource do not share."""
    names = {*earlier.properties, *now.properties}
    return frozenset(
        name for name in names if earlier.properties.get(name) != now.properties.get(name)
    )


def _is_same(one: DeclaredResource, other: DeclaredResource) -> bool:
    """Whether two versions are of one resource: another type or name replaces it."""
    return one.kind == other.kind and one.name == other.name
