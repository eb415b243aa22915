"""The Python files of a package, and how to find functions and classes in them."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from import_graph import module_name

Function = ast.FunctionDef | ast.AsyncFunctionDef
Node = TypeVar("Node", bound=ast.AST)


@dataclass(frozen=True, slots=True)
class Module:
    """A file of the package."""

    path: Path
    name: str
    source: str
    tree: ast.Module
    nodes: Sequence[ast.AST]
    """All nodes of the tree."""

    @property
    def lines(self) -> int:
        """Number of lines."""
        return len(self.source.splitlines())

    @property
    def is_init(self) -> bool:
        """Whether the file is the `__init__.py` of a package."""
        return self.path.name == "__init__.py"


def read(path: Path, package: Path) -> Module:
    """Read and parse a file of the package."""
    source = path.read_text(encoding="utf-8")
    tree = ast.parse(source)
    return Module(path, module_name(path, package), source, tree, list(ast.walk(tree)))


def nodes(module: Module, kind: type[Node]) -> list[Node]:
    """List the nodes of one kind."""
    return [node for node in module.nodes if isinstance(node, kind)]


def functions(module: Module) -> list[Function]:
    """List all functions of a file, methods and inner functions included."""
    return [*nodes(module, ast.FunctionDef), *nodes(module, ast.AsyncFunctionDef)]


def used_once(module: Module) -> list[Function]:
    """List the private functions that their own file mentions once."""
    uses = Counter(each.id for each in nodes(module, ast.Name))
    uses.update(each.attr for each in nodes(module, ast.Attribute))
    private = [each for each in functions(module) if each.name[0] == "_" and each.name[:2] != "__"]
    return [each for each in private if uses[each.name] == 1]


def classes(module: Module) -> list[ast.ClassDef]:
    """List all classes of a file."""
    return nodes(module, ast.ClassDef)


def value_classes(module: Module) -> list[ast.ClassDef]:
    """List the dataclasses and structs."""
    return [
        each
        for each in classes(module)
        if any(
            "dataclass" in ast.unparse(name) or ast.unparse(name) == "Struct"
            for name in (*each.decorator_list, *each.bases)
        )
    ]


def field_count(node: ast.ClassDef) -> int:
    """Count the annotated fields of a class."""
    return sum(isinstance(each, ast.AnnAssign) for each in node.body)


def length(function: Function) -> int:
    """Count the lines of a function."""
    return (function.end_lineno or function.lineno) - function.lineno + 1


def parameters(function: Function) -> int:
    """Count the parameters of a function without `self` and `cls`."""
    names = [
        each.arg
        for each in (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)
    ]
    return len(names) - (names[:1] in (["self"], ["cls"]))
