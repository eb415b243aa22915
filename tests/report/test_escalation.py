"""What the reports say about paths to administrator and about permissions boundaries."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from leastpriv.errors import InputError
from leastpriv.policy.document import Document, parse
from leastpriv.proposal.boundary import boundary_for
from leastpriv.proposal.escalation_paths import Escalation, escalation_paths, is_administrator
from leastpriv.report.context import ReportContext
from leastpriv.report.escalation import (
    boundary_section,
    escalation_section,
    escalation_value,
    reach_section,
)
from leastpriv.report.first_screen import administrator_line
from leastpriv.report.proposal_json import proposal_json
from leastpriv.report.pull_request import body
from tests.fakes.deploys import POLICY, ROLE, proposal
from tests.fakes.replace import replace

A = "arn:aws:iam::111122223333:"


def statement(actions: Sequence[str], resource: str = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": list(actions), "Resource": resource, **more}


def document(*statements: object) -> Document:
    return parse(
        json.dumps({"Version": "2012-10-17", "Statement": statements}).encode(), "policy.json"
    )


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> ReportContext:
    """The proposal after the usual deploys."""
    return proposal(tmp_path_factory.mktemp("usual"), POLICY).context


def reported(context: ReportContext, before: Document, after: Document) -> ReportContext:
    escalation = Escalation(escalation_paths([before], ROLE), escalation_paths([after], ROLE))
    return replace(context, escalation=escalation)


def test_the_first_screen_says_what_becomes_of_the_paths_to_administrator(
    usual: ReportContext,
) -> None:
    all_actions, nothing = document(statement(["*"])), document(statement(["s3:GetObject"]))
    kept_paths = body(reported(usual, all_actions, all_actions))
    line = "**Still open:** an attacker in one run can become administrator by "
    assert line in kept_paths.partition("<details>")[0]
    closed = administrator_line(reported(usual, all_actions, nothing))
    assert closed.startswith("**Closed:**")
    new_line = administrator_line(reported(usual, nothing, all_actions))
    assert new_line.startswith("**New with this change:** an attacker in one run can become")
    assert "**Administrator in effect.**" in kept_paths.partition("#### Escalation")[2]
    assert "- and by " in kept_paths


def test_any_role_for_one_service_is_a_path_to_the_strongest(usual: ReportContext) -> None:
    passing = document(statement(["iam:PassRole", "glue:CreateDevEndpoint"]))
    text = administrator_line(reported(usual, passing, passing))
    assert "an attacker in one run can gain more permissions by" in text
    assert (
        "passing any role to a new Glue development endpoint (`iam:PassRole`,"
        " `glue:CreateDevEndpoint`)" in text
    )


def test_a_named_role_is_a_path_of_its_own_and_names_it(usual: ReportContext) -> None:
    passing = document(
        statement(["iam:PassRole"], f"{A}role/app"), statement(["glue:CreateDevEndpoint"])
    )
    context = reported(usual, passing, passing)
    assert list(escalation_section(context)) == []
    assert f"passing `{A}role/app` to a new Glue" in "\n".join(reach_section(context))


def test_a_role_of_the_bootstrap_is_named_with_what_it_may_do(usual: ReportContext) -> None:
    cdk = document(statement(["sts:AssumeRole"], "arn:aws:iam::*:role/cdk-hnb659fds-deploy-role-*"))
    text = administrator_line(reported(usual, cdk, cdk))
    assert "AdministratorAccess unless other policies were named" in text


def test_closed_paths_are_counted(usual: ReportContext) -> None:
    context = reported(
        usual, document(statement(["iam:CreateAccessKey"])), document(statement(["s3:GetObject"]))
    )
    assert "closes 1 path to administrator, by `iam:CreateAccessKey`." in "\n".join(
        escalation_section(context)
    )
    value = escalation_value(context)
    assert value["closed"] == ["user-keys"]
    assert value["administrator_before"] is False


def test_hostile_names_of_targets_stay_names(usual: ReportContext) -> None:
    hostile = document(statement(["sts:AssumeRole"], f"{A}role/x`|@octocat\n::set-output"))
    [text] = reach_section(reported(usual, hostile, hostile))
    assert "@octocat" not in text
    assert "\n::set-output" not in text


def test_the_machine_readable_proposal_has_the_paths(usual: ReportContext) -> None:
    value = json.loads(proposal_json(usual, "title", "body"))["escalation"]
    assert {path["id"] for path in value["before"]} >= {"lambda-code"}
    assert all(path["source"] for path in value["before"])


def test_what_demands_the_boundary_closes_the_path_that_it_is_offered_for() -> None:
    makes = ["iam:CreateRole", "iam:PutRolePolicy"]
    policy = document(statement(makes, f"{A}role/app-*"))
    paths = escalation_paths([policy], ROLE)
    boundary = boundary_for([policy], paths, ROLE, "iam/app-boundary.json", exists=False)
    assert boundary is not None
    assert boundary.is_proved
    guarded = [policy, document(*boundary.guards)]
    assert not is_administrator(escalation_paths(guarded, ROLE))
    assert boundary_for(guarded, escalation_paths(guarded, ROLE), ROLE, "", exists=False) is None


def test_every_way_to_lift_the_boundary_is_denied_whatever_the_statements_are() -> None:
    policy = document(statement(["iam:*"]))
    boundary = boundary_for([policy], escalation_paths([policy], ROLE), ROLE, "b.json", exists=True)
    assert boundary is not None
    assert boundary.is_proved
    denied = {action for guard in boundary.guards for action in as_list(guard["Action"])}
    assert {
        "iam:PutRolePermissionsBoundary",
        "iam:DeleteRolePermissionsBoundary",
        "iam:CreatePolicyVersion",
        "iam:SetDefaultPolicyVersion",
        "iam:DetachRolePolicy",
        "iam:CreateUser",
    } <= denied


def as_list(value: object) -> list[str]:
    return [value] if isinstance(value, str) else [str(entry) for entry in value]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("path", "exists", "words"),
    [
        ("", False, "The input `boundary-file` drafts one"),
        ("iam/app.json", True, "`templates` or `plans` name the policies"),
    ],
)
def test_the_section_says_where_the_boundary_is(
    usual: ReportContext, path: str, exists: bool, words: str
) -> None:
    policy = document(statement(["iam:CreateRole", "iam:PutRolePolicy"]))
    boundary = boundary_for([policy], escalation_paths([policy], ROLE), ROLE, path, exists=exists)
    text = "\n".join(boundary_section(replace(usual, boundary=boundary)))
    assert words in text
    assert '"iam:PermissionsBoundary"' in text
    assert text.index("1. Deploy it") < text.index("2. Set it") < text.index("3. Add these")


MAKES = {
    "Version": "2012-10-17",
    "Statement": [
        *POLICY["Statement"],
        statement(["iam:CreateRole", "iam:PutRolePolicy"], f"{A}role/app-*"),
    ],
}


def test_without_templates_a_boundary_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="without --templates or --plans"):
        proposal(tmp_path, MAKES, boundary_file="iam/app-boundary.json")
