"""Prints the reports of a run for damaged files, records and a wrong clock.

    python -m bench.faults [--write]

A table in Markdown: the exit code, the remaining removals and narrowings, and each gap literally;
`--write` rewrites the cases of the tests.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from tests.evidence.test_damaged_files import arranged, told_of
from tests.fakes.command import leastpriv
from tests.fakes.damage import DAMAGES

CASES = Path(__file__).resolve().parents[1] / "tests" / "cases_sources" / "damage.json"


def main(arguments: list[str]) -> None:
    """One row per damage."""
    print("| damage | exit | removes | what the run could not see |\n| --- | --: | --- | --- |")
    cases = []
    for name in DAMAGES:
        with tempfile.TemporaryDirectory() as folder:
            code = leastpriv(*arranged(Path(folder), name)).code
            told, removes = told_of(Path(folder))
        cases.append({"damage": name, "told": told, "removes": sorted(removes)})
        said = "<br>".join(each.replace("|", "\\|") for each in told) or "–"
        print(
            f"| {name} | {code} | {', '.join(sorted(removes)) or 'nothing'} | {said} |", flush=True
        )
    if "--write" in arguments:
        rows = ",\n".join(f"  {json.dumps(case)}" for case in cases)
        CASES.write_text(f"[\n{rows}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
