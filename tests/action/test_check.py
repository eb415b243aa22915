"""The promises of the mode check in a step: one annotation a finding, a table, exit code 3 or one
tracking issue.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.action.test_step import POLICY_FILE, Job, Step, add_runs
from tests.fakes.deploys import (
    CREATE_QUEUE,
    FIRST,
    POLICY,
    UPDATE,
    as_committed,
    deploys,
    record,
    usual_deploys,
    write_trail,
)
from tests.fakes.github import FakeGitHub

RIGHTS = {
    "metadata": "read",
    "contents": "read",
    "pull_requests": "read",
    "actions": "read",
    "issues": "write",
}


@pytest.fixture
def hub() -> Iterator[FakeGitHub]:
    with FakeGitHub(
        "octo-org/shop", permissions=RIGHTS, files={POLICY_FILE: json.dumps(POLICY, indent=2)}
    ) as fake:
        fake.add_user("kim", "write")
        add_runs(fake)
        yield fake


def warnings_with_line(step: Step) -> list[tuple[int, str]]:
    """Line and message of the warnings at the policy file."""
    matches = re.findall(rf"::warning file={POLICY_FILE},line=(\d+),title=Drift::(.*)", step.log)
    return [(int(line), message) for line, message in matches]


def settle(job: Job) -> None:
    """Commits what the evidence says, and a trail without a refusal."""
    job.commit(as_committed())
    write_trail(job.workspace / "settled", deploys([UPDATE, CREATE_QUEUE]))


def line_with(job: Job, text: str) -> int:
    lines = job.policy.read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if text in line)


def test_every_finding_is_a_warning_at_its_line_and_a_row_of_the_table(tmp_path: Path) -> None:
    job = Job(tmp_path)
    step = job.step(mode="check")
    assert step.code == 3
    assert warnings_with_line(step) == [
        (1,
        "cloudwatch:PutMetricAlarm on arn:aws:cloudwatch:eu-west-1:111122223333:alarm:orders: needed, and not in "
         "the file (denied 1×)"),
        (line_with(job, "sqs:PurgeQueue"),
        "sqs:PurgeQueue on arn:aws:sqs:eu-west-1:111122223333:orders: not used"),
        (line_with(job, "sns:CreateTopic"),
        "sns:CreateTopic on arn:aws:sns:eu-west-1:111122223333:orders: not used"),
        (line_with(job, "lambda:*"), warnings_with_line(step)[3][1]),
    ]  # fmt: skip
    table = step.summary.partition("**Drift: 4 findings.**")[2].partition("###")[0]
    assert len(re.findall(r"^\| .*, line \d+ \|", table, re.MULTILINE)) == 4
    assert len(step.annotations("error")) == 1
    assert "4 findings" in step.annotations("error")[0]


def test_more_findings_than_a_step_may_show_are_counted_in_the_last_warning(tmp_path: Path) -> None:
    job = Job(tmp_path)
    actions = [
        "sns:CreateTopic",
        *(f"sns:{name}" for name in ("Subscribe", "Unsubscribe", "TagResource")),
    ]
    further_actions = [
        f"events:{name}"
        for name in ("PutRule", "DeleteRule", "PutTargets", "RemoveTargets", "EnableRule")
    ]
    further_actions += [
        f"ecr:{name}" for name in ("CreateRepository", "DeleteRepository", "PutLifecyclePolicy")
    ]
    statement = {"Effect": "Allow", "Action": [*actions, *further_actions], "Resource": "*"}
    job.commit({**POLICY, "Statement": [*POLICY["Statement"], statement]})
    step = job.step(mode="check")
    assert len(step.annotations("warning")) == 9
    assert re.fullmatch(
        r"\d+ more findings: see the job summary\.", step.annotations("warning")[-1]
    )


def test_a_clean_check_annotates_nothing(tmp_path: Path) -> None:
    job = Job(tmp_path)
    settle(job)
    step = job.step(mode="check", trails="settled")
    assert (step.code, step.annotations("warning"), "**Drift:" in step.summary) == (0, [], False)


class TestIssue:
    def test_it_is_opened_left_alone_edited_and_closed(
        self, tmp_path: Path, hub: FakeGitHub
    ) -> None:
        job = Job(tmp_path, hub)

        def check(trail: str = "cloudtrail") -> Step:
            return job.step(
                mode="check", drift_report="issue", github_token=hub.token, trails=trail
            )

        first = check()
        assert (first.code, first.annotations("error")) == (0, [])
        issue = hub.world.issue(1)
        assert (issue.title, issue.state) == ("Drift of the policy of ci-deploy", "open")
        assert "| needed, and not in the<br>file | no / " in str(issue.body)
        assert "/actions/runs/17650000099" in str(issue.body)
        body = issue.body
        assert "left as it is" in check().log
        assert (issue.body, hub.comments(1)) == (body, [])
        write_trail(job.workspace / "later", [*usual_deploys(), *deploys([NEW], number=60)])
        check("later")
        assert issue.body != body
        assert len(hub.comments(1)) == 1
        settle(job)
        assert check("settled").code == 0
        assert issue.state == "closed"

    def test_without_the_permission_the_job_fails_and_names_it(
        self, tmp_path: Path, hub: FakeGitHub
    ) -> None:
        token = hub.token_for("github-actions[bot]", {**RIGHTS, "issues": "read"})
        step = Job(tmp_path, hub).step(mode="check", drift_report="issue", github_token=token)
        assert step.code == 1
        assert "issues: write" in step.annotations("error")[0]

    def test_without_a_token_drift_fails_the_job_as_ever(self, tmp_path: Path) -> None:
        assert Job(tmp_path).step(mode="check", drift_report="issue").code == 3

    @pytest.mark.parametrize(("when", "code"), [("fail", 1), ("report", 0)])
    def test_without_a_call_an_issue_is_neither_edited_nor_closed(
        self, tmp_path: Path, hub: FakeGitHub, when: str, code: int
    ) -> None:
        job = Job(tmp_path, hub)
        job.step(mode="check", drift_report="issue", github_token=hub.token)
        issue = hub.world.issue(1)
        body = issue.body
        write_trail(
            job.workspace / "others",
            [record(UPDATE, FIRST, "1", "arn:aws:iam::111122223333:role/ops/backup")],
        )
        step = job.step(
            mode="check",
            drift_report="issue",
            github_token=hub.token,
            trails="others",
            when_no_calls=when,
        )
        assert step.code == code
        assert (
            "No calls by role/ci-deploy."
            in (step.annotations("error" if code else "warning") or [step.log])[0]
        )
        assert "**No call was checked.** No calls by" in step.summary
        assert (issue.state, issue.body, hub.comments(1)) == ("open", body, [])

    def test_another_value_is_bad_input(self, tmp_path: Path) -> None:
        step = Job(tmp_path).step(mode="check", drift_report="mail")
        assert (step.code, "fail or issue" in step.annotations("error")[0]) == (2, True)


NEW = {
    "event": "sqs:TagQueue",
    "parameters": {"queueUrl": "https://sqs.eu-west-1.amazonaws.com/111122223333/orders"},
}


def test_templates_alone_are_compared_with_the_whole_policy(tmp_path: Path) -> None:
    """No trail is read: exit code 3 with the missing permissions in the summary."""
    job = Job(tmp_path)
    table = {"Carts": {"Type": "AWS::DynamoDB::Table", "Properties": {"TableName": "carts"}}}
    (job.workspace / "t.json").write_text(json.dumps({"Resources": table}))
    step = job.step(mode="check", trails="", templates="shop=t.json", aws_regions="eu-west-1")
    assert step.code == 3, step.log
    assert "| `dynamodb:CreateTable`" in step.summary
    assert "lacks permissions" in step.log
    job.commit(
        {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}
    )
    step = job.step(mode="check", trails="", templates="shop=t.json", aws_regions="eu-west-1")
    assert step.code == 0, step.log


def test_a_file_with_parameters_outside_is_refused(tmp_path: Path) -> None:
    job = Job(tmp_path)
    step = job.step(mode="check", trails="", templates="shop=t.json?../p.json")
    assert step.code == 2
    assert "leads out of the repository" in step.log
