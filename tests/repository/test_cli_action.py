"""The action without Docker has the contract of action.yml, and installs only what the lock names."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.action.test_isolation import STAND_IN
from tests.action.test_step import Job
from tests.fakes.scripts import load

ROOT = Path(__file__).parents[2]
COMPOSITE = ROOT / "cli/action.yml"


def parsed(text: str) -> Any:
    return YAML(typ="safe", pure=True).load(text)


@pytest.fixture(scope="module")
def composite() -> dict[str, Any]:
    return dict(parsed(COMPOSITE.read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    return load("tools/cli_action.py")


def test_inputs_and_outputs_are_those_of_the_container(composite: dict[str, Any]) -> None:
    container = parsed((ROOT / "action.yml").read_text(encoding="utf-8"))
    assert composite["inputs"] == container["inputs"]
    assert list(composite["outputs"]) == list(container["outputs"])
    for name, output in composite["outputs"].items():
        assert output == {
            **container["outputs"][name],
            "value": f"${{{{ steps.leastpriv.outputs.{name} }}}}",
        }


def test_a_changed_input_or_output_arrives_and_the_steps_remain(tool: ModuleType) -> None:
    container = (
        "name: A\n\ninputs:\n  # A remark.\n  one:\n    description: \"First: 'x'.\"\n"
        '    default: "0"\noutputs:\n  two:\n    description: Second.\nruns:\n  using: docker\n'
    )
    steps = "\nruns:\n  using: composite\n  steps: [] # by hand\n"
    text = tool.composite_action(container, "name: Old\n" + steps)
    assert text.endswith(steps)
    assert "# A remark." in text
    parsed_action = parsed(text)
    assert parsed_action["inputs"] == {"one": {"description": "First: 'x'.", "default": "0"}}
    assert parsed_action["outputs"]["two"]["value"] == "${{ steps.leastpriv.outputs.two }}"
    assert tool.composite_action(container, text) == text
    with pytest.raises(ValueError, match="no line `runs:`"):
        tool.composite_action(container, "name: Old\n")


def test_every_action_in_it_is_pinned_by_the_commit_of_the_workflows(
    composite: dict[str, Any],
) -> None:
    workflows = "".join(
        path.read_text(encoding="utf-8") for path in (ROOT / ".github/workflows").glob("*.yml")
    )
    uses = [step["uses"] for step in composite["runs"]["steps"] if "uses" in step]
    assert all(
        re.fullmatch(r"actions/[a-z/-]+@[0-9a-f]{40}", action_reference)
        for action_reference in uses
    )
    assert uses
    assert [
        action_reference
        for action_reference in uses
        if f"uses: {action_reference} " not in workflows
    ] == []


def test_no_shell_line_contains_an_expression(composite: dict[str, Any]) -> None:
    scripts = [step["run"] for step in composite["runs"]["steps"] if "run" in step]
    assert len(scripts) == 3
    assert [script for script in scripts if "${{" in script] == []


def test_wheels_are_compared_with_the_lock_and_come_from_no_cache(
    composite: dict[str, Any],
) -> None:
    """An archive of a cache may write to any path of the machine, before a hash is compared."""
    assert "actions/cache" not in COMPOSITE.read_text(encoding="utf-8")
    (pip,) = [step["run"] for step in composite["runs"]["steps"] if " pip " in step.get("run", "")]
    assert "--require-hashes" in pip
    assert "--only-binary :all:" in pip
    assert '"$GITHUB_ACTION_PATH/../requirements.txt"' in pip


def stand_in_python(folder: Path, code: str) -> Path:
    """A program in place of Python."""
    program = folder / "python"
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text(f"#!/bin/sh\n{code}\n")
    program.chmod(0o755)
    return program


def run_step(step: dict[str, Any], folder: Path, **variables: str) -> subprocess.Popen[str]:
    """Starts a step as the runner does."""
    script = folder / "step.sh"
    script.write_text(step["run"])
    return subprocess.Popen(
        ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", script],
        env={"PATH": os.environ["PATH"], "RUNNER_TEMP": str(folder), **variables},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_no_shell_that_has_the_token_waits_for_the_program(
    composite: dict[str, Any], tmp_path: Path
) -> None:
    """Another program of the machine could read the environment of the shell."""
    (step,) = [
        shell_step
        for shell_step in composite["runs"]["steps"]
        if shell_step.get("id") == "leastpriv"
    ]
    stand_in_python(tmp_path / "leastpriv-python/bin", "echo $$")
    output = tmp_path / "output"
    process = run_step(step, tmp_path, GITHUB_OUTPUT=str(output), GITHUB_ACTION_PATH="/x")
    printed, _ = process.communicate()
    assert int(printed) == process.pid
    assert output.read_text() == "started=true\n"


def test_variables_of_the_job_do_not_move_what_is_installed(
    composite: dict[str, Any], tmp_path: Path
) -> None:
    (step,) = [
        install_step
        for install_step in composite["runs"]["steps"]
        if " pip " in install_step.get("run", "")
    ]
    program = stand_in_python(tmp_path, 'case "$*" in *"-m pip "*) env;; esac')
    moved = {f"PIP_{name}": "/elsewhere" for name in ("TARGET", "PREFIX", "USER", "ROOT")}
    index = {"PIP_INDEX_URL": "https://pypi.example/simple"}
    process = run_step(
        step, tmp_path, PYTHON=str(program), GITHUB_ACTION_PATH="/x", **moved, **index
    )
    printed, _ = process.communicate()
    assert "PIP_INDEX_URL=https://pypi.example/simple" in printed
    assert "/elsewhere" not in printed


def test_inputs_that_no_program_can_get_end_with_a_sentence(composite: dict[str, Any]) -> None:
    long = {"INPUTS": json.dumps({"keep": "a" * 140_000})}
    with pytest.raises(OSError, match="Argument list too long"):
        subprocess.run(["bash", "-c", "true"], env=long, check=True)
    step = composite["runs"]["steps"][-1]
    assert "steps.leastpriv.outputs.started != 'true'" in step["if"]
    assert "env" not in step
    completed = subprocess.run(
        ["bash", "-e", "-c", step["run"]], capture_output=True, text=True, check=True
    )
    assert completed.stdout.startswith("::error::The action did not start.")
    assert "128 KiB" in completed.stdout


def test_the_inputs_arrive_and_the_token_is_not_in_the_environment(tmp_path: Path) -> None:
    for name in ("cli/run.py", "entrypoint.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    package = tmp_path / "leastpriv" / "action"
    package.mkdir(parents=True)
    for folder in (package, package.parent):
        (folder / "__init__.py").touch()
    (package / "step.py").write_text(STAND_IN)
    shutil.copy(ROOT / "leastpriv/process_limits.py", package.parent)
    inputs = {"role-arn": "arn\nof 'two' lines", "github-token": "ghs_1", "keep": ""}
    completed = subprocess.run(
        [sys.executable, "-I", tmp_path / "cli/run.py"],
        env={"INPUTS": json.dumps(inputs), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert completed.returncode == 7, completed.stderr
    document = json.loads(completed.stdout)
    assert document["role"] == inputs["role-arn"]
    assert document["token"] == inputs["github-token"]
    assert document["shown"] == []


def test_an_input_that_does_not_exist_is_named(tmp_path: Path) -> None:
    """A runner passes it on, with a warning alone."""
    job = Job(tmp_path)
    environment = {
        name: value for name, value in job.environment({}).items() if not name.startswith("INPUT_")
    }
    completed = subprocess.run(
        [sys.executable, "-I", ROOT / "cli/run.py"],
        env={**environment, "INPUTS": '{"policy-fil": "iam/ci-deploy.json"}'},
        cwd=job.workspace,
        capture_output=True,
        text=True,
        check=False,
    )
    assert completed.returncode == 2
    assert "There is no input 'policy-fil' (did you mean policy-file?)" in completed.stdout
