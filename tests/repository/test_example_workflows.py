"""The example workflows use existing inputs and outputs, and the session name of a rehearsal."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from leastpriv.aws.session_names import is_rehearsal
from leastpriv.cli.command_line import parser

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / "examples" / "workflows").glob("*.yml"))


def parsed(path: Path) -> Any:
    return YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))


def steps_of(path: Path, action: str) -> list[dict[str, Any]]:
    jobs = parsed(path)["jobs"].values()
    names = (f"{action}@", f"{action}/cli@")
    return [step for job in jobs for step in job["steps"] if step.get("uses", "").startswith(names)]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_only_inputs_and_outputs_of_the_action_are_named(path: Path) -> None:
    action = parsed(ROOT / "action.yml")
    action_steps = steps_of(path, "org/leastpriv-action")
    assert action_steps
    for step in action_steps:
        input_names = set(step["with"])
        assert {"role-arn", "policy-file"} <= input_names or "config" in input_names
        assert input_names <= set(action["inputs"])
    used_names = set(
        re.findall(r"steps\.leastpriv\.outputs\.([a-z-]+)", path.read_text(encoding="utf-8"))
    )
    assert used_names <= set(action["outputs"])


def test_the_rehearsal_is_recognised_and_assumes_the_role_of_the_proposal() -> None:
    path = ROOT / "examples" / "workflows" / "rehearse.yml"
    (rehearsal,) = [
        step["with"]
        for step in steps_of(path, "aws-actions/configure-aws-credentials")
        if "inline-session-policy" in step["with"]
    ]
    assert is_rehearsal(
        rehearsal["role-session-name"].replace("${{ github.run_id }}", "17650000099")
    )
    assert {step["with"]["role-arn"] for step in steps_of(path, "org/leastpriv-action")} == {
        rehearsal["role-to-assume"]
    }


def test_the_parser_accepts_the_commands_of_the_recipes_of_other_forges() -> None:
    gitlab = parsed(ROOT / "examples" / "gitlab-ci.yml")["least-privilege"]["script"]
    jenkins = (ROOT / "examples" / "Jenkinsfile").read_text(encoding="utf-8").replace("\\\n", " ")
    commands = re.findall(r"leastpriv\"? (propose .*)", "\n".join([*gitlab, jenkins]))
    assert len(commands) == 2
    for arguments in commands:
        parser().parse_args(shlex.split(arguments))
