"""Prints the reports of a run when a source of evidence fails.

    python -m bench.source_faults [PART_OF_A_NAME …]

Runs each case of `tests/cases_sources/faults.json` against servers on this machine and prints a
table in Markdown: the exit code, whether grants were still removed (a folder with the same records
is read too), and the message.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from tests.fakes.aws.stage import Stage

CASES = Path(__file__).resolve().parents[1] / "tests" / "cases_sources" / "faults.json"


def main(parts: list[str]) -> None:
    """One row per case."""
    print("| source | condition | exit | removes | what the run could not see, or its error |")
    print("| --- | --- | --: | --- | --- |")
    with tempfile.TemporaryDirectory() as folder, Stage(Path(folder)) as stage:
        for case in json.loads(CASES.read_text(encoding="utf-8")):
            name = f"{case['source']} {case['condition']}"
            if parts and not any(part in name for part in parts):
                continue
            found = stage.run(case)
            said = "<br>".join(each.replace("|", "\\|") for each in found.sentences) or "–"
            removes = "yes" if found.removed else "no"
            print(
                f"| {case['source']} | {case['condition']} | {found.result.code} | {removes} |"
                f" {said} |",
                flush=True,
            )


if __name__ == "__main__":
    main(sys.argv[1:])
