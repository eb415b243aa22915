"""Reads infrastructure code: the other files of a Terraform folder, a plan, and what templates and
plans declare.

Each file of a folder is read only where an expression needs it.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.config.settings import DeclaredPhases
from leastpriv.declared.files import StackFile, files_on_disk
from leastpriv.errors import InputError, TooLargeError
from leastpriv.evidence.models import DeclaredNeeds, Evidence
from leastpriv.models import Need, Outcome, Permission
from leastpriv.pipeline.context import Target
from leastpriv.policy.source import TerraformFolder, is_hcl

if TYPE_CHECKING:
    from leastpriv.declared.declarations import ChangedResources
    from leastpriv.declared.models import Declaration
    from leastpriv.declared.role_policies import CreatedRole
    from leastpriv.pipeline.context import Repository
    from leastpriv.proposal.preflight import DeclaredChange

_MOST_FILES = 5_000
_NO_FOLDER = TerraformFolder()
_NO_STATE = "the folder of the plan has no .terraform/terraform.tfstate"

Read = Callable[[str], bytes | None]
"""Content of a file by its path; None where there is none."""


class _Files(Mapping[str, str]):
    """Names relative to the folder, and texts."""

    def __init__(self, paths: Mapping[str, str], read: Read) -> None:
        self.paths = paths
        self.read = read
        self.texts: dict[str, str] = {}

    def __getitem__(self, name: str) -> str:
        if name not in self.texts:
            raw = self.read(self.paths[name])
            self.texts[name] = (raw or b"").decode("utf-8", "replace")
        return self.texts[name]

    def __contains__(self, name: object) -> bool:
        return name in self.paths

    def __iter__(self) -> Iterator[str]:
        return iter(self.paths)

    def __len__(self) -> int:
        return len(self.paths)


class RepositoryVersion(Struct, frozen=True):
    """The files of a repository in one commit, or on disk."""

    read: Read
    paths: Callable[[str], Iterable[str]]
    """Paths of all files in a folder and below."""

    @classmethod
    def of(cls, repository: Repository, commit: str) -> RepositoryVersion:
        """Returns the files in a commit."""
        return cls(partial(repository.read, commit), partial(repository.paths, commit))

    @classmethod
    def on_disk(cls, root: Path = Path()) -> RepositoryVersion:
        """Returns the files below a folder; reading a link that leads out of it raises
        InputError.
        """
        return cls(files_on_disk(root), partial(paths_on_disk, root))

    def folder(self, path: str, plan: str = "") -> TerraformFolder:
        """Returns what the expressions of a Terraform file can refer to; nothing for other files.

        `plan`: output of `terraform show -json`.
        """
        if not is_hcl(path):
            return TerraformFolder()
        folder = posixpath.dirname(path)
        # Terraform loads no file whose name ends with `.TF`.
        declaring = (
            path
            for path in self.paths(folder)
            if not is_hcl(path) or posixpath.splitext(path)[1].islower()
        )
        relative_paths = {posixpath.relpath(name, folder or "."): name for name in declaring}
        return TerraformFolder(_Files(relative_paths, self.read), plan)


def paths_on_disk(root: Path, folder: str) -> list[str]:
    """Returns the paths of the files in a folder and below, without hidden ones; links to folders
    are not followed.
    """
    paths: list[str] = []
    for current, folders, names in os.walk(root / folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        below = Path(current).relative_to(root / folder)
        paths += [
            (Path(folder) / below / name).as_posix() for name in names if not name.startswith(".")
        ]
        if len(paths) > _MOST_FILES:
            break
    return paths


def terraform_files(root: Path, policy_path: str) -> dict[str, str]:
    """Returns the Terraform files of a checkout that may call the module of a policy file, with the
    files next to them: path -> text. Empty where the checkout does not have the policy file.
    """
    folder = posixpath.basename(posixpath.dirname(policy_path))
    if not folder or not (root / policy_path).is_file():
        return {}
    read = files_on_disk(root)
    names = [name for name in paths_on_disk(root, ".") if name.endswith(".tf")]
    texts: dict[str, str] = {}
    for name in names[:_MOST_FILES]:
        raw = read(name)
        texts[name] = (raw or b"").decode("utf-8", "replace")
    calling = {posixpath.dirname(name) for name, text in texts.items() if _calls(text, folder)}
    return {name: text for name, text in texts.items() if posixpath.dirname(name) in calling}


def _calls(text: str, folder: str) -> bool:
    return "module" in text and re.search(rf"source\s*=.*{re.escape(folder)}", text) is not None


def read_plan(target: Target) -> str:
    """Reads the output of `terraform show -json` that the settings name; empty without one; raises
    InputError.
    """
    if not target.settings.terraform_plan:
        return ""
    path = target.settings.terraform_plan
    raw = files_on_disk(target.workspace)(path)
    if raw is None:
        raise InputError(f"The input terraform-plan names {path!r}, which is no file.")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            f"The input terraform-plan names {path!r}, which cannot be read: {error}."
        ) from error
    if '"planned_values"' not in text:
        raise InputError(
            f"The input terraform-plan names {path!r}, which is not the output of `terraform"
            " show -json PLAN`: write that to a file, and name it."
        )
    return text


def declarations_of(target: Target) -> tuple[Declaration, ...]:
    """Reads the templates and plans of a target in its workspace; raises InputError where one
    cannot be read.
    """
    settings = target.settings
    if not settings.declares:
        return ()
    from leastpriv.declared.declarations import read_declarations
    from leastpriv.declared.models import Place

    deploy_place = Place.of(target.role, settings.aws_regions)
    declarations = read_declarations(
        settings.templates,
        settings.plans,
        target.role,
        deploy_place,
        root=target.workspace,
        policies=settings.declared,
    )
    return (
        tuple(declaration.to_plan() for declaration in declarations)
        if target.only_plans
        else declarations
    )


class _Declared:
    """The needs of several declarations of a target, and what of them is not known."""

    def __init__(self, target: Target) -> None:
        from leastpriv.declared.models import Place

        self.target = target
        self.place = Place.of(target.role, target.settings.aws_regions)
        self.unknown: dict[str, str] = {}
        """Type or part -> why its needs are not known."""
        self.left_out: dict[str, list[str]] = {}
        """Parameters whose defaults decide -> resources."""

    def add_limits(self, declaration: Declaration) -> None:
        """Adds what a declaration does not say."""
        self.unknown.update(declaration.unknown)
        for limit in declaration.left_out:
            self.left_out.setdefault(", ".join(limit.parameters), []).extend(limit.addresses)

    def needs(self, declaration: Declaration) -> tuple[Need, ...]:
        """Returns the needs of a declaration; none where it asks for too much work, which is not
        known then.
        """
        from leastpriv.declared.resource_needs import needs_of

        try:
            return needs_of(declaration, self.place)
        except TooLargeError as error:
            self.unknown[declaration.source] = str(error)
            return ()

    def later_needs(
        self, declaration: Declaration, *, any_update: bool = False
    ) -> tuple[Need, ...]:
        """Returns the needs of later updates and of the deletion; `any_update`: also of properties
        that are not set now.
        """
        from leastpriv.permissions.tool_lifecycle import Phase

        if self.target.only_plans:
            return ()
        phases = (Phase.UPDATE, Phase.DELETE)
        return self.needs(declaration.with_phases(*phases, any_update=any_update))

    @property
    def drafts_all(self) -> bool:
        """Whether a draft has the needs of later updates and deletions."""
        return self.target.settings.declared_phases is DeclaredPhases.ALL

    def drafted(self, declaration: Declaration) -> tuple[Need, ...]:
        """Returns the needs that a first draft has: a review compares with the same."""
        needs = dict.fromkeys(self.needs(declaration))
        if self.drafts_all:
            needs.update(dict.fromkeys(self.later_needs(declaration, any_update=True)))
        return _one_each(needs)

    def unread(self) -> tuple[str, ...]:
        """Returns the types and parts whose needs are not known, sorted."""
        return tuple(sorted(self.unknown))

    def left_out_by_defaults(self) -> Mapping[str, tuple[str, ...]]:
        """Returns what the defaults of parameters leave out."""
        return {names: tuple(addresses) for names, addresses in self.left_out.items()}


def _one_each(needs: Iterable[Need]) -> tuple[Need, ...]:
    """The needs, one for each permission."""
    need_by_permission: dict[Permission, Need] = {}
    for need in needs:
        need_by_permission.setdefault(need.permission, need)
    return tuple(need_by_permission.values())


def _used_actions(evidence: Evidence) -> set[str]:
    allowed = (usage for usage in evidence.usages if usage.outcome is Outcome.ALLOWED)
    return {usage.need.permission.action for usage in allowed}


def with_declarations(
    evidence: Evidence, declarations: Sequence[Declaration], target: Target
) -> Evidence:
    """Returns the evidence with the needs of declarations, and what of them is not known."""
    if not declarations:
        return evidence
    from leastpriv.declared.declarations import exercised_actions

    declared = _Declared(target)
    drafted: list[Need] = []
    later: list[Need] = []
    for declaration in declarations:
        declared.add_limits(declaration)
        drafted.extend(declared.drafted(declaration))
        later.extend(declared.later_needs(declaration))
    roles: tuple[CreatedRole, ...] = ()
    if target.settings.boundary_file:
        roles = roles_of(target, declarations)
        drafted = bounded_needs(drafted, target)
        later = bounded_needs(later, target)
    needs = _one_each(drafted)
    permissions = {need.permission for need in needs}
    exercised = exercised_actions(declarations, _used_actions(evidence))
    due = {
        need.permission.action: (need.because,)
        for need in later
        if need.permission.action not in exercised
    }
    merged = DeclaredNeeds(
        due,
        needs=needs,
        later_needs=tuple(need for need in _one_each(later) if need.permission not in permissions),
        only_plans=target.only_plans,
        exercised=exercised,
        sources=tuple(declaration.source for declaration in declarations),
        unread=declared.unread(),
        reasons=declared.unknown,
        left_out=declared.left_out_by_defaults(),
        stateless=tuple(
            declaration.source for declaration in declarations if declaration.lacks_state
        ),
        roles=roles,
    )
    return replace(evidence, aws_findings=replace(evidence.aws_findings, declared=merged))


def roles_of(target: Target, declarations: Iterable[Declaration]) -> tuple[CreatedRole, ...]:
    """Returns the roles that declarations make, with their policies."""
    from leastpriv.declared.models import Place
    from leastpriv.declared.role_policies import created_roles

    deploy_place = Place.of(target.role, target.settings.aws_regions)
    return tuple(
        role for declaration in declarations for role in created_roles(declaration, deploy_place)
    )


def bounded_needs(needs: Iterable[Need], target: Target) -> list[Need]:
    """Returns the needs of a draft, in which each action on a role asks for the boundary."""
    from leastpriv.proposal.boundary import boundary_arn, demanding

    return demanding(needs, boundary_arn(target.settings.boundary_file, target.role))


class DeclaredVersion(Struct, frozen=True):
    """What a pull request does to one template or plan."""

    change: ChangedResources
    now: Declaration
    """The version after it, with all phases of its resources."""
    read: Declaration
    """The version after it, as a draft reads it."""
    before: Declaration | None = None
    """The version before it; None for a new one, and for a plan."""


def read_changes(target: Target, before: Read, after: Read) -> list[DeclaredVersion]:
    """Reads the changes of templates and plans, each with its version after.

    A template that is not in `before` is new; one that is only in `before` is deleted; one that is
    in neither is read in the workspace, as `cdk.out` and plans are. Raises InputError where a
    template or plan cannot be read.
    """
    settings = target.settings
    if not settings.declares:
        return []
    from leastpriv.declared.declarations import (
        changed_resources,
        deleted_stack,
        read_declarations,
        read_stack,
    )
    from leastpriv.declared.models import Place

    deploy_place = Place.of(target.role, settings.aws_regions)
    versions: list[DeclaredVersion] = []
    built: list[str] = []
    for name in settings.templates:
        path = StackFile.of(name).path
        earlier = read_stack(name, before, deploy_place) if before(path) is not None else None
        if after(path) is not None:
            now = read_stack(name, after, deploy_place)
            change = changed_resources(earlier, now)
            versions.append(DeclaredVersion(change, now.whole(), read=now, before=earlier))
        elif earlier:
            change = deleted_stack(earlier)
            versions.append(DeclaredVersion(change, now=change.made, read=change.made))
        else:
            built.append(name)
    other_declarations = read_declarations(
        built,
        settings.plans,
        target.role,
        deploy_place,
        root=target.workspace,
        policies=settings.declared,
    )
    versions.extend(
        DeclaredVersion(changed_resources(None, now), now.whole(), now)
        for now in other_declarations
    )
    return [_only_planned(version) for version in versions] if target.only_plans else versions


def _only_planned(version: DeclaredVersion) -> DeclaredVersion:
    from leastpriv.declared.declarations import ChangedResources

    change = ChangedResources(version.change.made.to_plan(), version.change.kept.to_plan())
    return DeclaredVersion(change, version.read.to_plan(), version.read.to_plan())


def declared_change(
    target: Target,
    versions: Sequence[DeclaredVersion],
    evidence: Evidence,
    *,
    edited: bool,
    is_whole: bool = False,
) -> DeclaredChange | None:
    """Returns what changes of templates and plans need; None without one.

    Args:
        target: the target of the review.
        versions: the templates and plans.
        evidence: what the runs used.
        edited: the policy is edited: what the resources still need counts, too. What no run used,
            though the runs had the occasion, is not needed any more.
        is_whole: all resources count, as in a first draft, and not their changes alone.
    """
    if not versions:
        return None
    from leastpriv.declared.declarations import exercised_actions
    from leastpriv.proposal.preflight import DeclaredChange

    declared = _Declared(target)
    used_actions = _used_actions(evidence)
    silent: Collection[str] = ()
    if used_actions and edited:
        silent = (
            exercised_actions((version.now for version in versions), used_actions) - used_actions
        )
    made_needs: list[Need] = []
    kept_needs: list[Need] = []
    standing: dict[Need, str] = {}
    drafted: list[Need] = []
    for version in versions:
        declared.add_limits(version.read)
        made_needs.extend(declared.needs(version.change.made))
        kept_needs.extend(declared.needs(version.change.kept))
        drafted.extend(declared.drafted(version.read))
        if version.read.lacks_state:
            declared.unknown[f"the state of {version.read.source}"] = _NO_STATE
        for need in declared.needs(version.now) if edited else ():
            if need.permission.action not in silent:
                standing[need] = version.now.source
    # Without a source of records, nothing else shows what the other resources need.
    judges_rest = not target.settings.reads_records and bool(edited or made_needs or kept_needs)
    return DeclaredChange(
        sources=tuple(version.now.source for version in versions),
        made=tuple(made_needs),
        kept=(*kept_needs, *drafted) if is_whole else tuple(kept_needs),
        rest=tuple(drafted) if judges_rest else (),
        unread=declared.unread(),
        standing=standing,
        plans=target.settings.plans,
        left_out=declared.left_out_by_defaults(),
        is_whole=is_whole,
    )
