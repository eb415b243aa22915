"""No input that names a file leads out of the checkout, and such an error changes no file."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from leastpriv.action.step import action_main
from leastpriv.atomic_file import read_regular
from leastpriv.aws.arns import Principals, Window
from leastpriv.cloudtrail.cache import ObjectCache
from leastpriv.cloudtrail.local_store import TrailFolder
from leastpriv.denials.job_logs import read_logs
from leastpriv.errors import InputError
from leastpriv.models import Gap
from tests.action.test_step import Job
from tests.fakes.deploys import NOW, POLICY, ROLE

INPUTS = (
    "policy-file", "also-attached", "trust-policy", "boundary-file", "trails", "templates",
    "plans", "declared", "terraform-plan",
    "job-logs", "config", "sarif-file", "page-file", "body-file",
    "organization-policies", "other-policies",
)  # fmt: skip
IN_CONFIG = ("policy-file", "also-attached")
WAYS_OUT = {
    "up": "../secret.json",
    "up and back": "iam/../../secret.json",
    "absolute": "{outside}/secret.json",
    "link to a file": "iam/link.json",
    "link to a folder": "iam/folder/secret.json",
    "loop of links": "iam/loop.json",
    "git's own": ".git/config",
    "git's own, in capitals": "iam/../.GIT/config",
    "link to git's own": "iam/git.json",
    "link to git's folder": "iam/hooks/secret.json",
    "not shown": "iam/x\u202enosj.json",
    "pointer behind": "../secret.json#/Policy",
}


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """A checkout with links of a contributor, and a file outside it."""
    job = Job(tmp_path)
    (job.workspace / ".git").mkdir()
    (job.workspace / ".git" / "config").write_text("[core]")
    outside = tmp_path / "outside"
    outside.mkdir()
    for secret_file in (outside / "secret.json", tmp_path / "secret.json"):
        secret_file.write_text(json.dumps(POLICY))
    (job.workspace / "iam" / "link.json").symlink_to(outside / "secret.json")
    (job.workspace / "iam" / "folder").symlink_to(outside)
    (job.workspace / "iam" / "git.json").symlink_to("../.git/config")
    (job.workspace / "iam" / "hooks").symlink_to("../.git/hooks")
    (job.workspace / "iam" / "loop.json").symlink_to(job.workspace / "iam" / "loop.json")
    return job


def everything(folder: Path) -> Mapping[str, bytes]:
    """All files but the runner's own, by path."""
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def refused(job: Job, tmp_path: Path, label: str, **inputs: str) -> None:
    """The step ends with code 2 and one error that names the input, and writes nothing."""
    environment = job.environment({"mode": "report"} | inputs)
    before = everything(tmp_path)
    out = io.StringIO()
    code = action_main(environment, out, io.StringIO(), lambda: NOW)
    errors = [line for line in out.getvalue().splitlines() if line.startswith("::error::")]
    assert (code, len(errors)) == (2, 1), out.getvalue()
    assert label in errors[0]
    assert everything(tmp_path) == before


@pytest.mark.parametrize("way", WAYS_OUT)
@pytest.mark.parametrize("name", INPUTS)
def test_an_input_that_leads_out_of_the_checkout_is_an_error(
    tmp_path: Path, job: Job, name: str, way: str
) -> None:
    value = WAYS_OUT[way].format(outside=tmp_path / "outside")
    further_inputs = {"role_arn": "", "policy_file": ""} if name == "config" else {}
    refused(job, tmp_path, name, **further_inputs, **{name.replace("-", "_"): value})


@pytest.mark.parametrize("way", WAYS_OUT)
@pytest.mark.parametrize("name", IN_CONFIG)
def test_a_path_in_the_config_that_leads_out_is_an_error(
    tmp_path: Path, job: Job, name: str, way: str
) -> None:
    value = WAYS_OUT[way].format(outside=tmp_path / "outside")
    entry = {"role-arn": ROLE, "policy-file": "iam/ci-deploy.json"} | {
        name: [value] if name == "also-attached" else value
    }
    (job.workspace / "leastpriv.yml").write_text(json.dumps({"targets": [entry]}))
    refused(job, tmp_path, name, role_arn="", policy_file="", config="leastpriv.yml")


def test_all_inputs_that_name_files_are_tested() -> None:
    """A new input that names a file must be added to the list above."""
    from leastpriv.config.inputs import inputs

    path_inputs = {
        action_input.name
        for action_input in inputs()
        if "file" in action_input.help or "folder" in action_input.help
    }
    not_read_as_paths = {
        "grace-days",
        "minimum-days",
        "lookback-days",
        "base",
        "mode",
        "validate-digests",
        "evidence-branch",
    }
    assert path_inputs - not_read_as_paths - {"cache-dir"} <= set(INPUTS)


def log_line(action: str) -> str:
    return (
        "User: arn:aws:sts::111122223333:assumed-role/ci-deploy/1 is not authorized to perform:"
        f" {action} on resource: arn:aws:sqs:eu-west-1:111122223333:orders because no"
        f" identity-based policy allows the {action} action\n"
    )


def test_a_link_in_a_folder_of_logs_leads_to_no_file_outside(tmp_path: Path) -> None:
    (tmp_path / "secret.log").write_text(log_line("sqs:CreateQueue"))
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "own.log").write_text(log_line("sqs:PurgeQueue"))
    assert len(list(read_logs([str(tmp_path / "logs")], io.BytesIO()))) == 1
    (tmp_path / "logs" / "x.log").symlink_to(tmp_path / "secret.log")
    with pytest.raises(InputError, match="leads out of the folder"):
        list(read_logs([str(tmp_path / "logs")], io.BytesIO()))


@pytest.mark.parametrize("linked", ["file", "folder"])
def test_a_link_in_a_trail_leads_to_no_file_outside(tmp_path: Path, linked: str) -> None:
    (tmp_path / "outside").mkdir()
    deploy = {
        "Records": [
            {"eventName": "CreateQueue", "eventSource": "sqs.amazonaws.com", "eventVersion": "1"}
        ]
    }
    (tmp_path / "outside" / "trail.json").write_text(json.dumps(deploy))
    (tmp_path / "trail").mkdir()
    target = tmp_path / "outside" / ("trail.json" if linked == "file" else "")
    (tmp_path / "trail" / ("link.json" if linked == "file" else "link")).symlink_to(target)
    source = TrailFolder(tmp_path / "trail")
    (gap,) = source.read(Window(), Principals())
    assert isinstance(gap, Gap)
    assert "leads out of the folder" in gap.detail
    assert source.statistics.records == 0


def test_a_pipe_in_place_of_a_file_is_an_error_at_once(tmp_path: Path) -> None:
    """Nothing writes to it: reading it would wait without end."""
    os.mkfifo(tmp_path / "pipe.json")
    with pytest.raises(InputError, match="not a regular file"):
        list(read_logs([str(tmp_path / "pipe.json")], io.BytesIO()))
    with pytest.raises(OSError, match="not a regular file"):
        read_regular(tmp_path / "pipe.json")
    (gap,) = TrailFolder(tmp_path).read(Window(), Principals())
    assert isinstance(gap, Gap)
    assert "not a regular file" in gap.detail


def test_a_policy_that_is_a_pipe_is_an_error_at_once(tmp_path: Path, job: Job) -> None:
    (job.workspace / "iam" / "ci-deploy.json").unlink()
    os.mkfifo(job.workspace / "iam" / "ci-deploy.json")
    step = job.step(mode="report")
    assert step.code == 2
    assert "not a regular file" in step.log


def test_a_cache_that_is_a_link_is_not_written_to(tmp_path: Path, job: Job) -> None:
    (job.workspace / "cache").symlink_to(tmp_path / "outside")
    refused(job, tmp_path, "cache-dir", cache_dir="cache")
    cache = tmp_path / "own"
    ObjectCache(cache, "trail", Principals()).close()
    (file,) = cache.iterdir()
    file.rename(tmp_path / "outside" / "objects.sqlite")
    file.symlink_to(tmp_path / "outside" / "objects.sqlite")
    with pytest.raises(InputError, match="not a regular file"):
        ObjectCache(cache, "trail", Principals())
