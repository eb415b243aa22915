"""The contract with workflows is the same in action.yml and code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

INPUTS = """
role-arn policy-file also-attached config mode drift-report trails aws-regions job-logs wait-for-events evidence-branch
templates plans minimum-days keep github-token base branch title-prefix commit-message labels
reviewers team-reviewers draft page-file sarif-file
"""
OUTPUTS = """
has-changes added-actions removed-actions policy proposal-file pull-request-number pull-request-url
pull-request-operation pull-request-head-sha pull-request-branch inline-session-policy targets
"""


@pytest.fixture(scope="module")
def action() -> dict[str, Any]:
    """Read action.yml."""
    text = (Path(__file__).parents[2] / "action.yml").read_text(encoding="utf-8")
    return dict(YAML(typ="safe", pure=True).load(text))


def test_the_names_are_those_of_the_contract(action: dict[str, Any]) -> None:
    assert sorted(action["inputs"]) == sorted(INPUTS.split())
    assert sorted(action["outputs"]) == sorted(OUTPUTS.split())


def test_every_input_and_output_is_described_in_one_sentence(action: dict[str, Any]) -> None:
    for name, entry in {**action["inputs"], **action["outputs"]}.items():
        assert re.fullmatch(r"(?!.*[.!?] [A-Z]).{20,}\.", entry["description"]), name


def test_an_input_has_a_default_unless_it_is_required(action: dict[str, Any]) -> None:
    for name, entry in action["inputs"].items():
        assert ("default" in entry) is not entry["required"], name


def test_defaults_are_strings_as_the_runner_passes_them(action: dict[str, Any]) -> None:
    assert all(isinstance(entry.get("default", ""), str) for entry in action["inputs"].values())


def test_file_and_code_agree_on_every_input(action: dict[str, Any]) -> None:
    from leastpriv.config.inputs import inputs

    in_code = {entry.name: (entry.default, False) for entry in inputs() if not entry.config_only}
    in_file = {
        name: (_text(entry.get("default", "")), entry["required"])
        for name, entry in action["inputs"].items()
    }
    assert in_code == in_file


def _text(default: str) -> str:
    """A default that the runner fills in, such as the job's token, is not in the code."""
    return "" if default.startswith("${{") else default


def test_the_action_can_be_published_on_the_marketplace(action: dict[str, Any]) -> None:
    assert action["branding"] == {"icon": "shield", "color": "green"}
    assert len(action["description"]) <= 125
    assert {"name", "author"} <= set(action)


def test_the_container_gets_its_inputs_by_the_environment_alone(action: dict[str, Any]) -> None:
    """The runner joins `args` to a command line with only `"` escaped, so there are none."""
    assert action["runs"] == {"using": "docker", "image": "Dockerfile"}
