"""Measure how simple `leastpriv/` is, and fail if a measure is worse than its committed ceiling.

    python tools/metrics.py [--record] [--details] [--lower]

`tools/metrics_ceiling.toml` holds ceiling and goal of each measure; one without a ceiling is only
reported. `--record` measures the path of one record through the action instead, `--details` lists
the counted items, `--lower` lowers the ceilings to the measured values and never raises one. Exit
code: 0 no measure is worse than its ceiling, 1 otherwise.
"""

from __future__ import annotations

import argparse
import sys
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

from import_graph import by_package, circles, imports, longest_path  # noqa: E402 - after sys.path
from indefinite_words import INDEFINITE, WORD, comments, docstrings, sentences  # noqa: E402
from package_files import (  # noqa: E402
    Module,
    classes,
    field_count,
    functions,
    length,
    parameters,
    read,
    used_once,
    value_classes,
)

PACKAGE = "leastpriv"
CEILINGS = "tools/metrics_ceiling.toml"
HIGHER_IS_BETTER = {"lines per function"}
RECORD = "one record: "
SLACK = 1.02
"""A version of Python or of the catalogue changes the calls of one record by so much."""
SMALL_FILE, LARGE_FILE, LONG_FUNCTION = 40, 400, 60

Limits = Mapping[str, Mapping[str, float]]
"""Ceiling and goal by the name of a measure."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A measure, and the items that it counts."""

    name: str
    value: float
    details: Sequence[str] = ()

    def is_worse(self, limit: float) -> bool:
        """Whether the measure is on the wrong side of a limit."""
        if self.name in HIGHER_IS_BETTER:
            return self.value < limit
        return self.value > limit * (SLACK if self.name.startswith(RECORD) else 1)


def main(arguments: Sequence[str], root: Path = ROOT) -> int:
    """Print the table; return the exit code."""
    parser = argparse.ArgumentParser(description="Measure how simple leastpriv/ is.")
    parser.add_argument(
        "--record", action="store_true", help="measure one record's way through the action instead"
    )
    parser.add_argument("--details", action="store_true", help="list what each measure counts")
    parser.add_argument(
        "--lower", action="store_true", help="lower the ceilings to what is measured"
    )
    options = parser.parse_args(arguments)
    metrics = record_metrics(root) if options.record else package_metrics(root)
    path = root / CEILINGS
    text = path.read_text(encoding="utf-8")
    limits: Limits = tomllib.loads(text)
    print("\n".join(table(metrics, limits, options.details)))
    failures = [
        f"Worse than its ceiling: {each.name}"
        for each in metrics
        if each.is_worse(ceiling(each, limits))
    ]
    unknown = {name for name in limits if name.startswith(RECORD) == options.record} - {
        each.name for each in metrics
    }
    failures += [f"No measure has this name: {name}" for name in sorted(unknown)]
    if failures:
        print("\n".join(["", CEILINGS, *failures]))
    if options.lower:
        path.write_text(lowered(text, metrics, limits), encoding="utf-8")
    return int(bool(failures))


def ceiling(metric: Metric, limits: Limits) -> float:
    """Return the ceiling of a measure, or its value where it has none."""
    return limits.get(metric.name, {}).get("ceiling", metric.value)


def table(metrics: Sequence[Metric], limits: Limits, details: bool) -> Iterator[str]:
    """Write a row for each measure: its value, its ceiling and its goal."""
    yield f"{'measure':<52}{'value':>9}{'ceiling':>9}{'goal':>9}"
    for metric in metrics:
        limit = limits.get(metric.name, {})
        shown = (f"{limit[name]:,}" if name in limit else "–" for name in ("ceiling", "goal"))
        yield f"{metric.name:<52}{metric.value:>9,}" + "".join(f"{each:>9}" for each in shown)
        yield from (f"    {line}" for line in metric.details if details)


def lowered(text: str, metrics: Sequence[Metric], limits: Limits) -> str:
    """Lower the ceilings in the text of their file to the measured values; lower ones remain."""
    for metric in metrics:
        old = ceiling(metric, limits)
        if metric.value < old or (metric.name in HIGHER_IS_BETTER and metric.value > old):
            begin = f'"{metric.name}" = {{ ceiling = '
            text = text.replace(f"{begin}{old}", f"{begin}{metric.value}")
    return text


def record_metrics(root: Path) -> Sequence[Metric]:
    """Measure the path of one record through the action."""
    from one_record import trace

    return [Metric(f"{RECORD}{name}", count) for name, count in trace(root / PACKAGE).items()]


def package_metrics(root: Path) -> Sequence[Metric]:
    """Measure the package, its import contract, and the words of its documents."""
    modules = [read(path, root / PACKAGE) for path in sorted((root / PACKAGE).rglob("*.py"))]
    return [*sizes(modules), *structure(modules, root), *names(modules), *words(modules, root)]


def sizes(modules: Sequence[Module]) -> Iterator[Metric]:
    """Measure lines, functions, parameters and value classes."""
    lines = sum(module.lines for module in modules)
    all_functions = [(module, each) for module in modules for each in functions(module)]
    once = [each for module in modules for each in used_once(module)]
    records = [(module, each) for module in modules for each in value_classes(module)]
    long = (
        f"{module.name}.{each.name}"
        for module, each in all_functions
        if length(each) > LONG_FUNCTION
    )
    files = {module.name: module.lines for module in modules if not module.is_init}
    yield Metric("product lines", lines)
    yield Metric("files", len(modules))
    yield Metric("lines per function", per(1, lines, len(all_functions)))
    yield Metric(
        "private functions used once, % of functions", per(100, len(once), len(all_functions))
    )
    yield Metric("lines of private functions used once", sum(map(length, once)))
    yield Metric("value classes per 1,000 lines", per(1000, len(records), lines))
    for kind, is_kind in (("a function", str.__ne__), ("an __init__", str.__eq__)):
        given = (
            (f"{m.name}.{f.name}", parameters(f))
            for m, f in all_functions
            if is_kind(f.name, "__init__")
        )
        yield highest(f"longest parameter list of {kind}", given)
    yield highest(
        "most fields of a value class",
        ((f"{m.name}.{each.name}", field_count(each)) for m, each in records),
    )
    yield listed("functions over 60 lines", long)
    yield highest("lines of the largest file", files.items())
    yield listed(
        "files over 400 lines", (name for name, count in files.items() if count > LARGE_FILE)
    )
    yield listed(
        "files under 40 lines", (name for name, count in files.items() if count < SMALL_FILE)
    )


def structure(modules: Sequence[Module], root: Path) -> Iterator[Metric]:
    """Measure the import contract, and the graph of all imports, those in functions and for type
    checking included.
    """
    settings = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    files = imports({module.path: module.tree for module in modules}, root / PACKAGE)
    packages = by_package(files, {module.name for module in modules if module.is_init})
    layers = sum(
        len(each.get("layers", ())) for each in settings["tool"]["importlinter"]["contracts"]
    )
    yield listed(
        ".py files at the top of the package",
        (module.name for module in modules if module.name.count(".") == 1 and not module.is_init),
    )
    yield Metric("layers of the import contract", layers)
    yield listed("depth of the import graph of packages", longest_path(packages))
    yield Metric("imports among packages", sum(map(len, packages.values())))
    yield listed("import circles between files", map(" ".join, circles(files)))


def names(modules: Sequence[Module]) -> Iterator[Metric]:
    """Measure names that are used twice."""
    files = ((module.path.stem, module.name) for module in modules if not module.is_init)
    public = (
        (each.name, module.name)
        for module in modules
        for each in classes(module)
        if each.name[0] != "_"
    )
    yield listed("module names used twice or more", repeated(files))
    yield listed("public class names defined twice or more", repeated(public))


def repeated(named: Iterable[tuple[str, str]]) -> Iterator[str]:
    """List the names that occur twice or more, with their modules."""
    places: dict[str, list[str]] = defaultdict(list)
    for name, module in named:
        places[name].append(module)
    return (f"{name}: {' '.join(found)}" for name, found in places.items() if len(found) > 1)


def words(modules: Sequence[Module], root: Path) -> Iterator[Metric]:
    """Measure the indefinite words of docstrings, comments, texts for users, and documents."""
    pages = [root / "README.md", root / "CONTRIBUTING.md", *sorted((root / "docs").rglob("*.md"))]
    documents = [
        (str(path.relative_to(root)), path.read_text(encoding="utf-8"))
        for path in pages
        if path.exists()
    ]
    yield indefinite(
        "docstring words", ((m.name, text) for m in modules for _, text in docstrings(m.tree))
    )
    yield indefinite(
        "comment words", ((m.name, text) for m in modules for _, text in comments(m.source))
    )
    yield indefinite(
        "words for users", ((m.name, text) for m in modules for _, text in sentences(m.tree))
    )
    yield indefinite("words of documents", documents)


def indefinite(name: str, texts: Iterable[tuple[str, str]]) -> Metric:
    """Measure how many of 1,000 words are indefinite, and how many each file has."""
    total, found = 0, Counter[str]()
    for file, text in texts:
        total += len(WORD.findall(text))
        found[file] += len(INDEFINITE.findall(text))
    details = [f"{count} {file}" for file, count in found.most_common() if count]
    return Metric(f"indefinite words per 1,000 {name}", per(1000, found.total(), total), details)


def per(unit: int, count: int, total: int) -> float:
    """Divide by a total in a unit, to one decimal."""
    return round(unit * count / max(total, 1), 1)


def listed(name: str, items: Iterable[str]) -> Metric:
    """Count items and list them."""
    details = list(items)
    return Metric(name, len(details), details)


def highest(name: str, counts: Iterable[tuple[str, int]]) -> Metric:
    """Measure the highest count and list the ten highest."""
    ordered = sorted(counts, key=lambda item: (-item[1], item[0]))[:10]
    return Metric(
        name, ordered[0][1] if ordered else 0, [f"{count} {item}" for item, count in ordered]
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
