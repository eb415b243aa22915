"""The promises of the action's step: `entrypoint.py` as the runner starts it; exit code, log,
outputs, summary.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import jsonpatch
import pytest
from ruamel.yaml import YAML

from leastpriv.action.step import action_main
from leastpriv.pipeline import propose
from leastpriv.pull_request.lifecycle import RECONSIDER_LABEL
from tests.fakes.deploys import (
    CREATE_QUEUE,
    FIRST,
    NOW,
    POLICY,
    REFUSED,
    ROLE,
    UPDATE,
    as_committed,
    deploys,
    usual_deploys,
    write_trail,
)
from tests.fakes.github import FakeGitHub

ROOT = Path(__file__).parents[2]
POLICY_FILE = "iam/ci-deploy.json"
OUTPUTS = {
    "has-changes",
    "added-actions",
    "removed-actions",
    "policy",
    "proposal-file",
    "inline-session-policy",
    "pull-request-operation",
    "pull-request-head-sha",
    "pull-request-branch",
    "pull-request-number",
    "pull-request-url",
}
_ENTRYPOINT = re.search(r"^ENTRYPOINT (.*)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
ENTRY = [
    part.replace("/usr/local/bin/python", sys.executable).replace("/app", str(ROOT))
    for part in json.loads(_ENTRYPOINT[1] if _ENTRYPOINT else "[]")
]
"""The image's own entry point, with this Python and this checkout."""
SCHEDULED = '{"schedule": "0 3 * * 1"}'
COMMAND = re.compile(r"^\s*::([a-z-]+)(?: ([^:]*(?::[^:]+)*))?::(.*)$")


@dataclass(frozen=True, slots=True)
class Step:
    """What a finished step left behind."""

    code: int
    log: str
    outputs: Mapping[str, str]
    summary: str

    def annotations(self, kind: str) -> list[str]:
        """Messages of the workflow commands of one kind, as the runner decodes them."""
        matches = [COMMAND.match(line) for line in self.log.splitlines()]
        messages = [match[3] for match in matches if match and match[1] == kind]
        return [
            text.replace("%0D", "\r").replace("%0A", "\n").replace("%25", "%") for text in messages
        ]


class Job:
    """A job of a workflow: a workspace with a checkout, and the runner's own files."""

    def __init__(
        self, folder: Path, github: FakeGitHub | None = None, event: str = SCHEDULED
    ) -> None:
        self.github = github
        self.event = event
        self.workspace = folder / "workspace"
        self.runner = folder / "runner"
        (self.workspace / "iam").mkdir(parents=True)
        (self.runner / "temp").mkdir(parents=True)
        self.commit(POLICY)
        write_trail(self.workspace / "cloudtrail", usual_deploys())

    @property
    def policy(self) -> Path:
        """The committed policy."""
        return self.workspace / POLICY_FILE

    def commit(self, policy: object) -> None:
        """Writes the policy file."""
        self.policy.write_text(policy if isinstance(policy, str) else json.dumps(policy, indent=2))

    def git(self, *arguments: str) -> str:
        """Runs git in the workspace."""
        identity = ["-c", "user.name=Kim", "-c", "user.email=kim@example.com"]
        command = ["git", *identity, *arguments]
        completed = subprocess.run(
            command, cwd=self.workspace, check=True, capture_output=True, text=True
        )
        return completed.stdout

    def repository(self) -> Job:
        """Makes the workspace a git repository with everything committed on `main`."""
        self.git("init", "-q", "-b", "main")
        self.git("add", "iam")
        self.git("commit", "-q", "-m", "Begin")
        return self

    def step(
        self, debug: bool = False, extra: Mapping[str, str] | None = None, **inputs: str
    ) -> Step:
        """Runs the step in the process of the test, with the inputs that a workflow writes under
        `with:`.
        """
        environment = self._variables(inputs, debug, extra)
        log, errors = io.StringIO(), io.StringIO()
        with (
            contextlib.chdir(self.runner),
            patch.dict(os.environ, environment, clear=True),
        ):
            code = action_main(environment, log, errors, lambda: datetime.now(UTC))
        assert errors.getvalue() == ""
        return self._finished(code, log.getvalue())

    def started_step(
        self, debug: bool = False, extra: Mapping[str, str] | None = None, **inputs: str
    ) -> Step:
        """Runs the step as the runner does: `entrypoint.py` in a process of its own."""
        completed = subprocess.run(
            ENTRY,
            env=self._variables(inputs, debug, extra),
            cwd=self.runner,
            capture_output=True,
            text=True,
            check=False,
        )
        assert completed.stderr == ""
        return self._finished(completed.returncode, completed.stdout)

    def _variables(
        self, inputs: Mapping[str, str], debug: bool, extra: Mapping[str, str] | None
    ) -> dict[str, str]:
        for name in ("output", "summary"):
            (self.runner / name).write_text("")
        return {**self.environment(inputs), "RUNNER_DEBUG": "1" if debug else "", **(extra or {})}

    def _finished(self, code: int, log: str) -> Step:
        outputs = read_outputs((self.runner / "output").read_text())
        return Step(code, log, outputs, (self.runner / "summary").read_text())

    def environment(self, inputs: Mapping[str, str]) -> dict[str, str]:
        """The variables that a runner sets: every input of action.yml, with its default or
        empty.
        """
        event = self.runner / "event.json"
        event.write_text(self.event)
        role_inputs = {
            "role-arn": ROLE,
            "policy-file": POLICY_FILE,
            "trails": "cloudtrail",
            "mode": "report",
        }
        if inputs.get("trails", "cloudtrail") == "cloudtrail":
            role_inputs["aws-regions"] = "eu-west-1"
        role_inputs |= {name.replace("_", "-"): value for name, value in inputs.items()}
        all_inputs = (
            {name: entry.get("default", "") for name, entry in declared().items()}
            | {"github-token": ""}
            | role_inputs
        )
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.runner),
            "CI": "true",
            "GITHUB_ACTIONS": "true",
            "GITHUB_WORKSPACE": str(self.workspace),
            "GITHUB_OUTPUT": str(self.runner / "output"),
            "GITHUB_STEP_SUMMARY": str(self.runner / "summary"),
            "GITHUB_EVENT_PATH": str(event),
            "GITHUB_EVENT_NAME": "schedule" if self.event == SCHEDULED else "pull_request",
            "GITHUB_REPOSITORY": "octo-org/shop",
            "GITHUB_REF": "refs/heads/main",
            "GITHUB_SHA": "c0ffee" + "0" * 34,
            "GITHUB_ACTOR": "kim",
            "GITHUB_RUN_ID": "17650000099",
            "GITHUB_SERVER_URL": self.github.server_url if self.github else "https://github.com",
            "GITHUB_API_URL": self.github.url if self.github else "https://api.github.com",
            "RUNNER_TEMP": str(self.runner / "temp"),
            **{f"INPUT_{name.upper()}": value for name, value in all_inputs.items()},
        }


@cache
def declared() -> Mapping[str, Mapping[str, Any]]:
    """The inputs of action.yml."""
    text = (ROOT / "action.yml").read_text(encoding="utf-8")
    return dict(YAML(typ="safe", pure=True).load(text)["inputs"])


def read_outputs(text: str) -> dict[str, str]:
    """Reads an output file as the runner on Linux does (`FileCommandManager.cs`): lines end at LF
    alone.
    """
    lines, outputs, position = text.split("\n"), dict[str, str](), 0
    while position < len(lines):
        line = lines[position]
        position += 1
        if not line:
            continue
        name, marks, delimiter = line.partition("<<")
        assert marks
        assert "=" not in name, f"the runner takes {line!r} for name=value"
        end = lines.index(delimiter, position)
        assert name not in outputs
        outputs[name] = "\n".join(lines[position:end])
        position = end + 1
    return outputs


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> tuple[Job, Step]:
    """A step in mode report whose proposal has changes."""
    job = Job(tmp_path_factory.mktemp("report"))
    return job, job.started_step(mode="report")


class TestReport:
    def test_a_report_with_changes_is_done_and_changes_nothing_in_the_workspace(
        self, report: tuple[Job, Step]
    ) -> None:
        job, step = report
        assert step.code == 0
        assert json.loads(job.policy.read_text()) == POLICY
        assert sorted(path.name for path in job.workspace.iterdir()) == ["cloudtrail", "iam"]

    def test_the_outputs_are_those_of_action_yml_and_show_the_change(
        self, report: tuple[Job, Step]
    ) -> None:
        outputs = report[1].outputs
        assert set(outputs) == OUTPUTS
        assert outputs["has-changes"] == "true"
        assert json.loads(outputs["added-actions"]) == ["cloudwatch:PutMetricAlarm"]
        assert {"sns:CreateTopic", "sqs:PurgeQueue"} <= set(json.loads(outputs["removed-actions"]))
        assert outputs["pull-request-operation"] == "none"
        assert (outputs["pull-request-head-sha"], outputs["pull-request-branch"]) == ("", "")

    def test_the_files_of_the_proposal_lie_in_the_runners_temporary_folder(
        self, report: tuple[Job, Step]
    ) -> None:
        job, step = report
        file = Path(step.outputs["proposal-file"])
        assert file.is_relative_to(job.runner / "temp")
        assert sorted(path.name for path in file.parent.iterdir()) == [
            "patch.json",
            "policy.json",
            "proposal.json",
            "pull-request.md",
        ]
        proposed = json.loads((file.parent / "policy.json").read_text())
        assert json.loads(step.outputs["policy"]) == proposed
        assert (
            jsonpatch.apply_patch(POLICY, json.loads((file.parent / "patch.json").read_text()))
            == proposed
        )

    def test_the_summary_is_the_pull_request_text_and_links_to_the_runs(
        self, report: tuple[Job, Step]
    ) -> None:
        summary = report[1].summary
        assert summary.startswith(
            "## iam(ci-deploy): 55 -> 25 actions, plus 1 added\n\n> [!WARNING]\n> **Rehearse before"
        )
        assert "[17650000005](https://github.com/octo-org/shop/actions/runs/17650000005)" in summary
        assert summary.endswith("-->\n")

    def test_at_most_one_notice_and_one_warning_point_at_the_policy_file(
        self, report: tuple[Job, Step]
    ) -> None:
        step = report[1]
        assert step.annotations("notice") == ["3 entries grant more than ci-deploy used."]
        assert step.annotations("warning") == ["1 call was denied that the proposal would allow."]
        assert step.annotations("error") == []
        assert f"::notice file={POLICY_FILE},line=4,title=Not used::" in step.log

    def test_the_log_is_one_closed_group_that_names_what_was_read(
        self, report: tuple[Job, Step]
    ) -> None:
        lines = report[1].log.splitlines()
        commands = [line for line in lines if line.startswith("::")]
        assert commands[0] == "::group::Least privilege from evidence"
        assert commands[1] == "::endgroup::"
        assert "Read 13 records in 7 files: 13 calls in 6 runs" in lines

    def test_nothing_to_change_is_done_and_still_writes_summary_and_outputs(self, job: Job) -> None:
        job.commit(as_committed())
        write_trail(job.workspace / "settled", deploys([UPDATE, CREATE_QUEUE]))
        for mode in ("report", "check"):
            step = job.step(mode=mode, trails="settled")
            assert step.code == 0
            assert step.outputs["has-changes"] == "false"
            assert (step.outputs["added-actions"], step.outputs["removed-actions"]) == ("[]", "[]")
            assert step.summary.startswith(
                "## iam(ci-deploy): nothing to change\n\n> [!NOTE]\n> **Nothing to change.**"
            )
            assert step.annotations("notice") == step.annotations("warning") == []

    def test_a_policy_that_does_not_exist_yet_is_drafted(self, job: Job) -> None:
        step = job.step(policy_file="iam/new.json")
        assert step.code == 0
        assert step.outputs["removed-actions"] == "[]"
        assert "lambda:UpdateFunctionCode" in json.loads(step.outputs["added-actions"])
        assert not (job.workspace / "iam/new.json").exists()

    def test_check_fails_with_three_on_drift_and_writes_the_same_outputs_and_a_summary_with_the_findings(
        self, job: Job, report: tuple[Job, Step]
    ) -> None:
        step = job.step(mode="check")
        assert step.code == 3
        before, mark, after_mark = step.summary.partition("### The change that ends it\n\n")
        title, _, drift = before.partition("\n\n")
        assert drift.startswith("> [!WARNING]\n> **Drift: 4 findings.** ")
        assert f"{title}\n\n{after_mark}" == report[1].summary
        assert mark
        assert {**step.outputs, "proposal-file": ""} == {**report[1].outputs, "proposal-file": ""}


class TestPullRequest:
    def test_a_pull_request_is_done_with_code_zero_and_names_its_branch(self, job: Job) -> None:
        step = job.repository().step(mode="pull-request")
        assert step.code == 0
        assert step.outputs["pull-request-operation"] == "created"
        assert step.outputs["pull-request-branch"] == "leastpriv/ci-deploy"
        assert (
            step.outputs["pull-request-head-sha"]
            == job.git("rev-parse", "leastpriv/ci-deploy").strip()
        )
        assert job.git("show", f"leastpriv/ci-deploy:{POLICY_FILE}") == step.outputs["policy"]
        assert job.git("rev-parse", "--abbrev-ref", "HEAD") == "main\n"

        again = job.step(mode="pull-request")
        assert (again.code, again.outputs["pull-request-operation"]) == (0, "none")
        assert again.outputs["pull-request-head-sha"] == step.outputs["pull-request-head-sha"]

        job.commit(as_committed())
        job.git("commit", "-q", "-a", "-m", "Settle")
        write_trail(job.workspace / "settled", deploys([UPDATE, CREATE_QUEUE]))
        closed = job.step(mode="pull-request", trails="settled")
        assert (closed.code, closed.outputs["pull-request-operation"]) == (0, "closed")
        assert closed.outputs["pull-request-head-sha"] == ""

    def test_a_branch_that_a_person_worked_on_is_left_alone_with_a_reason_in_the_log(
        self, job: Job
    ) -> None:
        job.repository().step(mode="pull-request", branch="policy/ci")
        job.git("checkout", "-q", "policy/ci")
        job.policy.write_text(job.policy.read_text() + "\n")
        job.git("commit", "-q", "-a", "-m", "By hand")
        head = job.git("rev-parse", "HEAD")
        job.git("checkout", "-q", "main")
        step = job.step(mode="pull-request", branch="policy/ci", minimum_days="0", keep="sns:*")
        assert (step.code, step.outputs["pull-request-operation"]) == (0, "none")
        assert "The branch policy/ci has commits of others" in step.log
        assert job.git("rev-parse", "policy/ci") == head

    def test_outside_a_repository_a_pull_request_cannot_do_its_job(self, job: Job) -> None:
        step = job.step(mode="pull-request")
        assert step.code == 1
        assert len(step.annotations("error")) == 1
        assert "git" in step.annotations("error")[0]
        assert "defect" not in step.log

    def test_a_branch_that_is_checked_out_is_not_moved(self, job: Job) -> None:
        job.repository().git("checkout", "-q", "-b", "leastpriv/ci-deploy")
        step = job.step(mode="pull-request", base="main")
        assert step.code == 1
        assert "leastpriv/ci-deploy" in step.annotations("error")[0]


@pytest.fixture
def hub() -> Iterator[FakeGitHub]:
    """The repository on GitHub, with the policy on `main` and the runs that the session names speak
    of.
    """
    with FakeGitHub("octo-org/shop", files={POLICY_FILE: json.dumps(POLICY, indent=2)}) as fake:
        fake.add_user("kim", "write")
        add_runs(fake)
        yield fake


def add_runs(hub: FakeGitHub, branch: str = "main", event: str = "push") -> None:
    """The workflow runs of the usual deploys; as old as their calls."""
    for deploy in usual_deploys():
        session = deploy["userIdentity"]["arn"].rpartition("/")[2]
        hub.add_run(int(session), branch, event, created_at=deploy["eventTime"])


class TestGitHub:
    def test_no_checkout_is_needed_and_the_outputs_name_the_pull_request(
        self, tmp_path: Path, hub: FakeGitHub
    ) -> None:
        job = Job(tmp_path, hub)
        job.policy.unlink()
        step = job.step(mode="pull-request", github_token=hub.token)
        assert step.code == 0
        number = int(step.outputs["pull-request-number"])
        pull = hub.pull(number)
        assert step.outputs["pull-request-operation"] == "created"
        assert step.outputs["pull-request-url"].endswith(f"/octo-org/shop/pull/{number}")
        assert step.outputs["pull-request-head-sha"] == hub.head("leastpriv/ci-deploy")
        assert hub.file(POLICY_FILE, "leastpriv/ci-deploy").decode() == step.outputs["policy"]
        assert (pull.title, pull.labels) == (
            "iam(ci-deploy): 55 -> 25 actions, plus 1 added",
            ["leastpriv"],
        )
        assert f"[#{number}]" in step.summary
        assert not (job.workspace / ".git").exists()
        assert hub.violations == []

        again = job.step(mode="pull-request", github_token=hub.token)
        assert (again.code, again.outputs["pull-request-operation"]) == (0, "none")
        assert again.outputs["pull-request-number"] == str(number)

        hub.commit_as("kim", "main", {POLICY_FILE: json.dumps(as_committed(), indent=2)})
        write_trail(job.workspace / "settled", deploys([UPDATE, CREATE_QUEUE]))
        closed = job.step(mode="pull-request", github_token=hub.token, trails="settled")
        assert (closed.code, closed.outputs["pull-request-operation"]) == (0, "closed")
        assert hub.pull(number).state == "closed"

    def test_declined_changes_stay_away_one_by_one_and_others_still_come(
        self, tmp_path: Path, hub: FakeGitHub
    ) -> None:
        job = Job(tmp_path, hub)
        first = job.step(mode="pull-request", github_token=hub.token, keep="sns:*")
        hub.close_pull(int(first.outputs["pull-request-number"]), "kim")
        number = first.outputs["pull-request-number"]
        second = job.step(mode="pull-request", github_token=hub.token)
        assert second.outputs["pull-request-operation"] == "created"
        assert json.loads(second.outputs["removed-actions"]) == ["sns:CreateTopic"]
        assert second.outputs["added-actions"] == "[]"
        assert f"it was declined in `#{number}`" in second.summary
        report = job.step(github_token=hub.token)
        assert json.loads(report.outputs["removed-actions"]) == ["sns:CreateTopic"]
        hub.close_pull(int(second.outputs["pull-request-number"]), "kim")
        check = job.step(mode="check", github_token=hub.token)
        assert (check.code, check.outputs["has-changes"]) == (0, "false")
        hub.label_as("kim", int(number), RECONSIDER_LABEL)
        assert "sqs:PurgeQueue" in job.step(github_token=hub.token).outputs["removed-actions"]

    def test_additions_come_from_runs_of_the_base_branch_alone(
        self, tmp_path: Path, hub: FakeGitHub
    ) -> None:
        job = Job(tmp_path, hub)
        hub.commit_as("kim", "feature/x", {"a.txt": "x"})
        add_runs(hub, "feature/x")
        step = job.step(mode="pull-request", github_token=hub.token)
        assert step.outputs["added-actions"] == "[]"
        assert (
            "only these runs need it: the branch `feature/x`, which is not protected"
            in step.summary
        )
        add_runs(hub, "main")
        step = job.step(mode="pull-request", github_token=hub.token)
        assert step.outputs["added-actions"] == '["cloudwatch:PutMetricAlarm"]'
        assert "branch unknown" not in step.summary

    def test_runs_that_github_does_not_know_are_marked(
        self, tmp_path: Path, hub: FakeGitHub
    ) -> None:
        hub.world.runs.clear()
        job = Job(tmp_path, hub)
        again = deploys([REFUSED], first=FIRST + timedelta(days=28, minutes=1), times=1, number=4)
        write_trail(job.workspace / "cloudtrail", [*usual_deploys(), *again])
        step = job.step(mode="pull-request", github_token=hub.token)
        assert "(branch unknown)" in step.summary
        assert "The branch of the runs behind `cloudwatch:PutMetricAlarm`" in step.summary

    def test_forbidden_creation_is_one_with_branch_link_summary_and_outputs(
        self, tmp_path: Path, hub: FakeGitHub
    ) -> None:
        hub.forbid_pull_request_creation()
        step = Job(tmp_path, hub).step(mode="pull-request", github_token=hub.token)
        assert step.code == 1
        link = f"{hub.server_url}/octo-org/shop/compare/main...leastpriv/ci-deploy?expand=1"
        assert link in step.annotations("error")[0]
        assert f"[Open it yourself]({link})" in step.summary
        assert step.outputs["pull-request-head-sha"] == hub.head("leastpriv/ci-deploy")
        assert "Not published" in step.summary
        assert "`cloudwatch:PutMetricAlarm`" in step.summary.partition("<details>")[0]

    @pytest.mark.parametrize("whose", ["fork", "dependabot"])
    def test_a_run_with_a_read_only_token_only_reports(
        self, tmp_path: Path, hub: FakeGitHub, whose: str
    ) -> None:
        head = "eve/shop" if whose == "fork" else "octo-org/shop"
        pull = {
            "head": {"repo": {"full_name": head}},
            "base": {"repo": {"full_name": "octo-org/shop"}},
        }
        job = Job(tmp_path, hub, json.dumps({"pull_request": pull}))
        actor = {"GITHUB_ACTOR": "dependabot[bot]"} if whose == "dependabot" else {}
        step = job.step(extra=actor, mode="pull-request", github_token=hub.read_only_token)
        assert (step.code, step.outputs["has-changes"]) == (0, "true")
        assert step.outputs["pull-request-operation"] == "none"
        assert any("read-only" in notice for notice in step.annotations("notice"))
        assert all(
            request.method == "GET" or "query {" in str(request.body) for request in hub.requests
        )

    def test_a_token_that_may_read_contents_only_is_no_reason_to_fail_a_report(
        self, tmp_path: Path, hub: FakeGitHub
    ) -> None:
        token = hub.token_for("github-actions[bot]", {"metadata": "read", "contents": "read"})
        step = Job(tmp_path, hub).step(github_token=token)
        assert (step.code, step.outputs["has-changes"]) == (0, "true")
        assert "Not known: what was declined earlier" in step.log

    @pytest.mark.parametrize("mode", ["report", "check"])
    def test_without_checkout_and_github_a_policy_is_not_taken_for_missing(
        self, tmp_path: Path, hub: FakeGitHub, mode: str
    ) -> None:
        job = Job(tmp_path, hub)
        job.policy.unlink()
        step = job.step(mode=mode, github_token="wrong")  # noqa: S106 - an invented one
        assert step.code == 1
        assert "github-token" in step.annotations("error")[0]
        hub.violations.clear()

    def test_unreadable_declines_prevent_publishing_and_not_the_report(
        self, tmp_path: Path, hub: FakeGitHub
    ) -> None:
        token = hub.token_for("github-actions[bot]", {"metadata": "read", "contents": "write"})
        step = Job(tmp_path, hub).step(mode="pull-request", github_token=token)
        assert step.code == 1
        assert "pull-requests: read" in step.annotations("error")[0]
        assert "Not published" in step.summary
        assert "leastpriv/ci-deploy" not in str(
            [request.path for request in hub.requests if request.method == "POST"]
        )

    def test_two_files_of_one_role_do_not_share_a_branch_by_accident(
        self, tmp_path: Path, hub: FakeGitHub
    ) -> None:
        Job(tmp_path / "1", hub).step(mode="pull-request", github_token=hub.token)
        step = Job(tmp_path / "2", hub).step(
            mode="pull-request", github_token=hub.token, policy_file="iam/other.json"
        )
        assert step.code == 1
        assert "input branch" in step.annotations("error")[0]

    def test_a_declined_draft_is_reported_as_declined(
        self, tmp_path: Path, hub: FakeGitHub
    ) -> None:
        first = Job(tmp_path / "1", hub).step(
            mode="pull-request", github_token=hub.token, policy_file="iam/new.json"
        )
        hub.close_pull(int(first.outputs["pull-request-number"]), "kim")
        again = Job(tmp_path / "2", hub).step(
            mode="pull-request", github_token=hub.token, policy_file="iam/new.json"
        )
        assert again.outputs["has-changes"] == "false"
        assert "The first draft was declined" in again.summary

    def test_without_a_checkout_a_report_reads_the_policy_on_github(
        self, tmp_path: Path, hub: FakeGitHub
    ) -> None:
        job = Job(tmp_path, hub)
        job.policy.unlink()
        step = job.step(github_token=hub.token)
        assert "sqs:PurgeQueue" in step.outputs["removed-actions"]


BAD: Mapping[str, tuple[Mapping[str, Any], str]] = {
    "no role": ({"role_arn": ""}, "role-arn is missing"),
    "a session for a role": (
        {"role_arn": "arn:aws:sts::111122223333:assumed-role/ci/1"},
        "role-arn",
    ),
    "no policy file": ({"policy_file": " "}, "policy-file is missing"),
    "an unknown mode": ({"mode": "pr"}, "mode is 'pr'"),
    "a config that does not exist": (
        {"config": "x.yml"},
        "The input config names 'x.yml', which does not exist",
    ),
    "a page outside the workspace": ({"page_file": "../page.html"}, "page-file"),
    "an absolute SARIF file": ({"sarif_file": "/tmp/x.sarif"}, "sarif-file"),  # noqa: S108
    "a page over the policy": (
        {"page_file": "./iam/ci-deploy.json"},
        "page-file is './iam/ci-deploy.json'",
    ),
    "a table without a database": ({"athena_table": "trails"}, "athena-table is 'trails'"),
    "a draft that is neither": ({"draft": "yes"}, "draft is 'yes'"),
    "a branch that git refuses": ({"branch": "a..b"}, "branch is 'a..b'"),
    "a base that git refuses": ({"base": "-x"}, "base is '-x'"),
    "days that are no number": ({"minimum_days": "a month"}, "minimum-days is 'a month'"),
    "a number of runs below zero": ({"minimum_runs": "-1"}, "minimum-runs is '-1'"),
    "a policy outside the workspace": ({"policy_file": "../runner/event.json"}, "policy-file"),
    "an absolute policy": ({"policy_file": "/etc/passwd"}, "policy-file"),
    "a file of git": ({"policy_file": ".git/config"}, "policy-file"),
    "a trail outside the workspace": ({"trails": "cloudtrail,../runner"}, "trails"),
    "an attached policy outside": ({"also_attached": "../runner/event.json"}, "also-attached"),
    "a trust policy outside": ({"trust_policy": "../runner/event.json"}, "trust-policy"),
    "an attached policy that is not there": ({"also_attached": "iam/none.json"}, "also-attached"),
    "a trail that is not there": ({"trails": "nowhere"}, "nowhere"),
    "a trail without a file": ({"trails": "iam/empty"}, "has no CloudTrail file"),
    "a bucket without a name": ({"trails": "s3:///AWSLogs"}, "trails is 's3:///AWSLogs'"),
    "a policy that is a folder": ({"policy_file": "iam"}, "policy-file"),
    "a keep that is no pattern": ({"keep": "DeleteBucket"}, "keep holds 'DeleteBucket'"),
}


class TestBadInput:
    @pytest.mark.parametrize("case", BAD)
    def test_bad_input_is_two_and_one_error_that_names_it(self, job: Job, case: str) -> None:
        inputs, expected_names = BAD[case]
        (job.workspace / "iam/empty").mkdir()
        step = job.step(**inputs)
        assert step.code == 2
        errors = step.annotations("error")
        assert len(errors) == 1
        assert expected_names in errors[0]
        assert re.search(r"[.:] ?", errors[0])
        assert errors[0].endswith(".")
        assert "Traceback" not in step.log
        assert step.outputs == {}

    def test_without_a_trail_and_without_credentials_one_sentence_names_both_ways_out(
        self, job: Job
    ) -> None:
        step = job.step(trails="\n")
        (error,) = step.annotations("error")
        assert step.code == 1
        assert "configure-aws-credentials" in error
        assert "input trails" in error

    @pytest.mark.parametrize(
        "text", ["", "{", "[]", '{"Statement": [{"Effect": "Maybe"}]}', '{"a": "\ud83d"}']
    )
    def test_a_malformed_policy_is_bad_input_that_names_the_file(self, job: Job, text: str) -> None:
        job.policy.write_bytes(text.encode("utf-8", "surrogatepass"))
        step = job.step()
        assert step.code == 2
        assert POLICY_FILE in step.annotations("error")[0]

    def test_a_link_out_of_the_workspace_is_bad_input(self, job: Job) -> None:
        (job.workspace / "iam/link.json").symlink_to(job.runner / "event.json")
        step = job.step(policy_file="iam/link.json")
        assert step.code == 2
        assert "leads out of the repository" in step.annotations("error")[0]

    def test_a_token_is_masked_before_any_other_output(
        self, tmp_path: Path, hub: FakeGitHub
    ) -> None:
        step = Job(tmp_path, hub).step(github_token="ghs_verysecret")  # noqa: S106 - an invented one
        hub.violations.clear()
        assert step.log.splitlines()[0] == "::add-mask::ghs_verysecret"
        assert step.log.count("ghs_verysecret") == 1


class TestTrust:
    def test_names_from_evidence_and_inputs_run_no_command_and_set_no_output(
        self, job: Job
    ) -> None:
        key = "x\n::set-output name=policy::{}\n##[add-mask]deploy"
        put = {
            "event": "s3:PutObject",
            "data": True,
            "parameters": {"bucketName": "shop", "key": key},
        }
        odd = {
            "event": "lambda:##[error]deploy",
            "error": "AccessDenied",
            "message": f"no\n::error::{key}",
        }
        write_trail(job.workspace / "hostile", deploys([UPDATE, put, odd]))
        job.commit(
            {
                **POLICY,
                "Statement": [{**POLICY["Statement"][0], "Sid": "x\n::warning::y\npolicy=z"}],
            }
        )
        step = job.step(trails="hostile", resources="exact")
        assert step.code == 0
        assert set(step.outputs) == OUTPUTS
        assert "##[" not in step.log
        names = [
            line.strip().split("::")[1].split()[0]
            for line in step.log.splitlines()
            if "::" in line[:3]
        ]
        assert set(names) <= {"group", "endgroup", "notice", "warning"}

    def test_an_error_in_debug_mode_shows_where_and_runs_no_command(self, job: Job) -> None:
        step = job.step(debug=True, mode="x\n::set-output name=policy::y")
        assert step.code == 2
        assert "Traceback" in step.log
        assert step.annotations("set-output") == []


def test_the_proposal_and_the_summary_are_written_before_anything_is_published(
    tmp_path: Path, hub: FakeGitHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that ends while it publishes, as at the time limit of a job, leaves both."""
    job = Job(tmp_path, hub)
    monkeypatch.setattr(propose, "publish_all", interrupted)
    environment = job.environment({"mode": "pull-request", "github-token": hub.token})
    (job.runner / "summary").write_text("# Of another tool\n")
    assert action_main(environment, io.StringIO(), io.StringIO(), lambda: NOW) != 0
    assert json.loads((job.runner / "temp" / "leastpriv" / "proposal.json").read_text())["changes"]
    summary = (job.runner / "summary").read_text()
    assert summary.startswith("# Of another tool\n")
    assert "cloudwatch:PutMetricAlarm" in summary


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt
