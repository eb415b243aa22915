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
    made = parsed(text)
    assert made["inputs"] == {"one": {"description": "First: 'x'.", "default": "0"}}
    assert made["outputs"]["two"]["value"] == "${{ steps.leastpriv.outputs.two }}"
    assert tool.composite_action(container, text) == text
    with pytest.raises(ValueError, match="no line `runs:`"):
        tool.composite_action(container, "name: Old\n")


def test_every_action_in_it_is_pinned_by_the_commit_of_the_workflows(
    composite: dict[str, Any],
) -> None:
    workflows = "".join(
        path.read_text(encoding="utf-8") for path in (ROOT / ".github/workflows").glob("*.yml")
    )
    used = [step["uses"] for step in composite["runs"]["steps"] if "uses" in step]
    assert all(re.fullmatch(r"actions/[a-z/-]+@[0-9a-f]{40}", each) for each in used)
    assert f"uses: {used[0]} " in workflows
    assert len({each.partition("@")[2] for each in used if "/cache/" in each}) == 1


def test_no_shell_line_contains_an_expression(composite: dict[str, Any]) -> None:
    scripts = [step["run"] for step in composite["runs"]["steps"] if "run" in step]
    assert len(scripts) == 4
    assert [script for script in scripts if "${{" in script] == []


def test_wheels_are_compared_with_the_lock_when_they_are_fetched_and_when_they_are_installed(
    composite: dict[str, Any],
) -> None:
    """A cache may hold files of others."""
    pip = [step["run"] for step in composite["runs"]["steps"] if " pip " in step.get("run", "")]
    assert len(pip) == 2
    for script in pip:
        assert "--require-hashes" in script
        assert "--only-binary :all:" in script
        assert '"$GITHUB_ACTION_PATH/../requirements.txt"' in script
    assert "--no-index" in pip[1]


def outputs_of_wheels(folder: Path, python: str = sys.executable) -> dict[str, str]:
    done = subprocess.run(
        [python, "-I", folder / "cli/wheels.py"],
        env={"RUNNER_TEMP": "/somewhere"},
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(line.split("=", 1) for line in done.stdout.splitlines())


def test_another_lock_has_another_cache(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "cli", tmp_path / "cli")
    lock = tmp_path / "requirements.txt"
    keys = set()
    for text in ("a==1", "a==2"):
        lock.write_text(text)
        found = outputs_of_wheels(tmp_path)
        assert found["folder"] == "/somewhere/leastpriv-wheels"
        assert re.fullmatch(r"leastpriv-[\w.-]+-[0-9a-f]{64}", found["key"])
        assert f"-{sys.platform}-" in found["key"]
        keys.add(found["key"])
    assert len(keys) == 2


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
    given = {"role-arn": "arn\nof 'two' lines", "github-token": "ghs_1", "keep": ""}
    done = subprocess.run(
        [sys.executable, "-I", tmp_path / "cli/run.py"],
        env={"INPUTS": json.dumps(given), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 7, done.stderr
    said = json.loads(done.stdout)
    assert said["role"] == given["role-arn"]
    assert said["token"] == given["github-token"]
    assert said["shown"] == []


def test_an_input_that_does_not_exist_is_named(tmp_path: Path) -> None:
    """A runner passes it on, with a warning alone."""
    job = Job(tmp_path)
    environment = {
        name: value for name, value in job.environment({}).items() if not name.startswith("INPUT_")
    }
    done = subprocess.run(
        [sys.executable, "-I", ROOT / "cli/run.py"],
        env={**environment, "INPUTS": '{"policy-fil": "iam/ci-deploy.json"}'},
        cwd=job.workspace,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "There is no input 'policy-fil' (did you mean policy-file?)" in done.stdout
