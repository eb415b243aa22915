"""Tables, examples, links and commands of README.md and of the generated pages are those of the
repository.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from ruamel.yaml import YAML

from leastpriv.config.inputs import inputs
from tests.fakes.scripts import load

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def parsed(text: str) -> Any:
    """Parse YAML."""
    return YAML(typ="safe", pure=True).load(text)


@pytest.fixture(scope="module")
def tables() -> ModuleType:
    """Load tools/readme_tables.py, which is no package's module."""
    return load("tools/readme_tables.py")


def test_the_tables_are_those_of_action_yml() -> None:
    completed = subprocess.run(
        [sys.executable, ROOT / "tools/readme_tables.py", "--check"], check=False
    )
    assert completed.returncode == 0


def test_a_changed_description_of_an_output_makes_the_page_stale(tables: ModuleType) -> None:
    action = parsed((ROOT / "action.yml").read_text(encoding="utf-8"))
    assert tables.inputs_page(action) == (ROOT / "docs/inputs.md").read_text(encoding="utf-8")
    action["outputs"]["policy"]["description"] = "Changed | here."
    assert "- `policy`: Changed | here." in tables.inputs_page(action)


def test_a_changed_input_of_action_yml_is_written_again(tables: ModuleType) -> None:
    text = (ROOT / "action.yml").read_text(encoding="utf-8")
    assert tables.with_inputs(text) == text
    assert tables.with_inputs(text.replace('default: "35"', 'default: "5"')) == text


def test_every_input_has_a_group_and_an_example() -> None:
    assert [
        action_input.name
        for action_input in inputs()
        if not (action_input.group and action_input.example)
    ] == []


def test_a_page_without_the_markers_of_its_table_is_an_error(tables: ModuleType) -> None:
    with pytest.raises(ValueError, match="markers exactly once"):
        tables.with_remedies("# Nothing")


def test_examples_set_only_existing_inputs() -> None:
    action = parsed((ROOT / "action.yml").read_text(encoding="utf-8"))
    required = {name for name, entry in action["inputs"].items() if entry["required"]}
    workflows = [parsed(block) for block in re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)]
    steps = [
        step
        for workflow in workflows
        for job in workflow.get("jobs", {}).values()
        for step in job["steps"]
    ]
    action_steps = [
        step for step in steps if step.get("uses", "").startswith("org/leastpriv-action@")
    ]
    assert action_steps
    for step in action_steps:
        assert required <= set(step["with"]) <= set(action["inputs"])
    used_names = set(
        re.findall(
            r"^\| `([a-z-]+)`(?:, `([a-z-]+)`)? \|", README.partition("## Inputs")[2], re.MULTILINE
        )[0]
    )
    assert used_names - {""} <= set(action["inputs"])


def test_the_smallest_workflow_has_at_most_fifteen_lines_and_the_readme_1500_words() -> None:
    workflow = re.findall(r"```yaml\n(on:.*?)```", README, re.DOTALL)[0]
    assert len(workflow.splitlines()) <= 15
    assert len(README.split()) <= 1500


def test_the_command_of_the_quick_start_works_as_written(tmp_path: Path) -> None:
    quick_start = re.search(r"^\.venv/bin/leastpriv (propose(?:.*\\\n)*.*)$", README, re.MULTILINE)
    assert quick_start is not None
    arguments = shlex.split(quick_start[1].replace("\\\n", " "))
    arguments = [argument.replace("out/", f"{tmp_path}/out/") for argument in arguments]
    arguments[arguments.index("--output-dir") + 1] = str(tmp_path / "out")
    program = Path(sys.executable).with_name("leastpriv")
    completed = subprocess.run(
        [program, *arguments], cwd=ROOT, check=False, capture_output=True, text=True
    )
    assert (completed.returncode, "Traceback" in completed.stderr) == (0, False), completed.stderr
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"policy.json", "proposal.json", "patch.json", "pull-request.md", "page.html"}


def test_every_linked_or_named_file_of_the_repository_exists() -> None:
    paths_of_page = re.findall(r"\]\((?!https?:)([^)#]+)\)|\b(examples/[a-z-]+)`", README)
    paths = {first or second for first, second in paths_of_page}
    assert len(paths) >= 4
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_every_make_target_that_documents_name_exists() -> None:
    targets = set(
        re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    )
    documents = README + (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section_names = set(re.findall(r"(?:^|`)make ([a-z-]+)", documents, re.MULTILINE))
    assert {"demo", "test", "check"} <= section_names <= targets


def test_a_newcomer_s_questions_are_answered_in_their_order() -> None:
    expected_sections = """Quick start; What it reads, and what it costs; Three recipes; Inputs; The pull request;
        Permissions of the job; When something fails; From a shell; More"""
    expected_text = [" ".join(word.split()) for word in expected_sections.split(";")]
    headings = re.findall(r"^## (.*)$", README, re.MULTILINE)
    assert [heading for heading in headings if heading in expected_text] == expected_text


def test_the_pictures_exist_are_small_and_have_a_description() -> None:
    pictures = re.findall(r"!\[([^\]]*)\]\(([^)]*)\)", README)
    assert [path for _, path in pictures] == ["docs/images/pull-request.png"]
    for text, path in pictures:
        assert len(text) > 40
        image = (ROOT / path).read_bytes()
        assert image.startswith(b"\x89PNG")
        assert len(image) < 500_000
        assert b"acTL" in image


@pytest.mark.slow
@pytest.mark.slow  # a newer catalogue of actions changes its figures
def test_the_pictures_show_what_the_action_writes() -> None:
    completed = subprocess.run(
        [sys.executable, ROOT / "tools/screenshots.py", "--check"], check=False
    )
    assert completed.returncode == 0, "make screenshots"


OF_OTHERS = (
    "Resource not accessible by integration",
    "Container action is only supported on Linux",
    "***",
    "docker",
    "GitHub protects the branch",
)
"""Messages of GitHub, the runner and credentials actions."""


def test_every_message_of_the_tables_of_remedies_exists() -> None:
    short = README.partition("## When something fails")[2].partition("## ")[0]
    table = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8")
    tables = short + table.partition("## The action's messages")[2]
    messages = [
        re.findall(r"`([^`]+)`", row)
        for row in tables.splitlines()
        if row.startswith(("| `", "- `"))
    ]
    product_text = "".join(
        path.read_text(encoding="utf-8") for path in (ROOT / "leastpriv").rglob("*.py")
    )
    plain = re.sub(r"""["']\s*\n\s*f?["']""", "", product_text)
    parts = [part.strip(" .:") for (message, *_) in messages for part in message.split("…")]
    assert len(parts) > 12
    parts = [
        re.sub(r"( the input config| trails| cloudtrail:LookupEvents)$", "", part) for part in parts
    ]
    assert [part for part in parts if part and part not in plain and part not in OF_OTHERS] == []


def test_the_table_of_packages_lists_the_layers_in_their_order() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"][
        "importlinter"
    ]["contracts"]
    layers = [
        sorted(name.strip().removeprefix("leastpriv.") for name in layer.split("|"))
        for layer in contracts[0]["layers"]
    ]
    table = (
        (ROOT / "CONTRIBUTING.md")
        .read_text(encoding="utf-8")
        .partition("| Package |")[2]
        .partition("\n\n")[0]
    )
    rows = [sorted(re.findall(r"`(\w+)`", row.split("|")[1])) for row in table.splitlines()[2:]]
    assert rows == layers


def test_github_accepts_the_issue_forms() -> None:
    program = Path(sys.executable).with_name("check-jsonschema")
    folder = ROOT / ".github/ISSUE_TEMPLATE"
    forms = sorted(path for path in folder.glob("*.yml") if path.name != "config.yml")
    assert len(forms) == 3
    for schema, paths in (("issue-forms", forms), ("issue-config", [folder / "config.yml"])):
        command = [program, "--builtin-schema", f"vendor.github-{schema}", *paths]
        completed = subprocess.run(command, check=False, capture_output=True, text=True)
        assert completed.returncode == 0, completed.stdout
