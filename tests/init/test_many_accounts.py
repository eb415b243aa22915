"""`leastpriv init` for a role in many accounts: one policy file, one config, and accounts that are
added later.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from leastpriv.config.targets_file import read_configuration
from tests.fakes.command import CommandResult, leastpriv

ROLE = "arn:aws:iam::*:role/ci-deploy"
ACTION = "org/leastpriv-action@" + "0" * 40
FORTY = [f"{100_000_000_000 + number}" for number in range(40)]


def init(folder: Path, accounts: list[str], *more: str) -> CommandResult:
    return leastpriv(
        "init", "--repository", "acme/shop", "--role-arn", ROLE, "--action", ACTION,
        "--accounts", ",".join(accounts), "--output-dir", str(folder), *more,
    )  # fmt: skip


def test_forty_accounts_have_one_policy_file_and_one_config(tmp_path: Path) -> None:
    assert init(tmp_path, FORTY).code == 0
    (path,) = tmp_path.glob(".github/leastpriv*")
    found = read_configuration(path.read_bytes(), path.name)
    (entry,) = found.entries
    assert entry.values["policy-file"] == "iam/ci-deploy.json"
    assert [arn.split(":")[4] for arn in entry.users.arns] == FORTY
    assert set(found.readers) == set(FORTY)


def test_an_account_that_is_added_later_needs_no_overwrite(tmp_path: Path) -> None:
    assert init(tmp_path, FORTY[:2]).code == 0
    path = tmp_path / ".github/leastpriv.yml"
    edited = path.read_text(encoding="utf-8") + "    minimum-days: 60\n"
    path.write_text(edited, encoding="utf-8")
    done = init(tmp_path, FORTY[:3])
    assert done.code == 0, done.err
    (entry,) = read_configuration(path.read_bytes(), path.name).entries
    assert [arn.split(":")[4] for arn in entry.users.arns] == FORTY[:3]
    assert entry.values["minimum-days"] == "60"
    assert FORTY[2] in (tmp_path / "leastpriv-reader-stackset.yaml").read_text(encoding="utf-8")


def test_what_a_person_changed_is_not_overwritten(tmp_path: Path) -> None:
    assert init(tmp_path, FORTY[:2]).code == 0
    path = tmp_path / "leastpriv-reader.tf"
    path.write_text("# ours\n", encoding="utf-8")
    done = init(tmp_path, FORTY[:3])
    assert done.code == 2
    assert "leastpriv-reader.tf is there already" in done.err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--role-arn", ROLE), "list the accounts"),
        (
            ("--role-arn", ROLE.replace("*", FORTY[0]), "--accounts", FORTY[0]),
            "--accounts is given",
        ),
    ],
)
def test_accounts_and_a_role_in_all_of_them_need_each_other(
    options: tuple[str, ...], said: str
) -> None:
    done = leastpriv("init", "--repository", "acme/shop", "--action", ACTION, *options)
    assert done.code == 2
    assert said in done.err
