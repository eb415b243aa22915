"""The promises of README.md: its tables, examples, links and commands are those of the repository."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.fakes.scripts import load

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def parsed(text: str) -> Any:
    """Parse YAML."""
    return YAML(typ="safe", pure=True).load(text)


@pytest.fixture(scope="module")
def tables() -> ModuleType:
    """Load tools/readme_tables.py, which is no package's module."""
    return load("tools/readme_tables.py")


def test_the_tables_are_those_of_action_yml() -> None:
    done = subprocess.run([sys.executable, ROOT / "tools/readme_tables.py", "--check"], check=False)
    assert done.returncode == 0


def test_a_changed_description_makes_the_tables_stale(tables: ModuleType) -> None:
    action = parsed((ROOT / "action.yml").read_text(encoding="utf-8"))
    assert tables.with_tables(README, action) == README
    action["inputs"]["keep"]["description"] = "Changed | here."
    assert "| `keep` |  | Changed \\| here. |" in tables.with_tables(README, action)


def test_a_readme_without_its_markers_is_refused(tables: ModuleType) -> None:
    with pytest.raises(ValueError, match="markers of the inputs"):
        tables.with_tables("# Nothing", {"inputs": {}, "outputs": {}})


def test_what_is_not_built_stands_apart_from_the_table(tables: ModuleType) -> None:
    entries = {"a": {"description": "Works."}, "b": {"description": "Not built yet: later."}}
    above, below = tables.table(entries, "outputs").split("Not built yet")
    assert ("`a`" in above, "`b`" in above, "`b`" in below) == (True, False, True)


def test_where_all_is_built_no_empty_list_says_that_something_is_not(tables: ModuleType) -> None:
    assert "Not built" not in tables.table({"a": {"description": "Works."}}, "inputs")


def test_examples_set_only_inputs_that_work() -> None:
    action = parsed((ROOT / "action.yml").read_text(encoding="utf-8"))
    works = {name for name, entry in action["inputs"].items() if not entry["description"].startswith("Not built yet")}
    required = {name for name, entry in action["inputs"].items() if entry["required"]}
    workflows = [parsed(block) for block in re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)]
    steps = [step for workflow in workflows for job in workflow["jobs"].values() for step in job["steps"]]
    ours = [step for step in steps if step.get("uses", "").startswith("org/leastpriv-action@")]
    assert ours
    for step in ours:
        assert required <= set(step["with"]) <= works
    used = re.findall(r"outputs\.([a-z-]+)", README)
    assert used
    assert set(used) <= set(action["outputs"])


def test_the_command_of_the_quick_start_works_as_it_is_written(tmp_path: Path) -> None:
    found = re.search(r"^\.venv/bin/leastpriv (propose(?:.*\\\n)*.*)$", README, re.MULTILINE)
    assert found is not None
    arguments = shlex.split(found[1].replace("\\\n", " "))
    arguments[arguments.index("--output-dir") + 1] = str(tmp_path / "out")
    program = Path(sys.executable).with_name("leastpriv")
    done = subprocess.run([program, *arguments], cwd=ROOT, check=False, capture_output=True, text=True)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {"policy.json", "proposal.json", "patch.json", "pull-request.md"}


def test_every_linked_or_named_file_of_the_repository_exists() -> None:
    named = re.findall(r"\]\((?!https?:)([^)#]+)\)|\b(examples/[a-z-]+)`", README)
    paths = {first or second for first, second in named}
    assert len(paths) >= 4
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_every_make_target_that_documents_name_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    documents = README + (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", documents, re.MULTILINE))
    assert {"demo", "test", "check"} <= named <= targets
