"""The graph of imports of a package: circles, and the longest way down.

Every import counts: at the top of a file, inside a function, and for type checking only.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable, Mapping, Set
from pathlib import Path

Graph = Mapping[str, Set[str]]


def module_name(path: Path, package: Path) -> str:
    """Name of the module that a file below a package's folder holds."""
    parts = path.relative_to(package.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(trees: Mapping[Path, ast.Module], package: Path) -> Graph:
    """List which modules of the package each of its files imports."""
    names = {module_name(path, package) for path in trees}
    graph: dict[str, set[str]] = {}
    for path, tree in trees.items():
        found = graph[module_name(path, package)] = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                found |= {each.name for each in node.names} & names
            elif isinstance(node, ast.ImportFrom):
                above = (
                    module_name(path.parents[node.level - 1] / "__init__.py", package)
                    if node.level
                    else ""
                )
                source = f"{above}.{node.module or ''}".strip(".")
                targets = {f"{source}.{each.name}" for each in node.names}
                found |= {each if each in names else source for each in targets} & names
    return graph


def by_package(files: Graph, packages: Set[str]) -> Graph:
    """Join the files of each package; files at the top remain, the top package itself is left
    out.
    """

    def node(name: str) -> str:
        return name if name in packages or name.count(".") == 1 else name.rpartition(".")[0]

    joined: dict[str, set[str]] = defaultdict(set)
    for name, targets in files.items():
        if "." in name:
            joined[node(name)] |= {node(target) for target in targets if "." in target} - {
                node(name)
            }
    return joined


def reachable(graph: Graph) -> Graph:
    """List what each node leads to, directly or not."""
    found: dict[str, set[str]] = {}
    for start in graph:
        ahead, seen = list(graph[start]), set[str]()
        while ahead:
            node = ahead.pop()
            if node not in seen:
                seen.add(node)
                ahead += graph[node]
        found[start] = seen
    return found


def circles(graph: Graph) -> list[list[str]]:
    """List the groups of nodes that lead to each other."""
    reach = reachable(graph)
    groups = {frozenset(other for other in reach[node] if node in reach[other]) for node in graph}
    return sorted(sorted(group) for group in groups if len(group) > 1)


def longest_path(graph: Graph) -> list[str]:
    """Return the nodes of the longest way along the graph; a circle counts as one node."""
    joined = {node: " + ".join(group) for group in circles(graph) for node in group}
    condensed: dict[str, set[str]] = defaultdict(set)
    for node, targets in graph.items():
        name = joined.get(node, node)
        condensed[name] |= {joined.get(target, target) for target in targets} - {name}
    paths: dict[str, list[str]] = {}

    def path(node: str) -> list[str]:
        if node not in paths:
            paths[node] = [node, *_longest(path(target) for target in sorted(condensed[node]))]
        return paths[node]

    return _longest(path(node) for node in sorted(condensed))


def _longest(paths: Iterable[list[str]]) -> list[str]:
    return max(paths, key=len, default=[])
