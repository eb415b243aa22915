"""Fleets whose roles, paths and accounts are unusual: no user of a policy is overlooked."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.chains import config, entry, policy
from tests.fakes.command import CommandResult, leastpriv
from tests.fakes.deploys import FIRST, write_trail
from tests.test_cases import record

DEV = "arn:aws:iam::111122223333:role/ci-deploy"
PROD = "arn:aws:iam::333344445555:role/ci-deploy"
OTHER = "arn:aws:iam::333344445555:role/other"
LINKED = "arn:aws:iam::111122223333:role/aws-service-role/ecs.amazonaws.com/AWSServiceRoleForECS"
SET = "arn:aws:iam::{}:role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_{}_{}"
CREATE = {"event": "sqs:CreateQueue", "parameters": {"queueName": "orders"}}
PURGE = {
    "event": "sqs:PurgeQueue",
    "parameters": {"queueUrl": "https://sqs.eu-west-1.amazonaws.com/333344445555/orders"},
}
POLICY = {"iam/p.json": policy("sqs:CreateQueue", "sqs:PurgeQueue")}


def deploys(role: str, call: Mapping[str, Any] = CREATE, days: int = 4) -> Iterator[dict[str, Any]]:
    """Twelve runs of a role."""
    account = role.split(":")[4]
    for turn in range(12):
        time = FIRST + timedelta(days=days * turn, minutes=int(account[-2:]))
        session = f"1765{account[-4:]}{turn:03}"
        yield record(role, session, time, call) | {"recipientAccountId": account}


def proposed(records: Iterable[Mapping[str, Any]], *arguments: str) -> CommandResult:
    """Runs the command on a trail of some records, in the current folder."""
    write_trail(Path("trail"), list(records))
    for name, text in POLICY.items():
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(text, encoding="utf-8")
    usual = ("--trails", "trail", "--aws-regions", "eu-west-1", "--output-dir", "out")
    return leastpriv("propose", *usual, *arguments)


def proposed_config(
    records: Iterable[Mapping[str, Any]], targets: Iterable[Mapping[str, Any]]
) -> CommandResult:
    """Runs the command on a config with some targets."""
    Path("leastpriv.yml").write_text(config(targets), encoding="utf-8")
    return proposed(records, "--config", "leastpriv.yml")


def held_back(folder: str = "out") -> dict[str, str]:
    """Guard -> reason of what a proposal holds back."""
    document = json.loads(Path(folder, "proposal.json").read_text(encoding="utf-8"))
    return {
        held_back_change["guard"]: held_back_change["reason"]
        for held_back_change in document["held_back"]
    }


def removed(folder: str = "out") -> list[str]:
    """The actions that a proposal removes."""
    document = json.loads(Path(folder, "proposal.json").read_text(encoding="utf-8"))
    return [change["action"] for change in document["changes"] if change["kind"] == "remove"]


@pytest.fixture(autouse=True)
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def one_role(role: str) -> tuple[str, ...]:
    return ("--role-arn", role, "--policy-file", "iam/p.json")


@pytest.mark.parametrize("account", ["111122223333", "333344445555"])
def test_a_role_of_that_name_in_another_partition_may_be_a_user(account: str) -> None:
    namesake = f"arn:aws-us-gov:iam::{account}:role/ci-deploy"
    assert proposed([*deploys(DEV), *deploys(namesake, PURGE)], *one_role(DEV)).code == 0
    assert f"add {namesake} to role-arn" in held_back()["other-users"]


@pytest.mark.parametrize("role", [DEV.replace("ci-", "CI-"), DEV.replace("role/", "role/Teams/")])
def test_a_role_in_another_spelling_is_named(role: str) -> None:
    run = proposed(deploys(role), *one_role(DEV.replace("role/", "role/teams/")))
    assert run.code == 1
    assert role.split(":")[5] in run.err


def test_a_role_that_was_created_again_keeps_what_both_used() -> None:
    again = list(deploys(DEV, PURGE))
    for trail_record in again:
        trail_record["userIdentity"]["principalId"] = f"AROAEXAMPLEANEW:{trail_record['eventID']}"
    assert proposed([*deploys(DEV), *again], *one_role(DEV)).code == 0
    assert removed() == []


def test_a_permission_set_is_asked_for_in_all_accounts_and_no_longer_name() -> None:
    shorter, longer = (
        SET.format(account, name, "0123456789abcdef")
        for account, name in (("111122223333", "Deploy"), ("333344445555", "Deploy_Prod"))
    )
    assert proposed([*deploys(shorter), *deploys(longer, PURGE)], *one_role(shorter)).code == 0
    reason = held_back()["other-users"]
    pattern = reason.partition("add ")[2].partition(" ")[0]
    assert pattern.endswith("AWSReservedSSO_Deploy_????????????????")
    roles = [shorter, pattern]
    run = proposed_config([*deploys(shorter)], [{"policy-file": "iam/p.json", "roles": roles}])
    assert run.code == 0
    assert removed("out/AWSReservedSSO_Deploy_0123456789abcdef") == ["sqs:PurgeQueue"]


def test_a_wildcard_has_no_service_linked_role() -> None:
    wildcard = "arn:aws:iam::111122223333:role/*"
    run = proposed_config([*deploys(DEV), *deploys(LINKED)], [entry(wildcard, "iam/{name}.json")])
    assert run.code == 0
    assert "iam/ci-deploy.json" in run.out
    assert "AWSServiceRole" not in run.out


def test_two_files_that_a_link_makes_one_are_bad_input() -> None:
    Path("iam").mkdir()
    Path("iam/q.json").symlink_to("p.json")
    targets = [entry(DEV, "iam/p.json"), entry(OTHER, "iam/q.json")]
    run = proposed_config([*deploys(DEV), *deploys(OTHER, PURGE)], targets)
    assert run.code == 2
    assert "'iam/q.json', a link to the same file as 'iam/p.json'" in run.err


@pytest.mark.parametrize(
    ("records", "said"),
    [
        ([*deploys(DEV)], "no record of the account 333344445555 was read"),
        ([*deploys(DEV), *deploys(OTHER)], f"no calls by {PROD}"),
    ],
    ids=["no record of its account", "no call"],
)
def test_a_user_that_left_holds_back_and_the_remedy_is_said(
    records: list[dict[str, Any]], said: str
) -> None:
    users = {"dev": DEV, "old": PROD}
    proposed_config(records, [{"policy-file": "iam/p.json", "roles": users}])
    reason = held_back("out/ci-deploy")["unread-user"]
    assert said in reason
    assert "If old no longer exists, remove it from role-arn or roles, or its account" in reason


def test_a_policy_of_hundreds_of_users_is_proposed_in_seconds() -> None:
    accounts = range(100_000_000_000, 100_000_000_500)
    calls = (record for account in accounts for record in _one_run(account))
    assert proposed(calls, *one_role("arn:aws:iam::*:role/ci-deploy")).code == 0
    text = Path("out/pull-request.md").read_text(encoding="utf-8")
    assert "**500 users of this policy:**" in text
    assert len(text) < 10_000


def _one_run(account: int) -> Iterator[dict[str, Any]]:
    role = f"arn:aws:iam::{account}:role/ci-deploy"
    creation = record(role, f"1765{account % 10_000:04}", FIRST, CREATE)
    yield creation | {"recipientAccountId": str(account)}
