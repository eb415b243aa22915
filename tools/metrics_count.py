"""Count in Python code what costs its readers time.

Docstrings and comments do not count. A figure describes a whole folder; none is a limit for a file
or a function.
"""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

WIDTH = 100
MANY_DECISIONS = 10
MANY_ARGUMENTS = 5

Function = ast.FunctionDef | ast.AsyncFunctionDef
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
DECISIONS = (
    ast.If,
    ast.IfExp,
    ast.For,
    ast.AsyncFor,
    ast.While,
    ast.ExceptHandler,
    ast.comprehension,
    ast.BoolOp,
    ast.Assert,
    ast.match_case,
)
CODE_TOKENS = {tokenize.NAME, tokenize.OP, tokenize.NUMBER, tokenize.STRING}
# Python 3.12 splits an f-string into several tokens. It counts as one, as in Python 3.11.
FSTRING_START = getattr(tokenize, "FSTRING_START", None)
FSTRING_END = getattr(tokenize, "FSTRING_END", None)


@dataclass(frozen=True, slots=True)
class Place:
    """A place in the code that a measure counts."""

    file: str
    line: int
    name: str = ""
    """The name that is assigned, or the function that is defined or called."""
    weight: int = 1
    """The number of decisions or of arguments, where the measure has one."""


@dataclass(slots=True)
class Counts:
    """What the files of a folder contain."""

    tokens: int = 0
    code_lines: int = 0
    statements: int = 0
    nodes: int = 0
    assigned_names: int = 0
    functions: int = 0
    conditionals: list[Place] = field(default_factory=list)
    nested_conditionals: list[Place] = field(default_factory=list)
    comprehensions: list[Place] = field(default_factory=list)
    vague_names: list[Place] = field(default_factory=list)
    positional_calls: list[Place] = field(default_factory=list)
    """Calls with positional arguments that are not all constants."""
    nested_tuple_types: list[Place] = field(default_factory=list)
    complex_functions: list[Place] = field(default_factory=list)
    long_lines: list[Place] = field(default_factory=list)


def count_folder(folder: Path) -> Counts:
    """Count what the Python files of a folder and its subfolders contain."""
    counts = Counts()
    for path in sorted(folder.rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        file = path.relative_to(folder.parent).as_posix()
        tree = ast.parse(source)
        _count_text(counts, file, source, docstring_lines(tree))
        _TreeCounter(counts, file).visit(tree)
    return counts


@cache
def vague_names() -> frozenset[str]:
    """Return participles, pronouns and positions: they say that a value exists, not what it is."""
    path = Path(__file__).with_name("metrics_vague_names.txt")
    return frozenset(path.read_text(encoding="utf-8").split())


def docstring_lines(tree: ast.Module) -> set[int]:
    """Return the lines of strings that are statements: below a definition or an attribute."""
    lines: set[int] = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.Expr) or not isinstance(node.value, ast.Constant):
            continue
        if isinstance(node.value.value, str):
            lines.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return lines


def _count_text(counts: Counts, file: str, source: str, docstrings: set[int]) -> None:
    """Count lines, statements and tokens of a file."""
    for number, line in enumerate(source.splitlines(), start=1):
        if len(line) > WIDTH:
            counts.long_lines.append(Place(file, number))
    code_lines: set[int] = set()
    for token in _without_fstring_parts(source):
        line_number = token.start[0]
        if line_number in docstrings:
            continue
        if token.type == tokenize.NEWLINE:
            counts.statements += 1
        elif token.type in CODE_TOKENS or token.type == FSTRING_START:
            counts.tokens += 1
            code_lines.add(line_number)
    counts.code_lines += len(code_lines)


def _without_fstring_parts(source: str) -> Iterator[tokenize.TokenInfo]:
    """Yield the tokens of a file; of an f-string only its start."""
    depth = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == FSTRING_END:
            depth -= 1
        elif not depth:
            yield token
        if token.type == FSTRING_START:
            depth += 1


class _TreeCounter(ast.NodeVisitor):
    """Counts the nodes of a file's syntax tree."""

    def __init__(self, counts: Counts, file: str) -> None:
        self._counts = counts
        self._file = file
        self._conditional_depth = 0

    def visit(self, node: ast.AST) -> None:
        """Count a node and the nodes below it."""
        self._counts.nodes += 1
        if isinstance(node, COMPREHENSIONS):
            self._counts.comprehensions.append(Place(self._file, node.lineno))
        super().visit(node)

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self._counts.conditionals.append(Place(self._file, node.lineno))
        if any(isinstance(part, ast.IfExp) for part in ast.walk(node) if part is not node):
            self._counts.nested_conditionals.append(Place(self._file, node.lineno))
        self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Store):
            self._counts.assigned_names += 1
            if node.id in vague_names():
                self._counts.vague_names.append(Place(self._file, node.lineno, node.id))
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        arguments = [each for each in node.args if not isinstance(each, ast.Starred)]
        # A call such as `print("a", "b")` takes any number of values of one kind.
        if not all(isinstance(each, ast.Constant) for each in arguments):
            name = ast.unparse(node.func)
            place = Place(self._file, node.lineno, name, weight=len(arguments))
            self._counts.positional_calls.append(place)
        self.generic_visit(node)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        if _is_nested_tuple(node):
            self._counts.nested_tuple_types.append(Place(self._file, node.lineno))
        self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._count_function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._count_function(node)

    def _count_function(self, function: Function) -> None:
        self._counts.functions += 1
        decisions = sum(isinstance(part, DECISIONS) for part in ast.walk(function))
        if decisions >= MANY_DECISIONS:
            place = Place(self._file, function.lineno, function.name, weight=decisions)
            self._counts.complex_functions.append(place)
        self.generic_visit(function)


def _is_nested_tuple(node: ast.Subscript) -> bool:
    """Return whether a type holds a tuple with fields, such as `dict[str, tuple[str, int]]`."""
    if not isinstance(node.value, ast.Name):
        return False
    arguments = _type_arguments(node)
    if any(_has_fields(argument) for argument in arguments):
        return True
    return _has_fields(node) and any(_is_tuple(argument) for argument in arguments)


def _has_fields(node: ast.expr) -> bool:
    """Return whether a type is a tuple whose positions have meanings of their own."""
    if not isinstance(node, ast.Subscript) or not _is_tuple(node):
        return False
    arguments = _type_arguments(node)
    last = arguments[-1]
    has_any_length = isinstance(last, ast.Constant) and last.value is Ellipsis
    return len(arguments) > 1 and not has_any_length


def _is_tuple(node: ast.expr) -> bool:
    return (
        isinstance(node, ast.Subscript)
        and isinstance(node.value, ast.Name)
        and node.value.id in {"tuple", "Tuple"}
    )


def _type_arguments(node: ast.Subscript) -> list[ast.expr]:
    if isinstance(node.slice, ast.Tuple):
        return node.slice.elts
    return [node.slice]


def files_with_most(places: Iterable[Place]) -> list[tuple[int, str]]:
    """Add the weights of places up for each file and return the sums, the highest first."""
    sums: dict[str, int] = {}
    for place in places:
        sums[place.file] = sums.get(place.file, 0) + place.weight
    return sorted(((count, file) for file, count in sums.items()), reverse=True)
