"""The graph of imports of a package, and its circles.

Every import counts: at the top of a file, inside a function, and for type checking only.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path

from package_files import Module, module_name

Graph = Mapping[str, Set[str]]
"""The modules that each module imports."""


def imports(modules: Sequence[Module], package: Path) -> Graph:
    """List which modules of the package each of its files imports."""
    names = {module.name for module in modules}
    return {module.name: set(_imported(module, package, names)) for module in modules}


def _imported(module: Module, package: Path, names: Set[str]) -> Iterator[str]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from {alias.name for alias in node.names} & names
        elif isinstance(node, ast.ImportFrom):
            source = _source(node, module, package)
            for alias in node.names:
                submodule = f"{source}.{alias.name}"
                if submodule in names:
                    yield submodule
                elif source in names:
                    yield source


def _source(node: ast.ImportFrom, module: Module, package: Path) -> str:
    """Return the whole name of the module that an import names, also by a relative name."""
    if not node.level:
        return node.module or ""
    folder = module.path.parents[node.level - 1]
    parent = module_name(folder / "__init__.py", package)
    return f"{parent}.{node.module}" if node.module else parent


def reachable(graph: Graph) -> Graph:
    """List what each module leads to, directly or not."""
    return {start: _reachable_from(start, graph) for start in graph}


def _reachable_from(start: str, graph: Graph) -> Set[str]:
    reached: set[str] = set()
    waiting = list(graph[start])
    while waiting:
        module = waiting.pop()
        if module not in reached:
            reached.add(module)
            waiting.extend(graph[module])
    return reached


def circles(graph: Graph) -> list[list[str]]:
    """List the groups of modules that lead to each other."""
    reach = reachable(graph)
    groups: set[frozenset[str]] = set()
    for module in graph:
        groups.add(frozenset(other for other in reach[module] if module in reach[other]))
    return sorted(sorted(group) for group in groups if group)
