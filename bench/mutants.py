"""Counts which small changes of the code the tests notice: `python -m bench.mutants MODULE… --
TEST…`.

Paths are relative to the repository. Each mutant changes one comparison, operator, condition,
number or truth value of a module in a copy of the package; it is killed if the tests fail or take
far longer than without it. Prints the share that is killed, module by module, and the survivors by
line. Takes about a second a mutant and core.
"""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

ROOT = Path(__file__).resolve().parent.parent
_USAGE = 2
_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitOr,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}


@dataclass(frozen=True, slots=True)
class Mutant:
    """A changed module."""

    module: str
    line: int
    change: str
    source: str


def mutants(module: str) -> Iterator[Mutant]:
    """Yield every mutant of a module."""
    source = (ROOT / module).read_text(encoding="utf-8")
    number = 0
    while True:
        tree = ast.parse(source)
        changer = _Changer(number)
        changed = changer.visit(tree)
        if not changer.change:
            return
        yield Mutant(
            module, changer.line, changer.change, ast.unparse(ast.fix_missing_locations(changed))
        )
        number += 1


class _Changer(ast.NodeTransformer):
    """Changes one element, by its number in the order of the tree."""

    def __init__(self, number: int) -> None:
        self.left = number
        self.line = 0
        self.change = ""

    def _now(self, node: ast.AST, change: str) -> bool:
        self.left -= 1
        if self.left == -1:
            self.line, self.change = getattr(node, "lineno", 0), change
            return True
        return False

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        """Invert one comparison."""
        self.generic_visit(node)
        for index, operator in enumerate(node.ops):
            opposite = _COMPARISONS[type(operator)]
            if self._now(node, f"{type(operator).__name__} -> {opposite.__name__}"):
                node.ops[index] = opposite()
        return node

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
        """Exchange `and` and `or`, and drop each operand."""
        self.generic_visit(node)
        if self._now(node, "and <-> or"):
            node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        for index in range(len(node.values)):
            if self._now(node, f"without part {index + 1}"):
                operands = node.values[:index] + node.values[index + 1 :]
                return operands[0] if len(operands) == 1 else ast.BoolOp(node.op, operands)
        return node

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        """Exchange an operator."""
        self.generic_visit(node)
        exchanged = _OPERATORS.get(type(node.op))
        if exchanged and self._now(node, f"{type(node.op).__name__} -> {exchanged.__name__}"):
            node.op = exchanged()
        return node

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:
        """Exchange the operator of `|=` and similar."""
        self.generic_visit(node)
        exchanged = _OPERATORS.get(type(node.op))
        if exchanged and self._now(node, f"{type(node.op).__name__}= -> {exchanged.__name__}="):
            node.op = exchanged()
        return node

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        """Drop `not`, `~` and `-`."""
        self.generic_visit(node)
        return node.operand if self._now(node, f"without {type(node.op).__name__}") else node

    def visit_If(self, node: ast.If) -> ast.AST:
        """Invert a condition."""
        self.generic_visit(node)
        if self._now(node, "if not"):
            node.test = ast.UnaryOp(ast.Not(), node.test)
        return node

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:
        """Invert a condition."""
        self.generic_visit(node)
        if self._now(node, "if not"):
            node.test = ast.UnaryOp(ast.Not(), node.test)
        return node

    def visit_comprehension(self, node: ast.comprehension) -> ast.AST:
        """Drop the conditions of a comprehension."""
        self.generic_visit(node)
        if node.ifs and self._now(node.target, "without if"):
            node.ifs = []
        return node

    def visit_Return(self, node: ast.Return) -> ast.AST:
        """Return nothing."""
        self.generic_visit(node)
        if node.value and ast.unparse(node.value) != "None" and self._now(node, "return None"):
            node.value = ast.Constant(None)
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """Exchange `any` and `all`, `min` and `max`."""
        self.generic_visit(node)
        counterpart = {"any": "all", "all": "any", "min": "max", "max": "min"}.get(
            getattr(node.func, "id", "")
        )
        if counterpart and self._now(node, f"{counterpart} instead"):
            node.func = ast.Name(counterpart, ast.Load())
        return node

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        """Change truth values and small numbers."""
        if isinstance(node.value, bool):
            if self._now(node, f"{not node.value}"):
                node.value = not node.value
        elif isinstance(node.value, int) and self._now(node, f"{node.value} -> {node.value + 1}"):
            node.value += 1
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        """Skip annotations, and the numbers of named constants, which are measurements or
        formats.
        """
        if node.value and not isinstance(node.value, ast.Constant):
            node.value = self.visit(node.value)
        return node

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        """Skip named constants."""
        is_named_constant = isinstance(node.targets[0], ast.Name) and node.targets[0].id.isupper()
        return (
            node
            if is_named_constant and isinstance(node.value, ast.Constant)
            else self.generic_visit(node)
        )

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        """Skip decorators and annotations, which Python or the type checker checks."""
        node.body = [self.visit(statement) for statement in node.body]
        node.args.kw_defaults = [
            default and self.visit(default) for default in node.args.kw_defaults
        ]
        node.args.defaults = [self.visit(default) for default in node.args.defaults]
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        """Skip decorators."""
        node.body = [self.visit(statement) for statement in node.body]
        return node


class Runner:
    """Runs the tests in copies of the repository, one per worker."""

    def __init__(self, folder: Path, tests: Sequence[str], workers: int) -> None:
        self.tests = tests
        self.free: SimpleQueue[Path] = SimpleQueue()
        for number in range(workers):
            copy = folder / str(number)
            for name in ("leastpriv", "tests"):
                shutil.copytree(
                    ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__")
                )
            shutil.copy(ROOT / "pyproject.toml", copy)
            self.free.put(copy)
        self.limit = 600.0

    def passes(self, mutant: Mutant | None) -> bool:
        """Run the tests on a mutant, or on the unchanged code."""
        copy = self.free.get()
        unchanged = (copy / mutant.module).read_text(encoding="utf-8") if mutant else ""
        if mutant:
            (copy / mutant.module).write_text(mutant.source, encoding="utf-8")
        try:
            command = [
                sys.executable,
                "-B",
                "-m",
                "pytest",
                "-q",
                "-x",
                "-p",
                "no:cacheprovider",
                *self.tests,
            ]
            environment = {**os.environ, "PYTHONPATH": str(copy)}
            completed = subprocess.run(
                command,
                cwd=copy,
                env=environment,
                capture_output=True,
                timeout=self.limit,
                check=False,
            )
            return completed.returncode == 0
        except subprocess.TimeoutExpired:
            return False
        finally:
            if mutant:
                (copy / mutant.module).write_text(unchanged, encoding="utf-8")
            self.free.put(copy)


def main(arguments: list[str]) -> int:
    """Print the figures and the survivors."""
    if "--" not in arguments:
        print("Name modules, --, and tests.", file=sys.stderr)
        return _USAGE
    modules, tests = arguments[: arguments.index("--")], arguments[arguments.index("--") + 1 :]
    workers = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(workers) as pool:
        runner = Runner(Path(folder), tests, workers)
        started = time.perf_counter()
        if not runner.passes(None):
            print("The tests fail on the code as it is.", file=sys.stderr)
            return 1
        runner.limit = 30 + 5 * (time.perf_counter() - started)
        for module in modules:
            all_mutants = list(mutants(module))
            alive = [
                mutant
                for mutant, passed in zip(
                    all_mutants, pool.map(runner.passes, all_mutants), strict=True
                )
                if passed
            ]
            killed = len(all_mutants) - len(alive)
            print(
                f"{module}: {killed} of {len(all_mutants)} killed,"
                f" {killed / max(len(all_mutants), 1):.1%}",
                flush=True,
            )
            for mutant in alive:
                print(f"  {mutant.line}: {mutant.change}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
