"""`leastpriv init` for a role in many accounts: one policy file, one config, and accounts that are
added later.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from leastpriv.config.targets_file import read_configuration
from tests.fakes.aws.accounts import HOME, Accounts
from tests.fakes.aws.server import FakeAws
from tests.fakes.chains import policy
from tests.fakes.command import CommandResult, leastpriv
from tests.pipeline.test_account_sessions import deploys

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
    configuration = read_configuration(path.read_bytes(), path.name)
    (entry,) = configuration.entries
    assert entry.values["policy-file"] == "iam/ci-deploy.json"
    assert [arn.split(":")[4] for arn in entry.users.arns] == FORTY
    assert set(configuration.readers) == set(FORTY)


def test_an_account_that_is_added_later_needs_no_overwrite(tmp_path: Path) -> None:
    assert init(tmp_path, FORTY[:2]).code == 0
    path = tmp_path / ".github/leastpriv.yml"
    edited = path.read_text(encoding="utf-8") + "    minimum-days: 60\n"
    path.write_text(edited, encoding="utf-8")
    command = init(tmp_path, FORTY[:3])
    assert command.code == 0, command.err
    (entry,) = read_configuration(path.read_bytes(), path.name).entries
    assert [arn.split(":")[4] for arn in entry.users.arns] == FORTY[:3]
    assert entry.values["minimum-days"] == "60"
    assert FORTY[2] in (tmp_path / "leastpriv-reader-stackset.yaml").read_text(encoding="utf-8")


class Organization:
    """Accounts in which the files of `init` have created the reader roles, and `ci-deploy` deploys
    with a policy.
    """

    def __init__(self, folder: Path, accounts: list[str]) -> None:
        role = ROLE.replace("*", "{}")
        texts = [
            (folder / name).read_text(encoding="utf-8")
            for name in ("leastpriv-reader.yaml", "leastpriv-reader-stackset.yaml")
        ]
        assert all("RoleName: leastpriv-reader\n" in text for text in texts)
        # The first role may assume the others, and the set has an instance in each account.
        assert all(f"iam::{account}:role/leastpriv-reader" in texts[0] for account in accounts[1:])
        assert set(re.findall(r'"([0-9]{12})"', texts[1])) == set(accounts[1:])
        trusted = f'aws:PrincipalArn: !Sub "arn:${{AWS::Partition}}:iam::{accounts[0]}:role/'
        assert f'{trusted}leastpriv-reader"' in texts[1]
        self.fake = Accounts(
            records={account: deploys(account) for account in accounts},
            readers={
                f"arn:aws:iam::{account}:role/leastpriv-reader": "" for account in accounts[1:]
            },
            roles=[role.format(account) for account in accounts],
            policy=policy("sqs:CreateQueue", "sqs:PurgeQueue"),
        )

    def propose(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> CommandResult:
        """Runs what the workflow runs, from the root of the repository."""
        monkeypatch.chdir(folder)
        Path("iam").mkdir(exist_ok=True)
        Path("iam/ci-deploy.json").write_text(self.fake.policy, encoding="utf-8")
        usual = ("--trails", "event-history", "--aws-regions", "us-east-1", "--output-dir", "out")
        few = ("--minimum-days", "30", "--minimum-runs", "2")
        with FakeAws(self.fake.operations) as aws:
            for name, value in aws.environment().items():
                monkeypatch.setenv(name, value)
            return leastpriv("propose", "--config", ".github/leastpriv.yml", *usual, *few)


@pytest.mark.parametrize("number", [3, pytest.param(40, marks=pytest.mark.slow)])
def test_the_roles_that_init_creates_read_all_accounts_for_one_proposal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    accounts = [HOME, *FORTY[1:number]]
    assert init(tmp_path, accounts).code == 0
    organization = Organization(tmp_path, accounts)
    run = organization.propose(tmp_path, monkeypatch)
    assert run.code == 0, run.err
    assert len(organization.fake.sessions) == number - 1
    text = Path("out/ci-deploy/pull-request.md").read_text(encoding="utf-8")
    assert f"**{number} users of this policy:**" in text
    assert "Not covered" not in text
    assert "sqs:PurgeQueue" not in Path("out/ci-deploy/policy.json").read_text(encoding="utf-8")


def test_an_account_without_its_reader_role_holds_back_and_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = [HOME, *FORTY[1:3]]
    assert init(tmp_path, accounts).code == 0
    organization = Organization(tmp_path, accounts)
    organization.fake.readers = {}
    run = organization.propose(tmp_path, monkeypatch)
    assert run.code == 1
    assert "sqs:PurgeQueue" in Path("out/ci-deploy/policy.json").read_text(encoding="utf-8")
    assert run.err.count("iam/ci-deploy.json: 2 of 3 users could not be read") == 1
    assert "sts:AssumeRole" in run.err


def test_roles_of_a_pattern_in_an_account_without_its_reader_role_are_not_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The named role alone would lose what only the unknown ones need."""
    accounts = [HOME, FORTY[1]]
    assert init(tmp_path, accounts).code == 0
    path = tmp_path / ".github/leastpriv.yml"
    users = f"[{ROLE.replace('*', HOME)}, arn:aws:iam::{FORTY[1]}:role/ci-*]"
    config = path.read_text(encoding="utf-8").replace(f'"{ROLE}"', users)
    path.write_text(config, encoding="utf-8")
    organization = Organization(tmp_path, accounts)
    organization.fake.readers = {}
    run = organization.propose(tmp_path, monkeypatch)
    assert run.code == 1
    assert "sts:AssumeRole" in run.err
    assert not Path("out/ci-deploy/policy.json").exists()


def test_what_a_person_changed_is_not_overwritten(tmp_path: Path) -> None:
    assert init(tmp_path, FORTY[:2]).code == 0
    path = tmp_path / "leastpriv-reader.tf"
    path.write_text("# ours\n", encoding="utf-8")
    command = init(tmp_path, FORTY[:3])
    assert command.code == 2
    assert "leastpriv-reader.tf is there already" in command.err


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
    command = leastpriv("init", "--repository", "acme/shop", "--action", ACTION, *options)
    assert command.code == 2
    assert said in command.err
