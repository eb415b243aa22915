"""Gives a Terraform file the other files of its folder, each read only where an expression needs it."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path

from leastpriv.atomic_file import read_regular
from leastpriv.errors import InputError
from leastpriv.pipeline.context import Target
from leastpriv.policy.source import TerraformFolder, is_hcl

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


def terraform_folder(path: str, paths: Callable[[str], Iterable[str]], read: Read, plan: str = "") -> TerraformFolder:
    """Returns what the expressions of a Terraform file can refer to; nothing for other files.

    `paths` returns the paths of all files in a folder and below; `plan`: output of `terraform show -json`.
    """
    if not is_hcl(path):
        return _NO_FOLDER
    folder = posixpath.dirname(path)
    found = {posixpath.relpath(each, folder or "."): each for each in paths(folder)}
    return TerraformFolder(_Files(found, read), plan)


def paths_on_disk(root: Path, folder: str) -> list[str]:
    """Returns the paths of the files in a folder and below, without hidden ones; links to folders are not followed."""
    found: list[str] = []
    for place, folders, names in os.walk(root / folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        below = Path(place).relative_to(root / folder)
        found += [(Path(folder) / below / name).as_posix() for name in names if not name.startswith(".")]
        if len(found) > _MOST_FILES:
            break
    return found


def folder_on_disk(path: str, root: Path, plan: str = "") -> TerraformFolder:
    """Returns what a Terraform file on disk can refer to."""

    def read(name: str) -> bytes | None:
        try:
            return read_regular(root / name)
        except OSError:
            return None

    return terraform_folder(path, partial(paths_on_disk, root), read, plan)


def read_plan(target: Target) -> str:
    """Reads the output of `terraform show -json` that the settings name; empty without one; raises InputError."""
    if not target.settings.terraform_plan:
        return ""
    path = target.workspace / target.settings.terraform_plan
    try:
        text = read_regular(path).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"The input terraform-plan names {str(path)!r}, which cannot be read: {error}.") from error
    if '"planned_values"' not in text:
        raise InputError(
            f"The input terraform-plan names {str(path)!r}, which is not the output of `terraform show -json PLAN`: "
            "write that to a file, and name it."
        )
    return text
