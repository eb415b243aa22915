"""Writes the product's output for every JSON case and the demo, to compare two revisions byte by
byte.

    python -m tests.goldens FOLDER [demo|cases|cases_chain|cases_review ...]

`tools/goldens.py` runs it in two revisions and compares the folders.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import re
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from leastpriv import __version__
from leastpriv.action.step import action_main
from leastpriv.permissions import catalog
from leastpriv.pipeline.artifacts import write_files
from leastpriv.report.review import review_body, review_title
from tests import test_cases, test_chain_cases, test_review_cases
from tests.fakes import scripts

DEMO_NOW = datetime(2026, 11, 24, tzinfo=UTC)
"""The demo's trail ends two days earlier."""
Outputs = Mapping[str, str]
"""Content by the file name of its golden."""


def demo(folder: Path) -> Outputs:
    """Run the action on the bundled example, at a fixed time, with the SARIF file and the page."""
    tool = scripts.load("tools/demo.py")
    stage = tool.Stage(folder / "stage")
    tool.set_up(stage)
    reports = {"INPUT_SARIF-FILE": "out/leastpriv.sarif", "INPUT_PAGE-FILE": "out/page.html"}
    log = io.StringIO()
    with contextlib.chdir(stage.workspace):
        code = action_main({**tool.environment(stage), **reports}, log, log, lambda: DEMO_NOW)
    assert code == 0, log.getvalue()
    made = [stage.results / "proposal.json", stage.results / "pull-request.md"]
    made += [stage.workspace / "out/leastpriv.sarif", stage.workspace / "out/page.html"]
    return {path.name: path.read_bytes().decode() for path in made}


def proposal_case(path: Path, folder: Path) -> Outputs:
    """Run a case of `tests/cases` and write the files of its proposal."""
    write_files(
        test_cases.run_case(json.loads(path.read_text(encoding="utf-8")), folder).content,
        folder / "out",
    )
    return _files(folder / "out", path.stem)


def chain_case(path: Path, folder: Path) -> Outputs:
    """Run a case of `tests/cases_chain` by the command."""
    return _files(
        test_chain_cases.run_case(json.loads(path.read_text(encoding="utf-8")), folder), path.stem
    )


def review_case(path: Path, folder: Path) -> Outputs:
    """Run a case of `tests/cases_review` and write its comment."""
    subject = test_review_cases.run_case(json.loads(path.read_text(encoding="utf-8")), folder)
    return {f"{path.stem}/comment.md": f"# {review_title(subject)}\n\n{review_body(subject)}"}


def _files(folder: Path, name: str) -> Outputs:
    return {
        f"{name}/{path.relative_to(folder)}": path.read_bytes().decode()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


CASES: Mapping[str, Callable[[Path, Path], Outputs]] = {
    "cases": proposal_case,
    "cases_chain": chain_case,
    "cases_review": review_case,
}


def stable(text: str, folder: Path) -> str:
    """Replace what differs between runs: the temporary folder, and the versions of product and
    catalogue.
    """
    text = text.replace(str(folder), "FOLDER").replace(catalog.version(), "CATALOGUE")
    return re.sub(rf"(?<![\w.]){re.escape(__version__)}(?![\w.])", "VERSION", text)


def write(target: Path, kinds: list[str]) -> None:
    """Write the goldens of the demo and of the kinds of cases below `target`, one folder for each
    kind.
    """
    for kind in kinds:
        if kind not in CASES:
            _write_golden(target / kind, demo)
            continue
        for path in sorted((Path(__file__).parent / kind).glob("*.json")):
            _write_golden(target / kind, partial(_in_folder, CASES[kind], path.resolve()))


def _write_golden(target: Path, outputs: Callable[[Path], Outputs]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for file, text in outputs(Path(folder)).items():
            golden = target / file
            golden.parent.mkdir(parents=True, exist_ok=True)
            golden.write_bytes(stable(text, Path(folder)).encode())


def _in_folder(case: Callable[[Path, Path], Outputs], path: Path, folder: Path) -> Outputs:
    """Run a case by relative names: a digest of a text that named the folder would never recur."""
    with contextlib.chdir(folder):
        return case(path, Path())


def main(arguments: Sequence[str]) -> None:
    """Write the goldens that the command line names."""
    kinds = ["demo", *CASES]
    parser = argparse.ArgumentParser(
        prog="python -m tests.goldens",
        description="Write the product's output for every JSON case and the demo.",
    )
    parser.add_argument("folder", type=Path, help="where the outputs are written")
    parser.add_argument(
        "kinds", nargs="*", metavar="kind", help=f"{', '.join(kinds)}; without one, all"
    )
    options = parser.parse_args(arguments)
    for kind in options.kinds:
        if kind not in kinds:
            parser.error(f"{kind!r} is no kind of cases: name {', '.join(kinds)}")
    write(options.folder.resolve(), options.kinds or kinds)


if __name__ == "__main__":
    main(sys.argv[1:])
