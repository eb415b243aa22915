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
        used = (
            each
            for each in self.paths(folder)
            if not is_hcl(each) or posixpath.splitext(each)[1].islower()
        )
        found = {posixpath.relpath(each, folder or "."): each for each in used}
        return TerraformFolder(_Files(found, self.read), plan)


def paths_on_disk(root: Path, folder: str) -> list[str]:
    """Returns the paths of the files in a folder and below, without hidden ones; links to folders
    are not followed.
    """
    found: list[str] = []
    for place, folders, names in os.walk(root / folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        below = Path(place).relative_to(root / folder)
        found += [
            (Path(folder) / below / name).as_posix() for name in names if not name.startswith(".")
        ]
        if len(found) > _MOST_FILES:
            break
    return found


def terraform_files(root: Path, policy: str) -> dict[str, str]:
    """Returns the Terraform files of a checkout that may call the module of a policy file, with the
    files next to them: path -> text. None where the checkout does not have the policy file.
    """
    folder = posixpath.basename(posixpath.dirname(policy))
    if not folder or not (root / policy).is_file():
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

    place = Place.of(target.role, settings.aws_regions)
    found = read_declarations(
        settings.templates,
        settings.plans,
        target.role,
        place,
        root=target.workspace,
        policies=settings.declared,
    )
    return tuple(each.to_plan() for each in found) if target.only_plans else found


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
        for each in declaration.left_out:
            self.left_out.setdefault(", ".join(each.parameters), []).extend(each.addresses)

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
    found: dict[Permission, Need] = {}
    for need in needs:
        found.setdefault(need.permission, need)
    return tuple(found.values())


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
    known = {need.permission for need in needs}
    exercised = exercised_actions(declarations, _used_actions(evidence))
    due = {
        need.permission.action: (need.because,)
        for need in later
        if need.permission.action not in exercised
    }
    merged = DeclaredNeeds(
        due,
        needs=needs,
        later_needs=tuple(need for need in _one_each(later) if need.permission not in known),
        only_plans=target.only_plans,
        exercised=exercised,
        sources=tuple(declaration.source for declaration in declarations),
        unread=declared.unread(),
        reasons=declared.unknown,
        left_out=declared.left_out_by_defaults(),
        stateless=tuple(each.source for each in declarations if each.lacks_state),
        roles=roles,
    )
    return replace(evidence, aws_findings=replace(evidence.aws_findings, declared=merged))


def roles_of(target: Target, declarations: Iterable[Declaration]) -> tuple[CreatedRole, ...]:
    """Returns the roles that declarations make, with their policies."""
    from leastpriv.declared.models import Place
    from leastpriv.declared.role_policies import created_roles

    place = Place.of(target.role, target.settings.aws_regions)
    return tuple(role for each in declarations for role in created_roles(each, place))


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

    place = Place.of(target.role, settings.aws_regions)
    found: list[DeclaredVersion] = []
    built: list[str] = []
    for name in settings.templates:
        path = StackFile.of(name).path
        earlier = read_stack(name, before, place) if before(path) is not None else None
        if after(path) is not None:
            now = read_stack(name, after, place)
            change = changed_resources(earlier, now)
            found.append(DeclaredVersion(change, now.whole(), read=now, before=earlier))
        elif earlier:
            change = deleted_stack(earlier)
            found.append(DeclaredVersion(change, now=change.made, read=change.made))
        else:
            built.append(name)
    others = read_declarations(
        built,
        settings.plans,
        target.role,
        place,
        root=target.workspace,
        policies=settings.declared,
    )
    found.extend(DeclaredVersion(changed_resources(None, now), now.whole(), now) for now in others)
    return [_only_planned(each) for each in found] if target.only_plans else found


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
    used = _used_actions(evidence)
    silent: Collection[str] = ()
    if used and edited:
        silent = exercised_actions((each.now for each in versions), used) - used
    made: list[Need] = []
    kept: list[Need] = []
    standing: dict[Need, str] = {}
    drafted: list[Need] = []
    for each in versions:
        declared.add_limits(each.read)
        made.extend(declared.needs(each.change.made))
        kept.extend(declared.needs(each.change.kept))
        drafted.extend(declared.drafted(each.read))
        if each.read.lacks_state:
            declared.unknown[f"the state of {each.read.source}"] = _NO_STATE
        for need in declared.needs(each.now) if edited else ():
            if need.permission.action not in silent:
                standing[need] = each.now.source
    # Without a source of records, nothing else shows what the other resources need.
    judges_rest = not target.settings.reads_records and bool(edited or made or kept)
    return DeclaredChange(
        sources=tuple(each.now.source for each in versions),
        made=tuple(made),
        kept=(*kept, *drafted) if is_whole else tuple(kept),
        rest=tuple(drafted) if judges_rest else (),
        unread=declared.unread(),
        standing=standing,
        plans=target.settings.plans,
        left_out=declared.left_out_by_defaults(),
        is_whole=is_whole,
    )
