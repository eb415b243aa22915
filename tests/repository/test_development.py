"""The tools of a developer: pinned, checked before a commit, and quick for one test."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests import hypothesis_profiles

ROOT = Path(__file__).parents[2]
GROUPS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["dependency-groups"]


@pytest.mark.parametrize("group", GROUPS)
def test_every_development_tool_has_one_exact_version(group: str) -> None:
    assert [
        requirement
        for requirement in GROUPS[group]
        if not re.fullmatch(r"[\w-]+==[\w.]+", requirement)
    ] == []


def test_every_hook_runs_a_tool_that_make_installs_or_a_file_of_the_repository() -> None:
    config = YAML(typ="safe", pure=True).load(
        (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    )
    entries = [hook["entry"].split() for repo in config["repos"] for hook in repo["hooks"]]
    tools = {requirement.partition("==")[0] for requirement in GROUPS["dev"]}
    assert {Path(program).name for program, *_ in entries} <= tools | {"python"}
    assert [
        arguments[0]
        for program, *arguments in entries
        if program.endswith("/python") and not (ROOT / arguments[0]).is_file()
    ] == []


def pytest_command(target: str, given: str) -> str:
    """Return the command that `make TARGET T=…` runs once everything is installed."""
    installed = ["-o", ".venv/.installed", "-o", ".lab/venv/.installed"]
    command = ["make", "--no-print-directory", "-n", *installed, target, f"T={given}"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    completed = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    return completed.stdout.strip()


def test_a_folder_of_tests_runs_on_all_cores_without_slow_tests() -> None:
    command = pytest_command("test", "tests/diff")
    assert command.endswith(" tests/diff")
    assert "-n auto" in command
    assert '-m "not slow"' in command


@pytest.mark.parametrize("given", ["tests/diff/test_compare.py", "tests/a/test_b.py::test_c --pdb"])
def test_a_named_file_or_test_runs_in_one_process_where_a_debugger_works(given: str) -> None:
    command = pytest_command("test", given)
    assert command.endswith(f"-m pytest -q  {given}")


def test_the_long_tests_run_with_all_examples() -> None:
    assert pytest_command("test-all", "").startswith("HYPOTHESIS_PROFILE=full ")


def test_every_test_that_the_guide_names_exists() -> None:
    guide = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    components = [
        reference.partition("::") for reference in re.findall(r"T=\"?(tests/[\w/.:]+)", guide)
    ]
    assert len(components) >= 5
    for path, _, test in components:
        assert (ROOT / path).exists(), path
        assert not test or f"def {test}(" in (ROOT / path).read_text(encoding="utf-8"), test


@pytest.fixture
def _same_profile() -> Iterator[None]:
    yield
    hypothesis_profiles.load(os.environ)


@pytest.mark.usefixtures("_same_profile")
@pytest.mark.parametrize(
    ("environment", "tried"),
    [
        ({}, (10, 5)),
        ({"CI": "true"}, (500, 1)),
        ({"CI": "true", "HYPOTHESIS_PROFILE": "fast"}, (10, 5)),
        ({"HYPOTHESIS_PROFILE": "full"}, (2_000, 5)),
    ],
)
def test_a_property_test_has_at_most_ten_examples_locally_a_quarter_in_ci_and_all_in_the_full_profile(
    environment: dict[str, str], tried: tuple[int, int]
) -> None:
    hypothesis_profiles.load(environment)
    assert tuple(hypothesis_profiles.examples(count).max_examples for count in (2_000, 5)) == tried


def test_tests_that_share_a_fixture_are_sent_to_one_worker(request: pytest.FixtureRequest) -> None:
    """pytest-xdist 3.8 writes the group into the name, which pytest 9.2 no longer reads: every
    worker then started each lab.
    """
    if not hasattr(request.config, "workerinput"):
        pytest.skip("not a worker of xdist")
    assert request.node.nodeid.endswith("@repository/test_development.py-0")
