"""The promises of a review of infrastructure: what the role lacks, statements to paste, and no
evidence from it.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.command import leastpriv
from tests.fakes.deploys import CREATE_QUEUE, deploys, write_trail

ROLE = "arn:aws:iam::111122223333:role/ci-deploy"
PLACE = "eu-west-1:111122223333"
QUEUE = {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "orders"}}
TABLE = {
    "Type": "AWS::DynamoDB::Table",
    "Properties": {"TableName": "carts", "TimeToLiveSpecification": {"Enabled": True}},
}
WORKER = {
    "Type": "AWS::IAM::Role",
    "Properties": {
        "RoleName": "worker",
        "Policies": [{"PolicyName": "p"}],
        "AssumeRolePolicyDocument": {},
    },
}
STACK = [
    f"cloudformation:{name}"
    for name in (
        "CreateChangeSet", "DescribeChangeSet", "ExecuteChangeSet", "DeleteChangeSet",
        "DescribeStacks",
        "DescribeStackEvents", "GetTemplate", "GetTemplateSummary", "DeleteStack",
    )
]  # fmt: skip


def policy(*statements: tuple[list[str], str]) -> dict[str, Any]:
    all_statements = [(STACK, f"arn:aws:cloudformation:{PLACE}:stack/shop/*"), *statements]
    return {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": actions, "Resource": resource}
            for actions, resource in all_statements
        ],
    }


QUEUES = (["sqs:*"], f"arn:aws:sqs:{PLACE}:orders")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def commit(files: dict[str, Any]) -> None:
    """Commits files to the base branch."""
    write(files)

    def git(*arguments: str) -> None:
        who = ("-c", "user.name=me", "-c", "user.email=me@example.org")
        subprocess.run(["git", *who, *arguments], check=True, capture_output=True)

    git("init", "--initial-branch", "main", ".")
    git("add", *files)
    git("commit", "--message", "The base")


def write(files: dict[str, Any]) -> None:
    for name, content in files.items():
        Path(name).write_text(content if isinstance(content, str) else json.dumps(content))


def reviewed(*more: str, file: str = "ci.json") -> Any:
    return leastpriv(
        "propose", "--role-arn", ROLE, "--policy-file", file, "--aws-regions", "eu-west-1",
        "--mode", "review",
        "--base", "main", "--templates", "shop=t.json", *more,
    )  # fmt: skip


def template(**resources: Any) -> dict[str, Any]:
    return {"Resources": resources}


def pasted(text: str) -> list[dict[str, Any]]:
    block = re.search(r"<summary>To copy.*?```json\n(.*?)```", text, re.DOTALL)
    assert block
    return json.loads(block[1])


def missing(text: str) -> set[str]:
    """The actions of the table of what is missing."""
    section = text.partition("<summary>Missing: ")[2].partition("</details>")[0]
    first_cells = re.findall(r"^\| ([^|]+) \|", section, re.MULTILINE)
    return {action for cell in first_cells for action in re.findall(r"`([^`]+)`", cell)}


def test_a_new_table_names_exactly_what_the_role_lacks(place: Path) -> None:
    commit({"ci.json": policy(QUEUES), "t.json": template(Orders=QUEUE)})
    write({"t.json": template(Orders=QUEUE, Carts=TABLE)})
    run = reviewed()
    assert run.code == 3
    assert "this change needs" in run.out
    assert {"dynamodb:CreateTable", "dynamodb:UpdateTimeToLive", "dynamodb:DeleteTable"} <= missing(
        run.out
    )
    assert not any(action.startswith(("sqs:", "cloudformation:")) for action in missing(run.out))
    assert "dynamodb:UpdateContributorInsights" not in run.out


def test_the_pasted_statements_cover_what_is_missing(place: Path) -> None:
    commit({"ci.json": policy(QUEUES), "t.json": template(Orders=QUEUE)})
    write({"t.json": template(Orders=QUEUE, Carts=TABLE)})
    statements = pasted(reviewed().out)
    changed = policy(QUEUES)
    changed["Statement"] += statements
    write({"ci.json": changed})
    run = reviewed()
    assert run.code == 0, run.out
    assert "has the permissions that this change of `t.json` needs" in run.out
    assert "without evidence" not in run.out
    assert "declared: `AWS::DynamoDB::Table` Carts (create); never seen" in run.out


@pytest.mark.parametrize("indent", [2, 4, "\t"])
def test_the_statements_to_copy_have_the_indentation_of_the_policy_file(
    place: Path, indent: int | str
) -> None:
    commit({"ci.json": json.dumps(policy(QUEUES), indent=indent), "t.json": template(Orders=QUEUE)})
    write({"t.json": template(Orders=QUEUE, Carts=TABLE)})
    block = re.search(r"<summary>To copy.*?```json\n(.*?)```", reviewed().out, re.DOTALL)
    assert block
    step = " " * (4 if isinstance(indent, str) else indent)
    assert block[1].splitlines()[1:3] == [f"{step}{{", f'{step}{step}"Sid": "AllowDynamodb",']


@pytest.mark.parametrize(
    ("address", "line"),
    [
        ("data.aws_iam_policy_document.ci", "  actions = ["),
        ("aws_iam_policy.ci.policy", "  Action = ["),
    ],
)
def test_the_statements_to_copy_are_in_the_language_of_the_policy_file(
    place: Path, address: str, line: str
) -> None:
    file = (
        'data "aws_iam_policy_document" "ci" {\n  statement {\n    actions   ='
        ' ["sqs:CreateQueue"]\n    resources = ["*"]\n  }\n}\n\nresource "aws_iam_policy" "ci" {\n '
        ' policy = jsonencode({ Statement = [{ Effect = "Allow", Action = "sqs:CreateQueue",'
        ' Resource = "*" }] })\n}\n'
    )
    commit({"main.tf": file, "t.json": template(Orders=QUEUE)})
    changed = {**QUEUE, "Properties": {**QUEUE["Properties"], "DelaySeconds": 5}}
    write({"t.json": template(Orders=changed)})
    run = reviewed(file=f"main.tf#{address}")
    assert run.code == 3
    block = run.out.partition("<summary>To copy")[2].partition("```hcl")[2].partition("```")[0]
    assert line in block.splitlines()
    assert '"sqs:SetQueueAttributes"' in block


def test_the_statements_to_copy_name_the_path_of_the_policy_file(place: Path) -> None:
    (place / "iam").mkdir()
    commit({"iam/ci.json": policy(QUEUES), "t.json": template(Orders=QUEUE)})
    write({"t.json": template(Orders=QUEUE, Carts=TABLE)})
    assert (
        "<summary>To copy into the statements of iam/ci.json</summary>"
        in reviewed(file="iam/ci.json").out
    )


def test_one_missing_permission_is_named_in_the_singular(place: Path) -> None:
    commit(
        {
            "ci.json": policy((["sqs:GetQueueAttributes", "sqs:ListQueueTags"], "*")),
            "t.json": template(Orders=QUEUE),
        }
    )
    changed = {**QUEUE, "Properties": {**QUEUE["Properties"], "DelaySeconds": 5}}
    write({"t.json": template(Orders=changed)})
    text = reviewed().out
    assert (
        "lacks: `sqs:SetQueueAttributes`, a sensitive one. Without it its deployment or its"
        " rollback may fail." in text
    )


def test_a_type_that_no_table_knows_is_named_with_the_verdict(place: Path) -> None:
    commit({"ci.json": policy(QUEUES), "t.json": template(Orders=QUEUE)})
    write({"t.json": template(Orders=QUEUE, Own={"Type": "Acme::Shop::Own"})})
    run = reviewed()
    assert (
        "# Policy review for ci-deploy: the role has the permissions that this change of its known"
        " types needs" in run.out
    )
    assert "- **Not known:** what `Acme::Shop::Own` needs." in run.out


def test_an_unchanged_template_needs_nothing(place: Path) -> None:
    commit({"ci.json": policy(), "t.json": template(Orders=QUEUE)})
    run = reviewed()
    assert run.code == 0
    assert "lacks" not in run.out


def test_a_changed_property_needs_an_update_alone(place: Path) -> None:
    commit({"ci.json": policy(), "t.json": template(Orders=QUEUE)})
    changed = {**QUEUE, "Properties": {**QUEUE["Properties"], "DelaySeconds": 5}}
    write({"t.json": template(Orders=changed)})
    lacking = missing(reviewed().out)
    assert "sqs:SetQueueAttributes" in lacking
    assert {"sqs:CreateQueue", "sqs:DeleteQueue"}.isdisjoint(lacking)


def test_a_removed_resource_needs_its_deletion(place: Path) -> None:
    commit({"ci.json": policy(), "t.json": template(Orders=QUEUE, Carts=TABLE)})
    write({"t.json": template(Orders=QUEUE)})
    lacking = missing(reviewed().out)
    assert "dynamodb:DeleteTable" in lacking
    assert "dynamodb:CreateTable" not in lacking


def test_a_sensitive_permission_is_marked(place: Path) -> None:
    commit({"ci.json": policy(), "t.json": template(Orders=QUEUE)})
    write({"t.json": template(Orders=QUEUE, Worker=WORKER)})
    run = reviewed()
    assert "of them sensitive" in run.out
    assert re.search(r"\| [^|]*`iam:CreateRole`[^|]* \|.*\*\*sensitive\*\*", run.out)


def test_a_right_over_the_role_itself_is_in_no_statement(place: Path) -> None:
    own_worker = {**WORKER, "Properties": {**WORKER["Properties"], "RoleName": "ci-deploy"}}
    commit({"ci.json": policy(), "t.json": template(Orders=QUEUE)})
    write({"t.json": template(Orders=QUEUE, Own=own_worker)})
    run = reviewed()
    granted = {
        action
        for statement in pasted(run.out)
        for action in [statement["Action"]]
        if isinstance(action, str)
    }
    granted |= {
        action
        for statement in pasted(run.out)
        if isinstance(statement["Action"], list)
        for action in statement["Action"]
    }
    assert "iam:PutRolePolicy" not in granted
    assert re.search(r"\| `iam:PutRolePolicy` .*\*\*not in the statements\*\*", run.out)


def test_covered_permissions_say_whether_they_were_seen(place: Path) -> None:
    trail = write_trail(place / "trail", deploys([CREATE_QUEUE], times=3, days=2))
    commit({"ci.json": policy((["sqs:*"], "*")), "t.json": template()})
    write({"t.json": template(Orders=QUEUE)})
    run = reviewed("--trails", str(trail))
    assert run.code == 0, run.err + run.out
    assert "- `sqs:CreateQueue`: seen 3×, last on " in run.out
    assert re.search(r"- never seen: .*`sqs:DeleteQueue`", run.out)


def test_declared_needs_count_for_no_proposal_of_the_base(place: Path) -> None:
    commit({"ci.json": policy(QUEUES), "t.json": template(Orders=QUEUE)})
    before = Path("ci.json").read_bytes()
    write({"t.json": template(Orders=QUEUE, Carts=TABLE)})
    reviewed()
    assert Path("ci.json").read_bytes() == before


def test_the_actions_of_a_resource_are_one_row_and_writes_precede_reads(place: Path) -> None:
    commit({"ci.json": policy(QUEUES), "t.json": template(Orders=QUEUE)})
    write(
        {
            "t.json": template(
                Orders=QUEUE,
                Files={"Type": "AWS::S3::Bucket", "Properties": {"BucketName": "files"}},
            )
        }
    )
    text = reviewed().out
    assert re.search(
        r"needs \d+ permissions, \d+ of them reads, that `ci-deploy` lacks: `s3:CreateBucket`", text
    )
    assert text.count("| `arn:aws:s3:::files` |") == 3


def test_the_statements_to_copy_into_a_template_in_yaml_are_yaml(place: Path) -> None:
    text = "Resources:\n  Ci:\n    Type: AWS::IAM::Policy\n    Properties:\n      PolicyDocument:\n"
    text += "        Version: '2012-10-17'\n        Statement:\n          - Effect: Allow\n"
    text += "            Action: 'cloudformation:*'\n            Resource: '*'\n"
    commit({"ci.yaml": text, "t.json": template()})
    write({"t.json": template(Orders=QUEUE)})
    text = reviewed(file="ci.yaml#/Resources/Ci/Properties/PolicyDocument").out
    assert "```yaml\n- Sid: AllowSqs\n  Effect: Allow\n  Action:\n  - sqs:CreateQueue\n" in text


@pytest.mark.parametrize(
    ("before", "after", "needed"),
    [
        ({}, {"RetentionInDays": 30}, {"logs:PutRetentionPolicy"}),
        ({"RetentionInDays": 30}, {}, {"logs:DeleteRetentionPolicy"}),
        ({"RetentionInDays": 30}, {"RetentionInDays": 7}, {"logs:PutRetentionPolicy"}),
    ],
)
def test_an_update_needs_the_action_of_its_direction(
    place: Path, before: dict[str, int], after: dict[str, int], needed: set[str]
) -> None:
    def logs(**properties: int) -> dict[str, Any]:
        return template(
            Logs={
                "Type": "AWS::Logs::LogGroup",
                "Properties": {"LogGroupName": "/shop", **properties},
            }
        )

    reads = (["logs:Describe*", "logs:Get*", "logs:List*"], "*")
    commit({"ci.json": policy(reads), "t.json": logs(**before)})
    write({"t.json": logs(**after)})
    assert missing(reviewed().out) == needed


def test_an_update_of_the_memory_of_a_function_changes_no_code(place: Path) -> None:
    def function(memory: int) -> dict[str, Any]:
        properties = {"FunctionName": "mailer", "Code": {"ZipFile": "x"}, "MemorySize": memory}
        return template(Mailer={"Type": "AWS::Lambda::Function", "Properties": properties})

    commit({"ci.json": policy((["lambda:Get*"], "*")), "t.json": function(128)})
    write({"t.json": function(512)})
    assert missing(reviewed().out) == {"lambda:UpdateFunctionConfiguration"}


def test_a_plan_needs_the_reads_of_its_data_sources(place: Path) -> None:
    values = {
        "address": "data.aws_ssm_parameter.given",
        "mode": "data",
        "type": "aws_ssm_parameter",
    }
    state = {"values": {"root_module": {"resources": [{**values, "values": {"name": "/given"}}]}}}
    plan = {"planned_values": {}, "resource_changes": [], "configuration": {}, "prior_state": state}
    commit({"ci.json": policy(QUEUES), "t.json": template(Orders=QUEUE)})
    write({"plan.json": plan})
    run = leastpriv(
        "propose", "--role-arn", ROLE, "--policy-file", "ci.json", "--aws-regions", "eu-west-1",
        "--mode", "review",
        "--base", "main", "--plans", "plan.json",
    )  # fmt: skip
    assert run.code == 3
    assert "ssm:GetParameter" in missing(run.out)


def test_policies_of_a_role_change_without_an_update_of_its_description(place: Path) -> None:
    plain = {**WORKER, "Properties": {**WORKER["Properties"], "Policies": []}}
    commit({"ci.json": policy(QUEUES), "t.json": template(Worker=plain)})
    write({"t.json": template(Worker=WORKER)})
    lacking = missing(reviewed().out)
    assert "iam:PutRolePolicy" in lacking
    assert "iam:UpdateRole" not in lacking


@pytest.mark.parametrize(
    ("extra", "answer"),
    [
        ([], "**Merge.** `ci.json` gains only what `t.json` needs"),
        (["dynamodb:Scan"], "that nothing asks for"),
    ],
)
def test_an_edit_is_judged_by_the_change_that_it_belongs_to_where_no_record_was_read(
    place: Path, extra: list[str], answer: str
) -> None:
    commit({"ci.json": policy(QUEUES), "t.json": template(Orders=QUEUE)})
    write({"t.json": template(Orders=QUEUE, Carts=TABLE)})
    granted = sorted({*missing(reviewed().out), *extra})
    write({"ci.json": policy(QUEUES, (granted, f"arn:aws:dynamodb:{PLACE}:table/carts"))})
    assert answer in reviewed().out


def test_what_the_old_and_the_new_resource_need_is_one_row(place: Path) -> None:
    def revision(**more: str) -> dict[str, Any]:
        return {"family": "web", "container_definitions": "[]", **more}

    detail = {
        "actions": ["create", "delete"],
        "before": revision(cpu="1"),
        "after": revision(cpu="2"),
    }
    change = {
        "address": "aws_ecs_task_definition.web",
        "type": "aws_ecs_task_definition",
        "change": detail,
    }
    commit({"ci.json": policy(QUEUES), "t.json": template(Orders=QUEUE)})
    write({"plan.json": {"planned_values": {}, "resource_changes": [change]}})
    rows = [
        line
        for line in reviewed("--plans", "plan.json").out.splitlines()
        if line.startswith("| `ecs:")
    ]
    assert sum("`ecs:DescribeTaskDefinition`" in row for row in rows) == 1


def without(*actions: str) -> dict[str, Any]:
    """The policy of the queues, without some actions."""
    names = (
        "CreateQueue",
        "DeleteQueue",
        "GetQueueAttributes",
        "ListQueueTags",
        "SetQueueAttributes",
        "SendMessage",
    )
    return policy(
        ([f"sqs:{name}" for name in names if name not in actions], f"arn:aws:sqs:{PLACE}:orders")
    )


def deny(**condition: dict[str, str]) -> dict[str, Any]:
    changed = policy(QUEUES)
    changed["Statement"].append({"Effect": "Deny", "Action": "sqs:DeleteQueue", "Resource": "*"})
    changed["Statement"][-1] |= {"Condition": condition} if condition else {}
    return changed


def only_if(**condition: dict[str, str]) -> dict[str, Any]:
    changed = policy(QUEUES)
    changed["Statement"][-1]["Condition"] = condition
    return changed


DELETION = (
    f"`arn:aws:sqs:{PLACE}:orders` (`AWS::SQS::Queue` Orders, delete): this pull request removes it"
)


@pytest.mark.parametrize(
    ("edited", "answer", "words"),
    [
        (without("DeleteQueue"), "Do not merge", "."),
        (
            policy((["sqs:*"], f"arn:aws:sqs:{PLACE}:others")),
            "Do not merge",
            f", and leaves `arn:aws:sqs:{PLACE}:others`.",
        ),
        (deny(), "Do not merge", " by a Deny."),
        (
            deny(StringEquals={"aws:RequestedRegion": "eu-west-1"}),
            "Do not merge",
            " by a Deny if `",
        ),
        (
            deny(NotIpAddress={"aws:SourceIp": "10.0.0.0/8"}),
            "Rehearse first, then merge",
            " by a Deny if `NotIpAddress aws:SourceIp: ",
        ),
        (
            only_if(StringEquals={"aws:RequestedRegion": "us-east-1"}),
            "Do not merge",
            " unless `StringEquals aws:RequestedRegion",
        ),
        (
            only_if(StringEquals={"aws:ResourceTag/team": "a"}),
            "Rehearse first, then merge",
            " unless `StringEquals aws:ResourceTag",
        ),
    ],
)
@pytest.mark.parametrize("more", [{}, {"Carts": {**TABLE}}])
def test_an_edit_that_takes_away_what_a_template_needs_is_named_with_the_resource_and_its_phase(
    place: Path, edited: dict[str, Any], answer: str, words: str, more: dict[str, Any]
) -> None:
    commit({"ci.json": policy(QUEUES), "t.json": template(Orders=QUEUE)})
    write({"ci.json": edited, "t.json": template(Orders=QUEUE, **more)})
    run = reviewed()
    assert run.code == 3
    assert f"the template `t.json` still needs `sqs:DeleteQueue` on {DELETION}{words}" in run.out
    assert (
        f"**{'Do not merge' if more else answer}.** The template `t.json` still needs " in run.out
    )
    assert "sqs:DeleteQueue" not in missing(run.out)
    assert "the infrastructure does not change" not in run.out


@pytest.mark.parametrize(
    "edited",
    [
        without("SendMessage"),
        only_if(StringEquals={"aws:RequestedRegion": "eu-west-1"}),
        deny(StringNotEquals={"aws:RequestedRegion": "eu-west-1"}),
    ],
)
def test_an_edit_that_takes_away_nothing_that_a_template_needs_is_probably_safe(
    place: Path, edited: dict[str, Any]
) -> None:
    commit({"ci.json": policy(QUEUES), "t.json": template(Orders=QUEUE)})
    write({"ci.json": edited})
    run = reviewed()
    assert run.code == 0, run.out
    assert (
        "Rehearse first, then merge.** `ci.json` allows less, and `t.json` needs nothing of what it"
        " takes" in run.out
    )


def test_the_statements_to_copy_give_back_what_an_edit_takes_away_but_for_a_deny(
    place: Path,
) -> None:
    commit({"ci.json": policy(QUEUES), "t.json": template(Orders=QUEUE)})
    write({"ci.json": without("DeleteQueue")})
    assert [statement["Action"] for statement in pasted(reviewed().out)] == [["sqs:DeleteQueue"]]
    write({"ci.json": deny()})
    assert "To copy into" not in reviewed().out


def test_the_deletion_of_a_resource_needs_its_permission_until_it_is_deleted(place: Path) -> None:
    commit({"ci.json": policy(QUEUES), "t.json": template(Orders=QUEUE, Carts=TABLE)})
    write({"ci.json": without("DeleteQueue"), "t.json": template(Carts=TABLE)})
    run = reviewed()
    assert run.code == 3
    assert f"the template `t.json` still needs `sqs:DeleteQueue` on {DELETION}." in run.out


def test_a_retained_resource_needs_no_deletion(place: Path) -> None:
    retained = {**QUEUE, "DeletionPolicy": "Retain"}
    commit({"ci.json": policy(QUEUES), "t.json": template(Orders=retained)})
    write({"ci.json": without("DeleteQueue")})
    assert reviewed().code == 0


def test_what_no_run_used_with_the_occasion_is_not_needed_any_more(place: Path) -> None:
    trail = write_trail(place / "trail", deploys([CREATE_QUEUE], times=3, days=2))
    commit({"ci.json": policy(QUEUES), "t.json": template(Orders=QUEUE)})
    write({"ci.json": without("ListQueueTags")})
    assert "still needs `sqs:ListQueueTags`" in reviewed().out
    run = reviewed("--trails", str(trail), "--minimum-days", "0", "--minimum-runs", "1")
    assert run.code == 0, run.out
    assert "still needs" not in run.out


def test_an_edit_that_takes_away_a_read_of_a_data_source_is_named_with_the_plan(
    place: Path,
) -> None:
    values = {
        "address": "data.aws_ssm_parameter.given",
        "mode": "data",
        "type": "aws_ssm_parameter",
    }
    state = {"values": {"root_module": {"resources": [{**values, "values": {"name": "/given"}}]}}}
    plan = {"planned_values": {}, "resource_changes": [], "configuration": {}, "prior_state": state}
    commit({"ci.json": policy((["ssm:*"], "*")), "t.json": template(Orders=QUEUE)})
    write({"ci.json": policy((["ssm:PutParameter"], "*")), "plan.json": plan})
    run = reviewed("--plans", "plan.json")
    parameter = f"`arn:aws:ssm:{PLACE}:parameter/given` (`data.aws_ssm_parameter.given`, read)"
    assert (
        f"the plan `plan.json` still needs `ssm:GetParameter` on {parameter}: this pull request"
        " removes it." in run.out
    )
    assert (
        "ssm:DeleteParameter"
        not in run.out.partition("<summary>Still needed")[2].partition("</details>")[0]
    )


BOUNDARY = "arn:aws:iam::111122223333:policy/boundary"


@pytest.mark.parametrize(
    ("asked", "given", "lacks"),
    [(BOUNDARY, BOUNDARY, False), (BOUNDARY, "", True), (f"{BOUNDARY}-2", BOUNDARY, True)],
)
def test_the_boundary_of_a_role_decides_a_condition_on_it(
    place: Path, asked: str, given: str, lacks: bool
) -> None:
    limited = policy(
        QUEUES, (["iam:Get*", "iam:List*"], "*"), (["iam:*Role", "iam:*RolePolicy"], "*")
    )
    limited["Statement"][-1]["Condition"] = {"StringEquals": {"iam:PermissionsBoundary": asked}}
    worker = {**WORKER["Properties"], **({"PermissionsBoundary": given} if given else {})}
    commit({"ci.json": limited, "t.json": template(Orders=QUEUE)})
    write({"t.json": template(Orders=QUEUE, Worker={**WORKER, "Properties": worker})})
    run = reviewed()
    role_actions = {"iam:CreateRole", "iam:PutRolePolicy", "iam:DeleteRole", "iam:DeleteRolePolicy"}
    assert (run.code, missing(run.out)) == ((3, role_actions) if lacks else (0, set()))
    assert (
        "ask for another `iam:PermissionsBoundary` than the declaration has" in run.out
    ) is lacks
    assert "To copy into" not in run.out


def test_a_parameter_that_the_stack_begins_to_read_is_a_need(place: Path) -> None:
    commit({"ci.json": policy(QUEUES), "t.json": template(Orders=QUEUE)})
    image = {"Type": "AWS::SSM::Parameter::Value<String>", "Default": "/shop/image"}
    write({"t.json": {**template(Orders=QUEUE), "Parameters": {"Image": image}}})
    run = reviewed()
    assert (run.code, missing(run.out)) == (3, {"ssm:GetParameters"})


def worker(*actions: str) -> dict[str, Any]:
    rights = {"Effect": "Allow", "Action": list(actions), "Resource": f"arn:aws:sqs:{PLACE}:orders"}
    document = {"Version": "2012-10-17", "Statement": [rights]}
    inline = [{"PolicyName": "p", "PolicyDocument": document}]
    return {"Type": "AWS::IAM::Role", "Properties": {**WORKER["Properties"], "Policies": inline}}


@pytest.mark.parametrize(
    ("actions", "denied"),
    [
        (("sqs:SendMessage", "sqs:DeleteMessage"), ("sqs:DeleteMessage",)),
        (("sqs:SendMessage",), ()),
        (("sqs:ReceiveMessage", "sqs:SendMessage"), ()),
    ],
)
def test_a_review_names_what_a_role_needs_beyond_its_boundary(
    place: Path, actions: tuple[str, ...], denied: tuple[str, ...]
) -> None:
    boundary = policy((["sqs:SendMessage", "sqs:ReceiveMessage"], f"arn:aws:sqs:{PLACE}:*"))
    commit({
        "ci.json": policy(QUEUES, (["iam:*"], f"{ROLE[:-9]}worker")),
        "boundary.json": boundary,
        "t.json": template(Orders=QUEUE, Worker=worker("sqs:SendMessage")),
    })  # fmt: skip
    write({"t.json": template(Orders=QUEUE, Worker=worker(*actions))})
    run = reviewed("--boundary-file", "boundary.json")
    assert run.code == (3 if denied else 0)
    assert ("beyond the boundary" in run.out) is bool(denied)
    if denied:
        section = run.out.partition("Created roles need more than `boundary.json` allows")[2]
        assert "`Worker`: `sqs:DeleteMessage`" in section
        assert "Do not merge" in run.out


def test_a_check_of_templates_alone_compares_all_roles_with_the_boundary(place: Path) -> None:
    write({
        "ci.json": policy(QUEUES, (["iam:*"], f"{ROLE[:-9]}worker")),
        "boundary.json": policy((["sqs:ReceiveMessage"], f"arn:aws:sqs:{PLACE}:*")),
        "t.json": template(Worker=worker("sqs:SendMessage")),
    })  # fmt: skip
    run = leastpriv(
        "propose", "--role-arn", ROLE, "--policy-file", "ci.json", "--aws-regions", "eu-west-1",
        "--mode", "check", "--templates", "shop=t.json", "--boundary-file", "boundary.json",
    )  # fmt: skip
    assert run.code == 3
    assert "`Worker`: `sqs:SendMessage`" in run.out
