"""Check that no import circle, no class name used twice and no indefinite word exists.

Import circles between files and public class names defined twice count in `leastpriv`, indefinite
words there and in `tools`. Exit code: 0 none exists, 1 some exist.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

from import_graph import circles, imports
from indefinite_words import found_in
from package_files import Module, public_classes, read_modules

PACKAGE = "leastpriv"
CODE_WITH_WORDS = ("leastpriv/**/*.py", "tools/**/*.py")


def main(root: Path = ROOT) -> int:
    """Print each violation on one line; return the exit code."""
    modules = read_modules(root / PACKAGE)
    violations = [
        *import_circles(modules, root / PACKAGE),
        *repeated_classes(modules),
        *indefinite_words(root),
    ]
    for violation in violations:
        print(violation)
    return int(bool(violations))


def import_circles(modules: Sequence[Module], package: Path) -> Iterator[str]:
    """Name the files that import each other, directly or not."""
    for circle in circles(imports(modules, package)):
        yield f"import circle: {' '.join(circle)}"


def repeated_classes(modules: Sequence[Module]) -> Iterator[str]:
    """Name the public classes that several files define."""
    modules_by_class: dict[str, list[str]] = defaultdict(list)
    for module in modules:
        for name in public_classes(module):
            modules_by_class[name].append(module.name)
    for name, defining in modules_by_class.items():
        if len(defining) > 1:
            yield f"class {name} is defined twice: {' '.join(defining)}"


def indefinite_words(root: Path) -> Iterator[str]:
    """Name the indefinite words of docstrings, comments and texts for users."""
    for pattern in CODE_WITH_WORDS:
        for path in sorted(root.glob(pattern)):
            for line, word in found_in(path):
                yield f"{path.relative_to(root)}:{line}: {word}"


if __name__ == "__main__":
    sys.exit(main())
