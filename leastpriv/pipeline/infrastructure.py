"""Reads infrastructure code: the other files of a Terraform folder, a plan, and what templates and
plans declare.

Each file of a folder is read only where an expression needs it.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.config.settings import DeclaredPhases
from leastpriv.declared.files import files_on_disk
from leastpriv.errors import InputError
from leastpriv.evidence.models import DeclaredNeeds, Evidence
from leastpriv.models import Need, Outcome
from leastpriv.pipeline.context import Target
from leastpriv.policy.source import TerraformFolder, is_hcl

if TYPE_CHECKING:
    from leastpriv.declared.declarations import ChangedResources
    from leastpriv.declared.models import Declaration
    from leastpriv.pipeline.context import Repository
    from leastpriv.proposal.preflight import DeclaredChange

_MOST_FILES = 5_000
_NO_FOLDER = TerraformFolder()

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
    if not (settings.templates or settings.plans):
        return ()
    from leastpriv.declared.declarations import read_declarations
    from leastpriv.declared.models import Place

    place = Place.of(target.role, settings.aws_regions)
    found = read_declarations(
        settings.templates, settings.plans, target.role, place, target.workspace
    )
    return tuple(each.to_plan() for each in found) if target.only_plans else found


def with_declarations(
    evidence: Evidence, declarations: Sequence[Declaration], target: Target
) -> Evidence:
    """Returns the evidence with the needs of declarations, and the types that no table knows."""
    if not declarations:
        return evidence
    from leastpriv.declared.declarations import exercised_actions
    from leastpriv.declared.models import Place
    from leastpriv.declared.resource_needs import needs_of
    from leastpriv.permissions.tool_lifecycle import Phase

    place = Place.of(target.role, target.settings.aws_regions)
    needs: dict[Need, None] = {}
    later: dict[Need, None] = {}
    for declaration in declarations:
        needs.update(dict.fromkeys(needs_of(declaration, place)))
        if target.only_plans:
            continue
        later.update(
            dict.fromkeys(needs_of(declaration.with_phases(Phase.UPDATE, Phase.DELETE), place))
        )
    known = {need.permission for need in needs}
    further = tuple(need for need in later if need.permission not in known)
    drafts_all = target.settings.declared_phases is DeclaredPhases.ALL
    used = {
        usage.need.permission.action
        for usage in evidence.usages
        if usage.outcome is Outcome.ALLOWED
    }
    exercised = exercised_actions(declarations, used)
    due = {
        need.permission.action: (need.because,)
        for need in later
        if need.permission.action not in exercised
    }
    merged = DeclaredNeeds(
        due,
        needs=(*needs, *(further if drafts_all else ())),
        later_needs=() if drafts_all else further,
        only_plans=target.only_plans,
        exercised=exercised,
        sources=tuple(declaration.source for declaration in declarations),
        unread=tuple(
            sorted({name for declaration in declarations for name in declaration.unknown_types})
        ),
        stateless=tuple(each.source for each in declarations if each.lacks_state),
    )
    return replace(evidence, aws_findings=replace(evidence.aws_findings, declared=merged))


def read_changes(
    target: Target, before: Read, after: Read
) -> list[tuple[ChangedResources, Declaration]]:
    """Reads the changes of templates and plans, each with its version after.

    A template that is not in `before` is new; one that is not in `after` is read in the workspace,
    as `cdk.out` and plans are. Raises InputError where a template or plan cannot be read.
    """
    settings = target.settings
    if not (settings.templates or settings.plans):
        return []
    from leastpriv.declared.declarations import (
        ChangedResources,
        StackFile,
        changed_resources,
        read_declarations,
        read_stack,
    )
    from leastpriv.declared.models import Place

    place = Place.of(target.role, settings.aws_regions)
    committed = [name for name in settings.templates if after(StackFile.of(name).path) is not None]
    others = [name for name in settings.templates if name not in committed]
    earlier = {
        name: read_stack(name, before, place)
        for name in committed
        if before(StackFile.of(name).path) is not None
    }
    versions = [(earlier.get(name), read_stack(name, after, place)) for name in committed]
    built = read_declarations(others, settings.plans, target.role, place, target.workspace)
    versions += [(None, each) for each in built]
    changes = [(changed_resources(each, now), now.whole()) for each, now in versions]
    if not target.only_plans:
        return changes
    return [
        (ChangedResources(change.made.to_plan(), change.kept.to_plan()), now.to_plan())
        for (change, _), (_, now) in zip(changes, versions, strict=True)
    ]


def declared_change(
    target: Target,
    changes: Sequence[tuple[ChangedResources, Declaration]],
    evidence: Evidence,
    *,
    edited: bool,
) -> DeclaredChange | None:
    """Returns what changes of templates and plans need; None without one.

    If the policy is `edited`, also what their resources still need: what no run used, though the
    runs had the occasion, is not needed any more.
    """
    if not changes:
        return None
    from leastpriv.declared.declarations import exercised_actions
    from leastpriv.declared.models import Place
    from leastpriv.declared.resource_needs import needs_of
    from leastpriv.proposal.preflight import DeclaredChange

    place = Place.of(target.role, target.settings.aws_regions)
    used = {
        usage.need.permission.action
        for usage in evidence.usages
        if usage.outcome is Outcome.ALLOWED
    }
    silent = exercised_actions((now for _, now in changes), used) - used if used and edited else ()
    standing = {
        need: now.source
        for _, now in changes
        for need in (needs_of(now, place) if edited else ())
        if need.permission.action not in silent
    }
    return DeclaredChange(
        sources=tuple(now.source for _, now in changes),
        made=tuple(need for change, _ in changes for need in needs_of(change.made, place)),
        kept=tuple(need for change, _ in changes for need in needs_of(change.kept, place)),
        unread=tuple(sorted({name for _, now in changes for name in now.unknown_types})),
        standing=standing,
        plans=target.settings.plans,
    )
