"""Compare this tree's output for every JSON case and the demo with that of another revision.

    python tools/goldens.py --base REVISION [--all] [--words FILE] [--cache FOLDER]
    python tools/goldens.py --write

`--write` renews `tests/golden/demo`, which a test compares with the demo. Exit code: 0 no
difference, 1 differences.
"""

from __future__ import annotations

import argparse
import difflib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FROZEN = ROOT / "tests" / "golden"
SHOWN_FILES = 3
SHOWN_LINES = 40

Goldens = Mapping[str, str]
"""Content by path."""


def main(arguments: Sequence[str]) -> int:
    """Write or compare; return the exit code."""
    parser = argparse.ArgumentParser(
        description="Compare the outputs of cases and demo with a revision's."
    )
    parser.add_argument(
        "--base", default="", help="revision to compare with; it has tests/goldens.py"
    )
    parser.add_argument("--all", action="store_true", help="show every difference whole")
    parser.add_argument(
        "--words",
        type=Path,
        help="file of lines `old<TAB>new`: words that the base's text exchanges",
    )
    parser.add_argument(
        "--cache", type=Path, default=ROOT / ".goldens", help="outputs by commit: %(default)s"
    )
    parser.add_argument("--write", action="store_true", help="renew tests/golden/demo")
    options = parser.parse_args(arguments)
    if options.write:
        run(ROOT, FROZEN, "demo")
        print(f"Wrote {FROZEN / 'demo'}")
    if not options.base:
        return 0 if options.write else parser.error("name a revision with --base, or --write")
    before = read(base_goldens(options.base, options.cache))
    with tempfile.TemporaryDirectory() as folder:
        run(ROOT, Path(folder))
        after = read(Path(folder))
    words = options.words.read_text(encoding="utf-8").splitlines() if options.words else []
    print("\n".join(summary(exchanged(before, words), after, show_all=options.all)))
    return int(exchanged(before, words) != after)


def base_goldens(revision: str, cache: Path) -> Path:
    """Return the folder of a revision's goldens; write it with that revision's code and tests if it
    is missing.
    """
    commit = git("rev-parse", "--verify", f"{revision}^{{commit}}")
    target = cache / commit
    if target.is_dir():
        return target
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        tree, made = Path(folder) / "tree", Path(folder) / "goldens"
        git("worktree", "add", "--quiet", "--detach", str(tree), commit)
        try:
            if not (tree / "tests" / "goldens.py").exists():
                sys.exit(f"{revision} has no tests/goldens.py: name a later revision.")
            run(tree, made)
        finally:
            git("worktree", "remove", "--force", str(tree))
        made.replace(target)
    return target


def run(tree: Path, target: Path, *kinds: str) -> None:
    """Write the goldens of a tree with its own code, whatever is installed."""
    command = [sys.executable, "-m", "tests.goldens", str(target.absolute()), *kinds]
    subprocess.run(command, cwd=tree, env={**os.environ, "PYTHONPATH": str(tree)}, check=True)


def git(*arguments: str) -> str:
    """Run git in this repository and return its output."""
    done = subprocess.run(
        ["git", *arguments], cwd=ROOT, check=True, stdout=subprocess.PIPE, encoding="utf-8"
    )
    return done.stdout.strip()


def read(folder: Path) -> Goldens:
    """Read all files below a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes().decode() for path in files}


def exchanged(goldens: Goldens, words: Sequence[str]) -> Goldens:
    """Replace words in all goldens: each of `words` is `old<TAB>new`."""
    pairs = [line.split("\t") for line in words if line]
    changed = dict(goldens)
    for old, new in pairs:
        changed = {path: text.replace(old, new) for path, text in changed.items()}
    return changed


def summary(before: Goldens, after: Goldens, show_all: bool = False) -> Iterator[str]:
    """Count the equal files, list the different ones, and show the first differences, or all of
    them.
    """
    paths = sorted(before.keys() | after.keys())
    different = [path for path in paths if before.get(path) != after.get(path)]
    yield f"{len(paths) - len(different)} equal, {len(different)} different"
    for path in different:
        yield f"  {_kind(path, before, after):<8}{path}"
    for path in different if show_all else different[:SHOWN_FILES]:
        yield ""
        yield from _difference(path, before, after, show_all)


def _kind(path: str, before: Goldens, after: Goldens) -> str:
    if path not in before:
        return "new"
    if path not in after:
        return "missing"
    return "changed"


def _difference(path: str, before: Goldens, after: Goldens, show_all: bool) -> Iterator[str]:
    lines = list(
        difflib.unified_diff(
            before.get(path, "").splitlines(),
            after.get(path, "").splitlines(),
            fromfile=f"base/{path}",
            tofile=f"tree/{path}",
            n=1,
            lineterm="",
        )
    )
    if show_all or len(lines) <= SHOWN_LINES:
        yield from lines
        return
    yield from lines[:SHOWN_LINES]
    yield f"… {len(lines) - SHOWN_LINES} more lines (--all shows them)"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
