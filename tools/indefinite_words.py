"""List the indefinite words in docstrings, comments and texts for users.

    python tools/indefinite_words.py FILE_OR_FOLDER ...

Exit code: 0 none found, 1 some found.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import chain
from pathlib import Path

WORD = re.compile(r"[A-Za-z][A-Za-z'’-]*")
SENTENCE = 3
"""A string of so many words is text for a user."""

Text = tuple[int, str]
"""A text and the line it begins on."""


def main(arguments: Sequence[str]) -> int:
    """Print `path:line: word` for each indefinite word; return the exit code."""
    given = [Path(argument) for argument in arguments]
    paths = [
        path for each in given for path in (sorted(each.rglob("*.py")) if each.is_dir() else [each])
    ]
    lines = [f"{path}:{line}: {word}" for path in paths for line, word in found_in(path)]
    print("\n".join(lines), end="\n" if lines else "")
    return int(bool(lines))


def found_in(path: Path) -> list[Text]:
    """List the indefinite words of a file in order; of a file that is not Python, those of all its
    text.
    """
    source = path.read_text(encoding="utf-8")
    texts: Iterator[Text] = iter([(1, source)])
    if path.suffix == ".py":
        tree = ast.parse(source)
        texts = chain(docstrings(tree), comments(source), sentences(tree))
    return sorted(
        (line + text.count("\n", 0, hit.start()), " ".join(hit[0].lower().split()))
        for line, text in texts
        for hit in pattern().finditer(text)
    )


@cache
def pattern() -> re.Pattern[str]:
    """Return the pattern of the words that `indefinite_words.txt` lists, one or several a line."""
    lines = Path(__file__).with_suffix(".txt").read_text(encoding="utf-8").splitlines()
    alternatives = "|".join(line.replace(" ", r"\s+") for line in lines)
    return re.compile(rf"\b(?:{alternatives})\b", re.IGNORECASE)


def docstrings(tree: ast.Module) -> Iterator[Text]:
    """Yield the docstrings of a file, those after attributes included."""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            yield node.lineno, node.value.value


def comments(source: str) -> Iterator[Text]:
    """Yield the comments of a file."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def sentences(tree: ast.Module) -> Iterator[Text]:
    """Yield the other strings of a file that are long enough to be text for a user."""
    inside = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if (
            id(node) in inside
            or not isinstance(node, ast.Constant)
            or not isinstance(node.value, str)
        ):
            continue
        if len(WORD.findall(node.value)) >= SENTENCE:
            yield node.lineno, node.value


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
