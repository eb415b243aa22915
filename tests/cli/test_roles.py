"""`leastpriv roles`: the overview of all roles, those with most to gain first."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from leastpriv.errors import InputError
from leastpriv.evidence.account_details import read_account_details
from leastpriv.report.roles import RoleOverview, role_row, roles_csv, roles_table
from tests.fakes.command import CommandResult, leastpriv
from tests.test_cases import record, write_trail

ACCOUNT = "111122223333"
ADMIN = "arn:aws:iam::aws:policy/AdministratorAccess"


def arn(name: str, account: str = ACCOUNT) -> str:
    return f"arn:aws:iam::{account}:role/{name}"


def policy(*actions: str) -> dict[str, Any]:
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
    return {"Version": "2012-10-17", "Statement": [statement]}


def calls(name: str, runs: int, *events: str) -> list[dict[str, Any]]:
    first = datetime(2026, 10, 1, 8, tzinfo=UTC)
    return [
        record(arn(name), f"17650{number:06}", first + timedelta(days=number), {"event": event})
        for number in range(runs)
        for event in events
    ]


@pytest.fixture
def account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a trail, and with the roles and policies of its account."""
    monkeypatch.chdir(tmp_path)
    write_trail(
        tmp_path / "trail",
        [
            *calls("wide", 6, "sqs:CreateQueue"),
            *calls("tight", 6, "sqs:CreateQueue"),
            *calls("rare", 2, "sqs:CreateQueue"),
            *calls("unknown", 3, "sqs:CreateQueue"),
            *calls("admin", 6, "sqs:CreateQueue"),
        ],
    )
    details = {
        "RoleDetailList": [
            {"Arn": arn(name), "RolePolicyList": [{"PolicyName": "p", "PolicyDocument": document}]}
            for name, document in {
                "wide": policy("sqs:CreateQueue", "sqs:DeleteQueue", "iam:CreateUser"),
                "tight": policy("sqs:CreateQueue"),
                "rare": policy("sqs:*"),
                "silent": policy("sqs:CreateQueue"),
            }.items()
        ]
        + [{"Arn": arn("admin"), "AttachedManagedPolicies": [{"PolicyArn": ADMIN}]}],
        "Policies": [
            {
                "Arn": ADMIN,
                "PolicyVersionList": [{"IsDefaultVersion": True, "Document": policy("*")}],
            }
        ],
    }
    (tmp_path / "account.json").write_text(json.dumps(details), encoding="utf-8")
    return tmp_path


def roles(*more: str) -> CommandResult:
    return leastpriv("roles", "--trails", "trail", "--account-details", "account.json", *more)


@pytest.mark.usefixtures("account")
def test_each_role_has_a_row_and_the_one_with_most_to_gain_is_first() -> None:
    rows = [json.loads(line) for line in roles("--format", "json").out.splitlines()]
    rows_by_role = {row["role"]: row for row in rows}
    assert [row["role"] for row in rows][:2] == ["admin", "rare"]
    assert {name: row["next_step"] for name, row in rows_by_role.items()} == {
        "admin": "propose",
        "wide": "propose",
        "rare": "wait for runs",
        "silent": "remove role",
        "tight": "–",
        "unknown": "name policy",
    }
    wildcard_row = rows_by_role["wide"]
    assert (wildcard_row["granted"], wildcard_row["used"], wildcard_row["runs"]) == (3, 1, 6)
    assert wildcard_row["riskiest_unused"] == "iam:CreateUser"
    assert rows_by_role["admin"]["administrator"] is True
    assert rows_by_role["unknown"]["granted"] is None


@pytest.mark.usefixtures("account")
def test_the_policies_of_a_config_are_known_too(tmp_path: Path) -> None:
    (tmp_path / "wide.json").write_text(json.dumps(policy("sqs:*")), encoding="utf-8")
    (tmp_path / "leastpriv.yml").write_text(
        f"targets:\n- role-arn: {arn('*de')}\n  policy-file: wide.json\n", encoding="utf-8"
    )
    run = leastpriv("roles", "--trails", "trail", "--config", "leastpriv.yml", "--format", "json")
    rows_by_role = {row["role"]: row for row in map(json.loads, run.out.splitlines())}
    assert rows_by_role["wide"]["granted"] > 10
    assert rows_by_role["tight"]["granted"] is None


def test_a_table_of_any_roles_has_at_most_120_columns() -> None:
    roles = [
        RoleOverview(
            arn=arn("x" * 64),
            calls=1_000_000,
            runs=99_999,
            last=datetime(2026, 11, 1, tzinfo=UTC),
            denied=999_999,
            has_policy=True,
            granted=22_321,
            used=1_234,
            riskiest="lambda:UpdateFunctionConfiguration" * 2,
        )
    ] * 400
    table = str(roles_table([role_row(role) for role in roles]))
    assert max(map(len, table.splitlines())) <= 120
    assert len(table.splitlines()) == 402


def test_no_cell_of_the_csv_is_a_formula() -> None:
    text = roles_csv([role_row(RoleOverview(arn("=1+1")))])
    head, row = csv.reader(io.StringIO(text))
    assert dict(zip(head, row, strict=True))["role"] == "'=1+1"


@pytest.mark.usefixtures("account")
def test_a_file_of_something_else_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "account.json").write_text('{"Roles": []}', encoding="utf-8")
    command = roles()
    assert command.code == 2
    assert "get-account-authorization-details" in command.err


@pytest.mark.parametrize("raw", [b"", b"[]", b"{", b'{"RoleDetailList": [1]}', b"[" * 5000])
def test_any_other_content_of_account_details_is_bad_input(raw: bytes) -> None:
    with pytest.raises(InputError, match="account-details"):
        read_account_details(raw, "x.json")


def test_nothing_to_read_is_bad_input() -> None:
    assert leastpriv("roles").code == 2
