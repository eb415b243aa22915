"""A policy inside a larger file, from the command line to the branch: the file's other bytes are
never touched.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

import jsonpatch
import pytest

from leastpriv.policy.syntax_tree import json_value, read_yaml
from tests.action.test_step import Job
from tests.fakes.command import CommandResult, leastpriv
from tests.fakes.deploys import ROLE, usual_deploys, write_trail
from tests.fakes.github import FakeGitHub

POINTER = "/Resources/DeployRole/Properties/Policies/0/PolicyDocument"
TEMPLATE = """AWSTemplateFormatVersion: '2010-09-09'
Resources:
  DeployRole:   # assumed by the workflow
    Type: AWS::IAM::Role
    Properties:
      Policies:
        - PolicyName: deploy
          PolicyDocument:
            Version: '2012-10-17'
            Statement:
              # the function
              - Sid: Functions
                Effect: Allow
                Action: lambda:UpdateFunctionCode
                Resource: !Sub arn:${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}:function:orders
              - Sid: Queues
                Effect: Allow
                Action:
                  - sqs:CreateQueue
                  - sqs:PurgeQueue  # by hand
                Resource: !GetAtt Queue.Arn
              - Sid: Topics
                Effect: Allow
                Action: sns:CreateTopic
                Resource: !Ref Topic
  Queue:
    Type: AWS::SQS::Queue
"""
PROPOSED = TEMPLATE.replace("                  - sqs:PurgeQueue  # by hand\n", "").replace(
    """              - Sid: Topics
                Effect: Allow
                Action: sns:CreateTopic
                Resource: !Ref Topic
""",
    """              - Sid: AllowCloudwatchPutMetricAlarm
                Effect: Allow
                Action: cloudwatch:PutMetricAlarm
                Resource: arn:aws:cloudwatch:eu-west-1:111122223333:alarm:orders
""",
)
"""Two of the template's actions were never called; an alarm was refused."""

MAIN_TF = """data "aws_iam_policy_document" "deploy" {
  statement {
    sid       = "Queues"
    actions   = ["sqs:CreateQueue", "sqs:PurgeQueue", "lambda:UpdateFunctionCode"]
    resources = [aws_sqs_queue.q.arn, "${aws_lambda_function.f.arn}"]
  }
}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: a template, Terraform, and the usual deploys."""
    (tmp_path / "template.yaml").write_text(TEMPLATE)
    (tmp_path / "main.tf").write_text(MAIN_TF)
    write_trail(tmp_path / "trail", usual_deploys())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def propose(name: str, *more: str) -> CommandResult:
    regions = ("--aws-regions", "eu-west-1")
    return leastpriv(
        "propose", "--role-arn", ROLE, "--trails", "trail", *regions, "--policy-file", name, *more
    )


def test_the_proposal_changes_the_policys_own_lines_and_no_others(folder: Path) -> None:
    run = propose(f"template.yaml#{POINTER}", "--output-dir", "out")
    assert run.code == 0, run.err
    assert run.out.startswith("# iam(ci-deploy): ")
    assert (folder / "out/template.yaml").read_text() == PROPOSED
    assert (folder / "template.yaml").read_text() == TEMPLATE


def test_the_patch_turns_the_templates_value_into_the_proposed_one(folder: Path) -> None:
    propose(f"template.yaml#{POINTER}", "--output-dir", "out")
    before, after = (json_value(read_yaml(text, "t.yaml")) for text in (TEMPLATE, PROPOSED))
    assert (
        jsonpatch.apply_patch(before, json.loads((folder / "out/patch.json").read_text())) == after
    )


def test_a_proposal_taken_over_proposes_nothing_more(folder: Path) -> None:
    (folder / "template.yaml").write_text(PROPOSED)
    run = propose(f"template.yaml#{POINTER}", "--mode", "check")
    assert (run.code, "nothing to change" in run.out) == (0, True)


def test_calls_that_a_placeholder_may_allow_are_reported_as_uncertain(folder: Path) -> None:
    propose(f"template.yaml#{POINTER}", "--output-dir", "out")
    proof = json.loads((folder / "out/proposal.json").read_text())["proof"]
    assert (proof["recorded"], proof["allowed"], proof["conditional"], proof["denied"]) == (
        12,
        0,
        12,
        [],
    )


def test_the_accounts_own_parameters_are_known_from_the_role(folder: Path) -> None:
    (folder / "template.yaml").write_text(TEMPLATE.replace("${AWS::Region}", "eu-west-1"))
    propose(f"template.yaml#{POINTER}", "--output-dir", "out")
    proof = json.loads((folder / "out/proposal.json").read_text())["proof"]
    assert (proof["allowed"], proof["conditional"]) == (6, 6)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("template.yaml#/Resources/Role", "/Resources has no Role, only DeployRole, Queue"),
        ("template.yaml", f"template.yaml#{POINTER}"),
        ("new.yaml#/Resources/Role", "'new.yaml', which does not exist; create that first"),
        (
            "new.tf#data.aws_iam_policy_document.x",
            "'new.tf', which does not exist; create that first",
        ),
        ("main.tf#data.aws_iam_policy_document.x", "data.aws_iam_policy_document.deploy"),
    ],
)
def test_a_name_that_leads_nowhere_is_bad_input_in_one_sentence(
    folder: Path, name: str, message: str
) -> None:
    run = propose(name)
    assert (run.code, run.out) == (2, "")
    assert message in run.err
    assert run.err.count("\n") == 1


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=Kim", "-c", "user.email=kim@example.com"]
    completed = subprocess.run(
        ["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True
    )
    return completed.stdout


@pytest.fixture
def repository(folder: Path) -> Path:
    git(folder, "init", "--initial-branch", "main")
    git(folder, "add", "template.yaml", "main.tf")
    git(folder, "commit", "--message", "first")
    return folder


def test_the_branch_has_the_whole_file_with_the_policys_lines_changed(repository: Path) -> None:
    run = propose(f"template.yaml#{POINTER}", "--mode", "pull-request")
    assert run.code == 0, run.err
    assert git(repository, "show", "leastpriv/ci-deploy:template.yaml") == PROPOSED
    assert (
        git(repository, "diff", "--name-only", "main", "leastpriv/ci-deploy") == "template.yaml\n"
    )


def test_a_review_compares_the_policy_inside_both_versions(repository: Path) -> None:
    edited = TEMPLATE.replace("Action: lambda:UpdateFunctionCode", "Action: lambda:GetFunction")
    (repository / "template.yaml").write_text(edited)
    run = propose(f"template.yaml#{POINTER}", "--mode", "review")
    assert run.code in (0, 3)
    assert "lambda:UpdateFunctionCode" in run.out
    assert "lambda:GetFunction" in run.out


def test_a_review_of_a_new_policy_has_no_former_policy(repository: Path) -> None:
    renamed = POINTER.replace("DeployRole", "NewRole")
    (repository / "template.yaml").write_text(TEMPLATE.replace("DeployRole", "NewRole"))
    run = propose(f"template.yaml#{renamed}", "--mode", "review")
    assert run.code == 0, run.err
    nowhere = propose("template.yaml#/Resources/Nothing", "--mode", "review")
    assert (nowhere.code, "/Resources has no Nothing" in nowhere.err) == (2, True)


ADDRESS = "main.tf#data.aws_iam_policy_document.deploy"


MAIN_TF_PROPOSED = """data "aws_iam_policy_document" "deploy" {
  statement {
    sid       = "Queues"
    actions   = ["sqs:CreateQueue", "lambda:UpdateFunctionCode"]
    resources = [aws_sqs_queue.q.arn, "${aws_lambda_function.f.arn}"]
  }

  statement {
    sid       = "AllowCloudwatchPutMetricAlarm"
    actions   = ["cloudwatch:PutMetricAlarm"]
    resources = ["arn:aws:cloudwatch:eu-west-1:111122223333:alarm:orders"]
  }
}
"""


def test_terraforms_own_language_is_edited_in_its_file(folder: Path) -> None:
    run = propose(ADDRESS, "--output-dir", "out")
    assert run.code == 0, run.err
    assert (folder / "out/main.tf").read_text() == MAIN_TF_PROPOSED
    assert not {path.name for path in (folder / "out").iterdir()} & {
        "policy.json",
        "patch.json",
        "policy.tf",
    }


def test_the_branch_has_the_terraform_file_with_the_policys_lines_changed(repository: Path) -> None:
    run = propose(ADDRESS, "--mode", "pull-request")
    assert run.code == 0, run.err
    assert git(repository, "show", "leastpriv/ci-deploy:main.tf") == MAIN_TF_PROPOSED


def test_a_terraform_file_without_an_address_means_the_policies_that_its_folder_attaches_to_the_role(
    folder: Path,
) -> None:
    attached = """
resource "aws_iam_role" "deploy" {
  name = "ci-deploy"
}

resource "aws_iam_role_policy" "deploy" {
  role   = aws_iam_role.deploy.id
  policy = data.aws_iam_policy_document.deploy.json
}
"""
    (folder / "role.tf").write_text(attached)
    for name, files in (("main.tf", {"main.tf"}), ("role.tf", set[str]())):
        run = propose(name, "--output-dir", "out")
        assert run.code == 0, run.err
        assert {path.name for path in (folder / "out").glob("main.tf")} == files
        if files:
            assert (folder / "out/main.tf").read_text() == MAIN_TF_PROPOSED
        else:
            text = (folder / "out/pull-request.md").read_text()
            assert "it is in `main.tf`" in text
            assert text.startswith(
                "# iam(ci-deploy): needs 1 permission that you must add in role.tf"
            )
            first = text.partition("<details>")[0]
            assert "**Add by hand.** AWS denied `cloudwatch:PutMetricAlarm`" in first
            assert "```hcl\nstatement {" in first
        for path in (folder / "out").iterdir():
            path.unlink()


def test_a_shared_list_is_left_alone_and_the_statement_to_paste_is_shown(folder: Path) -> None:
    shared = """data "aws_iam_policy_document" "deploy" {
  statement {
    sid       = "Queues"
    actions   = local.queues
    resources = [aws_sqs_queue.q.arn]
  }
}

data "aws_iam_policy_document" "other" {
  statement {
    actions   = local.queues
    resources = ["*"]
  }
}

locals {
  queues = ["sqs:CreateQueue", "sqs:PurgeQueue"]
}
"""
    (folder / "main.tf").write_text(shared)
    run = propose(ADDRESS, "--output-dir", "out")
    assert run.code == 0, run.err
    text = (folder / "out/pull-request.md").read_text()
    assert "2 expressions use `local.queues`" in text
    pasted = text.split("```hcl\n")[1].split("```")[0]
    assert 'sid       = "Queues"' in pasted
    assert "sqs:CreateQueue" in pasted
    assert "sqs:PurgeQueue" not in pasted
    assert (folder / "out/policy.tf").read_text() == pasted
    assert 'queues = ["sqs:CreateQueue", "sqs:PurgeQueue"]' in (folder / "out/main.tf").read_text()


@pytest.mark.parametrize(
    "actions", ["var.actions", 'concat(["a:B"], var.actions)', "yamldecode(file(local.x)).a"]
)
def test_what_an_unknown_list_of_actions_may_grant_is_never_added(
    folder: Path, actions: str
) -> None:
    text = f"""data "aws_iam_policy_document" "deploy" {{
  statement {{
    actions   = {actions}
    resources = ["*"]
  }}
}}
"""
    (folder / "main.tf").write_text(text)
    run = propose(ADDRESS, "--output-dir", "out")
    assert run.code == 0, run.err
    changes = json.loads((folder / "out/proposal.json").read_text())["changes"]
    assert not [
        change for change in changes if change["kind"] == "add" and change["basis"] == "observed"
    ]


def commands(*names: str) -> Sequence[Sequence[str]]:
    return [["contains", "--old", name, "--new", name] for name in names]


@pytest.mark.parametrize(
    "command", commands(f"template.yaml#{POINTER}", ADDRESS), ids=["yaml", "hcl"]
)
def test_the_other_commands_take_pointers_too(folder: Path, command: Sequence[str]) -> None:
    assert leastpriv(*command).code == 0
    (folder / "r.json").write_text(
        json.dumps(
            {
                "principal": ROLE,
                "action": "sqs:CreateQueue",
                "resource": "arn:aws:sqs:x:1:q",
                "context": {},
            }
        )
    )
    run = leastpriv("evaluate", "--policy", command[-1], "--request", "r.json")
    assert json.loads(run.out)["decision"] == "unknown"


def test_a_step_points_at_the_file_and_at_its_line(tmp_path: Path) -> None:
    job = Job(tmp_path)
    (job.workspace / "iam/template.yaml").write_text(TEMPLATE)
    step = job.step(policy_file=f"iam/template.yaml#{POINTER}")
    assert step.code == 0
    assert step.outputs["policy"] == PROPOSED
    assert "::notice file=iam/template.yaml,line=16," in step.log
    outside = job.step(
        policy_file=f"../runner/event.json#{POINTER}", also_attached=f"../x.yaml#{POINTER}"
    )
    assert (outside.code, "leads out of" in outside.annotations("error")[0]) == (2, True)


def test_the_pull_request_on_github_changes_the_template(tmp_path: Path) -> None:
    with FakeGitHub("octo-org/shop", files={"iam/template.yaml": TEMPLATE}) as hub:
        # One run was denied the alarm: only a run that the repository knows adds it.
        hub.add_run(
            17650000002,
            "main",
            created_at="2026-10-15T09:00:00Z",
            updated_at="2026-10-15T09:30:00Z",
        )
        policy_file = f"iam/template.yaml#{POINTER}"
        step = Job(tmp_path, hub).step(
            policy_file=policy_file, mode="pull-request", github_token=hub.token
        )
        assert step.code == 0, step.log
        assert step.outputs["pull-request-operation"] == "created"
        assert hub.file("iam/template.yaml", "leastpriv/ci-deploy").decode() == PROPOSED


def test_in_a_step_a_terraform_file_gets_a_branch_of_its_own(tmp_path: Path) -> None:
    job = Job(tmp_path).repository()
    (job.workspace / "iam/main.tf").write_text(MAIN_TF)
    job.git("add", "iam")
    job.git("commit", "-q", "-m", "Terraform")
    step = job.step(policy_file=f"iam/{ADDRESS}", mode="pull-request")
    assert step.code == 0
    assert step.outputs["policy"] == MAIN_TF_PROPOSED


def test_the_pull_request_on_github_changes_the_terraform_file(tmp_path: Path) -> None:
    files = {
        "iam/main.tf": MAIN_TF.replace('"sqs:CreateQueue"', "local.create"),
        "iam/locals.tf": LOCALS_TF,
    }
    with FakeGitHub("octo-org/shop", files=files) as hub:
        hub.add_run(
            17650000002,
            "main",
            created_at="2026-10-15T09:00:00Z",
            updated_at="2026-10-15T09:30:00Z",
        )
        step = Job(tmp_path, hub).step(
            policy_file=f"iam/{ADDRESS}", mode="pull-request", github_token=hub.token
        )
        assert step.code == 0, step.log
        proposed = MAIN_TF_PROPOSED.replace('"sqs:CreateQueue"', "local.create")
        assert hub.file("iam/main.tf", "leastpriv/ci-deploy").decode() == proposed


LOCALS_TF = 'locals {\n  create = "sqs:CreateQueue"\n}\n'


def test_a_review_compares_both_versions_of_the_terraform_folder(repository: Path) -> None:
    (repository / "locals.tf").write_text(LOCALS_TF)
    (repository / "main.tf").write_text(
        MAIN_TF.replace('"sqs:PurgeQueue"', '"sqs:GetQueueUrl", local.create')
    )
    run = propose(ADDRESS, "--mode", "review")
    assert run.code == 0, run.err
    assert "sqs:PurgeQueue" in run.out
    assert "sqs:GetQueueUrl" in run.out
    assert "local.create" not in run.out
