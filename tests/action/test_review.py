"""The promises of the mode review: one comment on a person's pull request, the summary, an exit
code, no commit.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from leastpriv.cli.main import main
from tests.action.test_step import POLICY_FILE, Job, Step, add_runs
from tests.fakes.deploys import FIRST, NOW, POLICY, ROLE, UPDATE, as_committed, record, write_trail
from tests.fakes.github import FakeGitHub
from tests.fakes.github.direct import without_sockets

BRANCH = "kim/policy"


@pytest.fixture
def hub() -> Iterator[FakeGitHub]:
    files = {POLICY_FILE: json.dumps(POLICY, indent=2)}
    with FakeGitHub("octo-org/shop", files=files) as fake, without_sockets(fake):
        fake.add_user("kim", "write")
        add_runs(fake)
        yield fake


def edited(hub: FakeGitHub, policy: Mapping[str, Any] | None, path: str = POLICY_FILE) -> int:
    """Kim's pull request with another policy; gives its number."""
    content = None if policy is None else json.dumps(policy, indent=2)
    hub.commit_as("kim", BRANCH, {path: content})
    return hub.open_pull_as("kim", BRANCH)


def review(
    folder: Path,
    hub: FakeGitHub,
    number: int,
    *,
    fork: bool = False,
    token: str = "",
    **inputs: str,
) -> Step:
    pull = {
        "number": number,
        "base": {"sha": hub.head("main"), "repo": {"full_name": "octo-org/shop"}},
        "head": {
            "sha": hub.head(BRANCH),
            "repo": {"full_name": "eve/shop" if fork else "octo-org/shop"},
        },
    }
    job = Job(folder, hub, json.dumps({"pull_request": pull}))
    job.policy.unlink()
    return job.step(mode="review", github_token=token or hub.token, **inputs)


def without(sid: str) -> dict[str, Any]:
    return {
        **POLICY,
        "Statement": [statement for statement in POLICY["Statement"] if statement["Sid"] != sid],
    }


def with_grant(action: str, resource: str) -> dict[str, Any]:
    grant = {"Sid": "More", "Effect": "Allow", "Action": action, "Resource": resource}
    return {**POLICY, "Statement": [*POLICY["Statement"], grant]}


def writes(hub: FakeGitHub) -> list[str]:
    return [
        f"{request.method} {request.path}"
        for request in hub.requests
        if request.method not in ("GET", "HEAD") and "query {" not in str(request.body)
    ]


def test_a_removal_of_what_was_used_is_three_and_one_comment_with_the_run(
    tmp_path: Path, hub: FakeGitHub
) -> None:
    number = edited(hub, without("Functions"))
    step = review(tmp_path, hub, number)
    assert step.code == 3
    [comment] = hub.comments(number)
    assert "lambda:UpdateFunctionCode" in comment
    assert "used 6×" in comment
    assert "/octo-org/shop/actions/runs/17650000005)" in comment
    assert step.summary.startswith("## Policy review for ci-deploy: denies 6 recorded calls\n\n")
    assert step.outputs["has-changes"] == "true"
    assert "exit code 3" in step.annotations("error")[0]
    assert [write for write in writes(hub) if "git" in write or "pulls" in write] == []


def test_the_comment_is_edited_in_place_and_reports_a_corrected_edit(
    tmp_path: Path, hub: FakeGitHub
) -> None:
    number = edited(hub, without("Functions"))
    review(tmp_path / "1", hub, number)
    hub.commit_as("kim", BRANCH, {POLICY_FILE: json.dumps(as_committed(), indent=2)})
    step = review(tmp_path / "2", hub, number)
    assert step.code == 0
    [comment] = hub.comments(number)
    assert (
        "lambda:UpdateFunctionCode"
        not in comment.partition("Replay: ")[0].partition("Removes what was used")[2]
    )
    before = writes(hub)
    review(tmp_path / "3", hub, number)
    assert writes(hub) == before


def test_two_policies_reviewed_in_one_pull_request_have_a_comment_each(
    tmp_path: Path, hub: FakeGitHub
) -> None:
    number = edited(hub, without("Functions"))
    hub.commit_as("kim", BRANCH, {"iam/other.json": json.dumps(POLICY)})
    review(tmp_path / "1", hub, number)
    review(tmp_path / "2", hub, number, policy_file="iam/other.json")
    assert len(hub.comments(number)) == 2


def test_an_addition_without_evidence_is_reported_and_does_not_fail(
    tmp_path: Path, hub: FakeGitHub
) -> None:
    number = edited(
        hub, with_grant("sqs:ReceiveMessage", "arn:aws:sqs:eu-west-1:111122223333:other")
    )
    step = review(tmp_path, hub, number)
    assert step.code == 0
    assert "no evidence" in hub.comments(number)[0]
    assert len(step.annotations("warning")) == 1


def test_an_edit_that_opens_a_path_to_administrator_says_so(
    tmp_path: Path, hub: FakeGitHub
) -> None:
    number = edited(hub, with_grant("iam:AttachRolePolicy", "*"))
    review(tmp_path, hub, number)
    (comment,) = hub.comments(number)
    sentence = (
        "**New with this change:** an attacker in one run can become administrator by attaching"
    )
    assert sentence in comment


def test_an_addition_that_aws_denied_is_reported_with_its_count(
    tmp_path: Path, hub: FakeGitHub
) -> None:
    number = edited(
        hub,
        with_grant(
            "cloudwatch:PutMetricAlarm", "arn:aws:cloudwatch:eu-west-1:111122223333:alarm:*"
        ),
    )
    step = review(tmp_path, hub, number)
    assert step.code == 0
    assert "denied 1×" in hub.comments(number)[0]


def test_an_edit_of_the_form_alone_needs_no_comment(tmp_path: Path, hub: FakeGitHub) -> None:
    hub.commit_as("kim", BRANCH, {POLICY_FILE: json.dumps(POLICY)})
    number = hub.open_pull_as("kim", BRANCH)
    step = review(tmp_path, hub, number)
    assert (step.code, hub.comments(number), step.outputs["has-changes"]) == (0, [], "false")
    assert "no change of permissions" in step.summary


def test_an_edit_of_an_attached_policy_is_part_of_it(tmp_path: Path, hub: FakeGitHub) -> None:
    grants, remaining = [
        [s for s in POLICY["Statement"] if (s["Sid"] == "Functions") is is_function]
        for is_function in (True, False)
    ]
    hub.commit_as("kim", "main", {"iam/more.json": json.dumps({**POLICY, "Statement": grants})})
    hub.commit_as("kim", "main", {POLICY_FILE: json.dumps({**POLICY, "Statement": remaining})})
    hub.commit_as("kim", BRANCH, {"iam/more.json": None})
    step = review(tmp_path, hub, hub.open_pull_as("kim", BRANCH), also_attached="iam/more.json")
    assert step.code == 3
    assert "denies 6 recorded calls" in step.summary


def test_among_hundreds_of_files_the_policy_is_found(tmp_path: Path, hub: FakeGitHub) -> None:
    hub.commit_as("kim", BRANCH, {f"a/{number}.txt": "x" for number in range(320)})
    number = edited(hub, without("Functions"))
    assert review(tmp_path, hub, number).code == 3


def test_the_run_of_an_older_push_leaves_the_comment_to_the_newer_one(
    tmp_path: Path, hub: FakeGitHub
) -> None:
    number = edited(hub, without("Functions"))
    newer: list[str] = []
    hub.before_next(
        "GET",
        f"/pulls/{number}$",
        lambda: newer.append(hub.commit_as("kim", BRANCH, {"README.md": "later\n"})),
    )
    step = review(tmp_path, hub, number)
    assert (step.code, hub.comments(number), len(newer)) == (3, [], 1)


def test_a_second_comment_of_two_runs_at_once_goes_with_the_next(
    tmp_path: Path, hub: FakeGitHub
) -> None:
    number = edited(hub, without("Functions"))
    review(tmp_path / "1", hub, number)
    hub.comment_as("github-actions[bot]", number, hub.comments(number)[0])
    review(tmp_path / "2", hub, number)
    assert len(hub.comments(number)) == 1


def test_a_pull_request_that_does_not_touch_the_file_is_not_reviewed(
    tmp_path: Path, hub: FakeGitHub
) -> None:
    number = edited(hub, POLICY, path="docs/policy.json")
    step = review(tmp_path, hub, number)
    assert (step.code, hub.comments(number), step.summary) == (0, [], "")
    assert "nothing to review" in step.log


def test_a_change_of_the_infrastructure_alone_has_a_comment_on_what_the_role_lacks(
    tmp_path: Path, hub: FakeGitHub
) -> None:
    """The comment is edited once the pull request grants it; neither run commits anything."""
    table = {"Carts": {"Type": "AWS::DynamoDB::Table", "Properties": {"TableName": "carts"}}}
    number = edited(hub, {"Resources": table}, path="t.json")
    step = review(tmp_path / "1", hub, number, templates="shop=t.json", aws_regions="eu-west-1")
    assert step.code == 3
    [comment] = hub.comments(number)
    assert "that `ci-deploy` lacks" in comment
    assert "| `dynamodb:CreateTable`" in comment
    statements = json.loads(comment.partition("```json\n")[2].partition("```")[0])
    granted = {**POLICY, "Statement": [*POLICY["Statement"], *statements]}
    hub.commit_as("kim", BRANCH, {POLICY_FILE: json.dumps(granted, indent=2)})
    step = review(tmp_path / "2", hub, number, templates="shop=t.json", aws_regions="eu-west-1")
    assert step.code == 0, step.log
    [comment] = hub.comments(number)
    assert "has the permissions that this change of `t.json` needs" in comment
    assert [write for write in writes(hub) if "git" in write or "pulls" in write] == []


def test_what_others_merged_meanwhile_is_not_this_pull_requests_edit(
    tmp_path: Path, hub: FakeGitHub
) -> None:
    hub.commit_as(
        "kim", BRANCH, {POLICY_FILE: json.dumps(with_grant("sns:Publish", "*"), indent=2)}
    )
    number = hub.open_pull_as("kim", BRANCH)
    hub.commit_as("kim", "main", {POLICY_FILE: json.dumps(without("Functions"), indent=2)})
    step = review(tmp_path, hub, number)
    assert json.loads(step.outputs["added-actions"]) == ["sns:Publish"]


def test_a_deleted_policy_denies_all_recorded_calls(tmp_path: Path, hub: FakeGitHub) -> None:
    number = edited(hub, None)
    step = review(tmp_path, hub, number)
    assert step.code == 3
    assert "(deleted)" in hub.comments(number)[0]


def test_from_a_fork_it_is_the_summary_alone(tmp_path: Path, hub: FakeGitHub) -> None:
    number = edited(hub, without("Functions"))
    before = writes(hub)
    step = review(tmp_path, hub, number, fork=True, token=hub.read_only_token)
    assert step.code == 3
    assert "denies 6 recorded calls" in step.summary
    assert (writes(hub), hub.comments(number)) == (before, [])


def test_a_token_that_may_not_comment_fails_and_the_summary_is_written(
    tmp_path: Path, hub: FakeGitHub
) -> None:
    number = edited(hub, with_grant("sns:Publish", "*"))
    step = review(tmp_path, hub, number, token=hub.read_only_token)
    assert step.code == 1
    assert "pull-requests: write" in step.annotations("error")[0]
    assert step.summary


def test_another_event_is_bad_input(tmp_path: Path, hub: FakeGitHub) -> None:
    step = Job(tmp_path, hub).step(mode="review", github_token=hub.token)
    assert step.code == 2
    assert "pull_request" in step.annotations("error")[0]


def test_without_a_token_it_is_bad_input(tmp_path: Path) -> None:
    step = Job(tmp_path, None, json.dumps({"pull_request": {}})).step(mode="review")
    assert step.code == 2
    assert "github-token" in step.annotations("error")[0]


@pytest.mark.parametrize("content", ["{", '{"Statement": [{"Effect": "Allow", "Action": "s3:*"}]}'])
def test_a_policy_that_iam_would_reject_is_bad_input_that_names_the_file(
    tmp_path: Path, hub: FakeGitHub, content: str
) -> None:
    hub.commit_as("kim", BRANCH, {POLICY_FILE: content})
    step = review(tmp_path, hub, hub.open_pull_as("kim", BRANCH))
    assert step.code == 2
    assert POLICY_FILE in step.annotations("error")[0]


@pytest.mark.parametrize(
    "content", ["<<<<<<< HEAD\n{", '{"Statement": [{"Effect": "Allow", "Action": "s3:*"}]}']
)
def test_an_edit_that_corrects_a_policy_that_iam_would_reject_is_reviewed(
    tmp_path: Path, content: str
) -> None:
    with FakeGitHub("octo-org/shop", files={POLICY_FILE: content}) as hub:
        hub.add_user("kim", "write")
        add_runs(hub)
        step = review(tmp_path, hub, edited(hub, POLICY))
        assert step.code == 0
        assert "new access without evidence" in step.summary


class TestShell:
    """`leastpriv propose --mode review`: the file on disk against the committed one, without
    GitHub.
    """

    def review(self, job: Job, *arguments: str) -> tuple[int, str, str]:
        trail = ["--trails", str(job.workspace / "cloudtrail"), "--role-arn", ROLE]
        out, err = io.StringIO(), io.StringIO()
        policy = ["--policy-file", str(job.policy), "--mode", "review"]
        code = main(["propose", *trail, *policy, *arguments], out, err, lambda: NOW)
        return code, out.getvalue(), err.getvalue()

    def test_the_file_on_disk_is_compared_with_what_is_checked_out(self, tmp_path: Path) -> None:
        job = Job(tmp_path).repository()
        assert self.review(job)[0] == 0
        job.commit(without("Functions"))
        code, out, _ = self.review(job)
        assert code == 3
        assert out.startswith("# Policy review for ci-deploy: denies 6 recorded calls\n\n")
        assert job.git("status", "--short") == f" M {POLICY_FILE}\n?? cloudtrail/\n"

    def test_another_base_is_named_by_an_option(self, tmp_path: Path) -> None:
        job = Job(tmp_path).repository()
        job.git("checkout", "-q", "-b", "edit")
        job.commit(without("Functions"))
        job.git("commit", "-q", "-a", "-m", "Edit")
        assert self.review(job)[0] == 0
        assert self.review(job, "--base", "main")[0] == 3
        code, _, err = self.review(job, "--base", "nowhere")
        assert (code, "nowhere" in err) == (2, True)

    @pytest.mark.parametrize(("when", "code"), [("fail", 1), ("report", 0)])
    def test_a_review_by_no_call_fails_unless_it_may_report(
        self, tmp_path: Path, when: str, code: int
    ) -> None:
        job = Job(tmp_path).repository()
        other_record = record(UPDATE, FIRST, "1", "arn:aws:iam::111122223333:role/ops/backup")
        trail = write_trail(job.workspace / "others", [other_record])
        out, err = io.StringIO(), io.StringIO()
        options = [
            "--role-arn",
            ROLE,
            "--policy-file",
            str(job.policy),
            "--mode",
            "review",
            "--trails",
            str(trail),
        ]
        assert main(["propose", *options, "--when-no-calls", when], out, err, lambda: NOW) == code
        assert (
            "No calls by role/ci-deploy. Roles and users in this trail: role/ops/backup (1 call)."
            in err.getvalue()
        )

    def test_an_output_folder_of_a_review_is_bad_input(self, tmp_path: Path) -> None:
        code, _, err = self.review(
            Job(tmp_path).repository(), "--output-dir", str(tmp_path / "out")
        )
        assert (code, "--output-dir" in err) == (2, True)


TERRAFORM = """data "aws_iam_policy_document" "deploy" {
  statement {
    actions   = local.actions
    resources = ["*"]
  }
}
"""


def test_an_edit_of_a_local_value_in_another_file_of_the_folder_is_reviewed(tmp_path: Path) -> None:
    before = 'locals {\n  actions = ["sqs:CreateQueue", "lambda:UpdateFunctionCode"]\n}\n'
    files = {"infra/policy.tf": TERRAFORM, "infra/locals.tf": before}
    with FakeGitHub("octo-org/shop", files=files) as hub:
        hub.add_user("kim", "write")
        add_runs(hub)
        after = before.replace(', "lambda:UpdateFunctionCode"', "")
        hub.commit_as("kim", BRANCH, {"infra/locals.tf": after})
        number = hub.open_pull_as("kim", BRANCH)
        name = "infra/policy.tf#data.aws_iam_policy_document.deploy"
        step = review(tmp_path, hub, number, policy_file=name)
        assert step.code == 3, step.log
        [comment] = hub.comments(number)
        assert "lambda:UpdateFunctionCode" in comment
