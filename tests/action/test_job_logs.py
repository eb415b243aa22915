"""The action with `job-logs`, as the runner starts it: what logs tell reaches the pull request,
marked as such.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from tests.action.test_step import POLICY_FILE, Job, Step, add_runs
from tests.fakes.command import leastpriv
from tests.fakes.deploys import POLICY, ROLE, deploys, record, usual_deploys, write_trail
from tests.fakes.github import FakeGitHub

RUN = 17650000099
REPOSITORY = "arn:aws:ecr:eu-west-1:111122223333:repository/orders"


def refusal(
    action: str, resource: str, session: str = str(RUN), *, by: str = "identity-based"
) -> str:
    who = f"arn:aws:sts::111122223333:assumed-role/ci-deploy/{session}"
    reason = f"because no {by} policy allows the {action} action"
    return f"User: {who} is not authorized to perform: {action} on resource: {resource} {reason}\n"


CREATE = refusal("ecr:CreateRepository", REPOSITORY)
READ = refusal("sqs:GetQueueAttributes", "arn:aws:sqs:eu-west-1:111122223333:orders")
"""A log adds reads only, of resources that the policy has."""
REFUSED_IN_REHEARSAL = {
    "event": "ecr:CreateRepository",
    "parameters": {"repositoryName": "orders"},
    "error": "AccessDenied",
    "message": refusal("ecr:CreateRepository", REPOSITORY, by="session").strip(),
}


@pytest.fixture
def hub() -> Iterator[FakeGitHub]:
    with FakeGitHub("octo-org/shop", files={POLICY_FILE: json.dumps(POLICY, indent=2)}) as fake:
        fake.add_user("kim", "write")
        add_runs(fake)
        yield fake


def add_run(hub: FakeGitHub, log: str | None, branch: str = "main") -> None:
    """The step's own workflow run: its deploy has ended, the job that asks goes on."""
    hub.add_run(RUN, branch, "push", status="in_progress", conclusion=None)
    hub.add_job(RUN, "deploy", log, conclusion="failure")
    hub.add_job(RUN, "leastpriv", None, status="in_progress", conclusion=None)


def added(step: Step) -> list[str]:
    return list(json.loads(step.outputs["added-actions"]))


def test_the_denials_of_this_runs_own_jobs_reach_the_pull_request(
    tmp_path: Path, hub: FakeGitHub
) -> None:
    add_run(
        hub, f"Deploying\n{READ}" + refusal("iam:PassRole", "arn:aws:iam::111122223333:role/orders")
    )
    step = Job(tmp_path, hub).step(mode="pull-request", github_token=hub.token, job_logs="auto")
    assert step.code == 0, step.log
    assert added(step) == ["cloudwatch:PutMetricAlarm", "sqs:GetQueueAttributes"]
    body = hub.pull(int(step.outputs["pull-request-number"])).body or ""
    assert "denied, by the text of the job log `deploy:2`" in body
    security = body.partition("**For a security review:**")[2].partition("<details>")[0]
    assert "`iam:PassRole`" in security
    assert "**not written" in security
    assert "iam:PassRole" not in step.outputs["policy"]
    assert "sqs:GetQueueAttributes" in hub.file(POLICY_FILE, "leastpriv/ci-deploy").decode()
    assert hub.violations == []


def test_a_run_of_an_unprotected_branch_adds_nothing_by_its_logs(
    tmp_path: Path, hub: FakeGitHub
) -> None:
    hub.commit_as("kim", "feature/x", {"a.txt": "x"})
    add_run(hub, READ, "feature/x")
    step = Job(tmp_path, hub).step(github_token=hub.token, job_logs="auto")
    assert "sqs:GetQueueAttributes" not in added(step)
    assert "only these runs need it: the branch `feature/x`, which is not protected" in step.summary


def test_logs_that_cannot_be_read_are_reported_and_end_no_run(
    tmp_path: Path, hub: FakeGitHub
) -> None:
    add_run(hub, None)
    without = Job(tmp_path, hub).step(mode="pull-request", github_token=hub.token)
    step = Job(tmp_path / "again", hub).step(
        mode="pull-request", github_token=hub.token, job_logs="auto"
    )
    assert step.code == 0
    assert (
        "Job logs that could not be read (1): `deploy: GitHub has none, or it has expired`"
        in step.summary
    )
    assert step.outputs["removed-actions"] == without.outputs["removed-actions"] != "[]"


def test_a_rehearsal_updates_the_same_pull_request(tmp_path: Path, hub: FakeGitHub) -> None:
    """Under the session policy that *is* the proposal, what it refuses is what it
    lacks.
    """
    job = Job(tmp_path, hub)
    first = job.step(mode="pull-request", github_token=hub.token)
    session_policy = json.loads(first.outputs["inline-session-policy"])
    assert session_policy["Statement"] == json.loads(first.outputs["policy"])["Statement"]
    assert "sns:CreateTopic" in json.loads(first.outputs["removed-actions"])

    topic = "arn:aws:sns:eu-west-1:111122223333:orders"
    add_run(hub, refusal("sns:CreateTopic", topic, f"leastpriv-rehearsal-{RUN}", by="session"))
    second = job.step(mode="pull-request", github_token=hub.token, job_logs="auto")
    assert second.outputs["pull-request-operation"] == "updated"
    assert second.outputs["pull-request-number"] == first.outputs["pull-request-number"]
    assert "sns:CreateTopic" not in json.loads(second.outputs["removed-actions"])
    assert "sns:CreateTopic" in second.outputs["inline-session-policy"]


def test_the_code_of_a_rehearsal_is_that_of_its_workflow_run(
    tmp_path: Path, hub: FakeGitHub
) -> None:
    hub.commit_as("kim", "feature/x", {"a.txt": "x"})
    late = deploys([REFUSED_IN_REHEARSAL], times=1)
    time = datetime.fromisoformat(late[0]["eventTime"])
    records = [*usual_deploys(), record(REFUSED_IN_REHEARSAL, time, f"leastpriv-rehearsal-{RUN}")]
    for branch, expected in (("feature/x", False), ("main", True)):
        hub.add_run(RUN, branch, "workflow_dispatch", created_at=late[0]["eventTime"])
        job = Job(tmp_path / branch, hub)
        write_trail(job.workspace / "cloudtrail", records)
        assert ("ecr:CreateRepository" in added(job.step(github_token=hub.token))) is expected


def test_a_log_in_the_workspace_is_named_relative_to_it(tmp_path: Path) -> None:
    job = Job(tmp_path)
    (job.workspace / "deploy.log").write_text(READ)
    step = job.step(job_logs="deploy.log")
    assert added(step) == ["cloudwatch:PutMetricAlarm", "sqs:GetQueueAttributes"]
    assert "by the text of the job log `deploy.log:1`" in step.summary
    assert str(job.workspace) not in step.summary


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("auto", "give the input github-token"),
        ("../deploy.log", "leads out of the repository"),
        ("missing.log", "cannot be read"),
    ],
)
def test_a_log_that_is_not_there_is_bad_input(tmp_path: Path, name: str, sentence: str) -> None:
    step = Job(tmp_path).step(job_logs=name)
    (error,) = step.annotations("error")
    assert (step.code, sentence in error) == (2, True), error


def test_text_of_a_log_runs_no_command(tmp_path: Path) -> None:
    """Untrusted text stays text: neither a workflow command nor Markdown comes out of a line."""
    job = Job(tmp_path)
    evil = "arn:aws:iam::111122223333:user/@octo-org`</details>|"
    (job.workspace / "deploy.log").write_text(
        "::error::pwned\nUser: arn:aws:sts::111122223333:assumed-role/@octo-org-ci/x is not"
        f" authorized to perform: s3:GetObject\n{refusal('ecr:CreateRepository', evil)}"
    )
    step = job.step(job_logs="deploy.log")
    assert step.annotations("error") == []
    assert "</details>|" not in step.summary
    assert "ecr:CreateRepository" not in step.outputs["policy"]


def test_a_log_of_an_unknown_run_is_marked(tmp_path: Path, hub: FakeGitHub) -> None:
    job = Job(tmp_path, hub)
    (job.workspace / "deploy.log").write_text(READ)
    step = job.step(github_token=hub.token, job_logs="deploy.log")
    assert "by the text of the job log `deploy.log:1` (branch unknown)" in step.summary


class TestShell:
    def test_a_log_alone_gives_a_proposal(self, tmp_path: Path) -> None:
        """No account, no trail, no GitHub: the log of the failed deploy is enough for a read that
        the policy lacks.
        """
        log, policy = tmp_path / "deploy.log", tmp_path / "policy.json"
        log.write_text(READ)
        policy.write_text(json.dumps(POLICY))
        run = leastpriv(
            "propose", "--role-arn", ROLE, "--policy-file", str(policy), "--job-logs", str(log)
        )
        assert run.code == 0, run.err
        assert run.out.startswith("# iam(ci-deploy): 1 added\n")
        assert f"by the text of the job log `{log}:1`" in run.out

    def test_a_log_from_a_pipe_is_read(self, tmp_path: Path) -> None:
        start = "import sys; from leastpriv.cli.main import console_main; sys.exit(console_main())"
        options = ["--role-arn", ROLE, "--policy-file", "p.json", "--job-logs", "-"]
        (tmp_path / "p.json").write_text(json.dumps(POLICY))
        completed = subprocess.run(
            [sys.executable, "-c", start, "propose", *options],
            input=READ,
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
        )
        assert completed.returncode == 0, completed.stderr
        assert "by the text of the job log `-:1`" in completed.stdout

    def test_auto_is_for_steps(self, tmp_path: Path) -> None:
        run = leastpriv(
            "propose",
            "--role-arn",
            ROLE,
            "--policy-file",
            str(tmp_path / "p.json"),
            "--job-logs",
            "auto",
        )
        assert run.code == 2
        assert "name files of logs" in run.err
