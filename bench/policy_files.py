"""Policies of a folder of JSON and YAML files: read, written back, and edited, each statement in
six ways.

    python -m bench.policy_files FOLDER

Prints how many came back byte for byte, and how many edits took more lines of the file than they
had to.
"""

from __future__ import annotations

import difflib
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from bench.measure import Stopwatch
from leastpriv.errors import LeastprivError
from leastpriv.policy.document import Document, Statement, parse
from leastpriv.policy.edit import (
    AppendActions,
    AppendStatement,
    DropStatement,
    Edit,
    ReplaceActions,
    apply_edits,
)
from leastpriv.policy.source import policy_pointers
from leastpriv.policy.syntax_tree import read_json, read_yaml

_ADDED = {"Sid": "Added", "Effect": "Allow", "Action": ["a:B"], "Resource": ["arn:aws:a:::b"]}


def edits(document: Document, statement: Statement) -> Iterator[tuple[Edit, int]]:
    """Edits, each with the maximal number of removed lines: its own, and the one that gets or loses
    a comma.
    """
    lines = (
        document.text.count("\n", 0, document.statement_nodes[statement.index].end)
        + 2
        - statement.line
    )
    actions = statement.actions
    node = document.statement_nodes[statement.index].get_any_case("Action")
    if actions and len(node.items) > 0:  # type: ignore[union-attr]
        yield AppendActions(statement.index, ("zz:New",)), 1
        yield AppendActions(statement.index, ("aa:New",)), 1
        # Names that sort next to the one they replace, so that a sorted list keeps its order.
        new = (f"{actions[0]}A", f"{actions[0]}B")
        yield (
            ReplaceActions(statement.index, frozenset({actions[0]}), ((actions[0], new),)),
            actions.count(actions[0]),
        )
        if len({*actions}) > 1:
            yield (
                ReplaceActions(statement.index, frozenset({actions[-1]})),
                1 + actions.count(actions[-1]),
            )
    if len(document.statements) > 1:
        yield DropStatement(statement.index), 1 + lines
    yield AppendStatement(_ADDED), 2


def gone(before: str, after: str) -> int:
    """Lines of the file that an edit removes or rewrites; blank ones are free."""
    return sum(
        line[0] == "-" and bool(line[1:].strip())
        for line in difflib.ndiff(before.split("\n"), after.split("\n"))
    )


def measure(path: Path, found: Counter[str]) -> None:
    """Count the results of one file."""
    raw = path.read_bytes()
    text = raw.decode()
    root = read_json(text, path.name) if path.suffix == ".json" else read_yaml(text, path.name)
    for pointer in policy_pointers(root):
        try:
            document = parse(raw, path.name, pointer)
        except LeastprivError as error:
            found["policies refused"] += 1
            print(f"refused: {error}")
            continue
        found["policies read"] += 1
        found["written back byte for byte"] += apply_edits(document, []).to_bytes() == raw
        for statement in document.statements:
            for edit, most in edits(document, statement):
                found["edits"] += 1
                found["edits of more lines than they take"] += (
                    gone(text, apply_edits(document, [edit]).raw.decode()) > most
                )


def main(folder: str) -> None:
    """Measure every file of a folder and below it."""
    found = Counter[str]()
    stopwatch = Stopwatch()
    for path in sorted(Path(folder).rglob("*")):
        if path.suffix in {".json", ".yaml", ".yml", ".template"}:
            try:
                measure(path, found)
                found["files"] += 1
            except (LeastprivError, UnicodeDecodeError):
                found["files that are no JSON or YAML"] += 1
    for what, count in found.items():
        print(f"{count:6,} {what}")
    print(f"{stopwatch.elapsed:6.1f} s")


if __name__ == "__main__":
    main(sys.argv[1])
