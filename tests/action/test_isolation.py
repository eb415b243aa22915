"""The job's environment and its checkout do not decide what code the action runs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from leastpriv.action.step import refuse_configuration_of_checkout
from tests.action.test_step import ENTRY, ROOT, Job

SHADOWED = ("sitecustomize", "usercustomize", "leastpriv", "json", "logging", "msgspec", "boto3")
PLANTED = "import pathlib; pathlib.Path({marker!r}).write_text('taken')\n"


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """A job whose checkout has modules of the names that Python and the action import."""
    job = Job(tmp_path)
    for name in SHADOWED:
        code = PLANTED.format(marker=str(tmp_path / "taken"))
        (job.workspace / f"{name}.py").write_text(code)
    return job


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"PYTHONPATH": "."},
        {"PYTHONPATH": "{workspace}", "PYTHONSAFEPATH": ""},
        {"PYTHONUSERBASE": ".", "PYTHONSTARTUP": "sitecustomize.py"},
        {"PYTHONHOME": "."},
        {"PYTHONPLATLIBDIR": ".", "PYTHONBREAKPOINT": "sitecustomize.x"},
        {"PYTHONINSPECT": "1", "PYTHONWARNINGS": "error::sitecustomize.X"},
    ],
    ids=str,
)
def test_no_variable_of_the_job_makes_the_action_run_code_of_the_checkout(
    job: Job, tmp_path: Path, variables: dict[str, str]
) -> None:
    hostile = {name: value.format(workspace=job.workspace) for name, value in variables.items()}
    completed = subprocess.run(
        ENTRY,
        env={**job.environment({}), **hostile},
        cwd=job.workspace,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert not (tmp_path / "taken").exists()
    assert completed.returncode == 0, completed.stdout + completed.stderr
    assert completed.stderr == ""


def test_a_home_in_the_checkout_brings_no_configuration_of_aws(job: Job, tmp_path: Path) -> None:
    (job.workspace / ".aws").mkdir()
    command = f"sh -c 'echo taken > {tmp_path / 'taken'}'"
    (job.workspace / ".aws" / "config").write_text(f"[default]\ncredential_process = {command}\n")
    step = job.step(extra={"HOME": str(job.workspace)}, trails="event-history")
    assert step.code == 2
    (sentence,) = step.annotations("error")
    assert sentence.startswith("HOME names a file of the checkout")
    assert not (tmp_path / "taken").exists()


TARGETS = """targets:
  - role-arn: arn:aws:iam::111122223333:role/ci-deploy
    policy-file: iam/ci-deploy.json
    templates: shop=t.json
"""


@pytest.mark.parametrize("inputs", [{"templates": "shop=t.json"}, {"config": "leastpriv.yml"}])
def test_templates_of_an_unreviewed_branch_add_nothing(
    inputs: dict[str, str], tmp_path: Path
) -> None:
    job = Job(tmp_path, event=json.dumps({"repository": {"default_branch": "main"}}))
    table = {"Carts": {"Type": "AWS::DynamoDB::Table", "Properties": {"TableName": "carts"}}}
    (job.workspace / "t.json").write_text(json.dumps({"Resources": table}))
    (job.workspace / "leastpriv.yml").write_text(TARGETS)
    job.repository()
    if "config" in inputs:
        inputs = {**inputs, "role_arn": "", "policy_file": ""}
    added: list[bool] = []
    for branch in ("main", "feature"):
        extra = {"GITHUB_EVENT_NAME": "push", "GITHUB_REF": f"refs/heads/{branch}"}
        step = job.step(extra=extra, mode="pull-request", aws_regions="eu-west-1", **inputs)
        assert step.code == 0, step.log
        added.append("dynamodb:CreateTable" in step.summary)
    assert added == [True, False]


@pytest.mark.parametrize("file", ["~/.aws/config", "$HOME/.aws/config", ""])
def test_a_configuration_of_aws_outside_of_the_checkout_is_read(file: str, tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    environment = {"HOME": str(tmp_path), "AWS_CONFIG_FILE": file}
    refuse_configuration_of_checkout(environment, checkout)


def test_a_configuration_of_aws_in_the_checkout_is_refused(job: Job, tmp_path: Path) -> None:
    """`credential_process` in it is a command, and `endpoint_url` another host."""
    command = f"sh -c 'echo taken > {tmp_path / 'taken'}'"
    (job.workspace / "aws.ini").write_text(
        f"[default]\nregion = eu-west-1\ncredential_process = {command}\n"
    )
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        step = job.step(extra={name: str(job.workspace / "aws.ini")}, trails="event-history")
        assert step.code == 2
        (sentence,) = step.annotations("error")
        assert sentence.startswith(f"{name} names a file of the checkout")
    assert not (tmp_path / "taken").exists()


STAND_IN = """
import json, os, resource
from pathlib import Path

def action_main(environment, stdout, stderr, clock):
    own = Path("/proc/self/environ").read_text()
    print(json.dumps({
        "token": environment.get("INPUT_GITHUB-TOKEN"),
        "role": environment.get("INPUT_ROLE-ARN"),
        "shown": [name for name in ("ghs_1", "wJalr", "AKIA1") if name in own or name in str(os.environ)],
        "openssl": environment.get("OPENSSL_CONF"),
        "file": os.environ.get("AWS_WEB_IDENTITY_TOKEN_FILE"),
        "memory": resource.getrlimit(resource.RLIMIT_AS)[0] < 2**40,
        "core": resource.getrlimit(resource.RLIMIT_CORE)[0],
    }))
    return 7
"""
"""An action that shows its environment, in place of the real one."""


def test_the_process_that_reads_files_has_no_secret_in_its_environment(tmp_path: Path) -> None:
    """A file that leads to `/proc/self/environ` would show it."""
    package = tmp_path / "leastpriv" / "action"
    package.mkdir(parents=True)
    for folder in (package, package.parent):
        (folder / "__init__.py").touch()
    (package / "step.py").write_text(STAND_IN)
    shutil.copy(ROOT / "leastpriv/process_limits.py", package.parent)
    shutil.copy(ROOT / "entrypoint.py", tmp_path)
    environment = {
        "INPUT_GITHUB-TOKEN": "ghs_1",
        "INPUT_ROLE-ARN": "arn",
        "AWS_SECRET_ACCESS_KEY": "wJalr",
        "AWS_ACCESS_KEY_ID": "AKIA1",
        "OPENSSL_CONF": "./openssl.cnf",
        "GITHUB_TOKEN": "ghs_1",
        "TF_VAR_db_password": "wJalr",
        "npm_config__authToken": "wJalr",
        "AWS_WEB_IDENTITY_TOKEN_FILE": "/var/run/token",
    }
    completed = subprocess.run(
        [*ENTRY[:-1], str(tmp_path / "entrypoint.py")],
        env={**environment, "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert completed.returncode == 7, completed.stderr
    assert json.loads(completed.stdout) == {
        "token": "ghs_1",
        "role": "arn",
        "shown": [],
        "openssl": None,
        "file": "/var/run/token",
        "memory": True,
        "core": 0,
    }
