"""The Python files of a package."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Module:
    """A file of a package."""

    path: Path
    name: str
    tree: ast.Module


def read_modules(package: Path) -> Sequence[Module]:
    """Read and parse the files of a package and of the packages in it."""
    modules = []
    for path in sorted(package.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        modules.append(Module(path, module_name(path, package), tree))
    return modules


def module_name(path: Path, package: Path) -> str:
    """Return the name of the module that a file below a package's folder holds."""
    parts = path.relative_to(package.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def public_classes(module: Module) -> Sequence[str]:
    """List the names of a file's public classes."""
    classes = [node.name for node in ast.walk(module.tree) if isinstance(node, ast.ClassDef)]
    return [name for name in classes if not name.startswith("_")]
