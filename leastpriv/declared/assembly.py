"""Reads cloud assemblies of the AWS CDK (`cdk.out`): stacks, their assets and the roles of the
bootstrap.

The CI role assumes the roles of the bootstrap; the execution role makes the resources. So the
declaration depends on the role whose policy is drafted
(https://docs.aws.amazon.com/cdk/v2/guide/bootstrapping-customizing.html, read 2026-11-27).
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.declared.files import RepositoryFiles
from leastpriv.declared.models import (
    UNKNOWN,
    Declaration,
    Place,
    Stack,
    tool_calls,
    transform_calls,
)
from leastpriv.declared.template import read_template
from leastpriv.errors import InputError, TooLargeError
from leastpriv.models import Need

MANIFEST = "manifest.json"
_STACK = "aws:cloudformation:stack"
_ASSETS = "cdk:asset-manifest"
_ASSEMBLY = "cdk:cloud-assembly"
_ARTIFACTS = (_STACK, _ASSETS, _ASSEMBLY, "cdk:tree", "cdk:feature-flag-report", "none")
"""Types of artifacts, of which the last three deploy nothing (ArtifactType of the CDK's schema of
assemblies, inferred from its names).
"""


def read_assembly(
    files: RepositoryFiles, source: str, role: str, place: Place
) -> tuple[Declaration, ...]:
    """Reads the stacks of an assembly as the target `role` deploys them.

    Args:
        files: the files of the repository, as those of the assembly name them.
        source: the folder, as the user names it.
        role: ARN of the target.
        place: of the target.

    Raises:
        InputError: the folder holds no readable assembly, or names a file outside the repository.
    """
    if files.read(MANIFEST) is None:
        raise InputError(
            f"The input templates names the folder {source!r}, which has no {MANIFEST}: name the"
            " files of its templates, or run `cdk synth` and name the folder cdk.out."
        )
    try:
        assemblies = tuple(_assemblies(files, source, (files.folder,)))
        stacks = [stack for assembly in assemblies for stack in _stacks(assembly, place)]
        served = {stack.place for stack in stacks if role in stack.bootstrap_roles}
        declarations = [_declaration(stack, role, bool(served)) for stack in stacks]
        # An assembly lists also what those inside it lack.
        lookup_by_key = {
            lookup.key: lookup for assembly in assemblies for lookup in _lookups(assembly, place)
        }
        lookups = [
            lookup for lookup in lookup_by_key.values() if not served or lookup.place in served
        ]
        if lookups:
            declarations.append(_looked_up(lookups, source, role, bool(served)))
        unknown = _unknown_artifacts(assemblies)
        if not stacks:
            unknown[source] = "it has no stack"
        if unknown:
            declarations.append(Declaration(source, unknown=unknown))
        return tuple(declarations)
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise InputError(
            f"{source} is no assembly that the CDK wrote: a field has another type."
        ) from error


class _Assembly(Struct, frozen=True):
    """An assembly: an app, or a stage inside one."""

    files: RepositoryFiles
    source: str
    """Its folder, as the user names it."""
    manifest: Mapping[str, Any]

    @property
    def artifacts(self) -> Mapping[str, Any]:
        """Its stacks, asset manifests and inner assemblies, by name."""
        artifacts: Mapping[str, Any] = self.manifest.get("artifacts", {})
        return artifacts


def _assemblies(files: RepositoryFiles, source: str, outer: tuple[str, ...]) -> Iterator[_Assembly]:
    """Yields an assembly and those inside it; `outer`: the folders around it and its own."""
    assembly = _Assembly(files, source, _json(files, MANIFEST))
    yield assembly
    for artifact in assembly.artifacts.values():
        if artifact.get("type") != _ASSEMBLY:
            continue
        inner = files.below(str(artifact.get("properties", {}).get("directoryName", "")))
        if inner.folder in outer:
            folders = " -> ".join((*outer, inner.folder))
            raise InputError(f"{source} is an assembly inside itself: {folders}.")
        below = f"{source}/{posixpath.basename(inner.folder)}"
        yield from _assemblies(inner, below, (*outer, inner.folder))


def _unknown_artifacts(assemblies: Sequence[_Assembly]) -> dict[str, str]:
    """Returns the artifacts of which it is not known what they deploy, with the reason."""
    unknown: dict[str, str] = {}
    for assembly in assemblies:
        for name, artifact in assembly.artifacts.items():
            kind = artifact.get("type")
            if kind not in _ARTIFACTS:
                unknown[f"the artifact {name}"] = f"its type {kind} is not known"
    return unknown


class _Lookup(Struct, frozen=True):
    """A value of an account that the app had not when it was synthesized: the CLI looks it up."""

    key: str
    """In `cdk.context.json`."""
    provider: str
    """`vpc-provider`, `ssm` …."""
    parameter: str
    """Name of a parameter of Systems Manager; empty for another provider."""
    role: str
    """The role that looks it up, by ARN; empty where the CLI uses its own credentials."""
    place: Place


def _lookups(assembly: _Assembly, place: Place) -> Iterator[_Lookup]:
    """Yields the values that `cdk synth` lacked and the CLI still has to read from AWS, such as
    `vpc-provider:account=…`: the role that reads one needs permissions for it.

    The manifest lists them as `missing`, each with the provider that reads it and perhaps a role.
    """
    for missing in assembly.manifest.get("missing", ()):
        properties = missing.get("props", {})
        account = properties.get("account", "")
        region = properties.get("region", "")
        lookup_place = _place_of(f"aws://{account}/{region}", place)
        yield _Lookup(
            key=str(missing["key"]),
            provider=str(missing["provider"]),
            parameter=str(properties.get("parameterName", UNKNOWN)).lstrip("/"),
            role=_filled(str(properties.get("lookupRoleArn") or ""), lookup_place),
            place=lookup_place,
        )


def _looked_up(
    lookups: Sequence[_Lookup], source: str, role: str, is_of_bootstrap: bool
) -> Declaration:
    """Returns what a role needs for the lookups, and which values are not known."""
    calls: list[Need] = []
    for lookup in lookups:
        because = f"the context {lookup.key}"
        uses_own_credentials = not lookup.role and not is_of_bootstrap
        if lookup.role == role or uses_own_credentials:
            step = f"context-{lookup.provider}"
            calls += tool_calls(step, because, lookup.place, parameter=lookup.parameter)
        elif not is_of_bootstrap:
            calls += tool_calls("assume", because, lookup.place, role=lookup.role)
    reason = "it has no value yet: deploy once, and commit cdk.context.json"
    unknown = {f"the context {lookup.key}": reason for lookup in lookups}
    distinct = tuple(dict.fromkeys(calls))
    return Declaration(source, calls=distinct, plan_calls=distinct, unknown=unknown)


class _StackArtifact(Struct, frozen=True, kw_only=True):
    """A stack of an assembly."""

    files: RepositoryFiles
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
        destinations = self.destinations("files", "dockerImages")
        publishing = (destination.get("assumeRoleArn", "") for destination in destinations)
        return tuple(filter(None, (self.deploy, self.execution, self.lookup, *publishing)))

    def destinations(self, *kinds: str) -> Iterator[Mapping[str, str]]:
        """Yields the buckets or repositories of its assets."""
        for kind, manifest in product(kinds, self.assets):
            for asset in manifest.get(kind, {}).values():
                for destination in asset.get("destinations", {}).values():
                    yield {
                        key: _filled(value, self.place)
                        for key, value in destination.items()
                        if isinstance(value, str)
                    }


def _stacks(assembly: _Assembly, place: Place) -> Iterator[_StackArtifact]:
    """The stacks of an assembly, without those of the assemblies inside it."""
    for name, artifact in assembly.artifacts.items():
        if artifact.get("type") == _STACK:
            yield _stack(assembly, name, place)


def _stack(assembly: _Assembly, name: str, place: Place) -> _StackArtifact:
    files = assembly.files
    artifacts = assembly.artifacts
    artifact = artifacts[name]
    properties = artifact.get("properties", {})
    assets = [
        _json(files, str(artifacts[dependency]["properties"]["file"]))
        for dependency in artifact.get("dependencies", ())
        if artifacts.get(dependency, {}).get("type") == _ASSETS
    ]
    stack_place = _place_of(str(artifact.get("environment", "")), place)

    def role(value: object) -> str:
        return _filled(str(value or ""), stack_place)

    return _StackArtifact(
        files=files,
        source=f"{assembly.source}/{name}",
        name=str(properties.get("stackName") or name),
        properties=properties,
        place=stack_place,
        assets=assets,
        deploy=role(properties.get("assumeRoleArn")),
        execution=role(properties.get("cloudFormationExecutionRoleArn")),
        lookup=role(properties.get("lookupRole", {}).get("arn")),
    )


def _place_of(environment: str, place: Place) -> Place:
    """The place of `aws://ACCOUNT/REGION`, as far as the assembly knows it."""
    account, _, region = environment.removeprefix("aws://").partition("/")
    return Place(
        partition=place.partition,
        account=account if account.isdigit() else place.account,
        region=region if region and not region.startswith("unknown") else place.region,
    )


def _declaration(stack: _StackArtifact, role: str, is_of_bootstrap: bool) -> Declaration:
    """What a role needs for a stack; one of the bootstrap needs nothing for stacks that other roles
    deploy.
    """
    declaration = _template_of(stack)
    because = f"the stack {stack.name}"
    if role == stack.execution:
        return declaration
    if role == stack.deploy or not stack.deploy:
        calls = [*_deployment(because, stack), *transform_calls(declaration, because, stack.place)]
        if not stack.deploy:
            calls += _published(because, stack, "")
        plan_calls = tool_calls("diff", because, stack.place, stack=stack.name)
        declaration = replace(declaration, calls=tuple(calls), plan_calls=tuple(plan_calls))
        if stack.execution:
            # That role makes the resources.
            return replace(declaration, resources=(), unknown={})
        return declaration
    only_calls = replace(declaration, resources=(), reads=(), unknown={})
    if is_of_bootstrap:
        return replace(only_calls, calls=tuple(_published(because, stack, role)))
    assumed = dict.fromkeys(stack.bootstrap_roles)
    assumed.pop(stack.execution, None)
    calls = []
    for bootstrap_role in assumed:
        calls += tool_calls("assume", because, stack.place, role=bootstrap_role)
    lookup_calls: tuple[Need, ...] = ()
    if stack.lookup:
        lookup_calls = tuple(tool_calls("assume", because, stack.place, role=stack.lookup))
    return replace(only_calls, calls=tuple(calls), plan_calls=lookup_calls)


def _template_of(stack: _StackArtifact) -> Declaration:
    """The template of a stack; one that asks for too much work has no resources, and says so."""
    properties = stack.properties
    deployed = Stack(
        name=stack.name,
        parameters={key: str(value) for key, value in properties.get("parameters", {}).items()},
        tagged=bool(properties.get("tags")),
    )
    raw = _bytes(stack.files, str(properties.get("templateFile", "")))
    try:
        declaration = read_template(raw, stack.source, deployed, stack.place, stack.files)
    except TooLargeError as error:
        declaration = Declaration(stack.source, unknown={stack.source: str(error)})
    return replace(declaration, region=stack.place.region)


def _deployment(because: str, stack: _StackArtifact) -> Iterator[Need]:
    """Yields what `cdk deploy` and `cdk destroy` of a stack need apart from its resources:
    `cloudformation:CreateChangeSet` on the stack.

    Without a deploy role (`stack.deploy`), the CLI uses its own credentials and also looks for the
    stack of the bootstrap, CDKToolkit. With an execution role (`stack.execution`), which makes the
    resources, it passes that role on to CloudFormation.
    """
    steps = ["deploy", "delete"]
    if not stack.deploy:
        steps.append("toolkit")
    for step in steps:
        yield from tool_calls(step, because, stack.place, stack=stack.name)
    yield from tool_calls(
        "bootstrap", because, stack.place, parameter=f"cdk-bootstrap/{UNKNOWN}/version"
    )
    if stack.execution:
        yield from tool_calls("pass", because, stack.place, role=stack.execution)


def _published(because: str, stack: _StackArtifact, role: str) -> Iterator[Need]:
    """The uploads that the CLI makes with a role, or with its own credentials."""
    for kind, step in (("files", "publish"), ("dockerImages", "image")):
        for destination in stack.destinations(kind):
            if role in ("", destination.get("assumeRoleArn")):
                names = {
                    "bucket": destination.get("bucketName", ""),
                    "repository": destination.get("repositoryName", ""),
                }
                yield from tool_calls(step, because, stack.place, object=UNKNOWN, **names)


def _filled(text: str, place: Place) -> str:
    """A text of a manifest with the place for its variables."""
    values = {"Partition": place.partition, "AccountId": place.account, "Region": place.region}
    for name, value in values.items():
        text = text.replace("${AWS::" + name + "}", value)
    return text


def _json(files: RepositoryFiles, name: str) -> dict[str, Any]:
    path = files.path(name)
    try:
        content = json.loads(_bytes(files, name))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} is no manifest of the CDK.")
    return content


def _bytes(files: RepositoryFiles, name: str) -> bytes:
    raw = files.read(name)
    if raw is None:
        raise InputError(f"{files.path(name)} cannot be read: there is no such file.")
    return raw
