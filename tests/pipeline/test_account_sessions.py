"""Several accounts in one run: each is read by its own role, every result names its account, and
each fails alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.action.test_step import Job, Step
from tests.fakes.aws.accounts import Accounts
from tests.fakes.aws.event_history import call, login
from tests.fakes.aws.server import FakeAws
from tests.fakes.chains import config, entry, policy
from tests.fakes.command import CommandResult, leastpriv
from tests.fakes.deploys import FIRST
from tests.fakes.github import FakeGitHub

HOME, OTHER, THIRD = "111122223333", "222233334444", "333344445555"
NAMES = {HOME: "iam/home.json", OTHER: "iam/other.json", THIRD: "iam/third.json"}
TEMPLATE = "arn:aws:iam::{account}:role/leastpriv-reader"
POLICY = policy("sqs:PurgeQueue")
CONFIG = ".github/leastpriv.yml"


def role(account: str) -> str:
    return f"arn:aws:iam::{account}:role/ci-deploy"


def reader(account: str) -> str:
    return TEMPLATE.replace("{account}", account)


def entries(*accounts: str, **more: Any) -> list[dict[str, Any]]:
    return [entry(role(account), NAMES[account], **more) for account in accounts]


def deploys(account: str) -> list[Mapping[str, Any]]:
    """Five deploys of the role of an account."""
    logins = []
    for turn in range(2):
        start, session = FIRST + timedelta(days=32 * turn), str(17650000000 + turn)
        logins.append(login(role(account), session, start, "us-east-1"))
        logins.append(
            call(
                role(account), session, "sqs:CreateQueue", start + timedelta(seconds=5), "us-east-1"
            )
        )
    return logins


@pytest.fixture
def accounts() -> Accounts:
    """Three accounts with a role of the same name each."""
    everywhere = (HOME, OTHER, THIRD)
    readers = {reader(account): "acme" for account in everywhere}
    return Accounts(
        {account: deploys(account) for account in everywhere},
        readers,
        [role(account) for account in everywhere],
        POLICY,
    )


@pytest.fixture
def aws(accounts: Accounts) -> Iterator[FakeAws]:
    """AWS with these accounts."""
    with FakeAws(accounts.operations) as fake:
        yield fake


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, aws: FakeAws) -> Path:
    """A folder with a policy for each role, as the current one, and credentials of the first
    account.
    """
    for file in NAMES.values():
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text(POLICY)
    for name, value in aws.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def proposed(text: str, *more: str) -> CommandResult:
    Path("leastpriv.yml").write_text(text)
    sources = ("--trails", "event-history", "--aws-regions", "us-east-1")
    return leastpriv("propose", "--config", "leastpriv.yml", *sources, "--output-dir", "out", *more)


def targets() -> list[dict[str, Any]]:
    targets: list[dict[str, Any]] = json.loads(Path("out/proposal.json").read_text())["targets"]
    return targets


@pytest.mark.usefixtures("place")
class TestReading:
    def test_one_run_reads_every_account_by_its_own_role(
        self, accounts: Accounts, aws: FakeAws
    ) -> None:
        shared = {"assume-role": TEMPLATE, "external-id": "acme", "session-name": "weekly"}
        run = proposed(config(entries(HOME, OTHER, THIRD), follow=False, **shared))
        assert run.code == 0, run.err
        assert [(target["account"], target["exit-code"]) for target in targets()] == [
            (HOME, 0),
            (OTHER, 0),
            (THIRD, 0),
        ]
        assert run.err.count("2 calls in 2 runs") == 3
        # The credentials are those of the first account: no role is needed there.
        assert accounts.sessions == ["weekly", "weekly"]
        assert {request["RoleArn"] for request in aws.asked("AssumeRole")} == {
            reader(OTHER),
            reader(THIRD),
        }

    def test_a_role_that_a_target_names_is_assumed_in_the_own_account_too(
        self, accounts: Accounts
    ) -> None:
        role_inputs = {"assume_role": TEMPLATE, "external_id": "acme"}
        assert proposed(config(entries(HOME, **role_inputs), follow=False)).code == 0
        assert accounts.sessions == ["leastpriv"]

    def test_the_proposal_equals_that_of_the_account_alone(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        proposed(
            config(
                entries(HOME, OTHER),
                follow=False,
                **{"assume-role": TEMPLATE, "external-id": "acme"},
            )
        )
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", f"ASIAFAKE{OTHER}")
        command = (
            "--role-arn",
            role(OTHER),
            "--policy-file",
            NAMES[OTHER],
            "--trails",
            "event-history",
        )
        assert (
            leastpriv(
                "propose", *command, "--aws-regions", "us-east-1", "--output-dir", "alone"
            ).code
            == 0
        )
        folder = Path("out") / targets()[1]["folder"]
        alone, together = (
            json.loads((folder_of_run / "proposal.json").read_text())
            for folder_of_run in (Path("alone"), folder)
        )
        for key in (
            "changes",
            "held_back",
            "held_back_additions",
            "gaps",
            "evidence",
            "proof",
            "fingerprint",
        ):
            assert alone[key] == together[key], key

    def test_an_account_that_cannot_be_read_ends_no_other(self, accounts: Accounts) -> None:
        accounts.readers = {reader(OTHER): "acme"}
        run = proposed(
            config(entries(HOME, OTHER, THIRD), **{"assume-role": TEMPLATE, "external-id": "acme"})
        )
        assert run.code == 1
        assert [target["exit-code"] for target in targets()] == [0, 0, 1]
        for text in (run.err, run.out, targets()[2]["failure"]):
            assert "sts:AssumeRole" in text
            assert THIRD in text
        assert "Check that the role exists, and that its trust policy allows" in run.err

    def test_without_a_role_of_the_account_the_failure_names_the_remedy(self) -> None:
        run = proposed(config(entries(HOME, OTHER)))
        assert [target["exit-code"] for target in targets()] == [0, 2]
        assert "assume-role in the input config" in run.err

    def test_a_role_that_does_not_exist_is_named_even_if_no_calls_are_accepted(
        self, accounts: Accounts
    ) -> None:
        accounts.roles = [role(HOME)]
        accounts.records = {HOME: deploys(HOME)}
        shared = {"assume-role": TEMPLATE, "external-id": "acme"}
        run = proposed(
            config(entries(HOME, OTHER), follow=False, **shared), "--when-no-calls", "report"
        )
        assert f"There is no role ci-deploy in the account {OTHER}" in run.err
        assert "**No evidence**" in run.out


@pytest.mark.usefixtures("place")
class TestTellingApart:
    def test_roles_of_one_name_differ_by_account_in_titles_rows_folders_and_outputs(self) -> None:
        run = proposed(
            config(
                entries(HOME, OTHER),
                follow=False,
                **{"assume-role": TEMPLATE, "external-id": "acme"},
            )
        )
        assert [target["title"].partition(":")[0] for target in targets()] == [
            f"iam(ci-deploy, {account})" for account in (HOME, OTHER)
        ]
        assert len({target["folder"] for target in targets()}) == 2
        assert f"| `{HOME}:role/ci-deploy`" in run.out
        assert f"| `{OTHER}:role/ci-deploy`" in run.out

    def test_a_run_of_one_account_names_no_account(self) -> None:
        run = proposed(config(entries(HOME), follow=False))
        assert targets()[0]["title"].startswith("iam(ci-deploy):")
        assert "| `role/ci-deploy`" in run.out


def settings(**more: Any) -> str:
    shared = {"assume-role": TEMPLATE, "external-id": "acme", **more}
    return config(entries(HOME, OTHER, minimum_runs=1), follow=False, **shared)


class TestInAJob:
    """A config of a pull request chooses no role to assume."""

    @pytest.fixture
    def job(self, tmp_path: Path) -> Job:
        job = Job(tmp_path)
        for file in NAMES.values():
            (job.workspace / file).write_text(POLICY)
        return job

    @pytest.fixture
    def hub(self) -> Iterator[FakeGitHub]:
        files = dict.fromkeys(NAMES.values(), POLICY)
        with FakeGitHub("octo-org/shop", files={**files, CONFIG: settings()}) as fake:
            fake.add_user("kim", "write")
            yield fake

    def step(self, job: Job, aws: FakeAws, text: str, **inputs: str) -> Step:
        (job.workspace / CONFIG).parent.mkdir(exist_ok=True)
        (job.workspace / CONFIG).write_text(text)
        sources = {"trails": "event-history", "aws_regions": "us-east-1", "last_accessed": "false"}
        return job.step(
            extra=aws.environment(), config=CONFIG, role_arn="", policy_file="", **sources, **inputs
        )

    def test_the_role_of_the_base_branch_is_assumed(
        self, job: Job, aws: FakeAws, hub: FakeGitHub
    ) -> None:
        job.github = hub
        run = self.step(job, aws, settings(), github_token=hub.token)
        assert run.code == 0, run.log
        assert len(aws.asked("AssumeRole")) == 1

    @pytest.mark.parametrize(
        "more", [{"external-id": "evil"}, {"assume-role": "arn:aws:iam::{account}:role/admin"}]
    )
    def test_another_role_or_external_id_is_not_assumed_and_the_others_go_on(
        self, job: Job, aws: FakeAws, hub: FakeGitHub, more: dict[str, str]
    ) -> None:
        job.github = hub
        run = self.step(job, aws, settings(**more), github_token=hub.token)
        assert run.code == 2
        assert [target["exit-code"] for target in json.loads(run.outputs["targets"])] == [0, 2]
        assert "is not assumed" in run.annotations("error")[0]
        assert "It counts once it is merged" in run.summary.replace("<br>", " ")
        assert not aws.asked("AssumeRole")

    def test_without_a_token_the_base_branch_is_unknown_and_no_role_is_assumed(
        self, job: Job, aws: FakeAws
    ) -> None:
        run = self.step(job, aws, settings(), github_token="")
        assert run.code == 2
        assert "not known without github-token" in run.log
        assert not aws.asked("AssumeRole")

    def test_each_account_has_its_own_branch_and_pull_request(
        self, job: Job, aws: FakeAws, hub: FakeGitHub
    ) -> None:
        job.github = hub
        run = self.step(job, aws, settings(), github_token=hub.token, mode="pull-request")
        assert run.code == 0, run.log
        assert {pull.head for _, pull in hub.world.pulls()} == {
            f"leastpriv/{HOME}-ci-deploy",
            f"leastpriv/{OTHER}-ci-deploy",
        }

    def test_a_change_that_was_declined_before_the_second_account_remains_declined(
        self, job: Job, aws: FakeAws, hub: FakeGitHub
    ) -> None:
        job.github = hub
        alone = config(entries(HOME, minimum_runs=1), follow=False)
        hub.commit_as("kim", "main", {CONFIG: alone})
        run = self.step(job, aws, alone, github_token=hub.token, mode="pull-request")
        hub.close_pull(int(run.outputs["pull-request-number"]), "kim")
        hub.commit_as("kim", "main", {CONFIG: settings()})
        again = self.step(job, aws, settings(), github_token=hub.token, mode="pull-request")
        assert again.code == 0, again.log
        home, other_target = json.loads(again.outputs["targets"])
        assert (home["has-changes"], other_target["has-changes"]) == (False, True)
