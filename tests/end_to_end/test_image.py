"""A runner starts the image with only the workspace mounted; the pull request is created by API."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.action.test_step import POLICY_FILE, declared, read_outputs
from tests.end_to_end.containers import IMAGE, Engine
from tests.fakes.deploys import POLICY, ROLE, usual_deploys, write_trail
from tests.fakes.github import FakeGitHub

pytestmark = pytest.mark.slow


def start(
    engine: Engine, folder: Path, github: FakeGitHub, **inputs: str
) -> tuple[subprocess.CompletedProcess[str], dict[str, str]]:
    """Runs the container as `ContainerActionHandler.cs` does; returns the process and the step's
    outputs.
    """
    commands = folder / "file_commands"
    commands.mkdir(exist_ok=True)
    for name in ("output", "summary", "event.json"):
        (commands / name).write_text("{}" if name.endswith("json") else "")
    given = {name: entry.get("default", "") for name, entry in declared().items()}
    given |= {
        "role-arn": ROLE,
        "policy-file": POLICY_FILE,
        "trails": "cloudtrail",
        "github-token": github.token,
    }
    given |= {name.replace("_", "-"): value for name, value in inputs.items()}
    environment = {
        "HOME": "/github/home",
        "CI": "true",
        "GITHUB_ACTIONS": "true",
        "GITHUB_WORKSPACE": "/github/workspace",
        "GITHUB_OUTPUT": "/github/file_commands/output",
        "GITHUB_STEP_SUMMARY": "/github/file_commands/summary",
        "GITHUB_EVENT_PATH": "/github/file_commands/event.json",
        "GITHUB_EVENT_NAME": "schedule",
        "RUNNER_TEMP": "/github/runner_temp",
        "GITHUB_REPOSITORY": "octo-org/shop",
        "GITHUB_RUN_ID": "17650000099",
        "GITHUB_SERVER_URL": github.server_url,
        "GITHUB_API_URL": github.url,
        "GITHUB_GRAPHQL_URL": github.graphql_url,
        **{f"INPUT_{name.upper()}": value for name, value in given.items()},
    }
    (folder / "runner_temp").mkdir(exist_ok=True)
    mounts = [
        f"-v={folder / name}:/github/{name}"
        for name in ("workspace", "file_commands", "runner_temp")
    ]
    variables = [part for name, value in environment.items() for part in ("-e", f"{name}={value}")]
    command = [
        "podman",
        "run",
        "--rm",
        "--network=host",
        "--workdir=/github/workspace",
        *mounts,
        *variables,
        IMAGE,
    ]
    done = subprocess.run(
        command, env=engine.environment, capture_output=True, text=True, check=False
    )
    return done, read_outputs((commands / "output").read_text())


def test_the_container_opens_and_keeps_a_pull_request_and_leaves_the_workspace_unchanged(
    engine: Engine, tmp_path: Path
) -> None:
    write_trail(tmp_path / "workspace/cloudtrail", usual_deploys())
    with FakeGitHub("octo-org/shop", files={POLICY_FILE: json.dumps(POLICY, indent=2)}) as github:
        done, outputs = start(engine, tmp_path, github)
        assert done.returncode == 0, done.stdout + done.stderr
        assert outputs["pull-request-operation"] == "created"
        assert github.file(POLICY_FILE, "leastpriv/ci-deploy").decode() == outputs["policy"]
        assert start(engine, tmp_path, github)[1]["pull-request-operation"] == "none"
    assert [path.name for path in (tmp_path / "workspace").iterdir()] == ["cloudtrail"]
