"""Measures first drafts from templates and plans on recorded histories: what their first deploy is denied.

    python -m bench.first_draft HISTORIES DECLARED

HISTORIES is a folder of `bench.future.record`: `TOOL-SHAPE/checks.jsonl` has the authorization checks of each run.
DECLARED holds what the same apps declare before they are deployed: `cdk-SHAPE/` (a cloud assembly) and
`terraform-SHAPE.json` (a plan). A draft is made as a user makes it; no run is its evidence.
"""

from __future__ import annotations

import io
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from bench.future.truth import authorization_checks
from leastpriv.cli.main import main as leastpriv
from leastpriv.policy.document import Document, parse
from leastpriv.policy.evaluate import Request, evaluate

ROLE = "arn:aws:iam::111122223333:role/ci-deploy"
Pair = tuple[str, str]


def main(arguments: list[str]) -> None:
    """Prints a line for each history: pairs and actions of the first run, granted actions, denied pairs."""
    histories, declared = map(Path, arguments)
    for history in sorted(path.parent for path in histories.glob("*/checks.jsonl")):
        tool, _, shape = history.name.partition("-")
        source = declared / (f"cdk-{shape}" if tool == "cdk" else f"terraform-{shape}.json")
        if not source.exists():
            continue
        documents = draft("--templates" if tool == "cdk" else "--plans", source)
        used = {(each["action"], each["resource"]): each for each in authorization_checks(history) if each["run"] == 0}
        denied = [pair for pair, asked in used.items() if not is_allowed(pair, asked.get("context") or {}, documents)]
        actions = {action for action, _ in used}
        granted = {name for document in documents for each in document.statements for name in each.actions}
        ratio = len(granted) / len(actions)
        print(f"{history.name}: {len(used)} pairs, {len(granted)} granted / {len(actions)} used = {ratio:.2f}", end="")
        print(f", denied {len(denied)}: {', '.join(' on '.join(pair) for pair in denied[:5])}")


def draft(option: str, source: Path) -> list[Document]:
    """Returns the policies of a first draft."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        names = ("--role-arn", ROLE, "--policy-file", f"{folder}/ci.json", "--aws-regions", "us-east-1")
        arguments = ["propose", *names, option, str(source), "--output-dir", str(out)]
        code = leastpriv(arguments, io.StringIO(), sys.stderr, lambda: datetime.now(UTC))
        if code:
            raise SystemExit(code)
        return [parse(path.read_bytes(), path.name) for path in _files(out)]


def _files(out: Path) -> Iterator[Path]:
    split = sorted(out.glob("ci*.json"))
    yield from split or [out / "policy.json"]


def is_allowed(pair: Pair, context: dict[str, object], documents: list[Document]) -> bool:
    """Whether the policies allow a check of the lab, in the context that it had."""
    values = {
        key: (value,) if isinstance(value, str) else tuple(map(str, value if isinstance(value, list) else [value]))
        for key, value in context.items()
        if value is not None
    }
    return evaluate(Request(*pair, values), documents).effect in ("allowed", "unknown")


if __name__ == "__main__":
    main(sys.argv[1:])
