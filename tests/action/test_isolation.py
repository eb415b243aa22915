"""The job's environment and its checkout do not decide what code the action runs."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.action.test_step import ENTRY, Job

SHADOWED = ("sitecustomize", "usercustomize", "leastpriv", "json", "logging", "msgspec", "boto3")
PLANTED = "import pathlib; pathlib.Path({marker!r}).write_text('taken')\n"


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """A job whose checkout has modules of the names that Python and the action import."""
    made = Job(tmp_path)
    for name in SHADOWED:
        code = PLANTED.format(marker=str(tmp_path / "taken"))
        (made.workspace / f"{name}.py").write_text(code)
    return made


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
    done = subprocess.run(
        ENTRY,
        env={**job.environment({}), **hostile},
        cwd=job.workspace,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert not (tmp_path / "taken").exists()
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""


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
