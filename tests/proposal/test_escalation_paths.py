"""Paths of escalation: each path of the table, conditions and names that decide, and the removals
that close them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from leastpriv.permissions import catalog
from leastpriv.permissions.fact_tables import table
from leastpriv.policy.document import Document, parse
from leastpriv.proposal.escalation_paths import (
    Escalation,
    EscalationPath,
    escalation_paths,
    is_administrator,
    paths_through,
    undecided_by,
)

ROLE = "arn:aws:iam::111122223333:role/deploy"
CASES = Path(__file__).parent.parent / "cases_escalation"
PATHS = json.loads((CASES / "paths.json").read_text())
POLICIES = json.loads((CASES / "policies.json").read_text())


def policy(statements: Sequence[object], where: str = "policy.json") -> Document:
    return parse(json.dumps({"Version": "2012-10-17", "Statement": statements}).encode(), where)


def allow(actions: Sequence[str], resource: str = "*") -> dict[str, object]:
    return {"Effect": "Allow", "Action": list(actions), "Resource": resource}


def opened(statements: Sequence[object], principal: str = ROLE) -> dict[str, EscalationPath]:
    return {path.id: path for path in escalation_paths([policy(statements)], principal)}


def test_every_path_of_the_table_has_a_case() -> None:
    assert [case["path"] for case in PATHS] == [
        row["id"] for row in table("escalation", catalog.__package__)
    ]


@pytest.mark.parametrize("case", PATHS, ids=lambda case: case["path"])
def test_a_path_is_open_with_all_of_its_actions_only(case: Mapping[str, Any]) -> None:
    on_target, elsewhere = case["on_target"], case["elsewhere"]
    actions = [*on_target, *elsewhere]
    path = opened([allow(actions)])[case["path"]]
    assert (path.strength, path.actions, path.targets) == (case["on_any"], tuple(actions), ())
    open_path = opened(
        [allow(on_target, case["target"]), *([allow(elsewhere)] if elsewhere else [])]
    ).get(case["path"])
    assert (open_path and (open_path.strength, open_path.targets)) == (
        case["on_the_target"] and (case["on_the_target"], (case["target"],))
    )
    for action in actions:
        assert case["path"] not in opened(
            [
                allow(
                    [action_name for action_name in actions if action_name != action]
                    or ["s3:GetObject"]
                )
            ]
        )
        assert case["path"] not in opened(
            [allow(actions), {"Effect": "Deny", "Action": action, "Resource": "*"}]
        )


@pytest.mark.parametrize("case", POLICIES, ids=lambda case: case["case"])
def test_conditions_names_and_denies_decide(case: Mapping[str, Any]) -> None:
    paths = opened(case["statements"])
    assert {
        name: f"{path.strength}{'?' if path.conditions else ''}" for name, path in paths.items()
    } == case["open"]


def test_every_alternative_of_a_step_opens_the_path() -> None:
    for row in table("escalation", catalog.__package__):
        steps = [step.replace("@", "").split("|") for step in row["actions"].split(",")]
        for number, alternatives in enumerate(steps):
            for action in alternatives:
                actions = [
                    action if index == number else step[0] for index, step in enumerate(steps)
                ]
                assert row["id"] in opened([allow(actions)]), (row["id"], actions)


def test_the_table_names_actions_of_the_catalogue() -> None:
    for row in table("escalation", catalog.__package__):
        for action in row["actions"].replace("@", "").replace("|", ",").split(","):
            assert catalog.spelling(action) == action


def test_a_user_that_writes_its_own_policies_is_administrator() -> None:
    user = "arn:aws:iam::111122223333:user/ci"
    assert is_administrator(tuple(opened([allow(["iam:PutUserPolicy"], user)], user).values()))


def test_a_role_that_rewrites_a_policy_that_it_has_is_administrator() -> None:
    arn = "arn:aws:iam::111122223333:policy/deploy"
    documents = [policy([allow(["iam:CreatePolicyVersion"], arn)], arn)]
    assert is_administrator(escalation_paths(documents, ROLE))


def test_another_attached_policy_completes_a_path() -> None:
    documents = [policy([allow(["iam:PassRole"])]), policy([allow(["glue:CreateDevEndpoint"])])]
    assert [path.id for path in escalation_paths(documents, ROLE)] == ["pass-glue-endpoint"]


def test_what_a_tool_documents_about_a_role_is_known() -> None:
    [path] = opened(
        [allow(["sts:AssumeRole"], "arn:aws:iam::*:role/cdk-hnb659fds-deploy-role-*")]
    ).values()
    assert "AdministratorAccess" in path.known


def test_the_most_dangerous_path_comes_first() -> None:
    ranks = [path.rank for path in escalation_paths([policy([allow(["*"])])], ROLE)]
    assert ranks == sorted(ranks)


def test_a_path_that_a_proposal_narrows_to_names_is_closed() -> None:
    before = escalation_paths([policy([allow(["lambda:UpdateFunctionCode"])])], ROLE)
    function = "arn:aws:lambda:eu-west-1:111122223333:function:app"
    after = escalation_paths([policy([allow(["lambda:UpdateFunctionCode"], function)])], ROLE)
    assert [path.id for path in Escalation(before, after).closed] == ["lambda-code"]
    assert Escalation(before, before).closed == ()


def test_a_change_closes_the_paths_of_its_actions() -> None:
    paths = escalation_paths(
        [policy([allow(["iam:CreateAccessKey", "lambda:UpdateFunctionCode"])])], ROLE
    )
    assert [path.id for path in paths_through(["iam:CreateAccessKey"], paths)] == ["user-keys"]


HCL = """data "aws_iam_policy_document" "deploy" {
  statement {
    actions   = ACTIONS
    resources = RESOURCES
  }
}
"""


@pytest.mark.parametrize(
    ("actions", "resources", "undecided"),
    [
        ('concat(["s3:GetObject"], var.wide ? ["s3:PutObject"] : [])', '["*"]', ()),
        ('concat(["s3:GetObject"], var.more)', '["*"]', ("var.more",)),
        ('concat(["s3:GetObject"], var.w ? ["iam:PutRolePolicy"] : [])', '["*"]', ("var.w",)),
        ('["iam:PutRolePolicy"]', "[var.role]", ("var.role",)),
        ('["iam:PutRolePolicy"]', '["arn:aws:iam::111122223333:role/${var.name}"]', ("var.name",)),
        ("var.actions", '["*"]', ("var.actions",)),
        ('[var.w ? "iam:*" : "s3:*"]', '["*"]', ("var.w",)),
    ],
)
def test_what_only_the_rendered_file_knows_is_no_finding(
    actions: str, resources: str, undecided: tuple[str, ...]
) -> None:
    text = HCL.replace("ACTIONS", actions).replace("RESOURCES", resources)
    document = parse(text.encode(), "main.tf", "data.aws_iam_policy_document.deploy")
    role = "arn:aws:iam::111122223333:role/deploy"
    assert not any(path.leads_to_administrator for path in escalation_paths([document], role))
    assert undecided_by([document], role) == undecided


def test_what_the_file_says_is_a_finding_next_to_what_it_does_not_say() -> None:
    text = HCL.replace("ACTIONS", 'concat(["iam:PutRolePolicy"], var.more)')
    document = parse(
        text.replace("RESOURCES", '["*"]').encode(),
        "main.tf",
        "data.aws_iam_policy_document.deploy",
    )
    role = "arn:aws:iam::111122223333:role/deploy"
    assert any(path.leads_to_administrator for path in escalation_paths([document], role))
